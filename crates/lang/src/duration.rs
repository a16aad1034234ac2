//! Spans of time and sizes as people write them: `90s`, `5m`, `1h30m`, `2d`; `500MiB`, `2GB`.

/// Longest span of time.
pub const DURATION_MS_MAX: u64 = 366 * 86_400_000;

/// Units of time in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
/// Units of size in bytes.
const SIZES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Milliseconds of `90s`, `5m`, `2h`, `1d` or several of them in a row, largest unit first.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{}` is no span of time such as `90s`, `5m`, `2h` or `1d`", cut(text));
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_alphabetic()).len();
        let unit = UNITS.iter().find(|it| it.0 == &rest[..letters]).ok_or_else(wrong)?.1;
        if unit >= last {
            return Err(wrong());
        }
        (last, rest) = (unit, &rest[letters..]);
        total = total.saturating_add(number.saturating_mul(unit));
    }
    if total > DURATION_MS_MAX {
        return Err(format!("`{}` is longer than a year", cut(text)));
    }
    Ok(total)
}

/// Bytes of `500MiB` or `2GB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (unit, bytes) = SIZES.iter().find(|it| text.ends_with(it.0))?;
    let number = text.strip_suffix(unit)?;
    if !number.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// A span of time for people, exact: `1h30m`.
pub fn show(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let (mut rest, mut text) = (ms, String::new());
    for (unit, length) in [UNITS[4], UNITS[3], UNITS[2], UNITS[1], UNITS[0]] {
        if rest >= length {
            text += &(rest / length).to_string();
            text += unit;
            rest %= length;
        }
    }
    text
}

/// Without fractions of seconds where they do not matter.
pub(crate) fn roughly(ms: u64) -> String {
    show(if ms >= 1_000 { ms / 1_000 * 1_000 } else { ms })
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_and_shown_alike() {
        for (text, ms) in
            [("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("250ms", 250)]
        {
            assert_eq!(parse(text), Ok(ms), "{text}");
            assert_eq!(parse(&show(ms)), Ok(ms), "{text}");
        }
        for text in
            ["", "5", "m", "5 m", "-5m", "5m5m", "5m2h", "9999999999999999999d", "400d", "5mm", "ä", "1.5h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(size("500MiB"), Some(500 << 20));
        assert_eq!(size("MiB"), None);
    }
}

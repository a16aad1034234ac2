//! Spans of time as people write them: `90s`, `5m`, `1h30m`, `2d`.

/// Longest span of time.
pub const DURATION_MS_MAX: u64 = 366 * 86_400_000;

/// Units of time in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Milliseconds of `90s`, `5m`, `2h`, `1d` or several of them in a row, largest unit first.
///
/// # Errors
/// A sentence about what is wrong.
pub fn parse(text: &str) -> Result<u64, String> {
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    if rest.is_empty() {
        return Err(wrong(text));
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong(text))?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_alphabetic()).len();
        let unit = unit(&rest[..letters]).ok_or_else(|| wrong(text))?;
        if unit >= last {
            return Err(wrong(text));
        }
        (last, rest) = (unit, &rest[letters..]);
        total = total.saturating_add(number.saturating_mul(unit));
    }
    bounded(text, total)
}

/// The same, and a number alone is seconds; a number may have a fraction if it is the only one.
///
/// # Errors
/// A sentence about what is wrong.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
pub fn parse_or_seconds(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let unit = match text[end..].trim() {
        "" => Some(1_000),
        word => unit(word),
    };
    // The longest time is far below what is counted exactly.
    #[expect(clippy::cast_precision_loss, reason = "units are small numbers")]
    let ms = unit.zip(text[..end].parse::<f64>().ok()).map(|(unit, it)| (it * unit as f64).round());
    match ms {
        Some(ms) if (0.0..=1e15).contains(&ms) => bounded(text, ms as u64),
        _ => parse(text),
    }
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

fn unit(word: &str) -> Option<u64> {
    UNITS.iter().find(|it| it.0 == word).map(|it| it.1)
}

fn bounded(text: &str, ms: u64) -> Result<u64, String> {
    if ms > DURATION_MS_MAX { Err(format!("`{}` is longer than a year", cut(text))) } else { Ok(ms) }
}

fn wrong(text: &str) -> String {
    format!("`{}` is no span of time such as `90s`, `5m`, `2h` or `1d`", cut(text))
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
            assert_eq!(parse_or_seconds(text), Ok(ms), "{text}");
        }
        for text in
            ["", "5", "m", "5 m", "-5m", "5m5m", "5m2h", "9999999999999999999d", "400d", "5mm", "ä", "1.5h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_seconds_are_usual_a_number_alone_is_seconds() {
        for (text, ms) in [
            ("30", 30_000),
            ("0", 0),
            ("0.5", 500),
            ("1.5h", 5_400_000),
            ("5 m", 300_000),
            (" 2h30m ", 9_000_000),
        ] {
            assert_eq!(parse_or_seconds(text), Ok(ms), "{text}");
        }
        for text in ["", "-5", "soon", "1.5h30m", "5m5m", "1e3", "inf", "NaN", "1.2.3", "400d", "."] {
            assert!(parse_or_seconds(text).is_err(), "{text}");
        }
    }
}

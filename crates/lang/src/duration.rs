//! Spans of time and sizes as people write them: `90s`, `5m`, `1h30m`, `2d`; `500MiB`, `2GB`.

pub use model::duration::{DURATION_MS_MAX, parse, parse_or_seconds, show};

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

/// Bytes of `500MiB` or `2GB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (unit, bytes) = SIZES.iter().find(|it| text.ends_with(it.0))?;
    let number = text.strip_suffix(unit)?;
    if !number.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Without fractions of seconds where they do not matter.
pub(crate) fn roughly(ms: u64) -> String {
    show(if ms >= 1_000 { ms / 1_000 * 1_000 } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size("500MiB"), Some(500 << 20));
        assert_eq!(size("MiB"), None);
    }
}

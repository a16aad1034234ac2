//! Times and durations for people, and RFC 3339 for machines.

use model::Timestamp;

/// How absolute times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Relative in tables, local elsewhere.
    Human,
    /// As human, in UTC.
    Utc,
    /// RFC 3339 everywhere.
    Iso,
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

fn of(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

/// RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    of(at).map_or_else(|| at.0.to_string(), |it| format!("{it:.3}"))
}

/// Date and time with offset, for `show`.
pub(crate) fn absolute(at: Timestamp, spelling: Spelling) -> String {
    let Some(time) = of(at) else { return at.0.to_string() };
    match spelling {
        Spelling::Human => {
            time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
        }
        Spelling::Utc => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Spelling::Iso => rfc3339(at),
    }
}

/// Time of day, for lines of a log.
pub(crate) fn clock(at: Timestamp, spelling: Spelling) -> String {
    let Some(time) = of(at) else { return at.0.to_string() };
    match spelling {
        Spelling::Human => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string(),
        Spelling::Utc => time.strftime("%H:%M:%S").to_string(),
        Spelling::Iso => rfc3339(at),
    }
}

/// `3s ago`, for tables.
pub(crate) fn ago(at: Timestamp, now: Timestamp, spelling: Spelling) -> String {
    match spelling {
        Spelling::Iso => rfc3339(at),
        _ if at.0 == 0 => "never".to_owned(),
        _ => format!("{} ago", rough(now.since_ms(at))),
    }
}

/// `3s`, `12m`, `2h`, `61d`: one unit.
pub(crate) fn rough(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `3ms`, `2.1s`, `48s`, `3m 02s`, `2h 05m`: how long something took.
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..100 => format!("{ms}ms"),
        100..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m {:02}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}h {:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Milliseconds of `90s`, `5m`, `2h`, `30d`, `1h30m`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no duration: write 90s, 5m, 2h or 30d");
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return seconds.checked_mul(1000).ok_or_else(wrong);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end =
            rest[digits..].find(|it: char| it.is_ascii_digit()).map_or(rest.len(), |it| it + digits);
        let unit = match rest[digits..unit_end].trim() {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|it| total.checked_add(it)).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    Ok(total)
}

/// A point in time: a duration before now, or RFC 3339.
pub(crate) fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(before) = parse_duration(text) {
        return Ok(Timestamp(now().0.saturating_sub(before)));
    }
    let at: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("`{text}` is no time: write 2h (before now) or 2026-11-20T12:00:00Z"))?;
    u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| format!("`{text}` is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("250ms", 250),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for bad in ["", "m", "5x", "-5m", "5m3", "99999999999999999999d", "ä"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_people_and_machines_read_them() {
        assert_eq!(rfc3339(Timestamp(1_732_105_304_123)), "2024-11-20T12:21:44.123Z");
        assert_eq!(absolute(Timestamp(1_732_105_304_123), Spelling::Utc), "2024-11-20 12:21:44 UTC");
        assert_eq!(ago(Timestamp(1000), Timestamp(8_000_000), Spelling::Human), "2h ago");
        for (ms, text) in
            [(3, "3ms"), (2104, "2.1s"), (48_000, "48.0s"), (182_000, "3m 02s"), (7_500_000, "2h 05m")]
        {
            assert_eq!(took(ms), text);
        }
    }
}

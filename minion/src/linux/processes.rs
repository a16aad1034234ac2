//! Processes as the kernel lists them: which session they belong to, and when they began.

use super::system::since_boot;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How many of the kernel's ticks are a second, for programs: the same on every machine.
const TICKS_A_SECOND: u64 = 100;
/// Processes that are looked at.
const PROCESSES_MAX: usize = 1 << 20;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: i32,
    /// The number of the process that began its session.
    pub session: i32,
    /// Ticks from boot to its start.
    pub start: u64,
    /// Whether it has ended, and its parent has not looked yet.
    pub has_ended: bool,
}

/// The one with this number.
pub fn look(id: i32) -> Option<Process> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    parse(id, &text)
}

/// The second field is a name in parentheses and may hold anything; `state` is the third.
fn parse(id: i32, text: &str) -> Option<Process> {
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let session = fields.get(3)?.parse().ok()?;
    let start = fields.get(19)?.parse().ok()?;
    Some(Process { id, session, start, has_ended: matches!(*fields.first()?, "Z" | "X") })
}

/// Those of a session that have not ended.
pub fn in_session(session: i32) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten().take(PROCESSES_MAX);
    let ids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    ids.filter_map(look).filter(|it| it.session == session && !it.has_ended).collect()
}

/// When it began, by the clock as it is now.
pub fn began(process: &Process) -> Option<SystemTime> {
    let begin = Duration::from_millis(process.start.saturating_mul(1000 / TICKS_A_SECOND));
    SystemTime::now().checked_sub(since_boot()?.saturating_sub(begin))
}

/// Which boot of the machine this is.
pub fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "77 (a) b (c)) S 1 77 70 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1";
        let process = Process { id: 77, session: 70, start: 4711, has_ended: false };
        assert_eq!(parse(77, stat), Some(process));
        assert_eq!(parse(77, "77 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_found_in_its_session_and_began_before_now() {
        let own = look(std::process::id().cast_signed()).unwrap();
        assert!(in_session(own.session).contains(&own));
        let ago = SystemTime::now().duration_since(began(&own).unwrap()).unwrap();
        assert!(ago < Duration::from_hours(1), "{ago:?}");
    }
}

//! Two things that only the kernel can say or do: the time since boot, and ending a whole process group.

use nix::{
    sys::signal::{Signal, killpg},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use std::{io, time::Duration};

/// Time since boot, sleep included.
pub fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

/// Kills every process of a group.
pub fn kill_group(group: i32) -> io::Result<()> {
    killpg(Pid::from_raw(group), Signal::SIGKILL).map_err(io::Error::from)
}

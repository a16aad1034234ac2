//! What only the kernel can say or do: the time since boot, ending a whole process group, leaving a terminal.

use nix::{
    sys::{
        prctl::set_dumpable,
        signal::{Signal, kill, killpg},
    },
    time::{ClockId, clock_gettime},
    unistd::{Pid, setsid},
};
use std::{
    fs::File,
    io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

/// Time since boot, sleep included.
pub fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

/// Kills every process of a group; its leader, if it has only just begun and leads none yet.
pub fn kill_group(group: i32) -> io::Result<()> {
    let leader = Pid::from_raw(group);
    killpg(leader, Signal::SIGKILL).or_else(|_| kill(leader, Signal::SIGKILL)).map_err(io::Error::from)
}

/// Kills a process.
pub fn kill_process(id: i32) -> io::Result<()> {
    kill(Pid::from_raw(id), Signal::SIGKILL).map_err(io::Error::from)
}

/// Asks the first process of the machine to boot it anew. Says why if it does not take it.
pub fn reboot(message: &str) -> io::Result<()> {
    // `shutdown` of systemd tells people who are logged in; others have no such thing.
    let systemd = Path::new("/run/systemd/system").exists();
    let argv: Vec<&str> = match message {
        "" if systemd => vec!["systemctl", "reboot"],
        message if systemd => vec!["shutdown", "-r", "now", "--", message],
        _ => vec!["reboot"],
    };
    let output = Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::other(format!("`{}` cannot be run: {error}", argv[0])))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>();
    Err(io::Error::other(format!("`{}` ended with {}: {said}", argv.join(" "), output.status)))
}

/// From now on nothing of this process's memory is written to disk when it ends badly; what it starts decides for itself.
pub fn leave_no_core() -> io::Result<()> {
    Ok(set_dumpable(false)?)
}

/// Begins a session of its own, so that no child can reach the terminal that this program was started from. The leader
/// of a group cannot, as when a shell started it: then the same program runs once more as a child that can, and this is
/// how that one ended.
pub fn leave_terminal() -> io::Result<Option<ExitStatus>> {
    if setsid().is_ok() || File::open("/dev/tty").is_err() {
        return Ok(None);
    }
    Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).status().map(Some)
}

//! systemd's units, crontabs and kernel parameters.

use super::{ask, command::run};
use nix::unistd::User;
use resources::{
    host::{Command, Exit, Unit, UnitAction, Watch},
    openrc,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Longest that systemd may take to answer, and to start or stop something.
const SHOW_TIMEOUT_MS: u64 = 30_000;
const ALTER_TIMEOUT_MS: u64 = 300_000;
/// Exists while systemd is the first process.
const RUNNING: &str = "/run/systemd/system";

fn systemctl(args: &[&str], timeout_ms: u64) -> Command {
    let fixed = ["systemctl", "--no-pager", "--no-ask-password"];
    let words = fixed.iter().chain(args).map(|it| (*it).to_owned()).collect();
    Command { argv: words, timeout_ms, ..Command::default() }
}

/// systemctl itself takes names without a suffix for services, except `show` with names that have a dot.
fn full_name(name: &str) -> String {
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "timer",
        "target",
        "mount",
        "automount",
        "path",
        "slice",
        "scope",
        "swap",
        "device",
    ];
    match name.rsplit_once('.') {
        Some((_, suffix)) if SUFFIXES.contains(&suffix) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// Neither systemd runs nor could it, but `OpenRC` is here.
fn is_openrc() -> bool {
    !Path::new(RUNNING).exists() && Path::new(openrc::PROGRAM).exists()
}

fn openrc_unit(name: &str) -> io::Result<Unit> {
    let [status, show, describe] = openrc::questions(name);
    let (exit, said) = ask(&status)?;
    let said = format!("{}{}", said.stdout, said.stderr);
    Ok(openrc::unit(name, exit, &said, &ask(&show)?.1.stdout, &ask(&describe)?.1.stdout))
}

fn openrc_act(name: &str, action: UnitAction, watch: &mut dyn Watch) -> io::Result<Exit> {
    let [_, show, _] = openrc::questions(name);
    let Some(commands) = openrc::commands(name, action, &ask(&show)?.1.stdout) else {
        let text = format!("OpenRC cannot {}", action.verb());
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    };
    for command in &commands {
        match run(command, watch)? {
            Exit::Code(0) => (),
            exit => return Ok(exit),
        }
    }
    Ok(Exit::Code(0))
}

pub(crate) fn unit(name: &str) -> io::Result<Unit> {
    if is_openrc() {
        return openrc_unit(name.strip_suffix(".service").unwrap_or(name));
    }
    let name = full_name(name);
    if !Path::new(RUNNING).exists() {
        let (exit, output) = ask(&systemctl(&["is-enabled", "--", &name], SHOW_TIMEOUT_MS))?;
        let enabled = output.stdout.trim().to_owned();
        let found = exit == Exit::Code(0) || (!enabled.is_empty() && enabled != "not-found");
        return Ok(Unit { found, enabled, ..Unit::default() });
    }
    let properties = "-pLoadState,ActiveState,UnitFileState,CanReload,NeedDaemonReload";
    let (exit, output) = ask(&systemctl(&["show", properties, "--", &name], SHOW_TIMEOUT_MS))?;
    if exit != Exit::Code(0) {
        let said = output.stderr.trim();
        return Err(io::Error::other(format!("systemctl show {}: {said}", exit.describe())));
    }
    Ok(parse(&output.stdout))
}

/// Lines of `Key=value`.
fn parse(text: &str) -> Unit {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim().to_owned()
    };
    Unit {
        found: !matches!(value("LoadState").as_str(), "" | "not-found"),
        active: Some(value("ActiveState")),
        enabled: value("UnitFileState"),
        can_reload: value("CanReload") == "yes",
        stale: value("NeedDaemonReload") == "yes",
    }
}

pub(crate) fn act(name: &str, action: UnitAction, watch: &mut dyn Watch) -> io::Result<Exit> {
    if is_openrc() {
        return openrc_act(name.strip_suffix(".service").unwrap_or(name), action, watch);
    }
    let verb = action.verb();
    if action == UnitAction::DaemonReload {
        return run(&systemctl(&[verb], ALTER_TIMEOUT_MS), watch);
    }
    let name = full_name(name);
    let words: Vec<&str> =
        [Some(verb), action.option(), Some("--"), Some(&name)].into_iter().flatten().collect();
    run(&systemctl(&words, ALTER_TIMEOUT_MS), watch)
}

pub(crate) fn crontab(user: &str) -> io::Result<String> {
    let argv = ["crontab", "-u", user, "-l"].map(str::to_owned).to_vec();
    let (exit, output) = match ask(&Command { argv, timeout_ms: SHOW_TIMEOUT_MS, ..Command::default() }) {
        // Cron may come with a package that the same run installs: a crontab cannot be there before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        told => told?,
    };
    if output.dropped > 0 {
        return Err(io::Error::other("the crontab is longer than 64 KiB"));
    }
    match exit {
        Exit::Code(0) if output.stdout.contains(char::REPLACEMENT_CHARACTER) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the crontab is not UTF-8"))
        }
        Exit::Code(0) => Ok(output.stdout),
        _ if output.stderr.contains("no crontab for") => Ok(String::new()),
        // The user may be made by the same run; else writing the crontab fails.
        _ if User::from_name(user)?.is_none() => Ok(String::new()),
        exit => Err(io::Error::other(format!("crontab {}: {}", exit.describe(), output.stderr.trim()))),
    }
}

pub(crate) fn set_crontab(user: &str, text: &str, watch: &mut dyn Watch) -> io::Result<Exit> {
    let argv = ["crontab", "-u", user, "-"].map(str::to_owned).to_vec();
    let stdin = Some(text.to_owned());
    run(&Command { argv, stdin, timeout_ms: SHOW_TIMEOUT_MS, ..Command::default() }, watch)
}

/// `net.ipv4.ip_forward`, or with slashes where a part has a dot in it.
fn sysctl_path(name: &str) -> PathBuf {
    let name = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    Path::new("/proc/sys").join(name)
}

pub(crate) fn sysctl(name: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(sysctl_path(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn set_sysctl(name: &str, value: &str) -> io::Result<Exit> {
    fs::write(sysctl_path(name), value).map(|()| Exit::Code(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_understood() {
        let text = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nCanReload=yes\nNeedDaemonReload=no\n";
        let unit = parse(text);
        assert!(unit.found && unit.can_reload && !unit.stale);
        assert_eq!((unit.active.as_deref(), unit.enabled.as_str()), (Some("active"), "enabled"));
        assert!(!parse("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n").found);
    }

    #[test]
    fn a_name_without_a_suffix_is_a_service() {
        assert_eq!(full_name("ssh"), "ssh.service");
        assert_eq!(full_name("fstrim.timer"), "fstrim.timer");
        assert_eq!(full_name("wg-quick@a.b"), "wg-quick@a.b.service");
    }
}

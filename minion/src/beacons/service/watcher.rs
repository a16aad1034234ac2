//! Who listens to systemd, or asks where there is no bus.

use super::bus::{Bus, Told};
use super::{Watch, shown, units};
use crate::beacons::{Beacon, Signal, Source};
use crate::linux::socket::connect_unix;
use crate::program::{Order, Program};
use crate::senses::Senses;
use resources::{host::Exit, openrc};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tracing::{info, warn};

/// Where the system's bus is.
const SOCKET: &str = "run/dbus/system_bus_socket";
/// Where `OpenRC` is the one that starts services.
const OPENRC: &str = "sbin/rc-service";
/// Between two tries at the bus, at first and at most.
const AGAIN_LEAST: Duration = Duration::from_millis(500);
const AGAIN_MOST: Duration = Duration::from_mins(1);
/// Until the bus must have said which units there are.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Read in one go.
const READ_BYTES_MAX: usize = 64 << 10;
/// Between two questions where there is no bus, and how long an answer may take.
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_MAX: Duration = Duration::from_secs(10);

/// How it is told.
enum Way {
    /// Not yet, or not any more.
    None,
    /// Over the bus, since then.
    Bus { stream: UnixStream, bus: Bus, listed: bool, since: Duration },
    /// By programs: which name is next, the one that is asked, what was said so far.
    Programs { next: usize, asked: Option<(Program, Duration)>, said: Vec<String>, at: Duration },
}

/// The beacon.
pub(super) struct Watcher {
    watch: Watch,
    way: Way,
    /// When the bus is tried again.
    try_at: Duration,
    again: Duration,
    said_why: bool,
    /// It was told how things are since it failed.
    proven: bool,
    /// Nothing is told now.
    quiet: bool,
    now: Duration,
}

impl Watcher {
    pub(super) fn new(watch: Watch) -> Self {
        let (try_at, now) = (Duration::ZERO, Duration::ZERO);
        let (said_why, proven, quiet) = (false, false, false);
        Self { watch, way: Way::None, try_at, again: AGAIN_LEAST, said_why, proven, quiet, now }
    }

    fn connect(&mut self, senses: &dyn Senses) {
        let path = senses.root().join(SOCKET);
        let uid = std::fs::metadata("/proc/self").map_or(0, |it| it.uid());
        self.try_at = self.now + self.again;
        self.again = (self.again * 2).min(AGAIN_MOST);
        match connect_unix(&path) {
            Ok(stream) => {
                let bus = Bus::new(self.watch.names().to_vec(), uid);
                self.way = Way::Bus { stream, bus, listed: false, since: self.now };
            }
            Err(error) if matches!(self.way, Way::None) => {
                if !std::mem::replace(&mut self.said_why, true) {
                    info!(path = %path.display(), err = %error, "no bus: states of units are asked for every 10 s");
                }
                self.way = Way::Programs { next: 0, asked: None, said: Vec::new(), at: self.now };
            }
            Err(_) => {}
        }
    }

    /// Moves bytes both ways.
    fn talk(&mut self) -> Result<(), String> {
        let Way::Bus { stream, bus, listed, since } = &mut self.way else { return Ok(()) };
        let now_ms = millis(self.now);
        let mut buffer = vec![0; READ_BYTES_MAX];
        loop {
            let output = bus.take_output();
            if !output.is_empty() {
                // It is far shorter than what a socket takes at once.
                stream.write_all(&output).map_err(|error| format!("the bus does not listen: {error}"))?;
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Err("the bus has closed the connection".to_owned()),
                Ok(length) => {
                    for heard in bus.hear(&buffer[..length]).map_err(|broken| broken.to_string())? {
                        (*listed, self.proven, self.again) = (true, true, AGAIN_LEAST);
                        self.watch.hear(now_ms, heard);
                    }
                    if length < buffer.len() && bus.has_nothing_to_say() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("the bus cannot be read: {error}")),
            }
        }
        if !*listed && self.now >= *since + GREETING_MAX {
            return Err("the bus says nothing".to_owned());
        }
        Ok(())
    }

    fn ask(&mut self, senses: &dyn Senses) -> Result<(), String> {
        let is_openrc =
            senses.root().join(OPENRC).exists() && !senses.root().join("run/systemd/system").exists();
        let names = self.watch.names();
        let Way::Programs { next, asked, said, at } = &mut self.way else { return Ok(()) };
        let Some((program, until)) = asked else {
            if self.now >= *at {
                let argv = if is_openrc { openrc_question(names, *next)? } else { show(names) };
                *asked = Some((Program::start(&Order::new(argv), senses.root())?, self.now + ASK_MAX));
                said.clear();
            }
            return Ok(());
        };
        let (lines, end) = program.read(self.now);
        said.extend(lines);
        if end.is_none() && self.now < *until {
            return Ok(());
        }
        *asked = None;
        *at += ASK_EVERY;
        *at = (*at).max(self.now);
        let end = end.ok_or("states of units cannot be asked for: no answer")?;
        if is_openrc {
            let unit = names.get(*next).cloned().unwrap_or_default();
            let state = openrc::unit("", Exit::Code(end.code.unwrap_or(1)), &said.join("\n"), "", "");
            let told = Told { unit, active: state.active, sub: Some(String::new()), ..Told::default() };
            *next = (*next + 1) % names.len().max(1);
            if *next > 0 {
                *at = self.now;
            }
            self.watch.learn(millis(self.now), told);
            self.proven = true;
        } else if end.code == Some(0) {
            let told = shown(&said.join("\n"));
            self.watch.list(millis(self.now), told);
            self.proven = true;
        } else {
            return Err(end.reason);
        }
        Ok(())
    }
}

fn show(names: &[String]) -> Vec<String> {
    let words = ["systemctl", "--no-pager", "show", "-pId,ActiveState,SubState,Result,NRestarts", "--"];
    words.iter().map(|it| (*it).to_owned()).chain(names.iter().cloned()).collect()
}

fn openrc_question(names: &[String], next: usize) -> Result<Vec<String>, String> {
    let name = names.get(next).ok_or("there is no unit to ask for")?;
    if units::is_pattern(name) {
        return Err(format!("`{name}`: OpenRC's services have to be named one by one"));
    }
    let [status, ..] = openrc::questions(name.strip_suffix(".service").unwrap_or(name));
    Ok(status.argv)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Watcher {
    fn hear(&mut self, now: Duration, senses: &dyn Senses) -> Result<(), String> {
        self.now = now;
        if !matches!(self.way, Way::Bus { .. }) && now >= self.try_at {
            self.connect(senses);
        }
        if let Err(reason) = self.talk() {
            if !std::mem::replace(&mut self.said_why, true) {
                warn!(reason, "the bus is connected to again");
            }
            self.way = Way::None;
        }
        self.ask(senses).inspect_err(|_| self.proven = false)
    }
}

impl Beacon for Watcher {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        self.quiet = false;
        self.hear(now, senses)?;
        Ok(self.watch.due(millis(now)).into_iter().map(Signal).collect())
    }

    /// What is still so is told afterwards; what was over at once is not.
    fn pass(&mut self, now: Duration, senses: &dyn Senses) -> Result<(), String> {
        self.quiet = true;
        let heard = self.hear(now, senses);
        self.watch.telling.clear();
        heard
    }

    fn sleeps(&self) -> bool {
        false
    }

    fn is_sure(&self) -> bool {
        self.proven
    }

    fn told(&self) -> Value {
        self.watch.told()
    }

    fn resume(&mut self, _: Duration, told: &Value) {
        self.watch.resume(told);
    }

    fn wake(&self) -> Option<Duration> {
        let own = match &self.way {
            Way::None => Some(self.try_at),
            Way::Bus { listed: false, since, .. } => Some(*since + GREETING_MAX),
            Way::Bus { .. } => None,
            Way::Programs { asked: None, at, .. } => Some(*at),
            Way::Programs { asked: Some((program, until)), .. } => {
                Some(program.wake(self.now).map_or(*until, |at| at.min(*until)))
            }
        };
        let settled = self.watch.next_wake_ms().filter(|_| !self.quiet).map(Duration::from_millis);
        own.into_iter().chain(settled).min()
    }

    fn sources(&self) -> Vec<Source<'_>> {
        match &self.way {
            Way::Bus { stream, .. } => vec![Source { fd: stream.as_fd(), urgent: false }],
            Way::Programs { asked: Some((program, _)), .. } => {
                program.sources(self.now).into_iter().map(|fd| Source { fd, urgent: false }).collect()
            }
            Way::None | Way::Programs { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;

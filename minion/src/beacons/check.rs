//! The beacon `check`: whether a page, a port or a machine answers.

mod http;
mod probe;

use super::{Beacon, Signal, Source};
use crate::senses::Senses;
use probe::{Answer, Target, Trust};
use resources::beacons::{
    Settings,
    asked::{Address, fingerprint, host_port, is_host, status},
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Looks at once, of all beacons; whose turn it is then waits a moment.
const LOOKS_MAX: usize = 4;
const WAIT: Duration = Duration::from_millis(500);
/// How long a look may take, and how many in a row must say that it is not well.
const TIMEOUT_MS: u64 = 10_000;
const TIMES: u64 = 2;
/// A thread of a look needs little.
const STACK_BYTES: usize = 256 << 10;

/// At work now.
static LOOKS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let (name, target) = target(settings)?;
    let time = |name: &str| settings.time_ms(name).map(Duration::from_millis);
    Ok(Box::new(Check {
        name,
        target,
        timeout: time("timeout").unwrap_or(Duration::from_millis(TIMEOUT_MS)),
        every: Duration::from_millis(settings.interval_ms()),
        judge: Judge {
            latency: time("latency"),
            times: settings.count("times").unwrap_or(TIMES),
            hold: time("for").unwrap_or_default(),
            told: State::Up,
            since: None,
            coming: None,
        },
        next: Duration::ZERO,
        look: None,
    }))
}

fn target(settings: &Settings<'_>) -> Result<(String, Target), String> {
    let [page, port, host] = ["http", "tcp", "ping"].map(|it| settings.text(it));
    let only_of_pages = ["status", "contains", "ca", "pin"].iter().find(|it| settings.value(it).is_some());
    match (page, port, host) {
        (Some(page), None, None) => {
            let address = Address::parse(&page)?;
            let statuses = settings.texts("status");
            let statuses = if statuses.is_empty() {
                vec![(200, 399)]
            } else {
                statuses.iter().map(|it| status(it)).collect::<Result<_, _>>()?
            };
            let trust = match (settings.text("ca"), settings.text("pin")) {
                (Some(_), Some(_)) => return Err("say `ca` or `pin`, not both".to_owned()),
                (Some(path), None) => Trust::File(PathBuf::from(path)),
                (None, Some(pin)) => Trust::Pin(fingerprint(&pin)?),
                (None, None) => Trust::System,
            };
            Ok((page, Target::Http { address, contains: settings.text("contains"), statuses, trust }))
        }
        (None, ..) if only_of_pages.is_some() => {
            Err(format!("`{}` is about pages: it goes with `http`", only_of_pages.unwrap_or(&"")))
        }
        (None, Some(port), None) => {
            let (host, number) = host_port(&port, 0).ok_or_else(|| format!("`{port}` is not `host:port`"))?;
            Ok((port, Target::Tcp { host, port: number }))
        }
        (None, None, Some(host)) if is_host(&host) => Ok((host.clone(), Target::Ping { host })),
        (None, None, Some(host)) => Err(format!("`{host}` is no host")),
        _ => Err("say what is looked at, one of `http`, `tcp` and `ping`".to_owned()),
    }
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Slow,
    Down,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Down => "down",
        }
    }
}

/// When a look is worth an event.
#[derive(Debug)]
struct Judge {
    latency: Option<Duration>,
    times: u64,
    hold: Duration,
    told: State,
    /// Since when it is as it was told.
    since: Option<Duration>,
    /// Since when it is otherwise than it was told, and how many looks in a row said so.
    coming: Option<(Duration, u64)>,
}

impl Judge {
    /// Whether it is to be told, and how long it was otherwise. It is well again at the first look that says so.
    fn judge(&mut self, now: Duration, answer: &Answer) -> Option<(State, Duration)> {
        let slow = self.latency.is_some_and(|it| answer.latency > it);
        let state = match (&answer.wrong, slow) {
            (Some(_), _) => State::Down,
            (None, true) => State::Slow,
            (None, false) => State::Up,
        };
        let told_since = *self.since.get_or_insert(now);
        if state == self.told {
            self.coming = None;
            return None;
        }
        // What is slow and down in turns is not well either: the latest word is told.
        let (since, times) = self.coming.map_or((now, 1), |(since, times)| (since, times + 1));
        self.coming = Some((since, times));
        if state != State::Up && (times < self.times || now.saturating_sub(since) < self.hold) {
            return None;
        }
        (self.told, self.since, self.coming) = (state, Some(since), None);
        Some((state, since.saturating_sub(told_since)))
    }
}

/// The beacon.
struct Check {
    name: String,
    target: Target,
    timeout: Duration,
    every: Duration,
    judge: Judge,
    next: Duration,
    look: Option<Look>,
}

/// A look under way: its thread writes a byte when it has an answer.
struct Look {
    bell: UnixStream,
    answer: Receiver<Answer>,
}

/// One of a few.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        if LOOKS.fetch_add(1, Ordering::Relaxed) < LOOKS_MAX {
            return Some(Self);
        }
        LOOKS.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LOOKS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Check {
    fn start(&self, turn: Turn) -> std::io::Result<Look> {
        let (bell, mut rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (tell, answer) = channel();
        let (target, timeout) = (self.target.clone(), self.timeout);
        std::thread::Builder::new().name("check".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _turn = turn;
            // Who asked may be gone.
            let _ = tell.send(probe::look(&target, timeout));
            let _ = rung.write(&[0]);
        })?;
        Ok(Look { bell, answer })
    }

    fn signal(&self, state: State, lasted: Duration, answer: &Answer) -> Signal {
        let ms = u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX);
        let mut signal = Signal::new().with("target", self.name.clone()).with("state", state.word());
        if let Some(wrong) = &answer.wrong {
            signal = signal.with("reason", wrong.clone());
        }
        if let Some(status) = answer.status {
            signal = signal.with("status", status);
        }
        signal.with("latency_ms", ms).with("since_s", lasted.as_secs())
    }
}

impl Beacon for Check {
    fn look(&mut self, now: Duration, _: &dyn Senses) -> Result<Vec<Signal>, String> {
        let mut signals = Vec::new();
        if let Some(look) = &self.look {
            let rung = (&look.bell).read(&mut [0; 8]);
            if rung.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
                return Ok(signals);
            }
            let answer = look.answer.try_recv();
            self.look = None;
            if let Ok(answer) = answer
                && let Some((state, lasted)) = self.judge.judge(now, &answer)
            {
                signals.push(self.signal(state, lasted, &answer));
            }
        }
        if now >= self.next {
            match Turn::take() {
                None => self.next = now + WAIT,
                Some(turn) => {
                    self.next = now + self.every;
                    self.look =
                        Some(self.start(turn).map_err(|error| format!("no thread can be had: {error}"))?);
                }
            }
        }
        Ok(signals)
    }

    fn told(&self) -> Value {
        let state = self.judge.told;
        if state == State::Up { Value::Null } else { json!([self.name, state.word()]) }
    }

    fn resume(&mut self, now: Duration, told: &Value) {
        let is_it = |it: &State| *told == json!([self.name, it.word()]);
        if let Some(state) = [State::Slow, State::Down].into_iter().find(is_it) {
            (self.judge.told, self.judge.since) = (state, Some(now));
        }
    }

    fn wake(&self) -> Option<Duration> {
        self.look.is_none().then_some(self.next)
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.look.iter().map(|it| Source { fd: it.bell.as_fd(), urgent: false }).collect()
    }
}

#[cfg(test)]
mod tests;

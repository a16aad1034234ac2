//! The beacons: what the machine tells by itself. Each is a small state machine that looks at its time, or when a
//! descriptor of it can be read; who calls it, how often it is told and what a failure leads to is the lookout's work.

mod check;
mod disk;
mod docker;
mod file;
mod inodes;
mod libvirt;
mod load;
mod log;
mod memory;
mod network;
mod process;
mod psi;
mod reboot_required;
mod script;
mod service;
mod swap;
mod temperature;
mod updates;

use crate::limit::{Crossing, Gauge, Limit};
use crate::senses::Senses;
use resources::beacons::Settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Numbers that one beacon compares with its limit.
const GAUGES_MAX: usize = 256;

/// Makes a beacon from settings that were checked, or says why it cannot watch.
pub type Make = fn(&Settings<'_>, &dyn Senses) -> Result<Box<dyn Beacon>, String>;

/// Every beacon, in order of name; what can be set stands in [`resources::beacons`].
const ALL: &[(&str, Make)] = &[
    ("check", check::make),
    ("disk", disk::make),
    ("docker", docker::make),
    ("file", file::make),
    ("inodes", inodes::make),
    ("libvirt", libvirt::make),
    ("load", load::make),
    ("log", log::make),
    ("memory", memory::make),
    ("network", network::make),
    ("process", process::make),
    ("psi", psi::make),
    ("reboot_required", reboot_required::make),
    ("script", script::make),
    ("service", service::make),
    ("swap", swap::make),
    ("temperature", temperature::make),
    ("updates", updates::make),
];

/// Who makes the beacons of a kind.
pub fn maker(kind: &str) -> Option<Make> {
    ALL.iter().find(|(name, _)| *name == kind).map(|(_, make)| *make)
}

/// One beacon at work. It must not wait for anything: what takes time is a child or a thread of its own, with a
/// descriptor that says when there is something to read.
pub trait Beacon: Send {
    /// Called when its interval is over, when the time is there that [`Beacon::wake`] said, and when one of its
    /// descriptors is ready. `now` only grows. After an error it is left alone for a while, and then looked at again.
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String>;

    /// Called instead while it is to be quiet: what happens is passed over.
    fn pass(&mut self, now: Duration, senses: &dyn Senses) -> Result<(), String> {
        self.look(now, senses).map(drop)
    }

    /// Whether it need not be called at all while it is to be quiet: it tells what is so, and tells it afterwards.
    fn sleeps(&self) -> bool {
        true
    }

    /// What it told and has not taken back, for the one that comes after it: with other settings, or after a restart.
    fn told(&self) -> Value {
        Value::Null
    }

    /// Goes on from what the one before it told.
    fn resume(&mut self, _now: Duration, _told: &Value) {}

    /// When it wants to look before its interval is over.
    fn wake(&self) -> Option<Duration> {
        None
    }

    /// What wakes it.
    fn sources(&self) -> Vec<Source<'_>> {
        Vec::new()
    }

    /// Whether it is known to work, since it failed last: one that waits for the first word of a program is not. It must
    /// look again, by itself, when it comes to know.
    fn is_sure(&self) -> bool {
        true
    }

    /// What could not be taken in since this was asked for last, such as lines that are too long.
    fn left_out(&mut self) -> u64 {
        0
    }

    /// It is not needed any more, or the agent ends: what it must know next time is kept now.
    fn rest(&mut self, _: Duration) {}
}

/// A descriptor that wakes a beacon.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Which.
    pub fd: BorrowedFd<'a>,
    /// Woken by something urgent (`POLLPRI`) rather than by something to read.
    pub urgent: bool,
}

/// Something to tell: the fields of an event, beside `beacon`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal(pub Map<String, Value>);

impl Signal {
    /// One with nothing in it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// That something began (`on`) or is over (`off`).
    #[must_use]
    pub fn state(self, on: bool) -> Self {
        self.with("state", if on { "on" } else { "off" })
    }
}

/// One number of a beacon with limits, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What it is the number of, such as a mount point; unlike all others of this beacon.
    pub key: String,
    /// As a part of a hundred.
    pub percent: f64,
    /// As it is. No number if it is there and cannot be read now.
    pub plain: f64,
    /// What an event says beside `state`.
    pub fields: Signal,
}

impl Reading {
    /// The same, as it is there and cannot be read.
    fn unknown(self) -> Self {
        Self { percent: f64::NAN, plain: f64::NAN, ..self }
    }
}

/// What a beacon with limits has to bring: the numbers. The rest is done once, in [`Gauged`].
pub trait Readings: Send {
    /// All numbers as they are now.
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String>;
}

/// A beacon with limits: tells when a number crosses one, and when it is well again.
pub struct Gauged<R> {
    limit: Limit,
    gauges: BTreeMap<String, (Gauge, Signal)>,
    readings: R,
}

impl<R: Readings + 'static> Gauged<R> {
    /// With the limits of these settings.
    pub fn boxed(settings: &Settings<'_>, readings: R) -> Box<dyn Beacon> {
        Box::new(Self { limit: Limit::of(settings), gauges: BTreeMap::new(), readings })
    }
}

impl<R: Readings> Beacon for Gauged<R> {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        let readings = self.readings.read(senses)?;
        let mut before = std::mem::take(&mut self.gauges);
        let mut signals = Vec::new();
        for Reading { key, percent, plain, mut fields } in readings.into_iter().take(GAUGES_MAX) {
            let number = if self.limit.percent { percent } else { plain };
            let (mut gauge, last) = before.remove(&key).unwrap_or_default();
            if !number.is_finite() {
                fields = last;
            }
            if let Some(crossing) = gauge.judge(&self.limit, now, number) {
                let signal = fields.clone().with("state", crossing.state());
                let again = crossing == Crossing::Still;
                signals.push(if again { signal.with("again", true) } else { signal });
            }
            self.gauges.insert(key, (gauge, fields));
        }
        // What is not there any more cannot be beyond its limit.
        let gone = before.into_values().filter(|(gauge, _)| gauge.is_on());
        signals.extend(gone.map(|(_, fields)| fields.state(false).with("gone", true)));
        Ok(signals)
    }

    fn told(&self) -> Value {
        let on = self.gauges.iter().filter(|(_, (gauge, _))| gauge.is_on());
        let on: Map<String, Value> = on.map(|(key, (_, it))| (key.clone(), it.0.clone().into())).collect();
        if on.is_empty() { Value::Null } else { on.into() }
    }

    fn resume(&mut self, now: Duration, told: &Value) {
        for (key, fields) in told.as_object().into_iter().flatten().take(GAUGES_MAX) {
            let fields = Signal(fields.as_object().cloned().unwrap_or_default());
            self.gauges.insert(key.clone(), (Gauge::on_since(now), fields));
        }
    }

    fn wake(&self) -> Option<Duration> {
        self.gauges.values().filter_map(|(gauge, _)| gauge.wake(&self.limit)).min()
    }
}

/// A part of a whole, in hundredths of it, with one digit behind the point.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { tenths(float(part) * 100.0 / float(whole)) }
}

/// With one digit behind the point.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "compared with limits that people write")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A reading of so much of a whole.
pub(crate) fn part_of(key: &str, fields: Signal, used: u64, free: u64, total: u64) -> Reading {
    let percent = percent(used, used.saturating_add(free));
    let fields = fields.with("percent", percent).with("used", used).with("free", free).with("total", total);
    Reading { key: key.to_owned(), percent, plain: float(used), fields }
}

/// The file systems that settings name, or all disks of the machine. One on the network is refused unseen.
pub(crate) fn file_systems(paths: &[String], senses: &dyn Senses) -> Result<Vec<String>, String> {
    let mounts = senses.mounts().map_err(|error| format!("cannot read what is mounted: {error}"))?;
    if paths.is_empty() {
        let mut devices = Vec::new();
        let mut own = |it: &&crate::senses::Mount| {
            // One device at several places is one file system.
            let fresh = it.is_disk() && !devices.contains(&it.device);
            devices.push(it.device.clone());
            fresh
        };
        return Ok(mounts.iter().filter(|it| own(it)).map(|it| it.path.clone()).collect());
    }
    let mut found: Vec<String> = Vec::new();
    for path in paths {
        let Some(mount) = crate::senses::mount_of(&mounts, path) else {
            return Err(format!("`{path}` is on no file system"));
        };
        if mount.is_remote() {
            return Err(format!("`{path}` is on the network ({}), which is never asked", mount.kind));
        }
        if !found.contains(&mount.path) {
            found.push(mount.path.clone());
        }
    }
    Ok(found)
}

/// Why a file of the kernel's cannot be read.
pub(crate) fn unreadable(path: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("cannot read `{path}`: {error}")
}

/// An event's data: which beacon it is of, and what it says.
pub(crate) fn data(name: &str, kind: &str, signal: Signal) -> Map<String, Value> {
    let mut data = Map::from_iter([("beacon".to_owned(), json!(name))]);
    if name != kind {
        data.insert("kind".to_owned(), json!(kind));
    }
    data.extend(signal.0);
    data
}

#[cfg(test)]
mod tests;

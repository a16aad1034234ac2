//! How long programs stood still because processors, memory or disks were busy. The kernel is asked to say when they
//! begin to; where it may not be asked, there is the interval.

use super::{Beacon, Gauged, Reading, Readings, Signal, Source, unreadable};
use crate::limit::Limit;
use crate::senses::Senses;
use resources::beacons::{Amount, Settings};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

/// Where the kernel says it, a file for each resource.
const FOLDER: &str = "/proc/pressure";
/// The resources.
const ALL: [&str; 3] = ["cpu", "memory", "io"];
/// How often the kernel works its averages out; over so long it also looks for what wakes us, which is the shortest time
/// that it allows to everybody.
const PERIOD: Duration = Duration::from_secs(2);

struct Psi {
    gauged: Gauged<Pressure>,
    /// Ready when programs stood still for so long that the average may go beyond the limit.
    triggers: Vec<File>,
    /// What rises is looked at when the kernel has worked it out again.
    again: Option<Duration>,
}

struct Pressure {
    resources: Vec<String>,
    kind: String,
    /// From where on it is worth another look, and what each was at the last one.
    half: f64,
    last: BTreeMap<String, f64>,
    rises: bool,
}

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let mut resources = settings.texts("resource");
    if resources.is_empty() {
        resources = ALL.iter().map(|it| (*it).to_owned()).collect();
    }
    senses
        .names(FOLDER)
        .map_err(|error| format!("this kernel measures no pressure (`{FOLDER}`: {error})"))?;
    let kind = settings.text("kind").unwrap_or_else(|| "some".to_owned());
    let above = settings.above();
    let triggers = above.map(|it| order(it, &kind)).map_or_else(Vec::new, |order| {
        let set = |it: &String| senses.pressure_trigger(&format!("{FOLDER}/{it}"), &order).ok();
        resources.iter().filter_map(set).collect()
    });
    let half = above.map_or(f64::INFINITY, |it| it.number / 2.0);
    let pressure = Pressure { resources, kind, half, last: BTreeMap::new(), rises: false };
    let gauged = Gauged { limit: Limit::of(settings), gauges: BTreeMap::new(), readings: pressure };
    Ok(Box::new(Psi { gauged, triggers, again: None }))
}

/// What the kernel is told. The average of 10 s cannot go beyond a limit without 2 s that are beyond it; a quarter less
/// is asked for, because those are not the kernel's own 2 s.
fn order(above: Amount, kind: &str) -> String {
    let period = PERIOD.as_secs_f64() * 1e6;
    let stalled = (above.number / 100.0 * 0.75 * period).clamp(1.0, period).round();
    format!("{kind} {stalled} {period}\0")
}

impl Beacon for Psi {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        let signals = self.gauged.look(now, senses)?;
        let rises = self.gauged.readings.rises && !self.triggers.is_empty();
        self.again = rises.then_some(now + PERIOD);
        Ok(signals)
    }

    fn wake(&self) -> Option<Duration> {
        self.gauged.wake().into_iter().chain(self.again).min()
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.triggers.iter().map(|it| Source { fd: it.as_fd(), urgent: true }).collect()
    }
}

impl Readings for Pressure {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let mut readings = Vec::new();
        self.rises = false;
        for resource in &self.resources {
            let path = format!("{FOLDER}/{resource}");
            let text = senses.text(&path).map_err(unreadable(&path))?;
            // Of processors older kernels do not say when all stood still.
            let Some(percent) = average(&text, &self.kind) else { continue };
            let before = self.last.insert(resource.clone(), percent).unwrap_or_default();
            self.rises |= percent >= self.half && percent > before;
            let fields = Signal::new()
                .with("resource", resource.clone())
                .with("percent", percent)
                .with("kind", self.kind.clone());
            readings.push(Reading { key: resource.clone(), percent, plain: percent, fields });
        }
        Ok(readings)
    }
}

/// Of the last 10 s.
fn average(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|it| it.split(' ').next() == Some(kind))?;
    line.split(' ').find_map(|it| it.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::ready;
    use crate::senses::{Machine, fake::Fake};
    use serde_json::{Value, json};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(30);

    fn with<T>(settings: &Value, then: impl Fn(&Settings<'_>) -> T) -> T {
        let kind = resources::beacons::kind("psi").unwrap();
        then(&Settings::read(kind, settings.as_object().unwrap()).unwrap())
    }

    #[test]
    fn what_the_kernel_is_asked_for_is_a_little_less_than_the_limit() {
        let said = |settings: Value| with(&settings, |it| it.above().map(|above| order(above, "some")));
        assert_eq!(said(json!({})).as_deref(), Some("some 750000 2000000\0"));
        assert_eq!(said(json!({"above": "100%"})).as_deref(), Some("some 1500000 2000000\0"));
        assert_eq!(said(json!({"above": "0%"})).as_deref(), Some("some 1 2000000\0"));
        assert_eq!(said(json!({"below": "5%"})), None, "the kernel does not tell of calm");
    }

    #[test]
    fn what_rises_is_looked_at_again_when_the_kernel_has_worked_it_out_anew() {
        let mut beacon = with(&json!({"above": "40%", "resource": "io"}), |settings| {
            let mut fake = Fake::default();
            fake.put("/proc/pressure/io", "some avg10=0.00\n");
            make(settings, &fake).unwrap()
        });
        let mut at = 0;
        let mut look = |percent: &str| {
            at += 1;
            let mut fake = Fake::default();
            fake.put("/proc/pressure/io", &format!("some avg10={percent}\n"));
            let told = beacon.look(Duration::from_secs(at), &fake).unwrap().len();
            (told, beacon.wake())
        };
        assert_eq!(look("30.00"), (0, None), "nobody wakes it: the interval does");
        assert_eq!(look("45.00"), (1, None));
        let pressure = |half, last: f64| {
            let last = BTreeMap::from([("io".to_owned(), last)]);
            let (resources, kind) = (vec!["io".to_owned()], "some".to_owned());
            let mut it = Pressure { resources, kind, half, last, rises: false };
            let mut fake = Fake::default();
            fake.put("/proc/pressure/io", "some avg10=30.00\n");
            it.read(&fake).unwrap();
            it.rises
        };
        assert!(pressure(20.0, 10.0));
        assert!(!pressure(20.0, 30.0), "it falls");
        assert!(!pressure(40.0, 10.0), "it is far from the limit");
    }

    /// More threads than processors: some always wait.
    #[test]
    fn the_kernel_says_when_programs_stand_still() {
        let machine = Machine::new(Path::new("/"));
        let settings = json!({"resource": "cpu", "above": "5%", "interval": "1h"});
        let Ok(mut beacon) = with(&settings, |it| make(it, &machine)) else { return };
        if beacon.sources().is_empty() {
            // Who is not root may ask only Linux 6.5 and later: the interval is all there is.
            return;
        }
        let (start, done) = (Instant::now(), AtomicBool::new(false));
        let mut told = beacon.look(Duration::ZERO, &machine).unwrap();
        let mut woken = 0;
        std::thread::scope(|scope| {
            for _ in 0..2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            while (woken < 2 || told.is_empty()) && start.elapsed() < LIMIT {
                let sources: Vec<_> = beacon.sources().iter().map(|it| (it.fd, it.urgent)).collect();
                woken += ready::wait(&sources, Duration::from_secs(1)).unwrap().len();
                told.extend(beacon.look(start.elapsed(), &machine).unwrap());
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(woken >= 2, "the kernel says so, and again");
        assert_eq!(told[0].0["state"], "on", "{told:?}");
    }
}

//! The beacon `process`: which processes there are, and what they use together.

use super::{Beacon, Signal, float, tenths, unreadable};
use crate::limit::{Crossing, Gauge, Limit};
use crate::senses::Senses;
use resources::{beacons::Settings, glob};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Numbers of processes that an event names.
const PIDS_MAX: usize = 8;
/// Longest command line that is compared.
const CMDLINE_BYTES_MAX: usize = 4096;
/// Of the kernel's clock, as programs see it, on every platform.
const TICKS_PER_S: f64 = 100.0;

/// Where the kernel says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";

pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Box::new(Watch::new(settings)?))
}

/// What is compared with limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Count,
    Cpu,
    Memory,
}

impl Measure {
    fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// Watches some processes.
#[derive(Debug)]
struct Watch {
    names: Vec<String>,
    cmdline: Option<String>,
    pidfile: Option<String>,
    measure: Measure,
    limit: Limit,
    gauge: Gauge,
    /// Ticks of each process, and when they were read.
    before: Option<(Duration, BTreeMap<u32, u64>)>,
}

/// A line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    ticks: u64,
    /// Of its memory.
    bytes: u64,
}

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let measure = match settings.text("measure").as_deref() {
            Some("cpu") => Measure::Cpu,
            Some("memory") => Measure::Memory,
            _ => Measure::Count,
        };
        let mut limit = Limit::of(settings);
        if settings.amount("above").is_none() && settings.amount("below").is_none() {
            if measure != Measure::Count {
                return Err("say `above` or `below`: what it is compared with".to_owned());
            }
            limit = Limit::below(0.0, &limit);
        }
        if measure == Measure::Count && limit.percent || measure == Measure::Cpu && !limit.percent {
            return Err("`count` is compared with a plain number, `cpu` with a percentage".to_owned());
        }
        let watch = Self {
            names: settings.texts("process"),
            cmdline: settings.text("cmdline"),
            pidfile: settings.text("pidfile"),
            measure,
            limit,
            gauge: Gauge::default(),
            before: None,
        };
        if watch.names.is_empty() && watch.cmdline.is_none() && watch.pidfile.is_none() {
            return Err("say which: `process`, `cmdline` or `pidfile`".to_owned());
        }
        Ok(watch)
    }

    /// Looks; the data of an event, if there is one.
    fn see(&mut self, now: Duration, senses: &dyn Senses) -> Result<Option<Map<String, Value>>, String> {
        let found = self.find(senses)?;
        let ticks = self.ticks_since(now, &found);
        let count = found.len();
        let used = found.values().map(|it| it.bytes).sum::<u64>();
        let mut data = Map::new();
        let number = match self.measure {
            Measure::Count => float(count as u64),
            Measure::Cpu => match ticks {
                None => return Ok(None),
                Some(percent) => {
                    data.insert("percent".to_owned(), json!(tenths(percent)));
                    percent
                }
            },
            Measure::Memory => {
                let percent = float(used) * 100.0
                    / float(
                        bytes_of(&senses.text(MEMINFO).map_err(unreadable(MEMINFO))?, "MemTotal:").max(1),
                    );
                data.insert("percent".to_owned(), json!(tenths(percent)));
                data.insert("used".to_owned(), json!(used));
                if self.limit.percent { percent } else { float(used) }
            }
        };
        let Some(crossing) = self.gauge.judge(&self.limit, now, number) else { return Ok(None) };
        data.insert("state".to_owned(), json!(crossing.state()));
        if crossing == Crossing::Still {
            data.insert("again".to_owned(), json!(true));
        }
        data.insert("measure".to_owned(), json!(self.measure.word()));
        data.insert("count".to_owned(), json!(count));
        data.insert("pids".to_owned(), json!(found.keys().take(PIDS_MAX).collect::<Vec<_>>()));
        Ok(Some(data))
    }

    /// Percent of one processor since the last look. Who was not there then counts from the next look on.
    fn ticks_since(&mut self, now: Duration, found: &BTreeMap<u32, Stat>) -> Option<f64> {
        if self.measure != Measure::Cpu {
            return None;
        }
        let ticks: BTreeMap<u32, u64> = found.iter().map(|(pid, it)| (*pid, it.ticks)).collect();
        let before = self.before.replace((now, ticks));
        let (at, before) = before?;
        let seconds = now.checked_sub(at)?.as_secs_f64();
        let used = |(pid, it): (&u32, &Stat)| Some(it.ticks.saturating_sub(*before.get(pid)?));
        let used: u64 = found.iter().filter_map(used).sum();
        (seconds > 0.0).then(|| float(used) / TICKS_PER_S / seconds * 100.0)
    }

    fn find(&self, senses: &dyn Senses) -> Result<BTreeMap<u32, Stat>, String> {
        let pids: Vec<u32> = match &self.pidfile {
            None => senses
                .names("/proc")
                .map_err(unreadable("/proc"))?
                .iter()
                .filter_map(|it| it.parse().ok())
                .collect(),
            // Without its file it does not run.
            Some(file) => senses.named(file).ok().and_then(|it| it.trim().parse().ok()).into_iter().collect(),
        };
        let mut found = BTreeMap::new();
        for pid in pids {
            // Whoever ends in this moment is not there.
            let Ok(line) = senses.text(&format!("/proc/{pid}/stat")) else { continue };
            let Some(mut stat) = stat(&line).filter(|it| !matches!(it.state, 'Z' | 'X')) else { continue };
            if !self.names.is_empty() && !self.names.iter().any(|it| is_named(it, &stat.name)) {
                continue;
            }
            if let Some(pattern) = &self.cmdline {
                let cmdline = senses.text(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if !glob(pattern, &one_line(&cmdline)) {
                    continue;
                }
            }
            if self.measure == Measure::Memory {
                let status = senses.text(&format!("/proc/{pid}/status")).unwrap_or_default();
                stat.bytes = bytes_of(&status, "VmRSS:");
            }
            found.insert(pid, stat);
        }
        Ok(found)
    }
}

/// The kernel keeps the first 15 bytes of a name.
fn is_named(pattern: &str, name: &str) -> bool {
    glob(pattern, name) || (name.len() == 15 && pattern.starts_with(name))
}

/// Arguments end with a zero each.
fn one_line(cmdline: &str) -> String {
    let mut text = cmdline.trim_end_matches('\0').replace('\0', " ");
    let end = text.char_indices().map(|(at, _)| at).take_while(|it| *it <= CMDLINE_BYTES_MAX).last();
    text.truncate(end.filter(|_| text.len() > CMDLINE_BYTES_MAX).unwrap_or(text.len()));
    text
}

/// The second field is a name in parentheses and may hold anything, also parentheses.
fn stat(line: &str) -> Option<Stat> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let fields: Vec<&str> = line.get(close + 1..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        name: line.get(open + 1..close)?.to_owned(),
        state: fields.first()?.chars().next()?,
        ticks: number(11)?.saturating_add(number(12)?),
        bytes: 0,
    })
}

fn bytes_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|it| it.strip_prefix(name));
    let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

impl Beacon for Watch {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        Ok(self.see(now, senses)?.map(Signal).into_iter().collect())
    }
    fn told(&self) -> Value {
        let what = || json!([self.names, self.cmdline, self.pidfile, self.measure.word()]);
        if self.gauge.is_on() { what() } else { Value::Null }
    }
    fn resume(&mut self, now: Duration, told: &Value) {
        self.gauge = Gauge::on_since(now);
        if self.told() != *told {
            self.gauge = Gauge::default();
        }
    }
    fn wake(&self) -> Option<Duration> {
        self.gauge.wake(&self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senses::fake::Fake;
    use resources::beacons::kind;

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Result<Watch, String> {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("process").unwrap(), &map).unwrap())
    }

    /// As Linux 6.1 writes it.
    fn put(machine: &mut Fake, pid: u32, name: &str, ticks: u64, kib: u64) {
        let rest = format!(
            "S 1 7 7 0 -1 4194560 100 0 0 0 {ticks} 0 0 0 20 0 1 0 300 9000000 100 18446744073709551615 1 1 0 0 0"
        );
        machine.put(&format!("/proc/{pid}/stat"), &format!("{pid} ({name}) {rest}\n"));
        machine.put(&format!("/proc/{pid}/status"), &format!("Name:\t{name}\nVmRSS:\t     {kib} kB\n"));
        machine.put(&format!("/proc/{pid}/cmdline"), &format!("/usr/sbin/{name}\0-g\0daemon off;\0"));
    }

    fn state(watch: &mut Watch, s: u64, machine: &Fake) -> Option<String> {
        let data = watch.see(Duration::from_secs(s), machine).unwrap()?;
        Some(format!("{} {}", data["state"].as_str().unwrap(), data["count"]))
    }

    #[test]
    fn an_event_when_none_is_left_and_when_one_is_back() {
        let mut machine = Fake::default();
        put(&mut machine, 1, "systemd", 0, 1);
        put(&mut machine, 50, "nginx", 0, 1);
        let mut it = watch(json!({"process": "nginx"})).unwrap();
        assert_eq!(state(&mut it, 0, &machine), None);
        machine.texts.remove("/proc/50/stat");
        assert_eq!(state(&mut it, 30, &machine).as_deref(), Some("on 0"));
        assert_eq!(state(&mut it, 60, &machine), None, "it was told");
        put(&mut machine, 51, "nginx", 0, 1);
        assert_eq!(state(&mut it, 90, &machine).as_deref(), Some("off 1"));
        machine
            .put("/proc/51/stat", "51 (nginx) Z 1 7 7 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 300 0 0 0\n");
        assert_eq!(state(&mut it, 120, &machine).as_deref(), Some("on 0"), "a zombie is none");
    }

    #[test]
    fn processes_are_found_by_name_command_line_and_file() {
        let mut machine = Fake::default();
        put(&mut machine, 7, "a (b) c", 0, 1);
        put(&mut machine, 8, "prometheus-node", 0, 1);
        machine.put("/run/x.pid", "8\n");
        let count = |settings: Value| {
            let mut settings = settings;
            settings["above"] = json!(0);
            let mut it = watch(settings).unwrap();
            it.see(Duration::ZERO, &machine).unwrap().unwrap()["count"].as_u64().unwrap()
        };
        assert_eq!(count(json!({"process": "a (b) c"})), 1);
        assert_eq!(count(json!({"process": "prometheus-node-exporter"})), 1, "cut at 15 bytes");
        assert_eq!(count(json!({"process": ["a*", "p*"]})), 2);
        assert_eq!(count(json!({"cmdline": "*prometheus* -g daemon off;"})), 1);
        assert_eq!(count(json!({"pidfile": "/run/x.pid"})), 1);
        assert_eq!(count(json!({"pidfile": "/run/y.pid"})), 0);
    }

    #[test]
    fn processor_time_and_memory_are_those_of_all_together() {
        let mut machine = Fake::default();
        machine.put("/proc/meminfo", "MemTotal:        1000 kB\n");
        put(&mut machine, 5, "a", 100, 100);
        put(&mut machine, 6, "a", 900, 100);
        let mut it = watch(json!({"process": "a", "measure": "cpu", "above": "150%"})).unwrap();
        assert_eq!(state(&mut it, 0, &machine), None, "nothing to compare with");
        put(&mut machine, 5, "a", 1000, 100);
        put(&mut machine, 6, "a", 1700, 100);
        put(&mut machine, 7, "a", 9999, 100);
        let data = it.see(Duration::from_secs(10), &machine).unwrap().unwrap();
        assert_eq!(data["percent"], json!(170.0), "the third was not there before");
        let mut it = watch(json!({"process": "a", "measure": "memory", "above": "20%"})).unwrap();
        let data = it.see(Duration::ZERO, &machine).unwrap().unwrap();
        assert_eq!((&data["percent"], &data["used"]), (&json!(30.0), &json!(300 * 1024)));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for wrong in [
            json!({}),
            json!({"process": "a", "measure": "cpu"}),
            json!({"process": "a", "above": "50%"}),
            json!({"process": "a", "measure": "cpu", "above": 50}),
        ] {
            assert!(watch(wrong.clone()).is_err(), "{wrong}");
        }
    }
}

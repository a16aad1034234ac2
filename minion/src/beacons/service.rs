//! The beacon `service`: states of units, as systemd tells them over the bus; without one, as programs do.

mod bus;
mod dbus;
mod units;
mod watcher;

pub(crate) use units::is_name as is_unit_name;

use super::Beacon;
use crate::senses::Senses;
use bus::{Heard, Told};
use resources::beacons::Settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Units that are watched by one beacon; more are left out, which is said.
const UNITS_MAX: usize = 512;
/// Names and patterns of one beacon.
const NAMES_MAX: usize = 64;
/// systemd calls a service failed for a moment before it starts it again.
const FLASH_MS: u64 = 200;
/// How long `active` and `inactive` must last.
const SETTLE_MS: u64 = 5_000;

pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Box::new(watcher::Watcher::new(Watch::new(settings)?)))
}

/// States that are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Inactive,
    Failed,
    Restarting,
}

impl State {
    const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Failed, Self::Restarting];

    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
        }
    }

    /// None while it is on its way from one to another.
    fn of(active: &str, sub: &str) -> Option<Self> {
        match active {
            "active" | "reloading" | "refreshing" => Some(Self::Active),
            "inactive" => Some(Self::Inactive),
            "failed" => Some(Self::Failed),
            "activating" if sub.starts_with("auto-restart") => Some(Self::Restarting),
            _ => None,
        }
    }
}

/// What a beacon watches.
#[derive(Debug)]
struct Watch {
    names: Vec<String>,
    states: Vec<State>,
    settle_ms: u64,
    units: BTreeMap<String, Unit>,
    /// Whether all were listed once.
    listed: bool,
    /// What is told at once, however soon it is over.
    telling: Vec<Map<String, Value>>,
    /// It was said that there are more than are watched.
    full: bool,
}

/// What is known of a unit.
#[derive(Debug, Default)]
struct Unit {
    /// What was told of it, or taken for how it always was.
    told: Option<State>,
    /// What it is, and since when, if that was not told yet.
    coming: Option<(State, u64)>,
    active: String,
    sub: String,
    result: String,
    restarts: u32,
}

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let names: Vec<String> = settings.texts("unit").iter().map(|it| units::full_name(it)).collect();
        if names.len() > NAMES_MAX {
            return Err(format!("`unit` names {} units: at most {NAMES_MAX} are taken", names.len()));
        }
        if let Some(wrong) = names.iter().find(|it| !units::is_name(it)) {
            return Err(format!("`{wrong}` is no name of a unit"));
        }
        let words = settings.texts("states");
        let standard = [State::Failed, State::Active, State::Restarting];
        let states = State::ALL.into_iter().filter(|it| {
            if words.is_empty() { standard.contains(it) } else { words.iter().any(|word| word == it.word()) }
        });
        let settle_ms = settings.time_ms("settle").unwrap_or(SETTLE_MS);
        Ok(Self {
            names,
            states: states.collect(),
            settle_ms,
            units: BTreeMap::new(),
            listed: false,
            telling: Vec::new(),
            full: false,
        })
    }

    /// Full names, and patterns of them.
    fn names(&self) -> &[String] {
        &self.names
    }

    /// Units that are not well, as it was told.
    fn told(&self) -> Value {
        let ill = |it: &Unit| it.told.filter(|it| matches!(it, State::Failed | State::Restarting));
        let ill: Map<String, Value> =
            self.units.iter().filter_map(|(name, it)| Some((name.clone(), json!(ill(it)?.word())))).collect();
        if ill.is_empty() { Value::Null } else { ill.into() }
    }

    /// Goes on from there.
    fn resume(&mut self, told: &Value) {
        for (name, word) in told.as_object().into_iter().flatten().take(UNITS_MAX) {
            let told = State::ALL.into_iter().find(|it| word == it.word());
            if units::is_wanted(&self.names, name) {
                self.units.insert(name.clone(), Unit { told, ..Unit::default() });
            }
        }
    }

    /// What came over the bus.
    fn hear(&mut self, now_ms: u64, heard: Heard) {
        match heard {
            Heard::Changed(told) => self.learn(now_ms, told),
            Heard::All(all) => self.list(now_ms, all),
        }
    }

    /// All units that are loaded. What is not among them does not run, and systemd has forgotten it.
    fn list(&mut self, now_ms: u64, all: Vec<Told>) {
        let gone: Vec<String> =
            self.units.keys().filter(|name| !all.iter().any(|it| it.unit == **name)).cloned().collect();
        let plain = self.names.iter().filter(|it| !units::is_pattern(it)).cloned();
        let absent: Vec<String> = plain
            .filter(|name| !all.iter().any(|it| it.unit == *name) && !self.units.contains_key(name))
            .collect();
        for unit in gone.into_iter().chain(absent) {
            let [active, sub] = ["inactive", "dead"].map(|it| Some(it.to_owned()));
            self.learn(now_ms, Told { unit, active, sub, ..Told::default() });
        }
        for told in all {
            // Of those that stand for a pattern only what runs, or has failed, is worth a place.
            let rests = told.active.as_deref() == Some("inactive") && !self.names.contains(&told.unit);
            if !rests || self.units.contains_key(&told.unit) {
                self.learn(now_ms, told);
            }
        }
        self.listed = true;
    }

    fn learn(&mut self, now_ms: u64, told: Told) {
        let known = self.units.contains_key(&told.unit);
        if !known && !units::is_wanted(&self.names, &told.unit) {
            return;
        }
        if !known && self.units.len() >= UNITS_MAX {
            if !std::mem::replace(&mut self.full, true) {
                let reason = format!("more than {UNITS_MAX} units: {} and others are left out", told.unit);
                self.telling.push(Map::from_iter([("limit".to_owned(), json!(reason))]));
            }
            return;
        }
        let name = told.unit;
        let unit = self.units.entry(name.clone()).or_default();
        unit.restarts = told.restarts.unwrap_or(unit.restarts);
        match told.result.as_deref() {
            // It is set back when it starts again: what it ended with is worth more.
            Some("success") | None => {}
            Some(result) => result.clone_into(&mut unit.result),
        }
        if told.active.is_none() {
            return;
        }
        unit.active = told.active.unwrap_or_default();
        unit.sub = told.sub.unwrap_or_default();
        let state = State::of(&unit.active, &unit.sub);
        let first = !known && !self.listed;
        match (state, unit.coming) {
            // How it is found is how it always was, unless that is bad.
            (Some(state @ (State::Active | State::Inactive)), _) if first => unit.told = Some(state),
            (Some(state), _) if unit.told == Some(state) => unit.coming = None,
            (Some(state), Some((coming, _))) if coming == state => {}
            (Some(State::Restarting), _) => {
                unit.coming = None;
                let was = unit.told.replace(State::Restarting);
                if self.states.contains(&State::Restarting) {
                    self.telling.push(unit.event(&name, State::Restarting, was));
                }
            }
            (Some(state), _) => unit.coming = Some((state, now_ms)),
            (None, _) => unit.coming = None,
        }
    }

    /// When [`Self::due`] has something to say next.
    fn next_wake_ms(&self) -> Option<u64> {
        let at = |unit: &Unit| {
            unit.coming.map(|(state, since)| since.saturating_add(wait_ms(state, self.settle_ms)))
        };
        if self.telling.is_empty() { self.units.values().filter_map(at).min() } else { Some(0) }
    }

    /// What is to be told by now: the data of events.
    fn due(&mut self, now_ms: u64) -> Vec<Map<String, Value>> {
        let mut events = std::mem::take(&mut self.telling);
        let mut gone = Vec::new();
        for (name, unit) in &mut self.units {
            let Some((state, since)) = unit.coming else { continue };
            if now_ms < since.saturating_add(wait_ms(state, self.settle_ms)) {
                continue;
            }
            // It may never come again: sessions and the like have a name of their own each.
            if state == State::Inactive && !self.names.contains(name) {
                gone.push(name.clone());
            }
            unit.coming = None;
            let was = unit.told.replace(state);
            if self.states.contains(&state) {
                events.push(unit.event(name, state, was));
            }
        }
        for name in gone {
            self.units.remove(&name);
            self.full = false;
        }
        events
    }
}

/// How long it must last.
fn wait_ms(state: State, settle_ms: u64) -> u64 {
    match state {
        State::Failed => FLASH_MS,
        State::Active | State::Inactive | State::Restarting => settle_ms,
    }
}

impl Unit {
    fn event(&self, name: &str, state: State, was: Option<State>) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("unit".to_owned(), json!(name));
        data.insert("state".to_owned(), json!(state.word()));
        if let Some(was) = was {
            data.insert("was".to_owned(), json!(was.word()));
        }
        data.insert("sub".to_owned(), json!(self.sub));
        if !self.result.is_empty() && matches!(state, State::Failed | State::Restarting) {
            data.insert("result".to_owned(), json!(self.result));
        }
        data.insert("restarts".to_owned(), json!(self.restarts));
        data
    }
}

/// What `systemctl show` prints: `Key=value`, an empty line between units.
fn shown(text: &str) -> Vec<Told> {
    let one = |block: &str| {
        let mut told = Told::default();
        for (key, value) in block.lines().filter_map(|it| it.split_once('=')) {
            match key {
                "Id" => value.clone_into(&mut told.unit),
                "ActiveState" => told.active = Some(value.to_owned()),
                "SubState" => told.sub = Some(value.to_owned()),
                "Result" => told.result = Some(value.to_owned()),
                "NRestarts" => told.restarts = value.parse().ok(),
                _ => {}
            }
        }
        (!told.unit.is_empty() && told.active.is_some()).then_some(told)
    };
    text.split("\n\n").filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::beacons::kind;

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Watch {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("service").unwrap(), &map).unwrap()).unwrap()
    }

    #[test]
    fn what_is_watched_is_bounded_and_what_is_gone_is_forgotten() {
        let loaded = |range: std::ops::Range<usize>| -> Vec<Told> {
            let [active, sub] = ["inactive", "dead"].map(|it| Some(it.to_owned()));
            let unit = |it| Told {
                unit: format!("b{it}.service"),
                active: active.clone(),
                sub: sub.clone(),
                ..Told::default()
            };
            range.map(unit).collect()
        };
        let mut it = watch(json!({"unit": ["b*", "c"], "states": "inactive"}));
        for now in [0, 10_000, 20_000] {
            it.list(now, loaded(0..UNITS_MAX * 2));
            let told = it.due(now + 9_000).len();
            assert_eq!((told, it.units.len()), (0, 1), "only the one with a name of its own has a place");
        }
    }

    /// Lines of `ms unit active sub [result]`, `ms list unit active ...` begins with all of them; then what is told when.
    fn play(settings: Value, script: &str) -> Vec<String> {
        let mut watch = watch(settings);
        let mut said = Vec::new();
        let mut run_until = |watch: &mut Watch, until: u64| {
            while let Some(at) = watch.next_wake_ms().filter(|it| *it <= until) {
                let at = if at == 0 { until } else { at };
                for event in watch.due(at) {
                    let word = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
                    said.push(format!(
                        "{at} {} {} was {} {}",
                        word("unit"),
                        word("state"),
                        word("was"),
                        word("result")
                    ));
                }
            }
        };
        for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let now: u64 = words[0].parse().unwrap();
            run_until(&mut watch, now);
            let told = |it: &[&str]| Told {
                unit: format!("{}.service", it[0]),
                active: it.get(1).map(|it| (*it).to_owned()),
                sub: it.get(2).map(|it| (*it).to_owned()),
                result: it.get(3).map(|it| (*it).to_owned()),
                restarts: None,
            };
            match words[1] {
                "list" => watch.list(now, words[2..].chunks(3).map(told).collect()),
                _ => watch.hear(now, Heard::Changed(told(&words[1..]))),
            }
            run_until(&mut watch, now);
        }
        run_until(&mut watch, u64::MAX - 1);
        said
    }

    #[test]
    fn every_case_tells_what_is_written_beside_it() {
        let all = json!({"unit": ["a", "b*"], "states": ["failed", "inactive", "active", "restarting"]});
        let cases: &[(&str, &str, &[&str])] = &[
            ("nothing happens", "0 list a active running b1 inactive dead", &[]),
            ("it is failed when we come", "0 list a failed failed", &["200 a.service failed was - -"]),
            (
                "killed for good",
                "0 list a active running\n 100 a active running signal\n 100 a failed failed",
                &["300 a.service failed was active signal"],
            ),
            (
                "killed, and started again by systemd",
                "0 list a active running\n 100 a failed failed signal\n 100 a activating auto-restart\n 400 a inactive dead\n 401 a active running",
                &["100 a.service restarting was active signal", "5401 a.service active was restarting -"],
            ),
            (
                "over and over",
                "0 list a active running\n 100 a activating auto-restart exit-code\n 200 a active running\n 900 a activating auto-restart\n 1000 a active running",
                &["100 a.service restarting was active exit-code", "6000 a.service active was restarting -"],
            ),
            (
                "restarted by hand",
                "0 list a active running\n 100 a deactivating stop-sigterm\n 200 a inactive dead\n 300 a activating start\n 400 a active running",
                &[],
            ),
            (
                "stopped",
                "0 list a active running\n 100 a inactive dead",
                &["5100 a.service inactive was active -"],
            ),
            (
                "gone from the list while the bus was away",
                "0 list a active running b1 active running\n 100 list a active running",
                &["5100 b1.service inactive was active -"],
            ),
            (
                "a new one of a pattern",
                "0 list a active running\n 100 b2 active running\n 200 c active running",
                &["5100 b2.service active was - -"],
            ),
        ];
        for (name, script, wanted) in cases {
            assert_eq!(play(all.clone(), script), *wanted, "{name}");
        }
        let sessions: Vec<String> = (0..2 * UNITS_MAX)
            .map(|it| format!("{0} b{1} active running\n {0} b{1} inactive dead", it * 6000, it))
            .collect();
        let script = format!("0 list a active running\n{}\n 9000000 b active running", sessions.join("\n"));
        let told = play(json!({"unit": "b*", "states": "active"}), &script);
        assert_eq!(told, ["9005000 b.service active was - -"], "what is gone leaves its place");
        let at_once: Vec<String> = (0..=UNITS_MAX).map(|it| format!("1 b{it} failed failed")).collect();
        let told = play(json!({"unit": "b*"}), &format!("0 list a active running\n{}", at_once.join("\n")));
        assert_eq!(told.len(), UNITS_MAX + 1, "and one says that there are more");
        let few = json!({"unit": "a", "states": "failed", "settle": 0});
        assert_eq!(play(few, "0 list a active running\n 5 a inactive dead\n 9 a failed failed").len(), 1);
    }

    // From systemctl 252 on Debian 12: show -p Id,ActiveState,SubState,Result,NRestarts victim.service ssh.service
    #[test]
    fn what_systemctl_shows_is_the_same() {
        let text = "Result=signal\nNRestarts=0\nId=victim.service\nActiveState=failed\nSubState=failed\n\nResult=success\nNRestarts=0\nId=nope.service\nActiveState=inactive\nSubState=dead\n";
        let told = shown(text);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].unit.as_str(), told[0].result.as_deref(), told[0].restarts),
            ("victim.service", Some("signal"), Some(0))
        );
        assert_eq!(told[1].active.as_deref(), Some("inactive"));
    }

    #[test]
    fn names_that_are_no_units_are_refused() {
        let settings = json!({"unit": "a',arg1='b"}).as_object().unwrap().clone();
        let settings = Settings::read(kind("service").unwrap(), &settings).unwrap();
        assert!(Watch::new(&settings).is_err());
    }
}

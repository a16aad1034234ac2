//! Cases of `reactor/*.yaml`: rules, and events with their times; what was decided stands beside them (`UPDATE=1` writes
//! it anew). Each case is also run with a restart at every point, and decides the same.

use lang::{
    Paint, Tree,
    reactor::{
        KEPT_BYTES_MAX, KEYS_MAX, List, Maintenance, Reactor, Replayed, StillWorld, World, aftermath, replay,
        waits_for,
    },
    render_diagnostics,
    rules::{HOPS_MAX, Rules},
    schedule::Zone,
};
use model::{Clause, Event, MinionId, Presence, Source, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, path::PathBuf, sync::Arc};

/// 2026-11-20 12:00:00 UTC, a Friday.
const START: u64 = 20_777 * 86_400_000 + 12 * 3_600_000;

/// One thing that happens in a case.
#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    /// Time passes.
    Wait(Timestamp),
    Maintenance(MinionId, Option<Timestamp>),
    Off(Vec<String>),
    Rules(Timestamp, Rules),
}

struct Case {
    rules: Rules,
    /// The actions are told too.
    shipped: bool,
    world: StillWorld,
    steps: Vec<Step>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reactor")
}

/// A file of the shipped `reactors/` beside the shipped states, with all of its rules switched on.
fn shipped(file: &str) -> Rules {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    let mut folders = vec![root.join("states")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let rules = std::fs::read_to_string(root.join("reactors").join(file)).unwrap();
    assert!(rules.starts_with("# "), "{file} says what it is for");
    files.push((format!("reactors/{file}"), rules.replace("enabled: false", "enabled: true")));
    let texts = files.iter().map(|it| (it.0.as_str(), it.1.as_str()));
    let compiled = Rules::load(&Tree::of_texts(texts));
    compiled.value.unwrap_or_else(|| panic!("{}", render_diagnostics(&compiled.diagnostics, Paint::Plain)))
}

fn load(text: &str) -> Result<Rules, String> {
    let compiled = Rules::load(&Tree::of_texts([("states/web.sls", ""), ("reactors/r.yaml", text)]));
    compiled.value.ok_or_else(|| render_diagnostics(&compiled.diagnostics, Paint::Plain))
}

fn at(text: &str) -> Timestamp {
    Timestamp(START + if text == "0s" { 0 } else { lang::duration::parse(text).unwrap() })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn member(value: &Value) -> Replayed {
    let labels = value["labels"].as_object().into_iter().flatten();
    Replayed {
        grains: value["grains"].as_object().cloned().unwrap_or_default(),
        labels: labels.map(|(key, value)| (key.clone(), text(value).to_owned())).collect(),
        presence: match value["presence"].as_str() {
            Some("lost") => Presence::Lost,
            Some("down") => Presence::Down,
            Some("quiet") => Presence::Quiet,
            _ => Presence::Up,
        },
        boot: value["boot"].as_str().map(str::to_owned),
        address: value["address"].as_str().map(str::to_owned),
    }
}

fn case(name: &str, value: &Value) -> Case {
    let file = value["file"].as_str();
    let rules = match file {
        Some(file) => shipped(file),
        None => load(text(&value["rules"])).unwrap_or_else(|told| panic!("{name}:\n{told}")),
    };
    let mut world = StillWorld { zone: Zone::fixed(3_600).unwrap(), ..StillWorld::default() };
    for (id, it) in value["members"].as_object().into_iter().flatten() {
        world.members.insert(id.parse().unwrap(), member(it));
    }
    let mut number = 0;
    let mut steps = Vec::new();
    for step in value["steps"].as_array().unwrap_or_else(|| panic!("{name} has no steps")) {
        let words: Vec<&Value> = step.as_array().map_or_else(|| vec![step], |it| it.iter().collect());
        let now = at(text(words[0]));
        let made = match words.get(1).map(|it| text(it)) {
            None => Step::Wait(now),
            Some("maintenance") => {
                steps.push(Step::Wait(now));
                let until = words.get(3).map(|it| at(text(it)));
                Step::Maintenance(text(words[2]).parse().unwrap(), until)
            }
            Some("off") => Step::Off(words[2..].iter().map(|it| text(it).to_owned()).collect()),
            Some("rules") => Step::Rules(now, load(text(words[2])).unwrap()),
            Some(tag) => {
                number += 1;
                let data = words.get(2).map_or(json!({}), |it| (*it).clone());
                let hops = data["hops"].as_u64().map_or(0, |it| u32::try_from(it).unwrap());
                let tag = tag.to_owned();
                Step::Event(Event { number, tag, source: Source::Master, at: now, data, hops, cause: vec![] })
            }
        };
        steps.push(made);
    }
    let shipped = file.is_some() || value["actions"] == true;
    Case { rules, shipped, world, steps }
}

/// A reactor with the rows that a store would have.
struct Run {
    reactor: Reactor,
    rules: Rules,
    shipped: bool,
    world: StillWorld,
    rows: BTreeMap<String, Value>,
    off: Vec<String>,
    now: Timestamp,
    out: String,
}

impl Run {
    fn new(case: &Case) -> Self {
        Self {
            reactor: Reactor::new(case.rules.clone()),
            rules: case.rules.clone(),
            shipped: case.shipped,
            world: case.world.clone(),
            rows: BTreeMap::new(),
            off: Vec::new(),
            now: Timestamp(START),
            out: String::new(),
        }
    }

    fn restart(&mut self) {
        let rows = json!(self.rows).to_string();
        let rows: BTreeMap<String, Value> = serde_json::from_str(&rows).unwrap();
        self.reactor = Reactor::default();
        self.reactor.restore(rows);
        self.reactor.replace_rules(self.now, Arc::new(self.rules.clone()));
        self.reactor.set_disabled(self.off.iter().cloned().collect());
        self.keep();
    }

    fn keep(&mut self) {
        for (key, data) in self.reactor.take_changes() {
            match data {
                Some(data) => self.rows.insert(key, data),
                None => self.rows.remove(&key),
            };
        }
    }

    fn tell(&mut self, what: &str, judged: Vec<lang::reactor::Judged>) {
        let time = lang::duration::show(self.now.0 - START);
        if what.starts_with("event") || !judged.is_empty() {
            writeln!(self.out, "{time:>8}  {what}").unwrap();
        }
        for it in judged {
            let word = match (it.fired, it.list) {
                (false, _) => "held".to_owned(),
                (true, List::Do) => "ACTS".to_owned(),
                (true, List::ElseAfter(place)) => format!("ACTS (else_after {})", place + 1),
            };
            writeln!(self.out, "          {} [{}] {word}: {}", it.rule, it.key, it.reason).unwrap();
            let clauses: Vec<String> = it.clauses.iter().map(short).collect();
            writeln!(self.out, "            {} | {}", clauses.join(" "), it.identity).unwrap();
            match it.actions {
                Err(cause) => writeln!(self.out, "            {cause}").unwrap(),
                Ok(actions) if self.shipped => {
                    for action in actions {
                        writeln!(self.out, "            {}", json!(action)).unwrap();
                    }
                }
                Ok(_) => {}
            }
        }
    }

    fn pass(&mut self, until: Timestamp) {
        while let Some(at) = self.reactor.next_wake().filter(|it| *it <= until) {
            self.now = at;
            let judged = self.reactor.wake(at, &self.world);
            self.tell("time", judged);
            self.keep();
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(until) => self.pass(*until),
            Step::Maintenance(id, until) => {
                if *until == Some(self.now) {
                    self.world.maintenance.remove(id);
                    self.reactor.maintenance_ended(self.now, id);
                    self.keep();
                } else {
                    let it = Maintenance { until: *until, reason: "new disks".to_owned() };
                    self.world.maintenance.insert(id.clone(), it);
                }
            }
            Step::Off(names) => {
                self.off.clone_from(names);
                self.reactor.set_disabled(names.iter().cloned().collect());
            }
            Step::Rules(now, rules) => {
                self.pass(*now);
                self.rules = rules.clone();
                let lost = self.reactor.replace_rules(*now, Arc::new(rules.clone()));
                let time = lang::duration::show(self.now.0 - START);
                writeln!(self.out, "{time:>8}  rules; begin anew: {lost:?}").unwrap();
                self.keep();
            }
            Step::Event(event) => {
                self.pass(event.at);
                if let Some(minion) = self.world.learn(event) {
                    self.reactor.maintenance_ended(event.at, &minion);
                }
                let identity = format!("e{}", event.number);
                let rules: Vec<String> = self.rules.iter().map(|it| it.name.clone()).collect();
                let explained: Vec<_> = rules
                    .iter()
                    .map(|it| self.reactor.explain(it, event.at, event, &self.world).unwrap())
                    .collect();
                let judged = self.reactor.react(event.at, event, &identity, &self.world);
                for it in &judged {
                    let told = explained.iter().find(|one| one.rule == it.rule).unwrap();
                    assert_eq!(
                        (told.fired, &told.clauses),
                        (it.fired, &it.clauses),
                        "an explanation foretells"
                    );
                }
                for it in explained.iter().filter(|it| judged.iter().all(|one| one.rule != it.rule)) {
                    assert!(!it.fired && it.reason.starts_with("on: "), "{}", it.reason);
                }
                self.tell(&format!("event {} {} {}", event.number, event.tag, event.data), judged);
                self.keep();
            }
        }
    }
}

/// `for+` held, `for-` did not, `for?` was not asked.
fn short(clause: &Clause) -> String {
    format!("{}{}", clause.name, clause.held.map_or("?", |it| if it { "+" } else { "-" }))
}

fn run(case: &Case, restart: impl Fn(usize) -> bool) -> String {
    let mut run = Run::new(case);
    for (place, step) in case.steps.iter().enumerate() {
        if restart(place) {
            run.restart();
        }
        run.step(step);
    }
    run.out
}

fn cases() -> Vec<(PathBuf, Vec<(String, Value)>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let body = std::fs::read_to_string(&path).unwrap();
        let made = lang::value_of_yaml("cases", &body);
        let value = made.value.unwrap_or_else(|| panic!("{}: {:?}", path.display(), made.diagnostics));
        let cases = value.as_object().unwrap().iter().map(|(name, it)| (name.clone(), it.clone())).collect();
        (path, cases)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_case_decides_what_is_written_beside_it_also_over_restarts() {
    let mut count = 0;
    for (path, cases) in cases() {
        let mut all = String::new();
        for (name, value) in cases {
            let case = case(&name, &value);
            let out = run(&case, |_| false);
            for point in 0..case.steps.len() {
                assert_eq!(run(&case, |it| it == point), out, "{name}, with a restart before step {point}");
            }
            assert_eq!(run(&case, |_| true), out, "{name}, with a restart before every step");
            writeln!(all, "# {name}\n{out}").unwrap();
            count += 1;
        }
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &all).unwrap();
        }
        let written = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(all, written, "{}: UPDATE=1 writes it anew", golden.display());
    }
    assert!(count >= 40, "{count} cases");
}

#[test]
fn every_shipped_reactor_has_a_case() {
    let cases = std::fs::read_to_string(folder().join("shipped.yaml")).unwrap();
    let reactors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../reactors");
    for file in std::fs::read_dir(reactors).unwrap().map(|it| it.unwrap().file_name()) {
        let file = file.into_string().unwrap();
        assert!(cases.contains(&format!("file: {file}")), "{file} has no case in shipped.yaml");
    }
}

#[test]
fn the_same_events_are_decided_the_same_byte_for_byte() {
    for (_, cases) in cases() {
        for (name, value) in cases {
            let case = case(&name, &value);
            let events = || {
                case.steps.iter().filter_map(|it| match it {
                    Step::Event(event) => Some(event.clone()),
                    _ => None,
                })
            };
            let decisions = || json!(replay(case.rules.clone(), case.world.clone(), events())).to_string();
            assert_eq!(decisions(), decisions(), "{name}");
        }
    }
}

#[test]
fn what_became_of_a_wait_is_found_in_later_decisions() {
    let mut all = String::new();
    for (path, cases) in cases() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["absent", "count", "debounce", "hold", "later", "maintenance", "several"]
            .contains(&name.as_str())
        {
            continue;
        }
        for (title, value) in &cases {
            let case = case(title, value);
            let mut rules = case.rules.clone();
            let mut events = Vec::new();
            for step in &case.steps {
                match step {
                    Step::Event(event) => events.push(event.clone()),
                    Step::Rules(_, new) => rules = new.clone(),
                    _ => {}
                }
            }
            let ends = events.last().map_or(Timestamp(START), |it| it.at).plus_ms(86_400_000);
            let decisions = replay(rules, case.world.clone(), events);
            let decisions: Vec<_> = decisions.into_iter().filter(|it| it.at <= ends).collect();
            writeln!(all, "# {name}: {title}").unwrap();
            for (place, decision) in decisions.iter().enumerate() {
                for verdict in &decision.verdicts {
                    let Some(waits) = waits_for(verdict) else { continue };
                    let time = |at: Timestamp| lang::duration::show(at.0 - START);
                    let (event, later) = ((decision.event, decision.at), &decisions[place + 1..]);
                    let found = match aftermath(event, &verdict.rule, Some(verdict), later) {
                        None => "nothing yet".to_owned(),
                        Some((then, it)) => {
                            let acted = if it.fired { "ACTS" } else { "held" };
                            format!("{} event {} {acted}: {}", time(then.at), then.event, it.reason)
                        }
                    };
                    let (at, number) = (time(decision.at), decision.event);
                    writeln!(
                        all,
                        "{at:>8}  event {number} {} [{}] waits for {waits}",
                        verdict.rule, verdict.key
                    )
                    .unwrap();
                    writeln!(all, "            -> {found}").unwrap();
                }
            }
        }
    }
    let golden = folder().join("why.out");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &all).unwrap();
    }
    assert_eq!(all, std::fs::read_to_string(&golden).unwrap_or_default(), "UPDATE=1 writes it anew");
}

const ALL_CLAUSES: &str = r##"
hold: { on: minion/+/beacon/disk, when: event.percent > 50, for: 5m, throttle: 2 per minion per 15m, else_after: { 10m: [ { event: { tag: late } } ] }, do: [ { event: { tag: a } } ] }
many: { on: "minion/+/#", count: 3 within 10m, group_by: [ event.mount ], debounce: 30s, do: [ { event: { tag: b } } ] }
gone: { on: minion/+/beacon/disk, absent: { within: 2m, after: up }, do: [ { event: { tag: c } } ] }
both: { all: { within: 10m, of: [ minion/+/start, minion/+/beacon/disk ] }, once_per: day, do: [ { event: { tag: d } } ] }
job: { on: "#", once_per: job, when: has event.job, do: [ { event: { tag: e } } ] }
"##;

fn any_event() -> impl Strategy<Value = (u64, String, Value)> {
    let tag = prop_oneof![
        "[a-c]{1,2}".prop_map(|it| format!("minion/vm-{it}/beacon/disk")),
        "[a-c]{1,2}".prop_map(|it| format!("minion/vm-{it}/start")),
        "[a-c]{1,2}".prop_map(|it| format!("minion/vm-{it}/lost")),
        "[a-z/]{0,12}",
    ];
    let data = (0..100_u64, "\\PC{0,300}", any::<bool>());
    let data = data.prop_map(|(percent, mount, job)| {
        let job = if job { json!(percent) } else { Value::Null };
        json!({"percent": percent, "mount": mount, "job": job})
    });
    (0..600_000_u64, tag, data)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_events_come_a_restart_alters_nothing(
        events in prop::collection::vec(any_event(), 1..60),
        point in 0..60_usize,
    ) {
        let mut now = START;
        let steps = events.into_iter().zip(1..).map(|((wait, tag, data), number)| {
            now += wait;
            let at = Timestamp(now);
            Step::Event(Event { number, tag, source: Source::Master, at, data, hops: 0, cause: vec![] })
        });
        let case = Case { rules: load(ALL_CLAUSES).unwrap(), shipped: false, world: StillWorld::default(), steps: steps.collect() };
        prop_assert_eq!(run(&case, |it| it == point), run(&case, |_| false));
    }
}

#[test]
fn no_stream_of_events_grows_memory_beyond_its_bounds() {
    let mut reactor = Reactor::new(load(ALL_CLAUSES).unwrap());
    let world = StillWorld::default();
    let mut rows = BTreeMap::new();
    for number in 0..20_000_u64 {
        let tag = format!("minion/vm-{number}/beacon/disk");
        let data = json!({"percent": 80, "mount": number, "job": number});
        let at = Timestamp(START + number);
        let event = Event { number, tag, source: Source::Master, at, data, hops: 0, cause: vec![] };
        reactor.react(at, &event, "x", &world);
        for (key, data) in reactor.take_changes() {
            match data {
                Some(data) => rows.insert(key, data),
                None => rows.remove(&key),
            };
        }
    }
    let (keys, forgotten) = reactor.keys();
    assert!(reactor.keys_of_rules().values().all(|it| *it <= KEYS_MAX), "{:?}", reactor.keys_of_rules());
    assert_eq!(keys, rows.len(), "what is on disk is what is in memory");
    assert!(forgotten > 10_000, "{forgotten}");
    let (mut woken, mut turns) = (0, 0);
    while let Some(at) = reactor.next_wake() {
        woken += reactor.wake(at, &world).len();
        turns += 1;
        assert!(turns < 100_000, "time ends");
    }
    assert!(woken > KEYS_MAX, "{woken}");
}

#[test]
fn a_loop_is_cut_where_the_rule_says() {
    let rules = load(
        "a: { on: x, max_hops: 2, do: [ { event: { tag: b } } ] }\nb: { on: x, do: [ { event: { tag: b } } ] }\n",
    );
    let mut reactor = Reactor::new(rules.unwrap());
    let fired = |hops| {
        let (at, data) = (Timestamp(START), json!({}));
        let event =
            Event { number: 1, tag: "x".into(), source: Source::Master, at, data, hops, cause: vec![] };
        let judged = reactor.react(at, &event, "x", &StillWorld::default());
        judged.iter().filter(|it| it.fired).count()
    };
    assert_eq!([0, 1, 2, HOPS_MAX - 1, HOPS_MAX].map(fired), [2, 2, 1, 1, 0]);
}

#[test]
fn an_event_that_was_missed_while_nobody_listened_gets_its_time_again() {
    let rules = load("gone: { on: minion/+/event/beat, absent: 2m, do: [ { event: { tag: c } } ] }").unwrap();
    let world = StillWorld::default();
    let mut reactor = Reactor::new(rules.clone());
    let (tag, at) = ("minion/vm-1/event/beat".to_owned(), Timestamp(START));
    let event = Event { number: 1, tag, source: Source::Master, at, data: json!({}), hops: 0, cause: vec![] };
    reactor.react(at, &event, "x", &world);
    let rows: Vec<_> = reactor.take_changes().into_iter().filter_map(|(key, it)| Some((key, it?))).collect();
    let mut later = Reactor::default();
    later.restore(rows);
    let back = at.plus_ms(3_600_000);
    later.replace_rules(back, Arc::new(rules));
    assert!(later.wake(back, &world).is_empty());
    assert!(later.wake(back.plus_ms(120_000), &world)[0].fired);
}

/// A world in which a machine is in maintenance without an end.
fn maintained(id: &str) -> StillWorld {
    let mut world = StillWorld::default();
    let it = Maintenance { until: None, reason: String::new() };
    world.maintenance.insert(id.parse().unwrap(), it);
    world
}

fn event(number: u64, tag: &str, at: Timestamp, data: Value) -> Event {
    Event { number, tag: tag.to_owned(), source: Source::Master, at, data, hops: 0, cause: vec![] }
}

#[test]
fn a_maintenance_that_ends_before_there_are_rules_is_not_forgotten() {
    let rules = load("a: { on: minion/+/event/x, debounce: 2m, do: [ { event: { tag: c } } ] }").unwrap();
    let world = maintained("vm-1");
    let mut reactor = Reactor::new(rules.clone());
    let at = Timestamp(START);
    reactor.react(at, &event(1, "minion/vm-1/event/x", at, json!({})), "x", &world);
    let due = at.plus_ms(120_000);
    assert!(!reactor.wake(due, &world)[0].fired);
    assert_eq!(reactor.next_wake(), None, "nobody knows when it ends");
    let rows: Vec<_> = reactor.take_changes().into_iter().filter_map(|(key, it)| Some((key, it?))).collect();
    let mut later = Reactor::default();
    later.restore(rows);
    later.maintenance_ended(due, &"vm-1".parse().unwrap());
    // Rules with a mistake in them rest, also over one more start.
    let rows: Vec<_> = later.take_changes().into_iter().filter_map(|(key, it)| Some((key, it?))).collect();
    assert_eq!(rows.len(), 1, "it is on disk that it ended");
    let mut once_more = Reactor::default();
    once_more.restore(rows);
    for mut reactor in [later, once_more] {
        reactor.replace_rules(due, Arc::new(rules.clone()));
        assert!(reactor.wake(due, &StillWorld::default())[0].fired);
    }
}

#[test]
fn a_flood_of_keys_does_not_lift_a_throttle() {
    for per in ["rule", "minion"] {
        let rules = load(&format!(
            "a: {{ on: 'minion/+/#', group_by: event.n, throttle: 1 per {per} per 1h, for: 1s, when: event.n > 0, do: [ {{ event: {{ tag: c }} }} ] }}"
        ));
        let mut reactor = Reactor::new(rules.unwrap());
        let world = StillWorld::default();
        let mut fired = 0;
        for n in 1..=KEYS_MAX as u64 + 100 {
            let at = Timestamp(START + n);
            reactor.react(at, &event(n, "minion/vm-1/x", at, json!({"n": n})), "x", &world);
        }
        let at = Timestamp(START + 10_000);
        while reactor.next_wake().is_some_and(|it| it <= at) {
            fired += reactor.wake(at, &world).iter().filter(|it| it.fired).count();
        }
        for n in 10_000..=10_000 + KEYS_MAX as u64 + 100 {
            let at = Timestamp(START + n);
            reactor.react(at, &event(n, "minion/vm-1/x", at, json!({"n": n})), "x", &world);
        }
        let at = Timestamp(START + 20_000);
        while reactor.next_wake().is_some_and(|it| it <= at) {
            fired += reactor.wake(at, &world).iter().filter(|it| it.fired).count();
        }
        assert_eq!(fired, 1, "per {per}");
    }
}

#[test]
fn stamps_that_do_not_count_any_more_give_way_first() {
    let rules = load(
        "a: { on: x, group_by: event.n, throttle: 1 per key per 1m, do: [ { event: { tag: c } } ] }\nb: { on: y, once_per: day, group_by: event.n, do: [ { event: { tag: c } } ] }",
    );
    let mut reactor = Reactor::new(rules.unwrap());
    let world = StillWorld::default();
    for n in 0..KEYS_MAX as u64 {
        let at = Timestamp(START);
        reactor.react(at, &event(n, "x", at, json!({"n": n})), "x", &world);
    }
    let later = Timestamp(START + 120_000);
    reactor.react(later, &event(1, "x", later, json!({"n": "one more"})), "x", &world);
    assert_eq!(reactor.keys(), (1, 0), "nothing was forgotten that still counted");
}

#[test]
fn events_that_are_remembered_are_bounded_in_bytes_and_the_rule_with_most_gives_way() {
    let rules = load(
        "big: { on: x, group_by: event.n, debounce: 1h, do: [ { event: { tag: c } } ] }\nsmall: { on: y, group_by: event.n, debounce: 1h, do: [ { event: { tag: c } } ] }",
    );
    let mut reactor = Reactor::new(rules.unwrap());
    let world = StillWorld::default();
    let text = "x".repeat(60 << 10);
    let at = Timestamp(START);
    for n in 0..100 {
        reactor.react(at, &event(n, "y", at, json!({"n": n})), "x", &world);
    }
    let fits = (KEPT_BYTES_MAX / text.len()) as u64;
    for n in 0..fits + 100 {
        reactor.react(at, &event(n, "x", at, json!({"n": n, "text": text})), "x", &world);
        assert!(reactor.kept_bytes() <= KEPT_BYTES_MAX);
    }
    let keys = reactor.keys_of_rules();
    assert!(keys["small"] == 100 && keys["big"] > 1_000, "{keys:?}");
    assert!(reactor.keys().1 >= 100);
    let (_, forgotten) = reactor.keys();
    reactor.react(at, &event(1, "y", at, json!({"n": "one more"})), "x", &world);
    assert!(reactor.keys().1 <= forgotten + 1);
}

#[test]
fn a_replay_knows_maintenance_presence_and_the_clock_on_the_wall() {
    let rules = load(
        "calm: { on: minion/+/event/x, debounce: 5m, do: [ { event: { tag: c } } ] }\nseen: { on: minion/+/drift, when: online, do: [ { event: { tag: c } } ] }\nnight: { on: minion/+/event/x, when: 'time in \"13:00-14:00\"', do: [ { event: { tag: c } } ] }",
    )
    .unwrap();
    let minute = |it: u64| Timestamp(START + it * 60_000);
    let events = [
        event(1, "minion/vm-1/event/x", minute(0), json!({})),
        event(2, "minion/vm-1/maintenance", minute(1), json!({"on": true, "until": null, "reason": "disks"})),
        event(3, "minion/vm-1/lost", minute(20), json!({})),
        event(4, "minion/vm-1/drift", minute(21), json!({})),
        event(5, "minion/vm-1/maintenance", minute(30), json!({"on": false})),
    ];
    let told = |zone: Zone| {
        let world = StillWorld { zone, ..StillWorld::default() };
        let decisions = replay(rules.clone(), world, events.clone());
        let verdicts = decisions.iter().flat_map(|it| it.verdicts.iter().map(move |one| (it.at, one)));
        verdicts.map(|(at, it)| (it.rule.clone(), (at.0 - START) / 60_000, it.fired)).collect::<Vec<_>>()
    };
    let wanted = |night: bool| {
        [("calm", 0, false), ("night", 0, night), ("calm", 5, false), ("seen", 21, false), ("calm", 30, true)]
            .map(|(name, at, fired)| (name.to_owned(), at, fired))
    };
    assert_eq!(told(Zone::default()), wanted(false), "12:00 in UTC");
    assert_eq!(told(Zone::fixed(3_600).unwrap()), wanted(true));
}

#[test]
fn complaints_about_rules_name_their_place_and_a_remedy() {
    let path = folder().join("complaints.txt");
    let body = std::fs::read_to_string(folder().join("complaints.rules")).unwrap();
    let told = load(&body).unwrap_err();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(&path).unwrap_or_default(), "UPDATE=1 writes it anew");
}

proptest! {
    #[test]
    fn no_clause_makes_the_loader_panic(
        key in "(on|any|all|when|for|throttle|count|absent|debounce|group_by|once_per|else_after|max_hops|priority|enabled|maintenance|concurrency|on_failure)",
        value in "\\PC{0,60}",
    ) {
        let _ = load(&format!("r:\n  on: x\n  do: [ {{ event: {{ tag: a }} }} ]\n  {key}: {value}\n"));
        let quoted = json!(value);
        let _ = load(&format!("r:\n  do: [ {{ event: {{ tag: a }} }} ]\n  on: x\n  {key}: {quoted}\n"));
        let _ = load(&format!("r:\n  do: [ {{ event: {{ tag: a }} }} ]\n  {key}: {{ within: {quoted}, of: [ {quoted} ], after: {quoted} }}\n"));
    }
}

#[test]
fn a_world_that_knows_nothing_is_no_reason_to_act() {
    let world = StillWorld::default();
    assert!(world.member(&"vm-1".parse().unwrap()).is_none());
    let rules = load("a: { on: x, when: presence = up or online or grains.x or labels.x = 1 or maintenance, do: [ { event: { tag: b } } ] }").unwrap();
    let at = Timestamp(START);
    let event = Event {
        number: 1,
        tag: "x".into(),
        source: Source::Master,
        at,
        data: json!({}),
        hops: 0,
        cause: vec![],
    };
    let judged = Reactor::new(rules).react(at, &event, "x", &world);
    assert!(!judged[0].fired, "{}", judged[0].reason);
}

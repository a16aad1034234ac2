//! Runs in waves as data: a fleet, how the run is to go, what comes of each machine; the waves and ends that follow, also
//! with a master that dies after any of its steps.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, Hello};
use model::{JobId, JobKind, OnStop, Phase, Request, Roll, Rolling, TargetState, Terminal};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const JOB: JobId = JobId(1);
/// Looks, a second each, before a run must be over.
const SECONDS_MAX: usize = 1_200;

fn rolling(text: &str) -> Rolling {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a machine still has to say.
#[derive(Clone, Debug)]
enum Act {
    Compiled(JobId, String),
    Received(JobId, String),
    Result(JobId, String),
}

/// A master and machines that do what they are told, each with its word.
struct Fleet {
    bench: Bench,
    names: Vec<String>,
    words: BTreeMap<String, Terminal>,
    cpu: BTreeMap<String, u32>,
    acts: VecDeque<Act>,
    /// What each machine has done: never twice.
    runs: BTreeMap<(JobId, String), u32>,
    unacknowledged: BTreeMap<String, BTreeSet<JobId>>,
    waves: Vec<Vec<String>>,
    at_work: BTreeSet<String>,
    checks: Vec<Terminal>,
    steps: usize,
    dies_after: Option<usize>,
}

impl Fleet {
    fn new(names: &[&str], results: &[(&str, Terminal)]) -> Self {
        Self {
            bench: Bench::with(names),
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            words: results.iter().map(|(name, word)| ((*name).to_owned(), *word)).collect(),
            cpu: BTreeMap::new(),
            acts: VecDeque::new(),
            runs: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            waves: Vec::new(),
            at_work: BTreeSet::new(),
            checks: Vec::new(),
            steps: 0,
            dies_after: None,
        }
    }

    fn submit(&mut self, kind: JobKind, rolling: Rolling) {
        self.submit_to(kind, rolling, false);
    }

    fn submit_to(&mut self, kind: JobKind, rolling: Rolling, wait: bool) {
        let mut request = submit(1, "vm-*", kind, wait);
        let Request::Submit { rolling: it, .. } = &mut request else { unreachable!() };
        *it = Some(Box::new(rolling));
        let effects = self.bench.ask(request);
        assert_eq!(refusal(&effects), None);
        self.after(&effects);
    }

    fn after(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Compile { job, minion, .. } => {
                    self.acts.push_back(Act::Compiled(*job, minion.to_string()));
                }
                Effect::Offer { job, minion, .. } => self.offered(*job, &minion.to_string()),
                Effect::Send { minion, message } => {
                    if let bus::message::ToMinion::Ack { jobs, .. } = &**message {
                        let unacknowledged = self.unacknowledged.entry(minion.to_string()).or_default();
                        unacknowledged.retain(|it| !jobs.contains(it));
                    }
                }
                _ => {}
            }
        }
        self.steps += 1;
        if self.dies_after == Some(self.steps) {
            self.die();
        }
    }

    fn offered(&mut self, job: JobId, name: &str) {
        let runs = self.runs.entry((job, name.to_owned())).or_default();
        *runs += 1;
        if *runs > 1 {
            return;
        }
        if job == JOB {
            if self.at_work.is_empty() {
                self.waves.push(Vec::new());
            }
            self.at_work.insert(name.to_owned());
            self.waves.last_mut().unwrap().push(name.to_owned());
        }
        self.acts.push_back(Act::Received(job, name.to_owned()));
        self.acts.push_back(Act::Result(job, name.to_owned()));
    }

    /// The master dies, and nothing of what it was sending arrives; machines come back with what they have.
    fn die(&mut self) {
        let waiting: Vec<Act> = self.acts.drain(..).collect();
        let effects = self.bench.crash();
        self.after(&effects);
        for name in self.names.clone() {
            let of = |it: &Act| match it {
                Act::Received(job, it) | Act::Result(job, it) if *it == name => Some(*job),
                _ => None,
            };
            let has: BTreeSet<JobId> = waiting.iter().filter_map(of).collect();
            let unacknowledged = self.unacknowledged.get(&name).cloned().unwrap_or_default();
            let hello = Hello {
                first_of_boot: false,
                waiting: has.iter().copied().collect(),
                unacknowledged: unacknowledged.iter().copied().collect(),
                ..hello()
            };
            let effects = self.bench.back(&name, hello);
            self.after(&effects);
            let again = unacknowledged.into_iter().chain(has);
            self.acts.extend(again.map(|job| Act::Result(job, name.clone())));
        }
    }

    fn act(&mut self, act: Act) {
        let effects = match act {
            Act::Compiled(job, name) => self.bench.compiled(job.0, &name),
            Act::Received(job, name) => self.bench.say(&name, FromMinion::Received { job }),
            Act::Result(job, name) => {
                self.at_work.remove(&name);
                let word = if job == JOB {
                    self.words.get(&name).copied().unwrap_or(Terminal::Changed)
                } else if self.checks.is_empty() {
                    Terminal::Changed
                } else {
                    self.checks.remove(0)
                };
                self.unacknowledged.entry(name.clone()).or_default().insert(job);
                self.bench.say(&name, result(job, word))
            }
        };
        self.after(&effects);
    }

    fn quiet_second(&mut self) {
        let effects = self.bench.pass(1_000);
        self.after(&effects);
        for name in self.names.clone() {
            let cpu = self.cpu.get(&name).copied().unwrap_or(5);
            let sample = json!({ "cpu": cpu }).as_object().unwrap().clone();
            self.bench.step(Input::Sample { minion: id(&name), sample });
            self.bench.say(&name, FromMinion::Heartbeat { running: None });
        }
    }

    fn is_open(&self) -> bool {
        !self.bench.master.book.open.is_empty()
    }

    /// Until nothing is open any more.
    fn run(&mut self) {
        for _ in 0..SECONDS_MAX {
            while let Some(act) = self.acts.pop_front() {
                self.act(act);
            }
            if !self.is_open() {
                return;
            }
            self.quiet_second();
        }
        panic!("it does not end: {:?}", self.bench.master.book.open);
    }

    fn ends(&self) -> Vec<(String, Terminal)> {
        let end = |name: &String| (name.clone(), self.bench.word(1, name).unwrap());
        self.names.iter().map(end).collect()
    }

    fn roll(&self) -> Roll {
        *self.bench.job(1).roll.unwrap()
    }

    /// While it is on its way.
    fn way(&self) -> Roll {
        self.bench.master.book.open[&JOB].roll.clone().unwrap()
    }
}

/// How it is to go; what comes of whom (else `changed`); the waves; who is cancelled; why it stopped; who is undone.
struct Case {
    name: &'static str,
    rolling: &'static str,
    results: &'static [(&'static str, Terminal)],
    waves: &'static [&'static [&'static str]],
    cancelled: &'static [&'static str],
    stopped: &'static str,
    undone: &'static [&'static str],
}

const FLEET: [&str; 6] = ["vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6"];

const CASES: &[Case] = &[
    Case {
        name: "waves of two",
        rolling: r#"{"batch": 2}"#,
        results: &[],
        waves: &[&["vm-1", "vm-2"], &["vm-3", "vm-4"], &["vm-5", "vm-6"]],
        cancelled: &[],
        stopped: "",
        undone: &[],
    },
    Case {
        name: "a canary, then half of all",
        rolling: r#"{"canary": 1, "batch": "50%"}"#,
        results: &[("vm-4", Terminal::Ok)],
        waves: &[&["vm-1"], &["vm-2", "vm-3", "vm-4"], &["vm-5", "vm-6"]],
        cancelled: &[],
        stopped: "",
        undone: &[],
    },
    Case {
        name: "the first failure stops it, and what has begun ends",
        rolling: r#"{"batch": 2}"#,
        results: &[("vm-3", Terminal::Failed)],
        waves: &[&["vm-1", "vm-2"], &["vm-3", "vm-4"]],
        cancelled: &["vm-5", "vm-6"],
        stopped: "1 machine failed (vm-3), and --max-fail is 1",
        undone: &[],
    },
    Case {
        name: "one failure is allowed, two stop it",
        rolling: r#"{"batch": 2, "max_fail": 2}"#,
        results: &[("vm-1", Terminal::Failed), ("vm-4", Terminal::Failed)],
        waves: &[&["vm-1", "vm-2"], &["vm-3", "vm-4"]],
        cancelled: &["vm-5", "vm-6"],
        stopped: "2 machines failed (vm-1, vm-4), and --max-fail is 2",
        undone: &[],
    },
    Case {
        name: "failures as a part of all",
        rolling: r#"{"batch": 3, "max_fail": "50%"}"#,
        results: &[("vm-1", Terminal::Failed), ("vm-2", Terminal::Refused)],
        waves: &[&["vm-1", "vm-2", "vm-3"], &["vm-4", "vm-5", "vm-6"]],
        cancelled: &[],
        stopped: "",
        undone: &[],
    },
    Case {
        name: "a canary that fails stops it whatever is allowed",
        rolling: r#"{"canary": 2, "max_fail": 5}"#,
        results: &[("vm-2", Terminal::Failed)],
        waves: &[&["vm-1", "vm-2"]],
        cancelled: &["vm-3", "vm-4", "vm-5", "vm-6"],
        stopped: "the first wave failed on vm-2",
        undone: &[],
    },
    Case {
        name: "what was changed is put back",
        rolling: r#"{"batch": 2, "on_stop": "undo"}"#,
        results: &[("vm-1", Terminal::Ok), ("vm-3", Terminal::Failed)],
        waves: &[&["vm-1", "vm-2"], &["vm-3", "vm-4"]],
        cancelled: &["vm-5", "vm-6"],
        stopped: "1 machine failed (vm-3), and --max-fail is 1",
        undone: &["vm-2", "vm-4"],
    },
    Case {
        name: "a gate that opens, and a wait",
        rolling: r#"{"batch": 3, "batch_wait_ms": 5000, "gate": {"when": "telemetry.cpu < 80", "hold_ms": 10000}}"#,
        results: &[],
        waves: &[&["vm-1", "vm-2", "vm-3"], &["vm-4", "vm-5", "vm-6"]],
        cancelled: &[],
        stopped: "",
        undone: &[],
    },
    Case {
        name: "a gate with a command",
        rolling: r#"{"batch": 3, "gate": {"check": ["curl", "-f", "http://localhost/"]}}"#,
        results: &[],
        waves: &[&["vm-1", "vm-2", "vm-3"], &["vm-4", "vm-5", "vm-6"]],
        cancelled: &[],
        stopped: "",
        undone: &[],
    },
];

fn begin(case: &Case) -> Fleet {
    let mut fleet = Fleet::new(&FLEET, case.results);
    fleet.submit(apply(), rolling(case.rolling));
    fleet
}

fn judge(case: &Case, fleet: &Fleet, place: &str) {
    let place = format!("{} {place}", case.name);
    let expected = |name: &str| {
        let word = case.results.iter().find(|it| it.0 == name).map_or(Terminal::Changed, |it| it.1);
        if case.cancelled.contains(&name) { Terminal::Cancelled } else { word }
    };
    let ends: Vec<(String, Terminal)> =
        FLEET.iter().map(|name| ((*name).to_owned(), expected(name))).collect();
    assert_eq!(fleet.ends(), ends, "{place}");
    let roll = fleet.roll();
    assert_eq!(roll.phase, Phase::Over, "{place}");
    assert_eq!(roll.begun.len(), case.waves.len(), "{place}");
    assert_eq!(roll.stopped.unwrap_or_default(), case.stopped, "{place}");
    let undone: Vec<String> = roll
        .undo
        .map(|it| fleet.bench.job(it.0).minions.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    assert_eq!(undone, case.undone, "{place}");
    let kept = fleet.bench.disk.iter().rev().find_map(|it| match it {
        Entry::Kept { part: Part::Rolling, data, .. } => Some(data.is_some()),
        _ => None,
    });
    assert_eq!(kept, Some(false), "{place}: nothing is kept of what is over");
}

#[test]
fn runs_go_in_the_waves_that_were_asked_for_and_end_as_their_cases_say() {
    for case in CASES {
        let mut fleet = begin(case);
        fleet.run();
        assert_eq!(fleet.waves, case.waves, "{}", case.name);
        judge(case, &fleet, "");
        assert!(fleet.runs.values().all(|it| *it == 1), "{}: {:?}", case.name, fleet.runs);
    }
}

#[test]
fn a_master_that_dies_after_any_step_goes_on_where_it_was_and_each_machine_gets_it_once() {
    let mut deaths = 0;
    for case in CASES {
        let mut whole = begin(case);
        whole.run();
        for step in 1..=whole.steps {
            let mut fleet = Fleet::new(&FLEET, case.results);
            fleet.dies_after = Some(step);
            fleet.submit(apply(), rolling(case.rolling));
            fleet.run();
            deaths += 1;
            let place = format!("dies after step {step}");
            assert_eq!(fleet.waves, case.waves, "{} {place}", case.name);
            judge(case, &fleet, &place);
        }
    }
    assert!(deaths > 150, "{deaths}");
}

#[test]
fn who_is_away_does_not_hold_up_a_wave_and_is_no_failure() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    for name in ["vm-1", "vm-4"] {
        fleet.bench.disconnect(name);
        fleet.names.retain(|it| it != name);
    }
    fleet.submit(command(), rolling(r#"{"batch": 1}"#));
    fleet.run();
    assert_eq!(fleet.waves, [["vm-2"], ["vm-3"], ["vm-5"], ["vm-6"]]);
    assert_eq!(fleet.bench.word(1, "vm-4"), Some(Terminal::Unreachable));
    assert_eq!(fleet.roll().stopped, None);
}

#[test]
fn a_run_that_waits_for_who_is_away_goes_on_without_them_and_they_have_their_turn_later() {
    for away in [&["vm-1"][..], &["vm-2", "vm-3"], &["vm-6"]] {
        let mut fleet = Fleet::new(&FLEET, &[]);
        for name in away {
            fleet.bench.disconnect(name);
            fleet.names.retain(|it| it != name);
        }
        fleet.submit_to(command(), rolling(r#"{"batch": 2}"#), true);
        // Nothing but what machines say: no clock helps a run on.
        while let Some(act) = fleet.acts.pop_front() {
            fleet.act(act);
        }
        let others = FLEET.iter().filter(|it| !away.contains(*it));
        for name in others {
            assert_eq!(fleet.bench.word(1, name), Some(Terminal::Changed), "{name} while {away:?} are away");
        }
        assert!(fleet.is_open());
        for name in away {
            let effects = fleet.bench.back(name, Hello { first_of_boot: false, ..hello() });
            fleet.after(&effects);
        }
        while let Some(act) = fleet.acts.pop_front() {
            fleet.act(act);
        }
        assert_eq!(fleet.roll().stopped, None);
        assert!(fleet.ends().iter().all(|it| it.1 == Terminal::Changed), "{:?}", fleet.ends());
        assert!(fleet.runs.values().all(|it| *it == 1), "{:?}", fleet.runs);
    }
}

#[test]
fn a_rules_run_passes_over_who_was_put_into_maintenance_since_it_began_and_a_persons_does_not() {
    let put = |fleet: &mut Fleet| {
        let act = model::MaintenanceAct::On { for_ms: None, reason: "new disk".to_owned() };
        let effects = fleet.bench.ask(Request::Maintain { target: "vm-4".to_owned(), act });
        fleet.after(&effects);
    };
    let finish = |fleet: &mut Fleet| {
        for _ in 0..5 {
            while let Some(act) = fleet.acts.pop_front() {
                fleet.act(act);
            }
            fleet.quiet_second();
        }
    };
    for (more, expected) in [("", Terminal::Cancelled), (", maintenance: ignore", Terminal::Changed)] {
        let mut fleet = Fleet::new(&FLEET, &[]);
        fleet.bench.rules(&format!(
            "deploy:\n  on: user/admin/deploy{}\n  do:\n    - apply: {{target: 'vm-*', states: [], batch: 2}}\n",
            more.replace(", ", "\n  ")
        ));
        let tag = "deploy".to_owned();
        let effects = fleet.bench.ask(Request::SendEvent { tag, data: serde_json::Map::new() });
        fleet.after(&effects);
        let job = fleet.bench.master.book.open.values().next().unwrap().job.id;
        put(&mut fleet);
        finish(&mut fleet);
        let job = fleet.bench.job(job.0);
        assert!(job.ended.is_some(), "{job:?}");
        assert_eq!(fleet.bench.word(job.id.0, "vm-4"), Some(expected), "{more}");
        assert_eq!(fleet.bench.word(job.id.0, "vm-5"), Some(Terminal::Changed));
    }
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(apply(), rolling(r#"{"batch": 2}"#));
    put(&mut fleet);
    fleet.run();
    assert!(fleet.ends().iter().all(|it| it.1 == Terminal::Changed), "{:?}", fleet.ends());
}

#[test]
fn who_is_lost_at_its_part_counts_as_failed_after_a_minute() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 2}"#));
    for act in std::mem::take(&mut fleet.acts) {
        fleet.act(act);
    }
    fleet.bench.say("vm-1", FromMinion::Received { job: JOB });
    fleet.bench.disconnect("vm-1");
    fleet.acts.retain(|it| !matches!(it, Act::Received(_, name) | Act::Result(_, name) if name == "vm-1"));
    fleet.names.remove(0);
    for act in std::mem::take(&mut fleet.acts) {
        fleet.act(act);
    }
    for _ in 0..55 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.bench.word(1, "vm-3"), None, "it may come back");
    for _ in 0..10 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.bench.word(1, "vm-3"), Some(Terminal::Cancelled));
    assert_eq!(fleet.bench.word(1, "vm-1"), None, "its own end is not known");
    let view = fleet.bench.master.job_view(JOB).unwrap();
    assert!(view.job.roll.unwrap().stopped.unwrap().contains("vm-1"));
    assert_eq!(view.words.get("lost contact"), Some(&1));
    fleet.bench.back("vm-1", Hello { unacknowledged: vec![JOB], first_of_boot: false, ..hello() });
    fleet.bench.say("vm-1", result(JOB, Terminal::Ok));
    assert!(fleet.bench.job(1).ended.is_some());
}

#[test]
fn a_wave_waits_for_who_lost_contact_before_its_part_reached_it() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 1, "max_fail": 2}"#));
    fleet.bench.disconnect("vm-1");
    fleet.names.remove(0);
    fleet.acts.clear();
    for _ in 0..55 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.way().begun.len(), 1, "it may come back");
    for _ in 0..10 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.way().begun.len(), 2);
}

#[test]
fn who_is_back_from_being_lost_has_its_part_before_the_next_wave() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 1, "max_fail": 2, "batch_wait_ms": 10000}"#));
    fleet.bench.compiled(JOB.0, "vm-1");
    fleet.bench.say("vm-1", FromMinion::Received { job: JOB });
    fleet.bench.disconnect("vm-1");
    fleet.names.remove(0);
    fleet.acts.clear();
    for _ in 0..63 {
        fleet.quiet_second();
    }
    assert!(matches!(fleet.way().phase, Phase::Waiting { .. }), "it counts as failed: {:?}", fleet.way());
    fleet.bench.back("vm-1", Hello { running: Some(JOB), first_of_boot: false, ..hello() });
    fleet.names.insert(0, "vm-1".to_owned());
    for _ in 0..20 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.way().begun.len(), 1, "it is at its part");
    let wake = fleet.bench.master.next_wake();
    assert!(wake.is_none_or(|it| it > fleet.bench.now), "nothing turns in circles: {wake:?}");
    fleet.bench.say("vm-1", result(JOB, Terminal::Ok));
    assert_eq!(fleet.way().begun.len(), 2);
}

#[test]
fn who_waits_for_its_wave_is_shown_so_and_its_offer_expires_after_its_waves_begin() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 3, "batch_wait_ms": 300000}"#));
    let view = fleet.bench.master.job_view(JOB).unwrap();
    assert_eq!(view.words, BTreeMap::from([("accepted".to_owned(), 3), ("waiting".to_owned(), 3)]));
    let turn = view.targets[3].turn.unwrap();
    assert_eq!((turn.wave, turn.of, turn.waits), (2, 2, true));
    while let Some(act) = fleet.acts.pop_front() {
        fleet.act(act);
    }
    for _ in 0..299 {
        fleet.quiet_second();
        assert_eq!(fleet.bench.word(1, "vm-4"), None, "nothing expires before its wave");
    }
    fleet.run();
    assert_eq!(fleet.waves.len(), 2);
    // A wave that hangs expires by its own begin.
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 3}"#));
    fleet.acts.clear();
    fleet.bench.pass(59_000);
    assert_eq!(fleet.bench.word(1, "vm-1"), None);
    fleet.bench.pass(1_000);
    assert_eq!(fleet.bench.word(1, "vm-1"), Some(Terminal::Expired));
    assert_eq!(fleet.bench.word(1, "vm-4"), Some(Terminal::Cancelled));
}

fn begun(gate: &str) -> Fleet {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(apply(), rolling(&format!(r#"{{"batch": 3, "on_stop": "undo", "gate": {gate}}}"#)));
    fleet
}

fn gated(gate: &str) -> Fleet {
    let mut fleet = begun(gate);
    while let Some(act) = fleet.acts.pop_front() {
        fleet.act(act);
    }
    fleet
}

fn said(fleet: &Fleet) -> String {
    match &fleet.bench.master.book.open[&JOB].roll.as_ref().unwrap().phase {
        Phase::Gate { said, .. } => said.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_gate_holds_only_without_a_break_and_fails_in_time() {
    let mut fleet = gated(r#"{"when": "telemetry.cpu < 80", "hold_ms": 20000, "timeout_ms": 60000}"#);
    for _ in 0..15 {
        fleet.quiet_second();
    }
    assert!(said(&fleet).starts_with("it must hold for"), "{}", said(&fleet));
    fleet.cpu.insert("vm-2".to_owned(), 93);
    fleet.quiet_second();
    fleet.quiet_second();
    assert!(said(&fleet).starts_with("vm-2: telemetry.cpu < 80"), "{}", said(&fleet));
    fleet.cpu.clear();
    for _ in 0..15 {
        fleet.quiet_second();
    }
    assert_eq!(fleet.waves.len(), 1, "it holds from anew");
    fleet.cpu.insert("vm-5".to_owned(), 99);
    for _ in 0..10 {
        fleet.quiet_second();
    }
    while let Some(act) = fleet.acts.pop_front() {
        fleet.act(act);
    }
    assert_eq!(fleet.waves.len(), 2, "what is not in the wave does not matter");
    fleet.run();
    let roll = fleet.roll();
    let why = roll.stopped.unwrap();
    assert!(
        why.starts_with("the gate after wave 2 did not open: in time: vm-5: telemetry.cpu < 80"),
        "{why}"
    );
    let undo = fleet.bench.job(roll.undo.unwrap().0);
    assert_eq!(undo.minions.len(), 6, "{undo:?}");
    assert_eq!(fleet.ends().iter().filter(|it| it.1 == Terminal::Changed).count(), 6);
    assert_eq!(undo.caller, caller());
}

#[test]
fn a_gate_wants_new_samples_its_machines_and_quiet() {
    let mut fleet = gated(r#"{"when": "telemetry.cpu < 80", "quiet": "beacon/service/#", "hold_ms": 5000}"#);
    fleet.bench.pass(1_000);
    assert_eq!(said(&fleet), "vm-1 has sent no sample yet");
    for _ in 0..4 {
        fleet.quiet_second();
    }
    let tag = "beacon/service/nginx".to_owned();
    fleet.bench.say("vm-2", FromMinion::Event { number: 1, tag, data: json!({}), gap: 0 });
    fleet.bench.pass(1_000);
    assert_eq!(said(&fleet), "there was minion/vm-2/beacon/service/nginx");
    fleet.bench.disconnect("vm-3");
    fleet.names.retain(|it| it != "vm-3");
    fleet.quiet_second();
    assert_eq!(said(&fleet), "vm-3 is away");
    for _ in 0..65 {
        fleet.quiet_second();
    }
    let roll =
        fleet.bench.master.book.open.get(&JOB).and_then(|it| it.roll.clone()).unwrap_or_else(|| fleet.roll());
    assert_eq!(roll.stopped.unwrap(), "the gate after wave 1 did not open: vm-3 was lost");
}

#[test]
fn a_check_is_run_again_until_it_ends_well_and_fails_in_time() {
    let mut fleet = begun(r#"{"check": ["true"], "timeout_ms": 60000}"#);
    fleet.checks = vec![Terminal::Ok, Terminal::Failed, Terminal::Ok];
    fleet.run();
    assert_eq!((fleet.roll().stopped, fleet.waves.len()), (None, 2));
    let checks: BTreeSet<JobId> = fleet.runs.keys().map(|it| it.0).filter(|it| *it != JOB).collect();
    assert_eq!(checks.len(), 3, "twice behind the first wave, once behind the second");
    let mut fleet = begun(r#"{"check": ["true"], "timeout_ms": 20000}"#);
    fleet.checks = vec![Terminal::Failed; 100];
    fleet.run();
    let why = fleet.roll().stopped.unwrap();
    assert!(
        why.contains("did not open: in time: the check of job") && why.contains("failed on vm-1"),
        "{why}"
    );
}

#[test]
fn cancelling_stops_a_run_and_undoes_nothing() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(apply(), rolling(r#"{"batch": 2, "on_stop": "undo"}"#));
    let effects = fleet.bench.ask(Request::Cancel { job: JOB.to_string() });
    let Some(model::Reply::Done(lines)) = reply(&effects) else { panic!("{effects:?}") };
    assert!(lines[0].contains("cancelled on 6 minions"), "{lines:?}");
    let job = fleet.bench.job(1);
    assert!(job.ended.is_some() && job.cancelled.is_some());
    let roll = job.roll.unwrap();
    assert_eq!((roll.stopped.as_deref(), roll.undo), (Some("it was cancelled"), None));
    // In the middle of a gate, whose check ends with it.
    let mut fleet = gated(r#"{"check": ["sleep"]}"#);
    fleet.bench.pass(1_000);
    fleet.bench.ask(Request::Cancel { job: JOB.to_string() });
    fleet.run();
    assert_eq!(fleet.roll().undo, None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let cases = [
        (command(), r#"{"batch": 1, "on_stop": "undo"}"#, "only what an apply changed can be undone"),
        (apply(), r#"{"gate": {"when": "telemetry.cpu <"}}"#, "the gate's condition cannot be read"),
        (apply(), r#"{"gate": {}}"#, "a gate needs"),
        (apply(), r#"{"gate": {"hold_ms": 10, "timeout_ms": 5}}"#, "never opens"),
        (apply(), r#"{"batch_wait_ms": 99999999999}"#, "at most 7 days"),
    ];
    for (kind, text, expected) in cases {
        let mut bench = Bench::with(&FLEET);
        let mut request = submit(1, "vm-*", kind, false);
        let Request::Submit { rolling: it, .. } = &mut request else { unreachable!() };
        *it = Some(Box::new(rolling(text)));
        let effects = bench.ask(request);
        let (_, message) = refusal(&effects).unwrap_or_else(|| panic!("{text} was taken"));
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn the_gates_command_and_the_undoing_need_their_own_rights() {
    let roles = "roles:\n  applier:\n    allow:\n      - functions: [state.*]\n        targets: '*'\n";
    let ask = |rolling: Rolling| {
        let mut bench = Bench::with(&FLEET);
        let roles = lang::roles::Roles::parse("roles.yaml", roles).value.unwrap();
        bench.master.set_roles(Arc::new(roles));
        let mut request = submit(1, "vm-*", apply(), false);
        let Request::Submit { rolling: it, .. } = &mut request else { unreachable!() };
        *it = Some(Box::new(rolling));
        let caller = model::Caller::new("ci", "test", "applier");
        let effects = bench.ask_as(caller, request);
        refusal(&effects).map(|it| it.1.to_owned())
    };
    assert_eq!(ask(rolling(r#"{"batch": 2}"#)), None);
    let check = ask(rolling(r#"{"gate": {"check": ["reboot"]}}"#));
    assert!(check.as_ref().is_some_and(|it| it.contains("cmd.run")), "{check:?}");
    let undo = ask(Rolling { on_stop: OnStop::Undo, ..Rolling::default() });
    assert!(undo.as_ref().is_some_and(|it| it.contains("job.undo")), "{undo:?}");
}

#[test]
fn a_member_that_is_removed_ends_while_it_waits() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    fleet.submit(command(), rolling(r#"{"batch": 2}"#));
    fleet.bench.ask(Request::RemoveMinion { minion: id("vm-4") });
    fleet.names.retain(|it| it != "vm-4");
    fleet.run();
    assert_eq!(fleet.bench.word(1, "vm-4"), Some(Terminal::Interrupted));
    assert_eq!(fleet.bench.word(1, "vm-6"), Some(Terminal::Cancelled), "a machine that is gone has failed");
    assert!(matches!(fleet.bench.on_disk(1, "vm-3"), Some(TargetState::Ended { .. })));
}

#[test]
fn a_rule_says_waves_in_the_same_words_and_needs_its_rights() {
    let mut fleet = Fleet::new(&FLEET, &[]);
    let fire = |fleet: &mut Fleet, words: &str| {
        fleet.bench.rules(&format!(
            "deploy:\n  on: user/admin/deploy\n  do:\n    - apply: {{target: 'vm-*', states: [], {words}}}\n"
        ));
        let tag = "deploy".to_owned();
        fleet.bench.ask(Request::SendEvent { tag, data: serde_json::Map::new() })
    };
    let effects = fire(&mut fleet, "batch: 50%, on_stop: undo");
    assert!(format!("{:?}", records(&effects)).contains("role rule may not job.undo"), "{effects:?}");
    assert!(!fleet.is_open());
    let effects = fire(&mut fleet, "batch: 50%, canary: 1");
    fleet.after(&effects);
    let job = fleet.bench.master.book.open.values().next().unwrap().job.clone();
    assert_eq!(job.rolling.as_deref(), Some(&rolling(r#"{"batch": "50%", "canary": 1}"#)));
    for _ in 0..5 {
        while let Some(act) = fleet.acts.pop_front() {
            fleet.act(act);
        }
        fleet.quiet_second();
    }
    assert_eq!(fleet.bench.job(job.id.0).roll.unwrap().begun.len(), 3);
}

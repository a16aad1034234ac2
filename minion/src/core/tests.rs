//! Tests of the core: scripts of inputs and what must come of them.

use super::*;
use bus::message::{JobResult, Offer, SealedRecipe};
use model::{Mode, Outcome, Plan, RunReport, StepReport, Terminal};
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp(1_000_000);
/// The master's clock is this much ahead.
const AHEAD_MS: u64 = 500_000;

fn settings() -> Settings {
    let grains = crate::grains::imagined(&"vm-1".parse().unwrap());
    Settings {
        version: "0.1.0".to_owned(),
        boot: "boot-1".to_owned(),
        sandbox: false,
        masters: 1,
        masters_hash: None,
        outbox_bytes: OUTBOX_BYTES_MAX,
        conduct: None,
        grains_hash: crate::grains::hash(&grains),
        grains,
    }
}

fn offer(number: u128) -> Offer {
    Offer {
        job: JobId(number),
        mode: Mode::Apply,
        command: false,
        full: false,
        expires: NOW.plus_ms(AHEAD_MS + 60_000),
        what: "apply web".to_owned(),
        recipe: SealedRecipe::Here { sealed: String::new() },
        confirm_ms: None,
        begun: None,
    }
}

fn report(outcome: Outcome) -> RunReport {
    let step = StepReport {
        index: 0,
        id: "site".to_owned(),
        sls: "web".to_owned(),
        kind: "file.managed".to_owned(),
        name: "/srv/site".to_owned(),
        outcome,
        comment: "because".to_owned(),
        plan: Plan::default(),
        output: None,
        duration_ms: 1,
        at: None,
    };
    RunReport { mode: Mode::Apply, steps: vec![step], duration_ms: 1, cancelled: false, sandbox: false }
}

/// A minion with a disk that is read again after every step: memory and journal may never differ.
struct Bench {
    minion: Minion,
    now: Timestamp,
    disk: Vec<Entry>,
    lazy: Vec<Entry>,
    settings: Settings,
}

impl Bench {
    fn new() -> Self {
        let settings = settings();
        let minion = Minion::restore(settings.clone(), NOW, []);
        Self { minion, now: NOW, disk: Vec::new(), lazy: Vec::new(), settings }
    }

    /// Started, connected, welcomed.
    fn member() -> Self {
        let mut bench = Self::new();
        bench.step(Input::Started);
        bench.welcome();
        bench
    }

    fn welcome(&mut self) -> Vec<String> {
        self.step(Input::Connected);
        let now = self.now.plus_ms(AHEAD_MS);
        self.hear(ToMinion::Welcome {
            version: "0.1.3".to_owned(),
            now,
            want_grains: false,
            heartbeat_s: 30,
            sample_s: 10,
            spread_s: 0,
        })
    }

    fn hear(&mut self, message: ToMinion) -> Vec<String> {
        let sent = self.now.plus_ms(AHEAD_MS);
        self.step(Input::Message { message: Box::new(message), sent })
    }

    fn offer(&mut self, offer: Offer) -> Vec<String> {
        self.hear(ToMinion::Offer(Box::new(offer)))
    }

    fn step(&mut self, input: Input) -> Vec<String> {
        let effects = self.minion.step(self.now, input);
        for effect in &effects {
            match effect {
                Effect::Record(entry) => {
                    self.disk.append(&mut self.lazy);
                    self.disk.push((**entry).clone());
                }
                Effect::Later(entry) => self.lazy.push((**entry).clone()),
                _ => {}
            }
        }
        self.check_replay();
        effects.iter().map(gist).collect()
    }

    fn check_replay(&self) {
        let all = self.disk.iter().chain(&self.lazy).cloned();
        let replayed = Minion::restore(self.settings.clone(), self.now, all);
        assert_eq!(replayed.memory, self.minion.memory, "a replay makes the same memory");
        let compacted = Minion::restore(self.settings.clone(), self.now, self.minion.snapshot());
        assert_eq!(compacted.memory.jobs, self.minion.memory.jobs, "a snapshot makes the same memory");
        assert_eq!(compacted.memory.queue, self.minion.memory.queue);
        assert_eq!(compacted.memory.next_event(), self.minion.memory.next_event());
    }

    /// The process is killed: what was not synced is lost.
    fn crash(&mut self) -> Vec<String> {
        self.lazy.clear();
        self.minion = Minion::restore(self.settings.clone(), self.now, self.disk.clone());
        self.step(Input::Started)
    }

    fn ended(&mut self, job: u128, outcome: Outcome) -> Vec<String> {
        let end = RunEnd::Report { report: Box::new(report(outcome)), events: Vec::new() };
        self.step(Input::RunEnded { job: JobId(job), end })
    }

    fn lost(&mut self, job: u128) -> Vec<String> {
        let end = RunEnd::Lost { reason: "gone".to_owned() };
        self.step(Input::RunEnded { job: JobId(job), end })
    }
}

/// What an effect is, in few words.
fn gist(effect: &Effect) -> String {
    match effect {
        Effect::Record(entry) => format!("record {}", entry_gist(entry)),
        Effect::Later(entry) => format!("later {}", entry_gist(entry)),
        Effect::Send(message) => format!("send {}", message_gist(message)),
        Effect::Start { offer, attempt, resume: None } => format!("start {} {attempt}", offer.job.0),
        Effect::Start { offer, attempt, resume: Some(Resume { step, failed }) } => {
            let how = if failed.is_some() { "failed" } else { "good" };
            format!("start {} {attempt} behind {step} {how}", offer.job.0)
        }
        Effect::PutBack { job } => format!("put back {}", job.0),
        Effect::Reboot { job, .. } => format!("reboot {}", job.0),
        Effect::Reconnect => "reconnect".to_owned(),
        Effect::Kill { job } => format!("kill {}", job.0),
        Effect::Recover { job, undoing: true } => format!("recover undo {}", job.0),
        Effect::Recover { job, undoing: false } => format!("recover {}", job.0),
        Effect::Cancel { job } => format!("cancel {}", job.0),
        Effect::Clean { job } => format!("clean {}", job.0),
        Effect::CollectGrains { probe } => format!("collect {probe}"),
        Effect::Wake { probe, macs } => format!("wake {probe} {}", macs.join(" ")),
        Effect::AnswerQuestions { probe, questions, commands } => {
            format!("look {probe} {} {commands}", questions.len())
        }
        Effect::ShowBeacons { probe, name } => format!("show beacons {probe} {name:?}"),
        Effect::Conduct { sealed, .. } => format!("conduct {sealed}"),
        Effect::Due { name, .. } => format!("due {name}"),
        Effect::Pace { sample_s, .. } => format!("pace {sample_s}"),
        Effect::Masters(_) => "masters".to_owned(),
        Effect::Forget { reason } => format!("forget {reason}"),
        Effect::Incompatible { .. } => "incompatible".to_owned(),
    }
}

fn entry_gist(entry: &Entry) -> String {
    match entry {
        Entry::Received(offer) => format!("received {}", offer.job.0),
        Entry::Intent { job, attempt } => format!("intent {} {attempt}", job.0),
        Entry::Rebooting { job, step, .. } => format!("rebooting {} {step}", job.0),
        Entry::Resumed { job, attempt, resume } => format!("resumed {} {attempt} {}", job.0, resume.step),
        Entry::Unconfirmed { result, .. } => format!("unconfirmed {} {}", result.job.0, result.word.word()),
        Entry::Undoing { job, attempt } => format!("undoing {} {attempt}", job.0),
        Entry::Gap(events) => format!("gap {events}"),
        Entry::Ended(result) => format!("ended {} {}", result.job.0, result.word.word()),
        Entry::Known { job, word, .. } => format!("known {} {}", job.0, word.word()),
        Entry::Event { number, tag, .. } => format!("event {number} {tag}"),
        Entry::EventsTaken(number) => format!("taken {number}"),
        Entry::Slot { name, .. } => format!("slot {name}"),
        Entry::Boot(_) => "boot".to_owned(),
        Entry::Welcomed { .. } => "welcomed".to_owned(),
        Entry::Clock(_) => "clock".to_owned(),
    }
}

fn message_gist(message: &FromMinion) -> String {
    match message {
        FromMinion::Hello(hello) if hello.first_of_boot => "hello first".to_owned(),
        FromMinion::Hello(_) => "hello".to_owned(),
        FromMinion::Heartbeat { .. } => "heartbeat".to_owned(),
        FromMinion::Received { job } => format!("received {}", job.0),
        FromMinion::Refused { job, .. } => format!("refused {}", job.0),
        FromMinion::Progress { job, ended, .. } => format!("progress {} {}", job.0, ended.len()),
        FromMinion::Result(result) => format!("result {} {}", result.job.0, result.word.word()),
        FromMinion::ResultPart { job, part, parts, .. } => format!("part {} {part}/{parts}", job.0),
        FromMinion::Event { number, tag, gap: 0, .. } => format!("event {number} {tag}"),
        FromMinion::Event { number, gap, .. } => format!("event {number} gap {gap}"),
        FromMinion::Grains { .. } => "grains".to_owned(),
        FromMinion::Answer { probe, answer } => format!("answer {probe} {answer}"),
        FromMinion::Goodbye { reason } => format!("goodbye {reason}"),
    }
}

const NOTHING: [&str; 0] = [];

mod confirm;
mod outbox;
mod reboot;
mod schedules;

#[test]
fn the_start_of_a_boot_is_an_event_once_and_the_hello_says_first_until_it_was_answered() {
    let mut bench = Bench::new();
    assert_eq!(bench.step(Input::Started), ["record boot", "record event 1 start"]);
    assert_eq!(bench.step(Input::Connected), ["send hello first"]);
    bench.step(Input::Disconnected);
    assert_eq!(bench.crash(), NOTHING, "no second event in the same boot");
    assert_eq!(bench.welcome(), ["pace 10", "later welcomed", "send event 1 start"]);
    assert_eq!(bench.hear(ToMinion::Ack { jobs: vec![], events: Some(1) }), ["later taken 1"]);
    bench.step(Input::Disconnected);
    assert_eq!(bench.step(Input::Connected), ["send hello"]);
    bench.settings.boot = "boot-2".to_owned();
    assert_eq!(bench.crash(), ["record boot", "record event 2 start"]);
}

#[test]
fn a_job_goes_from_offer_to_acknowledged_result_with_every_promise_on_disk_first() {
    let mut bench = Bench::member();
    assert_eq!(
        bench.offer(offer(7)),
        ["record received 7", "record intent 7 1", "send received 7", "start 7 1"]
    );
    assert_eq!(
        bench.ended(7, Outcome::Changed),
        ["record ended 7 changed", "clean 7", "send result 7 changed"]
    );
    assert_eq!(bench.hear(ToMinion::Ack { jobs: vec![JobId(7)], events: None }), ["later known 7 changed"]);
    assert_eq!(bench.offer(offer(7)), ["send result 7 changed"], "an old offer never runs again");
}

#[test]
fn jobs_run_one_at_a_time_in_order_of_arrival() {
    let mut bench = Bench::member();
    bench.offer(offer(3));
    assert_eq!(bench.offer(offer(1)), ["record received 1", "send received 1"]);
    assert_eq!(bench.offer(offer(2)), ["record received 2", "send received 2"]);
    assert_eq!(bench.offer(offer(1)), ["send received 1"], "offered twice is held once");
    assert_eq!(bench.ended(3, Outcome::Ok)[3..], ["record intent 1 1", "start 1 1"]);
    assert_eq!(bench.ended(1, Outcome::Failed)[3..], ["record intent 2 1", "start 2 1"]);
}

#[test]
fn the_words_of_results_follow_the_steps() {
    for (outcome, word) in [
        (Outcome::Ok, "ok"),
        (Outcome::Changed, "changed"),
        (Outcome::WouldChange, "changed"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "ok"),
    ] {
        let mut bench = Bench::member();
        bench.offer(offer(1));
        assert_eq!(bench.ended(1, outcome)[0], format!("record ended 1 {word}"));
    }
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let mut bench = Bench::member();
    for number in 0..=WAITING_MAX as u128 {
        assert!(bench.offer(offer(number))[0].starts_with("record received"), "{number}");
    }
    assert_eq!(bench.offer(offer(1000)), ["send refused 1000"]);
    assert_eq!(bench.offer(offer(5)), ["send received 5"]);
}

#[test]
fn an_offer_after_its_expiry_by_the_masters_clock_is_not_run() {
    let mut bench = Bench::member();
    let mut late = offer(1);
    late.expires = NOW.plus_ms(AHEAD_MS - 1);
    assert_eq!(bench.offer(late), ["record ended 1 expired", "send result 1 expired"]);
    let mut good = offer(2);
    good.expires = NOW.plus_ms(AHEAD_MS);
    assert!(bench.offer(good).contains(&"start 2 1".to_owned()));
}

#[test]
fn a_job_that_waits_until_its_expiry_ends_there() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    bench.now = bench.now.plus_ms(60_001);
    assert!(bench.minion.next_wake().unwrap() <= bench.now);
    assert_eq!(bench.step(Input::Tick)[..2], ["record ended 2 expired", "send result 2 expired"]);
}

#[test]
fn a_clock_that_is_set_forward_makes_no_waiting_job_older() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    let hour = 60 * 60 * 1000;
    bench.minion.clock_jumped(hour);
    bench.now = bench.now.plus_ms(hour + 1000);
    assert_eq!(bench.minion.master_now(bench.now), Some(NOW.plus_ms(AHEAD_MS + 1000)));
    let ticked = bench.step(Input::Tick);
    assert!(!ticked.iter().any(|it| it.contains("ended")), "{ticked:?}");
    bench.now = bench.now.plus_ms(60_000);
    let ticked = bench.step(Input::Tick);
    assert!(ticked.contains(&"record ended 2 expired".to_owned()), "{ticked:?}");
}

#[test]
fn a_newer_full_run_supersedes_an_older_one_that_still_waits() {
    let full = |number| Offer { full: true, ..offer(number) };
    let mut bench = Bench::member();
    bench.offer(full(1));
    bench.offer(full(2));
    assert_eq!(
        bench.offer(full(3)),
        ["record received 3", "record ended 2 superseded", "send result 2 superseded", "send received 3"]
    );
    let look = Offer { mode: Mode::Check, ..full(4) };
    assert_eq!(bench.offer(look), ["record received 4", "send received 4"], "a look replaces no apply");
}

#[test]
fn cancel_ends_what_waits_at_once_and_stops_what_runs() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    assert_eq!(
        bench.hear(ToMinion::Cancel { job: JobId(2) }),
        ["record ended 2 cancelled", "send result 2 cancelled"]
    );
    assert_eq!(bench.hear(ToMinion::Cancel { job: JobId(1) }), ["cancel 1"]);
    let mut stopped = report(Outcome::Ok);
    stopped.cancelled = true;
    let end = RunEnd::Report { report: Box::new(stopped), events: Vec::new() };
    assert_eq!(bench.step(Input::RunEnded { job: JobId(1), end })[0], "record ended 1 cancelled");
    assert_eq!(bench.hear(ToMinion::Cancel { job: JobId(9) }), NOTHING);
}

#[test]
fn after_a_crash_a_state_run_starts_over_three_times_and_a_command_is_interrupted() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    assert_eq!(bench.crash(), ["recover 1"]);
    assert_eq!(bench.lost(1), ["record intent 1 2", "start 1 2"]);
    assert_eq!(bench.crash(), ["recover 1"]);
    assert_eq!(bench.lost(1), ["record intent 1 3", "start 1 3"]);
    assert_eq!(bench.crash(), ["recover 1"]);
    assert_eq!(bench.lost(1), ["record ended 1 interrupted", "clean 1"]);

    let mut bench = Bench::member();
    bench.offer(Offer { command: true, ..offer(2) });
    assert_eq!(bench.crash(), ["recover 2"]);
    assert_eq!(bench.lost(2)[0], "record ended 2 interrupted");
}

#[test]
fn a_worker_that_lived_on_is_believed() {
    let mut bench = Bench::member();
    bench.offer(Offer { command: true, ..offer(2) });
    bench.crash();
    assert_eq!(bench.ended(2, Outcome::Changed)[0], "record ended 2 changed");
}

#[test]
fn results_are_said_again_after_each_reconnect_until_they_are_acknowledged() {
    let mut bench = Bench::member();
    bench.hear(ToMinion::Ack { jobs: vec![], events: Some(1) });
    bench.offer(offer(1));
    bench.step(Input::Disconnected);
    assert_eq!(bench.ended(1, Outcome::Ok), ["record ended 1 ok", "clean 1"]);
    for _ in 0..2 {
        assert_eq!(bench.welcome(), ["pace 10", "send result 1 ok"]);
        bench.step(Input::Disconnected);
    }
    bench.crash();
    assert!(bench.welcome().contains(&"send result 1 ok".to_owned()));
    bench.hear(ToMinion::Ack { jobs: vec![JobId(1)], events: None });
    bench.step(Input::Disconnected);
    assert!(!bench.welcome().iter().any(|it| it.contains("result")));
}

#[test]
fn waiting_jobs_are_not_begun_after_a_crash_until_the_masters_clock_is_known() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    bench.crash();
    assert_eq!(bench.ended(1, Outcome::Ok), ["record ended 1 ok", "clean 1"]);
    bench.now = bench.now.plus_ms(70_000);
    let said = bench.welcome();
    assert!(said.contains(&"record ended 2 expired".to_owned()), "{said:?}");
    assert!(!said.iter().any(|it| it.starts_with("start")), "{said:?}");
}

#[test]
fn probes_are_answered_beside_work() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    assert_eq!(bench.hear(ToMinion::Probe { probe: 4, ask: Ask::Ping }), ["send answer 4 true"]);
    assert_eq!(bench.hear(ToMinion::Probe { probe: 5, ask: Ask::Grains }), ["collect 5"]);
    let wake = Ask::Wake { macs: vec!["52:54:00:12:34:56".to_owned()] };
    assert_eq!(bench.hear(ToMinion::Probe { probe: 7, ask: wake }), ["wake 7 52:54:00:12:34:56"]);
    let said = bench.hear(ToMinion::Probe { probe: 6, ask: Ask::Jobs });
    assert!(said[0].contains(&JobId(1).to_string()), "{said:?}");
}

#[test]
fn changed_grains_are_said_once() {
    let mut bench = Bench::member();
    let mut grains = bench.minion.settings.grains.clone();
    grains.insert("role".to_owned(), json!("web"));
    let hash = crate::grains::hash(&grains);
    let input = Input::Grains { probe: None, grains, hash };
    assert_eq!(bench.step(input.clone()), ["later welcomed", "send grains"]);
    assert_eq!(bench.step(input), NOTHING);
}

#[test]
fn events_are_numbered_and_kept_until_taken() {
    let mut bench = Bench::member();
    let event = |tag: &str| Input::Event { tag: tag.to_owned(), data: json!({}) };
    assert_eq!(bench.step(event("beacon/disk")), ["record event 2 beacon/disk", "send event 2 beacon/disk"]);
    bench.step(Input::Disconnected);
    assert_eq!(bench.step(event("beacon/file")), ["record event 3 beacon/file"]);
    bench.hear(ToMinion::Ack { jobs: vec![], events: Some(99) });
    assert_eq!(
        bench.welcome()[1..],
        ["send event 1 start", "send event 2 beacon/disk", "send event 3 beacon/file"],
        "a number from the future takes nothing"
    );
}

#[test]
fn when_the_outbox_is_full_the_oldest_events_go_and_the_next_one_says_how_many() {
    let mut bench = Bench::new();
    let data = json!({ "text": "x".repeat(15 << 10) });
    let count = OUTBOX_BYTES_MAX / (15 << 10) + 10;
    let mut minion = Minion::restore(bench.settings.clone(), NOW, []);
    for _ in 0..count {
        minion.step(NOW, Input::Event { tag: "beacon/x".to_owned(), data: data.clone() });
    }
    std::mem::swap(&mut bench.minion, &mut minion);
    bench.minion.step(NOW, Input::Connected);
    let message = ToMinion::Welcome {
        version: "0.1.0".to_owned(),
        now: NOW,
        want_grains: false,
        heartbeat_s: 30,
        sample_s: 10,
        spread_s: 0,
    };
    let mut effects = bench.minion.step(NOW, Input::Message { message: Box::new(message), sent: NOW });
    while bench.minion.next_wake().is_some_and(|at| at <= NOW) {
        effects.extend(bench.minion.step(NOW, Input::Tick));
    }
    let events: Vec<(u64, u64)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => match **message {
                FromMinion::Event { number, gap, .. } => Some((number, gap)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let (first, gap) = events[0];
    assert_eq!(first, gap + 1, "every dropped event is counted");
    assert!(gap > 0);
    assert_eq!(events.last(), Some(&(count as u64, 0)));
    let bytes: usize = events.len() * (15 << 10);
    assert!(bytes <= OUTBOX_BYTES_MAX);
}

#[test]
fn a_full_disk_refuses_new_jobs_and_still_tells_ends_once_they_are_written() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let failed = bench.minion.step(
        bench.now,
        Input::RunEnded {
            job: JobId(1),
            end: RunEnd::Report { report: Box::new(report(Outcome::Ok)), events: Vec::new() },
        },
    );
    let Effect::Record(entry) = &failed[0] else { panic!("{failed:?}") };
    let reason = "no space".to_owned();
    let input = Input::NotRecorded { entries: vec![(**entry).clone()], reason };
    assert_eq!(bench.minion.step(bench.now, input), []);
    let message = Box::new(ToMinion::Offer(Box::new(offer(2))));
    let refused = bench.minion.step(bench.now, Input::Message { message, sent: NOW.plus_ms(AHEAD_MS) });
    assert_eq!(refused.iter().map(gist).collect::<Vec<_>>(), ["send refused 2"]);
    bench.now = bench.now.plus_ms(DISK_RETRY_MS);
    let retried = bench.minion.step(bench.now, Input::Tick);
    let gists: Vec<_> = retried.iter().map(gist).collect();
    assert_eq!(gists, ["record ended 1 ok", "record clock", "clean 1", "send result 1 ok"]);
    bench.minion.step(bench.now, Input::DiskGood);
    let message = Box::new(ToMinion::Offer(Box::new(offer(3))));
    let taken = bench.minion.step(bench.now, Input::Message { message, sent: NOW.plus_ms(AHEAD_MS) });
    assert_eq!(gist(&taken[0]), "record received 3");
}

#[test]
fn an_answer_that_was_signed_long_after_it_was_given_sets_the_clock_not_back() {
    let mut bench = Bench::member();
    bench.step(Input::Disconnected);
    bench.step(Input::Connected);
    let given = bench.now.plus_ms(3_600_000);
    let welcome = ToMinion::Welcome {
        version: "0.1.3".to_owned(),
        now: given,
        want_grains: false,
        heartbeat_s: 30,
        sample_s: 10,
        spread_s: 0,
    };
    // It waited for the master's disk.
    let sent = given.plus_ms(60_000);
    bench.step(Input::Message { message: Box::new(welcome), sent });
    assert!(bench.minion.master_now(bench.now).is_some_and(|it| it >= sent));
}

#[test]
fn an_offer_that_could_not_be_written_was_never_received() {
    let mut bench = Bench::member();
    let message = Box::new(ToMinion::Offer(Box::new(offer(1))));
    let effects = bench.minion.step(NOW, Input::Message { message, sent: NOW.plus_ms(AHEAD_MS) });
    let entries = effects.iter().filter_map(|effect| match effect {
        Effect::Record(entry) => Some((**entry).clone()),
        _ => None,
    });
    let input = Input::NotRecorded { entries: entries.collect(), reason: "no space".to_owned() };
    let said: Vec<_> = bench.minion.step(NOW, input).iter().map(gist).collect();
    assert_eq!(said, ["send refused 1"]);
    assert_eq!(bench.minion.running(), None);
}

/// What a failed write leaves of the effects: every entry of it.
fn entries(effects: &[Effect]) -> Vec<Entry> {
    let entry = |effect: &Effect| match effect {
        Effect::Record(entry) => Some((**entry).clone()),
        _ => None,
    };
    effects.iter().filter_map(entry).collect()
}

#[test]
fn the_next_job_begins_once_the_end_of_the_last_one_could_be_written() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    let events = vec![("deployed".to_owned(), json!({}))];
    let end = RunEnd::Report { report: Box::new(report(Outcome::Ok)), events };
    let failed = bench.minion.step(NOW, Input::RunEnded { job: JobId(1), end });
    let input = Input::NotRecorded { entries: entries(&failed), reason: "no space".to_owned() };
    assert_eq!(bench.minion.step(NOW, input), []);
    assert_eq!(bench.minion.running(), None);
    assert_eq!(bench.minion.memory.waiting(), [JobId(2)]);
    let input = Input::Event { tag: "x".to_owned(), data: json!({}) };
    assert_eq!(bench.minion.step(NOW, input), [], "it waits behind the one that is not on disk");
    assert!(bench.minion.step(NOW, Input::Disconnected).is_empty());
    bench.minion.link.connected = true;
    let mut said = Vec::new();
    bench.minion.on_welcome(NOW, false, &mut said);
    let said: Vec<_> = said.iter().map(gist).filter(|it| it.starts_with("send")).collect();
    assert_eq!(said, ["send event 1 start"], "what is not on disk is not said");
    bench.now = NOW.plus_ms(DISK_RETRY_MS);
    let retried: Vec<_> = bench.minion.step(bench.now, Input::Tick).iter().map(gist).collect();
    let wanted = [
        "record event 2 event/deployed",
        "record ended 1 ok",
        "record event 3 x",
        "record clock",
        "send event 2 event/deployed",
        "clean 1",
        "send result 1 ok",
        "send event 3 x",
    ];
    assert_eq!(retried.iter().filter(|it| *it != "send heartbeat").collect::<Vec<_>>(), wanted);
    let good: Vec<_> = bench.minion.step(bench.now, Input::DiskGood).iter().map(gist).collect();
    assert_eq!(good, ["record intent 2 1", "start 2 1"]);
}

#[test]
fn when_another_record_finds_room_first_what_waits_for_the_disk_is_written_at_once() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let end = RunEnd::Report { report: Box::new(report(Outcome::Ok)), events: Vec::new() };
    let failed = bench.minion.step(NOW, Input::RunEnded { job: JobId(1), end });
    let reason = || "no space".to_owned();
    bench.minion.step(NOW, Input::NotRecorded { entries: entries(&failed), reason: reason() });
    let good = bench.minion.step(NOW, Input::DiskGood);
    let gists: Vec<_> = good.iter().map(gist).collect();
    assert_eq!(gists, ["record ended 1 ok", "record clock", "clean 1", "send result 1 ok"]);
    for _ in 0..3 {
        bench.minion.step(NOW, Input::NotRecorded { entries: entries(&good), reason: reason() });
        assert_eq!(bench.minion.unwritten.len(), 1, "clocks are not collected");
        bench.minion.unwritten.clear();
    }
}

#[test]
fn a_result_that_cannot_be_cut_enough_goes_without_its_report_and_says_so() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let mut long = report(Outcome::Failed);
    long.steps[0].comment = "x".repeat(16 << 20);
    let change = model::Change { what: "w".repeat(16 << 20), from: None, to: None, diff: None };
    long.steps[0].plan.changes = vec![change];
    let end = RunEnd::Report { report: Box::new(long), events: Vec::new() };
    let effects = bench.minion.step(NOW, Input::RunEnded { job: JobId(1), end });
    let Some(Entry::Ended(result)) = entries(&effects).pop() else { panic!("no result") };
    assert_eq!((result.word, &result.report), (Terminal::Failed, &None));
    assert!(result.reason.contains("is left out"), "{}", result.reason);
    assert!(serde_json::to_string(&*result).unwrap().len() < 64 << 10);
}

#[test]
fn a_long_result_goes_in_pieces_that_make_it_whole() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let mut long = report(Outcome::Changed);
    long.steps[0].output =
        Some(model::Output { stdout: "é\"\\\n".repeat(40_000), ..model::Output::default() });
    let end = RunEnd::Report { report: Box::new(long.clone()), events: Vec::new() };
    let effects = bench.minion.step(NOW, Input::RunEnded { job: JobId(1), end });
    let mut text = String::new();
    for effect in &effects {
        if let Effect::Send(message) = effect
            && let FromMinion::ResultPart { text: piece, .. } = &**message
        {
            assert!(serde_json::to_string(message).unwrap().len() < 250 << 10);
            text.push_str(piece);
        }
    }
    let result: JobResult = serde_json::from_str(&text).unwrap();
    assert_eq!(result.word, Terminal::Changed);
    assert_eq!(result.report.as_ref(), Some(&long));
}

#[test]
fn progress_is_said_at_most_ten_times_a_second_and_never_kept_for_later() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let progress = |lines| Input::Progress { job: JobId(1), of: 3, lines };
    let ended = || RunLine::Ended(Box::new(report(Outcome::Ok).steps.remove(0)));
    assert_eq!(bench.step(progress(vec![ended()])), ["send progress 1 1"]);
    assert_eq!(bench.step(progress(vec![ended()])), NOTHING);
    assert_eq!(bench.step(progress(vec![ended()])), NOTHING);
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(100));
    assert_eq!(bench.step(Input::Tick), ["send progress 1 2"]);
    bench.step(Input::Disconnected);
    assert_eq!(bench.step(progress(vec![ended()])), NOTHING);
    bench.now = bench.now.plus_ms(500);
    assert!(!bench.welcome().iter().any(|it| it.contains("progress")));
}

#[test]
fn events_that_steps_fire_are_on_disk_with_the_result() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let events = vec![("deployed".to_owned(), json!({"id": "site"}))];
    let end = RunEnd::Report { report: Box::new(report(Outcome::Changed)), events };
    let said = bench.step(Input::RunEnded { job: JobId(1), end });
    assert_eq!(said[..2], ["record event 2 event/deployed", "send event 2 event/deployed"]);
    assert_eq!(said[2], "record ended 1 changed");
}

#[test]
fn a_heartbeat_is_said_only_when_nothing_else_was() {
    let mut bench = Bench::member();
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(30_000));
    assert_eq!(bench.step(Input::Tick), ["send heartbeat"]);
    assert_eq!(bench.step(Input::Tick), NOTHING);
}

#[test]
fn stopping_says_goodbye_and_begins_nothing_more() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    let stop = Input::Stop { reason: "stop".to_owned() };
    assert_eq!(bench.step(stop), ["later clock", "send goodbye stop"]);
    assert!(!bench.ended(1, Outcome::Ok).iter().any(|it| it.starts_with("start")));
}

#[test]
fn removed_and_newer_masters_are_for_the_shell() {
    let mut bench = Bench::member();
    assert_eq!(bench.hear(ToMinion::Removed { reason: "revoked".to_owned() }), ["forget revoked"]);
    assert_eq!(bench.hear(ToMinion::Masters { text: String::new() }), ["masters"]);
}

#[test]
fn releases_fit_when_they_are_at_most_one_minor_version_apart() {
    let cases = BTreeMap::from([
        ("0.1.0", true),
        ("0.1.9", true),
        ("0.2.0", true),
        ("0.0.3", true),
        ("0.3.0", false),
        ("1.1.0", false),
        ("", false),
        ("x.y", false),
    ]);
    for (theirs, fits) in cases {
        assert_eq!(compatible("0.1.0", theirs), fits, "{theirs}");
    }
    let mut bench = Bench::new();
    bench.step(Input::Started);
    bench.step(Input::Connected);
    let far = ToMinion::Welcome {
        version: "0.7.0".to_owned(),
        now: NOW,
        want_grains: false,
        heartbeat_s: 30,
        sample_s: 10,
        spread_s: 0,
    };
    assert_eq!(bench.hear(far), ["incompatible"]);
}

#[test]
fn what_was_cancelled_meanwhile_is_not_begun_between_a_hello_and_its_answer() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.offer(offer(2));
    bench.offer(offer(3));
    bench.step(Input::Disconnected);
    bench.step(Input::Connected);
    assert_eq!(bench.ended(1, Outcome::Ok), ["record ended 1 ok", "clean 1"]);
    let cancelled = bench.hear(ToMinion::Cancel { job: JobId(2) });
    assert_eq!(cancelled, ["record ended 2 cancelled"]);
    assert!(bench.welcome().contains(&"start 3 1".to_owned()));
}

#[test]
fn a_hello_without_an_answer_leads_to_another_connection() {
    let mut bench = Bench::member();
    bench.step(Input::Disconnected);
    bench.step(Input::Connected);
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(30_000));
    assert_eq!(bench.step(Input::Tick)[0], "reconnect");
    bench.welcome();
    bench.now = bench.now.plus_ms(40_000);
    assert_eq!(bench.step(Input::Tick), ["send heartbeat"]);
}

#[test]
fn a_state_run_that_cannot_be_begun_again_is_interrupted_and_not_refused() {
    let not_begun = |job| {
        let reason = "the recipe is gone".to_owned();
        Input::RunEnded { job: JobId(job), end: RunEnd::NotBegun { reason } }
    };
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.lost(1);
    assert_eq!(bench.step(not_begun(1))[0], "record ended 1 interrupted");
    bench.offer(offer(2));
    assert_eq!(bench.step(not_begun(2))[0], "record ended 2 refused");
}

#[test]
fn a_job_that_was_acknowledged_in_1970_is_still_known_when_the_clock_is_set() {
    let mut bench = Bench::new();
    bench.now = Timestamp(60_000);
    let ahead = 1_800_000_000_000;
    let hear = |bench: &mut Bench, message| {
        let sent = Timestamp(ahead);
        bench.minion.step(bench.now, Input::Message { message: Box::new(message), sent })
    };
    bench.minion.step(bench.now, Input::Connected);
    let expires = Timestamp(ahead + 60_000);
    hear(&mut bench, ToMinion::Offer(Box::new(Offer { expires, ..offer(1) })));
    let end = RunEnd::Report { report: Box::new(report(Outcome::Ok)), events: Vec::new() };
    bench.minion.step(bench.now, Input::RunEnded { job: JobId(1), end });
    hear(&mut bench, ToMinion::Ack { jobs: vec![JobId(1)], events: None });
    bench.minion.clock_jumped(ahead - 60_000);
    bench.minion.step(Timestamp(ahead + 1), Input::Tick);
    assert!(bench.minion.memory.jobs.contains_key(&JobId(1)), "it must not run again");
}

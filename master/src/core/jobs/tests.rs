//! Jobs as scripts of inputs.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, Hello, ToMinion};
use model::{Diagnostic, JobId, Outcome, Reply, Request, Severity, TargetState, Terminal};

fn knows(waiting: &[u128]) -> Hello {
    Hello { waiting: waiting.iter().map(|it| JobId(*it)).collect(), first_of_boot: false, ..hello() }
}

#[test]
fn a_job_is_on_disk_before_it_is_shown_and_compiled_after() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let effects = bench.submit(1, "vm-*", apply());
    let kinds: Vec<&str> = records(&effects)
        .iter()
        .map(|it| match it {
            Entry::Job(_) => "job",
            Entry::Target(_) => "target",
            Entry::Audit(_) => "audit",
            Entry::Event(_) => "event",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["audit", "job", "target", "target", "event"]);
    let reply = effects.iter().position(|it| matches!(it, Effect::Reply { .. })).unwrap();
    let compile = effects.iter().position(|it| matches!(it, Effect::Compile { .. })).unwrap();
    assert!(reply < compile);
    assert_eq!(compiles(&effects), [id("vm-1"), id("vm-2")]);
    assert_eq!(bench.job(1).revision, Some(revision()));
}

#[test]
fn a_run_goes_from_offer_to_one_terminal_record() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.received(1, &["vm-1"], apply());
    let effects = bench.say("vm-1", result(JobId(1), Terminal::Changed));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Changed));
    assert!(sent(&effects).contains(&&ToMinion::Ack { jobs: vec![JobId(1)], events: None }));
    assert_eq!(tags(&effects), ["job/ended"]);
    assert!(bench.job(1).ended.is_some());
    let lines: Vec<_> = effects.iter().filter(|it| matches!(it, Effect::JobLine { .. })).collect();
    assert_eq!(lines.len(), 3, "target, report, end: {lines:?}");
    // Again: acknowledged, and nothing else.
    let again = bench.say("vm-1", result(JobId(1), Terminal::Failed));
    assert_eq!(records(&again), Vec::<&Entry>::new());
    assert_eq!(sent(&again), [&ToMinion::Ack { jobs: vec![JobId(1)], events: None }]);
    assert_eq!(bench.counted("result that was known"), 1);
}

#[test]
fn the_same_id_is_the_same_job() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.received(1, &["vm-1"], command());
    let again = bench.submit(1, "vm-1", command());
    assert!(matches!(reply(&again), Some(Reply::Submitted(job)) if job.id == JobId(1)));
    assert_eq!(records(&again), Vec::<&Entry>::new());
    bench.say("vm-1", result(JobId(1), Terminal::Ok));
    bench.crash();
    let after = bench.submit(1, "vm-1", command());
    assert!(compiles(&after).is_empty() && records(&after).is_empty());
    assert!(matches!(reply(&after), Some(Reply::Submitted(job)) if job.ended.is_some()));
    // Long ago: the store answers.
    bench.master.book.recent.clear();
    let after = bench.submit(1, "vm-1", command());
    assert!(matches!(after.last(), Some(Effect::Read { query: Query::Job(..), .. })), "{after:?}");
}

#[test]
fn who_is_away_is_unreachable_at_once_unless_the_job_waits() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.disconnect("vm-2");
    let effects = bench.submit(1, "vm-*", apply());
    assert_eq!(compiles(&effects), [id("vm-1")]);
    assert_eq!(bench.word(1, "vm-2"), Some(Terminal::Unreachable));
    let effects = bench.ask(submit(2, "vm-2", apply(), true));
    assert!(compiles(&effects).is_empty());
    assert_eq!(bench.word(2, "vm-2"), None);
    let effects = bench.back("vm-2", knows(&[]));
    assert_eq!(compiles(&effects), [id("vm-2")]);
    assert_eq!(offers(&bench.compiled(2, "vm-2")), [(id("vm-2"), JobId(2))]);
}

#[test]
fn a_job_that_compiles_for_nobody_ends_with_its_diagnostics() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.submit(1, "vm-1", apply());
    let complaint = Diagnostic {
        severity: Severity::Error,
        code: "E0101".to_owned(),
        message: "no such state".to_owned(),
        spans: Vec::new(),
        notes: Vec::new(),
        help: None,
    };
    let (job, minion, revision) = (JobId(1), id("vm-1"), revision());
    let effects = bench.step(Input::Compiled { job, minion, revision, result: Err(vec![complaint.clone()]) });
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Failed));
    let target = records(&effects).into_iter().find_map(|it| match it {
        Entry::Target(target) => Some(target),
        _ => None,
    });
    assert_eq!(target.unwrap().diagnostics, [complaint]);
    assert!(bench.job(1).ended.is_some());
}

#[test]
fn what_was_not_received_in_time_expires_and_what_may_have_been_is_asked_for() {
    let mut bench = Bench::with(&["vm-1", "vm-2", "vm-3"]);
    bench.submit(1, "vm-*", command());
    bench.compiled(1, "vm-1");
    bench.compiled(1, "vm-2");
    bench.disconnect("vm-2");
    let effects = bench.pass(60_000);
    assert_eq!(bench.word(1, "vm-3"), Some(Terminal::Expired), "its compile was not done in time");
    let ToMinion::Probe { probe, .. } = sent(&effects)[0] else { panic!("{effects:?}") };
    assert_eq!(bench.word(1, "vm-1"), None);
    bench.say("vm-1", FromMinion::Answer { probe: *probe, answer: true.into() });
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Expired));
    // Contact was lost before it could say: that shows, until it is back.
    let view = bench.master.job_view(JobId(1)).unwrap();
    assert_eq!(view.words.get("lost contact"), Some(&1), "{view:?}");
    assert!(view.targets.iter().any(|it| it.minion == id("vm-2") && it.lost.is_some()));
    let effects = bench.back("vm-2", knows(&[]));
    assert_eq!(bench.word(1, "vm-2"), None, "it is asked first");
    let asked = sent(&effects)
        .into_iter()
        .find_map(|it| if let ToMinion::Probe { probe, .. } = it { Some(*probe) } else { None });
    bench.say("vm-2", FromMinion::Answer { probe: asked.unwrap(), answer: true.into() });
    assert_eq!(bench.word(1, "vm-2"), Some(Terminal::Expired));
}

#[test]
fn what_ended_after_a_backup_ends_as_the_minion_says_also_after_its_expiry() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.submit(1, "vm-1", command());
    bench.compiled(1, "vm-1");
    // Here the backup was taken; the minion ran it, and was told that the end is on disk.
    bench.disconnect("vm-1");
    bench.pass(120_000);
    let effects = bench.back("vm-1", knows(&[]));
    assert!(sent(&effects).contains(&&ToMinion::Cancel { job: JobId(1) }), "{effects:?}");
    assert_eq!(bench.word(1, "vm-1"), None);
    bench.say("vm-1", result(JobId(1), Terminal::Changed));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Changed));
}

#[test]
fn a_word_on_its_way_at_the_expiry_is_believed() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.submit(1, "vm-1", command());
    bench.compiled(1, "vm-1");
    let effects = bench.pass(60_000);
    let ToMinion::Probe { probe, .. } = sent(&effects)[0] else { panic!("{effects:?}") };
    bench.say("vm-1", FromMinion::Received { job: JobId(1) });
    bench.say("vm-1", FromMinion::Answer { probe: *probe, answer: true.into() });
    assert_eq!(bench.word(1, "vm-1"), None);
    bench.say("vm-1", result(JobId(1), Terminal::Ok));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Ok));
}

/// (command?, received before, what the minion has, expected word, expected offers)
type Reconnect = (bool, bool, &'static [u128], Option<Terminal>, usize);

#[test]
fn a_reconnect_compares_what_both_sides_know() {
    let cases: &[Reconnect] = &[
        (true, false, &[], None, 1),
        (true, false, &[1], None, 0),
        (true, true, &[1], None, 0),
        (true, true, &[], Some(Terminal::Interrupted), 0),
        (false, true, &[], None, 1),
        (false, false, &[], None, 1),
    ];
    for (is_command, received, has, word, count) in cases {
        let mut bench = Bench::with(&["vm-1"]);
        bench.submit(1, "vm-1", if *is_command { command() } else { apply() });
        bench.compiled(1, "vm-1");
        if *received {
            bench.say("vm-1", FromMinion::Received { job: JobId(1) });
        }
        bench.disconnect("vm-1");
        let effects = bench.back("vm-1", knows(has));
        let case = format!("{is_command} {received} {has:?}");
        assert_eq!(bench.word(1, "vm-1"), *word, "{case}");
        assert_eq!(offers(&effects).len(), *count, "{case}: {effects:?}");
    }
}

#[test]
fn a_restart_at_any_moment_goes_on() {
    // Before the compile: it compiles again.
    let mut bench = Bench::with(&["vm-1"]);
    bench.submit(1, "vm-1", apply());
    let effects = bench.crash();
    assert_eq!(compiles(&effects), [id("vm-1")], "quiet counts as reachable after a start");
    assert!(offers(&bench.compiled(1, "vm-1")).is_empty(), "it is not here yet");
    assert_eq!(offers(&bench.back("vm-1", knows(&[]))).len(), 1);
    // After the offer: the minion's hello tells.
    bench.crash();
    let effects = bench.back("vm-1", knows(&[1]));
    assert!(offers(&effects).is_empty() && compiles(&effects).is_empty());
    bench.crash();
    bench.back("vm-1", knows(&[]));
    bench.say("vm-1", result(JobId(1), Terminal::Ok));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Ok));
    // After the end: nothing is open.
    bench.crash();
    assert!(!bench.master.is_open(JobId(1)));
    let again = bench.back("vm-1", Hello { unacknowledged: vec![JobId(1)], ..knows(&[]) });
    assert!(offers(&again).is_empty() && compiles(&again).is_empty());
    let again = bench.say("vm-1", result(JobId(1), Terminal::Ok));
    assert!(records(&again).is_empty());
    assert_eq!(sent(&again), [&ToMinion::Ack { jobs: vec![JobId(1)], events: None }]);
}

#[test]
fn cancel_ends_what_was_not_sent_and_asks_the_others() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.submit(1, "vm-*", apply());
    bench.compiled(1, "vm-1");
    let effects = bench.ask(Request::Cancel { job: JobId(1).to_string()[..25].to_owned() });
    assert_eq!(bench.word(1, "vm-2"), Some(Terminal::Cancelled));
    assert_eq!(bench.word(1, "vm-1"), None);
    assert_eq!(sent(&effects), [&ToMinion::Cancel { job: JobId(1) }]);
    assert!(offers(&bench.compiled(1, "vm-2")).is_empty());
    // The wish survives a restart.
    bench.crash();
    let effects = bench.back("vm-1", knows(&[1]));
    // Before the welcome, which lets the minion begin.
    assert_eq!(sent(&effects)[0], &ToMinion::Cancel { job: JobId(1) });
    assert!(matches!(sent(&effects)[1], ToMinion::Welcome { .. }));
    bench.say("vm-1", result(JobId(1), Terminal::Cancelled));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Cancelled));
}

#[test]
fn a_newer_full_run_takes_the_place_of_one_that_waits() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.disconnect("vm-1");
    bench.ask(submit(1, "vm-1", apply(), true));
    bench.ask(submit(2, "vm-1", command(), true));
    bench.ask(submit(3, "vm-1", apply(), true));
    let words = |bench: &Bench| [1, 2, 3].map(|it| bench.word(it, "vm-1"));
    assert_eq!(words(&bench), [None, None, None]);
    bench.back("vm-1", knows(&[]));
    assert_eq!(offers(&bench.compiled(3, "vm-1")), [(id("vm-1"), JobId(3))]);
    assert_eq!(words(&bench), [Some(Terminal::Superseded), None, None]);
}

#[test]
fn a_newer_full_run_that_is_never_sent_takes_nobodys_place() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.disconnect("vm-1");
    bench.ask(submit(1, "vm-1", apply(), true));
    bench.submit(2, "vm-1", apply());
    assert_eq!(bench.word(2, "vm-1"), Some(Terminal::Unreachable));
    assert_eq!(bench.word(1, "vm-1"), None);
    bench.back("vm-1", knows(&[]));
    bench.submit(3, "vm-1", apply());
    let (job, minion) = (JobId(3), id("vm-1"));
    bench.step(Input::Compiled { job, minion, revision: revision(), result: Err(Vec::new()) });
    assert_eq!(bench.word(3, "vm-1"), Some(Terminal::Failed));
    assert_eq!(offers(&bench.compiled(1, "vm-1")), [(id("vm-1"), JobId(1))]);
}

#[test]
fn viewers_see_the_program_and_operators_the_whole_command() {
    let mut bench = Bench::with(&["vm-1"]);
    let cases: [(&[&str], &str); 4] = [
        (&["mysql", "-psecret"], "run mysql"),
        (&["mysql -psecret"], "run mysql"),
        (&["PW=secret mysql"], "run (command)"),
        (&[], "run (command)"),
    ];
    for (number, (words, gist)) in (1..).zip(cases) {
        let model::JobKind::Run { shell, cwd, user, environment, timeout_ms, .. } = command() else {
            panic!()
        };
        let command = words.iter().map(|it| (*it).to_owned()).collect();
        let kind = model::JobKind::Run { command, shell, cwd, user, environment, timeout_ms };
        assert_eq!(crate::core::publish::gist(&kind), gist);
        if words.is_empty() {
            continue;
        }
        let effects = bench.submit(number, "vm-1", kind);
        let line = published(&effects, "lab/job").unwrap();
        assert!(line.contains(&format!("{gist:?}")) && !line.contains("secret"), "{line}");
        let event = effects.iter().find_map(|it| match it {
            Effect::Event(event) if event.tag == "job/accepted" => Some(event.data.to_string()),
            _ => None,
        });
        assert!(event.is_some_and(|it| !it.contains("secret")));
        assert!(
            matches!(&bench.job(number).kind, model::JobKind::Run { command, .. } if command.concat().contains("secret"))
        );
    }
}

#[test]
fn at_most_so_many_jobs_wait_for_one_minion() {
    let mut bench = Bench::with(&["vm-1"]);
    let most = super::JOBS_PER_MINION_MAX as u128;
    for number in 1..=most + 1 {
        bench.submit(number, "vm-1", command());
    }
    assert_eq!(bench.word(most, "vm-1"), None);
    assert_eq!(bench.word(most + 1, "vm-1"), Some(Terminal::Refused));
}

#[test]
fn a_retry_takes_only_those_that_did_not_end_well() {
    let mut bench = Bench::with(&["vm-1", "vm-2", "vm-3"]);
    bench.received(1, &["vm-1", "vm-2", "vm-3"], apply());
    bench.say("vm-1", result(JobId(1), Terminal::Ok));
    bench.say("vm-2", result(JobId(1), Terminal::Failed));
    bench.say("vm-3", result(JobId(1), Terminal::Changed));
    for number in [2, 3] {
        let mut request = submit(number, "*", apply(), false);
        if let Request::Submit { retry_of, .. } = &mut request {
            *retry_of = Some(JobId(1));
        }
        let effects = bench.ask(request);
        assert_eq!(bench.job(number).minions, [id("vm-2")]);
        assert!(matches!(reply(&effects), Some(Reply::Submitted(_))));
        bench.crash();
    }
}

#[test]
fn strangers_and_other_minions_end_nothing() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.received(1, &["vm-1"], command());
    let messages = |job| {
        vec![
            FromMinion::Received { job },
            FromMinion::Refused { job, reason: "no".to_owned() },
            FromMinion::Progress {
                job,
                step: 1,
                of: 1,
                what: "x".to_owned(),
                ended: Vec::new(),
                output: Vec::new(),
            },
            result(job, Terminal::Ok),
            FromMinion::ResultPart { job, part: 0, parts: 1, text: "{}".to_owned() },
        ]
    };
    for message in messages(JobId(1)).into_iter().chain(messages(JobId(99))) {
        let effects = bench.say("vm-2", message.clone());
        assert_eq!(records(&effects), Vec::<&Entry>::new(), "another minion: {message:?}");
        let effects = bench.say_on("stranger", 1, message.clone());
        assert_eq!(effects, [], "a stranger: {message:?}");
        let effects = bench.say_on("vm-1", 77, message.clone());
        assert_eq!(effects, [], "a connection that is not: {message:?}");
    }
    assert!(matches!(bench.on_disk(1, "vm-1"), Some(TargetState::Offered { .. })));
    assert_eq!(bench.word(1, "vm-1"), None);
}

#[test]
fn a_result_in_parts_is_put_together_within_limits() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.received(1, &["vm-1"], command());
    let FromMinion::Result(whole) = result(JobId(1), Terminal::Failed) else { unreachable!() };
    let text = serde_json::to_string(&whole).unwrap();
    let (first, second) = text.split_at(text.len() / 2);
    let part =
        |part, text: &str| FromMinion::ResultPart { job: JobId(1), part, parts: 2, text: text.to_owned() };
    // Out of order: the connection ends, and it begins again.
    let effects = bench.say("vm-1", part(1, second));
    assert!(effects.contains(&Effect::Close { minion: id("vm-1") }));
    bench.back("vm-1", Hello { unacknowledged: vec![JobId(1)], ..hello() });
    bench.say("vm-1", part(0, first));
    assert!(bench.master.parts_bytes > 0);
    let effects = bench.say("vm-1", part(1, second));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Failed));
    assert!(sent(&effects).contains(&&ToMinion::Ack { jobs: vec![JobId(1)], events: None }));
    assert_eq!(bench.master.parts_bytes, 0);
    // Too large.
    bench.received(2, &["vm-1"], command());
    let big = "x".repeat(crate::core::delivery::PART_BYTES_MAX + 1);
    let effects = bench.say("vm-1", FromMinion::ResultPart { job: JobId(2), part: 0, parts: 2, text: big });
    assert!(effects.contains(&Effect::Close { minion: id("vm-1") }));
    assert_eq!(bench.master.parts_bytes, 0);
}

#[test]
fn a_report_that_changed_nothing_is_kept_as_its_tally_only() {
    for (outcome, word, kept) in
        [(Outcome::Ok, Terminal::Ok, false), (Outcome::Changed, Terminal::Changed, true)]
    {
        let mut bench = Bench::with(&["vm-1"]);
        bench.received(1, &["vm-1"], apply());
        let effects = bench.say("vm-1", result(JobId(1), word));
        let report = records(&effects).into_iter().any(|it| matches!(it, Entry::Report(..)));
        assert_eq!(report, kept, "{outcome:?}");
        assert_eq!(bench.master.minion(&id("vm-1")).unwrap().last_apply.as_ref().unwrap().word, word);
    }
}

#[test]
fn a_full_store_refuses_new_jobs_and_still_takes_results() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.received(1, &["vm-1"], apply());
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    let effects = bench.submit(2, "vm-1", apply());
    assert_eq!(refusal(&effects).unwrap().0, api::ErrorKind::Unavailable);
    assert!(records(&effects).is_empty());
    bench.say("vm-1", result(JobId(1), Terminal::Ok));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Ok));
    bench.step(Input::StoreHealth(None));
    assert!(matches!(reply(&bench.submit(2, "vm-1", apply())), Some(Reply::Submitted(_))));
}

/// An apply with a way back.
fn with_way_back(ms: u64) -> model::JobKind {
    match apply() {
        model::JobKind::Apply { states, mode, pillar, env, .. } => {
            model::JobKind::Apply { states, mode, pillar, env, confirm_ms: Some(ms) }
        }
        other => other,
    }
}

fn reboot() -> model::JobKind {
    model::JobKind::Reboot { message: String::new() }
}

#[test]
fn a_minion_that_does_not_know_of_ways_back_or_reboots_is_sent_none() {
    for kind in [with_way_back(120_000), reboot()] {
        let mut bench = Bench::with(&["vm-1"]);
        bench.back("vm-1", Hello { can: Vec::new(), ..knows(&[]) });
        bench.submit(1, "vm-1", kind.clone());
        let effects = bench.compiled(1, "vm-1");
        assert_eq!(offers(&effects), [], "{kind:?}");
        assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Refused));
    }
}

#[test]
fn an_offer_carries_the_way_back() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.submit(1, "vm-1", with_way_back(120_000));
    let effects = bench.compiled(1, "vm-1");
    let carried = effects.iter().find_map(|it| match it {
        Effect::Offer { confirm_ms, .. } => *confirm_ms,
        _ => None,
    });
    assert_eq!(carried, Some(120_000));
}

#[test]
fn ways_back_that_make_no_sense_are_refused() {
    for kind in [
        with_way_back(0),
        with_way_back(86_400_001),
        model::JobKind::Reboot { message: "two\nlines".to_owned() },
        model::JobKind::Reboot { message: "x".repeat(257) },
    ] {
        let mut bench = Bench::with(&["vm-1"]);
        let effects = bench.submit(1, "vm-1", kind.clone());
        assert!(matches!(reply(&effects), Some(Reply::Error(_))), "{kind:?}");
    }
}

/// The word for where it stands, as people are shown it.
fn shown(bench: &Bench, job: u128) -> Option<String> {
    bench.master.job_view(JobId(job)).and_then(|it| it.words.keys().next().cloned())
}

#[test]
fn a_machine_that_its_run_reboots_is_not_lost_within_a_limit() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.received(1, &["vm-1"], reboot());
    let progress = |step| FromMinion::Progress {
        job: JobId(1),
        step,
        of: 3,
        what: "reboot".to_owned(),
        ended: Vec::new(),
        output: Vec::new(),
    };
    bench.say("vm-1", progress(2));
    // Another one's goodbye is about itself.
    bench.say("vm-2", FromMinion::Goodbye { reason: "reboot".to_owned() });
    assert_eq!(shown(&bench, 1).as_deref(), Some("running"));
    bench.say("vm-1", FromMinion::Goodbye { reason: "reboot".to_owned() });
    bench.disconnect("vm-1");
    assert_eq!(shown(&bench, 1).as_deref(), Some("rebooting"));
    bench.pass(crate::core::delivery::REBOOT_MS - 1_000);
    assert_eq!(shown(&bench, 1).as_deref(), Some("rebooting"));
    bench.pass(2_000);
    assert_eq!(shown(&bench, 1).as_deref(), Some("lost contact"), "no end, and looked at again");
    bench.back("vm-1", Hello { running: Some(JobId(1)), boot: "boot-2".to_owned(), ..knows(&[]) });
    assert_eq!(shown(&bench, 1).as_deref(), Some("running"));
    bench.say("vm-1", result(JobId(1), Terminal::Changed));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Changed));
}

#[test]
fn a_goodbye_for_a_reboot_without_a_job_is_any_goodbye() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.say("vm-1", FromMinion::Goodbye { reason: "reboot".to_owned() });
    bench.disconnect("vm-1");
    bench.submit(1, "vm-1", command());
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Unreachable));
}

//! What is kept for the master and what goes when there is no room: a table of what is in, and what must come of it.

use super::*;
use model::broken;

const KIB: usize = 1 << 10;

/// A member with an outbox of one MiB, away from its master.
fn away() -> Bench {
    let mut bench = Bench::new();
    bench.settings.outbox_bytes = OUTBOX_BYTES_MIN;
    bench.minion = Minion::restore(bench.settings.clone(), NOW, []);
    bench.step(Input::Started);
    bench.welcome();
    bench.hear(ToMinion::Ack { jobs: vec![], events: Some(1) });
    bench
}

fn event(bench: &mut Bench) {
    let data = json!({ "text": "x".repeat(10 * KIB) });
    bench.step(Input::Event { tag: "beacon/x".to_owned(), data });
}

/// A run whose report has so many bytes.
fn result(bench: &mut Bench, number: u128, bytes: usize) -> Vec<String> {
    bench.offer(offer(number));
    bench.step(Input::Disconnected);
    let mut long = report(Outcome::Changed);
    long.steps[0].output = Some(model::Output { stdout: "y".repeat(bytes), ..model::Output::default() });
    let end = RunEnd::Report { report: Box::new(long), events: Vec::new() };
    let said = bench.step(Input::RunEnded { job: JobId(number), end });
    bench.minion.link.connected = true;
    said
}

/// Number of the first event that is left, what it says was dropped, and how many results wait.
fn kept(bench: &Bench) -> (u64, u64, usize) {
    let entries = bench.minion.snapshot();
    let first = entries.iter().find_map(|entry| match entry {
        Entry::Event { number, gap, .. } => Some((*number, *gap)),
        _ => None,
    });
    let gap = entries.iter().find_map(|it| if let Entry::Gap(events) = it { Some(*events) } else { None });
    let results = entries.iter().filter(|it| matches!(it, Entry::Ended(_))).count();
    let (number, told) = first.unwrap_or((0, gap.unwrap_or(0)));
    (number, told, results)
}

fn bytes(bench: &Bench) -> usize {
    let kept =
        bench.minion.snapshot().into_iter().filter(|it| matches!(it, Entry::Event { .. } | Entry::Ended(_)));
    kept.map(|it| serde_json::to_string(&it).unwrap().len()).sum()
}

/// Events that happen, KiB of results before and after them -> first event left, dropped before it, results left.
type Story = (u64, &'static [usize], &'static [usize], (u64, u64, usize));

#[test]
fn events_go_before_results_the_oldest_first_and_none_without_being_counted() {
    let cases: &[Story] = &[
        (10, &[], &[], (2, 0, 0)),
        (10, &[100], &[], (2, 0, 1)),
        (120, &[], &[], (21, 19, 0)),
        (120, &[300], &[], (51, 49, 1)),
        (90, &[], &[300, 300], (51, 49, 2)),
        (90, &[], &[100, 100, 100, 100], (31, 29, 4)),
    ];
    for (count, before, after, wanted) in cases {
        let mut bench = away();
        let mut number = 0;
        for kib in *before {
            number += 1;
            result(&mut bench, number, kib * KIB);
        }
        for _ in 0..*count {
            event(&mut bench);
        }
        for kib in *after {
            number += 1;
            result(&mut bench, number, kib * KIB);
        }
        let case = format!("{count} events, results {before:?} {after:?}");
        let (first, dropped, results) = kept(&bench);
        assert_eq!(results, wanted.2, "{case}: every result is kept");
        assert_eq!(first, dropped + 2, "{case}: every event that is gone is counted");
        assert!(first.abs_diff(wanted.0) <= 3, "{case}: {first} instead of {}", wanted.0);
        assert!(bytes(&bench) <= OUTBOX_BYTES_MIN + 64 * KIB, "{case}: {} bytes", bytes(&bench));
    }
}

#[test]
fn what_was_dropped_is_told_by_the_next_event_also_after_a_restart() {
    let mut bench = away();
    for _ in 0..120 {
        event(&mut bench);
    }
    let told = kept(&bench);
    bench.crash();
    assert_eq!(kept(&bench), told);
    let said = bench.welcome();
    let first = said.iter().find(|it| it.starts_with("send event")).unwrap();
    assert_eq!(*first, format!("send event {} gap {}", told.0, told.1));
}

#[test]
fn a_minion_that_cannot_keep_a_result_refuses_new_jobs_until_the_master_has_stored_some() {
    let mut bench = away();
    let mut taken = 0;
    let refused = loop {
        taken += 1;
        let said = bench.offer(offer(taken));
        if said[0].starts_with("send refused") {
            break taken;
        }
        bench.minion.link.connected = true;
        result(&mut bench, taken, 200 * KIB);
        assert!(taken < 20, "it takes every job");
    };
    assert!(refused > 2, "some fit");
    assert_eq!(kept(&bench).2, usize::try_from(refused).unwrap() - 1, "none is dropped");
    assert!(bytes(&bench) <= OUTBOX_BYTES_MIN + 64 * KIB);
    bench.hear(ToMinion::Ack { jobs: (1..refused).map(JobId).collect(), events: None });
    assert_eq!(bench.offer(offer(refused))[0], format!("record received {refused}"));
}

/// Jobs of which a minion with little room takes on so many.
fn jobs_taken() -> usize {
    let mut bench = away();
    (1..=40).take_while(|number| !bench.offer(offer(*number))[0].starts_with("send refused")).count()
}

#[test]
fn jobs_that_wait_have_their_room_reserved() {
    let room = OUTBOX_BYTES_MIN / (128 * KIB);
    assert_eq!(jobs_taken(), room);
    assert_eq!(broken::without(Some("room-for-results"), jobs_taken), 40);
}

#[test]
fn a_result_for_which_there_is_little_room_is_cut_and_says_so() {
    let mut bench = away();
    result(&mut bench, 1, 600 * KIB);
    result(&mut bench, 2, 600 * KIB);
    assert_eq!(kept(&bench).2, 2);
    let whole = serde_json::to_string(&bench.minion.snapshot()).unwrap();
    assert!(whole.contains("SHA-256 of the whole result"));
    assert!(bytes(&bench) <= OUTBOX_BYTES_MIN);
}

#[test]
fn without_the_bound_the_outbox_would_grow() {
    let grown = || {
        let mut bench = away();
        for _ in 0..120 {
            event(&mut bench);
        }
        bytes(&bench) > OUTBOX_BYTES_MIN + 64 * KIB
    };
    assert!(!grown());
    assert!(broken::without(Some("outbox-bound"), grown));
}

#[test]
fn live_output_and_progress_are_the_first_to_go_they_are_never_kept() {
    let mut bench = away();
    bench.offer(offer(1));
    bench.step(Input::Disconnected);
    let before = bench.disk.len();
    for _ in 0..50 {
        let lines = vec![RunLine::Output { stderr: false, text: "z".repeat(10 * KIB) }];
        assert_eq!(bench.step(Input::Progress { job: JobId(1), of: 1, lines }), NOTHING);
    }
    assert_eq!(bench.disk.len(), before, "nothing of it is on disk");
    assert!(!bench.welcome().iter().any(|it| it.contains("progress")));
}

/// What is said in each step until all that was kept is said.
fn pieces(bench: &mut Bench) -> Vec<Vec<String>> {
    let said = |effects: Vec<String>| -> Vec<String> {
        let of_outbox =
            |it: &String| ["send event", "send result", "send part"].iter().any(|w| it.starts_with(w));
        effects.into_iter().filter(of_outbox).collect()
    };
    let mut pieces = vec![said(bench.welcome())];
    while bench.minion.next_wake().is_some_and(|at| at <= bench.now) {
        pieces.push(said(bench.step(Input::Tick)));
        assert!(pieces.len() < 1_000, "it comes to an end");
    }
    pieces
}

fn number(said: &str) -> u64 {
    said.split(' ').nth(2).and_then(|it| it.parse().ok()).unwrap()
}

#[test]
fn a_full_outbox_is_said_in_steps_in_order_and_once() {
    let mut bench = away();
    bench.step(Input::Disconnected);
    for _ in 0..300 {
        bench.step(Input::Event { tag: "beacon/x".to_owned(), data: json!({}) });
    }
    for number in 1..=5 {
        result(&mut bench, number, 10);
    }
    bench.step(Input::Disconnected);
    let all = pieces(&mut bench);
    assert!(all.iter().all(|it| it.len() <= 64), "{:?}", all.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(all.len() >= 5);
    let flat = all.concat();
    let events: Vec<u64> = flat.iter().filter(|it| it.contains("event")).map(|it| number(it)).collect();
    assert_eq!(events, (2..302).collect::<Vec<_>>());
    let results: Vec<u64> = flat[300..].iter().map(|it| number(it)).collect();
    assert_eq!(results, [1, 2, 3, 4, 5], "behind all events");
    // What happens meanwhile has its turn behind what is older; a connection that breaks begins anew.
    bench.step(Input::Disconnected);
    bench.welcome();
    let during = bench.step(Input::Event { tag: "beacon/x".to_owned(), data: json!({}) });
    assert_eq!(during, ["record event 302 beacon/x"], "it is not said before those that are older");
    bench.step(Input::Disconnected);
    let again = pieces(&mut bench).concat();
    assert_eq!((number(&again[0]), number(&again[300]), again.len()), (2, 302, 306));
}

#[test]
fn large_results_are_said_one_in_a_step() {
    let ended = |number| {
        let mut long = report(Outcome::Changed);
        let stdout = "y".repeat(5 << 18);
        long.steps[0].output = Some(model::Output { stdout, ..model::Output::default() });
        let (word, reason) = (Terminal::Changed, String::new());
        Entry::Ended(Box::new(JobResult {
            job: JobId(number),
            word,
            reason,
            report: Some(long),
            at: NOW,
            begun: None,
        }))
    };
    let mut minion = Minion::restore(settings(), NOW, (1..=3).map(ended));
    minion.step(NOW, Input::Connected);
    let welcome = ToMinion::Welcome {
        version: "0.1.3".to_owned(),
        now: NOW,
        want_grains: false,
        heartbeat_s: 30,
        sample_s: 10,
        spread_s: 0,
    };
    let mut steps = vec![minion.step(NOW, Input::Message { message: Box::new(welcome), sent: NOW })];
    while minion.next_wake().is_some_and(|at| at <= NOW) {
        steps.push(minion.step(NOW, Input::Tick));
    }
    let whose = |effects: Vec<Effect>| -> std::collections::BTreeSet<u128> {
        let job = |it: Effect| match it {
            Effect::Send(message) => match *message {
                FromMinion::ResultPart { job, .. } => Some(job.0),
                _ => None,
            },
            _ => None,
        };
        effects.into_iter().filter_map(job).collect()
    };
    let all: Vec<_> = steps.into_iter().map(whose).filter(|it| !it.is_empty()).collect();
    assert_eq!(all, [[1].into(), [2].into(), [3].into()]);
}

#[test]
fn many_events_at_once_are_one_write_and_said_in_order() {
    let mut bench = Bench::member();
    let events = (0..5).map(|it| (format!("beacon/{it}"), json!({}))).collect();
    let effects = bench.minion.step(bench.now, Input::Events(events));
    let first_said = effects.iter().position(|it| matches!(it, Effect::Send(_))).unwrap();
    assert!(effects[..first_said].iter().all(|it| matches!(it, Effect::Record(_))), "{effects:?}");
    assert_eq!((first_said, effects.len()), (5, 10));
    let tags: Vec<String> = effects
        .iter()
        .filter_map(|it| match it {
            Effect::Send(message) => match &**message {
                FromMinion::Event { tag, .. } => Some(tag.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(tags, ["beacon/0", "beacon/1", "beacon/2", "beacon/3", "beacon/4"]);
}

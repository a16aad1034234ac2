//! From the start of a minion's process to its accepted hello, and to a state that the reactor applied; with a new key
//! and the enrolment by token.

use crate::figure::{Bench, Figure, lab, median};
use model::{JobId, Reply, Request, TargetState, Timestamp, api::EventFilter, api::JobFilter};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{
    api::ask,
    lab::{LIMIT, Lab},
    wait,
};

const TRIVIAL: &str =
    "trivial:\n  file.managed:\n    name: /etc/trivial\n    contents: here\n    makedirs: true\n";
const RULE: &str = "configure-new-machine:
  on: minion/+/start
  when: event.boot
  once_per: boot
  do:
    - apply: { target: \"{{minion}}\", states: [trivial] }
";

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let mut lab = lab();
    lab.tree("states/trivial.sls", TRIVIAL);
    lab.tree("reactors/new.yaml", RULE);
    lab.start_master();
    let seed = lab.seed("*", &[]);
    let runs = bench.of(20, 8);
    let (mut hello, mut reacted) = (Vec::new(), Vec::new());
    for number in 0..=runs {
        let id = format!("m-{number}");
        let start = now_ms();
        let index = lab.launch(&id, &seed);
        let ended = wait::until("the reaction to end", LIMIT, || reaction_ended(&lab, &id));
        let said = wait::until("the event of the start", LIMIT, || hello_at(&lab, &id));
        // The first one also opens what the master opens once.
        if number > 0 {
            hello.push(since(start, said));
            reacted.push(since(start, ended));
        }
        lab.agent(index).signal("TERM");
    }
    let with = |figure: Figure| figure.with("minions", 1).with("runs", runs).with("enrolment", "token");
    bench.print(with(Figure::new("start_to_hello_ms", median(&mut hello), "ms")));
    bench.print(with(Figure::new("start_to_reacted_ms", median(&mut reacted), "ms")));
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
fn since(start: f64, at: Timestamp) -> f64 {
    at.0 as f64 - start
}

/// When the master had accepted the hello of a boot.
fn hello_at(lab: &Lab, id: &str) -> Option<Timestamp> {
    let filter = EventFilter { tag: Some(format!("minion/{id}/start")), ..EventFilter::default() };
    match ask(&lab.socket(), &Request::Events { filter }).ok()? {
        Reply::Events(events) => events.first().map(|it| it.at),
        _ => None,
    }
}

/// When the result of the reaction was on the master's disk.
fn reaction_ended(lab: &Lab, id: &str) -> Option<Timestamp> {
    let filter = JobFilter { target: Some(id.to_owned()), ..JobFilter::default() };
    let Reply::Jobs(jobs) = ask(&lab.socket(), &Request::Jobs { filter }).ok()? else { return None };
    let job: JobId = jobs.first()?.job.id;
    let Reply::Job(view) = ask(&lab.socket(), &Request::Job { job: job.to_string() }).ok()? else {
        return None;
    };
    match &view.targets.first()?.state {
        TargetState::Ended { at, .. } => Some(*at),
        _ => None,
    }
}

//! kill -9 at points spread over an apply: nothing is lost, nothing ends twice, and what does not converge runs once.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::PathBuf,
};
use tests::{
    lab::{LIMIT, Lab, find, kill},
    wait,
};

const POINTS: usize = 20;

/// Steps that append to a ledger outside of everything that is killed.
fn lab_with_ledger() -> (Lab, PathBuf) {
    let mut lab = Lab::prepare();
    let ledger = lab.folder().join("ledger");
    let mut states = String::new();
    for step in 0..POINTS {
        let _ = write!(
            states,
            "step_{step}:\n  cmd.run:\n    name: touch done-{step} && echo {step} >> {} && sleep 0.02\n    creates: /done-{step}\n",
            ledger.display()
        );
    }
    lab.tree("states/ledger.sls", &states);
    lab.start_master();
    lab.minions(&["vm-1"]);
    (lab, ledger)
}

fn lines(ledger: &PathBuf) -> Vec<String> {
    fs::read_to_string(ledger).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn reset(lab: &Lab, ledger: &PathBuf) {
    let _ = fs::remove_file(ledger);
    for step in 0..POINTS {
        let _ = fs::remove_file(lab.on_minion("vm-1", &format!("/done-{step}")));
    }
}

fn submit(lab: &Lab, arguments: &[&str]) -> String {
    let (verb, rest) = arguments.split_first().expect("there is a verb");
    let said = lab.labctl(&[&["target", "vm-1", verb, "--async", "-o", "json"], rest].concat()).expect(0);
    find(&said.json(), "id").and_then(Value::as_str).expect("a job id").to_owned()
}

/// Waits for the end of the job and gives its word for the one minion.
fn word(lab: &Lab, job: &str) -> String {
    wait::until(&format!("job {job} to end\n{}", lab.logs()), LIMIT, || {
        let said = lab.labctl(&["job", "show", job, "-o", "json"]);
        let json: Value = serde_json::from_str(&said.stdout).ok()?;
        let ended = find(find(&json, "targets")?, "word")?.as_str()?.to_owned();
        Some(ended)
    })
}

fn check_ledger(ledger: &PathBuf, point: usize) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines(ledger) {
        *counts.entry(line).or_default() += 1;
    }
    for step in 0..POINTS {
        assert_eq!(
            counts.get(&step.to_string()),
            Some(&1),
            "killed at {point}: step {step} ran exactly once: {counts:?}"
        );
    }
}

#[test]
fn the_minion_is_killed_at_each_of_twenty_points() {
    let (mut lab, ledger) = lab_with_ledger();
    for point in 0..POINTS {
        reset(&lab, &ledger);
        let job = submit(&lab, &["apply", "ledger"]);
        wait::until("the step to be reached", LIMIT, || (lines(&ledger).len() >= point).then_some(()));
        lab.agent(0).signal("KILL");
        lab.restart(0);
        assert_eq!(word(&lab, &job), "changed", "killed at {point}");
        check_ledger(&ledger, point);
    }
}

#[test]
fn the_master_is_killed_at_each_of_twenty_points() {
    let (mut lab, ledger) = lab_with_ledger();
    for point in 0..POINTS {
        reset(&lab, &ledger);
        let job = submit(&lab, &["apply", "ledger"]);
        wait::until("the step to be reached", LIMIT, || (lines(&ledger).len() >= point).then_some(()));
        lab.signal_master("KILL");
        lab.start_master();
        assert_eq!(word(&lab, &job), "changed", "killed at {point}");
        check_ledger(&ledger, point);
    }
}

/// Process ids of the children of a process.
fn children(of: u32) -> Vec<u32> {
    let path = format!("/proc/{of}/task/{of}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

#[test]
fn a_run_whose_worker_is_killed_starts_over_and_converges() {
    let (mut lab, ledger) = lab_with_ledger();
    for point in [1, 7, 13] {
        reset(&lab, &ledger);
        let job = submit(&lab, &["apply", "ledger"]);
        wait::until("the step to be reached", LIMIT, || (lines(&ledger).len() >= point).then_some(()));
        let workers = children(lab.agent(0).pid());
        assert_eq!(workers.len(), 1, "one run at a time has a process of its own");
        kill(workers[0], "KILL");
        assert_eq!(word(&lab, &job), "changed", "killed at {point}");
        let ran: BTreeSet<String> = lines(&ledger).into_iter().collect();
        assert_eq!(ran.len(), POINTS, "killed at {point}: every step ran");
    }
}

#[test]
fn a_command_whose_worker_is_killed_is_interrupted_and_not_run_again() {
    let (mut lab, ledger) = lab_with_ledger();
    let script = format!("echo begun >> {0}; sleep 0.5; echo ended >> {0}", ledger.display());
    let job = submit(&lab, &["run", "--", "sh", "-c", &script]);
    wait::until("the command to begin", LIMIT, || (!lines(&ledger).is_empty()).then_some(()));
    kill(children(lab.agent(0).pid())[0], "KILL");
    assert_eq!(word(&lab, &job), "interrupted");
    let after = submit(&lab, &["run", "--", "sh", "-c", &format!("echo after >> {}", ledger.display())]);
    assert_eq!(word(&lab, &after), "changed", "the next command runs");
    assert_eq!(lines(&ledger).iter().filter(|it| *it == "begun").count(), 1);
}

#[test]
fn a_command_runs_at_most_once_whoever_is_killed() {
    let (mut lab, ledger) = lab_with_ledger();
    for point in 0..6 {
        reset(&lab, &ledger);
        let script = format!("echo begun >> {0}; sleep 0.2; echo ended >> {0}", ledger.display());
        let job = submit(&lab, &["run", "--", "sh", "-c", &script]);
        if point >= 2 {
            wait::until("the command to begin", LIMIT, || (!lines(&ledger).is_empty()).then_some(()));
        }
        if point % 2 == 0 {
            lab.signal_master("KILL");
            lab.start_master();
        } else {
            lab.agent(0).signal("KILL");
            lab.restart(0);
        }
        let word = word(&lab, &job);
        assert!(["ok", "changed", "interrupted", "expired"].contains(&word.as_str()), "{word}");
        let begun = lines(&ledger).iter().filter(|it| *it == "begun").count();
        assert!(begun <= 1, "point {point}: it ran {begun} times");
        if ["ok", "changed"].contains(&word.as_str()) {
            assert_eq!(lines(&ledger), ["begun", "ended"], "point {point}");
        }
    }
}

#[test]
fn results_wait_on_the_minion_while_the_master_is_away() {
    let (mut lab, ledger) = lab_with_ledger();
    let job = submit(&lab, &["apply", "ledger"]);
    wait::until("the run to begin", LIMIT, || (!lines(&ledger).is_empty()).then_some(()));
    lab.signal_master("KILL");
    wait::until("the run to end without a master", LIMIT, || (lines(&ledger).len() == POINTS).then_some(()));
    lab.start_master();
    assert_eq!(word(&lab, &job), "changed");
}

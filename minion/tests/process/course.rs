//! Runs that reboot, runs with a way back, a small outbox, another binary: the real program against a scripted gate.

use super::gate::{Gate, Talk, command, eventually, lines, offer};
use bus::message::{FromMinion, ToMinion};
use bus::{Identity, SealKey};
use model::{JobId, Outcome, Recipe, Terminal};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn step(kind: &str, name: &str, params: Value) -> Value {
    let (state, fun) = kind.split_once('.').unwrap();
    let mut params = params;
    params["name"] = json!(name);
    json!({
        "id": name, "sls": "test", "state": state, "fun": fun, "name": name, "params": params, "links": [],
        "global": { "attempts": 1 }, "at": null,
    })
}

fn recipe(steps: &[Value]) -> Recipe {
    let whole = json!({ "steps": steps, "files": {}, "secrets": [], "command": false });
    serde_json::from_value(whole).unwrap()
}

fn says(word: &str) -> Value {
    step("cmd.run", &format!("echo {word} >> ledger"), json!({}))
}

#[tokio::test]
async fn a_run_goes_on_behind_a_step_that_reboots() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    let reboot = step("system.reboot", "kernel", json!({ "only_on_pending_reboot": false }));
    let steps = [says("before"), reboot.clone(), says("between"), reboot, says("after")];
    talk.say(&offer(1, &recipe(&steps), &key, false), &gate.signer).await;
    for boot in ["boot-1+1", "boot-1+2"] {
        let goodbye =
            talk.until(|it| if let FromMinion::Goodbye { reason } = it { Some(reason) } else { None });
        assert_eq!(goodbye.await, "reboot");
        let hello;
        (talk, hello) = gate.member().await;
        assert_eq!((hello.boot.as_str(), hello.running), (boot, Some(JobId(1))));
        assert!(hello.first_of_boot);
        talk.welcome(&gate.signer).await;
    }
    let result = talk.result().await;
    assert_eq!(result.word, Terminal::Changed, "{result:?}");
    let report = result.report.unwrap();
    assert_eq!(report.steps.len(), 5);
    assert_eq!(report.steps[1].comment, "the machine was booted anew");
    assert_eq!(std::fs::read_to_string(ledger).unwrap(), "before\nbetween\nafter\n", "each step once");
}

fn page(contents: &str) -> Value {
    step("file.managed", "/page", json!({ "contents": contents }))
}

fn with_way_back(job: u128, steps: &[Value], key: &SealKey, ms: u64) -> ToMinion {
    match offer(job, &recipe(steps), key, false) {
        ToMinion::Offer(mut it) => {
            it.confirm_ms = Some(ms);
            ToMinion::Offer(it)
        }
        other => other,
    }
}

/// What the page holds.
fn held(gate: &Gate) -> String {
    std::fs::read_to_string(gate.sandbox().join("page")).unwrap_or_default().trim().to_owned()
}

async fn over(mut talk: Talk) {
    while talk.next::<FromMinion>().await.is_some() {}
}

#[tokio::test]
async fn a_run_with_a_way_back_ends_once_a_new_connection_was_welcomed() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    talk.say(&with_way_back(1, &[page("new")], &key, 60_000), &gate.signer).await;
    over(talk).await;
    let (mut talk, hello) = gate.member().await;
    assert_eq!((hello.running, hello.unacknowledged), (Some(JobId(1)), vec![]), "it has no end yet");
    talk.welcome(&gate.signer).await;
    assert_eq!(talk.result().await.word, Terminal::Changed);
    assert_eq!(held(&gate), "new");
}

#[tokio::test]
async fn without_a_welcome_of_its_master_in_time_a_minion_goes_the_way_back() {
    let gate = Gate::open().await;
    std::fs::write(gate.sandbox().join("page"), "old").unwrap();
    let mut minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    talk.say(&with_way_back(1, &[page("new"), says("ran")], &key, 6_000), &gate.signer).await;
    over(talk).await;
    assert_eq!(held(&gate), "new");
    // A stranger's welcome, and one that was heard on the connection of before, end the connection.
    let stranger = Identity::generate();
    let (mut talk, _) = gate.member().await;
    talk.welcome(&stranger).await;
    over(talk).await;
    // The process may die: what counts is on disk.
    minion.0.kill().unwrap();
    minion.0.wait().unwrap();
    let _minion = gate.minion();
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.running, Some(JobId(1)));
    eventually("it is undone", || held(&gate) == "old").await;
    talk.welcome(&gate.signer).await;
    let result = talk.result().await;
    assert_eq!(result.word, Terminal::Failed);
    let reason = &result.reason;
    assert!(reason.starts_with("not confirmed within 6s: undone: /page"), "{reason}");
    assert!(reason.contains("cmd.run echo ran >> ledger"), "what cannot be undone is named: {reason}");
    let steps = result.report.unwrap().steps;
    assert_eq!((steps.len(), steps[2].kind.as_str(), steps[2].outcome), (3, "undo.job", Outcome::Changed));
    // And the minion goes on as before.
    talk.say(&command(2, "true", &key, true), &gate.signer).await;
    assert_eq!(talk.result().await.job, JobId(2));
}

#[tokio::test]
async fn a_small_outbox_keeps_every_result_and_takes_no_job_whose_result_would_not_fit() {
    let gate = Gate::open().await;
    let settings = gate.sandbox().join("etc/labctl/minion.toml");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    std::fs::write(settings, "outbox_bytes = 1048576\n").unwrap();
    let mut minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let line = |job| format!("echo {job} >> ledger; head -c 60000 /dev/zero | tr '\\0' x");
    let mut ended = Vec::new();
    let reason = loop {
        let job = 1 + ended.len() as u128;
        assert!(job < 40, "it takes every job");
        talk.say(&command(job, &line(job), &key, true), &gate.signer).await;
        let mut whole = String::new();
        let said = talk.until(|message| match message {
            FromMinion::Refused { reason, .. } => Some(Err(reason)),
            FromMinion::Result(result) => Some(Ok(result.job)),
            FromMinion::ResultPart { part, parts, text, job } => {
                whole.push_str(&text);
                (part + 1 == parts).then_some(Ok(job))
            }
            _ => None,
        });
        match said.await {
            Ok(job) => ended.push(job),
            Err(reason) => break reason,
        }
    };
    assert!(reason.contains("outbox is full"), "{reason}");
    assert!(ended.len() > 8, "{ended:?}");
    minion.0.kill().unwrap();
    minion.0.wait().unwrap();
    minion = gate.minion();
    let hello;
    (talk, hello) = gate.member().await;
    assert_eq!(hello.unacknowledged, ended, "none is lost");
    talk.welcome(&gate.signer).await;
    talk.say(&ToMinion::Ack { jobs: ended.clone(), events: None }, &gate.signer).await;
    talk.say(&command(99, &line(99), &key, true), &gate.signer).await;
    while talk.result().await.job != JobId(99) {}
    assert_eq!(lines(&gate.sandbox().join("ledger")), ended.len() + 1, "each once, the refused one never");
    drop(minion);
}

/// A copy of the program at a place where another can take its place.
fn copy_program(to: &Path) {
    let fresh = to.with_extension("new");
    std::fs::copy(env!("CARGO_BIN_EXE_labminion"), &fresh).unwrap();
    std::fs::rename(&fresh, to).unwrap();
}

#[tokio::test]
async fn an_upgraded_agent_takes_up_the_worker_of_the_old_one() {
    let gate = Gate::open().await;
    let program = gate.dir.path().join("labminion");
    copy_program(&program);
    let mut minion = gate.spawn(Command::new(&program));
    let (mut talk, key) = gate.enrolled().await;
    let (ledger, go) = (gate.sandbox().join("ledger"), gate.sandbox().join("go"));
    let line = "echo began >> ledger; while [ ! -e go ]; do echo waits; sleep 0.1; done; echo ended >> ledger; echo said";
    talk.say(&command(1, line, &key, true), &gate.signer).await;
    eventually("the command begins", || lines(&ledger) == 1).await;
    minion.0.kill().unwrap();
    minion.0.wait().unwrap();
    copy_program(&program);
    let _minion = gate.spawn(Command::new(&program));
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.running, Some(JobId(1)));
    talk.welcome(&gate.signer).await;
    let step =
        talk.until(|it| if let FromMinion::Progress { step, of, .. } = it { Some((step, of)) } else { None });
    assert_eq!(step.await, (1, 1), "its progress is taken up");
    std::fs::write(go, "").unwrap();
    let result = talk.result().await;
    assert_eq!(result.word, Terminal::Changed, "{result:?}");
    assert!(result.report.unwrap().steps[0].output.as_ref().unwrap().stdout.ends_with("said\n"));
    assert_eq!(lines(&ledger), 2);
}

#[tokio::test]
async fn a_second_agent_on_one_folder_ends_and_runs_nothing() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    talk.say(&command(1, "echo ran >> ledger; sleep 1; echo ended >> ledger", &key, true), &gate.signer)
        .await;
    eventually("the command begins", || lines(&ledger) == 1).await;
    let mut second = Command::new(env!("CARGO_BIN_EXE_labminion"));
    second.args(["run", "--seed"]).arg(gate.dir.path().join("seed.json"));
    second.arg("--sandbox").arg(gate.sandbox()).env("LABMINION_BOOT_ID", "boot-1").stdin(Stdio::null());
    let output =
        tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(move || second.output()));
    let output = output.await.expect("it ends").unwrap().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another"), "{output:?}");
    assert_eq!(talk.result().await.word, Terminal::Changed);
    assert_eq!(lines(&ledger), 2, "one worker, one run");
}

//! Runs halt at a step that boots the machine anew and go on behind it, as if nothing had been between.

use model::{Global, Link, Mode, Outcome, Recipe, Requisite, RunReport, Step};
use resources::{
    Ended, Halt, Past, RunOptions,
    fake_host::{FakeHost, Machine, Reply},
    run_past,
};
use serde_json::{Value, json};

fn step(id: &str, kind: &str, params: &Value, links: Vec<Link>) -> Step {
    let (state, fun) = kind.split_once('.').unwrap();
    let mut params = params.as_object().unwrap().clone();
    params.entry("name").or_insert_with(|| json!(id));
    Step {
        id: id.to_owned(),
        sls: "case".to_owned(),
        state: state.to_owned(),
        fun: fun.to_owned(),
        name: params["name"].as_str().unwrap().to_owned(),
        params,
        links,
        global: Global { attempts: 1, ..Global::default() },
        at: None,
    }
}

fn link(step: usize, when: Requisite) -> Vec<Link> {
    vec![Link { step, when, any: false }]
}

/// A file, a variable, a command that fails, a reboot because of the file, and what depends on each of them.
fn recipe() -> Recipe {
    let steps = vec![
        step("conf", "file.managed", &json!({"name": "/etc/conf", "contents": "new"}), vec![]),
        step("bad", "cmd.run", &json!({"name": "false"}), vec![]),
        step("var", "environ.setenv", &json!({"name": "COLOUR", "value": "blue"}), vec![]),
        step(
            "boot",
            "system.reboot",
            &json!({"only_on_pending_reboot": false}),
            link(0, Requisite::Onchanges),
        ),
        step("after", "cmd.run", &json!({"name": "after"}), link(3, Requisite::Require)),
        step("blocked", "cmd.run", &json!({"name": "never"}), link(1, Requisite::Require)),
        step("heard", "cmd.wait", &json!({"name": "heard"}), link(0, Requisite::Watch)),
    ];
    Recipe { steps, ..Recipe::default() }
}

fn host() -> FakeHost {
    let mut host = FakeHost::new(Machine::default());
    host.machine.commands.insert("false".to_owned(), Reply { code: 1, ..Reply::default() });
    for name in ["after", "heard"] {
        host.machine.commands.insert(name.to_owned(), Reply::default());
    }
    host
}

fn go(host: &mut FakeHost, past: Option<Past>, cancelled: bool) -> Ended {
    let options =
        RunOptions { mode: Mode::Apply, cancelled: &|| cancelled, clock_ms: &|| 0, pause_ms: &|_| () };
    run_past(past, &recipe(), &options, host, &mut |_| ())
}

fn halted(host: &mut FakeHost) -> Halt {
    match go(host, None, false) {
        Ended::Reboot(halt) => *halt,
        Ended::Report(report) => panic!("{report:?}"),
    }
}

fn report(ended: Ended) -> RunReport {
    match ended {
        Ended::Report(report) => *report,
        Ended::Reboot(halt) => panic!("{halt:?}"),
    }
}

fn words(report: &RunReport) -> Vec<(&str, Outcome)> {
    report.steps.iter().map(|it| (it.id.as_str(), it.outcome)).collect()
}

#[test]
fn what_is_behind_a_reboot_knows_what_was_before_it() {
    let mut host = host();
    let halt = halted(&mut host);
    assert_eq!(halt.step, 3);
    // It lies on a disk meanwhile.
    let halt: Halt = serde_json::from_str(&serde_json::to_string(&halt).unwrap()).unwrap();
    let calls = host.calls();
    let report = report(go(&mut host, Some(Past { halt, failed: None }), false));
    assert_eq!(
        words(&report),
        [
            ("conf", Outcome::Changed),
            ("bad", Outcome::Failed),
            ("var", Outcome::Ok),
            ("boot", Outcome::Changed),
            ("after", Outcome::Changed),
            ("blocked", Outcome::Skipped),
            ("heard", Outcome::Changed),
        ]
    );
    assert_eq!(report.steps[3].comment, "the machine was booted anew");
    assert!(host.calls() > calls);
}

#[test]
fn a_machine_that_did_not_boot_anew_fails_the_step_and_what_requires_it_is_not_tried() {
    let mut host = host();
    let halt = halted(&mut host);
    let failed = Some("it did not come back".to_owned());
    let report = report(go(&mut host, Some(Past { halt, failed }), false));
    assert_eq!(
        words(&report)[3..],
        [
            ("boot", Outcome::Failed),
            ("after", Outcome::Skipped),
            ("blocked", Outcome::Skipped),
            ("heard", Outcome::Changed),
        ]
    );
    assert_eq!(report.steps[3].comment, "it did not come back");
}

#[test]
fn a_run_that_is_cancelled_meanwhile_ends_there() {
    let mut host = host();
    let halt = halted(&mut host);
    let report = report(go(&mut host, Some(Past { halt, failed: None }), true));
    assert!(report.cancelled);
    assert_eq!(report.steps.len(), 4, "{:?}", words(&report));
}

#[test]
fn a_halt_of_another_recipe_is_none() {
    let mut host = host();
    let mut halt = serde_json::to_value(halted(&mut host)).unwrap();
    halt["steps"] = json!(3);
    let halt = serde_json::from_value(halt).unwrap();
    let ended = go(&mut host, Some(Past { halt, failed: None }), false);
    // It starts over: the file is there, so that nothing asks for a reboot any more.
    assert_eq!(words(&report(ended))[3], ("boot", Outcome::Skipped));
}

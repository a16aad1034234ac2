//! A reboot in the middle: everything that ran is gone, the next start sees another boot.

use crate::sync::machine;
use model::{Reply, Request, Terminal, api::EventFilter};
use std::{fs, path::Path};
use tests::{
    api,
    hosts::{Bridge, Host},
    is_root,
    lab::{LIMIT, Lab},
    program,
    promise::Promise,
    roots_missing, skip, wait,
};

fn lab_with_machine(test: &str) -> Option<(Lab, Promise)> {
    if !is_root() {
        skip(test, "needs root for a process namespace");
        return None;
    }
    let mut lab = Lab::prepare();
    let promise = Promise::of(&lab);
    let begun = lab.folder().join("begun");
    let fatal = format!("fatal:\n  cmd.run:\n    name: echo begun >> {} && sleep 60\n", begun.display());
    lab.tree("states/fatal.sls", &fatal);
    lab.start_master();
    let seed = lab.seed("*", &[]);
    lab.launch_in("vm-1", &seed, machine());
    lab.wait_up("vm-1");
    Some((lab, promise))
}

fn reboot(lab: &mut Lab) {
    lab.agent(0).signal("KILL");
    lab.restart(0);
}

#[test]
fn a_command_in_a_reboot_is_interrupted_and_an_apply_starts_over() {
    let name = "a_command_in_a_reboot_is_interrupted_and_an_apply_starts_over";
    let Some((mut lab, mut promise)) = lab_with_machine(name) else { return };
    let command = promise.command(&lab, "vm-1", "sleep 60");
    promise.wait_begun(command);
    reboot(&mut lab);
    let (word, reason) = promise.end(&lab, command);
    assert_eq!(word, Terminal::Interrupted);
    assert!(reason.contains("not run twice"), "{reason}");

    let apply = promise.apply(&lab, "vm-1");
    promise.wait_begun(apply);
    reboot(&mut lab);
    assert_eq!(promise.word(&lab, apply), Terminal::Changed);
    let filter =
        EventFilter { tag: Some("minion/vm-1/start".to_owned()), limit: 100, ..EventFilter::default() };
    let boots = match api::ask(&lab.socket(), &Request::Events { filter }) {
        Ok(Reply::Events(events)) => {
            events.iter().map(|it| it.data["boot_id"].to_string()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(boots.len(), 3, "each boot is told once: {boots:?}");
    promise.hold(&lab);
}

#[test]
fn an_apply_that_reboots_the_machine_each_time_is_given_up_after_three() {
    let name = "an_apply_that_reboots_the_machine_each_time_is_given_up_after_three";
    let Some((mut lab, mut promise)) = lab_with_machine(name) else { return };
    let begun = lab.folder().join("begun");
    let lines = || fs::read_to_string(&begun).unwrap_or_default().lines().count();
    lab.labctl(&["target", "vm-1", "apply", "fatal", "--async"]).expect(0);
    for attempt in 1..=3 {
        wait::until("the step to begin", LIMIT, || (lines() == attempt).then_some(()));
        reboot(&mut lab);
    }
    let json = wait::until("the job to end", LIMIT, || {
        let said = lab.labctl(&["job", "show", "@last", "-o", "json"]);
        said.stdout.contains("interrupted").then_some(said.stdout)
    });
    assert!(json.contains("begun 3 times"), "{json}");
    assert_eq!(lines(), 3);
    promise.command(&lab, "vm-1", "true");
    promise.hold(&lab);
}

#[test]
fn a_command_that_ends_its_own_agent_ends_once_and_is_reported() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    for signal in ["TERM", "KILL"] {
        let pid = lab.agent(0).pid();
        let job = promise.command(&lab, "vm-1", &format!("kill -{signal} {pid}; sleep 0.3"));
        wait::until("the agent to end", LIMIT, || lab.agent(0).ended().then_some(()));
        lab.restart(0);
        assert_eq!(promise.word(&lab, job), Terminal::Changed, "{signal}: the worker lives on");
    }
    promise.hold(&lab);
}

/// With systemd, the unit that is shipped, and a real reboot.
#[test]
fn a_job_that_restarts_the_minion_or_reboots_its_host_ends_once() {
    if let Some(reason) = roots_missing() {
        return skip("a_job_that_restarts_the_minion_or_reboots_its_host_ends_once", &reason);
    }
    let mut bridge = Bridge::new();
    let mut lab = Lab::prepare_on("10.77.0.1", &bridge.attach(1));
    let mut promise = Promise::of(&lab);
    lab.start_master();
    let seed = lab.seed("vm-*", &[]);
    let mut host = Host::prepare("vm-2");
    let root = host.root();
    let arguments = ["image", "install", "--root", root.to_str().unwrap(), "--seed", seed.to_str().unwrap()];
    let minion = program("labminion");
    lab.labctl(&[&arguments[..], &["--minion", minion.to_str().unwrap()]].concat()).expect(0);
    promise.move_ledger(Path::new("/var/ledger"), &root.join("var/ledger"));
    let namespace = bridge.attach(2);
    host.boot(Some(&namespace));
    lab.wait_up("vm-2");
    let restart = promise.command(&lab, "vm-2", "systemctl restart labminion; sleep 0.3");
    assert_eq!(promise.word(&lab, restart), Terminal::Changed, "the worker outlives the service's restart");
    let reboot = promise.command(&lab, "vm-2", "systemctl reboot; sleep 60");
    wait::until("the host to go down", LIMIT, || (lab.presence("vm-2")? != "up").then_some(()));
    host.stop();
    host.boot(Some(&namespace));
    lab.wait_up("vm-2");
    let word = promise.word(&lab, reboot);
    assert!([Terminal::Interrupted, Terminal::Failed].contains(&word), "{word:?}");
    promise.hold(&lab);
}

//! `apply --confirm-within`, `reboot`, and states that reboot, with a real master and pretended machines.

use std::fs;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const SITE: &str = "\
page:
  file.managed:
    name: /page
    contents: new
slow:
  cmd.run:
    name: while [ ! -e go ]; do sleep 0.05; done
";

const KERNEL: &str = "\
before:
  cmd.run:
    name: echo before >> ledger
boot:
  system.reboot:
    - only_on_pending_reboot: false
    - message: a new kernel
after:
  cmd.run:
    name: echo after >> ledger
";

fn page(lab: &Lab) -> String {
    fs::read_to_string(lab.on_minion("vm-1", "/page")).unwrap_or_default().trim().to_owned()
}

#[test]
fn what_keeps_a_minion_from_its_master_is_undone_by_itself_and_what_does_not_stays() {
    let mut lab = Lab::prepare();
    lab.tree("states/site.sls", SITE);
    lab.start_master();
    lab.minions(&["vm-1"]);
    fs::write(lab.on_minion("vm-1", "/page"), "old").unwrap();
    let go = lab.on_minion("vm-1", "/go");
    let mut apply = lab.labctl_command(&["target", "vm-1", "apply", "site", "--confirm-within", "5s"]);
    let mut apply =
        apply.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait::until("the page to be new", LIMIT, || (page(&lab) == "new").then_some(()));
    // The master is there, and answers nobody.
    lab.signal_master("STOP");
    fs::write(&go, "").unwrap();
    wait::until("the page to be old again", LIMIT, || (page(&lab) == "old").then_some(()));
    lab.signal_master("CONT");
    assert!(!apply.wait().unwrap().success());
    let said = lab.labctl(&["job", "show", "@last"]).expect(0).stdout;
    assert!(said.contains("not confirmed within 5s: undone: /page"), "{said}");
    assert!(said.contains("way back"), "what was put back is a step: {said}");
    assert!(said.contains("cmd.run while"), "what was not is named: {said}");

    let said = lab.labctl(&["target", "vm-1", "apply", "site", "--confirm-within", "30s"]).expect(0);
    assert!(said.stderr.contains("cmd.run while"), "what could not be undone is said before: {said:?}");
    assert_eq!(page(&lab), "new");
    let said = lab.labctl(&["target", "vm-1", "plan", "site", "--confirm-within", "30s"]).expect(0);
    assert!(said.stderr.contains("cmd.run while"), "{said:?}");
    lab.labctl(&["target", "vm-1", "apply", "site", "--confirm-within", "1s"]).expect(2);
}

#[test]
fn machines_are_rebooted_by_a_verb_that_asks_and_by_states_that_go_on_afterwards() {
    let mut lab = Lab::prepare();
    lab.tree("states/kernel.sls", KERNEL);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    let refused = lab.labctl(&["target", "vm-*", "reboot"]).expect(2);
    assert!(refused.stderr.contains("reboot 2 minions") && refused.stderr.contains("--yes"), "{refused:?}");
    let said = lab.labctl(&["target", "vm-*", "reboot", "--wait", "--yes", "-o", "json"]).expect(0);
    assert!(said.stdout.contains("the machine was booted anew"), "{said:?}");
    let said = lab.labctl(&["target", "vm-1", "reboot", "--timeout", "30s"]).expect(0);
    assert!(said.stderr.contains("job watch"), "it does not wait: {said:?}");
    lab.labctl(&["job", "watch", "@last"]).expect(0);
    lab.labctl(&["target", "vm-1", "apply", "kernel"]).expect(0);
    let ledger = fs::read_to_string(lab.on_minion("vm-1", "/ledger")).unwrap();
    assert_eq!(ledger, "before\nafter\n", "each step once");
    let said = lab.labctl(&["job", "undo", "@last", "--check"]);
    assert!(said.stderr.contains("system.reboot boot"), "a reboot is not undone: {said:?}");
}

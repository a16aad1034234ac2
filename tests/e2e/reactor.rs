//! Without a person: a machine appears, the rule matches, what top.sls assigns is applied, once per boot.

use serde_json::Value;
use std::fs;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const RULES: &str = "\
configure-new-machine:
  on: minion/+/start
  when: event.boot
  once_per: boot
  do:
    - apply: { target: '{{minion}}', states: [] }
deploy:
  on: user/+/deploy
  when: event.version >= 2
  do:
    - run: { target: '{{event.host}}', command: [sh, -c, 'echo $0 >> deployed', '{{event.version}}'] }
    - event: { tag: done, data: { host: '{{event.host}}' } }
";

fn lab() -> Lab {
    let mut lab = Lab::prepare();
    lab.tree("reactors/rules.yaml", RULES);
    lab.tree("states/top.sls", "base:\n  '*':\n    - base\n");
    lab.tree("states/base.sls", "count:\n  cmd.run:\n    name: echo run >> runs\nmotd:\n  file.managed:\n    name: /etc/motd\n    contents: 'this is {{ id }}'\n    makedirs: true\n");
    lab.start_master();
    lab
}

fn text(lab: &Lab, id: &str, path: &str) -> Option<String> {
    fs::read_to_string(lab.on_minion(id, path)).ok()
}

#[test]
fn a_new_machine_is_configured_by_itself_once_per_boot() {
    let mut lab = lab();
    let seed = lab.seed("vm-*", &[]);
    let vm = lab.launch("vm-1", &seed);
    wait::until("the machine to be configured", LIMIT, || {
        text(&lab, "vm-1", "/etc/motd").filter(|it| it.contains("this is vm-1"))
    });
    let ended = || {
        let said = lab.labctl(&["job", "list", "-o", "json"]);
        said.stdout.contains("rule:configure-new-machine").then_some(())
    };
    wait::until("the job to be listed", LIMIT, ended);
    wait::until("the job to end", LIMIT, || {
        let json: Value =
            serde_json::from_str(&lab.labctl(&["minion", "show", "vm-1", "-o", "json"]).stdout).ok()?;
        (!tests::lab::find(&json, "last_apply")?.is_null()).then_some(())
    });

    lab.agent(vm).signal("TERM");
    lab.restart(vm);
    lab.wait_up("vm-1");
    lab.signal_master("TERM");
    lab.start_master();
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "run", "--", "true"]).expect(0);
    assert_eq!(text(&lab, "vm-1", "/runs").unwrap(), "run\n", "once per boot, whatever restarts");
}

#[test]
fn a_boot_that_could_not_be_configured_stays_due() {
    let mut lab = lab();
    lab.tree("states/base.sls", "no:\n  cmd.run:\n    name: test -e allowed\nyes:\n  file.managed:\n    name: /etc/done\n    contents: done\n    makedirs: true\n    require:\n      - cmd: no\n");
    lab.signal_master("HUP");
    let seed = lab.seed("vm-*", &[]);
    let vm = lab.launch("vm-1", &seed);
    wait::until("the first attempt to fail", LIMIT, || {
        lab.labctl(&["job", "list", "--failed"]).stdout.contains("rule:").then_some(())
    });
    fs::write(lab.on_minion("vm-1", "/allowed"), "").unwrap();
    lab.agent(vm).signal("TERM");
    lab.restart(vm);
    wait::until(&format!("it to be done after all\n{}", lab.logs()), wait::seconds(90), || {
        text(&lab, "vm-1", "/etc/done")
    });
}

#[test]
fn an_event_from_an_operator_runs_a_rule_and_leaves_a_decision() {
    let mut lab = lab();
    lab.minions(&["vm-1"]);
    lab.labctl(&["event", "send", "deploy", "host=vm-1", "version=1"]).expect(0);
    lab.labctl(&["event", "send", "deploy", "host=vm-1", "version=2"]).expect(0);
    let deployed = wait::until("the command to run", LIMIT, || text(&lab, "vm-1", "/deployed"));
    assert_eq!(deployed, "2\n", "only the event that the condition lets through");
    wait::until("the rule's own event", LIMIT, || {
        lab.labctl(&["event", "list"]).stdout.contains("rule/deploy/done").then_some(())
    });
}

#[test]
fn event_data_cannot_widen_a_target() {
    let mut lab = lab();
    lab.minions(&["vm-1", "vm-2"]);
    for host in ["*", "vm-1 or vm-2", "not vm-9", "~.*", "all"] {
        lab.labctl(&["event", "send", "deploy", &format!("host={host}"), "version=3"]).expect(0);
    }
    wait::until("the refusals to be events", LIMIT, || {
        lab.labctl(&["event", "list"]).stdout.contains("rule/deploy/failed").then_some(())
    });
    assert_eq!(text(&lab, "vm-1", "/deployed"), None);
    assert_eq!(text(&lab, "vm-2", "/deployed"), None);
}

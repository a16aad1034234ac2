//! Machines that watch themselves: pillar says what, a change is an event soon, a rule reacts, and all of it works while
//! the master is away.

use serde_json::Value;
use std::fs;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const PILLAR: &str = "\
beacons:
  file: { path: /etc/app, mask: [create, modify, delete] }
  root:
    beacon: disk
    path: /
    above: 0%
";
const RULES: &str = "\
app-changed:
  on: minion/+/beacon/file
  when: event.change == \"modify\"
  do:
    - run: { target: '{{minion}}', command: [sh, -c, 'echo $0 >> reacted', '{{event.path}}'] }
";

fn lab() -> Lab {
    let mut lab = Lab::prepare();
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - watch\n");
    lab.tree("pillar/watch.sls", PILLAR);
    lab.tree("reactors/rules.yaml", RULES);
    lab.tree("states/loaded.sls", "load:\n  beacon.present:\n    - settings: { above: 0% }\n");
    lab.start_master();
    lab
}

fn events(lab: &Lab, tag: &str) -> Vec<Value> {
    let said = lab.labctl(&["event", "list", tag, "-o", "json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    json["items"].as_array().cloned().unwrap_or_default()
}

fn has_beacon(lab: &Lab, name: &str) -> Option<()> {
    let said = lab.labctl(&["beacon", "list", "vm-1"]);
    said.stdout.lines().any(|it| it.split_whitespace().nth(1) == Some(name)).then_some(())
}

fn write(lab: &Lab, path: &str, text: &str) {
    fs::write(lab.on_minion("vm-1", path), text).unwrap();
}

fn reacted(lab: &Lab) -> String {
    fs::read_to_string(lab.on_minion("vm-1", "/reacted")).unwrap_or_default()
}

/// Whether an agent's journal holds a text.
fn is_recorded(lab: &Lab, text: &str) -> bool {
    let files = fs::read_dir(lab.minion_folder("vm-1").join("state/journal")).unwrap().flatten();
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    files.filter_map(|it| fs::read(it.path()).ok()).any(holds)
}

#[test]
fn what_pillar_watches_is_told_and_reacted_to_also_when_the_master_was_away() {
    let mut lab = lab();
    let seed = lab.seed("vm-*", &[]);
    fs::create_dir_all(lab.on_minion("vm-1", "/etc/app")).unwrap();
    write(&lab, "/etc/app/conf", "1\n");
    let vm = lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    wait::until(&format!("the beacons\n{}", lab.logs()), LIMIT, || has_beacon(&lab, "file"));
    let disk = wait::until("the disk to be told", LIMIT, || events(&lab, "minion/vm-1/beacon/root").pop());
    assert_eq!((&disk["data"]["path"], &disk["data"]["state"]), (&"/".into(), &"on".into()), "{disk}");
    write(&lab, "/etc/app/conf", "2\n");
    wait::until(&format!("the rule to react\n{}", lab.logs()), LIMIT, || {
        (reacted(&lab) == "/etc/app/conf\n").then_some(())
    });
    // The agent starts again while there is no master.
    lab.signal_master("TERM");
    wait::until("the master to end", LIMIT, || lab.master_ended().then_some(()));
    lab.agent(vm).signal("TERM");
    wait::until("the agent to end", LIMIT, || lab.agent(vm).ended().then_some(()));
    write(&lab, "/etc/app/away", "1\n");
    lab.restart(vm);
    wait::until("the agent to watch by itself", LIMIT, || {
        write(&lab, "/etc/app/away", "2\n");
        is_recorded(&lab, "/etc/app/away").then_some(())
    });
    lab.start_master();
    lab.wait_up("vm-1");
    wait::until(&format!("what happened meanwhile\n{}", lab.logs()), LIMIT, || {
        reacted(&lab).contains("/etc/app/away").then_some(())
    });
}

#[test]
fn a_state_puts_a_beacon_on_a_machine_and_an_edit_of_pillar_another() {
    let mut lab = lab();
    lab.minions(&["vm-1"]);
    wait::until(&format!("the beacons of pillar\n{}", lab.logs()), LIMIT, || has_beacon(&lab, "root"));
    lab.labctl(&["target", "vm-1", "apply", "loaded"]).expect(0);
    wait::until(&format!("the state's beacon\n{}", lab.logs()), LIMIT, || has_beacon(&lab, "load"));
    // One that the machine refuses is no beacon that is not there.
    write(&lab, "/etc/labctl/beacons.d/psi.json", "{\"above\": \"much\"}\n");
    let refused = wait::until(&format!("the refusal\n{}", lab.logs()), LIMIT, || {
        let said = lab.labctl(&["beacon", "list", "-o", "json"]).json();
        said["complaints"][0]["complaint"].as_str().map(str::to_owned)
    });
    assert!(refused.contains("psi"), "{refused}");
    let shown = lab.labctl(&["beacon", "show", "vm-1", "psi"]).expect(1);
    assert!(
        shown.stderr.contains("refused the beacon `psi`") && shown.stderr.contains("above"),
        "{}",
        shown.stderr
    );
    let shown = lab.labctl(&["beacon", "show", "vm-1", "load"]);
    assert!(shown.stdout.contains("folder") && shown.stdout.contains("cost"), "{}", shown.stdout);
    lab.tree("pillar/watch.sls", "beacons:\n  memory: { above: 99% }\n");
    lab.signal_master("HUP");
    wait::until("the other beacon", LIMIT, || has_beacon(&lab, "memory"));
    assert_eq!(has_beacon(&lab, "root"), None);
    // A mistake changes nothing, and is said with its place.
    lab.tree("pillar/watch.sls", "beacons:\n  memory: { abov: 99% }\n");
    lab.signal_master("HUP");
    let said = wait::until(&format!("the mistake to be said\n{}", lab.logs()), LIMIT, || {
        events(&lab, "tree/broken").pop().or_else(|| events(&lab, "minion/vm-1/conduct").pop())
    });
    assert!(said.to_string().contains("pillar/watch.sls:2"), "{said}");
    assert_eq!(has_beacon(&lab, "memory"), Some(()));
    lab.labctl(&["beacon", "show", "vm-1", "nothing"]).expect(8);
}

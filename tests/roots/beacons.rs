//! Beacons on a real machine: what systemd says of its units, and what the journal holds.

use crate::images::{Site, site_with};
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::{roots_missing, skip, wait};

const PILLAR: &str = "\
beacons:
  service:
    - { unit: \"victim*\", states: [failed, restarting], settle: 0s }
  log:
    - { identifier: lab, pattern: \"door {door} is {state}\" }
";

const UNITS: &str = "\
for name in victim victim-restarted; do
  printf '[Service]\\nExecStart=/usr/bin/tail -f /dev/null\\n' > /etc/systemd/system/$name.service
done
printf 'Restart=always\\n' >> /etc/systemd/system/victim-restarted.service
systemctl daemon-reload
systemctl start victim victim-restarted
";

/// Longest from what happens to its event at the master.
const DELAY_MAX: Duration = Duration::from_secs(1);

#[test]
fn a_service_that_is_killed_is_told_within_a_second_without_polling() {
    if let Some(reason) = roots_missing() {
        return skip("a_service_that_is_killed_is_told_within_a_second_without_polling", &reason);
    }
    let Site { host, lab, _bridge } = site_with(&[], |lab| {
        lab.tree("pillar/top.sls", "base:\n  '*':\n    - watched\n");
        lab.tree("pillar/watched.sls", PILLAR);
    });
    lab.wait_up("vm-2");
    host.sh(UNITS);
    // The first event of this kind that has this in its data.
    let told = |filter: &str, key: &str, value: &str| -> Option<Value> {
        let listed = lab.labctl(&["event", "list", filter, "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).ok()?;
        let events = listed["items"].as_array()?;
        events.iter().map(|it| it["data"].clone()).find(|it| it[key] == *value)
    };
    let programs = || host.sh("cat /proc/[0-9]*/comm | grep -cx journalctl || true");
    wait::until("the beacons to be at work", wait::seconds(30), || (programs() == "1").then_some(()));
    for (unit, state) in [("victim", "failed"), ("victim-restarted", "restarting")] {
        let start = Instant::now();
        host.sh(&format!("systemctl kill --signal KILL {unit}"));
        let data = wait::until("the event", wait::seconds(30), || {
            told("minion/+/beacon/service", "unit", &format!("{unit}.service"))
        });
        let delay = start.elapsed();
        assert_eq!((&data["state"], &data["was"]), (&state.into(), &"active".into()), "{data}");
        assert_eq!(data["result"], "signal", "{data}");
        assert!(delay < DELAY_MAX, "{delay:?}: {data}");
    }
    let start = Instant::now();
    host.sh("echo 'the door north is open now' | systemd-cat -t lab");
    let data = wait::until("the event", wait::seconds(30), || told("minion/+/beacon/log", "door", "north"));
    assert_eq!(data["state"], "open", "{data}");
    assert!(start.elapsed() < DELAY_MAX, "{:?}", start.elapsed());
    // What is written while the agent is away is seen once, and what it has told already is not told again.
    host.sh("systemctl stop labminion; echo 'the door south is shut now' | systemd-cat -t lab; systemctl start labminion");
    wait::until("what was written meanwhile", wait::seconds(30), || {
        told("minion/+/beacon/log", "door", "south")
    });
    wait::until("the beacons to be at work", wait::seconds(30), || (programs() == "1").then_some(()));
    host.sh("echo 'the door east is open now' | systemd-cat -t lab");
    wait::until("what was written since", wait::seconds(30), || told("minion/+/beacon/log", "door", "east"));
    let listed = lab.labctl(&["event", "list", "minion/+/beacon/log", "-o", "json"]).stdout;
    for door in ["north", "south", "east"] {
        assert_eq!(listed.matches(&format!("\"{door}\"")).count(), 1, "{door}: {listed}");
    }
    // Killed, an agent leaves no program behind.
    host.sh("systemctl kill --signal KILL labminion; systemctl stop labminion");
    wait::until("its programs to end", wait::seconds(10), || (programs() == "0").then_some(()));
}

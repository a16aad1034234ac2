//! Runs in waves: in order, stopped by failures, held by a gate, put back, and gone on with after kill -9 of the master.

use serde_json::Value;
use std::{collections::BTreeMap, fs};
use tests::{
    lab::{LIMIT, Lab, find},
    wait,
};

const FLEET: [&str; 8] = ["vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6", "vm-7", "vm-8"];

const WEB: &str = "\
page:
  file.managed:
    name: /srv/www/index.html
    contents: new {{ id }}
    makedirs: true
";

/// Eight machines that send a sample each second.
fn fleet() -> Lab {
    let mut lab = Lab::prepare();
    let config = lab.root().join("etc/labctl/master.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}sample_s: 1\n")).unwrap();
    lab.tree("states/web.sls", WEB);
    lab.start_master();
    lab.minions(&FLEET);
    lab
}

fn job(lab: &Lab, id: &str) -> Value {
    lab.labctl(&["job", "show", id, "-o", "json"]).expect(0).json()
}

fn words(job: &Value) -> BTreeMap<String, String> {
    let targets = find(job, "targets").and_then(Value::as_array).unwrap();
    let word = |it: &Value| {
        let word = it["state"]["word"].as_str().or(it["state"]["state"].as_str()).unwrap();
        (it["minion"].as_str().unwrap().to_owned(), word.to_owned())
    };
    targets.iter().map(word).collect()
}

fn expected(pairs: &[(&str, &[&str])]) -> BTreeMap<String, String> {
    let of = |(word, names): &(&str, &[&str])| {
        names.iter().map(|it| ((*it).to_owned(), (*word).to_owned())).collect::<Vec<_>>()
    };
    pairs.iter().flat_map(of).collect()
}

fn roll(job: &Value) -> &Value {
    find(job, "roll").unwrap()
}

fn submitted(lab: &Lab, arguments: &[&str]) -> String {
    let said = lab.labctl(&[&["target", "vm-*"], arguments, &["--async", "-o", "name"]].concat()).expect(0);
    said.stdout.trim().to_owned()
}

fn page(lab: &Lab, id: &str) -> Option<String> {
    fs::read_to_string(lab.on_minion(id, "/srv/www/index.html")).ok()
}

#[test]
fn waves_are_in_order_and_a_failure_stops_them_and_puts_back_what_they_changed() {
    let lab = fleet();
    // There is no folder to be made where a file is.
    fs::create_dir_all(lab.on_minion("vm-5", "/srv")).unwrap();
    fs::write(lab.on_minion("vm-5", "/srv/www"), "a file").unwrap();
    let said = lab
        .labctl(&["target", "vm-*", "apply", "web", "--batch", "2", "--undo-on-stop", "-o", "json"])
        .expect(1);
    let json = said.json();
    assert_eq!(
        words(&json),
        expected(&[
            ("changed", &["vm-1", "vm-2", "vm-3", "vm-4", "vm-6"]),
            ("failed", &["vm-5"]),
            ("cancelled", &["vm-7", "vm-8"]),
        ])
    );
    assert!(said.stderr.contains("the run stopped: 1 machine failed (vm-5)"), "{said:?}");
    let begun: Vec<&str> =
        roll(&json)["begun"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(begun.len(), 3, "{json}");
    assert!(begun.is_sorted());
    let undo = roll(&json)["undo"].as_str().unwrap().to_owned();
    lab.labctl(&["job", "watch", &undo]).expect(0);
    for id in FLEET {
        assert_eq!(page(&lab, id), None, "{id} is as it was");
    }
    let shown = lab.labctl(&["job", "show", find(&json, "id").unwrap().as_str().unwrap()]).expect(0).stdout;
    for line in ["Waves", "stopped in wave 3 of 4", "Undone by", "2 cancelled", "1 changed, 1 failed"] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

#[test]
fn a_look_at_waves_runs_nothing_and_a_gate_holds_back_all_but_the_canary() {
    let lab = fleet();
    let waves = ["apply", "web", "--canary", "1", "--batch", "50%"];
    let planned =
        lab.labctl(&[&["target", "vm-*"][..], &waves[..], &["-n", "-o", "json"]].concat()).expect(0);
    let sizes: Vec<usize> = planned.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["machines"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [1, 4, 3]);
    assert_eq!(page(&lab, "vm-1"), None);

    // One that never opens, until somebody ends it.
    let gate = ["--gate", "telemetry.cpu < 0", "--gate-hold", "1s"];
    let id = submitted(&lab, &[&waves[..], &gate[..]].concat());
    wait::until("the gate to say why", LIMIT, || {
        let shown = lab.labctl(&["job", "show", &id]).stdout;
        shown.contains("gate behind wave 1 of 3: vm-1: telemetry.cpu < 0").then_some(())
    });
    let shown = lab.labctl(&["job", "show", &id, "--all"]).expect(0).stdout;
    assert!(
        shown.contains("7 waiting") && page(&lab, "vm-1").is_some() && page(&lab, "vm-2").is_none(),
        "{shown}"
    );
    let said = lab.labctl(&["job", "cancel", &id]).expect(0);
    assert!(said.stdout.contains("7 minions"), "{said:?}");
    let json = job(&lab, &id);
    assert_eq!(words(&json)["vm-1"], "changed");
    assert_eq!(words(&json).values().filter(|it| *it == "cancelled").count(), 7);

    // One that opens after two seconds, and whose command ends well.
    let gate =
        ["--gate", "telemetry.uptime > 0", "--gate-hold", "2s", "--gate-check", "test -f srv/www/index.html"];
    let said =
        lab.labctl(&[&["target", "vm-*"][..], &waves[..], &gate[..], &["-o", "json"]].concat()).expect(0);
    let json = said.json();
    assert!(
        words(&json).iter().all(|(id, word)| word == if id == "vm-1" { "ok" } else { "changed" }),
        "{json}"
    );
    let jobs = lab.labctl(&["job", "list", "-o", "json"]).expect(0).stdout;
    let checks = jobs.matches("\"srv/www/index.html\"").count();
    assert_eq!(checks, 4, "a check behind each wave, and the run itself: {jobs}");

    // One whose command never does: it fails in time.
    let gate = ["--gate-check", "test -f nothing", "--gate-timeout", "3s", "--max-fail", "3"];
    let said = lab.labctl(&[&["target", "vm-*"][..], &waves[..], &gate[..]].concat()).expect(1);
    assert!(
        said.stderr.contains("the gate after wave 1 did not open: in time: the check of job"),
        "{said:?}"
    );
    assert!(said.stdout.contains("result=cancelled"), "{said:?}");
}

#[test]
fn the_master_is_killed_between_and_within_waves_and_each_machine_gets_it_once() {
    let mut lab = fleet();
    let ledger = lab.folder().join("ledger");
    let command = format!("sleep 0.3; pwd >> {}", ledger.display());
    let id = submitted_command(&lab, &command);
    for lines in [1, 4] {
        let many = || fs::read_to_string(&ledger).unwrap_or_default().lines().count();
        wait::until("some to have had their turn", LIMIT, || (many() >= lines).then_some(()));
        lab.signal_master("KILL");
        lab.start_master();
    }
    lab.labctl(&["job", "watch", &id]).expect(0);
    let text = fs::read_to_string(&ledger).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 8, "each machine once: {text}");
    let json = job(&lab, &id);
    assert_eq!(roll(&json)["begun"].as_array().unwrap().len(), 4);
}

fn submitted_command(lab: &Lab, command: &str) -> String {
    let words = [
        "target",
        "vm-*",
        "run",
        "--batch",
        "2",
        "--batch-wait",
        "200ms",
        "--async",
        "-o",
        "name",
        "--shell",
    ];
    let said = lab.labctl(&[&words[..], &["--", command]].concat()).expect(0);
    said.stdout.trim().to_owned()
}

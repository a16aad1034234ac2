use super::*;
use crate::{Compiler, Subject, Tree};
use model::{Answers, Grains, Labels, MinionId};
use serde_json::json;

/// What a minion does by itself, or the complaints with their places.
fn compiled(files: &[(&str, &str)]) -> Result<Conduct, Vec<String>> {
    let compiler = Compiler::new(Tree::of_texts(files.iter().copied()));
    let id: MinionId = "vm-1".parse().unwrap();
    let (grains, labels) = (Grains::new(), Labels::new());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let made = compiler.conduct(subject);
    let place = |it: &Diagnostic| it.spans.first().map(|it| format!("{}:{}:{}", it.file, it.line, it.column));
    let said = |it: &Diagnostic| format!("{} {}: {}", it.code, place(it).unwrap_or_default(), it.message);
    made.value.ok_or_else(|| made.diagnostics.iter().map(said).collect())
}

const TOP: (&str, &str) = ("pillar/top.sls", "base:\n  '*':\n    - a\n    - b\n");

fn pillar(a: &str) -> Result<Value, Vec<String>> {
    let conduct = compiled(&[TOP, ("pillar/a.sls", a), ("pillar/b.sls", "x: 1\n")])?;
    Ok(conduct.beacons.iter().map(|it| json!([it.name, it.kind, it.settings.0])).collect())
}

#[test]
fn beacons_of_pillar_are_read_in_every_form() {
    let cases = [
        ("x: 1\n", json!([])),
        ("beacons:\n  memory:\n", json!([["memory", "memory", {}]])),
        ("beacons:\n  memory: { above: 90% }\n", json!([["memory", "memory", {"above": "90%"}]])),
        (
            "beacons:\n  disk:\n    - { path: /, above: 90% }\n    - { path: /srv }\n",
            json!([["disk", "disk", {"path": "/", "above": "90%"}], ["disk", "disk", {"path": "/srv"}]]),
        ),
        ("beacons:\n  conf: { beacon: file, path: /etc }\n", json!([["conf", "file", {"path": "/etc"}]])),
        (
            "beacons:\n  diskusage:\n    - /: 63%\n",
            json!([["diskusage", "disk", {"path": "/", "above": "63%"}]]),
        ),
        ("beacons:\n  enabled: false\n  memory: {}\n", json!([])),
    ];
    for (text, wanted) in cases {
        assert_eq!(pillar(text), Ok(wanted), "{text}");
    }
}

#[test]
fn every_mistake_has_its_place() {
    let text = "\
x: 1
beacons:
  memory: { abov: 90% }
  disc: {}
  disk:
    - { path: srv, above: 90% }
    - all
  conf: { beacon: fil, path: /etc }
  file: {}
  'a b': {}
  load: 3
";
    let wrong = pillar(text).unwrap_err();
    let wanted = [
        "E0407 pillar/a.sls:3:13: the beacon `memory` has no setting `abov`",
        "E0406 pillar/a.sls:4:3: there is no beacon `disc`",
        "E0407 pillar/a.sls:6:9: `path` must be an absolute path",
        "E0406 pillar/a.sls:7:7: `disk` is a mapping of settings",
        "E0406 pillar/a.sls:8:3: there is no beacon `fil`",
        "E0407 pillar/a.sls:9:3: the beacon `file` needs `path`",
        "E0406 pillar/a.sls:10:3: `a b` is no name",
        "E0406 pillar/a.sls:11:3: `load` is a mapping",
    ];
    assert_eq!(wrong.len(), wanted.len(), "{wrong:#?}");
    for (message, start) in wrong.iter().zip(wanted) {
        assert!(message.starts_with(start), "{message}\n{start}");
    }
}

#[test]
fn what_files_say_together_counts_and_too_many_are_refused() {
    let files = [
        TOP,
        ("pillar/a.sls", "beacons:\n  conf: { path: /etc }\n"),
        ("pillar/b.sls", "beacons:\n  conf: { beacon: file }\n"),
    ];
    let conduct = compiled(&files).unwrap();
    assert_eq!((conduct.beacons.len(), conduct.beacons[0].kind.as_str()), (1, "file"));
    let compiler = Compiler::new(Tree::of_texts(files));
    let said = compiler.check(&[]);
    assert!(!said.iter().any(|it| it.code == "E0406"), "{said:?}");
    let many: Vec<String> = (0..=BEACONS_MAX).map(|it| format!("  m{it}: {{ beacon: memory }}")).collect();
    let wrong = pillar(&format!("beacons:\n{}\n", many.join("\n"))).unwrap_err();
    assert!(wrong[0].contains("65 beacons"), "{wrong:?}");
}

#[test]
fn a_check_without_a_minion_finds_what_is_wrong_in_one_file() {
    let files = [TOP, ("pillar/a.sls", "beacons:\n  disc: {}\n"), ("pillar/b.sls", "x: 1\n")];
    let said = Compiler::new(Tree::of_texts(files)).check(&[]);
    assert!(said.iter().any(|it| it.message.contains("there is no beacon `disc`")), "{said:?}");
}

#[test]
fn every_example_compiles() {
    for kind in beacons::kinds() {
        let made = pillar(kind.example.text());
        assert!(made.as_ref().is_ok_and(|it| !it.as_array().unwrap().is_empty()), "{}: {made:?}", kind.name);
    }
}

fn checked(files: &[(&str, &str)]) -> Vec<String> {
    let said = Compiler::new(Tree::of_texts(files.iter().copied())).check(&[]);
    said.into_iter().map(|it| format!("{} {}", it.code, it.message)).collect()
}

#[test]
fn a_schedule_may_be_said_by_several_files() {
    let a = ("pillar/a.sls", "schedule:\n  tidy: { cron: '30 3 * * *', apply: [] }\n");
    for b in ["{ enabled: false }", "~", "{ jitter: 10m }", "{ apply: [], cron: ~ }"] {
        let b = format!("schedule:\n  tidy: {b}\n");
        assert_eq!(checked(&[TOP, a, ("pillar/b.sls", &b)]), [""; 0], "{b}");
    }
    let conduct = compiled(&[TOP, a, ("pillar/b.sls", "schedule:\n  tidy: { enabled: false }\n")]).unwrap();
    assert!(conduct.schedule.is_empty());
    for (b, wanted) in [
        ("{ cron: soon }", "no cron expression"),
        ("{ every: 1h, at: '2026-12-24T20:00' }", "exactly one of"),
        ("{ jitter: soon }", "`jitter` takes"),
        ("{ mode: pln }", "`mode` takes"),
        ("[]", "`tidy` is a mapping"),
    ] {
        let b = format!("schedule:\n  tidy: {b}\n");
        let said = checked(&[TOP, a, ("pillar/b.sls", &b)]);
        assert!(said.len() == 1 && said[0].contains(wanted), "{b}: {said:?}");
    }
    let wrong =
        compiled(&[TOP, ("pillar/a.sls", "schedule:\n  tidy: { apply: [] }\n"), ("pillar/b.sls", "")]);
    assert!(wrong.unwrap_err()[0].contains("exactly one of"), "of all files together something is missing");
}

#[test]
fn what_only_a_minion_has_is_no_mistake_without_one() {
    let good = "\
beacons:
  memory: { above: \"{{grains.limit}}\" }
  disk:
    - { path: \"{{grains.mount}}\", above: 90% }
    - { path: /srv }
  diskusage:
    - \"{{grains.mount}}\": 63%
  conf: { beacon: \"{{pillar.kind}}\", path: /etc }
  load: { over: \"{{pillar.over}}\", above: \"{{grains.limit}}%\", clear: 5 }
schedule:
  tidy: { cron: \"{{pillar.when}}\", apply: [] }
  other: { every: 1h, apply: [\"{{pillar.state}}\"], mode: \"{{pillar.mode}}\" }
";
    assert_eq!(checked(&[TOP, ("pillar/a.sls", good), ("pillar/b.sls", "x: 1\n")]), [""; 0]);
    let bad = good.replace("path: /srv", "path: srv").replace("every: 1h", "every: often");
    let said = checked(&[TOP, ("pillar/a.sls", &bad), ("pillar/b.sls", "x: 1\n")]);
    assert!(said.len() == 2 && said[0].contains("absolute path") && said[1].contains("`every`"), "{said:?}");
}

#[test]
fn of_two_files_that_say_the_same_the_last_one_is_complained_about() {
    let file = "beacons:\n  memory: { above: much }\n";
    let wrong = compiled(&[TOP, ("pillar/a.sls", file), ("pillar/b.sls", &format!("\n{file}"))]).unwrap_err();
    assert!(wrong[0].starts_with("E0407 pillar/b.sls:3:"), "{wrong:?}");
}

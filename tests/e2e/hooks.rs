//! Webhooks: declared, given a secret, used with the very line that `labctl hook secret` prints, and seen by a rule.

use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const RULE: &str = "\
pushed:
  on: hook/ci
  when: event.hello == 'labctl'
  do:
    - event: { tag: seen, data: { hello: '{{event.hello}}' } }
";

fn declare(lab: &Lab, text: &str) {
    let path = lab.root().join("etc/labctl/hooks.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
}

fn hooks(lab: &Lab) -> Vec<Value> {
    let said = lab.labctl(&["hook", "list", "-o", "json"]).expect(0);
    said.json()["items"].as_array().cloned().unwrap_or_default()
}

fn declared(lab: &Lab, name: &str) -> Option<Value> {
    hooks(lab).into_iter().find(|it| it["name"] == name)
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .or_else(|_| Command::new(program).arg("version").output())
        .is_ok()
}

fn events(lab: &Lab, tag: &str) -> Vec<Value> {
    let said = lab.labctl(&["event", "list", tag, "-o", "json"]).expect(0);
    said.json()["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_hook_is_declared_given_a_secret_and_used_and_a_mistake_changes_nothing() {
    if !has("curl") || !has("python3") {
        return tests::skip("the line that a hook is tried with", "there is no curl or no python3");
    }
    let mut lab = Lab::prepare();
    lab.tree("reactors/hooks.yaml", RULE);
    declare(&lab, "ci: {recipe: generic}\nbeats: {recipe: uptime-kuma}\n");
    lab.start_master();
    wait::until("the hooks to be in use", LIMIT, || declared(&lab, "ci"));
    let made = lab.labctl(&["hook", "secret", "ci", "-o", "json"]).expect(0).json();
    wait::until("the secret to be in use", LIMIT, || {
        declared(&lab, "ci").filter(|it| it["secret"] == "kept")
    });
    let shell = |text: &str| {
        let text = text.replace("curl ", "curl -s -w '\\n%{http_code}' --max-time 20 ");
        let output = Command::new("sh").args(["-c", &text]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
        (code.to_owned(), serde_json::from_str::<Value>(body).unwrap_or(Value::Null))
    };
    let line = made["try"].as_str().unwrap();
    let (code, answer) = shell(line);
    assert_eq!(code, "202", "{answer} {}", lab.logs());
    assert_eq!((&answer["events"], &answer["again"]), (&Value::from(1), &Value::from(false)));
    // What was acknowledged is there, also after the master died at once.
    lab.signal_master("KILL");
    lab.start_master();
    let stored = events(&lab, "hook/ci");
    assert_eq!(
        (&stored[0]["number"], &stored[0]["data"]["hello"]),
        (&answer["event"], &Value::from("labctl"))
    );
    assert_eq!(stored[0]["source"]["kind"], "integration");
    wait::until("the rule to see it", LIMIT, || events(&lab, "rule/pushed/seen").first().cloned());

    wait::until("the hooks to be in use again", LIMIT, || declared(&lab, "ci"));
    let wrong = line.replace(made["secret"].as_str().unwrap(), "0123456789abcdef0123456789abcdef");
    assert_eq!(shell(&wrong).0, "401");
    assert_eq!(shell(&line.replace("/hook/ci", "/hook/no")).0, "401");
    let log = lab.labctl(&["audit", "list", "-o", "json"]).expect(0).stdout;
    assert!(log.contains("deliver to the hook ci") && log.contains("make a secret for the hook ci"), "{log}");
    assert!(!log.contains(made["secret"].as_str().unwrap()));

    declare(&lab, "ci: {recipe: generc}\n");
    wait::until("the mistake to be told", LIMIT, || events(&lab, "hooks/broken").first().cloned());
    assert_eq!(hooks(&lab).len(), 2, "the last good ones stay");
    let status = lab.labctl(&["status"]).expect(0);
    assert!(status.stdout.contains("hooks.yaml") || status.stdout.contains("generc"), "{}", status.stdout);
    declare(&lab, "beats: {recipe: uptime-kuma}\n");
    wait::until("the hook to be gone", LIMIT, || declared(&lab, "ci").is_none().then_some(()));
    assert_eq!(shell(line).0, "401");
}

#[test]
fn a_hook_is_tried_without_anything_happening() {
    let mut lab = Lab::prepare();
    declare(&lab, "alerts: {recipe: alertmanager, secret: 0123456789abcdef}\n");
    lab.start_master();
    wait::until("the hooks to be in use", LIMIT, || declared(&lab, "alerts"));
    let said = lab.labctl(&["hook", "test", "alerts", "-o", "json"]).expect(0).json();
    assert_eq!(
        (&said["items"][0]["tag"], &said["items"][1]["data"]["status"]),
        (&Value::from("hook/alerts"), &Value::from("resolved"))
    );
    let body = lab.folder().join("body.json");
    fs::write(&body, "{}").unwrap();
    let refused = lab.labctl(&["hook", "test", "alerts", "--body", &body.display().to_string()]);
    assert!(refused.code != 0 && refused.stderr.contains("alerts"), "{refused:?}");
    assert!(events(&lab, "hook/#").is_empty());
    let refused = lab.labctl(&["hook", "secret", "alerts"]);
    assert!(refused.code != 0 && refused.stderr.contains("hooks.yaml says where"), "{refused:?}");
}

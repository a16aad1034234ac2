//! Who may do what, until when, and what of it is on record: with real programs, over the socket and over HTTPS.

use serde_json::Value;
use std::fs;
use tests::{
    lab::{LIMIT, Lab, Said, said},
    wait,
};

const ROLES: &str = "\
roles:
  deployer:
    allow:
      - functions: [state.*, job.*, minion.list]
        targets: web-*
        states: [hello]
      - {functions: cmd.run, targets: web-*, commands: [[echo, ...]]}
";

/// `labctl` elsewhere, with a token.
struct Remote<'a> {
    lab: &'a Lab,
    pin: String,
    token: String,
}

impl<'a> Remote<'a> {
    fn new(lab: &'a Lab, name: &str, more: &[&str]) -> Self {
        let words = [&["token", "create", name, "-o", "json"], more].concat();
        let made = lab.labctl(&words).expect(0).json();
        let pin = lab.labctl(&["master", "cert", "-o", "name"]).expect(0).stdout.trim().to_owned();
        Self { lab, pin, token: format!("{name}:{}", made["secret"].as_str().unwrap()) }
    }
    fn says(&self, words: &[&str]) -> Said {
        let mut command = self.lab.labctl_command(words);
        command.env_remove("LABCTL_SOCKET");
        command.env("LABCTL_MASTER", format!("https://127.0.0.1:{}", self.lab.https()));
        command.env("LABCTL_MASTER_KEY", &self.pin).env("LABCTL_TOKEN", &self.token);
        said(&command.output().unwrap())
    }
}

fn write_roles(lab: &Lab, text: &str) {
    let path = lab.root().join("etc/labctl/roles.yaml");
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

fn lab() -> Lab {
    let mut lab = Lab::prepare();
    lab.tree(
        "states/hello.sls",
        "motd:\n  file.managed:\n    name: /etc/motd\n    contents: hello\n    makedirs: true\n",
    );
    lab.start_master();
    lab.minions(&["web-1", "db-1"]);
    lab
}

fn log(lab: &Lab) -> Vec<Value> {
    let list = lab.labctl(&["audit", "list", "--limit", "1000", "-o", "json"]).expect(0).json();
    list["items"].as_array().unwrap().clone()
}

#[test]
fn a_role_allows_what_its_lines_say_from_when_they_are_saved_and_a_mistake_changes_nothing() {
    let lab = lab();
    lab.labctl(&["token", "create", "ci", "--role", "deployer"]).expect(2);
    write_roles(&lab, ROLES);
    wait::until("the roles to be in use", LIMIT, || {
        (lab.labctl(&["can", "deployer", "state.apply", "web-1", "--state", "hello"]).code == 0).then_some(())
    });
    let ci = Remote::new(&lab, "ci", &["--role", "deployer", "--for", "1h"]);
    for (words, code) in [
        (&["target", "web-1", "apply", "hello"][..], 0),
        (&["target", "web-1", "run", "--", "echo", "hi"], 0),
        (&["target", "web-1", "run", "--", "rm", "-rf", "/"], 7),
        (&["target", "web-1", "run", "--", "echo hi; rm -rf /"], 7),
        (&["target", "db-1", "apply", "hello"], 7),
        (&["target", "*", "apply", "hello"], 7),
        (&["target", "web-1", "apply"], 7),
        (&["target", "nobody", "apply", "hello"], 7),
        (&["token", "create", "more", "--role", "admin"], 7),
        (&["audit", "list"], 7),
        (&["key", "list"], 7),
    ] {
        let said = ci.says(words);
        assert_eq!(said.code, code, "{words:?}: {said:?}");
        assert!(code == 0 || said.stderr.contains("role deployer may"), "{words:?}: {said:?}");
    }
    let shown = lab.labctl(&["can", "ci", "state.apply", "*", "--state", "hello"]).expect(7);
    assert!(shown.stdout.contains("db-1  no line allows it"), "{}", shown.stdout);
    assert!(shown.stdout.contains("roles.yaml:4"), "{}", shown.stdout);

    write_roles(&lab, "roles: {deployer: {alow: []}}\n");
    wait::until("the mistake to be told", LIMIT, || {
        lab.labctl(&["status"]).stdout.contains("unknown key `alow`").then_some(())
    });
    ci.says(&["target", "web-1", "apply", "hello"]).expect(0);
    write_roles(&lab, "");
    wait::until("the role to be gone", LIMIT, || {
        (ci.says(&["target", "web-1", "apply", "hello"]).code == 7).then_some(())
    });
    let refused: Vec<Value> = log(&lab).into_iter().filter(|it| it["caller"]["name"] == "ci").collect();
    let count =
        |word: &str| refused.iter().filter(|it| it["result"].as_str().unwrap().starts_with(word)).count();
    assert!(count("refused") >= 8 && count("accepted") >= 3, "{refused:#?}");
    lab.labctl(&["audit", "verify"]).expect(0);
}

#[test]
fn a_viewer_reads_and_alters_nothing_and_an_end_is_an_end() {
    let lab = lab();
    let eye = Remote::new(&lab, "eye", &["--role", "viewer"]);
    eye.says(&["minion", "list"]).expect(0);
    for words in [
        &["target", "web-1", "run", "--", "true"][..],
        &["target", "web-1", "apply", "hello"],
        &["target", "web-1", "label", "a=b"],
        &["event", "send", "x"],
        &["key", "revoke", "web-1", "-y"],
        &["token", "revoke", "eye"],
        &["pillar", "show", "web-1"],
        &["audit", "export"],
    ] {
        let said = eye.says(words);
        assert_eq!(said.code, 7, "{words:?}: {said:?}");
    }
    let brief = Remote::new(&lab, "brief", &["--role", "operator", "--for", "3s"]);
    brief.says(&["status"]).expect(0);
    let ended = wait::until("the end of a token", LIMIT, || {
        let said = brief.says(&["status"]);
        (said.code == 7).then_some(said)
    });
    assert!(ended.stderr.contains("the time of brief is over"), "{ended:?}");
    assert!(lab.labctl(&["token", "list"]).stdout.contains("ended"), "the list shows when");
    wait::until("the refusal to be on record", LIMIT, || {
        let told =
            |it: &Value| it["caller"]["name"] == "brief" && it["result"] == "refused: its end has come";
        log(&lab).iter().any(told).then_some(())
    });
}

#[test]
fn where_a_token_and_a_key_have_one_name_nothing_is_ended_until_it_is_said_which() {
    let lab = Lab::start();
    let key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let names = || {
        let list = lab.labctl(&["token", "list", "-o", "json"]).expect(0).json();
        list["items"].as_array().unwrap().len()
    };
    for (flags, left) in [(&["--token"][..], 1), (&["--key"], 1), (&["--token", "--key"], 0)] {
        lab.labctl(&["token", "create", "ann"]).expect(0);
        lab.labctl(&["token", "add-key", "ann", key]).expect(0);
        let refused = lab.labctl(&["token", "revoke", "ann"]).expect(2);
        assert!(
            refused.stderr.contains("nothing was ended") && refused.stderr.contains("--key"),
            "{refused:?}"
        );
        assert_eq!(names(), 2);
        let said = lab.labctl(&[&["token", "revoke", "ann"], flags].concat()).expect(0);
        assert_eq!(names(), left, "{flags:?}: {said:?}");
        assert_eq!(said.stdout.contains("still good"), left == 1, "{said:?}");
        if left == 1 {
            lab.labctl(&["token", "revoke", "ann"]).expect(0);
        }
        assert_eq!(names(), 0, "one that is alone needs no flag");
    }
    lab.labctl(&["token", "revoke", "ann"]).expect(8);
}

#[test]
fn the_log_is_exported_and_checked_elsewhere_and_tampering_with_the_store_is_found() {
    let mut lab = lab();
    for number in 0..5 {
        lab.labctl(&["event", "send", &format!("n{number}")]).expect(0);
    }
    let good = lab.labctl(&["audit", "verify", "-o", "json"]).expect(0).json();
    assert!(good["lines"].as_u64().unwrap() >= 6 && good["broken"].is_null(), "{good}");
    let file = lab.folder().join("log.jsonl");
    fs::write(&file, lab.labctl(&["audit", "export"]).expect(0).stdout).unwrap();
    let path = file.to_str().unwrap();
    let there = lab.labctl(&["audit", "verify", path, "-o", "json"]).expect(0).json();
    assert_eq!(there["head"], good["head"], "the same log");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("n3", "n9", 1)).unwrap();
    let told = lab.labctl(&["audit", "verify", path]).expect(1);
    assert!(told.stdout.contains("is not as it was written"), "{told:?}");
    fs::write(&file, text.lines().skip(3).flat_map(|it| [it, "\n"]).collect::<String>()).unwrap();
    let part = lab.labctl(&["audit", "verify", path]).expect(0);
    assert!(part.stdout.contains("the file begins with line 4"), "{part:?}");

    let store = lab.root().join("var/lib/labctl/master/store.db");
    let db = rusqlite::Connection::open(&store).unwrap();
    let bent = db.execute("UPDATE audit SET data = replace(data, 'n3', 'n9') WHERE data LIKE '%n3%'", []);
    assert_eq!(bent.unwrap(), 1);
    let told = lab.labctl(&["audit", "verify"]).expect(1);
    assert!(told.stdout.contains("its text or its hash was altered"), "{told:?}");
    db.execute("UPDATE audit SET data = replace(data, 'n9', 'n3')", []).unwrap();
    lab.labctl(&["audit", "verify"]).expect(0);
    lab.signal_master("TERM");
    db.execute("DELETE FROM audit WHERE n = (SELECT max(n) FROM audit)", []).unwrap();
    drop(db);
    lab.start_master();
    lab.labctl(&["event", "send", "more"]).expect(0);
    let told = lab.labctl(&["audit", "verify"]).expect(1);
    assert!(told.stdout.contains("the master found at its start"), "{told:?}");
}

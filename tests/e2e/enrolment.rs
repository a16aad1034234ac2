//! Who may join: tokens, quarantine, conflicts, revocation, removal.

use crate::intruder::Intruder;
use bus::client::Refusal;
use serde_json::Value;
use std::fs;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

/// The reason of a key that wants `id` and stands so.
fn key(lab: &Lab, id: &str, status: &str) -> Option<String> {
    let said = lab.labctl(&["key", "list", "-o", "json"]);
    let json: Value = serde_json::from_str(&said.stdout).ok()?;
    let found = json["items"].as_array()?.iter().find(|it| it["minion"] == id && it["status"] == status)?;
    Some(found["reason"].as_str().unwrap_or_default().to_owned())
}

fn wait_key(lab: &Lab, id: &str, status: &str) -> String {
    wait::until(&format!("the key of {id} to be {status}\n{}", lab.logs()), LIMIT, || key(lab, id, status))
}

#[test]
fn a_token_lets_in_what_it_says_and_no_more() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &["--uses", "1", "--label", "role=web"]);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    let said = lab.labctl(&["target", "@web", "list", "-o", "name"]).expect(0);
    assert_eq!(said.stdout, "vm-1\n");

    lab.launch("vm-2", &seed);
    assert!(wait_key(&lab, "vm-2", "pending").contains("used up"));
    let other = lab.seed("vm-*", &[]);
    lab.launch("db-1", &other);
    assert!(wait_key(&lab, "db-1", "pending").contains("`vm-*`"), "the reason names the ids");
    let elsewhere = lab.seed("vm-*", &["--cidr", "192.0.2.0/24"]);
    lab.launch("vm-3", &elsewhere);
    assert!(wait_key(&lab, "vm-3", "pending").contains("127.0.0.1"), "the reason names the address");
    let said = lab.labctl(&["target", "*", "list", "-o", "name"]).expect(0);
    assert_eq!(said.stdout, "vm-1\n", "a quarantined minion is in no target");

    lab.labctl(&["key", "accept", "vm-2"]).expect(0);
    lab.wait_up("vm-2");
    lab.labctl(&["key", "reject", "db-1"]).expect(0);
    wait_key(&lab, "db-1", "rejected");
}

#[test]
fn a_revoked_token_leads_to_quarantine_and_is_listed_so() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &["--name", "bake-7", "--uses", "5"]);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    lab.labctl(&["key", "revoke-token", "bake-7"]).expect(0);
    lab.labctl(&["key", "revoke-token", "bake-8"]).expect(8);
    lab.launch("vm-2", &seed);
    assert!(wait_key(&lab, "vm-2", "pending").contains("bake-7 was revoked"));
    lab.wait_up("vm-1");
    let said = lab.labctl(&["key", "tokens"]).expect(0);
    assert!(
        said.stdout.contains("bake-7") && said.stdout.contains("1/5") && said.stdout.contains("revoked"),
        "{said:?}"
    );
}

#[test]
fn an_expired_token_leads_to_quarantine() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &["--for", "1s"]);
    let text = fs::read_to_string(&seed).unwrap();
    assert!(text.contains("\"token\""));
    let expired = || {
        let now =
            std::time::SystemTime::now().duration_since(fs::metadata(&seed).ok()?.modified().ok()?).ok()?;
        (now.as_millis() > 1_500).then_some(())
    };
    wait::until("the token to expire", LIMIT, expired);
    lab.launch("vm-1", &seed);
    assert!(wait_key(&lab, "vm-1", "pending").contains("expired"));
}

#[test]
fn localhost_goes_to_quarantine_even_with_a_token() {
    let mut lab = Lab::start();
    let seed = lab.seed("*", &[]);
    lab.launch("localhost", &seed);
    wait_key(&lab, "localhost", "pending");
}

#[test]
fn the_same_name_with_a_new_key_is_a_conflict() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    lab.launch_with("twin", &seed, &["--id", "vm-1"]);
    wait::until("the conflict to be shown", LIMIT, || {
        lab.labctl(&["key", "list"]).stdout.contains("conflict").then_some(())
    });
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);
    let answered = lab.labctl(&["target", "vm-1", "run", "--", "pwd"]).expect(0);
    assert!(answered.stdout.contains("minions/vm-1/host"), "the old key keeps the name: {}", answered.stdout);
}

#[test]
fn revoking_closes_the_connection_within_a_second_for_good() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    let old_key = Intruder::with_keys_of(&mut lab, 0);
    lab.labctl(&["key", "revoke", "vm-1"]).expect(0);
    wait::until("the revoked minion to be out", wait::seconds(1), || {
        (lab.labctl(&["target", "vm-1", "ping"]).code == 5).then_some(())
    });
    lab.labctl(&["target", "vm-2", "ping"]).expect(0);
    let reason = old_key.refused_subscription("ctl/vm-1/in");
    assert_eq!(bus::client::refusal(&reason), Some(Refusal::Key), "{reason}");
    assert!(lab.labctl(&["status", "-o", "json"]).stdout.contains("minion-banned"));
    // It asks anew with another key, and the token in its seed does not help it: a person decides.
    assert!(wait_key(&lab, "vm-1", "pending").contains("no token"));
    lab.agent(0).signal("KILL");
    lab.restart(0);
    wait::until("it to ask again", LIMIT, || {
        (lab.agent(0).log().matches("without its token").count() > 1).then_some(())
    });
    lab.labctl(&["target", "vm-1", "ping"]).expect(5);
    lab.labctl(&["key", "accept", "vm-1"]).expect(0);
    lab.wait_up("vm-1");
}

#[test]
fn removing_a_live_minion_forgets_it() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    lab.labctl(&["minion", "remove", "vm-1", "--yes"]).expect(0);
    wait::until("the minion to be gone", wait::seconds(2), || {
        let said = lab.labctl(&["minion", "list", "-o", "name"]);
        (said.stdout == "vm-2\n").then_some(())
    });
    lab.labctl(&["minion", "show", "vm-1"]).expect(8);
    assert!(wait_key(&lab, "vm-1", "pending").contains("no token"), "only a person lets it in again");
    lab.labctl(&["minion", "show", "vm-1"]).expect(8);
}

#[test]
fn a_master_with_another_key_is_refused() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    lab.signal_master("TERM");
    let ours = lab.root().join("var/lib/labctl/master");
    let other = Lab::prepare();
    let theirs = other.root().join("var/lib/labctl/master");
    fs::copy(theirs.join("masters.json"), ours.join("masters.json")).unwrap();
    for entry in fs::read_dir(theirs.join("keys")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, ours.join("keys").join(path.file_name().unwrap())).unwrap();
    }
    lab.start_master();
    wait::until("the minion to refuse the stranger", LIMIT, || {
        let log = lab.agent(0).log();
        log.contains("pinned").then_some(())
    });
    lab.labctl(&["target", "vm-1", "ping"]).expect(4);
}

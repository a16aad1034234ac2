//! Who a machine is: copied disks, names that are given again, machines that come and go, keys that are sent away.

mod masters;

use crate::intruder::Intruder;
use bus::client::{ClientEvent, Refusal};
use bus::envelope::{self, Sequence};
use bus::message::{EnrollAnswer, EnrollRequest};
use bus::seed::{Seed, sign_request};
use bus::{PublicKey, Topic};
use model::{Labels, Timestamp};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const MACHINES: [(&str, &str, &str); 2] = [
    ("0123456789abcdef0123456789abcdef", "4c4c4544-0044-3510-8052-b4c04f4a3132", "52:54:00:00:00:01"),
    ("fedcba9876543210fedcba9876543210", "564d1234-9f00-4af1-a6b2-3c4d5e6f7081", "52:54:00:00:00:02"),
];

/// Pretends a machine's machine-id, uuid and network card.
fn pretend(lab: &Lab, name: &str, machine_id: &str, uuid: &str, mac: &str) {
    for (path, text) in [
        ("etc/machine-id", machine_id),
        ("sys/class/dmi/id/product_uuid", uuid),
        ("sys/class/dmi/id/sys_vendor", "QEMU"),
        ("sys/class/net/eth0/address", mac),
    ] {
        let path = lab.on_minion(name, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Copies a minion's folder as somebody copies a disk: also of one that runs.
fn copy_disk(lab: &Lab, from: &str, to: &str) {
    let minions = lab.folder().join("minions");
    let copied = Command::new("cp").arg("-a").args([minions.join(from), minions.join(to)]).status().unwrap();
    assert!(copied.success());
    fs::write(minions.join(to).join("log"), "").unwrap();
}

/// A seed without its token.
fn bare(seed: &Path) -> std::path::PathBuf {
    let mut json: Value = serde_json::from_str(&fs::read_to_string(seed).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("token");
    let path = seed.with_extension("bare.json");
    fs::write(&path, json.to_string()).unwrap();
    path
}

/// Keys of a name: status, fingerprint and reason.
fn keys(lab: &Lab, id: &str) -> Vec<(String, String, String)> {
    let json = lab.labctl(&["key", "list", "-o", "json"]).expect(0).json();
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let items = json["items"].as_array().cloned().unwrap_or_default();
    let of_id = items.iter().filter(|it| it["minion"] == id);
    of_id.map(|it| (text(it, "status"), text(it, "fingerprint"), text(it, "reason"))).collect()
}

fn wait_status(lab: &Lab, id: &str, status: &str) -> (String, String) {
    wait::until(&format!("a key of {id} to be {status}\n{}", lab.logs()), LIMIT, || {
        keys(lab, id).into_iter().find(|it| it.0 == status).map(|it| (it.1, it.2))
    })
}

fn events(lab: &Lab, tag: &str) -> Vec<Value> {
    let json = lab.labctl(&["event", "list", tag, "-o", "json"]).expect(0).json();
    json["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_copy_of_a_machine_asks_to_be_one_of_its_own() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    let [(id, uuid, mac), (_, other_uuid, other_mac)] = MACHINES;
    pretend(&lab, "vm-1", id, uuid, mac);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    let (first, _) = wait_status(&lab, "vm-1", "accepted");
    for (name, seed) in [("vm-2", seed.clone()), ("vm-3", bare(&seed))] {
        copy_disk(&lab, "vm-1", name);
        pretend(&lab, name, id, other_uuid, other_mac);
        lab.launch(name, &seed);
    }
    lab.wait_up("vm-2");
    let (second, _) = wait_status(&lab, "vm-2", "accepted");
    let (third, why) = wait_status(&lab, "vm-3", "pending");
    assert!(first != second && first != third && second != third);
    assert!(why.contains("no token") && why.contains(&format!("a copy of {first}")), "{why}");
    assert!(lab.agent(1).log().contains("is a copy of another"), "{}", lab.logs());
    assert_eq!(wait_status(&lab, "vm-1", "accepted").0, first);
    lab.labctl(&["target", "vm-1,vm-2", "ping"]).expect(0);
    assert!(!lab.agent(0).log().contains("not connected"), "the first one notices nothing");
}

#[test]
fn a_repaired_machine_and_one_that_was_made_new_in_place_stay_who_they_are() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    let [(id, uuid, mac), (other_id, other_uuid, _)] = MACHINES;
    pretend(&lab, "vm-1", id, uuid, mac);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    let (key, _) = wait_status(&lab, "vm-1", "accepted");
    for (id, uuid) in [(id, other_uuid), (other_id, other_uuid)] {
        lab.agent(0).signal("KILL");
        pretend(&lab, "vm-1", id, uuid, mac);
        lab.restart(0);
        wait::until("it to notice", LIMIT, || lab.agent(0).log().contains("stays who it is").then_some(()));
        lab.wait_up("vm-1");
        wait::until("it to answer", LIMIT, || {
            (lab.labctl(&["target", "vm-1", "ping"]).code == 0).then_some(())
        });
        fs::write(lab.agent(0).folder.join("log"), "").unwrap();
    }
    assert_eq!(wait_status(&lab, "vm-1", "accepted").0, key);
    assert_eq!(events(&lab, "minion/+/cloned"), [] as [Value; 0]);
}

#[test]
fn of_two_machines_that_look_alike_neither_is_served_until_an_operator_decides() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    for id in ["vm-1", "vm-9"] {
        lab.launch(id, &seed);
        lab.wait_up(id);
    }
    copy_disk(&lab, "vm-1", "copy");
    let copy = lab.launch_with("copy", &bare(&seed), &["--id", "vm-1"]);
    let (_, why) = wait_status(&lab, "vm-1", "suspended");
    assert!(why.contains("two machines use this key"), "{why}");
    lab.labctl(&["target", "vm-1", "ping"]).expect(4);
    lab.labctl(&["target", "vm-9", "ping"]).expect(0);
    for (command, code) in [(&["status"][..], 0), (&["key", "list", "--pending"], 0), (&["doctor"], 1)] {
        let said = lab.labctl(command).expect(code);
        let told = said.stdout.contains("vm-1")
            && (said.stdout.contains("two machines use the key")
                || said.stdout.contains("two machines use this key"));
        assert!(told, "{command:?}: {said:?}");
    }
    let key = keys(&lab, "vm-1").into_iter().find(|it| it.0 == "suspended").unwrap().1;
    assert!(lab.labctl(&["doctor"]).stdout.contains(&format!("labctl key accept {key}")));
    let cloned = wait::until("the event", LIMIT, || events(&lab, "minion/vm-1/cloned").first().cloned());
    assert!(
        cloned["data"]["remedy"].as_str().unwrap().contains(&format!("labctl key revoke {key}")),
        "{cloned}"
    );

    lab.signal_master("KILL");
    lab.start_master();
    for index in [0, copy] {
        wait::until("both to be told", LIMIT, || {
            lab.agent(index).log().contains("two machines use this key").then_some(())
        });
    }
    lab.labctl(&["target", "vm-1", "ping"]).expect(4);
    lab.agent(copy).signal("KILL");
    lab.labctl(&["key", "accept", "vm-1"]).expect(0);
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);
}

#[test]
fn both_copies_can_be_told_to_ask_with_keys_of_their_own() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    let [(id, uuid, mac), (other_id, _, _)] = MACHINES;
    pretend(&lab, "vm-1", id, uuid, mac);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    copy_disk(&lab, "vm-1", "copy");
    // Its machine-id alone is another: that could be the same machine, made new, if the first were not there.
    pretend(&lab, "copy", other_id, uuid, mac);
    lab.launch_with("copy", &seed, &["--id", "vm-1"]);
    let (old, why) = wait_status(&lab, "vm-1", "suspended");
    assert!(why.contains(id) && why.contains(other_id), "{why}");
    lab.labctl(&["key", "revoke", "vm-1"]).expect(0);
    let fresh = wait::until("both to ask anew", Duration::from_mins(1), || {
        let pending = keys(&lab, "vm-1").into_iter().filter(|it| it.0 == "pending");
        let pending: Vec<String> = pending.map(|it| it.1).collect();
        (pending.len() == 2).then_some(pending)
    });
    assert!(!fresh.contains(&old));
    lab.labctl(&["key", "accept", "vm-1", "--fingerprint", &fresh[0]]).expect(0);
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);
    let other = keys(&lab, "vm-1").into_iter().find(|it| it.1 == fresh[1]).unwrap();
    assert_ne!(other.0, "accepted");
}

#[test]
fn a_machine_that_comes_back_again_and_again_is_one_machine() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    let twin = Intruder::with_keys_of(&mut lab, 0);
    for round in 0..4 {
        // A connection beside it, as a half-open one of its own would be.
        drop(twin.join(&["ctl/vm-1/in"]));
        if round % 2 == 0 {
            lab.agent(0).signal("KILL");
            lab.restart(0);
        }
        wait::until("it to come back", LIMIT, || {
            (lab.labctl(&["target", "vm-1", "ping"]).code == 0).then_some(())
        });
    }
    assert_eq!(events(&lab, "minion/+/cloned"), [] as [Value; 0]);
    assert_eq!(keys(&lab, "vm-1")[0].0, "accepted");
}

#[test]
fn without_the_defence_a_copy_goes_on_under_the_key_of_the_first() {
    let mut lab = Lab::prepare();
    lab.start_master_with(&[(model::broken::VARIABLE, "suspend-clones")]);
    let seed = lab.seed("vm-*", &[]);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    copy_disk(&lab, "vm-1", "copy");
    let copy = lab.launch_with("copy", &seed, &["--id", "vm-1"]);
    wait::until("both to be served in turns", LIMIT, || {
        let served = |text: String| text.matches(" connected").count();
        (served(lab.agent(0).log()) >= 3 && served(lab.agent(copy).log()) >= 2).then_some(())
    });
    assert_eq!(keys(&lab, "vm-1")[0].0, "accepted");
}

#[test]
fn a_machine_that_is_made_anew_takes_its_name_only_as_its_token_says() {
    let mut lab = Lab::start();
    let [(_, uuid, mac), (_, other_uuid, other_mac)] = MACHINES;
    for (policy, id, same) in [("never", "vm-1", true), ("same-hardware", "vm-2", false)] {
        let seed = lab.seed("vm-*", &["--replace", policy]);
        pretend(&lab, id, "", uuid, mac);
        let old = lab.launch(id, &seed);
        lab.wait_up(id);
        lab.agent(old).signal("KILL");
        wait::until("it to be lost", LIMIT, || (lab.presence(id)? == "lost").then_some(()));
        let new = format!("{id}-new");
        let (uuid, mac) = if same { (uuid, mac) } else { (other_uuid, other_mac) };
        pretend(&lab, &new, "", uuid, mac);
        lab.launch_with(&new, &seed, &["--id", id]);
        let (_, why) = wait_status(&lab, id, "conflict");
        assert!(why.contains("name is held by"), "{policy}: {why}");
    }
    for (policy, id, uuid) in [("same-hardware", "vm-3", uuid), ("offline", "vm-4", other_uuid)] {
        let seed = lab.seed("vm-*", &["--replace", policy]);
        pretend(&lab, id, "", MACHINES[0].1, mac);
        let old = lab.launch(id, &seed);
        lab.wait_up(id);
        let new = format!("{id}-new");
        pretend(&lab, &new, "", uuid, other_mac);
        let again = lab.launch_with(&new, &seed, &["--id", id]);
        wait_status(&lab, id, "conflict");
        lab.labctl(&["target", id, "ping"]).expect(0);
        lab.agent(again).signal("KILL");
        lab.labctl(&["target", id, "label", "shelf=upper-seven"]).expect(0);
        lab.agent(old).signal("KILL");
        wait::until("it to be lost", LIMIT, || (lab.presence(id)? == "lost").then_some(()));
        let said = lab.labctl(&["target", id, "run", "--wait", "1h", "--async", "--", "pwd"]);
        let job = said.stdout.trim().to_owned();
        assert_eq!(said.code, 0, "{said:?}");
        lab.restart(again);
        lab.wait_up(id);
        let shown = lab.labctl(&["job", "show", &job, "-o", "json"]).stdout;
        assert!(shown.contains("interrupted"), "{policy}: {shown}");
        let minion = lab.labctl(&["minion", "show", id, "-o", "json"]).expect(0);
        assert!(!minion.stdout.contains("upper-seven"), "{policy}: {}", minion.stdout);
    }
}

#[test]
fn an_ephemeral_machine_is_forgotten_when_it_stays_away() {
    let mut lab = Lab::start();
    let lasting = lab.seed("vm-*", &[]);
    let seed = lab.seed("ci-*", &["--ephemeral", "--retire-after", "4s"]);
    for id in ["ci-1", "ci-2"] {
        lab.launch(id, &seed);
    }
    lab.launch("vm-1", &lasting);
    for id in ["ci-1", "ci-2", "vm-1"] {
        lab.wait_up(id);
    }
    lab.agent(2).signal("KILL");
    // Back in time, twice: it stays.
    for _ in 0..2 {
        lab.agent(1).signal("KILL");
        wait::until("it to be lost", LIMIT, || (lab.presence("ci-2")? == "lost").then_some(()));
        lab.restart(1);
        lab.wait_up("ci-2");
    }
    lab.agent(0).signal("TERM");
    let retired =
        wait::until("it to be retired", LIMIT, || events(&lab, "minion/ci-1/retired").first().cloned());
    assert!(retired["data"]["away_ms"].as_u64().unwrap() >= 4_000, "{retired}");
    assert_eq!(lab.presence("ci-1"), None);
    assert_eq!(keys(&lab, "ci-1"), []);
    assert_eq!(lab.presence("ci-2").as_deref(), Some("up"));
    assert_eq!(lab.presence("vm-1").as_deref(), Some("lost"));
    // Its token is still good: it may come back as a new member.
    lab.restart(0);
    lab.wait_up("ci-1");
    // After a start of the master everybody has time to come back.
    lab.agent(0).signal("KILL");
    lab.signal_master("KILL");
    lab.start_master();
    let early = wait::try_until(Duration::from_secs(6), || {
        (!events(&lab, "minion/ci-1/retired").is_empty() && lab.presence("ci-1").is_none()).then_some(())
    });
    assert_eq!(early, None, "the master itself had just started");
}

#[test]
fn without_the_grace_an_ephemeral_machine_is_gone_at_once() {
    let mut lab = Lab::prepare();
    lab.start_master_with(&[(model::broken::VARIABLE, "grace-before-retirement")]);
    let seed = lab.seed("ci-*", &["--ephemeral", "--retire-after", "1h"]);
    lab.launch("ci-1", &seed);
    wait::until("it to be forgotten though it was away for a moment", LIMIT, || {
        events(&lab, "minion/ci-1/retired").first().cloned()
    });
}

/// Asks to be a member with the key that an intruder has; what the master answers, or how it hangs up.
fn ask(intruder: &Intruder, seed: &Path, id: &str) -> Result<EnrollAnswer, String> {
    let key = intruder.identity.public();
    let (inbox, outbox) = (Topic::EnrollIn(key.fingerprint()), Topic::EnrollOut(key.fingerprint()));
    let seed = Seed::parse(&fs::read_to_string(seed).unwrap()).unwrap();
    let (id, token): (model::MinionId, _) = (id.parse().unwrap(), seed.token.as_ref().unwrap());
    let request = EnrollRequest {
        minion: id.clone(),
        sign: key.to_text(),
        seal: intruder.identity.seal_key().to_text(),
        version: model::VERSION.to_owned(),
        claims: Labels::new(),
        token: Some(token.statement.clone()),
        image_sig: sign_request(token, &key.fingerprint(), &id),
    };
    let master = PublicKey::from_text(&intruder.masters.masters[0].sign).unwrap();
    let header = Sequence::of("session".to_owned()).next(Timestamp(1), None);
    let payload = envelope::seal(&outbox, &header, &request, &intruder.identity);
    let mut it = intruder.try_join(&[&inbox.to_string()])?;
    intruder.wait(async {
        it.client.publish(outbox.to_string(), payload, false).await.unwrap();
        loop {
            match it.events.recv().await.expect("it goes on until it is dropped") {
                ClientEvent::Message { payload, .. } => {
                    return Ok(envelope::open::<EnrollAnswer>(&inbox, &payload, &master)
                        .unwrap()
                        .into_message());
                }
                ClientEvent::Disconnected { reason, .. } => return Err(reason),
                ClientEvent::Connected { .. } => {}
            }
        }
    })
}

#[test]
fn a_revoked_key_stays_out_over_restarts_and_with_a_good_token() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-*", &[]);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "label", "shelf=upper-seven"]).expect(0);
    let old = Intruder::with_keys_of(&mut lab, 0);
    lab.agent(0).signal("STOP");
    lab.labctl(&["key", "revoke", "vm-1"]).expect(0);
    for _ in 0..2 {
        let refused = ask(&old, &seed, "vm-1").expect_err("it is refused before it can ask");
        assert_eq!(bus::client::refusal(&refused), Some(Refusal::Key), "{refused}");
        let refused = old.refused_subscription("ctl/vm-1/in");
        assert_eq!(bus::client::refusal(&refused), Some(Refusal::Key), "{refused}");
        assert!(old.fetch(model::ContentHash([1; 32]), 1, &lab.folder().join("x")).is_err());
        assert!(keys(&lab, "vm-1").iter().all(|it| it.0 == "revoked"), "{:?}", keys(&lab, "vm-1"));
        lab.signal_master("KILL");
        lab.start_master();
    }
    // The next one of that name begins with nothing; the old one asks anew and waits.
    lab.launch_with("heir", &seed, &["--id", "vm-1"]);
    let (heir, why) = wait_status(&lab, "vm-1", "pending");
    assert!(why.contains("was revoked"), "the token let the revoked one in: {why}");
    lab.labctl(&["key", "accept", "vm-1", "--fingerprint", &heir]).expect(0);
    lab.wait_up("vm-1");
    let shown = lab.labctl(&["minion", "show", "vm-1", "-o", "json"]).expect(0);
    assert!(!shown.stdout.contains("upper-seven"), "{}", shown.stdout);
    lab.agent(0).signal("CONT");
    wait::until("the old one to ask with another key", LIMIT, || {
        (keys(&lab, "vm-1").iter().filter(|it| it.0 == "conflict").count() == 1).then_some(())
    });
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);
}

//! What a minion does by itself: only what its master sealed for it counts, and it works without the master.

use crate::gate::Gate;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::message::{FromMinion, ToMinion};
use bus::{Identity, SealKey, seal};
use model::{Ask, BeaconOrder, Conduct, ContentHash, Masked};
use serde_json::{Value, json};

fn beacon(name: &str) -> Conduct {
    let settings = json!({ "above": "0%" }).as_object().unwrap().clone();
    let order = BeaconOrder { name: name.to_owned(), kind: "load".to_owned(), settings: Masked(settings) };
    Conduct { beacons: vec![order], ..Conduct::default() }
}

fn sealed(conduct: &Conduct, key: &SealKey, minion: &str) -> (ContentHash, String) {
    let plain = serde_json::to_vec(conduct).unwrap();
    let context = seal::conduct_context(&minion.parse().unwrap());
    (bus::seed::sha256(&plain), URL_SAFE_NO_PAD.encode(seal::seal(&plain, key, &context)))
}

fn order(conduct: &Conduct, key: &SealKey, minion: &str) -> ToMinion {
    let (hash, sealed) = sealed(conduct, key, minion);
    ToMinion::Conduct { hash, sealed }
}

/// An event of a beacon: its tag and data.
fn event(message: FromMinion) -> Option<(String, Value)> {
    match message {
        FromMinion::Event { tag, data, .. } if tag.starts_with("beacon/") => Some((tag, data)),
        _ => None,
    }
}

fn answer(message: FromMinion) -> Option<Value> {
    if let FromMinion::Answer { answer, .. } = message { Some(answer) } else { None }
}

fn ask() -> ToMinion {
    ToMinion::Probe { probe: 3, ask: Ask::Beacons { name: None } }
}

#[tokio::test]
async fn what_a_minion_does_by_itself_works_after_a_restart_without_being_told_again() {
    let gate = Gate::open().await;
    let mut minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let conduct = beacon("busy");
    talk.say(&order(&conduct, &key, "vm-1"), &gate.signer).await;
    let (tag, data) = talk.until(event).await;
    assert_eq!((tag.as_str(), &data["state"]), ("beacon/busy", &json!("on")));
    minion.0.kill().unwrap();
    minion.0.wait().unwrap();
    let _again = gate.minion();
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.conduct, Some(sealed(&conduct, &key, "vm-1").0));
    talk.welcome(&gate.signer).await;
    // The one of before is said again as well: it was never acknowledged.
    for _ in 0..2 {
        assert_eq!(talk.until(event).await.0, "beacon/busy");
    }
    talk.say(&ask(), &gate.signer).await;
    let shown = talk.until(answer).await;
    assert_eq!(
        (&shown["beacons"][0]["name"], &shown["beacons"][0]["from"]),
        (&json!("busy"), &json!("pillar"))
    );
    talk.say(&order(&Conduct::default(), &key, "vm-1"), &gate.signer).await;
    talk.say(&ask(), &gate.signer).await;
    assert_eq!(talk.until(answer).await["beacons"], json!([]), "nothing is a conduct too");
}

#[tokio::test]
async fn what_another_master_says_or_is_for_another_minion_or_comes_again_is_not_done() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ours = order(&beacon("ours"), &key, "vm-1");
    talk.say(&ours, &gate.signer).await;
    talk.until(event).await;
    let wanted = sealed(&beacon("ours"), &key, "vm-1").0;
    let stranger = Identity::generate();
    let (hash, text) = sealed(&beacon("mine"), &key, "vm-1");
    for wrong in [
        order(&beacon("other-name"), &key, "vm-2"),
        order(&beacon("other-key"), &stranger.seal_key(), "vm-1"),
        ToMinion::Conduct { hash: wanted, sealed: text.clone() },
        ToMinion::Conduct { hash, sealed: format!("{}{text}", &text[..8]) },
        ToMinion::Conduct { hash, sealed: "!".to_owned() },
    ] {
        talk.say(&wrong, &gate.signer).await;
    }
    talk.say(&ask(), &gate.signer).await;
    let shown = talk.until(answer).await;
    assert_eq!(shown["beacons"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["beacons"][0]["name"], "ours");
    // Of a stranger, who knows how to seal to it.
    talk.say(&order(&beacon("mine"), &key, "vm-1"), &stranger).await;
    while talk.next::<FromMinion>().await.is_some() {}
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.conduct, Some(wanted));
    talk.welcome(&gate.signer).await;
    // An older one of ours, heard on the wire.
    let older = talk.sealed(&order(&beacon("older"), &key, "vm-1"), &gate.signer);
    talk.send_raw(older.clone()).await;
    talk.say(&order(&beacon("newer"), &key, "vm-1"), &gate.signer).await;
    talk.until(|it| event(it).filter(|it| it.0 == "beacon/newer")).await;
    talk.send_raw(older).await;
    while talk.next::<FromMinion>().await.is_some() {}
    let (_, hello) = gate.member().await;
    assert_eq!(hello.conduct, Some(sealed(&beacon("newer"), &key, "vm-1").0));
}

//! Replay, time, downgrade: messages that are forged, altered, repeated, redirected, late or of another version.

use crate::{
    arena::{Arena, Joined, beat, hello, now, topic},
    attack::{Attack, Defence::Without, Group, Verdict, row, succeeded},
    decoy::{Decoy, Talk, offer, offer_for},
    mqtt::SOON,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{
    FromMinion, Identity, SealKey, ToMinion,
    envelope::{self, Header},
    masters::Masters,
    seal,
};
use model::{Ask, BeaconOrder, Conduct, JobId, Masked, Timestamp};
use std::fs;
use tests::wait;

pub(crate) const GROUP: Group = Group {
    letter: 'R',
    name: "Replay, time, downgrade",
    test: "replay_time_downgrade",
    attacks: ATTACKS,
    arena: Arena::bare,
};

const ENDS: &str = "not believed: the connection ends, and is counted";
const NOT_RUN: &str = "the minion does not run it, and ends the connection";

const ATTACKS: &[Attack] = &[
    row(
        "R01",
        Without("envelope-signature"),
        "signs a minion's message with another key",
        ENDS,
        "control messages are signed",
        |it| said(it, |it| it.seal_with(&Identity::generate(), 0)),
    ),
    row(
        "R02",
        Without("envelope-signature"),
        "alters a byte of a minion's message",
        ENDS,
        "control messages are signed",
        altered,
    ),
    row(
        "R03",
        Without("envelope-signature"),
        "takes the signature off",
        ENDS,
        "the suffix has a fixed length: check it, verify, and only then parse",
        unsigned,
    ),
    row(
        "R04",
        Without("envelope-topic"),
        "plays a message of one topic on another",
        ENDS,
        "binding the topic ends cross-topic replay",
        |it| said(it, other_topic),
    ),
    row("R05", Without("sequence"), "sends a message twice", ENDS, "`seq` (exactly +1)", twice),
    row("R06", Without("sequence"), "leaves a message out", ENDS, "`seq` (exactly +1)", |it| {
        said(it, |it| it.seal_with(&it.identity.clone(), 5))
    }),
    row(
        "R07",
        Without("sequence"),
        "plays a message of an earlier session",
        ENDS,
        "`session` and `seq` end replay between connections",
        earlier_session,
    ),
    row(
        "R08",
        Without("envelope-exp"),
        "delivers a message after its end",
        ENDS,
        "`exp` is judged by the master's clock",
        |it| said(it, expired),
    ),
    row(
        "R09",
        Without("envelope-version"),
        "speaks version 2 of the envelope",
        ENDS,
        "unknown versions are refused; no negotiation downwards",
        |it| said(it, |it| handmade(it, "\"v\":2,", "", "{\"running\":null}")),
    ),
    row(
        "R10",
        Without("envelope-duplicates"),
        "names a member twice",
        ENDS,
        "duplicate keys are refused",
        |it| said(it, |it| handmade(it, "\"v\":1,", "\"seq\":99,", "{\"running\":null}")),
    ),
    row(
        "R11",
        Without("envelope-depth"),
        "nests 40 lists in a message",
        ENDS,
        "depth over 16 is refused",
        |it| {
            said(it, |it| {
                let deep = format!("{{\"running\":null,\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
                handmade(it, "\"v\":1,", "", &deep)
            })
        },
    ),
    row(
        "R12",
        Without("envelope-size"),
        "sends a message of 256 KiB and a little",
        ENDS,
        "control packet 256 KiB",
        |it| said(it, large),
    ),
    row("R13", Without("hello-first"), "says something before hello", ENDS, "session", before_hello),
    row("R14", Without("hello-first"), "says hello twice", ENDS, "session", |it| {
        said(it, |it| it.seal(&hello(model::VERSION)))
    }),
    row(
        "R15",
        Without("version-check"),
        "says hello as a release that is two versions ahead",
        "told that it does not fit, and with what",
        "no negotiation downwards",
        two_ahead,
    ),
    row(
        "R16",
        Without("pin-master"),
        "poses as the master, with a TLS key of its own",
        "the minion hangs up before it says anything",
        "minion and master pin the key",
        posing_master,
    ),
    row(
        "R17",
        Without("envelope-signature"),
        "signs an offer with a key that is no master's",
        NOT_RUN,
        "nothing may rest on the broker being honest",
        |it| offered(it, |talk, key, _| talk.sealed(&offer(1, "forged", key), &Identity::generate())),
    ),
    row(
        "R18",
        Without("envelope-signature"),
        "alters an offer on its way",
        NOT_RUN,
        "nothing may rest on the broker being honest",
        |it| offered(it, |talk, key, decoy| change(&talk.sealed(&offer(1, "forged", key), &decoy.signer))),
    ),
    row(
        "R19",
        Without("envelope-topic"),
        "redirects an offer for another minion",
        NOT_RUN,
        "binding the topic ends cross-topic replay",
        |it| {
            offered(it, |talk, key, decoy| {
                let header = talk.header();
                envelope::seal(&topic("ctl/vm-2/in"), &header, &offer(1, "forged", key), &decoy.signer)
            })
        },
    ),
    row(
        "R20",
        Without("sequence"),
        "plays an offer of an earlier session",
        NOT_RUN,
        "`session` and `seq` end replay between connections",
        |it| {
            offered(it, |_, key, decoy| {
                let header = Header { session: "earlier".to_owned(), seq: 2, iat: now(), exp: None };
                envelope::seal(&topic("ctl/vm-1/in"), &header, &offer(1, "forged", key), &decoy.signer)
            })
        },
    ),
    row(
        "R21",
        Without("envelope-exp"),
        "delivers an offer after the end of its message",
        NOT_RUN,
        "`exp` is judged by the master's clock",
        |it| {
            offered(it, |talk, key, decoy| {
                let header = Header { exp: Some(Timestamp(now().0 - 5_000)), ..talk.header() };
                envelope::seal(&topic("ctl/vm-1/in"), &header, &offer(1, "forged", key), &decoy.signer)
            })
        },
    ),
    row(
        "R22",
        Without("offer-expiry"),
        "holds an offer back until its end",
        "`expired`, not run",
        "nothing runs after its expiry",
        |it| {
            offered(it, |talk, key, decoy| {
                let mut late = offer_for("vm-1", 1, "forged", key);
                late.expires = Timestamp(now().0 - 5_000);
                talk.sealed(&ToMinion::Offer(Box::new(late)), &decoy.signer)
            })
        },
    ),
    row(
        "R23",
        Without("job-memory"),
        "offers a command again in a new session",
        "the result is told again, nothing runs",
        "job ids are remembered durably",
        again,
    ),
    row(
        "R24",
        Without("seal-context"),
        "gives a recipe of one job to another",
        "refused, not run",
        "sealed with job and minion bound as associated data",
        |it| {
            offered(it, |talk, key, decoy| {
                let mut bent = offer_for("vm-1", 2, "forged", key);
                bent.job = JobId(1);
                talk.sealed(&ToMinion::Offer(Box::new(bent)), &decoy.signer)
            })
        },
    ),
    row(
        "R25",
        Without("seal-context"),
        "gives a recipe of one minion to another with the same key",
        "refused, not run",
        "sealed with job and minion bound as associated data",
        |it| {
            offered(it, |talk, key, decoy| {
                let bent = offer_for("vm-2", 1, "forged", key);
                talk.sealed(&ToMinion::Offer(Box::new(bent)), &decoy.signer)
            })
        },
    ),
    row(
        "R26",
        Without("masters-version"),
        "sends an older list of masters",
        "refused; the newer one stays",
        "a minion accepts a newer one and refuses an older one",
        |it| masters(it, 3, None),
    ),
    row(
        "R27",
        Without("masters-signature"),
        "sends a list of masters signed by another organization",
        "refused; the list stays",
        "`masters.json`, signed by an org key",
        |it| masters(it, 9, Some(&Identity::generate())),
    ),
    row(
        "R28",
        Without("envelope-signature"),
        "tells a minion what to watch, signed with a key that is no master's",
        "not done: the connection ends",
        "nothing may rest on the broker being honest",
        |it| conduct(it, "vm-1", true),
    ),
    row(
        "R29",
        Without("seal-context"),
        "tells a minion to watch what another with the same key should",
        "not done",
        "sealed with the minion bound as associated data",
        |it| conduct(it, "vm-2", false),
    ),
];

impl Joined {
    /// An envelope of this session, `skip` numbers ahead, signed by any key.
    fn seal_with(&mut self, key: &Identity, skip: u64) -> Vec<u8> {
        let mut header = self.sequence.next(now(), None);
        header.seq += skip;
        envelope::seal(&self.outbox(), &header, &beat(), key)
    }
}

/// A member says something; the attack is good if it is taken.
fn said(arena: &mut Arena, make: impl FnOnce(&mut Joined) -> Vec<u8>) -> Verdict {
    let member = arena.member("victim");
    let mut joined = arena.join(&member);
    let payload = make(&mut joined);
    taken(&mut joined, &payload)
}

fn taken(joined: &mut Joined, payload: &[u8]) -> Verdict {
    let answer = joined.put(&joined.outbox().to_string(), payload);
    succeeded(answer == Some(0), answer)
}

/// One byte of the text is another.
fn change(payload: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let place = text.find("\"iat\":").unwrap() + 8;
    let digit = if text.as_bytes()[place] == b'7' { "8" } else { "7" };
    [&text[..place], digit, &text[place + 1..]].concat().into_bytes()
}

fn altered(arena: &mut Arena) -> Verdict {
    said(arena, |joined| change(&joined.seal(&beat())))
}

fn unsigned(arena: &mut Arena) -> Verdict {
    said(arena, |joined| {
        let text = String::from_utf8(joined.seal(&beat())).unwrap();
        format!("{}}}", text.split(",\"sig\"").next().unwrap()).into_bytes()
    })
}

fn other_topic(joined: &mut Joined) -> Vec<u8> {
    let header = joined.sequence.next(now(), None);
    envelope::seal(&topic("ctl/another/out"), &header, &beat(), &joined.identity)
}

fn twice(arena: &mut Arena) -> Verdict {
    said(arena, |joined| {
        let payload = joined.seal(&beat());
        assert_eq!(joined.put(&joined.outbox().to_string(), &payload), Some(0), "the first time");
        payload
    })
}

fn earlier_session(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let mut first = arena.join(&member);
    let recorded = first.seal(&beat());
    drop(first);
    let mut second = arena.join(&member);
    taken(&mut second, &recorded)
}

fn expired(joined: &mut Joined) -> Vec<u8> {
    let header = joined.sequence.next(now(), Some(Timestamp(now().0 - 5_000)));
    envelope::seal(&joined.outbox(), &header, &beat(), &joined.identity)
}

/// An envelope whose text is written by hand and signed by the right key.
fn handmade(joined: &mut Joined, version: &str, twice: &str, body: &str) -> Vec<u8> {
    let Header { session, seq, iat, .. } = joined.sequence.next(now(), None);
    let text = format!(
        "{{{version}\"type\":\"heartbeat\",\"session\":\"{session}\",{twice}\"seq\":{seq},\"iat\":{},\"body\":{body}",
        iat.0
    );
    sign(joined, &text)
}

fn sign(joined: &Joined, text: &str) -> Vec<u8> {
    use base64::Engine;
    let signed = [b"lab1\0", joined.outbox().to_string().as_bytes(), b"\0", text.as_bytes()].concat();
    let signature = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(joined.identity.sign(&signed));
    format!("{text},\"sig\":\"{signature}\"}}").into_bytes()
}

fn large(joined: &mut Joined) -> Vec<u8> {
    // Beyond the envelope's limit, within the packet's: topic and margin leave some room.
    let empty = handmade(joined, "\"v\":1,", "", "{\"running\":null,\"x\":\"\"}").len();
    joined.sequence = envelope::Sequence::of(joined.sequence.session().unwrap().to_owned());
    joined.sequence.next(now(), None);
    let fill = "x".repeat(envelope::CONTROL_MAX + 50 - empty);
    handmade(joined, "\"v\":1,", "", &format!("{{\"running\":null,\"x\":\"{fill}\"}}"))
}

fn before_hello(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let mut joined = arena.connect(&member, false);
    let answer = joined.say(&beat());
    succeeded(answer == Some(0), answer)
}

fn two_ahead(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let mut numbers = model::VERSION.split('.').map(|it| it.parse::<u32>().unwrap());
    let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
    let mut joined = arena.connect(&member, false);
    joined.say(&hello(&format!("{major}.{}.0", minor + 2)));
    let answer = joined.hear(&arena.signer);
    succeeded(matches!(answer, Some(ToMinion::Welcome { .. })), answer)
}

fn posing_master(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let mut entry = decoy.entry();
    entry.tls = model::ContentHash([9; 32]);
    decoy.start(&Masters { version: 7, masters: vec![entry] });
    let talked = decoy.shake(SOON).is_some_and(|(mut line, _)| line.hear_kind(1, SOON).is_some());
    succeeded(talked, talked)
}

type Forge = fn(&mut Talk, &SealKey, &Decoy) -> Vec<u8>;

/// A minion is given an envelope; the attack is good if the command in it runs.
fn offered(arena: &mut Arena, forge: Forge) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    let payload = forge(&mut talk, &key, &decoy);
    talk.send(&payload);
    let ran = decoy.ran("forged", arena.success_limit());
    if arena.defence.is_none() {
        // What is genuine is still heard, on this connection or the next.
        let mut talk = if talk.line.is_open() { talk } else { decoy.welcomed() };
        talk.say(&offer(77, "genuine", &key), &decoy.signer);
        assert!(decoy.ran("genuine", SOON), "it works on");
    }
    succeeded(ran, decoy.ledger())
}

fn again(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    talk.say(&offer(1, "once", &key), &decoy.signer);
    assert!(talk.result(1).is_some(), "it runs");
    drop(talk);
    let mut talk = decoy.welcomed();
    talk.say(&offer(1, "once", &key), &decoy.signer);
    let twice = || (decoy.ledger().matches("once").count() > 1).then_some(());
    succeeded(wait::try_until(arena.success_limit(), twice).is_some(), decoy.ledger())
}

/// A minion is sent what `id` should do by itself; the attack is good if it does it.
fn conduct(arena: &mut Arena, id: &str, by_a_stranger: bool) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    let settings = serde_json::json!({ "above": "0%" }).as_object().unwrap().clone();
    let order =
        BeaconOrder { name: "forged".to_owned(), kind: "load".to_owned(), settings: Masked(settings) };
    let plain = serde_json::to_vec(&Conduct { beacons: vec![order], ..Conduct::default() }).unwrap();
    let sealed = seal::seal(&plain, &key, &seal::conduct_context(&id.parse().unwrap()));
    let sealed = BASE64_URL_SAFE_NO_PAD.encode(sealed);
    let forged = ToMinion::Conduct { hash: bus::seed::sha256(&plain), sealed };
    let stranger = Identity::generate();
    talk.say(&forged, if by_a_stranger { &stranger } else { &decoy.signer });
    // Where it is not believed, the next connection tells.
    let watched = watched(&mut talk, &decoy).or_else(|| watched(&mut decoy.welcomed(), &decoy));
    let watched = watched.expect("it says what it watches");
    succeeded(watched.contains("forged"), watched)
}

fn watched(talk: &mut Talk, decoy: &Decoy) -> Option<String> {
    talk.say(&ToMinion::Probe { probe: 3, ask: Ask::Beacons { name: None } }, &decoy.signer);
    loop {
        if let FromMinion::Answer { answer, .. } = talk.hear()? {
            return Some(answer.to_string());
        }
    }
}

/// A minion whose list has version 7 is sent another one; the attack is good if it keeps that.
fn masters(arena: &mut Arena, version: u64, signer: Option<&Identity>) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, _) = decoy.enrolled();
    let list = Masters { version, masters: vec![decoy.entry()] };
    let text = list.sign(signer.unwrap_or(&decoy.org));
    talk.say(&ToMinion::Masters { text }, &decoy.signer);
    let kept = || {
        let state = decoy.folder.path().join("machine");
        found(&state, &format!("\\\"version\\\":{version}")).then_some(())
    };
    succeeded(wait::try_until(arena.success_limit(), kept).is_some(), version)
}

/// Whether a file beneath a folder holds a text.
pub(crate) fn found(folder: &std::path::Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return found(&path, text);
        }
        fs::read(&path).unwrap_or_default().windows(text.len()).any(|it| it == text.as_bytes())
    })
}

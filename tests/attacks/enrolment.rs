//! Enrolment: tokens that are stretched, names that are taken, a quarantine that is flooded.

use crate::{
    arena::{Arena, HERE, now},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    mqtt::SOON,
    transport::forget,
};
use bus::{
    Identity,
    message::{EnrollAnswer, EnrollRequest},
    seed::{SeedToken, sign_request},
};
use model::{KeyStatus, Labels, Replace, Request, Timestamp, TokenTerms, request::KeyDecision};
use std::{net::IpAddr, sync::Arc};
use tests::wait;

pub(crate) const GROUP: Group =
    Group { letter: 'E', name: "Enrolment", test: "enrolment", attacks: ATTACKS, arena: Arena::bare };

const WAITS: &str = "quarantine, with the reason";
const CHECKS: &str = "the master checks signature, time, address, glob, uses";

const ATTACKS: &[Attack] = &[
    row("E01", Without("token-signature"), "shows a token that it signed itself", WAITS, CHECKS, forged),
    row("E02", Without("token-signature"), "widens the names of a good token", WAITS, CHECKS, |it| {
        rewritten(it, "\"ids\":\"web-*\"", "\"ids\":\"*\"")
    }),
    row("E03", Without("token-signature"), "moves the end of a good token", WAITS, CHECKS, |it| {
        rewritten(it, "\"uses\":1,", "\"uses\":9,")
    }),
    row(
        "E04",
        Without("image-signature"),
        "has a token, but not its image key",
        WAITS,
        "the request is signed by the image key",
        without_image_key,
    ),
    row(
        "E05",
        Without("image-signature"),
        "repeats the image key's signature of another machine",
        WAITS,
        "the request is signed by the image key and by the new minion key",
        repeated_signature,
    ),
    row(
        "E06",
        Without("image-signature"),
        "repeats the image key's signature for another name",
        WAITS,
        "the request is signed by the image key",
        other_name,
    ),
    row("E07", Without("token-expiry"), "uses a token after its end", WAITS, CHECKS, |it| {
        with_token(it, |terms| terms.expires = Timestamp(now().0 - 1_000))
    }),
    row("E08", Without("token-begin"), "uses a token before its time", WAITS, CHECKS, |it| {
        with_token(it, |terms| terms.not_before = now().plus_ms(600_000))
    }),
    row("E09", Without("token-ids"), "takes a name that the token is not for", WAITS, CHECKS, |it| {
        with_token(it, |terms| "web-*".clone_into(&mut terms.ids))
    }),
    row(
        "E10",
        Without("token-cidr"),
        "comes from an address that the token is not for",
        WAITS,
        CHECKS,
        |it| with_token(it, |terms| terms.cidr = vec!["192.0.2.0/24".to_owned()]),
    ),
    row(
        "E11",
        Without("token-cidr"),
        "comes from 127.0.0.2 with a token for 127.0.0.1 alone",
        WAITS,
        CHECKS,
        other_address,
    ),
    row(
        "E12",
        Without("token-uses"),
        "uses a token twice",
        WAITS,
        "uses counted durably before it answers",
        used_up,
    ),
    row(
        "E13",
        Without("token-uses"),
        "uses a token of one use from 20 connections at once",
        "one is let in",
        "uses counted durably before it answers",
        raced,
    ),
    row("E14", Without("token-revoked"), "uses a token that was revoked", WAITS, CHECKS, revoked_token),
    row(
        "E15",
        Without("revoked-name"),
        "after its key was revoked, comes back with the seed it had",
        WAITS,
        "revoking is for good",
        revoked_name,
    ),
    row(
        "E16",
        Without("name-holder"),
        "takes the name of a member, with a good token",
        "conflict; the old key keeps the name",
        "same name, new key is never silently replaced",
        |it| taken_name(it, Replace::Never),
    ),
    row(
        "E17",
        Without("replace-offline-only"),
        "takes the name of a member that is there, with a token that may replace",
        "conflict; the old key keeps the name",
        "automatic only if the old one is offline",
        |it| taken_name(it, Replace::Offline),
    ),
    row(
        "E18",
        Without("replace-hardware"),
        "takes the name of a member that is away, from other hardware",
        "conflict; the old key keeps the name",
        "`same-hardware`, by DMI uuid",
        other_hardware,
    ),
    row("E19", Without("localhost-name"), "takes the name localhost", WAITS, "ids", |it| {
        named(it, "localhost")
    }),
    row(
        "E20",
        Without("pending-per-address"),
        "fills the quarantine from one address",
        "at most 8",
        "at most 64 pending, 8 per address",
        |it| flood(it, 12, 1, 8),
    ),
    row(
        "E21",
        Without("pending-max"),
        "fills the quarantine from many addresses",
        "at most 64",
        "at most 64 pending, 8 per address",
        |it| flood(it, 70, 12, 64),
    ),
    row(
        "E22",
        Without("enroll-own-key"),
        "asks for the key of another",
        "the connection ends, and is counted",
        "signed by the new minion key",
        foreign_key,
    ),
    row(
        "E23",
        Without("claims-cleaned"),
        "claims what a terminal obeys",
        "shown without control characters",
        "`labctl key list` shows",
        escape,
    ),
    row(
        "E24",
        Without("key-changes"),
        "changes its wish again and again",
        "written once in a minute",
        "limits",
        restless,
    ),
    row(
        "E25",
        Without("packet-limit"),
        "as a stranger, sends 6 KiB",
        "the connection ends, and is counted",
        "`enroll/*`: 4 KiB",
        long_request,
    ),
    row(
        "E26",
        Built("a name is a type that no path can be"),
        "asks for the name `../../etc`",
        "the connection ends, and is counted",
        "ids are a type, never a path",
        path_name,
    ),
    row(
        "E27",
        Built("targets are made of members only"),
        "is in quarantine and waits for a job for `*`",
        "is in no target",
        "a quarantined minion is in no target, `*` included",
        quarantined_target,
    ),
];

fn somebody() -> Arc<Identity> {
    Arc::new(Identity::generate())
}

/// The attack is good if the request is accepted; what waits afterwards is rejected, so that there is room.
fn asks(arena: &mut Arena, identity: &Arc<Identity>, wish: &EnrollRequest) -> Verdict {
    let answer = arena.enroll(identity, wish);
    let accepted = matches!(answer, Some(EnrollAnswer::Accepted { .. }));
    forget(arena, wish);
    succeeded(accepted, answer)
}

fn with(arena: &mut Arena, token: &SeedToken, id: &str) -> Verdict {
    let identity = somebody();
    let wish = Arena::wish(&identity, id, Some(token));
    asks(arena, &identity, &wish)
}

fn with_token(arena: &mut Arena, alter: fn(&mut TokenTerms)) -> Verdict {
    let (token, id) = (arena.token(alter), arena.name("vm"));
    with(arena, &token, &id)
}

fn named(arena: &mut Arena, id: &str) -> Verdict {
    let token = arena.token(|_| ());
    with(arena, &token, id)
}

fn forged(arena: &mut Arena) -> Verdict {
    let (token, id) = (arena.token_by(&Identity::generate(), |_| ()), arena.name("vm"));
    with(arena, &token, &id)
}

fn rewritten(arena: &mut Arena, from: &str, to: &str) -> Verdict {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as base64};
    let id = arena.name("web");
    let mut token = arena.token(|terms| (terms.ids, terms.uses) = ("web-*".to_owned(), 1));
    let (json, signature) = token.statement.split_once('.').unwrap();
    let text = String::from_utf8(base64.decode(json).unwrap()).unwrap();
    assert!(text.contains(from), "{text}");
    token.statement = format!("{}.{signature}", base64.encode(text.replace(from, to)));
    with(arena, &token, &id)
}

fn without_image_key(arena: &mut Arena) -> Verdict {
    let (mut token, id) = (arena.token(|_| ()), arena.name("vm"));
    token.image_secret = arena.token(|_| ()).image_secret;
    with(arena, &token, &id)
}

fn repeated_signature(arena: &mut Arena) -> Verdict {
    let (token, id) = (arena.token(|_| ()), arena.name("vm"));
    let seen = Arena::wish(&somebody(), &id, Some(&token));
    let identity = somebody();
    let wish = EnrollRequest { image_sig: seen.image_sig, ..Arena::wish(&identity, &id, Some(&token)) };
    asks(arena, &identity, &wish)
}

fn other_name(arena: &mut Arena) -> Verdict {
    let (token, identity, id) = (arena.token(|_| ()), somebody(), arena.name("vm"));
    let key = identity.public().fingerprint();
    let wish = EnrollRequest {
        image_sig: sign_request(&token, &key, &"vm-0".parse().unwrap()),
        ..Arena::wish(&identity, &id, Some(&token))
    };
    asks(arena, &identity, &wish)
}

fn other_address(arena: &mut Arena) -> Verdict {
    let token = arena.token(|terms| terms.cidr = vec!["127.0.0.1/32".to_owned()]);
    let identity = somebody();
    let wish = Arena::wish(&identity, &arena.name("vm"), Some(&token));
    let answer = arena.enroll_from([127, 0, 0, 2].into(), &identity, &wish);
    forget(arena, &wish);
    succeeded(matches!(answer, Some(EnrollAnswer::Accepted { .. })), answer)
}

fn used_up(arena: &mut Arena) -> Verdict {
    let token = arena.token(|terms| terms.uses = 1);
    let (first, second) = (arena.name("vm"), arena.name("vm"));
    assert!(with(arena, &token, &first).succeeded, "once it is good");
    with(arena, &token, &second)
}

fn raced(arena: &mut Arena) -> Verdict {
    let token = arena.token(|terms| terms.uses = 1);
    let mut strangers = Vec::new();
    for number in 0..20_u8 {
        let from: IpAddr = [127, 0, 1, number / 7 + 1].into();
        let identity = somebody();
        let wish = Arena::wish(&identity, &arena.name("race"), Some(&token));
        strangers.push((arena.stranger(from, &identity).unwrap(), wish));
    }
    for (stranger, wish) in &mut strangers {
        let header = stranger.sequence.next(now(), None);
        let payload = bus::envelope::seal(&stranger.outbox, &header, wish, &stranger.identity);
        let packet = crate::mqtt::publish(false, 0, 0, stranger.outbox.to_string().as_bytes(), &payload);
        stranger.line.send(&packet);
    }
    let signer = arena.signer;
    let answers = strangers.iter_mut().map(|(stranger, _)| stranger.answer(&signer));
    let accepted = answers.filter(|it| matches!(it, Some(EnrollAnswer::Accepted { .. }))).count();
    for (_, wish) in &strangers {
        forget(arena, wish);
    }
    succeeded(accepted > 1, accepted)
}

fn revoked_token(arena: &mut Arena) -> Verdict {
    let mut name = String::new();
    let token = arena.token(|terms| name.clone_from(&terms.name));
    let (first, second) = (arena.name("vm"), arena.name("vm"));
    assert!(with(arena, &token, &first).succeeded, "it is good before");
    arena.ask(&Request::RevokeToken { name });
    with(arena, &token, &second)
}

fn revoke(arena: &Arena, id: &str) {
    let decision = KeyDecision::Revoke;
    arena.ask(&Request::DecideKey { key: id.to_owned(), fingerprint: None, decision });
}

fn revoked_name(arena: &mut Arena) -> Verdict {
    let (token, id) = (arena.token(|_| ()), arena.name("vm"));
    assert!(with(arena, &token, &id).succeeded, "it is good before");
    revoke(arena, &id);
    with(arena, &token, &id)
}

fn taken_name(arena: &mut Arena, replace: Replace) -> Verdict {
    let member = arena.member("victim");
    let _there = arena.join(&member);
    let token = arena.token(|terms| terms.replace = replace);
    let verdict = with(arena, &token, &member.id);
    let holds = arena.key(&member.id).iter().any(|it| {
        it.fingerprint == member.identity.public().fingerprint() && it.status == KeyStatus::Accepted
    });
    succeeded(verdict.succeeded || !holds, verdict.seen)
}

fn uuid(wish: EnrollRequest, uuid: &str) -> EnrollRequest {
    let claims = Labels::from_iter([("product_uuid".to_owned(), uuid.to_owned())]);
    EnrollRequest { claims, ..wish }
}

fn other_hardware(arena: &mut Arena) -> Verdict {
    let id = arena.name("vm");
    let token = arena.token(|terms| terms.replace = Replace::SameHardware);
    let (old, new) = (somebody(), somebody());
    assert!(asks(arena, &old, &uuid(Arena::wish(&old, &id, Some(&token)), "one")).succeeded);
    asks(arena, &new, &uuid(Arena::wish(&new, &id, Some(&token)), "two"))
}

/// Many strangers ask; the attack is good if more wait than may.
fn flood(arena: &mut Arena, count: u8, addresses: u8, most: usize) -> Verdict {
    let mut wishes = Vec::new();
    for number in 0..count {
        let identity = somebody();
        let wish = Arena::wish(&identity, &arena.name("flood"), None);
        let from: IpAddr = [127, 0, 2, number % addresses + 1].into();
        arena.enroll_from(from, &identity, &wish);
        wishes.push(wish);
    }
    let waits = |it: &&EnrollRequest| !arena.key(it.minion.as_str()).is_empty();
    let waiting = wishes.iter().filter(waits).count();
    for it in &wishes {
        forget(arena, it);
    }
    succeeded(waiting > most, waiting)
}

fn foreign_key(arena: &mut Arena) -> Verdict {
    let (identity, victim) = (somebody(), somebody());
    let wish = Arena::wish(&victim, &arena.name("vm"), None);
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let taken = stranger.ask(&wish);
    forget(arena, &wish);
    succeeded(taken == Some(0), taken)
}

fn escape(arena: &mut Arena) -> Verdict {
    let identity = somebody();
    let mut wish = Arena::wish(&identity, &arena.name("vm"), None);
    wish.claims.insert("os".to_owned(), "\u{1b}]0;owned\u{7}\u{1b}[2J".to_owned());
    arena.enroll(&identity, &wish);
    let claims = arena.key(wish.minion.as_str()).remove(0).claims;
    forget(arena, &wish);
    succeeded(claims.values().any(|it| it.contains('\u{1b}')), claims)
}

fn restless(arena: &mut Arena) -> Verdict {
    let identity = somebody();
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let wishes: Vec<_> = (0..4).map(|_| Arena::wish(&identity, &arena.name("restless"), None)).collect();
    for wish in &wishes {
        stranger.ask(wish);
        stranger.answer(&arena.signer);
    }
    let last = wishes.last().unwrap();
    let changed = || (!arena.key(last.minion.as_str()).is_empty()).then_some(());
    let changed = wait::try_until(SOON / 10, changed).is_some();
    for it in &wishes {
        forget(arena, it);
    }
    succeeded(changed, changed)
}

fn long_request(arena: &mut Arena) -> Verdict {
    let identity = somebody();
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let topic = stranger.outbox.to_string();
    stranger.line.send(&crate::mqtt::publish(false, 0x02, 7, topic.as_bytes(), &[b'x'; 6 * 1024]));
    // The limit of the packet ends it; without, the envelope is looked at.
    let before = arena.refused("malformed-packet");
    let ended = stranger.line.ends_within(SOON);
    let by_limit = || (arena.refused("malformed-packet") > before || !ended).then_some(());
    let by_limit = wait::try_until(SOON / 10, by_limit).is_some() && ended;
    succeeded(!by_limit && arena.refused("envelope-too-large") > 0, ended)
}

fn path_name(arena: &mut Arena) -> Verdict {
    let identity = somebody();
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let wish = serde_json::to_value(Arena::wish(&identity, "vm-0", None)).unwrap();
    let text = wish.to_string().replace("vm-0", "../../etc");
    let wish: serde_json::Value = serde_json::from_str(&text).unwrap();
    let header = stranger.sequence.next(now(), None);
    let payload = bus::envelope::seal(&stranger.outbox, &header, &Ordered(&wish), &identity);
    let topic = stranger.outbox.to_string();
    let taken = stranger.put(&topic, &payload);
    succeeded(taken == Some(0), taken)
}

/// A message as JSON, `type` first.
struct Ordered<'a>(&'a serde_json::Value);

impl serde::Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("type", &self.0["type"])?;
        map.serialize_entry("body", &self.0["body"])?;
        map.end()
    }
}

fn quarantined_target(arena: &mut Arena) -> Verdict {
    let identity = somebody();
    let wish = Arena::wish(&identity, &arena.name("waits"), None);
    arena.enroll(&identity, &wish);
    let targets = arena.ask(&Request::Expand { target: "*".to_owned() });
    let meant = serde_json::to_string(&targets).unwrap().contains(wish.minion.as_str());
    forget(arena, &wish);
    succeeded(meant, meant)
}

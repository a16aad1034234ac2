//! Enrolment as scripts.

use crate::core::{enroll::*, test_kit::*, *};
use bus::message::{EnrollAnswer, ToMinion};
use model::{KeyDecision, Replace, Request, Terminal};

fn word(effects: &[Effect]) -> &'static str {
    match enroll_answer(effects) {
        Some(EnrollAnswer::Accepted { .. }) => "accepted",
        Some(EnrollAnswer::Pending { .. }) => "pending",
        Some(EnrollAnswer::Rejected { .. }) => "rejected",
        None => "nothing",
    }
}

fn reason(effects: &[Effect]) -> String {
    match enroll_answer(effects) {
        Some(EnrollAnswer::Pending { reason } | EnrollAnswer::Rejected { reason }) => reason.clone(),
        _ => String::new(),
    }
}

#[test]
fn a_token_is_judged_by_name_address_time_and_uses() {
    let old = TokenTerms { expires: NOW, ..terms() };
    let early = TokenTerms { not_before: NOW.plus_ms(1), ..terms() };
    let net = |it: &str| TokenTerms { cidr: vec![it.to_owned()], ..terms() };
    let cases: Vec<(&str, Result<TokenTerms, TokenFault>, &str, &str)> = vec![
        ("vm-1", Ok(terms()), "accepted", ""),
        ("web-1", Ok(terms()), "pending", "is for `vm-*`"),
        ("localhost", Ok(TokenTerms { ids: "*".to_owned(), ..terms() }), "pending", "no name"),
        ("vm-1", Err(TokenFault::Absent), "pending", "no token"),
        ("vm-1", Err(TokenFault::Forged), "pending", "not one of ours"),
        ("vm-1", Ok(old), "pending", "has expired"),
        ("vm-1", Ok(early), "pending", "not good yet"),
        ("vm-1", Ok(net("10.0.0.0/24")), "accepted", ""),
        ("vm-1", Ok(net("10.1.0.0/24")), "pending", "not for address"),
        ("vm-1", Ok(TokenTerms { uses: 0, ..terms() }), "pending", "used up"),
    ];
    for (name, terms, expected, why) in cases {
        let mut bench = Bench::new();
        let effects = bench.enroll(1, name, terms);
        assert_eq!(word(&effects), expected, "{name} {why}");
        assert!(reason(&effects).contains(why), "{} / {why}", reason(&effects));
        let member = bench.master.minion(&id(name)).is_some();
        assert_eq!(member, expected == "accepted");
        assert!(records(&effects).iter().any(|it| matches!(it, Entry::Key(_))));
    }
}

#[test]
fn uses_are_counted_on_disk_before_the_answer_and_a_retry_is_free() {
    let one = || Ok(TokenTerms { uses: 1, ..terms() });
    let mut bench = Bench::new();
    let effects = bench.enroll(1, "vm-1", one());
    let token = effects
        .iter()
        .position(|it| matches!(it, Effect::Record(entry) if matches!(**entry, Entry::Token(_))));
    let answer = effects.iter().position(|it| matches!(it, Effect::EnrollAnswer { .. }));
    assert!(token.unwrap() < answer.unwrap());
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().labels["role"], "web");
    bench.crash();
    let again = bench.enroll(1, "vm-1", one());
    assert_eq!((word(&again), records(&again).len()), ("accepted", 0));
    assert_eq!(word(&bench.enroll(2, "vm-2", one())), "pending");
}

#[test]
fn a_clock_that_is_not_set_proves_expiry_and_nothing_else() {
    let early = TokenTerms { not_before: NOW.plus_ms(1), ..terms() };
    let old = TokenTerms { expires: NOW, ..terms() };
    for (terms, expected) in [(terms(), "accepted"), (early, "accepted"), (old, "pending")] {
        let mut bench = Bench::new();
        bench.step(Input::Clock { set: false });
        assert_eq!(word(&bench.enroll(1, "vm-1", Ok(terms))), expected);
    }
}

#[test]
fn quarantine_is_bounded_in_all_and_per_address() {
    let mut bench = Bench::new();
    for number in 0..9 {
        let effects = bench.enroll(number, &format!("vm-{number}"), Err(TokenFault::Absent));
        assert_eq!(word(&effects), "pending");
        assert_eq!(records(&effects).is_empty(), usize::from(number) >= PENDING_PER_ADDRESS_MAX);
    }
    for number in 10..100 {
        let address = format!("10.0.1.{number}");
        bench.enroll_from(number, enroll_request(&format!("vm-{number}")), Err(TokenFault::Absent), &address);
    }
    assert_eq!(bench.master.book.waiting_keys.len(), PENDING_MAX);
    // The same again is not written again.
    let effects = bench.enroll(0, "vm-0", Err(TokenFault::Absent));
    assert!(records(&effects).is_empty() && word(&effects) == "pending");
}

#[test]
fn a_waiting_key_that_changes_its_name_all_the_time_costs_no_writes() {
    let mut bench = Bench::new();
    let mut writes = 0;
    for number in 0..20 {
        let effects = bench.enroll(1, &format!("vm-{number}"), Err(TokenFault::Absent));
        assert_eq!(word(&effects), "pending");
        writes += usize::from(!records(&effects).is_empty());
    }
    assert_eq!(writes, 2, "the first word and one correction");
    bench.pass(60_000);
    assert!(!records(&bench.enroll(1, "vm-7", Err(TokenFault::Absent))).is_empty());
    assert_eq!(bench.master.key(&fingerprint(1)).unwrap().minion, id("vm-7"));
    assert_eq!(word(&bench.enroll(1, "vm-2", Ok(terms()))), "accepted", "a token is never too soon");
}

#[test]
fn a_revoked_token_lets_nobody_in_and_sends_nobody_away() {
    let mut bench = Bench::with(&[]);
    assert_eq!(word(&bench.enroll(1, "vm-1", Ok(terms()))), "accepted");
    let refused = bench.ask(Request::RevokeToken { name: "none".to_owned() });
    assert!(format!("{refused:?}").contains("no token is called `none`"), "{refused:?}");
    let effects = bench.ask(Request::RevokeToken { name: terms().name });
    assert!(!records(&effects).is_empty(), "{effects:?}");
    bench.crash();
    assert_eq!(word(&bench.enroll(2, "vm-2", Ok(terms()))), "pending");
    assert!(bench.master.minion(&id("vm-1")).is_some());
    let listed = format!("{:?}", bench.ask(Request::Tokens));
    assert!(listed.contains("revoked: true"), "{listed}");
    let again = bench.ask(Request::RevokeToken { name: terms().name });
    assert!(format!("{again:?}").contains("revoked already"), "{again:?}");
}

#[test]
fn a_name_that_was_revoked_does_not_come_back_by_the_same_token() {
    let revoke =
        Request::DecideKey { key: "vm-1".to_owned(), fingerprint: None, decision: KeyDecision::Revoke };
    let remove = Request::RemoveMinion { minion: id("vm-1") };
    for (request, expected) in [(revoke, "pending"), (remove, "accepted")] {
        let mut bench = Bench::with(&["vm-1"]);
        bench.ask(request);
        bench.crash();
        assert_eq!(word(&bench.enroll(5, "vm-1", Ok(terms()))), expected);
        let other = TokenTerms { name: "other".to_owned(), ..terms() };
        assert_eq!(word(&bench.enroll(6, "vm-2", Ok(terms()))), "accepted");
        if expected == "pending" {
            assert_eq!(word(&bench.enroll(5, "vm-1", Ok(other))), "accepted");
        }
    }
}

#[test]
fn claims_are_kept_without_what_terminals_obey() {
    let mut bench = Bench::new();
    let mut request = enroll_request("vm-1");
    request.claims.insert("os\u{1b}[2J".to_owned(), "a\r\nb\u{9b}1m".to_owned());
    bench.enroll_from(1, request, Err(TokenFault::Absent), "10.0.0.1");
    let claims = &bench.master.key(&fingerprint(1)).unwrap().claims;
    assert_eq!(claims["os\u{fffd}[2J"], "a\u{fffd}\u{fffd}b\u{fffd}1m");
}

#[test]
fn a_name_that_is_taken_is_a_conflict_unless_the_token_says_otherwise() {
    let uuid = |it: &str| claiming(&[("product_uuid", it)]);
    // (policy, old one is away, same hardware, taken over)
    let cases = [
        (Replace::Never, true, true, false),
        (Replace::Offline, false, true, false),
        (Replace::Offline, true, false, true),
        (Replace::SameHardware, true, false, false),
        (Replace::SameHardware, true, true, true),
        (Replace::SameHardware, false, true, false),
    ];
    for (replace, away, same, taken) in cases {
        let mut bench = Bench::new();
        let terms = || Ok(TokenTerms { replace, ..terms() });
        bench.enroll_from(1, uuid("4c4c4544-0001"), terms(), "10.0.0.1");
        bench.back("vm-1", hello());
        if away {
            bench.disconnect("vm-1");
        }
        let effects = bench.enroll_from(
            2,
            uuid(if same { "4c4c4544-0001" } else { "4c4c4544-0002" }),
            terms(),
            "10.0.0.2",
        );
        let case = format!("{replace:?} {away} {same}");
        assert_eq!(word(&effects), if taken { "accepted" } else { "pending" }, "{case}");
        let holder = &bench.master.minion(&id("vm-1")).unwrap().fingerprint;
        assert_eq!(*holder, fingerprint(if taken { 2 } else { 1 }), "{case}");
        let status = |key| bench.master.key(&fingerprint(key)).unwrap().status;
        let expected = if taken { KeyStatus::Revoked } else { KeyStatus::Accepted };
        assert_eq!(status(1), expected, "{case}");
        assert_eq!(status(2), if taken { KeyStatus::Accepted } else { KeyStatus::Conflict }, "{case}");
    }
}

fn claiming(claims: &[(&str, &str)]) -> bus::message::EnrollRequest {
    let mut request = enroll_request("vm-1");
    request.claims.extend(claims.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())));
    request
}

#[test]
fn the_same_hardware_is_known_by_its_uuid_or_by_its_network_card() {
    const UUID: (&str, &str) = ("product_uuid", "4c4c4544-0001");
    const OTHER: (&str, &str) = ("product_uuid", "4c4c4544-0002");
    const SHARED: (&str, &str) = ("product_uuid", "03000200-0400-0500-0006-000700080009");
    const MAC: (&str, &str) = ("mac", "dc:a6:32:01:02:03");
    const NO_MAC: (&str, &str) = ("mac", "00:00:00:00:00:00");
    for (old, new, taken) in [
        (&[UUID, MAC][..], &[UUID, NO_MAC][..], true),
        (&[UUID, MAC], &[OTHER, MAC], false),
        (&[MAC], &[MAC], true),
        (&[MAC], &[UUID, MAC], true),
        (&[NO_MAC], &[NO_MAC], false),
        (&[SHARED], &[SHARED], false),
        (&[SHARED, MAC], &[SHARED, MAC], true),
        (&[], &[], false),
    ] {
        let mut bench = Bench::new();
        let terms = || Ok(TokenTerms { replace: Replace::SameHardware, ..terms() });
        bench.enroll_from(1, claiming(old), terms(), "10.0.0.1");
        let effects = bench.enroll_from(2, claiming(new), terms(), "10.0.0.2");
        assert_eq!(word(&effects) == "accepted", taken, "{old:?} {new:?}");
    }
}

#[test]
fn who_takes_a_name_gets_nothing_of_who_had_it() {
    let mut bench = Bench::with(&["vm-1"]);
    let label = Request::Label {
        target: "vm-1".to_owned(),
        set: model::Labels::from([("rack".to_owned(), "7".to_owned())]),
        remove: Vec::new(),
    };
    bench.ask(label);
    bench.received(1, &["vm-1"], command());
    bench.submit(2, "vm-1", apply());
    bench.disconnect("vm-1");
    let terms = TokenTerms { name: "other".to_owned(), replace: Replace::Offline, ..terms() };
    let effects = bench.enroll(5, "vm-1", Ok(terms));
    assert_eq!(word(&effects), "accepted");
    for job in [1, 2] {
        assert_eq!(bench.word(job, "vm-1"), Some(Terminal::Interrupted));
    }
    let minion = bench.master.minion(&id("vm-1")).unwrap();
    assert!(!minion.labels.contains_key("rack") && minion.grains.is_empty() && minion.boot.is_none());
    assert!(bench.master.recipes_of(&id("vm-1")).is_empty());
    let effects = bench.back("vm-1", hello());
    assert!(offers(&effects).is_empty() && compiles(&effects).is_empty(), "{effects:?}");
    bench.crash();
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().fingerprint, fingerprint(5));
}

#[test]
fn without_the_defence_a_token_takes_the_name_of_a_machine_that_is_there() {
    for (part, expected) in [(None, "pending"), (Some("replace-offline-only"), "accepted")] {
        model::broken::without(part, || {
            let mut bench = Bench::with(&["vm-1"]);
            let terms = TokenTerms { name: "other".to_owned(), replace: Replace::Offline, ..terms() };
            assert_eq!(word(&bench.enroll(5, "vm-1", Ok(terms))), expected);
        });
    }
}

fn decide(bench: &mut Bench, key: &str, decision: KeyDecision) -> Vec<Effect> {
    bench.ask(Request::DecideKey { key: key.to_owned(), fingerprint: None, decision })
}

#[test]
fn an_operator_accepts_rejects_and_revokes() {
    let mut bench = Bench::new();
    bench.enroll(1, "vm-1", Err(TokenFault::Absent));
    bench.enroll(2, "vm-2", Err(TokenFault::Absent));
    let effects = decide(&mut bench, "vm-1", KeyDecision::Accept);
    assert_eq!(word(&effects), "accepted", "the waiting connection is told");
    assert_eq!(tags(&effects), ["key/vm-1/accepted"]);
    let effects = decide(&mut bench, fingerprint(2).as_str(), KeyDecision::Reject);
    assert_eq!(word(&effects), "rejected");
    assert_eq!(word(&bench.enroll(2, "vm-2", Ok(terms()))), "rejected");
    bench.back("vm-1", hello());
    bench.received(1, &["vm-1"], command());
    let effects = decide(&mut bench, "vm-1", KeyDecision::Revoke);
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Interrupted));
    let removed = ToMinion::Removed { reason: "revoked".to_owned() };
    assert_eq!(sent(&effects), [&removed]);
    assert!(effects.contains(&Effect::Close { minion: id("vm-1") }));
    assert_eq!(published(&effects, "lab/minion/vm-1/state"), Some(""));
    assert_eq!(word(&bench.enroll(1, "vm-1", Ok(terms()))), "rejected", "for good");
    assert_eq!(
        refusal(&decide(&mut bench, "vm-9", KeyDecision::Accept)).unwrap().0,
        api::ErrorKind::NotFound
    );
    bench.crash();
    assert_eq!(bench.master.key(&fingerprint(1)).unwrap().status, KeyStatus::Revoked);
    assert!(bench.master.minion(&id("vm-1")).is_none());
}

#[test]
fn accepting_a_key_in_conflict_replaces_the_old_one() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.enroll(5, "vm-1", Ok(terms()));
    decide(&mut bench, "vm-1", KeyDecision::Accept);
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().fingerprint, fingerprint(5));
    assert_eq!(bench.master.key(&fingerprint(0)).unwrap().status, KeyStatus::Revoked);
    assert_eq!(bench.master.book.events_taken[&id("vm-1")], 0);
}

//! Target expressions: what matches whom, and what is a mistake.

use lang::target::{Candidate, Target, literal_ids};
use model::{Grains, Labels, MinionId, Presence};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::IpAddr;

struct Fake {
    id: MinionId,
    grains: Grains,
    labels: Labels,
    online: bool,
}

impl Candidate for Fake {
    fn id(&self) -> &MinionId {
        &self.id
    }
    fn grains(&self) -> &Grains {
        &self.grains
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn addresses(&self) -> Vec<IpAddr> {
        vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()]
    }
    fn presence(&self) -> Presence {
        if self.online { Presence::Up } else { Presence::Lost }
    }
    fn failed(&self) -> bool {
        !self.online
    }
    fn pillar(&self, path: &str) -> Option<Value> {
        (path == "tier").then(|| json!("prod"))
    }
    fn assigned(&self) -> Vec<String> {
        vec!["web".to_owned(), "base".to_owned()]
    }
}

fn vm() -> Fake {
    let grains = json!({
        "os": "Debian", "os_version": "12.4", "cpus": 4, "kernel": {"release": "6.1.9"},
        "roles": ["web", "db"], "host.name": "x y",
    });
    Fake {
        id: "vm-01".parse().unwrap(),
        grains: grains.as_object().unwrap().clone(),
        labels: [("role".to_owned(), "web".to_owned())].into(),
        online: true,
    }
}

#[test]
fn expressions_match_as_the_table_says() {
    let cases = [
        ("*", true),
        ("all", true),
        ("vm-*", true),
        ("vm-01", true),
        ("vm-1", false),
        ("vm-0[1-3]", true),
        ("{db,vm}-*", true),
        ("a,vm-01", true),
        ("a, b", false),
        (r"~^vm-\d+$", true),
        (r"~^vm-(01|02)$ and online", true),
        (r"(~^vm-\d+$)", true),
        ("os=debian", true),
        ("os = 'Debian'", true),
        ("os=deb*", true),
        ("os!=debian", false),
        ("os!=alpine", true),
        ("nothing!=x", true),
        ("nothing=x", false),
        ("os_version>=12", true),
        ("os_version>12.10", false),
        ("os_version<12.10", true),
        ("cpus>=4", true),
        ("cpus<10", true),
        ("kernel.release>=6.1.10", false),
        ("kernel:release>6.1", true),
        ("os in (alpine, debian)", true),
        ("os in [alpine,arch]", false),
        ("os~'^Deb'", true),
        ("os ~ ^deb", false),
        ("roles=db", true),
        ("label:role=web", true),
        ("label:role", true),
        ("label:other", false),
        ("@web", true),
        ("@db", false),
        ("ip:10.0.0.0/24", true),
        ("ip:10.0.0.8", false),
        ("ip:fd00::/8", true),
        ("pillar:tier=prod", true),
        ("pillar:tier", true),
        ("state:web", true),
        ("state:w*", true),
        ("state:x", false),
        ("online", true),
        ("offline or failed", false),
        ("not offline", true),
        ("not (vm-* and os=debian)", false),
        ("a or vm-* and os=alpine", false),
        ("(a or vm-*) and os=debian", true),
        ("a,b or vm-01", true),
        ("G@os:Debian and E@vm-0[12]", true),
        ("L@a,vm-01", true),
        ("S@10.0.0.0/8 and not P@os:(Alpine|Arch)", true),
        ("I@tier:prod", true),
        ("online-*", false),
    ];
    for (text, expected) in cases {
        let target = Target::parse(text).unwrap_or_else(|it| panic!("{text}: {it:?}"));
        assert_eq!(target.matches(&vm()), expected, "{text}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let cases = [
        ("", "missing", 1),
        ("vm-* and", "missing", 9),
        ("vm-* web", "`web`", 6),
        ("(vm-*", "missing", 6),
        ("os=", "missing", 4),
        ("~[", "regular expression", 2),
        ("vm-[", "pattern", 1),
        ("ip:10.0.0.0/99", "network", 1),
        ("foo:bar", "colon", 1),
        ("VM-01", "lower case", 1),
        ("label:", "missing", 1),
        ("'x", "never closed", 1),
        ("and x", "nothing before", 1),
        ("a && b", "where", 3),
        ("N@group", "not available", 1),
    ];
    for (text, message, column) in cases {
        let complaint = Target::parse(text).expect_err(text);
        let told = format!("{} {:?}", complaint.message, complaint.help);
        assert!(told.contains(message), "{text}: {told}");
        assert_eq!(complaint.spans[0].column, column, "{text}: {told}");
        assert_eq!(complaint.spans[0].file, "target");
    }
}

#[test]
fn the_clause_that_matched_is_named() {
    let explain = |text: &str| Target::parse(text).unwrap().explain(&vm());
    assert_eq!(explain("a or vm-*").as_deref(), Some("vm-*"));
    assert_eq!(explain("vm-* and label:role = web").as_deref(), Some("vm-* and label:role = web"));
    assert_eq!(explain("not a").as_deref(), Some("not a"));
    assert_eq!(explain("a"), None);
}

#[test]
fn a_name_that_nobody_has_is_a_typing_error() {
    let vm = vm();
    let unknown = |text: &str| Target::parse(text).unwrap().unknown_names(&[&vm]);
    let told = unknown("oss=debian");
    assert_eq!(told.len(), 1);
    assert!(told[0].help.as_deref().is_some_and(|it| it.contains("`os`")), "{told:?}");
    assert!(unknown("os=arch and label:role=x").is_empty());
    assert_eq!(unknown("label:rol=web")[0].spans[0].column, 7);
}

#[test]
fn only_pillar_and_states_need_the_compiler() {
    let needs = |text: &str| Target::parse(text).unwrap().needs_compiler();
    assert!(needs("a or pillar:x=1") && needs("state:web"));
    assert!(!needs("os=debian and label:x and ip:10.0.0.0/8 and online"));
}

#[test]
fn a_templated_target_is_never_an_expression() {
    assert_eq!(literal_ids("b, a,\nb").unwrap().len(), 2);
    for bad in ["*", "vm-*", "a or b*", "os=debian", "", " ", "all()", "(a)", "A"] {
        assert!(literal_ids(bad).is_err(), "{bad}");
    }
    // Words of the grammar are ids like others here.
    assert!(literal_ids("not all").is_err(), "words are no list");
    assert!(literal_ids("a or b").is_err(), "words are no list");
}

#[test]
fn long_and_deep_expressions_are_refused_not_followed() {
    assert!(Target::parse(&"(".repeat(4_000)).is_err());
    assert!(Target::parse(&format!("{}a", "not ".repeat(900))).is_err());
    assert!(Target::parse(&"a,".repeat(3_000)).is_err());
    assert!(Target::parse(&format!("a{}", ",a".repeat(1_900))).is_ok(), "wide is fine");
    assert!(Target::parse("~(((((a{1000}){1000}){1000}){1000}){1000})").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = Target::parse(&text).map(|it| it.matches(&vm()));
        let _ = literal_ids(&text);
    }
    #[test]
    fn no_text_of_the_grammar_makes_the_parser_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "vm-*", "(", ")", ",", "and", "or", "not", "os", "=", "!=", ">=", "~", "in", "[", "]", "label:", "@",
                "ip:", "'", "\"", "G@", "{", "}", "\\", "ä",
            ]),
            0..12,
        ),
        space in prop::bool::ANY,
    ) {
        let text = words.join(if space { " " } else { "" });
        let _ = Target::parse(&text).map(|it| (it.matches(&vm()), it.explain(&vm()), it.unknown_names(&[&vm()])));
    }
}

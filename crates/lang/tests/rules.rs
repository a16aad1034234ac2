//! Reactor rules: read all or nothing, judged with reasons, filled in without widening.

use lang::{
    Paint, Tree, render_diagnostics,
    rules::{Action, Context, ResolvedTarget, Rules, filter_matches},
};
use model::{Event, Grains, Labels, MinionId, Source, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const STATES: [(&str, &str); 2] = [("states/web.sls", ""), ("states/base/init.sls", "")];

fn load(text: &str) -> Result<Rules, String> {
    let files = STATES.into_iter().chain([("reactors/r.yaml", text)]);
    let compiled = Rules::load(&Tree::of_texts(files));
    compiled.value.ok_or_else(|| render_diagnostics(&compiled.diagnostics, Paint::Plain))
}

fn event(data: Value) -> Event {
    Event {
        number: 1,
        tag: "minion/vm-1/start".to_owned(),
        source: Source::Minion("vm-1".parse().unwrap()),
        at: Timestamp(0),
        data,
        hops: 0,
        cause: Vec::new(),
    }
}

struct Fixture {
    event: Event,
    minion: MinionId,
    grains: Grains,
    labels: Labels,
}

impl Fixture {
    fn new(data: Value) -> Self {
        let grains = json!({"role": "lab", "os_version": "12.4", "tags": ["a", "b"]});
        Self {
            event: event(data),
            minion: "vm-1".parse().unwrap(),
            grains: grains.as_object().unwrap().clone(),
            labels: [("site".to_owned(), "home".to_owned())].into(),
        }
    }
    fn context(&self) -> Context<'_> {
        let Self { event, minion, grains, labels } = self;
        Context {
            minion: Some(minion),
            grains: Some(grains),
            labels: Some(labels),
            ..Context::of_event(event)
        }
    }
}

const NEW_MACHINE: &str = r#"
configure-new-machine:
  on: minion/+/start
  when: event.boot and grains.role != "prod"
  once_per: boot
  do:
    - apply: { target: "{{minion}}", states: [] }
    - run: { target: "label:site=home and online", command: [echo, "{{event.boot}}; rm -rf /"] }
    - event: { tag: told/it, data: { who: "{{minion}}", list: [ "{{tag}}" ], n: 3 } }
"#;

#[test]
fn a_rule_is_read_judged_and_filled_in() {
    let rules = load(NEW_MACHINE).unwrap();
    let rule = rules.iter().next().unwrap();
    assert_eq!((rule.name.as_str(), rule.place.as_str()), ("configure-new-machine", "reactors/r.yaml:2"));
    assert!(rule.once_per_boot());
    assert_eq!(rules.matching("minion/vm-1/start").count(), 1);
    assert_eq!(rules.matching("minion/vm-1/down").count(), 0);
    let fixture = Fixture::new(json!({"boot": "b1"}));
    let (holds, why) = rule.holds(fixture.context());
    assert!(holds);
    assert_eq!(why, "when: event.boot: \"b1\" is true; grains.role != \"prod\": \"lab\" != \"prod\" is true");
    let actions = rule.actions(fixture.context()).unwrap();
    assert!(
        matches!(&actions[0], Action::Apply { target: ResolvedTarget::Ids(ids), .. } if ids[0].as_str() == "vm-1")
    );
    assert!(matches!(&actions[1], Action::Run { command, .. } if command[1] == "b1; rm -rf /"));
    let Action::Event { tag, data } = &actions[2] else { panic!("{actions:?}") };
    assert_eq!(tag, "rule/configure-new-machine/told/it");
    assert_eq!(json!(data), json!({"who": "vm-1", "list": ["minion/vm-1/start"], "n": 3}));
}

#[test]
fn conditions_hold_as_the_table_says() {
    let cases = [
        ("event.percent > 90", false, "80 > 90 is false"),
        ("event.percent >= 80", true, "80 >= 80 is true"),
        ("event.percent = 80", true, ""),
        ("event.percent == \"80\"", true, ""),
        ("event.nothing > 1", false, "absent > 1 is false"),
        ("event.nothing != 1", true, ""),
        ("not event.nothing", true, "not (event.nothing: absent is false)"),
        ("event.deep.x ~ \"^a\\d$\"", true, ""),
        ("tag ~ '/start$' and minion in [vm-1, vm-2]", true, ""),
        ("grains.os_version >= 12.10 or labels.site = 'home'", true, "labels.site"),
        ("\"b\" in grains.tags", true, ""),
        ("grains.tags = a", false, ""),
        ("event.no", false, "\"no\" is false"),
        ("(event.percent < 90 or tag = x) and true", true, ""),
        ("source = 'minion/vm-1'", true, ""),
    ];
    let fixture = Fixture::new(json!({"percent": 80, "deep": {"x": "a1"}, "no": "no"}));
    for (when, expected, why) in cases {
        if when.ends_with("= a") || when.contains("= x") {
            assert!(load(&rule_with(when)).is_err(), "a bare word is no text: {when}");
            continue;
        }
        let rules = load(&rule_with(when)).unwrap_or_else(|it| panic!("{when}: {it}"));
        let (holds, told) = rules.iter().next().unwrap().holds(fixture.context());
        assert_eq!(holds, expected, "{when}: {told}");
        assert!(told.contains(why), "{when}: {told}");
    }
}

fn rule_with(when: &str) -> String {
    let quoted = serde_json::to_string(when).unwrap();
    format!("r:\n  on: x\n  when: {quoted}\n  do: [ {{ apply: {{ target: '*' }} }} ]\n")
}

#[test]
fn one_bad_rule_gives_none_and_all_complaints() {
    let text = r#"
good: { on: x, do: [ { apply: { target: '*' } } ] }
bad:
  on: minion/+x/start
  wehn: event.x
  throttle: 1
  reactor: x
  when: evnt.boot and (
  once_per: dya
  do:
    - aply: { target: '*' }
    - notify: {}
    - apply: { target: "vm-* web", states: [ wbe ], sates: [] }
    - apply: { target: "{{minoin}}" }
    - run: { target: "{{minion}", command: ls -l }
    - event: { tag: a//b }
"#;
    let told = load(text).unwrap_err();
    for part in [
        "E0504",
        "E0502",
        "did you mean `when`?",
        "`throttle` says how often for what in which time",
        "unknown key `reactor`",
        "E0506",
        "did you mean `event`?",
        "`once_per` takes `boot`, `day` or `job`",
        "did you mean `day`?",
        "did you mean `apply`?",
        "`notify` needs `message`",
        "E0301",
        "did you mean `web`?",
        "did you mean `states`?",
        "did you mean `minion`?",
        "a list of program and arguments",
        "`event` needs a `tag`",
    ] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
    assert!(told.contains("reactors/r.yaml:8:9"), "{told}");
}

#[test]
fn event_data_cannot_widen_a_target() {
    let rules = load("r: { on: x, do: [ { apply: { target: '{{event.who}}' } } ] }").unwrap();
    let rule = rules.iter().next().unwrap();
    for who in ["*", "vm-* or db", "a and not b)", "os=debian"] {
        let fixture = Fixture::new(json!({ "who": who }));
        let result = rule.actions(fixture.context());
        assert!(result.is_err(), "{who}: {result:?}");
    }
    let fixture = Fixture::new(json!({"who": "vm-1"}));
    assert!(rule.actions(fixture.context()).is_ok());
    let told = rule.actions(Fixture::new(json!({})).context()).unwrap_err();
    assert!(told.contains("action 1 (apply)") && told.contains("event.who"), "{told}");
}

#[test]
fn filters_compare_level_by_level() {
    let cases = [
        ("minion/+/start", "minion/a/start", true),
        ("minion/+/start", "minion/a/b/start", false),
        ("minion/#", "minion/a/b", true),
        ("minion/#", "minion", true),
        ("#", "x", true),
        ("+", "x/y", false),
        ("a/b", "a/b/c", false),
        ("a/b/c", "a/b", false),
    ];
    for (filter, tag, expected) in cases {
        assert_eq!(filter_matches(filter, tag), expected, "{filter} {tag}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = load(&text);
        if let Ok(rules) = load(&rule_with(&text)) {
            let fixture = Fixture::new(json!({"x": 1}));
            for rule in rules.iter() {
                let _ = rule.holds(fixture.context());
            }
        }
    }
}

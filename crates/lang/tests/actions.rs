//! Actions of rules: every one is read and filled in, kept and read back; every mistake is told with its place; what an
//! event brings stays one argument, one id, one text.

use lang::{
    Paint, Tree, render_diagnostics,
    rules::{Action, Body, Concurrency, Context, KeyAction, PowerSet, Priority, ResolvedTarget, Rules, Wait},
};
use model::{Event, Labels, MinionId, Source, Timestamp};
use serde_json::{Value, json};

const ALL: &str = r#"
everything:
  on: minion/+/beacon/disk
  concurrency: 1 per minion
  do:
    - plan: { target: "{{minion}}", states: [web], pillar: { path: "/srv/{{event.name}}", n: 3 } }
    - run: { target: "{{minion}}", command: [df, "{{event.name}}"], timeout: 30s }
    - label: { target: "{{minion}}", set: { disk: "{{event.name}}" }, remove: [old] }
    - key: { accept: "{{event.name}}", ids: "web-*", cidr: [10.0.0.0/8], only_new: true }
    - notify: { to: [phone, log], title: "{{minion}}", message: "full: {{event.name}}", priority: high, tags: [disk], data: { p: "{{event.percent}}" } }
    - http: { to: desk, url: "/tickets?host={{urlencode event.name}}", json: { text: "{{event.name}}" }, expect: [201, 2xx], timeout: 5s }
    - wait_for: { event: "minion/{{minion}}/start", when: event.boot, timeout: 5m }
    - wait_for: { minion: "{{minion}}", presence: up }
    - wait_for: { job: last, timeout: 1h }
    - wake: { mac: 52:54:00:12:34:56, via: "{{minion}}" }
    - power: { target: "{{minion}}", set: cycle, by: "plug-{{labels.site}}", wait: 3m }
  on_failure:
    - notify: { to: phone, message: "{{failure.reason}} of {{failure.job}}" }
"#;

fn load(text: &str) -> Result<Rules, String> {
    let compiled = Rules::load(&Tree::of_texts([("states/web.sls", ""), ("reactors/r.yaml", text)]));
    compiled.value.ok_or_else(|| render_diagnostics(&compiled.diagnostics, Paint::Plain))
}

fn event(name: &str) -> Event {
    serde_json::from_value(json!({
        "number": 1, "tag": "minion/vm-1/beacon/disk", "source": Source::Master, "at": Timestamp(0),
        "data": {"name": name, "percent": 91, "boot": true}, "hops": 0,
    }))
    .unwrap()
}

fn fill(text: &str, name: &str) -> Result<Vec<Action>, String> {
    let rules = load(text)?;
    let (event, minion): (Event, MinionId) = (event(name), "vm-1".parse().unwrap());
    let labels = Labels::from([("site".to_owned(), "home".to_owned())]);
    let context = Context { minion: Some(&minion), labels: Some(&labels), ..Context::of_event(&event) };
    rules.iter().next().unwrap().actions(context)
}

fn one(action: &str) -> String {
    format!("r:\n  on: x/y\n  do:\n    - {action}\n")
}

#[test]
fn every_action_is_read_filled_in_kept_and_read_back() {
    let actions = fill(ALL, "data").unwrap();
    assert_eq!(actions.len(), 11);
    let kept = serde_json::to_string(&actions).unwrap();
    let back: Vec<Action> = serde_json::from_str(&kept).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), kept);
    let Action::Apply { check: true, pillar, .. } = &back[0] else { panic!("{back:?}") };
    assert_eq!(json!(pillar), json!({"path": "/srv/data", "n": 3}));
    assert!(
        matches!(&back[1], Action::Run { timeout_ms: Some(30_000), command, .. } if command[1] == "data")
    );
    assert!(
        matches!(&back[2], Action::Label { set, remove, .. } if set["disk"] == "data" && remove == &["old"])
    );
    let Action::Key { act: KeyAction::Accept, minion, policy } = &back[3] else { panic!("{back:?}") };
    assert!(minion.as_str() == "data" && policy.only_new && policy.ids.as_deref() == Some("web-*"));
    let Action::Notify { to, notice } = &back[4] else { panic!("{back:?}") };
    assert_eq!((to.len(), notice.title.as_str(), notice.priority), (2, "vm-1", Priority::High));
    assert_eq!((notice.message.as_str(), &notice.data["p"]), ("full: data", &json!("91")));
    let Action::Http(wish) = &back[5] else { panic!("{back:?}") };
    assert_eq!(
        (wish.url.as_str(), wish.method.as_str(), wish.timeout_ms),
        ("/tickets?host=data", "POST", 5_000)
    );
    assert_eq!(wish.body, Some(Body::Json(json!({"text": "data"}))));
    assert_eq!(wish.expect, [(201, 201), (200, 299)]);
    let waits = [
        Wait::Event("minion/vm-1/start".to_owned(), Some("event.boot".to_owned())),
        Wait::Presence("vm-1".parse().unwrap(), true),
        Wait::Job,
    ];
    for (wanted, action) in waits.iter().zip(&back[6..9]) {
        assert!(matches!(action, Action::Wait { what, .. } if what == wanted), "{action:?}");
    }
    assert!(
        matches!(&back[9], Action::Wake { macs, via: Some(via), .. } if macs.len() == 1 && via.as_str() == "vm-1")
    );
    assert!(
        matches!(&back[10], Action::Power { set: PowerSet::Cycle, by, wait_ms: Some(180_000), .. } if by == "plug-home")
    );
    let rules = load(ALL).unwrap();
    let rule = rules.iter().next().unwrap();
    assert_eq!(rule.concurrency, Some(Concurrency { limit: 1, per_minion: true }));
    let (event, minion): (Event, MinionId) = (event("x"), "vm-1".parse().unwrap());
    let context = Context { minion: Some(&minion), ..Context::of_event(&event) };
    let failed = rule.failure_actions(context, "the disk is gone", None).unwrap();
    assert!(matches!(&failed[0], Action::Notify { notice, .. } if notice.message == "the disk is gone of "));
}

#[test]
fn what_an_event_brings_stays_what_it_is() {
    let evil = "a b' ; $(reboot) & \" \n <x>";
    let notify = one(r#"notify: { to: phone, title: "{{event.name}}", message: "{{event.name}}" }"#);
    let Action::Notify { notice, .. } = &fill(&notify, evil).unwrap()[0] else { panic!() };
    assert!(notice.message == evil && !notice.title.contains('\n'));
    let body = one(r#"http: { url: "https://h/x", json: { a: "{{event.name}}" } }"#);
    let Action::Http(wish) = &fill(&body, "\", \"b\": 1").unwrap()[0] else { panic!() };
    assert_eq!(wish.body, Some(Body::Json(json!({"a": "\", \"b\": 1"}))), "one text, whatever is in it");
    for (action, names) in [
        (r#"run: { target: "{{event.name}}", command: [x] }"#, &["*", "vm-1 or vm-2", "all of"][..]),
        (r#"key: { accept: "{{event.name}}", ids: "web-*" }"#, &["*", "a,b"]),
        (r#"wait_for: { event: "minion/{{event.name}}/start" }"#, &["a/b", "+", "#", ""]),
        (r#"wait_for: { minion: "{{event.name}}", presence: up }"#, &["*"]),
        (r#"http: { url: "https://host/{{event.name}}" }"#, &["a b", "../x", "a\r\nX: y", "ä"]),
        (r#"http: { url: "https://host/", headers: { X-A: "{{event.name}}" } }"#, &["a\r\nHost: b"]),
        (r#"notify: { to: a, message: m, priority: "{{event.name}}" }"#, &["loud"]),
        (r#"wake: { target: "{{event.name}}" }"#, &["*", "not x"]),
    ] {
        for name in names {
            let told = fill(&one(action), name);
            assert!(told.is_err(), "{action} with {name:?}: {told:?}");
        }
    }
    let target = one(r#"run: { target: "label:site=home", command: ["{{event.name}}"] }"#);
    let filled = fill(&target, evil).unwrap();
    assert!(
        matches!(&filled[0], Action::Run { target: ResolvedTarget::Expression(..), command, .. } if command == &[evil])
    );
}

#[test]
fn every_mistake_has_a_sentence_and_a_place() {
    let cases = [
        ("shutdown: { target: x }", "unknown key `shutdown`"),
        ("notify: { to: phone }", "`notify` needs `message`"),
        ("notify: { message: x }", "`notify` needs `to`"),
        ("notify: { to: 'a b', message: x }", "`notify` needs `to`"),
        ("notify: { to: a, message: x, priority: loud }", "`loud` is no priority"),
        ("notify: { to: a, message: '{{nothing}}' }", "nothing"),
        ("notify: { to: a, message: '{{failure.reason}}' }", "failure"),
        ("http: { json: { a: 1 } }", "`http` needs `url` or `to`"),
        ("http: { url: 'https://{{event.host}}/' }", "no address of a call"),
        ("http: { url: 'https://user@{{event.host}}/x' }", "no address of a call"),
        ("http: { url: 'file:///etc/shadow' }", "no address of a call"),
        ("http: { to: desk, url: 'https://other/' }", "no address of a call"),
        ("http: { url: 'https://h/', method: TRACE }", "`TRACE` is no method"),
        ("http: { url: 'https://h/', headers: { Host: a } }", "cannot be a header"),
        ("http: { url: 'https://h/', headers: { Authorization: a } }", "is a secret: rules have none"),
        ("http: { url: 'https://h/', json: {}, body: x }", "`json` or `body`"),
        ("http: { url: 'https://h/', expect: 9xx }", "`9xx` is no status"),
        ("http: { url: 'https://h/', timeout: 2h }", "at most 1m"),
        ("key: { accept: '{{event.minion}}' }", "says for which `ids`"),
        ("key: { reject: '{{event.minion}}' }", "`key: reject` says for which `ids`"),
        ("key: { delete: '{{event.minion}}' }", "`key: delete` says for which `ids`"),
        ("key: { delete: '{{event.minion}}', ids: ['web-*'] }", "`ids` takes text, not a list"),
        ("key: { reject: '{{event.minion}}', ids: { a: b } }", "`ids` takes text, not a mapping"),
        ("key: { accept: a, ids: ['web-*'] }", "`ids` takes text, not a list"),
        ("key: { delete: a, cidr: [10.0.0.0/8] }", "`cidr` is about keys that wait"),
        ("key: { delete: a, only_new: true }", "`only_new` is about keys that wait"),
        ("http: { to: [desk], url: /x }", "`to` takes text, not a list"),
        ("wait_for: { event: a, when: [event.x] }", "`when` takes text, not a list"),
        ("key: { accept: a, reject: b }", "takes one of `accept`, `reject`"),
        ("key: { accept: a, cidr: [x] }", "`x` is no net"),
        ("label: { target: x }", "sets or removes something"),
        ("label: { target: x, set: { 'a b': c } }", "`a b` is no name of a label"),
        ("run: { target: x, command: [a], timeout: soon }", "`soon` is no span of time"),
        ("wait_for: { timeout: 5m }", "takes one of"),
        ("wait_for: { event: a, job: last }", "takes one of"),
        ("wait_for: { event: 'a//b' }", "is not a filter"),
        ("wait_for: { event: a, when: 'event.x >' }", "a value"),
        ("wait_for: { minion: a, presence: maybe }", "`presence: up` or `down`"),
        ("wait_for: { job: first }", "`job` takes `last`"),
        ("wait_for: { job: last, timeout: 30d }", "at most 7d"),
        ("wake: { via: a }", "`wake` needs a `target`"),
        ("wake: { mac: 'zz:zz' }", "no address of a network card"),
        ("power: { target: x, by: p }", "`power` needs `set`"),
        ("power: { target: x, set: on }", "`power` needs `by`"),
        ("apply: { target: x, pillar: [1] }", "`pillar` is a mapping"),
    ];
    for (action, says) in cases {
        let told = load(&one(action)).expect_err(action);
        assert!(told.contains(says) && told.contains("reactors/r.yaml:4"), "{action}: {told}");
    }
    let rule = |more: &str| format!("r:\n  on: x\n  do: [ {{ event: {{ tag: a }} }} ]\n  {more}\n");
    for (more, says) in [
        ("concurrency: many", "how many at once"),
        ("concurrency: 0", "how many at once"),
        ("concurrency: 1 per house", "how many at once"),
        ("on_failure: [ { wait_for: { job: last } } ]", "cannot wait in `on_failure`"),
        ("on_failure: [ { power: { target: a, set: on, by: b, wait: 1m } } ]", "cannot wait in `on_failure`"),
    ] {
        let told = load(&rule(more)).expect_err(more);
        assert!(told.contains(says) && told.contains("reactors/r.yaml:4"), "{more}: {told}");
    }
    let many = "{ event: { tag: a } }, ".repeat(33);
    assert!(load(&format!("r:\n  on: x\n  do: [ {many} ]\n")).unwrap_err().contains("more than 32 actions"));
    let value: Value = json!(Priority::Urgent);
    assert_eq!(value, "urgent");
}

#[test]
fn what_does_nothing_in_notify_yaml_is_said() {
    let cases = [
        (
            "notifiers: { a: { type: mqtt, url: 'https://h/', timeout: 5s } }",
            &["`url` does nothing", "`timeout` does nothing"][..],
        ),
        (
            "notifiers: { a: { type: mqtt, token: x, headers: { A: b } } }",
            &["`token` does nothing", "`headers` does nothing"],
        ),
        (
            "notifiers: { a: { type: slack, url: 'https://h/', priorities: { high: 1 } } }",
            &["`priorities` does nothing"],
        ),
        (
            "notifiers: { a: { type: uptime-kuma, url: 'https://h/', priorities: { high: 1 } } }",
            &["`priorities` does nothing"],
        ),
        ("power: { a: { type: mqtt, url: 'https://h/' } }", &["`url` does nothing"]),
        (
            "power: { a: { type: http, url: 'https://h/', on: 'https://h/1', off: 'https://h/0' } }",
            &["`url` does nothing"],
        ),
        ("notifiers: { a: { type: mqtt, rate: 1 per 1m, priorities: { high: 1 } } }", &[]),
        ("power: { a: { type: http, token: x, on: 'https://h/1', off: 'https://h/0' } }", &[]),
    ];
    for (text, wanted) in cases {
        let made = lang::notifiers::Notifiers::parse("notify.yaml", text, &|_| Err("none".to_owned()));
        let said: Vec<&str> = made.diagnostics.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(said.len(), wanted.len(), "{text}: {said:?}");
        assert!(wanted.iter().all(|wanted| said.iter().any(|it| it.contains(wanted))), "{text}: {said:?}");
    }
}

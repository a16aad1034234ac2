use super::*;
use serde_json::json;

fn wrong(name: &str, settings: &Value) -> Vec<String> {
    let settings = settings.as_object().unwrap();
    kind(name).unwrap().check(settings, true).into_iter().map(|it| it.message).collect()
}

#[test]
fn kinds_are_in_order_and_told_about() {
    let names: Vec<&str> = kinds().iter().map(|it| it.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for kind in kinds() {
        assert!(is_name(kind.name));
        let mut settings: Vec<&str> = kind.all_settings().map(|it| it.name).collect();
        settings.sort_unstable();
        assert!(settings.windows(2).all(|it| it[0] != it[1]), "{}: {settings:?}", kind.name);
        if cfg!(feature = "docs") {
            for text in [kind.doc, kind.cost, kind.fields, kind.example] {
                assert!(!text.text().is_empty(), "{}", kind.name);
            }
        }
    }
}

#[test]
fn every_mistake_of_settings_is_told_at_once() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("disk", json!({}), &[]),
        ("disk", json!({"path": "/", "above": "90%", "clear": "80%", "for": "5m", "interval": 10}), &[]),
        ("disk", json!({"path": ["/", "/srv"], "measure": "free", "below": "5GiB"}), &[]),
        (
            "disk",
            json!({"path": "srv"}),
            &["`path` must be an absolute path without `..`, or a list of them"],
        ),
        ("disk", json!({"path": "/a/../b"}), &["`path` must be"]),
        ("disk", json!({"above": "90 %"}), &[]),
        ("disk", json!({"above": "much", "colour": 1}), &["`above` must be a number", "no setting `colour`"]),
        ("disk", json!({"above": "90%", "clear": "95%"}), &["`clear` must not be more than `above`"]),
        ("disk", json!({"above": "90%", "clear": "5GiB"}), &["must all be percentages, or none"]),
        ("disk", json!({"above": "10%", "below": "90%"}), &["`above` must be more than `below`"]),
        ("disk", json!({"below": "90%", "clear": "80%"}), &["`clear` must not be less than `below`"]),
        (
            "disk",
            json!({"above": "9%", "below": "1%", "clear": "5%"}),
            &["goes with `above` or with `below`"],
        ),
        ("temperature", json!({"above": "80°C"}), &[]),
        ("temperature", json!({"above": "80%"}), &["cannot be a percentage"]),
        ("psi", json!({"above": 80}), &["must be a percentage"]),
        ("psi", json!({"resource": ["cpu", "gpu"]}), &["a list of cpu, memory, io"]),
        ("file", json!({}), &["the beacon `file` needs `path`"]),
        ("file", json!({"path": "/etc", "recursive": "perhaps"}), &["`recursive` must be true or false"]),
        ("file", json!({"path": "/etc", "watches": 0}), &["a whole number from 1 to 65536"]),
        ("file", json!({"path": "/etc", "interval": "1ms"}), &["from 100ms to 30d"]),
        ("disk", json!({"measure": "free"}), &["`measure: free` needs a limit of its own"]),
        ("disk", json!({"measure": "used"}), &[]),
        (
            "disk",
            json!({"colour": 1, "above": "10%", "below": "90%"}),
            &["no setting `colour`", "must be more than"],
        ),
        ("file", json!({"colour": 1}), &["no setting `colour`", "the beacon `file` needs `path`"]),
        ("file", json!({"path": "/etc", "interval": "1h30m"}), &[]),
        ("file", json!({"path": "/etc", "interval": "30m1h"}), &["from 100ms to 30d"]),
        ("check", json!({}), &["one of `http`, `tcp` and `ping`"]),
        ("check", json!({"http": "https://a/", "tcp": "a:1"}), &["one of `http`, `tcp` and `ping`"]),
        ("check", json!({"http": "https://a/", "status": ["2xx", "often"]}), &["`often` is no status"]),
        ("check", json!({"http": "a/b", "pin": "x"}), &["begins with http://", "`pin` is a SHA-256"]),
        (
            "check",
            json!({"tcp": "a", "contains": "x"}),
            &["`contains` is about pages", "`a` is not `host:port`"],
        ),
        ("check", json!({"ping": "-f"}), &["`-f` is no host"]),
        ("log", json!({"pattern": ["ok {a}", "{a} {a}", "{"]}), &["is there twice", "has no `}`"]),
        ("memory", json!({"rate": 100_000, "enabled": "no"}), &["a whole number from 1 to 1000"]),
    ];
    for (kind, settings, wanted) in cases {
        let wrong = wrong(kind, settings);
        assert_eq!(wrong.len(), wanted.len(), "{kind} {settings}: {wrong:?}");
        for (message, part) in wrong.iter().zip(*wanted) {
            assert!(message.contains(part), "{kind} {settings}: {message}");
        }
    }
}

#[test]
fn what_is_missing_is_no_mistake_of_a_part() {
    let empty = Map::new();
    for name in ["file", "check", "disk", "log"] {
        assert_eq!(kind(name).unwrap().check(&empty, false), [], "{name}");
    }
    let part = json!({"measure": "free"});
    assert_eq!(kind("disk").unwrap().check(part.as_object().unwrap(), false), []);
    let part = json!({"status": 200});
    assert_eq!(kind("check").unwrap().check(part.as_object().unwrap(), false), []);
}

#[test]
fn amounts_are_read_as_people_write_them() {
    let cases = [
        (json!("90%"), Some((90.0, true))),
        (json!(80), Some((80.0, false))),
        (json!("5GiB"), Some((5_368_709_120.0, false))),
        (json!("1.5 K"), Some((1536.0, false))),
        (json!("2MB"), Some((2e6, false))),
        (json!("-3"), Some((-3.0, false))),
        (json!("five"), None),
        (json!("5 parsecs"), None),
        (json!(["5"]), None),
        (json!("1e999"), None),
    ];
    for (value, wanted) in cases {
        assert_eq!(Amount::of(&value).map(|it| (it.number, it.percent)), wanted, "{value}");
    }
}

#[test]
fn names_are_plain_words() {
    for (name, good) in
        [("disk", true), ("nginx-conf.d", true), ("", false), ("a/b", false), (".x", false), ("a b", false)]
    {
        assert_eq!(is_name(name), good, "{name}");
    }
    assert!(!is_name(&"x".repeat(65)));
}

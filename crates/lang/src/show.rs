//! Steps for people who know Salt: its field names and what is written, in run order, secrets masked.

use crate::{arguments, blocks::Argument, low::Low, order::Turn, yaml::Yaml};
use serde_json::{Map, Value, json};

/// Salt's modules that react to what they watch. In any other one of Salt's, `watch` is `require`.
const REACT: [&str; 9] = ["at", "cmd", "etcd", "event", "module", "mount", "pkg", "service", "test"];
/// Salt's modules that do not.
const IDLE: [&str; 38] = [
    "acl",
    "alias",
    "alternatives",
    "apache_conf",
    "apache_module",
    "apache_site",
    "archive",
    "cron",
    "environ",
    "file",
    "firewalld",
    "git",
    "gpg",
    "grains",
    "group",
    "host",
    "http",
    "ini",
    "ipset",
    "iptables",
    "kmod",
    "locale",
    "lvm",
    "network",
    "nftables",
    "pip",
    "pkgrepo",
    "postgres_database",
    "postgres_user",
    "process",
    "quota",
    "schedule",
    "selinux",
    "ssh_auth",
    "ssh_known_hosts",
    "sysctl",
    "timezone",
    "user",
];

/// Steps in run order.
pub(crate) fn show(lows: &[Low], turns: &[Turn]) -> Vec<Value> {
    let mut tried = vec![false; lows.len()];
    let mut trying = vec![false; lows.len()];
    for turn in turns.iter().filter(|it| it.trial) {
        tried[turn.step] = true;
    }
    for (index, low) in lows.iter().enumerate() {
        trying[index] = low.arguments.contains_key("prereq");
    }
    turns
        .iter()
        .map(|turn| {
            let mut shown = one(&lows[turn.step]);
            if tried[turn.step] {
                shown.insert("__prereq__".to_owned(), json!(true));
            }
            if trying[turn.step] {
                shown.insert("__prerequiring__".to_owned(), json!(true));
            }
            Value::Object(shown)
        })
        .collect()
}

fn one(low: &Low) -> Map<String, Value> {
    let mut shown = Map::from_iter([
        ("state".to_owned(), json!(low.state)),
        ("fun".to_owned(), json!(low.fun)),
        ("name".to_owned(), json!(low.name)),
        ("__id__".to_owned(), json!(low.id)),
        ("__sls__".to_owned(), json!(low.sls)),
        ("__env__".to_owned(), json!(*low.environment)),
    ]);
    for (key, parts) in &low.arguments {
        if matches!(key.as_str(), "name" | "state" | "fun") {
            continue;
        }
        let value = match parts.as_slice() {
            [one] if !arguments::is_requisite(key) || key.ends_with("_in") => one.file.value(&one.node),
            parts => Value::Array(parts.iter().flat_map(list).collect()),
        };
        shown.insert(key.clone(), value);
    }
    let salts = |it: &str| REACT.contains(&it) || IDLE.contains(&it);
    if salts(&low.state) && !REACT.contains(&low.state.as_str()) {
        for (from, to) in [("watch", "require"), ("watch_any", "require_any")] {
            if let Some(Value::Array(more)) = shown.shift_remove(from)
                && let Value::Array(list) = shown.entry(to).or_insert_with(|| json!([]))
            {
                list.extend(more);
            }
        }
    }
    shown
}

fn list(argument: &Argument) -> Vec<Value> {
    match &argument.node.value {
        Yaml::List(items) => items.iter().map(|it| argument.file.value(it)).collect(),
        _ => vec![argument.file.value(&argument.node)],
    }
}

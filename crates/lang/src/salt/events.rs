//! Our events as Salt's reactor knows them: tags and data.

use serde_json::{Map, Value, json};

/// First two levels of Salt's own tags that something here stands behind.
const HEARD: [&str; 6] = ["auth", "beacon", "job", "key", "minion", "presence"];

/// An event under Salt's name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SaltEvent {
    pub(crate) tag: String,
    pub(crate) data: Map<String, Value>,
}

/// The tags that an event has for Salt; none for what Salt does not know.
pub(crate) fn tags(tag: &str, data: &Value) -> Vec<String> {
    events(tag, data).into_iter().map(|it| it.tag).collect()
}

/// What Salt would have fired. `id` comes from the tag, which the master sets, and never from what was sent.
pub(crate) fn events(tag: &str, data: &Value) -> Vec<SaltEvent> {
    let levels: Vec<&str> = tag.split('/').collect();
    match levels[..] {
        ["minion", id, "start"] => {
            let said =
                json!({"cmd": "_minion_event", "pretag": null, "data": format!("Minion {id} started")});
            vec![of(&format!("salt/minion/{id}/start"), id, &said, data), of("minion_start", id, &said, data)]
        }
        ["minion", id, "online"] => {
            vec![of("salt/presence/change", "", &json!({"new": [id], "lost": []}), data)]
        }
        ["minion", id, "lost" | "down"] => {
            vec![of("salt/presence/change", "", &json!({"new": [], "lost": [id]}), data)]
        }
        ["minion", id, "beacon", name] => {
            vec![of(&format!("salt/beacon/{id}/{name}/"), id, data, &Value::Null)]
        }
        ["minion", id, "event", ..] => {
            let own = levels[3..].join("/");
            vec![of(&own, id, &json!({"cmd": "_minion_event", "pretag": null, "data": data}), &Value::Null)]
        }
        ["key", id, "pending"] => vec![key("salt/auth", id, "pend")],
        ["key", id, "conflict"] => vec![key("salt/auth", id, "denied")],
        ["key", id, "accepted"] => vec![key("salt/auth", id, "accept"), key("salt/key", id, "accept")],
        ["key", id, "rejected"] => vec![key("salt/auth", id, "reject"), key("salt/key", id, "reject")],
        ["key", id, "revoked"] => vec![key("salt/key", id, "delete")],
        ["job", "accepted"] => vec![of(&format!("salt/job/{}/new", text(data, "job")), "", &job(data), data)],
        ["job", "ended"] if data["minion"].is_string() => {
            let id = text(data, "minion");
            vec![of(&format!("salt/job/{}/ret/{id}", text(data, "job")), &id, &job(data), data)]
        }
        ["user" | "integration", _, ..] | ["rule", _, _, ..] if levels.len() > 2 => {
            let own = levels[2..].join("/");
            if levels[0] == "rule" && own == "failed" {
                return Vec::new();
            }
            vec![of(&own, "", &json!({"data": data}), data)]
        }
        _ => Vec::new(),
    }
}

/// `first` wins over `then`, and the tag and the id over both.
fn of(tag: &str, id: &str, first: &Value, then: &Value) -> SaltEvent {
    let mut data = Map::new();
    for part in [then, first] {
        let pairs = part.as_object().into_iter().flatten();
        data.extend(pairs.map(|(key, value)| (key.clone(), value.clone())));
    }
    data.insert("tag".to_owned(), tag.into());
    data.remove("id");
    if !id.is_empty() {
        data.insert("id".to_owned(), id.into());
    }
    SaltEvent { tag: tag.to_owned(), data }
}

fn key(tag: &str, id: &str, act: &str) -> SaltEvent {
    of(tag, id, &json!({"act": act, "result": act != "denied"}), &Value::Null)
}

fn job(data: &Value) -> Value {
    let function = if text(data, "what").starts_with("run") { "cmd.run" } else { "state.apply" };
    json!({"jid": data["job"], "fun": function, "success": data["ok"], "tgt": data["target"]})
}

fn text(data: &Value, key: &str) -> String {
    data[key].as_str().unwrap_or_default().to_owned()
}

/// Whether anything here could have a tag that this glob matches.
pub(crate) fn may_be_heard(glob: &str) -> bool {
    let Some(rest) = glob.strip_prefix("salt/") else { return true };
    let second = rest.split('/').next().unwrap_or_default();
    second.contains(['*', '?', '[']) || HEARD.contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_events_have_salts_names() {
        for (ours, data, salts) in [
            ("minion/vm-1/start", json!({"boot": true}), vec!["salt/minion/vm-1/start", "minion_start"]),
            ("minion/vm-1/lost", json!({}), vec!["salt/presence/change"]),
            ("minion/vm-1/event/deploy/done", json!({}), vec!["deploy/done"]),
            ("key/vm-1/pending", json!({}), vec!["salt/auth"]),
            ("job/ended", json!({"job": "J", "minion": "vm-1"}), vec!["salt/job/J/ret/vm-1"]),
            ("job/ended", json!({"job": "J"}), vec![]),
            ("user/anna/deploy", json!({}), vec!["deploy"]),
            ("rule/x/failed", json!({}), vec![]),
            ("tree/changed", json!({}), vec![]),
        ] {
            assert_eq!(tags(ours, &data), salts, "{ours}");
        }
    }

    #[test]
    fn the_id_is_the_senders_and_never_what_it_says() {
        let lie = json!({"id": "db-1", "tag": "salt/auth", "x": 1});
        let [event] = &events("minion/vm-1/event/own", &lie)[..] else { panic!() };
        assert_eq!((&event.data["id"], &event.data["data"]["x"]), (&json!("vm-1"), &json!(1)));
        let [event] = &events("user/anna/own", &lie)[..] else { panic!() };
        assert_eq!(
            (event.data.get("id"), &event.data["x"], &event.data["tag"]),
            (None, &json!(1), &json!("own"))
        );
    }

    #[test]
    fn tags_that_nothing_here_has_are_known() {
        assert!(["salt/minion/*/start", "salt/*", "own/*", "minion_start"].iter().all(|it| may_be_heard(it)));
        assert!(!may_be_heard("salt/cloud/*/created") && !may_be_heard("salt/run/*/ret"));
    }
}

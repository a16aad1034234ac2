//! Events and minions that rules are asked about: stored ones, and those of files.

use crate::{
    Outcome,
    commands::{Desk, unexpected},
    failure::{Exit, Failure},
    show::time,
};
use lang::reactor::Replayed;
use model::{Event, MinionId, Presence, Reply, Request, api::EventFilter};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of a file with events or minions.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// An event by number, or the one in a file.
pub(super) fn one(desk: &mut Desk<'_>, wanted: &str) -> Outcome<Event> {
    if wanted.parse::<u64>().is_ok() {
        return stored(desk, wanted);
    }
    let path = PathBuf::from(wanted);
    let mut events = many(&path)?;
    match (events.pop(), events.len()) {
        (Some(event), 0) => Ok(event),
        (_, more) => {
            let message = format!("`{wanted}` has {} events, and one is wanted", more + 1);
            Err(Failure::usage(message).hint("labctl rule replay takes many"))
        }
    }
}

/// A stored event by its number.
pub(super) fn stored(desk: &mut Desk<'_>, number: &str) -> Outcome<Event> {
    let wanted = number.trim_start_matches('#').parse::<u64>().map_err(|_| {
        Failure::usage(format!("`{number}` is no event's number"))
            .hint("labctl event list -o wide shows numbers; `last` is the newest")
    })?;
    let filter = EventFilter { number: Some(wanted), limit: 1, ..EventFilter::default() };
    ask(desk, filter)?.pop().ok_or_else(|| {
        Failure::not_found(format!("there is no event {wanted}"))
            .hint("it may be too old: old events are deleted; labctl event list shows the newest")
    })
}

/// The newest event that one of these filters lets through.
pub(super) fn newest(desk: &mut Desk<'_>, filters: &[String], whose: &str) -> Outcome<Event> {
    let mut found: Vec<Event> = Vec::new();
    for tag in filters {
        let filter = EventFilter { tag: Some(tag.clone()), limit: 1, ..EventFilter::default() };
        found.extend(ask(desk, filter)?);
    }
    found.into_iter().max_by_key(|it| it.number).ok_or_else(|| {
        Failure::not_found(format!("no stored event is for {whose}: {}", filters.join(", ")))
            .hint("write one to a file and give it with --event FILE")
    })
}

fn ask(desk: &mut Desk<'_>, filter: EventFilter) -> Outcome<Vec<Event>> {
    match desk.ask(&Request::Events { filter })? {
        Reply::Events(events) => Ok(events),
        other => Err(unexpected(&other)),
    }
}

/// The events of a file, in order of time: objects a line, a list, or what `labctl event list -o json` prints.
pub(super) fn many(path: &Path) -> Outcome<Vec<Event>> {
    let text = text_of(path)?;
    let values = values(&text, path)?;
    let mut events = Vec::with_capacity(values.len());
    for (place, value) in values.into_iter().enumerate() {
        let place = place + 1;
        let event = event(value, place as u64).map_err(|cause| {
            Failure::usage(format!("`{}`: event {place}: {cause}", path.display()))
                .hint("an event is {\"tag\": \"minion/vm-1/start\", \"data\": {…}}, and may have number, source, at, hops")
        })?;
        events.push(event);
    }
    events.sort_by_key(|it| it.at);
    Ok(events)
}

fn text_of(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|it| it.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::file("read", path, &error))?;
    Ok(text)
}

/// What is in a file: one document, `items` of it, or a document a line.
fn values(text: &str, path: &Path) -> Outcome<Vec<Value>> {
    let bad = |line: usize, error: &serde_json::Error| {
        Failure::new(Exit::Usage, format!("`{}`: line {line} is no JSON: {error}", path.display()))
    };
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(values)) => Ok(values),
        Ok(Value::Object(mut members)) => match members.remove("items") {
            Some(Value::Array(values)) => Ok(values),
            _ => Ok(vec![Value::Object(members)]),
        },
        Ok(other) => Ok(vec![other]),
        Err(whole) => {
            let lines = text.lines().enumerate().filter(|it| !it.1.trim().is_empty());
            let values: Vec<Value> = lines
                .map(|(line, it)| serde_json::from_str(it).map_err(|error| bad(line + 1, &error)))
                .collect::<Outcome<_>>()?;
            if values.is_empty() { Err(bad(1, &whole)) } else { Ok(values) }
        }
    }
}

/// An event of which only the tag has to be there.
fn event(value: Value, place: u64) -> Result<Event, String> {
    let Value::Object(mut members) = value else { return Err("it is no object".to_owned()) };
    if !members.get("tag").is_some_and(Value::is_string) {
        return Err("it has no `tag`".to_owned());
    }
    let mut usual = |name: &str, value: Value| {
        members.entry(name).or_insert(value);
    };
    usual("number", place.into());
    usual("source", serde_json::json!({"kind": "master"}));
    usual("at", time::now().0.into());
    usual("hops", 0.into());
    usual("data", Value::Object(Map::new()));
    if let Some(text) = members.get("at").and_then(Value::as_str) {
        let at = time::parse_since(text)?;
        members.insert("at".to_owned(), at.0.into());
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
}

/// Grains and labels of minions.
pub(super) fn members(path: &Path) -> Outcome<BTreeMap<MinionId, Replayed>> {
    let text = text_of(path)?;
    let mut members = BTreeMap::new();
    for (place, value) in values(&text, path)?.into_iter().enumerate() {
        let (id, member) = member(&value).ok_or_else(|| {
            let message = format!("`{}`: minion {} has no `id` and `grains`", path.display(), place + 1);
            Failure::usage(message).hint("labctl minion list -o json prints what is wanted")
        })?;
        members.insert(id, member);
    }
    Ok(members)
}

fn member(value: &Value) -> Option<(MinionId, Replayed)> {
    let id = value.get("id")?.as_str()?.parse().ok()?;
    let grains = value.get("grains")?.as_object()?.clone();
    let labels = value.get("labels").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let presence = value.get("presence").cloned().and_then(|it| serde_json::from_value(it).ok());
    let member = Replayed {
        grains,
        labels: serde_json::from_value(labels).ok()?,
        presence: presence.unwrap_or(Presence::Up),
        boot: None,
        address: value.get("address").and_then(Value::as_str).map(str::to_owned),
    };
    Some((id, member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn read(text: &str) -> Vec<Event> {
        let values = values(text, Path::new("f")).unwrap();
        values.into_iter().enumerate().map(|(place, it)| event(it, place as u64 + 1).unwrap()).collect()
    }

    #[test]
    fn events_are_read_from_lines_lists_and_documents_alike() {
        let one = r#"{"tag": "minion/a/start", "at": "2026-11-20T08:00:00Z", "data": {"boot": true}}"#;
        let whole = read(one);
        assert_eq!(whole[0].at, Timestamp(1_795_161_600_000));
        assert_eq!(whole[0].number, 1);
        for text in
            [format!("{one}\n\n{one}\n"), format!("[{one},{one}]"), format!(r#"{{"items": [{one},{one}]}}"#)]
        {
            let events = read(&text);
            assert_eq!(events.len(), 2, "{text}");
            assert_eq!(events[1].number, 2);
            assert_eq!(events[1].data, whole[0].data);
        }
    }

    #[test]
    fn what_is_no_event_is_named_with_its_place() {
        assert_eq!(event(serde_json::json!({"data": {}}), 1).unwrap_err(), "it has no `tag`");
        assert_eq!(event(serde_json::json!(7), 1).unwrap_err(), "it is no object");
        let failure = values("{\"tag\": \"a\"}\nnot json\n", Path::new("f")).unwrap_err();
        assert!(failure.message.contains("line 2"), "{}", failure.message);
    }
}

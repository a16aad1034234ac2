//! Payloads of Alertmanager and Uptime Kuma: what is wrong where, and since when.

use super::{
    super::payload::{at, take, take_flat, text},
    EVENTS_MAX,
};
use serde_json::{Map, Value};

/// The end of an alert that has none.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// Each alert of a group is an event of its own, so that a rule can look at its labels.
pub(super) fn of_alertmanager(payload: &Value) -> Result<Vec<Map<String, Value>>, String> {
    let Some(alerts) = at(payload, "alerts").and_then(Value::as_array) else {
        return Err("there are no `alerts` in it: is it of Alertmanager (version 4)?".to_owned());
    };
    let of = |alert: &Value| {
        let mut data = Map::new();
        take(&mut data, "alert", alert, &["labels.alertname"]);
        take(&mut data, "status", alert, &["status"]);
        take_flat(&mut data, "labels", alert, &["labels"]);
        take_flat(&mut data, "annotations", alert, &["annotations"]);
        take(&mut data, "starts", alert, &["startsAt"]);
        if at(alert, "endsAt").is_some_and(|it| it != NO_END) {
            take(&mut data, "ends", alert, &["endsAt"]);
        }
        take(&mut data, "fingerprint", alert, &["fingerprint"]);
        take(&mut data, "url", alert, &["generatorURL"]);
        take(&mut data, "receiver", payload, &["receiver"]);
        take(&mut data, "group", payload, &["groupKey"]);
        data
    };
    let mut all: Vec<Map<String, Value>> = alerts.iter().take(EVENTS_MAX).map(of).collect();
    let told_less = at(payload, "truncatedAlerts").and_then(Value::as_u64).unwrap_or(0);
    let more = told_less + u64::try_from(alerts.len() - all.len()).unwrap_or(u64::MAX);
    if more > 0
        && let Some(last) = all.last_mut()
    {
        last.insert("more".to_owned(), more.into());
    }
    Ok(all)
}

/// A change of one monitor, or the word of a test.
pub(super) fn of_uptime_kuma(payload: &Value) -> Map<String, Value> {
    let mut data = Map::new();
    let status = match at(payload, "heartbeat.status").and_then(Value::as_u64) {
        Some(0) => "down",
        Some(1) => "up",
        Some(2) => "pending",
        Some(3) => "maintenance",
        Some(_) => "unknown",
        None => "test",
    };
    data.insert("status".to_owned(), status.into());
    take(&mut data, "monitor", payload, &["monitor.name", "heartbeat.monitorID"]);
    take(&mut data, "id", payload, &["monitor.id", "heartbeat.monitorID"]);
    take(&mut data, "type", payload, &["monitor.type"]);
    take(&mut data, "address", payload, &["monitor.hostname", "monitor.url"]);
    take(&mut data, "message", payload, &["heartbeat.msg", "msg"]);
    take(&mut data, "ping", payload, &["heartbeat.ping"]);
    take(&mut data, "since_s", payload, &["heartbeat.duration"]);
    take(&mut data, "time", payload, &["heartbeat.time"]);
    take(&mut data, "important", payload, &["heartbeat.important"]);
    let tags = at(payload, "monitor.tags").and_then(Value::as_array);
    let pairs = tags.into_iter().flatten().filter_map(|it| {
        let value = text(it, &["value"]).unwrap_or_default();
        Some((text(it, &["name"])?, value.into()))
    });
    let tags: Map<String, Value> = pairs.collect();
    data.insert("tags".to_owned(), Value::Object(tags));
    data
}

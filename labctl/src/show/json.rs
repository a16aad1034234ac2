//! JSON as machines get it: version and kind in front, times in RFC 3339.

use super::time;
use crate::failure::Failure;
use model::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// Version of all documents.
pub(crate) const API_VERSION: &str = "labctl/v1";

/// Members that hold a time, in milliseconds as the API has it.
const TIMES: &[&str] = &[
    "at",
    "accepted_at",
    "cancelled",
    "ended",
    "last_run",
    "last_slot",
    "expires",
    "holds_since",
    "lost",
    "next",
    "not_before",
    "now",
    "seen_at",
    "since",
    "slot",
    "started_at",
    "until",
];
/// The member that holds times.
const BEGUN: &str = "begun";
/// Members that hold people's own data, which is left alone.
const OPAQUE: &[&str] = &[
    "answer",
    "claims",
    "data",
    "environment",
    "grains",
    "labels",
    "last",
    "pillar",
    "sample",
    "steps",
    "words",
    "configured_boots",
];

/// As JSON.
pub(crate) fn of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// With times written out.
pub(crate) fn dated(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| {
                    if let Value::Array(times) = &value
                        && key == BEGUN
                    {
                        let written = |it: &Value| it.as_u64().map(|ms| time::rfc3339(Timestamp(ms)));
                        return (key, times.iter().map(written).collect());
                    }
                    let value = match value.as_u64() {
                        Some(ms) if TIMES.contains(&key.as_str()) => time::rfc3339(Timestamp(ms)).into(),
                        None if !OPAQUE.contains(&key.as_str()) => dated(value),
                        _ => value,
                    };
                    (key, value)
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(dated).collect(),
        other => other,
    }
}

/// An error as machines get it.
pub(crate) fn of_failure(failure: &Failure) -> Value {
    let is_error = |it: &&model::Diagnostic| it.severity == model::Severity::Error;
    let first = failure.diagnostics.iter().find(is_error).or(failure.diagnostics.first());
    json!({ "error": {
        "code": first.map(|it| it.code.clone()),
        "exit": failure.exit.code(),
        "message": failure.message,
        "hint": failure.hint,
        "spans": first.map_or_else(|| json!([]), |it| of(&it.spans)),
        "diagnostics": of(&failure.diagnostics),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_of_a_failure_is_its_first_error() {
        let told = |severity, code: &str| model::Diagnostic {
            severity,
            code: code.into(),
            message: String::new(),
            spans: Vec::new(),
            notes: Vec::new(),
            help: None,
        };
        let diagnostics = vec![told(model::Severity::Warning, "W1"), told(model::Severity::Error, "E2")];
        let failure = Failure { diagnostics, ..Failure::new(crate::failure::Exit::Compile, "no") };
        assert_eq!(of_failure(&failure)["error"]["code"], "E2");
    }

    #[test]
    fn times_are_written_out_and_peoples_data_is_left_alone() {
        let value = json!({
            "at": 1_732_105_304_123_u64, "ended": null, "duration_ms": 5,
            "data": { "at": 7 }, "grains": { "since": 9 }, "items": [{ "seen_at": 0 }],
        });
        assert_eq!(
            dated(value),
            json!({
                "at": "2024-11-20T12:21:44.123Z", "ended": null, "duration_ms": 5,
                "data": { "at": 7 }, "grains": { "since": 9 }, "items": [{ "seen_at": "1970-01-01T00:00:00.000Z" }],
            })
        );
    }
}

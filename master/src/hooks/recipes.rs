//! What a payload means: of each sender, the few things that rules look at, under the same names.

mod alerts;
mod forge;

use super::{payload, signature::Headers};
use lang::hooks::{Hook, Recipe};
use serde_json::{Map, Value};

/// Events of one delivery: of a group of alerts, each is one.
pub(crate) const EVENTS_MAX: usize = 64;

/// The data of the events that a delivery becomes; why there is none.
pub(crate) fn events(
    hook: &Hook,
    headers: Headers<'_, '_>,
    body: &[u8],
) -> Result<Vec<Map<String, Value>>, String> {
    if let Some(kind) = headers("content-type").filter(|it| !is_json(it)) {
        let kind: String = kind.chars().filter(|it| !it.is_control()).take(64).collect();
        return Err(format!(
            "a payload is application/json, not `{kind}`: choose that where the hook is set up"
        ));
    }
    let payload: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    if !payload.is_object() {
        return Err("the body is no JSON object".to_owned());
    }
    let mut all = match hook.recipe {
        Recipe::Generic => vec![generic(&payload, hook)],
        Recipe::Gitea | Recipe::Github => vec![forge::of_hub(headers, &payload)],
        Recipe::Gitlab => vec![forge::of_gitlab(headers, &payload)],
        Recipe::Alertmanager => alerts::of_alertmanager(&payload)?,
        Recipe::UptimeKuma => vec![alerts::of_uptime_kuma(&payload)],
    };
    if hook.recipe != Recipe::Generic && !hook.keep.is_empty() {
        let kept = payload::kept(&payload, &hook.keep);
        for event in &mut all {
            event.insert("payload".to_owned(), Value::Object(kept.clone()));
        }
    }
    Ok(all.into_iter().map(payload::fit).collect())
}

/// Nothing, or `application/json` whatever follows it.
fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// What the hook keeps; without that, the payload as it is.
fn generic(payload: &Value, hook: &Hook) -> Map<String, Value> {
    if hook.keep.is_empty() {
        payload.as_object().cloned().unwrap_or_default()
    } else {
        payload::kept(payload, &hook.keep)
    }
}

/// A payload as the sender of a recipe sends it, for trying a hook: its headers and its body.
pub(crate) fn sample(recipe: Recipe) -> (&'static [(&'static str, &'static str)], &'static str) {
    match recipe {
        Recipe::Generic => (&[], include_str!("samples/generic.json")),
        Recipe::Gitea => (&[("x-gitea-event", "push")], include_str!("samples/gitea-push.json")),
        Recipe::Github => (&[("x-github-event", "push")], include_str!("samples/github-push.json")),
        Recipe::Gitlab => (&[("x-gitlab-event", "Push Hook")], include_str!("samples/gitlab-push.json")),
        Recipe::Alertmanager => (&[], include_str!("samples/alertmanager.json")),
        Recipe::UptimeKuma => (&[], include_str!("samples/uptime-kuma.json")),
    }
}

#[cfg(test)]
mod tests;

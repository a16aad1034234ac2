//! Fills in the templates of actions: what comes from an event stays one argument, one id, one text; it is never read as
//! anything else.

use super::{
    Action, ActionTemplate, Body, CALL_MS, HttpTemplate, HttpWish, Notice, NotifyTemplate, PRIORITIES,
    Priority, ResolvedTarget, TargetTemplate, Wait, WaitTemplate,
};
use crate::{rule_texts::Filler, target::literal_ids};
use model::{Labels, MinionId, broken};

/// Longest title, message and address once they are filled in.
const TITLE_CHARS: usize = 250;
const URL_BYTES: usize = 2_048;

/// Fills in the templates of a rule's actions; an error names the action and the variable.
pub(crate) fn fill(
    rule: &str,
    templates: &[ActionTemplate],
    filler: &mut Filler<'_>,
) -> Result<Vec<Action>, String> {
    let mut actions = Vec::with_capacity(templates.len());
    for (index, template) in templates.iter().enumerate() {
        let action = one(rule, template, filler);
        let named = |cause| format!("action {} ({}): {cause}", index + 1, template.name());
        actions.push(action.map_err(named)?);
    }
    Ok(actions)
}

fn one(rule: &str, template: &ActionTemplate, filler: &mut Filler<'_>) -> Result<Action, String> {
    Ok(match template {
        ActionTemplate::Apply { target, states, pillar, check, rolling } => Action::Apply {
            target: resolve(target, filler)?,
            states: all(states, filler)?,
            pillar: filler.fill_map(pillar)?,
            check: *check,
            rolling: rolling.clone(),
        },
        ActionTemplate::Run { target, command, timeout_ms, rolling } => Action::Run {
            target: resolve(target, filler)?,
            command: all(command, filler)?,
            timeout_ms: *timeout_ms,
            rolling: rolling.clone(),
        },
        ActionTemplate::Reboot { target, message, rolling } => Action::Reboot {
            target: resolve(target, filler)?,
            message: filler.fill(message)?,
            rolling: rolling.clone(),
        },
        ActionTemplate::Event { tag, data } => {
            Action::Event { tag: format!("rule/{rule}/{tag}"), data: filler.fill_map(data)? }
        }
        ActionTemplate::Label { target, set, remove } => {
            let set: Result<Labels, String> =
                set.iter().map(|(name, value)| Ok((name.clone(), filler.fill(value)?))).collect();
            Action::Label { target: resolve(target, filler)?, set: set?, remove: remove.clone() }
        }
        ActionTemplate::Key { act, id, policy } => {
            Action::Key { act: *act, minion: minion(id, filler)?, policy: policy.clone() }
        }
        ActionTemplate::Notify(it) => Action::Notify { to: it.to.clone(), notice: notice(it, filler)? },
        ActionTemplate::Http(it) => Action::Http(http(it, filler)?),
        ActionTemplate::Wait { what, timeout_ms } => {
            Action::Wait { what: wait(what, filler)?, timeout_ms: *timeout_ms }
        }
        ActionTemplate::Wake { target, macs, via } => Action::Wake {
            target: target.as_ref().map(|it| resolve(it, filler)).transpose()?,
            macs: macs.clone(),
            via: via.as_ref().map(|it| minion(it, filler)).transpose()?,
        },
        ActionTemplate::Power { target, set, by, wait_ms } => Action::Power {
            target: resolve(target, filler)?,
            set: *set,
            by: filler.fill(by)?,
            wait_ms: *wait_ms,
        },
    })
}

fn all(texts: &[String], filler: &mut Filler<'_>) -> Result<Vec<String>, String> {
    texts.iter().map(|it| filler.fill(it)).collect()
}

fn minion(template: &str, filler: &mut Filler<'_>) -> Result<MinionId, String> {
    filler.fill(template)?.trim().parse().map_err(|cause: model::InvalidId| cause.to_string())
}

fn resolve(target: &TargetTemplate, filler: &mut Filler<'_>) -> Result<ResolvedTarget, String> {
    match target {
        TargetTemplate::Ids(template) => {
            let text = filler.fill(template)?;
            if broken::leaves_out("event-target") {
                let target = crate::target::Target::parse(&text).map_err(|it| it.message)?;
                return Ok(ResolvedTarget::Expression(text, target));
            }
            literal_ids(&text).map(ResolvedTarget::Ids).map_err(|cause| format!("target: {cause}"))
        }
        TargetTemplate::Expression(text, target) => {
            Ok(ResolvedTarget::Expression(text.clone(), target.clone()))
        }
    }
}

fn notice(it: &NotifyTemplate, filler: &mut Filler<'_>) -> Result<Notice, String> {
    let title = it.title.as_ref().map(|it| filler.fill(it)).transpose()?.unwrap_or_default();
    let priority = match it.priority.as_ref().map(|it| filler.fill(it)).transpose()? {
        None => Priority::default(),
        Some(word) => Priority::parse(word.trim()).ok_or_else(|| {
            let words = PRIORITIES.map(|it| it.0).join(", ");
            format!("priority: `{}` is none of {words}", crate::say::shortened(&word))
        })?,
    };
    Ok(Notice {
        title: title.chars().map(|it| if it.is_control() { ' ' } else { it }).take(TITLE_CHARS).collect(),
        message: filler.fill(&it.message)?,
        priority,
        tags: all(&it.tags, filler)?,
        data: filler.fill_map(&it.data)?,
        resolve: it.resolve,
    })
}

/// What an event brings gets behind the host of an address only, and into no other header.
fn http(it: &HttpTemplate, filler: &mut Filler<'_>) -> Result<HttpWish, String> {
    let url = filler.fill(&it.url)?;
    let plain = url.bytes().all(|it| it.is_ascii_graphic());
    let good = url.len() <= URL_BYTES && plain && url.starts_with(fixed_part(&it.url)) && !has_dots(&url);
    if !good && !broken::leaves_out("url-from-events") {
        return Err(format!(
            "url: it has spaces, `..`, other letters than ASCII, or more than {URL_BYTES} bytes: use \
             {{{{urlencode …}}}} for what comes from an event"
        ));
    }
    let mut headers = Vec::with_capacity(it.headers.len());
    for (name, value) in &it.headers {
        let value = filler.fill(value)?;
        if value.chars().any(char::is_control) {
            return Err(format!("headers: `{name}` has control characters"));
        }
        headers.push((name.clone(), value));
    }
    let body = match &it.body {
        None => None,
        Some(Body::Text(text)) => Some(Body::Text(filler.fill(text)?)),
        Some(Body::Json(value)) => Some(Body::Json(filler.fill_value(value)?)),
    };
    Ok(HttpWish {
        to: it.to.clone(),
        url,
        method: it.method.clone(),
        headers,
        body,
        expect: it.expect.clone(),
        timeout_ms: it.timeout_ms.unwrap_or(CALL_MS),
        usual_timeout: it.timeout_ms.is_none(),
    })
}

/// What of an address no event can alter: all before the first tag.
pub(super) fn fixed_part(template: &str) -> &str {
    template.split("{{").next().unwrap_or_default()
}

fn has_dots(url: &str) -> bool {
    url.split(['/', '?']).any(|it| matches!(it, ".." | "."))
}

fn wait(what: &WaitTemplate, filler: &mut Filler<'_>) -> Result<Wait, String> {
    Ok(match what {
        WaitTemplate::Event(levels, when) => {
            let made = filler.fill(levels)?;
            let shape = |it: &str| (it.split('/').count(), it.matches(['+', '#']).count());
            let template = plain_shape(levels);
            if shape(&made) != shape(&template) || made.split('/').any(str::is_empty) {
                let shown = crate::say::shortened(&made);
                return Err(format!("wait_for: `{shown}` has other levels than its template"));
            }
            Wait::Event(made, when.clone())
        }
        WaitTemplate::Presence(id, up) => Wait::Presence(minion(id, filler)?, *up),
        WaitTemplate::Job => Wait::Job,
    })
}

/// A filter with a letter in place of each tag of a template.
pub(super) fn plain_shape(template: &str) -> String {
    let mut pieces = template.split("{{");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push('x');
        plain.push_str(piece.split_once("}}").map_or("", |it| it.1));
    }
    plain
}

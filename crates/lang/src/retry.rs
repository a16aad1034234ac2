//! `retry:`, what it may say and Salt's defaults.

use crate::{
    arguments::wrong,
    blocks::Argument,
    compare::boolean,
    say::{Say, error, warning},
    session::Session,
    yaml::{Node, Yaml},
};
use model::Global;

/// Salt's defaults of `retry: true`.
const ATTEMPTS: u32 = 2;
const INTERVAL_MS: u64 = 30_000;
/// Most attempts, and the longest pause between two.
const ATTEMPTS_MAX: u32 = 100;
const INTERVAL_MS_MAX: u64 = 3_600_000;

/// `true`, a number of attempts, or `attempts`, `interval`, `splay` and `until`.
pub(crate) fn read(session: &mut Session<'_>, argument: &Argument, global: &mut Global) {
    let mut settings: Vec<(&str, &Node)> = Vec::new();
    match &argument.node.value {
        Yaml::Scalar { text, .. } if boolean(text) == Some(false) => return,
        Yaml::Scalar { text, .. } if boolean(text) == Some(true) => {}
        Yaml::Scalar { .. } => settings.push(("attempts", &argument.node)),
        Yaml::Map(pairs) => settings.extend(pairs.iter().map(|(key, node)| (key.text.as_str(), node))),
        Yaml::List(items) => {
            for item in items {
                match &item.value {
                    Yaml::Map(pairs) => {
                        settings.extend(pairs.iter().map(|(key, node)| (key.text.as_str(), node)));
                    }
                    _ => return wrong(session, argument, item, "`attempts` and `interval`"),
                }
            }
        }
    }
    (global.attempts, global.interval_ms) = (ATTEMPTS, INTERVAL_MS);
    for (name, node) in settings {
        one(session, argument, global, name, node);
    }
}

fn one(session: &mut Session<'_>, argument: &Argument, global: &mut Global, name: &str, node: &Node) {
    let text = node.text().unwrap_or("");
    let pause = || milliseconds(text).filter(|it| *it <= INTERVAL_MS_MAX);
    match name {
        "attempts" => match text.parse::<u32>() {
            Ok(number) if (1..=ATTEMPTS_MAX).contains(&number) => global.attempts = number,
            _ => wrong(session, argument, node, "1 to 100 attempts"),
        },
        "interval" => match pause() {
            Some(ms) => global.interval_ms = ms,
            None => wrong(session, argument, node, "an interval of up to an hour, such as 30 or 5m"),
        },
        "splay" => match pause() {
            Some(ms) => global.splay_ms = ms,
            None => wrong(session, argument, node, "a splay of up to an hour, such as 10 or 1m"),
        },
        "until" => match boolean(text) {
            Some(wanted) => global.until_failed = !wanted,
            None => wrong(session, argument, node, "`until: true` or `until: false`"),
        },
        _ => {
            let message = format!("`retry` has no `{name}`");
            let complaint =
                if argument.file.salt { warning("W0106", message) } else { error("E0106", message) };
            let span = argument.file.rendered.span(node.at, "");
            let help = "it takes `attempts`, `interval`, `splay` and `until`";
            session.complaints.push(complaint.at(span).help(help));
        }
    }
}

/// `30`, `5m`.
fn milliseconds(text: &str) -> Option<u64> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

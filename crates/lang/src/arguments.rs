//! Arguments that every function may have: requisites, conditions, retry, order.

use crate::{
    blocks::Argument,
    compare::boolean,
    limits,
    say::{At, Say, error, shortened, warning},
    session::{Parsed, Session},
    yaml::{Node, Yaml},
};
use model::{Global, Requisite};
use std::sync::Arc;

/// A spelling of a requisite.
pub(crate) struct Spelling {
    pub(crate) name: &'static str,
    kind: Requisite,
    any: bool,
    inverted: bool,
}

const fn plain(name: &'static str, kind: Requisite) -> Spelling {
    Spelling { name, kind, any: false, inverted: false }
}
const fn any(name: &'static str, kind: Requisite) -> Spelling {
    Spelling { name, kind, any: true, inverted: false }
}
const fn inverted(name: &'static str, kind: Requisite) -> Spelling {
    Spelling { name, kind, any: false, inverted: true }
}

/// All of them.
pub(crate) const REQUISITES: [Spelling; 16] = [
    plain("require", Requisite::Require),
    plain("watch", Requisite::Watch),
    plain("onchanges", Requisite::Onchanges),
    plain("onfail", Requisite::Onfail),
    plain("prereq", Requisite::Prereq),
    plain("listen", Requisite::Listen),
    any("require_any", Requisite::Require),
    any("watch_any", Requisite::Watch),
    any("onchanges_any", Requisite::Onchanges),
    any("onfail_any", Requisite::Onfail),
    inverted("require_in", Requisite::Require),
    inverted("watch_in", Requisite::Watch),
    inverted("onchanges_in", Requisite::Onchanges),
    inverted("onfail_in", Requisite::Onfail),
    inverted("prereq_in", Requisite::Prereq),
    inverted("listen_in", Requisite::Listen),
];

/// All others.
pub(crate) const GLOBALS: [&str; 12] = [
    "unless",
    "onlyif",
    "creates",
    "check_cmd",
    "retry",
    "order",
    "failhard",
    "fire_event",
    "runas",
    "name",
    "names",
    "parallel",
];

/// Salt's that have no meaning here.
const IDLE: [&str; 4] = ["parallel", "reload_modules", "reload_grains", "reload_pillar"];
/// Salt's that are not understood yet.
const LATER: [&str; 3] = ["use", "use_in", "umask"];

/// A requisite as written.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) kind: Requisite,
    pub(crate) any: bool,
    /// The other one depends on this one.
    pub(crate) inverted: bool,
    /// Module, `sls` or `id`; none: any.
    pub(crate) state: Option<String>,
    pub(crate) text: String,
    pub(crate) at: At,
    pub(crate) file: Arc<Parsed>,
}

/// What the arguments for everything say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common {
    pub(crate) global: Global,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) order: Option<Order>,
}

/// Where a step wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Number(i64),
    First,
    Last,
}

/// Takes an argument if it is one that every function may have.
pub(crate) fn take(session: &mut Session<'_>, argument: &Argument, common: &mut Common) -> bool {
    let name = argument.key.text.as_str();
    if let Some(spelling) = REQUISITES.iter().find(|it| it.name == name) {
        requirements(session, argument, spelling, common);
        return true;
    }
    let node = &argument.node;
    let span = |at| argument.file.rendered.span(at, "");
    match name {
        "unless" => common.global.unless = commands(session, argument),
        "onlyif" => common.global.onlyif = commands(session, argument),
        "creates" => common.global.creates = commands(session, argument),
        "check_cmd" => common.global.check_cmd = commands(session, argument),
        "retry" => retry(session, argument, &mut common.global),
        "order" => common.order = order(session, argument),
        "failhard" => match node.text().and_then(boolean) {
            Some(value) => common.global.failhard = value,
            None => wrong(session, argument, node, "true or false"),
        },
        "runas" => match node.text() {
            Some(user) if !node.is_null() => common.global.runas = Some(user.to_owned()),
            _ => wrong(session, argument, node, "a user's name"),
        },
        "fire_event" => fire_event(session, argument, &mut common.global),
        _ if IDLE.contains(&name) => {
            let message = format!("`{name}` has no effect");
            let help = if name == "parallel" { "steps run one after another" } else { "remove it" };
            session.complaints.push(warning("W0102", message).at(span(argument.key.at)).help(help));
        }
        _ if LATER.contains(&name) => {
            let message = format!("`{name}` is known from Salt but not available yet");
            session.complaints.push(error("E0120", message).at(span(argument.key.at)));
        }
        _ => return false,
    }
    true
}

fn wrong(session: &mut Session<'_>, argument: &Argument, node: &Node, wanted: &str) {
    let message = format!("`{}` takes {wanted}, not {}", argument.key.text, found(node));
    session.complaints.push(error("E0107", message).at(argument.file.rendered.span(node.at, "")));
}

fn found(node: &Node) -> String {
    match node.text() {
        Some(text) if !node.is_null() => format!("`{}`", shortened(text)),
        _ => node.kind().to_owned(),
    }
}

/// One command or several.
fn commands(session: &mut Session<'_>, argument: &Argument) -> Vec<String> {
    let items = match &argument.node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&argument.node),
    };
    let mut commands = Vec::new();
    for item in items {
        match item.text().filter(|_| !item.is_null()) {
            Some(text) => commands.push(text.to_owned()),
            None => wrong(session, argument, item, "a command or a list of commands"),
        }
    }
    commands
}

/// Salt's defaults of `retry: true`.
const ATTEMPTS: u32 = 2;
const INTERVAL_MS: u64 = 30_000;
/// Most attempts, and the longest pause between two.
const ATTEMPTS_MAX: u32 = 100;
const INTERVAL_MS_MAX: u64 = 3_600_000;

fn retry(session: &mut Session<'_>, argument: &Argument, global: &mut Global) {
    let (mut attempts, mut interval_ms) = (ATTEMPTS, INTERVAL_MS);
    let mut settings: Vec<(&str, &Node)> = Vec::new();
    match &argument.node.value {
        Yaml::Scalar { text, .. } if boolean(text) == Some(true) => {}
        Yaml::Scalar { text, .. } if boolean(text) == Some(false) => return,
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
    for (name, node) in settings {
        let text = node.text().unwrap_or("");
        match name {
            "attempts" => match text.parse::<u32>() {
                Ok(number) if (1..=ATTEMPTS_MAX).contains(&number) => attempts = number,
                _ => return wrong(session, argument, node, "1 to 100 attempts"),
            },
            "interval" => match seconds_ms(text).filter(|it| *it <= INTERVAL_MS_MAX) {
                Some(ms) => interval_ms = ms,
                None => {
                    return wrong(session, argument, node, "an interval of up to an hour, such as 30 or 5m");
                }
            },
            _ => {
                let message = format!("`retry` has no `{name}` here");
                let help = "it takes `attempts` and `interval`";
                let span = argument.file.rendered.span(node.at, "");
                return session.complaints.push(error("E0106", message).at(span).help(help));
            }
        }
    }
    (global.attempts, global.interval_ms) = (attempts, interval_ms);
}

/// `30`, `1.5`, `5m`.
fn seconds_ms(text: &str) -> Option<u64> {
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

fn order(session: &mut Session<'_>, argument: &Argument) -> Option<Order> {
    match argument.node.text() {
        Some("first") => Some(Order::First),
        Some("last") => Some(Order::Last),
        text => {
            let number = text.and_then(|it| it.parse::<i32>().ok());
            if number.is_none() {
                wrong(session, argument, &argument.node, "a number, `first` or `last`");
            }
            number.map(|it| Order::Number(it.into()))
        }
    }
}

fn fire_event(session: &mut Session<'_>, argument: &Argument, global: &mut Global) {
    let good = |tag: &str| {
        let level =
            |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        tag.len() <= 128 && tag.split('/').all(level)
    };
    match argument.node.text() {
        Some(text) if boolean(text) == Some(true) => global.fire_event = Some("changed".to_owned()),
        Some(text) if boolean(text) == Some(false) => {}
        Some(text) if good(text) => global.fire_event = Some(text.to_owned()),
        _ => wrong(session, argument, &argument.node, "true, or a tag such as `web/updated`"),
    }
}

fn requirements(session: &mut Session<'_>, argument: &Argument, spelling: &Spelling, common: &mut Common) {
    let items = match &argument.node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&argument.node),
    };
    for item in items {
        if common.requirements.len() >= limits::STEPS {
            return wrong(session, argument, item, "fewer requisites than this");
        }
        let mut add = |state: Option<&str>, node: &Node| {
            let Some(text) = node.text().filter(|_| !node.is_null()) else { return false };
            common.requirements.push(Requirement {
                kind: spelling.kind,
                any: spelling.any,
                inverted: spelling.inverted,
                state: state.map(str::to_owned),
                text: text.to_owned(),
                at: node.at,
                file: argument.file.clone(),
            });
            true
        };
        let good = match &item.value {
            Yaml::Scalar { .. } => add(None, item),
            Yaml::Map(pairs) => pairs.iter().all(|(key, node)| {
                // `file.managed: x` is a common slip that Salt takes for a module's name.
                let state = key.text.split_once('.').map_or(key.text.as_str(), |it| it.0);
                add(Some(state).filter(|it| *it != "id"), node)
            }),
            Yaml::List(_) => false,
        };
        if !good {
            let message = format!("`{}` takes entries such as `- file: some-id`", spelling.name);
            session.complaints.push(error("E0116", message).at(argument.file.rendered.span(item.at, "")));
        }
    }
}

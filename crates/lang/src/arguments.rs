//! Arguments that every function may have: requisites, conditions, retry, order.

use crate::{
    blocks::Argument,
    compare::boolean,
    limits,
    say::{At, Say, did_you_mean, error, shortened, warning},
    session::{Parsed, Session},
    yaml::{Key, Node, Yaml},
};
use model::{Global, GuardCall, Question, Requisite};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A spelling of a requisite.
pub(crate) struct Spelling {
    pub(crate) name: &'static str,
    pub(crate) kind: Requisite,
    pub(crate) any: bool,
    /// The other one depends on this one.
    pub(crate) inverted: bool,
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

/// All of them, in the order in which Salt goes through them.
pub(crate) const REQUISITES: [Spelling; 18] = [
    plain("require", Requisite::Require),
    any("require_any", Requisite::Require),
    plain("watch", Requisite::Watch),
    any("watch_any", Requisite::Watch),
    plain("prereq", Requisite::Prereq),
    plain("onfail", Requisite::Onfail),
    any("onfail_any", Requisite::Onfail),
    plain("onfail_all", Requisite::OnfailAll),
    plain("onchanges", Requisite::Onchanges),
    any("onchanges_any", Requisite::Onchanges),
    plain("listen", Requisite::Listen),
    inverted("require_in", Requisite::Require),
    inverted("watch_in", Requisite::Watch),
    inverted("onchanges_in", Requisite::Onchanges),
    inverted("onfail_in", Requisite::Onfail),
    inverted("prereq_in", Requisite::Prereq),
    inverted("listen_in", Requisite::Listen),
    plain("onfail_stop", Requisite::Onfail),
];

/// All others.
pub(crate) const GLOBALS: [&str; 23] = [
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
    "use",
    "use_in",
    "umask",
    "aggregate",
    "reload_modules",
    "reload_grains",
    "reload_pillar",
    "no_log",
    "cmd_opts_exclude",
    "saltenv",
    "runas_password",
];

/// Salt's that have no meaning here.
const IDLE: [(&str, &str); 7] = [
    ("reload_modules", "remove it: modules need no reload here"),
    ("reload_grains", "remove it: grains are read again after each run"),
    ("reload_pillar", "remove it: the pillar of a run is fixed when it begins"),
    ("aggregate", "remove it: list the packages in one `pkgs:`"),
    ("umask", "give the `mode` that is wanted"),
    ("no_log", "remove it: what a secret pillar gave is masked everywhere"),
    ("saltenv", "say which environment in top.sls, or with `--env`"),
];

/// Whether every function may have an argument of this name.
pub(crate) fn is_known(name: &str) -> bool {
    is_requisite(name) || GLOBALS.contains(&name)
}

/// Whether this is a requisite, in any of its spellings.
pub(crate) fn is_requisite(name: &str) -> bool {
    REQUISITES.iter().any(|it| it.name == name)
}

/// Where a requisite comes when Salt goes through those of a step.
pub(crate) fn rank(kind: Requisite, any: bool) -> usize {
    REQUISITES.iter().position(|it| it.kind == kind && it.any == any).unwrap_or(0)
}

/// A requisite as written.
#[derive(Clone)]
pub(crate) struct Requirement {
    pub(crate) spelling: &'static Spelling,
    /// Module, `sls` or `id`; none: any.
    pub(crate) state: Option<String>,
    pub(crate) text: String,
    pub(crate) at: At,
    pub(crate) file: Arc<Parsed>,
}

/// Where a step wants to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Number(f64),
    First,
    Last,
    None,
}

/// Takes an argument if it is one that every function may have. Requisites and `order` were read before.
pub(crate) fn take(session: &mut Session<'_>, argument: &Argument, global: &mut Global) -> bool {
    let name = argument.key.text.as_str();
    let node = &argument.node;
    match name {
        "name" | "names" | "order" | "use" | "use_in" => {}
        _ if is_requisite(name) => {}
        "unless" => (global.unless, global.unless_calls) = guards(session, argument),
        "onlyif" => (global.onlyif, global.onlyif_calls) = guards(session, argument),
        "creates" => global.creates = texts(session, argument, "a path or a list of paths"),
        "check_cmd" => global.check_cmd = texts(session, argument, "a command or a list of commands"),
        "retry" => crate::retry::read(session, argument, global),
        "failhard" => global.failhard = flag(session, argument).unwrap_or(false),
        "parallel" => global.parallel = flag(session, argument).unwrap_or(false),
        "runas" => match node.text() {
            Some(user) if !node.is_null() => global.runas = Some(user.to_owned()),
            _ if node.is_null() && argument.file.salt => {}
            _ => wrong(session, argument, node, "a user's name"),
        },
        "fire_event" => fire_event(session, argument, global),
        "cmd_opts_exclude" => {
            let excluded = texts(session, argument, "a list of names");
            if excluded.iter().any(|it| it == "runas") {
                global.runas = None;
            }
            if excluded.iter().any(|it| it == "cwd") {
                global.cwd = None;
            }
            if excluded.iter().any(|it| it == "env") {
                global.env.clear();
            }
        }
        "runas_password" => {
            let message = "`runas_password` is for Windows";
            let span = argument.file.rendered.span(argument.key.at, "");
            session.complaints.push(warning("W0102", message).at(span).help("remove it"));
        }
        _ => match IDLE.iter().find(|it| it.0 == name) {
            Some((_, help)) => {
                let message = format!("`{name}` has no effect");
                let span = argument.file.rendered.span(argument.key.at, "");
                session.complaints.push(warning("W0102", message).at(span).help(*help));
            }
            None => return false,
        },
    }
    true
}

fn flag(session: &mut Session<'_>, argument: &Argument) -> Option<bool> {
    let found = argument.node.text().and_then(boolean);
    if found.is_none() {
        wrong(session, argument, &argument.node, "true or false");
    }
    found
}

/// A complaint about a value: an error, or a warning in a tree of Salt, where the argument is left out.
pub(crate) fn wrong(session: &mut Session<'_>, argument: &Argument, node: &Node, wanted: &str) {
    let message = format!("`{}` takes {wanted}, not {}", argument.key.text, found(node));
    let complaint = if argument.file.salt { warning("W0107", message) } else { error("E0107", message) };
    session.complaints.push(complaint.at(argument.file.rendered.span(node.at, "")));
}

fn found(node: &Node) -> String {
    match node.text() {
        Some(text) if !node.is_null() => format!("`{}`", shortened(text)),
        _ => node.kind().to_owned(),
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Yaml::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// One text or several.
fn texts(session: &mut Session<'_>, argument: &Argument, wanted: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for item in items(&argument.node) {
        match item.text().filter(|_| !item.is_null()) {
            Some(text) => texts.push(text.to_owned()),
            None => wrong(session, argument, item, wanted),
        }
    }
    texts
}

/// Commands, and calls of functions: `- fun: file.file_exists`, with its arguments beside it.
fn guards(session: &mut Session<'_>, argument: &Argument) -> (Vec<String>, Vec<GuardCall>) {
    let (mut commands, mut calls) = (Vec::new(), Vec::new());
    for item in items(&argument.node) {
        match &item.value {
            // Salt takes `true` for the command of that name, which is what it means as well.
            Yaml::Scalar { text, .. } if !item.is_null() => commands.push(text.clone()),
            Yaml::Map(pairs) if pairs.iter().any(|it| it.0.text == "fun") => {
                calls.extend(guard_call(session, argument, pairs));
            }
            _ => wrong(session, argument, item, "a command, `fun: …`, or a list of these"),
        }
    }
    (commands, calls)
}

fn guard_call(session: &mut Session<'_>, argument: &Argument, pairs: &[(Key, Node)]) -> Option<GuardCall> {
    let mut question = Question { fun: String::new(), args: Vec::new(), kwargs: Map::new() };
    let mut get_return = None;
    for (key, node) in pairs {
        match key.text.as_str() {
            "fun" => node.text().unwrap_or_default().clone_into(&mut question.fun),
            "args" => question.args = items(node).iter().map(|it| argument.file.value(it)).collect(),
            "get_return" => get_return = node.text().map(str::to_owned),
            name => {
                question.kwargs.insert(name.to_owned(), argument.file.value(node));
            }
        }
    }
    let Some(why) = resources::refuses(&question) else { return Some(GuardCall { question, get_return }) };
    let at = pairs.iter().find(|it| it.0.text == "fun").map_or(argument.node.at, |it| it.1.at);
    let known: Vec<&str> = resources::askable().collect();
    let near = did_you_mean(&question.fun, known.iter().copied().filter(|it| *it != question.fun));
    session.complaints.push(
        error("E0122", why)
            .at(argument.file.rendered.span(at, ""))
            .note(format!("these can be asked: {}", known.join(", ")))
            .help("write a command instead: `- test -e /etc/x`")
            .maybe_help(near),
    );
    None
}

/// Where a step wants to be. In Salt, what is neither a number nor one of the two words comes with those that say
/// nothing, behind all numbers.
pub(crate) fn order(session: &mut Session<'_>, argument: &Argument) -> Order {
    match argument.node.text() {
        Some("first") => return Order::First,
        Some("last") => return Order::Last,
        _ => {}
    }
    let value = match argument.file.value(&argument.node) {
        Value::String(text) if !argument.file.salt => text.parse::<f64>().ok(),
        Value::Bool(flag) if argument.file.salt => Some(f64::from(u8::from(flag))),
        value => value.as_f64(),
    };
    if let Some(number) = value.filter(|it| it.abs() < 1e12) {
        return Order::Number(number);
    }
    wrong(session, argument, &argument.node, "a number, `first` or `last`");
    Order::None
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

/// Reads an argument if it is a requisite that stands at the end where it belongs.
pub(crate) fn requirements(session: &mut Session<'_>, argument: &Argument, found: &mut Vec<Requirement>) {
    let Some(spelling) = REQUISITES.iter().find(|it| it.name == argument.key.text) else { return };
    if spelling.inverted && spelling.kind != Requisite::Listen {
        return;
    }
    for item in items(&argument.node) {
        if found.len() >= limits::STEPS {
            return wrong(session, argument, item, "fewer requisites than this");
        }
        let mut add = |state: Option<&str>, node: &Node| {
            let Some(text) = node.text().filter(|_| !node.is_null()) else { return false };
            found.push(Requirement {
                spelling,
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

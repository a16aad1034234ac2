//! Parameters of a step, checked and normalised against the function's schema.

use crate::{
    arguments::{GLOBALS, REQUISITES, take},
    blocks::Argument,
    compare::boolean,
    content, extensions,
    low::Low,
    pillar_checks,
    say::{Say, did_you_mean, error, warning},
    scan::UNKNOWN,
    session::Session,
    yaml::{Node, Yaml},
};
use model::{Global, Place, Recipe, Step};
use resources::{Function, Param, ParamType, ParamsError};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Steps of those that could be made, by position. Contents go to the recipe.
pub(crate) fn steps(session: &mut Session<'_>, lows: &[Low], recipe: &mut Recipe) -> Vec<Option<Step>> {
    let mut steps = Vec::with_capacity(lows.len());
    for low in lows {
        let kind = low.kind();
        let function = resources::function(&kind);
        if function.is_none() {
            unknown_function(session, low, &kind);
        }
        steps.push(function.map(|it| step(session, low, it, &kind, recipe)));
    }
    steps
}

fn unknown_function(session: &mut Session<'_>, low: &Low, kind: &str) {
    let known: Vec<String> = resources::modules()
        .iter()
        .flat_map(|module| module.functions.iter().map(|it| format!("{}.{}", module.name, it.name)))
        .collect();
    let mut complaint = error("E0102", format!("unknown function `{kind}`"))
        .at(low.file.rendered.span(low.at, "no such function"))
        .maybe_help(did_you_mean(kind, known.iter().map(String::as_str)))
        .maybe_help(extensions::of_state(session.compiler.tree(), &low.state));
    complaint.notes.extend(low.file.rendered.note(low.at));
    session.complaints.push(complaint);
}

fn step(
    session: &mut Session<'_>,
    low: &Low,
    function: &'static Function,
    kind: &str,
    recipe: &mut Recipe,
) -> Step {
    let before = session.complaints.errors();
    let mut global = Global { attempts: 1, ..Global::default() };
    let mut params = Map::new();
    let mut own: HashMap<String, Argument> = HashMap::new();
    params.insert("name".to_owned(), Value::from(low.name.as_str()));
    if let Some(argument) = low.argument("name") {
        own.insert("name".to_owned(), argument.clone());
    }
    let mut exclude = None;
    for argument in low.arguments.values().filter_map(|it| it.last()).filter(|it| it.key.text != "name") {
        let key = argument.key.text.as_str();
        let Some(param) = function.params.iter().find(|it| it.name == key) else {
            if key == "cmd_opts_exclude" {
                exclude = Some(argument);
            } else if !take(session, argument, &mut global) {
                match function.params.iter().find(|it| it.name == "*") {
                    // The function takes whatever is left.
                    Some(rest) => {
                        let value = value(session, argument, rest.kind, kind).unwrap_or_else(|| json!([]));
                        params.insert(key.to_owned(), value);
                        own.insert(key.to_owned(), argument.clone());
                    }
                    None => unknown_param(session, argument, function, kind),
                }
            }
            continue;
        };
        if let Some(value) = value(session, argument, param.kind, kind) {
            inherit(&mut global, key, &value);
            params.insert(key.to_owned(), value);
        }
        own.insert(key.to_owned(), argument.clone());
    }
    if let Some(argument) = exclude {
        take(session, argument, &mut global);
    }
    missing(session, low, function, kind, &own);
    let uncertain = params.values().any(is_unknown);
    if session.complaints.errors() == before {
        content::resolve(session, low, function, &own, &mut params, recipe);
    }
    if kind == "test.check_pillar" {
        pillar_checks::resolve(session, &mut params);
    }
    if session.complaints.errors() == before && !uncertain {
        instantiate(session, low, kind, &own, &params);
    }
    let name = params.get("name").and_then(crate::compare::text_of).unwrap_or_default();
    let line = low.file.rendered.source_line(low.at.line);
    Step {
        id: low.id.clone(),
        sls: low.sls.clone(),
        state: low.state.clone(),
        fun: low.fun.clone(),
        name,
        params,
        links: Vec::new(),
        global,
        at: Some(Place { file: low.file.rendered.source.path.clone(), line }),
    }
}

/// The commands of `unless` and its like run as the step itself does.
fn inherit(global: &mut Global, key: &str, value: &Value) {
    match (key, value) {
        ("runas", Value::String(user)) => global.runas = Some(user.clone()),
        ("cwd", Value::String(folder)) => global.cwd = Some(folder.clone()),
        ("env", Value::Object(env)) => {
            let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            global.env = env.iter().filter_map(text).collect();
        }
        _ => {}
    }
}

/// States in which a step without one of its parameters would do more than was asked for: a rule lets more through.
const NO_PARAM_TO_LOSE: [&str; 2] = ["iptables", "nftables"];

fn can_do_without(argument: &Argument, kind: &str) -> bool {
    let state = kind.split('.').next().unwrap_or_default();
    argument.file.salt && !NO_PARAM_TO_LOSE.contains(&state)
}

fn unknown_param(session: &mut Session<'_>, argument: &Argument, function: &Function, kind: &str) {
    let key = &argument.key;
    let known = function.params.iter().map(|it| it.name);
    let known = known.chain(REQUISITES.iter().map(|it| it.name)).chain(GLOBALS);
    let message = format!("`{kind}` has no parameter `{}`", key.text);
    // In a tree of Salt it may be one that Salt has: the step does without, where that is harmless.
    let is_harmless = can_do_without(argument, kind);
    let complaint = if is_harmless { warning("W0106", message) } else { error("E0106", message) };
    let mut complaint = complaint
        .at(argument.file.rendered.span(key.at, "no such parameter"))
        .help(format!("`labctl state doc {kind}` lists them"))
        .maybe_help(did_you_mean(&key.text, known));
    complaint.notes.extend(argument.file.rendered.note(key.at));
    session.complaints.push(complaint);
}

fn missing(
    session: &mut Session<'_>,
    low: &Low,
    function: &Function,
    kind: &str,
    own: &HashMap<String, Argument>,
) {
    for param in function.params.iter().filter(|it| it.required && it.name != "name") {
        if own.get(param.name).is_none_or(|it| it.node.is_null()) {
            let complaint = error("E0108", format!("`{kind}` needs `{}`", param.name))
                .at(low.file.rendered.span(low.at, ""))
                .help(format!("{}: {}", param.name, param.doc.text()));
            session.complaints.push(complaint);
        }
    }
}

/// Whether something in a value is only known of a minion.
pub(crate) fn is_unknown(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(UNKNOWN),
        Value::Array(list) => list.iter().any(is_unknown),
        Value::Object(map) => map.iter().any(|(key, it)| key.contains(UNKNOWN) || is_unknown(it)),
        _ => false,
    }
}

/// A parameter's value in the form that its type has in recipes; none if it is absent or wrong.
fn value(session: &mut Session<'_>, argument: &Argument, kind: ParamType, function: &str) -> Option<Value> {
    let node = &argument.node;
    let is_harmless = can_do_without(argument, function);
    if node.is_null() && kind != ParamType::Text && (is_harmless || !argument.file.salt) {
        return None;
    }
    let scalar = |node: &Node| node.text().map(|it| Value::String(it.to_owned()));
    let is_unknown = node.text().is_some_and(|it| it.contains(UNKNOWN));
    let found = match kind {
        _ if is_unknown => scalar(node),
        ParamType::Text | ParamType::Path | ParamType::Duration => scalar(node),
        ParamType::Bool => match (node.text().and_then(boolean), node.text()) {
            // What Python takes for true and for false.
            (None, Some(text)) if argument.file.salt => Some(Value::Bool(!matches!(text, "" | "0" | "None")))
                .filter(|_| matches!(text, "" | "0" | "1" | "None")),
            (found, _) => found.map(Value::Bool),
        },
        ParamType::Integer => node.text().and_then(|it| it.trim().parse::<i64>().ok()).map(Value::from),
        ParamType::Mode => node.text().map(|it| json!(mode(it))),
        ParamType::TextList | ParamType::Source => match &node.value {
            Yaml::List(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>().map(Value::Array),
            _ => scalar(node).map(|it| json!([it])),
        },
        ParamType::TextMap => text_map(node).map(Value::Object),
        ParamType::Any | ParamType::Places => Some(argument.file.value(node)),
    };
    if found.is_none() {
        let wanted = match kind {
            ParamType::Bool => "true or false",
            ParamType::Integer => "a whole number",
            ParamType::TextList | ParamType::Source => "text or a list of text",
            ParamType::TextMap => "a mapping of text to text",
            ParamType::Mode => "a mode such as 0644",
            _ => "text",
        };
        let text = node
            .text()
            .map_or_else(|| node.kind().to_owned(), |it| format!("`{}`", crate::say::shortened(it)));
        let message = format!("`{}` must be {wanted}, not {text}", argument.key.text);
        let complaint = if is_harmless { warning("W0107", message) } else { error("E0107", message) };
        let mut complaint = complaint.at(argument.file.rendered.span(node.at, format!("expected {wanted}")));
        complaint.notes.extend(argument.file.rendered.note(node.at));
        session.complaints.push(complaint);
    }
    found
}

/// Octal digits as four or more; what is none stays for the function to refuse.
fn mode(text: &str) -> String {
    let digits = text.trim().trim_start_matches("0o");
    let octal =
        !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|it| (b'0'..=b'7').contains(&it));
    if octal { format!("{:0>4}", digits.trim_start_matches('0')) } else { text.to_owned() }
}

fn text_map(node: &Node) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    let mut add = |node: &Node| {
        let Yaml::Map(pairs) = &node.value else { return None };
        for (key, node) in pairs {
            let text = if node.is_null() { "" } else { node.text()? };
            map.insert(key.text.clone(), Value::String(text.to_owned()));
        }
        Some(())
    };
    match &node.value {
        Yaml::List(items) => items.iter().try_for_each(&mut add)?,
        _ => add(node)?,
    }
    Some(map)
}

/// The function's own rules.
fn instantiate(
    session: &mut Session<'_>,
    low: &Low,
    kind: &str,
    own: &HashMap<String, Argument>,
    params: &Map<String, Value>,
) {
    let result = resources::instantiate(kind, params)
        .and_then(|it| it.validate().map_err(|message| ParamsError::Invalid { param: None, message }));
    let Err(cause) = result else { return };
    let (code, param) = match &cause {
        ParamsError::UnknownKind(_) => ("E0102", None),
        ParamsError::UnknownParam { param, .. } => ("E0106", Some(param)),
        ParamsError::Missing { param, .. } => ("E0108", Some(param)),
        ParamsError::WrongType { param, .. } => ("E0107", Some(param)),
        ParamsError::Invalid { param, .. } => ("E0109", param.as_ref()),
    };
    let span = match param.and_then(|it| own.get(it)) {
        Some(argument) => argument.file.rendered.span(argument.node.at, ""),
        None => low.file.rendered.span(low.at, ""),
    };
    session.complaints.push(error(code, cause.to_string()).at(span));
}

/// The parameter of a function that names a file in the tree.
pub(crate) fn source_param(function: &Function) -> Option<&'static Param> {
    function.params.iter().find(|it| it.kind == ParamType::Source)
}

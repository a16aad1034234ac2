//! Turns blocks into steps: one for each name, with parameters checked and normalised against the function's schema.

use crate::{
    arguments::{Common, GLOBALS, REQUISITES, take},
    blocks::{Argument, Block},
    compare::boolean,
    content, limits,
    say::{At, Say, did_you_mean, error},
    scalars,
    scan::UNKNOWN,
    session::{Parsed, Session},
    yaml::{Node, Yaml},
};
use model::{Place, Recipe, Step};
use resources::{Function, Param, ParamType, ParamsError};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::Arc};

/// A step that is not in its place yet.
pub(crate) struct Draft {
    pub(crate) step: Step,
    pub(crate) common: Common,
    pub(crate) file: Arc<Parsed>,
    pub(crate) at: At,
}

/// All steps, in order of definition. Contents go to the recipe.
pub(crate) fn drafts(session: &mut Session<'_>, blocks: Vec<Block>, recipe: &mut Recipe) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for block in blocks {
        let kind = format!("{}.{}", block.state, block.fun);
        let Some(function) = resources::function(&kind) else {
            unknown_function(session, &block, &kind);
            continue;
        };
        for (name, arguments) in by_name(session, &block) {
            drafts.push(draft(session, &block, function, name.as_deref(), arguments, recipe));
            if drafts.len() > limits::STEPS {
                let message = format!("more than {} steps for one minion", limits::STEPS);
                session.complaints.push(error("E0104", message).at(block.file.rendered.span(block.at, "")));
                return drafts;
            }
        }
    }
    drafts
}

fn unknown_function(session: &mut Session<'_>, block: &Block, kind: &str) {
    let known: Vec<String> = resources::modules()
        .iter()
        .flat_map(|module| module.functions.iter().map(|it| format!("{}.{}", module.name, it.name)))
        .collect();
    let mut complaint = error("E0102", format!("unknown function `{kind}`"))
        .at(block.file.rendered.span(block.at, "no such function"))
        .maybe_help(did_you_mean(kind, known.iter().map(String::as_str)));
    complaint.notes.extend(block.file.rendered.note(block.at));
    session.complaints.push(complaint);
}

/// `names:` makes one step for each, with arguments of its own if it has any.
fn by_name(session: &mut Session<'_>, block: &Block) -> Vec<(Option<String>, Vec<Argument>)> {
    let (names, arguments): (Vec<_>, Vec<_>) =
        block.arguments.iter().cloned().partition(|it| it.key.text == "names");
    let Some(names) = names.into_iter().next() else { return vec![(None, arguments)] };
    let items = match names.node.value {
        Yaml::List(items) => items,
        _ => vec![names.node],
    };
    let mut found = Vec::new();
    for item in items {
        match &item.value {
            Yaml::Scalar { text, .. } if !item.is_null() => {
                found.push((Some(text.clone()), arguments.clone()));
            }
            Yaml::Map(pairs) if pairs.len() == 1 => {
                let (key, node) = &pairs[0];
                let mut plain = Vec::new();
                let own = crate::blocks::arguments(session, &names.file, node, &mut plain);
                let mut all = arguments.clone();
                all.retain(|it| !own.iter().any(|own| own.key.text == it.key.text));
                all.extend(own);
                found.push((Some(key.text.clone()), all));
            }
            _ => session.complaints.push(
                error("E0107", format!("`names` takes a list of names, not {}", item.kind()))
                    .at(names.file.rendered.span(item.at, "")),
            ),
        }
    }
    found
}

fn draft(
    session: &mut Session<'_>,
    block: &Block,
    function: &'static Function,
    name: Option<&str>,
    arguments: Vec<Argument>,
    recipe: &mut Recipe,
) -> Draft {
    let kind = format!("{}.{}", block.state, block.fun);
    let before = session.complaints.errors();
    let mut common = Common::default();
    let mut params = Map::new();
    let mut own: HashMap<String, Argument> = HashMap::new();
    params.insert("name".to_owned(), Value::from(name.unwrap_or(&block.id)));
    for argument in arguments {
        let key = argument.key.text.clone();
        let param = function.params.iter().find(|it| it.name == key);
        if key == "name" && name.is_some() {
            continue;
        }
        if param.is_none() && key != "name" {
            if !take(session, &argument, &mut common) {
                unknown_param(session, &argument, function, &kind);
            }
            continue;
        }
        if key == "runas" {
            common.global.runas = argument.node.text().map(str::to_owned);
        }
        let kind = param.map_or(ParamType::Text, |it| it.kind);
        if let Some(value) = value(session, &argument, kind) {
            params.insert(key.clone(), value);
        }
        own.insert(key, argument);
    }
    common.global.attempts = common.global.attempts.max(1);
    missing(session, block, function, &kind, &own);
    let uncertain = params.values().any(is_unknown);
    if session.complaints.errors() == before {
        content::resolve(session, block, function, &own, &mut params, recipe);
    }
    if session.complaints.errors() == before && !uncertain {
        instantiate(session, block, &kind, &own, &params);
    }
    let name = params.get("name").and_then(crate::compare::text_of).unwrap_or_default();
    let line = block.file.rendered.source_line(block.at.line);
    let step = Step {
        id: block.id.clone(),
        sls: block.sls.clone(),
        state: block.state.clone(),
        fun: block.fun.clone(),
        name,
        params,
        links: Vec::new(),
        global: common.global.clone(),
        at: Some(Place { file: block.file.rendered.source.path.clone(), line }),
    };
    Draft { step, common, file: block.file.clone(), at: block.at }
}

fn unknown_param(session: &mut Session<'_>, argument: &Argument, function: &Function, kind: &str) {
    let key = &argument.key;
    let known = function.params.iter().map(|it| it.name);
    let known = known.chain(REQUISITES.iter().map(|it| it.name)).chain(GLOBALS);
    let mut complaint = error("E0106", format!("`{kind}` has no parameter `{}`", key.text))
        .at(argument.file.rendered.span(key.at, "no such parameter"))
        .help(format!("`labctl state doc {kind}` lists them"))
        .maybe_help(did_you_mean(&key.text, known));
    complaint.notes.extend(argument.file.rendered.note(key.at));
    session.complaints.push(complaint);
}

fn missing(
    session: &mut Session<'_>,
    block: &Block,
    function: &Function,
    kind: &str,
    own: &HashMap<String, Argument>,
) {
    for param in function.params.iter().filter(|it| it.required && it.name != "name") {
        if own.get(param.name).is_none_or(|it| it.node.is_null()) {
            let complaint = error("E0108", format!("`{kind}` needs `{}`", param.name))
                .at(block.file.rendered.span(block.at, ""))
                .help(format!("{}: {}", param.name, param.doc));
            session.complaints.push(complaint);
        }
    }
}

fn is_unknown(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(UNKNOWN),
        Value::Array(list) => list.iter().any(is_unknown),
        Value::Object(map) => map.iter().any(|(key, it)| key.contains(UNKNOWN) || is_unknown(it)),
        _ => false,
    }
}

/// A parameter's value in the form that its type has in recipes; none if it is absent or wrong.
fn value(session: &mut Session<'_>, argument: &Argument, kind: ParamType) -> Option<Value> {
    let node = &argument.node;
    if node.is_null() && kind != ParamType::Text {
        return None;
    }
    let scalar = |node: &Node| node.text().map(|it| Value::String(it.to_owned()));
    let is_unknown = node.text().is_some_and(|it| it.contains(UNKNOWN));
    let found = match kind {
        _ if is_unknown => scalar(node),
        ParamType::Text | ParamType::Path | ParamType::Duration => scalar(node),
        ParamType::Bool => node.text().and_then(boolean).map(Value::Bool),
        ParamType::Integer => node.text().and_then(|it| it.trim().parse::<i64>().ok()).map(Value::from),
        ParamType::Mode => node.text().map(|it| json!(mode(it))),
        ParamType::TextList | ParamType::Source => match &node.value {
            Yaml::List(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>().map(Value::Array),
            _ => scalar(node).map(|it| json!([it])),
        },
        ParamType::TextMap => text_map(node).map(Value::Object),
        ParamType::Any => Some(scalars::value(node)),
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
        let mut complaint =
            error("E0107", message).at(argument.file.rendered.span(node.at, format!("expected {wanted}")));
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
    block: &Block,
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
        None => block.file.rendered.span(block.at, ""),
    };
    session.complaints.push(error(code, cause.to_string()).at(span));
}

/// The parameter of a function that names a file in the tree.
pub(crate) fn source_param(function: &Function) -> Option<&'static Param> {
    function.params.iter().find(|it| it.kind == ParamType::Source)
}

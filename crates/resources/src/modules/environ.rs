//! `environ`: variables for the commands of a run.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
};
use model::Plan;
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "environ",
    doc: Doc::new("Variables for the commands of a run."),
    functions: &[Function {
        name: "setenv",
        doc: Doc::new(
            "Commands of the steps that follow in the same run have this variable in their environment. Nothing on the machine is \
              altered; to keep a variable, write it to a file such as /etc/environment.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "HTTPS_PROXY:\n  environ.setenv:\n    - value: http://proxy.lan:3128\n",
            "several:\n  environ.setenv:\n    - value:\n        LANG: C\n        DEBIAN_FRONTEND: noninteractive\n        OLD: false\n    - false_unsets: true\n",
        ]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "The variable, or anything if `value` is a mapping."),
    Param::any("value", "", "Its value, or a mapping of several; false means empty.").required(),
    Param::flag("false_unsets", "false", "False takes away what an earlier step has set."),
    Param::flag("clear_all", "false", "Takes away everything that earlier steps have set."),
    Param::flag("update_minion", "false", "Accepted from Salt trees and without effect."),
    Param::any("permanent", "false", "Accepted from Salt trees and without effect: it is for other systems."),
];

#[derive(Debug)]
struct Setenv {
    variables: Vec<(String, Option<String>)>,
    clear: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("environ.setenv", PARAMS, params)?;
    let unsets = args.bool("false_unsets", false);
    let text = |value: &Value| match value {
        Value::Bool(false) if unsets => Ok(None),
        Value::Bool(false) | Value::Null => Ok(Some(String::new())),
        Value::String(text) if unsets && text.eq_ignore_ascii_case("false") => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(_) | Value::Bool(true) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(invalid("value", "`value` must be text, or a mapping of text"))
        }
    };
    let mut variables = Vec::new();
    match params.get("value") {
        Some(Value::Object(map)) => {
            for (name, value) in map {
                variables.push((name.clone(), text(value)?));
            }
        }
        Some(Value::Array(rows)) if rows.iter().all(Value::is_object) => {
            for (name, value) in rows.iter().filter_map(Value::as_object).flatten() {
                variables.push((name.clone(), text(value)?));
            }
        }
        value => variables.push((args.name(), text(value.unwrap_or(&Value::Null))?)),
    }
    let bad = |it: &(String, Option<String>)| {
        it.0.is_empty() || it.0.contains(['=', '\0']) || it.1.as_ref().is_some_and(|it| it.contains('\0'))
    };
    match variables.iter().find(|it| bad(it)) {
        Some((name, _)) => Err(invalid("name", format!("`{name}` cannot be the name of a variable"))),
        None => Ok(Box::new(Setenv { variables, clear: args.bool("clear_all", false) })),
    }
}

impl Resource for Setenv {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        Ok(Plan::default())
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Ok(Applied::default())
    }
    fn remark(&self) -> String {
        let names: Vec<&str> = self.variables.iter().map(|it| it.0.as_str()).collect();
        format!("for the commands of the steps that follow: {}", names.join(", "))
    }
    fn environment(&self) -> Option<(Vec<(String, Option<String>)>, bool)> {
        Some((self.variables.clone(), self.clear))
    }
}

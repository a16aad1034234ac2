//! `event`: events for the master's rules.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
};
use model::{Change, Plan};
use serde_json::{Map, Value, json};

/// Longest tag.
const TAG_BYTES_MAX: usize = 128;

pub(crate) const MODULE: Module = Module {
    name: "event",
    doc: Doc::new("Events for the master's rules."),
    functions: &[
        Function {
            name: "send",
            doc: Doc::new(
                "An event is sent, each time: `minion/<id>/event/<name>`, with the data. Requisites such as `onchanges` say when. \
                  It leaves with the report of the run; a dry run sends none.",
            ),
            params: PARAMS,
            examples: Examples::new(&[
                "web/deployed:\n  event.send:\n    - data:\n        version: '1.4'\n    - onchanges:\n      - test: new\nnew:\n  \
                 test.succeed_with_changes: []\n",
            ]),
            parse: |params| parse("event.send", params, false),
        },
        Function {
            name: "wait",
            doc: Doc::new("An event is sent only when something that it watches has changed."),
            params: PARAMS,
            examples: Examples::new(&[
                "web/changed:\n  event.wait:\n    - watch:\n      - test: new\nnew:\n  test.succeed_with_changes: []\n",
            ]),
            parse: |params| parse("event.wait", params, true),
        },
    ],
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "The tag, such as `web/deployed`."),
    Param::any("data", "none", "What the event says: a mapping."),
    Param::any("preload", "none", "More of it; `data` has precedence."),
    Param::flag(
        "show_changed",
        "true",
        "Accepted from Salt trees and without effect: the report says that it was sent.",
    ),
    Param::text("sfun", "", "Accepted from Salt trees and without effect."),
];

#[derive(Debug)]
struct Event {
    tag: String,
    data: Value,
    waits: bool,
}

/// A tag that can be a part of a topic; slashes at its ends, as Salt's tags have them, are left out.
pub(super) fn good_tag(param: &str, tag: &str) -> Result<String, ParamsError> {
    let tag = tag.trim_matches('/');
    let level =
        |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if tag.len() > TAG_BYTES_MAX || !tag.split('/').all(level) {
        let text =
            format!("`{tag}` is no tag: words of letters, digits, `-`, `_`, `.`, with `/` between them");
        return Err(invalid(param, text));
    }
    Ok(tag.to_owned())
}

fn parse(kind: &str, params: &Map<String, Value>, waits: bool) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    let mut data = Map::new();
    for name in ["preload", "data"] {
        match params.get(name) {
            None | Some(Value::Null) => (),
            Some(Value::Object(more)) => data.extend(more.clone()),
            Some(Value::Array(rows)) if rows.iter().all(Value::is_object) => {
                data.extend(rows.iter().filter_map(Value::as_object).flat_map(Clone::clone));
            }
            Some(other) => drop(data.insert("data".to_owned(), other.clone())),
        }
    }
    let data = if data.is_empty() { Value::Null } else { Value::Object(data) };
    Ok(Box::new(Event { tag: good_tag("name", &args.name())?, data, waits }))
}

impl Resource for Event {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if !self.waits {
            plan.push(Change {
                what: "event".to_owned(),
                from: None,
                to: Some(self.tag.clone()),
                diff: None,
            });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Ok(Applied::default())
    }
    fn refresh(&self, _: &mut dyn Host) -> Result<Option<Applied>, Error> {
        Ok(Some(Applied::default()))
    }
    fn refreshes(&self) -> Option<&'static str> {
        Some("send")
    }
    fn converges(&self) -> bool {
        self.waits
    }
    fn events(&self) -> Vec<(String, Value)> {
        vec![(self.tag.clone(), json!(self.data))]
    }
}

//! `grains`: grains that states set, kept in the minion's grains.toml.

mod block;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    text_file::{compare_text, read_text, write_text},
};
use block::Block;
use model::Plan;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Where the minion reads fixed grains from.
const FILE: &str = "/etc/labctl/grains.toml";
/// Levels of one name.
const LEVELS_MAX: usize = 6;

pub(crate) const MODULE: Module = Module {
    name: "grains",
    doc: Doc::new(
        "Grains that states set. They are kept in /etc/labctl/grains.toml, in a part of their own at its beginning; what you \
          write there yourself stays. Compiles that begin after the minion has told its grains anew see them.",
    ),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A grain has this value."),
            params: PRESENT,
            examples: Examples::new(&[
                "role:\n  grains.present:\n    - value: web\n",
                "site:rack:\n  grains.present:\n    - value: 7\n    - force: true\n",
            ]),
            parse: |params| parse("grains.present", PRESENT, params, Way::Present),
        },
        Function {
            name: "absent",
            doc: Doc::new("A grain is not set by states."),
            params: ABSENT,
            examples: Examples::new(&["role:\n  grains.absent:\n    - force: true\n"]),
            parse: |params| parse("grains.absent", ABSENT, params, Way::Absent),
        },
        Function {
            name: "list_present",
            doc: Doc::new("A grain is a list that has this value, or these."),
            params: LIST,
            examples: Examples::new(&[
                "roles:\n  grains.list_present:\n    - value:\n      - web\n      - db\n",
            ]),
            parse: |params| parse("grains.list_present", LIST, params, Way::ListPresent),
        },
        Function {
            name: "list_absent",
            doc: Doc::new("A grain is no list that has this value, or one of these."),
            params: LIST,
            examples: Examples::new(&["roles:\n  grains.list_absent:\n    - value: db\n"]),
            parse: |params| parse("grains.list_absent", LIST, params, Way::ListAbsent),
        },
        Function {
            name: "append",
            doc: Doc::new("A value is in the list that a grain is."),
            params: APPEND,
            examples: Examples::new(&["roles:\n  grains.append:\n    - value: cache\n    - convert: true\n"]),
            parse: |params| parse("grains.append", APPEND, params, Way::Append),
        },
    ],
};

const NAME: Param = Param::text("name", "", "The grain; `:` goes a level deeper.");
const VALUE: Param = Param::any("value", "", "Its value.").required();
const DELIMITER: Param = Param::text("delimiter", ":", "What goes a level deeper within the name.");
const FORCE: Param =
    Param::flag("force", "false", "Also where the value was, or becomes, a list or a mapping.");

const PRESENT: &[Param] = &[NAME, VALUE, DELIMITER, FORCE];
const ABSENT: &[Param] = &[
    NAME,
    Param::flag(
        "destructive",
        "false",
        "Accepted from Salt trees: a grain without a value is not kept here.",
    ),
    DELIMITER,
    FORCE,
];
const LIST: &[Param] = &[NAME, VALUE, DELIMITER];
const APPEND: &[Param] =
    &[NAME, VALUE, Param::flag("convert", "false", "Makes a list of a single value."), DELIMITER];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Present,
    Absent,
    ListPresent,
    ListAbsent,
    Append,
}

#[derive(Debug)]
struct Grain {
    way: Way,
    path: Vec<String>,
    value: Value,
    force: bool,
    convert: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    way: Way,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let delimiter = args.text("delimiter").filter(|it| !it.is_empty()).unwrap_or_else(|| ":".to_owned());
    let path: Vec<String> = args.name().split(&delimiter).map(str::to_owned).collect();
    if path.len() > LEVELS_MAX || path.iter().any(|it| it.is_empty() || it.chars().any(char::is_control)) {
        return Err(invalid("name", format!("`{}` is no grain", args.name())));
    }
    let value = params.get("value").map(plain).unwrap_or_default();
    Ok(Box::new(Grain {
        way,
        path,
        value,
        force: args.bool("force", false),
        convert: args.bool("convert", false),
    }))
}

/// A list of mappings with one key each is a mapping, as Salt takes it; nothing is null.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(rows)
            if !rows.is_empty() && rows.iter().all(|it| it.as_object().is_some_and(|it| it.len() == 1)) =>
        {
            Value::Object(
                rows.iter()
                    .filter_map(Value::as_object)
                    .flat_map(Clone::clone)
                    .map(|(k, v)| (k, plain(&v)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().filter(|it| !it.is_null()).map(plain).collect(),
        Value::Object(map) => Value::Object(
            map.iter().filter(|it| !it.1.is_null()).map(|(k, v)| (k.clone(), plain(v))).collect(),
        ),
        other => other.clone(),
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

impl Grain {
    fn name(&self) -> String {
        self.path.join(":")
    }

    /// The whole file as it is to be.
    fn wanted(&self, now: &str) -> Result<String, Error> {
        let mut block = Block::parse(now).map_err(Error::Refused)?;
        let top = &self.path[0];
        if block.is_by_hand(top) {
            let text = format!(
                "the grain `{top}` is set by hand in {FILE}: take it out there, or leave this state out"
            );
            return if self.way == Way::Absent { Ok(now.to_owned()) } else { Err(Error::Refused(text)) };
        }
        let now_value = block.get(&self.path).cloned();
        let wanted = self.value_wanted(now_value.as_ref())?;
        if wanted == now_value {
            return Ok(now.to_owned());
        }
        block.set(&self.path, wanted).map_err(Error::Refused)?;
        Ok(block.print())
    }

    fn value_wanted(&self, now: Option<&Value>) -> Result<Option<Value>, Error> {
        let refused = |why: &str| Err(Error::Refused(format!("the grain `{}` {why}", self.name())));
        let many = || match &self.value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        match (self.way, now) {
            (Way::Present, Some(now)) if *now == self.value => Ok(Some(now.clone())),
            (Way::Present, Some(now)) if (is_nested(now) || is_nested(&self.value)) && !self.force => {
                refused("is or becomes a list or a mapping: `force: true` replaces it")
            }
            (Way::Present, _) => Ok(Some(self.value.clone())),
            (Way::Absent, Some(now)) if is_nested(now) && !self.force => {
                refused("is a list or a mapping: `force: true` removes it")
            }
            (Way::Absent, _) | (Way::ListAbsent, None) => Ok(None),
            (Way::ListPresent | Way::Append, None) => Ok(Some(json!(many()))),
            (Way::ListAbsent, Some(Value::Array(items))) => {
                let gone = many();
                Ok(Some(items.iter().filter(|it| !gone.contains(it)).cloned().collect()))
            }
            (Way::ListPresent | Way::Append, Some(Value::Array(items))) => {
                let mut items = items.clone();
                items.extend(many().into_iter().filter(|it| !now.is_some_and(|now| contains(now, it))));
                Ok(Some(Value::Array(items)))
            }
            (Way::Append, Some(one)) if self.convert => {
                let mut items = vec![one.clone()];
                items.extend(many().into_iter().filter(|it| it != one));
                Ok(Some(Value::Array(items)))
            }
            (Way::Append, Some(_)) => refused("is no list: `convert: true` makes one of it"),
            (Way::ListPresent | Way::ListAbsent, Some(_)) => refused("is no list"),
        }
    }
}

fn contains(list: &Value, item: &Value) -> bool {
    list.as_array().is_some_and(|it| it.contains(item))
}

impl Resource for Grain {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read_text(host, Path::new(FILE))?;
        let wanted = self.wanted(now.as_deref().unwrap_or_default())?;
        let mut plan = Plan::default();
        if now.is_some() || !wanted.is_empty() {
            compare_text(&mut plan, &self.name(), now.as_deref(), &wanted);
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let now = read_text(host, Path::new(FILE))?;
        let wanted = self.wanted(&now.unwrap_or_default())?;
        write_text(host, Path::new(FILE), &wanted)?;
        Ok(Applied::default())
    }
}

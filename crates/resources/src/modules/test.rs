//! `test`: states that do nothing, for trying out requisites.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource, args::Args,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "test",
    doc: "States that do nothing, for trying out requisites.",
    functions: &[
        Function {
            name: "nop",
            doc: "Does nothing, and it is as it should be.",
            params: PARAMS,
            examples: &["anchor:\n  test.nop: []\n"],
            parse: |params| parse("test.nop", params, Way::Good),
        },
        Function {
            name: "succeed_without_changes",
            doc: "Does nothing, and it is as it should be.",
            params: PARAMS,
            examples: &["fine:\n  test.succeed_without_changes: []\n"],
            parse: |params| parse("test.succeed_without_changes", params, Way::Good),
        },
        Function {
            name: "succeed_with_changes",
            doc: "Does nothing, and says that it changed something.",
            params: PARAMS,
            examples: &["always new:\n  test.succeed_with_changes: []\n"],
            parse: |params| parse("test.succeed_with_changes", params, Way::Changes),
        },
        Function {
            name: "fail_without_changes",
            doc: "Fails.",
            params: PARAMS,
            examples: &["broken:\n  test.fail_without_changes: []\n"],
            parse: |params| parse("test.fail_without_changes", params, Way::Fails),
        },
    ],
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Text, required: false, default: "", doc: "Anything." },
    Param {
        name: "comment",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "What a failure says.",
    },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Good,
    Changes,
    Fails,
}

#[derive(Debug)]
struct Test {
    way: Way,
    comment: String,
}

fn parse(kind: &str, params: &Map<String, Value>, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    let comment = args.text("comment").unwrap_or_else(|| "it was told to fail".to_owned());
    Ok(Box::new(Test { way, comment }))
}

impl Resource for Test {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        match self.way {
            Way::Good => (),
            Way::Changes => {
                let (from, to) = (Some("old".to_owned()), Some("new".to_owned()));
                plan.push(Change { what: "nothing".to_owned(), from, to, diff: None });
            }
            Way::Fails => return Err(Error::Refused(self.comment.clone())),
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Ok(Applied::default())
    }
    fn converges(&self) -> bool {
        self.way != Way::Changes
    }
}

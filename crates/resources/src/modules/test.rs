//! `test`: states that do nothing, for trying out requisites, and that look at pillar.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "test",
    doc: Doc::new(
        "States that do nothing, for trying out requisites; one that says something, and one that looks at pillar.",
    ),
    functions: &[
        Function {
            name: "nop",
            doc: Doc::new("Does nothing, and it is as it should be."),
            params: PARAMS,
            examples: Examples::new(&["anchor:\n  test.nop: []\n"]),
            parse: |params| parse("test.nop", params, Way::Good),
        },
        Function {
            name: "succeed_without_changes",
            doc: Doc::new("Does nothing, and it is as it should be."),
            params: PARAMS,
            examples: Examples::new(&["fine:\n  test.succeed_without_changes: []\n"]),
            parse: |params| parse("test.succeed_without_changes", params, Way::Good),
        },
        Function {
            name: "succeed_with_changes",
            doc: Doc::new("Does nothing, and says that it changed something."),
            params: PARAMS,
            examples: Examples::new(&["always new:\n  test.succeed_with_changes: []\n"]),
            parse: |params| parse("test.succeed_with_changes", params, Way::Changes),
        },
        Function {
            name: "fail_without_changes",
            doc: Doc::new("Fails."),
            params: PARAMS,
            examples: Examples::new(&["broken:\n  test.fail_without_changes: []\n"]),
            parse: |params| parse("test.fail_without_changes", params, Way::Fails),
        },
        Function {
            name: "fail_with_changes",
            doc: Doc::new("Says that it changed something, and fails."),
            params: PARAMS,
            examples: Examples::new(&["half broken:\n  test.fail_with_changes: []\n"]),
            parse: |params| parse("test.fail_with_changes", params, Way::FailsChanging),
        },
        Function {
            name: "configurable_test_state",
            doc: Doc::new("Does nothing, and says of itself what it is told to."),
            params: CONFIGURABLE,
            examples: Examples::new(&[
                "as told:\n  test.configurable_test_state:\n    - changes: true\n    - result: false\n    - comment: told so\n",
            ]),
            parse: parse_configurable,
        },
        Function {
            name: "mod_watch",
            doc: Doc::new("Says that it changed something, when something that it watches has."),
            params: WATCH,
            examples: Examples::new(&[
                "heard:\n  test.mod_watch:\n    - watch:\n      - test: new\nnew:\n  test.succeed_with_changes: []\n",
            ]),
            parse: parse_watch,
        },
        Function {
            name: "show_notification",
            doc: Doc::new("Says something in the report."),
            params: NOTIFICATION,
            examples: Examples::new(&[
                "hint:\n  test.show_notification:\n    - text: the old database stays until you remove it\n",
            ]),
            parse: parse_notification,
        },
        Function {
            name: "check_pillar",
            doc: Doc::new(
                "Fails if pillar does not have these keys, or has something else there. The master judges it while it compiles; \
                  the step then says on the minion what is missing.",
            ),
            params: PILLAR,
            examples: Examples::new(&[
                "pillar is complete:\n  test.check_pillar:\n    - present:\n      - web:port\n    - integer: web:port\n    - failhard: true\n",
            ]),
            parse: parse_pillar,
        },
    ],
};

const NAME: Param = Param::text("name", "", "Anything.");
const COMMENT: Param = Param::text("comment", "", "What it says of itself.");
const PARAMS: &[Param] = &[NAME, COMMENT];
const CONFIGURABLE: &[Param] = &[
    NAME,
    Param::text("changes", "true", "Whether it says that it changed something; `Random` counts as true."),
    Param::text("result", "true", "Whether it succeeds; `Random` counts as true."),
    COMMENT,
    Param::list("warnings", "none", "Said as well."),
    Param::flag(
        "allow_test_mode_failure",
        "false",
        "Accepted from Salt trees: a dry run fails as the run does.",
    ),
];
const WATCH: &[Param] =
    &[NAME, Param::text("sfun", "", "Accepted from Salt trees and without effect."), COMMENT];
const NOTIFICATION: &[Param] = &[NAME, Param::text("text", "", "What to say.").required()];
const PILLAR: &[Param] = &[
    NAME,
    Param::list("present", "none", "Keys that must be there, with `:` between levels."),
    Param::list("boolean", "none", "Keys whose value must be true or false."),
    Param::list("integer", "none", "Keys whose value must be a whole number."),
    Param::list("string", "none", "Keys whose value must be text."),
    Param::list("listing", "none", "Keys whose value must be a list."),
    Param::list("dictionary", "none", "Keys whose value must be a mapping."),
    Param::flag("verbose", "false", "Accepted from Salt trees and without effect."),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Good,
    Changes,
    Fails,
    FailsChanging,
    WhenWatched,
}

#[derive(Debug)]
struct Test {
    way: Way,
    comment: String,
}

fn parse(kind: &str, params: &Map<String, Value>, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    Ok(Box::new(Test { way, comment: args.text("comment").unwrap_or_default() }))
}

fn parse_configurable(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("test.configurable_test_state", CONFIGURABLE, params)?;
    let flag = |name: &str| match args.text(name).unwrap_or_default().to_lowercase().as_str() {
        "" | "true" | "yes" | "on" | "random" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(invalid(name, format!("`{name}` must be true, false or Random"))),
    };
    let way = match (flag("changes")?, flag("result")?) {
        (true, true) => Way::Changes,
        (false, true) => Way::Good,
        (true, false) => Way::FailsChanging,
        (false, false) => Way::Fails,
    };
    let mut said = vec![args.text("comment").unwrap_or_default()];
    said.extend(args.list("warnings").unwrap_or_default());
    said.retain(|it| !it.is_empty());
    Ok(Box::new(Test { way, comment: said.join("; ") }))
}

fn parse_watch(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("test.mod_watch", WATCH, params)?;
    Ok(Box::new(Test { way: Way::WhenWatched, comment: args.text("comment").unwrap_or_default() }))
}

fn parse_notification(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("test.show_notification", NOTIFICATION, params)?;
    Ok(Box::new(Test { way: Way::Good, comment: args.text("text").unwrap_or_default() }))
}

fn parse_pillar(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("test.check_pillar", PILLAR, params)?;
    if PILLAR[1..7].iter().all(|it| args.list(it.name).is_none_or(|it| it.is_empty())) {
        return Err(invalid("present", "name at least one key"));
    }
    // The compiler has looked, and says what is not as it should be.
    let failed = args.list("failed").unwrap_or_default();
    let way = if failed.is_empty() { Way::Good } else { Way::Fails };
    Ok(Box::new(Test { way, comment: failed.join("; ") }))
}

impl Test {
    fn failure(&self) -> Error {
        let text = if self.comment.is_empty() { "it was told to fail" } else { &self.comment };
        Error::Refused(text.to_owned())
    }
}

impl Resource for Test {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        match self.way {
            Way::Good | Way::WhenWatched => (),
            Way::Changes | Way::FailsChanging => {
                let (from, to) = (Some("old".to_owned()), Some("new".to_owned()));
                plan.push(Change { what: "nothing".to_owned(), from, to, diff: None });
            }
            Way::Fails => return Err(self.failure()),
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        if self.way == Way::FailsChanging { Err(self.failure()) } else { Ok(Applied::default()) }
    }
    fn refresh(&self, _: &mut dyn Host) -> Result<Option<Applied>, Error> {
        Ok((self.way == Way::WhenWatched).then(Applied::default))
    }
    fn refreshes(&self) -> Option<&'static str> {
        (self.way == Way::WhenWatched).then_some("watch")
    }
    fn converges(&self) -> bool {
        self.way != Way::Changes
    }
    fn remark(&self) -> String {
        self.comment.clone()
    }
}

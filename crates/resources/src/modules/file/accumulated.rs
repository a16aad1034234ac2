//! `file.accumulated`: lines that several steps give to one block of a file.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource, args::Args,
};
use model::Plan;
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "accumulated",
    doc: Doc::new(
        "Gives lines to the `file.blockreplace` of the same file, which writes them after its own content. Steps give \
          theirs in run order; alters nothing itself.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "nas in hosts:\n  file.accumulated:\n    - filename: /etc/hosts\n    - text: 192.0.2.7 nas\n    - require_in:\n      \
         - file: hosts block\nhosts block:\n  file.blockreplace:\n    - name: /etc/hosts\n    - append_if_not_found: \
         true\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Text, "", "A name for these lines."),
    Param::of("filename", ParamType::Path, "", "The file's path.").required(),
    Param::of("text", ParamType::TextList, "", "A line, or a list of lines.").required(),
];

#[derive(Debug)]
struct Accumulated;

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    Args::new("file.accumulated", PARAMS, params)?;
    Ok(Box::new(Accumulated))
}

impl Resource for Accumulated {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        Ok(Plan::default())
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Ok(Applied::default())
    }
}

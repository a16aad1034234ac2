//! `cron.file`: a whole crontab from a file of the tree.

use super::{USER, compare, read, user_of, write};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, not_compiled},
    text_file::ended,
};
use model::{ContentHash, Plan};
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "file",
    doc: Doc::new("A user's crontab is this file of the tree, the whole of it."),
    params: PARAMS,
    examples: Examples::new(&["lab://backup/crontab:\n  cron.file:\n    - user: root\n"]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of(
        "name",
        ParamType::Source,
        "",
        "A file in the tree, or a list of which the first that exists counts.",
    ),
    USER,
    Param::text("template", "none", "The engine that renders it: `handlebars` or `jinja`."),
    Param::any("context", "", "Values for the template."),
    Param::any("defaults", "", "Values for the template where `context` has none."),
    Param::flag("replace", "true", "Replaces a crontab that has something in it."),
    Param::text(
        "source_hash",
        "",
        "Accepted from Salt trees and without effect: files of the tree are always verified.",
    ),
    Param::text("backup", "", "Accepted from Salt trees and without effect: the report shows what changed."),
];

#[derive(Debug)]
struct Whole {
    user: String,
    hash: Option<ContentHash>,
    replace: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("cron.file", PARAMS, params)?;
    let hash = args.hash("content_hash")?;
    Ok(Box::new(Whole { user: user_of(&args)?, hash, replace: args.bool("replace", true) }))
}

impl Whole {
    fn wanted(&self, host: &dyn Probe) -> Result<String, Error> {
        let hash = self.hash.ok_or_else(|| not_compiled("name"))?;
        let bytes = host.blob(hash).map_err(Error::host("read content", hash))?;
        let text = String::from_utf8(bytes.to_vec());
        text.map(ended).map_err(|_| Error::Refused("the crontab's file is not text".to_owned()))
    }
}

impl Resource for Whole {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read(host, &self.user)?;
        if !self.replace && !now.is_empty() {
            return Ok(Plan::default());
        }
        Ok(compare(&now, &self.wanted(host)?))
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wanted = self.wanted(host)?;
        write(host, &self.user, wanted)
    }
}

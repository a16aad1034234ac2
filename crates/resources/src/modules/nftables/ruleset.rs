//! `nftables.managed`: the whole ruleset in a file.

use super::nft;
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource, args::Args, host::Command, tool,
    wanted_file::WantedFile,
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const PARAMS: &[Param] = &[
    Param::name("The file, such as `/etc/nftables.conf`."),
    Param::of("contents", ParamType::Text, "", "The ruleset.").required(),
    Param::of("load", ParamType::Bool, "true", "Loads it after a change."),
];

#[derive(Debug)]
struct Ruleset {
    file: WantedFile,
    load: bool,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let schema: Vec<Param> = PARAMS
        .iter()
        .map(|it| if it.name == "name" { Param { kind: ParamType::Path, ..*it } } else { *it })
        .collect();
    let args = Args::new("nftables.managed", &schema, params)?;
    let mut contents = args.text("contents").unwrap_or_default();
    if !contents.ends_with('\n') {
        contents.push('\n');
    }
    let path = args.path("name").unwrap_or_else(|| PathBuf::from("/etc/nftables.conf"));
    let file = WantedFile { mode: 0o755, ..WantedFile::public(path, contents) };
    Ok(Box::new(Ruleset { file, load: args.bool("load", true) }))
}

impl Resource for Ruleset {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.file.compare("ruleset", host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let judge = tool::command(&["nft", "--check", "--file", "-"], tool::SHORT_MS);
        let judge = Command { stdin: Some(self.file.contents.clone()), ..judge };
        tool::run(host, judge, "nft --check")?;
        // It is loaded first: a file that cannot be loaded is not put in place, so that it is tried again.
        if self.load && plan.touches("ruleset") {
            let load = tool::command(&["nft", "--file", "-"], tool::SHORT_MS);
            let load = Command { stdin: Some(self.file.contents.clone()), ..load };
            tool::run(host, load, "nft --file")?;
        }
        self.file.write(host)?;
        Ok(Applied::default())
    }

    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        nft(&["--file", &self.file.path.display().to_string()], host)?;
        Ok(Some(Applied::saying("loaded")))
    }

    fn refreshes(&self) -> Option<&'static str> {
        Some("load")
    }
}

//! `pkg.removed` and `pkg.purged`.

use super::{REMOVED, Wish, act, installed_now, wishes};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::{Args, invalid},
    packages::{
        PackageAction,
        version::{Epoch, Wish as Condition},
    },
};
use model::{Change, Plan};
use serde_json::{Map, Value};

#[derive(Debug)]
struct Removed {
    wishes: Vec<Wish>,
    purge: bool,
    epoch: Epoch,
}

pub(super) fn parse_removed(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    parse("pkg.removed", params)
}
pub(super) fn parse_purged(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    parse("pkg.purged", params)
}

fn parse(kind: &str, params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, REMOVED, params)?;
    let mut wishes = wishes(&args, params)?;
    if let Some(version) = args.text("version") {
        if args.has("pkgs") {
            return Err(invalid("version", "with `pkgs`, write the version behind each name"));
        }
        wishes[0].1 = Some(version);
    }
    for version in wishes.iter().filter_map(|it| it.1.as_ref()) {
        if Condition::parse(version).is_none() {
            return Err(invalid("version", format!("`{version}` is no version, pattern or comparison")));
        }
    }
    let epoch = if args.bool("ignore_epoch", false) { Epoch::Ignored } else { Epoch::AsWritten };
    Ok(Box::new(Removed { wishes, purge: kind == "pkg.purged", epoch }))
}

impl Removed {
    /// What is installed of them, and what is left over of them.
    fn present(&self, host: &dyn Probe) -> Result<Vec<(String, String)>, Error> {
        let names: Vec<String> = self.wishes.iter().map(|(name, _)| name.clone()).collect();
        let installed = installed_now(host, &names)?;
        let provider = host.package_manager().map_err(Error::host("find", "package manager"))?.provider();
        let compare = |one: &str, other: &str| provider.compare(one, other);
        let mut present = Vec::new();
        for (name, version) in &self.wishes {
            // An empty version is something that another package provides.
            let Some(now) = installed.get(name).filter(|it| !it.is_empty()) else { continue };
            let condition = version.as_deref().and_then(Condition::parse);
            if condition.is_none_or(|it| it.fits(now, self.epoch, &compare)) {
                present.push((name.clone(), now.clone()));
            }
        }
        if self.purge {
            let left = host.left_over(&names).map_err(Error::host("look up packages", names.join(", ")))?;
            present.extend(left.into_iter().map(|name| (name, "only its configuration".to_owned())));
        }
        present.sort();
        present.dedup();
        Ok(present)
    }
}

impl Resource for Removed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change = |(what, version)| Change { what, from: Some(version), to: None, diff: None };
        Ok(Plan { changes: self.present(host)?.into_iter().map(change).collect() })
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let names: Vec<String> = self.present(host)?.into_iter().map(|(name, _)| name).collect();
        let verb = if self.purge { "purge" } else { "remove" };
        let what = format!("{verb} {}", names.join(" "));
        let action = if self.purge { PackageAction::Purge(names) } else { PackageAction::Remove(names) };
        act(host, action)?.success(&what).map(Applied::with)
    }
}

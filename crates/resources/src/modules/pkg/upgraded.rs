//! `pkg.uptodate`.

use super::{UPTODATE, Wish, act, check_name, lists};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::Args,
    packages::{Install, InstallOption, Lists, PackageAction, Reach, Upgrade},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug)]
struct Uptodate {
    /// Everything if none.
    only: Option<Vec<String>>,
    lists: Lists,
    reach: Reach,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.uptodate", UPTODATE, params)?;
    let only = if args.has("pkgs") { Some(super::names(&args, params)?) } else { None };
    only.iter().flatten().try_for_each(|it| check_name("pkgs", it))?;
    let reach = if args.bool("dist_upgrade", true) { Reach::Full } else { Reach::Careful };
    Ok(Box::new(Uptodate { only, lists: lists(&args), reach }))
}

impl Uptodate {
    fn due(&self, host: &dyn Probe) -> Result<BTreeMap<String, Upgrade>, Error> {
        let mut due =
            host.upgrades(self.reach, self.lists).map_err(Error::host("look up", "what can be upgraded"))?;
        if let Some(only) = &self.only {
            due.retain(|it, _| only.contains(it));
        }
        Ok(due)
    }
}

impl Resource for Uptodate {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change =
            |(what, it): (String, Upgrade)| Change { what, from: it.from, to: Some(it.to), diff: None };
        Ok(Plan { changes: self.due(host)?.into_iter().map(change).collect() })
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let action = if self.only.is_some() {
            let wishes: Vec<Wish> = plan.changes.iter().map(|it| (it.what.clone(), it.to.clone())).collect();
            let options = [InstallOption::OnlyUpgrade].into();
            PackageAction::Install(Install { wishes, options, ..Install::default() })
        } else {
            PackageAction::Upgrade(self.reach)
        };
        act(host, action)?.success("upgrade packages").map(Applied::with)
    }
}

//! `pkg.latest` and `pkg.downloaded`.

use super::{LATEST, Wish, act, held_now, installed::How, installed_now, names, wishes};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    packages::{InstallOption, Manager, PackageAction},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

#[derive(Debug)]
struct Latest {
    names: Vec<String>,
    how: How,
    update_holds: bool,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.latest", LATEST, params)?;
    if args.has("version") {
        return Err(invalid("version", "`latest` has no `version`: `pkg.installed` has"));
    }
    Ok(Box::new(Latest {
        names: names(&args, params)?,
        how: How::of(&args)?,
        update_holds: args.bool("update_holds", false),
    }))
}

impl Latest {
    /// Those that are missing or old, with the version before and after.
    fn old(&self, host: &dyn Probe) -> Result<Vec<(String, Option<String>, String)>, Error> {
        let installed = installed_now(host, &self.names)?;
        let offered = host
            .available(&self.names, self.how.from.as_deref(), self.how.lists)
            .map_err(Error::host("look up packages", self.names.join(", ")))?;
        let manager = host.package_manager().map_err(Error::host("find", "package manager"))?;
        let held =
            if self.update_holds || manager == Manager::Apt { BTreeSet::default() } else { held_now(host)? };
        let mut unknown = Vec::new();
        let mut old = Vec::new();
        for name in &self.names {
            let now = installed.get(name).filter(|it| !it.is_empty());
            let newest = offered.get(name).and_then(|it| it.candidate.as_ref());
            match (now, newest) {
                (None, None) if installed.contains_key(name) => (),
                (None, None) => unknown.push(name.as_str()),
                (_, Some(_)) if held.contains(name) => (),
                (Some(now), Some(newest)) if manager.provider().compare(now, newest) == Ordering::Less => {
                    old.push((name.clone(), Some(now.clone()), newest.clone()));
                }
                (Some(_), _) => (),
                (None, Some(newest)) => old.push((name.clone(), None, newest.clone())),
            }
        }
        if unknown.is_empty() {
            return Ok(old);
        }
        let text = format!("in no list of packages: {}; is their repository there?", unknown.join(", "));
        Err(Error::Refused(text))
    }
}

impl Resource for Latest {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change = |(what, from, to)| Change { what, from, to: Some(to), diff: None };
        Ok(Plan { changes: self.old(host)?.into_iter().map(change).collect() })
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wishes: Vec<Wish> = plan.changes.iter().map(|it| (it.what.clone(), it.to.clone())).collect();
        let names: Vec<String> = wishes.iter().map(|it| it.0.clone()).collect();
        let held = held_now(host)?;
        let freed: Vec<String> = names.iter().filter(|it| held.contains(*it)).cloned().collect();
        if !freed.is_empty() {
            act(host, PackageAction::Unhold(freed.clone()))?.success("release held packages")?;
        }
        let done = act(host, PackageAction::Install(self.how.install(wishes)))?;
        if !freed.is_empty() {
            act(host, PackageAction::Hold(freed))?.success("hold packages")?;
        }
        done.success(&format!("install {}", names.join(" "))).map(Applied::with)
    }
}

#[derive(Debug)]
struct Downloaded {
    wishes: Vec<Wish>,
    how: How,
}

pub(super) fn parse_downloaded(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.downloaded", LATEST, params)?;
    let mut wishes = wishes(&args, params)?;
    if let Some(version) = args.text("version") {
        if args.has("pkgs") {
            return Err(invalid("version", "with `pkgs`, write the version behind each name"));
        }
        wishes[0].1 = Some(version);
    }
    wishes.iter().filter_map(|it| it.1.as_ref()).try_for_each(|it| plain_word("version", it))?;
    Ok(Box::new(Downloaded { wishes, how: How::of(&args)? }))
}

impl Downloaded {
    /// What is not installed in the version that would be fetched. Whether it lies in the cache, the package manager
    /// knows: it fetches nothing twice.
    fn wanted(&self, host: &dyn Probe) -> Result<BTreeMap<String, String>, Error> {
        let names: Vec<String> = self.wishes.iter().map(|(name, _)| name.clone()).collect();
        let installed = installed_now(host, &names)?;
        let offered = host
            .available(&names, self.how.from.as_deref(), self.how.lists)
            .map_err(Error::host("look up packages", names.join(", ")))?;
        let mut wanted = BTreeMap::new();
        for (name, version) in &self.wishes {
            let newest = offered.get(name).and_then(|it| it.candidate.clone());
            let Some(version) = version.clone().or(newest) else {
                return Err(Error::Refused(format!(
                    "`{name}` is in no list of packages; is its repository there?"
                )));
            };
            if installed.get(name) != Some(&version) {
                wanted.insert(name.clone(), version);
            }
        }
        Ok(wanted)
    }
}

impl Resource for Downloaded {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change = |(what, version)| Change { what, from: None, to: Some(version), diff: None };
        Ok(Plan { changes: self.wanted(host)?.into_iter().map(change).collect() })
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wishes: Vec<Wish> = plan.changes.iter().map(|it| (it.what.clone(), it.to.clone())).collect();
        let mut install = self.how.install(wishes);
        install.options.insert(InstallOption::DownloadOnly);
        act(host, PackageAction::Install(install))?.success("fetch packages").map(Applied::with)
    }
    fn converges(&self) -> bool {
        false
    }
}

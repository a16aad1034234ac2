//! `pkg.held` and `pkg.unheld`.

use super::{HELD, UNHELD, act, held_now, names};
use crate::{Applied, Error, Host, ParamsError, Probe, Resource, args::Args, packages::PackageAction};
use model::{Change, Plan};
use serde_json::{Map, Value};

#[derive(Debug)]
struct Hold {
    names: Vec<String>,
    held: bool,
    /// Also all others: nothing but these is held, or nothing at all.
    only: bool,
}

pub(super) fn parse_held(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.held", HELD, params)?;
    Ok(Box::new(Hold { names: names(&args, params)?, held: true, only: args.bool("replace", false) }))
}
pub(super) fn parse_unheld(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.unheld", UNHELD, params)?;
    Ok(Box::new(Hold { names: names(&args, params)?, held: false, only: args.bool("all", false) }))
}

/// Holds packages, or lets them go.
pub(super) fn set(host: &mut dyn Host, names: Vec<String>, held: bool) -> Result<(), Error> {
    let manager = host.package_manager().map_err(Error::host("find", "package manager"))?;
    if manager.provider().holds().is_none() {
        let text = format!(
            "{} cannot hold packages; write them into its configuration (`IgnorePkg` in /etc/pacman.conf, `name=version` \
             in /etc/apk/world) with a file state",
            manager.name()
        );
        return Err(Error::Refused(text));
    }
    let what = format!("{} {}", if held { "hold" } else { "release" }, names.join(" "));
    let action = if held { PackageAction::Hold(names) } else { PackageAction::Unhold(names) };
    act(host, action)?.success(&what).map(drop)
}

impl Hold {
    /// Names that are to be held, and names that are to be let go.
    fn due(&self, host: &dyn Probe) -> Result<(Vec<String>, Vec<String>), Error> {
        let now = held_now(host)?;
        let hold = self.names.iter().filter(|it| self.held && !now.contains(*it)).cloned().collect();
        let named = |it: &&String| self.names.contains(*it);
        let release =
            now.iter().filter(|it| if self.held { self.only && !named(it) } else { self.only || named(it) });
        Ok((hold, release.cloned().collect()))
    }
}

impl Resource for Hold {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let (hold, release) = self.due(host)?;
        let change = |what: String, from: &str, to: &str| Change {
            what,
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            diff: None,
        };
        let hold = hold.into_iter().map(|it| change(it, "free", "held"));
        let release = release.into_iter().map(|it| change(it, "held", "free"));
        Ok(Plan { changes: hold.chain(release).collect() })
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (hold, release) = self.due(host)?;
        if !release.is_empty() {
            set(host, release, false)?;
        }
        if !hold.is_empty() {
            set(host, hold, true)?;
        }
        Ok(Applied::default())
    }
}

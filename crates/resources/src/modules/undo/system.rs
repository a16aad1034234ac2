//! Units and packet filters, put back.

use super::{Item, Tries};
use crate::{
    Error, Host, Probe,
    host::{Action, Command, UnitAction},
    keep::{self, Filter, State, UnitState},
    tool,
};
use model::{Change, ContentHash, JobId, Plan};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

/// Where unit files lie.
const UNIT_FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Whether something was altered after the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Altered,
    Same,
    /// It was not kept.
    Unknown,
}

#[derive(Debug)]
struct Unit {
    name: String,
    wanted: UnitState,
    now: UnitState,
}

#[derive(Debug)]
struct Rules {
    filter: Filter,
    wanted: ContentHash,
    now: String,
}

/// What is to be put back besides files.
#[derive(Debug, Default)]
pub(super) struct Work {
    units: Vec<Unit>,
    rules: Vec<Rules>,
    /// Units that the job restarted or reloaded, and whether reloaded only: once their files are back, again.
    again: BTreeMap<String, bool>,
    /// Units that are to be as they are not to run.
    rest: BTreeSet<String>,
}

/// What can be set of a unit's beginning at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtBoot {
    On,
    Off,
    Masked,
}

fn at_boot(unit: &UnitState) -> Option<AtBoot> {
    match unit.enabled.as_str() {
        "enabled" | "enabled-runtime" => Some(AtBoot::On),
        "disabled" => Some(AtBoot::Off),
        "masked" | "masked-runtime" => Some(AtBoot::Masked),
        // A unit that was not there was neither on nor running.
        _ if !unit.found => Some(AtBoot::Off),
        _ => None,
    }
}

impl Unit {
    fn boot_differs(&self) -> bool {
        let (wanted, now) = (at_boot(&self.wanted), at_boot(&self.now));
        wanted.is_some() && now.is_some() && wanted != now
    }
    fn runs(&self) -> Option<bool> {
        self.wanted.runs.map(|it| it && self.wanted.found)
    }
    fn running_differs(&self) -> bool {
        self.now.runs.is_some() && self.runs().is_some_and(|it| self.now.runs != Some(it))
    }
    fn differs(&self) -> bool {
        self.now.found && (self.boot_differs() || self.running_differs())
    }
}

fn describe(unit: &UnitState) -> String {
    let runs = match unit.runs {
        Some(true) => "running",
        Some(false) => "stopped",
        None => "not asked",
    };
    let enabled = if unit.found { unit.enabled.as_str() } else { "not there" };
    format!("{enabled}, {runs}")
}

fn act(host: &mut dyn Host, name: &str, action: UnitAction) -> Result<(), Error> {
    let what = format!("{} {name}", action.verb());
    let done = host
        .perform(&Action::Unit(name.to_owned(), action))
        .map_err(Error::host("ask the service manager to", &what))?;
    done.success(&what).map(drop)
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.rules.is_empty()
    }

    /// Takes in a line that is not of a path.
    pub(super) fn add(
        &mut self,
        host: &dyn Probe,
        path: &Path,
        wanted: State,
        end: Option<&State>,
    ) -> Result<Since, Error> {
        let text = path.display().to_string();
        let name = text.split_once('/').map_or(text.as_str(), |it| it.1).to_owned();
        match wanted {
            State::Again { reload } => {
                self.again.insert(name, reload);
            }
            State::Unit(wanted) => {
                let now = keep::unit_state(host, &name).map_err(Error::host("look at unit", &name))?;
                let unit = Unit { name, wanted, now };
                if unit.runs() == Some(false) {
                    self.rest.insert(unit.name.clone());
                }
                if unit.differs() {
                    self.units.push(unit);
                }
            }
            State::Rules { hash: wanted } => {
                let Some(filter) = Filter::of_name(&name) else { return Ok(Since::Unknown) };
                let now = filter.rules(host).map_err(Error::host("read the rules of", &name))?;
                let keep::Rules::Had(now) = now else { return Ok(Since::Unknown) };
                let hash = crate::diff::hash_of(now.as_bytes());
                if hash != wanted {
                    self.rules.push(Rules { filter, wanted, now });
                    return Ok(if end == Some(&State::Rules { hash }) {
                        Since::Same
                    } else {
                        Since::Altered
                    });
                }
            }
            _ => return Ok(Since::Unknown),
        }
        Ok(Since::Same)
    }

    pub(super) fn plan(&self, plan: &mut Plan) {
        for unit in &self.units {
            plan.push(Change {
                what: format!("unit {}", unit.name),
                from: Some(describe(&unit.now)),
                to: Some(describe(&unit.wanted)),
                diff: None,
            });
        }
        for rules in &self.rules {
            let now = crate::diff::hash_of(rules.now.as_bytes()).to_string();
            plan.push(Change {
                what: format!("packet filter ({})", rules.filter.name()),
                from: Some(format!("sha256 {}", &now[..12])),
                to: Some(format!("sha256 {}", &rules.wanted.to_string()[..12])),
                diff: None,
            });
        }
    }

    /// Stops and disables what the job started and enabled.
    pub(super) fn quiet(&self, host: &mut dyn Host, tries: &mut Tries) -> Result<(), Error> {
        for unit in &self.units {
            if unit.running_differs() && unit.runs() == Some(false) {
                tries.note(act(host, &unit.name, UnitAction::Stop))?;
            }
            if unit.boot_differs() && at_boot(&unit.now) == Some(AtBoot::On) {
                tries.note(act(host, &unit.name, UnitAction::Disable))?;
            }
        }
        Ok(())
    }

    /// All rules of a filter in one step. What was kept first is loaded last: two programs may stand for one filter.
    pub(super) fn rules(&self, host: &mut dyn Host, job: JobId, tries: &mut Tries) -> Result<(), Error> {
        for rules in self.rules.iter().rev() {
            tries.note(rules.load(host, job))?;
        }
        Ok(())
    }

    /// Masks, enables, starts; restarts and reloads what reads files that are back. Names what was.
    pub(super) fn start(
        &self,
        host: &mut dyn Host,
        items: &[Item],
        tries: &mut Tries,
    ) -> Result<Vec<String>, Error> {
        let mut started = BTreeSet::new();
        for unit in &self.units {
            let name = unit.name.as_str();
            if unit.boot_differs() {
                if at_boot(&unit.now) == Some(AtBoot::Masked) {
                    tries.note(act(host, name, UnitAction::Unmask))?;
                }
                match at_boot(&unit.wanted) {
                    Some(AtBoot::On) => tries.note(act(host, name, UnitAction::Enable))?,
                    Some(AtBoot::Masked) => tries.note(act(host, name, UnitAction::Mask))?,
                    _ => {}
                }
            }
            if unit.running_differs() && unit.runs() == Some(true) {
                tries.note(act(host, name, UnitAction::Start))?;
                started.insert(name);
            }
        }
        let own = items.iter().filter_map(|it| unit_of(&it.path)).map(|it| (it, false));
        let mut again: BTreeMap<String, bool> = self.again.clone();
        again.extend(own);
        again.retain(|name, _| !started.contains(name.as_str()) && !self.rest.contains(name));
        let mut done = Vec::new();
        for (name, reload) in again {
            let runs = host.unit(&name).map_err(Error::host("look at unit", &name))?;
            if runs.active.as_deref() == Some("active") {
                let action = if reload { UnitAction::Reload } else { UnitAction::Restart };
                tries.note(act(host, &name, action))?;
                done.push(name);
            }
        }
        Ok(done)
    }
}

/// Once unit files are back.
pub(super) fn reload_units(host: &mut dyn Host, items: &[Item], tries: &mut Tries) -> Result<(), Error> {
    if items.iter().any(|it| unit_of(&it.path).is_some()) {
        tries.note(act(host, "systemd", UnitAction::DaemonReload))?;
    }
    Ok(())
}

impl Rules {
    fn load(&self, host: &mut dyn Host, job: JobId) -> Result<(), Error> {
        let name = self.filter.name();
        let bytes = host
            .kept_contents(job, self.wanted)
            .map_err(Error::host("read what was kept of the rules of", name))?;
        let kept = String::from_utf8_lossy(&bytes).into_owned();
        let (argv, text) = match self.filter {
            Filter::Nft => {
                (vec!["nft".to_owned(), "--file".into(), "-".into()], format!("flush ruleset\n{kept}"))
            }
            _ => (vec![format!("{name}-restore")], kept.clone() + &emptied(&self.now, &kept)),
        };
        let what = argv.join(" ");
        let command = tool::command(&argv, tool::SHORT_MS);
        tool::run(host, Command { stdin: Some(text), ..command }, &what).map(drop)
    }
}

/// Tables that are there now and were not before, without rules: what is restored leaves other tables alone.
fn emptied(now: &str, kept: &str) -> String {
    let mut text = String::new();
    let mut is_new = false;
    for line in now.lines() {
        match line.chars().next() {
            Some('*') => {
                is_new = !kept.lines().any(|it| it == line);
                if is_new {
                    let _ = writeln!(text, "{line}");
                }
            }
            // Chains of their own have no policy; they go with what refers to them.
            Some(':') if is_new && !line.contains(" - ") => {
                let chain = line.split(' ').next().unwrap_or_default();
                let _ = writeln!(text, "{chain} ACCEPT [0:0]");
            }
            Some('C') if is_new && line == "COMMIT" => {
                let _ = writeln!(text, "COMMIT");
            }
            _ => {}
        }
    }
    text
}

/// The unit that a file belongs to, be it a unit file or a part of one: `x.service`, `x.service.d/y.conf`.
fn unit_of(path: &Path) -> Option<String> {
    let within = UNIT_FOLDERS.iter().find_map(|it| path.strip_prefix(it).ok())?;
    let first = within.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".d").unwrap_or(first);
    let is_link_folder = [".wants", ".requires"].iter().any(|it| name.ends_with(it));
    (name.contains('.') && !is_link_folder).then(|| keep::plain_name(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_files() {
        for (path, unit) in [
            ("/etc/systemd/system/web.service", Some("web")),
            ("/etc/systemd/system/web.service.d/limits.conf", Some("web")),
            ("/usr/lib/systemd/system/clean.timer", Some("clean.timer")),
            ("/etc/systemd/system/multi-user.target.wants/web.service", None),
            ("/etc/nginx/nginx.conf", None),
        ] {
            assert_eq!(unit_of(Path::new(path)).as_deref(), unit, "{path}");
        }
    }

    #[test]
    fn tables_that_were_not_there_are_emptied() {
        let kept = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let now =
            format!("{kept}*nat\n:PREROUTING DROP [0:0]\n:mine - [0:0]\n-A PREROUTING -j mine\nCOMMIT\n");
        assert_eq!(emptied(&now, kept), "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n");
        assert_eq!(emptied(kept, kept), "");
    }
}

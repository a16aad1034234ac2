//! Units and packet filters: what is no path is kept under a name that is not absolute.

use super::{Keeper, Kept, State};
use crate::{
    Host, Probe,
    diff::hash_of,
    host::{Action, Command, Query, UnitAction, query},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Units that load the rules of a packet filter.
const FILTER_UNITS: [&str; 5] = ["nftables", "netfilter-persistent", "iptables", "ip6tables", "ufw"];

/// How a unit stands, as far as it can be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// Whether there is such a unit.
    pub found: bool,
    /// As the service manager says it.
    pub enabled: String,
    /// Whether it runs; none if there is no service manager.
    pub runs: Option<bool>,
}

/// A packet filter of which all rules can be read and loaded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Filter {
    /// By `nft`: all families.
    Nft,
    /// By `iptables`.
    Iptables,
    /// By `ip6tables`.
    Ip6tables,
}

impl Filter {
    pub(crate) const ALL: [Self; 3] = [Self::Nft, Self::Iptables, Self::Ip6tables];

    /// As its program is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The one that a command alters.
    fn of_command(command: &Command) -> Option<Self> {
        let program = Path::new(command.argv.first()?).file_name()?.to_str()?;
        Self::of_name(program.trim_end_matches("-restore"))
    }

    fn query(self) -> Query {
        match self {
            Self::Nft => Query::Nft(query::nft::Question::Ruleset),
            it => Query::Iptables(query::iptables::Question::Save(it.name())),
        }
    }

    /// All its rules, without what counts and what is said of the time; `None` if they cannot be had.
    pub(crate) fn rules(self, host: &dyn Probe) -> io::Result<Option<String>> {
        let output = host.query(&self.query())?;
        if output.code != Some(0) || output.dropped > 0 {
            return Ok(None);
        }
        let lines = output.stdout.lines().filter(|it| !it.starts_with('#'));
        let plain = lines.map(|it| match it.split_once(" [") {
            Some((chain, _)) if it.starts_with(':') => format!("{chain} [0:0]"),
            _ => it.to_owned(),
        });
        Ok(Some(plain.fold(String::new(), |all, it| all + &it + "\n")))
    }
}

/// A unit's name, as its state is kept.
pub(crate) fn plain_name(name: &str) -> &str {
    name.strip_suffix(".service").unwrap_or(name)
}

/// How a unit stands now.
pub(crate) fn unit_state(host: &dyn Probe, name: &str) -> io::Result<UnitState> {
    let unit = host.unit(name)?;
    let runs = unit.active.as_deref().map(|it| matches!(it, "active" | "activating" | "reloading"));
    Ok(UnitState { found: unit.found, enabled: unit.enabled, runs })
}

/// What a name that is no path stands for: its state now, and the contents that belong to it.
pub(super) fn state(host: &dyn Probe, path: &Path) -> io::Result<Option<(State, Option<String>)>> {
    let Some((kind, name)) = path.to_str().and_then(|it| it.split_once('/')) else { return Ok(None) };
    Ok(match (kind, Filter::of_name(name)) {
        ("unit", _) => Some((State::Unit(unit_state(host, name)?), None)),
        ("rules", Some(filter)) => Some(match filter.rules(host)? {
            Some(rules) => (State::Rules { hash: hash_of(rules.as_bytes()) }, Some(rules)),
            None => (State::Other, None),
        }),
        _ => None,
    })
}

impl Keeper {
    /// Called before something is done that needs a program: keeps what can be put back of it.
    pub(crate) fn before_action(&mut self, host: &mut dyn Host, action: &Action) -> io::Result<()> {
        if !host.is_keeping() {
            return Ok(());
        }
        match action {
            Action::Unit(_, UnitAction::DaemonReload) => Ok(()),
            Action::Unit(name, action) => self.before_unit(host, plain_name(name), *action),
            Action::Run(command) => match Filter::of_command(command) {
                Some(filter) => self.keep_named(host, &format!("rules/{}", filter.name())),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn before_unit(&mut self, host: &mut dyn Host, name: &str, action: UnitAction) -> io::Result<()> {
        self.keep_named(host, &format!("unit/{name}"))?;
        if FILTER_UNITS.contains(&name) {
            for filter in Filter::ALL {
                match self.keep_named(host, &format!("rules/{}", filter.name())) {
                    // It is not installed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    kept => kept?,
                }
            }
        }
        let reload = match action {
            UnitAction::Restart | UnitAction::RestartSoon => false,
            UnitAction::Reload | UnitAction::ReloadSoon => true,
            _ => return Ok(()),
        };
        let path = PathBuf::from(format!("again/{name}"));
        if self.paths.insert(path.clone()) {
            host.keep(&Kept { path, state: State::Again { reload }, after: false }, None)?;
        }
        Ok(())
    }

    fn keep_named(&mut self, host: &mut dyn Host, name: &str) -> io::Result<()> {
        let path = PathBuf::from(name);
        if self.paths.contains(&path) {
            return Ok(());
        }
        let Some((state, contents)) = state(host, &path)? else { return Ok(()) };
        host.keep(&Kept { path: path.clone(), state, after: false }, contents.as_deref().map(str::as_bytes))?;
        self.paths.insert(path);
        Ok(())
    }
}

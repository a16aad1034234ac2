//! Units and packet filters: what is no path is kept under a name that is not absolute.

use super::{Keeper, Kept, State};
use crate::{
    Host, Probe,
    diff::hash_of,
    host::{Action, Command, Query, UnitAction, query},
    output::size_in_words,
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

    /// All its rules, without what counts and what is said of the time.
    pub(crate) fn rules(self, host: &dyn Probe) -> io::Result<Rules> {
        let output = host.query(&self.query())?;
        if output.dropped > 0 {
            return Ok(Rules::TooLong);
        }
        if output.code != Some(0) {
            return Ok(Rules::Refused);
        }
        let lines = output.stdout.lines().filter(|it| !it.starts_with('#'));
        let plain = lines.map(|it| match it.split_once(" [") {
            Some((chain, _)) if it.starts_with(':') => format!("{chain} [0:0]"),
            _ => it.to_owned(),
        });
        Ok(Rules::Had(plain.fold(String::new(), |all, it| all + &it + "\n")))
    }
}

/// What a packet filter says of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Their text.
    Had(String),
    /// They are longer than what is read.
    TooLong,
    /// The program failed.
    Refused,
}

impl Rules {
    fn kept(self) -> (State, Option<String>) {
        match self {
            Self::Had(rules) => (State::Rules { hash: hash_of(rules.as_bytes()) }, Some(rules)),
            Self::TooLong | Self::Refused => (State::Other, None),
        }
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
        ("rules", Some(filter)) => Some(filter.rules(host)?.kept()),
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
            Action::Unit(_, UnitAction::DaemonReload) => {}
            Action::Unit(name, action) => self.before_unit(host, plain_name(name), *action)?,
            Action::Run(command) => {
                if let Some(filter) = Filter::of_command(command) {
                    self.keep_rules(host, filter, true)?;
                }
            }
            _ => {}
        }
        host.secure_kept()
    }

    /// With a way back, rules that cannot be put back must not be altered: those of a filter that refuses to say its
    /// rules only if it is the very one that is `meant`.
    fn keep_rules(&mut self, host: &mut dyn Host, filter: Filter, meant: bool) -> io::Result<()> {
        let name = filter.name();
        let path = PathBuf::from(format!("rules/{name}"));
        if self.paths.contains(&path) {
            return Ok(());
        }
        let rules = filter.rules(host)?;
        if host.has_way_back() {
            let why = match &rules {
                Rules::TooLong => {
                    format!("are longer than {}", size_in_words(filter.query().answer_bytes_max()))
                }
                Rules::Refused if meant => "cannot be read".to_owned(),
                Rules::Refused | Rules::Had(_) => String::new(),
            };
            if !why.is_empty() {
                let text = format!(
                    "the rules that {name} has now {why} and could not be put back: apply this without a way back \
                     (--confirm-within)"
                );
                return Err(io::Error::other(text));
            }
        }
        let (state, contents) = rules.kept();
        self.keep_first(host, path, state, contents.as_deref())
    }

    fn keep_first(
        &mut self,
        host: &mut dyn Host,
        path: PathBuf,
        state: State,
        contents: Option<&str>,
    ) -> io::Result<()> {
        host.keep(&Kept { path: path.clone(), state, after: false }, contents.map(str::as_bytes))?;
        self.paths.insert(path);
        Ok(())
    }

    fn before_unit(&mut self, host: &mut dyn Host, name: &str, action: UnitAction) -> io::Result<()> {
        let path = PathBuf::from(format!("unit/{name}"));
        if !self.paths.contains(&path) {
            let state = State::Unit(unit_state(host, name)?);
            self.keep_first(host, path, state, None)?;
        }
        if FILTER_UNITS.contains(&name) {
            for filter in Filter::ALL {
                match self.keep_rules(host, filter, false) {
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
}

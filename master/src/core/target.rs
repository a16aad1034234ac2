//! Expands target expressions over accepted minions. Keys in quarantine are in no target, `*` included.

use super::{Master, memory::Book, roster::Live, submit::TARGET_CHARS_MAX};
use lang::target::{Candidate, Target};
use model::{
    Diagnostic, Grains, Labels, Minion, MinionId, Presence,
    api::{ErrorKind, ErrorView},
    broken,
};
use std::{cell::Cell, collections::BTreeMap, net::IpAddr};

/// Grains that hold addresses.
const ADDRESS_GRAINS: &[&str] = &["ipv4", "ipv6", "ip4", "ip6", "addresses"];

/// One minion, as expressions see it.
pub(crate) struct Seen<'a> {
    pub(crate) minion: &'a Minion,
    pub(crate) live: Option<&'a Live>,
    /// Somebody asked for a pillar, which the core does not have.
    pub(crate) asked_pillar: &'a Cell<bool>,
}

impl Candidate for Seen<'_> {
    fn id(&self) -> &MinionId {
        &self.minion.id
    }
    fn grains(&self) -> &Grains {
        &self.minion.grains
    }
    fn labels(&self) -> &Labels {
        &self.minion.labels
    }
    fn addresses(&self) -> Vec<IpAddr> {
        let texts =
            ADDRESS_GRAINS.iter().filter_map(|name| self.minion.grains.get(*name)?.as_array()).flatten();
        let grains = texts.filter_map(|it| it.as_str()?.split('/').next()?.parse().ok());
        let own = self.minion.address.as_deref().and_then(|it| it.parse().ok());
        let mut addresses: Vec<IpAddr> = grains.chain(own).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
    fn presence(&self) -> Presence {
        self.live.map_or(Presence::Lost, |it| it.presence)
    }
    fn failed(&self) -> bool {
        let last = self.minion.last_apply.as_ref();
        last.is_some_and(|it| !super::memory::is_good(it.word))
    }
    fn drifted(&self) -> bool {
        self.live.and_then(|it| it.drift).is_some_and(|it| it > 0)
    }
    fn in_maintenance(&self) -> bool {
        self.live.is_some_and(|it| it.maintenance)
    }
    fn pillar(&self, _path: &str) -> Option<serde_json::Value> {
        self.asked_pillar.set(true);
        None
    }
    fn assigned(&self) -> Vec<String> {
        self.live.and_then(|it| it.assigned.clone()).unwrap_or_default()
    }
}

/// A refusal.
pub(crate) fn refuse(kind: ErrorKind, message: String, hint: Option<&str>) -> ErrorView {
    ErrorView { kind, message, hint: hint.map(str::to_owned), diagnostics: Vec::new() }
}

fn usage(message: &str, diagnostics: Vec<Diagnostic>) -> ErrorView {
    let mut error = refuse(ErrorKind::Usage, message.to_owned(), None);
    error.diagnostics = diagnostics;
    error
}

impl Master {
    /// Parses and expands; an empty match is an error.
    pub(crate) fn expand(&self, text: &str) -> Result<Vec<MinionId>, ErrorView> {
        let matched: Vec<MinionId> = self.explain(text)?.into_iter().map(|it| it.0).collect();
        if matched.is_empty() && !broken::leaves_out("empty-match") {
            let message = format!("no minion matches `{}`", super::roster::cut(text, 256));
            return Err(refuse(ErrorKind::NoMatch, message, Some("`labctl minion list` shows who is there")));
        }
        Ok(matched)
    }

    /// Parses and expands, with the clause that matched; may be empty.
    pub(crate) fn explain(&self, text: &str) -> Result<Vec<(MinionId, Option<String>)>, ErrorView> {
        if text.chars().count() > TARGET_CHARS_MAX {
            return Err(usage("a target expression has at most 4096 characters", Vec::new()));
        }
        let target =
            Target::parse(text).map_err(|it| usage("the target expression cannot be read", vec![it]))?;
        self.expand_parsed(&target, true)
    }

    /// All members as templates of others see them, by name.
    pub(crate) fn roster_of_all(&self) -> Vec<lang::RosterEntry> {
        roster_of(&self.book, &self.live)
    }

    /// Expands what was parsed before, such as a rule's target.
    pub(crate) fn expand_parsed(
        &self,
        target: &Target,
        explain: bool,
    ) -> Result<Vec<(MinionId, Option<String>)>, ErrorView> {
        let asked_pillar = Cell::new(false);
        let seen: Vec<Seen<'_>> = self
            .book
            .minions
            .values()
            .map(|minion| Seen { minion, live: self.live.get(&minion.id), asked_pillar: &asked_pillar })
            .collect();
        if explain && !seen.is_empty() {
            let candidates: Vec<&dyn Candidate> = seen.iter().map(|it| it as &dyn Candidate).collect();
            let unknown = target.unknown_names(&candidates);
            if !unknown.is_empty() {
                return Err(usage("the target expression names what no minion has", unknown));
            }
        }
        let matched = seen
            .iter()
            .filter(|it| target.matches(*it))
            .map(|it| (it.minion.id.clone(), if explain { target.explain(it) } else { None }))
            .collect();
        if asked_pillar.get() {
            return Err(usage(
                "minions cannot be chosen by pillar here: use `state:` or `label:`",
                Vec::new(),
            ));
        }
        Ok(matched)
    }
}

/// All members as templates of others and of rules see them, by name.
pub(crate) fn roster_of(book: &Book, live: &BTreeMap<MinionId, Live>) -> Vec<lang::RosterEntry> {
    let entry = |it: &Minion| {
        let live = live.get(&it.id);
        lang::RosterEntry {
            id: it.id.clone(),
            address: it.address.clone(),
            labels: it.labels.clone(),
            presence: live.map_or(Presence::Lost, |it| it.presence),
            maintenance: live.is_some_and(|it| it.maintenance),
            grains: Grains::new(),
        }
    };
    book.minions.values().map(entry).collect()
}

//! What templates see of the other minions: `roster "label:role=web"`. Only what the master itself knows is in it: what
//! a machine says of itself would get into other machines' files.

use crate::target::{Candidate, Needs, Target};
use model::{Grains, Labels, MinionId, Presence};
use serde_json::{Value, json};
use std::{cell::RefCell, net::IpAddr, sync::Arc};

/// A minion as others' templates see it.
#[derive(Clone, Debug)]
pub struct RosterEntry {
    /// Its name.
    pub id: MinionId,
    /// Where it last connected from.
    pub address: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// Whether it is there.
    pub presence: Presence,
    /// It is left alone for a while.
    pub maintenance: bool,
    /// Nothing: grains are not shared.
    pub grains: Grains,
}

/// What a compile may see: nobody to ask, not allowed and why, or everybody.
#[derive(Clone, Debug, Default)]
pub enum Roster {
    /// There is no master here: nobody is known.
    #[default]
    None,
    /// This minion's templates may not ask; the text says what to do.
    Refused(String),
    /// All members, by name.
    All(Arc<[RosterEntry]>),
}

thread_local! {
    static ROSTER: RefCell<Roster> = const { RefCell::new(Roster::None) };
}

/// Puts back what was there before, also when a compile ends in a bug.
struct Before(Roster);

impl Drop for Before {
    fn drop(&mut self) {
        ROSTER.set(std::mem::take(&mut self.0));
    }
}

/// Compiles with a roster: it counts on this thread until `work` has ended.
pub fn with_roster<T>(roster: Roster, work: impl FnOnce() -> T) -> T {
    let _before = Before(ROSTER.replace(roster));
    work()
}

impl Candidate for RosterEntry {
    fn id(&self) -> &MinionId {
        &self.id
    }
    fn grains(&self) -> &Grains {
        &self.grains
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
    fn presence(&self) -> Presence {
        self.presence
    }
    fn failed(&self) -> bool {
        false
    }
    fn in_maintenance(&self) -> bool {
        self.maintenance
    }
    fn pillar(&self, _: &str) -> Option<Value> {
        None
    }
    fn assigned(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Those who match, by name.
pub(crate) fn matching(expression: &str) -> Result<Value, String> {
    let target = Target::parse(expression).map_err(|it| it.message)?;
    if target.needs(Needs::Asserted) || target.needs_compiler() {
        return Err(
            "sees names, labels, presence and maintenance only: no grains, pillar or states".to_owned()
        );
    }
    ROSTER.with_borrow(|roster| match roster {
        Roster::None => Ok(json!([])),
        Roster::Refused(why) => Err(why.clone()),
        Roster::All(all) => Ok(all.iter().filter(|it| target.matches(*it)).map(shown).collect()),
    })
}

fn shown(it: &RosterEntry) -> Value {
    let online = matches!(it.presence, Presence::Up | Presence::Quiet);
    let presence = crate::condition::presence_word(it.presence);
    let address = it.address.as_deref().unwrap_or("");
    json!({"id": it.id, "address": address, "labels": it.labels, "presence": presence, "online": online})
}

//! The reactor: what rules make of events, with memory and with reasons. Time, the world and what was remembered come in
//! as values; decisions and what is to be remembered go out. The same input gives the same decisions.

mod aftermath;
mod index;
mod judge;
mod key;
mod memory;
mod replay;
mod slot;
mod trail;
mod unheard;
mod wake;

pub use aftermath::{aftermath, waits_for};
pub use memory::{KEPT_BYTES_MAX, KEYS_IN_ALL_MAX, KEYS_MAX};
pub use replay::{REPLAYED_MAX, Replayed, StillWorld, replay};

use crate::{
    RosterEntry,
    rules::{Action, Context, Moment, Others, Rules},
    target::Target,
};
use index::Index;
use memory::Memory;
use model::{Clause, DecisionAction, Event, Grains, Labels, MinionId, Presence, Timestamp, Verdict};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Deadlines that are dealt with in one call of [`Reactor::wake`]; the next one is due at once then.
pub const WAKES_MAX: usize = 1_000;

/// What rules can see beside the event.
pub trait World {
    /// A member by its name.
    fn member(&self, id: &MinionId) -> Option<Member<'_>>;
    /// Whether it is left alone for a while.
    fn maintenance(&self, id: &MinionId) -> Option<Maintenance>;
    /// Seconds that the clocks on the wall are ahead of UTC.
    fn east_s(&self, now: Timestamp) -> i32;
    /// Whether a boot is still to be configured by a rule, and if not, why; nothing if the reactor is to remember
    /// that by itself.
    fn boot_is_due(&self, rule: &str, id: &MinionId, boot: &str) -> Option<Result<(), String>>;
    /// How many members match; nothing if nobody can be counted.
    fn count(&self, target: &Target) -> Option<usize>;
    /// All members as templates see them, by name.
    fn roster(&self) -> Vec<RosterEntry>;
}

/// A member as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Grains.
    pub grains: &'a Grains,
    /// Labels.
    pub labels: &'a Labels,
    /// Whether it is there.
    pub presence: Presence,
    /// Which boot it said last.
    pub boot: Option<&'a str>,
}

/// A machine is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Until then; nothing if until it is said.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What one rule made of one event, or of time that passed.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The rule's name.
    pub rule: String,
    /// What told its events apart.
    pub key: String,
    /// Which member it is about, or would be if it were one.
    pub minion: Option<MinionId>,
    /// The event that it remembered, when time passed; nothing when it is the event that was given.
    pub kept: Option<Box<Event>>,
    /// The same again is the same: ids of jobs are made of it.
    pub identity: String,
    /// Whether it acts.
    pub fired: bool,
    /// With which of its lists.
    pub list: List,
    /// Every clause, in the order in which they are asked.
    pub clauses: Vec<Clause>,
    /// Which clause decided, with its values.
    pub reason: String,
    /// What it does, or which template could not be filled in. Nothing if it does not act.
    pub actions: Result<Vec<Action>, String>,
}

/// A list of actions of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `do`
    Do,
    /// The list of `else_after` at this place.
    ElseAfter(usize),
}

impl Judged {
    /// For the record, with what became of the actions.
    pub fn verdict(self, actions: Vec<DecisionAction>) -> Verdict {
        let Self { rule, key, fired, reason, clauses, .. } = self;
        Verdict { rule, key, fired, reason, actions, clauses }
    }
}

/// Rules in use and what they remember.
#[derive(Debug, Default)]
pub struct Reactor {
    rules: Arc<Rules>,
    index: Index,
    memory: Memory,
    disabled: BTreeSet<String>,
    now: Timestamp,
}

/// What happened, and all that rules can see then.
pub(crate) struct View<'a> {
    pub(crate) now: Timestamp,
    pub(crate) event: &'a Event,
    pub(crate) identity: &'a str,
    pub(crate) world: &'a dyn World,
    pub(crate) member: Option<Member<'a>>,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) context: Context<'a>,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        now: Timestamp,
        (event, identity): (&'a Event, &'a str),
        minion: Option<&'a MinionId>,
        world: &'a dyn World,
    ) -> Self {
        let member = minion.and_then(|it| world.member(it));
        let maintenance = minion.and_then(|it| world.maintenance(it));
        let maintenance = maintenance.filter(|it| it.until.is_none_or(|until| until > now));
        let context = Context {
            event,
            minion,
            grains: member.map(|it| it.grains),
            labels: member.map(|it| it.labels),
            presence: member.map(|it| it.presence),
            maintenance: maintenance.is_some(),
            telemetry: None,
            moment: Moment { at: now, east_s: world.east_s(now) },
            others: Some(Others(world)),
        };
        Self { now, event, identity, world, member, maintenance, context }
    }
}

impl Reactor {
    /// With rules and nothing remembered.
    pub fn new(rules: Rules) -> Self {
        let mut reactor = Self::default();
        reactor.replace_rules(Timestamp(0), Arc::new(rules));
        reactor
    }

    /// Rules in use.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Takes other rules into use, all at once. What rules remember that were not altered is kept, also what was given to
    /// [`Reactor::restore`]; the names of the others that remembered something are returned.
    pub fn replace_rules(&mut self, now: Timestamp, rules: Arc<Rules>) -> Vec<String> {
        self.now = self.now.max(now);
        self.index = Index::new(&rules);
        let dropped = self.memory.adopt(self.now, &self.rules, &rules);
        self.rules = rules;
        dropped
    }

    /// Rules that are switched off beside those that say so themselves.
    pub fn set_disabled(&mut self, names: BTreeSet<String>) {
        self.disabled = names;
    }

    /// Takes what [`Reactor::take_changes`] gave before a restart; it is used as soon as there are rules.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = (String, Value)>) {
        self.memory.restore(rows);
    }

    /// What to remember since the last call: by key, nothing for what is forgotten.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        self.memory.take_changes(&self.rules)
    }

    /// The maintenance of a machine is over, however that came: what rules would have done meanwhile is due now.
    pub fn maintenance_ended(&mut self, now: Timestamp, minion: &MinionId) {
        self.now = self.now.max(now);
        let rules = Arc::clone(&self.rules);
        self.memory.release(self.now, minion, &rules);
    }

    /// When [`Reactor::wake`] is to be called at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.memory.next_deadline()
    }

    /// Bytes of the events that are remembered, about.
    pub fn kept_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// How many keys are remembered, and how many were forgotten because there were too many.
    pub fn keys(&self) -> (usize, u64) {
        (self.memory.keys(), self.memory.forgotten())
    }

    /// Whether some rule's `on` lets a tag through.
    pub fn hears(&self, tag: &str) -> bool {
        !self.index.find(&self.rules, tag).is_empty()
    }

    /// What rules make of an event: one for each whose `on` lets it through, those of higher priority first.
    pub fn react(&mut self, now: Timestamp, event: &Event, identity: &str, world: &dyn World) -> Vec<Judged> {
        self.now = self.now.max(now);
        let rules = Arc::clone(&self.rules);
        let found = self.index.find(&rules, &event.tag);
        if found.is_empty() {
            return Vec::new();
        }
        let minion = minion_of(&event.tag);
        let view = View::new(self.now, (event, identity), minion.as_ref(), world);
        found.iter().filter_map(|found| judge::event(self, &rules.rules[found.rule], found, &view)).collect()
    }

    /// What one rule makes of an event, whatever its `on` says of the tag.
    pub fn react_by(
        &mut self,
        rule: &str,
        now: Timestamp,
        (event, identity): (&Event, &str),
        world: &dyn World,
    ) -> Option<Judged> {
        self.now = self.now.max(now);
        let rules = Arc::clone(&self.rules);
        let place = rules.rules.iter().position(|it| it.name == rule)?;
        let found = index::Found { rule: place, filters: 1, arms: false, disarms: false };
        let minion = minion_of(&event.tag);
        let view = View::new(self.now, (event, identity), minion.as_ref(), world);
        judge::event(self, &rules.rules[place], &found, &view)
    }

    /// What rules make of the time that has passed.
    pub fn wake(&mut self, now: Timestamp, world: &dyn World) -> Vec<Judged> {
        self.now = self.now.max(now);
        wake::wake(self, world)
    }

    /// What a rule would make of an event, clause by clause, also if its `on` does not let it through. Nothing is
    /// remembered of it. `None`: there is no such rule.
    pub fn explain(&self, rule: &str, now: Timestamp, event: &Event, world: &dyn World) -> Option<Judged> {
        let found = self.rules.rules.iter().position(|it| it.name == rule)?;
        let now = self.now.max(now);
        let one = Rules { rules: vec![self.rules.rules[found].clone()] };
        let identity = format!("event:{}", event.number);
        let minion = minion_of(&event.tag);
        let view = View::new(now, (event, &identity), minion.as_ref(), world);
        let mut alone = Self {
            index: Index::new(&one),
            memory: self.memory.of_one(found, &key::slots(&one.rules[0], &view)),
            rules: Arc::new(one),
            disabled: self.disabled.clone(),
            now,
        };
        let judged = alone.react(alone.now, event, &identity, world).pop();
        judged.or_else(|| Some(unheard::unheard(&alone.rules.rules[0], event, &identity)))
    }

    /// The same for all rules, in their order.
    pub fn explain_all(&self, now: Timestamp, event: &Event, world: &dyn World) -> Vec<Judged> {
        let names = self.rules.rules.iter().map(|it| it.name.as_str());
        names.filter_map(|name| self.explain(name, now, event, world)).collect()
    }

    /// How many keys each rule remembers something of.
    pub fn keys_of_rules(&self) -> BTreeMap<String, usize> {
        let names = self.rules.rules.iter().enumerate();
        names.map(|(place, rule)| (rule.name.clone(), self.memory.keys_of(place))).collect()
    }
}

/// The minion that a tag is about.
pub fn minion_of(tag: &str) -> Option<MinionId> {
    tag.strip_prefix("minion/")?.split('/').next()?.parse().ok()
}

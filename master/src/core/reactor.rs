//! Events and what rules make of them. A boot that a rule has not configured yet stays due until it has.

use super::{
    Effect, Entry, Master, Part,
    due::{Due, may_begin},
    maintenance::maintenance_in,
    memory::Book,
    reactions::Firing,
    roster::{Live, cut},
    switches::OFF_ROW,
    target::{Seen, roster_of},
    timers::Timer,
};
use lang::{
    reactor::{Judged, List, Maintenance, Member, World, minion_of},
    rules::{Rule, Rules},
    target::Target,
};
use model::{
    Decision, DecisionAction, Event, Job, JobId, MinionId, Presence, Source, Timestamp, Verdict,
    api::RuleOff, broken,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Rule-made events that may lead to each other.
pub(crate) const HOPS_MAX: u32 = lang::rules::HOPS_MAX;
/// Events that may wait for a reaction. Beyond it events are on record and nothing reacts to them, which is counted.
pub(crate) const QUEUE_MAX: usize = 100_000;
/// Rows of events that wait, among what rules remember: no rule has this name.
const QUEUE_ROW: &str = "/queue/";
/// How long rules wait whose deadlines come while the store is full.
const FULL_MS: u64 = 10_000;

/// How often a rule did what since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) fired: u64,
    pub(crate) held: u64,
    pub(crate) refused: u64,
    /// Reactions and calls that were left out because too many waited.
    pub(crate) dropped: u64,
}

/// Rules in use and what they are at.
#[derive(Debug, Default)]
pub(crate) struct Reactor {
    pub(crate) rules: Arc<Rules>,
    pub(crate) engine: lang::reactor::Reactor,
    pub(crate) counts: BTreeMap<String, Counts>,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) dues: BTreeMap<(MinionId, String), Due>,
    pub(crate) due_jobs: BTreeMap<JobId, (MinionId, String)>,
    /// Which events led to open jobs of rules; their reactions keep them over a restart.
    pub(crate) causes: BTreeMap<JobId, Vec<u64>>,
    /// When the rules are woken.
    pub(crate) wakes_at: Option<Timestamp>,
    /// Events that nothing reacted to because too many waited.
    pub(crate) dropped: u64,
    /// Rules that operators switched off.
    pub(crate) off: BTreeMap<String, RuleOff>,
    /// Rules were read. Before, all that is about rules rests: memory, schedules, reactions, and events wait on disk.
    pub(crate) awake: bool,
}

/// An event to react to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queued {
    pub(crate) event: Event,
    pub(crate) identity: String,
    /// It only says that this boot is due again for this rule.
    pub(crate) due: Option<(MinionId, String)>,
    /// It is on disk that it waits.
    #[serde(skip, default = "on_disk")]
    pub(crate) kept: bool,
}

fn on_disk() -> bool {
    true
}

/// What rules can see of the master's memory.
pub(crate) struct Around<'a> {
    book: &'a Book,
    live: &'a BTreeMap<MinionId, Live>,
    dues: &'a BTreeMap<(MinionId, String), Due>,
    now: Timestamp,
}

impl World for Around<'_> {
    fn member(&self, id: &MinionId) -> Option<Member<'_>> {
        let it = self.book.minions.get(id)?;
        let presence = self.live.get(id).map_or(Presence::Lost, |it| it.presence);
        Some(Member { grains: &it.grains, labels: &it.labels, presence, boot: it.boot.as_deref() })
    }
    fn maintenance(&self, id: &MinionId) -> Option<Maintenance> {
        let it = maintenance_in(self.book, id)?;
        Some(Maintenance { until: it.until, reason: it.reason })
    }
    fn east_s(&self, now: Timestamp) -> i32 {
        lang::schedule::east_s(now)
    }
    fn boot_is_due(&self, rule: &str, id: &MinionId, boot: &str) -> Option<Result<(), String>> {
        Some(may_begin(self.book, self.dues, self.now, (rule, id, boot)))
    }
    fn count(&self, target: &Target) -> Option<usize> {
        let asked_pillar = Cell::new(false);
        let seen = |minion| Seen { minion, live: self.live.get(&minion.id), asked_pillar: &asked_pillar };
        Some(self.book.minions.values().filter(|it| target.matches(&seen(it))).count())
    }
    fn roster(&self) -> Vec<lang::RosterEntry> {
        roster_of(self.book, self.live)
    }
}

impl Reactor {
    /// A rule in use.
    pub(crate) fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|it| it.name == name)
    }

    /// A minion is no member any more.
    pub(crate) fn forget(&mut self, id: &MinionId) {
        self.dues.retain(|key, _| key.0 != *id);
        self.due_jobs.retain(|_, key| key.0 != *id);
    }
}

/// Whether a text can be an event's tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    let level = |it: &str| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.:@".contains(&it))
    };
    if broken::leaves_out("event-tags") {
        return true;
    }
    tag.len() <= 256 && tag.split('/').count() <= 16 && tag.split('/').all(level)
}

/// Id of a reaction's job: the same rule, event and action are the same job.
pub(crate) fn reaction_id(rule: &str, identity: &str, action: usize) -> JobId {
    let hash = Sha256::digest(format!("lab1-rule\0{rule}\0{identity}\0{action}").as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    JobId(u128::from_be_bytes(first))
}

pub(crate) fn boot_identity(minion: &MinionId, boot: &str, attempt: u32) -> String {
    format!("boot:{minion}:{boot}:{attempt}")
}

pub(crate) fn level(name: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '-' };
    cut(&name.chars().map(plain).collect::<String>(), 64)
}

impl Master {
    pub(crate) fn emit_master(&mut self, tag: String, data: Value) {
        self.emit_as(tag, Source::Master, data, 0, None);
    }

    /// Puts an event on record and lets the rules see it. `identity` tells it apart from all others, also when it comes
    /// again after a crash; by default its number.
    pub(crate) fn emit_as(
        &mut self,
        tag: String,
        source: Source,
        data: Value,
        hops: u32,
        identity: Option<String>,
    ) -> Event {
        let event = Event { number: 0, tag, source, at: self.now, data, hops, cause: Vec::new() };
        self.emit_event(event, identity)
    }

    /// Puts an event on record that another one led to.
    pub(crate) fn emit_after(&mut self, parent: &Event, tag: String, source: Source, data: Value) -> Event {
        let hops = parent.hops + 1;
        let cause = chain(parent);
        self.emit_event(Event { number: 0, tag, source, at: self.now, data, hops, cause }, None)
    }

    /// Puts an event on record that is about a job.
    pub(crate) fn emit_of_job(&mut self, tag: &str, data: Value, job: &Job) {
        let cause = self.reactor.causes.get(&job.id).cloned().unwrap_or_default();
        let (tag, source, hops) = (tag.to_owned(), Source::Master, job.hops);
        self.emit_event(Event { number: 0, tag, source, at: self.now, data, hops, cause }, None);
    }

    fn emit_event(&mut self, mut event: Event, identity: Option<String>) -> Event {
        event.number = self.book.last_event + 1;
        self.book.last_event = event.number;
        self.rolls.hear(&event.tag);
        self.out.push(Effect::Event(Box::new(event.clone())));
        if self.degraded.is_none() {
            self.record(Entry::Event(event.clone()));
            let identity = identity.unwrap_or_else(|| format!("event:{}", event.number));
            self.enqueue(Queued { event: event.clone(), identity, due: None, kept: false });
        }
        event
    }

    /// An event waits for its reaction.
    pub(crate) fn enqueue(&mut self, queued: Queued) {
        if self.reactor.queue.len() >= QUEUE_MAX {
            self.reactor.dropped += 1;
            return self.count("events without reaction: too many wait");
        }
        self.reactor.queue.push_back(queued);
    }

    /// Lets the rules see what happened in this step, in order, as long as there is something left of what one step does.
    /// What is too much for it is on disk as waiting, and the next step comes at once.
    pub(crate) fn react_to_all(&mut self, left: &mut usize) {
        if self.degraded.is_some() {
            return;
        }
        if self.reactor.awake {
            while *left > 0 {
                let Some(queued) = self.reactor.queue.pop_front() else { break };
                *left -= 1;
                if queued.kept {
                    self.record(queue_row(&queued.event, None));
                }
                self.react(&queued);
            }
        }
        let mut queue = std::mem::take(&mut self.reactor.queue);
        for queued in queue.iter_mut().rev().take_while(|it| !it.kept) {
            queued.kept = true;
            let data = serde_json::to_value(&*queued).unwrap_or_default();
            self.record(queue_row(&queued.event, Some(data)));
        }
        if !queue.is_empty() && self.reactor.awake {
            self.wake_at(self.now, Timer::Rules);
        }
        self.reactor.queue = queue;
        self.keep_rule_memory();
    }

    /// What rules remember goes to disk with the event that they remember it of.
    fn keep_rule_memory(&mut self) {
        for (key, data) in self.reactor.engine.take_changes() {
            let entry = Entry::Kept { part: Part::RuleMemory, key, data };
            if broken::leaves_out("rule-memory-on-disk") {
                self.later(entry);
            } else {
                self.record(entry);
            }
        }
        let Some(at) = self.reactor.engine.next_wake() else { return };
        // What is left of too many deadlines is for the next step.
        let at = at.max(self.now.plus_ms(1));
        if self.reactor.wakes_at.is_none_or(|it| it > at) {
            self.reactor.wakes_at = Some(at);
            self.wake_at(at, Timer::Rules);
        }
    }

    /// After a restart: what rules remembered, and events that waited for them. Nothing happens before there are rules.
    pub(crate) fn restore_reactor(&mut self) {
        let rows = self.book.kept_of(Part::RuleMemory).map(|(key, data)| (key.to_owned(), data.clone()));
        let (waiting, remembered): (Vec<_>, Vec<_>) = rows.partition(|it| it.0.starts_with(QUEUE_ROW));
        let (off, remembered): (Vec<_>, Vec<_>) =
            remembered.into_iter().partition(|it| it.0.starts_with(OFF_ROW));
        let queued = waiting.into_iter().filter_map(|it| serde_json::from_value(it.1).ok());
        self.reactor.queue.extend(queued);
        self.reactor.engine.restore(remembered);
        self.restore_switches(off);
    }

    /// The maintenance of a machine is over: what rules held back is due.
    pub(crate) fn release_rules(&mut self, id: &MinionId) {
        self.reactor.engine.maintenance_ended(self.now, id);
        self.keep_rule_memory();
    }

    /// A deadline of a rule has passed.
    pub(crate) fn wake_rules(&mut self) {
        self.reactor.wakes_at = None;
        if self.degraded.is_some() {
            return self.wake_at(self.now.plus_ms(FULL_MS), Timer::Rules);
        }
        self.end_switches();
        let Self { reactor, book, live, now, .. } = self;
        let world = Around { book, live, dues: &reactor.dues, now: *now };
        for judged in reactor.engine.wake(*now, &world) {
            let Some(kept) = judged.kept.clone() else { continue };
            let tag = format!("rule/{}/time", level(&judged.rule));
            let clause = judged.identity.rsplit(':').next().unwrap_or_default().to_owned();
            let data = json!({
                "key": judged.key, "minion": judged.minion, "clause": clause, "event": kept.number,
                "tag": kept.tag, "fired": judged.fired,
            });
            let event = self.emit_after(&kept, tag, Source::Master, data);
            self.reactions.decision = Some(event.number);
            let verdict = self.carry_out(judged, &kept);
            self.reactions.decision = None;
            self.decide(&event, vec![verdict]);
        }
        self.keep_rule_memory();
    }

    fn react(&mut self, queued: &Queued) {
        self.reaction_event(&queued.event);
        self.recall_dues(&queued.event.tag);
        let event = &queued.event;
        let start = queued.due.as_ref().map(|(minion, name)| {
            let tag = format!("minion/{minion}/start");
            (name, Event { tag, data: self.start_data(minion), ..event.clone() })
        });
        let Self { reactor, book, live, now, .. } = self;
        let world = Around { book, live, dues: &reactor.dues, now: *now };
        let judged = reactor.engine.react(*now, event, &queued.identity, &world);
        let again = start
            .as_ref()
            .and_then(|(name, start)| reactor.engine.react_by(name, *now, (start, &queued.identity), &world));
        let mut verdicts: Vec<Verdict> = judged.into_iter().map(|it| self.carry_out(it, event)).collect();
        if let (Some(again), Some((_, start))) = (again, start) {
            let mut verdict = self.carry_out(again, &start);
            verdict.reason = format!("due again: {}", verdict.reason);
            verdicts.push(verdict);
        }
        self.decide(event, verdicts);
    }

    /// Puts on record what rules made of an event.
    fn decide(&mut self, event: &Event, verdicts: Vec<Verdict>) {
        if verdicts.is_empty() {
            return;
        }
        for verdict in &verdicts {
            let counts = self.reactor.counts.entry(verdict.rule.clone()).or_default();
            if verdict.fired {
                counts.fired += 1;
            } else {
                counts.held += 1;
            }
            self.publish_rule(&verdict.rule);
        }
        let decision = Decision { event: event.number, tag: event.tag.clone(), at: self.now, verdicts };
        self.record(Entry::Decision(decision));
    }

    /// Does what a rule decided, under its own role.
    fn carry_out(&mut self, mut judged: Judged, event: &Event) -> Verdict {
        let rules = Arc::clone(&self.reactor.rules);
        let rule = rules.iter().find(|it| it.name == judged.rule);
        let Some(rule) = rule.filter(|_| judged.fired) else { return judged.verdict(Vec::new()) };
        let mut due = None;
        if rule.once_per_boot() && judged.list == List::Do {
            match self.begin_boot(rule, judged.minion.as_ref()) {
                Ok((id, identity)) => (due, judged.identity) = (Some(id), identity),
                Err(reason) => {
                    (judged.fired, judged.reason) = (false, reason);
                    return judged.verdict(Vec::new());
                }
            }
        }
        let actions = std::mem::replace(&mut judged.actions, Ok(Vec::new()));
        let done = match actions {
            Ok(actions) => {
                let firing = Firing {
                    key: judged.key.clone(),
                    minion: judged.minion.clone(),
                    identity: judged.identity.clone(),
                    due,
                };
                self.perform(rule, event, firing, actions)
            }
            Err(reason) => {
                self.rule_failed(&rule.name, event, &reason);
                if let Some(id) = due {
                    self.finish_start(&rule.name, &id, &judged.identity, true);
                }
                vec![DecisionAction::new("fill in its templates".to_owned(), None, reason)]
            }
        };
        judged.verdict(done)
    }

    /// Begins an attempt to configure a boot; what tells it apart.
    fn begin_boot(&mut self, rule: &Rule, minion: Option<&MinionId>) -> Result<(MinionId, String), String> {
        let member = minion.and_then(|id| Some((id.clone(), self.book.minions.get(id)?.boot.clone()?)));
        let Some((id, boot)) = member else {
            return Err("once_per: boot, and this event is of no minion that has booted".to_owned());
        };
        let attempt = self.begin_due(&rule.name, &id, &boot)?;
        let identity = boot_identity(&id, &boot, attempt);
        Ok((id, identity))
    }

    /// After a restart: jobs tell how far rules are with the boot of the minion that an event is about.
    fn recall_dues(&mut self, tag: &str) {
        let Some(id) = minion_of(tag) else { return };
        let Some(boot) = self.book.minions.get(&id).and_then(|it| it.boot.clone()) else { return };
        let rules = Arc::clone(&self.reactor.rules);
        let hears = |it: &&Rule| it.filters.iter().any(|it| lang::rules::filter_matches(it, tag));
        for rule in rules.iter().filter(|it| it.once_per_boot()).filter(hears) {
            self.recall_due(&rule.name, &id, &boot);
        }
    }

    /// What a rule would make of an event now, clause by clause; nothing is remembered of it.
    pub(crate) fn explain_rule(&self, rule: &str, event: &Event) -> Option<Judged> {
        self.reactor.engine.explain(rule, self.now, event, &self.around())
    }

    pub(crate) fn around(&self) -> Around<'_> {
        Around { book: &self.book, live: &self.live, dues: &self.reactor.dues, now: self.now }
    }
}

/// Numbers of the events that led to what a rule makes of this one.
pub(crate) fn chain(parent: &Event) -> Vec<u64> {
    let mut cause = parent.cause.clone();
    cause.push(parent.number);
    let more = cause.len().saturating_sub(HOPS_MAX as usize);
    cause.drain(..more);
    cause
}

/// That an event waits for its reaction, or does not any more.
fn queue_row(event: &Event, data: Option<Value>) -> Entry {
    let key = format!("{QUEUE_ROW}{:020}", event.number);
    Entry::Kept { part: Part::RuleMemory, key, data }
}

#[cfg(test)]
mod tests;

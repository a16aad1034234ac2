//! A reaction: one firing of a rule, from its first action to the end of its last job and call. One that is not done at
//! the end of a step is kept with the records of that step, and goes on after a restart.

use super::index::{Index, Place};
use crate::core::{Master, roster::cut, timers::Timer};
use lang::rules::{Action, Context, Others, Rule, Wait};
use model::{ActionEnd, DecisionAction, Event, JobId, MinionId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Reactions that are under way or wait for their turn.
pub(crate) const REACTIONS_MAX: usize = 20_000;
/// Reactions of one rule that wait for their turn; beyond it the oldest is dropped.
pub(crate) const QUEUED_MAX: usize = 100;
/// Numbers of actions in `on_failure`, so that their jobs and calls have ids of their own.
const FAILURE_INDEX: usize = 1_000;
/// Longest text in a record.
pub(super) const TEXT_MAX: usize = 512;

/// What tells a firing of a rule apart.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    /// What of the rule is done in order.
    pub(crate) key: String,
    /// Which minion it is about.
    pub(crate) minion: Option<MinionId>,
    /// The same again is the same.
    pub(crate) identity: String,
    /// It configures the boot of this one.
    pub(crate) due: Option<MinionId>,
}

/// One firing of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reaction {
    pub(crate) rule: String,
    /// What of the rule is done in order.
    pub(crate) key: String,
    pub(crate) minion: Option<MinionId>,
    pub(crate) identity: String,
    pub(crate) event: Event,
    /// The number of the decision that it is in the record of.
    pub(crate) decision: u64,
    pub(crate) due: Option<MinionId>,
    pub(crate) began: Timestamp,
    /// Order among those that wait for their turn.
    pub(crate) number: u64,
    pub(crate) queued: bool,
    /// Actions that are left, with their numbers.
    pub(crate) left: VecDeque<(usize, Step)>,
    pub(crate) done: Vec<DecisionAction>,
    /// What of it stands in the decision's record.
    pub(super) recorded: Vec<DecisionAction>,
    /// Jobs and calls that have not ended, and which action made them.
    pub(crate) jobs: Vec<(JobId, usize)>,
    pub(crate) calls: Vec<(String, usize)>,
    pub(crate) last_job: Option<JobId>,
    pub(crate) waits: Option<Waiting>,
    /// What went wrong first.
    failure: Option<(String, Option<JobId>)>,
    /// `on_failure` has been done.
    told: bool,
    /// What its next wait waits for has come already, while the action before it went on.
    #[serde(default)]
    pub(super) heard: Option<(u64, String)>,
}

/// Something that is left to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// An action of the rule.
    Do(Box<Action>),
    /// A wait that an action brings with it.
    Await { text: String, what: Await, timeout_ms: u64 },
}

/// What a reaction waits for, and which action says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) action: usize,
    pub(crate) until: Timestamp,
    pub(crate) what: Await,
}

/// What ends a wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Await {
    /// An event that a filter lets through, and a condition.
    Event(String, Option<String>),
    /// All of them are up, or away. Who is to come back has another boot than here.
    Presence { minions: Vec<MinionId>, up: bool, boots: BTreeMap<MinionId, String> },
    /// A job has ended.
    Job(JobId),
    /// A call has gone through.
    Call(String),
    /// Time has passed, which is no failure.
    Pause,
}

/// Of what `concurrency` counts reactions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Of a rule.
    Rule(String),
    /// Of a rule, about a minion or about none.
    Minion(String, Option<MinionId>),
}

/// All reactions that are not done.
#[derive(Debug, Default)]
pub(crate) struct Reactions {
    pub(crate) open: BTreeMap<String, Reaction>,
    pub(super) of_job: BTreeMap<JobId, String>,
    /// Of each rule and key, those that later ones have to wait for.
    pub(super) holding: Index<(String, String)>,
    /// Those that are under way.
    pub(super) working: Index<Scope>,
    /// Those that wait for an event, by their filters.
    pub(super) listening: Index<String>,
    /// Those that wait for presence.
    pub(super) watching: Index<MinionId>,
    /// In the record of which decision they are.
    pub(super) in_decision: Index<u64>,
    /// Decisions whose last reaction is done.
    pub(super) decided: Vec<u64>,
    /// Those that wait for their turn, by rule, in order.
    pub(super) queued: BTreeMap<String, BTreeMap<u64, String>>,
    /// Those that can go on.
    pub(crate) ready: VecDeque<String>,
    pub(super) dirty: BTreeSet<String>,
    pub(super) next_number: u64,
    /// The decision that is being carried out, if it is not about the event itself.
    pub(crate) decision: Option<u64>,
}

/// The id of a reaction: the same rule and identity are the same reaction.
pub(crate) fn reaction_key(rule: &str, identity: &str) -> String {
    let hash = Sha256::digest(format!("lab1-reaction\0{rule}\0{identity}").as_bytes());
    hash[..16].iter().fold(String::with_capacity(32), |text, byte| format!("{text}{byte:02x}"))
}

impl Reaction {
    fn new(rule: &Rule, event: &Event, firing: Firing, actions: Vec<Action>) -> Self {
        let Firing { key, minion, identity, due } = firing;
        Self {
            rule: rule.name.clone(),
            key,
            minion,
            identity,
            event: event.clone(),
            decision: event.number,
            due,
            began: event.at,
            number: 0,
            queued: false,
            left: actions.into_iter().map(|it| Step::Do(Box::new(it))).enumerate().collect(),
            done: Vec::new(),
            recorded: Vec::new(),
            jobs: Vec::new(),
            calls: Vec::new(),
            last_job: None,
            waits: None,
            failure: None,
            told: false,
            heard: None,
        }
    }
    /// The event that the next action waits for, while the one before it goes on: what comes meanwhile counts.
    pub(super) fn next_event(&self) -> Option<(&str, Option<&String>)> {
        let next = self.left.iter().find_map(|it| if let Step::Do(it) = &it.1 { Some(it) } else { None });
        match next.map(|it| &**it) {
            Some(Action::Wait { what: Wait::Event(filter, when), .. }) if !self.queued => {
                Some((filter, when.as_ref()))
            }
            _ => None,
        }
    }
    pub(super) fn place(&self, id: &str) -> Place {
        (self.number, id.to_owned())
    }
    pub(super) fn is_done(&self) -> bool {
        !self.queued
            && self.left.is_empty()
            && self.jobs.is_empty()
            && self.calls.is_empty()
            && self.waits.is_none()
    }
    /// Whether something can be done now.
    pub(super) fn can_go_on(&self) -> bool {
        let untold = self.failure.is_some() && !self.told;
        let next = self.waits.is_none() && (!self.left.is_empty() || self.due.is_some());
        !self.queued && (untold || next || self.is_done())
    }
    /// Whether later ones of its key have to wait for it.
    pub(super) fn holds_others(&self) -> bool {
        self.queued || !self.left.is_empty() || self.waits.is_some()
    }
    /// Whether something went wrong that is not about a job.
    fn has_failed(&self) -> bool {
        self.done.iter().any(|it| it.result != super::ACCEPTED)
            || self.failure.as_ref().is_some_and(|it| it.1.is_none())
    }
    /// It is not to be done any more.
    pub(super) fn give_up(&mut self, reason: &str) {
        (self.queued, self.told) = (false, true);
        self.left.clear();
        self.done = vec![DecisionAction::new("react".to_owned(), None, reason)];
    }
    /// Something went wrong; the first one counts.
    pub(crate) fn fail(&mut self, reason: &str, job: Option<JobId>) {
        if self.failure.is_none() && !self.told {
            self.failure = Some((cut(reason, TEXT_MAX), job));
        }
    }
    /// How an action has ended.
    pub(crate) fn end(&mut self, action: usize, now: Timestamp, end: ActionEnd) {
        let duration_ms = now.since_ms(self.began);
        let answer = cut(&end.answer, TEXT_MAX);
        if let Some(done) = self.done.get_mut(action) {
            done.end = Some(ActionEnd { duration_ms, answer, ..end });
        }
    }
    /// The wait is over, well or not; without it the rest is not done.
    pub(super) fn end_wait(&mut self, now: Timestamp, ok: bool, answer: &str) {
        let Some(wait) = self.waits.take() else { return };
        self.end(wait.action, now, ActionEnd { ok, answer: answer.to_owned(), ..ActionEnd::default() });
        if !ok {
            self.left.clear();
            self.fail(answer, None);
        }
    }
}

/// Taking them in, and letting them go on.
impl Master {
    /// Does what a rule says, as far as it can be done now. What was done at once; the rest ends up in the record of the
    /// decision. The same firing again does nothing anew.
    pub(crate) fn perform(
        &mut self,
        rule: &Rule,
        event: &Event,
        firing: Firing,
        actions: Vec<Action>,
    ) -> Vec<DecisionAction> {
        let id = reaction_key(&rule.name, &firing.identity);
        if let Some(open) = self.reactions.open.get(&id) {
            let (done, over) = (open.done.clone(), open.due.is_none().then(|| open.has_failed()));
            if let (Some(minion), Some(failed)) = (&firing.due, over) {
                self.finish_start(&rule.name, minion, &firing.identity, failed);
            }
            return done;
        }
        let mut reaction = Reaction::new(rule, event, firing, actions);
        reaction.decision = self.reactions.decision.unwrap_or(event.number);
        reaction.began = self.now;
        self.reactions.next_number += 1;
        reaction.number = self.reactions.next_number;
        if self.reactions.open.len() >= REACTIONS_MAX {
            let reason = format!("{REACTIONS_MAX} reactions are under way");
            self.rule_failed(&rule.name, event, &reason);
            if let Some(minion) = &reaction.due {
                self.finish_start(&rule.name, minion, &reaction.identity, true);
            }
            return vec![DecisionAction::new("react".to_owned(), None, reason)];
        }
        reaction.queued =
            !self.may_begin(&rule.name, &reaction.key, reaction.minion.as_ref(), reaction.number);
        if reaction.queued {
            let queue = self.reactions.queued.entry(rule.name.clone()).or_default();
            queue.insert(reaction.number, id.clone());
            let oldest = (queue.len() > QUEUED_MAX).then(|| queue.pop_first()).flatten();
            self.put(&id, reaction);
            if let Some((_, oldest)) = oldest {
                self.drop_reaction(&oldest);
            }
            return vec![DecisionAction::new("react".to_owned(), None, "waits for its turn")];
        }
        let done = self.go_on(&id, &mut reaction);
        reaction.recorded.clone_from(&done);
        self.settle(&id, reaction);
        done
    }

    /// Does what is left until it has to wait or nothing is left, then what `on_failure` says, if something went wrong.
    fn go_on(&mut self, id: &str, reaction: &mut Reaction) -> Vec<DecisionAction> {
        while reaction.waits.is_none()
            && let Some((index, step)) = reaction.left.pop_front()
        {
            match step {
                Step::Do(action) => self.act(id, reaction, index, *action),
                Step::Await { text, what, timeout_ms } => self.wait_for(reaction, &text, what, timeout_ms),
            }
        }
        if reaction.failure.is_some() && !reaction.told {
            self.do_on_failure(id, reaction);
        }
        if reaction.left.is_empty()
            && reaction.waits.is_none()
            && let Some(minion) = reaction.due.take()
        {
            let failed = reaction.has_failed();
            self.finish_start(&reaction.rule, &minion, &reaction.identity, failed);
        }
        reaction.done.clone()
    }

    /// Once for a reaction. What goes wrong in it is on record, and leads to nothing more.
    fn do_on_failure(&mut self, id: &str, reaction: &mut Reaction) {
        let Some((reason, job)) = reaction.failure.clone() else { return };
        reaction.told = true;
        let rules = Arc::clone(&self.reactor.rules);
        let rule = rules.iter().find(|it| it.name == reaction.rule);
        let Some(rule) = rule.filter(|it| !it.on_failure.is_empty()) else { return };
        let minion = reaction.minion.clone();
        let event = reaction.event.clone();
        let around = self.around();
        let context =
            Context { others: Some(Others::of(&around)), ..self.seen_by_rules(&event, minion.as_ref()) };
        let filled = rule.failure_actions(context, &reason, job);
        match filled {
            Ok(actions) => {
                for (index, action) in actions.into_iter().enumerate() {
                    self.act(id, reaction, FAILURE_INDEX + index, action);
                }
            }
            Err(cause) => {
                self.rule_failed(&rule.name, &reaction.event, &cause);
                let what = "fill in the templates of on_failure".to_owned();
                reaction.done.push(DecisionAction::new(what, None, cut(&cause, TEXT_MAX)));
            }
        }
    }

    /// Puts it back, or lets go of it and lets the next one begin; the record says how far it is.
    fn settle(&mut self, id: &str, mut reaction: Reaction) {
        // What it did itself may have ended what it waits for.
        let more = self.catch_up(&mut reaction);
        self.write_record(&mut reaction);
        if let Some(wait) = &reaction.waits {
            let timer = Timer::Reaction(id.to_owned());
            self.wake_at(wait.until, timer);
        }
        let rule = reaction.rule.clone();
        if reaction.is_done() && !more {
            self.forget_reaction(id, &reaction);
        } else {
            self.put(id, reaction);
        }
        if more {
            self.reactions.ready.push_back(id.to_owned());
        }
        self.let_next_begin(&rule);
    }

    /// Lets somebody go on who can; true if something was done. Before there are rules nobody can.
    pub(crate) fn run_ready(&mut self) -> bool {
        if !self.reactor.awake {
            return false;
        }
        let Some(id) = self.reactions.ready.pop_front() else { return false };
        if let Some(mut reaction) = self.reactions.open.get(&id).cloned()
            && !reaction.queued
        {
            self.go_on(&id, &mut reaction);
            self.settle(&id, reaction);
        }
        true
    }

    /// What is known of a reaction that configures a boot, as long as it is not done: whether its actions go on, and
    /// whether some of them have failed.
    pub(crate) fn attempt_under_way(&self, rule: &str, identity: &str) -> Option<(bool, bool)> {
        let reaction = self.reactions.open.get(&reaction_key(rule, identity))?;
        Some((reaction.due.is_some(), reaction.has_failed()))
    }
}

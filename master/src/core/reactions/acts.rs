//! What single actions of rules do beside jobs and events: labels, calls, packets that wake, power.

use super::{
    ACCEPTED, NOBODY_ELSE,
    outbox::{Errand, KeptAbout, Outgoing, outgoing_id},
    reaction::{Await, Reaction, Step},
};
use crate::core::{
    Effect, Entry, Master, Part, keys::check_labels, reactor::reaction_id, roster::cut, target::refuse,
};
use bus::message::{CAN_WAKE, ToMinion};
use lang::{
    roles::Deed,
    rules::{Action, PowerSet, ResolvedTarget},
};
use model::{
    Ask, DecisionAction, Event, JobKind, Labels, Minion, MinionId, Mode, Rolling, Source,
    api::{ErrorKind, ErrorView},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How long a machine stays off when its power is cycled.
const CYCLE_MS: u64 = 5_000;
/// How long a switch may take until what follows it is not done.
const SWITCH_MS: u64 = 2 * 60_000;
/// Addresses in one packet run.
const MACS_MAX: usize = 256;
/// Bytes of labels that an event about them names.
const LABEL_BYTES_MAX: usize = 8 << 10;

impl Master {
    /// Does one action of a reaction and notes it.
    pub(super) fn act(&mut self, id: &str, reaction: &mut Reaction, index: usize, action: Action) {
        let (rule, event) = (reaction.rule.clone(), reaction.event.clone());
        match action {
            Action::Event { tag, data } => {
                let done = self.act_event(&rule, &event, tag, data);
                note(reaction, done);
            }
            Action::Key { act, minion, policy } => {
                let done = self.act_key(&rule, &event, act, &minion, &policy);
                note(reaction, done);
            }
            Action::Apply { target, states, pillar, check, rolling } => {
                let mode = if check { Mode::Check } else { Mode::Apply };
                let kind = JobKind::Apply { states, mode, pillar, env: None, confirm_ms: None };
                self.act_as_job(reaction, index, target, (kind, rolling));
            }
            Action::Run { target, command, timeout_ms, rolling } => {
                self.act_as_job(reaction, index, target, (super::run_kind(command, timeout_ms), rolling));
            }
            Action::Reboot { target, message, rolling } => {
                self.act_as_job(reaction, index, target, (JobKind::Reboot { message }, rolling));
            }
            Action::Label { target, set, remove } => self.act_label(reaction, target, &set, &remove),
            Action::Notify { to, notice } => {
                let about = KeptAbout { minion: reaction.minion.as_ref().map(ToString::to_string) };
                for to in to {
                    let errand =
                        Errand::Notify { to: to.clone(), notice: notice.clone(), about: about.clone() };
                    let call = outgoing_id(&rule, &reaction.identity, index, &to);
                    self.act_call(id, reaction, (call, format!("notify {to}")), Some("notify.send"), errand);
                }
            }
            Action::Http(wish) => {
                let whom = match &wish.to {
                    Some(name) => format!("{name}{}", wish.url),
                    None => wish.url.clone(),
                };
                // What follows `?` may be a secret that a template put there.
                let whom = whom.split('?').next().unwrap_or_default();
                let what = format!("{} {}", wish.method, cut(whom, 128));
                let call = outgoing_id(&rule, &reaction.identity, index, "");
                self.act_call(id, reaction, (call, what), Some("http.call"), Errand::Http(wish));
            }
            Action::Wait { what, timeout_ms } => self.begin_wait(reaction, what, timeout_ms),
            Action::Wake { target, macs, via } => self.act_wake(reaction, target, macs, via.as_ref()),
            Action::Power { target, set, by, wait_ms } => {
                self.act_power(id, reaction, index, target, (set, &by, wait_ms));
            }
        }
    }

    fn act_as_job(
        &mut self,
        reaction: &mut Reaction,
        index: usize,
        target: ResolvedTarget,
        what: (JobKind, Option<Box<Rolling>>),
    ) {
        let (rule, event) = (reaction.rule.clone(), reaction.event.clone());
        let id = reaction_id(&rule, &reaction.identity, index);
        if let Some(minion) = &reaction.due {
            self.expect_job(&rule, minion, &reaction.identity, id);
        }
        let done = self.act_job(&rule, &event, id, target, what);
        let job = done.job.filter(|_| done.result == ACCEPTED);
        note(reaction, done);
        let Some(job) = job else { return };
        reaction.last_job = Some(job);
        reaction.jobs.push((job, reaction.done.len() - 1));
        if !self.book.open.contains_key(&job) {
            // It could not even be sent.
            let words = self.book.whole_job(job).map(|it| self.words(it)).unwrap_or_default();
            self.end_job_of(reaction, job, &words);
        }
    }

    /// Whom a target means: text for people, and members.
    pub(super) fn meant(&self, target: ResolvedTarget) -> (String, Result<Vec<MinionId>, ErrorView>) {
        match target {
            ResolvedTarget::Ids(ids) => {
                let text = ids.iter().map(MinionId::as_str).collect::<Vec<_>>().join(",");
                (text, self.members_of(ids))
            }
            ResolvedTarget::Expression(text, target) => {
                let minions = self.expand_parsed(&target, false);
                (text, minions.map(|it| it.into_iter().map(|it| it.0).collect()).and_then(super::some))
            }
        }
    }

    /// Members that a target means without those that the rule leaves alone, if it may do this to all of the others; and
    /// a word about who is left out.
    fn permitted(
        &self,
        rule: &str,
        function: &'static str,
        minions: Result<Vec<MinionId>, ErrorView>,
    ) -> (Result<Vec<MinionId>, String>, String) {
        let (minions, left_out) = self.leave_out_maintained(rule, minions);
        let caller = self.rule_caller(rule);
        let deed = Deed { function, ..Deed::default() };
        let permitted = minions.map_err(|it| it.message).and_then(|minions| {
            if minions.is_empty() && !left_out.is_empty() {
                return Err(NOBODY_ELSE.to_owned());
            }
            self.permit_rule(&caller, &deed, Some(&minions)).map(|()| minions).map_err(|it| it.message)
        });
        (permitted, left_out)
    }

    /// Members that an action means that turns a switch, if the rule may do that to all that hangs on it, and leaves
    /// none of them alone. What it turned off itself it may turn on `again`.
    fn switchable(
        &self,
        rule: &str,
        by: &str,
        minions: Result<Vec<MinionId>, ErrorView>,
        again: bool,
    ) -> Result<Vec<MinionId>, String> {
        let minions = minions.map_err(|it| it.message)?;
        let caller = self.rule_caller(rule);
        let deed = Deed { function: "target.power", ..Deed::default() };
        let switch = cut(by, 64);
        let behind: Vec<MinionId> = if let Some(target) = self.outbox.notifiers.machines_of(by) {
            let behind = self.expand_parsed(target, false).map_err(|it| it.message)?;
            let behind: Vec<MinionId> = behind.into_iter().map(|it| it.0).collect();
            if let Some(other) = minions.iter().find(|it| !behind.contains(it)) {
                return Err(format!("the switch `{switch}` is not for {other}, says notify.yaml"));
            }
            behind
        } else {
            // Nobody says what hangs on it: only who may switch all machines may turn it.
            self.permit_rule(&caller, &deed, None).map_err(|it| {
                format!("{}; `for` of the switch `{switch}` in notify.yaml names its machines", it.message)
            })?;
            minions.clone()
        };
        self.permit_rule(&caller, &deed, Some(&behind)).map_err(|it| it.message)?;
        if !again && behind.iter().any(|it| self.passes_over(rule, it)) {
            return Err(NOBODY_ELSE.to_owned());
        }
        Ok(minions)
    }

    fn act_label(
        &mut self,
        reaction: &mut Reaction,
        target: ResolvedTarget,
        set: &Labels,
        remove: &[String],
    ) {
        let (text, minions) = self.meant(target);
        let set_words = set.iter().map(|(name, value)| format!("{name}={}", cut(value, 32)));
        let words: Vec<String> = set_words.chain(remove.iter().map(|it| format!("{it}-"))).collect();
        let (permitted, left_out) = self.permitted(&reaction.rule, "target.label", minions);
        let what = format!("label {} on {}{left_out}", words.join(" "), cut(&text, 128));
        let caller = self.rule_caller(&reaction.rule);
        let done = permitted.and_then(|minions| {
            let event = reaction.event.clone();
            self.relabel(caller, &minions, &text, (set, remove), Some(&event)).map_err(|it| it.message)
        });
        self.conclude(reaction, what, done);
    }

    /// Labels of members, all or none. Who has them already keeps them, without a word. `cause` is the event of a rule.
    pub(crate) fn relabel(
        &mut self,
        caller: model::Caller,
        minions: &[MinionId],
        target: &str,
        (set, remove): (&Labels, &[String]),
        cause: Option<&Event>,
    ) -> Result<(), ErrorView> {
        check_labels(set)?;
        let relabel = |minion: &Minion| {
            let mut labels = minion.labels.clone();
            labels.retain(|name, _| !remove.contains(name));
            labels.extend(set.clone());
            Minion { labels, ..minion.clone() }
        };
        let members = minions.iter().filter_map(|id| self.book.minions.get(id));
        let changed: Vec<Minion> = members
            .map(|it| (it, relabel(it)))
            .filter(|(a, b)| a.labels != b.labels)
            .map(|it| it.1)
            .collect();
        changed.iter().try_for_each(|it| check_labels(&it.labels))?;
        let what = format!("label `{}` set {set:?} remove {remove:?}", cut(target, 256));
        let by = caller.name.clone();
        self.audit(caller, what, ACCEPTED.to_owned());
        for minion in changed {
            if self.revision.is_some() {
                self.out.push(Effect::Assign { minion: minion.id.clone() });
            }
            let before = self.book.minions.get(&minion.id).map(|it| it.labels.clone()).unwrap_or_default();
            let (tag, data) = (format!("minion/{}/labels", minion.id), told(&minion, &before, &by));
            self.record(Entry::Minion(minion));
            match cause {
                Some(event) => drop(self.emit_after(event, tag, Source::Master, data)),
                None => self.emit_master(tag, data),
            }
        }
        Ok(())
    }

    /// Notes what came of an action that is done at once.
    fn conclude(&mut self, reaction: &mut Reaction, what: String, done: Result<(), String>) {
        let result = match done {
            Ok(()) => ACCEPTED.to_owned(),
            Err(reason) => {
                if reason != NOBODY_ELSE {
                    self.rule_failed(&reaction.rule, &reaction.event, &reason);
                }
                reason
            }
        };
        note(reaction, DecisionAction::new(what, None, result));
    }

    /// Puts a call into the queue.
    fn act_call(
        &mut self,
        id: &str,
        reaction: &mut Reaction,
        (call, what): (String, String),
        function: Option<&'static str>,
        errand: Errand,
    ) {
        let caller = self.rule_caller(&reaction.rule);
        let known = match &errand {
            Errand::Notify { to, .. } if self.outbox.notifiers.get(to).is_none() => {
                Err(format!("notify.yaml has no notifier `{}`", cut(to, 64)))
            }
            Errand::Http(wish) => self.outbox.notifiers.http(wish).map(drop),
            Errand::Power { by, on } => self.outbox.notifiers.power(by, *on).map(drop),
            Errand::Notify { .. } => Ok(()),
        };
        let deed = function.map(|function| Deed { function, ..Deed::default() });
        let may = deed.map_or(Ok(()), |it| self.permit_rule(&caller, &it, None).map_err(|it| it.message));
        if let Err(reason) = may.and(known) {
            return self.conclude(reaction, what, Err(reason));
        }
        let outgoing = Outgoing {
            what: errand,
            reaction: id.to_owned(),
            rule: reaction.rule.clone(),
            event: reaction.event.clone(),
            at: self.now,
            number: 0,
            tries: 0,
            next: self.now,
            first: None,
        };
        note(reaction, DecisionAction::new(what, None, ACCEPTED));
        let action = reaction.done.len() - 1;
        if self.send_out(&call, outgoing) {
            let answer = "delivered before".to_owned();
            let end = model::ActionEnd { ok: true, answer, ..model::ActionEnd::default() };
            reaction.end(action, self.now, end);
        } else {
            reaction.calls.push((call, action));
        }
    }

    /// A call of a reaction is over.
    pub(super) fn reaction_call_ended(&mut self, id: &str, call: &str, end: model::ActionEnd) {
        let Some(mut reaction) = self.reactions.open.remove(id) else { return };
        self.end_call_of(&mut reaction, call, end);
        self.put(id, reaction);
        self.reactions.ready.push_back(id.to_owned());
    }

    pub(super) fn end_call_of(&self, reaction: &mut Reaction, call: &str, end: model::ActionEnd) {
        let now = self.now;
        let Some(at) = reaction.calls.iter().position(|it| it.0 == call) else { return };
        let (_, action) = reaction.calls.remove(at);
        let what = reaction.done.get(action).map(|it| it.what.clone()).unwrap_or_default();
        let (ok, answer) = (end.ok, end.answer.clone());
        reaction.end(action, now, end);
        if !ok {
            reaction.fail(&format!("{what}: {answer}"), None);
        }
        if matches!(&reaction.waits, Some(it) if matches!(&it.what, Await::Call(it) if it == call)) {
            reaction.end_wait(now, ok, &answer);
        }
    }

    /// Addresses of network cards that members say they have.
    pub(crate) fn macs_of(&self, minions: &[MinionId]) -> BTreeSet<String> {
        let grains = minions.iter().filter_map(|it| self.book.minions.get(it)).map(|it| &it.grains);
        let cards = grains.filter_map(|it| it.get("hwaddr_interfaces")?.as_object());
        let all = cards.flatten().filter(|it| it.0 != "lo").filter_map(|it| it.1.as_str());
        let good = |it: &&str| lang::rules::parse_mac(it).is_some_and(|mac| mac != [0; 6]);
        all.filter(good).map(str::to_ascii_lowercase).take(MACS_MAX).collect()
    }

    /// Sends packets, or has a minion send them that is in the same network.
    pub(crate) fn send_wake(&mut self, macs: Vec<String>, via: Option<&MinionId>) -> Result<(), ErrorView> {
        let Some(via) = via else {
            self.out.push(Effect::Wake { macs });
            return Ok(());
        };
        self.can_wake(via)?;
        self.next_probe += 1;
        let probe = self.next_probe;
        self.send(via, ToMinion::Probe { probe, ask: Ask::Wake { macs } });
        Ok(())
    }

    /// Whether a minion is there and its release knows how to.
    pub(crate) fn can_wake(&self, via: &MinionId) -> Result<(), ErrorView> {
        let live = self.live.get(via).filter(|_| self.is_ready(via));
        let message = match live {
            None => format!("{via} is not connected"),
            Some(live) if live.can.iter().any(|it| it == CAN_WAKE) => return Ok(()),
            Some(_) => format!("the release of {via} cannot wake others: upgrade labminion there"),
        };
        Err(refuse(ErrorKind::Unavailable, message, None))
    }

    fn act_wake(
        &mut self,
        reaction: &mut Reaction,
        target: Option<ResolvedTarget>,
        macs: Vec<String>,
        via: Option<&MinionId>,
    ) {
        let mut all: BTreeSet<String> = macs.into_iter().collect();
        let (text, minions) = match target {
            Some(target) => self.meant(target),
            None => (all.iter().cloned().collect::<Vec<_>>().join(","), Ok(Vec::new())),
        };
        let by = via.map(|it| format!(" by {it}")).unwrap_or_default();
        let (permitted, left_out) = self.permitted(&reaction.rule, "target.wake", minions);
        let what = format!("wake {}{left_out}{by}", cut(&text, 128));
        let caller = self.rule_caller(&reaction.rule);
        let deed = Deed { function: "target.wake", ..Deed::default() };
        // Who sends the packets does something for it, too.
        let via_may = via.map_or(Ok(()), |it| {
            self.permit_rule(&caller, &deed, Some(std::slice::from_ref(it))).map_err(|it| it.message)
        });
        let done = permitted.and_then(|about| via_may.map(|()| about)).and_then(|about| {
            all.extend(self.macs_of(&about));
            if all.is_empty() {
                return Err("no address of a network card is known of it".to_owned());
            }
            self.send_wake(all.into_iter().collect(), via).map_err(|it| it.message)
        });
        self.conclude(reaction, what, done);
    }

    /// Turns a switch; waits, if it is to, until the call went through and presence is as wanted.
    fn act_power(
        &mut self,
        id: &str,
        reaction: &mut Reaction,
        index: usize,
        target: ResolvedTarget,
        (set, by, wait_ms): (PowerSet, &str, Option<u64>),
    ) {
        let (text, minions) = self.meant(target.clone());
        let what = format!("power {} {} by {}", set.word(), cut(&text, 64), cut(by, 64));
        let on = set == PowerSet::On;
        let call = |word| outgoing_id(&reaction.rule, &reaction.identity, index, word);
        let again = on && self.book.kept.contains_key(&(Part::Outgoing, call("off")));
        let call = call(if on { "on" } else { "off" });
        let minions = match self.switchable(&reaction.rule, by, minions, again) {
            Ok(minions) => minions,
            Err(reason) => {
                let left_out = if reason == NOBODY_ELSE { " (in maintenance)" } else { "" };
                return self.conclude(reaction, format!("{what}{left_out}"), Err(reason));
            }
        };
        let errand = Errand::Power { by: by.to_owned(), on };
        let before = reaction.calls.len();
        self.act_call(id, reaction, (call.clone(), what), None, errand);
        if reaction.calls.len() == before {
            return;
        }
        let boot = |it: &MinionId| Some((it.clone(), self.book.minions.get(it)?.boot.clone()?));
        let boots: BTreeMap<MinionId, String> = minions.iter().filter_map(boot).collect();
        let presence = |up: bool, boots: BTreeMap<MinionId, String>| {
            let word = if up { "up" } else { "down" };
            let text = format!("wait until {} is {word}", cut(&text, 64));
            wait_ms.map(|timeout_ms| Step::Await {
                text,
                what: Await::Presence { minions: minions.clone(), up, boots },
                timeout_ms,
            })
        };
        let switched = Step::Await {
            text: "wait for the switch".to_owned(),
            what: Await::Call(call),
            timeout_ms: SWITCH_MS,
        };
        let mut steps = Vec::new();
        if set == PowerSet::Cycle {
            let text = format!("wait {CYCLE_MS} ms");
            let again = Action::Power { target, set: PowerSet::On, by: by.to_owned(), wait_ms: None };
            steps.extend([
                switched,
                Step::Await { text, what: Await::Pause, timeout_ms: CYCLE_MS },
                Step::Do(Box::new(again)),
            ]);
            steps.extend(presence(true, boots));
        } else if let Some(wait) = presence(on, BTreeMap::new()) {
            steps.extend([switched, wait]);
        }
        for step in steps.into_iter().rev() {
            reaction.left.push_front((index, step));
        }
    }
}

/// What of a machine's labels is other than before, as far as there is room for it in an event.
fn told(minion: &Minion, before: &Labels, by: &str) -> serde_json::Value {
    let mut bytes = 0;
    let mut room = |it: usize| {
        bytes += it;
        bytes <= LABEL_BYTES_MAX
    };
    let altered = minion.labels.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let altered: Vec<(&String, &String)> = altered.collect();
    let gone: Vec<&String> = before.keys().filter(|it| !minion.labels.contains_key(*it)).collect();
    let set: BTreeMap<&String, &String> =
        altered.iter().copied().take_while(|it| room(it.0.len() + it.1.len())).collect();
    let removed: Vec<&&String> = gone.iter().take_while(|it| room(it.len())).collect();
    let more = set.len() < altered.len() || removed.len() < gone.len();
    json!({"minion": minion.id, "set": set, "removed": removed, "more": more, "by": by})
}

/// Puts what was done on record; what was refused is a failure.
fn note(reaction: &mut Reaction, done: DecisionAction) {
    if done.result != ACCEPTED && done.result != NOBODY_ELSE {
        let (reason, job) = (format!("{}: {}", done.what, done.result), done.job);
        reaction.fail(&reason, job);
    }
    reaction.done.push(done);
}

//! What rules do: jobs, events and decisions about keys, each under the rule's own role and on record. A firing of a rule
//! is a reaction, which may wait; what leaves the master goes through a queue on disk.

mod acts;
mod index;
mod kept;
mod outbox;
mod reaction;
mod turns;
mod waits;

pub use outbox::Called;
pub(crate) use outbox::Outbox;
pub(crate) use reaction::{Firing, Reactions};

use super::enroll::{Dismissal, id_matches};
use super::{
    Master, permit,
    reactor::{HOPS_MAX, chain, is_tag, level},
    requests::check_event,
    roster::cut,
    submit::Wish,
    target::refuse,
};
use lang::roles::Deed;
use lang::rules::{KeyAction, KeyPolicy, ResolvedTarget};
use model::{
    Caller, DecisionAction, Event, JobId, JobKind, KeyDecision, KeyStatus, MinionId, Rolling, Source,
    api::{ErrorKind, ErrorView},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Limit of a rule's command that says none.
const RUN_MS: u64 = 600_000;

impl Master {
    fn act_event(
        &mut self,
        rule: &str,
        event: &Event,
        tag: String,
        data: Map<String, Value>,
    ) -> DecisionAction {
        let what = format!("event {tag}");
        let data = Value::Object(data);
        if !is_tag(&tag) || check_event(&data).is_err() {
            let reason = "no tag, or more data than 16 KiB or 16 levels".to_owned();
            self.rule_failed(rule, event, &reason);
            return DecisionAction::new(what, None, reason);
        }
        let deed = Deed { function: "event.send", ..Deed::default() };
        if let Err(error) = self.permit_rule(&self.rule_caller(rule), &deed, None) {
            self.rule_failed(rule, event, &error.message);
            return DecisionAction::new(what, None, error.message);
        }
        self.emit_after(event, tag, Source::Rule(rule.to_owned()), data);
        DecisionAction::new(what, None, ACCEPTED)
    }

    fn act_job(
        &mut self,
        rule: &str,
        event: &Event,
        id: JobId,
        target: ResolvedTarget,
        (kind, rolling): (JobKind, Option<Box<Rolling>>),
    ) -> DecisionAction {
        let (text, minions) = self.meant(target);
        let (minions, left_out) = self.leave_out_maintained(rule, minions);
        let what = format!("{} on {}{left_out}", super::publish::describe(&kind), cut(&text, 128));
        if self.book.knows_job(id) {
            return DecisionAction::new(what, Some(id), ACCEPTED);
        }
        if minions.as_ref().is_ok_and(Vec::is_empty) {
            return DecisionAction::new(what, None, NOBODY_ELSE);
        }
        let caller = self.rule_caller(rule);
        let minions = minions.and_then(|minions| {
            self.permit_job(&caller, &kind, rolling.as_deref(), &minions).map(|()| minions)
        });
        let wish = Wish {
            id,
            target: text,
            kind,
            expires_ms: self.settings.offer_ms,
            wait: false,
            retry_of: None,
            rolling,
            caller,
            hops: event.hops + 1,
        };
        match self.submit(wish, minions) {
            Ok(job) => {
                self.reactor.causes.insert(id, chain(event));
                self.launch(&job);
                DecisionAction::new(what, Some(id), ACCEPTED)
            }
            Err(error) => {
                self.reactor.due_jobs.remove(&id);
                self.rule_failed(rule, event, &error.message);
                DecisionAction::new(what, None, error.message)
            }
        }
    }

    /// Decides about the key of a name. Who accepts by rule trusts a name, so that never takes a name from its holder
    /// and never brings back what an operator refused.
    fn act_key(
        &mut self,
        rule: &str,
        event: &Event,
        act: KeyAction,
        minion: &MinionId,
        policy: &KeyPolicy,
    ) -> DecisionAction {
        let caller = self.rule_caller(rule);
        let what = format!("{} the key of {minion}", format!("{act:?}").to_lowercase());
        let function = match act {
            KeyAction::Accept => permit::decides(KeyDecision::Accept),
            KeyAction::Reject => permit::decides(KeyDecision::Reject),
            KeyAction::Delete => "minion.remove",
        };
        let about = std::slice::from_ref(minion);
        let permitted = self.permit_rule(&caller, &Deed { function, ..Deed::default() }, Some(about));
        let done = match act {
            _ if permitted.is_err() => Err(permitted.err().map(|it| it.message).unwrap_or_default()),
            _ if !self.is_for(policy, minion) => Err(format!("{minion} is none that this action is for")),
            KeyAction::Accept if self.book.minions.contains_key(minion) => Err(format!(
                "{minion} is a member already: an operator decides whether another key replaces it"
            )),
            KeyAction::Accept => self.decide_waiting(caller, minion, KeyDecision::Accept),
            KeyAction::Reject => self.decide_waiting(caller, minion, KeyDecision::Reject),
            KeyAction::Delete if self.book.minions.contains_key(minion) => {
                self.audit(caller, what.clone(), ACCEPTED.to_owned());
                self.dismiss(minion, &format!("removed by rule:{rule}"), Dismissal::Removed);
                Ok(())
            }
            KeyAction::Delete => Err(format!("{minion} is no member")),
        };
        let result = match done {
            Ok(()) => ACCEPTED.to_owned(),
            Err(reason) => {
                self.rule_failed(rule, event, &reason);
                reason
            }
        };
        DecisionAction::new(what, None, result)
    }

    fn decide_waiting(
        &mut self,
        caller: Caller,
        minion: &MinionId,
        decision: KeyDecision,
    ) -> Result<(), String> {
        let waiting = |it: &&model::Key| it.minion == *minion && it.status == KeyStatus::Pending;
        let keys: Vec<String> =
            self.book.keys.values().filter(waiting).map(|it| it.fingerprint.to_string()).collect();
        match &keys[..] {
            [one] => self.decide_key(caller, one, None, decision).map(|_| ()).map_err(|it| it.message),
            [] => Err(format!("no key of {minion} waits")),
            several => Err(format!("{} keys of {minion} wait: an operator decides", several.len())),
        }
    }

    /// Whether an action about keys is for those of a name.
    fn is_for(&self, policy: &KeyPolicy, minion: &MinionId) -> bool {
        let keys = || self.book.keys.values().filter(|it| it.minion == *minion);
        let named = policy.ids.as_ref().is_none_or(|it| id_matches(it, minion));
        let from = |key: &model::Key| {
            let address: Option<std::net::IpAddr> = key.address.parse().ok();
            address.is_some_and(|it| policy.cidr.iter().any(|net| net.contains(&it)))
        };
        let waiting = |it: &&model::Key| it.status == KeyStatus::Pending;
        let near = policy.cidr.is_empty() || keys().filter(waiting).all(from);
        let new = !policy.only_new || keys().all(|it| it.status == KeyStatus::Pending);
        named && near && new
    }

    /// Ids from a template: members only, never an expression.
    fn members_of(&self, ids: Vec<MinionId>) -> Result<Vec<MinionId>, ErrorView> {
        let mut members: Vec<MinionId> =
            ids.into_iter().filter(|it| self.book.minions.contains_key(it)).collect();
        members.sort();
        members.dedup();
        some(members)
    }

    pub(crate) fn rule_failed(&mut self, rule: &str, event: &Event, reason: &str) {
        self.reactor.counts.entry(rule.to_owned()).or_default().refused += 1;
        let data = json!({"event": event.number, "tag": event.tag, "reason": cut(reason, 1024)});
        self.emit_of_rule(rule, event, "failed", data);
    }

    /// What became of a rule, as an event `rule/<name>/<word>`; not where it could go round.
    pub(crate) fn emit_of_rule(&mut self, rule: &str, event: &Event, word: &str, data: Value) {
        if event.hops + 1 < HOPS_MAX {
            let tag = format!("rule/{}/{word}", level(rule));
            self.emit_after(event, tag, Source::Rule(rule.to_owned()), data);
        }
    }
}

/// What an action that became a job or an event says.
pub(crate) const ACCEPTED: &str = "accepted";
/// What an action says whose machines are all in maintenance: nothing went wrong.
pub(crate) const NOBODY_ELSE: &str = "nobody else is meant";

fn some(minions: Vec<MinionId>) -> Result<Vec<MinionId>, ErrorView> {
    if minions.is_empty() {
        return Err(refuse(ErrorKind::NoMatch, "no minion matches".to_owned(), None));
    }
    Ok(minions)
}

fn run_kind(command: Vec<String>, timeout_ms: Option<u64>) -> JobKind {
    JobKind::Run {
        command,
        shell: false,
        cwd: None,
        user: None,
        environment: BTreeMap::new(),
        timeout_ms: timeout_ms.unwrap_or(RUN_MS),
    }
}

#[cfg(test)]
mod tests;

//! What rules do: jobs, events and decisions about keys, each under the rule's own role and on record.

use super::enroll::{Dismissal, id_matches};
use super::{
    Master, permit,
    reactor::{HOPS_MAX, chain, is_tag, level, reaction_id},
    requests::check_event,
    roster::cut,
    submit::Wish,
    target::refuse,
};
use lang::roles::Deed;
use lang::rules::{Action, KeyAction, KeyPolicy, ResolvedTarget, Rule};
use model::{
    Caller, DecisionAction, Event, JobId, JobKind, KeyDecision, KeyStatus, MinionId, Mode, Rolling, Source,
    api::{ErrorKind, ErrorView},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Limit of a rule's command that says none.
const RUN_MS: u64 = 600_000;

impl Master {
    pub(crate) fn perform(
        &mut self,
        rule: &Rule,
        event: &Event,
        identity: &str,
        due: Option<&MinionId>,
        actions: Vec<Action>,
    ) -> Vec<DecisionAction> {
        let mut done = Vec::new();
        for (index, action) in actions.into_iter().enumerate() {
            let (target, kind, rolling) = match action {
                Action::Event { tag, data } => {
                    done.push(self.act_event(rule, event, tag, data));
                    continue;
                }
                Action::Key { act, minion, policy } => {
                    done.push(self.act_key(rule, event, act, &minion, &policy));
                    continue;
                }
                Action::Apply { target, states, pillar, check, rolling } => {
                    let mode = if check { Mode::Check } else { Mode::Apply };
                    (target, JobKind::Apply { states, mode, pillar, env: None, confirm_ms: None }, rolling)
                }
                Action::Run { target, command, timeout_ms, rolling } => {
                    (target, run_kind(command, timeout_ms), rolling)
                }
                other => {
                    let what = format!("{other:?}");
                    let result = "not available yet".to_owned();
                    done.push(DecisionAction { what: cut(&what, 128), job: None, result });
                    continue;
                }
            };
            let id = reaction_id(&rule.name, identity, index);
            if let Some(minion) = due {
                self.expect_job(&rule.name, minion, id);
            }
            done.push(self.act_job(rule, event, id, target, (kind, rolling)));
        }
        done
    }

    fn act_event(
        &mut self,
        rule: &Rule,
        event: &Event,
        tag: String,
        data: Map<String, Value>,
    ) -> DecisionAction {
        let what = format!("event {tag}");
        let data = Value::Object(data);
        if !is_tag(&tag) || check_event(&data).is_err() {
            let reason = "no tag, or more data than 16 KiB or 16 levels".to_owned();
            self.rule_failed(rule, event, &reason);
            return DecisionAction { what, job: None, result: reason };
        }
        let deed = Deed { function: "event.send", ..Deed::default() };
        if let Err(error) = self.permit_rule(&self.rule_caller(&rule.name), &deed, None) {
            self.rule_failed(rule, event, &error.message);
            return DecisionAction { what, job: None, result: error.message };
        }
        self.emit_after(event, tag, Source::Rule(rule.name.clone()), data);
        DecisionAction { what, job: None, result: ACCEPTED.to_owned() }
    }

    fn act_job(
        &mut self,
        rule: &Rule,
        event: &Event,
        id: JobId,
        target: ResolvedTarget,
        (kind, rolling): (JobKind, Option<Box<Rolling>>),
    ) -> DecisionAction {
        let (text, minions) = match target {
            ResolvedTarget::Ids(ids) => {
                let text = ids.iter().map(MinionId::as_str).collect::<Vec<_>>().join(",");
                (text, self.members_of(ids))
            }
            ResolvedTarget::Expression(text, target) => {
                let minions = self.expand_parsed(&target, false);
                (text, minions.map(|it| it.into_iter().map(|it| it.0).collect::<Vec<_>>()).and_then(some))
            }
        };
        let (minions, left_out) = match rule.clauses.in_maintenance {
            true => (minions, String::new()),
            false => self.leave_out_maintained(minions),
        };
        let what = format!("{} on {}{left_out}", super::publish::describe(&kind), cut(&text, 128));
        if self.book.knows_job(id) {
            return DecisionAction { what, job: Some(id), result: ACCEPTED.to_owned() };
        }
        if minions.as_ref().is_ok_and(Vec::is_empty) {
            return DecisionAction { what, job: None, result: "nobody else is meant".to_owned() };
        }
        let caller = self.rule_caller(&rule.name);
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
                DecisionAction { what, job: Some(id), result: ACCEPTED.to_owned() }
            }
            Err(error) => {
                self.reactor.due_jobs.remove(&id);
                self.rule_failed(rule, event, &error.message);
                DecisionAction { what, job: None, result: error.message }
            }
        }
    }

    /// Decides about the key of a name. Who accepts by rule trusts a name, so that never takes a name from its holder
    /// and never brings back what an operator refused.
    fn act_key(
        &mut self,
        rule: &Rule,
        event: &Event,
        act: KeyAction,
        minion: &MinionId,
        policy: &KeyPolicy,
    ) -> DecisionAction {
        let caller = self.rule_caller(&rule.name);
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
                self.dismiss(minion, &format!("removed by rule:{}", rule.name), Dismissal::Removed);
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
        DecisionAction { what, job: None, result }
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

    pub(crate) fn rule_failed(&mut self, rule: &Rule, event: &Event, reason: &str) {
        self.reactor.counts.entry(rule.name.clone()).or_default().refused += 1;
        if event.hops + 1 < HOPS_MAX {
            let data = json!({"event": event.number, "tag": event.tag, "reason": cut(reason, 1024)});
            let tag = format!("rule/{}/failed", level(&rule.name));
            self.emit_after(event, tag, Source::Rule(rule.name.clone()), data);
        }
    }
}

/// What an action that became a job or an event says.
pub(crate) const ACCEPTED: &str = "accepted";

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

//! What operators ask of rules: what they would make of an event, and to be left alone for a while.

use super::{Entry, Master, Part, reactor::level, requests::check_event, target::refuse, timers::Timer};
use lang::reactor::{Judged, List};
use model::{
    Caller, DecisionAction, Event, Timestamp,
    api::{ErrorKind, ErrorView, Explained, RuleOff},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Rows of rules that are switched off, among what rules remember: no rule has such a name.
pub(crate) const OFF_ROW: &str = "/off/";
/// Rules that may be switched off.
const OFF_MAX: usize = 10_000;
/// Longest that a rule may be switched off for a time.
const OFF_MS_MAX: u64 = 366 * 24 * 3_600_000;

impl Master {
    /// What rules would make of an event now, clause by clause.
    pub(crate) fn explain_rules(
        &self,
        rule: Option<&str>,
        event: &Event,
    ) -> Result<Vec<Explained>, ErrorView> {
        check_event(&event.data)
            .map_err(|reason| refuse(ErrorKind::Usage, format!("the event's data: {reason}"), None))?;
        let wanted = rule.map(|it| self.known_rule(it)).transpose()?;
        let rules = self.reactor.rules.iter().filter(|it| wanted.is_none_or(|name| it.name == name));
        let explained = rules.filter_map(|rule| {
            let judged = self.explain_rule(&rule.name, event)?;
            Some(explained(rule.place.clone(), judged))
        });
        Ok(explained.collect())
    }

    fn known_rule<'a>(&self, name: &'a str) -> Result<&'a str, ErrorView> {
        let known = self.reactor.rules.iter().any(|it| it.name == name);
        let hint = Some("labctl rule list shows those in use");
        known
            .then_some(name)
            .ok_or_else(|| refuse(ErrorKind::NotFound, format!("there is no rule `{name}`"), hint))
    }

    /// Switches a rule off, or on again. It stays so over restarts and edits of the trees.
    pub(crate) fn switch_rule(
        &mut self,
        caller: &Caller,
        rule: &str,
        on: bool,
        for_ms: Option<u64>,
    ) -> Result<Vec<String>, ErrorView> {
        // One that is gone from the trees can still be forgotten.
        if !(on && self.reactor.off.contains_key(rule)) {
            self.known_rule(rule)?;
        }
        if for_ms.is_some_and(|it| it == 0 || it > OFF_MS_MAX) {
            let message = "a rule can be switched off for 1 ms to 366 days".to_owned();
            return Err(refuse(
                ErrorKind::Usage,
                message,
                Some("without a time it is until it is switched on"),
            ));
        }
        let word = if on { "enable" } else { "disable" };
        let until = for_ms.filter(|_| !on).map(|it| self.now.plus_ms(it));
        if !on && self.reactor.off.len() >= OFF_MAX && !self.reactor.off.contains_key(rule) {
            let message = format!("{OFF_MAX} rules are switched off already");
            return Err(refuse(ErrorKind::Unavailable, message, Some("switch some on again")));
        }
        self.audit(caller.clone(), format!("{word} rule {rule}"), "accepted".to_owned());
        if on {
            return Ok(vec![if self.switch_on(rule, &caller.name) {
                format!("{rule} is switched on")
            } else {
                format!("{rule} was not switched off")
            }]);
        }
        let off = RuleOff { by: caller.name.clone(), at: self.now, until };
        self.keep_switch(rule, Some(&off));
        self.reactor.off.insert(rule.to_owned(), off);
        self.tell_switches();
        let data = json!({"rule": rule, "on": false, "by": caller.name, "until": until});
        self.emit_master(format!("rule/{}/switched", level(rule)), data);
        Ok(vec![format!("{rule} is switched off: it remembers nothing new and does nothing")])
    }

    /// Whether it was off.
    fn switch_on(&mut self, rule: &str, by: &str) -> bool {
        if self.reactor.off.remove(rule).is_none() {
            return false;
        }
        self.keep_switch(rule, None);
        self.tell_switches();
        let data = json!({"rule": rule, "on": true, "by": by});
        self.emit_master(format!("rule/{}/switched", level(rule)), data);
        // Machines that booted meanwhile are still to be configured.
        self.due_boots_of_all();
        true
    }

    fn keep_switch(&mut self, rule: &str, off: Option<&RuleOff>) {
        let data = off.and_then(|it| serde_json::to_value(it).ok());
        self.record(Entry::Kept { part: Part::RuleMemory, key: format!("{OFF_ROW}{rule}"), data });
    }

    /// After a restart.
    pub(crate) fn restore_switches(&mut self, rows: Vec<(String, Value)>) {
        for (key, data) in rows {
            if let (Some(rule), Ok(off)) = (key.strip_prefix(OFF_ROW), serde_json::from_value(data)) {
                self.reactor.off.insert(rule.to_owned(), off);
            }
        }
        self.tell_switches();
    }

    /// The engine learns which rules are off, and the clock when the next one is on again.
    fn tell_switches(&mut self) {
        let names: BTreeSet<String> = self.reactor.off.keys().cloned().collect();
        self.reactor.engine.set_disabled(names);
        if let Some(at) = self.reactor.off.values().filter_map(|it| it.until).min() {
            self.wake_at(at, Timer::Rules);
        }
    }

    /// Switches those on whose time is over.
    pub(crate) fn end_switches(&mut self) {
        let over = |it: &Timestamp| *it <= self.now;
        let over: Vec<String> = (self.reactor.off.iter())
            .filter(|it| it.1.until.as_ref().is_some_and(over))
            .map(|it| it.0.clone())
            .collect();
        for rule in over {
            self.switch_on(&rule, "time");
        }
    }
}

fn explained(place: String, judged: Judged) -> Explained {
    let heard = judged.clauses.first().is_some_and(|it| it.held == Some(true));
    let later = judged.list != List::Do;
    let actions = match &judged.actions {
        Ok(actions) => actions.iter().map(|it| would(it.describe(), later)).collect(),
        Err(cause) => {
            vec![DecisionAction::new("fill in its templates".to_owned(), None, cause)]
        }
    };
    Explained { place, heard, key: judged.key.clone(), verdict: judged.verdict(actions) }
}

fn would(what: String, later: bool) -> DecisionAction {
    DecisionAction::new(what, None, if later { "would be done later" } else { "would be done" })
}

#[cfg(test)]
mod tests;

//! What rules must remember of events, counted anew from the events that are on the disk: no crash may alter it.

use model::{Decision, Event};
use std::collections::BTreeMap;

/// The rules that are counted after. Their clauses stand here as numbers once more.
pub(crate) const RULES: &str = r"mem-count:
  on: minion/+/event/made
  count: 3 within 1m
  do:
    - event: { tag: counted }
mem-settle:
  on: minion/+/event/made
  debounce: 15s
  do:
    - event: { tag: settled }
mem-absent:
  on: minion/+/event/made
  absent: { within: 40s }
  do:
    - event: { tag: missed }
mem-hold:
  on: minion/+/event/made
  when: event.on = true
  for: 10s
  do:
    - event: { tag: held }
mem-day:
  on: minion/+/event/made
  once_per: day
  do:
    - event: { tag: first }
";
const COUNT: (usize, u64) = (3, 60_000);
const SETTLE_MS: u64 = 15_000;
const ABSENT_MS: u64 = 40_000;
const HOLD_MS: u64 = 10_000;
/// After a restart a rule may wait as long again; then it has forgotten.
const SLACK_MS: u64 = 60_000;

/// What is remembered of the events of one minion.
#[derive(Clone, Default)]
struct Of {
    came: Vec<u64>,
    /// Until when it is waited, by rule.
    waits: BTreeMap<&'static str, u64>,
    /// Since when it holds, and when to look.
    holds: Option<(u64, Option<u64>)>,
    day: Option<u64>,
}

/// What the rules should remember.
#[derive(Clone, Default)]
pub(crate) struct RuleMemory {
    of: BTreeMap<String, Of>,
    /// What rules must say of events, until they have.
    expected: BTreeMap<(u64, &'static str), bool>,
    pub(crate) decisions: u64,
}

impl RuleMemory {
    /// An event of a minion is on disk.
    pub(crate) fn heard(&mut self, minion: &str, event: &Event) {
        let at = event.at.0;
        let of = self.of.entry(minion.to_owned()).or_default();
        of.came.retain(|it| at.saturating_sub(*it) < COUNT.1);
        of.came.push(at);
        let counted = of.came.len() >= COUNT.0;
        if counted {
            of.came.clear();
        }
        of.waits.insert("mem-settle", at + SETTLE_MS);
        of.waits.insert("mem-absent", at + ABSENT_MS);
        let mut held = false;
        of.holds = event.data["on"].as_bool().unwrap_or_default().then(|| {
            let (since, look) = of.holds.unwrap_or((at, Some(at + HOLD_MS)));
            held = at - since >= HOLD_MS;
            (since, look.filter(|it| *it > at))
        });
        let east_ms = i64::from(lang::schedule::east_s(event.at)) * 1_000;
        let day = at.saturating_add_signed(east_ms) / 86_400_000;
        let first = of.day.replace(day) != Some(day);
        let says = [("mem-count", counted), ("mem-settle", false), ("mem-absent", false), ("mem-hold", held)];
        let says = says.into_iter().chain([("mem-day", first)]);
        self.expected.extend(says.map(|(rule, fires)| ((event.number, rule), fires)));
    }

    /// Time has passed for a rule. Events of the same moment come after that.
    pub(crate) fn woke(&mut self, rule: &str, event: &Event) -> Result<(), String> {
        let minion = event.data["key"].as_str().unwrap_or_default();
        let of = self.of.entry(minion.to_owned()).or_default();
        let deadline = match rule {
            "mem-hold" => of.holds.as_mut().and_then(|it| it.1.take()),
            _ => of.waits.remove(rule),
        };
        match deadline {
            _ if !rule.starts_with("mem-") => Ok(()),
            Some(at) if at <= event.at.0 && event.data["fired"] == true => Ok(()),
            other => Err(format!("{rule} acts for {minion} at {}, and was to at {other:?}", event.at.0)),
        }
    }

    /// What rules made of an event is on disk.
    pub(crate) fn decided(&mut self, decision: &Decision) -> Result<(), String> {
        for verdict in &decision.verdicts {
            let rule =
                self.expected.keys().find(|it| it.0 == decision.event && it.1 == verdict.rule).copied();
            let Some(key) = rule else { continue };
            self.decisions += 1;
            if self.expected.remove(&key) != Some(verdict.fired) {
                let (rule, reason) = (&verdict.rule, &verdict.reason);
                return Err(format!("{rule} forgot what was before event {}: {reason}", decision.event));
            }
        }
        Ok(())
    }

    /// Behind each transaction: nothing is on disk without what it led to.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.expected.keys().next() {
            Some((event, rule)) => Err(format!("event {event} is on disk without what {rule} makes of it")),
            None => Ok(()),
        }
    }

    /// Something that was to happen and did not.
    pub(crate) fn overdue(&self, now: u64) -> Option<String> {
        self.waiting()
            .find(|it| it.2 + SLACK_MS < now)
            .map(|(minion, rule, at)| format!("{rule} was to act for {minion} at {at} and has forgotten it"))
    }

    /// Whether something is still to happen.
    pub(crate) fn waits(&self) -> bool {
        self.waiting().next().is_some()
    }

    fn waiting(&self) -> impl Iterator<Item = (&String, &'static str, u64)> {
        self.of.iter().flat_map(|(minion, of)| {
            let holds = of.holds.and_then(|it| it.1).map(|at| ("mem-hold", at));
            of.waits.iter().map(|it| (*it.0, *it.1)).chain(holds).map(move |(rule, at)| (minion, rule, at))
        })
    }
}

//! Calls to other services: on disk before they go out, a few at once, again and again with longer waits, given up by
//! number and age. What was delivered is remembered for a while, so that the same call again is none.

use super::reaction::TEXT_MAX;
use crate::core::{Effect, Entry, Master, Part, Ticket, roster::cut, timers::Timer};
use lang::{
    notifiers::{About, Held, Notifiers, Passage, Rate},
    rules::{HttpWish, Notice, Priority},
};
use model::{ActionEnd, Diagnostic, Event, Reply, Timestamp, api, broken};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Calls that may wait; beyond it the oldest is dropped.
pub(crate) const OUTGOING_MAX: usize = 1_000;
/// Calls that are remembered as delivered.
pub(crate) const DELIVERED_MAX: usize = 1_000;
/// Calls at once, and to one service.
pub(crate) const CALLS_MAX: usize = 6;
pub(crate) const CALLS_TO_ONE_MAX: usize = 2;
/// How often a call is tried, and for how long.
pub(crate) const TRIES_MAX: u32 = 12;
pub(crate) const AGE_MS_MAX: u64 = 24 * 3_600_000;
/// The same of a switch: what was to be switched then may be wrong later.
pub(crate) const SWITCH_TRIES_MAX: u32 = 5;
pub(crate) const SWITCH_AGE_MS_MAX: u64 = 2 * 60_000;
/// Waits between tries: the first, and the longest.
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 15 * 60_000;
/// How long a call waits for a `notify.yaml` without mistakes.
const BROKEN_MS: u64 = 60_000;
/// Longest that a service can make us wait.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// A call that has not gone through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    pub(crate) what: Errand,
    /// Which firing of a rule made it.
    pub(crate) reaction: String,
    pub(crate) rule: String,
    /// The event that it is about, without its data.
    pub(crate) event: Event,
    pub(crate) at: Timestamp,
    pub(crate) number: u64,
    pub(crate) tries: u32,
    /// Not before.
    pub(crate) next: Timestamp,
    /// When it was tried for the first time.
    #[serde(default)]
    pub(crate) first: Option<Timestamp>,
}

/// What is to be called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Errand {
    /// Tell somebody.
    Notify { to: String, notice: Notice, about: KeptAbout },
    /// Call a service.
    Http(HttpWish),
    /// Turn a switch.
    Power { by: String, on: bool },
}

/// What a notice is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct KeptAbout {
    pub(crate) minion: Option<String>,
}

/// What came of a try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// Whether the answer is one that was expected.
    pub good: bool,
    /// Whether to try again makes sense.
    pub again: bool,
    /// What was answered, or why there is no answer; without secrets.
    pub answer: String,
    /// The service wants to be left alone for so long.
    pub retry_after_ms: Option<u64>,
}

/// How often what happened with a notifier since the start.
#[derive(Clone, Debug, Default)]
struct Tally {
    sent: u64,
    failed: u64,
    /// Times of late.
    late: VecDeque<Timestamp>,
}

/// All calls.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) notifiers: Arc<Notifiers>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) waiting: BTreeMap<String, Outgoing>,
    delivered: BTreeMap<u64, String>,
    in_flight: BTreeMap<String, String>,
    tallies: BTreeMap<String, Tally>,
    next_number: u64,
    /// Somebody should look whether a call can go out.
    look: bool,
}

/// The id of a call: the same action of the same firing is the same call.
pub(crate) fn outgoing_id(rule: &str, identity: &str, action: usize, part: &str) -> String {
    let hash = Sha256::digest(format!("lab1-call\0{rule}\0{identity}\0{action}\0{part}").as_bytes());
    hash[..16].iter().fold(String::with_capacity(32), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
impl Outbox {
    /// Of how many calls it is remembered when they were.
    pub(super) fn times_remembered(&self) -> usize {
        self.tallies.values().map(|it| it.late.len()).sum()
    }
}

impl Errand {
    /// Whom it goes to, for limits.
    pub(crate) fn service(&self) -> String {
        match self {
            Self::Notify { to, .. } => format!("notify {to}"),
            Self::Http(wish) => match &wish.to {
                Some(name) => format!("http {name}"),
                None => format!("http {}", wish.url.split('/').nth(2).unwrap_or_default()),
            },
            Self::Power { by, .. } => format!("power {by}"),
        }
    }
    fn limits(&self) -> (u32, u64) {
        match self {
            Self::Power { .. } => (SWITCH_TRIES_MAX, SWITCH_AGE_MS_MAX),
            _ => (TRIES_MAX, AGE_MS_MAX),
        }
    }
}

/// The wait before the next try; some time more or less, so that not all come at once.
fn wait_ms(id: &str, tries: u32, retry_after_ms: Option<u64>) -> u64 {
    let plain = RETRY_MS.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(RETRY_MS_MAX);
    let hash = Sha256::digest(format!("{id} {tries}").as_bytes());
    // From 80 % to 120 %.
    let jittered = plain * (80 + u64::from(hash[0]) % 41) / 100;
    jittered.max(retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX))
}

impl Master {
    /// What `notify.yaml` says from now on.
    pub fn use_notifiers(&mut self, notifiers: Arc<Notifiers>) {
        self.outbox.notifiers = notifiers;
        self.outbox.errors.clear();
        self.outbox.look = true;
    }

    /// At a start: nothing of it is in use.
    pub fn set_notifier_errors(&mut self, diagnostics: Vec<Diagnostic>) {
        self.outbox.errors = diagnostics;
    }

    pub(crate) fn broken_notifiers(&mut self, diagnostics: Vec<Diagnostic>) {
        if self.outbox.errors == diagnostics {
            return;
        }
        let first = diagnostics.first().map(|it| cut(&it.message, TEXT_MAX));
        let data = json!({"errors": diagnostics.len(), "first": first});
        self.outbox.errors = diagnostics;
        self.emit_master("notify/broken".to_owned(), data);
    }

    /// Takes a call in; true if it was delivered before.
    pub(super) fn send_out(&mut self, id: &str, mut outgoing: Outgoing) -> bool {
        if self.outbox.waiting.contains_key(id) {
            return false;
        }
        if self.book.kept.contains_key(&(Part::Outgoing, id.to_owned())) {
            return true;
        }
        self.outbox.next_number += 1;
        outgoing.number = self.outbox.next_number;
        outgoing.event.data = Value::Null;
        self.keep_outgoing(id, &outgoing);
        self.outbox.waiting.insert(id.to_owned(), outgoing);
        self.outbox.look = true;
        if self.outbox.waiting.len() > OUTGOING_MAX {
            let flying = &self.outbox.in_flight;
            let still = self.outbox.waiting.iter().filter(|it| !flying.contains_key(it.0));
            let oldest = still.min_by_key(|it| it.1.number).map(|it| it.0.clone());
            if let Some(oldest) = oldest {
                let reason = format!("dropped: more than {OUTGOING_MAX} calls wait");
                if let Some(it) = self.outbox.waiting.get(&oldest).cloned() {
                    self.rule_dropped(&it.rule, &it.event, &reason);
                }
                self.end_outgoing(&oldest, false, &reason);
            }
        }
        false
    }

    fn keep_outgoing(&mut self, id: &str, outgoing: &Outgoing) {
        let data = serde_json::to_value(outgoing).unwrap_or(Value::Null);
        if broken::leaves_out("calls-on-disk") {
            return self.later(Entry::Kept { part: Part::Outgoing, key: id.to_owned(), data: Some(data) });
        }
        self.keep(Part::Outgoing, id, Some(data));
    }

    /// After a start.
    pub(crate) fn recall_outgoing(&mut self) {
        let kept: Vec<(String, Value)> =
            self.book.kept_of(Part::Outgoing).map(|(id, it)| (id.to_owned(), it.clone())).collect();
        for (id, data) in kept {
            if let Some(number) = data.get("delivered").and_then(Value::as_u64) {
                self.outbox.next_number = self.outbox.next_number.max(number);
                self.outbox.delivered.insert(number, id);
                continue;
            }
            if let Ok(outgoing) = serde_json::from_value::<Outgoing>(data) {
                self.outbox.next_number = self.outbox.next_number.max(outgoing.number);
                self.outbox.waiting.insert(id, outgoing);
            } else {
                self.count("calls that cannot be read any more");
                self.keep(Part::Outgoing, &id, None);
            }
        }
        self.outbox.look = true;
    }

    /// Lets go out what can; true if something was done.
    pub(crate) fn run_outbox(&mut self) -> bool {
        // With a full store it is looked at when there is room again.
        if self.degraded.is_some() || !std::mem::take(&mut self.outbox.look) {
            return false;
        }
        let mut order: Vec<(Timestamp, u64, String)> = Vec::new();
        for (id, it) in self.outbox.waiting.iter().filter(|it| !self.outbox.in_flight.contains_key(it.0)) {
            order.push((it.next, it.number, id.clone()));
        }
        order.sort();
        let mut done = false;
        for (next, _, id) in order {
            if next > self.now {
                self.wake_at(next, Timer::Outgoing);
                break;
            }
            if self.outbox.in_flight.len() >= CALLS_MAX {
                break;
            }
            done |= self.try_outgoing(&id);
        }
        done
    }

    /// One call: not now, given up, or on its way.
    fn try_outgoing(&mut self, id: &str) -> bool {
        let Some(mut outgoing) = self.outbox.waiting.get(id).cloned() else { return false };
        let service = outgoing.what.service();
        let at_once = self.outbox.in_flight.values().filter(|it| **it == service).count();
        if at_once >= CALLS_TO_ONE_MAX {
            return false;
        }
        match self.not_before(&outgoing.what) {
            Err(reason) => {
                self.end_outgoing(id, false, &reason);
                return true;
            }
            Ok(Some(next)) => {
                outgoing.next = next;
                self.keep_outgoing(id, &outgoing);
                self.outbox.waiting.insert(id.to_owned(), outgoing);
                self.wake_at(next, Timer::Outgoing);
                return false;
            }
            Ok(None) => {}
        }
        let passage = self.passage(&outgoing);
        if passage.is_err() && !self.outbox.errors.is_empty() {
            // What it names may stand in the edit that is broken.
            outgoing.next = self.now.plus_ms(BROKEN_MS);
            self.wake_at(outgoing.next, Timer::Outgoing);
            self.outbox.waiting.insert(id.to_owned(), outgoing);
            return false;
        }
        outgoing.tries += 1;
        outgoing.first.get_or_insert(self.now);
        if self.rate_of(&outgoing.what).is_some() {
            let tally = self.outbox.tallies.entry(service.clone()).or_default();
            tally.late.push_back(self.now);
        }
        self.outbox.waiting.insert(id.to_owned(), outgoing);
        match passage {
            Err(reason) => self.end_outgoing(id, false, &reason),
            Ok(Passage::Publish { topic, payload }) => {
                self.outbox.in_flight.insert(id.to_owned(), service);
                self.out.push(Effect::Tell { id: id.to_owned(), topic, payload });
            }
            Ok(Passage::Call(mut call)) => {
                // Who gets it twice can see that it is the same.
                call.headers.push(("Idempotency-Key".to_owned(), model::Secret::new(id)));
                self.outbox.in_flight.insert(id.to_owned(), service);
                self.out.push(Effect::Call { id: id.to_owned(), call: Box::new(call) });
            }
        }
        true
    }

    /// How often at most somebody is told.
    fn rate_of(&self, what: &Errand) -> Option<Rate> {
        let Errand::Notify { to, .. } = what else { return None };
        self.outbox.notifiers.get(to)?.rate
    }

    /// When a notice may go out, if not now; why it never will.
    fn not_before(&mut self, what: &Errand) -> Result<Option<Timestamp>, String> {
        let Errand::Notify { to, notice, .. } = what else { return Ok(None) };
        let notifiers = Arc::clone(&self.outbox.notifiers);
        let Some(notifier) = notifiers.get(to) else { return Ok(None) };
        if let Some(quiet) = notifier.quiet.as_ref().filter(|_| notice.priority != Priority::Urgent)
            && let Some(end) = quiet.until(self.now)
        {
            return match quiet.held {
                Held::Later => Ok(Some(end)),
                Held::Drop => Err(format!("dropped: quiet hours, {}", quiet.text)),
            };
        }
        let Some(rate) = self.rate_of(what) else { return Ok(None) };
        let now = self.now;
        let late = &mut self.outbox.tallies.entry(what.service()).or_default().late;
        while late.front().is_some_and(|it| it.plus_ms(rate.per_ms) <= now) {
            late.pop_front();
        }
        let full = late.len() >= rate.count as usize;
        Ok(late.front().filter(|_| full).map(|it| it.plus_ms(rate.per_ms)))
    }

    fn passage(&self, outgoing: &Outgoing) -> Result<Passage, String> {
        let notifiers = &self.outbox.notifiers;
        match &outgoing.what {
            Errand::Notify { to, notice, about } => {
                let about = About {
                    rule: outgoing.rule.clone(),
                    tag: outgoing.event.tag.clone(),
                    event: outgoing.event.number,
                    minion: about.minion.clone(),
                    at: outgoing.at,
                };
                notifiers.notify(to, notice, &about)
            }
            Errand::Http(wish) => notifiers.http(wish).map(Passage::Call),
            Errand::Power { by, on } => notifiers.power(by, *on),
        }
    }

    /// What came of a try.
    pub(crate) fn called(&mut self, id: &str, called: &Called) {
        if self.outbox.in_flight.remove(id).is_none() {
            return self.count("answer to a call that nobody made");
        }
        self.outbox.look = true;
        let Some(mut outgoing) = self.outbox.waiting.get(id).cloned() else { return };
        let (tries_max, age_max) = outgoing.what.limits();
        let age = self.now.since_ms(outgoing.first.unwrap_or(outgoing.at));
        let answer = cut(&called.answer, TEXT_MAX);
        if called.good {
            return self.end_outgoing(id, true, &answer);
        }
        if !called.again || outgoing.tries >= tries_max || age >= age_max {
            let tries = outgoing.tries;
            return self.end_outgoing(id, false, &format!("given up after {tries} tries: {answer}"));
        }
        outgoing.next = self.now.plus_ms(wait_ms(id, outgoing.tries, called.retry_after_ms));
        self.wake_at(outgoing.next, Timer::Outgoing);
        self.keep_outgoing(id, &outgoing);
        self.outbox.waiting.insert(id.to_owned(), outgoing);
    }

    /// A call is over. One that went through is remembered, so that it does not go out again.
    fn end_outgoing(&mut self, id: &str, ok: bool, answer: &str) {
        let Some(outgoing) = self.outbox.waiting.remove(id) else { return };
        let tally = self.outbox.tallies.entry(outgoing.what.service()).or_default();
        if ok {
            tally.sent += 1;
        } else {
            tally.failed += 1;
            self.count("calls to other services that were given up");
        }
        let data = Some(json!({ "delivered": outgoing.number }));
        if broken::leaves_out("delivered-on-disk") {
            self.later(Entry::Kept { part: Part::Outgoing, key: id.to_owned(), data });
        } else {
            self.keep(Part::Outgoing, id, data);
        }
        self.outbox.delivered.insert(outgoing.number, id.to_owned());
        if self.outbox.delivered.len() > DELIVERED_MAX
            && let Some((_, oldest)) = self.outbox.delivered.pop_first()
        {
            self.keep(Part::Outgoing, &oldest, None);
        }
        if !ok {
            let service = outgoing.what.service();
            self.rule_failed(&outgoing.rule, &outgoing.event, &format!("{service}: {answer}"));
        }
        let end =
            ActionEnd { ok, answer: answer.to_owned(), attempts: outgoing.tries, ..ActionEnd::default() };
        self.reaction_call_ended(&outgoing.reaction, id, end);
    }

    /// The timer of calls.
    pub(crate) fn look_at_outbox(&mut self) {
        self.outbox.look = true;
    }

    /// For people: who can be told, without secrets.
    pub(crate) fn notifier_views(&self) -> Vec<api::NotifierView> {
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        for outgoing in self.outbox.waiting.values() {
            *waiting.entry(outgoing.what.service()).or_default() += 1;
        }
        let view = |name: &str, kind: &str, place: &str, service: String| {
            let tally = self.outbox.tallies.get(&service).cloned().unwrap_or_default();
            api::NotifierView {
                name: name.to_owned(),
                kind: kind.to_owned(),
                place: place.to_owned(),
                waiting: waiting.get(&service).copied().unwrap_or(0),
                sent: tally.sent,
                failed: tally.failed,
                ..api::NotifierView::default()
            }
        };
        let notifiers = self.outbox.notifiers.iter().map(|(name, it)| api::NotifierView {
            quiet_hours: it.quiet.as_ref().map(|it| it.text.clone()),
            rate: it.rate.map(|it| format!("{} per {}", it.count, lang::duration::show(it.per_ms))),
            ..view(name, it.kind.word(), &it.place, format!("notify {name}"))
        });
        let others = self.outbox.notifiers.others().map(|(kind, name, place)| {
            let service = format!("{} {name}", if kind == "power" { "power" } else { "http" });
            view(name, kind, place, service)
        });
        notifiers.chain(others).collect()
    }

    /// Tells somebody now that this works, and shows what was answered: past limits and quiet hours.
    pub(crate) fn test_notifier(
        &mut self,
        ticket: Ticket,
        name: &str,
    ) -> Result<Option<Reply>, api::ErrorView> {
        let notice = Notice {
            title: "labctl".to_owned(),
            message: format!("a test of the notifier {name}"),
            tags: vec!["test".to_owned()],
            ..Notice::default()
        };
        let about =
            About { rule: "test".to_owned(), tag: "test".to_owned(), at: self.now, ..About::default() };
        let refuse = |message| crate::core::target::refuse(api::ErrorKind::NotFound, message, None);
        match self.outbox.notifiers.notify(name, &notice, &about).map_err(refuse)? {
            Passage::Publish { topic, payload } => {
                self.out.push(Effect::TestTell { ticket, topic, payload });
            }
            Passage::Call(call) => self.out.push(Effect::TestCall { ticket, call: Box::new(call) }),
        }
        Ok(None)
    }
}

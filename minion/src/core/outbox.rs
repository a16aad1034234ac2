//! What waits for the master's word that it is stored: results, and events in order.

use super::{Effect, Entry, Minion, memory::Held};
use bus::message::{FromMinion, JobResult};
use model::{JobId, Terminal, Timestamp, broken};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of events and results that are kept. Beyond, the oldest events are dropped, and the next one says how many;
/// results never: new jobs are refused as long as there is no room for what may come of them.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;
/// The least that can be set.
pub const OUTBOX_BYTES_MIN: usize = 1 << 20;
/// Longest payload of one event.
const EVENT_MAX: usize = 16 << 10;
/// Longest tag.
const TAG_MAX: usize = 256;
/// A result whose JSON is longer is sent in pieces.
const RESULT_WHOLE_MAX: usize = 64 << 10;
/// Bytes of a piece: as text within JSON it may grow sixfold and must fit into a packet of 256 KiB.
const PART_MAX: usize = 32 << 10;
/// A result whose JSON is longer is cut.
const RESULT_MAX: usize = 15 << 20;
/// Messages and bytes of what was kept that are said in one step; a result that is larger is said whole. What the gate
/// reads in a second or two: all of a full outbox in one step would be copied at once, and keep the minion from
/// everything else until the last message is through.
const STEP_MESSAGES_MAX: usize = 64;
const STEP_BYTES_MAX: usize = 1 << 20;
/// Room that is kept free for the result of each job that was taken: one that is cut as far as can be has no more.
pub(super) const RESULT_ROOM: usize = 128 << 10;
/// Longest reason of a result that has to be cut; as JSON it may grow sixfold.
const REASON_MAX: usize = 16 << 10;

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    number: u64,
    tag: String,
    data: Value,
    gap: u64,
    bytes: usize,
}

/// Events in order of number.
#[derive(Debug, PartialEq)]
pub(super) struct Outbox {
    events: VecDeque<Kept>,
    bytes: usize,
    /// Number of the next one.
    pub(super) next: u64,
    /// Dropped, and not yet told by an event after them.
    gap: u64,
    taken: u64,
    /// Bytes of each result that is not acknowledged, and of all.
    results: BTreeMap<JobId, usize>,
    result_bytes: usize,
    bytes_max: usize,
}

impl Outbox {
    /// At most so many bytes.
    pub(super) fn bounded(bytes_max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            next: 1,
            gap: 0,
            taken: 0,
            results: BTreeMap::new(),
            result_bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn push(&mut self, number: u64, tag: &str, data: &Value, gap: u64) {
        let bytes = tag.len() + data.to_string().len() + 64;
        self.next = self.next.max(number + 1);
        self.bytes += bytes;
        let gap = gap + std::mem::take(&mut self.gap);
        self.events.push_back(Kept { number, tag: tag.to_owned(), data: data.clone(), gap, bytes });
        self.make_room();
    }

    /// Drops the oldest events until all fits.
    fn make_room(&mut self) {
        while !broken::leaves_out("outbox-bound")
            && !self.events.is_empty()
            && self.bytes + self.result_bytes > self.bytes_max
        {
            self.drop_oldest();
        }
    }

    pub(super) fn keep_result(&mut self, result: &JobResult) {
        self.drop_result(result.job);
        let bytes = json_bytes(result);
        self.results.insert(result.job, bytes);
        self.result_bytes += bytes;
        self.make_room();
    }

    pub(super) fn drop_result(&mut self, job: JobId) {
        self.result_bytes -= self.results.remove(&job).unwrap_or(0);
    }

    pub(super) fn add_gap(&mut self, events: u64) {
        self.gap += events;
    }

    /// Whether there is room for so many results, be they as short as they can be.
    fn has_room_for(&self, results: usize) -> bool {
        self.result_bytes + results.saturating_mul(RESULT_ROOM) <= self.bytes_max
    }

    /// Bytes that a result may have while so many others are still to come.
    pub(super) fn result_max(&self, others: usize) -> usize {
        let taken = self.result_bytes + others.saturating_mul(RESULT_ROOM);
        self.bytes_max.saturating_sub(taken).clamp(RESULT_ROOM, RESULT_MAX)
    }

    fn drop_oldest(&mut self) {
        if let Some(old) = self.events.pop_front() {
            self.bytes -= old.bytes;
            match self.events.front_mut() {
                Some(first) => first.gap += old.gap + 1,
                None => self.gap += old.gap + 1,
            }
        }
    }

    pub(super) fn take(&mut self, number: u64) {
        self.taken = self.taken.max(number);
        self.next = self.next.max(number.saturating_add(1));
        while self.events.front().is_some_and(|it| it.number <= number) {
            if let Some(old) = self.events.pop_front() {
                self.bytes -= old.bytes;
            }
        }
    }

    /// Number of the oldest one that is kept.
    fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next, |it| it.number)
    }

    /// The first one from number `from` on, if it is below `below`: its number and size, and how it is said.
    fn first_from(&self, from: u64, below: u64) -> Option<(u64, usize, FromMinion)> {
        let index = self.events.partition_point(|it| it.number < from);
        let it = self.events.get(index).filter(|it| it.number < below)?;
        let message =
            FromMinion::Event { number: it.number, tag: it.tag.clone(), data: it.data.clone(), gap: it.gap };
        Some((it.number, it.bytes, message))
    }

    pub(super) fn snapshot(&self) -> impl Iterator<Item = Entry> {
        let taken = self.events.front().map_or(self.next, |it| it.number).saturating_sub(1).max(self.taken);
        let events = self.events.iter().map(|it| Entry::Event {
            number: it.number,
            tag: it.tag.clone(),
            data: it.data.clone(),
            gap: it.gap,
        });
        let gap = (self.gap > 0).then_some(Entry::Gap(self.gap));
        std::iter::once(Entry::EventsTaken(taken)).chain(gap).chain(events)
    }
}

/// What a connection has still to be told of what was kept: a piece a step.
#[derive(Debug)]
pub(super) struct Unsaid {
    /// Number of the next event.
    event: u64,
    /// Whose results, behind all events.
    jobs: VecDeque<JobId>,
    /// When the last piece was said.
    at: Timestamp,
}

/// What one step may still say.
struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    fn is_left(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    fn take(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

fn json_bytes(result: &JobResult) -> usize {
    serde_json::to_string(result).map_or(0, |it| it.len())
}

impl Minion {
    /// Why no further job can be taken: there would be no room for its result.
    pub(super) fn outbox_is_full(&self) -> Option<String> {
        let outbox = &self.memory.outbox;
        if broken::leaves_out("room-for-results") || outbox.has_room_for(self.memory.unfinished() + 1) {
            return None;
        }
        let (waiting, bytes) = (outbox.results.len(), outbox.result_bytes >> 10);
        Some(format!("its outbox is full: {waiting} results ({bytes} KiB) wait for the master to store them"))
    }

    /// Nobody hears any more: what may be lost is.
    pub(super) fn forget_unheard(&mut self) {
        self.pending.clear();
        self.link.unsaid = None;
        if broken::leaves_out("keep-events-over-a-reconnect") {
            self.memory.outbox.take(self.memory.outbox.next - 1);
        }
    }

    /// Notes an event and says it.
    pub(super) fn add_event(&mut self, now: Timestamp, tag: String, data: Value, effects: &mut Vec<Effect>) {
        self.add_events(now, vec![(tag, data)], effects);
    }

    /// Notes events, all in one write, and says them. Tags and payloads over their limits are cut, with a notice in the
    /// payload.
    pub(super) fn add_events(
        &mut self,
        now: Timestamp,
        events: Vec<(String, Value)>,
        effects: &mut Vec<Effect>,
    ) {
        let first = self.memory.outbox.next;
        let unwritten = self.unwritten_event().is_some();
        for (tag, data) in events {
            let number = self.memory.outbox.next;
            let tag: String = if tag.len() > TAG_MAX { tag.chars().take(TAG_MAX / 4).collect() } else { tag };
            let data = match data.to_string().len() {
                length if length > EVENT_MAX => serde_json::json!({ "cut": length }),
                _ => data,
            };
            let entry = Entry::Event { number, tag, data, gap: 0 };
            if unwritten {
                // One before it is not on disk: it waits behind it, for the master takes them in order.
                self.memory.remember(&entry);
                self.unwritten.push(entry);
            } else {
                self.record(entry, effects);
            }
        }
        if unwritten {
            let oldest = self.memory.outbox.oldest();
            self.unwritten.retain(|it| !matches!(it, Entry::Event { number, .. } if *number < oldest));
            return;
        }
        for number in first..self.memory.outbox.next {
            self.say_event(now, number, effects);
        }
    }

    /// Says one event; nothing if it was dropped, and in its turn if older ones are still to be said.
    pub(super) fn say_event(&mut self, now: Timestamp, number: u64, effects: &mut Vec<Effect>) {
        if !self.link.welcomed || self.link.unsaid.is_some() {
            return;
        }
        if let Some((_, _, event)) = self.memory.outbox.first_from(number, number.saturating_add(1)) {
            self.say(now, event, effects);
        }
    }

    /// Number of the first event that is not on disk because it is full.
    fn unwritten_event(&self) -> Option<u64> {
        self.unwritten.iter().find_map(|entry| match entry {
            Entry::Event { number, .. } => Some(*number),
            _ => None,
        })
    }

    /// Everything the master has not acknowledged: events first, so that what a run fired comes before its end.
    pub(super) fn say_outbox(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let silent = broken::leaves_out("say-results-again");
        let jobs = if silent { VecDeque::new() } else { self.memory.unacknowledged().into() };
        self.link.unsaid = Some(Unsaid { event: 0, jobs, at: now });
        self.say_more(now, effects);
    }

    /// When the next piece of that is due: at once.
    pub(super) fn unsaid_at(&self) -> Option<Timestamp> {
        self.link.unsaid.as_ref().map(|it| it.at)
    }

    /// The next piece of that; the rest waits for the next tick, which is due at once.
    pub(super) fn say_more(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(mut unsaid) = self.link.unsaid.take().filter(|_| self.link.welcomed) else { return };
        unsaid.at = now;
        let below = self.unwritten_event().unwrap_or(u64::MAX);
        let mut room = Room { messages: STEP_MESSAGES_MAX, bytes: STEP_BYTES_MAX };
        while room.is_left() {
            let Some((number, bytes, event)) = self.memory.outbox.first_from(unsaid.event, below) else {
                break;
            };
            unsaid.event = number.saturating_add(1);
            room.take(1, bytes);
            self.say(now, event, effects);
        }
        while room.is_left() {
            let Some(job) = unsaid.jobs.pop_front() else { return };
            let before = effects.len();
            let bytes = self.say_kept_result(now, job, effects);
            room.take(effects.len() - before, bytes);
        }
        self.link.unsaid = Some(unsaid);
    }

    pub(super) fn on_ack(
        &mut self,
        now: Timestamp,
        jobs: &[JobId],
        events: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        // By the master's clock: our own may be at 1970 now, and right when it is judged how old this is.
        let at = self.master_now(now).unwrap_or(now);
        for job in jobs {
            if let Some(Held::Ended(result)) = self.memory.jobs.get(job) {
                let word = result.word;
                self.later(Entry::Known { job: *job, word, at }, effects);
            }
        }
        if let Some(number) = events.filter(|number| *number < self.memory.outbox.next) {
            self.later(Entry::EventsTaken(number), effects);
        }
    }

    /// Says the result of an ended job, behind what is still to be said.
    pub(super) fn say_result(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) {
        match &mut self.link.unsaid {
            Some(unsaid) if unsaid.jobs.contains(&job) => {}
            Some(unsaid) => unsaid.jobs.push_back(job),
            None => drop(self.say_kept_result(now, job, effects)),
        }
    }

    /// Says a result whole, in pieces, or (long acknowledged) its word; how many bytes that are.
    fn say_kept_result(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) -> usize {
        let unwritten = |entry: &Entry| matches!(entry, Entry::Ended(result) if result.job == job);
        if !self.link.welcomed || self.unwritten.iter().any(unwritten) {
            return 0;
        }
        let result = match self.memory.jobs.get(&job) {
            Some(Held::Ended(result)) => result.clone(),
            Some(Held::Known { word, at }) => Box::new(known_result(job, *word, *at)),
            _ => return 0,
        };
        if broken::leaves_out("keep-results-until-acknowledged") {
            self.later(Entry::Known { job, word: result.word, at: now }, effects);
        }
        let text = serde_json::to_string(&*result).unwrap_or_default();
        if text.len() <= RESULT_WHOLE_MAX {
            self.say(now, FromMinion::Result(result), effects);
            return text.len();
        }
        let pieces = pieces(&text, PART_MAX);
        let parts = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        for (part, text) in (0..).zip(pieces) {
            self.say(now, FromMinion::ResultPart { job, part, parts, text: text.to_owned() }, effects);
        }
        text.len()
    }
}

fn known_result(job: JobId, word: Terminal, at: Timestamp) -> JobResult {
    JobResult { job, word, reason: "acknowledged before".to_owned(), report: None, at, begun: None }
}

fn pieces(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(bytes_max));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// Cuts what commands said and diffs, longest first, until the result fits; says so where it cut. What is still too
/// long goes without its report.
pub(super) fn fit(result: &mut JobResult, bytes_max: usize) {
    let text = |it: &JobResult| serde_json::to_string(it).unwrap_or_default();
    let whole = text(result);
    if whole.len() <= bytes_max {
        return;
    }
    let hash = crate::grains::sha256_text(&whole);
    cut_text(&mut result.reason, REASON_MAX, &hash);
    for keep in [256 << 10, 16 << 10, 1 << 10, 0] {
        for step in result.report.iter_mut().flat_map(|it| &mut it.steps) {
            cut_step(step, keep, &hash);
        }
        if text(result).len() <= bytes_max {
            return;
        }
    }
    result.report = None;
    let space = if result.reason.is_empty() { "" } else { "; " };
    let length = whole.len();
    result.reason = format!(
        "{}{space}the report of {length} bytes is left out: a result has {bytes_max} at most; SHA-256 of the whole result: {hash}",
        result.reason
    );
}

fn cut_text(text: &mut String, keep: usize, hash: &str) {
    if text.len() > keep {
        text.truncate(text.floor_char_boundary(keep));
        text.push_str("\n[cut");
        if !hash.is_empty() {
            text.push_str("; SHA-256 of the whole result: ");
            text.push_str(hash);
        }
        text.push(']');
    }
}

pub(super) fn cut_step(step: &mut model::StepReport, keep: usize, hash: &str) {
    let cut = |text: &mut String| cut_text(text, keep, hash);
    if let Some(output) = &mut step.output {
        cut(&mut output.stdout);
        cut(&mut output.stderr);
    }
    for change in &mut step.plan.changes {
        if let Some(diff) = &mut change.diff {
            cut(diff);
        }
    }
    cut(&mut step.comment);
}

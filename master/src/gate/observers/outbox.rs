//! What waits for an observer: retained messages of its subscriptions and live ones; paced by its socket and by its
//! acknowledgements.

use crate::gate::wire::Wire;
use bus::packet::{Packet, Properties, Publish, Qos};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages that may be unacknowledged.
const WINDOW_MAX: u16 = 64;
/// Live messages that may wait, and their bytes.
const LIVE_MESSAGES: usize = 2048;
const LIVE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of output from which on nothing is added.
const OUTPUT_HIGH: usize = 64 * 1024;

/// It takes its messages too slowly.
#[derive(Debug)]
pub(super) struct TooSlow;

/// The answer to one subscription, in order of topic.
struct Answer {
    filter: String,
    qos: Qos,
    left: BTreeMap<String, String>,
}

pub(super) struct Outbox {
    window: usize,
    largest: usize,
    last_id: u16,
    unacknowledged: BTreeSet<u16>,
    answers: VecDeque<Answer>,
    live: VecDeque<(String, Bytes, Qos)>,
    live_bytes: usize,
}

impl Outbox {
    /// For a client that takes `window` unacknowledged messages and packets of `largest` bytes.
    pub(super) fn new(window: u32, largest: Option<u32>) -> Self {
        Self {
            window: usize::try_from(window).unwrap_or(usize::MAX).clamp(1, usize::from(WINDOW_MAX)),
            largest: largest.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX),
            last_id: 0,
            unacknowledged: BTreeSet::new(),
            answers: VecDeque::new(),
            live: VecDeque::new(),
            live_bytes: 0,
        }
    }

    /// Queues the retained messages of a subscription; what is left of an earlier answer to it is forgotten.
    pub(super) fn retained(&mut self, filter: String, qos: Qos, found: Vec<(String, String)>) {
        self.forget(&filter);
        self.answers.push_back(Answer { filter, qos, left: found.into_iter().collect() });
    }

    /// The subscription is over.
    pub(super) fn forget(&mut self, filter: &str) {
        self.answers.retain(|it| it.filter != filter);
    }

    /// Queues a live message; what is retained of that topic and not yet sent is out of date.
    pub(super) fn live(&mut self, topic: String, payload: Bytes, qos: Qos) -> Result<(), TooSlow> {
        for answer in &mut self.answers {
            answer.left.remove(&topic);
        }
        self.live_bytes += topic.len() + payload.len();
        self.live.push_back((topic, payload, qos));
        if self.live.len() > LIVE_MESSAGES || self.live_bytes > LIVE_BYTES { Err(TooSlow) } else { Ok(()) }
    }

    /// A PUBACK came.
    pub(super) fn acknowledged(&mut self, id: u16) {
        self.unacknowledged.remove(&id);
    }

    /// Moves to the wire what fits: live first, then retained.
    pub(super) fn fill<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) {
        while wire.queued() < OUTPUT_HIGH {
            let Some(publish) = self.next() else { return };
            // A client that says it takes smaller packets gets none that are larger.
            if publish.topic.len() + publish.payload.len() + 16 <= self.largest {
                wire.push(&Packet::Publish(publish));
            } else if publish.id != 0 {
                self.unacknowledged.remove(&publish.id);
            }
        }
    }

    fn next(&mut self) -> Option<Publish> {
        let room = self.unacknowledged.len() < self.window;
        let may = |qos: Qos| room || qos == Qos::AtMostOnce;
        if let Some((topic, payload, qos)) = self.live.pop_front_if(|(_, _, qos)| may(*qos)) {
            self.live_bytes -= topic.len() + payload.len();
            return Some(self.publish(topic, payload, qos, false));
        }
        while self.answers.front().is_some_and(|it| it.left.is_empty()) {
            self.answers.pop_front();
        }
        let answer = self.answers.front_mut().filter(|it| may(it.qos))?;
        let qos = answer.qos;
        let (topic, payload) = answer.left.pop_first()?;
        Some(self.publish(topic, payload.into(), qos, true))
    }

    fn publish(&mut self, topic: String, payload: Bytes, qos: Qos, retain: bool) -> Publish {
        let id = if qos == Qos::AtMostOnce { 0 } else { self.next_id() };
        Publish { topic, payload, qos, retain, duplicate: false, id, properties: Properties::default() }
    }

    /// There is one: the window is far smaller than the numbers.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.unacknowledged.insert(self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: usize) -> Vec<(String, String)> {
        (0..count).map(|it| (format!("lab/{it:04}"), "v".to_owned())).collect()
    }

    #[test]
    fn the_window_is_kept_and_every_retained_message_comes_in_the_end() {
        let mut outbox = Outbox::new(10, None);
        outbox.retained("lab/#".into(), Qos::AtLeastOnce, found(100));
        let mut topics = BTreeSet::new();
        while let Some(publish) = outbox.next() {
            assert!(publish.retain && publish.id != 0);
            assert!(outbox.unacknowledged.len() <= 10);
            topics.insert(publish.topic);
            if outbox.unacknowledged.len() == 10 {
                let oldest = *outbox.unacknowledged.first().unwrap();
                outbox.acknowledged(oldest);
            }
        }
        assert_eq!(topics.len(), 100);
    }

    #[test]
    fn a_live_message_overtakes_what_is_retained_of_its_topic() {
        let mut outbox = Outbox::new(10, None);
        outbox.retained("lab/#".into(), Qos::AtMostOnce, found(3));
        outbox.live("lab/0001".into(), Bytes::from_static(b"new"), Qos::AtMostOnce).unwrap();
        let all: Vec<_> =
            std::iter::from_fn(|| outbox.next()).map(|it| (it.topic, it.payload, it.retain)).collect();
        let wanted = [("lab/0001", "new", false), ("lab/0000", "v", true), ("lab/0002", "v", true)];
        let wanted = wanted.map(|(topic, payload, retain)| (topic.to_owned(), Bytes::from(payload), retain));
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_reader_that_takes_nothing_is_given_up() {
        let mut outbox = Outbox::new(10, None);
        let mut send = || outbox.live("lab/x".into(), Bytes::from_static(b"1"), Qos::AtMostOnce);
        assert!((0..LIVE_MESSAGES).all(|_| send().is_ok()));
        assert!(send().is_err());
    }

    #[test]
    fn packet_ids_come_round_without_0_and_without_those_in_flight() {
        let mut outbox = Outbox::new(10, None);
        let first = outbox.next_id();
        for _ in 0..70_000 {
            let id = outbox.next_id();
            assert!(id != 0 && id != first);
            outbox.acknowledged(id);
        }
    }
}

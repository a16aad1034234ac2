//! What is to be published to the fan-out: a bounded queue that drops the oldest, and the one connection that empties it.

use crate::gate::FanoutLink;
use bus::client::{Client, ClientConfig, ClientEvent};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Messages that may wait, and their bytes.
const MESSAGES_MAX: usize = 8192;
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// A fan-out that takes no connection for so long hangs.
const HANG_LIMIT: Duration = Duration::from_secs(15);
/// How often one message is tried, and the pause between.
const ATTEMPTS_MAX: u32 = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(10);
/// So that a fan-out that hangs is noticed.
const KEEP_ALIVE_S: u16 = 10;

/// Messages on their way to the fan-out.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    more: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<(String, String)>,
    bytes: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message; the oldest give way, and one that is too large is none.
    pub(super) fn put(&self, topic: &str, payload: &str) {
        if payload.len() > super::PAYLOAD_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        {
            let mut inner = self.lock();
            inner.bytes += topic.len() + payload.len();
            inner.messages.push_back((topic.to_owned(), payload.to_owned()));
            while inner.messages.len() > MESSAGES_MAX || inner.bytes > BYTES_MAX {
                inner.pop();
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.more.notify_one();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    async fn take(&self) -> (String, String) {
        loop {
            let more = self.more.notified();
            if let Some(message) = self.lock().pop() {
                return message;
            }
            more.await;
        }
    }
}

impl Inner {
    fn pop(&mut self) -> Option<(String, String)> {
        let (topic, payload) = self.messages.pop_front()?;
        self.bytes -= topic.len() + payload.len();
        Some((topic, payload))
    }
}

/// Publishes until the fan-out hangs; says why it ended.
pub(super) async fn run(link: &FanoutLink, queue: &Queue) -> &'static str {
    let (client, mut events) = Client::start(ClientConfig {
        addresses: vec![link.address.to_string()],
        tls: None,
        client_id: "master".to_owned(),
        login: Some((link.user.clone(), link.password.reveal().to_owned())),
        subscribe: Vec::new(),
        packet_max: super::PAYLOAD_MAX + 4096,
        keep_alive_s: KEEP_ALIVE_S,
        backoff_max_ms: 1000,
    });
    let mut connected = false;
    let mut hangs_at = Instant::now() + HANG_LIMIT;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(ClientEvent::Connected { .. }) => connected = true,
                Some(ClientEvent::Disconnected { .. }) => {
                    if connected {
                        hangs_at = Instant::now() + HANG_LIMIT;
                    }
                    connected = false;
                }
                Some(ClientEvent::Message { .. }) => {}
                None => return "its connection ended",
            },
            (topic, payload) = queue.take(), if connected => {
                publish(&client, queue, topic, payload).await;
            }
            () = tokio::time::sleep_until(hangs_at), if !connected => return "it does not answer",
        }
    }
}

/// Connected is told a moment before it can be used: what fails is tried again a few times, then lost.
async fn publish(client: &Client, queue: &Queue, topic: String, payload: String) {
    for _ in 0..ATTEMPTS_MAX {
        if client.publish(topic.clone(), payload.clone().into_bytes(), false).await.is_ok() {
            return;
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    queue.dropped.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_are_counted() {
        let queue = Queue::default();
        for number in 0..=MESSAGES_MAX {
            queue.put("lab/x", &number.to_string());
        }
        assert_eq!(queue.dropped(), 1);
        assert_eq!(queue.lock().pop(), Some(("lab/x".into(), "1".into())));
        for _ in 0..20 {
            queue.put("lab/x", &"x".repeat(super::super::PAYLOAD_MAX));
        }
        assert!(queue.lock().bytes <= BYTES_MAX);
        queue.put("lab/x", &"x".repeat(super::super::PAYLOAD_MAX + 1));
        assert_eq!(queue.lock().messages.len(), 15, "what is too large does not displace others");
    }
}

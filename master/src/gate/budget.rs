//! Who may wait before we know them: few from one address, not many in all, and the silent give way.

use super::counters::lock;
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Handshakes at a time from one address.
pub(crate) const PER_ADDRESS: usize = 20;
/// Connections in all that are not known yet.
pub(crate) const OVERALL: usize = 256;
/// Who has sent nothing for so long gives way to others.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// Accepting waits so long for room; then a newcomer from the address that fills it is turned away.
const PATIENCE: Duration = Duration::from_secs(1);

/// An address as far as budgets go: an IPv6 network of 64 bits is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(it) => Self(Ipv6Addr::from(u128::from(it) & !u128::from(u64::MAX)).into()),
            it @ IpAddr::V4(_) => Self(it),
        }
    }
}

/// All connections before authentication.
#[derive(Default)]
pub(crate) struct Budget {
    inner: Mutex<Inner>,
    freed: Notify,
}

#[derive(Default)]
struct Inner {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
    shaking: HashMap<Origin, usize>,
}

struct Waiting {
    origin: Origin,
    since: Instant,
    stage: Stage,
    stop: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Silent,
    Spoke,
    Shaking,
}

/// A place in the budget, given back when dropped.
pub(crate) struct Ticket {
    budget: Arc<Budget>,
    number: u64,
    origin: Origin,
    stop: Arc<Notify>,
}

impl Budget {
    /// A place for a new connection; `None` if its own address has filled the budget.
    pub(crate) async fn enter(self: &Arc<Self>, origin: Origin) -> Option<Ticket> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let wake = {
                let now = Instant::now();
                let mut inner = lock(&self.inner);
                if inner.waiting.len() < OVERALL || inner.make_room(origin, now) {
                    return Some(self.ticket(&mut inner, origin, now));
                }
                if now >= give_up && inner.held_by(origin) > PER_ADDRESS {
                    return None;
                }
                inner.first_silent_end().unwrap_or(now + PATIENCE).min(now + PATIENCE)
            };
            tokio::select! {
                () = &mut freed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn ticket(self: &Arc<Self>, inner: &mut Inner, origin: Origin, now: Instant) -> Ticket {
        inner.last += 1;
        let stop = Arc::new(Notify::new());
        let waiting = Waiting { origin, since: now, stage: Stage::Silent, stop: Arc::clone(&stop) };
        inner.waiting.insert(inner.last, waiting);
        Ticket { budget: Arc::clone(self), number: inner.last, origin, stop }
    }
}

impl Inner {
    fn held_by(&self, origin: Origin) -> usize {
        self.waiting.values().filter(|it| it.origin == origin).count()
    }

    fn first_silent_end(&self) -> Option<Instant> {
        self.waiting.values().find(|it| it.stage == Stage::Silent).map(|it| it.since + SILENCE)
    }

    /// Takes the place of the one that has been silent longest, or of one from another address that has too many.
    fn make_room(&mut self, origin: Origin, now: Instant) -> bool {
        let silent = |it: &Waiting| it.stage == Stage::Silent && now.duration_since(it.since) >= SILENCE;
        let mut victim = self.waiting.iter().find(|(_, it)| silent(it)).map(|(number, _)| *number);
        if victim.is_none() {
            let mut held: HashMap<Origin, usize> = HashMap::new();
            self.waiting.values().for_each(|it| *held.entry(it.origin).or_default() += 1);
            let heaviest = held.into_iter().max_by_key(|(_, count)| *count);
            victim =
                heaviest.filter(|(it, count)| *it != origin && *count > PER_ADDRESS).and_then(|(it, _)| {
                    let of_it =
                        |(_, other): &(&u64, &Waiting)| other.origin == it && other.stage != Stage::Shaking;
                    self.waiting.iter().rev().find(of_it).map(|(number, _)| *number)
                });
        }
        let Some(number) = victim else { return false };
        if let Some(gone) = self.waiting.remove(&number) {
            gone.stop.notify_one();
        }
        true
    }
}

impl Ticket {
    /// Waits until somebody else needs the place.
    pub(crate) async fn given_away(&self) {
        self.stop.notified().await;
    }

    /// The connection has sent something: wait for a place among the handshakes of its address.
    pub(crate) async fn handshake(&self) {
        loop {
            let mut freed = std::pin::pin!(self.budget.freed.notified());
            freed.as_mut().enable();
            {
                let inner = &mut *lock(&self.budget.inner);
                if let Some(waiting) = inner.waiting.get_mut(&self.number) {
                    let shaking = inner.shaking.entry(self.origin).or_default();
                    if *shaking < PER_ADDRESS {
                        *shaking += 1;
                        waiting.stage = Stage::Shaking;
                        return;
                    }
                    waiting.stage = Stage::Spoke;
                }
            }
            freed.await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        {
            let inner = &mut *lock(&self.budget.inner);
            let stage = inner.waiting.remove(&self.number).map(|it| it.stage);
            if stage == Some(Stage::Shaking)
                && let Some(count) = inner.shaking.get_mut(&self.origin)
            {
                *count -= 1;
                if *count == 0 {
                    inner.shaking.remove(&self.origin);
                }
            }
        }
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        Origin::of([10, 0, 0, last].into())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_silent_give_way_and_the_others_do_not() {
        let budget = Arc::new(Budget::default());
        let mut held = Vec::new();
        for _ in 0..OVERALL {
            held.push(budget.enter(origin(1)).await.unwrap());
        }
        for it in &held[..PER_ADDRESS] {
            it.handshake().await;
        }
        let start = Instant::now();
        let newcomer = budget.enter(origin(2)).await.unwrap();
        assert!(start.elapsed() < SILENCE, "an address with too many gives way at once to another");
        drop(newcomer);
        let _first = budget.enter(origin(1)).await.unwrap();
        let _second = budget.enter(origin(1)).await.unwrap();
        assert!(start.elapsed() >= SILENCE / 2, "of one's own address the silent give way after a second");
        assert!(tokio::time::timeout(SILENCE, held[0].given_away()).await.is_err(), "a handshake goes on");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_has_so_many_handshakes_at_a_time() {
        let budget = Arc::new(Budget::default());
        let mut held = Vec::new();
        for _ in 0..PER_ADDRESS {
            let ticket = budget.enter(origin(1)).await.unwrap();
            ticket.handshake().await;
            held.push(ticket);
        }
        let next = budget.enter(origin(1)).await.unwrap();
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, next.handshake()).await.is_err());
        budget.enter(origin(2)).await.unwrap().handshake().await;
        held.pop();
        tokio::time::timeout(soon, next.handshake()).await.expect("a place was given back");
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}

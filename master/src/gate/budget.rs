//! Who may wait before we know them: few from one address, not many in all, and the silent give way.

use super::counters::lock;
use crate::limits::Origin;
use model::broken;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};

/// Handshakes at a time from one address.
pub(crate) const PER_ADDRESS: usize = 20;
/// Connections in all that are not known yet.
pub(crate) const OVERALL: usize = 256;
/// Who has sent nothing for so long gives way to others.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// Accepting waits so long for room; then a newcomer from the address that fills it is turned away.
const PATIENCE: Duration = Duration::from_secs(1);

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
    heard: Arc<Heard>,
    stage: Stage,
    stop: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Shaking,
}

/// When bytes came last, or the connection itself.
struct Heard {
    first: Instant,
    after_ms: AtomicU64,
}

impl Heard {
    fn now(&self) {
        let after = u64::try_from(self.first.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(after, Ordering::Relaxed);
    }
    fn gives_way_at(&self) -> Instant {
        self.first + Duration::from_millis(self.after_ms.load(Ordering::Relaxed)) + SILENCE
    }
}

/// A place in the budget, given back when dropped.
pub(crate) struct Ticket {
    budget: Arc<Budget>,
    number: u64,
    origin: Origin,
    heard: Arc<Heard>,
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

    /// The system is short of something that connections need: whoever has been silent gives way.
    pub(crate) fn shed(&self) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        while inner.silence_gives_way(now, |_| true).is_ok() {}
    }

    fn ticket(self: &Arc<Self>, inner: &mut Inner, origin: Origin, now: Instant) -> Ticket {
        inner.last += 1;
        let stop = Arc::new(Notify::new());
        let heard = Arc::new(Heard { first: now, after_ms: AtomicU64::new(0) });
        let (heard_too, stop_too) = (Arc::clone(&heard), Arc::clone(&stop));
        let waiting = Waiting { origin, heard: heard_too, stage: Stage::Waiting, stop: stop_too };
        inner.waiting.insert(inner.last, waiting);
        Ticket { budget: Arc::clone(self), number: inner.last, origin, heard, stop }
    }
}

impl Inner {
    fn held_by(&self, origin: Origin) -> usize {
        self.waiting.values().filter(|it| it.origin == origin).count()
    }

    fn first_silent_end(&self) -> Option<Instant> {
        self.waiting.values().map(|it| it.heard.gives_way_at()).min()
    }

    /// Takes the place of the one that has been silent longest, or of one from another address that has too many.
    fn make_room(&mut self, origin: Origin, now: Instant) -> bool {
        if self.silence_gives_way(now, |_| true).is_ok() {
            return true;
        }
        let mut held: HashMap<Origin, usize> = HashMap::new();
        self.waiting.values().for_each(|it| *held.entry(it.origin).or_default() += 1);
        let heaviest = held.into_iter().max_by_key(|(_, count)| *count);
        let Some((heaviest, _)) = heaviest.filter(|(it, count)| *it != origin && *count > PER_ADDRESS) else {
            return false;
        };
        let of_it = |it: &Waiting| it.origin == heaviest && it.stage != Stage::Shaking;
        let newest = self.waiting.iter().rev().find(|(_, it)| of_it(it)).map(|(number, _)| *number);
        newest.is_some_and(|number| {
            self.evict(number);
            true
        })
    }

    /// The one of them that has been silent longest gives way, or the time when one will.
    fn silence_gives_way(&mut self, now: Instant, of: impl Fn(&Waiting) -> bool) -> Result<(), Instant> {
        let them = self.waiting.iter().filter(|(_, it)| of(it));
        let longest = them.map(|(number, it)| (it.heard.gives_way_at(), *number)).min();
        match longest {
            Some(_) if broken::leaves_out("silent-give-way") => Err(now + SILENCE),
            Some((at, number)) if at <= now => {
                self.evict(number);
                Ok(())
            }
            Some((at, _)) => Err(at),
            None => Err(now + SILENCE),
        }
    }

    fn evict(&mut self, number: u64) {
        if let Some(gone) = self.remove(number) {
            gone.stop.notify_one();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let gone = self.waiting.remove(&number)?;
        if gone.stage == Stage::Shaking
            && let Some(count) = self.shaking.get_mut(&gone.origin)
        {
            *count -= 1;
            if *count == 0 {
                self.shaking.remove(&gone.origin);
            }
        }
        Some(gone)
    }
}

impl Ticket {
    /// Waits until somebody else needs the place.
    pub(crate) async fn given_away(&self) {
        self.stop.notified().await;
    }

    /// The connection has sent something: wait for a place among the handshakes of its address. The silent give way
    /// here too.
    pub(crate) async fn handshake(&self) {
        self.heard.now();
        loop {
            let mut freed = std::pin::pin!(self.budget.freed.notified());
            freed.as_mut().enable();
            let wake = {
                let now = Instant::now();
                let inner = &mut *lock(&self.budget.inner);
                let full = inner.shaking.get(&self.origin).is_some_and(|count| *count >= PER_ADDRESS);
                let shaking = |it: &Waiting| it.origin == self.origin && it.stage == Stage::Shaking;
                let room = if full { inner.silence_gives_way(now, shaking) } else { Ok(()) };
                match (room, inner.waiting.get_mut(&self.number)) {
                    (Ok(()), Some(waiting)) => {
                        waiting.stage = Stage::Shaking;
                        *inner.shaking.entry(self.origin).or_default() += 1;
                        return;
                    }
                    (Err(at), Some(_)) => at,
                    // Given away: whoever holds the ticket hears of it.
                    (_, None) => now + SILENCE,
                }
            };
            tokio::select! {
                () = &mut freed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// A stream on which what comes counts as heard.
    pub(crate) fn listen<S>(&self, stream: S) -> Listened<S> {
        Listened { stream, heard: Arc::clone(&self.heard) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.budget.inner).remove(self.number);
        self.budget.freed.notify_waiters();
    }
}

/// See [`Ticket::listen`].
pub(crate) struct Listened<S> {
    stream: S,
    heard: Arc<Heard>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.now();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
        let speaking = &held[0];
        let speak = async {
            loop {
                speaking.heard.now();
                tokio::time::sleep(SILENCE / 10).await;
            }
        };
        let enter = async {
            let mut more = Vec::new();
            for _ in 0..OVERALL - PER_ADDRESS {
                more.push(budget.enter(origin(1)).await.unwrap());
            }
            assert!(start.elapsed() >= SILENCE, "of one's own address the silent give way after a second");
            more
        };
        tokio::select! {
            _more = enter => {}
            () = speak => unreachable!(),
        }
        let soon = SILENCE / 10;
        assert!(tokio::time::timeout(soon, held[0].given_away()).await.is_err(), "who speaks stays");
        assert!(tokio::time::timeout(soon, held[30].given_away()).await.is_ok(), "the silent went");
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
        drop(next);
        let next = budget.enter(origin(1)).await.unwrap();
        budget.enter(origin(2)).await.unwrap().handshake().await;
        held.pop();
        tokio::time::timeout(soon, next.handshake()).await.expect("a place was given back");
    }
}

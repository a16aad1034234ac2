//! Who asks too often: requests by caller and by address, submissions by caller, failed logins by address.
//! Every table is bounded, and one caller's flood takes nothing from another.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// So many at once, then so many in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    burst: u32,
    per_second: u32,
}

/// Requests of one caller.
pub(crate) const REQUESTS_PER_CALLER: Allowance = Allowance { burst: 2_000, per_second: 200 };
/// Requests from one address, whoever asks.
pub(crate) const REQUESTS_PER_ADDRESS: Allowance = Allowance { burst: 4_000, per_second: 400 };
/// Jobs that one caller submits.
pub(crate) const SUBMITS_PER_CALLER: Allowance = Allowance { burst: 200, per_second: 20 };
/// Failed logins from one address.
pub(crate) const FAILURES_PER_ADDRESS: Allowance = Allowance { burst: 20, per_second: 1 };
/// Messages of one integration, over all its connections.
pub(crate) const EVENTS_PER_INTEGRATION: Allowance = Allowance { burst: 200, per_second: 40 };
/// Keys of one table; more share what is left for all others together.
const KEYS_MAX: usize = 4_096;
/// Failed logins whose answer is held back at a time; more are answered at once.
const HELD_BACK_MAX: usize = 64;
/// The longest that an answer is held back.
const HELD_BACK: Duration = Duration::from_secs(2);

/// An address as far as limits go: an IPv6 network of 64 bits is one.
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

/// Buckets by key: each holds when it will be empty.
#[derive(Debug)]
struct Table<K> {
    allowance: Allowance,
    empty_at: HashMap<K, Instant>,
    /// Of those for whom there is no room.
    others: Option<Instant>,
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new(allowance: Allowance) -> Self {
        Self { allowance, empty_at: HashMap::new(), others: None }
    }

    /// Counts one; if it is too many, the time until the next may come.
    fn take(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        if self.empty_at.len() >= KEYS_MAX && !self.empty_at.contains_key(key) {
            self.empty_at.retain(|_, empty| *empty > now);
        }
        let known = self.empty_at.contains_key(key) || self.empty_at.len() < KEYS_MAX;
        let empty = if known { self.empty_at.get(key).copied() } else { self.others };
        let each = Duration::from_secs(1) / self.allowance.per_second;
        let next = empty.filter(|it| *it > now).unwrap_or(now) + each;
        let room = each * self.allowance.burst;
        if next.duration_since(now) > room && !model::broken::leaves_out("rate-limits") {
            return Err(next.duration_since(now).saturating_sub(room));
        }
        if known {
            self.empty_at.insert(key.clone(), next);
        } else {
            self.others = Some(next);
        }
        Ok(())
    }
}

/// All limits of a master's doors.
#[derive(Debug)]
pub(crate) struct Limits {
    tables: Mutex<Tables>,
    held_back: AtomicUsize,
}

#[derive(Debug)]
struct Tables {
    callers: Table<String>,
    addresses: Table<Origin>,
    submits: Table<String>,
    failures: Table<Origin>,
    integrations: Table<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Default for Limits {
    fn default() -> Self {
        let tables = Tables {
            callers: Table::new(REQUESTS_PER_CALLER),
            addresses: Table::new(REQUESTS_PER_ADDRESS),
            submits: Table::new(SUBMITS_PER_CALLER),
            failures: Table::new(FAILURES_PER_ADDRESS),
            integrations: Table::new(EVENTS_PER_INTEGRATION),
            counts: BTreeMap::new(),
        };
        Self { tables: Mutex::new(tables), held_back: AtomicUsize::new(0) }
    }
}

impl Limits {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn counted(&self, what: &'static str, taken: Result<(), Duration>) -> Result<(), Duration> {
        if taken.is_err() {
            *self.tables().counts.entry(what).or_default() += 1;
        }
        taken
    }
    /// One request of a caller.
    pub(crate) fn request(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let taken = self.tables().callers.take(&caller.to_owned(), now);
        self.counted("too-many-requests-of-a-caller", taken)
    }
    /// One request from an address.
    pub(crate) fn address(&self, origin: Origin, now: Instant) -> Result<(), Duration> {
        let taken = self.tables().addresses.take(&origin, now);
        self.counted("too-many-requests-from-an-address", taken)
    }
    /// One job of a caller.
    pub(crate) fn submit(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let taken = self.tables().submits.take(&caller.to_owned(), now);
        self.counted("too-many-jobs-of-a-caller", taken)
    }
    /// One message of an integration.
    pub(crate) fn event(&self, integration: &str, now: Instant) -> Result<(), Duration> {
        let taken = self.tables().integrations.take(&integration.to_owned(), now);
        self.counted("too-many-events-of-an-integration", taken)
    }
    /// One failed login; too many are answered late. Who has the right secret is never kept waiting for it.
    pub(crate) fn failure(&self, origin: Origin, now: Instant) -> Result<(), Duration> {
        let taken = self.tables().failures.take(&origin, now);
        self.counted("too-many-failed-logins", taken)
    }
    /// A place among the answers that are held back, and how long; none if too many are.
    pub(crate) fn hold_back(&self, wait: Duration) -> Option<(HeldBack<'_>, Duration)> {
        let more = |count| (count < HELD_BACK_MAX).then_some(count + 1);
        self.held_back.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some((HeldBack(&self.held_back), wait.min(HELD_BACK)))
    }
    /// What was refused, by reason.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.tables().counts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
    }
}

/// One answer that is held back.
pub(crate) struct HeldBack<'a>(&'a AtomicUsize);

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_so_many_in_a_second_and_others_are_not_touched() {
        let limits = Limits::default();
        let now = Instant::now();
        let passed = |who: &str, now| (0..10_000).filter(|_| limits.submit(who, now).is_ok()).count();
        assert_eq!(passed("ann", now), 200);
        assert_eq!(passed("bob", now), 200, "one's flood takes nothing from another");
        assert_eq!(limits.submit("ann", now), Err(Duration::from_millis(50)));
        assert_eq!(passed("ann", now + Duration::from_secs(1)), 20);
        assert_eq!(passed("ann", now + Duration::from_hours(1)), 200);
        assert_eq!(limits.counts()["too-many-jobs-of-a-caller"], 9_800 * 3 + 9_980 + 1);
        let without = model::broken::without(Some("rate-limits"), || passed("ann", now));
        assert_eq!(without, 10_000);
    }

    #[test]
    fn tables_are_bounded_and_those_who_are_known_keep_their_place() {
        let mut table: Table<u32> = Table::new(Allowance { burst: 2, per_second: 1 });
        let now = Instant::now();
        assert!(table.take(&0, now).is_ok() && table.take(&0, now).is_ok() && table.take(&0, now).is_err());
        let passed = (1..20_000).filter(|it| table.take(it, now).is_ok()).count();
        assert_eq!(
            (table.empty_at.len(), passed),
            (KEYS_MAX, KEYS_MAX - 1 + 2),
            "the others share one bucket"
        );
        assert!(table.take(&1, now).is_ok(), "who has a place has a burst");
        let later = now + Duration::from_secs(5);
        assert!(table.take(&99_999, later).is_ok());
        assert!(table.empty_at.len() < 10, "places of the idle are given back");
    }

    #[test]
    fn so_many_answers_are_held_back_at_a_time() {
        let limits = Limits::default();
        let held: Vec<_> = (0..100).filter_map(|_| limits.hold_back(Duration::from_hours(1))).collect();
        assert_eq!((held.len(), held[0].1), (HELD_BACK_MAX, HELD_BACK));
        drop(held);
        assert!(limits.hold_back(Duration::ZERO).is_some());
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}

//! Keeps the beacons: which are wanted, when each looks, what is told of what they see. Plain data and time come in;
//! who waits for descriptors and takes the events is the shell.

use crate::beacons::{Beacon, Signal, Source, data, maker};
use crate::senses::Senses;
use model::BeaconOrder;
use resources::beacons::{Settings, kind};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Beacons in all.
pub const POSTS_MAX: usize = 128;
/// Signals of one look; more are counted as left out.
const SIGNALS_MAX: usize = 256;
/// Events in a second, unless it is set.
const RATE: u64 = 20;
/// A beacon that fails is made anew after this, then after twice as long, up to the second.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_mins(5);
/// What a state run did last is told by the kernel a moment later.
const AFTER_RUN: Duration = Duration::from_secs(1);

/// Who wants a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The master, from pillar.
    Pillar,
    /// A file of the machine's own folder.
    Folder,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Pillar => "pillar",
            Self::Folder => "folder",
        }
    }
}

/// Something for the master.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Of which beacon, for [`Lookout::lost`].
    pub post: usize,
    /// Below `minion/<id>/`.
    pub tag: String,
    /// An object.
    pub data: Value,
}

/// Events in a second, at most.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    left: f64,
    at: Duration,
}

impl Bucket {
    fn take(&mut self, now: Duration) -> bool {
        self.left = (self.left + self.rate * now.saturating_sub(self.at).as_secs_f64()).min(self.rate);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

/// A beacon, and all that is known of how it does.
struct Post {
    order: BeaconOrder,
    origin: Origin,
    beacon: Option<Box<dyn Beacon>>,
    interval: Duration,
    during_runs: bool,
    due: Duration,
    bucket: Bucket,
    /// Left out since the last event.
    dropped: u64,
    dropped_in_all: u64,
    /// Why it does not watch, as it was told.
    failed: Option<String>,
    retry: Duration,
    last: Option<(Duration, Value)>,
    events: u64,
    looks: u64,
    spent: Duration,
}

/// All beacons of a machine.
#[derive(Default)]
pub struct Lookout {
    posts: Vec<Post>,
    /// What is wrong with what is wanted.
    complaints: Vec<String>,
    running: bool,
    ran_at: Option<Duration>,
}

impl Lookout {
    /// From now on these are wanted. What stays the same goes on as it was. What cannot be is said in the list, and
    /// does not stop the others.
    pub fn want(&mut self, now: Duration, wanted: Vec<(Origin, BeaconOrder)>, mut complaints: Vec<String>) {
        let mut before: Vec<Post> = std::mem::take(&mut self.posts);
        if wanted.len() > POSTS_MAX {
            complaints.push(format!("{} beacons are wanted, {POSTS_MAX} are kept", wanted.len()));
        }
        for (origin, order) in wanted.into_iter().take(POSTS_MAX) {
            if let Some(at) = before.iter().position(|it| it.origin == origin && it.order == order) {
                self.posts.push(before.swap_remove(at));
                continue;
            }
            match Post::new(now, origin, order) {
                Ok(post) => self.posts.extend(post),
                Err(wrong) => complaints.push(wrong),
            }
        }
        self.complaints = complaints;
    }

    /// A state run began, or is over.
    pub fn run(&mut self, now: Duration, running: bool) {
        self.ran_at = (self.running && !running).then_some(now).or(self.ran_at);
        self.running = running;
    }

    /// When the next one wants to look.
    pub fn next(&self) -> Option<Duration> {
        self.posts.iter().map(Post::next).min()
    }

    /// What wakes whom.
    pub fn sources(&self) -> Vec<(usize, Source<'_>)> {
        let mut sources = Vec::new();
        for (index, post) in self.posts.iter().enumerate() {
            let own = post.beacon.iter().flat_map(|it| it.sources());
            sources.extend(own.map(|it| (index, it)));
        }
        sources
    }

    /// Lets those look whose time it is, and those that were woken.
    pub fn look(&mut self, now: Duration, woken: &[usize], senses: &dyn Senses) -> Vec<Told> {
        let quiet = self.running || self.ran_at.is_some_and(|at| now.saturating_sub(at) < AFTER_RUN);
        let mut told = Vec::new();
        for (index, post) in self.posts.iter_mut().enumerate() {
            if post.next() <= now || woken.contains(&index) {
                let tag = format!("beacon/{}", post.order.name);
                let say = |data| Told { post: index, tag: tag.clone(), data };
                told.extend(post.look(now, quiet, senses).into_iter().map(say));
            }
        }
        told
    }

    /// An event of it could not be taken.
    pub fn lost(&mut self, post: usize) {
        if let Some(post) = self.posts.get_mut(post) {
            post.drop_one();
        }
    }

    /// The agent ends: what beacons must know next time is kept.
    pub fn rest(&mut self, now: Duration) {
        for beacon in self.posts.iter_mut().filter_map(|it| it.beacon.as_mut()) {
            beacon.rest(now);
        }
    }

    /// How they do, for people: all, or those of one name. Settings are not said: some are secret.
    pub fn show(&self, now: Duration, name: Option<&str>) -> Value {
        let wanted = |it: &&Post| name.is_none_or(|name| it.order.name == name);
        let beacons: Vec<Value> = self.posts.iter().filter(wanted).map(|it| it.show(now)).collect();
        json!({ "beacons": beacons, "complaints": self.complaints })
    }
}

impl Post {
    /// None if it is switched off.
    fn new(now: Duration, origin: Origin, order: BeaconOrder) -> Result<Option<Self>, String> {
        let name = &order.name;
        let known = kind(&order.kind).filter(|it| maker(it.name).is_some());
        let Some(known) = known else {
            return Err(format!("{name}: this release has no beacon `{}`", order.kind));
        };
        let settings = Settings::read(known, &order.settings.0).map_err(|wrong| {
            let wrong: Vec<String> = wrong.into_iter().map(|it| it.message).collect();
            format!("{name}: {}", wrong.join("; "))
        })?;
        if !settings.flag("enabled", true) {
            return Ok(None);
        }
        let rate = settings.count("rate").unwrap_or(RATE);
        let rate = crate::beacons::float(rate);
        let (interval, during_runs) =
            (Duration::from_millis(settings.interval_ms()), settings.flag("during_runs", true));
        Ok(Some(Self {
            order,
            origin,
            beacon: None,
            interval,
            during_runs,
            due: now,
            bucket: Bucket { rate, left: rate, at: now },
            dropped: 0,
            dropped_in_all: 0,
            failed: None,
            retry: RETRY_LEAST,
            last: None,
            events: 0,
            looks: 0,
            spent: Duration::ZERO,
        }))
    }

    fn next(&self) -> Duration {
        let wake = self.beacon.as_ref().and_then(|it| it.wake());
        wake.map_or(self.due, |at| at.min(self.due))
    }

    fn look(&mut self, now: Duration, quiet: bool, senses: &dyn Senses) -> Vec<Value> {
        let start = Instant::now();
        let seen = self.see(now, senses);
        self.looks += 1;
        self.spent += start.elapsed();
        match seen {
            Ok(signals) => {
                if self.due <= now {
                    self.due = self.after(now);
                }
                let mut told = Vec::new();
                // Who failed and does not know yet whether it works now has nothing to say about it.
                let is_sure = self.beacon.as_ref().is_some_and(|it| it.is_sure());
                if is_sure && self.failed.take().is_some() {
                    self.retry = RETRY_LEAST;
                    let signal = Signal::new().with("error", Value::Null).with("recovered", true);
                    told.extend(self.tell(now, signal));
                }
                if quiet && !self.during_runs {
                    return told;
                }
                for (index, signal) in signals.into_iter().enumerate() {
                    if index < SIGNALS_MAX {
                        told.extend(self.tell(now, signal));
                    } else {
                        self.drop_one();
                    }
                }
                told
            }
            Err(reason) => {
                if let Some(mut beacon) = self.beacon.take() {
                    beacon.rest(now);
                }
                self.due = now + self.retry;
                self.retry = (self.retry * 2).min(RETRY_MOST);
                let fresh = self.failed.as_ref() != Some(&reason);
                self.failed = Some(reason.clone());
                let tell = || self.tell(now, Signal::new().with("error", reason));
                fresh.then(tell).flatten().into_iter().collect()
            }
        }
    }

    /// At whole multiples of its interval, so that those of one interval look together, and the machine sleeps between.
    fn after(&self, now: Duration) -> Duration {
        if self.interval.is_zero() {
            return Duration::MAX;
        }
        let interval = self.interval.as_millis();
        let next = (now.as_millis() / interval + 1) * interval;
        Duration::from_millis(u64::try_from(next).unwrap_or(u64::MAX))
    }

    fn see(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        if self.beacon.is_none() {
            let make = maker(&self.order.kind).ok_or("this release does not have it")?;
            let known = kind(&self.order.kind).ok_or("this release does not know it")?;
            let settings = Settings::read(known, &self.order.settings.0);
            let settings = settings.map_err(|_| "its settings are wrong".to_owned())?;
            self.beacon = Some(make(&settings, senses)?);
        }
        let beacon = self.beacon.as_mut().ok_or("it was not made")?;
        let seen = beacon.look(now, senses);
        let left_out = beacon.left_out();
        self.dropped += left_out;
        self.dropped_in_all += left_out;
        seen
    }

    fn tell(&mut self, now: Duration, signal: Signal) -> Option<Value> {
        if !self.bucket.take(now) {
            self.drop_one();
            return None;
        }
        let dropped = std::mem::take(&mut self.dropped);
        let signal = if dropped > 0 { signal.with("dropped", dropped) } else { signal };
        let data = Value::Object(data(&self.order.name, &self.order.kind, signal));
        self.events += 1;
        self.last = Some((now, data.clone()));
        Some(data)
    }

    fn drop_one(&mut self) {
        self.dropped += 1;
        self.dropped_in_all += 1;
    }

    fn show(&self, now: Duration) -> Value {
        let last = self.last.as_ref();
        json!({
            "name": self.order.name,
            "kind": self.order.kind,
            "from": self.origin.word(),
            "interval_ms": u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX),
            "error": self.failed,
            "events": self.events,
            "dropped": self.dropped_in_all,
            "looks": self.looks,
            "spent_us": u64::try_from(self.spent.as_micros()).unwrap_or(u64::MAX),
            "last": last.map(|it| it.1.clone()),
            "last_ms_ago": last.map(|it| u64::try_from(now.saturating_sub(it.0).as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

#[cfg(test)]
mod tests;

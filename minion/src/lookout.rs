//! Keeps the beacons: which are wanted, when each looks, what is told of what they see. Plain data and time come in;
//! who waits for descriptors and takes the events is the shell.

use crate::beacons::{Beacon, Signal, Source, data, maker};
use crate::senses::Senses;
use model::BeaconOrder;
use resources::beacons::{Settings, kind};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Beacons in all.
pub const POSTS_MAX: usize = 128;
/// Signals of one beacon that wait until its rate allows them; more are counted as left out.
const WAITING_MAX: usize = 512;
/// That something was left out is told after this, if nothing else is.
const AFTER_DROP: Duration = Duration::from_secs(5);
/// Events in a second, unless it is set.
const RATE: u64 = 20;
/// A beacon that fails is looked at again after this, then after twice as long, up to the second; after the third
/// without a failure it begins with the first again.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_mins(5);
const CALM: Duration = Duration::from_mins(10);
/// What was told is kept so long for a beacon that comes again.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);
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

    /// When there is room for one more.
    fn next(&self) -> Duration {
        self.at + Duration::from_secs_f64((1.0 - self.left).max(0.0) / self.rate)
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
    /// What the rate does not allow yet.
    waiting: VecDeque<Signal>,
    /// Left out since the last event, and when the last one was.
    dropped: u64,
    dropped_at: Duration,
    dropped_in_all: u64,
    /// Why it does not watch, as it was told.
    failed: Option<String>,
    failed_at: Option<Duration>,
    /// It failed, and is left alone until it is due.
    resting: bool,
    retry: Duration,
    /// What the one before it told, until it is made.
    handed: Option<Value>,
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
    /// Of beacons that are gone: who they were, and what they told and did not take back.
    remembered: Vec<(Value, Value)>,
    forget_at: Duration,
}

impl Lookout {
    /// From now on these are wanted. What stays the same goes on as it was. What cannot be is said in the list, and
    /// does not stop the others.
    pub fn want(&mut self, now: Duration, wanted: Vec<(Origin, BeaconOrder)>, mut complaints: Vec<String>) {
        let mut before: Vec<Post> = std::mem::take(&mut self.posts);
        if wanted.len() > POSTS_MAX {
            complaints.push(format!("{} beacons are wanted, {POSTS_MAX} are kept", wanted.len()));
        }
        let wanted = wanted.into_iter().take(POSTS_MAX);
        let wanted: Vec<(Origin, BeaconOrder, Option<Post>)> = wanted
            .map(|(origin, order)| {
                let at = before.iter().position(|it| it.origin == origin && it.order == order);
                (origin, order, at.map(|at| before.remove(at)))
            })
            .collect();
        self.remember(now, before.iter().filter_map(Post::told).collect());
        for beacon in before.iter_mut().filter_map(|it| it.beacon.as_mut()) {
            beacon.rest(now);
        }
        for (origin, order, post) in wanted {
            match post.map_or_else(|| Post::new(now, origin, order), |it| Ok(Some(it))) {
                Ok(Some(mut post)) if post.looks == 0 && post.failed.is_none() => {
                    let key = post.key();
                    if let Some(at) = self.remembered.iter().position(|it| it.0 == key) {
                        post.take_over(self.remembered.remove(at).1);
                    }
                    self.posts.push(post);
                }
                Ok(post) => self.posts.extend(post),
                Err(wrong) => complaints.push(wrong),
            }
        }
        self.complaints = complaints;
    }

    fn remember(&mut self, now: Duration, told: Vec<(Value, Value)>) {
        self.remembered.extend(told);
        let over = self.remembered.len().saturating_sub(POSTS_MAX);
        self.remembered.drain(..over);
        self.forget_at = now + REMEMBERED_FOR;
    }

    /// What was told and not taken back, for the agent that comes after this one.
    pub fn told(&self) -> Value {
        json!(self.posts.iter().filter_map(Post::told).chain(self.remembered.clone()).collect::<Vec<_>>())
    }

    /// What the agent before this one told.
    pub fn resume(&mut self, now: Duration, told: Value) {
        self.remember(now, serde_json::from_value(told).unwrap_or_default());
    }

    /// A state run began, or is over.
    pub fn run(&mut self, now: Duration, running: bool) {
        self.ran_at = (self.running && !running).then_some(now).or(self.ran_at);
        self.running = running;
    }

    /// Until when those are quiet that are to be during runs.
    fn quiet_until(&self) -> Option<Duration> {
        if self.running { Some(Duration::MAX) } else { self.ran_at.map(|at| at + AFTER_RUN) }
    }

    /// When the next one wants to look.
    pub fn next(&self) -> Option<Duration> {
        let quiet = self.quiet_until();
        let over = quiet.filter(|_| !self.running);
        self.posts.iter().map(|it| it.next(quiet)).chain(over).min()
    }

    /// What wakes whom.
    pub fn sources(&self) -> Vec<(usize, Source<'_>)> {
        let is_quiet = self.quiet_until().is_some();
        let mut sources = Vec::new();
        for (index, post) in self.posts.iter().enumerate() {
            let awake = !(post.resting || is_quiet && post.sleeps());
            let own = post.beacon.iter().filter(|_| awake).flat_map(|it| it.sources());
            sources.extend(own.map(|it| (index, it)));
        }
        sources
    }

    /// Lets those look whose time it is, and those that were woken.
    pub fn look(&mut self, now: Duration, woken: &[usize], senses: &dyn Senses) -> Vec<Told> {
        let quiet = self.quiet_until();
        let is_quiet = quiet.is_some_and(|until| now < until);
        let mut told = Vec::new();
        for (index, post) in self.posts.iter_mut().enumerate() {
            if post.due(quiet) <= now || woken.contains(&index) {
                post.look(now, is_quiet, senses);
            }
            let tag = format!("beacon/{}", post.order.name);
            let say = |data| Told { post: index, tag: tag.clone(), data };
            told.extend(post.flush(now).into_iter().map(say));
        }
        if !is_quiet {
            self.ran_at = None;
        }
        if self.forget_at <= now {
            self.remembered.clear();
        }
        told
    }

    /// An event of it could not be taken.
    pub fn lost(&mut self, now: Duration, post: usize) {
        if let Some(post) = self.posts.get_mut(post) {
            post.drop_some(now, 1);
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
            waiting: VecDeque::new(),
            dropped: 0,
            dropped_at: now,
            dropped_in_all: 0,
            failed: None,
            failed_at: None,
            resting: false,
            retry: RETRY_LEAST,
            handed: None,
            last: None,
            events: 0,
            looks: 0,
            spent: Duration::ZERO,
        }))
    }

    /// Who it is, for [`Lookout::told`].
    fn key(&self) -> Value {
        json!([self.origin.word(), self.order.name, self.order.kind])
    }

    /// Who it is, and what it told and has not taken back: that it fails, and what its beacon says.
    fn told(&self) -> Option<(Value, Value)> {
        let own = self.beacon.as_ref().map(|it| it.told()).or(self.handed.clone()).unwrap_or_default();
        let is_something = self.failed.is_some() || !own.is_null();
        is_something.then(|| (self.key(), json!([self.failed, own])))
    }

    fn take_over(&mut self, told: Value) {
        let (failed, own) = serde_json::from_value(told).unwrap_or_default();
        (self.failed, self.handed) = (failed, Some(own));
    }

    /// Whether it is left alone while it is to be quiet.
    fn sleeps(&self) -> bool {
        !self.during_runs && self.beacon.as_ref().is_none_or(|it| it.sleeps())
    }

    /// When it looks, with quiet until then.
    fn due(&self, quiet: Option<Duration>) -> Duration {
        let wake = self.beacon.as_ref().filter(|_| !self.resting).and_then(|it| it.wake());
        let own = wake.map_or(self.due, |at| at.min(self.due));
        match quiet {
            Some(until) if self.sleeps() => own.max(until),
            Some(until) if !self.during_runs && !self.resting => own.min(until),
            _ => own,
        }
    }

    /// When it looks, or has something to tell.
    fn next(&self, quiet: Option<Duration>) -> Duration {
        let room = self.bucket.next();
        let tells = match (self.waiting.is_empty(), self.dropped) {
            (false, _) => room,
            (true, 0) => Duration::MAX,
            (true, _) => room.max(self.dropped_at + AFTER_DROP),
        };
        self.due(quiet).min(tells)
    }

    fn look(&mut self, now: Duration, quiet: bool, senses: &dyn Senses) {
        let start = Instant::now();
        let seen = self.see(now, quiet && !self.during_runs, senses);
        self.looks += 1;
        self.spent += start.elapsed();
        match seen {
            Ok(signals) => {
                self.resting = false;
                if self.due <= now {
                    self.due = self.after(now);
                }
                // Who failed and does not know yet whether it works now has nothing to say about it.
                if self.failed.is_some() && self.beacon.as_ref().is_some_and(|it| it.is_sure()) {
                    self.failed = None;
                    self.add(now, Signal::new().with("error", Value::Null).with("recovered", true));
                }
                for signal in signals {
                    self.add(now, signal);
                }
            }
            Err(reason) => {
                // What fails and works in turns is not told in turns of a second.
                if self.failed_at.is_none_or(|at| now.saturating_sub(at) > CALM) {
                    self.retry = RETRY_LEAST;
                }
                (self.resting, self.failed_at, self.due) = (true, Some(now), now + self.retry);
                self.retry = (self.retry * 2).min(RETRY_MOST);
                if self.failed.as_ref() != Some(&reason) {
                    self.failed = Some(reason.clone());
                    self.add(now, Signal::new().with("error", reason));
                }
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

    fn see(&mut self, now: Duration, quiet: bool, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        if self.beacon.is_none() {
            let make = maker(&self.order.kind).ok_or("this release does not have it")?;
            let known = kind(&self.order.kind).ok_or("this release does not know it")?;
            let settings = Settings::read(known, &self.order.settings.0);
            let settings = settings.map_err(|_| "its settings are wrong".to_owned())?;
            let mut beacon = make(&settings, senses)?;
            beacon.resume(now, &self.handed.take().unwrap_or_default());
            self.beacon = Some(beacon);
        }
        let beacon = self.beacon.as_mut().ok_or("it was not made")?;
        let seen =
            if quiet { beacon.pass(now, senses).map(|()| Vec::new()) } else { beacon.look(now, senses) };
        let left_out = beacon.left_out();
        if left_out > 0 {
            self.drop_some(now, left_out);
        }
        seen
    }

    fn add(&mut self, now: Duration, signal: Signal) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(signal);
        } else {
            self.drop_some(now, 1);
        }
    }

    /// What may be told by now.
    fn flush(&mut self, now: Duration) -> Vec<Value> {
        if self.dropped > 0 && self.waiting.is_empty() && now >= self.dropped_at + AFTER_DROP {
            self.waiting.push_back(Signal::new());
        }
        let mut told = Vec::new();
        while !self.waiting.is_empty() && self.bucket.take(now) {
            let Some(signal) = self.waiting.pop_front() else { break };
            let dropped = std::mem::take(&mut self.dropped);
            let signal = if dropped > 0 { signal.with("dropped", dropped) } else { signal };
            let data = Value::Object(data(&self.order.name, &self.order.kind, signal));
            self.events += 1;
            self.last = Some((now, data.clone()));
            told.push(data);
        }
        told
    }

    fn drop_some(&mut self, now: Duration, count: u64) {
        self.dropped += count;
        self.dropped_in_all += count;
        self.dropped_at = now;
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

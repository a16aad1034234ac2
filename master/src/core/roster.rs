//! Who is there: connections by epoch, heartbeats, hellos, and what each minion says of itself.

use super::{
    Effect, Entry, Master, clones::Talkers, conduct::Standing, delivery::Parts, masters, timers::Timer,
};
use bus::message::{FromMinion, Hello, ToMinion};
use model::{Grains, JobId, MinionId, Presence, Source, Timestamp, broken};
use serde_json::{Map, Value, json};

/// Nothing heard for so many milliseconds for each second between heartbeats: quiet. 45 s by default.
const QUIET_MS_PER_S: u64 = 1_500;
/// The same for lost: 90 s by default.
const LOST_MS_PER_S: u64 = 3_000;
/// After a start of the master minions have at least so long to come back before they are lost.
pub(crate) const RETURN_MS: u64 = 90_000;
/// Grains as JSON.
pub(crate) const GRAINS_BYTES_MAX: usize = 64 << 10;
/// Between two times that "last heard of" goes to disk.
const SEEN_SAVE_MS: u64 = 3_600_000;
/// Minions that come back in one second after a start of the master.
const RETURNS_PER_SECOND: usize = 400;
/// Abilities of one minion, and characters of each, that are remembered.
const CAN_MAX: usize = 16;
const CAN_CHARS_MAX: usize = 32;
/// Widest spread of returns, in seconds.
const SPREAD_MAX_S: u32 = 60;

/// What is known of an accepted minion until the next restart.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about one connection")]
pub(crate) struct Live {
    pub(crate) presence: Presence,
    /// Of the newest connection.
    pub(crate) epoch: Option<u64>,
    pub(crate) connected: bool,
    /// Said hello on this connection.
    pub(crate) ready: bool,
    pub(crate) heard_at: Timestamp,
    pub(crate) saved_at: Timestamp,
    goodbye: bool,
    /// Events of this connection were left with the minion, as the store was full: none may be acknowledged on it.
    pub(crate) held_events: bool,
    /// For how long nothing had been heard of it when it came back last.
    pub(crate) away_ms: u64,
    /// It had booted when it came back last.
    booted: bool,
    /// A presence timer is set.
    watched: bool,
    /// Newest sample as JSON text.
    pub(crate) sample: Option<Box<str>>,
    /// When it came.
    pub(crate) sampled_at: Timestamp,
    pub(crate) running: Option<(JobId, u32, u32)>,
    pub(crate) shown_at: Timestamp,
    pub(crate) parts: Option<Box<Parts>>,
    pub(crate) assigned: Option<Vec<String>>,
    /// How many steps the last looks found not as they should be; none if nobody has looked.
    pub(crate) drift: Option<u32>,
    /// It is left alone for a while.
    pub(crate) maintenance: bool,
    /// Processes that said hello with its key lately.
    pub(crate) talkers: Talkers,
    /// The list of masters that it said it has.
    pub(crate) masters: Option<masters::Held>,
    /// Since when an ephemeral one is away, by the clock that only goes forward.
    pub(crate) away_since_us: Option<u64>,
    /// What it can beyond what every release can.
    pub(crate) can: Vec<String>,
    pub(crate) conduct: Standing,
}

impl Live {
    /// Known, and not heard of since the master started.
    pub(crate) fn at_start(now: Timestamp) -> Self {
        Self {
            presence: Presence::Quiet,
            epoch: None,
            connected: false,
            ready: false,
            heard_at: now,
            saved_at: now,
            goodbye: false,
            held_events: false,
            away_ms: 0,
            booted: false,
            watched: true,
            sample: None,
            sampled_at: Timestamp(0),
            running: None,
            shown_at: Timestamp(0),
            parts: None,
            assigned: None,
            drift: None,
            maintenance: false,
            talkers: Talkers::default(),
            masters: None,
            away_since_us: None,
            can: Vec::new(),
            conduct: Standing::default(),
        }
    }
    /// Just accepted; its connection is still to come.
    pub(crate) fn accepted(now: Timestamp) -> Self {
        Self { presence: Presence::Down, watched: false, ..Self::at_start(now) }
    }
    /// Not served until an operator decides.
    pub(crate) fn suspended(now: Timestamp) -> Self {
        Self { presence: Presence::Lost, watched: false, ..Self::at_start(now) }
    }
}

/// Whether two releases work together: the same major, at most one minor apart.
pub(crate) fn compatible(ours: &str, theirs: &str) -> bool {
    let parse = |text: &str| {
        let mut parts = text.split('.').map(|it| it.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    match (parse(ours), parse(theirs)) {
        (Some(ours), Some(theirs)) => ours.0 == theirs.0 && ours.1.abs_diff(theirs.1) <= 1,
        _ => false,
    }
}

impl Master {
    pub(crate) fn presence(&self, id: &MinionId) -> Presence {
        self.live.get(id).map_or(Presence::Lost, |it| it.presence)
    }

    /// Whether a job for it is sent rather than `unreachable`.
    pub(crate) fn is_reachable(&self, id: &MinionId) -> bool {
        matches!(self.presence(id), Presence::Up | Presence::Quiet)
    }

    /// Whether it can be sent something now.
    pub(crate) fn is_ready(&self, id: &MinionId) -> bool {
        self.live.get(id).is_some_and(|it| it.ready)
    }

    pub(crate) fn send(&mut self, minion: &MinionId, message: ToMinion) {
        self.out.push(Effect::Send { minion: minion.clone(), message: Box::new(message) });
    }

    pub(crate) fn connected(&mut self, id: &MinionId, epoch: u64, address: &str) {
        if self.is_suspended(id) {
            self.count("connection of a suspended member");
            return self.out.push(Effect::Close { minion: id.clone() });
        }
        let Some(minion) = self.book.minions.get_mut(id) else {
            self.count("connection of no member");
            return self.out.push(Effect::Close { minion: id.clone() });
        };
        let Some(live) = self.live.get_mut(id) else { return };
        if live.epoch.is_some_and(|known| epoch <= known) {
            return self.count("connection older than the newest");
        }
        minion.address = Some(address.to_owned());
        (live.epoch, live.connected, live.ready, live.goodbye) = (Some(epoch), true, false, false);
        live.held_events = false;
        live.heard_at = self.now;
        self.drop_parts(id);
        self.watch_presence(id);
    }

    pub(crate) fn disconnected(&mut self, id: &MinionId, epoch: u64) {
        let Some(live) = self.live.get_mut(id) else { return };
        let newest = live.epoch == Some(epoch) && live.connected;
        if !newest && !broken::leaves_out("presence-epoch") {
            return self.count("late end of a connection");
        }
        (live.connected, live.ready, live.running) = (false, false, None);
        let presence = if live.goodbye { Presence::Down } else { Presence::Lost };
        self.drop_parts(id);
        self.set_presence(id, presence, "connection ended");
        if broken::leaves_out("lost-contact-is-no-end") {
            self.interrupt_all(id, "connection ended");
        }
    }

    fn watch_presence(&mut self, id: &MinionId) {
        let Some(live) = self.live.get_mut(id) else { return };
        if !live.watched {
            live.watched = true;
            self.wake_at(self.now.plus_ms(self.quiet_ms()), Timer::Presence(id.clone()));
        }
    }

    /// Silence after which a minion is quiet: one heartbeat and a half.
    fn quiet_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_s) * QUIET_MS_PER_S
    }

    /// Silence after which a minion is lost: three heartbeats.
    fn lost_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_s) * LOST_MS_PER_S
    }

    /// One timer for each connection; messages only move `heard_at`.
    pub(crate) fn check_presence(&mut self, id: &MinionId) {
        let (quiet_ms, lost_ms) = (self.quiet_ms(), self.lost_ms());
        let Some(live) = self.live.get_mut(id) else { return };
        let silent = self.now.since_ms(live.heard_at);
        let (presence, next) = match silent {
            _ if silent >= lost_ms => (Presence::Lost, lost_ms),
            _ if silent >= quiet_ms => (Presence::Quiet, lost_ms - silent),
            _ => (live.presence, quiet_ms - silent),
        };
        let away = matches!(live.presence, Presence::Lost | Presence::Down);
        live.watched = live.connected || presence == Presence::Quiet;
        if live.watched {
            self.wake_at(self.now.plus_ms(next), Timer::Presence(id.clone()));
        }
        if !away {
            self.set_presence(id, presence, &format!("silent for {} s", silent / 1000));
        }
    }

    pub(crate) fn set_presence(&mut self, id: &MinionId, presence: Presence, why: &str) {
        let now = self.now;
        let Some(live) = self.live.get_mut(id) else { return };
        let before = std::mem::replace(&mut live.presence, presence);
        if before == presence {
            return;
        }
        let seen_at = live.heard_at;
        let tag = match presence {
            Presence::Up if before == Presence::Quiet && seen_at > self.started_at => None,
            Presence::Up => Some("online"),
            Presence::Quiet | Presence::Unknown => None,
            Presence::Lost => Some("lost"),
            Presence::Down => Some("down"),
        };
        if let Some(minion) = self.book.minions.get_mut(id) {
            minion.seen_at = seen_at;
        }
        self.publish_availability(id);
        if matches!(presence, Presence::Lost | Presence::Down) {
            if let Some(minion) = self.book.minions.get(id) {
                self.laters.push(Entry::Minion(minion.clone()));
            }
            self.show_targets_of(id);
            self.watch_absence(id);
        } else if matches!(before, Presence::Lost | Presence::Down) {
            self.show_targets_of(id);
        }
        if let Some(tag) = tag {
            let mut data = json!({"minion": id, "reason": why, "seen_at": seen_at, "at": now});
            if presence == Presence::Up {
                data["away_s"] = json!(self.away_s(id));
                data["boot"] = json!(self.live.get(id).is_some_and(|it| it.booted));
            }
            self.emit_master(format!("minion/{id}/{tag}"), data);
        }
        self.reaction_presence(id);
    }

    fn heard(&mut self, id: &MinionId) {
        let now = self.now;
        let Some(live) = self.live.get_mut(id) else { return };
        live.heard_at = now;
        let save = now.since_ms(live.saved_at) >= SEEN_SAVE_MS;
        if !live.ready || live.presence != Presence::Up {
            live.away_ms = self.book.minions.get(id).map_or(0, |it| now.since_ms(it.seen_at));
        }
        let (ready, presence) = (live.ready, live.presence);
        if save {
            live.saved_at = now;
        }
        if let Some(minion) = self.book.minions.get_mut(id) {
            minion.seen_at = now;
            if save {
                self.laters.push(Entry::Minion(minion.clone()));
            }
        }
        if ready && presence != Presence::Up {
            self.set_presence(id, Presence::Up, "heard again");
            self.watch_presence(id);
        }
    }

    pub(crate) fn message(&mut self, id: &MinionId, epoch: u64, message: FromMinion) {
        let Some(live) = self.live.get(id) else { return self.count("message of no member") };
        if live.epoch != Some(epoch) || !live.connected {
            return self.count("message of an older connection");
        }
        let opening = matches!(message, FromMinion::Hello(_) | FromMinion::Goodbye { .. });
        if !live.ready && !opening {
            return self.count("message before hello");
        }
        self.heard(id);
        match message {
            FromMinion::Hello(hello) => self.hello(id, &hello),
            FromMinion::Heartbeat { running } => self.heartbeat(id, running),
            FromMinion::Received { job } => self.received(id, job),
            FromMinion::Refused { job, reason } => self.refused(id, job, reason),
            FromMinion::Progress { job, step, of, what, ended, output } => {
                self.progress(id, job, (step, of), &what, ended, output);
            }
            FromMinion::Result(result) => self.result(id, *result),
            FromMinion::ResultPart { job, part, parts, text } => {
                self.result_part(id, job, (part, parts), &text);
            }
            FromMinion::Event { number, tag, data, gap } => self.minion_event(id, number, &tag, data, gap),
            FromMinion::Grains { grains, hash } => {
                if self.set_grains(id, grains, hash) {
                    self.save_minion(id);
                }
            }
            FromMinion::Answer { probe, answer } => self.answer(id, probe, answer),
            FromMinion::Goodbye { reason } => self.goodbye(id, &reason),
        }
    }

    fn heartbeat(&mut self, id: &MinionId, running: Option<JobId>) {
        if let Some(live) = self.live.get_mut(id)
            && live.running.map(|it| it.0) != running
        {
            live.running = running.map(|job| (job, 0, 0));
        }
    }

    fn goodbye(&mut self, id: &MinionId, reason: &str) {
        if reason == "reboot" {
            self.rebooting(id);
        }
        let Some(live) = self.live.get_mut(id) else { return };
        (live.goodbye, live.ready) = (true, false);
        self.set_presence(id, Presence::Down, &cut(reason, 64));
    }

    /// First message of a connection.
    fn hello(&mut self, id: &MinionId, hello: &Hello) {
        if !compatible(&self.settings.version, &hello.version) && !broken::leaves_out("version-check") {
            let ours = self.settings.version.clone();
            let message = format!(
                "minion {} and master {ours} are more than one minor version apart: update the older one",
                cut(&hello.version, 32)
            );
            self.count("incompatible version");
            self.send(id, ToMinion::Incompatible { version: ours, message });
            return self.out.push(Effect::Close { minion: id.clone() });
        }
        if self.is_cloned(id, hello) {
            return;
        }
        if let Some(live) = self.live.get_mut(id) {
            live.conduct.has = hello.conduct;
            live.can = hello.can.iter().take(CAN_MAX).map(|it| cut(it, CAN_CHARS_MAX)).collect();
        }
        let Some(minion) = self.book.minions.get_mut(id) else { return };
        let booted = minion.boot.as_deref() != Some(hello.boot.as_str());
        let mut changed = booted || minion.version != hello.version || minion.sandbox != hello.sandbox;
        minion.version.clone_from(&hello.version);
        minion.sandbox = hello.sandbox;
        minion.boot = Some(cut(&hello.boot, 64));
        let known = minion.grains_hash == Some(hello.grains_hash);
        let mut want_grains = !known;
        if let Some(grains) = hello.grains.clone()
            && !known
        {
            let taken = self.set_grains(id, grains, hello.grains_hash);
            changed |= taken;
            want_grains = false;
        }
        if changed {
            self.save_minion(id);
        }
        self.withdraw(id, hello);
        let spread = self.book.minions.len().div_ceil(RETURNS_PER_SECOND);
        self.send(
            id,
            ToMinion::Welcome {
                version: self.settings.version.clone(),
                now: self.now,
                want_grains,
                heartbeat_s: self.settings.heartbeat_s,
                sample_s: self.settings.sample_s,
                spread_s: u32::try_from(spread).unwrap_or(SPREAD_MAX_S).min(SPREAD_MAX_S),
            },
        );
        self.heard_of_masters(id, masters::Held { version: hello.masters, hash: hello.masters_hash });
        let Some(live) = self.live.get_mut(id) else { return };
        (live.ready, live.booted) = (true, booted);
        live.running = hello.running.map(|job| (job, 0, 0));
        let unassigned = live.assigned.is_none();
        self.set_presence(id, Presence::Up, "hello");
        self.watch_presence(id);
        if unassigned && self.revision.is_some() {
            self.out.push(Effect::Assign { minion: id.clone() });
        } else {
            self.compare_conduct(id);
        }
        self.reconcile(id, hello);
        // It may be back without ever having been missed.
        self.reaction_presence(id);
        if booted {
            self.emit_start(id);
        } else {
            self.due_boots(id);
        }
    }

    fn save_minion(&mut self, id: &MinionId) {
        if let Some(minion) = self.book.minions.get(id).cloned() {
            self.record(Entry::Minion(minion));
        }
    }

    /// Takes grains in; what labels or grains assign may be other states now. Its id is not for a minion to say:
    /// templates and top files take `grains.id` for who it is.
    fn set_grains(&mut self, id: &MinionId, mut grains: Grains, hash: model::ContentHash) -> bool {
        set_id(&mut grains, id);
        let bytes = serde_json::to_vec(&grains).map_or(usize::MAX, |it| it.len());
        if bytes > GRAINS_BYTES_MAX {
            self.count("grains too large");
            return false;
        }
        let Some(minion) = self.book.minions.get_mut(id) else { return false };
        if minion.grains_hash == Some(hash) && minion.grains == grains {
            return false;
        }
        (minion.grains, minion.grains_hash) = (grains, Some(hash));
        self.publish_grains(id);
        if self.revision.is_some() {
            self.out.push(Effect::Assign { minion: id.clone() });
        }
        true
    }

    pub(crate) fn sample(&mut self, id: &MinionId, sample: Map<String, Value>) {
        if !self.live.contains_key(id) {
            return self.count("sample of no member");
        }
        self.publish_sample(id, sample);
    }

    /// The store is full, or has room again: who had to keep events comes back and says them all, and boots are looked
    /// at for which nothing could be done.
    pub(crate) fn store_health(&mut self, full: Option<String>) {
        let recovered = self.degraded.is_some() && full.is_none();
        self.degraded = full;
        if !recovered {
            return;
        }
        self.look_at_rolls();
        self.look_at_outbox();
        let held = self.live.iter().filter(|it| it.1.connected && it.1.held_events);
        let held: Vec<MinionId> = held.map(|it| it.0.clone()).collect();
        self.out.extend(held.into_iter().map(|minion| Effect::Close { minion }));
        self.due_boots_of_all();
    }

    /// An event that a minion saw: taken once, acknowledged when it is on disk.
    fn minion_event(&mut self, id: &MinionId, number: u64, tag: &str, data: Value, gap: u64) {
        let full = self.degraded.is_some();
        let Some(live) = self.live.get_mut(id) else { return };
        live.held_events |= full;
        if live.held_events {
            return self.count("event while the store is full");
        }
        let taken = self.book.events_taken.get(id).copied().unwrap_or(0);
        if number > taken {
            self.record(Entry::EventsTaken(id.clone(), number));
            if gap > 0 {
                let data = json!({"minion": id, "dropped": gap});
                self.emit_as(format!("minion/{id}/gap"), Source::Minion(id.clone()), data, 0, None);
            }
            let below = ["beacon/", "event/", "schedule/"].iter().any(|it| tag.starts_with(it))
                || broken::leaves_out("minion-tags");
            if below && super::reactor::is_tag(tag) {
                let key = self.book.minions.get(id).map(|it| it.fingerprint.as_str().to_owned());
                let identity = format!("minion:{}:{number}", key.unwrap_or_default());
                self.begun_by_minion(id, tag, &data);
                let tag = format!("minion/{id}/{tag}");
                let small = data.to_string().len() <= super::requests::EVENT_BYTES_MAX;
                let data = if small { data } else { json!({"dropped": "larger than 16 KiB"}) };
                self.emit_as(tag, Source::Minion(id.clone()), data, 0, Some(identity));
            } else if tag != "start" {
                self.count("event with a tag that is not the minion's");
            }
        }
        let events = self.book.events_taken.get(id).copied();
        self.send(id, ToMinion::Ack { jobs: Vec::new(), events });
    }
}

/// At most so many characters of a text from outside.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// Whatever a minion claims, its grain `id` is the id of its key.
pub(crate) fn set_id(grains: &mut Grains, id: &MinionId) {
    grains.insert("id".to_owned(), Value::String(id.to_string()));
}

#[cfg(test)]
mod tests;

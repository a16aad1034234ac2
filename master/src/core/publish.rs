//! What observers see: retained and live topics below `lab/`, plain flat JSON.

use super::{
    Effect, Master,
    delivery::REBOOT_MS,
    memory::{OpenJob, OpenTarget},
};
use model::{Job, JobId, JobTarget, MinionId, Presence, TargetState};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Bytes of one published payload; dashboards cut longer ones.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// Between two retained progress reports of one minion.
const SHOW_MS: u64 = 1_000;

const README: &str = "labctl publishes here; only the master writes.\n\
lab/master/<name>/availability, state   the master, retained\n\
lab/minion/<id>/availability            online or offline, retained\n\
lab/minion/<id>/state                   newest telemetry as one flat JSON object, retained\n\
lab/minion/<id>/grains                  what the minion says of itself, retained\n\
lab/minion/<id>/job                     the job it is at, retained\n\
lab/minion/<id>/drift                   what is not as it should be, retained\n\
lab/minion/<id>/last                    how its last job ended, retained\n\
lab/minion/<id>/jobevent                started, finished, failed\n\
lab/job                                 every job's life\n\
lab/event/<tag>                         every event\n\
lab/rule/<name>/stats                   how often a rule fired, retained\n\
lab/notify/<name>                       what rules tell a notifier of type mqtt\n\
lab/power/<name>                        what rules switch\n\
lab/in/<user>/<tag>                     integrations write here\n";

/// Retained topics of one minion, below `lab/minion/<id>/`.
const MINION_TOPICS: &[&str] = &["availability", "state", "grains", "job", "last", "drift"];

impl Master {
    fn publish(&mut self, topic: String, payload: String, retain: bool) {
        self.out.push(Effect::Publish { topic, payload, retain });
    }

    pub(crate) fn publish_minion(&mut self, id: &MinionId, leaf: &str, payload: String) {
        self.publish(format!("lab/minion/{id}/{leaf}"), payload, true);
    }

    /// First words of a start.
    pub(crate) fn greet(&mut self) {
        let name = self.settings.name.clone();
        self.publish("lab/README".to_owned(), README.to_owned(), true);
        self.publish(format!("lab/master/{name}/availability"), "online".to_owned(), true);
        self.publish_master();
        self.wake_at(self.now.plus_ms(super::timers::CLOCK_MS), super::timers::Timer::Gc);
        self.forward_all();
    }

    pub(crate) fn publish_master(&mut self) {
        let presence = self.presence_counts();
        let state = json!({
            "up": presence[0],
            "quiet": presence[1],
            "lost": presence[2],
            "down": presence[3],
            "pending_keys": self.book.waiting_keys.len(),
            "jobs_open": self.book.open.len(),
            "rules": self.reactor.rules.iter().count(),
            "degraded": u8::from(self.degraded.is_some()),
            "version": self.settings.version,
            "time": self.now,
        });
        self.publish(format!("lab/master/{}/state", self.settings.name), state.to_string(), true);
    }

    /// Minions that are up, quiet, lost, down.
    pub(crate) fn presence_counts(&self) -> [u32; 4] {
        let mut counts = [0; 4];
        for live in self.live.values() {
            counts[live.presence as usize] += 1;
        }
        counts
    }

    pub(crate) fn publish_availability(&mut self, id: &MinionId) {
        let online = matches!(self.presence(id), Presence::Up | Presence::Quiet);
        let word = if online { "online" } else { "offline" };
        self.publish_minion(id, "availability", word.to_owned());
    }

    pub(crate) fn publish_grains(&mut self, id: &MinionId) {
        let Some(minion) = self.book.minions.get(id) else { return };
        let mut grains = sorted(minion.grains.clone());
        grains.insert("key".to_owned(), Value::from(minion.fingerprint.as_str()));
        let mut text = Value::Object(grains).to_string();
        if text.len() > PAYLOAD_BYTES_MAX {
            text = json!({"key": minion.fingerprint, "too_large": text.len()}).to_string();
        }
        self.publish_minion(id, "grains", text);
    }

    /// The newest sample, with drift and the last word, time last.
    pub(crate) fn publish_sample(&mut self, id: &MinionId, sample: Map<String, Value>) {
        let last = self.book.minions.get(id).and_then(|it| it.last_apply.as_ref());
        let last = last.map_or("never", |it| it.word.word());
        let now = self.now;
        let Some(live) = self.live.get_mut(id) else { return };
        let flat = sample.into_iter().filter(|(_, value)| !value.is_object() && !value.is_array());
        let mut state = sorted(flat.collect());
        let text = Value::Object(state.clone()).to_string();
        state.shift_remove("time");
        state.insert("drift".to_owned(), Value::from(live.drift.unwrap_or(0)));
        state.insert("last".to_owned(), Value::from(last));
        state.insert("time".to_owned(), Value::from(now.0));
        let payload = Value::Object(state).to_string();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return self.count("sample too large");
        }
        (live.sample, live.sampled_at) = (Some(text.into_boxed_str()), now);
        self.publish_minion(id, "state", payload);
    }

    /// Empties what was retained about a minion.
    pub(crate) fn unpublish(&mut self, id: &MinionId) {
        for leaf in MINION_TOPICS {
            self.publish_minion(id, leaf, String::new());
        }
    }

    /// The job that a minion is at; every change of state, and progress at most once a second.
    pub(crate) fn publish_target(&mut self, target: &JobTarget) {
        let (id, now) = (&target.minion, self.now);
        let waits = target.turn.is_some_and(|it| it.waits);
        let state = if waits { "waiting" } else { state_word(&target.state) };
        let mut payload = json!({"id": target.job, "state": state});
        if let TargetState::Running { step, of, .. } = target.state {
            payload["step"] = Value::from(step);
            payload["of"] = Value::from(of);
        }
        payload["time"] = Value::from(now.0);
        self.publish_minion(id, "job", payload.to_string());
        if let TargetState::Ended { word, reason, at, .. } = &target.state {
            let mut last =
                json!({"job": target.job, "word": word, "reason": super::roster::cut(reason, 1024)});
            last["time"] = Value::from(at.0);
            self.publish_minion(id, "last", last.to_string());
            let kind = if super::memory::is_good(*word) { "finished" } else { "failed" };
            self.publish_jobevent(id, kind, target.job, reason);
        }
    }

    pub(crate) fn publish_jobevent(&mut self, id: &MinionId, kind: &str, job: JobId, reason: &str) {
        let payload = json!({"event_type": kind, "job": job, "error": super::roster::cut(reason, 1024)});
        self.publish(format!("lab/minion/{id}/jobevent"), payload.to_string(), false);
    }

    /// Whether progress of this minion may be shown again.
    pub(crate) fn may_show(&mut self, id: &MinionId) -> bool {
        let now = self.now;
        let Some(live) = self.live.get_mut(id) else { return false };
        let may = now.since_ms(live.shown_at) >= SHOW_MS;
        if may {
            live.shown_at = now;
        }
        may
    }

    /// One line of `lab/job`.
    pub(crate) fn publish_job(&mut self, job: &Job, state: &str, words: &BTreeMap<String, u32>) {
        let payload = json!({
            "job": job.id, "state": state, "what": gist(&job.kind), "target": super::roster::cut(&job.target, 256),
            "caller": job.caller.name, "minions": job.minions.len(), "words": words, "time": self.now,
        });
        self.publish("lab/job".to_owned(), payload.to_string(), false);
    }

    pub(crate) fn publish_rule(&mut self, name: &str) {
        let plain = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
        let Some(counts) = self.reactor.counts.get(name).filter(|_| plain) else { return };
        let payload = json!({"fired": counts.fired, "held": counts.held, "refused": counts.refused, "dropped": counts.dropped,
            "time": self.now});
        self.publish(format!("lab/rule/{name}/stats"), payload.to_string(), true);
    }

    /// A line for those who watch the job, with "lost contact" filled in.
    pub(crate) fn target_view(&self, open: &OpenJob, target: &OpenTarget) -> JobTarget {
        let mut view = target.target.clone();
        view.turn = open.turn(&view);
        let id = &view.minion;
        let away = !self.is_reachable(id);
        let connected = self.is_ready(id);
        let lost = match view.state {
            TargetState::Offered { .. } => away || (!connected && self.now >= open.expires(id)),
            TargetState::Running { rebooting: Some(at), .. } => away && self.now >= at.plus_ms(REBOOT_MS),
            TargetState::Received { .. } | TargetState::Running { .. } => away,
            TargetState::Accepted | TargetState::Ended { .. } => false,
        };
        view.lost = lost.then(|| self.live.get(id).map_or(self.now, |it| it.heard_at));
        view
    }
}

fn sorted(map: Map<String, Value>) -> Map<String, Value> {
    let ordered: BTreeMap<String, Value> = map.into_iter().collect();
    ordered.into_iter().collect()
}

/// The word for where a target stands.
pub(crate) fn state_word(state: &TargetState) -> &'static str {
    match state {
        TargetState::Accepted => "accepted",
        TargetState::Offered { .. } => "offered",
        TargetState::Received { .. } => "received",
        TargetState::Running { rebooting: Some(_), .. } => "rebooting",
        TargetState::Running { .. } => "running",
        TargetState::Ended { word, .. } => word.word(),
    }
}

/// What a job does, for operators: `apply web`, `run uptime`.
pub(crate) fn describe(kind: &model::JobKind) -> String {
    match kind {
        model::JobKind::Apply { states, mode, .. } => {
            let verb = if *mode == model::Mode::Check { "check" } else { "apply" };
            let names = if states.is_empty() { "(top)".to_owned() } else { states.join(",") };
            super::roster::cut(&format!("{verb} {names}"), 200)
        }
        model::JobKind::Run { command, .. } => super::roster::cut(&format!("run {}", command.join(" ")), 200),
        model::JobKind::Undo { of, mode, .. } => {
            let verb = if *mode == model::Mode::Check { "check undo" } else { "undo" };
            format!("{verb} {}", of.short())
        }
        model::JobKind::Reboot { .. } => "reboot".to_owned(),
    }
}

/// What a job does, for viewers: of a command only the program, since the rest may hold secrets.
pub(crate) fn gist(kind: &model::JobKind) -> String {
    let model::JobKind::Run { command, .. } = kind else { return describe(kind) };
    let program = command.first().and_then(|it| it.split_whitespace().next());
    let program = program.filter(|it| !it.contains('=')).unwrap_or("(command)");
    super::roster::cut(&format!("run {program}"), 200)
}

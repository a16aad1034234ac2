//! What reactions wait for: jobs, events, presence, calls, time. A wait that is not met ends what is left.

use super::reaction::{Await, Reaction, Waiting};
use crate::core::{Master, roster::cut};
use lang::rules::{Context, Others, Wait, filter_matches};
use model::{ActionEnd, DecisionAction, Event, Job, JobId, MinionId, Presence};
use std::collections::BTreeMap;

/// What happened meanwhile.
impl Master {
    /// A job that a rule made has ended.
    pub(crate) fn reaction_job_ended(&mut self, job: &Job, words: &BTreeMap<String, u32>) {
        let Some(id) = self.reactions.of_job.remove(&job.id) else { return };
        let Some(mut reaction) = self.reactions.open.remove(&id) else { return };
        self.end_job_of(&mut reaction, job.id, words);
        self.put(&id, reaction);
        self.reactions.ready.push_back(id);
    }

    pub(super) fn end_job_of(&mut self, reaction: &mut Reaction, job: JobId, words: &BTreeMap<String, u32>) {
        let now = self.now;
        let Some(at) = reaction.jobs.iter().position(|it| it.0 == job) else { return };
        let (_, action) = reaction.jobs.remove(at);
        let bad = self.book.bad_of(job).unwrap_or_default();
        let ok = bad.is_empty();
        reaction.end(action, now, ActionEnd { ok, words: words.clone(), ..ActionEnd::default() });
        let told: Vec<String> = words.iter().map(|(word, many)| format!("{many} {word}")).collect();
        let names: Vec<&str> = bad.iter().take(5).map(MinionId::as_str).collect();
        let reason = format!("job {} ended: {} ({})", job.short(), told.join(", "), names.join(", "));
        if !ok {
            reaction.fail(&reason, Some(job));
        }
        if matches!(&reaction.waits, Some(Waiting { what: Await::Job(it), .. }) if *it == job) {
            reaction.end_wait(now, ok, if ok { "the job has ended" } else { &reason });
        }
    }

    /// An event that somebody may wait for.
    pub(crate) fn reaction_event(&mut self, event: &Event) {
        for (_, id) in self.reactions.listening.heard(&event.tag) {
            let Some(reaction) = self.reactions.open.get(&id) else { continue };
            // What it was made from cannot be what it waits for.
            if event.number <= reaction.event.number {
                continue;
            }
            if let Some(Waiting { what: Await::Event(filter, when), .. }) = &reaction.waits
                && self.lets_through(event, filter, when.as_ref())
            {
                // One event ends one wait.
                self.end_wait_of(&id, true, &told_of(event.number, &event.tag));
                continue;
            }
            let Some((filter, when)) = reaction.next_event().filter(|_| reaction.heard.is_none()) else {
                continue;
            };
            if self.lets_through(event, filter, when)
                && let Some(mut reaction) = self.reactions.open.get(&id).cloned()
            {
                reaction.heard = Some((event.number, cut(&event.tag, 256)));
                self.put(&id, reaction);
            }
        }
    }

    fn lets_through(&self, event: &Event, filter: &str, when: Option<&String>) -> bool {
        let minion = lang::reactor::minion_of(&event.tag);
        filter_matches(filter, &event.tag)
            && when.is_none_or(|it| {
                let around = self.around();
                let seen = self.seen_by_rules(event, minion.as_ref());
                Context { others: Some(Others::of(&around)), ..seen }.meets(it)
            })
    }

    /// The presence of a minion has changed.
    pub(crate) fn reaction_presence(&mut self, minion: &MinionId) {
        let ids: Vec<String> = self.reactions.watching.of(minion).map(|it| it.1.clone()).collect();
        for id in ids {
            if self.reactions.open.get(&id).is_some_and(|it| self.is_there(it)) {
                self.end_wait_of(&id, true, "presence is as wanted");
            }
        }
    }

    /// What conditions and templates see of an event and a minion.
    pub(super) fn seen_by_rules<'a>(&'a self, event: &'a Event, minion: Option<&'a MinionId>) -> Context<'a> {
        let member = minion.and_then(|it| self.book.minions.get(it));
        Context {
            minion,
            grains: member.map(|it| &it.grains),
            labels: member.map(|it| &it.labels),
            presence: member.map(|it| self.presence(&it.id)),
            ..Context::of_event(event)
        }
    }

    fn is_there(&self, reaction: &Reaction) -> bool {
        let Some(Waiting { what: Await::Presence { minions, up, boots }, .. }) = &reaction.waits else {
            return false;
        };
        minions.iter().all(|it| self.is_as_wanted(it, *up, boots.get(it)))
    }

    fn is_as_wanted(&self, minion: &MinionId, up: bool, other_than: Option<&String>) -> bool {
        let presence = self.presence(minion);
        let boot = self.book.minions.get(minion).and_then(|it| it.boot.as_ref());
        let anew = other_than.is_none_or(|it| boot.is_some_and(|boot| boot != it));
        if up {
            presence == Presence::Up && self.is_ready(minion) && anew
        } else {
            matches!(presence, Presence::Lost | Presence::Down)
        }
    }

    pub(super) fn end_wait_of(&mut self, id: &str, ok: bool, answer: &str) {
        let now = self.now;
        let Some(mut reaction) = self.reactions.open.remove(id) else { return };
        reaction.end_wait(now, ok, answer);
        self.put(id, reaction);
        self.reactions.ready.push_back(id.to_owned());
    }

    /// What a reaction waits for may have ended while nobody could tell it: in the middle of its own actions, or while
    /// there was no master. True if something has.
    pub(super) fn catch_up(&mut self, reaction: &mut Reaction) -> bool {
        let jobs = reaction.jobs.iter().map(|it| it.0).filter(|it| !self.book.open.contains_key(it));
        let jobs: Vec<JobId> = jobs.collect();
        for job in &jobs {
            self.reactions.of_job.remove(job);
            let words = self.book.whole_job(*job).map(|it| self.words(it)).unwrap_or_default();
            self.end_job_of(reaction, *job, &words);
        }
        let calls = reaction.calls.iter().map(|it| &it.0).filter(|it| !self.outbox.waiting.contains_key(*it));
        let calls: Vec<String> = calls.cloned().collect();
        for call in &calls {
            let answer = "dropped: too many calls wait".to_owned();
            self.end_call_of(reaction, call, ActionEnd { ok: false, answer, ..ActionEnd::default() });
        }
        let there = self.is_there(reaction);
        if there {
            reaction.end_wait(self.now, true, "presence is as wanted");
        }
        there || !jobs.is_empty() || !calls.is_empty()
    }

    /// Time is up for a wait. Before there are rules nobody could say what follows.
    pub(crate) fn reaction_timer(&mut self, id: &str) {
        if !self.reactor.awake {
            return;
        }
        let now = self.now;
        let Some(reaction) = self.reactions.open.get(id) else { return };
        let Some(wait) = reaction.waits.as_ref().filter(|it| it.until <= now) else { return };
        if matches!(wait.what, Await::Pause) {
            return self.end_wait_of(id, true, "it has passed");
        }
        let what = reaction.done.get(wait.action).map_or("what was waited for", |it| it.what.as_str());
        let late = format!("{what}: it did not come in time");
        self.end_wait_of(id, false, &late);
    }

    /// Begins a wait of an action, unless it is over at once.
    pub(super) fn begin_wait(&mut self, reaction: &mut Reaction, what: Wait, timeout_ms: u64) {
        let (text, what) = match what {
            Wait::Event(filter, when) => (format!("wait for {filter}"), Await::Event(filter, when)),
            Wait::Presence(minion, up) => {
                let word = if up { "up" } else { "down" };
                let boots = BTreeMap::new();
                (
                    format!("wait until {minion} is {word}"),
                    Await::Presence { minions: vec![minion], up, boots },
                )
            }
            Wait::Job => {
                if let Some(job) = reaction.last_job {
                    (format!("wait for job {}", job.short()), Await::Job(job))
                } else {
                    let reason = "no job was made before it";
                    reaction.done.push(DecisionAction::new("wait for a job".to_owned(), None, reason));
                    reaction.fail(reason, None);
                    reaction.left.clear();
                    return;
                }
            }
        };
        self.wait_for(reaction, &text, what, timeout_ms);
    }

    /// The same, for what more actions than one wait for.
    pub(super) fn wait_for(&mut self, reaction: &mut Reaction, text: &str, what: Await, timeout_ms: u64) {
        let now = self.now;
        reaction.done.push(DecisionAction::new(cut(text, 160), None, super::ACCEPTED));
        let action = reaction.done.len() - 1;
        let job = if let Await::Job(job) = &what { Some(*job) } else { None };
        let heard = reaction.heard.take().filter(|_| matches!(what, Await::Event(..)));
        let presence = matches!(what, Await::Presence { .. });
        reaction.waits = Some(Waiting { action, until: now.plus_ms(timeout_ms), what });
        if let Some((number, tag)) = heard {
            return reaction.end_wait(now, true, &told_of(number, &tag));
        }
        match job {
            None if presence && self.is_there(reaction) => {
                reaction.end_wait(now, true, "presence is as wanted");
            }
            Some(job) if !reaction.jobs.iter().any(|it| it.0 == job) => {
                let ok = self.book.bad_of(job).is_some_and(|it| it.is_empty());
                reaction.end_wait(now, ok, if ok { "the job has ended" } else { "the job ended badly" });
            }
            _ => {}
        }
    }
}

fn told_of(number: u64, tag: &str) -> String {
    format!("event {number} {}", cut(tag, 256))
}

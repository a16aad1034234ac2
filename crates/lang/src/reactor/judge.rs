//! Asks the clauses of one rule, one after the other, until one says no or the rule acts.

use super::{
    Judged, List, Reactor, View,
    aftermath::{EXPECTS_AGAIN, FELL_AWAY, LOOKS_AGAIN},
    index::Found,
    key::{OF_ALL, slot_of, slot_of_machine},
    memory::of,
    slot::{Holding, Kept, Later, Slot, Waiting, What},
    trail::Trail,
};
use crate::{
    compare::text_of,
    duration,
    rules::{After, Moment, OncePer, Per, Rule, Throttle},
};
use model::{Clause, Event, MinionId, Timestamp, broken};

/// One rule and what happened.
pub(super) struct Case<'a, 'b> {
    pub(super) reactor: &'b mut Reactor,
    pub(super) rule: &'a Rule,
    pub(super) place: usize,
    pub(super) view: &'b View<'a>,
    /// Where what is remembered of its key lies.
    pub(super) slot: String,
    pub(super) trail: Trail<'a>,
    /// It would act if the machine were not in maintenance, until then if that has an end.
    pub(super) held: Option<Until>,
}

/// When a maintenance ends, if that is known.
#[derive(Clone, Copy)]
pub(super) struct Until(pub(super) Option<Timestamp>);

/// `once_per` says no.
struct AlreadyDone;

/// What a rule makes of an event; nothing if the event only says that another one is expected.
pub(super) fn event<'a>(
    reactor: &mut Reactor,
    rule: &'a Rule,
    found: &Found,
    view: &View<'a>,
) -> Option<Judged> {
    let slot = slot_of(rule, view);
    let mut case = Case { reactor, rule, place: found.rule, view, slot, trail: Trail::new(rule), held: None };
    if found.arms || found.disarms {
        case.expect_other(found);
    }
    if found.filters == 0 {
        return None;
    }
    let fired = case.event(found.filters);
    Some(case.finish(fired, List::Do, None))
}

impl<'a> Case<'a, '_> {
    fn slot(&self) -> Option<&Slot> {
        self.reactor.memory.get(self.place, &self.slot)
    }
    pub(super) fn alter(&mut self, alter: impl FnOnce(&mut Slot) -> bool) {
        self.reactor.memory.alter(self.view.now, self.place, &self.slot, alter);
    }
    /// Maintenance keeps it from acting: that is due when it ends.
    pub(super) fn hold(&mut self, what: What, at: Option<Timestamp>) {
        let Some(minion) = self.view.context.minion else { return };
        self.alter(|slot| {
            slot.hold(what, minion, at);
            true
        });
    }
    fn kept(&self) -> Kept {
        Kept { event: self.view.event.clone(), identity: self.view.identity.to_owned() }
    }

    /// All clauses for an event; whether the rule acts.
    fn event(&mut self, filters: u32) -> bool {
        let acts = self.asks(filters);
        if self.rule.clauses.for_ms.is_some()
            && let Some(Until(until)) = self.held
        {
            self.hold(What::Hold, until);
        }
        acts
    }

    fn asks(&mut self, filters: u32) -> bool {
        self.heard(filters)
            && self.may_act()
            && self.when_or_falls_away()
            && self.all(filters)
            && self.came()
            && self.holds_long_enough()
            && self.counts()
            && self.settles()
            && self.acts()
    }

    fn heard(&mut self, filters: u32) -> bool {
        if self.rule.salt.is_some() {
            return self.rule.judge_when(&self.view.context).is_none_or(|it| self.trail.add(it));
        }
        let name = self.rule.words.first().map_or("on", |it| it.0);
        let place = usize::try_from(filters.trailing_zeros()).unwrap_or_default();
        let text = if name == "all" {
            self.rule.filters.get(place).cloned().unwrap_or_default()
        } else {
            self.rule.on.clone()
        };
        let (name, seen) = ("on".to_owned(), self.view.event.tag.clone());
        self.trail.add(Clause { name, text, held: Some(true), seen, parts: Vec::new() })
    }

    /// Whether it is in use at all, and no loop.
    pub(super) fn may_act(&mut self) -> bool {
        if !self.rule.clauses.enabled {
            return self.trail.say("enabled", false, "it says `enabled: false`".to_owned());
        }
        if self.reactor.disabled.contains(&self.rule.name) {
            return self.trail.say("enabled", false, "it is switched off".to_owned());
        }
        let most = self.rule.clauses.max_hops;
        if self.view.event.hops >= most && !broken::leaves_out("event-hops") {
            let seen = format!("{most} rule-made events led to it: a loop is cut here");
            return self.trail.say("max_hops", false, seen);
        }
        true
    }

    pub(super) fn when(&mut self) -> bool {
        if self.rule.salt.is_some() {
            return true;
        }
        self.rule.judge_when(&self.view.context).is_none_or(|it| self.trail.add(it))
    }

    fn when_or_falls_away(&mut self) -> bool {
        let held = self.when();
        if !held {
            self.fall_away();
        }
        held
    }

    /// The condition does not hold any more: what waited for that begins anew.
    pub(super) fn fall_away(&mut self) {
        let clauses = &self.rule.clauses;
        if clauses.for_ms.is_none() && clauses.else_after.is_empty() {
            return;
        }
        let since = self.slot().and_then(|it| Some(it.holding.as_ref()?.since));
        if let (Some(since), Some(whole)) = (since, clauses.for_ms) {
            let part = self.view.now.since_ms(since);
            self.trail.note("for", format!("{FELL_AWAY} after {}", of(part, whole)));
        }
        if self.slot().is_some_and(|it| it.later.is_some()) {
            self.trail.note("else_after", FELL_AWAY.to_owned());
        }
        self.alter(|slot| {
            let was = slot.holding.is_some() || slot.later.is_some();
            (slot.holding, slot.later) = (None, None);
            was
        });
    }

    fn all(&mut self, filters: u32) -> bool {
        let Some(within) = self.rule.clauses.all_within_ms else { return true };
        let (now, wanted) = (self.view.now, self.rule.filters.len());
        let mut missing = Vec::new();
        let rule = self.rule;
        self.alter(|slot| {
            for place in (0..wanted).filter(|place| filters & (1 << place) != 0) {
                slot.seen.insert(place, now);
            }
            slot.seen.retain(|_, at| now.since_ms(*at) <= within);
            missing = (0..wanted).filter(|place| !slot.seen.contains_key(place)).collect();
            true
        });
        let span = duration::show(within);
        if missing.is_empty() {
            return self.trail.say("all", true, format!("{wanted} of {wanted} within {span}"));
        }
        let names: Vec<String> = missing.iter().map(|it| format!("`{}`", rule.filters[*it])).collect();
        let seen = format!(
            "{} of {wanted} within {span}: {} did not come",
            wanted - missing.len(),
            names.join(", ")
        );
        self.trail.say("all", false, seen)
    }

    /// Events that say that another one is expected from now on, or is not.
    fn expect_other(&mut self, found: &Found) {
        let Some(absent) = &self.rule.clauses.absent else { return };
        if !self.rule.clauses.enabled || self.reactor.disabled.contains(&self.rule.name) {
            return;
        }
        let waiting = Waiting::new(self.view.now.plus_ms(absent.within_ms), self.kept());
        let first_only = absent.after == After::Up;
        self.alter(|slot| {
            if found.disarms {
                return slot.expecting.take().is_some();
            }
            if first_only && slot.expecting.is_some() {
                return false;
            }
            slot.let_go(What::Expect);
            slot.expecting = Some(waiting);
            true
        });
    }

    /// `absent`: what was expected came.
    fn came(&mut self) -> bool {
        let Some(absent) = &self.rule.clauses.absent else { return true };
        let span = duration::show(absent.within_ms);
        if matches!(absent.after, After::Event(_)) {
            let mut was = false;
            self.alter(|slot| {
                was = slot.expecting.take().is_some();
                was
            });
            let seen = if was {
                format!("it came within {span}")
            } else {
                "it came, and was not expected".to_owned()
            };
            return self.trail.say("absent", false, seen);
        }
        let waiting = Waiting::new(self.view.now.plus_ms(absent.within_ms), self.kept());
        self.alter(|slot| {
            slot.let_go(What::Expect);
            slot.expecting = Some(waiting);
            true
        });
        self.trail.say("absent", false, format!("{EXPECTS_AGAIN} {span}"))
    }

    fn holds_long_enough(&mut self) -> bool {
        let Some(whole) = self.rule.clauses.for_ms else { return true };
        let (now, kept) = (self.view.now, self.kept());
        let mut since = now;
        self.alter(|slot| {
            let before = slot.holding.take();
            since = before.as_ref().map_or(now, |it| it.since);
            let at = before.map_or(Some(now.plus_ms(whole)), |it| it.at);
            let at = at.filter(|it| *it > now);
            slot.let_go(What::Hold);
            slot.holding = Some(Holding { since, at, kept });
            true
        });
        let part = now.since_ms(since);
        self.trail.say("for", part >= whole, format!("holds for {}", of(part, whole)))
    }

    fn counts(&mut self) -> bool {
        let Some(count) = self.rule.clauses.count else { return true };
        let (now, wanted) = (self.view.now, count.times as usize);
        let mut came = 0;
        self.alter(|slot| {
            slot.came.retain(|it| now.since_ms(*it) < count.within_ms);
            slot.came.push(now);
            let over = slot.came.len().saturating_sub(wanted);
            slot.came.drain(..over);
            came = slot.came.len();
            true
        });
        let seen = format!("{came} of {wanted} within {}", duration::show(count.within_ms));
        self.trail.say("count", came >= wanted, seen)
    }

    fn settles(&mut self) -> bool {
        let Some(debounce) = self.rule.clauses.debounce else { return true };
        let (now, kept) = (self.view.now, self.kept());
        let span = debounce.wait_ms;
        let mut rest = span;
        self.alter(|slot| {
            slot.let_go(What::Settle);
            let before = slot.settling.as_ref().and_then(|it| it.since);
            let since = before.unwrap_or(now);
            let last = since.plus_ms(debounce.at_most_ms);
            rest = span.min(last.since_ms(now));
            slot.settling = Some(Waiting { at: now.plus_ms(rest), since: Some(since), kept });
            true
        });
        let seen = if rest < span {
            let most = duration::show(debounce.at_most_ms);
            format!("acts in {}: {most} after the first at the latest", duration::roughly(rest))
        } else {
            format!("acts if no more comes for {}", duration::show(span))
        };
        self.trail.say("debounce", false, seen)
    }

    /// The last clauses: those that keep a rule from acting although all is as it wants.
    pub(super) fn acts(&mut self) -> bool {
        if !self.no_maintenance() {
            return false;
        }
        let throttled = self.rule.clauses.throttle.map(|it| (it, self.throttle_slot(it)));
        if let Some((throttle, slot)) = &throttled
            && !self.seldom_enough(*throttle, slot)
        {
            return false;
        }
        let Ok(done) = self.not_done() else { return false };
        let now = self.view.now;
        if let Some((throttle, slot)) = throttled {
            self.reactor.memory.alter(now, self.place, &slot, |slot| {
                slot.acted.retain(|it| now.since_ms(*it) < throttle.within_ms);
                slot.acted.push(now);
                true
            });
        }
        self.alter(|slot| {
            // What was counted began it: the next time begins anew.
            let counted = !slot.came.is_empty() || !slot.seen.is_empty();
            slot.came.clear();
            slot.seen.clear();
            let once = done.is_some();
            slot.done = done.or(slot.done.take());
            counted || once
        });
        self.look_again_later();
        true
    }

    pub(super) fn no_maintenance(&mut self) -> bool {
        let Some(maintenance) = &self.view.maintenance else { return true };
        if self.rule.clauses.in_maintenance {
            return self.trail.say("maintenance", true, "the machine is in maintenance".to_owned());
        }
        let east_s = self.view.context.moment.east_s;
        let until = match maintenance.until {
            Some(at) => format!("until {}", Moment { at, east_s }.show()),
            None => "until it is said".to_owned(),
        };
        let why =
            if maintenance.reason.is_empty() { String::new() } else { format!(": {}", maintenance.reason) };
        self.held = Some(Until(maintenance.until));
        self.trail.say("maintenance", false, format!("the machine is in maintenance {until}{why}"))
    }

    fn throttle_slot(&self, throttle: Throttle) -> String {
        match (throttle.per, self.view.context.minion) {
            (Per::Rule, _) => OF_ALL.to_owned(),
            (Per::Minion, Some(id)) if self.slot[1..] != *id.as_str() => slot_of_machine(id),
            _ => self.slot.clone(),
        }
    }

    fn seldom_enough(&mut self, throttle: Throttle, slot: &str) -> bool {
        let now = self.view.now;
        let slot = self.reactor.memory.get(self.place, slot);
        let recent = |it: &&Timestamp| now.since_ms(**it) < throttle.within_ms;
        let acted: Vec<Timestamp> =
            slot.map(|it| it.acted.iter().filter(recent).copied().collect()).unwrap_or_default();
        let (times, span) = (acted.len(), duration::show(throttle.within_ms));
        let wanted = throttle.times as usize;
        if times < wanted {
            return self.trail.say(
                "throttle",
                true,
                format!("acted {times} of {wanted} times within {span}"),
            );
        }
        let first = acted.get(times - wanted).copied().unwrap_or_default();
        let again = duration::roughly(first.plus_ms(throttle.within_ms).since_ms(now));
        self.trail.say(
            "throttle",
            false,
            format!("acted {times} of {wanted} times within {span}; again in {again}"),
        )
    }

    /// `once_per`: what to remember if it acts.
    fn not_done(&mut self) -> Result<Option<String>, AlreadyDone> {
        let Some(once) = self.rule.clauses.once_per else { return Ok(None) };
        let this = match once {
            OncePer::Day => Ok(self.view.context.moment.date()),
            OncePer::Job => {
                let job = self.view.event.data.get("job").and_then(text_of);
                job.ok_or_else(|| "job, and this event is about none".to_owned())
            }
            OncePer::Boot => self.boot(),
        };
        let this = match this {
            Ok(this) => this,
            Err(seen) => {
                self.trail.say("once_per", false, seen);
                return Err(AlreadyDone);
            }
        };
        if once == OncePer::Boot
            && let Some((minion, boot)) = self.minion_and_boot()
            && let Some(due) = self.view.world.boot_is_due(&self.rule.name, minion, &boot)
        {
            let held = due.is_ok();
            self.trail.say("once_per", held, due.err().unwrap_or_else(|| format!("boot {boot} is due")));
            return if held { Ok(None) } else { Err(AlreadyDone) };
        }
        let done = self.slot().and_then(|it| it.done.as_ref()) == Some(&this);
        let word = once.word();
        let seen = if done { format!("done for this {word} already") } else { format!("{word} {this}") };
        if self.trail.say("once_per", !done, seen) { Ok(Some(this)) } else { Err(AlreadyDone) }
    }

    fn minion_and_boot(&self) -> Option<(&'a MinionId, String)> {
        Some((self.view.context.minion?, self.view.member?.boot?.to_owned()))
    }

    fn boot(&self) -> Result<String, String> {
        let found = self.minion_and_boot().map(|it| it.1);
        found.ok_or_else(|| "boot, and this event is of no minion that has booted".to_owned())
    }

    /// `else_after`: it looks again, unless it is going to anyway.
    fn look_again_later(&mut self) {
        let lists = &self.rule.clauses.else_after;
        if lists.is_empty() {
            return;
        }
        let (since, kept) = (self.view.now, self.kept());
        let due: Vec<(Timestamp, usize)> =
            lists.iter().enumerate().map(|(place, it)| (since.plus_ms(it.0), place)).collect();
        self.alter(|slot| {
            let free = slot.later.is_none();
            if free {
                slot.later = Some(Later { since, due, kept });
            }
            free
        });
        let spans: Vec<String> = lists.iter().map(|it| duration::show(it.0)).collect();
        self.trail.note("else_after", format!("{LOOKS_AGAIN} {} after the first time", spans.join(", ")));
    }

    /// What came of it, with the actions that follow.
    pub(super) fn finish(self, fired: bool, list: List, kept: Option<(Event, String)>) -> Judged {
        let actions = match list {
            _ if !fired => Ok(Vec::new()),
            List::Do => self.rule.actions(self.view.context),
            List::ElseAfter(place) => match self.rule.clauses.else_after.get(place) {
                Some((_, list)) => self.rule.fill(list, self.view.context),
                None => Ok(Vec::new()),
            },
        };
        let (clauses, reason) = self.trail.finish();
        let (event, identity) = kept.unzip();
        Judged {
            rule: self.rule.name.clone(),
            key: self.slot[1..].to_owned(),
            minion: self.view.context.minion.cloned(),
            kept: event.map(Box::new),
            identity: identity.unwrap_or_else(|| self.view.identity.to_owned()),
            fired,
            list,
            clauses,
            reason,
            actions,
        }
    }
}

//! What rules make of time that passes: a condition that has held long enough, an event that did not come.

use super::{
    Judged, List, Reactor, View, WAKES_MAX, World,
    judge::{Case, Until},
    minion_of,
    slot::{Kept, What},
    trail::Trail,
};
use crate::{
    duration,
    rules::{After, Moment},
};
use model::{Clause, Presence, Timestamp};
use std::sync::Arc;

/// Deals with the deadlines that have passed.
pub(super) fn wake(reactor: &mut Reactor, world: &dyn World) -> Vec<Judged> {
    let mut judged = Vec::new();
    for _ in 0..WAKES_MAX {
        let Some((rule, key, what)) = reactor.memory.pop(reactor.now) else { break };
        judged.extend(one(reactor, (rule, key, what), world));
    }
    judged
}

fn one(
    reactor: &mut Reactor,
    (place, slot, what): (usize, String, What),
    world: &dyn World,
) -> Option<Judged> {
    let rules = Arc::clone(&reactor.rules);
    let rule = rules.rules.get(place)?;
    let kept = reactor.memory.get(place, &slot).and_then(|it| {
        Some(match what {
            What::Hold => &it.holding.as_ref()?.kept,
            What::Settle => &it.settling.as_ref()?.kept,
            What::Expect => &it.expecting.as_ref()?.kept,
            What::Later(_) => &it.later.as_ref()?.kept,
        })
    })?;
    let Kept { event, identity } = kept.clone();
    let minion = minion_of(&event.tag);
    let view = View::new(reactor.now, (&event, &identity), minion.as_ref(), world);
    let mut case = Case { reactor, rule, place, view: &view, slot, trail: Trail::new(rule), held: None };
    let (name, list) = match what {
        What::Hold => ("for", List::Do),
        What::Settle => ("debounce", List::Do),
        What::Expect => ("absent", List::Do),
        What::Later(place) => ("else_after", List::ElseAfter(place)),
    };
    case.remembered();
    let fired = match what {
        What::Hold => case.held(),
        What::Settle => case.settled(),
        What::Expect => case.missed()?,
        What::Later(place) => case.still(place),
    };
    let suffix = if let What::Later(place) = what { format!("{name}{place}") } else { name.to_owned() };
    let identity = format!("{identity}:{suffix}");
    Some(case.finish(fired, list, Some((event.clone(), identity))))
}

impl Case<'_, '_> {
    /// The event that began it.
    fn remembered(&mut self) {
        let event = self.view.event;
        let seen = format!("{} (event {}), remembered", event.tag, event.number);
        let (name, text) = ("on".to_owned(), self.rule.on.clone());
        self.trail.add(Clause { name, text, held: Some(true), seen, parts: Vec::new() });
    }

    /// `for` is over: the condition is asked once more.
    fn held(&mut self) -> bool {
        let whole = self.rule.clauses.for_ms.unwrap_or_default();
        let holds = self.may_act() && self.when();
        if !holds {
            self.fall_away();
            return false;
        }
        let mut since = self.view.now;
        self.alter(|slot| {
            if let Some(holding) = &mut slot.holding {
                (since, holding.at) = (holding.since, None);
            }
            slot.let_go(What::Hold);
            true
        });
        let from = Moment { at: since, ..self.view.context.moment };
        self.trail.say("for", true, format!("held for {} since {}", duration::show(whole), from.show()));
        let acts = self.acts();
        if let Some(Until(until)) = self.held {
            self.hold(What::Hold, until);
        }
        acts
    }

    /// `debounce`: nothing more came.
    fn settled(&mut self) -> bool {
        let waiting = self.reactor.memory.get(self.place, &self.slot).and_then(|it| it.settling.clone());
        self.alter(|slot| slot.settling.take().is_some());
        let seen = self.settled_how(waiting.as_ref().and_then(|it| it.since));
        let acts = self.may_act() && self.when() && self.trail.say("debounce", true, seen) && self.acts();
        if let Some(Until(until)) = self.held {
            self.alter(|slot| {
                slot.settling = waiting;
                true
            });
            self.hold(What::Settle, until);
        }
        acts
    }

    /// Nothing more came, or what came has waited long enough.
    fn settled_how(&self, since: Option<Timestamp>) -> String {
        let Some(debounce) = self.rule.clauses.debounce else { return String::new() };
        let (last, now) = (self.view.event.at, self.view.now);
        match since {
            Some(since) if now.since_ms(last) < debounce.wait_ms => {
                format!("more came for {}, which is the longest", duration::show(now.since_ms(since)))
            }
            _ => format!("no more came for {}", duration::show(debounce.wait_ms)),
        }
    }

    /// `absent`: the event did not come. Nothing is said when it is not expected any more.
    fn missed(&mut self) -> Option<bool> {
        let rule = self.rule;
        let waiting = self.reactor.memory.get(self.place, &self.slot).and_then(|it| it.expecting.clone());
        self.alter(|slot| slot.expecting.take().is_some());
        let absent = rule.clauses.absent.as_ref()?;
        let away = matches!(self.view.context.presence, None | Some(Presence::Lost | Presence::Down));
        if absent.after == After::Up && away {
            return None;
        }
        // What began it may be another kind of event: of that the condition says nothing.
        let about_it = rule.condition.as_ref().is_some_and(crate::condition::Condition::is_about_the_event);
        let asked = absent.after == After::Itself || !about_it;
        let span = duration::show(absent.within_ms);
        let acts = self.may_act()
            && (!asked || self.when())
            && self.trail.say("absent", true, format!("none came for {span}"))
            && self.acts();
        if let Some(Until(until)) = self.held {
            self.alter(|slot| {
                slot.expecting = waiting;
                true
            });
            self.hold(What::Expect, until.map(|it| it.plus_ms(absent.within_ms)));
        }
        Some(acts)
    }

    /// `else_after`: whether the condition still holds.
    fn still(&mut self, place: usize) -> bool {
        let mut since = self.view.now;
        let before = self.reactor.memory.get(self.place, &self.slot).and_then(|it| it.later.clone());
        self.alter(|slot| {
            if let Some(later) = &mut slot.later {
                since = later.since;
                later.due.retain(|it| it.1 != place);
                if later.due.is_empty() {
                    slot.later = None;
                }
            }
            true
        });
        if !(self.may_act() && self.when()) {
            self.fall_away();
            return false;
        }
        let span = duration::roughly(self.view.now.since_ms(since));
        self.trail.say("else_after", true, format!("still so {span} after it acted"));
        let acts = self.no_maintenance();
        if let Some(Until(until)) = self.held {
            self.alter(|slot| {
                slot.later = before;
                true
            });
            self.hold(What::Later(place), until);
        }
        acts
    }
}

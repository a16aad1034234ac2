//! Runs events through rules with virtual time: what would have been decided, and nothing is done.

use super::{Judged, Maintenance, Member, Reactor, World, minion_of};
use crate::{
    RosterEntry,
    rules::{Action, Rules},
    schedule::Zone,
    target::{Candidate, Target},
};
use model::{Decision, DecisionAction, Event, Grains, Labels, MinionId, Presence, Timestamp};
use serde_json::Value;
use std::{collections::BTreeMap, net::IpAddr};

/// Events and deadlines of one replay; what is beyond is left out.
pub const REPLAYED_MAX: usize = 1_000_000;

/// What a replay knows of a member.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Grains.
    pub grains: Grains,
    /// Labels.
    pub labels: Labels,
    /// Whether it is there.
    pub presence: Presence,
    /// Which boot it said last.
    pub boot: Option<String>,
    /// Where it last connected from.
    pub address: Option<String>,
}

/// A world in which nothing happens but what events say: who comes, goes and boots, which labels it gets, and who is left
/// alone. Its members are the roster of its templates.
#[derive(Clone, Debug, Default)]
pub struct StillWorld {
    /// Members.
    pub members: BTreeMap<MinionId, Replayed>,
    /// Who is in maintenance.
    pub maintenance: BTreeMap<MinionId, Maintenance>,
    /// That of the clocks on the wall.
    pub zone: Zone,
}

impl World for StillWorld {
    fn member(&self, id: &MinionId) -> Option<Member<'_>> {
        let it = self.members.get(id)?;
        Some(Member {
            grains: &it.grains,
            labels: &it.labels,
            presence: it.presence,
            boot: it.boot.as_deref(),
        })
    }
    fn maintenance(&self, id: &MinionId) -> Option<Maintenance> {
        self.maintenance.get(id).cloned()
    }
    fn east_s(&self, now: Timestamp) -> i32 {
        self.zone.east_s(now)
    }
    fn boot_is_due(&self, _rule: &str, _id: &MinionId, _boot: &str) -> Option<Result<(), String>> {
        None
    }
    fn count(&self, target: &Target) -> Option<usize> {
        let matches = |(id, it): &(&MinionId, &Replayed)| {
            target.matches(&Remembered { id, it, maintenance: self.maintenance.contains_key(*id) })
        };
        Some(self.members.iter().filter(matches).count())
    }
    fn roster(&self) -> Vec<RosterEntry> {
        let entry = |(id, it): (&MinionId, &Replayed)| RosterEntry {
            id: id.clone(),
            address: it.address.clone(),
            labels: it.labels.clone(),
            presence: it.presence,
            maintenance: self.maintenance.contains_key(id),
            grains: Grains::new(),
        };
        self.members.iter().map(entry).collect()
    }
}

/// A member of a still world, as expressions see it.
struct Remembered<'a> {
    id: &'a MinionId,
    it: &'a Replayed,
    maintenance: bool,
}

impl Candidate for Remembered<'_> {
    fn id(&self) -> &MinionId {
        self.id
    }
    fn grains(&self) -> &Grains {
        &self.it.grains
    }
    fn labels(&self) -> &Labels {
        &self.it.labels
    }
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
    fn presence(&self) -> Presence {
        self.it.presence
    }
    fn failed(&self) -> bool {
        false
    }
    fn in_maintenance(&self) -> bool {
        self.maintenance
    }
    fn pillar(&self, _: &str) -> Option<Value> {
        None
    }
    fn assigned(&self) -> Vec<String> {
        Vec::new()
    }
}

impl StillWorld {
    /// Takes in what an event says of its minion; gives whose maintenance it ends.
    pub fn learn(&mut self, event: &Event) -> Option<MinionId> {
        let id = minion_of(&event.tag)?;
        self.maintenance.retain(|_, it| it.until.is_none_or(|until| until > event.at));
        let what = event.tag.split('/').nth(2).unwrap_or("");
        match what {
            "retired" => {
                self.members.remove(&id);
                return None;
            }
            "maintenance" => return self.learn_maintenance(id, &event.data),
            // What the master notes of a machine does not say that it is there.
            "drift" | "conduct" => return None,
            _ => {}
        }
        let member = self.members.entry(id).or_insert_with(|| Replayed {
            grains: Grains::new(),
            labels: Labels::new(),
            presence: Presence::Up,
            boot: None,
            address: None,
        });
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).map(str::to_owned);
        match what {
            "start" => {
                member.presence = Presence::Up;
                member.boot = text("boot_id").or_else(|| member.boot.take());
                member.address = text("address").or_else(|| member.address.take());
            }
            "online" => member.presence = Presence::Up,
            "lost" => member.presence = Presence::Lost,
            "down" => member.presence = Presence::Down,
            "labels" => relabel(member, event),
            _ => {}
        }
        None
    }

    fn learn_maintenance(&mut self, id: MinionId, data: &Value) -> Option<MinionId> {
        if data["on"] != true {
            self.maintenance.remove(&id);
            return Some(id);
        }
        let until = data["until"].as_u64().map(Timestamp);
        let reason = data["reason"].as_str().unwrap_or_default().to_owned();
        self.maintenance.insert(id, Maintenance { until, reason });
        None
    }
}

fn relabel(member: &mut Replayed, event: &Event) {
    for name in event.data.get("removed").and_then(Value::as_array).into_iter().flatten() {
        member.labels.retain(|it, _| Some(it.as_str()) != name.as_str());
    }
    for (name, value) in event.data.get("set").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str() {
            member.labels.insert(name.clone(), value.to_owned());
        }
    }
}

/// What rules would decide about events, in order of time, and about the time between and after them. The same input
/// gives the same decisions, byte for byte.
pub fn replay(rules: Rules, mut world: StillWorld, events: impl IntoIterator<Item = Event>) -> Vec<Decision> {
    let mut reactor = Reactor::new(rules);
    let mut decisions = Vec::new();
    let mut left = REPLAYED_MAX;
    for event in events.into_iter().take(REPLAYED_MAX) {
        pass(&mut reactor, &world, Some(event.at), &mut left, &mut decisions);
        if let Some(minion) = world.learn(&event) {
            reactor.maintenance_ended(event.at, &minion);
        }
        let judged = reactor.react(event.at, &event, &format!("event:{}", event.number), &world);
        let verdicts: Vec<_> = judged.into_iter().map(verdict).collect();
        if !verdicts.is_empty() {
            let (number, tag) = (event.number, event.tag);
            decisions.push(Decision { event: number, tag, at: reactor.now, verdicts });
        }
        // What is to be remembered is of no use here, and would only grow.
        drop(reactor.take_changes());
    }
    pass(&mut reactor, &world, None, &mut left, &mut decisions);
    decisions
}

/// Lets time pass, deadline by deadline.
fn pass(
    reactor: &mut Reactor,
    world: &StillWorld,
    until: Option<Timestamp>,
    left: &mut usize,
    decisions: &mut Vec<Decision>,
) {
    while *left > 0
        && let Some(at) = reactor.next_wake()
        && until.is_none_or(|until| at <= until)
    {
        *left -= 1;
        for judged in reactor.wake(at, world) {
            let Some(event) = &judged.kept else { continue };
            let (number, tag) = (event.number, event.tag.clone());
            decisions.push(Decision { event: number, tag, at: reactor.now, verdicts: vec![verdict(judged)] });
        }
    }
}

fn verdict(judged: Judged) -> model::Verdict {
    let actions = match &judged.actions {
        Ok(actions) => actions.iter().map(would).collect(),
        Err(cause) => {
            let what = "fill in its templates".to_owned();
            vec![DecisionAction::new(what, None, cause.clone())]
        }
    };
    judged.verdict(actions)
}

fn would(action: &Action) -> DecisionAction {
    DecisionAction::new(action.describe(), None, "not done: a replay")
}

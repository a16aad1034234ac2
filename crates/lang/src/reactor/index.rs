//! Finds the rules that hear a tag, level by level, without asking each of them.

use crate::rules::{After, Rules};
use std::collections::{BTreeMap, HashMap};

/// A rule that hears a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its place among the rules.
    pub(crate) rule: usize,
    /// Which of its filters, a bit each. None of them: only as follows.
    pub(crate) filters: u32,
    /// From now on it expects its own event.
    pub(crate) arms: bool,
    /// From now on it does not.
    pub(crate) disarms: bool,
}

/// Tags that say that a minion is there, and that it is not.
const COMES: [&str; 2] = ["minion/+/start", "minion/+/online"];
const GOES: [&str; 4] = ["minion/+/lost", "minion/+/down", "minion/+/retired", "minion/+/cloned"];

#[derive(Clone, Copy, Debug)]
enum Role {
    Filter(u32),
    Arms,
    Disarms,
}

type Ear = (usize, Role);

#[derive(Debug, Default)]
struct Level {
    exact: HashMap<String, Level>,
    any: Option<Box<Level>>,
    /// `#` stands here.
    rest: Vec<Ear>,
    end: Vec<Ear>,
}

/// All filters of all rules.
#[derive(Debug, Default)]
pub(crate) struct Index {
    root: Level,
    /// Reactions of Salt's hear other tags than ours.
    salt: Vec<usize>,
    /// For each rule, its place in the order of priority.
    rank: Vec<usize>,
}

impl Index {
    pub(crate) fn new(rules: &Rules) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.rules.iter().enumerate() {
            if rule.salt.is_some() {
                index.salt.push(place);
                continue;
            }
            for (bit, filter) in rule.filters.iter().enumerate().take(32) {
                index.root.add(filter, (place, Role::Filter(1 << bit)));
            }
            match rule.clauses.absent.as_ref().map(|it| &it.after) {
                Some(After::Up) => {
                    for filter in COMES {
                        index.root.add(filter, (place, Role::Arms));
                    }
                    for filter in GOES {
                        index.root.add(filter, (place, Role::Disarms));
                    }
                }
                Some(After::Event(filter)) => index.root.add(filter, (place, Role::Arms)),
                Some(After::Itself) | None => {}
            }
        }
        let mut order: Vec<usize> = (0..rules.rules.len()).collect();
        order.sort_by_key(|it| (-rules.rules[*it].clauses.priority, *it));
        index.rank = vec![0; order.len()];
        for (rank, place) in order.into_iter().enumerate() {
            index.rank[place] = rank;
        }
        index
    }

    /// Those that hear a tag, in the order in which they do.
    pub(crate) fn find(&self, rules: &Rules, tag: &str) -> Vec<Found> {
        let mut found: BTreeMap<usize, Found> = BTreeMap::new();
        let mut hear = |(rule, role): Ear| {
            let entry = found.entry(self.rank[rule]);
            let one = entry.or_insert(Found { rule, filters: 0, arms: false, disarms: false });
            match role {
                Role::Filter(bit) => one.filters |= bit,
                Role::Arms => one.arms = true,
                Role::Disarms => one.disarms = true,
            }
        };
        self.root.find(tag.split('/'), &mut hear);
        for place in &self.salt {
            if rules.rules[*place].salt.as_ref().is_some_and(|it| it.may_hear(tag)) {
                hear((*place, Role::Filter(1)));
            }
        }
        found.into_values().collect()
    }
}

impl Level {
    fn add(&mut self, filter: &str, ear: Ear) {
        let mut level = self;
        for part in filter.split('/') {
            level = match part {
                "#" => {
                    level.rest.push(ear);
                    return;
                }
                "+" => level.any.get_or_insert_default(),
                exact => level.exact.entry(exact.to_owned()).or_default(),
            };
        }
        level.end.push(ear);
    }

    /// As deep as the filters go, which are bounded.
    fn find<'a>(&self, mut rest: impl Iterator<Item = &'a str> + Clone, hear: &mut dyn FnMut(Ear)) {
        self.rest.iter().for_each(|it| hear(*it));
        let Some(part) = rest.next() else {
            self.end.iter().for_each(|it| hear(*it));
            return;
        };
        if let Some(level) = self.exact.get(part) {
            level.find(rest.clone(), hear);
        }
        if let Some(level) = &self.any {
            level.find(rest, hear);
        }
    }
}

//! Puts steps in order as Salt 3008 does: by requisites, then by `order:`, then as written. A step before which another
//! one with a lower number waits comes with that number.

use crate::{
    arguments::Order,
    links::Edge,
    low::Low,
    say::{Say, error},
    session::Session,
};
use model::Requisite;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap, HashSet},
};

/// What `last` and numbers below zero are counted from, above the highest number.
const LAST: f64 = 1_000_000.0;
/// What is left between the highest number and what has none.
const GAP: f64 = 100.0;
/// What the second and further names of a block are apart.
const NAME: f64 = 10_000.0;

/// A place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which step.
    pub(crate) step: usize,
    /// Only looked at, to know whether it is going to change something (`prereq`).
    pub(crate) trial: bool,
}

/// Steps in run order; none with a complaint if they wait for each other.
pub(crate) fn sequence(session: &mut Session<'_>, lows: &[Low], edges: &[Edge]) -> Option<Vec<Turn>> {
    let mut graph = Graph::new(lows);
    for edge in edges {
        graph.add(edge);
    }
    let sorted = graph.sorted();
    if sorted.len() == graph.nodes.len() {
        return Some(sorted.into_iter().map(|it| graph.nodes[it]).collect());
    }
    let circle = graph.circle(&sorted);
    circle_complaint(session, lows, &circle);
    None
}

/// Requisites in the order of their weight when numbers are handed on.
fn weight(when: Requisite, any: bool) -> u8 {
    let weight = match when {
        Requisite::Onfail => 0,
        Requisite::OnfailAll => 2,
        Requisite::Require => 3,
        Requisite::Onchanges => 5,
        Requisite::Watch => 7,
        Requisite::Prereq => 9,
        Requisite::Listen => 11,
    };
    weight + u8::from(any)
}
const REQUIRE: u8 = 3;
const PREREQ: u8 = 9;

struct Graph<'a> {
    lows: &'a [Low],
    /// Steps first, then the trials of those that are somebody's `prereq`.
    nodes: Vec<Turn>,
    trials: HashMap<usize, usize>,
    /// From what runs first to what waits for it: each pair once, with its kinds.
    out: Vec<Vec<(usize, Vec<u8>)>>,
    into: Vec<Vec<(usize, u8)>>,
    pairs: HashMap<(usize, usize), usize>,
    /// The numbers, as far as they are known.
    numbers: Vec<Option<f64>>,
    cap: f64,
}

impl<'a> Graph<'a> {
    fn new(lows: &'a [Low]) -> Self {
        let mut cap = 1.0;
        for low in lows {
            if let Order::Number(number) = low.order
                && number > cap - 1.0
                && number > 0.0
                && number.fract() == 0.0
            {
                cap = number + GAP;
            }
        }
        Self {
            lows,
            nodes: (0..lows.len()).map(|step| Turn { step, trial: false }).collect(),
            trials: HashMap::new(),
            out: vec![Vec::new(); lows.len()],
            into: vec![Vec::new(); lows.len()],
            pairs: HashMap::new(),
            numbers: vec![None; lows.len()],
            cap,
        }
    }

    fn edge(&mut self, first: usize, then: usize, kind: u8) {
        let place = *self.pairs.entry((first, then)).or_insert_with(|| {
            self.out[first].push((then, Vec::new()));
            self.out[first].len() - 1
        });
        let kinds = &mut self.out[first][place].1;
        if !kinds.contains(&kind) {
            kinds.push(kind);
            self.into[then].push((first, kind));
        }
    }

    fn add(&mut self, edge: &Edge) {
        match edge.counts_as {
            Requisite::Listen => {}
            Requisite::Prereq => self.prereq(edge.from, edge.to),
            when => {
                let kind = weight(when, edge.any);
                if let Some(trial) = self.trials.get(&edge.from).copied() {
                    self.edge(edge.to, trial, kind);
                }
                self.edge(edge.to, edge.from, kind);
            }
        }
    }

    /// The one that prepares runs after a trial of the other, and before it.
    fn prereq(&mut self, from: usize, to: usize) {
        let trial = self.trials.get(&to).copied().unwrap_or_else(|| {
            let trial = self.nodes.len();
            self.nodes.push(Turn { step: to, trial: true });
            self.out.push(Vec::new());
            self.into.push(Vec::new());
            self.trials.insert(to, trial);
            for (first, kind) in self.into[to].clone() {
                if kind != PREREQ {
                    self.edge(first, trial, kind);
                }
            }
            trial
        });
        self.edge(trial, from, PREREQ);
        self.edge(from, to, REQUIRE);
        if let Some(own) = self.trials.get(&from).copied() {
            self.edge(trial, own, PREREQ);
        }
    }

    /// The number of a step as others see it that wait for it or that it waits for.
    fn number(&mut self, step: usize) -> f64 {
        let number = match (self.numbers[step], self.lows[step].order) {
            (Some(number), _) => return number,
            (None, Order::Number(number)) => number,
            (None, Order::First) => 0.0,
            (None, Order::Last) => self.cap + LAST,
            (None, Order::None) => self.cap,
        };
        self.numbers[step] = Some(number);
        number
    }

    /// What a node is sorted by: its number or the lowest one behind it, and its own number.
    fn key(&mut self, node: usize, named: &mut HashSet<usize>) -> (f64, f64) {
        let step = self.nodes[node].step;
        let mut number = self.number(step);
        if named.insert(step) && self.lows[step].turn_of_name > 0 {
            number += f64::from(self.lows[step].turn_of_name) / NAME;
        }
        if number < 0.0 {
            number += self.cap + LAST;
        }
        self.numbers[step] = Some(number);
        let (mut lowest, mut heaviest) = (f64::INFINITY, 0);
        for place in 0..self.out[node].len() {
            let (then, kinds) = self.out[node][place].clone();
            for kind in kinds {
                let step = self.nodes[then].step;
                if heaviest <= kind {
                    heaviest = kind;
                    // What says nothing hands on nothing.
                    if self.numbers[step].is_some() || self.lows[step].order != Order::None {
                        lowest = lowest.min(self.number(step));
                    }
                }
            }
        }
        (number.min(lowest), number)
    }

    /// All nodes that are not in a circle or behind one.
    fn sorted(&mut self) -> Vec<usize> {
        let labels: Vec<String> =
            self.lows.iter().map(|it| format!("{}{}{}", it.state, it.name, it.fun)).collect();
        let tags: Vec<String> = self.nodes.iter().map(|it| tag(self.lows, *it)).collect();
        let mut waits: Vec<usize> = self.into.iter().map(Vec::len).collect();
        let mut named = HashSet::new();
        let mut heap = BinaryHeap::new();
        let mut sorted = Vec::with_capacity(self.nodes.len());
        let mut ready: Vec<usize> = (0..self.nodes.len()).filter(|it| waits[*it] == 0).collect();
        loop {
            for node in ready.drain(..) {
                let (number, own) = self.key(node, &mut named);
                let label = labels[self.nodes[node].step].as_str();
                heap.push(Reverse(Rank { number, own, label, tag: &tags[node], node }));
            }
            let Some(Reverse(next)) = heap.pop() else { return sorted };
            sorted.push(next.node);
            for (then, kinds) in &self.out[next.node] {
                waits[*then] -= kinds.len();
                if waits[*then] == 0 {
                    ready.push(*then);
                }
            }
        }
    }

    /// Steps that wait for each other, each for the next one.
    fn circle(&self, sorted: &[usize]) -> Vec<usize> {
        let done: HashSet<usize> = sorted.iter().copied().collect();
        let mut path: Vec<usize> = Vec::new();
        let mut at: HashMap<usize, usize> = HashMap::new();
        let mut node = (0..self.nodes.len()).find(|it| !done.contains(it));
        while let Some(here) = node {
            if let Some(start) = at.get(&here) {
                let mut circle: Vec<usize> = path[*start..].iter().map(|it| self.nodes[*it].step).collect();
                circle.dedup();
                return circle;
            }
            at.insert(here, path.len());
            path.push(here);
            node = self.into[here].iter().map(|it| it.0).find(|it| !done.contains(it));
        }
        Vec::new()
    }
}

/// What Salt knows a step by: decides where nothing else does.
fn tag(lows: &[Low], turn: Turn) -> String {
    let low = &lows[turn.step];
    let trial = if turn.trial { "_|-__prereq_test__" } else { "" };
    format!("{}_|-{}_|-{}_|-{}{trial}", low.state, low.id, low.name, low.fun)
}

/// A node among those that could run next.
struct Rank<'a> {
    number: f64,
    own: f64,
    label: &'a str,
    tag: &'a str,
    node: usize,
}

impl Ord for Rank<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number
            .total_cmp(&other.number)
            .then_with(|| self.own.total_cmp(&other.own))
            .then_with(|| self.label.cmp(other.label))
            .then_with(|| self.tag.cmp(other.tag))
            .then_with(|| self.node.cmp(&other.node))
    }
}
impl PartialOrd for Rank<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Rank<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Rank<'_> {}

/// Steps of a circle that are named; a longer one is cut.
const NAMED: usize = 12;

fn circle_complaint(session: &mut Session<'_>, lows: &[Low], circle: &[usize]) {
    let Some(first) = circle.first() else { return };
    let name = |it: usize| format!("{}: {}", lows[it].state, lows[it].id);
    let mut names: Vec<String> = circle.iter().take(NAMED).map(|it| name(*it)).collect();
    if circle.len() > NAMED {
        names.push("…".to_owned());
    }
    names.push(name(*first));
    let mut complaint = error("E0115", format!("these wait for each other: {}", names.join(" → ")));
    for (index, it) in circle.iter().take(NAMED).enumerate() {
        let label = if index == 0 { "waits for the next" } else { "and so on" };
        complaint = complaint.at(lows[*it].file.rendered.span(lows[*it].at, label));
    }
    session.complaints.push(complaint.help("remove one of these requisites"));
}

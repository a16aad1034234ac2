//! The process of a swarm. It says numbers, a line each, and takes orders from standard input until that ends:
//!
//! - first, when all were welcomed: microseconds until all were members;
//! - `hold`: jobs that are begun do not end; says how many when all minions are at one;
//! - `release MS`: they end at random within so long; says when the first result was said and when the last one was on
//!   the master's disk, in microseconds since 1970, once each minion's is;
//! - `watch`: says when the last one was back, in microseconds since 1970, once all were lost and came back;
//! - `events N`: each minion keeps so many on their way; `count`: says how many the master has on disk, and now;
//! - `react MS`: each minion says an event that a rule answers, every so many milliseconds; `reacted`: says how often a
//!   job was not offered before the next event was due, and for all others the microseconds from event to offer;
//! - `words MS...`: for each minion, by what the master last heard of it, how many milliseconds before that it had said
//!   something; a time of 0 is left out.

use crate::pace::raise_descriptors;
use anyhow::Context;
use std::{
    io::BufRead,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tests::swarm::{LastWords, Life, Milestone, Orders, SwarmSettings, Ways, read_seed, start_as};
use tokio::sync::{mpsc, watch};

/// Orders that wait.
const ORDERS_MAX: usize = 16;
/// Reactions whose times are kept until they are asked for.
const OFFERED_MAX: usize = 1_000_000;

/// The whole life of the process.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    raise_descriptors();
    bus::tls::install_provider();
    match live(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn live(arguments: &[String]) -> anyhow::Result<()> {
    let [addresses, at_once, minions, seeds @ ..] = arguments else {
        anyhow::bail!("usage: bench swarm ADDRESSES AT_ONCE COUNT (SEED PREFIX)...");
    };
    let (addresses, at_once, minions) = (addresses.parse()?, at_once.parse::<usize>()?, minions.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (order, orders) = watch::channel(Orders::default());
        let ways = Ways { addresses, orders, ..Ways::default() };
        let groups = seeds.len() / 2;
        let (told, milestones) = mpsc::unbounded_channel();
        let mut words = Vec::new();
        for (group, pair) in seeds.chunks_exact(2).enumerate() {
            let settings = SwarmSettings {
                seed: read_seed(Path::new(&pair[0]))?,
                prefix: pair[1].clone(),
                minions: share(minions, groups, group),
                at_once: share(at_once, groups, group).max(1),
                folder: Path::new(&pair[0]).parent().unwrap_or(Path::new(".")).to_owned(),
            };
            let Life { mut milestones, words: theirs } = start_as(settings, &ways)?;
            words.push(theirs);
            let told = told.clone();
            tokio::spawn(async move {
                while let Some(milestone) = milestones.recv().await {
                    let _ = told.send(milestone);
                }
            });
        }
        Tally::new(minions, order, words).run(milestones, read_orders()).await
    })
}

/// What one of several gets of a number.
pub(super) fn share(all: usize, groups: usize, group: usize) -> usize {
    all / groups + usize::from(group < all % groups)
}

/// The lines of standard input; the channel closes with it.
fn read_orders() -> mpsc::Receiver<String> {
    let (say, lines) = mpsc::channel(ORDERS_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if say.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What was counted so far.
struct Tally {
    minions: usize,
    order: watch::Sender<Orders>,
    words: Vec<Arc<Vec<LastWords>>>,
    begin: Instant,
    enrolled_us: u128,
    welcomed: usize,
    began: usize,
    /// Results are waited for since `hold`.
    held: bool,
    taken: usize,
    first_said_us: Option<u64>,
    /// Since `watch`: lost, and back of these.
    lost: (usize, usize),
    events: u64,
    overdue: u64,
    offered_us: Vec<u64>,
}

impl Tally {
    fn new(minions: usize, order: watch::Sender<Orders>, words: Vec<Arc<Vec<LastWords>>>) -> Self {
        Self {
            minions,
            order,
            words,
            begin: Instant::now(),
            enrolled_us: 0,
            welcomed: 0,
            began: 0,
            held: false,
            taken: 0,
            first_said_us: None,
            lost: (0, 0),
            events: 0,
            overdue: 0,
            offered_us: Vec::new(),
        }
    }

    async fn run(
        mut self,
        mut milestones: mpsc::UnboundedReceiver<Milestone>,
        mut orders: mpsc::Receiver<String>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                milestone = milestones.recv() => self.count(milestone.context("the swarm has ended")?),
                order = orders.recv() => match order {
                    Some(order) => self.obey(&order)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn count(&mut self, milestone: Milestone) {
        match milestone {
            Milestone::Enrolled => {
                self.enrolled_us = self.begin.elapsed().as_micros();
            }
            Milestone::Welcomed => {
                self.welcomed += 1;
                if self.welcomed == self.minions {
                    println!("{}", self.enrolled_us);
                }
            }
            Milestone::Lost => self.lost.0 += 1,
            Milestone::Back => {
                self.lost.1 += 1;
                // One may be lost twice on its way.
                if self.lost.0 >= self.minions && self.lost.0 == self.lost.1 {
                    println!("{}", now_us());
                }
            }
            Milestone::Began => {
                self.began += 1;
                if self.began == self.minions {
                    println!("{}", self.began);
                }
            }
            Milestone::Said(at) => {
                self.first_said_us.get_or_insert(at);
            }
            Milestone::Taken(count, at) => {
                let before = self.taken;
                self.taken += usize::try_from(count).unwrap_or(0);
                if self.held && before < self.minions && self.taken >= self.minions {
                    println!("{} {at}", self.first_said_us.unwrap_or(at));
                }
            }
            Milestone::Events(more) => self.events += more,
            Milestone::Overdue => self.overdue += 1,
            Milestone::Offered(us) if self.offered_us.len() < OFFERED_MAX => self.offered_us.push(us),
            Milestone::Offered(_) => {}
        }
    }

    fn obey(&mut self, order: &str) -> anyhow::Result<()> {
        let mut words = order.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>().context(name.to_owned())?;
        let first = numbers.first().copied().unwrap_or(0);
        match name {
            "hold" => {
                (self.began, self.taken, self.first_said_us) = (0, 0, None);
                self.held = true;
                self.order.send_modify(|it| it.hold = true);
            }
            "release" => self.order.send_modify(|it| (it.hold, it.within_ms) = (false, first)),
            "watch" => self.lost = (0, 0),
            "events" => {
                let events = u32::try_from(first)?;
                self.order.send_modify(|it| it.events = events);
            }
            "react" => {
                let react_ms = u32::try_from(first)?;
                self.order.send_modify(|it| it.react_ms = react_ms);
            }
            "reacted" => {
                let overdue = std::mem::take(&mut self.overdue);
                let times = std::mem::take(&mut self.offered_us);
                let all = std::iter::once(overdue).chain(times).map(|it| it.to_string());
                println!("{}", all.collect::<Vec<_>>().join(" "));
            }
            "count" => println!("{} {}", self.events, now_us()),
            "words" => {
                let heard = self.words.iter().flat_map(|it| it.iter()).zip(numbers).filter(|it| it.1 > 0);
                let ways = heard.filter_map(|(words, at)| Some(at - words.until_ms(at)? / 1000));
                println!("{}", ways.map(|it| it.to_string()).collect::<Vec<_>>().join(" "));
            }
            other => anyhow::bail!("`{other}` is no order"),
        }
        Ok(())
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

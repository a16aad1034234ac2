//! Simulation: both real cores with real signatures, journal and clocks, a network and disks that misbehave by a seed, and
//! the promise about jobs as a checker. `./dev sim` runs it.

mod check;
mod dice;
mod disk;
mod links;
mod master_shell;
mod minion_shell;
mod nodes;
mod operators;
mod outside;
mod plan;
mod runs;
mod tables;
mod world;

#[cfg(test)]
mod tests;

use runs::{Runs, Until};
use std::process::ExitCode;
use world::{PLAN, Seed, World};

/// Seeds unless somebody says otherwise.
const SEEDS: u64 = 1_000;

const USAGE: &str = "\
usage: sim [--from SEED] [--seeds N]    runs seeds; ends with `N passed, N failed`
       sim --seed SEED [--plan PLAN]    runs one, and prints its history; an older plan has less in it";

/// What to run.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    One(Seed),
    Many { from: u64, seeds: u64 },
}

fn order(arguments: &[String]) -> Result<Order, String> {
    let (mut one, mut plan, mut from, mut seeds) = (None, PLAN, 0, SEEDS);
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let number = || -> Result<u64, String> {
            let text = rest.clone().next().ok_or_else(|| format!("{name} wants a number\n{USAGE}"))?;
            text.parse().map_err(|_| format!("`{text}` is no number: {name} wants one\n{USAGE}"))
        };
        match name.as_str() {
            "--seed" => one = Some(number()?),
            "--plan" => plan = number()?,
            "--from" => from = number()?,
            "--seeds" => seeds = number()?,
            _ => return Err(format!("`{name}` is not known\n{USAGE}")),
        }
        rest.next();
    }
    Ok(one.map_or(Order::Many { from, seeds }, |number| Order::One(Seed { number, plan })))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs = match order(&arguments) {
        Ok(Order::One(seed)) => tell(seed),
        Ok(Order::Many { from, seeds }) => {
            let seeds: Vec<Seed> = (from..from.saturating_add(seeds)).map(Seed::new).collect();
            let runs = runs::all(&seeds, None, Until::TheEnd);
            for it in &runs.failures {
                println!("seed {}: {}\n  again: ./dev sim --seed {}", it.seed, it.complaint, it.seed);
            }
            println!("{:?}", runs.summary);
            runs
        }
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::from(2);
        }
    };
    println!("{} passed, {} failed", runs.passed, runs.failures.len());
    if runs.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed and prints what happened in it.
fn tell(seed: Seed) -> Runs {
    let mut world = World::with_history(seed);
    let result = world.run();
    for line in world.check.history.iter().flatten() {
        println!("{line}");
    }
    let mut runs = Runs::default();
    match result {
        Ok(summary) => {
            println!("{summary:?}");
            runs.passed = 1;
        }
        Err(complaint) => {
            println!("seed {seed}: {complaint}");
            runs.failures.push(runs::Failure { seed, complaint });
        }
    }
    runs
}

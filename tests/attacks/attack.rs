//! An attack as data, and how groups of them are run: against the programs as they are, and without one defence each.

use crate::{arena::Arena, harm::Watch};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// One row of the list.
pub(crate) struct Attack {
    /// Letter of the group and number.
    pub(crate) id: &'static str,
    /// What makes it fail.
    pub(crate) defence: Defence,
    /// What the attacker does.
    pub(crate) does: &'static str,
    /// What comes of it.
    pub(crate) expected: &'static str,
    /// The line that promises so.
    pub(crate) line: &'static str,
    pub(crate) run: fn(&mut Arena) -> Verdict,
}

/// What is left out to show that an attack would succeed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defence {
    /// This part of `model::broken`.
    Without(&'static str),
    /// Nothing can be left out; the reason. Such an attack is tried and not counted.
    Built(&'static str),
}

/// How an attack went.
pub(crate) struct Verdict {
    pub(crate) succeeded: bool,
    pub(crate) seen: String,
}

/// The attack succeeded if `this` is so.
pub(crate) fn succeeded(this: bool, seen: impl std::fmt::Debug) -> Verdict {
    Verdict { succeeded: this, seen: format!("{seen:?}") }
}

pub(crate) struct Group {
    pub(crate) letter: char,
    pub(crate) name: &'static str,
    /// The function that runs it.
    pub(crate) test: &'static str,
    pub(crate) attacks: &'static [Attack],
    /// What the laboratory has to have.
    pub(crate) arena: fn(Option<&'static str>) -> Arena,
}

/// A row: number, defence, what is done, what comes of it, the line that promises so.
pub(crate) const fn row(
    id: &'static str,
    defence: Defence,
    does: &'static str,
    expected: &'static str,
    line: &'static str,
    run: fn(&mut Arena) -> Verdict,
) -> Attack {
    Attack { id, defence, does, expected, line, run }
}

/// Tells how long something took, if `LABCTL_TIMES` is set.
fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = run();
    if std::env::var_os("LABCTL_TIMES").is_some() {
        eprintln!("{what}: {} ms", begin.elapsed().as_millis());
    }
    result
}

fn attempt(attack: &Attack, arena: &mut Arena) -> Result<Verdict, String> {
    let what = format!("{} {}", attack.id, arena.defence.unwrap_or("-"));
    let tried = timed(&what, || catch_unwind(AssertUnwindSafe(|| (attack.run)(arena))));
    tried.map_err(|_| format!("{}: the attack itself broke", attack.id))
}

/// All attacks of a group against the programs as they are: each fails and leaves no harm.
pub(crate) fn all_fail(group: &Group) {
    let mut arena = timed("lab", || (group.arena)(None));
    let mut watch = timed("watch", || Watch::begin(&mut arena));
    let mut wrong = Vec::new();
    for attack in chosen(group) {
        match attempt(attack, &mut arena) {
            Ok(verdict) if verdict.succeeded => wrong.push(format!(
                "{} succeeded: {} ({}); seen: {}",
                attack.id, attack.does, attack.expected, verdict.seen
            )),
            Ok(_) => {}
            Err(error) => wrong.push(error),
        }
        wrong.extend(
            timed("harm", || watch.harm(&mut arena))
                .into_iter()
                .map(|it| format!("after {}: {it}", attack.id)),
        );
    }
    wrong.extend(timed("leaks", || watch.leaks(&mut arena)));
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), arena.lab.logs());
}

/// Times that an attack may be tried until it succeeds without its defence.
const TRIES: usize = 3;

/// Each attack of a group succeeds against the same programs without its defence.
pub(crate) fn all_succeed_without_their_defence(group: &Group) {
    let mut by_defence: BTreeMap<&'static str, Vec<&Attack>> = BTreeMap::new();
    for attack in chosen(group) {
        if let Defence::Without(name) = attack.defence {
            by_defence.entry(name).or_default().push(attack);
        }
    }
    let mut wrong = Vec::new();
    for (name, attacks) in by_defence {
        let mut arena = timed("lab", || (group.arena)(Some(name)));
        for attack in attacks {
            // What is genuine is made as the programs without the defence make it. A machine that is busy with other
            // things may hide how long something takes, but not again and again.
            let mut tried = Err(String::new());
            for _ in 0..TRIES {
                tried = model::broken::without(Some(name), || attempt(attack, &mut arena));
                if tried.as_ref().is_ok_and(|it| it.succeeded) {
                    break;
                }
            }
            match tried {
                Ok(verdict) if verdict.succeeded => {}
                Ok(verdict) => wrong.push(format!(
                    "{} fails without `{name}` too: {}; seen: {}",
                    attack.id, attack.does, verdict.seen
                )),
                Err(error) => wrong.push(format!("{error} without `{name}`")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those that `LABCTL_ATTACKS` names (`T01,T02`), or all.
fn chosen(group: &Group) -> impl Iterator<Item = &'static Attack> {
    let names = std::env::var("LABCTL_ATTACKS").unwrap_or_default();
    group
        .attacks
        .iter()
        .filter(move |it| names.is_empty() || names.split(',').any(|name| it.id.starts_with(name)))
}

//! Asks before what cannot be undone.

use super::Desk;
use crate::{Outcome, failure::Failure};
use std::io::{BufRead, IsTerminal};

/// Lets through one host, `--yes`, or a person's yes; everything must be typed back if it is all there is.
pub(crate) fn destructive(
    desk: &mut Desk<'_>,
    verb: &str,
    names: &[String],
    everything: bool,
) -> Outcome<()> {
    const NAMED: usize = 3;
    if desk.global.yes || (names.len() <= 1 && !everything) {
        return Ok(());
    }
    let more = if names.len() > NAMED { " …" } else { "" };
    let first = names[..names.len().min(NAMED)].join(" ");
    let what = format!("{verb} {} minions ({first}{more})", names.len());
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("this would {what} and there is no terminal to ask on")).hint("add --yes")
        );
    }
    let question =
        if everything { format!("{what}: type 'all' to go on: ") } else { format!("{what}? [y/N] ") };
    desk.screen.raw_err(&question)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Failure::from)?;
    let answer = answer.trim().to_lowercase();
    let agreed = if everything { answer == "all" } else { answer == "y" || answer == "yes" };
    if agreed { Ok(()) } else { Err(Failure::usage("not done")) }
}

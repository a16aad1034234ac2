//! `labctl minion`: the machines that the master knows.

use super::{Desk, confirm, unexpected};
use crate::{
    Ended, Outcome, complete,
    failure::{Exit, Failure, did_you_mean},
    show,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{
    MinionId, Reply, Request,
    api::{MinionView, TargetList},
};
use std::{ops::ControlFlow, time::Duration};

/// Between two pictures of `-w`.
const REDRAW: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct MinionCommand {
    #[command(subcommand)]
    verb: Option<MinionVerb>,
}

const DRIFT_EXAMPLES: &str = "\
Examples:
  labctl minion drift                  machines whose last plan would change something
  labctl minion drift vm-3             one in full: which states, and since when
  labctl minion drift 'label:role=web'
  labctl target drifted apply          mends them";

#[derive(Debug, Subcommand)]
enum MinionVerb {
    /// Who there is
    #[command(alias = "ls")]
    List {
        /// Only those that match (labctl help targeting)
        #[arg(value_name = "EXPR", add = ArgValueCompleter::new(complete::targets))]
        target: Option<String>,
        /// Show it again and again, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// One in full; -v with its grains
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Its id
        #[arg(add = ArgValueCompleter::new(complete::targets))]
        id: MinionId,
    },
    /// What is not as it should be, as the last looks found it
    #[command(after_help = DRIFT_EXAMPLES)]
    Drift {
        /// Only those that match; one machine is shown in full
        #[arg(value_name = "EXPR", add = ArgValueCompleter::new(complete::targets))]
        target: Option<String>,
    },
    /// Forget machines: their keys are revoked, their jobs interrupted
    #[command(alias = "rm")]
    Remove {
        /// Ids
        #[arg(required = true, add = ArgValueCompleter::new(complete::targets))]
        ids: Vec<MinionId>,
    },
}

impl MinionCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(MinionVerb::List { target: None, watch: false }) {
            MinionVerb::List { target, watch: false } => list(desk, target.as_deref()),
            MinionVerb::List { target, watch: true } => watch(desk, target.as_deref()),
            MinionVerb::Show { id } => show_one(desk, &id),
            MinionVerb::Drift { target } => drift(desk, target.as_deref()),
            MinionVerb::Remove { ids } => remove(desk, &ids),
        }
    }
}

/// Whom an expression matches; nobody is exit 5, with "did you mean" where a name was typed.
pub(crate) fn expand(desk: &mut Desk<'_>, target: &str) -> Outcome<TargetList> {
    match desk.ask(&Request::Expand { target: target.to_owned() }) {
        Ok(Reply::Targets(list)) if list.minions.is_empty() => Err(nobody(desk, target)),
        Ok(Reply::Targets(list)) => Ok(list),
        Ok(other) => Err(unexpected(&other)),
        Err(failure) if failure.exit == Exit::NoMatch => Err(nobody(desk, target)),
        Err(failure) => Err(failure),
    }
}

/// The failure of a target that matches nobody.
pub(crate) fn nobody(desk: &mut Desk<'_>, target: &str) -> Failure {
    let failure = Failure::new(Exit::NoMatch, format!("no minion matches `{target}`"));
    let failure =
        failure.hint("labctl minion list shows who there is; labctl help targeting says how to write it");
    if target.parse::<MinionId>().is_err() {
        return failure;
    }
    match desk.ask(&Request::Minions { target: None }) {
        Ok(Reply::Minions(known)) => {
            failure.maybe_hint(did_you_mean(target, known.iter().map(|it| it.id.as_str())))
        }
        _ => failure,
    }
}

fn minions(desk: &mut Desk<'_>, target: Option<&str>) -> Outcome<Vec<MinionView>> {
    match desk.ask(&Request::Minions { target: target.map(str::to_owned) }) {
        Ok(Reply::Minions(list)) => Ok(list),
        Ok(other) => Err(unexpected(&other)),
        Err(failure) if failure.exit == Exit::NoMatch && target.is_some() => {
            Err(nobody(desk, target.unwrap_or_default()))
        }
        Err(failure) => Err(failure),
    }
}

fn list(desk: &mut Desk<'_>, target: Option<&str>) -> Ended {
    let (views, footer) = match target {
        None => {
            let views = minions(desk, None)?;
            let footer = show::minion::footer(&views, None, &desk.screen.style);
            (views, footer)
        }
        Some(target) => {
            let list = expand(desk, target)?;
            let footer = show::minion::footer(&list.minions, Some((list.of, target)), &desk.screen.style);
            (list.minions, footer)
        }
    };
    let list = show::minion::list(&views, Some(footer), &desk.screen.style);
    desk.screen.list(list)?;
    Ok(Exit::Done)
}

fn watch(desk: &mut Desk<'_>, target: Option<&str>) -> Ended {
    loop {
        let views = minions(desk, target)?;
        desk.screen.style.now = show::time::now();
        let footer = show::minion::footer(&views, None, &desk.screen.style);
        let list = show::minion::list(&views, None, &desk.screen.style);
        if desk.screen.live {
            let text = list.table.render(&desk.screen.shape.clone(), &desk.screen.style)?;
            let rows = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
            let lines = text.lines().chain([&*footer]).take(rows.saturating_sub(1));
            let lines: Vec<String> = lines.map(|it| desk.screen.style.clip(it)).collect();
            desk.screen.draw(&lines)?;
        } else {
            desk.screen.list(list)?;
            desk.screen.flush()?;
        }
        if desk.session()?.pause(REDRAW) == ControlFlow::Break(()) {
            return Ok(Exit::Interrupted);
        }
    }
}

fn show_one(desk: &mut Desk<'_>, id: &MinionId) -> Ended {
    let views = match minions(desk, Some(id.as_str())) {
        Err(failure) if failure.exit == Exit::NoMatch => {
            return Err(Failure {
                exit: Exit::NotFound,
                message: format!("there is no minion `{id}`"),
                ..failure
            });
        }
        views => views?,
    };
    let view = views.into_iter().find(|it| it.id == *id);
    let view = view.ok_or_else(|| Failure::not_found(format!("there is no minion `{id}`")))?;
    let text = show::minion::show(&view, &desk.screen.style);
    desk.screen.thing("Minion", show::json::of(&view), id.as_str(), &text)?;
    Ok(Exit::Done)
}

fn drift(desk: &mut Desk<'_>, target: Option<&str>) -> Ended {
    let reply = match desk.ask(&Request::Drift { target: target.map(str::to_owned) }) {
        Err(failure) if failure.exit == Exit::NoMatch => {
            return Err(nobody(desk, target.unwrap_or_default()));
        }
        reply => reply?,
    };
    let Reply::Drift(views) = reply else { return Err(unexpected(&reply)) };
    if let ([view], Some(_)) = (&views[..], target) {
        let text = show::drift::show(view, &desk.screen.style);
        desk.screen.thing("Drift", show::json::of(view), view.minion.as_str(), &text)?;
    } else {
        let list = show::drift::list(&views, target.is_some(), &desk.screen.style);
        desk.screen.list(list)?;
        if views.is_empty() {
            desk.screen.note("the last looks found nothing; `labctl target '*' plan` looks again")?;
        }
    }
    Ok(Exit::Done)
}

fn remove(desk: &mut Desk<'_>, ids: &[MinionId]) -> Ended {
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    confirm::destructive(desk, "remove", &names, false)?;
    for minion in ids {
        desk.order(&Request::RemoveMinion { minion: minion.clone() })?;
    }
    Ok(Exit::Done)
}

//! `labctl schedule`: what the master does by the clock.

use super::{Desk, unexpected};
use crate::{
    Ended, complete,
    failure::{Exit, Failure},
    show::{self, time},
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{Reply, Request, ScheduleAct};

const EXAMPLES: &str = "\
Examples:
  labctl schedule                                  those in use, with when they are next
  labctl schedule next -n 20                       what comes, soonest first
  labctl schedule run nightly-updates              now, beside its slots
  labctl schedule pause nightly-updates --for 2d   its slots pass; labctl schedule resume ends it before

A schedule is a rule in reactors/ with `schedule:` in place of `on:`. What minions do by the clock by themselves stands in \
their pillar.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScheduleCommand {
    #[command(subcommand)]
    verb: Option<ScheduleVerb>,
}

#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    /// Those in use, with when they are next
    #[command(alias = "ls")]
    List,
    /// One in full, with its next slots
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::schedules))]
        name: String,
    },
    /// What comes next, soonest first
    Next {
        /// Only this one
        #[arg(add = ArgValueCompleter::new(complete::schedules))]
        name: Option<String>,
        /// So many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        limit: u32,
    },
    /// Run it now, beside its slots
    Run {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::schedules))]
        name: String,
    },
    /// Let its slots pass; they are not made up for
    Pause {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::schedules))]
        name: String,
        /// For how long; without it until somebody resumes it
        #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
        for_ms: Option<u64>,
    },
    /// Go on with its next slot
    Resume {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::schedules))]
        name: String,
    },
}

impl ScheduleCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(ScheduleVerb::List) {
            ScheduleVerb::List => {
                let reply = desk.ask(&Request::Schedules)?;
                let Reply::Schedules(schedules) = reply else { return Err(unexpected(&reply)) };
                let list = show::schedule::list(&schedules, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            ScheduleVerb::Show { name } => show_one(desk, &name),
            ScheduleVerb::Next { name, limit } => {
                let reply = desk.ask(&Request::Slots { name, limit })?;
                let Reply::Slots(slots) = reply else { return Err(unexpected(&reply)) };
                let list = show::schedule::slots(&slots, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            ScheduleVerb::Run { name } => desk.order(&Request::Schedule { name, act: ScheduleAct::Run }),
            ScheduleVerb::Pause { name, for_ms } => {
                desk.order(&Request::Schedule { name, act: ScheduleAct::Pause { for_ms } })
            }
            ScheduleVerb::Resume { name } => {
                desk.order(&Request::Schedule { name, act: ScheduleAct::Resume })
            }
        }
    }
}

fn show_one(desk: &mut Desk<'_>, name: &str) -> Ended {
    let reply = desk.ask(&Request::Schedules)?;
    let Reply::Schedules(schedules) = reply else { return Err(unexpected(&reply)) };
    let Some(view) = schedules.iter().find(|it| it.name == name) else {
        let known = schedules.iter().map(|it| it.name.as_str());
        let hint = crate::failure::did_you_mean(name, known);
        return Err(Failure::not_found(format!("there is no schedule `{name}`")).maybe_hint(hint));
    };
    let reply = desk.ask(&Request::Slots { name: Some(name.to_owned()), limit: 5 })?;
    let Reply::Slots(slots) = reply else { return Err(unexpected(&reply)) };
    let text = show::schedule::show(view, &slots, &desk.screen.style);
    let mut value = show::json::of(view);
    value["upcoming"] = show::json::of(&slots);
    desk.screen.thing("Schedule", value, name, &text)?;
    Ok(Exit::Done)
}

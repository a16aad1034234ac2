//! `labctl notify`: who rules tell and which services they call, from the master's `notify.yaml`.

use super::{Desk, unexpected};
use crate::{
    Ended, complete,
    failure::Exit,
    show::{
        List, Tone, json,
        table::{Cell, Column, Table},
    },
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{Reply, Request, api::NotifierView};

const EXAMPLES: &str = "\
Examples:
  labctl notify                    who is told, what waits and what went out
  labctl notify list -o wide       with the line of notify.yaml
  labctl notify test phone";
const TEST_EXAMPLES: &str = "\
Examples:
  labctl notify test phone         what it answers, or why it cannot be reached; exit 1 if it was not told";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NotifyCommand {
    #[command(subcommand)]
    verb: Option<NotifyVerb>,
}

#[derive(Debug, Subcommand)]
enum NotifyVerb {
    /// Those of notify.yaml, with what waits, went out and was given up since the start
    #[command(alias = "ls")]
    List,
    /// Tell one of them now, past quiet hours and rates, and show what it answers
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// Its name in notify.yaml
        #[arg(add = ArgValueCompleter::new(complete::notifiers))]
        name: String,
    },
}

impl NotifyCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(NotifyVerb::List) {
            NotifyVerb::List => {
                let reply = desk.ask(&Request::Notifiers)?;
                let Reply::Notifiers(notifiers) = reply else { return Err(unexpected(&reply)) };
                desk.screen.list(list(&notifiers))?;
                Ok(Exit::Done)
            }
            NotifyVerb::Test { name } => desk.order(&Request::TestNotifier { name }),
        }
    }
}

fn list(notifiers: &[NotifierView]) -> List {
    let mut table = Table::new([
        Column::new("NAME"),
        Column::new("KIND"),
        Column::new("WAITING").right(),
        Column::new("SENT").right(),
        Column::new("GIVEN UP").right(),
        Column::new("QUIET HOURS"),
        Column::new("RATE"),
        Column::new("PLACE").wide(),
    ]);
    for it in notifiers {
        table.row([
            Cell::of(Tone::Strong, it.name.as_str()),
            it.kind.as_str().into(),
            it.waiting.to_string().into(),
            it.sent.to_string().into(),
            it.failed.to_string().into(),
            it.quiet_hours.as_deref().unwrap_or("-").into(),
            it.rate.as_deref().unwrap_or("-").into(),
            it.place.as_str().into(),
        ]);
    }
    List {
        kind: "NotifierList",
        table,
        items: notifiers.iter().map(json::of).collect(),
        names: notifiers.iter().map(|it| it.name.clone()).collect(),
        footer: None,
    }
}

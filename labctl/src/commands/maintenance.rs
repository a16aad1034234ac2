//! `labctl target EXPR maintenance`: machines that are left alone for a while.

use super::{Desk, minion, unexpected};
use crate::{
    Ended,
    failure::{Exit, Failure},
    show::{self, table, time},
};
use clap::{Args, ValueEnum};
use model::{MaintenanceAct, Reply, Request};

const EXAMPLES: &str = "\
Examples:
  labctl target vm-3 maintenance on --for 2h --reason 'new disks'
  labctl target 'label:rack=2' maintenance on          until somebody ends it
  labctl target maintenance maintenance off            all that are in maintenance";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MaintenanceCommand {
    /// On: rules and schedules pass them over; what people ask for is done all the same
    #[arg(value_enum)]
    switch: Switch,
    /// For how long; without it until somebody ends it
    #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
    for_ms: Option<u64>,
    /// Why, for those who see it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl MaintenanceCommand {
    pub(super) fn run(self, desk: &mut Desk<'_>, target: &str) -> Ended {
        if self.switch == Switch::Off && (self.for_ms.is_some() || !self.reason.is_empty()) {
            return Err(Failure::usage("--for and --reason are said when it begins".to_owned()));
        }
        let act = match self.switch {
            Switch::On => MaintenanceAct::On { for_ms: self.for_ms, reason: self.reason },
            Switch::Off => MaintenanceAct::Off,
        };
        let reply = match desk.ask(&Request::Maintain { target: target.to_owned(), act }) {
            Err(failure) if failure.exit == Exit::NoMatch => return Err(minion::nobody(desk, target)),
            reply => reply?,
        };
        let Reply::Minions(views) = reply else { return Err(unexpected(&reply)) };
        let mut list = show::minion::list(&views, None, &desk.screen.style);
        let mut table = table::Table::new(["ID", "MAINTENANCE"].map(table::Column::new));
        for view in &views {
            let said = show::minion::maintenance(view.maintenance.as_ref(), &desk.screen.style);
            table.row([view.id.as_str().into(), said.into()]);
        }
        list.table = table;
        desk.screen.list(list)?;
        Ok(Exit::Done)
    }
}

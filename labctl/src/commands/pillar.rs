//! `labctl pillar`: the data that machines see.

use super::{Desk, target};
use crate::{Ended, complete};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::MinionId;

#[derive(Debug, Args)]
pub(crate) struct PillarCommand {
    #[command(subcommand)]
    verb: PillarVerb,
}

#[derive(Debug, Subcommand)]
enum PillarVerb {
    /// What one machine sees; secrets are masked
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Its id
        #[arg(add = ArgValueCompleter::new(complete::targets))]
        id: MinionId,
        /// Paths, such as web.port
        paths: Vec<String>,
    },
}

impl PillarCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let PillarVerb::Show { id, paths } = self.verb;
        target::pillar(desk, id.as_str(), &paths)
    }
}

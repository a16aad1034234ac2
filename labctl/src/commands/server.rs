//! `labctl master`: the master itself.

use super::{Desk, status, unexpected};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::{json, time},
};
use clap::{Args, Subcommand};
use model::{Reply, Request, api::MasterInfo};

#[derive(Debug, Args)]
pub(crate) struct MasterCommand {
    #[command(subcommand)]
    verb: Option<MasterVerb>,
}

#[derive(Debug, Subcommand)]
enum MasterVerb {
    /// Fleet at a glance: the same as labctl status
    Status,
    /// Its certificate, for --cafile of MQTT clients; with -o json its pin, addresses and ports
    Cert,
    /// Delete ended jobs, events and decisions that are older than the limits
    Gc {
        /// Keep this much instead of what is configured
        #[arg(long, value_name = "D", value_parser = time::parse_duration)]
        keep: Option<u64>,
    },
}

impl MasterCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(MasterVerb::Status) {
            MasterVerb::Status => status::run(desk),
            MasterVerb::Gc { keep } => desk.order(&Request::Gc { keep_ms: keep }),
            MasterVerb::Cert => {
                let info = info(desk)?;
                let pem = format!("{}\n", info.certificate.trim_end());
                desk.screen.thing("Master", json::of(&info), &info.tls_pin, &pem)?;
                Ok(Exit::Done)
            }
        }
    }
}

/// What to know to connect.
pub(crate) fn info(desk: &mut Desk<'_>) -> Outcome<MasterInfo> {
    match desk.ask(&Request::Master)? {
        Reply::Master(info) => Ok(info),
        other => Err(unexpected(&other)),
    }
}

/// A name or address that clients elsewhere can use, if there is one.
pub(crate) fn address(info: &MasterInfo) -> Result<&str, Failure> {
    let local = |it: &&String| matches!(it.as_str(), "localhost" | "127.0.0.1" | "::1");
    let far = info.addresses.iter().find(|it| !local(it));
    far.or(info.addresses.first())
        .map(String::as_str)
        .ok_or_else(|| Failure::new(Exit::Failed, "the master knows no address of its own"))
}

//! `labctl status`, and `labctl` alone.

use super::{Desk, unexpected};
use crate::{Ended, config, failure::Exit, show};
use model::{Reply, Request};

const FIRST_STEPS: &str = "\
labctl has no master to talk to yet.
  on the machine that is to be the master:   labmaster init && labmaster run
  a machine that is to be managed:           labctl key enroll --ids vm-01 > seed.json
                                             and there   labminion run --seed seed.json
  from another machine than the master:      labctl context add lab https://MASTER:8443 --pin PIN --token-file FILE
  then:                                      labctl target '*' ping      labctl help
";

pub(crate) fn run(desk: &mut Desk<'_>) -> Ended {
    let reply = desk.ask(&Request::Status)?;
    let Reply::Status(status) = reply else { return Err(unexpected(&reply)) };
    let place = desk.session()?.place().to_string();
    let text = show::status::status(&status, &place, &desk.screen.style);
    desk.screen.thing("Status", show::json::of(&status), &status.name, &text)?;
    Ok(Exit::Done)
}

pub(crate) fn run_without_command(desk: &mut Desk<'_>) -> Ended {
    let place = config::place(&desk.global)?;
    match place {
        config::Place::Socket(path) if !path.exists() => {
            desk.screen.raw(FIRST_STEPS)?;
            Ok(Exit::Done)
        }
        _ => run(desk),
    }
}

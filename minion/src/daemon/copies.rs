//! At the start: a machine that is a copy of another gives up the identity that came along with the disk.

use super::larder::chain;
use super::{DaemonError, Setup};
use crate::grains;
use crate::home::{Home, HomeError};
use crate::surroundings::{Judgement, judge};
use model::{Grains, Labels, Surroundings, Timestamp, broken};
use tracing::{info, warn};

/// Drops the identity of a copy; notes what else changed.
pub(super) fn look_around(home: &Home, seen: &Surroundings, now: Timestamp) -> Result<(), DaemonError> {
    if home.membership()?.is_none() {
        return Ok(());
    }
    let then = match home.surroundings() {
        Ok(Some(then)) => then,
        Ok(None) => {
            // A member of a release that did not look around.
            keep(home, seen);
            return Ok(());
        }
        Err(failure) => {
            warn!(reason = chain(&failure), "it cannot be told whether this machine is a copy of another");
            if let HomeError::Malformed { .. } = failure {
                keep(home, seen);
            }
            return Ok(());
        }
    };
    match judge(&then, seen) {
        Judgement::Copied(why) if !broken::leaves_out("drop-copied-identity") => {
            let whose = match home.copied_from()? {
                // It was ended while it dropped it: of that identity there may be but a part.
                Some(whose) => whose,
                None => format!("{} ({why})", home.identity()?.public().fingerprint()),
            };
            let kept = home.drop_copied_identity(now.0, &whose)?;
            let kept = kept.display();
            warn!(%why, %kept, "this machine is a copy of another: it drops that one's identity and asks to be a member itself");
        }
        Judgement::Altered(why) => {
            info!(%why, "this machine was altered and stays who it is");
            keep(home, &learnt(then, seen));
        }
        Judgement::Same | Judgement::Copied(_) => {
            if then != *seen {
                keep(home, &learnt(then, seen));
            }
        }
    }
    Ok(())
}

/// A minion whose machine cannot be told from a copy later is better than none.
fn keep(home: &Home, seen: &Surroundings) {
    if let Err(failure) = home.keep_surroundings(seen) {
        warn!(reason = chain(&failure), "what is seen around this machine was not noted");
    }
}

/// What is seen now; what cannot be seen now as it was.
fn learnt(then: Surroundings, seen: &Surroundings) -> Surroundings {
    let newer = |now: &String, then: String| if now.is_empty() { then } else { now.clone() };
    Surroundings {
        machine_id: newer(&seen.machine_id, then.machine_id),
        hardware: newer(&seen.hardware, then.hardware),
        macs: if seen.macs.is_empty() { then.macs } else { seen.macs.clone() },
        is_virtual: seen.is_virtual,
    }
}

/// What an enrolment request says of the machine; of a copy also whose copy it is.
pub(super) fn claims(home: &Home, grains: &Grains, setup: &Setup) -> Result<Labels, DaemonError> {
    let mut claims = grains::claims(grains, &setup.config.machine_root);
    if let Some(whose) = home.copied_from()? {
        claims.insert("copy_of".to_owned(), whose.chars().take(128).collect());
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;

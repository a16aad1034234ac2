//! Finds a master again whose keys were changed while this machine was away: a newer list of masters, over HTTPS, from
//! whoever answers. The organization's signature is what makes a list good, not who hands it over.

use super::larder::chain;
use super::{DaemonError, Trust};
use crate::home::Home;
use bus::masters::TEXT_MAX;
use std::time::Duration;
use tracing::{debug, info, warn};

/// Before the next look, if there was no newer list.
pub(super) const AGAIN: Duration = Duration::from_secs(30);

/// Asks all addresses in turn; whether a newer list is in use now.
pub(super) async fn newer_masters(home: &Home, trust: Option<Trust>) -> Result<bool, DaemonError> {
    let Some(trust) = trust else { return Ok(false) };
    warn!("who answers has a key that this machine does not trust: looking for a newer list of masters");
    let tls = bus::tls::anybody_config();
    for address in trust.https() {
        let text = match bus::http::text(&address, tls.clone(), "/masters.json", TEXT_MAX).await {
            Ok(text) => text,
            Err(failure) => {
                debug!(address, err = chain(&failure), "no list of masters here");
                continue;
            }
        };
        match trust.masters.newer(&text, &trust.org) {
            Ok(Some(newer)) => {
                home.keep_masters(&text)?;
                info!(address, version = newer.version, "a newer list of masters is in use");
                return Ok(true);
            }
            Ok(None) => debug!(address, "the same list of masters"),
            Err(failure) => warn!(address, reason = chain(&failure), "a list of masters was refused"),
        }
    }
    Ok(false)
}

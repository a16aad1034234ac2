//! What the minion does by itself: taken from the master, kept on disk, put to work; after a start the same, with no
//! master there.

use super::Agent;
use crate::core::{Input, NEVER, Scheduled, what};
use crate::daemon::DaemonError;
use crate::daemon::larder::chain;
use crate::home::Home;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::message::{Offer, SealedRecipe};
use bus::{Identity, seal};
use model::conduct::CONDUCT_BYTES_MAX;
use model::{BeaconOrder, Conduct, ContentHash, MinionId, ScheduleOrder, SecretBytes};
use serde_json::Value;
use tracing::{info, warn};

/// Longest sealed text: base64 makes it a third longer.
const SEALED_MAX: usize = CONDUCT_BYTES_MAX * 2;

/// Opens what was sealed for this minion; nothing else, and nothing of another hash, counts.
pub(super) fn open(
    sealed: &str,
    hash: Option<ContentHash>,
    id: &MinionId,
    identity: &Identity,
) -> Result<(Conduct, ContentHash), &'static str> {
    let bytes = Some(sealed).filter(|it| it.len() <= SEALED_MAX).ok_or("it is too large")?;
    let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| "it is no base64url")?;
    let plain = seal::open(&bytes, identity, &seal::conduct_context(id)).map(SecretBytes::from);
    let plain = plain.ok_or("it was not sealed for this minion")?;
    let found = bus::seed::sha256(&plain);
    if hash.is_some_and(|hash| hash != found) {
        return Err("it has another hash than was said");
    }
    let conduct = serde_json::from_slice(&plain).map_err(|_| "it is in no form that this release reads")?;
    Ok((conduct, found))
}

/// What is on disk, from the last time. What cannot be read or opened any more is not known: the master says it again.
pub(super) fn kept(
    home: &Home,
    id: &MinionId,
    identity: &Identity,
) -> Option<(Conduct, Option<ContentHash>)> {
    let read = match home.conduct() {
        Ok(None) => return Some((Conduct::default(), None)),
        Ok(Some(sealed)) => open(&sealed, None, id, identity).map_err(str::to_owned),
        Err(failure) => Err(chain(&failure)),
    };
    match read {
        Ok((conduct, hash)) => Some((conduct, Some(hash))),
        Err(reason) => {
            warn!(reason, "what this minion did by itself cannot be read: the master says it again");
            None
        }
    }
}

/// Beacons, what is done by the clock unless that is not known, and the hash.
pub(super) fn parts(
    kept: Option<(Conduct, Option<ContentHash>)>,
) -> (Vec<BeaconOrder>, Option<Vec<ScheduleOrder>>, Option<ContentHash>) {
    match kept {
        Some((conduct, hash)) => (conduct.beacons, Some(conduct.schedule), hash),
        None => (Vec::new(), None, None),
    }
}

impl Agent<'_> {
    /// Kept first, then put to work: after a restart it is the same.
    pub(super) async fn on_conduct(&mut self, hash: ContentHash, sealed: &str) -> Result<(), DaemonError> {
        let (conduct, hash) = match open(sealed, Some(hash), &self.id, &self.identity) {
            Ok(opened) => opened,
            Err(reason) => {
                warn!(reason, "what this minion should do by itself was refused");
                return Ok(());
            }
        };
        let nothing = conduct.is_empty();
        let kept = self.home.keep_conduct((!nothing).then_some(sealed));
        if let Err(failure) = &kept {
            // It works until the next start, and the hello then says that it has something else.
            warn!(err = %failure, "what this minion does by itself cannot be kept");
        }
        info!(
            beacons = conduct.beacons.len(),
            schedules = conduct.schedule.len(),
            "what this minion does by itself is new"
        );
        self.beacons.want(conduct.beacons);
        self.orders = Some(conduct.schedule);
        let known = (!nothing && kept.is_ok()).then_some(hash);
        Box::pin(self.step(Input::Conduct(known))).await?;
        Box::pin(self.tell_schedules()).await
    }

    /// The core judges when it is time; what is to be done then stays here.
    pub(super) async fn tell_schedules(&mut self) -> Result<(), DaemonError> {
        let Some(orders) = &self.orders else { return Ok(()) };
        let list = orders.iter().map(|it| it.schedule.clone()).collect();
        self.step(Input::Schedules { id: self.id.clone(), list }).await
    }

    /// A slot has come: its recipe becomes an offer of its own, sealed as those of the master are.
    pub(super) async fn on_due(&mut self, mut due: Scheduled) -> Result<(), DaemonError> {
        if let Some(order) = self.orders.iter().flatten().find(|it| it.schedule.name == due.name) {
            due.states.clone_from(&order.states);
            due.offer = match &order.recipe {
                Some(recipe) => Ok(Box::new(self.own_offer(&due, order, &recipe.0))),
                None => Err(order.why.clone()),
            };
        }
        Box::pin(self.step(Input::Scheduled(Box::new(due)))).await
    }

    fn own_offer(&self, due: &Scheduled, order: &ScheduleOrder, recipe: &Value) -> Offer {
        let plain = SecretBytes::from(recipe.to_string().into_bytes());
        let context = seal::recipe_context(&self.id, due.job);
        let sealed = URL_SAFE_NO_PAD.encode(seal::seal(&plain, &self.identity.seal_key(), &context));
        Offer {
            job: due.job,
            mode: order.mode,
            command: false,
            full: order.states.is_empty(),
            expires: NEVER,
            what: what(&due.name),
            recipe: SealedRecipe::Here { sealed },
            confirm_ms: None,
            begun: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_known_and_what_is_not_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let (id, identity) = ("vm-1".parse().unwrap(), Identity::from_secrets([1; 32], [2; 32]));
        assert_eq!(kept(&home, &id, &identity), Some((Conduct::default(), None)));
        std::fs::write(folder.path().join("conduct"), b"\xff\xfe\x00").unwrap();
        assert_eq!(kept(&home, &id, &identity), None, "no text");
        std::fs::write(folder.path().join("conduct"), "no sealed text").unwrap();
        assert_eq!(kept(&home, &id, &identity), None);
        let text = serde_json::to_vec(&Conduct::default()).unwrap();
        let sealed = seal::seal(&SecretBytes::from(text), &identity.seal_key(), &seal::conduct_context(&id));
        home.keep_conduct(Some(&URL_SAFE_NO_PAD.encode(sealed))).unwrap();
        assert!(kept(&home, &id, &identity).is_some_and(|it| it.1.is_some()));
    }
}

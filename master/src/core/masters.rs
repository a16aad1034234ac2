//! The list of masters: which one is in use, who has it, and how a newer one comes in.

use super::{Effect, Master, Ticket, target::refuse};
use bus::PublicKey;
use bus::masters::{MasterEntry, Masters, MastersError};
use bus::message::ToMinion;
use model::{
    Caller, ContentHash, MinionId, Reply,
    api::{ErrorKind, ErrorView, ListedMaster, MastersView},
};
use serde_json::json;

/// Minions that a view names.
const BEHIND_MAX: usize = 100;

/// The list that a minion has, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) version: u64,
    /// A release that does not know of it does not say it.
    pub(crate) hash: Option<ContentHash>,
}

/// The list in use, and what it is judged by.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The organization's key.
    pub org: PublicKey,
    /// The key that this master signs with, as in the list.
    pub sign: String,
    /// Hash of the key that it shows in TLS.
    pub tls: ContentHash,
    /// The signed list.
    pub text: String,
}

/// The same, opened.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    listing: Listing,
    list: Masters,
    hash: Option<ContentHash>,
    /// Another one is being put on disk.
    keeping: bool,
}

impl Listing {
    fn is_own(&self, entry: &MasterEntry) -> bool {
        entry.sign == self.sign && entry.tls == self.tls
    }
}

impl Listed {
    /// Whether a minion has the very same list. One that says only its version is believed to.
    fn is_held(&self, held: Held) -> bool {
        held.version == self.list.version && (held.hash.is_none() || held.hash == self.hash)
    }
}

impl Master {
    /// Tells which list is in use: once, at the start. One that does not open is none.
    pub fn use_masters(&mut self, listing: Listing) {
        let list = Masters::open(&listing.text, &listing.org).ok();
        let hash = Masters::hash(&listing.text);
        self.masters = list.map(|list| Listed { listing, list, hash, keeping: false });
    }

    /// A minion says which list it has; an older one is replaced.
    pub(crate) fn heard_of_masters(&mut self, id: &MinionId, held: Held) {
        if let Some(live) = self.live.get_mut(id) {
            live.masters = Some(held);
        }
        let Some(listed) = &self.masters else { return };
        if held.version < listed.list.version {
            let text = listed.listing.text.clone();
            self.send(id, ToMinion::Masters { text });
        } else if held.version > listed.list.version {
            self.count("minion with a newer list of masters");
        } else if !listed.is_held(held) {
            self.count("minion with another list of masters of this version");
        }
    }

    pub(crate) fn masters_view(&self) -> Result<MastersView, ErrorView> {
        let listed = self.listed()?;
        let version = listed.list.version;
        let held = |id: &MinionId| self.live.get(id).and_then(|it| it.masters);
        let all = || self.book.minions.keys();
        let behind: Vec<&MinionId> =
            all().filter(|id| !held(id).is_some_and(|it| listed.is_held(it))).collect();
        // Those take no list of this version: only a newer one than theirs.
        let stuck = |id: &&MinionId| held(id).filter(|it| it.version >= version);
        let others: Vec<(&MinionId, u64)> =
            behind.iter().filter_map(|id| Some((*id, stuck(id)?.version))).collect();
        let view = |it: &MasterEntry| ListedMaster {
            name: it.name.clone(),
            sign: it.sign.clone(),
            tls: it.tls.to_string(),
            mqtt: it.mqtt.clone(),
            https: it.https.clone(),
            own: listed.listing.is_own(it),
        };
        let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
        Ok(MastersView {
            version,
            masters: listed.list.masters.iter().map(view).collect(),
            known_by: count(self.book.minions.len() - behind.len()),
            behind: count(behind.len()),
            other: count(others.len()),
            other_names: others.iter().take(BEHIND_MAX).map(|it| it.0.clone()).collect(),
            newest: others.iter().map(|it| it.1).fold(version, u64::max),
            behind_names: behind.into_iter().take(BEHIND_MAX).cloned().collect(),
        })
    }

    fn listed(&self) -> Result<&Listed, ErrorView> {
        let none = || {
            refuse(
                ErrorKind::Unavailable,
                "this master has no list of masters".to_owned(),
                Some("labmaster init"),
            )
        };
        self.masters.as_ref().ok_or_else(none)
    }

    /// A newer list: checked here, kept on disk, and only then in use.
    pub(crate) fn install_masters(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        text: String,
    ) -> Result<Option<Reply>, ErrorView> {
        let Some(newer) = self.judge_masters(&text)? else {
            let version = self.listed()?.list.version;
            return Ok(Some(Reply::Done(vec![format!("version {version} is in use already")])));
        };
        if self.masters.as_mut().is_some_and(|it| std::mem::replace(&mut it.keeping, true)) {
            let message = "another list of masters is being put on disk".to_owned();
            return Err(refuse(ErrorKind::Unavailable, message, Some("try again in a moment")));
        }
        self.audit(
            caller,
            format!("install version {} of masters.json", newer.version),
            "accepted".to_owned(),
        );
        self.out.push(Effect::KeepMasters { ticket, text });
        Ok(None)
    }

    /// What to use from now on; none if it is in use.
    fn judge_masters(&self, text: &str) -> Result<Option<Masters>, ErrorView> {
        let listed = self.listed()?;
        let usage = |message: String, hint| refuse(ErrorKind::Usage, message, Some(hint));
        let newer = listed.list.newer(text, &listed.listing.org).map_err(|error| {
            let hint = match error {
                MastersError::BadSignature => {
                    "sign it with the org key: labmaster masters sign --org-key FILE"
                }
                MastersError::Older { .. } => "begin with what is in use: labmaster masters show",
                MastersError::Malformed(_) => "it is what `labmaster masters sign` prints",
            };
            usage(error.to_string(), hint)
        })?;
        let Some(newer) = newer else {
            if text.trim() == listed.listing.text.trim() {
                return Ok(None);
            }
            let message = format!("another list with version {} is in use", listed.list.version);
            return Err(usage(message, "raise `version` and sign it again"));
        };
        if !newer.masters.iter().any(|it| listed.listing.is_own(it)) {
            let message =
                "this master is not in the list with the keys that it uses: minions would refuse it";
            return Err(usage(message.to_owned(), "begin with what is in use: labmaster masters show"));
        }
        Ok(Some(newer))
    }

    /// It is on disk, or cannot be.
    pub(crate) fn masters_kept(&mut self, ticket: Ticket, text: &str, failure: Option<String>) {
        if let Some(listed) = &mut self.masters {
            listed.keeping = false;
        }
        let judged = match failure {
            Some(reason) => Err(refuse(ErrorKind::Unavailable, reason, None)),
            None => self.judge_masters(text),
        };
        let newer = match judged {
            Ok(newer) => newer,
            Err(error) => return self.reply(ticket, Reply::Error(error)),
        };
        let (Some(newer), Some(listed)) = (newer, &mut self.masters) else {
            return self.reply(ticket, Reply::Done(vec!["it is in use already".to_owned()]));
        };
        let version = newer.version;
        listed.list = newer;
        listed.hash = Masters::hash(text);
        text.clone_into(&mut listed.listing.text);
        let ready: Vec<MinionId> = self.live.iter().filter(|it| it.1.ready).map(|it| it.0.clone()).collect();
        for id in &ready {
            self.send(id, ToMinion::Masters { text: text.to_owned() });
        }
        self.emit_master("master/masters".to_owned(), json!({"version": version, "sent": ready.len()}));
        let told =
            format!("version {version} of masters.json is in use and was sent to {} minions", ready.len());
        let newest = self.live.values().filter_map(|it| it.masters).map(|it| it.version).max();
        let warning = newest.filter(|it| *it >= version).map(|newest| {
            format!(
                "warning: minions have another list with version {newest} and will not take this one: \
                 raise `version` above {newest}, sign it again and install it"
            )
        });
        self.reply(ticket, Reply::Done(std::iter::once(told).chain(warning).collect()));
    }
}

#[cfg(test)]
mod tests;

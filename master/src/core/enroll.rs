//! Who becomes a member: tokens, quarantine, conflicts of names.

use super::{Effect, Entry, Master, TokenFault, roster::Live, roster::cut};
use bus::message::{EnrollAnswer, EnrollRequest};
use globset::GlobBuilder;
use ipnet::IpNet;
use model::{
    Fingerprint, Key, KeyStatus, Labels, Minion, MinionId, Presence, Replace, Timestamp, Token, TokenTerms,
    broken, surroundings::tells_apart,
};
use serde_json::json;
use std::net::IpAddr;

/// Keys that wait for a decision.
pub(crate) const PENDING_MAX: usize = 64;
/// Of these from one address.
pub(crate) const PENDING_PER_ADDRESS_MAX: usize = 8;
/// Claims of one key, and characters of each.
const CLAIMS_MAX: usize = 16;
const CLAIM_CHARS_MAX: usize = 128;

/// Between two changes of one waiting key that go to disk.
const CHANGE_MS: u64 = 60_000;

/// How the reason of a key begins that an operator revoked; one that was replaced or removed may come back.
pub(crate) const REVOKED_BY: &str = "revoked by ";

/// What a good token gives.
struct Grant {
    token: Token,
    labels: Labels,
}

impl Master {
    pub(crate) fn enroll(
        &mut self,
        fingerprint: &Fingerprint,
        request: &EnrollRequest,
        terms: Result<Box<TokenTerms>, TokenFault>,
        address: String,
    ) {
        if let Some(key) = self.book.keys.get(fingerprint) {
            let answer = match key.status {
                KeyStatus::Accepted => Some(EnrollAnswer::Accepted { minion: key.minion.clone() }),
                KeyStatus::Rejected => {
                    Some(EnrollAnswer::Rejected { reason: "an operator said no".to_owned() })
                }
                KeyStatus::Revoked => {
                    Some(EnrollAnswer::Rejected { reason: "this key was revoked".to_owned() })
                }
                KeyStatus::Suspended | KeyStatus::Unknown => {
                    Some(EnrollAnswer::Pending { reason: key.reason.clone() })
                }
                KeyStatus::Pending | KeyStatus::Conflict => None,
            };
            if let Some(answer) = answer {
                return self.answer_enroll(fingerprint, answer);
            }
        }
        if self.degraded.is_some() {
            let reason = "the master cannot store anything now; ask again later".to_owned();
            return self.answer_enroll(fingerprint, EnrollAnswer::Pending { reason });
        }
        let mut key = new_key(fingerprint, request, address, self.now);
        if let Some(known) = self.book.keys.get(fingerprint) {
            key.at = known.at;
        }
        let grant = self.judge_token(&key, terms);
        let holder = self.holder_of(&key.minion, fingerprint);
        match (grant, holder) {
            _ if request.minion.as_str() == "localhost" && !broken::leaves_out("localhost-name") => {
                self.quarantine(
                    key,
                    KeyStatus::Pending,
                    "`localhost` is no name: start it with --id".to_owned(),
                );
            }
            (Ok(grant), None) => self.admit(key, grant),
            (Ok(grant), Some(holder)) if self.may_replace(&holder, &key, grant.token.terms.replace) => {
                self.dismiss(&key.minion.clone(), &format!("replaced by {fingerprint}"), Dismissal::Revoked);
                self.admit(key, grant);
            }
            (_, Some(holder)) => {
                self.quarantine(key, KeyStatus::Conflict, format!("name is held by {holder}"));
            }
            (Err(reason), None) => self.quarantine(key, KeyStatus::Pending, reason),
        }
    }

    pub(crate) fn answer_enroll(&mut self, fingerprint: &Fingerprint, answer: EnrollAnswer) {
        self.out.push(Effect::EnrollAnswer { fingerprint: fingerprint.clone(), answer });
    }

    /// Another key that has the name.
    pub(crate) fn holder_of(&self, minion: &MinionId, fingerprint: &Fingerprint) -> Option<Fingerprint> {
        let holder = &self.book.minions.get(minion)?.fingerprint;
        if broken::leaves_out("name-holder") {
            return None;
        }
        (holder != fingerprint).then(|| holder.clone())
    }

    /// Whether a token lets a new key take a name. One that two machines claim is for an operator to give.
    fn may_replace(&self, holder: &Fingerprint, key: &Key, replace: Replace) -> bool {
        let away = matches!(self.presence(&key.minion), Presence::Lost | Presence::Down);
        let away = away || broken::leaves_out("replace-offline-only");
        away && !self.is_suspended(&key.minion)
            && match replace {
                Replace::Never => false,
                Replace::Offline => true,
                Replace::SameHardware => {
                    self.book.keys.get(holder).is_some_and(|old| is_same_hardware(&old.claims, &key.claims))
                        || broken::leaves_out("replace-hardware")
                }
            }
    }

    /// Whether the token lets this key in; if not, why.
    fn judge_token(&self, key: &Key, terms: Result<Box<TokenTerms>, TokenFault>) -> Result<Grant, String> {
        let terms = match terms {
            Ok(terms) => *terms,
            Err(TokenFault::Absent) => return Err("no token".to_owned()),
            Err(TokenFault::Forged) => return Err("token is not one of ours".to_owned()),
        };
        let name = terms.name.clone();
        let known = self.book.tokens.get(&name).cloned();
        let unseen =
            Token { terms: terms.clone(), used_by: Vec::new(), revoked: false, made_by: String::new() };
        let token = known.unwrap_or(unseen);
        if token.terms.image_key != terms.image_key {
            return Err(format!("another token has the name {name}"));
        }
        if token.revoked && !broken::leaves_out("token-revoked") {
            return Err(format!("token {name} was revoked"));
        }
        if self.is_clock_set() && self.now < terms.not_before && !broken::leaves_out("token-begin") {
            return Err(format!("token {name} is not good yet"));
        }
        if self.was_revoked(&key.minion, &name) && !broken::leaves_out("revoked-name") {
            return Err(format!("a key of {} was revoked: labctl key accept lets this one in", key.minion));
        }
        // A clock that is behind proves expiry all the same: it is never earlier than a time that has been.
        if self.now >= terms.expires && !broken::leaves_out("token-expiry") {
            return Err(format!("token {name} has expired"));
        }
        if !id_matches(&terms.ids, &key.minion) && !broken::leaves_out("token-ids") {
            return Err(format!("token {name} is for `{}`", cut(&terms.ids, 128)));
        }
        if !address_matches(&terms.cidr, &key.address) && !broken::leaves_out("token-cidr") {
            return Err(format!("token {name} is not for address {}", key.address));
        }
        let used = token.used_by.contains(&key.fingerprint);
        let limit = usize::try_from(terms.uses).unwrap_or(usize::MAX);
        if !used && token.used_by.len() >= limit && !broken::leaves_out("token-uses") {
            return Err(format!("token {name} is used up"));
        }
        Ok(Grant { labels: terms.labels, token })
    }

    /// Whether an operator revoked a key that this token had let in under this name: the seed may be in wrong hands.
    fn was_revoked(&self, minion: &MinionId, token: &str) -> bool {
        self.book.keys.values().any(|it| {
            it.status == KeyStatus::Revoked
                && it.minion == *minion
                && it.token.as_deref() == Some(token)
                && it.reason.starts_with(REVOKED_BY)
        })
    }

    /// Use of the token, key and minion are on disk before the answer leaves.
    fn admit(&mut self, mut key: Key, grant: Grant) {
        let mut token = grant.token;
        if !token.used_by.contains(&key.fingerprint) {
            token.used_by.push(key.fingerprint.clone());
        }
        key.reason = format!("token {}", token.terms.name);
        key.token = Some(token.terms.name.clone());
        key.labels = grant.labels;
        self.record(Entry::Token(token));
        self.make_member(key);
    }

    /// A key becomes a minion.
    pub(crate) fn make_member(&mut self, mut key: Key) {
        key.status = KeyStatus::Accepted;
        let minion = Minion {
            id: key.minion.clone(),
            fingerprint: key.fingerprint.clone(),
            labels: key.labels.clone(),
            grains: model::Grains::new(),
            grains_hash: None,
            version: String::new(),
            accepted_at: self.now,
            seen_at: self.now,
            boot: None,
            configured_boots: std::collections::BTreeMap::new(),
            last_apply: None,
            address: Some(key.address.clone()),
            sandbox: false,
            retire_after_ms: self.retire_after_ms(&key),
        };
        let (id, fingerprint) = (key.minion.clone(), key.fingerprint.clone());
        self.live.insert(id.clone(), Live::accepted(self.now));
        self.recall_drift_of(&id);
        self.record(Entry::Minion(minion));
        self.record(Entry::EventsTaken(id.clone(), 0));
        self.watch_absence(&id);
        self.answer_enroll(&fingerprint, EnrollAnswer::Accepted { minion: id });
        self.put_key(key, "accepted");
    }

    /// What the token says by which a key comes in.
    fn retire_after_ms(&self, key: &Key) -> Option<u64> {
        self.book.tokens.get(key.token.as_ref()?)?.terms.retire_after_ms
    }

    /// Records a key and tells of it.
    pub(crate) fn put_key(&mut self, key: Key, word: &str) {
        let data = json!({
            "minion": key.minion, "fingerprint": key.fingerprint, "reason": key.reason, "address": key.address,
        });
        let tag = format!("key/{}/{word}", key.minion);
        self.record(Entry::Key(key));
        self.emit_master(tag, data);
    }

    /// Whether a waiting key may be written again: its owner is a stranger, and each time costs a synced transaction.
    fn may_change(&mut self, fingerprint: &Fingerprint) -> bool {
        let now = self.now;
        self.key_changes.retain(|_, at| now.since_ms(*at) < CHANGE_MS);
        let full = self.key_changes.len() >= PENDING_MAX;
        let may = !full && !self.key_changes.contains_key(fingerprint) || broken::leaves_out("key-changes");
        if may {
            self.key_changes.insert(fingerprint.clone(), now);
        } else {
            self.count("change of a waiting key too soon");
        }
        may
    }

    fn quarantine(&mut self, mut key: Key, status: KeyStatus, reason: String) {
        let reason = match key.claims.get("copy_of") {
            Some(whose) => format!("{reason}; a copy of {whose}"),
            None => reason,
        };
        let fingerprint = key.fingerprint.clone();
        let known = self.book.keys.get(&fingerprint);
        let changed =
            known.is_none_or(|it| it.status != status || it.reason != reason || it.minion != key.minion);
        if known.is_none() {
            let waiting = &self.book.waiting_keys;
            let address =
                |it: &&Fingerprint| self.book.keys.get(*it).is_some_and(|it| it.address == key.address);
            let all = waiting.len() >= PENDING_MAX && !broken::leaves_out("pending-max");
            let full = all
                || waiting.iter().filter(address).count() >= PENDING_PER_ADDRESS_MAX
                    && !broken::leaves_out("pending-per-address");
            if full {
                self.count("quarantine is full");
                let reason = "too many keys wait for a decision: `labctl key list`".to_owned();
                return self.answer_enroll(&fingerprint, EnrollAnswer::Pending { reason });
            }
        }
        if changed && (known.is_none() || self.may_change(&fingerprint)) {
            (key.status, key.reason) = (status, reason.clone());
            let word = if status == KeyStatus::Conflict { "conflict" } else { "pending" };
            self.put_key(key, word);
        }
        self.answer_enroll(&fingerprint, EnrollAnswer::Pending { reason });
    }
}

/// Why a member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dismissal {
    Revoked,
    Removed,
    Retired,
}

/// By the serial number of the hardware where the old one had one that means something, else by the network card: an
/// address can be heard by all on the network, so who leaves out the number is not let in by it.
fn is_same_hardware(old: &Labels, new: &Labels) -> bool {
    let serial = |it: &Labels| it.get("product_uuid").filter(|it| tells_apart(it)).cloned();
    let mac = |it: &Labels| it.get("mac").filter(|it| tells_apart(it)).cloned();
    match serial(old) {
        Some(old) => serial(new) == Some(old),
        None => mac(old).is_some_and(|old| mac(new) == Some(old)),
    }
}

fn new_key(fingerprint: &Fingerprint, request: &EnrollRequest, address: String, now: Timestamp) -> Key {
    let claims = request.claims.iter().take(CLAIMS_MAX);
    Key {
        fingerprint: fingerprint.clone(),
        sign: cut(&request.sign, 64),
        seal: cut(&request.seal, 64),
        minion: request.minion.clone(),
        status: KeyStatus::Pending,
        reason: String::new(),
        address,
        at: now,
        labels: Labels::new(),
        claims: claims.map(|(name, it)| (claim(name), claim(it))).collect(),
        token: None,
    }
}

/// A text from a stranger that operators will read: short, and without what terminals obey.
pub(crate) fn claim(text: &str) -> String {
    if broken::leaves_out("claims-cleaned") {
        return text.to_owned();
    }
    cut(text, CLAIM_CHARS_MAX).replace(char::is_control, "\u{fffd}")
}

/// Globs as in targets: `*`, `?`, `[..]`, `{a,b}`.
pub(crate) fn id_matches(glob: &str, id: &MinionId) -> bool {
    let glob = GlobBuilder::new(glob).literal_separator(false).backslash_escape(false).build();
    glob.is_ok_and(|it| it.compile_matcher().is_match(id.as_str()))
}

fn address_matches(nets: &[String], address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return nets.is_empty() };
    let address = address.to_canonical();
    nets.is_empty() || nets.iter().any(|it| it.parse::<IpNet>().is_ok_and(|net| net.contains(&address)))
}

#[cfg(test)]
mod tests;

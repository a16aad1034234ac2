//! What operators decide about keys and members.

use super::{Effect, Entry, Master, enroll::Dismissal, roster::cut, target::refuse};
use bus::message::{EnrollAnswer, ToMinion};
use ipnet::IpNet;
use model::{
    Caller, EnrollTerms, Fingerprint, Key, KeyDecision, KeyStatus, Labels, MinionId, Timestamp, Token,
    TokenTerms,
    api::{ErrorKind, ErrorView},
    broken,
};

/// Longest life of a token.
const TOKEN_MS_MAX: u64 = 90 * 86_400_000;
/// Keys that one token may bring in.
const TOKEN_USES_MAX: u32 = 100_000;
/// Tokens that are remembered.
const TOKENS_MAX: usize = 10_000;
/// Shortest and longest time that an ephemeral machine may be away.
const RETIRE_MS: std::ops::RangeInclusive<u64> = 1_000..=90 * 86_400_000;
/// Nets of one token.
const CIDR_MAX: usize = 64;
/// Labels of one minion, and characters of names and values.
pub(crate) const LABELS_MAX: usize = 64;
const LABEL_CHARS_MAX: usize = 256;

fn usage<T>(message: impl Into<String>) -> Result<T, ErrorView> {
    Err(refuse(ErrorKind::Usage, message.into(), None))
}

/// Whether labels can be kept.
pub(crate) fn check_labels(labels: &Labels) -> Result<(), ErrorView> {
    if labels.len() > LABELS_MAX {
        return usage(format!("a minion has at most {LABELS_MAX} labels"));
    }
    let name =
        |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_./".contains(&it));
    for (key, value) in labels {
        if !name(key) || key.len() > LABEL_CHARS_MAX {
            return usage(format!("`{}` is no name of a label: use letters, digits and -_./", cut(key, 64)));
        }
        if value.chars().count() > LABEL_CHARS_MAX || value.chars().any(char::is_control) {
            return usage(format!(
                "label `{key}` is at most {LABEL_CHARS_MAX} characters, without control characters"
            ));
        }
    }
    Ok(())
}

impl Master {
    /// The keys that a text may mean: those of an id, or whose fingerprint begins with it.
    pub(crate) fn keys_called<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Key> {
        let prefix = text.strip_prefix("SHA256:").unwrap_or(text);
        self.book.keys.values().filter(move |it| {
            let named = it.minion.as_str() == text;
            let begins = prefix.len() >= 4 && it.fingerprint.as_str()["SHA256:".len()..].starts_with(prefix);
            named || begins
        })
    }

    /// The key that a text means: a minion id or the beginning of a fingerprint; of several, the one with `fingerprint`.
    fn find_key(
        &self,
        text: &str,
        fingerprint: Option<&Fingerprint>,
        decision: KeyDecision,
    ) -> Result<Key, ErrorView> {
        let mut all: Vec<&Key> = self.keys_called(text).collect();
        if let Some(exact) = all.iter().copied().find(|it| Some(&it.fingerprint) == fingerprint) {
            all = vec![exact];
        }
        let open: Vec<&&Key> = all.iter().filter(|it| applies(decision, it.status)).collect();
        match (open.as_slice(), all.as_slice()) {
            ([one], _) => Ok((**one).clone()),
            ([], []) => {
                let message = format!("no key is called `{}`", cut(text, 128));
                Err(refuse(ErrorKind::NotFound, message, Some("`labctl key list` shows all")))
            }
            ([], [one, ..]) => {
                let word = status_word(one.status);
                usage(format!("the key of {} is {word} already", one.minion))
            }
            (several, _) => {
                let list: Vec<&str> = several.iter().map(|it| it.fingerprint.as_str()).collect();
                usage(format!("`{}` means several keys: {}", cut(text, 128), list.join(", ")))
            }
        }
    }

    pub(crate) fn decide_key(
        &mut self,
        caller: Caller,
        text: &str,
        fingerprint: Option<&Fingerprint>,
        decision: KeyDecision,
    ) -> Result<Vec<String>, ErrorView> {
        let key = self.find_key(text, fingerprint, decision)?;
        if fingerprint.is_some_and(|it| *it != key.fingerprint) {
            let message = format!("the key of {} has the fingerprint {}", key.minion, key.fingerprint);
            return Err(refuse(ErrorKind::Usage, message, Some("compare it with what the minion prints")));
        }
        let (minion, fingerprint) = (key.minion.clone(), key.fingerprint.clone());
        let what = format!("{decision:?} key {fingerprint} of {minion}").to_lowercase();
        let by = caller.name.clone();
        self.audit(caller, what, "accepted".to_owned());
        match decision {
            KeyDecision::Accept if key.status == KeyStatus::Suspended => {
                self.reinstate(key, &by);
                Ok(vec![format!(
                    "{minion} is served again; should a copy of it still run, both are suspended again"
                )])
            }
            KeyDecision::Accept => {
                if self.holder_of(&minion, &fingerprint).is_some() {
                    self.dismiss(&minion, &format!("replaced by {fingerprint}"), Dismissal::Revoked);
                }
                self.make_member(Key { reason: format!("accepted by {by}"), ..key });
                Ok(vec![format!("{minion} is a member now")])
            }
            KeyDecision::Reject => {
                let reason = format!("rejected by {by}");
                self.put_key(Key { status: KeyStatus::Rejected, reason, ..key }, "rejected");
                let reason = "an operator said no".to_owned();
                self.answer_enroll(&fingerprint, EnrollAnswer::Rejected { reason });
                Ok(vec![format!("the key of {minion} is rejected")])
            }
            KeyDecision::Revoke => {
                self.dismiss(&minion, &format!("{}{by}", super::enroll::REVOKED_BY), Dismissal::Revoked);
                Ok(vec![format!("the key of {minion} is revoked; {minion} is no member any more")])
            }
        }
    }

    /// Nobody joins by this token any more. Who joined by it stays: `key revoke` sends a machine away.
    pub(crate) fn revoke_token(&mut self, caller: Caller, name: &str) -> Result<Vec<String>, ErrorView> {
        let Some(token) = self.book.tokens.get(name).cloned() else {
            let message = format!("no token is called `{}`", cut(name, 128));
            return Err(refuse(ErrorKind::NotFound, message, Some("`labctl key tokens` shows all")));
        };
        if token.revoked {
            return usage(format!("token {name} is revoked already"));
        }
        self.audit(caller, format!("revoke token {name}"), "accepted".to_owned());
        let joined = token.used_by.len();
        self.record(Entry::Token(Token { revoked: true, ..token }));
        Ok(vec![format!("nobody joins by token {name} any more; the {joined} keys that it let in stay")])
    }

    /// A member goes: its key is revoked for good, its jobs end, what was known of it is forgotten.
    pub(crate) fn dismiss(&mut self, id: &MinionId, reason: &str, why: Dismissal) {
        let Some(minion) = self.book.minions.get(id) else { return };
        let key = self.book.keys.get(&minion.fingerprint).cloned();
        let word = match why {
            Dismissal::Revoked => "revoked",
            Dismissal::Removed => "removed",
            Dismissal::Retired => "retired",
        };
        self.interrupt_all(id, &format!("the minion was {word}"));
        self.forget_probes_of(id);
        self.drop_parts(id);
        self.record(Entry::MinionGone(id.clone()));
        self.live.remove(id);
        self.reactor.forget(id);
        self.forget_maintenance(id);
        self.forget_drift(id);
        self.send(id, ToMinion::Removed { reason: word.to_owned() });
        if !broken::leaves_out("close-revoked") {
            self.out.push(Effect::Close { minion: id.clone() });
        }
        self.unpublish(id);
        if let Some(key) = key.filter(|_| why != Dismissal::Retired) {
            self.put_key(Key { status: KeyStatus::Revoked, reason: reason.to_owned(), ..key }, "revoked");
        }
    }

    /// Terms of a new token, checked.
    pub(crate) fn token_terms(&self, terms: EnrollTerms, random: [u8; 16]) -> Result<TokenTerms, ErrorView> {
        let made_up = || {
            format!("seed-{}", &model::JobId(u128::from_be_bytes(random)).to_string()[14..20].to_lowercase())
        };
        let name = terms.name.unwrap_or_else(made_up);
        if !super::access::is_user_name(&name) {
            return usage(format!(
                "`{}` is no name for a token: use a-z, 0-9 and `-`, at most 32",
                cut(&name, 64)
            ));
        }
        if self.book.tokens.contains_key(&name) {
            return usage(format!("a token has the name {name} already"));
        }
        if self.book.tokens.len() >= TOKENS_MAX {
            return usage(format!("{TOKENS_MAX} tokens are known already"));
        }
        let glob = globset::GlobBuilder::new(&terms.ids).backslash_escape(false).build();
        if terms.ids.is_empty() || terms.ids.len() > 1024 || glob.is_err() {
            return usage(format!("`{}` is no glob over minion ids", cut(&terms.ids, 128)));
        }
        if !(1..=TOKEN_USES_MAX).contains(&terms.uses) {
            return usage(format!("a token has 1 to {TOKEN_USES_MAX} uses"));
        }
        if !(1_000..=TOKEN_MS_MAX).contains(&terms.for_ms) {
            return usage("a token is good for 1 s to 90 d");
        }
        if terms.retire_after_ms.is_some_and(|it| !RETIRE_MS.contains(&it)) {
            return usage("an ephemeral machine may be away for 1 s to 90 d");
        }
        if terms.cidr.len() > CIDR_MAX {
            return usage(format!("a token has at most {CIDR_MAX} nets"));
        }
        let mut cidr = Vec::new();
        for net in &terms.cidr {
            let alone = net.parse::<std::net::IpAddr>().map(IpNet::from).ok();
            match net.parse::<IpNet>().ok().or(alone) {
                Some(net) => cidr.push(net.trunc().to_string()),
                None => return usage(format!("`{}` is no net: write 192.168.1.0/24", cut(net, 64))),
            }
        }
        check_labels(&terms.labels)?;
        Ok(TokenTerms {
            name,
            image_key: String::new(),
            ids: terms.ids,
            labels: terms.labels,
            cidr,
            not_before: Timestamp(self.now.0 / 1000 * 1000),
            expires: self.now.plus_ms(terms.for_ms),
            uses: terms.uses,
            replace: terms.replace,
            retire_after_ms: terms.retire_after_ms,
        })
    }
}

fn applies(decision: KeyDecision, status: KeyStatus) -> bool {
    match decision {
        KeyDecision::Accept => {
            matches!(
                status,
                KeyStatus::Pending | KeyStatus::Conflict | KeyStatus::Rejected | KeyStatus::Suspended
            )
        }
        KeyDecision::Reject => matches!(status, KeyStatus::Pending | KeyStatus::Conflict),
        KeyDecision::Revoke => matches!(status, KeyStatus::Accepted | KeyStatus::Suspended),
    }
}

fn status_word(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Pending => "pending",
        KeyStatus::Accepted => "accepted",
        KeyStatus::Rejected => "rejected",
        KeyStatus::Revoked => "revoked",
        KeyStatus::Conflict => "in conflict",
        KeyStatus::Suspended => "suspended",
        KeyStatus::Unknown => "of a status that only a newer release knows, and was so",
    }
}

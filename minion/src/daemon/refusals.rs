//! How often in a row masters refused this minion, and when that is believed: it may cost the identity.

use super::member::End;
use bus::client::{Refusal, is_untrusted, refusal};
use bus::masters::MasterEntry;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Refusals in a row before they are believed.
const REFUSED_MAX: u32 = 3;
/// What was said longer ago than this is no part of the row.
const ROW_MAX: Duration = Duration::from_mins(15);

/// A row of refusals: only a connection that comes about ends it, or time.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    strange: u32,
    banned: u32,
    /// Who took the key for one that is not wanted any more.
    by: BTreeSet<String>,
    untrusted: u32,
}

impl Refusals {
    /// A connection to `address` came to nothing; what follows from it and those before.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        address: &str,
        reason: &str,
        masters: &[MasterEntry],
    ) -> Option<End> {
        self.untrusted += u32::from(is_untrusted(reason));
        if let Some(said) = refusal(reason) {
            if self.since.is_none_or(|it| now - it > ROW_MAX) {
                *self = Self { since: Some(now), untrusted: self.untrusted, ..Self::default() };
            }
            match said {
                Refusal::Subscription => {
                    (self.strange, self.banned) = (self.strange + 1, 0);
                    self.by.clear();
                }
                Refusal::Key => {
                    (self.strange, self.banned) = (0, self.banned + 1);
                    self.by.insert(address.to_owned());
                }
            }
        }
        if self.untrusted >= REFUSED_MAX {
            Some(End::Untrusted)
        } else if self.strange >= REFUSED_MAX {
            Some(End::Unknown)
        } else if self.banned >= REFUSED_MAX && all_refuse(&self.by, masters) {
            Some(End::Removed("the master refuses this key".to_owned()))
        } else {
            None
        }
    }
}

/// Of several masters one may know less than the others: all of them must have refused.
fn all_refuse(by: &BTreeSet<String>, masters: &[MasterEntry]) -> bool {
    masters.iter().all(|master| master.mqtt.iter().any(|it| by.contains(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, Vec<&'a str>, Vec<(u64, &'a str, &'a str)>, Option<End>);

    fn masters(names: &[&str]) -> Vec<MasterEntry> {
        let entry = |name: &&str| MasterEntry {
            name: (*name).to_owned(),
            sign: String::new(),
            tls: model::ContentHash([0; 32]),
            mqtt: vec![format!("{name}:8883"), format!("{name}.lan:8883")],
            https: Vec::new(),
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn refusals_are_believed_that_come_in_a_row_and_a_ban_only_by_all_masters() {
        let removed = || Some(End::Removed("the master refuses this key".to_owned()));
        // As the client says them.
        let (key, strange) = ("the server refused: not authorized", "the server refused a subscription");
        assert!(refusal(key).is_some() && refusal(strange).is_some());
        // Masters of the list; minutes, who answers and what; what comes of the last.
        let cases: Vec<Case<'_>> = vec![
            ("banned", vec!["a"], vec![(0, "a", key), (1, "a", key), (2, "a", key)], removed()),
            ("too few", vec!["a"], vec![(0, "a", key), (1, "a", key)], None),
            ("over an hour", vec!["a"], vec![(0, "a", key), (20, "a", key), (40, "a", key)], None),
            (
                "with losses between",
                vec!["a"],
                vec![(0, "a", key), (1, "a", "lost"), (2, "a", key), (3, "a", key)],
                removed(),
            ),
            ("a standby", vec!["a", "b"], vec![(0, "b", key), (1, "b", key), (2, "b", key)], None),
            ("both", vec!["a", "b"], vec![(0, "b", key), (1, "a", key), (2, "b", key)], removed()),
            (
                "a stranger",
                vec!["a", "b"],
                vec![(0, "b", strange), (1, "b", strange), (2, "b", strange)],
                Some(End::Unknown),
            ),
            (
                "this and that",
                vec!["a"],
                vec![(0, "a", key), (1, "a", strange), (2, "a", key), (3, "a", key)],
                None,
            ),
        ];
        for (case, names, said, expected) in cases {
            let (mut refusals, begin) = (Refusals::default(), Instant::now());
            let mut last = None;
            for (minutes, who, reason) in said {
                assert_eq!(last, None, "{case}");
                let now = begin + Duration::from_mins(minutes);
                last = refusals.heard(now, &format!("{who}.lan:8883"), reason, &masters(&names));
            }
            assert_eq!(last, expected, "{case}");
        }
    }
}

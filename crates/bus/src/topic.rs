//! Where control messages go. The only place that knows the names of control topics; compared level by level.

use model::{Fingerprint, MinionId};
use std::fmt;

/// A control topic, without wildcards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `ctl/<id>/in`: master to that minion.
    In(MinionId),
    /// `ctl/<id>/out`: that minion to the master.
    Out(MinionId),
    /// `ctl/<id>/sample`: that minion's telemetry, unsigned.
    Sample(MinionId),
    /// `enroll/<fingerprint>/in`: master to a key it does not know yet. `/` and `+` of base64 become `_` and `-`.
    EnrollIn(Fingerprint),
    /// `enroll/<fingerprint>/out`: that key to the master.
    EnrollOut(Fingerprint),
}

fn level(fingerprint: &Fingerprint) -> String {
    fingerprint.as_str()["SHA256:".len()..].replace('/', "_").replace('+', "-")
}

fn fingerprint(level: &str) -> Option<Fingerprint> {
    format!("SHA256:{}", level.replace('_', "/").replace('-', "+")).parse().ok()
}

impl Topic {
    /// Reads a topic name; `None` for anything that is not exactly one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = text.split('/');
        let topic = match (levels.next()?, levels.next()?, levels.next()?) {
            ("ctl", id, "in") => Self::In(id.parse().ok()?),
            ("ctl", id, "out") => Self::Out(id.parse().ok()?),
            ("ctl", id, "sample") => Self::Sample(id.parse().ok()?),
            ("enroll", key, "in") => Self::EnrollIn(fingerprint(key)?),
            ("enroll", key, "out") => Self::EnrollOut(fingerprint(key)?),
            _ => return None,
        };
        levels.next().is_none().then_some(topic)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(id) => write!(f, "ctl/{id}/in"),
            Self::Out(id) => write!(f, "ctl/{id}/out"),
            Self::Sample(id) => write!(f, "ctl/{id}/sample"),
            Self::EnrollIn(key) => write!(f, "enroll/{}/in", level(key)),
            Self::EnrollOut(key) => write!(f, "enroll/{}/out", level(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_print_and_parse_to_the_same() {
        let key: Fingerprint = "SHA256:ab+/efghijklmnopqrstuvwxyz0123456789ABCDEFG".parse().unwrap();
        let id: MinionId = "vm-1.lab".parse().unwrap();
        for topic in [
            Topic::In(id.clone()),
            Topic::Out(id.clone()),
            Topic::Sample(id),
            Topic::EnrollIn(key.clone()),
            Topic::EnrollOut(key),
        ] {
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
    }

    #[test]
    fn anything_else_is_no_topic() {
        for text in [
            "",
            "ctl",
            "ctl/vm-1",
            "ctl/vm-1/in/x",
            "ctl//in",
            "ctl/+/in",
            "ctl/VM/in",
            "/ctl/vm-1/in",
            "ctl/vm-1/in/",
        ] {
            assert_eq!(Topic::parse(text), None, "{text}");
        }
    }
}

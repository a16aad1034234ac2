//! The table of `docs/bus.md`: who may subscribe to what and publish where. Everything else is refused.

use bus::{Topic, packet};
use model::{ObserverRole, broken};
use serde_json::{Map, Value};

use super::registry::Peer;

/// Keys of a telemetry sample.
const SAMPLE_KEYS_MAX: usize = 64;
/// Length of its keys and texts.
const SAMPLE_TEXT_MAX: usize = 128;
/// Length of a tag below `lab/in/<user>/`.
const TAG_MAX: usize = 200;
/// Bytes of what an integration publishes.
pub(crate) const INTEGRATION_MAX: usize = 16 * 1024;

/// A part of the public tree. The fan-out is only ever asked for these, because it frees no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Branch {
    /// `lab/#`.
    Lab,
    /// `homeassistant/#`.
    HomeAssistant,
}

impl Branch {
    pub(crate) const ALL: [Self; 2] = [Self::Lab, Self::HomeAssistant];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::HomeAssistant => "homeassistant",
        }
    }
    pub(crate) fn filter(self) -> String {
        format!("{}/#", self.name())
    }
    fn of(topic: &str) -> Option<Self> {
        let first = topic.split('/').next()?;
        Self::ALL.into_iter().find(|it| it.name() == first)
    }
}

/// Where a peer's inbox is: all it may subscribe to.
pub(crate) fn inbox(peer: &Peer) -> Topic {
    match peer {
        Peer::Member(id) => Topic::In(id.clone()),
        Peer::Stranger(key) => Topic::EnrollIn(key.clone()),
    }
}

/// What a peer may publish to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlet {
    /// Signed messages of a member.
    Control,
    /// Telemetry of a member.
    Sample,
    /// Requests of a stranger.
    Enroll,
}

/// What a publish of a peer on `topic` is, if it may.
pub(crate) fn outlet(peer: &Peer, topic: &Topic) -> Option<Outlet> {
    match (peer, topic) {
        (Peer::Member(id), Topic::Out(whose)) if id == whose => Some(Outlet::Control),
        (Peer::Member(id), Topic::Sample(whose)) if id == whose => Some(Outlet::Sample),
        (Peer::Stranger(key), Topic::EnrollOut(whose)) if key == whose => Some(Outlet::Enroll),
        _ => None,
    }
}

/// Whether an observer may subscribe to a filter, and which branches it may then see something of.
/// `#`, `+/...` and `$SYS/...` are taken politely and show what the role may see, which may be nothing.
pub(crate) fn observer_filter(filter: &str) -> Option<Vec<Branch>> {
    match filter.split('/').next()? {
        "#" | "+" => Some(Branch::ALL.to_vec()),
        "$SYS" => Some(Vec::new()),
        _ if broken::leaves_out("observer-filter") => Some(Branch::ALL.to_vec()),
        _ => Branch::of(filter).map(|it| vec![it]),
    }
}

/// Whether an observer may see a topic at all.
pub(crate) fn observer_sees(topic: &str) -> bool {
    Branch::of(topic).is_some()
}

/// The tag of an observer's publish, if its role and name allow it.
pub(crate) fn integration_tag<'a>(role: &ObserverRole, user: &str, topic: &'a str) -> Option<&'a str> {
    if broken::leaves_out("observer-publish") {
        return Some(topic);
    }
    let (whose, tag) = topic.strip_prefix("lab/in/")?.split_once('/')?;
    let good = *role == ObserverRole::Integration
        && whose == user
        && (1..=TAG_MAX).contains(&tag.len())
        && tag.split('/').all(|level| !level.is_empty())
        && !tag.chars().any(char::is_control);
    good.then_some(tag)
}

/// What an integration said: an object, or anything else as `{"value": ...}`.
pub(crate) fn integration_data(payload: &[u8]) -> Option<Map<String, Value>> {
    if payload.len() > INTEGRATION_MAX && !broken::leaves_out("integration-size") {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    Some(match value {
        Value::Object(data) => data,
        value => Map::from_iter([("value".to_owned(), value)]),
    })
}

/// A telemetry sample: a flat object of numbers and short texts.
pub(crate) fn sample(payload: &[u8]) -> Option<Map<String, Value>> {
    if payload.len() > packet::PACKET_MAX_SAMPLE {
        return None;
    }
    let sample: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let flat = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) => true,
        Value::String(text) => text.len() <= SAMPLE_TEXT_MAX,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let good = sample.len() <= SAMPLE_KEYS_MAX
        && sample.iter().all(|(key, value)| (1..=SAMPLE_TEXT_MAX).contains(&key.len()) && flat(value));
    good.then_some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "SHA256:ab+/efghijklmnopqrstuvwxyz0123456789ABCDEFG";
    const OTHER: &str = "SHA256:xb+/efghijklmnopqrstuvwxyz0123456789ABCDEFG";

    #[test]
    fn a_peer_may_publish_to_its_own_topics_and_nothing_else() {
        let member = Peer::Member("m1".parse().unwrap());
        let stranger = Peer::Stranger(KEY.parse().unwrap());
        let own_key = Topic::EnrollOut(KEY.parse().unwrap()).to_string();
        let other_key = Topic::EnrollOut(OTHER.parse().unwrap()).to_string();
        let cases = [
            ("ctl/m1/out", Some(Outlet::Control), None),
            ("ctl/m1/sample", Some(Outlet::Sample), None),
            (own_key.as_str(), None, Some(Outlet::Enroll)),
            (other_key.as_str(), None, None),
            ("ctl/m10/out", None, None),
            ("ctl/m/out", None, None),
            ("ctl/m1/in", None, None),
            ("ctl/m1/out/x", None, None),
            ("lab/minion/m1/state", None, None),
            ("lab/in/m1/x", None, None),
            ("$SYS/x", None, None),
        ];
        for (topic, of_member, of_stranger) in cases {
            let of = |peer| Topic::parse(topic).and_then(|it| outlet(peer, &it));
            assert_eq!((of(&member), of(&stranger)), (of_member, of_stranger), "{topic}");
        }
    }

    #[test]
    fn observers_subscribe_to_the_public_tree_only() {
        for (filter, wanted) in [
            ("lab/#", Some(1)),
            ("lab/minion/+/state", Some(1)),
            ("homeassistant/#", Some(1)),
            ("#", Some(2)),
            ("+/minion/#", Some(2)),
            ("$SYS/#", Some(0)),
            ("ctl/#", None),
            ("ctl/m1/in", None),
            ("enroll/#", None),
            ("$share/g/lab/#", None),
            ("labs/#", None),
            ("/lab/#", None),
            ("$other/#", None),
        ] {
            assert_eq!(observer_filter(filter).map(|it| it.len()), wanted, "{filter}");
        }
        assert!(!observer_sees("ctl/m1/in") && !observer_sees("laboratory") && observer_sees("lab/README"));
    }

    #[test]
    fn an_integration_writes_below_its_own_name_only() {
        let own = |role: ObserverRole, topic| integration_tag(&role, "hass", topic);
        assert_eq!(own(ObserverRole::Integration, "lab/in/hass/door/open"), Some("door/open"));
        for topic in [
            "lab/in/hass",
            "lab/in/hass/",
            "lab/in/hassle/x",
            "lab/in/other/x",
            "lab/in/hass//x",
            "lab/x",
            "ctl/m1/in",
            "lab/command/m1",
            "lab/in/hass/a\nb",
        ] {
            assert_eq!(own(ObserverRole::Integration, topic), None, "{topic}");
        }
        assert_eq!(own(ObserverRole::Viewer, "lab/in/hass/door"), None);
        assert_eq!(own(ObserverRole::Operator, "lab/in/hass/door"), None);
    }

    #[test]
    fn samples_are_flat_and_small() {
        assert!(sample(br#"{"cpu":1.5,"last":"ok","up":true}"#).is_some());
        let many: Map<String, Value> = (0..65).map(|it| (format!("k{it}"), it.into())).collect();
        let many = serde_json::to_string(&many).unwrap();
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(129));
        for bad in ["[]", "1", "", r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"a":null}"#, r#"{"":1}"#, &many, &long]
        {
            assert!(sample(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_object_becomes_a_value() {
        let data = |text: &str| integration_data(text.as_bytes()).map(|it| Value::Object(it).to_string());
        assert_eq!(data(r#"{"a":1}"#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(data("21.5").as_deref(), Some(r#"{"value":21.5}"#));
        assert_eq!(data("on").as_deref(), Some(r#"{"value":"on"}"#));
        assert_eq!(integration_data(b"\xff"), None);
        assert_eq!(integration_data(&vec![b' '; INTEGRATION_MAX + 1]), None);
    }
}

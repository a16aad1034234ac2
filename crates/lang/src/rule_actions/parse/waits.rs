//! Reads what waits, wakes and switches: `wait_for`, `wake`, `power`.

use super::Given;
use crate::{
    condition::Condition,
    rule_actions::{ActionTemplate, PowerSet, WAIT_MS, WAIT_MS_MAX, WaitTemplate, fill::plain_shape},
    rule_files::{Draft, NAME_BYTES, Reader, moved},
    yaml::Node,
};

impl Reader {
    pub(super) fn wait_for(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let timeout_ms =
            given.get("timeout").map_or(Some(WAIT_MS), |it| self.span(draft, "timeout", it, WAIT_MS_MAX));
        let has = |name: &str| given.get(name).is_some();
        let what = match (has("event"), has("minion") || has("presence"), has("job")) {
            (true, false, false) => self.wait_event(draft, given)?,
            (false, true, false) => {
                let id = self.needed(draft, given, "minion", "`minion: \"{{minion}}\"`")?;
                let up = match given.get("presence").and_then(Node::text) {
                    Some("up") => true,
                    Some("down") => false,
                    _ => {
                        let message = "`wait_for` with `minion` needs `presence: up` or `down`";
                        self.say(&file, given.action.at, "E0501", message, None);
                        return None;
                    }
                };
                WaitTemplate::Presence(id, up)
            }
            (false, false, true) => {
                if given.get("job").and_then(Node::text) != Some("last") {
                    self.say(&file, given.action.at, "E0503", "`job` takes `last`", None);
                }
                WaitTemplate::Job
            }
            _ => {
                let message = "`wait_for` takes one of `event`, `minion` with `presence`, and `job: last`";
                self.say(&file, given.action.at, "E0501", message, None);
                return None;
            }
        };
        Some(ActionTemplate::Wait { what, timeout_ms: timeout_ms? })
    }

    fn wait_event(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<WaitTemplate> {
        let filter = self.needed(draft, given, "event", "`event: \"minion/{{minion}}/start\"`")?;
        let node = given.get("event")?;
        let plain = plain_shape(&filter);
        let levels: Vec<&str> = plain.split('/').collect();
        let good = |(index, level): (usize, &&str)| match *level {
            "#" => index + 1 == levels.len(),
            "+" => true,
            other => !other.is_empty() && !other.contains(['+', '#']),
        };
        if filter.len() > 2 * NAME_BYTES || !levels.iter().enumerate().all(good) {
            let message = format!("`{filter}` is not a filter over event tags");
            self.say(&draft.file, node.at, "E0504", message, None);
        }
        let when = self.word(draft, given, "when");
        if let (Some(text), Some(node)) = (&when, given.get("when"))
            && let Err(complaint) = Condition::parse(text, &draft.file.source.path)
        {
            self.complaints.push(moved(*complaint, &draft.file, node, text));
        }
        Some(WaitTemplate::Event(filter, when))
    }

    pub(super) fn wake(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let macs = given.get("mac").map(|it| self.texts(draft, "mac", it)).unwrap_or_default();
        if let Some(wrong) = macs.iter().find(|it| parse_mac(it).is_none()) {
            let message = format!("`{wrong}` is no address of a network card such as 52:54:00:12:34:56");
            self.say(&file, given.get("mac").map_or(given.action.at, |it| it.at), "E0503", message, None);
        }
        let target = match given.get("target") {
            None if !macs.is_empty() => None,
            node => Some(self.target(draft, given.action, node)?),
        };
        let via = given.get("via").and_then(|it| self.text(draft, it));
        Some(ActionTemplate::Wake { target, macs, via })
    }

    pub(super) fn power(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let target = self.target(draft, given.action, given.get("target"));
        let set = match given.get("set").and_then(Node::text) {
            Some("on") => Some(PowerSet::On),
            Some("off") => Some(PowerSet::Off),
            Some("cycle") => Some(PowerSet::Cycle),
            _ => {
                let at = given.get("set").map_or(given.action.at, |it| it.at);
                self.say(&file, at, "E0501", "`power` needs `set`: on, off or cycle", None);
                None
            }
        };
        let by = self.needed(draft, given, "by", "the name of a switch in notify.yaml");
        let wait_ms = given.get("wait").and_then(|it| self.span(draft, "wait", it, WAIT_MS_MAX));
        Some(ActionTemplate::Power { target: target?, set: set?, by: by?, wait_ms })
    }
}

/// The six bytes of `52:54:00:12:34:56`.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|it| it.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

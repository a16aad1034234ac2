//! What actions are called, and what they do in one line for people.

use super::{ActionTemplate, TargetTemplate, WaitTemplate};

impl TargetTemplate {
    /// As written.
    pub fn text(&self) -> &str {
        match self {
            Self::Ids(text) | Self::Expression(text, _) => text,
        }
    }
}

impl ActionTemplate {
    /// Its key in a rule.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apply { check: false, .. } => "apply",
            Self::Apply { check: true, .. } => "plan",
            Self::Run { .. } => "run",
            Self::Reboot { .. } => "reboot",
            Self::Event { .. } => "event",
            Self::Label { .. } => "label",
            Self::Key { .. } => "key",
            Self::Notify(_) => "notify",
            Self::Http(_) => "http",
            Self::Wait { .. } => "wait_for",
            Self::Wake { .. } => "wake",
            Self::Power { .. } => "power",
        }
    }
    /// What it does, for people.
    pub fn describe(&self) -> String {
        let name = self.name();
        match self {
            Self::Apply { target, states, .. } if states.is_empty() => {
                format!("{name} (top) on {}", target.text())
            }
            Self::Apply { target, states, .. } => {
                format!("{name} {} on {}", states.join(", "), target.text())
            }
            Self::Run { target, command, .. } => {
                format!("run `{}` on {}", command.join(" "), target.text())
            }
            Self::Reboot { target, .. } => format!("reboot {}", target.text()),
            Self::Event { tag, .. } => format!("event {tag}"),
            Self::Label { target, set, remove } => {
                let set = set.iter().map(|(name, value)| format!("{name}={value}"));
                let words: Vec<String> = set.chain(remove.iter().map(|it| format!("{it}-"))).collect();
                format!("label {} on {}", words.join(" "), target.text())
            }
            Self::Key { act, id, .. } => format!("{} the key of {id}", format!("{act:?}").to_lowercase()),
            Self::Notify(it) => format!("notify {}", it.to.join(", ")),
            Self::Http(it) => format!("{} {}", it.method, it.to.as_deref().unwrap_or(&it.url)),
            Self::Wait { what: WaitTemplate::Event(filter, _), .. } => format!("wait for {filter}"),
            Self::Wait { what: WaitTemplate::Presence(minion, up), .. } => {
                format!("wait until {minion} is {}", if *up { "up" } else { "down" })
            }
            Self::Wait { what: WaitTemplate::Job, .. } => "wait for the last job".to_owned(),
            Self::Wake { target, macs, .. } => {
                let whom = target.as_ref().map_or_else(|| macs.join(", "), |it| it.text().to_owned());
                format!("wake {whom}")
            }
            Self::Power { target, set, by, .. } => format!("power {} {} by {by}", set.word(), target.text()),
        }
    }
}

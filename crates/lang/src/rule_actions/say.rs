//! What filled-in actions do, for people.

use super::{Action, ResolvedTarget, Wait};
use crate::say::shortened;
use model::MinionId;

impl ResolvedTarget {
    /// As an expression.
    pub fn text(&self) -> String {
        match self {
            Self::Ids(ids) => ids.iter().map(MinionId::as_str).collect::<Vec<_>>().join(","),
            Self::Expression(text, _) => text.clone(),
        }
    }
}

impl Action {
    /// What it does, in a line.
    pub fn describe(&self) -> String {
        let text = match self {
            Self::Apply { target, states, check, .. } => {
                let verb = if *check { "plan" } else { "apply" };
                let states = if states.is_empty() { "(top)".to_owned() } else { states.join(", ") };
                format!("{verb} {states} on {}", target.text())
            }
            Self::Run { target, command, .. } => format!("run `{}` on {}", command.join(" "), target.text()),
            Self::Reboot { target, .. } => format!("reboot {}", target.text()),
            Self::Event { tag, .. } => format!("event {tag}"),
            Self::Label { target, set, remove } => {
                let set = set.iter().map(|(name, value)| format!("{name}={value}"));
                let words: Vec<String> = set.chain(remove.iter().map(|it| format!("{it}-"))).collect();
                format!("label {} on {}", words.join(" "), target.text())
            }
            Self::Key { act, minion, .. } => {
                format!("{} the key of {minion}", format!("{act:?}").to_lowercase())
            }
            Self::Notify { to, notice } => {
                let words = if notice.title.is_empty() { &notice.message } else { &notice.title };
                format!("notify {} \"{words}\"", to.join(", "))
            }
            Self::Http(wish) => format!("{} {}", wish.method, wish.to.as_deref().unwrap_or(&wish.url)),
            Self::Wait { what, .. } => match what {
                Wait::Event(filter, _) => format!("wait for {filter}"),
                Wait::Presence(minion, up) => {
                    format!("wait until {minion} is {}", if *up { "up" } else { "down" })
                }
                Wait::Job => "wait for the last job".to_owned(),
            },
            Self::Wake { target, macs, .. } => {
                let whom = target.as_ref().map_or_else(|| macs.join(", "), ResolvedTarget::text);
                format!("wake {whom}")
            }
            Self::Power { target, set, by, .. } => format!("power {} {} by {by}", set.word(), target.text()),
        };
        shortened(&text)
    }
}

//! Reads what a rule does with keys.

use super::Given;
use crate::{
    rule_actions::{ActionTemplate, KeyAction, KeyPolicy},
    rule_files::{Draft, Reader},
};
use model::MinionId;

impl Reader {
    /// Who accepts by rule trusts a name that anybody may claim: which ones is written down.
    pub(super) fn key(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let (accept, reject) = (given.get("accept"), given.get("reject"));
        let file = draft.file.clone();
        let (act, node) = match (accept, reject, given.get("delete")) {
            (Some(node), None, None) => (KeyAction::Accept, node),
            (None, Some(node), None) => (KeyAction::Reject, node),
            (None, None, Some(node)) => (KeyAction::Delete, node),
            _ => {
                let help = Some("write `key: { accept: \"{{event.minion}}\", ids: \"web-*\" }`".to_owned());
                self.say(
                    &file,
                    given.action.at,
                    "E0501",
                    "`key` takes one of `accept`, `reject` and `delete`",
                    help,
                );
                return None;
            }
        };
        let id = self.text(draft, node)?;
        if !id.contains("{{") && id.parse::<MinionId>().is_err() {
            self.say(&file, node.at, "E0503", format!("`{id}` is no id of a minion"), None);
        }
        let ids = self.word(draft, given, "ids").filter(|it| !it.is_empty());
        let wrong = given.get("ids").is_some_and(|it| it.text().is_none());
        if ids.is_none() && !wrong && id.contains("{{") {
            let help = Some("anybody may ask for any name: say `ids: \"web-*\"`".to_owned());
            let message = format!("`key: {}` says for which `ids` it is", act.word());
            self.say(&file, given.action.at, "E0501", message, help);
        }
        let beside = ["cidr", "only_new"].map(|it| (it, given.get(it)));
        for (name, node) in beside.into_iter().filter(|_| act == KeyAction::Delete) {
            let Some(node) = node else { continue };
            let message = format!("`{name}` is about keys that wait: it does not go with `delete`");
            self.say(&file, node.at, "E0503", message, None);
        }
        let mut cidr = Vec::new();
        for text in given.get("cidr").map(|it| self.texts(draft, "cidr", it)).unwrap_or_default() {
            match text.parse() {
                Ok(net) => cidr.push(net),
                Err(_) => self.say(
                    &file,
                    given.get("cidr").map_or(given.action.at, |it| it.at),
                    "E0503",
                    format!("`{text}` is no net such as 10.0.0.0/8"),
                    None,
                ),
            }
        }
        let only_new = self.flag(draft, given, "only_new");
        Some(ActionTemplate::Key { act, id, policy: KeyPolicy { ids, cidr, only_new } })
    }
}

//! The trees that are in use, and what is wrong with the newest edit of them.

use super::{Effect, Master, roster::cut};
use crate::sources::Commit;
use lang::rules::Rules;
use model::{Diagnostic, MinionId, Revision};
use serde_json::{Value, json};
use std::sync::Arc;

/// Bytes of paths that an event about the trees names.
const CHANGED_BYTES_MAX: usize = 8 << 10;

impl Master {
    /// Trees are in use. Without rules (a mistake in them, and no older ones are known) only jobs go on by them: what rules
    /// remember, their schedules and reactions and the events that wait for them stay as they are until there are rules.
    pub(crate) fn sources(&mut self, revision: Revision, rules: Option<Rules>) {
        let pushed = self.pushed.take();
        let first = self.revision.is_none();
        let changed = self.revision.replace(revision) != Some(revision);
        self.tree_errors.clear();
        let forgetful = rules.map(|it| self.use_rules(it)).unwrap_or_default();
        if changed && !first {
            let mut data = json!({"revision": revision.to_string()});
            if !forgetful.is_empty() {
                data["rules_that_begin_anew"] = json!(forgetful);
            }
            tell_commit(pushed.as_deref(), &mut data);
            self.emit_master("tree/changed".to_owned(), data);
        }
        if changed {
            let minions: Vec<MinionId> = self.book.minions.keys().cloned().collect();
            self.out.extend(minions.into_iter().map(|minion| Effect::Assign { minion }));
        }
        self.forward_all();
        if !self.reactor.awake {
            return;
        }
        self.resume_reactions();
        for due in self.reactor.dues.values_mut() {
            (due.tries, due.next_at) = (0, None);
        }
        self.due_boots_of_all();
    }

    /// Names of rules that had to forget what they remembered.
    fn use_rules(&mut self, rules: Rules) -> Vec<String> {
        self.reactor.awake = true;
        self.reactor.rules = Arc::new(rules);
        let forgetful = self.reactor.engine.replace_rules(self.now, Arc::clone(&self.reactor.rules));
        self.schedules.renew();
        forgetful
    }

    pub(crate) fn broken_sources(&mut self, diagnostics: Vec<Diagnostic>) {
        let pushed = self.pushed.take();
        if self.tree_errors == diagnostics && pushed.is_none() {
            return;
        }
        let first = diagnostics.first();
        let place = first.and_then(|it| it.spans.first()).map(|it| format!("{}:{}", it.file, it.line));
        let mut data = json!({
            "errors": diagnostics.len(), "first": first.map(|it| cut(&it.message, 1024)), "place": place,
        });
        if self.revision.is_some() && !self.reactor.awake {
            data["rules_asleep"] = json!(true);
        }
        tell_commit(pushed.as_deref(), &mut data);
        self.tree_errors = diagnostics;
        self.emit_master("tree/broken".to_owned(), data);
    }
}

/// By which commit, and which of its paths, as far as there is room for them in an event.
fn tell_commit(commit: Option<&Commit>, data: &mut Value) {
    let Some(Commit { id, author, subject, changed, more_changed }) = commit else { return };
    let mut bytes = 0;
    let room = |it: &&String| {
        bytes += it.len();
        bytes <= CHANGED_BYTES_MAX
    };
    let told: Vec<&String> = changed.iter().take_while(room).collect();
    data["commit"] = json!(id);
    data["author"] = json!(author);
    data["subject"] = json!(subject);
    data["more_changed"] = json!(*more_changed || told.len() < changed.len());
    data["changed"] = json!(told);
}

//! The clauses of a rule as they are asked, one after the other, and what they say.

use crate::rules::{Rule, reason};
use model::Clause;

/// Clauses that say why a rule acted.
const TELLING: [&str; 7] = ["when", "all", "absent", "for", "count", "debounce", "else_after"];

pub(super) struct Trail<'a> {
    rule: &'a Rule,
    clauses: Vec<Clause>,
}

impl<'a> Trail<'a> {
    pub(super) fn new(rule: &'a Rule) -> Self {
        Self { rule, clauses: Vec::with_capacity(rule.words.len()) }
    }
    /// A clause says yes or no.
    pub(super) fn say(&mut self, name: &str, held: bool, seen: String) -> bool {
        let text = self.text(name);
        self.clauses.push(Clause { name: name.to_owned(), text, held: Some(held), seen, parts: Vec::new() });
        held
    }
    /// A clause was not asked, and there is something to know about it.
    pub(super) fn note(&mut self, name: &str, seen: String) {
        let text = self.text(name);
        self.clauses.push(Clause { name: name.to_owned(), text, held: None, seen, parts: Vec::new() });
    }
    pub(super) fn add(&mut self, clause: Clause) -> bool {
        let held = clause.held == Some(true);
        self.clauses.push(clause);
        held
    }
    fn text(&self, name: &str) -> String {
        self.rule.words.iter().find(|it| it.0 == name).map(|it| it.1.clone()).unwrap_or_default()
    }
    /// All clauses, those that were not asked at the end, and the reason.
    pub(super) fn finish(mut self) -> (Vec<Clause>, String) {
        let failed = self.clauses.iter().find(|it| it.held == Some(false));
        let why = if let Some(clause) = failed {
            reason(clause)
        } else {
            let telling = |it: &&Clause| it.held.is_some() && TELLING.contains(&it.name.as_str());
            let telling = self.clauses.iter().filter(telling);
            telling.map(reason).collect::<Vec<_>>().join("; ")
        };
        let salt = self.rule.salt.is_some().then(|| self.clauses.first().map(reason)).flatten();
        let why = if why.is_empty() { salt.unwrap_or_else(|| "no `when`".to_owned()) } else { why };
        for (name, text) in &self.rule.words {
            if !matches!(*name, "concurrency" | "any" | "all" | "maintenance" | "max_hops" | "enabled")
                && self.clauses.iter().all(|it| it.name != *name)
            {
                let (name, text) = ((*name).to_owned(), text.clone());
                self.clauses.push(Clause { name, text, ..Clause::default() });
            }
        }
        (self.clauses, why)
    }
}

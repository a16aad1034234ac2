//! Templates inside rules: checked and compiled at load, filled in when an event comes.

use crate::{
    Roster, Tree,
    reactor::World,
    roster::with_roster,
    say::{Complaints, Text},
    templates::{Ready, Scope, compile},
};
use model::Diagnostic;
use serde_json::{Map, Value, json};
use std::{collections::HashMap, fmt, sync::Arc};

/// What all texts of one event's actions may give together.
const FILLED_BYTES: usize = 16 * 1024;

/// Compiled templates of a rule by their text.
#[derive(Clone, Default)]
pub(crate) struct Texts {
    ready: HashMap<String, Compiled>,
}

#[derive(Clone)]
struct Compiled {
    template: Arc<Ready>,
    /// It names `roster`: only for such a one the members are gone through.
    asks_roster: bool,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ready.keys()).finish()
    }
}

impl Texts {
    /// Compiles a text if it is a template, and looks whether its variables can exist at all: what an event brings, and
    /// `more`.
    pub(crate) fn add(
        &mut self,
        body: &str,
        file: &str,
        more: &[(&str, Value)],
    ) -> Result<(), Vec<Diagnostic>> {
        if !body.contains("{{") || self.ready.contains_key(body) {
            return Ok(());
        }
        let text = Arc::new(Text::new(file.to_owned(), body.to_owned()));
        let ready = Arc::new(compile(&Tree::default(), &text, false)?);
        let empty = || json!({});
        let scope = [("event", empty()), ("grains", empty()), ("labels", empty())];
        let names =
            ["minion", "tag", "source", "presence"].map(|it| (it, json!(crate::scan::UNKNOWN.to_string())));
        let scope = scope
            .into_iter()
            .chain(names)
            .chain(more.iter().cloned())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mut complaints = Complaints::default();
        ready.render(&mut Scope::new(scope, true), &mut complaints);
        if complaints.has_errors() {
            return Err(complaints.finish());
        }
        let asks_roster = names_roster(body);
        self.ready.insert(body.to_owned(), Compiled { template: ready, asks_roster });
        Ok(())
    }
    /// Ready to fill in templates with what an event brings, and with the members of a world if there is one.
    pub(crate) fn filler<'a>(
        &'a self,
        scope: Map<String, Value>,
        world: Option<&'a dyn World>,
    ) -> Filler<'a> {
        let mut scope = Scope::new(scope, false);
        scope.budget = FILLED_BYTES;
        Filler { texts: self, scope, world, roster: None }
    }
}

/// Whether a tag of a template has the word.
fn names_roster(body: &str) -> bool {
    body.split("{{").skip(1).any(|it| it.split("}}").next().is_some_and(|tag| tag.contains("roster")))
}

/// Fills in templates for one event.
pub(crate) struct Filler<'a> {
    texts: &'a Texts,
    scope: Scope,
    world: Option<&'a dyn World>,
    /// All members, once a template has asked.
    roster: Option<Roster>,
}

impl Filler<'_> {
    pub(crate) fn fill(&mut self, text: &str) -> Result<String, String> {
        let Some(ready) = self.texts.ready.get(text) else { return Ok(text.to_owned()) };
        let mut complaints = Complaints::default();
        let rendered = match self.world.filter(|_| ready.asks_roster) {
            Some(world) => {
                let roster = self.roster.get_or_insert_with(|| Roster::All(world.roster().into())).clone();
                with_roster(roster, || ready.template.render(&mut self.scope, &mut complaints))
            }
            None => ready.template.render(&mut self.scope, &mut complaints),
        };
        rendered.map(|it| it.text).ok_or_else(|| {
            let all: Vec<String> = complaints.finish().into_iter().map(|it| it.message).collect();
            all.join("; ")
        })
    }
    pub(crate) fn fill_map(&mut self, map: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        map.iter().map(|(key, value)| Ok((key.clone(), self.fill_value(value)?))).collect()
    }
    /// YAML bounds how deep this goes.
    pub(crate) fn fill_value(&mut self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(text) => self.fill(text).map(Value::String),
            Value::Array(list) => list.iter().map(|it| self.fill_value(it)).collect(),
            Value::Object(map) => self.fill_map(map).map(Value::Object),
            other => Ok(other.clone()),
        }
    }
}

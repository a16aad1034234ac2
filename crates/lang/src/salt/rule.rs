//! A reaction of Salt's reactor map as a rule of ours: hears events under Salt's tags, fills in its file, acts.

use super::{events, reactions};
use crate::{
    Tree, glob,
    jinja::{Job, Templates, Workshop},
    rules::Action,
    say::{Complaints, Rendered, Text},
};
use model::{ContentHash, Event};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// Longest text that a reaction file may become.
const RENDERED_BYTES: usize = 256 * 1024;

/// An entry of the map with one of its files.
#[derive(Clone)]
pub(crate) struct SaltRule {
    /// Over Salt's tags.
    glob: String,
    template: Arc<Text>,
    hash: ContentHash,
    /// For `include` and `import`.
    tree: Tree,
    templates: Arc<Templates>,
}

impl fmt::Debug for SaltRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaltRule({} -> {})", self.glob, self.template.path)
    }
}

impl SaltRule {
    pub(crate) fn new(tree: &Tree, glob: String, path: &str, body: &str) -> Self {
        let hash = ContentHash(Sha256::digest(body.as_bytes()).into());
        let template = Arc::new(Text::new(path.to_owned(), body.to_owned()));
        Self { glob, template, hash, tree: tree.clone(), templates: Arc::default() }
    }
    /// The file.
    pub(crate) fn path(&self) -> &str {
        &self.template.path
    }
    /// Whether an event of this tag may be one of its own; jobs are known only with their data.
    pub(crate) fn may_hear(&self, tag: &str) -> bool {
        let of_jobs = ["salt/job/", "salt/*", "*"].iter().any(|it| self.glob.starts_with(it));
        (tag.starts_with("job/") && of_jobs)
            || events::tags(tag, &Value::Null).iter().any(|it| glob::matches(&self.glob, it))
    }
    fn heard(&self, event: &Event) -> Vec<events::SaltEvent> {
        let mut found = events::events(&event.tag, &event.data);
        found.retain(|it| glob::matches(&self.glob, &it.tag));
        found
    }
    /// Whether it acts, and why.
    pub(crate) fn holds(&self, event: &Event) -> (bool, String) {
        match self.heard(event).first() {
            Some(heard) => (true, format!("`{}` is `{}` for Salt", event.tag, heard.tag)),
            None => (false, format!("no tag that `{}` has for Salt is `{}`", event.tag, self.glob)),
        }
    }
    /// What its file says for an event.
    pub(crate) fn actions(&self, event: &Event) -> Result<Vec<Action>, String> {
        // An event that has two names for Salt is still one event.
        let Some(heard) = self.heard(event).into_iter().next() else { return Ok(Vec::new()) };
        let mut complaints = Complaints::default();
        let variables =
            [("data".to_owned(), Value::Object(heard.data)), ("tag".to_owned(), heard.tag.into())];
        let job = Job {
            tree: &self.tree,
            templates: &self.templates,
            subject: None,
            text: &self.template,
            hash: self.hash,
            root: "reactors",
            variables: variables.into_iter().collect(),
            tracked: false,
            marked: true,
            lenient: false,
        };
        let (rendered, questions) = Workshop::default().render(&job, &json!({}), &mut complaints);
        if let Some(question) = questions.first() {
            return Err(format!("{}: a reaction cannot ask a minion: {question}", self.path()));
        }
        let Some(Rendered { text, .. }) = rendered else {
            let all: Vec<String> = complaints.finish().into_iter().map(|it| it.message).collect();
            return Err(format!("{}: {}", self.path(), all.join("; ")));
        };
        if text.len() > RENDERED_BYTES {
            return Err(format!("{}: it gives more than {RENDERED_BYTES} bytes", self.path()));
        }
        reactions::understand(&text, self.path()).map_err(|cause| format!("{}: {cause}", self.path()))
    }
}

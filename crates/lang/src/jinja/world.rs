//! What a rendering may look at: the tree, the minion, its pillar and grains, and the answers to what was asked of it.

use super::{
    ast::Template,
    failure::{Failure, Outcome},
    lexer::Trim,
    statements,
    value::Value,
};
use crate::{Subject, Tree, limits, say::Text};
use model::{ContentHash, Question};
use serde_json::Value as Json;
use std::{
    cell::RefCell,
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

type Made = Result<Arc<Template>, Failure>;

/// Templates of one generation of the trees, read when first needed and shared by all minions.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    made: Mutex<HashMap<(String, ContentHash), Made>>,
}

impl Templates {
    /// The template of a text.
    pub(super) fn get(&self, text: &Arc<Text>, hash: ContentHash) -> Made {
        let key = (text.path.clone(), hash);
        if let Some(made) = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return made.clone();
        }
        let made = read(text);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
        made
    }
}

/// Reads a template.
pub(super) fn read(text: &Arc<Text>) -> Made {
    if text.body.len() > limits::TEXT_BYTES {
        return Err(Failure::new(
            "E0104",
            format!("a template may have {} bytes at most", limits::TEXT_BYTES),
        ));
    }
    let text = if text.body.contains('\r') {
        let body = text.body.replace("\r\n", "\n").replace('\r', "\n");
        Arc::new(Text::new(text.path.clone(), body))
    } else {
        text.clone()
    };
    let (trim, header) = header(&text.body);
    statements::parse(&text, trim, header).map(Arc::new).map_err(|it| it.within(&text))
}

/// Salt's line `#jinja2: {"trim_blocks": true}`, first or behind the renderer line: what it says, and where it is.
fn header(body: &str) -> (Trim, Range<usize>) {
    let mut start = 0;
    if body.starts_with("#!") && !body.starts_with("#!/") {
        start = body.find('\n').map_or(body.len(), |it| it + 1);
    }
    let none = (Trim::default(), 0..0);
    let Some(options) = body[start..].strip_prefix("#jinja2:") else { return none };
    let line = options.split_inclusive('\n').next().unwrap_or("");
    let Ok(Json::Object(options)) = serde_json::from_str(line.trim()) else { return none };
    let flag = |name: &str| options.get(name).and_then(Json::as_bool).unwrap_or(false);
    let trim = Trim { blocks: flag("trim_blocks"), left: flag("lstrip_blocks") };
    (trim, start..start + "#jinja2:".len() + line.len())
}

/// Everything that templates of one file can reach.
pub(super) struct World<'a> {
    pub(super) tree: &'a Tree,
    pub(super) templates: &'a Templates,
    pub(super) subject: Option<Subject<'a>>,
    /// `states` or `pillar`: where paths begin.
    pub(super) root: &'a str,
    pub(super) pillar: Value,
    pub(super) grains: Value,
    pub(super) opts: Value,
    pub(super) questions: RefCell<Vec<Question>>,
}

impl World<'_> {
    /// A template of the tree.
    pub(super) fn template(&self, path: &str) -> Outcome<Arc<Template>> {
        let missing = || Failure::new("E0205", format!("there is no template `{path}`"));
        let source = self.tree.get(path).ok_or_else(missing)?;
        let body = match &source.bytes {
            Some(bytes) if bytes.len() <= limits::TEXT_BYTES => std::str::from_utf8(bytes).ok(),
            _ => {
                let message = format!("`{path}` is larger than {} bytes", limits::TEXT_BYTES);
                return Err(Failure::new("E0104", message));
            }
        };
        let Some(body) = body else {
            return Err(Failure::new("E0101", format!("`{path}` is not UTF-8 text")));
        };
        let body = body.strip_prefix('\u{feff}').unwrap_or(body);
        self.templates.get(&Arc::new(Text::new(path.to_owned(), body.to_owned())), source.hash)
    }
    /// Notes a question that has no answer.
    pub(super) fn ask(&self, question: Question) -> Outcome<()> {
        let mut questions = self.questions.borrow_mut();
        if !questions.contains(&question) {
            if questions.len() >= limits::QUESTIONS {
                let message = format!("more than {} questions to one minion", limits::QUESTIONS);
                return Err(Failure::limit(message));
            }
            questions.push(question);
        }
        Ok(())
    }
}

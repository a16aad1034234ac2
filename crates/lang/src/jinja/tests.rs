//! What single templates give, and that nothing in them can hang or crash the compiler.

use super::*;
use crate::say::Complaints;
use model::{Answers, Grains, Labels};
use serde_json::json;
use sha2::{Digest, Sha256};

struct Bench {
    tree: Tree,
    answers: Answers,
}

impl Bench {
    fn render(&self, body: &str, lenient: bool) -> Result<(String, Vec<Question>), Vec<model::Diagnostic>> {
        let templates = Templates::default();
        let id = "web-01".parse().unwrap();
        let grains: Grains = json!({
            "os_family": "Debian", "nested": { "x": { "y": 1 } }, "list": ["a", "b"], "role": "web",
            "ipv4": ["127.0.0.1", "10.0.0.5"],
        })
        .as_object()
        .unwrap()
        .clone();
        let labels = Labels::default();
        let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: &self.answers };
        let data = json!({
            "id": "web-01", "grains": grains, "labels": {},
            "pillar": { "a": 1, "nested": { "b": { "c": "hello" }, "list": ["x", "y"] } },
        });
        let text = Arc::new(Text::new("states/web/init.sls".to_owned(), body.to_owned()));
        let job = Job {
            tree: &self.tree,
            templates: &templates,
            subject: (!lenient).then_some(subject),
            text: &text,
            hash: ContentHash(Sha256::digest(body.as_bytes()).into()),
            root: "states",
            variables: Map::new(),
            tracked: true,
            lenient,
        };
        let mut complaints = Complaints::default();
        let (rendered, questions) = Workshop::default().render(&job, &data, &mut complaints);
        match rendered {
            Some(it) => Ok((it.text, questions)),
            None => Err(complaints.finish()),
        }
    }
}

fn bench() -> Bench {
    let files =
        [("states/lib.jinja", "{% macro hi(who='x') %}hi {{ who }}{% endmacro %}{% set port = 80 %}")];
    Bench { tree: Tree::of_texts(files), answers: Answers::default() }
}

/// Templates of one line and what Salt 3008.3 renders from them.
#[test]
fn expressions_give_what_salt_gives() {
    let recorded = include_str!("../../tests/jinja/recorded.txt");
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in recorded.split("\n=====\n") {
        let Some((template, expected)) = row.split_once("\n-----\n") else { continue };
        count += 1;
        let told = match bench().render(template, false) {
            Ok((text, _)) => text,
            Err(diagnostics) => format!("error: {}", diagnostics[0].message),
        };
        if told != expected {
            wrong.push(format!("{template}\n  wanted: {expected}\n  found:  {told}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 100, "only {count} rows were read");
}

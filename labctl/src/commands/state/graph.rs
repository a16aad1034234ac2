//! `labctl state graph`: steps in run order, and what each waits for.

use super::SubjectArgs;
use crate::{
    Ended,
    commands::Desk,
    failure::{Exit, Failure},
    tree::Read,
};
use clap::ValueEnum;
use lang::{Compiler, Subject, Wanted};
use model::Recipe;
use serde_json::{Map, json};
use std::fmt::Write;

/// How a graph is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A line for each step
    #[default]
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown that draws
    Mermaid,
}

/// A circle is an error of the compile, which shows it.
pub(super) fn run(
    desk: &mut Desk<'_>,
    read: Read,
    names: Vec<String>,
    form: Form,
    subject: &SubjectArgs,
) -> Ended {
    let ((id, grains), labels, answers) = (subject.who()?, subject.labels()?, subject.answers()?);
    let wanted = if names.is_empty() { Wanted::Assigned } else { Wanted::Named(names) };
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: &answers };
    let made = Compiler::with_options(read.tree, read.options).compile(subject, &wanted, &Map::new());
    let mut diagnostics = read.problems;
    diagnostics.extend(made.diagnostics);
    let Some(recipe) = made.value else {
        let message = format!("the states do not compile for {id}");
        return Err(Failure { diagnostics, ..Failure::new(Exit::Compile, message) });
    };
    let graph = Graph::of(&recipe);
    if desk.screen.format.is_machine() {
        let nodes: Vec<_> = graph.nodes.iter().map(|(kind, id)| json!({ "kind": kind, "id": id })).collect();
        let edges: Vec<_> = graph
            .edges
            .iter()
            .map(|it| json!({ "step": it.step, "on": it.on, "when": it.when, "any": it.any }))
            .collect();
        desk.screen.thing("Graph", json!({ "nodes": nodes, "edges": edges }), "", "")?;
    } else {
        desk.screen.raw(&graph.write(form))?;
    }
    Ok(Exit::Done)
}

struct Edge {
    step: usize,
    on: usize,
    when: String,
    any: bool,
}

struct Graph {
    /// Function and id.
    nodes: Vec<(String, String)>,
    edges: Vec<Edge>,
}

impl Graph {
    fn of(recipe: &Recipe) -> Self {
        let mut edges = Vec::new();
        for (step, it) in recipe.steps.iter().enumerate() {
            edges.extend(it.links.iter().map(|link| Edge {
                step,
                on: link.step,
                when: json!(link.when).as_str().unwrap_or_default().to_owned(),
                any: link.any,
            }));
        }
        Self { nodes: recipe.steps.iter().map(|it| (it.kind(), it.id.clone())).collect(), edges }
    }

    fn write(&self, form: Form) -> String {
        match form {
            Form::Text => self.text(),
            Form::Dot => self.dot(),
            Form::Mermaid => self.mermaid(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (step, (kind, id)) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "{:>3}  {kind} {id}", step + 1);
            for edge in self.edges.iter().filter(|it| it.step == step) {
                let (kind, id) = &self.nodes[edge.on];
                let _ = writeln!(text, "       {} {}  {kind} {id}", edge.word(), edge.on + 1);
            }
        }
        text
    }

    fn dot(&self) -> String {
        let quoted = |it: &str| it.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut text = "digraph states {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for (step, (kind, id)) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "  s{step} [label=\"{}\\n{}\"];", quoted(kind), quoted(id));
        }
        for edge in &self.edges {
            let _ = writeln!(text, "  s{} -> s{} [label=\"{}\"];", edge.on, edge.step, edge.word());
        }
        text + "}\n"
    }

    fn mermaid(&self) -> String {
        let quoted = |it: &str| it.replace('"', "#quot;").replace('\n', " ");
        let mut text = "flowchart LR\n".to_owned();
        for (step, (kind, id)) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "  s{step}[\"{}<br>{}\"]", quoted(kind), quoted(id));
        }
        for edge in &self.edges {
            let _ = writeln!(text, "  s{} -->|{}| s{}", edge.on, edge.word(), edge.step);
        }
        text
    }
}

impl Edge {
    fn word(&self) -> String {
        format!("{}{}", self.when, if self.any { "_any" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let node = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
        let edge = |step, on, when: &str, any| Edge { step, on, when: when.to_owned(), any };
        Graph {
            nodes: vec![
                node("pkg.installed", "nginx"),
                node("file.managed", "a \"b\""),
                node("service.running", "nginx"),
            ],
            edges: vec![edge(1, 0, "require", false), edge(2, 1, "watch", true)],
        }
    }

    #[test]
    fn each_form_says_the_same() {
        assert_eq!(
            graph().write(Form::Text),
            "  1  pkg.installed nginx\n  2  file.managed a \"b\"\n       require 1  pkg.installed nginx\n  3  service.running nginx\n       watch_any 2  file.managed a \"b\"\n"
        );
        let dot = graph().write(Form::Dot);
        assert!(
            dot.contains("s1 [label=\"file.managed\\na \\\"b\\\"\"];")
                && dot.contains("s0 -> s1 [label=\"require\"];"),
            "{dot}"
        );
        let mermaid = graph().write(Form::Mermaid);
        assert!(
            mermaid.contains("s1[\"file.managed<br>a #quot;b#quot;\"]")
                && mermaid.contains("s1 -->|watch_any| s2"),
            "{mermaid}"
        );
    }
}

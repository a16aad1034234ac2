//! YAML files of people as plain values: grains for a compile, contexts of the command line.

use crate::{
    say::{Complaints, Rendered, Text},
    scalars, yaml,
};
use model::Compiled;
use serde_json::Value;
use std::sync::Arc;

/// The value of a YAML text (JSON is a part of YAML); `file` names it in complaints.
pub fn value_of_yaml(file: &str, text: &str) -> Compiled<Value> {
    let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
    let mut complaints = Complaints::default();
    let node = yaml::parse(&rendered, &mut complaints);
    let diagnostics = complaints.finish();
    let value = match node {
        Some(node) => Some(scalars::value(&node)),
        None if diagnostics.is_empty() => Some(Value::Null),
        None => None,
    };
    Compiled { value, diagnostics, questions: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_and_json_become_values() {
        let text = "os:\n  name: debian\n  version: 13\nlist: [a, 2, true]\n";
        let value = json!({ "os": { "name": "debian", "version": 13 }, "list": ["a", 2, true] });
        assert_eq!(value_of_yaml("g.yaml", text).value, Some(value.clone()));
        assert_eq!(value_of_yaml("g.json", &value.to_string()).value, Some(value));
        assert_eq!(value_of_yaml("e", "").value, Some(Value::Null));
        let broken = value_of_yaml("b.yaml", "a: [1");
        assert!(broken.value.is_none() && broken.diagnostics[0].spans[0].file == "b.yaml");
    }
}

//! The examples in the reference are true.

use lang::{Compiler, Subject, Tree, Wanted, rules::Rules, target::Target};
use model::{Answers, Grains, Labels};
use serde_json::{Map, json};
use std::fs;

fn page(name: &str) -> String {
    let path = format!("{}/../../docs/reference/{name}.md", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("a page of the reference")
}

fn yaml_of(page: &str) -> String {
    let start = page.find("```yaml\n").expect("an example") + "```yaml\n".len();
    let end = page[start..].find("```").expect("its end");
    page[start..start + end].to_owned()
}

#[test]
fn rules_of_the_reference_load() {
    let text = yaml_of(&page("rules"));
    let compiled = Rules::load(&Tree::of_texts([("reactors/r.yaml", text.as_str())]));
    assert!(compiled.value.is_some(), "{:?}", compiled.diagnostics);
}

#[test]
fn targets_of_the_reference_parse() {
    let page = page("targeting");
    let rows = page.lines().filter(|it| it.starts_with("| `") && !it.contains("`A and B`"));
    let mut parsed = 0;
    for row in rows {
        let cell = row.split(" | ").next().expect("a first column");
        for text in cell.split('`').skip(1).step_by(2) {
            Target::parse(text).unwrap_or_else(|it| panic!("{text}: {it:?}"));
            parsed += 1;
        }
    }
    assert!(parsed > 15, "{parsed}");
}

#[test]
fn helpers_of_the_reference_exist_and_nest() {
    let page = page("template-helpers");
    let example = page.split("Helpers nest with parentheses: `").nth(1).and_then(|it| it.split('`').next());
    let example = format!("{}x: {{ file.absent: {{ name: /x }} }}{{{{/if}}}}", example.expect("an example"));
    let row = |it: &str| format!("# {{{{json ({it})}}}}\n");
    let calls = [
        "eq 1 1",
        "ne 1 2",
        "gt 2 1",
        "gte 1 1",
        "lt 1 2",
        "lte 1 1",
        "and 1",
        "or 1",
        "not 1",
        "in 1 (list 1)",
        "contains (list 1) 1",
        "starts_with 'ab' 'a'",
        "ends_with 'ab' 'b'",
        "upper 'a'",
        "lower 'a'",
        "capitalize 'a'",
        "trim 'a'",
        "replace 'a' 'a' 'b'",
        "split 'a b' ' '",
        "join (list 1 2) ','",
        "concat 'a' 'b'",
        "indent 'a' 4",
        "quote 'a'",
        "shell_quote 'a'",
        "json 'a'",
        "yaml 'a'",
        "basename '/a/b'",
        "dirname '/a/b'",
        "len 'a'",
        "first (list 1)",
        "last (list 1)",
        "keys grains",
        "values grains",
        "sort (list 2 1)",
        "unique (list 1 1)",
        "range 0 3",
        "get pillar 'a:b' 80",
        "lookup grains 'os'",
        "add 1 2",
        "sub 1 2",
        "mul 1 2",
        "div 4 2",
        "mod 4 3",
        "int '4'",
        "default pillar.x 1",
    ];
    for name in calls.iter().filter_map(|it| it.split(' ').next()) {
        assert!(page.contains(name), "`{name}` is not in the reference");
    }
    let text = calls.iter().map(|it| row(it)).collect::<Vec<_>>().concat() + &example;
    let grains: Grains = json!({"os": "Debian"}).as_object().cloned().expect("an object");
    let (id, labels) = ("vm-1".parse().expect("an id"), Labels::new());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let compiler = Compiler::new(Tree::of_texts([("states/a.sls", text.as_str())]));
    let made = compiler.compile(subject, &Wanted::Named(vec!["a".to_owned()]), &Map::new());
    assert!(made.value.is_some(), "{:?}", made.diagnostics);
}

/// Sources that examples name.
const SOURCES: [&str; 3] = ["backup/crontab", "web/files/site.conf.hbs", "files/x"];

#[test]
fn examples_of_states_compile() {
    let mut wrong = Vec::new();
    let pillar = json!({"db_password": "p", "wg_key": "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="});
    let pillar = pillar.as_object().cloned().expect("an object");
    for module in resources::modules() {
        for function in module.functions {
            for example in function.examples.texts() {
                let mut files: Vec<(String, String)> =
                    SOURCES.iter().map(|it| (format!("states/{it}"), String::new())).collect();
                for word in example.split([' ', '\n', '\'', '"']).filter_map(|it| it.strip_prefix("lab://")) {
                    files.push((format!("states/{word}"), String::new()));
                    files.push((format!("states/{word}/file"), String::new()));
                }
                files.push(("states/a.sls".to_owned(), (*example).to_owned()));
                let texts = files.iter().map(|it| (it.0.as_str(), it.1.as_str()));
                let compiler = Compiler::new(Tree::of_texts(texts));
                let id = "vm".parse().expect("a name");
                let (grains, labels) = (Grains::new(), Labels::new());
                let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
                let made = compiler.compile(subject, &Wanted::Named(vec!["a".to_owned()]), &pillar);
                let kind = format!("{}.{}", module.name, function.name);
                if made.value.is_none() {
                    wrong.push(format!("{kind}:\n{example}\n{:#?}", made.diagnostics));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

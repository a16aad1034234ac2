//! Compiling is fast enough to do it for every minion at every apply.

#![expect(clippy::similar_names, clippy::format_collect, reason = "texts are put together as they read")]

use lang::{Compiler, Subject, Tree, Wanted};
use model::Answers;
use model::Labels;
use serde_json::{Map, json};
use std::time::{Duration, Instant};

/// Generous: this is a build without optimization on a machine that does other things. The bench measures a release.
const ONE_COMPILE: Duration = Duration::from_secs(2);

#[test]
fn a_hundred_templated_files_compile_at_once() {
    let mut files: Vec<(String, String)> = vec![
        ("states/top.sls".into(), "base: { '*': [ many ] }".into()),
        ("pillar/top.sls".into(), "base: { '*': [ p ] }".into()),
        ("pillar/p.sls".into(), "web: { port: 80, names: [ a, b, c ] }\nkey: !secret 0123456789".into()),
    ];
    let states: String = (0..100)
        .map(|it| {
            format!(
                "f{it}:\n  file.managed:\n    - name: /etc/f{it}.conf\n    - source: lab://f/{it}.hbs\n    - template: \
                 handlebars\n    - context: {{ n: {it}, id2: '{{{{id}}}}' }}\n    - mode: '0644'\n"
            )
        })
        .collect();
    files.push(("states/many.sls".into(), states));
    for number in 0..100 {
        let line = "listen {{pillar.web.port}} on {{grains.os}} as {{id}} {{n}}\n{{#each pillar.web.names}}{{this}};\n{{/each}}";
        files.push((format!("states/f/{number}.hbs"), format!("# {number}\n{}", line.repeat(5))));
    }
    let tree = Tree::of_texts(files.iter().map(|it| (it.0.as_str(), it.1.as_str())));
    let compiler = Compiler::new(tree);
    let grains = json!({"os": "Debian", "filler": vec!["x".repeat(100); 100]})
        .as_object()
        .cloned()
        .unwrap_or_default();
    let (id, labels) = ("vm-1".parse().unwrap(), Labels::new());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let compiled = compiler.compile(subject, &Wanted::Assigned, &Map::new());
        times.push(start.elapsed());
        let recipe = compiled.value.expect("it compiles");
        assert_eq!(recipe.steps.len(), 100);
        assert_eq!(recipe.files.len(), 100);
    }
    assert!(times[2] < ONE_COMPILE, "{times:?}");
    println!("{times:?}");
}

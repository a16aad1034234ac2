//! Whatever is in the files, compiling ends, soon, on an ordinary stack, with a result or with complaints.

#![expect(
    clippy::similar_names,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "texts are put together as they read"
)]

use lang::{Compiler, Subject, Tree, Wanted, rules::Rules};
use model::{Answers, Compiled, Diagnostic, Grains, Labels, Recipe};
use proptest::prelude::*;
use serde_json::{Map, json};
use std::time::{Duration, Instant};

/// Far more than any of these takes; a machine that is busy must not fail a test.
const SOON: Duration = Duration::from_mins(1);

fn compile(files: &[(&str, &str)]) -> Compiled<Recipe> {
    let grains: Grains = json!({"os": "Debian", "list": ["a", "b"]}).as_object().unwrap().clone();
    let labels = Labels::new();
    let id = "vm-1".parse().unwrap();
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let compiler = Compiler::new(Tree::of_texts(files.iter().copied()));
    let wanted = Wanted::Named(vec!["a".to_owned()]);
    let compiled = compiler.compile(subject, &wanted, &Map::new());
    compiler.check(&[subject]);
    compiler.pillar(subject);
    compiler.assigned(subject);
    assert_eq!(compiled.value.is_none(), compiled.has_errors());
    compiled
}

/// The codes of the errors, on a thread with the stack that every thread has.
fn codes(files: Vec<(&'static str, String)>) -> Vec<String> {
    let start = Instant::now();
    let work = move || {
        let files: Vec<(&str, &str)> = files.iter().map(|it| (it.0, it.1.as_str())).collect();
        compile(&files).diagnostics
    };
    let told: Vec<Diagnostic> = std::thread::Builder::new().spawn(work).unwrap().join().unwrap();
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    told.into_iter().map(|it| it.code).collect()
}

fn state(text: impl Into<String>) -> Vec<(&'static str, String)> {
    vec![("states/a.sls", text.into())]
}

#[test]
fn yaml_is_bounded_in_size_depth_values_and_aliases() {
    assert_eq!(codes(state("#".repeat(1024 * 1024 + 1))), ["E0104"]);
    assert_eq!(codes(state(format!("a: {}1{}", "[".repeat(100_000), "]".repeat(100_000)))), ["E0104"]);
    assert_eq!(codes(state(format!("a: {}", "{b: ".repeat(100_000)))), ["E0104"]);
    assert_eq!(codes(state(format!("a: [{}]", "1,".repeat(250_000)))), ["E0104"]);
    let many = format!("x: &x 1\na: [{}]", "*x,".repeat(1_001));
    assert_eq!(codes(state(many)), ["E0104"]);
}

#[test]
fn billion_laughs_are_not_laughed() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let ten = format!("*a{},", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{ten}]\n");
    }
    assert_eq!(codes(state(text)), ["E0104"]);
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert_eq!(codes(state(deep)), ["E0104"]);
    assert_eq!(codes(state("a: &a [*a]")), ["E0101"]);
}

#[test]
fn template_nesting_is_refused_before_it_runs() {
    for text in [
        "{{#if id}}".repeat(10_000) + &"{{/if}}".repeat(10_000),
        "{{#each grains.list}}".repeat(65) + &"{{/each}}".repeat(65),
        format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if id}}".repeat(5_000)),
        format!("{{{{upper {}id{}}}}}", "(upper ".repeat(5_000), ")".repeat(5_000)),
        format!("{{{{json {}{}}}}}", "[".repeat(5_000), "]".repeat(5_000)),
    ] {
        assert_eq!(codes(state(text)), ["E0207"]);
    }
    let deep = "{{#if id}}".repeat(64) + "a: file.absent" + &"{{/if}}".repeat(64);
    let told = codes(state(deep));
    assert!(!told.contains(&"E0207".to_owned()), "{told:?}");
}

#[test]
fn partials_in_circles_or_too_deep_are_refused_before_they_run() {
    assert_eq!(
        codes(vec![("states/a.sls", "{{> p}}".into()), ("states/p.hbs", "{{> p}}".into())]),
        ["E0206"]
    );
    let chain = |block: bool| -> Vec<(&'static str, String)> {
        let mut files = state("{{> p0}}");
        for level in 0..80 {
            let name: &'static str = Box::leak(format!("states/p{level}.hbs").into_boxed_str());
            let next = format!("{{{{> p{}}}}}", level + 1);
            files.push((name, if block { format!("{{{{#if id}}}}{next}{{{{/if}}}}") } else { next }));
        }
        files.push(("states/p80.hbs", String::new()));
        files
    };
    assert_eq!(codes(chain(false)), ["E0207"]);
    assert_eq!(codes(chain(true)), ["E0207"]);
    for text in [
        "{{> (lookup grains 'os')}}",
        "{{#*inline 'x'}}{{/inline}}",
        "{{#> p}}{{/p}}",
        "{{> @partial-block}}",
    ] {
        assert_eq!(codes(state(text)), ["E0211"]);
    }
}

#[test]
fn partials_that_double_end() {
    let mut files = state("{{> p0}}");
    for level in 0..40 {
        let name: &'static str = Box::leak(format!("states/p{level}.hbs").into_boxed_str());
        files.push((name, format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", level + 1)));
    }
    files.push(("states/p40.hbs", String::new()));
    assert_eq!(codes(files), ["E0208"]);
}

#[test]
fn loops_and_what_they_print_are_bounded() {
    let loops = |body: &str, depth: usize| {
        state(format!("{}{body}{}", "{{#each (range 0 1000)}}".repeat(depth), "{{/each}}".repeat(depth)))
    };
    assert_eq!(codes(loops("", 5)), ["E0208"]);
    assert_eq!(codes(loops("xxxxxxxxxx", 2)), ["E0208"]);
    let mut grown = "'aaaaaaaaaa'".to_owned();
    for _ in 0..20 {
        grown = format!("(replace {grown} 'a' 'aaaaaaaaaa')");
    }
    assert_eq!(codes(state(format!("{{{{{}}}}}", &grown[1..grown.len() - 1]))), ["E0210"]);
}

#[test]
fn includes_that_go_round_are_read_once() {
    let files = vec![
        ("states/a.sls", "include: [ b, a ]\nx: { file.absent: { name: /x } }".to_owned()),
        ("states/b.sls", "include: [ a ]\ny: { file.absent: { name: /y } }".to_owned()),
    ];
    assert_eq!(codes(files), Vec::<String>::new());
    let pillar = vec![
        ("states/a.sls", String::new()),
        ("pillar/top.sls", "base: { '*': [ p ] }".to_owned()),
        ("pillar/p.sls", "include: [ q ]\nx: 1".to_owned()),
        ("pillar/q.sls", "include: [ p ]\ny: 1".to_owned()),
    ];
    assert_eq!(codes(pillar), Vec::<String>::new());
}

#[test]
fn long_chains_of_includes_and_requisites_do_not_need_a_deep_stack() {
    let mut files = state("include: [ f0 ]");
    for level in 0..500 {
        let name: &'static str = Box::leak(format!("states/f{level}.sls").into_boxed_str());
        let next = if level < 499 { format!("include: [ f{} ]\n", level + 1) } else { String::new() };
        files.push((name, format!("{next}x{level}: {{ file.absent: {{ name: /x{level} }} }}")));
    }
    let told = codes(files);
    assert!(told.iter().all(|it| it.starts_with('W')), "{told:?}");
    let chain: String = (0..3_000)
        .map(|it| format!("x{it}: {{ file.absent: {{ name: /x, require: [ {{ file: x{} }} ] }} }}\n", it + 1))
        .chain(["x3000: { file.absent: { name: /x } }".to_owned()])
        .collect();
    assert_eq!(codes(state(chain)), Vec::<String>::new());
}

#[test]
fn too_many_files_and_steps_are_refused() {
    let mut files =
        state(format!("include: [ {} ]", (0..600).map(|it| format!("f{it},")).collect::<String>()));
    for level in 0..600 {
        files.push((Box::leak(format!("states/f{level}.sls").into_boxed_str()), String::new()));
    }
    assert!(codes(files).contains(&"E0104".to_owned()));
    let steps: String = (0..5_100).map(|it| format!("x{it}: file.absent\n")).collect();
    assert!(codes(state(steps)).contains(&"E0104".to_owned()));
    let names: String = (0..5_100).map(|it| format!("/x{it},")).collect();
    assert!(
        codes(state(format!("x: {{ file.absent: {{ names: [ {names} ] }} }}"))).contains(&"E0104".to_owned())
    );
}

#[test]
fn thousands_of_states_that_wait_for_each_other_are_put_in_order_soon() {
    let start = Instant::now();
    let mut text = String::new();
    for it in 0..4_900 {
        text += &format!(
            "x{it}: {{ test.nop: [ {{ require: [ {{ test: x{} }} ] }} ] }}\n",
            (it * 7 + 1) % 4_900 / 2
        );
    }
    let told = codes(state(&text));
    assert!(told.is_empty() || told == ["E0115"], "{told:?}");
    let chain: String = (0..4_000)
        .map(|it| {
            format!(
                "x{it}: {{ test.nop: [ {{ require_in: [ {{ test: x{} }} ] }}, {{ order: last }} ] }}\n",
                it + 1
            )
        })
        .chain(["x4000: { test.nop: [ { order: first } ] }".to_owned()])
        .collect();
    assert_eq!(codes(state(chain)), Vec::<String>::new());
    let all: String = (0..300)
        .map(|it| format!("x{it}: {{ test.nop: [ {{ require_in: [ {{ sls: a }} ] }} ] }}\n"))
        .collect();
    assert!(codes(state(all)).contains(&"E0115".to_owned()));
    assert!(start.elapsed() < SOON);
}

#[test]
fn what_is_no_text_and_what_is_too_large_is_told() {
    use lang::{Dialect, Source};
    let compile = |bytes: Option<Vec<u8>>, size: u64| {
        let source = |bytes: Option<Vec<u8>>| Source {
            bytes: bytes.map(Into::into),
            hash: model::ContentHash([1; 32]),
            size,
            mode: 0o644,
            dialect: Dialect::default(),
        };
        let tree = Tree::new([("states/a.sls".to_owned(), source(bytes))]);
        let (id, grains, labels) = ("vm-1".parse().unwrap(), Grains::new(), Labels::new());
        let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
        let compiler = Compiler::new(tree);
        let made = compiler.compile(subject, &Wanted::Named(vec!["a".to_owned()]), &Map::new());
        made.diagnostics.into_iter().map(|it| it.code).collect::<Vec<_>>()
    };
    let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    assert_eq!(compile(Some(binary), 5_000), ["E0101"]);
    assert_eq!(compile(Some(b"x: \0\n".to_vec()), 5), ["E0101"]);
    // What is this large is known by its hash only.
    assert_eq!(compile(None, 10 << 20), ["E0104"]);
}

#[test]
fn extends_requisites_and_names_that_multiply_are_bounded() {
    let blocks: String = (0..2_000).map(|it| format!("x{it}: {{ test.nop: [] }}\n")).collect();
    let many = "{ test: 'x*' },".repeat(200);
    assert!(
        codes(state(format!("{blocks}y: {{ test.nop: [ {{ require: [ {many} ] }} ] }}")))
            .contains(&"E0104".to_owned())
    );
    let uses: String = (0..1_000)
        .map(|it| {
            format!("x{it}: {{ test.nop: [ {{ a{it}: 1 }}, {{ use: [ {{ test: x{} }} ] }} ] }}\n", it + 1)
        })
        .collect();
    let told = codes(state(format!("{uses}x1000: test.nop")));
    assert!(!told.is_empty());
    let extends: String = (0..2_000)
        .map(|it| format!("  x: {{ test.nop: [ {{ require: [ {{ test: y{it} }} ] }} ] }}\n"))
        .collect();
    assert!(!codes(state(format!("x: test.nop\nextend:\n{extends}"))).is_empty());
}

#[test]
fn patterns_in_includes_do_not_run_away() {
    let files = vec![
        ("states/a.sls", "include: [ '*', '?', 'b' ]\nx: { file.absent: { name: /x } }".to_owned()),
        ("states/b.sls", "include: [ 'a*' ]\ny: { file.absent: { name: /y } }".to_owned()),
        ("pillar/top.sls", "base: { '*': [ '*' ] }".to_owned()),
        ("pillar/p.sls", "include: [ '*', { q: { key: 'a:b' } } ]\nx: 1".to_owned()),
        ("pillar/q.sls", "include: [ 'p*' ]\ny: 1".to_owned()),
    ];
    assert_eq!(codes(files), Vec::<String>::new());
}

#[test]
fn many_mistakes_are_cut() {
    let text: String = (0..1_000).map(|it| format!("x{it}: {{ file.absnt: [] }}\n")).collect();
    let told = codes(state(text));
    assert_eq!(told.len(), 201);
}

fn words() -> impl Strategy<Value = String> {
    let pieces = vec![
        "{{",
        "}}",
        "{{#if ",
        "{{/if}}",
        "{{else}}",
        "{{#each ",
        "{{/each}}",
        "{{> ",
        "{{{",
        "}}}",
        "{{!--",
        "--}}",
        "id",
        "grains.os",
        "pillar.x",
        "upper ",
        "(",
        ")",
        "\"",
        "'",
        "~",
        "\n",
        " ",
        ":",
        "- ",
        "a",
        "file.absent",
        "[",
        "]",
        "{",
        "}",
        "&x ",
        "*x",
        "<<: ",
        "!secret ",
        "|\n  ",
        "\\",
        "ä",
        "\u{fdd0}",
        "#!",
        "{%",
        "%}",
        "as |x|",
        "@index",
        "this",
        "../",
        "=",
        "1",
        "null",
        "true",
        ",",
        "\t",
        "{{{{raw}}}}",
        "{{{{/raw}}}}",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|it| it.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn no_text_makes_the_compiler_panic(text in "\\PC{0,60}", words in words()) {
        for text in [text.as_str(), &words] {
            let source = "x:\n  file.managed:\n    - name: /x\n    - source: lab://f\n    - template: handlebars\n";
            compile(&[("states/a.sls", text), ("states/top.sls", text), ("pillar/top.sls", text)]);
            compile(&[
                ("states/a.sls", source),
                ("states/f", text),
                ("pillar/top.sls", "base: { '*': [ p ] }"),
                ("pillar/p.sls", text),
            ]);
            let _ = Rules::load(&Tree::of_texts([("reactors/r.sls", text)]));
        }
    }
}

#[test]
fn one_compile_never_asks_more_than_a_minion_answers_at_once() {
    let file = |more: &str, from: u32| {
        format!(
            "#!jinja|yaml\n{more}{{% for it in range({from}, {from} + 150) %}}\nx{{{{ it }}}}:\n  cmd.run:\n    - name: echo {{{{ salt['file.file_exists']('/' ~ it) }}}}\n{{% endfor %}}\n"
        )
    };
    let (first, second) = (file("include: [b]\n", 0), file("", 1000));
    let compiled = compile(&[("states/a.sls", &first), ("states/b.sls", &second)]);
    assert_eq!(compiled.questions.len(), 200);
}

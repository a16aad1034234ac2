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
            marked: false,
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

#[test]
fn the_reference_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/jinja.md");
    let page = super::reference::page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == page,
        "run UPDATE=1 cargo test -p lang jinja"
    );
}

#[test]
fn whatever_a_template_does_it_ends_with_a_complaint() {
    let endless = [
        "{{ 'a' * 10 ** 9 }}",
        "{{ range(10 ** 9) }}",
        "{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set l = [1] %}{% for i in range(64) %}{% do l.extend(l) %}{% endfor %}",
        "{% set l = [] %}{% do l.append(l) %}{{ l }}",
        "{% set d = {} %}{% do d.update({'d': d}) %}{{ d | json }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == [1] or ns.x == ns.x + [] }}{{ ns.x|yaml }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'web/init.sls' %}",
        "{% for a in range(2000) %}{% for b in range(2000) %}{% for c in range(2000) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{{ '%1000000000d' % 5 }}",
        "{{ '{:1000000000}'.format(5) }}",
        "{{ 'x'.center(10 ** 9) }}",
        "{{ ('x' * 1000)|replace('x', 'y' * 100000) }}",
        "{{ range(1000)|product(range(1000))|list }}",
        "{{ range(100)|permutations(50)|list }}",
        "{{ '10.0.0.0/8'|network_hosts }}",
        "{{ 2 ** 1000 }}",
        "{{ 1 // 0 }}",
        "{% set d = {} %}{% set d = d|update_dict_key_value('a', d) %}{{ d|set_dict_key_value('a:a:a', d) }}",
        "{% for i in [1, [2]] recursive %}{{ loop([1]) }}{% endfor %}",
    ];
    for template in endless {
        let files = [("states/web/init.sls", template)];
        let bench = Bench { tree: Tree::of_texts(files), answers: Answers::default() };
        assert!(bench.render(template, false).is_err(), "{template}");
    }
    let deep = format!("{{{{ {}1{} }}}}", "[".repeat(500), "]".repeat(500));
    assert!(bench().render(&deep, false).is_err());
    assert!(bench().render(&"{% if a %}".repeat(500), false).is_err());
    assert!(bench().render(&format!("{{{{ 1{} }}}}", " + 1".repeat(3000)), false).is_ok());
}

#[test]
fn no_filter_test_or_function_panics_on_odd_input() {
    let odd = [
        "''",
        "'ä\\n'",
        "-1",
        "0",
        "2.5",
        "none",
        "true",
        "[]",
        "[1, 'a', none]",
        "(1, [2])",
        "{}",
        "{'a': {1: [2]}}",
        "range",
        "'%s %d {'",
        "9223372036854775807",
        "[[1, 2], [3, 4]]",
        "'10.0.0.1/33'",
        "x",
    ];
    for value in odd {
        for filter in super::filters::FILTERS {
            for args in ["", "(1)", "(-1)", "('a')", "('a', 'b')", "(0, [])", "({}, none)", "('', '')"] {
                let _ = bench().render(&format!("{{{{ {value} | {}{args} }}}}", filter.name), false);
            }
        }
        for check in super::checks::CHECKS {
            let _ = bench().render(
                &format!("{{{{ {value} is {} }}}}{{{{ {value} is {}(1) }}}}", check.name, check.name),
                false,
            );
        }
        for function in super::salt::FUNCTIONS {
            let name = function.name;
            let template =
                format!("{{{{ salt['{name}']({value}) }}}}{{{{ salt['{name}']({value}, {value}) }}}}");
            let _ = bench().render(&template, false);
        }
        for names in [super::methods::OF_TEXTS, super::methods::OF_LISTS, super::methods::OF_DICTS] {
            for name in names {
                let template = format!(
                    "{{% set v = {value} %}}{{{{ v.{name}() }}}}{{{{ v.{name}(1) }}}}{{{{ v.{name}('a', -5) }}}}"
                );
                let _ = bench().render(&template, false);
            }
        }
    }
}

#[test]
fn what_only_the_minion_knows_is_asked_and_counts_as_false_until_then() {
    let body = "{% if salt['file.file_exists']('/a') %}yes{% else %}no{% endif %} {{ salt['user.info']('www')['home'] }}|{{ salt.pkg.version('x').split('.')[1] }}";
    let mut bench = bench();
    let (text, questions) = bench.render(body, false).unwrap();
    assert_eq!(text, "no |");
    let asked: Vec<String> = questions.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["file.file_exists(\"/a\")", "user.info(\"www\")", "pkg.version(\"x\")"]);
    bench.answers = Answers::of_map([
        ("file.file_exists(/a)".to_owned(), json!(true)),
        ("user.info(www)".to_owned(), json!({ "home": "/srv" })),
        ("pkg.version(x)".to_owned(), json!("1.2.3")),
    ]);
    assert_eq!(bench.render(body, false).unwrap(), ("yes /srv|2".to_owned(), Vec::new()));
}

#[test]
fn without_a_minion_what_nobody_knows_is_not_wrong() {
    let body = "{% if grains.os == 'Arch' %}{% set x = 1 %}{% endif %}{{ x }}{% for k, v in pillar['a'].items() %}{{ k }}{% endfor %}{{ salt['pillar.get']('a', 'd') }}{{ pillar.get('q', {}).get('r', 'e') }}";
    let (text, questions) = bench().render(body, true).unwrap();
    assert_eq!((text.as_str(), questions.len()), ("\u{fde0}de", 0));
    let wrong = bench().render("{{ nope }}", true).unwrap_err();
    assert!(wrong[0].message.contains("`nope` is not set"), "{wrong:?}");
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let body = "a: {{ grains.os_famly }}\nb: {{ 1 + 'x' }}\n{% set c = nope %}\nc: {{ pillar.nested.b.d }}\nd: {{ 'x' | uper }}\n";
    let told = bench().render(body, false).unwrap_err();
    let places: Vec<(u32, u32, &str)> =
        told.iter().map(|it| (it.spans[0].line, it.spans[0].column, it.code.as_str())).collect();
    assert_eq!(places, [(1, 7, "E0201"), (2, 7, "E0210"), (4, 7, "E0201"), (5, 13, "E0203")]);
    assert!(told[0].help.as_deref().unwrap().contains("os_family"), "{told:?}");
    assert!(told[3].help.as_deref().unwrap().contains("upper"), "{told:?}");
}

#[test]
fn templates_import_and_include_each_other() {
    let body = "{% from 'lib.jinja' import hi, port with context %}{{ hi() }} {{ port }} {% import 'lib.jinja' as l %}{{ l.hi('y') }}{% include 'gone' ignore missing %}";
    assert_eq!(bench().render(body, false).unwrap().0, "hi x 80 hi y");
    let wrong = bench().render("{% from './lib.jinja' import nope %}", false).unwrap_err();
    assert_eq!(wrong[0].code, "E0205", "{wrong:?}");
}

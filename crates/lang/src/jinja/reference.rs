//! The page `docs/reference/jinja.md`, made from the tables of the engine. `UPDATE=1` writes it.

use super::{
    checks::{ALIASES as CHECK_ALIASES, CHECKS},
    filters::{ABSENT, ALIASES, FILTERS, REFUSED},
    globals::GLOBALS,
    methods::{OF_DICTS, OF_LISTS, OF_TEXTS, OF_TUPLES},
    salt::{FUNCTIONS, REFUSED as REFUSED_MODULES},
    statements::TAGS,
};
use resources::questions::ASKABLE;
use std::fmt::Write;

const HEAD: &str = "# Jinja

A file that begins with `#!jinja|yaml`, every file of a tree that is configured as `jinja|yaml`, and every file with
`template: jinja` is read by an engine of our own, which does what Jinja 3.1 with Salt 3008's additions does:
values are Python's (`True`, `None`, lists and mappings that can be altered), whitespace and the last line end are kept
as Salt keeps them, and what is not set is an error with its place.

Where it differs, on purpose:

- A template has no clock, no dice, no network and no files outside the tree.
- It is bounded: 2,000,000 steps, 4 MiB in one text, 200 levels of calls and values. Beyond that is a complaint.
- Texts, lists and mappings print as in Python; a filter that gives a generator in Python gives a list here.
- Regular expressions have no look-around and no back references.
- Whole numbers have 64 bits.

## Variables

| name | what |
|---|---|
| `grains`, `pillar` | of the minion; in pillar files, `pillar` is empty |
| `id`, `labels` | the minion's name and its labels, which Salt does not have |
| `salt` | functions, below |
| `opts` | `id`, `saltenv`, `pillarenv`, `environment`, `file_roots`, `pillar_roots`, `test`, `master`, `file_client` |
| `saltenv`, `env` | the environment |
| `sls`, `slspath`, `slsdotpath`, `slscolonpath`, `sls_path` | the state, and its folder with `/`, `.`, `:` and `_` |
| `tplfile`, `tpldir`, `tpldot`, `tplpath` | the template |
| `name`, `source`, `user`, `group`, `mode` | in files with `template: jinja`: of the step; also `context` and `defaults` |

`import`, `from … import`, `include`, `extends` and `import_yaml` take paths from the root of the trees (`web/map.jinja`),
or from the folder of the file that names them (`./map.jinja`, `../map.jinja`).
";

/// The whole page.
pub(super) fn page() -> String {
    let mut out = HEAD.to_owned();
    let words = |it: &[&str]| it.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" ");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "\n## Tags\n\n{}\n\nA line `#jinja2: {{\"trim_blocks\": true, \"lstrip_blocks\": true}}` at the start of a file is understood.",
        words(TAGS)
    ));
    line(format!(
        "\n## Methods\n\nOf texts: {}\n\nOf lists: {}\n\nOf tuples: {}\n\nOf mappings: {}",
        words(OF_TEXTS),
        words(OF_LISTS),
        words(OF_TUPLES),
        words(OF_DICTS)
    ));
    line("\n## Filters\n\n| filter | arguments | what |\n|---|---|---|".to_owned());
    for it in FILTERS {
        let aliases: Vec<&str> =
            ALIASES.iter().filter(|alias| alias.1 == it.name).map(|alias| alias.0).collect();
        let names = [&[it.name], &aliases[..]].concat();
        line(format!("| {} | {} | {} |", words(&names), cell(it.args), it.doc));
    }
    line("\nRefused, as the same tree must give the same result:\n\n| filter | why |\n|---|---|".to_owned());
    for (name, why) in REFUSED {
        line(format!("| `{name}` | {why} |"));
    }
    line(format!("\nNot available: {}", words(ABSENT)));
    line("\n## Tests\n\n| test | arguments | what |\n|---|---|---|".to_owned());
    for it in CHECKS {
        let aliases: Vec<&str> =
            CHECK_ALIASES.iter().filter(|alias| alias.1 == it.name).map(|alias| alias.0).collect();
        let names = [&[it.name], &aliases[..]].concat();
        line(format!("| {} | {} | {} |", words(&names), cell(it.args), it.doc));
    }
    line("\n## Functions\n\n| function | what |\n|---|---|".to_owned());
    for it in GLOBALS {
        line(format!("| `{}` | {} |", it.name, it.doc));
    }
    functions(&mut out);
    out
}

fn cell(args: &str) -> String {
    if args.is_empty() { String::new() } else { format!("`{args}`") }
}

fn functions(out: &mut String) {
    out.push_str(
        "\n## salt\n\n`salt['module.function'](…)` and `salt.module.function(…)`. Answered by the master:\n\n| function | arguments | what |\n|---|---|---|\n",
    );
    for it in FUNCTIONS {
        let _ = writeln!(out, "| `{}` | {} | {} |", it.name, cell(it.args), it.doc);
    }
    out.push_str(
        "\nPut to the minion while its states are compiled. Until it has answered, they count as false or empty; \
         `labctl state show --answers FILE` takes answers from a file. Those that run a command need \
         `probe_commands: true` in master.yaml.\n\n| function | runs a command | what |\n|---|---|---|\n",
    );
    for it in ASKABLE {
        let _ = writeln!(out, "| `{}` | {} | {} |", it.name, if it.command { "yes" } else { "" }, it.doc);
    }
    out.push_str("\nRefused:\n\n| module | why |\n|---|---|\n");
    for (name, why) in REFUSED_MODULES {
        let name = if name.ends_with('_') { format!("{name}…") } else { (*name).to_owned() };
        let _ = writeln!(out, "| `{name}` | {why} |");
    }
}

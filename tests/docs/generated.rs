//! Pages that are made from the source: states, commands, exit codes, API. `UPDATE=1` (or `./dev docs`) writes them anew.

use std::{fmt::Write, fs, path::Path, process::Command};
use tests::{program, project};

/// Compares a page with what it should be, or writes it.
fn fresh(path: &str, text: &str) -> Option<String> {
    let file = project().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).unwrap();
        fs::write(&file, text).unwrap();
        return None;
    }
    let now = fs::read_to_string(&file).unwrap_or_default();
    (now != text).then(|| format!("{path} is stale: ./dev docs"))
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn the_reference_of_states_is_fresh() {
    let mut stale = Vec::new();
    let mut index = String::from(
        "# State functions\n\nMade from the modules' own documentation by `./dev docs`; `labctl state doc` prints the same.\n\n",
    );
    for module in resources::modules() {
        let _ = writeln!(index, "- [{0}]({0}.md): {1}", module.name, module.doc.text());
        let mut page = format!("# {}\n\n{}\n", module.name, module.doc.text());
        for function in module.functions {
            let _ = writeln!(page, "\n## {}.{}\n\n{}\n", module.name, function.name, function.doc.text());
            page.push_str("| parameter | type | default | meaning |\n|---|---|---|---|\n");
            for param in function.params {
                let default = if param.required { "required" } else { param.default.text() };
                let kind = format!("{:?}", param.kind).to_lowercase();
                let _ = writeln!(
                    page,
                    "| `{}` | {kind} | {} | {} |",
                    param.name,
                    cell(default),
                    cell(param.doc.text())
                );
            }
            for example in function.examples.texts() {
                let _ = writeln!(page, "\n```yaml\n{}\n```", example.trim_end());
            }
        }
        stale.extend(fresh(&format!("docs/reference/states/{}.md", module.name), &page));
    }
    stale.extend(fresh("docs/reference/states/README.md", &index));
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

/// A setting as a row of a table.
fn setting_row(setting: &resources::beacons::Setting) -> String {
    let default = if setting.required { "required" } else { setting.default.text() };
    let wanted = cell(&setting.kind.wanted());
    format!("| `{}` | {wanted} | {} | {} |\n", setting.name, cell(default), cell(setting.doc.text()))
}

#[test]
fn the_reference_of_beacons_is_fresh() {
    use resources::beacons::{COMMON, LIMITS, kinds};
    let head = "| setting | type | default | meaning |\n|---|---|---|---|\n";
    let mut page = String::from(
        "# Beacons\n\nMade from the beacons' own tables by `./dev docs`. [How to use them](../how-to/beacons.md).\n\nEvery event has `beacon`, the name; `kind` if the kind has another name; `dropped`, how many events were left out before it, if there were any.\n\n## What all of them take\n\n",
    );
    page.push_str(head);
    page.extend(COMMON.iter().map(setting_row));
    page.push_str("\nThose that compare a number with a limit also take:\n\n");
    page.push_str(head);
    page.extend(LIMITS.iter().map(setting_row));
    for kind in kinds() {
        let _ = writeln!(page, "\n## {}\n\n{}\n\nCost: {}\n", kind.name, kind.doc.text(), kind.cost.text());
        if let Some(above) = kind.limits.and_then(|it| it.above) {
            let _ = writeln!(page, "It compares with limits; `above` is {above} if no limit is said.\n");
        }
        if !kind.settings.is_empty() {
            page.push_str(head);
            page.extend(kind.settings.iter().map(setting_row));
            page.push('\n');
        }
        page.push_str("| field | what it holds |\n|---|---|\n");
        for line in kind.fields.text().lines() {
            let (name, meaning) = line.split_once(": ").unwrap_or((line, ""));
            let _ = writeln!(page, "| `{name}` | {} |", cell(meaning));
        }
        let _ = writeln!(page, "\n```yaml\n{}\n```", kind.example.text().trim_end());
    }
    let stale = fresh("docs/reference/beacons.md", &page);
    assert!(stale.is_none(), "{stale:?}");
}

/// What a program prints, in an environment that is the same everywhere.
fn printed(name: &str, words: &[&str]) -> String {
    let output = Command::new(program(name)).args(words).env_clear().output().unwrap();
    assert!(output.status.success(), "{name} {words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Every command of labctl with its own arguments; what all of them take stands once, at the top.
fn labctl_page() -> String {
    let mut page = String::from(
        "# labctl\n\nMade from the program's own command line by `./dev docs`; `labctl help COMMAND` prints the same.\n",
    );
    let mut whole = labctl::command().term_width(100);
    whole.build();
    let mut pending = vec![(vec!["labctl".to_owned()], whole)];
    while let Some((path, command)) = pending.pop() {
        let top = path.len() == 1;
        let about =
            command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim();
        if !top {
            let _ = write!(page, "\n{} {}\n", "#".repeat(path.len().min(4)), path.join(" "));
        }
        let _ = write!(page, "\n{about}\n\n```\n{usage}\n```\n");
        let aliases: Vec<String> = command.get_visible_aliases().map(|it| format!("`{it}`")).collect();
        if !aliases.is_empty() {
            let _ = write!(page, "\nShort: {}\n", aliases.join(", "));
        }
        let own: Vec<_> = command
            .get_arguments()
            .filter(|it| !it.is_hide_set() && (top || !it.is_global_set()) && it.get_id() != "help")
            .collect();
        if !own.is_empty() {
            page.push_str("\n| argument | meaning |\n|---|---|\n");
        }
        for argument in own {
            let values: Vec<String> =
                argument.get_possible_values().iter().map(|it| it.get_name().to_owned()).collect();
            let defaults: Vec<String> =
                argument.get_default_values().iter().map(|it| it.to_string_lossy().into_owned()).collect();
            let help =
                argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
            let mut meaning = cell(&help);
            if !values.is_empty() && argument.get_action().takes_values() {
                let _ = write!(meaning, "; one of {}", values.join(", "));
            }
            if !defaults.is_empty() && argument.get_action().takes_values() {
                let _ = write!(meaning, "; default `{}`", defaults.join(","));
            }
            let short = argument.get_short().map(|it| format!("`-{it}` ")).unwrap_or_default();
            let spelled = argument.to_string();
            let _ = writeln!(page, "| {short}`{}` | {meaning} |", cell(&spelled));
        }
        if let Some(examples) = command.get_after_help() {
            let _ = write!(page, "\n```\n{}\n```\n", examples.to_string().trim_end());
        }
        let below: Vec<_> = command
            .get_subcommands()
            .filter(|it| !it.is_hide_set() && (top || it.get_name() != "help"))
            .map(|it| ([&path[..], &[it.get_name().to_owned()]].concat(), it.clone()))
            .collect();
        pending.extend(below.into_iter().rev());
    }
    page
}

/// A daemon's help as it prints it.
fn daemon_page(name: &str, commands: &[&str]) -> String {
    let mut page = format!("# {name}\n\nWhat the program prints for `--help`, written by `./dev docs`.\n");
    let _ = write!(page, "\n```\n{}\n```\n", printed(name, &["--help"]));
    for command in commands {
        let _ = write!(page, "\n## {name} {command}\n\n```\n{}\n```\n", printed(name, &[command, "--help"]));
    }
    page
}

#[test]
fn the_reference_of_commands_is_fresh() {
    let daemons = [
        ("labmaster", &["init", "run", "health", "restore", "unit"][..]),
        ("labminion", &["run", "fingerprint", "grains", "run-recipe", "uninstall"][..]),
    ];
    let mut stale: Vec<String> = daemons
        .iter()
        .filter_map(|(name, commands)| {
            fresh(&format!("docs/reference/{name}.md"), &daemon_page(name, commands))
        })
        .collect();
    stale.extend(fresh("docs/reference/cli.md", &labctl_page()));
    let topics = [("exit-codes", "Exit codes of labctl"), ("environment", "Environment of labctl")];
    for (topic, title) in topics {
        let text = printed("labctl", &["help", topic]);
        let page = format!(
            "# {title}\n\nWhat `labctl help {topic}` prints, written by `./dev docs`.\n\n```\n{text}\n```\n"
        );
        stale.extend(fresh(&format!("docs/reference/{topic}.md"), &page));
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn the_reference_of_the_api_is_fresh() {
    let text = serde_json::to_string_pretty(&master::web::openapi()).unwrap() + "\n";
    let stale = fresh("docs/reference/openapi.json", &text);
    assert!(stale.is_none(), "{stale:?}");
}

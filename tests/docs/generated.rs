//! Pages that are made from the source: state functions and commands. `UPDATE=1` (or `./dev docs`) writes them anew.

use std::{fmt::Write, fs, path::Path};
use tests::project;

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

#[test]
fn the_reference_of_states_is_fresh() {
    let mut stale = Vec::new();
    let mut index = String::from(
        "# State functions\n\nMade from the modules' own documentation by `./dev docs`; `labctl state doc` prints the same.\n\n",
    );
    for module in resources::modules() {
        let _ = writeln!(index, "- [{0}]({0}.md): {1}", module.name, module.doc);
        let mut page = format!("# {}\n\n{}\n", module.name, module.doc);
        for function in module.functions {
            let _ = writeln!(page, "\n## {}.{}\n\n{}\n", module.name, function.name, function.doc);
            page.push_str("| parameter | type | default | meaning |\n|---|---|---|---|\n");
            for param in function.params {
                let default = if param.required { "required" } else { param.default };
                let _ = writeln!(
                    page,
                    "| `{}` | {:?} | {default} | {} |",
                    param.name,
                    param.kind,
                    param.doc.replace('|', "\\|")
                );
            }
            for example in function.examples {
                let _ = writeln!(page, "\n```yaml\n{}\n```", example.trim_end());
            }
        }
        stale.extend(fresh(&format!("docs/reference/states/{}.md", module.name), &page));
    }
    stale.extend(fresh("docs/reference/states/README.md", &index));
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

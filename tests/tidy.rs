//! Checks of the code itself: who may depend on whom, which file may name which outside crate, how long things get,
//! and that every list of modules equals its folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The whole architecture in one table: a crate and the crates of ours that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("resources", &["model"]),
    ("lang", &["model", "resources"]),
    ("bus", &["model"]),
    ("minion", &["bus", "model", "resources"]),
    ("master", &["bus", "lang", "model"]),
    ("labctl", &["bus", "lang", "model"]),
];

/// What a crate must never name, wherever in its `src`: the reasons stand in `docs/architecture.md`.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[
    ("crates/model", &["std::fs", "std::net", "std::process", "SystemTime", "Instant", "tokio"]),
    (
        "crates/resources",
        &["std::fs", "std::net", "std::process", "SystemTime", "Instant", "tokio", "nix", "rumqttc"],
    ),
    (
        "crates/lang",
        &["std::fs", "std::net::Tcp", "std::process", "SystemTime", "Instant", "tokio", "rumqttc"],
    ),
    ("minion", &["handlebars", "saphyr_parser", "lang::"]),
    ("master", &["nix::", "sysinfo", "resources::"]),
    ("labctl", &["master::", "rusqlite"]),
];

/// An outside crate, and the only places that may name it. A place that ends in `/` is a folder.
const HOME_OF: &[(&str, &[&str])] = &[
    ("rumqttc", &["crates/bus/src/client.rs", "crates/bus/src/packet.rs"]),
    ("rumqttd", &["master/src/fanout.rs"]),
    ("rusqlite", &["master/src/store.rs", "master/src/store/"]),
    ("ureq", &["master/src/daemon/outgoing.rs", "master/src/daemon/outgoing/"]),
    ("axum", &["master/src/web.rs", "master/src/web/"]),
    (
        "inotify",
        &[
            "master/src/sources.rs",
            "master/src/sources/",
            "minion/src/beacons/file.rs",
            "minion/src/beacons/file/",
        ],
    ),
    ("hmac", &["master/src/hooks/signature.rs"]),
    ("hpke", &["crates/bus/src/seal.rs"]),
    ("rcgen", &["crates/bus/src/tls.rs", "crates/bus/src/tls/"]),
    (
        "ed25519_dalek",
        &["crates/bus/src/keys.rs", "crates/bus/src/keys/", "crates/bus/src/seed.rs", "crates/bus/src/tls/"],
    ),
    (
        "handlebars",
        &[
            "crates/lang/src/templates.rs",
            "crates/lang/src/helpers.rs",
            "crates/lang/src/remarks.rs",
            "crates/lang/src/rendering.rs",
        ],
    ),
    ("saphyr_parser", &["crates/lang/src/yaml.rs", "crates/lang/src/yaml/"]),
    ("croner", &["crates/lang/src/schedule.rs", "crates/lang/src/schedule/"]),
    ("annotate_snippets", &["crates/lang/src/render.rs"]),
    ("similar", &["crates/resources/src/"]),
    ("regex_lite", &["crates/resources/src/pattern.rs"]),
    ("nix", &["minion/src/linux.rs", "minion/src/linux/"]),
    ("sysinfo", &["minion/src/grains.rs", "minion/src/grains/", "minion/src/telemetry.rs"]),
];

/// The files that may say `async`; everything else is plain functions.
const ASYNC_HOMES: &[&str] = &[
    "crates/bus/src/client.rs",
    "crates/bus/src/client/",
    "crates/bus/src/http.rs",
    "crates/bus/src/pulse.rs",
    "labctl/src/session.rs",
    "labctl/src/session/",
    "labctl/src/worker.rs",
    "master/src/daemon.rs",
    "master/src/daemon/",
    "master/src/fanout.rs",
    "master/src/fanout/",
    "master/src/gate.rs",
    "master/src/gate/",
    "master/src/web.rs",
    "master/src/web/",
    "master/src/main.rs",
    "minion/src/daemon.rs",
    "minion/src/daemon/",
    "minion/src/enroll.rs",
    "minion/src/worker.rs",
    "minion/src/worker/leader.rs",
    "minion/src/main.rs",
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 130;

#[test]
fn crates_use_only_what_they_may() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|it| it["name"].as_str().unwrap()).collect();
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).chain(["tests"]).collect();
    assert_eq!(ours, listed, "the dependency table lists every crate of the workspace");
    let mut wrong = Vec::new();
    for package in packages {
        let Some((name, allowed)) = MAY_USE.iter().find(|(name, _)| package["name"] == *name) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            if ours.contains(other) && !allowed.contains(&other) {
                wrong.push(format!("{name} must not use {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn versions_stand_in_the_workspace_table_only() {
    let mut wrong = Vec::new();
    for manifest in
        files(&root(), "toml").iter().filter(|it| it.ends_with("Cargo.toml") && *it != "Cargo.toml")
    {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                name.trim_end_matches(']').clone_into(&mut section);
            } else if section.ends_with("dependencies")
                && line.contains('=')
                && !line.contains("workspace = true")
            {
                wrong.push(format!("{manifest}: `{line}`: take it from the workspace table"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_tidy() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let code = without_tests(&text);
        if !text.starts_with("//!") {
            wrong.push(format!("{file}: says what it is for in its first line"));
        }
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{file}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
        for (index, line) in code.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX && !line.contains('"') {
                wrong.push(format!("{file}:{}: a line of more than {LINE_CHARS_MAX} characters", index + 1));
            }
        }
        for (line, length) in functions(code) {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!(
                    "{file}:{line}: a function of {length} lines, more than {FUNCTION_LINES_MAX}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_are_named_in_their_homes_only() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for (name, homes) in HOME_OF {
            if names(without_tests(&text), name) && !at_home(&file, homes) {
                wrong.push(format!("{file}: only {} may name {name}", homes.join(", ")));
            }
        }
        for (place, names) in MUST_NOT_NAME {
            for name in *names {
                if file.starts_with(&format!("{place}/"))
                    && code_lines(without_tests(&text)).any(|it| says(it, name))
                {
                    wrong.push(format!("{file}: {place} must not name {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn async_stays_in_the_shells() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|file| !at_home(file, ASYNC_HOMES))
        .filter(|file| {
            let text = fs::read_to_string(root().join(file)).unwrap();
            code_lines(without_tests(&text))
                .any(|line| line.contains("async fn") || line.contains("async move"))
        })
        .collect();
    assert!(wrong.is_empty(), "these files may not say async:\n{}", wrong.join("\n"));
}

#[test]
fn panics_are_not_a_way_to_handle_input() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for (index, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "#[allow("] {
                if code.contains(word) {
                    wrong.push(format!("{file}:{}: {word}", index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_state_module_is_listed_once_and_in_order() {
    let listed: Vec<&str> = resources::modules().iter().map(|module| module.name).collect();
    let folder: BTreeSet<String> = files(&root().join("crates/resources/src/modules"), "rs")
        .iter()
        .filter(|file| !file.contains('/'))
        .map(|file| file.trim_end_matches(".rs").to_owned())
        // What several modules share is no module; what only the master makes is in a list of its own.
        .filter(|name| {
            let file = root().join("crates/resources/src/modules").join(format!("{name}.rs"));
            let text = fs::read_to_string(file).unwrap();
            let is_module = text.contains("pub(crate) const MODULE") || text.contains("as MODULE;");
            is_module && name != "undo"
        })
        .collect();
    assert_eq!(listed, folder.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_module_list_equals_its_folder() {
    let mut wrong = Vec::new();
    let all = sources();
    let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &all {
        let path = Path::new(file);
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap().to_string_lossy().into_owned();
        if !["lib", "main"].contains(&stem.as_str()) {
            children.entry(folder).or_default().insert(stem);
        }
    }
    for (folder, members) in children {
        let parents: Vec<String> = if folder.ends_with("/src") {
            vec![format!("{folder}/lib.rs"), format!("{folder}/main.rs")]
        } else {
            vec![format!("{folder}.rs")]
        };
        let lists: String = parents
            .iter()
            .filter_map(|it| fs::read_to_string(root().join(it)).ok())
            .collect::<Vec<_>>()
            .join("\n");
        for member in members {
            let declared = lists.lines().map(str::trim).any(|line| {
                ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
                    .iter()
                    .any(|it| line == format!("{it}{member};"))
            });
            if !declared {
                wrong.push(format!("{folder}/{member}.rs is in no list"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_part_that_can_be_left_out_is_left_out_by_a_test() {
    let mut wrong = Vec::new();
    let table = "crates/model/src/broken.rs";
    let (mut homes, mut tests) = (String::new(), String::new());
    for file in files(&root(), "rs").iter().filter(|it| *it != table && *it != "tests/tidy.rs") {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        let is_test = file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs");
        let (code, trial) =
            if is_test { ("", text.as_str()) } else { text.split_once("mod tests {").unwrap_or((&text, "")) };
        homes.push_str(code);
        tests.push_str(trial);
    }
    let mut names = BTreeSet::new();
    for (name, _) in model::broken::PARTS {
        if !names.insert(name) {
            wrong.push(format!("`{name}` stands twice in {table}"));
        }
        let quoted = format!("\"{name}\"");
        if !homes.contains(&quoted) {
            wrong.push(format!("`{name}` is left out nowhere; take it out of {table}"));
        }
        if !tests.contains(&quoted) {
            wrong.push(format!("no test leaves `{name}` out, so nobody knows whether one would notice"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let words = [concat!("/wo", "rk/"), concat!("/tmp/", "lab/"), "TO\u{44}O", "FIX\u{4d}E", "X\u{58}X"];
    let mut wrong = Vec::new();
    for kind in ["rs", "md", "toml", "sls", "yaml", "yml", "sh", "hbs", "service"] {
        for file in files(&root(), kind).into_iter().filter(|it| it != "tests/tidy.rs") {
            let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
            for (index, line) in text.lines().enumerate() {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{file}:{}: {word}", index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn at_home(file: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| if home.ends_with('/') { file.starts_with(home) } else { file == *home })
}

/// Lines that are not comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Whether code (not comments) uses an outside crate by name.
fn names(text: &str, name: &str) -> bool {
    code_lines(text).any(|line| line.contains(&format!("use {name};")) || says(line, &format!("{name}::")))
}

/// Whether a line has `path` where a path begins.
fn says(line: &str, path: &str) -> bool {
    let begins = |at: usize| {
        line[..at].chars().next_back().is_none_or(|it| !it.is_alphanumeric() && it != '_' && it != ':')
    };
    line.match_indices(path).any(|(at, _)| begins(at))
}

/// The part of a file before its tests.
fn without_tests(text: &str) -> &str {
    let starts = ["mod ", "pub(crate) mod "].map(|it| text.find(&format!("\n#[cfg(test)]\n{it}")));
    starts.into_iter().flatten().min().map_or(text, |at| &text[..at])
}

/// Where each function starts, and how many lines it has; relies on rustfmt's indentation.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| {
        let code = line.trim_start();
        let is_fn = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
        ]
        .iter()
        .any(|it| code.starts_with(it));
        is_fn && !line.trim_end().ends_with(['}', ';'])
    });
    let closing = |line: &str| format!("{}}}", &line[..line.len() - line.trim_start().len()]);
    starts
        .filter_map(|(start, line)| {
            let end = lines[start..].iter().position(|it| **it == closing(line))?;
            Some((start + 1, end + 1))
        })
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Our Rust sources below `src` folders, relative to the root; tests may name what they like.
fn sources() -> Vec<String> {
    let places =
        ["crates/model", "crates/bus", "crates/lang", "crates/resources", "master", "minion", "labctl"];
    let in_place = |place: &&str| {
        let place = format!("{place}/src");
        files(&root().join(&place), "rs").into_iter().map(move |file| format!("{place}/{file}"))
    };
    let is_test = |file: &String| {
        file.ends_with("/tests.rs") || file.ends_with("/test_kit.rs") || file.contains("/tests/")
    };
    places.iter().flat_map(in_place).filter(|file| !is_test(file)).collect()
}

/// Files of a kind beneath a folder, relative to it, without build output.
fn files(folder: &Path, kind: &str) -> Vec<String> {
    let mut pending = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git", ".cargo"].contains(&name.as_str()) {
            pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == kind) {
            found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

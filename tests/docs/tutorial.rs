//! Runs the tutorials: ```` ```console ```` blocks are typed into one shell for each page; the lines below a command must
//! appear in its output in that order, `…` standing for anything. ```` ```yaml PATH ```` blocks are written to files first.

use super::pages;
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tests::{program, project};

/// One command and the lines that must be in its output.
#[derive(Debug)]
struct Typed {
    command: String,
    expected: Vec<String>,
}

#[derive(Debug)]
enum Block {
    Write(String, String),
    Type(Vec<Typed>),
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|it| !it.is_empty()) else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|it| *it != "```").collect();
        if kind == "console" {
            found.push(Block::Type(typed(&body)));
        } else if let Some(path) = kind.strip_prefix("yaml ") {
            found.push(Block::Write(path.to_owned(), body.join("\n") + "\n"));
        }
    }
    found
}

fn typed(body: &[&str]) -> Vec<Typed> {
    let mut all: Vec<Typed> = Vec::new();
    let mut goes_on = false;
    for line in body {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push(Typed { command: command.to_owned(), expected: Vec::new() });
        } else if goes_on {
            let last = all.last_mut().expect("a command goes before");
            last.command = format!("{}\n{line}", last.command);
        } else if !line.trim().is_empty() {
            all.last_mut().expect("a command goes before").expected.push((*line).to_owned());
        }
        goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
    }
    all
}

/// The whole page as one script; a marker before each command.
fn script(blocks: &[Block]) -> String {
    let mut script = String::from("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n");
    let mut number = 0;
    for block in blocks {
        match block {
            Block::Write(path, text) => {
                let _ = write!(
                    script,
                    "mkdir -p \"$(dirname {path})\"\ncat > {path} <<'END-OF-FILE'\n{text}END-OF-FILE\n"
                );
            }
            Block::Type(all) => {
                for it in all {
                    let _ = write!(script, "printf '\\n@@{number}\\n'\n{}\n", it.command);
                    number += 1;
                }
            }
        }
    }
    script
}

/// Whether `line` matches `pattern`, where `…` is anything and runs of blanks are one blank.
fn matches(pattern: &str, line: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = squeeze(line);
    let mut rest = line.as_str();
    squeeze(pattern).split('…').map(str::trim).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Runs a page, after what it takes for given.
fn run(page: &Path, before: &str) {
    let blocks = blocks(&fs::read_to_string(page).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let programs = program("labctl").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["120", "bash", "-c", &format!("{before}\n{}", script(&blocks))])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("TREE", project())
        .env("HOME", folder.path())
        .env_remove("LABCTL_SOCKET")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all: Vec<&Typed> = blocks
        .iter()
        .filter_map(|it| if let Block::Type(all) = it { Some(all) } else { None })
        .flatten()
        .collect();
    for (number, it) in all.iter().enumerate() {
        let part = said.split(&format!("@@{number}\n")).nth(1).unwrap_or_default();
        let part = part.split("\n@@").next().unwrap_or_default();
        let mut lines = part.lines();
        for expected in &it.expected {
            let found = lines.by_ref().any(|line| matches(expected, line));
            assert!(
                found,
                "{}:\n$ {}\nshould say `{expected}`, and said:\n{part}",
                page.display(),
                it.command
            );
        }
    }
}

#[test]
fn what_the_tutorials_show_is_what_happens() {
    let all = pages(&project().join("docs/tutorial"));
    assert!(all.len() > 3);
    for page in all.iter().filter(|it| !it.ends_with("recording.md")) {
        run(page, "");
    }
}

#[test]
fn patterns_match_with_gaps() {
    assert!(matches("vm-1  changed … ok", "x vm-1 changed 3 of 4 ok y"));
    assert!(!matches("vm-1 failed", "vm-1 changed"));
}

/// A master at work with one minion, whose org key is not in its folder of keys; `systemctl restart` works.
const AT_WORK: &str = r#"
exec 2> talk
export LABMASTER_ROOT=$PWD/lab LABCTL_SOCKET=$PWD/lab/run/labmaster/api.sock
mkdir -p lab/etc/labctl
printf "name: lab\naddresses: ['127.0.0.1']\nlisten:\n  mqtt: ['127.0.0.1:18869']\n  https: ['127.0.0.1:18469']\n" \
  > lab/etc/labctl/master.yaml
labmaster init --no-example >&2
run() { labmaster run 2>> master.log & master=$!; until labctl status > /dev/null 2>&1; do sleep 0.1; done; }
systemctl() { [ "$*" = "restart labmaster" ] && kill $master && wait $master; run; }
run
labctl key enroll --ids vm-1 > seed.json
labminion run --seed seed.json --sandbox vm-1/host --state-dir vm-1/state 2> vm-1.log &
until labctl master masters | grep -q '^1 minions'; do sleep 0.1; done
mv lab/var/lib/labctl/master/keys/org*.pem .
"#;

#[test]
fn the_keys_of_a_master_are_changed_as_the_page_says() {
    run(&project().join("docs/how-to/rotate-keys.md"), AT_WORK);
}

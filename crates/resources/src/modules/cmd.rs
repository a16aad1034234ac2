//! `cmd`: commands.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, Command, Done, Exit},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Longest that a command may take if nothing else is said.
const TIMEOUT_MS: u64 = 3_600_000;

pub(crate) const MODULE: Module = Module {
    name: "cmd",
    doc: "Runs commands.",
    functions: &[
        Function {
            name: "run",
            doc: "A command is run, each time: it changes something unless `unless`, `onlyif`, `creates` or \
                  `onchanges` keep it from running, or it says itself that it did not (`stateful`). In a sandbox \
                  commands really run, in the sandbox's folder and with LABCTL_SANDBOX=1 in their environment.",
            params: PARAMS,
            examples: &[
                "initialize database:\n  cmd.run:\n    - name: initdb --data /srv/db\n    - runas: postgres\n    \
                 - creates: /srv/db/VERSION\n",
                "reload rules:\n  cmd.run:\n    - name: nft -f /etc/nftables.conf\n    - unless: nft list table \
                 inet filter\n    - env:\n      - LANG: C\n    - timeout: 30s\n",
            ],
            parse: |params| parse("cmd.run", params, Way::Always),
        },
        Function {
            name: "wait",
            doc: "A command is run only when something it watches has changed.",
            params: PARAMS,
            examples: &["update-initramfs -u:\n  cmd.wait:\n    - cwd: /boot\n"],
            parse: |params| parse("cmd.wait", params, Way::WhenWatched),
        },
    ],
};

const PARAMS: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The command, read by a shell.",
    },
    Param {
        name: "argv",
        kind: ParamType::TextList,
        required: false,
        default: "",
        doc: "Program and arguments, instead of a line for a shell; the name is then only a name.",
    },
    Param { name: "cwd", kind: ParamType::Path, required: false, default: "/", doc: "Where to run it." },
    Param {
        name: "runas",
        kind: ParamType::Text,
        required: false,
        default: "root",
        doc: "The user to run it as.",
    },
    Param {
        name: "env",
        kind: ParamType::TextMap,
        required: false,
        default: "",
        doc: "Variables of its environment, on top of a small fixed one.",
    },
    Param {
        name: "shell",
        kind: ParamType::Path,
        required: false,
        default: "/bin/sh",
        doc: "The shell that reads it.",
    },
    Param { name: "stdin", kind: ParamType::Text, required: false, default: "", doc: "What it reads." },
    Param {
        name: "timeout",
        kind: ParamType::Duration,
        required: false,
        default: "1h",
        doc: "It is killed with its children after that long.",
    },
    Param {
        name: "stateful",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Its last line says whether it changed something: `changed=yes comment='...'`, or JSON with the same keys.",
    },
    Param {
        name: "success_retcodes",
        kind: ParamType::TextList,
        required: false,
        default: "0",
        doc: "Exit codes that are a success, besides 0.",
    },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Always,
    WhenWatched,
}

#[derive(Debug)]
struct Run {
    name: String,
    command: Command,
    stateful: bool,
    success: Vec<i32>,
    way: Way,
}

fn parse(kind: &str, params: &Map<String, Value>, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    let name = args.name();
    let shell = args.path("shell").unwrap_or_else(|| PathBuf::from("/bin/sh"));
    let line = || vec![shell.display().to_string(), "-c".to_owned(), name.clone()];
    let words = args.list("argv").unwrap_or_else(line);
    if words.iter().all(|it| it.trim().is_empty()) || words.iter().any(|it| it.contains('\0')) {
        return Err(invalid(if args.has("argv") { "argv" } else { "name" }, "the command is empty"));
    }
    let user = args.text("runas");
    user.iter().try_for_each(|it| plain_word("runas", it))?;
    let env = args.map("env").unwrap_or_default();
    if let Some((bad, _)) =
        env.iter().find(|it| it.0.is_empty() || it.0.contains(['=', '\0']) || it.1.contains('\0'))
    {
        return Err(invalid("env", format!("`{bad}` cannot be the name of a variable")));
    }
    let codes = args.list("success_retcodes").unwrap_or_default();
    let success: Result<Vec<i32>, _> = codes.iter().map(|it| it.parse()).collect();
    let success = success.map_err(|_| invalid("success_retcodes", "exit codes are whole numbers"))?;
    let timeout_ms = args.duration_ms("timeout").unwrap_or(TIMEOUT_MS);
    let command =
        Command { argv: words, cwd: args.path("cwd"), user, env, stdin: args.text("stdin"), timeout_ms };
    Ok(Box::new(Run { name, command, stateful: args.bool("stateful", false), success, way }))
}

impl Run {
    fn run(&self, host: &mut dyn Host) -> Result<Applied, Error> {
        let what = format!("`{}`", self.name);
        let done =
            host.perform(&Action::Run(self.command.clone())).map_err(Error::host("run", &self.name))?;
        let good = matches!(done.exit, Exit::Code(code) if code == 0 || self.success.contains(&code));
        if !good {
            return Err(done.failure(&what));
        }
        Ok(self.judge(done))
    }

    /// What a stateful command says of itself in its last line.
    fn judge(&self, done: Done) -> Applied {
        let applied = Applied::with(done.output);
        if !self.stateful {
            return applied;
        }
        let said =
            applied.output.as_ref().and_then(|it| it.stdout.lines().rfind(|line| !line.trim().is_empty()));
        let (changed, comment) = stateful(said.unwrap_or_default());
        Applied { comment, unchanged: changed == Some(false), ..applied }
    }
}

/// `changed=no comment='as it was'`, or `{"changed": false, "comment": "as it was"}`.
fn stateful(line: &str) -> (Option<bool>, String) {
    let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    };
    if let Ok(Value::Object(map)) = serde_json::from_str(line) {
        let changed = match map.get("changed") {
            Some(Value::Bool(changed)) => Some(*changed),
            Some(Value::String(text)) => truth(text),
            _ => None,
        };
        return (changed, map.get("comment").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    let value = |key: &str| {
        let rest = &line[line.find(key)? + key.len()..];
        let quote = rest.chars().next().filter(|it| matches!(it, '\'' | '"'));
        let end = |it: char| quote.map_or(it.is_whitespace(), |quote| it == quote);
        rest.trim_start_matches(['\'', '"']).split(end).next()
    };
    (value("changed=").and_then(truth), value("comment=").unwrap_or_default().to_owned())
}

impl Resource for Run {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if self.way == Way::Always {
            let to = Some(self.name.clone());
            plan.push(Change { what: "command".to_owned(), from: None, to, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.run(host)
    }
    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        self.run(host).map(Some)
    }
    fn refreshes(&self) -> Option<&'static str> {
        Some("run")
    }
    fn converges(&self) -> bool {
        self.way == Way::WhenWatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_command_says_what_it_did() {
        assert_eq!(stateful("changed=no comment='as it was'"), (Some(false), "as it was".to_owned()));
        assert_eq!(stateful("changed=yes"), (Some(true), String::new()));
        assert_eq!(stateful(r#"{"changed": false, "comment": "x"}"#), (Some(false), "x".to_owned()));
        assert_eq!(stateful("whatever"), (None, String::new()));
    }
}

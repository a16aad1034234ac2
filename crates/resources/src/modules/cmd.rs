//! `cmd`: commands.

mod params;

use crate::{
    Applied, Collected, Doc, Error, Examples, Function, Host, Module, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled, plain_word},
    diff::hash_of,
    host::{Action, Attributes, Command, Contents, Done, Exit, FileKind, Links},
    remote::{Remote, private_folder},
};
use model::{Change, ContentHash, Output, Plan};
use params::{RUN_PARAMS, SCRIPT_PARAMS};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Longest that a command may take if nothing else is said.
const TIMEOUT_MS: u64 = 3_600_000;
/// Where scripts are while they run.
const SCRIPT_FOLDER: &str = "/var/cache/labctl/scripts";

pub(crate) const MODULE: Module = Module {
    name: "cmd",
    doc: Doc::new("Runs commands."),
    functions: &[
        Function {
            name: "run",
            doc: Doc::new(
                "A command is run, each time: it changes something unless `unless`, `onlyif`, `creates` or \
                  `onchanges` keep it from running, or it says itself that it did not (`stateful`). In a sandbox \
                  commands really run, in the sandbox's folder and with LABCTL_SANDBOX=1 in their environment.",
            ),
            params: RUN_PARAMS,
            examples: Examples::new(&[
                "initialize database:\n  cmd.run:\n    - name: initdb --data /srv/db\n    - runas: postgres\n    \
                 - creates: /srv/db/VERSION\n",
                "reload rules:\n  cmd.run:\n    - name: nft -f /etc/nftables.conf\n    - unless: nft list table \
                 inet filter\n    - env:\n      - LANG: C\n    - timeout: 30s\n",
            ]),
            parse: |params| run("cmd.run", params, Way::Always),
        },
        Function {
            name: "wait",
            doc: Doc::new("A command is run only when something it watches has changed."),
            params: RUN_PARAMS,
            examples: Examples::new(&["update-initramfs -u:\n  cmd.wait:\n    - cwd: /boot\n"]),
            parse: |params| run("cmd.wait", params, Way::WhenWatched),
        },
        Function {
            name: "script",
            doc: Doc::new(
                "A script of the tree, or one that is fetched, is run, each time: what counts for `cmd.run` counts here. \
                  It lies in a file that only its user can read while it runs.",
            ),
            params: SCRIPT_PARAMS,
            examples: Examples::new(&[
                "migrate:\n  cmd.script:\n    - source: https://example.com/migrate.sh\n    - source_hash: sha256=\
                 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n    - args: --all\n    - runas: app\n    \
                 - creates: /srv/app/migrated\n",
            ]),
            parse: |params| script("cmd.script", params, Way::Always),
        },
        Function {
            name: "wait_script",
            doc: Doc::new("A script is run only when something it watches has changed."),
            params: SCRIPT_PARAMS,
            examples: Examples::new(&[
                "rebuild:\n  cmd.wait_script:\n    - source: https://example.com/rebuild.sh\n    - cwd: /srv/app\n",
            ]),
            parse: |params| script("cmd.wait_script", params, Way::WhenWatched),
        },
    ],
};

/// How a command is run: what all functions share.
#[derive(Debug)]
struct Run {
    name: String,
    line: Line,
    command: Command,
    wrap: Wrap,
    stateful: bool,
    hidden: bool,
    success: Success,
    way: Way,
}

/// What is run.
#[derive(Debug)]
enum Line {
    Argv(Vec<String>),
    Shell { shell: String, line: String },
    Script { shell: String, script: Script, args: String },
}

/// A script that came with the recipe, or that the minion fetches.
#[derive(Debug)]
enum Script {
    Blob(ContentHash),
    Remote(Remote),
    /// The compiler has not replaced it.
    Open,
}

/// What a shell does before it becomes the command.
#[derive(Debug, Default)]
struct Wrap {
    umask: Option<u32>,
    path: Option<String>,
    root: Option<PathBuf>,
    group: Option<String>,
    background: bool,
}

#[derive(Debug)]
struct Success {
    codes: Vec<i32>,
    stdout: Vec<String>,
    stderr: Vec<String>,
    timeout: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Always,
    WhenWatched,
}

fn run(kind: &str, params: &Map<String, Value>, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, RUN_PARAMS, params)?;
    let shell = args.path("shell").unwrap_or_else(|| PathBuf::from("/bin/sh")).display().to_string();
    let line = match args.list("argv") {
        Some(words) => Line::Argv(words),
        None => Line::Shell { shell, line: args.name() },
    };
    let empty = match &line {
        Line::Argv(words) => words.iter().all(|it| it.trim().is_empty()),
        Line::Shell { line, .. } => line.trim().is_empty(),
        Line::Script { .. } => false,
    };
    if empty {
        return Err(invalid(if args.has("argv") { "argv" } else { "name" }, "the command is empty"));
    }
    make(&args, line, way)
}

fn script(kind: &str, params: &Map<String, Value>, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, SCRIPT_PARAMS, params)?;
    let script = match (args.hash("content_hash")?, Remote::parse(&args, Path::new("/"))?) {
        (Some(hash), _) => Script::Blob(hash),
        (None, Some(remote)) => Script::Remote(remote),
        (None, None) => Script::Open,
    };
    let shell = args.path("shell").unwrap_or_else(|| PathBuf::from("/bin/sh")).display().to_string();
    let given = match args.value("args") {
        Some(Value::Array(_)) => {
            args.list("args").unwrap_or_default().iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ")
        }
        Some(_) => args.text("args").unwrap_or_default(),
        // Salt takes what follows the first word of the name.
        None => args.name().split_once(' ').map_or_else(String::new, |it| it.1.to_owned()),
    };
    if args.bool("bg", false) {
        return Err(invalid("bg", "a script is removed when it has ended, so somebody has to wait for that"));
    }
    make(&args, Line::Script { shell, script, args: given }, way)
}

/// For a shell, as one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn make(args: &Args<'_>, line: Line, way: Way) -> Result<Box<dyn Resource>, ParamsError> {
    let user = args.text("runas");
    user.iter().try_for_each(|it| plain_word("runas", it))?;
    let group = args.text("group");
    group.iter().try_for_each(|it| plain_word("group", it))?;
    let env = args.map("env").unwrap_or_default();
    let bad = |it: &&(String, String)| it.0.is_empty() || it.0.contains(['=', '\0']) || it.1.contains('\0');
    if let Some((bad, _)) = env.iter().find(bad) {
        return Err(invalid("env", format!("`{bad}` cannot be the name of a variable")));
    }
    let nul = match &line {
        Line::Argv(words) => words.iter().any(|it| it.contains('\0')),
        Line::Shell { line, .. } => line.contains('\0'),
        Line::Script { args, .. } => args.contains('\0'),
    };
    if nul {
        return Err(invalid("name", "a command cannot hold a zero byte"));
    }
    let codes = args.list("success_retcodes").unwrap_or_default();
    let codes: Result<Vec<i32>, _> = codes.iter().map(|it| it.parse()).collect();
    let success = Success {
        codes: codes.map_err(|_| invalid("success_retcodes", "exit codes are whole numbers"))?,
        stdout: args.list("success_stdout").unwrap_or_default(),
        stderr: args.list("success_stderr").unwrap_or_default(),
        timeout: args.bool("ignore_timeout", false),
    };
    let wrap = Wrap {
        umask: args.mode("umask"),
        path: args.list("prepend_path").map(|it| it.join(":")).filter(|it| !it.is_empty()),
        root: args.path("root"),
        group,
        background: args.bool("bg", false),
    };
    let timeout_ms = args.duration_ms("timeout").unwrap_or(TIMEOUT_MS);
    let stdin = args.text("stdin");
    let command = Command { argv: Vec::new(), cwd: args.path("cwd"), user, env, stdin, timeout_ms };
    let stateful = args.value("stateful").is_some_and(Value::is_array) || args.bool("stateful", false);
    let hidden = args.bool("hide_output", false);
    Ok(Box::new(Run { name: args.name(), line, command, wrap, stateful, hidden, success, way }))
}

impl Wrap {
    /// The command behind what has to be done before it: fixed scripts, values as their arguments.
    fn around(&self, mut argv: Vec<String>, user: Option<&String>) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        if let Some(group) = &self.group.as_ref().filter(|_| self.root.is_none()) {
            let group = format!("--regid={group}");
            let user = user.map(|it| format!("--reuid={it}"));
            let groups = if user.is_some() { "--init-groups" } else { "--clear-groups" };
            let before =
                [words(&["setpriv", &group, groups]), user.into_iter().collect(), words(&["--"])].concat();
            argv = [before, argv].concat();
        }
        if let Some(root) = &self.root {
            let mut chroot = words(&["chroot"]);
            let names = [user.map_or("", |it| it), self.group.as_deref().unwrap_or_default()];
            if names.iter().any(|it| !it.is_empty()) {
                chroot.push(format!("--userspec={}", names.join(":").trim_end_matches(':')));
            }
            chroot.push(root.display().to_string());
            argv = [chroot, argv].concat();
        }
        if self.umask.is_some() || self.path.is_some() {
            let script = r#"[ -z "$1" ] || umask "$1"; [ -z "$2" ] || PATH="$2:$PATH"; shift 2; exec "$@""#;
            let umask = self.umask.map_or_else(String::new, |it| format!("{it:04o}"));
            let path = self.path.as_deref().unwrap_or_default();
            argv = [words(&["/bin/sh", "-c", script, "sh", &umask, path]), argv].concat();
        }
        if self.background {
            let script = r#""$@" </dev/null >/dev/null 2>&1 &"#;
            argv = [words(&["/bin/sh", "-c", script, "sh"]), argv].concat();
        }
        argv
    }
}

impl Run {
    fn run(&self, host: &mut dyn Host) -> Result<Applied, Error> {
        match &self.line {
            Line::Argv(words) => self.carry_out(words.clone(), host),
            Line::Shell { shell, line } => {
                self.carry_out(vec![shell.clone(), "-c".to_owned(), line.clone()], host)
            }
            Line::Script { shell, script, args } => {
                let place = self.put_script(script, host);
                if let Script::Remote(remote) = script {
                    remote.done(host)?;
                }
                let place = place?;
                let path =
                    if host.is_sandbox() { self.seen_from_cwd(&place) } else { place.display().to_string() };
                let line = format!("{} {args}", quoted(&path));
                let done =
                    self.carry_out(vec![shell.clone(), "-c".to_owned(), line.trim_end().to_owned()], host);
                host.remove(&place).map_err(Error::host("remove", place.display()))?;
                done
            }
        }
    }

    fn carry_out(&self, argv: Vec<String>, host: &mut dyn Host) -> Result<Applied, Error> {
        let what = format!("`{}`", self.name);
        let mut command = self.command.clone();
        command.argv = self.wrap.around(argv, command.user.as_ref());
        let home = self.home(host)?;
        if command.cwd.is_none() && !host.is_sandbox() {
            command.cwd.clone_from(&home);
        }
        // The command changes its user itself, after what only root can do.
        if (self.wrap.root.is_some() || self.wrap.group.is_some())
            && let Some(user) = command.user.take()
        {
            let home = home.unwrap_or_else(|| PathBuf::from("/"));
            let own = [("HOME", home.display().to_string()), ("USER", user.clone()), ("LOGNAME", user)];
            let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
            command.env = own.chain(command.env).collect();
        }
        let action = Action::Run(command);
        let done = if self.hidden {
            let mut unseen = Collected::default();
            let exit = host.act(&action, &mut unseen).map_err(Error::host("run", &self.name))?;
            Done { output: unseen.into_output(exit), exit }
        } else {
            host.perform(&action).map_err(Error::host("run", &self.name))?
        };
        if !self.success.is(&done) {
            return Err(self.failure(done, &what));
        }
        self.judge(done)
    }

    fn failure(&self, done: Done, what: &str) -> Error {
        if !self.hidden {
            return done.failure(what);
        }
        Done { output: Output::default(), ..done }.failure(what)
    }

    /// The user's home, if it is there: where commands run by default.
    fn home(&self, host: &dyn Probe) -> Result<Option<PathBuf>, Error> {
        let name = self.command.user.as_deref().unwrap_or("root");
        let user = host.user(name).map_err(Error::host("look up user", name))?;
        let Some(home) = user.map(|it| PathBuf::from(it.home)).filter(|it| it.is_absolute()) else {
            return Ok(None);
        };
        let found = host.stat(&home, Links::Follow).map_err(Error::host("look at", home.display()))?;
        Ok(found.is_some_and(|it| it.kind == FileKind::Directory).then_some(home))
    }

    /// The script as a file that only its user can read and run.
    fn put_script(&self, script: &Script, host: &mut dyn Host) -> Result<PathBuf, Error> {
        let obtained;
        let (contents, id) = match script {
            Script::Open => return Err(not_compiled("source")),
            Script::Blob(hash) => (Contents::Blob(*hash), hash.to_string()),
            Script::Remote(remote) => {
                obtained = remote.obtain(host)?;
                (Contents::File(&obtained), hash_of(self.name.as_bytes()).to_string())
            }
        };
        let uid = match &self.command.user {
            None => None,
            Some(name) => {
                let uid = host.uid(name).map_err(Error::host("look up user", name))?;
                Some(uid.ok_or_else(|| Error::Refused(format!("there is no user `{name}`")))?)
            }
        };
        private_folder(host, SCRIPT_FOLDER)?;
        // Others may pass, so that the user reaches its script; none may look around.
        let how = Attributes { mode: Some(0o711), ..Attributes::default() };
        host.set(Path::new(SCRIPT_FOLDER), how, Links::Keep).map_err(Error::host("alter", SCRIPT_FOLDER))?;
        // Steps beside this one may run the same script, or another one under the same name.
        let whole = format!("{id}\n{}\n{:?}", self.name, self.command);
        let place = Path::new(SCRIPT_FOLDER).join(&hash_of(whole.as_bytes()).to_string()[..32]);
        let how = Attributes { mode: Some(0o500), uid, gid: None };
        host.write(&place, contents, how, Links::Keep).map_err(Error::host("write", place.display()))?;
        if let Script::Remote(remote) = script
            && let Err(error) = remote.verify(host, &place)
        {
            host.remove(&place).map_err(Error::host("remove", place.display()))?;
            return Err(error);
        }
        Ok(place)
    }

    /// Where a sandbox begins is known to nobody but itself: up from the folder where the command runs.
    fn seen_from_cwd(&self, place: &Path) -> String {
        let depth = self.command.cwd.as_ref().map_or(0, |it| it.components().count().saturating_sub(1));
        format!("./{}{}", "../".repeat(depth), place.strip_prefix("/").unwrap_or(place).display())
    }

    /// What a stateful command says of itself.
    fn judge(&self, done: Done) -> Result<Applied, Error> {
        let said = self.stateful.then(|| stateful(&done.output.stdout));
        let mut applied = if self.hidden { Applied::default() } else { Applied::with(done.output) };
        match said {
            None => (),
            Some(Ok((changed, comment))) => {
                applied.comment = comment;
                applied.unchanged = !changed;
            }
            Some(Err(why)) => {
                let output = Box::new(applied.output.unwrap_or_default());
                return Err(Error::Command { what: format!("`{}`", self.name), message: why, output });
            }
        }
        Ok(applied)
    }
}

impl Success {
    fn is(&self, done: &Done) -> bool {
        let says = |wanted: &[String], said: &str| wanted.iter().any(|it| it == said.trim_end());
        match done.exit {
            Exit::Code(0) => true,
            Exit::Code(code) => {
                self.codes.contains(&code)
                    || says(&self.stdout, &done.output.stdout)
                    || says(&self.stderr, &done.output.stderr)
            }
            Exit::TimedOut(_) => self.timeout,
            Exit::Signal(_) | Exit::Cancelled => false,
        }
    }
}

/// `changed=no comment='as it was'` on the last line, or JSON: `{"changed": false, "comment": "as it was"}`. Without a
/// word about it nothing has changed.
fn stateful(text: &str) -> Result<(bool, String), String> {
    let wrong =
        || "it is stateful, but its output is neither JSON nor a last line of `name=value`".to_owned();
    if text.trim().is_empty() {
        return Ok((false, String::new()));
    }
    let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(format!("it is stateful, but `changed={text}` is neither yes nor no")),
    };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) => {
            let changed = map.get("changed").map_or(Ok(false), |it| truth(&plain(it)))?;
            return Ok((changed, map.get("comment").map(plain).unwrap_or_default()));
        }
        Ok(_) => return Err(wrong()),
        Err(_) => (),
    }
    let line = text.trim_end().lines().next_back().unwrap_or_default();
    let (mut changed, mut comment) = (false, String::new());
    for word in shell_words(line) {
        match word.split_once('=') {
            Some((_, value)) if value.contains('=') => return Err(wrong()),
            Some(("changed", value)) => changed = truth(value)?,
            Some(("comment", value)) => value.clone_into(&mut comment),
            Some(_) => (),
            None => return Err(wrong()),
        }
    }
    Ok((changed, comment))
}

/// Words as a shell would see them: quotes keep blanks, and go.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(signs.next()),
            (None, _) if sign.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

impl Resource for Run {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if matches!(self.line, Line::Script { script: Script::Open, .. }) {
            return Err(not_compiled("source"));
        }
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
        let said = |text: &str| stateful(text).unwrap();
        assert_eq!(said("out\nchanged=no comment='as it was'\n"), (false, "as it was".to_owned()));
        assert_eq!(said("changed=yes"), (true, String::new()));
        assert_eq!(said("a=b"), (false, String::new()));
        assert_eq!(said(""), (false, String::new()));
        assert_eq!(said(r#"{"changed": false, "comment": "x"}"#), (false, "x".to_owned()));
        assert_eq!(said("{\n\"changed\": true}\n"), (true, String::new()));
        assert!(stateful("whatever it was").is_err());
        assert!(stateful("[1]").is_err());
        assert!(stateful("changed=perhaps").is_err());
    }
}

//! What templates may ask a minion: a closed list of functions that only look, and what each counts as until it is
//! answered.

use crate::{
    Host,
    answer::answer,
    host::{Action, Command, Exit},
};
use model::Question;
use serde_json::{Value, json};

/// What a question counts as while it has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// `false`
    No,
    /// An empty text.
    Text,
    /// An empty list.
    List,
    /// An empty mapping.
    Map,
    /// Nothing.
    Null,
    /// `0`
    Zero,
}

impl StandIn {
    /// As a value.
    pub fn value(self) -> Value {
        match self {
            Self::No => json!(false),
            Self::Text => json!(""),
            Self::List => json!([]),
            Self::Map => json!({}),
            Self::Null => Value::Null,
            Self::Zero => json!(0),
        }
    }
}

/// A function that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Askable {
    /// `module.function`, as Salt calls it.
    pub name: &'static str,
    /// What it counts as until it is answered.
    pub stand_in: StandIn,
    /// It runs a command, so the operator must have allowed it.
    pub command: bool,
    /// What it says.
    pub doc: &'static str,
}

const fn ask(name: &'static str, stand_in: StandIn, doc: &'static str) -> Askable {
    Askable { name, stand_in, command: false, doc }
}

const fn command(name: &'static str, stand_in: StandIn, doc: &'static str) -> Askable {
    Askable { name, stand_in, command: true, doc }
}

/// All, in order.
pub const ASKABLE: &[Askable] = &[
    ask("cmd.has_exec", StandIn::No, "Whether there is a program of this name."),
    command("cmd.retcode", StandIn::Zero, "The exit code of a command."),
    command("cmd.run", StandIn::Text, "What a command prints."),
    command("cmd.run_all", StandIn::Map, "What a command prints and how it ends."),
    command("cmd.run_stdout", StandIn::Text, "What a command prints to stdout."),
    command("cmd.shell", StandIn::Text, "What a line for the shell prints."),
    ask("cmd.which", StandIn::Null, "Where a program is; nothing if there is none."),
    ask(
        "file.access",
        StandIn::No,
        "Whether root may look at (`f`), read, write or run (`r`, `w`, `x`) a path.",
    ),
    ask("file.contains", StandIn::No, "Whether a file has this text in a line."),
    ask("file.directory_exists", StandIn::No, "Whether there is a folder."),
    ask("file.file_exists", StandIn::No, "Whether there is a file."),
    ask("file.get_gid", StandIn::Null, "The number of the group of a path."),
    ask("file.get_group", StandIn::Text, "The group of a path."),
    ask("file.get_mode", StandIn::Text, "The mode of a path."),
    ask("file.get_uid", StandIn::Null, "The number of the owner of a path."),
    ask("file.get_user", StandIn::Text, "The owner of a path."),
    ask("file.is_link", StandIn::No, "Whether it is a symbolic link."),
    ask("file.readdir", StandIn::List, "The names in a folder, with `.` and `..`."),
    ask("file.readlink", StandIn::Text, "Where a symbolic link points."),
    ask("group.info", StandIn::Map, "A group's number and members."),
    ask("mount.is_mounted", StandIn::No, "Whether something is mounted at a path."),
    ask("pkg.version", StandIn::Text, "The version of a package that is installed."),
    ask("service.available", StandIn::No, "Whether there is a service of this name."),
    ask("service.disabled", StandIn::No, "Whether a service does not start at boot."),
    ask("service.enabled", StandIn::No, "Whether a service starts at boot."),
    ask("service.missing", StandIn::No, "Whether there is no service of this name."),
    ask("service.status", StandIn::No, "Whether a service runs."),
    ask("sysctl.get", StandIn::Text, "A kernel parameter."),
    ask("user.info", StandIn::Map, "An account's number, home, shell and groups."),
    ask("file.is_blkdev", StandIn::No, "Whether it is a block device."),
    ask("file.path_exists_glob", StandIn::No, "Whether there is anything that fits a glob."),
    ask("file.size", StandIn::Zero, "The bytes of a file."),
    ask("service.masked", StandIn::No, "Whether a service is masked."),
    ask("user.list_groups", StandIn::List, "The groups of an account."),
];

/// The function of a name.
pub fn askable(name: &str) -> Option<&'static Askable> {
    ASKABLE.iter().find(|it| it.name == name)
}

/// Questions that one probe may hold.
pub const QUESTIONS_MAX: usize = 200;
/// Longest answer, as JSON.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest that a command for a template may take.
const COMMAND_MS_MAX: u64 = 5_000;
/// Longest that all questions of a probe may take together: below what a master waits, so that it is told why.
pub const ALL_MS_MAX: u64 = 8_000;

/// The answers to questions, as they travel: `{"ok": value}` or `{"error": "why"}` each. `left` says how many
/// milliseconds there still are; what is not begun by then has no answer.
pub fn answer_all(
    questions: &[Question],
    commands: bool,
    host: &mut dyn Host,
    left: &dyn Fn() -> u64,
) -> Value {
    questions
        .iter()
        .take(QUESTIONS_MAX)
        .map(|it| match left() {
            0 => json!({ "error": "not answered in time" }),
            left => told(it, commands, host, left),
        })
        .collect()
}

/// The same failure for each.
pub fn all_failed(questions: &[Question], reason: &str) -> Value {
    questions.iter().take(QUESTIONS_MAX).map(|_| json!({ "error": reason })).collect()
}

fn told(question: &Question, commands: bool, host: &mut dyn Host, left: u64) -> Value {
    let result = match askable(&question.fun) {
        None => Err(format!("`{}` is not among the functions that can be asked", question.fun)),
        Some(it) if !it.command => answer(question, host),
        Some(_) if !commands => Err("the master's operator does not let templates run commands".to_owned()),
        Some(_) => run(question, host, left),
    };
    match result {
        Ok(value) if value.to_string().len() > ANSWER_BYTES_MAX => {
            json!({ "error": format!("the answer is longer than {ANSWER_BYTES_MAX} bytes") })
        }
        Ok(value) => json!({ "ok": value }),
        Err(reason) => json!({ "error": reason }),
    }
}

/// Runs a command, which the operator has allowed.
fn run(question: &Question, host: &mut dyn Host, left: u64) -> Result<Value, String> {
    let text = |name: &str| question.kwargs.get(name).and_then(Value::as_str).map(str::to_owned);
    let line = question.args.first().and_then(Value::as_str).map(str::to_owned).or_else(|| text("cmd"));
    let line = line.ok_or_else(|| format!("`{}` needs a command", question.fun))?;
    let seconds = question.kwargs.get("timeout").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let command = Command {
        cwd: text("cwd").map(Into::into),
        user: text("runas"),
        ..Command::shell(&line, seconds.saturating_mul(1_000).min(COMMAND_MS_MAX).min(left))
    };
    let done = host.perform(&Action::Run(command)).map_err(|error| format!("cannot run it: {error}"))?;
    let Exit::Code(code) = done.exit else {
        return Err("the command did not end by itself in time".to_owned());
    };
    let (out, err) = (done.output.stdout.trim_end(), done.output.stderr.trim_end());
    Ok(match question.fun.as_str() {
        "cmd.retcode" => json!(code),
        "cmd.run_stdout" => json!(out),
        "cmd.run_all" => json!({ "stdout": out, "stderr": err, "retcode": code, "pid": 0 }),
        _ if err.is_empty() => json!(out),
        _ if out.is_empty() => json!(err),
        _ => json!(format!("{out}\n{err}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_host::FakeHost;
    use serde_json::Map;

    fn question(fun: &str, arg: &str) -> Question {
        Question { fun: fun.to_owned(), args: vec![json!(arg)], kwargs: Map::new() }
    }

    #[test]
    fn every_function_that_can_be_asked_is_answered_by_somebody() {
        for it in ASKABLE {
            assert!(it.command || crate::askable().any(|other| other == it.name), "{}", it.name);
        }
    }

    #[test]
    fn strange_functions_and_commands_without_leave_are_refused() {
        let mut host = FakeHost::default();
        let asked =
            [question("file.remove", "/"), question("cmd.run", "id"), question("file.file_exists", "/nope")];
        let answers = answer_all(&asked, false, &mut host, &|| 1);
        assert!(answers[0]["error"].as_str().unwrap().contains("not among"), "{answers}");
        assert!(answers[1]["error"].as_str().unwrap().contains("operator"), "{answers}");
        assert_eq!(answers[2], json!({ "ok": false }));
    }
    #[test]
    fn when_the_time_is_up_the_rest_has_no_answer() {
        let mut host = FakeHost::default();
        let asked = vec![question("file.file_exists", "/a"); 4];
        let left = std::cell::Cell::new(3_u64);
        let answers = answer_all(&asked, false, &mut host, &|| {
            left.set(left.get().saturating_sub(1));
            left.get()
        });
        let late = json!({ "error": "not answered in time" });
        assert_eq!(answers, json!([{ "ok": false }, { "ok": false }, late, late]));
        assert_eq!(host.calls(), 2);
    }
}

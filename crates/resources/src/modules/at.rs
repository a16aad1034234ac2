//! `at`: commands that run once, later.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Command, Query, query::at::Question},
    modules::group::account_name,
    tool::{SHORT_MS, answer, run, run_argv},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

/// Jobs that are looked at.
const JOBS_MAX: usize = 1000;
/// Names a job, in the first line of what it runs; Salt writes the same.
const TAG: &str = "### SALT: ";

pub(crate) const MODULE: Module = Module {
    name: "at",
    doc: Doc::new("Commands that run once, later (at)."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A command waits to be run at a time. It is known by its tag, or by the command itself. Once it has run it \
                  waits no more, and the next run of the states lets it wait again: use `onchanges`, or a date.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "systemctl restart nginx:\n  at.present:\n    - timespec: '03:00 12/31/2030'\n    - tag: new certificate\n",
            ]),
            parse: parse_present,
        },
        Function {
            name: "absent",
            doc: Doc::new("No job with this tag or this number waits."),
            params: ABSENT,
            examples: Examples::new(&["no restart:\n  at.absent:\n    - tag: new certificate\n"]),
            parse: parse_absent,
        },
    ],
};

const PRESENT: &[Param] = &[
    Param::text("name", "", "The command."),
    Param::text("timespec", "", "When, as at reads it: `now + 1 hour`, `03:00 tomorrow`.").required(),
    Param::text("tag", "none", "Names the job."),
    Param::text("user", "root", "Who runs it."),
    Param::text("job", "", "The command, instead of the name."),
    Param::flag("unique_tag", "false", "Lets nothing wait if another command with this tag does."),
];
const ABSENT: &[Param] = &[
    Param::text("name", "", "Anything, or `all` for every job."),
    Param::text("tag", "none", "Jobs with this tag."),
    Param::text("jobid", "none", "The job with this number."),
];

#[derive(Debug)]
struct Present {
    command: String,
    timespec: Vec<String>,
    tag: Option<String>,
    user: Option<String>,
    unique: bool,
}

#[derive(Debug)]
struct Absent {
    all: bool,
    tag: Option<String>,
    job: Option<String>,
}

fn tag(args: &Args<'_>) -> Result<Option<String>, ParamsError> {
    let tag = args.text("tag");
    match &tag {
        Some(it) if it.trim().is_empty() || it.chars().any(char::is_control) => {
            Err(invalid("tag", "`tag` must be one line"))
        }
        _ => Ok(tag),
    }
}

fn parse_present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("at.present", PRESENT, params)?;
    let command = args.text("job").unwrap_or_else(|| args.name());
    if command.trim().is_empty() || command.contains('\0') {
        return Err(invalid("name", "the command is empty"));
    }
    let timespec: Vec<String> =
        args.text("timespec").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    for word in &timespec {
        plain_word("timespec", word)?;
    }
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    Ok(Box::new(Present {
        command,
        timespec,
        tag: tag(&args)?,
        user,
        unique: args.bool("unique_tag", false),
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("at.absent", ABSENT, params)?;
    let job = args.text("jobid");
    if job.as_ref().is_some_and(|it| !it.bytes().all(|it| it.is_ascii_digit()) || it.is_empty()) {
        return Err(invalid("jobid", "`jobid` must be a number"));
    }
    let absent = Absent { all: args.name() == "all", tag: tag(&args)?, job };
    if !absent.all && absent.tag.is_none() && absent.job.is_none() {
        return Err(invalid("tag", "give `tag` or `jobid`, or the name `all`"));
    }
    Ok(Box::new(absent))
}

/// Numbers of the jobs that wait.
fn jobs(host: &dyn Probe) -> Result<Vec<String>, Error> {
    let text = answer(host, &Query::At(Question::Jobs))?;
    let numbers = text.lines().filter_map(|it| it.split_whitespace().next());
    Ok(numbers
        .filter(|it| it.bytes().all(|it| it.is_ascii_digit()))
        .take(JOBS_MAX)
        .map(str::to_owned)
        .collect())
}

fn script(host: &dyn Probe, job: &str) -> Result<String, Error> {
    answer(host, &Query::At(Question::Job(job.to_owned())))
}

fn has_tag(script: &str, tag: &str) -> bool {
    script.lines().any(|it| it.strip_prefix(TAG).is_some_and(|it| it.trim_end() == tag))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let last = self.command.trim_end().lines().last().unwrap_or_default();
        for job in jobs(host)? {
            let script = script(host, &job)?;
            let tagged = self.tag.as_ref().is_none_or(|it| has_tag(&script, it));
            let same = script.lines().any(|it| it.trim_end() == last);
            if tagged && (same || (self.unique && self.tag.is_some())) {
                return Ok(Plan::default());
            }
        }
        let mut plan = Plan::default();
        plan.differ("job", None, &format!("{} at {}", self.command, self.timespec.join(" ")));
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let argv =
            ["at"].into_iter().chain(self.timespec.iter().map(String::as_str)).map(str::to_owned).collect();
        let tag = self.tag.as_ref().map(|it| format!("{TAG}{it}\n")).unwrap_or_default();
        let stdin = Some(format!("{tag}{}\n", self.command.trim_end()));
        let command =
            Command { argv, user: self.user.clone(), stdin, timeout_ms: SHORT_MS, ..Command::default() };
        run(host, command, &format!("at {}", self.timespec.join(" ")))?;
        Ok(Applied::default())
    }
}

impl Absent {
    fn found(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for job in jobs(host)? {
            let numbered = self.job.as_ref() == Some(&job);
            let tagged = match &self.tag {
                Some(tag) if !numbered && !self.all => has_tag(&script(host, &job)?, tag),
                _ => false,
            };
            if self.all || numbered || tagged {
                found.push(job);
            }
        }
        Ok(found)
    }
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for job in self.found(host)? {
            plan.push(Change {
                what: format!("job {job}"),
                from: Some("waits".to_owned()),
                to: None,
                diff: None,
            });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let found = self.found(host)?;
        let argv: Vec<&str> = ["atrm"].into_iter().chain(found.iter().map(String::as_str)).collect();
        run_argv(host, &argv)?;
        Ok(Applied::default())
    }
}

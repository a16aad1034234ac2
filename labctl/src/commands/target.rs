//! `labctl target EXPR …`: everything that is done to machines.

use super::{
    Desk,
    follow::{self, Follow},
    key, key_value,
    maintenance::MaintenanceCommand,
    minion, nested, ping,
    reboot::Reboot,
    unexpected,
    waves::{self, Waves},
};
use crate::{
    Ended, Outcome,
    cli::Format,
    complete,
    failure::{Exit, Failure},
    show::{self, json, table, time},
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{
    Ask, JobId, JobKind, MinionId, Mode, Reply, Request, Rolling,
    api::{CompiledView, PillarView, ProbeAnswer},
};
use serde_json::{Value, json};
use std::{io::Read, time::Duration};

/// How long an offer stays good without `--wait`.
const OFFER_MS: u64 = 60_000;
/// How long a command may run without `--limit`.
const RUN_MS: u64 = 3_600_000;
/// Bytes of a target from a file or standard input.
const TARGET_MAX: u64 = 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "The expression says whom: 'vm-*', vm-1,vm-2, @web, os=debian, 'ip:10.0.0.0/24', \
'web-* and not web-3', file:hosts.txt, - (see labctl help targeting). \
One word is an id or a glob over ids.")]
pub(crate) struct TargetCommand {
    /// Whom: a target expression
    #[arg(value_name = "EXPR", add = ArgValueCompleter::new(complete::targets))]
    expr: String,
    #[command(subcommand)]
    verb: Option<TargetVerb>,
}

#[derive(Debug, Subcommand)]
enum TargetVerb {
    /// Who matches, and with -v why; sends nothing
    #[command(alias = "ls")]
    List {
        /// An empty match is no error
        #[arg(long)]
        allow_empty: bool,
    },
    /// Round trip to each of them over the bus
    Ping {
        /// How long to wait for answers, at most 5s
        #[arg(long, value_name = "D", default_value = "5s", value_parser = time::parse_duration)]
        timeout: u64,
    },
    /// Bring states about; without names what top.sls assigns
    #[command(after_help = waves::EXAMPLES)]
    Apply(Box<Apply>),
    /// Look what apply would change: apply --check --diff
    Plan(Box<Apply>),
    /// The compiled states, in the order in which they would run
    #[command(aliases = ["get", "describe"])]
    Show {
        /// States; none is what top.sls assigns
        states: Vec<String>,
    },
    /// Run a command
    Run(Box<Run>),
    /// Boot them anew; asks first where it is more than one
    Reboot(Box<Reboot>),
    /// Wake them over the network: packets from the master, or from a machine in their network
    #[command(after_help = super::wake::EXAMPLES)]
    Wake {
        /// The minion that sends the packets
        #[arg(long, value_name = "MINION", add = ArgValueCompleter::new(complete::targets))]
        via: Option<MinionId>,
    },
    /// What they say of themselves
    Grains {
        /// Dotted paths, such as os.version
        paths: Vec<String>,
        /// Ask them now
        #[arg(long)]
        refresh: bool,
    },
    /// The data they see; secrets are masked
    Pillar {
        /// Paths, such as web.port
        paths: Vec<String>,
    },
    /// Leave them alone for a while: rules and schedules pass them over
    Maintenance(MaintenanceCommand),
    /// Set labels, and remove them with a minus behind
    Label {
        /// K=V sets, K- removes
        #[arg(required = true, value_name = "K=V | K-", allow_hyphen_values = true)]
        changes: Vec<String>,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Apply {
    /// States; none is what top.sls assigns
    states: Vec<String>,
    /// Look only, change nothing; with --batch, --canary or --gate: who would be in which wave
    #[arg(short = 'n', long, visible_aliases = ["dry-run", "test"])]
    check: bool,
    /// Show what changes in files and properties
    #[arg(long)]
    diff: bool,
    /// A value that wins over the pillar, for this run: web.port=81
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    pillar: Vec<(String, Value)>,
    /// Every host and step in the result
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wait: Wait,
    /// Only this environment: a named set of trees
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
    /// End with 10 if something changed (or would)
    #[arg(long)]
    detailed_exitcode: bool,
    /// A way back: each machine undoes what it altered unless it reaches the master anew within this time after the run
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    confirm_within: Option<u64>,
    #[command(flatten)]
    waves: Waves,
}

#[derive(Debug, Args)]
struct Wait {
    /// Print the job's id and come back at once
    #[arg(long = "async")]
    detached: bool,
    /// How long to watch; the job goes on
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    timeout: Option<u64>,
    /// Also for machines that are away: the offer waits that long
    #[arg(long = "wait", value_name = "D", value_parser = time::parse_duration)]
    for_absent: Option<u64>,
    /// An empty match is no error
    #[arg(long)]
    allow_empty: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Words after `--` are the program and its arguments, passed on as they are. \
One word with spaces in it, or --shell, is read by /bin/sh.\n\
With one host its output goes straight through; with several, equal outputs are folded.")]
struct Run {
    /// Let a shell read it
    #[arg(long)]
    shell: bool,
    /// Where to run it
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// As whom
    #[arg(long)]
    user: Option<String>,
    /// Environment variables
    #[arg(long = "env", value_name = "K=V")]
    environment: Vec<String>,
    /// The command is ended after this long
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    limit: Option<u64>,
    /// On one host: end with the command's own exit code
    #[arg(long)]
    passthrough: bool,
    /// Lines as they come, equal outputs not together
    #[arg(long)]
    no_fold: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    waves: Waves,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<String>,
}

impl TargetCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let target = expression(&self.expr)?;
        match self.verb.unwrap_or(TargetVerb::List { allow_empty: false }) {
            TargetVerb::List { allow_empty } => allowing(allow_empty, list(desk, &target)),
            TargetVerb::Ping { timeout } => ping::ping(desk, &target, timeout),
            TargetVerb::Apply(apply) => apply.run(desk, &target),
            TargetVerb::Plan(apply) => Apply { check: true, diff: true, ..*apply }.run(desk, &target),
            TargetVerb::Show { states } => show_states(desk, &target, states),
            TargetVerb::Run(run) => run.run(desk, &target),
            TargetVerb::Wake { via } => super::wake::wake(desk, target, via),
            TargetVerb::Reboot(reboot) => reboot.run(desk, &target),
            TargetVerb::Grains { paths, refresh } => grains(desk, &target, &paths, refresh),
            TargetVerb::Pillar { paths } => pillar(desk, &target, &paths),
            TargetVerb::Maintenance(command) => command.run(desk, &target),
            TargetVerb::Label { changes } => label(desk, &target, &changes),
        }
    }
}

fn allowing(empty: bool, ended: Ended) -> Ended {
    match ended {
        Err(failure) if empty && failure.exit == Exit::NoMatch => Ok(Exit::Done),
        ended => ended,
    }
}

/// `-` and `file:PATH` become a list of ids; anything else is for the master to read.
fn expression(typed: &str) -> Outcome<String> {
    let mut text = String::new();
    if typed == "-" {
        std::io::stdin().take(TARGET_MAX).read_to_string(&mut text).map_err(Failure::from)?;
    } else if let Some(path) = typed.strip_prefix("file:") {
        text = crate::config::read_small(path.as_ref())?;
    } else {
        return Ok(typed.to_owned());
    }
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let ids: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    if ids.is_empty() {
        return Err(Failure::new(Exit::NoMatch, format!("there are no ids in `{typed}`")));
    }
    for id in &ids {
        id.parse::<MinionId>().map_err(|error| Failure::usage(format!("`{typed}`: {error}")))?;
    }
    Ok(ids.join(","))
}

fn list(desk: &mut Desk<'_>, target: &str) -> Ended {
    let found = minion::expand(desk, target)?;
    let footer = show::minion::footer(&found.minions, Some((found.of, target)), &desk.screen.style);
    if desk.screen.style.verbosity > 0 {
        let mut list = show::minion::list(&found.minions, Some(footer), &desk.screen.style);
        let mut table = table::Table::new(["ID", "STATUS", "WHY"].map(table::Column::new));
        for view in &found.minions {
            let word = show::minion::presence(view.presence);
            table.row([view.id.as_str().into(), word.into(), view.why.as_deref().unwrap_or("-").into()]);
        }
        list.table = table;
        desk.screen.list(list)?;
    } else {
        let list = show::minion::list(&found.minions, Some(footer), &desk.screen.style);
        desk.screen.list(list)?;
    }
    Ok(Exit::Done)
}

/// A new job id, made here: a retry of the request is the same job.
pub(crate) fn new_job_id() -> Outcome<JobId> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Exit::Failed, format!("the system gives no randomness: {error}")))?;
    Ok(JobId::v7(time::now(), random))
}

impl Wait {
    /// Submits, and follows unless told not to.
    fn submit(
        &self,
        desk: &mut Desk<'_>,
        target: &str,
        (kind, rolling): (JobKind, Option<Rolling>),
        follow: &Follow,
    ) -> Ended {
        let request = Request::Submit {
            job: new_job_id()?,
            target: target.to_owned(),
            kind,
            expires_ms: self.for_absent.unwrap_or(OFFER_MS),
            wait: self.for_absent.is_some(),
            retry_of: None,
            rolling: rolling.map(Box::new),
        };
        let follow = Follow { timeout: self.timeout.map(Duration::from_millis), ..follow.clone() };
        let ended = submit(desk, &request, target, (!self.detached).then_some(&follow));
        allowing(self.allow_empty, ended)
    }
}

/// Submits a job; follows it, or prints its id.
pub(crate) fn submit(desk: &mut Desk<'_>, request: &Request, target: &str, follow: Option<&Follow>) -> Ended {
    let job = match desk.ask(request) {
        Ok(Reply::Submitted(job)) => job,
        Ok(other) => return Err(unexpected(&other)),
        Err(failure) if failure.exit == Exit::NoMatch => return Err(minion::nobody(desk, target)),
        Err(failure) => return Err(failure),
    };
    if let Some(follow) = follow {
        follow::job(desk, job.id, follow)
    } else {
        let id = job.id.to_string();
        desk.screen.thing("Job", json::of(&job), &id, &format!("{id}\n"))?;
        Ok(Exit::Done)
    }
}

impl Apply {
    fn run(self, desk: &mut Desk<'_>, target: &str) -> Ended {
        let rolling = self.waves.rolling()?;
        if let Some(rolling) = rolling.as_ref().filter(|_| self.check) {
            return allowing(self.wait.allow_empty, waves::show(desk, target, rolling));
        }
        let mode = if self.check { Mode::Check } else { Mode::Apply };
        let pillar = nested(&self.pillar)?;
        if let Some(ms) = self.confirm_within {
            super::reboot::tell_what_stays(desk, target, &self.states, ms)?;
        }
        let confirm_ms = self.confirm_within.filter(|_| mode == Mode::Apply);
        let kind = JobKind::Apply { states: self.states, mode, pillar, env: self.environment, confirm_ms };
        let follow = Follow {
            diff: self.diff || self.check,
            all: self.all,
            detailed_exitcode: self.detailed_exitcode,
            ..Follow::plainly(None)
        };
        self.wait.submit(desk, target, (kind, rolling), &follow)
    }
}

impl Run {
    fn run(self, desk: &mut Desk<'_>, target: &str) -> Ended {
        let one_line = self.command.len() == 1 && self.command[0].contains(char::is_whitespace);
        let shell = self.shell || one_line;
        let command = if shell { vec![self.command.join(" ")] } else { self.command };
        let kind = JobKind::Run {
            command,
            shell,
            cwd: self.cwd,
            user: self.user,
            environment: key::labels(&self.environment)?,
            timeout_ms: self.limit.unwrap_or(RUN_MS),
        };
        let follow =
            Follow { passthrough: self.passthrough, folding: !self.no_fold, ..Follow::plainly(None) };
        self.wait.submit(desk, target, (kind, self.waves.rolling()?), &follow)
    }
}

fn show_states(desk: &mut Desk<'_>, target: &str, states: Vec<String>) -> Ended {
    let reply = match desk.ask(&Request::Compile { target: target.to_owned(), states }) {
        Err(failure) if failure.exit == Exit::NoMatch => return Err(minion::nobody(desk, target)),
        reply => reply?,
    };
    let Reply::Compiled(views) = reply else { return Err(unexpected(&reply)) };
    let wrong = views.iter().filter(|it| it.steps.is_none()).count();
    complain_once(desk, views.iter().flat_map(|it| &it.diagnostics))?;
    let of = |it: &CompiledView| (it.minion.to_string(), it.steps.clone().map(Value::Array));
    show_each(desk, "Compiled", views.iter().map(of).collect())?;
    Ok(match wrong {
        0 => Exit::Done,
        _ if wrong == views.len() => Exit::Compile,
        _ => Exit::Failed,
    })
}

fn complain_once<'a>(
    desk: &mut Desk<'_>,
    diagnostics: impl Iterator<Item = &'a model::Diagnostic>,
) -> Outcome<()> {
    let mut all: Vec<model::Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        if !all.contains(diagnostic) {
            all.push(diagnostic.clone());
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let drawn = lang::render_diagnostics(&all, desk.screen.err_style.diagnostics());
    desk.screen.note(drawn.trim_end())
}

/// A value for each host: YAML with the host's name above for people.
fn show_each(desk: &mut Desk<'_>, kind: &str, each: Vec<(String, Option<Value>)>) -> Outcome<()> {
    if desk.screen.format == Format::Jsonl {
        return each.into_iter().try_for_each(|(minion, value)| {
            desk.screen.line(&json!({ "minion": minion, "value": value }).to_string())
        });
    }
    if desk.screen.format == Format::Name {
        return each.iter().try_for_each(|(minion, _)| desk.screen.line(minion));
    }
    let whole: serde_json::Map<String, Value> =
        each.into_iter().map(|(minion, value)| (minion, value.unwrap_or_default())).collect();
    let text = show::yaml::of(&Value::Object(whole.clone()));
    desk.screen.thing(kind, json!({ "minions": whole }), "", &text)
}

/// The parts of a value that paths name; all of it without paths.
fn parts(value: &Value, paths: &[String]) -> Value {
    if paths.is_empty() {
        return value.clone();
    }
    let get = |path: &String| path.split(['.', ':']).try_fold(value, |at, key| at.get(key)).cloned();
    paths.iter().map(|path| (path.clone(), get(path).unwrap_or_default())).collect()
}

fn grains(desk: &mut Desk<'_>, target: &str, paths: &[String], refresh: bool) -> Ended {
    if refresh {
        let probed = ping::probe(desk, target, Ask::Grains, ping::PROBE_MS, &mut |_, _| Ok(()))?;
        let of = |it: &ProbeAnswer| (it.minion.to_string(), Some(parts(&it.answer, paths)));
        show_each(desk, "Grains", probed.answers.iter().map(of).collect())?;
        let away = probed.unreachable.iter().map(|(it, _)| it).chain(&probed.silent);
        for minion in away.collect::<Vec<_>>() {
            desk.screen.note(&format!("{minion} did not answer"))?;
        }
        return Ok(probed.exit());
    }
    let found = minion::expand(desk, target)?;
    let of = |it: &model::api::MinionView| {
        (it.id.to_string(), Some(parts(&Value::Object(it.grains.clone()), paths)))
    };
    show_each(desk, "Grains", found.minions.iter().map(of).collect())?;
    Ok(Exit::Done)
}

/// Pillar of each; also for `labctl pillar show`.
pub(crate) fn pillar(desk: &mut Desk<'_>, target: &str, paths: &[String]) -> Ended {
    let reply = match desk.ask(&Request::Pillar { target: target.to_owned() }) {
        Err(failure) if failure.exit == Exit::NoMatch => return Err(minion::nobody(desk, target)),
        reply => reply?,
    };
    let Reply::Pillars(views) = reply else { return Err(unexpected(&reply)) };
    complain_once(desk, views.iter().flat_map(|it| &it.diagnostics))?;
    let of = |it: &PillarView| (it.minion.to_string(), it.pillar.as_ref().map(|it| parts(it, paths)));
    show_each(desk, "Pillar", views.iter().map(of).collect())?;
    let wrong = views.iter().filter(|it| it.pillar.is_none()).count();
    Ok(match wrong {
        0 => Exit::Done,
        _ if wrong == views.len() => Exit::Compile,
        _ => Exit::Failed,
    })
}

fn label(desk: &mut Desk<'_>, target: &str, changes: &[String]) -> Ended {
    let (sets, removes): (Vec<_>, Vec<_>) = changes.iter().cloned().partition(|it| it.contains('='));
    let mut remove = Vec::new();
    for name in removes {
        match name.strip_suffix('-') {
            Some(name) if !name.is_empty() => remove.push(name.to_owned()),
            _ => {
                return Err(Failure::usage(format!(
                    "`{name}` neither sets nor removes a label: write K=V or K-"
                )));
            }
        }
    }
    let request = Request::Label { target: target.to_owned(), set: key::labels(&sets)?, remove };
    let reply = match desk.ask(&request) {
        Err(failure) if failure.exit == Exit::NoMatch => return Err(minion::nobody(desk, target)),
        reply => reply?,
    };
    let Reply::Minions(views) = reply else { return Err(unexpected(&reply)) };
    let mut list = show::minion::list(&views, None, &desk.screen.style);
    let mut table = table::Table::new(["ID", "LABELS"].map(table::Column::new));
    for view in &views {
        table.row([view.id.as_str().into(), show::minion::labels(&view.labels).into()]);
    }
    list.table = table;
    desk.screen.list(list)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_from_files_as_lists_of_ids_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.txt");
        std::fs::write(&path, "vm-1  vm-2 # two\n\n# none\ndb-1\n").unwrap();
        let typed = format!("file:{}", path.display());
        assert_eq!(expression(&typed).unwrap(), "vm-1,vm-2,db-1");
        assert_eq!(expression("vm-* and not vm-3").unwrap(), "vm-* and not vm-3");
        std::fs::write(&path, "vm-1 or *\n").unwrap();
        assert_eq!(expression(&typed).unwrap_err().exit, Exit::Usage, "a file gives ids, no expression");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(expression(&typed).unwrap_err().exit, Exit::NoMatch);
    }

    #[test]
    fn paths_take_parts_of_a_value() {
        let value = json!({ "os": { "name": "debian", "version": 13 }, "id": "vm-1" });
        let paths = ["os.version".to_owned(), "os:name".to_owned(), "no.such".to_owned()];
        assert_eq!(parts(&value, &paths), json!({ "os.version": 13, "os:name": "debian", "no.such": null }));
        assert_eq!(parts(&value, &[]), value);
    }
}

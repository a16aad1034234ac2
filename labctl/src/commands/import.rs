//! `labctl import salt`: looks through a tree of Salt, says what will become of it here, and writes the configuration
//! that uses it where it lies. Copies nothing and runs nothing.

mod found;

use super::Desk;
use crate::{
    Ended, Outcome,
    cli::Format,
    failure::{Exit, Failure},
    show::{Tone, json},
    tree::Folders,
};
use clap::{Args, Subcommand};
use found::Found;
use lang::salt::{Survey, survey};
use model::{Diagnostic, Severity};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  labctl import salt /srv/salt                    what will run, and the configuration as it would be written
  labctl import salt /srv --write                 write it to /etc/labctl/master.d/salt.yaml
  labctl import salt                              what /etc/salt/master says
  labctl import salt ~/states --pillar ~/pillar --write trees.yaml

DIR is a file root (the folder of top.sls), or a folder with salt/ (or states/), pillar/ and reactor/ in it.
Nothing is copied and nothing is run. Ends with 3 if something is not supported.";

/// Where parts of the master's configuration are.
const PART: &str = "/etc/labctl/master.d/salt.yaml";
/// The configuration itself.
const CONFIG: &str = "/etc/labctl/master.yaml";

#[derive(Debug, Args)]
pub(crate) struct ImportCommand {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// A tree of Salt: what of it will run here, and the configuration that uses it where it lies
    Salt(SaltArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct SaltArgs {
    /// The tree; without one, where /etc/salt/master says
    dir: Option<PathBuf>,
    /// Folder of the pillar, if it is not beside the states
    #[arg(long, value_name = "DIR")]
    pillar: Option<PathBuf>,
    /// Folder of the reaction files, if it is not beside the states
    #[arg(long, value_name = "DIR")]
    reactor: Option<PathBuf>,
    /// Configuration of the Salt master, for its node groups and its reactor map
    #[arg(long, value_name = "FILE")]
    master_config: Option<PathBuf>,
    /// Write the configuration instead of printing it
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = PART)]
    write: Option<PathBuf>,
    /// Write over a file that exists
    #[arg(long, requires = "write")]
    force: bool,
}

impl ImportCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let From::Salt(args) = self.from;
        let found = Found::look(&found::Wish {
            dir: args.dir.as_deref(),
            pillar: args.pillar.as_deref(),
            reactor: args.reactor.as_deref(),
            config: args.master_config.as_deref(),
        })?;
        let (survey, findings) = look_through(&found)?;
        let config = found.config(Path::new(CONFIG));
        if let Some(file) = &args.write {
            write(file, &config, args.force)?;
        }
        show(desk, &found, &survey, &findings, args.write.as_deref(), &config)?;
        let wrong = findings.iter().any(|it| it.severity == Severity::Error);
        Ok(if wrong { Exit::Compile } else { Exit::Done })
    }
}

/// Everything that can be said, each place as a path of this machine.
fn look_through(found: &Found) -> Outcome<(Survey, Vec<Diagnostic>)> {
    let read = Folders::of(found.layout.clone()).read()?;
    let survey = survey(&read.tree);
    let mut findings = found.findings.clone();
    findings.extend(read.problems.into_iter().chain(survey.findings.iter().cloned()).map(|mut finding| {
        for span in &mut finding.spans {
            span.file = found.real_path(&span.file);
        }
        finding
    }));
    Ok((survey, findings))
}

fn write(file: &Path, config: &str, force: bool) -> Outcome<()> {
    if file.exists() && !force {
        return Err(Failure::usage(format!("`{}` exists already", file.display()))
            .hint("look at it; --force writes over it, --write FILE writes elsewhere"));
    }
    if let Some(folder) = file.parent().filter(|it| !it.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
    }
    std::fs::write(file, config).map_err(|error| Failure::file("write", file, &error))
}

fn show(
    desk: &mut Desk<'_>,
    found: &Found,
    survey: &Survey,
    findings: &[Diagnostic],
    written: Option<&Path>,
    config: &str,
) -> Outcome<()> {
    let [runs, warned, unsupported] = survey.runs;
    if desk.screen.format.is_machine() {
        let folders =
            |all: &[lang::Folder]| all.iter().map(|it| it.path.display().to_string()).collect::<Vec<_>>();
        let value = serde_json::json!({
            "states": folders(&found.layout.states), "pillar": folders(&found.layout.pillar),
            "reactors": folders(&found.layout.reactors),
            "files": survey.files, "state_files": survey.state_files, "functions": survey.functions,
            "uses": { "run": runs, "warned": warned, "unsupported": unsupported },
            "written": written.map(|it| it.display().to_string()), "config": config,
            "items": json::of(&findings),
        });
        return match desk.screen.format {
            Format::Jsonl => findings.iter().try_for_each(|it| desk.screen.line(&json::of(it).to_string())),
            _ => desk.screen.thing("SaltImport", value, "salt", ""),
        };
    }
    for (severity, title, tone) in [
        (Severity::Error, "not supported", Tone::Bad),
        (Severity::Warning, "runs with a warning", Tone::Changed),
    ] {
        group(desk, findings, severity, title, tone)?;
    }
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    desk.screen.line(&format!(
        "{}, {} of {}: {runs} run, {warned} with a warning, {unsupported} not supported",
        plural(survey.state_files, "state file"),
        plural(runs + warned + unsupported, "state"),
        plural(survey.functions.len(), "function"),
    ))?;
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    desk.screen.line(&format!(
        "{} not supported, {}",
        plural(errors, "thing"),
        plural(warnings, "warning")
    ))?;
    if let Some(file) = written {
        let file = file.display();
        desk.screen.note(&format!("wrote {file}; next: systemctl restart labmaster, then labctl t ID plan"))
    } else {
        desk.screen.line("")?;
        desk.screen.raw(config)?;
        desk.screen.note(&format!("nothing was written; --write writes it to {PART}"))
    }
}

/// A line for each finding, and its remedy where the next one has another.
fn group(
    desk: &mut Desk<'_>,
    findings: &[Diagnostic],
    severity: Severity,
    title: &str,
    tone: Tone,
) -> Outcome<()> {
    let found: Vec<&Diagnostic> = findings.iter().filter(|it| it.severity == severity).collect();
    if found.is_empty() {
        return Ok(());
    }
    let head = desk.screen.style.paint(tone, &format!("{title} ({})", found.len()));
    desk.screen.line(&head)?;
    if desk.screen.style.verbosity > 0 {
        let all: Vec<Diagnostic> = found.into_iter().cloned().collect();
        let drawn = lang::render_diagnostics(&all, desk.screen.style.diagnostics());
        return desk.screen.line(&format!("{}\n", drawn.trim_end()));
    }
    for (index, finding) in found.iter().enumerate() {
        let place = finding.spans.first().map(|it| format!("{}:{}", it.file, it.line)).unwrap_or_default();
        desk.screen.line(&format!("  {place}  {}  {}", finding.code, finding.message))?;
        let next = found.get(index + 1).and_then(|it| it.help.as_ref());
        if let Some(help) = finding.help.as_ref().filter(|it| Some(*it) != next) {
            let help = desk.screen.style.paint(Tone::Dim, &format!("    help: {help}"));
            desk.screen.line(&help)?;
        }
    }
    desk.screen.line("")
}

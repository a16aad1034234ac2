//! `labctl local`: compiles here, runs here; no master is needed.

use super::{
    Desk,
    follow::{Follow, Runs, here},
    key_value, nested,
    state::{SourceArgs, SubjectArgs},
    target,
};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::time,
    tree::{Folders, Read},
    worker::{Order, Program},
};
use clap::{Args, Subcommand};
use lang::{Compiler, Subject, Wanted};
use model::{Answers, ContentHash, Grains, JobKind, MinionId, Mode, Question, Recipe};
use serde_json::Value;
use std::{
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  labctl local plan web                      what would change on this machine, with diffs
  sudo labctl local apply                    what states/top.sls assigns to this machine
  sudo labctl local apply web ssh            these states
  labctl local apply web --tree ~/lab --sandbox /tmp/vm-1    on a pretended machine

The tree is --tree DIR, the nearest folder above this one that has states/, what /etc/labctl/master.yaml
says, or /srv/labctl. Secrets of the pillar stay secret in what is shown.";

/// What `labmaster` reads, for trees that are set up as a master's.
const CONFIG: &str = "/etc/labctl/master.yaml";

/// How often templates are compiled with further answers.
const ROUNDS_MAX: usize = 3;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LocalCommand {
    #[command(subcommand)]
    verb: LocalVerb,
}

#[derive(Debug, Subcommand)]
enum LocalVerb {
    /// Bring states about on this machine; without names what top.sls assigns
    Apply(Box<LocalArgs>),
    /// Look what apply would change: apply --check --diff
    Plan(Box<LocalArgs>),
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct LocalArgs {
    /// States; none is what top.sls assigns
    #[arg(value_name = "STATE")]
    states: Vec<String>,
    /// Look only, change nothing
    #[arg(short = 'n', long, visible_aliases = ["dry-run", "test"])]
    check: bool,
    /// Show what changes in files and properties
    #[arg(long)]
    diff: bool,
    /// Every step in the result
    #[arg(long)]
    all: bool,
    /// A value that wins over the pillar, for this run: web.port=81
    #[arg(long = "set", value_name = "K=V", value_parser = key_value)]
    values: Vec<(String, Value)>,
    /// End with 10 if something changed (or would)
    #[arg(long)]
    detailed_exitcode: bool,
    /// Folder with states/, pillar/ and reactors/, or the states of a tree of Salt
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    /// Trees as this master.yaml, and the parts beside it, say
    #[arg(long, value_name = "FILE", conflicts_with = "tree")]
    settings: Option<PathBuf>,
    /// Pretend: files beneath DIR are real, the rest is kept in a file there
    #[arg(long, value_name = "DIR")]
    sandbox: Option<PathBuf>,
    /// The program that does the work, instead of the one beside labctl or on the path
    #[arg(long, value_name = "FILE")]
    labminion: Option<PathBuf>,
    /// Let templates run commands on this machine while they are compiled, even for --check
    #[arg(long)]
    probe_commands: bool,
    #[command(flatten)]
    subject: SubjectArgs,
}

impl LocalCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb {
            LocalVerb::Apply(args) => args.run(desk),
            LocalVerb::Plan(args) => LocalArgs { check: true, diff: true, ..*args }.run(desk),
        }
    }
}

impl LocalArgs {
    fn run(self, desk: &mut Desk<'_>) -> Ended {
        let mode = if self.check { Mode::Check } else { Mode::Apply };
        if mode == Mode::Apply && self.sandbox.is_none() && !is_root() {
            let hint = "sudo labctl local apply …; or look only: --check; or pretend: --sandbox DIR";
            return Err(
                Failure::new(Exit::Forbidden, "altering this machine takes the rights of root").hint(hint)
            );
        }
        if let Some(sandbox) = &self.sandbox {
            std::fs::create_dir_all(sandbox).map_err(|it| Failure::file("make", sandbox, &it))?;
        }
        let program = Program::find(self.labminion.as_deref(), self.sandbox.as_deref())?;
        let (id, grains) = self.machine(&program)?;
        let files = self.source.read_of(self.folders()?)?;
        let recipe = self.compile(desk, &program, &files, (&id, &grains))?;
        let folder = Folder::make()?;
        hand_over(&recipe, &files, &folder.0)?;
        let text = serde_json::to_vec(&recipe).map_err(|it| Failure::new(Exit::Failed, it.to_string()))?;
        let order = Order { program, mode, folder: folder.0.clone() };
        let pillar = serde_json::Map::new();
        let kind = JobKind::Apply { states: self.states, mode, pillar, env: None, confirm_ms: None };
        let job = here::view(target::new_job_id()?, &id, kind, time::now());
        let follow = Follow {
            diff: self.diff || self.check,
            all: self.all,
            detailed_exitcode: self.detailed_exitcode,
            runs: Runs::Here,
            ..Follow::plainly(None)
        };
        here::run(desk, &follow, &job, &order, text)
    }

    fn folders(&self) -> Outcome<Folders> {
        let config = Path::new(CONFIG);
        match (&self.tree, &self.settings) {
            (None, Some(settings)) => Folders::configured(settings),
            (None, None) if !Folders::is_near() && config.is_file() => Folders::configured(config),
            (tree, _) => Folders::find(tree.as_deref()),
        }
    }

    /// Its name and its grains: those of a file, or what it says of itself.
    fn machine(&self, program: &Program) -> Outcome<(MinionId, Grains)> {
        if self.subject.has_grains() {
            return self.subject.who();
        }
        match program.grains(self.subject.named().map(MinionId::as_str))? {
            Value::Object(grains) => self.subject.with_id(grains),
            _ => Err(Failure::new(Exit::Failed, "labminion gave no mapping of grains")),
        }
    }

    fn compile(
        &self,
        desk: &mut Desk<'_>,
        program: &Program,
        files: &Read,
        (id, grains): (&MinionId, &Grains),
    ) -> Outcome<Recipe> {
        let compiler = Compiler::with_options(files.tree.clone(), files.options.clone());
        let labels = self.subject.labels()?;
        let wanted =
            if self.states.is_empty() { Wanted::Assigned } else { Wanted::Named(self.states.clone()) };
        let pillar = nested(&self.values)?;
        let mut answers = self.subject.answers()?;
        let compile = |answers: &Answers| {
            compiler.compile(Subject { id, grains, labels: &labels, answers }, &wanted, &pillar)
        };
        let mut made = compile(&answers);
        for _ in 0..ROUNDS_MAX {
            if made.questions.is_empty() {
                break;
            }
            self.ask(program, &made.questions, &mut answers)?;
            made = compile(&answers);
        }
        if !made.questions.is_empty() {
            let why = format!("templates were answered {ROUNDS_MAX} times and still ask");
            return Err(unanswered(made.questions.iter().map(|it| format!("{it}: {why}"))));
        }
        let mut diagnostics = files.problems.clone();
        diagnostics.extend(made.diagnostics);
        let Some(recipe) = made.value else {
            let message = format!("the states do not compile for {id}");
            return Err(Failure { diagnostics, ..Failure::new(Exit::Compile, message) });
        };
        if !diagnostics.is_empty() {
            let text = lang::render_diagnostics(&diagnostics, desk.screen.err_style.diagnostics());
            desk.screen.note(text.trim_end())?;
        }
        Ok(recipe)
    }

    /// Asks this machine. A question without an answer would count as false: then nothing is done at all.
    fn ask(&self, program: &Program, questions: &[Question], answers: &mut Answers) -> Outcome<()> {
        let told = program.answers(questions, self.probe_commands)?;
        let mut without = Vec::new();
        for (question, told) in questions.iter().zip(told) {
            match told {
                Ok(value) => answers.insert(question, value),
                Err(reason) => without.push(format!("{question}: {reason}")),
            }
        }
        if without.is_empty() { Ok(()) } else { Err(unanswered(without.into_iter())) }
    }
}

/// Names the questions that are left.
fn unanswered(questions: impl Iterator<Item = String>) -> Failure {
    let listed: Vec<String> = questions.collect();
    let listed = listed.join("\n  ");
    let message = format!("templates ask what has no answer, and it would count as false:\n  {listed}");
    Failure::new(Exit::Compile, message)
        .hint("--answers FILE gives answers; --probe-commands lets templates run commands on this machine")
}

/// The owner of what the kernel says of this process is who it acts as.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

/// A private folder that goes away with the run.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("labctl-local-{}", target::new_job_id()?));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::file("make", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Contents that are not in the recipe, each copied under its hash: the minion follows no link out of its folder. Should
/// one be altered now, its step fails, because what it writes is not what was compiled.
fn hand_over(recipe: &Recipe, files: &Read, folder: &Path) -> Outcome<()> {
    let missing = |hash: &ContentHash| Failure::new(Exit::Failed, format!("the tree has no content {hash}"));
    for hash in recipe.files.iter().filter(|(_, file)| file.inline.is_none()).map(|it| it.0) {
        let place = files.places.get(hash).ok_or_else(|| missing(hash))?;
        let name = folder.join(hash.to_string());
        std::fs::copy(place, &name).map_err(|it| Failure::file("copy", place, &it))?;
    }
    Ok(())
}

//! Compiles on a few blocking threads, so that the loop never waits for them.

mod conduct;

use crate::core::{Asked, Asker, Input, Master, ROUNDS_MAX, SealedRef, Ticket, set_id};
use crate::sources::Generation;
use bus::SealKey;
use lang::{Roster, RosterEntry, Subject, View, Wanted, with_roster};
use model::api::{CompiledView, ErrorKind, ErrorView, PillarView};
use model::{
    Answers, ContentHash, Diagnostic, Global, JobId, JobKind, Minion, MinionId, Question, Recipe, Reply,
    Revision, SecretBytes, Severity, Step,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Compiles that may wait; what comes on top is refused with a complaint.
pub(super) const QUEUE_MAX: usize = 100_000;

/// Of commands while there are no trees.
const NO_REVISION: Revision = Revision(model::ContentHash([0; 32]));

/// One thing to compile, with all it needs.
#[derive(Debug)]
pub(crate) enum Task {
    /// A recipe for a job.
    Recipe {
        /// Which.
        job: JobId,
        /// For whom.
        minion: MinionId,
        /// What.
        kind: JobKind,
        /// What the minion has answered.
        asked: Asked,
    },
    /// Recipes for people.
    View(Ticket, Vec<MinionId>, Vec<String>, Asked),
    /// Pillars for people.
    Pillar(Ticket, Vec<MinionId>, Asked),
    /// What top.sls assigns.
    Assigned(MinionId),
    /// What a minion does by itself.
    Conduct(MinionId, Asked),
}

impl Task {
    /// What is told when nothing can come of it.
    pub(crate) fn failed(&self, revision: Option<Revision>, message: String) -> Done {
        let input = match self {
            Self::Recipe { job, minion, .. } => {
                let (revision, result) = (revision.unwrap_or(NO_REVISION), Err(vec![complaint(message)]));
                Input::Compiled { job: *job, minion: minion.clone(), revision, result }
            }
            Self::View(ticket, ..) | Self::Pillar(ticket, ..) => {
                Input::Answered { ticket: *ticket, reply: Box::new(super::unavailable(message)) }
            }
            Self::Assigned(minion) => Input::Assigned { minion: minion.clone(), states: None },
            Self::Conduct(minion, _) => {
                Input::Conducted { minion: minion.clone(), result: Err(vec![complaint(message)]) }
            }
        };
        Done { input, sealed: None }
    }
}

/// What came of it: the input for the core, and ciphertext to store with what it records.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) input: Input,
    pub(crate) sealed: Option<(JobId, MinionId, Arc<[u8]>)>,
}

/// Tasks that wait, and how many are under way.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: VecDeque<Task>,
    running: usize,
    threads: usize,
}

impl Pool {
    /// With so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self { queue: VecDeque::new(), running: 0, threads }
    }
    /// One more, which is given back when far too many wait.
    pub(crate) fn push(&mut self, task: Task) -> Option<Task> {
        if self.queue.len() >= QUEUE_MAX {
            return Some(task);
        }
        self.queue.push_back(task);
        None
    }
    /// The next to begin, if there is a thread for it.
    pub(crate) fn begin(&mut self) -> Option<Task> {
        if self.running >= self.threads {
            return None;
        }
        let task = self.queue.pop_front()?;
        self.running += 1;
        Some(task)
    }
    /// One has ended.
    pub(crate) fn ended(&mut self) {
        self.running -= 1;
    }
}

/// A task with copies of what the core knows, for another thread.
pub(crate) struct Prepared {
    task: Task,
    subjects: Vec<(Minion, Option<SealKey>)>,
    /// What a minion does by itself already.
    conduct: Option<ContentHash>,
    /// It is left alone for a while: it does nothing by the clock.
    maintained: bool,
    generation: Option<Arc<Generation>>,
    /// All members, if one of the subjects may ask for them.
    roster: Option<Arc<[RosterEntry]>>,
}

/// Copies what a task needs.
pub(crate) fn prepare(task: Task, master: &Master, generation: Option<&Arc<Generation>>) -> Prepared {
    let minions = match &task {
        Task::Recipe { minion, .. } | Task::Assigned(minion) | Task::Conduct(minion, _) => {
            std::slice::from_ref(minion)
        }
        Task::View(_, minions, ..) | Task::Pillar(_, minions, _) => minions,
    };
    let subject = |id: &MinionId| {
        let mut minion = master.minion(id)?.clone();
        set_id(&mut minion.grains, id);
        let seal = master.key(&minion.fingerprint).and_then(|key| SealKey::from_text(&key.seal));
        Some((minion, seal))
    };
    let subjects: Vec<_> = minions.iter().filter_map(subject).collect();
    let conduct = match &task {
        Task::Conduct(minion, _) => master.conduct_of(minion),
        _ => None,
    };
    let maintained = matches!(&task, Task::Conduct(minion, _) if master.is_maintained(minion));
    let roster = subjects.iter().any(|(it, _)| may_see_others(it)).then(|| master.roster_of_all().into());
    Prepared { task, subjects, conduct, maintained, generation: generation.cloned(), roster }
}

/// The label with which an operator says that a machine's files may name all the others.
const ROSTER_LABEL: &str = "roster";

fn may_see_others(minion: &Minion) -> bool {
    minion.labels.get(ROSTER_LABEL).is_some_and(|it| it == "yes")
}

impl Prepared {
    /// What is told instead if compiling ends in a bug.
    pub(crate) fn fallback(&self) -> Done {
        let message = "the compiler ended in a bug: see the log of labmaster".to_owned();
        self.task.failed(self.generation.as_ref().map(|it| it.revision), message)
    }
    /// Compiles; blocks.
    pub(crate) fn run(self) -> Done {
        let generation = self.generation.as_deref();
        let others = |it: Option<&Minion>| roster_for(it, self.roster.as_ref());
        let first = others(self.subjects.first().map(|it| &it.0));
        match self.task {
            Task::Recipe { job, minion, kind, asked } => {
                let subject = self.subjects.first();
                with_roster(first, || recipe(job, minion, kind, asked, subject, generation))
            }
            Task::View(ticket, minions, states, asked) => {
                let view = |it: &Minion| view(it, &states, &asked, generation);
                let made = |it: &Minion| with_roster(others(Some(it)), || view(it));
                let made: Vec<_> = self.subjects.iter().map(|(it, _)| made(it)).collect();
                if let Some(questions) = open_questions(&asked, made.iter().map(|it| (&it.0.minion, &it.1))) {
                    return further(Asker::View(ticket, minions, states), questions, asked);
                }
                let views = made.into_iter().map(|(mut view, questions)| {
                    view.diagnostics.extend(unanswered(&questions));
                    view
                });
                let views = views.collect();
                answered(ticket, minions.len(), self.subjects.len(), Reply::Compiled(views))
            }
            Task::Pillar(ticket, minions, asked) => {
                let made = |it: &Minion| with_roster(others(Some(it)), || pillar(it, &asked, generation));
                let made: Vec<_> = self.subjects.iter().map(|(it, _)| made(it)).collect();
                if let Some(questions) = open_questions(&asked, made.iter().map(|it| (&it.0.minion, &it.1))) {
                    return further(Asker::Pillar(ticket, minions), questions, asked);
                }
                let views = made.into_iter().map(|(mut view, questions)| {
                    view.diagnostics.extend(unanswered(&questions));
                    view
                });
                let views = views.collect();
                answered(ticket, minions.len(), self.subjects.len(), Reply::Pillars(views))
            }
            Task::Assigned(minion) => {
                let assigned =
                    |(it, _): &(Minion, _)| generation?.compiler.assigned(subject(it, Answers::none())).value;
                let states = with_roster(first, || self.subjects.first().and_then(assigned));
                Done { input: Input::Assigned { minion, states }, sealed: None }
            }
            Task::Conduct(minion, asked) => {
                let known = conduct::Known { has: self.conduct, maintained: self.maintained };
                let subject = self.subjects.first();
                with_roster(first, || conduct::work_out(minion, asked, subject, &known, generation))
            }
        }
    }
}

/// What the templates of a minion may see of the others.
fn roster_for(minion: Option<&Minion>, all: Option<&Arc<[RosterEntry]>>) -> Roster {
    match (minion, all) {
        (Some(it), Some(all)) if may_see_others(it) => Roster::All(Arc::clone(all)),
        (Some(it), _) => Roster::Refused(format!(
            "is for machines with the label roster=yes: `labctl target {} label roster=yes`",
            it.id
        )),
        (None, _) => Roster::None,
    }
}

fn answered(ticket: Ticket, asked: usize, known: usize, reply: Reply) -> Done {
    let gone = || {
        let message = "the minions of this request are not members any more".to_owned();
        Reply::Error(ErrorView { kind: ErrorKind::NotFound, message, hint: None, diagnostics: Vec::new() })
    };
    let reply = if asked > 0 && known == 0 { gone() } else { reply };
    Done { input: Input::Answered { ticket, reply: Box::new(reply) }, sealed: None }
}

fn subject<'a>(minion: &'a Minion, answers: &'a Answers) -> Subject<'a> {
    Subject { id: &minion.id, grains: &minion.grains, labels: &minion.labels, answers }
}

fn answers_of<'a>(asked: &'a Asked, minion: &MinionId) -> &'a Answers {
    asked.answers.get(minion).unwrap_or(Answers::none())
}

/// The recipe of a job, or what is to be asked for it first.
fn recipe(
    job: JobId,
    minion: MinionId,
    kind: JobKind,
    asked: Asked,
    subject: Option<&(Minion, Option<SealKey>)>,
    generation: Option<&Generation>,
) -> Done {
    let revision = generation.map_or(NO_REVISION, |it| it.revision);
    let (result, bytes) = match sealed(job, &kind, &asked, subject, generation) {
        Ok(Made::Sealed((place, bytes))) => (Ok(place), Some((job, minion.clone(), bytes))),
        Ok(Made::Asks(questions)) if asked.rounds < ROUNDS_MAX => {
            return further(Asker::Job(job, kind), BTreeMap::from([(minion, questions)]), asked);
        }
        Ok(Made::Asks(questions)) => {
            let first = questions.first().map(ToString::to_string).unwrap_or_default();
            let message = format!("templates asked {ROUNDS_MAX} times and still ask for more: {first}");
            (Err(vec![complaint(message)]), None)
        }
        Err(diagnostics) => (Err(diagnostics), None),
    };
    Done { input: Input::Compiled { job, minion, revision, result }, sealed: bytes }
}

/// What is to be asked before it is compiled again; none if there is nothing, or if it was asked often enough.
fn open_questions<'a>(
    asked: &Asked,
    all: impl Iterator<Item = (&'a MinionId, &'a Vec<Question>)>,
) -> Option<BTreeMap<MinionId, Vec<Question>>> {
    let open =
        all.filter(|it| !it.1.is_empty()).map(|(minion, questions)| (minion.clone(), questions.clone()));
    let open: BTreeMap<_, _> = open.collect();
    (asked.rounds < ROUNDS_MAX && !open.is_empty()).then_some(open)
}

fn further(wanted_by: Asker, questions: BTreeMap<MinionId, Vec<Question>>, asked: Asked) -> Done {
    Done { input: Input::Questions { asker: wanted_by, questions, asked }, sealed: None }
}

/// Says what counted as false or empty.
fn unanswered(questions: &[Question]) -> Vec<Diagnostic> {
    let told = |it: &Question| Diagnostic {
        severity: Severity::Warning,
        code: "W0603".into(),
        message: format!("`{it}` has no answer: it counted as false or empty"),
        spans: Vec::new(),
        notes: Vec::new(),
        help: Some("the minion is away, or it cannot answer".to_owned()),
    };
    questions.iter().map(told).collect()
}

type Sealed = (SealedRef, Arc<[u8]>);

/// What came of a compile.
enum Made {
    Sealed(Sealed),
    Asks(Vec<Question>),
}

fn sealed(
    job: JobId,
    kind: &JobKind,
    asked: &Asked,
    minion: Option<&(Minion, Option<SealKey>)>,
    generation: Option<&Generation>,
) -> Result<Made, Vec<Diagnostic>> {
    let Some((minion, seal)) = minion else {
        return Err(vec![complaint("the minion is not a member any more".into())]);
    };
    let Some(seal) = seal else {
        return Err(vec![complaint(format!(
            "the key of {} has no half to seal to: enrol it again",
            minion.id
        ))]);
    };
    let recipe = match kind {
        JobKind::Run { .. } => command(kind),
        JobKind::Undo { of, force, .. } => undo(*of, *force),
        JobKind::Reboot { message } => reboot(message),
        JobKind::Apply { states, pillar, env, .. } => {
            let Some(generation) = generation else {
                return Err(vec![complaint("the trees were not read yet".into())]);
            };
            let wanted = wanted(states);
            let subject = subject(minion, answers_of(asked, &minion.id));
            let compiled = generation.compiler.compile_in(env.as_deref(), subject, &wanted, pillar);
            if !compiled.questions.is_empty() {
                return Ok(Made::Asks(compiled.questions));
            }
            compiled.value.ok_or(compiled.diagnostics)?
        }
    };
    Master::recipe_limits(&recipe).map_err(|message| vec![complaint(message)])?;
    let steps = u32::try_from(recipe.steps.len()).unwrap_or(u32::MAX);
    let grants = recipe.files.iter().filter(|(_, it)| it.inline.is_none()).map(|(hash, _)| *hash).collect();
    let plain = SecretBytes::from(serde_json::to_vec(&recipe).expect("a recipe has text keys only"));
    let bytes: Arc<[u8]> = bus::seal::seal(&plain, seal, &bus::seal::recipe_context(&minion.id, job)).into();
    let place = SealedRef { hash: bus::seed::sha256(&bytes), size: bytes.len() as u64, steps, grants };
    Ok(Made::Sealed((place, bytes)))
}

fn wanted(states: &[String]) -> Wanted {
    if states.is_empty() { Wanted::Assigned } else { Wanted::Named(states.to_vec()) }
}

fn view(
    minion: &Minion,
    states: &[String],
    asked: &Asked,
    generation: Option<&Generation>,
) -> (CompiledView, Vec<Question>) {
    let Some(generation) = generation else {
        let diagnostics = vec![complaint("the trees were not read yet".into())];
        return (CompiledView { minion: minion.id.clone(), steps: None, diagnostics }, Vec::new());
    };
    let subject = subject(minion, answers_of(asked, &minion.id));
    let shown = generation.compiler.show(subject, &wanted(states), &Map::new(), View::Applied);
    let view = CompiledView { minion: minion.id.clone(), steps: shown.value, diagnostics: shown.diagnostics };
    (view, shown.questions)
}

fn pillar(minion: &Minion, asked: &Asked, generation: Option<&Generation>) -> (PillarView, Vec<Question>) {
    let Some(generation) = generation else {
        let diagnostics = vec![complaint("the trees were not read yet".into())];
        return (PillarView { minion: minion.id.clone(), pillar: None, diagnostics }, Vec::new());
    };
    let compiled = generation.compiler.pillar(subject(minion, answers_of(asked, &minion.id)));
    let view =
        PillarView { minion: minion.id.clone(), pillar: compiled.value, diagnostics: compiled.diagnostics };
    (view, compiled.questions)
}

/// One `cmd.run` step: an operator's command is data, never a template.
fn command(kind: &JobKind) -> Recipe {
    let JobKind::Run { command, shell, cwd, user, environment, timeout_ms } = kind else {
        return Recipe::default();
    };
    let name = command.join(" ");
    let mut params: Map<String, Value> = Map::new();
    params.insert("name".into(), json!(name));
    if !shell {
        params.insert("argv".into(), json!(command));
    }
    if let Some(cwd) = cwd {
        params.insert("cwd".into(), json!(cwd));
    }
    if let Some(user) = user {
        params.insert("runas".into(), json!(user));
    }
    if !environment.is_empty() {
        params.insert("env".into(), json!(environment));
    }
    params.insert("timeout".into(), json!(format!("{timeout_ms}ms")));
    let step = Step {
        id: name.clone(),
        sls: "run".into(),
        state: "cmd".into(),
        fun: "run".into(),
        name,
        params,
        links: Vec::new(),
        global: Global { attempts: 1, ..Global::default() },
        at: None,
    };
    Recipe { steps: vec![step], command: true, ..Recipe::default() }
}

/// One step: whether a reboot is pending does not matter, for somebody wants one.
fn reboot(message: &str) -> Recipe {
    let name = "reboot".to_owned();
    let mut params = Map::from_iter([("name".to_owned(), json!(name))]);
    params.insert("only_on_pending_reboot".to_owned(), json!(false));
    if !message.is_empty() {
        params.insert("message".to_owned(), json!(message));
    }
    let step = Step {
        id: name.clone(),
        sls: "reboot".into(),
        state: "system".into(),
        fun: "reboot".into(),
        name,
        params,
        links: Vec::new(),
        global: Global { attempts: 1, ..Global::default() },
        at: None,
    };
    Recipe { steps: vec![step], command: true, ..Recipe::default() }
}

/// One step: what was kept lies on the minion.
fn undo(of: JobId, force: bool) -> Recipe {
    let name = of.to_string();
    let params = Map::from_iter([("name".to_owned(), json!(name)), ("force".to_owned(), json!(force))]);
    let step = Step {
        id: format!("undo {}", of.short()),
        sls: "undo".into(),
        state: "undo".into(),
        fun: "job".into(),
        name,
        params,
        links: Vec::new(),
        global: Global { attempts: 1, ..Global::default() },
        at: None,
    };
    Recipe { steps: vec![step], ..Recipe::default() }
}

fn complaint(message: String) -> Diagnostic {
    let (severity, code) = (Severity::Error, "E0602".into());
    Diagnostic { severity, code, message, spans: Vec::new(), notes: Vec::new(), help: None }
}

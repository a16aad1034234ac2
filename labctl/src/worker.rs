//! Runs a recipe on this machine through `labminion run-recipe`: feeds it, reads what it says line by line, and ends it
//! when the user wants that. Waits, as `session.rs` does.

use crate::{
    Outcome,
    failure::{Exit, Failure},
};
use model::{Mode, Question, StepReport};
use serde::Deserialize;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    time,
};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Longest line: a whole report.
const LINE_MAX: usize = 256 << 20;
/// Kept of what the program says on standard error.
const COMPLAINTS_MAX: u64 = 64 << 10;
/// Bytes of an answer to a question.
const ANSWER_MAX: u64 = 16 << 20;
/// For an answer to a question: programs in `grains.d/` have 5 s each.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// A line of the worker's output, as `labminion run-recipe` prints it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "said", content = "data")]
pub(crate) enum Said {
    /// Steps in all; first.
    Steps(u32),
    Line(RunLine),
    /// It is over; last.
    End(RunEnd),
}

/// Something happened in a run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line", content = "data")]
pub(crate) enum RunLine {
    Started { index: u32, what: String },
    Output { stderr: bool, text: String },
    Ended(Box<StepReport>),
}

/// How a run ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "data")]
pub(crate) enum RunEnd {
    Report { report: Box<model::RunReport>, events: Vec<(String, Value)> },
    NotBegun { reason: String },
    Fault { reason: String },
    Lost { reason: String },
}

/// What the one who waits is told.
pub(crate) enum Event {
    Said(Said),
    /// Time passed.
    Tick,
    /// Ctrl-C, or the like; the first asks for an end after the step at work, the second ends it at once.
    Interrupted {
        again: bool,
    },
}

/// How to run a recipe.
pub(crate) struct Order {
    pub(crate) program: Program,
    pub(crate) mode: Mode,
    /// A private folder: contents named by their hash, and the file that asks for an end.
    pub(crate) folder: PathBuf,
}

/// `labminion`, and the machine it is to work on.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    sandbox: Option<PathBuf>,
}

impl Program {
    /// The one named, the one beside this program, or the first on the path.
    pub(crate) fn find(named: Option<&Path>, sandbox: Option<&Path>) -> Outcome<Self> {
        let beside = std::env::current_exe().ok().and_then(|it| Some(it.parent()?.join("labminion")));
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&paths).map(|it| it.join("labminion"));
        let path = match named {
            Some(path) => Some(path.to_owned()).filter(|it| it.is_file()),
            None => beside.into_iter().chain(on_path).find(|it| it.is_file()),
        };
        let path = path.ok_or_else(|| {
            let which = named.map_or_else(|| "labminion".to_owned(), |it| it.display().to_string());
            Failure::not_found(format!("there is no program `{which}` to run states with"))
                .hint("install labminion beside labctl or on the path, or name it: --labminion FILE")
        })?;
        Ok(Self { path, sandbox: sandbox.map(Path::to_owned) })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(verb);
        if let Some(sandbox) = &self.sandbox {
            command.arg("--sandbox").arg(sandbox);
        }
        command
    }

    /// What this machine says of itself.
    pub(crate) fn grains(&self, id: Option<&str>) -> Outcome<Value> {
        let mut command = self.command("grains");
        if let Some(id) = id {
            command.args(["--id", id]);
        }
        let failed = |why: String| Failure::new(Exit::Failed, format!("labminion gave no grains: {why}"));
        let text = in_runtime(ask(command, Vec::new()))?.map_err(failed)?;
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
    }

    /// What this machine answers to questions of templates, in their order: the value, or why there is none.
    pub(crate) fn answers(
        &self,
        questions: &[Question],
        commands: bool,
    ) -> Outcome<Vec<Result<Value, String>>> {
        let mut command = self.command("answer");
        if commands {
            command.arg("--commands");
        }
        let failed = |why: String| Failure::new(Exit::Failed, format!("labminion gave no answers: {why}"));
        let input = serde_json::to_vec(questions).map_err(|error| failed(error.to_string()))?;
        let text = in_runtime(ask(command, input))?.map_err(failed)?;
        let told: Vec<Told> = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        Ok(told.into_iter().map(Told::result).collect())
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|it| Failure::new(Exit::Failed, format!("cannot start: {it}")))?;
    Ok(runtime.block_on(work))
}

/// An answer, as `labminion answer` prints it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Ok(Value),
    Error(String),
}

impl Told {
    fn result(self) -> Result<Value, String> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(reason) => Err(reason),
        }
    }
}

/// What a program prints, within a limit of time and size. It reads its input before it prints.
async fn ask(mut command: Command, input: Vec<u8>) -> Result<Vec<u8>, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (mut said, mut complaints) = (Vec::new(), Vec::new());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let read = async {
        // A program that ends early says why on its own.
        let _ = stdin.ok_or("no input")?.write_all(&input).await;
        let out = stdout.ok_or("no output")?;
        let err = stderr.ok_or("no output")?;
        let (mut out, mut err) = (out.take(ANSWER_MAX), err.take(COMPLAINTS_MAX));
        let (out, err) = tokio::join!(out.read_to_end(&mut said), err.read_to_end(&mut complaints));
        out.and(err).map_err(|error| error.to_string())?;
        child.wait().await.map_err(|error| error.to_string())
    };
    let status = time::timeout(ANSWER_WITHIN, read).await.map_err(|_| "no answer in time".to_owned())??;
    if status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&complaints).trim().to_owned()) }
}

/// Runs a recipe (JSON) to its end. If whoever is told wants no more, the run is ended after the step at work.
pub(crate) fn run(
    order: &Order,
    recipe: Vec<u8>,
    on: &mut dyn FnMut(Event) -> Outcome<()>,
) -> Outcome<RunEnd> {
    in_runtime(async {
        let child = spawn(order)?;
        Running { order, child, asked: 0, broken: None }.watch(recipe, on).await
    })?
}

fn spawn(order: &Order) -> Outcome<Child> {
    let mut command = order.program.command("run-recipe");
    command.arg("--blobs").arg(&order.folder).arg("--cancel").arg(order.cancel());
    if order.mode == Mode::Check {
        command.arg("--check");
    }
    // It begins a session of its own: Ctrl-C is for this program, which ends the run at a good moment. It could not if
    // it led a group already.
    let command = command.kill_on_drop(false);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| Failure::file("start", &order.program.path, &error))
}

impl Order {
    fn cancel(&self) -> PathBuf {
        self.folder.join("cancel")
    }
}

struct Running<'a> {
    order: &'a Order,
    child: Child,
    /// How often the user wanted it to end.
    asked: u32,
    /// Why nobody is told any more.
    broken: Option<Failure>,
}

/// What makes a program that waits stop.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [a, b, c] = kinds.map(signal);
        Ok(Self([a?, b?, c?]))
    }
    async fn next(&mut self) {
        let [a, b, c] = &mut self.0;
        tokio::select! { _ = a.recv() => (), _ = b.recv() => (), _ = c.recv() => () }
    }
}

impl Running<'_> {
    async fn watch(mut self, recipe: Vec<u8>, on: &mut dyn FnMut(Event) -> Outcome<()>) -> Outcome<RunEnd> {
        let pipes = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let (Some(mut input), Some(mut output), Some(complaints)) = pipes else {
            return Err(Failure::new(Exit::Failed, "labminion was started without pipes"));
        };
        let feed = tokio::spawn(async move { input.write_all(&recipe).await });
        let complaints = tokio::spawn(async move {
            let (mut text, mut pipe) = (Vec::new(), complaints.take(COMPLAINTS_MAX));
            let _ = pipe.read_to_end(&mut text).await;
            // The rest goes nowhere, so that it does not wait for a reader.
            let _ = tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await;
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut interrupts = Interrupts::new().map_err(|it| Failure::new(Exit::Failed, it.to_string()))?;
        let mut ticks = time::interval(TICK);
        let (mut buffer, mut end) = (Vec::new(), None);
        loop {
            tokio::select! {
                read = output.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(_) => self.take_lines(&mut buffer, &mut end, on),
                },
                _ = ticks.tick() => self.tell(Event::Tick, on),
                () = interrupts.next() => self.interrupt(on),
            }
        }
        let status = self.child.wait().await.map_err(|it| Failure::new(Exit::Failed, it.to_string()))?;
        // What was not read of the recipe is told below.
        let _ = feed.await;
        if let Some(failure) = self.broken {
            return Err(failure);
        }
        let complaints = complaints.await.unwrap_or_default();
        let said = if complaints.is_empty() { String::new() } else { format!(": {complaints}") };
        Ok(end.unwrap_or_else(|| RunEnd::Lost { reason: format!("labminion ended with {status}{said}") }))
    }

    fn take_lines(
        &mut self,
        buffer: &mut Vec<u8>,
        end: &mut Option<RunEnd>,
        on: &mut dyn FnMut(Event) -> Outcome<()>,
    ) {
        let Some(last) = buffer.iter().rposition(|byte| *byte == b'\n') else {
            if buffer.len() > LINE_MAX {
                self.end_for(Failure::new(Exit::Failed, "a line of labminion is too long"));
                buffer.clear();
            }
            return;
        };
        let rest = buffer.split_off(last + 1);
        for line in buffer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Said::End(how)) => *end = Some(how),
                Ok(said) => self.tell(Event::Said(said), on),
                // Something that a library printed: not ours.
                Err(_) => {}
            }
        }
        *buffer = rest;
    }

    fn tell(&mut self, event: Event, on: &mut dyn FnMut(Event) -> Outcome<()>) {
        if self.broken.is_none()
            && let Err(failure) = on(event)
        {
            self.end_for(failure);
        }
    }

    fn end_for(&mut self, failure: Failure) {
        self.broken.get_or_insert(failure);
        self.ask_for_end();
    }

    /// The worker looks for this file between two steps.
    fn ask_for_end(&mut self) {
        if std::fs::File::create(self.order.cancel()).is_err() {
            let _ = self.child.start_kill();
        }
    }

    fn interrupt(&mut self, on: &mut dyn FnMut(Event) -> Outcome<()>) {
        self.asked += 1;
        let again = self.asked > 1;
        if again {
            self.kill();
        } else {
            self.ask_for_end();
        }
        self.tell(Event::Interrupted { again }, on);
    }

    /// With the commands that it started: each leads a group of its own.
    fn kill(&mut self) {
        let worker = self.child.id().unwrap_or_default();
        let children = std::fs::read_to_string(format!("/proc/{worker}/task/{worker}/children"));
        let _ = self.child.start_kill();
        let groups: Vec<String> =
            children.unwrap_or_default().split_whitespace().map(|it| format!("-{it}")).collect();
        if !groups.is_empty() {
            let _ = std::process::Command::new("kill").args(["-KILL", "--"]).args(groups).status();
        }
    }
}

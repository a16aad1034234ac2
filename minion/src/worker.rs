//! Runs are done by a process of their own: a panic in one, or the end of the agent, does not end the other.
//!
//! The worker's standard output is a file in the minion's folder that the agent locked before it began: whoever holds
//! the lock is the worker. An agent that was restarted sees by it whether a worker still runs, and reads what it said.

mod halts;
mod hang;
mod last_words;
mod leader;
mod tail;
mod words;

pub use hang::HANG_LIMIT;

use crate::core::{Resume, RunEnd, RunLine};
use crate::home::make_private_dir;
use hang::{Pulse, Silence};
use last_words::LastWords;
use leader::Leader;
use model::{JobId, Mode, Recipe, broken};
use resources::{Ended, Host, Progress, RunOptions};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tail::Tail;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use words::{say, say_last};

/// What a worker says, in its job's folder: who holds its lock is the worker.
const SAID: &str = "said.jsonl";
/// The same for the worker that puts back what a job altered: the job's own last word must not pass for its.
const UNDONE: &str = "undone.jsonl";
/// Between two looks at what a worker said: at most ten progress messages a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest recipe, as JSON.
pub const RECIPE_MAX: u64 = 64 << 20;

/// A line of a worker's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "said", content = "data")]
pub enum Said {
    /// Steps in all; first.
    Steps(u32),
    /// Something happened.
    Line(RunLine),
    /// It is over; last.
    End(RunEnd),
}

/// How a recipe is to be run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Look only, or change.
    pub mode: Mode,
    /// Where contents were fetched to, each named by its hash.
    pub blobs: PathBuf,
    /// A file that appears when the run is to end early.
    pub cancel: Option<PathBuf>,
    /// Folder of a pretended machine.
    pub sandbox: Option<PathBuf>,
    /// Where what it alters is kept, and for which job; without one, what jobs kept is only found there.
    pub keep: Option<(PathBuf, Option<JobId>)>,
    /// Whether the run is undone unless it is confirmed.
    pub way_back: bool,
    /// A file whose time says that the run is alive.
    pub pulse: Option<PathBuf>,
    /// Where a run writes down how far it has come when it reaches a step that reboots; without, such a step fails.
    pub halts: Option<PathBuf>,
    /// The step that is past, if the run goes on behind one.
    pub resume: Option<Resume>,
}

/// Makes the host for a recipe.
pub type MakeHost = dyn Fn(&Recipe, &Order) -> io::Result<Box<dyn Host>>;

/// Reads a recipe, runs it and writes what happens, a JSON object a line. The worker's whole life.
pub fn run_recipe(
    order: &Order,
    input: &mut dyn Read,
    output: &mut (dyn Write + Send),
    make_host: &MakeHost,
) -> io::Result<RunEnd> {
    let mut text = Vec::new();
    input.take(RECIPE_MAX + 1).read_to_end(&mut text)?;
    let recipe = match serde_json::from_slice::<Recipe>(&text) {
        Ok(recipe) if text.len() as u64 <= RECIPE_MAX => recipe,
        Ok(_) => return end(output, not_begun(format!("the recipe is longer than {RECIPE_MAX} bytes"))),
        // Whoever gave it was ended in the middle: nothing was begun, and another may begin it.
        Err(error) if error.is_eof() => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => return end(output, not_begun(format!("the recipe is malformed: {error}"))),
    };
    drop(text);
    let mut host = match make_host(&recipe, order) {
        Ok(host) => host,
        Err(error) => return end(output, not_begun(format!("this machine cannot be worked on: {error}"))),
    };
    say(output, &Said::Steps(u32::try_from(recipe.steps.len()).unwrap_or(u32::MAX)))?;
    let ended = run(order, &recipe, &mut *host, output);
    end(output, ended)
}

fn run(order: &Order, recipe: &Recipe, host: &mut dyn Host, output: &mut (dyn Write + Send)) -> RunEnd {
    let past = match halts::past(order) {
        Ok(past) => past,
        Err(reason) => return RunEnd::Fault { reason },
    };
    let start = Instant::now();
    let pulse = Pulse::new(order.pulse.clone());
    let cancelled = || {
        pulse.beat();
        order.cancel.as_deref().is_some_and(Path::exists)
    };
    let clock_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let pause_ms = |ms| std::thread::sleep(Duration::from_millis(ms));
    let options =
        RunOptions { mode: order.mode, cancelled: &cancelled, clock_ms: &clock_ms, pause_ms: &pause_ms };
    let last_words = LastWords::prepare();
    let mut events = Vec::new();
    let mut progress = |progress: Progress| {
        let line = match progress {
            Progress::Started { index, what } => {
                last_words.at(&what);
                RunLine::Started { index: u32::try_from(index).unwrap_or(u32::MAX), what }
            }
            Progress::Output { stderr, text, .. } => RunLine::Output { stderr, text },
            Progress::Ended(step) => RunLine::Ended(step),
            Progress::Event { index, tag, id, name, data } => {
                let sls = recipe.steps.get(index).map(|it| &it.sls);
                let mut payload = json!({ "state": id, "sls": sls, "name": name });
                if !data.is_null() {
                    payload["data"] = data;
                }
                events.push((tag, payload));
                return;
            }
        };
        // Nobody needs to hear it: the report has everything.
        let _ = say(output, &Said::Line(line));
    };
    let Some(folder) = &order.halts else {
        let report = resources::run(recipe, &options, host, &mut progress);
        return RunEnd::Report { report: Box::new(report), events };
    };
    let before = past.as_ref().map(|it| it.1.clone()).unwrap_or_default();
    let ended = resources::run_past(past.map(|it| it.0), recipe, &options, host, &mut progress);
    events.splice(0..0, before);
    match ended {
        Ended::Report(report) => RunEnd::Report { report, events },
        Ended::Reboot(halt) => halts::write(folder, &halt, &events),
    }
}

fn not_begun(reason: String) -> RunEnd {
    RunEnd::NotBegun { reason }
}

fn end(output: &mut dyn Write, end: RunEnd) -> io::Result<RunEnd> {
    let said = Said::End(end);
    say_last(output, &said)?;
    match said {
        Said::End(end) => Ok(end),
        _ => unreachable!("it was made right above"),
    }
}

/// What the agent hears of a run.
#[derive(Debug)]
pub enum Told {
    /// It goes on.
    Progress {
        /// Which.
        job: JobId,
        /// Steps in all.
        of: u32,
        /// What happened.
        lines: Vec<RunLine>,
    },
    /// It is over.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        end: RunEnd,
    },
}

/// The agent's side: starts workers, finds them again, watches them.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Folder with a folder for each job.
    pub dir: PathBuf,
    /// Where contents were fetched to.
    pub blobs: PathBuf,
    /// Where what jobs alter is kept.
    pub keep: PathBuf,
    /// Folder of a pretended machine.
    pub sandbox: Option<PathBuf>,
    /// This program.
    pub program: PathBuf,
    /// A worker without a sign of life for so long is killed.
    pub hang_limit: Duration,
    /// Who is told.
    pub told: mpsc::Sender<Told>,
}

/// What a worker is to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// A job, from its beginning or behind a step that rebooted.
    Run {
        /// Look only, or change.
        mode: Mode,
        /// Whether it is undone unless it is confirmed.
        way_back: bool,
        /// That step.
        resume: Option<Resume>,
    },
    /// Put back what a job altered.
    PutBack,
}

/// The file that a worker's output is.
fn said_by(undoing: bool) -> &'static str {
    if undoing { UNDONE } else { SAID }
}

impl Workers {
    fn job_dir(&self, job: JobId) -> PathBuf {
        self.dir.join(job.to_string())
    }

    /// Whether a worker of this job is alive, of either kind.
    fn is_alive(&self, job: JobId) -> bool {
        let dir = self.job_dir(job);
        is_held(&dir.join(SAID)) || is_held(&dir.join(UNDONE))
    }

    /// Makes the folder of a job that is about to begin; from now on it can be cancelled. One that goes on finds there
    /// how far it had come, and whether it was cancelled meanwhile.
    pub fn prepare(&self, job: JobId, goes_on: bool) -> io::Result<()> {
        let dir = self.job_dir(job);
        if self.is_alive(job) && !broken::leaves_out("one-worker") {
            return Err(io::Error::other("a worker of this job is still alive"));
        }
        if !goes_on {
            let _ = std::fs::remove_dir_all(&dir);
        }
        make_private_dir(&dir).map_err(io::Error::other)
    }

    /// Ends what works for jobs that are not at work any more, and removes what workers left: the process was killed
    /// before it could.
    pub fn clear(&self, running: Option<JobId>) {
        let keep = running.map(|job| job.to_string());
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|it| keep.as_deref() != Some(it)) else { continue };
            if let Ok(job) = name.parse::<JobId>()
                && self.is_alive(job)
            {
                let killed = self.kill(job);
                tracing::warn!(job = %job, ?killed, "a worker of a job that is not on record was alive");
            }
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }

    /// Whether a job was told to stop before it began.
    pub fn is_cancelled(&self, job: JobId) -> bool {
        self.job_dir(job).join("cancel").exists()
    }

    /// Tells a worker to end at the next step.
    pub fn cancel(&self, job: JobId) -> io::Result<()> {
        File::create(self.job_dir(job).join("cancel")).map(|_| ())
    }

    /// Removes what a worker left; its result is on disk.
    pub fn clean(&self, job: JobId) {
        let _ = std::fs::remove_dir_all(self.job_dir(job));
    }

    /// Puts back what a job altered, and watches that to its end.
    pub async fn put_back(&self, job: JobId) {
        let recipe = serde_json::json!({ "steps": [{
            "id": "undo", "sls": "undo", "state": "undo", "fun": "job", "name": job, "links": [], "at": null,
            "params": { "name": job, "force": true, "way_back": true }, "global": { "attempts": 1 },
        }], "files": {}, "secrets": [], "command": false });
        self.run(job, &Work::PutBack, recipe.to_string().into_bytes()).await;
    }

    /// Runs a recipe (JSON) and watches it to its end.
    pub async fn run(&self, job: JobId, work: &Work, recipe: Vec<u8>) {
        let end = match self.spawn(job, work) {
            Ok(child) => {
                let said = said_by(matches!(work, Work::PutBack));
                self.feed_and_watch(job, child, recipe, said).await
            }
            Err(error) => RunEnd::Fault { reason: format!("cannot start a worker: {error}") },
        };
        // The daemon is gone when this fails.
        let _ = self.told.send(Told::Ended { job, end }).await;
    }

    fn spawn(&self, job: JobId, work: &Work) -> io::Result<Child> {
        let path = self.job_dir(job).join(said_by(matches!(work, Work::PutBack)));
        let said = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
        said.try_lock()?;
        self.hand_over(job, said, self.command(job, work, &path))
    }

    /// What a worker is started with.
    fn command(&self, job: JobId, work: &Work, said: &Path) -> Command {
        let dir = self.job_dir(job);
        let mut command = Command::new(&self.program);
        command.arg0("labminion").arg("run-recipe").arg("--blobs").arg(&self.blobs);
        command.arg("--cancel").arg(dir.join("cancel"));
        command.arg("--pulse").arg(said).arg("--keep").arg(&self.keep);
        if let Work::Run { mode, way_back, resume } = work {
            command.arg("--job").arg(job.to_string()).arg("--halts").arg(&dir);
            if *mode == Mode::Check {
                command.arg("--check");
            }
            if *way_back {
                command.arg("--way-back");
            }
            if let Some(Resume { step, failed }) = resume {
                command.arg("--past").arg(step.to_string());
                command.args(failed.iter().map(|it| format!("--past-failed={it}")));
            }
        }
        if let Some(sandbox) = &self.sandbox {
            command.arg("--sandbox").arg(sandbox);
        }
        command
    }

    /// Starts a worker that holds the lock of `said`.
    fn hand_over(&self, job: JobId, said: File, mut command: Command) -> io::Result<Child> {
        Leader::forget(&self.job_dir(job));
        // It begins a session of its own: what ends the agent does not end the worker. The lock goes with standard output.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::from(said)).spawn()?;
        if let Some(process) = child.id() {
            // Needed only to kill it: the run is worth more.
            let _ = Leader::note(&self.job_dir(job), process);
        }
        Ok(child)
    }

    /// Waits until no worker of this job is alive, at most for `limit`; says whether it is so.
    pub async fn wait_for_end(&self, job: JobId, limit: Duration) -> bool {
        let start = Instant::now();
        while self.is_alive(job) {
            if start.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Kills a living worker with its commands.
    pub fn kill(&self, job: JobId) -> io::Result<()> {
        let dir = self.job_dir(job);
        if !self.is_alive(job) {
            return Ok(());
        }
        Leader::read(&dir)?.kill()
    }

    /// Ends the commands of a worker that is gone without having come to the end of its run: they must not go on beside
    /// what begins next.
    async fn end_the_rest(&self, job: JobId, end: &RunEnd) {
        if !matches!(end, RunEnd::Lost { .. } | RunEnd::Fault { .. }) {
            return;
        }
        let dir = self.job_dir(job);
        let Ok(leader) = Leader::read(&dir) else { return };
        let signs =
            [SAID, UNDONE].map(|it| std::fs::metadata(dir.join(it)).and_then(|it| it.modified()).ok());
        let last_sign = signs.into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH);
        if !leader.end_session(last_sign).await {
            tracing::error!(job = %job, "commands of a worker that is gone were killed and do not end");
        }
    }

    async fn feed_and_watch(&self, job: JobId, mut child: Child, recipe: Vec<u8>, said: &str) -> RunEnd {
        if let Some(mut input) = child.stdin.take() {
            // A worker that does not read it says so, or ends.
            let _ = input.write_all(&recipe).await;
        }
        drop(recipe);
        let mut tail = Tail::new(self.job_dir(job).join(said));
        let mut silence = Silence::new(self.hang_limit);
        loop {
            tokio::select! {
                status = child.wait() => {
                    self.tell(job, &mut tail).await;
                    let lost = || RunEnd::Lost { reason: silence.reason().unwrap_or_else(|| died(status)) };
                    let end = tail.end.take().unwrap_or_else(lost);
                    self.end_the_rest(job, &end).await;
                    return end;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    self.tell(job, &mut tail).await;
                    self.end_the_hung(job, &tail.path, &mut silence);
                }
            }
        }
    }

    /// Finds the worker of a job again, or what it left, and watches it to its end; or the one that puts back what the job
    /// altered.
    pub async fn recover(&self, job: JobId, undoing: bool) {
        let mut tail = Tail::new(self.job_dir(job).join(said_by(undoing)));
        // One of a release before this is silent all its life.
        let beats = Leader::read(&self.job_dir(job)).is_ok_and(|it| it.beats());
        let mut silence = Silence::new(if beats { self.hang_limit } else { Duration::MAX });
        while self.is_alive(job) {
            self.tell(job, &mut tail).await;
            self.end_the_hung(job, &tail.path, &mut silence);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.tell(job, &mut tail).await;
        let gone = || "the worker ended with this machine or was killed".to_owned();
        let lost = || RunEnd::Lost { reason: silence.reason().unwrap_or_else(gone) };
        let end = tail.end.take().unwrap_or_else(lost);
        self.end_the_rest(job, &end).await;
        let _ = self.told.send(Told::Ended { job, end }).await;
    }

    /// Kills a worker without a sign of life; its end is then seen as any other.
    fn end_the_hung(&self, job: JobId, said: &Path, silence: &mut Silence) {
        if silence.is_too_long(said)
            && let Err(failure) = self.kill(job)
        {
            tracing::error!(job = %job, err = %failure, "a worker that hangs cannot be killed: end its process by hand");
        }
    }

    async fn tell(&self, job: JobId, tail: &mut Tail) {
        // What cannot be read now is read at the next look, or the run is lost.
        let lines = tail.read().unwrap_or_default();
        if !lines.is_empty() {
            let _ = self.told.send(Told::Progress { job, of: tail.steps, lines }).await;
        }
    }
}

fn died(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("the worker ended with {status}"),
        Err(error) => format!("the worker cannot be watched: {error}"),
    }
}

/// Whether a worker holds the lock of its file.
fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::processes;

    const JOB: JobId = JobId(1);

    /// A worker that says and hears nothing.
    fn deaf(dir: &Path, hang_limit: Duration) -> (Workers, mpsc::Receiver<Told>, Child) {
        let mut command = Command::new("sleep");
        command.arg("600");
        begun(dir, hang_limit, command)
    }

    fn begun(dir: &Path, hang_limit: Duration, command: Command) -> (Workers, mpsc::Receiver<Told>, Child) {
        let path = dir.to_owned();
        let (told, hear) = mpsc::channel(1);
        let workers = Workers {
            dir: path.clone(),
            blobs: path.clone(),
            keep: path.clone(),
            sandbox: None,
            program: path.clone(),
            hang_limit,
            told,
        };
        workers.prepare(JOB, false).unwrap();
        let said = File::create(workers.job_dir(JOB).join(SAID)).unwrap();
        said.try_lock().unwrap();
        let child = workers.hand_over(JOB, said, command).unwrap();
        (workers, hear, child)
    }

    #[tokio::test]
    async fn a_worker_that_does_not_stop_is_killed_by_an_agent_that_did_not_start_it() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, mut child) = deaf(dir.path(), Duration::from_hours(1));
        let job = JOB;
        let again = workers.clone();
        again.cancel(job).unwrap();
        assert!(!again.wait_for_end(job, Duration::ZERO).await);
        again.kill(job).unwrap();
        assert!(again.wait_for_end(job, Duration::from_secs(10)).await);
        assert!(!child.wait().await.unwrap().success());
        again.kill(job).unwrap();
    }

    #[tokio::test]
    async fn a_worker_without_a_sign_of_life_is_killed_and_its_run_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, child) = deaf(dir.path(), Duration::from_millis(300));
        let watched = workers.feed_and_watch(JOB, child, Vec::new(), SAID).await;
        assert!(
            matches!(&watched, RunEnd::Lost { reason } if reason.contains("no sign of life")),
            "{watched:?}"
        );

        let (workers, mut hear, mut child) = deaf(dir.path(), Duration::from_millis(300));
        workers.recover(JOB, false).await;
        let Some(Told::Ended { end: RunEnd::Lost { reason }, .. }) = hear.recv().await else {
            panic!("no end")
        };
        assert!(reason.contains("no sign of life"), "{reason}");
        assert!(!child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn what_the_run_said_last_is_no_word_of_the_worker_that_puts_back_what_it_altered() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, mut hear, mut child) = deaf(dir.path(), Duration::from_hours(1));
        child.kill().await.unwrap();
        let end = RunEnd::Fault { reason: "of the run".to_owned() };
        say(&mut File::create(workers.job_dir(JOB).join(SAID)).unwrap(), &Said::End(end.clone())).unwrap();
        for undoing in [false, true] {
            workers.recover(JOB, undoing).await;
            let Some(Told::Ended { end: told, .. }) = hear.recv().await else { panic!("no end") };
            assert_eq!(told == end, !undoing, "{told:?}");
            assert!(!undoing || matches!(told, RunEnd::Lost { .. }), "{told:?}");
        }
    }

    #[tokio::test]
    async fn a_worker_is_told_that_its_run_has_a_way_back() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, mut child) = deaf(dir.path(), Duration::from_hours(1));
        child.kill().await.unwrap();
        for (way_back, put_back) in [(false, false), (true, false), (false, true)] {
            let work = Work::Run { mode: Mode::Apply, way_back, resume: None };
            let work = if put_back { Work::PutBack } else { work };
            let command = workers.command(JOB, &work, dir.path());
            assert_eq!(command.as_std().get_args().any(|it| it == "--way-back"), way_back, "{work:?}");
        }
    }

    /// A worker in a session of its own with a command in a group of its own; and that command's number.
    async fn with_a_command(dir: &Path, hang_limit: Duration) -> (Workers, mpsc::Receiver<Told>, Child, i32) {
        let note = dir.join("command");
        let mut command = Command::new("setsid");
        let script =
            "set -m; sleep 60 >/dev/null 2>&1 & echo $! > \"$1.new\"; mv \"$1.new\" \"$1\"; exec sleep 61";
        command.args(["bash", "-c", script, "bash"]).arg(&note);
        let (workers, hear, child) = begun(dir, hang_limit, command);
        let wait = async {
            while !note.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
        let id = std::fs::read_to_string(note).unwrap().trim().parse().unwrap();
        (workers, hear, child, id)
    }

    fn lives(id: i32) -> bool {
        processes::look(id).is_some_and(|it| !it.has_ended)
    }

    #[tokio::test]
    async fn commands_of_a_worker_that_is_gone_or_killed_do_not_live_on_beside_the_next_run() {
        for case in ["killed by somebody", "found gone", "hangs", "told to stop", "aborted"] {
            let dir = tempfile::tempdir().unwrap();
            let limit = if case == "hangs" { Duration::from_millis(300) } else { Duration::from_hours(1) };
            let (workers, mut hear, mut child, command) = with_a_command(dir.path(), limit).await;
            assert!(lives(command));
            if case == "aborted" {
                let said = workers.job_dir(JOB).join(SAID);
                let end = Said::End(RunEnd::Fault { reason: "a mistake".to_owned() });
                say(&mut OpenOptions::new().append(true).open(said).unwrap(), &end).unwrap();
            }
            if case == "told to stop" {
                workers.kill(JOB).unwrap();
            } else if case != "hangs" {
                child.start_kill().unwrap();
            }
            if case == "found gone" {
                child.wait().await.unwrap();
                workers.recover(JOB, false).await;
                assert!(matches!(hear.recv().await, Some(Told::Ended { end: RunEnd::Lost { .. }, .. })));
            } else {
                workers.feed_and_watch(JOB, child, Vec::new(), SAID).await;
            }
            assert!(!lives(command), "{case}");
        }
    }

    #[tokio::test]
    async fn a_worker_of_a_release_that_gave_no_signs_of_life_is_not_killed_for_its_silence() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, mut hear, mut child) = deaf(dir.path(), Duration::from_millis(100));
        let id = child.id().unwrap();
        std::fs::write(workers.job_dir(JOB).join("process"), id.to_string()).unwrap();
        let watched = tokio::time::timeout(Duration::from_millis(600), workers.recover(JOB, false)).await;
        assert!(watched.is_err() && lives(id.cast_signed()), "it was killed");
        workers.kill(JOB).unwrap();
        assert!(!child.wait().await.unwrap().success());
        workers.recover(JOB, false).await;
        assert!(matches!(hear.recv().await, Some(Told::Ended { end: RunEnd::Lost { .. }, .. })));
    }

    #[tokio::test]
    async fn what_a_run_left_on_purpose_lives_on() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, mut child, command) = with_a_command(dir.path(), Duration::from_hours(1)).await;
        let end = RunEnd::NotBegun { reason: "an end of its own".to_owned() };
        let said = workers.job_dir(JOB).join(SAID);
        say(&mut OpenOptions::new().append(true).open(said).unwrap(), &Said::End(end.clone())).unwrap();
        child.start_kill().unwrap();
        assert_eq!(workers.feed_and_watch(JOB, child, Vec::new(), SAID).await, end);
        assert!(lives(command));
        crate::linux::system::kill_process(command).unwrap();
    }

    #[tokio::test]
    async fn a_stranger_that_has_the_number_of_a_worker_is_not_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, mut child, command) = with_a_command(dir.path(), Duration::from_hours(1)).await;
        let file = workers.job_dir(JOB).join("process");
        let noted = std::fs::read_to_string(&file).unwrap();
        let words: Vec<&str> = noted.split(' ').collect();
        let lost = RunEnd::Lost { reason: "gone".to_owned() };
        // Another start, another boot.
        for other in [format!("{} 1 {}", words[0], words[2]), format!("{} {} another", words[0], words[1])] {
            std::fs::write(&file, other).unwrap();
            assert!(workers.kill(JOB).is_err());
            workers.end_the_rest(JOB, &lost).await;
            assert!(lives(child.id().unwrap().cast_signed()) && lives(command));
        }
        // Its own leader is gone, and it began long after the last sign of life of the worker.
        std::fs::write(&file, noted).unwrap();
        let said = OpenOptions::new().append(true).open(workers.job_dir(JOB).join(SAID)).unwrap();
        said.set_modified(SystemTime::now() - Duration::from_mins(5)).unwrap();
        child.kill().await.unwrap();
        workers.end_the_rest(JOB, &lost).await;
        assert!(lives(command));
        said.set_modified(SystemTime::now()).unwrap();
        workers.end_the_rest(JOB, &lost).await;
        assert!(!lives(command));
    }

    /// Whether a second worker of a job can be begun beside one that is alive.
    fn begins_beside(dir: &Path) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (workers, _, mut child) = deaf(dir, Duration::from_hours(1));
            let begun = workers.prepare(JOB, true).is_ok();
            child.kill().await.unwrap();
            begun
        })
    }

    #[test]
    fn a_job_has_one_worker_at_a_time_whoever_wants_another() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!begins_beside(dir.path()));
        assert!(model::broken::without(Some("one-worker"), || begins_beside(dir.path())));
    }

    #[tokio::test]
    async fn a_worker_of_a_job_that_is_not_on_record_is_ended_before_another_begins() {
        let dir = tempfile::tempdir().unwrap();
        let (workers, _, mut child) = deaf(dir.path(), Duration::from_hours(1));
        workers.clear(Some(JOB));
        assert!(is_held(&workers.job_dir(JOB).join(SAID)), "its own job's worker lives on");
        workers.clear(Some(JobId(2)));
        assert!(!child.wait().await.unwrap().success());
        assert!(!workers.job_dir(JOB).exists());
    }
}

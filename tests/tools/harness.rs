//! Runs steps on the real host, and servers in folders of their own.

use minion::linux::{BlobSource, LinuxHost};
use model::{Global, Mode, Outcome, Recipe, RunReport, Step};
use resources::{RunOptions, run};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longest that a server may take to start.
const START_MAX: Duration = Duration::from_mins(1);
/// Longest that it may take to end.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A step: kind and parameters.
pub(crate) type Wish = (&'static str, Value);

/// The report, and all that was told meanwhile.
fn go(mode: Mode, wishes: &[Wish]) -> (RunReport, String) {
    let steps = wishes.iter().map(|(kind, params)| {
        let (state, fun) = kind.split_once('.').unwrap();
        let Value::Object(params) = params.clone() else { panic!("parameters are a mapping") };
        let name = params["name"].as_str().unwrap().to_owned();
        let (state, fun) = (state.to_owned(), fun.to_owned());
        let (links, global) = (Vec::new(), Global::default());
        Step { id: name.clone(), sls: "test".into(), state, fun, name, params, links, global, at: None }
    });
    let recipe = Recipe { steps: steps.collect(), ..Recipe::default() };
    let start = Instant::now();
    let options = RunOptions {
        mode,
        cancelled: &|| false,
        clock_ms: &|| u64::try_from(start.elapsed().as_millis()).unwrap(),
        pause_ms: &|_| (),
    };
    let mut told = String::new();
    let report = run(&recipe, &options, &mut LinuxHost::new(BlobSource::default()), &mut |it| {
        let _ = write!(told, "{it:?}");
    });
    (report, told)
}

fn all_end(mode: Mode, wishes: &[Wish], wanted: Outcome) {
    let (report, _) = go(mode, wishes);
    let wrong: Vec<String> = report
        .steps
        .iter()
        .filter(|it| it.outcome != wanted)
        .map(|it| format!("{} {}: {:?} {} {:?}", it.kind, it.name, it.outcome, it.comment, it.plan))
        .collect();
    assert!(wrong.is_empty(), "not {wanted:?}: {}", wrong.join("\n"));
}

/// Every step would change something, changes it, and leaves nothing to do.
pub(crate) fn changes(wishes: &[Wish]) {
    for wish in wishes {
        let one = std::slice::from_ref(wish);
        all_end(Mode::Check, one, Outcome::WouldChange);
        all_end(Mode::Apply, one, Outcome::Changed);
        all_end(Mode::Check, one, Outcome::Ok);
        all_end(Mode::Apply, one, Outcome::Ok);
    }
}

/// Nothing is to be done.
pub(crate) fn holds(wishes: &[Wish]) {
    all_end(Mode::Apply, wishes, Outcome::Ok);
}

/// The step fails, and says this. Gives all that is reported and told.
pub(crate) fn fails(wish: Wish, says: &str) -> String {
    let (report, told) = go(Mode::Apply, &[wish]);
    let step = &report.steps[0];
    assert_eq!(step.outcome, Outcome::Failed, "{step:?}");
    assert!(step.comment.contains(says), "{}", step.comment);
    format!("{step:?} {told}")
}

/// Where a program is.
pub(crate) fn program(name: &str, more: &[&str]) -> Option<PathBuf> {
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let folders = usual.iter().chain(more).map(PathBuf::from);
    folders.map(|it| it.join(name)).find(|it| it.is_file())
}

/// A process that ends with its value.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
    /// Waits until `is_ready`, or until it has ended.
    pub(crate) fn wait(&mut self, log: &Path, is_ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_ready() {
            let ended = self.0.try_wait().unwrap();
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "it ended: {}", said());
            assert!(start.elapsed() < START_MAX, "it does not start: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked to end, a server gives back the shared memory that it has.
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
        let start = Instant::now();
        while self.0.try_wait().is_ok_and(|it| it.is_none()) && start.elapsed() < STOP_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program's output; it must end well.
pub(crate) fn says(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

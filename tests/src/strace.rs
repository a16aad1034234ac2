//! Faults by strace: what happens at the n-th call of a process to the system.

use crate::{lab::kill, wait};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A fault: at which calls, what happens there.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Names, joined by commas.
    pub calls: &'static str,
    /// `signal=KILL`, `error=EIO`.
    pub what: &'static str,
    /// `3` (each thread's third), `3+` (from the third on).
    pub when: String,
    /// Only calls about these files, which must be there; none: all.
    pub paths: Vec<PathBuf>,
}

impl Fault {
    /// At the n-th call of a thread, of each name.
    pub fn at(calls: &'static str, what: &'static str, n: u32) -> Self {
        Self { calls, what, when: n.to_string(), paths: Vec::new() }
    }
    /// The same, from there on.
    #[must_use]
    pub fn and_after(mut self) -> Self {
        self.when.push('+');
        self
    }
    /// Only where files are concerned.
    #[must_use]
    pub fn on(mut self, paths: &[PathBuf]) -> Self {
        self.paths = paths.to_vec();
        self
    }
    fn arguments(&self) -> Vec<String> {
        let mut arguments = ["-f", "-qq", "-o", "/dev/null"].map(str::to_owned).to_vec();
        for path in &self.paths {
            arguments.extend(["-P".to_owned(), path.display().to_string()]);
        }
        let inject = format!("inject={}:{}:when={}", self.calls, self.what, self.when);
        arguments.extend(["-e".to_owned(), format!("trace={}", self.calls), "-e".to_owned(), inject]);
        arguments
    }
    /// What a program is put behind to have it from its start.
    pub fn from_the_start(&self) -> Vec<String> {
        // What ends strace ends the program.
        let mut before = ["strace", "-I", "2"].map(str::to_owned).to_vec();
        before.extend(self.arguments());
        before
    }
    /// Lets a running process have it; counting begins now. It ends when dropped.
    pub fn attach(&self, pid: u32) -> Strace {
        let child = Command::new("strace")
            .args(self.arguments())
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace runs");
        wait::until("strace to hold every thread", wait::seconds(20), || is_traced(pid).then_some(()));
        Strace { child }
    }
}

/// Whether every thread of a process has a tracer (or the process is gone).
fn is_traced(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks.flatten().all(|it| {
        let status = fs::read_to_string(it.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_none_or(|it| it.trim() != "0")
    })
}

/// A tracer at work.
#[derive(Debug)]
pub struct Strace {
    child: Child,
}

impl Drop for Strace {
    fn drop(&mut self) {
        // By this signal it lets go of the process; it is a child of ours, so the id is its own.
        kill(self.child.id(), "INT");
        if wait::try_until(wait::seconds(5), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

//! Runs git: nothing of the surroundings reaches it, it has an end, and what it says has one.

use super::{GitError, io_error};
use std::{
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// For one command.
const TIME_MAX: Duration = Duration::from_mins(1);
/// Bytes of a complaint of git.
const SAYS_MAX: u64 = 4 << 10;
/// Where programs are.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The configuration of our repository: there is no other.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";

/// A repository of our own that borrows objects.
#[derive(Debug)]
pub(super) struct Git {
    folder: PathBuf,
    borrowed: Vec<PathBuf>,
}

/// Where git puts the objects of a push that its hook has not let in yet.
pub(super) fn quarantine() -> Option<PathBuf> {
    std::env::var_os("GIT_QUARANTINE_PATH").map(PathBuf::from).filter(|it| it.is_absolute())
}

impl Git {
    pub(super) fn new(folder: PathBuf, borrowed: Vec<PathBuf>) -> Self {
        Self { folder, borrowed }
    }

    fn prepare(&self) -> Result<(), GitError> {
        for name in ["objects/info", "objects/pack", "refs"] {
            let path = self.folder.join(name);
            std::fs::create_dir_all(&path).map_err(io_error("make", &path))?;
        }
        for (name, text) in [("HEAD", "ref: refs/heads/none\n"), ("config", CONFIG)] {
            let path = self.folder.join(name);
            std::fs::write(&path, text).map_err(io_error("write", &path))?;
        }
        Ok(())
    }

    fn command(&self, settings: &[String]) -> Command {
        let borrowed: Vec<String> = self.borrowed.iter().map(|it| it.display().to_string()).collect();
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file")
            .env("GIT_DIR", &self.folder)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", borrowed.join(":"))
            .current_dir(&self.folder)
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]);
        let here = format!("safe.directory={}", self.folder.display());
        for setting in std::iter::once(&here).chain(settings) {
            command.args(["-c", setting]);
        }
        command
    }

    /// Starts it; it is ended when it takes too long.
    pub(super) fn start(&self, arguments: &[&str], input: Vec<u8>) -> Result<Running, GitError> {
        self.prepare()?;
        Running::start(self.command(&[]).args(arguments), input)
    }

    /// All that it says, if that is not too much.
    pub(super) fn output(&self, arguments: &[&str], max: usize) -> Result<Vec<u8>, GitError> {
        let mut running = self.start(arguments, Vec::new())?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        let read = running.out.by_ref().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| GitError::Git(format!("{}: {error}", arguments[0])))?;
        if bytes.len() > max {
            return Err(GitError::Content(format!("git {} says more than {max} bytes", arguments[0])));
        }
        running.end()?;
        Ok(bytes)
    }

    /// Whether a key of a file has signed a commit; what git said, if not. Signatures of other kinds count for nothing.
    pub(super) fn verify(&self, id: &str, signers: &Path) -> Result<(), String> {
        let settings = [
            format!("gpg.ssh.allowedSignersFile={}", signers.display()),
            "gpg.ssh.program=ssh-keygen".to_owned(),
            "gpg.program=/nonexistent".to_owned(),
            "gpg.openpgp.program=/nonexistent".to_owned(),
            "gpg.x509.program=/nonexistent".to_owned(),
        ];
        self.prepare().map_err(|error| error.to_string())?;
        let mut command = self.command(&settings);
        let running = Running::start(command.args(["verify-commit", id]), Vec::new());
        running.and_then(Running::end).map_err(|error| match error {
            GitError::Git(says) if says.trim().is_empty() => "it has no signature".to_owned(),
            error => error.to_string(),
        })
    }
}

/// A git that runs.
pub(super) struct Running {
    pub(super) out: BufReader<ChildStdout>,
    child: Arc<Mutex<Child>>,
    complaint: thread::JoinHandle<String>,
    /// Dropped, the clock stops.
    clock: mpsc::Sender<()>,
}

impl Running {
    fn start(command: &mut Command, input: Vec<u8>) -> Result<Self, GitError> {
        let failed = |error: std::io::Error| GitError::Git(format!("cannot be run: {error}"));
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(GitError::Git("has no pipes".to_owned()));
        };
        thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let complaint = thread::spawn(move || {
            let mut text = Vec::new();
            let mut stderr = stderr;
            let _ = stderr.by_ref().take(SAYS_MAX).read_to_end(&mut text);
            // What is more is read too, or git would wait.
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            let plain = |it: char| if it.is_control() { ' ' } else { it };
            String::from_utf8_lossy(&text).trim().chars().map(plain).collect()
        });
        let child = Arc::new(Mutex::new(child));
        let (clock, stopped) = mpsc::channel::<()>();
        let late = Arc::clone(&child);
        thread::spawn(move || {
            if stopped.recv_timeout(TIME_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = late.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
        });
        Ok(Self { out: BufReader::new(stdout), child, complaint, clock })
    }

    /// Waits for it; what it complained of, if it failed.
    pub(super) fn end(self) -> Result<(), GitError> {
        let Self { out, child, complaint, clock } = self;
        drop(out);
        let says = complaint.join().unwrap_or_default();
        drop(clock);
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if says.is_empty() && status.code().is_none() => {
                Err(GitError::Git(format!("took longer than {} s", TIME_MAX.as_secs())))
            }
            Ok(_) => Err(GitError::Git(says)),
            Err(error) => Err(GitError::Git(format!("cannot be waited for: {error}"))),
        }
    }
}

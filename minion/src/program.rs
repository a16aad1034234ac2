//! Programs that beacons listen to: in a group of their own, with a small environment, never more than a few, and
//! killed when whoever listens is gone, the agent included.

use crate::linux::child;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Programs of all beacons at once.
pub const PROGRAMS_MAX: usize = 32;
/// Longest line; of longer ones nothing is taken.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Read in one go, so that who says much does not keep the others waiting.
const READ_BYTES_MAX: usize = 64 << 10;
/// What is taken in a second; who says more has to wait.
const PACE_BYTES_MAX: usize = 1 << 20;
const PACE: Duration = Duration::from_secs(1);
/// Who closed its output is looked at again after this, then after twice as long; it may take so long to end.
const CLOSING_LEAST: Duration = Duration::from_millis(5);
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// What is kept of the last that it said on standard error.
const LAST_WORDS_MAX: usize = 300;
/// Where programs are.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// At work now.
static PROGRAMS: AtomicUsize = AtomicUsize::new(0);
/// The program that ties others to the life of the agent.
static TIE: OnceLock<PathBuf> = OnceLock::new();

/// From now on programs end with this process, whatever ends it: `program` is `labminion`.
pub fn tie_with(program: &Path) {
    let _ = TIE.set(program.to_owned());
}

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The program, by its name or absolute path, and its arguments.
    pub argv: Vec<String>,
    /// A program that runs it, if the machine has that: `stdbuf`, `nice`.
    pub through: &'static [&'static str],
    /// Beside what all have.
    pub env: Vec<(String, String)>,
}

impl Order {
    /// This command.
    pub fn new(argv: Vec<String>) -> Self {
        Self { argv, ..Self::default() }
    }
}

/// A program at work. It is killed with all that it started when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Option<Child>,
    name: String,
    out: Option<File>,
    err: Option<File>,
    line: Vec<u8>,
    /// The line is too long: it is left out to its end.
    overlong: bool,
    /// Left out in all.
    pub left_out: u64,
    last_words: Vec<u8>,
    /// Since when, and how much, for the pace.
    taken: (Duration, usize),
    /// Since when it says nothing more, and when it is looked at again.
    closed: Option<(Duration, Duration)>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its exit code, if it has one.
    pub code: Option<i32>,
    /// For people.
    pub reason: String,
}

impl Program {
    /// Starts it. Programs of a pretended machine are those below its root.
    pub fn start(order: &Order, root: &Path) -> Result<Self, String> {
        let Some((name, arguments)) = order.argv.split_first() else {
            return Err("there is no program to run".to_owned());
        };
        let path = find(name, root).ok_or_else(|| format!("this machine has no `{name}`"))?;
        let count = PROGRAMS.fetch_add(1, Ordering::Relaxed);
        let started = if count < PROGRAMS_MAX {
            spawn(order, &path, arguments, root).map_err(|error| format!("`{name}` cannot be run: {error}"))
        } else {
            Err(format!("beacons listen to {PROGRAMS_MAX} programs already"))
        };
        let Ok(mut child) = started else {
            PROGRAMS.fetch_sub(1, Ordering::Relaxed);
            return started.map(|_| unreachable!("it was not started"));
        };
        let stream = |it: Option<OwnedFd>| it.map(File::from);
        Ok(Self {
            out: stream(child.stdout.take().map(Into::into)),
            err: stream(child.stderr.take().map(Into::into)),
            child: Some(child),
            name: name.clone(),
            line: Vec::new(),
            overlong: false,
            left_out: 0,
            last_words: Vec::new(),
            taken: (Duration::ZERO, 0),
            closed: None,
        })
    }

    /// What it was started by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What can be read when it says something. None while it says too much, or when it has said all.
    pub fn sources(&self, now: Duration) -> Vec<BorrowedFd<'_>> {
        if self.wake(now).is_some() {
            return Vec::new();
        }
        [&self.out, &self.err].into_iter().flatten().map(AsFd::as_fd).collect()
    }

    /// When it may go on, if it said too much, or is looked at again, if it has said all.
    pub fn wake(&self, now: Duration) -> Option<Duration> {
        self.closed.map_or_else(|| self.paced(now), |(_, at)| Some(at))
    }

    fn paced(&self, now: Duration) -> Option<Duration> {
        let (since, bytes) = self.taken;
        let until = since + PACE;
        (bytes >= PACE_BYTES_MAX && now < until).then_some(until)
    }

    /// Reads what it said by now, whole lines of it; then how it ended, if it has.
    pub fn read(&mut self, now: Duration) -> (Vec<String>, Option<End>) {
        let mut lines = Vec::new();
        if self.closed.is_none() && self.paced(now).is_some() {
            return (lines, None);
        }
        if now.saturating_sub(self.taken.0) >= PACE {
            self.taken = (now, 0);
        }
        let mut buffer = vec![0; READ_BYTES_MAX];
        if let Some(err) = &mut self.err {
            match err.read(&mut buffer) {
                Ok(0) => self.err = None,
                Ok(length) => {
                    self.last_words.extend(&buffer[..length]);
                    let over = self.last_words.len().saturating_sub(LAST_WORDS_MAX);
                    self.last_words.drain(..over);
                    self.taken.1 += length;
                }
                Err(error) if is_nothing_yet(&error) => {}
                Err(_) => self.err = None,
            }
        }
        let Some(out) = &mut self.out else { return (lines, self.end(now)) };
        match out.read(&mut buffer) {
            Ok(0) => self.out = None,
            Ok(length) => {
                self.taken.1 += length;
                self.split(&buffer[..length], &mut lines);
            }
            Err(error) if is_nothing_yet(&error) => {}
            Err(_) => self.out = None,
        }
        if self.out.is_none() {
            if !self.line.is_empty() && !self.overlong {
                lines.push(text(&std::mem::take(&mut self.line)));
            }
            return (lines, self.end(now));
        }
        (lines, None)
    }

    fn split(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        for piece in bytes.split_inclusive(|it| *it == b'\n') {
            let (piece, whole) = piece.strip_suffix(b"\n").map_or((piece, false), |it| (it, true));
            if self.line.len() + piece.len() > LINE_BYTES_MAX {
                self.overlong = true;
                self.line.clear();
            }
            if !self.overlong {
                self.line.extend(piece);
            }
            if whole {
                let line = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.overlong) {
                    self.left_out += 1;
                } else {
                    lines.push(text(&line));
                }
            }
        }
    }

    /// It says nothing more, and ends in a moment. Who goes on after that does so for nobody.
    fn end(&mut self, now: Duration) -> Option<End> {
        let (since, _) = *self.closed.get_or_insert((now, now));
        let status = self.child.as_mut()?.try_wait().ok().flatten();
        let until = since + CLOSING_MAX;
        if status.is_none() && now < until {
            let again = now + now.saturating_sub(since).max(CLOSING_LEAST);
            self.closed = Some((since, again.min(until)));
            return None;
        }
        let child = self.child.take()?;
        PROGRAMS.fetch_sub(1, Ordering::Relaxed);
        put_out(child);
        let how = match status.map(|it| (it.code(), it.signal())) {
            Some((Some(code), _)) => format!("ended with {code}"),
            Some((None, Some(signal))) => format!("was ended by signal {signal}"),
            _ => "closed its output".to_owned(),
        };
        let said = text(&self.last_words);
        let said = said.trim().lines().last().unwrap_or_default();
        let colon = if said.is_empty() { "" } else { ": " };
        let reason = format!("`{}` {how}{colon}{said}", self.name);
        Some(End { code: status.and_then(|it| it.code()), reason })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            PROGRAMS.fetch_sub(1, Ordering::Relaxed);
            put_out(child);
        }
    }
}

/// Ends the whole group. Its end is awaited by a thread: one that hangs in the kernel keeps nobody.
fn put_out(mut child: Child) {
    child::kill(child.id());
    if matches!(child.try_wait(), Ok(None)) {
        std::thread::spawn(move || child.wait());
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// By its name in the machine's folders; a pretended machine has only its own.
pub fn find(name: &str, root: &Path) -> Option<PathBuf> {
    let below = |it: &str| root.join(it.trim_start_matches('/'));
    if name.starts_with('/') {
        // An operator's program is named as it is.
        return Some(PathBuf::from(name)).filter(|it| it.is_file());
    }
    FOLDERS.iter().map(|folder| below(folder).join(name)).find(|it| it.is_file())
}

fn spawn(order: &Order, path: &Path, arguments: &[String], root: &Path) -> io::Result<Child> {
    let through = order.through.split_first();
    let through = through.and_then(|(name, words)| Some((find(name, Path::new("/"))?, words)));
    let mut command = match TIE.get() {
        Some(tie) => {
            let mut command = Command::new(tie);
            command.arg0("labminion").args(["hold", &std::process::id().to_string(), "--"]);
            if let Some((program, words)) = &through {
                command.arg(program).args(*words);
            }
            command.arg(path);
            command
        }
        None => match &through {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(*words).arg(path);
                command
            }
            None => Command::new(path),
        },
    };
    let mut folders = FOLDERS.join(":");
    if root != Path::new("/") {
        folders = format!("{0}/usr/local/bin:{0}/usr/bin:{0}/bin:{folders}", root.display());
    }
    command.args(arguments).env_clear().current_dir("/").process_group(0);
    command.env("PATH", folders).env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8").env("HOME", "/root");
    command.envs(order.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    for fd in
        [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    {
        child::never_wait(fd)?;
    }
    Ok(child)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::linux::ready;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    /// Puts a program into the folder of a pretended machine.
    pub(crate) fn put(root: &Path, name: &str, script: &str) -> PathBuf {
        let folder = root.join("usr/bin");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        // Written elsewhere first: a file that is open for writing cannot be run.
        let fresh = folder.join(format!(".{name}"));
        std::fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    fn order(argv: &[&str]) -> Order {
        Order::new(argv.iter().map(|it| (*it).to_owned()).collect())
    }

    /// All lines to its end.
    fn listen(program: &mut Program) -> (Vec<String>, End) {
        let (start, mut all) = (Instant::now(), Vec::new());
        loop {
            let now = start.elapsed();
            let (lines, end) = program.read(now);
            all.extend(lines);
            if let Some(end) = end {
                return (all, end);
            }
            let sources: Vec<_> = program.sources(now).into_iter().map(|it| (it, false)).collect();
            let limit = program.wake(now).map_or(Duration::from_secs(20), |at| at.saturating_sub(now));
            let ready = ready::wait(&sources, limit).unwrap();
            assert!(!ready.is_empty() || sources.is_empty(), "it says nothing: {all:?}");
        }
    }

    #[test]
    fn what_a_program_says_comes_in_lines_and_then_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "say", "echo \"$@\" $X; printf 'a\\nb'; echo why >&2; exit 3");
        let mut wanted = order(&["say", "it is", "*"]);
        wanted.env.push(("X".to_owned(), "set".to_owned()));
        let (lines, end) = listen(&mut Program::start(&wanted, dir.path()).unwrap());
        assert_eq!(lines, ["it is * set", "a", "b"]);
        assert_eq!(end, End { code: Some(3), reason: "`say` ended with 3: why".to_owned() });
        let missing = Program::start(&order(&["sing"]), dir.path()).unwrap_err();
        assert_eq!(missing, "this machine has no `sing`");
    }

    #[test]
    fn who_closed_its_output_has_a_moment_to_end() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "late", "echo a; exec >&- 2>&-; sleep 0.3; exit 0");
        put(dir.path(), "never", "echo b; exec >&- 2>&-; exec sleep 1000");
        for (name, code, reason) in [("late", Some(0), "ended with 0"), ("never", None, "closed its output")]
        {
            let (lines, end) = listen(&mut Program::start(&order(&[name]), dir.path()).unwrap());
            assert_eq!(lines.len(), 1, "{name}");
            assert_eq!(end, End { code, reason: format!("`{name}` {reason}") });
        }
    }

    #[test]
    fn long_lines_are_left_out_and_bytes_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        put(
            dir.path(),
            "flood",
            "head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'a\\377\\n'; head -c 65000 /dev/zero | tr '\\0' y",
        );
        let mut program = Program::start(&order(&["flood"]), dir.path()).unwrap();
        let start = Instant::now();
        let (lines, _) = listen(&mut program);
        assert_eq!((lines[0].as_str(), lines[1].len()), ("a\u{fffd}", 65_000));
        assert_eq!((lines.len(), program.left_out), (2, 1));
        assert!(start.elapsed() > PACE, "3 MB take more than a second");
    }

    #[test]
    fn whoever_is_not_listened_to_ends_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pids");
        put(
            dir.path(),
            "spawn",
            &format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", note.display()),
        );
        let program = Program::start(&order(&["spawn"]), dir.path()).unwrap();
        let wait = |what: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !what() {
                assert!(start.elapsed() < Duration::from_secs(20), "in time");
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        wait(&|| note.exists());
        let pids = std::fs::read_to_string(&note).unwrap();
        drop(program);
        let alive = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        wait(&|| !pids.split_whitespace().any(alive));
    }
}

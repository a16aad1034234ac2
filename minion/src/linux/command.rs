//! Runs commands: in a process group of their own, with a small fixed environment, killed with their children.

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, killpg},
    },
    unistd::{Pid, User, geteuid},
};
use resources::host::{Command, Exit, Watch};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Where programs are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often the clock, the child and the cancellation are looked at.
const TURN_MS: u16 = 50;
/// How long output is awaited from grandchildren after the command itself has ended.
const GRACE: Duration = Duration::from_millis(300);
/// How long a killed group may take to end.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Runs it to its end.
pub(crate) fn run(command: &Command, watch: &mut dyn Watch) -> io::Result<Exit> {
    let mut running = Running::start(command)?;
    let exit = running.listen(command.timeout_ms, watch);
    if !matches!(exit, Ok(Exit::Code(_) | Exit::Signal(_))) {
        running.kill();
    }
    exit
}

struct Running {
    child: Child,
    /// Standard output and error; `None` when at its end.
    streams: [Option<File>; 2],
}

impl Running {
    fn start(command: &Command) -> io::Result<Self> {
        let mut child = spawnable(command)?.spawn().map_err(|error| explain(error, command))?;
        let file = |fd: OwnedFd| Some(File::from(fd));
        let streams = [
            child.stdout.take().and_then(|it| file(it.into())),
            child.stderr.take().and_then(|it| file(it.into())),
        ];
        Ok(Self { child, streams })
    }

    fn listen(&mut self, timeout_ms: u64, watch: &mut dyn Watch) -> io::Result<Exit> {
        let start = Instant::now();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            self.hear(watch)?;
            if ended.is_none() {
                ended = self.child.try_wait()?.map(|status| (status, Instant::now()));
            }
            let silent = self.streams.iter().all(Option::is_none);
            match ended {
                Some((status, at)) if silent || at.elapsed() > GRACE => return Ok(exit_of(status)),
                _ if watch.cancelled() => return Ok(Exit::Cancelled),
                None if start.elapsed() > Duration::from_millis(timeout_ms) => {
                    return Ok(Exit::TimedOut(timeout_ms));
                }
                _ => (),
            }
        }
    }

    /// Waits for output for one turn at most, and passes it on.
    fn hear(&mut self, watch: &mut dyn Watch) -> io::Result<()> {
        let open: Vec<usize> = (0..2).filter(|it| self.streams[*it].is_some()).collect();
        let mut polled: Vec<PollFd<'_>> = open
            .iter()
            .filter_map(|it| self.streams[*it].as_ref())
            .map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN))
            .collect();
        if polled.is_empty() {
            // It closed its streams: it ends soon, or it is a daemon that does not.
            std::thread::sleep(Duration::from_millis(2));
            return Ok(());
        }
        match poll(&mut polled, PollTimeout::from(TURN_MS)) {
            Err(nix::errno::Errno::EINTR) | Ok(0) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => (),
        }
        let ready: Vec<usize> =
            polled.iter().zip(open).filter(|(it, _)| it.any() == Some(true)).map(|(_, at)| at).collect();
        let mut buffer = [0; 16 << 10];
        for at in ready {
            let Some(stream) = &mut self.streams[at] else { continue };
            match stream.read(&mut buffer)? {
                0 => self.streams[at] = None,
                length => watch.output(at == 1, &buffer[..length]),
            }
        }
        Ok(())
    }

    /// Ends the whole group, and takes the child's end.
    fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        // The group may have ended in this moment.
        let _ = killpg(group, Signal::SIGKILL);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < KILL_WAIT {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

fn spawnable(command: &Command) -> io::Result<std::process::Command> {
    let (argv, account) = match &command.user {
        Some(name) => as_user(name, &command.argv)?,
        None => (command.argv.clone(), None),
    };
    let [first, rest @ ..] = &argv[..] else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
    };
    let mut process = std::process::Command::new(first);
    process
        .args(rest)
        .env_clear()
        .process_group(0)
        .current_dir(command.cwd.as_deref().unwrap_or("/".as_ref()));
    process.env("PATH", PATH).env("LANG", "C.UTF-8");
    match account {
        Some(user) => {
            process
                .env("HOME", user.dir)
                .env("SHELL", user.shell)
                .env("USER", &user.name)
                .env("LOGNAME", user.name);
        }
        None => {
            process.env("HOME", "/root").env("SHELL", "/bin/sh").env("USER", "root").env("LOGNAME", "root");
        }
    }
    process.envs(command.env.iter().map(|(name, value)| (name, value)));
    process.stdin(stdin(command.stdin.as_deref())?).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(process)
}

/// The same command under another user, with all of that one's groups: by `setpriv`, which does it without PAM.
fn as_user(name: &str, argv: &[String]) -> io::Result<(Vec<String>, Option<User>)> {
    let user = match name.parse() {
        Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number))?,
        Err(_) => User::from_name(name)?,
    };
    let user =
        user.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}`")))?;
    if user.uid == geteuid() {
        return Ok((argv.to_vec(), Some(user)));
    }
    let mut whole = vec![
        "setpriv".to_owned(),
        format!("--reuid={}", user.uid),
        format!("--regid={}", user.gid),
        "--init-groups".to_owned(),
        "--".to_owned(),
    ];
    whole.extend_from_slice(argv);
    Ok((whole, Some(user)))
}

/// From memory: a pipe could block, and a file would show secrets.
fn stdin(text: Option<&str>) -> io::Result<Stdio> {
    let Some(text) = text else { return Ok(Stdio::null()) };
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

/// A missing folder and a missing program look the same to the kernel.
fn explain(error: io::Error, command: &Command) -> io::Error {
    let missing = command.cwd.as_ref().filter(|it| !it.is_dir());
    match (missing, command.argv.first()) {
        (Some(folder), _) => {
            io::Error::new(error.kind(), format!("the folder `{}` does not exist", folder.display()))
        }
        (None, Some(program)) if error.kind() == io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), format!("`{program}` is not installed"))
        }
        _ => error,
    }
}

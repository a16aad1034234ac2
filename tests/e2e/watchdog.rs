//! What systemd's watchdog is told: that all is well while every loop turns, and nothing once one stands still.

use std::{
    fs::{self, File},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tests::{
    lab::{LIMIT, Lab},
    program, wait,
};

/// What systemd would wait for; the programs ask their loops three times as often.
const WATCHDOG: Duration = Duration::from_millis(1500);
/// Questions that find a loop standing still: more than fit into the time above.
const QUESTIONS: usize = 4;

/// A program that is told to be under systemd, and the socket that it tells systemd on.
struct Watched {
    child: Child,
    socket: UnixDatagram,
    log: PathBuf,
}

impl Watched {
    fn start(lab: &Lab, name: &str, command: &mut Command, without: Option<&str>) -> Self {
        let folder = lab.folder().join(format!("watched-{name}-{}", without.unwrap_or("nothing")));
        fs::create_dir_all(&folder).unwrap();
        let (path, log) = (folder.join("notify"), folder.join("log"));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let output = File::create(&log).unwrap();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        if let Some(part) = without {
            command.env("LABCTL_BROKEN", part);
        }
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), socket, log }
    }
    fn master(lab: &Lab, without: Option<&str>) -> Self {
        let mut command = Command::new(program("labmaster"));
        Self::start(lab, "master", command.arg("run").arg("--root").arg(lab.root()), without)
    }
    fn minion(lab: &Lab, id: &str, seed: &PathBuf, without: Option<&str>) -> Self {
        let folder = lab.folder().join(id);
        fs::create_dir_all(folder.join("host")).unwrap();
        let mut command = Command::new(program("labminion"));
        command.args(["run", "--id", id, "--seed"]).arg(seed).arg("--root").arg(&folder);
        command.arg("--state-dir").arg(folder.join("state")).arg("--sandbox").arg(folder.join("host"));
        Self::start(lab, id, &mut command, without)
    }
    /// Words until there are so many of this one.
    fn hear(&self, word: &str, times: usize) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        wait::until(&format!("{times} times {word}; heard {:?}\n{}", heard, self.log()), LIMIT, || {
            heard.extend(self.read());
            (heard.iter().filter(|it| *it == word).count() >= times).then_some(())
        });
        heard
    }
    fn read(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
    }
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
    /// Waits until the program has found this loop standing still often enough, and gives how often it said meanwhile
    /// that all is well.
    fn stands_still(&self, part: &str) -> usize {
        self.hear("READY=1", 1);
        let wanted = part.trim_start_matches("turn-");
        let mut pings = 0;
        wait::until(&format!("{wanted} to be found standing still\n{}", self.log()), LIMIT, || {
            pings += self.read().iter().filter(|it| *it == "WATCHDOG=1").count();
            let log = self.log();
            let found = log.lines().filter(|it| it.contains("standing still") && it.contains(wanted)).count();
            (found >= QUESTIONS).then_some(())
        });
        pings
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first question may come before the loop was missed once.
const EARLY_PINGS: usize = 1;

#[test]
fn the_master_tells_the_watchdog_that_all_is_well_only_while_every_loop_turns() {
    let lab = Lab::prepare();
    let idle = Watched::master(&lab, None);
    let heard = idle.hear("WATCHDOG=1", 2 * QUESTIONS);
    assert!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    assert!(!idle.log().contains("standing still"), "{}", idle.log());
    drop(idle);
    for part in ["turn-core", "turn-store", "turn-gate", "turn-web", "turn-fanout"] {
        let pings = Watched::master(&lab, Some(part)).stands_still(part);
        assert!(pings <= EARLY_PINGS, "{part}: {pings} pings");
    }
    // The same program with a watchdog that asks nobody: a loop that stands still would not be noticed.
    let blind = Watched::master(&lab, Some("ask-every-loop"));
    blind.hear("WATCHDOG=1", QUESTIONS);
}

#[test]
fn the_minion_does_so_too_and_also_while_nobody_lets_it_in() {
    let mut lab = Lab::prepare();
    lab.start_master();
    let seed = lab.seed("vm-*", &["--uses", "10"]);
    let member = Watched::minion(&lab, "vm-1", &seed, None);
    lab.wait_up("vm-1");
    member.hear("WATCHDOG=1", 2 * QUESTIONS);
    drop(member);
    for part in ["turn-core", "turn-connection", "turn-beacons"] {
        let pings = Watched::minion(&lab, "vm-1", &seed, Some(part)).stands_still(part);
        assert!(pings <= EARLY_PINGS, "{part}: {pings} pings");
    }
    let stranger = Watched::minion(&lab, "other", &seed, None);
    wait::until("a key to wait for an operator", LIMIT, || {
        lab.labctl(&["key", "list", "--pending"]).stdout.contains("other").then_some(())
    });
    stranger.hear("WATCHDOG=1", 2 * QUESTIONS);
    assert!(!stranger.log().contains("standing still"), "{}", stranger.log());
}

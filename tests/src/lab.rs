//! A lab on loopback: a real master and real minions in a temporary folder, on free ports; stopped when dropped.

use crate::{api, program, wait};
use model::Request;
use serde_json::Value;
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long anything in a lab may take on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A master and its minions.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
    mqtt: u16,
    https: u16,
    address: String,
    around: Around,
    master: Option<Child>,
    minions: Vec<Agent>,
}

/// What a program is started in: another program before it, more environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Program and arguments that get the real ones: `ip netns exec NAME`, `strace ...`.
    pub before: Vec<String>,
    /// More variables.
    pub environment: Vec<(String, String)>,
}

impl Around {
    /// Behind another program.
    pub fn behind(before: &[&str]) -> Self {
        Self { before: before.iter().map(|it| (*it).to_owned()).collect(), environment: Vec::new() }
    }
    /// In a network namespace.
    pub fn namespace(name: &str) -> Self {
        Self::behind(&["ip", "netns", "exec", name])
    }
    /// With more environment.
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { before: Vec::new(), environment: environment.collect() }
    }
    fn start(&self, name: &str, arguments: &[String], log: File) -> Child {
        let program = program(name);
        let mut command = match self.before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        let copy = log.try_clone().expect("a file handle can be copied");
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(copy).stderr(log).spawn().expect("the program runs")
    }
}

/// A running minion.
#[derive(Debug)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Its own folder: state in `state/`, sandbox in `host/`.
    pub folder: PathBuf,
    /// What it is started in, from the next start on.
    pub around: Around,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// What a `labctl` call gave.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// The result.
    pub stdout: String,
    /// The talk.
    pub stderr: String,
}

impl Said {
    /// Its JSON, which must be there.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
    /// Itself, if the exit code is as wanted.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "often only the check is wanted")]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has a free port").port()
}

fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("lab").tempdir().expect("the temporary folder can be written")
}

impl Lab {
    /// Initialized, with an empty tree, and running.
    pub fn start() -> Self {
        let mut lab = Self::prepare();
        lab.start_master();
        lab
    }
    /// Initialized, not running.
    pub fn prepare() -> Self {
        Self::prepare_in(new_folder())
    }
    /// The same in a given folder.
    pub fn prepare_in(folder: TempDir) -> Self {
        Self::initialized(folder, "127.0.0.1", "127.0.0.1", Around::default())
    }
    /// Initialized, not running; minions look for it at another address of loopback, where a [`crate::proxy`] stands.
    pub fn prepare_behind(address: &str) -> Self {
        Self::initialized(new_folder(), address, "127.0.0.1", Around::default())
    }
    /// Initialized for an address in a network namespace, not running.
    pub fn prepare_on(address: &str, namespace: &str) -> Self {
        Self::initialized(new_folder(), address, address, Around::namespace(namespace))
    }
    fn initialized(folder: TempDir, address: &str, listen: &str, around: Around) -> Self {
        let lab = Self {
            folder,
            mqtt: free_port(),
            https: free_port(),
            address: address.to_owned(),
            around,
            master: None,
            minions: Vec::new(),
        };
        let config = lab.root().join("etc/labctl/master.yaml");
        fs::create_dir_all(config.parent().expect("it is below the root")).expect("the folder is ours");
        let text = format!(
            "name: test\naddresses: ['{0}']\nlisten:\n  mqtt: ['{listen}:{1}']\n  https: ['{listen}:{2}']\n",
            lab.address, lab.mqtt, lab.https
        );
        fs::write(&config, text).expect("the folder is ours");
        let output = Command::new(program("labmaster"))
            .args(["init", "--no-example"])
            .arg("--root")
            .arg(lab.root())
            .output()
            .expect("labmaster runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        lab
    }
    /// The master's root folder.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("master")
    }
    /// The lab's whole folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// Port of MQTT over TLS.
    pub fn mqtt(&self) -> u16 {
        self.mqtt
    }
    /// Port of HTTPS.
    pub fn https(&self) -> u16 {
        self.https
    }
    /// Writes a file of the trees: `states/x.sls`, `pillar/top.sls`, `reactors/y.yaml`.
    pub fn tree(&self, path: &str, text: &str) {
        let path = self.root().join("srv/labctl").join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("the folder is ours");
        fs::write(path, text).expect("the folder is ours");
    }
    /// Starts the master and waits until it answers.
    pub fn start_master(&mut self) {
        self.start_master_with(&[]);
    }
    /// The same with more environment.
    pub fn start_master_with(&mut self, environment: &[(&str, &str)]) {
        self.around.environment = Around::with(environment).environment;
        self.spawn_master();
        assert!(self.master_answers(), "the master does not answer:\n{}", self.logs());
    }
    /// What the master is started in, from the next start on.
    pub fn around_master(&mut self) -> &mut Around {
        &mut self.around
    }
    /// Starts the master and does not wait.
    pub fn spawn_master(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("master.log"))
            .expect("ours");
        let arguments = ["run".to_owned(), "--root".to_owned(), self.root().display().to_string()];
        self.master = Some(self.around.start("labmaster", &arguments, log));
    }
    /// Waits until the master answers; false if it ended instead, or takes too long.
    pub fn master_answers(&mut self) -> bool {
        let answered = wait::try_until(LIMIT, || {
            let answers = api::ask(&self.socket(), &Request::Status).is_ok();
            (answers || self.master_ended()).then_some(answers)
        });
        answered.unwrap_or(false)
    }
    /// Process id of the master.
    pub fn master_pid(&self) -> u32 {
        self.master.as_ref().expect("the master runs").id()
    }
    /// Sends a signal to the master by name and, for the ending ones, waits for its end.
    pub fn signal_master(&mut self, signal: &str) {
        let mut child = self.master.take().expect("the master runs");
        kill(child.id(), signal);
        if ["KILL", "TERM", "INT"].contains(&signal) {
            end(&mut child);
        } else {
            self.master = Some(child);
        }
    }
    /// Waits for the master to end by itself; whether it did.
    pub fn master_ended(&mut self) -> bool {
        self.master.as_mut().is_none_or(|it| it.try_wait().is_ok_and(|status| status.is_some()))
    }
    /// A seed for ids that match, by `labctl key enroll` with more arguments.
    pub fn seed(&self, ids: &str, more: &[&str]) -> PathBuf {
        let mut arguments = vec!["key", "enroll", "--ids", ids];
        if !more.contains(&"--for") {
            arguments.extend(["--for", "1d"]);
        }
        if !more.contains(&"--uses") {
            arguments.extend(["--uses", "100"]);
        }
        arguments.extend(more);
        let said = self.labctl(&arguments).expect(0);
        let path = self
            .folder
            .path()
            .join(format!("seed-{}.json", fs::read_dir(self.folder.path()).expect("ours").count()));
        fs::write(&path, said.stdout).expect("the folder is ours");
        path
    }
    /// Starts a sandbox minion with a seed; does not wait.
    pub fn launch(&mut self, id: &str, seed: &Path) -> usize {
        self.launch_with(id, seed, &["--id", id])
    }
    /// The same with other arguments than `--id`.
    pub fn launch_with(&mut self, name: &str, seed: &Path, more: &[&str]) -> usize {
        let host = self.minion_folder(name).join("host");
        fs::create_dir_all(&host).expect("the folder is ours");
        let host = host.display().to_string();
        self.launch_agent(name, seed, &[&["--sandbox", &host], more].concat(), Around::default())
    }
    /// Starts a sandbox minion in something else; does not wait.
    pub fn launch_in(&mut self, id: &str, seed: &Path, around: Around) -> usize {
        let host = self.minion_folder(id).join("host");
        fs::create_dir_all(&host).expect("the folder is ours");
        let host = host.display().to_string();
        self.launch_agent(id, seed, &["--sandbox", &host, "--id", id], around)
    }
    /// Starts a minion that works on this very machine: only for states that stay in the lab's folder.
    pub fn launch_on_this_machine(&mut self, id: &str, seed: &Path) -> usize {
        self.launch_agent(id, seed, &["--id", id], Around::default())
    }
    /// Where a minion has everything.
    pub fn minion_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join("minions").join(name)
    }
    fn launch_agent(&mut self, name: &str, seed: &Path, more: &[&str], around: Around) -> usize {
        let folder = self.minion_folder(name);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let mut arguments: Vec<String> = ["run", "--seed"].map(str::to_owned).to_vec();
        arguments.push(seed.display().to_string());
        arguments.extend(["--root".to_owned(), folder.display().to_string()]);
        arguments.extend(["--state-dir".to_owned(), folder.join("state").display().to_string()]);
        arguments.extend(more.iter().map(|it| (*it).to_owned()));
        self.minions.push(Agent { id: name.to_owned(), folder, around, arguments, child: None });
        let index = self.minions.len() - 1;
        self.restart(index);
        index
    }
    /// Starts (again) a minion that is not running.
    pub fn restart(&mut self, index: usize) {
        let agent = &mut self.minions[index];
        let log = File::options().create(true).append(true).open(agent.folder.join("log")).expect("ours");
        let child = agent.around.start("labminion", &agent.arguments, log);
        agent.child = Some(child);
    }
    /// Starts minions with one seed and waits until all are up.
    pub fn minions(&mut self, ids: &[&str]) {
        let seed = self.seed("*", &[]);
        for id in ids {
            self.launch(id, &seed);
        }
        for id in ids {
            self.wait_up(id);
        }
    }
    /// Waits until a minion is up.
    pub fn wait_up(&self, id: &str) {
        let up = wait::try_until(LIMIT, || (self.presence(id)? == "up").then_some(()));
        assert!(up.is_some(), "{id} does not come up:\n{}", self.logs());
    }
    /// A minion's presence, if it is accepted.
    pub fn presence(&self, id: &str) -> Option<String> {
        let said = self.labctl(&["minion", "show", id, "-o", "json"]);
        (said.code == 0)
            .then(|| find(&said.json(), "presence").and_then(Value::as_str).map(ToOwned::to_owned))?
    }
    /// A running minion.
    pub fn agent(&mut self, index: usize) -> &mut Agent {
        &mut self.minions[index]
    }
    /// A file on a sandbox minion.
    pub fn on_minion(&self, id: &str, path: &str) -> PathBuf {
        self.minion_folder(id).join("host").join(path.trim_start_matches('/'))
    }
    /// Where a minion keeps contents that it fetched.
    pub fn cache(&self, id: &str) -> PathBuf {
        self.minion_folder(id).join("var/cache/labctl/minion")
    }
    /// Calls `labctl` over the master's socket.
    pub fn labctl(&self, arguments: &[&str]) -> Said {
        said(&self.labctl_command(arguments).output().expect("labctl runs"))
    }
    /// The same, to be started by the caller.
    pub fn labctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("labctl"));
        command.args(arguments).stdin(Stdio::null()).env("LABCTL_SOCKET", self.socket());
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config")).env_remove("LABCTL_MASTER");
        command
    }
    /// The master's API socket.
    pub fn socket(&self) -> PathBuf {
        self.root().join("run/labmaster/api.sock")
    }
    /// The ends of all logs, for failures.
    pub fn logs(&self) -> String {
        let mut logs = vec![("master".to_owned(), self.folder.path().join("master.log"))];
        logs.extend(self.minions.iter().map(|it| (it.id.clone(), it.folder.join("log"))));
        let tail = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let told: Vec<String> =
            logs.iter().map(|(name, path)| format!("--- {name}\n{}\n", tail(path))).collect();
        told.concat()
    }
}

impl Agent {
    /// Sends a signal by name and, for the ending ones, waits for its end.
    pub fn signal(&mut self, signal: &str) {
        let child = self.child.as_mut().expect("the minion runs");
        kill(child.id(), signal);
        if ["KILL", "TERM", "INT"].contains(&signal) {
            end(child);
            self.child = None;
        }
    }
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the minion runs").id()
    }
    /// Process id of the first child of what was started: the minion, where another program is around it.
    pub fn inner_pid(&self) -> u32 {
        let pid = self.pid();
        wait::until("the program behind the other to begin", LIMIT, || children(pid).first().copied())
    }
    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|it| it.try_wait().is_ok_and(|status| status.is_some()))
    }
    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// The first value under a key, anywhere in a JSON document.
pub fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|it| find(it, key))),
        Value::Array(list) => list.iter().find_map(|it| find(it, key)),
        _ => None,
    }
}

/// What a process said.
pub fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal by name to a process.
pub fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
}

/// Process ids of the children of a process.
pub fn children(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

fn end(child: &mut Child) {
    let ended = wait::try_until(Duration::from_secs(10), || child.try_wait().ok().flatten());
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for agent in &mut self.minions {
            if let Some(child) = &mut agent.child {
                kill(child.id(), "CONT");
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if let Some(child) = &mut self.master {
            kill(child.id(), "CONT");
            kill(child.id(), "TERM");
            end(child);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

//! Real MQTT clients as child processes: paho-mqtt, mqtt.js and mosquitto, each as they come.

use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use tests::lab::{LIMIT, Lab};

/// A user of the master's, as `labctl token create` makes one.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl User {
    pub(crate) fn create(lab: &Lab, name: &str, role: &str) -> Self {
        let made = lab.labctl(&["token", "create", name, "--role", role, "-o", "json"]).expect(0).json();
        let text = |key| tests::lab::find(&made, key).and_then(Value::as_str).unwrap().to_owned();
        Self { name: name.to_owned(), secret: text("secret") }
    }
}

/// The master's certificate in a file, as `labctl master cert` prints it.
pub(crate) fn certificate(lab: &Lab) -> PathBuf {
    let pem = lab.labctl(&["master", "cert"]).expect(0).stdout;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    let path = lab.folder().join("master.pem");
    std::fs::write(&path, pem).unwrap();
    path
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    Paho,
    MqttJs,
}

impl Library {
    /// The program that speaks with it, if both are here.
    fn command(self) -> Option<Command> {
        let folder = tests::target_dir().join("clients");
        let scripts = tests::project().join("tests/clients");
        let (mut command, there) = match self {
            Self::Paho => {
                let mut command = Command::new(folder.join("venv/bin/python"));
                command.arg(scripts.join("observe.py"));
                let probe =
                    Command::new(folder.join("venv/bin/python")).args(["-c", "import paho.mqtt"]).status();
                (command, probe.is_ok_and(|it| it.success()))
            }
            Self::MqttJs => {
                let mut command = Command::new("node");
                command.arg(scripts.join("observe.mjs"));
                (command, tests::has("node") && folder.join("node_modules/mqtt").is_dir())
            }
        };
        command.env("CLIENTS", folder);
        there.then_some(command)
    }
}

/// A way to connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) library: Library,
    pub(super) websocket: bool,
    pub(super) version: u8,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.websocket { "websocket" } else { "TLS" };
        write!(f, "{:?} over {way}, MQTT {}", self.library, if self.version == 5 { "5" } else { "3.1.1" })
    }
}

/// All ways whose library is here; the others are noted as skipped.
pub(super) fn ways(test: &str) -> Vec<Way> {
    let mut ways = Vec::new();
    for (library, package) in [(Library::Paho, "paho-mqtt"), (Library::MqttJs, "mqtt.js")] {
        if library.command().is_none() {
            tests::skip(test, &format!("{package} is not installed"));
            continue;
        }
        for websocket in [false, true] {
            ways.extend([4, 5].map(|version| Way { library, websocket, version }));
        }
    }
    ways
}

/// A connected client that takes orders and tells what happens.
pub(super) struct Client {
    child: Child,
    stdin: ChildStdin,
    told: Receiver<Value>,
    /// Topics of messages that came while something else was waited for.
    passed: RefCell<BTreeSet<String>>,
    way: Way,
}

impl Client {
    /// Connects; the error is what the client said instead.
    pub(super) fn connect(way: Way, lab: &Lab, cafile: &Path, user: &User) -> Result<Self, Value> {
        let (word, port) = if way.websocket { ("wss", lab.https()) } else { ("tls", lab.mqtt()) };
        let mut child = way
            .library
            .command()
            .expect("it was there before")
            .args([word, "127.0.0.1", &port.to_string(), cafile.to_str().unwrap()])
            .args([&user.name, &user.secret, &way.version.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, told) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let client = Self { child, stdin, told, passed: RefCell::default(), way };
        let connected = client.wait("connect");
        if connected["ok"] == true { Ok(client) } else { Err(connected) }
    }
    /// The next thing of this kind that happens; messages before it are noted in `passed`.
    pub(super) fn wait(&self, kind: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(told) if told["on"] == kind => return told,
                Ok(told) => {
                    let topic = told["topic"].as_str().map(str::to_owned);
                    self.passed.borrow_mut().extend(topic);
                }
                Err(RecvTimeoutError::Timeout) => panic!("{}: waited {LIMIT:?} for {kind}", self.way),
                Err(RecvTimeoutError::Disconnected) => panic!("{}: ended before {kind}", self.way),
            }
        }
    }
    /// Topics of messages that came while something else was waited for, since the last time this was asked.
    pub(super) fn passed(&self) -> BTreeSet<String> {
        self.passed.take()
    }
    /// Waits until a message is the one looked for.
    pub(super) fn until(&self, what: &str, wanted: impl FnMut(&Value) -> bool) {
        assert!(self.until_within(LIMIT, wanted), "{}: waited {LIMIT:?} for {what}", self.way);
    }
    /// Whether the message looked for comes within a time.
    pub(super) fn until_within(&self, limit: Duration, mut wanted: impl FnMut(&Value) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(told) if told["on"] == "message" && wanted(&told) => return true,
                Ok(told) => assert_ne!(told["on"], "disconnect", "{}", self.way),
                Err(_) => return false,
            }
        }
    }
    fn order(&mut self, order: &Value) {
        writeln!(self.stdin, "{order}").unwrap();
    }
    /// Subscribes, without waiting for the answer.
    pub(super) fn subscribe(&mut self, topic: &str, qos: u8) {
        self.order(&json!({"do": "subscribe", "topic": topic, "qos": qos}));
    }
    /// Subscribes; whether that was granted.
    pub(super) fn may_subscribe(&mut self, topic: &str) -> bool {
        self.subscribe(topic, 1);
        self.wait("subscribe")["ok"] == true
    }
    /// Unsubscribes and waits for the answer.
    pub(super) fn unsubscribe(&mut self, topic: &str) {
        self.order(&json!({"do": "unsubscribe", "topic": topic}));
        assert_eq!(self.wait("unsubscribe")["ok"], true, "{}", self.way);
    }
    /// Publishes at QoS 1; whether the client says that it went well.
    pub(super) fn publish(&mut self, topic: &str, payload: &str) -> bool {
        self.order(&json!({"do": "publish", "topic": topic, "payload": payload, "qos": 1}));
        self.wait("publish")["ok"] == true
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `mosquitto_sub` or `mosquitto_pub` over TLS with more arguments.
pub(super) fn mosquitto(program: &str, lab: &Lab, cafile: &Path, user: &User, more: &[&str]) -> Output {
    Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &lab.mqtt().to_string(), "--cafile", cafile.to_str().unwrap()])
        .args(["-u", &user.name, "-P", &user.secret])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Whether mosquitto's clients are here; noted as skipped otherwise.
pub(crate) fn has_mosquitto(test: &str) -> bool {
    let there = tests::has("mosquitto_sub") && tests::has("mosquitto_pub");
    if !there {
        tests::skip(test, "mosquitto-clients is not installed");
    }
    there
}

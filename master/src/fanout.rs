//! Embeds rumqttd as fan-out for observers, in a supervised child process (`labmaster fanout`); the only file that names it.

mod publisher;

use crate::gate::FanoutLink;
use bus::pulse::{Beat, Pulse};
use model::Secret;
use publisher::Queue;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    io::{self, BufRead as _, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The child tells its port within this time.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between restarts: first and longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A child that lived so long was well: the back-off begins anew.
const WELL_AFTER: Duration = Duration::from_mins(1);
/// Longest line on the child's standard output, and how many before the one that counts.
const LINE_MAX: u64 = 4096;
const LINES_MAX: usize = 16;
/// Connections that the child takes: observers, those that just left, and the publisher. It does not survive more.
const CONNECTIONS_MAX: usize = 4096;
/// What the child keeps of each branch for readers that lag.
const SEGMENT_BYTES: usize = 256 * 1024;
const SEGMENTS_MAX: usize = 8;
/// Largest message.
pub(crate) const PAYLOAD_MAX: usize = 256 * 1024;
/// Branches of the public tree: all that is ever published or subscribed.
const BRANCHES: [&str; 2] = ["lab/#", "homeassistant/#"];

/// A supervised fan-out. Dropping it ends the child.
pub struct Fanout {
    link: watch::Receiver<Option<FanoutLink>>,
    queue: Arc<Queue>,
    restarts: Arc<AtomicU64>,
    supervisor: JoinHandle<()>,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        // The child is killed with the task that holds it.
        self.supervisor.abort();
    }
}

impl Fanout {
    /// Starts the child and keeps it running (back-off, counted restarts); publishes to it over one bus client.
    pub fn start(pulse: &Pulse) -> Self {
        // Also right when the file was replaced by an upgrade.
        Self::supervised(PathBuf::from("/proc/self/exe"), pulse.beat("turn-fanout"))
    }

    /// The same with another program that has the `fanout` command: for tests, which are not `labmaster` themselves.
    pub fn start_from(program: PathBuf) -> Self {
        Self::supervised(program, Pulse::default().beat("turn-fanout"))
    }

    fn supervised(program: PathBuf, beat: Beat) -> Self {
        let (sender, link) = watch::channel(None);
        let queue = Arc::new(Queue::default());
        let restarts = Arc::new(AtomicU64::new(0));
        let supervising = supervise(program, sender, Arc::clone(&queue), Arc::clone(&restarts), beat);
        let supervisor = tokio::spawn(supervising);
        Self { link, queue, restarts, supervisor }
    }

    /// Where it listens now; `None` while it is down.
    pub fn link(&self) -> watch::Receiver<Option<FanoutLink>> {
        self.link.clone()
    }
    /// Publishes the live stream; while the fan-out is down, what is not retained is lost (observers' data may be).
    pub fn publish(&self, topic: &str, payload: &str) {
        self.queue.put(topic, payload);
    }
    /// Restarts of the child, and messages that were dropped, since the start.
    pub fn counters(&self) -> (u64, u64) {
        (self.restarts.load(Ordering::Relaxed), self.queue.dropped())
    }
}

async fn supervise(
    program: PathBuf,
    link: watch::Sender<Option<FanoutLink>>,
    queue: Arc<Queue>,
    restarts: Arc<AtomicU64>,
    beat: Beat,
) {
    let mut pause = BACK_OFF.0;
    loop {
        let began = Instant::now();
        beat.turn();
        let why = match start_child(&program).await {
            Ok((mut child, _stdin, now)) => {
                tracing::info!(address = %now.address, "fan-out is up");
                link.send_replace(Some(now.clone()));
                tokio::select! {
                    status = beat.idle(child.wait()) => status.map_or_else(|it| it.to_string(), |it| it.to_string()),
                    why = publisher::run(&now, &queue) => why.to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        link.send_replace(None);
        restarts.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() > WELL_AFTER {
            pause = BACK_OFF.0;
        }
        tracing::warn!(why, pause_ms = pause.as_millis(), "fan-out ended, starting it again");
        beat.idle(sleep(pause)).await;
        pause = (pause * 2).min(BACK_OFF.1);
    }
}

/// What the child is told on standard input.
#[derive(Serialize, Deserialize)]
struct Credentials {
    user: String,
    password: Secret,
}

/// What the child says on standard output.
#[derive(Serialize, Deserialize)]
struct Listening {
    port: u16,
}

async fn start_child(program: &Path) -> io::Result<(Child, ChildStdin, FanoutLink)> {
    let mut child = Command::new(program)
        .arg("fanout")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let password = random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let credentials = Credentials { user: "gate".to_owned(), password: Secret::new(password) };
    let mut line = serde_json::to_string(&credentials)?;
    line.push('\n');
    stdin.write_all(line.as_bytes()).await?;
    stdin.flush().await?;
    let port = timeout(START_LIMIT, read_port(stdout)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Credentials { user, password } = credentials;
    Ok((child, stdin, FanoutLink { address, user, password }))
}

async fn read_port(stdout: tokio::process::ChildStdout) -> io::Result<u16> {
    let mut reader = BufReader::new(stdout.take(LINE_MAX));
    for _ in 0..LINES_MAX {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            break;
        }
        if let Ok(Listening { port }) = serde_json::from_str(&line) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it told no port"))
}

/// The child's `main`: runs rumqttd on a free loopback port with credentials from standard input, prints the port,
/// ends when standard input closes.
pub fn child_main() -> ! {
    match run_child() {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("fan-out: {error}");
            std::process::exit(1)
        }
    }
}

fn run_child() -> io::Result<()> {
    // rumqttd lives on after a panic of its router, and answers nobody: better to end and be started again.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let mut line = String::new();
    io::stdin().lock().take(LINE_MAX).read_line(&mut line)?;
    let credentials: Credentials = serde_json::from_str(&line)?;
    // Whoever holds the other end is gone when it closes, even by `kill -9`.
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        while matches!(io::stdin().read(&mut rest), Ok(count) if count > 0) {}
        std::process::exit(0);
    });
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut broker = Broker::new(config(address, &credentials));
    std::thread::spawn(move || match tell_port(address) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("fan-out: cannot tell its port: {error}");
            std::process::exit(1);
        }
    });
    broker.start().map_err(io::Error::other)?;
    // It says so by returning when the port was taken meanwhile.
    Err(io::ErrorKind::AddrInUse.into())
}

/// Waits until the port answers, then prints it. Nothing is sent: rumqttd takes that for a client that went away.
fn tell_port(address: SocketAddr) -> io::Result<()> {
    let until = Instant::now() + START_LIMIT;
    while let Err(error) = TcpStream::connect(address) {
        if Instant::now() > until {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut line = serde_json::to_string(&Listening { port: address.port() })?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

fn config(listen: SocketAddr, credentials: &Credentials) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: PAYLOAD_MAX + 4096,
        max_inflight_count: 100,
        auth: Some(HashMap::from([(credentials.user.clone(), credentials.password.reveal().to_owned())])),
        external_auth: None,
        dynamic_filters: false,
    };
    let server = ServerSettings {
        name: "fanout".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS_MAX,
        // There from the start: a publish that no filter matches would end the publisher's connection.
        initialized_filters: Some(BRANCHES.map(str::to_owned).to_vec()),
        ..RouterConfig::default()
    };
    Config { router, v4: Some(HashMap::from([("1".to_owned(), server)])), ..Config::default() }
}

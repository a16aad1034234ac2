//! `labmaster`: arguments to configuration to run; exit codes as in the table of `labctl help exit-codes`.

mod log;
mod masters;

use clap::{Args, Parser, Subcommand};
use master::config::{self, Config};
use master::{backup, daemon, fanout, init};
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Bad configuration.
const EXIT_CONFIG: u8 = 64;
/// How long `labmaster health` waits.
const HEALTH_MAX: Duration = Duration::from_secs(5);
/// Threads for compiles, reads, files and calls to other services.
const BLOCKING_MAX: usize = 24;

/// Bytes of what git asks about a push.
const PUSH_BYTES_MAX: u64 = 1 << 20;

/// The unit, as packages have it, and where they have the program.
const UNIT: &str = include_str!("../labmaster.service");
const PACKAGED: &str = "/usr/bin/labmaster";

/// The labctl master: decides what every machine should be, and remembers what became of it.
#[derive(Parser)]
#[command(name = "labmaster", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  labmaster init --address master.lab     keys, /etc/labctl/master.yaml and an example tree
  labmaster run                           until Ctrl-C or SIGTERM; SIGHUP reads the trees again
  labmaster health                        exits with 0 if the master on this machine answers
  labmaster restore lab.backup            what labctl master backup wrote; the master must not run
  labmaster unit > /etc/systemd/system/labmaster.service
                                          the unit, for a user of its own that may do little else";

#[derive(Subcommand)]
enum Command {
    /// Set this machine up as a master; what is there already is left alone
    Init(Init),
    /// Run the master
    Run(Place),
    /// For a pre-receive hook: refuse a push that the master would not use
    CheckPush(Place),
    /// Ask the master on this machine whether it answers
    Health(Place),
    /// Put a backup in place of what is in the state folder; the master must not run
    Restore(Restore),
    /// Print the systemd unit of the master, for this very program
    Unit,
    /// The list of masters that minions trust: show it, sign it, change to new keys
    Masters(masters::MastersCommand),
    /// Print the version
    Version,
    /// Fan-out for observers: a child that `run` starts by itself
    #[command(hide = true)]
    Fanout,
}

#[derive(Args)]
struct Place {
    /// The configuration file [default: /etc/labctl/master.yaml below the root]
    #[arg(long, env = "LABMASTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder in front of all paths, for tests and trying out
    #[arg(long, env = "LABMASTER_ROOT", value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Args)]
struct Restore {
    /// What `labctl master backup` wrote
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Init {
    #[command(flatten)]
    place: Place,
    /// The master's name, for topics and lists
    #[arg(long)]
    name: Option<String>,
    /// A host name or address that minions are told (`host` or `host:port`); may be repeated
    #[arg(long = "address", value_name = "HOST", value_parser = config::address)]
    addresses: Vec<config::Address>,
    /// Make a bare repository and follow its branch `main`: operators push the trees to it
    #[arg(long, value_name = "DIR")]
    git: Option<PathBuf>,
    /// Write no example tree
    #[arg(long)]
    no_example: bool,
}

impl Place {
    fn file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| config::beneath(&self.root, Path::new(config::CONFIG_PATH)))
    }
    fn read(&self) -> Result<Config, ExitCode> {
        Config::read(&self.file(), &self.root, self.config.is_none()).map_err(|it| bad_config(&it))
    }
}

fn main() -> ExitCode {
    bus::tls::install_provider();
    match Cli::parse().command {
        Command::Init(wish) => set_up(wish),
        Command::Run(place) => place.read().map_or_else(|code| code, run),
        Command::CheckPush(place) => place.read().map_or_else(|code| code, |config| check_push(&config)),
        Command::Health(place) => place.read().map_or_else(|code| code, |config| health(&config)),
        Command::Restore(Restore { file, place }) => {
            place.read().map_or_else(|code| code, |config| put_back(&file, &config))
        }
        Command::Unit => {
            print!("{}", unit(std::env::current_exe().ok().as_deref()));
            ExitCode::SUCCESS
        }
        Command::Masters(command) => command.run(),
        Command::Version => {
            println!("labmaster {}", model::VERSION);
            ExitCode::SUCCESS
        }
        Command::Fanout => fanout::child_main(),
    }
}

fn set_up(wish: Init) -> ExitCode {
    let Init { place, name, addresses, git, no_example } = wish;
    let config = place.file();
    let below = if place.root == Path::new("/") {
        String::new()
    } else {
        format!(" --root {}", place.root.display())
    };
    let wish = init::Wish { config, root: place.root, name, addresses, git, example: !no_example };
    match init::init(&wish) {
        Ok(done) if done.is_empty() => println!("all is set up already; nothing was changed"),
        Ok(done) => {
            for line in &done {
                println!("{line}");
            }
            print!("{}", next_steps(&below));
        }
        Err(init::SetUpError::Config(diagnostics)) => return bad_config(&diagnostics),
        Err(error) => return failed(&error),
    }
    ExitCode::SUCCESS
}

fn next_steps(below: &str) -> String {
    let units = ["/etc/systemd/system/labmaster.service", "/usr/lib/systemd/system/labmaster.service"];
    let unit = below.is_empty() && units.iter().any(|it| Path::new(it).exists());
    let run = if unit {
        "systemctl start labmaster      or   labmaster run".into()
    } else {
        format!("labmaster run{below}")
    };
    format!(
        "  1. run it      {run}\n  2. a minion    labctl key enroll --ids vm-01 > seed.json   and there   \
         labminion run --seed seed.json\n  3. then        labctl target vm-01 apply hello\n"
    )
}

/// Git asks on standard input, a line for each reference; what is said goes to whoever pushes.
fn check_push(config: &Config) -> ExitCode {
    let mut asked = String::new();
    if let Err(error) = std::io::stdin().take(PUSH_BYTES_MAX).read_to_string(&mut asked) {
        return failed(&error);
    }
    match init::push::check(config, &asked) {
        Ok(diagnostics) if diagnostics.is_empty() => ExitCode::SUCCESS,
        Ok(diagnostics) => {
            eprintln!("{}", lang::render_diagnostics(&diagnostics, lang::Paint::Plain));
            eprintln!("refused: the master would not use it");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("refused: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn put_back(file: &Path, config: &Config) -> ExitCode {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = model::Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    match backup::restore(file, config, now) {
        Ok(done) => {
            for line in &done {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// The unit for the program at this path. A path that systemd would have to be told about in quotes is left out.
fn unit(program: Option<&Path>) -> String {
    let plain = |it: &&str| it.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    UNIT.replace(PACKAGED, program.and_then(Path::to_str).filter(plain).unwrap_or(PACKAGED))
}

fn run(config: Config) -> ExitCode {
    if let Err(diagnostics) = master::roles::read(&config.roles) {
        return bad_config(&diagnostics);
    }
    log::start(config.level);
    if let Some(warning) = model::broken::warning() {
        tracing::warn!("{warning}");
    }
    // One thread for the loop and all connections: compiles, reads and the store have their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_name("labmaster-work")
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(daemon::run(config));
            runtime.shutdown_timeout(Duration::from_secs(2));
            ended
        }
        Err(error) => return failed(&error),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn health(config: &Config) -> ExitCode {
    match ask_health(&config.socket) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => {
            println!("ok");
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let line = answer.lines().next().unwrap_or("nothing");
            eprintln!("error: the master on `{}` answers: {line}", config.socket.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: no master answers on `{}`: {error}", config.socket.display());
            ExitCode::FAILURE
        }
    }
}

fn ask_health(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(HEALTH_MAX))?;
    stream.set_write_timeout(Some(HEALTH_MAX))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

fn bad_config(diagnostics: &[model::Diagnostic]) -> ExitCode {
    eprintln!("{}", lang::render_diagnostics(diagnostics, lang::Paint::Plain));
    ExitCode::from(EXIT_CONFIG)
}

/// Prints the chain of causes, once.
fn failed(error: &dyn Error) -> ExitCode {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("error: {told}");
    ExitCode::FAILURE
}

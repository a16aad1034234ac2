//! The program `labminion`: command line to settings to what is asked for.

use anyhow::Context;
use clap::Parser;
use minion::cli::{Cli, Command, RecipeArgs};
use minion::config::Config;
use minion::core::{Resume, RunEnd};
use minion::linux::system::{leave_no_core, leave_terminal};
use minion::linux::{BlobSource, LinuxHost, child, space};
use minion::sandbox::SandboxHost;
use minion::shelf::Shelf;
use minion::worker::{Order, run_recipe};
use minion::{daemon, grains, identity, log, looks, program, uninstall};
use model::{Mode, Outcome, Question, Recipe};
use resources::Host;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// It was tried, and failed.
const EXIT_FAILED: u8 = 1;
/// Wrong usage or settings.
const EXIT_USAGE: u8 = 2;
/// Threads for what blocks: the journal, and grains.
const BLOCKING_THREADS: usize = 2;
/// Longest list of questions.
const QUESTIONS_BYTES_MAX: u64 = 16 << 20;
/// A PID 1 that began later than this after the kernel (in hundredths of a second) is a container's.
const FIRST_PROCESS_TICKS: u64 = 1000;

fn main() -> ExitCode {
    if let Err(error) = leave_no_core() {
        eprintln!("warning: what this process remembers may be written to disk if it crashes: {error}");
    }
    let cli = Cli::parse();
    if let Command::Hold { parent, argv } = &cli.command {
        eprintln!("error: {}", child::hold(*parent, argv));
        return ExitCode::from(EXIT_FAILED);
    }
    let config = match Config::load(&cli.overrides()) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("error: {mistake}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&cli, &config) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(cli: &Cli, config: &Config) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Run { .. } => run_daemon(config)?,
        Command::Fingerprint => {
            let identity = bus::Identity::load(&config.state_dir, "key")
                .context("this machine has no key yet; it makes one at its first `labminion run`")?;
            println!("{}", identity.public().fingerprint());
        }
        Command::Grains => {
            let (grains, complaints) = grains::collect(&sources(config)?);
            for complaint in complaints {
                eprintln!("warning: {complaint}");
            }
            println!("{}", serde_json::to_string_pretty(&grains)?);
        }
        Command::Answer { commands } => {
            let mut text = String::new();
            io::stdin().lock().take(QUESTIONS_BYTES_MAX).read_to_string(&mut text)?;
            let questions: Vec<Question> =
                serde_json::from_str(&text).context("standard input holds no list of questions")?;
            println!("{}", looks::answer(&questions, *commands, config.sandbox.as_deref()));
        }
        Command::Hold { .. } => unreachable!("it was done before settings were read"),
        Command::RunRecipe(args) => return work(config, args),
        Command::Uninstall { yes } => {
            if !yes {
                uninstall::confirm(config)?;
            }
            let root = cli.settings.root.as_deref().unwrap_or(Path::new("/"));
            for path in uninstall::uninstall(config, root)? {
                println!("removed {}", path.display());
            }
            eprintln!("the master still knows this minion: labctl minion remove ID");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_daemon(config: &Config) -> anyhow::Result<()> {
    log::start(config.log_format, config.log_level);
    if let Some(warning) = model::broken::warning() {
        tracing::warn!("{warning}");
    }
    bus::tls::install_provider();
    program::tie_with(Path::new("/proc/self/exe"));
    let setup = daemon::Setup {
        config: config.clone(),
        program: PathBuf::from("/proc/self/exe"),
        boot: boot_id(),
        host_name: host_name(),
        space: space::of,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start")?;
    runtime.block_on(daemon::run(&setup))?;
    Ok(())
}

fn work(config: &Config, args: &RecipeArgs) -> anyhow::Result<ExitCode> {
    // Commands under other users must not write into root's terminal. No child is there yet.
    if let Some(ended) = leave_terminal().context("cannot leave the terminal")? {
        return Ok(ExitCode::from(ended.code().and_then(|it| u8::try_from(it).ok()).unwrap_or(EXIT_FAILED)));
    }
    let order = Order {
        mode: if args.check { Mode::Check } else { Mode::Apply },
        blobs: args.blobs.clone(),
        cancel: args.cancel.clone(),
        sandbox: config.sandbox.clone(),
        keep: args.keep.clone().map(|dir| (dir, args.job)),
        pulse: args.pulse.clone(),
        way_back: args.way_back,
        halts: args.halts.clone(),
        resume: args.past.map(|step| Resume { step, failed: args.past_failed.clone() }),
    };
    let end = run_recipe(&order, &mut io::stdin().lock(), &mut io::stdout(), &open_host)
        .context("the recipe was not run to its end")?;
    let failed = match end {
        RunEnd::Report { report, .. } => report.steps.iter().any(|step| step.outcome == Outcome::Failed),
        _ => true,
    };
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn open_host(recipe: &Recipe, order: &Order) -> io::Result<Box<dyn Host>> {
    let blobs = BlobSource::new(recipe, order.blobs.clone())?;
    let shelf = order.keep.as_ref().map(|(dir, job)| Shelf::open(dir, *job)).transpose()?;
    let shelf = shelf.map(|it| it.with_way_back(order.way_back));
    match &order.sandbox {
        Some(folder) => Ok(Box::new(SandboxHost::new(folder, blobs, shelf)?)),
        None => Ok(Box::new(LinuxHost::new(blobs).keeping(shelf))),
    }
}

/// The name is the membership's, if there is one; else the one it would ask for.
fn sources(config: &Config) -> anyhow::Result<grains::Sources> {
    let member = std::fs::read_to_string(config.state_dir.join("member.json")).ok();
    let member = member.and_then(|text| serde_json::from_str::<minion::home::Membership>(&text).ok());
    let id = match member {
        Some(member) => member.id,
        None => identity::choose_id(config, None, &host_name())?.id,
    };
    Ok(grains::Sources {
        id,
        root: config.machine_root.clone(),
        file: config.grains_file.clone(),
        programs: config.grains_dir.clone(),
        sandbox: config.sandbox.is_some(),
    })
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The kernel's boot id; in a container, with the start of its first process: containers boot without a kernel.
/// `LABMINION_BOOT_ID` stands in for it, for pretended machines.
fn boot_id() -> String {
    if let Ok(boot) = std::env::var("LABMINION_BOOT_ID") {
        return boot.chars().take(64).collect();
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let first = std::fs::read_to_string("/proc/1/stat").unwrap_or_default();
    // The 22nd field; the second is a name in parentheses and may hold anything.
    let began =
        first.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)?.parse::<u64>().ok());
    match began {
        Some(ticks) if ticks > FIRST_PROCESS_TICKS => format!("{}-{ticks}", boot.trim()),
        _ => boot.trim().to_owned(),
    }
}

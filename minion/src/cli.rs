//! The command line of `labminion`.

use crate::config::{LogFormat, Overrides};
use clap::{Args, Parser, Subcommand};
use model::JobId;
use std::ffi::OsString;
use std::path::PathBuf;
use tracing::Level;

const EXAMPLES: &str = "\
Examples:
  labminion run --seed seed.json                first boot: makes a key, enrols, says hello
  labminion run --sandbox /tmp/vm-1 --id vm-1   a pretended machine beneath a folder
  labminion fingerprint                         compare with: labctl key list
  labminion grains                              what this machine says of itself
  labminion run-recipe --check < recipe.json    what a compiled recipe would change here

Files: /etc/labctl/minion.toml, grains.toml, grains.d/, seed.json; /var/lib/labctl/minion
Exit codes: 0 fine, 1 it failed, 2 wrong usage or settings";

/// Brings this machine into the state that its master describes.
#[derive(Debug, Parser)]
#[command(name = "labminion", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Settings for every command.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Settings for every command.
#[derive(Args, Clone, Debug)]
pub struct SettingsArgs {
    /// Root of all paths (`DIR/etc/labctl`, `DIR/var/lib/labctl`, ...), for tests
    #[arg(long, global = true, value_name = "DIR", env = "LABMINION_ROOT")]
    pub root: Option<PathBuf>,
    /// Settings file instead of /etc/labctl/minion.toml
    #[arg(long, global = true, value_name = "FILE", env = "LABMINION_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder for key, journal and runs instead of /var/lib/labctl/minion
    #[arg(long, global = true, value_name = "DIR", env = "LABMINION_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// A pretended machine: real for files beneath DIR, the rest is kept in a file there
    #[arg(long, global = true, value_name = "DIR", env = "LABMINION_SANDBOX")]
    pub sandbox: Option<PathBuf>,
    /// Name of this minion instead of the seed's, a systemd credential's or the host name
    #[arg(long, global = true, value_name = "ID", env = "LABMINION_ID")]
    pub id: Option<String>,
    /// How the log looks: auto (text, with <N> priorities under systemd), text, json
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "LABMINION_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// How much is logged: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", env = "LABMINION_LOG_LEVEL")]
    pub log_level: Option<Level>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enrol if need be, then work for the master until a signal
    Run {
        /// Seed file from `labctl key enroll`, instead of /etc/labctl/seed.json; it is never altered
        #[arg(long, value_name = "FILE", env = "LABMINION_SEED")]
        seed: Option<PathBuf>,
    },
    /// Print the fingerprint of this machine's key
    Fingerprint,
    /// Print what this machine says of itself, as JSON
    Grains,
    /// Answer what templates ask of this machine: a JSON list of questions on standard input, of answers on standard
    /// output
    Answer {
        /// Let questions run commands
        #[arg(long)]
        commands: bool,
    },
    /// Run a compiled recipe from standard input; JSON lines on standard output
    RunRecipe(RecipeArgs),
    /// Run a program that ends when whoever started this one does
    #[command(hide = true)]
    Hold {
        /// The one that started it
        parent: i32,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        argv: Vec<OsString>,
    },
    /// Stop the service, say goodbye to the master, remove key, journal and unit
    Uninstall {
        /// Do not ask
        #[arg(short, long, env = "LABCTL_YES")]
        yes: bool,
    },
}

/// How to run a recipe.
#[derive(Args, Debug)]
pub struct RecipeArgs {
    /// Look only, change nothing
    #[arg(long)]
    pub check: bool,
    /// Folder with contents that are not in the recipe, each named by its SHA-256
    #[arg(long, value_name = "DIR", default_value = "/var/cache/labctl/minion")]
    pub blobs: PathBuf,
    /// End at the next step once this file exists
    #[arg(long, value_name = "FILE")]
    pub cancel: Option<PathBuf>,
    /// Keep in this folder what the run of a job alters, so that it can be undone, and find there what jobs kept
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// The job that this is a run of
    #[arg(long, value_name = "JOB")]
    pub job: Option<JobId>,
    /// Alter only what can be put back, and keep that durably first: the run is undone unless it is confirmed
    #[arg(long, requires = "keep")]
    pub way_back: bool,
    /// Give a sign of life by the time of this file
    #[arg(long, value_name = "FILE")]
    pub pulse: Option<PathBuf>,
    /// Halt at a step that reboots and write down in this folder how far the run has come; without, such a step fails
    #[arg(long, value_name = "DIR")]
    pub halts: Option<PathBuf>,
    /// Go on behind this step, where the run halted
    #[arg(long, value_name = "STEP", requires = "halts")]
    pub past: Option<u32>,
    /// Why the machine was not booted anew
    #[arg(long, value_name = "REASON", requires = "past")]
    pub past_failed: Option<String>,
}

impl Cli {
    /// What flags and environment say about settings.
    pub fn overrides(&self) -> Overrides {
        let settings = self.settings.clone();
        let seed = match &self.command {
            Command::Run { seed } => seed.clone(),
            _ => None,
        };
        Overrides {
            root: settings.root,
            config: settings.config,
            state_dir: settings.state_dir,
            id: settings.id,
            seed,
            sandbox: settings.sandbox,
            log_format: settings.log_format,
            log_level: settings.log_level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_main_job_parses_as_users_type_it() {
        let cli = Cli::parse_from(["labminion", "run", "--seed", "seed.json", "--id", "vm-1"]);
        let overrides = cli.overrides();
        assert_eq!(overrides.seed, Some(PathBuf::from("seed.json")));
        assert_eq!(overrides.id.as_deref(), Some("vm-1"));
    }
}

//! The command line as types: nouns first, verbs from one small set.

use crate::{
    commands::{
        audit::AuditCommand, beacon::BeaconCommand, can::CanCommand, completion::CompletionCommand,
        context::ContextCommand, event::EventCommand, explain::ExplainCommand, hook::HookCommand,
        image::ImageCommand, import::ImportCommand, job::JobCommand, key::KeyCommand, local::LocalCommand,
        man::ManCommand, minion::MinionCommand, notify::NotifyCommand, pillar::PillarCommand,
        rule::RuleCommand, schedule::ScheduleCommand, server::MasterCommand, state::StateCommand,
        target::TargetCommand, token::TokenCommand,
    },
    show::time::Spelling,
};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  labctl target 'vm-*' ping               who is there
  labctl t 'vm-*' apply web               bring the state `web` about, with live progress
  labctl t @web plan                      what would change, with diffs
  labctl t os=debian run -- uptime        run a command
  labctl key enroll --ids 'vm-*' --uses 20 --for 30d > seed.json
  labctl job list                         what was done

Topics: labctl help targeting, labctl help exit-codes, labctl help environment, labctl help roles";

/// Configuration management for a lab: see machines, bring states about, watch what happens.
#[derive(Debug, Parser)]
#[command(name = "labctl", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What can be said to every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Global {
    /// How to print
    #[arg(short, long, global = true, value_enum, env = "LABCTL_OUTPUT", hide_env = true)]
    pub(crate) output: Option<Format>,
    /// Which master, by its name in `labctl context list`
    #[arg(short, long, global = true, env = "LABCTL_CONTEXT", hide_env = true)]
    pub(crate) context: Option<String>,
    /// Which master, by its URL: <https://HOST:8443> (with `LABCTL_TOKEN` and `LABCTL_MASTER_KEY`)
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LABCTL_MASTER",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) master: Option<String>,
    /// Which master, by its socket on this machine
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "LABCTL_SOCKET",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) socket: Option<PathBuf>,
    /// File that holds the contexts
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "LABCTL_CONFIG",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long, global = true, env = "LABCTL_YES", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) yes: bool,
    /// More: -v shows what was ok, too; -vv times and comments
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Less: only what failed
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t, hide_short_help = true)]
    pub(crate) color: Color,
    /// The same as --color never
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_color: bool,
    /// Tables without their first line
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_headers: bool,
    /// Columns of a table, by name
    #[arg(long, global = true, value_delimiter = ',', hide_short_help = true)]
    pub(crate) columns: Vec<String>,
    /// Sort a table by this column
    #[arg(long, global = true, value_name = "COLUMN", hide_short_help = true)]
    pub(crate) sort: Option<String>,
    /// Turn the order of a table round
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) reverse: bool,
    /// Times in UTC
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) utc: bool,
    /// How to write times
    #[arg(long, global = true, value_enum, default_value_t, hide_short_help = true)]
    pub(crate) time: TimeFormat,
    /// How to show progress
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "LABCTL_PROGRESS",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) progress: Progress,
}

impl Global {
    /// What was said about colours.
    pub(crate) fn color_wish(&self) -> Color {
        if self.no_color { Color::Never } else { self.color }
    }
    /// What was said about times.
    pub(crate) fn time_spelling(&self) -> Spelling {
        match (self.time, self.utc) {
            (TimeFormat::Iso, _) => Spelling::Iso,
            (TimeFormat::Human, true) => Spelling::Utc,
            (TimeFormat::Human, false) => Spelling::Human,
        }
    }
    /// -1 to 2.
    pub(crate) fn verbosity(&self) -> i8 {
        if self.quiet { -1 } else { i8::try_from(self.verbose.min(2)).unwrap_or(2) }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// One document
    Json,
    /// The same in YAML
    Yaml,
    /// One object a line, as it comes
    Jsonl,
    /// Only names
    Name,
}

impl Format {
    /// Whether a program reads it.
    pub(crate) fn is_machine(self) -> bool {
        !matches!(self, Self::Table | Self::Wide)
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to write times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeFormat {
    /// `3s ago`, local times
    #[default]
    Human,
    /// RFC 3339
    Iso,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Live lines on a terminal, else a line for each machine
    #[default]
    Auto,
    /// A line for each machine
    Plain,
    /// Not at all
    None,
}

/// The first word.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fleet at a glance
    Status,
    /// Everything that is done to machines
    #[command(visible_alias = "t", alias = "targets")]
    Target(TargetCommand),
    /// Machines that the master knows
    #[command(visible_alias = "m", alias = "minions")]
    Minion(MinionCommand),
    /// Keys of machines: who may join
    #[command(alias = "keys")]
    Key(KeyCommand),
    /// State files: check, show, reference
    #[command(alias = "states")]
    State(StateCommand),
    /// States of this machine, without a master
    Local(LocalCommand),
    /// Data of machines
    Pillar(PillarCommand),
    /// What machines watch by themselves
    #[command(alias = "beacons")]
    Beacon(BeaconCommand),
    /// What was done and is being done
    #[command(visible_alias = "j", alias = "jobs")]
    Job(JobCommand),
    /// What happened and is happening
    #[command(visible_alias = "ev", alias = "events")]
    Event(EventCommand),
    /// The reactor's rules
    #[command(alias = "rules")]
    Rule(RuleCommand),
    /// Who rules tell, and other services that they call
    #[command(alias = "notifiers")]
    Notify(NotifyCommand),
    /// Webhooks: events of Gitea, GitHub, Alertmanager and others
    #[command(alias = "hooks")]
    Hook(HookCommand),
    /// What the master does by the clock
    #[command(alias = "schedules")]
    Schedule(ScheduleCommand),
    /// Trees of other programs, used where they lie
    Import(ImportCommand),
    /// Images of machines
    #[command(alias = "images")]
    Image(ImageCommand),
    /// The master itself
    Master(MasterCommand),
    /// Users and tokens of dashboards, integrations and remote operators
    #[command(alias = "tokens")]
    Token(TokenCommand),
    /// Whether somebody may do something, and by which line
    Can(CanCommand),
    /// Who asked for what: a log that shows whether it was tampered with
    Audit(AuditCommand),
    /// Which masters there are to talk to
    #[command(alias = "contexts")]
    Context(ContextCommand),
    /// Look for what is wrong, and say what to do
    Doctor,
    /// What an error code, a function or a topic means
    Explain(ExplainCommand),
    /// Completion for a shell
    Completion(CompletionCommand),
    /// Manual pages
    Man(ManCommand),
    /// Help on a command or a topic
    Help(ExplainCommand),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// What each line is understood as, or the exit code and first line of the error.
    #[test]
    fn lines_are_understood_as_the_golden_file_says() {
        let lines = include_str!("cli/lines.txt");
        let mut said = String::new();
        for line in lines.lines().filter(|it| !it.is_empty()) {
            let words =
                std::iter::once("labctl").chain(line.split_whitespace().map(|it| it.trim_matches('\'')));
            let understood = match Cli::try_parse_from(words) {
                Ok(cli) => format!("{:?}", cli.command),
                Err(error) => {
                    let text = error.to_string();
                    format!("exit {}: {}", error.exit_code(), text.lines().next().unwrap_or_default())
                }
            };
            said = format!("{said}$ labctl {line}\n{understood}\n\n");
        }
        crate::show::job::tests::golden("src/cli/lines.out", &said);
    }
}

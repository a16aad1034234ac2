//! Program `labctl`: command line types become requests, replies become text or JSON. Decides nothing.

mod cli;
mod commands;
mod complete;
mod config;
mod failure;
mod session;
mod show;
mod tree;
mod worker;

use clap::Parser;
use cli::Cli;
use failure::{Exit, Failure};
use show::Screen;
use std::process::ExitCode;

/// Parses the arguments, does what they say, prints errors; the exit codes are those of `labctl help exit-codes`.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(failure::report_panic));
    if std::env::var_os("COMPLETE").is_some() {
        clap_complete::CompleteEnv::with_factory(<Cli as clap::CommandFactory>::command).complete();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    let mut screen = Screen::of_terminal(&cli.global);
    let ended = commands::run(cli, &mut screen);
    let flushed = screen.flush();
    let exit = match ended.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(failure) => {
            screen.complain(&failure);
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

/// The whole command line, for man pages and the reference.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// What most functions give.
type Outcome<T> = Result<T, Failure>;
/// How a command ended.
type Ended = Outcome<Exit>;

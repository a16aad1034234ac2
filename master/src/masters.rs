//! `labmaster masters`: the list of masters, signing it, and the change to new keys.

use crate::{Place, failed};
use clap::{Args, Subcommand};
use master::config::Config;
use master::rotation::{self, RotationError};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of a list.
const LIST_BYTES_MAX: u64 = 64 << 10;
/// Bytes of the running master's answer.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// How long the running master is asked.
const ASK_MAX: Duration = Duration::from_secs(5);
/// What to do with a list that is printed.
const SIGN_IT: &str = "next: sign it where the org key is (labmaster masters sign --org-key org.pem LIST > masters.json), \
                       then here: labctl master masters install masters.json";

#[derive(Args)]
pub(crate) struct MastersCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the list in use, to be edited and signed
    Show(Place),
    /// Make new keys for this master, and print the list that names them beside those in use
    Next(Place),
    /// Print the list in use together with another master's
    Add {
        #[command(flatten)]
        place: Place,
        /// The other master's masters.json
        file: PathBuf,
    },
    /// Print the list without keys of this master that it does not use any more
    Drop(Place),
    /// Sign a list; works on any machine
    Sign {
        /// The organization's private key
        #[arg(long, value_name = "FILE")]
        org_key: PathBuf,
        /// The list; standard input if there is none
        list: Option<PathBuf>,
    },
    /// Use the new keys from the next start on; only once all minions know them
    Switch {
        #[command(flatten)]
        place: Place,
        /// Also if some minions have not said that they know them
        #[arg(long)]
        force: bool,
    },
}

impl MastersCommand {
    pub(crate) fn run(self) -> ExitCode {
        let ended = match self.verb {
            Verb::Show(place) => with(&place, |config| rotation::in_use(config).map(|it| print(&it.1))),
            Verb::Next(place) => with(&place, |config| {
                print(&rotation::next(config)?);
                eprintln!("{SIGN_IT}");
                Ok(())
            }),
            Verb::Add { place, file } => with(&place, |config| {
                print(&rotation::merge(config, &read(Some(&file))?)?);
                eprintln!("{SIGN_IT}");
                Ok(())
            }),
            Verb::Drop(place) => with(&place, |config| {
                print(&rotation::without_previous(config)?);
                eprintln!("{SIGN_IT}");
                Ok(())
            }),
            Verb::Sign { org_key, list } => read(list.as_deref())
                .and_then(|text| rotation::sign(&org_key, &text))
                .map(|signed| println!("{signed}"))
                .map_err(|error| failed(&error)),
            Verb::Switch { place, force } => return switch(&place, force),
        };
        ended.map_or_else(|code| code, |()| ExitCode::SUCCESS)
    }
}

fn with(place: &Place, run: impl FnOnce(&Config) -> Result<(), RotationError>) -> Result<(), ExitCode> {
    run(&place.read()?).map_err(|error| failed(&error))
}

fn print(list: &bus::masters::Masters) {
    println!("{}", serde_json::to_string_pretty(list).unwrap_or_default());
}

fn read(path: Option<&Path>) -> Result<String, RotationError> {
    let mut text = String::new();
    let read = match path.filter(|it| *it != Path::new("-")) {
        None => std::io::stdin().lock().take(LIST_BYTES_MAX).read_to_string(&mut text),
        Some(path) => {
            std::fs::File::open(path).and_then(|it| it.take(LIST_BYTES_MAX).read_to_string(&mut text))
        }
    };
    let name = path.map_or_else(|| "standard input".to_owned(), |it| it.display().to_string());
    read.map_err(|error| RotationError::Wrong(format!("cannot read {name}: {error}")))?;
    Ok(text)
}

fn switch(place: &Place, force: bool) -> ExitCode {
    let config = match place.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match who_is_behind(&config.socket) {
        Ok(Behind { count: 0, .. }) => {}
        Ok(behind) if force => {
            let Behind { count, names, .. } = &behind;
            eprintln!("warning: {count} minions do not know the new keys yet: {names}");
            warn_of_others(&behind);
        }
        Ok(behind) => {
            let Behind { count, names, .. } = &behind;
            eprintln!(
                "error: {count} minions have not said that they know the newest list of masters: {names}"
            );
            if !warn_of_others(&behind) {
                eprintln!(
                    "  help: wait until `labctl master masters` shows none; with --force they look for the list themselves when they meet the new key"
                );
            }
            return ExitCode::FAILURE;
        }
        Err(error) if force => {
            eprintln!("warning: no master answers on `{}`: {error}", config.socket.display());
        }
        Err(error) => {
            eprintln!(
                "error: no master answers on `{}`, so who knows the new keys cannot be asked: {error}",
                config.socket.display()
            );
            eprintln!("  help: start it, or add --force");
            return ExitCode::FAILURE;
        }
    }
    match rotation::switch(&config) {
        Ok(_) => {
            println!(
                "the new keys are in place; those before are in {}",
                config.keys().join("previous").display()
            );
            println!("  1. use them       systemctl restart labmaster");
            println!(
                "  2. drop the old   labmaster masters drop > list.json, sign it, labctl master masters install masters.json"
            );
            println!("  3. destroy them   {}", config.keys().join("previous").display());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// Minions that lack the list in use.
struct Behind {
    count: u64,
    /// Names of some.
    names: String,
    /// Names of some that have another list and will not take this one.
    others: String,
    /// The highest version that any list is known to have.
    newest: u64,
}

/// Says what to do about minions with another list of the same or a later version: they would be lost for good.
fn warn_of_others(behind: &Behind) -> bool {
    let Behind { others, newest, .. } = behind;
    if others.is_empty() {
        return false;
    }
    eprintln!("  {others}: these have another list with version {newest}, and take only a newer one");
    eprintln!(
        "  help: raise `version` of the list above {newest} (labmaster masters show), sign it again and install it; \
         with --force they would be lost"
    );
    true
}

fn who_is_behind(socket: &Path) -> Result<Behind, String> {
    let answer = ask(socket).map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").map(|it| it.1).unwrap_or_default();
    let body: Value = serde_json::from_str(body.trim()).map_err(|_| first_line(&answer))?;
    let view = &body["data"];
    let names = |key: &str| {
        let all = view[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.take(10).collect::<Vec<_>>().join(" ")
    };
    Ok(Behind {
        count: view["behind"].as_u64().ok_or_else(|| first_line(&answer))?,
        names: names("behind_names"),
        others: names("other_names"),
        newest: view["newest"].as_u64().unwrap_or(0),
    })
}

fn first_line(answer: &str) -> String {
    format!("it answers {}", answer.lines().next().unwrap_or("nothing"))
}

fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ASK_MAX))?;
    stream.set_write_timeout(Some(ASK_MAX))?;
    stream.write_all(b"GET /api/v1/masters HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

//! `labctl master masters`: the list of masters that minions trust.

use super::{Desk, unexpected};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::json,
};
use clap::{Args, Subcommand};
use model::{Reply, Request};
use std::{
    fmt::Write,
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of a list of masters.
const LIST_BYTES_MAX: u64 = 64 << 10;
/// Minions that are named.
const NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct MastersCommand {
    #[command(subcommand)]
    verb: Option<MastersVerb>,
}

#[derive(Debug, Subcommand)]
enum MastersVerb {
    /// Put a newer list into use, signed with labmaster masters sign; minions get it at once
    Install {
        /// The signed list; - is standard input
        file: PathBuf,
    },
}

impl MastersCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb {
            None => masters(desk),
            Some(MastersVerb::Install { file }) => {
                let text = read(&file)?;
                desk.order(&Request::InstallMasters { text })
            }
        }
    }
}

fn read(file: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIST_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|it| it.take(LIST_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))?;
    Ok(text)
}

fn masters(desk: &mut Desk<'_>) -> Ended {
    let reply = desk.ask(&Request::Masters)?;
    let Reply::Masters(view) = reply else { return Err(unexpected(&reply)) };
    let mut text = format!("Version {}\n", view.version);
    for master in &view.masters {
        let own = if master.own { "  (this one)" } else { "" };
        let _ = write!(text, "\n{}{own}\n  signs   {}\n  TLS     {}\n", master.name, master.sign, master.tls);
        let _ = write!(text, "  MQTT    {}\n  HTTPS   {}\n", master.mqtt.join(" "), master.https.join(" "));
    }
    let _ = write!(text, "\n{} minions have this version", view.known_by);
    if view.behind > 0 {
        let _ = write!(text, "; {} have not said so: {}", view.behind, named(&view.behind_names));
    }
    if view.other > 0 {
        let _ = write!(
            text,
            "\n{} of these have another list with version {} and take only a newer one: {}\n  \
             raise `version` of the list above {}, sign it again and install it",
            view.other,
            view.newest,
            named(&view.other_names),
            view.newest
        );
    }
    text.push('\n');
    desk.screen.thing("Masters", json::of(&view), &view.version.to_string(), &text)?;
    Ok(Exit::Done)
}

/// Some names, and whether there are more.
fn named(names: &[model::MinionId]) -> String {
    let some: Vec<&str> = names.iter().take(NAMED_MAX).map(model::MinionId::as_str).collect();
    format!("{}{}", some.join(" "), if names.len() > NAMED_MAX { " …" } else { "" })
}

//! `labctl master`: the master itself.

use super::{Desk, masters::MastersCommand, status, unexpected};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::{json, time},
};
use clap::{Args, Subcommand};
use model::{Reply, Request, api::MasterInfo};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
pub(crate) struct MasterCommand {
    #[command(subcommand)]
    verb: Option<MasterVerb>,
}

#[derive(Debug, Subcommand)]
enum MasterVerb {
    /// Fleet at a glance: the same as labctl status
    Status,
    /// The list of masters that minions trust, and which minions have it
    Masters(MastersCommand),
    /// Its certificate, for --cafile of MQTT clients; with -o json its pin, addresses and ports
    Cert,
    /// Write the whole master into a file, while it works: its store, and with --with-keys all that it needs to be
    /// itself (labmaster restore FILE puts it back)
    Backup {
        /// Replaced as a whole when all of it is there; only its owner can read it
        file: PathBuf,
        /// With the keys of the master, as root on its machine: whoever has the file can be the master
        #[arg(long)]
        with_keys: bool,
    },
    /// Delete ended jobs, events and decisions that are older than the limits
    Gc {
        /// Keep this much instead of what is configured
        #[arg(long, value_name = "D", value_parser = time::parse_duration)]
        keep: Option<u64>,
    },
}

impl MasterCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(MasterVerb::Status) {
            MasterVerb::Status => status::run(desk),
            MasterVerb::Backup { file, with_keys } => backup(desk, &file, with_keys),
            MasterVerb::Masters(command) => command.run(desk),
            MasterVerb::Gc { keep } => desk.order(&Request::Gc { keep_ms: keep }),
            MasterVerb::Cert => {
                let info = info(desk)?;
                let pem = format!("{}\n", info.certificate.trim_end());
                desk.screen.thing("Master", json::of(&info), &info.tls_pin, &pem)?;
                Ok(Exit::Done)
            }
        }
    }
}

/// Beside its place first: what is there stays until all of the new one is on disk.
fn backup(desk: &mut Desk<'_>, path: &Path, with_keys: bool) -> Ended {
    let failed = |error: &io::Error| Failure::file("write", path, error);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or_else(|| Failure::usage("name a file"))?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = folder.join(name);
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let mut file = open.map_err(|it| failed(&it))?;
    let mut bytes = 0_u64;
    let mut take = |chunk: &[u8]| {
        bytes += chunk.len() as u64;
        file.write_all(chunk).map_err(|it| failed(&it))
    };
    let wish = serde_json::json!({ "with_keys": with_keys });
    let written = desk.session()?.download("/api/v1/backup", &wish, &mut take).and_then(|()| {
        let settle = || {
            file.sync_all()?;
            fs::rename(&draft, path)?;
            fs::File::open(folder)?.sync_all()
        };
        settle().map_err(|it| failed(&it))
    });
    if let Err(failure) = written {
        let _ = fs::remove_file(&draft);
        return Err(failure);
    }
    let size = crate::show::status::bytes(bytes);
    let keys = if with_keys { "with the keys of the master" } else { "without the keys of the master" };
    let value = serde_json::json!({ "file": path, "bytes": bytes, "keys": with_keys });
    let text = format!("{} ({size}, {keys})\n", path.display());
    desk.screen.thing("Backup", value, &path.display().to_string(), &text)?;
    if !with_keys {
        desk.screen.note(
            "minions believe nobody without the keys: keep a copy of the folder keys, or use --with-keys",
        )?;
    }
    Ok(Exit::Done)
}

/// What to know to connect.
pub(crate) fn info(desk: &mut Desk<'_>) -> Outcome<MasterInfo> {
    match desk.ask(&Request::Master)? {
        Reply::Master(info) => Ok(info),
        other => Err(unexpected(&other)),
    }
}

/// A name or address that clients elsewhere can use, if there is one.
pub(crate) fn address(info: &MasterInfo) -> Result<&str, Failure> {
    let local = |it: &&String| matches!(it.as_str(), "localhost" | "127.0.0.1" | "::1");
    let far = info.addresses.iter().find(|it| !local(it));
    far.or(info.addresses.first())
        .map(String::as_str)
        .ok_or_else(|| Failure::new(Exit::Failed, "the master knows no address of its own"))
}

//! Which options of a mount differ from what is asked for, as far as the kernel shows them.

use super::fstab::Active;
use crate::{Error, Probe, args::Args};
use serde_json::{Map, Value};

/// Options without a value that the kernel always shows.
const FLAGS: [&str; 11] = [
    "ro",
    "noatime",
    "nodiratime",
    "relatime",
    "nosuid",
    "nodev",
    "noexec",
    "sync",
    "dirsync",
    "lazytime",
    "nosymfollow",
];
/// Options with a value that the kernel shows as they are written, once they are set.
const KEYS: [&str; 14] = [
    "size",
    "mode",
    "uid",
    "gid",
    "umask",
    "dmask",
    "fmask",
    "commit",
    "data",
    "errors",
    "nr_inodes",
    "compress",
    "subvol",
    "username",
];

/// What is not to be compared.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    options: Vec<String>,
    keys: Vec<String>,
    translated: Vec<(String, String)>,
}

impl Hidden {
    pub(super) fn parse(args: &Args<'_>, params: &Map<String, Value>, fstype: &str) -> Self {
        let list = |name: &str| args.list(name).unwrap_or_default();
        let split = list("hidden_opts").join(",");
        let mut options = list("extra_mount_invisible_options");
        options.extend(split.split(',').map(str::to_owned));
        let mut keys = list("extra_mount_invisible_keys");
        let ignored = params.get("extra_mount_ignore_fs_keys").and_then(|it| it.get(fstype));
        keys.extend(
            ignored
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
        if fstype == "ramfs" {
            keys.push("size".to_owned());
        }
        let translated = args.map("extra_mount_translate_options").unwrap_or_default();
        Self { options, keys, translated }
    }
}

/// The options that are wanted and that the kernel shows to be otherwise.
pub(super) fn missing(
    host: &dyn Probe,
    wanted: &str,
    active: &Active,
    hidden: &Hidden,
) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for option in wanted.split(',') {
        let translated =
            hidden.translated.iter().find(|it| it.0 == option).map_or(option, |it| it.1.as_str());
        let (key, value) = translated.split_once('=').unwrap_or((translated, ""));
        if hidden.options.iter().any(|it| it == option) || hidden.keys.iter().any(|it| it == key) {
            continue;
        }
        let lacks = if value.is_empty() {
            (FLAGS.contains(&key) && !active.options.iter().any(|it| it == key))
                || (key == "rw" && active.options.iter().any(|it| it == "ro"))
        } else {
            KEYS.contains(&key) && differs(host, key, value, active)?
        };
        if lacks {
            missing.push(option.to_owned());
        }
    }
    Ok(missing)
}

fn differs(host: &dyn Probe, key: &str, value: &str, active: &Active) -> Result<bool, Error> {
    let prefix = format!("{key}=");
    let Some(now) = active.options.iter().find_map(|it| it.strip_prefix(prefix.as_str())) else {
        return Ok(false);
    };
    Ok(match key {
        "uid" => {
            host.uid(value).map_err(Error::host("look up user", value))?.map(|it| it.to_string()).as_deref()
                != Some(now)
        }
        "gid" => {
            host.gid(value).map_err(Error::host("look up group", value))?.map(|it| it.to_string()).as_deref()
                != Some(now)
        }
        "size" => kibibytes(value).is_some_and(|it| kibibytes(now) != Some(it)),
        "mode" | "umask" | "dmask" | "fmask" => value.trim_start_matches('0') != now.trim_start_matches('0'),
        "compress" => now != value && !now.starts_with(&format!("{value}:")),
        "subvol" => now.trim_start_matches('/') != value.trim_start_matches('/'),
        _ => now != value,
    })
}

/// `1g` and `1048576k` are the same; a share of the memory is not compared.
fn kibibytes(text: &str) -> Option<u64> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    match text[end..].to_ascii_lowercase().as_str() {
        "" => Some(number / 1024),
        "k" => Some(number),
        "m" => number.checked_mul(1 << 10),
        "g" => number.checked_mul(1 << 20),
        _ => None,
    }
}

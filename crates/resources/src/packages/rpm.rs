//! What dnf and zypper share: the database of rpm.

use super::{Installed, look};
use crate::host::Command;

/// Name, epoch, version with release, architecture.
pub(super) fn list() -> Command {
    look(&["rpm", "-qa", "--qf", r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"])
}

pub(super) fn parse_list(text: &str) -> Installed {
    let mut found = Installed::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, epoch, version, architecture] = fields[..] else { continue };
        if name == "gpg-pubkey" {
            continue;
        }
        let version = with_epoch(epoch, version);
        found.versions.insert(format!("{name}.{architecture}"), version.clone());
        found.versions.insert(name.to_owned(), version);
    }
    found
}

/// An epoch of 0 is not written.
pub(super) fn with_epoch(epoch: &str, version: &str) -> String {
    if matches!(epoch, "" | "0" | "(none)") { version.to_owned() } else { format!("{epoch}:{version}") }
}

/// Without an epoch of 0, which some programs do write.
pub(super) fn plain(version: &str) -> String {
    version.strip_prefix("0:").unwrap_or(version).to_owned()
}

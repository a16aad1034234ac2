//! Questions about the keys of other hosts.

use super::super::Command;

/// What ssh-keyscan gets on top of its own limit, to tell of it.
const GRACE_MS: u64 = 10_000;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The keys of a host: its name, kind and key on each line.
    Scan {
        /// Name or address.
        host: String,
        /// Where it listens.
        port: u16,
        /// Only of this kind.
        kind: Option<String>,
        /// Seconds that each of its answers may take.
        timeout_s: u64,
    },
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let Self::Scan { host, port, kind, timeout_s } = self;
        let mut argv = ["ssh-keyscan", "-T", &timeout_s.to_string(), "-p", &port.to_string()]
            .map(str::to_owned)
            .to_vec();
        if let Some(kind) = kind {
            argv.extend(["-t".to_owned(), kind.clone()]);
        }
        argv.extend(["--".to_owned(), host.clone()]);
        Command { argv, timeout_ms: timeout_s * 4000 + GRACE_MS, ..Command::default() }
    }
}

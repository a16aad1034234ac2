//! `curl`: a short text from the network, such as a list of digests. The address goes by its standard input.

use crate::host::Command;

/// Longest that it may take.
const TIMEOUT_MS: u64 = 120_000;
/// Longest text, as `curl` takes it.
const BYTES_MAX: &str = "60000";

/// A short text from an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// `https://`, `http://` or `ftp://`.
    pub url: String,
}

impl Fetch {
    pub(super) fn command(&self) -> Command {
        // What begins with https may not be led to something that anybody could have altered.
        let allowed = if self.url.starts_with("https:") { "=https" } else { "=https,http,ftp" };
        let fixed = ["curl", "--silent", "--show-error", "--fail", "--location", "--proto", allowed];
        let limits = ["--max-redirs", "5", "--connect-timeout", "30", "--max-time", "60", "--max-filesize"];
        let rest = [BYTES_MAX, "--config", "-"];
        let argv = fixed.iter().chain(&limits).chain(&rest).map(|it| (*it).to_owned()).collect();
        Command { argv, stdin: Some(curl_url(&self.url)), timeout_ms: TIMEOUT_MS, ..Command::default() }
    }
}

/// An address as curl's configuration takes it.
pub(crate) fn curl_url(url: &str) -> String {
    format!("url = \"{}\"\n", url.replace('\\', "\\\\").replace('"', "\\\""))
}

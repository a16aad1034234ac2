//! Fetches a file from the web with what is on the machine.

use crate::{
    Error, Host,
    host::{Action, Command, Links, query::fetch::curl_url},
};
use std::path::Path;

/// Longest that it may take.
const TIMEOUT_MS: u64 = 600_000;
/// Longest file, for the program that can be told.
const BYTES_MAX: &str = "2147483648";
/// apt's own program, which follows its proxies.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// The file at `address`, at `path`. By `curl` if it is there, else by apt, else by `wget`.
pub(super) fn download(host: &mut dyn Host, address: &str, path: &Path) -> Result<(), Error> {
    let to = path.display().to_string();
    // What begins with https may not be led to something that anybody could have altered.
    let is_safe = address.starts_with("https:");
    let curl = [
        "curl",
        "-fsSL",
        "--proto",
        if is_safe { "=https" } else { "=https,http" },
        "--retry",
        "2",
        "--max-filesize",
        BYTES_MAX,
        "-o",
        &to,
        "--config",
        "-",
    ];
    let mut wget = vec!["wget", "-q", "-O", &to];
    wget.extend(is_safe.then_some(["--https-only", "--max-redirect=0"]).into_iter().flatten());
    wget.extend(["--", address]);
    let ways: [(&str, Vec<&str>); 3] = [
        ("/usr/bin/curl", curl.to_vec()),
        (APT_HELPER, vec![APT_HELPER, "-q", "download-file", address, &to]),
        ("/usr/bin/wget", wget),
    ];
    for (program, argv) in ways {
        let found = host.stat(Path::new(program), Links::Follow).map_err(Error::host("look for", program))?;
        if found.is_some() {
            let argv = argv.into_iter().map(str::to_owned).collect();
            // An address may hold a password: where the program can read it, it is no argument.
            let stdin = Some(curl_url(address)).filter(|_| program.ends_with("curl"));
            let command = Command { argv, stdin, timeout_ms: TIMEOUT_MS, ..Command::default() };
            let done = host.perform(&Action::Run(command)).map_err(Error::host("run", program))?;
            return done.success(&format!("fetch {address}")).map(drop);
        }
    }
    Err(Error::Refused(format!("nothing here can fetch {address}: install `curl` first")))
}

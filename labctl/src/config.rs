//! Which master to talk to: flag before environment before context before the socket on this machine.

use crate::{
    Outcome,
    cli::Global,
    failure::{Exit, Failure, did_you_mean},
};
use bus::Identity;
use model::{ContentHash, Secret};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Where a master on this machine listens.
const SOCKET: &str = "/run/labmaster/api.sock";
/// Port of HTTPS, if a URL names none.
const HTTPS_PORT: u16 = 8443;
/// Bytes of a configuration or token file.
const FILE_MAX: u64 = 256 * 1024;

/// Where a master is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Socket(PathBuf),
    Https(Https),
}

/// A master over the network, and who we are there.
#[derive(Clone, PartialEq)]
pub(crate) struct Https {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) pins: Vec<ContentHash>,
    token: Option<Secret>,
    key: Option<PathBuf>,
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Https({})", self.address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Https(https) => write!(f, "https://{}", https.address),
        }
    }
}

impl Place {
    /// For the header `Host`.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "localhost",
            Self::Https(https) => &https.address,
        }
    }
    /// `name:secret`, if it is a token that says who we are.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Socket(_) => None,
            Self::Https(https) => https.token.as_ref().map(Secret::reveal),
        }
    }
}

impl Https {
    /// The key that says who we are, if there is one.
    pub(crate) fn identity(&self) -> Outcome<Option<Identity>> {
        let Some(path) = &self.key else { return Ok(None) };
        let (folder, name) = folder_and_name(path)?;
        Identity::load(folder, name)
            .map(Some)
            .map_err(|error| Failure::new(Exit::Forbidden, error.to_string()))
    }
}

/// The folder and the name without `.pem`, as identities are stored.
pub(crate) fn folder_and_name(path: &Path) -> Outcome<(&Path, &str)> {
    let name = path.file_stem().and_then(|it| it.to_str());
    match (path.parent(), name) {
        (Some(folder), Some(name)) => Ok((folder, name)),
        _ => Err(Failure::usage(format!("`{}` is no path of a key", path.display()))),
    }
}

/// `config.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The one in use.
    pub(crate) current: Option<String>,
    /// All, by name.
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://host:port` or `unix:///path`.
    pub(crate) url: String,
    /// Hash of its key, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
    /// File that holds `name:secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Operator's key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
}

impl Config {
    /// Reads the file; an absent one is an empty one.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = read_small(path)?;
        let wrong = |error: String| {
            Failure::usage(format!("`{}`: {error}", path.display())).hint("labctl context add writes it")
        };
        let value = yaml(path, &text)?;
        if value.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        let text = crate::show::yaml::of(&crate::show::json::of(self));
        write_private(path, &text)
    }

    /// The context of a name.
    pub(crate) fn get(&self, name: &str) -> Outcome<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            Failure::not_found(format!("there is no context `{name}`"))
                .hint("labctl context list shows them")
                .maybe_hint(did_you_mean(name, self.contexts.keys().map(String::as_str)))
        })
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Outcome<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let failed = |error: std::io::Error| Failure::file("write", path, &error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

/// A small text file.
pub(crate) fn read_small(path: &Path) -> Outcome<String> {
    use std::io::Read;
    let failed = |error: std::io::Error| Failure::file("read", path, &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX {
        return Err(Failure::usage(format!("`{}` is larger than {FILE_MAX} bytes", path.display())));
    }
    Ok(text)
}

fn yaml(path: &Path, text: &str) -> Outcome<serde_json::Value> {
    let read = lang::value_of_yaml(&path.display().to_string(), text);
    read.value.ok_or_else(|| Failure {
        diagnostics: read.diagnostics,
        ..Failure::usage(format!("`{}` cannot be read", path.display()))
    })
}

/// A small file of YAML, or of JSON, which is a part of it.
pub(crate) fn read_yaml(path: &Path) -> Outcome<serde_json::Value> {
    yaml(path, &read_small(path)?)
}

/// Where the contexts are kept.
pub(crate) fn path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| folder().join("config.yaml"))
}

/// `~/.config/labctl`.
pub(crate) fn folder() -> PathBuf {
    let configured = std::env::var_os("XDG_CONFIG_HOME").filter(|it| !it.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".config");
    configured.unwrap_or_else(home).join("labctl")
}

/// Which master is meant.
pub(crate) fn place(global: &Global) -> Outcome<Place> {
    let named = |variable: &str| std::env::var_os(variable).and_then(|it| it.into_string().ok());
    let typed =
        |value: Option<&str>, variable| value.is_some() && value.map(str::to_owned) != named(variable);
    if typed(global.context.as_deref(), "LABCTL_CONTEXT") {
        let config = Config::read(&path(global))?;
        return config.get(global.context.as_deref().unwrap_or_default())?.place(None);
    }
    if let Some(path) = &global.socket
        && !typed(global.master.as_deref(), "LABCTL_MASTER")
    {
        return Ok(Place::Socket(path.clone()));
    }
    if let Some(url) = &global.master {
        let context = Context {
            url: url.clone(),
            pin: std::env::var("LABCTL_MASTER_KEY").ok(),
            token_file: std::env::var_os("LABCTL_TOKEN_FILE").map(PathBuf::from),
            key: std::env::var_os("LABCTL_KEY_FILE").map(PathBuf::from),
        };
        return context.place(std::env::var("LABCTL_TOKEN").ok());
    }
    let config = Config::read(&path(global))?;
    match global.context.as_ref().or(config.current.as_ref()) {
        Some(name) => config.get(name)?.place(None),
        None => Ok(Place::Socket(SOCKET.into())),
    }
}

impl Context {
    /// Where it is; `token` is one that no file holds.
    pub(crate) fn place(&self, token: Option<String>) -> Outcome<Place> {
        if let Some(path) = self.url.strip_prefix("unix://") {
            return Ok(Place::Socket(path.into()));
        }
        let pin = self.pin.as_deref().ok_or_else(|| {
            Failure::usage(format!("no key of the master at {} is known", self.url)).hint(
                "give its pin: `labctl master cert -o json` on the master prints `tls_pin` \
                 (--pin, or LABCTL_MASTER_KEY)",
            )
        })?;
        let pin: ContentHash =
            pin.parse().map_err(|error: model::InvalidId| Failure::usage(format!("the pin: {error}")))?;
        let token = match (token, &self.token_file) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => Some(read_small(path)?.trim().to_owned()),
            (None, None) => None,
        };
        let (address, token) = (address_of(&self.url)?, token.map(Secret::new));
        Ok(Place::Https(Https { address, pins: vec![pin], token, key: self.key.clone() }))
    }
}

/// `host:port` of a URL.
fn address_of(url: &str) -> Outcome<String> {
    let wrong = || Failure::usage(format!("`{url}` is no URL of a master: write https://HOST:{HTTPS_PORT}"));
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
    let bracketed = rest.starts_with('[');
    let good = |it: char| it.is_ascii_alphanumeric() || ".-:[]%_".contains(it);
    if rest.is_empty() || !rest.chars().all(good) {
        return Err(wrong());
    }
    let has_port = if bracketed { rest.contains("]:") } else { rest.contains(':') };
    Ok(if has_port { rest.to_owned() } else { format!("{rest}:{HTTPS_PORT}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_addresses() {
        for (url, address) in [
            ("https://master.lab", "master.lab:8443"),
            ("https://master.lab:443/", "master.lab:443"),
            ("https://[::1]", "[::1]:8443"),
            ("https://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(address_of(url).unwrap(), address);
        }
        for bad in ["http://master.lab", "master.lab", "https://", "https://a b", "https://user@host"] {
            assert!(address_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_master_over_the_network_needs_its_pin() {
        let context = Context { url: "https://m".to_owned(), ..Context::default() };
        assert_eq!(context.place(None).unwrap_err().exit, Exit::Usage);
        let context = Context { pin: Some("ab".repeat(32)), ..context };
        let place = context.place(Some("ci:secret".to_owned())).unwrap();
        assert_eq!(place.token(), Some("ci:secret"));
        assert_eq!(format!("{place:?}"), "Https(Https(m:8443))", "no secret");
    }

    #[test]
    fn contexts_are_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labctl/config.yaml");
        assert_eq!(Config::read(&path).unwrap(), Config::default());
        let context = Context {
            url: "https://m:1".to_owned(),
            pin: Some("ab".repeat(32)),
            token_file: Some("/t".into()),
            key: None,
        };
        let config =
            Config { current: Some("lab".to_owned()), contexts: [("lab".to_owned(), context)].into() };
        config.write(&path).unwrap();
        assert_eq!(Config::read(&path).unwrap(), config);
        assert_eq!(
            Config::read(&path).unwrap().get("lba").unwrap_err().hint,
            Some("did you mean `lab`?".to_owned())
        );
    }
}

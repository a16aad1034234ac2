//! `master.yaml`: typed, unknown keys refused, every mistake reported with its place.

use crate::sources::{Folder, GitTree, Layout, git::is_branch};
use lang::ConfigReader;
use model::{Diagnostic, Severity, Span};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Component, Path, PathBuf};

/// Where the file is, unless the command line says otherwise.
pub const CONFIG_PATH: &str = "/etc/labctl/master.yaml";
/// Variables with this in front override keys.
pub const VARIABLES: &str = "LABMASTER_";
/// Bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// MQTT over TLS.
pub const MQTT_PORT: u16 = 8883;
/// HTTPS.
pub const HTTPS_PORT: u16 = 8443;
/// Beside the store, for results when the disk is full.
const BALLAST_BYTES: u64 = 8 * 1024 * 1024;
/// Files of `master.d/`.
const PARTS_MAX: usize = 100;
const DAY_MS: u64 = 24 * 3600 * 1000;

const KEYS: &[&str] = &[
    "name",
    "listen.mqtt",
    "listen.https",
    "listen.plain",
    "addresses",
    "trees",
    "tree.git",
    "tree.branch",
    "tree.signed_by",
    "tree.path",
    "states",
    "pillar",
    "reactors",
    "environments",
    "nodegroups",
    "pillar_source_merging_strategy",
    "pillar_merge_lists",
    "failhard",
    "probe_commands",
    "roles",
    "hooks",
    "notify",
    "state_dir",
    "socket",
    "keep.age",
    "keep.size",
    "sample_s",
    "heartbeat_s",
    "log",
];

/// How much the log says, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only what an operator must act on.
    Error,
    /// And what is odd.
    Warn,
    /// And what is wanted in a quiet week.
    Info,
    /// Everything.
    Debug,
}

/// A master's configuration, all paths absolute and below `--root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For topics, lists and `masters.json`.
    pub name: String,
    /// Where MQTT over TLS listens.
    pub mqtt: Vec<SocketAddr>,
    /// Where HTTPS listens.
    pub https: Vec<SocketAddr>,
    /// Plain MQTT for observers on loopback.
    pub plain: Option<SocketAddr>,
    /// Host names and addresses that minions are told, each with a port of its own if it has one.
    pub addresses: Vec<Address>,
    /// The trees.
    pub layout: Layout,
    /// The tree in front of them, if it is a branch of a repository.
    pub tree: Option<GitTree>,
    /// Who may do what.
    pub roles: PathBuf,
    /// Who may put events on the bus by a webhook.
    pub hooks: PathBuf,
    /// Who can be told, and other services.
    pub notify: PathBuf,
    /// Store and keys.
    pub state_dir: PathBuf,
    /// The API's Unix socket.
    pub socket: PathBuf,
    /// Age at which ended jobs and events are deleted, in milliseconds.
    pub keep_ms: u64,
    /// Bytes of the store above which the oldest go before their age.
    pub keep_bytes: u64,
    /// Seconds between telemetry samples; 0 is none.
    pub sample_s: u32,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// Whether templates may ask minions for the output of commands: `salt['cmd.run'](…)`.
    pub probe_commands: bool,
    /// Of the log.
    pub level: Level,
    /// Bytes set aside beside the store.
    pub ballast_bytes: u64,
}

/// A host that minions are told, with the MQTT port if that is not the one it listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address, without brackets.
    pub host: String,
    /// Port of MQTT; HTTPS keeps its own.
    pub port: Option<u16>,
}

impl Address {
    /// `host:port`, IPv6 in brackets.
    pub fn with_port(&self, port: u16) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => format!("[{host}]:{port}"),
            Err(_) => format!("{}:{port}", self.host),
        }
    }
}

impl Config {
    /// Reads the file; one that does not exist is an empty one, unless it was named by the user. Then the files
    /// `*.yaml` of the folder beside it that ends in `.d`, in order of name: a key in a later one wins.
    pub fn read(file: &Path, root: &Path, optional: bool) -> Result<Self, Vec<Diagnostic>> {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(vec![unreadable(file, &error)]),
        };
        let mut reader = ConfigReader::new(&file.display().to_string(), &text, KEYS);
        for part in parts(file)? {
            let text = read_text(&part).map_err(|error| vec![unreadable(&part, &error)])?;
            reader.add(&part.display().to_string(), &text);
        }
        Self::from_reader(reader, root, std::env::vars())
    }
    /// From text and variables.
    pub fn parse(
        file: &str,
        text: &str,
        root: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::from_reader(ConfigReader::new(file, text, KEYS), root, variables)
    }
    fn from_reader(
        mut reader: ConfigReader,
        root: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let not_keys = ["LABMASTER_CONFIG", "LABMASTER_ROOT"];
        reader.override_by(
            VARIABLES,
            variables.into_iter().filter(|(name, _)| !not_keys.contains(&name.as_str())),
        );
        let path = |text: &str| path(root, text);
        let layout = Layout::read(&mut reader, path, default_trees(root));
        let tree = git_tree(&mut reader, root);
        let config = Self {
            name: reader.one("name", name).unwrap_or_else(|| "lab".into()),
            mqtt: reader.list("listen.mqtt", |it| listen(it, MQTT_PORT)).unwrap_or_else(|| any(MQTT_PORT)),
            https: reader
                .list("listen.https", |it| listen(it, HTTPS_PORT))
                .unwrap_or_else(|| any(HTTPS_PORT)),
            plain: reader.one("listen.plain", plain).flatten(),
            addresses: reader.list("addresses", address).unwrap_or_default(),
            layout,
            tree,
            roles: reader
                .one("roles", path)
                .unwrap_or_else(|| beneath(root, Path::new("/etc/labctl/roles.yaml"))),
            hooks: reader
                .one("hooks", path)
                .unwrap_or_else(|| beneath(root, Path::new("/etc/labctl/hooks.yaml"))),
            notify: reader
                .one("notify", path)
                .unwrap_or_else(|| beneath(root, Path::new("/etc/labctl/notify.yaml"))),
            state_dir: reader
                .one("state_dir", path)
                .unwrap_or_else(|| beneath(root, Path::new("/var/lib/labctl/master"))),
            socket: reader
                .one("socket", path)
                .unwrap_or_else(|| beneath(root, Path::new("/run/labmaster/api.sock"))),
            keep_ms: reader.one("keep.age", age).unwrap_or(30 * DAY_MS),
            keep_bytes: reader.one("keep.size", size).unwrap_or(1024 * 1024 * 1024),
            sample_s: reader.one("sample_s", |it| seconds(it, 0, 3600)).unwrap_or(10),
            heartbeat_s: reader.one("heartbeat_s", |it| seconds(it, 1, 40)).unwrap_or(30),
            probe_commands: reader.one("probe_commands", yes_or_no).unwrap_or(false),
            level: reader.one("log", level).unwrap_or(Level::Info),
            ballast_bytes: BALLAST_BYTES,
        };
        let diagnostics = reader.finish();
        if diagnostics.iter().any(|it| it.severity == Severity::Error) {
            Err(diagnostics)
        } else {
            Ok(config)
        }
    }
    /// Where commits of the tree are checked out.
    pub fn checkouts(&self) -> PathBuf {
        self.state_dir.join("tree")
    }
    /// Where the keys are.
    pub fn keys(&self) -> PathBuf {
        self.state_dir.join("keys")
    }
    /// Where the signed list of masters is.
    pub fn masters_path(&self) -> PathBuf {
        self.state_dir.join("masters.json")
    }
}

/// A branch that is followed; none unless `tree.git` says so.
fn git_tree(reader: &mut ConfigReader, root: &Path) -> Option<GitTree> {
    let branch = |text: &str| {
        let good = is_branch(text).then(|| text.to_owned());
        good.ok_or_else(|| format!("`{text}` is no name of a branch"))
    };
    let below = |text: &str| {
        let plain = |it: &Component<'_>| matches!(it, Component::CurDir | Component::Normal(_));
        let parts: Vec<Component<'_>> = Path::new(text).components().collect();
        if parts.iter().all(plain) {
            return Ok(parts.into_iter().filter(|it| *it != Component::CurDir).collect::<PathBuf>());
        }
        Err(format!("`{text}` is no path inside of a repository"))
    };
    let repository = reader.one("tree.git", |it| path(root, it));
    let branch = reader.one("tree.branch", branch);
    let signed_by = reader.one("tree.signed_by", |it| path(root, it));
    let inside = reader.one("tree.path", below);
    Some(GitTree {
        repository: repository?,
        branch: branch.unwrap_or_else(|| "main".to_owned()),
        signed_by,
        path: inside.unwrap_or_default(),
    })
}

/// All addresses of this machine, of both kinds unless it has no IPv6.
fn any(port: u16) -> Vec<SocketAddr> {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        Err(_) => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
    }
}

/// `path` as it lies below `root`.
pub fn beneath(root: &Path, path: &Path) -> PathBuf {
    let relative = path.components().filter(|it| matches!(it, Component::Normal(_)));
    root.components().chain(relative).collect()
}

/// Own trees first, shipped ones behind them.
fn default_trees(root: &Path) -> Vec<Folder> {
    let tree = |it| Folder::native(beneath(root, Path::new(it)));
    ["/srv/labctl", "/usr/share/labctl"].into_iter().map(tree).collect()
}

/// The files of `master.d/` beside `master.yaml`, in order.
fn parts(file: &Path) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
    let folder = file.with_extension("d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(vec![unreadable(&folder, &error)]),
    };
    let mut parts: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    parts.retain(|it| it.extension().is_some_and(|it| it == "yaml"));
    parts.sort();
    if parts.len() > PARTS_MAX {
        let error = std::io::Error::other(format!("it holds more than {PARTS_MAX} files"));
        return Err(vec![unreadable(&folder, &error)]);
    }
    Ok(parts)
}

fn read_text(file: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Diagnostic {
    let file = file.display().to_string();
    let message = format!("cannot read `{file}`: {error}");
    let span = Span { file, line: 1, column: 1, length: 1, text: String::new(), label: String::new() };
    Diagnostic {
        severity: Severity::Error,
        code: "E0703".into(),
        message,
        spans: vec![span],
        notes: Vec::new(),
        help: Some("labmaster init makes one".into()),
    }
}

fn path(root: &Path, text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain {
        Ok(beneath(root, path))
    } else {
        Err(format!("`{text}` is not an absolute path without `..`"))
    }
}

fn name(text: &str) -> Result<String, String> {
    let good = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    if (1..=63).contains(&text.len()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a name: 1 to 63 of a-z, 0-9 and `-`"))
    }
}

fn listen(text: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    if let Some(port) = text.strip_prefix("*:").or(text.strip_prefix(':')).and_then(|it| it.parse().ok()) {
        return any(port).into_iter().next().ok_or_else(String::new);
    }
    Err(format!(
        "`{text}` is not an address to listen on: write `0.0.0.0:{port}`, `[::]:{port}` or `10.0.0.1`"
    ))
}

/// Loopback only: a plain listener on the network would carry passwords.
fn plain(text: &str) -> Result<Option<SocketAddr>, String> {
    if matches!(text, "off" | "false" | "no") {
        return Ok(None);
    }
    let address = match text.parse::<u16>() {
        Ok(port) => (Ipv4Addr::LOCALHOST, port).into(),
        Err(_) => listen(text, 1883)?,
    };
    if address.ip().is_loopback() {
        Ok(Some(address))
    } else {
        Err(format!(
            "plain MQTT on `{text}` would carry passwords in clear: use 127.0.0.1, or TLS on {MQTT_PORT}"
        ))
    }
}

/// `name`, `10.0.0.1`, `fd00::1`, `[fd00::1]:8883` or `name:8883`.
pub fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("`{text}` is not `host` or `host:port`");
    if text.parse::<IpAddr>().is_ok() {
        return Ok(Address { host: text.to_owned(), port: None });
    }
    let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (host, rest.strip_prefix(':').filter(|it| !it.is_empty()))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let good = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | ':' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(good) {
        return Err(wrong());
    }
    let port = port.map(|it| it.parse::<u16>().ok().filter(|it| *it > 0).ok_or_else(wrong)).transpose()?;
    Ok(Address { host: host.to_owned(), port })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

fn age(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an age: write `30d` or `12h`; at least 1h");
    let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?);
    let factor = match unit {
        "h" => 3600 * 1000,
        "d" => DAY_MS,
        "w" => 7 * DAY_MS,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().filter(|it| *it > 0).and_then(|it| it.checked_mul(factor)).ok_or_else(wrong)
}

fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: write `1GiB` or `500MiB`; at least 16MiB");
    let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?);
    let factor: u64 = match unit.trim() {
        "MiB" | "M" | "MB" => 1024 * 1024,
        "GiB" | "G" | "GB" => 1024 * 1024 * 1024,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|it| it.checked_mul(factor));
    bytes.filter(|it| *it >= 16 * 1024 * 1024).ok_or_else(wrong)
}

fn seconds(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let seconds = text.parse().ok().filter(|it| (least..=most).contains(it));
    seconds.ok_or_else(|| format!("`{text}` is not a number of seconds from {least} to {most}"))
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        _ => Err(format!("`{text}` is not a level: error, warn, info or debug")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let complaints = |it: Vec<Diagnostic>| {
            let told =
                |it: &Diagnostic| format!("{}:{} {}", it.spans[0].line, it.spans[0].column, it.message);
            it.iter().map(told).collect()
        };
        Config::parse("master.yaml", text, Path::new("/"), []).map_err(complaints)
    }

    #[test]
    fn an_empty_file_has_good_defaults() {
        let config = read("").unwrap();
        assert!(config.mqtt[0].ip().is_unspecified() && config.mqtt[0].port() == 8883);
        assert!(config.https[0].ip().is_unspecified() && config.https[0].port() == 8443);
        assert_eq!(config.plain, None);
        assert_eq!(config.keep_ms, 30 * DAY_MS);
        let native = |it: &[&str]| it.iter().map(|it| Folder::native(*it)).collect::<Vec<_>>();
        assert_eq!(config.layout.states, native(&["/srv/labctl/states", "/usr/share/labctl/states"]));
        assert_eq!(config.state_dir, Path::new("/var/lib/labctl/master"));
    }

    #[test]
    fn everything_can_be_said() {
        let text = "name: home\nlisten:\n  mqtt: ['[::1]:0', 10.0.0.1]\n  https: '*:443'\n  plain: 1883\n\
                    addresses: [master.lab, '[fd00::1]:9000', fd00::2]\ntrees: [/a, /b]\npillar: /secret\n\
                    state_dir: /x\nsocket: /y.sock\nkeep: {age: 2w, size: 2GiB}\nsample_s: 0\nheartbeat_s: 5\nlog: debug\n";
        let config = read(text).unwrap();
        assert_eq!(config.mqtt, ["[::1]:0".parse().unwrap(), "10.0.0.1:8883".parse().unwrap()]);
        assert_eq!(config.https, any(443));
        assert_eq!(config.plain, Some("127.0.0.1:1883".parse().unwrap()));
        assert_eq!(config.addresses[1], Address { host: "fd00::1".into(), port: Some(9000) });
        assert_eq!(config.addresses[2].with_port(8883), "[fd00::2]:8883");
        assert_eq!(config.layout.states, ["/a/states", "/b/states"].map(Folder::native));
        assert_eq!(config.layout.pillar, [Folder::native("/secret")]);
        assert_eq!((config.keep_ms, config.keep_bytes), (14 * DAY_MS, 2 << 30));
        assert_eq!((config.sample_s, config.heartbeat_s, config.level), (0, 5, Level::Debug));
    }

    #[test]
    fn mistakes_are_told_all_at_once_with_their_places() {
        let text = "nmae: x\nname: A B\nlisten:\n  mqtt: here\n  plain: 0.0.0.0:1883\naddresses: ['a b']\n\
                    trees: [relative, /a/../b]\nkeep: {age: 30, size: 1KB}\nheartbeat_s: 900\nlog: loud\n";
        assert_eq!(
            read(text).unwrap_err(),
            [
                "1:1 unknown key `nmae`",
                "2:7 `A B` is not a name: 1 to 63 of a-z, 0-9 and `-`",
                "4:9 `here` is not an address to listen on: write `0.0.0.0:8883`, `[::]:8883` or `10.0.0.1`",
                "5:10 plain MQTT on `0.0.0.0:1883` would carry passwords in clear: use 127.0.0.1, or TLS on 8883",
                "6:13 `a b` is not `host` or `host:port`",
                "7:9 `relative` is not an absolute path without `..`",
                "7:19 `/a/../b` is not an absolute path without `..`",
                "8:13 `30` is not an age: write `30d` or `12h`; at least 1h",
                "8:23 `1KB` is not a size: write `1GiB` or `500MiB`; at least 16MiB",
                "9:14 `900` is not a number of seconds from 1 to 40",
                "10:6 `loud` is not a level: error, warn, info or debug",
            ]
        );
    }

    #[test]
    fn a_root_is_put_in_front_of_all_paths() {
        let config = Config::parse("m", "trees: [/t]\n", Path::new("/tmp/r"), []).unwrap();
        assert_eq!(config.layout.states, [Folder::native("/tmp/r/t/states")]);
        assert_eq!(config.socket, Path::new("/tmp/r/run/labmaster/api.sock"));
    }

    #[test]
    fn parts_beside_the_file_win_key_by_key_in_order_of_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.yaml");
        std::fs::write(&file, "name: home\ntrees: [/a]\n").unwrap();
        std::fs::create_dir(dir.path().join("master.d")).unwrap();
        std::fs::write(dir.path().join("master.d/20.yaml"), "trees: [{path: /b, salt: true}]\n").unwrap();
        std::fs::write(dir.path().join("master.d/10.yaml"), "trees: [/c]\n").unwrap();
        std::fs::write(dir.path().join("master.d/README"), "no: part\n").unwrap();
        let config = Config::read(&file, Path::new("/"), false).unwrap();
        assert_eq!(config.name, "home");
        assert_eq!(config.layout.states, [Folder::salt("/b/states")]);
        std::fs::write(dir.path().join("master.d/30.yaml"), "tree: /d\n").unwrap();
        let told = Config::read(&file, Path::new("/"), false).unwrap_err();
        assert!(told[0].spans[0].file.ends_with("master.d/30.yaml"), "{told:?}");
    }

    #[test]
    fn variables_override_the_file() {
        let variables = [("LABMASTER_KEEP__AGE".to_owned(), "1d".to_owned())];
        let config = Config::parse("m", "keep: {age: 9d}\n", Path::new("/"), variables).unwrap();
        assert_eq!(config.keep_ms, DAY_MS);
        let variables = [("LABMASTER_KEPE__AGE".to_owned(), "1d".to_owned())];
        assert!(Config::parse("m", "", Path::new("/"), variables).is_err());
        let variables = [("LABMASTER_CONFIG".to_owned(), "/x".to_owned())];
        assert!(Config::parse("m", "", Path::new("/"), variables).is_ok(), "not a key");
    }
}

//! `labmaster init`: folders, keys, `masters.json`, the example tree.

pub mod push;

use crate::config::{Address, Config, HTTPS_PORT, MQTT_PORT, beneath};
use bus::keys::KeyError;
use bus::masters::{MasterEntry, Masters, MastersError};
use bus::tls::MasterCertificate;
use bus::{Identity, PublicKey};
use model::Diagnostic;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is written beside the keys: path below the root, and text.
const EXAMPLE: &[(&str, &str)] = &[
    ("srv/labctl/states/top.sls", include_str!("init/top.sls")),
    ("srv/labctl/states/hello/init.sls", include_str!("init/hello.sls")),
    ("srv/labctl/pillar/top.sls", include_str!("init/pillar_top.sls")),
    ("srv/labctl/pillar/hello.sls", include_str!("init/pillar_hello.sls")),
    ("srv/labctl/reactors/new-machines.yaml", include_str!("init/new_machines.yaml")),
];
const CONFIG: &str = include_str!("init/master.yaml");

/// What `labmaster init` was asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The configuration file.
    pub config: PathBuf,
    /// In front of all paths.
    pub root: PathBuf,
    /// The master's name.
    pub name: Option<String>,
    /// Host names and addresses that minions are told.
    pub addresses: Vec<Address>,
    /// A repository to make and to follow.
    pub git: Option<PathBuf>,
    /// Whether the example tree is wanted.
    pub example: bool,
}

/// Why something could not be set up or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The file system.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A key.
    #[error("a key of the master cannot be used")]
    Key(#[from] KeyError),
    /// The list of masters.
    #[error("the list of masters `{path}` cannot be used")]
    Masters {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: MastersError,
    },
    /// Nothing is there yet.
    #[error("there are no keys in `{path}`: run `labmaster init` first")]
    Nothing {
        /// Where they should be.
        path: PathBuf,
    },
    /// Somebody's text where the public key should be.
    #[error("`{path}` does not hold the organization's public key")]
    Org {
        /// Which.
        path: PathBuf,
    },
    /// A repository that operators push to.
    #[error("the repository `{path}` cannot be made: {says}")]
    Repository {
        /// Where.
        path: PathBuf,
        /// Why not.
        says: String,
    },
    /// The configuration is bad.
    #[error("the configuration is bad")]
    Config(Vec<Diagnostic>),
}

/// A master's keys.
pub struct KeyRing {
    /// Signs what goes to minions.
    pub signer: Arc<Identity>,
    /// Signs enrolment tokens.
    pub issuer: Identity,
    /// For TLS.
    pub certificate: MasterCertificate,
    /// The organization's public key.
    pub org: PublicKey,
}

impl KeyRing {
    /// Loads what `labmaster init` made.
    pub fn load(config: &Config) -> Result<Self, SetUpError> {
        let keys = config.keys();
        if !keys.join("org.pub").exists() || !keys.join("master.pem").exists() {
            return Err(SetUpError::Nothing { path: keys });
        }
        Self::open(config)
    }
    fn open(config: &Config) -> Result<Self, SetUpError> {
        let keys = config.keys();
        let path = keys.join("org.pub");
        let text = std::fs::read_to_string(&path).map_err(io_error("read", &path))?;
        let org = PublicKey::from_text(text.trim()).ok_or(SetUpError::Org { path })?;
        let signer = Arc::new(Identity::load_or_create(&keys, "master")?);
        let issuer = Identity::load_or_create(&keys, "issuer")?;
        let names: Vec<String> = advertised(config).into_iter().map(|it| it.host).collect();
        let certificate = MasterCertificate::load_or_create(&keys, &names)?;
        Ok(Self { signer, issuer, certificate, org })
    }
    /// The signed list of masters; a new edition if addresses or keys changed and the org key is here.
    pub fn masters(&self, config: &Config, mqtt: u16, https: u16) -> Result<String, SetUpError> {
        let path = config.masters_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let open = |text: &str| {
            Masters::open(text, &self.org)
                .map_err(|source| SetUpError::Masters { path: path.clone(), source })
        };
        let known = text.as_deref().map(open).transpose()?;
        let wanted = self.entry(config, mqtt, https);
        let others = known.iter().flat_map(|it| &it.masters).filter(|it| it.sign != wanted.sign);
        let masters: Vec<MasterEntry> = std::iter::once(wanted.clone()).chain(others.cloned()).collect();
        if let (Some(text), Some(known)) = (text, &known)
            && same_entries(&known.masters, &masters)
        {
            return Ok(text);
        }
        let version = known.map_or(0, |it| it.version) + 1;
        sign(config, &path, &Masters { version, masters })
    }
    fn entry(&self, config: &Config, mqtt: u16, https: u16) -> MasterEntry {
        let hosts = advertised(config);
        let mqtt = hosts.iter().map(|it| it.with_port(it.port.unwrap_or(mqtt))).collect();
        let https = hosts.iter().map(|it| it.with_port(https)).collect();
        let (sign, tls) = (self.signer.public().to_text(), self.certificate.pin());
        MasterEntry { name: config.name.clone(), sign, tls, mqtt, https }
    }
}

/// With the org key, if it is here; else the old edition stays.
fn sign(config: &Config, path: &Path, list: &Masters) -> Result<String, SetUpError> {
    let keys = config.keys();
    if !keys.join("org.pem").exists() {
        if let Ok(text) = std::fs::read_to_string(path) {
            tracing::warn!(
                "the addresses or keys of this master changed, and the org key that signs masters.json is not here: \
                 put org.pem back into {} and start again, so that minions learn it",
                keys.display()
            );
            return Ok(text);
        }
        return Err(SetUpError::Nothing { path: keys.join("org.pem") });
    }
    let text = list.sign(&Identity::load(&keys, "org")?);
    write_whole(path, text.as_bytes()).map_err(io_error("write", path))?;
    Ok(text)
}

fn same_entries(one: &[MasterEntry], other: &[MasterEntry]) -> bool {
    one.len() == other.len() && other.iter().all(|it| one.contains(it))
}

/// Sets a machine up as a master; a sentence for each thing that was made, none if all was there.
pub fn init(wish: &Wish) -> Result<Vec<String>, SetUpError> {
    let mut done = Vec::new();
    if !wish.config.exists() {
        let text = config_text(wish);
        make_folder(wish.config.parent(), 0o755)?;
        write_new(&wish.config, text.as_bytes(), 0o644).map_err(io_error("write", &wish.config))?;
        done.push(format!("created {}", wish.config.display()));
    }
    if let Some(repository) = &wish.git {
        push::set_up(wish, repository, &mut done)?;
    }
    let config = Config::read(&wish.config, &wish.root, false).map_err(SetUpError::Config)?;
    let keys = config.keys();
    make_folder(Some(&config.state_dir), 0o700)?;
    make_folder(Some(&keys), 0o700)?;
    let public = keys.join("org.pub");
    if !public.exists() {
        let org = Identity::load_or_create(&keys, "org")?;
        let text = format!("{}\n", org.public().to_text());
        write_whole(&public, text.as_bytes()).map_err(io_error("write", &public))?;
        done.push(format!("created the keys in {}", keys.display()));
        done.push(format!("org key: {}   move it off this machine", keys.join("org.pem").display()));
    }
    let ring = KeyRing::open(&config)?;
    let port =
        |all: &[SocketAddr], usual| all.first().map(SocketAddr::port).filter(|it| *it > 0).unwrap_or(usual);
    let list = config.state_dir.join("masters.json");
    let before = std::fs::read(&list).ok();
    let fixed = config.mqtt.iter().chain(&config.https).all(|it| it.port() > 0);
    if before.is_none() || fixed {
        ring.masters(&config, port(&config.mqtt, MQTT_PORT), port(&config.https, HTTPS_PORT))?;
    }
    if std::fs::read(&list).ok() != before {
        done.push(format!("created {}", list.display()));
    }
    if wish.example {
        example(&wish.root, &mut done)?;
    }
    Ok(done)
}

fn example(root: &Path, done: &mut Vec<String>) -> Result<(), SetUpError> {
    let trees = beneath(root, Path::new("/srv/labctl"));
    let holds_files =
        |kind: &str| std::fs::read_dir(trees.join(kind)).is_ok_and(|mut it| it.next().is_some());
    if ["states", "pillar", "reactors"].into_iter().any(holds_files) {
        return Ok(());
    }
    for (path, text) in EXAMPLE {
        let path = beneath(root, Path::new(path));
        make_folder(path.parent(), 0o755)?;
        write_new(&path, text.as_bytes(), 0o644).map_err(io_error("write", &path))?;
    }
    done.push(format!("created {}/{{states,pillar,reactors}} with an example", trees.display()));
    Ok(())
}

fn config_text(wish: &Wish) -> String {
    let name = wish.name.as_deref().unwrap_or("lab");
    let list = |it: &Address| match it.port {
        Some(port) => format!("  - '{}'\n", it.with_port(port)),
        None => format!("  - '{}'\n", it.host),
    };
    let addresses: String = if wish.addresses.is_empty() {
        guessed().iter().map(list).collect()
    } else {
        wish.addresses.iter().map(list).collect()
    };
    CONFIG.replace("@NAME@", name).replace("@ADDRESSES@\n", &addresses)
}

/// Host names and addresses that minions are told.
pub fn advertised(config: &Config) -> Vec<Address> {
    if !config.addresses.is_empty() {
        return config.addresses.clone();
    }
    let fixed = config.mqtt.iter().map(SocketAddr::ip).collect::<Vec<IpAddr>>();
    if fixed.is_empty() || fixed.iter().any(IpAddr::is_unspecified) {
        return guessed();
    }
    fixed.into_iter().map(|it| Address { host: it.to_string(), port: None }).collect()
}

/// The address that packets to elsewhere leave from, and the host name.
fn guessed() -> Vec<Address> {
    let from = |here: &str, elsewhere: &str| {
        let socket = UdpSocket::bind(here).ok()?;
        socket.connect(elsewhere).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then(|| ip.to_string())
    };
    // Nothing is sent: connecting a datagram socket only asks for the route.
    let routes = [from("0.0.0.0:0", "192.0.2.1:9"), from("[::]:0", "[2001:db8::1]:9")];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|it| it.trim().to_lowercase());
    let host = host.filter(|it| !it.is_empty() && it != "localhost" && it != "(none)");
    let mut hosts: Vec<String> = routes.into_iter().flatten().chain(host).collect();
    if hosts.is_empty() {
        hosts.push("127.0.0.1".into());
    }
    hosts.into_iter().map(|host| Address { host, port: None }).collect()
}

pub(crate) fn make_folder(path: Option<&Path>, mode: u32) -> Result<(), SetUpError> {
    let Some(path) = path else { return Ok(()) };
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io_error("make", parent))?;
    }
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io_error("make", path))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// All or nothing, also when the power fails.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetUpError {
    let path = path.to_owned();
    move |source| SetUpError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn wish(root: &Path) -> Wish {
        Wish {
            config: root.join("etc/labctl/master.yaml"),
            root: root.to_owned(),
            name: Some("home".into()),
            addresses: vec![crate::config::address("127.0.0.1").unwrap()],
            git: None,
            example: true,
        }
    }

    #[test]
    fn the_second_time_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let done = init(&wish(root.path())).unwrap();
        assert!(done.iter().any(|it| it.contains("move it off this machine")), "{done:?}");
        let config = Config::read(&root.path().join("etc/labctl/master.yaml"), root.path(), false).unwrap();
        assert_eq!(config.name, "home");
        let keys = config.keys();
        assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
        let ring = KeyRing::load(&config).unwrap();
        let list = std::fs::read_to_string(config.state_dir.join("masters.json")).unwrap();
        let masters = Masters::open(&list, &ring.org).unwrap();
        assert_eq!(masters.masters[0].mqtt, ["127.0.0.1:8883"]);
        assert_eq!(masters.masters[0].sign, ring.signer.public().to_text());
        assert_eq!(init(&wish(root.path())).unwrap(), [] as [String; 0]);
    }

    #[test]
    fn own_trees_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let states = root.path().join("srv/labctl/states");
        std::fs::create_dir_all(&states).unwrap();
        std::fs::write(states.join("mine.sls"), "").unwrap();
        init(&wish(root.path())).unwrap();
        assert!(!states.join("hello").exists());
    }

    #[test]
    fn a_new_port_is_a_new_edition_signed_by_the_org_key_and_without_that_the_old_one_stays() {
        let root = tempfile::tempdir().unwrap();
        init(&wish(root.path())).unwrap();
        let config = Config::read(&root.path().join("etc/labctl/master.yaml"), root.path(), false).unwrap();
        let ring = KeyRing::load(&config).unwrap();
        let open = |text: &str| Masters::open(text, &ring.org).unwrap();
        let moved = open(&ring.masters(&config, 1, 2).unwrap());
        assert_eq!((moved.version, moved.masters[0].mqtt[0].as_str()), (2, "127.0.0.1:1"));
        assert_eq!(open(&ring.masters(&config, 1, 2).unwrap()).version, 2, "nothing new");
        std::fs::remove_file(config.keys().join("org.pem")).unwrap();
        assert_eq!(open(&ring.masters(&config, 3, 4).unwrap()).version, 2);
    }

    #[test]
    fn a_machine_that_is_not_set_up_is_told_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let config = Config::parse("m", "", root.path(), []).unwrap();
        let Err(error) = KeyRing::load(&config) else { panic!() };
        assert!(error.to_string().contains("labmaster init"));
    }

    #[test]
    fn the_example_compiles_without_a_complaint() {
        let root = tempfile::tempdir().unwrap();
        init(&wish(root.path())).unwrap();
        let config = Config::read(&root.path().join("etc/labctl/master.yaml"), root.path(), false).unwrap();
        let reading = crate::sources::Sources::new(config.layout).read().unwrap();
        assert_eq!(reading.errors, []);
        assert_eq!(reading.generation.rules.as_ref().unwrap().iter().count(), 1);
    }
}

//! Grains: what a machine is, under Salt's names. From sysinfo, /etc/os-release, `grains.toml` and programs in a folder;
//! never from network mounts.

mod custom;
mod hardware;
mod network;
mod os;

use model::{ContentHash, Grains, MinionId};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest grains as JSON; beyond, custom ones are left out.
pub const GRAINS_MAX: usize = 64 << 10;

/// Deepest nesting of a grain; an envelope takes a few more levels.
const DEPTH_MAX: usize = 6;

/// Where grains come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Name of this minion.
    pub id: MinionId,
    /// Root of the machine that is described: `/`, or a sandbox.
    pub root: PathBuf,
    /// Fixed grains, TOML.
    pub file: PathBuf,
    /// Programs that print a JSON object or `key=value` lines.
    pub programs: PathBuf,
    /// Whether the machine is a sandbox.
    pub sandbox: bool,
}

/// Collects everything; takes as long as the programs in the folder, each at most 5 s. Complaints are for the log.
pub fn collect(sources: &Sources) -> (Grains, Vec<String>) {
    let mut complaints = Vec::new();
    let mut grains = BTreeMap::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && (value != "" || name == "domain") {
            grains.insert(name.to_owned(), value);
        }
    };
    os::collect(sources, &mut put);
    hardware::collect(&mut put);
    network::collect(&sources.root, &mut put);
    grains.insert("sandbox".to_owned(), Value::Bool(sources.sandbox));
    let mut custom = custom::from_file(&sources.file, &mut complaints);
    custom.extend(custom::from_programs(&sources.programs, &mut complaints));
    for (name, value) in custom {
        let taken = ["id", "machine_id", "sandbox"].contains(&name.as_str());
        let size: usize = grains.iter().map(|(name, value)| name.len() + value.to_string().len() + 4).sum();
        if depth(&value) > DEPTH_MAX {
            complaints.push(format!("grain `{name}` was left out: it is nested more than {DEPTH_MAX} deep"));
        } else if taken || size + name.len() + value.to_string().len() > GRAINS_MAX - 16 {
            complaints.push(format!("grain `{name}` was left out: the name is taken or it is too large"));
        } else {
            grains.insert(name, value);
        }
    }
    (grains.into_iter().collect(), complaints)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Hash of grains, so that they travel only when they changed.
pub fn hash(grains: &Grains) -> ContentHash {
    let sorted: BTreeMap<&String, &Value> = grains.iter().collect();
    let text = serde_json::to_string(&sorted).unwrap_or_default();
    ContentHash(Sha256::digest(text.as_bytes()).into())
}

/// SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256_text(text: &str) -> String {
    ContentHash(Sha256::digest(text.as_bytes()).into()).to_string()
}

/// A few things for an enrolment request, each at most 128 characters.
pub fn claims(grains: &Grains, root: &Path) -> model::Labels {
    let mut claims = model::Labels::new();
    let mut claim = |name: &str, value: String| {
        let value: String = value.chars().filter(|it| !it.is_control()).take(128).collect();
        if !value.is_empty() {
            claims.insert(name.to_owned(), value);
        }
    };
    let text = |name: &str| grains.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    claim("os", format!("{}-{}", text("os").to_lowercase(), text("osrelease")));
    claim("machine_id", text("machine_id"));
    let uuid = std::fs::read_to_string(root.join("sys/class/dmi/id/product_uuid")).unwrap_or_default();
    claim("product_uuid", uuid.trim().to_lowercase());
    let mac = grains.get("hwaddr_interfaces").and_then(Value::as_object);
    let mac = mac.and_then(|all| all.iter().find(|(name, _)| *name != "lo"));
    claim("mac", mac.and_then(|(_, it)| it.as_str()).unwrap_or_default().to_owned());
    claims
}

/// Grains of a machine that is only imagined: for swarms and simulations.
pub fn imagined(id: &MinionId) -> Grains {
    let mut grains = Map::new();
    for (name, value) in [
        ("cpuarch", json!(std::env::consts::ARCH)),
        ("host", json!(id.as_str())),
        ("id", json!(id.as_str())),
        ("kernel", json!("Linux")),
        ("os", json!("Debian")),
        ("os_family", json!("Debian")),
        ("sandbox", json!(true)),
    ] {
        grains.insert(name.to_owned(), value);
    }
    grains
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sources(dir: &Path) -> Sources {
        Sources {
            id: "vm-1".parse().unwrap(),
            root: dir.to_owned(),
            file: dir.join("grains.toml"),
            programs: dir.join("grains.d"),
            sandbox: false,
        }
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn os_release_becomes_salts_names() {
        for (text, want) in [
            (
                "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n",
                json!({"os": "Debian", "os_family": "Debian", "osrelease": "12", "osmajorrelease": 12, "oscodename": "bookworm", "osfullname": "Debian GNU/Linux", "osfinger": "Debian-12", "osrelease_info": [12], "lsb_distrib_codename": "bookworm"}),
            ),
            (
                "NAME='Alpine Linux'\nID=alpine\nVERSION_ID=3.22.1\n",
                json!({"os": "Alpine", "os_family": "Alpine", "osrelease": "3.22.1", "osmajorrelease": 3}),
            ),
            (
                "NAME=\"Rocky Linux\"\nID=rocky\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.4\n",
                json!({"os": "Rocky", "os_family": "RedHat", "osmajorrelease": 9, "osfinger": "Rocky Linux-9", "osrelease_info": [9, 4]}),
            ),
            (
                "NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\nVERSION_CODENAME=noble\n",
                json!({"os": "Ubuntu", "os_family": "Debian", "osmajorrelease": 24, "osfinger": "Ubuntu-24.04"}),
            ),
            (
                "NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n",
                json!({"os": "Arch", "os_family": "Arch", "osrelease": "rolling", "oscodename": "rolling"}),
            ),
            (
                "NAME=\"Red Hat Enterprise Linux\"\nID=rhel\nID_LIKE=fedora\nVERSION_ID=9.4\n",
                json!({"os": "RedHat", "os_family": "RedHat", "osfinger": "Red Hat Enterprise Linux-9"}),
            ),
            (
                "NAME=\"openSUSE Leap\"\nID=opensuse-leap\nID_LIKE=\"suse opensuse\"\nVERSION_ID=15.6\n",
                json!({"os": "SUSE", "os_family": "Suse", "osfullname": "Leap", "osfinger": "Leap-15"}),
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(&dir.path().join("etc/os-release"), text, 0o644);
            let (grains, complaints) = collect(&sources(dir.path()));
            assert!(complaints.is_empty(), "{complaints:?}");
            for (name, value) in want.as_object().unwrap() {
                assert_eq!(grains.get(name), Some(value), "{name} of {text}");
            }
            assert_eq!(grains["id"], json!("vm-1"));
        }
    }

    #[test]
    fn fixed_grains_and_programs_add_to_what_is_found_and_cannot_take_the_id() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("grains.toml"), "role = \"web\"\nid = \"other\"\n[rack]\nrow = 3\n", 0o644);
        write(&dir.path().join("grains.d/a"), "#!/bin/sh\necho '{\"disks\": [1, 2]}'\n", 0o755);
        write(&dir.path().join("grains.d/b"), "#!/bin/sh\necho site=home\n", 0o755);
        write(&dir.path().join("grains.d/b2"), "#!/bin/sh\necho '{\"deep\": [[[[[[[1]]]]]]]}'\n", 0o755);
        write(&dir.path().join("grains.d/c"), "not a program", 0o644);
        write(&dir.path().join("grains.d/d"), "#!/bin/sh\nexit 3\n", 0o755);
        let (grains, complaints) = collect(&sources(dir.path()));
        assert_eq!(grains["role"], json!("web"));
        assert_eq!(grains["rack"], json!({"row": 3}));
        assert_eq!(grains["disks"], json!([1, 2]));
        assert_eq!(grains["site"], json!("home"));
        assert_eq!(grains["id"], json!("vm-1"));
        assert!(!grains.contains_key("deep"));
        assert_eq!(complaints.len(), 3, "{complaints:?}");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("grains.d/slow"), "#!/bin/sh\nexec sleep 60\n", 0o755);
        let mut complaints = Vec::new();
        let limit = std::time::Duration::from_millis(200);
        let found = custom::run_program(&dir.path().join("grains.d/slow"), limit, &mut complaints);
        assert!(found.is_empty());
        assert!(complaints[0].contains("longer than"), "{complaints:?}");
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order() {
        let (mut one, mut two) = (Grains::new(), Grains::new());
        one.insert("a".to_owned(), json!(1));
        one.insert("b".to_owned(), json!(2));
        two.insert("b".to_owned(), json!(2));
        two.insert("a".to_owned(), json!(1));
        assert_eq!(hash(&one), hash(&two));
        two.insert("a".to_owned(), json!(3));
        assert_ne!(hash(&one), hash(&two));
    }
}

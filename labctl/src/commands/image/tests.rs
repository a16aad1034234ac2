//! Installing into roots made for the purpose: good ones, used ones, and ones that would like to be elsewhere.

use super::*;
use std::os::unix::fs::{MetadataExt, symlink};

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in ["root/etc", "root/usr/bin", "root/var/lib/dbus", "outside"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs::write(folder.path().join("root/etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(folder.path().join("root/var/lib/dbus/machine-id"), "0123\n").unwrap();
        fs::write(folder.path().join("minion"), b"\x7fELF minion").unwrap();
        let org = bus::Identity::from_secrets([1; 32], [2; 32]);
        let seed = bus::seed::Seed {
            v: 1,
            org: org.public().to_text(),
            masters: bus::masters::Masters { version: 1, masters: Vec::new() }.sign(&org),
            id: None,
            token: None,
        };
        fs::write(folder.path().join("seed.json"), serde_json::to_string(&seed).unwrap()).unwrap();
        Self { folder }
    }
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
    fn install(&self) -> Outcome<Vec<String>> {
        install(&self.at("root"), &self.at("seed.json"), Some(&self.at("minion")))
    }
    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().mode() & 0o7777
    }
}

#[test]
fn minion_unit_and_seed_are_put_in_place_and_machine_ids_reset() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.install().expect("again over itself, too");
        assert_eq!(fs::read(bench.at("root/usr/bin/labminion")).unwrap(), b"\x7fELF minion");
        assert_eq!(bench.mode("root/usr/bin/labminion"), 0o755);
        assert_eq!(bench.mode("root/etc/labctl/seed.json"), 0o600);
        let unit = fs::read_to_string(bench.at("root/etc/systemd/system/labminion.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/labminion run\n"), "{unit}");
        assert_eq!(fs::read(bench.at("root/etc/machine-id")).unwrap(), b"");
        let enabled = bench.at("root/etc/systemd/system/multi-user.target.wants/labminion.service");
        assert_eq!(fs::read_link(enabled).unwrap(), Path::new("/etc/systemd/system/labminion.service"));
        let of_dbus = bench.at("root/var/lib/dbus/machine-id");
        assert_eq!(fs::read_link(of_dbus).unwrap(), Path::new("/etc/machine-id"));
    }
}

#[test]
fn a_root_that_holds_an_identity_is_refused_and_left_alone() {
    let bench = Bench::new();
    fs::create_dir_all(bench.at("root/var/lib/labctl/minion")).unwrap();
    fs::write(bench.at("root/var/lib/labctl/minion/key.pem"), "x").unwrap();
    let failure = bench.install().unwrap_err();
    assert!(failure.message.contains("identity"), "{failure:?}");
    assert!(!bench.at("root/usr/bin/labminion").exists());
    assert_ne!(fs::read(bench.at("root/etc/machine-id")).unwrap(), b"");
}

#[test]
fn links_in_the_image_do_not_lead_out_of_it() {
    let bench = Bench::new();
    let outside = bench.at("outside");
    fs::create_dir(bench.at("root/etc/systemd")).unwrap();
    symlink(&outside, bench.at("root/etc/labctl")).unwrap();
    symlink("../../../../../../../outside", bench.at("root/etc/systemd/system")).unwrap();
    fs::remove_file(bench.at("root/etc/machine-id")).unwrap();
    fs::write(outside.join("id"), "mine").unwrap();
    symlink(outside.join("id"), bench.at("root/etc/machine-id")).unwrap();
    bench.install().unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made outside");
    assert_eq!(fs::read(outside.join("id")).unwrap(), b"mine");
    let inside = bench.at("root").join(outside.strip_prefix("/").unwrap());
    assert!(inside.join("seed.json").is_file(), "the machine itself will find it there");
    assert!(bench.at("root/outside/labminion.service").is_file());
}

#[test]
fn links_within_the_image_are_followed() {
    let bench = Bench::new();
    fs::remove_dir(bench.at("root/usr/bin")).unwrap();
    fs::create_dir(bench.at("root/bin")).unwrap();
    symlink("/bin", bench.at("root/usr/bin")).unwrap();
    bench.install().unwrap();
    assert!(bench.at("root/bin/labminion").is_file());
    symlink("loop", bench.at("root/loop")).unwrap();
    assert!(Root(bench.at("root")).resolve("loop/x").is_err());
}

#[test]
fn what_is_no_image_no_seed_and_no_program_is_refused() {
    let bench = Bench::new();
    let (root, seed, minion) = (bench.at("root"), bench.at("seed.json"), bench.at("minion"));
    assert_eq!(install(Path::new("/"), &seed, Some(&minion)).unwrap_err().exit, Exit::Usage);
    assert_eq!(install(&bench.at("outside"), &seed, Some(&minion)).unwrap_err().exit, Exit::Usage);
    assert!(install(&root, &minion, Some(&minion)).is_err(), "no seed");
    assert!(install(&root, &seed, Some(&seed)).is_err(), "no program");
    assert!(!bench.at("root/usr/bin/labminion").exists());
}

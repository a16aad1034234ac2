//! Backups of a store that is written meanwhile, what is refused, and where everything lies after a restore.

use super::*;
use crate::config::Config;
use crate::core::Entry;
use crate::init::{Wish, init};
use crate::store::{Row, Store, StoreConfig};
use model::Event;
use std::os::unix::fs::PermissionsExt;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Place {
    folder: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("etc/labctl/master.yaml");
        let wish = Wish {
            git: None,
            config: place.clone(),
            root: folder.path().to_owned(),
            name: Some("home".into()),
            addresses: vec![crate::config::address("127.0.0.1").unwrap()],
            example: false,
        };
        init(&wish).unwrap();
        let config = Config::read(&place, folder.path(), false).unwrap();
        Self { folder, config }
    }
    fn state(&self, path: &str) -> PathBuf {
        self.config.state_dir.join(path)
    }
    fn open(&self) -> Store {
        Store::open(&StoreConfig { path: self.state(STORE), ballast_bytes: 4096 }).unwrap()
    }
    fn maker(&self) -> Maker {
        let signer = bus::Identity::load(&self.config.keys(), "master").unwrap();
        Maker::new(&self.config.state_dir, "home", &signer.public())
    }
    /// With this many events in it.
    fn backup(&self, events: u64, keys: Keys) -> PathBuf {
        let mut store = self.open();
        for number in 1..=events {
            store.commit(vec![Row::Entry(Box::new(Entry::Event(event(number))))]).unwrap();
        }
        store.close();
        let mut made = self.maker().make(&store.reader(), keys, NOW).unwrap();
        let path = self.folder.path().join("lab.backup");
        io::copy(&mut made, &mut File::create(&path).unwrap()).unwrap();
        path
    }
    fn events(&self) -> Vec<u64> {
        let entries = self.open().load().unwrap();
        entries
            .iter()
            .filter_map(|it| if let Entry::Event(it) = it { Some(it.number) } else { None })
            .collect()
    }
}

fn event(number: u64) -> Event {
    let (tag, source) = ("minion/a/start".to_owned(), model::Source::Master);
    Event { number, tag, source, at: NOW, data: serde_json::Value::Null, hops: 0, cause: Vec::new() }
}

#[test]
fn a_backup_with_keys_becomes_a_master_in_an_empty_folder() {
    let (old, new) = (Place::new(), tempfile::tempdir().unwrap());
    let file = old.backup(3, Keys::Included);
    let config = Config { state_dir: new.path().join("state"), ..old.config.clone() };
    let done = restore(&file, &config, NOW.plus_ms(60_000)).unwrap();
    assert!(done[0].contains("home") && done[0].contains("60 s ago"), "{done:?}");
    let same = |path: &str| {
        std::fs::read(old.state(path)).unwrap() == std::fs::read(config.state_dir.join(path)).unwrap()
    };
    for path in SECRET.iter().chain(PUBLIC) {
        assert!(same(path), "{path}");
        let mode = std::fs::metadata(config.state_dir.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    assert!(!config.state_dir.join("keys/org.pem").exists(), "the organization's key is in no backup");
    crate::init::KeyRing::load(&config).unwrap();
    let restored = Place { folder: new, config };
    let numbers = restored.events();
    assert!(numbers[0] > 1 << 32, "numbers that were given out since are not given out again: {numbers:?}");
}

#[test]
fn a_backup_is_whole_while_the_store_is_written() {
    let place = Place::new();
    let (reader, mut store) = {
        let store = place.open();
        (store.reader(), store)
    };
    let maker = place.maker();
    let making = std::thread::spawn(move || {
        (0..5).map(|_| maker.make(&reader, Keys::Left, NOW).unwrap()).collect::<Vec<File>>()
    });
    let mut number = 0;
    while !making.is_finished() {
        number += 2;
        // Both or none: they are one transaction.
        let pair = [number - 1, number].map(|it| Row::Entry(Box::new(Entry::Event(event(it)))));
        let _ = store.commit(pair.to_vec());
    }
    for (index, mut made) in making.join().unwrap().into_iter().enumerate() {
        let path = place.folder.path().join(format!("{index}.backup"));
        io::copy(&mut made, &mut File::create(&path).unwrap()).unwrap();
        let to = place.folder.path().join(format!("{index}"));
        Backup::open(&path).unwrap().unpack(&to).unwrap();
        let copy = Store::open(&StoreConfig { path: to.join(STORE), ballast_bytes: 1 }).unwrap();
        let newest = copy.load().unwrap();
        assert!(
            newest.iter().all(|it| !matches!(it, Entry::Event(it) if it.number % 2 == 1)),
            "half of a transaction is in it"
        );
    }
    assert!(!place.state(DRAFT).exists() && !place.state(DRAFT_STORE).exists());
}

#[test]
fn what_was_there_is_moved_aside_and_a_backup_without_keys_takes_those_that_are_there() {
    let place = Place::new();
    let file = place.backup(1, Keys::Left);
    drop(place.open());
    let done = restore(&file, &place.config, NOW).unwrap();
    let aside = place.state(&format!("before-restore-{}", NOW.0 / 1000));
    assert!(done.iter().any(|it| it.contains(&aside.display().to_string())), "{done:?}");
    assert!(aside.join(STORE).is_file() && place.state("keys/master.pem").is_file());
    assert!(!place.state("restore.draft").exists());
    assert_eq!(place.events().len(), 1);
}

#[test]
fn a_restore_that_is_cut_off_in_the_middle_is_no_master_until_it_is_done_again() {
    let place = Place::new();
    let file = place.backup(1, Keys::Left);
    drop(place.open());
    // The store cannot be moved aside: something is in its place.
    let aside = place.state(&format!("before-restore-{}", NOW.0 / 1000));
    std::fs::create_dir_all(aside.join(STORE).join("x")).unwrap();
    restore(&file, &place.config, NOW).unwrap_err();
    let told = crate::daemon::whole(&place.config.state_dir).unwrap_err().to_string();
    assert!(told.contains("labmaster restore FILE") && told.contains("before-restore-"), "{told}");
    restore(&file, &place.config, NOW.plus_ms(2000)).unwrap();
    crate::daemon::whole(&place.config.state_dir).unwrap();
    assert_eq!(place.events().len(), 1);
}

#[test]
fn what_cannot_be_restored_is_refused_and_alters_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let file = place.backup(1, Keys::Left);
    let good = std::fs::read(&file).unwrap();
    let path = place.folder.path().join("bad");
    let told = |bytes: &[u8], config: &Config| {
        std::fs::write(&path, bytes).unwrap();
        restore(&path, config, NOW).unwrap_err().to_string()
    };
    let broken = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        told(&bytes, &place.config)
    };
    assert!(told(b"", &place.config).contains("no backup"));
    assert!(told(b"SQLite format 3\0", &place.config).contains("no backup"));
    assert!(broken(40).contains("checksum") && broken(good.len() / 2).contains("checksum"));
    assert!(told(&good[..good.len() - 1], &place.config).contains("damaged"));
    assert!(told(&good[..good.len() / 2], &place.config).contains("damaged"));
    // With a sum that is right, but a path that leads elsewhere, or a format that is not known yet.
    for (from, to, says) in [
        ("\"store.db\"", "\"../ore.db\"", "files of a master"),
        ("\"keys\":false", "\"keys\":true ", "files of a master"),
        ("\"schema\":3", "\"schema\":9", "with that release"),
    ] {
        let whole = good.len() - usize::try_from(TRAILER_BYTES).unwrap();
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let mut bytes = good[..whole].to_vec();
        let at = bytes.windows(from.len()).position(|it| it == from).unwrap();
        bytes.splice(at..at + from.len(), to.iter().copied());
        let sum = ContentHash(Sha256::digest(&bytes).into());
        bytes.extend(format!("sha256 {sum}\n").bytes());
        assert!(told(&bytes, &place.config).contains(says), "{says}");
    }
    assert!(told(&good, &other.config).contains("another master"));
    let empty = Config { state_dir: other.folder.path().join("empty"), ..other.config.clone() };
    assert!(told(&good, &empty).contains("no keys"));
    let held = crate::daemon::lock(&place.config.state_dir).unwrap();
    assert!(told(&good, &place.config).contains("stop it first"));
    drop(held);
    assert!(!place.state("restore.draft").exists());
    assert_eq!(place.events(), [1], "the store is as it was");
}

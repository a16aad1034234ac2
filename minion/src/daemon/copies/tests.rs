//! Starts of machines whose disk holds an identity.

use super::*;
use crate::home::Home;

const NOW: Timestamp = Timestamp(7);

fn seen(machine_id: &str, hardware: &str) -> Surroundings {
    Surroundings {
        machine_id: machine_id.to_owned(),
        hardware: hardware.to_owned(),
        ..Surroundings::default()
    }
}

/// A member that looked around when it was accepted.
fn member(dir: &std::path::Path) -> (Home, bus::PublicKey) {
    let home = Home::open(dir).unwrap();
    let key = home.identity().unwrap().public();
    home.keep_surroundings(&seen("m1", "4c4c4544-0044")).unwrap();
    home.join(&"vm-1".parse().unwrap(), "org").unwrap();
    (home, key)
}

#[test]
fn a_copy_gives_up_the_identity_and_a_repaired_machine_does_not() {
    for (now, part, kept) in [
        (seen("m1", "4c4c4544-0044"), None, true),
        (seen("m1", "564d1234-9f00"), None, true),
        (seen("m2", "564d1234-9f00"), None, false),
        (seen("m2", "564d1234-9f00"), Some("drop-copied-identity"), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (home, key) = member(dir.path());
        broken::without(part, || look_around(&home, &now, NOW)).unwrap();
        assert_eq!(home.membership().unwrap().is_some(), kept, "{now:?} {part:?}");
        assert_eq!(home.identity().unwrap().public() == key, kept, "{now:?} {part:?}");
        let whose = home.copied_from().unwrap();
        assert_eq!(whose.is_some_and(|it| it.contains(key.fingerprint().as_str())), !kept);
        assert!(!home.is_sent_away(), "it may use a token");
    }
}

#[test]
fn once_it_is_a_member_itself_it_is_no_copy_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (home, _) = member(dir.path());
    let now = seen("m2", "564d1234-9f00");
    look_around(&home, &now, NOW).unwrap();
    home.keep_surroundings(&now).unwrap();
    home.join(&"vm-2".parse().unwrap(), "org").unwrap();
    assert_eq!(home.copied_from().unwrap(), None);
    look_around(&home, &now, NOW).unwrap();
    assert!(home.membership().unwrap().is_some());
}

#[test]
fn what_cannot_be_seen_for_once_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (home, _) = member(dir.path());
    look_around(&home, &seen("", ""), NOW).unwrap();
    look_around(&home, &seen("m2", ""), NOW).unwrap();
    assert_eq!(home.surroundings().unwrap(), Some(seen("m2", "4c4c4544-0044")));
    std::fs::remove_file(dir.path().join("surroundings.json")).unwrap();
    look_around(&home, &seen("m3", "564d1234-9f00"), NOW).unwrap();
    assert!(home.membership().unwrap().is_some(), "a release before this one saw nothing");
}

#[test]
fn a_copy_that_is_ended_while_it_drops_the_identity_drops_it_at_the_next_start() {
    for name in ["key.pem", "key-seal.pem", "journal", "work", "member.json", "surroundings.json"] {
        let dir = tempfile::tempdir().unwrap();
        let (home, key) = member(dir.path());
        // It comes no further than this one.
        let obstacle = dir.path().join(format!("dropped-{}", NOW.0)).join(name);
        std::fs::create_dir_all(obstacle.join("full")).unwrap();
        let now = seen("m2", "564d1234-9f00");
        look_around(&home, &now, NOW).unwrap_err();
        std::fs::remove_dir_all(&obstacle).unwrap();
        look_around(&home, &now, NOW).unwrap();
        assert_eq!(home.membership().unwrap(), None, "{name}");
        assert_ne!(home.identity().unwrap().public(), key, "{name}");
        let whose = home.copied_from().unwrap().unwrap();
        assert!(whose.contains(key.fingerprint().as_str()), "{name}: {whose}");
    }
}

#[test]
fn notes_of_the_surroundings_that_cannot_be_read_or_written_keep_no_minion_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (home, _) = member(dir.path());
    let path = dir.path().join("surroundings.json");
    std::fs::write(&path, "{").unwrap();
    look_around(&home, &seen("m1", ""), NOW).unwrap();
    assert_eq!(home.surroundings().unwrap(), Some(seen("m1", "")), "it is written anew");
    // What is written first cannot be.
    std::fs::create_dir(path.with_extension("new")).unwrap();
    look_around(&home, &seen("m2", ""), NOW).unwrap();
    std::fs::remove_file(&path).unwrap();
    look_around(&home, &seen("m2", ""), NOW).unwrap();
    std::fs::create_dir(&path).unwrap();
    look_around(&home, &seen("m2", ""), NOW).unwrap();
    assert!(home.membership().unwrap().is_some());
}

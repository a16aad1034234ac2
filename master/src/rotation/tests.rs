//! The change to new keys, with files as `labmaster init` makes them.

use super::*;
use crate::init::{Wish, init};

struct Rig {
    root: tempfile::TempDir,
    config: Config,
}

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let wish = Wish {
            git: None,
            config: root.path().join("etc/labctl/master.yaml"),
            root: root.path().to_owned(),
            name: Some("home".into()),
            addresses: vec![crate::config::address("127.0.0.1").unwrap()],
            example: false,
        };
        init(&wish).unwrap();
        let config = Config::read(&wish.config, root.path(), false).unwrap();
        // The org key is elsewhere.
        std::fs::rename(config.keys().join("org.pem"), root.path().join("org.pem")).unwrap();
        Self { root, config }
    }
    /// Signs a list where the org key is, and puts it into use.
    fn install(&self, list: &Masters) {
        let text = serde_json::to_string_pretty(list).unwrap();
        let signed = sign(&self.root.path().join("org.pem"), &text).unwrap();
        std::fs::write(self.config.masters_path(), signed).unwrap();
    }
    fn keys(&self) -> (String, String) {
        let ring = KeyRing::load(&self.config).unwrap();
        (ring.signer.public().to_text(), ring.certificate.pin().to_string())
    }
}

#[test]
fn new_keys_are_announced_put_in_place_and_the_old_ones_dropped() {
    let rig = Rig::new();
    let old = rig.keys();
    assert!(matches!(switch(&rig.config), Err(RotationError::NoNext(_))));
    let list = next(&rig.config).unwrap();
    assert_eq!((list.version, list.masters.len()), (2, 2));
    assert_eq!(next(&rig.config).unwrap(), list, "asked again, they are the same");
    assert_eq!(list.masters[0].mqtt, list.masters[1].mqtt);
    assert!(matches!(switch(&rig.config), Err(RotationError::NotListed)));
    assert_eq!(rig.keys(), old);
    rig.install(&list);
    switch(&rig.config).unwrap();
    let new = rig.keys();
    assert!(new.0 != old.0 && new.1 != old.1);
    assert_eq!(list.masters[1].sign, new.0);
    // The running program finds itself in the list, and needs no org key.
    let loaded = KeyRing::load(&rig.config).unwrap();
    let text = loaded.masters(&rig.config, 8883, 8443).unwrap();
    assert_eq!(Masters::open(&text, &loaded.org).unwrap(), list);
    let left = without_previous(&rig.config).unwrap();
    assert_eq!((left.version, left.masters.len(), left.masters[0].sign.clone()), (3, 1, new.0));
    assert!(matches!(switch(&rig.config), Err(RotationError::NoNext(_))));
    for name in KEY_FILES {
        assert!(rig.config.keys().join(PREVIOUS).join(name).exists(), "{name}");
    }
}

#[test]
fn a_change_that_was_cut_off_anywhere_goes_on() {
    for done in 0..KEY_FILES.len() {
        let rig = Rig::new();
        let list = next(&rig.config).unwrap();
        rig.install(&list);
        let keys = rig.config.keys();
        for name in &KEY_FILES[..done] {
            std::fs::rename(keys.join(NEXT).join(name), keys.join(name)).unwrap();
        }
        switch(&rig.config).unwrap();
        let own = (list.masters[1].sign.clone(), list.masters[1].tls.to_string());
        assert_eq!(rig.keys(), own, "cut off after {done} files");
    }
}

#[test]
fn what_is_signed_is_checked_first_and_only_the_org_key_makes_it_good() {
    let rig = Rig::new();
    let key = rig.root.path().join("org.pem");
    let (_, list) = in_use(&rig.config).unwrap();
    let text = |list: &Masters| serde_json::to_string(list).unwrap();
    let empty = Masters { version: 2, masters: Vec::new() };
    for (text, part) in
        [(text(&empty), "0 masters"), ("{}".to_owned(), "missing field"), (String::new(), "EOF")]
    {
        let error = sign(&key, &text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(sign(&rig.root.path().join("none.pem"), &text(&list)).is_err());
    let wrong = sign(&rig.config.keys().join("issuer.pem"), &text(&list)).unwrap();
    std::fs::write(rig.config.masters_path(), wrong).unwrap();
    let Err(RotationError::Masters(MastersError::BadSignature)) = in_use(&rig.config).map(drop) else {
        panic!()
    };
}

#[test]
fn another_masters_list_is_taken_in_and_ours_stays() {
    let rig = Rig::new();
    let (_, ours) = in_use(&rig.config).unwrap();
    let theirs = MasterEntry {
        name: "away".to_owned(),
        sign: Identity::generate().public().to_text(),
        tls: model::ContentHash([4; 32]),
        mqtt: vec!["away:8883".to_owned()],
        https: vec!["away:8443".to_owned()],
    };
    let other = Masters { version: 6, masters: vec![theirs.clone(), ours.masters[0].clone()] };
    let both = merge(&rig.config, &serde_json::to_string(&other).unwrap()).unwrap();
    assert_eq!(both, Masters { version: 7, masters: vec![ours.masters[0].clone(), theirs] });
    let stranger = other.sign(&Identity::generate());
    assert!(matches!(merge(&rig.config, &stranger), Err(RotationError::Masters(_))));
}

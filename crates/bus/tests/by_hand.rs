//! The commands in `docs/explanation/bus.md` that check an envelope by hand do check it.

use bus::{
    Identity, Topic,
    envelope::{Header, seal},
    message::FromMinion,
};
use model::Timestamp;
use std::{path::Path, process::Command};

const PAGE: &str = include_str!("../../../docs/explanation/bus.md");

fn check(dir: &Path, message: &[u8]) -> bool {
    let script = PAGE.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a script").0;
    std::fs::write(dir.join("message"), message).unwrap();
    Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap().status.success()
}

#[test]
fn the_commands_of_the_book_accept_what_is_signed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let key = Identity::load_or_create(dir, "vm-1").unwrap();
    let public = ["pkey", "-in", "vm-1.pem", "-pubout", "-out", "vm-1.pub"];
    match Command::new("openssl").args(public).current_dir(dir).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => return,
    }
    let header = Header { session: "s".to_owned(), seq: 7, iat: Timestamp(1), exp: None };
    let message = |id: &str| {
        let topic = Topic::Out(id.parse().unwrap());
        seal(&topic, &header, &FromMinion::Heartbeat { running: None }, &key)
    };
    let good = message("vm-1");
    assert!(check(dir, &good));
    assert!(!check(dir, &message("vm-2")));
    let bent = String::from_utf8(good).unwrap().replace("\"seq\":7", "\"seq\":8");
    assert!(!check(dir, bent.as_bytes()));
}

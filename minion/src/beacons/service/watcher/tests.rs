use crate::follow::tests::Watched;
use crate::program::tests::put;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What dbus-daemon and systemd said; see `bus.rs`.
const RECORDED: &str = include_str!("../recorded.txt");

fn bytes(lines: &[&str]) -> Vec<u8> {
    let hex = lines.concat();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn listen(root: &Path) -> UnixListener {
    std::fs::create_dir_all(root.join("run/dbus")).unwrap();
    let path = root.join(super::SOCKET);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path).unwrap()
}

/// Lets one in, and tells it this once it has asked for everything.
fn tell(listener: &UnixListener, said: &[u8]) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    stream.write_all(b"OK 5afbb858004530f5991b1cd96b00ae1e\r\n").unwrap();
    while !asked.windows(19).any(|it| it == b"ListUnitsByPatterns") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "it goes away");
        asked.extend(&buffer[..length]);
    }
    assert!(asked.starts_with(b"\0AUTH EXTERNAL "));
    stream.write_all(said).unwrap();
    stream
}

#[test]
fn what_the_bus_says_is_told_also_when_it_was_away() {
    let dir = tempfile::tempdir().unwrap();
    let listener = listen(dir.path());
    let lines: Vec<&str> = RECORDED.lines().collect();
    let (all, listed) = (bytes(&lines), bytes(&lines[..8]));
    let bus = std::thread::spawn(move || {
        drop(tell(&listener, &all));
        // After the break both run, as if nothing had been.
        let stream = tell(&listener, &listed);
        (listener, stream)
    });
    let settings = json!({"unit": "vict*", "states": ["failed", "restarting", "active"], "settle": "300ms"});
    let mut it = Watched::new("service", &settings, dir.path()).unwrap();
    assert_eq!(
        it.next(),
        r#"{"unit":"victim2.service","state":"restarting","was":"active","sub":"auto-restart","result":"signal","restarts":2}"#
    );
    let mut more = [it.next(), it.next(), it.next()];
    more.sort();
    assert!(more[0].contains(r#""unit":"victim.service","state":"active","was":"failed""#), "{more:?}");
    assert!(
        more[1].contains(
            r#""unit":"victim.service","state":"failed","was":"active","sub":"failed","result":"signal""#
        ),
        "{more:?}"
    );
    assert!(more[2].contains(r#""unit":"victim2.service","state":"active","was":"restarting""#), "{more:?}");
    drop(bus.join().unwrap());
}

#[test]
fn without_a_bus_programs_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "systemctl",
        "printf 'Id=a.service\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nNRestarts=2\\n'",
    );
    let mut it = Watched::new("service", &json!({"unit": "a"}), dir.path()).unwrap();
    assert_eq!(
        it.next(),
        r#"{"unit":"a.service","state":"failed","sub":"failed","result":"exit-code","restarts":2}"#
    );
    let other = tempfile::tempdir().unwrap();
    put(other.path(), "rc-service", "test \"$*\" = '-- b status' && exit 32; exit 3");
    std::fs::create_dir_all(other.path().join("sbin")).unwrap();
    std::fs::rename(other.path().join("usr/bin/rc-service"), other.path().join("sbin/rc-service")).unwrap();
    let mut it = Watched::new("service", &json!({"unit": ["a", "b"]}), other.path()).unwrap();
    assert_eq!(it.next(), r#"{"unit":"b.service","state":"failed","sub":"","restarts":0}"#);
}

#[test]
fn who_hangs_up_at_once_is_not_asked_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let listener = listen(dir.path());
    listener.set_nonblocking(true).unwrap();
    let mut it = Watched::new("service", &json!({"unit": "a"}), dir.path()).unwrap();
    let start = std::time::Instant::now();
    let calls = std::cell::Cell::new(0);
    it.until("two seconds are over", || {
        while let Ok((stream, _)) = listener.accept() {
            calls.set(calls.get() + 1);
            drop(stream);
        }
        start.elapsed().as_secs() >= 2
    });
    assert!((2..=4).contains(&calls.get()), "{}", calls.get());
}

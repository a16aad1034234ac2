mod tls;

use super::*;
use crate::linux::ready;
use crate::senses::fake::Fake;
use resources::beacons::kind;
use std::net::TcpListener;
use std::time::Instant;

fn with<T>(settings: &Value, then: impl Fn(&Settings<'_>) -> T) -> T {
    then(&Settings::read(kind("check").unwrap(), settings.as_object().unwrap()).unwrap())
}

#[test]
fn what_is_asked_for_makes_sense_or_is_refused() {
    let cases = [
        (json!({"http": "https://a/x", "status": ["2xx", "401"], "contains": "ok"}), ""),
        (json!({"tcp": "[::1]:22"}), ""),
        (json!({"ping": "192.0.2.1"}), ""),
        (json!({}), "one of `http`, `tcp` and `ping`"),
        (json!({"http": "http://a", "tcp": "a:1"}), "one of"),
        (json!({"http": "a"}), "begins with http://"),
        (json!({"http": "http://a", "status": "fine"}), "is no status"),
        (json!({"http": "https://a", "pin": "abc"}), "64 hexadecimal digits"),
        (json!({"http": "https://a", "pin": "00".repeat(32), "ca": "/x"}), "not both"),
        (json!({"tcp": "a:1", "contains": "x"}), "goes with `http`"),
        (json!({"tcp": "a"}), "is not `host:port`"),
        (json!({"ping": "-f"}), "is no host"),
    ];
    for (settings, wanted) in cases {
        let read = Settings::read(kind("check").unwrap(), settings.as_object().unwrap());
        let told =
            |wrong: Vec<resources::beacons::Complaint>| wrong.into_iter().map(|it| it.message).collect();
        let wrong = read.map_or_else(told, |it| target(&it).err().unwrap_or_default());
        assert!(wrong.contains(wanted) && wrong.is_empty() == wanted.is_empty(), "{settings}: {wrong}");
    }
    assert_eq!(
        (status("2xx"), status("200-204"), status("404")),
        (Ok((200, 299)), Ok((200, 204)), Ok((404, 404)))
    );
}

#[test]
fn a_look_is_told_when_it_is_sure_and_well_again_at_once() {
    let ms = Duration::from_millis;
    let well = |latency| Answer { latency: ms(latency), ..Answer::default() };
    let sick = || Answer { wrong: Some("status 500".to_owned()), ..Answer::default() };
    let mut judge = Judge {
        latency: Some(ms(100)),
        times: 2,
        hold: Duration::from_secs(90),
        told: State::Up,
        since: None,
        coming: None,
    };
    let mut said = Vec::new();
    let looks =
        [well(1), sick(), well(1), sick(), sick(), sick(), sick(), well(1), well(500), well(500), well(500)];
    for (minute, answer) in (0..).zip(&looks) {
        if let Some((state, lasted)) = judge.judge(Duration::from_mins(minute), answer) {
            said.push(format!("{minute} {} after {}", state.word(), lasted.as_secs()));
        }
    }
    assert_eq!(said, ["5 down after 180", "7 up after 240", "10 slow after 60"]);
}

#[test]
fn what_is_slow_and_down_in_turns_is_told_too() {
    let slow = || Answer { latency: Duration::from_secs(1), ..Answer::default() };
    let down = || Answer { wrong: Some("status 500".to_owned()), ..Answer::default() };
    let latency = Some(Duration::from_millis(100));
    let mut judge =
        Judge { latency, times: 3, hold: Duration::ZERO, told: State::Up, since: None, coming: None };
    let mut said = Vec::new();
    for (minute, answer) in (0..).zip([slow(), down(), slow(), down(), slow(), down(), down(), down()]) {
        let told = judge.judge(Duration::from_mins(minute), &answer);
        said.extend(told.map(|(state, _)| format!("{minute} {}", state.word())));
    }
    assert_eq!(said, ["2 slow", "7 down"]);
}

#[test]
fn a_check_of_a_port_that_opens_and_closes_never_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = json!({"tcp": format!("127.0.0.1:{port}"), "times": 1, "interval": "100ms"});
    let machine = Fake::default();
    let mut beacon = with(&settings, |it| make(it, &machine)).unwrap();
    let start = Instant::now();
    let next = |beacon: &mut Box<dyn Beacon>, looks: usize| {
        let mut signals = Vec::new();
        let mut done = 0;
        while done < looks && signals.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "in time");
            let sources: Vec<_> = beacon.sources().iter().map(|it| (it.fd, it.urgent)).collect();
            done += usize::from(!sources.is_empty());
            let limit =
                beacon.wake().map_or(Duration::from_secs(10), |at| at.saturating_sub(start.elapsed()));
            ready::wait(&sources, limit).unwrap();
            let began = Instant::now();
            signals.extend(beacon.look(start.elapsed(), &machine).unwrap());
            assert!(began.elapsed() < Duration::from_millis(500), "it does not wait");
        }
        signals.pop()
    };
    assert_eq!(next(&mut beacon, 2), None, "it is up, as it should be");
    drop(listener);
    let down = next(&mut beacon, 50).unwrap().0;
    assert_eq!((&down["state"], &down["reason"]), (&json!("down"), &json!("connection refused")));
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let up = next(&mut beacon, 50).unwrap().0;
    assert_eq!(up["state"], json!("up"));
}

//! That nobody can keep others out: silent, slow, broken and many.

use crate::bench::{Bench, connect, soon};
use bus::packet::Version;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn three_hundred_idle_connections_do_not_keep_a_minion_from_connecting() {
    let mut bench = Bench::start().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(bench.tls_address()).await.unwrap());
    }
    let began = Instant::now();
    let (mut member, _) = bench.member("m1").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    member.mqtt.ping().await;
    drop(idle);
}

#[tokio::test]
async fn stalled_handshakes_give_way_and_end_after_their_time() {
    let mut bench = Bench::start().await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut tcp = TcpStream::connect(bench.tls_address()).await.unwrap();
        // A TLS record that never ends.
        tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        stalled.push(tcp);
    }
    let began = Instant::now();
    bench.member("m1").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for mut tcp in stalled {
        let mut buffer = Vec::new();
        // Closed by the gate, with or without a reset.
        let _ = soon("the end", tcp.read_to_end(&mut buffer)).await;
    }
    let ended = bench.refused("handshake-too-slow") + bench.refused("gave-way");
    assert_eq!(ended, 40, "{:?}", bench.gate.counters());
}

#[tokio::test]
async fn one_stalled_handshake_delays_nobody() {
    let mut bench = Bench::start().await;
    let mut tcp = TcpStream::connect(bench.tls_address()).await.unwrap();
    tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let began = Instant::now();
    bench.member("m1").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_has_tls_and_says_nothing_is_sent_away() {
    let bench = Bench::start().await;
    let identity = bench.accept("m1");
    let mut mqtt = bench.tls(Some(&identity)).await;
    let began = Instant::now();
    mqtt.until_closed().await;
    assert!((4..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(bench.refused("connect-too-slow"), 1);
}

#[tokio::test]
async fn what_is_no_connect_is_sent_away() {
    let bench = Bench::start().await;
    let identity = bench.accept("m1");
    for (bytes, reason) in [
        (b"\xc0\x00".as_slice(), "no-connect"),
        (b"\x10\xff\xff\xff\x7f", "too-large-before-connect"),
        (b"\x10\x80\x21", "too-large-before-connect"),
        (
            b"GET / HTTP/1.1\r\n\r\n GET / HTTP/1.1 GET / HTTP/1.1 GET / HTTP/1.1 GET / HTTP/1.1 and so on",
            "malformed-before-connect",
        ),
        (b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00", "unsupported-version"),
    ] {
        let before = bench.refused(reason);
        let mut mqtt = bench.tls(Some(&identity)).await;
        mqtt.raw(bytes).await;
        mqtt.until_closed().await;
        bench.until_refused(reason, before + 1).await;
    }
    assert_eq!(bench.tls(Some(&identity)).await.connect(connect(Version::V4)).await, Some(0));
}

#[tokio::test]
async fn dropping_the_gate_closes_everything() {
    let mut bench = Bench::start().await;
    let (mut member, _) = bench.member("m1").await;
    let address = bench.tls_address();
    let Bench { ref gate, .. } = bench;
    let gate = gate.clone();
    drop(bench);
    drop(gate);
    member.mqtt.until_closed().await;
    let closed = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while TcpStream::connect(address).await.is_ok() {
            looks.tick().await;
        }
    };
    soon("the end of the listener", closed).await;
}

/// Set in the process that has few descriptors.
const FEW: &str = "GATE_TEST_FEW_DESCRIPTORS";

#[tokio::test]
async fn when_descriptors_run_out_accepting_pauses_and_recovers() {
    if std::env::var_os(FEW).is_some() {
        return with_few_descriptors().await;
    }
    let own = std::env::current_exe().unwrap();
    let name = "budgets::when_descriptors_run_out_accepting_pauses_and_recovers";
    let script = r#"ulimit -n 100 && exec "$0" --exact "$1" --nocapture"#;
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script]).arg(own).arg(name).env(FEW, "1").kill_on_drop(true);
    let output = soon("the end of the other process", command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn with_few_descriptors() {
    let mut bench = Bench::start().await;
    let mut idle = Vec::new();
    let exhaust = async {
        while bench.refused("no-file-descriptor") == 0 {
            match TcpStream::connect(bench.tls_address()).await {
                Ok(tcp) => idle.push(tcp),
                Err(_) => drop(idle.pop()),
            }
        }
    };
    soon("the end of the descriptors", exhaust).await;
    idle.clear();
    bench.member("m1").await;
}

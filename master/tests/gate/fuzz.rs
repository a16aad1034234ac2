//! Bytes that nobody would send, into a running gate: whatever comes, nothing panics and the next one is served.

use crate::bench::{Bench, connect, soon};
use bus::packet::{Version, encode};
use bytes::BytesMut;
use model::ObserverRole;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Without `LABCTL_FUZZ_SECONDS`.
const SECONDS: u64 = 3;

/// Whole packets and pieces of such.
const PIECES: &[&[u8]] = &[
    &[0xc0, 0],
    &[0x82, 10, 0, 9, 0, 5, b'l', b'a', b'b', b'/', b'#', 1],
    &[0x82, 12, 0, 9, 0, 7, b'$', b'S', b'Y', b'S', b'/', b'x', b'#', 0],
    &[0xa2, 9, 0, 9, 0, 5, b'l', b'a', b'b', b'/', b'#'],
    &[0x32, 16, 0, 11, b'l', b'a', b'b', b'/', b'i', b'n', b'/', b'h', b'a', b'/', b'x', 0, 7, b'1'],
    &[0x34, 16, 0, 11, b'l', b'a', b'b', b'/', b'i', b'n', b'/', b'h', b'a', b'/', b'x', 0, 8, b'1'],
    &[0x62, 2, 0, 8],
    &[0x40, 2, 0, 1],
    &[0x30, 0xff, 0xff, 0xff, 0x7f],
    &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0x10, 0],
    &[0xf0, 0],
    &[0, 0, 0, 0],
    b"\xff\xfe\xfd",
];

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// A good CONNECT most of the time, then anything, cut into writes of any size.
fn conversation(dice: &mut Dice) -> Vec<Vec<u8>> {
    let version = if dice.below(2) == 0 { Version::V4 } else { Version::V5 };
    let mut login = connect(version);
    (login.user, login.password) = (Some("ha".to_owned()), Some("secret".into()));
    let mut first = BytesMut::new();
    encode(version, &bus::packet::Packet::Connect(Box::new(login)), &mut first);
    let mut bytes = if dice.below(8) == 0 { Vec::new() } else { first.to_vec() };
    for _ in 0..dice.below(40) {
        bytes.extend_from_slice(PIECES[dice.below(PIECES.len())]);
        if dice.below(6) == 0 {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
    }
    let mut writes = Vec::new();
    while !bytes.is_empty() {
        let rest = bytes.split_off((1 + dice.below(64)).min(bytes.len()));
        writes.push(std::mem::replace(&mut bytes, rest));
    }
    writes
}

#[tokio::test]
async fn whatever_bytes_come_nothing_panics_and_the_next_one_is_served() {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |what| {
        if what.location().is_some_and(|it| it.file().contains("src/")) {
            counted.fetch_add(1, Ordering::AcqRel);
        }
        before(what);
    }));
    let mut bench = Bench::start().await;
    bench.observer("ha", ObserverRole::Integration);
    let seed = number("LABCTL_FUZZ_SEED", 1);
    let mut dice = Dice((seed << 8) | 1);
    let began = Instant::now();
    let mut conversations = 0_u64;
    while began.elapsed() < Duration::from_secs(number("LABCTL_FUZZ_SECONDS", SECONDS)) {
        let (near, far) = tokio::io::duplex(4096);
        bench.gate.adopt_observer(Box::new(far), "127.0.0.1:1".parse().unwrap());
        let (mut reader, mut writer) = tokio::io::split(near);
        let pieces = conversation(&mut dice);
        let say = async {
            for bytes in &pieces {
                if writer.write_all(bytes).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        };
        let hear = async {
            let mut heard = Vec::new();
            let _ = reader.read_to_end(&mut heard).await;
        };
        let drain = async { while bench.events.recv().await.is_some() {} };
        tokio::select! {
            both = soon("the end of a conversation", async { tokio::join!(say, hear) }) => { let ((), ()) = both; }
            () = drain => panic!("the gate has ended (seed {seed})"),
        }
        conversations += 1;
    }
    eprintln!("wire: {conversations} conversations");
    assert_eq!(panics.load(Ordering::Acquire), 0, "seed {seed}");
    bench.member("after").await;
}

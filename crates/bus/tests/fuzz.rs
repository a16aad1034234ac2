//! Bytes that nobody would send: seeded mutations of good ones, for all that is read from strangers. None panics or
//! hangs, and what is taken is what was written. `LABCTL_FUZZ_SECONDS` is the time for each target, `LABCTL_FUZZ_SEED`
//! where it begins.

use bus::{
    FromMinion, Header, Identity, Topic, envelope,
    masters::{MasterEntry, Masters},
    packet::{self, Version},
    seed::{self, Seed, SeedToken},
};
use bytes::{Bytes, BytesMut};
use model::{ContentHash, Labels, Replace, Timestamp, TokenTerms};
use std::time::{Duration, Instant};

/// For each target, without `LABCTL_FUZZ_SECONDS`.
const SECONDS: u64 = 2;
/// Longest that one input may take, on a machine that is busy and without optimization.
const ONE_MAX: Duration = Duration::from_secs(5);
/// Longest input.
const INPUT_MAX: usize = 32 * 1024;

/// Pieces that mean something to somebody.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xff\xff",
    b"\x80\x80\x80\x80",
    b"MQTT",
    b"/",
    b"#",
    b"+",
    b"$share/g/",
    b"..",
    b"\"",
    b"\\u0000",
    b"{",
    b"[",
    b"}",
    b",\"sig\":\"",
    b"\"v\":1,",
    b"\"seq\":18446744073709551615",
    b"-1",
    b"1e999",
    b".",
    b"\xf0\x9f\x92\xa9",
];

/// xorshift64*: the same seed gives the same inputs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end.max(1) as u64).unwrap()
    }
}

fn mutate(dice: &mut Dice, good: &[Vec<u8>]) -> Vec<u8> {
    let mut data = good[dice.below(good.len())].clone();
    for _ in 0..dice.below(5) {
        let at = dice.below(data.len() + 1);
        match dice.below(6) {
            0 | 1 if !data.is_empty() => {
                let at = at.min(data.len() - 1);
                data[at] ^= 1 << dice.below(8);
            }
            2 => {
                let word = WORDS[dice.below(WORDS.len())].repeat(1 << dice.below(9));
                data.splice(at..at, word);
            }
            3 => data.truncate(at),
            4 => {
                let end = (at + dice.below(32)).min(data.len());
                data.drain(at..end);
            }
            _ => {
                let other = &good[dice.below(good.len())];
                let from = dice.below(other.len());
                data.splice(at..at, other[from..].to_vec());
            }
        }
        data.truncate(INPUT_MAX);
    }
    data
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// Feeds mutations of `good` for a while; says how many, and how many of them were taken.
fn fuzz(name: &str, good: &[Vec<u8>], taken: impl Fn(&[u8]) -> bool) -> (u64, u64) {
    let seed = number("LABCTL_FUZZ_SEED", 1);
    let mut dice = Dice((seed << 8) | 1);
    let began = Instant::now();
    let mut counts = (0, 0);
    while began.elapsed() < Duration::from_secs(number("LABCTL_FUZZ_SECONDS", SECONDS)) {
        let data = mutate(&mut dice, good);
        let one = Instant::now();
        counts.1 += u64::from(taken(&data));
        assert!(one.elapsed() < ONE_MAX, "{name} (seed {seed}): {data:?}");
        counts.0 += 1;
    }
    eprintln!("{name}: {} inputs, {} taken", counts.0, counts.1);
    counts
}

fn key() -> Identity {
    Identity::from_secrets([1; 32], [2; 32])
}

fn packets() -> Vec<Vec<u8>> {
    let hex = [
        "10 10 0004 4d515454 04 02 003c 0004 766d2d31",
        "10 25 0004 4d515454 05 c2 003c 05 11 00000000 0000 0004 75736572 0006 736563726574",
        "10 1c 0004 4d515454 04 06 003c 0002 7631 0004 6c61622f 0002 6869",
        "20 02 0000",
        "30 0a 0005 6c61622f78 6869 21",
        "32 0b 0005 6c61622f78 0007 6869",
        "34 12 0005 6c61622f78 0007 07 26 0001 61 0001 62 31",
        "40 02 0007",
        "50 02 0007",
        "62 02 0007",
        "70 02 0007",
        "82 0a 0009 0005 6c61622f23 00",
        "82 0b 0009 00 0005 6c61622f2b 25",
        "90 03 0009 80",
        "a2 09 0009 0005 6c61622f23",
        "c0 00",
        "d0 00",
        "e0 00",
        "e0 01 04",
        "f0 00",
    ];
    let bytes = |line: &str| {
        let digits: String = line.split(' ').collect();
        let pairs =
            (0..digits.len() / 2).map(|it| u8::from_str_radix(&digits[2 * it..2 * it + 2], 16).unwrap());
        pairs.collect()
    };
    hex.into_iter().map(bytes).collect()
}

#[test]
fn the_gates_codec_takes_only_what_it_would_write() {
    let read = |version: Version, data: &[u8]| {
        let Ok(Some(length)) = packet::frame_length(data, 256 * 1024) else { return false };
        if data.len() < length {
            return false;
        }
        let Ok(found) = packet::decode(version, Bytes::copy_from_slice(&data[..length])) else {
            return false;
        };
        let mut again = BytesMut::new();
        packet::encode(version, &found, &mut again);
        // A 3.1.1 CONNACK has no properties and so on: written and read again it is the same packet.
        let twice = packet::decode(version, again.freeze());
        assert_eq!(twice, Ok(found), "{version:?} {data:?}");
        true
    };
    let (_, taken) = fuzz("codec", &packets(), |data| {
        let [old, new] = [Version::V4, Version::V5].map(|version| read(version, data));
        old || new
    });
    assert!(taken > 0, "some inputs are good");
}

fn envelopes() -> Vec<Vec<u8>> {
    let topic = Topic::Out("vm-1".parse().unwrap());
    let seal = |seq, message: &FromMinion| {
        let header =
            Header { session: "s".to_owned(), seq, iat: Timestamp(1), exp: Some(Timestamp(u64::MAX)) };
        envelope::seal(&topic, &header, message, &key())
    };
    let data = serde_json::json!({"a": [1, {"b": null}], "c": "é\u{0}\\"});
    vec![
        seal(1, &FromMinion::Heartbeat { running: None }),
        seal(u64::MAX, &FromMinion::Goodbye { reason: "stop".to_owned() }),
        seal(3, &FromMinion::Event { number: 1, tag: "start".to_owned(), data, gap: 0 }),
    ]
}

#[test]
fn an_envelope_is_believed_only_as_it_was_sealed() {
    let topic = Topic::Out("vm-1".parse().unwrap());
    let good = envelopes();
    let (_, taken) = fuzz("envelope", &good, |data| {
        let opened = envelope::open::<FromMinion>(&topic, data, &key().public()).is_ok();
        assert!(!opened || good.iter().any(|it| it == data), "believed: {:?}", String::from_utf8_lossy(data));
        opened
    });
    assert!(taken > 0, "some are as they were sealed");
}

#[test]
fn the_parser_behind_the_signature_survives_whatever_a_member_signs() {
    // The signature is good: a member may sign anything.
    let topic = Topic::Out("vm-1".parse().unwrap());
    let texts: Vec<Vec<u8>> = envelopes().iter().map(|it| it[..it.len() - 96].to_vec()).collect();
    fuzz("signed envelope", &texts, |data| {
        use base64::Engine as _;
        let signed = [b"lab1\0", topic.to_string().as_bytes(), b"\0", data].concat();
        let signature = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(key().sign(&signed));
        let whole = [data, b",\"sig\":\"", signature.as_bytes(), b"\"}"].concat();
        envelope::open::<FromMinion>(&topic, &whole, &key().public()).is_ok()
    });
}

fn token() -> SeedToken {
    let (image_secret, image_key) = seed::new_image_key();
    let terms = TokenTerms {
        name: "bake-7".to_owned(),
        image_key,
        ids: "web-*".to_owned(),
        labels: Labels::default(),
        cidr: vec!["10.0.0.0/8".to_owned()],
        not_before: Timestamp(1),
        expires: Timestamp(2),
        uses: 3,
        replace: Replace::Never,
        retire_after_ms: None,
    };
    SeedToken { statement: seed::sign_terms(&terms, &key()), image_secret }
}

#[test]
fn a_token_is_good_only_as_it_was_signed() {
    let good = vec![token().statement.into_bytes()];
    let public = key().public();
    let terms = |text: &str| seed::open_terms(text, &public);
    let wanted = terms(std::str::from_utf8(&good[0]).unwrap());
    let (_, taken) = fuzz("token", &good, |data| {
        let opened = std::str::from_utf8(data).ok().and_then(terms);
        assert!(opened.is_none() || opened == wanted, "{:?}", String::from_utf8_lossy(data));
        opened.is_some()
    });
    assert!(taken > 0, "some are as they were signed");
}

#[test]
fn lists_of_masters_and_seeds_are_good_only_as_they_were_signed() {
    let entry = MasterEntry {
        name: "home".to_owned(),
        sign: key().public().to_text(),
        tls: ContentHash([9; 32]),
        mqtt: vec!["lab.home:8883".to_owned()],
        https: vec!["[fd00::1]:8443".to_owned()],
    };
    let list = Masters { version: 3, masters: vec![entry] };
    let text = list.sign(&key());
    let org = key().public();
    let (_, taken) = fuzz("masters.json", &[text.clone().into_bytes()], |data| {
        let opened = std::str::from_utf8(data).ok().and_then(|it| Masters::open(it, &org).ok());
        assert!(opened.as_ref().is_none_or(|it| *it == list), "{:?}", String::from_utf8_lossy(data));
        opened.is_some()
    });
    assert!(taken > 0, "some are as they were signed");
    let seed = Seed { v: 1, org: org.to_text(), masters: text, id: None, token: Some(token()) };
    let seed = serde_json::to_vec(&seed).unwrap();
    fuzz("seed", &[seed], |data| std::str::from_utf8(data).is_ok_and(|it| Seed::parse(it).is_ok()));
}

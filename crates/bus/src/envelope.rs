//! Signed envelopes: a JSON object whose last member is the signature, verified before it is parsed (`docs/explanation/bus.md`).

mod parse;

use crate::{
    PublicKey, Topic,
    keys::{self, Identity},
};
use model::{Timestamp, broken};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::Write as _;

/// What every envelope carries beside its message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of this connection and direction: random, made by the minion for both directions in its hello.
    pub session: String,
    /// Exactly one more than the last one in this session and direction; the first is 1.
    pub seq: u64,
    /// Sender's clock.
    pub iat: Timestamp,
    /// Not to be believed after, by the master's clock; none for ever.
    pub exp: Option<Timestamp>,
}

/// A message whose signature and topic were checked. Only [`open`] makes one.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    header: Header,
    message: T,
}

impl Header {
    /// Whether it may still be believed, by the master's clock.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Rejected> {
        let late = self.exp.is_some_and(|exp| exp < now) && !broken::leaves_out("envelope-exp");
        if late { Err(Rejected::Expired) } else { Ok(()) }
    }
}

/// A new session's name: 128 random bits.
pub fn random_session() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has randomness");
    keys::encode(&random)
}

impl<T> Verified<T> {
    /// What was said, to look at.
    pub fn message(&self) -> &T {
        &self.message
    }
    /// Session, number and times.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// What was said.
    pub fn into_message(self) -> T {
        self.message
    }
}

/// Why an envelope was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Larger than the limit of its topic.
    #[error("too large")]
    TooLarge,
    /// No signature at its end.
    #[error("no signature")]
    Unsigned,
    /// Not signed by that key for that topic.
    #[error("bad signature")]
    BadSignature,
    /// Signed, and yet no JSON of ours: duplicate keys, too deep, unknown version or type.
    #[error("malformed")]
    Malformed,
    /// Not the next number of this session.
    #[error("replayed or out of order")]
    OutOfOrder,
    /// After its end.
    #[error("expired")]
    Expired,
}

/// Largest envelope on `enroll/*`: from keys that are not members.
pub const ENROLL_MAX: usize = 4 * 1024;
/// Largest envelope on `ctl/*`.
pub const CONTROL_MAX: usize = 256 * 1024;
/// Largest telemetry sample (which is no envelope).
pub const SAMPLE_MAX: usize = 64 * 1024;
/// Deepest nesting of objects and lists, the envelope itself included.
pub const DEPTH_MAX: usize = 16;
/// Longest session.
pub const SESSION_MAX: usize = 64;
/// Version of the format.
const VERSION: u8 = 1;
/// What is put before the topic to sign.
const PREFIX: &[u8] = b"lab1\0";
/// What is put before the signature; it closes what is signed.
const SIGNATURE_BEGIN: &[u8] = br#","sig":""#;
/// What is put behind it.
const SIGNATURE_END: &[u8] = br#""}"#;
/// Base64url characters of a signature.
const SIGNATURE_LENGTH: usize = 86;

/// Largest payload on a topic.
pub fn size_max(topic: &Topic) -> usize {
    match topic {
        Topic::In(_) | Topic::Out(_) => CONTROL_MAX,
        Topic::EnrollIn(_) | Topic::EnrollOut(_) => ENROLL_MAX,
        Topic::Sample(_) => SAMPLE_MAX,
    }
}

/// Signs `message` for `topic`. What it serializes to must be `{"type": ..., "body": ...}`.
///
/// Whether the other side can take the result ([`acceptable`]) is the caller's to see to, wherever a message holds what
/// people or programs wrote: one that is refused, kept and sent again would end every connection.
pub fn seal<T: Serialize>(topic: &Topic, header: &Header, message: &T, key: &Identity) -> Vec<u8> {
    let message = serde_json::to_string(message).expect("messages have string keys only");
    let (name, rest) = split(&message);
    let session = serde_json::to_string(&header.session).expect("a string is JSON");
    let mut bytes = bytes_to_sign(topic, &[]);
    let start = bytes.len();
    let Header { seq, iat, exp, .. } = header;
    write!(bytes, r#"{{"v":{VERSION},"type":"{name}","session":{session},"seq":{seq},"iat":{}"#, iat.0)
        .expect("a vector takes all");
    if let Some(exp) = exp {
        write!(bytes, r#","exp":{}"#, exp.0).expect("a vector takes all");
    }
    bytes.extend_from_slice(rest.as_bytes());
    let signature = keys::encode(&key.sign(&bytes));
    [&bytes[start..], SIGNATURE_BEGIN, signature.as_bytes(), SIGNATURE_END].concat()
}

/// Whether an envelope that we sealed is one that the other side takes: by size and by depth.
pub fn acceptable(topic: &Topic, bytes: &[u8]) -> Result<(), Rejected> {
    if bytes.len() > size_max(topic) {
        return Err(Rejected::TooLarge);
    }
    parse::strict(bytes).map(drop).map_err(|_| Rejected::Malformed)
}

/// Checks size, signature and topic, then parses. Whether it comes in order ([`Sequence::accept`]) and in time
/// ([`Header::in_time`]) is the caller's to see to.
pub fn open<T: DeserializeOwned>(
    topic: &Topic,
    bytes: &[u8],
    key: &PublicKey,
) -> Result<Verified<T>, Rejected> {
    if bytes.len() > size_max(topic) && !broken::leaves_out("envelope-size") {
        return Err(Rejected::TooLarge);
    }
    if broken::leaves_out("envelope-signature") {
        return parse::parse(bytes).map_err(|_| Rejected::Malformed);
    }
    let (signed, signature) = unsuffix(bytes).ok_or(Rejected::Unsigned)?;
    if !key.verify(&bytes_to_sign(topic, signed), &signature) {
        return Err(Rejected::BadSignature);
    }
    parse::parse(bytes).map_err(|_| Rejected::Malformed)
}

/// Name and `,"body":...` (without the closing brace) of `{"type":"<name>","body":...}`.
fn split(message: &str) -> (&str, &str) {
    message
        .strip_prefix(r#"{"type":""#)
        .and_then(|rest| rest.strip_suffix('}')?.split_once('"'))
        .expect("messages are adjacently tagged by `type` and `body`, and type names need no escape")
}

/// What is signed, and the signature, of an envelope's bytes.
fn unsuffix(bytes: &[u8]) -> Option<(&[u8], [u8; 64])> {
    let rest = bytes.strip_suffix(SIGNATURE_END)?;
    let (rest, signature) = rest.split_at_checked(rest.len().checked_sub(SIGNATURE_LENGTH)?)?;
    Some((rest.strip_suffix(SIGNATURE_BEGIN)?, keys::decode(std::str::from_utf8(signature).ok()?)?))
}

fn bytes_to_sign(topic: &Topic, payload: &[u8]) -> Vec<u8> {
    let topic = if broken::leaves_out("envelope-topic") { String::new() } else { topic.to_string() };
    [PREFIX, topic.as_bytes(), b"\0", payload].concat()
}

/// One direction of one connection: numbers must be 1, 2, 3, ... of one session.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    session: Option<String>,
    last: u64,
}

impl Sequence {
    /// A direction whose session is known already.
    pub fn of(session: String) -> Self {
        Self { session: Some(session), last: 0 }
    }
    /// The header of the next message to send.
    pub fn next(&mut self, now: Timestamp, exp: Option<Timestamp>) -> Header {
        self.last += 1;
        let session = self.session.clone().unwrap_or_default();
        Header { session, seq: self.last, iat: now, exp }
    }
    /// Takes a received header; the first one fixes the session if it is not known.
    pub fn accept(&mut self, header: &Header) -> Result<(), Rejected> {
        let known = self.session.as_ref().is_none_or(|session| *session == header.session);
        let next = known && self.last.checked_add(1) == Some(header.seq);
        if !next && !broken::leaves_out("sequence") {
            return Err(Rejected::OutOfOrder);
        }
        self.session.get_or_insert_with(|| header.session.clone());
        self.last = header.seq;
        Ok(())
    }
    /// The session, once known.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{EnrollAnswer, EnrollRequest, FromMinion};
    use model::JobId;

    fn key() -> Identity {
        Identity::from_secrets([1; 32], [2; 32])
    }

    fn out(id: &str) -> Topic {
        Topic::Out(id.parse().unwrap())
    }

    fn header() -> Header {
        Header { session: "s1".to_owned(), seq: 7, iat: Timestamp(1000), exp: None }
    }

    fn received() -> FromMinion {
        FromMinion::Received { job: JobId(1) }
    }

    /// Signs any text as an envelope on `ctl/m1/out`; `text` lacks the signature and the closing brace.
    fn sign(text: &str) -> Vec<u8> {
        let signature = keys::encode(&key().sign(&bytes_to_sign(&out("m1"), text.as_bytes())));
        format!("{text},\"sig\":\"{signature}\"}}").into_bytes()
    }

    fn opened(bytes: &[u8]) -> Result<FromMinion, Rejected> {
        open(&out("m1"), bytes, &key().public()).map(Verified::into_message)
    }

    #[test]
    fn an_envelope_is_what_the_book_says() {
        let header = Header { exp: Some(Timestamp(2000)), ..header() };
        let bytes = seal(&out("m1"), &header, &received(), &key());
        let text = String::from_utf8(bytes.clone()).unwrap();
        let (signed, signature) = text.split_at(text.len() - 96);
        assert_eq!(
            signed,
            r#"{"v":1,"type":"received","session":"s1","seq":7,"iat":1000,"exp":2000,"body":{"job":"00000000000000000000000001"}"#
        );
        assert!(signature.starts_with(r#","sig":""#) && signature.ends_with(r#""}"#));
        let verified = open::<FromMinion>(&out("m1"), &bytes, &key().public()).unwrap();
        assert_eq!(*verified.header(), header);
        assert_eq!(*verified.message(), received());
        assert_eq!(header.in_time(Timestamp(2000)), Ok(()));
        assert_eq!(header.in_time(Timestamp(2001)), Err(Rejected::Expired));
    }

    #[test]
    fn enrolment_has_the_same_form() {
        let identity = key();
        let fingerprint = identity.public().fingerprint();
        let request = EnrollRequest {
            minion: "web-1".parse().unwrap(),
            sign: identity.public().to_text(),
            seal: identity.seal_key().to_text(),
            version: "0.1.0".to_owned(),
            claims: model::Labels::default(),
            token: None,
            image_sig: Some("x".to_owned()),
        };
        let topic = Topic::EnrollOut(fingerprint.clone());
        let bytes = seal(&topic, &header(), &request, &identity);
        assert!(bytes.starts_with(br#"{"v":1,"type":"enroll","session":"s1""#));
        let read = open::<EnrollRequest>(&topic, &bytes, &identity.public()).unwrap();
        assert_eq!(read.into_message(), request);
        let answer = EnrollAnswer::Accepted { minion: "web-1".parse().unwrap() };
        let topic = Topic::EnrollIn(fingerprint);
        let bytes = seal(&topic, &header(), &answer, &identity);
        let read = open::<EnrollAnswer>(&topic, &bytes, &identity.public()).unwrap();
        assert_eq!(read.into_message(), answer);
        assert_eq!(
            open::<EnrollRequest>(&topic, &bytes, &identity.public()).unwrap_err(),
            Rejected::Malformed
        );
    }

    #[test]
    fn no_bit_can_be_changed_and_nothing_cut_off_or_added() {
        let bytes = seal(&out("m1"), &header(), &received(), &key());
        assert_eq!(opened(&bytes), Ok(received()));
        for index in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[index] ^= 1;
            let refused = opened(&bent).unwrap_err();
            assert!(
                matches!(refused, Rejected::Unsigned | Rejected::BadSignature),
                "byte {index}: {refused}"
            );
            let refused = opened(&bytes[..index]).unwrap_err();
            assert!(
                matches!(refused, Rejected::Unsigned | Rejected::BadSignature),
                "first {index}: {refused}"
            );
        }
        let longer = [bytes.as_slice(), b" "].concat();
        assert_eq!(opened(&longer), Err(Rejected::Unsigned));
    }

    #[test]
    fn a_message_is_good_for_its_topic_and_key_only() {
        let bytes = seal(&out("m1"), &header(), &received(), &key());
        let topics =
            [out("m10"), out("m2"), Topic::In("m1".parse().unwrap()), Topic::Sample("m1".parse().unwrap())];
        for topic in topics {
            let refused = open::<FromMinion>(&topic, &bytes, &key().public()).unwrap_err();
            assert_eq!(refused, Rejected::BadSignature, "{topic}");
        }
        let other = Identity::from_secrets([3; 32], [2; 32]).public();
        assert_eq!(open::<FromMinion>(&out("m1"), &bytes, &other).unwrap_err(), Rejected::BadSignature);
    }

    #[test]
    fn what_is_signed_and_yet_malformed_is_refused() {
        let good = r#"{"v":1,"type":"received","session":"s","seq":1,"iat":1,"body":{"job":"00000000000000000000000001"}"#;
        assert_eq!(opened(&sign(good)), Ok(received()));
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let event = |data: &str| {
            good.replace("received", "event").replace(
                r#"{"job":"00000000000000000000000001"}"#,
                &format!(r#"{{"number":1,"tag":"x","data":{data}}}"#),
            )
        };
        assert!(opened(&sign(&event(&deep(DEPTH_MAX - 2)))).is_ok());
        let many: Vec<String> = (0..40).map(|index| format!("\"k{index}\":1")).collect();
        assert!(opened(&sign(&event(&format!("{{{}}}", many.join(","))))).is_ok());
        for (what, bad) in [
            ("unknown version", good.replace("\"v\":1", "\"v\":2")),
            ("no version", good.replace("\"v\":1,", "")),
            ("unknown type", good.replace("received", "recieved")),
            ("no type", good.replace("\"type\":\"received\",", "")),
            ("no session", good.replace("\"session\":\"s\",", "")),
            ("empty session", good.replace("\"s\"", "\"\"")),
            ("long session", good.replace("\"s\"", &format!("\"{}\"", "s".repeat(SESSION_MAX + 1)))),
            ("negative number", good.replace("\"seq\":1", "\"seq\":-1")),
            ("duplicate member", good.replace("\"seq\":1", "\"seq\":1,\"seq\":1")),
            ("duplicate type", good.replace("\"seq\"", "\"type\":\"received\",\"seq\"")),
            ("second signature", good.replace("\"seq\"", "\"sig\":\"\",\"seq\"")),
            ("duplicate in unknown member", good.replace("\"seq\"", "\"x\":{\"a\":1,\"a\":1},\"seq\"")),
            ("duplicate in data", event(r#"{"a":1,"a":2}"#)),
            ("duplicate by escape", event(r#"{"a":1,"\u0061":2}"#)),
            ("duplicate among many", event(&format!("{{{},\"k39\":1}}", many.join(",")))),
            ("duplicate of the first among many", event(&format!("{{{},\"k0\":1}}", many.join(",")))),
            ("too deep", event(&deep(DEPTH_MAX - 1))),
            ("far too deep", event(&deep(20_000))),
            ("no object", good.replacen('{', "[", 1)),
            ("no JSON", "hello".to_owned()),
        ] {
            assert_eq!(opened(&sign(&bad)), Err(Rejected::Malformed), "{what}: {bad}");
        }
    }

    #[test]
    fn unknown_members_are_ignored_and_order_does_not_matter() {
        let text = r#"{"body":{"job":"00000000000000000000000001","later":[1]},"iat":1,"x":{"y":1},"seq":1,"session":"s","type":"received","v":1"#;
        assert_eq!(opened(&sign(text)), Ok(received()));
    }

    #[test]
    fn a_payload_over_the_limit_of_its_topic_is_not_even_looked_at() {
        let fingerprint = key().public().fingerprint();
        for (topic, limit) in [
            (out("m1"), CONTROL_MAX),
            (Topic::EnrollOut(fingerprint), ENROLL_MAX),
            (Topic::In("m1".parse().unwrap()), CONTROL_MAX),
        ] {
            let open = |size| open::<FromMinion>(&topic, &vec![b'x'; size], &key().public()).unwrap_err();
            assert_eq!(open(limit), Rejected::Unsigned);
            assert_eq!(open(limit + 1), Rejected::TooLarge);
        }
    }

    #[test]
    fn the_sender_can_tell_beforehand_what_will_be_refused() {
        let event = |data| FromMinion::Event { number: 1, tag: "x".to_owned(), data, gap: 0 };
        let nested = |depth| (1..depth).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
        for (data, expected) in [
            (nested(DEPTH_MAX - 2), Ok(())),
            (nested(DEPTH_MAX - 1), Err(Rejected::Malformed)),
            (serde_json::json!("x".repeat(CONTROL_MAX)), Err(Rejected::TooLarge)),
        ] {
            let bytes = seal(&out("m1"), &header(), &event(data), &key());
            assert_eq!(acceptable(&out("m1"), &bytes), expected);
            assert_eq!(opened(&bytes).map(drop), expected);
        }
    }

    #[test]
    fn a_session_is_a_row_of_numbers_without_gaps() {
        let mut sender = Sequence::of("a".to_owned());
        let mut receiver = Sequence::default();
        let headers: Vec<Header> = (0..4).map(|_| sender.next(Timestamp(1), None)).collect();
        assert_eq!(receiver.accept(&headers[1]), Err(Rejected::OutOfOrder));
        let mut receiver = Sequence::default();
        assert_eq!(receiver.accept(&headers[0]), Ok(()));
        assert_eq!(receiver.session(), Some("a"));
        assert_eq!(receiver.accept(&headers[0]), Err(Rejected::OutOfOrder));
        assert_eq!(receiver.accept(&headers[2]), Err(Rejected::OutOfOrder));
        assert_eq!(receiver.accept(&headers[1]), Ok(()));
        let stranger = Header { session: "b".to_owned(), ..headers[2].clone() };
        assert_eq!(receiver.accept(&stranger), Err(Rejected::OutOfOrder));
        assert_eq!(receiver.accept(&headers[2]), Ok(()));
        assert_ne!(random_session(), random_session());
        assert!(random_session().len() <= SESSION_MAX);
    }
}

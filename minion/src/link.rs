//! One connection's envelopes: what is said is signed and numbered, what is heard is believed only if a master of ours
//! signed it for this minion, in order, in time.

use bus::envelope::{self, Sequence};
use bus::masters::Masters;
use bus::{FromMinion, Identity, PublicKey, Rejected, ToMinion, Topic};
use model::{Grains, MinionId, Timestamp};
use serde_json::{Value, json};

/// Characters of a text that stays of a message that was too long.
const TEXT_MAX: usize = 200;
/// Members that stay of a list that was too long.
const LIST_MAX: usize = 256;

/// An open connection of a member.
#[derive(Debug)]
pub struct Link {
    inbox: Topic,
    outbox: Topic,
    masters: Vec<PublicKey>,
    incoming: Sequence,
    outgoing: Sequence,
}

impl Link {
    /// Begins a session; `session` is random ([`envelope::random_session`]).
    pub fn new(id: &MinionId, masters: Vec<PublicKey>, session: &str) -> Self {
        Self {
            inbox: Topic::In(id.clone()),
            outbox: Topic::Out(id.clone()),
            masters,
            incoming: Sequence::of(session.to_owned()),
            outgoing: Sequence::of(session.to_owned()),
        }
    }

    /// Topic and payload of the next message. What the master would not take, because people or programs made it too
    /// deep or too long, is said shorter: it would be refused, kept, and said again for ever.
    pub fn seal(&mut self, now: Timestamp, message: &FromMinion, key: &Identity) -> (String, Vec<u8>) {
        let header = self.outgoing.next(now, None);
        let mut payload = envelope::seal(&self.outbox, &header, message, key);
        if envelope::acceptable(&self.outbox, &payload).is_err() {
            tracing::warn!(bytes = payload.len(), "a message was too deep or too long and was cut");
            payload = envelope::seal(&self.outbox, &header, &shorter(message.clone(), payload.len()), key);
        }
        (self.outbox.to_string(), payload)
    }

    /// What was heard, and the master's clock when it was said. `master_now` is that clock now, once it is known.
    pub fn open(
        &mut self,
        topic: &str,
        payload: &[u8],
        master_now: Option<Timestamp>,
    ) -> Result<(ToMinion, Timestamp), Rejected> {
        if Topic::parse(topic).as_ref() != Some(&self.inbox) {
            return Err(Rejected::BadSignature);
        }
        let mut refusal = Rejected::BadSignature;
        for key in &self.masters {
            match envelope::open::<ToMinion>(&self.inbox, payload, key) {
                Ok(verified) => {
                    self.incoming.accept(verified.header())?;
                    if let Some(now) = master_now {
                        verified.header().in_time(now)?;
                    }
                    let sent = verified.header().iat;
                    return Ok((verified.into_message(), sent));
                }
                Err(rejected) => refusal = rejected,
            }
        }
        Err(refusal)
    }
}

/// The message without what may be of any size; an event says that it was cut.
fn shorter(message: FromMinion, bytes: usize) -> FromMinion {
    match message {
        FromMinion::Hello(mut hello) => {
            hello.grains = hello.grains.map(plain);
            hello.waiting.truncate(LIST_MAX);
            hello.unacknowledged.truncate(LIST_MAX);
            FromMinion::Hello(hello)
        }
        FromMinion::Grains { grains, hash } => FromMinion::Grains { grains: plain(grains), hash },
        FromMinion::Event { number, tag, gap, .. } => {
            FromMinion::Event { number, tag: cut(&tag), data: json!({ "cut": bytes }), gap }
        }
        FromMinion::Answer { probe, answer: Value::Object(grains) } => {
            FromMinion::Answer { probe, answer: Value::Object(plain(grains)) }
        }
        FromMinion::Answer { probe, .. } => FromMinion::Answer { probe, answer: json!({ "cut": bytes }) },
        FromMinion::Progress { job, step, of, what, .. } => {
            let (what, ended, output) = (cut(&what), Vec::new(), Vec::new());
            FromMinion::Progress { job, step, of, what, ended, output }
        }
        FromMinion::Result(mut result) => {
            result.reason = cut(&result.reason);
            result.report = None;
            FromMinion::Result(result)
        }
        FromMinion::Refused { job, reason } => FromMinion::Refused { job, reason: cut(&reason) },
        FromMinion::Goodbye { reason } => FromMinion::Goodbye { reason: cut(&reason) },
        short @ (FromMinion::Heartbeat { .. }
        | FromMinion::Received { .. }
        | FromMinion::ResultPart { .. }) => short,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// Short values only.
fn plain(grains: Grains) -> Grains {
    let short = |(name, value): &(String, Value)| {
        let nested = matches!(value, Value::Array(_) | Value::Object(_));
        !nested && name.len() + value.to_string().len() <= TEXT_MAX
    };
    grains.into_iter().filter(short).take(LIST_MAX).collect()
}

/// The keys that masters sign with.
pub fn signers(masters: &Masters) -> Vec<PublicKey> {
    masters.masters.iter().filter_map(|it| PublicKey::from_text(&it.sign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Header;
    use bus::message::{Offer, SealedRecipe};
    use model::{JobId, Mode};

    const NOW: Timestamp = Timestamp(5_000);

    fn master() -> Identity {
        Identity::from_secrets([1; 32], [2; 32])
    }

    fn id() -> MinionId {
        "vm-1".parse().unwrap()
    }

    fn link() -> Link {
        Link::new(&id(), vec![master().public()], "session-1")
    }

    fn offer() -> ToMinion {
        ToMinion::Offer(Box::new(Offer {
            job: JobId(1),
            mode: Mode::Apply,
            command: true,
            full: false,
            expires: NOW.plus_ms(60_000),
            what: "run id".to_owned(),
            recipe: SealedRecipe::Here { sealed: String::new() },
            confirm_ms: None,
            begun: None,
        }))
    }

    fn header(seq: u64) -> Header {
        Header { session: "session-1".to_owned(), seq, iat: NOW, exp: Some(NOW.plus_ms(1_000)) }
    }

    fn said(by: &Identity, to: &str, header: &Header) -> Vec<u8> {
        envelope::seal(&Topic::In(to.parse().unwrap()), header, &offer(), by)
    }

    /// What people and programs may write: far too deep, and far too long.
    fn extremes() -> [Value; 2] {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        [deep, json!("\u{1}".repeat(300 << 10))]
    }

    #[test]
    fn what_the_master_would_not_take_is_said_shorter_and_in_order() {
        let key = Identity::from_secrets([5; 32], [6; 32]);
        let mut link = link();
        let mut master = Sequence::of("session-1".to_owned());
        let topic = Topic::Out(id());
        let hash = model::ContentHash([0; 32]);
        for value in extremes() {
            let text = value.to_string();
            let grains: Grains = [("os".to_owned(), json!("Debian")), ("mine".to_owned(), value.clone())]
                .into_iter()
                .collect();
            let hello = bus::message::Hello {
                version: "0.1.0".to_owned(),
                boot: "b".to_owned(),
                first_of_boot: true,
                sandbox: false,
                grains_hash: hash,
                grains: Some(grains.clone()),
                running: None,
                waiting: Vec::new(),
                unacknowledged: vec![JobId(7); 20_000],
                next_event: 1,
                masters: 1,
                masters_hash: None,
                speaker: bus::message::Speaker::default(),
                can: Vec::new(),
                conduct: None,
            };
            let what = text.clone();
            for message in [
                FromMinion::Hello(Box::new(hello)),
                FromMinion::Grains { grains: grains.clone(), hash },
                FromMinion::Answer { probe: 1, answer: Value::Object(grains) },
                FromMinion::Answer { probe: 1, answer: value.clone() },
                FromMinion::Event { number: 4, tag: "event/x".to_owned(), data: value, gap: 2 },
                FromMinion::Progress { job: JobId(1), step: 1, of: 2, what, ended: vec![], output: vec![] },
                FromMinion::Refused { job: JobId(1), reason: text.clone() },
                FromMinion::Goodbye { reason: text },
            ] {
                let (_, payload) = link.seal(NOW, &message, &key);
                let heard = envelope::open::<FromMinion>(&topic, &payload, &key.public()).unwrap();
                assert_eq!(master.accept(heard.header()), Ok(()));
                match heard.into_message() {
                    FromMinion::Hello(hello) => assert_eq!(hello.grains.unwrap()["os"], "Debian"),
                    FromMinion::Grains { grains, .. } => assert_eq!(grains.len(), 1),
                    FromMinion::Event { number, gap, data, .. } => {
                        assert_eq!((number, gap), (4, 2));
                        assert!(data["cut"].as_u64().is_some(), "{data}");
                    }
                    _ => {}
                }
            }
        }
        let fine = FromMinion::Event { number: 5, tag: "x".to_owned(), data: json!({"a": 1}), gap: 0 };
        let (_, payload) = link.seal(NOW, &fine, &key);
        assert_eq!(*envelope::open::<FromMinion>(&topic, &payload, &key.public()).unwrap().message(), fine);
    }

    #[test]
    fn an_offer_of_our_master_is_heard_once() {
        let mut link = link();
        let payload = said(&master(), "vm-1", &header(1));
        assert_eq!(link.open("ctl/vm-1/in", &payload, Some(NOW)).unwrap(), (offer(), NOW));
        assert_eq!(link.open("ctl/vm-1/in", &payload, Some(NOW)).unwrap_err(), Rejected::OutOfOrder);
    }

    #[test]
    fn offers_of_strangers_altered_foreign_old_and_unordered_ones_are_refused() {
        let stranger = Identity::from_secrets([9; 32], [8; 32]);
        let minion = Identity::from_secrets([5; 32], [6; 32]);
        let good = said(&master(), "vm-1", &header(1));
        let text = String::from_utf8(good.clone()).unwrap();
        let other_session = Header { session: "session-2".to_owned(), ..header(1) };
        let old = Header { exp: Some(Timestamp(NOW.0 - 1)), ..header(1) };
        for (what, topic, payload, want) in [
            ("a stranger", "ctl/vm-1/in", said(&stranger, "vm-1", &header(1)), Rejected::BadSignature),
            (
                "the minion's own key",
                "ctl/vm-1/in",
                said(&minion, "vm-1", &header(1)),
                Rejected::BadSignature,
            ),
            ("altered", "ctl/vm-1/in", text.replace("run id", "run ix").into_bytes(), Rejected::BadSignature),
            (
                "for another minion",
                "ctl/vm-1/in",
                said(&master(), "vm-2", &header(1)),
                Rejected::BadSignature,
            ),
            ("on another topic", "ctl/vm-2/in", said(&master(), "vm-2", &header(1)), Rejected::BadSignature),
            ("on our own outbox", "ctl/vm-1/out", good.clone(), Rejected::BadSignature),
            ("on no topic of ours", "lab/x", good, Rejected::BadSignature),
            (
                "of another session",
                "ctl/vm-1/in",
                said(&master(), "vm-1", &other_session),
                Rejected::OutOfOrder,
            ),
            ("out of order", "ctl/vm-1/in", said(&master(), "vm-1", &header(2)), Rejected::OutOfOrder),
            ("too late", "ctl/vm-1/in", said(&master(), "vm-1", &old), Rejected::Expired),
            ("unsigned", "ctl/vm-1/in", b"{\"v\":1}".to_vec(), Rejected::Unsigned),
        ] {
            assert_eq!(link().open(topic, &payload, Some(NOW)).unwrap_err(), want, "{what}");
        }
    }

    #[test]
    fn a_second_master_is_heard_only_if_the_list_has_it() {
        let second = Identity::from_secrets([3; 32], [4; 32]);
        let payload = said(&second, "vm-1", &header(1));
        assert!(link().open("ctl/vm-1/in", &payload, None).is_err());
        let mut both = Link::new(&id(), vec![master().public(), second.public()], "session-1");
        assert!(both.open("ctl/vm-1/in", &payload, None).is_ok());
    }

    #[test]
    fn what_is_said_is_numbered_and_signed_for_our_outbox() {
        let key = Identity::from_secrets([5; 32], [6; 32]);
        let mut link = link();
        for seq in 1..=2 {
            let (topic, payload) = link.seal(NOW, &FromMinion::Heartbeat { running: None }, &key);
            assert_eq!(topic, "ctl/vm-1/out");
            let heard = envelope::open::<FromMinion>(&Topic::Out(id()), &payload, &key.public()).unwrap();
            assert_eq!((heard.header().seq, heard.header().session.as_str()), (seq, "session-1"));
        }
    }
}

//! One connection's envelopes: what is said is signed and numbered, what is heard is believed only if a master of ours
//! signed it for this minion, in order, in time.

use bus::envelope::{self, Sequence};
use bus::masters::Masters;
use bus::{FromMinion, Identity, PublicKey, Rejected, ToMinion, Topic};
use model::{MinionId, Timestamp};

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

    /// Topic and payload of the next message.
    pub fn seal(&mut self, now: Timestamp, message: &FromMinion, key: &Identity) -> (String, Vec<u8>) {
        let header = self.outgoing.next(now, None);
        (self.outbox.to_string(), envelope::seal(&self.outbox, &header, message, key))
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
        }))
    }

    fn header(seq: u64) -> Header {
        Header { session: "session-1".to_owned(), seq, iat: NOW, exp: Some(NOW.plus_ms(1_000)) }
    }

    fn said(by: &Identity, to: &str, header: &Header) -> Vec<u8> {
        envelope::seal(&Topic::In(to.parse().unwrap()), header, &offer(), by)
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

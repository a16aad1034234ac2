//! One connection between a minion and the gate: signed envelopes in order, until it is cut.

use bus::{
    FromMinion, Identity, PublicKey, ToMinion, Topic,
    envelope::{self, Sequence},
};
use model::{MinionId, Timestamp};

/// Both ends of a connection.
pub(crate) struct Link {
    pub(crate) epoch: u64,
    pub(crate) minion: usize,
    /// Nothing arrives any more.
    pub(crate) cut: bool,
    /// When the last message of each direction arrives: they do not overtake each other.
    pub(crate) arrives_at_master: u64,
    pub(crate) arrives_at_minion: u64,
    minion_out: Sequence,
    minion_in: Sequence,
    master_in: Sequence,
}

/// What one end may sign and must check.
pub(crate) struct Ends<'a> {
    pub(crate) id: &'a MinionId,
    pub(crate) minion: &'a Identity,
    pub(crate) master: &'a Identity,
}

impl Ends<'_> {
    fn master_key(&self) -> PublicKey {
        self.master.public()
    }
}

impl Link {
    pub(crate) fn new(epoch: u64, minion: usize, session: &str) -> Self {
        Self {
            epoch,
            minion,
            cut: false,
            arrives_at_master: 0,
            arrives_at_minion: 0,
            minion_out: Sequence::of(session.to_owned()),
            minion_in: Sequence::of(session.to_owned()),
            master_in: Sequence::default(),
        }
    }

    /// The gate took the hello, and with it the session.
    pub(crate) fn has_begun(&self) -> bool {
        self.master_in.session().is_some()
    }

    pub(crate) fn seal_from_minion(&mut self, ends: &Ends<'_>, now: u64, message: &FromMinion) -> Vec<u8> {
        let header = self.minion_out.next(Timestamp(now), None);
        envelope::seal(&Topic::Out(ends.id.clone()), &header, message, ends.minion)
    }

    /// What the gate lets through.
    pub(crate) fn open_at_master(&mut self, ends: &Ends<'_>, bytes: &[u8]) -> Option<FromMinion> {
        let topic = Topic::Out(ends.id.clone());
        let verified = envelope::open::<FromMinion>(&topic, bytes, &ends.minion.public()).ok()?;
        self.master_in.accept(verified.header()).ok()?;
        Some(verified.into_message())
    }

    /// What the minion lets through, with the master's clock when it was signed.
    pub(crate) fn open_at_minion(&mut self, ends: &Ends<'_>, bytes: &[u8]) -> Option<(ToMinion, Timestamp)> {
        let topic = Topic::In(ends.id.clone());
        let verified = envelope::open::<ToMinion>(&topic, bytes, &ends.master_key()).ok()?;
        self.minion_in.accept(verified.header()).ok()?;
        let sent = verified.header().iat;
        Some((verified.into_message(), sent))
    }
}

/// The master's end: its numbers are lost with it, as the connection is.
pub(crate) struct GateEnd {
    pub(crate) epoch: u64,
    out: Sequence,
}

impl GateEnd {
    pub(crate) fn new(epoch: u64, session: &str) -> Self {
        Self { epoch, out: Sequence::of(session.to_owned()) }
    }

    pub(crate) fn seal(&mut self, ends: &Ends<'_>, now: Timestamp, message: &ToMinion) -> Vec<u8> {
        let header = self.out.next(now, None);
        envelope::seal(&Topic::In(ends.id.clone()), &header, message, ends.master)
    }
}

//! Enrolment: an unknown key asks to be a member, and waits in quarantine until it is.

use bus::client::{Client, ClientConfig, ClientEvent, Refusal, is_untrusted, refusal};
use bus::envelope::{self, Sequence};
use bus::message::{EnrollAnswer, EnrollRequest};
use bus::seed::{SeedToken, sign_request};
use bus::{Identity, PublicKey, Rejected, Topic, tls};
use model::{ContentHash, Labels, MinionId, Timestamp};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// First pause between two requests; the gate takes one in ten seconds.
const ASK_FIRST: Duration = Duration::from_secs(11);
/// Longest.
const ASK_MAX: Duration = Duration::from_mins(1);
/// After a no.
const ASK_REJECTED: Duration = Duration::from_mins(5);
/// Ceiling of the back-off between connections, in milliseconds.
const BACKOFF_MS: u64 = 60_000;
/// Largest packet: an envelope of 4 KiB and its topic.
const PACKET_MAX: usize = 8 << 10;
/// Attempts to say the first message of a connection.
const FIRST_ATTEMPTS: u32 = 1000;
/// Refusals of one kind in a row before they are believed.
const REFUSED_MAX: u32 = 2;

/// Who asks whom for what.
pub struct Candidate<'a> {
    /// The key.
    pub identity: &'a Identity,
    /// Name it wants.
    pub id: MinionId,
    /// Its token; without, it goes to quarantine.
    pub token: Option<&'a SeedToken>,
    /// What it says of itself.
    pub claims: Labels,
    /// Release.
    pub version: String,
    /// Keys that masters sign with.
    pub masters: Vec<PublicKey>,
    /// Keys that masters show in TLS.
    pub pins: Vec<ContentHash>,
    /// Where masters listen.
    pub addresses: Vec<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Enrolled {
    /// A member, under this name.
    Accepted(MinionId),
    /// The masters treat this key as a member's already.
    AlreadyMember,
    /// Who answers is no master that the list names.
    Untrusted,
    /// The masters let this key in no more, or never.
    Banned,
}

impl Candidate<'_> {
    /// Asks until it is a member. Can be dropped at any point.
    pub async fn enroll(&self, now: impl Fn() -> Timestamp) -> Enrolled {
        let fingerprint = self.identity.public().fingerprint();
        let (inbox, outbox) = (Topic::EnrollIn(fingerprint.clone()), Topic::EnrollOut(fingerprint.clone()));
        let (client, mut events) = Client::start(ClientConfig {
            addresses: self.addresses.clone(),
            tls: Some(tls::client_config(&self.pins, Some(self.identity))),
            client_id: "labminion".to_owned(),
            login: None,
            subscribe: vec![inbox.to_string()],
            packet_max: PACKET_MAX,
            keep_alive_s: 30,
            backoff_max_ms: BACKOFF_MS,
        });
        let request = self.request();
        let mut talk = Talk::default();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(ClientEvent::Connected { address }) => {
                        info!(address, id = %self.id, key = %fingerprint, "asking to be a member");
                        talk.connected();
                    }
                    Some(ClientEvent::Message { topic, payload }) if topic == inbox.to_string() => {
                        match talk.hear(&inbox, &payload, &self.masters) {
                            Ok(EnrollAnswer::Accepted { minion }) => {
                                client.close().await;
                                return Enrolled::Accepted(minion);
                            }
                            Ok(answer) => talk.wait(&answer, &self.id),
                            Err(rejected) => warn!(reason = %rejected, "an answer was not believed"),
                        }
                    }
                    Some(ClientEvent::Message { .. }) => {}
                    Some(ClientEvent::Disconnected { reason, retry_ms, .. }) => {
                        warn!(reason, retry_ms, "not connected");
                        if let Some(enrolled) = talk.disconnected(&reason) {
                            return enrolled;
                        }
                    }
                    None => return Enrolled::AlreadyMember,
                },
                () = sleep_until(talk.ask_at), if talk.outgoing.is_some() => {
                    let header = talk.next_header(now());
                    let payload = envelope::seal(&outbox, &header, &request, self.identity);
                    // A loss is followed by another connection, and that by another request. `Connected` is told
                    // a moment before the client can be published with.
                    for _ in 0..FIRST_ATTEMPTS {
                        if client.publish(outbox.to_string(), payload.clone(), false).await.is_ok() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    fn request(&self) -> EnrollRequest {
        let public = self.identity.public();
        let image_sig = self.token.and_then(|token| sign_request(token, &public.fingerprint(), &self.id));
        EnrollRequest {
            minion: self.id.clone(),
            sign: public.to_text(),
            seal: self.identity.seal_key().to_text(),
            version: self.version.clone(),
            claims: self.claims.clone(),
            token: self.token.map(|token| token.statement.clone()),
            image_sig,
        }
    }
}

/// Where the conversation stands.
struct Talk {
    incoming: Sequence,
    outgoing: Option<Sequence>,
    ask_at: Instant,
    pause: Duration,
    last_reason: String,
    refused: Option<(Refusal, u32)>,
    untrusted: u32,
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            incoming: Sequence::default(),
            outgoing: None,
            ask_at: Instant::now(),
            pause: ASK_FIRST,
            last_reason: String::new(),
            refused: None,
            untrusted: 0,
        }
    }
}

impl Talk {
    fn connected(&mut self) {
        let session = envelope::random_session();
        self.incoming = Sequence::of(session.clone());
        self.outgoing = Some(Sequence::of(session));
        self.ask_at = Instant::now();
        self.refused = None;
    }

    /// What refusals say, once there are enough of them.
    fn disconnected(&mut self, reason: &str) -> Option<Enrolled> {
        self.outgoing = None;
        self.untrusted = if is_untrusted(reason) { self.untrusted + 1 } else { 0 };
        if self.untrusted >= REFUSED_MAX {
            return Some(Enrolled::Untrusted);
        }
        let said = refusal(reason);
        self.refused = match (said, &self.refused) {
            (Some(said), Some((before, count))) if *before == said => Some((said, count + 1)),
            (Some(said), _) => Some((said, 1)),
            (None, _) => None,
        };
        match self.refused? {
            (_, count) if count < REFUSED_MAX => None,
            (Refusal::Subscription, _) => Some(Enrolled::AlreadyMember),
            (Refusal::Key, _) => Some(Enrolled::Banned),
        }
    }

    fn next_header(&mut self, now: Timestamp) -> bus::Header {
        self.ask_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(ASK_MAX);
        let outgoing = self.outgoing.get_or_insert_with(Sequence::default);
        outgoing.next(now, None)
    }

    fn hear(
        &mut self,
        inbox: &Topic,
        payload: &[u8],
        masters: &[PublicKey],
    ) -> Result<EnrollAnswer, Rejected> {
        let mut refusal = Rejected::BadSignature;
        for key in masters {
            match envelope::open::<EnrollAnswer>(inbox, payload, key) {
                Ok(verified) => {
                    self.incoming.accept(verified.header())?;
                    return Ok(verified.into_message());
                }
                Err(rejected) => refusal = rejected,
            }
        }
        Err(refusal)
    }

    fn wait(&mut self, answer: &EnrollAnswer, id: &MinionId) {
        let (reason, rejected) = match answer {
            EnrollAnswer::Pending { reason } => (reason, false),
            EnrollAnswer::Rejected { reason } => (reason, true),
            EnrollAnswer::Accepted { .. } => return,
        };
        if rejected {
            self.pause = ASK_REJECTED;
            self.ask_at = Instant::now() + ASK_REJECTED;
        }
        if self.last_reason != *reason {
            self.last_reason.clone_from(reason);
            if rejected {
                warn!(id = %id, reason, "the master said no; asking again in 5 minutes");
            } else {
                info!(id = %id, reason, "waiting for an operator: labctl key accept {id}");
            }
        }
    }
}

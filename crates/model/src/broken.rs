//! A switch for tests: one defence or one promise is left out, so that a test can show that it would be noticed.
//! Only programs that were built for debugging have it; in a release build nothing of it is left.

/// Each part that can be left out: its name, and what goes wrong without it.
pub const PARTS: &[(&str, &str)] = &[
    ("drop-copied-identity", "a copied machine goes on under the key of the first"),
    ("grace-before-retirement", "an ephemeral machine is forgotten as soon as it is away"),
    ("replace-offline-only", "a new key takes the name of a machine that is there"),
    ("stream-roles", "who watches goes on watching when the role allows it no more"),
    ("suspend-clones", "two machines with one key are served in turns"),
    ("confirm-by-new-connection", "a run with a way back is confirmed by a connection that it did not cut"),
    ("one-worker", "a job gets a second worker while the first is alive"),
    ("outbox-bound", "what a minion keeps for its master grows without end"),
    ("reboot-on-record", "a machine reboots before it is on record why"),
    ("room-for-results", "jobs are taken whose results cannot be kept"),
    ("ask-every-loop", "the watchdog is told that all is well while a loop stands still"),
    ("keys-for-root-only", "an operator elsewhere gets the keys of the master with a backup"),
    ("no-links-in-own-folders", "a link among the minion's contents is followed"),
    ("open-beneath", "a link in a tree leads to files outside of it"),
    ("turn-beacons", "the minion's beacons stand still"),
    ("turn-connection", "the minion's connection stands still"),
    ("turn-core", "the loop of the master or the minion stands still"),
    ("turn-fanout", "nobody looks after the fan-out"),
    ("turn-gate", "nobody lets minions in"),
    ("turn-store", "nothing is written any more"),
    ("turn-web", "nobody answers the API"),
    ("late-messages", "an offer that was long on its way is run after its expiry"),
    ("sync-journal", "a minion that loses power forgets what it began, and begins it again"),
    ("sync-store", "a master that loses power forgets what it accepted"),
    ("wait-for-the-store", "what is answered and sent may be about records that never get to the disk"),
    ("accept-apart", "one connection without a handshake keeps all others waiting"),
    ("answer-size", "the answer of a service that rules call may be of any size"),
    ("api-login", "anybody uses the API"),
    ("api-role", "the token of a dashboard gives orders"),
    ("binary-websocket", "text frames are taken for MQTT"),
    ("body-limit", "a request may be of any size"),
    ("call-redirects", "a service sends a call on to anybody, with its secrets"),
    ("claims-cleaned", "what a stranger says of itself reaches the operator's terminal as it is"),
    ("close-revoked", "a revoked key keeps its connection"),
    ("connect-limit", "who says nothing after the handshake keeps its place"),
    ("content-hash", "any bytes are taken for a content"),
    ("ed25519-only", "a certificate with any key passes the handshake"),
    ("empty-match", "an order to nobody is accepted"),
    ("enhanced-authentication", "a kind of authentication that nobody checks is taken"),
    ("enroll-own-key", "a stranger asks for the key of another"),
    ("envelope-depth", "a message of any depth is read"),
    ("envelope-duplicates", "two readers may understand one message differently"),
    ("envelope-exp", "a message is believed after its end"),
    ("envelope-signature", "anybody's messages are believed"),
    ("envelope-size", "a message of any size is read"),
    ("envelope-topic", "a message for one is believed by another"),
    ("envelope-version", "a format that nobody knows is guessed at"),
    ("event-depth", "an event that nobody can read back is kept"),
    ("event-hops", "two rules that answer each other never stop"),
    ("event-tags", "an event's tag is any text"),
    ("event-target", "data of an event chooses whom a rule means"),
    ("file-grants", "a minion fetches contents of another"),
    ("handshake-limit", "a handshake that drips keeps its place"),
    ("head-limit", "a request's head may be of any size"),
    ("hello-first", "a connection is used before it said who it is"),
    ("hook-cidr", "a hook may be used from anywhere"),
    ("hook-names", "strangers learn which hooks there are"),
    ("hook-once", "a delivery that is sent again is another event"),
    ("hook-rate", "one sender floods the rules by its hook"),
    ("hook-seats", "one address keeps all places for bodies of hooks"),
    ("hook-signature", "anybody's deliveries to a hook are believed"),
    ("hook-size", "the body of a delivery may be of any size"),
    ("hook-time", "a delivery that was signed long ago is believed"),
    ("identity-by-key", "who takes the client id of a minion is that minion"),
    ("image-signature", "a token that was seen once lets anybody in"),
    ("integration-rate", "one integration floods the rules"),
    ("integration-size", "an integration's message may be of any size"),
    ("job-memory", "a command runs again when it is offered again"),
    ("keep-alive", "a silent connection stays for ever"),
    ("key-changes", "a stranger makes the master write as often as it likes"),
    ("key-mode", "a private key that others may read is used"),
    ("localhost-name", "machines that were not named share the name localhost"),
    ("mask-calls", "what a service answers is told with the secrets of the call"),
    ("mask-output", "a command tells the secrets of its recipe"),
    ("mask-views", "who looks at a pillar sees its secrets"),
    ("masters-signature", "anybody names the masters of a minion"),
    ("masters-version", "an old list of masters is taken again"),
    ("minion-banned", "a revoked key connects"),
    ("minion-publish", "a minion writes topics of others"),
    ("minion-qos-2", "a minion may leave messages half delivered"),
    ("minion-rate", "a minion floods the master"),
    ("minion-retain", "a minion leaves messages for later subscribers"),
    ("minion-subscribe", "a minion reads topics of others"),
    ("minion-tags", "a minion tells of its life what only the master sees"),
    ("minion-will", "a minion leaves a message for after its end"),
    ("mqtt-filters-max", "one packet subscribes to any number of filters"),
    ("mqtt-filter", "a filter is any text"),
    ("mqtt-flags", "reserved bits are ignored"),
    ("mqtt-packet-id", "packet id 0 is taken"),
    ("mqtt-properties", "one packet has any number of properties"),
    ("mqtt-protocol", "an unknown version of the protocol is taken"),
    ("mqtt-remaining-length", "a length without an end is waited for"),
    ("mqtt-text", "a text is any bytes"),
    ("mqtt-topic", "a topic may hold wildcards, or nothing"),
    ("mqtt-whole-frame", "bytes behind a packet are ignored"),
    ("name-holder", "a new key takes the name of an old one"),
    ("newest-wins", "two connections of one key are both believed"),
    ("observer-filter", "an observer subscribes to anything"),
    ("observer-login", "anybody observes"),
    ("observer-publish", "an observer writes anything"),
    ("observer-rate", "an observer's packets are read without a limit"),
    ("observer-review", "an observer whose token ended goes on listening"),
    ("observer-subscriptions", "one observer subscribes without a limit"),
    ("offer-expiry", "a job begins after its end"),
    ("operator-over-mqtt", "an operator's token is sent over MQTT"),
    ("packet-limit", "a packet of any announced size is waited for"),
    ("page-headers", "the API can be shown within a foreign page"),
    ("pending-max", "strangers fill the quarantine without a limit"),
    ("pending-per-address", "one address fills the quarantine"),
    ("pillar-by-grain", "a minion chooses its secrets by what it says of itself"),
    ("pin-master", "any server is taken for the master"),
    ("presence-epoch", "the late end of an old connection ends the new one"),
    ("prove-possession", "who has seen a certificate is its owner"),
    ("recipe-owner", "a minion fetches the recipe of another"),
    ("replace-hardware", "any machine takes the name of one that is away"),
    ("revoked-name", "the seed of a revoked machine lets in the next one"),
    ("same-origin", "a foreign page in a browser talks to the master"),
    ("sandbox-links", "a link leads out of a sandbox"),
    ("schedule-own-job", "a minion puts jobs on record under any number"),
    ("seal-context", "a recipe opens for another job or minion"),
    ("sequence", "a message is believed twice"),
    ("silent-give-way", "silent connections keep everybody out"),
    ("stranger-rate", "a stranger asks without a limit"),
    ("tls-on-the-wire", "secrets go over the network in clear"),
    ("token-begin", "a token is good before its time"),
    ("token-cidr", "a token is good from any address"),
    ("token-end", "an API token or observer never ends"),
    ("token-expiry", "an enrolment token never ends"),
    ("token-ids", "a token is good for any name"),
    ("token-revoked", "a token that was ended still lets in"),
    ("token-signature", "anybody makes tokens"),
    ("token-uses", "a token lets in any number"),
    ("unexpected-packet", "packets that only a server sends are taken"),
    ("unreleased-limit", "messages of QoS 2 pile up without a limit"),
    ("url-from-events", "an event leads a call to another place of a service"),
    ("version-check", "a release that does not fit is spoken to"),
    ("web-accept-apart", "one connection without a handshake keeps the web server from all others"),
    ("web-handshake-limit", "a handshake that stops keeps its place"),
    ("web-per-address", "one address takes all connections of the web server"),
    ("websocket-limit", "a websocket message may be of any size"),
    ("ask-before-expired", "an offer that was received is called expired by the clock alone"),
    ("audit-with-the-job", "what was asked for is in no audit log"),
    ("chain-the-audit-log", "a line of the audit log is outside its chain"),
    ("command-at-most-once", "a command whose worker was lost runs again"),
    ("compare-at-hello", "a reconnect brings nothing to an end that was lost with the connection"),
    ("intend-on-disk", "a run that a crash ended is begun as if it never had been"),
    ("keep-events-over-a-reconnect", "events that were not taken are gone with the connection"),
    ("keep-results-until-acknowledged", "a result that was lost on its way is lost for good"),
    ("look-for-the-worker", "a run is begun beside its worker that lived on"),
    ("lost-contact-is-no-end", "a job that goes on is called ended when its minion's connection breaks"),
    ("one-run-at-a-time", "two jobs alter a minion at once"),
    ("one-terminal-record", "a later word takes the place of the terminal record"),
    ("react-with-the-event", "a crash between an event and its reaction loses the reaction"),
    ("receive-on-disk", "an offer is called received and forgotten in a crash"),
    ("remember-cancels", "a cancelled job goes on where the minion was away"),
    ("remember-ended-jobs", "a job that a restored master offers again runs again"),
    ("result-on-disk", "the end of a run is forgotten in a crash"),
    ("same-id-same-job", "a submission that is repeated is a second job"),
    ("say-results-again", "a result that was lost with a connection never comes"),
    ("calls-on-disk", "a call that a rule wants is forgotten in a crash"),
    ("delivered-on-disk", "who was told is told again after a crash"),
    ("one-wave-at-a-time", "a wave begins while the one before it is at work"),
    ("rule-memory-on-disk", "a crash makes rules forget what they count and wait for"),
    ("slot-with-its-job", "a minion that dies passes over a slot of its schedule"),
    ("slots-on-disk", "a slot of a schedule is run again after a crash"),
    ("stop-at-max-fail", "a run in waves goes on however many machines fail"),
    ("waves-on-disk", "a run in waves begins anew after a crash"),
    ("deny-before-allow", "a line of a role that denies is passed over if another one allows"),
    ("every-id-of-a-target", "who may act on one machine of a target may act on all of it"),
    ("push-signature", "a commit that nobody signed is used"),
    ("rate-limits", "who asks too often is answered all the same"),
    ("roles", "whoever the master knows may do everything"),
    ("words-of-a-command-one-by-one", "a pattern of a role's line reaches over the ends of words"),
];

#[cfg(debug_assertions)]
mod switch {
    use super::PARTS;
    use std::{cell::Cell, sync::OnceLock};

    /// The variable of the environment that names the part which a program leaves out.
    pub const VARIABLE: &str = "LABCTL_BROKEN";

    static PROGRAM: OnceLock<Option<&'static str>> = OnceLock::new();

    thread_local! {
        static THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    fn known(name: &str) -> &'static str {
        match PARTS.iter().find(|(part, _)| *part == name) {
            Some((part, _)) => part,
            None => panic!("`{name}` is not in model::broken::PARTS"),
        }
    }

    /// Whether this part is left out, in this thread or in the whole program.
    ///
    /// # Panics
    /// With a name that is not in [`PARTS`].
    #[must_use]
    pub fn leaves_out(name: &str) -> bool {
        let part = known(name);
        let program = PROGRAM.get_or_init(|| std::env::var(VARIABLE).ok().map(|name| known(&name)));
        THREAD.get() == Some(part) || *program == Some(part)
    }

    /// Runs something in this thread with a part left out (`None`: with all of them there).
    ///
    /// # Panics
    /// With a name that is not in [`PARTS`].
    pub fn without<T>(name: Option<&str>, run: impl FnOnce() -> T) -> T {
        struct Back(Option<&'static str>);
        impl Drop for Back {
            fn drop(&mut self) {
                THREAD.set(self.0);
            }
        }
        let _back = Back(THREAD.replace(name.map(known)));
        run()
    }

    /// What a program says when it starts with a part left out.
    #[must_use]
    pub fn warning() -> Option<String> {
        let name = std::env::var(VARIABLE).ok()?;
        let (name, loss) = PARTS.iter().find(|(part, _)| *part == name)?;
        Some(format!(
            "a test's program: it leaves out `{name}` ({loss}). Never run it otherwise; unset {VARIABLE}"
        ))
    }
}

#[cfg(debug_assertions)]
pub use switch::{VARIABLE, leaves_out, warning, without};

/// Nothing is left out of a release build.
#[cfg(not(debug_assertions))]
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that nothing of it is left in the program")]
pub const fn leaves_out(_: &'static str) -> bool {
    false
}

/// Nothing is left out of a release build.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn warning() -> Option<String> {
    None
}

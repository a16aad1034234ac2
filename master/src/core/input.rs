//! Everything that can happen to a master.

use super::{Asked, Asker, Called, Delivery, Refused, SealedRef, Ticket};
use crate::{hooks::Keyring, sources::Commit};
use bus::message::{EnrollRequest, FromMinion, ToMinion};
use lang::{notifiers::Notifiers, roles::Roles, rules::Rules};
use model::{
    Caller, ContentHash, Diagnostic, Fingerprint, JobId, MinionId, Question, Reply, Request, Revision,
    TokenTerms,
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Everything that can happen to a master.
#[derive(Debug)]
pub enum Input {
    /// An accepted minion's connection is up; its hello follows. A higher `epoch` is a later connection.
    Connected {
        /// Who, by key.
        minion: MinionId,
        /// Of this connection; grows over all connections and restarts of the gate.
        epoch: u64,
        /// Address without port.
        address: String,
    },
    /// A connection ended.
    Disconnected {
        /// Who.
        minion: MinionId,
        /// Which.
        epoch: u64,
    },
    /// A verified message of an accepted minion. `epoch` is that of its connection.
    Message {
        /// Who, by key.
        minion: MinionId,
        /// Which connection.
        epoch: u64,
        /// What.
        message: Box<FromMinion>,
    },
    /// A telemetry sample (flat object of numbers; checked by the gate).
    Sample {
        /// Who.
        minion: MinionId,
        /// What.
        sample: Map<String, Value>,
    },
    /// A verified enrolment request. `terms` if it came with a token that the issuer key signed and whose image key
    /// signed the request.
    Enroll {
        /// Of the key that signed it.
        fingerprint: Fingerprint,
        /// What it says.
        request: Box<EnrollRequest>,
        /// Good token, or why it is none.
        terms: Result<Box<TokenTerms>, TokenFault>,
        /// Address without port.
        address: String,
    },
    /// An operator, a dashboard or the API asks.
    Request {
        /// For the answer.
        ticket: Ticket,
        /// Who.
        caller: Caller,
        /// What.
        request: Box<Request>,
        /// Fresh random bytes for ids that the core must make.
        random: [u8; 16],
    },
    /// An integration published on `lab/in/<user>/<tag>`.
    Integration {
        /// Its user name.
        user: String,
        /// Below `lab/in/<user>/`.
        tag: String,
        /// Payload: an object, or `{"value": ...}`.
        data: Map<String, Value>,
    },
    /// New trees are in use.
    Sources {
        /// Which.
        revision: Revision,
        /// Their rules.
        rules: Rules,
    },
    /// New trees are in use for jobs. Their rules cannot be read, and there are no older ones: all that is about rules
    /// rests.
    SourcesWithoutRules {
        /// Which.
        revision: Revision,
    },
    /// What is told next of the trees came by this commit.
    Pushed(Box<Commit>),
    /// An edit of the trees does not load; the last good one stays in use.
    BrokenSources(Vec<Diagnostic>),
    /// To [`Effect::Compile`].
    Compiled {
        /// Which job.
        job: JobId,
        /// For whom.
        minion: MinionId,
        /// From which trees.
        revision: Revision,
        /// The recipe was sealed and stored under the job and minion (hash and bytes of the ciphertext), or why not.
        result: Result<SealedRef, Vec<Diagnostic>>,
    },
    /// To [`Effect::Compile`] and the like: templates ask the minions, who are to be asked before it is compiled again.
    Questions {
        /// What is to be compiled then.
        asker: Asker,
        /// What whom.
        questions: BTreeMap<MinionId, Vec<Question>>,
        /// What they have answered before.
        asked: Asked,
    },
    /// To [`Effect::CompileView`] and the like: passes through to the asker.
    Answered {
        /// For whom.
        ticket: Ticket,
        /// What.
        reply: Box<Reply>,
    },
    /// What top.sls assigns, for views and `state:` targets.
    Assigned {
        /// For whom.
        minion: MinionId,
        /// Names, or none if it does not compile.
        states: Option<Vec<String>>,
    },
    /// To [`super::Effect::Conduct`].
    Conducted {
        /// Whose.
        minion: MinionId,
        /// What it should do by itself, or why that is not known.
        result: Result<Conducted, Vec<Diagnostic>>,
    },
    /// To [`super::Effect::KeepMasters`].
    MastersKept {
        /// For whom.
        ticket: Ticket,
        /// The signed list.
        text: String,
        /// Why it is not on disk.
        failure: Option<String>,
    },
    /// New roles are in use.
    Roles(Arc<Roles>),
    /// An edit of `roles.yaml` does not load; the last good one stays in use.
    BrokenRoles(Vec<Diagnostic>),
    /// New hooks are in use.
    Hooks(Arc<Keyring>),
    /// An edit of `hooks.yaml` does not load; the last good ones stay in use.
    BrokenHooks(Vec<Diagnostic>),
    /// A sender of a hook sent something that is right.
    Hook {
        /// For the answer.
        ticket: Ticket,
        /// What.
        delivery: Box<Delivery>,
    },
    /// An edit of `notify.yaml` is in use.
    Notifiers(Arc<Notifiers>),
    /// An edit of it does not load; the last good one stays in use.
    BrokenNotifiers(Vec<Diagnostic>),
    /// To [`super::Effect::Call`].
    Called {
        /// Which.
        id: String,
        /// What came of it.
        called: Called,
    },
    /// The shell refused somebody whom it does not know, or whose right has ended.
    Refused(Box<Refused>),
    /// The store is full or failing (`Some(reason)`), or well again (`None`).
    StoreHealth(Option<String>),
    /// Whether the machine's clock is known to be right (set by NTP or a battery). Until the shell says otherwise it is.
    Clock {
        /// Is it?
        set: bool,
    },
    /// Time passed.
    Tick,
}

/// What a minion should do by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Conducted {
    /// Of the text of it; none if that is nothing.
    pub hash: Option<ContentHash>,
    /// What to say to the minion, unless it has that already.
    pub message: Option<Box<ToMinion>>,
}

/// Why a token is not good; whether it is expired, used up or for another name is for the core to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There was none.
    Absent,
    /// Not signed by this organization, or the request not signed by its image key.
    Forged,
}

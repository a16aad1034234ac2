//! The one door to the master: what operators, rules and dashboards may ask, and what they are told.
//! `POST /api/v1/request` takes a [`Request`] as JSON and answers with a [`Reply`]; the other paths of the API
//! are friendly spellings of the same.

use crate::api::{
    CompiledView, ErrorView, EventFilter, Explained, FoldedProbe, JobFilter, JobView, KeyView, MasterStatus,
    MinionView, ObserverView, PillarView, RuleView, TargetList,
};
use crate::{
    AuditCheck, AuditFilter, AuditLine, Decision, Event, Fingerprint, Job, JobId, JobKind, Labels, Masked,
    MinionId, ObserverRole, Operator, Rolling, RunReport, Token, key::Replace,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Fleet at a glance. -> [`Reply::Status`]
    Status,
    /// Whom an expression matches. -> [`Reply::Targets`]
    Expand {
        /// Target expression.
        target: String,
    },
    /// Minions with what is known of them. -> [`Reply::Minions`]
    Minions {
        /// Target expression; none is all.
        target: Option<String>,
    },
    /// Forget a minion: revokes its key, interrupts its jobs, tells it goodbye if it is there. -> [`Reply::Done`]
    RemoveMinion {
        /// Which.
        minion: MinionId,
    },
    /// All keys. -> [`Reply::Keys`]
    Keys,
    /// Decide about a key. -> [`Reply::Done`]
    DecideKey {
        /// A minion id or the beginning of a fingerprint.
        key: String,
        /// If given, must be the key's.
        fingerprint: Option<Fingerprint>,
        /// What.
        decision: KeyDecision,
    },
    /// Make an enrolment token. -> [`Reply::Seed`]
    Enroll {
        /// Terms.
        terms: EnrollTerms,
    },
    /// Submit a job. -> [`Reply::Submitted`]
    Submit {
        /// Chosen by the submitter; the same id again is the same job.
        job: JobId,
        /// Target expression.
        target: String,
        /// What.
        kind: JobKind,
        /// How long an offer stays good, in milliseconds; at least 1 s, at most 30 days.
        expires_ms: u64,
        /// Wait for minions that are away.
        wait: bool,
        /// Run again where that job did not end well (only those minions are taken).
        retry_of: Option<JobId>,
        /// In waves, rather than everywhere at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rolling: Option<Box<Rolling>>,
    },
    /// Jobs, newest first. -> [`Reply::Jobs`]
    Jobs {
        /// Which.
        filter: JobFilter,
    },
    /// One job whole. -> [`Reply::Job`]
    Job {
        /// Id, or an unambiguous beginning of one, or `@last`.
        job: String,
    },
    /// One minion's report. -> [`Reply::Report`]
    Report {
        /// Which job.
        job: JobId,
        /// Which minion.
        minion: MinionId,
    },
    /// Cancel what has not ended. -> [`Reply::Done`]
    Cancel {
        /// Id or beginning.
        job: String,
    },
    /// Ask minions something that is no job. -> [`Reply::Probed`] (streamed over HTTP, see [`crate::api`])
    Probe {
        /// Target expression.
        target: String,
        /// What.
        ask: Ask,
        /// Limit, in milliseconds; at most 5,000.
        timeout_ms: u64,
    },
    /// Compile and show, send nothing. -> [`Reply::Compiled`]
    Compile {
        /// Target expression.
        target: String,
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
    },
    /// Pillar of each, secrets masked. -> [`Reply::Pillars`]
    Pillar {
        /// Target expression.
        target: String,
    },
    /// Set and remove labels. -> [`Reply::Minions`]
    Label {
        /// Target expression.
        target: String,
        /// To set.
        set: Labels,
        /// To remove.
        remove: Vec<String>,
    },
    /// Who can be told, and other services that rules call. -> [`Reply::Notifiers`]
    Notifiers,
    /// Tell somebody now that it works, and show what was answered. -> [`Reply::Done`]
    TestNotifier {
        /// Its name in `notify.yaml`.
        name: String,
    },
    /// Wake machines over the network. -> [`Reply::Done`], or [`Reply::Probed`] with `via`
    Wake {
        /// Target expression.
        target: String,
        /// The minion that sends the packets; none is the master.
        #[serde(default)]
        via: Option<MinionId>,
    },
    /// Stored events, newest last. -> [`Reply::Events`]
    Events {
        /// Which.
        filter: EventFilter,
    },
    /// Put an event `user/<caller>/<tag>` on the bus. -> [`Reply::Event`]
    SendEvent {
        /// Below `user/<caller>/`.
        tag: String,
        /// Payload.
        data: Map<String, Value>,
    },
    /// Rules, with counters. -> [`Reply::Rules`]
    Rules,
    /// Decision records, newest last. -> [`Reply::Decisions`]
    Decisions {
        /// Only of this rule.
        rule: Option<String>,
        /// At most.
        limit: u32,
        /// Only about the event of this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<u64>,
        /// Only after the event of this number: the oldest of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// What rules would make of an event now, clause by clause. Nothing is done or remembered. -> [`Reply::Explained`]
    ExplainRules {
        /// Only this rule.
        rule: Option<String>,
        /// The event, stored or not.
        event: Event,
    },
    /// Switch a rule off, or on again. -> [`Reply::Done`]
    SwitchRule {
        /// Its name.
        rule: String,
        /// On, or off.
        on: bool,
        /// Off for so long, in milliseconds; none is until it is switched on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Make an observer or API token. -> [`Reply::Observer`]
    CreateObserver {
        /// User name: `^[a-z0-9][a-z0-9-]{0,31}$`.
        name: String,
        /// What it may do.
        role: ObserverRole,
        /// For how long, in milliseconds; none is for ever for MQTT, and as long as the master gives at most for the API.
        for_ms: Option<u64>,
    },
    /// List them. -> [`Reply::Observers`]
    Observers,
    /// End one. -> [`Reply::Done`]
    RemoveObserver {
        /// User name.
        name: String,
    },
    /// Tokens that let machines join. -> [`Reply::Tokens`]
    Tokens,
    /// End one: nobody joins by it any more; who joined stays. -> [`Reply::Done`]
    RevokeToken {
        /// Its name.
        name: String,
    },
    /// Register an operator's key. -> [`Reply::Done`]
    AddOperator {
        /// Name.
        name: String,
        /// Of its ed25519 key.
        fingerprint: Fingerprint,
        /// Its role; none is `operator`.
        #[serde(default)]
        role: Option<String>,
        /// For how long, in milliseconds; none is as long as the master gives a key at most.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Operators' keys. -> [`Reply::Operators`]
    Operators,
    /// Take an operator's key away. -> [`Reply::Done`]
    RemoveOperator {
        /// Name.
        name: String,
    },
    /// Who may do what, and by which line of which role. -> [`Reply::Can`]
    Can {
        /// A role, a user, an operator's key, or `rule:NAME`.
        who: String,
        /// What, such as `state.apply`.
        function: String,
        /// Target expression, if it is about machines.
        #[serde(default)]
        target: Option<String>,
        /// Names of states; empty is what top.sls assigns.
        #[serde(default)]
        states: Vec<String>,
        /// The words of a command.
        #[serde(default)]
        command: Vec<String>,
    },
    /// Leave machines alone for a while, or no longer. -> [`Reply::Minions`]
    Maintain {
        /// Target expression.
        target: String,
        /// What.
        act: MaintenanceAct,
    },
    /// What is not as it should be, as the last looks found it. -> [`Reply::Drift`]
    Drift {
        /// Target expression; none is all.
        target: Option<String>,
    },
    /// Schedules, with what they are at. -> [`Reply::Schedules`]
    Schedules,
    /// When schedules are next, soonest first. -> [`Reply::Slots`]
    Slots {
        /// Only this one.
        name: Option<String>,
        /// At most; 0 is 10.
        limit: u32,
    },
    /// Do something with a schedule. -> [`Reply::Done`]
    Schedule {
        /// Its name: that of its rule.
        name: String,
        /// What.
        act: ScheduleAct,
    },
    /// Delete what is older than the limits. -> [`Reply::Done`]
    Gc {
        /// Keep this much, in milliseconds; none is the configured age.
        keep_ms: Option<u64>,
    },
    /// A copy of the whole master, as a file: only as `POST /api/v1/backup`. -> [`Reply::Done`]
    Backup {
        /// With the keys of the master: whoever has it can be the master.
        with_keys: bool,
    },
    /// The PEM for `--cafile`, addresses and ports. -> [`Reply::Master`]
    Master,
    /// The list of masters in use, and which minions have it. -> [`Reply::Masters`]
    Masters,
    /// Put a newer list of masters into use, signed by the organization's key. -> [`Reply::Done`]
    InstallMasters {
        /// Text of `masters.json`.
        text: String,
    },
    /// Hooks, with how they are used and without their secrets. -> [`Reply::Hooks`]
    Hooks,
    /// What a hook would make of a payload; nothing happens. -> [`Reply::Events`]
    TryHook {
        /// Which, and of what.
        trial: crate::api::HookTrial,
    },
    /// Make a new secret for a hook whose secret the master keeps. -> [`Reply::HookSecret`]
    MakeHookSecret {
        /// Its name.
        hook: String,
        /// The one before ends at once; else it is good until the next is made.
        #[serde(default)]
        alone: bool,
    },
    /// Lines of the audit log. -> [`Reply::Audit`]
    Audit {
        /// Which.
        filter: AuditFilter,
    },
    /// Walk over the whole audit log and say whether it is as it was written. -> [`Reply::AuditChecked`]
    VerifyAudit,
}

/// What to decide about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyDecision {
    /// Make it a member.
    Accept,
    /// Not this one.
    Reject,
    /// No longer; closes its connection within a second.
    Revoke,
}

/// What to do about a machine's maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "maintenance")]
pub enum MaintenanceAct {
    /// Rules and schedules pass it over.
    On {
        /// For how long, in milliseconds; none is until somebody ends it.
        #[serde(default)]
        for_ms: Option<u64>,
        /// Why, for people.
        #[serde(default)]
        reason: String,
    },
    /// It is one of all again.
    Off,
}

/// What to do with a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum ScheduleAct {
    /// Make its event now, beside its slots.
    Run,
    /// Let its slots pass.
    Pause {
        /// For how long, in milliseconds; none is until somebody resumes it.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Go on with the next slot.
    Resume,
}

/// Terms of a new enrolment token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollTerms {
    /// Name for lists; made up if none.
    pub name: Option<String>,
    /// Glob over minion ids.
    pub ids: String,
    /// How many.
    pub uses: u32,
    /// For how long, in milliseconds; at most 90 days.
    pub for_ms: u64,
    /// Labels that minions get.
    #[serde(default)]
    pub labels: Labels,
    /// Nets it may be used from.
    #[serde(default)]
    pub cidr: Vec<String>,
    /// When the name is taken.
    #[serde(default)]
    pub replace: Replace,
    /// Forget machines that stay away for longer than this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_after_ms: Option<u64>,
}

/// What a minion can be asked beside its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// Nothing but an answer.
    Ping,
    /// Collect grains anew.
    Grains,
    /// What is running and waiting.
    Jobs,
    /// What it watches, and how that goes. Only for those that can ([`crate::conduct`]).
    Beacons {
        /// Only those of this name.
        #[serde(default)]
        name: Option<String>,
    },
    /// Send packets that wake machines; only to minions that say that they can.
    Wake {
        /// Addresses of network cards.
        macs: Vec<String>,
    },
}

/// What is told. One variant for each kind of answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply", content = "data")]
pub enum Reply {
    /// It was refused.
    Error(ErrorView),
    /// It was done; a sentence for people each.
    Done(Vec<String>),
    /// Fleet at a glance.
    Status(Box<MasterStatus>),
    /// Whom a target matches.
    Targets(TargetList),
    /// Minions.
    Minions(Vec<MinionView>),
    /// Keys.
    Keys(Vec<KeyView>),
    /// The seed file's text.
    Seed(Masked<Value>),
    /// Accepted and on disk.
    Submitted(Box<Job>),
    /// Jobs.
    Jobs(Vec<JobView>),
    /// One job.
    Job(Box<JobView>),
    /// One report; none if there is none (any more).
    Report(Option<Box<RunReport>>),
    /// Answers, and who did not.
    Probed(FoldedProbe),
    /// Recipes for people, secrets masked.
    Compiled(Vec<CompiledView>),
    /// Pillars.
    Pillars(Vec<PillarView>),
    /// Events.
    Events(Vec<Event>),
    /// One event, as stored.
    Event(Event),
    /// Rules.
    Rules(Vec<RuleView>),
    /// Who can be told.
    Notifiers(Vec<crate::api::NotifierView>),
    /// Decision records.
    Decisions(Vec<Decision>),
    /// What rules would make of an event.
    Explained(Vec<Explained>),
    /// A new observer; the only time its secret is shown.
    Observer(ObserverView),
    /// Observers, without secrets.
    Observers(Vec<ObserverView>),
    /// Tokens that let machines join; they hold no secrets.
    Tokens(Vec<Token>),
    /// About the master.
    Master(crate::api::MasterInfo),
    /// The list of masters.
    Masters(crate::api::MastersView),
    /// Operators' keys.
    Operators(Vec<Operator>),
    /// Schedules.
    Schedules(Vec<crate::api::ScheduleView>),
    /// Slots that come, soonest first.
    Slots(Vec<crate::api::SlotView>),
    /// What is not as it should be.
    Drift(Vec<crate::api::DriftView>),
    /// Who may do what.
    Can(crate::api::CanView),
    /// Hooks.
    Hooks(Vec<crate::api::HookView>),
    /// What a delivery to a hook became.
    Delivered(crate::api::Delivered),
    /// A new secret of a hook; the only time it is shown.
    HookSecret(crate::api::HookSecret),
    /// Lines of the audit log, oldest first.
    Audit(Vec<AuditLine>),
    /// What a walk over the audit log found.
    AuditChecked(AuditCheck),
}

//! Who may do what: every request is a deed, its machines are expanded first, and each of them must pass.

mod undone;

use super::{
    Master,
    enroll::id_matches,
    refusals::Refused,
    roster::cut,
    target::{Seen, refuse},
};
use lang::{
    roles::{self, Command, Deed, FUNCTIONS, Line, Role, Roles, Verdict, Whom},
    target::Candidate,
};
use model::{
    Caller, Diagnostic, EnrollTerms, JobKind, KeyDecision, MinionId, OnStop, Replace, Reply, Request,
    Rolling, ScheduleAct,
    api::{CanMinion, CanView, ErrorKind, ErrorView},
};
use serde_json::json;
use std::sync::Arc;

/// Machines that an explanation names.
const SHOWN_MAX: usize = 1_000;

/// Which machines a request is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope<'a> {
    /// None: it is about the master.
    Nobody,
    /// All of them, and all that was.
    Fleet,
    /// Whoever may be seen: the answer leaves out the others.
    Visible,
    /// Whom an expression matches.
    Target(&'a str),
    /// This one.
    One(&'a MinionId),
    /// Those of a job.
    Job(&'a str),
    /// Whom a text about a key means: an id, or the beginning of a fingerprint.
    Key(&'a str),
    /// Members whose names new keys may take by these terms; nobody, if they take none.
    Names(&'a EnrollTerms),
}

/// What a request does to what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Reads,
    /// There is more of it: refused while the store is full.
    Adds,
    /// There is less of it, or somebody has a right less: always possible.
    Takes,
}

/// A request as roles see it.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) deed: Deed<'a>,
    pub(crate) scope: Scope<'a>,
    pub(crate) manner: Manner,
}

fn access_to<'a>(function: &'static str, scope: Scope<'a>, manner: Manner) -> Access<'a> {
    Access { deed: Deed { function, ..Deed::default() }, scope, manner }
}

/// Every request, one by one: a new one does not compile until it is said here who may ask it.
pub(crate) fn access(request: &Request) -> Access<'_> {
    use Manner::{Adds, Reads, Takes};
    use Scope::{Fleet, Nobody, Target, Visible};
    match request {
        Request::Status => access_to("master.status", Nobody, Reads),
        Request::Master | Request::Masters => access_to("master.info", Nobody, Reads),
        Request::Gc { .. } => access_to("master.gc", Nobody, Takes),
        Request::Expand { target } | Request::Minions { target: Some(target) } => {
            access_to("minion.list", Target(target), Reads)
        }
        Request::Minions { target: None } => access_to("minion.list", Visible, Reads),
        Request::InstallMasters { .. } => access_to("master.rotate", Nobody, Adds),
        Request::Backup { .. } => access_to("master.backup", Nobody, Takes),
        Request::RemoveMinion { minion } => access_to("minion.remove", Scope::One(minion), Takes),
        Request::Keys | Request::Tokens => access_to("key.list", Nobody, Reads),
        Request::DecideKey { key, decision, .. } => access_to(decides(*decision), Scope::Key(key), Takes),
        Request::Enroll { terms } => access_to("key.enroll", Scope::Names(terms), Adds),
        Request::RevokeToken { .. } => access_to("key.enroll", Nobody, Takes),
        Request::Submit { target, kind, .. } => {
            Access { deed: deed_of(kind), scope: Target(target), manner: Adds }
        }
        Request::Cancel { job } => access_to("job.cancel", Scope::Job(job), Takes),
        Request::Jobs { .. } | Request::Drift { target: None } => access_to("job.list", Fleet, Reads),
        Request::Job { job } => access_to("job.list", Scope::Job(job), Reads),
        Request::Report { minion, .. } => access_to("job.list", Scope::One(minion), Reads),
        Request::Probe { target, .. } => access_to("target.ask", Target(target), Reads),
        Request::Label { target, .. } => access_to("target.label", Target(target), Adds),
        Request::Maintain { target, .. } => access_to("target.maintenance", Target(target), Adds),
        Request::Drift { target: Some(target) } => access_to("job.list", Target(target), Reads),
        Request::Schedules | Request::Slots { .. } => access_to("schedule.list", Nobody, Reads),
        Request::Schedule { act: ScheduleAct::Run, .. } => access_to("schedule.run", Nobody, Adds),
        Request::Schedule { .. } => access_to("schedule.pause", Nobody, Adds),
        Request::Compile { target, states } => {
            let deed = Deed { function: "state.show", states: Some(states), ..Deed::default() };
            Access { deed, scope: Target(target), manner: Reads }
        }
        Request::Pillar { target } => access_to("pillar.show", Target(target), Reads),
        Request::Notifiers => access_to("notify.list", Nobody, Reads),
        Request::TestNotifier { .. } => access_to("notify.send", Nobody, Takes),
        Request::Wake { target, .. } => access_to("target.wake", Target(target), Takes),
        Request::Events { .. } => access_to("event.list", Fleet, Reads),
        Request::SendEvent { .. } => access_to("event.send", Nobody, Adds),
        Request::Rules | Request::Decisions { .. } => access_to("rule.list", Nobody, Reads),
        // Reasons name values of any machine.
        Request::ExplainRules { .. } => access_to("rule.test", Fleet, Reads),
        Request::SwitchRule { .. } => access_to("rule.switch", Nobody, Adds),
        Request::CreateObserver { .. } => access_to("token.create", Nobody, Adds),
        Request::RemoveObserver { .. } => access_to("token.revoke", Nobody, Takes),
        Request::Observers | Request::Operators => access_to("token.list", Nobody, Reads),
        Request::AddOperator { .. } => access_to("operator.add", Nobody, Adds),
        Request::RemoveOperator { .. } => access_to("operator.remove", Nobody, Takes),
        Request::Hooks | Request::TryHook { .. } => access_to("hook.list", Nobody, Reads),
        Request::MakeHookSecret { .. } => access_to("hook.secret", Nobody, Adds),
        Request::Audit { .. } | Request::VerifyAudit => access_to("audit.list", Nobody, Reads),
        Request::Can { .. } => access_to("role.explain", Nobody, Reads),
    }
}

/// The function of a decision about a key.
pub(crate) fn decides(decision: KeyDecision) -> &'static str {
    match decision {
        KeyDecision::Accept => "key.accept",
        KeyDecision::Reject => "key.reject",
        KeyDecision::Revoke => "key.revoke",
    }
}

/// A job as roles see it: its parts, never a text of it.
pub(crate) fn deed_of(kind: &JobKind) -> Deed<'_> {
    match kind {
        JobKind::Apply { states, pillar, env, .. } => Deed {
            function: if kind.is_check() { "state.plan" } else { "state.apply" },
            states: Some(states),
            pillar: pillar.keys().map(String::as_str).collect(),
            environment: env.is_some(),
            command: None,
        },
        JobKind::Run { command, shell, cwd, user, environment, .. } => {
            let special = *shell || cwd.is_some() || user.is_some() || !environment.is_empty();
            let command = Some(Command { words: command, special });
            Deed { function: roles::COMMAND, command, ..Deed::default() }
        }
        JobKind::Undo { .. } => Deed { function: "job.undo", ..Deed::default() },
        JobKind::Reboot { .. } => Deed { function: "target.reboot", ..Deed::default() },
    }
}

/// What a run in waves may do beside its job: the gate's command, and the undoing.
pub(crate) fn deeds_of_waves(rolling: &Rolling) -> Vec<Deed<'_>> {
    let check = rolling.gate.as_ref().map(|it| it.check.as_slice()).filter(|it| !it.is_empty());
    let check = check.map(|words| Deed {
        function: roles::COMMAND,
        command: Some(Command { words, special: false }),
        ..Deed::default()
    });
    let undo = (rolling.on_stop == OnStop::Undo).then(|| Deed { function: "job.undo", ..Deed::default() });
    check.into_iter().chain(undo).collect()
}

fn more_deeds(request: &Request) -> Vec<Deed<'_>> {
    match request {
        Request::Submit { rolling: Some(rolling), .. } => deeds_of_waves(rolling),
        _ => Vec::new(),
    }
}

fn forbidden(message: String) -> ErrorView {
    let hint = "`labctl can ROLE FUNCTION TARGET` says by which line";
    refuse(ErrorKind::Forbidden, message, Some(hint))
}

impl Master {
    /// The roles in use from now on; what was accepted before goes on.
    pub fn set_roles(&mut self, roles: Arc<Roles>) {
        self.roles = roles;
        self.role_errors.clear();
    }

    /// An edit of the roles is in use.
    pub(crate) fn new_roles(&mut self, roles: Arc<Roles>) {
        self.set_roles(roles);
        let caller = Caller::new("labmaster", "roles.yaml", "");
        self.audit(caller, "use the roles as they are now".to_owned(), "accepted".to_owned());
    }

    pub(crate) fn broken_roles(&mut self, diagnostics: Vec<Diagnostic>) {
        if self.role_errors == diagnostics {
            return;
        }
        let first = diagnostics.first().map(|it| cut(&it.message, 1024));
        let data = json!({"errors": diagnostics.len(), "first": first});
        self.role_errors = diagnostics;
        self.emit_master("roles/broken".to_owned(), data);
    }
}

impl Master {
    /// Lets a request through, or says why not; a refusal has an audit line.
    pub(crate) fn permit(&mut self, caller: &Caller, request: &Request) -> Result<(), ErrorView> {
        if model::broken::leaves_out("roles") {
            return Ok(());
        }
        let access = access(request);
        let more = more_deeds(request).into_iter().map(|deed| Access { deed, ..access });
        let undone = self.undone_by(request);
        let more = more.chain(undone.as_ref().map(|it| Access { deed: deed_of(it), ..access }));
        // Who sends the packets does something for it, too.
        let via = if let Request::Wake { via, .. } = request { via.as_ref() } else { None };
        let more = more.chain(via.map(|it| access_to("target.wake", Scope::One(it), Manner::Takes)));
        let judged = self.judge_access(caller, &access);
        let judged = more.fold(judged, |judged, it| judged.and_then(|()| self.judge_access(caller, &it)));
        if let Err(error) = &judged
            && error.kind == ErrorKind::Forbidden
        {
            let what = match access.scope {
                Scope::Target(it) | Scope::Job(it) | Scope::Key(it) => {
                    format!("{} `{}`", access.deed.function, cut(it, 256))
                }
                Scope::Names(it) => format!("{} `{}`", access.deed.function, cut(&it.ids, 256)),
                Scope::One(it) => format!("{} {it}", access.deed.function),
                Scope::Nobody | Scope::Fleet | Scope::Visible => access.deed.function.to_owned(),
            };
            let reason = error.message.clone();
            self.audit_refusal(Refused { caller: caller.clone(), what, reason });
        }
        judged
    }

    fn judge_access(&self, caller: &Caller, access: &Access<'_>) -> Result<(), ErrorView> {
        let role = self.role_of(caller)?;
        let deed = &access.deed;
        if role.is_same_for_all(deed) {
            let whom = if access.scope == Scope::Fleet { Whom::Everybody } else { Whom::Nobody };
            return told(role.judge(deed, whom), &caller.role, deed, None);
        }
        match access.scope {
            Scope::Nobody => told(role.judge(deed, Whom::Nobody), &caller.role, deed, None),
            Scope::Fleet => told(role.judge(deed, Whom::Everybody), &caller.role, deed, None),
            Scope::Visible => Ok(()),
            Scope::One(minion) => self.judge_each(role, caller, deed, std::slice::from_ref(minion)),
            Scope::Target(text) => {
                let minions: Vec<MinionId> = self.explain(text)?.into_iter().map(|it| it.0).collect();
                self.judge_each(role, caller, deed, &minions)
            }
            Scope::Key(text) => {
                let minions: Vec<MinionId> = self.keys_called(text).map(|it| it.minion.clone()).collect();
                self.judge_named(role, caller, deed, &minions)
            }
            Scope::Names(terms) => {
                let taken = |it: &&MinionId| terms.replace != Replace::Never && id_matches(&terms.ids, it);
                let minions: Vec<MinionId> = self.book.minions.keys().filter(taken).cloned().collect();
                told(role.judge(deed, Whom::Nobody), &caller.role, deed, None)?;
                self.judge_named(role, caller, deed, &minions)
            }
            Scope::Job(text) => match self.minions_of(text, caller)? {
                Some(minions) => self.judge_each(role, caller, deed, &minions),
                None => told(role.judge(deed, Whom::Everybody), &caller.role, deed, None),
            },
        }
    }

    /// The role that a caller came with.
    fn role_of(&self, caller: &Caller) -> Result<&Role, ErrorView> {
        self.roles.get(&caller.role).ok_or_else(|| {
            let (name, role) = (cut(&caller.name, 64), cut(&caller.role, 64));
            let message = match role.as_str() {
                "" | roles::NONE => format!("{name} has no role"),
                _ => format!("{name} has the role `{role}`, which does not exist (any more)"),
            };
            forbidden(message)
        })
    }

    /// Every machine must pass. Who may not act on all is not told whether a name exists, either.
    fn judge_each(
        &self,
        role: &Role,
        caller: &Caller,
        deed: &Deed<'_>,
        minions: &[MinionId],
    ) -> Result<(), ErrorView> {
        if minions.is_empty() && !role.allows_all(deed) {
            let (role, function) = (&caller.role, deed.function);
            let message =
                format!("the target matches nobody, and role {role} may {function} on some machines only");
            return Err(forbidden(message));
        }
        let check = |minion: &MinionId| {
            self.with_candidate(minion, |it| {
                told(role.judge(deed, Whom::One(it)), &caller.role, deed, Some(minion))
            })
        };
        if model::broken::leaves_out("every-id-of-a-target") && minions.iter().any(|it| check(it).is_ok()) {
            return Ok(());
        }
        minions.iter().try_for_each(check)
    }

    /// Every machine must pass; what is about none must be allowed without a target.
    fn judge_named(
        &self,
        role: &Role,
        caller: &Caller,
        deed: &Deed<'_>,
        minions: &[MinionId],
    ) -> Result<(), ErrorView> {
        if minions.is_empty() {
            return told(role.judge(deed, Whom::Nobody), &caller.role, deed, None);
        }
        self.judge_each(role, caller, deed, minions)
    }

    /// Lets a rule's action through, or says why not.
    pub(crate) fn permit_rule(
        &self,
        caller: &Caller,
        deed: &Deed<'_>,
        minions: Option<&[MinionId]>,
    ) -> Result<(), ErrorView> {
        let role = self.role_of(caller)?;
        match minions {
            Some(minions) if !role.is_same_for_all(deed) => self.judge_each(role, caller, deed, minions),
            _ => told(role.judge(deed, Whom::Nobody), &caller.role, deed, None),
        }
    }

    /// Who a rule is when it acts.
    pub(crate) fn rule_caller(&self, rule: &str) -> Caller {
        Caller::new(format!("rule:{rule}"), super::maintenance::REACTOR, self.roles.of_rule(rule))
    }

    /// Whether a machine is shown to a caller.
    pub(crate) fn sees(&self, caller: &Caller, minion: &MinionId) -> bool {
        let deed = Deed { function: "minion.list", ..Deed::default() };
        let Some(role) = self.roles.get(&caller.role) else { return false };
        self.with_candidate(minion, |it| role.judge(&deed, Whom::One(it)).is_allowed())
    }

    fn with_candidate<T>(&self, minion: &MinionId, judge: impl FnOnce(&dyn Candidate) -> T) -> T {
        let asked_pillar = std::cell::Cell::new(false);
        match self.book.minions.get(minion) {
            Some(known) => {
                judge(&Seen { minion: known, live: self.live.get(minion), asked_pillar: &asked_pillar })
            }
            None => judge(&Nameless::of(minion)),
        }
    }

    /// The answer to `labctl can`.
    pub(crate) fn can(&self, request: &Request) -> Result<Reply, ErrorView> {
        let Request::Can { who, function, target, states, command } = request else {
            return Err(refuse(ErrorKind::Usage, "not a question about roles".to_owned(), None));
        };
        let Some((function, _)) = FUNCTIONS.iter().find(|it| it.0 == function) else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|it| it.0).collect();
            let message = format!("there is no function `{}`", cut(function, 64));
            return Err(refuse(
                ErrorKind::Usage,
                message,
                Some(&format!("functions are {}", names.join(", "))),
            ));
        };
        let role = self.role_named(who)?;
        let deed = Deed {
            function,
            states: function.starts_with("state.").then_some(states),
            command: (*function == roles::COMMAND)
                .then_some(Command { words: command, special: command.is_empty() }),
            ..Deed::default()
        };
        let mut view = CanView {
            who: who.clone(),
            role: role.clone(),
            allowed: false,
            verdict: "no such role".to_owned(),
            line: None,
            minions: Vec::new(),
        };
        let Some(found) = self.roles.get(&role) else { return Ok(Reply::Can(view)) };
        let verdict = found.judge(&deed, Whom::Nobody);
        (view.verdict, view.line) = words(verdict);
        view.allowed = verdict.is_allowed();
        if let Some(target) = target {
            let minions: Vec<MinionId> = self.explain(target)?.into_iter().map(|it| it.0).collect();
            view.allowed = if minions.is_empty() { found.allows_all(&deed) } else { true };
            for minion in minions {
                let (verdict, line) =
                    self.with_candidate(&minion, |it| words(found.judge(&deed, Whom::One(it))));
                view.allowed &= verdict == "allowed";
                if view.minions.len() < SHOWN_MAX {
                    view.minions.push(CanMinion { minion, verdict, line });
                }
            }
        }
        Ok(Reply::Can(view))
    }

    /// The role that a name means: of a rule, of a role, of a token, of an operator's key, of a local user.
    fn role_named(&self, who: &str) -> Result<String, ErrorView> {
        if let Some(rule) = who.strip_prefix("rule:") {
            return Ok(self.roles.of_rule(rule).to_owned());
        }
        if self.roles.get(who).is_some() {
            return Ok(who.to_owned());
        }
        let token = self.book.observers.get(who).map(|it| it.role.name().to_owned());
        let key = || self.book.operators.get(who).map(|it| it.role.clone());
        let local = || match who {
            "root" => Some(self.roles.socket().root.clone()),
            _ => self.roles.socket().users.get(who).cloned(),
        };
        token.or_else(key).or_else(local).ok_or_else(|| {
            let message = format!("no role, user or operator is called `{}`", cut(who, 64));
            let names: Vec<&str> = self.roles.names().collect();
            let hint = format!("roles are {}; a rule is rule:NAME", names.join(", "));
            refuse(ErrorKind::NotFound, message, Some(&hint))
        })
    }
}

fn words(verdict: Verdict<'_>) -> (String, Option<String>) {
    let (word, line): (_, Option<&Line>) = match verdict {
        Verdict::Allowed(line) => ("allowed", Some(line)),
        Verdict::Denied(line) => ("denied", Some(line)),
        Verdict::NoLine => ("no line", None),
    };
    (word.to_owned(), line.map(|it| it.place.clone()))
}

fn told(
    verdict: Verdict<'_>,
    role: &str,
    deed: &Deed<'_>,
    minion: Option<&MinionId>,
) -> Result<(), ErrorView> {
    let function = deed.function;
    let on = minion.map(|it| format!(" on {it}")).unwrap_or_default();
    match verdict {
        Verdict::Allowed(_) => Ok(()),
        Verdict::Denied(line) => {
            Err(forbidden(format!("role {role} may not {function}{on}: {} denies it", line.place)))
        }
        Verdict::NoLine => Err(forbidden(format!("role {role} may not {function}{on}: no line allows it"))),
    }
}

/// A machine that is no member (any more): nothing but its name is known.
struct Nameless {
    id: MinionId,
    grains: model::Grains,
    labels: model::Labels,
}

impl Nameless {
    fn of(id: &MinionId) -> Self {
        Self { id: id.clone(), grains: model::Grains::new(), labels: model::Labels::new() }
    }
}

impl Candidate for Nameless {
    fn id(&self) -> &MinionId {
        &self.id
    }
    fn grains(&self) -> &model::Grains {
        &self.grains
    }
    fn labels(&self) -> &model::Labels {
        &self.labels
    }
    fn addresses(&self) -> Vec<std::net::IpAddr> {
        Vec::new()
    }
    fn presence(&self) -> model::Presence {
        model::Presence::Down
    }
    fn failed(&self) -> bool {
        false
    }
    fn pillar(&self, _path: &str) -> Option<serde_json::Value> {
        None
    }
    fn assigned(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;

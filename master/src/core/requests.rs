//! The one door: every request is answered here, at once or by an effect. What alters something has an audit line.

use super::{
    Asked, Effect, Master, Query, Ticket,
    access::Terms,
    enroll::Dismissal,
    permit::{Manner, access},
    reactor::is_tag,
    roster::cut,
    submit::Wish,
    target::refuse,
};
use model::{
    Ask, Caller, JobId, Labels, MinionId, Reply, Request, Source,
    api::{ErrorKind, ErrorView, JobFilter, TargetList},
    broken,
};
use serde_json::{Map, Value};

/// Bytes of one event's payload as JSON.
pub(crate) const EVENT_BYTES_MAX: usize = 16 << 10;
/// Objects and lists in one another in what an event carries: as deep as a minion's may be. Who reads it back parses it
/// within an answer, and parsers end at a depth of their own.
const EVENT_DEPTH_MAX: usize = 16;
/// How long a minion has to say that it sent packets.
const WAKE_MS: u64 = 3_000;
/// Rows of one answer.
const LIMIT_MAX: u32 = 10_000;
/// Ids that a complaint about an ambiguous beginning names.
const AMBIGUOUS_SHOWN: usize = 5;

pub(crate) fn not_found(message: String) -> ErrorView {
    refuse(ErrorKind::NotFound, message, None)
}

impl Master {
    pub(crate) fn request(&mut self, ticket: Ticket, caller: Caller, request: Request, random: [u8; 16]) {
        if let Some(error) = self.refuse_degraded(&request) {
            return self.reply(ticket, Reply::Error(error));
        }
        if let Err(error) = self.permit(&caller, &request) {
            return self.reply(ticket, Reply::Error(error));
        }
        match self.answer_request(ticket, caller, request, random) {
            Ok(Some(reply)) => self.reply(ticket, reply),
            Ok(None) => {}
            Err(error) => self.reply(ticket, Reply::Error(error)),
        }
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.out.push(Effect::Reply { ticket, reply: Box::new(reply) });
    }

    /// With a full store only what is read, what frees space and what takes rights away is done.
    fn refuse_degraded(&self, request: &Request) -> Option<ErrorView> {
        let reason = self.degraded.as_ref()?;
        // Of jobs it is said where they are checked.
        let writes = access(request).manner == Manner::Adds && !matches!(request, Request::Submit { .. });
        let hint = "free space on the master (`labctl master gc`), then try again";
        writes.then(|| refuse(ErrorKind::Unavailable, format!("nothing new is stored: {reason}"), Some(hint)))
    }

    /// The answer, or none if an effect brings it.
    fn answer_request(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        request: Request,
        random: [u8; 16],
    ) -> Result<Option<Reply>, ErrorView> {
        let done = |sentences| Ok(Some(Reply::Done(sentences)));
        match request {
            Request::Submit { job, target, kind, expires_ms, wait, retry_of, rolling } => {
                let wish =
                    Wish { id: job, target, kind, expires_ms, wait, retry_of, rolling, caller, hops: 0 };
                self.submit_request(ticket, wish)
            }
            Request::Cancel { job } => done(self.cancel_request(caller, &job)?),
            Request::RemoveMinion { minion } => done(self.remove_minion(caller, &minion)?),
            Request::DecideKey { key, fingerprint, decision } => {
                done(self.decide_key(caller, &key, fingerprint.as_ref(), decision)?)
            }
            Request::Enroll { terms } => {
                let terms = Box::new(self.token_terms(terms, random)?);
                self.audit(
                    caller.clone(),
                    format!("make token {} for `{}`", terms.name, terms.ids),
                    "accepted".to_owned(),
                );
                self.out.push(Effect::MakeSeed { ticket, terms, made_by: caller.name });
                Ok(None)
            }
            // What wakes machines has a right of its own, and takes the addresses that are known.
            Request::Probe { ask: Ask::Wake { .. }, .. } => {
                Err(refuse(ErrorKind::Usage, "ask to wake machines by `wake`".to_owned(), None))
            }
            Request::Probe { target, ask, timeout_ms } => {
                let minions = self.expand(&target)?;
                self.start_probe(ticket, minions, &ask, timeout_ms)?;
                Ok(None)
            }
            Request::Label { target, set, remove } => self.label(caller, &target, &set, &remove).map(Some),
            Request::Maintain { target, act } => self.maintain(caller, &target, act).map(Some),
            Request::Schedule { name, act } => done(self.act_on_schedule(&caller, &name, act)?),
            Request::TestNotifier { name } => {
                self.audit(caller, format!("test notifier {}", cut(&name, 64)), "accepted".to_owned());
                self.test_notifier(ticket, &name)
            }
            Request::Wake { target, via } => self.wake_request(ticket, caller, &target, via),
            Request::SendEvent { tag, data } => self.send_event(&caller, &tag, data).map(Some),
            Request::CreateObserver { name, role, for_ms } => {
                self.create_observer(caller, name, role, for_ms, random).map(|it| Some(Reply::Observer(it)))
            }
            Request::RemoveObserver { name } => done(self.remove_observer(caller, &name)?),
            Request::RevokeToken { name } => done(self.revoke_token(caller, &name)?),
            Request::AddOperator { name, fingerprint, role, for_ms } => {
                done(self.add_operator(caller, name, fingerprint, Terms { role, for_ms })?)
            }
            Request::Backup { with_keys } => done(self.note_backup(caller, with_keys)),
            Request::InstallMasters { text } => self.install_masters(ticket, caller, text),
            Request::MakeHookSecret { hook, alone } => {
                self.make_hook_secret(ticket, caller, hook, alone, random)
            }
            Request::SwitchRule { rule, on, for_ms } => done(self.switch_rule(&caller, &rule, on, for_ms)?),
            Request::RemoveOperator { name } => done(self.remove_operator(caller, &name)?),
            Request::Gc { keep_ms } => {
                self.audit(caller, "gc".to_owned(), "accepted".to_owned());
                self.out.push(Effect::Gc { ticket: Some(ticket), keep_ms });
                Ok(None)
            }
            reading => self.answer_reading(ticket, &caller, reading),
        }
    }

    fn answer_reading(
        &mut self,
        ticket: Ticket,
        caller: &Caller,
        request: Request,
    ) -> Result<Option<Reply>, ErrorView> {
        let query = match request {
            Request::Status => return Ok(Some(Reply::Status(Box::new(self.status())))),
            Request::Expand { target } => return self.targets(&target).map(Some),
            Request::Minions { target } => return self.minion_views(target.as_deref(), caller).map(Some),
            request @ Request::Can { .. } => return self.can(&request).map(Some),
            Request::Drift { target } => return self.drift_views(target.as_deref()).map(Some),
            Request::Schedules => return Ok(Some(Reply::Schedules(self.schedule_views()))),
            Request::Slots { name, limit } => return self.slots(name.as_deref(), limit).map(Some),
            Request::Operators => {
                return Ok(Some(Reply::Operators(self.book.operators.values().cloned().collect())));
            }
            Request::Hooks => return Ok(Some(Reply::Hooks(self.hook_views()))),
            Request::TryHook { trial } => return self.try_hook(trial).map(Some),
            Request::Keys => return Ok(Some(Reply::Keys(self.book.keys.values().cloned().collect()))),
            Request::Notifiers => return Ok(Some(Reply::Notifiers(self.notifier_views()))),
            Request::Rules => return Ok(Some(Reply::Rules(self.rule_views()))),
            Request::ExplainRules { rule, event } => {
                return self.explain_rules(rule.as_deref(), &event).map(|it| Some(Reply::Explained(it)));
            }
            Request::Tokens => return Ok(Some(Reply::Tokens(self.book.tokens.values().cloned().collect()))),
            Request::Observers => return Ok(Some(Reply::Observers(self.observer_views()))),
            Request::Master => return Ok(Some(Reply::Master(self.settings.info.clone()))),
            Request::Masters => return self.masters_view().map(|it| Some(Reply::Masters(it))),
            Request::Compile { target, states } => {
                let minions = self.expand(&target)?;
                self.out.push(Effect::CompileView { ticket, minions, states, asked: Asked::default() });
                return Ok(None);
            }
            Request::Pillar { target } => {
                let minions = self.expand(&target)?;
                self.out.push(Effect::PillarView { ticket, minions, asked: Asked::default() });
                return Ok(None);
            }
            Request::Jobs { filter } => self.jobs_query(filter)?,
            Request::Job { job } => match self.find_job(&job, caller)? {
                Found::Open(id) => {
                    let view = self.job_view(id).ok_or_else(|| not_found(format!("no job {id}")))?;
                    return Ok(Some(Reply::Job(Box::new(view))));
                }
                Found::Stored(text) => Query::Job(text, caller.name.clone()),
            },
            Request::Report { job, minion } => Query::Report(job, minion),
            Request::Events { mut filter } => {
                filter.limit = limit(filter.limit, 100);
                Query::Events(filter)
            }
            Request::Decisions { rule, limit: at_most, event, after } => {
                Query::Decisions { rule, event, after, limit: limit(at_most, 100) }
            }
            Request::Audit { filter } => Query::Audit(filter),
            Request::VerifyAudit => Query::VerifyAudit,
            writing => {
                debug_assert!(false, "answered before: {writing:?}");
                return Err(refuse(ErrorKind::Usage, "not a question".to_owned(), None));
            }
        };
        self.out.push(Effect::Read { ticket, query });
        Ok(None)
    }

    /// The job is on disk before its reply; what it leads to comes behind.
    fn submit_request(&mut self, ticket: Ticket, wish: Wish) -> Result<Option<Reply>, ErrorView> {
        let forgets = broken::leaves_out("same-id-same-job");
        if let Some(job) = self.same_job(wish.id).filter(|_| !forgets) {
            if job.caller.name != wish.caller.name {
                let message = format!("another job has the id {}", wish.id);
                return Err(refuse(ErrorKind::Usage, message, Some("submit it under a new id")));
            }
            return Ok(Some(Reply::Submitted(Box::new(job.clone()))));
        }
        if self.book.knows_job(wish.id) && !forgets {
            let job = wish.id.to_string();
            // Whose it was stands in the store: who may see jobs is shown it.
            self.permit(&wish.caller, &Request::Job { job: job.clone() })?;
            let query = Query::Job(job, wish.caller.name.clone());
            self.out.push(Effect::Read { ticket, query });
            return Ok(None);
        }
        let minions = self.expand(&wish.target);
        let job = self.submit(wish, minions)?;
        self.reply(ticket, Reply::Submitted(Box::new(job.clone())));
        self.launch(&job);
        Ok(None)
    }

    fn cancel_request(&mut self, caller: Caller, text: &str) -> Result<Vec<String>, ErrorView> {
        let id = match self.find_job(text, &caller)? {
            Found::Open(id) => id,
            Found::Stored(text) => match text.parse() {
                Ok(id) if self.book.knows_job(id) => {
                    return Ok(vec![format!("job {id} has ended already")]);
                }
                _ => return Err(not_found(format!("no job is called `{}`", cut(&text, 64)))),
            },
        };
        self.audit(caller, format!("cancel job {id}"), "accepted".to_owned());
        let (ended, asked) = self.cancel(id);
        let mut done = vec![format!("job {} is cancelled on {ended} minions that had not begun", id.short())];
        if asked > 0 {
            done.push(format!("{asked} minions that have it were asked to stop at their next step"));
        }
        Ok(done)
    }

    fn remove_minion(&mut self, caller: Caller, minion: &MinionId) -> Result<Vec<String>, ErrorView> {
        if !self.book.minions.contains_key(minion) {
            return Err(not_found(format!("no minion is called {minion}")));
        }
        let by = caller.name.clone();
        self.audit(caller, format!("remove minion {minion}"), "accepted".to_owned());
        self.dismiss(minion, &format!("removed by {by}"), Dismissal::Removed);
        Ok(vec![format!("{minion} is forgotten; its key is revoked")])
    }

    fn targets(&self, text: &str) -> Result<Reply, ErrorView> {
        let matched = self.explain(text)?;
        let minions = matched.into_iter().filter_map(|(id, why)| self.minion_view(&id, why)).collect();
        let of = u32::try_from(self.book.minions.len()).unwrap_or(u32::MAX);
        Ok(Reply::Targets(TargetList { minions, of }))
    }

    fn minion_views(&self, target: Option<&str>, caller: &Caller) -> Result<Reply, ErrorView> {
        let matched = match target {
            Some(text) => self.explain(text)?,
            None => self
                .book
                .minions
                .keys()
                .filter(|it| self.sees(caller, it))
                .map(|id| (id.clone(), None))
                .collect(),
        };
        let views = matched.into_iter().filter_map(|(id, why)| self.minion_view(&id, why)).collect();
        Ok(Reply::Minions(views))
    }

    fn label(
        &mut self,
        caller: Caller,
        target: &str,
        set: &Labels,
        remove: &[String],
    ) -> Result<Reply, ErrorView> {
        let minions = self.expand(target)?;
        self.relabel(caller, &minions, target, (set, remove), None)?;
        Ok(Reply::Minions(minions.iter().filter_map(|id| self.minion_view(id, None)).collect()))
    }

    /// What is copied is for the shell to do.
    fn note_backup(&mut self, caller: Caller, with_keys: bool) -> Vec<String> {
        let what = if with_keys { "backup with the keys" } else { "backup" };
        self.audit(caller, what.to_owned(), "accepted".to_owned());
        Vec::new()
    }

    /// By the master, or by a minion that is in the same network: then its answer is shown.
    fn wake_request(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        target: &str,
        via: Option<MinionId>,
    ) -> Result<Option<Reply>, ErrorView> {
        let minions = self.expand(target)?;
        let macs: Vec<String> = self.macs_of(&minions).into_iter().collect();
        if macs.is_empty() {
            let hint = "it must have said hello once, with its grains";
            return Err(refuse(ErrorKind::NotFound, "no network card of it is known".to_owned(), Some(hint)));
        }
        via.as_ref().map_or(Ok(()), |it| self.can_wake(it))?;
        let by = via.as_ref().map(|it| format!(" by {it}")).unwrap_or_default();
        self.audit(caller, format!("wake `{}`{by}", cut(target, 256)), "accepted".to_owned());
        if let Some(via) = via {
            self.start_probe(ticket, vec![via], &Ask::Wake { macs }, WAKE_MS)?;
            return Ok(None);
        }
        let done = vec![format!("packets were sent to {}", macs.join(", "))];
        self.send_wake(macs, None)?;
        Ok(Some(Reply::Done(done)))
    }

    fn send_event(
        &mut self,
        caller: &Caller,
        tag: &str,
        data: Map<String, Value>,
    ) -> Result<Reply, ErrorView> {
        let data = Value::Object(data);
        let whole = format!("user/{}/{tag}", caller.name);
        if !is_tag(&whole) {
            let message =
                format!("`{}` is no tag: use letters, digits and -_. between slashes", cut(tag, 128));
            return Err(refuse(ErrorKind::Usage, message, None));
        }
        if let Err(message) = check_event(&data) {
            return Err(refuse(ErrorKind::Usage, message, None));
        }
        self.audit(caller.clone(), format!("send event {whole}"), "accepted".to_owned());
        let event = self.emit_as(whole, Source::User(caller.name.clone()), data, 0, None);
        Ok(Reply::Event(event))
    }

    /// What an integration wrote below its own part of the tree.
    pub(crate) fn integration(&mut self, user: &str, tag: &str, data: Map<String, Value>) {
        let data = Value::Object(data);
        let whole = format!("integration/{user}/{tag}");
        if self.degraded.is_some() || !is_tag(&whole) || check_event(&data).is_err() {
            return self.count("event of an integration that cannot be taken");
        }
        self.emit_as(whole, Source::Integration(user.to_owned()), data, 0, None);
    }

    fn jobs_query(&self, mut filter: JobFilter) -> Result<Query, ErrorView> {
        let minions = match &filter.target {
            Some(text) => Some(self.explain(text)?.into_iter().map(|it| it.0).collect()),
            None => None,
        };
        filter.limit = limit(filter.limit, 50);
        Ok(Query::Jobs(filter, minions))
    }

    /// The job that an id, the beginning of one, or `@last` means.
    fn find_job(&self, text: &str, caller: &Caller) -> Result<Found, ErrorView> {
        if text == "@last" {
            let last = self.book.last_of.get(&caller.name).copied();
            return match last {
                Some(id) => Ok(self.found(id)),
                None => Ok(Found::Stored(text.to_owned())),
            };
        }
        let Some((low, high)) = id_range(text) else {
            let message = format!("`{}` is no job id nor the beginning of one", cut(text, 64));
            return Err(refuse(ErrorKind::Usage, message, Some("`labctl job list` shows them")));
        };
        let open = self.book.open.range(low..=high).map(|it| *it.0);
        let ended = self.book.ended.range(low..=high).map(|it| *it.0);
        let mut ids: Vec<JobId> = open.chain(ended).take(2 * AMBIGUOUS_SHOWN).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Ok(Found::Stored(text.to_owned())),
            [id] => Ok(self.found(*id)),
            several => {
                let list: Vec<String> =
                    several.iter().take(AMBIGUOUS_SHOWN).map(ToString::to_string).collect();
                let message = format!("several jobs begin with {text}: {}", list.join(", "));
                Err(refuse(ErrorKind::Usage, message, None))
            }
        }
    }

    /// The machines of a job that a text means; none if it is not in memory any more.
    pub(crate) fn minions_of(&self, text: &str, caller: &Caller) -> Result<Option<Vec<MinionId>>, ErrorView> {
        let id = match self.find_job(text, caller)? {
            Found::Open(id) => Some(id),
            Found::Stored(text) => text.parse().ok(),
        };
        Ok(id.and_then(|it| self.book.whole_job(it)).map(|it| it.job.minions.clone()))
    }

    fn found(&self, id: JobId) -> Found {
        if self.book.open.contains_key(&id) { Found::Open(id) } else { Found::Stored(id.to_string()) }
    }
}

/// Where a job is.
enum Found {
    Open(JobId),
    Stored(String),
}

/// Whether an event can carry this.
pub(crate) fn check_event(data: &Value) -> Result<(), String> {
    fn depth(value: &Value) -> usize {
        let inside = match value {
            Value::Array(items) => items.iter().map(depth).max(),
            Value::Object(members) => members.values().map(depth).max(),
            _ => return 0,
        };
        1 + inside.unwrap_or(0)
    }
    if data.to_string().len() > EVENT_BYTES_MAX && !broken::leaves_out("integration-size") {
        return Err("an event's data is at most 16 KiB".to_owned());
    }
    if depth(data) > EVENT_DEPTH_MAX && !broken::leaves_out("event-depth") {
        return Err(format!("an event's data is at most {EVENT_DEPTH_MAX} levels deep"));
    }
    Ok(())
}

fn limit(asked: u32, default: u32) -> u32 {
    if asked == 0 { default } else { asked.min(LIMIT_MAX) }
}

/// First and last id with that beginning.
fn id_range(text: &str) -> Option<(JobId, JobId)> {
    if text.is_empty() || text.len() > 26 || !text.is_ascii() {
        return None;
    }
    let low = format!("{text:0<26}").parse().ok()?;
    let high = format!("{text:Z<26}").parse().ok()?;
    Some((low, high))
}

#[cfg(test)]
mod tests;

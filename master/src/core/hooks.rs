//! What hooks deliver becomes events, each delivery once; who asks is shown the hooks, and what one would make of a
//! payload.

use super::{Effect, Master, Part, Ticket, requests::check_event, roster::cut, target::refuse};
use crate::hooks::{Keyring, recipes, signature::Mark};
use lang::hooks::{Hook, Place};
use model::{
    Caller, Diagnostic, Event, Reply, Secret, Source, Timestamp,
    api::{Delivered, ErrorKind, ErrorView, HookTrial, HookView},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Deliveries of one hook that are remembered, so that they are taken once.
const REMEMBERED_MAX: usize = 256;

/// Something that a sender of a hook sent, and that is right.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which hook.
    pub hook: String,
    /// Tell it apart from others.
    pub marks: Vec<Mark>,
    /// Data of the events that it becomes.
    pub events: Vec<Map<String, Value>>,
}

/// Hooks, and how they are used.
#[derive(Debug, Default)]
pub(crate) struct HookBook {
    keyring: Arc<Keyring>,
    pub(crate) errors: Vec<Diagnostic>,
    counts: BTreeMap<String, Count>,
}

#[derive(Debug, Default)]
struct Count {
    taken: u64,
    again: u64,
    last: Option<Timestamp>,
}

/// Deliveries of a hook in the store, in order of their events.
fn remembered_as(hook: &str, number: u64) -> String {
    format!("hook/{hook}/{number:020}")
}

impl Master {
    /// The hooks in use from now on.
    pub(crate) fn new_hooks(&mut self, keyring: Arc<Keyring>) {
        self.hooks.errors.clear();
        let gone = |key: &str| {
            let hook = key.strip_prefix("hook/").and_then(|it| it.split('/').next());
            hook.is_some_and(|it| !keyring.hooks.named.contains_key(it))
        };
        let old: Vec<String> =
            self.book.kept_of(Part::Source).map(|it| it.0).filter(|it| gone(it)).map(str::to_owned).collect();
        for key in old {
            self.keep(Part::Source, &key, None);
        }
        self.hooks.counts.retain(|hook, _| keyring.hooks.named.contains_key(hook));
        let changed = keyring.hooks != self.hooks.keyring.hooks;
        self.hooks.keyring = keyring;
        if changed {
            let caller = Caller::new("labmaster", "hooks.yaml", "");
            self.audit(caller, "use the hooks as they are now".to_owned(), "accepted".to_owned());
        }
    }

    pub(crate) fn broken_hooks(&mut self, diagnostics: Vec<Diagnostic>) {
        if self.hooks.errors == diagnostics {
            return;
        }
        let first = diagnostics.first().map(|it| cut(&it.message, 1024));
        let data = json!({"errors": diagnostics.len(), "first": first});
        self.hooks.errors = diagnostics;
        self.emit_master("hooks/broken".to_owned(), data);
    }

    /// What is wrong with the newest edits of what people write.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = &Diagnostic> {
        self.tree_errors.iter().chain(&self.role_errors).chain(&self.hooks.errors).chain(&self.outbox.errors)
    }

    /// Takes a delivery in; it is answered when its events are on disk, and what came before is answered as it was then.
    pub(crate) fn deliver(&mut self, ticket: Ticket, delivery: Delivery) {
        let answer = self.take_delivery(delivery).unwrap_or_else(Reply::Error);
        self.reply(ticket, answer);
    }

    fn take_delivery(&mut self, delivery: Delivery) -> Result<Reply, ErrorView> {
        if let Some(reason) = &self.degraded {
            let hint = "the sender should try again later";
            return Err(refuse(
                ErrorKind::Unavailable,
                format!("nothing new is stored: {reason}"),
                Some(hint),
            ));
        }
        let Delivery { hook, marks, events } = delivery;
        if let Some((event, events)) = self.delivered_before(&hook, &marks) {
            self.hooks.counts.entry(hook).or_default().again += 1;
            return Ok(Reply::Delivered(Delivered { event, events, again: true }));
        }
        let whole: Vec<Value> = events.into_iter().map(Value::Object).collect();
        for data in &whole {
            check_event(data).map_err(|message| refuse(ErrorKind::Usage, message, None))?;
        }
        let count = u32::try_from(whole.len()).unwrap_or(u32::MAX);
        let first = self.book.last_event + 1;
        for data in whole {
            self.emit_as(format!("hook/{hook}"), Source::Integration(hook.clone()), data, 0, None);
        }
        self.remember_delivery(&hook, first, count, &marks);
        let used = self.hooks.counts.entry(hook).or_default();
        used.taken += 1;
        used.last = Some(self.now);
        Ok(Reply::Delivered(Delivered { event: first, events: count, again: false }))
    }

    /// Number of the first event of a delivery with one of these marks, and how many it became.
    fn delivered_before(&self, hook: &str, marks: &[Mark]) -> Option<(u64, u32)> {
        if model::broken::leaves_out("hook-once") {
            return None;
        }
        let now = self.now.0;
        let is_it = |kept: &Value| {
            let same = |mark: &Mark| {
                let until = kept["marks"].get(&mark.text)?;
                Some(until.as_u64().is_none_or(|it| now < it))
            };
            marks.iter().any(|it| same(it) == Some(true))
        };
        let (_, found) = self.remembered(hook).find(|it| is_it(it.1))?;
        let events = found["events"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(1);
        Some((found["event"].as_u64()?, events))
    }

    fn remembered(&self, hook: &str) -> impl Iterator<Item = (&str, &Value)> {
        let prefix = format!("hook/{hook}/");
        let from = (Part::Source, prefix.clone());
        let kept = self.book.kept.range(from..);
        let own = kept.take_while(move |(key, _)| key.0 == Part::Source && key.1.starts_with(&prefix));
        own.map(|(key, data)| (key.1.as_str(), data))
    }

    fn remember_delivery(&mut self, hook: &str, event: u64, events: u32, marks: &[Mark]) {
        let now = self.now;
        let over = |kept: &Value| {
            let marks = kept["marks"].as_object();
            marks.is_none_or(|it| it.values().all(|it| it.as_u64().is_some_and(|it| it <= now.0)))
        };
        let all: Vec<(String, bool)> =
            self.remembered(hook).map(|(key, kept)| (key.to_owned(), over(kept))).collect();
        let surplus = (all.len() + 1).saturating_sub(REMEMBERED_MAX);
        for (index, (key, over)) in all.iter().enumerate() {
            if *over || index < surplus {
                self.keep(Part::Source, key, None);
            }
        }
        if marks.is_empty() {
            return;
        }
        let until = |mark: &Mark| mark.for_ms.map_or(Value::Null, |it| now.plus_ms(it).0.into());
        let marks: Map<String, Value> = marks.iter().map(|it| (it.text.clone(), until(it))).collect();
        let data = json!({"event": event, "events": events, "marks": marks});
        self.keep(Part::Source, &remembered_as(hook, event), Some(data));
    }

    fn hook(&self, name: &str) -> Result<&Hook, ErrorView> {
        self.hooks.keyring.hooks.named.get(name).ok_or_else(|| {
            let message = format!("there is no hook `{}`", cut(name, 64));
            refuse(
                ErrorKind::NotFound,
                message,
                Some("hooks.yaml declares them, `labctl hook list` shows them"),
            )
        })
    }

    /// All hooks for people, without their secrets.
    pub(crate) fn hook_views(&self) -> Vec<HookView> {
        let nothing = Count::default();
        let view = |(name, hook): (&String, &Hook)| {
            let used = self.hooks.counts.get(name).unwrap_or(&nothing);
            let secret = match &hook.secret {
                _ if self.hooks.keyring.secrets(name).is_empty() => "none yet",
                Place::Here(_) => "hooks.yaml",
                Place::File(_) => "file",
                Place::Kept => "kept",
            };
            HookView {
                name: name.clone(),
                recipe: hook.recipe.name().to_owned(),
                secret: secret.to_owned(),
                cidr: hook.cidr.iter().map(ToString::to_string).collect(),
                rate: hook.rate.to_string(),
                max: u64::try_from(hook.max).unwrap_or(u64::MAX),
                taken: used.taken,
                again: used.again,
                seen_at: used.last,
            }
        };
        self.hooks.keyring.hooks.named.iter().map(view).collect()
    }

    /// What a hook would make of a payload; nothing happens.
    pub(crate) fn try_hook(&self, trial: HookTrial) -> Result<Reply, ErrorView> {
        let HookTrial { hook: name, kind, body } = trial;
        let hook = self.hook(&name)?;
        let (sent, sample) = recipes::sample(hook.recipe);
        let header = |name: &str| {
            let of_sample = sent.iter().find(|it| it.0 == name).map(|it| it.1);
            let is_kind = ["x-github-event", "x-gitea-event", "x-gitlab-event"].contains(&name);
            kind.as_deref().filter(|_| is_kind).or(of_sample)
        };
        let body = body.unwrap_or_else(|| sample.to_owned());
        let events = recipes::events(hook, &header, body.as_bytes())
            .map_err(|message| refuse(ErrorKind::Usage, message, None))?;
        let event = |data| Event {
            number: 0,
            tag: format!("hook/{name}"),
            source: Source::Integration(name.clone()),
            at: self.now,
            data: Value::Object(data),
            hops: 0,
            cause: Vec::new(),
        };
        Ok(Reply::Events(events.into_iter().map(event).collect()))
    }

    /// A new secret for a hook whose secret the master keeps.
    pub(crate) fn make_hook_secret(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        name: String,
        alone: bool,
        random: [u8; 16],
    ) -> Result<Option<Reply>, ErrorView> {
        let hook = self.hook(&name)?;
        if hook.secret != Place::Kept {
            let message = format!("hooks.yaml says where the secret of `{name}` is");
            let hint = "take `secret` or `secret_file` out, or change it there";
            return Err(refuse(ErrorKind::Usage, message, Some(hint)));
        }
        let recipe = hook.recipe.name().to_owned();
        let secret = Secret::new(format!("{:032x}", u128::from_be_bytes(random)));
        self.audit(caller, format!("make a secret for the hook {name}"), "accepted".to_owned());
        self.out.push(Effect::KeepHookSecret { ticket, hook: name, recipe, secret, alone });
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Entry, Input, test_kit::*};
    use model::Request;

    const TEXT: &str = "ci: {recipe: gitea, secret: 0123456789abcdef}\nnew: {recipe: uptime-kuma}\n";

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.step(Input::Hooks(Arc::new(Keyring::of_text(TEXT))));
        bench
    }

    fn delivery(marks: &[(&str, Option<u64>)], events: usize) -> Delivery {
        let marks = marks.iter().map(|it| Mark { text: it.0.to_owned(), for_ms: it.1 }).collect();
        let data = |it: usize| Map::from_iter([("n".to_owned(), json!(it))]);
        Delivery { hook: "ci".to_owned(), marks, events: (0..events).map(data).collect() }
    }

    fn give(bench: &mut Bench, delivery: Delivery) -> (Delivered, usize) {
        let effects = bench.step(Input::Hook { ticket: Ticket(1), delivery: Box::new(delivery) });
        let Some(Reply::Delivered(it)) = reply(&effects) else { panic!("{effects:?}") };
        (*it, tags(&effects).len())
    }

    #[test]
    fn a_delivery_is_taken_once_also_after_a_crash_and_its_answer_comes_behind_its_events() {
        let mut bench = bench();
        let (first, events) = give(&mut bench, delivery(&[("a", None)], 3));
        assert_eq!((first.events, first.again, events), (3, false, 3));
        for _ in 0..2 {
            let (again, events) = give(&mut bench, delivery(&[("b", None), ("a", None)], 3));
            assert_eq!((again.event, again.events, again.again, events), (first.event, 3, true, 0));
            bench.crash();
        }
        let (other, _) = give(&mut bench, delivery(&[("b", None)], 1));
        assert_eq!((other.event > first.event, other.again), (true, false));
        let once = model::broken::without(Some("hook-once"), || {
            give(&mut bench, delivery(&[("b", None)], 1)).0.again
        });
        assert!(!once, "the test notices");
    }

    #[test]
    fn what_cannot_be_told_apart_is_the_same_for_a_while_only() {
        let mut bench = bench();
        let same = || delivery(&[("body", Some(60_000))], 1);
        assert!(!give(&mut bench, same()).0.again);
        bench.pass(59_000);
        assert!(give(&mut bench, same()).0.again);
        bench.pass(1_000);
        assert!(!give(&mut bench, same()).0.again);
    }

    #[test]
    fn memory_is_bounded_and_goes_with_its_hook() {
        let mut bench = bench();
        for number in 0..1_000 {
            give(&mut bench, delivery(&[(&number.to_string(), None)], 1));
        }
        let kept = |bench: &Bench| bench.master.book.kept_of(Part::Source).count();
        assert_eq!(kept(&bench), REMEMBERED_MAX);
        assert!(give(&mut bench, delivery(&[("999", None)], 1)).0.again);
        assert!(!give(&mut bench, delivery(&[("1", None)], 1)).0.again, "too long ago");
        bench.step(Input::Hooks(Arc::default()));
        assert_eq!(kept(&bench), 0);
    }

    #[test]
    fn a_full_store_takes_nothing_and_says_so() {
        let mut bench = bench();
        bench.step(Input::StoreHealth(Some("no space".to_owned())));
        let effects = bench.step(Input::Hook { ticket: Ticket(1), delivery: Box::new(delivery(&[], 1)) });
        assert_eq!(refusal(&effects).map(|it| it.0), Some(ErrorKind::Unavailable));
        assert!(tags(&effects).is_empty());
    }

    #[test]
    fn hooks_are_shown_tried_and_given_secrets() {
        let mut bench = bench();
        give(&mut bench, delivery(&[("a", None)], 1));
        let effects = bench.ask(Request::Hooks);
        let Some(Reply::Hooks(views)) = reply(&effects) else { panic!() };
        let told: Vec<_> = views.iter().map(|it| (it.name.as_str(), it.secret.as_str(), it.taken)).collect();
        assert_eq!(told, [("ci", "hooks.yaml", 1), ("new", "none yet", 0)]);
        let trial = |hook: &str, body: Option<&str>| HookTrial {
            hook: hook.to_owned(),
            kind: None,
            body: body.map(str::to_owned),
        };
        let effects = bench.ask(Request::TryHook { trial: trial("ci", None) });
        let Some(Reply::Events(events)) = reply(&effects) else { panic!() };
        assert_eq!((events[0].tag.as_str(), &events[0].data["branch"]), ("hook/ci", &json!("main")));
        assert!(records(&effects).is_empty(), "nothing happens");
        for (trial, kind) in
            [(trial("nothing", None), ErrorKind::NotFound), (trial("ci", Some("{")), ErrorKind::Usage)]
        {
            assert_eq!(refusal(&bench.ask(Request::TryHook { trial })).map(|it| it.0), Some(kind));
        }
        let make = |hook: &str| Request::MakeHookSecret { hook: hook.to_owned(), alone: false };
        assert_eq!(refusal(&bench.ask(make("ci"))).map(|it| it.0), Some(ErrorKind::Usage));
        let effects = bench.ask(make("new"));
        assert!(effects.iter().any(|it| matches!(it, Effect::KeepHookSecret { hook, .. } if hook == "new")));
        assert!(matches!(records(&effects)[..], [Entry::Audit(_)]), "{effects:?}");
    }

    #[test]
    fn a_mistake_is_told_once_and_shown_until_it_is_mended() {
        let mut bench = bench();
        let bad = || {
            vec![Diagnostic {
                severity: model::Severity::Error,
                code: "E0702".into(),
                message: "no".into(),
                spans: vec![],
                notes: vec![],
                help: None,
            }]
        };
        assert_eq!(tags(&bench.step(Input::BrokenHooks(bad()))), ["hooks/broken"]);
        assert!(tags(&bench.step(Input::BrokenHooks(bad()))).is_empty());
        let errors = |bench: &mut Bench| match reply(&bench.ask(Request::Status)) {
            Some(Reply::Status(it)) => it.tree_errors.len(),
            _ => usize::MAX,
        };
        assert_eq!(errors(&mut bench), 1);
        bench.step(Input::Hooks(Arc::new(Keyring::of_text(TEXT))));
        assert_eq!(errors(&mut bench), 0);
    }
}

//! Runs in waves as people write them: the words of rules and schedules, what a gate's condition means, and the order of
//! turns.

use crate::{
    condition::{Condition, why},
    duration,
    rule_files::moved,
    rules::{Context, filter_matches},
    say::{Complaints, Rendered, Say, did_you_mean, error},
    yaml::{Key, Node, Yaml},
};
use model::{
    Diagnostic, Event, Gate, Grains, Labels, MinionId, OnStop, Order, Rolling, Share, Source, Timestamp,
};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The words of a run in waves, beside those of what is to be run.
pub(crate) const KEYS: [&str; 7] = ["batch", "batch_wait", "max_fail", "canary", "order", "gate", "on_stop"];
/// The words of its gate.
const GATE_KEYS: [&str; 5] = ["when", "quiet", "check", "hold", "timeout"];
/// What a gate's condition may be about.
const GATE_ROOTS: [&str; 4] = ["telemetry", "grains", "labels", "minion"];
/// Waves of one run.
pub const WAVES_MAX: usize = 1_000;
/// Longest wait between waves, and longest that a gate is held or waited for, in milliseconds.
const WAIT_MS_MAX: u64 = 7 * 86_400_000;
/// How long a gate may take behind its `hold`, unless it says so.
pub const GATE_TIMEOUT_MS: u64 = 300_000;
/// Words of a gate's command, and bytes of them all.
const CHECK_WORDS_MAX: usize = 256;
const CHECK_BYTES_MAX: usize = 16 << 10;
/// Longest filter.
const FILTER_BYTES: usize = 128;

/// Reads the pairs of a mapping that are about waves; `None` if there are none, or if they cannot be read.
pub(crate) fn read(pairs: &[(Key, Node)], file: &Rendered, complaints: &mut Complaints) -> Option<Rolling> {
    if !pairs.iter().any(|it| KEYS.contains(&it.0.text.as_str())) {
        return None;
    }
    let before = complaints.errors();
    let mut reader = Words { file, complaints };
    let mut rolling = Rolling::default();
    for (key, node) in pairs {
        match key.text.as_str() {
            "batch" => rolling.batch = reader.share(node).unwrap_or(rolling.batch),
            "max_fail" => rolling.max_fail = reader.share(node).unwrap_or(rolling.max_fail),
            "canary" => rolling.canary = reader.share(node),
            "batch_wait" => rolling.batch_wait_ms = reader.time(node).unwrap_or(0),
            "order" => match node.text() {
                Some("name") => rolling.order = Order::Name,
                Some("random") => rolling.order = Order::Random,
                Some("oldest") => rolling.order = Order::Oldest,
                _ => reader.wrong(node, "`order` is `name`, `random` or `oldest`"),
            },
            "on_stop" => match node.text() {
                Some("stop") => rolling.on_stop = OnStop::Stop,
                Some("undo") => rolling.on_stop = OnStop::Undo,
                _ => reader.wrong(node, "`on_stop` is `stop` or `undo`"),
            },
            "gate" => rolling.gate = reader.gate(key, node),
            _ => {}
        }
    }
    (complaints.errors() == before).then_some(rolling)
}

struct Words<'a> {
    file: &'a Rendered,
    complaints: &'a mut Complaints,
}

impl Words<'_> {
    fn wrong(&mut self, node: &Node, message: impl Into<String>) {
        self.complaints.push(error("E0503", message).at(self.file.span(node.at, "")));
    }

    fn share(&mut self, node: &Node) -> Option<Share> {
        let read = node.text().unwrap_or("").parse();
        read.map_err(|message: String| self.wrong(node, message)).ok()
    }

    fn time(&mut self, node: &Node) -> Option<u64> {
        let read =
            node.text().and_then(|it| duration::parse_or_seconds(it).ok()).filter(|it| *it <= WAIT_MS_MAX);
        if read.is_none() {
            self.wrong(node, "expected a time of at most 7 days, such as `90s`, `5m` or `2h`");
        }
        read
    }

    fn gate(&mut self, key: &Key, node: &Node) -> Option<Gate> {
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`gate` takes a mapping, not {}", node.kind());
            let help = "write `gate: { when: telemetry.cpu < 80, hold: 60s }`";
            self.complaints.push(error("E0501", message).at(self.file.span(node.at, "")).help(help));
            return None;
        };
        let mut gate = Gate::default();
        for (key, node) in pairs {
            match key.text.as_str() {
                "when" => gate.when = self.condition(node),
                "quiet" => {
                    gate.quiet = node.text().filter(|it| is_filter(it)).map(str::to_owned);
                    if gate.quiet.is_none() {
                        self.wrong(node, "`quiet` is a filter such as `beacon/service/#`");
                    }
                }
                "check" => gate.check = self.command(node),
                "hold" => gate.hold_ms = self.time(node).unwrap_or(0),
                "timeout" => gate.timeout_ms = self.time(node),
                other => {
                    let help = did_you_mean(other, GATE_KEYS);
                    let help = help.unwrap_or_else(|| format!("a gate has {}", GATE_KEYS.join(", ")));
                    let complaint = error("E0502", format!("unknown key `{other}`"));
                    self.complaints.push(complaint.at(self.file.span(key.at, "")).help(help));
                }
            }
        }
        if let Some(message) = gate_fault(&gate) {
            self.complaints.push(error("E0503", message).at(self.file.span(key.at, "")));
        }
        Some(gate)
    }

    fn condition(&mut self, node: &Node) -> Option<String> {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.wrong(node, format!("`when` takes an expression, not {}", node.kind()));
            return None;
        };
        match Condition::parse_over(text, &self.file.source.path, &GATE_ROOTS) {
            Ok(_) => Some(text.to_owned()),
            Err(complaint) => {
                self.complaints.push(moved(*complaint, self.file, node, text));
                None
            }
        }
    }

    fn command(&mut self, node: &Node) -> Vec<String> {
        let words = match &node.value {
            Yaml::List(items) => items.iter().map(|it| it.text().map(str::to_owned)).collect(),
            _ => None,
        };
        words.unwrap_or_else(|| {
            self.wrong(node, "`check` is a list of a program and its arguments");
            Vec::new()
        })
    }
}

fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let good = |(index, level): (usize, &&str)| match *level {
        "#" => index + 1 == levels.len(),
        "+" => true,
        other => !other.is_empty() && !other.contains(['+', '#', '\0']),
    };
    text.len() <= FILTER_BYTES && levels.iter().enumerate().all(good)
}

/// What is wrong with a gate, wherever it comes from.
fn gate_fault(gate: &Gate) -> Option<String> {
    let nothing = gate.when.is_none() && gate.quiet.is_none() && gate.check.is_empty() && gate.hold_ms == 0;
    let bytes: usize = gate.check.iter().map(String::len).sum();
    let bad_word = |it: &String| it.contains('\0');
    if nothing {
        return Some("a gate needs a condition, a filter, a command, or a time to hold".to_owned());
    }
    if gate.check.len() > CHECK_WORDS_MAX || bytes > CHECK_BYTES_MAX {
        return Some(format!("a gate's command has at most {CHECK_WORDS_MAX} words and 16 KiB"));
    }
    if gate.check.first().is_some_and(String::is_empty) || gate.check.iter().any(bad_word) {
        return Some("a gate's command begins with a program, and has no NUL in it".to_owned());
    }
    if gate.hold_ms > WAIT_MS_MAX || gate.timeout_ms.is_some_and(|it| it > WAIT_MS_MAX) {
        return Some("a gate takes at most 7 days".to_owned());
    }
    if gate.timeout_ms.is_some_and(|it| it <= gate.hold_ms) {
        return Some("a gate that has to hold longer than its timeout never opens".to_owned());
    }
    if gate.quiet.as_ref().is_some_and(|it| !is_filter(it)) {
        return Some(
            "a gate's filter is over what follows `minion/<id>/`, such as `beacon/service/#`".to_owned(),
        );
    }
    None
}

/// What is wrong with a run over so many machines, wherever it comes from.
///
/// # Errors
/// A sentence, and the complaint about the gate's condition if that is it.
pub fn check(rolling: &Rolling, machines: usize) -> Result<(), (String, Option<Box<Diagnostic>>)> {
    let plain = |message: String| Err((message, None));
    if rolling.batch_wait_ms > WAIT_MS_MAX {
        return plain("the wait between waves is at most 7 days".to_owned());
    }
    let waves = rolling.waves(machines).len();
    if waves > WAVES_MAX {
        return plain(format!("{waves} waves are more than {WAVES_MAX}: give each more machines"));
    }
    let Some(gate) = &rolling.gate else { return Ok(()) };
    if let Some(message) = gate_fault(gate) {
        return plain(message);
    }
    let unreadable = |complaint| ("the gate's condition cannot be read".to_owned(), Some(complaint));
    Health::of(gate).map(drop).map_err(unreadable)
}

/// A gate's condition and filter, ready to be asked.
#[derive(Clone, Debug)]
pub struct Health {
    condition: Option<Condition>,
    quiet: Option<String>,
}

impl Health {
    /// Reads them.
    ///
    /// # Errors
    /// The complaint about the condition.
    pub fn of(gate: &Gate) -> Result<Self, Box<Diagnostic>> {
        let read = |text: &String| Condition::parse_over(text, "gate", &GATE_ROOTS);
        Ok(Self { condition: gate.when.as_ref().map(read).transpose()?, quiet: gate.quiet.clone() })
    }
    /// Whether the condition needs a sample.
    pub fn has_condition(&self) -> bool {
        self.condition.is_some()
    }
    /// Whether the condition holds on a machine, with the clause that decides.
    pub fn holds(
        &self,
        minion: &MinionId,
        sample: Option<&Value>,
        grains: &Grains,
        labels: &Labels,
    ) -> (bool, String) {
        let Some(condition) = &self.condition else { return (true, String::new()) };
        let nothing = Event {
            number: 0,
            tag: String::new(),
            source: Source::Master,
            at: Timestamp(0),
            data: Value::Null,
            hops: 0,
            cause: Vec::new(),
        };
        let context = Context {
            minion: Some(minion),
            grains: Some(grains),
            labels: Some(labels),
            telemetry: sample,
            ..Context::of_event(&nothing)
        };
        let clause = condition.judge(&context);
        (clause.held == Some(true), why(&clause))
    }
    /// Whether an event breaks the quiet: what follows `minion/<id>/` of its tag.
    pub fn is_broken_by(&self, below: &str) -> bool {
        self.quiet.as_ref().is_some_and(|it| filter_matches(it, below))
    }
}

/// Machines in the order of their turns. `last` is when each was last applied to; dice fall by `seed`, always the same.
pub fn in_order(
    rolling: &Rolling,
    seed: u128,
    mut machines: Vec<(MinionId, Option<Timestamp>)>,
) -> Vec<MinionId> {
    machines.sort_by(|a, b| a.0.cmp(&b.0));
    match rolling.order {
        Order::Name => {}
        Order::Oldest => machines.sort_by_key(|it| it.1),
        Order::Random => machines.sort_by_key(|it| {
            let mut hasher = DefaultHasher::new();
            (seed, &it.0).hash(&mut hasher);
            hasher.finish()
        }),
    }
    machines.into_iter().map(|it| it.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        say::Text,
        yaml::{self},
    };
    use serde_json::json;
    use std::sync::Arc;

    fn of(text: &str) -> Result<Option<Rolling>, Vec<String>> {
        let file = Rendered::plain(Arc::new(Text::new("reactors/x.yaml".to_owned(), text.to_owned())));
        let mut complaints = Complaints::default();
        let root = yaml::parse(&file, &mut complaints).unwrap();
        let Yaml::Map(pairs) = &root.value else { panic!("{root:?}") };
        let rolling = read(pairs, &file, &mut complaints);
        let said: Vec<String> = complaints
            .finish()
            .into_iter()
            .map(|it| format!("{}:{} {} {}", it.spans[0].line, it.spans[0].column, it.code, it.message))
            .collect();
        if said.is_empty() { Ok(rolling) } else { Err(said) }
    }

    #[test]
    fn the_words_of_rules_give_a_run_in_waves() {
        assert_eq!(of("target: '*'\nstates: [web]\n"), Ok(None));
        let words = "batch: 25%\nbatch_wait: 1h30m\nmax_fail: 2\ncanary: 1\norder: oldest\non_stop: undo\n\
            gate: {when: telemetry.cpu < 80 and telemetry.mem < 90, hold: 1m30s, timeout: 600, check: [curl, -f], quiet: beacon/#}\n";
        let gate = Gate {
            when: Some("telemetry.cpu < 80 and telemetry.mem < 90".to_owned()),
            quiet: Some("beacon/#".to_owned()),
            check: vec!["curl".to_owned(), "-f".to_owned()],
            hold_ms: 90_000,
            timeout_ms: Some(600_000),
        };
        let rolling = Rolling {
            batch: Share::Percent(25),
            batch_wait_ms: 5_400_000,
            max_fail: Share::Count(2),
            order: Order::Oldest,
            canary: Some(Share::Count(1)),
            gate: Some(gate),
            on_stop: OnStop::Undo,
        };
        assert_eq!(of(words), Ok(Some(rolling)));
    }

    #[test]
    fn all_complaints_come_at_once_and_at_their_place() {
        let words = "batch: 0\nbatch_wait: soon\norder: age\non_stop: [undo]\nmax_fail: many\n\
            gate:\n  when: telemtry.cpu < 80\n  holds: 5s\n  check: curl -f\n  quiet: a/#/b\n";
        let said = of(words).unwrap_err();
        let begins: Vec<&str> = said.iter().map(|it| it.split(' ').next().unwrap()).collect();
        assert_eq!(
            begins,
            ["1:8", "2:13", "3:8", "4:10", "5:11", "6:1", "7:9", "8:3", "9:10", "10:10"],
            "{said:#?}"
        );
        assert!(of("gate: {hold: 10m, timeout: 1m}").is_err());
        assert!(of("gate: {timeout: 1m}").is_err());
        assert!(of("gate: telemetry.cpu < 80").is_err());
    }

    #[test]
    fn a_gate_asks_samples_and_what_is_known_of_a_machine() {
        let id: MinionId = "vm-1".parse().unwrap();
        let holds = |when: &str, sample: Option<Value>| {
            let gate = Gate { when: Some(when.to_owned()), ..Gate::default() };
            let labels = Labels::from([("role".to_owned(), "web".to_owned())]);
            Health::of(&gate).unwrap().holds(&id, sample.as_ref(), &Grains::new(), &labels).0
        };
        assert!(holds("telemetry.cpu < 80 and labels.role = 'web'", Some(json!({"cpu": 12.5}))));
        assert!(!holds("telemetry.cpu < 80", Some(json!({"cpu": 81}))));
        assert!(!holds("telemetry.cpu < 80", None), "what nobody knows is not healthy");
        for event in ["event.x = 1", "tag = a", "source = b"] {
            let gate = Gate { when: Some(event.to_owned()), ..Gate::default() };
            assert!(Health::of(&gate).is_err(), "{event}");
        }
    }

    #[test]
    fn turns_are_by_name_by_age_or_by_dice_that_fall_the_same_again() {
        let machines = || {
            let of = |(name, at): (&str, Option<u64>)| (name.parse().unwrap(), at.map(Timestamp));
            [("c", Some(5)), ("a", Some(9)), ("b", None), ("d", Some(5))].map(of).to_vec()
        };
        let turns = |order, seed| {
            let rolling = Rolling { order, ..Rolling::default() };
            let turns = in_order(&rolling, seed, machines());
            turns.iter().map(MinionId::as_str).collect::<Vec<_>>().concat()
        };
        assert_eq!(turns(Order::Name, 1), "abcd");
        assert_eq!(turns(Order::Oldest, 1), "bcda");
        assert_eq!(turns(Order::Random, 7), turns(Order::Random, 7));
        assert!((0..20).any(|it| turns(Order::Random, it) != "abcd"));
    }
}

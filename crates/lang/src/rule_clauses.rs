//! The clauses of a rule beside `on`, `when` and `do`: how they are written, what they mean, which go together.

use crate::{
    compare::boolean,
    condition::Path,
    duration,
    rule_files::{Draft, Reader},
    rules::ActionTemplate,
    say::{At, did_you_mean, shortened},
    yaml::{Key, Node, Yaml},
};

/// How often `throttle` and `count` may count; each time is remembered.
pub const COUNT_MAX: u32 = 100;
/// Filters of one rule.
pub const FILTERS_MAX: usize = 16;
/// Rule-made events that may lead to each other.
pub const HOPS_MAX: u32 = 8;
/// Lists of actions in one `else_after`.
const LATER_MAX: usize = 8;
/// `debounce` without `at_most` acts at the latest after so many times its wait.
pub const DEBOUNCE_TIMES: u64 = 10;
/// Paths in one `group_by`.
const PATHS_MAX: usize = 8;
/// Priorities go from minus this to this.
const PRIORITY_MAX: i32 = 1_000;

/// What a rule asks beside `on` and `when`.
#[derive(Clone, Debug)]
pub struct Clauses {
    /// Events of all filters have to come for one key within this many milliseconds.
    pub all_within_ms: Option<u64>,
    /// `for`: the condition has to hold this long.
    pub for_ms: Option<u64>,
    /// At most so often.
    pub throttle: Option<Throttle>,
    /// Acts when nothing more has come for a time.
    pub debounce: Option<Debounce>,
    /// So many events.
    pub count: Option<Count>,
    /// Acts when the event did not come.
    pub absent: Option<Absent>,
    /// Acts once for each of these.
    pub once_per: Option<OncePer>,
    /// What tells events apart; empty: the minion of the tag, else the tag.
    pub(crate) group_by: Vec<Path>,
    /// How many rule-made events may have led to one that this rule hears.
    pub max_hops: u32,
    /// Rules with a higher one see an event first.
    pub priority: i32,
    /// Whether it is in use.
    pub enabled: bool,
    /// It acts on machines in maintenance, too.
    pub in_maintenance: bool,
    /// What to do when the condition still holds so many milliseconds after it acted.
    pub else_after: Vec<(u64, Vec<ActionTemplate>)>,
}

impl Default for Clauses {
    fn default() -> Self {
        Self {
            all_within_ms: None,
            for_ms: None,
            throttle: None,
            debounce: None,
            count: None,
            absent: None,
            once_per: None,
            group_by: Vec::new(),
            max_hops: HOPS_MAX,
            priority: 0,
            enabled: true,
            in_maintenance: false,
            else_after: Vec::new(),
        }
    }
}

/// `throttle: 1 per minion per 15m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// So often.
    pub times: u32,
    /// For each of these.
    pub per: Per,
    /// In so many milliseconds.
    pub within_ms: u64,
}

/// For each of what something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The minion that the event is about.
    Minion,
    /// What `group_by` says.
    Key,
    /// All of the rule together.
    Rule,
}

/// `debounce: 2s`, or `debounce: { wait: 2s, at_most: 30s }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// Acts when nothing more has come for so many milliseconds,
    pub wait_ms: u64,
    /// or when so many have passed since the first event that it waited with.
    pub at_most_ms: u64,
}

/// `count: 3 within 10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub times: u32,
    /// In so many milliseconds.
    pub within_ms: u64,
}

/// `absent: 2m`, or `absent: { within: 2m, after: FILTER }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// It has so many milliseconds to come.
    pub within_ms: u64,
    /// From when on.
    pub after: After,
}

/// From when on an event is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// From the last such event on.
    Itself,
    /// From the minion's coming up on, as long as it is up.
    Up,
    /// From an event of this filter with the same key on.
    Event(String),
}

/// For each of what a rule acts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OncePer {
    /// Each boot of the minion: due until it is done.
    Boot,
    /// Each day of the clocks on the wall.
    Day,
    /// Each job that the event is about.
    Job,
}

impl OncePer {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Day => "day",
            Self::Job => "job",
        }
    }
}

/// Clauses that do not go together, and why.
const APART: [(&str, &[&str], &str); 4] = [
    ("for", &["all", "count", "debounce", "absent"], "`for` asks how long one condition holds"),
    ("absent", &["all", "count", "debounce", "else_after"], "`absent` is about an event that did not come"),
    ("all", &["on", "any"], "`all` names its filters itself"),
    ("any", &["on", "all"], "`any` names its filters itself"),
];
/// What a boot that stays due has no use for.
const NOT_WITH_BOOT: [&str; 6] = ["for", "absent", "debounce", "count", "all", "group_by"];

/// Events of minions that say no more than who is there.
const OF_PRESENCE: [&str; 5] = ["start", "online", "lost", "down", "retired"];

type Pairs = [(Key, Node)];

fn get<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a (Key, Node)> {
    pairs.iter().find(|it| it.0.text == name)
}

impl Reader {
    /// Reads all clauses but `on`, `when` and `do`.
    pub(crate) fn clauses(&mut self, draft: &mut Draft, pairs: &Pairs) -> Clauses {
        let mut clauses = Clauses::default();
        for (key, node) in pairs {
            self.clause(draft, &mut clauses, key, node);
        }
        self.apart(draft, pairs);
        clauses
    }

    fn clause(&mut self, draft: &mut Draft, clauses: &mut Clauses, key: &Key, node: &Node) {
        match key.text.as_str() {
            "for" => clauses.for_ms = self.span_of(draft, key, node),
            "debounce" => clauses.debounce = self.debounce(draft, key, node),
            "throttle" => clauses.throttle = self.throttle(draft, node),
            "count" => clauses.count = self.count(draft, node),
            "absent" => clauses.absent = self.absent(draft, key, node),
            "once_per" => clauses.once_per = self.once_per(draft, node),
            "group_by" => clauses.group_by = self.group_by(draft, node),
            "max_hops" => {
                let most = i64::from(HOPS_MAX);
                if let Some(hops) = self.number(draft, key, node, 1..=most) {
                    clauses.max_hops = u32::try_from(hops).unwrap_or(HOPS_MAX);
                }
            }
            "priority" => {
                let most = i64::from(PRIORITY_MAX);
                if let Some(priority) = self.number(draft, key, node, -most..=most) {
                    clauses.priority = i32::try_from(priority).unwrap_or_default();
                }
            }
            "enabled" => match node.text().and_then(boolean) {
                Some(enabled) => clauses.enabled = enabled,
                None => self.wrong(draft, node.at, "`enabled` takes `true` or `false`", None),
            },
            "maintenance" => match node.text() {
                Some("hold") => {}
                Some("ignore") => clauses.in_maintenance = true,
                _ => {
                    let help = "with `hold`, the rule does not act on machines in maintenance".to_owned();
                    self.wrong(draft, node.at, "`maintenance` takes `hold` or `ignore`", Some(help));
                }
            },
            "else_after" => clauses.else_after = self.else_after(draft, node),
            _ => {}
        }
    }

    fn wrong(&mut self, draft: &Draft, at: At, message: impl Into<String>, help: Option<String>) {
        self.say(&draft.file, at, "E0508", message, help);
    }

    /// A span of time that is not nothing.
    pub(crate) fn span_of(&mut self, draft: &Draft, key: &Key, node: &Node) -> Option<u64> {
        let told = match node.text().map(duration::parse) {
            Some(Ok(0)) => "it is no time at all".to_owned(),
            Some(Ok(ms)) => return Some(ms),
            Some(Err(cause)) => cause,
            None => format!("{} is no span of time", node.kind()),
        };
        let help = Some("write `90s`, `5m`, `2h` or `1d`".to_owned());
        self.wrong(draft, node.at, format!("`{}`: {told}", key.text), help);
        None
    }

    fn number(
        &mut self,
        draft: &Draft,
        key: &Key,
        node: &Node,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = node.text().and_then(|it| it.parse().ok()).filter(|it| range.contains(it));
        if number.is_none() {
            let message = format!("`{}` takes a number from {} to {}", key.text, range.start(), range.end());
            self.wrong(draft, node.at, message, None);
        }
        number
    }

    /// A number of times.
    fn times(&mut self, draft: &Draft, node: &Node, word: &str, most: u32) -> Option<u32> {
        let times = word.parse::<u32>().ok().filter(|it| (1..=most).contains(it));
        if times.is_none() {
            let message = format!("`{}` is no number from 1 to {most}", shortened(word));
            self.wrong(draft, node.at, message, None);
        }
        times
    }

    fn per(&mut self, draft: &Draft, node: &Node, word: &str) -> Option<Per> {
        match word {
            "minion" => Some(Per::Minion),
            "key" => Some(Per::Key),
            "rule" => Some(Per::Rule),
            _ => {
                let help = did_you_mean(word, ["minion", "key", "rule"]);
                let message = format!("`per {}`: it is `minion`, `key` or `rule`", shortened(word));
                self.wrong(draft, node.at, message, help);
                None
            }
        }
    }

    fn span_word(&mut self, draft: &Draft, node: &Node, word: &str) -> Option<u64> {
        match duration::parse(word) {
            Ok(0) => self.wrong(draft, node.at, "it is no time at all", None),
            Ok(ms) => return Some(ms),
            Err(cause) => self.wrong(draft, node.at, cause, None),
        }
        None
    }

    fn throttle(&mut self, draft: &Draft, node: &Node) -> Option<Throttle> {
        let words: Vec<&str> = node.text().unwrap_or("").split_whitespace().collect();
        let (times, per, span) = match words[..] {
            [times, "per", per, "per", span] => (times, self.per(draft, node, per)?, span),
            [times, "per", span] => (times, Per::Key, span),
            _ => {
                let help = "write `throttle: 1 per minion per 15m`; also `per key` and `per rule`".to_owned();
                self.wrong(draft, node.at, "`throttle` says how often for what in which time", Some(help));
                return None;
            }
        };
        let times = self.times(draft, node, times, COUNT_MAX);
        let within_ms = self.span_word(draft, node, span);
        Some(Throttle { times: times?, per, within_ms: within_ms? })
    }

    fn count(&mut self, draft: &Draft, node: &Node) -> Option<Count> {
        let words: Vec<&str> = node.text().unwrap_or("").split_whitespace().collect();
        let [times, "within", span] = words[..] else {
            let help = Some("write `count: 3 within 10m`".to_owned());
            self.wrong(draft, node.at, "`count` says how many events in which time", help);
            return None;
        };
        let times = self.times(draft, node, times, COUNT_MAX);
        let within_ms = self.span_word(draft, node, span);
        Some(Count { times: times?, within_ms: within_ms? })
    }

    fn debounce(&mut self, draft: &Draft, key: &Key, node: &Node) -> Option<Debounce> {
        let whole = |wait_ms: u64| wait_ms.saturating_mul(DEBOUNCE_TIMES);
        let Yaml::Map(pairs) = &node.value else {
            let wait_ms = self.span_of(draft, key, node)?;
            return Some(Debounce { wait_ms, at_most_ms: whole(wait_ms) });
        };
        let file = draft.file.clone();
        for (key, _) in pairs.iter().filter(|it| !["wait", "at_most"].contains(&it.0.text.as_str())) {
            self.unknown(&file, key, &["wait", "at_most"]);
        }
        let Some((wait, span)) = get(pairs, "wait") else {
            let help = Some("write `debounce: { wait: 2s, at_most: 30s }`".to_owned());
            self.wrong(draft, node.at, "`debounce` needs `wait`", help);
            return None;
        };
        let wait_ms = self.span_of(draft, wait, span)?;
        let at_most_ms = match get(pairs, "at_most") {
            None => whole(wait_ms),
            Some((most, span)) => self.span_of(draft, most, span)?,
        };
        if at_most_ms < wait_ms {
            self.wrong(draft, node.at, "`at_most` is shorter than `wait`", None);
            return None;
        }
        Some(Debounce { wait_ms, at_most_ms })
    }

    fn once_per(&mut self, draft: &Draft, node: &Node) -> Option<OncePer> {
        match node.text() {
            Some("boot") => Some(OncePer::Boot),
            Some("day") => Some(OncePer::Day),
            Some("job") => Some(OncePer::Job),
            other => {
                let help = other.and_then(|it| did_you_mean(it, ["boot", "day", "job"]));
                self.wrong(draft, node.at, "`once_per` takes `boot`, `day` or `job`", help);
                None
            }
        }
    }

    fn group_by(&mut self, draft: &Draft, node: &Node) -> Vec<Path> {
        let items = match &node.value {
            Yaml::List(items) if items.len() <= PATHS_MAX => items.as_slice(),
            Yaml::Scalar { .. } if !node.is_null() => std::slice::from_ref(node),
            _ => {
                let message = format!("`group_by` takes a path such as `event.mount`, or up to {PATHS_MAX}");
                self.wrong(draft, node.at, message, None);
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for item in items {
            let text = item.text().unwrap_or("");
            match Path::parse(text, &draft.file.source.path) {
                Ok(path) => paths.push(path),
                Err(complaint) => {
                    self.complaints.push(crate::rule_files::moved(*complaint, &draft.file, item, text));
                }
            }
        }
        paths
    }

    fn absent(&mut self, draft: &Draft, key: &Key, node: &Node) -> Option<Absent> {
        let Yaml::Map(pairs) = &node.value else {
            return Some(Absent { within_ms: self.span_of(draft, key, node)?, after: After::Itself });
        };
        let file = draft.file.clone();
        for (key, _) in pairs.iter().filter(|it| !["within", "after"].contains(&it.0.text.as_str())) {
            self.unknown(&file, key, &["within", "after"]);
        }
        let Some((within, span)) = get(pairs, "within") else {
            let help = Some("write `absent: { within: 2m, after: up }`".to_owned());
            self.wrong(draft, node.at, "`absent` needs `within`", help);
            return None;
        };
        let after = match get(pairs, "after").map(|it| &it.1) {
            None => After::Itself,
            Some(node) if node.text() == Some("up") => After::Up,
            Some(node) => After::Event(self.one_filter(&file, node)),
        };
        Some(Absent { within_ms: self.span_of(draft, within, span)?, after })
    }

    fn else_after(&mut self, draft: &mut Draft, node: &Node) -> Vec<(u64, Vec<ActionTemplate>)> {
        let Yaml::Map(pairs) = &node.value else {
            let help = Some("write `else_after: { 10m: [ { notify: … } ] }`".to_owned());
            self.wrong(draft, node.at, "`else_after` maps spans of time to lists of actions", help);
            return Vec::new();
        };
        if pairs.len() > LATER_MAX {
            let message = format!("`else_after` has more than {LATER_MAX} times");
            self.wrong(draft, node.at, message, None);
        }
        let mut lists = Vec::new();
        for (key, node) in pairs.iter().take(LATER_MAX) {
            let after = match duration::parse(&key.text) {
                Ok(after) if after > 0 => Some(after),
                Ok(_) => {
                    self.wrong(draft, key.at, "it is no time at all", None);
                    None
                }
                Err(cause) => {
                    self.wrong(draft, key.at, cause, None);
                    None
                }
            };
            let actions = self.actions(draft, key, Some(node));
            lists.extend(after.map(|after| (after, actions)));
        }
        lists.sort_by_key(|it| it.0);
        lists
    }

    /// Clauses that contradict each other.
    fn apart(&mut self, draft: &Draft, pairs: &Pairs) {
        for (name, others, why) in APART {
            let Some((key, _)) = get(pairs, name) else { continue };
            for other in others.iter().filter(|it| get(pairs, it).is_some()) {
                let message = format!("`{name}` does not go with `{other}`: {why}");
                self.wrong(draft, key.at, message, None);
            }
        }
        if let Some((key, node)) = get(pairs, "once_per")
            && node.text() == Some("boot")
        {
            for other in NOT_WITH_BOOT.iter().filter(|it| get(pairs, it).is_some()) {
                let message = format!("`once_per: boot` does not go with `{other}`: a boot is due at once");
                self.wrong(draft, key.at, message, None);
            }
        }
        if let Some((key, _)) = get(pairs, "else_after")
            && get(pairs, "when").is_none()
        {
            let message = "`else_after` asks whether `when` still holds, and there is none";
            self.wrong(draft, key.at, message, None);
        }
        if let Some((key, _)) = get(pairs, "for")
            && get(pairs, "when").is_none()
        {
            let help = "say what must hold that long: `when: event.percent > 90`; to wait until no more events \
                        come it is `debounce`";
            let message = "`for` asks how long `when` has held, and there is none";
            self.wrong(draft, key.at, message, Some(help.to_owned()));
        }
        if let Some((key, node)) = get(pairs, "once_per")
            && node.text() == Some("job")
            && get(pairs, "group_by").is_some()
        {
            let message = "`once_per: job` does not go with `group_by`: the job is the key";
            self.wrong(draft, key.at, message, None);
        }
        self.expected_key(draft, pairs);
    }

    /// What says that an event is expected must have the same key as that event.
    fn expected_key(&mut self, draft: &Draft, pairs: &Pairs) {
        let Some((_, Node { value: Yaml::Map(absent), .. })) = get(pairs, "absent") else { return };
        let Some((_, by)) = get(pairs, "group_by") else { return };
        let after = get(absent, "after").and_then(|it| it.1.text()).unwrap_or_default();
        let of_the_master = after.strip_prefix("minion/").and_then(|it| it.split('/').nth(1));
        if after != "up" && !of_the_master.is_some_and(|it| OF_PRESENCE.contains(&it)) {
            return;
        }
        let items = match &by.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(by),
        };
        let lacks = |it: &&Node| it.text().is_some_and(|it| it == "tag" || it.starts_with("event."));
        for item in items.iter().filter(lacks) {
            let path = item.text().unwrap_or_default();
            let message = format!("`absent` after `{after}`: such an event has another `{path}`, or none");
            let help =
                "the key must be the same for both events: `minion`, `grains…` or `labels…`".to_owned();
            self.wrong(draft, item.at, message, Some(help));
        }
    }
}

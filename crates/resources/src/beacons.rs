//! What beacons there are and how they are set, as data: the master checks pillar against it, the minion reads its
//! settings by it, people read it as documentation.

pub mod asked;
mod machine;
mod programs;

use crate::{Doc, LinePattern};
use model::duration;
use serde_json::{Map, Value};

/// Longest text of a setting, and longest list.
const TEXT_BYTES_MAX: usize = 16 << 10;
const LIST_MAX: usize = 256;
/// Longest name of a beacon.
const NAME_BYTES_MAX: usize = 64;
/// Shortest interval at which anything is looked at, in milliseconds.
const INTERVAL_LEAST_MS: u64 = 100;
/// Longest time that can be set, in milliseconds.
const TIME_MOST_MS: u64 = 30 * 24 * 3_600_000;

/// One kind of beacon.
#[derive(Clone, Copy, Debug)]
pub struct BeaconKind {
    /// Its name.
    pub name: &'static str,
    /// What it watches, in a sentence or two.
    pub doc: Doc,
    /// What it costs, in a sentence.
    pub cost: Doc,
    /// The fields of its events, with what they hold, one a line: `path: what changed`.
    pub fields: Doc,
    /// How often it looks unless told otherwise, in milliseconds; 0 if it is woken and does not look by itself.
    pub interval_ms: u64,
    /// Which limits can be set, if it compares a number with them.
    pub limits: Option<Limits>,
    /// Its own settings.
    pub settings: &'static [Setting],
    /// Pillar that sets it.
    pub example: Doc,
}

/// How the limits of a beacon may be written.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// As a part of a whole: `90%`.
    pub percent: bool,
    /// As a number of its own, such as `5GiB` or `80`.
    pub plain: bool,
    /// `above` if neither that nor `below` is said.
    pub above: Option<&'static str>,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: SettingKind,
    /// Whether it must be said.
    pub required: bool,
    /// Its default for people.
    pub default: Doc,
    /// One sentence.
    pub doc: Doc,
}

impl Setting {
    pub(crate) const fn of(
        name: &'static str,
        kind: SettingKind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, required: false, default: Doc::new(default), doc: Doc::new(doc) }
    }
    /// The same, but it must be said.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Types of settings. YAML scalars arrive as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Text; numbers are taken as their text.
    Text,
    /// `true false yes no on off`.
    Flag,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// Seconds, or `5m`; from the first to the second, in milliseconds.
    Time(u64, u64),
    /// An absolute path.
    Path,
    /// One absolute path or a list of them.
    Paths,
    /// One text or a list of texts.
    Texts,
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number with or without unit: `90%`, `5GiB`, `80`.
    Amount,
    /// A mapping of text to scalars.
    Map,
    /// A mapping of text to scalars, or a list of such.
    Maps,
}

impl SettingKind {
    /// For people, as in "must be ...".
    #[must_use]
    pub fn wanted(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Time(least, most) => {
                format!("a time such as 5m, from {} to {}", time_text(least), time_text(most))
            }
            Self::Path => "an absolute path without `..`".to_owned(),
            Self::Paths => "an absolute path without `..`, or a list of them".to_owned(),
            Self::Texts => "text, or a list of texts".to_owned(),
            Self::Words(words) => format!("a list of {}", words.join(", ")),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Amount => "a number, such as 90%, 5GiB or 80".to_owned(),
            Self::Map => "a mapping of names to texts".to_owned(),
            Self::Maps => "a mapping of names to texts, or a list of such".to_owned(),
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => text(value).is_some_and(|it| it.len() <= TEXT_BYTES_MAX),
            Self::Flag => flag(value).is_some(),
            Self::Count(least, most) => count(value).is_some_and(|it| (least..=most).contains(&it)),
            Self::Time(least, most) => time_ms(value).is_some_and(|it| (least..=most).contains(&it)),
            Self::Path => text(value).is_some_and(|it| is_path(&it)),
            Self::Paths => texts(value).is_some_and(|it| !it.is_empty() && it.iter().all(|it| is_path(it))),
            Self::Texts => texts(value).is_some_and(|it| !it.is_empty()),
            Self::Words(words) => texts(value)
                .is_some_and(|it| !it.is_empty() && it.iter().all(|it| words.contains(&it.as_str()))),
            Self::Word(words) => text(value).is_some_and(|it| words.contains(&it.as_str())),
            Self::Amount => Amount::of(value).is_some(),
            Self::Map => is_flat(value),
            Self::Maps => match value {
                Value::Array(items) => items.len() <= LIST_MAX && items.iter().all(is_flat),
                one => is_flat(one),
            },
        }
    }
}

/// What every beacon can be told.
pub const COMMON: &[Setting] = &[
    Setting::of("enabled", SettingKind::Flag, "true", "Whether it watches at all."),
    Setting::of(
        "interval",
        SettingKind::Time(INTERVAL_LEAST_MS, TIME_MOST_MS),
        "as its cost says",
        "How often it looks; one that is woken looks at this pace beside that.",
    ),
    Setting::of(
        "rate",
        SettingKind::Count(1, 1000),
        "20",
        "Events in a second, at most. Up to 512 more wait for their turn; of what is left out beyond that, lines included that are longer than 64 KiB, the next one says how much it was (`dropped`).",
    ),
    Setting::of(
        "during_runs",
        SettingKind::Flag,
        "true",
        "Whether it also tells what happens while a state run is at work on the machine. If not, what happens then (files, lines, containers) is never told, and what is still so afterwards (limits, units, links) is told then.",
    ),
];

/// What beacons with limits can be told.
pub const LIMITS: &[Setting] = &[
    Setting::of("above", SettingKind::Amount, "none", "An event when it rises to this or above."),
    Setting::of("below", SettingKind::Amount, "none", "An event when it falls to this or below."),
    Setting::of(
        "clear",
        SettingKind::Amount,
        "a twentieth inside the limit",
        "How far it must come back until it counts as well again; an event says so then.",
    ),
    Setting::of(
        "for",
        SettingKind::Time(0, TIME_MOST_MS),
        "0",
        "How long it must be beyond the limit without a break before there is an event.",
    ),
    Setting::of(
        "remind",
        SettingKind::Time(1000, TIME_MOST_MS),
        "never",
        "Say it again after this time while it lasts.",
    ),
];

/// All kinds, in order of name.
pub fn kinds() -> Vec<&'static BeaconKind> {
    let mut all: Vec<&BeaconKind> = machine::KINDS.iter().chain(programs::KINDS).collect();
    all.sort_by_key(|it| it.name);
    all
}

/// The kind of a name.
pub fn kind(name: &str) -> Option<&'static BeaconKind> {
    machine::KINDS.iter().chain(programs::KINDS).find(|it| it.name == name)
}

/// Something is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which, if it is about one.
    pub setting: Option<String>,
    /// What.
    pub message: String,
    /// What to do, if there is more to say.
    pub help: Option<String>,
}

impl Complaint {
    fn about(setting: &str, message: impl Into<String>) -> Self {
        Self { setting: Some(setting.to_owned()), message: message.into(), help: None }
    }
}

impl BeaconKind {
    /// All that it can be told: its own first.
    pub fn all_settings(&self) -> impl Iterator<Item = &'static Setting> {
        let limits: &[Setting] = if self.limits.is_some() { LIMITS } else { &[] };
        self.settings.iter().chain(limits).chain(COMMON)
    }

    /// Everything that is wrong with its settings. Of settings that are not all there (`whole` is false), what is
    /// missing is no mistake.
    pub fn check(&self, settings: &Map<String, Value>, whole: bool) -> Vec<Complaint> {
        let mut wrong = Vec::new();
        for (name, value) in settings.iter().filter(|it| !it.1.is_null()) {
            match self.all_settings().find(|it| it.name == name) {
                Some(setting) if setting.kind.fits(value) => {}
                Some(setting) => {
                    let message = format!("`{name}` must be {}", setting.kind.wanted());
                    wrong.push(Complaint::about(name, message));
                }
                None => {
                    let known: Vec<&str> = self.all_settings().map(|it| it.name).collect();
                    let message = format!("the beacon `{}` has no setting `{name}`", self.name);
                    let help = Some(format!("it has {}", known.join(", ")));
                    wrong.push(Complaint { setting: Some(name.clone()), message, help });
                }
            }
        }
        self.check_limits(settings, whole, &mut wrong);
        match self.name {
            "check" => asked::check(settings, whole, &mut wrong),
            "log" => check_patterns(settings, &mut wrong),
            _ => {}
        }
        let absent = |it: &&Setting| it.required && settings.get(it.name).is_none_or(Value::is_null);
        for missing in self.settings.iter().filter(absent).filter(|_| whole) {
            let message = format!("the beacon `{}` needs `{}`", self.name, missing.name);
            wrong.push(Complaint { setting: None, message, help: None });
        }
        wrong
    }

    fn check_limits(&self, settings: &Map<String, Value>, whole: bool, wrong: &mut Vec<Complaint>) {
        let Some(limits) = self.limits else { return };
        let said = |name: &str| settings.get(name).is_some_and(|it| !it.is_null());
        // The usual limit is one of what is used.
        let is_free = settings.get("measure").and_then(text).is_some_and(|it| it == "free");
        if whole && is_free && limits.above.is_some() && !said("above") && !said("below") {
            let message = "`measure: free` needs a limit of its own, such as `below: 10%`";
            wrong.push(Complaint::about("measure", message));
        }
        let amount = |name: &str| settings.get(name).and_then(Amount::of);
        let named = ["above", "below", "clear"].map(|name| (name, amount(name)));
        for (name, amount) in named {
            let Some(amount) = amount else { continue };
            if amount.percent && !limits.percent {
                wrong.push(Complaint::about(name, format!("`{name}` cannot be a percentage here")));
            }
            if !amount.percent && !limits.plain {
                wrong.push(Complaint::about(name, format!("`{name}` must be a percentage, such as 90%")));
            }
        }
        let [(_, above), (_, below), (_, clear)] = named;
        let given: Vec<Amount> = [above, below, clear].into_iter().flatten().collect();
        if given.windows(2).any(|it| it[0].percent != it[1].percent) {
            let message = "`above`, `below` and `clear` must all be percentages, or none of them";
            wrong.push(Complaint::about("clear", message));
        } else if let (Some(above), Some(below)) = (above, below)
            && above.number <= below.number
        {
            wrong.push(Complaint::about("above", "`above` must be more than `below`"));
        } else if let (Some(_), Some(_), Some(_)) = (above, below, clear) {
            wrong.push(Complaint::about("clear", "`clear` goes with `above` or with `below`, not with both"));
        } else if let (Some(above), Some(clear)) = (above, clear)
            && clear.number > above.number
        {
            wrong.push(Complaint::about("clear", "`clear` must not be more than `above`"));
        } else if let (Some(below), Some(clear)) = (below, clear)
            && clear.number < below.number
        {
            wrong.push(Complaint::about("clear", "`clear` must not be less than `below`"));
        }
    }
}

fn check_patterns(settings: &Map<String, Value>, wrong: &mut Vec<Complaint>) {
    let patterns = settings.get("pattern").and_then(texts).unwrap_or_default();
    let bad = patterns.iter().filter_map(|it| LinePattern::new(it).err());
    wrong.extend(bad.map(|it| Complaint::about("pattern", it)));
}

/// Whether a name is one for a beacon: it becomes part of a topic and of a file's name.
pub fn is_name(name: &str) -> bool {
    let good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(good)
}

/// Whether a name matches a pattern: `*` is any text, `?` one character, `[a-c]` one of these.
pub fn matches(pattern: &str, name: &str) -> bool {
    crate::pattern::glob(pattern, name)
}

/// Settings that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    map: &'a Map<String, Value>,
    kind: &'static BeaconKind,
}

impl<'a> Settings<'a> {
    /// Checks them.
    pub fn read(kind: &'static BeaconKind, map: &'a Map<String, Value>) -> Result<Self, Vec<Complaint>> {
        let wrong = kind.check(map, true);
        if wrong.is_empty() { Ok(Self { map, kind }) } else { Err(wrong) }
    }
    /// All of them, as text that is the same for the same settings.
    pub fn json(&self) -> String {
        serde_json::to_string(self.map).unwrap_or_default()
    }
    /// As it came.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|it| !it.is_null())
    }
    /// Text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(text)
    }
    /// A flag, or what it is if it is not said.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.value(name).and_then(flag).unwrap_or(default)
    }
    /// A whole number.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.value(name).and_then(count)
    }
    /// A time in milliseconds.
    pub fn time_ms(&self, name: &str) -> Option<u64> {
        self.value(name).and_then(time_ms)
    }
    /// One text or a list of them; empty if it is not said.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.value(name).and_then(texts).unwrap_or_default()
    }
    /// A number with its unit.
    pub fn amount(&self, name: &str) -> Option<Amount> {
        self.value(name).and_then(Amount::of)
    }
    /// How often to look, in milliseconds; 0 is never by itself.
    pub fn interval_ms(&self) -> u64 {
        self.time_ms("interval").unwrap_or(self.kind.interval_ms)
    }
    /// `above`, with the kind's own one if no limit is said.
    pub fn above(&self) -> Option<Amount> {
        let standard = || self.kind.limits?.above.and_then(|it| Amount::of(&Value::from(it)));
        let said = self.amount("above");
        if said.is_none() && self.amount("below").is_none() { standard() } else { said }
    }
}

/// A number, and whether it is a part of a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    /// In bytes, degrees, or whatever it is a number of.
    pub number: f64,
    /// `90%`.
    pub percent: bool,
}

impl Amount {
    fn of(value: &Value) -> Option<Self> {
        let text = text(value)?;
        let text = text.trim();
        let digits = |it: char| it.is_ascii_digit() || matches!(it, '.' | '-');
        let end = text.find(|it| !digits(it)).unwrap_or(text.len());
        let number: f64 = text[..end].parse().ok()?;
        let (factor, percent) = match text[end..].trim() {
            "" | "B" | "C" | "°C" => (1.0, false),
            "%" => (1.0, true),
            "K" | "KiB" => (1024.0, false),
            "M" | "MiB" => (1_048_576.0, false),
            "G" | "GiB" => (1_073_741_824.0, false),
            "T" | "TiB" => (1_099_511_627_776.0, false),
            "kB" | "KB" => (1e3, false),
            "MB" => (1e6, false),
            "GB" => (1e9, false),
            "TB" => (1e12, false),
            _ => return None,
        };
        let number = number * factor;
        number.is_finite().then_some(Self { number, percent })
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn count(value: &Value) -> Option<u64> {
    text(value)?.trim().parse().ok()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) if items.len() <= LIST_MAX => items.iter().map(text).collect(),
        Value::Array(_) => None,
        one => text(one).map(|it| vec![it]),
    }
}

fn is_flat(value: &Value) -> bool {
    let flat = |it: &Value| text(it).is_some_and(|it| it.len() <= TEXT_BYTES_MAX);
    value.as_object().is_some_and(|it| it.len() <= LIST_MAX && it.values().all(flat))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() < 4096
        && !text.contains('\0')
        && !text.split('/').any(|it| it == "..")
}

fn time_ms(value: &Value) -> Option<u64> {
    duration::parse_or_seconds(&text(value)?).ok()
}

fn time_text(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests;

//! From what people write to a schedule, with all complaints and their places.

use super::{Schedule, When, number_of};
use crate::{
    duration, limits,
    say::{At, Complaints, Rendered, Say, did_you_mean, error},
    yaml::{Node, Yaml},
};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{civil::DateTime, tz::TimeZone};
use model::{Missed, Timestamp};
use serde_json::{Map, Value};

/// Keys of a schedule.
const KEYS: [&str; 6] = ["cron", "every", "at", "zone", "jitter", "missed"];
/// Intervals.
const EVERY_MS: std::ops::RangeInclusive<u64> = 1_000..=366 * 86_400_000;
/// Longest jitter.
const JITTER_MS_MAX: u64 = 86_400_000;
/// From here on (2024-01-01) an expression must mean some moment.
const SOME_DAY: Timestamp = Timestamp(1_704_067_200_000);

/// What is wrong with one of the words; none is about all of them.
struct Wrong {
    key: Option<usize>,
    message: String,
    help: Option<String>,
}

/// A word and its value, if that is text or a number.
struct Word {
    key: String,
    value: Option<String>,
}

impl Schedule {
    /// Reads the `schedule:` of a rule.
    pub(crate) fn read(
        name: &str,
        node: &Node,
        file: &Rendered,
        complaints: &mut Complaints,
    ) -> Option<Self> {
        let Yaml::Map(pairs) = &node.value else {
            let help = "write `schedule: { cron: \"30 3 * * *\" }` or `schedule: { every: 15m }`";
            let message = format!("a schedule is a mapping, not {}", node.kind());
            complaints.push(error("E0509", message).at(file.span(node.at, "")).help(help));
            return None;
        };
        let words: Vec<Word> = pairs
            .iter()
            .map(|(key, node)| Word {
                key: key.text.clone(),
                value: node.text().filter(|_| !node.is_null()).map(str::to_owned),
            })
            .collect();
        let (schedule, wrong) = build(name, &words, true);
        for wrong in wrong {
            let at = |index: usize| -> At {
                let (key, value) = &pairs[index];
                if KEYS.contains(&key.text.as_str()) { value.at } else { key.at }
            };
            let at = wrong.key.map_or(node.at, at);
            let complaint = error("E0509", wrong.message).at(file.span(at, ""));
            complaints.push(complaint.maybe_help(wrong.help));
        }
        schedule
    }

    /// Reads a schedule from the pillar of a minion; keys in `others` are somebody else's.
    pub fn of_value(name: &str, value: &Map<String, Value>, others: &[&str]) -> Result<Self, Vec<String>> {
        Self::of_part(name, value, others, true)
    }

    /// The same of what is not all there unless it is `whole`: what is missing may stand elsewhere then, and is no
    /// mistake.
    pub(crate) fn of_part(
        name: &str,
        value: &Map<String, Value>,
        others: &[&str],
        whole: bool,
    ) -> Result<Self, Vec<String>> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let words: Vec<Word> = value
            .iter()
            .filter(|(key, value)| !others.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| Word { key: key.clone(), value: text(value) })
            .collect();
        let (schedule, wrong) = build(name, &words, whole);
        let told = wrong.into_iter().map(|it| match it.help {
            Some(help) => format!("{} ({help})", it.message),
            None => it.message,
        });
        schedule.ok_or_else(|| told.collect())
    }
}

fn build(name: &str, words: &[Word], whole: bool) -> (Option<Schedule>, Vec<Wrong>) {
    let mut reader = Reader { words, whole, wrong: Vec::new() };
    let schedule = reader.schedule(name);
    (schedule.filter(|_| reader.wrong.is_empty()), reader.wrong)
}

struct Reader<'a> {
    words: &'a [Word],
    /// Whether everything that will be there is there.
    whole: bool,
    wrong: Vec<Wrong>,
}

impl Reader<'_> {
    fn complain<T>(
        &mut self,
        key: Option<usize>,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> Option<T> {
        self.wrong.push(Wrong { key, message: message.into(), help: help.map(str::to_owned) });
        None
    }

    /// The value of a word that is there; a complaint if it is no text.
    fn word(&mut self, key: &str) -> Option<(usize, String)> {
        let index = self.words.iter().position(|it| it.key == key)?;
        match &self.words[index].value {
            Some(text) if text.len() <= limits::EXPRESSION_BYTES => Some((index, text.trim().to_owned())),
            _ => self.complain(Some(index), format!("`{key}` takes a short text"), None),
        }
    }

    fn schedule(&mut self, name: &str) -> Option<Schedule> {
        for (index, word) in self.words.iter().enumerate() {
            if !KEYS.contains(&word.key.as_str()) {
                let help = did_you_mean(&word.key, KEYS.iter().copied());
                let help = help.unwrap_or_else(|| format!("known are {}", KEYS.join(", ")));
                self.complain::<()>(Some(index), format!("a schedule has no `{}`", word.key), Some(&help));
            }
        }
        let given: Vec<usize> = (0..self.words.len())
            .filter(|it| ["cron", "every", "at"].contains(&self.words[*it].key.as_str()))
            .collect();
        if given.len() > 1 || given.is_empty() && self.whole {
            let help = Some("`cron: \"30 3 * * *\"`, `every: 15m` or `at: \"2026-12-24T20:00\"`");
            let message = "a schedule has exactly one of `cron`, `every` and `at`";
            self.complain::<()>(given.get(1).copied(), message, help);
        }
        let zone = self.zone().unwrap_or(TimeZone::UTC);
        let missed = self.missed();
        let when = self.when(name, &zone);
        let jitter_ms = self.jitter(when.as_ref());
        let schedule = Schedule { name: name.to_owned(), when: when?, zone, jitter_ms, missed };
        if matches!(schedule.when, When::Cron { .. }) && schedule.next(SOME_DAY).is_none() {
            let index = self.words.iter().position(|it| it.key == "cron");
            return self.complain(index, "no day is ever like that", Some("April has 30 days, February 29"));
        }
        Some(schedule)
    }

    fn zone(&mut self) -> Option<TimeZone> {
        let Some((index, name)) = self.word("zone") else { return Some(TimeZone::system()) };
        if let Ok(zone) = TimeZone::get(&name) {
            Some(zone)
        } else {
            let help = Some("names are like Europe/Berlin; the package tzdata has them");
            self.complain(Some(index), format!("no time zone is called `{name}`"), help)
        }
    }

    fn missed(&mut self) -> Missed {
        let Some((index, word)) = self.word("missed") else { return Missed::default() };
        let known = [Missed::Skip, Missed::Once, Missed::All];
        known.into_iter().find(|it| it.word() == word).unwrap_or_else(|| {
            self.complain::<()>(Some(index), "`missed` takes `skip`, `once` or `all`", None);
            Missed::default()
        })
    }

    fn jitter(&mut self, when: Option<&When>) -> u64 {
        let Some((index, text)) = self.word("jitter") else { return 0 };
        let most = match when {
            Some(When::Every { every_ms, .. }) => *every_ms,
            _ => JITTER_MS_MAX,
        };
        match duration::parse_or_seconds(&text).ok() {
            Some(ms) if ms <= most => ms,
            Some(_) => {
                let help = Some("at most as long as `every`, and at most a day");
                self.complain::<()>(Some(index), "the jitter is too long", help);
                0
            }
            None => {
                self.complain::<()>(Some(index), "`jitter` takes a time such as 10m", None);
                0
            }
        }
    }

    fn when(&mut self, name: &str, zone: &TimeZone) -> Option<When> {
        if let Some((index, text)) = self.word("every") {
            return match duration::parse_or_seconds(&text).ok().filter(|it| EVERY_MS.contains(it)) {
                Some(every_ms) => Some(When::Every { every_ms, offset_ms: number_of(name) % every_ms }),
                None => self.complain(Some(index), "`every` takes 1s to 366d, such as 15m", None),
            };
        }
        if let Some((index, text)) = self.word("at") {
            return if let Some(at) = moment(&text, zone) {
                Some(When::Once { at })
            } else {
                let help = Some("such as \"2026-12-24T20:00\", by the clock of `zone`");
                self.complain(Some(index), format!("`{text}` is no date and time"), help)
            };
        }
        let (index, text) = self.word("cron")?;
        match cron(&text) {
            Ok(cron) => Some(When::Cron { text, cron: Box::new(cron) }),
            Err(cause) => {
                let help = Some(
                    "five fields: minute, hour, day of the month, month, day of the week; or @hourly, @daily, @weekly, \
                     @monthly, @yearly",
                );
                self.complain(Some(index), format!("no cron expression: {cause}"), help)
            }
        }
    }
}

fn cron(text: &str) -> Result<Cron, croner::errors::CronError> {
    let text = if text.eq_ignore_ascii_case("@midnight") { "@daily" } else { text };
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text)
}

fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => super::moment_of(zone, text.parse::<DateTime>().ok()?)?,
    };
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp)
}

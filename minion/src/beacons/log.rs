//! The beacon `log`: lines of the journal or of a file that fit, at a bounded pace.

mod place;

use super::Beacon;
use crate::follow::{Follow, Follower};
use crate::program::Order;
use crate::senses::Senses;
use place::Place;
use resources::{LinePattern, beacons::Settings, glob};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

/// Longest line that is compared; what is behind is left out.
const LINE_BYTES_MAX: usize = 4096;
/// Longest line, and longest capture, that travels.
const TOLD_BYTES_MAX: usize = 1024;
/// Names, texts and patterns of one beacon, each.
const MATCHES_MAX: usize = 32;
/// Between two events.
const EVERY_MS: u64 = 1000;
/// Names of priorities, by their number.
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let mut watch = Watch::new(settings)?;
    if watch.file.is_none() {
        watch.place = Place::of(&settings.json(), senses.keep());
    }
    Ok(Follower::boxed(watch))
}

impl Follow for Watch {
    fn program(&mut self, senses: &dyn Senses) -> Result<Order, String> {
        if self.file.is_none() {
            // The journal is read again from before the line that waits.
            (self.held, self.behind) = (None, None);
        }
        Ok(Order::new(self.argv(senses.root())))
    }
    fn line(&mut self, now: Duration, line: &str) -> Option<Vec<Map<String, Value>>> {
        if self.file.is_some() {
            let line = Line { text: cut(line, LINE_BYTES_MAX).to_owned(), ..Line::default() };
            return Some(self.take(now, &line).into_iter().collect());
        }
        let record: Map<String, Value> = serde_json::from_str(line).ok()?;
        let cursor = record.get("__CURSOR").and_then(Value::as_str)?;
        let told = entry(&record).and_then(|it| self.take(now, &it));
        if self.held.is_none() {
            self.place.read_to(now, cursor);
        } else {
            self.behind = Some(cursor.to_owned());
        }
        Some(told.into_iter().collect())
    }
    fn wake(&self) -> Option<Duration> {
        let tell = self.held.as_ref().and(self.told_at).map(|at| at + self.every);
        tell.into_iter().chain(self.place.due()).min()
    }
    fn due(&mut self, now: Duration) -> Vec<Map<String, Value>> {
        let over = self.told_at.is_none_or(|at| now.saturating_sub(at) >= self.every);
        let told = self.held.take_if(|_| over);
        if told.is_some() {
            self.told_at = Some(now);
            if let Some(cursor) = self.behind.take() {
                self.place.read_to(now, &cursor);
            }
        }
        if self.place.due().is_some_and(|at| at <= now) {
            self.place.keep(now);
        }
        told.into_iter().map(|(matches, data)| counted(matches, data)).collect()
    }
    fn rest(&mut self, now: Duration) {
        self.place.keep(now);
    }
}

/// Follows one file, or the journal.
#[derive(Debug)]
struct Watch {
    file: Option<String>,
    units: Vec<String>,
    identifiers: Vec<String>,
    priority: Option<usize>,
    contains: Vec<String>,
    patterns: Vec<LinePattern>,
    with_line: bool,
    every: Duration,
    /// Where the journal was read to: the next program goes on there.
    place: Place,
    /// When the last event was told.
    told_at: Option<Duration>,
    /// Lines that fitted since, and what the last of them tells: that waits for its time.
    held: Option<(u64, Map<String, Value>)>,
    /// The line after those: until they are told, the place is before them.
    behind: Option<String>,
}

/// A line with what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    text: String,
    unit: Option<String>,
    identifier: Option<String>,
    priority: Option<u64>,
}

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let list = |name: &str| match settings.texts(name) {
            it if it.len() > MATCHES_MAX => Err(format!("`{name}` has more than {MATCHES_MAX} entries")),
            it => Ok(it),
        };
        let patterns = list("pattern")?.iter().map(|it| LinePattern::new(it)).collect::<Result<_, _>>()?;
        let file = settings.text("file");
        if file.is_some() && ["unit", "identifier", "priority"].iter().any(|it| settings.value(it).is_some())
        {
            return Err(
                "`unit`, `identifier` and `priority` are about the journal: leave out `file`".to_owned()
            );
        }
        let priority = settings.text("priority");
        let units = list("unit")?;
        let is_unit = |it: &String| super::service::is_unit_name(it);
        if let Some(wrong) = units.iter().find(|it| !is_unit(it)) {
            return Err(format!("`{wrong}` is no name of a unit"));
        }
        Ok(Self {
            file,
            units,
            identifiers: list("identifier")?,
            priority: priority.and_then(|it| PRIORITIES.iter().position(|name| *name == it)),
            contains: list("contains")?,
            patterns,
            with_line: settings.flag("line", false),
            every: Duration::from_millis(settings.time_ms("every").unwrap_or(EVERY_MS)),
            place: Place::default(),
            told_at: None,
            held: None,
            behind: None,
        })
    }

    /// The program that follows it, from where the last one was.
    fn argv(&mut self, root: &Path) -> Vec<String> {
        if let Some(file) = &self.file {
            let file = root.join(file.trim_start_matches('/'));
            return ["tail", "-n", "0", "-F", "--", &file.to_string_lossy()].map(str::to_owned).to_vec();
        }
        let mut argv = ["journalctl", "--quiet", "--follow", "--output=json"].map(str::to_owned).to_vec();
        argv.push("--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,UNIT".to_owned());
        argv.extend(self.place.words());
        argv.extend(self.units.iter().map(|it| format!("--unit={it}")));
        argv.extend(self.priority.map(|it| format!("--priority={it}")));
        argv
    }

    /// Takes a line in; the data of an event, if it is time for one.
    fn take(&mut self, now: Duration, line: &Line) -> Option<Map<String, Value>> {
        let mut data = self.fits(line)?;
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        if let Some(file) = &self.file {
            put("file", json!(file));
        }
        for (name, value) in [("unit", &line.unit), ("identifier", &line.identifier)] {
            if let Some(value) = value {
                put(name, json!(cut(value, TOLD_BYTES_MAX)));
            }
        }
        if let Some(priority) = line.priority {
            put("priority", json!(priority));
        }
        if self.with_line {
            put("line", json!(cut(&line.text, TOLD_BYTES_MAX)));
        }
        let matches = self.held.take().map_or(0, |it| it.0) + 1;
        if self.told_at.is_some_and(|at| now.saturating_sub(at) < self.every) {
            self.held = Some((matches, data));
            return None;
        }
        self.told_at = Some(now);
        Some(counted(matches, data))
    }

    /// What it captures, if it is one that is looked for.
    fn fits(&self, line: &Line) -> Option<Map<String, Value>> {
        let named = |names: &[String], it: &Option<String>| {
            names.is_empty() || it.as_ref().is_some_and(|it| names.iter().any(|name| glob(name, it)))
        };
        let text = &line.text;
        let contains = self.contains.is_empty() || self.contains.iter().any(|it| text.contains(it.as_str()));
        if !named(&self.identifiers, &line.identifier) || !contains {
            return None;
        }
        if self.patterns.is_empty() {
            return Some(Map::new());
        }
        let captures = self.patterns.iter().find_map(|it| it.captures(text))?;
        let told = |(name, text): (&str, &str)| (name.to_owned(), json!(cut(text, TOLD_BYTES_MAX)));
        Some(captures.into_iter().map(told).collect())
    }
}

/// A record as `journalctl --output=json` writes it: a text that is not UTF-8 is a list of bytes, one that is too long
/// is null, and a field that is there several times is a list of them.
fn entry(record: &Map<String, Value>) -> Option<Line> {
    let text = |name: &str| match record.get(name)? {
        Value::String(text) => Some(cut(text, LINE_BYTES_MAX).to_owned()),
        Value::Array(items) if items.first()?.is_string() => items.first()?.as_str().map(str::to_owned),
        Value::Array(items) => {
            let byte = |it: &Value| u8::try_from(it.as_u64()?).ok();
            let bytes: Vec<u8> = items.iter().take(LINE_BYTES_MAX).filter_map(byte).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    };
    Some(Line {
        text: text("MESSAGE")?,
        unit: text("UNIT").or_else(|| text("_SYSTEMD_UNIT")),
        identifier: text("SYSLOG_IDENTIFIER"),
        priority: text("PRIORITY").and_then(|it| it.parse().ok()),
    })
}

/// With how many lines it stands for.
fn counted(matches: u64, mut data: Map<String, Value>) -> Map<String, Value> {
    if matches > 1 {
        data.insert("matches".to_owned(), json!(matches));
    }
    data
}

fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::beacons::kind;

    // From journalctl 252 on Debian 12: -o json --output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_PID
    const RECORDED: &str = r#"{"MESSAGE":"Started victim2.service.","PRIORITY":"6","__MONOTONIC_TIMESTAMP":"36656204793","_BOOT_ID":"0d3edc6eb92a4b779ae7d49a776c3fde","SYSLOG_IDENTIFIER":"systemd","__REALTIME_TIMESTAMP":"1795206766717444","__CURSOR":"s=022710253bbf45ec9c89519381a59b92;i=4c;b=0d3edc6eb92a4b779ae7d49a776c3fde;m=888e14bf9;t=660bb25a0ea04;x=ca4a7a1bbb195261","_PID":"1","_SYSTEMD_UNIT":"init.scope"}
{"MESSAGE":"Failed password for root from 10.1.2.3 port 22 ssh2","__CURSOR":"s=022710253bbf45ec9c89519381a59b92;i=4d;b=0d3edc6eb92a4b779ae7d49a776c3fde;m=889010193;t=660bb25c09f9d;x=e6fb0109a71a4981","__REALTIME_TIMESTAMP":"1795206768795549","_PID":"81","__MONOTONIC_TIMESTAMP":"36658282899","_BOOT_ID":"0d3edc6eb92a4b779ae7d49a776c3fde","PRIORITY":"3","SYSLOG_IDENTIFIER":"labtest"}
{"_BOOT_ID":"0d3edc6eb92a4b779ae7d49a776c3fde","SYSLOG_IDENTIFIER":"labtest","__MONOTONIC_TIMESTAMP":"36658301619","PRIORITY":"6","__REALTIME_TIMESTAMP":"1795206768814270","MESSAGE":[98,105,110,1,97,114,121],"_PID":"83","__CURSOR":"s=022710253bbf45ec9c89519381a59b92;i=4e;b=0d3edc6eb92a4b779ae7d49a776c3fde;m=889014ab3;t=660bb25c0e8be;x=8c6a9dc8393a7382"}"#;

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Result<Watch, String> {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("log").unwrap(), &map).unwrap())
    }

    fn told(settings: Value, lines: &str) -> Vec<String> {
        let mut watch = watch(settings).unwrap();
        let mut at = 0;
        let tell = |line| {
            at += 2;
            watch.line(Duration::from_secs(at), line)
        };
        lines.lines().filter_map(tell).flatten().map(|it| Value::from(it).to_string()).collect()
    }

    #[test]
    fn lines_of_the_journal_that_fit_are_told_with_what_was_captured() {
        let cases: &[(Value, &[&str])] = &[
            (
                json!({"pattern": "Failed password for {user} from {address} "}),
                &[r#"{"user":"root","address":"10.1.2.3","identifier":"labtest","priority":3}"#],
            ),
            (
                json!({"contains": "Started", "line": true}),
                &[
                    r#"{"unit":"init.scope","identifier":"systemd","priority":6,"line":"Started victim2.service."}"#,
                ],
            ),
            (json!({"identifier": "lab*", "contains": "bin"}), &[r#"{"identifier":"labtest","priority":6}"#]),
            (json!({"contains": "nothing"}), &[]),
        ];
        for (settings, wanted) in cases {
            assert_eq!(told(settings.clone(), RECORDED), *wanted, "{settings}");
        }
    }

    #[test]
    fn a_program_goes_on_where_the_last_one_was() {
        let mut it = watch(json!({"unit": ["ssh", "nginx*"], "priority": "warning"})).unwrap();
        let argv = it.argv(Path::new("/")).join(" ");
        assert!(argv.ends_with("--since=now --lines=0 --unit=ssh --unit=nginx* --priority=4"), "{argv}");
        it.line(Duration::ZERO, RECORDED.lines().next().unwrap());
        let argv = it.argv(Path::new("/")).join(" ");
        assert!(argv.contains("--after-cursor=s=022710253bbf45ec9c89519381a59b92;i=4c;b="), "{argv}");
        let file = watch(json!({"file": "/var/log/x.log"})).unwrap().argv(Path::new("/"));
        assert_eq!(file.join(" "), "tail -n 0 -F -- /var/log/x.log");
    }

    #[test]
    fn many_lines_are_one_event_that_counts_them() {
        let mut it = watch(json!({"file": "/x", "contains": "a", "every": "10s"})).unwrap();
        let told: Vec<(u64, String)> = (0..25)
            .flat_map(|s| it.line(Duration::from_secs(s), "a").unwrap().into_iter().map(move |it| (s, it)))
            .map(|(s, it)| (s, Value::from(it).to_string()))
            .collect();
        let wanted = [
            (0, r#"{"file":"/x"}"#),
            (10, r#"{"file":"/x","matches":10}"#),
            (20, r#"{"file":"/x","matches":10}"#),
        ];
        assert_eq!(told, wanted.map(|(s, text)| (s, text.to_owned())));
        // No more comes: what waits is told all the same, at its time.
        assert_eq!(it.wake(), Some(Duration::from_secs(30)));
        assert!(it.due(Duration::from_secs(29)).is_empty());
        let last: Vec<String> =
            it.due(Duration::from_secs(30)).into_iter().map(|it| Value::from(it).to_string()).collect();
        assert_eq!(last, [r#"{"file":"/x","matches":4}"#]);
        assert_eq!((it.wake(), it.due(Duration::from_mins(1)).len()), (None, 0));
    }

    #[test]
    fn the_place_is_before_a_line_that_waits_to_be_told() {
        let mut it = watch(json!({"every": "10s"})).unwrap();
        let place =
            |it: &mut Watch| it.argv(Path::new("/")).join(" ").split("i=").nth(1).unwrap()[..2].to_owned();
        let mut lines = RECORDED.lines();
        assert_eq!(it.line(Duration::ZERO, lines.next().unwrap()).unwrap().len(), 1);
        assert_eq!(it.line(Duration::from_secs(1), lines.next().unwrap()).unwrap().len(), 0);
        assert_eq!(place(&mut it), "4c");
        assert_eq!(it.due(Duration::from_secs(10)).len(), 1);
        assert_eq!(place(&mut it), "4d");
        // A program that ended meanwhile: the line is read again, and counts once.
        it.line(Duration::from_secs(11), lines.next().unwrap());
        it.program(&crate::senses::fake::Fake::default()).unwrap();
        assert_eq!((place(&mut it).as_str(), it.due(Duration::from_mins(1)).len()), ("4d", 0));
    }

    #[test]
    fn long_lines_and_other_texts_do_no_harm() {
        let long = "é".repeat(10_000);
        let told = told(json!({"file": "/x", "line": true}), &long);
        assert!(told[0].len() < 1100);
        for text in ["", "{", "[]", "null", r#"{"MESSAGE":"x"}"#] {
            assert_eq!(watch(json!({})).unwrap().line(Duration::ZERO, text), None, "{text}");
        }
        for text in [r#"{"MESSAGE":null}"#, r#"{"MESSAGE":{"a":1}}"#, r#"{"MESSAGE":[]}"#, "{}"] {
            let line = text.replacen('{', r#"{"__CURSOR":"s=1","X":1,"#, 1).replace(",}", "}");
            assert_eq!(watch(json!({})).unwrap().line(Duration::ZERO, &line), Some(Vec::new()), "{line}");
        }
        assert!(watch(json!({"unit": "a --root=/"})).is_err());
        assert!(watch(json!({"file": "/x", "unit": "a"})).is_err());
    }
}

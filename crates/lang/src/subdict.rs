//! Salt's `path:to:value` over grains and pillar: deeper readings of the path come first, a mapping matches by its keys, a
//! list by one of its members, all without regard to case.

use crate::{compare::text_of, glob, limits};
use regex::Regex;
use serde_json::{Map, Value};

/// A condition on a tree of values.
#[derive(Clone, Debug)]
pub(crate) struct Subdict {
    /// Where to look, and for what.
    readings: Vec<(String, Pattern)>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// `*:` stood before it: it may also be one level deeper.
    deeper: bool,
    text: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Glob(String),
    Exact(String),
    Regex(Box<Regex>),
}

/// How the value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With `*` and `?`.
    Glob,
    /// As it is.
    Exact,
    /// As a regular expression that matches from the start.
    Regex,
}

impl Subdict {
    /// From `path:to:value`; none with a sentence if there is no value in it.
    pub(crate) fn parse(text: &str, how: How) -> Result<Self, String> {
        let colons: Vec<usize> = text.match_indices(':').map(|it| it.0).collect();
        if colons.is_empty() {
            return Err(format!("`{text}` has no value: write `name:value`"));
        }
        let readings = colons.iter().rev().map(|it| {
            let (path, rest) = (&text[..*it], &text[it + 1..]);
            Ok((path.to_owned(), Pattern::parse(rest, how)?))
        });
        Ok(Self { readings: readings.collect::<Result<_, String>>()? })
    }
    /// The name at the top that it looks at.
    pub(crate) fn name(&self) -> &str {
        let path = self.readings.first().map_or("", |it| it.0.as_str());
        path.split(':').next().unwrap_or(path)
    }
    /// Whether it matches what `look` finds at paths.
    pub(crate) fn matches(&self, look: &dyn Fn(&str) -> Option<Value>) -> bool {
        self.readings.iter().any(|(path, pattern)| look(path).is_some_and(|it| pattern.matches(&it)))
    }
}

impl Pattern {
    fn parse(whole: &str, how: How) -> Result<Self, String> {
        let (deeper, text) = whole.strip_prefix("*:").map_or((false, whole), |rest| (true, rest));
        let lower = text.to_lowercase();
        let compared = match how {
            How::Glob => Test::Glob(lower),
            How::Exact => Test::Exact(lower),
            How::Regex => {
                let mut builder = regex::RegexBuilder::new(&format!("^(?:{text})"));
                let regex = builder.case_insensitive(true).size_limit(limits::REGEX_BYTES).build();
                Test::Regex(Box::new(regex.map_err(|_| format!("`{text}` is not a regular expression"))?))
            }
        };
        Ok(Self { deeper, text: text.to_owned(), test: compared })
    }
    fn matches(&self, value: &Value) -> bool {
        match value {
            Value::Object(map) => !map.is_empty() && self.matches_map(map),
            Value::Array(list) => list.iter().any(|it| match it {
                Value::Object(map) => self.matches_map(map),
                it => self.fits(it),
            }),
            it => self.fits(it),
        }
    }
    fn matches_map(&self, map: &Map<String, Value>) -> bool {
        let key = |it: &String| self.fits(&Value::from(it.as_str()));
        self.text == "*"
            || map.contains_key(&self.text)
            || map.keys().any(key)
            || self.deeper
                && map.values().any(|it| match it {
                    Value::Object(map) => self.matches_map(map),
                    Value::Array(list) => list.iter().any(|it| self.fits(it)),
                    it => self.fits(it),
                })
    }
    fn fits(&self, value: &Value) -> bool {
        let text = if value.is_null() { Some("none".to_owned()) } else { text_of(value) };
        let Some(text) = text.map(|it| it.to_lowercase()) else { return false };
        match &self.test {
            Test::Glob(pattern) => glob::matches(pattern, &text),
            Test::Exact(wanted) => *wanted == text,
            Test::Regex(regex) => regex.is_match(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{How, Subdict};
    use serde_json::{Value, json};

    fn matches(data: &Value, text: &str, how: How) -> bool {
        let look = |path: &str| crate::compare::lookup(data, path.split(':')).cloned();
        Subdict::parse(text, how).is_ok_and(|it| it.matches(&look))
    }

    #[test]
    fn paths_and_values_are_told_apart_as_salt_does() {
        let data = json!({
            "role": "Web", "ports": [80, 443], "on": true, "os": {"name": "Debian", "version": {"major": 12}},
            "url": "http://x:80", "interfaces": {"eth0": ["10.0.0.1"], "lo": ["127.0.0.1"]},
        });
        for (text, how) in [
            ("role:web", How::Glob),
            ("role:w*", How::Glob),
            ("role:we", How::Regex),
            ("ports:443", How::Exact),
            ("on:True", How::Glob),
            ("os:name:deb*", How::Glob),
            ("os:version:major:12", How::Glob),
            ("os:version", How::Glob),
            ("os:na*", How::Glob),
            ("url:http://x:80", How::Glob),
            ("interfaces:*:10.0.0.1", How::Glob),
        ] {
            assert!(matches(&data, text, how), "{text}");
        }
        for (text, how) in [
            ("role:w*", How::Exact),
            ("role", How::Glob),
            ("role:eb", How::Regex),
            ("os:version:major:1", How::Glob),
            ("nothing:x", How::Glob),
            ("role:(", How::Regex),
        ] {
            assert!(!matches(&data, text, how), "{text}");
        }
    }
}

//! Reads `notify.yaml`. One mistake gives nothing and all complaints, so that what was good last stays in use. Secrets
//! are quoted in no complaint.

use crate::{
    duration, limits,
    notifiers::{
        Endpoint, Held, KINDS, Kind, Notifier, Notifiers, Quiet, Rate, Switch, Turn, Way, is_address,
    },
    rule_files::is_level,
    rule_texts::Texts,
    rules::{CALL_MS, CALL_MS_MAX, Priority},
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    scalars,
    target::{Needs, Target},
    yaml::{self, Key, Node, Yaml},
};
use jiff::tz::TimeZone;
use model::{Compiled, Secret};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Notifiers, switches or endpoints in one file.
const NAMED_MAX: usize = 200;
/// Headers of one service.
const HEADERS_MAX: usize = 16;
/// Longest span that a rate is over.
const RATE_MS_MAX: u64 = 86_400_000;

const KEYS: [&str; 3] = ["notifiers", "power", "endpoints"];
/// Keys of whatever is called.
const WAY_KEYS: [&str; 7] = ["url", "url_file", "token", "token_file", "headers", "ca_file", "timeout"];
const OWN_KEYS: [&str; 6] = ["type", "topic", "template", "priorities", "quiet_hours", "rate"];

type Read<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// From the text of a file; an empty one has nobody to tell.
pub(crate) fn parse(file: &str, text: &str, read: Read<'_>) -> Compiled<Notifiers> {
    let mut complaints = Complaints::default();
    if text.len() > limits::TEXT_BYTES {
        complaints.push(error("E0702", format!("`{file}` is longer than {} bytes", limits::TEXT_BYTES)));
        return Compiled { value: None, diagnostics: complaints.finish(), questions: Vec::new() };
    }
    let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
    let root = yaml::parse(&rendered, &mut complaints);
    let mut reader = Reader { file: rendered, complaints, read, found: Notifiers::default() };
    if let Some(root) = root {
        for (key, node) in reader.map("this file", &root) {
            match key.text.as_str() {
                "notifiers" => reader.notifiers(node),
                "power" => reader.switches(node),
                "endpoints" => reader.endpoints(node),
                _ => reader.unknown(key, &KEYS),
            }
        }
    }
    let Reader { complaints, found, .. } = reader;
    let value = (!complaints.has_errors()).then_some(found);
    let mut diagnostics = complaints.finish();
    for span in diagnostics.iter_mut().flat_map(|it| &mut it.spans) {
        // The line may hold a secret.
        span.text.clear();
    }
    Compiled { value, diagnostics, questions: Vec::new() }
}

struct Reader<'a> {
    file: Rendered,
    complaints: Complaints,
    read: Read<'a>,
    found: Notifiers,
}

fn get<'a>(pairs: &'a [(Key, Node)], name: &str) -> Option<&'a Node> {
    pairs.iter().find(|it| it.0.text == name).map(|it| &it.1)
}

impl Reader<'_> {
    fn say(&mut self, at: At, message: impl Into<String>, help: Option<&str>) {
        let span = self.file.span(at, "");
        self.complaints.push(error("E0702", message).at(span).maybe_help(help.map(str::to_owned)));
    }

    fn unknown(&mut self, key: &Key, known: &[&str]) {
        let help = did_you_mean(&key.text, known.iter().copied());
        let help = help.unwrap_or_else(|| format!("keys here are {}", known.join(", ")));
        let span = self.file.span(key.at, "");
        self.complaints.push(error("E0701", format!("unknown key `{}`", key.text)).at(span).help(help));
    }

    fn map<'a>(&mut self, what: &str, node: &'a Node) -> &'a [(Key, Node)] {
        match &node.value {
            Yaml::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => {
                self.say(node.at, format!("{what} is a mapping, not {}", node.kind()), None);
                &[]
            }
        }
    }

    /// What has a name each.
    fn named<'a>(&mut self, what: &str, node: &'a Node) -> &'a [(Key, Node)] {
        let pairs = self.map(what, node);
        if pairs.len() > NAMED_MAX {
            self.say(node.at, format!("more than {NAMED_MAX} in {what}"), None);
        }
        for (key, _) in pairs.iter().filter(|it| !is_level(&it.0.text)) {
            let help = "use letters, digits, `-`, `_` and `.`: the name is part of topics";
            self.say(key.at, format!("`{}` cannot be a name here", key.text), Some(help));
        }
        pairs
    }

    fn place(&self, key: &Key) -> String {
        format!("{}:{}", self.file.source.path, key.at.line)
    }

    fn notifiers(&mut self, node: &Node) {
        for (name, node) in self.named("`notifiers`", node) {
            let pairs = self.map("a notifier", node);
            let known: Vec<&str> = OWN_KEYS.into_iter().chain(WAY_KEYS).collect();
            for (key, _) in pairs.iter().filter(|it| !known.contains(&it.0.text.as_str())) {
                self.unknown(key, &known);
            }
            let word = get(pairs, "type").and_then(Node::text).unwrap_or_default();
            let Some((_, kind)) = KINDS.iter().find(|it| it.0 == word) else {
                let words = KINDS.map(|it| it.0).join(", ");
                let at = get(pairs, "type").map_or(name.at, |it| it.at);
                self.say(at, format!("`{}` needs a `type`", name.text), Some(&format!("one of {words}")));
                continue;
            };
            self.notifier(name, pairs, *kind);
        }
    }

    /// Keys that are known, and of which this kind makes nothing.
    fn does_nothing(&mut self, pairs: &[(Key, Node)], keys: &[&str], word: &str) {
        for (key, _) in pairs.iter().filter(|it| keys.contains(&it.0.text.as_str())) {
            self.say(
                key.at,
                format!("`{}` does nothing with `type: {word}`", key.text),
                Some("leave it out"),
            );
        }
    }

    fn notifier(&mut self, name: &Key, pairs: &[(Key, Node)], kind: Kind) {
        match kind {
            Kind::Mqtt => self.does_nothing(pairs, &WAY_KEYS, kind.word()),
            Kind::Slack | Kind::UptimeKuma => self.does_nothing(pairs, &["priorities"], kind.word()),
            _ => {}
        }
        let way = match kind {
            Kind::Mqtt => Some(Way::default()),
            _ => self.way(name, pairs),
        };
        let topic = get(pairs, "topic").and_then(Node::text).unwrap_or_default().to_owned();
        if kind == Kind::Ntfy && topic.is_empty() {
            self.say(name.at, format!("`{}` needs a `topic`", name.text), Some("the topic of ntfy"));
        } else if kind != Kind::Ntfy && !topic.is_empty() {
            self.say(name.at, "only ntfy has a `topic` of your choice", None);
        }
        let mut texts = Texts::default();
        let template = get(pairs, "template").map(|it| {
            if !matches!(kind, Kind::Webhook | Kind::Mqtt) {
                self.say(
                    it.at,
                    "`template` is for webhook and mqtt: the others have a shape of their own",
                    None,
                );
            }
            self.template(&mut texts, it);
            scalars::value(it)
        });
        let priorities = get(pairs, "priorities").map(|it| self.priorities(it)).unwrap_or_default();
        let quiet = get(pairs, "quiet_hours").and_then(|it| self.quiet(it));
        let rate = get(pairs, "rate").and_then(|it| self.rate(it));
        let place = self.place(name);
        let Some(way) = way else { return };
        let made = Notifier { place, kind, quiet, rate, way, topic, template, texts, priorities };
        self.found.people.insert(name.text.clone(), made);
    }

    /// Texts are templates; what they see is known.
    fn template(&mut self, texts: &mut Texts, node: &Node) {
        match &node.value {
            Yaml::Scalar { text, .. } => {
                let unknown = || json!(crate::scan::UNKNOWN.to_string());
                let mut more: Vec<(&str, Value)> =
                    ["title", "message", "priority", "rule", "minion", "tag", "time", "event", "resolve"]
                        .map(|it| (it, unknown()))
                        .to_vec();
                more.extend([("tags", json!([])), ("data", json!({}))]);
                if let Err(complaints) = texts.add(text, &self.file.source.path, &more) {
                    for complaint in complaints {
                        self.say(node.at, complaint.message, complaint.help.as_deref());
                    }
                }
            }
            Yaml::List(nodes) => nodes.iter().for_each(|it| self.template(texts, it)),
            Yaml::Map(pairs) => pairs.iter().for_each(|it| self.template(texts, &it.1)),
        }
    }

    fn priorities(&mut self, node: &Node) -> BTreeMap<Priority, Value> {
        let mut found = BTreeMap::new();
        for (key, node) in self.map("`priorities`", node) {
            match Priority::parse(&key.text) {
                Some(priority) => drop(found.insert(priority, scalars::value(node))),
                None => self.unknown(key, &["min", "low", "normal", "high", "urgent"]),
            }
        }
        found
    }

    fn quiet(&mut self, node: &Node) -> Option<Quiet> {
        let pairs = self.map("`quiet_hours`", node);
        let known = ["from", "to", "zone", "held"];
        for (key, _) in pairs.iter().filter(|it| !known.contains(&it.0.text.as_str())) {
            self.unknown(key, &known);
        }
        let text = |name: &str| get(pairs, name).and_then(Node::text);
        let time = |name: &str| text(name).filter(|it| it.len() == 5).and_then(|it| it.parse().ok());
        let (Some(from), Some(to)) = (time("from"), time("to")) else {
            let help = Some("quiet_hours: { from: \"22:00\", to: \"07:00\", zone: Europe/Berlin }");
            self.say(node.at, "`quiet_hours` needs `from` and `to`, as 22:00", help);
            return None;
        };
        let name = text("zone").unwrap_or("UTC");
        let Ok(zone) = TimeZone::get(name) else {
            self.say(node.at, format!("there is no time zone `{name}`"), Some("such as Europe/Berlin"));
            return None;
        };
        let held = match text("held") {
            None | Some("later") => Held::Later,
            Some("drop") => Held::Drop,
            Some(_) => {
                self.say(node.at, "`held` is `later` or `drop`", None);
                Held::Later
            }
        };
        if from == to {
            self.say(node.at, "`from` and `to` are the same time", None);
        }
        let text = format!("{from:.0} to {to:.0} {name}");
        Some(Quiet { from, to, zone, held, text })
    }

    /// `10 per 1m`.
    fn rate(&mut self, node: &Node) -> Option<Rate> {
        let parts = node.text().and_then(|it| it.split_once(" per "));
        let made = parts.and_then(|(count, span)| {
            let count = count.trim().parse().ok().filter(|it| (1..=10_000).contains(it))?;
            let per_ms = duration::parse(span.trim()).ok().filter(|it| (1_000..=RATE_MS_MAX).contains(it))?;
            Some(Rate { count, per_ms })
        });
        if made.is_none() {
            self.say(node.at, "`rate` says how many in which time", Some("write `10 per 1m`; at most a day"));
        }
        made
    }

    /// A text that stands here under a name, or in a file that stands here under the name with `_file`.
    fn secret(&mut self, pairs: &[(Key, Node)], name: &str) -> Option<Secret> {
        let file = format!("{name}_file");
        match (get(pairs, name), get(pairs, &file)) {
            (Some(node), None) => {
                if let Some(text) = node.text().filter(|it| !it.is_empty()) {
                    Some(Secret::new(text))
                } else {
                    self.say(node.at, format!("`{name}` takes text"), None);
                    None
                }
            }
            (None, Some(node)) => match (self.read)(node.text().unwrap_or_default()) {
                Ok(text) => Some(Secret::new(text.trim())),
                Err(cause) => {
                    self.say(node.at, format!("`{file}`: {cause}"), None);
                    None
                }
            },
            (None, None) => None,
            (Some(node), Some(_)) => {
                self.say(node.at, format!("write `{name}` or `{file}`"), None);
                None
            }
        }
    }

    fn way(&mut self, name: &Key, pairs: &[(Key, Node)]) -> Option<Way> {
        let url = self.secret(pairs, "url");
        if url.is_none() && get(pairs, "url").is_none() && get(pairs, "url_file").is_none() {
            self.say(name.at, format!("`{}` needs `url`", name.text), Some("or `url_file`"));
        }
        if let Some(url) = &url
            && !is_address(url.reveal())
        {
            let help = "http:// or https://, without a user in it: use `token` or `headers`";
            self.say(name.at, format!("the `url` of `{}` is no address", name.text), Some(help));
        }
        let mut headers = self.headers(pairs);
        if let Some(token) = self.secret(pairs, "token") {
            if token.reveal().chars().any(|it| !it.is_ascii_graphic()) {
                self.say(name.at, "a `token` has no spaces and no letters beyond ASCII", None);
            }
            headers.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal()))));
        }
        let ca = get(pairs, "ca_file").and_then(|node| match (self.read)(node.text().unwrap_or_default()) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(text),
            Ok(_) => {
                self.say(node.at, "`ca_file` has no certificate as PEM in it", None);
                None
            }
            Err(cause) => {
                self.say(node.at, format!("`ca_file`: {cause}"), None);
                None
            }
        });
        let timeout_ms = get(pairs, "timeout").map_or(Some(CALL_MS), |node| {
            let span = node.text().and_then(|it| duration::parse(it).ok());
            let span = span.filter(|it| (1..=CALL_MS_MAX).contains(it));
            if span.is_none() {
                self.say(node.at, "`timeout` is a span of time of at most 1m, such as 10s", None);
            }
            span
        });
        Some(Way { url: url?, headers, ca, timeout_ms: timeout_ms? })
    }

    fn headers(&mut self, pairs: &[(Key, Node)]) -> Vec<(String, Secret)> {
        let Some(node) = get(pairs, "headers") else { return Vec::new() };
        let mut headers = Vec::new();
        for (key, node) in self.map("`headers`", node) {
            let token = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
            let value = node.text().filter(|it| !it.chars().any(char::is_control));
            match value {
                Some(value) if !key.text.is_empty() && key.text.bytes().all(token) => {
                    headers.push((key.text.clone(), Secret::new(value)));
                }
                _ => self.say(key.at, format!("`{}` cannot be a header", key.text), None),
            }
        }
        if headers.len() > HEADERS_MAX {
            self.say(node.at, format!("more than {HEADERS_MAX} headers"), None);
        }
        headers
    }

    fn endpoints(&mut self, node: &Node) {
        for (name, node) in self.named("`endpoints`", node) {
            let pairs = self.map("an endpoint", node);
            for (key, _) in pairs.iter().filter(|it| !WAY_KEYS.contains(&it.0.text.as_str())) {
                self.unknown(key, &WAY_KEYS);
            }
            let place = self.place(name);
            if let Some(way) = self.way(name, pairs) {
                self.found.endpoints.insert(name.text.clone(), Endpoint { place, way });
            }
        }
    }

    fn switches(&mut self, node: &Node) {
        for (name, node) in self.named("`power`", node) {
            let pairs = self.map("a switch", node);
            let known: Vec<&str> = ["type", "for", "on", "off"].into_iter().chain(WAY_KEYS).collect();
            for (key, _) in pairs.iter().filter(|it| !known.contains(&it.0.text.as_str())) {
                self.unknown(key, &known);
            }
            let (on, off) = match get(pairs, "type").and_then(Node::text) {
                Some(word @ "mqtt") => {
                    self.does_nothing(pairs, &WAY_KEYS, word);
                    (Some(payload(pairs, "on", "ON")), Some(payload(pairs, "off", "OFF")))
                }
                Some(word @ "http") => {
                    self.does_nothing(pairs, &["url", "url_file"], word);
                    (self.turn(name, pairs, "on"), self.turn(name, pairs, "off"))
                }
                _ => {
                    self.say(name.at, format!("`{}` needs a `type`", name.text), Some("http or mqtt"));
                    continue;
                }
            };
            let place = self.place(name);
            let machines = get(pairs, "for").and_then(|it| self.machines(it));
            if let (Some(on), Some(off)) = (on, off) {
                self.found.switches.insert(name.text.clone(), Switch { place, machines, on, off });
            }
        }
    }

    /// Whom a switch is for: it limits rules, so what a machine says of itself does not count.
    fn machines(&mut self, node: &Node) -> Option<Target> {
        let Some(text) = node.text() else {
            self.say(node.at, format!("`for` takes a target expression, not {}", node.kind()), None);
            return None;
        };
        match Target::parse_in(text, &self.file.source.path) {
            Ok(target) => {
                let needs = [Needs::Asserted, Needs::Pillar, Needs::States, Needs::Now];
                if needs.into_iter().any(|it| target.needs(it)) {
                    let help = Some("name its machines by ids and labels");
                    self.say(node.at, "`for` of a switch rests on ids and labels only", help);
                }
                Some(target)
            }
            Err(complaint) => {
                self.say(node.at, complaint.message.clone(), complaint.help.as_deref());
                None
            }
        }
    }

    /// An address, or a mapping with `url`, `method` and `json`.
    fn turn(&mut self, switch: &Key, pairs: &[(Key, Node)], name: &str) -> Option<Turn> {
        let Some(node) = get(pairs, name) else {
            let help = "an address, or { url, method, json }";
            self.say(switch.at, format!("`{}` needs `{name}`", switch.text), Some(help));
            return None;
        };
        let (url, method, json) = match &node.value {
            Yaml::Map(inner) => {
                for (key, _) in
                    inner.iter().filter(|it| !["url", "method", "json"].contains(&it.0.text.as_str()))
                {
                    self.unknown(key, &["url", "method", "json"]);
                }
                let method = get(inner, "method").and_then(Node::text).map(str::to_owned);
                (get(inner, "url").and_then(Node::text), method, get(inner, "json").map(scalars::value))
            }
            _ => (node.text(), None, None),
        };
        let method = method.unwrap_or_else(|| if json.is_some() { "POST" } else { "GET" }.to_owned());
        if !["GET", "POST", "PUT", "PATCH"].contains(&method.as_str()) {
            self.say(node.at, "`method` is GET, POST, PUT or PATCH", None);
        }
        let url = url.filter(|it| is_address(it));
        if url.is_none() {
            self.say(node.at, format!("`{name}` has no address that can be called"), None);
        }
        let common: Vec<(Key, Node)> =
            pairs.iter().filter(|it| !it.0.text.starts_with("url")).cloned().collect();
        let mut with_url = common;
        let at = node.at;
        let text = url?.to_owned();
        let url = Node { at, tag: None, value: Yaml::Scalar { text, plain: false } };
        with_url.push((Key { text: "url".to_owned(), at, plain: true }, url));
        let way = Box::new(self.way(switch, &with_url)?);
        Some(Turn::Call { way, method, json })
    }
}

/// What is published to switch.
fn payload(pairs: &[(Key, Node)], name: &str, usual: &str) -> Turn {
    match get(pairs, name).map(scalars::value) {
        None => Turn::Publish(usual.to_owned()),
        Some(Value::String(text)) => Turn::Publish(text),
        Some(value) => Turn::Publish(value.to_string()),
    }
}

//! Other services that rules call, from `notify.yaml`: who is told, which switches and endpoints there are. Rules name
//! them, so that no secret stands in a rule; what is called is put together here, and prints without its secrets.

mod hours;
mod services;

use crate::{
    notifier_files,
    rule_texts::Texts,
    rules::{Body, HttpWish, Notice, Priority},
    target::Target,
};
use model::{Compiled, SECRET_MASK, Secret, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub use hours::{Held, Quiet, Rate};

/// Longest body of a call.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Shorter secrets are not looked for in texts.
const SECRET_CHARS_MIN: usize = 4;

/// What `notify.yaml` says.
#[derive(Clone, Debug, Default)]
pub struct Notifiers {
    pub(crate) people: BTreeMap<String, Notifier>,
    pub(crate) switches: BTreeMap<String, Switch>,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// Somebody to tell.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// `notify.yaml:3`.
    pub place: String,
    /// How.
    pub kind: Kind,
    /// When not.
    pub quiet: Option<Quiet>,
    /// How often at most.
    pub rate: Option<Rate>,
    pub(crate) way: Way,
    pub(crate) topic: String,
    /// Of the JSON that a webhook gets; texts are templates.
    pub(crate) template: Option<Value>,
    pub(crate) texts: Texts,
    pub(crate) priorities: BTreeMap<Priority, Value>,
}

/// Kinds of notifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ntfy, its JSON publishing.
    Ntfy,
    /// Our own bus: `lab/notify/<name>`.
    Mqtt,
    /// Any service that takes JSON.
    Webhook,
    /// A webhook of Discord.
    Discord,
    /// An incoming webhook of Slack, or what speaks like it.
    Slack,
    /// Prometheus' Alertmanager, version 2 of its API.
    Alertmanager,
    /// A push monitor of Uptime Kuma.
    UptimeKuma,
}

/// Kinds with their words.
pub(crate) const KINDS: [(&str, Kind); 7] = [
    ("alertmanager", Kind::Alertmanager),
    ("discord", Kind::Discord),
    ("mqtt", Kind::Mqtt),
    ("ntfy", Kind::Ntfy),
    ("slack", Kind::Slack),
    ("uptime-kuma", Kind::UptimeKuma),
    ("webhook", Kind::Webhook),
];

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|it| it.1 == self).map_or("", |it| it.0)
    }
}

/// How a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) url: Secret,
    pub(crate) headers: Vec<(String, Secret)>,
    /// PEM of the authority that vouches for it; none is the public ones.
    pub(crate) ca: Option<String>,
    pub(crate) timeout_ms: u64,
}

/// A switch for the power of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    pub(crate) place: String,
    /// Which machines hang on it; none: nobody says.
    pub(crate) machines: Option<Target>,
    pub(crate) on: Turn,
    pub(crate) off: Turn,
}

/// What is done to switch.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    Call { way: Box<Way>, method: String, json: Option<Value> },
    Publish(String),
}

/// Another service that rules call.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) place: String,
    pub(crate) way: Way,
}

/// What a call is about, for templates and as a service's own fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Which rule.
    pub rule: String,
    /// The event's tag.
    pub tag: String,
    /// Its number.
    pub event: u64,
    /// The minion in its tag.
    pub minion: Option<String>,
    /// When it was.
    pub at: Timestamp,
}

/// How something gets out.
#[derive(Clone, Debug, PartialEq)]
pub enum Passage {
    /// By HTTP.
    Call(Call),
    /// On our own bus.
    Publish {
        /// Whole topic.
        topic: String,
        /// JSON or text.
        payload: String,
    },
}

/// A call to another service, whole. It prints without what is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `POST` and the like.
    pub method: String,
    /// Whole address.
    pub url: Secret,
    /// Names and values.
    pub headers: Vec<(String, Secret)>,
    /// What is sent; none is no body.
    pub body: Option<Secret>,
    /// Good answers, from and to.
    pub expect: Vec<(u16, u16)>,
    /// Its limit, in milliseconds.
    pub timeout_ms: u64,
    /// PEM of the authority that vouches for it; none is the public ones.
    pub ca: Option<String>,
}

impl Call {
    /// `https://host:port`, which is no secret.
    pub fn origin(&self) -> &str {
        origin(self.url.reveal()).unwrap_or_default()
    }
    /// A text without the secrets of this call.
    pub fn mask(&self, text: &str) -> String {
        if model::broken::leaves_out("mask-calls") {
            return text.to_owned();
        }
        let url = self.url.reveal();
        let rest = &url[self.origin().len()..];
        let whole = self.headers.iter().map(|it| it.1.reveal());
        // `Bearer x`: x alone is as secret.
        let words = self.headers.iter().filter_map(|it| it.1.reveal().split_once(' ').map(|it| it.1));
        let parts = rest.split(['/', '?', '&', '=']).filter(|it| it.len() >= 2 * SECRET_CHARS_MIN);
        let mut secrets: Vec<&str> = whole.chain(words).chain(parts).chain([url, rest]).collect();
        secrets.retain(|it| it.len() >= SECRET_CHARS_MIN && !HARMLESS.contains(it));
        secrets.sort_by_key(|it| std::cmp::Reverse(it.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, SECRET_MASK))
    }
    /// Whether an answer is a good one.
    pub fn expects(&self, status: u16) -> bool {
        self.expect.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

/// Values of headers that are in every call.
const HARMLESS: [&str; 3] = ["application/json", "text/plain; charset=utf-8", "/api/v2/alerts"];

/// `https://host:port` of an address.
pub(crate) fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    let good = !host.is_empty()
        && !host.contains('@')
        && host.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:[]".contains(&it));
    good.then(|| &url[..url.len() - rest.len() + end])
}

/// Whether a text is an address that can be called.
pub(crate) fn is_address(url: &str) -> bool {
    origin(url).is_some() && url.len() <= 2_048 && url.bytes().all(|it| it.is_ascii_graphic())
}

impl Notifiers {
    /// Reads the text of `notify.yaml`: one mistake gives nothing and all complaints. `read` gives the text of files
    /// that secrets stand in.
    pub fn parse(file: &str, text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Compiled<Self> {
        notifier_files::parse(file, text, read)
    }
    /// Who can be told, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Notifier)> {
        self.people.iter().map(|(name, it)| (name.as_str(), it))
    }
    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Notifier> {
        self.people.get(name)
    }
    /// Names of switches and endpoints, each with its place.
    pub fn others(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let switches = self.switches.iter().map(|(name, it)| ("power", name.as_str(), it.place.as_str()));
        switches.chain(self.endpoints.iter().map(|(name, it)| ("endpoint", name.as_str(), it.place.as_str())))
    }
    /// How a notice gets to somebody.
    pub fn notify(&self, name: &str, notice: &Notice, about: &About) -> Result<Passage, String> {
        let notifier = self.get(name).ok_or_else(|| absent("notifier", name, self.people.keys()))?;
        notifier.tell(name, notice, about)
    }
    /// A rule's own call.
    pub fn http(&self, wish: &HttpWish) -> Result<Call, String> {
        let default = Way { timeout_ms: wish.timeout_ms, ..Way::default() };
        let way = match &wish.to {
            None => &default,
            Some(name) => {
                let found = self.endpoints.get(name);
                &found.ok_or_else(|| absent("endpoint", name, self.endpoints.keys()))?.way
            }
        };
        let url = format!("{}{}", way.url.reveal().trim_end_matches('/'), wish.url);
        if !is_address(&url) {
            return Err("this is no address that can be called".to_owned());
        }
        let mut headers = way.headers.clone();
        headers.extend(wish.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value))));
        let body = match &wish.body {
            None => None,
            Some(Body::Text(text)) => {
                add_type(&mut headers, "text/plain; charset=utf-8");
                Some(text.clone())
            }
            Some(Body::Json(value)) => {
                add_type(&mut headers, "application/json");
                Some(value.to_string())
            }
        };
        Ok(Call {
            method: wish.method.clone(),
            url: Secret::new(url),
            headers,
            body: bounded(body)?,
            expect: wish.expect.clone(),
            timeout_ms: if wish.usual_timeout { way.timeout_ms } else { wish.timeout_ms },
            ca: way.ca.clone(),
        })
    }
    /// Which machines hang on a switch, if its `for` says so.
    pub fn machines_of(&self, name: &str) -> Option<&Target> {
        self.switches.get(name)?.machines.as_ref()
    }
    /// How a machine is switched on or off.
    pub fn power(&self, name: &str, on: bool) -> Result<Passage, String> {
        let found = self.switches.get(name);
        let switch = found.ok_or_else(|| absent("switch", name, self.switches.keys()))?;
        Ok(match if on { &switch.on } else { &switch.off } {
            Turn::Publish(payload) => {
                Passage::Publish { topic: format!("lab/power/{name}"), payload: payload.clone() }
            }
            Turn::Call { way, method, json } => {
                let mut headers = way.headers.clone();
                if json.is_some() {
                    add_type(&mut headers, "application/json");
                }
                Passage::Call(Call {
                    method: method.clone(),
                    url: way.url.clone(),
                    headers,
                    body: bounded(json.as_ref().map(Value::to_string))?,
                    expect: vec![(200, 299)],
                    timeout_ms: way.timeout_ms,
                    ca: way.ca.clone(),
                })
            }
        })
    }
}

fn absent<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("notify.yaml has no {what} `{}`; it has {known}", crate::say::shortened(name))
}

fn add_type(headers: &mut Vec<(String, Secret)>, kind: &str) {
    if !headers.iter().any(|it| it.0.eq_ignore_ascii_case("content-type")) {
        headers.push(("Content-Type".to_owned(), Secret::new(kind)));
    }
}

fn bounded(body: Option<String>) -> Result<Option<Secret>, String> {
    match body {
        Some(body) if body.len() > BODY_BYTES_MAX => {
            Err(format!("it would send more than {BODY_BYTES_MAX} bytes"))
        }
        body => Ok(body.map(Secret::new)),
    }
}

/// What templates of webhooks see.
pub(crate) fn seen(notice: &Notice, about: &About) -> serde_json::Map<String, Value> {
    let value = json!({
        "title": notice.title, "message": notice.message, "priority": notice.priority.word(),
        "tags": notice.tags, "data": notice.data, "resolve": notice.resolve, "rule": about.rule,
        "minion": about.minion, "tag": about.tag, "event": about.event, "time": hours::rfc3339(about.at),
    });
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

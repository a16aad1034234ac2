//! The shapes that services want: one function each, as their documentation has them.

use super::{About, Call, Kind, Notifier, Passage, add_type, bounded, hours::rfc3339, is_address, seen};
use crate::functions::urlencoded;
use crate::rules::{Notice, PRIORITIES, Priority};
use model::Secret;
use serde_json::{Map, Value, json};

/// Longest message of ntfy; longer ones would become a file.
const NTFY_BYTES: usize = 4_000;
/// Longest text of an embed of Discord.
const DISCORD_CHARS: usize = 4_000;
/// Longest text that Slack shows whole.
const SLACK_CHARS: usize = 3_000;
/// Longest message of Uptime Kuma.
const KUMA_CHARS: usize = 200;

impl Notifier {
    /// How a notice gets out.
    pub(super) fn tell(&self, name: &str, notice: &Notice, about: &About) -> Result<Passage, String> {
        let base = self.way.url.reveal().trim_end_matches('/');
        let (method, url, body) = match self.kind {
            Kind::Mqtt => {
                let payload = self.shaped(notice, about)?.to_string();
                return Ok(Passage::Publish { topic: format!("lab/notify/{name}"), payload });
            }
            Kind::Webhook => ("POST", self.way.url.reveal().to_owned(), Some(self.shaped(notice, about)?)),
            Kind::Ntfy => ("POST", format!("{base}/"), Some(self.ntfy(notice))),
            Kind::Discord => ("POST", base.to_owned(), Some(self.discord(notice, about))),
            Kind::Slack => ("POST", base.to_owned(), Some(slack(notice))),
            Kind::Alertmanager => {
                ("POST", format!("{base}/api/v2/alerts"), Some(self.alertmanager(notice, about)))
            }
            Kind::UptimeKuma => ("GET", kuma(base, notice), None),
        };
        if !is_address(&url) {
            return Err("the address is longer than 2048 bytes".to_owned());
        }
        let mut headers = self.way.headers.clone();
        if body.is_some() {
            add_type(&mut headers, "application/json");
        }
        Ok(Passage::Call(Call {
            method: method.to_owned(),
            url: Secret::new(url),
            headers,
            body: bounded(body.map(|it| it.to_string()))?,
            expect: vec![(200, 299)],
            timeout_ms: self.way.timeout_ms,
            ca: self.way.ca.clone(),
        }))
    }

    /// What is said to a service for a priority, unless the file says another word.
    fn priority(&self, of: Priority, usual: Value) -> Value {
        self.priorities.get(&of).cloned().unwrap_or(usual)
    }

    /// The template's JSON; each text is filled in by itself, so that no text alters the shape.
    fn shaped(&self, notice: &Notice, about: &About) -> Result<Value, String> {
        let mut scope = seen(notice, about);
        scope["priority"] = self.priority(notice.priority, scope["priority"].clone());
        match &self.template {
            None => Ok(Value::Object(scope)),
            Some(template) => self.texts.filler(scope, None).fill_value(template),
        }
    }

    fn ntfy(&self, notice: &Notice) -> Value {
        let usual = match notice.priority {
            Priority::Min => 1,
            Priority::Low => 2,
            Priority::Normal => 3,
            Priority::High => 4,
            Priority::Urgent => 5,
        };
        let mut body = json!({
            "topic": self.topic, "message": cut_bytes(&notice.message, NTFY_BYTES),
            "priority": self.priority(notice.priority, json!(usual)),
        });
        if !notice.title.is_empty() {
            body["title"] = json!(notice.title);
        }
        if !notice.tags.is_empty() {
            body["tags"] = json!(notice.tags);
        }
        if let Some(click) = notice.data.get("click").and_then(Value::as_str) {
            body["click"] = json!(click);
        }
        body
    }

    fn discord(&self, notice: &Notice, about: &About) -> Value {
        let usual = match notice.priority {
            _ if notice.resolve => 0x002e_cc71,
            Priority::Min | Priority::Low => 0x0095_a5a6,
            Priority::Normal => 0x0034_98db,
            Priority::High => 0x00e6_7e22,
            Priority::Urgent => 0x00e7_4c3c,
        };
        let mut embed = json!({
            "description": cut(&notice.message, DISCORD_CHARS),
            "color": self.priority(notice.priority, json!(usual)), "timestamp": rfc3339(about.at),
        });
        if !notice.title.is_empty() {
            embed["title"] = json!(notice.title);
        }
        // Whoever writes a message mentions nobody.
        json!({ "username": "labctl", "embeds": [embed], "allowed_mentions": { "parse": [] } })
    }

    /// What Alertmanager routes by.
    fn severity(&self, priority: Priority) -> Value {
        let usual = match priority {
            Priority::Min | Priority::Low | Priority::Normal => "info",
            Priority::High => "warning",
            Priority::Urgent => "critical",
        };
        self.priority(priority, json!(usual))
    }

    /// Labels tell alerts apart, so what is resolved must have those that it was raised with: `data.alertname`, else
    /// the rule's name. Of which priority that was nobody says, so all severities that there are end.
    fn alertmanager(&self, notice: &Notice, about: &About) -> Value {
        let name = notice.data.get("alertname").and_then(Value::as_str).unwrap_or(&about.rule);
        let mut labels = Map::new();
        labels.insert("alertname".to_owned(), json!(name));
        labels.insert("source".to_owned(), json!("labctl"));
        if let Some(minion) = &about.minion {
            labels.insert("instance".to_owned(), json!(minion));
        }
        let title = if notice.title.is_empty() { &notice.message } else { &notice.title };
        let first = title.lines().next().unwrap_or_default();
        let mut annotations = Map::new();
        annotations.insert("summary".to_owned(), json!(cut(first, 250)));
        annotations.insert("description".to_owned(), json!(notice.message));
        for (key, value) in notice.data.iter().filter(|it| it.0 != "alertname" && is_label(it.0)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            annotations.insert(key.clone(), json!(text));
        }
        let mut severities = vec![self.severity(notice.priority)];
        for (_, priority) in PRIORITIES.iter().filter(|_| notice.resolve) {
            let severity = self.severity(*priority);
            if !severities.contains(&severity) {
                severities.push(severity);
            }
        }
        let when = if notice.resolve { "endsAt" } else { "startsAt" };
        let alert = |severity: Value| {
            let mut alert = json!({ "labels": labels, "annotations": annotations });
            alert["labels"]["severity"] = severity;
            alert[when] = json!(rfc3339(about.at));
            alert
        };
        severities.into_iter().map(alert).collect()
    }
}

/// Slack reads `&`, `<` and `>` as its own.
fn slack(notice: &Notice) -> Value {
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let message = plain(&cut(&notice.message, SLACK_CHARS));
    let text = match notice.title.as_str() {
        "" => message,
        title => format!("*{}*\n{message}", plain(&title.replace('*', " "))),
    };
    json!({ "text": text })
}

/// `data.status` says whether it is up; else what matters much is down, all other is up.
fn kuma(base: &str, notice: &Notice) -> String {
    let usual = if notice.priority >= Priority::High && !notice.resolve { "down" } else { "up" };
    let given = notice.data.get("status").and_then(Value::as_str).filter(|it| matches!(*it, "up" | "down"));
    let base = base.split('?').next().unwrap_or_default();
    let ping = notice.data.get("ping").and_then(|it| match it {
        Value::Number(it) => it.as_f64(),
        Value::String(it) => it.parse().ok(),
        _ => None,
    });
    let ping = ping.filter(|it: &f64| it.is_finite()).map(|it| it.to_string()).unwrap_or_default();
    let message = urlencoded(&cut(&notice.message, KUMA_CHARS));
    format!("{base}?status={}&msg={message}&ping={ping}", given.unwrap_or(usual))
}

/// A name of Prometheus: letters, digits and `_`, no digit first.
fn is_label(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
    first && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{}…", &text[..end])
}

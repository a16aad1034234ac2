//! Reads `http:`. Where a call goes stands in the rule, or in `notify.yaml` under a name: an event cannot choose it.

use super::{CALL_MS_MAX, Given};
use crate::{
    rule_actions::{ActionTemplate, Body, HttpTemplate, fill::fixed_part},
    rule_files::{Draft, Reader, is_level},
    scalars,
    yaml::{Node, Yaml},
};
use model::SECRET_MASK;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Headers that would let a call become another one, or that are ours to set.
const HEADERS_OURS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "idempotency-key"];
/// Headers that hold secrets, which do not belong into rules.
const HEADERS_SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl Reader {
    pub(super) fn http(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let to = self.word(draft, given, "to");
        if let (Some(name), Some(node)) = (&to, given.get("to"))
            && !is_level(name)
        {
            let message = format!("`{name}` cannot name an endpoint of notify.yaml");
            self.say(&file, node.at, "E0501", message, None);
        }
        let url = self.address(draft, given, to.is_some());
        let method = self.method(draft, given);
        let headers = self.headers(draft, given);
        let body = self.body(draft, given);
        let expect = given.get("expect").map_or(vec![(200, 299)], |it| self.expect(draft, it));
        let timeout_ms = given.get("timeout").and_then(|it| self.span(draft, "timeout", it, CALL_MS_MAX));
        let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
        Some(ActionTemplate::Http(HttpTemplate { to, url: url?, method, headers, body, expect, timeout_ms }))
    }

    fn address(&mut self, draft: &mut Draft, given: &Given<'_>, named: bool) -> Option<String> {
        let file = draft.file.clone();
        let Some(node) = given.get("url") else {
            if named {
                return Some(String::new());
            }
            let help = Some("`url: https://host/path`, or `to:` with the name of an endpoint".to_owned());
            self.say(&file, given.action.at, "E0501", "`http` needs `url` or `to`", help);
            return None;
        };
        let url = self.text(draft, node)?;
        let fixed = fixed_part(&url);
        let rest = fixed.strip_prefix("https://").or_else(|| fixed.strip_prefix("http://"));
        let authority = rest.and_then(|it| it.split_once(['/', '?'])).map(|it| it.0);
        let authority = authority.or_else(|| rest.filter(|_| fixed == url));
        let (good, help) = if named {
            (url.starts_with('/'), "with `to` it is the rest of an address: `url: /path`")
        } else {
            let host = authority.is_some_and(|it| !it.is_empty() && !it.contains(['@', '{']));
            (host, "`https://host/…`: the host is fixed, what an event brings comes behind it")
        };
        if !good {
            let message = "this is no address of a call".to_owned();
            self.say(&file, node.at, "E0503", message, Some(help.to_owned()));
        }
        good.then_some(url)
    }

    fn method(&mut self, draft: &Draft, given: &Given<'_>) -> Option<String> {
        let node = given.get("method")?;
        let method = node.text().unwrap_or_default().to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let help = Some(format!("one of {}", METHODS.join(", ")));
            self.say(&draft.file, node.at, "E0503", format!("`{method}` is no method"), help);
        }
        Some(method)
    }

    fn headers(&mut self, draft: &mut Draft, given: &Given<'_>) -> Vec<(String, String)> {
        let file = draft.file.clone();
        let pairs = match given.get("headers").map(|it| &it.value) {
            Some(Yaml::Map(pairs)) => pairs.as_slice(),
            None => &[],
            Some(_) => {
                self.say(&file, given.action.at, "E0501", "`headers` is a mapping", None);
                &[]
            }
        };
        let mut headers = Vec::new();
        for (key, node) in pairs {
            let name = key.text.to_ascii_lowercase();
            let token = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
            if name.is_empty() || !name.bytes().all(token) || HEADERS_OURS.contains(&name.as_str()) {
                let message = format!("`{}` cannot be a header of a call", key.text);
                self.say(&file, key.at, "E0503", message, None);
            } else if HEADERS_SECRET.contains(&name.as_str()) {
                let help =
                    format!("put it into notify.yaml below `endpoints`, where it prints as {SECRET_MASK}");
                let message = format!("`{}` is a secret: rules have none", key.text);
                self.say(&file, key.at, "E0503", message, Some(help));
            }
            headers.extend(self.text(draft, node).map(|it| (key.text.clone(), it)));
        }
        headers
    }

    fn body(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<Body> {
        match (given.get("json"), given.get("body")) {
            (Some(node), None) => {
                self.check_texts(draft, node);
                Some(Body::Json(scalars::value(node)))
            }
            (None, Some(node)) => self.text(draft, node).map(Body::Text),
            (None, None) => None,
            (Some(_), Some(node)) => {
                self.say(&draft.file, node.at, "E0501", "`http` takes `json` or `body`", None);
                None
            }
        }
    }

    /// `200`, `[200, 204]`, `2xx`.
    fn expect(&mut self, draft: &Draft, node: &Node) -> Vec<(u16, u16)> {
        let items = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut ranges = Vec::new();
        for item in items.iter().take(16) {
            let text = item.text().unwrap_or_default();
            let class = text.strip_suffix("xx").and_then(|it| it.parse::<u16>().ok());
            let range = class.filter(|it| (1..=5).contains(it)).map(|it| (it * 100, it * 100 + 99));
            let single = || text.parse().ok().filter(|it| (100..=599).contains(it)).map(|it| (it, it));
            if let Some(range) = range.or_else(single) {
                ranges.push(range);
            } else {
                let message = format!("`{text}` is no status such as 200 or 2xx");
                self.say(&draft.file, item.at, "E0503", message, None);
            }
        }
        ranges
    }
}

//! `ssh_auth`: keys that may log in.

use super::home_file::{HomeFile, check_path};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
};
use model::{Change, ContentHash, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "ssh_auth",
    doc: Doc::new("Public keys that may log in as a user."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A key is in a user's list, with these options and this comment. A line that has the key already is \
                  altered in its place; all other lines stay.",
            ),
            params: PARAMS,
            examples: Examples::new(&[
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL1vYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh ada@desk:\n  \
                 ssh_auth.present:\n    - user: ada\n    - options:\n      - no-port-forwarding\n",
            ]),
            parse: |params| parse("ssh_auth.present", PARAMS, params, Way::Present),
        },
        Function {
            name: "absent",
            doc: Doc::new("A key is not in a user's list, whatever its options and comment."),
            params: PARAMS,
            examples: Examples::new(&[
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL1vYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh:\n  ssh_auth.absent:\n    - \
                 user: ada\n",
            ]),
            parse: |params| parse("ssh_auth.absent", PARAMS, params, Way::Absent),
        },
        Function {
            name: "manage",
            doc: Doc::new("A user's list has these keys and no others. Lines that are no keys stay."),
            params: MANAGE,
            examples: Examples::new(&[
                "keys of ada:\n  ssh_auth.manage:\n    - user: ada\n    - ssh_keys:\n      - ssh-ed25519 \
                 AAAAC3NzaC1lZDI1NTE5AAAAIL1vYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh ada@desk\n",
            ]),
            parse: |params| parse("ssh_auth.manage", MANAGE, params, Way::Only),
        },
    ],
};

const CONFIG: &str = ".ssh/authorized_keys";
const USER: Param = Param::of("user", ParamType::Text, "", "Whose list it is.").required();
const ENC: Param = Param::of(
    "enc",
    ParamType::Text,
    "ssh-rsa",
    "The kind of key, where the key itself does not say: `ssh-rsa`, `ed25519`, `ecdsa`, ...",
);
const COMMENT: Param =
    Param::of("comment", ParamType::Text, "", "What is written behind a key that has no comment.");
const OPTIONS: Param = Param::of(
    "options",
    ParamType::TextList,
    "none",
    "What is written in front of a key that has no options, such as `command=\"/bin/backup\"`.",
);
const FILE: Param = Param::of(
    "config",
    ParamType::Text,
    CONFIG,
    "The list, below the home folder or absolute; `%h` and `%u` count.",
);
const HASH_TYPE: Param = Param::of(
    "fingerprint_hash_type",
    ParamType::Text,
    "",
    "Accepted as in Salt, where it is for messages only.",
);
const SOURCE: Param = Param::of(
    "source",
    ParamType::Places,
    "none",
    "A file of the tree (`lab://` or `salt://`) with keys, one in a line, instead of the name.",
);
const PARAMS: &[Param] = &[
    Param::name("The key: the long text, or a whole line with kind and comment."),
    USER,
    ENC,
    COMMENT,
    SOURCE,
    OPTIONS,
    FILE,
    HASH_TYPE,
];
const MANAGE: &[Param] = &[
    Param::name("Only a name for this step."),
    USER,
    Param::of("ssh_keys", ParamType::TextList, "", "All keys, each as `name` of `ssh_auth.present`.")
        .required(),
    ENC,
    COMMENT,
    OPTIONS,
    FILE,
    HASH_TYPE,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Present,
    Absent,
    Only,
}

#[derive(Debug)]
struct Auth {
    user: String,
    config: String,
    keys: Vec<Key>,
    source: Option<ContentHash>,
    default: Key,
    way: Way,
}

/// A line of the list.
#[derive(Clone, Debug, Default, PartialEq)]
struct Key {
    options: String,
    kind: String,
    text: String,
    comment: String,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    way: Way,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let user = args.text("user").unwrap_or_default();
    super::group::account_name("user", &user)?;
    let config = args.text("config").filter(|it| !it.is_empty()).unwrap_or_else(|| CONFIG.to_owned());
    check_path("config", &config)?;
    let options = args.list("options").unwrap_or_default().join(",");
    let comment = args.text("comment").unwrap_or_default();
    for (param, text) in [("options", &options), ("comment", &comment)] {
        if text.chars().any(char::is_control) {
            return Err(invalid(param, format!("`{param}` must be one line")));
        }
    }
    let kind = long_kind(&args.text("enc").unwrap_or_else(|| "ssh-rsa".to_owned()))?;
    let default = Key { options, kind, text: String::new(), comment };
    let source = match args.text("source").filter(|it| !it.is_empty()) {
        None => None,
        Some(text) => Some(source(&text)?),
    };
    let written = match (way, &source) {
        (Way::Only, _) => args.list("ssh_keys").unwrap_or_default(),
        (_, Some(_)) => Vec::new(),
        (_, None) => vec![args.name()],
    };
    let param = if way == Way::Only { "ssh_keys" } else { "name" };
    let key = |text: &String| {
        Key::parse(text, &default).ok_or_else(|| {
            let short: String = text.chars().take(40).collect();
            invalid(param, format!("`{short}` is no public key: a kind such as `ssh-ed25519` and base64"))
        })
    };
    let keys = written.iter().map(key).collect::<Result<_, _>>()?;
    Ok(Box::new(Auth { user, config, keys, source, default, way }))
}

fn source(text: &str) -> Result<ContentHash, ParamsError> {
    match text.strip_prefix("content:") {
        Some(hash) => hash.parse().map_err(|error: model::InvalidId| invalid("source", error.to_string())),
        None => Err(invalid("source", format!("`{text}` is not a file of the tree: write `lab://path`"))),
    }
}

/// Kinds as people shorten them.
fn long_kind(kind: &str) -> Result<String, ParamsError> {
    let kind = match kind {
        "" | "r" | "rsa" => "ssh-rsa",
        "d" | "dsa" | "dss" => "ssh-dss",
        "e" | "ecdsa" => "ecdsa-sha2-nistp256",
        "ed25519" => "ssh-ed25519",
        other => other,
    };
    if is_kind(kind) {
        Ok(kind.to_owned())
    } else {
        Err(invalid("enc", format!("`{kind}` is no kind of key")))
    }
}

fn is_kind(word: &str) -> bool {
    let starts = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let good = |it: char| it.is_ascii_alphanumeric() || "-@.".contains(it);
    starts.iter().any(|it| word.starts_with(it)) && word.chars().all(good)
}

/// The first word, in which quotes hold spaces together, and the rest.
fn word(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, it) in line.char_indices() {
        match it {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return (&line[..at], line[at..].trim_start()),
            _ => (),
        }
    }
    (line, "")
}

impl Key {
    /// A line; `default` fills in what it does not say.
    fn parse(line: &str, default: &Self) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.chars().any(|it| it != '\t' && it.is_control()) {
            return None;
        }
        let (first, rest) = word(line);
        let (second, after) = word(rest);
        let (options, kind, rest) = if is_kind(first) {
            ("", first, rest)
        } else if is_kind(second) {
            (first, second, after)
        } else {
            ("", &default.kind[..], line)
        };
        let (key, comment) = word(rest);
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let good = |it: char| it.is_ascii_alphanumeric() || "+/=".contains(it);
        let is_key = key.len() >= 16 && key.chars().all(good);
        is_key.then(|| Self {
            options: or(options, &default.options),
            kind: kind.to_owned(),
            text: key.to_owned(),
            comment: or(comment, &default.comment),
        })
    }

    fn line(&self) -> String {
        let words = [&self.options, &self.kind, &self.text, &self.comment];
        words.into_iter().filter(|it| !it.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// For people: kind, end of the key, comment.
    fn describe(&self) -> String {
        let end = &self.text.trim_end_matches('=')[self.text.trim_end_matches('=').len().saturating_sub(8)..];
        format!("{} ...{end} {}", self.kind, self.comment).trim_end().to_owned()
    }
}

impl Auth {
    fn wanted(&self, host: &dyn Probe) -> Result<Vec<Key>, Error> {
        let Some(hash) = self.source else { return Ok(self.keys.clone()) };
        let bytes = host.blob(hash).map_err(Error::host("read content", hash))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(|it| Key::parse(it, &self.default)).collect())
    }

    /// The new contents, and what was done to get there.
    fn edited(&self, now: &str, wanted: &[Key]) -> (String, Plan) {
        let mut plan = Plan::default();
        let mut lines: Vec<String> = Vec::new();
        let mut seen: Vec<&Key> = Vec::new();
        let none = Key { kind: "ssh-rsa".to_owned(), ..Key::default() };
        for line in now.lines() {
            let Some(is) = Key::parse(line, &none) else {
                lines.push(line.to_owned());
                continue;
            };
            let change = |from, to| Change { what: "key".to_owned(), from, to, diff: None };
            let matching = wanted.iter().find(|it| it.text == is.text);
            match (matching, self.way) {
                (Some(_), Way::Absent) | (None, Way::Only) => plan.push(change(Some(is.describe()), None)),
                (None, _) => lines.push(line.to_owned()),
                // The same key a second time.
                (Some(it), _) if seen.contains(&it) => plan.push(change(Some(is.describe()), None)),
                (Some(it), _) => {
                    seen.push(it);
                    if is == *it {
                        lines.push(line.to_owned());
                    } else {
                        lines.push(it.line());
                        plan.push(change(Some(is.line()), Some(it.line())));
                    }
                }
            }
        }
        for it in wanted.iter().filter(|it| self.way != Way::Absent && !seen.contains(it)) {
            // Given twice it is written once.
            if !lines.contains(&it.line()) {
                lines.push(it.line());
                plan.push(Change { what: "key".to_owned(), from: None, to: Some(it.describe()), diff: None });
            }
        }
        let text = lines.iter().fold(String::new(), |all, line| all + line + "\n");
        (text, plan)
    }

    fn file(&self, host: &dyn Probe) -> Result<Option<HomeFile>, Error> {
        if self.way == Way::Absent
            && host.user(&self.user).map_err(Error::host("look up user", &self.user))?.is_none()
        {
            return Ok(None);
        }
        HomeFile::of_user(host, &self.user, &self.config).map(Some)
    }
}

impl Resource for Auth {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let Some(file) = self.file(host)? else { return Ok(Plan::default()) };
        Ok(self.edited(&file.read(host)?, &self.wanted(host)?).1)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let Some(file) = self.file(host)? else { return Ok(Applied::default()) };
        let (text, _) = self.edited(&file.read(host)?, &self.wanted(host)?);
        file.write(host, &text)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_forms_are_understood() {
        let default = Key { kind: "ssh-rsa".to_owned(), comment: "me".to_owned(), ..Key::default() };
        let long = "AAAAB3NzaC1yc2EAAAADAQAB";
        for (line, wanted) in [
            (long.to_owned(), format!("ssh-rsa {long} me")),
            (format!("{long} her desk"), format!("ssh-rsa {long} her desk")),
            (format!("ssh-ed25519 {long}"), format!("ssh-ed25519 {long} me")),
            (
                format!("command=\"/bin/x \\\"a b\\\" c\",no-pty  ecdsa-sha2-nistp256 {long} x"),
                format!("command=\"/bin/x \\\"a b\\\" c\",no-pty ecdsa-sha2-nistp256 {long} x"),
            ),
            (format!("sk-ssh-ed25519@openssh.com {long}"), format!("sk-ssh-ed25519@openssh.com {long} me")),
        ] {
            assert_eq!(Key::parse(&line, &default).map(|it| it.line()), Some(wanted), "{line}");
        }
        for bad in ["", "# a comment that is long enough", "ssh-rsa", "ssh-rsa short", "not a key at all"] {
            assert_eq!(Key::parse(bad, &default), None, "{bad}");
        }
    }
}

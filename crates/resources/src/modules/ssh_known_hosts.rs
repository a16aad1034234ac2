//! `ssh_known_hosts`: keys of other hosts.

mod sha1;

use super::{
    base64,
    home_file::{HomeFile, check_path},
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Links, Query, query::ssh::Question},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{fmt::Write, path::Path};

pub(crate) const MODULE: Module = Module {
    name: "ssh_known_hosts",
    doc: Doc::new("Keys by which ssh recognizes other hosts."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "The key of a host is known: the given one, or the one that the host shows (`ssh-keyscan`), which must \
                  have the given fingerprint. With neither, whatever the host shows is taken when it is not known yet, \
                  and kept from then on.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "git.example.org:\n  ssh_known_hosts.present:\n    - user: ada\n    - fingerprint: \
                 SHA256:uNiVztksCsDhcc0u9e8BrNXPnmsF2xvaUj7XK0m3pkk\n    - enc: ed25519\n",
            ]),
            parse: parse_present,
        },
        Function {
            name: "absent",
            doc: Doc::new("A host is not known."),
            params: ABSENT,
            examples: Examples::new(&["old.example.org:\n  ssh_known_hosts.absent:\n    - user: ada\n"]),
            parse: parse_absent,
        },
    ],
};

/// For all users.
const SYSTEM: &str = "/etc/ssh/ssh_known_hosts";
const OF_USER: &str = ".ssh/known_hosts";
const TIMEOUT_S: u64 = 5;
const TIMEOUT_S_MAX: u64 = 300;

const NAME: Param = Param::name("The host, as ssh is told it.");
const USER: Param =
    Param::of("user", ParamType::Text, "all", "Who knows it: one user, or all by the file of the system.");
const CONFIG: Param = Param::of(
    "config",
    ParamType::Text,
    ".ssh/known_hosts",
    "The file, absolute or below the home folder; without a user `/etc/ssh/ssh_known_hosts`.",
);
const PRESENT: &[Param] = &[
    NAME,
    USER,
    Param::of(
        "key",
        ParamType::Text,
        "what the host shows",
        "The key: base64, perhaps with its kind in front.",
    ),
    Param::of(
        "fingerprint",
        ParamType::Text,
        "any",
        "The SHA-256 of the key, as ssh-keygen prints it (`SHA256:...`) or in hexadecimal.",
    ),
    Param::of(
        "fingerprint_hash_type",
        ParamType::Text,
        "sha256",
        "Only SHA-256; MD5 and SHA-1 can be forged.",
    ),
    Param::of("enc", ParamType::Text, "all", "The kind of key: `ed25519`, `ecdsa`, `rsa`, or in full."),
    Param::of("port", ParamType::Integer, "22", "Where the host listens."),
    Param::of("hash_known_hosts", ParamType::Bool, "true", "Hides the host's name in the file."),
    Param::of("timeout", ParamType::Duration, "5", "How long the host may take to show its key."),
    CONFIG,
];
const ABSENT: &[Param] =
    &[NAME, USER, Param::of("port", ParamType::Integer, "22", "Where the host listens."), CONFIG];

#[derive(Debug)]
struct Known {
    name: String,
    port: u16,
    user: Option<String>,
    config: Option<String>,
}

#[derive(Debug)]
struct Present {
    known: Known,
    key: Option<(String, String)>,
    fingerprint: Option<String>,
    kind: Option<String>,
    hashed: bool,
    timeout_s: u64,
}

#[derive(Debug)]
struct Absent(Known);

fn known(args: &Args<'_>) -> Result<Known, ParamsError> {
    let name = args.name();
    plain_word("name", &name)?;
    if name.contains([',', '|', '*', '?', '!', '"', '#']) || name.starts_with('@') {
        return Err(invalid("name", format!("`{name}` is no name or address of a host")));
    }
    let port = args.number("port").unwrap_or(22);
    let port = u16::try_from(port).ok().filter(|it| *it > 0);
    let user = args.text("user").filter(|it| !it.is_empty());
    user.iter().try_for_each(|it| super::group::account_name("user", it))?;
    let config = args.text("config").filter(|it| !it.is_empty());
    if let Some(config) = &config {
        check_path("config", config)?;
        if user.is_none() && !config.starts_with('/') {
            return Err(invalid("config", format!("without a user, `{config}` must be an absolute path")));
        }
    }
    Ok(Known { name, port: port.ok_or_else(|| invalid("port", "`port` is from 1 to 65535"))?, user, config })
}

fn parse_present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("ssh_known_hosts.present", PRESENT, params)?;
    let known = known(&args)?;
    let kind = args.text("enc").filter(|it| !it.is_empty()).map(|it| long_kind(&it));
    kind.iter().try_for_each(|it| plain_word("enc", it))?;
    let written = args.text("key").filter(|it| !it.is_empty());
    let key = match written {
        None => None,
        Some(text) => Some(key(&text, kind.as_deref())?),
    };
    let hash_type = args.text("fingerprint_hash_type").unwrap_or_else(|| "sha256".to_owned());
    let fingerprint = args.text("fingerprint").filter(|it| !it.is_empty());
    if fingerprint.is_some() && hash_type != "sha256" {
        let text =
            format!("fingerprints are SHA-256 here, not `{hash_type}`: `ssh-keygen -lf FILE` prints it");
        return Err(invalid("fingerprint_hash_type", text));
    }
    let fingerprint = match fingerprint {
        None => None,
        Some(text) => Some(plain_fingerprint(&text).ok_or_else(|| {
            invalid("fingerprint", format!("`{text}` is no SHA-256: `SHA256:` and base64, or 64 digits"))
        })?),
    };
    if let (Some((_, key)), Some(wanted)) = (&key, &fingerprint)
        && fingerprint_of(key).as_ref() != Some(wanted)
    {
        return Err(invalid("fingerprint", "`key` has another fingerprint than `fingerprint` says"));
    }
    Ok(Box::new(Present {
        known,
        key,
        fingerprint,
        kind,
        hashed: args.bool("hash_known_hosts", true),
        timeout_s: args
            .duration_ms("timeout")
            .map_or(TIMEOUT_S, |it| it.div_ceil(1000))
            .clamp(1, TIMEOUT_S_MAX),
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("ssh_known_hosts.absent", ABSENT, params)?;
    Ok(Box::new(Absent(known(&args)?)))
}

fn long_kind(kind: &str) -> String {
    match kind {
        "rsa" => "ssh-rsa",
        "dsa" | "dss" => "ssh-dss",
        "ed25519" => "ssh-ed25519",
        "ecdsa" => "ecdsa-sha2-nistp256",
        other => other,
    }
    .to_owned()
}

/// Kind and base64 of a key.
fn key(text: &str, kind: Option<&str>) -> Result<(String, String), ParamsError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (written, key) = match words[..] {
        [key] => (None, key),
        [kind, key, ..] if kind.contains('-') => (Some(kind), key),
        _ => return Err(invalid("key", "`key` must be base64, perhaps with its kind in front")),
    };
    // The key says itself of which kind it is: a length of four bytes, then the name.
    let own = base64::decode(key).and_then(|bytes| {
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        String::from_utf8(bytes.get(4..4 + length)?.to_vec()).ok()
    });
    match own.or_else(|| written.or(kind).map(str::to_owned)) {
        Some(kind) if base64::decode(key).is_some() => Ok((kind, key.to_owned())),
        _ => Err(invalid("key", "`key` is no key: base64, perhaps with its kind in front")),
    }
}

/// The SHA-256 of a key in hexadecimal.
fn fingerprint_of(key: &str) -> Option<String> {
    base64::decode(key).map(|it| hex(&Sha256::digest(it)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, it| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{it:02x}");
        text
    })
}

/// As 64 digits, however it was written.
fn plain_fingerprint(text: &str) -> Option<String> {
    if let Some(base) = text.strip_prefix("SHA256:") {
        return base64::decode(base).filter(|it| it.len() == 32).map(|it| hex(&it));
    }
    let digits = text.replace(':', "").to_ascii_lowercase();
    (digits.len() == 64 && digits.bytes().all(|it| it.is_ascii_hexdigit())).then_some(digits)
}

impl Known {
    /// As it stands in the file.
    fn pattern(&self) -> String {
        if self.port == 22 { self.name.clone() } else { format!("[{}]:{}", self.name, self.port) }
    }

    fn file(&self, host: &dyn Probe) -> Result<HomeFile, Error> {
        match (&self.user, &self.config) {
            (Some(user), config) => HomeFile::of_user(host, user, config.as_deref().unwrap_or(OF_USER)),
            (None, config) => Ok(HomeFile::of_system(Path::new(config.as_deref().unwrap_or(SYSTEM)))),
        }
    }

    /// Whether the line is about it; its kind and key then.
    fn entry<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str)> {
        let mut words = line.split_whitespace();
        let names = words.next().filter(|it| !it.starts_with(['#', '@']))?;
        let pattern = self.pattern();
        let is_it = names.split(',').any(|it| it == pattern || is_hash_of(it, &pattern));
        let (kind, key) = (words.next()?, words.next()?);
        is_it.then_some((kind, key))
    }

    /// The file without the lines about it; of one that names several, only the name goes.
    fn without(&self, text: &str) -> String {
        let pattern = self.pattern();
        let mut rest = String::new();
        for line in text.lines() {
            if self.entry(line).is_none() {
                rest = rest + line + "\n";
                continue;
            }
            let (names, key) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let others: Vec<&str> =
                names.split(',').filter(|it| *it != pattern && !is_hash_of(it, &pattern)).collect();
            if !others.is_empty() {
                rest = rest + &others.join(",") + " " + key.trim_start() + "\n";
            }
        }
        rest
    }
}

/// `|1|salt|code`: the code of the name under the salt.
fn is_hash_of(word: &str, pattern: &str) -> bool {
    let Some((salt, code)) = word.strip_prefix("|1|").and_then(|it| it.split_once('|')) else { return false };
    let (Some(salt), Some(code)) = (base64::decode(salt), base64::decode(code)) else { return false };
    salt.len() <= 64 && sha1::hmac(&salt, pattern.as_bytes())[..] == code[..]
}

impl Present {
    /// The keys that the file has, as kind and key.
    fn stored<'a>(&self, text: &'a str) -> Vec<(&'a str, &'a str)> {
        text.lines().filter_map(|it| self.known.entry(it)).collect()
    }

    fn is_good(&self, stored: &[(&str, &str)]) -> bool {
        let of_kind = |it: &&(&str, &str)| self.kind.as_deref().is_none_or(|kind| kind == it.0);
        match (&self.key, &self.fingerprint) {
            // Another key of the same kind would be believed, too.
            (Some((kind, key)), _) => {
                stored.iter().any(|it| it.1 == key) && !stored.iter().any(|it| it.0 == kind && it.1 != key)
            }
            (None, Some(wanted)) => {
                let mut all = stored.iter().filter(of_kind).peekable();
                all.peek().is_some() && all.any(|it| fingerprint_of(it.1).as_ref() == Some(wanted))
            }
            (None, None) => stored.iter().any(|it| of_kind(&it)),
        }
    }

    /// What the host shows, as far as it may be believed.
    fn scanned(&self, host: &dyn Probe) -> Result<Vec<(String, String)>, Error> {
        if let Some(key) = &self.key {
            return Ok(vec![key.clone()]);
        }
        let name = &self.known.name;
        let question = Question::Scan {
            host: name.clone(),
            port: self.known.port,
            kind: self.kind.clone(),
            timeout_s: self.timeout_s,
        };
        let said = host.query(&Query::Ssh(question)).map_err(Error::host("ask for the key of", name))?;
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [first, kind, key] if !first.starts_with('#') => Some((kind.to_owned(), key.to_owned())),
                _ => None,
            }
        };
        let all: Vec<(String, String)> = said.stdout.lines().filter_map(line).collect();
        if all.is_empty() {
            let said = said.stderr.trim();
            let text = format!("`{name}` shows no key within {} s: {said}", self.timeout_s);
            return Err(Error::Refused(text));
        }
        let Some(wanted) = &self.fingerprint else { return Ok(all) };
        let is_it = |it: &(String, String)| fingerprint_of(&it.1).as_ref() == Some(wanted);
        let seen: Vec<String> = all.iter().filter_map(|it| fingerprint_of(&it.1)).collect();
        let good: Vec<(String, String)> = all.into_iter().filter(is_it).collect();
        if good.is_empty() {
            let text = format!("`{name}` shows other keys than the wanted one: SHA-256 {}", seen.join(", "));
            return Err(Error::Refused(text));
        }
        Ok(good)
    }

    /// The host's name as it is written: hidden with a salt that is the machine's own.
    fn written_name(&self, host: &dyn Probe, key: &str) -> Result<String, Error> {
        let pattern = self.known.pattern();
        if !self.hashed {
            return Ok(pattern);
        }
        let path = Path::new("/etc/machine-id");
        let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
        let id = match found {
            Some(_) => host.read(path).map_err(Error::host("read", path.display()))?,
            None => Vec::new(),
        };
        let seed = [b"labctl known host salt\n", &id[..], pattern.as_bytes(), key.as_bytes()].concat();
        let salt = &Sha256::digest(seed)[..20];
        let code = sha1::hmac(salt, pattern.as_bytes());
        Ok(format!("|1|{}|{}", base64::encode(salt), base64::encode(&code)))
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let text = self.known.file(host)?.read(host)?;
        let stored = self.stored(&text);
        let mut plan = Plan::default();
        if !self.is_good(&stored) {
            let kinds: Vec<&str> = stored.iter().map(|it| it.0).collect();
            let from = (!kinds.is_empty()).then(|| format!("another key ({})", kinds.join(", ")));
            let to = match (&self.key, &self.fingerprint) {
                (Some((kind, _)), _) => format!("the given {kind}"),
                (None, Some(it)) => format!("SHA-256 {it}"),
                (None, None) => "what it shows".to_owned(),
            };
            plan.push(Change { what: self.known.pattern(), from, to: Some(to), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let file = self.known.file(host)?;
        let keys = self.scanned(host)?;
        let mut text = self.known.without(&file.read(host)?);
        for (kind, key) in &keys {
            writeln!(text, "{} {kind} {key}", self.written_name(host, key)?)
                .map_err(|error| Error::Refused(error.to_string()))?;
        }
        file.write(host, &text)?;
        Ok(Applied::default())
    }
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        if let Some(user) = &self.0.user
            && host.user(user).map_err(Error::host("look up user", user))?.is_none()
        {
            return Ok(Plan::default());
        }
        let text = self.0.file(host)?.read(host)?;
        let mut plan = Plan::default();
        let kinds: Vec<&str> = text.lines().filter_map(|it| self.0.entry(it)).map(|it| it.0).collect();
        if !kinds.is_empty() {
            plan.push(Change { what: self.0.pattern(), from: Some(kinds.join(", ")), to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let file = self.0.file(host)?;
        let text = self.0.without(&file.read(host)?);
        file.write(host, &text)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hashed by OpenSSH 9.2 (`ssh-keygen -H`).
    #[test]
    fn hidden_names_are_recognized() {
        let line = include_str!("ssh_known_hosts/hashed.txt").lines().next().unwrap();
        let known = |name: &str, port| Known { name: name.to_owned(), port, user: None, config: None };
        assert!(known("git.example.org", 22).entry(line).is_some());
        assert!(known("git.example.net", 22).entry(line).is_none());
        assert!(known("git.example.org", 2222).entry(line).is_none());
    }

    #[test]
    fn fingerprints_have_two_forms() {
        let line = include_str!("ssh_known_hosts/hashed.txt").lines().next().unwrap();
        let fingerprint = include_str!("ssh_known_hosts/hashed.txt").lines().nth(1).unwrap();
        let key = line.split(' ').nth(2).unwrap();
        assert_eq!(plain_fingerprint(fingerprint), fingerprint_of(key));
        let digits = fingerprint_of(key).unwrap();
        assert_eq!(plain_fingerprint(&digits.to_uppercase()), Some(digits));
        assert_eq!(plain_fingerprint("aa:bb"), None);
    }

    #[test]
    fn of_a_line_with_several_names_only_one_goes() {
        let known = Known { name: "a".to_owned(), port: 22, user: None, config: None };
        let text = "# a comment\na,b ssh-rsa AAAA x\na ssh-rsa BBBB\nc ssh-rsa CCCC\n";
        assert_eq!(known.without(text), "# a comment\nb ssh-rsa AAAA x\nc ssh-rsa CCCC\n");
    }
}

//! What two hosts are like, where they differ, and which differences are expected.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
};
use tests::hosts::Host;

/// Longest content that is shown.
const SHOWN_MAX: usize = 1500;

/// Accounts without the dates of passwords, packages, crontabs, units: a line `key<TAB>value` each.
const ALWAYS: &str = r#"
awk -F: '{ print "user " $1 "\t" $0 }' /etc/passwd
awk -F: '{ print "group " $1 "\t" $0 }' /etc/group
awk -F: '{ $3 = ""; print "shadow " $1 "\t" $0 }' /etc/shadow
awk -F: '{ print "gshadow " $1 "\t" $0 }' /etc/gshadow
dpkg-query -W -f='package ${Package}\t${db:Status-Abbrev} ${Version}\n'
for file in /var/spool/cron/crontabs/*; do
    [ -f "$file" ] && sed "/^# DO NOT EDIT/d; /^# (.* installed on /d; /^# (Cron version /d; s|^|crontab ${file##*/}\t|" "$file"
done
systemctl list-unit-files --no-legend --plain | awk '{ print "unit file " $1 "\t" $2 }'
systemctl list-units --all --no-legend --plain --type=service,timer,socket,mount,swap,automount,path \
    | awk '$1 !~ /^(run-user|user@|user-runtime|systemd-|opt-|srv-repo)/ { print "unit " $1 "\t" $2 " " $3 " " $4 }'
true
"#;

/// What a host is like: each path, account, package, crontab and unit, with all there is to say about it.
#[derive(Debug)]
pub(super) struct Look(BTreeMap<String, String>);

impl Look {
    /// Looks at a host; `observe` is a script that says more, a line each.
    pub(super) fn at(host: &Host, observe: &str) -> Self {
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for line in host.sh(ALWAYS).lines() {
            let (key, value) = line.split_once('\t').unwrap_or((line, ""));
            let known = keys.entry(key.to_owned()).or_default();
            let value = if key.starts_with("group ") || key.starts_with("gshadow ") {
                in_order(value)
            } else {
                value.to_owned()
            };
            writeln!(known, "{value}").unwrap();
        }
        if !observe.is_empty() {
            keys.insert("observed".to_owned(), host.sh(observe));
        }
        let root = host.root();
        walk(&root, &root, &mut keys);
        Self(keys)
    }
    /// Notes what differs from another one.
    pub(super) fn differ(&self, other: &Self, findings: &mut Findings) {
        for key in self.0.keys().chain(other.0.keys()).collect::<BTreeSet<_>>() {
            let [left, right] = [&self.0, &other.0].map(|it| it.get(key).map_or("-", String::as_str));
            if left != right {
                findings.note(key.clone(), format!("Salt: {}\n  labctl: {}", left.trim(), right.trim()));
            }
        }
    }
}

/// A group's line with its members in order: they are a set.
fn in_order(line: &str) -> String {
    let Some((start, members)) = line.rsplit_once(':') else { return line.to_owned() };
    let members: BTreeSet<&str> = members.split(',').collect();
    format!("{start}:{}", members.into_iter().collect::<Vec<_>>().join(","))
}

fn walk(root: &Path, folder: &Path, keys: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = format!("/{}", path.strip_prefix(root).expect("it is below").display());
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if NEVER.contains(&name.as_str()) {
            continue;
        }
        keys.insert(format!("path {name}"), describe(&path, &meta));
        if meta.is_dir() {
            walk(root, &path, keys);
        }
    }
}

/// Other file systems.
const NEVER: &[&str] = &["/dev", "/opt", "/proc", "/run", "/srv/repo", "/sys"];

fn describe(path: &Path, meta: &fs::Metadata) -> String {
    let owner = format!("{:04o} {}:{}", meta.permissions().mode() & 0o7777, meta.uid(), meta.gid());
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target =
            fs::read_link(path).map_or_else(|error| error.to_string(), |it| it.display().to_string());
        return format!("link {}:{} -> {target}", meta.uid(), meta.gid());
    }
    if kind.is_dir() {
        return format!("folder {owner}");
    }
    if !kind.is_file() {
        let kind = if kind.is_fifo() { "pipe" } else { "special" };
        return format!("{kind} {owner} {:x}", meta.rdev());
    }
    let bytes = fs::read(path).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) if text.len() <= SHOWN_MAX => format!("file {owner} {text:?}"),
        Ok(text) => format!("file {owner} {} bytes, {}", text.len(), hash(text.as_bytes())),
        Err(error) => format!("file {owner} {}", hash(error.as_bytes())),
    }
}

fn hash(bytes: &[u8]) -> model::ContentHash {
    model::ContentHash(Sha256::digest(bytes).into())
}

/// What was found to differ.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<String, String>);

impl Findings {
    /// One more.
    pub(super) fn note(&mut self, key: String, text: String) {
        self.0.insert(key, text);
    }
    /// Nothing was written between two fingerprints.
    pub(super) fn same(&mut self, what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        for line in before.symmetric_difference(after) {
            let path = line.split(" (").next().unwrap_or(line);
            self.note(format!("{what} /{path}"), line.clone());
        }
    }
}

/// `differences.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    /// Never compared.
    ignored: Vec<Ignored>,
    /// Compared, and must differ.
    expected: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    /// With `*` for any text.
    key: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    group: String,
    /// With `*` for any text.
    key: String,
    reason: String,
}

impl Allowed {
    /// From the file.
    pub(super) fn load(path: &Path) -> Self {
        super::yaml(path)
    }
    /// Each has a reason and a group that exists.
    pub(super) fn check(&self, groups: &[&str]) {
        let reasons = self.ignored.iter().map(|it| &it.reason);
        let reasons = reasons.chain(self.expected.iter().map(|it| &it.reason));
        assert!(reasons.into_iter().all(|it| it.contains(' ')), "every entry has its reason");
        for expected in &self.expected {
            let group = expected.group.as_str();
            assert!(
                ["fixture", "grains"].contains(&group) || groups.contains(&group),
                "there is no group {group}"
            );
        }
    }
    /// What may not differ, and what should have.
    pub(super) fn judge(&self, group: &str, findings: &Findings) -> Vec<String> {
        let expected: Vec<&Expected> = self.expected.iter().filter(|it| it.group == group).collect();
        let mut left = Vec::new();
        for (key, text) in &findings.0 {
            let ignored = self.ignored.iter().any(|it| matches(&it.key, key));
            if !ignored && !expected.iter().any(|it| matches(&it.key, key)) {
                left.push(format!("{key}\n  {text}"));
            }
        }
        for it in expected.iter().filter(|it| !findings.0.keys().any(|key| matches(&it.key, key))) {
            left.push(format!("{}: no longer differs, though it should ({})", it.key, it.reason));
        }
        left
    }
}

/// Whether a text is a pattern's, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
}

#[test]
fn a_star_stands_for_any_text() {
    assert!(matches("path /var/*", "path /var/log/x") && matches("a*c*", "abc") && matches("*", ""));
    assert!(!matches("path /var/*", "path /srv/x") && !matches("a", "ab") && !matches("a*b", "a"));
}

//! Grains of the system: os-release, kernel, init, and what of it trees ask for.

use super::Sources;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sysinfo::System;

/// The Salt whose states and templates are understood.
const SALT: [u32; 2] = [3008, 3];

/// Largest of the small files read here.
const FILE_MAX: usize = 64 << 10;

pub(super) fn collect(sources: &Sources, put: &mut impl FnMut(&str, Value)) {
    let root = sources.root.as_path();
    release(root, put);
    put("id", json!(sources.id.as_str()));
    put("kernel", json!("Linux"));
    put("kernelrelease", json!(System::kernel_version().unwrap_or_default()));
    put("kernelversion", json!(small(Path::new("/proc/sys/kernel/version")).trim()));
    put("cpuarch", json!(System::cpu_arch()));
    put("osarch", json!(debian_arch(&System::cpu_arch())));
    put("machine_id", json!(small(&root.join("etc/machine-id")).trim()));
    put("init", json!(init()));
    put("systemd", systemd(root));
    put("pythonversion", python(root));
    put("server_id", json!(server_id(sources.id.as_str())));
    put("kernelparams", kernel_parameters(&small(Path::new("/proc/cmdline"))));
    account(root, put);
    put("path", json!(std::env::var("PATH").unwrap_or_default()));
    put("shell", json!("/bin/sh"));
    put("ps", json!("ps -efHww"));
    put("efi", json!(Path::new("/sys/firmware/efi").is_dir()));
    // What trees ask before they use something newer: that of which the language here is a part.
    put("saltversion", json!(SALT.map(|it| it.to_string()).join(".")));
    put("saltversioninfo", json!(SALT));
}

/// A number of its own for each minion, as database servers want one.
fn server_id(id: &str) -> u32 {
    let hash = Sha256::digest(id.as_bytes());
    let end: [u8; 4] = hash[28..].try_into().expect("the hash has 32 bytes");
    u32::from_be_bytes(end) & 0x7fff_ffff
}

/// Name and value of each, of `/proc/cmdline`.
fn kernel_parameters(text: &str) -> Value {
    let pair = |word: &str| match word.split_once('=') {
        Some((name, value)) => json!([name, value]),
        None => json!([word, null]),
    };
    text.split_whitespace().map(pair).collect()
}

/// Whom the minion runs as.
fn account(root: &Path, put: &mut impl FnMut(&str, Value)) {
    let status = small(Path::new("/proc/self/status"));
    for (number, name, field, list) in
        [("uid", "username", "Uid:", "etc/passwd"), ("gid", "groupname", "Gid:", "etc/group")]
    {
        let ids = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let Some(id) = ids.split_whitespace().nth(1) else { continue };
        put(number, id.parse::<u32>().map_or(Value::Null, |it| json!(it)));
        let list = small(&root.join(list));
        let mut lines = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
        put(name, json!(lines.find(|it| it.get(2) == Some(&id)).map_or("", |it| it[0])));
    }
}

/// The version from the name of systemd's own library; there is none without systemd.
fn systemd(root: &Path) -> Value {
    let arch = format!("usr/lib/{}-linux-gnu/systemd", System::cpu_arch());
    let found = ["usr/lib/systemd", "usr/lib64/systemd", "lib/systemd", &arch].iter().find_map(|folder| {
        let mut names = std::fs::read_dir(root.join(folder)).ok()?.flatten().map(|it| it.file_name());
        names.find_map(|name| {
            let name = name.to_str()?.strip_prefix("libsystemd-shared-")?.strip_suffix(".so")?;
            Some(name.split(['.', '-', '~']).next().unwrap_or(name).to_owned())
        })
    });
    found.map_or(Value::Null, |version| json!({ "version": version, "features": "" }))
}

/// The newest Python 3 of the machine.
fn python(root: &Path) -> Value {
    let names = std::fs::read_dir(root.join("usr/bin")).into_iter().flatten().flatten();
    let minors =
        names.filter_map(|it| it.file_name().to_str()?.strip_prefix("python3.")?.parse::<u32>().ok());
    minors.max().map_or(Value::Null, |minor| json!([3, minor, 0, "final", 0]))
}

pub(super) fn small(path: &Path) -> String {
    let mut text = std::fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.floor_char_boundary(FILE_MAX));
    text
}

fn release(root: &Path, put: &mut impl FnMut(&str, Value)) {
    // A sandbox that brings no os-release of its own is of the machine's own kind.
    let places =
        [root.join("etc/os-release"), root.join("usr/lib/os-release"), PathBuf::from("/etc/os-release")];
    let text = places.iter().map(|path| small(path)).find(|it| !it.is_empty()).unwrap_or_default();
    let fields: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, it)| (key, unquoted(it))).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let like: Vec<&str> = std::iter::once(field("ID")).chain(field("ID_LIKE").split(' ')).collect();
    let version = field("VERSION_ID");
    let name = match (field("NAME"), field("VERSION")) {
        ("openSUSE Leap", _) => "Leap",
        (_, "Tumbleweed") | ("openSUSE Tumbleweed", _) => "Tumbleweed",
        (name, _) => name,
    };
    // A release that never has a number has one name.
    let version = if version.is_empty() { field("BUILD_ID") } else { version };
    let codename = match field("VERSION_CODENAME") {
        "" if version == "rolling" => version,
        codename => codename,
    };
    let os = os_name(field("ID"), field("NAME"));
    put("osfinger", json!(finger(&os, name, version)));
    put("os", json!(os));
    put("os_family", json!(family(&like, field("NAME"))));
    put("osfullname", json!(name));
    for (ours, lsb, value) in [
        ("osrelease", "lsb_distrib_release", version),
        ("oscodename", "lsb_distrib_codename", codename),
        ("osfullname", "lsb_distrib_id", name),
    ] {
        put(ours, json!(value));
        put(lsb, json!(value));
    }
    let parts = version.split('.').filter(|it| !it.is_empty());
    let parts: Vec<Value> =
        parts.map(|it| it.parse::<u64>().map_or_else(|_| json!(it), |it| json!(it))).collect();
    put("osmajorrelease", parts.first().filter(|it| it.is_u64()).cloned().unwrap_or_default());
    put("osrelease_info", json!(parts));
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote).and_then(|it| it.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// Salt's short name: the distribution's own without `Linux`, if there is no older one.
fn os_name(id: &str, name: &str) -> String {
    if id.starts_with("opensuse") || ["sles", "sled"].contains(&id) {
        return "SUSE".to_owned();
    }
    let lower = name.to_ascii_lowercase();
    let short = [" gnu/linux", " linux"].iter().find_map(|it| Some((lower.find(it)?, it.len())));
    let name = short.map_or_else(
        || name.trim().to_owned(),
        |(at, len)| format!("{}{}", &name[..at], &name[at + len..]).trim().to_owned(),
    );
    let known = [
        ("Red Hat Enterprise", "RedHat"),
        ("Oracle Server", "OEL"),
        ("Linux Mint", "Mint"),
        ("Pop!_OS", "Pop"),
        ("Scientific", "ScientificLinux"),
        ("neon", "KDE neon"),
        ("void", "Void"),
        ("arch", "Arch"),
    ];
    known.iter().find(|(long, _)| *long == name).map_or(name, |(_, os)| (*os).to_owned())
}

fn family(like: &[&str], name: &str) -> String {
    let families = [
        ("debian", "Debian"),
        ("ubuntu", "Debian"),
        ("rhel", "RedHat"),
        ("fedora", "RedHat"),
        ("centos", "RedHat"),
        ("amzn", "RedHat"),
        ("alpine", "Alpine"),
        ("arch", "Arch"),
        ("archarm", "Arch"),
        ("suse", "Suse"),
        ("opensuse", "Suse"),
        ("sles", "Suse"),
        ("gentoo", "Gentoo"),
    ];
    let found = like.iter().find_map(|id| families.iter().find(|(known, _)| known == id));
    found.map_or_else(|| name.split(' ').next().unwrap_or_default().to_owned(), |(_, it)| (*it).to_owned())
}

/// Which of a release's names a distribution is told apart by.
fn finger(os: &str, full_name: &str, version: &str) -> String {
    const SHORT: [&str; 3] = ["Debian", "Raspbian", "AlmaLinux"];
    const WHOLE: [&str; 3] = ["Ubuntu", "Pop", "NixOS"];
    let name = if SHORT.contains(&os) { os } else { full_name };
    let major = version.split('.').next().unwrap_or_default();
    let version = if WHOLE.contains(&os) { version } else { major };
    if version.is_empty() { String::new() } else { format!("{name}-{version}") }
}

fn debian_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn init() -> String {
    if Path::new("/run/systemd/system").is_dir() {
        return "systemd".to_owned();
    }
    small(Path::new("/proc/1/comm")).trim().to_owned()
}

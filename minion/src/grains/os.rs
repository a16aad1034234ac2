//! Grains that the machine itself shows: os-release, kernel, processors, memory, network, virtualization.

use super::Sources;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sysinfo::{MemoryRefreshKind, Networks, RefreshKind, System};

/// Largest of the small files read here.
const FILE_MAX: usize = 64 << 10;

pub(super) fn collect(sources: &Sources, grains: &mut BTreeMap<String, Value>) {
    let root = sources.root.as_path();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value != "" {
            grains.insert(name.to_owned(), value);
        }
    };
    release(root, &mut put);
    let host = System::host_name().unwrap_or_default();
    put("id", json!(sources.id.as_str()));
    put("host", json!(host.split('.').next().unwrap_or_default()));
    put("fqdn", json!(fqdn(root, &host)));
    put("kernel", json!("Linux"));
    put("kernelrelease", json!(System::kernel_version().unwrap_or_default()));
    put("cpuarch", json!(System::cpu_arch()));
    put("osarch", json!(debian_arch(&System::cpu_arch())));
    put("num_cpus", json!(std::thread::available_parallelism().map_or(1, usize::from)));
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    put("mem_total", json!(System::new_with_specifics(memory).map_or(0, |it| it.total_memory() >> 20)));
    put("machine_id", json!(small(&root.join("etc/machine-id")).trim()));
    put("init", json!(init()));
    let (kind, subtype) = virtualization();
    put("virtual", json!(kind));
    put("virtual_subtype", json!(subtype));
    put("manufacturer", json!(small(Path::new("/sys/class/dmi/id/sys_vendor")).trim()));
    put("productname", json!(small(Path::new("/sys/class/dmi/id/product_name")).trim()));
    network(&mut put);
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
    put("os", json!(os_name(field("ID"), field("NAME"))));
    put("os_family", json!(family(&like, field("NAME"))));
    put("osrelease", json!(version));
    put("osfullname", json!(field("NAME")));
    put("oscodename", json!(field("VERSION_CODENAME")));
    let major = version.split('.').next().and_then(|it| it.parse::<u64>().ok());
    put("osmajorrelease", major.map_or(Value::Null, |it| json!(it)));
    let finger = if version.is_empty() { String::new() } else { format!("{}-{version}", field("ID")) };
    put("osfinger", json!(finger));
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote).and_then(|it| it.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn os_name(id: &str, name: &str) -> String {
    let known = [
        ("debian", "Debian"),
        ("ubuntu", "Ubuntu"),
        ("raspbian", "Raspbian"),
        ("alpine", "Alpine"),
        ("arch", "Arch"),
        ("fedora", "Fedora"),
        ("centos", "CentOS Stream"),
        ("rhel", "RedHat"),
        ("rocky", "Rocky"),
        ("almalinux", "AlmaLinux"),
        ("opensuse-leap", "Leap"),
        ("nixos", "NixOS"),
    ];
    let found = known.iter().find(|(known, _)| *known == id).map(|(_, name)| (*name).to_owned());
    found.unwrap_or_else(|| name.split(' ').next().unwrap_or_default().to_owned())
}

fn family(like: &[&str], name: &str) -> String {
    let families = [
        ("debian", "Debian"),
        ("ubuntu", "Debian"),
        ("rhel", "RedHat"),
        ("fedora", "RedHat"),
        ("centos", "RedHat"),
        ("alpine", "Alpine"),
        ("arch", "Arch"),
        ("suse", "Suse"),
        ("opensuse", "Suse"),
        ("gentoo", "Gentoo"),
    ];
    let found = like.iter().find_map(|id| families.iter().find(|(known, _)| known == id));
    found.map_or_else(|| name.split(' ').next().unwrap_or_default().to_owned(), |(_, it)| (*it).to_owned())
}

fn debian_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The host name with its domain, from `/etc/hosts` (no name server is asked).
fn fqdn(root: &Path, host: &str) -> String {
    if host.contains('.') {
        return host.to_owned();
    }
    let prefix = format!("{host}.");
    let hosts = small(&root.join("etc/hosts"));
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.flat_map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    names.find(|name| name.starts_with(&prefix)).unwrap_or(host).to_owned()
}

fn init() -> String {
    if Path::new("/run/systemd/system").is_dir() {
        return "systemd".to_owned();
    }
    small(Path::new("/proc/1/comm")).trim().to_owned()
}

/// `physical`, `kvm`, `container`, ... and for containers which kind.
fn virtualization() -> (String, String) {
    let container = small(Path::new("/run/systemd/container")).trim().to_owned();
    if !container.is_empty() {
        return ("container".to_owned(), container);
    }
    if Path::new("/.dockerenv").exists() {
        return ("container".to_owned(), "docker".to_owned());
    }
    let dmi = format!(
        "{} {}",
        small(Path::new("/sys/class/dmi/id/sys_vendor")),
        small(Path::new("/sys/class/dmi/id/product_name"))
    );
    let known = [
        ("KVM", "kvm"),
        ("QEMU", "kvm"),
        ("VMware", "VMware"),
        ("VirtualBox", "VirtualBox"),
        ("Xen", "xen"),
        ("Virtual Machine", "HyperV"),
        ("Amazon EC2", "kvm"),
        ("Google", "gce"),
    ];
    if let Some((_, kind)) = known.iter().find(|(mark, _)| dmi.contains(mark)) {
        return ((*kind).to_owned(), String::new());
    }
    let hypervisor = small(Path::new("/proc/cpuinfo")).contains(" hypervisor");
    (if hypervisor { "virtual" } else { "physical" }.to_owned(), String::new())
}

fn network(put: &mut impl FnMut(&str, Value)) {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return };
    let mut sorted: Vec<_> = networks.iter().collect();
    sorted.sort_by_key(|(name, _)| (*name).clone());
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let (mut interfaces, mut hardware) = (Map::new(), Map::new());
    for (name, network) in sorted {
        let name = name.to_string_lossy().into_owned();
        let mut here: Vec<String> = Vec::new();
        for address in network.ip_networks() {
            let text = address.addr.to_string();
            if address.addr.is_ipv4() {
                v4.push(text.clone());
            } else {
                v6.push(text.clone());
            }
            here.push(text);
        }
        here.sort();
        interfaces.insert(name.clone(), json!(here));
        hardware.insert(name.clone(), json!(network.mac_address().to_string()));
    }
    v4.sort();
    v6.sort();
    put("ipv4", json!(v4));
    put("ipv6", json!(v6));
    put("ip_interfaces", Value::Object(interfaces));
    put("hwaddr_interfaces", Value::Object(hardware));
}

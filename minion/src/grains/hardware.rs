//! Grains of the hardware, real or pretended: processors, memory, disks, firmware, virtualization.

use super::os::small;
use serde_json::{Value, json};
use std::path::Path;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Disks that are named.
const DISKS_MAX: usize = 64;

pub(super) fn collect(put: &mut impl FnMut(&str, Value)) {
    put("num_cpus", json!(std::thread::available_parallelism().map_or(1, usize::from)));
    let cpuinfo = small(Path::new("/proc/cpuinfo"));
    let of_cpu = |keys: &[&str]| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| keys.contains(&key.trim())).map_or("", |(_, value)| value.trim())
    };
    put("cpu_model", json!(of_cpu(&["model name", "Processor", "Model"])));
    put("cpu_flags", json!(of_cpu(&["flags", "Features"]).split_whitespace().collect::<Vec<_>>()));
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    if let Ok(memory) = System::new_with_specifics(memory) {
        put("mem_total", json!(memory.total_memory() >> 20));
        put("swap_total", json!(memory.total_swap() >> 20));
    }
    let (kind, subtype) = virtualization();
    put("virtual", json!(kind));
    put("virtual_subtype", json!(subtype));
    for (name, file) in [
        ("manufacturer", "sys_vendor"),
        ("productname", "product_name"),
        ("serialnumber", "product_serial"),
        ("uuid", "product_uuid"),
        ("boardname", "board_name"),
        ("biosvendor", "bios_vendor"),
        ("biosversion", "bios_version"),
        ("biosreleasedate", "bios_date"),
    ] {
        let text = small(&Path::new("/sys/class/dmi/id").join(file));
        let text = text.trim();
        put(name, if name == "uuid" { json!(text.to_lowercase()) } else { json!(text) });
    }
    let gpus = gpus();
    put("num_gpus", json!(gpus.len()));
    put("gpus", Value::Array(gpus));
    let (spinning, solid) = disks();
    put("disks", json!(spinning));
    put("ssds", json!(solid));
}

/// Display controllers on the PCI bus, by the names that Salt gives their makers.
fn gpus() -> Vec<Value> {
    const MAKERS: [(&str, &str); 7] = [
        ("0x10de", "nvidia"),
        ("0x1002", "amd"),
        ("0x8086", "intel"),
        ("0x1013", "cirrus logic"),
        ("0x15ad", "vmware"),
        ("0x102b", "matrox"),
        ("0x1a03", "aspeed"),
    ];
    let devices = std::fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    let of_device = |device: std::fs::DirEntry| {
        let text = |name: &str| small(&device.path().join(name)).trim().to_owned();
        let maker = text("vendor");
        let known = MAKERS.iter().find(|(id, _)| *id == maker).map_or("unknown", |(_, name)| *name);
        text("class").starts_with("0x03").then(|| json!({ "vendor": known, "model": text("device") }))
    };
    devices.filter_map(of_device).collect()
}

/// Those that turn and those that do not.
fn disks() -> (Vec<String>, Vec<String>) {
    let names = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().take(DISKS_MAX);
    let mut names: Vec<String> = names
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .filter(|it| !["loop", "ram", "zram"].iter().any(|kind| it.starts_with(kind)))
        .collect();
    names.sort();
    let turns =
        |name: &String| small(&Path::new("/sys/block").join(name).join("queue/rotational")).trim() != "0";
    names.into_iter().partition(turns)
}

/// `physical`, `kvm`, `container`, ... and for containers which kind.
fn virtualization() -> (String, String) {
    let container = small(Path::new("/run/systemd/container")).trim().to_owned();
    let of_kind = |kind: &str| ("container".to_owned(), kind.to_owned());
    match container.as_str() {
        "" => {}
        "systemd-nspawn" => return (container, String::new()),
        "lxc" => return of_kind("LXC"),
        "docker" => return of_kind("Docker"),
        "podman" => return of_kind("Podman"),
        other => return of_kind(other),
    }
    if Path::new("/.dockerenv").exists() {
        return of_kind("Docker");
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

//! Telemetry: a flat object of numbers, newest wins. Only what the kernel keeps in memory is read; no mount but `/`.

use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Instant;
use sysinfo::{Components, CpuRefreshKind, MemoryRefreshKind, Networks, RefreshKind, System};

/// File systems that may wait for another machine.
const NETWORK_TYPES: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "afs", "fuse.sshfs", "autofs"];

/// Bytes in all and bytes free of the file system at a path.
pub type Space = fn(&Path) -> Option<(u64, u64)>;

/// Takes samples; remembers the last one for what is counted.
#[derive(Debug)]
pub struct Sampler {
    system: Option<System>,
    networks: Option<Networks>,
    components: Option<Components>,
    space: Option<Space>,
    at: Instant,
}

impl Sampler {
    /// `space` answers for `/`, if that is not on the network.
    pub fn new(space: Space) -> Self {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self {
            system: System::new_with_specifics(kinds).ok(),
            networks: Networks::new_with_refreshed_list().ok(),
            components: Components::new_with_refreshed_list().ok(),
            space: root_is_local().then_some(space),
            at: Instant::now(),
        }
    }

    /// The newest numbers; rates are since the last call. What a machine does not have is left out.
    pub fn sample(&mut self) -> Map<String, Value> {
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        self.at = Instant::now();
        let mut sample = Map::new();
        let mut put = |name: &str, value: f64| {
            if value.is_finite() {
                sample.insert(name.to_owned(), json!((value * 10.0).round() / 10.0));
            }
        };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            put("cpu", f64::from(system.global_cpu_usage()));
            put("mem", percent(system.used_memory(), system.total_memory()));
        }
        if let Some((total, free)) = self.space.and_then(|space| space(Path::new("/"))) {
            put("disk", percent(total.saturating_sub(free), total));
        }
        if let Ok(load) = System::load_average() {
            put("load", load.one);
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
            let others = || networks.iter().filter(|(name, _)| name.as_encoded_bytes() != b"lo");
            let sum = |bytes: u64| float(bytes) / seconds;
            put("net_rx", sum(others().map(|(_, it)| it.received()).sum()).round());
            put("net_tx", sum(others().map(|(_, it)| it.transmitted()).sum()).round());
        }
        if let Some(components) = &mut self.components {
            components.refresh(false);
            let hottest =
                components.iter().filter_map(sysinfo::Component::temperature).fold(f32::NAN, f32::max);
            put("temp", f64::from(hottest));
        }
        put("uptime", float(System::uptime().unwrap_or_default()));
        sample
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    float(part) * 100.0 / float(whole)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}

fn root_is_local() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    !is_network(&mounts)
}

/// Whether the last mount at `/` is of a type that may wait for another machine.
fn is_network(mounts: &str) -> bool {
    let mut types = mounts.lines().rev().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        (fields.next()? == "/").then(|| fields.next()).flatten()
    });
    types.next().is_some_and(|kind| NETWORK_TYPES.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_flat_object_of_numbers() {
        let mut sampler = Sampler::new(|_| Some((100, 25)));
        let sample = sampler.sample();
        for name in ["cpu", "mem", "disk", "load", "uptime"] {
            assert!(sample.get(name).is_some_and(Value::is_number), "{name} in {sample:?}");
        }
        assert!(sample.values().all(Value::is_number), "{sample:?}");
        if sampler.space.is_some() {
            assert_eq!(sample["disk"], json!(75.0));
        }
    }

    #[test]
    fn a_root_on_the_network_is_not_asked() {
        let local = "/dev/sda1 / ext4 rw 0 0\nnas:/x /mnt nfs4 rw 0 0\n";
        let network = "rootfs / rootfs rw 0 0\nnas:/root / nfs rw 0 0\n";
        assert!(!is_network(local));
        assert!(is_network(network));
    }
}

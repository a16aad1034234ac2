//! How much memory is used.

use super::{Beacon, Gauged, Reading, Readings, Signal, part_of, unreadable};
use crate::senses::Senses;
use resources::beacons::Settings;

/// Where the kernel says it.
const PATH: &str = "/proc/meminfo";

struct Memory;

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made in one way")]
pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Gauged::boxed(settings, Memory))
}

impl Readings for Memory {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let [total, free] = bytes(senses, ["MemTotal", "MemAvailable"])?;
        Ok(vec![part_of("", Signal::new(), total.saturating_sub(free), free, total)])
    }
}

/// Some of the kernel's numbers, in bytes.
pub(super) fn bytes<const N: usize>(senses: &dyn Senses, names: [&str; N]) -> Result<[u64; N], String> {
    let text = senses.text(PATH).map_err(unreadable(PATH))?;
    let mut found = [0; N];
    for (place, name) in found.iter_mut().zip(names) {
        let number = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        let kib = text.lines().find_map(number).ok_or_else(|| format!("`{PATH}` does not say `{name}`"))?;
        *place = kib.saturating_mul(1024);
    }
    Ok(found)
}

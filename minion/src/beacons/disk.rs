//! How full file systems are.

use super::{Beacon, Gauged, Reading, Readings, Signal, file_systems, float, part_of, percent};
use crate::senses::Senses;
use resources::beacons::Settings;

struct Disks {
    paths: Vec<String>,
    of_free: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made in one way")]
pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let of_free = settings.text("measure").as_deref() == Some("free");
    Ok(Gauged::boxed(settings, Disks { paths: settings.texts("path"), of_free }))
}

impl Readings for Disks {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let mut readings = Vec::new();
        for path in file_systems(&self.paths, senses)? {
            let space = match senses.space(&path) {
                Ok(space) => space,
                // Only its owner may look, or it has to be mended: what was told of it is neither over nor gone.
                Err(_) if self.paths.is_empty() => {
                    readings.push(part_of(&path, Signal::new(), 0, 0, 0).unknown());
                    continue;
                }
                Err(error) => return Err(format!("cannot look at `{path}`: {error}")),
            };
            let fields = Signal::new().with("path", path.clone());
            let mut reading = part_of(&path, fields, space.used, space.free, space.total);
            if self.of_free {
                reading.percent = percent(space.free, space.used.saturating_add(space.free));
                reading.plain = float(space.free);
            }
            readings.push(reading);
        }
        Ok(readings)
    }
}

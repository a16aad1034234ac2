//! How many inodes of file systems are used.

use super::{Beacon, Gauged, Reading, Readings, Signal, file_systems, part_of};
use crate::senses::Senses;
use resources::beacons::Settings;

struct Inodes {
    paths: Vec<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made in one way")]
pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Gauged::boxed(settings, Inodes { paths: settings.texts("path") }))
}

impl Readings for Inodes {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let mut readings = Vec::new();
        for path in file_systems(&self.paths, senses)? {
            let space = match senses.space(&path) {
                Ok(space) => space,
                Err(_) if self.paths.is_empty() => {
                    readings.push(part_of(&path, Signal::new(), 0, 0, 0).unknown());
                    continue;
                }
                Err(error) => return Err(format!("cannot look at `{path}`: {error}")),
            };
            // Some file systems make inodes as they need them: none can run out.
            if space.inodes > 0 {
                let fields = Signal::new().with("path", path.clone());
                let used = space.inodes.saturating_sub(space.inodes_free);
                readings.push(part_of(&path, fields, used, space.inodes_free, space.inodes));
            }
        }
        Ok(readings)
    }
}

//! How much swap is used.

use super::{Beacon, Gauged, Reading, Readings, Signal, memory, part_of};
use crate::senses::Senses;
use resources::beacons::Settings;

struct Swap;

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made in one way")]
pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Gauged::boxed(settings, Swap))
}

impl Readings for Swap {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let [total, free] = memory::bytes(senses, ["SwapTotal", "SwapFree"])?;
        Ok(vec![part_of("", Signal::new(), total.saturating_sub(free), free, total)])
    }
}

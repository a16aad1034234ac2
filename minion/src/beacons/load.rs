//! How many threads run or wait, on average.

use super::{Beacon, Gauged, Reading, Readings, Signal, float, tenths, unreadable};
use crate::senses::Senses;
use resources::beacons::Settings;

/// Where the kernel says it.
const PATH: &str = "/proc/loadavg";
/// Its averages, in its order.
const AVERAGES: [&str; 3] = ["1m", "5m", "15m"];

struct Load {
    over: usize,
}

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made in one way")]
pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let over = settings.text("over");
    let over = AVERAGES.iter().position(|it| Some(*it) == over.as_deref()).unwrap_or(1);
    Ok(Gauged::boxed(settings, Load { over }))
}

impl Readings for Load {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let text = senses.text(PATH).map_err(unreadable(PATH))?;
        let load: f64 = text
            .split_whitespace()
            .nth(self.over)
            .and_then(|it| it.parse().ok())
            .ok_or_else(|| format!("`{PATH}` holds something else than averages"))?;
        let processors = u64::try_from(senses.processors().max(1)).unwrap_or(1);
        let percent = tenths(load * 100.0 / float(processors));
        let fields =
            Signal::new().with("load", load).with("percent", percent).with("over", AVERAGES[self.over]);
        Ok(vec![Reading { key: String::new(), percent, plain: load, fields }])
    }
}

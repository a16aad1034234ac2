//! How long programs stood still because processors, memory or disks were busy.

use super::{Beacon, Gauged, Reading, Readings, Signal, unreadable};
use crate::senses::Senses;
use resources::beacons::Settings;

/// Where the kernel says it, a file for each resource.
const FOLDER: &str = "/proc/pressure";
/// The resources.
const ALL: [&str; 3] = ["cpu", "memory", "io"];

struct Psi {
    resources: Vec<String>,
    kind: String,
}

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let mut resources = settings.texts("resource");
    if resources.is_empty() {
        resources = ALL.iter().map(|it| (*it).to_owned()).collect();
    }
    senses
        .names(FOLDER)
        .map_err(|error| format!("this kernel measures no pressure (`{FOLDER}`: {error})"))?;
    let kind = settings.text("kind").unwrap_or_else(|| "some".to_owned());
    Ok(Gauged::boxed(settings, Psi { resources, kind }))
}

impl Readings for Psi {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        let mut readings = Vec::new();
        for resource in &self.resources {
            let path = format!("{FOLDER}/{resource}");
            let text = senses.text(&path).map_err(unreadable(&path))?;
            // Of processors older kernels do not say when all stood still.
            let Some(percent) = average(&text, &self.kind) else { continue };
            let fields = Signal::new()
                .with("resource", resource.clone())
                .with("percent", percent)
                .with("kind", self.kind.clone());
            readings.push(Reading { key: resource.clone(), percent, plain: percent, fields });
        }
        Ok(readings)
    }
}

/// Of the last 10 s.
fn average(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|it| it.split(' ').next() == Some(kind))?;
    line.split(' ').find_map(|it| it.strip_prefix("avg10="))?.parse().ok()
}

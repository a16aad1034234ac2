//! The machine's sensors.

use super::{Beacon, Gauged, Reading, Readings, Signal, tenths};
use crate::senses::Senses;
use resources::beacons::Settings;
use std::io::ErrorKind;

/// Chips with sensors.
const CHIPS: &str = "/sys/class/hwmon";
/// What there is where no chip has a driver of its own.
const ZONES: &str = "/sys/class/thermal";
/// Sensors that are looked at.
const SENSORS_MAX: usize = 128;
/// Looks until they are listed anew: every five minutes, unless the interval is set.
const LOOKS: u32 = 10;

struct Temperature {
    only: Vec<String>,
    /// Names of sensors, and where their numbers are.
    sensors: Vec<(String, String)>,
    /// Looks since they were listed.
    looks: u32,
}

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let mut it = Temperature { only: settings.texts("sensor"), sensors: Vec::new(), looks: 0 };
    it.list(senses)?;
    Ok(Gauged::boxed(settings, it))
}

impl Temperature {
    fn list(&mut self, senses: &dyn Senses) -> Result<(), String> {
        let mut sensors = chips(senses);
        if sensors.is_empty() {
            sensors = zones(senses);
        }
        sensors.retain(|(name, _)| {
            self.only.is_empty() || self.only.iter().any(|it| name.contains(it.as_str()))
        });
        sensors.truncate(SENSORS_MAX);
        if sensors.is_empty() && !self.only.is_empty() {
            return Err(format!("no sensor of this machine has `{}` in its name", self.only.join("` or `")));
        }
        (self.sensors, self.looks) = (sensors, 0);
        Ok(())
    }
}

impl Readings for Temperature {
    fn read(&mut self, senses: &dyn Senses) -> Result<Vec<Reading>, String> {
        if self.looks >= LOOKS {
            self.list(senses)?;
        }
        self.looks += 1;
        let mut readings = Vec::new();
        for (name, path) in &self.sensors {
            // A sensor that sleeps gives an error now and then: it is there for all that.
            let celsius = match senses.text(path) {
                Ok(text) => number(&text).unwrap_or(f64::NAN),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.looks = LOOKS;
                    continue;
                }
                Err(_) => f64::NAN,
            };
            let fields = Signal::new().with("sensor", name.clone()).with("celsius", celsius);
            readings.push(Reading { key: name.clone(), percent: f64::NAN, plain: celsius, fields });
        }
        if readings.is_empty() && !self.only.is_empty() {
            return Err("none of the sensors can be read any more".to_owned());
        }
        Ok(readings)
    }
}

fn word(senses: &dyn Senses, path: &str) -> Option<String> {
    Some(senses.text(path).ok()?.trim().to_owned()).filter(|it| !it.is_empty())
}

/// Thousandths of a degree as degrees; what no machine can have is no number.
fn number(text: &str) -> Option<f64> {
    let celsius = text.trim().parse::<f64>().ok()? / 1000.0;
    (-100.0..=250.0).contains(&celsius).then(|| tenths(celsius))
}

fn chips(senses: &dyn Senses) -> Vec<(String, String)> {
    let mut sensors: Vec<(String, String)> = Vec::new();
    for chip in senses.names(CHIPS).unwrap_or_default() {
        let folder = format!("{CHIPS}/{chip}");
        let chip_name = word(senses, &format!("{folder}/name")).unwrap_or(chip);
        for file in senses.names(&folder).unwrap_or_default() {
            let Some(sensor) = file.strip_suffix("_input").filter(|it| it.starts_with("temp")) else {
                continue;
            };
            let label =
                word(senses, &format!("{folder}/{sensor}_label")).unwrap_or_else(|| sensor.to_owned());
            add(&mut sensors, format!("{chip_name} {label}"), format!("{folder}/{file}"));
        }
    }
    sensors
}

fn zones(senses: &dyn Senses) -> Vec<(String, String)> {
    let mut sensors = Vec::new();
    for zone in senses.names(ZONES).unwrap_or_default() {
        let folder = format!("{ZONES}/{zone}");
        if zone.starts_with("thermal_zone") {
            let name = word(senses, &format!("{folder}/type")).unwrap_or(zone);
            add(&mut sensors, name, format!("{folder}/temp"));
        }
    }
    sensors
}

/// Two chips of one kind are told apart by a number.
fn add(sensors: &mut Vec<(String, String)>, name: String, path: String) {
    let same = sensors.iter().filter(|it| it.0 == name || it.0.starts_with(&format!("{name} #"))).count();
    let name = if same == 0 { name } else { format!("{name} #{}", same + 1) };
    sensors.push((name, path));
}

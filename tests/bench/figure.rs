//! What is to be measured, and how a figure is printed.

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tests::{lab::Lab, target_dir};

/// What is to be measured.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    /// Fewer runs, smaller swarms.
    pub(crate) quick: bool,
    only: Vec<String>,
}

impl Bench {
    /// From the command line; there are figures of these names.
    pub(crate) fn parse(arguments: &[String], names: &[&str]) -> Result<Self, String> {
        let mut bench = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => bench.quick = true,
                "--only" => {
                    let only = words.next().ok_or("--only needs the name of a figure")?;
                    if !names.iter().any(|name| name.starts_with(only.as_str())) {
                        return Err(format!("no figure's name begins with `{only}`: {}", names.join(", ")));
                    }
                    bench.only.push(only.clone());
                }
                other => return Err(format!("`{other}` is no option of the bench")),
            }
        }
        Ok(bench)
    }
    /// Whether a figure is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| name.starts_with(it.as_str()))
    }
    /// The first in full, the second when it is to be quick.
    pub(crate) fn of(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
    /// Prints a figure if it is asked for.
    pub(crate) fn print(&self, figure: Figure) {
        if self.wants(figure.name) {
            figure.print();
        }
    }
}

/// A lab whose folder is on the disk that builds are on, with the master not running yet.
pub(crate) fn lab() -> Lab {
    let folder = target_dir().join("bench");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let folder: TempDir =
        tempfile::Builder::new().prefix("lab").tempdir_in(folder).expect("the folder is ours");
    Lab::prepare_in(folder)
}

/// One line of the result.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    conditions: Map<String, Value>,
}

impl Figure {
    /// A figure with the conditions that all have.
    pub(crate) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let profile = tests::profile();
        let conditions = json!({ "cores": cores, "profile": profile, "store": "disk" });
        let Value::Object(conditions) = conditions else { unreachable!("it is an object") };
        Self { name, value, unit, conditions }
    }
    /// One more condition.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.conditions.insert(name.to_owned(), value.into());
        self
    }
    /// What Salt took for the same in the same run, if it is here, and how many times as long that is.
    pub(crate) fn beside_salt(self, times: &mut [f64]) -> Self {
        if times.is_empty() {
            return self;
        }
        let salt = median(times);
        let ratio = (salt / self.value).round();
        self.with("salt", salt.round()).with("salt_runs", times.len()).with("ratio", ratio)
    }
    fn print(self) {
        let digits = if self.value.abs() < 100.0 { 100.0 } else { 1.0 };
        let value = (self.value * digits).round() / digits;
        let mut line = json!({ "name": self.name, "value": value, "unit": self.unit });
        for (name, value) in self.conditions {
            line[name] = value;
        }
        println!("{line}");
    }
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    assert!(!values.is_empty(), "a median needs values");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

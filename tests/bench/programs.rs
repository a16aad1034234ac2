//! The programs themselves: size, and what starting one costs.

use crate::figure::{Bench, Figure, median};
use crate::pace::timed;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tests::{program, target_dir};

/// Profile of the minion as it is shipped (decision 12); `./dev bench` builds it.
const SHIPPED: &str = "minion/labminion";

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    if bench.wants("minion_binary_bytes") {
        match stripped_bytes(&target_dir().join(SHIPPED)) {
            Some(bytes) => bench.print(
                Figure::new("minion_binary_bytes", bytes, "bytes")
                    .with("profile", "minion")
                    .with("stripped", true),
            ),
            None => eprintln!("no `{SHIPPED}` in the target folder: `./dev bench` builds it"),
        }
    }
    let runs = bench.of(40, 10);
    let mut times: Vec<f64> =
        (0..runs).map(|_| timed(Command::new(program("labctl")).arg("--version")).0).collect();
    bench.print(Figure::new("labctl_start_ms", median(&mut times), "ms").with("runs", runs));
}

/// Size of a program without symbols, also where the build kept them; `None` if it was not built.
fn stripped_bytes(path: &Path) -> Option<f64> {
    let copy = target_dir().join("labminion.stripped");
    let strip = Command::new("strip").arg("-o").arg(&copy).arg(path).stderr(Stdio::null()).status();
    let stripped = if strip.is_ok_and(|it| it.success()) { &copy } else { path };
    let bytes = fs::metadata(stripped).ok()?.len();
    Some(f64::from(u32::try_from(bytes).expect("a program of less than 4 GiB")))
}

//! The programs themselves: size, and what starting one costs.

use crate::figure::{Bench, Figure, median};
use crate::pace::timed;
use std::{fs, process::Command};
use tests::{program, target_dir};

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    if bench.wants("minion_binary_bytes") {
        bench.print(Figure::new("minion_binary_bytes", stripped_bytes(), "bytes"));
    }
    let runs = bench.of(40, 10);
    let mut times: Vec<f64> =
        (0..runs).map(|_| timed(Command::new(program("labctl")).arg("--version")).0).collect();
    bench.print(Figure::new("labctl_start_ms", median(&mut times), "ms").with("runs", runs));
}

/// Size of the minion without symbols, also where the build kept them.
fn stripped_bytes() -> f64 {
    let copy = target_dir().join("labminion.stripped");
    let strip = Command::new("strip").arg("-o").arg(&copy).arg(program("labminion")).status();
    let path = if strip.is_ok_and(|it| it.success()) { copy } else { program("labminion") };
    let bytes = fs::metadata(&path).expect("it was built").len();
    f64::from(u32::try_from(bytes).expect("a program of less than 4 GiB"))
}

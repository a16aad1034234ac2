//! Grains that people add: `grains.toml`, and programs in a folder, each with a limit of time and size.

use super::os::small;
use serde_json::{Map, Value};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that takes longer is ended.
const TIME_MAX: Duration = Duration::from_secs(5);
/// After this long no further program is run.
const TIME_MAX_ALL: Duration = Duration::from_secs(10);
/// Bytes of a program's output.
const OUTPUT_MAX: u64 = 16 << 10;
/// Programs in the folder; more are left out.
const PROGRAMS_MAX: usize = 32;
/// Between two looks at a running program.
const POLL: Duration = Duration::from_millis(5);

pub(super) fn from_file(path: &Path, complaints: &mut Vec<String>) -> Map<String, Value> {
    let text = small(path);
    match toml::from_str::<Map<String, Value>>(&text) {
        Ok(grains) => grains,
        Err(error) => {
            complaints.push(format!("`{}` is not TOML: {error}", path.display()));
            Map::new()
        }
    }
}

pub(super) fn from_programs(dir: &Path, complaints: &mut Vec<String>) -> Map<String, Value> {
    let mut grains = Map::new();
    let mut programs: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|it| Some(it.ok()?.path())).collect();
    programs.sort();
    programs.truncate(PROGRAMS_MAX);
    let start = Instant::now();
    for program in programs {
        if start.elapsed() > TIME_MAX_ALL {
            complaints.push(format!("`{}` was not run: those before it took too long", program.display()));
            continue;
        }
        let Ok(meta) = std::fs::metadata(&program) else { continue };
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            continue;
        }
        if meta.mode() & 0o022 != 0 {
            complaints.push(format!("`{}` was not run: others may write it", program.display()));
            continue;
        }
        grains.extend(run_program(&program, TIME_MAX, complaints));
    }
    grains
}

pub(super) fn run_program(
    program: &Path,
    time_max: Duration,
    complaints: &mut Vec<String>,
) -> Map<String, Value> {
    match output(program, time_max) {
        Ok(text) => parse(&text).unwrap_or_else(|| {
            complaints.push(format!("`{}` printed neither a JSON object nor key=value", program.display()));
            Map::new()
        }),
        Err(reason) => {
            complaints.push(format!("`{}` {reason}", program.display()));
            Map::new()
        }
    }
}

fn output(program: &Path, time_max: Duration) -> Result<String, String> {
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    let stdout = child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(OUTPUT_MAX).read_to_end(&mut text);
        read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < time_max => std::thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("took longer than {} ms", time_max.as_millis()));
            }
        }
    };
    if !status.success() {
        return Err(format!("ended with {status}"));
    }
    reader.join().map_err(|_| "could not be read".to_owned())
}

fn parse(text: &str) -> Option<Map<String, Value>> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_owned(), Value::String(value.trim().to_owned())))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(pair).collect()
}

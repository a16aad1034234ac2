//! What a worker says, read by the agent as its file grows.

use super::Said;
use crate::core::{RunEnd, RunLine};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Bytes read of a worker's file at once.
const READ_MAX: u64 = 1 << 20;
/// Longest line of a worker's file: a whole report.
const LINE_MAX: usize = 256 << 20;

/// Reads a worker's file as it grows.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) path: PathBuf,
    at: u64,
    rest: Vec<u8>,
    pub(super) steps: u32,
    pub(super) end: Option<RunEnd>,
}

impl Tail {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, at: 0, rest: Vec::new(), steps: 0, end: None }
    }

    pub(super) fn read(&mut self) -> io::Result<Vec<RunLine>> {
        let mut lines = Vec::new();
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        loop {
            let read = (&mut file).take(READ_MAX).read_to_end(&mut self.rest)? as u64;
            self.at += read;
            if read == 0 {
                return Ok(lines);
            }
            self.take_lines(&mut lines);
            if self.rest.len() > LINE_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
    }

    fn take_lines(&mut self, lines: &mut Vec<RunLine>) {
        let Some(last) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let tail = self.rest.split_off(last + 1);
        for line in self.rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Said::Steps(steps)) => self.steps = steps,
                Ok(Said::Line(line)) => lines.push(line),
                Ok(Said::End(end)) => self.end = Some(end),
                // Something that a library printed: not ours.
                Err(_) => {}
            }
        }
        self.rest = tail;
    }
}

//! How far a run had come that waits for the machine to boot anew: a file for each such step, in the job's folder.

use super::Order;
use crate::core::RunEnd;
use crate::journal::sync_dir;
use resources::{Halt, Past};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest file: the reports of all steps so far.
const BYTES_MAX: u64 = 256 << 20;

/// Events that steps fire: tag and payload.
type Events = Vec<(String, Value)>;

#[derive(Serialize, Deserialize)]
struct Written {
    halt: Halt,
    events: Events,
}

fn path(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("halt-{step}.json"))
}

/// Writes down where the run stands, synced: the machine goes down next.
pub(super) fn write(folder: &Path, halt: &Halt, events: &Events) -> RunEnd {
    let written = Written { halt: halt.clone(), events: events.clone() };
    match put(folder, halt.step, &written) {
        Ok(()) => RunEnd::Reboot {
            step: u32::try_from(halt.step).unwrap_or(u32::MAX),
            message: halt.message.clone(),
        },
        Err(error) => RunEnd::Fault {
            reason: format!(
                "the machine was not booted anew: it cannot be written down where the run stands: {error}"
            ),
        },
    }
}

fn put(folder: &Path, step: usize, written: &Written) -> io::Result<()> {
    let (whole, draft) = (path(folder, step), folder.join("halt.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(written)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, &whole)?;
    sync_dir(folder).map_err(io::Error::other)
}

/// What is past of the run that is to go on, with the events that it has fired.
pub(super) fn past(order: &Order) -> Result<Option<(Past, Events)>, String> {
    let (Some(resume), Some(folder)) = (&order.resume, &order.halts) else { return Ok(None) };
    let path = path(folder, resume.step as usize);
    let told = |why: String| format!("the run cannot go on after the reboot: `{}`: {why}", path.display());
    let mut text = Vec::new();
    let file = File::open(&path).map_err(|error| told(error.to_string()))?;
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(|error| told(error.to_string()))?;
    let Written { halt, events } = serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
    Ok(Some((Past { halt, failed: resume.failed.clone() }, events)))
}

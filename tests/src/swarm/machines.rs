//! What the imagined machines of a swarm ran and hold, for tests that look at them.

use model::{JobId, MinionId, Recipe};
use resources::fake_host::Machine;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Machines by name.
#[derive(Debug, Default)]
pub struct Machines(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// By step, by machine: in which jobs it ran, in order.
    ran: BTreeMap<String, BTreeMap<String, Vec<JobId>>>,
    /// By machine, by path.
    files: BTreeMap<String, BTreeMap<String, String>>,
    announced: u32,
    lost: u32,
}

impl Machines {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn note_run(&self, id: &MinionId, job: JobId, recipe: &Recipe, machine: &Machine) {
        let mut noted = self.noted();
        for step in &recipe.steps {
            let ran = noted.ran.entry(step.id.clone()).or_default();
            ran.entry(id.to_string()).or_default().push(job);
        }
        let files = machine.files.iter();
        let files = files.filter_map(|(path, it)| Some((path.clone(), it.contents.clone()?))).collect();
        noted.files.insert(id.to_string(), files);
    }
    pub(super) fn note_announcement(&self, lost: bool) {
        let mut noted = self.noted();
        noted.announced += 1;
        noted.lost += u32::from(lost);
    }
    /// In which jobs each machine ran a step, by machine; those that never ran it are not there.
    pub fn ran(&self, step: &str) -> BTreeMap<String, Vec<JobId>> {
        self.noted().ran.get(step).cloned().unwrap_or_default()
    }
    /// How many machines ran a step.
    pub fn count(&self, step: &str) -> usize {
        self.noted().ran.get(step).map_or(0, BTreeMap::len)
    }
    /// A file that is on a machine.
    pub fn file(&self, machine: &str, path: &str) -> Option<String> {
        self.noted().files.get(machine)?.get(path).cloned()
    }
    /// How many announcements there were, and how many of them were lost.
    pub fn announcements(&self) -> (u32, u32) {
        let noted = self.noted();
        (noted.announced, noted.lost)
    }
}

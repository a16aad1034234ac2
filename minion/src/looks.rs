//! Looks at the machine for templates: one at a time, on a thread of its own, so that nothing else waits for them.

use crate::linux::{BlobSource, LinuxHost};
use crate::sandbox::SandboxHost;
use model::{Question, Recipe};
use resources::Host;
use resources::questions::{ALL_MS_MAX, all_failed, answer_all};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks that wait for the one under way; what comes on top fails at once.
const WAITING_MAX: usize = 4;

/// Answers all questions, from now on within the time for them.
pub fn answer(questions: &[Question], commands: bool, sandbox: Option<&Path>) -> Value {
    answer_until(questions, commands, sandbox, Instant::now() + Duration::from_millis(ALL_MS_MAX))
}

fn answer_until(questions: &[Question], commands: bool, sandbox: Option<&Path>, end: Instant) -> Value {
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    };
    match host(sandbox) {
        Ok(mut host) => answer_all(questions, commands, &mut *host, &left),
        Err(error) => all_failed(questions, &error.to_string()),
    }
}

/// The machine that questions are about.
fn host(sandbox: Option<&Path>) -> std::io::Result<Box<dyn Host>> {
    let none = BlobSource::new(&Recipe::default(), PathBuf::new())?;
    Ok(match sandbox {
        Some(folder) => Box::new(SandboxHost::new(folder, none, None)?),
        None => Box::new(LinuxHost::new(none)),
    })
}

/// What one probe asks.
#[derive(Debug)]
pub(crate) struct Look {
    probe: u64,
    questions: Vec<Question>,
    commands: bool,
    end: Instant,
}

impl Look {
    pub(crate) fn new(probe: u64, questions: Vec<Question>, commands: bool) -> Self {
        Self { probe, questions, commands, end: Instant::now() + Duration::from_millis(ALL_MS_MAX) }
    }
    /// On the machine itself, or in a sandbox.
    pub(crate) fn answer(&self, sandbox: Option<&Path>) -> Value {
        answer_until(&self.questions, self.commands, sandbox, self.end)
    }
}

/// Gives the answer to a look; blocks.
type Answering = Arc<dyn Fn(&Look) -> Value + Send + Sync>;
/// Tells it, by the number of the probe.
type Telling = Arc<dyn Fn(u64, Value) + Send + Sync>;

/// The look under way, and those that wait.
pub(crate) struct Looks {
    answering: Answering,
    telling: Telling,
    waiting: VecDeque<Look>,
    refused: VecDeque<(u64, Value)>,
    busy: bool,
}

impl Looks {
    pub(crate) fn new(answering: Answering, telling: Telling) -> Self {
        Self { answering, telling, waiting: VecDeque::new(), refused: VecDeque::new(), busy: false }
    }

    /// One more.
    pub(crate) fn add(&mut self, look: Look) {
        if self.waiting.len() >= WAITING_MAX {
            return self.refuse(&look, "busy with other questions: try again");
        }
        self.waiting.push_back(look);
        self.begin();
    }

    /// The look under way has told its answer.
    pub(crate) fn ended(&mut self) {
        self.busy = false;
        self.begin();
    }

    /// The answer to a probe for which there was no look. To be asked for after each [`Looks::add`].
    pub(crate) fn refused(&mut self) -> Option<(u64, Value)> {
        self.refused.pop_front()
    }

    fn refuse(&mut self, look: &Look, reason: &str) {
        self.refused.push_back((look.probe, all_failed(&look.questions, reason)));
    }

    fn begin(&mut self) {
        while !self.busy {
            let Some(look) = self.waiting.pop_front().map(Arc::new) else { return };
            let (answering, telling, looked) = (self.answering.clone(), self.telling.clone(), look.clone());
            let work = move || telling(looked.probe, answering(&looked));
            match std::thread::Builder::new().name("look".to_owned()).spawn(work) {
                Ok(_) => self.busy = true,
                Err(error) => self.refuse(&look, &format!("no thread to look with: {error}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};
    use std::sync::{Mutex, mpsc};

    const LIMIT: Duration = Duration::from_secs(20);

    fn look(probe: u64) -> Look {
        let question =
            Question { fun: "file.file_exists".to_owned(), args: vec![json!("/")], kwargs: Map::new() };
        Look::new(probe, vec![question], false)
    }

    #[test]
    fn looks_are_one_at_a_time_in_order_and_too_many_fail_at_once() {
        let (go, gate) = mpsc::channel::<()>();
        let (start, begun) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let gate = Mutex::new(gate);
        let answering = move |look: &Look| {
            start.send(look.probe).unwrap();
            gate.lock().unwrap().recv_timeout(LIMIT).unwrap();
            json!([{ "ok": look.probe }])
        };
        let mut looks =
            Looks::new(Arc::new(answering), Arc::new(move |probe, it| tell.send((probe, it)).unwrap()));
        for probe in 1..=5 {
            looks.add(look(probe));
        }
        assert_eq!(looks.refused(), None, "one is under way, four wait");
        looks.add(look(6));
        let (probe, refused) = looks.refused().unwrap();
        assert_eq!(probe, 6);
        assert!(refused[0]["error"].as_str().unwrap().contains("busy"), "{refused}");
        for probe in 1..=5 {
            assert_eq!(begun.recv_timeout(LIMIT).unwrap(), probe);
            assert!(begun.try_recv().is_err(), "one at a time");
            go.send(()).unwrap();
            assert_eq!(told.recv_timeout(LIMIT).unwrap(), (probe, json!([{ "ok": probe }])));
            looks.ended();
        }
        looks.add(look(7));
        assert_eq!(begun.recv_timeout(LIMIT).unwrap(), 7);
        go.send(()).unwrap();
    }

    #[test]
    fn a_look_that_waited_too_long_says_so() {
        let late = Look { end: Instant::now(), ..look(1) };
        assert_eq!(late.answer(None), json!([{ "error": "not answered in time" }]));
        assert_eq!(look(1).answer(None), json!([{ "ok": false }]), "`/` is no file");
    }
}

//! What templates ask minions: it is put to the minions themselves, and everything is compiled again with the answers.

use super::{Effect, Master, Ticket, timers::Timer};
use bus::message::ToMinion;
use model::{Answers, ContentHash, Diagnostic, JobId, JobKind, MinionId, Question, Revision, Severity};
use serde_json::Value;
use std::collections::BTreeMap;

/// How often one thing is compiled with further answers.
pub const ROUNDS_MAX: u8 = 3;
/// Rounds under way.
const OPEN_MAX: usize = 10_000;
/// How long minions have for their answers.
const TIMEOUT_MS: u64 = 10_000;
/// Longest answer, as JSON.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest reason of a minion that is shown.
const REASON_CHARS_MAX: usize = 300;

/// What is compiled again when the answers are there.
#[derive(Clone, Debug, PartialEq)]
pub enum Asker {
    /// The recipe of a job; the minion is the only one that is asked.
    Job(JobId, JobKind),
    /// Recipes for people.
    View(Ticket, Vec<MinionId>, Vec<String>),
    /// Pillars for people.
    Pillar(Ticket, Vec<MinionId>),
    /// What a minion does by itself; it is the only one that is asked.
    Conduct(MinionId),
}

/// What minions have answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// How often they were asked.
    pub rounds: u8,
    /// By minion.
    pub answers: BTreeMap<MinionId, Answers>,
}

/// A round of questions under way.
#[derive(Debug)]
pub(crate) struct Round {
    asker: Asker,
    asked: Asked,
    waiting: BTreeMap<MinionId, Vec<Question>>,
    /// Why there is no answer, and who did not give it.
    failed: Vec<(MinionId, String)>,
}

impl Master {
    /// Puts questions to minions. Who is away is not asked.
    pub(crate) fn ask_minions(
        &mut self,
        wanted_by: Asker,
        questions: BTreeMap<MinionId, Vec<Question>>,
        asked: Asked,
    ) {
        self.next_probe += 1;
        let number = self.next_probe;
        let mut round = Round { asker: wanted_by, asked, waiting: BTreeMap::new(), failed: Vec::new() };
        let commands = self.settings.probe_commands;
        for (minion, questions) in questions {
            let command = questions.iter().find(|it| lang::runs_a_command(it)).filter(|_| !commands);
            if let Some(command) = command {
                let reason = format!(
                    "a template asks for `{command}`, which runs a command; `probe_commands: true` in master.yaml allows that"
                );
                round.failed.push((minion, reason));
            } else if !self.is_ready(&minion) || !self.is_reachable(&minion) {
                round.failed.push((minion, "it is away, and its templates ask it something".to_owned()));
            } else if self.rounds.len() >= OPEN_MAX {
                round.failed.push((minion, format!("{OPEN_MAX} rounds of questions are under way")));
            } else {
                self.send(
                    &minion,
                    ToMinion::Questions { probe: number, questions: questions.clone(), commands },
                );
                round.waiting.insert(minion, questions);
            }
        }
        let nobody = round.waiting.is_empty();
        self.rounds.insert(number, round);
        if nobody {
            self.end_round(number);
        } else {
            self.wake_at(self.now.plus_ms(TIMEOUT_MS), Timer::Questions(number));
        }
    }

    /// Only who was asked can answer, and once.
    pub(crate) fn answer_round(&mut self, minion: &MinionId, number: u64, answer: Value) {
        let Some(round) = self.rounds.get_mut(&number) else { return };
        let Some(questions) = round.waiting.remove(minion) else {
            return self.count("answer of a minion that was not asked");
        };
        match read(answer, &questions) {
            Ok(values) => {
                let answers = round.asked.answers.entry(minion.clone()).or_default();
                questions.iter().zip(values).for_each(|(question, value)| answers.insert(question, value));
            }
            Err(reason) => round.failed.push((minion.clone(), reason)),
        }
        if round.waiting.is_empty() {
            self.end_round(number);
        }
    }

    /// All have answered, or the time is up.
    pub(crate) fn end_round(&mut self, number: u64) {
        let Some(Round { asker, mut asked, waiting, mut failed }) = self.rounds.remove(&number) else {
            return;
        };
        let late = |minion| (minion, "it did not answer what its templates ask within 10 s".to_owned());
        failed.extend(waiting.into_keys().map(late));
        asked.rounds = if failed.is_empty() { asked.rounds + 1 } else { ROUNDS_MAX };
        match asker {
            Asker::Job(job, kind) => {
                if let Some((minion, reason)) = failed.into_iter().next() {
                    self.unanswered(job, &minion, &reason);
                } else if let Some(minion) = asked.answers.keys().next().cloned() {
                    self.out.push(Effect::Compile { job, minion, kind, asked });
                }
            }
            Asker::View(ticket, minions, states) => {
                self.out.push(Effect::CompileView { ticket, minions, states, asked });
            }
            Asker::Pillar(ticket, minions) => self.out.push(Effect::PillarView { ticket, minions, asked }),
            Asker::Conduct(minion) => self.out.push(Effect::Conduct { minion, asked }),
        }
    }

    /// A job waits for a minion that went away, as it would have without questions; else it cannot be compiled.
    fn unanswered(&mut self, job: JobId, minion: &MinionId, reason: &str) {
        if !self.is_reachable(minion) {
            if let Some(target) = self.book.target_mut(job, minion) {
                target.compiling = false;
            }
            return;
        }
        let revision = self.revision.unwrap_or(Revision(ContentHash([0; 32])));
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            code: "E0603".to_owned(),
            message: format!("{minion}: {reason}"),
            spans: Vec::new(),
            notes: Vec::new(),
            help: None,
        };
        self.compiled(job, minion, revision, Err(vec![diagnostic]));
    }
}

/// The values of a list of answers, in the order of the questions.
fn read(answer: Value, questions: &[Question]) -> Result<Vec<Value>, String> {
    let Value::Array(answers) = answer else {
        return Err("it answered in a form that is not known".to_owned());
    };
    if answers.len() != questions.len() {
        return Err(format!("it gave {} answers to {} questions", answers.len(), questions.len()));
    }
    let one = |(question, mut answer): (&Question, Value)| {
        if let Some(reason) = answer.get("error").and_then(Value::as_str) {
            let reason: String =
                reason.chars().filter(|it| !it.is_control()).take(REASON_CHARS_MAX).collect();
            return Err(format!("it cannot answer `{question}`: {reason}"));
        }
        let value = answer.get_mut("ok").map(Value::take);
        let value = value.ok_or_else(|| format!("it answered `{question}` in a form that is not known"))?;
        if value.to_string().len() > ANSWER_BYTES_MAX {
            return Err(format!("its answer to `{question}` is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(value)
    };
    questions.iter().zip(answers).map(one).collect()
}

#[cfg(test)]
mod tests;

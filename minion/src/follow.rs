//! Beacons that listen to a program which goes on and on, or that run one now and then: started again with back-off,
//! asked how things are after each break, ended when they take too long. What its lines mean is each beacon's own.

use crate::beacons::{Beacon, Signal, Source};
use crate::program::{End, Order, Program};
use crate::senses::Senses;
use serde_json::{Map, Value};
use std::time::Duration;

/// Before a program that ended is started again, at first and at most.
const AGAIN_LEAST: Duration = Duration::from_millis(500);
const AGAIN_MOST: Duration = Duration::from_mins(2);
/// Who ran so long was well.
const WELL: Duration = Duration::from_mins(1);
/// So many ends in a row that came too early are told as a failure: of one that never worked, and of one that did.
const EARLY_MAX: u32 = 3;
const EARLY_AFTER_WORK_MAX: u32 = 8;
/// Who runs so long without a word works, as far as can be known.
const SURE: Duration = Duration::from_secs(10);
/// So many lines in a row that are not understood are a failure: the program is not what it was taken for.
const STRANGE_MAX: u32 = 20;
/// How much of such a line is shown.
const SHOWN_CHARS_MAX: usize = 120;
/// Longest that the question how things are may take.
const LIST_MAX: Duration = Duration::from_secs(30);
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What becomes of lines.
pub(crate) trait Follow: Send {
    /// What to listen to, from where the last one was.
    fn program(&mut self, senses: &dyn Senses) -> Result<Order, String>;
    /// What a line of it tells; none if the line is not understood.
    fn line(&mut self, now: Duration, line: &str) -> Option<Vec<Map<String, Value>>>;
    /// A run that takes longer is ended, and another one begun.
    fn limit(&self) -> Option<Duration> {
        None
    }
    /// What is asked after each start.
    fn question(&self) -> Option<Order> {
        None
    }
    /// What the answer tells; none if it is not understood.
    fn answer(&mut self, _: &str) -> Option<Vec<Map<String, Value>>> {
        None
    }
    /// When something is to be done although nothing is said.
    fn wake(&self) -> Option<Duration> {
        None
    }
    /// Then; what it tells.
    fn due(&mut self, _: Duration) -> Vec<Map<String, Value>> {
        Vec::new()
    }
    /// Keeps what is to be known next time.
    fn rest(&mut self, _: Duration) {}
}

/// Listens to a program that goes on and on.
pub(crate) struct Follower<F> {
    what: F,
    program: Option<(Program, Duration)>,
    asked: Option<Asked>,
    start_at: Duration,
    again: Duration,
    early: u32,
    /// It has said something once that was understood.
    worked: bool,
    /// Lines in a row that were not.
    strange: u32,
    /// Lines that were too long, since this was asked for.
    left_out: u64,
    /// It has said something that was understood, or ran for long, since it failed.
    proven: bool,
    /// What was heard before it failed.
    later: Vec<Map<String, Value>>,
    now: Duration,
}

/// A question under way.
struct Asked {
    program: Program,
    answer: String,
    until: Duration,
}

impl Asked {
    fn start(order: &Order, now: Duration, limit: Duration, senses: &dyn Senses) -> Result<Self, String> {
        let program = Program::start(order, senses.root())?;
        Ok(Self { program, answer: String::new(), until: now + limit })
    }

    /// The whole answer, and how it ended, if it did.
    fn hear(&mut self, now: Duration) -> Result<Option<(String, End)>, String> {
        let (lines, end) = self.program.read(now);
        for line in lines {
            if self.answer.len() + line.len() > ANSWER_BYTES_MAX {
                return Err("a program says more than 4 MiB".to_owned());
            }
            self.answer.push_str(&line);
            self.answer.push('\n');
        }
        if self.program.left_out > 0 {
            let name = self.program.name();
            return Err(format!("`{name}` writes a line of more than 64 KiB: its answer is not whole"));
        }
        if end.is_none() && now >= self.until {
            return Err("a program takes too long: it was ended".to_owned());
        }
        Ok(end.map(|end| (std::mem::take(&mut self.answer), end)))
    }

    fn wake(&self, now: Duration) -> Duration {
        self.program.wake(now).map_or(self.until, |at| at.min(self.until))
    }
}

fn sources(program: &Program, now: Duration) -> Vec<Source<'_>> {
    program.sources(now).into_iter().map(|fd| Source { fd, urgent: false }).collect()
}

impl<F: Follow + 'static> Follower<F> {
    /// Begins at the first look.
    pub(crate) fn boxed(what: F) -> Box<dyn Beacon> {
        Box::new(Self {
            what,
            program: None,
            asked: None,
            start_at: Duration::ZERO,
            again: AGAIN_LEAST,
            early: 0,
            worked: false,
            strange: 0,
            left_out: 0,
            proven: false,
            later: Vec::new(),
            now: Duration::ZERO,
        })
    }
}

impl<F: Follow> Follower<F> {
    fn start(&mut self, senses: &dyn Senses) -> Result<(), String> {
        let order = self.what.program(senses)?;
        self.program = Some((Program::start(&order, senses.root())?, self.now));
        if let Some(question) = self.what.question() {
            self.asked = Some(Asked::start(&question, self.now, LIST_MAX, senses)?);
        }
        Ok(())
    }

    /// Lines of the program; what they tell.
    fn take(&mut self, lines: &[String], name: &str) -> Result<Vec<Map<String, Value>>, String> {
        let mut told = Vec::new();
        for line in lines {
            if let Some(said) = self.what.line(self.now, line) {
                (self.worked, self.proven, self.strange) = (true, true, 0);
                told.extend(said);
            } else if !line.trim().is_empty() {
                self.strange += 1;
                if self.strange >= STRANGE_MAX {
                    return Err(strange(name, line));
                }
            }
        }
        Ok(told)
    }

    fn ended(&mut self, end: &End, since: Duration) -> Result<(), String> {
        self.asked = None;
        if self.now.saturating_sub(since) >= WELL {
            (self.early, self.again) = (0, AGAIN_LEAST);
        }
        self.early += 1;
        if self.early > if self.worked { EARLY_AFTER_WORK_MAX } else { EARLY_MAX } {
            return Err(end.reason.clone());
        }
        self.start_at = self.now + self.again;
        self.again = (self.again * 2).min(AGAIN_MOST);
        Ok(())
    }

    fn hear(&mut self, senses: &dyn Senses, told: &mut Vec<Map<String, Value>>) -> Result<(), String> {
        let now = self.now;
        if self.program.is_none() && now >= self.start_at {
            self.start(senses)?;
        }
        if self.what.wake().is_some_and(|at| at <= now) {
            told.extend(self.what.due(now));
        }
        if let Some(asked) = &mut self.asked {
            let Some((answer, end)) = asked.hear(now)? else { return Ok(()) };
            let name = asked.program.name().to_owned();
            self.asked = None;
            if end.code != Some(0) {
                // Who cannot say how things are now will not know what changes.
                let since = self.program.take().map_or(now, |it| it.1);
                self.ended(&end, since)?;
                return Ok(());
            }
            told.extend(self.what.answer(&answer).ok_or_else(|| strange(&name, &answer))?);
            (self.worked, self.proven) = (true, true);
        }
        if let Some((program, since)) = &mut self.program {
            let (lines, end) = program.read(now);
            self.left_out += std::mem::take(&mut program.left_out);
            let (since, name) = (*since, program.name().to_owned());
            told.extend(self.take(&lines, &name)?);
            self.proven |= now.saturating_sub(since) >= SURE;
            if let Some(end) = end {
                self.program = None;
                self.ended(&end, since)?;
            } else if self.what.limit().is_some_and(|limit| now >= since + limit) {
                self.program = None;
                self.start_at = now + self.again;
            }
        }
        Ok(())
    }
}

fn strange(name: &str, line: &str) -> String {
    let shown: String = line.chars().filter(|it| !it.is_control()).take(SHOWN_CHARS_MAX).collect();
    format!("`{name}` says what is not understood: {shown}")
}

impl<F: Follow> Beacon for Follower<F> {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        self.now = now;
        let mut told = std::mem::take(&mut self.later);
        if let Err(reason) = self.hear(senses, &mut told) {
            // What it knows is kept; what it listened to begins anew when it is looked at again.
            (self.program, self.asked, self.start_at, self.proven) = (None, None, now, false);
            (self.early, self.strange, self.again) = (0, 0, AGAIN_LEAST);
            self.later = told;
            return Err(reason);
        }
        Ok(told.into_iter().map(Signal).collect())
    }

    fn sleeps(&self) -> bool {
        false
    }

    fn is_sure(&self) -> bool {
        self.proven
    }

    fn wake(&self) -> Option<Duration> {
        let own = match (&self.asked, &self.program) {
            (Some(asked), _) => Some(asked.wake(self.now)),
            (None, Some((program, since))) => {
                let limit = self.what.limit().map(|limit| *since + limit);
                let sure = (!self.proven).then(|| *since + SURE);
                program.wake(self.now).into_iter().chain(limit).chain(sure).min()
            }
            (None, None) => Some(self.start_at),
        };
        own.into_iter().chain(self.what.wake()).min()
    }

    fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn rest(&mut self, now: Duration) {
        self.what.rest(now);
    }

    /// Lines wait until the question is answered: they are what came after it.
    fn sources(&self) -> Vec<Source<'_>> {
        match (&self.asked, &self.program) {
            (Some(asked), _) => sources(&asked.program, self.now),
            (None, Some((program, _))) => sources(program, self.now),
            (None, None) => Vec::new(),
        }
    }
}

/// What becomes of the output of a program that ends.
pub(crate) trait Ask: Send {
    /// What to run.
    fn program(&mut self, senses: &dyn Senses) -> Result<Order, String>;
    /// All that it said, and how it ended.
    fn answer(&mut self, now: Duration, text: &str, end: &End) -> Result<Vec<Map<String, Value>>, String>;
    /// When something is to be said without a new answer.
    fn wake(&self) -> Option<Duration> {
        None
    }
    /// Then.
    fn due(&mut self, _: Duration) -> Vec<Map<String, Value>> {
        Vec::new()
    }
    /// As [`Beacon::told`].
    fn told(&self) -> Value {
        Value::Null
    }
    /// As [`Beacon::resume`].
    fn resume(&mut self, _: &Value) {}
}

/// Runs a program now and then.
pub(crate) struct Asker<A> {
    what: A,
    every: Duration,
    limit: Duration,
    asked: Option<Asked>,
    next: Duration,
    /// The last run ended well.
    proven: bool,
    /// What was heard while it was to be quiet.
    later: Vec<Map<String, Value>>,
    now: Duration,
}

impl<A: Ask> Asker<A> {
    /// Every so often, from `first` on; a run takes `limit` at most.
    pub(crate) fn new(what: A, every: Duration, limit: Duration, first: Duration) -> Self {
        let now = Duration::ZERO;
        Self { what, every, limit, asked: None, next: first, proven: false, later: Vec::new(), now }
    }

    fn hear(&mut self, now: Duration) -> Result<Vec<Map<String, Value>>, String> {
        self.now = now;
        let Some(asked) = &mut self.asked else { return Ok(Vec::new()) };
        let heard = match asked.hear(now) {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some((answer, end))) => self.what.answer(now, &answer, &end),
            Err(reason) => Err(reason),
        };
        (self.asked, self.proven) = (None, heard.is_ok());
        heard
    }
}

impl<A: Ask> Beacon for Asker<A> {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        if self.asked.is_none() && now >= self.next {
            (self.next, self.proven) = (now + self.every, false);
            let order = self.what.program(senses)?;
            self.asked = Some(Asked::start(&order, now, self.limit, senses)?);
        }
        let heard = self.hear(now)?;
        let told = std::mem::take(&mut self.later).into_iter().chain(heard);
        Ok(told.chain(self.what.due(now)).map(Signal).collect())
    }

    /// A run that is under way goes on.
    fn pass(&mut self, now: Duration, _: &dyn Senses) -> Result<(), String> {
        let heard = self.hear(now)?;
        self.later.extend(heard);
        Ok(())
    }

    fn sleeps(&self) -> bool {
        self.asked.is_none()
    }

    fn is_sure(&self) -> bool {
        self.proven
    }

    fn told(&self) -> Value {
        self.what.told()
    }

    fn resume(&mut self, _: Duration, told: &Value) {
        self.what.resume(told);
    }

    fn wake(&self) -> Option<Duration> {
        let own = self.asked.as_ref().map_or(self.next, |it| it.wake(self.now));
        Some(self.what.wake().map_or(own, |at| at.min(own)))
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.asked.as_ref().map(|it| sources(&it.program, self.now)).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests;

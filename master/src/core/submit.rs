//! Checks a job before it is accepted: ids, limits, targets; the one door for people and rules.

use super::{
    Entry, Master,
    jobs::{OPEN_JOBS_MAX, TARGETS_MAX},
    launch::Submission,
    rolling::{check_rolling, describe},
    roster::cut,
    target::refuse,
};
use model::{
    Caller, Job, JobId, JobKind, MinionId, Mode, Rolling,
    api::{ErrorKind, ErrorView},
    broken,
};

/// Shortest and longest time that an offer stays good, in milliseconds.
const EXPIRES_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * 86_400_000;
/// Elements of a command.
const COMMAND_WORDS_MAX: usize = 1_024;
/// Bytes of a job's kind as JSON: states, pillar, command, environment.
const KIND_BYTES_MAX: usize = 128 << 10;
/// Longest that a command may take, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 7 * 86_400_000;
/// Shortest and longest time to reach the master anew after a run with a way back, in milliseconds.
const CONFIRM_MS: std::ops::RangeInclusive<u64> = 5_000..=86_400_000;
/// Longest word to those who are logged in before a reboot.
const MESSAGE_MAX: usize = 256;
/// Longest target expression.
pub(crate) const TARGET_CHARS_MAX: usize = 4_096;

/// A job that somebody wants.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) id: JobId,
    pub(crate) target: String,
    pub(crate) kind: JobKind,
    pub(crate) expires_ms: u64,
    pub(crate) wait: bool,
    pub(crate) retry_of: Option<JobId>,
    pub(crate) rolling: Option<Box<Rolling>>,
    pub(crate) caller: Caller,
    pub(crate) hops: u32,
}

impl Master {
    /// What is on record under this id already, so that a retry of the submission is the same job.
    pub(crate) fn same_job(&self, id: JobId) -> Option<&Job> {
        self.book.whole_job(id).map(|it| &it.job)
    }

    /// Accepts a job for minions that are known, or says why not. An audit line either way, unless the store is full.
    pub(crate) fn submit(
        &mut self,
        wish: Wish,
        minions: Result<Vec<MinionId>, ErrorView>,
    ) -> Result<Job, ErrorView> {
        let what = super::publish::describe(&wish.kind);
        let waves = wish.rolling.as_ref().map(|it| describe(it)).unwrap_or_default();
        let gist = format!("submit {what} `{}`{waves}", cut(&wish.target, 256));
        let caller = wish.caller.clone();
        let checked = self.check_wish(&wish, minions);
        let result = match &checked {
            Ok(_) => format!("accepted as {}", wish.id),
            Err(error) => error.message.clone(),
        };
        if self.degraded.is_none() {
            self.audit(caller, gist, result);
        }
        let minions = checked?;
        Ok(self.accept(Submission {
            id: wish.id,
            target: wish.target,
            minions,
            kind: wish.kind,
            expires_ms: wish.expires_ms,
            wait: wish.wait,
            caller: wish.caller,
            hops: wish.hops,
            retry_of: wish.retry_of,
            rolling: wish.rolling,
        }))
    }

    fn check_wish(
        &self,
        wish: &Wish,
        minions: Result<Vec<MinionId>, ErrorView>,
    ) -> Result<Vec<MinionId>, ErrorView> {
        if let Some(reason) = &self.degraded {
            let hint = "free space on the master (`labctl master gc`), then try again";
            return Err(refuse(
                ErrorKind::Unavailable,
                format!("new jobs are refused: {reason}"),
                Some(hint),
            ));
        }
        if self.book.open.len().saturating_sub(self.book.own_open) >= OPEN_JOBS_MAX {
            let message = format!("{OPEN_JOBS_MAX} jobs have not ended");
            return Err(refuse(ErrorKind::Unavailable, message, Some("`labctl job list` shows them")));
        }
        if !EXPIRES_MS.contains(&wish.expires_ms) {
            let message = "an offer stays good for 1 s to 30 d".to_owned();
            return Err(refuse(ErrorKind::Usage, message, None));
        }
        check_kind(&wish.kind)?;
        if matches!(wish.kind, JobKind::Apply { .. }) && self.revision.is_none() {
            let mut error = refuse(ErrorKind::Compile, "no state tree has been loaded".to_owned(), None);
            error.diagnostics.clone_from(&self.tree_errors);
            return Err(error);
        }
        let mut minions = minions?;
        if let Some(earlier) = wish.retry_of {
            let Some(bad) = self.book.bad_of(earlier) else {
                let message = format!("job {earlier} is not known (any more)");
                return Err(refuse(ErrorKind::NotFound, message, Some("submit it anew")));
            };
            minions.retain(|it| bad.contains(it));
            if minions.is_empty() {
                let message = format!("job {} has no minion to repeat it on", earlier.short());
                return Err(refuse(ErrorKind::NoMatch, message, None));
            }
        }
        if minions.len() > TARGETS_MAX {
            let message = format!("{} minions are more than {TARGETS_MAX} in one job", minions.len());
            return Err(refuse(ErrorKind::Usage, message, None));
        }
        if let Some(rolling) = &wish.rolling {
            check_rolling(rolling, &wish.kind, minions.len())?;
        }
        Ok(minions)
    }

    /// One line in the audit log, committed with what it is about.
    pub(crate) fn audit(&mut self, caller: Caller, what: String, result: String) {
        if broken::leaves_out("audit-with-the-job") {
            return;
        }
        let at = self.now;
        self.record(Entry::Audit(super::Audit { at, caller, what, result }));
    }
}

fn check_kind(kind: &JobKind) -> Result<(), ErrorView> {
    let usage = |message: &str| Err(refuse(ErrorKind::Usage, message.to_owned(), None));
    let bytes = serde_json::to_vec(kind).map_or(usize::MAX, |it| it.len());
    if bytes > KIND_BYTES_MAX {
        return usage("a job's states, pillar, command and environment are at most 128 KiB");
    }
    match kind {
        JobKind::Apply { confirm_ms: Some(_), mode: Mode::Check, .. } => {
            usage("a look needs no way back: it changes nothing")
        }
        JobKind::Apply { confirm_ms: Some(ms), .. } if !CONFIRM_MS.contains(ms) => {
            usage("a way back (--confirm-within) is open for 5 s to 1 d")
        }
        JobKind::Reboot { message } if message.len() > MESSAGE_MAX || message.contains(char::is_control) => {
            usage("what is said before a reboot is one line of at most 256 bytes")
        }
        JobKind::Apply { .. } | JobKind::Undo { .. } | JobKind::Reboot { .. } => Ok(()),
        JobKind::Run { command, shell, timeout_ms, .. } => {
            if command.first().is_none_or(String::is_empty) || command.len() > COMMAND_WORDS_MAX {
                return usage("a command has 1 to 1024 words");
            }
            if *shell && command.len() != 1 {
                return usage("a shell reads exactly one text");
            }
            if command.iter().any(|it| it.contains('\0')) {
                return usage("a command cannot contain NUL");
            }
            if !(1..=TIMEOUT_MS_MAX).contains(timeout_ms) {
                return usage("a command's limit is 1 ms to 7 d");
            }
            Ok(())
        }
    }
}

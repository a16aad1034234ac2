//! What a worker says when it comes upon a mistake of its own and nobody can catch it: minions are built without
//! unwinding.

use super::Said;
use crate::core::RunEnd;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest message of a panic that is told.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The step at work, for the worker's last words.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords(Arc<Mutex<String>>);

impl LastWords {
    /// From now on a panic ends the run with a sentence, if it is going to end the process.
    pub(super) fn prepare() -> Self {
        let words = Self::default();
        if cfg!(panic = "abort")
            && let Ok(output) = std::io::stdout().as_fd().try_clone_to_owned()
        {
            let (step, output) = (words.clone(), Mutex::new(File::from(output)));
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                before(panic);
                let line = step.line(&panic.to_string());
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = output.write_all(line.as_bytes());
            }));
        }
        words
    }

    /// A step begins.
    pub(super) fn at(&self, step: &str) {
        step.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The run's last line, in a line of its own: what was said before may have ended in the middle of one.
    fn line(&self, panic: &str) -> String {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = if step.is_empty() { String::new() } else { format!(" in `{step}`") };
        let said: String = panic.chars().take(MESSAGE_CHARS_MAX).collect();
        let reason = format!("a mistake in labctl itself{at}, please report it: {said}");
        let said = serde_json::to_string(&Said::End(RunEnd::Fault { reason })).unwrap_or_default();
        format!("\n{said}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_a_run_with_the_step_and_what_happened() {
        let words = LastWords::prepare();
        words.at("nginx pkg.installed");
        let line = words.line(&format!("panicked at x.rs:1:2:\n{}", "é".repeat(5_000)));
        let line = line.strip_prefix('\n').and_then(|it| it.strip_suffix('\n')).expect("a line of its own");
        assert!(!line.contains('\n'), "one line");
        let Said::End(RunEnd::Fault { reason }) = serde_json::from_str(line).unwrap() else {
            panic!("{line}")
        };
        assert!(
            reason.starts_with("a mistake in labctl itself in `nginx pkg.installed`, please report it: ")
        );
        assert!(reason.contains("x.rs:1:2") && reason.chars().count() < 2_200);
    }
}

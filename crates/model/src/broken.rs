//! A switch for tests: one defence or one promise is left out, so that a test can show that it would be noticed.
//! Only programs that were built for debugging have it; in a release build nothing of it is left.

/// Each part that can be left out: its name, and what goes wrong without it.
pub const PARTS: &[(&str, &str)] = &[
    ("drop-copied-identity", "a copied machine goes on under the key of the first"),
    ("grace-before-retirement", "an ephemeral machine is forgotten as soon as it is away"),
    ("replace-offline-only", "a new key takes the name of a machine that is there"),
    ("suspend-clones", "two machines with one key are served in turns"),
    ("confirm-by-new-connection", "a run with a way back is confirmed by a connection that it did not cut"),
    ("one-worker", "a job gets a second worker while the first is alive"),
    ("outbox-bound", "what a minion keeps for its master grows without end"),
    ("reboot-on-record", "a machine reboots before it is on record why"),
    ("room-for-results", "jobs are taken whose results cannot be kept"),
    ("ask-every-loop", "the watchdog is told that all is well while a loop stands still"),
    ("keys-for-root-only", "an operator elsewhere gets the keys of the master with a backup"),
    ("turn-connection", "the minion's connection stands still"),
    ("turn-core", "the loop of the master or the minion stands still"),
    ("turn-fanout", "nobody looks after the fan-out"),
    ("turn-gate", "nobody lets minions in"),
    ("turn-store", "nothing is written any more"),
    ("turn-web", "nobody answers the API"),
    ("late-messages", "an offer that was long on its way is run after its expiry"),
    ("sync-journal", "a minion that loses power forgets what it began, and begins it again"),
    ("sync-store", "a master that loses power forgets what it accepted"),
    ("wait-for-the-store", "what is answered and sent may be about records that never get to the disk"),
];

#[cfg(debug_assertions)]
mod switch {
    use super::PARTS;
    use std::{cell::Cell, sync::OnceLock};

    /// The variable of the environment that names the part which a program leaves out.
    pub const VARIABLE: &str = "LABCTL_BROKEN";

    static PROGRAM: OnceLock<Option<&'static str>> = OnceLock::new();

    thread_local! {
        static THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    fn known(name: &str) -> &'static str {
        match PARTS.iter().find(|(part, _)| *part == name) {
            Some((part, _)) => part,
            None => panic!("`{name}` is not in model::broken::PARTS"),
        }
    }

    /// Whether this part is left out, in this thread or in the whole program.
    ///
    /// # Panics
    /// With a name that is not in [`PARTS`].
    #[must_use]
    pub fn leaves_out(name: &str) -> bool {
        let part = known(name);
        let program = PROGRAM.get_or_init(|| std::env::var(VARIABLE).ok().map(|name| known(&name)));
        THREAD.get() == Some(part) || *program == Some(part)
    }

    /// Runs something in this thread with a part left out (`None`: with all of them there).
    ///
    /// # Panics
    /// With a name that is not in [`PARTS`].
    pub fn without<T>(name: Option<&str>, run: impl FnOnce() -> T) -> T {
        struct Back(Option<&'static str>);
        impl Drop for Back {
            fn drop(&mut self) {
                THREAD.set(self.0);
            }
        }
        let _back = Back(THREAD.replace(name.map(known)));
        run()
    }

    /// What a program says when it starts with a part left out.
    #[must_use]
    pub fn warning() -> Option<String> {
        let name = std::env::var(VARIABLE).ok()?;
        let (name, loss) = PARTS.iter().find(|(part, _)| *part == name)?;
        Some(format!(
            "a test's program: it leaves out `{name}` ({loss}). Never run it otherwise; unset {VARIABLE}"
        ))
    }
}

#[cfg(debug_assertions)]
pub use switch::{VARIABLE, leaves_out, warning, without};

/// Nothing is left out of a release build.
#[cfg(not(debug_assertions))]
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that nothing of it is left in the program")]
pub const fn leaves_out(_: &'static str) -> bool {
    false
}

/// Nothing is left out of a release build.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn warning() -> Option<String> {
    None
}

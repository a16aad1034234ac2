//! Looks at files that people edit now and then and on demand, never on the loop's own time. One that is broken is told,
//! and what was said before stays in use.

use super::Incoming;
use crate::{
    hooks::{Files, Keyring},
    written::{self, Text, Written},
};
use model::Diagnostic;
use std::{marker::PhantomData, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tracing::{info, warn};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What became of an edit.
pub(super) type Reading<T> = Result<Arc<T>, Vec<Diagnostic>>;

/// Something that people edit.
pub(super) trait Edited: Clone + Send + Sync + 'static {
    /// As it is found: another one is an edit.
    type Found: PartialEq + Send + 'static;
    /// What it says.
    type Says: Send + Sync + 'static;

    /// For the log.
    fn name(&self) -> String;
    fn find(&self) -> Self::Found;
    fn read(&self, found: &Self::Found) -> Reading<Self::Says>;
    /// On demand it is read again although it is found as it was.
    fn names_others(&self) -> bool;
}

/// One file of its own.
pub(super) struct OneFile<T> {
    pub(super) path: PathBuf,
    says: PhantomData<fn() -> T>,
}

impl<T> OneFile<T> {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, says: PhantomData }
    }
}

impl<T> Clone for OneFile<T> {
    fn clone(&self) -> Self {
        Self::new(self.path.clone())
    }
}

impl<T: Written> Edited for OneFile<T> {
    type Found = Text;
    type Says = T;

    fn name(&self) -> String {
        format!("{} ({})", T::NAME, self.path.display())
    }
    fn find(&self) -> Text {
        written::look::<T>(&self.path)
    }
    fn read(&self, found: &Text) -> Reading<T> {
        written::says(&self.path, found).map(Arc::new)
    }
    fn names_others(&self) -> bool {
        T::NAMES_OTHERS
    }
}

/// Hooks and their secrets are found together.
impl Edited for Files {
    type Found = Result<Keyring, Vec<Diagnostic>>;
    type Says = Keyring;

    fn name(&self) -> String {
        format!("hooks.yaml ({})", self.file.display())
    }
    fn find(&self) -> Self::Found {
        Self::read(self)
    }
    fn read(&self, found: &Self::Found) -> Reading<Keyring> {
        found.clone().map(Arc::new)
    }
    fn names_others(&self) -> bool {
        false
    }
}

/// Looks until the loop is gone; `known` is what is in use.
pub(super) async fn keep_looking<T: Edited>(
    it: T,
    mut known: T::Found,
    again: Arc<Notify>,
    inputs: mpsc::Sender<Incoming>,
    heard: fn(Reading<T::Says>) -> Incoming,
) {
    loop {
        let demanded = tokio::select! {
            () = sleep(LOOK) => false,
            () = again.notified() => true,
            () = inputs.closed() => return,
        };
        let file = it.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || file.find()).await else { continue };
        if found == known && !(demanded && it.names_others()) {
            continue;
        }
        let file = it.clone();
        let reading = move || (file.read(&found), found);
        let Ok((reading, found)) = tokio::task::spawn_blocking(reading).await else { continue };
        known = found;
        match &reading {
            Ok(_) => info!(file = it.name(), "an edit is in use"),
            Err(errors) => {
                let first = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
                warn!(file = it.name(), first, "an edit is broken, what was said before stays in use");
            }
        }
        if inputs.send(heard(reading)).await.is_err() {
            return;
        }
    }
}

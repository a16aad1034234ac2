//! Looks at `notify.yaml` now and then and on demand, never on the loop's own time.

use super::Incoming;
use crate::notify;
use lang::notifiers::Notifiers;
use model::Diagnostic;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a look at the file gave, as it was read.
pub(super) type Text = Result<Option<String>, io::ErrorKind>;

/// What became of an edit.
pub(super) type Reading = Result<Arc<Notifiers>, Vec<Diagnostic>>;

/// Looks until the loop is gone; `known` is what is in use. On demand it is read again, whatever it says: files that it
/// names may have changed.
pub(super) async fn keep_looking(
    path: PathBuf,
    mut known: Text,
    again: Arc<Notify>,
    inputs: mpsc::Sender<Incoming>,
) {
    loop {
        let anew = tokio::select! {
            () = sleep(LOOK) => false,
            () = again.notified() => true,
            () = inputs.closed() => return,
        };
        let (at, before) = (path.clone(), (!anew).then(|| known.clone()));
        let looked = tokio::task::spawn_blocking(move || look(&at, before.as_ref())).await;
        let Ok(Some((text, reading))) = looked else { continue };
        known = text;
        match &reading {
            Ok(_) => info!(path = %path.display(), "what notify.yaml says is in use"),
            Err(errors) => {
                let first = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
                warn!(path = %path.display(), first, "notify.yaml is broken, the last good one stays in use");
            }
        }
        if inputs.send(Incoming::Notifiers(reading)).await.is_err() {
            return;
        }
    }
}

/// What is new in the file, if anything is; all of it, if nothing is known.
pub(super) fn look(path: &Path, known: Option<&Text>) -> Option<(Text, Reading)> {
    match notify::read_text(path) {
        Ok(text) if known.and_then(|it| it.as_ref().ok()) == Some(&text) => None,
        Ok(text) => {
            let reading = notify::parse(path, text.as_deref()).map(Arc::new);
            Some((Ok(text), reading))
        }
        Err(error) if known.and_then(|it| it.as_ref().err()) == Some(&error.kind()) => None,
        Err(error) => Some((Err(error.kind()), Err(vec![notify::unreadable(path, &error)]))),
    }
}

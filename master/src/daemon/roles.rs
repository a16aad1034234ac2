//! Looks at `roles.yaml` now and then and on demand, never on the loop's own time.

use super::Incoming;
use crate::roles;
use lang::roles::Roles;
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
type Text = Result<Option<String>, io::ErrorKind>;

/// What became of an edit.
pub(super) type Reading = Result<Arc<Roles>, Vec<Diagnostic>>;

/// Looks until the loop is gone; `known` is what is in use.
pub(super) async fn keep_looking(
    path: PathBuf,
    known: Option<String>,
    again: Arc<Notify>,
    inputs: mpsc::Sender<Incoming>,
) {
    let mut known: Text = Ok(known);
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = again.notified() => {}
            () = inputs.closed() => return,
        }
        let (at, before) = (path.clone(), known.clone());
        let Ok(Some((text, reading))) = tokio::task::spawn_blocking(move || look(&at, &before)).await else {
            continue;
        };
        known = text;
        match &reading {
            Ok(_) => info!(path = %path.display(), "new roles are in use"),
            Err(errors) => {
                let first = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
                warn!(path = %path.display(), first, "the roles are broken, the last good ones stay in use");
            }
        }
        if inputs.send(Incoming::Roles(reading)).await.is_err() {
            return;
        }
    }
}

/// What is new in the file, if anything is.
fn look(path: &Path, known: &Text) -> Option<(Text, Reading)> {
    match roles::read_text(path) {
        Ok(text) if known.as_ref().ok() == Some(&text) => None,
        Ok(text) => {
            let reading = roles::parse(path, text.as_deref()).map(Arc::new);
            Some((Ok(text), reading))
        }
        Err(error) if known.as_ref().err() == Some(&error.kind()) => None,
        Err(error) => Some((Err(error.kind()), Err(vec![roles::unreadable(path, &error)]))),
    }
}

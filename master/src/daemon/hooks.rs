//! Looks at `hooks.yaml` and the secrets of its hooks now and then and on demand, never on the loop's own time.

use super::{Incoming, register::Register, unavailable};
use crate::{
    core::Ticket,
    hooks::{Files, Keyring},
};
use model::{Diagnostic, Reply, Secret, api::HookSecret};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tracing::{info, warn};

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What became of an edit.
pub(super) type Reading = Result<Arc<Keyring>, Vec<Diagnostic>>;

/// Looks until the loop is gone.
pub(super) async fn keep_looking(files: Files, register: Arc<Register>, inputs: mpsc::Sender<Incoming>) {
    let mut known: Option<Result<Keyring, Vec<Diagnostic>>> = Some(Ok(Keyring::default()));
    loop {
        let at = files.clone();
        if let Ok(read) = tokio::task::spawn_blocking(move || at.read()).await
            && known.as_ref() != Some(&read)
        {
            match &read {
                Ok(it) => info!(hooks = it.hooks.named.len(), "new hooks are in use"),
                Err(errors) => {
                    let first = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
                    warn!(first, "the hooks are broken, the last good ones stay in use");
                }
            }
            let reading = read.as_ref().map(|it| Arc::new(it.clone())).map_err(Clone::clone);
            known = Some(read);
            if inputs.send(Incoming::Hooks(reading)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = register.look_at_hooks.notified() => {}
            () = inputs.closed() => return,
        }
    }
}

/// A secret to be kept.
pub(super) struct NewSecret {
    pub(super) hook: String,
    pub(super) recipe: String,
    pub(super) secret: Secret,
    pub(super) alone: bool,
}

/// Puts a secret on disk, and answers with it.
pub(super) fn keep_secret(
    files: &Files,
    register: &Arc<Register>,
    loopback: mpsc::Sender<Incoming>,
    ticket: Ticket,
    new: NewSecret,
) {
    let (files, register) = (files.clone(), Arc::clone(register));
    tokio::spawn(async move {
        let NewSecret { hook, recipe, secret, alone } = new;
        let kept = (hook.clone(), secret.clone());
        let write = move || files.keep(&kept.0, &kept.1, alone);
        let reply = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => Reply::HookSecret(HookSecret { hook, recipe, secret }),
            Ok(Err(error)) => unavailable(format!("the secret cannot be kept: {error}")),
            Err(bug) => unavailable(format!("the secret cannot be kept: {bug}")),
        };
        register.look_at_hooks.notify_one();
        let _ = loopback.send(Incoming::Answer(ticket, Box::new(reply))).await;
    });
}

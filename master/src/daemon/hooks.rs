//! Secrets of hooks that the master makes and keeps.

use super::{Incoming, register::Register, unavailable};
use crate::{core::Ticket, hooks::Files};
use model::{Reply, Secret, api::HookSecret};
use std::sync::Arc;
use tokio::sync::mpsc;

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

//! What the web server holds of the daemon: it asks the loop, and looks up what needs no asking.

use super::{
    Credential, Incoming, LoginFault, REQUEST_MAX, clock,
    register::Register,
    tickets::{Waiter, unavailable},
    trees,
};
use crate::{
    backup::{Keys, Maker},
    core::{Delivery, Refused},
    gate::Directory,
    hooks::Keyring,
    sources::open_content,
    store::Reader,
};
use model::{Caller, ContentHash, Event, JobId, MinionId, Reply, Request, Timestamp, api};
use std::{fs::File, path::PathBuf, sync::Arc};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

/// What the web server holds of the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) inputs: mpsc::Sender<Incoming>,
    pub(super) register: Arc<Register>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) reader: Reader,
    pub(super) contents: Arc<PathBuf>,
    pub(super) backups: Arc<Maker>,
}

impl Handle {
    /// Asks and waits for the answer.
    pub async fn request(&self, caller: Caller, request: Request) -> Reply {
        let (answer, receiver) = oneshot::channel();
        self.ask(caller, request, Waiter::Reply(answer), receiver).await.unwrap_or_else(|reply| reply)
    }
    /// Asks a probe and gets its lines as they come; the channel closes after the last.
    pub async fn probe(
        &self,
        caller: Caller,
        request: Request,
    ) -> Result<mpsc::Receiver<api::ProbeLine>, Reply> {
        let (started, receiver) = oneshot::channel();
        self.ask(caller, request, Waiter::Probe(Some(started), None), receiver).await?
    }
    /// Lines of a job from now on, a snapshot first; a refusal if there is no such job. Slow readers get a gap.
    pub async fn watch_job(
        &self,
        caller: Caller,
        job: String,
    ) -> Result<mpsc::Receiver<api::JobLine>, Reply> {
        let (started, receiver) = oneshot::channel();
        self.ask(caller, Request::Job { job }, Waiter::Watch(Some(started)), receiver).await?
    }
    /// Events from now on.
    pub fn watch_events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
    /// A sealed recipe's ciphertext, if it is one of this minion's.
    pub async fn recipe(&self, minion: &MinionId, hash: ContentHash) -> Option<Vec<u8>> {
        let (job, minion) = self.register.recipe(minion, hash)?;
        let reader = self.reader.clone();
        let read = move || reader.sealed(job, &minion).filter(|it| bus::seed::sha256(it) == hash);
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }
    /// A content of the trees, if one of this minion's open recipes grants it.
    pub async fn content(&self, minion: &MinionId, hash: ContentHash) -> Option<File> {
        if !self.register.is_granted(minion, hash) {
            return None;
        }
        let places = [self.register.file(hash), Some(trees::place(&self.contents, hash))];
        let find = move || places.into_iter().flatten().find_map(|path| open_content(&path, hash));
        tokio::task::spawn_blocking(find).await.ok().flatten()
    }
    /// The whole master in a file without a name, at its beginning; the audit log says who has it.
    pub async fn backup(&self, caller: Caller, keys: Keys) -> Result<File, Reply> {
        match self.request(caller, Request::Backup { with_keys: keys == Keys::Included }).await {
            Reply::Done(_) => {}
            refused => return Err(refused),
        }
        let (backups, reader) = (Arc::clone(&self.backups), self.reader.clone());
        let made = tokio::task::spawn_blocking(move || backups.make(&reader, keys, clock::now())).await;
        let told = match made {
            Ok(Ok(file)) => return Ok(file),
            Ok(Err(error)) => error_chain(&error),
            Err(bug) => format!("it ended in a bug: {bug}"),
        };
        warn!(told, "no backup was made");
        Err(unavailable(format!("no backup was made: {told}")))
    }
    /// Takes in what a sender of a hook sent; the answer comes when it is on disk.
    pub async fn deliver(&self, delivery: Delivery) -> Reply {
        let (answer, receiver) = oneshot::channel();
        let incoming = Incoming::Hook(Box::new(delivery), Waiter::Reply(answer));
        self.send(incoming, receiver).await.unwrap_or_else(|reply| reply)
    }
    /// The hooks in use.
    pub fn hooks(&self) -> Arc<Keyring> {
        self.register.hooks()
    }
    /// A number that is another one when other roles are in use.
    pub fn roles_edition(&self) -> u64 {
        self.register.roles_edition()
    }
    /// The master's clock.
    pub fn now(&self) -> Timestamp {
        clock::now()
    }
    /// Who a token (`Authorization: Bearer`), a client key or a local user is, for the API, and their role.
    pub fn operator(&self, credential: &Credential) -> Result<Caller, LoginFault> {
        self.register.operator(credential)
    }
    /// Puts on record that somebody was not let in, unless there are too many of them.
    pub fn refused(&self, refused: Refused) {
        self.register.refused(refused);
    }
    /// The minion of a client key, for `/files/`.
    pub fn minion(&self, key: &bus::PublicKey) -> Option<MinionId> {
        Directory::minion(&*self.register, key)
    }
    /// The signed list of masters in use; empty if there is none.
    pub fn masters(&self) -> String {
        self.register.masters()
    }
    /// Jobs that watchers may still be interested in.
    pub fn is_open(&self, job: JobId) -> bool {
        self.register.is_open(job)
    }
    async fn ask<T>(
        &self,
        caller: Caller,
        request: Request,
        waiter: Waiter,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, Reply> {
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            return Err(unavailable("the system has no randomness".into()));
        }
        self.send(Incoming::Ask { caller, request: Box::new(request), random, waiter }, answer).await
    }
    async fn send<T>(&self, incoming: Incoming, answer: oneshot::Receiver<T>) -> Result<T, Reply> {
        let asked = async {
            self.inputs.send(incoming).await.ok()?;
            answer.await.ok()
        };
        match timeout(REQUEST_MAX, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(unavailable("the master is stopping".into())),
            Err(_) => Err(unavailable(format!("no answer within {} s", REQUEST_MAX.as_secs()))),
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

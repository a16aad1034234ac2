//! What the pages stand on: the daemon's handle behind a trait, and the door for observers.

use super::hook::HookDoor;
use crate::{
    backup::Keys,
    core::{Delivery, Refused},
    daemon::{Credential, Handle, LoginFault},
    gate::ObserverStream,
    hooks::Keyring,
    limits::Limits,
};
use futures_util::future::BoxFuture;
use model::{Caller, ContentHash, Event, MinionId, Reply, Request, Timestamp, api};
use std::{fs::File, net::SocketAddr, sync::Arc};
use tokio::sync::{Semaphore, broadcast, mpsc};

/// Takes over upgraded websocket streams.
pub(crate) type Observers = Box<dyn Fn(Box<dyn ObserverStream>, SocketAddr) + Send + Sync>;

/// What every page can reach.
pub(crate) struct Site {
    pub(crate) daemon: Arc<dyn Daemon>,
    pub(crate) observers: Observers,
    pub(crate) limits: Arc<Limits>,
    /// One backup is made and sent at a time: each takes the room of the store on disk.
    pub(crate) backups: Arc<Semaphore>,
    /// How hooks are used now.
    pub(crate) hooks: HookDoor,
}

/// The daemon as the web server sees it; [`Handle`] is the real one.
pub(crate) trait Daemon: Send + Sync + 'static {
    fn request(&self, caller: Caller, request: Request) -> BoxFuture<'_, Reply>;
    fn probe(
        &self,
        caller: Caller,
        request: Request,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<api::ProbeLine>, Reply>>;
    fn watch_job(
        &self,
        caller: Caller,
        job: String,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<api::JobLine>, Reply>>;
    fn watch_events(&self) -> broadcast::Receiver<Arc<Event>>;
    fn recipe<'a>(&'a self, minion: &'a MinionId, hash: ContentHash) -> BoxFuture<'a, Option<Vec<u8>>>;
    fn content<'a>(&'a self, minion: &'a MinionId, hash: ContentHash) -> BoxFuture<'a, Option<File>>;
    fn backup(&self, caller: Caller, keys: Keys) -> BoxFuture<'_, Result<File, Reply>>;
    fn operator(&self, credential: &Credential) -> Result<Caller, LoginFault>;
    fn refused(&self, refused: Refused);
    fn minion(&self, key: &bus::PublicKey) -> Option<MinionId>;
    fn masters(&self) -> String;
    fn hooks(&self) -> Arc<Keyring>;
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Reply>;
    fn now(&self) -> Timestamp;
    fn roles_edition(&self) -> u64;
}

impl Daemon for Handle {
    fn request(&self, caller: Caller, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(Self::request(self, caller, request))
    }
    fn probe(
        &self,
        caller: Caller,
        request: Request,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<api::ProbeLine>, Reply>> {
        Box::pin(Self::probe(self, caller, request))
    }
    fn watch_job(
        &self,
        caller: Caller,
        job: String,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<api::JobLine>, Reply>> {
        Box::pin(Self::watch_job(self, caller, job))
    }
    fn watch_events(&self) -> broadcast::Receiver<Arc<Event>> {
        Self::watch_events(self)
    }
    fn recipe<'a>(&'a self, minion: &'a MinionId, hash: ContentHash) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(Self::recipe(self, minion, hash))
    }
    fn content<'a>(&'a self, minion: &'a MinionId, hash: ContentHash) -> BoxFuture<'a, Option<File>> {
        Box::pin(Self::content(self, minion, hash))
    }
    fn backup(&self, caller: Caller, keys: Keys) -> BoxFuture<'_, Result<File, Reply>> {
        Box::pin(Self::backup(self, caller, keys))
    }
    fn operator(&self, credential: &Credential) -> Result<Caller, LoginFault> {
        Self::operator(self, credential)
    }
    fn refused(&self, refused: Refused) {
        Self::refused(self, refused);
    }
    fn minion(&self, key: &bus::PublicKey) -> Option<MinionId> {
        Self::minion(self, key)
    }
    fn masters(&self) -> String {
        Self::masters(self)
    }
    fn hooks(&self) -> Arc<Keyring> {
        Self::hooks(self)
    }
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Reply> {
        Box::pin(Self::deliver(self, delivery))
    }
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
    fn roles_edition(&self) -> u64 {
        Self::roles_edition(self)
    }
}

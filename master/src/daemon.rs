//! The loop: inputs in, step, effects out; the only code that decides order.

use model::{Caller, ContentHash, Event, JobId, MinionId, Reply, Request, api};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{broadcast, mpsc};

/// What the web server holds of the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    _private: (),
}

impl Handle {
    /// Asks and waits for the answer.
    pub async fn request(&self, _caller: Caller, _request: Request) -> Reply {
        todo!()
    }
    /// Asks a probe and gets its lines as they come; the channel closes after the last.
    pub async fn probe(
        &self,
        _caller: Caller,
        _request: Request,
    ) -> Result<mpsc::Receiver<api::ProbeLine>, Reply> {
        todo!()
    }
    /// Lines of a job from now on, a snapshot first; `None` if there is no such job. Slow readers get a gap.
    pub async fn watch_job(
        &self,
        _caller: Caller,
        _job: String,
    ) -> Result<mpsc::Receiver<api::JobLine>, Reply> {
        todo!()
    }
    /// Events from now on.
    pub fn watch_events(&self) -> broadcast::Receiver<Arc<Event>> {
        todo!()
    }
    /// A sealed recipe's ciphertext, if it is one of this minion's.
    pub async fn recipe(&self, _minion: &MinionId, _hash: ContentHash) -> Option<Vec<u8>> {
        todo!()
    }
    /// Path of a content in the trees, if one of this minion's open recipes grants it.
    pub async fn content(&self, _minion: &MinionId, _hash: ContentHash) -> Option<PathBuf> {
        todo!()
    }
    /// Who a token (`Authorization: Bearer`) or a client key is, for the API: operators only.
    pub fn operator(&self, _credential: &Credential) -> Option<Caller> {
        todo!()
    }
    /// The minion of a client key, for `/files/`.
    pub fn minion(&self, _key: &bus::PublicKey) -> Option<MinionId> {
        todo!()
    }
    /// Jobs that watchers may still be interested in.
    pub fn is_open(&self, _job: JobId) -> bool {
        todo!()
    }
}

/// How an operator proves who they are.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `name:secret` of an observer with the role operator.
    Token(String),
    /// A client certificate's key.
    Key(bus::PublicKey),
    /// Unix socket peer.
    Peer {
        /// User id.
        uid: u32,
        /// Group id and supplementary groups that matter were checked by the socket's mode.
        gid: u32,
    },
}

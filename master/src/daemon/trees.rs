//! Reads the trees when they change and on demand; never on the loop's own time.

use super::Incoming;
use crate::sources::{Generation, News, Trees, Watcher};
use model::ContentHash;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Quiet time after a change before the trees are read: an editor or a checkout changes more than one file.
const SETTLE: Duration = Duration::from_millis(150);
/// However busy they are, they are read after this long.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// They are looked at this often even if the watch says nothing (network mounts, an overflow).
const LOOK: Duration = Duration::from_mins(5);
/// The same for a repository: one file.
const LOOK_AT_GIT: Duration = Duration::from_secs(30);

/// Reads, then waits for a change or for `again`, until the loop is gone.
pub(super) async fn keep_reading(mut trees: Trees, again: Arc<Notify>, inputs: mpsc::Sender<Incoming>) {
    let mut watcher = watch(&trees);
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let news = trees.look();
            (trees, news)
        });
        let Ok((returned, news)) = read.await else {
            warn!("reading the trees ended in a bug: they are not read any more");
            return;
        };
        trees = returned;
        for incoming in news.into_iter().flat_map(told) {
            if inputs.send(incoming).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = changed(watcher.as_mut()) => {}
            () = again.notified() => trees.try_again(),
            () = sleep(if trees.follows() { LOOK_AT_GIT } else { LOOK }) => {}
            () = inputs.closed() => return,
        }
    }
}

fn told(news: News) -> Vec<Incoming> {
    match news {
        News::Trees(reading, commit) => {
            let commit = commit.map(|it| Incoming::Pushed(Box::new(it)));
            commit.into_iter().chain([Incoming::Trees(reading)]).collect()
        }
        News::Bad(commit, errors) => {
            let commit = commit.map(|it| Incoming::Pushed(Box::new(it)));
            commit.into_iter().chain([Incoming::BadPush(errors)]).collect()
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe; a watcher keeps its descriptor as long as it lives")]
fn watch(trees: &Trees) -> Option<AsyncFd<Watcher>> {
    let watcher = Watcher::with(trees.layout(), trees.watched()).and_then(AsyncFd::new);
    watcher
        .inspect_err(|error| warn!(%error, "cannot watch the trees: they are looked at every five minutes"))
        .ok()
}

async fn changed(watcher: Option<&mut AsyncFd<Watcher>>) {
    let Some(watcher) = watcher else { return std::future::pending().await };
    while !woken(watcher).await {}
    let settled = async { while timeout(SETTLE, woken(watcher)).await.is_ok() {} };
    let _ = timeout(SETTLE_MAX, settled).await;
    debug!("the trees changed");
}

async fn woken(watcher: &mut AsyncFd<Watcher>) -> bool {
    let Ok(mut ready) = watcher.readable_mut().await else { return std::future::pending().await };
    ready.clear_ready();
    ready.get_inner_mut().drain()
}

/// Keeps contents that open recipes grant and that a new generation has no more: copies them from memory into
/// `folder`, and deletes there what no recipe grants. Blocks.
pub(super) fn spill(folder: &Path, grants: &BTreeSet<ContentHash>, old: &Generation, new: &Generation) {
    for hash in grants.iter().filter(|it| !new.files.contains_key(it)) {
        let kept = old.compiler.tree().iter().find(|(_, source)| source.hash == *hash);
        let Some(bytes) = kept.and_then(|(_, source)| source.bytes.as_ref()) else { continue };
        let written =
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(place(folder, *hash), bytes));
        if let Err(error) = written {
            warn!(%hash, %error, "a content of an open job is changed in the trees and cannot be kept");
        }
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let wanted =
            entry.file_name().to_str().and_then(|it| it.parse().ok()).is_some_and(|it| grants.contains(&it));
        if !wanted {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Where a kept content lies.
pub(super) fn place(folder: &Path, hash: ContentHash) -> PathBuf {
    folder.join(hash.to_string())
}

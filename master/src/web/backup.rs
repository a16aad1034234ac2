//! `POST /api/v1/backup`: the whole master in one file, as it is written.

use super::{
    caller::{self, Peer, Proof},
    routes::{Connection, not_allowed, reply_response},
};
use crate::{backup::Keys, core::Refused};
use axum::{
    Json,
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use model::{
    Reply,
    api::{ErrorKind, ErrorView},
    broken,
};
use serde::Deserialize;
use std::{os::unix::fs::MetadataExt, sync::Arc};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default)]
    with_keys: bool,
}

/// For operators. The keys are only for who can read them anyway: root, and the master's own user, on its machine.
pub(super) async fn backup(connection: Connection, headers: HeaderMap, Json(wish): Json<Wish>) -> Response {
    let Connection { site, peer } = connection;
    let who = match caller::operator(&site, &peer, &Proof::of(&peer, &headers)).await {
        Ok(who) => who,
        Err(why) => return not_allowed(&why),
    };
    if wish.with_keys && !may_read_keys(&peer) {
        let what = "back up the master with its keys".to_owned();
        site.daemon.refused(Refused { caller: who, what, reason: "not root on its machine".to_owned() });
        return reply_response(&Reply::Error(ErrorView {
            kind: ErrorKind::Forbidden,
            message: "whoever has the keys is the master: they are given to root on its machine only"
                .to_owned(),
            hint: Some("run it there with sudo, or without --with-keys".to_owned()),
            diagnostics: Vec::new(),
        }));
    }
    let Ok(turn) = Arc::clone(&site.backups).try_acquire_owned() else {
        return reply_response(&Reply::Error(ErrorView {
            kind: ErrorKind::Unavailable,
            message: "another backup is being made or fetched".to_owned(),
            hint: Some("try again when it has ended".to_owned()),
            diagnostics: Vec::new(),
        }));
    };
    let keys = if wish.with_keys { Keys::Included } else { Keys::Left };
    let file = match site.daemon.backup(who, keys).await {
        Ok(file) => file,
        Err(reply) => return reply_response(&reply),
    };
    let Ok(size) = file.metadata().map(|it| it.len()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(CHUNK);
    let head = [
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    // The next one's turn comes when this one is sent, or nobody wants it any more.
    let body = tokio_util::io::ReaderStream::with_capacity(file, CHUNK).map(move |it| {
        let _ = &turn;
        it
    });
    (StatusCode::OK, head, Body::from_stream(body)).into_response()
}

fn may_read_keys(peer: &Peer) -> bool {
    if broken::leaves_out("keys-for-root-only") {
        return true;
    }
    let Peer::Socket(Some(local)) = peer else { return false };
    let own = std::fs::metadata("/proc/self").map_or(0, |it| it.uid());
    local.uid == 0 || local.uid == own
}

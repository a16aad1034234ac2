//! Files by hash, for minions only: sealed recipes and contents that a recipe grants, with resume by range.

use super::{caller, routes::Connection};
use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::ContentHash;
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// `GET /files/{hash}`: a stranger, another minion and a hash that was not granted are all told the same.
pub(crate) async fn file(connection: Connection, Path(hash): Path<String>, headers: HeaderMap) -> Response {
    let Some(minion) = caller::minion(&connection.site, &connection.peer) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Ok(hash) = hash.parse::<ContentHash>() else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(from) = range_start(&headers) else { return StatusCode::RANGE_NOT_SATISFIABLE.into_response() };
    let daemon = &connection.site.daemon;
    if let Some(recipe) = daemon.recipe(&minion, hash).await {
        return from_memory(recipe, from);
    }
    match daemon.content(&minion, hash).await {
        Some(file) => from_disk(file, from).await.unwrap_or_else(|error| {
            tracing::warn!(%minion, %hash, %error, "cannot read a content that was granted");
            StatusCode::NOT_FOUND.into_response()
        }),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Where `Range: bytes=N-` begins; 0 without one. Other forms are refused.
fn range_start(headers: &HeaderMap) -> Result<u64, ()> {
    let Some(value) = headers.get(header::RANGE) else { return Ok(0) };
    let text = value.to_str().map_err(|_| ())?;
    text.strip_prefix("bytes=").and_then(|it| it.strip_suffix('-')).and_then(|it| it.parse().ok()).ok_or(())
}

fn head(from: u64, size: u64) -> Option<(StatusCode, [(header::HeaderName, String); 3])> {
    let length = size.checked_sub(from).filter(|left| *left > 0 || from == 0)?;
    let status = if from == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    let range = format!("bytes {from}-{}/{size}", size.saturating_sub(1));
    Some((
        status,
        [
            (header::CONTENT_LENGTH, length.to_string()),
            (header::CONTENT_RANGE, range),
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        ],
    ))
}

fn from_memory(mut bytes: Vec<u8>, from: u64) -> Response {
    match head(from, bytes.len() as u64) {
        Some((status, headers)) => {
            let from = usize::try_from(from).unwrap_or(bytes.len()).min(bytes.len());
            (status, headers, Body::from(bytes.split_off(from))).into_response()
        }
        None => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
    }
}

async fn from_disk(file: std::fs::File, from: u64) -> std::io::Result<Response> {
    let mut file = tokio::fs::File::from_std(file);
    let size = file.metadata().await?.len();
    let Some((status, headers)) = head(from, size) else {
        return Ok(StatusCode::RANGE_NOT_SATISFIABLE.into_response());
    };
    file.seek(SeekFrom::Start(from)).await?;
    file.set_max_buf_size(CHUNK);
    let body = tokio_util::io::ReaderStream::with_capacity(file.take(size - from), CHUNK);
    Ok((status, headers, Body::from_stream(body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_where_they_say_and_have_no_other_form() {
        let of = |text: &str| range_start(&HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]));
        assert_eq!(range_start(&HeaderMap::new()), Ok(0));
        assert_eq!(of("bytes=17-"), Ok(17));
        for bad in ["bytes=1-2", "bytes=-5", "items=1-", "bytes=1-2,4-", "bytes=18446744073709551616-"] {
            assert_eq!(of(bad), Err(()), "{bad}");
        }
        assert!(head(10, 10).is_none(), "nothing left");
        assert!(head(0, 0).is_some(), "an empty content");
        assert!(head(11, 10).is_none());
    }
}

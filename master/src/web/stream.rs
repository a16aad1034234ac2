//! Streams of JSON lines: flushed one by one, with an empty line now and then so that both ends notice a dead peer.

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use model::Event;
use serde::Serialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, timeout_at},
};

/// An empty line after this long without one.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Whether the reader may still read is looked up this often.
const REVIEW_EVERY: Duration = Duration::from_secs(1);
/// A stream of lines.
pub(crate) const CONTENT_TYPE: &str = "application/jsonl";

fn line(value: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

/// Whether the reader may still read.
pub(crate) type Still = Box<dyn Fn() -> bool + Send + Sync>;

/// Everything that comes through a channel, until it closes.
pub(crate) fn of_channel<T: Serialize + Send + 'static>(
    receiver: mpsc::Receiver<T>,
    still: Still,
) -> Response {
    let lines = futures_util::stream::unfold((receiver, still), |(mut receiver, still)| async move {
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            if !still() {
                return None;
            }
            let review = (Instant::now() + REVIEW_EVERY).min(heartbeat);
            let bytes = match timeout_at(review, receiver.recv()).await {
                Ok(Some(value)) => line(&value),
                Ok(None) => return None,
                Err(_) if review == heartbeat => Bytes::from_static(b"\n"),
                Err(_) => continue,
            };
            return Some((Ok::<_, Infallible>(bytes), (receiver, still)));
        }
    });
    response(Body::from_stream(lines))
}

/// Events whose tag an MQTT filter lets through; `{"gap": n}` where the reader was too slow.
pub(crate) fn of_events(
    receiver: broadcast::Receiver<Arc<Event>>,
    filter: Option<String>,
    still: Still,
) -> Response {
    let start = (receiver, filter, still);
    let lines = futures_util::stream::unfold(start, |(mut receiver, filter, still)| async move {
        let bytes = next_event(&mut receiver, filter.as_deref(), &still).await?;
        Some((Ok::<_, Infallible>(bytes), (receiver, filter, still)))
    });
    response(Body::from_stream(lines))
}

async fn next_event(
    receiver: &mut broadcast::Receiver<Arc<Event>>,
    filter: Option<&str>,
    still: &Still,
) -> Option<Bytes> {
    let heartbeat = Instant::now() + HEARTBEAT;
    loop {
        if !still() {
            return None;
        }
        let review = (Instant::now() + REVIEW_EVERY).min(heartbeat);
        match timeout_at(review, receiver.recv()).await {
            Ok(Ok(event)) if filter.is_none_or(|it| lang::rules::filter_matches(it, &event.tag)) => {
                return Some(line(&*event));
            }
            Ok(Err(broadcast::error::RecvError::Lagged(missed))) => {
                return Some(line(&serde_json::json!({ "gap": missed })));
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            Err(_) if review == heartbeat => return Some(Bytes::from_static(b"\n")),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

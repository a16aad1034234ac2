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
    time::timeout,
};

/// An empty line after this long without one.
const HEARTBEAT: Duration = Duration::from_secs(10);
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

/// Everything that comes through a channel, until it closes.
pub(crate) fn of_channel<T: Serialize + Send + 'static>(receiver: mpsc::Receiver<T>) -> Response {
    let lines = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let bytes = match timeout(HEARTBEAT, receiver.recv()).await {
            Ok(Some(value)) => line(&value),
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b"\n"),
        };
        Some((Ok::<_, Infallible>(bytes), receiver))
    });
    response(Body::from_stream(lines))
}

/// Events whose tag an MQTT filter lets through; `{"gap": n}` where the reader was too slow.
pub(crate) fn of_events(receiver: broadcast::Receiver<Arc<Event>>, filter: Option<String>) -> Response {
    let lines = futures_util::stream::unfold((receiver, filter), |(mut receiver, filter)| async move {
        let bytes = next_event(&mut receiver, filter.as_deref()).await?;
        Some((Ok::<_, Infallible>(bytes), (receiver, filter)))
    });
    response(Body::from_stream(lines))
}

async fn next_event(receiver: &mut broadcast::Receiver<Arc<Event>>, filter: Option<&str>) -> Option<Bytes> {
    let deadline = tokio::time::Instant::now() + HEARTBEAT;
    loop {
        match tokio::time::timeout_at(deadline, receiver.recv()).await {
            Ok(Ok(event)) if filter.is_none_or(|it| lang::rules::filter_matches(it, &event.tag)) => {
                return Some(line(&*event));
            }
            Ok(Ok(_)) => {}
            Ok(Err(broadcast::error::RecvError::Lagged(missed))) => {
                return Some(line(&serde_json::json!({ "gap": missed })));
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            Err(_) => return Some(Bytes::from_static(b"\n")),
        }
    }
}

//! MQTT over websocket: binary frames become the byte stream that the gate takes over.

use super::routes::Connection;
use super::{caller, caller::Peer};
use axum::{
    body::Bytes,
    extract::{
        FromRequestParts,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
};
use futures_util::{Sink, Stream};
use model::broken;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one websocket message.
const MESSAGE_MAX: usize = 256 * 1024;
/// What browsers and observers offer; `mqttv3.1` is the old spelling.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// `GET /mqtt` and `GET /`: hands the stream to the gate, which asks for name and secret.
pub(crate) async fn upgrade(connection: Connection, request: Request<axum::body::Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    if !caller::same_origin(&parts.headers) {
        return (StatusCode::FORBIDDEN, "this page may not talk to this master\n").into_response();
    }
    let Peer::Tls { address, .. } = connection.peer else {
        return (StatusCode::NOT_FOUND, "MQTT is spoken over HTTPS only\n").into_response();
    };
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return (
            StatusCode::UPGRADE_REQUIRED,
            "this is labmaster: MQTT over websocket; the API is in /openapi.json\n",
        )
            .into_response();
    };
    let site = Arc::clone(&connection.site);
    let message_max = if broken::leaves_out("websocket-limit") { usize::MAX } else { MESSAGE_MAX };
    upgrade
        .protocols(PROTOCOLS)
        .max_message_size(message_max)
        .max_frame_size(message_max)
        .on_upgrade(move |socket| async move { (site.observers)(Box::new(ByteStream::new(socket)), address) })
}

/// A websocket as a byte stream: text frames end it.
struct ByteStream {
    socket: WebSocket,
    rest: Bytes,
}

impl ByteStream {
    fn new(socket: WebSocket) -> Self {
        Self { socket, rest: Bytes::new() }
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(text))) if broken::leaves_out("binary-websocket") => {
                    self.rest = Bytes::copy_from_slice(text.as_bytes());
                }
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "MQTT over websocket is binary",
                    )));
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(broken)?;
        let length = bytes.len().min(MESSAGE_MAX);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..length]));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(length))
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(broken)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(broken)
    }
}

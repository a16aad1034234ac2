//! The connection to the master: a Unix socket, or HTTPS by pinned key. The only file that waits.

mod newer;

use crate::{
    Outcome,
    config::Place,
    failure::{Exit, Failure},
};
use bus::http::{Connection, HttpError};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request as HttpRequest, Response, body::Incoming, header};
use model::{Reply, Request, api::ErrorView};
use serde::de::DeserializeOwned;
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, time};

/// Bytes of an answer.
const ANSWER_MAX: usize = 256 * 1024 * 1024;
/// Bytes of one line of a stream.
const LINE_MAX: usize = 32 * 1024 * 1024;
/// For a connection to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For an answer that is no stream.
const REPLY_MAX: Duration = Duration::from_secs(150);
/// For a file to begin: it is made first, of a whole store on an SD card.
const FILE_MAX: Duration = Duration::from_hours(1);
/// A stream that says nothing for this long is dead: the master sends an empty line every 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A conversation with a master; connects when it is first needed.
pub(crate) struct Session {
    runtime: Runtime,
    place: Place,
    connection: Option<Connection>,
    /// What was left out of the last answer, for people.
    left_out: Option<String>,
}

/// What a stream brings.
pub(crate) enum Heard<T> {
    Line(T),
    /// Time passed.
    Tick,
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The master had no more to say.
    Finished,
    /// The reader had enough.
    Stopped,
    /// Ctrl-C.
    Interrupted,
    /// The limit was over.
    TimedOut,
    /// The connection broke.
    Broken(String),
}

/// What to stream, and how patiently.
pub(crate) struct Call<'a> {
    pub(crate) path: &'a str,
    /// Sent by POST if there is one.
    pub(crate) body: Option<&'a Request>,
    pub(crate) until: Option<Instant>,
    pub(crate) tick: Duration,
}

impl Session {
    /// For a master at `place`.
    pub(crate) fn new(place: Place) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|it| Failure::new(Exit::Failed, format!("cannot start: {it}")))?;
        Ok(Self { runtime, place, connection: None, left_out: None })
    }

    /// Where it goes.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Asks and waits for the answer; a refusal is a failure.
    pub(crate) fn request(&mut self, request: &Request) -> Outcome<Reply> {
        let body = serde_json::to_vec(request).map_err(|it| Failure::usage(it.to_string()))?;
        let mut connection = self.connection.take();
        let reply = self.runtime.block_on(async {
            let ask = ask(&self.place, &mut connection, body);
            time::timeout(REPLY_MAX, ask)
                .await
                .unwrap_or_else(|_| Err(Failure::new(Exit::NoMaster, "the master did not answer in time")))
        });
        self.connection = connection;
        let newer::Understood { reply, left_out } = reply?;
        self.left_out = left_out;
        match reply {
            Reply::Error(view) => Err(view.into()),
            reply => Ok(reply),
        }
    }

    /// What was left out of the last answer because only a newer labctl knows it.
    pub(crate) fn left_out(&mut self) -> Option<String> {
        self.left_out.take()
    }

    /// Reads lines until the end, the limit, Ctrl-C, or until `on` has enough.
    pub(crate) fn stream<T: DeserializeOwned>(
        &mut self,
        call: &Call<'_>,
        on: &mut dyn FnMut(Heard<T>) -> Outcome<ControlFlow<()>>,
    ) -> Outcome<StreamEnd> {
        let mut connection = self.connection.take();
        self.runtime.block_on(async {
            let response = open(&self.place, &mut connection, call).await?;
            read_lines(response, call, on).await
        })
    }

    /// Asks for something that is a file, and hands it over piece by piece; an error if it does not come whole.
    pub(crate) fn download(
        &mut self,
        path: &str,
        wish: &serde_json::Value,
        take: &mut dyn FnMut(&[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut connection = self.connection.take();
        let place = &self.place;
        self.runtime.block_on(async {
            let request = http_request(place, Method::POST, path, wish.to_string().into_bytes())?;
            let late = |_| Failure::new(Exit::NoMaster, "the master did not answer in time");
            let sent = send(place, &mut connection, request);
            let response = time::timeout(FILE_MAX, sent).await.map_err(late)??;
            if !response.status().is_success() {
                return match reply_of(place, response).await?.reply {
                    Reply::Error(view) => Err(view.into()),
                    _ => Err(Failure::new(Exit::NoMaster, format!("{place} answered with no file"))),
                };
            }
            let mut body = response.into_body();
            while let Some(frame) = time::timeout(SILENCE_MAX, body.frame()).await.map_err(late)? {
                let frame = frame.map_err(|error| lost(place, &error))?;
                take(frame.data_ref().map_or(&[][..], |it| it))?;
            }
            Ok(())
        })
    }

    /// Waits, unless Ctrl-C comes first.
    pub(crate) fn pause(&mut self, duration: Duration) -> ControlFlow<()> {
        self.runtime.block_on(async {
            tokio::select! {
                () = time::sleep(duration) => ControlFlow::Continue(()),
                _ = tokio::signal::ctrl_c() => ControlFlow::Break(()),
            }
        })
    }

    /// Whether a TCP connection to `host:port` comes about; the time it took.
    pub(crate) fn reaches(&mut self, address: &str) -> Result<Duration, String> {
        const REACH_MAX: Duration = Duration::from_secs(3);
        let began = Instant::now();
        let connected = self
            .runtime
            .block_on(async { time::timeout(REACH_MAX, tokio::net::TcpStream::connect(address)).await });
        match connected {
            Ok(Ok(_)) => Ok(began.elapsed()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in 3 s".to_owned()),
        }
    }
}

async fn connected(place: &Place, connection: &mut Option<Connection>) -> Outcome<Connection> {
    if let Some(mut open) = connection.take()
        && open.ready().await.is_ok()
    {
        return Ok(open);
    }
    let connect = async {
        match place {
            Place::Socket(path) => bus::http::connect_unix(path).await,
            Place::Https(https) => {
                let identity = https.identity()?;
                let tls = bus::tls::client_config(&https.pins, identity.as_ref());
                bus::http::connect_tls(&https.address, tls).await
            }
        }
        .map_err(|error| no_master(place, &error))
    };
    time::timeout(CONNECT_MAX, connect)
        .await
        .unwrap_or_else(|_| Err(Failure::new(Exit::NoMaster, format!("{place} does not answer"))))
}

fn no_master(place: &Place, error: &HttpError) -> Failure {
    let mut message = format!("no master at {place}: {error}");
    let mut cause = std::error::Error::source(error);
    let mut denied = false;
    while let Some(it) = cause {
        message = format!("{message}: {it}");
        denied |= it
            .downcast_ref::<std::io::Error>()
            .is_some_and(|it| it.kind() == std::io::ErrorKind::PermissionDenied);
        cause = it.source();
    }
    match place {
        Place::Socket(_) if denied => Failure::new(Exit::Forbidden, message).hint(
            "only root and members of the group `lab` may use the socket (sudo, or usermod -aG lab YOU)",
        ),
        Place::Socket(_) => Failure::new(Exit::NoMaster, message).hint(
            "start it with `labmaster run`, or name another one: labctl context add NAME URL --pin PIN",
        ),
        Place::Https(_) => Failure::new(Exit::NoMaster, message).hint("labctl doctor looks for the reason"),
    }
}

fn http_request(
    place: &Place,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Outcome<HttpRequest<Full<Bytes>>> {
    let mut request = HttpRequest::builder().method(method).uri(path).header(header::HOST, place.host());
    if let Some(token) = place.token() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::usage(format!("no such path `{path}`: {error}")))
}

async fn send(
    place: &Place,
    slot: &mut Option<Connection>,
    request: HttpRequest<Full<Bytes>>,
) -> Outcome<Response<Incoming>> {
    let mut connection = connected(place, slot).await?;
    let sent = connection.send_request(request).await;
    *slot = Some(connection);
    sent.map_err(|error| lost(place, &error))
}

fn lost(place: &Place, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::NoMaster, format!("lost the connection to {place}: {error}"))
}

async fn ask(place: &Place, slot: &mut Option<Connection>, body: Vec<u8>) -> Outcome<newer::Understood> {
    let request = http_request(place, Method::POST, "/api/v1/request", body)?;
    reply_of(place, send(place, slot, request).await?).await
}

async fn reply_of(place: &Place, response: Response<Incoming>) -> Outcome<newer::Understood> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| lost(place, &*error))?.to_bytes();
    newer::read(&body).map_err(|error| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        Failure::new(
            Exit::NoMaster,
            format!("{place} answered {status}, which is no reply ({error}): {text}"),
        )
        .hint("is it a labmaster, and of this release? labctl doctor says")
    })
}

async fn open(place: &Place, slot: &mut Option<Connection>, call: &Call<'_>) -> Outcome<Response<Incoming>> {
    let request = match call.body {
        Some(request) => {
            let body = serde_json::to_vec(request).map_err(|it| Failure::usage(it.to_string()))?;
            http_request(place, Method::POST, call.path, body)?
        }
        None => http_request(place, Method::GET, call.path, Vec::new())?,
    };
    let response = send(place, slot, request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    match reply_of(place, response).await?.reply {
        Reply::Error(view) => Err(ErrorView::into(view)),
        other => Err(Failure::new(Exit::NoMaster, format!("{place} answered with no stream: {other:?}"))),
    }
}

async fn read_lines<T: DeserializeOwned>(
    response: Response<Incoming>,
    call: &Call<'_>,
    on: &mut dyn FnMut(Heard<T>) -> Outcome<ControlFlow<()>>,
) -> Outcome<StreamEnd> {
    let mut body = response.into_body();
    let mut buffer = Vec::new();
    let mut ticks = time::interval(call.tick);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
    let mut heard_at = Instant::now();
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    heard_at = Instant::now();
                    buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |it| it));
                    if take_lines(&mut buffer, on)?.is_break() {
                        return Ok(StreamEnd::Stopped);
                    }
                }
                Some(Err(error)) => return Ok(StreamEnd::Broken(error.to_string())),
                None => return Ok(StreamEnd::Finished),
            },
            _ = ticks.tick() => {
                if on(Heard::Tick)?.is_break() {
                    return Ok(StreamEnd::Stopped);
                }
                if call.until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(StreamEnd::TimedOut);
                }
                if heard_at.elapsed() > SILENCE_MAX {
                    return Ok(StreamEnd::Broken("the master has gone silent".to_owned()));
                }
            }
            _ = &mut interrupt => return Ok(StreamEnd::Interrupted),
        }
    }
}

fn take_lines<T: DeserializeOwned>(
    buffer: &mut Vec<u8>,
    on: &mut dyn FnMut(Heard<T>) -> Outcome<ControlFlow<()>>,
) -> Outcome<ControlFlow<()>> {
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        if line.len() == 1 {
            continue;
        }
        let line = match serde_json::from_slice(&line) {
            Ok(line) => line,
            Err(_) if newer::is_unknown_line(&line) => continue,
            Err(error) => {
                let what = format!("a line of the master makes no sense: {error}");
                return Err(Failure::new(Exit::NoMaster, what).hint(
                    "labctl and labmaster may be one minor version apart, no more; labctl doctor says",
                ));
            }
        };
        if on(Heard::Line(line))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if buffer.len() > LINE_MAX {
        return Err(Failure::new(Exit::NoMaster, "a line of the master is too long"));
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole_and_heartbeats_skipped() {
        let mut buffer = b"\n{\"gap\":1}\n\n{\"ga".to_vec();
        let mut seen = Vec::new();
        let mut on = |heard: Heard<serde_json::Value>| {
            if let Heard::Line(line) = heard {
                seen.push(line);
            }
            Ok(ControlFlow::Continue(()))
        };
        assert!(take_lines(&mut buffer, &mut on).unwrap().is_continue());
        buffer.extend_from_slice(b"p\":2}\n");
        assert!(take_lines(&mut buffer, &mut on).unwrap().is_continue());
        assert_eq!(seen, [serde_json::json!({ "gap": 1 }), serde_json::json!({ "gap": 2 })]);
        assert!(buffer.is_empty());
        let mut newer = b"{\"line\":\"of tomorrow\",\"data\":1}\n".to_vec();
        let skipped = take_lines::<model::api::JobLine>(&mut newer, &mut |_| panic!("nobody knows it"));
        assert!(skipped.unwrap().is_continue() && newer.is_empty());
        let mut bad = b"nonsense\n".to_vec();
        let failure = take_lines::<serde_json::Value>(&mut bad, &mut |_| Ok(ControlFlow::Continue(())));
        assert_eq!(failure.unwrap_err().exit, Exit::NoMaster);
    }
}

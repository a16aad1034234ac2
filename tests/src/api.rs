//! The master's API as a bench needs it: one request over the socket, without a command around it.

use model::{Reply, Request};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Asks the master behind a socket.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let body = serde_json::to_vec(request)?;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!(
        "POST /api/v1/request HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let start = answer
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .ok_or_else(|| io::Error::other("the answer is no HTTP"))?;
    Ok(serde_json::from_slice(&answer[start + 4..])?)
}

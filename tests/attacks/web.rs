//! Operators, API and web: requests of nobody in particular, of pages in browsers, and too many or too large ones.

use crate::{
    arena::{Arena, HERE},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    identity::ended,
    mqtt::{self, Connect, Line, SOON},
};
use bus::Identity;
use model::ObserverRole;
use std::{
    io::Write,
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

pub(crate) const GROUP: Group = Group {
    letter: 'O',
    name: "Operators, API and web",
    test: "operators_api_and_web",
    attacks: ATTACKS,
    arena: Arena::bare,
};

const LOGIN: &str = "operators: an ed25519 key each or a token with rights and an end";
const BROWSER: &str = "dashboards: pages of others may not talk to the master";

const ATTACKS: &[Attack] = &[
    row("O01", Without("api-login"), "asks the API without a token", "401", LOGIN, |it| {
        asks(it, "GET", "/api/v1/status", "")
    }),
    row("O02", Without("api-login"), "asks the API with a made-up token", "403", LOGIN, |it| {
        asks(it, "GET", "/api/v1/keys", "Authorization: Bearer admin:admin\r\n")
    }),
    row("O03", Without("api-login"), "gives an order without a token", "401", LOGIN, |it| {
        asks(it, "POST", "/api/v1/jobs", "")
    }),
    row(
        "O04",
        Without("api-login"),
        "asks the API with the certificate of a minion",
        "403",
        LOGIN,
        minion_asks,
    ),
    row("O05", Without("api-login"), "watches events without a token", "401", LOGIN, |it| {
        asks(it, "GET", "/api/v1/events/watch", "")
    }),
    row("O06", Without("api-role"), "gives an order with the token of a viewer", "403", "roles", |it| {
        token_asks(it, ObserverRole::Viewer, "POST", "/api/v1/jobs")
    }),
    row("O07", Without("api-role"), "reads keys with the token of an integration", "403", "roles", |it| {
        token_asks(it, ObserverRole::Integration, "GET", "/api/v1/keys")
    }),
    row(
        "O08",
        Without("token-end"),
        "uses an operator's token after its end",
        "403",
        "a token with rights and an end",
        ended_asks,
    ),
    row(
        "O09",
        Without("same-origin"),
        "as a page of another site, gives an order through a browser",
        "403",
        BROWSER,
        |it| page_asks(it, "https://evil.example"),
    ),
    row(
        "O10",
        Without("same-origin"),
        "as a page without an origin (a sandboxed frame), gives an order",
        "403",
        BROWSER,
        |it| page_asks(it, "null"),
    ),
    row(
        "O11",
        Without("same-origin"),
        "as a page served in clear by the same host, gives an order",
        "403",
        BROWSER,
        |it| page_asks(it, "http://HOST"),
    ),
    row(
        "O12",
        Without("same-origin"),
        "as a page of another site, opens MQTT over websocket",
        "403",
        BROWSER,
        foreign_socket,
    ),
    row(
        "O13",
        Without("page-headers"),
        "shows the master's pages in a frame",
        "headers forbid it",
        BROWSER,
        framed,
    ),
    row(
        "O14",
        Without("binary-websocket"),
        "speaks MQTT in text frames",
        "the connection ends",
        "MQTT over websocket at `/mqtt` and `/`",
        |it| websocket(it, 0x1),
    ),
    row(
        "O15",
        Without("websocket-limit"),
        "announces a websocket frame of 64 MiB",
        "the connection ends",
        "limits",
        huge_frame,
    ),
    row(
        "O16",
        Without("connect-limit"),
        "opens a websocket and says nothing",
        "ends after 5 s",
        "5 s for CONNECT",
        silent_socket,
    ),
    row(
        "O17",
        Without("observer-login"),
        "opens a websocket and logs in with a wrong secret",
        "the CONNECT is refused",
        "a user name and a token, by role",
        |it| websocket(it, 0x2),
    ),
    row("O18", Without("body-limit"), "sends a body of 3 MiB", "413", "limits", huge_body),
    row("O19", Without("head-limit"), "sends a head of 200 KiB", "the connection ends", "limits", huge_head),
    row(
        "O20",
        Without("web-accept-apart"),
        "opens one TCP connection to 8443 and says nothing",
        "others are served meanwhile",
        "rumqttd 3: one idle connection on the websocket listener",
        |it| delays(it, 1),
    ),
    row(
        "O21",
        Without("web-per-address"),
        "takes 600 connections of 8443 from one address",
        "others are served meanwhile",
        "budgets per address",
        |it| delays(it, 600),
    ),
    row(
        "O22",
        Without("web-handshake-limit"),
        "begins a handshake on 8443 and stops",
        "ends after 5 s",
        "5 s for TLS",
        stalled,
    ),
    row(
        "O23",
        Built("serde's parser has its own limit, which cannot be switched off"),
        "sends JSON of 10,000 levels",
        "400",
        "depth",
        json_bomb,
    ),
    row(
        "O24",
        Built("a path of the API is matched by segments, and none is a file"),
        "asks for `/files/../../etc/passwd` in four spellings",
        "404 or 401",
        "files by hash",
        traversal,
    ),
    row(
        "O25",
        Built("the grammar's recursion is a counter in its cursor, tried by crates/lang/tests/fuzz.rs too"),
        "targets 4,000 brackets",
        "400, the master goes on",
        "arguments are matched as structure",
        brackets,
    ),
    row(
        "O26",
        Built("hyper refuses what has two lengths"),
        "smuggles a request behind two lengths",
        "one answer, then the end",
        "-",
        smuggled,
    ),
    row(
        "O27",
        Built("rustls refuses it"),
        "speaks HTTP in clear to 8443",
        "the connection ends",
        "no control traffic without TLS",
        in_clear,
    ),
    row(
        "O28",
        Without("empty-match"),
        "gives an order to nobody in particular",
        "404",
        "an empty match is a refusal",
        empty_match,
    ),
];

pub(crate) fn web_line(
    arena: &Arena,
    from: IpAddr,
    identity: Option<&Identity>,
    limit: Duration,
) -> Option<Line> {
    let stream = mqtt::tcp(from, arena.lab.https())?;
    mqtt::tls(stream, arena.tls(identity), limit).map(Line::over)
}

/// An answer: status and everything.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Sends a request and reads what comes, to the end or for a while.
pub(crate) fn exchange(mut line: Line, request: &[u8], limit: Duration) -> Option<Answer> {
    line.send(request);
    let end = Instant::now() + limit;
    // What goes on for ever is known by its head.
    while Instant::now() < end && line.read().is_some() {
        let head = line.received();
        if head.starts_with(b"HTTP/1.1 101") || head.windows(5).any(|it| it == b"jsonl") {
            break;
        }
    }
    let text = String::from_utf8_lossy(line.received()).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, text })
}

/// A request with headers of its own (each ends with a line break).
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:8443\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const JOB: &str = "{\"target\":\"zz-*\",\"kind\":{\"kind\":\"run\",\"command\":[\"true\"],\"shell\":false,\
                   \"cwd\":null,\"user\":null,\"environment\":{},\"timeout_ms\":1000}}";

fn body_of(method: &str) -> &'static str {
    if method == "POST" { JOB } else { "" }
}

/// Whether somebody got beyond the door: anything but 401, 403 and no answer at all.
fn beyond(answer: Option<&Answer>) -> Verdict {
    let status = answer.map(|it| it.status);
    succeeded(status.is_some_and(|it| ![401, 403].contains(&it)), answer.map(|it| it.text.clone()))
}

fn send(arena: &Arena, identity: Option<&Identity>, request: &[u8]) -> Option<Answer> {
    exchange(web_line(arena, HERE, identity, SOON)?, request, SOON)
}

fn asks(arena: &mut Arena, method: &str, path: &str, headers: &str) -> Verdict {
    beyond(send(arena, None, &request(method, path, headers, body_of(method))).as_ref())
}

fn minion_asks(arena: &mut Arena) -> Verdict {
    let member = arena.member("minion");
    beyond(send(arena, Some(&member.identity), &request("GET", "/api/v1/minions", "", "")).as_ref())
}

pub(crate) fn bearer((name, secret): &(String, String)) -> String {
    format!("Authorization: Bearer {name}:{secret}\r\n")
}

fn token_asks(arena: &mut Arena, role: ObserverRole, method: &str, path: &str) -> Verdict {
    let login = bearer(&arena.observer(role, None));
    beyond(send(arena, None, &request(method, path, &login, body_of(method))).as_ref())
}

fn ended_asks(arena: &mut Arena) -> Verdict {
    let login = bearer(&ended(arena, ObserverRole::Operator));
    beyond(send(arena, None, &request("GET", "/api/v1/status", &login, "")).as_ref())
}

/// What an operator's browser would send on behalf of a page.
fn page_asks(arena: &mut Arena, origin: &str) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Operator, None));
    let origin = origin.replace("HOST", "localhost:8443");
    let headers = format!("{login}Origin: {origin}\r\n");
    beyond(send(arena, None, &request("POST", "/api/v1/jobs", &headers, JOB)).as_ref())
}

fn upgrade(more: &str) -> Vec<u8> {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost:8443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
    )
    .into_bytes()
}

fn foreign_socket(arena: &mut Arena) -> Verdict {
    let answer = send(arena, None, &upgrade("Origin: https://evil.example\r\n"));
    succeeded(answer.as_ref().is_some_and(|it| it.status == 101), answer.map(|it| it.status))
}

fn framed(arena: &mut Arena) -> Verdict {
    let answer = send(arena, None, &request("GET", "/healthz", "", "")).unwrap();
    let text = answer.text.to_lowercase();
    let forbidden = text.contains("x-frame-options: deny") && text.contains("content-security-policy");
    succeeded(!forbidden, answer.text)
}

/// An open websocket.
fn opened(arena: &Arena) -> Line {
    let mut line = web_line(arena, HERE, None, SOON).unwrap();
    line.send(&upgrade(""));
    let end = Instant::now() + SOON;
    while !line.received().windows(4).any(|it| it == b"\r\n\r\n") && Instant::now() < end {
        line.read();
    }
    assert!(line.received().starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(line.received()));
    line
}

/// A masked frame; the mask is zero.
fn masked(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[0x80 | kind, 0x80 | u8::try_from(bytes.len()).unwrap(), 0, 0, 0, 0], bytes].concat()
}

/// Says CONNECT over a websocket: in text frames, or in binary ones with a wrong secret.
fn websocket(arena: &mut Arena, kind: u8) -> Verdict {
    let (name, _) = arena.observer(ObserverRole::Viewer, None);
    // Without a login all bytes are ASCII, as text frames must be; then even the answer no shows that it was read.
    let login = (kind == 2).then_some((name.as_str(), "wrong"));
    let connect = Connect { id: "x", login, ..Connect::default() }.bytes();
    let mut line = opened(arena);
    line.send(&masked(kind, &connect));
    line.ends_within(Duration::from_millis(500));
    let received = line.received();
    // A binary frame with a CONNACK in it.
    let read = received.windows(4).any(|it| it == [0x82, 4, 0x20, 2]);
    let good = received.windows(6).any(|it| it == [0x82, 4, 0x20, 2, 0, 0]);
    succeeded(if kind == 1 { read } else { good }, received)
}

fn huge_frame(arena: &mut Arena) -> Verdict {
    let mut line = opened(arena);
    line.send(&[&[0x82, 0xff][..], &(64_u64 << 20).to_be_bytes(), &[0; 4], b"abc"].concat());
    let ended = line.ends_within(arena.end_limit());
    succeeded(!ended, "still open")
}

fn silent_socket(arena: &mut Arena) -> Verdict {
    let mut line = opened(arena);
    let ended = line.ends_within(Duration::from_millis(5_800));
    succeeded(!ended, "still open after 5.8 s")
}

fn huge_body(arena: &mut Arena) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Operator, None));
    let body = format!("{{\"request\":\"status\",\"x\":\"{}\"}}", "x".repeat(3 << 20));
    let answer = send(arena, None, &request("POST", "/api/v1/request", &login, &body));
    succeeded(answer.as_ref().is_some_and(|it| it.status != 413), answer.map(|it| it.status))
}

fn huge_head(arena: &mut Arena) -> Verdict {
    let filler = format!("X-Filler: {}\r\n", "x".repeat(200 << 10));
    let answer = send(arena, None, &request("GET", "/healthz", &filler, ""));
    succeeded(answer.as_ref().is_some_and(|it| it.status == 200), answer.map(|it| it.status))
}

fn delays(arena: &mut Arena, count: usize) -> Verdict {
    let _held: Vec<TcpStream> =
        (0..count).filter_map(|_| TcpStream::connect((HERE, arena.lab.https())).ok()).collect();
    let begin = Instant::now();
    let from = [127, 0, 0, 9].into();
    let limit = Duration::from_millis(2_500);
    let line = web_line(arena, from, None, limit);
    let answer = line.and_then(|it| exchange(it, &request("GET", "/healthz", "", ""), limit));
    let served = answer.is_some_and(|it| it.status == 200);
    // With its defence the answer comes at once.
    let late = Duration::from_millis(if arena.defence.is_some() { 1_000 } else { 3_000 });
    succeeded(!served || begin.elapsed() > late, begin.elapsed())
}

fn stalled(arena: &mut Arena) -> Verdict {
    let mut line = Line::over(mqtt::tcp(HERE, arena.lab.https()).unwrap());
    line.send(&[0x16, 0x03, 0x01]);
    let ended = line.ends_within(Duration::from_millis(5_800));
    succeeded(!ended, "still open after 5.8 s")
}

fn json_bomb(arena: &mut Arena) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Operator, None));
    let body = format!(
        "{{\"request\":\"send_event\",\"tag\":\"x\",\"data\":{{\"a\":{}{}}}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let answer = send(arena, None, &request("POST", "/api/v1/request", &login, &body));
    succeeded(answer.as_ref().is_none_or(|it| it.status == 200), answer.map(|it| it.status))
}

fn traversal(arena: &mut Arena) -> Verdict {
    let member = arena.member("minion");
    for path in [
        "/files/../../etc/passwd",
        "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/files//etc/passwd",
        "/..//etc/passwd",
    ] {
        let answer = send(arena, Some(&member.identity), &request("GET", path, "", ""));
        let Some(answer) = answer else { continue };
        if answer.status == 200 || answer.text.contains("root:") {
            return succeeded(true, path);
        }
    }
    succeeded(false, "404")
}

fn brackets(arena: &mut Arena) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Operator, None));
    let body = format!("{{\"request\":\"expand\",\"target\":\"{}\"}}", "(".repeat(4_000));
    let answer = send(arena, None, &request("POST", "/api/v1/request", &login, &body));
    succeeded(answer.as_ref().is_none_or(|it| it.status != 400), answer.map(|it| it.status))
}

fn smuggled(arena: &mut Arena) -> Verdict {
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let text = format!(
        "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let answer = send(arena, None, text.as_bytes());
    let hidden = answer.as_ref().is_some_and(|it| it.text.matches("HTTP/1.1 200").count() > 0);
    succeeded(hidden, answer.map(|it| it.text))
}

fn in_clear(arena: &mut Arena) -> Verdict {
    let mut stream = mqtt::tcp(HERE, arena.lab.https()).unwrap();
    stream.write_all(&request("GET", "/healthz", "", "")).unwrap();
    let mut line = Line::over(stream);
    line.ends_within(SOON);
    succeeded(line.received().windows(3).any(|it| it == b"200"), line.received())
}

fn empty_match(arena: &mut Arena) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Operator, None));
    arena.member("somebody");
    let answer = send(arena, None, &request("POST", "/api/v1/jobs", &login, JOB));
    succeeded(answer.as_ref().is_some_and(|it| it.status == 200), answer.map(|it| it.text))
}

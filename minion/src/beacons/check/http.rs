//! A page, asked for by hand: the request, and what the answer says. Pure.

use resources::beacons::asked::Address;

/// Bytes of a page that are looked at, and of what is before it.
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What is sent.
pub(super) fn request(address: &Address) -> String {
    let Address { tls, host, port, path } = address;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let standard = if *tls { 443 } else { 80 };
    let port = if *port == standard { String::new() } else { format!(":{port}") };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: labminion\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// Where the page begins, once that is there.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|it| it + 4)
}

/// Whether it is of no use to read on.
pub(super) fn is_enough(bytes: &[u8]) -> bool {
    match head_end(bytes) {
        Some(end) => {
            let more = length(&head(bytes, end)).unwrap_or(PAGE_BYTES_MAX);
            bytes.len() >= end + more.min(PAGE_BYTES_MAX)
        }
        None => bytes.len() >= HEAD_BYTES_MAX,
    }
}

fn head(bytes: &[u8], end: usize) -> String {
    String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(it, _)| *it == name).map(|(_, it)| it.trim());
    head.lines().skip(1).find_map(of)
}

fn length(head: &str) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// What was received until the other side ended it, or until it was enough.
pub(super) fn page(bytes: &[u8]) -> Result<Page, &'static str> {
    let end = head_end(bytes).ok_or("it is no answer of HTTP")?;
    let head = head(bytes, end);
    let first = head.lines().next().unwrap_or_default();
    let status = first.strip_prefix("http/1.").and_then(|it| it.get(2..5)?.parse().ok());
    let status = status.filter(|it| (100..1000).contains(it)).ok_or("it is no answer of HTTP")?;
    let body = &bytes[end..];
    let body = match header(&head, "transfer-encoding") {
        Some(coding) if coding.contains("chunked") => unchunked(body),
        _ => body[..body.len().min(length(&head).unwrap_or(usize::MAX))].to_vec(),
    };
    Ok(Page { status, body })
}

/// As far as it is whole.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let line = String::from_utf8_lossy(&rest[..end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let chunk = rest.get(end + 2..).unwrap_or_default();
        body.extend(&chunk[..size.min(chunk.len())]);
        match chunk.get(size.saturating_add(2)..) {
            Some(more) if size > 0 => rest = more,
            _ => break,
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_host() {
        let request = request(&Address::parse("http://[::1]:8080/a").unwrap());
        assert!(request.starts_with("GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n"), "{request}");
    }

    #[test]
    fn answers_are_read_with_length_in_chunks_and_to_the_end() {
        let of =
            |text: &str| page(text.as_bytes()).map(|it| (it.status, String::from_utf8(it.body).unwrap()));
        let ok = |text: &str| Ok((200, text.to_owned()));
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay"), ok("ok"));
        assert_eq!(of("HTTP/1.0 200 OK\r\n\r\nall"), ok("all"));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(of(chunked), ok("abcde"));
        assert_eq!(
            of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"),
            ok("abc")
        );
        assert_eq!(of("HTTP/1.1 503 Busy\r\n\r\n"), Ok((503, String::new())));
        for wrong in
            ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/2 200\r\n\r\n"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(is_enough(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        assert!(!is_enough(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"));
        assert!(!is_enough(b"HTTP/1.1 200 OK\r\n\r\nok"));
        assert!(is_enough(&vec![b'x'; HEAD_BYTES_MAX]));
    }
}

//! Who is behind a request: a local user, a token, or the key of a client certificate.

use super::site::Site;
use crate::daemon::Credential;
use axum::http::{HeaderMap, header};
use bus::PublicKey;
use model::{Caller, MinionId, broken};
use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// Came over the Unix socket; nobody if its user is no operator.
    Socket(Option<Caller>),
    /// Came over HTTPS.
    Tls {
        /// The key it proved, if it showed one.
        key: Option<PublicKey>,
        /// Its address.
        address: SocketAddr,
    },
}

/// Why someone may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAllowed {
    /// Said nothing about themselves.
    Unknown,
    /// Said something that is not good enough.
    Refused,
}

/// The operator behind a request.
pub(crate) fn operator(site: &Site, peer: &Peer, headers: &HeaderMap) -> Result<Caller, NotAllowed> {
    let (key, address) = match peer {
        Peer::Socket(caller) => return caller.clone().ok_or(NotAllowed::Refused),
        Peer::Tls { key, address } => (key, address),
    };
    if broken::leaves_out("api-login") {
        return Ok(Caller { name: "anybody".to_owned(), via: address.ip().to_string() });
    }
    let via = |caller: Caller| Caller { via: format!("{} {}", address.ip(), caller.via), ..caller };
    if let Some(token) = bearer(headers) {
        return site.daemon.operator(&Credential::Token(token)).map(via).ok_or(NotAllowed::Refused);
    }
    let Some(key) = key else { return Err(NotAllowed::Unknown) };
    site.daemon.operator(&Credential::Key(*key)).map(via).ok_or(NotAllowed::Refused)
}

/// The minion behind a request.
pub(crate) fn minion(site: &Site, peer: &Peer) -> Option<MinionId> {
    match peer {
        Peer::Tls { key: Some(key), .. } => site.daemon.minion(key),
        Peer::Tls { key: None, .. } | Peer::Socket(_) => None,
    }
}

/// `name:secret` of `Authorization: Bearer name:secret`.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Whether a request from a page comes from our own pages: browsers say where it came from, others say nothing.
pub(crate) fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    if broken::leaves_out("same-origin") {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let origin = origin.to_str().ok().and_then(|it| it.strip_prefix("https://"));
    matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_pages_are_known_by_their_origin() {
        let headers = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers.insert(header::HOST, host.parse().unwrap());
            headers
        };
        assert!(same_origin(&headers(None, "master.lab:8443")), "no browser");
        assert!(same_origin(&headers(Some("https://master.lab:8443"), "master.lab:8443")));
        for foreign in
            ["https://evil.example", "http://master.lab:8443", "null", "https://master.lab:8443.evil"]
        {
            assert!(!same_origin(&headers(Some(foreign), "master.lab:8443")), "{foreign}");
        }
    }

    #[test]
    fn tokens_are_taken_from_bearer_headers_only() {
        let headers = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(bearer(&headers("Bearer ci:secret")), Some("ci:secret".to_owned()));
        assert_eq!(bearer(&headers("bearer ci:secret")), Some("ci:secret".to_owned()));
        assert_eq!(bearer(&headers("Basic Y2k6c2VjcmV0")), None);
    }
}

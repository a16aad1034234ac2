//! Who is behind a request: a local user, a token, or the key of a client certificate.

use super::site::Site;
use crate::{
    core::Refused,
    daemon::{Credential, Local, LoginFault, known_name},
    limits::Origin,
};
use axum::http::{HeaderMap, header};
use bus::PublicKey;
use model::{Caller, MinionId, Secret, broken};
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// Came over the Unix socket; nobody if its user is no operator.
    Socket(Option<Local>),
    /// Came over HTTPS.
    Tls {
        /// The key it proved, if it showed one.
        key: Option<PublicKey>,
        /// Its address.
        address: SocketAddr,
    },
}

/// Why someone may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAllowed {
    /// Said nothing about themselves.
    Unknown,
    /// Said something that is not good enough.
    Refused,
    /// Was good, and has come to its end.
    Ended(String),
    /// Asks too often: for so long no answer.
    TooMany(&'static str, Duration),
}

impl From<LoginFault> for NotAllowed {
    fn from(fault: LoginFault) -> Self {
        match fault {
            LoginFault::Unknown => Self::Refused,
            LoginFault::Ended(name) => Self::Ended(name),
        }
    }
}

/// How someone says who they are; asked again while a stream goes on.
#[derive(Clone, Debug)]
pub(crate) struct Proof(Option<Credential>);

impl Proof {
    /// From a connection and the head of a request.
    pub(crate) fn of(peer: &Peer, headers: &HeaderMap) -> Self {
        Self(match peer {
            Peer::Socket(local) => local.clone().map(Credential::Local),
            Peer::Tls { key, .. } => bearer(headers).map(Credential::Token).or(key.map(Credential::Key)),
        })
    }
    /// Who it is now.
    pub(crate) fn caller(&self, site: &Site) -> Result<Caller, NotAllowed> {
        let credential = self.0.as_ref().ok_or(NotAllowed::Unknown)?;
        Ok(site.daemon.operator(credential)?)
    }
}

/// The operator behind a request. Who fails often is answered late, and nobody else is.
pub(crate) async fn operator(site: &Site, peer: &Peer, proof: &Proof) -> Result<Caller, NotAllowed> {
    let now = Instant::now();
    let address = match peer {
        Peer::Socket(_) => None,
        Peer::Tls { address, .. } => Some(address.ip().to_canonical()),
    };
    if broken::leaves_out("api-login") && address.is_some() {
        return Ok(Caller::new("anybody", "anywhere", "admin"));
    }
    match (proof.caller(site), address) {
        (Ok(caller), address) => {
            let taken = site.limits.request(&caller.name, now);
            taken.map_err(|wait| NotAllowed::TooMany("requests of this user", wait))?;
            Ok(match address {
                Some(address) => Caller { via: format!("{address} {}", caller.via), ..caller },
                None => caller,
            })
        }
        (Err(NotAllowed::Unknown), None) => Err(NotAllowed::Refused),
        (Err(why), None) => Err(why),
        (Err(why), Some(address)) => {
            // Those who are known have limits of their own: a stranger beside them keeps nobody waiting.
            let taken = site.limits.address(Origin::of(address), now);
            taken.map_err(|wait| NotAllowed::TooMany("requests from this address", wait))?;
            put_on_record(site, proof, address, &why);
            let Err(wait) = site.limits.failure(Origin::of(address), now) else { return Err(why) };
            if let Some((_place, wait)) = site.limits.hold_back(wait) {
                tokio::time::sleep(wait).await;
            }
            Err(NotAllowed::TooMany("failed logins from this address", wait))
        }
    }
}

/// In the audit log, who tried; who said nothing about themselves is only counted.
fn put_on_record(site: &Site, proof: &Proof, address: IpAddr, why: &NotAllowed) {
    let reason = match why {
        NotAllowed::Ended(_) => "its end has come",
        NotAllowed::Refused => "no such user or key, or not its secret",
        NotAllowed::Unknown | NotAllowed::TooMany(..) => return,
    };
    let name = match &proof.0 {
        Some(Credential::Token(token)) => {
            token.reveal().split_once(':').map_or_else(|| "?".to_owned(), |it| known_name(it.0))
        }
        Some(Credential::Key(key)) => key.fingerprint().to_string(),
        Some(Credential::Local(_)) | None => return,
    };
    let caller = Caller::new(name, format!("{address} https"), "");
    site.daemon.refused(Refused { caller, what: "log in".to_owned(), reason: reason.to_owned() });
}

/// The minion behind a request.
pub(crate) fn minion(site: &Site, peer: &Peer) -> Option<MinionId> {
    match peer {
        Peer::Tls { key: Some(key), .. } => site.daemon.minion(key),
        Peer::Tls { key: None, .. } | Peer::Socket(_) => None,
    }
}

/// `name:secret` of `Authorization: Bearer name:secret`.
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
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
        assert_eq!(bearer(&headers("Bearer ci:secret")), Some(Secret::new("ci:secret")));
        assert_eq!(bearer(&headers("bearer ci:secret")), Some(Secret::new("ci:secret")));
        assert_eq!(bearer(&headers("Basic Y2k6c2VjcmV0")), None);
    }
}

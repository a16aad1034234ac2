//! Accept loops that never wait for a handshake, and the limits of a connection.

use super::caller::Peer;
use crate::daemon::{Local, LocalRight};
use axum::Router;
use bus::pulse::Beat;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use model::broken;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

/// Connections at once on one listener; beyond that, accepting waits.
const CONNECTIONS_MAX: usize = 512;
/// Of these from one address.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// For a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// For the head of a request; an idle connection is closed after it, too.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Pause after a failed accept, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who may use the Unix socket, beside what its mode says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    owner: u32,
}

impl Access {
    /// Of a socket that this process made.
    pub(crate) fn of_socket(path: &Path) -> io::Result<Self> {
        Ok(Self { owner: std::fs::metadata(path)?.uid() })
    }

    /// The operator behind a peer: root, the master's own user, or a member of the group `lab`.
    fn local(self, uid: u32, gid: u32) -> Option<Local> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let name = user_name(&passwd, uid).unwrap_or_else(|| format!("uid-{uid}"));
        let root = uid == 0 || uid == self.owner;
        let allowed = root || is_member(&group, &name, gid);
        let by = if root { LocalRight::Root } else { LocalRight::Lab };
        allowed.then_some(Local { name, uid, by })
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let fields = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse::<u32>().ok()?))
    };
    passwd.lines().filter_map(fields).find(|(_, id)| *id == uid).map(|(name, _)| name)
}

/// Group id and members of the group `lab`.
fn group_lab(group: &str) -> Option<(u32, Vec<&str>)> {
    let line = group.lines().find(|line| line.starts_with("lab:"))?;
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.split(',').collect()))
}

fn is_member(group: &str, user: &str, gid: u32) -> bool {
    group_lab(group).is_some_and(|(id, members)| id == gid || members.contains(&user))
}

/// Binds the socket: nobody but the owner and the group `lab` may connect.
pub(crate) fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("a master already listens on `{}`", path.display()),
        ));
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    // Under its unit the master's group is that one, and it may give nothing away.
    if let Some((gid, _)) = group_lab(&group)
        && std::fs::metadata(path)?.gid() != gid
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(gid))
    {
        tracing::warn!(%error, "cannot give the socket to the group lab: only root and this user can use it");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves local operators until dropped.
pub(crate) async fn serve_socket(listener: UnixListener, access: Access, pages: Router, beat: Beat) {
    let budget = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Clients may hold all permits for long: that is no reason to start the master again.
        let permit = beat.idle(take(&budget, &mut connections)).await;
        match beat.idle(listener.accept()).await {
            Ok((stream, _)) => {
                let peer = socket_peer(&stream, access);
                connections.spawn(serve(stream, peer, pages.clone(), permit));
            }
            Err(error) => pause(&error).await,
        }
    }
}

fn socket_peer(stream: &UnixStream, access: Access) -> Peer {
    let caller = stream.peer_cred().ok().and_then(|peer| access.local(peer.uid(), peer.gid()));
    Peer::Socket(caller)
}

/// Serves everybody else until dropped.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    pages: Router,
    beat: Beat,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let budget = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let counts = Counts::default();
    let mut connections = JoinSet::new();
    loop {
        // Clients may hold all permits for long: that is no reason to start the master again.
        let permit = beat.idle(take(&budget, &mut connections)).await;
        match beat.idle(listener.accept()).await {
            Ok((stream, address)) => {
                let Some(seat) = counts.seat(address.ip()) else { continue };
                let held = (permit, seat);
                let shaken = shake_hands(stream, address, acceptor.clone(), pages.clone(), held);
                if broken::leaves_out("web-accept-apart") {
                    shaken.await;
                } else {
                    connections.spawn(shaken);
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: tokio_rustls::TlsAcceptor,
    pages: Router,
    held: (OwnedSemaphorePermit, Seat),
) {
    let _ = stream.set_nodelay(true);
    let limit = if broken::leaves_out("web-handshake-limit") { HEAD_MAX * 100 } else { HANDSHAKE_MAX };
    match timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let key = bus::tls::peer_key(stream.get_ref().1);
            serve(stream, Peer::Tls { key, address }, pages, held).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
        Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
    }
}

async fn serve<S, H>(stream: S, peer: Peer, pages: Router, held: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(pages.layer(axum::Extension(peer)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(if broken::leaves_out("head-limit") { 64 * HEAD_BYTES_MAX } else { HEAD_BYTES_MAX })
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
    drop(held);
}

async fn take(budget: &Arc<Semaphore>, connections: &mut JoinSet<()>) -> OwnedSemaphorePermit {
    while connections.try_join_next().is_some() {}
    Arc::clone(budget).acquire_owned().await.expect("the semaphore is never closed")
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Connections by address.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Counts {
    /// A place for one more, unless the address has too many.
    fn seat(&self, address: IpAddr) -> Option<Seat> {
        let mut counts = self.0.lock().expect("no panic while it is held");
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX && !broken::leaves_out("web-per-address") {
            return None;
        }
        *count += 1;
        Some(Seat { counts: self.clone(), address })
    }
}

/// One connection of an address; given back when dropped.
struct Seat {
    counts: Counts,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().expect("no panic while it is held");
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_owner_and_the_group_lab_are_operators() {
        let group = "root:x:0:\nlab:x:500:alice,bob\nlabrador:x:501:mallory\n";
        assert!(is_member(group, "alice", 1000), "a member");
        assert!(is_member(group, "carol", 500), "whose first group it is");
        assert!(!is_member(group, "mallory", 501), "a group whose name begins the same");
        assert!(!is_member("", "alice", 0), "no such group");
        let access = Access { owner: 4_000_000_001 };
        assert_eq!(access.local(0, 0).map(|it| (it.uid, it.by)), Some((0, LocalRight::Root)));
        assert_eq!(access.local(4_000_000_001, 1).map(|it| it.by), Some(LocalRight::Root));
        assert!(access.local(4_000_000_002, 4_000_000_002).is_none(), "a stranger");
    }

    #[test]
    fn users_have_the_names_of_the_password_file() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), Some("alice".to_owned()));
        assert_eq!(user_name(passwd, 1), None);
    }

    #[test]
    fn an_address_cannot_take_all_connections() {
        let counts = Counts::default();
        let one: IpAddr = [10, 0, 0, 1].into();
        let seats: Vec<Seat> = (0..CONNECTIONS_PER_ADDRESS_MAX).filter_map(|_| counts.seat(one)).collect();
        assert!(counts.seat(one).is_none());
        assert!(counts.seat([10, 0, 0, 2].into()).is_some());
        drop(seats);
        assert!(counts.seat(one).is_some());
    }
}

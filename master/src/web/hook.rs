//! `POST /hook/NAME`: events of senders that can be told where to send them. Nothing is kept or understood before its
//! signature is right, and a stranger learns nothing: not even which hooks there are.

use super::{
    caller::Peer,
    routes::{Connection, reply_response, too_many},
};
use crate::{
    core::{Delivery, Refused},
    hooks::{
        Keyring, recipes,
        signature::{Check, Claim, Headers, Mark, delivery},
    },
    limits::Origin,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Request},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use lang::hooks::{BODY_BYTES_MAX, Hook, Rate, is_name};
use model::{Caller, Reply, broken};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// For a body, from its head on.
const BODY_TIME_MAX: Duration = Duration::from_millis(if cfg!(test) { 400 } else { 10_000 });
/// Bodies that are read at a time.
const READING_MAX: usize = 64;
/// Of these from one address.
const READING_PER_ADDRESS_MAX: usize = 8;

/// How the hooks of a master are used now.
#[derive(Debug, Default)]
pub(crate) struct HookDoor {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// Bodies that are being read, by address.
    reading: HashMap<Origin, usize>,
    all: usize,
    /// When the bucket of each hook will be empty. There are no more than hooks.
    empty_at: HashMap<String, Instant>,
}

impl HookDoor {
    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bodies that are being read.
    #[cfg(test)]
    pub(super) fn reading(&self) -> usize {
        self.now().all
    }

    /// A place for a body, unless there are too many.
    pub(super) fn seat(&self, origin: Origin) -> Option<Seat<'_>> {
        let mut now = self.now();
        let own = now.reading.get(&origin).copied().unwrap_or(0);
        let full = own >= READING_PER_ADDRESS_MAX || now.all >= READING_MAX;
        if full && !broken::leaves_out("hook-seats") {
            return None;
        }
        now.all += 1;
        now.reading.insert(origin, own + 1);
        Some(Seat { door: self, origin })
    }

    /// Counts a delivery that is right; if there are too many, the time until the next may come.
    fn rate(&self, name: &str, rate: Rate, known: &Keyring) -> Result<(), Duration> {
        let each = Duration::from_millis(rate.per_ms) / rate.count;
        let room = each * rate.count;
        let at = Instant::now();
        let mut now = self.now();
        now.empty_at.retain(|hook, empty| *empty > at && known.hooks.named.contains_key(hook));
        let empty = now.empty_at.get(name).copied().filter(|it| *it > at).unwrap_or(at) + each;
        let over = empty.duration_since(at).saturating_sub(room);
        if !over.is_zero() && !broken::leaves_out("hook-rate") {
            return Err(over);
        }
        now.empty_at.insert(name.to_owned(), empty);
        Ok(())
    }
}

/// A body that is being read; given back when dropped.
pub(super) struct Seat<'a> {
    door: &'a HookDoor,
    origin: Origin,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut now = self.door.now();
        now.all -= 1;
        if let Some(own) = now.reading.get_mut(&self.origin) {
            *own -= 1;
            if *own == 0 {
                now.reading.remove(&self.origin);
            }
        }
    }
}

/// Why a delivery is not taken.
enum No {
    /// Of a stranger, or as good as one.
    Stranger(&'static str),
    /// Of a sender who is known.
    TooLarge(usize),
    TooOften(Duration),
    Malformed(String),
    /// Whoever it is.
    Huge,
    Slow,
    Busy,
}

/// `POST /hook/{name}`.
pub(crate) async fn deliver(connection: Connection, Path(name): Path<String>, request: Request) -> Response {
    let Connection { site, peer } = connection;
    let address = match &peer {
        Peer::Socket(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Peer::Tls { address, .. } => address.ip().to_canonical(),
    };
    let keyring = site.daemon.hooks();
    let hook = keyring.hooks.named.get(&name);
    let checked = check(&sender(&site, address), &keyring, &name, request).await;
    let why = match checked {
        Ok(delivery) => {
            return match site.daemon.deliver(delivery).await {
                Reply::Delivered(it) => (StatusCode::ACCEPTED, Json(it)).into_response(),
                other => reply_response(&other),
            };
        }
        Err(why) => why,
    };
    let (reason, answer) = told(&why);
    if let Some(reason) = reason {
        let known = hook.filter(|_| is_name(&name)).map_or("?", |_| &name);
        let caller = Caller::new(format!("hook:{known}"), format!("{address} https"), "");
        let refused = Refused { caller, what: format!("deliver to the hook {known}"), reason };
        site.daemon.refused(refused);
    }
    if matches!(why, No::Stranger(_)) {
        // Those who are known have limits of their own: a stranger beside them keeps nobody waiting.
        let (origin, now) = (Origin::of(address), Instant::now());
        if let Err(wait) = site.limits.address(origin, now) {
            return too_many("requests from this address", wait);
        }
        if let Err(wait) = site.limits.failure(origin, now) {
            if let Some((_place, wait)) = site.limits.hold_back(wait) {
                tokio::time::sleep(wait).await;
            }
            return too_many("failed logins from this address", wait);
        }
    }
    answer
}

struct Sender<'a> {
    door: &'a HookDoor,
    address: IpAddr,
    now: model::Timestamp,
}

fn sender(site: &super::site::Site, address: IpAddr) -> Sender<'_> {
    Sender { door: &site.hooks, address, now: site.daemon.now() }
}

/// What goes to the audit log, and what is answered.
fn told(why: &No) -> (Option<String>, Response) {
    let plain = |status: StatusCode, text: String| (status, text).into_response();
    match why {
        No::Stranger(reason) if broken::leaves_out("hook-names") => {
            (None, plain(StatusCode::UNAUTHORIZED, (*reason).to_owned()))
        }
        No::Stranger(reason) => {
            let text = "no such hook, or not its secret\n".to_owned();
            (Some((*reason).to_owned()), plain(StatusCode::UNAUTHORIZED, text))
        }
        No::TooLarge(max) => {
            let text = format!("a body of this hook has at most {max} bytes: `max` in hooks.yaml\n");
            (Some("its body is too large".to_owned()), plain(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
        No::Malformed(message) => {
            (Some(message.clone()), plain(StatusCode::BAD_REQUEST, format!("{message}\n")))
        }
        No::TooOften(wait) => (Some("too often".to_owned()), too_many("deliveries to this hook", *wait)),
        No::Huge => {
            let text = format!("no hook takes more than {BODY_BYTES_MAX} bytes\n");
            (None, plain(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
        No::Slow => {
            let text = format!("the body did not come within {} s\n", BODY_TIME_MAX.as_secs());
            (None, plain(StatusCode::REQUEST_TIMEOUT, text))
        }
        No::Busy => (None, too_many("deliveries at once from this address", Duration::ZERO)),
    }
}

/// A delivery that is right and can be understood.
async fn check(from: &Sender<'_>, keyring: &Keyring, name: &str, request: Request) -> Result<Delivery, No> {
    let (parts, body) = request.into_parts();
    let headers = |name: &str| text_of(&parts.headers, name);
    let hook = keyring.hooks.named.get(name);
    let open = hook.filter(|it| it.is_open_to(from.address) || broken::leaves_out("hook-cidr"));
    let claim = match hook {
        Some(hook) => Claim::of(hook.recipe, &headers),
        None => None,
    };
    // Whoever claims anything is read to the end, also where there is no such hook.
    let claim = match (claim, open) {
        (Some(claim), Some(_)) => claim,
        (_, open) => {
            let any = Claim::of_any(&headers);
            let why = match (hook, open) {
                (None, _) => "there is no such hook",
                (Some(_), None) => "its address is not in `cidr`",
                (Some(_), Some(_)) => "it is not signed",
            };
            let any = any.ok_or(No::Stranger(why))?;
            let mut nothing = Check::new(any, &[]);
            read(from, body, &mut nothing, 0).await?;
            return Err(No::Stranger(why));
        }
    };
    let hook = open.ok_or(No::Stranger("there is no such hook"))?;
    let mut check = Check::new(claim, keyring.secrets(name));
    let bytes = read(from, body, &mut check, hook.max).await?;
    let said = delivery(hook.recipe, &headers);
    let marks = check.finish(said, from.now).map_err(No::Stranger)?;
    understand(from, keyring, (name, hook), bytes, &headers, marks)
}

/// A body whose sender knows the secret.
fn understand(
    from: &Sender<'_>,
    keyring: &Keyring,
    (name, hook): (&str, &Hook),
    bytes: Option<Vec<u8>>,
    headers: Headers<'_, '_>,
    marks: Vec<Mark>,
) -> Result<Delivery, No> {
    let bytes = bytes.ok_or(No::TooLarge(hook.max))?;
    from.door.rate(name, hook.rate, keyring).map_err(No::TooOften)?;
    let events = recipes::events(hook, headers, &bytes).map_err(No::Malformed)?;
    Ok(Delivery { hook: name.to_owned(), marks, events })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Twice the same header is for nobody to choose from.
    let mut all = headers.get_all(name).iter();
    let one = all.next()?;
    all.next().is_none().then(|| one.to_str().ok()).flatten()
}

/// Reads a body to its end and checks it as it comes; at most `keep` bytes of it stay, and none if there are more.
async fn read(from: &Sender<'_>, body: Body, check: &mut Check, keep: usize) -> Result<Option<Vec<u8>>, No> {
    let _seat = from.door.seat(Origin::of(from.address)).ok_or(No::Busy)?;
    let reading = async {
        let mut chunks = body.into_data_stream();
        let mut kept = Some(Vec::new());
        let mut all = 0_usize;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| No::Slow)?;
            all += chunk.len();
            if all > BODY_BYTES_MAX && !broken::leaves_out("hook-size") {
                return Err(No::Huge);
            }
            check.update(&chunk);
            match &mut kept {
                Some(bytes) if all <= keep || broken::leaves_out("hook-size") => {
                    bytes.extend_from_slice(&chunk);
                }
                _ => kept = None,
            }
        }
        Ok(kept)
    };
    timeout(BODY_TIME_MAX, reading).await.unwrap_or(Err(No::Slow))
}

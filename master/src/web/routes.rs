//! Paths of the API: friendly spellings of requests, each line of the table in `openapi.rs` has its handler here.

use super::{
    backup,
    caller::{self, NotAllowed, Peer, Proof},
    files, hook, mqtt, openapi,
    site::Site,
    stream,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request as HttpRequest},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use model::{
    Caller, JobId, JobKind, KeyDecision, MinionId, Reply, Request, Rolling,
    api::{ErrorKind, ErrorView, EventFilter, JobFilter},
    broken,
};
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes of a request's body.
const BODY_MAX: usize = 1024 * 1024;
/// For an answer that is no stream; compiles for many minions take long.
const ANSWER_MAX: Duration = Duration::from_mins(2);
/// How long an offer stays good unless the request says otherwise, in milliseconds.
const OFFER_MS: u64 = 60_000;

/// Who is at the other end, and what the pages stand on.
pub(crate) struct Connection {
    pub(crate) site: Arc<Site>,
    pub(crate) peer: Peer,
}

impl FromRequestParts<Arc<Site>> for Connection {
    type Rejection = StatusCode;
    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, StatusCode> {
        let peer = parts.extensions.get::<Peer>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(Self { site: Arc::clone(site), peer })
    }
}

/// Somebody with a role: nobody else gets into a handler that asks for one. What the role allows is for the core to say.
struct Operator {
    site: Arc<Site>,
    caller: Caller,
    proof: Proof,
}

impl FromRequestParts<Arc<Site>> for Operator {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let Connection { site, peer } =
            Connection::from_request_parts(parts, site).await.map_err(IntoResponse::into_response)?;
        let proof = Proof::of(&peer, &parts.headers);
        match caller::operator(&site, &peer, &proof).await {
            Ok(caller) => Ok(Self { site, caller, proof }),
            Err(why) => Err(not_allowed(&why)),
        }
    }
}

pub(super) fn not_allowed(why: &NotAllowed) -> Response {
    let (status, message, hint) = match why {
        NotAllowed::Unknown => (
            StatusCode::UNAUTHORIZED,
            "the master does not know who you are".to_owned(),
            "log in with a token (labctl token create NAME --role operator) or an operator's key",
        ),
        NotAllowed::Refused => (
            StatusCode::FORBIDDEN,
            "this credential may not use the API".to_owned(),
            "name and secret must be those of `labctl token list`; on the master itself, root and the group lab may",
        ),
        NotAllowed::Ended(name) => (
            StatusCode::FORBIDDEN,
            format!("the time of {name} is over: `labctl token list` shows when it ended"),
            "who may make tokens makes a new one: labctl token create NAME --role ROLE --for 30d",
        ),
        NotAllowed::TooMany(what, wait) => return too_many(what, *wait),
    };
    refused(status, ErrorKind::Forbidden, message, hint)
}

fn refused(status: StatusCode, kind: ErrorKind, message: String, hint: &str) -> Response {
    let view = ErrorView { kind, message, hint: Some(hint.to_owned()), diagnostics: Vec::new() };
    (status, Json(Reply::Error(view))).into_response()
}

/// 429, and when to come again.
pub(super) fn too_many(what: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let message = format!("too many {what}: the master takes the next one in {seconds} s");
    let hint = "ask less often; labctl doctor shows how often that happened";
    let mut response = refused(StatusCode::TOO_MANY_REQUESTS, ErrorKind::Unavailable, message, hint);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// All pages.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/api/v1/request", post(request))
        .route("/api/v1/probe", post(probe))
        .route("/api/v1/status", get(async |who: Operator| who.ask(Request::Status).await))
        .route("/api/v1/master", get(async |who: Operator| who.ask(Request::Master).await))
        .route("/api/v1/masters", get(async |who: Operator| who.ask(Request::Masters).await))
        .route("/api/v1/minions", get(minions))
        .route("/api/v1/minions/{id}", get(minion))
        .route("/api/v1/keys", get(async |who: Operator| who.ask(Request::Keys).await))
        .route("/api/v1/keys/{key}/{decision}", post(decide))
        .route("/api/v1/jobs", get(jobs).post(submit))
        .route("/api/v1/jobs/{id}", get(job))
        .route("/api/v1/jobs/{id}/cancel", post(cancel))
        .route("/api/v1/jobs/{id}/watch", get(watch_job))
        .route("/api/v1/jobs/{id}/reports/{minion}", get(report))
        .route("/api/v1/events", get(events))
        .route("/api/v1/events/watch", get(watch_events))
        .route("/api/v1/rules", get(async |who: Operator| who.ask(Request::Rules).await))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/observers", get(async |who: Operator| who.ask(Request::Observers).await))
        .route("/api/v1/backup", post(backup::backup))
        .route("/files/{hash}", get(files::file))
        .route("/hook/{name}", post(hook::deliver))
        .route("/masters.json", get(masters))
        .route("/mqtt", any(mqtt::upgrade))
        .route("/", any(mqtt::upgrade))
        .route("/openapi.json", get(async || Json(openapi::document())))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || (StatusCode::NOT_FOUND, "no such page; see /openapi.json\n"))
        .layer(DefaultBodyLimit::max(if broken::leaves_out("body-limit") { usize::MAX } else { BODY_MAX }))
        .layer(middleware::from_fn(guard))
        .with_state(site)
}

/// Refuses requests of foreign pages; marks every answer as nothing to guess about, frame or keep.
async fn guard(request: HttpRequest, next: Next) -> Response {
    let mut response = if caller::same_origin(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this page may not talk to this master\n").into_response()
    };
    if broken::leaves_out("page-headers") {
        return response;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

impl Operator {
    /// Whether they still may, for a stream that goes on. What roles allow is judged when it begins: when that changes,
    /// it ends, and who reads it asks again.
    fn still(&self) -> stream::Still {
        let (site, proof, role) = (Arc::clone(&self.site), self.proof.clone(), self.caller.role.clone());
        let began = site.daemon.roles_edition();
        Box::new(move || {
            let same = site.daemon.roles_edition() == began || broken::leaves_out("stream-roles");
            same && proof.caller(&site).is_ok_and(|it| it.role == role)
        })
    }
    async fn ask(self, request: Request) -> Response {
        if matches!(request, Request::Submit { .. })
            && let Err(wait) = self.site.limits.submit(&self.caller.name, Instant::now())
        {
            return too_many("jobs of this user", wait);
        }
        let answer = self.site.daemon.request(self.caller, request);
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(reply) => reply_response(&reply),
            Err(_) => reply_response(&Reply::Error(ErrorView {
                kind: ErrorKind::Unavailable,
                message: "the master did not answer in time".to_owned(),
                hint: Some("ask again; what was accepted goes on".to_owned()),
                diagnostics: Vec::new(),
            })),
        }
    }
}

pub(super) fn reply_response(reply: &Reply) -> Response {
    (status_of(reply), Json(reply)).into_response()
}

fn status_of(reply: &Reply) -> StatusCode {
    let Reply::Error(error) = reply else { return StatusCode::OK };
    match error.kind {
        ErrorKind::Usage => StatusCode::BAD_REQUEST,
        ErrorKind::Compile => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NoMatch | ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::Unknown => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn usage(message: &dyn std::fmt::Display) -> Response {
    reply_response(&Reply::Error(ErrorView {
        kind: ErrorKind::Usage,
        message: message.to_string(),
        hint: Some("see /openapi.json".to_owned()),
        diagnostics: Vec::new(),
    }))
}

/// The signed list, for anybody: it holds public keys and addresses, and is believed for its signature.
async fn masters(connection: Connection) -> Response {
    match connection.site.daemon.masters() {
        none if none.is_empty() => StatusCode::NOT_FOUND.into_response(),
        text => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
    }
}

async fn request(who: Operator, Json(request): Json<Request>) -> Response {
    if matches!(request, Request::Backup { .. }) {
        return usage(&"a backup is a file: POST /api/v1/backup");
    }
    who.ask(request).await
}

async fn probe(who: Operator, Json(request): Json<Request>) -> Response {
    if !matches!(request, Request::Probe { .. }) {
        return usage(&"only the request `probe` is streamed here");
    }
    let still = who.still();
    match who.site.daemon.probe(who.caller, request).await {
        Ok(lines) => stream::of_channel(lines, still),
        Err(reply) => reply_response(&reply),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetQuery {
    target: Option<String>,
}

async fn minions(who: Operator, Query(query): Query<TargetQuery>) -> Response {
    who.ask(Request::Minions { target: query.target }).await
}

async fn minion(who: Operator, Path(id): Path<String>) -> Response {
    match id.parse::<MinionId>() {
        Ok(id) => who.ask(Request::Minions { target: Some(id.to_string()) }).await,
        Err(error) => usage(&error),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum DecisionPath {
    Accept,
    Reject,
    Revoke,
}

async fn decide(who: Operator, Path((key, decision)): Path<(String, DecisionPath)>) -> Response {
    let decision = match decision {
        DecisionPath::Accept => KeyDecision::Accept,
        DecisionPath::Reject => KeyDecision::Reject,
        DecisionPath::Revoke => KeyDecision::Revoke,
    };
    who.ask(Request::DecideKey { key, fingerprint: None, decision }).await
}

async fn jobs(who: Operator, Query(filter): Query<JobFilter>) -> Response {
    who.ask(Request::Jobs { filter }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitBody {
    target: String,
    kind: JobKind,
    #[serde(default)]
    job: Option<JobId>,
    #[serde(default = "offer_ms")]
    expires_ms: u64,
    #[serde(default)]
    wait: bool,
    #[serde(default)]
    retry_of: Option<JobId>,
    #[serde(default)]
    rolling: Option<Box<Rolling>>,
}

fn offer_ms() -> u64 {
    OFFER_MS
}

async fn submit(who: Operator, Json(body): Json<SubmitBody>) -> Response {
    let SubmitBody { target, kind, job, expires_ms, wait, retry_of, rolling } = body;
    let Some(job) = job.or_else(new_job_id) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    who.ask(Request::Submit { job, target, kind, expires_ms, wait, retry_of, rolling }).await
}

fn new_job_id() -> Option<JobId> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).ok()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(JobId::v7(model::Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)), random))
}

async fn job(who: Operator, Path(job): Path<String>) -> Response {
    who.ask(Request::Job { job }).await
}

async fn cancel(who: Operator, Path(job): Path<String>) -> Response {
    who.ask(Request::Cancel { job }).await
}

async fn report(who: Operator, Path((job, minion)): Path<(String, String)>) -> Response {
    match (job.parse(), minion.parse()) {
        (Ok(job), Ok(minion)) => who.ask(Request::Report { job, minion }).await,
        (Err(error), _) | (_, Err(error)) => usage(&error),
    }
}

async fn watch_job(who: Operator, Path(job): Path<String>) -> Response {
    let still = who.still();
    match who.site.daemon.watch_job(who.caller, job).await {
        Ok(lines) => stream::of_channel(lines, still),
        Err(reply) => reply_response(&reply),
    }
}

async fn events(who: Operator, Query(filter): Query<EventFilter>) -> Response {
    who.ask(Request::Events { filter }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagQuery {
    tag: Option<String>,
}

async fn watch_events(who: Operator, Query(query): Query<TagQuery>) -> Response {
    let (events, still) = (who.site.daemon.watch_events(), who.still());
    // Who may read what is stored may watch what comes.
    let filter = EventFilter { limit: 1, ..EventFilter::default() };
    match who.site.daemon.request(who.caller, Request::Events { filter }).await {
        refused @ Reply::Error(_) => reply_response(&refused),
        _ => stream::of_events(events, query.tag, still),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionQuery {
    rule: Option<String>,
    #[serde(default)]
    limit: u32,
    event: Option<u64>,
    after: Option<u64>,
}

async fn decisions(who: Operator, Query(query): Query<DecisionQuery>) -> Response {
    let DecisionQuery { rule, limit, event, after } = query;
    who.ask(Request::Decisions { rule, limit, event, after }).await
}

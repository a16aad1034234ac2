//! Who gets what from the API, against a daemon that answers everything.

mod hooks;

use super::{
    caller::Peer,
    hook::HookDoor,
    openapi::{Access, PAGES},
    routes,
    site::{Daemon, Site},
};
use crate::{
    backup::Keys,
    core::{Delivery, Refused},
    daemon::{Credential, Local, LocalRight, LoginFault},
    hooks::Keyring,
};
use axum::{
    Extension, Router,
    body::Body,
    http::{Request as HttpRequest, Response, StatusCode, header},
};
use bus::PublicKey;
use futures_util::future::BoxFuture;
use model::{Caller, ContentHash, Event, MinionId, Reply, Request, Source, Timestamp, api};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::sync::{broadcast, mpsc};
use tower::ServiceExt;

const OPERATOR_KEY: PublicKey = PublicKey([1; 32]);
const MINION_KEY: PublicKey = PublicKey([2; 32]);
const OTHER_MINION_KEY: PublicKey = PublicKey([3; 32]);
const RECIPE: ContentHash = ContentHash([7; 32]);
const CONTENT: ContentHash = ContentHash([8; 32]);

struct Fake {
    events: broadcast::Sender<Arc<Event>>,
    content: PathBuf,
    refused: Arc<Mutex<Vec<Refused>>>,
    gone: Arc<Mutex<bool>>,
    hooks: Arc<Keyring>,
    delivered: Arc<Mutex<Vec<Delivery>>>,
    roles: Arc<std::sync::atomic::AtomicU64>,
}

fn caller() -> Caller {
    Caller::new("admin", "test", "admin")
}

impl Daemon for Fake {
    fn hooks(&self) -> Arc<Keyring> {
        Arc::clone(&self.hooks)
    }
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Reply> {
        let mut delivered = self.delivered.lock().unwrap();
        delivered.push(delivery);
        let event = delivered.len() as u64;
        Box::pin(async move { Reply::Delivered(api::Delivered { event, events: 1, again: false }) })
    }
    fn roles_edition(&self) -> u64 {
        self.roles.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
    fn masters(&self) -> String {
        "{\"masters\":\"\",\"sig\":\"\"}".to_owned()
    }
    fn request(&self, _: Caller, request: Request) -> BoxFuture<'_, Reply> {
        let kind = match request {
            Request::Job { .. } => Some(api::ErrorKind::NotFound),
            Request::Expand { .. } => Some(api::ErrorKind::NoMatch),
            Request::Compile { .. } => Some(api::ErrorKind::Compile),
            Request::Gc { .. } => Some(api::ErrorKind::Unavailable),
            _ => None,
        };
        let error =
            |kind| api::ErrorView { kind, message: "no".to_owned(), hint: None, diagnostics: Vec::new() };
        Box::pin(async move { kind.map_or(Reply::Done(Vec::new()), |kind| Reply::Error(error(kind))) })
    }
    fn probe(&self, _: Caller, _: Request) -> BoxFuture<'_, Result<mpsc::Receiver<api::ProbeLine>, Reply>> {
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(api::ProbeLine::Targets { asked: Vec::new(), unreachable: Vec::new() }).unwrap();
        sender.try_send(api::ProbeLine::Silent(Vec::new())).unwrap();
        Box::pin(async move { Ok(receiver) })
    }
    fn watch_job(&self, _: Caller, _: String) -> BoxFuture<'_, Result<mpsc::Receiver<api::JobLine>, Reply>> {
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(api::JobLine::Gap(3)).unwrap();
        Box::pin(async move { Ok(receiver) })
    }
    fn watch_events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
    fn recipe<'a>(&'a self, minion: &'a MinionId, hash: ContentHash) -> BoxFuture<'a, Option<Vec<u8>>> {
        let granted = minion.as_str() == "vm-1" && hash == RECIPE;
        Box::pin(async move { granted.then(|| b"sealed recipe".to_vec()) })
    }
    fn content<'a>(
        &'a self,
        minion: &'a MinionId,
        hash: ContentHash,
    ) -> BoxFuture<'a, Option<std::fs::File>> {
        let granted = minion.as_str() == "vm-1" && hash == CONTENT;
        Box::pin(async move { granted.then(|| std::fs::File::open(&self.content).unwrap()) })
    }
    fn backup(&self, _: Caller, keys: Keys) -> BoxFuture<'_, Result<std::fs::File, Reply>> {
        Box::pin(async move {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, format!("{keys:?}").as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            Ok(file)
        })
    }
    fn operator(&self, credential: &Credential) -> Result<Caller, LoginFault> {
        match credential {
            _ if *self.gone.lock().unwrap() => Err(LoginFault::Unknown),
            Credential::Token(token) if token.reveal() == "ci:secret" => Ok(caller()),
            Credential::Token(token) if token.reveal() == "old:secret" => {
                Err(LoginFault::Ended("old".to_owned()))
            }
            Credential::Key(key) if *key == OPERATOR_KEY => Ok(caller()),
            Credential::Local(local) => Ok(Caller::new(&local.name, "socket", "admin")),
            _ => Err(LoginFault::Unknown),
        }
    }
    fn refused(&self, refused: Refused) {
        self.refused.lock().unwrap().push(refused);
    }
    fn minion(&self, key: &PublicKey) -> Option<MinionId> {
        [(MINION_KEY, "vm-1"), (OTHER_MINION_KEY, "vm-2")]
            .iter()
            .find(|(it, _)| it == key)
            .and_then(|(_, id)| id.parse().ok())
    }
}

struct Page {
    site: Arc<Site>,
    _folder: tempfile::TempDir,
    events: broadcast::Sender<Arc<Event>>,
    refused: Arc<Mutex<Vec<Refused>>>,
    gone: Arc<Mutex<bool>>,
    delivered: Arc<Mutex<Vec<Delivery>>>,
    roles: Arc<std::sync::atomic::AtomicU64>,
}

impl Page {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content = folder.path().join("content");
        std::fs::write(&content, b"0123456789").unwrap();
        let events = broadcast::channel(8).0;
        let (refused, gone) = (Arc::default(), Arc::default());
        let (events_of, refused_by, gone_of) = (events.clone(), Arc::clone(&refused), Arc::clone(&gone));
        let roles: Arc<std::sync::atomic::AtomicU64> = Arc::default();
        let delivered: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let daemon = Arc::new(Fake {
            events: events_of,
            content,
            refused: refused_by,
            gone: gone_of,
            hooks: Arc::new(Keyring::of_text(hooks::HOOKS)),
            delivered: Arc::clone(&delivered),
            roles: Arc::clone(&roles),
        });
        let site = Arc::new(Site {
            daemon,
            observers: Box::new(|_, _| ()),
            limits: Arc::default(),
            backups: Arc::new(tokio::sync::Semaphore::new(1)),
            hooks: HookDoor::default(),
        });
        Self { site, _folder: folder, events, refused, gone, delivered, roles }
    }
    fn router(&self, peer: Peer) -> Router {
        routes::router(Arc::clone(&self.site)).layer(Extension(peer))
    }
    async fn send(&self, peer: Peer, request: HttpRequest<Body>) -> Response<Body> {
        self.router(peer).oneshot(request).await.unwrap()
    }
    async fn get(&self, peer: Peer, path: &str) -> Response<Body> {
        self.send(peer, HttpRequest::get(path).body(Body::empty()).unwrap()).await
    }
}

fn tls(key: Option<PublicKey>) -> Peer {
    Peer::Tls { key, address: ([127, 0, 0, 1], 4000).into() }
}

fn socket() -> Peer {
    Peer::Socket(Some(Local { name: "root".to_owned(), uid: 0, by: LocalRight::Root }))
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A good request for a line of the table.
fn example(method: &str, path: &str) -> HttpRequest<Body> {
    let job = "01JD4Z3K8Q0V7YJ6R2T4M9XH5B";
    let path = path
        .replace("{decision}", "accept")
        .replace("/minions/{id}", "/minions/vm-1")
        .replace("{id}", job)
        .replace("{minion}", "vm-1")
        .replace("{key}", "vm-1")
        .replace("{hash}", &RECIPE.to_string());
    let body = match path.as_str() {
        "/api/v1/request" => json!({ "request": "status" }),
        "/api/v1/backup" => json!({}),
        "/api/v1/probe" => {
            json!({ "request": "probe", "target": "*", "ask": { "ask": "ping" }, "timeout_ms": 5000 })
        }
        _ => json!({ "target": "*", "kind": { "kind": "apply", "states": [], "mode": "check" } }),
    };
    let request = HttpRequest::builder().method(method.to_uppercase().as_str()).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = if method == "post" { Body::from(body.to_string()) } else { Body::empty() };
    request.body(body).unwrap()
}

#[tokio::test]
async fn every_page_of_the_table_is_answered_to_an_operator() {
    let page = Page::new();
    for line in PAGES.iter().filter(|it| it.access == Access::Operator) {
        for peer in [socket(), tls(Some(OPERATOR_KEY))] {
            let status = page.send(peer, example(line.method, line.path)).await.status();
            let expected =
                if line.path == "/api/v1/jobs/{id}" { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(status, expected, "{} {}", line.method, line.path);
        }
    }
    for line in PAGES.iter().filter(|it| it.access == Access::Anyone) {
        let status = page.send(tls(None), example(line.method, line.path)).await.status();
        let expected = match line.path {
            "/hook/{name}" => [StatusCode::UNAUTHORIZED; 2],
            _ => [StatusCode::OK, StatusCode::UPGRADE_REQUIRED],
        };
        assert!(expected.contains(&status), "{} {}: {status}", line.method, line.path);
    }
}

#[tokio::test]
async fn strangers_minions_viewers_and_other_local_users_get_no_page_of_an_operator() {
    for line in PAGES.iter().filter(|it| it.access == Access::Operator) {
        let page = Page::new();
        for (peer, token, expected) in [
            (tls(None), None, StatusCode::UNAUTHORIZED),
            (tls(Some(PublicKey([9; 32]))), None, StatusCode::FORBIDDEN),
            (tls(Some(MINION_KEY)), None, StatusCode::FORBIDDEN),
            (tls(None), Some("Bearer viewer:secret"), StatusCode::FORBIDDEN),
            (tls(None), Some("Bearer ci:guess"), StatusCode::FORBIDDEN),
            (tls(None), Some("Basic Y2k6c2VjcmV0"), StatusCode::UNAUTHORIZED),
            (Peer::Socket(None), None, StatusCode::FORBIDDEN),
            (Peer::Socket(None), Some("Bearer ci:secret"), StatusCode::FORBIDDEN),
        ] {
            let mut request = example(line.method, line.path);
            if let Some(token) = token {
                request.headers_mut().insert(header::AUTHORIZATION, token.parse().unwrap());
            }
            let status = page.send(peer.clone(), request).await.status();
            assert_eq!(status, expected, "{} {} by {peer:?} {token:?}", line.method, line.path);
        }
    }
}

async fn ask_for_keys(peer: Peer) -> (StatusCode, String) {
    let request = HttpRequest::post("/api/v1/backup")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(json!({ "with_keys": true }).to_string()));
    let response = Page::new().send(peer, request.unwrap()).await;
    (response.status(), text(response).await)
}

#[test]
fn the_keys_are_given_with_a_backup_to_root_on_the_masters_machine_only() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = |uid| Peer::Socket(Some(Local { name: "ann".to_owned(), uid, by: LocalRight::Lab }));
    let root = runtime.block_on(ask_for_keys(local(0)));
    assert_eq!(root, (StatusCode::OK, "Included".to_owned()));
    let others = || [tls(Some(OPERATOR_KEY)), local(4_000_000_001)];
    for peer in others() {
        let (status, said) = runtime.block_on(ask_for_keys(peer.clone()));
        assert_eq!(status, StatusCode::FORBIDDEN, "{peer:?}: {said}");
    }
    model::broken::without(Some("keys-for-root-only"), || {
        for peer in others() {
            assert_eq!(runtime.block_on(ask_for_keys(peer.clone())).0, StatusCode::OK, "{peer:?}");
        }
    });
}

#[tokio::test]
async fn a_backup_is_no_request_of_the_one_door() {
    let request = HttpRequest::post("/api/v1/request")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(json!({ "request": "backup", "with_keys": true }).to_string()));
    let response = Page::new().send(socket(), request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_token_of_an_operator_opens_the_api() {
    let page = Page::new();
    let request = HttpRequest::get("/api/v1/status").header(header::AUTHORIZATION, "Bearer ci:secret");
    assert_eq!(page.send(tls(None), request.body(Body::empty()).unwrap()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn files_go_to_the_minion_whose_recipe_grants_them_and_to_nobody_else() {
    let page = Page::new();
    let path = format!("/files/{RECIPE}");
    assert_eq!(text(page.get(tls(Some(MINION_KEY)), &path).await).await, "sealed recipe");
    for (peer, expected) in [
        (tls(None), StatusCode::UNAUTHORIZED),
        (tls(Some(OPERATOR_KEY)), StatusCode::UNAUTHORIZED),
        (socket(), StatusCode::UNAUTHORIZED),
        (tls(Some(OTHER_MINION_KEY)), StatusCode::NOT_FOUND),
    ] {
        assert_eq!(page.get(peer.clone(), &path).await.status(), expected, "{peer:?}");
    }
    for bad in ["/files/abc", "/files/..%2F..%2Fetc%2Fpasswd", &format!("/files/{}", ContentHash([0; 32]))] {
        assert_eq!(page.get(tls(Some(MINION_KEY)), bad).await.status(), StatusCode::NOT_FOUND, "{bad}");
    }
}

#[tokio::test]
async fn a_content_is_resumed_where_the_minion_left_off() {
    let page = Page::new();
    let ask = |range: &str| {
        let request = HttpRequest::get(format!("/files/{CONTENT}")).header(header::RANGE, range);
        page.send(tls(Some(MINION_KEY)), request.body(Body::empty()).unwrap())
    };
    let rest = ask("bytes=4-").await;
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.headers()[header::CONTENT_RANGE], "bytes 4-9/10");
    assert_eq!(text(rest).await, "456789");
    assert_eq!(ask("bytes=10-").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(ask("bytes=1-2").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let whole = page.get(tls(Some(MINION_KEY)), &format!("/files/{CONTENT}")).await;
    assert_eq!((whole.status(), text(whole).await), (StatusCode::OK, "0123456789".to_owned()));
}

#[tokio::test]
async fn refusals_have_the_status_of_their_kind() {
    let page = Page::new();
    for (request, expected) in [
        (json!({ "request": "job", "job": "x" }), StatusCode::NOT_FOUND),
        (json!({ "request": "expand", "target": "x" }), StatusCode::NOT_FOUND),
        (json!({ "request": "compile", "target": "x", "states": [] }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "request": "gc", "keep_ms": null }), StatusCode::SERVICE_UNAVAILABLE),
        (json!({ "request": "no_such_thing" }), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let body = Body::from(request.to_string());
        let request = HttpRequest::post("/api/v1/request").header(header::CONTENT_TYPE, "application/json");
        let response = page.send(socket(), request.body(body).unwrap()).await;
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn foreign_pages_and_large_bodies_are_refused() {
    let page = Page::new();
    for path in ["/api/v1/status", "/mqtt"] {
        let request = HttpRequest::get(path)
            .header(header::HOST, "master.lab:8443")
            .header(header::ORIGIN, "https://evil.example");
        let status = page.send(tls(Some(OPERATOR_KEY)), request.body(Body::empty()).unwrap()).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let request = HttpRequest::post("/api/v1/request").header(header::CONTENT_TYPE, "application/json");
    let large = Body::from(vec![b' '; 1024 * 1024 + 1]);
    let status = page.send(socket(), request.body(large).unwrap()).await.status();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let form = HttpRequest::post("/api/v1/request").header(header::CONTENT_TYPE, "text/plain");
    let status =
        page.send(socket(), form.body(Body::from("{\"request\":\"status\"}")).unwrap()).await.status();
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form of a page needs no permission to be sent");
}

#[tokio::test]
async fn streams_are_one_json_object_a_line() {
    let page = Page::new();
    let response = page.send(socket(), example("post", "/api/v1/probe")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/jsonl");
    let lines = text(response).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["line"], "targets");
}

#[tokio::test]
async fn every_answer_says_that_it_is_not_to_be_framed_sniffed_or_kept() {
    let page = Page::new();
    for path in ["/api/v1/status", "/openapi.json", "/nothing"] {
        let response = page.get(tls(None), path).await;
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path}");
    }
}

#[tokio::test]
async fn watchers_see_the_events_that_their_filter_lets_through() {
    let page = Page::new();
    let response = page.get(socket(), "/api/v1/events/watch?tag=minion/%2B/start").await;
    for (number, tag) in [(1, "minion/vm-1/lost"), (2, "minion/vm-1/start")] {
        let event = Event {
            number,
            tag: tag.to_owned(),
            source: Source::Master,
            at: Timestamp(1),
            data: json!({}),
            hops: 0,
            cause: Vec::new(),
        };
        page.events.send(Arc::new(event)).unwrap();
    }
    let mut lines = response.into_body().into_data_stream();
    let line = futures_util::StreamExt::next(&mut lines).await.unwrap().unwrap();
    let event: Event = serde_json::from_slice(&line).unwrap();
    assert_eq!(event.number, 2);
}

fn with_token(path: &str, token: &str) -> HttpRequest<Body> {
    let request = HttpRequest::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

fn from(last: u8) -> Peer {
    Peer::Tls { key: None, address: ([10, 0, 0, last], 4000).into() }
}

#[tokio::test]
async fn a_token_whose_end_has_come_is_refused_with_a_sentence_and_put_on_record() {
    let page = Page::new();
    let answer = page.send(from(1), with_token("/api/v1/status", "old:secret")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let text = text(answer).await;
    assert!(text.contains("the time of old is over") && text.contains("labctl token create"), "{text}");
    page.send(from(1), with_token("/api/v1/status", "ci:canary-guess")).await;
    page.send(from(1), with_token("/api/v1/status", "<script>:x")).await;
    page.get(from(1), "/api/v1/status").await;
    let refused = page.refused.lock().unwrap();
    let told: Vec<String> =
        refused.iter().map(|it| format!("{} {} {}", it.caller.name, it.caller.via, it.reason)).collect();
    assert_eq!(
        told,
        [
            "old 10.0.0.1 https its end has come",
            "ci 10.0.0.1 https no such user or key, or not its secret",
            "? 10.0.0.1 https no such user or key, or not its secret",
        ],
        "and who says nothing about themselves is only counted"
    );
}

#[tokio::test]
async fn guessing_is_slow_and_keeps_nobody_else_waiting() {
    let page = Page::new();
    let guess = || page.send(from(1), with_token("/api/v1/status", "ci:guess"));
    let began = std::time::Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..22 {
        statuses.push(guess().await.status());
    }
    assert!(statuses[..20].iter().all(|it| *it == StatusCode::FORBIDDEN), "{statuses:?}");
    assert!(statuses[20..].contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    assert!(began.elapsed() > std::time::Duration::from_millis(500), "{:?}", began.elapsed());
    let began = std::time::Instant::now();
    let good = page.send(from(1), with_token("/api/v1/status", "ci:secret")).await;
    assert_eq!(good.status(), StatusCode::OK, "from the same address, with the right secret");
    let other = page.send(from(2), with_token("/api/v1/status", "ci:guess")).await;
    assert_eq!(other.status(), StatusCode::FORBIDDEN, "from another address");
    assert!(began.elapsed() < std::time::Duration::from_millis(500), "at once");
}

#[tokio::test]
async fn one_callers_flood_is_told_when_to_come_again_and_keeps_no_other_from_answering() {
    let page = Page::new();
    let mut refused = None;
    for _ in 0..5_000 {
        let answer = page.send(from(1), with_token("/api/v1/status", "ci:secret")).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a flood is stopped");
    assert!(refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let text = text(refused).await;
    assert!(text.contains("too many requests of this user") && text.contains("labctl doctor"), "{text}");
    let other = page.get(tls(Some(OPERATOR_KEY)), "/api/v1/status").await;
    assert_eq!(other.status(), StatusCode::TOO_MANY_REQUESTS, "the same user by another way");
    assert_eq!(page.get(socket(), "/api/v1/status").await.status(), StatusCode::OK, "another user");
    assert!(page.site.limits.counts()["too-many-requests-of-a-caller"] >= 2);
}

#[tokio::test]
async fn jobs_of_one_caller_are_limited_and_reading_goes_on() {
    let page = Page::new();
    let submit = || {
        let mut request = example("post", "/api/v1/jobs");
        request.headers_mut().insert(header::AUTHORIZATION, "Bearer ci:secret".parse().unwrap());
        page.send(from(1), request)
    };
    let mut taken = 0;
    while submit().await.status() == StatusCode::OK {
        taken += 1;
        assert!(taken < 1_000);
    }
    assert!(taken >= 200, "{taken}");
    let reading = page.send(from(1), with_token("/api/v1/status", "ci:secret")).await;
    assert_eq!(reading.status(), StatusCode::OK);
    let door = json!({ "request": "submit", "job": "01JD4Z3K8Q0V7YJ6R2T4M9XH5B", "target": "*", "wait": false,
        "kind": { "kind": "apply", "states": [], "mode": "check" }, "expires_ms": 1000, "retry_of": null });
    let mut request = with_token("/api/v1/request", "ci:secret");
    *request.method_mut() = axum::http::Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    *request.body_mut() = Body::from(door.to_string());
    assert_eq!(
        page.send(from(1), request).await.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "by the other path"
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_may_not_read_any_more() {
    let page = Page::new();
    let watch = page.send(from(1), with_token("/api/v1/events/watch", "ci:secret")).await;
    assert_eq!(watch.status(), StatusCode::OK);
    *page.gone.lock().unwrap() = true;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(8), text(watch)).await;
    assert_eq!(ended.as_deref(), Ok(""), "within seconds");
}

#[test]
fn a_stream_ends_when_other_roles_are_in_use() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ends = || {
        runtime.block_on(async {
            let page = Page::new();
            let watch = page.send(from(1), with_token("/api/v1/events/watch", "ci:secret")).await;
            assert_eq!(watch.status(), StatusCode::OK);
            page.roles.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::timeout(std::time::Duration::from_secs(3), text(watch)).await.is_ok()
        })
    };
    assert!(ends(), "within seconds, also if the role has the same name");
    assert!(!model::broken::without(Some("stream-roles"), ends), "the test notices");
}

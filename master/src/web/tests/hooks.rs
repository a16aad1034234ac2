//! `POST /hook/NAME`: who gets in, who does not and learns nothing, and who keeps whom waiting.

use super::*;
use model::broken;
use std::time::{Duration, Instant};

pub(super) const HOOKS: &str = "
ci: {recipe: github, secret: It's-a-Secret-to-Everybody}
other: {recipe: github, secret: another-secret-of-ours}
alerts: {recipe: alertmanager, secret: 0123456789abcdef, rate: 3/h, max: 1KiB}
build: {recipe: generic, secret: 0123456789abcdef, max: 1MiB, rate: 100/s}
inside: {recipe: alertmanager, secret: 0123456789abcdef, cidr: [10.0.0.0/30]}
new: {recipe: github}
";
const CI: &str = "It's-a-Secret-to-Everybody";
/// The fake daemon's clock, in seconds.
const NOW: u64 = 1_700_000_000;

fn hex_mac(secret: &str, text: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().iter().fold(String::new(), |text, it| format!("{text}{it:02x}"))
}

fn post(name: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpRequest<Body> {
    let mut request =
        HttpRequest::post(format!("/hook/{name}")).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

fn github(name: &str, secret: &str, body: &[u8]) -> HttpRequest<Body> {
    let signature = format!("sha256={}", hex_mac(secret, body));
    post(name, &[("x-hub-signature-256", &signature), ("x-github-event", "push")], body)
}

fn build(secret: &str, at: u64, body: &[u8]) -> HttpRequest<Body> {
    let signed = [format!("{at}.").as_bytes(), body].concat();
    let signature = format!("t={at},v1={}", hex_mac(secret, &signed));
    post("build", &[("x-lab-signature", &signature)], body)
}

fn alert(name: &str, token: &str, body: &[u8]) -> HttpRequest<Body> {
    post(name, &[("authorization", &format!("Bearer {token}"))], body)
}

const PUSH: &[u8] =
    br#"{"ref":"refs/heads/main","after":"abc","commits":[],"repository":{"full_name":"ops/states"}}"#;
const ALERTS: &[u8] = br#"{"alerts":[{"status":"firing","labels":{"alertname":"DiskFull"}}]}"#;

#[tokio::test]
async fn who_knows_the_secret_is_answered_with_the_number_of_the_event() {
    let page = Page::new();
    for request in [
        github("ci", CI, PUSH),
        alert("alerts", "0123456789abcdef", ALERTS),
        alert("inside", "0123456789abcdef", ALERTS),
        build("0123456789abcdef", NOW - 200, b"{\"x\":1}"),
    ] {
        let path = request.uri().to_string();
        let answer = page.send(from(1), request).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{path}");
        let told: api::Delivered = serde_json::from_str(&text(answer).await).unwrap();
        assert!(told.event > 0 && !told.again);
    }
    let delivered = page.delivered.lock().unwrap();
    let hooks: Vec<&str> = delivered.iter().map(|it| it.hook.as_str()).collect();
    assert_eq!(hooks, ["ci", "alerts", "inside", "build"]);
    assert_eq!(
        (&delivered[0].events[0]["repo"], &delivered[0].events[0]["branch"]),
        (&json!("ops/states"), &json!("main"))
    );
    assert_eq!(delivered[1].events[0]["alert"], "DiskFull");
    assert!(page.refused.lock().unwrap().is_empty());
}

/// What a stranger sees: the answer whole.
async fn seen(page: &Page, peer: Peer, request: HttpRequest<Body>) -> (StatusCode, String) {
    let answer = page.send(peer, request).await;
    (answer.status(), format!("{:?} {}", answer.headers().clone(), text(answer).await))
}

#[tokio::test]
async fn a_stranger_gets_nowhere_and_learns_not_even_which_hooks_there_are() {
    let page = Page::new();
    let forged = |name: &str| github(name, "a guess of somebody's", PUSH);
    let good = hex_mac(CI, PUSH);
    let tampered =
        post("ci", &[("x-hub-signature-256", &format!("sha256={good}"))], b"{\"ref\":\"refs/heads/evil\"}");
    let twice = {
        let mut request = forged("ci");
        request.headers_mut().append("x-hub-signature-256", format!("sha256={good}").parse().unwrap());
        request
    };
    let attempts = vec![
        (1, "a hook that there is not", forged("nothing")),
        (2, "another hook's secret", github("ci", "another-secret-of-ours", PUSH)),
        (3, "a body that was altered", tampered),
        (4, "not signed at all", post("ci", &[], PUSH)),
        (5, "two signatures", twice),
        (6, "a guess", forged("ci")),
        (7, "a hook without a secret", github("new", "", PUSH)),
        (8, "a token that is wrong", alert("alerts", "0123456789abcdeg", ALERTS)),
        (9, "the right one from elsewhere", alert("inside", "0123456789abcdef", ALERTS)),
        (10, "the way of another recipe", alert("ci", CI, PUSH)),
        (11, "signed too long ago", build("0123456789abcdef", NOW - 301, b"{}")),
        (12, "signed for the future", build("0123456789abcdef", NOW + 301, b"{}")),
        (13, "a path", forged("..%2F..%2Fetc%2Fpasswd")),
        (14, "capital letters", forged("CI")),
        (15, "a control character", forged("ci%00")),
        (16, "an empty token", alert("alerts", "", ALERTS)),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for (number, what, request) in attempts {
        // From an address each, so that no limit answers for the signature.
        let (status, answer) = seen(&page, from(100 + number), request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
        answers.insert(answer);
    }
    assert_eq!(answers.len(), 1, "all are told the same: {answers:?}");
    assert!(page.delivered.lock().unwrap().is_empty());
    let refused = page.refused.lock().unwrap();
    assert_eq!(refused.len(), 16);
    assert_eq!((refused[0].caller.name.as_str(), refused[1].caller.name.as_str()), ("hook:?", "hook:ci"));
    assert!(!format!("{refused:?}").contains("passwd"), "what strangers call a hook is not repeated");
}

/// A defence, and a request that succeeds without it.
type Case = (&'static str, fn() -> HttpRequest<Body>);

#[test]
fn each_defence_is_missed_when_it_is_left_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = |request: fn() -> HttpRequest<Body>| {
        runtime.block_on(async { Page::new().send(from(9), request()).await.status() })
    };
    let cases: [Case; 4] = [
        ("hook-signature", || github("ci", "a guess of somebody's", PUSH)),
        ("hook-time", || build("0123456789abcdef", NOW - 86_400, b"{}")),
        ("hook-cidr", || alert("inside", "0123456789abcdef", ALERTS)),
        ("hook-size", || {
            alert("alerts", "0123456789abcdef", &[b"{\"alerts\":[]}".to_vec(), vec![b' '; 2 << 20]].concat())
        }),
    ];
    for (part, request) in cases {
        assert_ne!(status(request), StatusCode::ACCEPTED, "{part}");
        let without = broken::without(Some(part), || status(request));
        assert_eq!(without, StatusCode::ACCEPTED, "{part} is missed");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_kept_and_only_who_signed_it_is_told_why() {
    let page = Page::new();
    let large = [b"{\"alerts\":[]}".to_vec(), vec![b' '; 2_000]].concat();
    assert_eq!(
        page.send(from(1), alert("alerts", "0123456789abcdef", &large)).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        page.send(from(1), alert("alerts", "guess-of-somebody", &large)).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let huge = vec![b' '; (1 << 20) + 1];
    let mut answers = std::collections::BTreeSet::new();
    for (number, name) in [(2, "ci"), (3, "nothing"), (4, "new")] {
        let (status, answer) = seen(&page, from(number), github(name, "guess", &huge)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{name}");
        answers.insert(answer);
    }
    assert_eq!(answers.len(), 1, "whichever hook it is: {answers:?}");
    let most = [b"{}".to_vec(), vec![b' '; (1 << 20) - 2]].concat();
    assert_eq!(
        page.send(from(1), build("0123456789abcdef", NOW, &most)).await.status(),
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_payload_that_makes_no_sense_is_refused_with_a_sentence_to_who_signed_it() {
    let page = Page::new();
    let answer = page.send(from(1), github("ci", CI, b"no json")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(text(answer).await.contains("no JSON"));
    let mut form = github("ci", CI, b"payload=%7B%7D");
    form.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    let answer = page.send(from(1), form).await;
    assert!(text(answer).await.contains("application/json"));
}

#[tokio::test]
async fn a_hook_that_is_used_too_often_says_when_to_come_again_and_the_others_go_on() {
    let page = Page::new();
    let send = || page.send(from(1), alert("alerts", "0123456789abcdef", ALERTS));
    for _ in 0..3 {
        assert_eq!(send().await.status(), StatusCode::ACCEPTED);
    }
    let refused = send().await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1_000..=1_201).contains(&wait), "{wait}");
    assert_eq!(page.send(from(1), github("ci", CI, PUSH)).await.status(), StatusCode::ACCEPTED);
}

#[test]
fn without_its_rate_a_hook_takes_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = || {
        runtime.block_on(async {
            let page = Page::new();
            let mut taken = 0;
            for _ in 0..20 {
                let answer = page.send(from(1), alert("alerts", "0123456789abcdef", ALERTS)).await;
                taken += u32::from(answer.status() == StatusCode::ACCEPTED);
            }
            taken
        })
    };
    assert_eq!(taken(), 3);
    assert_eq!(broken::without(Some("hook-rate"), taken), 20);
}

#[tokio::test]
async fn a_flood_of_guesses_is_slowed_down_and_keeps_no_sender_waiting() {
    let page = Page::new();
    let mut statuses = Vec::new();
    for _ in 0..24 {
        statuses.push(page.send(from(66), github("ci", "a guess of somebody's", PUSH)).await.status());
    }
    assert!(statuses[20..].contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let began = Instant::now();
    for peer in [from(66), from(1)] {
        assert_eq!(page.send(peer, github("ci", CI, PUSH)).await.status(), StatusCode::ACCEPTED);
    }
    assert!(began.elapsed() < Duration::from_millis(500), "also from the same address");
}

/// A body that never ends.
fn endless(name: &str) -> HttpRequest<Body> {
    let mut request = github(name, CI, b"");
    let pieces = futures_util::stream::pending::<Result<axum::body::Bytes, std::io::Error>>();
    *request.body_mut() = Body::from_stream(pieces);
    request
}

#[tokio::test]
async fn bodies_that_never_come_hold_few_places_and_none_of_other_addresses() {
    let page = Arc::new(Page::new());
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let page = Arc::clone(&page);
        waiting.push(tokio::spawn(async move { page.send(from(66), endless("ci")).await.status() }));
    }
    let all_read = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while page.site.hooks.reading() < 8 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all_read).await.expect("eight bodies are waited for");
    let ninth = page.send(from(66), github("ci", CI, PUSH)).await;
    assert_eq!(ninth.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.send(from(1), github("ci", CI, PUSH)).await.status(), StatusCode::ACCEPTED);
    for one in waiting {
        assert_eq!(one.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(page.site.hooks.reading(), 0, "places are given back");
}

#[test]
fn without_places_one_address_may_hold_any_number_of_them() {
    let door = super::super::hook::HookDoor::default();
    let origin = crate::limits::Origin::of([10, 0, 0, 1].into());
    let seats = || (0..100).filter_map(|_| door.seat(origin)).collect::<Vec<_>>().len();
    assert_eq!(seats(), 8);
    assert_eq!(broken::without(Some("hook-seats"), seats), 100);
}

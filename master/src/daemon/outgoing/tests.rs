//! Every service gets exactly what its documentation says, from a server that writes down what comes; and what services
//! answer is judged, bounded and masked.

use super::make;
use lang::{
    notifiers::{About, Call, Notifiers, Passage},
    rules::{Body, HttpWish, Notice, Priority},
};
use model::{Secret, Timestamp};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Answers with these, one after the other, and tells what came.
struct Recorder {
    url: String,
    heard: Receiver<String>,
}

impl Recorder {
    fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, heard) = channel();
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let request = read_request(&mut stream);
                let _ = stream.write_all(answer.as_bytes());
                let _ = tell.send(request);
            }
        });
        Self { url, heard }
    }
    fn heard(&self) -> String {
        self.heard.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|it| it.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if read == 0 || body.len() >= length.unwrap_or(0) {
                return text;
            }
        } else if read == 0 {
            return text;
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn notifiers(text: &str) -> Notifiers {
    let read =
        |name: &str| (name == "token").then(|| "tk_canary\n".to_owned()).ok_or("no such file".to_owned());
    let parsed = Notifiers::parse("notify.yaml", text, &read);
    parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))
}

fn notice() -> Notice {
    Notice {
        title: "disk <full>".to_owned(),
        message: "web1: / is at \"91\" %\n@everyone".to_owned(),
        priority: Priority::High,
        tags: vec!["disk".to_owned()],
        data: json!({"path": "/", "percent": 91}).as_object().unwrap().clone(),
        resolve: false,
    }
}

fn about() -> About {
    About {
        rule: "disk-full".to_owned(),
        tag: "minion/web1/beacon/disk".to_owned(),
        event: 7,
        minion: Some("web1".to_owned()),
        at: Timestamp(1_800_000_000_000),
    }
}

/// Method and path, headers that matter, body.
fn told(service: &str, notice: &Notice) -> (String, Vec<String>, Value) {
    let recorder = Recorder::start(&[OK]);
    let text = format!("notifiers:\n  it: {}\n", service.replace("URL", &recorder.url));
    let Passage::Call(wanted) = notifiers(&text).notify("it", notice, &about()).unwrap() else { panic!() };
    let called = make(&wanted);
    assert!(called.good && called.answer == "200 ok", "{called:?}");
    let request = recorder.heard();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    let mut headers: Vec<String> = lines.map(str::to_lowercase).collect();
    headers.retain(|it| {
        !["host:", "content-length:", "accept", "user-agent:"].iter().any(|word| it.starts_with(word))
    });
    headers.sort();
    (first, headers, serde_json::from_str(body).unwrap_or(Value::Null))
}

const JSON: &str = "content-type: application/json";

#[test]
fn an_alert_is_raised_and_ended_whatever_its_priority() {
    let alertmanager = "{ type: alertmanager, url: 'URL', priorities: { high: page } }";
    let mut alert = json!({
        "labels": { "alertname": "disk-full", "severity": "page", "source": "labctl", "instance": "web1" },
        "annotations": {
            "summary": "disk <full>", "description": "web1: / is at \"91\" %\n@everyone", "path": "/", "percent": "91",
        },
        "startsAt": "2027-01-15T08:00:00Z",
    });
    let first = "POST /api/v2/alerts HTTP/1.1".to_owned();
    assert_eq!(told(alertmanager, &notice()), (first.clone(), vec![JSON.to_owned()], json!([alert])));
    alert.as_object_mut().unwrap().shift_remove("startsAt");
    alert["endsAt"] = json!("2027-01-15T08:00:00Z");
    for (priority, severities) in
        [(Priority::High, ["page", "info", "critical"]), (Priority::Low, ["info", "page", "critical"])]
    {
        let over = Notice { resolve: true, priority, ..notice() };
        let of = |severity: &str| {
            let mut alert = alert.clone();
            alert["labels"]["severity"] = json!(severity);
            alert
        };
        let wanted = json!(severities.map(of));
        let told = told(alertmanager, &over);
        assert_eq!(
            told,
            (first.clone(), vec![JSON.to_owned()], wanted),
            "it ends whatever it was raised with"
        );
    }
}

#[test]
fn every_service_gets_exactly_what_it_wants() {
    let ntfy = "{ type: ntfy, url: 'URL/', topic: lab, token_file: token }";
    let wanted = json!({
        "topic": "lab", "message": "web1: / is at \"91\" %\n@everyone", "priority": 4, "title": "disk <full>",
        "tags": ["disk"],
    });
    let headers = vec!["authorization: bearer tk_canary".to_owned(), JSON.to_owned()];
    assert_eq!(told(ntfy, &notice()), ("POST / HTTP/1.1".to_owned(), headers, wanted));

    let discord = "{ type: discord, url: 'URL/api/webhooks/1/canary' }";
    let wanted = json!({
        "username": "labctl", "embeds": [{
            "description": "web1: / is at \"91\" %\n@everyone", "color": 0x00e6_7e22,
            "timestamp": "2027-01-15T08:00:00Z", "title": "disk <full>",
        }],
        "allowed_mentions": { "parse": [] },
    });
    let first = "POST /api/webhooks/1/canary HTTP/1.1".to_owned();
    assert_eq!(told(discord, &notice()), (first, vec![JSON.to_owned()], wanted));

    let slack = "{ type: slack, url: 'URL/services/T0/B0/canary' }";
    let wanted = json!({"text": "*disk &lt;full&gt;*\nweb1: / is at \"91\" %\n@everyone"});
    let first = "POST /services/T0/B0/canary HTTP/1.1".to_owned();
    assert_eq!(told(slack, &notice()), (first, vec![JSON.to_owned()], wanted));

    let kuma = "{ type: uptime-kuma, url: 'URL/api/push/canary?status=up&msg=OK&ping=' }";
    let mut notice_up = Notice { message: "a b&c".to_owned(), priority: Priority::Normal, ..notice() };
    notice_up.data = json!({"ping": 12}).as_object().unwrap().clone();
    let first = "GET /api/push/canary?status=up&msg=a%20b%26c&ping=12 HTTP/1.1".to_owned();
    assert_eq!(told(kuma, &notice_up), (first, Vec::new(), Value::Null));
    let first = "GET /api/push/canary?status=down&msg=web1 HTTP/1.1"
        .replace("msg=web1", "msg=web1%3A%20%2F%20is%20at%20%2291%22%20%25%0A%40everyone&ping=");
    assert_eq!(told(kuma, &notice()), (first, Vec::new(), Value::Null));

    let hook = "{ type: webhook, url: 'URL/x?k=v', headers: { X-Key: canary }, template: { text: '{{upper title}}: {{message}}', list: ['{{minion}}', 3], p: '{{data.percent}}', '{{title}}': 1 } }";
    let wanted = json!({
        "text": "DISK <FULL>: web1: / is at \"91\" %\n@everyone", "list": ["web1", 3], "p": "91", "{{title}}": 1,
    });
    let headers = vec![JSON.to_owned(), "x-key: canary".to_owned()];
    assert_eq!(told(hook, &notice()), ("POST /x?k=v HTTP/1.1".to_owned(), headers, wanted));

    let wanted = json!({
        "title": "disk <full>", "message": "web1: / is at \"91\" %\n@everyone", "priority": "high", "tags": ["disk"],
        "data": {"path": "/", "percent": 91}, "resolve": false, "rule": "disk-full", "minion": "web1",
        "tag": "minion/web1/beacon/disk", "event": 7, "time": "2027-01-15T08:00:00Z",
    });
    let plain = told("{ type: webhook, url: 'URL/x' }", &notice());
    assert_eq!(plain, ("POST /x HTTP/1.1".to_owned(), vec![JSON.to_owned()], wanted.clone()));
    let bus = notifiers("notifiers: { it: { type: mqtt } }").notify("it", &notice(), &about());
    let Ok(Passage::Publish { topic, payload }) = bus else { panic!("{bus:?}") };
    assert_eq!((topic.as_str(), serde_json::from_str::<Value>(&payload).unwrap()), ("lab/notify/it", wanted));
}

fn call(url: &str) -> Call {
    Call {
        method: "POST".to_owned(),
        url: Secret::new(url),
        headers: vec![("Authorization".to_owned(), Secret::new("Bearer tk_canary"))],
        body: Some(Secret::new("{}")),
        expect: vec![(200, 299)],
        timeout_ms: 2_000,
        ca: None,
    }
}

#[test]
fn answers_are_judged_bounded_and_masked() {
    let cases = [
        ("HTTP/1.1 204 No Content\r\n\r\n", true, false, None),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", false, true, None),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, false, None),
        ("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", false, true, Some(7_000)),
        ("HTTP/1.1 408 Late\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", false, true, None),
        ("HTTP/1.1 302 Go\r\nLocation: http://127.0.0.2:1/\r\nContent-Length: 0\r\n\r\n", false, false, None),
        ("HTTP/1.1 307 Go\r\nLocation: //127.0.0.2:1/x\r\nContent-Length: 0\r\n\r\n", false, false, None),
        ("nonsense", false, true, None),
    ];
    for (answer, good, again, retry) in cases {
        let recorder = Recorder::start(&[answer]);
        let called = make(&call(&format!("{}/hook/canary-path", recorder.url)));
        assert_eq!(
            (called.good, called.again, called.retry_after_ms),
            (good, again, retry),
            "{answer:?}: {called:?}"
        );
        assert!(!called.answer.contains("canary"), "{called:?}");
    }
    let echo = "HTTP/1.1 400 No\r\nConnection: close\r\n\r\nbad token tk_canary for /hook/canary-path";
    let recorder = Recorder::start(&[echo]);
    let called = make(&call(&format!("{}/hook/canary-path", recorder.url)));
    assert!(called.answer.contains("«secret»") && !called.answer.contains("canary"), "{called:?}");
    let long = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1 << 20));
    let recorder = Recorder::start(&[Box::leak(long.into_boxed_str())]);
    assert!(make(&call(&recorder.url)).answer.len() < 300);
    let began = Instant::now();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = call(&format!("http://{}/canary-path", silent.local_addr().unwrap()));
    slow.timeout_ms = 200;
    let called = make(&slow);
    assert!(!called.good && called.again && began.elapsed() < Duration::from_secs(5), "{called:?}");
    let closed = make(&call("http://127.0.0.1:1/canary-path"));
    assert!(closed.again && !closed.answer.contains("canary"), "{closed:?}");
    assert!(!format!("{:?}", call("http://h/canary")).contains("canary"));
}

#[test]
fn a_service_may_send_on_to_a_path_of_its_own_only_and_certificates_are_checked() {
    let on = "HTTP/1.1 307 Go\r\nLocation: /there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let recorder = Recorder::start(&[on, OK]);
    assert!(make(&call(&format!("{}/here", recorder.url))).good);
    assert!(recorder.heard().starts_with("POST /here ") && recorder.heard().starts_with("POST /there "));
    let round = Recorder::start(&[on, on, on, on, on]);
    assert!(make(&call(&round.url)).answer.contains("more than 3 times"));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
    });
    assert!(!make(&call(&url)).good, "what speaks no TLS is not spoken to");
    let wish = HttpWish {
        to: Some("desk".to_owned()),
        url: "/t".to_owned(),
        method: "PUT".to_owned(),
        headers: vec![("X-A".to_owned(), "b".to_owned())],
        body: Some(Body::Text("hello".to_owned())),
        expect: vec![(201, 201)],
        timeout_ms: 2_000,
        usual_timeout: false,
    };
    let created = "HTTP/1.1 201 Made\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let recorder = Recorder::start(&[created]);
    let text = format!("endpoints: {{ desk: {{ url: '{}/api/', token: abcd, timeout: 7s }} }}", recorder.url);
    let timeout = |wish: &HttpWish| notifiers(&text).http(wish).unwrap().timeout_ms;
    assert_eq!(timeout(&wish), 2_000, "the rule's own");
    assert_eq!(timeout(&HttpWish { usual_timeout: true, ..wish.clone() }), 7_000, "the endpoint's");
    assert!(make(&notifiers(&text).http(&wish).unwrap()).good);
    let heard = recorder.heard().to_lowercase();
    assert!(heard.starts_with("put /api/t http/1.1\r\n") && heard.ends_with("\r\n\r\nhello"), "{heard}");
    assert!(heard.contains("authorization: bearer abcd") && heard.contains("x-a: b"));
    assert!(heard.contains("content-type: text/plain"));
}

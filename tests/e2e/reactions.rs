//! What rules do outside of the fleet: a server that writes down what comes, fails when it is told to, and is called once
//! for each notice, also when the master is killed in between. No secret is in any log, view or store.

use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const RULES: &str = "\
tell:
  on: user/+/tell
  do:
    - notify: { to: hook, title: 'from {{event.who}}', message: '{{event.text}}', priority: high }
failing:
  on: user/+/fail
  concurrency: 1 per rule
  do:
    - run: { target: '{{event.host}}', command: [sh, -c, 'exit 3'] }
    - wait_for: { job: last, timeout: 1m }
    - event: { tag: never }
  on_failure:
    - notify: { to: hook, message: 'bad: {{failure.reason}}' }
steps:
  on: user/+/steps
  do:
    - wait_for: { event: 'user/+/ready', when: event.n > 1, timeout: 1m }
    - label: { target: 'vm-1', set: { state: ready } }
    - notify: { to: hook, message: ready }
quiet:
  on: user/+/quiet
  do:
    - notify: { to: night, message: held }
widen:
  on: user/+/widen
  do:
    - label: { target: '{{event.whom}}', set: { owned: 'yes' } }
    - http: { to: desk, url: '/ids/{{urlencode event.whom}}' }
";

/// Answers 503 as often as it is told, then 200; writes down what came.
#[derive(Clone)]
struct Recorder {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    failures: Arc<Mutex<usize>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let it = Self { port, heard: Arc::default(), failures: Arc::default() };
        let copy = it.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                copy.serve(stream);
            }
        });
        it
    }
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(LIMIT));
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read) = stream.read(&mut buffer) {
            bytes.extend(&buffer[..read]);
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
                body.len() >= length.unwrap_or(0)
            });
            if whole || read == 0 {
                break;
            }
        }
        let mut failures = self.failures.lock().unwrap();
        let answer = if *failures > 0 { "503 Busy" } else { "200 OK" };
        *failures = failures.saturating_sub(1);
        self.heard.lock().unwrap().push(format!("{answer}\n{}", String::from_utf8_lossy(&bytes)));
        let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    /// Requests with a text in them, and how they were answered.
    fn with(&self, text: &str) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter(|it| it.contains(text)).cloned().collect()
    }
}

fn lab(recorder: &Recorder) -> Lab {
    let mut lab = Lab::prepare();
    lab.tree("reactors/rules.yaml", RULES);
    let url = format!("http://127.0.0.1:{}", recorder.port);
    let text = format!(
        "notifiers:\n  hook: {{ type: webhook, url: '{url}/hooks/canary-in-path', token_file: notify.token }}\n  \
         night: {{ type: webhook, url: '{url}/night', quiet_hours: {{ from: '00:00', to: '23:59', held: drop }} }}\n\
         endpoints:\n  desk: {{ url: '{url}/desk', headers: {{ X-Key: canary-in-header }} }}\n"
    );
    for (name, text) in [("notify.yaml", text.as_str()), ("notify.token", "canary-token")] {
        let path = lab.root().join("etc/labctl").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    lab.start_master();
    lab
}

fn send(lab: &Lab, what: &[&str]) {
    lab.labctl(&[&["event", "send"], what].concat()).expect(0);
}

/// The end of the first action of the newest decision of a rule.
fn end_of(lab: &Lab, rule: &str) -> Option<Value> {
    let json: Value =
        serde_json::from_str(&lab.labctl(&["rule", "history", rule, "-o", "json"]).stdout).ok()?;
    let items = json["items"].as_array()?;
    let verdicts = items.iter().rev().flat_map(|it| it["verdicts"].as_array().into_iter().flatten());
    let fired = verdicts.into_iter().find(|it| it["rule"] == rule && it["fired"] == true)?;
    fired["actions"].as_array()?.first()?.get("end").filter(|it| !it.is_null()).cloned()
}

#[test]
fn a_notice_is_delivered_once_although_the_service_fails_twice_and_the_master_is_killed() {
    let recorder = Recorder::start();
    *recorder.failures.lock().unwrap() = 2;
    let mut lab = lab(&recorder);
    send(&lab, &["tell", "who=me", "text=the disk is full"]);
    wait::until("the first try", LIMIT, || (!recorder.with("the disk is full").is_empty()).then_some(()));
    lab.signal_master("KILL");
    lab.start_master();
    let good = || {
        let heard = recorder.with("the disk is full");
        heard.iter().any(|it| it.starts_with("200")).then_some(heard)
    };
    let heard = wait::until(&format!("the delivery\n{}", lab.logs()), LIMIT, good);
    let end = wait::until("the end on record", LIMIT, || end_of(&lab, "tell"));
    assert_eq!(end["ok"], true, "{end}");
    let once = recorder.with("the disk is full");
    assert_eq!(once.iter().filter(|it| it.starts_with("200")).count(), 1, "{once:?}");
    let ids: Vec<&str> = heard
        .iter()
        .filter_map(|it| it.lines().find(|it| it.to_lowercase().starts_with("idempotency-key:")))
        .collect();
    assert!(
        ids.len() >= 3 && ids.iter().all(|it| *it == ids[0]),
        "every try says that it is the same: {ids:?}"
    );
    assert!(heard[0].to_lowercase().contains("authorization: bearer canary-token"));

    let views = [
        &["notify", "list", "-o", "json"][..],
        &["rule", "history", "-o", "json"],
        &["status", "-o", "json"],
    ];
    let said: String = views.iter().map(|it| lab.labctl(it).stdout).collect();
    assert!(said.contains("hook"), "{said}");
    lab.labctl(&["notify", "test", "hook"]).expect(0);
    lab.signal_master("TERM");
    let kept = fs::read(lab.root().join("var/lib/labctl/master/store.db")).unwrap();
    for text in [said.as_str(), &lab.logs(), &String::from_utf8_lossy(&kept)] {
        assert!(!text.contains("canary"), "a secret is in it: {text}");
    }
}

#[test]
fn reactions_wait_fail_once_and_stay_quiet_and_a_minion_causes_no_more_than_the_rule_says() {
    let recorder = Recorder::start();
    let mut lab = lab(&recorder);
    lab.minions(&["vm-1", "vm-2"]);

    send(&lab, &["fail", "host=vm-1"]);
    send(&lab, &["fail", "host=vm-2"]);
    let both = || (recorder.with("bad: ").len() >= 2).then_some(());
    wait::until(&format!("both failures to be told\n{}", lab.logs()), LIMIT, both);
    let told = recorder.with("bad: ");
    assert!(
        told.len() == 2 && told[0].contains("vm-1") && told[1].contains("vm-2"),
        "one after the other: {told:?}"
    );
    assert!(!lab.labctl(&["event", "list"]).stdout.contains("rule/failing/never"));

    send(&lab, &["steps"]);
    send(&lab, &["ready", "n=1"]);
    lab.signal_master("KILL");
    lab.start_master();
    lab.wait_up("vm-1");
    assert!(recorder.with("\"ready\"").is_empty(), "it waits");
    send(&lab, &["ready", "n=2"]);
    wait::until("it to go on", LIMIT, || (!recorder.with("\"ready\"").is_empty()).then_some(()));
    lab.labctl(&["target", "label:state=ready", "list"]).expect(0);

    send(&lab, &["quiet"]);
    let end = wait::until("the end on record", LIMIT, || end_of(&lab, "quiet"));
    assert!(end["answer"].as_str().unwrap().contains("quiet hours"), "{end}");

    for whom in ["*", "vm-1 or vm-2", "../../admin?x=*", "vm-1"] {
        send(&lab, &["widen", &format!("whom={whom}")]);
    }
    wait::until("the good one", LIMIT, || (!recorder.with("/desk").is_empty()).then_some(()));
    let called = recorder.with("/desk");
    assert!(called.len() == 1 && called[0].contains("GET /desk/ids/vm-1 HTTP/1.1"), "{called:?}");
    assert!(called[0].to_lowercase().contains("x-key: canary-in-header"));
    let minions = lab.labctl(&["target", "label:owned=yes", "list", "-o", "json"]).stdout;
    assert!(minions.contains("vm-1") && !minions.contains("vm-2"), "{minions}");
    assert!(recorder.with("/night").is_empty());
}

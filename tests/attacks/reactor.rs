//! Hooks, rules and pushes: deliveries of strangers, what events lead rules to, what minions and operators may not say.

use crate::{
    arena::{Arena, now},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    content::{jobs, rand, says},
    mqtt::{self, Line, SOON},
    service::Service,
    transport::{Who, line_of},
    web::{Answer, bearer, exchange, request, web_line},
};
use bus::FromMinion;
use model::{
    JobId, JobKind, Mode, ObserverRole, Reply, Request, Rolling, Share, broken,
    request::{MaintenanceAct, ScheduleAct},
};
use serde_json::json;
use std::{
    fs,
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};
use tests::{lab::Lab, program, wait};

pub(crate) const GROUP: Group = Group {
    letter: 'A',
    name: "Hooks, rules and pushes",
    test: "hooks_rules_and_pushes",
    attacks: ATTACKS,
    arena,
};

const UNKNOWN: &str = "401, as for a hook that there is not";
const SIGNED: &str = "who does not know a hook's secret gets nothing in";
const OUTSIDE: &str = "what rules do outside prints no secret, and an event widens nothing";
const ROLES: &str = "whatever alters something is refused to a viewer";

const ATTACKS: &[Attack] = &[
    row(
        "A01",
        Built("a claim is a type: who claims nothing has nothing that could be compared"),
        "delivers to a hook without a signature",
        UNKNOWN,
        SIGNED,
        |it| taken(it, |_| Some(generic("", now_s(), BODY, "other-header"))),
    ),
    row("A02", Without("hook-signature"), "delivers to a hook with a guess", UNKNOWN, SIGNED, |it| {
        taken(it, |_| Some(generic("a guess of somebody's", now_s(), BODY, HEADER)))
    }),
    row("A03", Without("hook-signature"), "alters the body of a delivery", UNKNOWN, SIGNED, |it| {
        taken(it, |_| Some(bent(generic(SECRET, now_s(), BODY, HEADER))))
    }),
    row("A04", Without("hook-time"), "delivers what was signed yesterday", UNKNOWN, SIGNED, |it| {
        taken(it, |_| Some(generic(SECRET, now_s() - 86_400, BODY, HEADER)))
    }),
    row(
        "A05",
        Without("hook-once"),
        "delivers once more what was delivered",
        "the answer of before, and no event",
        "a delivery to a hook is one event, however often it comes",
        again,
    ),
    row(
        "A06",
        Without("hook-size"),
        "delivers 200 KiB, with the secret, to a hook that takes 1 KiB",
        "413",
        "limits",
        |it| taken(it, |_| Some(alert("small", SECRET, &format!("{ALERTS}{}", " ".repeat(200 << 10))))),
    ),
    row(
        "A07",
        Without("hook-cidr"),
        "delivers with the secret, from a network that is not the hook's",
        UNKNOWN,
        SIGNED,
        |it| taken(it, |_| Some(alert("inside", SECRET, ALERTS))),
    ),
    row(
        "A08",
        Without("hook-rate"),
        "delivers with the secret, 6 times in a row, to a hook for 3 an hour",
        "429 after 3",
        "limits",
        flood,
    ),
    row(
        "A09",
        Without("hook-seats"),
        "begins 8 deliveries from one address, and sends no bodies",
        "the next one from there is told to come again",
        "who does not know a hook's secret keeps no sender waiting",
        slow_bodies,
    ),
    row(
        "A10",
        Without("hook-names"),
        "asks for hooks by name, to learn which there are",
        "one answer for all",
        "who does not know a hook's secret learns not even which hooks there are",
        names,
    ),
    row(
        "A11",
        Built("what strangers send is in no line of a log: there is nothing to leave out"),
        "delivers with the secret in the path, in other headers and in a body that makes no sense",
        "refused; no log, store or answer holds it",
        "secrets do not print",
        misplaced,
    ),
    row(
        "A12",
        Without("call-redirects"),
        "as a service that rules call, sends the call on to somebody else",
        "not followed: the secret of the call goes nowhere",
        OUTSIDE,
        redirects,
    ),
    row(
        "A13",
        Without("answer-size"),
        "as a service that rules call, answers without an end",
        "4 KiB are read",
        "answers are bounded and masked",
        endless,
    ),
    row(
        "A14",
        Without("mask-calls"),
        "as a service that rules call, answers with the secret that it was called with",
        "the record of the decision says «secret»",
        "answers are bounded and masked",
        echoes,
    ),
    row(
        "A15",
        Without("url-from-events"),
        "sends an event with `..` for the address of a call",
        "refused: what an event brings stays one part of a path",
        OUTSIDE,
        climbs,
    ),
    row(
        "A16",
        Built("JSON is filled in as a value, and written afterwards"),
        "sends an event with quotes and braces for the JSON of a call",
        "stays one text",
        OUTSIDE,
        breaks_json,
    ),
    row(
        "A17",
        Without("minion-tags"),
        "as a member, tells of its life what only the master sees",
        "dropped and counted",
        "`source` is set by the gate, never by the payload",
        lies_of_its_life,
    ),
    row(
        "A18",
        Built("the master puts the name of the key before every tag of a minion"),
        "as a member, sends what a beacon of another would",
        "an event of its own, with the other's name in its data at most",
        "`source` is set by the gate, never by the payload",
        in_anothers_name,
    ),
    row(
        "A19",
        Without("schedule-own-job"),
        "as a member, says that its schedule began a job whose number an operator is about to use",
        "counted; the job is not put on record",
        "a minion runs its own schedules; strangers do not",
        claims_a_job,
    ),
    row(
        "A20",
        Built("hops and causes are in no message: the master counts them itself"),
        "sends an event that says of itself that it has no cause, no hops and another source",
        "data, and nothing else",
        "loop breaker (cause chain and hop count in every event)",
        forges_its_cause,
    ),
    row("A21", Without("roles"), "as a viewer, switches a rule off", "403", ROLES, |it| {
        viewer(it, &Request::SwitchRule { rule: "calls".to_owned(), on: false, for_ms: Some(1) })
    }),
    row("A22", Without("roles"), "as a viewer, puts all machines into maintenance", "403", ROLES, |it| {
        let act = MaintenanceAct::On { for_ms: Some(1), reason: String::new() };
        viewer(it, &Request::Maintain { target: "*".to_owned(), act })
    }),
    row("A23", Without("roles"), "as a viewer, begins a run in waves", "403", ROLES, |it| {
        viewer(it, &waves())
    }),
    row("A24", Without("roles"), "as a viewer, pauses a schedule", "403", ROLES, |it| {
        let act = ScheduleAct::Pause { for_ms: Some(1) };
        viewer(it, &Request::Schedule { name: "nightly".to_owned(), act })
    }),
    row("A25", Without("roles"), "as a viewer, makes a new secret for a hook", "403", ROLES, |it| {
        viewer(it, &Request::MakeHookSecret { hook: "kept".to_owned(), alone: false })
    }),
    row(
        "A26",
        Without("push-signature"),
        "pushes a commit that nobody signed, around the hook of the repository",
        "not used, and told",
        "a push is in use only if all of it checks",
        unsigned,
    ),
    row(
        "A27",
        Built(
            "what observers publish is an event and nothing else: only the master's own topics are retained",
        ),
        "as an integration, leaves a retained message for whoever comes later",
        "nobody gets it later",
        "`lab/in/<user>/...`: that integration",
        retained,
    ),
];

/// Of all hooks here.
const SECRET: &str = "canary-of-hooks-4711";
/// Of the service that rules call.
const KEY: &str = "canary-of-calls-4711";
const HEADER: &str = "x-lab-signature";
const BODY: &str = "{\"word\":\"delivered\"}";
const ALERTS: &str = "{\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":\"DiskFull\"}}]}";

const RULES: &str = "\
calls:
  on: integration/+/call
  do:
    - http: { to: desk, url: '/ids/{{event.whom}}' }
posts:
  on: integration/+/post
  do:
    - http: { to: desk, url: /post, method: POST, json: { said: '{{event.word}}' } }
nightly:
  schedule: { cron: '30 3 29 2 *' }
  do:
    - event: { tag: leap }
";

fn arena(defence: Option<&'static str>) -> Arena {
    let service = Service::start();
    let hooks = format!(
        "build: {{recipe: generic, secret: {SECRET}}}\nsmall: {{recipe: alertmanager, secret: {SECRET}, max: 1KiB}}\n\
         inside: {{recipe: alertmanager, secret: {SECRET}, cidr: [10.0.0.0/30]}}\n\
         few: {{recipe: alertmanager, secret: {SECRET}, rate: 3/h}}\nkept: {{recipe: generic}}\n"
    );
    let notify = format!(
        "endpoints:\n  desk: {{ url: 'http://127.0.0.1:{}/desk', headers: {{ X-Key: {KEY} }} }}\n",
        service.port
    );
    let settings = [("hooks.yaml", hooks.as_str()), ("notify.yaml", notify.as_str())];
    let mut arena = Arena::start_with(defence, &[("reactors/rules.yaml", RULES)], &settings);
    arena.secrets.extend([SECRET.to_owned(), KEY.to_owned()]);
    arena.service = Some(service);
    wait::until("the hooks to be in use", SOON, || {
        let Reply::Hooks(hooks) = arena.ask(&Request::Hooks) else { panic!("no hooks") };
        (!hooks.is_empty()).then_some(())
    });
    arena
}

fn now_s() -> u64 {
    now().0 / 1_000
}

/// HMAC of SHA-256, in hexadecimal.
fn mac(secret: &str, text: &str) -> String {
    let pad = |with: u8| {
        let mut key = [0_u8; 64];
        key[..secret.len()].copy_from_slice(secret.as_bytes());
        key.map(|it| it ^ with)
    };
    let inner = bus::seed::sha256(&[&pad(0x36)[..], text.as_bytes()].concat());
    bus::seed::sha256(&[&pad(0x5c)[..], &inner.0].concat()).to_string()
}

/// A delivery to `build`, signed in a header.
fn generic(secret: &str, at: u64, body: &str, header: &str) -> Vec<u8> {
    let signature = mac(secret, &format!("{at}.{body}"));
    request("POST", "/hook/build", &format!("{header}: t={at},v1={signature}\r\n"), body)
}

fn alert(hook: &str, token: &str, body: &str) -> Vec<u8> {
    request("POST", &format!("/hook/{hook}"), &format!("Authorization: Bearer {token}\r\n"), body)
}

fn bent(mut delivery: Vec<u8>) -> Vec<u8> {
    let last = delivery.len() - 3;
    delivery[last] ^= 1;
    delivery
}

/// From an address of its own: no limit answers for what is tried.
fn deliver(arena: &mut Arena, delivery: &[u8]) -> Option<Answer> {
    let number = arena.name("from").rsplit('-').next().and_then(|it| it.parse::<u8>().ok()).unwrap_or(0);
    exchange(hook_line(arena, [127, 0, 1, number].into()), delivery, SOON)
}

fn hook_line(arena: &Arena, from: IpAddr) -> Line {
    web_line(arena, from, None, SOON).expect("anybody may shake hands")
}

fn taken(arena: &mut Arena, made: fn(&Arena) -> Option<Vec<u8>>) -> Verdict {
    let delivery = made(arena).unwrap();
    let answer = deliver(arena, &delivery);
    succeeded(answer.as_ref().is_some_and(|it| it.status == 202), answer.map(|it| it.text))
}

fn again(arena: &mut Arena) -> Verdict {
    let body = format!("{{\"word\":\"{}\"}}", arena.name("once"));
    let delivery = generic(SECRET, now_s(), &body, HEADER);
    let first = deliver(arena, &delivery).expect("an answer");
    assert_eq!(first.status, 202, "{}", first.text);
    let second = deliver(arena, &delivery).expect("an answer");
    let Reply::Events(events) = arena.events("hook/build") else { panic!("no events") };
    let count = events.iter().filter(|it| body.contains(it.data["word"].as_str().unwrap_or("?"))).count();
    succeeded(count > 1, (count, second.text))
}

fn flood(arena: &mut Arena) -> Verdict {
    let delivery = alert("few", SECRET, ALERTS);
    let answers: Vec<_> = (0..6).filter_map(|_| deliver(arena, &delivery)).map(|it| it.status).collect();
    succeeded(answers.iter().filter(|it| **it == 202).count() > 3, answers)
}

fn slow_bodies(arena: &mut Arena) -> Verdict {
    let from = [127, 0, 2, 1].into();
    let head = generic("a guess", now_s(), BODY, HEADER);
    let head = &head[..head.len() - BODY.len()];
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut line = hook_line(arena, from);
        line.send(head);
        silent.push(line);
    }
    // One of them is judged when its head is read; a moment later all are.
    let limit = Duration::from_millis(1_500);
    let told = wait::try_until(SOON, || {
        let answer = exchange(hook_line(arena, from), head, limit);
        let told = answer.filter(|it| it.status == 429);
        (told.is_some() || arena.defence.is_some()).then_some(told)
    });
    let status = told.flatten().map(|it| it.status);
    succeeded(status != Some(429), status)
}

fn names(arena: &mut Arena) -> Verdict {
    let guess = |hook: &str| alert(hook, "a guess of somebody's", ALERTS);
    let mut answers = Vec::new();
    for hook in ["small", "nothing", "inside", "kept"] {
        let answer = deliver(arena, &guess(hook)).expect("an answer");
        let body = answer.text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
        answers.push((answer.status, body));
    }
    answers.dedup();
    succeeded(answers.len() > 1, answers)
}

fn misplaced(arena: &mut Arena) -> Verdict {
    let mut told = String::new();
    for delivery in [
        request("POST", &format!("/hook/{SECRET}"), "", BODY),
        request("POST", &format!("/hook/build?secret={SECRET}"), &format!("X-Secret: {SECRET}\r\n"), BODY),
        request("POST", "/hook/build", &format!("{HEADER}: t=0,v1={SECRET}\r\n"), BODY),
        request("POST", "/hook/build", &format!("{HEADER}: t=0\r\n v1={SECRET}\r\n"), BODY),
        generic(SECRET, now_s(), &format!("{SECRET} is no JSON"), HEADER),
    ] {
        told.extend(deliver(arena, &delivery).map(|it| it.text));
    }
    let log = serde_json::to_string(&arena.ask(&Request::Audit { filter: model::AuditFilter::default() }));
    told.push_str(&log.unwrap());
    succeeded(told.contains(SECRET) || told.contains(" 202 "), told)
}

/// An event that makes a rule call the service; what the service heard, if it was called.
fn calls(arena: &mut Arena, tag: &str, data: &serde_json::Value, mark: &str) -> Option<String> {
    says(arena, tag, data);
    let service = arena.service.clone().expect("there is one");
    wait::try_until(SOON, || service.heard(mark))
}

fn redirects(arena: &mut Arena) -> Verdict {
    let heard = calls(arena, "call", &json!({"whom": "away"}), "/desk/ids/away").expect("a call");
    assert!(heard.contains(KEY), "the service is called with the secret");
    let service = arena.service.clone().expect("there is one");
    let stolen = wait::try_until(arena.success_limit(), || service.stolen(KEY));
    succeeded(stolen.is_some(), stolen)
}

fn endless(arena: &mut Arena) -> Verdict {
    calls(arena, "call", &json!({"whom": "endless"}), "/desk/ids/endless").expect("a call");
    let service = arena.service.clone().expect("there is one");
    let many = || (service.taken() > 32 << 20).then_some(());
    let many = wait::try_until(arena.success_limit(), many).is_some();
    succeeded(many, service.taken())
}

fn echoes(arena: &mut Arena) -> Verdict {
    calls(arena, "call", &json!({"whom": "echo"}), "/desk/ids/echo").expect("a call");
    let record = || {
        let wish =
            Request::Decisions { rule: Some("calls".to_owned()), limit: 100, event: None, after: None };
        let text = serde_json::to_string(&arena.ask(&wish)).unwrap();
        text.contains("you said").then_some(text)
    };
    let text = wait::until("the answer to be on record", SOON, record);
    succeeded(text.contains(KEY), text)
}

fn climbs(arena: &mut Arena) -> Verdict {
    says(arena, "call", &json!({"whom": "x/../../admin"}));
    let service = arena.service.clone().expect("there is one");
    let called = wait::try_until(arena.success_limit(), || service.heard("admin"));
    assert!(calls(arena, "call", &json!({"whom": "good"}), "/desk/ids/good").is_some(), "the rule works");
    succeeded(called.is_some(), called)
}

fn breaks_json(arena: &mut Arena) -> Verdict {
    let word = "\", \"admin\": true, \"x\": \"{{ roster }}";
    let heard = calls(arena, "post", &json!({"word": word}), "/desk/post").expect("a call");
    let body = heard.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    succeeded(body != json!({"said": word}), heard)
}

fn event(number: u64, tag: &str, data: serde_json::Value) -> FromMinion {
    FromMinion::Event { number, tag: tag.to_owned(), data, gap: 0 }
}

fn count_of(arena: &Arena, tag: &str) -> usize {
    if let Reply::Events(events) = arena.events(tag) { events.len() } else { 0 }
}

fn lies_of_its_life(arena: &mut Arena) -> Verdict {
    let member = arena.member("liar");
    let mut joined = arena.join(&member);
    joined.say(&event(1, "cloned", json!({"machines": []})));
    joined.say(&event(2, "event/behind", json!({})));
    let behind = format!("minion/{}/event/behind", member.id);
    wait::until("the event behind it", SOON, || (count_of(arena, &behind) > 0).then_some(()));
    let lies = count_of(arena, &format!("minion/{}/cloned", member.id));
    succeeded(lies > 0, lies)
}

fn in_anothers_name(arena: &mut Arena) -> Verdict {
    let (victim, liar) = (arena.member("victim"), arena.member("liar"));
    let mut joined = arena.join(&liar);
    let tags = [
        format!("beacon/../../{}/beacon/disk", victim.id),
        format!("event/minion/{}/beacon/disk", victim.id),
        format!("schedule/minion:{}", victim.id),
    ];
    for (number, tag) in (1..).zip(&tags) {
        joined.say(&event(number, tag, json!({"minion": victim.id, "id": victim.id})));
    }
    joined.say(&event(4, "event/behind", json!({})));
    let behind = format!("minion/{}/event/behind", liar.id);
    wait::until("the event behind it", SOON, || (count_of(arena, &behind) > 0).then_some(()));
    let Reply::Events(all) = arena.events("#") else { panic!("no events") };
    let of_liar = |it: &&model::Event| format!("{:?}", it.source).contains(&liar.id);
    let own = format!("minion/{}/", liar.id);
    let wrong: Vec<&str> =
        all.iter().filter(of_liar).map(|it| it.tag.as_str()).filter(|it| !it.starts_with(&own)).collect();
    let forged = count_of(arena, &format!("minion/{}/beacon/#", victim.id));
    succeeded(forged > 0 || !wrong.is_empty(), wrong)
}

fn claims_a_job(arena: &mut Arena) -> Verdict {
    let member = arena.member("liar");
    let mut joined = arena.join(&member);
    let job = JobId(rand());
    let data = json!({"job": job, "slot_ms": now().0, "mode": "apply", "states": []});
    joined.say(&event(1, "schedule/tidy", data));
    joined.say(&event(2, "event/behind", json!({})));
    let behind = format!("minion/{}/event/behind", member.id);
    wait::until("the event behind it", SOON, || (count_of(arena, &behind) > 0).then_some(()));
    let taken = jobs(arena).iter().any(|it| it.id == job);
    succeeded(taken, taken)
}

fn forges_its_cause(arena: &mut Arena) -> Verdict {
    let data =
        json!({"hops": 0, "cause": [1, 2], "number": 1, "source": {"kind": "master"}, "rule": "calls"});
    let user = says(arena, "clean", &data);
    let Reply::Events(events) = arena.events(&format!("integration/{user}/clean")) else {
        panic!("no events")
    };
    let event = events.first().expect("it is on record");
    let believed =
        event.source != model::Source::Integration(user) || !event.cause.is_empty() || event.number == 1;
    succeeded(believed, event)
}

fn waves() -> Request {
    let rolling = Rolling { batch: Share::Count(1), ..Rolling::default() };
    let states = vec!["canary".to_owned()];
    let kind = JobKind::Apply {
        states,
        mode: Mode::Apply,
        pillar: serde_json::Map::new(),
        env: None,
        confirm_ms: None,
    };
    Request::Submit {
        job: JobId(rand()),
        target: "zz-*".to_owned(),
        kind,
        expires_ms: 60_000,
        wait: false,
        retry_of: None,
        rolling: Some(Box::new(rolling)),
    }
}

/// The attack is good if it gets beyond the door.
fn viewer(arena: &mut Arena, wish: &Request) -> Verdict {
    let login = bearer(&arena.observer(ObserverRole::Viewer, None));
    let body = serde_json::to_string(wish).unwrap();
    let answer = deliver(arena, &request("POST", "/api/v1/request", &login, &body)).expect("an answer");
    succeeded(![401, 403].contains(&answer.status), answer.text)
}

fn retained(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Integration);
    let topic = format!("lab/in/{name}/kept");
    line.send(&mqtt::publish(true, 0x03, 1, topic.as_bytes(), b"{\"word\":\"left behind\"}"));
    line.acknowledged(4);
    let seen = || (count_of(arena, &format!("integration/{name}/kept")) > 0).then_some(());
    wait::try_until(SOON, seen);
    let (mut later, _) = line_of(arena, Who::Observer);
    later.subscribe("lab/#");
    let end = Instant::now() + Duration::from_millis(500);
    let mut found = Vec::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if let Some(body) = later.hear_kind(3, left) {
            found.push(String::from_utf8_lossy(&body).into_owned());
        }
    }
    found.retain(|it| it.contains("left behind"));
    succeeded(!found.is_empty(), found)
}

/// A master of its own whose trees are a branch, for signed commits only.
fn unsigned(arena: &mut Arena) -> Verdict {
    let mut lab = Lab::prepare();
    let repository = lab.root().join("var/lib/labctl/tree.git");
    let mut init = Command::new(program("labmaster"));
    init.args(["init", "--no-example", "--root"]).arg(lab.root()).arg("--git").arg(&repository);
    assert!(init.output().unwrap().status.success());
    let settings = lab.root().join("etc/labctl");
    fs::create_dir_all(settings.join("master.d")).unwrap();
    let signers = settings.join("allowed_signers");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(&signers, format!("ann@lab.example {key}\n")).unwrap();
    fs::write(settings.join("master.d/signed.yaml"), "tree: {signed_by: /etc/labctl/allowed_signers}\n")
        .unwrap();
    let environment: Vec<_> = arena.defence.map(|it| (broken::VARIABLE, it)).into_iter().collect();
    lab.start_master_with(&environment);
    let work = lab.folder().join("work");
    fs::create_dir_all(work.join("states")).unwrap();
    fs::write(work.join("states/web.sls"), "/etc/motd:\n  file.managed:\n    contents: hi\n").unwrap();
    let _ = fs::remove_file(repository.join("hooks/pre-receive"));
    let url = repository.display().to_string();
    for words in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "-m", "Nobody signs this"],
        &["push", "--quiet", &url, "HEAD:main"],
    ] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Ann", "-c", "user.email=ann@lab.example"]).args(words).current_dir(&work);
        let said = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(said.status.success(), "{words:?}: {said:?}");
    }
    let began = Instant::now();
    let judged = wait::until("the push to be judged", SOON * 2, || {
        let filter = model::api::EventFilter { tag: Some("tree/+".to_owned()), ..Default::default() };
        let reply = tests::api::ask(&lab.socket(), &Request::Events { filter }).ok()?;
        let Reply::Events(events) = reply else { return None };
        events.into_iter().find(|it| it.data.to_string().contains("Nobody signs this")).map(|it| it.tag)
    });
    succeeded(judged == "tree/changed", (judged, began.elapsed()))
}

//! The `OpenAPI` document: made from one table, with examples that the real types wrote.

use model::{
    Ask, AuditFilter, EnrollTerms, Event, Fingerprint, JobId, JobKind, KeyDecision, Labels, MinionId,
    ObserverRole, Request, Source, Timestamp,
    api::{EventFilter, HookTrial, JobFilter},
};
use serde_json::{Map, Value, json};

/// One line of the API.
pub(crate) struct Page {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    summary: &'static str,
    /// In the query, beside those of the path.
    query: &'static [(&'static str, &'static str)],
    body: Body,
    answer: Answer,
    pub(crate) access: Access,
}

/// What is sent.
#[derive(Clone, Copy)]
enum Body {
    Nothing,
    Request,
    Probe,
    Submit,
    Backup,
    Payload,
}

/// What comes back.
#[derive(Clone, Copy)]
enum Answer {
    /// A `Reply` with this word in `reply`.
    Reply(&'static str),
    /// Lines of JSON.
    Lines(&'static str),
    Text(&'static str),
    Bytes,
    Document,
    Websocket,
    /// What a delivery became.
    Delivered,
}

/// Who may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Operator,
    Minion,
    Anyone,
}

const fn page(method: &'static str, path: &'static str, summary: &'static str, answer: Answer) -> Page {
    Page { method, path, summary, query: &[], body: Body::Nothing, answer, access: Access::Operator }
}

impl Page {
    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
    const fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }
    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

/// Every path that the server answers.
pub(crate) const PAGES: &[Page] = &[
    page("post", "/api/v1/request", "Ask anything: the one door, in one shape", Answer::Reply("any"))
        .body(Body::Request),
    page("post", "/api/v1/probe", "Ask minions something, answers as they come", Answer::Lines("ProbeLine"))
        .body(Body::Probe),
    page("get", "/api/v1/status", "Fleet at a glance", Answer::Reply("status")),
    page("get", "/api/v1/master", "Certificate, addresses and ports of the master", Answer::Reply("master")),
    page("get", "/api/v1/masters", "The list of masters, and who has it", Answer::Reply("masters")),
    page("get", "/api/v1/minions", "Accepted minions", Answer::Reply("minions"))
        .query(&[("target", "target expression; none is all")]),
    page("get", "/api/v1/minions/{id}", "One minion", Answer::Reply("minions")),
    page("get", "/api/v1/keys", "Keys of minions", Answer::Reply("keys")),
    page("post", "/api/v1/keys/{key}/{decision}", "Decide: accept, reject or revoke", Answer::Reply("done")),
    page("post", "/api/v1/backup", "The whole master in one file", Answer::Bytes).body(Body::Backup),
    page("get", "/api/v1/jobs", "Jobs, newest first", Answer::Reply("jobs")).query(&[
        ("target", "only with a minion that this expression matches"),
        ("failed", "only with a failure"),
        ("since", "only after, milliseconds since 1970"),
        ("caller", "only by this caller"),
        ("limit", "at most; 0 is 50"),
    ]),
    page(
        "post",
        "/api/v1/jobs",
        "Submit a job; it is on disk when the answer comes",
        Answer::Reply("submitted"),
    )
    .body(Body::Submit),
    page("get", "/api/v1/jobs/{id}", "One job: id, beginning of one, or @last", Answer::Reply("job")),
    page("post", "/api/v1/jobs/{id}/cancel", "Cancel what has not ended", Answer::Reply("done")),
    page(
        "get",
        "/api/v1/jobs/{id}/watch",
        "A snapshot, then what happens, until the end",
        Answer::Lines("JobLine"),
    ),
    page("get", "/api/v1/jobs/{id}/reports/{minion}", "One minion's report", Answer::Reply("report")),
    page("get", "/api/v1/events", "Stored events, newest last", Answer::Reply("events")).query(&[
        ("tag", "MQTT filter over tags"),
        ("since", "only after, milliseconds since 1970"),
        ("limit", "at most; 0 is 100"),
    ]),
    page(
        "get",
        "/api/v1/events/watch",
        "Events from now on; {\"gap\":n} where the reader was too slow",
        Answer::Lines("Event"),
    )
    .query(&[("tag", "MQTT filter over tags")]),
    page("get", "/api/v1/rules", "Reactor rules with counters", Answer::Reply("rules")),
    page("get", "/api/v1/decisions", "What the reactor decided", Answer::Reply("decisions")).query(&[
        ("rule", "only of this rule"),
        ("event", "only about this event"),
        ("after", "only after the event of this number: the oldest of them"),
        ("limit", "at most"),
    ]),
    page("get", "/api/v1/observers", "Observers and API tokens, without secrets", Answer::Reply("observers")),
    page(
        "get",
        "/files/{hash}",
        "A sealed recipe or a content that one of the minion's recipes grants; Range: bytes=N-",
        Answer::Bytes,
    )
    .access(Access::Minion),
    page("get", "/masters.json", "The signed list of masters, as minions keep it", Answer::Text("json"))
        .access(Access::Anyone),
    page("get", "/mqtt", "MQTT 3.1.1 and 5 over websocket; name and secret in CONNECT", Answer::Websocket)
        .access(Access::Anyone),
    page("get", "/", "As /mqtt, for clients that cannot be told a path", Answer::Websocket)
        .access(Access::Anyone),
    page(
        "post",
        "/hook/{name}",
        "A webhook: events hook/{name}; signed as its recipe says",
        Answer::Delivered,
    )
    .body(Body::Payload)
    .access(Access::Anyone),
    page("get", "/openapi.json", "This document", Answer::Document).access(Access::Anyone),
    page("get", "/healthz", "Whether the server answers", Answer::Text("ok")).access(Access::Anyone),
];

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for page in PAGES {
        let path = paths.entry(page.path).or_insert_with(|| json!({}));
        path[page.method] = operation(page);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "labmaster",
            "version": model::VERSION,
            "description": "Every answer of a request is {\"reply\": word, \"data\": ...}; a refusal is \
                {\"reply\": \"error\", \"data\": {kind, message, hint, diagnostics}}. Times are milliseconds since 1970.",
        },
        "paths": paths,
        "components": { "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer", "description": "name:secret of `labctl token create`; its role says what it may" },
            "key": { "type": "mutualTLS", "description": "an operator's or a minion's ed25519 key" },
        }, "schemas": schemas() },
    })
}

fn operation(page: &Page) -> Value {
    let mut operation = json!({
        "summary": page.summary,
        "parameters": parameters(page),
        "responses": responses(page),
        "security": match page.access {
            Access::Operator => json!([{ "token": [] }, { "key": [] }]),
            Access::Minion => json!([{ "key": [] }]),
            Access::Anyone => json!([]),
        },
    });
    if let Some(body) = body(page.body) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameters(page: &Page) -> Vec<Value> {
    let in_path = page.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = page.query.iter().map(|(name, description)| {
        json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } })
    });
    in_path.chain(in_query).collect()
}

fn body(body: Body) -> Option<Value> {
    let (schema, examples) = match body {
        Body::Nothing => return None,
        Body::Request => ("Request", requests()),
        Body::Probe => ("Request", vec![probe_example()]),
        Body::Submit => return Some(submit_body()),
        Body::Backup => return Some(backup_body()),
        Body::Payload => {
            return Some(
                json!({ "required": true, "content": { "application/json": { "schema": { "type": "object" } } } }),
            );
        }
    };
    let examples: Map<String, Value> =
        examples.iter().map(|it| (name_of(it), json!({ "value": it }))).collect();
    Some(json!({ "required": true, "content": { "application/json": {
        "schema": { "$ref": format!("#/components/schemas/{schema}") },
        "examples": examples,
    } } }))
}

fn backup_body() -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object",
        "properties": {
            "with_keys": { "type": "boolean", "default": false, "description": "for root, over the socket" },
        },
    } } } })
}

fn submit_body() -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object",
        "required": ["target", "kind"],
        "properties": {
            "target": { "type": "string" },
            "kind": { "type": "object", "examples": [apply_example(), run_example()] },
            "job": { "type": "string", "description": "chosen by the submitter: the same id again is the same job" },
            "expires_ms": { "type": "integer", "default": 60_000 },
            "wait": { "type": "boolean", "default": false },
            "retry_of": { "type": "string" },
            "rolling": { "type": "object", "description": "in waves, rather than everywhere at once",
                "examples": [{ "batch": "25%", "canary": 1, "max_fail": 1, "on_stop": "undo",
                    "gate": { "when": "telemetry.cpu < 80", "hold_ms": 60_000 } }] },
        },
    } } } })
}

fn responses(page: &Page) -> Value {
    let content = |kind: &str, schema: Value| json!({ "200": { "description": "as asked", "content": { kind: { "schema": schema } } } });
    let mut responses = match page.answer {
        Answer::Reply(word) => content(
            "application/json",
            json!({ "type": "object", "required": ["reply"], "properties": {
                "reply": if word == "any" { json!({ "type": "string" }) } else { json!({ "const": word }) },
                "data": {},
            } }),
        ),
        Answer::Lines(what) => {
            content(super::stream::CONTENT_TYPE, json!({ "description": format!("one {what} a line") }))
        }
        Answer::Text(text) => content("text/plain", json!({ "const": text })),
        Answer::Bytes => content("application/octet-stream", json!({ "type": "string", "format": "binary" })),
        Answer::Document => content("application/json", json!({ "type": "object" })),
        Answer::Delivered => json!({
            "202": { "description": "on disk", "content": { "application/json": { "schema": {
                "type": "object",
                "required": ["event", "events", "again"],
                "properties": {
                    "event": { "type": "integer", "description": "number of the first event" },
                    "events": { "type": "integer" },
                    "again": { "type": "boolean", "description": "it came before" },
                },
            } } } },
            "401": { "description": "no such hook, or not its secret" },
            "413": { "description": "too large" },
            "429": { "description": "too often" },
        }),
        Answer::Websocket => json!({ "101": { "description": "subprotocol mqtt" } }),
    };
    if page.access == Access::Operator {
        let error = |text: &str| {
            json!({ "description": text, "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Error" } } } })
        };
        for (status, text) in [
            ("400", "malformed"),
            ("401", "nobody knows who asks"),
            ("403", "not allowed"),
            ("404", "not found, or the target matched no minion"),
            ("422", "does not compile for any target"),
            ("429", "too many requests, jobs or failed logins; Retry-After says when to come again"),
            ("503", "cannot now"),
        ] {
            responses[status] = error(text);
        }
    }
    responses
}

fn schemas() -> Value {
    let names: Vec<String> = requests().iter().map(name_of).collect();
    json!({
        "Request": { "type": "object", "required": ["request"], "properties": {
            "request": { "type": "string", "enum": names },
        } },
        "Error": { "type": "object", "required": ["reply", "data"], "properties": {
            "reply": { "const": "error" },
            "data": { "type": "object", "required": ["kind", "message"], "properties": {
                "kind": { "enum": ["usage", "compile", "no_match", "forbidden", "not_found", "unavailable"] },
                "message": { "type": "string" },
                "hint": { "type": ["string", "null"] },
                "diagnostics": { "type": "array", "items": { "type": "object" } },
            } },
        } },
    })
}

fn name_of(request: &Request) -> String {
    let value = serde_json::to_value(request).unwrap_or_default();
    value["request"].as_str().unwrap_or_default().to_owned()
}

fn probe_example() -> Request {
    Request::Probe { target: "*".to_owned(), ask: Ask::Ping, timeout_ms: 5000 }
}

fn apply_example() -> JobKind {
    JobKind::Apply {
        states: vec!["web".to_owned()],
        mode: model::Mode::Apply,
        pillar: Map::new(),
        env: None,
        confirm_ms: None,
    }
}

fn maintain_example(target: String) -> Request {
    let act = model::MaintenanceAct::On { for_ms: Some(3_600_000), reason: "new disk".to_owned() };
    Request::Maintain { target, act }
}

fn run_example() -> JobKind {
    JobKind::Run {
        command: vec!["uptime".to_owned()],
        shell: false,
        cwd: None,
        user: None,
        environment: Labels::new(),
        timeout_ms: 60_000,
    }
}

fn terms_example() -> EnrollTerms {
    EnrollTerms {
        name: None,
        ids: "vm-*".to_owned(),
        uses: 20,
        for_ms: 2_592_000_000,
        labels: Labels::from([("role".to_owned(), "web".to_owned())]),
        cidr: Vec::new(),
        replace: model::Replace::Never,
        retire_after_ms: None,
    }
}

fn jobs_example() -> JobFilter {
    JobFilter { since: Some(Timestamp(0)), ..JobFilter::default() }
}

fn event_example() -> Event {
    Event {
        number: 0,
        tag: "minion/vm-1/beacon/disk".to_owned(),
        source: Source::Minion("vm-1".parse().expect("a good id")),
        at: Timestamp(0),
        data: serde_json::json!({"mount": "/", "percent": 91, "state": "on"}),
        hops: 0,
        cause: Vec::new(),
    }
}

fn trial_example() -> HookTrial {
    HookTrial { hook: "ci".to_owned(), kind: None, body: None }
}

fn can_example() -> Request {
    Request::Can {
        who: "deployer".to_owned(),
        function: "state.apply".to_owned(),
        target: Some("web-1".to_owned()),
        states: vec!["web".to_owned()],
        command: Vec::new(),
    }
}

/// One of each kind of request.
pub(super) fn requests() -> Vec<Request> {
    let target = || "vm-*".to_owned();
    let job = JobId(0x0192_f3c1_7abc_7def_8123_4567_89ab_cdef);
    let minion: MinionId = "vm-1".parse().expect("a good id");
    let fingerprint: Fingerprint = format!("SHA256:{}", "A".repeat(43)).parse().expect("a good fingerprint");
    vec![
        Request::Status,
        Request::Expand { target: target() },
        Request::Minions { target: None },
        Request::RemoveMinion { minion: minion.clone() },
        Request::Keys,
        Request::DecideKey { key: "vm-1".to_owned(), fingerprint: None, decision: KeyDecision::Accept },
        Request::Enroll { terms: terms_example() },
        Request::Submit {
            job,
            target: target(),
            kind: apply_example(),
            expires_ms: 60_000,
            wait: false,
            retry_of: None,
            rolling: None,
        },
        Request::Jobs { filter: jobs_example() },
        Request::Job { job: "@last".to_owned() },
        Request::Report { job, minion },
        Request::Cancel { job: job.short() },
        probe_example(),
        Request::Compile { target: target(), states: vec!["web".to_owned()] },
        Request::Pillar { target: target() },
        Request::Label { target: target(), set: Labels::new(), remove: vec!["old".to_owned()] },
        Request::Events {
            filter: EventFilter { tag: Some("minion/#".to_owned()), ..EventFilter::default() },
        },
        Request::SendEvent { tag: "deploy".to_owned(), data: Map::new() },
        Request::Rules,
        Request::Decisions { rule: None, limit: 50, event: None, after: None },
        Request::ExplainRules { rule: Some("disk-full".to_owned()), event: event_example() },
        Request::SwitchRule { rule: "disk-full".to_owned(), on: false, for_ms: Some(3_600_000) },
        Request::CreateObserver { name: "grafana".to_owned(), role: ObserverRole::Viewer, for_ms: None },
        Request::Observers,
        Request::RemoveObserver { name: "grafana".to_owned() },
        Request::AddOperator { name: "alice".to_owned(), fingerprint, role: None, for_ms: None },
        Request::Gc { keep_ms: None },
        Request::Master,
        Request::Tokens,
        Request::RevokeToken { name: "bake-7".to_owned() },
        Request::Masters,
        Request::InstallMasters { text: "{\"masters\":\"…\",\"sig\":\"…\"}".to_owned() },
        Request::Hooks,
        Request::TryHook { trial: trial_example() },
        Request::MakeHookSecret { hook: "ci".to_owned(), alone: false },
        Request::Audit { filter: AuditFilter { limit: 100, ..AuditFilter::default() } },
        Request::VerifyAudit,
        Request::Operators,
        Request::RemoveOperator { name: "alice".to_owned() },
        can_example(),
        maintain_example(target()),
        Request::Drift { target: None },
        Request::Schedules,
        Request::Slots { name: None, limit: 10 },
        Request::Schedule { name: "nightly".to_owned(), act: model::ScheduleAct::Run },
        Request::Notifiers,
        Request::TestNotifier { name: "phone".to_owned() },
        Request::Wake { target: target(), via: None },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_page_once_and_has_examples_of_the_real_types() {
        let document = document();
        let operations: usize =
            document["paths"].as_object().unwrap().values().map(|it| it.as_object().unwrap().len()).sum();
        assert_eq!(operations, PAGES.len());
        for request in requests() {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
            let example = &document["paths"]["/api/v1/request"]["post"]["requestBody"]["content"]["application/json"]
                ["examples"][name_of(&request)];
            assert!(example.is_object(), "{text}");
        }
    }

    /// Fails to compile when a request is added, so that the example is not forgotten.
    #[test]
    fn every_request_has_an_example() {
        let number = |request: &Request| match request {
            Request::Status => 0,
            Request::Expand { .. } => 1,
            Request::Minions { .. } => 2,
            Request::RemoveMinion { .. } => 3,
            Request::Keys => 4,
            Request::DecideKey { .. } => 5,
            Request::Enroll { .. } => 6,
            Request::Submit { .. } => 7,
            Request::Jobs { .. } => 8,
            Request::Job { .. } => 9,
            Request::Report { .. } => 10,
            Request::Cancel { .. } => 11,
            Request::Probe { .. } => 12,
            Request::Compile { .. } => 13,
            Request::Pillar { .. } => 14,
            Request::Label { .. } => 15,
            Request::Events { .. } => 16,
            Request::SendEvent { .. } => 17,
            Request::Rules => 18,
            Request::Decisions { .. } => 19,
            Request::ExplainRules { .. } => 20,
            Request::SwitchRule { .. } => 21,
            Request::CreateObserver { .. } => 22,
            Request::Observers => 23,
            Request::RemoveObserver { .. } => 24,
            Request::AddOperator { .. } => 25,
            Request::Gc { .. } => 26,
            Request::Master => 27,
            Request::Tokens => 28,
            Request::RevokeToken { .. } => 29,
            // A page of its own.
            Request::Backup { .. } => u32::MAX,
            Request::Masters => 30,
            Request::InstallMasters { .. } => 31,
            Request::Hooks => 32,
            Request::TryHook { .. } => 33,
            Request::MakeHookSecret { .. } => 34,
            Request::Audit { .. } => 35,
            Request::VerifyAudit => 36,
            Request::Operators => 37,
            Request::RemoveOperator { .. } => 38,
            Request::Can { .. } => 39,
            Request::Maintain { .. } => 40,
            Request::Drift { .. } => 41,
            Request::Schedules => 42,
            Request::Slots { .. } => 43,
            Request::Schedule { .. } => 44,
            Request::Notifiers => 45,
            Request::TestNotifier { .. } => 46,
            Request::Wake { .. } => 47,
        };
        assert_eq!(requests().iter().map(number).collect::<Vec<_>>(), (0..48).collect::<Vec<_>>());
    }
}

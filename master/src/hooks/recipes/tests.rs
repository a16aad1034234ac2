//! Payloads as senders send them, and what the events of them carry.

use super::*;
use serde_json::json;

fn hook(recipe: Recipe, keep: &[&str]) -> Hook {
    let text = format!("h: {{recipe: {recipe}, keep: [{}]}}\n", keep.join(", "));
    lang::hooks::Hooks::parse("hooks.yaml", &text).value.unwrap().named["h"].clone()
}

fn read(hook: &Hook, headers: &[(&str, &str)], body: &str) -> Result<Value, String> {
    let get = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1);
    events(hook, &get, body.as_bytes()).map(|it| json!(it))
}

#[test]
fn what_each_sender_sends_becomes_what_rules_look_at() {
    let push = |more: Value| {
        let mut data = json!({
            "kind": "push", "branch": "main", "ref": "refs/heads/main", "pusher": "ann", "created": false,
            "deleted": false,
        });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([data])
    };
    let alert = |status: &str, instance: &str, starts: &str, fingerprint: &str| {
        json!({
            "alert": "DiskFull", "status": status, "starts": starts, "fingerprint": fingerprint,
            "labels": {"alertname": "DiskFull", "instance": instance, "job": "node", "severity": "critical"},
            "annotations": {"summary": "less than 5 % left on /"}, "receiver": "labctl",
            "group": "{}:{alertname=\"DiskFull\"}",
            "url": "http://prometheus.lab:9090/graph?g0.expr=node_filesystem_avail_bytes",
        })
    };
    let mut resolved = alert("resolved", "web-2:9100", "2026-02-06T12:58:45.828Z", "2b41cb82ddb3a320");
    resolved["ends"] = json!("2026-02-06T13:08:45.828Z");
    let cases = [
        (
            Recipe::Generic,
            json!([{"build": {"number": 41, "status": "passed", "branch": "main"}, "host": "builder.lab"}]),
        ),
        (
            Recipe::Gitea,
            push(json!({
                "repo": "ops/states", "commit": "bffeb74224043ba2feb48d137756c8a9331c449a",
                "before": "28e1879d029cb852e4844d9c718537df08844e03", "message": "Serve the new page", "author": "ann",
                "commits": 1, "changed": ["states/web/init.sls", "states/web/page.html"],
                "url": "https://git.lab/ops/states/compare/28e1879d029c...bffeb7422404",
            })),
        ),
        (
            Recipe::Github,
            push(json!({
                "repo": "ops/hello", "commit": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
                "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "message": "Say hello", "author": "ann",
                "commits": 1, "changed": ["bye.txt", "hello.txt"], "forced": true,
                "url": "https://github.example/ops/hello/compare/6113728f27ae...0d1a26e67d8f",
            })),
        ),
        (
            Recipe::Gitlab,
            push(json!({
                "repo": "ops/diaspora", "commit": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
                "before": "95790bf891e76fee5e1747ab589903a6a1f80f22", "message": "Fix the readme", "author": "Ann",
                "commits": 2, "changed": ["CHANGELOG", "README.md", "app/controller/application.rb"],
                "url": "https://gitlab.lab/ops/diaspora",
            })),
        ),
        (
            Recipe::Alertmanager,
            json!([alert("firing", "web-1:9100", "2026-02-06T13:08:45.828Z", "1a30ba71cca2921f"), resolved]),
        ),
        (
            Recipe::UptimeKuma,
            json!([{
                "status": "down", "monitor": "Wiki", "id": 7, "type": "http", "address": "https://wiki.lab",
                "message": "connect ECONNREFUSED 10.0.0.5:443", "since_s": 60, "time": "2026-02-06 13:08:45.828",
                "important": true, "tags": {"minion": "web-3"},
            }]),
        ),
    ];
    for (recipe, wanted) in cases {
        let (headers, body) = sample(recipe);
        let found = read(&hook(recipe, &[]), headers, body).unwrap();
        assert!(found == wanted, "{recipe}:\n{found:#}\n{wanted:#}");
    }
}

#[test]
fn other_things_that_forges_tell_have_the_same_names() {
    let cases = [
        (
            Recipe::Github,
            ("x-github-event", "ping"),
            json!({"zen": "Keep it simple.", "hook_id": 1, "repository": {"full_name": "ops/hello"}, "sender": {"login": "ann"}}),
            json!({"kind": "ping", "repo": "ops/hello", "pusher": "ann"}),
        ),
        (
            Recipe::Github,
            ("x-github-event", "pull_request"),
            json!({"action": "closed", "number": 2, "repository": {"full_name": "ops/hello"}, "sender": {"login": "bob"},
                "pull_request": {"number": 2, "title": "Better", "state": "closed", "merged": true, "html_url": "https://x/2",
                    "head": {"ref": "topic", "sha": "abc"}, "base": {"ref": "main"}}}),
            json!({"kind": "pull_request", "repo": "ops/hello", "action": "closed", "pusher": "bob", "number": 2, "title": "Better",
                "state": "closed", "branch": "main", "from_branch": "topic", "commit": "abc", "merged": true, "url": "https://x/2"}),
        ),
        (
            Recipe::Github,
            ("x-github-event", "workflow_run"),
            json!({"action": "completed", "repository": {"full_name": "ops/hello"}, "sender": {"login": "ann"},
                "workflow_run": {"name": "CI", "head_branch": "main", "head_sha": "abc", "run_number": 9, "status": "completed", "conclusion": "failure"}}),
            json!({"kind": "workflow_run", "repo": "ops/hello", "action": "completed", "pusher": "ann", "number": 9, "title": "CI",
                "status": "failure", "branch": "main", "commit": "abc"}),
        ),
        (
            Recipe::Gitea,
            ("x-gitea-event", "release"),
            json!({"action": "published", "repository": {"full_name": "ops/states"}, "sender": {"login": "ann"},
                "release": {"tag_name": "v1.2", "name": "Spring", "html_url": "https://x/r"}}),
            json!({"kind": "release", "repo": "ops/states", "action": "published", "pusher": "ann", "title": "Spring", "tag": "v1.2", "url": "https://x/r"}),
        ),
        (
            Recipe::Gitea,
            ("x-gitea-event", "push"),
            json!({"ref": "refs/tags/v1", "before": "abc", "after": "0000000000000000000000000000000000000000", "commits": [],
                "repository": {"full_name": "ops/states"}, "pusher": {"login": "ann"}}),
            json!({"kind": "push", "repo": "ops/states", "pusher": "ann", "tag": "v1", "ref": "refs/tags/v1", "created": false, "deleted": true,
                "commit": "0000000000000000000000000000000000000000", "before": "abc", "commits": 0, "changed": []}),
        ),
        (
            Recipe::Gitlab,
            ("x-gitlab-event", "Pipeline Hook"),
            json!({"object_kind": "pipeline", "user": {"username": "ann"}, "project": {"path_with_namespace": "ops/diaspora"},
                "object_attributes": {"iid": 3, "ref": "main", "sha": "abc", "status": "success", "url": "https://x/p"}}),
            json!({"kind": "pipeline", "repo": "ops/diaspora", "pusher": "ann", "number": 3, "status": "success", "branch": "main", "commit": "abc", "url": "https://x/p"}),
        ),
        (
            Recipe::Gitlab,
            ("x-gitlab-event", "Merge Request Hook"),
            json!({"object_kind": "merge_request", "user": {"username": "ann"}, "project": {"path_with_namespace": "ops/diaspora"},
                "object_attributes": {"iid": 1, "title": "MR", "state": "merged", "action": "merge", "source_branch": "topic",
                    "target_branch": "main", "last_commit": {"id": "abc"}}}),
            json!({"kind": "merge_request", "repo": "ops/diaspora", "pusher": "ann", "number": 1, "title": "MR", "state": "merged",
                "action": "merge", "branch": "main", "from_branch": "topic", "commit": "abc"}),
        ),
    ];
    for (recipe, header, payload, wanted) in cases {
        let found = read(&hook(recipe, &[]), &[header], &payload.to_string()).unwrap();
        assert!(found == json!([wanted]), "{recipe} {header:?}:\n{found:#}\n{wanted:#}");
    }
    let test =
        read(&hook(Recipe::UptimeKuma, &[]), &[], r#"{"heartbeat":null,"monitor":null,"msg":"Testing"}"#);
    assert_eq!(test.unwrap(), json!([{"status": "test", "message": "Testing", "tags": {}}]));
}

#[test]
fn a_hook_keeps_what_it_says_beside_what_the_recipe_takes() {
    let (headers, body) = sample(Recipe::Github);
    let found =
        read(&hook(Recipe::Github, &["repository.private", "commits.0.timestamp"]), headers, body).unwrap();
    assert_eq!(
        found[0]["payload"],
        json!({"repository": {"private": false}, "commits": {"0": {"timestamp": "2026-05-15T15:20:41Z"}}})
    );
    let found = read(&hook(Recipe::Generic, &["build.status"]), &[], sample(Recipe::Generic).1).unwrap();
    assert_eq!(found, json!([{"build": {"status": "passed"}}]));
}

#[test]
fn what_is_no_payload_is_refused_with_a_sentence() {
    let forms = [("content-type", "application/x-www-form-urlencoded")];
    let told = read(&hook(Recipe::Github, &[]), &forms, "payload=%7B%7D").unwrap_err();
    assert!(told.contains("choose that where the hook is set up"), "{told}");
    for (recipe, body) in [
        (Recipe::Generic, "[]"),
        (Recipe::Generic, "{"),
        (Recipe::Generic, "\u{0}"),
        (Recipe::Alertmanager, "{}"),
        (Recipe::Gitea, "7"),
    ] {
        assert!(read(&hook(recipe, &[]), &[], body).is_err(), "{recipe} {body}");
    }
    let deep = format!("{}{}", "{\"a\":".repeat(5_000), "1".to_owned() + &"}".repeat(5_000));
    assert!(read(&hook(Recipe::Generic, &[]), &[], &deep).is_err());
    let json_too = [("content-type", "application/json; charset=utf-8")];
    assert!(read(&hook(Recipe::Generic, &[]), &json_too, "{}").is_ok());
}

#[test]
fn no_payload_makes_too_many_events_or_one_that_is_too_large() {
    let alerts: Vec<Value> = (0..500)
        .map(|it| json!({"status": "firing", "labels": {"alertname": "x", "n": it, "long": "y".repeat(9_000)}}))
        .collect();
    let found = read(
        &hook(Recipe::Alertmanager, &[]),
        &[],
        &json!({"alerts": alerts, "truncatedAlerts": 7}).to_string(),
    )
    .unwrap();
    let all = found.as_array().unwrap();
    assert_eq!((all.len(), &all[EVENTS_MAX - 1]["more"]), (EVENTS_MAX, &json!(500 - EVENTS_MAX + 7)));
    assert!(all.iter().all(|it| crate::core::check_event(it).is_ok()));
    let paths: Vec<String> = (0..5_000).map(|it| format!("{it}/{}", "p".repeat(200))).collect();
    let push = json!({"ref": "refs/heads/main", "after": "a", "commits": [{"id": "a", "message": "m".repeat(90_000), "added": paths}]});
    let found = read(&hook(Recipe::Github, &[]), &[("x-github-event", "push")], &push.to_string()).unwrap();
    assert_eq!((&found[0]["cut"], &found[0]["more_changed"]), (&json!(true), &json!(4_900)));
    assert!(crate::core::check_event(&found[0]).is_ok());
}

//! Payloads of GitHub, Gitea, Forgejo and GitLab: who pushed what to which branch of which repository.

use super::super::{
    payload::{at, take, text},
    signature::Headers,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Paths that an event names; that there were more stands in `more_changed`.
const CHANGED_MAX: usize = 100;
/// Commits that are looked through for them.
const COMMITS_MAX: usize = 200;
/// What a ref of no commit is.
const ZEROS: &str = "0000000000000000000000000000000000000000";

/// Of GitHub, Gitea and Forgejo.
pub(super) fn of_hub(headers: Headers<'_, '_>, payload: &Value) -> Map<String, Value> {
    let first = |names: &[&str]| names.iter().find_map(|it| headers(it));
    let kind = first(&["x-gitea-event", "x-forgejo-event", "x-github-event"]).unwrap_or("unknown");
    let delivery = first(&["x-gitea-delivery", "x-forgejo-delivery", "x-github-delivery"]);
    let mut data = head(kind, delivery);
    take(&mut data, "repo", payload, &["repository.full_name"]);
    take(&mut data, "action", payload, &["action"]);
    take(&mut data, "pusher", payload, &["pusher.login", "pusher.name", "pusher.username", "sender.login"]);
    if kind == "push" {
        push(&mut data, payload);
        take(&mut data, "url", payload, &["compare", "compare_url"]);
        take(&mut data, "forced", payload, &["forced"]);
        return data;
    }
    let subject =
        ["pull_request", "issue", "release", "workflow_run", "workflow_job", "check_run", "deployment"]
            .into_iter()
            .find_map(|it| at(payload, it));
    if let Some(subject) = subject {
        about(&mut data, subject);
        take(&mut data, "branch", subject, &["base.ref", "head_branch"]);
        take(&mut data, "from_branch", subject, &["head.ref"]);
        take(&mut data, "commit", subject, &["head.sha", "head_sha", "sha"]);
        take(&mut data, "merged", subject, &["merged"]);
        take(&mut data, "tag", subject, &["tag_name"]);
        take(&mut data, "url", subject, &["html_url"]);
    } else {
        // A branch or a tag was made or removed.
        take(&mut data, "branch", payload, &["ref"]);
        take(&mut data, "ref_type", payload, &["ref_type"]);
    }
    data
}

/// Of GitLab.
pub(super) fn of_gitlab(headers: Headers<'_, '_>, payload: &Value) -> Map<String, Value> {
    let kind = text(payload, &["object_kind", "event_name"]).unwrap_or_else(|| "unknown".to_owned());
    let kind = if kind == "tag_push" { "push" } else { &kind };
    let delivery = ["webhook-id", "idempotency-key", "x-gitlab-event-uuid"].into_iter().find_map(headers);
    let mut data = head(kind, delivery);
    take(&mut data, "repo", payload, &["project.path_with_namespace", "project_name"]);
    take(&mut data, "pusher", payload, &["user_username", "user.username", "user_name"]);
    if kind == "push" {
        push(&mut data, payload);
        take(&mut data, "url", payload, &["project.web_url"]);
        return data;
    }
    if let Some(subject) = at(payload, "object_attributes") {
        about(&mut data, subject);
        take(&mut data, "action", subject, &["action"]);
        take(&mut data, "branch", subject, &["target_branch", "ref"]);
        take(&mut data, "from_branch", subject, &["source_branch"]);
        take(&mut data, "commit", subject, &["sha", "last_commit.id"]);
        take(&mut data, "url", subject, &["url"]);
        data.entry("number").or_insert_with(|| at(subject, "iid").cloned().unwrap_or(Value::Null));
    } else {
        about(&mut data, payload);
        take(&mut data, "action", payload, &["action"]);
        take(&mut data, "branch", payload, &["ref"]);
        take(&mut data, "commit", payload, &["sha"]);
        take(&mut data, "status", payload, &["build_status"]);
        take(&mut data, "title", payload, &["build_name"]);
        take(&mut data, "url", payload, &["url"]);
    }
    data
}

fn head(kind: &str, delivery: Option<&str>) -> Map<String, Value> {
    let plain = |it: &str| it.chars().filter(|it| !it.is_control()).take(128).collect::<String>();
    let mut data = Map::new();
    data.insert("kind".to_owned(), plain(kind).into());
    if let Some(delivery) = delivery {
        data.insert("delivery".to_owned(), plain(delivery).into());
    }
    data
}

/// What a pull request, an issue, a release and a run have in common.
fn about(data: &mut Map<String, Value>, subject: &Value) {
    take(data, "number", subject, &["number", "iid", "run_number"]);
    take(data, "title", subject, &["title", "name"]);
    take(data, "state", subject, &["state"]);
    take(data, "status", subject, &["conclusion", "status"]);
}

fn push(data: &mut Map<String, Value>, payload: &Value) {
    let name = text(payload, &["ref"]).unwrap_or_default();
    let (what, short) = match name.split_once("refs/heads/") {
        Some(("", branch)) => ("branch", branch),
        _ => ("tag", name.strip_prefix("refs/tags/").unwrap_or(&name)),
    };
    data.insert(what.to_owned(), short.into());
    data.insert("ref".to_owned(), name.as_str().into());
    let after = text(payload, &["after", "checkout_sha"]).unwrap_or_default();
    let before = text(payload, &["before"]).unwrap_or_default();
    data.insert("created".to_owned(), (before == ZEROS).into());
    data.insert("deleted".to_owned(), (after == ZEROS).into());
    data.insert("commit".to_owned(), after.as_str().into());
    data.insert("before".to_owned(), before.into());
    let commits = at(payload, "commits").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let newest = at(payload, "head_commit")
        .or_else(|| commits.iter().find(|it| it.get("id").and_then(Value::as_str) == Some(after.as_str())));
    if let Some(newest) = newest {
        let message = text(newest, &["message"]).unwrap_or_default();
        data.insert("message".to_owned(), message.lines().next().unwrap_or_default().into());
        take(data, "author", newest, &["author.username", "author.name", "author.email"]);
    }
    data.insert("commits".to_owned(), commits.len().into());
    let mut changed = BTreeSet::new();
    for commit in commits.iter().take(COMMITS_MAX) {
        for list in ["added", "modified", "removed"] {
            let paths = commit.get(list).and_then(Value::as_array).into_iter().flatten();
            changed.extend(paths.filter_map(Value::as_str));
        }
    }
    if changed.len() > CHANGED_MAX {
        data.insert("more_changed".to_owned(), (changed.len() - CHANGED_MAX).into());
    }
    data.insert("changed".to_owned(), json!(changed.into_iter().take(CHANGED_MAX).collect::<Vec<_>>()));
}

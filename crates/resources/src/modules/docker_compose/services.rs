//! How the containers of a Compose project differ from what its files describe.

use super::super::docker::{inspect, text, with_tag};
use crate::{
    Error, Probe,
    host::{
        Query,
        query::docker::{ComposeProject, Question},
    },
    tool,
};
use model::{Change, Plan};
use serde_json::Value;

/// Digits of a hash that people see.
const SHOWN: usize = 12;

/// A container of a project.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Container {
    pub(super) service: String,
    /// Of the configuration that it was made with.
    hash: String,
    /// Id of the image that it was made of; older versions do not say.
    image: String,
    pub(super) state: String,
    /// As `Exited (0) 5 minutes ago`.
    status: String,
    pub(super) name: String,
}

/// All containers of the project, one line each.
pub(super) fn containers(project: &str, host: &dyn Probe) -> Result<Vec<Container>, Error> {
    let answer = tool::answer(host, &Query::Docker(Question::Project(project.to_owned())))?;
    Ok(answer.lines().filter_map(container).collect())
}

fn container(line: &str) -> Option<Container> {
    let mut fields = line.split('\t').map(str::to_owned);
    let mut next = || fields.next();
    let (service, hash, image, state, status, name) = (next()?, next()?, next()?, next()?, next()?, next()?);
    Some(Container { service, hash, image, state, status, name })
}

/// Service and hash, one line each.
fn hashes(question: Question, host: &dyn Probe) -> Result<Vec<(String, String)>, Error> {
    let answer = tool::answer(host, &Query::Docker(question))?;
    let pair =
        |line: &str| line.split_once(' ').map(|(name, hash)| (name.to_owned(), hash.trim().to_owned()));
    Ok(answer.lines().filter_map(pair).collect())
}

fn change(what: &str, from: Option<&str>, to: Option<&str>) -> Change {
    let owned = |it: &str| it.to_owned();
    Change { what: what.to_owned(), from: from.map(owned), to: to.map(owned), diff: None }
}

fn short(hash: &str) -> String {
    hash.trim_start_matches("sha256:").chars().take(SHOWN).collect()
}

/// How many containers a service has.
fn replicas(service: &Value) -> u64 {
    let number = |pointer: &str| service.pointer(pointer).and_then(Value::as_u64);
    number("/scale").or_else(|| number("/deploy/replicas")).unwrap_or(1)
}

/// It ended well, and it is not to be started again.
fn has_done_its_work(container: &Container, service: &Value) -> bool {
    let restart = text(service, "/restart");
    let stays_down = matches!(restart, "" | "no") || restart.starts_with("on-failure");
    stays_down && container.state == "exited" && container.status.starts_with("Exited (0)")
}

/// What `up` has to do.
pub(super) fn compare(
    project: &ComposeProject,
    remove_orphans: bool,
    host: &dyn Probe,
) -> Result<Plan, Error> {
    let wanted = hashes(Question::ComposeHashes(project.clone()), host)?;
    let config = tool::answer(host, &Query::Docker(Question::ComposeConfig(project.clone())))?;
    let config: Value = serde_json::from_str(&config).map_err(|error| {
        Error::Refused(format!("`docker compose config` answered with something that is no JSON: {error}"))
    })?;
    let there = containers(&project.name, host)?;
    let (mut plan, mut stale) = (Plan::default(), Vec::new());
    for (name, hash) in &wanted {
        let service = config.pointer("/services").and_then(|it| it.get(name)).unwrap_or(&Value::Null);
        let own: Vec<&Container> = there.iter().filter(|it| it.service == *name).collect();
        let expected = replicas(service);
        if own.len() as u64 != expected {
            let from = Some(own.len().to_string()).filter(|it| it != "0");
            plan.push(change(name, from.as_deref(), Some(&count(expected))));
            continue;
        }
        for it in own.iter().filter(|it| it.state != "running" && !has_done_its_work(it, service)) {
            plan.push(change(&it.name, Some(&it.state), Some("running")));
        }
        if let Some(old) = own.iter().find(|it| it.hash != *hash) {
            let what = format!("{name} configuration");
            stale.push(change(&what, Some(&short(&old.hash)), Some(&short(hash))));
        }
        compare_image(name, service, project, &own, host, &mut plan)?;
    }
    if plan.is_empty() && !stale.is_empty() && is_fresh_by_rehearsal(project, host)? {
        stale.clear();
    }
    plan.changes.append(&mut stale);
    if remove_orphans {
        compare_orphans(project, &wanted, &there, host, &mut plan)?;
    }
    Ok(plan)
}

fn count(containers: u64) -> String {
    if containers == 1 { "running".to_owned() } else { format!("{containers} running") }
}

/// Whether the tag stands for another image by now.
fn compare_image(
    name: &str,
    service: &Value,
    project: &ComposeProject,
    own: &[&Container],
    host: &dyn Probe,
    plan: &mut Plan,
) -> Result<(), Error> {
    let Some(old) = own.iter().find(|it| !it.image.is_empty()) else { return Ok(()) };
    let image = match text(service, "/image") {
        "" => format!("{}-{name}", project.name),
        given => given.to_owned(),
    };
    if let Some(now) = inspect(host, Question::Image(with_tag(&image)))? {
        let id = text(&now, "/Id");
        if id != old.image {
            plan.push(change(&format!("{name} image"), Some(&short(&old.image)), Some(&short(id))));
        }
    }
    Ok(())
}

/// Some versions of Compose hash a service differently in `config` and in `up`, when variables come from a file of the
/// service. What `up` would do is the last word then; a version that cannot rehearse leaves it at the hashes.
fn is_fresh_by_rehearsal(project: &ComposeProject, host: &dyn Probe) -> Result<bool, Error> {
    let output = tool::ask(host, &Query::Docker(Question::ComposeRehearsal(project.clone())))?;
    let said = output.stderr + &output.stdout;
    Ok(output.code == Some(0) && said.contains("DRY-RUN") && !said.contains("Recreate"))
}

fn compare_orphans(
    project: &ComposeProject,
    wanted: &[(String, String)],
    there: &[Container],
    host: &dyn Probe,
    plan: &mut Plan,
) -> Result<(), Error> {
    let strange = |all: &[(String, String)], it: &Container| !all.iter().any(|(name, _)| *name == it.service);
    if !there.iter().any(|it| strange(wanted, it)) {
        return Ok(());
    }
    let all = hashes(Question::all_services(project), host)?;
    for it in there.iter().filter(|it| strange(&all, it)) {
        plan.push(change(&it.name, Some(&it.state), None));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_that_ends_well_may_stay_down() {
        let line = "init\tab\t\texited\tExited (0) 2 hours ago\tapp-init-1";
        let done = container(line).unwrap();
        assert!(has_done_its_work(&done, &json!({})));
        assert!(has_done_its_work(&done, &json!({ "restart": "on-failure:3" })));
        assert!(!has_done_its_work(&done, &json!({ "restart": "always" })));
        let failed = container(&line.replace("(0)", "(1)")).unwrap();
        assert!(!has_done_its_work(&failed, &json!({})));
        assert_eq!(container("half a line"), None);
    }
}

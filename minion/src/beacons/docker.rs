//! The beacon `docker`: what happens to containers, of Docker or Podman.

use super::Beacon;
use crate::follow::{Follow, Follower};
use crate::program::{Order, find};
use crate::senses::Senses;
use resources::{beacons::Settings, glob};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Containers that are remembered; of more an end while nobody looked is not told.
const CONTAINERS_MAX: usize = 1024;
/// Programs that are looked for.
const ENGINES: [&str; 2] = ["docker", "podman"];
/// Longest name that travels.
const NAME_BYTES_MAX: usize = 256;
/// Events that are told unless others are wanted.
const STANDARD: [&str; 5] = ["start", "die", "oom", "healthy", "unhealthy"];

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let here = || ENGINES.iter().find(|it| find(it, senses.root()).is_some()).map(|it| (*it).to_owned());
    let engine = settings.text("engine").or_else(here).ok_or("this machine has neither docker nor podman")?;
    Ok(Follower::boxed(Engine { engine, watch: Watch::new(settings) }))
}

/// Which program is asked, and what its answers mean.
struct Engine {
    engine: String,
    watch: Watch,
}

impl Follow for Engine {
    fn program(&mut self, _: &dyn Senses) -> Result<Order, String> {
        Ok(Order::new(Watch::program(&self.engine)))
    }
    fn line(&mut self, _: Duration, line: &str) -> Option<Vec<Map<String, Value>>> {
        let record: Map<String, Value> = serde_json::from_str(line).ok()?;
        record.get("Type")?;
        Some(self.watch.line(&record).into_iter().collect())
    }
    fn question(&self) -> Option<Order> {
        Some(Order::new(Watch::list(&self.engine)))
    }
    fn answer(&mut self, text: &str) -> Option<Vec<Map<String, Value>>> {
        self.watch.listed(text)
    }
}

/// Follows the containers of one engine.
#[derive(Debug)]
struct Watch {
    names: Vec<String>,
    labels: Vec<String>,
    events: Vec<String>,
    /// Of each container: whether it runs. None before they were listed once.
    known: Option<BTreeMap<String, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    image: String,
    runs: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Happened {
    event: &'static str,
    id: String,
    name: String,
    image: String,
    exit_code: Option<i64>,
    labels: Vec<(String, String)>,
}

/// What an engine says: the word it has for it, and the beacon's.
const WORDS: [(&str, &str); 13] = [
    ("start", "start"),
    ("die", "die"),
    ("died", "die"),
    ("oom", "oom"),
    ("pause", "pause"),
    ("unpause", "unpause"),
    ("destroy", "destroy"),
    ("remove", "destroy"),
    ("health_status: healthy", "healthy"),
    ("health_status: unhealthy", "unhealthy"),
    ("health_status=healthy", "healthy"),
    ("health_status=unhealthy", "unhealthy"),
    ("health_status", ""),
];

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Self {
        let mut events = settings.texts("events");
        if events.is_empty() {
            events = STANDARD.map(str::to_owned).to_vec();
        }
        Self { names: settings.texts("container"), labels: settings.texts("label"), events, known: None }
    }

    /// What tells what happens from now on.
    fn program(engine: &str) -> Vec<String> {
        [engine, "events", "--format", "{{json .}}", "--filter", "type=container"].map(str::to_owned).to_vec()
    }

    /// What tells which there are.
    fn list(engine: &str) -> Vec<String> {
        [engine, "ps", "--all", "--no-trunc", "--format", "{{json .}}"].map(str::to_owned).to_vec()
    }

    /// All that there are, a line each: what began and ended while nobody looked is told. None if it is no such list:
    /// to believe half of it would be to tell of containers that ended.
    fn listed(&mut self, text: &str) -> Option<Vec<Map<String, Value>>> {
        let lines = text.lines().filter(|it| !it.trim().is_empty()).take(CONTAINERS_MAX);
        let now: BTreeMap<String, Known> = lines.map(container).collect::<Option<_>>()?;
        let Some(before) = self.known.replace(now.clone()) else { return Some(Vec::new()) };
        let mut missed = Vec::new();
        for (id, known) in &before {
            if known.runs && !now.get(id).is_some_and(|it| it.runs) {
                missed.push((id, known, "die"));
            }
        }
        for (id, known) in &now {
            if known.runs && !before.get(id).is_some_and(|it| it.runs) {
                missed.push((id, known, "start"));
            }
        }
        let told = |(id, known, event): (&String, &Known, &'static str)| {
            let happened = Happened {
                event,
                id: id.clone(),
                name: known.name.clone(),
                image: known.image.clone(),
                exit_code: None,
                labels: Vec::new(),
            };
            // Labels are not known of what is gone: a beacon that asks for some is told of starts only as they happen.
            let wanted = self.labels.is_empty() && self.is_wanted(&happened);
            wanted.then(|| {
                let mut data = happened.data();
                data.insert("missed".to_owned(), json!(true));
                data
            })
        };
        Some(missed.into_iter().filter_map(told).collect())
    }

    /// Takes a record in; the data of an event, if there is one.
    fn line(&mut self, record: &Map<String, Value>) -> Option<Map<String, Value>> {
        let happened = happened(record)?;
        if let Some(known) = &mut self.known {
            let runs = known.get(&happened.id).map(|it| it.runs);
            // The list that was asked for has told it already.
            if matches!((happened.event, runs), ("start", Some(true)) | ("die", Some(false))) {
                return None;
            }
            match happened.event {
                "destroy" => {
                    known.remove(&happened.id);
                }
                "start" | "die" if known.len() < CONTAINERS_MAX || known.contains_key(&happened.id) => {
                    let (name, image) = (happened.name.clone(), happened.image.clone());
                    let it = Known { name, image, runs: happened.event == "start" };
                    known.insert(happened.id.clone(), it);
                }
                _ => {}
            }
        }
        self.is_wanted(&happened).then(|| happened.data())
    }

    fn is_wanted(&self, it: &Happened) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| glob(name, &it.name));
        let label = |wanted: &String| {
            it.labels.iter().any(|(key, value)| match wanted.split_once('=') {
                Some((name, pattern)) => name == key && glob(pattern, value),
                None => wanted == key,
            })
        };
        let labelled = self.labels.is_empty() || self.labels.iter().any(label);
        named && labelled && self.events.iter().any(|word| word == it.event)
    }
}

impl Happened {
    fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("container".to_owned(), json!(self.name));
        data.insert("id".to_owned(), json!(self.id.chars().take(12).collect::<String>()));
        data.insert("image".to_owned(), json!(self.image));
        data.insert("event".to_owned(), json!(self.event));
        if let Some(code) = self.exit_code {
            data.insert("exit_code".to_owned(), json!(code));
        }
        data
    }
}

fn text_of(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let text = names.iter().find_map(|it| object.get(*it)?.as_str())?;
    Some(text.chars().take(NAME_BYTES_MAX).collect())
}

/// Docker has `Action`, and name and exit code among the attributes of `Actor`; Podman has `Status`, `Name`, `ID` and
/// `ContainerExitCode` beside `Attributes`, and the health in a field of its own.
fn happened(record: &Map<String, Value>) -> Option<Happened> {
    if !record.get("Type")?.as_str()?.eq_ignore_ascii_case("container") {
        return None;
    }
    let actor = record.get("Actor").and_then(Value::as_object);
    let attributes = actor.unwrap_or(record).get("Attributes").and_then(Value::as_object);
    let empty = Map::new();
    let attributes = attributes.unwrap_or(&empty);
    let action = text_of(record, &["Action", "Status"])?;
    let mut event = WORDS.iter().find(|(word, _)| *word == action).map(|(_, it)| *it)?;
    if event.is_empty() {
        let health =
            text_of(record, &["health_status"]).or_else(|| text_of(attributes, &["health_status"]))?;
        event = ["healthy", "unhealthy"].into_iter().find(|it| *it == health)?;
    }
    let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
    let code = code.and_then(Value::as_str).and_then(|it| it.parse().ok());
    let labels = attributes.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(Happened {
        event,
        id: actor.and_then(|it| text_of(it, &["ID"])).or_else(|| text_of(record, &["ID"]))?,
        name: text_of(attributes, &["name"]).or_else(|| text_of(record, &["Name"]))?,
        image: text_of(attributes, &["image"]).or_else(|| text_of(record, &["Image"])).unwrap_or_default(),
        exit_code: code.or_else(|| record.get("ContainerExitCode")?.as_i64()).filter(|_| event == "die"),
        labels: labels.collect(),
    })
}

/// A line of `ps`: Docker's `Names` is a text, Podman's a list; its id is `Id`.
fn container(text: &str) -> Option<(String, Known)> {
    let record: Map<String, Value> = serde_json::from_str(text).ok()?;
    let name = match record.get("Names")? {
        Value::Array(names) => names.first()?.as_str()?.to_owned(),
        other => other.as_str()?.to_owned(),
    };
    let state = text_of(&record, &["State"])?;
    let runs = matches!(state.as_str(), "running" | "paused");
    let image = text_of(&record, &["Image"]).unwrap_or_default();
    Some((text_of(&record, &["ID", "Id"])?, Known { name, image, runs }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::beacons::kind;

    /// The frame is what Docker 20.10.24 wrote on Debian 12 (its `create` event is here as it came); actions and
    /// attributes are those of its documentation.
    const CREATE: &str = r#"{"status":"create","id":"82daa7fdc868f0fb14084ab6f35595d93b2e04483135b8bd4cc4d3ce910e9e39","from":"tiny:1","Type":"container","Action":"create","Actor":{"ID":"82daa7fdc868f0fb14084ab6f35595d93b2e04483135b8bd4cc4d3ce910e9e39","Attributes":{"image":"tiny:1","name":"web","tier":"front"}},"scope":"local","time":1795206804,"timeNano":1795206804146426763}"#;
    /// From `docker ps` 20.10.24 on Debian 12.
    const PS: &str = r#"{"Command":"\"/bin/sh -c 'sleep 1000'\"","CreatedAt":"2026-11-20 20:33:24 +0000 UTC","ID":"82daa7fdc868f0fb14084ab6f35595d93b2e04483135b8bd4cc4d3ce910e9e39","Image":"tiny:1","Labels":"tier=front","LocalVolumes":"0","Mounts":"","Names":"web","Networks":"bridge","Ports":"","RunningFor":"3 seconds ago","Size":"0B (virtual 3.27MB)","State":"created","Status":"Created"}"#;
    /// The fields are those of `cmd/podman/system/events.go` of Podman 5.
    const PODMAN: &str = r#"{"ContainerExitCode":137,"ID":"4f1e","Image":"docker.io/library/nginx:1","Name":"web","Status":"died","time":1795206804,"timeNano":1795206804146426763,"Type":"container","Attributes":{"tier":"front"}}
{"ID":"4f1e","Image":"docker.io/library/nginx:1","Name":"web","Status":"health_status","time":1,"timeNano":1,"Type":"container","health_status":"unhealthy","Attributes":null}"#;

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Watch {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("docker").unwrap(), &map).unwrap())
    }

    fn docker(action: &str, more: &str) -> String {
        CREATE
            .replace("\"Action\":\"create\"", &format!("\"Action\":\"{action}\""))
            .replace("\"image\":", &format!("{more}\"image\":"))
    }

    fn told(watch: &mut Watch, line: &str) -> Option<String> {
        let record: Map<String, Value> = serde_json::from_str(line).ok()?;
        watch.line(&record).map(|it| Value::from(it).to_string())
    }

    #[test]
    fn what_happens_to_containers_is_told() {
        let mut it = watch(json!({}));
        let start = r#"{"container":"web","id":"82daa7fdc868","image":"tiny:1","event":"start"}"#;
        assert_eq!(told(&mut it, CREATE), None);
        assert_eq!(told(&mut it, &docker("start", "")).as_deref(), Some(start));
        let die = told(&mut it, &docker("die", r#""exitCode":"137","#)).unwrap();
        assert!(die.ends_with(r#""event":"die","exit_code":137}"#), "{die}");
        let sick = told(&mut it, &docker("health_status: unhealthy", "")).unwrap();
        assert!(sick.ends_with(r#""event":"unhealthy"}"#), "{sick}");
        for other in ["exec_start: sh", "destroy", "kill"] {
            assert_eq!(told(&mut it, &docker(other, "")), None, "{other}");
        }
        let podman: Vec<String> = PODMAN.lines().filter_map(|line| told(&mut it, line)).collect();
        assert_eq!(podman.len(), 2);
        assert!(podman[0].ends_with(r#""event":"die","exit_code":137}"#), "{podman:?}");
        assert!(podman[1].ends_with(r#""event":"unhealthy"}"#), "{podman:?}");
    }

    #[test]
    fn names_labels_and_events_can_be_chosen() {
        let start = docker("start", "");
        for (settings, wanted) in [
            (json!({"container": "w*"}), true),
            (json!({"container": ["db", "app"]}), false),
            (json!({"label": "tier"}), true),
            (json!({"label": "tier=fr*"}), true),
            (json!({"label": "tier=back"}), false),
            (json!({"events": ["die"]}), false),
        ] {
            assert_eq!(told(&mut watch(settings.clone()), &start).is_some(), wanted, "{settings}");
        }
    }

    #[test]
    fn what_happened_while_nobody_looked_is_told_afterwards() {
        let running = PS.replace("\"State\":\"created\"", "\"State\":\"running\"");
        let mut it = watch(json!({}));
        assert!(it.listed(&running).unwrap().is_empty(), "how they are found is how they always were");
        let missed: Vec<String> =
            it.listed(PS).unwrap().into_iter().map(|it| Value::from(it).to_string()).collect();
        assert_eq!(
            missed,
            [r#"{"container":"web","id":"82daa7fdc868","image":"tiny:1","event":"die","missed":true}"#]
        );
        assert!(it.listed(PS).unwrap().is_empty());
        let podman = r#"{"Id":"4f1e","Names":["api"],"Image":"x","State":"running"}"#;
        assert_eq!(it.listed(&format!("{running}\n{podman}")).unwrap().len(), 2);
        told(&mut it, &docker("die", ""));
        assert_eq!(it.listed(&format!("{PS}\n{podman}")).unwrap().len(), 0, "it was told when it happened");
    }

    #[test]
    fn other_texts_do_no_harm() {
        for text in [
            "",
            "{",
            "null",
            r#"{"Type":"network","Action":"start"}"#,
            r#"{"Type":"container"}"#,
            r#"{"Type":1}"#,
        ] {
            assert_eq!(told(&mut watch(json!({})), text), None, "{text}");
        }
    }
}

//! Beacons as pillar of Salt writes them, and what they are here.

use serde_json::{Map, Value, json};

/// A kind and its settings.
type Order = (String, Map<String, Value>);
/// What is wrong, and the way out.
type Refusal = (String, String);

/// Words that only lists of Salt have.
const WORDS: [&str; 6] =
    ["averages", "disable_during_state_run", "emitatstartup", "onchangeonly", "services", "beacon_module"];
/// Salt's beacons that are here under another name.
const RENAMED: [&str; 5] = ["diskusage", "inotify", "memusage", "ps", "swapusage"];
/// Salt's beacons that are not here as they are, and what to use.
const OTHERS: [(&str, &str); 14] = [
    ("network_info", "`network` tells of links and addresses; rates are in the telemetry"),
    ("network_settings", "`network` tells of links and addresses"),
    ("status", "the telemetry of a minion says this"),
    ("sh", "use `script`"),
    ("wtmp", "`log` with the unit of your login service tells of logins"),
    ("btmp", "`log` with the unit of your login service tells of failed logins"),
    ("journald", "use `log`"),
    ("haproxy", "use `check` or `script`"),
    ("cert_info", "use `check` or `script`"),
    ("watchdog", "use `file`"),
    ("salt_monitor", "use a schedule"),
    ("avahi_announce", "use `script`"),
    ("bonjour_announce", "use `script`"),
    ("telegram_bot_msg", "use `script`"),
];

/// What Salt's form of a beacon is here; none if it is not in Salt's form.
pub(crate) fn translate(name: &str, value: &Value) -> Result<Option<Vec<Order>>, Refusal> {
    if let Some((_, help)) = OTHERS.iter().find(|it| it.0 == name).filter(|_| kind_of(value).is_none()) {
        return Err((format!("Salt's beacon `{name}` is not here"), (*help).to_owned()));
    }
    let Some(mut map) = joined(name, value) else { return Ok(None) };
    let kind = match map.shift_remove("beacon_module") {
        Some(Value::String(kind)) => kind,
        _ => name.to_owned(),
    };
    let common = common(&mut map);
    let orders = match kind.as_str() {
        "diskusage" => disks(map)?,
        "inotify" => files(&map)?,
        "memusage" => vec![("memory".to_owned(), above(&map))],
        "swapusage" => vec![("swap".to_owned(), above(&map))],
        "load" => loads(&map)?,
        "service" => services(map)?,
        "ps" => processes(&map)?,
        _ => vec![(kind, map)],
    };
    let with_common =
        |(kind, settings): Order| (kind, settings.into_iter().chain(common.clone()).collect::<Map<_, _>>());
    Ok(Some(orders.into_iter().map(with_common).collect()))
}

fn kind_of(value: &Value) -> Option<&Value> {
    value.get("beacon")
}

/// The small mappings of a list as one, if it is Salt's.
fn joined(name: &str, value: &Value) -> Option<Map<String, Value>> {
    let map = match value {
        Value::Object(map) => map.clone(),
        Value::Array(items) => {
            let mut all = Map::new();
            for item in items {
                all.extend(item.as_object()?.clone());
            }
            all
        }
        _ => return None,
    };
    (RENAMED.contains(&name) || WORDS.iter().any(|it| map.contains_key(*it))).then_some(map)
}

/// Settings that all of them have.
fn common(map: &mut Map<String, Value>) -> Map<String, Value> {
    let mut common = Map::new();
    for name in ["interval", "enabled"] {
        common.extend(map.shift_remove(name).map(|it| (name.to_owned(), it)));
    }
    if let Some(Value::Bool(quiet)) = map.shift_remove("disable_during_state_run") {
        common.insert("during_runs".to_owned(), json!(!quiet));
    }
    for name in ["emitatstartup", "onchangeonly", "coalesce"] {
        map.shift_remove(name);
    }
    common
}

fn above(map: &Map<String, Value>) -> Map<String, Value> {
    map.get("percent").map(|it| ("above".to_owned(), percent(it))).into_iter().collect()
}

fn percent(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(format!("{number}%")),
        other => other.clone(),
    }
}

fn disks(map: Map<String, Value>) -> Result<Vec<Order>, Refusal> {
    let disk = |(path, limit): (String, Value)| {
        if !path.starts_with('/') {
            let help = "name the mount points, or leave `path` out of `disk`: then it is every disk";
            return Err((
                format!("`{path}` is no path; patterns of paths are not read here"),
                help.to_owned(),
            ));
        }
        let settings = [("path".to_owned(), json!(path)), ("above".to_owned(), percent(&limit))];
        Ok(("disk".to_owned(), settings.into_iter().collect()))
    };
    map.into_iter().map(disk).collect()
}

fn loads(map: &Map<String, Value>) -> Result<Vec<Order>, Refusal> {
    let refused = || {
        let help = "as in `averages: {5m: [0.0, 4.0]}`, or `load: {over: 5m, above: 4}`";
        ("`averages` is a mapping of 1m, 5m or 15m to two limits".to_owned(), help.to_owned())
    };
    let averages = map.get("averages").and_then(Value::as_object).ok_or_else(refused)?;
    let load = |(over, limits): (&String, &Value)| {
        let limits = limits.as_array().filter(|it| it.len() == 2).ok_or_else(refused)?;
        let mut settings =
            Map::from_iter([("over".to_owned(), json!(over)), ("above".to_owned(), limits[1].clone())]);
        if limits[0].as_f64().is_some_and(|it| it > 0.0) {
            settings.insert("below".to_owned(), limits[0].clone());
        }
        Ok(("load".to_owned(), settings))
    };
    averages.iter().map(load).collect()
}

fn services(mut map: Map<String, Value>) -> Result<Vec<Order>, Refusal> {
    let Some(Value::Object(services)) = map.shift_remove("services") else {
        let help = "as in `services: {nginx: {}}`, or `service: {unit: nginx}`";
        return Err((
            "`services` is a mapping of names to what is wanted of them".to_owned(),
            help.to_owned(),
        ));
    };
    let units: Vec<&String> = services.keys().collect();
    map.insert("unit".to_owned(), json!(units));
    // There each change is told.
    map.insert("states".to_owned(), json!(["failed", "inactive", "active", "restarting"]));
    Ok(vec![("service".to_owned(), map)])
}

fn processes(map: &Map<String, Value>) -> Result<Vec<Order>, Refusal> {
    let Some(Value::Object(processes)) = map.get("processes").cloned() else {
        let help = "as in `processes: {nginx: running}`, or `process: {process: nginx}`";
        return Err((
            "`processes` is a mapping of names to `running` or `stopped`".to_owned(),
            help.to_owned(),
        ));
    };
    let process = |(name, wanted): (String, Value)| {
        let mut settings = Map::from_iter([("process".to_owned(), json!(name))]);
        if wanted == "running" {
            // It is told as it comes, too.
            settings.insert("above".to_owned(), json!(1));
        }
        ("process".to_owned(), settings)
    };
    Ok(processes.into_iter().map(process).collect())
}

fn files(map: &Map<String, Value>) -> Result<Vec<Order>, Refusal> {
    let Some(Value::Object(files)) = map.get("files").cloned() else {
        let help = "as in `files: {/etc/hosts: {mask: [modify]}}`, or `file: {path: /etc/hosts}`";
        return Err(("`files` is a mapping of paths to what is wanted of them".to_owned(), help.to_owned()));
    };
    let file = |(path, wanted): (String, Value)| {
        let mut settings = Map::from_iter([("path".to_owned(), json!(path))]);
        if let Some(recurse) = wanted.get("recurse") {
            settings.insert("recursive".to_owned(), recurse.clone());
        }
        let mask = wanted.get("mask").and_then(Value::as_array).into_iter().flatten();
        let mut changes: Vec<&str> = mask.filter_map(Value::as_str).filter_map(change).collect();
        changes.sort_unstable();
        changes.dedup();
        if !changes.is_empty() {
            settings.insert("mask".to_owned(), json!(changes));
        }
        ("file".to_owned(), settings)
    };
    Ok(files.into_iter().map(file).collect())
}

/// A word of the kernel's; that somebody reads a file is not told here.
fn change(word: &str) -> Option<&'static str> {
    match word {
        "create" => Some("create"),
        "modify" | "close_write" => Some("modify"),
        "delete" | "delete_self" => Some("delete"),
        "move" | "moved_from" | "moved_to" | "move_self" => Some("move"),
        "attrib" => Some("attributes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beacons_of_salt_are_understood() {
        let cases = [
            (
                "diskusage",
                json!([{"/": "63%"}, {"/mnt": 50}, {"interval": 10}]),
                json!([
                    ["disk", {"path": "/", "above": "63%", "interval": 10}],
                    ["disk", {"path": "/mnt", "above": "50%", "interval": 10}]
                ]),
            ),
            (
                "inotify",
                json!([
                    {"files": {"/etc/hosts": {"mask": ["modify", "close_write", "open"]}, "/srv": {"recurse": true}}},
                    {"disable_during_state_run": true}
                ]),
                json!([
                    ["file", {"path": "/etc/hosts", "mask": ["modify"], "during_runs": false}],
                    ["file", {"path": "/srv", "recursive": true, "during_runs": false}]
                ]),
            ),
            ("memusage", json!([{"percent": "63%"}]), json!([["memory", {"above": "63%"}]])),
            ("swapusage", json!({"percent": 13}), json!([["swap", {"above": "13%"}]])),
            (
                "load",
                json!([{"averages": {"1m": [0.0, 2.0], "5m": [0.1, 1.5]}}, {"onchangeonly": true}]),
                json!([
                    ["load", {"over": "1m", "above": 2.0}],
                    ["load", {"over": "5m", "above": 1.5, "below": 0.1}]
                ]),
            ),
            (
                "service",
                json!([{"services": {"nginx": {"onchangeonly": true}, "ssh": {}}}, {"interval": 30}]),
                json!([[
                    "service",
                    {"unit": ["nginx", "ssh"], "states": ["failed", "inactive", "active", "restarting"], "interval": 30}
                ]]),
            ),
            (
                "ps",
                json!([{"processes": {"salt-master": "running", "mysql": "stopped"}}]),
                json!([["process", {"process": "salt-master", "above": 1}], ["process", {"process": "mysql"}]]),
            ),
            (
                "watch-etc",
                json!([{"files": {"/etc": {}}}, {"beacon_module": "inotify"}]),
                json!([["file", {"path": "/etc"}]]),
            ),
        ];
        for (name, value, wanted) in cases {
            let orders = translate(name, &value).unwrap().unwrap();
            assert_eq!(json!(orders), wanted, "{name}");
        }
        for (name, value) in
            [("disk", json!([{"path": "/"}])), ("load", json!({"above": 3})), ("x", json!(1))]
        {
            assert_eq!(translate(name, &value), Ok(None), "{name}");
        }
        for (name, value) in [
            ("wtmp", json!([])),
            ("diskusage", json!([{"^/home.*": "90%"}])),
            ("inotify", json!([{"files": 3}])),
            ("service", json!([{"services": 3}])),
            ("ps", json!([])),
            ("load", json!([{"averages": {"1m": 3}}])),
        ] {
            assert!(translate(name, &value).is_err(), "{name}");
        }
    }
}

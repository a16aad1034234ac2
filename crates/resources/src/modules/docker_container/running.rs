//! `docker_container.running`: what a container is made of, and how it takes the place of another one.

use super::{
    super::docker::{docker, image_name, inspect, object_name, pairs, scalar, text, with_tag},
    options::{PARAMS, given, options},
    shutdown_timeout, status,
    words::words,
};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::{Args, invalid},
    diff::hash_of,
    host::{Command, query::docker::Question},
    tool,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

/// Holds the hash of the configuration that a container was made with.
const LABEL: &str = "labctl.config";
/// A container has this name until it takes its place.
const NEW: &str = ".labctl-new";
/// Digits of a hash that people see.
const SHOWN: usize = 12;

#[derive(Debug)]
struct Running {
    name: String,
    image: String,
    /// Options of `docker create`.
    options: Vec<String>,
    /// Program, if it is not the image's.
    entrypoint: Option<String>,
    command: Vec<String>,
    environment: Environment,
    networks: Vec<Network>,
    hash: String,
    start: bool,
    force: bool,
    watch_action: String,
    shutdown_timeout: i64,
}

/// Lines of `KEY=VALUE`. Does not print itself.
struct Environment(String);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables", self.0.lines().count())
    }
}

/// A network and how the container is in it, as options.
#[derive(Debug)]
struct Network {
    name: String,
    /// As `ip=10.0.0.5`; `alias` is `network-alias` where the container is made.
    how: Vec<String>,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_container.running", &PARAMS, params)?;
    let name = args.name();
    object_name("name", &name)?;
    let image = with_tag(&args.text("image").unwrap_or_default());
    image_name("image", &image)?;
    if !args.bool("detach", true) {
        return Err(invalid(
            "detach",
            "`detach: false` has no meaning here; `cmd.run` runs a command to its end",
        ));
    }
    let watch_action = args.text("watch_action").unwrap_or_else(|| "force".to_owned());
    if watch_action.is_empty() || !watch_action.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'+') {
        return Err(invalid(
            "watch_action",
            format!("`{watch_action}` is neither `force`, `restart` nor a signal"),
        ));
    }
    let mut entrypoint =
        given(params, &["entrypoint"]).map_or(Ok(Vec::new()), |it| words("entrypoint", it))?;
    let mut command = given(params, &["command", "cmd"]).map_or(Ok(Vec::new()), |it| words("command", it))?;
    if entrypoint.len() > 1 {
        command.splice(0..0, entrypoint.drain(1..));
    }
    let networks = given(params, &["networks"]).map_or(Ok(Vec::new()), networks)?;
    if !networks.is_empty() && given(params, &["network_mode", "network_disabled"]).is_some() {
        return Err(invalid("networks", "`networks` and `network_mode` exclude each other"));
    }
    let mut options = options(params)?;
    for file in args.list("env_file").unwrap_or_default() {
        if !file.starts_with('/') || file.contains(['\0', '\n']) {
            return Err(invalid("env_file", format!("`{file}` must be an absolute path")));
        }
        options.push(format!("--env-file={file}"));
    }
    let mut it = Running {
        name,
        image,
        options,
        entrypoint: entrypoint.pop(),
        command,
        environment: environment(params)?,
        networks,
        hash: String::new(),
        start: args.bool("start", true),
        force: args.bool("force", false),
        watch_action,
        shutdown_timeout: shutdown_timeout(&args)?,
    };
    let whole = format!("{:?}\n{:?}\n{}", it.create_words(""), it.networks, it.environment.0);
    it.hash = hash_of(whole.as_bytes()).to_string();
    Ok(Box::new(it))
}

fn environment(params: &Map<String, Value>) -> Result<Environment, ParamsError> {
    let Some(value) = given(params, &["environment", "env"]) else { return Ok(Environment(String::new())) };
    let mut lines = String::new();
    for (key, value) in pairs("environment", value)? {
        if key.contains(|it: char| it.is_whitespace() || it == '#') || value.contains('\r') {
            return Err(invalid("environment", format!("`{key}` is no variable of one line")));
        }
        lines = lines + &key + "=" + &value + "\n";
    }
    Ok(Environment(lines))
}

fn networks(value: &Value) -> Result<Vec<Network>, ParamsError> {
    let mut all = Vec::new();
    let items = match value {
        Value::Array(items) => items.clone(),
        Value::String(text) => text.split(',').map(|it| it.trim().into()).collect(),
        one => vec![one.clone()],
    };
    for item in items {
        match item {
            Value::Object(map) => {
                for (name, how) in map {
                    all.push(network(name, &how)?);
                }
            }
            it => all.push(network(scalar(&it).unwrap_or_default(), &Value::Null)?),
        }
    }
    Ok(all)
}

fn network(name: String, how: &Value) -> Result<Network, ParamsError> {
    object_name("networks", &name)?;
    let rows: Vec<&Map<String, Value>> = match how {
        Value::Object(map) => vec![map],
        Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    };
    let mut options = Vec::new();
    for (key, value) in rows.into_iter().flatten() {
        let option = match key.as_str() {
            "ipv4_address" => "ip",
            "ipv6_address" => "ip6",
            "aliases" => "alias",
            "links" => "link",
            _ => return Err(invalid("networks", format!("a container's place in a network has no `{key}`"))),
        };
        let values = match value {
            Value::Array(items) => items.iter().filter_map(scalar).collect(),
            one => vec![scalar(one).unwrap_or_default()],
        };
        for value in values {
            if value.is_empty() || value.contains(|it: char| it.is_whitespace() || it.is_control()) {
                return Err(invalid("networks", format!("`{key}` of `{name}` must be one word")));
            }
            options.push(format!("{option}={value}"));
        }
    }
    Ok(Network { name, how: options })
}

impl Running {
    /// The arguments of `docker` that make the container, without the label.
    fn create_words(&self, name: &str) -> Vec<String> {
        let mut words = vec!["create".to_owned(), format!("--name={name}")];
        words.extend(self.options.iter().cloned());
        if let Some(first) = self.networks.first() {
            words.push(format!("--network={}", first.name));
            words.extend(first.how.iter().map(|it| match it.strip_prefix("alias=") {
                Some(alias) => format!("--network-alias={alias}"),
                None => format!("--{it}"),
            }));
        }
        words.extend(self.entrypoint.iter().map(|it| format!("--entrypoint={it}")));
        if !self.environment.0.is_empty() {
            words.push("--env-file=/dev/stdin".to_owned());
        }
        if !self.hash.is_empty() {
            words.push(format!("--label={LABEL}={}", self.hash));
        }
        words.push("--".to_owned());
        words.push(self.image.clone());
        words.extend(self.command.iter().cloned());
        words
    }

    fn look(&self, host: &dyn Probe) -> Result<Option<Value>, Error> {
        inspect(host, Question::Container(self.name.clone()))
    }

    /// What only a new container can have.
    fn compare(&self, now: &Value, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let short = |it: &str| it.trim_start_matches("sha256:").chars().take(SHOWN).collect::<String>();
        let labels = now.pointer("/Config/Labels");
        let made_with = labels.and_then(|it| it.get(LABEL)).and_then(Value::as_str);
        if made_with != Some(&self.hash) {
            let from = made_with.map_or_else(|| "not made by labctl".to_owned(), short);
            let (what, to) = ("configuration".to_owned(), Some(short(&self.hash)));
            plan.push(Change { what, from: Some(from), to, diff: None });
        }
        if let Some(image) = inspect(host, Question::Image(self.image.clone()))? {
            plan.differ("image", Some(&short(text(now, "/Image"))), &short(text(&image, "/Id")));
        }
        Ok(())
    }

    /// Networks that the container is not in.
    fn missing_networks(&self, now: &Value) -> Vec<&Network> {
        let is_in = |it: &&Network| {
            now.pointer("/NetworkSettings/Networks").is_some_and(|all| all.get(&it.name).is_some())
        };
        self.networks.iter().filter(|it| !is_in(it)).collect()
    }

    fn connect(network: &Network, container: &str, host: &mut dyn Host) -> Result<(), Error> {
        let mut words = vec!["network".to_owned(), "connect".to_owned()];
        words.extend(network.how.iter().map(|it| format!("--{it}")));
        words.extend([network.name.clone(), container.to_owned()]);
        docker(host, &words).map(drop)
    }

    /// The new one is whole before the old one stops.
    fn replace(&self, host: &mut dyn Host) -> Result<(), Error> {
        let new = format!("{}{NEW}", self.name);
        if inspect(host, Question::Container(new.clone()))?.is_some() {
            docker(host, &["rm", "--force", &new])?;
        }
        let stdin = Some(self.environment.0.clone()).filter(|it| !it.is_empty());
        let words: Vec<String> = ["docker".to_owned()].into_iter().chain(self.create_words(&new)).collect();
        let command = Command { stdin, ..tool::command(&words, tool::LONG_MS) };
        tool::run(host, command, &format!("docker create {}", self.name))?;
        for network in self.networks.iter().skip(1) {
            Self::connect(network, &new, host)?;
        }
        if let Some(old) = self.look(host)? {
            if matches!(status(&old), "running" | "restarting" | "paused") {
                docker(host, &["stop", &format!("--time={}", self.shutdown_timeout), &self.name])?;
            }
            // One that removes itself when it stops may be gone by now.
            if self.look(host)?.is_some() {
                docker(host, &["rm", "--force", &self.name])?;
            }
        }
        docker(host, &["rename", &new, &self.name])?;
        if self.start {
            docker(host, &["start", &self.name])?;
        }
        Ok(())
    }
}

impl Resource for Running {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(now) = self.look(host)? else {
            plan.differ("container", None, &self.image);
            if self.start {
                plan.differ("status", None, &"running".to_owned());
            }
            return Ok(plan);
        };
        self.compare(&now, host, &mut plan)?;
        if self.force {
            plan.differ("container", Some(&"as it is".to_owned()), &"made anew".to_owned());
        }
        let missing = self.missing_networks(&now);
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|it| it.name.as_str()).collect();
            plan.differ("networks", None, &names.join(", "));
        }
        if self.start {
            plan.differ("status", Some(&status(&now).to_owned()), &"running".to_owned());
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if ["container", "configuration", "image"].iter().any(|it| plan.touches(it)) {
            self.replace(host)?;
            return Ok(Applied::default());
        }
        let Some(now) = self.look(host)? else {
            return Err(Error::Refused(format!("the container `{}` is gone in the meantime", self.name)));
        };
        for network in self.missing_networks(&now) {
            Self::connect(network, &self.name, host)?;
        }
        if plan.touches("status") {
            let verb = if status(&now) == "paused" { "unpause" } else { "start" };
            docker(host, &[verb, &self.name])?;
        }
        Ok(Applied::default())
    }

    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        match self.watch_action.as_str() {
            "force" => self.replace(host)?,
            "restart" => {
                let seconds = self.shutdown_timeout.to_string();
                docker(host, &["restart", "--time", &seconds, &self.name])?;
            }
            signal => {
                docker(host, &["kill", &format!("--signal={signal}"), &self.name])?;
            }
        }
        Ok(Some(Applied::saying(match self.watch_action.as_str() {
            "force" => "made anew".to_owned(),
            "restart" => "restarted".to_owned(),
            signal => format!("got {signal}"),
        })))
    }

    fn refreshes(&self) -> Option<&'static str> {
        Some(match self.watch_action.as_str() {
            "force" => "make anew",
            "restart" => "restart",
            _ => "signal",
        })
    }

    fn converges(&self) -> bool {
        !self.force
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The arguments after `docker create`.
    fn words(params: Value) -> String {
        let Value::Object(params) = params else { panic!("parameters are a mapping") };
        let made = format!("{:?}", parse(&params).unwrap());
        let hash = made.split("hash: \"").nth(1).and_then(|it| it.split('"').next()).unwrap();
        hash.to_owned()
    }

    #[test]
    fn a_hash_is_the_same_in_every_version_so_that_no_container_is_made_anew_by_an_upgrade() {
        let small = words(json!({ "name": "c1", "image": "web:1.0" }));
        assert_eq!(small, "7eecdde15888c30ed51ffe1560f6d421ba5339b3c6db677fdd32bd9399468c1d");
        let large = words(json!({
            "name": "c1", "image": "web:1.0", "command": "/bin/sleepd now", "env": [{ "A": "b c" }],
            "networks": [{ "back": [{ "ipv4_address": "10.9.0.5" }, { "aliases": ["w"] }] }, "front"],
            "binds": "vol1:/data", "publish": "8080:80", "restart_policy": "always",
        }));
        assert_eq!(large, "715c0616099d9374a7d04ca1fd67833c6ab16c8f5d172cceb03887dc82ce9d9e");
    }

    #[test]
    fn secrets_in_the_environment_do_not_print() {
        let Value::Object(params) = json!({ "name": "a", "image": "b", "environment": { "P": "hunter2" } })
        else {
            unreachable!()
        };
        let made = parse(&params).unwrap();
        assert!(!format!("{made:?}").contains("hunter2"));
    }
}

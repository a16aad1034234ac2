//! What `docker_container.running` takes, and the options of `docker create` that it becomes.

use super::super::docker::scalar;
use crate::{
    Param, ParamType, ParamsError,
    args::{Args, invalid},
};
use serde_json::{Map, Value};

/// Most entries of one list of options, and longest word of a command.
const ENTRIES_MAX: usize = 1000;

/// How a parameter becomes options.
#[derive(Clone, Copy)]
enum Form {
    /// `--option=value`
    Value,
    /// `--option`
    Switch,
    /// `--option=entry` for each; entries that are mappings are joined by this.
    List(&'static str),
}

/// A parameter that is an option of `docker create`.
#[derive(Clone, Copy)]
struct One {
    param: &'static str,
    alias: &'static str,
    option: &'static str,
    form: Form,
    default: &'static str,
    doc: &'static str,
}

const fn one(
    param: &'static str,
    alias: &'static str,
    option: &'static str,
    form: Form,
    default: &'static str,
    doc: &'static str,
) -> One {
    One { param, alias, option, form, default, doc }
}

/// Parameters that are more than an option.
const OWN: &[Param] = &[
    super::NAME,
    Param::of("image", ParamType::Text, "", "The image, with tag or digest.").required(),
    Param::of(
        "command",
        ParamType::Any,
        "the image's",
        "The command: a list of words, or a text that is split as a shell does.",
    ),
    Param::of("cmd", ParamType::Any, "the image's", "Another name of `command`."),
    Param::of(
        "entrypoint",
        ParamType::Any,
        "the image's",
        "The program that gets the command: a list of words, or a text.",
    ),
    Param::of(
        "environment",
        ParamType::Any,
        "none",
        "Variables: a mapping, or a list of `KEY=VALUE`. Each is one line.",
    ),
    Param::of("env", ParamType::Any, "none", "Another name of `environment`."),
    Param::of("env_file", ParamType::TextList, "none", "Files on the minion with variables."),
    Param::of(
        "networks",
        ParamType::Any,
        "none",
        "Networks that it is connected to: names, or mappings of a name to `ipv4_address`, `ipv6_address`, `aliases` and \
         `links`.",
    ),
    Param::of(
        "detach",
        ParamType::Bool,
        "true",
        "It runs in the background. Only `true` has a meaning here.",
    ),
    Param::of("start", ParamType::Bool, "true", "Starts it when it does not run."),
    Param::of(
        "force",
        ParamType::Bool,
        "false",
        "Makes it anew in every run, whether or not it is as it should be.",
    ),
    Param::of(
        "watch_action",
        ParamType::Text,
        "force",
        "When something that it watches has changed: `force` makes it anew, `restart` restarts it, and the name of a \
         signal is sent to it.",
    ),
    Param::of(
        "shutdown_timeout",
        ParamType::Integer,
        "10",
        "Seconds until it is killed when it has to stop.",
    ),
];

const OPTIONS: &[One] = &[
    one("hostname", "", "hostname", Form::Value, "the container's id", "Its host name."),
    one("domainname", "", "domainname", Form::Value, "none", "Its domain."),
    one("user", "", "user", Form::Value, "the image's", "The user that the command runs as."),
    one(
        "working_dir",
        "workdir",
        "workdir",
        Form::Value,
        "the image's",
        "The folder that the command runs in.",
    ),
    one(
        "binds",
        "",
        "volume",
        Form::List(":"),
        "none",
        "Folders of the host, as `/host:/container` or `/host:/container:ro`; named volumes, as `data:/container`.",
    ),
    one(
        "volumes",
        "volume",
        "volume",
        Form::List(":"),
        "none",
        "Folders of the container that become volumes; also as in `binds`.",
    ),
    one(
        "volumes_from",
        "",
        "volumes-from",
        Form::List(":"),
        "none",
        "Containers whose volumes it has as well.",
    ),
    one("volume_driver", "", "volume-driver", Form::Value, "none", "The driver of its volumes."),
    one("tmpfs", "", "tmpfs", Form::List(":"), "none", "Folders in memory, as `/run: size=64m`."),
    one(
        "port_bindings",
        "publish",
        "publish",
        Form::List(":"),
        "none",
        "Ports of the host, as `8080:80` or `127.0.0.1:53:53/udp`.",
    ),
    one(
        "ports",
        "expose",
        "expose",
        Form::List(":"),
        "none",
        "Ports that it listens on, for other containers.",
    ),
    one(
        "publish_all_ports",
        "publish_all",
        "publish-all",
        Form::Switch,
        "false",
        "Gives each of its ports one of the host.",
    ),
    one(
        "network_mode",
        "",
        "network",
        Form::Value,
        "bridge",
        "`bridge`, `host`, `none`, `container:NAME`, or a network.",
    ),
    one("network_disabled", "", "", Form::Switch, "false", "Without any network."),
    one("mac_address", "", "mac-address", Form::Value, "Docker's choice", "Its hardware address."),
    one("dns", "", "dns", Form::List("="), "the daemon's", "Name servers."),
    one("dns_opt", "dns_option", "dns-option", Form::List("="), "none", "Options for the resolver."),
    one("dns_search", "", "dns-search", Form::List("="), "none", "Domains that are searched."),
    one("extra_hosts", "", "add-host", Form::List(":"), "none", "More names, as `name:address`."),
    one(
        "links",
        "",
        "link",
        Form::List(":"),
        "none",
        "Old style links to other containers, as `name:alias`.",
    ),
    one(
        "restart_policy",
        "restart",
        "restart",
        Form::Value,
        "no",
        "`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`.",
    ),
    one("auto_remove", "rm", "rm", Form::Switch, "false", "It goes away when it stops."),
    one("labels", "label", "label", Form::List("="), "none", "Labels."),
    one("log_driver", "", "log-driver", Form::Value, "the daemon's", "Where its output goes."),
    one("log_opt", "", "log-opt", Form::List("="), "none", "Options of that, as `max-size: 10m`."),
    one("privileged", "", "privileged", Form::Switch, "false", "With all rights on the host."),
    one("cap_add", "", "cap-add", Form::List("="), "none", "Capabilities that it gets."),
    one("cap_drop", "", "cap-drop", Form::List("="), "none", "Capabilities that are taken from it."),
    one(
        "security_opt",
        "security_opts",
        "security-opt",
        Form::List("="),
        "none",
        "Security options, as `no-new-privileges:true`.",
    ),
    one("read_only", "", "read-only", Form::Switch, "false", "Its file system cannot be written."),
    one(
        "devices",
        "",
        "device",
        Form::List("="),
        "none",
        "Devices of the host, as `/dev/dri` or `/dev/ttyUSB0:/dev/ttyUSB0:rwm`.",
    ),
    one(
        "device_read_bps",
        "",
        "device-read-bps",
        Form::List(":"),
        "none",
        "Bytes a second, as `/dev/sda:10mb`.",
    ),
    one(
        "device_write_bps",
        "",
        "device-write-bps",
        Form::List(":"),
        "none",
        "Bytes a second, as `/dev/sda:10mb`.",
    ),
    one(
        "device_read_iops",
        "",
        "device-read-iops",
        Form::List(":"),
        "none",
        "Reads a second, as `/dev/sda:100`.",
    ),
    one(
        "device_write_iops",
        "",
        "device-write-iops",
        Form::List(":"),
        "none",
        "Writes a second, as `/dev/sda:100`.",
    ),
    one("group_add", "", "group-add", Form::List("="), "none", "More groups for the command."),
    one("mem_limit", "memory", "memory", Form::Value, "no limit", "Most memory, as `512m`."),
    one(
        "mem_reservation",
        "memory_reservation",
        "memory-reservation",
        Form::Value,
        "none",
        "Memory that it keeps when the host runs short.",
    ),
    one(
        "memswap_limit",
        "memory_swap",
        "memory-swap",
        Form::Value,
        "none",
        "Most memory and swap together; `-1` for no limit.",
    ),
    one("mem_swappiness", "", "memory-swappiness", Form::Value, "none", "How readily it swaps, 0 to 100."),
    one(
        "oom_kill_disable",
        "",
        "oom-kill-disable",
        Form::Switch,
        "false",
        "It is not killed when memory runs out.",
    ),
    one("oom_score_adj", "", "oom-score-adj", Form::Value, "none", "How readily it is killed then."),
    one("cpus", "nano_cpus", "cpus", Form::Value, "no limit", "How many processors it may use, as `1.5`."),
    one("cpu_shares", "", "cpu-shares", Form::Value, "none", "Its weight for the processor."),
    one(
        "cpu_period",
        "",
        "cpu-period",
        Form::Value,
        "none",
        "Length of the scheduler's period, in microseconds.",
    ),
    one("cpu_quota", "", "cpu-quota", Form::Value, "none", "Its time in each period, in microseconds."),
    one(
        "cpuset_cpus",
        "cpuset",
        "cpuset-cpus",
        Form::Value,
        "none",
        "The processors that it may use, as `0-2`.",
    ),
    one("cpuset_mems", "", "cpuset-mems", Form::Value, "none", "The memory nodes that it may use."),
    one("blkio_weight", "", "blkio-weight", Form::Value, "none", "Its weight for disks."),
    one("pids_limit", "", "pids-limit", Form::Value, "none", "Most processes."),
    one("ulimits", "ulimit", "ulimit", Form::List("="), "none", "Limits, as `nofile=1024:2048`."),
    one("sysctls", "sysctl", "sysctl", Form::List("="), "none", "Kernel parameters of its namespaces."),
    one("shm_size", "", "shm-size", Form::Value, "64m", "Size of `/dev/shm`."),
    one("storage_opt", "", "storage-opt", Form::List("="), "none", "Options of its storage."),
    one("stop_signal", "", "stop-signal", Form::Value, "the image's", "The signal that stops it."),
    one("stop_timeout", "", "stop-timeout", Form::Value, "10", "Seconds until Docker kills it."),
    one(
        "ipc_mode",
        "ipc",
        "ipc",
        Form::Value,
        "none",
        "Its namespace for shared memory: `private`, `host`, `container:NAME`.",
    ),
    one(
        "pid_mode",
        "pid",
        "pid",
        Form::Value,
        "none",
        "Its namespace for processes: `host`, `container:NAME`.",
    ),
    one("userns_mode", "user_ns_mode", "userns", Form::Value, "none", "Its namespace for users: `host`."),
    one("cgroup_parent", "", "cgroup-parent", Form::Value, "none", "The control group above it."),
    one("runtime", "", "runtime", Form::Value, "the daemon's", "The program that runs it, such as `nvidia`."),
    one("gpus", "", "gpus", Form::Value, "none", "Graphics processors, as `all`."),
    one("platform", "", "platform", Form::Value, "none", "The image's platform, as `linux/arm64`."),
    one("isolation", "", "isolation", Form::Value, "none", "How it is kept apart (Windows)."),
    one("init", "", "init", Form::Switch, "false", "A small init process in it."),
    one("tty", "", "tty", Form::Switch, "false", "With a terminal."),
    one("stdin_open", "interactive", "interactive", Form::Switch, "false", "Its standard input stays open."),
    one(
        "health_cmd",
        "",
        "health-cmd",
        Form::Value,
        "the image's",
        "The command that says whether it is well.",
    ),
    one("health_interval", "", "health-interval", Form::Value, "none", "Time between two looks, as `30s`."),
    one("health_timeout", "", "health-timeout", Form::Value, "none", "Longest that a look may take."),
    one(
        "health_start_period",
        "",
        "health-start-period",
        Form::Value,
        "none",
        "Time in which failed looks do not count.",
    ),
    one("health_retries", "", "health-retries", Form::Value, "none", "Failed looks until it counts as ill."),
    one("no_healthcheck", "", "no-healthcheck", Form::Switch, "false", "Without the image's look."),
];

/// The schema: what is above, in one list.
pub(super) const PARAMS: [Param; count()] = schema();

const fn count() -> usize {
    let (mut total, mut at) = (OWN.len() + OPTIONS.len(), 0);
    while at < OPTIONS.len() {
        total += !OPTIONS[at].alias.is_empty() as usize;
        at += 1;
    }
    total
}

const fn schema() -> [Param; count()] {
    let mut all = [OWN[0]; count()];
    let (mut next, mut at) = (0, 0);
    while at < OWN.len() {
        all[next] = OWN[at];
        next += 1;
        at += 1;
    }
    at = 0;
    while at < OPTIONS.len() {
        let it = OPTIONS[at];
        let kind = match it.form {
            Form::Value => ParamType::Text,
            Form::Switch => ParamType::Bool,
            Form::List(_) => ParamType::Any,
        };
        all[next] = Param::of(it.param, kind, it.default, it.doc);
        next += 1;
        if !it.alias.is_empty() {
            all[next] = Param::of(it.alias, kind, it.default, "Another name of the parameter before it.");
            next += 1;
        }
        at += 1;
    }
    all
}

/// The value of the first of these names that is given.
pub(super) fn given<'a>(params: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|it| params.get(*it).filter(|value| !value.is_null()))
}

/// The options of `docker create`, in the order of the schema.
pub(super) fn options(params: &Map<String, Value>) -> Result<Vec<String>, ParamsError> {
    let mut words = Vec::new();
    for it in OPTIONS {
        let Some(value) = given(params, &[it.param, it.alias]) else { continue };
        match it.form {
            Form::Value => {
                let text = scalar(value).filter(|text| !text.is_empty() && !text.contains(['\0', '\n']));
                let text = text.ok_or_else(|| {
                    invalid(it.param, format!("`{}` must be one line and not empty", it.param))
                })?;
                words.push(format!("--{}={text}", it.option));
            }
            Form::Switch => {
                let name =
                    if params.get(it.param).is_some_and(|it| !it.is_null()) { it.param } else { it.alias };
                let one = Map::from_iter([
                    (name.to_owned(), value.clone()),
                    ("name".to_owned(), "x".into()),
                    ("image".to_owned(), "x".into()),
                ]);
                let on = Args::new("docker_container.running", &PARAMS, &one)?.bool(name, false);
                match (on, it.option) {
                    (true, "") => words.push("--network=none".to_owned()),
                    (true, option) => words.push(format!("--{option}")),
                    (false, _) => (),
                }
            }
            Form::List(joint) => {
                let entries = entries(it.param, value, joint)?;
                words.extend(entries.into_iter().map(|entry| format!("--{}={entry}", it.option)));
            }
        }
    }
    Ok(words)
}

/// A mapping, a list of text and mappings, or a text with commas, as a list of text.
fn entries(param: &str, value: &Value, joint: &str) -> Result<Vec<String>, ParamsError> {
    let wrong = || ParamsError::WrongType {
        param: param.to_owned(),
        wanted: "a list of text, or a mapping of text to text".to_owned(),
    };
    let from_map = |map: &Map<String, Value>| -> Result<Vec<String>, ParamsError> {
        map.iter().map(|(key, it)| Ok(format!("{key}{joint}{}", scalar(it).ok_or_else(wrong)?))).collect()
    };
    let all = match value {
        Value::Object(map) => from_map(map)?,
        Value::Array(items) if items.len() <= ENTRIES_MAX => {
            let mut all = Vec::new();
            for item in items {
                match item {
                    Value::Object(map) => all.extend(from_map(map)?),
                    it => all.push(scalar(it).ok_or_else(wrong)?),
                }
            }
            all
        }
        Value::Array(_) => return Err(wrong()),
        text => {
            let text = scalar(text).ok_or_else(wrong)?;
            text.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
        }
    };
    if all.iter().any(|it| it.is_empty() || it.contains(['\0', '\n'])) {
        return Err(invalid(param, format!("`{param}`: each entry is one line and not empty")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_become_options() {
        let params = json!({
            "publish": ["8080:80", 443], "privileged": "yes", "tty": false, "memory": "512m",
            "log_opt": [{ "max-size": "10m" }, "max-file=3"], "extra_hosts": { "db": "10.0.0.5" },
            "network_disabled": true,
        });
        let Value::Object(params) = params else { unreachable!() };
        let wanted = [
            "--publish=8080:80",
            "--publish=443",
            "--network=none",
            "--add-host=db:10.0.0.5",
            "--log-opt=max-size=10m",
            "--log-opt=max-file=3",
            "--privileged",
            "--memory=512m",
        ];
        assert_eq!(options(&params).unwrap(), wanted);
        let bad = Map::from_iter([("hostname".to_owned(), json!("a\nb"))]);
        assert!(options(&bad).is_err());
    }
}

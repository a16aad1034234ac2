//! `docker_network`: networks of Docker.

use super::docker::{docker, inspect, joined, object_name, pairs, text, text_map};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::docker::Question,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "docker_network",
    doc: Doc::new("Networks of Docker."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A network exists, with these properties; what is not given is not compared. One that differs is \
                  made anew: its containers are disconnected first and connected again afterwards.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "proxy:\n  docker_network.present: []\n",
                "backend:\n  docker_network.present:\n    - subnet: 10.20.0.0/24\n    - gateway: 10.20.0.1\n    - \
                 internal: true\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("A network does not exist. Containers are disconnected from it first."),
            params: ABSENT,
            examples: Examples::new(&["old_net:\n  docker_network.absent: []\n"]),
            parse: absent,
        },
    ],
};

const ABSENT: &[Param] = &[Param::name("The network.")];
const PRESENT: &[Param] = &[
    ABSENT[0],
    Param::of(
        "driver",
        ParamType::Text,
        "bridge",
        "The driver: `bridge`, `macvlan`, `ipvlan`, `overlay`, ...",
    ),
    Param::of("driver_opts", ParamType::Any, "as they are", "Options of the driver, such as `parent: eth0`."),
    Param::of(
        "subnet",
        ParamType::TextList,
        "Docker's choice",
        "Its subnet, one for each family, as `10.0.0.0/24`.",
    ),
    Param::of(
        "gateway",
        ParamType::TextList,
        "Docker's choice",
        "Its gateway, one for each subnet in order.",
    ),
    Param::of(
        "ip_range",
        ParamType::TextList,
        "the subnet",
        "Addresses for containers, one for each subnet in order.",
    ),
    Param::of("aux_addresses", ParamType::Any, "none", "Addresses that containers do not get, by a name."),
    Param::of("ipam_driver", ParamType::Text, "default", "The driver that hands out addresses."),
    Param::of("ipam_opts", ParamType::Any, "none", "Its options."),
    Param::of("internal", ParamType::Bool, "false", "No way out of it."),
    Param::of("attachable", ParamType::Bool, "false", "Containers may be connected by hand (swarm)."),
    Param::of("enable_ipv6", ParamType::Bool, "false", "With IPv6."),
    Param::of("labels", ParamType::Any, "as they are", "Labels that it has at least."),
    Param::of(
        "containers",
        ParamType::TextList,
        "as they are",
        "The containers that are connected to it; any other is disconnected.",
    ),
    Param::of(
        "reconnect",
        ParamType::Bool,
        "true",
        "Connects containers again after the network was made anew.",
    ),
];

type Pairs = Vec<(String, String)>;

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Present {
    name: String,
    driver: String,
    driver_opts: Option<Pairs>,
    subnet: Vec<String>,
    gateway: Vec<String>,
    ip_range: Vec<String>,
    aux_addresses: Pairs,
    ipam_driver: Option<String>,
    ipam_opts: Pairs,
    internal: bool,
    attachable: bool,
    enable_ipv6: bool,
    labels: Pairs,
    containers: Option<Vec<String>>,
    reconnect: bool,
}

/// Digits, letters, dots, colons, and a slash: whether it is a good address is Docker's word.
fn address(param: &str, text: &str) -> Result<(), ParamsError> {
    let good = text.bytes().all(|it| it.is_ascii_hexdigit() || b".:/".contains(&it));
    if good && !text.is_empty() {
        Ok(())
    } else {
        Err(invalid(param, format!("`{text}` is no address; `{param}` is written as in `10.0.0.0/24`")))
    }
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_network.present", PRESENT, params)?;
    let name = args.name();
    object_name("name", &name)?;
    let map =
        |param: &str| params.get(param).filter(|it| !it.is_null()).map(|it| pairs(param, it)).transpose();
    let word = |param: &str| -> Result<Option<String>, ParamsError> {
        let text = args.text(param);
        text.iter().try_for_each(|it| super::docker::image_name(param, it))?;
        Ok(text)
    };
    let addresses = |param: &str| -> Result<Vec<String>, ParamsError> {
        let all = args.list(param).unwrap_or_default();
        all.iter().try_for_each(|it| address(param, it))?;
        Ok(all)
    };
    let subnet = addresses("subnet")?;
    let (gateway, ip_range) = (addresses("gateway")?, addresses("ip_range")?);
    for (param, given) in [("gateway", &gateway), ("ip_range", &ip_range)] {
        if given.len() > subnet.len() {
            return Err(invalid(param, format!("`{param}` needs a `subnet` for each")));
        }
    }
    let mut containers = args.list("containers");
    for it in containers.iter().flatten() {
        object_name("containers", it)?;
    }
    if let Some(it) = &mut containers {
        it.sort();
        it.dedup();
    }
    Ok(Box::new(Present {
        name,
        driver: word("driver")?.unwrap_or_else(|| "bridge".to_owned()),
        driver_opts: map("driver_opts")?,
        subnet,
        gateway,
        ip_range,
        aux_addresses: map("aux_addresses")?.unwrap_or_default(),
        ipam_driver: word("ipam_driver")?,
        ipam_opts: map("ipam_opts")?.unwrap_or_default(),
        internal: args.bool("internal", false),
        attachable: args.bool("attachable", false),
        enable_ipv6: args.bool("enable_ipv6", false),
        labels: map("labels")?.unwrap_or_default(),
        containers,
        reconnect: args.bool("reconnect", true),
    }))
}

/// Names of the containers that are connected, in order. Docker lists those that run.
fn connected(network: &Value) -> Vec<String> {
    let all = network.pointer("/Containers").and_then(Value::as_object).into_iter().flatten();
    let mut names: Vec<String> = all.map(|(_, it)| text(it, "/Name").to_owned()).collect();
    names.sort();
    names
}

/// A property of each pool of addresses, in order, without those that are empty.
fn pools(network: &Value, key: &str) -> Vec<String> {
    let all = network.pointer("/IPAM/Config").and_then(Value::as_array).into_iter().flatten();
    all.map(|it| text(it, key).to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Those of `all` whose name is among `wanted`.
fn only(all: Pairs, wanted: &Pairs) -> Pairs {
    all.into_iter().filter(|(key, _)| wanted.iter().any(|it| it.0 == *key)).collect()
}

impl Present {
    /// What only a new network can have.
    fn compare(&self, now: &Value, plan: &mut Plan) {
        let flag = |pointer: &str| now.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
        plan.differ("driver", Some(&text(now, "/Driver").to_owned()), &self.driver);
        plan.differ("internal", Some(&flag("/Internal")), &self.internal);
        plan.differ("attachable", Some(&flag("/Attachable")), &self.attachable);
        plan.differ("enable_ipv6", Some(&flag("/EnableIPv6")), &self.enable_ipv6);
        if let Some(wanted) = &self.driver_opts {
            let is = only(text_map(now, "/Options"), wanted);
            plan.differ("driver_opts", Some(&joined(&is)), &joined(wanted));
        }
        let lists = [
            ("subnet", "/Subnet", &self.subnet),
            ("gateway", "/Gateway", &self.gateway),
            ("ip_range", "/IPRange", &self.ip_range),
        ];
        for (what, key, wanted) in lists.into_iter().filter(|it| !it.2.is_empty()) {
            plan.differ(what, Some(&pools(now, key).join(", ")), &wanted.join(", "));
        }
        if let Some(wanted) = &self.ipam_driver {
            plan.differ("ipam_driver", Some(&text(now, "/IPAM/Driver").to_owned()), wanted);
        }
        let aux = now.pointer("/IPAM/Config/0").map(|it| text_map(it, "/AuxiliaryAddresses"));
        let maps = [
            ("aux_addresses", aux.unwrap_or_default(), &self.aux_addresses),
            ("ipam_opts", text_map(now, "/IPAM/Options"), &self.ipam_opts),
            ("labels", text_map(now, "/Labels"), &self.labels),
        ];
        for (what, is, wanted) in maps {
            plan.differ(what, Some(&joined(&only(is, wanted))), &joined(wanted));
        }
    }

    fn create(&self, host: &mut dyn Host) -> Result<(), Error> {
        let mut words = vec!["network".to_owned(), "create".to_owned(), format!("--driver={}", self.driver)];
        let flags =
            [("internal", self.internal), ("attachable", self.attachable), ("ipv6", self.enable_ipv6)];
        words.extend(flags.iter().filter(|it| it.1).map(|it| format!("--{}", it.0)));
        if let Some(driver) = &self.ipam_driver {
            words.push(format!("--ipam-driver={driver}"));
        }
        let lists = [("subnet", &self.subnet), ("gateway", &self.gateway), ("ip-range", &self.ip_range)];
        for (option, values) in lists {
            words.extend(values.iter().map(|it| format!("--{option}={it}")));
        }
        let none = Vec::new();
        let maps = [
            ("opt", self.driver_opts.as_ref().unwrap_or(&none)),
            ("ipam-opt", &self.ipam_opts),
            ("aux-address", &self.aux_addresses),
            ("label", &self.labels),
        ];
        for (option, pairs) in maps {
            words.extend(pairs.iter().map(|(key, value)| format!("--{option}={key}={value}")));
        }
        words.extend(["--".to_owned(), self.name.clone()]);
        docker(host, &words).map(drop)
    }
}

fn disconnect(network: &str, containers: &[String], host: &mut dyn Host) -> Result<(), Error> {
    for it in containers {
        docker(host, &["network", "disconnect", "--force", "--", network, it])?;
    }
    Ok(())
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = inspect(host, Question::Network(self.name.clone()))?;
        match &now {
            None => plan.differ("network", None, &self.name),
            Some(now) => self.compare(now, &mut plan),
        }
        if let Some(wanted) = &self.containers {
            let is = now.as_ref().map(|it| connected(it).join(", ")).filter(|it| !it.is_empty());
            if is.clone().unwrap_or_default() != wanted.join(", ") {
                plan.differ("containers", is.as_ref(), &wanted.join(", "));
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let now = inspect(host, Question::Network(self.name.clone()))?;
        let mut there = now.as_ref().map(connected).unwrap_or_default();
        if plan.changes.iter().any(|it| it.what != "containers") {
            let before = std::mem::take(&mut there);
            if now.is_some() {
                disconnect(&self.name, &before, host)?;
                docker(host, &["network", "rm", "--", &self.name])?;
            }
            self.create(host)?;
            if self.reconnect && self.containers.is_none() {
                for it in &before {
                    docker(host, &["network", "connect", "--", &self.name, it])?;
                }
            }
        }
        let Some(wanted) = &self.containers else { return Ok(Applied::default()) };
        let extra: Vec<String> = there.iter().filter(|it| !wanted.contains(it)).cloned().collect();
        disconnect(&self.name, &extra, host)?;
        for it in wanted.iter().filter(|it| !there.contains(it)) {
            docker(host, &["network", "connect", "--", &self.name, it])?;
        }
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent(String);

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_network.absent", ABSENT, params)?;
    object_name("name", &args.name())?;
    Ok(Box::new(Absent(args.name())))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if inspect(host, Question::Network(self.0.clone()))?.is_some() {
            let from = Some(self.0.clone());
            plan.push(Change { what: "network".to_owned(), from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if let Some(now) = inspect(host, Question::Network(self.0.clone()))? {
            disconnect(&self.0, &connected(&now), host)?;
        }
        docker(host, &["network", "rm", "--", &self.0])?;
        Ok(Applied::default())
    }
}

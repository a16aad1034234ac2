//! `wireguard`: tunnels, as files for `wg-quick`.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Command, Query, query::wireguard::Question},
    tool,
    wanted_file::{WantedFile, compare_absent},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "wireguard",
    doc: Doc::new("WireGuard tunnels."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A tunnel is configured in `/etc/wireguard/NAME.conf`, readable for root only; keys are never shown. Whether it \
                  is up is left to `service.running` with `wg-quick@NAME`. Where it is up, a change of keys and peers is brought \
                  into it at once without a break for the other peers (`wg syncconf`); addresses and commands need a restart \
                  of the service.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "wg0:\n  wireguard.present:\n    - private_key: '{{ pillar.wg_key }}'\n    - address: 10.8.0.1/24\n    - listen_port: \
                 51820\n    - peers:\n      - public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n        allowed_ips: \
                 [10.8.0.2/32]\n        comment: laptop\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A tunnel is not configured. One that is up stays so: stop `wg-quick@NAME` with `service.dead` before.",
            ),
            params: ABSENT,
            examples: Examples::new(&["wg0:\n  wireguard.absent: []\n"]),
            parse: absent,
        },
    ],
};

const ABSENT: &[Param] = &[Param::name("The interface, such as `wg0`.")];
const PRESENT: &[Param] = &[
    ABSENT[0],
    Param::of(
        "private_key",
        ParamType::Text,
        "",
        "Its key, as `wg genkey` prints it; it belongs into a secret pillar.",
    )
    .required(),
    Param::of("address", ParamType::TextList, "none", "Its addresses, as `10.8.0.1/24`."),
    Param::of("listen_port", ParamType::Integer, "chosen at random", "Its port."),
    Param::of("fwmark", ParamType::Text, "none", "The mark of its packets."),
    Param::of("dns", ParamType::TextList, "none", "Name servers while it is up."),
    Param::of("mtu", ParamType::Integer, "found out", "Its largest packet."),
    Param::of("table", ParamType::Text, "auto", "The routing table: `auto`, `off` or a number."),
    Param::of("pre_up", ParamType::TextList, "none", "Commands before it goes up; `%i` is the interface."),
    Param::of("post_up", ParamType::TextList, "none", "Commands after it went up."),
    Param::of("pre_down", ParamType::TextList, "none", "Commands before it goes down."),
    Param::of("post_down", ParamType::TextList, "none", "Commands after it went down."),
    Param::of(
        "peers",
        ParamType::Any,
        "none",
        "A list of mappings with `public_key`, `allowed_ips`, and if wanted `endpoint`, `preshared_key`, \
         `persistent_keepalive` and `comment`.",
    ),
    Param::of("sync", ParamType::Bool, "true", "Brings keys and peers into a tunnel that is up."),
];

/// Longest name of an interface.
const NAME_BYTES_MAX: usize = 15;
/// Most peers of a tunnel.
const PEERS_MAX: usize = 10_000;

fn file(name: &str, contents: String) -> WantedFile {
    let path = PathBuf::from(format!("/etc/wireguard/{name}.conf"));
    WantedFile { path, contents, mode: 0o600, secret_keys: &["PrivateKey", "PresharedKey"] }
}

fn interface(args: &Args<'_>) -> Result<String, ParamsError> {
    let name = args.name();
    plain_word("name", &name)?;
    let good = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_=+.-".contains(&it));
    if good && name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    Err(invalid("name", format!("`{name}` is no interface: at most {NAME_BYTES_MAX} letters and digits")))
}

/// 32 bytes in base64. The complaint does not repeat it.
fn key(param: &str, text: &str) -> Result<String, ParamsError> {
    let text = text.trim();
    let good = |it: u8| it.is_ascii_alphanumeric() || b"+/".contains(&it);
    match text.strip_suffix('=') {
        Some(rest) if rest.len() == 43 && rest.bytes().all(good) => Ok(text.to_owned()),
        _ => Err(invalid(param, format!("`{param}` is no key: 44 letters that end in `=`"))),
    }
}

fn line(param: &str, text: &str) -> Result<String, ParamsError> {
    if text.is_empty() || text.contains(['\n', '\r', '\0', '#']) {
        return Err(invalid(param, format!("`{param}` must be one line without `#`")));
    }
    Ok(text.to_owned())
}

/// The whole file, and the part of it that `wg` itself reads.
struct Configuration {
    whole: String,
    stripped: String,
}

impl Configuration {
    /// Only in the file.
    fn whole(&mut self, text: &str) {
        self.whole.push_str(text);
    }
    fn both(&mut self, text: &str) {
        self.whole.push_str(text);
        self.stripped.push_str(text);
    }
}

fn configuration(args: &Args<'_>, params: &Map<String, Value>) -> Result<Configuration, ParamsError> {
    let mut all = Configuration {
        whole: "# Made by labctl: changes here are lost.\n".to_owned(),
        stripped: String::new(),
    };
    all.both("[Interface]\n");
    all.both(&format!(
        "PrivateKey = {}\n",
        key("private_key", &args.text("private_key").unwrap_or_default())?
    ));
    if let Some(port) = args.number("listen_port") {
        let port = u16::try_from(port).map_err(|_| invalid("listen_port", "`listen_port` must be a port"))?;
        all.both(&format!("ListenPort = {port}\n"));
    }
    if let Some(mark) = args.text("fwmark") {
        all.both(&format!("FwMark = {}\n", line("fwmark", &mark)?));
    }
    for (param, name) in [("address", "Address"), ("dns", "DNS")] {
        if let Some(items) = args.list(param) {
            all.whole(&format!("{name} = {}\n", line(param, &items.join(", "))?));
        }
    }
    for (param, name) in [("mtu", "MTU"), ("table", "Table")] {
        if let Some(text) = args.text(param) {
            all.whole(&format!("{name} = {}\n", line(param, &text)?));
        }
    }
    for (param, name) in
        [("pre_up", "PreUp"), ("post_up", "PostUp"), ("pre_down", "PreDown"), ("post_down", "PostDown")]
    {
        for command in args.list(param).unwrap_or_default() {
            all.whole(&format!("{name} = {}\n", line(param, &command)?));
        }
    }
    let peers = match params.get("peers") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) if items.len() <= PEERS_MAX => items.clone(),
        Some(_) => return Err(invalid("peers", "`peers` must be a list of mappings")),
    };
    for it in &peers {
        peer(it, &mut all)?;
    }
    Ok(all)
}

fn peer(value: &Value, all: &mut Configuration) -> Result<(), ParamsError> {
    let map = value.as_object().ok_or_else(|| invalid("peers", "each of `peers` must be a mapping"))?;
    let schema = [
        Param::of("public_key", ParamType::Text, "", "").required(),
        Param::of("preshared_key", ParamType::Text, "", ""),
        Param::of("allowed_ips", ParamType::TextList, "", ""),
        Param::of("endpoint", ParamType::Text, "", ""),
        Param::of("persistent_keepalive", ParamType::Integer, "", ""),
        Param::of("comment", ParamType::Text, "", ""),
    ];
    let args = Args::new("a peer of wireguard.present", &schema, map)?;
    all.both("\n[Peer]\n");
    if let Some(comment) = args.text("comment") {
        all.whole(&format!("# {}\n", line("comment", &comment)?));
    }
    all.both(&format!("PublicKey = {}\n", key("public_key", &args.text("public_key").unwrap_or_default())?));
    if let Some(text) = args.text("preshared_key") {
        all.both(&format!("PresharedKey = {}\n", key("preshared_key", &text)?));
    }
    if let Some(items) = args.list("allowed_ips") {
        all.both(&format!("AllowedIPs = {}\n", line("allowed_ips", &items.join(", "))?));
    }
    if let Some(text) = args.text("endpoint") {
        all.both(&format!("Endpoint = {}\n", line("endpoint", &text)?));
    }
    if let Some(seconds) = args.number("persistent_keepalive") {
        let seconds = u16::try_from(seconds)
            .map_err(|_| invalid("peers", "`persistent_keepalive` must be 0 to 65535 seconds"))?;
        all.both(&format!("PersistentKeepalive = {seconds}\n"));
    }
    Ok(())
}

struct Present {
    name: String,
    file: WantedFile,
    /// What `wg syncconf` reads.
    stripped: String,
    sync: bool,
}

impl std::fmt::Debug for Present {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.name, self.file)
    }
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("wireguard.present", PRESENT, params)?;
    let name = interface(&args)?;
    let all = configuration(&args, params)?;
    let file = file(&name, all.whole);
    Ok(Box::new(Present { name, file, stripped: all.stripped, sync: args.bool("sync", true) }))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.file.compare("configuration", host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        // While it is not in place the change is still to be done: so it is brought into the tunnel first.
        if self.sync && plan.touches("configuration") {
            let up = tool::answer(host, &Query::Wireguard(Question::Interfaces))?;
            if up.split_whitespace().any(|it| it == self.name) {
                let command = tool::command(&["wg", "syncconf", &self.name, "/dev/stdin"], tool::SHORT_MS);
                let command = Command { stdin: Some(self.stripped.clone()), ..command };
                tool::run(host, command, &format!("wg syncconf {}", self.name))?;
            }
        }
        self.file.write(host)?;
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent(PathBuf);

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("wireguard.absent", ABSENT, params)?;
    Ok(Box::new(Absent(file(&interface(&args)?, String::new()).path)))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        compare_absent("configuration", &self.0, host, &mut plan)?;
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        host.remove(&self.0).map_err(Error::host("remove", self.0.display()))?;
        Ok(Applied::default())
    }
}

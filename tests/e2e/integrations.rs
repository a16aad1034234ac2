//! Programs of others as the how-to pages set them up: mosquitto as a bridge with the very text of the page, a plug that
//! is switched by it or over HTTP, and dnsmasq and Prometheus with the files that shipped states write.

use crate::observers::client::{User, certificate, has_mosquitto};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tests::{
    has,
    lab::{LIMIT, Lab},
    project, skip, wait,
};

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A free port of loopback.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The first block of a page that has this in it.
fn block(page: &str, holds: &str) -> String {
    let text = fs::read_to_string(project().join("docs/how-to").join(page)).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    let found = blocks.filter_map(|it| it.split_once('\n')).map(|it| it.1).find(|it| it.contains(holds));
    found.unwrap_or_else(|| panic!("{page} has no block with {holds}")).to_owned()
}

/// With each of these in place of what stands there exactly once.
fn with(mut text: String, changes: &[(&str, &str)]) -> String {
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "the page says `{from}` once:\n{text}");
        text = text.replace(from, to);
    }
    text
}

fn events(lab: &Lab, tag: &str) -> Vec<Value> {
    let said = lab.labctl(&["event", "list", tag, "-o", "json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    json["items"].as_array().cloned().unwrap_or_default()
}

fn event(lab: &Lab, tag: &str) -> Value {
    wait::until(&format!("the event {tag}\n{}", lab.logs()), LIMIT, || events(lab, tag).pop())
}

/// Writes `notify.yaml`.
fn notify(lab: &Lab, text: &str) {
    let path = lab.root().join("etc/labctl/notify.yaml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A real mosquitto of the homelab, which is a bridge to the master as the page says.
struct Broker {
    _running: Running,
    port: String,
    log: PathBuf,
}

impl Broker {
    fn start(lab: &Lab) -> Self {
        let (user, ca) = (User::create(lab, "tasmota", "integration"), certificate(lab));
        let bridge = with(
            block("integrations.md", "connection labctl"),
            &[
                ("address master.lab:8883", &format!("address 127.0.0.1:{}", lab.mqtt())),
                ("/etc/mosquitto/lab-ca.pem", ca.to_str().unwrap()),
                ("remote_password SECRET", &format!("remote_password {}", user.secret)),
            ],
        );
        let (port, folder) = (free_port().to_string(), lab.folder());
        let own = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n");
        let (config, log) = (folder.join("mosquitto.conf"), folder.join("mosquitto.log"));
        fs::write(&config, format!("{own}{bridge}")).unwrap();
        let program = if has("mosquitto") { "mosquitto" } else { "/usr/sbin/mosquitto" };
        let mut command = Command::new(program);
        command.arg("-v").arg("-c").arg(&config).stdin(Stdio::null());
        let to = File::create(&log).unwrap();
        let running = Running(command.stdout(to.try_clone().unwrap()).stderr(to).spawn().unwrap());
        let it = Self { _running: running, port, log };
        let listens = || TcpStream::connect(format!("127.0.0.1:{}", it.port)).ok();
        assert!(wait::try_until(LIMIT, listens).is_some(), "mosquitto does not listen:\n{}", it.logs());
        it
    }
    fn logs(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
    fn publish(&self, topic: &str, payload: &str) {
        let mut command = Command::new("mosquitto_pub");
        let output =
            command.args(["-p", &self.port, "-q", "1", "-t", topic, "-m", payload]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    /// Publishes again and again until it has arrived: the bridge may not be there yet.
    fn until_arrived(&self, lab: &Lab, (topic, payload): (&str, &str), tag: &str) -> Value {
        let what = format!("{tag}\n{}\n{}", self.logs(), lab.logs());
        wait::until(&what, LIMIT, || {
            self.publish(topic, payload);
            events(lab, tag).pop()
        })
    }
    /// What a device hears on a topic.
    fn listen(&self, topic: &str) -> (Running, Receiver<String>) {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-p", &self.port, "-q", "1", "-v", "-t", topic, "-t", "here"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, heard) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        wait::until("the device to listen", LIMIT, || {
            self.publish("here", "x");
            heard.try_recv().ok()
        });
        (Running(child), heard)
    }
}

/// The next one that is about it.
fn heard(from: &Receiver<String>, about: &str) -> String {
    loop {
        let line = from.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("nothing is heard of {about}"));
        if line.starts_with(about) {
            return line;
        }
    }
}

#[test]
fn what_devices_say_at_mosquitto_is_an_event_by_the_bridge_of_the_page() {
    let test = "what_devices_say_at_mosquitto_is_an_event_by_the_bridge_of_the_page";
    if !has("mosquitto") {
        return skip(test, "mosquitto is not installed");
    }
    if !has_mosquitto(test) {
        return;
    }
    let mut lab = Lab::prepare();
    lab.tree("reactors/lamp.yaml", &block("integrations.md", "lamp-on:"));
    notify(&lab, "notifiers:\n  phone: { type: mqtt }\n");
    lab.start_master();
    let broker = Broker::start(&lab);
    let lamp = broker.until_arrived(&lab, ("stat/lamp/POWER", "ON"), "integration/tasmota/stat/lamp/POWER");
    assert_eq!(lamp["data"], serde_json::json!({"value": "ON"}), "{lamp}");
    event(&lab, "rule/lamp-on/lamp");
    // As Tasmota writes it.
    let state = r#"{"Time":"2026-11-20T23:50:00","Uptime":"0T00:10:11","POWER":"ON","Wifi":{"RSSI":72}}"#;
    let told = broker.until_arrived(&lab, ("tele/lamp/STATE", state), "integration/tasmota/tele/lamp/STATE");
    assert_eq!((&told["data"]["POWER"], &told["data"]["Wifi"]["RSSI"]), (&"ON".into(), &72.into()), "{told}");
    broker.publish("secret/lamp/POWER", "ON");
    broker.until_arrived(&lab, ("tele/lamp/SENSOR", "21.5"), "integration/tasmota/tele/lamp/SENSOR");
    assert!(!lab.labctl(&["event", "list"]).stdout.contains("secret/lamp"), "only what the page names");
}

const POWER: &str = "\
switch:
  on: user/+/switch
  do:
    - power: { target: vm-1, set: {{event.set}}, by: {{event.by}}, wait: {{event.wait}} }
    - event: { tag: 'done-{{event.set}}-{{event.by}}' }
  on_failure:
    - event: { tag: 'failed-{{event.set}}-{{event.by}}', data: { reason: '{{failure.reason}}' } }
";

/// The same rule once for each way to switch: `set`, `by` and `wait` are no templates.
fn rules() -> String {
    let mut text = String::new();
    for (set, by, wait) in
        [("on", "plug", "60s"), ("off", "plug", "60s"), ("off", "relay", "1s"), ("on", "relay", "60s")]
    {
        let name = format!("{set}-{by}");
        let rule =
            POWER.replace("user/+/switch", &format!("user/+/{name}")).replace("switch:", &format!("{name}:"));
        text +=
            &rule.replace("{{event.set}}", set).replace("{{event.by}}", by).replace("{{event.wait}}", wait);
    }
    text
}

/// A plug of the network that writes down what it is asked.
fn plug() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let first = String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"POWER\":\"ON\"}");
            let _ = tell.send(first);
        }
    });
    (port, heard)
}

fn lab_with_plugs(by_mqtt: bool) -> (Lab, usize, Receiver<String>) {
    let (port, asked) = plug();
    let mut lab = Lab::prepare();
    let on_off = |word: &str| format!("'http://127.0.0.1:{port}/cm?cmnd=Power%20{word}'");
    let mqtt = if by_mqtt { "  plug-hv1: { type: mqtt }\n" } else { "" };
    let relay = format!("  relay: {{ type: http, on: {}, off: {} }}\n", on_off("On"), on_off("off"));
    notify(&lab, &format!("power:\n{mqtt}{relay}"));
    let kept = |rule: &&str| by_mqtt || !rule.contains("by: plug");
    let rules = rules().replace("by: plug", "by: plug-hv1");
    let rules: Vec<&str> = rules.split_inclusive("failure.reason}}' } }\n").filter(kept).collect();
    lab.tree("reactors/power.yaml", &rules.concat());
    lab.start_master();
    let seed = lab.seed("vm-*", &[]);
    let vm = lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    (lab, vm, asked)
}

fn stop(lab: &mut Lab, vm: usize) {
    lab.agent(vm).signal("TERM");
    wait::until("the agent to end", LIMIT, || lab.agent(vm).ended().then_some(()));
}

fn has_event(lab: &Lab, tag: &str) -> bool {
    !events(lab, tag).is_empty()
}

#[test]
fn a_plug_is_switched_over_http_and_presence_waited_for_but_not_for_ever() {
    let (mut lab, vm, asked) = lab_with_plugs(false);
    // It does not go off: that is a failure in time, which says what was waited for.
    lab.labctl(&["event", "send", "off-relay"]).expect(0);
    assert_eq!(asked.recv_timeout(LIMIT).unwrap(), "GET /cm?cmnd=Power%20off HTTP/1.1");
    let failed = event(&lab, "rule/off-relay/failed-off-relay");
    let reason = failed["data"]["reason"].as_str().unwrap();
    assert_eq!(reason, "wait until vm-1 is down: it did not come in time");
    assert!(!has_event(&lab, "rule/off-relay/done-off-relay"));
    stop(&mut lab, vm);
    lab.labctl(&["event", "send", "off-relay"]).expect(0);
    event(&lab, "rule/off-relay/done-off-relay");
    asked.recv_timeout(LIMIT).unwrap();
    lab.labctl(&["event", "send", "on-relay"]).expect(0);
    assert_eq!(asked.recv_timeout(LIMIT).unwrap(), "GET /cm?cmnd=Power%20On HTTP/1.1");
    assert!(!has_event(&lab, "rule/on-relay/done-on-relay"), "it is switched, and not there yet");
    lab.restart(vm);
    event(&lab, "rule/on-relay/done-on-relay");
}

#[test]
fn a_plug_of_tasmota_is_switched_through_mosquitto_and_says_that_it_is() {
    let test = "a_plug_of_tasmota_is_switched_through_mosquitto_and_says_that_it_is";
    if !has("mosquitto") {
        return skip(test, "mosquitto is not installed");
    }
    if !has_mosquitto(test) {
        return;
    }
    let (mut lab, vm, _asked) = lab_with_plugs(true);
    let broker = Broker::start(&lab);
    let (_device, commands) = broker.listen("cmnd/plug-hv1/POWER");
    // The bridge is there, both ways, when what a device says arrives.
    broker.until_arrived(&lab, ("stat/plug-hv1/POWER", "ON"), "integration/tasmota/stat/plug-hv1/POWER");
    lab.labctl(&["event", "send", "off-plug"]).expect(0);
    assert_eq!(heard(&commands, "cmnd/"), "cmnd/plug-hv1/POWER OFF");
    assert!(!has_event(&lab, "rule/off-plug/done-off-plug"));
    stop(&mut lab, vm);
    event(&lab, "rule/off-plug/done-off-plug");
    lab.labctl(&["event", "send", "on-plug"]).expect(0);
    assert_eq!(heard(&commands, "cmnd/"), "cmnd/plug-hv1/POWER ON");
    broker.publish("stat/plug-hv1/POWER", "ON");
    lab.restart(vm);
    event(&lab, "rule/on-plug/done-on-plug");
}

/// Asks a name server for the address of a name.
fn resolve(port: u16, name: &str) -> Option<Ipv4Addr> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(&query, ("127.0.0.1", port)).ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    // One answer is of one address, at its end.
    (answer[7] == 1).then(|| Ipv4Addr::from(<[u8; 4]>::try_from(&answer[length - 4..length]).unwrap()))
}

fn copy(lab: &Lab, from: &Path, to: &str) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = format!("{to}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            copy(lab, &entry.path(), &to);
        } else {
            lab.tree(&to, &fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn lab_with_names() -> Lab {
    let mut lab = Lab::prepare();
    for folder in ["states/dns", "states/prometheus"] {
        copy(&lab, &project().join(folder), folder);
    }
    lab.start_master();
    let seed = lab.seed("vm-*", &["-l", "monitored=yes", "-l", "role=web", "-l", "roster=yes"]);
    for id in ["vm-1", "vm-2"] {
        lab.launch(id, &seed);
    }
    for id in ["vm-1", "vm-2"] {
        lab.wait_up(id);
    }
    lab
}

#[test]
fn dnsmasq_answers_with_what_the_shipped_states_write_and_sees_that_it_changed() {
    let test = "dnsmasq_answers_with_what_the_shipped_states_write_and_sees_that_it_changed";
    if !has("dnsmasq") {
        return skip(test, "dnsmasq is not installed");
    }
    let lab = lab_with_names();
    lab.labctl(&["target", "vm-1", "apply", "dns"]).expect(0);
    let hosts = lab.on_minion("vm-1", "/etc/dnsmasq.hosts");
    let zone = fs::read_to_string(hosts.join("labctl")).unwrap();
    let addresses: BTreeMap<&str, &str> = zone
        .lines()
        .filter(|it| !it.starts_with('#'))
        .filter_map(|it| it.split_once(' '))
        .map(|(address, names)| (names.split(' ').next_back().unwrap(), address))
        .collect();
    assert_eq!(addresses.len(), 2, "{zone}");
    let written = fs::read_to_string(lab.on_minion("vm-1", "/etc/dnsmasq.d/labctl.conf")).unwrap();
    let port = free_port();
    let own = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\ngroup=root\n\
         pid-file={}\n",
        lab.folder().join("dnsmasq.pid").display()
    );
    let config = lab.folder().join("dnsmasq.conf");
    let written = with(written, &[("/etc/dnsmasq.hosts", hosts.to_str().unwrap())]);
    fs::write(&config, format!("{own}{written}")).unwrap();
    let program = if Path::new("/usr/sbin/dnsmasq").exists() { "/usr/sbin/dnsmasq" } else { "dnsmasq" };
    let of_config = format!("--conf-file={}", config.display());
    let checked = Command::new(program).args(["--test", &of_config]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let mut command = Command::new(program);
    let log = File::create(lab.folder().join("dnsmasq.log")).unwrap();
    let _running = Running(
        command.args(["--keep-in-foreground", &of_config]).stdin(Stdio::null()).stderr(log).spawn().unwrap(),
    );
    for name in ["vm-1", "vm-2"] {
        for name in [name.to_owned(), format!("{name}.lab")] {
            let found = wait::until(&format!("{name} to be answered"), LIMIT, || resolve(port, &name));
            let short = name.split('.').next().unwrap();
            assert_eq!(found.to_string(), addresses[short], "{name}");
        }
    }
    assert_eq!(resolve(port, "vm-9.lab"), None);
    // A machine is forgotten: so is its name, without a word to dnsmasq.
    lab.labctl(&["minion", "remove", "vm-2", "--yes"]).expect(0);
    lab.labctl(&["target", "vm-1", "apply", "dns.zone"]).expect(0);
    wait::until("the name to be gone", LIMIT, || resolve(port, "vm-2.lab").is_none().then_some(()));
    assert!(resolve(port, "vm-1.lab").is_some(), "the other one is still there");
}

/// As `file_sd_configs` of Prometheus wants it: a list of groups that have `targets`, texts, and `labels`, texts by name,
/// and nothing else. Prometheus itself is some 200 MB.
#[test]
fn prometheus_can_read_the_targets_that_the_shipped_state_writes() {
    let lab = lab_with_names();
    lab.labctl(&["target", "vm-1", "apply", "prometheus.targets"]).expect(0);
    let text = fs::read_to_string(lab.on_minion("vm-1", "/etc/prometheus/labctl.json")).unwrap();
    let groups: Vec<BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    for group in &groups {
        assert!(group.keys().all(|it| ["targets", "labels"].contains(&it.as_str())), "{text}");
        for target in group["targets"].as_array().unwrap() {
            let (host, port) = target.as_str().unwrap().rsplit_once(':').unwrap();
            assert!(!host.contains('/') && port.parse::<u16>().is_ok(), "{text}");
        }
        let labels = group.get("labels").and_then(Value::as_object).into_iter().flatten();
        for (name, value) in labels {
            let good = |it: char| it.is_ascii_alphanumeric() || it == '_';
            assert!(name.chars().all(good) && !name.starts_with(|it: char| it.is_ascii_digit()), "{text}");
            assert!(value.is_string(), "{text}");
            found.extend((name == "minion").then(|| value.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(found, ["vm-1", "vm-2"], "{text}");
}

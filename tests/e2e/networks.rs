//! Networks of our own, in namespaces: links that go down and addresses that come and go are told by the kernel, a check
//! notices who does not answer, and packets that wake machines arrive in every network.

use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{
    has,
    hosts::Bridge,
    is_root,
    lab::{Around, LIMIT, Lab},
    skip, wait,
};

const PILLAR: &str = "\
beacons:
  network: { settle: 100ms, ignore: [\"x*\"] }
  check: { ping: 10.78.0.2, interval: 300ms, timeout: 500ms, times: 1 }
";
const RULES: &str = "\
wake:
  on: user/+/wake
  do:
    - wake: { mac: '52-54-00-AB-cd-ef' }
wake-via:
  on: user/+/wake-via
  do:
    - wake: { mac: '52:54:00:ab:cd:01', via: vm-2 }
";
/// Longest from a change to its event at the master, on a machine that has other things to do.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Writes down what comes to port 9, a line of digits for each packet.
const LISTENER: &str = "\
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 9))
print('listens', flush=True)
while True:
    data, _ = s.recvfrom(2000)
    print(data.hex(), flush=True)
";

fn missing() -> Option<&'static str> {
    if !is_root() {
        return Some("needs root for network namespaces");
    }
    (!has("ip")).then_some("needs ip")
}

fn ip(namespace: &str, words: &str) {
    let status = Command::new("ip").args(["-n", namespace]).args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip -n {namespace} {words}");
}

/// What was told of something, newest last.
fn told(lab: &Lab, filter: &str) -> Vec<Value> {
    let said = lab.labctl(&["event", "list", filter, "-o", "json"]);
    let listed: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    listed["items"].as_array().into_iter().flatten().map(|it| it["data"].clone()).collect()
}

fn beacon(lab: &Lab, name: &str) -> Option<Value> {
    let said = lab.labctl(&["beacon", "show", "vm-2", name, "-o", "json"]);
    let shown: Value = serde_json::from_str(&said.stdout).ok()?;
    tests::lab::find(&shown, "looks").is_some().then_some(shown)
}

#[test]
fn links_and_addresses_of_a_real_network_are_told_by_the_kernel() {
    let test = "links_and_addresses_of_a_real_network_are_told_by_the_kernel";
    if let Some(reason) = missing() {
        return skip(test, reason);
    }
    let mut bridge = Bridge::new();
    let (home, other) = (bridge.attach(1), bridge.attach(2));
    // A second network between them, beside the one that the master is reached by.
    ip(&other, &format!("link add lan0 type veth peer name peer0 netns {home}"));
    ip(&home, "addr add 10.78.0.2/24 dev peer0");
    ip(&home, "link set peer0 up");
    let mut lab = Lab::prepare_on("10.77.0.1", &home);
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - watch\n");
    lab.tree("pillar/watch.sls", PILLAR);
    lab.start_master();
    let seed = lab.seed("vm-*", &["--cidr", "10.77.0.0/24"]);
    lab.launch_in("vm-2", &seed, Around::namespace(&other));
    lab.wait_up("vm-2");
    wait::until(&format!("the beacon\n{}", lab.logs()), LIMIT, || beacon(&lab, "network"));

    let tell = |what: &str, address: Option<&str>, state: &str, action: &str| {
        let before = told(&lab, "minion/+/beacon/network").len();
        let start = Instant::now();
        ip(&other, action);
        let wanted = |it: &Value| it["interface"] == "lan0" && it["what"] == what && it["state"] == state;
        let found = wait::until(&format!("{what} {state} after {action}\n{}", lab.logs()), LIMIT, || {
            let all = told(&lab, "minion/+/beacon/network");
            all.into_iter().skip(before).find(wanted)
        });
        assert_eq!(found["address"].as_str(), address, "{found}");
        assert!(start.elapsed() < DELAY_MAX, "{action}: {:?}", start.elapsed());
    };
    tell("link", None, "on", "link set lan0 up");
    tell("address", Some("10.78.0.1/24"), "on", "addr add 10.78.0.1/24 dev lan0");
    tell("address", Some("fd78::1/64"), "on", "-6 addr add fd78::1/64 dev lan0 nodad");
    if has("ping") {
        wait::until("the other end to answer", LIMIT, || {
            let last = told(&lab, "minion/+/beacon/check").pop();
            // It is thought well of at first: down before there was a way, up since.
            last.is_none_or(|it| it["state"] == "up").then_some(())
        });
    } else {
        skip(test, "iputils-ping is not installed");
    }
    // The other end loses its link: this one has no carrier any more.
    ip(&home, "link set peer0 down");
    let down = wait::until(&format!("the carrier to be lost\n{}", lab.logs()), LIMIT, || {
        told(&lab, "minion/+/beacon/network").pop().filter(|it| it["what"] == "link" && it["state"] == "off")
    });
    assert_eq!(down["interface"], "lan0", "{down}");
    if has("ping") {
        let down = wait::until("the check to notice", LIMIT, || {
            told(&lab, "minion/+/beacon/check").pop().filter(|it| it["state"] == "down")
        });
        assert_eq!((&down["target"], down["reason"].is_string()), (&"10.78.0.2".into(), true), "{down}");
    }
    ip(&home, "link set peer0 up");
    wait::until("the carrier to be back", LIMIT, || {
        told(&lab, "minion/+/beacon/network").pop().filter(|it| it["what"] == "link" && it["state"] == "on")
    });
    tell("address", Some("10.78.0.1/24"), "off", "addr del 10.78.0.1/24 dev lan0");
    tell("link", None, "off", "link del lan0");

    // While nothing happens nobody looks, and an interface that does not count is not told of.
    let looks =
        || tests::lab::find(&beacon(&lab, "network").unwrap(), "looks").and_then(Value::as_u64).unwrap();
    let (before, events) = (looks(), told(&lab, "minion/+/beacon/network").len());
    ip(&other, "link add x9 type veth peer name x8");
    ip(&other, "link set x9 up");
    wait::until("the kernel to say so", LIMIT, || (looks() > before).then_some(()));
    let settled = wait::try_until(LIMIT, || {
        let first = looks();
        std::thread::sleep(Duration::from_millis(300));
        (looks() == first).then_some(first)
    });
    assert!(settled.is_some(), "it looks again and again");
    assert_eq!(told(&lab, "minion/+/beacon/network").len(), events);
}

/// Hears packets in a namespace.
struct Listener {
    child: Child,
    file: std::path::PathBuf,
}

impl Listener {
    fn start(lab: &Lab, namespace: &str) -> Self {
        let file = lab.folder().join(format!("heard-{namespace}"));
        let out = std::fs::File::create(&file).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "python3", "-c", LISTENER]);
        let child = command.stdin(Stdio::null()).stdout(out).spawn().unwrap();
        let it = Self { child, file };
        wait::until("the listener", LIMIT, || it.heard().contains("listens").then_some(()));
        it
    }
    fn heard(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn packet(mac: &str) -> String {
    format!("ffffffffffff{}", mac.repeat(16))
}

#[test]
fn packets_that_wake_arrive_in_every_network_of_the_master_and_in_those_of_a_minion() {
    let test = "packets_that_wake_arrive_in_every_network_of_the_master_and_in_those_of_a_minion";
    if let Some(reason) = missing() {
        return skip(test, reason);
    }
    if !has("python3") {
        return skip(test, "needs python3");
    }
    let mut bridge = Bridge::new();
    let (home, vm, near) = (bridge.attach(1), bridge.attach(2), bridge.attach(3));
    let (mut second, mut far) = (Bridge::new(), Bridge::new());
    let (beside, away) = (second.attach(9), far.attach(9));
    // The master is in two networks and has no default route; the minion is in one that the master is not in.
    for (namespace, of, address) in [(&home, &beside, "10.78.0.1/24"), (&vm, &away, "10.79.0.1/24")] {
        ip(namespace, &format!("link add lan1 type veth peer name lan1 netns {of}"));
        ip(namespace, &format!("addr add {address} dev lan1"));
        ip(namespace, "link set lan1 up");
        ip(of, &format!("addr add {} dev lan1", address.replace(".1/", ".9/")));
        ip(of, "link set lan1 up");
    }
    let mut lab = Lab::prepare_on("10.77.0.1", &home);
    lab.tree("reactors/wake.yaml", RULES);
    lab.start_master();
    let seed = lab.seed("vm-*", &["--cidr", "10.77.0.0/24"]);
    lab.launch_in("vm-2", &seed, Around::namespace(&vm));
    lab.wait_up("vm-2");
    let [near, beside, away] = [&near, &beside, &away].map(|it| Listener::start(&lab, it));

    lab.labctl(&["event", "send", "wake"]).expect(0);
    let by_master = packet("525400abcdef");
    for (what, listener) in [("near", &near), ("beside", &beside)] {
        wait::until(&format!("the packet {what}\n{}", lab.logs()), LIMIT, || {
            listener.heard().lines().any(|it| it == by_master).then_some(())
        });
    }
    assert!(!away.heard().contains("525400abcdef"), "it does not leave the master's networks");
    lab.labctl(&["event", "send", "wake-via"]).expect(0);
    let by_minion = packet("525400abcd01");
    wait::until(&format!("the packet away\n{}", lab.logs()), LIMIT, || {
        away.heard().lines().any(|it| it == by_minion).then_some(())
    });
    assert!(!beside.heard().contains("525400abcd01"));
    // By hand, at the address that the machine itself has said: to whom it is sent it is no secret.
    lab.labctl(&["target", "vm-2", "wake"]).expect(0);
    let own = Command::new("ip").args(["-n", &vm, "-j", "link", "show", "eth0"]).output().unwrap();
    let own: Value = serde_json::from_slice(&own.stdout).unwrap();
    let own = packet(&own[0]["address"].as_str().unwrap().replace(':', ""));
    wait::until(&format!("its own packet\n{}", lab.logs()), LIMIT, || {
        near.heard().lines().any(|it| it == own).then_some(())
    });
}

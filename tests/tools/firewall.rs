//! The packet filter of a network namespace of its own.

use super::harness::{Wish, changes, fails, holds, program, says};
use serde_json::{Value, json};
use std::{fs, process::Command};
use tests::skip;

/// Set in the run that has a network of its own.
const INSIDE: &str = "LABCTL_TEST_NETWORK";

/// Whether this run has a network of its own. If not, the test is run once more, in one that has.
fn is_inside(name: &str, tool: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if program(tool, &[]).is_none() {
        skip(name, "the packet filter is not installed");
    } else if !tests::is_root() {
        skip(name, "needs root");
    } else {
        let mut again = Command::new("unshare");
        again.args(["--net", "--"]).arg(std::env::current_exe().unwrap());
        again.args(["--exact", &format!("firewall::{name}")]).env(INSIDE, "1");
        let said = says(&mut again);
        assert!(said.contains("1 passed"), "{said}");
    }
    false
}

#[expect(clippy::too_many_lines, reason = "one story of one server, told in order")]
#[test]
fn rules_of_nft_are_known_again() {
    if !is_inside("rules_of_nft_are_known_again", "nft") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.nft");
    let web = json!({
        "name": "web", "family": "inet", "chain": "input", "if": "eth0", "connstate": "new,established", "source": "10.0.0.0/8",
        "proto": "tcp", "dports": "80,443", "counter": true, "jump": "ACCEPT", "save": saved,
    });
    let rule = |text: &str| json!({ "name": "x", "family": "inet", "chain": "input", "rule": text });
    let own = json!({ "name": "mine", "family": "inet" });
    let hook = |policy: &str| json!({ "name": "input", "family": "inet", "table_type": "filter", "hook": "input", "priority": 0, "policy": policy });
    changes(&[
        ("nftables.table_present", json!({ "name": "filter", "family": "inet" })),
        ("nftables.chain_present", hook("drop")),
        ("nftables.chain_present", hook("accept")),
        ("nftables.chain_present", own.clone()),
        ("nftables.append", web.clone()),
    ]);
    assert!(fs::read_to_string(&saved).unwrap().contains("dport { 80, 443 }"));
    says(Command::new("nft").args(["--check", "--file"]).arg(&saved));
    let more = |more: Value| {
        let mut all = json!({ "name": "x", "family": "inet", "chain": "input" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    changes(&[
        ("nftables.insert", rule("ct state invalid drop")),
        (
            "nftables.append",
            more(
                json!({ "source": "fd00::/8", "proto": "udp", "sports": ["53", "1000:2000"], "jump": "drop" }),
            ),
        ),
        (
            "nftables.append",
            more(
                json!({ "proto": "icmp", "icmp-type": "echo-request", "pkttype": "host", "jump": "ACCEPT" }),
            ),
        ),
        (
            "nftables.append",
            more(json!({ "of": "lo", "daddr": "127.0.0.1", "proto": "icmp", "jump": "RETURN" })),
        ),
        ("nftables.append", rule("ip6 saddr fd00::/8 udp dport 53 jump mine")),
        ("nftables.delete", web),
        ("nftables.delete", rule("ip6 saddr fd00::/8 udp dport 53 jump mine")),
        ("nftables.flush", json!({ "name": "f", "family": "inet", "chain": "input" })),
        ("nftables.chain_absent", own),
        ("nftables.table_absent", json!({ "name": "filter", "family": "inet" })),
        ("nftables.table_present", json!({ "name": "nat" })),
        (
            "nftables.chain_present",
            json!({ "name": "post", "table": "nat", "table_type": "nat", "hook": "postrouting", "priority": -150 }),
        ),
        (
            "nftables.append",
            json!({ "name": "x", "table": "nat", "chain": "post", "of": "eth0", "jump": "masquerade" }),
        ),
        ("nftables.chain_absent", json!({ "name": "post", "table": "nat" })),
    ]);
    holds(&[
        ("nftables.delete", json!({ "name": "x", "table": "nat", "chain": "post", "jump": "drop" })),
        ("nftables.flush", json!({ "name": "x", "table": "nat", "chain": "post", "ignore_absence": true })),
        ("nftables.chain_absent", json!({ "name": "post", "table": "nonesuch" })),
    ]);
    let file = folder.path().join("rules.nft");
    let managed =
        |contents: &str| -> Wish { ("nftables.managed", json!({ "name": file, "contents": contents })) };
    let good = "flush ruleset\ntable inet x {\n\tchain y {\n\t}\n}\n";
    changes(&[managed(good), managed(&good.replace('y', "z"))]);
    holds(&[("nftables.chain_present", json!({ "name": "z", "family": "inet", "table": "x" }))]);
    fails(managed("nonsense"), "syntax error");
    fails(("nftables.append", rule("tcp dport 22 accept")), "there is no chain");
}

#[test]
fn rules_of_iptables_are_known_again() {
    if !is_inside("rules_of_iptables_are_known_again", "iptables") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("rules.v4");
    let web = json!({
        "name": "web", "chain": "INPUT", "if": "eth0", "proto": "tcp", "connstate": "NEW", "dports": [80, 443], "source": "! 10.0.0.0/8",
        "comment": "a b", "jump": "ACCEPT", "save": saved,
    });
    let own = json!({ "name": "MINE" });
    changes(&[("iptables.chain_present", own.clone()), ("iptables.append", web.clone())]);
    assert!(fs::read_to_string(&saved).unwrap().contains("--dports 80,443"));
    says(Command::new("iptables-restore").arg("--test").arg(&saved));
    changes(&[
        (
            "iptables.insert",
            json!({ "name": "x", "chain": "INPUT", "position": 1, "match": "limit", "limit": "5/min", "jump": "LOG", "log-prefix": "in: " }),
        ),
        (
            "iptables.append",
            json!({ "name": "x", "chain": "MINE", "proto": "tcp", "tcp-flags": "SYN,RST SYN", "jump": "REJECT", "reject-with": "tcp-reset" }),
        ),
        (
            "iptables.append",
            json!({ "name": "x", "chain": "INPUT", "proto": "udp", "dport": "53", "jump": "MINE", "family": "ipv4" }),
        ),
        (
            "iptables.append",
            json!({ "name": "x", "chain": "INPUT", "proto": "icmp", "icmp-type": "echo-request", "if": "! lo", "jump": "ACCEPT" }),
        ),
        (
            "iptables.append",
            json!({ "name": "x", "table": "nat", "chain": "POSTROUTING", "of": "eth0", "jump": "MASQUERADE" }),
        ),
        (
            "iptables.append",
            json!({
                "name": "x", "table": "nat", "chain": "PREROUTING", "proto": "tcp", "dport": "8080", "jump": "DNAT",
                "to-destination": "10.0.0.2:80",
            }),
        ),
        ("iptables.set_policy", json!({ "name": "x", "chain": "FORWARD", "policy": "DROP" })),
        ("iptables.delete", web),
        ("iptables.flush", json!({ "name": "x", "chain": "INPUT" })),
        ("iptables.chain_absent", own),
        (
            "iptables.set_policy",
            json!({ "name": "x", "chain": "FORWARD", "policy": "DROP", "family": "ipv6" }),
        ),
    ]);
    holds(&[
        ("iptables.delete", json!({ "name": "x", "chain": "NONESUCH", "jump": "DROP" })),
        ("iptables.delete", json!({ "name": "x", "chain": "INPUT", "jump": "MINE" })),
    ]);
    fails(("iptables.flush", json!({ "name": "x", "chain": "NONESUCH" })), "has no chain");
    fails(("iptables.append", json!({ "name": "x", "chain": "INPUT", "jump": "NONESUCH" })), "NONESUCH");
}

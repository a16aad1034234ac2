//! Grains of the network: names, addresses, gateways, name servers. Nobody on the network is asked.

use super::os::small;
use serde_json::{Map, Value, json};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};
use sysinfo::{Networks, System};

pub(super) fn collect(root: &Path, put: &mut impl FnMut(&str, Value)) {
    let host = System::host_name().unwrap_or_default();
    let fqdn = fqdn(root, &host);
    put("localhost", json!(host));
    put("nodename", json!(host));
    put("host", json!(host.split('.').next().unwrap_or_default()));
    put("domain", json!(fqdn.split_once('.').map_or("", |(_, domain)| domain)));
    let (v4, v6) = of_name(root, &fqdn);
    put("fqdn_ip4", json!(v4));
    put("fqdn_ip6", json!(v6));
    put("fqdn", json!(fqdn));
    interfaces(put);
    let gateways = [gateway4(&small(Path::new("/proc/net/route"))), gateway6()];
    put("ip_gw", json!(gateways.iter().any(Option::is_some)));
    for (name, gateway) in ["ip4_gw", "ip6_gw"].into_iter().zip(gateways) {
        put(name, gateway.map_or(Value::Bool(false), Value::String));
    }
    put("dns", dns(&small(&root.join("etc/resolv.conf"))));
}

/// The host name with its domain, from `/etc/hosts` (no name server is asked).
fn fqdn(root: &Path, host: &str) -> String {
    if host.contains('.') {
        return host.to_owned();
    }
    let prefix = format!("{host}.");
    let hosts = small(&root.join("etc/hosts"));
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.flat_map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    names.find(|name| name.starts_with(&prefix)).unwrap_or(host).to_owned()
}

/// The addresses that `/etc/hosts` gives a name.
fn of_name(root: &Path, name: &str) -> (Vec<String>, Vec<String>) {
    let hosts = small(&root.join("etc/hosts"));
    let mut found: Vec<String> = Vec::new();
    for line in hosts.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        let mut words = line.split_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|it| it == name) && !found.iter().any(|it| it == address) {
            found.push(address.to_owned());
        }
    }
    found.into_iter().partition(|it| !it.contains(':'))
}

/// The first default route's gateway, of `/proc/net/route`.
fn gateway4(routes: &str) -> Option<String> {
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = u32::from_str_radix(fields.get(2)?, 16).ok()?;
        // The kernel prints the bytes as they lie in memory.
        let default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        (default && number != 0).then(|| Ipv4Addr::from(number.to_ne_bytes()).to_string())
    })
}

fn gateway6() -> Option<String> {
    small(Path::new("/proc/net/ipv6_route")).lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = u128::from_str_radix(fields.get(4)?, 16).ok()?;
        let default = fields.get(1) == Some(&"00") && number != 0;
        default.then(|| Ipv6Addr::from(number).to_string())
    })
}

/// What resolv.conf says.
fn dns(text: &str) -> Value {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let words = |key: &str| -> Vec<&str> {
        let found = lines.iter().filter(|it| it.first() == Some(&key));
        found.flat_map(|it| it.iter().skip(1).copied()).collect()
    };
    let servers = words("nameserver");
    let (v6, v4): (Vec<&str>, Vec<&str>) = servers.iter().partition(|it| it.contains(':'));
    json!({
        "nameservers": servers,
        "ip4_nameservers": v4,
        "ip6_nameservers": v6,
        "sortlist": words("sortlist"),
        "domain": words("domain").first().copied().unwrap_or_default(),
        "search": words("search"),
        "options": words("options"),
    })
}

fn interfaces(put: &mut impl FnMut(&str, Value)) {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return };
    let mut sorted: Vec<_> = networks.iter().collect();
    sorted.sort_by_key(|(name, _)| (*name).clone());
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let mut maps = [Map::new(), Map::new(), Map::new()];
    let mut hardware = Map::new();
    for (name, network) in sorted {
        let name = name.to_string_lossy().into_owned();
        let mut here: [Vec<String>; 3] = Default::default();
        for address in network.ip_networks() {
            let text = address.addr.to_string();
            let of_kind = usize::from(!matches!(address.addr, IpAddr::V4(_)));
            [&mut v4, &mut v6][of_kind].push(text.clone());
            here[of_kind].push(text.clone());
            here[2].push(text);
        }
        for (map, mut here) in maps.iter_mut().zip(here) {
            here.sort();
            map.insert(name.clone(), json!(here));
        }
        hardware.insert(name.clone(), json!(network.mac_address().to_string()));
    }
    v4.sort();
    v6.sort();
    put("ipv4", json!(v4));
    put("ipv6", json!(v6));
    for (name, map) in ["ip4_interfaces", "ip6_interfaces", "ip_interfaces"].into_iter().zip(maps) {
        put(name, Value::Object(map));
    }
    put("hwaddr_interfaces", Value::Object(hardware));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_default_route_has_the_gateway() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(gateway4(routes).as_deref(), Some("10.0.2.1"));
        assert_eq!(gateway4("Iface\n"), None);
    }

    #[test]
    fn resolv_conf_is_taken_apart() {
        let found =
            dns("search lab example.net\nnameserver 10.0.0.1\nnameserver fd00::1\n# nameserver 9.9.9.9\n");
        assert_eq!(found["ip4_nameservers"], json!(["10.0.0.1"]));
        assert_eq!(found["nameservers"], json!(["10.0.0.1", "fd00::1"]));
        assert_eq!(found["search"], json!(["lab", "example.net"]));
    }
}

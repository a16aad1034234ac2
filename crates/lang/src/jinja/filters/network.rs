//! Filters on addresses and networks.

use crate::jinja::{
    call::Called,
    failure::{Failure, Outcome},
    run::{Place, Run},
    value::Value,
};
use ipnet::IpNet;
use std::net::IpAddr;

type Made = Outcome<Value>;

/// Most addresses that one list of hosts may have.
const HOSTS_MAX: usize = 65_536;

/// An address, alone or with a prefix length.
fn parse(text: &str) -> Option<(IpAddr, Option<u8>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, None));
    }
    let (address, mask) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match mask.parse::<u8>() {
        Ok(prefix) => prefix,
        Err(_) => ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok()?,
    };
    (prefix <= most).then_some((address, Some(prefix)))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            it.is_private()
                || it.is_loopback()
                || it.is_link_local()
                || it.is_unspecified()
                || it.is_broadcast()
                || it.is_documentation()
                || it.octets()[0] == 0
                || it.octets()[0] >= 240
                || (it.octets()[0] == 198 && it.octets()[1] & 0xfe == 18)
        }
        IpAddr::V6(it) => {
            let first = it.segments()[0];
            it.is_loopback()
                || it.is_unspecified()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || (first == 0x2001 && it.segments()[1] == 0xdb8)
        }
    }
}

fn has(address: IpAddr, option: &str) -> Option<bool> {
    Some(match option {
        "global" | "public" => !is_private(address),
        "private" => is_private(address),
        "loopback" | "lo" => address.is_loopback(),
        "multicast" => address.is_multicast(),
        "unspecified" => address.is_unspecified(),
        "link-local" | "linklocal" | "ll" | "link_local" => match address {
            IpAddr::V4(it) => it.is_link_local(),
            IpAddr::V6(it) => it.segments()[0] & 0xffc0 == 0xfe80,
        },
        "site-local" | "sl" | "site_local" => match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(it) => it.segments()[0] & 0xffc0 == 0xfec0,
        },
        "reserved" => match address {
            IpAddr::V4(it) => it.octets()[0] >= 240,
            IpAddr::V6(it) => {
                it.segments()[0] & 0xe000 != 0x2000 && !is_private(address) && !it.is_multicast()
            }
        },
        _ => return None,
    })
}

/// The address as text, if it is of the version and has what the options ask for.
fn valid(text: &str, version: u8, options: &str) -> Option<String> {
    let (address, prefix) = parse(text)?;
    if (version == 4) != address.is_ipv4() {
        return None;
    }
    if options.split(',').filter_map(|it| has(address, it.trim())).any(|it| !it) {
        return None;
    }
    Some(prefix.map_or_else(|| address.to_string(), |prefix| format!("{address}/{prefix}")))
}

fn options(name: &str, args: &Called) -> Outcome<String> {
    let [options, _] = args.bind(name, ["options", "version"])?;
    Ok(options.as_ref().and_then(Value::as_str).unwrap_or("").to_owned())
}

/// The valid ones of a list, or of one address; `None` if it is none.
fn of_version(run: &Run<'_>, value: &Value, version: u8, options: &str) -> Outcome<Option<Vec<String>>> {
    Ok(match value {
        Value::Str(text) => valid(text, version, options).map(|it| vec![it]),
        Value::List(_) => {
            let items = value.items(run.heap)?;
            Some(items.iter().filter_map(|it| valid(it.as_str()?, version, options)).collect())
        }
        _ => None,
    })
}

fn told(run: &Run<'_>, value: &Value, found: Option<Vec<String>>) -> Value {
    match (value, found) {
        (_, None) => Value::None,
        (Value::List(_), Some(list)) => run.heap.list(list.iter().map(|it| Value::str(it)).collect()),
        (_, Some(list)) => list.first().map_or(Value::None, |it| Value::str(it)),
    }
}

fn both(run: &Run<'_>, value: &Value, options: &str) -> Outcome<Option<Vec<String>>> {
    let (four, six) = (of_version(run, value, 4, options)?, of_version(run, value, 6, options)?);
    Ok(match (four, six) {
        (Some(mut four), Some(six)) => {
            four.extend(six);
            Some(four)
        }
        (four, six) => four.or(six),
    })
}

pub(super) fn ipaddr(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let found = both(run, value, &options("ipaddr", args)?)?;
    Ok(told(run, value, found))
}

pub(super) fn ipv4(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let found = of_version(run, value, 4, &options("ipv4", args)?)?;
    Ok(told(run, value, found))
}

pub(super) fn ipv6(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let found = of_version(run, value, 6, &options("ipv6", args)?)?;
    Ok(told(run, value, found))
}

fn is_version(value: &Value, version: u8, options: &str) -> bool {
    value.as_str().is_some_and(|it| valid(it, version, options).is_some())
}

pub(super) fn is_ip(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let options = options("is_ip", args)?;
    Ok(Value::Bool(is_version(value, 4, &options) || is_version(value, 6, &options)))
}

pub(super) fn is_ipv4(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    Ok(Value::Bool(is_version(value, 4, &options("is_ipv4", args)?)))
}

pub(super) fn is_ipv6(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    Ok(Value::Bool(is_version(value, 6, &options("is_ipv6", args)?)))
}

/// Something for each valid address.
fn each(run: &Run<'_>, name: &str, value: &Value, args: &Called, make: impl Fn(IpAddr, u8) -> Made) -> Made {
    let Some(found) = both(run, value, &options(name, args)?)?.filter(|it| !it.is_empty()) else {
        return Ok(Value::None);
    };
    let mut results = Vec::new();
    for text in &found {
        let Some((address, prefix)) = parse(text) else { continue };
        results.push(make(address, prefix.unwrap_or(if address.is_ipv4() { 32 } else { 128 }))?);
    }
    if matches!(value, Value::List(_)) {
        return Ok(run.heap.list(results));
    }
    Ok(results.into_iter().next().unwrap_or(Value::None))
}

pub(super) fn ip_host(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    each(run, "ip_host", value, args, |address, prefix| Ok(Value::str(&format!("{address}/{prefix}"))))
}

fn net(address: IpAddr, prefix: u8) -> Outcome<IpNet> {
    let net = IpNet::new(address, prefix).map_err(|_| Failure::value("no such network"))?;
    Ok(net.trunc())
}

pub(super) fn network_hosts(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    each(run, "network_hosts", value, args, |address, prefix| {
        let bits = if address.is_ipv4() { 32 } else { 128 } - u32::from(prefix);
        if bits > HOSTS_MAX.trailing_zeros() {
            let message = format!("the network has more than {HOSTS_MAX} hosts");
            return Err(Failure::value(message).help("name a smaller network"));
        }
        run.heap.spend(1 << bits)?;
        let hosts = net(address, prefix)?.hosts().map(|it| Value::str(&it.to_string()));
        Ok(run.heap.list(hosts.collect()))
    })
}

pub(super) fn network_size(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    each(run, "network_size", value, args, |address, prefix| {
        let bits = if address.is_ipv4() { 32 } else { 128 } - u32::from(prefix);
        let size = 1_i64.checked_shl(bits).filter(|_| bits < 63);
        size.map(Value::Int).ok_or_else(|| Failure::value("the network has too many addresses for a number"))
    })
}

pub(super) fn ipwrap(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let wrapped = |it: &Value| match it.as_str() {
        Some(text) if text.parse::<std::net::Ipv6Addr>().is_ok() => Value::str(&format!("[{text}]")),
        _ => it.clone(),
    };
    match value {
        Value::List(_) => Ok(run.heap.list(value.items(run.heap)?.iter().map(wrapped).collect())),
        one => Ok(wrapped(one)),
    }
}

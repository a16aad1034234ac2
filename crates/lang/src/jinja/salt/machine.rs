//! Functions about addresses, paths and hashes: what they need is in the grains or in their arguments.

use super::functions::grain;
use crate::jinja::{
    call::{Called, flag, text},
    failure::{Failure, Outcome},
    filters::{encoding::digest, texts},
    run::Run,
    text::str_of,
    value::{Dict, Key, Value},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::net::IpAddr;

type Made = Outcome<Value>;

/// Addresses that the grains name.
pub(super) fn addresses(run: &Run<'_>) -> Vec<IpAddr> {
    let names = ["ipv4", "ipv6", "fqdn_ip4", "fqdn_ip6", "ip", "ips", "addresses"];
    let found = names.iter().flat_map(|it| match grain(run, &[it]) {
        Value::List(list) => list.items.borrow().clone(),
        one => vec![one],
    });
    found.filter_map(|it| it.as_str()?.parse().ok()).collect()
}

pub(super) fn interfaces(run: &Run<'_>, _: &Called) -> Made {
    let Value::Dict(found) = grain(run, &["ip_interfaces"]) else {
        return Ok(run.heap.dict(Dict::new()));
    };
    let hardware = grain(run, &["hwaddr_interfaces"]);
    let mut made = Dict::new();
    for (name, list) in found.borrow().iter() {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for address in list.items(run.heap)? {
            let is_six = address.as_str().is_some_and(|it| it.contains(':'));
            let row = run.heap.pairs(vec![("address", address)]);
            if is_six { six.push(row) } else { four.push(row) }
        }
        let mut row =
            vec![("up", Value::Bool(true)), ("inet", run.heap.list(four)), ("inet6", run.heap.list(six))];
        if let Value::Dict(hardware) = &hardware
            && let Some(address) = hardware.borrow().get(name)
        {
            row.push(("hwaddr", address.clone()));
        }
        made.insert(name.clone(), run.heap.pairs(row));
    }
    Ok(run.heap.dict(made))
}

pub(super) fn ip_addrs(run: &Run<'_>, args: &Called, version: &str) -> Made {
    let names = ["interface", "include_loopback", "cidr", "type"];
    let [interface, loopback, cidr, _] = args.bind("network.ip_addrs", names)?;
    let loopback = flag(loopback.as_ref(), false)?;
    if matches!(run.world.grains, Value::Unknown) {
        return Ok(Value::Unknown);
    }
    let mut all: Vec<IpAddr> = match interface.as_ref().and_then(Value::as_str) {
        None => addresses(run),
        Some(name) => {
            let grain = grain(run, &[&format!("{version}_interfaces")]);
            let list = match &grain {
                Value::Dict(dict) => dict.borrow().get(&Key::of_str(name)).cloned(),
                _ => None,
            };
            let items = list.map_or(Ok(Vec::new()), |it| it.items(run.heap))?;
            items.iter().filter_map(|it| it.as_str()?.parse().ok()).collect()
        }
    };
    let net = match cidr.as_ref().and_then(Value::as_str) {
        None => None,
        Some(net) => {
            let parsed = net.parse::<ipnet::IpNet>();
            Some(parsed.map_err(|_| Failure::value(format!("`{net}` is no network; write 10.0.0.0/24")))?)
        }
    };
    all.retain(|it| it.is_ipv4() == (version == "ip4") && (loopback || !it.is_loopback()));
    all.retain(|it| net.is_none_or(|net| net.contains(it)));
    all.sort();
    all.dedup();
    Ok(run.heap.list(all.iter().map(|it| Value::str(&it.to_string())).collect()))
}

pub(super) fn basename(run: &Run<'_>, args: &Called) -> Made {
    let [path] = args.need("file.basename", 1, ["path"])?;
    let path = text("file.basename", path.as_ref())?;
    run.heap.text(path.rsplit('/').next().unwrap_or("").to_owned())
}

pub(super) fn dirname(run: &Run<'_>, args: &Called) -> Made {
    let [path] = args.need("file.dirname", 1, ["path"])?;
    let path = text("file.dirname", path.as_ref())?;
    let folder = path.rsplit_once('/').map_or("", |it| it.0);
    run.heap.text(if folder.is_empty() && path.starts_with('/') { "/".to_owned() } else { folder.to_owned() })
}

pub(super) fn path_join(run: &Run<'_>, args: &Called) -> Made {
    let parts = args.plain.iter().map(|it| str_of(it, run.heap)).collect::<Outcome<Vec<_>>>()?;
    run.heap.text(texts::joined_path(&parts))
}

pub(super) fn normpath(run: &Run<'_>, args: &Called) -> Made {
    let [path] = args.need("file.normpath", 1, ["path"])?;
    run.heap.text(texts::normalized(text("file.normpath", path.as_ref())?))
}

pub(super) fn hash(run: &Run<'_>, args: &Called, algorithm: &str) -> Made {
    let [data] = args.need("hashutil", 1, ["instr"])?;
    let data = str_of(&data.unwrap_or(Value::None), run.heap)?;
    run.heap.text(digest(algorithm, &data).unwrap_or_default())
}

pub(super) fn hash_digest(run: &Run<'_>, args: &Called) -> Made {
    let [data, algorithm] = args.need("hashutil.digest", 1, ["instr", "checksum"])?;
    let algorithm = algorithm.as_ref().map_or(Ok("md5"), |it| text("hashutil.digest", Some(it)))?;
    let data = str_of(&data.unwrap_or(Value::None), run.heap)?;
    let sum = digest(algorithm, &data);
    let sum = sum.ok_or_else(|| {
        Failure::value(format!("there is no hash `{algorithm}`: md5, sha1, sha256, sha512"))
    })?;
    run.heap.text(sum)
}

pub(super) fn b64encode(run: &Run<'_>, args: &Called) -> Made {
    let [data] = args.need("hashutil", 1, ["instr"])?;
    run.heap.text(STANDARD.encode(str_of(&data.unwrap_or(Value::None), run.heap)?))
}

pub(super) fn b64decode(run: &Run<'_>, args: &Called) -> Made {
    let [data] = args.need("hashutil", 1, ["instr"])?;
    let data: String = text("hashutil", data.as_ref())?.split_whitespace().collect();
    let bytes = STANDARD.decode(data).ok().and_then(|it| String::from_utf8(it).ok());
    run.heap.text(bytes.ok_or_else(|| Failure::value("this is not Base64 of a text"))?)
}

//! What the beacon `check` asks, read: addresses, status and fingerprints. The master refuses what a machine could not use.

use super::{Complaint, texts};
use serde_json::{Map, Value};

/// What can be asked; a beacon asks one of them.
const ASKED: [&str; 3] = ["http", "tcp", "ping"];
/// Settings that are about pages.
const OF_PAGES: [&str; 4] = ["status", "contains", "ca", "pin"];

/// Where a page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Over TLS.
    pub tls: bool,
    /// A name or an address.
    pub host: String,
    /// The usual one if none is said.
    pub port: u16,
    /// With what is behind `?`.
    pub path: String,
}

impl Address {
    /// `http://host[:port]/path`, or `https://`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}`: {what}");
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        if place.contains('@') {
            return Err(wrong("names and passwords are not sent"));
        }
        let (host, port) =
            host_port(place, if tls { 443 } else { 80 }).ok_or_else(|| wrong("it has no host"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if !path.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(wrong("write what is not ASCII as %XX"));
        }
        Ok(Self { tls, host, port, path })
    }
}

/// `host`, `host:port`, `[::1]:port`.
pub fn host_port(text: &str, standard: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(standard), |it| it.parse().ok()).filter(|it| *it > 0)?;
    is_host(host).then(|| (host.to_owned(), port))
}

/// A name or an address; never an option of a program.
pub fn is_host(host: &str) -> bool {
    let good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_' | b':' | b'%');
    (1..=253).contains(&host.len()) && !host.starts_with('-') && host.bytes().all(good)
}

/// `200`, `2xx`, `200-299`.
pub fn status(text: &str) -> Result<(u16, u16), String> {
    let number = |it: &str| it.trim().parse::<u16>().ok().filter(|it| (100..1000).contains(it));
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(hundreds), _) => number(&format!("{hundreds}00")).map(|it| (it, it + 99)),
        (_, Some((least, most))) => number(least).zip(number(most)),
        _ => number(text).map(|it| (it, it)),
    };
    range.ok_or_else(|| format!("`{text}` is no status: 200, 2xx or 200-299"))
}

/// The 32 bytes of a SHA-256.
pub fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text.bytes().filter(|it| !matches!(it, b':' | b' ')).collect();
    let byte = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let bytes = bytes.and_then(|it| <[u8; 32]>::try_from(it).ok());
    bytes.ok_or_else(|| "`pin` is a SHA-256: 64 hexadecimal digits".to_owned())
}

/// What is wrong with the settings of a check.
pub(super) fn check(settings: &Map<String, Value>, whole: bool, wrong: &mut Vec<Complaint>) {
    let said = |name: &str| settings.get(name).is_some_and(|it| !it.is_null());
    let asked = ASKED.iter().filter(|it| said(it)).count();
    if asked > 1 || asked == 0 && whole {
        let message = "say what is looked at, one of `http`, `tcp` and `ping`".to_owned();
        wrong.push(Complaint { setting: None, message, help: None });
    }
    if whole && asked == 1 && !said("http") {
        let of_pages = OF_PAGES.iter().filter(|it| said(it));
        let message = |it: &&str| Complaint::about(it, format!("`{it}` is about pages: it goes with `http`"));
        wrong.extend(of_pages.map(message));
    }
    if said("ca") && said("pin") {
        wrong.push(Complaint::about("pin", "say `ca` or `pin`, not both"));
    }
    let mut read = |name: &str, read: &dyn Fn(&str) -> Option<String>| {
        let found = settings.get(name).filter(|it| !it.is_null()).and_then(texts).unwrap_or_default();
        wrong.extend(found.iter().filter_map(|it| read(it)).map(|it| Complaint::about(name, it)));
    };
    read("http", &|it| Address::parse(it).err());
    read("tcp", &|it| host_port(it, 0).is_none().then(|| format!("`{it}` is not `host:port`")));
    read("ping", &|it| (!is_host(it)).then(|| format!("`{it}` is no host")));
    read("status", &|it| status(it).err());
    read("pin", &|it| fingerprint(it).err());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let cases = [
            ("http://a", Some("false a 80 /")),
            ("https://git.lab.example/x?y=1#z", Some("true git.lab.example 443 /x?y=1")),
            ("http://[::1]:8080?q", Some("false ::1 8080 /?q")),
            ("http://10.0.0.1:81/", Some("false 10.0.0.1 81 /")),
            ("ftp://a", None),
            ("http://", None),
            ("http://a:0/", None),
            ("http://user:pw@a/", None),
            ("http://a/ b", None),
            ("http://a\r\nX: y", None),
            ("http://-a", None),
        ];
        for (text, wanted) in cases {
            let said =
                Address::parse(text).map(|it| format!("{} {} {} {}", it.tls, it.host, it.port, it.path));
            assert_eq!(said.ok().as_deref(), wanted, "{text}");
        }
        assert_eq!(host_port("db:5432", 0), Some(("db".to_owned(), 5432)));
        assert_eq!(host_port("db", 0), None);
    }
}

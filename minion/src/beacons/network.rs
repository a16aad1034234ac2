//! Interfaces that come up or go down, and addresses that come and go. The kernel says when something changed; what it is
//! now is looked up when it holds still.

use super::{Beacon, Signal, Source};
use crate::linux::network;
use crate::senses::{Interface, Senses};
use resources::beacons::{Settings, matches};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long it must hold still, in milliseconds, unless it is set.
const SETTLE_MS: u64 = 2000;
/// What never holds still is told after so many times that.
const PATIENCE: u32 = 10;
/// Interfaces that are down, and remembered over a restart.
const DOWN_MAX: usize = 64;

/// A thing that is there or not: an interface's link, or an address on it.
type Thing = (String, Option<String>);

struct Network {
    socket: OwnedFd,
    settle: Duration,
    only: Vec<String>,
    ignore: Vec<String>,
    links: bool,
    addresses: bool,
    known: Option<BTreeMap<Thing, bool>>,
    /// Interfaces that were down when the one before this looked last.
    down: Vec<String>,
    /// When the first and the last change came that was not looked at, and how many there were.
    changed: Option<(Duration, Duration, u64)>,
}

pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let socket =
        network::listen().map_err(|error| format!("the kernel does not tell of interfaces: {error}"))?;
    let mut ignore = settings.texts("ignore");
    if ignore.is_empty() {
        ignore.push("veth*".to_owned());
    }
    let what = settings.texts("what");
    let wants = |word: &str| what.is_empty() || what.iter().any(|it| it == word);
    Ok(Box::new(Network {
        socket,
        settle: Duration::from_millis(settings.time_ms("settle").unwrap_or(SETTLE_MS)),
        only: settings.texts("interface"),
        ignore,
        links: wants("link"),
        addresses: wants("address"),
        known: None,
        down: Vec::new(),
        changed: None,
    }))
}

impl Beacon for Network {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        let messages = network::drain(&self.socket).or_else(|error| {
            // What it told is known; only the socket is of no use any more.
            self.socket = network::listen().map_err(|_| format!("the kernel tells no more: {error}"))?;
            Ok::<u64, String>(1)
        })?;
        if messages > 0 {
            let (first, _, before) = self.changed.unwrap_or((now, now, 0));
            self.changed = Some((first, now, before + messages));
        }
        let due = self.wake().is_some_and(|at| at <= now);
        if self.known.is_some() && !due {
            return Ok(Vec::new());
        }
        let changes = self.changed.take().map_or(0, |it| it.2);
        let interfaces = senses.interfaces().map_err(|error| format!("cannot list interfaces: {error}"))?;
        Ok(self.compare(&interfaces, changes))
    }

    fn told(&self) -> Value {
        let links = self.known.iter().flatten().filter(|((_, address), up)| address.is_none() && !**up);
        let down: Vec<&str> = links.map(|((name, _), _)| name.as_str()).take(DOWN_MAX).collect();
        if down.is_empty() { Value::Null } else { json!(down) }
    }

    fn resume(&mut self, _: Duration, told: &Value) {
        let names = told.as_array().into_iter().flatten().filter_map(Value::as_str);
        self.down = names.take(DOWN_MAX).map(str::to_owned).collect();
    }

    fn wake(&self) -> Option<Duration> {
        let (first, last, _) = self.changed?;
        Some((last + self.settle).min(first + self.settle * PATIENCE))
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.socket.as_fd(), urgent: false }]
    }
}

impl Network {
    fn counts(&self, name: &str) -> bool {
        let one_of = |patterns: &[String]| patterns.iter().any(|it| matches(it, name));
        if self.only.is_empty() { name != "lo" && !one_of(&self.ignore) } else { one_of(&self.only) }
    }

    /// What is other than it was told last. At first nothing is told: that is how it was.
    fn compare(&mut self, interfaces: &[Interface], changes: u64) -> Vec<Signal> {
        let mut now: BTreeMap<Thing, bool> = BTreeMap::new();
        for interface in interfaces.iter().filter(|it| self.counts(&it.name)) {
            if self.links {
                now.insert((interface.name.clone(), None), interface.up);
            }
            let addresses = interface.addresses.iter().filter(|_| self.addresses);
            now.extend(addresses.map(|it| ((interface.name.clone(), Some(it.clone())), true)));
        }
        let mut before = self.known.replace(now.clone()).unwrap_or_else(|| {
            let was_down = |(name, address): &Thing| address.is_none() && self.down.contains(name);
            now.iter().map(|(it, up)| (it.clone(), *up && !was_down(it))).collect()
        });
        let mut signals = Vec::new();
        for (thing, up) in now {
            if before.remove(&thing).unwrap_or(false) != up {
                signals.push(signal(&thing, up, changes));
            }
        }
        let gone = before.into_iter().filter(|(_, up)| *up);
        signals.extend(gone.map(|(thing, _)| signal(&thing, false, changes)));
        signals
    }
}

fn signal((interface, address): &Thing, on: bool, changes: u64) -> Signal {
    let what = if address.is_some() { "address" } else { "link" };
    let mut signal = Signal::new().with("interface", interface.clone()).with("what", what);
    if let Some(address) = address {
        signal = signal.with("address", address.clone());
    }
    let signal = signal.state(on);
    if changes > 1 { signal.with("flaps", changes) } else { signal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &Value, moments: &[&[(&str, bool, &[&str])]]) -> Vec<String> {
        let kind = resources::beacons::kind("network").unwrap();
        let settings = Settings::read(kind, settings.as_object().unwrap()).unwrap();
        let what = settings.texts("what");
        let mut network = Network {
            socket: network::listen().unwrap(),
            settle: Duration::ZERO,
            only: settings.texts("interface"),
            ignore: vec!["veth*".to_owned()],
            links: what.is_empty() || what.contains(&"link".to_owned()),
            addresses: what.is_empty() || what.contains(&"address".to_owned()),
            known: None,
            down: Vec::new(),
            changed: None,
        };
        let mut said = Vec::new();
        for (index, moment) in moments.iter().enumerate() {
            let interface = |(name, up, addresses): &(&str, bool, &[&str])| Interface {
                name: (*name).to_owned(),
                up: *up,
                addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
            };
            let interfaces: Vec<Interface> = moment.iter().map(interface).collect();
            let signals = network.compare(&interfaces, 1);
            said.extend(signals.into_iter().map(|it| format!("{index} {}", Value::Object(it.0))));
        }
        said
    }

    #[test]
    fn what_is_other_than_before_is_told() {
        let moments: &[&[(&str, bool, &[&str])]] = &[
            &[("lo", true, &["127.0.0.1/8"]), ("eth0", true, &["10.0.0.2/24"]), ("veth1", true, &[])],
            &[("lo", false, &[]), ("eth0", true, &["10.0.0.2/24"])],
            &[("eth0", false, &[])],
            &[("eth0", true, &["10.0.0.3/24"]), ("wg0", true, &[])],
        ];
        assert_eq!(
            told(&json!({}), moments),
            [
                r#"2 {"interface":"eth0","what":"link","state":"off"}"#,
                r#"2 {"interface":"eth0","what":"address","address":"10.0.0.2/24","state":"off"}"#,
                r#"3 {"interface":"eth0","what":"link","state":"on"}"#,
                r#"3 {"interface":"eth0","what":"address","address":"10.0.0.3/24","state":"on"}"#,
                r#"3 {"interface":"wg0","what":"link","state":"on"}"#,
            ]
        );
        assert_eq!(told(&json!({"interface": "wg*", "what": "link"}), moments).len(), 1);
        assert_eq!(told(&json!({"interface": "lo", "what": ["address"]}), moments).len(), 1);
    }

    #[test]
    fn what_flaps_is_looked_at_when_it_holds_still_or_patience_is_over() {
        let kind = resources::beacons::kind("network").unwrap();
        let map = json!({});
        let mut senses = crate::senses::fake::Fake::default();
        let settings = Settings::read(kind, map.as_object().unwrap()).unwrap();
        let mut beacon = make(&settings, &senses).unwrap();
        assert_eq!(beacon.look(Duration::ZERO, &senses), Ok(Vec::new()));
        senses.interfaces.push(Interface { name: "eth9".to_owned(), up: true, addresses: Vec::new() });
        assert_eq!(beacon.look(Duration::from_secs(1), &senses), Ok(Vec::new()), "the kernel said nothing");
        let at = |first: u64, last: u64| {
            let changed = Some((Duration::from_secs(first), Duration::from_secs(last), 3));
            let socket = network::listen().unwrap();
            let none = Vec::new;
            let settle = Duration::from_secs(2);
            let network = Network {
                socket,
                settle,
                only: none(),
                ignore: none(),
                links: true,
                addresses: true,
                known: None,
                down: none(),
                changed,
            };
            network.wake()
        };
        assert_eq!(at(10, 15), Some(Duration::from_secs(17)));
        assert_eq!(at(10, 29), Some(Duration::from_secs(30)));
    }
}

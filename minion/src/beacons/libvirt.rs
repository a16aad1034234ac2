//! The beacon `libvirt`: what happens to the virtual machines of a hypervisor.

use super::Beacon;
use crate::follow::{Follow, Follower};
use crate::program::Order;
use crate::senses::Senses;
use resources::{beacons::Settings, glob};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Virtual machines that are remembered.
const DOMAINS_MAX: usize = 1024;
/// Longest name that is taken.
const NAME_BYTES_MAX: usize = 256;
/// Which hypervisor, unless another is said.
const CONNECT: &str = "qemu:///system";
/// virsh keeps its lines back where nobody sees them, unless it is told not to.
const BY_LINE: &[&str] = &["stdbuf", "--output=L"];
/// Events that are told only if they are asked for.
const QUIET: [&str; 2] = ["defined", "undefined"];

pub(super) fn make(settings: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Follower::boxed(Watch::new(settings)?))
}

impl Follow for Watch {
    fn program(&mut self, _: &dyn Senses) -> Result<Order, String> {
        Ok(Order { through: BY_LINE, ..Order::new(self.argv()) })
    }
    fn line(&mut self, _: Duration, line: &str) -> Option<Vec<Map<String, Value>>> {
        let (name, kind, detail) = lifecycle(line)?;
        Some(self.take(name, kind, detail).into_iter().collect())
    }
    fn question(&self) -> Option<Order> {
        Some(Order::new(self.list()))
    }
    fn answer(&mut self, text: &str) -> Option<Vec<Map<String, Value>>> {
        Some(self.listed(text))
    }
}

/// Follows the virtual machines of one hypervisor.
#[derive(Debug)]
struct Watch {
    names: Vec<String>,
    events: Vec<String>,
    connect: String,
    /// Those that run; none before they were listed once.
    running: Option<BTreeSet<String>>,
}

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let connect = settings.text("connect").unwrap_or_else(|| CONNECT.to_owned());
        if connect.starts_with('-') {
            return Err(format!("`connect` is an address such as {CONNECT}"));
        }
        let (names, events) = (settings.texts("domain"), settings.texts("events"));
        Ok(Self { names, events, connect, running: None })
    }

    /// What tells what happens from now on.
    fn argv(&self) -> Vec<String> {
        self.virsh(&["event", "--event", "lifecycle", "--loop"])
    }

    /// What tells which run.
    fn list(&self) -> Vec<String> {
        self.virsh(&["list", "--name"])
    }

    fn virsh(&self, words: &[&str]) -> Vec<String> {
        let fixed = ["virsh", "--readonly", "--quiet", "--connect", &self.connect];
        fixed.iter().chain(words).map(|it| (*it).to_owned()).collect()
    }

    /// The names of those that run, a line each: what began and ended while nobody looked is told.
    fn listed(&mut self, text: &str) -> Vec<Map<String, Value>> {
        let names = text.lines().map(str::trim).filter(|it| !it.is_empty() && it.len() <= NAME_BYTES_MAX);
        let now: BTreeSet<String> = names.take(DOMAINS_MAX).map(str::to_owned).collect();
        let Some(before) = self.running.replace(now.clone()) else { return Vec::new() };
        let ended = before.difference(&now).map(|it| (it, "stopped"));
        let begun = now.difference(&before).map(|it| (it, "started"));
        let missed = |(name, event): (&String, &str)| {
            let mut data = self.event(name, event, "")?;
            data.insert("missed".to_owned(), json!(true));
            Some(data)
        };
        ended.chain(begun).filter_map(missed).collect()
    }

    /// Takes a line in; the data of an event, if there is one.
    fn take(&mut self, name: &str, kind: &str, detail: &str) -> Option<Map<String, Value>> {
        if let Some(running) = &mut self.running {
            match kind {
                "Started" if running.len() < DOMAINS_MAX => {
                    running.insert(name.to_owned());
                }
                "Stopped" => {
                    running.remove(name);
                }
                _ => {}
            }
        }
        self.event(name, word(kind, detail)?, detail)
    }

    fn event(&self, name: &str, event: &str, detail: &str) -> Option<Map<String, Value>> {
        let wanted = if self.events.is_empty() {
            !QUIET.contains(&event)
        } else {
            self.events.iter().any(|it| it == event)
        };
        let named = self.names.is_empty() || self.names.iter().any(|it| glob(it, name));
        if !wanted || !named {
            return None;
        }
        let mut data = Map::new();
        data.insert("domain".to_owned(), json!(name));
        data.insert("event".to_owned(), json!(event));
        if !detail.is_empty() {
            data.insert("detail".to_owned(), json!(detail));
        }
        Some(data)
    }
}

/// `event 'lifecycle' for domain 'NAME': Stopped Destroyed`; older ones write the name without quotes.
fn lifecycle(line: &str) -> Option<(&str, &str, &str)> {
    let rest = line.trim().split_once("event 'lifecycle' for domain ")?.1;
    let (name, rest) = rest.rsplit_once(": ")?;
    let name = name.strip_prefix('\'').and_then(|it| it.strip_suffix('\'')).unwrap_or(name);
    let (kind, detail) = rest.split_once(' ').unwrap_or((rest, ""));
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some((name, kind, detail.trim()))
}

/// How it ended is more than that it did. `Shutdown` comes before `Stopped Shutdown`, when the guest has ended: it is
/// the end that counts.
fn word(kind: &str, detail: &str) -> Option<&'static str> {
    Some(match (kind, detail) {
        ("Started", _) => "started",
        ("Stopped", "Shutdown") => "shutdown",
        ("Stopped", "Destroyed") => "destroyed",
        ("Stopped", "Crashed") | ("Crashed", _) => "crashed",
        ("Stopped", "Failed") => "failed",
        ("Stopped", "Migrated") => "migrated",
        ("Stopped", "Saved") => "saved",
        ("Stopped", _) => "stopped",
        ("Suspended" | "PMSuspended", _) => "suspended",
        ("Resumed", _) => "resumed",
        ("Defined", _) => "defined",
        ("Undefined", _) => "undefined",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::beacons::kind;

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Watch {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("libvirt").unwrap(), &map).unwrap()).unwrap()
    }

    fn told(watch: &mut Watch, line: &str) -> Option<Map<String, Value>> {
        watch.line(Duration::ZERO, line)?.pop()
    }

    /// The lines are those of tools/virsh-domain-event.c of libvirt 9; those without quotes are of older ones.
    #[test]
    fn every_line_of_virsh_is_told_as_it_stands_beside_it() {
        let cases = [
            ("event 'lifecycle' for domain 'vm-1': Started Booted", Some("vm-1 started Booted")),
            ("event 'lifecycle' for domain vm-1: Stopped Destroyed", Some("vm-1 destroyed Destroyed")),
            ("event 'lifecycle' for domain 'vm-1': Stopped Shutdown", Some("vm-1 shutdown Shutdown")),
            ("event 'lifecycle' for domain 'vm-1': Stopped Crashed", Some("vm-1 crashed Crashed")),
            ("event 'lifecycle' for domain 'vm-1': Crashed Panicked", Some("vm-1 crashed Panicked")),
            ("event 'lifecycle' for domain 'vm-1': Stopped Snapshot", Some("vm-1 stopped Snapshot")),
            ("event 'lifecycle' for domain 'a: b': Suspended API error", Some("a: b suspended API error")),
            (
                "2026-11-20 20:33:24.123+0000: event 'lifecycle' for domain 'x': Resumed Unpaused",
                Some("x resumed Unpaused"),
            ),
            ("event 'lifecycle' for domain 'vm-1': Shutdown Finished", None),
            ("event 'lifecycle' for domain 'vm-1': Defined Added", None),
            ("event 'reboot' for domain 'vm-1'", None),
            ("events received: 3", None),
            ("error: Disconnected from qemu:///system due to end of file", None),
        ];
        for (line, wanted) in cases {
            let told = told(&mut watch(json!({})), line);
            let words = |it: &Map<String, Value>| {
                ["domain", "event", "detail"].map(|name| it[name].as_str().unwrap().to_owned()).join(" ")
            };
            assert_eq!(told.as_ref().map(words).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn what_changed_while_nobody_looked_is_told_afterwards() {
        let mut it = watch(json!({"domain": "vm-*"}));
        assert!(it.listed("vm-1\nvm-2\nother\n\n").is_empty());
        told(&mut it, "event 'lifecycle' for domain 'vm-2': Stopped Destroyed");
        let missed = it.listed("vm-3\n");
        let missed: Vec<String> = missed.into_iter().map(|it| Value::from(it).to_string()).collect();
        assert_eq!(
            missed,
            [
                r#"{"domain":"vm-1","event":"stopped","missed":true}"#,
                r#"{"domain":"vm-3","event":"started","missed":true}"#
            ]
        );
    }

    #[test]
    fn a_hypervisor_is_no_option() {
        let map = json!({"connect": "--help"}).as_object().unwrap().clone();
        assert!(Watch::new(&Settings::read(kind("libvirt").unwrap(), &map).unwrap()).is_err());
        let argv = watch(json!({})).argv().join(" ");
        assert_eq!(argv, "virsh --readonly --quiet --connect qemu:///system event --event lifecycle --loop");
    }
}

//! The beacon `updates`: how many packages could be upgraded, as far as the machine knows.

use super::Beacon;
use crate::follow::{Ask, Asker};
use crate::program::{End, Order, find};
use crate::senses::Senses;
use resources::{
    beacons::Settings,
    packages::{Manager, Reach},
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// It has time.
const IN_PEACE: &[&str] = &["nice", "-n", "10"];
/// Shortest interval, and how long machines that begin at once are spread over.
const EVERY_LEAST_MS: u64 = 3_600_000;
const SPREAD_MS: u64 = 600_000;
/// Longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(5);
/// Names of packages that an event has.
const PACKAGES_MAX: usize = 20;

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let every_ms = settings.interval_ms();
    if every_ms < EVERY_LEAST_MS {
        return Err("`interval` must be an hour at least: the question is expensive".to_owned());
    }
    let program = |it: &str| find(it.rsplit('/').next().unwrap_or(it), senses.root()).is_some();
    let manager = Manager::PROGRAMS.iter().find(|(_, it)| program(it)).map(|(manager, _)| *manager);
    let manager = manager.ok_or("this machine has no package manager that is known")?;
    let (every, first) = (Duration::from_millis(every_ms), Duration::from_millis(spread_ms(senses)));
    Ok(Box::new(Asker::new(Question { manager, watch: Watch::new(settings) }, every, ANSWER_MAX, first)))
}

/// Machines that began at once ask one after the other.
fn spread_ms(senses: &dyn Senses) -> u64 {
    let id = senses.text("/etc/machine-id").unwrap_or_default();
    let sum = id.bytes().fold(7_u64, |sum, it| sum.wrapping_mul(31).wrapping_add(it.into()));
    sum % SPREAD_MS
}

/// The package manager, and what its answers mean.
struct Question {
    manager: Manager,
    watch: Watch,
}

impl Ask for Question {
    fn program(&mut self, _: &dyn Senses) -> Result<Order, String> {
        Ok(Order { through: IN_PEACE, ..Order::new(Watch::program(self.manager)) })
    }
    fn answer(&mut self, _: Duration, text: &str, end: &End) -> Result<Vec<Map<String, Value>>, String> {
        if !end.code.is_some_and(|code| Watch::is_answer(self.manager, code, text)) {
            return Err(end.reason.clone());
        }
        Ok(self.watch.answer(self.manager, text).into_iter().collect())
    }
    fn told(&self) -> Value {
        self.watch.told.filter(|it| it.0 > 0).map_or(Value::Null, |it| json!(it))
    }
    fn resume(&mut self, told: &Value) {
        if let Ok(told) = serde_json::from_value(told.clone()) {
            self.watch.told = Some(told);
        }
    }
}

/// Asks now and then.
#[derive(Debug)]
struct Watch {
    least: usize,
    security_only: bool,
    /// What was told, or taken for how it always was.
    told: Option<(usize, Option<usize>)>,
}

impl Watch {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Self {
        let least = settings.count("least").and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        Self { least, security_only: settings.flag("security_only", false), told: Some((0, Some(0))) }
    }

    /// The question, as the state modules ask it, of the lists that are there.
    fn program(manager: Manager) -> Vec<String> {
        let mut argv = manager.provider().upgrades(Reach::Full).argv;
        // These would fetch lists that are old.
        match manager {
            Manager::Dnf | Manager::Yum => argv.insert(1, "--cacheonly".to_owned()),
            Manager::Apk => argv.insert(1, "--no-network".to_owned()),
            Manager::Apt | Manager::Zypper | Manager::Pacman => {}
        }
        argv
    }

    /// Whether a program that ended so has answered. pacman ends with 1 where there is nothing.
    fn is_answer(manager: Manager, code: i32, text: &str) -> bool {
        manager.provider().is_good(code) || (manager == Manager::Pacman && code == 1 && text.is_empty())
    }

    /// Takes the answer in; the data of an event if the numbers are others than before.
    fn answer(&mut self, manager: Manager, text: &str) -> Option<Map<String, Value>> {
        let all = manager.provider().parse_upgrades(text);
        let secure = (manager == Manager::Apt).then(|| security(text));
        let of_both = match &secure {
            Some(secure) if self.security_only => secure.len(),
            _ => all.len(),
        };
        let counts = if of_both < self.least {
            (0, secure.as_ref().map(|_| 0))
        } else {
            (all.len(), secure.as_ref().map(Vec::len))
        };
        let compared = |it: (usize, Option<usize>)| {
            if self.security_only && it.1.is_some() { (0, it.1) } else { (it.0, Some(it.1.unwrap_or(0))) }
        };
        let same = self.told.is_some_and(|told| compared(told) == compared(counts));
        self.told = Some(counts);
        if same {
            return None;
        }
        let names: Vec<&str> = match &secure {
            Some(secure) if self.security_only => secure.iter().copied().take(PACKAGES_MAX).collect(),
            _ => all.keys().map(String::as_str).take(PACKAGES_MAX).collect(),
        };
        let mut data = Map::new();
        data.insert("count".to_owned(), json!(counts.0));
        if let Some(secure) = counts.1 {
            data.insert("security".to_owned(), json!(secure));
        }
        data.insert("packages".to_owned(), json!(if counts.0 == 0 { &[][..] } else { &names }));
        data.insert("manager".to_owned(), json!(manager.name()));
        Some(data)
    }
}

/// `Inst apt [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [amd64])`: what is in the parentheses names the
/// repositories that have it.
fn security(text: &str) -> Vec<&str> {
    let one = |line: &'_ str| -> Option<(usize, usize)> {
        let rest = line.strip_prefix("Inst ")?;
        let end = rest.find(' ')?;
        let from = rest.split_once('(')?.1;
        from.to_ascii_lowercase().contains("-security").then_some((5, 5 + end))
    };
    text.lines().filter_map(|line| one(line).map(|(from, to)| &line[from..to])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::beacons::kind;

    /// From apt 2.6.1 on Debian 12.
    const APT: &str = "Reading package lists...\nCalculating upgrade...\nInst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\nInst apt [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [amd64])\nInst hello (2.10-3 Debian:12.15/oldstable [amd64])\nConf bash (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\n";

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn watch(settings: Value) -> Watch {
        let map = settings.as_object().unwrap().clone();
        Watch::new(&Settings::read(kind("updates").unwrap(), &map).unwrap())
    }

    fn told(watch: &mut Watch, manager: Manager, text: &str) -> Option<String> {
        watch.answer(manager, text).map(|it| Value::from(it).to_string())
    }

    #[test]
    fn an_event_when_the_numbers_change() {
        let mut it = watch(json!({}));
        assert_eq!(told(&mut it, Manager::Apt, ""), None, "nothing is how it should be");
        let three = r#"{"count":3,"security":1,"packages":["apt","bash","hello"],"manager":"apt"}"#;
        assert_eq!(told(&mut it, Manager::Apt, APT).as_deref(), Some(three));
        assert_eq!(told(&mut it, Manager::Apt, APT), None);
        let none = r#"{"count":0,"security":0,"packages":[],"manager":"apt"}"#;
        assert_eq!(told(&mut it, Manager::Apt, "Calculating upgrade...\n").as_deref(), Some(none));
    }

    #[test]
    fn only_security_or_only_many_can_count() {
        let mut it = watch(json!({"security_only": true}));
        let one = r#"{"count":3,"security":1,"packages":["apt"],"manager":"apt"}"#;
        assert_eq!(told(&mut it, Manager::Apt, APT).as_deref(), Some(one));
        assert_eq!(
            told(&mut it, Manager::Apt, &APT.replace("Inst hello", "Keep hello")),
            None,
            "that was no matter of security"
        );
        assert_eq!(told(&mut watch(json!({"least": 4})), Manager::Apt, APT), None);
        assert!(told(&mut watch(json!({"least": 3})), Manager::Apt, APT).is_some());
    }

    #[test]
    fn no_manager_fetches_lists() {
        for (manager, wanted) in [
            (Manager::Apt, "apt-get -q --just-print"),
            (Manager::Dnf, "dnf --cacheonly -q check-update"),
            (Manager::Zypper, "zypper --non-interactive --quiet --no-refresh list-updates"),
            (Manager::Pacman, "pacman -Qu"),
            (Manager::Apk, "apk --no-network --no-progress --simulate upgrade"),
        ] {
            let argv = Watch::program(manager).join(" ");
            assert!(argv.starts_with(wanted), "{argv}");
        }
        let mut it = watch(json!({}));
        let dnf = told(&mut it, Manager::Dnf, "kernel.x86_64   5.14.0-2   baseos\n").unwrap();
        assert_eq!(dnf, r#"{"count":1,"packages":["kernel"],"manager":"dnf"}"#);
        assert!(Watch::is_answer(Manager::Dnf, 100, "") && Watch::is_answer(Manager::Pacman, 1, ""));
        assert!(!Watch::is_answer(Manager::Apt, 100, ""));
    }
}

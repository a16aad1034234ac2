//! A connection to systemd over the system bus: what to send, and what is heard. Pure; whoever has the socket moves the
//! bytes.

use super::dbus::{self, Body, Call, Kind, MESSAGE_BYTES_MAX, Malformed, Message, Reader};
use super::units::{is_pattern, object_path, unit_of_path};

/// Longest line of the greeting.
const LINE_BYTES_MAX: usize = 512;
/// The answers that must be good, by their call.
const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// Why a connection is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// It speaks something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It does not let us in.
    #[error("the bus does not let us in: {0}")]
    Refused(String),
    /// A call came back with an error.
    #[error("systemd does not answer: {0}")]
    Failed(String),
}

/// What is known of a unit, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) unit: String,
    pub(super) active: Option<String>,
    pub(super) sub: Option<String>,
    pub(super) result: Option<String>,
    pub(super) restarts: Option<u32>,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// All units that fit.
    All(Vec<Told>),
    /// Something of one changed.
    Changed(Told),
}

/// The connection.
#[derive(Debug)]
pub(super) struct Bus {
    /// Units, with their suffix, and patterns of them.
    names: Vec<String>,
    greeted: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    serial: u32,
    /// The call that asks for all of them.
    asking: Option<u32>,
    /// Something came or went while that was under way.
    again: bool,
}

impl Bus {
    /// Says hello as this user.
    pub(super) fn new(names: Vec<String>, uid: u32) -> Self {
        // A digit is 3 and itself in hexadecimal.
        let hex: String = uid.to_string().chars().flat_map(|it| ['3', it]).collect();
        let output = format!("\0AUTH EXTERNAL {hex}\r\n").into_bytes();
        let input = Vec::new();
        Self { names, greeted: false, input, output, serial: 0, asking: None, again: false }
    }

    /// What is to be sent.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether all that it wants to say was taken.
    pub(super) fn has_nothing_to_say(&self) -> bool {
        self.output.is_empty()
    }

    /// What came.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, Broken> {
        self.input.extend_from_slice(bytes);
        let mut heard = Vec::new();
        if !self.greeted && !self.greet()? {
            return Ok(heard);
        }
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(length) = dbus::length(&input[at..])? {
            let Some(bytes) = input.get(at..at + length) else { break };
            self.on_message(&dbus::decode(bytes)?, &mut heard)?;
            at += length;
        }
        self.input = input[at..].to_vec();
        if self.input.len() > MESSAGE_BYTES_MAX { Err(Malformed.into()) } else { Ok(heard) }
    }

    /// The first line that comes; then everything is asked for at once.
    fn greet(&mut self) -> Result<bool, Broken> {
        let Some(end) = self.input.windows(2).position(|it| it == b"\r\n") else {
            return if self.input.len() > LINE_BYTES_MAX { Err(Malformed.into()) } else { Ok(false) };
        };
        let rest = self.input.split_off(end + 2);
        let line = std::mem::replace(&mut self.input, rest);
        if !line.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&line[..end.min(LINE_BYTES_MAX)]).into_owned();
            return Err(Broken::Refused(said));
        }
        self.greeted = true;
        self.output.extend(b"BEGIN\r\n");
        self.call_bus("Hello", Body::None);
        for rule in rules(&self.names) {
            self.call_bus("AddMatch", Body::Text(&rule));
        }
        self.call_systemd("Subscribe", Body::None);
        self.ask();
        Ok(true)
    }

    fn call_bus(&mut self, member: &str, body: Body<'_>) {
        self.call(&Call { destination: BUS, path: BUS_PATH, interface: BUS, member, body });
    }

    fn call_systemd(&mut self, member: &str, body: Body<'_>) {
        self.call(&Call { destination: SYSTEMD, path: SYSTEMD_PATH, interface: MANAGER, member, body });
    }

    fn call(&mut self, call: &Call<'_>) {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        self.output.extend(call.encode(self.serial));
    }

    /// Asks for all of them, once at a time.
    fn ask(&mut self) {
        if self.asking.is_some() {
            self.again = true;
            return;
        }
        let names = self.names.clone();
        let patterns: Vec<&str> = names.iter().map(String::as_str).collect();
        self.call_systemd("ListUnitsByPatterns", Body::Lists(&[], &patterns));
        self.asking = Some(self.serial);
    }

    fn on_message(&mut self, message: &Message<'_>, heard: &mut Vec<Heard>) -> Result<(), Broken> {
        match message.kind {
            Kind::Error => {
                let text = if message.signature.starts_with('s') { message.body().text()? } else { "" };
                let said: String = format!("{} {text}", message.error).chars().take(300).collect();
                return Err(Broken::Failed(said));
            }
            Kind::Return if Some(message.answers) == self.asking => {
                self.asking = None;
                heard.push(Heard::All(listed(message)?));
                if std::mem::take(&mut self.again) {
                    self.ask();
                }
            }
            Kind::Signal => match message.member {
                "PropertiesChanged" => heard.extend(changed(message)?.map(Heard::Changed)),
                "UnitNew" | "UnitRemoved" if message.signature == "so" => {
                    let unit = message.body().text()?;
                    if super::units::is_wanted(&self.names, unit) {
                        self.ask();
                    }
                }
                "Reloading" => self.ask(),
                _ => {}
            },
            Kind::Return | Kind::Other => {}
        }
        Ok(())
    }
}

/// What the bus is to pass on: of units with a name theirs only.
fn rules(names: &[String]) -> Vec<String> {
    let from = format!("type='signal',sender='{SYSTEMD}'");
    let changed = format!("{from},interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'");
    let mut rules = vec![format!("{from},interface='{MANAGER}',member='Reloading'")];
    let (patterns, plain): (Vec<&String>, Vec<&String>) = names.iter().partition(|it| is_pattern(it));
    for member in ["UnitNew", "UnitRemoved"] {
        let rule = format!("{from},interface='{MANAGER}',member='{member}'");
        if patterns.is_empty() {
            rules.extend(plain.iter().map(|name| format!("{rule},arg0='{name}'")));
        } else {
            rules.push(rule);
        }
    }
    if patterns.is_empty() {
        rules.extend(plain.iter().map(|name| format!("{changed},path='{}'", object_path(name))));
    } else {
        rules.push(format!("{changed},path_namespace='{SYSTEMD_PATH}/unit'"));
    }
    rules
}

/// `a(ssssssouso)`: name, description, loaded, active, sub, followed, path, number of the job, its type, its path.
fn listed(message: &Message<'_>) -> Result<Vec<Told>, Malformed> {
    let mut units = Vec::new();
    if message.signature != "a(ssssssouso)" {
        return Err(Malformed);
    }
    let mut body = message.body();
    let end = body.list(8)?;
    while body.at() < end {
        body.align(8)?;
        let unit = body.text()?.to_owned();
        body.skip("ss")?;
        let (active, sub) = (Some(body.text()?.to_owned()), Some(body.text()?.to_owned()));
        body.skip("souso")?;
        units.push(Told { unit, active, sub, ..Told::default() });
    }
    Ok(units)
}

/// `sa{sv}as`: of which interface, what has which value now, and what has another one that is not said.
fn changed(message: &Message<'_>) -> Result<Option<Told>, Malformed> {
    let Some(unit) = unit_of_path(message.path).filter(|_| message.signature == "sa{sv}as") else {
        return Ok(None);
    };
    let mut told = Told { unit, ..Told::default() };
    let mut body = message.body();
    let _interface = body.text()?;
    let end = body.list(8)?;
    while body.at() < end {
        body.align(8)?;
        let name = body.text()?;
        let signature = body.signature()?;
        property(&mut told, name, signature, &mut body)?;
    }
    let said = told != Told { unit: told.unit.clone(), ..Told::default() };
    Ok(said.then_some(told))
}

fn property(told: &mut Told, name: &str, signature: &str, body: &mut Reader<'_>) -> Result<(), Malformed> {
    match (name, signature) {
        ("ActiveState", "s") => told.active = Some(body.text()?.to_owned()),
        ("SubState", "s") => told.sub = Some(body.text()?.to_owned()),
        ("Result", "s") => told.result = Some(body.text()?.to_owned()),
        ("NRestarts", "u") => told.restarts = Some(body.number()?),
        _ => body.skip(signature)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dbus-daemon 1.14 and systemd 252 said on Debian 12 after the calls that are made here, while a service was
    /// killed, and another one that systemd starts again: a message a line.
    const RECORDED: &str = include_str!("recorded.txt");

    fn recorded() -> Vec<u8> {
        let digits: Vec<u8> = RECORDED.bytes().filter(u8::is_ascii_hexdigit).collect();
        let hex = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap();
        digits.chunks(2).map(hex).collect()
    }

    fn bus(names: &[&str]) -> Bus {
        Bus::new(names.iter().map(|it| (*it).to_owned()).collect(), 0)
    }

    fn active(unit: &str, active: &str, sub: &str) -> Told {
        let [active, sub] = [active, sub].map(|it| Some(it.to_owned()));
        Told { unit: unit.to_owned(), active, sub, ..Told::default() }
    }

    #[test]
    fn what_systemd_said_is_understood_however_it_is_cut() {
        let mut stream = b"OK 5afbb858004530f5991b1cd96b00ae1e\r\n".to_vec();
        stream.extend(recorded());
        for size in [1, 7, 100, stream.len()] {
            let mut bus = bus(&["vict*.service"]);
            assert_eq!(bus.take_output(), b"\0AUTH EXTERNAL 30\r\n");
            let mut heard = Vec::new();
            for piece in stream.chunks(size) {
                heard.extend(bus.hear(piece).unwrap());
            }
            let listed = vec![
                active("victim2.service", "active", "running"),
                active("victim.service", "active", "running"),
            ];
            assert_eq!(heard[0], Heard::All(listed));
            let result = Told {
                unit: "victim.service".to_owned(),
                result: Some("signal".to_owned()),
                restarts: Some(0),
                ..Told::default()
            };
            assert_eq!(heard[1], Heard::Changed(result));
            assert_eq!(heard[2], Heard::Changed(active("victim.service", "failed", "failed")));
            let states: Vec<&str> = heard
                .iter()
                .filter_map(|it| match it {
                    Heard::Changed(told) if told.unit == "victim2.service" => told.sub.as_deref(),
                    _ => None,
                })
                .collect();
            assert_eq!(
                states,
                ["failed", "auto-restart", "auto-restart", "auto-restart", "dead", "running", "running"]
            );
        }
    }

    #[test]
    fn names_ask_for_their_own_signals_and_patterns_for_all() {
        let rules_of = |names: &[&str]| rules(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        let plain = rules_of(&["ssh.service"]);
        assert_eq!(plain.len(), 4);
        assert!(plain[1].ends_with("member='UnitNew',arg0='ssh.service'"), "{plain:?}");
        assert!(plain[3].ends_with(",path='/org/freedesktop/systemd1/unit/ssh_2eservice'"), "{plain:?}");
        let patterns = rules_of(&["ssh.service", "nginx*.service"]);
        assert!(patterns[3].ends_with(",path_namespace='/org/freedesktop/systemd1/unit'"), "{patterns:?}");
    }

    #[test]
    fn who_is_not_let_in_says_so() {
        let mut it = bus(&["a.service"]);
        assert_eq!(it.hear(b"REJECTED EXTERNAL\r\n"), Err(Broken::Refused("REJECTED EXTERNAL".to_owned())));
        assert!(bus(&["a.service"]).hear(&[b'x'; 1000]).is_err());
    }

    #[test]
    fn whatever_bytes_come_nothing_panics() {
        let good = recorded();
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap()
        };
        let (mut broken, mut heard) = (0, 0);
        for _ in 0..2_000 {
            let mut bytes = good.clone();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
            bytes.truncate(random() % bytes.len() + 1);
            let mut bus = bus(&["victim.service"]);
            bus.hear(b"OK 1\r\n").unwrap();
            match bus.hear(&bytes) {
                Ok(it) => heard += it.len(),
                Err(_) => broken += 1,
            }
        }
        assert!(broken > 50 && heard > 50, "{broken} {heard}");
    }
}

//! Names of systemd's units, and of their objects on the bus.

use resources::glob;
use std::fmt::Write;

/// Where the objects of units are.
const FOLDER: &str = "/org/freedesktop/systemd1/unit/";
/// Kinds of units; a name without one of these is a service's.
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".timer",
    ".target",
    ".mount",
    ".automount",
    ".path",
    ".slice",
    ".scope",
    ".swap",
    ".device",
];

/// With its suffix.
pub(super) fn full_name(name: &str) -> String {
    if SUFFIXES.iter().any(|it| name.ends_with(it)) { name.to_owned() } else { format!("{name}.service") }
}

/// Whether it can stand for several.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether a unit has one of these names.
pub(super) fn is_wanted(names: &[String], unit: &str) -> bool {
    names.iter().any(|name| if is_pattern(name) { glob(name, unit) } else { name == unit })
}

/// What a name may consist of: it becomes part of a rule for the bus and an argument of a program.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |it: u8| it.is_ascii_alphanumeric() || b":-_.\\@*?[]!".contains(&it);
    (1..=255).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(good)
}

/// The object of a unit: what is not a letter or a digit is written in hexadecimal behind `_`, and so is a digit in front.
pub(super) fn object_path(unit: &str) -> String {
    let mut path = FOLDER.to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(byte.into());
        } else {
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// The unit of an object.
pub(super) fn unit_of_path(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix(FOLDER)?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = rest.next() {
        if byte == b'_' {
            let hex = [rest.next()?, rest.next()?];
            name.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok().filter(|it| !it.is_empty() && it.len() <= 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_their_objects_have_names_that_lead_to_each_other() {
        for (unit, object) in [
            ("ssh.service", "ssh_2eservice"),
            ("postgresql@15-main.service", "postgresql_4015_2dmain_2eservice"),
            ("7zip.service", "_37zip_2eservice"),
        ] {
            assert_eq!(object_path(unit), format!("{FOLDER}{object}"));
            assert_eq!(unit_of_path(&format!("{FOLDER}{object}")).as_deref(), Some(unit));
        }
        for other in ["/org/freedesktop/systemd1/job/1", FOLDER, "/org/freedesktop/systemd1/unit/a_2"] {
            assert_eq!(unit_of_path(other), None, "{other}");
        }
    }

    #[test]
    fn names_may_leave_out_what_they_are_and_stand_for_several() {
        assert_eq!(full_name("nginx"), "nginx.service");
        assert_eq!(full_name("fstrim.timer"), "fstrim.timer");
        let names = ["ssh.service".to_owned(), "postgresql@*.service".to_owned()];
        assert!(is_wanted(&names, "postgresql@15-main.service") && is_wanted(&names, "ssh.service"));
        assert!(!is_wanted(&names, "sshd.service"));
        for (name, good) in [("a.service", true), ("-M", false), ("a'b", false), ("a,b", false), ("", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
    }
}

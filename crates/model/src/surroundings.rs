//! What a machine sees around itself that a copy of its disk does not take along, or not whole.

use serde::{Deserialize, Serialize};

/// Serial numbers that makers of cheap boards leave in all of them: they tell no machine from another.
const SHARED: &[&str] = &[
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "01234567-8910-abcd-efab-cdefabcdefab",
    "to be filled by o.e.m.",
    "not settable",
    "not specified",
    "default string",
    "system serial number",
];
/// Shortest serial number that says anything.
const SERIAL_MIN: usize = 8;

/// What a machine sees around itself. What it cannot see is empty, and proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    /// `/etc/machine-id`: goes along with the disk, unless somebody resets it.
    pub machine_id: String,
    /// DMI's product uuid, or the serial number of a board without DMI: stays with the hardware.
    pub hardware: String,
    /// Addresses of network cards, not of what containers and tunnels add; at most 16.
    pub macs: Vec<String>,
    /// Whether the hardware is a virtual machine.
    pub is_virtual: bool,
}

/// What became of one thing since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// It is not known now, or was not then.
    Unknown,
    /// As it was.
    Same,
    /// Another.
    Changed,
}

/// Two looks side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Of `/etc/machine-id`.
    pub machine_id: Sameness,
    /// Of the serial number.
    pub hardware: Sameness,
    /// Of the network cards; one that stayed is enough to be the same.
    pub macs: Sameness,
}

impl Surroundings {
    /// This look beside an earlier one, or beside another machine's.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Comparison {
        let known = |it: &Self| !it.macs.is_empty();
        let macs = match known(self) && known(other) {
            false => Sameness::Unknown,
            true if self.macs.iter().any(|it| other.macs.contains(it)) => Sameness::Same,
            true => Sameness::Changed,
        };
        Comparison {
            machine_id: of_texts(&self.machine_id, &other.machine_id, 1),
            hardware: of_texts(&self.hardware, &other.hardware, SERIAL_MIN),
            macs,
        }
    }
}

/// Whether a serial number belongs to one machine alone, as far as one can tell.
#[must_use]
pub fn tells_apart(serial: &str) -> bool {
    let serial = serial.trim().to_lowercase();
    let mut symbols = serial.chars().filter(char::is_ascii_alphanumeric);
    let first = symbols.next();
    serial.len() >= SERIAL_MIN && !SHARED.contains(&&*serial) && symbols.any(|it| Some(it) != first)
}

fn of_texts(one: &str, other: &str, chars_min: usize) -> Sameness {
    let known = |it: &str| it.len() >= chars_min && (chars_min == 1 || tells_apart(it));
    match known(one) && known(other) {
        false => Sameness::Unknown,
        true if one == other => Sameness::Same,
        true => Sameness::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_that_many_boards_share_tell_nothing_apart() {
        for (serial, expected) in [
            ("4c4c4544-0044-3510-8052-b4c04f4a3132", true),
            ("10000000c0ffee42", true),
            ("03000200-0400-0500-0006-000700080009", false),
            ("00000000-0000-0000-0000-000000000000", false),
            ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", false),
            ("Not Settable", false),
            ("0000000", false),
            ("", false),
        ] {
            assert_eq!(tells_apart(serial), expected, "{serial}");
        }
    }

    #[test]
    fn what_is_not_known_is_neither_the_same_nor_another() {
        use Sameness::{Changed, Same, Unknown};
        let look = |machine_id: &str, hardware: &str, macs: &[&str]| Surroundings {
            machine_id: machine_id.to_owned(),
            hardware: hardware.to_owned(),
            macs: macs.iter().map(|it| (*it).to_owned()).collect(),
            is_virtual: false,
        };
        let (a, b) = ("4c4c4544-0044", "564d1234-9f00");
        for (one, other, expected) in [
            (look("m", a, &["x", "y"]), look("m", a, &["y"]), (Same, Same, Same)),
            (look("m", a, &["x"]), look("n", b, &["y"]), (Changed, Changed, Changed)),
            (look("", a, &[]), look("n", "", &["y"]), (Unknown, Unknown, Unknown)),
            (look("m", "00000000", &["x"]), look("m", b, &["x"]), (Same, Unknown, Same)),
        ] {
            let found = one.compare(&other);
            assert_eq!((found.machine_id, found.hardware, found.macs), expected, "{one:?} {other:?}");
            assert_eq!(other.compare(&one), found, "either way");
        }
    }
}

//! Whether this machine is still the one that its key was made on, or a copy of it that woke up elsewhere.

use model::surroundings::{Comparison, Sameness, Surroundings, tells_apart};
use std::path::Path;

/// Network cards that are looked at.
const MACS_MAX: usize = 16;
/// Characters of one thing.
const CHARS_MAX: usize = 128;
/// Bytes that are read of a file of the kernel's.
const BYTES_MAX: usize = 4096;
/// What makers of hypervisors write where makers of machines write their names.
const VIRTUAL: &[&str] = &[
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "virtual machine",
    "bochs",
    "openstack",
    "amazon ec2",
    "google compute",
    "parallels",
    "bhyve",
    "hvm domu",
    "cloud-hypervisor",
    "firecracker",
];

/// What a minion makes of a look around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing changed that matters.
    Same,
    /// The same machine, with other parts: it stays who it is. Why, for people.
    Altered(String),
    /// A copy: it must not go on under the key of another. Why, for people.
    Copied(String),
}

/// Compares what is seen now with what was seen when the key was accepted. The table is in
/// `docs/decisions/0017-copies-of-a-machine.md`.
#[must_use]
pub fn judge(then: &Surroundings, now: &Surroundings) -> Judgement {
    use Sameness::{Changed, Same, Unknown};
    let Comparison { machine_id, hardware, macs } = now.compare(then);
    let copied = |why: &str| Judgement::Copied(why.to_owned());
    let altered = |why: &str| Judgement::Altered(why.to_owned());
    match (machine_id, hardware, macs) {
        (Changed, Changed, _) => copied("machine-id and hardware are others"),
        (Same | Unknown, Changed, Changed) if now.is_virtual => copied(
            "this is another virtual machine with the same disk: its hardware and all network cards are others",
        ),
        (_, Changed, _) => altered("the hardware is another"),
        (Changed, Same | Unknown, _) => altered("the machine-id is another"),
        (Same | Unknown, Same | Unknown, _) => Judgement::Same,
    }
}

/// Looks around. `root` is that of the machine that is described.
#[must_use]
pub fn look(root: &Path, sandbox: bool) -> Surroundings {
    let sys = root.join("sys");
    let dmi = |name: &str| text(&sys.join("class/dmi/id").join(name));
    let maker = format!("{} {}", dmi("sys_vendor"), dmi("product_name")).to_lowercase();
    let serial = dmi("product_uuid").to_lowercase();
    let serial = if is_container(root) {
        // The host's: a container that is made anew on another host, with its disk, is the same container.
        String::new()
    } else if tells_apart(&serial) {
        serial
    } else {
        // A Raspberry Pi and its like have a tree of devices in place of DMI.
        text(&sys.join("firmware/devicetree/base/serial-number")).to_lowercase()
    };
    Surroundings {
        machine_id: text(&root.join("etc/machine-id")),
        hardware: serial,
        macs: macs(&sys.join("class/net"), sandbox),
        is_virtual: VIRTUAL.iter().any(|it| maker.contains(it)),
    }
}

/// Marks that those who run containers leave in them.
fn is_container(root: &Path) -> bool {
    let marks = ["run/systemd/container", ".dockerenv", "run/.containerenv"];
    let environment = std::fs::read(root.join("proc/1/environ")).unwrap_or_default();
    marks.iter().any(|it| root.join(it).exists())
        || environment.split(|it| *it == 0).any(|it| it.starts_with(b"container="))
}

/// Of cards that have a device behind them; a sandbox pretends what it likes.
fn macs(dir: &Path, sandbox: bool) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut macs: Vec<String> = entries
        .filter(|it| sandbox || it.path().join("device").exists())
        .map(|it| text(&it.path().join("address")).to_lowercase())
        .filter(|it| tells_apart(it))
        .collect();
    macs.sort();
    macs.dedup();
    macs.truncate(MACS_MAX);
    macs
}

fn text(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(BYTES_MAX)]).into_owned();
    text.trim_matches(|it: char| it.is_whitespace() || it == '\0')
        .chars()
        .filter(|it| !it.is_control())
        .take(CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(machine_id: &str, hardware: &str, macs: &[&str], is_virtual: bool) -> Surroundings {
        Surroundings {
            machine_id: machine_id.to_owned(),
            hardware: hardware.to_owned(),
            macs: macs.iter().map(|it| (*it).to_owned()).collect(),
            is_virtual,
        }
    }

    /// The table of the decision page, line by line.
    #[test]
    fn copies_repairs_and_images_are_told_apart() {
        let (one, two) = ("4c4c4544-0044", "564d1234-9f00");
        let shared = "03000200-0400-0500-0006-000700080009";
        let then = seen("m1", one, &["aa"], false);
        for (case, then, now, expected) in [
            ("a reboot", then.clone(), seen("m1", one, &["aa"], false), "same"),
            ("a second network card", then.clone(), seen("m1", one, &["aa", "bb"], false), "same"),
            ("another network card", then.clone(), seen("m1", one, &["bb"], false), "same"),
            ("a new mainboard, card and all", then.clone(), seen("m1", two, &["bb"], false), "altered"),
            (
                "a disk in another box, with the card",
                then.clone(),
                seen("m1", two, &["aa"], false),
                "altered",
            ),
            ("a virtual machine was copied", then.clone(), seen("m1", two, &["bb"], true), "copied"),
            ("its card was kept: it was moved", then.clone(), seen("m1", two, &["aa"], true), "altered"),
            ("copied, and made new as images are", then.clone(), seen("m2", two, &["bb"], false), "copied"),
            ("the same, with the card", then.clone(), seen("m2", two, &["aa"], true), "copied"),
            (
                "the machine-id was made anew in place",
                then.clone(),
                seen("m2", one, &["aa"], true),
                "altered",
            ),
            ("nothing can be seen now", then.clone(), Surroundings::default(), "same"),
            ("nothing could be seen then", Surroundings::default(), then.clone(), "same"),
            (
                "boards that all have one serial number",
                seen("m1", shared, &["aa"], true),
                seen("m1", two, &["bb"], true),
                "same",
            ),
            ("a container with a new id", seen("m1", "", &[], false), seen("m2", "", &[], false), "altered"),
        ] {
            let word = match judge(&then, &now) {
                Judgement::Same => "same",
                Judgement::Altered(_) => "altered",
                Judgement::Copied(_) => "copied",
            };
            assert_eq!(word, expected, "{case}");
        }
    }

    #[test]
    fn a_look_finds_what_is_there_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(look(root.path(), true), Surroundings::default());
        for (path, text) in [
            ("etc/machine-id", "0123456789abcdef\n"),
            ("sys/class/dmi/id/product_uuid", "4C4C4544-0044-3510\n"),
            ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("sys/class/net/eth0/address", "52:54:00:AA:BB:01\n"),
            ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut found = seen("0123456789abcdef", "4c4c4544-0044-3510", &["52:54:00:aa:bb:01"], true);
        assert_eq!(look(root.path(), true), found);
        found.macs.clear();
        assert_eq!(look(root.path(), false), found, "there is no device behind that card");
        for mark in ["run/systemd/container", ".dockerenv", "proc/1/environ"] {
            let mark = root.path().join(mark);
            std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
            std::fs::write(&mark, "TERM=x\0container=lxc\0").unwrap();
            let inside = look(root.path(), false);
            assert_eq!((inside.hardware.as_str(), &inside.machine_id), ("", &found.machine_id), "{mark:?}");
            // Made anew on another host, with a machine-id of its own: not a copy, for the old one is gone.
            let then = Surroundings { machine_id: "another".to_owned(), ..inside.clone() };
            assert!(matches!(judge(&then, &inside), Judgement::Altered(_)));
            std::fs::remove_file(&mark).unwrap();
        }
        std::fs::remove_file(root.path().join("sys/class/dmi/id/product_uuid")).unwrap();
        let tree = root.path().join("sys/firmware/devicetree/base");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("serial-number"), "10000000c0ffee42\0").unwrap();
        assert_eq!(look(root.path(), false).hardware, "10000000c0ffee42");
    }
}

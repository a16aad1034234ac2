//! Partitions and file systems on a loop device of its own.

use super::harness::{Wish, changes, fails, holds, program, says};
use serde_json::json;
use std::process::Command;
use tests::skip;

/// A loop device on a file; it goes away with its value.
struct Loop(String);

impl Loop {
    fn new(file: &std::path::Path) -> Option<Self> {
        std::fs::File::create(file).unwrap().set_len(64 << 20).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        output.status.success().then(|| Self(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn only_an_empty_disk_is_partitioned_and_formatted() {
    let name = "only_an_empty_disk_is_partitioned_and_formatted";
    for tool in ["sfdisk", "wipefs", "lsblk", "mkfs.ext4", "mkswap", "losetup"] {
        if program(tool, &[]).is_none() {
            return skip(name, "the tools for disks are not installed");
        }
    }
    if !tests::is_root() {
        return skip(name, "needs root");
    }
    let folder = tempfile::tempdir().unwrap();
    let (Some(first), Some(second), Some(third)) = (
        Loop::new(&folder.path().join("1")),
        Loop::new(&folder.path().join("2")),
        Loop::new(&folder.path().join("3")),
    ) else {
        return skip(name, "there are no loop devices");
    };
    let disk = |size: &str| -> Wish {
        let partitions = json!([{ "name": "boot", "size": size, "type": "uefi" }, { "type": "linux" }]);
        ("disk.partitioned", json!({ "name": first.0, "partitions": partitions }))
    };
    changes(&[
        disk("16MiB"),
        ("disk.formatted", json!({ "name": second.0, "label": "data", "options": ["-m", "1"] })),
        ("blockdev.formatted", json!({ "name": third.0, "fs_type": "swap" })),
    ]);
    holds(&[("disk.formatted", json!({ "name": second.0 }))]);
    fails(disk("20MiB"), "has partitions already");
    fails(("disk.formatted", json!({ "name": first.0 })), "is not empty: it has gpt");
    fails(("disk.formatted", json!({ "name": third.0 })), "is not empty: it has swap");
    let whole = json!({ "name": second.0, "partitions": [{ "type": "linux" }] });
    fails(("disk.partitioned", whole), "is not empty: it has ext4");
    let mounts = says(Command::new("wipefs").args(["--no-act", "--json", &second.0]));
    assert!(mounts.contains("\"data\""), "{mounts}");
}

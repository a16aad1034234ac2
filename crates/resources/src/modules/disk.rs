//! `disk`: partitions and file systems, made only where nothing is.

mod formatted;
mod partitioned;

use crate::{
    Doc, Error, Examples, Function, Module, Param, ParamsError, Probe,
    args::{Args, invalid},
    host::{Query, query::disk::Question},
    tool,
};
use serde_json::Value;

pub(crate) const MODULE: Module = Module {
    name: "disk",
    doc: Doc::new("Partitions and file systems. Nothing that holds data is ever overwritten."),
    functions: &[
        Function {
            name: "partitioned",
            doc: Doc::new(
                "A disk has exactly these partitions. They are made only on an empty disk: one with a partition table, a file \
                  system, a member of RAID, LVM or ZFS, or anything on top of it, is refused unless it already is as wanted.",
            ),
            params: partitioned::PARAMS,
            examples: Examples::new(&[
                "/dev/sdb:\n  disk.partitioned:\n    - partitions:\n      - {name: boot, size: 512MiB, type: uefi}\n      - {name: data, \
                 type: linux}\n",
            ]),
            parse: partitioned::parse,
        },
        Function {
            name: "formatted",
            doc: Doc::new(
                "A device has a file system, or is swap. It is made only on an empty device: one with another file system, a \
                  partition table or any other signature, one that is mounted, or has something on top of it, is refused.",
            ),
            params: formatted::PARAMS,
            examples: Examples::new(&[
                "/dev/sdb2:\n  disk.formatted:\n    - fs_type: ext4\n    - label: data\n",
            ]),
            parse: |params| formatted::parse("disk.formatted", params),
        },
    ],
};

/// Salt's name of `disk.formatted`.
pub(crate) const BLOCKDEV: Module = Module {
    name: "blockdev",
    doc: Doc::new("File systems of devices, by Salt's name: see `disk`."),
    functions: &[Function {
        name: "formatted",
        doc: Doc::new(
            "The same as `disk.formatted`. Salt's `force` is not there: nothing that holds data is overwritten.",
        ),
        params: formatted::PARAMS,
        examples: Examples::new(&["/dev/sdb1:\n  blockdev.formatted:\n    - fs_type: ext4\n"]),
        parse: |params| formatted::parse("blockdev.formatted", params),
    }],
};

const NAME: Param = Param::name("The device, such as `/dev/sdb` or better `/dev/disk/by-id/...`.");

/// A device below `/dev`, or an image file.
fn device(args: &Args<'_>) -> Result<String, ParamsError> {
    let name = args.name();
    let good = name.starts_with('/') && !name.contains("..") && !name.chars().any(char::is_control);
    if good { Ok(name) } else { Err(invalid("name", format!("`{name}` is no path of a device"))) }
}

/// A short word for a label or an option.
fn word(param: &str, text: &str) -> Result<(), ParamsError> {
    let good = |it: char| it.is_alphanumeric() || "_-.,=:+ /^".contains(it);
    if !text.is_empty() && text.len() <= 100 && text.chars().all(good) {
        return Ok(());
    }
    Err(invalid(param, format!("`{text}` is no `{param}`")))
}

fn parsed(question: Question, host: &dyn Probe) -> Result<Value, Error> {
    let answer = tool::answer(host, &Query::Disk(question))?;
    serde_json::from_str(&answer)
        .map_err(|error| Error::Refused(format!("the answer about the disk is no JSON: {error}")))
}

/// A signature on a device: what it is, and its label.
#[derive(Debug)]
struct Signature {
    kind: String,
    label: String,
}

fn signatures(device: &str, host: &dyn Probe) -> Result<Vec<Signature>, Error> {
    let answer = parsed(Question::Signatures(device.to_owned()), host)?;
    let Some(items) = answer.get("signatures").and_then(Value::as_array) else {
        return Err(Error::Refused("`wipefs` did not say which signatures there are".to_owned()));
    };
    let text = |it: &Value, key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(items.iter().map(|it| Signature { kind: text(it, "type"), label: text(it, "label") }).collect())
}

/// Refuses a device that is used: mounted, swap, read-only, or with something on top of it.
fn refuse_used(device: &str, host: &dyn Probe) -> Result<(), Error> {
    let answer = parsed(Question::Device(device.to_owned()), host)?;
    let Some(it) = answer.pointer("/blockdevices/0") else {
        return Err(Error::Refused(format!("there is no device `{device}`")));
    };
    let refuse = |why: String| Err(Error::Refused(format!("`{device}` {why}; nothing is done to it")));
    let mut mounts = it.get("mountpoints").and_then(Value::as_array).into_iter().flatten();
    if let Some(place) = mounts.find_map(Value::as_str) {
        return refuse(format!("is in use ({place})"));
    }
    let children = it.get("children").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = children.filter_map(|it| it.get("path").and_then(Value::as_str)).collect();
    if !names.is_empty() {
        return refuse(format!("has something on top of it ({})", names.join(", ")));
    }
    if it.get("ro").and_then(Value::as_bool).unwrap_or_default() {
        return refuse("is read-only".to_owned());
    }
    Ok(())
}

/// Refuses a device that has any signature.
fn refuse_signed(device: &str, all: &[Signature]) -> Result<(), Error> {
    let mut kinds: Vec<&str> = all.iter().map(|it| it.kind.as_str()).collect();
    kinds.dedup();
    if kinds.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "`{device}` is not empty: it has {}. Look what it is; if it may be lost, empty it by hand with `wipefs --all {device}`",
        kinds.join(", ")
    )))
}

//! `disk.formatted`: a file system on an empty device.

use super::{NAME, device, refuse_signed, refuse_used, signatures, word};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    tool,
};
use model::Plan;
use serde_json::{Map, Value};

pub(super) const PARAMS: &[Param] = &[
    NAME,
    Param::of(
        "fs_type",
        ParamType::Text,
        "ext4",
        "`ext2`, `ext3`, `ext4`, `xfs`, `btrfs`, `vfat`, `f2fs` or `swap`.",
    ),
    Param::of("label", ParamType::Text, "none", "Its label."),
    Param::of(
        "options",
        ParamType::TextList,
        "none",
        "More arguments for the program that makes it, as `-m` and `1`.",
    ),
];

/// Type, program, and its option for the label.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("ext2", &["mkfs.ext2", "-q"], "-L"),
    ("ext3", &["mkfs.ext3", "-q"], "-L"),
    ("ext4", &["mkfs.ext4", "-q"], "-L"),
    ("xfs", &["mkfs.xfs", "-q"], "-L"),
    ("btrfs", &["mkfs.btrfs", "-q"], "-L"),
    ("vfat", &["mkfs.vfat"], "-n"),
    ("f2fs", &["mkfs.f2fs", "-q"], "-l"),
    ("swap", &["mkswap"], "-L"),
];

#[derive(Debug)]
struct Formatted {
    device: String,
    kind: String,
    command: Vec<String>,
    label: Option<String>,
}

pub(super) fn parse(kind: &str, params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    let device = device(&args)?;
    let fs_type = args.text("fs_type").unwrap_or_else(|| "ext4".to_owned());
    let Some((kind, program, label_option)) = KINDS.iter().find(|it| it.0 == fs_type) else {
        let known: Vec<&str> = KINDS.iter().map(|it| it.0).collect();
        return Err(invalid("fs_type", format!("`{fs_type}` is none of {}", known.join(", "))));
    };
    let mut command: Vec<String> = program.iter().map(|it| (*it).to_owned()).collect();
    let label = args.text("label");
    if let Some(label) = &label {
        word("label", label)?;
        if label.starts_with('-') {
            return Err(invalid("label", format!("`{label}` is no label")));
        }
        command.extend([(*label_option).to_owned(), label.clone()]);
    }
    for option in args.list("options").unwrap_or_default() {
        word("options", &option)?;
        // These overwrite what is there, or name another device.
        if ["-f", "-F", "--force", "-C"].contains(&option.as_str()) || option.starts_with('/') {
            return Err(invalid(
                "options",
                format!("`{option}` is not allowed: only empty devices are formatted"),
            ));
        }
        command.push(option);
    }
    command.extend(["--".to_owned(), device.clone()]);
    Ok(Box::new(Formatted { device, kind: (*kind).to_owned(), command, label }))
}

impl Resource for Formatted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = signatures(&self.device, host)?;
        if !found.is_empty() && found.iter().all(|it| it.kind == self.kind) {
            let labels: Vec<&str> =
                found.iter().map(|it| it.label.as_str()).filter(|it| !it.is_empty()).collect();
            let is = labels.first().copied().unwrap_or_default();
            if let Some(wanted) = self.label.as_ref().filter(|it| *it != is) {
                let text = format!(
                    "`{}` has the label `{is}`, not `{wanted}`; a label of a file system is not altered",
                    self.device
                );
                return Err(Error::Refused(text));
            }
            return Ok(plan);
        }
        refuse_signed(&self.device, &found)?;
        refuse_used(&self.device, host)?;
        plan.differ("file system", None, &self.kind);
        Ok(plan)
    }

    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        // It may have been taken since the check.
        refuse_signed(&self.device, &signatures(&self.device, host)?)?;
        refuse_used(&self.device, host)?;
        let what = format!("{} {}", self.command[0], self.device);
        tool::run(host, tool::command(&self.command, tool::LONG_MS), &what)?;
        Ok(Applied::default())
    }
}

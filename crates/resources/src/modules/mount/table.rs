//! `mount.fstab_present`, `mount.fstab_absent`: lines of /etc/fstab.

use super::{
    CONFIG, MATCH_ON, compare_table, config,
    devices::converted,
    field,
    fstab::{Entry, with_entry, without_entry},
    match_on, mount_point, mounts, options, run_as, write_table,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const PRESENT: Function = Function {
    name: "fstab_present",
    doc: Doc::new(
        "A line of the table mounts a file system at boot. When the line is new, it is mounted now as well.",
    ),
    params: PRESENT_PARAMS,
    examples: Examples::new(&[
        "/dev/vdb1:\n  mount.fstab_present:\n    - fs_file: /srv\n    - fs_vfstype: xfs\n    - fs_mntops: noatime\n    - mount_by: \
         uuid\n    - mount: false\n",
    ]),
    parse: parse_present,
};

pub(super) const ABSENT: Function = Function {
    name: "fstab_absent",
    doc: Doc::new("The table has no line that mounts this device at this place."),
    params: ABSENT_PARAMS,
    examples: Examples::new(&["/dev/vdb1:\n  mount.fstab_absent:\n    - fs_file: /srv\n"]),
    parse: parse_absent,
};

const NAME: Param = Param::text("name", "", "The device, or whatever is mounted.");
const FS_FILE: Param = Param::text("fs_file", "", "Where it is mounted.").required();
const MOUNT_BY: Param = Param::text(
    "mount_by",
    "as it is written",
    "What the line calls it: `device`, `uuid`, `label`, `partuuid` or `partlabel`.",
);

const PRESENT_PARAMS: &[Param] = &[
    NAME,
    FS_FILE,
    Param::text("fs_vfstype", "", "The sort of file system.").required(),
    Param::list("fs_mntops", "defaults", "Options, as a list or with commas between them."),
    Param::number("fs_freq", "0", "Fifth field."),
    Param::number("fs_passno", "0", "Sixth field: when it is checked at boot."),
    MOUNT_BY,
    CONFIG,
    Param::flag("mount", "true", "Mounts it when the line is new."),
    MATCH_ON,
    Param::flag("not_change", "false", "Leaves an old line as it is."),
    Param::flag("fs_mount", "true", "Accepted from Salt trees and without effect: it is for AIX."),
];
const ABSENT_PARAMS: &[Param] = &[NAME, FS_FILE, MOUNT_BY, CONFIG];

#[derive(Debug)]
struct Line {
    device: String,
    by: Option<String>,
    point: String,
    config: PathBuf,
}

#[derive(Debug)]
struct Present {
    line: Line,
    /// Behind device and place.
    rest: [String; 4],
    mount: bool,
    match_on: Vec<&'static str>,
    keep: bool,
}

#[derive(Debug)]
struct Absent(Line);

fn line(args: &Args<'_>) -> Result<Line, ParamsError> {
    let device = args.name();
    field("name", &device)?;
    let by = args.text("mount_by");
    if let Some(by) = &by
        && !["device", "uuid", "label", "partuuid", "partlabel"].contains(&by.as_str())
    {
        return Err(invalid(
            "mount_by",
            format!("`{by}` is none of device, uuid, label, partuuid, partlabel"),
        ));
    }
    Ok(Line { device, by, point: mount_point("fs_file", args)?, config: config(args) })
}

fn parse_present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mount.fstab_present", PRESENT_PARAMS, params)?;
    let fstype = args.text("fs_vfstype").unwrap_or_default();
    plain_word("fs_vfstype", &fstype)?;
    let number = |name: &str| args.number(name).unwrap_or(0).to_string();
    let rest = [fstype, options("fs_mntops", &args)?, number("fs_freq"), number("fs_passno")];
    Ok(Box::new(Present {
        line: line(&args)?,
        rest,
        mount: args.bool("mount", true),
        match_on: match_on(&args)?,
        keep: args.bool("not_change", false),
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mount.fstab_absent", ABSENT_PARAMS, params)?;
    Ok(Box::new(Absent(line(&args)?)))
}

impl Line {
    fn device(&self, host: &dyn Probe) -> Result<String, Error> {
        match &self.by {
            Some(by) => converted(host, &self.device, by),
            None => Ok(self.device.clone()),
        }
    }
}

impl Present {
    fn edit(&self, host: &dyn Probe) -> Result<impl Fn(&str) -> String + use<>, Error> {
        let device = self.line.device(host)?;
        let [fstype, opts, freq, pass] = &self.rest;
        let entry = Entry::new([&device, &self.line.point, fstype, opts, freq, pass]);
        let match_on = if self.match_on.is_empty() { vec![entry.known_by()] } else { self.match_on.clone() };
        let keep = self.keep;
        Ok(move |now: &str| with_entry(now, &entry, &match_on, keep))
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        compare_table(host, &self.line.config, &mut plan, self.edit(host)?)?;
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let edit = self.edit(host)?;
        let lines = |host: &dyn Probe| {
            let text = crate::text_file::read_text(host, &self.line.config)?;
            Ok(text.unwrap_or_default().lines().count())
        };
        let before = lines(host)?;
        write_table(host, &self.line.config, edit)?;
        let is_new = lines(host)? > before;
        let is_swap = self.rest[0] == "swap";
        if !is_new || !self.mount || is_swap || host.is_sandbox() {
            return Ok(Applied::default());
        }
        if mounts(host)?.iter().any(|it| it.point == self.line.point) {
            return Ok(Applied::default());
        }
        let config = self.line.config.display().to_string();
        run_as(host, None, &["mount", "-T", &config, "--", &self.line.point])?;
        Ok(Applied::saying("mounted"))
    }
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let device = self.0.device(host)?;
        let edit = |now: &str| without_entry(now, &self.0.point, Some(&device));
        compare_table(host, &self.0.config, &mut plan, edit)?;
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let device = self.0.device(host)?;
        write_table(host, &self.0.config, |now| without_entry(now, &self.0.point, Some(&device)))?;
        Ok(Applied::default())
    }
}

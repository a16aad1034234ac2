//! `mount.unmounted`, `mount.swap`.

use super::{
    CONFIG, compare_table, config, field,
    fstab::{Entry, swaps, with_entry, without_entry},
    mount_point, mounts, run_as, write_table,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource, args::Args,
    modules::group::account_name, text_file::read_text,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub(super) const UNMOUNTED: Function = Function {
    name: "unmounted",
    doc: Doc::new("Nothing is mounted at a place."),
    params: UNMOUNTED_PARAMS,
    examples: Examples::new(&["/mnt/usb:\n  mount.unmounted:\n    - persist: true\n"]),
    parse: parse_unmounted,
};

pub(super) const SWAP: Function = Function {
    name: "swap",
    doc: Doc::new(
        "A device or a file is used for swapping, and a line of the table sees to it after a reboot.",
    ),
    params: SWAP_PARAMS,
    examples: Examples::new(&["/swapfile:\n  mount.swap: []\n"]),
    parse: parse_swap,
};

const UNMOUNTED_PARAMS: &[Param] = &[
    Param::text("name", "", "The place."),
    Param::text("device", "any", "Only this device's line is taken out of the table."),
    CONFIG,
    Param::flag("persist", "false", "Whether its line is taken out of the table."),
    Param::text("user", "root", "Who unmounts it."),
];
const SWAP_PARAMS: &[Param] = &[
    Param::text("name", "", "The device or file."),
    Param::flag("persist", "true", "Whether the table keeps it."),
    CONFIG,
];

#[derive(Debug)]
struct Unmounted {
    name: String,
    device: Option<String>,
    config: PathBuf,
    persist: bool,
    user: Option<String>,
}

#[derive(Debug)]
struct Swap {
    name: String,
    persist: bool,
    config: PathBuf,
}

fn parse_unmounted(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mount.unmounted", UNMOUNTED_PARAMS, params)?;
    let (device, user) = (args.text("device"), args.text("user"));
    device.iter().try_for_each(|it| field("device", it))?;
    user.iter().try_for_each(|it| account_name("user", it))?;
    let name = mount_point("name", &args)?;
    Ok(Box::new(Unmounted {
        name,
        device,
        config: config(&args),
        persist: args.bool("persist", false),
        user,
    }))
}

fn parse_swap(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mount.swap", SWAP_PARAMS, params)?;
    let name = args.name();
    field("name", &name)?;
    Ok(Box::new(Swap { name, persist: args.bool("persist", true), config: config(&args) }))
}

impl Resource for Unmounted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let all = if host.is_sandbox() { Vec::new() } else { mounts(host)? };
        if let Some(now) = all.iter().rfind(|it| it.point == self.name) {
            let from = Some(now.device.clone());
            plan.push(Change { what: "mounted".to_owned(), from, to: None, diff: None });
        }
        if self.persist {
            let edit = |now: &str| without_entry(now, &self.name, self.device.as_deref());
            compare_table(host, &self.config, &mut plan, edit)?;
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("mounted") {
            run_as(host, self.user.as_ref(), &["umount", "--", &self.name])?;
        }
        if plan.touches("fstab") {
            let edit = |now: &str| without_entry(now, &self.name, self.device.as_deref());
            write_table(host, &self.config, edit)?;
        }
        Ok(Applied::default())
    }
}

impl Swap {
    fn table(&self, now: &str) -> String {
        let entry = Entry::new([&self.name, "none", "swap", "defaults", "0", "0"]);
        with_entry(now, &entry, &["device"], false)
    }
}

impl Resource for Swap {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if !host.is_sandbox() {
            let real = super::devices::real_path(host, Path::new(&self.name))?;
            let now = swaps(&read_text(host, Path::new("/proc/swaps"))?.unwrap_or_default());
            if !now.iter().any(|it| Path::new(it) == real) {
                plan.differ("swap", None, &self.name);
            }
        }
        if self.persist {
            compare_table(host, &self.config, &mut plan, |now| self.table(now))?;
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("swap") {
            run_as(host, None, &["swapon", "--", &self.name])?;
        }
        if plan.touches("fstab") {
            write_table(host, &self.config, |now| self.table(now))?;
        }
        Ok(Applied::default())
    }
}

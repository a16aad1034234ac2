//! `mount`: what is mounted, and /etc/fstab.

mod devices;
mod fstab;
mod mounted;
mod options;
mod table;
mod unmounted;

use crate::{
    Doc, Error, Host, Module, Param, ParamsError, Probe,
    args::{Args, invalid},
    host::Command,
    text_file::{compare_text, read_text, write_text},
    tool::{LONG_MS, command, run},
};
use fstab::{Active, active};
use model::Plan;
use std::path::{Path, PathBuf};

pub(crate) const MODULE: Module = Module {
    name: "mount",
    doc: Doc::new(
        "What is mounted where, now and after a reboot. In a sandbox only the table is compared and written.",
    ),
    functions: &[mounted::FUNCTION, unmounted::UNMOUNTED, unmounted::SWAP, table::PRESENT, table::ABSENT],
};

const FSTAB: &str = "/etc/fstab";
const CONFIG: Param = Param::path("config", FSTAB, "The table that keeps it.");
const MATCH_ON: Param = Param::list(
    "match_on",
    "auto",
    "What an old line of the table is known by: some of `device`, `name`, `fstype`, `opts`; `auto` means the device, and \
     the name for file systems such as tmpfs and nfs.",
);

/// An argument of a program and a field of the table: one line, not an option.
fn field(param: &str, text: &str) -> Result<(), ParamsError> {
    if text.is_empty() || text.starts_with(['-', '#']) || text.chars().any(char::is_control) {
        return Err(invalid(
            param,
            format!("`{text}` is no `{param}`: it must be one line and not begin with `-`"),
        ));
    }
    Ok(())
}

/// Where it is mounted, without a slash at the end.
fn mount_point(param: &str, args: &Args<'_>) -> Result<String, ParamsError> {
    let text = args.text(param).unwrap_or_default();
    let point = if text == "/" { text.as_str() } else { text.trim_end_matches('/') };
    field(param, point)?;
    Ok(point.to_owned())
}

fn options(param: &str, args: &Args<'_>) -> Result<String, ParamsError> {
    let text = args.list(param).unwrap_or_default().join(",");
    let text = if text.trim().is_empty() { "defaults".to_owned() } else { text };
    field(param, &text)?;
    Ok(text)
}

fn match_on(args: &Args<'_>) -> Result<Vec<&'static str>, ParamsError> {
    let given = args.list("match_on").unwrap_or_default();
    if given == ["auto"] {
        return Ok(Vec::new());
    }
    let known = |it: &String| fstab::FIELDS.into_iter().find(|field| field == it);
    given
        .iter()
        .map(|it| known(it).ok_or_else(|| invalid("match_on", format!("`{it}` is no field of the table"))))
        .collect()
}

fn config(args: &Args<'_>) -> PathBuf {
    args.path("config").unwrap_or_else(|| PathBuf::from(FSTAB))
}

/// Where something is mounted, by the text of /proc/self/mountinfo.
pub(crate) fn mount_points(text: &str) -> impl Iterator<Item = String> {
    active(text).into_iter().map(|it| it.point)
}

/// What is mounted; nothing in a sandbox.
fn mounts(host: &dyn Probe) -> Result<Vec<Active>, Error> {
    let text = read_text(host, Path::new("/proc/self/mountinfo"))?;
    Ok(active(&text.unwrap_or_default()))
}

/// Notes what becomes of the table.
fn compare_table(
    host: &dyn Probe,
    config: &Path,
    plan: &mut Plan,
    edit: impl Fn(&str) -> String,
) -> Result<(), Error> {
    let now = read_text(host, config)?;
    let wanted = edit(now.as_deref().unwrap_or_default());
    if now.is_some() || !wanted.is_empty() {
        compare_text(plan, "fstab", now.as_deref(), &wanted);
    }
    Ok(())
}

fn write_table(host: &mut dyn Host, config: &Path, edit: impl Fn(&str) -> String) -> Result<(), Error> {
    let now = read_text(host, config)?;
    write_text(host, config, &edit(&now.unwrap_or_default()))
}

fn run_as(host: &mut dyn Host, user: Option<&String>, argv: &[&str]) -> Result<(), Error> {
    let command = Command { user: user.cloned(), ..command(argv, LONG_MS) };
    run(host, command, &argv.join(" ")).map(drop)
}

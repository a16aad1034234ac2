//! `mount.mounted`: a file system is mounted, with these options, and the table says so.

use super::{
    CONFIG, MATCH_ON, compare_table, config,
    devices::{real_path, tag_link},
    field,
    fstab::{Active, Entry, with_entry},
    match_on, mount_point, mounts,
    options::{Hidden, missing},
    run_as, write_table,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Attributes, Contents, Links},
    modules::group::account_name,
    pattern::{Flags, Pattern},
    text_file::{exists, read_text},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Where a table with a password in it is for a moment, so that the password is no argument of a program.
const DRAFT: &str = "/run/.labctl-fstab";

pub(super) const FUNCTION: Function = Function {
    name: "mounted",
    doc: Doc::new(
        "A file system is mounted, and a line of the table sees to it after a reboot. Another device at that place is \
          unmounted first. Options are compared as far as the kernel shows them; where it does not, a change of the line \
          in the table leads to a remount. When something it watches has changed it is remounted.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/srv/data:\n  mount.mounted:\n    - device: UUID=0a1b2c3d-0000-4000-8000-000000000001\n    - fstype: ext4\n    - opts: \
         noatime,nofail\n    - pass_num: 2\n    - mkmnt: true\n",
        "/mnt/media:\n  mount.mounted:\n    - device: nas.lan:/export/media\n    - fstype: nfs\n    - opts:\n      - ro\n      - \
         _netdev\n    - mkmnt: true\n",
        "/srv/www:\n  mount.mounted:\n    - device: /data/www\n    - fstype: none\n    - opts: bind\n    - persist: false\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "Where it is mounted."),
    Param::text(
        "device",
        "",
        "What is mounted: a device, `UUID=`, `LABEL=`, `server:/path`, a folder with `bind`.",
    )
    .required(),
    Param::text("fstype", "", "The sort of file system, such as `ext4`, `nfs`, `tmpfs`, `none`.").required(),
    Param::flag("mkmnt", "false", "Makes the folder if it does not exist."),
    Param::list("opts", "defaults", "Options, as a list or with commas between them."),
    Param::number("dump", "0", "Fifth field of the table."),
    Param::number("pass_num", "0", "Sixth field of the table: when it is checked at boot."),
    CONFIG,
    Param::flag("persist", "true", "Whether the table keeps it."),
    Param::flag("mount", "true", "Whether it is mounted now."),
    Param::text("user", "root", "Who mounts it."),
    MATCH_ON,
    Param::list(
        "device_name_regex",
        "none",
        "Regular expressions of names that the kernel may show for the device, from their beginning on.",
    ),
    Param::list("extra_mount_invisible_options", "none", "More options that are not compared."),
    Param::list("extra_mount_invisible_keys", "none", "More options with a value that are not compared."),
    Param::any(
        "extra_mount_ignore_fs_keys",
        "none",
        "The same for one sort of file system: `{ramfs: [size]}`.",
    ),
    Param::map(
        "extra_mount_translate_options",
        "none",
        "What the kernel shows for an option: `{tcp: proto=tcp}`.",
    ),
    Param::list("hidden_opts", "none", "Options that are not compared."),
    Param::flag(
        "bind_mount_copy_active_opts",
        "true",
        "Accepted from Salt trees and without effect: the table gets the options that are written.",
    ),
];

#[derive(Debug)]
struct Mounted {
    name: String,
    device: String,
    fstype: String,
    mkmnt: bool,
    opts: String,
    entry: Entry,
    config: PathBuf,
    persist: bool,
    mount: bool,
    user: Option<String>,
    match_on: Vec<&'static str>,
    device_names: Vec<Pattern>,
    hidden: Hidden,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mount.mounted", PARAMS, params)?;
    let name = mount_point("name", &args)?;
    let device = args.text("device").unwrap_or_default();
    field("device", &device)?;
    let fstype = args.text("fstype").unwrap_or_default();
    crate::args::plain_word("fstype", &fstype)?;
    let opts = super::options("opts", &args)?;
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    let number = |name: &str| args.number(name).unwrap_or(0).to_string();
    let entry = Entry::new([&device, &name, &fstype, &opts, &number("dump"), &number("pass_num")]);
    Ok(Box::new(Mounted {
        mkmnt: args.bool("mkmnt", false),
        entry,
        config: config(&args),
        persist: args.bool("persist", true),
        mount: args.bool("mount", true),
        user,
        match_on: match_on(&args)?,
        device_names: device_names(&args)?,
        hidden: Hidden::parse(&args, params, &fstype),
        name,
        device,
        fstype,
        opts,
    }))
}

/// Matched from the beginning, as Salt does.
fn device_names(args: &Args<'_>) -> Result<Vec<Pattern>, ParamsError> {
    let patterns = args.list("device_name_regex").unwrap_or_default();
    let pattern = |it: &String| Pattern::at_start(it, Flags::default());
    patterns.iter().map(|it| pattern(it).map_err(|why| invalid("device_name_regex", why))).collect()
}

impl Mounted {
    fn has_option(&self, option: &str) -> bool {
        self.opts.split(',').any(|it| it == option)
    }

    /// The mount that one sees at the place.
    fn at_place<'a>(&self, host: &dyn Probe, all: &'a [Active]) -> Result<Option<&'a Active>, Error> {
        let place = real_path(host, Path::new(&self.name))?.display().to_string();
        Ok(all.iter().rfind(|it| it.point == place))
    }

    fn is_device(&self, host: &dyn Probe, now: &Active, all: &[Active]) -> Result<bool, Error> {
        if self.device_names.iter().any(|it| it.is_match(&now.device)) {
            return Ok(true);
        }
        if self.has_option("bind") || self.has_option("rbind") {
            return Ok(self.is_bound(now, all));
        }
        let link = tag_link(host, &self.device)?;
        if link.is_none() && !self.device.starts_with('/') {
            let bare = |it: &str| it.trim_end_matches('/').to_owned();
            let name = self.device.split_once('#').map_or(self.device.as_str(), |it| it.1);
            return Ok(bare(name) == bare(&now.device));
        }
        if let Some(link) = &link
            && !exists(host, link)?
        {
            // Without udev there are no such links: then nobody can tell.
            if exists(host, "/dev/disk")? {
                return Err(Error::Refused(format!("there is no device with {}", self.device)));
            }
            return Ok(true);
        }
        let wanted = real_path(host, &link.unwrap_or_else(|| PathBuf::from(&self.device)))?;
        let is = real_path(host, Path::new(&now.device))?;
        if wanted == is || now.device == "/dev/root" {
            return Ok(true);
        }
        let Some(number) = now.device.strip_prefix("/dev/loop") else { return Ok(false) };
        let backing = format!("/sys/block/loop{number}/loop/backing_file");
        let file = read_text(host, Path::new(&backing))?;
        Ok(file.is_some_and(|it| Path::new(it.trim_end()) == wanted))
    }

    /// Whether what is mounted is the folder that is to be bound.
    fn is_bound(&self, now: &Active, all: &[Active]) -> bool {
        let folder = Path::new(&self.device);
        let others = all.iter().filter(|it| it.point != now.point && folder.starts_with(&it.point));
        let Some(origin) = others.max_by_key(|it| it.point.len()) else { return true };
        let rest = folder.strip_prefix(&origin.point).unwrap_or(folder);
        let root: PathBuf = Path::new(&origin.root).join(rest).components().collect();
        origin.numbers == now.numbers && Path::new(&now.root) == root
    }

    fn compare_mount(&self, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let all = mounts(host)?;
        let Some(now) = self.at_place(host, &all)? else {
            if !self.mkmnt && !exists(host, &self.name)? {
                let text = format!("the folder `{}` does not exist; `mkmnt: true` makes it", self.name);
                return Err(Error::Refused(text));
            }
            let to = Some(self.device.clone());
            plan.push(Change { what: "mounted".to_owned(), from: None, to, diff: None });
            return Ok(());
        };
        if !self.is_device(host, now, &all)? {
            plan.differ("device", Some(&now.device), &self.device);
            return Ok(());
        }
        let missing = missing(host, &self.opts, now, &self.hidden)?;
        if !missing.is_empty() {
            let from = Some(now.options.join(","));
            plan.push(Change { what: "options".to_owned(), from, to: Some(missing.join(",")), diff: None });
        }
        Ok(())
    }

    fn table(&self, now: &str) -> String {
        let by_itself = [self.entry.known_by()];
        let match_on = if self.match_on.is_empty() { &by_itself[..] } else { &self.match_on };
        with_entry(now, &self.entry, match_on, false)
    }

    fn do_mount(&self, host: &mut dyn Host, options: &str) -> Result<(), Error> {
        let argv = ["mount", "-o", options, "-t", &self.fstype, "--", &self.device, &self.name];
        if !has_secret(options) {
            return run_as(host, self.user.as_ref(), &argv);
        }
        let line = format!(
            "{} {} {} {} 0 0\n",
            self.entry.field("device"),
            self.entry.field("name"),
            self.fstype,
            super::fstab::escaped(options)
        );
        let how = Attributes { mode: Some(0o600), ..Attributes::default() };
        let draft = Path::new(DRAFT);
        let written = host.write(draft, Contents::Bytes(line.as_bytes()), how, Links::Keep);
        let done = written
            .map_err(Error::host("write", DRAFT))
            .and_then(|()| run_as(host, None, &["mount", "-T", DRAFT, "--", &self.name]));
        // Whatever failed, no password stays behind; one that was not written whole may be there as well.
        let removed = host.remove(draft).map_err(Error::host("remove", DRAFT));
        done.and(removed.map(drop))
    }

    fn remount(&self, host: &mut dyn Host) -> Result<(), Error> {
        let again =
            ["nfs", "nfs4", "cvfs"].contains(&self.fstype.as_str()) || self.fstype.starts_with("fuse");
        if again {
            run_as(host, self.user.as_ref(), &["umount", "--", &self.name])?;
            return self.do_mount(host, &self.opts);
        }
        let options: Vec<&str> = self.opts.split(',').filter(|it| *it != "remount").collect();
        self.do_mount(host, &format!("remount,{}", options.join(",")))
    }

    fn make_folder(&self, host: &mut dyn Host) -> Result<(), Error> {
        let mut missing = Vec::new();
        for folder in Path::new(&self.name).ancestors() {
            if exists(host, folder)? {
                break;
            }
            missing.push(folder);
        }
        for folder in missing.into_iter().rev() {
            host.make_directory(folder, Attributes::default())
                .map_err(Error::host("make folder", folder.display()))?;
        }
        Ok(())
    }
}

/// Whether one of the options has a value that is not for everybody's eyes.
fn has_secret(options: &str) -> bool {
    let is_secret = |option: &str| {
        let Some((key, _)) = option.split_once('=') else { return false };
        let key = key.trim().to_ascii_lowercase();
        key == "pw" || ["pass", "secret", "credential"].iter().any(|it| key.contains(it))
    };
    options.split(',').any(is_secret)
}

impl Resource for Mounted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if self.mount && !host.is_sandbox() {
            self.compare_mount(host, &mut plan)?;
        } else if self.mkmnt && !exists(host, &self.name)? {
            plan.differ("folder", None, &self.name);
        }
        if self.persist {
            compare_table(host, &self.config, &mut plan, |now| self.table(now))?;
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if self.mkmnt && (plan.touches("mounted") || plan.touches("folder")) {
            self.make_folder(host)?;
        }
        if plan.touches("device") {
            run_as(host, self.user.as_ref(), &["umount", "--", &self.name])?;
        }
        let mut applied = Applied::default();
        if plan.touches("device") || plan.touches("mounted") {
            self.do_mount(host, &self.opts)?;
        } else if plan.touches("options") {
            self.remount(host)?;
            applied = Applied::saying("remounted");
        } else if plan.touches("fstab") && self.mount && !host.is_sandbox() && self.opts != "defaults" {
            let now = read_text(host, &self.config)?.unwrap_or_default();
            // An old line was altered: its options may be ones that the kernel does not show.
            if self.table(&now).lines().count() == now.lines().count() {
                self.remount(host)?;
                applied = Applied::saying("remounted");
            }
        }
        if self.persist {
            write_table(host, &self.config, |now| self.table(now))?;
        }
        Ok(applied)
    }

    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        if !self.mount || host.is_sandbox() {
            return Ok(None);
        }
        self.remount(host)?;
        Ok(Some(Applied::saying("remounted")))
    }
    fn refreshes(&self) -> Option<&'static str> {
        Some("remount")
    }
    fn is_fresh_after(&self, plan: &Plan) -> bool {
        plan.touches("mounted") || plan.touches("device") || plan.touches("options")
    }
}

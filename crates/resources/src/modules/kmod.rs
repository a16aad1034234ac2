//! `kmod`: modules of the kernel.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    text_file::{compare_text, ended, exists, read_text, write_text},
    tool::run_argv,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::Path;

/// As Salt has it, so that a machine that comes from Salt has one list, not two.
const SYSTEMD_LIST: &str = "/etc/modules-load.d/salt_managed.conf";
const LIST: &str = "/etc/modules";
const SYSTEMD: &str = "/run/systemd/system";

pub(crate) const MODULE: Module = Module {
    name: "kmod",
    doc: Doc::new("Modules of the kernel."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A module is loaded, or built into the kernel. In a sandbox and in a container nothing is loaded: there only the \
                  list is kept.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "wireguard:\n  kmod.present:\n    - persist: true\n",
                "for containers:\n  kmod.present:\n    - mods:\n      - overlay\n      - br_netfilter\n    - persist: true\n",
            ]),
            parse: |params| parse("kmod.present", PRESENT, params, true),
        },
        Function {
            name: "absent",
            doc: Doc::new("A module is not loaded."),
            params: ABSENT,
            examples: Examples::new(&["pcspkr:\n  kmod.absent:\n    - persist: true\n"]),
            parse: |params| parse("kmod.absent", ABSENT, params, false),
        },
    ],
};

const NAME: Param = Param::text("name", "", "The module, and its own parameters behind it if it has any.");
const MODS: Param = Param::list("mods", "the name", "Several modules; the name is then only a name.");
const PRESENT: &[Param] = &[
    NAME,
    Param::flag(
        "persist",
        "false",
        "Loads it at boot: a line in /etc/modules-load.d/salt_managed.conf with systemd, else in /etc/modules.",
    ),
    MODS,
];
const ABSENT: &[Param] = &[
    NAME,
    Param::flag("persist", "false", "Takes it out of that list."),
    Param::flag("comment", "true", "Leaves its line in the list as a comment."),
    MODS,
];

#[derive(Debug)]
struct Modules {
    /// With their parameters.
    names: Vec<String>,
    present: bool,
    persist: bool,
    comment: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    present: bool,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let modules = args.list("mods").filter(|it| !it.is_empty()).unwrap_or_else(|| vec![args.name()]);
    for module in &modules {
        let mut words = module.split(' ');
        let name = words.next().unwrap_or_default();
        plain_word("name", name)?;
        words.try_for_each(|it| plain_word("name", it))?;
        if name.contains(['/', '#', '.']) {
            return Err(invalid("name", format!("`{name}` is no module of the kernel")));
        }
    }
    let persist = args.bool("persist", false);
    Ok(Box::new(Modules { names: modules, present, persist, comment: args.bool("comment", true) }))
}

fn name_of(module: &str) -> String {
    module.split_whitespace().next().unwrap_or_default().replace('-', "_")
}

/// Whether it is loaded; built in counts only for what is to be there.
fn is_loaded(host: &dyn Probe, module: &str, built_in: bool) -> Result<bool, Error> {
    let name = name_of(module);
    let loaded = read_text(host, Path::new("/proc/modules"))?.unwrap_or_default();
    if loaded.lines().any(|it| it.split(' ').next() == Some(name.as_str())) {
        return Ok(true);
    }
    if !built_in {
        return Ok(false);
    }
    if exists(host, Path::new("/sys/module").join(&name))? {
        return Ok(true);
    }
    let release = read_text(host, Path::new("/proc/sys/kernel/osrelease"))?.unwrap_or_default();
    let list = Path::new("/lib/modules").join(release.trim()).join("modules.builtin");
    let list = read_text(host, &list)?.unwrap_or_default();
    let is_it = |line: &str| {
        let file = line.rsplit('/').next().unwrap_or_default();
        file.split('.').next().is_some_and(|it| it.replace('-', "_") == name)
    };
    Ok(list.lines().any(is_it))
}

impl Modules {
    fn list(host: &dyn Probe) -> Result<&'static Path, Error> {
        Ok(Path::new(if exists(host, SYSTEMD)? { SYSTEMD_LIST } else { LIST }))
    }

    /// The list with these modules in it, or without them.
    fn listed(&self, now: &str) -> String {
        let mut lines: Vec<String> = now.lines().map(str::to_owned).collect();
        for module in &self.names {
            let name = name_of(module);
            let is_on = |line: &String| !line.trim().is_empty() && name_of(line) == name;
            let off = |line: &String| line.starts_with('#') && line.trim_matches(['#', ' ', '\t']) == module;
            match (self.present, self.comment) {
                (true, _) if lines.iter().any(is_on) => (),
                (true, _) => match lines.iter_mut().find(|it| off(it)) {
                    Some(line) => line.clone_from(module),
                    None => lines.push(module.clone()),
                },
                (false, true) => {
                    for line in lines.iter_mut().filter(|it| is_on(it)) {
                        line.insert(0, '#');
                    }
                }
                (false, false) => lines.retain(|it| !is_on(it)),
            }
        }
        if lines.iter().map(String::as_str).eq(now.lines()) {
            now.to_owned()
        } else {
            ended(lines.join("\n"))
        }
    }
}

impl Resource for Modules {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let in_container = host.is_sandbox() || exists(host, "/run/systemd/container")?;
        if !in_container {
            for module in &self.names {
                if is_loaded(host, module, self.present)? != self.present {
                    let word = |it: bool| Some(if it { "loaded" } else { "not loaded" }.to_owned());
                    let (from, to) = (word(!self.present), word(self.present));
                    plan.push(Change { what: module.clone(), from, to, diff: None });
                }
            }
        }
        if self.persist {
            let list = Self::list(host)?;
            let now = read_text(host, list)?;
            let wanted = self.listed(now.as_deref().unwrap_or_default());
            if now.is_some() || !wanted.is_empty() {
                compare_text(&mut plan, "list", now.as_deref(), &wanted);
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        for module in self.names.iter().filter(|it| plan.touches(it)) {
            let tool = if self.present { "modprobe" } else { "rmmod" };
            run_argv(host, &[tool].into_iter().chain(module.split(' ')).collect::<Vec<_>>())?;
        }
        if plan.touches("list") {
            let list = Self::list(host)?;
            let now = read_text(host, list)?;
            write_text(host, list, &self.listed(now.as_deref().unwrap_or_default()))?;
        }
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_other_lines() {
        let modules = |present, comment, modules: &[&str]| Modules {
            names: modules.iter().map(|it| (*it).to_owned()).collect(),
            present,
            persist: true,
            comment,
        };
        let now = "# mine\nloop\n# bonding mode=4\nbr-netfilter\n";
        assert_eq!(
            modules(true, true, &["bonding mode=4", "br_netfilter", "zfs"]).listed(now),
            "# mine\nloop\nbonding mode=4\nbr-netfilter\nzfs\n"
        );
        assert_eq!(
            modules(false, true, &["loop"]).listed(now),
            "# mine\n#loop\n# bonding mode=4\nbr-netfilter\n"
        );
        assert_eq!(modules(false, false, &["loop"]).listed(now), "# mine\n# bonding mode=4\nbr-netfilter\n");
    }
}

//! The beacon `reboot_required`: whether the machine waits for a reboot.

use super::{Beacon, Signal};
use crate::senses::Senses;
use resources::beacons::Settings;
use resources::packages::version;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What Debian's packages write when they want a reboot, and who did.
const FLAG: &str = "/run/reboot-required";
const FLAG_PACKAGES: &str = "/run/reboot-required.pkgs";
/// Folders of kernels, and where Debian has the kernels themselves.
const MODULES: &str = "/lib/modules";
const BOOT: &str = "/boot";
/// Names of packages that an event has, and kernels that are looked at.
const PACKAGES_MAX: usize = 20;
const KERNELS_MAX: usize = 64;

#[expect(clippy::unnecessary_wraps, reason = "all beacons are made so")]
pub(super) fn make(_: &Settings<'_>, _: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    Ok(Box::new(Watch::default()))
}

impl Beacon for Watch {
    fn look(&mut self, _: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        Ok(self.see(senses).map(Signal).into_iter().collect())
    }
    fn told(&self) -> Value {
        if self.told { json!(true) } else { Value::Null }
    }
    fn resume(&mut self, _: Duration, told: &Value) {
        self.told = *told == json!(true);
    }
}

/// Looks now and then.
#[derive(Debug, Default)]
struct Watch {
    /// What was told; a machine that does not wait is as it should be.
    told: bool,
}

impl Watch {
    /// Looks; the data of an event if it is another answer than before.
    fn see(&mut self, senses: &dyn Senses) -> Option<Map<String, Value>> {
        let kernel = senses.text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let flag = senses.text(FLAG).is_ok();
        let installed = if flag { None } else { newer_kernel(senses, &kernel) };
        let required = flag || installed.is_some();
        if required == self.told {
            return None;
        }
        self.told = required;
        let mut data = Map::new();
        data.insert("required".to_owned(), json!(required));
        data.insert("kernel".to_owned(), json!(kernel));
        if let Some(installed) = installed.filter(|it| !it.is_empty()) {
            data.insert("installed".to_owned(), json!(installed));
        }
        let packages = senses.text(FLAG_PACKAGES).unwrap_or_default();
        let mut packages: Vec<&str> = packages.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        packages.sort_unstable();
        packages.dedup();
        packages.truncate(PACKAGES_MAX);
        if flag && !packages.is_empty() {
            data.insert("packages".to_owned(), json!(packages));
        }
        Some(data)
    }
}

/// The kernel that a reboot would bring, if it is another one than runs. A container runs its host's.
fn newer_kernel(senses: &dyn Senses, running: &str) -> Option<String> {
    let environ = senses.text("/proc/1/environ").unwrap_or_default();
    let is_container = environ.split('\0').any(|it| it.starts_with("container="));
    if is_container || ["/run/systemd/container", "/.dockerenv"].iter().any(|it| senses.text(it).is_ok()) {
        return None;
    }
    let release = senses.text("/etc/os-release").unwrap_or_default();
    let kin = release.lines().filter(|it| it.starts_with("ID=") || it.starts_with("ID_LIKE="));
    let kin = kin.collect::<Vec<_>>().join(" ").replace(['"', '\'', '='], " ");
    let is_kin = |names: &[&str]| kin.split_whitespace().any(|it| names.contains(&it));
    let kernels: Vec<String> =
        senses.names(MODULES).unwrap_or_default().into_iter().take(KERNELS_MAX).collect();
    let holds = |kernel: &str, part: &str| {
        let names = senses.names(&format!("{MODULES}/{kernel}"));
        names.is_ok_and(|names| names.iter().any(|name| name.starts_with(part)))
    };
    if is_kin(&["arch", "alpine", "postmarketos"]) {
        // There is one kernel of a kind: the new one's modules take the place of those that run.
        let is_gone = !kernels.is_empty() && !kernels.iter().any(|it| it == running);
        return is_gone.then(|| kernels.into_iter().max_by(|a, b| version::rpm(a, b)).unwrap_or_default());
    }
    if is_kin(&["rhel", "fedora", "centos", "suse", "opensuse"]) {
        let newest =
            kernels.into_iter().filter(|it| holds(it, "vmlinu")).max_by(|a, b| version::rpm(a, b))?;
        return version::rpm(&newest, running).is_gt().then_some(newest);
    }
    if is_kin(&["debian", "ubuntu", "raspbian"]) {
        let same = |it: &String| flavour(it) == flavour(running);
        let boot = senses.names(BOOT).unwrap_or_default();
        let boot = boot.iter().filter_map(|it| it.strip_prefix("vmlinuz-")).map(str::to_owned);
        let mut found: Vec<String> = boot.filter(same).take(KERNELS_MAX).collect();
        if found.is_empty() {
            // Headers alone make a folder there too.
            found = kernels.into_iter().filter(|it| same(it) && holds(it, "kernel")).collect();
        }
        let newest = found.into_iter().max_by(|a, b| version::debian(a, b))?;
        return version::debian(&newest, running).is_gt().then_some(newest);
    }
    None
}

/// What stands behind the version: a machine with kernels of several kinds boots one of the kind that it runs.
fn flavour(kernel: &str) -> &str {
    let starts = kernel.match_indices('-').map(|(at, _)| &kernel[at + 1..]);
    starts.into_iter().find(|it| !it.starts_with(|it: char| it.is_ascii_digit())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senses::fake::Fake;

    /// Its name, the machine, what is told.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

    const RUNNING: &str = "5.14.0-9.el9.x86_64";

    fn machine(texts: &[(&str, &str)]) -> Fake {
        let mut machine = Fake::default();
        machine.put("/proc/sys/kernel/osrelease", &format!("{RUNNING}\n"));
        for (path, text) in texts {
            machine.put(path, text);
        }
        machine
    }

    fn told(texts: &[(&str, &str)]) -> Option<String> {
        Watch::default().see(&machine(texts)).map(|it| Value::from(it).to_string())
    }

    const NEW: (&str, &str) = ("/lib/modules/5.14.0-10.el9.x86_64/vmlinuz", "");
    const OLD: (&str, &str) = ("/lib/modules/5.14.0-9.el9.x86_64/vmlinuz", "");
    const ROCKY: (&str, &str) = ("/etc/os-release", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
    const ARCH: (&str, &str) = ("/etc/os-release", "ID=arch\n");

    #[test]
    fn every_case_says_what_stands_beside_it() {
        let newer = r#"{"required":true,"kernel":"5.14.0-9.el9.x86_64","installed":"5.14.0-10.el9.x86_64"}"#;
        let flag = r#"{"required":true,"kernel":"5.14.0-9.el9.x86_64","packages":["libc6","linux-image"]}"#;
        let cases: &[Case<'_>] = &[
            ("nothing", &[], None),
            (
                "Debian's flag",
                &[
                    (FLAG, "*** System restart required ***\n"),
                    (FLAG_PACKAGES, "linux-image\nlibc6\nlibc6\n"),
                ],
                Some(flag),
            ),
            ("a newer kernel", &[ROCKY, OLD, NEW], Some(newer)),
            ("the newest runs", &[ROCKY, OLD], None),
            (
                "only its modules are there",
                &[ROCKY, OLD, ("/lib/modules/5.14.0-10.el9.x86_64/modules.dep", "")],
                None,
            ),
            ("its modules are gone", &[ARCH, NEW], Some(newer)),
            ("they are there", &[ARCH, OLD], None),
            ("a container", &[ARCH, NEW, ("/run/systemd/container", "lxc\n")], None),
            ("another container", &[ARCH, NEW, ("/proc/1/environ", "A=1\0container=lxc\0")], None),
        ];
        for (name, texts, wanted) in cases {
            assert_eq!(told(texts).as_deref(), *wanted, "{name}");
        }
    }

    #[test]
    fn an_event_when_it_changes_and_only_then() {
        let mut it = Watch::default();
        let mut flagged = machine(&[(FLAG, "")]);
        assert!(it.see(&flagged).is_some());
        assert!(it.see(&flagged).is_none());
        flagged.texts.remove(FLAG);
        assert_eq!(it.see(&flagged).unwrap()["required"], json!(false));
    }

    #[test]
    fn debian_and_its_kin_compare_kernels_of_one_flavour_where_nobody_leaves_a_flag() {
        // What runs, what is in /boot, folders of modules with kernels in them, what is told.
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("6.1.0-9-amd64", &["6.1.0-9-amd64", "6.1.0-18-amd64"], &[], Some("6.1.0-18-amd64")),
            ("6.1.0-18-amd64", &["6.1.0-9-amd64", "6.1.0-18-amd64"], &[], None),
            ("6.1.0-18-amd64", &["6.1.0-18-amd64", "6.1.0-20-rt-amd64", "6.1.0-20-cloud-amd64"], &[], None),
            ("6.8.12-4-pve", &["6.8.12-10-pve", "6.8.12-4-pve"], &[], Some("6.8.12-10-pve")),
            (
                "6.6.20+rpt-rpi-v8",
                &["6.6.31+rpt-rpi-v8", "6.6.31+rpt-rpi-2712"],
                &[],
                Some("6.6.31+rpt-rpi-v8"),
            ),
            ("6.1.21-v8+", &[], &["6.1.21-v8+", "6.1.21-v7l+"], None),
            ("6.1.21-v8+", &[], &["6.1.21-v8+", "6.1.30-v8+"], Some("6.1.30-v8+")),
            ("6.12.38+deb13-amd64", &["6.12.41+deb13-amd64"], &[], Some("6.12.41+deb13-amd64")),
            ("6.1.0-9-amd64", &[], &[], None),
        ];
        for (running, boot, modules, wanted) in cases {
            let mut machine = machine(&[("/etc/os-release", "ID=debian\n")]);
            machine.put("/proc/sys/kernel/osrelease", running);
            // Headers of a newer one are no kernel.
            machine.put(&format!("/lib/modules/9{running}/build"), "");
            for it in *boot {
                machine.put(&format!("/boot/vmlinuz-{it}"), "");
            }
            for it in *modules {
                machine.put(&format!("/lib/modules/{it}/kernel"), "");
            }
            let told = Watch::default().see(&machine);
            let told = told.as_ref().map(|it| it["installed"].as_str().unwrap());
            assert_eq!(told, *wanted, "{running} {boot:?} {modules:?}");
        }
        assert_eq!(
            ["5.15.0-91-generic", "6.1.21+", "6.6.20+rpt-rpi-v8"].map(flavour),
            ["generic", "", "rpi-v8"]
        );
    }
}

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
/// Folders of kernels.
const MODULES: &str = "/lib/modules";
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
    let kernels: Vec<String> = senses.names(MODULES).ok()?.into_iter().take(KERNELS_MAX).collect();
    if is_kin(&["arch", "alpine", "postmarketos"]) {
        // There is one kernel of a kind: the new one's modules take the place of those that run.
        let is_gone = !kernels.is_empty() && !kernels.iter().any(|it| it == running);
        return is_gone.then(|| kernels.into_iter().max_by(|a, b| version::rpm(a, b)).unwrap_or_default());
    }
    if is_kin(&["rhel", "fedora", "centos", "suse", "opensuse"]) {
        let has_kernel = |it: &String| {
            senses
                .names(&format!("{MODULES}/{it}"))
                .is_ok_and(|names| names.iter().any(|name| name.starts_with("vmlinu")))
        };
        let newest = kernels.into_iter().filter(has_kernel).max_by(|a, b| version::rpm(a, b))?;
        return version::rpm(&newest, running).is_gt().then_some(newest);
    }
    None
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
            ("Debian says so itself", &[("/etc/os-release", "ID=debian\n"), NEW], None),
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
}

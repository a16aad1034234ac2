//! The units: rated without being run, and the master under its own on a booted host, as a user that may do little else.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use tests::{hosts::Host, program, project, roots_missing, skip, wait};

/// A unit, and the highest rating that it may have, in tenths.
const UNITS: &[(&str, &str, u32)] = &[
    ("labmaster.service", "master/labmaster.service", 15),
    ("labminion.service", "minion/labminion.service", 95),
];

fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn both_units_are_rated_as_the_documentation_says() {
    if !tests::has("systemd-analyze") {
        return skip("both_units_are_rated_as_the_documentation_says", "needs systemd-analyze");
    }
    let page = fs::read_to_string(project().join("docs/reference/ports-and-files.md")).unwrap();
    for (name, path, most) in UNITS {
        let unit = project().join(path);
        let threshold = format!("--threshold={most}");
        let (good, said) = analyze(&["security", "--offline=true", "--no-pager", &threshold], &unit);
        assert!(good, "{name} is less confined than {most}:\n{said}");
        let rated = format!("{}.{} of 10", most / 10, most % 10);
        assert!(said.contains(&format!("level for {name}: {}.{}", most / 10, most % 10)), "{said}");
        let row = page.lines().find(|it| it.starts_with(&format!("| `{name}`"))).unwrap();
        assert!(row.contains(&rated), "{row}");
        // A few lines less of what confines it, and it is noticed.
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(&unit).unwrap();
        let confines = ["NoNewPrivileges=", "LockPersonality=", "RestrictRealtime=", "ProtectHome="];
        let looser: String = text
            .lines()
            .filter(|line| !confines.iter().any(|it| line.starts_with(it)))
            .flat_map(|line| [line, "\n"])
            .collect();
        fs::write(folder.path().join(name), looser).unwrap();
        let (good, said) =
            analyze(&["security", "--offline=true", "--no-pager", &threshold], &folder.path().join(name));
        assert!(!good, "{said}");
    }
}

/// The master's programs and account in a host that is not booted, as docs/how-to/raspberry-pi.md says.
fn install(host: &Host) {
    for name in ["labmaster", "labctl", "labminion"] {
        let to = host.root().join("usr/bin").join(name);
        fs::copy(program(name), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn the_master_works_under_its_unit_as_a_user_that_may_do_little_else() {
    if let Some(reason) = roots_missing() {
        return skip("the_master_works_under_its_unit_as_a_user_that_may_do_little_else", &reason);
    }
    let mut host = Host::prepare("unit");
    install(&host);
    host.boot(None);
    host.sh("useradd --system --user-group labmaster && groupadd --system lab && useradd -G lab ada && useradd eve");
    host.sh("labmaster unit > /etc/systemd/system/labmaster.service && grep -q =/usr/bin/labmaster /etc/systemd/system/labmaster.service");
    host.sh(
        "labmaster init --no-example --address 127.0.0.1 && chown -R labmaster:lab /var/lib/labctl/master",
    );
    host.sh("mkdir -p /srv/labctl/states && printf 'a:\\n  file.managed:\\n    - name: /root/made\\n    - contents: x\\n' > /srv/labctl/states/made.sls");
    host.sh("systemd-analyze verify /etc/systemd/system/labmaster.service");
    host.sh("systemctl daemon-reload");
    // Type=notify: it returns when the master has said that it is ready.
    host.sh("systemctl start labmaster");

    let pid = host.sh("systemctl show -P MainPID labmaster");
    assert_eq!(
        host.sh(&format!("ps -o user=,group= -p {pid} | xargs || true; stat -c %U /proc/{pid}"))
            .lines()
            .last(),
        Some("labmaster")
    );
    let status = host.sh(&format!("cat /proc/{pid}/status"));
    let line = |name: &str| {
        status.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    assert!(["CapEff:", "CapBnd:", "CapPrm:"].iter().all(|it| line(it) == "0000000000000000"), "{status}");

    host.sh("systemctl reload labmaster");
    // Who is in the group may, who is not may not; and the audit log has their names.
    host.sh("su ada -s /bin/sh -c 'labctl master gc'");
    assert!(!host.run("su eve -s /bin/sh -c 'labctl status'").status.success());
    let own = "/var/lib/labctl/master/store.db";
    assert!(
        !host.run(&format!("su ada -s /bin/sh -c 'cat {own}'")).status.success(),
        "the store is the master's"
    );

    host.sh("labctl key enroll --ids vm-1 > /root/seed.json");
    host.sh("systemd-run -q --unit=minion labminion run --seed /root/seed.json --id vm-1");
    wait::until("vm-1 to be up", wait::seconds(30), || {
        host.run("labctl minion show vm-1 -o json | grep -q '\"presence\": *\"up\"'")
            .status
            .success()
            .then_some(())
    });
    host.sh("labctl target vm-1 apply made && test -f /root/made");
    let restarts = host.sh("systemctl show -P NRestarts labmaster");
    assert_eq!(restarts, "0", "{}", host.sh("journalctl -u labmaster | tail -50"));
    let stopped = host.run("systemctl stop labmaster && systemctl show -P Result labmaster");
    assert_eq!(String::from_utf8_lossy(&stopped.stdout).trim(), "success");
}

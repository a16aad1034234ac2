//! The tree that is shipped, all of it, applied by a real minion with systemd and apt; and the minion's end.

use crate::images::{Site, site};
use std::fs;
use tests::{roots_missing, skip, wait};

#[test]
fn every_shipped_state_is_applied_and_then_changes_nothing() {
    if let Some(reason) = roots_missing() {
        return skip("every_shipped_state_is_applied_and_then_changes_nothing", &reason);
    }
    let Site { host, lab, _bridge } = site(&["role=web", "monitored=yes", "nfs=client"], true);
    lab.wait_up("vm-2");
    // Much of what is planned builds on packages and accounts that are not there yet.
    lab.labctl(&["target", "vm-2", "plan"]).expect(0);
    lab.labctl(&["target", "vm-2", "apply", "--detailed-exitcode"]).expect(10);

    let page = host.sh("curl -s http://localhost/");
    assert!(page.contains("<h1>vm-2</h1>"), "{page}");
    let status = host.sh("curl -s -u status:change-me-in-pillar http://localhost/status");
    assert!(status.contains("Active connections"), "{status}");
    let metrics = host.sh("curl -s http://localhost:9100/metrics");
    assert!(metrics.contains("node_load1") && !metrics.contains("node_zfs"), "{metrics}");
    assert_eq!(host.sh("systemctl is-enabled srv-media.automount"), "enabled");
    assert!(host.sh("systemctl cat srv-media.mount").contains("What=nas.lab:/volume1/media"));
    assert_eq!(host.sh("readlink /etc/localtime"), "/usr/share/zoneinfo/Europe/Amsterdam");
    assert_eq!(host.sh("sudo -u ada sudo -n id -un"), "root");
    assert!(host.sh("sshd -T").contains("passwordauthentication no"));
    assert_eq!(host.sh("systemctl is-enabled systemd-timesyncd unattended-upgrades"), "enabled\nenabled");
    lab.labctl(&["target", "vm-2", "apply", "--detailed-exitcode"]).expect(0);

    lab.labctl(&["target", "vm-2", "label", "role=docker"]).expect(0);
    lab.labctl(&["target", "vm-2", "apply", "--detailed-exitcode"]).expect(10);
    assert!(host.sh("docker info").contains("Live Restore Enabled: true"));
    assert!(host.sh("crontab -l -u root").contains("docker system prune"));
    lab.labctl(&["target", "vm-2", "apply", "--detailed-exitcode"]).expect(0);
}

#[test]
fn an_uninstalled_minion_says_goodbye_and_leaves_nothing_of_itself() {
    if let Some(reason) = roots_missing() {
        return skip("an_uninstalled_minion_says_goodbye_and_leaves_nothing_of_itself", &reason);
    }
    let Site { host, lab, _bridge } = site(&[], false);
    lab.wait_up("vm-2");
    assert!(host.root().join("var/lib/labctl/minion").exists());
    fs::write(host.root().join("etc/labctl/minion.toml"), "").unwrap();
    let refused = host.run("labminion uninstall < /dev/null");
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(host.sh("systemctl is-active labminion"), "active");

    let said = host.sh("labminion uninstall --yes");
    assert!(said.contains("removed /var/lib/labctl/minion"), "{said}");
    wait::until("the master to know that vm-2 is down", wait::seconds(5), || {
        (lab.presence("vm-2")? == "down").then_some(())
    });
    assert_eq!(host.sh("systemctl show -P LoadState labminion"), "not-found");
    assert_eq!(
        host.sh("find /etc /var/lib /var/cache /run -path '*labctl*' -o -name '*labminion*'")
            .lines()
            .collect::<Vec<_>>(),
        ["/etc/labctl", "/etc/labctl/minion.toml",]
    );
    assert_eq!(host.sh("readlink /proc/[0-9]*/exe | grep labminion || true"), "");
}

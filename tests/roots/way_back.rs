//! Real reboots in the middle of a run, and states that cut a machine off from its master: undone in time.

use crate::images::{SLOW, Site, site_with};
use std::process::Stdio;
use tests::{roots_missing, skip, wait};

const KERNEL: &str = "\
before:
  cmd.run:
    name: cat /proc/sys/kernel/random/boot_id >> /ledger
boot:
  system.reboot:
    - only_on_pending_reboot: false
after:
  cmd.run:
    name: cat /proc/sys/kernel/random/boot_id >> /ledger
";

/// New connections are cut off, those of before live on; a file that a service reads, and the service.
const CUT: &str = "\
/etc/nftables.conf:
  nftables.managed:
    - contents: |
        flush ruleset
        table inet filter {
          chain output {
            type filter hook output priority 0; policy drop;
            ct state established,related accept
            oif lo accept
          }
        }
nftables:
  service.running:
    - enable: true
/etc/motd:
  file.managed:
    - contents: cut off
curious:
  cmd.run:
    - name: 'true'
";

#[test]
fn a_host_reboots_in_the_middle_of_a_run_which_goes_on_behind_it() {
    if let Some(reason) = roots_missing() {
        return skip("a_host_reboots_in_the_middle_of_a_run_which_goes_on_behind_it", &reason);
    }
    let Site { mut host, lab, _bridge } = site_with(&[], |lab| lab.tree("states/kernel.sls", KERNEL));
    lab.wait_up("vm-2");
    for (arguments, lines) in [(["apply", "kernel"], 2), (["reboot", "--wait"], 2)] {
        let mut labctl = lab.labctl_command(&[&["target", "vm-2"], &arguments[..]].concat());
        let labctl = labctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        host.boot_anew();
        let output = labctl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}\n{}", lab.logs());
        let boots = host.sh("cat /ledger");
        assert_eq!(boots.lines().count(), lines, "{boots}");
        assert_ne!(boots.lines().next(), boots.lines().last(), "the second step ran after the boot");
    }
}

#[test]
fn a_state_that_cuts_the_way_to_the_master_is_undone_in_time() {
    if let Some(reason) = roots_missing() {
        return skip("a_state_that_cuts_the_way_to_the_master_is_undone_in_time", &reason);
    }
    let Site { host, lab, _bridge } = site_with(&[], |lab| {
        lab.tree("states/cut.sls", CUT);
        // What does not cut it off stays.
        lab.tree("states/open.sls", &CUT.replace("policy drop", "policy accept"));
    });
    lab.wait_up("vm-2");
    host.sh("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nftables");
    host.sh("nft add table inet precious && nft add chain inet precious mine");
    let look = "nft list ruleset; cat /etc/nftables.conf /etc/motd | sha256sum; systemctl is-enabled nftables; \
                systemctl is-active nftables; true";
    let before = host.sh(look);
    let mut apply = lab.labctl_command(&["target", "vm-2", "apply", "cut", "--confirm-within", "8s"]);
    let apply = apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the host to be cut off", SLOW, || {
        host.run("nft list chain inet filter output").status.success().then_some(())
    });
    let output = apply.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    let shown = lab.labctl(&["job", "show", "@last"]).expect(0).stdout;
    assert!(shown.contains("not confirmed within 8s: undone"), "{shown}\n{}", lab.logs());
    assert!(shown.contains("packet filter (nft)") && shown.contains("/etc/motd"), "{shown}");
    assert!(shown.contains("cmd.run true"), "what cannot be undone is named: {shown}");
    assert_eq!(host.sh(look), before, "{shown}");
    lab.labctl(&["target", "vm-2", "ping"]).expect(0);

    lab.labctl(&["target", "vm-2", "apply", "open", "--confirm-within", "60s"]).expect(0);
    assert!(host.sh("nft list ruleset").contains("policy accept"));
    assert_eq!(host.sh("cat /etc/motd"), "cut off");
    // And can be undone by hand, rules and unit too.
    lab.labctl(&["job", "undo", "@last"]).expect(0);
    assert_eq!(host.sh(look), before);
}

//! The whole, untouched by hands: images with a minion and a seed boot on a bridge, enrol, and are configured.

use crate::images::{SLOW, copy_tree, install, last_word};
use std::{fs, process::Command};
use tests::{
    hosts::{Bridge, Host},
    lab::Lab,
    roots_missing, skip, wait,
};

fn page(namespace: &str, address: &str) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace, "curl", "-s", "-m", "5", address])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A reload of nginx ends before its workers are new ones.
fn wait_for_page(namespace: &str, number: usize) {
    wait::until(&format!("the page of vm-{number}"), wait::seconds(10), || {
        let text = page(namespace, &format!("http://10.77.0.{number}/"));
        text.contains(&format!("<h1>vm-{number}</h1>")).then_some(())
    });
}

#[test]
fn three_images_boot_enrol_and_are_configured_by_themselves() {
    if let Some(reason) = roots_missing() {
        return skip("three_images_boot_enrol_and_are_configured_by_themselves", &reason);
    }
    let mut bridge = Bridge::new();
    let master = bridge.attach(1);
    let mut lab = Lab::prepare_on("10.77.0.1", &master);
    copy_tree(&lab);
    lab.start_master();
    let seed = lab.seed("vm-*", &["--label", "role=web"]);
    let expired = lab.seed("vm-*", &["--for", "1s"]);

    let mut hosts: Vec<Host> = (2..=4).map(|number| Host::prepare(&format!("vm-{number}"))).collect();
    for (index, host) in hosts.iter_mut().enumerate() {
        install(&lab, host, &seed);
        let number = u8::try_from(index).unwrap() + 2;
        host.boot(Some(&bridge.attach(number)));
    }
    for id in ["vm-2", "vm-3", "vm-4"] {
        let word = wait::try_until(SLOW, || last_word(&lab, id).filter(|it| it != "failed"));
        assert_eq!(
            word.as_deref(),
            Some("changed"),
            "{id}\n{}\n{}",
            lab.labctl(&["job", "show", "@last"]).stdout,
            lab.logs()
        );
    }
    for (index, host) in hosts.iter().enumerate() {
        let number = index + 2;
        wait_for_page(&master, number);
        assert!(host.sh("id ada").contains("lab"));
        assert_eq!(host.sh("systemctl is-active nginx ssh"), "active\nactive");
        assert!(host.sh("crontab -l -u root").contains("apt-get clean"));
        assert_eq!(host.sh("stat -c %a /home/ada/.ssh/authorized_keys"), "600");
        assert!(
            !host.root().join("etc/labctl/seed.json").exists() || {
                let seed = fs::read_to_string(host.root().join("etc/labctl/seed.json")).unwrap();
                !seed.contains("image_secret")
            }
        );
    }
    lab.labctl(&["target", "*", "apply", "--detailed-exitcode"]).expect(0);

    fs::write(hosts[0].root().join("srv/www/index.html"), "broken by hand\n").unwrap();
    let plan = lab.labctl(&["target", "vm-2", "plan"]).expect(0);
    assert!(plan.stdout.contains("-broken by hand"), "{}", plan.stdout);
    lab.labctl(&["target", "vm-2", "apply", "--detailed-exitcode"]).expect(10);
    wait_for_page(&master, 2);

    hosts[2].stop();
    wait::until("vm-4 to be known as away", wait::seconds(10), || {
        (lab.presence("vm-4")? != "up").then_some(())
    });
    let said = lab.labctl(&["target", "*", "ping", "-o", "json"]).expect(4);
    assert!(said.stdout.contains("vm-2") && said.stdout.contains("vm-3"), "{}", said.stdout);

    let mut late = Host::prepare("vm-5");
    install(&lab, &late, &expired);
    late.boot(Some(&bridge.attach(5)));
    wait::until("vm-5 to be in quarantine", wait::seconds(30), || {
        let said = lab.labctl(&["key", "list", "--pending"]);
        (said.stdout.contains("vm-5") && said.stdout.contains("expired")).then_some(())
    });
    let said = lab.labctl(&["target", "*", "list", "-o", "name"]).expect(0);
    assert!(!said.stdout.contains("vm-5"), "{}", said.stdout);
}

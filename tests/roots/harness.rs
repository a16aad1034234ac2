//! The hosts themselves: what the other tests here stand on.

use tests::{
    hosts::{Bridge, Host},
    roots_missing, skip,
};

#[test]
fn hosts_boot_see_each_other_and_install_without_a_network() {
    if let Some(reason) = roots_missing() {
        return skip("hosts_boot_see_each_other_and_install_without_a_network", &reason);
    }
    let mut bridge = Bridge::new();
    let mut one = Host::prepare("one");
    let mut two = Host::prepare("two");
    one.boot(Some(&bridge.attach(1)));
    two.boot(Some(&bridge.attach(2)));
    assert_eq!(one.sh("hostname"), "one");
    one.sh("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq hello && hello");
    two.sh("! command -v hello");
    let heard = two.run("timeout 5 bash -c 'exec 3<>/dev/tcp/10.77.0.1/22' 2>&1; true");
    assert!(String::from_utf8_lossy(&heard.stdout).contains("refused"), "{heard:?}");
    one.stop();
    one.boot(None);
    one.sh("hello");
}

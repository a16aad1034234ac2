//! Images with a minion and a seed in them, and a master with the shipped tree.

use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};
use tests::{
    hosts::{Bridge, Host},
    lab::{Lab, find},
    program, project,
};

/// Real apt on a loaded machine.
pub(crate) const SLOW: Duration = Duration::from_mins(4);

/// Gives a master the tree that is shipped.
pub(crate) fn copy_tree(lab: &Lab) {
    for tree in ["states", "pillar", "reactors"] {
        let to = lab.root().join("srv/labctl").join(tree);
        fs::create_dir_all(&to).unwrap();
        let status =
            Command::new("cp").args(["-r", "-T"]).arg(project().join(tree)).arg(&to).status().unwrap();
        assert!(status.success());
    }
}

/// Puts a minion and a seed into a host that is not booted.
pub(crate) fn install(lab: &Lab, host: &Host, seed: &Path) {
    let root = host.root();
    let minion = program("labminion");
    let arguments = ["image", "install", "--root", root.to_str().unwrap(), "--seed", seed.to_str().unwrap()];
    lab.labctl(&[&arguments[..], &["--minion", minion.to_str().unwrap()]].concat()).expect(0);
}

/// The word of the last apply, once there is one.
pub(crate) fn last_word(lab: &Lab, id: &str) -> Option<String> {
    let said = lab.labctl(&["minion", "show", id, "-o", "json"]);
    let json: Value = serde_json::from_str(&said.stdout).ok()?;
    Some(find(find(&json, "last_apply")?, "word")?.as_str()?.to_owned())
}

/// A master and one host, booted with an image, both on a bridge.
pub(crate) struct Site {
    // Fields are dropped in this order.
    pub(crate) host: Host,
    pub(crate) lab: Lab,
    pub(crate) _bridge: Bridge,
}

pub(crate) fn site(labels: &[&str], shipped: bool) -> Site {
    site_with(labels, |lab| {
        if shipped {
            copy_tree(lab);
            // When something is applied is the test's to say.
            fs::remove_dir_all(lab.root().join("srv/labctl/reactors")).unwrap();
        }
    })
}

/// The same with other trees.
pub(crate) fn site_with(labels: &[&str], plant: impl Fn(&Lab)) -> Site {
    let mut bridge = Bridge::new();
    let mut lab = Lab::prepare_on("10.77.0.1", &bridge.attach(1));
    plant(&lab);
    lab.start_master();
    let labels: Vec<&str> = labels.iter().flat_map(|it| ["--label", it]).collect();
    let seed = lab.seed("vm-*", &labels);
    let mut host = Host::prepare("vm-2");
    install(&lab, &host, &seed);
    host.boot(Some(&bridge.attach(2)));
    Site { host, lab, _bridge: bridge }
}

//! Network namespaces whose packets are dropped, reset, lost by chance or come from a link that flaps.

use model::{TargetState, Terminal};
use std::process::{Command, Stdio};
use tests::{
    has,
    hosts::Bridge,
    is_root,
    lab::{Around, LIMIT, Lab},
    promise::{Promise, view},
    skip, wait,
};

/// Scripts that a network gets, within the namespace of its minion; the second list ends it.
const NETWORKS: &[(&str, &[&str], &[&str])] = &[
    ("well", &[], &[]),
    ("nothing passes", &["nft add rule inet f in drop", "nft add rule inet f out drop"], CLEAR),
    ("it hears and is not heard", &["nft add rule inet f out drop"], CLEAR),
    ("it is heard and does not hear", &["nft add rule inet f in drop"], CLEAR),
    (
        "every packet is answered by a reset",
        &["nft add rule inet f out meta l4proto tcp reject with tcp reset"],
        CLEAR,
    ),
    (
        "30 % are lost both ways",
        &[
            "nft 'add rule inet f in numgen random mod 100 < 30 drop'",
            "nft 'add rule inet f out numgen random mod 100 < 30 drop'",
        ],
        CLEAR,
    ),
    ("there is no way", &["ip route add blackhole 10.77.0.1/32"], &["ip route del blackhole 10.77.0.1/32"]),
    (
        "the link flaps",
        &["for i in 1 2 3 4 5 6; do ip link set eth0 down; sleep 0.2; ip link set eth0 up; sleep 0.3; done"],
        &[],
    ),
];
const CLEAR: &[&str] = &["nft flush chain inet f in", "nft flush chain inet f out"];
const TABLE: &[&str] = &[
    "nft add table inet f",
    "nft add chain inet f in '{ type filter hook input priority 0; }'",
    "nft add chain inet f out '{ type filter hook output priority 0; }'",
];

fn run_in(namespace: &str, scripts: &[&str]) {
    for script in scripts {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "sh", "-c", script]).stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "{namespace}: {script}");
    }
}

#[test]
fn jobs_end_once_on_every_network() {
    let name = "jobs_end_once_on_every_network";
    if !is_root() {
        return skip(name, "needs root for network namespaces");
    }
    if !has("nft") || !has("ip") {
        return skip(name, "needs nft and ip");
    }
    let mut bridge = Bridge::new();
    let home = bridge.attach(1);
    let mut lab = Lab::prepare_on("10.77.0.1", &home);
    let mut promise = Promise::of(&lab);
    lab.start_master();
    let seed = lab.seed("*", &["--cidr", "10.77.0.0/24"]);
    let namespaces: Vec<String> = (2..).take(NETWORKS.len()).map(|it| bridge.attach(it)).collect();
    for (index, namespace) in namespaces.iter().enumerate() {
        lab.launch_in(&format!("vm-{index}"), &seed, Around::namespace(namespace));
        run_in(namespace, TABLE);
    }
    (0..NETWORKS.len()).for_each(|it| lab.wait_up(&format!("vm-{it}")));

    // One job before, one that is at work, two that are offered into it, one after.
    let mut jobs = vec![promise.apply(&lab, "*")];
    let go = lab.folder().join("go");
    let slow = promise.command(&lab, "*", &format!("while [ ! -e {} ]; do sleep 0.05; done", go.display()));
    wait::until("all to be at work", LIMIT, || {
        let view = view(&lab, slow)?;
        view.targets.iter().all(|it| matches!(it.state, TargetState::Running { .. })).then_some(())
    });
    std::thread::scope(|scope| {
        for ((_, begin, _), namespace) in NETWORKS.iter().zip(&namespaces) {
            scope.spawn(move || run_in(namespace, begin));
        }
    });
    jobs.extend([promise.command(&lab, "*", "true"), promise.apply(&lab, "*")]);
    std::fs::write(&go, "").unwrap();
    // The healthy one is not held up by the others.
    wait::until("the healthy one to end all", LIMIT, || {
        let ended = |job| {
            let view = view(&lab, job)?;
            let target = view.targets.into_iter().find(|it| it.minion.as_str() == "vm-0")?;
            matches!(target.state, TargetState::Ended { .. }).then_some(())
        };
        jobs.iter().try_for_each(|it| ended(*it))
    });
    let _ = wait::try_until(wait::seconds(4), || crate::points::has_ended(&lab, jobs[1]).then_some(()));
    for ((_, _, end), namespace) in NETWORKS.iter().zip(&namespaces) {
        run_in(namespace, end);
    }
    jobs.extend([slow, promise.command(&lab, "*", "true")]);
    for (index, (what, ..)) in NETWORKS.iter().enumerate() {
        for job in &jobs {
            let place = format!("{what}: job {job} to end on vm-{index}\n{}", lab.logs());
            let word = wait::until(&place, wait::seconds(90), || {
                let view = view(&lab, *job)?;
                match view.targets.get(index)?.state {
                    TargetState::Ended { word, .. } => Some(word),
                    _ => None,
                }
            });
            assert_eq!(word, Terminal::Changed, "{what}");
        }
    }
    promise.hold(&lab);
}

//! Two agents on one host.

use model::Terminal;
use tests::{
    lab::{LIMIT, Lab},
    promise::Promise,
    wait,
};

#[test]
fn two_agents_with_folders_of_their_own_work_and_the_second_of_one_folder_refuses() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    for target in ["vm-1", "vm-2", "*"] {
        let job = promise.command(&lab, target, "true");
        assert_eq!(promise.word(&lab, job), Terminal::Changed);
    }
    let state = lab.minion_folder("vm-1").join("state");
    let seed = lab.seed("*", &[]);
    // The same folder, by another name.
    let other = lab.minion_folder("vm-3");
    std::fs::create_dir_all(&other).unwrap();
    std::os::unix::fs::symlink(&state, other.join("state")).unwrap();
    let second = lab.launch("vm-3", &seed);
    wait::until("the second one to end", LIMIT, || lab.agent(second).ended().then_some(()));
    let log = lab.agent(second).log();
    let sentence = format!(
        "another labminion uses `{}`: stop it, or give this one a --state-dir of its own",
        other.join("state").display()
    );
    assert!(log.contains(&sentence), "{log}");
    let job = promise.command(&lab, "*", "true");
    assert_eq!(promise.word(&lab, job), Terminal::Changed);
    promise.hold(&lab);
}

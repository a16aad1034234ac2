//! Small disks that are filled and freed: new jobs are refused, what was promised still gets in, and both daemons recover
//! by themselves.

use crate::sync::folder_with_disk;
use model::Terminal;
use tests::{
    disk::Disk,
    is_root,
    lab::{LIMIT, Lab, find},
    promise::Promise,
    skip, wait,
};

/// A store with its ballast, and not much more.
const STORE_MIB: u32 = 40;

/// Keeps a run at work until the file is there.
fn until_go(lab: &Lab) -> (std::path::PathBuf, String) {
    let go = lab.folder().join("go");
    let body = format!("while [ ! -e {} ]; do sleep 0.02; done; seq 2000", go.display());
    (go, body)
}

#[test]
fn a_full_disk_of_the_master_refuses_new_jobs_keeps_promises_and_recovers_without_a_restart() {
    let name = "a_full_disk_of_the_master_refuses_new_jobs_keeps_promises_and_recovers_without_a_restart";
    if !is_root() {
        return skip(name, "needs root for a small file system");
    }
    let folder = tempfile::Builder::new().prefix("lab").tempdir().unwrap();
    // Dropped after the lab: the master must have ended.
    let Some(small) = Disk::in_memory(&folder.path().join("master"), STORE_MIB) else {
        return skip(name, "mounting is not allowed here");
    };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    promise.without_room();
    let pid = lab.master_pid();
    let (go, body) = until_go(&lab);
    let promised = promise.command(&lab, "vm-1", &body);
    promise.wait_begun(promised);

    small.fill();
    let refused = wait::until("new jobs to be refused", LIMIT, || {
        let said = lab.labctl(&["target", "vm-1", "run", "--async", "--", "true"]);
        (said.code != 0).then_some(said)
    });
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("disk") && refused.stderr.contains("full"), "{refused:?}");
    let status = lab.labctl(&["status", "-o", "json"]).expect(0).json();
    assert!(find(&status, "degraded").is_some_and(serde_json::Value::is_string), "{status}");
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);

    std::fs::write(go, "").unwrap();
    assert_eq!(promise.word(&lab, promised), Terminal::Changed, "a result that was promised is stored");
    // It is on disk, not only in memory.
    lab.signal_master("KILL");
    lab.start_master();
    assert_eq!(promise.word(&lab, promised), Terminal::Changed);
    assert!(lab.labctl(&["target", "vm-1", "run", "--async", "--", "true"]).code != 0, "it is still full");
    assert_ne!(lab.master_pid(), pid);

    let pid = lab.master_pid();
    small.free();
    wait::until("new jobs to be taken again", LIMIT, || {
        (lab.labctl(&["target", "vm-1", "run", "--", "true"]).code == 0).then_some(())
    });
    assert_eq!(lab.master_pid(), pid);
    assert!(!lab.master_ended(), "without a restart");
    promise.hold(&lab);
    drop(lab);
    drop(small);
}

#[test]
fn a_full_disk_of_the_minion_refuses_new_jobs_keeps_the_result_and_recovers_without_a_restart() {
    let name = "a_full_disk_of_the_minion_refuses_new_jobs_keeps_the_result_and_recovers_without_a_restart";
    if !is_root() {
        return skip(name, "needs root for a small file system");
    }
    let Some((folder, small)) = folder_with_disk(name, "minions/vm-1/state") else { return };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    let pid = lab.agent(0).pid();
    let (go, body) = until_go(&lab);
    let promised = promise.command(&lab, "vm-1", &body);
    promise.wait_begun(promised);

    small.fill();
    let refused = wait::until("a job to be refused", LIMIT, || {
        let job = promise.command(&lab, "vm-1", "true");
        let ended = wait::try_until(wait::seconds(2), || crate::points::has_ended(&lab, job).then_some(()));
        ended.map(|()| promise.end(&lab, job))
    });
    assert_eq!(refused.0, Terminal::Refused, "{refused:?}");
    assert!(refused.1.contains("cannot keep a result"), "{refused:?}");
    std::fs::write(go, "").unwrap();
    // Its worker has no room to say what came of it, and waits for some.
    let nothing =
        wait::try_until(wait::seconds(1), || crate::points::has_ended(&lab, promised).then_some(()));
    assert!(nothing.is_none(), "what cannot be kept is not said");
    small.free();
    assert_eq!(promise.word(&lab, promised), Terminal::Changed, "a result is not lost");

    wait::until("new jobs to be taken again", LIMIT, || {
        let job = promise.command(&lab, "vm-1", "true");
        (promise.word(&lab, job) == Terminal::Changed).then_some(())
    });
    assert_eq!(lab.agent(0).pid(), pid);
    assert!(!lab.agent(0).ended(), "without a restart");
    promise.hold(&lab);
    drop(lab);
    drop(small);
}

//! Killed, or without power, at every sync of master and minion: while jobs are submitted and reported, and while a
//! minion enrols.

use crate::points::{Points, What, Whom, strace_missing};
use tests::{
    disk::Disk,
    lab::{Around, LIMIT, Lab},
    promise::Promise,
    skip,
    strace::Fault,
    wait,
};

const SYNCS: &str = "fsync,fdatasync";
const KILL: &str = "signal=KILL";
/// Bytes of the disks, in MiB.
const DISK_MIB: u32 = 96;
/// More syncs of a kind than an enrolment has.
const SYNCS_MAX: u32 = 30;

fn kill_at(_: &Lab, n: u32) -> Fault {
    Fault::at(SYNCS, KILL, n)
}

/// A folder with the disk of a daemon in it, at `place` below it.
pub(crate) fn folder_with_disk(test: &str, place: &str) -> Option<(tempfile::TempDir, Disk)> {
    let folder = tempfile::Builder::new().prefix("lab").tempdir().unwrap();
    let disk = Disk::in_image(&folder.path().join(place), DISK_MIB);
    if disk.is_none() {
        skip(test, "mounting an image is not allowed here");
    }
    disk.map(|disk| (folder, disk))
}

/// A minion in a process namespace of its own: all that it started ends with it, and each start is another boot.
pub(crate) fn machine() -> Around {
    Around::behind(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
}

#[test]
fn the_master_loses_power_at_each_sync_of_a_command() {
    let name = "the_master_loses_power_at_each_sync_of_a_command";
    if strace_missing(name) {
        return;
    }
    let Some((folder, mut disk)) = folder_with_disk(name, "master") else { return };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    disk.settle();
    lab.start_master();
    lab.minions(&["vm-1"]);
    let mut points =
        Points { whom: Whom::Master, what: What::Command, every: 1, fault: &kill_at, disk: Some(&mut disk) };
    let met = points.run(&mut lab, &mut promise);
    assert!(met >= 3, "submission, recipe and result are synced: {met}");
    promise.hold(&lab);
    drop(lab);
}

#[test]
fn the_master_is_killed_at_each_sync_of_an_apply() {
    if strace_missing("the_master_is_killed_at_each_sync_of_an_apply") {
        return;
    }
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    let mut points = Points { whom: Whom::Master, what: What::Apply, every: 1, fault: &kill_at, disk: None };
    assert!(points.run(&mut lab, &mut promise) >= 2);
    promise.hold(&lab);
}

#[test]
fn the_minion_is_killed_at_each_sync_and_its_worker_lives_on() {
    if strace_missing("the_minion_is_killed_at_each_sync_and_its_worker_lives_on") {
        return;
    }
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    for what in [What::Command, What::Apply] {
        let mut points = Points { whom: Whom::Minion, what, every: 1, fault: &kill_at, disk: None };
        assert!(points.run(&mut lab, &mut promise) >= 2, "what is received and what came of it are synced");
    }
    promise.hold(&lab);
}

#[test]
fn the_minion_loses_power_at_each_sync() {
    let name = "the_minion_loses_power_at_each_sync";
    if strace_missing(name) {
        return;
    }
    let Some((folder, mut disk)) = folder_with_disk(name, "minions/vm-1/state") else { return };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    disk.settle();
    lab.start_master();
    let seed = lab.seed("*", &[]);
    lab.launch_in("vm-1", &seed, machine());
    lab.wait_up("vm-1");
    for what in [What::Command, What::Apply] {
        let fault = &kill_at;
        let mut points = Points { whom: Whom::Minion, what, every: 1, fault, disk: Some(&mut disk) };
        assert!(points.run(&mut lab, &mut promise) >= 2);
    }
    promise.hold(&lab);
    drop(lab);
}

#[test]
fn the_master_loses_power_at_each_sync_of_an_enrolment() {
    let name = "the_master_loses_power_at_each_sync_of_an_enrolment";
    if strace_missing(name) {
        return;
    }
    let Some((folder, mut disk)) = folder_with_disk(name, "master") else { return };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    disk.settle();
    lab.start_master();
    // Each machine uses the token once, however often it asks: one use counted twice, and the last ones stay outside.
    let most = 8;
    let seed = lab.seed("vm-*", &["--uses", &most.to_string()]);
    for n in 1..=most {
        let strace = kill_at(&lab, n).attach(lab.master_pid());
        let id = format!("vm-{n}");
        lab.launch(&id, &seed);
        let place = format!("{id} to be up, or the master to be gone\n{}", lab.logs());
        let survived = wait::until(&place, LIMIT, || {
            let up = !lab.master_ended() && lab.presence(&id).is_some_and(|it| it == "up");
            (up || lab.master_ended()).then_some(up)
        });
        drop(strace);
        let survived = survived && !lab.master_ended();
        if !survived {
            disk.cut_power();
            lab.start_master();
        }
        lab.wait_up(&id);
        if survived {
            assert!(n > 1, "an enrolment is synced");
            break;
        }
    }
    promise.command(&lab, "*", "true");
    promise.hold(&lab);
    drop(lab);
}

#[test]
fn the_minion_loses_power_at_each_sync_of_its_enrolment() {
    let name = "the_minion_loses_power_at_each_sync_of_its_enrolment";
    if strace_missing(name) {
        return;
    }
    let Some((folder, mut disk)) = folder_with_disk(name, "minions") else { return };
    let mut lab = Lab::prepare_in(folder);
    let mut promise = Promise::of(&lab);
    disk.settle();
    lab.start_master();
    let seed = lab.seed("vm-*", &["--uses", "100"]);
    for calls in ["fsync", "fdatasync"] {
        for n in 1..=SYNCS_MAX {
            let fault = Fault::at(calls, KILL, n);
            let id = format!("vm-{calls}-{n}");
            std::fs::create_dir_all(lab.minion_folder(&id).join("host")).unwrap();
            disk.settle();
            let around = Around { before: fault.from_the_start(), ..Around::default() };
            let index = lab.launch_in(&id, &seed, around);
            let place = format!("{id} to be up or gone\n{}", lab.logs());
            let survived = wait::until(&place, LIMIT, || {
                let ended = lab.agent(index).ended();
                (ended || lab.presence(&id).is_some_and(|it| it == "up")).then_some(!ended)
            });
            lab.agent(index).around = Around::default();
            if !survived {
                disk.cut_power();
                lab.restart(index);
                lab.wait_up(&id);
            }
            // The disk of all: nobody may use it when the power is cut.
            lab.agent(index).signal("KILL");
            lab.labctl(&["minion", "remove", &id, "--yes"]).expect(0);
            if survived {
                assert!(n > if calls == "fsync" { 6 } else { 1 }, "{calls}: {n}");
                break;
            }
        }
    }
    lab.launch("vm-last", &seed);
    lab.wait_up("vm-last");
    promise.command(&lab, "*", "true");
    promise.hold(&lab);
    drop(lab);
}

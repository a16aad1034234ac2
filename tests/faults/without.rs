//! That these tests bite: with one promise left out of a program, they see it.

use crate::{
    points::{has_ended, strace_missing},
    sync::{folder_with_disk, machine},
};
use tests::{
    lab::{LIMIT, Lab, kill},
    promise::Promise,
    strace::Fault,
    wait,
};

/// Runs something with all of it there and with a part left out; only the second run may have complaints, with these words.
fn bites(part: &str, words: &str, run: impl Fn(Option<&str>) -> Option<Vec<String>>) {
    let Some(whole) = run(None) else { return };
    assert_eq!(whole, Vec::<String>::new(), "nothing is left out");
    let broken = run(Some(part)).expect("it ran before");
    assert!(broken.iter().any(|it| it.contains(words)), "without `{part}`: {broken:?}");
}

fn environment(part: Option<&str>) -> Vec<(&'static str, &str)> {
    part.into_iter().map(|it| (model::broken::VARIABLE, it)).collect()
}

#[test]
fn an_answer_before_the_job_is_on_disk_is_found() {
    let name = "an_answer_before_the_job_is_on_disk_is_found";
    if strace_missing(name) {
        return;
    }
    bites("wait-for-the-store", "was accepted and is lost", |part| {
        let mut lab = Lab::prepare();
        let mut promise = Promise::of(&lab);
        lab.start_master_with(&environment(part));
        lab.minions(&["vm-1"]);
        let store = ["store.db", "store.db-wal"].map(|it| lab.root().join("var/lib/labctl/master").join(it));
        // The first write takes seconds, and the master is gone before it is done.
        let strace = Fault::at("pwrite64", "delay_enter=5000000", 1).on(&store).attach(lab.master_pid());
        let asked_once = &mut promise;
        let pid = lab.master_pid();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| asked_once.command(&lab, "vm-1", "true"));
            let _ = wait::try_until(wait::seconds(1), || asking.is_finished().then_some(()));
            kill(pid, "KILL");
        });
        wait::until("the master to be gone", LIMIT, || lab.master_ended().then_some(()));
        drop(strace);
        lab.start_master();
        lab.wait_up("vm-1");
        Some(promise.complaints(&lab))
    });
}

#[test]
fn a_store_that_is_not_synced_is_found() {
    let name = "a_store_that_is_not_synced_is_found";
    if strace_missing(name) {
        return;
    }
    bites("sync-store", "was accepted and is lost", |part| {
        let (folder, mut disk) = folder_with_disk(name, "master")?;
        let mut lab = Lab::prepare_in(folder);
        let mut promise = Promise::of(&lab);
        disk.settle();
        lab.start_master();
        lab.minions(&["vm-1"]);
        lab.signal_master("TERM");
        lab.start_master_with(&environment(part));
        lab.wait_up("vm-1");
        lab.agent(0).signal("STOP");
        promise.command(&lab, "vm-1", "true");
        assert!(promise.unanswered().is_empty());
        lab.signal_master("KILL");
        disk.cut_power();
        lab.start_master();
        lab.agent(0).signal("CONT");
        lab.wait_up("vm-1");
        let complaints = promise.complaints(&lab);
        drop(lab);
        drop(disk);
        Some(complaints)
    });
}

/// The lights go out for both: the master knows only that it offered the job, the minion must know that it began it.
#[test]
fn an_intent_that_is_not_synced_is_found() {
    let name = "an_intent_that_is_not_synced_is_found";
    if strace_missing(name) {
        return;
    }
    bites("sync-journal", "`begun` ran 2 times", |part| {
        let (folder, mut disk) = folder_with_disk(name, "minions/vm-1/state")?;
        let mut lab = Lab::prepare_in(folder);
        let mut promise = Promise::of(&lab);
        disk.settle();
        lab.start_master();
        let seed = lab.seed("*", &[]);
        let index = lab.launch_in("vm-1", &seed, machine());
        lab.wait_up("vm-1");
        lab.agent(index).signal("KILL");
        lab.agent(index).around.environment =
            environment(part).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        lab.restart(index);
        lab.wait_up("vm-1");
        let job = promise.command(&lab, "vm-1", "sleep 1");
        promise.wait_begun(job);
        lab.signal_master("KILL");
        lab.agent(index).signal("KILL");
        disk.cut_power();
        lab.start_master();
        lab.agent(index).around.environment.clear();
        lab.restart(index);
        wait::until("the job to end", LIMIT, || has_ended(&lab, job).then_some(()));
        let complaints = promise.complaints(&lab);
        drop(lab);
        drop(disk);
        Some(complaints)
    });
}

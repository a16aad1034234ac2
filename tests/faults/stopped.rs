//! Master and minion stopped and continued.

use model::Terminal;
use std::time::{Duration, Instant};
use tests::{
    lab::{LIMIT, Lab},
    promise::Promise,
    wait,
};

fn pass(time: Duration) {
    let start = Instant::now();
    wait::until("time to pass", time * 2, || (start.elapsed() >= time).then_some(()));
}

fn lab_of(ids: &[&str]) -> (Lab, Promise) {
    let mut lab = Lab::prepare();
    let promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(ids);
    (lab, promise)
}

#[test]
fn what_reaches_a_stopped_minion_after_its_expiry_is_not_run() {
    let (mut lab, mut promise) = lab_of(&["vm-1"]);
    let before = promise.command(&lab, "vm-1", "true");
    assert_eq!(promise.word(&lab, before), Terminal::Changed);
    lab.agent(0).signal("STOP");
    let expires = Duration::from_secs(2);
    let late = promise.command_for(&lab, "vm-1", "true", expires);
    let good = promise.command(&lab, "vm-1", "true");
    pass(expires + Duration::from_secs(1));
    lab.agent(0).signal("CONT");
    assert_eq!(promise.word(&lab, good), Terminal::Changed);
    assert_eq!(promise.word(&lab, late), Terminal::Expired);
    assert!(!promise.has_begun(late), "nothing runs after its expiry");
    promise.hold(&lab);
}

#[test]
fn a_run_goes_on_while_agent_and_master_are_stopped_in_turn() {
    let (mut lab, mut promise) = lab_of(&["vm-1", "vm-2"]);
    let go = lab.folder().join("go");
    let wait_for_go = format!("while [ ! -e {} ]; do sleep 0.02; done", go.display());
    let slow = promise.command(&lab, "*", &wait_for_go);
    promise.wait_begun(slow);
    lab.agent(0).signal("STOP");
    let meanwhile = promise.apply(&lab, "*");
    lab.signal_master("STOP");
    std::fs::write(&go, "").unwrap();
    pass(Duration::from_secs(2));
    lab.agent(0).signal("CONT");
    pass(Duration::from_millis(500));
    lab.signal_master("CONT");
    lab.agent(1).signal("STOP");
    pass(Duration::from_millis(500));
    lab.agent(1).signal("CONT");
    for job in [slow, meanwhile] {
        wait::until("the job to end", LIMIT, || crate::points::has_ended(&lab, job).then_some(()));
        assert_eq!(promise.word(&lab, job), Terminal::Changed);
    }
    promise.hold(&lab);
}

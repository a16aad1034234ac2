//! A fault at the n-th call, for one n after the other, until a job comes through without meeting it.

use model::{JobId, Reply, Request};
use tests::{
    api,
    disk::Disk,
    has, is_root,
    lab::{LIMIT, Lab},
    promise::Promise,
    skip,
    strace::Fault,
    wait,
};

/// More points than anything has.
const POINTS_MAX: u32 = 400;

/// Whether strace can be had; the test is skipped if not.
pub(crate) fn strace_missing(test: &str) -> bool {
    if !is_root() {
        skip(test, "needs root for strace");
        return true;
    }
    if !has("strace") {
        skip(test, "needs strace");
        return true;
    }
    false
}

/// What is asked for at each point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Command,
    Apply,
}

impl What {
    pub(crate) fn ask(self, promise: &mut Promise, lab: &Lab) -> JobId {
        match self {
            Self::Command => promise.command(lab, "vm-1", "true"),
            Self::Apply => promise.apply(lab, "vm-1"),
        }
    }
}

/// Which of two daemons meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Master,
    Minion,
}

impl Whom {
    fn pid(self, lab: &mut Lab) -> u32 {
        match self {
            Self::Master => lab.master_pid(),
            Self::Minion if lab.agent(0).around.before.is_empty() => lab.agent(0).pid(),
            Self::Minion => lab.agent(0).inner_pid(),
        }
    }
    fn has_ended(self, lab: &mut Lab) -> bool {
        match self {
            Self::Master => lab.master_ended(),
            Self::Minion => lab.agent(0).ended(),
        }
    }
    fn start(self, lab: &mut Lab) {
        match self {
            Self::Master => lab.start_master(),
            Self::Minion => lab.restart(0),
        }
    }
}

/// Meets a fault at one point after the other.
pub(crate) struct Points<'a> {
    pub(crate) whom: Whom,
    pub(crate) what: What,
    /// Distance of the points.
    pub(crate) every: u32,
    pub(crate) fault: &'a dyn Fn(&Lab, u32) -> Fault,
    /// Loses power when the daemon ends.
    pub(crate) disk: Option<&'a mut Disk>,
}

impl Points<'_> {
    /// Returns how many points ended the daemon; the last job met no fault at all.
    pub(crate) fn run(&mut self, lab: &mut Lab, promise: &mut Promise) -> u32 {
        for point in 0..POINTS_MAX {
            if !self.meet(lab, promise, 1 + point * self.every) {
                assert!(point > 0, "the fault was never met");
                return point;
            }
        }
        panic!("no end of points");
    }
    /// Whether the daemon met the fault before the job had ended.
    fn meet(&mut self, lab: &mut Lab, promise: &mut Promise, n: u32) -> bool {
        let strace = (self.fault)(lab, n).attach(self.whom.pid(lab));
        let job = self.what.ask(promise, lab);
        let place = format!("point {n}: job {job} to end, or the fault to be met\n{}", lab.logs());
        let met = wait::until(&place, LIMIT, || {
            (self.whom.has_ended(lab) || has_ended(lab, job)).then(|| self.whom.has_ended(lab))
        });
        drop(strace);
        // It may have met it after all, while strace let go of it.
        let met = met || self.whom.has_ended(lab);
        if met {
            if let Some(disk) = &mut self.disk {
                disk.cut_power();
            }
            self.whom.start(lab);
        }
        promise.insist(lab);
        promise.word(lab, job);
        met
    }
}

/// Whether a master that is there says that a job has ended.
pub(crate) fn has_ended(lab: &Lab, job: JobId) -> bool {
    let reply = api::ask(&lab.socket(), &Request::Job { job: job.to_string() });
    matches!(reply, Ok(Reply::Job(view)) if view.job.ended.is_some())
}

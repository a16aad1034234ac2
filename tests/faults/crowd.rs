//! A master that is restarted under a thousand minions.

use model::{Reply, Request};
use std::time::{Duration, Instant};
use tests::{
    api,
    lab::Lab,
    promise::{Promise, view},
    swarm::{self, Milestone, SwarmSettings},
    wait,
};

const MINIONS: usize = 1000;
/// On their way in at once: below the master's budget for one address.
const AT_ONCE: usize = 16;
/// Until all are there, enrolled or back, with programs that were built for debugging.
const ALL_MAX: Duration = Duration::from_mins(3);

/// A swarm in a thread of its own; ends when dropped.
struct Crowd {
    all_welcomed: std::sync::mpsc::Receiver<()>,
    over: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn start(settings: SwarmSettings) -> Self {
        let (tell, all_welcomed) = std::sync::mpsc::channel();
        let (over, ended) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = async move {
            let mut milestones = swarm::start(settings).unwrap();
            let mut welcomed = 0;
            while welcomed < MINIONS {
                let Some(milestone) = milestones.recv().await else { return };
                welcomed += usize::from(milestone == Milestone::Welcomed);
            }
            let _ = tell.send(());
            let _ = ended.await;
        };
        let thread = std::thread::spawn(move || runtime.block_on(live));
        Self { all_welcomed, over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.over.take());
        // A failed test does not wait for a crowd that never came.
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

fn up(lab: &Lab) -> u32 {
    match api::ask(&lab.socket(), &Request::Status) {
        Ok(Reply::Status(status)) => status.up,
        _ => 0,
    }
}

fn wait_all(lab: &Lab, what: &str) {
    let begin = Instant::now();
    wait::until(what, ALL_MAX, || (up(lab) as usize >= MINIONS).then_some(()));
    eprintln!("{MINIONS} minions, {what}: {:?}", begin.elapsed());
}

#[test]
fn after_a_restart_of_the_master_a_thousand_minions_are_back_and_no_job_is_lost() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.tree("states/motd.sls", "motd:\n  file.managed:\n    name: /etc/motd\n    contents: welcome\n");
    lab.start_master();
    let seed = lab.seed("vm-*", &["--uses", "1000"]);
    let settings = SwarmSettings {
        seed: swarm::read_seed(&seed).unwrap(),
        prefix: "vm".to_owned(),
        minions: MINIONS,
        at_once: AT_ONCE,
        folder: lab.folder().to_owned(),
    };
    let begin = Instant::now();
    let crowd = Crowd::start(settings);
    crowd.all_welcomed.recv_timeout(ALL_MAX).expect("all are welcomed");
    eprintln!("{MINIONS} minions enrolled and welcomed: {:?}", begin.elapsed());
    wait_all(&lab, "up");

    let before = promise.imagine(&lab, "vm-*", "motd");
    lab.signal_master("KILL");
    lab.start_master();
    let meanwhile = promise.imagine(&lab, "vm-*", "motd");
    wait_all(&lab, "back");
    let after = promise.imagine(&lab, "vm-*", "motd");
    for job in [before, meanwhile, after] {
        let words = wait::until("the job to end everywhere", ALL_MAX, || {
            let view = view(&lab, job)?;
            view.job.ended.map(|_| view.words)
        });
        let good = words.iter().filter(|(word, _)| ["ok", "changed"].contains(&word.as_str()));
        assert_eq!(good.map(|(_, count)| *count as usize).sum::<usize>(), MINIONS, "{words:?}");
    }
    promise.hold(&lab);
    drop(crowd);
}

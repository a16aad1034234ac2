//! A fleet of 5,000: all its results at once, and all of it back after the master was killed at work.

use crate::figure::{Bench, Figure, lab};
use crate::pace::peak_kib;
use crate::swarm::Fleet;
use model::{JobId, JobKind, Mode, Reply, Request, TargetState, Terminal, Timestamp, api::JobView};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::{api::ask, lab::Lab, wait};

/// Processes of light minions.
const SWARMS: usize = 2;
/// Held results come within this.
const RESULTS_MS: u64 = 2_000;
/// The master is away so long at least.
const AWAY: Duration = Duration::from_secs(3);
/// Jobs that were held while the master was away end within this: before, during and after.
const AROUND_MS: u64 = 8_000;
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(3);
/// A recipe as small as they get that changes something once.
const STATE: &str = "one:\n  file.managed:\n    name: /etc/one\n    contents: here\n    makedirs: true\n";
const TWO: &str = "two:\n  file.managed:\n    name: /etc/two\n    contents: here\n    makedirs: true\n";

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let minions = bench.of(5000, 500);
    let mut lab = lab();
    lab.tree("states/one.sls", STATE);
    lab.tree("states/two.sls", TWO);
    lab.start_master();
    let mut fleet = Fleet::start(&lab, SWARMS, minions);
    results(bench, &lab, &mut fleet);
    let before = peak_kib(lab.master_pid());
    back(bench, &mut lab, &mut fleet);
    let peak = before.max(peak_kib(lab.master_pid())) / 1024.0;
    bench.print(with(&fleet, Figure::new("master_peak_mib", peak, "MiB")).with("with", "fan-out child"));
}

fn with(fleet: &Fleet, figure: Figure) -> Figure {
    figure.with("minions", fleet.minions).with("swarm", true).with("addresses", fleet.addresses)
}

/// All minions are at the same job and end it within two seconds.
fn results(bench: &Bench, lab: &Lab, fleet: &mut Fleet) {
    let job = hold(lab, fleet, "one");
    fleet.tell(&format!("release {RESULTS_MS}"));
    let answers = fleet.answers(LIMIT);
    let first = answers.iter().filter_map(|it| it.first()).min().copied().unwrap_or(0);
    let last = answers.iter().filter_map(|it| it.get(1)).max().copied().unwrap_or(0);
    let missing = lost(lab, job);
    bench.print(
        with(fleet, Figure::new("results_5000_s", seconds(last - first), "s"))
            .with("within_s", seconds(RESULTS_MS * 1000))
            .with("lost", missing),
    );
}

/// The master is killed while all minions are at a job, of which some end while it is away.
fn back(bench: &Bench, lab: &mut Lab, fleet: &mut Fleet) {
    let job = hold(lab, fleet, "two");
    fleet.tell("watch");
    fleet.tell(&format!("release {AROUND_MS}"));
    let killed = Instant::now();
    lab.signal_master("KILL");
    std::thread::park_timeout(AWAY.saturating_sub(killed.elapsed()));
    let (started, started_us) = (killed.elapsed(), now_us());
    lab.start_master();
    let ready = killed.elapsed();
    // Taken results and the last return come in either order.
    let lines: Vec<Vec<u64>> = (0..2).flat_map(|_| fleet.answers(LIMIT)).collect();
    let last = lines.iter().filter(|it| it.len() == 1).filter_map(|it| it.first()).max().copied();
    let last = last.expect("each swarm says when all were back");
    let end = wait::try_until(LIMIT, || (lost(lab, job) == 0).then_some(()));
    let missing = if end.is_some() { 0 } else { lost(lab, job) };
    let away = ready.as_secs_f64();
    bench.print(
        with(fleet, Figure::new("swarm_back_s", seconds(last.saturating_sub(started_us)), "s"))
            .with("lost_jobs", missing)
            .with("away_s", (away * 10.0).round() / 10.0)
            .with("ready_after_s", (ready.saturating_sub(started).as_secs_f64() * 10.0).round() / 10.0)
            .with("ended_by", "kill"),
    );
}

/// Submits a job to all, and waits until each minion is at it.
fn hold(lab: &Lab, fleet: &mut Fleet, state: &str) -> JobId {
    fleet.tell("hold");
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system has randomness");
    let id = JobId::v7(Timestamp(now_us() / 1000), random);
    let kind = JobKind::Apply {
        states: vec![state.to_owned()],
        mode: Mode::Apply,
        pillar: serde_json::Map::new(),
        env: None,
        confirm_ms: None,
    };
    let request = Request::Submit {
        job: id,
        target: "*".to_owned(),
        kind,
        expires_ms: 300_000,
        wait: false,
        retry_of: None,
        rolling: None,
    };
    let start = Instant::now();
    let reply = ask(&lab.socket(), &request).expect("the master answers");
    assert!(matches!(reply, Reply::Submitted(_)), "{reply:?}");
    fleet.answers(LIMIT);
    eprintln!("    all are at a job after {:.1} s", start.elapsed().as_secs_f64());
    id
}

/// Targets of a job that have not ended well.
fn lost(lab: &Lab, job: JobId) -> usize {
    let good = |view: &JobView| {
        let ended = |it: &TargetState| {
            matches!(it, TargetState::Ended { word: Terminal::Ok | Terminal::Changed, .. })
        };
        view.targets.iter().filter(|it| !ended(&it.state)).count()
    };
    match ask(&lab.socket(), &Request::Job { job: job.to_string() }) {
        Ok(Reply::Job(view)) => good(&view),
        other => panic!("the master does not know the job: {other:?}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bench takes less than 2^52 microseconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

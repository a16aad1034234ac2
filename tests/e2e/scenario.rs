//! A homelab after a power cut: everything boots at once, announcements are lost, masters die; and later half is gone.

use model::{
    Event, Reply, Request,
    api::{EventFilter, JobFilter, JobView},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tests::{
    api,
    lab::Lab,
    project,
    swarm::{self, Machines, Orders, SwarmSettings, Ways, source},
    wait,
};
use tokio::sync::{oneshot, watch};

const HYPERVISORS: usize = 8;
const VMS: usize = 100;
/// Of the VMs; the others stay.
const VANISH: usize = 50;
/// How long a VM may be away. Longer than it takes to be heard after three announcements that were lost in a row.
const GRACE_MS: u64 = 15_000;
/// From the end of that time until the roster, the names and the targets are right.
const LATE_MS_MAX: u64 = 5_000;
/// On their way in at once: a master takes few unknown connections from one address at a time.
const AT_ONCE: usize = 14;
/// Each master is killed when so many of a hundred of its machines are configured.
const KILLED_AT: [usize; 2] = [15, 50];
/// Until everything is as it should be, on a loaded machine.
const RIGHT_MAX: Duration = Duration::from_mins(2);
const SEED: u64 = 20_261_120;
const STATE: &str = "configured:\n  file.managed:\n    name: /etc/configured\n    contents: this is {{ id }}\n    makedirs: true\n";

/// A master with its machines: those of one kind, one that answers names, and one that has Prometheus.
struct Site {
    lab: Lab,
    prefix: &'static str,
    count: usize,
    token: &'static [&'static str],
    machines: Arc<Machines>,
    orders: watch::Sender<Orders>,
    kills: usize,
}

impl Site {
    fn start(prefix: &'static str, count: usize, token: &'static [&'static str]) -> Self {
        let lab = with_shipped_rules();
        let (machines, orders) = (Arc::default(), watch::channel(Orders::default()).0);
        Self { lab, prefix, count, token, machines, orders, kills: 0 }
    }

    /// What boots at once.
    fn swarms(&self) -> Vec<(SwarmSettings, Ways)> {
        let names = &["-l", "role=dns", "-l", "roster=yes"][..];
        let prometheus = &["-l", "role=prometheus", "-l", "roster=yes"][..];
        let never = watch::channel(Orders::default()).1;
        let kinds = [
            (self.prefix, self.count, self.token, self.orders.subscribe()),
            ("ns", 1, names, never.clone()),
            ("mon", 1, prometheus, never),
        ];
        let swarm = |(prefix, minions, token, orders): (&str, usize, &[&str], _)| {
            let seed = self.lab.seed(&format!("{prefix}-*"), token);
            let settings = SwarmSettings {
                seed: swarm::read_seed(&seed).unwrap(),
                prefix: prefix.to_owned(),
                minions,
                at_once: AT_ONCE.min(minions),
                folder: self.lab.folder().to_owned(),
            };
            let machines = Some(Arc::clone(&self.machines));
            (settings, Ways { addresses: minions, orders, lossy: Some(SEED), machines })
        };
        kinds.into_iter().map(swarm).collect()
    }

    fn kill_if_due(&mut self) {
        let configured = self.machines.count("configured");
        if KILLED_AT.get(self.kills).is_some_and(|it| configured * 100 >= it * self.count) {
            self.lab.signal_master("KILL");
            self.kills += 1;
            eprintln!(
                "{}: master killed when {configured} of {} were configured",
                self.prefix,
                self.count + 2
            );
            self.lab.start_master();
        }
    }

    /// Names and addresses of who belongs to it, without the first so many of their kind.
    fn members(&self, gone: usize) -> BTreeMap<String, String> {
        let of_kind = (gone..self.count).map(|it| (format!("{}-{it}", self.prefix), source(it).to_string()));
        let two = ["ns-0", "mon-0"].map(|it| (it.to_owned(), source(0).to_string()));
        of_kind.chain(two).collect()
    }

    fn roster(&self) -> Vec<String> {
        match api::ask(&self.lab.socket(), &Request::Minions { target: None }) {
            Ok(Reply::Minions(minions)) => {
                let names: BTreeSet<String> = minions.iter().map(|it| it.id.to_string()).collect();
                names.into_iter().collect()
            }
            other => panic!("no roster: {other:?}"),
        }
    }

    /// The zone: address by name, if each line says the same name twice as it must.
    fn zone(&self) -> Option<BTreeMap<String, String>> {
        let zone = self.machines.file("ns-0", "/etc/dnsmasq.hosts/labctl")?;
        let lines = zone.lines().filter(|it| !it.starts_with('#') && !it.trim().is_empty());
        let name = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, full, name] = words[..] else { return None };
            (full == format!("{name}.lab")).then(|| (name.to_owned(), address.to_owned()))
        };
        lines.map(name).collect()
    }

    /// What Prometheus scrapes: address by name.
    fn targets(&self) -> Option<BTreeMap<String, String>> {
        let targets = self.machines.file("mon-0", "/etc/prometheus/labctl.json")?;
        let targets: Vec<Value> = serde_json::from_str(&targets).unwrap();
        let target = |it: &Value| {
            let address = it["targets"][0].as_str()?.strip_suffix(":9100")?;
            Some((it["labels"]["minion"].as_str()?.to_owned(), address.to_owned()))
        };
        targets.iter().filter(|it| it["targets"] != Value::Array(Vec::new())).map(target).collect()
    }

    /// Waits until the zone has these and the targets those of them that are monitored.
    fn wait_names(&self, members: &BTreeMap<String, String>) {
        let monitored = members.iter().filter(|it| it.0.starts_with(self.prefix));
        let monitored: BTreeMap<_, _> = monitored.map(|(name, at)| (name.clone(), at.clone())).collect();
        let right = wait::try_until(RIGHT_MAX, || {
            (self.zone().as_ref() == Some(members) && self.targets().as_ref() == Some(&monitored))
                .then_some(())
        });
        assert!(right.is_some(), "zone {:?}\ntargets {:?}\nwanted {members:?}", self.zone(), self.targets());
    }

    fn jobs(&self, rule: &str) -> Vec<JobView> {
        let filter = JobFilter { caller: Some(format!("rule:{rule}")), limit: 1000, ..JobFilter::default() };
        match api::ask(&self.lab.socket(), &Request::Jobs { filter }) {
            Ok(Reply::Jobs(jobs)) => jobs,
            other => panic!("no jobs: {other:?}"),
        }
    }

    /// By the store of the master and by what the machines themselves ran.
    fn each_was_configured_once(&self) {
        let jobs = wait::until("all jobs to end", RIGHT_MAX, || {
            let jobs = self.jobs("configure-new-machine");
            jobs.iter().all(|it| it.job.ended.is_some()).then_some(jobs)
        });
        let mut of = BTreeMap::<String, Vec<_>>::new();
        for view in &jobs {
            of.entry(view.job.minions[0].to_string()).or_default().push(view.job.id);
        }
        let names: Vec<String> = self.members(0).into_keys().collect();
        assert_eq!(of.keys().cloned().collect::<Vec<_>>(), names, "{}: by the store", self.prefix);
        let twice: Vec<_> = of.iter().filter(|it| it.1.len() != 1).collect();
        assert!(twice.is_empty(), "more than one job for a boot: {twice:?}");
        let changed = BTreeMap::from([("changed".to_owned(), 1)]);
        assert!(jobs.iter().all(|it| it.words == changed), "a job that did not end well: {jobs:?}");
        assert_eq!(self.machines.ran("configured"), of, "{}: by what machines ran", self.prefix);
    }

    fn events(&self, tag: &str) -> Vec<Event> {
        let filter = EventFilter { tag: Some(tag.to_owned()), limit: 10_000, ..EventFilter::default() };
        match api::ask(&self.lab.socket(), &Request::Events { filter }) {
            Ok(Reply::Events(events)) => events,
            other => panic!("no events: {other:?}"),
        }
    }

    /// How long after the grace time the roster and what is made of it were right, by the master's own times.
    fn lateness(&self) -> Vec<(&'static str, u64)> {
        let (lost, retired) = (self.events("minion/+/lost"), self.events("minion/+/retired"));
        assert_eq!(retired.len(), VANISH, "each is retired once");
        let lost_at = |it: &Event| {
            let before = lost.iter().filter(|lost| lost.data["minion"] == it.data["minion"]);
            before.map(|lost| lost.at.0).max().expect("it was lost before it was retired")
        };
        let due = retired.iter().map(lost_at).max().unwrap() + GRACE_MS;
        let right = retired.iter().map(|it| it.at.0).max().unwrap();
        let made_of_it = |rule: &str| {
            let after = self.jobs(rule).into_iter().filter(|it| it.job.at.0 >= right);
            after.filter_map(|it| it.job.ended).map(|it| it.0).min().expect("it was made after that")
        };
        let names = made_of_it("dns-zone");
        let targets = made_of_it("prometheus-targets");
        [("roster", right), ("zone", names), ("targets", targets)].map(|(what, at)| (what, at - due)).into()
    }
}

/// With the rules and states that are shipped.
fn with_shipped_rules() -> Lab {
    let mut lab = Lab::prepare();
    lab.tree("states/top.sls", "base:\n  '*':\n    - base\n");
    lab.tree("states/base.sls", STATE);
    for folder in ["states/dns", "states/prometheus"] {
        copy(&lab, &project().join(folder), folder);
    }
    for rule in ["new-machines", "dns-zone", "prometheus-targets"] {
        let path = format!("reactors/{rule}.yaml");
        let text = fs::read_to_string(project().join(&path)).unwrap();
        lab.tree(&path, &text);
    }
    lab.start_master();
    lab
}

fn copy(lab: &Lab, from: &Path, to: &str) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = format!("{to}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            copy(lab, &entry.path(), &to);
        } else {
            lab.tree(&to, &fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// All swarms in a thread of their own; they end when it is dropped.
struct Crowd {
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    fn start(swarms: Vec<(SwarmSettings, Ways)>) -> Self {
        let (over, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = async move {
            for (settings, ways) in swarms {
                swarm::start_as(settings, &ways).unwrap();
            }
            let _ = ended.await;
        };
        let thread = std::thread::spawn(move || runtime.block_on(live));
        Self { over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

#[test]
fn when_all_boot_at_once_each_is_configured_once_and_half_that_vanish_are_forgotten_in_time() {
    let monitored = &["-l", "monitored=yes"][..];
    let ephemeral = &["-l", "monitored=yes", "--ephemeral", "--retire-after", "15s"][..];
    let mut sites = [Site::start("hv", HYPERVISORS, monitored), Site::start("vm", VMS, ephemeral)];
    let begin = Instant::now();
    let crowd = Crowd::start(sites.iter().flat_map(Site::swarms).collect());
    wait::until("each master to be killed twice", RIGHT_MAX, || {
        sites.iter_mut().for_each(Site::kill_if_due);
        sites.iter().all(|it| it.kills == KILLED_AT.len()).then_some(())
    });
    for site in &sites {
        wait::until("all to be configured", RIGHT_MAX, || {
            (site.machines.count("configured") == site.count + 2).then_some(())
        });
        site.wait_names(&site.members(0));
        let (announced, lost) = site.machines.announcements();
        eprintln!(
            "{}: right after {:?}; {lost} of {announced} announcements lost",
            site.prefix,
            begin.elapsed()
        );
        assert!(lost * 5 > announced || site.count < VMS, "{lost} of {announced} announcements lost");
        site.each_was_configured_once();
    }

    let [hypervisors, vms] = &sites;
    vms.orders.send_modify(|it| it.vanish = VANISH);
    let left = vms.members(VANISH);
    let names: Vec<String> = left.keys().cloned().collect();
    wait::until("the roster to have those that are left", RIGHT_MAX, || {
        (vms.roster() == names).then_some(())
    });
    vms.wait_names(&left);
    let lateness = vms.lateness();
    eprintln!("after {:?}, and so late after the grace time, in ms: {lateness:?}", begin.elapsed());
    for (what, ms) in lateness {
        assert!(ms <= LATE_MS_MAX, "{what} was right {ms} ms after the grace time");
    }
    hypervisors.wait_names(&hypervisors.members(0));
    for site in &sites {
        site.each_was_configured_once();
    }
    drop(crowd);
}

//! Who runs the beacons: one thread beside the loop, which waits for all their descriptors and times at once and never
//! holds up anything else. What they see comes out of a bounded queue; what does not fit is counted.

use crate::config::Config;
use crate::home::write_private;
use crate::linux::ready;
use crate::lookout::{Lookout, Origin, Told};
use crate::senses::Machine;
use bus::pulse::Beat;
use model::{BeaconOrder, Masked};
use serde_json::{Map, Value};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{error, warn};

/// Events and answers that wait for the loop.
const HEARD_MAX: usize = 1024;
/// Events of all beacons together in a second; beyond, they are counted with the beacon as those above its own rate.
const RATE_IN_ALL: u64 = 1_000;
/// Between two looks at the folder.
const FOLDER_EVERY: Duration = Duration::from_secs(10);
/// Files in the folder, and bytes of each.
const FILES_MAX: usize = 64;
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Where beacons keep what they must know after a restart, in the agent's own folder.
const KEEP: &str = "beacons";
/// Longest that the agent waits at its end for them to keep it.
const STOP_MAX: Duration = Duration::from_secs(2);
const STOP_STEP: Duration = Duration::from_millis(2);
/// After the system would not let it wait.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// What was told is written down this long after it was: it is on its way to the journal meanwhile.
const KEEP_AFTER: Duration = Duration::from_secs(5);
/// Longest that is kept of it; of more nothing is.
const KEPT_BYTES_MAX: u64 = 256 << 10;

/// What the loop hears of them.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something happened.
    Event(Told),
    /// How they do, for a probe of this number.
    Shown(u64, Value),
}

/// What the thread is told.
enum Order {
    /// These are wanted, from pillar.
    Want(Vec<BeaconOrder>),
    /// A state run began, or is over: it may have altered the folder.
    Run(bool),
    /// Say how they do: all, or those of one name.
    Show(u64, Option<String>),
}

/// The thread, as the loop sees it. It ends when this is dropped.
pub(super) struct Beacons {
    /// None when it is to end.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    bell: UnixStream,
    pub(super) heard: mpsc::Receiver<Heard>,
}

impl Beacons {
    /// Starts the thread.
    pub(super) fn start(config: &Config, beat: Beat) -> std::io::Result<Self> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let (orders, taken) = std::sync::mpsc::channel();
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let machine = Machine::new(&config.machine_root).keeping(config.state_dir.join(KEEP));
        let (path, pretended) = (config.beacons_dir.clone(), config.sandbox.is_some());
        let folder = Folder { path, pretended, seen: Vec::new(), read_at: None };
        let mut lookout = Lookout::default();
        let kept = Kept::new(config.state_dir.join("beacons.json"));
        lookout.resume(Duration::ZERO, serde_json::from_str(&kept.text).unwrap_or_default());
        let thread = Thread {
            lookout,
            kept,
            beat,
            machine,
            folder,
            pillar: Vec::new(),
            orders: taken,
            bell: rung,
            tell,
            flow: Flow::default(),
            start: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("beacons".to_owned()).spawn(move || thread.run())?;
        Ok(Self { orders: Some(orders), thread: Some(thread), bell, heard })
    }

    /// From now on these are wanted, beside those of the folder.
    pub(super) fn want(&mut self, beacons: Vec<BeaconOrder>) {
        self.order(Order::Want(beacons));
    }

    /// A state run began, or is over.
    pub(super) fn run(&mut self, running: bool) {
        self.order(Order::Run(running));
    }

    /// Asks how they do.
    pub(super) fn show(&mut self, probe: u64, name: Option<String>) {
        self.order(Order::Show(probe, name));
    }

    fn order(&mut self, order: Order) {
        // The thread is gone only when it crashed: then there is nobody to tell.
        let _ = self.orders.as_ref().map(|it| it.send(order));
        // Full is as good: it is rung already.
        let _ = self.bell.write(&[0]);
    }
}

impl Drop for Beacons {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.bell.write(&[0]);
        let Some(thread) = self.thread.take() else { return };
        let end = Instant::now() + STOP_MAX;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(STOP_STEP);
        }
    }
}

struct Thread {
    lookout: Lookout,
    kept: Kept,
    beat: Beat,
    machine: Machine,
    folder: Folder,
    pillar: Vec<BeaconOrder>,
    orders: Receiver<Order>,
    bell: UnixStream,
    tell: mpsc::Sender<Heard>,
    flow: Flow,
    start: Instant,
}

/// How much all beacons have told in this second.
#[derive(Default)]
struct Flow {
    second: u64,
    told: u64,
}

impl Flow {
    /// Whether there is room for one more.
    fn take(&mut self, now: Duration) -> bool {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), told: 0 };
        }
        self.told += 1;
        self.told <= RATE_IN_ALL
    }
}

impl Thread {
    fn run(mut self) {
        self.want();
        while self.turn() {}
        // What still waits will be taken by nobody: it is better to see it again.
        if self.tell.capacity() == self.tell.max_capacity() {
            self.lookout.rest(self.now());
            self.kept.due = Some(Duration::ZERO);
            self.kept.keep(self.now(), &self.lookout);
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for what comes next, and does it. False when nobody wants it any more.
    fn turn(&mut self) -> bool {
        self.beat.turn();
        let woken = match self.wait() {
            Ok(woken) => woken,
            Err(failure) => {
                error!(err = %failure, "cannot wait for what beacons watch");
                std::thread::sleep(AFTER_FAILURE);
                Vec::new()
            }
        };
        let now = self.now();
        for told in self.lookout.look(now, &woken, &self.machine) {
            let post = told.post;
            self.kept.due.get_or_insert(now + KEEP_AFTER);
            if !self.flow.take(now) || self.tell.try_send(Heard::Event(told)).is_err() {
                self.lookout.lost(now, post);
            }
        }
        self.kept.keep(now, &self.lookout);
        if self.folder.is_due(now) && self.folder.is_altered() {
            self.want();
        }
        self.take_orders()
    }

    /// Which beacons were woken.
    fn wait(&mut self) -> std::io::Result<Vec<usize>> {
        let now = self.now();
        let due = self.lookout.next().map_or(Duration::MAX, |at| at.saturating_sub(now));
        let due = self.kept.due.map_or(due, |at| due.min(at.saturating_sub(now)));
        let limit = due.min(self.folder.next().saturating_sub(now)).min(self.beat.every());
        let sources = self.lookout.sources();
        let mut descriptors = vec![(self.bell.as_fd(), false)];
        descriptors.extend(sources.iter().map(|(_, it)| (it.fd, it.urgent)));
        let ready = ready::wait(&descriptors, limit)?;
        let mut woken: Vec<usize> = Vec::new();
        for index in ready {
            match index.checked_sub(1) {
                Some(index) => woken.push(sources[index].0),
                None => while matches!((&self.bell).read(&mut [0; 64]), Ok(1..)) {},
            }
        }
        woken.dedup();
        Ok(woken)
    }

    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Want(pillar)) => {
                    self.pillar = pillar;
                    self.want();
                }
                Ok(Order::Run(running)) => {
                    self.lookout.run(self.now(), running);
                    if !running && self.folder.is_altered() {
                        self.want();
                    }
                }
                Ok(Order::Show(probe, name)) => {
                    let shown = self.lookout.show(self.now(), name.as_deref());
                    // Who asked does not wait for long: with the queue full there is no answer.
                    let _ = self.tell.try_send(Heard::Shown(probe, shown));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Pillar and folder together; the master's word counts where both name one.
    fn want(&mut self) {
        let (files, mut complaints) = self.folder.read(self.start.elapsed());
        let mut wanted: Vec<(Origin, BeaconOrder)> =
            self.pillar.iter().map(|it| (Origin::Pillar, it.clone())).collect();
        for order in files {
            if self.pillar.iter().any(|it| it.name == order.name) {
                complaints.push(format!("{}: pillar has one of this name, which counts", order.name));
            } else {
                wanted.push((Origin::Folder, order));
            }
        }
        for complaint in &complaints {
            warn!(complaint, "a beacon is not as it should be");
        }
        self.lookout.want(self.now(), wanted, complaints);
    }
}

/// What was told and not taken back, on disk: who starts again goes on from there.
struct Kept {
    path: PathBuf,
    text: String,
    /// When it is written again.
    due: Option<Duration>,
}

impl Kept {
    fn new(path: PathBuf) -> Self {
        let mut text = String::new();
        let read =
            std::fs::File::open(&path).and_then(|it| it.take(KEPT_BYTES_MAX).read_to_string(&mut text));
        if let Err(failure) = read
            && failure.kind() != ErrorKind::NotFound
        {
            warn!(path = %path.display(), err = %failure, "what beacons told is forgotten");
        }
        Self { path, text, due: None }
    }

    fn keep(&mut self, now: Duration, lookout: &Lookout) {
        if self.due.is_none_or(|at| now < at) {
            return;
        }
        self.due = None;
        let mut text = lookout.told().to_string();
        if text.len() as u64 >= KEPT_BYTES_MAX {
            "[]".clone_into(&mut text);
        }
        if text == self.text {
            return;
        }
        // A full disk costs only that something is told again.
        if let Err(failure) = write_private(&self.path, text.as_bytes()) {
            warn!(err = %failure, "what beacons told is not kept");
        }
        self.text = text;
    }
}

/// A file, when it or what stands beside it was altered last, and its bytes.
type Seen = (PathBuf, (i64, i64), u64);

/// Beacons that states or people put on the machine: a file each, `NAME.json`.
struct Folder {
    path: PathBuf,
    pretended: bool,
    seen: Vec<Seen>,
    read_at: Option<Duration>,
}

impl Folder {
    fn next(&self) -> Duration {
        self.read_at.map_or(Duration::ZERO, |at| at + FOLDER_EVERY)
    }

    /// Whether it is time to look at it again; it counts as looked at then.
    fn is_due(&mut self, now: Duration) -> bool {
        let due = self.next() <= now;
        if due {
            self.read_at = Some(now);
        }
        due
    }

    fn is_altered(&self) -> bool {
        self.files() != self.seen
    }

    fn files(&self) -> Vec<Seen> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let file = |entry: std::fs::DirEntry| {
            let path = entry.path();
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let is_ours = path.extension().is_some_and(|it| it == "json");
            // It is other than before also when only its owner or its rights are.
            Some((path, (meta.ctime(), meta.ctime_nsec()), meta.len())).filter(|_| is_ours)
        };
        let mut files: Vec<_> = entries.filter_map(file).take(FILES_MAX + 1).collect();
        files.sort();
        files
    }

    /// What is wanted there, and what is wrong with it.
    fn read(&mut self, now: Duration) -> (Vec<BeaconOrder>, Vec<String>) {
        self.read_at = Some(now);
        self.seen = self.files();
        let mut complaints = Vec::new();
        if self.seen.len() > FILES_MAX {
            complaints.push(format!(
                "`{}` has more than {FILES_MAX} files: the rest is left out",
                self.path.display()
            ));
        }
        let mut orders = Vec::new();
        for (path, _, _) in self.seen.iter().take(FILES_MAX) {
            match self.order(path) {
                Ok(order) => orders.push(order),
                Err(wrong) => complaints.push(format!("`{}`: {wrong}", path.display())),
            }
        }
        (orders, complaints)
    }

    fn order(&self, path: &Path) -> Result<BeaconOrder, String> {
        let name = path.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
        if !resources::beacons::is_name(name) {
            return Err("its name is none for a beacon".to_owned());
        }
        let file = std::fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
        let meta = file.metadata().map_err(|error| format!("cannot be looked at: {error}"))?;
        // Some beacons run programs: it must be root's as those are.
        if !self.pretended && (meta.mode() & 0o022 != 0 || meta.uid() != 0) {
            return Err("others than root may write it: it is not read".to_owned());
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let mut settings: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| format!("is no JSON object: {error}"))?;
        let kind = match settings.shift_remove("beacon") {
            Some(Value::String(kind)) => kind,
            Some(_) => return Err("`beacon` must be the name of a kind of beacon".to_owned()),
            None => name.to_owned(),
        };
        Ok(BeaconOrder { name: name.to_owned(), kind, settings: Masked(settings) })
    }
}

#[cfg(test)]
mod tests;

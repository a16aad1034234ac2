//! The loop with its store and pool, and a recorder where the gate would be.

use super::*;
use crate::core::{Query, Settings};
use crate::sources::{Folder, Layout, Trees};
use crate::store::StoreConfig;
use crate::{backup::Maker, gate::Directory, store::Reader};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bus::Identity;
use bus::message::{EnrollRequest, FromMinion, Hello, JobResult, SealedRecipe};
use model::ContentHash;
use model::{EnrollTerms, JobKind, ObserverRole, Recipe, TokenTerms};
use std::path::Path;
use std::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::{sync::oneshot, time::timeout};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Out {
    Send(ToMinion),
    Answer(EnrollAnswer),
}

struct Recorder {
    out: mpsc::UnboundedSender<Out>,
    issuer: Arc<Identity>,
    reader: Reader,
}

impl Outside for Recorder {
    fn send(&self, _: &MinionId, message: &ToMinion) {
        if let ToMinion::Offer(offer) = message {
            let found = self.reader.answer(&Query::Job(offer.job.to_string(), String::new()));
            assert!(matches!(found, Reply::Job(_)), "an offer left before its job was on disk");
        }
        let _ = self.out.send(Out::Send(message.clone()));
    }
    fn close(&self, _: &MinionId) {}
    fn close_key(&self, _: &Fingerprint) {}
    fn enroll_answer(&self, _: &Fingerprint, answer: &EnrollAnswer) {
        let _ = self.out.send(Out::Answer(answer.clone()));
    }
    fn publish(&self, _: &str, _: &str) {}
    fn is_observed(&self) -> bool {
        true
    }
    fn fill(&self, status: &mut api::MasterStatus) {
        status.messages_in = 7;
    }
    fn seed(&self, terms: &mut TokenTerms) -> Result<serde_json::Value, String> {
        let (_, key) = bus::seed::new_image_key();
        terms.image_key = key;
        Ok(serde_json::json!({"statement": bus::seed::sign_terms(terms, &self.issuer)}))
    }
}

struct Rig {
    handle: Handle,
    gate: mpsc::Sender<FromGate>,
    out: mpsc::UnboundedReceiver<Out>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), String>>,
    key: Identity,
}

fn settings() -> Settings {
    let info = api::MasterInfo {
        name: "lab".into(),
        version: model::VERSION.into(),
        certificate: String::new(),
        tls_pin: String::new(),
        addresses: Vec::new(),
        mqtt_port: 1,
        https_port: 2,
    };
    Settings {
        name: "lab".into(),
        version: model::VERSION.into(),
        heartbeat_s: 30,
        sample_s: 10,
        offer_ms: 60_000,
        keep_ms: 1 << 40,
        probe_commands: false,
        info,
    }
}

fn start(folder: &Path) -> Rig {
    let (rig, loopback) = start_without_trees(folder);
    read_trees(folder, loopback);
    rig
}

fn read_trees(folder: &Path, loopback: mpsc::Sender<Incoming>) {
    let below = |name: &str| vec![Folder::native(folder.join(name))];
    let layout = Layout { states: below("states"), reactors: below("reactors"), ..Layout::default() };
    let again = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(trees::keep_reading(Trees::new(layout, None), again, loopback));
}

fn start_without_trees(folder: &Path) -> (Rig, mpsc::Sender<Incoming>) {
    let store = Store::open(&StoreConfig { path: folder.join("store.db"), ballast_bytes: 4096 }).unwrap();
    let entries = store.load().unwrap();
    let register = Arc::new(Register::default());
    for entry in &entries {
        register.learn(entry);
    }
    register.restore(store.retained().unwrap());
    let (loopback, inputs) = mpsc::channel(INPUTS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let contents = Arc::new(folder.join("content"));
    let handle = Handle {
        inputs: loopback.clone(),
        register: Arc::clone(&register),
        events: events.clone(),
        reader: store.reader(),
        contents: Arc::clone(&contents),
        backups: Arc::new(Maker::new(folder, "lab", &Identity::from_secrets([1; 32], [2; 32]).public())),
    };
    let (sender, out) = mpsc::unbounded_channel();
    let outside = Recorder {
        out: sender,
        issuer: Arc::new(Identity::from_secrets([1; 32], [2; 32])),
        reader: store.reader(),
    };
    let master = Master::restore(settings(), clock::now(), entries);
    let keep = Keep { age_ms: 1 << 40, bytes: 1 << 40 };
    let parts = Parts {
        master,
        store,
        outside,
        register,
        events,
        loopback: loopback.clone(),
        keep,
        contents,
        masters_path: PathBuf::from("/nonexistent/masters.json"),
        hook_files: crate::hooks::Files {
            file: PathBuf::from("/nonexistent/hooks.yaml"),
            kept: PathBuf::from("/nonexistent/hooks"),
        },
        threads: 2,
        beat: bus::pulse::Pulse::default().beat("turn-core"),
    };
    let (gate, from_gate) = mpsc::channel(16);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(Daemon::new(parts).run(inputs, from_gate, async {
        let _ = stopped.await;
    }));
    let rig = Rig { handle, gate, out, stop, running, key: Identity::from_secrets([3; 32], [4; 32]) };
    (rig, loopback)
}

fn caller() -> Caller {
    Caller::new("admin", "socket uid=0", "admin")
}

fn id(text: &str) -> MinionId {
    text.parse().unwrap()
}

impl Rig {
    async fn ask(&self, request: Request) -> Reply {
        timeout(LIMIT, self.handle.request(caller(), request)).await.unwrap()
    }
    async fn until<T>(&mut self, mut wanted: impl FnMut(Out) -> Option<T>) -> T {
        let look = async {
            loop {
                if let Some(found) = wanted(self.out.recv().await.expect("the daemon runs")) {
                    return found;
                }
            }
        };
        timeout(LIMIT, look).await.expect("it comes in time")
    }
    async fn message(&self, message: FromMinion) {
        let (minion, message) = (id("vm-1"), Box::new(message));
        self.gate.send(FromGate::Message { minion, epoch: 1, message }).await.unwrap();
    }
    /// Enrols vm-1 with a token and lets it say hello.
    async fn enroll(&mut self) {
        let terms = EnrollTerms {
            name: Some("t".into()),
            ids: "vm-*".into(),
            uses: 1,
            for_ms: 3_600_000,
            labels: model::Labels::new(),
            cidr: Vec::new(),
            replace: model::Replace::default(),
            retire_after_ms: None,
        };
        let Reply::Seed(model::Masked(seed)) = self.ask(Request::Enroll { terms }).await else { panic!() };
        let issuer = Identity::from_secrets([1; 32], [2; 32]).public();
        let terms = bus::seed::open_terms(seed["statement"].as_str().unwrap(), &issuer).unwrap();
        let request = EnrollRequest {
            minion: id("vm-1"),
            sign: self.key.public().to_text(),
            seal: self.key.seal_key().to_text(),
            version: model::VERSION.into(),
            claims: model::Labels::new(),
            token: None,
            image_sig: None,
        };
        let fingerprint = self.key.public().fingerprint();
        let (request, address) = (Box::new(request), "10.0.0.1".to_owned());
        self.gate
            .send(FromGate::Enroll { fingerprint, epoch: 1, request, terms: Ok(Box::new(terms)), address })
            .await
            .unwrap();
        let answer = self.until(|it| if let Out::Answer(it) = it { Some(it) } else { None }).await;
        assert_eq!(answer, EnrollAnswer::Accepted { minion: id("vm-1") });
        assert_eq!(self.handle.minion(&self.key.public()), Some(id("vm-1")), "known before it is answered");
        self.hello().await;
    }
    async fn hello(&mut self) {
        let connected = FromGate::Connected { minion: id("vm-1"), epoch: 1, address: "10.0.0.1".into() };
        self.gate.send(connected).await.unwrap();
        let hello = Hello {
            version: model::VERSION.into(),
            boot: "b".into(),
            first_of_boot: true,
            sandbox: false,
            grains_hash: ContentHash([0; 32]),
            grains: Some(model::Grains::new()),
            running: None,
            waiting: Vec::new(),
            unacknowledged: Vec::new(),
            next_event: 1,
            masters: 1,
            masters_hash: None,
            speaker: bus::message::Speaker::default(),
            can: Vec::new(),
            conduct: None,
        };
        self.message(FromMinion::Hello(Box::new(hello))).await;
        self.until(|it| matches!(it, Out::Send(ToMinion::Welcome { .. })).then_some(())).await;
    }
    async fn submit(&self, job: u128) -> Reply {
        let kind = JobKind::Run {
            command: vec!["echo".into(), "a b".into()],
            shell: false,
            cwd: None,
            user: None,
            environment: model::Labels::new(),
            timeout_ms: 5000,
        };
        let (job, target) = (JobId(job), "vm-*".into());
        self.ask(Request::Submit {
            job,
            target,
            kind,
            expires_ms: 60_000,
            wait: false,
            retry_of: None,
            rolling: None,
        })
        .await
    }
    async fn offer(&mut self) -> bus::message::Offer {
        self.until(|it| if let Out::Send(ToMinion::Offer(it)) = it { Some(*it) } else { None }).await
    }
    async fn status(&self, wanted: fn(&api::MasterStatus) -> bool) -> api::MasterStatus {
        let end = Instant::now() + LIMIT;
        loop {
            let Reply::Status(status) = self.ask(Request::Status).await else { panic!() };
            if wanted(&status) {
                return *status;
            }
            assert!(Instant::now() < end, "{status:?}");
            tokio::task::yield_now().await;
        }
    }
    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(LIMIT, self.running).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_command_is_on_disk_then_offered_sealed_then_watched_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = start(folder.path());
    rig.enroll().await;
    assert!(matches!(rig.submit(5).await, Reply::Submitted(_)));
    let mut lines = rig.handle.watch_job(caller(), JobId(5).to_string()).await.unwrap();
    let offer = rig.offer().await;
    assert!(offer.command && offer.job == JobId(5));
    let SealedRecipe::Here { sealed } = &offer.recipe else { panic!("it is small") };
    let sealed = URL_SAFE_NO_PAD.decode(sealed).unwrap();
    let context = bus::seal::recipe_context(&id("vm-1"), JobId(5));
    let plain = bus::seal::open(&sealed, &rig.key, &context).expect("sealed to that minion and job");
    let recipe: Recipe = serde_json::from_slice(&plain).unwrap();
    assert!(recipe.command);
    assert_eq!(recipe.steps[0].params["argv"], serde_json::json!(["echo", "a b"]));
    let hash = bus::seed::sha256(&sealed);
    assert_eq!(rig.handle.recipe(&id("vm-1"), hash).await, Some(sealed));
    assert_eq!(rig.handle.recipe(&id("vm-2"), hash).await, None, "another minion's");
    rig.message(FromMinion::Received { job: JobId(5) }).await;
    let result = JobResult {
        job: JobId(5),
        word: model::Terminal::Ok,
        reason: String::new(),
        report: None,
        at: Timestamp(1),
        begun: None,
    };
    rig.message(FromMinion::Result(Box::new(result))).await;
    rig.until(|it| matches!(it, Out::Send(ToMinion::Ack { .. })).then_some(())).await;
    assert!(matches!(lines.recv().await, Some(api::JobLine::Snapshot(_))));
    let mut last = None;
    while let Some(line) = timeout(LIMIT, lines.recv()).await.unwrap() {
        last = Some(line);
    }
    let Some(api::JobLine::Ended(view)) = last else { panic!("{last:?}") };
    assert_eq!(view.words.get("ok"), Some(&1));
    assert!(!rig.handle.is_open(JobId(5)));
    assert_eq!(rig.handle.recipe(&id("vm-1"), hash).await, None, "gone with its end");
    rig.stop().await;
}

#[tokio::test]
async fn what_needs_the_trees_waits_for_their_first_reading() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("states")).unwrap();
    std::fs::write(folder.path().join("states/it.sls"), "it:\n  cmd.run:\n    name: 'true'\n").unwrap();
    let (mut rig, loopback) = start_without_trees(folder.path());
    rig.enroll().await;
    let kind = JobKind::Apply {
        states: vec!["it".into()],
        mode: model::Mode::Apply,
        pillar: serde_json::Map::new(),
        env: None,
        confirm_ms: None,
    };
    let (job, target) = (JobId(7), "vm-1".into());
    let submit =
        Request::Submit { job, target, kind, expires_ms: 60_000, wait: false, retry_of: None, rolling: None };
    let handle = rig.handle.clone();
    let asked = handle.request(caller(), submit);
    tokio::pin!(asked);
    assert!(timeout(Duration::from_millis(200), &mut asked).await.is_err(), "it waits");
    assert!(matches!(rig.submit(8).await, Reply::Submitted(_)), "a command does not");
    read_trees(folder.path(), loopback);
    let reply = timeout(LIMIT, asked).await.unwrap();
    assert!(matches!(reply, Reply::Submitted(_)), "{reply:?}");
    rig.stop().await;
}

#[tokio::test]
async fn an_open_job_is_offered_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = start(folder.path());
    rig.enroll().await;
    assert!(matches!(rig.submit(6).await, Reply::Submitted(_)));
    let first = rig.offer().await;
    rig.stop().await;
    let mut rig = start(folder.path());
    assert_eq!(rig.handle.minion(&rig.key.public()), Some(id("vm-1")));
    rig.hello().await;
    let again = rig.offer().await;
    assert_eq!((again.job, again.recipe), (first.job, first.recipe), "the same ciphertext");
    rig.stop().await;
}

#[tokio::test]
async fn tokens_of_observers_work_at_once_and_after_a_restart_until_they_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = start(folder.path());
    let request = Request::CreateObserver { name: "ci".into(), role: ObserverRole::Operator, for_ms: None };
    let Reply::Observer(view) = rig.ask(request).await else { panic!() };
    let token = Credential::Token(model::Secret::new(format!("ci:{}", view.secret.unwrap().reveal())));
    let role = |it: Caller| (it.name, it.role);
    assert_eq!(rig.handle.operator(&token).map(role), Ok(("ci".into(), "operator".into())));
    let token_of = |text: String| Credential::Token(model::Secret::new(text));
    assert_eq!(rig.handle.operator(&token_of("ci:wrong".into())), Err(LoginFault::Unknown));
    let request = Request::CreateObserver { name: "eye".into(), role: ObserverRole::Viewer, for_ms: None };
    let Reply::Observer(view) = rig.ask(request).await else { panic!() };
    let secret = view.secret.unwrap();
    let secret = secret.reveal();
    let viewer = rig.handle.operator(&token_of(format!("eye:{secret}")));
    assert_eq!(viewer.map(role), Ok(("eye".into(), "viewer".into())));
    let register = &rig.handle.register;
    assert_eq!(register.observer("eye", secret, Timestamp(1)), Some(ObserverRole::Viewer));
    rig.stop().await;
    let rig = start(folder.path());
    assert!(rig.handle.operator(&token).is_ok());
    rig.ask(Request::RemoveObserver { name: "ci".into() }).await;
    assert_eq!(rig.handle.operator(&token), Err(LoginFault::Unknown));
    rig.stop().await;
}

#[tokio::test]
async fn what_is_retained_is_answered_whole_and_kept_over_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = start(folder.path());
    rig.enroll().await;
    let register = Arc::clone(&rig.handle.register);
    let topics = |filter: &str| register.retained(filter).into_iter().map(|it| it.0).collect::<Vec<_>>();
    let mine = topics("lab/minion/vm-1/#");
    assert!(mine.contains(&"lab/minion/vm-1/availability".to_owned()), "{mine:?}");
    assert_eq!(topics("lab/minion/+/availability"), ["lab/minion/vm-1/availability"]);
    assert_eq!(topics("lab/minion/vm/#"), [] as [String; 0], "by level");
    rig.stop().await;
    let rig = start(folder.path());
    assert_eq!(rig.handle.register.retained("lab/minion/+/availability").len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_broken_edit_leaves_the_last_good_trees_in_use_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("states")).unwrap();
    let state = folder.path().join("states/web.sls");
    std::fs::write(&state, "a:\n  cmd.run: []\n").unwrap();
    let rig = start(folder.path());
    let good = rig.status(|it| it.revision.is_some()).await;
    assert_eq!(good.messages_in, 7, "filled in by the shell");
    std::fs::write(&state, "a: [\n").unwrap();
    let broken = rig.status(|it| !it.tree_errors.is_empty()).await;
    assert_eq!(broken.revision, good.revision);
    std::fs::write(&state, "b:\n  cmd.run: []\n").unwrap();
    let mended = rig.status(|it| it.tree_errors.is_empty()).await;
    assert_ne!(mended.revision, good.revision);
    rig.stop().await;
}

#[tokio::test]
async fn a_master_that_starts_with_a_mistake_in_its_rules_says_so_and_uses_them_once_they_are_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("reactors")).unwrap();
    let rules = folder.path().join("reactors/rules.yaml");
    std::fs::write(&rules, "a:\n  on: x\n  do: [\n").unwrap();
    let rig = start(folder.path());
    let asleep = rig.status(|it| it.rules_asleep && !it.tree_errors.is_empty()).await;
    assert!(asleep.revision.is_some() && asleep.tree_errors[0].spans[0].file == "reactors/rules.yaml");
    // Right, while something else is not: the rules are what they wait for.
    std::fs::create_dir(folder.path().join("states")).unwrap();
    std::fs::write(folder.path().join("states/web.sls"), "a: [\n").unwrap();
    std::fs::write(&rules, "a:\n  on: x\n  do:\n    - event: { tag: y }\n").unwrap();
    let awake = rig.status(|it| !it.rules_asleep).await;
    assert_eq!(awake.rules, 1);
    // And a mistake later keeps them.
    std::fs::write(&rules, "a: [\n").unwrap();
    let broken =
        rig.status(|it| it.tree_errors.iter().any(|it| it.spans[0].file.starts_with("reactors/"))).await;
    assert!(broken.rules == 1 && !broken.rules_asleep);
    rig.stop().await;
}

#[tokio::test]
async fn tests_of_notifiers_hold_two_threads_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, loopback) = start_without_trees(folder.path());
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text =
        format!("notifiers:\n  slow: {{ type: webhook, url: 'http://{}/' }}\n", slow.local_addr().unwrap());
    let notifiers =
        lang::notifiers::Notifiers::parse("notify.yaml", &text, &|_| Err("no such file".to_owned()));
    let notifiers = notifiers.value.unwrap_or_else(|| panic!("{:?}", notifiers.diagnostics));
    loopback.send(Incoming::Notifiers(Ok(Arc::new(notifiers)))).await.unwrap();
    let ask = || {
        let handle = rig.handle.clone();
        tokio::spawn(
            async move { handle.request(caller(), Request::TestNotifier { name: "slow".into() }).await },
        )
    };
    let held = [ask(), ask()];
    let (slow, connections) = tokio::task::spawn_blocking(move || {
        let connections = [slow.accept().unwrap(), slow.accept().unwrap()];
        (slow, connections)
    })
    .await
    .unwrap();
    let Reply::Error(error) = timeout(LIMIT, ask()).await.unwrap().unwrap() else { panic!("a third one") };
    assert!(error.message.contains("try again"), "{}", error.message);
    drop((slow, connections));
    for held in held {
        assert!(matches!(timeout(LIMIT, held).await.unwrap().unwrap(), Reply::Error(_)));
    }
    let Reply::Error(error) = timeout(LIMIT, ask()).await.unwrap().unwrap() else { panic!() };
    assert!(!error.message.contains("try again"), "there is room again: {}", error.message);
    rig.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_ever_when_the_master_stops() {
    let folder = tempfile::tempdir().unwrap();
    let rig = start(folder.path());
    let handle = rig.handle.clone();
    rig.stop().await;
    let reply = timeout(LIMIT, handle.request(caller(), Request::Status)).await.unwrap();
    assert!(matches!(reply, Reply::Error(_)));
}

#[test]
fn a_slow_reader_of_a_job_gets_a_gap_and_still_its_end_is_told() {
    let seen = Mutex::new(Vec::new());
    let mut tickets = Tickets::default();
    let (started, mut receiver) = oneshot::channel();
    let ticket = tickets.issue(Waiter::Watch(Some(started)));
    let job = model::Job {
        id: JobId(1),
        kind: JobKind::Apply {
            states: vec![],
            mode: model::Mode::Apply,
            pillar: serde_json::Map::new(),
            env: None,
            confirm_ms: None,
        },
        target: "*".into(),
        minions: Vec::new(),
        caller: caller(),
        at: Timestamp(0),
        expires: Timestamp(0),
        wait: false,
        revision: None,
        retry_of: None,
        ended: None,
        cancelled: None,
        hops: 0,
        rolling: None,
        roll: None,
    };
    let view = api::JobView { job, targets: Vec::new(), words: std::collections::BTreeMap::new() };
    tickets.reply(ticket, Reply::Job(Box::new(view)));
    assert!(tickets.is_idle());
    let mut lines = receiver.try_recv().unwrap().unwrap();
    let line =
        |number: u32| api::JobLine::Started { minion: id("a"), step: number, of: 1, what: String::new() };
    for number in 0..10_000 {
        tickets.job_line(JobId(1), &line(number));
    }
    while let Ok(line) = lines.try_recv() {
        seen.lock().unwrap().push(line);
    }
    tickets.job_line(JobId(1), &line(0));
    assert!(matches!(lines.try_recv(), Ok(api::JobLine::Gap(missed)) if missed > 5000));
    assert!(matches!(seen.lock().unwrap()[0], api::JobLine::Snapshot(_)));
}

//! A master on a bench for the tests of the core: every step's records go to a disk from which it can wake up again.

use super::*;
use bus::message::{EnrollAnswer, EnrollRequest, FromMinion, Hello, JobResult, ToMinion};
use model::{
    Caller, ContentHash, Job, JobId, JobKind, JobTarget, Labels, Mode, Outcome, Plan, Reply, Request,
    RunReport, StepReport, TargetState, Terminal, TokenTerms,
};
use serde_json::Map;

pub(crate) const NOW: Timestamp = Timestamp(1_000_000_000);

pub(crate) fn settings() -> Settings {
    let info = api::MasterInfo {
        name: "lab".to_owned(),
        version: "0.1.0".to_owned(),
        certificate: String::new(),
        tls_pin: String::new(),
        addresses: Vec::new(),
        mqtt_port: 8883,
        https_port: 8443,
    };
    Settings {
        name: "lab".to_owned(),
        version: "0.1.0".to_owned(),
        heartbeat_s: 30,
        sample_s: 10,
        offer_ms: 60_000,
        keep_ms: 30 * 86_400_000,
        probe_commands: false,
        info,
    }
}

pub(crate) fn id(text: &str) -> MinionId {
    text.parse().unwrap()
}

/// A key of 32 equal bytes.
pub(crate) fn fingerprint(number: u8) -> Fingerprint {
    let text: String = std::iter::repeat_n(char::from(b'A' + number % 26), 42).collect();
    format!("SHA256:{text}{}", number / 26).parse().unwrap()
}

pub(crate) fn revision() -> Revision {
    Revision(ContentHash([7; 32]))
}

pub(crate) fn recipe() -> SealedRef {
    SealedRef { hash: ContentHash([1; 32]), size: 10, steps: 1, grants: Vec::new() }
}

pub(crate) fn caller() -> Caller {
    Caller::new("admin", "test", "admin")
}

pub(crate) fn apply() -> JobKind {
    JobKind::Apply { states: Vec::new(), mode: Mode::Apply, pillar: Map::new(), env: None, confirm_ms: None }
}

pub(crate) fn command() -> JobKind {
    JobKind::Run {
        command: vec!["uptime".to_owned()],
        shell: false,
        cwd: None,
        user: None,
        environment: BTreeMap::new(),
        timeout_ms: 60_000,
    }
}

pub(crate) fn terms() -> TokenTerms {
    TokenTerms {
        name: "bake".to_owned(),
        image_key: "image".to_owned(),
        ids: "vm-*".to_owned(),
        labels: Labels::from([("role".to_owned(), "web".to_owned())]),
        cidr: Vec::new(),
        not_before: Timestamp(0),
        expires: NOW.plus_ms(86_400_000),
        uses: 100,
        replace: model::Replace::Never,
        retire_after_ms: None,
    }
}

pub(crate) fn enroll_request(name: &str) -> EnrollRequest {
    EnrollRequest {
        minion: id(name),
        sign: "sign".to_owned(),
        seal: "seal".to_owned(),
        version: "0.1.0".to_owned(),
        claims: Labels::new(),
        token: None,
        image_sig: None,
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        version: "0.1.0".to_owned(),
        boot: "boot-1".to_owned(),
        first_of_boot: true,
        sandbox: false,
        grains_hash: ContentHash([2; 32]),
        grains: Some(Map::new()),
        running: None,
        waiting: Vec::new(),
        unacknowledged: Vec::new(),
        next_event: 1,
        masters: 1,
        masters_hash: None,
        speaker: bus::message::Speaker::default(),
        can: vec![bus::message::CAN_CONFIRM.to_owned(), bus::message::CAN_REBOOT.to_owned()],
        conduct: None,
    }
}

pub(crate) fn report(outcome: Outcome) -> RunReport {
    let step = StepReport {
        index: 0,
        id: "step".to_owned(),
        sls: "web".to_owned(),
        kind: "file.managed".to_owned(),
        name: "/srv".to_owned(),
        outcome,
        comment: String::new(),
        plan: Plan::default(),
        output: None,
        duration_ms: 5,
        at: None,
    };
    RunReport { mode: Mode::Apply, steps: vec![step], duration_ms: 5, cancelled: false, sandbox: false }
}

pub(crate) fn result(job: JobId, word: Terminal) -> FromMinion {
    let outcome = match word {
        Terminal::Ok => Outcome::Ok,
        Terminal::Changed => Outcome::Changed,
        _ => Outcome::Failed,
    };
    FromMinion::Result(Box::new(JobResult {
        job,
        word,
        reason: String::new(),
        report: Some(report(outcome)),
        at: Timestamp(5),
        begun: None,
    }))
}

/// A master, its disk and its clock.
pub(crate) struct Bench {
    pub(crate) master: Master,
    pub(crate) now: Timestamp,
    pub(crate) disk: Vec<Entry>,
    pub(crate) lazy: Vec<Entry>,
    epoch: u64,
    tickets: u64,
}

impl Bench {
    /// With trees, without minions.
    pub(crate) fn new() -> Self {
        let master = Master::restore(settings(), NOW, []);
        let mut bench = Self { master, now: NOW, disk: Vec::new(), lazy: Vec::new(), epoch: 0, tickets: 0 };
        bench.step(Input::Sources { revision: revision(), rules: lang::rules::Rules::default() });
        bench
    }

    /// With these minions, connected and welcomed. Key `n` is the n-th one's.
    pub(crate) fn with(names: &[&str]) -> Self {
        let mut bench = Self::new();
        for (number, name) in (0_u8..).zip(names) {
            bench.enroll(number, name, Ok(terms()));
            bench.connect(name);
            bench.say(name, FromMinion::Hello(Box::new(hello())));
        }
        bench
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.master.step(self.now, input);
        let first_other = effects.iter().position(|it| !matches!(it, Effect::Record(_)));
        let late = effects.iter().skip(first_other.unwrap_or(effects.len()));
        assert!(!late.clone().any(|it| matches!(it, Effect::Record(_))), "records come first: {effects:?}");
        for effect in &effects {
            match effect {
                Effect::Record(entry) => self.disk.push((**entry).clone()),
                Effect::Later(entry) => self.lazy.push((**entry).clone()),
                _ => {}
            }
        }
        effects
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now = self.now.plus_ms(ms);
        self.step(Input::Tick)
    }

    /// The process dies, and what was not synced with it.
    pub(crate) fn crash(&mut self) -> Vec<Effect> {
        self.lazy.clear();
        self.restart(lang::rules::Rules::default())
    }

    /// A new process with the same disk: its first step comes before the trees are read.
    pub(crate) fn restart(&mut self, rules: lang::rules::Rules) -> Vec<Effect> {
        self.lazy.clear();
        self.master = Master::restore(settings(), self.now, self.disk.clone());
        let mut effects = self.step(Input::Tick);
        effects.extend(self.step(Input::Sources { revision: revision(), rules }));
        effects
    }

    pub(crate) fn enroll(
        &mut self,
        key: u8,
        name: &str,
        terms: Result<TokenTerms, TokenFault>,
    ) -> Vec<Effect> {
        self.enroll_from(key, enroll_request(name), terms, "10.0.0.1")
    }

    pub(crate) fn enroll_from(
        &mut self,
        key: u8,
        request: EnrollRequest,
        terms: Result<TokenTerms, TokenFault>,
        address: &str,
    ) -> Vec<Effect> {
        self.step(Input::Enroll {
            fingerprint: fingerprint(key),
            request: Box::new(request),
            terms: terms.map(Box::new),
            address: address.to_owned(),
        })
    }

    pub(crate) fn connect(&mut self, name: &str) -> u64 {
        self.epoch += 1;
        let (minion, epoch) = (id(name), self.epoch);
        self.step(Input::Connected { minion, epoch, address: "10.0.0.1".to_owned() });
        epoch
    }

    pub(crate) fn disconnect(&mut self, name: &str) -> Vec<Effect> {
        let epoch = self.master.live[&id(name)].epoch.unwrap();
        self.step(Input::Disconnected { minion: id(name), epoch })
    }

    /// On its newest connection.
    pub(crate) fn say(&mut self, name: &str, message: FromMinion) -> Vec<Effect> {
        let epoch = self.master.live.get(&id(name)).and_then(|it| it.epoch).unwrap_or(0);
        self.say_on(name, epoch, message)
    }

    pub(crate) fn say_on(&mut self, name: &str, epoch: u64, message: FromMinion) -> Vec<Effect> {
        self.step(Input::Message { minion: id(name), epoch, message: Box::new(message) })
    }

    pub(crate) fn back(&mut self, name: &str, hello: Hello) -> Vec<Effect> {
        self.connect(name);
        self.say(name, FromMinion::Hello(Box::new(hello)))
    }

    pub(crate) fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.ask_as(caller(), request)
    }

    /// New rules, from the text of a file.
    pub(crate) fn rules(&mut self, text: &str) {
        let tree = lang::Tree::of_texts([("reactors/test.yaml", text)]);
        let rules = lang::rules::Rules::load(&tree).value.unwrap();
        self.step(Input::Sources { revision: revision(), rules });
    }

    pub(crate) fn ask_as(&mut self, caller: Caller, request: Request) -> Vec<Effect> {
        self.tickets += 1;
        self.step(Input::Request {
            ticket: Ticket(self.tickets),
            caller,
            request: Box::new(request),
            random: [9; 16],
        })
    }

    pub(crate) fn submit(&mut self, number: u128, target: &str, kind: JobKind) -> Vec<Effect> {
        self.ask(submit(number, target, kind, false))
    }

    pub(crate) fn compiled(&mut self, job: u128, name: &str) -> Vec<Effect> {
        self.step(Input::Compiled {
            job: JobId(job),
            minion: id(name),
            revision: revision(),
            result: Ok(recipe()),
        })
    }

    /// Submitted, compiled, offered and received by all.
    pub(crate) fn received(&mut self, job: u128, names: &[&str], kind: JobKind) {
        self.submit(job, &names.join(" or "), kind);
        for name in names {
            assert_eq!(offers(&self.compiled(job, name)), [(id(name), JobId(job))]);
            self.say(name, FromMinion::Received { job: JobId(job) });
        }
    }

    /// What the disk says, after what waits is written.
    pub(crate) fn on_disk(&self, job: u128, name: &str) -> Option<TargetState> {
        let of = |entry: &Entry| match entry {
            Entry::Target(JobTarget { job: it, minion, state, .. }) if it.0 == job && *minion == id(name) => {
                Some(state.clone())
            }
            _ => None,
        };
        self.disk.iter().rev().find_map(of)
    }

    pub(crate) fn word(&self, job: u128, name: &str) -> Option<Terminal> {
        match self.on_disk(job, name)? {
            TargetState::Ended { word, .. } => Some(word),
            _ => None,
        }
    }

    pub(crate) fn job(&self, job: u128) -> Job {
        let of = |entry: &Entry| match entry {
            Entry::Job(it) if it.id.0 == job => Some(it.clone()),
            _ => None,
        };
        self.disk.iter().rev().find_map(of).unwrap()
    }

    pub(crate) fn counted(&self, reason: &str) -> u64 {
        self.master.counters.get(reason).copied().unwrap_or(0)
    }
}

pub(crate) fn submit(number: u128, target: &str, kind: JobKind, wait: bool) -> Request {
    let job = JobId(number);
    Request::Submit {
        job,
        target: target.to_owned(),
        kind,
        expires_ms: 60_000,
        wait,
        retry_of: None,
        rolling: None,
    }
}

pub(crate) fn offers(effects: &[Effect]) -> Vec<(MinionId, JobId)> {
    let offer = |it: &Effect| match it {
        Effect::Offer { minion, job, .. } => Some((minion.clone(), *job)),
        _ => None,
    };
    effects.iter().filter_map(offer).collect()
}

pub(crate) fn compiles(effects: &[Effect]) -> Vec<MinionId> {
    let compile = |it: &Effect| match it {
        Effect::Compile { minion, .. } => Some(minion.clone()),
        _ => None,
    };
    effects.iter().filter_map(compile).collect()
}

pub(crate) fn sent(effects: &[Effect]) -> Vec<&ToMinion> {
    let send = |it: &'_ Effect| matches!(it, Effect::Send { .. });
    effects
        .iter()
        .filter(|it| send(it))
        .filter_map(|it| match it {
            Effect::Send { message, .. } => Some(&**message),
            _ => None,
        })
        .collect()
}

pub(crate) fn records(effects: &[Effect]) -> Vec<&Entry> {
    let record = |it: &'_ Effect| matches!(it, Effect::Record(_));
    effects
        .iter()
        .filter(|it| record(it))
        .filter_map(|it| match it {
            Effect::Record(entry) => Some(&**entry),
            _ => None,
        })
        .collect()
}

pub(crate) fn tags(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|it| match it {
            Effect::Event(event) => Some(event.tag.as_str()),
            _ => None,
        })
        .collect()
}

pub(crate) fn reply(effects: &[Effect]) -> Option<&Reply> {
    effects.iter().find_map(|it| match it {
        Effect::Reply { reply, .. } => Some(&**reply),
        _ => None,
    })
}

pub(crate) fn refusal(effects: &[Effect]) -> Option<(api::ErrorKind, &str)> {
    match reply(effects)? {
        Reply::Error(error) => Some((error.kind, &error.message)),
        _ => None,
    }
}

pub(crate) fn enroll_answer(effects: &[Effect]) -> Option<&EnrollAnswer> {
    effects.iter().find_map(|it| match it {
        Effect::EnrollAnswer { answer, .. } => Some(answer),
        _ => None,
    })
}

pub(crate) fn published<'a>(effects: &'a [Effect], topic: &str) -> Option<&'a str> {
    effects.iter().rev().find_map(|it| match it {
        Effect::Publish { topic: it, payload, .. } if it == topic => Some(payload.as_str()),
        _ => None,
    })
}

//! Files, templates, secrets: what events and trees bring in, what belongs to another, what must not be told.

use crate::{
    arena::{Arena, HERE, Member},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    decoy::{Decoy, offer_for},
    mqtt::{self, SOON},
    transport::{Who, line_of},
    web::{exchange, request, web_line},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{
    ToMinion,
    message::{Offer, SealedRecipe},
    seal,
};
use model::{ContentHash, JobId, JobKind, Reply, Request, api::JobFilter};
use std::{
    fmt::Write,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Stdio},
    time::Duration,
};
use tests::{program, wait};

pub(crate) const GROUP: Group = Group {
    letter: 'S',
    name: "Files, templates, secrets",
    test: "files_templates_secrets",
    attacks: ATTACKS,
    arena,
};

const WIDENS: &str = "refused: a template of a target gives ids, never an expression";
const TARGET: &str = "arguments are matched as structure, never as text";
const OUTSIDE: &str = "a complaint that names the place";

const ATTACKS: &[Attack] = &[
    row(
        "S01",
        Without("event-target"),
        "sends an event whose data is `*`, to a rule that targets it",
        WIDENS,
        TARGET,
        |it| widens(it, "*"),
    ),
    row(
        "S02",
        Without("event-target"),
        "sends an event whose data is `not vm-9`, to a rule that targets it",
        WIDENS,
        TARGET,
        |it| widens(it, "not vm-9"),
    ),
    row(
        "S03",
        Without("event-target"),
        "sends an event whose data is `~.*`, to a rule that targets it",
        WIDENS,
        TARGET,
        |it| widens(it, "~.*"),
    ),
    row(
        "S04",
        Without("event-hops"),
        "sends an event to a rule that answers to itself",
        "cut after 8 events",
        "a rule runs as itself, with limits",
        loops,
    ),
    row(
        "S05",
        Built("filled-in texts are never parsed again"),
        "sends an event whose data is a template and a shell command",
        "stays one argument, as it is",
        TARGET,
        injects,
    ),
    row(
        "S06",
        Without("file-grants"),
        "fetches a content that a recipe of another grants",
        "404, as for what is not there",
        "a minion may fetch only hashes that one of its recipes grants",
        fetches_content,
    ),
    row(
        "S07",
        Without("recipe-owner"),
        "fetches the sealed recipe of another",
        "404, as for what is not there",
        "a recipe is sealed to the minion's key",
        fetches_recipe,
    ),
    row(
        "S08",
        Built("who has no member's key has no recipes"),
        "fetches a content without a certificate",
        "401",
        "files by hash",
        fetches_as_nobody,
    ),
    row(
        "S09",
        Without("open-beneath"),
        "puts a link to the master's files into the trees",
        OUTSIDE,
        "paths opened beneath a root",
        link_in_tree,
    ),
    row(
        "S10",
        Built("the tree is a map of relative names, without folders above"),
        "takes `lab://../../keys/master.pem` for a source",
        OUTSIDE,
        "paths opened beneath a root",
        |it| compiles(it, ABOVE),
    ),
    row(
        "S11",
        Built("the tree is a map of relative names, without folders above"),
        "includes `../../../etc/passwd` in a template",
        OUTSIDE,
        "paths opened beneath a root",
        |it| compiles(it, INCLUDES),
    ),
    row(
        "S12",
        Built("limits of crates/lang, tried by crates/lang/tests/limits.rs"),
        "lets a template loop a billion times",
        OUTSIDE,
        "limits",
        |it| compiles(it, ENDLESS),
    ),
    row(
        "S13",
        Built("limits of crates/lang, tried by crates/lang/tests/limits.rs"),
        "writes YAML whose aliases make a billion nodes",
        OUTSIDE,
        "limits",
        |it| compiles(it, &laughs()),
    ),
    row(
        "S14",
        Without("sandbox-links"),
        "leads a sandbox minion out of its folder by a link",
        "the link is followed within the folder",
        "paths opened beneath a root",
        sandbox_link,
    ),
    row(
        "S15",
        Without("content-hash"),
        "answers for a hash with other bytes",
        "refused, not run",
        "a recipe over 200 KiB is fetched by hash",
        other_bytes,
    ),
    row(
        "S16",
        Without("key-mode"),
        "has read the master's key file, which others may read",
        "the master refuses to start and names the file",
        "refuse to start if they are wider",
        wide_master_key,
    ),
    row(
        "S17",
        Without("key-mode"),
        "has read a minion's key file, which others may read",
        "the minion refuses to start and names the file",
        "refuse to start if they are wider",
        wide_minion_key,
    ),
    row(
        "S18",
        Without("pillar-by-grain"),
        "says of itself what the pillar's top file gives secrets to",
        "such a pillar does not compile",
        "never another minion's secrets",
        claims_a_role,
    ),
    row(
        "S19",
        Without("mask-views"),
        "looks at the pillar of a minion",
        "secrets are shown as «secret»",
        "secrets cannot be printed",
        views,
    ),
    row(
        "S20",
        Without("mask-output"),
        "lets a command tell a secret of its recipe",
        "the report says «secret»",
        "secrets cannot be printed",
        tells,
    ),
    row(
        "S21",
        Built("a recipe is compiled with the pillar of its minion alone"),
        "asks in a template for the pillar of another",
        OUTSIDE,
        "never another minion's secrets",
        |it| compiles(it, CURIOUS),
    ),
];

const RULES: &str = "\
deploy:
  on: integration/+/deploy
  do:
    - run: { target: '{{event.host}}', command: [echo, '{{event.word}}'] }
again:
  on: integration/+/again
  do:
    - event: { tag: again, data: {} }
loop:
  on: rule/+/again
  do:
    - event: { tag: again, data: {} }
";

/// Trees that are good.
fn arena(defence: Option<&'static str>) -> Arena {
    let blob = "x".repeat(100_000);
    let big = format!("big:\n  file.managed:\n    name: /big\n    contents: {}\n", "y".repeat(200_000));
    let arena = Arena::start(
        defence,
        &[
            ("reactors/rules.yaml", RULES),
            ("states/own/files/blob", &blob),
            (
                "states/own/init.sls",
                "blob:\n  file.managed:\n    name: /blob\n    source: lab://own/files/blob\n",
            ),
            ("states/large.sls", &big),
            ("pillar/top.sls", "base:\n  'curious-*':\n    - own\n  'other':\n    - other\n"),
            ("pillar/own.sls", "own:\n  password: !secret hunter2hunter2\n"),
            ("pillar/other.sls", "other:\n  password: !secret correcthorsebattery\n"),
        ],
    );
    let rules =
        || matches!(arena.ask(&Request::Rules), Reply::Rules(rules) if rules.len() == 3).then_some(());
    wait::until("the rules to be in use", SOON * 2, rules);
    arena
}

const ABOVE: &str = "x:\n  file.managed:\n    name: /x\n    source: lab://../../keys/master.pem\n";
const INCLUDES: &str = "#!jinja|yaml\n{% include '../../../etc/passwd' %}\n";
const ENDLESS: &str = "#!jinja|yaml\n{% for i in range(1000000000) %}{% for j in range(1000000000) %}x{% endfor %}{% endfor %}\n";
const CURIOUS: &str = "x:\n  file.managed:\n    name: /x\n    contents: '{{ pillar.other.password }}'\n";
const LINKED: &str = "x:\n  file.managed:\n    name: /x\n    source: lab://leak\n";

/// Aliases of aliases: ten times as many nodes with every line.
fn laughs() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", below.trim_end_matches(", "));
    }
    text
}

pub(crate) fn jobs(arena: &Arena) -> Vec<model::Job> {
    let Reply::Jobs(jobs) = arena.ask(&Request::Jobs { filter: JobFilter::default() }) else { panic!() };
    jobs.into_iter().map(|it| it.job).collect()
}

/// An integration says something; when its second event is on record, the first was reacted to.
pub(crate) fn says(arena: &mut Arena, tag: &str, data: &serde_json::Value) -> String {
    let (mut line, name) = line_of(arena, Who::Integration);
    for (id, tag) in [(1, tag), (2, "behind")] {
        let topic = format!("lab/in/{name}/{tag}");
        line.send(&mqtt::publish(true, 0x02, id, topic.as_bytes(), data.to_string().as_bytes()));
        assert_eq!(line.acknowledged(4), Some(0));
    }
    let seen = || match arena.events(&format!("integration/{name}/behind")) {
        Reply::Events(events) => (!events.is_empty()).then_some(()),
        _ => None,
    };
    wait::until("the event to be on record", SOON, seen);
    name
}

fn widens(arena: &mut Arena, data: &str) -> Verdict {
    let member = arena.member("vm");
    let _there = arena.join(&member);
    let before = jobs(arena).len();
    says(arena, "deploy", &serde_json::json!({"host": data, "word": "x"}));
    let widened = jobs(arena).len() > before;
    // The rule is there, and does what it should with an id.
    says(arena, "deploy", &serde_json::json!({"host": member.id, "word": "x"}));
    assert!(jobs(arena).iter().any(|it| it.target == member.id), "the rule works");
    succeeded(widened, widened)
}

fn loops(arena: &mut Arena) -> Verdict {
    says(arena, "again", &serde_json::json!({}));
    let many = || match arena.events("rule/loop/again") {
        Reply::Events(events) => (events.len() > 30).then_some(()),
        _ => None,
    };
    let many = wait::try_until(arena.success_limit(), many).is_some();
    let some = matches!(arena.events("rule/loop/again"), Reply::Events(events) if !events.is_empty());
    assert!(some, "the rule works");
    succeeded(many, many)
}

fn injects(arena: &mut Arena) -> Verdict {
    let member = arena.member("vm");
    let _there = arena.join(&member);
    let word = "{{ pillar.own.password }} $(touch /tmp/x); `id`";
    says(arena, "deploy", &serde_json::json!({"host": member.id, "word": word}));
    let mine = |it: &model::Job| matches!(&it.kind, JobKind::Run { command, .. } if command[1] == word);
    let jobs = jobs(arena);
    succeeded(!jobs.iter().any(mine), jobs.first().map(|it| it.kind.clone()))
}

/// A job for somebody who does not answer: what it may fetch stays granted.
fn granted(arena: &mut Arena, states: &str) -> Member {
    let owner = arena.member("owner");
    let mut joined = arena.join(&owner);
    let wish = Request::Submit {
        job: JobId(rand()),
        target: owner.id.clone(),
        kind: JobKind::Apply {
            states: vec![states.to_owned()],
            mode: model::Mode::Apply,
            pillar: serde_json::Map::new(),
            env: None,
            confirm_ms: None,
        },
        expires_ms: 600_000,
        wait: true,
        retry_of: None,
        rolling: None,
    };
    let reply = arena.ask(&wish);
    assert!(matches!(reply, Reply::Submitted(_)), "{reply:?}");
    while !matches!(joined.hear(&arena.signer), Some(ToMinion::Offer(_))) {
        assert!(joined.line.is_open(), "an offer comes");
    }
    owner
}

pub(crate) fn rand() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    JobId::v7(crate::arena::now(), bytes[..10].try_into().unwrap()).0
}

/// Another minion fetches a hash; the owner gets it, or the attack would prove nothing.
fn fetches(arena: &mut Arena, owner: &Member, hash: &str) -> Verdict {
    let other = arena.member("other");
    let fetch = |arena: &Arena, who: &Member| {
        let line = web_line(arena, HERE, Some(&who.identity), SOON)?;
        Some(exchange(line, &request("GET", &format!("/files/{hash}"), "", ""), SOON)?.status)
    };
    assert_eq!(fetch(arena, owner), Some(200), "its own are given to it");
    let status = fetch(arena, &other);
    succeeded(status == Some(200), status)
}

fn fetches_content(arena: &mut Arena) -> Verdict {
    let owner = granted(arena, "own");
    let hash = bus::seed::sha256("x".repeat(100_000).as_bytes()).to_string();
    fetches(arena, &owner, &hash)
}

fn fetches_recipe(arena: &mut Arena) -> Verdict {
    let owner = granted(arena, "large");
    let store = rusqlite::Connection::open(arena.lab.root().join("var/lib/labctl/master/store.db")).unwrap();
    let query = "SELECT sealed FROM recipes WHERE minion = ?1 AND sealed IS NOT NULL";
    let read = || store.query_row(query, [&owner.id], |row| row.get::<_, Vec<u8>>(0)).ok();
    let sealed = wait::until("the recipe to be stored", SOON, read);
    fetches(arena, &owner, &bus::seed::sha256(&sealed).to_string())
}

fn fetches_as_nobody(arena: &mut Arena) -> Verdict {
    granted(arena, "own");
    let hash = bus::seed::sha256("x".repeat(100_000).as_bytes());
    let line = web_line(arena, HERE, None, SOON).unwrap();
    let answer = exchange(line, &request("GET", &format!("/files/{hash}"), "", ""), SOON);
    succeeded(answer.as_ref().is_some_and(|it| it.status == 200), answer.map(|it| it.status))
}

/// Code of the complaint about a state that is not there.
const UNKNOWN_STATE: &str = "E0118";

/// What the master says of a state that somebody put into the tree, once it has seen it; then it is taken out.
fn edited(arena: &mut Arena, text: &str) -> String {
    let name = arena.name("edit");
    let member = arena.member("curious");
    let _there = arena.join(&member);
    let place = arena.lab.root().join("srv/labctl/states").join(format!("{name}.sls"));
    fs::write(&place, text).unwrap();
    let wish = Request::Compile { target: member.id, states: vec![name.clone()] };
    let told = wait::until("the master to see the edit", SOON * 2, || {
        let reply = serde_json::to_string(&arena.ask(&wish)).unwrap();
        let status = serde_json::to_string(&arena.ask(&Request::Status)).unwrap();
        // Not known yet: neither a complaint nor a recipe.
        let complained = status.contains("\"severity\":\"error\"");
        let known = complained || !reply.contains(UNKNOWN_STATE);
        known.then(|| format!("{reply}{}", if complained { status } else { String::new() }))
    });
    fs::remove_file(&place).unwrap();
    let good = || {
        let status = serde_json::to_string(&arena.ask(&Request::Status)).unwrap();
        (!status.contains("\"severity\":\"error\"")).then_some(())
    };
    wait::until("the tree to be good again", SOON * 2, good);
    told
}

/// The attack is good if a state is compiled.
fn compiles(arena: &mut Arena, text: &str) -> Verdict {
    let told = edited(arena, text);
    let read = told.contains("root:") || told.contains("correcthorse");
    let refused = told.contains("\"severity\":\"error\"");
    succeeded(read || !refused, &told[..told.len().min(600)])
}

fn link_in_tree(arena: &mut Arena) -> Verdict {
    let place = arena.lab.root().join("srv/labctl/states/leak");
    symlink(arena.keys().join("org.pub"), &place).unwrap();
    let told = edited_while(arena, &place);
    succeeded(!told.contains("\"severity\":\"error\""), &told[..told.len().min(600)])
}

/// As [`edited`], with a link that goes before the tree is looked at again.
fn edited_while(arena: &mut Arena, link: &std::path::Path) -> String {
    let member = arena.member("curious");
    let _there = arena.join(&member);
    let place = arena.lab.root().join("srv/labctl/states/linked.sls");
    fs::write(&place, LINKED).unwrap();
    let wish = Request::Compile { target: member.id, states: vec!["linked".to_owned()] };
    let status = |arena: &Arena| serde_json::to_string(&arena.ask(&Request::Status)).unwrap();
    let told = wait::until("the master to see the link", SOON * 2, || {
        let reply = serde_json::to_string(&arena.ask(&wish)).unwrap();
        let status = status(arena);
        let known = status.contains("\"severity\":\"error\"") || !reply.contains(UNKNOWN_STATE);
        known.then(|| format!("{status}{reply}"))
    });
    fs::remove_file(&place).unwrap();
    fs::remove_file(link).unwrap();
    wait::until("the tree to be good again", SOON * 2, || {
        (!status(arena).contains("\"severity\":\"error\"")).then_some(())
    });
    told
}

/// An offer with a recipe of one step.
fn offer_of(job: u128, step: &serde_json::Value, secrets: &[&str], key: &bus::SealKey) -> Offer {
    let whole = serde_json::json!({"steps": [step], "files": {}, "secrets": secrets, "command": false});
    let recipe: model::Recipe = serde_json::from_value(whole).unwrap();
    let context = seal::recipe_context(&"vm-1".parse().unwrap(), JobId(job));
    let sealed = seal::seal(&serde_json::to_vec(&recipe).unwrap(), key, &context);
    let recipe = SealedRecipe::Here { sealed: BASE64_URL_SAFE_NO_PAD.encode(sealed) };
    Offer { recipe, command: false, ..offer_for("vm-1", job, "x", key) }
}

fn step(state: &str, fun: &str, name: &str) -> serde_json::Value {
    serde_json::json!({
        "id": "it", "sls": "test", "state": state, "fun": fun, "name": name,
        "params": { "name": name }, "links": [], "global": { "attempts": 1 }, "at": null,
    })
}

fn sandbox_link(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), decoy.folder.path().join("machine/out")).unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "x").unwrap();
    let offer = offer_of(1, &step("file", "absent", "/out/victim"), &[], &key);
    talk.say(&ToMinion::Offer(Box::new(offer)), &decoy.signer);
    let word = talk.result(1);
    succeeded(!victim.exists(), word)
}

fn other_bytes(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    let SealedRecipe::Here { sealed } = offer_for("vm-1", 1, "forged", &key).recipe else { panic!() };
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap();
    let size = sealed.len() as u64;
    let recipe = SealedRecipe::Fetch { hash: ContentHash([7; 32]), size };
    let offer = Offer { recipe, ..offer_for("vm-1", 1, "forged", &key) };
    talk.say(&ToMinion::Offer(Box::new(offer)), &decoy.signer);
    let (mut line, _) = decoy.shake(SOON).expect("it fetches");
    while !line.received().windows(4).any(|it| it == b"\r\n\r\n") {
        assert!(line.read().is_some());
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    line.send(&[head.as_bytes(), &sealed].concat());
    let ran = decoy.ran("forged", arena.success_limit());
    succeeded(ran, ran)
}

fn widen(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn wide_master_key(arena: &mut Arena) -> Verdict {
    let key = arena.keys().join("master.pem");
    arena.lab.signal_master("TERM");
    widen(&key, 0o644);
    let mut command = Command::new(program("labmaster"));
    command.arg("run").arg("--root").arg(arena.lab.root());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(defence) = arena.defence {
        command.env(model::broken::VARIABLE, defence);
    }
    let mut master = command.spawn().unwrap();
    let ended = wait::try_until(Duration::from_secs(3), || master.try_wait().ok().flatten());
    let _ = master.kill();
    let _ = master.wait();
    widen(&key, 0o600);
    arena.lab.start_master();
    succeeded(ended.is_none(), ended)
}

fn wide_minion_key(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    drop(decoy.enrolled());
    decoy.stop();
    let keys = pem_files(&decoy.folder.path().join("machine"));
    assert!(!keys.is_empty(), "it has keys");
    for it in &keys {
        widen(it, 0o644);
    }
    decoy.start_again();
    let talked = decoy.shake(Duration::from_secs(3)).is_some();
    succeeded(talked, talked)
}

fn pem_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                return pem_files(&path);
            }
            Some(path).filter(|it| it.extension().is_some_and(|it| it == "pem")).into_iter().collect()
        })
        .collect()
}

fn pillar_of(arena: &mut Arena, id: &str) -> String {
    let member = arena.member(id);
    let _there = arena.join(&member);
    serde_json::to_string(&arena.ask(&Request::Pillar { target: member.id })).unwrap()
}

fn claims_a_role(arena: &mut Arena) -> Verdict {
    let top = arena.lab.root().join("srv/labctl/pillar/top.sls");
    let before = fs::read_to_string(&top).unwrap();
    fs::write(&top, format!("{before}  'role=db':\n    - other\n")).unwrap();
    let member = arena.member("liar");
    let _there = arena.join(&member);
    let wish = Request::Pillar { target: member.id };
    let status = |arena: &Arena| serde_json::to_string(&arena.ask(&Request::Status)).unwrap();
    let given = wait::until("the master to see the edit", SOON * 2, || {
        let given = serde_json::to_string(&arena.ask(&wish)).unwrap().contains("\"other\"");
        let complained = status(arena).contains("claims some grain");
        (given || complained).then_some(given)
    });
    let told = status(arena);
    fs::write(&top, before).unwrap();
    wait::until("the tree to be good again", SOON * 2, || {
        (!status(arena).contains("\"severity\":\"error\"")).then_some(())
    });
    succeeded(given, &told[..told.len().min(900)])
}

fn views(arena: &mut Arena) -> Verdict {
    let seen = pillar_of(arena, "curious");
    assert!(seen.contains("password"), "{seen}");
    succeeded(seen.contains("hunter2hunter2"), seen)
}

fn tells(arena: &mut Arena) -> Verdict {
    let mut decoy = Decoy::open(arena.defence);
    let (mut talk, key) = decoy.enrolled();
    let offer = offer_of(1, &step("cmd", "run", "echo hunter2hunter2"), &["hunter2hunter2"], &key);
    talk.say(&ToMinion::Offer(Box::new(offer)), &decoy.signer);
    let told = loop {
        match talk.hear::<bus::FromMinion>() {
            Some(bus::FromMinion::Result(result)) => break serde_json::to_string(&result).unwrap(),
            Some(_) => {}
            None => break String::new(),
        }
    };
    assert!(told.contains("echo"), "{told}");
    succeeded(told.contains("hunter2hunter2"), told)
}

//! Compiling a homelab's tree as Salt's users write them: for one minion, and for a thousand that differ. The tree is made
//! here; that of a real homelab is measured as well where it is on this machine. `bench compile` is the process in which
//! a thousand are compiled, so that its memory is theirs.

use crate::figure::{Bench, Figure, median};
use crate::homelab;
use crate::pace::ms;
use crate::salt::Salt;
use lang::{Compiler, Subject, Wanted};
use model::{Answers, Grains, Labels, MinionId, Severity};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use tests::trees;

const MINIONS: usize = 1000;
const THREADS: usize = 2;

/// A tree in folders.
struct Homelab {
    name: &'static str,
    states: PathBuf,
    pillar: PathBuf,
    grains: Grains,
}

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let made = folder.path().join("made");
    homelab::write(&made);
    let grains =
        json!({ "os": "Debian", "os_family": "Debian", "role": "web", "host": "vm-0", "mem_total": 2048 });
    let Value::Object(grains) = grains else { unreachable!("it is an object") };
    let mut homelabs =
        vec![Homelab { name: "made", states: made.join("states"), pillar: made.join("pillar"), grains }];
    match trees::fixture() {
        Ok(fixture) => homelabs.push(Homelab {
            name: "fixture",
            states: fixture.join("salt"),
            pillar: fixture.join("pillar"),
            grains: read_grains(&fixture.join("expected/debian12/grains.json")),
        }),
        Err(reason) => eprintln!("{reason}"),
    }
    for homelab in homelabs {
        one(bench, &homelab, folder.path());
        many(bench, &homelab, folder.path());
    }
}

fn read_grains(path: &Path) -> Grains {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("grains are an object")
}

/// All states of a tree for one minion, once everything that can be kept is kept.
fn one(bench: &Bench, homelab: &Homelab, folder: &Path) {
    let compiler = Compiler::new(trees::of_salt(&homelab.states, &homelab.pillar));
    let states = compiler.states();
    let runs = bench.of(50, 10);
    let steps = compile(&compiler, "vm-0", &homelab.grains, &states);
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            compile(&compiler, "vm-0", &homelab.grains, &states);
            ms(start.elapsed())
        })
        .collect();
    let folder = folder.join(homelab.name);
    let salt = Salt::find(&folder, [&homelab.states, &homelab.pillar], &json!(homelab.grains));
    let mut salts = salt.map_or_else(Vec::new, |it| it.compile_ms(&states, bench.of(10, 3)));
    let figure = Figure::new("compile_one_ms", median(&mut times), "ms").with("tree", homelab.name);
    let figure = figure.with("states", states.len()).with("steps", steps).with("runs", runs);
    bench.print(figure.beside_salt(&mut salts));
}

/// All states of a tree; those that do not compile alone are an error of the bench.
fn compile(compiler: &Compiler, id: &str, grains: &Grains, states: &[String]) -> usize {
    let (id, labels): (MinionId, _) = (id.parse().expect("it is an id"), Labels::default());
    let subject = Subject { id: &id, grains, labels: &labels, answers: Answers::none() };
    let made = compiler.compile(subject, &Wanted::Named(states.to_vec()), &Map::new());
    let errors: Vec<_> = made.diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    made.value.unwrap_or_else(|| panic!("{errors:#?}")).steps.len()
}

/// For many minions that differ, by some threads, in a process of its own.
fn many(bench: &Bench, homelab: &Homelab, folder: &Path) {
    let grains = folder.join("grains.json");
    fs::write(&grains, json!(homelab.grains).to_string()).expect("the folder is ours");
    let output = Command::new(std::env::current_exe().expect("a bench knows its own path"))
        .arg("compile")
        .args([&homelab.states, &homelab.pillar, &grains])
        .output()
        .expect("the bench can be started again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("it says its figures");
    let with = |name, value: &Value, unit| {
        let figure = Figure::new(name, value.as_f64().unwrap_or_default(), unit).with("tree", homelab.name);
        bench.print(figure.with("minions", MINIONS).with("threads", THREADS));
    };
    with("compile_many_s", &said["seconds"], "s");
    with("compile_peak_mib", &said["peak_mib"], "MiB");
}

/// The process that compiles for many: `bench compile STATES PILLAR GRAINS`.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    let [states, pillar, grains] = arguments else { return ExitCode::from(2) };
    let grains = read_grains(Path::new(grains));
    let start = Instant::now();
    let compiler = Compiler::new(trees::of_salt(Path::new(states), Path::new(pillar)));
    let states = compiler.states();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MINIONS {
                        return;
                    }
                    let id = format!("vm-{number}");
                    compile(&compiler, &id, &of_minion(&grains, number), &states);
                }
            });
        }
    });
    let peak = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let peak: f64 =
        peak.and_then(|it| it.split_whitespace().next()?.parse().ok()).expect("the kernel says it");
    println!("{}", json!({ "seconds": start.elapsed().as_secs_f64(), "peak_mib": peak / 1024.0 }));
    ExitCode::SUCCESS
}

/// Grains of which several are another minion's.
fn of_minion(grains: &Grains, number: usize) -> Grains {
    let mut grains = grains.clone();
    let name = format!("vm-{number}");
    for key in ["host", "localhost", "fqdn", "nodename"] {
        grains.insert(key.to_owned(), json!(name));
    }
    grains.insert("role".to_owned(), json!(homelab::ROLES[number % homelab::ROLES.len()]));
    grains.insert("mem_total".to_owned(), json!(512 + number));
    grains.insert("ip4".to_owned(), json!(format!("10.77.{}.{}", number / 250, number % 250 + 1)));
    grains
}

//! SIGTERM: the master writes what was promised and says goodbye, the minion leaves its worker at work; both end in
//! time, and at once when they are promised twice.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tests::{
    has, is_root,
    lab::{LIMIT, Lab, kill},
    program, skip, wait,
};

/// Longest that a master with nothing in its way may take to end.
const SOON: Duration = Duration::from_secs(5);

fn word(lab: &Lab, job: &str) -> Option<String> {
    let said = lab.labctl(&["job", "show", job, "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).ok()?;
    let targets = tests::lab::find(&json, "targets")?;
    Some(tests::lab::find(targets, "word")?.as_str()?.to_owned())
}

fn submit(lab: &Lab, id: &str, command: &str) -> String {
    let said =
        lab.labctl(&["target", id, "run", "--async", "-o", "json", "--shell", "--", command]).expect(0);
    tests::lab::find(&said.json(), "id").unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_master_that_is_told_to_stop_ends_soon_and_loses_nothing() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    let ledger = lab.folder().join("ledger");
    let lasting = submit(
        &lab,
        "vm-1",
        &format!("echo long >> {0}; while [ ! -e {0}.go ]; do sleep 0.05; done", ledger.display()),
    );
    wait::until("the command to begin", LIMIT, || ledger.exists().then_some(()));
    // Accepted a moment before the end: on disk, or never promised to anybody.
    let promised: Vec<String> =
        (0..5).map(|_| submit(&lab, "vm-2", &format!("echo x >> {}", ledger.display()))).collect();
    let began = Instant::now();
    lab.signal_master("TERM");
    assert!(began.elapsed() < SOON, "{:?}\n{}", began.elapsed(), lab.logs());
    let refused = lab.labctl(&["target", "vm-1", "run", "--async", "--", "true"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(!lab.socket().exists(), "the socket went with it");
    for id in ["vm-1", "vm-2"] {
        let log = fs::read_to_string(lab.folder().join("minions").join(id).join("log")).unwrap();
        assert!(!log.contains("close_notify"), "it heard no goodbye:\n{log}");
    }
    fs::write(format!("{}.go", ledger.display()), "").unwrap();
    lab.start_master();
    for job in promised.iter().chain([&lasting]) {
        wait::until(&format!("{job} to end well\n{}", lab.logs()), LIMIT, || {
            ["ok", "changed"].contains(&word(&lab, job)?.as_str()).then_some(())
        });
    }
    let lines = fs::read_to_string(&ledger).unwrap();
    assert_eq!(lines.lines().filter(|it| *it == "long").count(), 1);
    assert_eq!(lines.lines().filter(|it| *it == "x").count(), promised.len());
}

#[test]
fn a_minion_that_is_told_to_stop_says_so_and_its_worker_goes_on() {
    let mut lab = Lab::start();
    let seed = lab.seed("vm-1", &[]);
    let minion = lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    let ledger = lab.folder().join("ledger");
    let job = submit(
        &lab,
        "vm-1",
        &format!(
            "echo began >> {0}; while [ ! -e {0}.go ]; do sleep 0.05; done; echo ended >> {0}",
            ledger.display()
        ),
    );
    wait::until("the command to begin", LIMIT, || ledger.exists().then_some(()));
    let began = Instant::now();
    lab.agent(minion).signal("TERM");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    wait::until("the minion to be down", LIMIT, || (lab.presence("vm-1")? == "down").then_some(()));
    fs::write(format!("{}.go", ledger.display()), "").unwrap();
    wait::until("the worker to end by itself", LIMIT, || {
        fs::read_to_string(&ledger).unwrap().contains("ended").then_some(())
    });
    lab.restart(minion);
    wait::until(&format!("the job to end\n{}", lab.logs()), LIMIT, || {
        (word(&lab, &job)? == "changed").then_some(())
    });
    assert_eq!(fs::read_to_string(&ledger).unwrap(), "began\nended\n", "once");
}

/// A master whose every sync takes longer than anybody waits.
fn slow_master(lab: &Lab) -> Child {
    let log = fs::File::create(lab.folder().join("slow.log")).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
    // The first ones are those of the start.
    command.args(["-e", "inject=fdatasync,fsync:delay_enter=60000000:when=40+"]);
    command.arg(program("labmaster")).arg("run").arg("--root").arg(lab.root());
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn slow_log(lab: &Lab) -> String {
    fs::read_to_string(lab.folder().join("slow.log")).unwrap_or_default()
}

/// Gone, or only waiting for whoever traced it.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.trim().is_empty())
}

#[test]
fn a_master_that_hangs_on_its_way_out_ends_at_once_when_it_is_told_twice() {
    let name = "a_master_that_hangs_on_its_way_out_ends_at_once_when_it_is_told_twice";
    if !has("strace") || !is_root() {
        return skip(name, "needs strace and root");
    }
    let lab = Lab::prepare();
    let mut strace = slow_master(&lab);
    wait::until("the master to answer", LIMIT, || (lab.labctl(&["status"]).code == 0).then_some(()));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id())).unwrap();
    let master: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
    // Writes until one of them hangs: nobody is promised of that one.
    let mut asking: Vec<Child> = Vec::new();
    wait::until("a write to hang", LIMIT, || {
        let mut ask = lab.labctl_command(&["event", "send", "x"]);
        let mut child = ask.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = wait::try_until(Duration::from_millis(500), || child.try_wait().unwrap());
        if ended.is_none() {
            asking.push(child);
        }
        ended.is_none().then_some(())
    });
    kill(master, "TERM");
    let refusal = wait::until("a refusal", LIMIT, || {
        let said = lab.labctl(&["target", "*", "run", "--async", "--", "true"]);
        said.stderr.contains("stopping").then_some(said)
    });
    assert!(refusal.stderr.contains("nothing was done"), "{refusal:?}");
    assert!(strace.try_wait().unwrap().is_none(), "it waits for its disk");
    let began = Instant::now();
    kill(master, "TERM");
    wait::until(&format!("the end\n{}", slow_log(&lab)), LIMIT, || has_ended(master).then_some(()));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // Whoever holds a thread of it holds its sockets too.
    let _ = strace.kill();
    let _ = strace.wait();
    for mut child in asking {
        assert!(!child.wait().unwrap().success(), "what did not get to the disk was promised to nobody");
    }
}

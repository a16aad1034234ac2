//! A backup that is taken under load, and what is left of the world when it is restored.

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};
use tests::{
    lab::{LIMIT, Lab, find, said},
    program, wait,
};

fn jobs(lab: &Lab) -> Vec<Value> {
    let list = lab.labctl(&["job", "list", "--limit", "1000", "-o", "json"]).expect(0).json();
    find(&list, "jobs").or(find(&list, "items")).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn id_of(job: &Value) -> String {
    find(job, "id").and_then(Value::as_str).unwrap().to_owned()
}

fn word(lab: &Lab, job: &str) -> Option<String> {
    let json: Value = serde_json::from_str(&lab.labctl(&["job", "show", job, "-o", "json"]).stdout).ok()?;
    Some(find(find(&json, "targets")?, "word")?.as_str()?.to_owned())
}

fn submit(lab: &Lab, id: &str, command: &str) -> String {
    let said =
        lab.labctl(&["target", id, "run", "--async", "-o", "json", "--shell", "--", command]).expect(0);
    find(&said.json(), "id").unwrap().as_str().unwrap().to_owned()
}

fn restore(lab: &Lab, file: &str) -> tests::lab::Said {
    let mut command = Command::new(program("labmaster"));
    said(&command.args(["restore", file, "--root"]).arg(lab.root()).output().unwrap())
}

/// The audit chain of a store, looked through by hand.
fn audit_lines(lab: &Lab) -> usize {
    use sha2::{Digest, Sha256};
    let db = rusqlite::Connection::open(lab.root().join("var/lib/labctl/master/store.db")).unwrap();
    let mut before = vec![0; 32];
    let mut rows = db.prepare("SELECT data, before, hash FROM audit ORDER BY n").unwrap();
    let lines = rows
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .unwrap();
    let mut count = 0;
    for line in lines {
        let (data, chained, hash) = line.unwrap();
        assert_eq!(chained, before, "line {count}");
        before = Sha256::new().chain_update(&before).chain_update(&data).finalize().to_vec();
        assert_eq!(hash, before, "line {count}");
        count += 1;
    }
    count
}

#[expect(clippy::too_many_lines, reason = "one story, from the backup to what is left after the restore")]
#[test]
fn a_backup_under_load_is_restored_whole_and_no_command_runs_twice() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    let ledger = lab.folder().join("ledger");
    let append = |word: &str| format!("echo {word} >> {}", ledger.display());
    let early = submit(&lab, "vm-1", &append("early"));
    wait::until("the first job to end", LIMIT, || (word(&lab, &early)? == "changed").then_some(()));
    // At work while the backup is taken; ended and acknowledged long before the restore.
    let open = submit(
        &lab,
        "vm-2",
        &format!("{}; while [ ! -e {}.go ]; do sleep 0.05; done", append("open"), ledger.display()),
    );
    wait::until("the open job to begin", LIMIT, || {
        fs::read_to_string(&ledger).ok()?.contains("open").then_some(())
    });

    let file = lab.folder().join("lab.backup").display().to_string();
    let stop = AtomicBool::new(false);
    let (busy, backup) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut busy = Vec::new();
            while !stop.load(Ordering::Relaxed) || busy.is_empty() {
                let number = busy.len();
                busy.push(submit(&lab, "vm-1", &append(&format!("busy-{number}"))));
            }
            busy
        });
        let backup = lab.labctl(&["master", "backup", &file, "--with-keys"]);
        stop.store(true, Ordering::Relaxed);
        (load.join().unwrap(), backup)
    });
    backup.expect(0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let late = submit(&lab, "vm-1", &append("late"));
    fs::write(format!("{}.go", ledger.display()), "").unwrap();
    for job in busy.iter().chain([&late, &open]) {
        wait::until(&format!("{job} to end\n{}", lab.logs()), LIMIT, || {
            (word(&lab, job)? == "changed").then_some(())
        });
    }
    let revoked = lab.labctl(&["token", "create", "late", "--role", "viewer"]);
    revoked.expect(0);
    let refused = restore(&lab, &file);
    assert!(refused.code == 1 && refused.stderr.contains("stop it first"), "{refused:?}");

    // The machine is lost: all that is left is the backup and the configuration.
    lab.signal_master("TERM");
    let lost = lab.folder().join("lost");
    fs::rename(lab.root(), &lost).unwrap();
    fs::create_dir_all(lab.root().join("etc/labctl")).unwrap();
    fs::copy(lost.join("etc/labctl/master.yaml"), lab.root().join("etc/labctl/master.yaml")).unwrap();
    let done = restore(&lab, &file).expect(0);
    assert!(done.stdout.contains("2 minions"), "{done:?}");
    let lines = audit_lines(&lab);
    assert!(lines > 2, "{lines}");
    lab.start_master();
    for id in ["vm-1", "vm-2"] {
        lab.wait_up(id);
    }

    // The backup is of one moment: it has a first part of what was asked meanwhile, and the rest is as if never asked.
    let known: Vec<String> = jobs(&lab).iter().map(id_of).collect();
    assert!(known.contains(&early) && known.contains(&open) && !known.contains(&late), "{known:?}");
    let first_unknown = busy.iter().position(|it| !known.contains(it)).unwrap_or(busy.len());
    assert!(busy[first_unknown..].iter().all(|it| !known.contains(it)), "{known:?}");
    for job in &known {
        let ended = wait::until(&format!("{job} to end\n{}", lab.logs()), LIMIT, || word(&lab, job));
        assert_eq!(ended, "changed", "{job}: the minion remembers how it ended");
    }
    let next = submit(&lab, "vm-1", &append("next"));
    wait::until("the next job to end", LIMIT, || (word(&lab, &next)? == "changed").then_some(()));
    let text = fs::read_to_string(&ledger).unwrap();
    let mut ran: Vec<&str> = text.lines().collect();
    let count = ran.len();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), count, "a command ran twice:\n{text}");
    assert_eq!(count, busy.len() + 4, "{text}");
    assert!(!lab.labctl(&["token", "list"]).stdout.contains("late"), "what was decided since is forgotten");
    let events = lab.labctl(&["event", "list", "--limit", "1000"]).expect(0);
    assert!(events.stdout.contains("master/restored"), "{}", events.stdout);
    lab.signal_master("TERM");
    assert!(audit_lines(&lab) > lines, "the chain goes on");
}

#[test]
fn a_backup_without_keys_holds_no_key() {
    let lab = Lab::start();
    let file = lab.folder().join("lab.backup").display().to_string();
    lab.labctl(&["master", "backup", &file]).expect(0);
    let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    assert!(!text.contains("PRIVATE KEY"));
    lab.labctl(&["master", "backup", &file, "--with-keys"]).expect(0);
    let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    assert!(text.contains("PRIVATE KEY"), "the first one was replaced");
    let left: Vec<_> = fs::read_dir(lab.folder()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|it| it.to_string_lossy().ends_with(".new")), "{left:?}");
}

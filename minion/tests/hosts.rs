//! The real hosts: files and commands in temporary folders, git repositories, and a whole recipe in a sandbox.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use minion::{
    linux::{BlobSource, LinuxHost},
    sandbox::SandboxHost,
};
use model::{ContentHash, FileRef, Mode, Outcome, Recipe, RunReport, Step};
use resources::{
    Host, Probe, RunOptions,
    host::{Action, Attributes, Command, Contents, Exit, FileKind, Links, Watch},
    run,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

fn host() -> LinuxHost {
    LinuxHost::new(BlobSource::default())
}

fn step(kind: &str, params: Value) -> Step {
    let (state, fun) = kind.split_once('.').unwrap();
    let Value::Object(params) = params else { panic!("parameters are a mapping") };
    let name = params["name"].as_str().unwrap().to_owned();
    Step {
        id: name.clone(),
        sls: "test".into(),
        state: state.into(),
        fun: fun.into(),
        name,
        params,
        links: Vec::new(),
        global: model::Global::default(),
        at: None,
    }
}

fn go(mode: Mode, recipe: &Recipe, host: &mut dyn Host) -> RunReport {
    let start = Instant::now();
    let options = RunOptions {
        mode,
        cancelled: &|| false,
        clock_ms: &|| u64::try_from(start.elapsed().as_millis()).unwrap(),
        pause_ms: &|_| (),
    };
    run(recipe, &options, host, &mut |_| ())
}

fn recipe(steps: Vec<Step>) -> Recipe {
    Recipe { steps, ..Recipe::default() }
}

fn outcomes(report: &RunReport) -> Vec<Outcome> {
    report.steps.iter().map(|it| it.outcome).collect()
}

#[test]
fn a_file_keeps_its_mode_and_owner_when_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let mut host = host();
    host.write(&path, Contents::Bytes(b"new"), Attributes::default(), Links::Keep).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "it was replaced, not overwritten");
    host.settle().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn links_are_followed_or_replaced_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("real"), "old").unwrap();
    symlink("real", at("link")).unwrap();
    symlink("later", at("dangling")).unwrap();
    let mut host = host();
    let how = Attributes::default();
    host.write(&at("link"), Contents::Bytes(b"1"), how, Links::Follow).unwrap();
    assert_eq!(fs::read(at("real")).unwrap(), b"1");
    host.write(&at("dangling"), Contents::Bytes(b"2"), how, Links::Follow).unwrap();
    assert_eq!(fs::read(at("later")).unwrap(), b"2");
    host.write(&at("link"), Contents::Bytes(b"3"), how, Links::Keep).unwrap();
    assert_eq!(host.stat(&at("link"), Links::Keep).unwrap().unwrap().kind, FileKind::File);
    host.make_symlink(&at("link"), Path::new("real")).unwrap();
    assert_eq!(host.read_link(&at("link")).unwrap(), Path::new("real"));
    host.set(&at("link"), Attributes { mode: Some(0o600), ..how }, Links::Keep).unwrap();
    assert_ne!(fs::metadata(at("real")).unwrap().mode() & 0o777, 0o600, "the target is not touched");
    host.remove(&at("link")).unwrap();
    assert!(at("real").exists() && !at("link").exists());
    host.remove(&at("link")).unwrap();
    host.settle().unwrap();
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder");
    fs::create_dir(&path).unwrap();
    let failed = host().write(&path, Contents::Bytes(b"x"), Attributes::default(), Links::Keep);
    assert!(failed.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[derive(Default)]
struct Ear {
    text: String,
    cancel: bool,
}

impl Watch for Ear {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        self.text.push_str(if stderr { "E:" } else { "O:" });
        self.text.push_str(&String::from_utf8_lossy(bytes));
    }
    fn cancelled(&self) -> bool {
        self.cancel
    }
}

fn shell(line: &str, timeout_ms: u64, ear: &mut Ear) -> Exit {
    host().act(&Action::Run(Command::shell(line, timeout_ms)), ear).unwrap()
}

#[test]
fn a_command_has_a_plain_environment_and_its_output_is_heard() {
    let mut ear = Ear::default();
    assert_eq!(shell("echo $LANG; exit 3", 10_000, &mut ear), Exit::Code(3));
    assert_eq!(ear.text, "O:C.UTF-8\n");
    let mut ear = Ear::default();
    let command = Command {
        stdin: Some("in".into()),
        env: vec![("A".into(), "b".into())],
        ..Command::shell("cat; echo $A; pwd >&2", 10_000)
    };
    assert_eq!(host().act(&Action::Run(command), &mut ear).unwrap(), Exit::Code(0));
    assert!(
        ear.text.contains("O:in") && ear.text.contains("b\n") && ear.text.contains("E:/\n"),
        "{}",
        ear.text
    );
    let gone = Command { argv: vec!["no-such-program".into()], timeout_ms: 1000, ..Command::default() };
    let error = host().act(&Action::Run(gone), &mut ear).unwrap_err();
    assert_eq!(error.to_string(), "`no-such-program` is not installed");
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let start = Instant::now();
    let line = format!("sleep 1000 & echo $! > {}; wait", mark.display());
    assert_eq!(shell(&line, 300, &mut Ear::default()), Exit::TimedOut(300));
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = fs::read_to_string(mark).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    let gone = || fs::read_to_string(&status).map_or(true, |it| it.contains("State:\tZ"));
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(20), "the child lives");
        std::thread::yield_now();
    }
    let mut ear = Ear { cancel: true, ..Ear::default() };
    assert_eq!(shell("sleep 1000", 60_000, &mut ear), Exit::Cancelled);
}

#[test]
fn a_grandchild_that_keeps_the_output_open_does_not_hold_the_run() {
    let start = Instant::now();
    let mut ear = Ear::default();
    assert_eq!(shell("(sleep 20; true) & echo $!", 60_000, &mut ear), Exit::Code(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let pid: i32 = ear.text.trim_start_matches("O:").trim().parse().unwrap();
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

#[test]
fn a_thousand_unchanged_files_take_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let text = |index: usize| format!("line {index}\n").repeat(50);
    let mut files = Recipe::default();
    for index in 0..1000 {
        let bytes = text(index).into_bytes();
        let hash = ContentHash(Sha256::digest(&bytes).into());
        let inline = Some(BASE64_URL_SAFE_NO_PAD.encode(&bytes));
        files.files.insert(hash, FileRef { size: bytes.len() as u64, inline });
        let name = folder.path().join(format!("f{index}")).display().to_string();
        let params = json!({"name": name, "content_hash": hash, "mode": "0644", "user": "0", "group": "0"});
        let params = if nix::unistd::geteuid().is_root() {
            params
        } else {
            json!({"name": name, "content_hash": hash})
        };
        files.steps.push(step("file.managed", params));
    }
    let blobs = BlobSource::new(&files, folder.path().to_owned()).unwrap();
    let first = go(Mode::Apply, &files, &mut LinuxHost::new(blobs.clone()));
    assert_eq!(first.tally().changed, 1000);
    let start = Instant::now();
    let second = go(Mode::Apply, &files, &mut LinuxHost::new(blobs));
    assert_eq!(second.tally().ok, 1000);
    println!("first {} ms, second {} ms", first.duration_ms, start.elapsed().as_millis());
    assert!(start.elapsed() < Duration::from_secs(10));
}

fn git(folder: &Path, args: &[&str]) -> String {
    let fixed = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
    let output =
        std::process::Command::new("git").current_dir(folder).args(fixed).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(folder: &Path, text: &str) -> String {
    fs::write(folder.join("file"), text).unwrap();
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", text]);
    git(folder, &["rev-parse", "HEAD"])
}

#[test]
fn a_working_copy_follows_its_repository_and_loses_nothing() {
    if std::process::Command::new("git").arg("--version").output().is_err() {
        println!("SKIPPED: git is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (origin, copy) = (folder.path().join("origin"), folder.path().join("copy"));
    fs::create_dir(&origin).unwrap();
    git(&origin, &["init", "-q"]);
    git(&origin, &["checkout", "-q", "-B", "main"]);
    commit(&origin, "one");
    git(&origin, &["tag", "-a", "v1", "-m", "v1"]);
    let latest = |rev: &str, force: bool| {
        let params = json!({"name": origin, "target": copy, "rev": rev, "force_reset": force});
        let report = go(Mode::Apply, &recipe(vec![step("git.latest", params)]), &mut host());
        (report.steps[0].outcome, report.steps[0].comment.clone())
    };
    let head = || git(&copy, &["rev-parse", "HEAD"]);
    for (rev, wanted) in [("main", Outcome::Changed), ("main", Outcome::Ok), ("HEAD", Outcome::Ok)] {
        let (outcome, comment) = latest(rev, false);
        assert_eq!(outcome, wanted, "{rev}: {comment}");
    }
    let two = commit(&origin, "two");
    assert_eq!(latest("main", false), (Outcome::Changed, String::new()));
    assert_eq!(head(), two);
    assert_eq!(latest("v1", false), (Outcome::Changed, String::new()));
    assert_eq!(latest("v1", false).0, Outcome::Ok);
    git(&origin, &["checkout", "-q", "-b", "dev"]);
    let three = commit(&origin, "three");
    assert_eq!(latest("dev", false), (Outcome::Changed, String::new()));
    assert_eq!(latest(&two, false), (Outcome::Changed, String::new()));
    assert_eq!(latest("dev", false).0, Outcome::Changed);
    assert_eq!(head(), three);
    commit(&copy, "local");
    commit(&origin, "four");
    let (outcome, comment) = latest("dev", false);
    assert_eq!(outcome, Outcome::Failed, "a local commit is not thrown away: {comment}");
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "local");
    assert_eq!(latest("dev", true), (Outcome::Changed, String::new()));
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "four");
    fs::write(copy.join("file"), "by hand").unwrap();
    assert_eq!(latest("dev", true).0, Outcome::Changed);
    assert_eq!(latest("nonesuch", false).0, Outcome::Failed);
}

fn sandboxed() -> Recipe {
    recipe(vec![
        step("group.present", json!({"name": "media", "gid": 1500})),
        step("user.present", json!({"name": "ada", "groups": ["media", "sudo"], "shell": "/bin/bash"})),
        step("pkg.installed", json!({"name": "nginx"})),
        step(
            "file.managed",
            json!({"name": "/etc/nginx/site.conf", "contents": "x", "makedirs": true, "user": "ada", "group": "media", "mode": "0640"}),
        ),
        step("file.symlink", json!({"name": "/etc/site", "target": "/etc/nginx/site.conf"})),
        step("service.running", json!({"name": "nginx", "enable": true})),
        step("cron.present", json!({"name": "/bin/true", "minute": 5})),
        step("sysctl.present", json!({"name": "vm.swappiness", "value": 10})),
        step("pkg.removed", json!({"name": "telnetd"})),
    ])
}

#[test]
fn a_sandbox_keeps_everything_beneath_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SandboxHost::new(folder.path(), BlobSource::default(), None).unwrap();
    let check = go(Mode::Check, &sandboxed(), &mut open());
    assert!(check.sandbox && check.tally().would_change == 8 && check.tally().failed == 0, "{check:#?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a check writes nothing");
    let first = go(Mode::Apply, &sandboxed(), &mut open());
    assert_eq!(first.tally().changed, 8, "{first:#?}");
    assert_eq!(fs::read(folder.path().join("etc/nginx/site.conf")).unwrap(), b"x\n");
    let second = go(Mode::Apply, &sandboxed(), &mut open());
    assert!(outcomes(&second).iter().all(|it| *it == Outcome::Ok), "{second:#?}");
    assert!(second.sandbox);
    let found = open().stat(Path::new("/etc/site"), Links::Follow).unwrap().unwrap();
    assert_eq!((found.gid, found.mode), (1500, 0o640));
}

#[test]
fn a_command_in_a_sandbox_knows_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    let mut host = SandboxHost::new(folder.path(), BlobSource::default(), None).unwrap();
    let steps = vec![
        step("cmd.run", json!({"name": "pwd; echo $LABCTL_SANDBOX", "runas": "postgres"})),
        step("file.absent", json!({"name": "/out/secret"})),
    ];
    let report = go(Mode::Apply, &recipe(steps), &mut host);
    let said = &report.steps[0].output.as_ref().unwrap().stdout;
    assert_eq!(*said, format!("{}\n1\n", folder.path().canonicalize().unwrap().display()));
    assert!(outside.path().join("secret").exists(), "links do not lead out: {report:#?}");
}

/// A command that goes on only when `other` has begun too, and gives up after a while.
fn meeting(folder: &Path, own: &str, other: &str) -> Step {
    let (own, other) = (folder.join(own), folder.join(other));
    let line = format!(
        "touch {}; n=0; until [ -e {} ]; do n=$((n+1)); [ $n -lt 500 ] || exit 1; sleep 0.01; done",
        own.display(),
        other.display()
    );
    let mut step = step("cmd.run", json!({"name": line}));
    step.global.parallel = true;
    step
}

#[test]
fn parallel_steps_run_at_the_same_time_and_who_needs_them_waits() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let mut after = step("cmd.run", json!({"name": format!("test -e {}", done.display())}));
    after.links = vec![model::Link { step: 1, when: model::Requisite::Require, any: false }];
    let mut slow = meeting(folder.path(), "b", "a");
    slow.params["name"] =
        json!(format!("{}; touch {}", slow.params["name"].as_str().unwrap(), done.display()));
    let plain = step("cmd.run", json!({"name": "true"}));
    let steps = vec![meeting(folder.path(), "a", "b"), slow, plain, after];
    let report = go(Mode::Apply, &recipe(steps), &mut host());
    assert_eq!(outcomes(&report), [Outcome::Changed; 4], "{report:#?}");
    assert_eq!(report.steps.iter().map(|it| it.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_parallel_step_that_fails_keeps_back_what_requires_it_and_with_failhard_the_rest() {
    let mut bad = step("cmd.run", json!({"name": "false"}));
    bad.global.parallel = true;
    let mut needs = step("test.succeed_without_changes", json!({"name": "needs"}));
    needs.links = vec![model::Link { step: 0, when: model::Requisite::Require, any: false }];
    let other = step("test.succeed_without_changes", json!({"name": "other"}));
    let report = go(Mode::Apply, &recipe(vec![bad.clone(), needs.clone(), other.clone()]), &mut host());
    assert_eq!(outcomes(&report), [Outcome::Failed, Outcome::Skipped, Outcome::Ok]);
    bad.global.failhard = true;
    let report = go(Mode::Apply, &recipe(vec![bad, needs, other]), &mut host());
    assert_eq!(outcomes(&report), [Outcome::Failed, Outcome::Skipped, Outcome::Skipped]);
    assert!(report.steps[2].comment.contains("failhard"), "{}", report.steps[2].comment);
}

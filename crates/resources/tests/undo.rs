//! What a job did to files can be undone, and that too; what was altered since stays.

use model::{Global, JobId, Link, Mode, Outcome, Recipe, Requisite, RunReport, Step};
use resources::{
    RunOptions,
    fake_host::{FakeHost, FakeUnit, Machine, Node, Reply},
    keep::State,
    run,
};
use serde_json::{Value, json};

const JOB: JobId = JobId(1);
const UNDO: JobId = JobId(2);
const REDO: JobId = JobId(3);

fn step(kind: &str, params: &Value) -> Step {
    let (state, fun) = kind.split_once('.').unwrap();
    let name = params["name"].as_str().unwrap().to_owned();
    Step {
        id: name.clone(),
        sls: "case".to_owned(),
        state: state.to_owned(),
        fun: fun.to_owned(),
        name,
        params: params.as_object().unwrap().clone(),
        links: Vec::new(),
        global: Global { attempts: 1, ..Global::default() },
        at: None,
    }
}

fn work(host: &mut FakeHost, job: JobId, steps: Vec<Step>) -> RunReport {
    host.job = Some(job);
    let options = RunOptions { mode: Mode::Apply, cancelled: &|| false, clock_ms: &|| 0, pause_ms: &|_| () };
    run(&Recipe { steps, ..Recipe::default() }, &options, host, &mut |_| ())
}

fn undo(host: &mut FakeHost, job: JobId, undone: JobId, force: bool) -> RunReport {
    work(host, job, vec![step("undo.job", &json!({"name": undone.to_string(), "force": force}))])
}

fn file(contents: &str, mode: &str) -> Node {
    Node { contents: Some(contents.to_owned()), mode: mode.to_owned(), ..Node::default() }
}

fn host() -> FakeHost {
    let mut machine = Machine::default();
    for (path, node) in [
        ("/etc/a", file("old a\n", "0640")),
        ("/etc/secret", file("hush", "0600")),
        ("/etc/tree", Node { directory: true, ..Node::default() }),
        ("/etc/tree/x", file("x", "")),
        ("/etc/tree/y", Node { directory: true, mode: "0700".to_owned(), ..Node::default() }),
        ("/etc/tree/y/z", file("z", "0755")),
        ("/etc/link", Node { link: Some("a".to_owned()), ..Node::default() }),
    ] {
        machine.files.insert(path.to_owned(), node);
    }
    FakeHost::new(machine)
}

fn changes() -> Vec<Step> {
    vec![
        step("file.managed", &json!({"name": "/etc/a", "contents": "new a\n", "mode": "0600"})),
        step("file.managed", &json!({"name": "/etc/link", "contents": "through the link\n"})),
        step("file.absent", &json!({"name": "/etc/secret"})),
        step("file.absent", &json!({"name": "/etc/tree"})),
        step("file.directory", &json!({"name": "/srv/new/deep", "makedirs": true, "mode": "0750"})),
        step("file.managed", &json!({"name": "/srv/new/deep/f", "contents": "f"})),
        step("file.symlink", &json!({"name": "/etc/tree", "target": "/srv/new"})),
    ]
}

#[test]
fn a_job_is_undone_and_the_undoing_too() {
    let mut host = host();
    let before = host.machine.files.clone();
    let report = work(&mut host, JOB, changes());
    assert!(report.steps.iter().all(|it| it.outcome == Outcome::Changed), "{report:#?}");
    let after = host.machine.files.clone();
    assert_ne!(before, after);

    let report = undo(&mut host, UNDO, JOB, false);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    assert_eq!(host.machine.files, before);
    assert!(!format!("{report:?}").contains("hush"), "contents are not shown");
    assert_eq!(undo(&mut host, JobId(4), JOB, false).steps[0].outcome, Outcome::Ok);

    let report = undo(&mut host, REDO, UNDO, false);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    assert_eq!(host.machine.files, after);
}

#[test]
fn what_was_altered_since_stays_unless_it_is_forced() {
    let mut host = host();
    work(&mut host, JOB, changes());
    host.machine.files.insert("/etc/a".to_owned(), file("by hand\n", "0600"));
    let now = host.machine.files.clone();
    let report = undo(&mut host, UNDO, JOB, false);
    assert_eq!(report.steps[0].outcome, Outcome::Failed);
    assert!(report.steps[0].comment.contains("/etc/a"), "{}", report.steps[0].comment);
    assert_eq!(host.machine.files, now, "nothing is half done");

    let report = undo(&mut host, UNDO, JOB, true);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    assert_eq!(host.machine.files, self::host().machine.files);
}

#[test]
fn a_folder_in_which_others_put_files_stays_with_them() {
    let mut host = host();
    work(&mut host, JOB, changes());
    host.machine.files.insert("/srv/new/deep/precious".to_owned(), file("data", "0644"));
    assert_eq!(undo(&mut host, UNDO, JOB, false).steps[0].outcome, Outcome::Failed);
    let report = undo(&mut host, UNDO, JOB, true);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    assert!(report.steps[0].comment.contains("/srv/new/deep"), "{}", report.steps[0].comment);
    assert!(host.machine.files.contains_key("/srv/new/deep/precious"));
    assert!(!host.machine.files.contains_key("/srv/new/deep/f"));
    assert_eq!(host.machine.files["/etc/a"], file("old a\n", "0640"));
}

#[test]
fn a_folder_that_took_the_place_of_a_file_stays_when_others_put_files_into_it() {
    for (path, before) in
        [("/srv/data", file("old", "")), ("/srv/lnk", Node { link: Some("x".to_owned()), ..Node::default() })]
    {
        for force in [false, true] {
            let mut host = host();
            host.machine.files.insert("/srv".to_owned(), Node { directory: true, ..Node::default() });
            host.machine.files.insert(path.to_owned(), before.clone());
            let made = step("file.directory", &json!({"name": path, "force": true, "allow_symlink": false}));
            let report = work(&mut host, JOB, vec![made]);
            assert_eq!(report.steps[0].outcome, Outcome::Changed, "{path}: {}", report.steps[0].comment);
            host.machine.files.insert(format!("{path}/precious"), file("data", ""));
            undo(&mut host, UNDO, JOB, force);
            assert!(host.machine.files.contains_key(&format!("{path}/precious")), "{path} {force}");
        }
    }
}

#[test]
fn what_a_broken_off_run_altered_is_put_back_only_when_it_is_forced() {
    let mut host = host();
    let before = host.machine.files.clone();
    work(&mut host, JOB, changes());
    host.kept.get_mut(&JOB).unwrap().retain(|it| !it.after);
    let now = host.machine.files.clone();
    assert_eq!(undo(&mut host, UNDO, JOB, false).steps[0].outcome, Outcome::Failed);
    assert_eq!(host.machine.files, now);
    assert_eq!(undo(&mut host, UNDO, JOB, true).steps[0].outcome, Outcome::Changed);
    assert_eq!(host.machine.files, before);
}

#[test]
fn a_folder_that_was_renamed_is_put_back_with_what_is_in_it() {
    let mut host = host();
    let before = host.machine.files.clone();
    let step = step("file.rename", &json!({"name": "/etc/forest", "source": "/etc/tree"}));
    assert_eq!(work(&mut host, JOB, vec![step]).steps[0].outcome, Outcome::Changed);
    let report = undo(&mut host, UNDO, JOB, false);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    assert_eq!(host.machine.files, before);
}

#[test]
fn a_job_of_which_nothing_is_kept_is_an_error_that_says_so() {
    let report = undo(&mut host(), UNDO, JOB, false);
    assert_eq!(report.steps[0].outcome, Outcome::Failed);
    assert!(report.steps[0].comment.contains("keeps nothing of that job"), "{}", report.steps[0].comment);
}

#[test]
fn a_run_that_is_tried_again_keeps_what_was_there_at_first() {
    for fail_at in 1..200 {
        let mut host = host();
        let before = host.machine.files.clone();
        host.fail_at = Some(fail_at);
        work(&mut host, JOB, changes());
        host.fail_at = None;
        // The same job again, as after a restart of the agent; what is kept of it grows.
        work(&mut host, JOB, changes());
        // A new file has an old end: what the first attempt left is not how the run ended.
        let report = undo(&mut host, UNDO, JOB, true);
        assert_ne!(report.steps[0].outcome, Outcome::Failed, "{fail_at}: {}", report.steps[0].comment);
        assert_eq!(host.machine.files, before, "call {fail_at}");
    }
}

const RULES: &str = "nft --stateless list ruleset";
const OPEN: &str = "table inet filter {\n}\n";
const CLOSED: &str = "table inet filter {\n\tchain out {\n\t\tpolicy drop;\n\t}\n}\n";

fn says(text: &str) -> Reply {
    Reply { stdout: text.to_owned(), ..Reply::default() }
}

/// A machine with units and a packet filter.
fn server() -> FakeHost {
    let mut host = host();
    let folder = || Node { directory: true, ..Node::default() };
    for path in ["/etc/systemd", "/etc/systemd/system"] {
        host.machine.files.insert(path.to_owned(), folder());
    }
    host.machine.files.insert("/etc/systemd/system/own.service".to_owned(), file("[Service]\n", "0644"));
    let unit = |active: &str, enabled: &str| FakeUnit {
        active: active.to_owned(),
        enabled: enabled.to_owned(),
        can_reload: true,
        ..FakeUnit::default()
    };
    for (name, active, enabled) in [
        ("web", "active", "enabled"),
        ("telnet", "active", "enabled"),
        ("idle", "inactive", "disabled"),
        ("hidden", "inactive", "masked"),
        ("own", "active", "enabled"),
    ] {
        host.machine.units.insert(name.to_owned(), unit(active, enabled));
    }
    let commands = &mut host.machine.commands;
    commands.insert(RULES.to_owned(), says(OPEN));
    commands.insert(format!("nft --file - <<< flush ruleset\n{OPEN}"), Reply::default());
    commands.insert("nft add table inet new".to_owned(), Reply::default());
    commands.insert(
        "nft --stateless list table inet new".to_owned(),
        Reply { code: 1, stderr: "No such file or directory".to_owned(), ..Reply::default() },
    );
    host
}

/// What the job does to units: web reads a new file, telnet goes, idle and hidden run.
fn unit_changes() -> Vec<Step> {
    let mut watching = step("service.running", &json!({"name": "web", "enable": true, "reload": true}));
    watching.links = vec![Link { step: 0, when: Requisite::Watch, any: false }];
    vec![
        step("file.managed", &json!({"name": "/etc/a", "contents": "new a\n"})),
        watching,
        step("service.dead", &json!({"name": "telnet", "enable": false})),
        step("service.running", &json!({"name": "idle", "enable": true})),
        step("service.unmasked", &json!({"name": "hidden"})),
        step(
            "file.managed",
            &json!({"name": "/etc/systemd/system/own.service", "contents": "[Service]\nNice=5\n"}),
        ),
    ]
}

fn standing(host: &FakeHost) -> Vec<(String, String, String)> {
    let units = host.machine.units.iter();
    units.map(|(name, it)| (name.clone(), it.active.clone(), it.enabled.clone())).collect()
}

#[test]
fn units_are_as_they_were_and_read_the_files_that_are_back() {
    let mut host = server();
    let before = standing(&host);
    let report = work(&mut host, JOB, unit_changes());
    assert!(report.steps.iter().all(|it| it.outcome == Outcome::Changed), "{report:#?}");
    assert_ne!(standing(&host), before);
    let (reloads, starts) = (host.machine.units["web"].reloads, host.machine.units["own"].starts);

    let report = undo(&mut host, UNDO, JOB, false);
    let step = &report.steps[0];
    assert_eq!(step.outcome, Outcome::Changed, "{}", step.comment);
    assert_eq!(standing(&host), before);
    let told: Vec<&str> = step.plan.changes.iter().map(|it| it.what.as_str()).collect();
    for unit in ["unit telnet", "unit idle", "unit hidden"] {
        assert!(told.contains(&unit), "{told:?}");
    }
    assert_eq!(host.machine.units["web"].reloads, reloads + 1, "it reads its old file again");
    assert_eq!(host.machine.units["own"].starts, starts + 1, "its own unit file is back");
    assert_eq!(step.comment, "restarted or reloaded: own, web");

    undo(&mut host, REDO, UNDO, false);
    assert_eq!(host.machine.units["telnet"].active, "inactive", "the undoing is undone");
}

#[test]
fn a_unit_that_the_job_brought_is_stopped_before_its_file_goes() {
    let mut host = server();
    host.machine.units.insert("fresh".to_owned(), FakeUnit::default());
    // It was not there when the job began.
    let state = json!({"unit": {"found": false, "enabled": "", "runs": false}});
    let line = json!({"path": "unit/fresh", "state": state, "after": false});
    host.kept.insert(JOB, vec![serde_json::from_value(line).unwrap()]);
    host.machine.units.get_mut("fresh").unwrap().active = "active".to_owned();
    host.machine.units.get_mut("fresh").unwrap().enabled = "enabled".to_owned();
    let report = undo(&mut host, UNDO, JOB, false);
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{}", report.steps[0].comment);
    let unit = &host.machine.units["fresh"];
    assert_eq!((unit.active.as_str(), unit.enabled.as_str()), ("inactive", "disabled"));
}

fn filtered() -> FakeHost {
    let mut host = server();
    let table = step("nftables.table_present", &json!({"name": "new", "family": "inet"}));
    work(&mut host, JOB, vec![table]);
    host
}

#[test]
fn rules_of_the_packet_filter_are_kept_before_the_first_change_and_loaded_back_at_once() {
    let mut host = filtered();
    host.machine.commands.insert(RULES.to_owned(), says(CLOSED));
    let refused = undo(&mut host, UNDO, JOB, false);
    assert_eq!(refused.steps[0].outcome, Outcome::Failed);
    assert!(refused.steps[0].comment.contains("rules/nft"), "altered since: {}", refused.steps[0].comment);
    // The command that loads them is known with these very rules only.
    let way_back = step("undo.job", &json!({"name": JOB.to_string(), "force": true, "way_back": true}));
    let report = work(&mut host, UNDO, vec![way_back]);
    let step = &report.steps[0];
    assert_eq!((step.outcome, step.comment.as_str()), (Outcome::Changed, ""));
    assert_eq!(step.plan.changes[0].what, "packet filter (nft)");
}

/// A host whose packet filter holds so many bytes of rules, and the report of a job that adds a table to them.
fn with_long_rules(bytes: usize, way_back: bool) -> (FakeHost, String, RunReport) {
    let mut host = server();
    let comment = "# a comment that is dropped\n";
    let rules = format!("table inet filter {{\n{}}}\n", "\t\tip saddr 192.0.2.1 drop\n".repeat(bytes / 25));
    host.machine.commands.insert(RULES.to_owned(), says(&format!("{comment}{rules}")));
    host.machine.commands.insert(format!("nft --file - <<< flush ruleset\n{rules}"), Reply::default());
    host.way_back = way_back;
    let table = step("nftables.table_present", &json!({"name": "new", "family": "inet"}));
    let report = work(&mut host, JOB, vec![table]);
    (host, rules, report)
}

#[test]
fn many_rules_are_put_back_and_with_a_way_back_none_are_altered_that_cannot_be() {
    // Whether the run has a way back, bytes of the rules, whether they are altered, whether they are put back.
    for (way_back, bytes, altered, back) in [
        (false, 100 << 10, true, true),
        (true, 100 << 10, true, true),
        (false, 5 << 20, true, false),
        (true, 5 << 20, false, false),
    ] {
        let (mut host, rules, report) = with_long_rules(bytes, way_back);
        let (step_report, case) = (&report.steps[0], format!("{bytes} bytes, way back {way_back}"));
        // The machine of this test does not show the new table: a command that ran is told so.
        let ran = step_report.comment.contains("did not converge");
        assert_eq!(ran, altered, "{case}: {}", step_report.comment);
        if !altered {
            let said = &step_report.comment;
            assert!(said.contains("longer than 4 MiB") && said.contains("--confirm-within"), "{said}");
            assert!(!host.kept.contains_key(&JOB));
            continue;
        }
        host.machine.commands.insert(RULES.to_owned(), says(CLOSED));
        host.way_back = false;
        let undone = undo(&mut host, UNDO, JOB, true);
        let told = undone.steps[0].plan.changes.iter().any(|it| it.what == "packet filter (nft)");
        assert_eq!(told, back, "{case}: {undone:?}");
        assert_eq!(host.kept[&JOB].iter().any(|it| matches!(it.state, State::Rules { .. })), back, "{case}");
        assert!(rules.len() > 64 << 10);
    }
    let mut host = server();
    host.machine.commands.insert(RULES.to_owned(), Reply { code: 1, ..Reply::default() });
    host.way_back = true;
    let table = step("nftables.table_present", &json!({"name": "new", "family": "inet"}));
    let said = work(&mut host, JOB, vec![table]).steps[0].comment.clone();
    assert!(said.contains("cannot be read"), "{said}");
}

#[test]
fn with_a_way_back_nothing_is_altered_before_what_was_there_is_durable() {
    let mut host = server();
    host.way_back = true;
    let mut steps = changes();
    steps.extend(unit_changes());
    let report = work(&mut host, JOB, steps);
    for step in &report.steps {
        assert_ne!(step.outcome, Outcome::Failed, "{} {}: {}", step.kind, step.name, step.comment);
    }
}

#[test]
fn a_way_back_puts_back_what_it_can_and_names_the_rest() {
    let mut host = server();
    let before = host.machine.files.clone();
    let mut steps = unit_changes();
    steps.push(step("nftables.table_present", &json!({"name": "new", "family": "inet"})));
    work(&mut host, JOB, steps);
    host.machine.commands.insert(RULES.to_owned(), says(CLOSED));
    host.machine.commands.remove(&format!("nft --file - <<< flush ruleset\n{OPEN}"));
    host.machine.units.get_mut("telnet").unwrap().broken = true;
    host.machine.files.insert("/etc/a".to_owned(), file("by somebody\n", "0640"));
    let way_back = step("undo.job", &json!({"name": JOB.to_string(), "force": true, "way_back": true}));
    let report = work(&mut host, UNDO, vec![way_back.clone()]);
    let said = &report.steps[0].comment;
    assert_eq!(report.steps[0].outcome, Outcome::Changed, "{said}");
    assert!(said.contains("not put back: start telnet") && said.contains("not put back: nft"), "{said}");
    assert_eq!(host.machine.files, before, "files are back all the same");
    assert_eq!(host.machine.units["idle"].active, "inactive");

    let nothing = step("undo.job", &json!({"name": JobId(77).to_string(), "force": true, "way_back": true}));
    assert_eq!(work(&mut host, REDO, vec![nothing]).steps[0].outcome, Outcome::Ok);
}

#[test]
fn every_call_of_an_undo_that_fails_is_told() {
    let mut whole = host();
    work(&mut whole, JOB, changes());
    let calls = whole.calls();
    let mut counted = whole.clone();
    undo(&mut counted, UNDO, JOB, false);
    for fail_at in calls + 1..=counted.calls() {
        let mut host = whole.clone();
        host.fail_at = Some(fail_at);
        let report = undo(&mut host, UNDO, JOB, false);
        assert_eq!(report.steps[0].outcome, Outcome::Failed, "call {fail_at}");
        host.fail_at = None;
        // It was itself a job that keeps; going on from there ends where it should.
        undo(&mut host, REDO, JOB, true);
        assert_eq!(host.machine.files, self::host().machine.files, "call {fail_at}");
    }
}

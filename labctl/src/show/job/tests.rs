//! Screens of jobs, from fixed data, against golden files.

use super::*;
use model::{Caller, Job, JobId, Outcome as StepOutcome, Output, Place, Plan, Timestamp};

/// Compares with a golden file below this crate; `UPDATE=1` writes it.
pub(crate) fn golden(path: &str, actual: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "differs from {}; UPDATE=1 rewrites it", path.display());
}

pub(crate) const JOB: JobId = JobId(0x0192_f3c1_7abc_7def_8123_4567_89ab_cdef);

/// A job on as many minions as there are states.
pub(crate) fn view(mode: Mode, states: Vec<(&str, TargetState)>) -> JobView {
    let id = |name: &str| name.parse::<MinionId>().unwrap();
    let job = Job {
        id: JOB,
        kind: JobKind::Apply {
            states: vec!["web".to_owned()],
            mode,
            pillar: serde_json::Map::new(),
            env: None,
            confirm_ms: None,
        },
        target: "vm-*".to_owned(),
        minions: states.iter().map(|(name, _)| id(name)).collect(),
        caller: Caller::new("admin", "socket uid=0", "admin"),
        at: Timestamp(1_732_105_304_000),
        expires: Timestamp(1_732_105_364_000),
        wait: false,
        revision: None,
        retry_of: None,
        ended: None,
        cancelled: None,
        hops: 0,
        rolling: None,
        roll: None,
    };
    let target = |(name, state): (&str, TargetState)| JobTarget {
        job: JOB,
        minion: id(name),
        state,
        diagnostics: Vec::new(),
        lost: None,
        turn: None,
    };
    JobView { job, targets: states.into_iter().map(target).collect(), words: BTreeMap::new() }
}

pub(crate) fn ended(word: Terminal, tally: Tally, ms: Option<u64>, reason: &str) -> TargetState {
    TargetState::Ended {
        word,
        at: Timestamp(1_732_105_310_000),
        duration_ms: ms,
        tally,
        reason: reason.to_owned(),
        code: None,
    }
}

fn step(id: &str, kind: &str, name: &str, outcome: StepOutcome, comment: &str) -> StepReport {
    StepReport {
        index: 0,
        id: id.to_owned(),
        sls: "web".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        outcome,
        comment: comment.to_owned(),
        plan: Plan::default(),
        output: None,
        duration_ms: 4200,
        at: Some(Place { file: "states/web/init.sls".to_owned(), line: 3 }),
    }
}

fn changed_report(outcome: StepOutcome) -> RunReport {
    let mut site = step("site_conf", "file.managed", "/etc/nginx/conf.d/site.conf", outcome, "");
    site.plan.push(Change {
        what: "contents".to_owned(),
        from: None,
        to: None,
        diff: Some("@@ -3,3 +3,3 @@\n   listen 80;\n-  server_name _;\n+  server_name vm-03;\n".to_owned()),
    });
    site.plan.differ("mode", Some(&"0600".to_owned()), &"0644".to_owned());
    let service = step("nginx_service", "service.running", "nginx", outcome, "reloaded (watched site_conf)");
    let fine = step("nginx_pkg", "pkg.installed", "nginx", StepOutcome::Ok, "");
    let steps = vec![fine, site, service];
    RunReport { mode: Mode::Apply, steps, duration_ms: 3000, cancelled: false, sandbox: false }
}

fn failed_report() -> RunReport {
    let mut package = step(
        "nginx_pkg",
        "pkg.installed",
        "nginx",
        StepOutcome::Failed,
        "apt-get install nginx: exited with 100",
    );
    package.output = Some(Output {
        stderr: "E: Unable to locate package nginx\n".to_owned(),
        code: Some(100),
        ..Output::default()
    });
    let skipped =
        step("site_conf", "file.managed", "", StepOutcome::Skipped, "needs nginx_pkg, which failed");
    RunReport {
        mode: Mode::Apply,
        steps: vec![package, skipped],
        duration_ms: 6801,
        cancelled: false,
        sandbox: false,
    }
}

fn apply() -> (JobView, Reports) {
    let tally = |ok, changed, failed, skipped| Tally { ok, changed, would_change: 0, failed, skipped };
    let view = view(
        Mode::Apply,
        vec![
            ("vm-01", ended(Terminal::Ok, tally(18, 0, 0, 0), Some(2104), "")),
            ("vm-03", ended(Terminal::Changed, tally(1, 2, 0, 0), Some(3010), "")),
            ("vm-07", ended(Terminal::Failed, tally(15, 0, 1, 2), Some(6801), "")),
            ("vm-17", ended(Terminal::Unreachable, Tally::default(), None, "last seen 3h ago")),
        ],
    );
    let id = |name: &str| name.parse::<MinionId>().unwrap();
    let reports =
        [(id("vm-03"), changed_report(StepOutcome::Changed)), (id("vm-07"), failed_report())].into();
    (view, reports)
}

fn whole(view: &JobView, reports: &Reports, detail: Detail, style: &Style) -> String {
    let mut text = String::new();
    for target in view.targets.iter().filter(|it| is_notable(&view.job.kind, it)) {
        if let Some(report) = reports.get(&target.minion) {
            text += &host_block(&view.job.kind, target, Some(report), detail, style);
            text += "\n";
        }
    }
    text += &host_table(view, detail.all, style).unwrap();
    text + "\n" + &result_line(view, 7102, style) + "\n"
}

const BRIEF: Detail = Detail { diff: false, whole: false, all: false };

#[test]
fn an_apply_shows_what_changed_and_failed_then_hosts_then_the_whole() {
    let (view, reports) = apply();
    let style = Style::plain(Timestamp(1_732_105_320_000));
    golden("src/show/job/apply.txt", &whole(&view, &reports, BRIEF, &style));
    let ascii = Style { unicode: false, ..style.clone() };
    golden("src/show/job/apply-ascii.txt", &whole(&view, &reports, BRIEF, &ascii));
    let coloured = Style { colour: true, ..style };
    golden("src/show/job/apply-colour.txt", &whole(&view, &reports, BRIEF, &coloured));
}

#[test]
fn a_plan_shows_diffs() {
    let tally = Tally { ok: 1, would_change: 2, ..Tally::default() };
    let view = view(Mode::Check, vec![("vm-03", ended(Terminal::Changed, tally, Some(300), ""))]);
    let reports = [("vm-03".parse().unwrap(), changed_report(StepOutcome::WouldChange))].into();
    let style = Style::plain(Timestamp(1_732_105_320_000));
    golden("src/show/job/plan.txt", &whole(&view, &reports, Detail { diff: true, ..BRIEF }, &style));
}

#[test]
fn in_a_pipe_each_host_is_a_line_of_logfmt() {
    let (view, reports) = apply();
    let style = Style::plain(Timestamp(1_732_105_320_000));
    let mut text = String::new();
    for target in &view.targets {
        text += &logfmt(&view.job.kind, target, reports.get(&target.minion), BRIEF, &style);
        text += "\n";
    }
    text += &logfmt_result(&view, 7102);
    golden("src/show/job/logfmt.txt", &(text + "\n"));
}

#[test]
fn the_worst_word_decides_the_exit_code() {
    let of = |words: &[Terminal], detailed| {
        let states = words.iter().map(|word| ("vm-1", ended(*word, Tally::default(), Some(1), ""))).collect();
        exit(&view(Mode::Apply, states), detailed).code()
    };
    for (words, code, detailed) in [
        (&[Terminal::Ok, Terminal::Ok][..], 0, 0),
        (&[Terminal::Ok, Terminal::Changed], 0, 10),
        (&[Terminal::Ok, Terminal::Failed], 1, 1),
        (&[Terminal::Failed, Terminal::Unreachable], 1, 1),
        (&[Terminal::Changed, Terminal::Unreachable], 4, 4),
        (&[Terminal::Ok, Terminal::Expired], 4, 4),
        (&[Terminal::Cancelled], 1, 1),
        (&[Terminal::Superseded], 1, 1),
        (&[Terminal::Interrupted], 1, 1),
        (&[Terminal::Refused], 1, 1),
        (&[], 0, 0),
    ] {
        assert_eq!((of(words, false), of(words, true)), (code, detailed), "{words:?}");
    }
    let running = TargetState::Running { step: 1, of: 2, at: Timestamp(1), rebooting: None };
    assert_eq!(exit(&view(Mode::Apply, vec![("vm-1", running)]), false).code(), 4, "still at it");
}

#[test]
fn what_compiles_for_nobody_is_another_exit_code_than_what_compiles_for_some() {
    let failed = || ended(Terminal::Failed, Tally::default(), None, "");
    let mut view = view(
        Mode::Apply,
        vec![("vm-1", failed()), ("vm-2", ended(Terminal::Ok, Tally::default(), Some(1), ""))],
    );
    let complaint = Diagnostic {
        severity: Severity::Error,
        code: "E0118".to_owned(),
        message: "no state named `wbe`".to_owned(),
        spans: Vec::new(),
        notes: Vec::new(),
        help: None,
    };
    view.targets[0].diagnostics.push(complaint.clone());
    assert_eq!(exit(&view, false), Exit::Failed);
    view.targets[1] = JobTarget { minion: "vm-2".parse().unwrap(), ..view.targets[0].clone() };
    assert_eq!(exit(&view, false), Exit::Compile);
    assert_eq!(diagnostics(&view), [complaint], "said once");
}

#[test]
fn hosts_that_say_the_same_are_one_block_and_steps_that_wait_for_a_change_are_no_news() {
    let names = ["vm-01", "vm-02", "vm-09"];
    let states = names.iter().map(|it| (*it, ended(Terminal::Changed, Tally::default(), Some(9), "")));
    let view = view(Mode::Apply, states.collect());
    let mut waits = changed_report(StepOutcome::Changed);
    let last = waits.steps.last_mut().unwrap();
    last.outcome = StepOutcome::Skipped;
    last.comment = "nothing changed that it waits for (onchanges)".to_owned();
    let whole = changed_report(StepOutcome::Changed);
    let hosts = view.targets.iter().zip([Some(&waits), Some(&waits), Some(&whole)]);
    let text = host_blocks(&view.job.kind, hosts, BRIEF, &Style::plain(Timestamp(0)));
    let heads: Vec<&str> = text.lines().filter(|it| it.starts_with("vm-")).collect();
    assert_eq!(heads, ["vm-[01-02]  (2 hosts)", "vm-09"]);
    assert!(!text.contains("skipped"), "{text}");
}

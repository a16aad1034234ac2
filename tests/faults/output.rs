//! Commands that say too much, nothing that is text, or hold their output open for ever.

use model::{Reply, Request, RunReport, Terminal};
use std::time::{Duration, Instant};
use tests::{
    api,
    lab::{Lab, kill},
    promise::Promise,
};

/// What a result may be long, in bytes.
const RESULT_MAX: usize = 16 << 20;

fn report(lab: &Lab, job: model::JobId) -> RunReport {
    let request = Request::Report { job, minion: "vm-1".parse().unwrap() };
    match api::ask(&lab.socket(), &request) {
        Ok(Reply::Report(Some(report))) => *report,
        other => panic!("no report: {other:?}"),
    }
}

#[test]
fn results_of_any_size_and_kind_end_once_and_are_stored() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    for (what, body) in [
        ("16 MiB without an end of line", "head -c 16777216 /dev/zero | tr '\\0' x"),
        ("a million lines", "seq 1000000"),
        ("64 MiB", "head -c 67108864 /dev/zero | tr '\\0' 'y'"),
        ("no UTF-8", "head -c 300000 /dev/urandom"),
        ("every byte", "for i in 0 1 2 3; do printf '\\000\\001\\200\\377\\033[31m\\r\\n'; done"),
        ("half a letter", "printf 'caf\\303'; sleep 0.1; printf '\\251\\n'"),
    ] {
        let begin = Instant::now();
        let job = promise.command(&lab, "vm-1", body);
        let (word, reason) = promise.end(&lab, job);
        assert_eq!(word, Terminal::Changed, "{what}: {reason}");
        let output = report(&lab, job).steps[0].output.clone().unwrap_or_default();
        assert!(output.stdout.len() <= RESULT_MAX, "{what}: {}", output.stdout.len());
        if what == "half a letter" {
            assert!(output.stdout.contains("café"), "{}", output.stdout);
        }
        eprintln!("{what}: {:?}, {} bytes kept", begin.elapsed(), output.stdout.len());
    }
    promise.hold(&lab);
}

/// Of one command 64 KiB are kept; a run of many has a result that does not fit, and says so.
#[test]
fn a_result_of_more_than_16_mib_arrives_cut() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    let step = |it: usize| {
        format!("say_{it}:\n  cmd.run:\n    name: head -c 48000 /dev/urandom | base64 -w 0 | head -c 64000\n")
    };
    lab.tree("states/long.sls", &(0..300).map(step).collect::<String>());
    lab.start_master();
    lab.minions(&["vm-1"]);
    let job = promise.imagine(&lab, "vm-1", "long");
    assert_eq!(promise.end(&lab, job), (Terminal::Changed, String::new()));
    let report = report(&lab, job);
    assert_eq!(report.steps.len(), 300);
    let said: usize = report.steps.iter().filter_map(|it| it.output.as_ref()).map(|it| it.stdout.len()).sum();
    assert!((1 << 20..=RESULT_MAX).contains(&said), "{said}");
    let last = report.steps[299].output.as_ref().unwrap();
    assert!(last.stdout.contains("[cut; SHA-256"), "{}", &last.stdout[last.stdout.len() - 80..]);
    promise.hold(&lab);
}

#[test]
fn a_child_that_keeps_the_output_open_holds_up_nobody() {
    let mut lab = Lab::prepare();
    let mut promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    let pid = lab.folder().join("child");
    let begin = Instant::now();
    let job = promise.command(&lab, "vm-1", &format!("sleep 300 & echo $! > {}; echo parent", pid.display()));
    assert_eq!(promise.word(&lab, job), Terminal::Changed);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let stdout = report(&lab, job).steps[0].output.clone().unwrap_or_default().stdout;
    assert!(stdout.contains("parent"), "{stdout}");
    // One that goes on talking, too.
    let more = lab.folder().join("more");
    let talk = format!("(echo $$ > {}; exec yes) & true", more.display());
    let job = promise.command(&lab, "vm-1", &talk);
    let word = promise.word(&lab, job);
    for path in [pid, more] {
        kill(std::fs::read_to_string(path).unwrap().trim().parse().unwrap(), "KILL");
    }
    assert_eq!(word, Terminal::Changed);
    promise.hold(&lab);
}

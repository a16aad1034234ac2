//! The live lines, from the lines of a job.

use super::*;
use crate::show::job::tests::{JOB, ended, view};
use model::{Mode, Tally, Terminal, Timestamp};

fn id(name: &str) -> MinionId {
    name.parse().unwrap()
}

fn moved(name: &str, state: TargetState) -> JobLine {
    JobLine::Target(Box::new(JobTarget {
        job: JOB,
        minion: id(name),
        state,
        diagnostics: Vec::new(),
        lost: None,
        turn: None,
    }))
}

fn started(name: &str, step: u32, what: &str) -> JobLine {
    JobLine::Started { minion: id(name), step, of: 18, what: what.to_owned() }
}

fn running(step: u32) -> TargetState {
    TargetState::Running { step, of: 18, at: Timestamp(1), rebooting: None }
}

#[test]
fn those_at_work_come_first_and_the_rest_is_counted() {
    let mut watched = Watched::default();
    let names = ["vm-01", "vm-02", "vm-03", "vm-04", "vm-05"];
    let states = names.iter().map(|it| (*it, TargetState::Accepted)).collect();
    watched.take(JobLine::Snapshot(Box::new(view(Mode::Apply, states))));
    watched.take(moved("vm-02", running(14)));
    watched.take(started("vm-02", 14, "nginx_pkg  pkg.installed"));
    watched.take(moved("vm-03", running(3)));
    watched.take(started("vm-03", 3, "base_repo  file.managed"));
    let news = watched.take(moved("vm-01", ended(Terminal::Ok, Tally::default(), Some(2100), "")));
    assert_eq!(news, News::Ended(id("vm-01")));
    let style = Style::plain(Timestamp(0));
    let lines = watched.lines(Duration::from_secs(6), 7, &style).join("\n") + "\n";
    crate::show::job::tests::golden("src/show/progress/five.txt", &lines);
    assert_eq!(
        heartbeat(&watched, Duration::from_secs(30)),
        "waiting for 4 minions after 30.0s: vm-02 vm-03 vm-04 ..."
    );
}

#[test]
fn lines_are_no_wider_than_the_terminal() {
    let mut watched = Watched::default();
    watched.take(JobLine::Snapshot(Box::new(view(Mode::Apply, vec![("vm-01", running(1))]))));
    watched.take(started("vm-01", 1, &"long ".repeat(50)));
    let style = Style { width: Some(60), ..Style::plain(Timestamp(0)) };
    for line in watched.lines(Duration::ZERO, 24, &style) {
        assert!(unicode_width::UnicodeWidthStr::width(&*line) <= 60, "{line}");
    }
}

#[test]
fn a_gap_is_remembered_and_the_end_replaces_all_that_was_known() {
    let mut watched = Watched::default();
    assert_eq!(watched.take(moved("vm-01", running(1))), News::Nothing, "before the snapshot");
    watched.take(JobLine::Gap(4));
    let last = view(Mode::Apply, vec![("vm-01", ended(Terminal::Ok, Tally::default(), Some(1), ""))]);
    assert_eq!(watched.take(JobLine::Ended(Box::new(last.clone()))), News::Over);
    assert_eq!((watched.gaps, watched.ended, watched.view.as_ref()), (4, true, Some(&last)));
    assert!(watched.open().is_empty());
}

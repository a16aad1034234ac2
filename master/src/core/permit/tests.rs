//! Who may do what, as tables: every request, by every role that must not.

use super::*;
use crate::core::{Effect, Entry, test_kit::*};
use model::{JobId, Labels, Terminal, broken};
use serde_json::Map;

fn roles(text: &str) -> Arc<Roles> {
    let parsed = Roles::parse("roles.yaml", text);
    assert_eq!(parsed.diagnostics, []);
    Arc::new(parsed.value.unwrap())
}

/// With machines of any name.
fn bench(names: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for (number, name) in (0_u8..).zip(names) {
        bench.enroll(number, name, Ok(model::TokenTerms { ids: "*".to_owned(), ..terms() }));
        bench.connect(name);
        bench.say(name, bus::FromMinion::Hello(Box::new(hello())));
    }
    bench
}

fn by(role: &str) -> Caller {
    Caller::new("mallory", "10.0.0.9 token=mallory", role)
}

/// Records that are no lines of the audit log, and the lines.
fn kept(effects: &[Effect]) -> (usize, Vec<&model::Audit>) {
    let all = records(effects);
    let lines: Vec<_> = all
        .iter()
        .filter_map(|it| match it {
            Entry::Audit(audit) => Some(audit),
            _ => None,
        })
        .collect();
    (all.len() - lines.len(), lines)
}

const DEPLOYER: &str = "
roles:
  deployer:
    deny:
      - {functions: '*', targets: web-9}
    allow:
      - functions: [state.*, job.*, target.*, minion.list]
        targets: web-*
        states: [web]
";

#[test]
fn whatever_alters_something_is_refused_to_a_viewer_and_to_whom_has_no_role() {
    let mut altering = 0;
    for request in crate::web::examples() {
        let access = access(&request);
        assert!(FUNCTIONS.iter().any(|it| it.0 == access.deed.function), "{request:?}");
        if access.manner == Manner::Reads {
            continue;
        }
        altering += 1;
        for role in ["viewer", "integration", "none", "", "gone"] {
            let mut bench = Bench::with(&["vm-1", "vm-2"]);
            let effects = bench.ask_as(by(role), request.clone());
            let refused = refusal(&effects).unwrap_or_else(|| panic!("{role} {request:?}: {effects:?}"));
            assert_eq!(refused.0, ErrorKind::Forbidden, "{role} {request:?}: {refused:?}");
            let (others, lines) = kept(&effects);
            assert_eq!((others, lines.len()), (0, 1), "{role} {request:?}: {effects:?}");
            assert!(lines[0].result.starts_with("refused: "), "{lines:?}");
            assert_eq!(effects.len(), 2, "nothing else happens: {effects:?}");
        }
    }
    assert!(altering >= 13, "{altering}");
}

#[test]
fn without_roles_a_viewer_would_run_commands() {
    let run = || {
        let mut bench = Bench::with(&["vm-1"]);
        refusal(&bench.ask_as(by("viewer"), submit(1, "vm-1", command(), false))).is_none()
    };
    assert!(!run());
    assert!(broken::without(Some("roles"), run), "the test notices");
}

#[test]
fn a_viewer_reads_what_observers_see_and_nothing_of_keys_pillar_files_or_the_log() {
    let may = ["master.status", "master.info", "minion.list", "event.list", "rule.list", "schedule.list"];
    for request in crate::web::examples() {
        let access = access(&request);
        let mut bench = Bench::with(&["vm-1"]);
        bench.submit(0x0192_f3c1_7abc_7def_8123_4567_89ab_cdef, "vm-1", command());
        let effects = bench.ask_as(by("viewer"), request.clone());
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        assert_eq!(!forbidden, may.contains(&access.deed.function), "{request:?}: {effects:?}");
    }
}

#[test]
fn an_operator_may_everything_but_decide_who_else_may() {
    for request in crate::web::examples() {
        let access = access(&request);
        let mut bench = Bench::with(&["vm-1"]);
        let effects = bench.ask_as(by("operator"), request.clone());
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        let others = ["token.create", "token.revoke", "operator.add", "operator.remove"]
            .contains(&access.deed.function);
        assert_eq!(forbidden, others, "{request:?}: {effects:?}");
        let effects = Bench::with(&["vm-1"]).ask_as(by("admin"), request.clone());
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        assert!(!forbidden, "{request:?}: {effects:?}");
    }
}

#[test]
fn what_is_denied_on_a_machine_is_denied_for_its_key_and_its_name() {
    let keeper = "
roles:
  keeper:
    deny:
      - {functions: '*', targets: db-*}
    allow:
      - {functions: key.*}
";
    let decide =
        |key: &str, decision| Request::DecideKey { key: key.to_owned(), fingerprint: None, decision };
    let enroll = |ids: &str, replace| {
        let example = crate::web::examples().into_iter().find_map(|it| match it {
            Request::Enroll { terms } => Some(terms),
            _ => None,
        });
        Request::Enroll { terms: EnrollTerms { ids: ids.to_owned(), replace, ..example.unwrap() } }
    };
    let key = bench(&["db-1"]).master.book.minions[&id("db-1")].fingerprint.as_str().to_owned();
    for (request, refused) in [
        (decide("db-1", KeyDecision::Revoke), true),
        (decide(&key, KeyDecision::Revoke), true),
        (decide("db-1", KeyDecision::Accept), true),
        (decide("web-1", KeyDecision::Revoke), false),
        (enroll("*", Replace::Never), false),
        (enroll("*", Replace::Offline), true),
        (enroll("web-*", Replace::Offline), false),
    ] {
        let mut bench = bench(&["db-1", "web-1"]);
        bench.master.set_roles(roles(keeper));
        let effects = bench.ask_as(by("keeper"), request.clone());
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        assert_eq!(forbidden, refused, "{request:?}: {effects:?}");
    }
}

#[test]
fn every_machine_of_a_target_must_pass() {
    let apply = |states: &[&str]| JobKind::Apply {
        states: states.iter().map(|it| (*it).to_owned()).collect(),
        mode: model::Mode::Apply,
        pillar: Map::new(),
        env: None,
        confirm_ms: None,
    };
    let attempts = [
        ("web-1", apply(&["web"]), ""),
        ("web-1 or web-2", apply(&["web"]), ""),
        ("web-*", apply(&["web"]), "web-9: roles.yaml:5 denies it"),
        ("*", apply(&["web"]), "db-1: no line allows it"),
        ("not db-*", apply(&["web"]), "web-9"),
        ("web-1", apply(&["web", "db"]), "web-1: no line allows it"),
        ("web-1", apply(&[]), "web-1: no line allows it"),
        ("web-1", command(), "may not cmd.run"),
        ("web-7", apply(&["web"]), "the target matches nobody"),
        ("nobody", apply(&["web"]), "the target matches nobody"),
    ];
    for (number, (target, kind, wanted)) in (1..).zip(attempts) {
        let mut bench = bench(&["db-1", "web-1", "web-2", "web-9"]);
        bench.master.set_roles(roles(DEPLOYER));
        let effects = bench.ask_as(by("deployer"), submit(number, target, kind, false));
        let said = refusal(&effects).map(|it| it.1.to_owned()).unwrap_or_default();
        assert!(said.contains(wanted) && said.is_empty() == wanted.is_empty(), "{target}: {said}");
    }
    let all = || {
        let mut bench = bench(&["db-1", "web-1"]);
        bench.master.set_roles(roles(DEPLOYER));
        refusal(&bench.ask_as(by("deployer"), submit(1, "*", apply(&["web"]), false))).is_none()
    };
    assert!(!all());
    assert!(broken::without(Some("every-id-of-a-target"), all), "the test notices");
}

#[test]
fn who_undoes_a_job_must_be_allowed_to_do_what_it_did() {
    let mut bench = bench(&["web-1", "web-2"]);
    bench.master.set_roles(roles(DEPLOYER));
    let apply = |states: &[&str]| JobKind::Apply {
        states: states.iter().map(|it| (*it).to_owned()).collect(),
        mode: model::Mode::Apply,
        pillar: Map::new(),
        env: None,
        confirm_ms: None,
    };
    let undo = |of: u128| JobKind::Undo { of: JobId(of), mode: model::Mode::Apply, force: false };
    for (number, kind) in [(1, apply(&["web"])), (2, apply(&["firewall"])), (3, undo(2)), (4, command())] {
        assert_eq!(refusal(&bench.submit(number, "web-1", kind)), None);
    }
    // 9 is not remembered: it may have been anything.
    for (of, allowed) in [(1, true), (2, false), (3, false), (4, false), (9, false)] {
        let effects = bench.ask_as(by("deployer"), submit(100 + of, "web-1", undo(of), false));
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        assert_eq!(forbidden, !allowed, "{of}: {effects:?}");
        let effects = bench.ask(submit(200 + of, "web-1", undo(of), false));
        assert_eq!(refusal(&effects), None, "who may do everything: {of}");
    }
}

#[test]
fn who_may_act_on_some_machines_sees_these_and_their_jobs_only() {
    let mut bench = bench(&["db-1", "web-1", "web-9"]);
    bench.master.set_roles(roles(DEPLOYER));
    bench.submit(1 << 100, "db-1", command());
    bench.submit(2 << 100, "web-1", command());
    let mut ask = |request| bench.ask_as(by("deployer"), request);
    let effects = ask(Request::Minions { target: None });
    let Some(Reply::Minions(seen)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(seen.iter().map(|it| it.id.to_string()).collect::<Vec<_>>(), ["web-1"]);
    let job = |number: u128| JobId(number << 100).to_string();
    for (request, allowed) in [
        (Request::Job { job: job(2) }, true),
        (Request::Job { job: job(1) }, false),
        (Request::Cancel { job: job(1) }, false),
        (Request::Report { job: JobId(1 << 100), minion: id("db-1") }, false),
        (Request::Report { job: JobId(2 << 100), minion: id("web-1") }, true),
        (Request::Job { job: "7ZZZZZ".to_owned() }, false),
        (Request::Jobs { filter: model::api::JobFilter::default() }, false),
        (Request::Expand { target: "*".to_owned() }, false),
        (Request::Label { target: "web-1".to_owned(), set: Labels::new(), remove: Vec::new() }, true),
        (Request::Label { target: "*".to_owned(), set: Labels::new(), remove: Vec::new() }, false),
        (Request::Probe { target: "db-1".to_owned(), ask: model::Ask::Ping, timeout_ms: 100 }, false),
        (Request::Cancel { job: job(2) }, true),
    ] {
        let effects = ask(request.clone());
        let forbidden = refusal(&effects).is_some_and(|it| it.0 == ErrorKind::Forbidden);
        assert_eq!(!forbidden, allowed, "{request:?}: {effects:?}");
    }
}

#[test]
fn another_ones_job_is_not_got_by_its_id() {
    let mut bench = bench(&["web-1"]);
    bench.submit(1, "web-1", command());
    let mut again = |caller| bench.ask_as(caller, submit(1, "web-1", command(), false));
    assert!(refusal(&again(caller())).is_none(), "a retry is the same job");
    assert!(refusal(&again(by("operator"))).unwrap().1.contains("another job has the id"));
}

#[test]
fn a_rule_runs_as_itself_with_its_own_role() {
    let rule = "greet: {on: 'user/#', do: [{run: {target: vm-1, command: [uptime]}}, {event: {tag: x}}]}\n";
    for (file, allowed) in [
        ("", true),
        ("rules: {default: none}\n", false),
        ("rules: {default: none, names: {greet: rule}}\n", true),
        ("rules: {names: {greet: viewer}}\n", false),
        ("roles: {web: {allow: [{functions: cmd.run, targets: web-*}]}}\nrules: {default: web}\n", false),
        ("roles: {vm: {allow: [{functions: cmd.run, targets: vm-*}]}}\nrules: {default: vm}\n", true),
    ] {
        let mut bench = Bench::with(&["vm-1"]);
        bench.rules(rule);
        bench.master.set_roles(roles(file));
        let effects = bench.ask(Request::SendEvent { tag: "go".to_owned(), data: Map::new() });
        let ran = records(&effects).iter().any(|it| matches!(it, Entry::Job(_)));
        assert_eq!(ran, allowed, "{file}: {effects:?}");
        let lines = kept(&effects).1;
        let line = lines.iter().find(|it| it.caller.name == "rule:greet").unwrap();
        assert_eq!(line.result.starts_with("accepted"), allowed, "{line:?}");
        assert_eq!(
            tags(&effects).contains(&"rule/greet/failed"),
            !allowed || file.contains("vm-*"),
            "{file}"
        );
    }
}

#[test]
fn what_may_be_done_is_explained_by_the_line() {
    let mut bench = bench(&["db-1", "web-1", "web-9"]);
    bench.master.set_roles(roles(DEPLOYER));
    let mut can = |who: &str, function: &str, target: Option<&str>| {
        let request = Request::Can {
            who: who.to_owned(),
            function: function.to_owned(),
            target: target.map(str::to_owned),
            states: vec!["web".to_owned()],
            command: vec!["uptime".to_owned()],
        };
        bench.ask(request)
    };
    for (who, function, target, wanted) in [
        (
            "deployer",
            "state.apply",
            Some("web-*"),
            "false web-1 allowed roles.yaml:7, web-9 denied roles.yaml:5",
        ),
        ("deployer", "state.apply", Some("web-1"), "true web-1 allowed roles.yaml:7"),
        ("deployer", "cmd.run", Some("web-1"), "false web-1 no line"),
        ("deployer", "state.apply", Some("nobody"), "false "),
        ("deployer", "event.send", None, "false "),
        ("root", "cmd.run", Some("web-1"), "true web-1 allowed built in"),
        ("rule:greet", "event.send", None, "true "),
    ] {
        let effects = can(who, function, target);
        let Some(Reply::Can(view)) = reply(&effects) else { panic!("{effects:?}") };
        let minions = view.minions.iter().map(|it| {
            format!("{} {} {}", it.minion, it.verdict, it.line.as_deref().unwrap_or("")).trim().to_owned()
        });
        let said = format!("{} {}", view.allowed, minions.collect::<Vec<_>>().join(", "));
        assert_eq!(said, wanted, "{who} {function} {target:?}");
    }
    assert_eq!(refusal(&can("stranger", "cmd.run", None)).unwrap().0, ErrorKind::NotFound);
    let mistaken = can("deployer", "cmd.rn", None);
    assert_eq!(refusal(&mistaken).unwrap().0, ErrorKind::Usage);
}

#[test]
fn a_broken_edit_of_the_roles_is_told_and_the_last_good_one_stays() {
    let mut bench = bench(&["web-1"]);
    bench.step(crate::core::Input::Roles(roles(DEPLOYER)));
    let errors = Roles::parse("roles.yaml", "roles: 7\n").diagnostics;
    let effects = bench.step(crate::core::Input::BrokenRoles(errors.clone()));
    assert_eq!(tags(&effects), ["roles/broken"]);
    assert_eq!(bench.step(crate::core::Input::BrokenRoles(errors)).len(), 0, "once");
    let Some(Reply::Status(status)) = reply(&bench.ask(Request::Status)).cloned() else { panic!() };
    assert_eq!(status.tree_errors.len(), 1);
    let effects = bench.ask_as(by("deployer"), Request::Expand { target: "web-1".to_owned() });
    assert!(refusal(&effects).is_none(), "{effects:?}");
    let effects = bench.step(crate::core::Input::Roles(Arc::default()));
    assert_eq!(kept(&effects).1.len(), 1, "an edit of the roles is in the log");
    let effects = bench.ask_as(by("deployer"), Request::Expand { target: "web-1".to_owned() });
    assert!(refusal(&effects).unwrap().1.contains("does not exist (any more)"));
}

#[test]
fn what_was_accepted_goes_on_when_its_role_is_taken_away() {
    let mut bench = bench(&["web-1"]);
    bench.received(1, &["web-1"], command());
    bench.step(crate::core::Input::Roles(roles("rules: {default: none}\n")));
    bench.say("web-1", result(JobId(1), Terminal::Ok));
    assert_eq!(bench.word(1, "web-1"), Some(Terminal::Ok));
}

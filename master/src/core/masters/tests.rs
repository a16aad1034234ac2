//! Lists of masters as scripts: who is sent which, and what an operator may put into use.

use crate::core::{test_kit::*, *};
use bus::Identity;
use bus::masters::{MasterEntry, Masters};
use bus::message::{FromMinion, Hello, ToMinion};
use model::{ContentHash, Reply, Request, api::ErrorKind};

fn org() -> Identity {
    Identity::from_secrets([1; 32], [2; 32])
}

fn entry(number: u8) -> MasterEntry {
    MasterEntry {
        name: "lab".to_owned(),
        sign: Identity::from_secrets([number; 32], [2; 32]).public().to_text(),
        tls: ContentHash([number; 32]),
        mqtt: vec!["lab:8883".to_owned()],
        https: vec!["lab:8443".to_owned()],
    }
}

/// A list with these masters; ours is number 7.
fn list(version: u64, masters: &[u8], org: &Identity) -> String {
    Masters { version, masters: masters.iter().map(|it| entry(*it)).collect() }.sign(org)
}

/// With version 3 in use, and `vm-1` and `vm-2` there with version 1 of a release that was never sent another.
fn bench() -> Bench {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let (sign, tls) = (entry(7).sign, entry(7).tls);
    bench.master.use_masters(Listing { org: org().public(), sign, tls, text: list(3, &[7], &org()) });
    bench
}

fn texts(effects: &[Effect]) -> Vec<&str> {
    let text = |it: &&'_ ToMinion| matches!(it, ToMinion::Masters { .. });
    let all = sent(effects).into_iter().filter(text);
    all.filter_map(|it| if let ToMinion::Masters { text } = it { Some(text.as_str()) } else { None })
        .collect()
}

fn install(bench: &mut Bench, text: &str) -> Vec<Effect> {
    bench.ask(Request::InstallMasters { text: text.to_owned() })
}

/// What the shell says when it was put on disk, or could not be.
fn kept(bench: &mut Bench, effects: &[Effect], failure: Option<&str>) -> Vec<Effect> {
    let keep = effects.iter().find_map(|it| match it {
        Effect::KeepMasters { ticket, text } => Some((*ticket, text.clone())),
        _ => None,
    });
    let (ticket, text) = keep.expect("it is to be put on disk");
    bench.step(Input::MastersKept { ticket, text, failure: failure.map(str::to_owned) })
}

#[test]
fn who_has_an_older_list_is_sent_the_one_in_use_after_its_welcome() {
    for (version, is_sent) in [(0, true), (2, true), (3, false), (4, false)] {
        let mut bench = bench();
        let effects = bench.back("vm-1", Hello { masters: version, ..hello() });
        assert!(matches!(sent(&effects)[0], ToMinion::Welcome { .. }));
        let expected = if is_sent { vec![list(3, &[7], &org())] } else { Vec::new() };
        assert_eq!(texts(&effects), expected, "{version}");
        assert_eq!(bench.counted("minion with a newer list of masters"), u64::from(version > 3));
    }
}

#[test]
fn only_a_newer_list_of_this_organization_that_names_this_master_is_put_into_use() {
    let stranger = Identity::from_secrets([9; 32], [2; 32]);
    let unsigned = serde_json::to_string(&Masters { version: 4, masters: vec![entry(7)] }).unwrap();
    let half = MasterEntry { tls: ContentHash([8; 32]), ..entry(7) };
    let half = Masters { version: 4, masters: vec![half] }.sign(&org());
    for (what, text, expected) in [
        ("the same", list(3, &[7], &org()), Ok(false)),
        ("a newer one", list(4, &[7, 8], &org()), Ok(true)),
        ("much newer", list(900, &[8, 7], &org()), Ok(true)),
        ("older", list(2, &[7, 8], &org()), Err("older than 3")),
        ("the same version, another text", list(3, &[7, 8], &org()), Err("another list with version 3")),
        ("of a stranger", list(4, &[7], &stranger), Err("not signed")),
        ("not signed at all", unsigned, Err("malformed")),
        ("without this master", list(4, &[8], &org()), Err("minions would refuse it")),
        ("with another TLS key of this master", half, Err("minions would refuse it")),
        ("without anybody", list(4, &[], &org()), Err("0 masters")),
        ("no list", "{}".to_owned(), Err("malformed")),
    ] {
        let mut bench = bench();
        let effects = install(&mut bench, &text);
        let keeps = effects.iter().any(|it| matches!(it, Effect::KeepMasters { .. }));
        let audited = records(&effects).iter().any(|it| matches!(it, Entry::Audit(_)));
        match expected {
            Ok(fresh) => assert_eq!((keeps, audited, refusal(&effects)), (fresh, fresh, None), "{what}"),
            Err(part) => {
                let (_, message) = refusal(&effects).unwrap();
                assert!(message.contains(part) && !keeps && !audited, "{what}: {message}");
            }
        }
        assert!(texts(&effects).is_empty(), "nobody is sent what is not on disk: {what}");
    }
}

#[test]
fn a_list_is_in_use_once_it_is_on_disk_and_not_if_it_cannot_be() {
    let (mut bench, newer) = (bench(), list(4, &[7, 8], &org()));
    let effects = install(&mut bench, &newer);
    let effects = kept(&mut bench, &effects, Some("no space left"));
    assert!(refusal(&effects).unwrap().1.contains("no space left"));
    assert!(texts(&effects).is_empty());
    let effects = install(&mut bench, &newer);
    let effects = kept(&mut bench, &effects, None);
    assert_eq!(texts(&effects), [newer.as_str(); 2]);
    assert_eq!(tags(&effects), ["master/masters"]);
    assert!(matches!(reply(&effects), Some(Reply::Done(_))));
    let effects = bench.back("vm-1", Hello { masters: 3, ..hello() });
    assert_eq!(texts(&effects), [newer.as_str()]);
}

#[test]
fn one_list_is_put_on_disk_after_the_other() {
    let mut bench = bench();
    let newer = install(&mut bench, &list(5, &[7], &org()));
    let refused = install(&mut bench, &list(6, &[7], &org()));
    assert_eq!(refusal(&refused).unwrap().0, ErrorKind::Unavailable);
    kept(&mut bench, &newer, None);
    let older = install(&mut bench, &list(4, &[7, 8], &org()));
    assert!(refusal(&older).unwrap().1.contains("older than 5"));
    let failed = install(&mut bench, &list(6, &[7], &org()));
    assert!(refusal(&kept(&mut bench, &failed, Some("no room"))).is_some());
    let again = install(&mut bench, &list(6, &[7], &org()));
    assert!(refusal(&kept(&mut bench, &again, None)).is_none(), "what failed may be tried again");
}

#[test]
fn who_has_not_said_that_it_has_the_list_is_behind() {
    let mut bench = bench();
    let view = |bench: &mut Bench| match reply(&bench.ask(Request::Masters)) {
        Some(Reply::Masters(view)) => view.clone(),
        other => panic!("{other:?}"),
    };
    let before = view(&mut bench);
    assert_eq!((before.version, before.known_by, before.behind), (3, 0, 2));
    assert!(before.masters[0].own);
    bench.back("vm-1", Hello { masters: 3, ..hello() });
    let after = view(&mut bench);
    assert_eq!((after.known_by, after.behind_names), (1, vec![id("vm-2")]));
    bench.disconnect("vm-1");
    assert_eq!(view(&mut bench).known_by, 1, "it has it also while it is away");
}

/// Of the minions that are here: version and masters of the list that each says it has, or no word of which; whether it
/// counts as having ours (version 3 with master 7), and whether it will not take it.
type Having = (u64, Option<&'static [u8]>, bool, bool);

#[test]
fn only_who_has_the_very_same_list_has_it() {
    let cases: &[Having] = &[
        (3, Some(&[7]), true, false),
        // A release that says only the version is believed to.
        (3, None, true, false),
        // The list of before a restore, or of another master that was restored.
        (3, Some(&[8]), false, true),
        (3, Some(&[7, 8]), false, true),
        (4, Some(&[7]), false, true),
        (4, None, false, true),
        (2, Some(&[7]), false, false),
        (2, None, false, false),
    ];
    for (version, masters, has_it, stuck) in cases {
        let case = format!("{version} {masters:?}");
        let mut bench = bench();
        let hash = masters.map(|it| Masters::hash(&list(*version, it, &org())).unwrap());
        bench.back("vm-1", Hello { masters: *version, masters_hash: hash, ..hello() });
        let Some(Reply::Masters(view)) = reply(&bench.ask(Request::Masters)).cloned() else { panic!() };
        assert_eq!(view.known_by, u32::from(*has_it), "{case}");
        assert_eq!(view.behind_names.contains(&id("vm-1")), !has_it, "{case}");
        assert_eq!((view.other, view.other_names == [id("vm-1")]), (u32::from(*stuck), *stuck), "{case}");
        assert_eq!(view.newest, if *stuck { *version } else { 3 }, "{case}");
        let effects = install(&mut bench, &list(4, &[7, 8], &org()));
        let Some(Reply::Done(told)) = reply(&kept(&mut bench, &effects, None)).cloned() else { panic!() };
        assert_eq!(told.len() > 1, *version == 4, "{case}: who will not take it is told: {told:?}");
    }
}

#[test]
fn a_master_without_a_list_sends_none_and_takes_none() {
    let mut bench = Bench::with(&["vm-1"]);
    assert!(texts(&bench.back("vm-1", Hello { masters: 0, ..hello() })).is_empty());
    assert!(refusal(&install(&mut bench, &list(4, &[7], &org()))).is_some());
    assert!(refusal(&bench.ask(Request::Masters)).is_some());
    bench.say("vm-1", FromMinion::Heartbeat { running: None });
}

#[test]
fn without_the_defences_an_older_and_a_foreign_list_come_into_use() {
    let stranger = Identity::from_secrets([9; 32], [2; 32]);
    for (part, text) in
        [("masters-version", list(2, &[7], &org())), ("masters-signature", list(4, &[7], &stranger))]
    {
        let keeps = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::KeepMasters { .. }));
        let mut bench = bench();
        assert!(!keeps(&install(&mut bench, &text)), "{part}");
        let broken = model::broken::without(Some(part), || install(&mut bench, &text));
        assert!(keeps(&broken), "{part}");
    }
}

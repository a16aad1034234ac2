//! Lists of masters: new keys without touching a minion, a second master, and lists that are not to be believed.

use super::keys;
use bus::Identity;
use bus::masters::Masters;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::{
    lab::{LIMIT, Lab, Said, said},
    program, wait,
};

fn labmaster(lab: &Lab, arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(program("labmaster"));
    command.args(arguments).env("LABMASTER_ROOT", lab.root());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    said(&child.wait_with_output().unwrap())
}

/// Takes the org key off the machine; where it is now.
fn take_org_key(lab: &Lab) -> PathBuf {
    let keys = lab.root().join("var/lib/labctl/master/keys");
    let away = lab.folder().join("stick");
    fs::create_dir_all(&away).unwrap();
    for name in ["org.pem", "org-seal.pem"] {
        fs::rename(keys.join(name), away.join(name)).unwrap();
    }
    away.join("org.pem")
}

fn sign(lab: &Lab, org_key: &Path, list: &str) -> PathBuf {
    let signed =
        labmaster(lab, &["masters", "sign", "--org-key", &org_key.display().to_string()], list).expect(0);
    let path = lab.folder().join(format!("masters-{}.json", fs::read_dir(lab.folder()).unwrap().count()));
    fs::write(&path, signed.stdout).unwrap();
    path
}

fn install(lab: &Lab, path: &Path) -> Said {
    lab.labctl(&["master", "masters", "install", &path.display().to_string()])
}

fn view(lab: &Lab) -> Value {
    lab.labctl(&["master", "masters", "-o", "json"]).expect(0).json()
}

fn wait_known_by(lab: &Lab, minions: u64) {
    wait::until(&format!("{minions} minions to have the list\n{}", lab.logs()), LIMIT, || {
        (view(lab)["known_by"].as_u64()? == minions).then_some(())
    });
}

fn answers(lab: &Lab, id: &str) {
    wait::until(&format!("{id} to answer\n{}", lab.logs()), LIMIT, || {
        (lab.labctl(&["target", id, "ping"]).code == 0).then_some(())
    });
}

#[test]
fn the_keys_of_a_master_are_changed_without_touching_a_minion() {
    let mut lab = Lab::start();
    let seed = lab.seed("*", &[]);
    for id in ["vm-1", "asleep"] {
        lab.launch(id, &seed);
        lab.wait_up(id);
    }
    lab.agent(1).signal("TERM");
    let org_key = take_org_key(&lab);
    let pids = lab.agent(0).pid();

    let list = labmaster(&lab, &["masters", "next"], "").expect(0).stdout;
    let early = labmaster(&lab, &["masters", "switch", "--force"], "").expect(1);
    assert!(early.stderr.contains("does not name the next keys"), "{early:?}");
    install(&lab, &sign(&lab, &org_key, &list)).expect(0);
    wait_known_by(&lab, 1);
    let early = labmaster(&lab, &["masters", "switch"], "").expect(1);
    assert!(early.stderr.contains("asleep"), "it says who does not know the new keys: {early:?}");
    labmaster(&lab, &["masters", "switch", "--force"], "").expect(0);
    let before = view(&lab);
    lab.signal_master("TERM");
    lab.start_master();
    answers(&lab, "vm-1");
    let own = |view: &Value| {
        let all = view["masters"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["own"] == true).unwrap()["sign"].as_str().unwrap().to_owned()
    };
    assert_ne!(own(&before), own(&view(&lab)));

    let list = labmaster(&lab, &["masters", "drop"], "").expect(0).stdout;
    install(&lab, &sign(&lab, &org_key, &list)).expect(0);
    wait_known_by(&lab, 1);
    assert_eq!(view(&lab)["masters"].as_array().unwrap().len(), 1);
    answers(&lab, "vm-1");
    assert_eq!(lab.agent(0).pid(), pids);
    assert_eq!(lab.agent(0).log().matches("accepted").count(), 1, "it was never enrolled again");

    // Who slept through all of it trusts nobody who answers, and finds the list by its signature.
    lab.restart(1);
    answers(&lab, "asleep");
    assert!(lab.agent(1).log().contains("looking for a newer list"), "{}", lab.agent(1).log());
    // So does a new machine with a seed from before.
    lab.launch("young", &seed);
    lab.wait_up("young");
}

#[test]
fn a_list_that_is_older_unsigned_or_anothers_is_refused_by_master_and_minion() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    let org_key = take_org_key(&lab);
    let shown = labmaster(&lab, &["masters", "show"], "").expect(0).stdout;
    let first: Masters = serde_json::from_str(&shown).unwrap();
    let edition = |version: u64| serde_json::to_string(&Masters { version, ..first.clone() }).unwrap();
    let newest = sign(&lab, &org_key, &edition(first.version + 5));
    install(&lab, &newest).expect(0);
    install(&lab, &newest).expect(0);
    wait_known_by(&lab, 1);
    let unsigned = lab.folder().join("unsigned.json");
    fs::write(&unsigned, edition(first.version + 9)).unwrap();
    let stranger = lab.folder().join("stranger.json");
    let theirs = Masters { version: first.version + 9, ..first.clone() }.sign(&Identity::generate());
    fs::write(&stranger, &theirs).unwrap();
    let older = sign(&lab, &org_key, &edition(first.version + 1));
    for (path, part) in [(&unsigned, "malformed"), (&stranger, "not signed"), (&older, "older than")] {
        let refused = install(&lab, path).expect(2);
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    answers(&lab, "vm-1");

    // Somebody alters what the master keeps: it does not start with a list that nobody signed, and an older one is
    // not taken by a minion that has a newer one.
    lab.signal_master("TERM");
    let kept = lab.root().join("var/lib/labctl/master/masters.json");
    fs::copy(&older, &kept).unwrap();
    lab.start_master();
    answers(&lab, "vm-1");
    let on_disk = fs::read_to_string(lab.agent(0).folder.join("state/masters.json")).unwrap();
    assert_eq!(on_disk.trim(), fs::read_to_string(&newest).unwrap().trim());
    lab.signal_master("TERM");
    fs::write(&kept, theirs).unwrap();
    let run = Command::new(program("labmaster")).arg("run").arg("--root").arg(lab.root()).output().unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("not signed"), "{run:?}");
}

#[test]
fn a_minion_with_another_list_of_the_same_version_does_not_count_and_is_got_back_by_a_newer_one() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    let org_key = take_org_key(&lab);
    let shown = labmaster(&lab, &["masters", "show"], "").expect(0).stdout;
    let first: Masters = serde_json::from_str(&shown).unwrap();
    // The master is restored from a backup: of the edition that the minion has it knows nothing, and makes another.
    let mut forgotten = Masters { version: first.version + 1, ..first.clone() };
    forgotten.masters[0].name = "before the restore".to_owned();
    let forgotten = sign(&lab, &org_key, &serde_json::to_string(&forgotten).unwrap());
    lab.agent(0).signal("TERM");
    wait::until("the agent to end", LIMIT, || lab.agent(0).ended().then_some(()));
    fs::copy(&forgotten, lab.agent(0).folder.join("state/masters.json")).unwrap();
    lab.restart(0);
    let list = labmaster(&lab, &["masters", "next"], "").expect(0).stdout;
    install(&lab, &sign(&lab, &org_key, &list)).expect(0);
    wait::until("it to be known to have another list", LIMIT, || {
        (view(&lab)["other_names"][0] == "vm-1").then_some(())
    });
    let newest = view(&lab)["newest"].as_u64().unwrap();
    assert_eq!(newest, first.version + 1);
    let refused = labmaster(&lab, &["masters", "switch"], "").expect(1);
    let remedy = format!("raise `version` of the list above {newest}");
    assert!(refused.stderr.contains("vm-1") && refused.stderr.contains(&remedy), "{refused:?}");
    let told = lab.labctl(&["master", "masters"]).expect(0);
    assert!(
        told.stdout.contains("1 of these have another list") && told.stdout.contains(&remedy),
        "{told:?}"
    );

    let mut list: Masters = serde_json::from_str(&list).unwrap();
    list.version = newest + 1;
    install(&lab, &sign(&lab, &org_key, &serde_json::to_string(&list).unwrap())).expect(0);
    wait_known_by(&lab, 1);
    labmaster(&lab, &["masters", "switch"], "").expect(0);
    lab.signal_master("TERM");
    lab.start_master();
    answers(&lab, "vm-1");
}

#[test]
fn a_stranger_reads_the_signed_list_and_nothing_else_of_it() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    let address = format!("127.0.0.1:{}", lab.https());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    bus::tls::install_provider();
    let get = |path: &'static str| {
        runtime.block_on(bus::http::text(&address, bus::tls::anybody_config(), path, 64 << 10))
    };
    let kept = fs::read_to_string(lab.root().join("var/lib/labctl/master/masters.json")).unwrap();
    assert_eq!(get("/masters.json").unwrap(), kept);
    for path in ["/api/v1/masters", "/api/v1/master", "/api/v1/keys"] {
        assert!(get(path).unwrap_err().to_string().ends_with("answered 401"), "{path}");
    }
    let minion = Identity::load(&lab.agent(0).folder.join("state"), "key").unwrap();
    let tls = bus::tls::client_config(&[pin(&kept, &lab)], Some(&minion));
    let refused = runtime.block_on(bus::http::text(&address, tls, "/api/v1/masters", 1024)).unwrap_err();
    assert!(refused.to_string().ends_with("answered 403"), "a minion neither: {refused}");
}

fn pin(text: &str, lab: &Lab) -> model::ContentHash {
    let public = fs::read_to_string(lab.root().join("var/lib/labctl/master/keys/org.pub")).unwrap();
    let org = bus::PublicKey::from_text(public.trim()).unwrap();
    Masters::open(text, &org).unwrap().pins()[0]
}

/// Two masters of one organization, in one list.
fn two_masters() -> (Lab, Lab) {
    let first = Lab::start();
    let mut second = Lab::prepare();
    let (ours, theirs) =
        (first.root().join("var/lib/labctl/master"), second.root().join("var/lib/labctl/master"));
    for name in ["org.pem", "org-seal.pem", "org.pub"] {
        fs::copy(ours.join("keys").join(name), theirs.join("keys").join(name)).unwrap();
    }
    fs::remove_file(theirs.join("masters.json")).unwrap();
    second.start_master();
    let org_key = take_org_key(&first);
    let other = theirs.join("masters.json").display().to_string();
    let both = labmaster(&first, &["masters", "add", &other], "").expect(0).stdout;
    let both = sign(&first, &org_key, &both);
    install(&first, &both).expect(0);
    install(&second, &both).expect(0);
    (first, second)
}

#[test]
fn a_minion_goes_to_another_master_of_the_list_and_comes_back_as_who_it_was() {
    let (mut first, mut second) = two_masters();
    first.minions(&["vm-1"]);
    let key = keys(&first, "vm-1")[0].1.clone();

    first.signal_master("KILL");
    // The token that it has is the first one's: here it waits, with the key that it has always had.
    let waiting = wait::until("it to ask the second one", Duration::from_mins(1), || {
        keys(&second, "vm-1").into_iter().next()
    });
    assert_eq!((waiting.0.as_str(), &waiting.1), ("pending", &key));
    second.labctl(&["key", "accept", "vm-1", "--fingerprint", &key]).expect(0);
    second.wait_up("vm-1");
    second.labctl(&["target", "vm-1", "ping"]).expect(0);
    first.start_master();
    second.signal_master("KILL");
    answers(&first, "vm-1");
    assert_eq!(keys(&first, "vm-1")[0].1, key);
}

#[test]
fn a_master_that_is_away_for_a_while_finds_its_minions_again_though_another_answers() {
    let (mut first, second) = two_masters();
    first.minions(&["vm-1"]);
    first.signal_master("KILL");
    wait::until("it to ask the second one", Duration::from_mins(1), || {
        keys(&second, "vm-1").into_iter().next()
    });
    first.start_master();
    // Nobody accepts it there; it looks for the first one again within a minute.
    wait::until("it to be back", Duration::from_secs(100), || {
        (first.labctl(&["target", "vm-1", "ping"]).code == 0).then_some(())
    });
}

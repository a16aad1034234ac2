//! The real program against a scripted gate: enrolment, jobs, strangers, crashes.

mod conduct;
mod course;
mod gate;

use bus::message::{EnrollAnswer, EnrollRequest, FromMinion, ToMinion};
use bus::{Identity, Topic};
use gate::{Gate, command, eventually, lines, now, offer};
use model::{JobId, Recipe, Terminal};
use std::time::Instant;

#[tokio::test]
async fn a_first_boot_enrols_with_its_token_and_says_hello_as_a_member() {
    let gate = Gate::open().await;
    let (seed, terms) = gate.seed();
    std::fs::write(gate.dir.path().join("seed.json"), serde_json::to_string(&seed).unwrap()).unwrap();
    let begin = Instant::now();
    let _minion = gate.minion();
    let mut talk = gate.accept().await;
    let key = talk.key;
    let request: EnrollRequest = talk.hear().await;
    assert_eq!(request.minion.as_str(), "vm-1");
    assert_eq!(request.sign, key.to_text());
    assert_eq!(request.token, seed.token.map(|token| token.statement));
    let signature = request.image_sig.as_deref().unwrap();
    assert!(bus::seed::verify_request(&terms, signature, &key.fingerprint(), &request.minion));
    talk.say(&EnrollAnswer::Pending { reason: "wait".to_owned() }, &gate.signer).await;
    talk.say(&EnrollAnswer::Accepted { minion: request.minion }, &gate.signer).await;
    let (mut talk, hello) = gate.member().await;
    println!("start to hello: {} ms", begin.elapsed().as_millis());
    assert_eq!(talk.key, key);
    assert!(hello.first_of_boot && hello.sandbox);
    assert_eq!(hello.boot, "boot-1");
    assert_eq!(hello.grains.unwrap()["id"], "vm-1");
    talk.welcome(&gate.signer).await;
    let FromMinion::Event { number: 1, tag, data, .. } = talk.hear().await else { panic!("no start event") };
    assert_eq!((tag.as_str(), &data["boot"]), ("start", &serde_json::json!(true)));
    let text = std::fs::read_to_string(gate.dir.path().join("seed.json")).unwrap();
    assert!(bus::seed::Seed::parse(&text).unwrap().token.is_some(), "a given seed stays as it is");
}

#[tokio::test]
async fn an_answer_of_another_master_makes_no_member() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let mut talk = gate.accept().await;
    let request: EnrollRequest = talk.hear().await;
    let stranger = Identity::generate();
    talk.say(&EnrollAnswer::Accepted { minion: request.minion }, &stranger).await;
    let again: EnrollRequest = talk.hear().await;
    assert_eq!(again.sign, request.sign, "it still asks");
}

#[tokio::test]
async fn a_job_is_run_once_however_often_it_is_offered() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    let job = command(1, "echo ran >> ledger; echo said", &key, true);
    talk.say(&job, &gate.signer).await;
    let received = talk.until(|message| match message {
        FromMinion::Received { job } => Some(job),
        _ => None,
    });
    assert_eq!(received.await, JobId(1));
    let result = talk.result().await;
    assert_eq!(result.word, Terminal::Changed, "{result:?}");
    let report = result.report.unwrap();
    assert!(report.sandbox);
    assert_eq!(report.steps[0].output.as_ref().unwrap().stdout, "said\n");
    talk.say(&job, &gate.signer).await;
    assert_eq!(talk.result().await.job, JobId(1));
    talk.say(&ToMinion::Ack { jobs: vec![JobId(1)], events: Some(1) }, &gate.signer).await;
    talk.say(&job, &gate.signer).await;
    assert_eq!(talk.result().await.word, Terminal::Changed);
    assert_eq!(lines(&ledger), 1);
}

#[tokio::test]
async fn offers_of_another_master_replayed_altered_or_for_another_are_not_run() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    let stranger = Identity::generate();
    let foreign = command(1, "echo foreign >> ledger", &key, true);
    talk.say(&foreign, &stranger).await;
    // It does not go on with a connection on which something was not believed.
    while talk.next::<FromMinion>().await.is_some() {}
    let header = |seq| bus::Header { session: "s".to_owned(), seq, iat: now(), exp: None };
    let good = |seq, topic: &Topic| bus::envelope::seal(topic, &header(seq), &foreign, &gate.signer);
    let other = Topic::In("vm-2".parse().unwrap());
    let own = Topic::In("vm-1".parse().unwrap());
    let altered = String::from_utf8(good(1, &own)).unwrap().replace("\"test\"", "\"tess\"").into_bytes();
    for payload in [good(1, &other), good(1, &own), good(7, &own), altered] {
        let (mut talk, _) = gate.member().await;
        talk.send_raw(payload).await;
        while talk.next::<FromMinion>().await.is_some() {}
    }
    // A genuine offer, heard on the wire: again in the same session, in a new one, and with a byte changed.
    let (mut talk, _) = gate.member().await;
    talk.welcome(&gate.signer).await;
    let genuine = talk.sealed(&command(3, "echo genuine >> ledger", &key, true), &gate.signer);
    talk.send_raw(genuine.clone()).await;
    assert_eq!(talk.result().await.job, JobId(3));
    talk.send_raw(genuine.clone()).await;
    while talk.next::<FromMinion>().await.is_some() {}
    let mut flipped = genuine.clone();
    flipped[genuine.len() / 2] ^= 1;
    for payload in [genuine, flipped] {
        let (mut talk, _) = gate.member().await;
        talk.welcome(&gate.signer).await;
        talk.send_raw(payload).await;
        while talk.next::<FromMinion>().await.is_some() {}
    }
    let (mut talk, _) = gate.member().await;
    talk.welcome(&gate.signer).await;
    talk.say(&command(2, "echo own >> ledger", &key, true), &gate.signer).await;
    while talk.result().await.job != JobId(2) {}
    assert_eq!(std::fs::read_to_string(ledger).unwrap(), "genuine\nown\n");
}

#[tokio::test]
async fn a_recipe_that_was_sealed_for_another_key_is_refused() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, _) = gate.enrolled().await;
    let other = Identity::generate().seal_key();
    talk.say(&offer(1, &Recipe::default(), &other, false), &gate.signer).await;
    assert_eq!(talk.result().await.word, Terminal::Refused);
}

#[tokio::test]
async fn a_worker_outlives_a_killed_agent_and_is_found_again() {
    let gate = Gate::open().await;
    let mut minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let (ledger, go) = (gate.sandbox().join("ledger"), gate.sandbox().join("go"));
    let line = "echo began >> ledger; while [ ! -e go ]; do sleep 0.01; done; echo ended >> ledger";
    talk.say(&command(1, line, &key, true), &gate.signer).await;
    eventually("the command begins", || lines(&ledger) == 1).await;
    minion.0.kill().unwrap();
    minion.0.wait().unwrap();
    let _again = gate.minion();
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.running, Some(JobId(1)));
    assert!(!hello.first_of_boot, "an agent that starts again is no boot");
    talk.welcome(&gate.signer).await;
    std::fs::write(go, "").unwrap();
    let result = talk.result().await;
    assert_eq!(result.word, Terminal::Changed, "{result:?}");
    assert_eq!(std::fs::read_to_string(ledger).unwrap(), "began\nended\n");
}

#[tokio::test]
async fn when_agent_and_worker_are_gone_a_command_is_interrupted_and_a_state_run_starts_over() {
    for (at_most_once, word, runs) in [(true, Terminal::Interrupted, 1), (false, Terminal::Changed, 2)] {
        let gate = Gate::open().await;
        let mut minion = gate.minion();
        let (mut talk, key) = gate.enrolled().await;
        let ledger = gate.sandbox().join("ledger");
        // The worker ends itself the first time: its own process is the parent of the shell.
        let line = "echo began >> ledger; if [ ! -e second ]; then touch second; kill -9 $PPID; sleep 30; fi";
        minion.0.kill().unwrap();
        minion.0.wait().unwrap();
        drop(talk);
        minion = gate.minion();
        (talk, _) = gate.member().await;
        talk.welcome(&gate.signer).await;
        talk.say(&command(1, line, &key, at_most_once), &gate.signer).await;
        let result = talk.result().await;
        assert_eq!(result.word, word, "{result:?}");
        assert_eq!(lines(&ledger), runs);
        drop(minion);
    }
}

#[tokio::test]
async fn cancel_stops_a_command_that_runs() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    talk.say(&command(1, "echo began >> ledger; sleep 60; echo ended >> ledger", &key, true), &gate.signer)
        .await;
    eventually("the command begins", || lines(&ledger) == 1).await;
    talk.say(&ToMinion::Cancel { job: JobId(1) }, &gate.signer).await;
    assert_eq!(talk.result().await.word, Terminal::Cancelled);
    assert_eq!(lines(&ledger), 1);
}

#[tokio::test]
async fn a_removed_minion_drops_its_key_and_asks_anew_with_another() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, _) = gate.enrolled().await;
    let key = talk.key;
    talk.say(&ToMinion::Removed { reason: "removed".to_owned() }, &gate.signer).await;
    let mut talk = gate.accept().await;
    assert!(matches!(talk.inbox, Topic::EnrollIn(_)));
    assert_ne!(talk.key, key);
    let request: EnrollRequest = talk.hear().await;
    assert_eq!(request.token, None, "who was removed is let in by a person, not by what is left in its seed");
}

#[tokio::test]
async fn a_newer_list_of_masters_is_taken_and_an_older_or_forged_one_is_not() {
    let gate = Gate::open().await;
    let _minion = gate.minion();
    let (mut talk, _) = gate.enrolled().await;
    let forged = Gate::open().await.masters(9);
    talk.say(&ToMinion::Masters { text: forged }, &gate.signer).await;
    talk.say(&ToMinion::Masters { text: gate.masters(3) }, &gate.signer).await;
    let (mut talk, hello) = gate.member().await;
    assert_eq!(hello.masters, 3);
    talk.welcome(&gate.signer).await;
    talk.say(&ToMinion::Masters { text: gate.masters(2) }, &gate.signer).await;
    talk.say(&ToMinion::Probe { probe: 1, ask: model::Ask::Ping }, &gate.signer).await;
    talk.until(|message| matches!(message, FromMinion::Answer { probe: 1, .. }).then_some(())).await;
}

#[tokio::test]
async fn sigterm_says_goodbye() {
    let gate = Gate::open().await;
    let minion = gate.minion();
    let (mut talk, _) = gate.enrolled().await;
    let pid = minion.0.id().to_string();
    let status = std::process::Command::new("kill").arg(&pid).status().unwrap();
    assert!(status.success());
    let reason = talk
        .until(|message| match message {
            FromMinion::Goodbye { reason } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, "stop");
    let child = std::cell::RefCell::new(minion);
    eventually("it ends well", || {
        child.borrow_mut().0.try_wait().unwrap().is_some_and(|status| status.success())
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_refuses_new_jobs_loses_no_result_and_recovers_by_itself() {
    let gate = Gate::open().await;
    let minion = gate.minion_with_little_room(900);
    let (mut talk, key) = gate.enrolled().await;
    let ledger = gate.sandbox().join("ledger");
    let (begun, go) = (gate.sandbox().join("begun"), gate.sandbox().join("go"));
    let line = "touch begun; while [ ! -e go ]; do sleep 0.01; done; echo first >> ledger";
    talk.say(&command(1, line, &key, true), &gate.signer).await;
    eventually("the command begins", || begun.exists()).await;
    let filler = format!("echo filler >> ledger # {}", "x".repeat(60_000));
    let mut taken = 0;
    let refused = loop {
        taken += 1;
        assert!(taken < 20, "the disk is never full");
        talk.say(&command(1 + taken, &filler, &key, true), &gate.signer).await;
        let answer = talk.until(|message| match message {
            FromMinion::Received { job } if job != JobId(1) => Some((job, false)),
            FromMinion::Refused { job, .. } => Some((job, true)),
            _ => None,
        });
        if let (job, true) = answer.await {
            break job;
        }
    };
    assert!(refused > JobId(2), "some were taken before");
    let limit = format!("--pid={}", minion.0.id());
    let status = std::process::Command::new("prlimit").arg(limit).arg("--fsize=unlimited:").status().unwrap();
    assert!(status.success());
    std::fs::write(go, "").unwrap();
    let mut ended = Vec::new();
    while ended.len() < usize::try_from(taken).unwrap() {
        ended.push(talk.result().await);
    }
    assert!(ended.iter().all(|it| it.word == Terminal::Changed), "{ended:?}");
    talk.say(&command(99, "echo last >> ledger", &key, true), &gate.signer).await;
    assert_eq!(talk.result().await.job, JobId(99));
    assert_eq!(lines(&ledger), ended.len() + 1, "each once, the refused one never");
}

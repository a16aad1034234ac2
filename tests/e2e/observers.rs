//! Dashboards and integrations are clients that we did not write: mosquitto, paho-mqtt and mqtt.js, against a real master.

pub(crate) mod client;

use client::{Client, User, Way, certificate, has_mosquitto, mosquitto, ways};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write,
    process::{Command, Stdio},
};
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const MANY: usize = 1_000;

/// A master with as many rules as it takes, all of which have seen one event: each has a retained topic.
fn lab_with_many_topics() -> Lab {
    let mut lab = Lab::prepare();
    let rules = (0..MANY).fold(String::new(), |mut text, number| {
        let _ = writeln!(
            text,
            "r{number:04}:\n  on: user/+/fill\n  when: event.no == 1\n  do:\n    - event: {{ tag: never }}"
        );
        text
    });
    lab.tree("reactors/many.yaml", &rules);
    lab.start_master();
    wait::until("the rules to be in use", LIMIT, || {
        let rules = lab.labctl(&["rule", "list", "-o", "name"]);
        (rules.stdout.lines().count() == MANY).then_some(())
    });
    lab.labctl(&["event", "send", "fill", "no=0"]).expect(0);
    lab.labctl(&["status"]).expect(0);
    lab
}

/// Collects retained rule topics until there are as many as there should be: none twice, each as it should be.
fn expect_all(client: &Client, way: &str, qos: u8) {
    let mut topics = BTreeSet::new();
    client.until("all retained topics", |message| {
        assert_eq!(message["retain"], true, "{way}: {message}");
        assert_eq!(message["qos"], qos, "{way}: {message}");
        let payload: Value = serde_json::from_str(message["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload["held"], 1, "{way}: {message}");
        let topic = message["topic"].as_str().unwrap().to_owned();
        assert!(topics.insert(topic), "{way}: comes twice: {message}");
        topics.len() == MANY
    });
    let wanted = (0..MANY).map(|it| format!("lab/rule/r{it:04}/stats"));
    assert!(topics.into_iter().eq(wanted), "{way}");
}

fn all_arrive(lab: &Lab, way: Way, user: &User) {
    let cafile = certificate(lab);
    let mut client = Client::connect(way, lab, &cafile, user).unwrap_or_else(|said| panic!("{way}: {said}"));
    // What was published before is through: from here on nothing of it comes live.
    client.subscribe("lab/event/#", 0);
    marker(lab, &client, way, "through");
    client.unsubscribe("lab/event/#");
    for round in ["once", "twice"] {
        for qos in [0, 1] {
            let named = format!("{way}, QoS {qos}, {round}");
            client.subscribe("lab/rule/+/stats", qos);
            expect_all(&client, &named, qos);
            client.unsubscribe("lab/rule/+/stats");
        }
    }
}

fn all_arrive_at_mosquitto(lab: &Lab, user: &User) {
    let cafile = certificate(lab);
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "0", "1"] {
            let count = MANY.to_string();
            let more =
                ["-V", version, "-q", qos, "-t", "lab/rule/#", "-C", &count, "-W", "30", "-F", "%t %r"];
            let output = mosquitto("mosquitto_sub", lab, &cafile, user, &more);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let wanted = (0..MANY).map(|it| format!("lab/rule/r{it:04}/stats 1"));
            let got: BTreeSet<&str> = said.lines().collect();
            assert!(got.into_iter().eq(wanted), "{version}, QoS {qos}: {output:?}");
        }
    }
}

#[test]
fn a_thousand_retained_topics_arrive_whole_twice_and_after_a_restart() {
    let test = "a_thousand_retained_topics_arrive_whole_twice_and_after_a_restart";
    let mut lab = lab_with_many_topics();
    let user = User::create(&lab, "dashboard", "viewer");
    let ways = ways(test);
    let mosquitto = has_mosquitto(test);
    for round in ["the first life", "after a restart"] {
        eprintln!("{round}");
        for way in &ways {
            all_arrive(&lab, *way, &user);
        }
        if mosquitto {
            all_arrive_at_mosquitto(&lab, &user);
        }
        lab.signal_master("TERM");
        lab.start_master();
    }
}

#[test]
fn the_line_that_labctl_prints_works_as_it_stands() {
    if !has_mosquitto("the_line_that_labctl_prints_works_as_it_stands") {
        return;
    }
    let lab = Lab::start();
    for role in ["viewer", "integration"] {
        let said = lab.labctl(&["token", "create", role, "--role", role]).expect(0);
        let line =
            said.stdout.lines().find_map(|it| it.strip_prefix("try it")).expect("there is a line").trim();
        assert!(line.starts_with("mosquitto_sub "), "{line}");
        let mut child =
            Command::new("sh").args(["-c", &format!("exec {line}")]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let first = lines.next().and_then(Result::ok);
        let _ = child.kill();
        let _ = child.wait();
        let first = first.unwrap_or_else(|| panic!("nothing came: {line}"));
        assert!(first.starts_with("lab/README labctl publishes here"), "{first}");
    }
}

/// Waits until an event comes live; what comes before it is noted. It is sent again until the live stream is there.
fn marker(lab: &Lab, client: &Client, way: Way, name: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let there = wait::try_until(LIMIT, || {
        lab.labctl(&["event", "send", name]).expect(0);
        let came = client.until_within(wait::seconds(2), |message| {
            let topic = message["topic"].as_str().unwrap();
            let first = topic.split('/').next().unwrap();
            assert!(["lab", "homeassistant"].contains(&first), "{way}: {message}");
            seen.insert(topic.to_owned());
            topic.starts_with("lab/event/user/") && topic.ends_with(name)
        });
        came.then_some(())
    });
    assert!(there.is_some(), "{way}: the event {name} never came");
    seen
}

#[test]
fn a_viewer_sees_the_public_tree_only_and_cannot_publish() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    let cafile = certificate(&lab);
    let user = User::create(&lab, "viewer", "viewer");
    for (number, way) in ways("a_viewer_sees_the_public_tree_only_and_cannot_publish").into_iter().enumerate()
    {
        let mut client =
            Client::connect(way, &lab, &cafile, &user).unwrap_or_else(|said| panic!("{way}: {said}"));
        for closed in ["ctl/#", "ctl/+/in", "ctl/vm-1/out", "enroll/#"] {
            assert!(!client.may_subscribe(closed), "{way}: {closed}");
        }
        client.subscribe("#", 1);
        let mut seen = marker(&lab, &client, way, &format!("first-{number}"));
        // A job makes control messages in both directions; nothing of them is seen.
        lab.labctl(&["target", "vm-1", "run", "--", "true"]).expect(0);
        for topic in ["lab/in/viewer/x", "lab/x", "lab/event/user/viewer/x", "ctl/vm-1/in", "enroll/x/out"] {
            let said_well = client.publish(topic, "{\"forged\":1}");
            assert_eq!(said_well, way.version == 4, "{way}: {topic}: only MQTT 5 has a way to say no");
        }
        seen.extend(marker(&lab, &client, way, &format!("second-{number}")));
        seen.extend(client.passed());
        for topic in ["lab/minion/vm-1/availability", "lab/minion/vm-1/grains", "lab/README", "lab/job"] {
            assert!(seen.contains(topic), "{way}: {topic} is not among {seen:?}");
        }
        assert!(!seen.contains("lab/in/viewer/x") && !seen.contains("lab/x"), "{way}: {seen:?}");
        assert!(!seen.contains("lab/event/user/viewer/x"), "{way}: {seen:?}");
    }
    let events = lab.labctl(&["event", "list", "-o", "json"]).expect(0).stdout;
    assert!(!events.contains("forged"), "{events}");
}

#[test]
fn mosquitto_as_a_viewer_is_refused_and_told_so() {
    if !has_mosquitto("mosquitto_as_a_viewer_is_refused_and_told_so") {
        return;
    }
    let lab = Lab::start();
    let cafile = certificate(&lab);
    let user = User::create(&lab, "viewer", "viewer");
    for version in ["mqttv311", "mqttv5"] {
        let more = ["-V", version, "-t", "ctl/#", "-W", "10"];
        let output = mosquitto("mosquitto_sub", &lab, &cafile, &user, &more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("All subscription requests were denied"), "{version}: {output:?}");
        let more = ["-V", version, "-q", "1", "-t", "lab/in/viewer/x", "-m", "forged"];
        let output = mosquitto("mosquitto_pub", &lab, &cafile, &user, &more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.contains("Not authorized"), version == "mqttv5", "{version}: {output:?}");
    }
    let wrong = User { secret: "wrong".to_owned(), ..user };
    let output = mosquitto("mosquitto_sub", &lab, &cafile, &wrong, &["-t", "lab/#", "-W", "10"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let events = lab.labctl(&["event", "list", "-o", "json"]).expect(0).stdout;
    assert!(!events.contains("forged"), "{events}");
}

#[test]
fn what_an_integration_writes_below_its_name_is_an_event() {
    let test = "what_an_integration_writes_below_its_name_is_an_event";
    let lab = Lab::start();
    let cafile = certificate(&lab);
    let user = User::create(&lab, "hass", "integration");
    let listed = |tag: &str, value: &str| {
        wait::until(&format!("the event {tag}"), LIMIT, || {
            let said = lab.labctl(&["event", "list", "-o", "json"]);
            (said.stdout.contains(&format!("\"integration/hass/{tag}\"")) && said.stdout.contains(value))
                .then_some(())
        });
    };
    for (number, way) in ways(test).into_iter().enumerate() {
        let mut client =
            Client::connect(way, &lab, &cafile, &user).unwrap_or_else(|said| panic!("{way}: {said}"));
        let tag = format!("door/x{number}");
        assert!(client.publish(&format!("lab/in/hass/{tag}"), "{\"open\": \"wide\"}"), "{way}");
        listed(&tag, "wide");
        for foreign in ["lab/in/other/door", "lab/in/hass", "lab/minion/vm-1/state", "ctl/vm-1/in"] {
            assert_eq!(client.publish(foreign, "forged"), way.version == 4, "{way}: {foreign}");
        }
    }
    if has_mosquitto(test) {
        for version in ["mqttv311", "mqttv5"] {
            let topic = format!("lab/in/hass/{version}");
            let more = ["-V", version, "-q", "1", "-t", &topic, "-m", "21.5"];
            let output = mosquitto("mosquitto_pub", &lab, &cafile, &user, &more);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            listed(version, "21.5");
        }
    }
    let events = lab.labctl(&["event", "list", "-o", "json"]).expect(0).stdout;
    assert!(!events.contains("forged"), "{events}");
}

#[test]
fn revoking_a_token_ends_its_connections_within_seconds() {
    let lab = Lab::start();
    let cafile = certificate(&lab);
    for (number, way) in ways("revoking_a_token_ends_its_connections_within_seconds").into_iter().enumerate()
    {
        let (gone, stays) = (format!("gone-{number}"), format!("stays-{number}"));
        let (gone, stays) = (User::create(&lab, &gone, "viewer"), User::create(&lab, &stays, "viewer"));
        let connect =
            |user| Client::connect(way, &lab, &cafile, user).unwrap_or_else(|said| panic!("{way}: {said}"));
        let (first, mut second) = (connect(&gone), connect(&stays));
        lab.labctl(&["token", "revoke", &gone.name]).expect(0);
        let revoked = std::time::Instant::now();
        first.wait("disconnect");
        assert!(revoked.elapsed() < wait::seconds(3), "{way}: {:?}", revoked.elapsed());
        assert!(Client::connect(way, &lab, &cafile, &gone).is_err(), "{way}: it came in again");
        assert!(second.may_subscribe("lab/#"), "{way}: the other one stays");
    }
}

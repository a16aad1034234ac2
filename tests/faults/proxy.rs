//! Between master and minion a proxy that cuts, delays, drips and swallows.

use model::Terminal;
use std::time::Duration;
use tests::{
    lab::{LIMIT, Lab},
    promise::Promise,
    proxy::{Proxy, Way},
    wait,
};

/// Where minions look for the master.
const FRONT: &str = "127.0.0.2";

fn lab_behind_proxies() -> (Lab, Promise, [Proxy; 2]) {
    let lab = Lab::prepare_behind(FRONT);
    let promise = Promise::of(&lab);
    let proxies = [lab.mqtt(), lab.https()].map(|port| {
        let at = |host: &str| format!("{host}:{port}").parse().unwrap();
        Proxy::start(at(FRONT), at("127.0.0.1"))
    });
    (lab, promise, proxies)
}

#[test]
fn a_connection_that_is_cut_after_any_number_of_bytes_loses_and_repeats_nothing() {
    let (mut lab, mut promise, [mqtt, https]) = lab_behind_proxies();
    lab.start_master();
    lab.minions(&["vm-1"]);
    // A result in several parts.
    let talk = "seq 40000";
    for bytes in [200, 2_000, 3_500, 6_000, 9_000, 20_000, 90_000, 200_000] {
        for proxy in [&mqtt, &https] {
            proxy.set(Way::CutAfter(bytes));
            proxy.cut();
        }
        let before = mqtt.accepted();
        let command = promise.command(&lab, "vm-1", talk);
        let apply = promise.apply(&lab, "vm-1");
        wait::until("two more connections, or both ends", LIMIT, || {
            let ended = [command, apply].iter().all(|it| crate::points::has_ended(&lab, *it));
            (ended || mqtt.accepted() >= before + 2).then_some(())
        });
        for proxy in [&mqtt, &https] {
            proxy.set(Way::Pass);
            proxy.cut();
        }
        let word = promise.word(&lab, command);
        assert!([Terminal::Changed, Terminal::Interrupted].contains(&word), "{bytes} bytes: {word:?}");
        assert_eq!(promise.word(&lab, apply), Terminal::Changed, "{bytes} bytes");
    }
    promise.hold(&lab);
}

#[test]
fn what_comes_late_or_in_drops_or_not_at_all_is_still_done_once() {
    let (mut lab, mut promise, [mqtt, _https]) = lab_behind_proxies();
    lab.start_master();
    lab.minions(&["vm-1"]);
    let drip = Way::Drip(64, Duration::from_millis(5));
    for way in [Way::Delay(Duration::from_millis(700)), drip, Way::Swallow] {
        mqtt.set(way);
        let jobs = [promise.command(&lab, "vm-1", "true"), promise.apply(&lab, "vm-1")];
        let _ = wait::try_until(wait::seconds(3), || {
            jobs.iter().all(|it| crate::points::has_ended(&lab, *it)).then_some(())
        });
        mqtt.set(Way::Pass);
        if way == Way::Swallow {
            // Bytes are missing in the middle: nothing on this connection can be believed, and nobody may wait for it.
            mqtt.cut();
        }
        for job in jobs {
            assert_eq!(promise.word(&lab, job), Terminal::Changed, "{way:?}");
        }
    }
    // An offer that is on its way until after its expiry.
    mqtt.set(Way::Delay(Duration::from_secs(3)));
    let late = promise.command_for(&lab, "vm-1", "true", Duration::from_secs(2));
    wait::until("the offer to be too late", LIMIT, || crate::points::has_ended(&lab, late).then_some(()));
    assert_eq!(promise.word(&lab, late), Terminal::Expired);
    assert!(!promise.has_begun(late), "nothing runs after its expiry");
    mqtt.set(Way::Pass);
    promise.hold(&lab);
}

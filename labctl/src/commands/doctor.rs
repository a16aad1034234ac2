//! `labctl doctor`: looks for what is wrong, and says what to do.

use super::{Desk, server};
use crate::{
    Ended, Outcome,
    config::{self, Place},
    failure::{Exit, Failure},
    show::{Style, Tone, time},
};
use model::{
    Reply, Request,
    api::{MasterInfo, MasterStatus},
};
use serde_json::json;
use std::time::Instant;

/// Clocks further apart than this are worth a word, in milliseconds.
const CLOCKS_APART_MS: u64 = 5_000;

/// What the master counts of those who come too often.
const TOO_OFTEN: &[&str] = &[
    "too-many-events-of-an-integration",
    "too-many-failed-logins",
    "too-many-jobs-of-a-caller",
    "too-many-requests-from-an-address",
    "too-many-requests-of-a-caller",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Odd,
    Bad,
}

/// One thing looked at.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), remedy: None }
    }
    fn odd(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Odd, what: what.into(), remedy: Some(remedy.into()) }
    }
    fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, what: what.into(), remedy: Some(remedy.into()) }
    }
    fn line(&self, style: &Style) -> String {
        let (tone, icon) = match self.verdict {
            Verdict::Good => (Tone::Good, style.either("✓", "ok")),
            Verdict::Odd => (Tone::Changed, "!"),
            Verdict::Bad => (Tone::Bad, style.either("✗", "x")),
        };
        let arrow = style.either("→", "->");
        let remedy = self.remedy.as_ref().map(|it| format!("       {arrow} {it}")).unwrap_or_default();
        format!("{} {}{remedy}", style.paint(tone, icon), self.what)
    }
}

pub(crate) fn run(desk: &mut Desk<'_>) -> Ended {
    let (findings, exit) = look(desk)?;
    let bad = findings.iter().any(|it| it.verdict == Verdict::Bad);
    let items: Vec<_> = findings
        .iter()
        .map(|it| json!({ "verdict": format!("{:?}", it.verdict).to_lowercase(), "what": it.what, "remedy": it.remedy }))
        .collect();
    let style = desk.screen.style.clone();
    let text: String = findings.iter().map(|it| it.line(&style) + "\n").collect();
    desk.screen.thing("Doctor", json!({ "items": items }), "", &text)?;
    Ok(if bad { exit } else { Exit::Done })
}

fn look(desk: &mut Desk<'_>) -> Outcome<(Vec<Finding>, Exit)> {
    let mut findings = Vec::new();
    let place = config::place(&desk.global)?;
    findings.push(Finding::good(format!("context: {place}")));
    if let Place::Https(https) = &place {
        let address = https.address.clone();
        match desk.session()?.reaches(&address) {
            Ok(took) => findings.push(Finding::good(format!("{address} answers ({} ms)", took.as_millis()))),
            Err(why) => {
                let remedy = "is the name right, does the master run, is a firewall between?";
                findings.push(Finding::bad(format!("{address}: {why}"), remedy));
                return Ok((findings, Exit::NoMaster));
            }
        }
    }
    let began = Instant::now();
    match desk.ask(&Request::Status) {
        Ok(Reply::Status(status)) => {
            let took = began.elapsed().as_millis();
            findings.push(Finding::good(format!(
                "the master {} lets us in and answers ({took} ms)",
                status.name
            )));
            judge(&status, &mut findings);
            let info = server::info(desk)?;
            bus_port(desk, &place, &info, &mut findings)?;
            Ok((findings, Exit::Failed))
        }
        Ok(_) => Err(Failure::new(Exit::NoMaster, "the master answered something else")),
        Err(failure) => {
            let hint = failure.hint.clone().unwrap_or_else(|| "see the message".to_owned());
            findings.push(Finding::bad(failure.message, hint));
            Ok((findings, failure.exit))
        }
    }
}

/// What the master says of itself.
fn judge(status: &MasterStatus, findings: &mut Vec<Finding>) {
    findings.push(version(&status.version));
    let apart = time::now().0.abs_diff(status.now.0);
    findings.push(if apart > CLOCKS_APART_MS {
        let text = format!("clock: this machine and the master are {} apart", time::rough(apart));
        Finding::odd(text + " (nothing depends on it)", "timedatectl set-ntp true")
    } else {
        Finding::good("clock: the same here and there")
    });
    if !status.clock_set {
        findings.push(Finding::odd(
            "the master's clock is not set: it is earlier than what is stored, so a token's expiry is judged by the last stored time only",
            "wait for time synchronisation on the master, or set its clock",
        ));
    }
    if let Some(reason) = &status.degraded {
        findings
            .push(Finding::bad(format!("new jobs are refused: {reason}"), "make room on the master's disk"));
    }
    if status.rules_asleep {
        findings.push(Finding::bad(
            "reactors/ could not be read when the master started: no rule and no schedule acts until it is right",
            "labctl state check",
        ));
    } else if !status.tree_errors.is_empty() {
        let count = status.tree_errors.len();
        findings.push(Finding::bad(
            format!("the newest edit has {count} errors; what was there before is in use"),
            "labctl state check",
        ));
    }
    if !status.fanout {
        findings.push(Finding::bad(
            "the fan-out for observers is down: dashboards see nothing live",
            "it is being started again; the master's log says why",
        ));
    }
    if status.pending_keys > 0 {
        let what = format!("{} keys wait for a decision", status.pending_keys);
        findings.push(Finding::odd(what, "labctl key list --pending"));
    }
    for id in &status.suspended {
        // By its name another key may be meant that asks for the same one.
        let key = status.suspended_keys.get(id).map_or(id.as_str(), model::Fingerprint::as_str);
        findings.push(Finding::bad(
            format!("two machines use the key of {id}: neither is served"),
            format!("end the copy, then labctl key accept {key}; or labctl key revoke {key}, and accept each by the fingerprint of its new key"),
        ));
    }
    let often: Vec<(&String, &u64)> =
        status.refused.iter().filter(|it| TOO_OFTEN.contains(&it.0.as_str())).collect();
    if !often.is_empty() {
        let told: Vec<String> = often.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let what = format!("turned away for coming too often: {}", told.join(", "));
        findings.push(Finding::odd(what, "labctl audit list, and the master's log, say who"));
    }
    if let Some(count) = status.refused.get("not allowed") {
        let what = format!("{count} requests and logins were refused for want of a right");
        findings.push(Finding::odd(what, "labctl audit list says whose"));
    }
    let away = status.lost + status.down;
    if away > 0 {
        findings.push(Finding::odd(format!("{away} minions are away"), "labctl minion list offline"));
    }
}

fn version(master: &str) -> Finding {
    let minor = |text: &str| {
        let mut parts = text.split('.').map(|it| it.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let ours = model::VERSION;
    match (minor(ours), minor(master)) {
        (Some((a, b)), Some((c, d))) if a == c && b.abs_diff(d) <= 1 => {
            Finding::good(format!("versions: labctl {ours}, master {master}"))
        }
        _ => Finding::bad(
            format!("versions: labctl {ours} and master {master} are more than one minor version apart"),
            "upgrade the older one",
        ),
    }
}

fn bus_port(
    desk: &mut Desk<'_>,
    place: &Place,
    info: &MasterInfo,
    findings: &mut Vec<Finding>,
) -> Outcome<()> {
    let host = match place {
        Place::Https(https) => {
            https.address.rsplit_once(':').map_or(&*https.address, |(it, _)| it).to_owned()
        }
        Place::Socket(_) => "127.0.0.1".to_owned(),
    };
    let address = format!("{host}:{}", info.mqtt_port);
    findings.push(match desk.session()?.reaches(&address) {
        Ok(_) => Finding::good(format!("bus: {address} answers")),
        Err(why) => Finding::odd(
            format!("bus: {address}: {why}"),
            "minions and observers need it; labctl itself does not",
        ),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_apart_is_fine_and_more_is_not() {
        let mut parts = model::VERSION.split('.').map(|it| it.parse::<u32>().unwrap());
        let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(version(&format!("{major}.{}.9", minor + 1)).verdict, Verdict::Good);
        assert_eq!(version(&format!("{major}.{}.0", minor + 2)).verdict, Verdict::Bad);
        assert_eq!(version(&format!("{}.{minor}.0", major + 1)).verdict, Verdict::Bad);
        assert_eq!(version("nonsense").verdict, Verdict::Bad);
    }
}

//! `labctl target EXPR reboot`, and what is said before a run with a way back.

use super::{
    Desk, confirm,
    follow::{Follow, Until},
    minion, target, unexpected,
    waves::Waves,
};
use crate::{Ended, Outcome, failure::Exit, show::time};
use clap::Args;
use model::{JobKind, Reply, Request, is_put_back};
use std::{collections::BTreeSet, time::Duration};

/// How long an offer stays good.
const OFFER_MS: u64 = 60_000;
/// Steps that are named before a run with a way back.
const NAMED_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Reboot {
    /// Wait until they are back
    #[arg(long)]
    wait: bool,
    /// How long to wait; the machines reboot all the same
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    timeout: Option<u64>,
    /// What people who are logged in are told
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    waves: Waves,
}

impl Reboot {
    pub(super) fn run(self, desk: &mut Desk<'_>, target: &str) -> Ended {
        let rolling = self.waves.rolling()?;
        let found = minion::expand(desk, target)?;
        let names: Vec<String> = found.minions.iter().map(|it| it.id.to_string()).collect();
        confirm::destructive(desk, "reboot", &names, false)?;
        // Whom a person has said yes to, and nobody who has joined meanwhile.
        let target = names.join(",");
        let request = Request::Submit {
            job: target::new_job_id()?,
            target: target.clone(),
            kind: JobKind::Reboot { message: self.message.unwrap_or_default() },
            expires_ms: OFFER_MS,
            wait: false,
            retry_of: None,
            rolling: rolling.clone().map(Box::new),
        };
        let until = if self.wait || rolling.is_some() { Until::End } else { Until::Rebooting };
        let follow = Follow { until, ..Follow::plainly(self.timeout.map(Duration::from_millis)) };
        target::submit(desk, &request, &target, Some(&follow))
    }
}

/// What an undo would leave, before a run that may be undone by itself.
pub(super) fn tell_what_stays(
    desk: &mut Desk<'_>,
    target: &str,
    states: &[String],
    within_ms: u64,
) -> Outcome<()> {
    let reply = match desk.ask(&Request::Compile { target: target.to_owned(), states: states.to_vec() }) {
        // The submission says so, better.
        Err(failure) if failure.exit == Exit::NoMatch => return Ok(()),
        reply => reply?,
    };
    let Reply::Compiled(views) = reply else { return Err(unexpected(&reply)) };
    let steps = views.iter().flat_map(|it| it.steps.iter().flatten());
    let stays: BTreeSet<String> = steps
        .filter_map(|step| {
            let text = |key: &str| step.get(key).and_then(serde_json::Value::as_str);
            let kind = format!("{}.{}", text("state")?, text("fun")?);
            let name = text("name").unwrap_or_default().lines().next().unwrap_or_default();
            (!is_put_back(&kind)).then(|| format!("{kind} {name}"))
        })
        .collect();
    let within = time::took(within_ms);
    desk.screen.note(&format!(
        "a machine that does not reach the master anew within {within} after the run undoes what it altered"
    ))?;
    if stays.is_empty() {
        return Ok(());
    }
    desk.screen.note("what these steps do is not undone, but for files that they write:")?;
    for step in stays.iter().take(NAMED_MAX) {
        desk.screen.note(&format!("  {step}"))?;
    }
    let more = stays.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        desk.screen.note(&format!("  and {more} more steps"))?;
    }
    Ok(())
}

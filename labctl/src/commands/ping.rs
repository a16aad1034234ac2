//! `labctl target EXPR ping`, and what else is asked of minions beside their work.

use super::{Desk, minion};
use crate::{
    Ended, Outcome,
    cli::Format,
    failure::{Exit, Failure},
    session::{Call, Heard, StreamEnd},
    show::{Tone, json, time},
};
use model::{
    Ask, MinionId, Request, Timestamp,
    api::{ProbeAnswer, ProbeLine},
};
use serde_json::{Value, json};
use std::{ops::ControlFlow, time::Duration};

/// How long minions have for an answer that is no job.
pub(crate) const PROBE_MS: u64 = 5000;

/// What a probe brought.
#[derive(Default)]
pub(crate) struct Probed {
    pub(crate) answers: Vec<ProbeAnswer>,
    pub(crate) unreachable: Vec<(MinionId, Timestamp)>,
    pub(crate) silent: Vec<MinionId>,
}

impl Probed {
    pub(crate) fn exit(&self) -> Exit {
        if self.unreachable.is_empty() && self.silent.is_empty() { Exit::Done } else { Exit::Unanswered }
    }
}

/// Asks, and hands over each line as it comes.
pub(crate) fn probe(
    desk: &mut Desk<'_>,
    target: &str,
    ask: Ask,
    timeout_ms: u64,
    on: &mut dyn FnMut(&mut Desk<'_>, &ProbeLine) -> Outcome<()>,
) -> Outcome<Probed> {
    let request =
        Request::Probe { target: target.to_owned(), ask, timeout_ms: timeout_ms.clamp(1, PROBE_MS) };
    let call = Call {
        path: "/api/v1/probe",
        body: Some(&request),
        until: Some(std::time::Instant::now() + Duration::from_millis(2 * PROBE_MS)),
        tick: Duration::from_secs(1),
    };
    let mut probed = Probed::default();
    let mut session = desk.take_session()?;
    let end = session.stream(&call, &mut |heard| {
        let Heard::Line(line) = heard else { return Ok(ControlFlow::Continue(())) };
        on(desk, &line)?;
        match line {
            ProbeLine::Targets { unreachable, .. } => probed.unreachable = unreachable,
            ProbeLine::Answer(answer) => probed.answers.push(answer),
            ProbeLine::Silent(silent) => probed.silent = silent,
        }
        Ok(ControlFlow::Continue(()))
    });
    desk.put_session(session);
    match end {
        Ok(StreamEnd::Finished | StreamEnd::Stopped) => Ok(probed),
        Ok(StreamEnd::Interrupted) => Err(Failure::new(Exit::Interrupted, "interrupted")),
        Ok(StreamEnd::TimedOut) => Err(Failure::new(Exit::NoMaster, "the master did not end the probe")),
        Ok(StreamEnd::Broken(why)) => Err(Failure::new(Exit::NoMaster, format!("lost the master: {why}"))),
        Err(failure) if failure.exit == Exit::NoMatch => Err(minion::nobody(desk, target)),
        Err(failure) => Err(failure),
    }
}

pub(crate) fn ping(desk: &mut Desk<'_>, target: &str, timeout_ms: u64) -> Ended {
    let mut width = 0;
    let probed = probe(desk, target, Ask::Ping, timeout_ms, &mut |desk, line| {
        if let ProbeLine::Targets { asked, unreachable } = line {
            let ids = asked.iter().chain(unreachable.iter().map(|(id, _)| id));
            width = ids.map(|it| it.as_str().len()).max().unwrap_or(0);
        }
        ping_line(desk, line, width)
    })?;
    if matches!(desk.screen.format, Format::Json | Format::Yaml) {
        let value = json!({
            "answers": json::of(&probed.answers),
            "unreachable": unreachable_value(&probed.unreachable),
            "silent": probed.silent,
        });
        desk.screen.thing("Ping", value, "", "")?;
    } else if desk.screen.human && probed.answers.len() + probed.unreachable.len() + probed.silent.len() > 1 {
        let mut parts = vec![format!("{} up", probed.answers.len())];
        if !probed.unreachable.is_empty() {
            parts.push(format!("{} unreachable", probed.unreachable.len()));
        }
        if !probed.silent.is_empty() {
            parts.push(format!("{} silent", probed.silent.len()));
        }
        desk.screen.note(&parts.join(", "))?;
    }
    Ok(probed.exit())
}

pub(super) fn unreachable_value(unreachable: &[(MinionId, Timestamp)]) -> Vec<Value> {
    unreachable.iter().map(|(minion, seen)| json!({ "minion": minion, "seen_at": seen })).collect()
}

fn ping_line(desk: &mut Desk<'_>, line: &ProbeLine, width: usize) -> Outcome<()> {
    let format = desk.screen.format;
    if format == Format::Jsonl {
        let line = match line {
            ProbeLine::Targets { unreachable, .. } => {
                return unreachable_value(unreachable).into_iter().try_for_each(|it| {
                    let mut it = json::dated(it);
                    it["word"] = "unreachable".into();
                    desk.screen.line(&it.to_string())
                });
            }
            ProbeLine::Answer(answer) => {
                json!({ "minion": answer.minion, "word": "up", "round_trip_us": answer.round_trip_us })
            }
            ProbeLine::Silent(silent) => {
                return silent.iter().try_for_each(|it| {
                    desk.screen.line(&json!({ "minion": it, "word": "timeout" }).to_string())
                });
            }
        };
        desk.screen.line(&line.to_string())?;
        return desk.screen.flush();
    }
    if !matches!(format, Format::Table | Format::Wide | Format::Name) {
        return Ok(());
    }
    let style = desk.screen.style.clone();
    match line {
        ProbeLine::Targets { unreachable, .. } => {
            for (minion, seen) in unreachable.iter().filter(|_| format != Format::Name) {
                let ago = time::ago(*seen, style.now, style.time);
                let word = style.paint(Tone::Away, "unreachable");
                desk.screen.line(&format!(
                    "{:width$}  {}  {word} (last seen {ago})",
                    minion,
                    style.mark("unreachable")
                ))?;
            }
        }
        ProbeLine::Answer(answer) if format == Format::Name => desk.screen.line(answer.minion.as_str())?,
        ProbeLine::Answer(ProbeAnswer { minion, round_trip_us, .. }) => {
            let (whole, part) = (round_trip_us / 1000, round_trip_us % 1000 / 100);
            desk.screen.line(&format!("{minion:width$}  {}  {whole}.{part} ms", style.mark("ok")))?;
        }
        ProbeLine::Silent(silent) => {
            for minion in silent.iter().filter(|_| format != Format::Name) {
                let word = style.paint(Tone::Away, "timeout");
                desk.screen.line(&format!(
                    "{minion:width$}  {}  {word} (connected, did not answer)",
                    style.mark("timeout")
                ))?;
            }
        }
    }
    desk.screen.flush()
}

//! `labctl target EXPR wake`: packets that wake machines, from the master or from a machine in their network.

use super::{Desk, unexpected};
use crate::{
    Ended,
    failure::Exit,
    show::{List, table},
};
use model::{MinionId, Reply, Request, api::FoldedProbe};
use serde_json::json;

pub(super) const EXAMPLES: &str = "\
Examples:
  labctl target hv-2 wake                packets from the master
  labctl target hv-2 wake --via router   from a machine in the network of hv-2

Exit 4: the machine that was to send them did not answer. Exit 1: it sent none.";

/// How a minion's answer begins that could send nothing.
const NOT_SENT: &str = "no packet was sent";

pub(super) fn wake(desk: &mut Desk<'_>, target: String, via: Option<MinionId>) -> Ended {
    let Some(via) = via else { return desk.order(&Request::Wake { target, via: None }) };
    let reply = desk.ask(&Request::Wake { target, via: Some(via) })?;
    let Reply::Probed(probed) = reply else { return Err(unexpected(&reply)) };
    let told = told(&probed);
    if desk.screen.format.is_machine() {
        desk.screen.list(List {
            kind: "Wake",
            table: table::Table::new([]),
            names: told.iter().filter(|it| it.2 == Exit::Done).map(|it| it.0.to_string()).collect(),
            items: told.iter().map(|(minion, said, exit)| json!({ "minion": minion, "sent": *exit == Exit::Done, "said": said })).collect(),
            footer: None,
        })?;
    } else {
        for (minion, said, exit) in &told {
            let line = format!("{minion}: {said}");
            if *exit == Exit::Done { desk.screen.line(&line)? } else { desk.screen.note(&line)? }
        }
    }
    Ok(told.iter().map(|it| it.2).max().unwrap_or(Exit::Unanswered))
}

/// What became of it at each machine that was to send.
fn told(probed: &FoldedProbe) -> Vec<(MinionId, String, Exit)> {
    let answered = probed.answers.iter().map(|it| {
        let said = it.answer.as_str().unwrap_or("it answered something else").to_owned();
        let sent = it.answer.is_string() && !said.starts_with(NOT_SENT);
        (it.minion.clone(), said, if sent { Exit::Done } else { Exit::Failed })
    });
    let away = |word: &'static str| move |it: &MinionId| (it.clone(), word.to_owned(), Exit::Unanswered);
    let unreachable = probed.unreachable.iter().map(away("it is away: no packet was sent"));
    let silent = probed.silent.iter().map(away("it did not answer: nobody knows whether packets were sent"));
    answered.chain(unreachable).chain(silent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::ProbeAnswer;

    #[test]
    fn who_sent_nothing_or_is_silent_is_no_success() {
        let answer = |said: &str| FoldedProbe {
            answers: vec![ProbeAnswer {
                minion: "a".parse().unwrap(),
                round_trip_us: 1,
                answer: json!(said),
            }],
            unreachable: vec![],
            silent: vec![],
        };
        let exit = |probed: &FoldedProbe| told(probed).iter().map(|it| it.2).collect::<Vec<_>>();
        assert_eq!(exit(&answer("packets for 2 network cards were sent")), [Exit::Done]);
        assert_eq!(exit(&answer("no packet was sent: no network")), [Exit::Failed]);
        let away = vec!["a".parse().unwrap()];
        let silent = FoldedProbe { answers: vec![], unreachable: vec![], silent: away.clone() };
        let unreachable = FoldedProbe { answers: vec![], unreachable: away, silent: vec![] };
        assert_eq!((exit(&silent), exit(&unreachable)), (vec![Exit::Unanswered], vec![Exit::Unanswered]));
    }
}

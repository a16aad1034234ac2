//! `labctl can`: whether somebody may do something, and by which line.

use super::{Desk, unexpected};
use crate::{
    Ended,
    failure::Exit,
    show::{Style, Tone, json},
};
use clap::Args;
use model::{
    Reply, Request,
    api::{CanMinion, CanView},
};
use std::fmt::Write;

/// Machines that are shown one by one.
const SHOWN_MAX: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct CanCommand {
    /// A role, a user, an operator's key, or rule:NAME
    who: String,
    /// What: state.apply, cmd.run, job.cancel …; labctl explain roles lists all
    function: String,
    /// On which machines; leave it out for what is about none
    target: Option<String>,
    /// A state that would be applied; may be repeated. None is what top.sls assigns
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<String>,
    /// The words of a command that would be run, for cmd.run
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl CanCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let Self { who, function, target, states, command } = self;
        let said = format!("{function}{}", target.as_ref().map(|it| format!(" on {it}")).unwrap_or_default());
        let reply = desk.ask(&Request::Can { who, function, target, states, command })?;
        let Reply::Can(view) = reply else { return Err(unexpected(&reply)) };
        let text = sentences(&view, &said, &desk.screen.style);
        let word = if view.allowed { "yes" } else { "no" };
        desk.screen.thing("Can", json::of(&view), word, &text)?;
        Ok(if view.allowed { Exit::Done } else { Exit::Forbidden })
    }
}

fn sentences(view: &CanView, said: &str, style: &Style) -> String {
    let (good, bad) = (style.either("✓", "ok"), style.either("✗", "x"));
    let (tone, icon, word) =
        if view.allowed { (Tone::Good, good, "may") } else { (Tone::Bad, bad, "may not") };
    let who = if view.who == view.role {
        format!("role {}", view.role)
    } else {
        format!("{} (role {})", view.who, view.role)
    };
    let mut text = format!("{} {who} {word} {said}\n", style.paint(tone, icon));
    if view.minions.is_empty() {
        let _ = writeln!(text, "  {}", by(&view.verdict, view.line.as_deref()));
        return text;
    }
    // What is refused first: that is what the question is about.
    let mut minions: Vec<&CanMinion> = view.minions.iter().collect();
    minions.sort_by_key(|it| (it.verdict == "allowed", it.minion.clone()));
    for it in minions.iter().take(SHOWN_MAX) {
        let icon =
            if it.verdict == "allowed" { style.paint(Tone::Good, good) } else { style.paint(Tone::Bad, bad) };
        let _ = writeln!(text, "  {icon} {}  {}", it.minion, by(&it.verdict, it.line.as_deref()));
    }
    if minions.len() > SHOWN_MAX {
        let _ = writeln!(text, "  … {} more (-o json)", minions.len() - SHOWN_MAX);
    }
    text
}

fn by(verdict: &str, line: Option<&str>) -> String {
    match line {
        Some(line) => format!("{verdict} by {line}"),
        None => format!("{verdict} allows it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_decides_is_named_and_refusals_come_first() {
        let minion = |name: &str, verdict: &str, line: Option<&str>| CanMinion {
            minion: name.parse().unwrap(),
            verdict: verdict.to_owned(),
            line: line.map(str::to_owned),
        };
        let view = CanView {
            who: "ci".to_owned(),
            role: "deployer".to_owned(),
            allowed: false,
            verdict: "no line".to_owned(),
            line: None,
            minions: vec![
                minion("web-1", "allowed", Some("roles.yaml:9")),
                minion("web-9", "denied", Some("roles.yaml:5")),
            ],
        };
        let text = sentences(&view, "state.apply on web-*", &Style::plain(model::Timestamp(0)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("ci (role deployer) may not state.apply on web-*"), "{text}");
        assert!(lines[1].ends_with("web-9  denied by roles.yaml:5"), "{text}");
        assert!(lines[2].ends_with("web-1  allowed by roles.yaml:9"), "{text}");
        let alone = CanView { minions: Vec::new(), ..view };
        assert!(
            sentences(&alone, "event.send", &Style::plain(model::Timestamp(0))).contains("no line allows it")
        );
    }
}

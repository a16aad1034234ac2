//! `labctl rule`: the reactor's rules.

use super::{Desk, state, unexpected};
use crate::{Ended, failure::Exit, show, tree::Folders};
use clap::{Args, Subcommand};
use model::{Reply, Request};
use std::{fmt::Write, path::PathBuf};

#[derive(Debug, Args)]
pub(crate) struct RuleCommand {
    #[command(subcommand)]
    verb: Option<RuleVerb>,
}

#[derive(Debug, Subcommand)]
enum RuleVerb {
    /// Those in use, with how often they fired
    #[command(alias = "ls")]
    List,
    /// What the reactor decided, and by which clause
    History {
        /// Only this rule
        rule: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Check the rules of a tree; needs no master
    Check {
        /// Folder with states/, pillar/ and reactors/
        #[arg(value_name = "DIR")]
        tree: Option<PathBuf>,
    },
}

impl RuleCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(RuleVerb::List) {
            RuleVerb::List => {
                let reply = desk.ask(&Request::Rules)?;
                let Reply::Rules(rules) = reply else { return Err(unexpected(&reply)) };
                desk.screen.list(show::status::rules(&rules))?;
                Ok(Exit::Done)
            }
            RuleVerb::History { rule, limit } => history(desk, rule, limit),
            RuleVerb::Check { tree } => {
                let folders = Folders::find(tree.as_deref())?;
                let rules = lang::rules::Rules::load(&folders.read()?.tree);
                let said = match &rules.value {
                    Some(rules) => format!("checked {} rules", rules.iter().count()),
                    None => "checked the rules".to_owned(),
                };
                state::report(desk, &rules.diagnostics, &said)
            }
        }
    }
}

/// How something that a rule did has ended, if it has.
fn ended(action: &model::DecisionAction) -> String {
    let Some(end) = &action.end else { return String::new() };
    let mut words: Vec<String> = end.words.iter().map(|(word, many)| format!("{many} {word}")).collect();
    if !end.answer.is_empty() {
        words.push(end.answer.clone());
    }
    if end.attempts > 1 {
        words.push(format!("{} attempts", end.attempts));
    }
    let mark = if end.ok { "ended" } else { "ended badly" };
    format!("  {mark} after {} ms: {}", end.duration_ms, words.join(", "))
}

fn history(desk: &mut Desk<'_>, rule: Option<String>, limit: u32) -> Ended {
    let reply = desk.ask(&Request::Decisions { rule, limit })?;
    let Reply::Decisions(decisions) = reply else { return Err(unexpected(&reply)) };
    let style = desk.screen.style.clone();
    let mut text = String::new();
    for decision in &decisions {
        let at = show::time::clock(decision.at, style.time);
        for verdict in &decision.verdicts {
            let mark = style.mark(if verdict.fired { "ok" } else { "skipped" });
            let _ = writeln!(text, "{at}  {mark} {}  {}  {}", verdict.rule, decision.tag, verdict.reason);
            for action in &verdict.actions {
                let job = action.job.map(|it| format!("  job {}", it.short())).unwrap_or_default();
                let _ =
                    writeln!(text, "            {}: {}{job}{}", action.what, action.result, ended(action));
            }
        }
    }
    if desk.screen.format.is_machine() {
        let items = show::json::of(&decisions);
        desk.screen.thing("DecisionList", serde_json::json!({ "items": items }), "", "")?;
    } else {
        desk.screen.raw(&text)?;
    }
    Ok(Exit::Done)
}

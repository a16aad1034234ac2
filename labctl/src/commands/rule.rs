//! `labctl rule`: the reactor's rules, and why they did what they did.

mod events;

use super::{Desk, state, unexpected};
use crate::{
    Ended, Outcome, complete,
    failure::{Exit, Failure, did_you_mean},
    show::{self, time},
    tree::Folders,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use lang::{
    reactor::{StillWorld, aftermath, replay, waits_for},
    roles::Roles,
    rules::Rules,
    schedule::Zone,
};
use model::{Decision, Event, Reply, Request, Verdict, api::Explained, api::RuleView};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Decisions of a rule after an event that are looked at for what became of it.
const LATER_MAX: u32 = 1_000;
/// The clause of a rule that other events than its own can begin.
const EXPECTS: &str = "absent";

#[derive(Debug, Args)]
pub(crate) struct RuleCommand {
    #[command(subcommand)]
    verb: Option<RuleVerb>,
}

const TEST_EXAMPLES: &str = "\
Examples:
  labctl rule test disk-full                       with the newest event that its `on` lets through
  labctl rule test disk-full --event 4711          with a stored one: labctl event list -o wide shows numbers
  labctl rule test disk-full --event event.json    with one of a file: {\"tag\": \"minion/vm-1/beacon/disk\", \"data\": {…}}

Nothing is done, and no rule remembers it.";
const WHY_EXAMPLES: &str = "\
Examples:
  labctl rule why 4711                  every rule: what it made of the event, or why it did not see it
  labctl rule why last                  the same for the newest event
  labctl rule why 4711 --rule disk-full";
const REPLAY_EXAMPLES: &str = "\
Examples:
  labctl event list --limit 1000 -o jsonl > events.jsonl
  labctl rule replay --events events.jsonl                    the rules of the tree around this folder
  labctl minion list -o json > minions.json
  labctl rule replay --events events.jsonl --minions minions.json --tree ~/lab -o json

Time is that of the events; needs no master, and nothing is done. The same files and time zone give the same output, byte
for byte.";

#[derive(Debug, Subcommand)]
enum RuleVerb {
    /// Those in use, with how often they fired
    #[command(alias = "ls")]
    List,
    /// All of one rule: its clauses, what it does, how often it did
    Show {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::rules))]
        rule: String,
    },
    /// Check the rules of a tree; needs no master
    Check {
        /// Folder with states/, pillar/ and reactors/
        #[arg(value_name = "DIR")]
        tree: Option<PathBuf>,
        /// The master's roles.yaml, to see whether rules may do what they say; without it the built-in roles count
        #[arg(long, value_name = "FILE")]
        roles: Option<PathBuf>,
    },
    /// What a rule would make of an event, clause by clause; nothing happens
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::rules))]
        rule: String,
        /// A stored event's number, `last`, or a file with one as JSON; - is standard input
        #[arg(long, value_name = "N | last | FILE", default_value = "last")]
        event: String,
    },
    /// Why rules did something about an event, or did not
    #[command(after_help = WHY_EXAMPLES)]
    Why {
        /// A stored event's number, or `last`
        #[arg(value_name = "N | last")]
        event: String,
        /// Only this rule
        #[arg(long, add = ArgValueCompleter::new(complete::rules))]
        rule: Option<String>,
    },
    /// What the reactor decided, and by which clause
    History {
        /// Only this rule
        #[arg(add = ArgValueCompleter::new(complete::rules))]
        rule: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// What the rules of a tree would have made of events; needs no master
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        /// Events as JSON, one a line or a list
        #[arg(long, value_name = "FILE")]
        events: PathBuf,
        /// Folder with states/, pillar/ and reactors/
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
        /// Grains and labels of minions, as labctl minion list -o json prints them
        #[arg(long, value_name = "FILE")]
        minions: Option<PathBuf>,
        /// Only this rule
        #[arg(long, add = ArgValueCompleter::new(complete::rules_of_tree))]
        rule: Option<String>,
        /// The time zone of the master, such as Europe/Berlin; else that of this machine
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
    /// Switch a rule on again that was switched off
    Enable {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::rules))]
        rule: String,
    },
    /// Switch a rule off: it does nothing and remembers nothing new, also after a restart
    Disable {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::rules))]
        rule: String,
        /// For so long; else until it is switched on
        #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
        for_ms: Option<u64>,
    },
}

impl RuleCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(RuleVerb::List) {
            RuleVerb::List => {
                let rules = rules(desk)?;
                let list = show::rule::list(&rules, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            RuleVerb::Show { rule } => {
                let rules = rules(desk)?;
                let found = named(&rules, &rule)?;
                let text = show::rule::whole(found, &desk.screen.style);
                desk.screen.thing("Rule", show::json::of(found), &found.name, &text)?;
                Ok(Exit::Done)
            }
            RuleVerb::Check { tree, roles } => check(desk, tree.as_deref(), roles.as_deref()),
            RuleVerb::Test { rule, event } => test(desk, &rule, &event),
            RuleVerb::Why { event, rule } => why(desk, &event, rule.as_deref()),
            RuleVerb::History { rule, limit } => {
                let request = Request::Decisions { rule: rule.clone(), limit, event: None, after: None };
                let decisions = only(decisions(desk, &request)?, rule.as_deref());
                if let (Some(rule), true) = (&rule, decisions.is_empty()) {
                    named(&rules(desk)?, rule)?;
                }
                tell(desk, &decisions)
            }
            RuleVerb::Replay { events, tree, minions, rule, zone } => {
                let zone = match &zone {
                    Some(name) => Zone::named(name).ok_or_else(|| {
                        Failure::usage(format!("no time zone is called `{name}`"))
                            .hint("names are like Europe/Berlin; the package tzdata has them")
                    })?,
                    None => Zone::system(),
                };
                let folders = Folders::find(tree.as_deref())?;
                let rules = Rules::load(&folders.read()?.tree);
                let Some(value) = rules.value else {
                    return state::report(desk, &rules.diagnostics, "checked the rules");
                };
                if let Some(rule) = &rule {
                    let names: Vec<&str> = value.iter().map(|it| it.name.as_str()).collect();
                    is_one_of(rule, &names, "labctl rule check reads them all")?;
                }
                let members = minions.map(|it| events::members(&it)).transpose()?.unwrap_or_default();
                let events = events::many(&events)?;
                let world = StillWorld { members, zone, ..StillWorld::default() };
                tell(desk, &only(replay(value, world, events), rule.as_deref()))
            }
            RuleVerb::Enable { rule } => desk.order(&Request::SwitchRule { rule, on: true, for_ms: None }),
            RuleVerb::Disable { rule, for_ms } => {
                desk.order(&Request::SwitchRule { rule, on: false, for_ms })
            }
        }
    }
}

fn check(desk: &mut Desk<'_>, tree: Option<&Path>, roles_file: Option<&Path>) -> Ended {
    let tree = Folders::find(tree)?.read()?.tree;
    let rules = Rules::load(&tree);
    let mut diagnostics = rules.diagnostics;
    let who = match roles_file {
        None => Some(Roles::default()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
            let parsed = Roles::parse(&path.display().to_string(), &text);
            diagnostics.extend(parsed.diagnostics);
            parsed.value
        }
    };
    let said = match &rules.value {
        Some(rules) => format!("checked {} rules", rules.iter().count()),
        None => "checked the rules".to_owned(),
    };
    if let (Some(rules), Some(who)) = (&rules.value, &who) {
        diagnostics.extend(rules.missing_rights(who, &tree));
    }
    state::report(desk, &diagnostics, &said)
}

fn rules(desk: &mut Desk<'_>) -> Outcome<Vec<RuleView>> {
    match desk.ask(&Request::Rules)? {
        Reply::Rules(rules) => Ok(rules),
        other => Err(unexpected(&other)),
    }
}

fn named<'a>(rules: &'a [RuleView], name: &str) -> Outcome<&'a RuleView> {
    let names: Vec<&str> = rules.iter().map(|it| it.name.as_str()).collect();
    is_one_of(name, &names, "labctl rule list shows those in use")?;
    rules
        .iter()
        .find(|it| it.name == name)
        .ok_or_else(|| Failure::not_found(format!("there is no rule `{name}`")))
}

fn is_one_of(name: &str, names: &[&str], else_hint: &str) -> Outcome<()> {
    if names.contains(&name) {
        return Ok(());
    }
    let hint = did_you_mean(name, names.iter().copied());
    Err(Failure::not_found(format!("there is no rule `{name}`"))
        .maybe_hint(hint.or_else(|| Some(else_hint.to_owned()))))
}

fn decisions(desk: &mut Desk<'_>, request: &Request) -> Outcome<Vec<Decision>> {
    match desk.ask(request)? {
        Reply::Decisions(decisions) => Ok(decisions),
        other => Err(unexpected(&other)),
    }
}

/// Without the verdicts of other rules.
fn only(mut decisions: Vec<Decision>, rule: Option<&str>) -> Vec<Decision> {
    let Some(rule) = rule else { return decisions };
    for decision in &mut decisions {
        decision.verdicts.retain(|it| it.rule == rule);
    }
    decisions.retain(|it| !it.verdicts.is_empty());
    decisions
}

fn tell(desk: &mut Desk<'_>, decisions: &[Decision]) -> Ended {
    if desk.screen.format.is_machine() {
        let items = show::json::of(&decisions);
        desk.screen.thing("DecisionList", json!({ "items": items }), "", "")?;
    } else {
        let text = show::rule::history(decisions, &desk.screen.style);
        desk.screen.raw(&text)?;
    }
    Ok(Exit::Done)
}

fn explained(desk: &mut Desk<'_>, rule: Option<String>, event: &Event) -> Outcome<Vec<Explained>> {
    match desk.ask(&Request::ExplainRules { rule, event: event.clone() })? {
        Reply::Explained(explained) => Ok(explained),
        other => Err(unexpected(&other)),
    }
}

fn test(desk: &mut Desk<'_>, rule: &str, wanted: &str) -> Ended {
    let rules = rules(desk)?;
    let view = named(&rules, rule)?;
    let event = match wanted {
        "last" => events::newest(desk, &view.filters, rule)?,
        other => events::one(desk, other)?,
    };
    let explained = explained(desk, Some(rule.to_owned()), &event)?;
    let Some(explained) = explained.first() else {
        return Err(Failure::not_found(format!("there is no rule `{rule}` any more")));
    };
    let text = show::rule::explained(explained, &event, &desk.screen.style);
    let value = json!({ "event": show::json::of(&event), "explained": show::json::of(explained) });
    desk.screen.thing("RuleTest", value, rule, &text)?;
    Ok(Exit::Done)
}

fn why(desk: &mut Desk<'_>, wanted: &str, rule: Option<&str>) -> Ended {
    let event = match wanted {
        "last" => events::newest(desk, &["#".to_owned()], "any rule")?,
        number => events::stored(desk, number)?,
    };
    let request = Request::Decisions { rule: None, limit: 1, event: Some(event.number), after: None };
    let decided = decisions(desk, &request)?.pop();
    let now = explained(desk, rule.map(str::to_owned), &event)?;
    let verdicts = decided.as_ref().map(|it| it.verdicts.as_slice()).unwrap_or_default();
    let later = later(desk, &event, verdicts, &now)?;
    let asked = show::rule::Asked { event: &event, decided: decided.as_ref(), later: &later, now: &now };
    let text = show::rule::why(&asked, rule.is_some(), &desk.screen.style);
    let value = json!({
        "event": show::json::of(&event), "decided": show::json::of(&decided),
        "later": show::json::of(&later), "now": show::json::of(&now),
    });
    desk.screen.thing("RuleWhy", value, &event.number.to_string(), &text)?;
    Ok(Exit::Done)
}

/// What became of it for each rule that waited then, or that it made expect another event.
fn later(
    desk: &mut Desk<'_>,
    event: &Event,
    verdicts: &[Verdict],
    now: &[Explained],
) -> Outcome<Vec<show::rule::Later>> {
    let mut all = Vec::new();
    for rule in now.iter().map(|it| &it.verdict) {
        let then: Vec<&Verdict> = verdicts.iter().filter(|it| it.rule == rule.rule).collect();
        let waiting = then.iter().filter_map(|it| Some((Some(*it), waits_for(it)?)));
        let expects = then.is_empty() && rule.clauses.iter().any(|it| it.name == EXPECTS);
        let waiting: Vec<(Option<&Verdict>, &str)> =
            waiting.chain(expects.then_some((None, EXPECTS))).collect();
        if waiting.is_empty() {
            continue;
        }
        let found = decisions(
            desk,
            &Request::Decisions {
                rule: Some(rule.rule.clone()),
                limit: LATER_MAX,
                event: None,
                after: Some(event.number),
            },
        )?;
        for (verdict, waits) in waiting {
            let came = aftermath((event.number, event.at), &rule.rule, verdict, &found);
            let decision = came.map(|(decision, verdict)| Decision {
                verdicts: vec![verdict.clone()],
                tag: decision.tag.clone(),
                ..*decision
            });
            if verdict.is_some() || decision.is_some() {
                let (rule, waited_for) = (rule.rule.clone(), waits.to_owned());
                all.push(show::rule::Later { rule, waited_for, decision });
            }
        }
    }
    Ok(all)
}

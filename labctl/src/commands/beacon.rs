//! `labctl beacon`: what machines watch by themselves, and how that goes.

use super::{Desk, ping};
use crate::{
    Ended,
    cli::Format,
    complete,
    failure::{Exit, Failure},
    show::{
        List, json,
        table::{Cell, Column, Table},
        time,
    },
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{Ask, MinionId};
use serde_json::{Value, json};
use std::fmt::Write;

const EXAMPLES: &str = "\
Examples:
  labctl beacon                        what all machines watch
  labctl beacon list 'label:role=db'   some of them
  labctl beacon list -o wide           with how often each looked, and what that cost
  labctl beacon show vm-1 disk         one in full, with its last event";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BeaconCommand {
    #[command(subcommand)]
    verb: Option<BeaconVerb>,
}

#[derive(Debug, Subcommand)]
enum BeaconVerb {
    /// What machines watch
    #[command(alias = "ls")]
    List {
        /// Only those that match (labctl help targeting)
        #[arg(value_name = "EXPR", default_value = "*", add = ArgValueCompleter::new(complete::targets))]
        target: String,
    },
    /// One machine's beacons of a name, in full
    Show {
        /// The machine
        #[arg(add = ArgValueCompleter::new(complete::targets))]
        id: MinionId,
        /// The beacon
        #[arg(add = ArgValueCompleter::new(complete::beacons))]
        name: String,
    },
}

impl BeaconCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(BeaconVerb::List { target: "*".to_owned() }) {
            BeaconVerb::List { target } => list(desk, &target),
            BeaconVerb::Show { id, name } => show(desk, &id, &name),
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list(desk: &mut Desk<'_>, target: &str) -> Ended {
    let ask = Ask::Beacons { name: None };
    let probed = ping::probe(desk, target, ask, ping::PROBE_MS, &mut |_, _| Ok(()))?;
    let mut answers = probed.answers.clone();
    answers.sort_by(|a, b| a.minion.cmp(&b.minion));
    let mut table = Table::new([
        Column::new("ID"),
        Column::new("BEACON"),
        Column::new("KIND"),
        Column::new("FROM"),
        Column::new("EVENTS"),
        Column::new("DROPPED"),
        Column::new("LAST"),
        Column::new("ERROR").free(),
        Column::new("LOOKS").wide(),
        Column::new("SPENT").wide(),
    ]);
    let (mut items, mut names, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
    for answer in &answers {
        let minion = answer.minion.to_string();
        complaints.extend(complaints_of(&answer.answer).map(|it| (minion.clone(), it.to_owned())));
        for beacon in answer.answer["beacons"].as_array().into_iter().flatten() {
            let number = |name: &str| beacon[name].as_u64().unwrap_or(0).to_string();
            table.row(
                [
                    minion.clone(),
                    text(beacon, "name").to_owned(),
                    text(beacon, "kind").to_owned(),
                    text(beacon, "from").to_owned(),
                    number("events"),
                    number("dropped"),
                    last(beacon),
                    text(beacon, "error").to_owned(),
                    number("looks"),
                    spent(beacon),
                ]
                .map(|it| Cell::from(if it.is_empty() { "-".to_owned() } else { it })),
            );
            let mut item = beacon.clone();
            item["minion"] = json!(minion);
            items.push(item);
            names.push(format!("{minion}/{}", text(beacon, "name")));
        }
    }
    if matches!(desk.screen.format, Format::Json | Format::Yaml) {
        let complaint = |it: &(String, String)| json!({ "minion": it.0, "complaint": it.1 });
        let value = json!({
            "items": items,
            "complaints": complaints.iter().map(complaint).collect::<Vec<_>>(),
            "unreachable": ping::unreachable_value(&probed.unreachable),
            "silent": probed.silent,
        });
        desk.screen.thing("Beacons", value, "", "")?;
        return Ok(probed.exit());
    }
    let away = probed.unreachable.len() + probed.silent.len();
    let footer = (away > 0).then(|| format!("{away} did not answer"));
    desk.screen.list(List { kind: "Beacons", table, items, names, footer })?;
    for (minion, complaint) in complaints {
        desk.screen.note(&format!("{minion}: {complaint}"))?;
    }
    Ok(probed.exit())
}

/// What a machine says of beacons that it does not have.
fn complaints_of(answer: &Value) -> impl Iterator<Item = &str> {
    let complaints = answer["complaints"].as_array().into_iter().flatten();
    answer["error"].as_str().into_iter().chain(complaints.filter_map(Value::as_str))
}

/// Whether a complaint is about the beacon of a name: `name: …`, or a file of that name.
fn is_about(complaint: &str, name: &str) -> bool {
    complaint.strip_prefix(name).is_some_and(|it| it.starts_with(':'))
        || complaint.contains(&format!("/{name}.json`"))
}

fn ms(value: u64) -> String {
    time::rough(value)
}

fn last(beacon: &Value) -> String {
    beacon["last_ms_ago"].as_u64().map(|it| format!("{} ago", ms(it))).unwrap_or_default()
}

fn spent(beacon: &Value) -> String {
    let micros = beacon["spent_us"].as_u64().unwrap_or(0);
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn show(desk: &mut Desk<'_>, id: &MinionId, name: &str) -> Ended {
    let ask = Ask::Beacons { name: Some(name.to_owned()) };
    let probed = ping::probe(desk, id.as_str(), ask, ping::PROBE_MS, &mut |_, _| Ok(()))?;
    let Some(answer) = probed.answers.first() else {
        return Err(Failure::new(Exit::Unanswered, format!("`{id}` does not answer"))
            .hint("labctl minion list shows who is there"));
    };
    if let Some(error) = answer.answer["error"].as_str() {
        return Err(Failure::new(Exit::Failed, format!("{id}: {error}")));
    }
    let beacons = answer.answer["beacons"].as_array().cloned().unwrap_or_default();
    if beacons.is_empty() {
        let refused: Vec<&str> = complaints_of(&answer.answer).filter(|it| is_about(it, name)).collect();
        if !refused.is_empty() {
            let message = format!("`{id}` refused the beacon `{name}`: {}", refused.join("; "));
            return Err(
                Failure::new(Exit::Failed, message).hint("labctl beacon list names all that it refused")
            );
        }
        return Err(Failure::new(Exit::NotFound, format!("`{id}` has no beacon `{name}`"))
            .hint("labctl beacon list shows what machines watch"));
    }
    let mut said = String::new();
    for beacon in &beacons {
        let kind = text(beacon, "kind");
        let _ = writeln!(said, "{} on {id}", text(beacon, "name"));
        if let Some(known) = lang::beacons::kind(kind) {
            let _ = writeln!(said, "  kind      {kind}: {}", known.doc.text());
            let _ = writeln!(said, "  cost      {}", known.cost.text());
        }
        let _ = writeln!(said, "  from      {}", text(beacon, "from"));
        if let Some(every) = beacon["interval_ms"].as_u64().filter(|it| *it > 0) {
            let _ = writeln!(said, "  looks     every {}", ms(every));
        }
        let looks = beacon["looks"].as_u64().unwrap_or(0);
        let _ = writeln!(said, "  so far    {looks} looks in {}", spent(beacon));
        let events = beacon["events"].as_u64().unwrap_or(0);
        let dropped = beacon["dropped"].as_u64().unwrap_or(0);
        let _ = writeln!(said, "  events    {events}, {dropped} left out");
        if !beacon["last"].is_null() {
            let _ = writeln!(said, "  last      {}: {}", last(beacon), beacon["last"]);
        }
        if let Some(error) = beacon["error"].as_str() {
            let _ = writeln!(said, "  error     {error}");
        }
    }
    desk.screen.thing("Beacon", json::of(&beacons), name, &said)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_about_the_beacon_that_it_names() {
        let answer = json!({ "complaints": ["disk: `above` must be a number", "`/etc/labminion/beacons/load.json`: is no JSON", 7] });
        let about = |name: &str| complaints_of(&answer).filter(|it| is_about(it, name)).count();
        assert_eq!(["disk", "load", "dis", "memory", "oad"].map(about), [1, 1, 0, 0, 0]);
        assert_eq!(complaints_of(&json!({ "error": "too old" })).collect::<Vec<_>>(), ["too old"]);
    }
}

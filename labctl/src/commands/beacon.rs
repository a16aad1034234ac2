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

#[derive(Debug, Args)]
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
    let (mut items, mut names, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for answer in &answers {
        let minion = answer.minion.to_string();
        if let Some(error) = answer.answer["error"].as_str() {
            notes.push(format!("{minion}: {error}"));
        }
        let complaints = answer.answer["complaints"].as_array().into_iter().flatten();
        notes.extend(complaints.filter_map(Value::as_str).map(|it| format!("{minion}: {it}")));
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
    let footer = (!probed.unreachable.is_empty() || !probed.silent.is_empty())
        .then(|| format!("{} did not answer", probed.unreachable.len() + probed.silent.len()));
    desk.screen.list(List { kind: "Beacons", table, items, names, footer })?;
    if matches!(desk.screen.format, Format::Table | Format::Wide) {
        for note in notes {
            desk.screen.note(&note)?;
        }
    }
    Ok(probed.exit())
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

//! `labctl event`: what happened and is happening.

use super::{Desk, key_value, unexpected};
use crate::{
    Ended, Outcome,
    cli::Format,
    failure::{Exit, Failure},
    session::{Call, Heard, StreamEnd},
    show::{self, List, json, table, time},
};
use clap::{Args, Subcommand};
use model::{Event, Reply, Request, Timestamp, api::EventFilter};
use serde_json::{Map, Value};
use std::{ops::ControlFlow, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct EventCommand {
    #[command(subcommand)]
    verb: Option<EventVerb>,
}

#[derive(Debug, Subcommand)]
enum EventVerb {
    /// As they come, until Ctrl-C
    Watch {
        /// Only these: an MQTT filter, such as 'minion/+/#'
        tag: Option<String>,
        /// End after so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// End after so long
        #[arg(long, value_name = "D", value_parser = time::parse_duration)]
        timeout: Option<u64>,
    },
    /// What is stored, the newest last
    #[command(alias = "ls")]
    List {
        /// Only these: an MQTT filter, such as 'minion/+/#'
        tag: Option<String>,
        /// Only after: 2h (before now), or 2026-11-20T12:00:00Z
        #[arg(long, value_name = "WHEN", value_parser = time::parse_since)]
        since: Option<Timestamp>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Put an event on the bus: it becomes user/<you>/<TAG>
    Send {
        /// Its tag, below user/<you>/
        tag: String,
        /// Members of its data; @FILE is a JSON object
        #[arg(value_name = "K=V | @FILE")]
        data: Vec<String>,
    },
}

impl EventCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(EventVerb::List { tag: None, since: None, limit: 100 }) {
            EventVerb::Watch { tag, limit, timeout } => {
                watch(desk, tag.as_deref(), limit, timeout.map(Duration::from_millis))
            }
            EventVerb::List { tag, since, limit } => {
                list(desk, EventFilter { tag, since, limit, number: None })
            }
            EventVerb::Send { tag, data } => send(desk, tag, &data),
        }
    }
}

fn list(desk: &mut Desk<'_>, filter: EventFilter) -> Ended {
    let reply = desk.ask(&Request::Events { filter })?;
    let Reply::Events(events) = reply else { return Err(unexpected(&reply)) };
    if !desk.screen.format.is_machine() {
        for event in &events {
            people(desk, event)?;
        }
        return Ok(Exit::Done);
    }
    desk.screen.list(List {
        kind: "EventList",
        table: table::Table::new([]),
        items: events.iter().map(json::of).collect(),
        names: events.iter().map(|it| it.tag.clone()).collect(),
        footer: None,
    })?;
    Ok(Exit::Done)
}

/// A line for people; a wide one begins with the number by which `labctl rule why` asks about it.
fn people(desk: &mut Desk<'_>, event: &Event) -> Outcome<()> {
    let mut line = show::status::event(event, &desk.screen.style);
    if desk.screen.format == Format::Wide {
        line = format!("#{:<8}{line}", event.number);
    }
    desk.screen.line(&line)
}

fn watch(desk: &mut Desk<'_>, tag: Option<&str>, limit: Option<u64>, timeout: Option<Duration>) -> Ended {
    let query = tag.map(|it| format!("?tag={}", escaped(it))).unwrap_or_default();
    let until = timeout.map(|it| std::time::Instant::now() + it);
    let path = format!("/api/v1/events/watch{query}");
    let call = Call { path: &path, body: None, until, tick: Duration::from_millis(250) };
    let mut seen = 0;
    let mut session = desk.take_session()?;
    let end = session.stream(&call, &mut |heard: Heard<Value>| {
        let Heard::Line(line) = heard else { return Ok(ControlFlow::Continue(())) };
        if let Some(missed) = line.get("gap") {
            desk.screen.note(&format!("{missed} events were missed: this reader is too slow"))?;
            return Ok(ControlFlow::Continue(()));
        }
        show_event(desk, line)?;
        seen += 1;
        Ok(if limit.is_some_and(|it| seen >= it) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    });
    desk.put_session(session);
    match end? {
        StreamEnd::TimedOut if limit.is_some() => Ok(Exit::Unanswered),
        StreamEnd::Stopped | StreamEnd::TimedOut => Ok(Exit::Done),
        StreamEnd::Interrupted => Ok(Exit::Interrupted),
        StreamEnd::Finished => Err(Failure::new(Exit::NoMaster, "the master ended the stream")),
        StreamEnd::Broken(why) => Err(Failure::new(Exit::NoMaster, format!("lost the master: {why}"))),
    }
}

fn show_event(desk: &mut Desk<'_>, line: Value) -> Outcome<()> {
    match desk.screen.format {
        Format::Table | Format::Wide => {
            let event: Event = serde_json::from_value(line)
                .map_err(|error| Failure::new(Exit::NoMaster, format!("this is no event: {error}")))?;
            people(desk, &event)?;
        }
        Format::Name => desk.screen.line(line["tag"].as_str().unwrap_or_default())?,
        Format::Yaml => desk.screen.raw(&format!("---\n{}", show::yaml::of(&json::dated(line))))?,
        Format::Json | Format::Jsonl => desk.screen.line(&json::dated(line).to_string())?,
    }
    desk.screen.flush()
}

/// For a query: everything but letters, digits and a few harmless ones by its code.
fn escaped(text: &str) -> String {
    let byte = |it: u8| match it {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => char::from(it).to_string(),
        _ => format!("%{it:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn send(desk: &mut Desk<'_>, tag: String, pairs: &[String]) -> Ended {
    let mut data = Map::new();
    for pair in pairs {
        if let Some(path) = pair.strip_prefix('@') {
            let text = crate::config::read_small(path.as_ref())?;
            let read: Map<String, Value> = serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("`{path}` holds no JSON object: {error}")))?;
            data.extend(read);
        } else {
            let (key, value) = key_value(pair).map_err(Failure::usage)?;
            data.insert(key, value);
        }
    }
    let reply = desk.ask(&Request::SendEvent { tag, data })?;
    let Reply::Event(event) = reply else { return Err(unexpected(&reply)) };
    let line = format!("{}\n", show::status::event(&event, &desk.screen.style));
    desk.screen.thing("Event", json::of(&event), &event.tag, &line)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_survive_the_query() {
        assert_eq!(escaped("minion/+/#"), "minion/%2B/%23");
        assert_eq!(escaped("a&b=c"), "a%26b%3Dc");
    }
}

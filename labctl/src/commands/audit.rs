//! `labctl audit`: who asked for what, and whether the log of it is as it was written.

use super::{Desk, unexpected};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::{
        List, Style, Tone,
        table::{Cell, Column, Table},
        time,
    },
};
use bus::chain::Walk;
use clap::{Args, Subcommand};
use model::{Audit, AuditCheck, AuditFilter, AuditLine, Reply, Request, Timestamp};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, stdin},
    path::{Path, PathBuf},
};

/// Lines asked for at once by an export.
const PAGE: u32 = 2_000;
/// Bytes of one line of an exported file.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct AuditCommand {
    #[command(subcommand)]
    verb: Option<AuditVerb>,
}

#[derive(Debug, Subcommand)]
enum AuditVerb {
    /// Who asked for what, the newest last
    #[command(alias = "ls")]
    List {
        /// Only after: 2h (before now), or 2026-11-20T12:00:00Z
        #[arg(long, value_name = "WHEN", value_parser = time::parse_since)]
        since: Option<Timestamp>,
        /// Only of this user; a rule is rule:NAME
        #[arg(long)]
        user: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Whether every line is as it was written; exits with 1 if not
    Verify {
        /// A file that `labctl audit export` wrote (- is standard input); needs no master
        file: Option<PathBuf>,
    },
    /// All lines with their hashes, one JSON object a line, to be kept and checked elsewhere
    Export {
        /// Only after: 2h (before now), or 2026-11-20T12:00:00Z
        #[arg(long, value_name = "WHEN", value_parser = time::parse_since)]
        since: Option<Timestamp>,
    },
}

impl AuditCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(AuditVerb::List { since: None, user: None, limit: 100 }) {
            AuditVerb::List { since, user, limit } => {
                let lines = ask(desk, AuditFilter { after: None, since, user, limit })?;
                let list = table(&lines, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            AuditVerb::Verify { file: None } => {
                let reply = desk.ask(&Request::VerifyAudit)?;
                let Reply::AuditChecked(check) = reply else { return Err(unexpected(&reply)) };
                tell(desk, &check, Whole::Log)
            }
            AuditVerb::Verify { file: Some(file) } => {
                let check = walk_file(&file)?;
                tell(desk, &check, Whole::Part)
            }
            AuditVerb::Export { since } => export(desk, since),
        }
    }
}

/// How much of a log was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Log,
    Part,
}

fn ask(desk: &mut Desk<'_>, filter: AuditFilter) -> Outcome<Vec<AuditLine>> {
    match desk.ask(&Request::Audit { filter })? {
        Reply::Audit(lines) => Ok(lines),
        other => Err(unexpected(&other)),
    }
}

fn export(desk: &mut Desk<'_>, since: Option<Timestamp>) -> Ended {
    let mut after = Some(0);
    loop {
        let lines = ask(desk, AuditFilter { after, since, user: None, limit: PAGE })?;
        for line in &lines {
            desk.screen.line(&serde_json::to_string(line).unwrap_or_default())?;
        }
        match lines.last() {
            Some(last) => after = Some(last.number),
            None => return Ok(Exit::Done),
        }
    }
}

fn walk_file(path: &Path) -> Outcome<AuditCheck> {
    let cannot = |error: &std::io::Error| Failure::file("read", path, error);
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(stdin())
    } else {
        Box::new(File::open(path).map_err(|error| cannot(&error))?)
    };
    let mut reader = BufReader::new(reader);
    let mut walk = Walk::default();
    for number in 1_u64.. {
        let mut text = String::new();
        let read =
            reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut text).map_err(|error| cannot(&error))?;
        if read == 0 {
            break;
        }
        let line: AuditLine = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("line {number} of `{}` is no line of an audit log: {error}", path.display()),
            )
            .hint("labctl audit export writes them")
        })?;
        if !walk.step(&line) {
            break;
        }
    }
    Ok(walk.finish_part())
}

/// Says what a walk found.
fn tell(desk: &mut Desk<'_>, check: &AuditCheck, whole: Whole) -> Ended {
    let style = desk.screen.style.clone();
    let text = sentences(check, whole, &style);
    let head = check.head.map(|it| it.to_string()).unwrap_or_default();
    desk.screen.thing("AuditCheck", of_check(check), &head, &text)?;
    match &check.broken {
        None => Ok(Exit::Done),
        Some(_) => Ok(Exit::Failed),
    }
}

fn of_check(check: &AuditCheck) -> Value {
    let place = |it: Option<(u64, Timestamp)>| {
        it.map_or(Value::Null, |(number, at)| json!({ "number": number, "at": at }))
    };
    json!({
        "lines": check.lines, "first": place(check.first), "last": place(check.last), "head": check.head,
        "removed": check.removed, "broken": check.broken,
    })
}

fn sentences(check: &AuditCheck, whole: Whole, style: &Style) -> String {
    let mut text = String::new();
    let mut say = |tone: Tone, icon: &str, line: String| {
        text = format!("{text}{} {line}\n", style.paint(tone, icon));
    };
    let (good, bad) = (style.either("✓", "ok"), style.either("✗", "x"));
    if let Some(broken) = &check.broken {
        say(Tone::Bad, bad, format!("line {} is not as it was written: {}", broken.number, broken.why));
    }
    let at = |at: Timestamp| time::absolute(at, style.time);
    match check.first.zip(check.last) {
        None if check.broken.is_some() => {}
        None => say(Tone::Good, good, "the audit log is empty".to_owned()),
        Some(((first, from), (last, to))) => {
            let lines = check.lines;
            let line = format!("{lines} lines in order, {first} to {last}, from {} to {}", at(from), at(to));
            say(Tone::Good, good, line);
        }
    }
    match (check.removed, check.first) {
        (Some(upto), _) => {
            say(Tone::Dim, "-", format!("lines up to {upto} were removed by age (labctl master gc)"));
        }
        (None, Some((first, _))) if whole == Whole::Part && first > 1 => {
            say(Tone::Dim, "-", format!("the file begins with line {first}: what came before is not judged"));
        }
        _ => {}
    }
    if let Some(head) = check.head {
        say(Tone::Dim, "-", format!("hash of the last line: {head}"));
    }
    text
}

fn table(lines: &[AuditLine], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("LINE").right(),
        Column::new("WHEN"),
        Column::new("WHO"),
        Column::new("WHAT").free(),
        Column::new("RESULT").free(),
        Column::new("VIA").wide(),
        Column::new("HASH").wide(),
    ]);
    for line in lines {
        let audit = serde_json::from_str::<Audit>(&line.text);
        let (who, via, what, result) = match audit {
            Ok(it) => (it.caller.name, it.caller.via, it.what, it.result),
            Err(_) => ("?".to_owned(), "?".to_owned(), line.text.clone(), "not a record".to_owned()),
        };
        let tone = if result.starts_with("accepted") { Tone::Plain } else { Tone::Bad };
        table.row([
            line.number.to_string().into(),
            time::ago(line.at, style.now, style.time).into(),
            Cell::of(Tone::Strong, who),
            what.into(),
            Cell::of(tone, result),
            via.into(),
            line.hash.to_string().into(),
        ]);
    }
    List {
        kind: "AuditList",
        table,
        items: lines.iter().map(of_line).collect(),
        names: lines.iter().map(|it| it.number.to_string()).collect(),
        footer: None,
    }
}

fn of_line(line: &AuditLine) -> Value {
    let record: Value = serde_json::from_str(&line.text).unwrap_or_default();
    json!({
        "number": line.number, "at": line.at, "caller": record["caller"], "what": record["what"],
        "result": record["result"], "hash": line.hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Caller, ContentHash};
    use std::io::Write;

    fn lines(count: u64) -> Vec<AuditLine> {
        let mut before = ContentHash([0; 32]);
        let line = |number: u64| {
            let caller = Caller::new("ann", "socket", "admin");
            let at = Timestamp(number);
            let audit = Audit { at, caller, what: "gc".to_owned(), result: "accepted".to_owned() };
            let text = serde_json::to_string(&audit).unwrap();
            let hash = bus::chain::link(&before, &text);
            let line = AuditLine { number, at, before, hash, text };
            before = hash;
            line
        };
        (1..=count).map(line).collect()
    }

    fn walk(lines: &[AuditLine]) -> AuditCheck {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{}", serde_json::to_string(line).unwrap()).unwrap();
        }
        walk_file(file.path()).unwrap()
    }

    #[test]
    fn an_exported_file_is_checked_without_a_master() {
        let mut lines = lines(5);
        assert_eq!(walk(&lines).broken, None);
        assert_eq!(walk(&lines[2..]).first.map(|it| it.0), Some(3));
        lines[3].text = lines[3].text.replace("ann", "bob");
        let check = walk(&lines);
        assert_eq!((check.lines, check.broken.map(|it| it.number)), (3, Some(4)));
        assert_eq!(walk_file(Path::new("/nowhere")).unwrap_err().exit, Exit::Failed);
    }
}

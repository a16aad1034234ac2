//! How things are shown: the formats, the terminal, and where lines go.

pub(crate) mod drift;
pub(crate) mod fold;
pub(crate) mod hooks;
pub(crate) mod job;
pub(crate) mod json;
pub(crate) mod minion;
pub(crate) mod progress;
pub(crate) mod rule;
pub(crate) mod schedule;
pub(crate) mod status;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod waves;
pub(crate) mod yaml;

use crate::{
    Outcome,
    cli::{Format, Global, Progress},
    failure::{Exit, Failure},
};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    io::{self, BufWriter, IsTerminal, Write},
};
pub(crate) use style::{Style, Tone};
use table::Table;

/// Standard output and error, and how to write on them.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    pub(crate) format: Format,
    pub(crate) style: Style,
    /// As `style`, for standard error.
    pub(crate) err_style: Style,
    /// Whether standard output is read by a person.
    pub(crate) human: bool,
    /// Whether live lines may be drawn on standard error.
    pub(crate) live: bool,
    /// Whether progress is shown at all.
    pub(crate) progress: bool,
    pub(crate) shape: table::Shape,
    region: usize,
    /// Whether standard output and error are terminals, which obey what they are told.
    terminals: [bool; 2],
}

impl Screen {
    /// On the real streams.
    pub(crate) fn of_terminal(global: &Global) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (out_tty, err_tty) = (out.is_terminal(), err.is_terminal());
        let format = global.output.unwrap_or_default();
        let style = Style::of_stream(global, out_tty);
        let err_style = Style::of_stream(global, err_tty);
        let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        Self {
            human: out_tty || global.output == Some(Format::Table) || global.output == Some(Format::Wide),
            live: err_tty && !dumb && global.progress == Progress::Auto && !format.is_machine(),
            progress: global.progress != Progress::None && !format.is_machine(),
            shape: table::Shape::of(global, format == Format::Wide, out_tty),
            out: Box::new(BufWriter::new(out)),
            err: Box::new(err),
            format,
            style,
            err_style,
            region: 0,
            terminals: [out_tty, err_tty],
        }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: &str) -> Outcome<()> {
        self.raw(&format!("{text}\n"))
    }

    /// A part of the result: as it is in a pipe, without what a terminal would obey on one.
    pub(crate) fn raw(&mut self, text: &str) -> Outcome<()> {
        self.erase()?;
        let text = if self.terminals[0] { Cow::Owned(style::harmless(text)) } else { Cow::Borrowed(text) };
        self.out.write_all(text.as_bytes()).map_err(Failure::from)
    }

    /// A part of what someone else said on standard error, likewise.
    pub(crate) fn raw_err(&mut self, text: &str) -> Outcome<()> {
        self.flush()?;
        let text = if self.terminals[1] { Cow::Owned(style::harmless(text)) } else { Cow::Borrowed(text) };
        self.err.write_all(text.as_bytes()).map_err(Failure::from)
    }

    /// What is written so far is seen now.
    pub(crate) fn flush(&mut self) -> Outcome<()> {
        self.out.flush().map_err(Failure::from)
    }

    /// Talk: progress, warnings, hints.
    pub(crate) fn note(&mut self, text: &str) -> Outcome<()> {
        self.flush()?;
        self.erase()?;
        writeln!(self.err, "{}", style::harmless(text)).map_err(Failure::from)
    }

    /// Draws live lines in place of the last ones.
    pub(crate) fn draw(&mut self, lines: &[String]) -> Outcome<()> {
        if !self.live {
            return Ok(());
        }
        self.flush()?;
        let mut text = String::new();
        if self.region > 0 {
            text = format!("\x1b[{}A\x1b[J", self.region);
        }
        for line in lines {
            text.push_str(&style::harmless(line));
            text.push('\n');
        }
        self.region = lines.len();
        self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush()).map_err(Failure::from)
    }

    /// Takes the live lines away.
    pub(crate) fn erase(&mut self) -> Outcome<()> {
        if self.region == 0 { Ok(()) } else { self.draw(&[]) }
    }

    /// An error, on standard error, in the format of the output.
    pub(crate) fn complain(&mut self, failure: &Failure) {
        if failure.exit == Exit::Pipe {
            return;
        }
        let _ = self.erase();
        let text = if self.format.is_machine() {
            json::of_failure(failure).to_string()
        } else {
            style::failure_text(failure, &self.err_style)
        };
        let _ = writeln!(self.err, "{text}");
    }

    /// Shows a list in the format that was asked for.
    pub(crate) fn list(&mut self, list: List) -> Outcome<()> {
        match self.format {
            Format::Table | Format::Wide => {
                let text = list.table.render(&self.shape, &self.style)?;
                self.raw(&text)?;
                if let Some(footer) = list.footer.filter(|_| self.human) {
                    self.note(&footer)?;
                }
                Ok(())
            }
            Format::Name => list.names.iter().try_for_each(|it| self.line(it)),
            Format::Jsonl => {
                list.items.into_iter().try_for_each(|it| self.line(&json::dated(it).to_string()))
            }
            Format::Json | Format::Yaml => {
                let items: Vec<Value> = list.items.into_iter().map(json::dated).collect();
                self.document(list.kind, &json!({ "items": items }))
            }
        }
    }

    /// Shows one thing: `text` to people, `value` to machines, `name` where only that is wanted.
    pub(crate) fn thing(&mut self, kind: &str, value: Value, name: &str, text: &str) -> Outcome<()> {
        match self.format {
            Format::Table | Format::Wide => self.raw(&style::harmless(text)),
            Format::Name => self.line(name),
            Format::Json | Format::Yaml | Format::Jsonl => self.document(kind, &json::dated(value)),
        }
    }

    /// One document with version and kind in front.
    fn document(&mut self, kind: &str, value: &Value) -> Outcome<()> {
        let mut document = json!({ "apiVersion": json::API_VERSION, "kind": kind });
        match value {
            Value::Object(members) => members.iter().for_each(|(key, it)| document[key] = it.clone()),
            other => document["data"] = other.clone(),
        }
        match self.format {
            Format::Yaml => self.raw(&yaml::of(&document)),
            Format::Jsonl => self.line(&document.to_string()),
            _ => self.line(&serde_json::to_string_pretty(&document).unwrap_or_default()),
        }
    }
}

/// A list of things in every format.
pub(crate) struct List {
    pub(crate) kind: &'static str,
    pub(crate) table: Table,
    pub(crate) items: Vec<Value>,
    pub(crate) names: Vec<String>,
    pub(crate) footer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of a text that a machine sent.
    fn written(terminals: [bool; 2]) -> String {
        let paper = Paper::default();
        let mut screen = Screen::of_terminal(&Global::default());
        (screen.out, screen.err) = (Box::new(paper.clone()), Box::new(paper.clone()));
        (screen.terminals, screen.live, screen.format) = (terminals, true, Format::Table);
        let text = "\x1b]0;owned\x07\x1b[32mok\x1b[0m";
        screen.line(text).unwrap();
        screen.raw(text).unwrap();
        screen.raw_err(text).unwrap();
        String::from_utf8(paper.0.take()).unwrap()
    }

    #[test]
    fn what_machines_say_reaches_a_pipe_as_it_is_and_commands_no_terminal() {
        let text = "\x1b]0;owned\x07\x1b[32mok\x1b[0m";
        assert_eq!(written([false, false]), format!("{text}\n{text}{text}"));
        let shown = "\u{fffd}]0;owned\u{fffd}\x1b[32mok\x1b[0m";
        assert_eq!(written([true, true]), format!("{shown}\n{shown}{shown}"));
    }
}

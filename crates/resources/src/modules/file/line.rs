//! `file.line`: one line of a file.

use super::{
    edit::{Editing, Missing, NAME, Rule, SHOW_CHANGES},
    owner::{GROUP, Owner, USER},
};
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    pattern::{Flags, Pattern},
    text::{lines_with_ends, python_text},
};
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "line",
    doc: Doc::new(
        "One line of a file is inserted, ensured, replaced or deleted. `ensure` writes it once between or beside other \
          lines; `insert` at the start or the end writes it in each run; `replace` and `delete` act on the first line \
          that `match` finds.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/hosts:\n  file.line:\n    - mode: ensure\n    - content: 192.0.2.7 nas\n    - after: ^127\\.0\\.0\\.1\n",
        "/etc/crypttab:\n  file.line:\n    - mode: delete\n    - match: swap\n",
    ]),
    parse,
};

const fn text(name: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Text, "", doc)
}

const PARAMS: &[Param] = &[
    NAME,
    Param::of("content", ParamType::Any, "", "The line."),
    text("match", "A part of the line that is meant, or a pattern; the content if it is not given."),
    Param::of("mode", ParamType::Text, "", "`ensure`, `insert`, `replace` or `delete`.").required(),
    text("location", "Where `insert` writes it: `start` or `end`."),
    text("before", "A part of the line that follows it, or a pattern; exactly one line has to match."),
    text("after", "A part of the line in front of it, or a pattern; exactly one line has to match."),
    SHOW_CHANGES,
    Param::of(
        "backup",
        ParamType::Bool,
        "false",
        "Keeps the version before beside the file with the suffix `.bak`.",
    ),
    Param::of(
        "quiet",
        ParamType::Bool,
        "false",
        "Accepted from Salt trees: a file that does not exist is a failure either way.",
    ),
    Param::of("indent", ParamType::Bool, "true", "Gives it the indentation of the line beside it."),
    Param::of("create", ParamType::Bool, "false", "Makes the file if it does not exist."),
    USER,
    GROUP,
    Param::of("file_mode", ParamType::Mode, "as it is; 0644 for a new one", "Permissions."),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Ensure,
    Insert,
    Replace,
    Delete,
}

/// What finds a line: a part of it, or a pattern.
#[derive(Debug)]
struct Finder {
    text: String,
    pattern: Option<Pattern>,
}

impl Finder {
    fn new(text: &str) -> Self {
        // What is no pattern is text all the same: `match` is the content by default.
        let pattern = Pattern::new(text, Flags::from_number(16)).ok();
        Self { text: text.to_owned(), pattern }
    }
    fn all<'a>(&self, lines: &'a [String]) -> Vec<&'a String> {
        let hit = |line: &&String| {
            self.pattern.as_ref().is_some_and(|it| it.is_match(line)) || line.contains(&self.text)
        };
        lines.iter().filter(hit).collect()
    }
    /// The place of the only line that is found.
    fn only(&self, lines: &[String], param: &str) -> Result<Option<usize>, String> {
        match self.all(lines)[..] {
            [] => Ok(None),
            [line] => Ok(lines.iter().position(|it| it == line)),
            _ => Err(format!("more than one line matches `{param}: {}`", self.text)),
        }
    }
}

#[derive(Debug)]
struct Line {
    content: String,
    find: Option<Finder>,
    mode: Mode,
    location: Option<String>,
    before: Option<Finder>,
    after: Option<Finder>,
    indent: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.line", PARAMS, params)?;
    let mode = match args.text("mode").unwrap_or_default().to_ascii_lowercase().as_str() {
        "ensure" => Mode::Ensure,
        "insert" => Mode::Insert,
        "replace" => Mode::Replace,
        "delete" => Mode::Delete,
        other => {
            let text = format!("`{other}` is no mode: `ensure`, `insert`, `replace` or `delete`");
            return Err(invalid("mode", text));
        }
    };
    let content = args.value("content").map(|it| python_text(it).ok_or(it)).transpose();
    let content = content.map_err(|_| invalid("content", "`content` must be text"))?;
    if content.is_none() && mode != Mode::Delete {
        return Err(invalid("mode", "`content` is missing; only with `mode: delete` is it not needed"));
    }
    let content = content.unwrap_or_default();
    let finder = |name: &str| args.text(name).filter(|it| !it.is_empty()).map(|it| Finder::new(&it));
    let (before, after) = (finder("before"), finder("after"));
    let mut find = finder("match");
    if find.is_none() && !args.has("before") && !args.has("after") && !content.is_empty() {
        find = Some(Finder::new(&content));
    }
    let location = args.text("location").filter(|it| !it.is_empty());
    if location.as_ref().is_some_and(|it| it != "start" && it != "end") {
        return Err(invalid("location", "`location` is `start` or `end`"));
    }
    let nowhere = before.is_none() && after.is_none();
    if nowhere && (mode == Mode::Ensure || (mode == Mode::Insert && location.is_none())) {
        return Err(invalid("mode", "say where: `before` or `after`, or with `insert` a `location`"));
    }
    let rule = Line { content, find, mode, location, before, after, indent: args.bool("indent", true) };
    let missing =
        if args.bool("create", false) { Missing::Create { makedirs: false } } else { Missing::Fail };
    let backup = args.bool("backup", false).then(|| ".bak".to_owned());
    let owner = Owner::parse(&args, args.mode("file_mode"))?;
    Ok(Box::new(Editing { missing, backup, owner, ..Editing::new(&args, rule) }))
}

impl Line {
    /// The content with the indentation of `beside`.
    fn indented(&self, beside: &str) -> String {
        if !self.indent {
            return self.content.clone();
        }
        let body = beside.trim_start_matches([' ', '\t']);
        format!("{}{}", &beside[..beside.len() - body.len()], self.content.trim_start())
    }

    fn is_content(&self, line: Option<&String>) -> bool {
        let bare = |text: &str| {
            let text = text.trim_end_matches(['\r', '\n']);
            if self.indent { text.trim_start().to_owned() } else { text.to_owned() }
        };
        line.is_some_and(|it| bare(it) == bare(&self.content))
    }

    fn insert(&self, lines: &mut Vec<String>) -> Result<(), String> {
        match self.location.as_deref() {
            Some("end") => {
                let line = lines.last().map_or_else(|| self.content.clone(), |it| self.indented(it));
                lines.push(line);
                return Ok(());
            }
            Some(_) => {
                let end = lines.first().map_or("\n", |it| end_of(it));
                let end = if end.is_empty() { "\n" } else { end };
                lines.insert(0, format!("{}{end}", self.content.trim_end()));
                return Ok(());
            }
            None => (),
        }
        let (before, after) = self.neighbours(lines)?;
        match (before, after) {
            (Some(before), Some(_)) => lines.insert(before, self.indented(&lines[before])),
            (None, Some(after)) => {
                if !self.is_content(lines.get(after + 1)) {
                    lines.insert(after + 1, self.indented(&lines[after]));
                }
            }
            (Some(before), None) => {
                let previous = before.checked_sub(1).map_or(lines.last(), |it| lines.get(it));
                if !self.is_content(previous) {
                    lines.insert(before, self.indented(&lines[before]));
                }
            }
            (None, None) => return Err("no line matches `before` or `after`".to_owned()),
        }
        Ok(())
    }

    fn neighbours(&self, lines: &[String]) -> Result<(Option<usize>, Option<usize>), String> {
        let place = |finder: &Option<Finder>, param: &str| match finder {
            Some(it) => it.only(lines, param),
            None => Ok(None),
        };
        Ok((place(&self.before, "before")?, place(&self.after, "after")?))
    }

    fn ensure(&self, lines: &mut Vec<String>) -> Result<(), String> {
        match self.neighbours(lines)? {
            (Some(before), Some(after)) => {
                if lines.iter().any(|it| it.trim_start() == self.content) {
                    return Ok(());
                }
                if after + 1 == before {
                    lines.insert(before, self.indented(&lines[after]));
                } else if after + 2 == before {
                    lines[after + 1] = self.indented(&lines[after]);
                } else {
                    return Err("there is more than one line between `after` and `before`".to_owned());
                }
            }
            (Some(before), None) => {
                let previous = before.checked_sub(1).and_then(|it| lines.get(it));
                if !self.is_content(previous) {
                    let beside = previous.or(lines.last()).cloned().unwrap_or_default();
                    lines.insert(before, self.indented(&beside));
                }
            }
            (None, Some(after)) => {
                if !self.is_content(lines.get(after + 1)) {
                    lines.insert(after + 1, self.indented(&lines[after]));
                }
            }
            (None, None) => return Err("no line matches `before` or `after`".to_owned()),
        }
        Ok(())
    }
}

fn end_of(line: &str) -> &'static str {
    match line {
        _ if line.ends_with("\r\n") => "\r\n",
        _ if line.ends_with('\n') => "\n",
        _ => "",
    }
}

impl Rule for Line {
    fn edit(&self, text: &str, _: &[String]) -> Result<String, String> {
        let mut lines = lines_with_ends(text);
        // An empty last line stands for the end of the text.
        if text.ends_with('\n') {
            lines.push(String::new());
        }
        let first = self.find.as_ref().and_then(|it| it.all(&lines).first().map(|it| (*it).clone()));
        match (self.mode, first) {
            (Mode::Delete, Some(line)) => lines.retain(|it| *it != line),
            (Mode::Replace, Some(line)) => {
                if let Some(at) = lines.iter().position(|it| *it == line) {
                    lines[at] = self.indented(&line);
                }
            }
            (Mode::Delete | Mode::Replace, None) => (),
            (Mode::Insert, _) => self.insert(&mut lines)?,
            (Mode::Ensure, _) => self.ensure(&mut lines)?,
        }
        let count = lines.len();
        for at in 0..count.saturating_sub(1) {
            if end_of(&lines[at]).is_empty() {
                // That of the line before, and for the first two that of the second, as Salt does it.
                let end = lines.get(if at > 1 { at - 1 } else { 1 }).map_or("", |it| end_of(it));
                let end = if end.is_empty() { "\n" } else { end };
                lines[at] = format!("{}{end}", lines[at].trim_end());
            }
        }
        Ok(lines.concat())
    }
    /// An insert at the start or the end inserts again.
    fn settles(&self) -> bool {
        self.mode == Mode::Ensure
    }
}

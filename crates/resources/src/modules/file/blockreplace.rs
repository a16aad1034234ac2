//! `file.blockreplace`: what stands between two marker lines of a file.

use super::edit::{
    BACKUP, CONTEXT, DEFAULTS, Editing, NAME, Rule, SHOW_CHANGES, SOURCE, SOURCE_HASH, SOURCE_HASHES,
    SOURCES, Sources, TEMPLATE, suffix,
};
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    pattern::{Flags, Pattern},
    text::{lines_with_ends, python_text},
};
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "blockreplace",
    doc: Doc::new(
        "Between two marker lines a file has this text; the rest of it is left alone. Markers that are not there are a \
          failure, unless one of the parameters says where to write them.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/hosts:\n  file.blockreplace:\n    - marker_start: '# begin lab'\n    - marker_end: '# end lab'\n    - \
         content: 192.0.2.7 nas\n    - append_if_not_found: true\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    NAME,
    Param::of(
        "marker_start",
        ParamType::Text,
        "#-- start managed zone --",
        "What the line before the block has in it.",
    ),
    Param::of(
        "marker_end",
        ParamType::Text,
        "#-- end managed zone --",
        "What the line after the block has in it.",
    ),
    Param::of("content", ParamType::Any, "", "The block's text."),
    SOURCE,
    SOURCE_HASH,
    SOURCES,
    SOURCE_HASHES,
    TEMPLATE,
    CONTEXT,
    DEFAULTS,
    Param::of(
        "append_if_not_found",
        ParamType::Bool,
        "false",
        "If there are no markers, they are written at the end with the block between them.",
    ),
    Param::of(
        "prepend_if_not_found",
        ParamType::Bool,
        "false",
        "If there are no markers, they are written at the beginning.",
    ),
    Param::of(
        "insert_before_match",
        ParamType::Text,
        "",
        "If there are no markers, they are written before the first line that this pattern matches.",
    ),
    Param::of(
        "insert_after_match",
        ParamType::Text,
        "",
        "If there are no markers, they are written after the first line that this pattern matches.",
    ),
    Param::of(
        "append_newline",
        ParamType::Bool,
        "if the text does not end with one",
        "Ends the text with a newline before the end marker.",
    ),
    BACKUP,
    SHOW_CHANGES,
];

#[derive(Debug)]
struct Block {
    start: String,
    end: String,
    content: String,
    newline: Option<bool>,
    otherwise: Otherwise,
}

/// Where to write markers that are not there.
#[derive(Debug)]
enum Otherwise {
    Nowhere,
    First,
    Last,
    Before(Pattern),
    After(Pattern),
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.blockreplace", PARAMS, params)?;
    let content = match args.value("content") {
        None => String::new(),
        Some(value) => python_text(value).ok_or_else(|| invalid("content", "`content` must be text"))?,
    };
    let pattern = |name: &str| match args.text(name).filter(|it| !it.is_empty()) {
        None => Ok(None),
        Some(text) => Pattern::new(&text, Flags::default()).map(Some).map_err(|why| invalid(name, why)),
    };
    let mut places = Vec::new();
    places.extend(args.bool("append_if_not_found", false).then_some(Otherwise::Last));
    places.extend(args.bool("prepend_if_not_found", false).then_some(Otherwise::First));
    places.extend(pattern("insert_before_match")?.map(Otherwise::Before));
    places.extend(pattern("insert_after_match")?.map(Otherwise::After));
    if places.len() > 1 {
        let text = "give one of `append_if_not_found`, `prepend_if_not_found`, `insert_before_match`, `insert_after_match`";
        return Err(invalid("append_if_not_found", text));
    }
    let mut lines: Vec<String> = content.is_empty().then(Vec::new).unwrap_or_else(|| vec![content]);
    lines.extend(args.list("accumulated").unwrap_or_default());
    let marker = |name: &str, default: &str| args.text(name).unwrap_or_else(|| default.to_owned());
    let rule = Block {
        start: marker("marker_start", "#-- start managed zone --"),
        end: marker("marker_end", "#-- end managed zone --"),
        content: lines.join("\n"),
        newline: args.has("append_newline").then(|| args.bool("append_newline", true)),
        otherwise: places.pop().unwrap_or(Otherwise::Nowhere),
    };
    if rule.start.is_empty() || rule.end.is_empty() {
        return Err(invalid("marker_start", "a marker is empty"));
    }
    Ok(Box::new(Editing {
        backup: suffix(&args)?,
        sources: Sources::parse(&args)?,
        ..Editing::new(&args, rule)
    }))
}

impl Block {
    /// The block's lines, of which the last is the end marker's.
    fn lines(&self, content: &str, separator: &str, end_line: &str) -> Vec<String> {
        let newline = self.newline.unwrap_or(!content.ends_with('\n'));
        let end = format!("{}{separator}", end_line.trim_end_matches(['\r', '\n']));
        let parts: Vec<&str> = content.split("\r\n").flat_map(|it| it.split('\n')).collect();
        let mut lines: Vec<String> = parts.iter().map(|it| format!("{it}{separator}")).collect();
        if newline {
            lines.push(end);
        } else if let (Some(last), Some(part)) = (lines.last_mut(), parts.last()) {
            *last = format!("{part}{end}");
        }
        lines
    }

    fn with_start(&self, content: &str, separator: &str) -> Vec<String> {
        let mut lines = vec![format!("{}{separator}", self.start)];
        lines.extend(self.lines(content, separator, &self.end));
        lines
    }

    /// Where there are no markers.
    fn otherwise(
        &self,
        mut lines: Vec<String>,
        content: &str,
        separator: &str,
    ) -> Result<Vec<String>, String> {
        let block = self.with_start(content, separator);
        let at = match &self.otherwise {
            Otherwise::Nowhere => None,
            Otherwise::First => Some(0),
            Otherwise::Last => {
                if let Some(last) = lines.last_mut().filter(|it| !it.ends_with(separator)) {
                    last.push_str(separator);
                }
                Some(lines.len())
            }
            Otherwise::Before(pattern) => lines.iter().position(|it| matches(pattern, it)),
            Otherwise::After(pattern) => lines.iter().position(|it| matches(pattern, it)).map(|it| it + 1),
        };
        let Some(at) = at else { return Err(format!("it has no line with the marker `{}`", self.start)) };
        if at > 0
            && let Some(before) = lines.get_mut(at - 1).filter(|it| !it.ends_with('\n'))
        {
            before.push_str(separator);
        }
        lines.splice(at..at, block);
        Ok(lines)
    }
}

/// To Python `$` stands before a line's end as well.
fn matches(pattern: &Pattern, line: &str) -> bool {
    pattern.is_match(line) || pattern.is_match(line.trim_end_matches(['\r', '\n']))
}

impl Rule for Block {
    fn edit(&self, text: &str, texts: &[String]) -> Result<String, String> {
        let content = format!("{}{}", self.content, texts.concat());
        let lines = lines_with_ends(text);
        let separator = if lines.first().is_some_and(|it| it.ends_with("\r\n")) { "\r\n" } else { "\n" };
        let (mut result, mut inside, mut found) = (Vec::new(), false, false);
        for line in &lines {
            if line.contains(&self.start) {
                inside = true;
                result.push(line.clone());
            } else if inside {
                if let Some(at) = line.find(&self.end) {
                    (inside, found) = (false, true);
                    result.extend(self.lines(&content, separator, &line[at..]));
                }
            } else {
                result.push(line.clone());
            }
        }
        if inside {
            return Err(format!("the block has no line with the end marker `{}`", self.end));
        }
        if !found {
            result = self.otherwise(lines, &content, separator)?;
        }
        Ok(result.concat())
    }
}

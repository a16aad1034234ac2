//! `file.replace`: every match of a pattern in a file becomes something else.

use super::edit::{BACKUP, Editing, Missing, NAME, Rule, SHOW_CHANGES, suffix};
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    pattern::{Flags, Pattern, Replacement},
    text::python_text,
};
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "replace",
    doc: Doc::new(
        "Every match of a pattern in a file is replaced. Patterns are those of Python without look-around and \
          back-references; `^` and `$` match at each line. A pattern that matches what it was replaced by too alters the \
          file in each run.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/ssh/sshd_config:\n  file.replace:\n    - pattern: ^#?PermitRootLogin.*$\n    - repl: PermitRootLogin \
         no\n    - append_if_not_found: true\n",
        "/etc/default/grub:\n  file.replace:\n    - pattern: ^(GRUB_TIMEOUT)=\\d+\n    - repl: \\1=1\n    - backup: \
         false\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    NAME,
    Param::of("pattern", ParamType::Text, "", "What to look for.").required(),
    Param::of(
        "repl",
        ParamType::Any,
        "",
        "What to put in its place; `\\1` and `\\g<name>` stand for groups.",
    )
    .required(),
    Param::of("count", ParamType::Integer, "0", "At most so many matches are replaced; 0 is all."),
    Param::of(
        "flags",
        ParamType::Any,
        "8",
        "Python's flags as a list of names (`IGNORECASE`, `MULTILINE`, `DOTALL`) or their sum: 8 is MULTILINE.",
    ),
    Param::of(
        "bufsize",
        ParamType::Text,
        "",
        "Accepted from Salt trees and without effect: the file is always read as a whole.",
    ),
    Param::of(
        "append_if_not_found",
        ParamType::Bool,
        "false",
        "If nothing matches, `not_found_content` is written at the end.",
    ),
    Param::of(
        "prepend_if_not_found",
        ParamType::Bool,
        "false",
        "If nothing matches, `not_found_content` is written at the beginning.",
    ),
    Param::of("not_found_content", ParamType::Text, "`repl`", "What to write if nothing matches."),
    BACKUP,
    SHOW_CHANGES,
    Param::of("ignore_if_missing", ParamType::Bool, "false", "A file that does not exist is no failure."),
    Param::of("backslash_literal", ParamType::Bool, "false", "A backslash in `repl` is a backslash."),
    Param::of("encoding", ParamType::Text, "utf-8", "Only `utf-8`; bytes that are none are left alone."),
];

#[derive(Debug)]
struct Replace {
    pattern: Pattern,
    with: Replacement,
    count: usize,
    flags: Flags,
    not_found: Option<(End, String)>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    First,
    Last,
}

/// Python's flags: a number, a name or a list of names.
fn flags(value: Option<&Value>) -> Result<Flags, ParamsError> {
    let mut flags = Flags::default();
    match value {
        None => return Ok(Flags::from_number(8)),
        Some(Value::Number(number)) => return Ok(Flags::from_number(number.as_i64().unwrap_or_default())),
        Some(Value::String(text)) if text.parse::<i64>().is_ok() => {
            return Ok(Flags::from_number(text.parse().unwrap_or_default()));
        }
        Some(Value::Array(names)) => {
            for name in names {
                flags.add(name.as_str().unwrap_or_default()).map_err(|why| invalid("flags", why))?;
            }
        }
        Some(other) => {
            flags.add(other.as_str().unwrap_or_default()).map_err(|why| invalid("flags", why))?;
        }
    }
    Ok(flags)
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.replace", PARAMS, params)?;
    let flags = flags(args.value("flags"))?;
    let pattern = Pattern::new(&args.text("pattern").unwrap_or_default(), flags);
    let pattern = pattern.map_err(|why| invalid("pattern", why))?;
    let repl = args.value("repl").and_then(python_text);
    let repl = repl.ok_or_else(|| invalid("repl", "`repl` must be text"))?;
    let with = if args.bool("backslash_literal", false) {
        Replacement::literal(&repl)
    } else {
        Replacement::new(&repl).map_err(|why| invalid("repl", why))?
    };
    with.fits(&pattern).map_err(|why| invalid("repl", why))?;
    let content = args.text("not_found_content").unwrap_or(repl);
    let not_found = match (args.bool("append_if_not_found", false), args.bool("prepend_if_not_found", false))
    {
        (true, true) => {
            let text = "give `append_if_not_found` or `prepend_if_not_found`, not both";
            return Err(invalid("prepend_if_not_found", text));
        }
        (true, false) => Some((End::Last, content)),
        (false, true) => Some((End::First, content)),
        (false, false) => None,
    };
    if args
        .text("encoding")
        .is_some_and(|it| !matches!(it.to_ascii_lowercase().as_str(), "utf-8" | "utf8" | "ascii"))
    {
        return Err(invalid("encoding", "only `utf-8` is available"));
    }
    let count = usize::try_from(args.number("count").unwrap_or_default());
    let count = count.map_err(|_| invalid("count", "`count` is less than 0"))?;
    let missing = if args.bool("ignore_if_missing", false) { Missing::Ignore } else { Missing::Fail };
    let rule = Replace { pattern, with, count, flags, not_found };
    Ok(Box::new(Editing { missing, backup: suffix(&args)?, ..Editing::new(&args, rule) }))
}

impl Replace {
    /// Whether the text has `content` on a line of its own already.
    fn has_line(&self, text: &str, content: &str) -> bool {
        let folded = |text: &str| if self.flags.ignore_case { text.to_lowercase() } else { text.to_owned() };
        let (text, content) = (folded(text), folded(content));
        let at = |start: usize| {
            let Some(rest) = text[start..].strip_prefix(&content) else { return false };
            rest.is_empty() || rest.starts_with('\n') || rest.starts_with("\r\n")
        };
        let starts = text.match_indices('\n').map(|it| it.0 + 1).filter(|_| self.flags.multi_line);
        std::iter::once(0).chain(starts).any(at)
    }
}

impl Rule for Replace {
    fn edit(&self, text: &str, _: &[String]) -> Result<String, String> {
        if let Some(replaced) = self.pattern.replace(text, &self.with, self.count)? {
            return Ok(replaced);
        }
        Ok(match &self.not_found {
            Some((_, content)) if self.has_line(text, content) => text.to_owned(),
            Some((End::First, content)) => format!("{content}\n{text}"),
            Some((End::Last, content)) => {
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                format!("{text}{end}{content}\n")
            }
            None => text.to_owned(),
        })
    }
    fn settles(&self) -> bool {
        false
    }
}

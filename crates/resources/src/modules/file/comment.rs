//! `file.comment` and `file.uncomment`: lines that match a pattern get a comment sign in front, or lose it.

use super::edit::{BACKUP, Editing, NAME, Rule, suffix};
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    pattern::{Flags, Pattern, escape},
};
use serde_json::{Map, Value};

pub(super) const COMMENT: Function = Function {
    name: "comment",
    doc: Doc::new(
        "Lines of a file that match are commented out. That none matches is a failure, unless they are commented out \
          already.",
    ),
    params: COMMENT_PARAMS,
    examples: Examples::new(&["/etc/fstab:\n  file.comment:\n    - regex: ^/dev/sr0\n"]),
    parse: comment,
};

pub(super) const UNCOMMENT: Function = Function {
    name: "uncomment",
    doc: Doc::new(
        "Lines of a file that match behind a comment sign lose that sign. That there is none is a failure, unless they \
          are there without it.",
    ),
    params: UNCOMMENT_PARAMS,
    examples: Examples::new(&["/etc/sysctl.conf:\n  file.uncomment:\n    - regex: net.ipv4.ip_forward=1\n"]),
    parse: uncomment,
};

const REGEX: Param = Param::of("regex", ParamType::Text, "", "The pattern of the lines without the comment sign, in Python's syntax; it has to match at their beginning.").required();
const CHAR: Param = Param::of("char", ParamType::Text, "#", "The comment sign.");

const COMMENT_PARAMS: &[Param] = &[
    NAME,
    REGEX,
    CHAR,
    BACKUP,
    Param::of("ignore_missing", ParamType::Bool, "false", "That no line matches is no failure."),
];
const UNCOMMENT_PARAMS: &[Param] = &[NAME, REGEX, CHAR, BACKUP];

fn anywhere(python: &str) -> Result<Pattern, ParamsError> {
    Pattern::new(python, Flags::from_number(8)).map_err(|why| invalid("regex", why))
}

fn at_start(python: &str) -> Result<Pattern, ParamsError> {
    Pattern::at_start(python, Flags::default()).map_err(|why| invalid("regex", why))
}

/// `line.strip("^")` and `rstrip("$")`, with a `$` if it had one.
fn bare(regex: &str) -> (&str, &str) {
    (regex.trim_start_matches('^').trim_end_matches('$'), if regex.ends_with('$') { "$" } else { "" })
}

fn sign(args: &Args<'_>) -> String {
    args.text("char").unwrap_or_else(|| "#".to_owned())
}

fn comment(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.comment", COMMENT_PARAMS, params)?;
    let (regex, sign) = (args.text("regex").unwrap_or_default(), sign(&args));
    let flags =
        regex.starts_with("(?").then(|| regex.find(')')).flatten().filter(|end| {
            regex[2..*end].len() == 1 && regex[2..*end].chars().all(|it| "iLmsux".contains(it))
        });
    let plain = &regex[flags.map_or(0, |end| end + 1)..];
    let plain = plain.strip_prefix('^').unwrap_or(plain);
    let plain = plain.strip_suffix('$').unwrap_or(plain);
    let caret = if regex.starts_with('^') { "^" } else { "" };
    let (inner, dollar) = bare(&regex);
    let rule = Comment {
        open: at_start(&format!(r"\s*(?:{plain})"))?,
        commented: anywhere(&format!("{}(?:{plain})", escape(&sign)))?,
        line: at_start(&format!("{caret}({inner}){dollar}"))?,
        sign,
        regex: plain.to_owned(),
        ignore_missing: args.bool("ignore_missing", false),
    };
    Ok(Box::new(Editing { backup: suffix(&args)?, ..Editing::new(&args, rule) }))
}

fn uncomment(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.uncomment", UNCOMMENT_PARAMS, params)?;
    let (regex, sign) = (args.text("regex").unwrap_or_default(), sign(&args));
    let plain = regex.trim_start_matches('^');
    let (inner, dollar) = bare(&regex);
    let rule = Uncomment {
        commented: anywhere(&format!("{}[ \\t]*(?:{plain})", escape(&sign)))?,
        open: anywhere(&format!("^[ \\t]*(?:{plain})"))?,
        line: at_start(&format!(r"{}\s*({inner}){dollar}", escape(&sign)))?,
        sign,
        regex: regex.clone(),
    };
    Ok(Box::new(Editing { backup: suffix(&args)?, ..Editing::new(&args, rule) }))
}

#[derive(Debug)]
struct Comment {
    /// Matches where a line that is to be commented out begins.
    open: Pattern,
    commented: Pattern,
    /// Matches such a line from its first character on.
    line: Pattern,
    sign: String,
    regex: String,
    ignore_missing: bool,
}

/// Applies `alter` to each line without its end.
fn each_line(text: &str, mut alter: impl FnMut(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |it| (it, "\n"));
        match alter(body) {
            Some(altered) => result.push_str(&altered),
            None => result.push_str(body),
        }
        result.push_str(end);
    }
    result
}

impl Rule for Comment {
    fn edit(&self, text: &str, _: &[String]) -> Result<String, String> {
        let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|it| it.0 + 1));
        let is_open = |at: usize| {
            let rest = &text[at..];
            !rest.trim_start().starts_with(&self.sign) && self.open.is_match(line_from(rest))
        };
        if !starts.any(is_open) {
            return if self.commented.is_match(text) || self.ignore_missing {
                Ok(text.to_owned())
            } else {
                Err(format!("no line matches `{}`", self.regex))
            };
        }
        let result = each_line(text, |line| self.line.is_match(line).then(|| format!("{}{line}", self.sign)));
        if self.commented.is_match(&result) {
            return Ok(result);
        }
        Err(format!("lines match `{}`, but not from their first character on", self.regex))
    }
}

/// Up to the end of the first line that is not blank.
fn line_from(text: &str) -> &str {
    let blank = text.len() - text.trim_start().len();
    let end = text[blank..].find('\n').map_or(text.len(), |it| blank + it);
    &text[..end]
}

#[derive(Debug)]
struct Uncomment {
    commented: Pattern,
    open: Pattern,
    line: Pattern,
    sign: String,
    regex: String,
}

impl Rule for Uncomment {
    fn edit(&self, text: &str, _: &[String]) -> Result<String, String> {
        if !self.commented.is_match(text) {
            return if self.open.is_match(text) {
                Ok(text.to_owned())
            } else {
                Err(format!("no line matches `{}`", self.regex))
            };
        }
        let signs: Vec<char> = self.sign.chars().collect();
        let result = each_line(text, |line| {
            self.line.is_match(line).then(|| line.trim_start_matches(&signs[..]).to_owned())
        });
        if self.open.is_match(&result) {
            return Ok(result);
        }
        Err(format!("lines match `{}`, but not right after a comment sign at their beginning", self.regex))
    }
}

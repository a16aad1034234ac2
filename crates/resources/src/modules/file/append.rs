//! `file.append` and `file.prepend`: text that a file has to have, at its end or at its beginning.

use super::edit::{
    CONTEXT, DEFAULTS, Editing, Missing, NAME, Rule, SHOW_CHANGES, SOURCE, SOURCE_HASH, SOURCE_HASHES,
    SOURCES, Sources, TEMPLATE, texts,
};
use super::owner::MAKEDIRS;
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    pattern::{Flags, Pattern},
    text::{lines_with_ends, split_lines},
};
use serde_json::{Map, Value};

pub(super) const APPEND: Function = Function {
    name: "append",
    doc: Doc::new(
        "A file has these lines: each text that it does not have anywhere yet is written at its end. A file that \
          does not exist is made.",
    ),
    params: APPEND_PARAMS,
    examples: Examples::new(&[
        "/etc/hosts.allow:\n  file.append:\n    - text: 'sshd: 192.0.2.0/24'\n",
        "/root/.bashrc:\n  file.append:\n    - text:\n      - alias ll='ls -l'\n      - export EDITOR=vi\n",
    ]),
    parse: append,
};

pub(super) const PREPEND: Function = Function {
    name: "prepend",
    doc: Doc::new(
        "A file has these lines: each text that it does not have anywhere yet is written at its beginning. With \
          `header` it has to begin with them. A file that does not exist is made.",
    ),
    params: PREPEND_PARAMS,
    examples: Examples::new(&[
        "/etc/motd:\n  file.prepend:\n    - text: Managed by labctl.\n    - header: true\n",
    ]),
    parse: prepend,
};

const TEXT: Param =
    Param::of("text", ParamType::Any, "", "The text, or a list of texts that are looked for one by one.");

const APPEND_PARAMS: &[Param] = &[
    NAME,
    TEXT,
    SOURCE,
    SOURCE_HASH,
    SOURCES,
    SOURCE_HASHES,
    TEMPLATE,
    CONTEXT,
    DEFAULTS,
    MAKEDIRS,
    Param::of(
        "ignore_whitespace",
        ParamType::Bool,
        "true",
        "A text counts as there whatever white space is between its words; with false it is a pattern that must \
              match.",
    ),
    SHOW_CHANGES,
];

const PREPEND_PARAMS: &[Param] = &[
    NAME,
    TEXT,
    SOURCE,
    SOURCE_HASH,
    SOURCES,
    SOURCE_HASHES,
    TEMPLATE,
    CONTEXT,
    DEFAULTS,
    MAKEDIRS,
    Param::of(
        "header",
        ParamType::Bool,
        "false",
        "The file has to begin with these lines, wherever else they are.",
    ),
    SHOW_CHANGES,
];

fn append(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.append", APPEND_PARAMS, params)?;
    let chunks = texts(&args, "text")?.unwrap_or_default();
    let mut patterns = None;
    if !args.bool("ignore_whitespace", true) {
        let compiled = chunks.iter().map(|it| Pattern::new(it, Flags::from_number(8)));
        patterns = Some(compiled.collect::<Result<Vec<_>, _>>().map_err(|why| invalid("text", why))?);
    }
    make(&args, Append { chunks, patterns })
}

fn prepend(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.prepend", PREPEND_PARAMS, params)?;
    let chunks = texts(&args, "text")?.unwrap_or_default();
    make(&args, Prepend { chunks, header: args.bool("header", false) })
}

fn make(args: &Args<'_>, rule: impl Rule + 'static) -> Result<Box<dyn Resource>, ParamsError> {
    let sources = Sources::parse(args)?;
    match (args.has("text"), sources.is_none()) {
        (true, false) => return Err(invalid("source", "give `text` or `source`, not both")),
        (false, true) => return Err(invalid("text", "give `text` or `source`")),
        _ => (),
    }
    let missing = Missing::Create { makedirs: args.bool("makedirs", false) };
    Ok(Box::new(Editing { missing, sources, ..Editing::new(args, rule) }))
}

#[derive(Debug)]
struct Append {
    chunks: Vec<String>,
    patterns: Option<Vec<Pattern>>,
}

impl Rule for Append {
    fn edit(&self, text: &str, texts: &[String]) -> Result<String, String> {
        let mut result = text.to_owned();
        for (at, chunk) in self.chunks.iter().chain(texts).enumerate() {
            let there = match self.patterns.as_ref().and_then(|it| it.get(at)) {
                Some(pattern) => pattern.is_match(text),
                None => has_words(text, chunk),
            };
            for line in split_lines(chunk).into_iter().filter(|_| !there) {
                if !result.is_empty() && !result.ends_with('\n') {
                    result.push('\n');
                }
                result.push_str(line);
                result.push('\n');
            }
        }
        Ok(result)
    }
    /// A pattern need not match the text that it is.
    fn settles(&self) -> bool {
        self.patterns.is_none()
    }
}

#[derive(Debug)]
struct Prepend {
    chunks: Vec<String>,
    header: bool,
}

impl Rule for Prepend {
    fn edit(&self, text: &str, texts: &[String]) -> Result<String, String> {
        let chunks = self.chunks.iter().chain(texts).filter(|it| self.header || !has_words(text, it));
        let preface: Vec<&str> = chunks.flat_map(|it| split_lines(it)).collect();
        if self.header {
            let lines = lines_with_ends(text);
            let head = lines.iter().take(preface.len()).flat_map(|it| split_lines(it));
            if head.eq(preface.iter().copied()) {
                return Ok(text.to_owned());
            }
        }
        let mut result = String::with_capacity(text.len());
        for line in preface {
            result.push_str(line);
            result.push('\n');
        }
        Ok(result + text)
    }
}

/// Whether `text` has the words of `wanted` in this order, with any white space between them, on lines of their own.
fn has_words(text: &str, wanted: &str) -> bool {
    let quotes: &[char] = match (wanted.contains('\''), wanted.contains('"')) {
        (true, _) => &['"'],
        (false, true) => &['\''],
        (false, false) => &[],
    };
    let words: Vec<&str> = split_lines(wanted).into_iter().flat_map(|it| words(it, quotes)).collect();
    let matches = |start: usize| {
        let mut rest = &text[start..];
        for word in &words {
            match rest.trim_start().strip_prefix(word) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        let blank = rest.trim_start_matches([' ', '\t', '\r', '\x0b', '\x0c']);
        blank.is_empty() || blank.starts_with('\n')
    };
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|it| it.0 + 1));
    starts.into_iter().any(matches)
}

/// Words, of which one that begins with a quote reaches to the next quote.
fn words<'a>(line: &'a str, quotes: &[char]) -> Vec<&'a str> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    while let Some(first) = rest.chars().next() {
        let closed = quotes.contains(&first).then(|| rest[1..].find(first)).flatten().map(|it| it + 2);
        let end = closed.or_else(|| rest.find(char::is_whitespace)).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `re.search` with Salt's pattern says in Python 3.11.
    #[test]
    fn white_space_between_words_does_not_matter() {
        for (text, wanted, found) in [
            ("a  b\tc\n", "a b c", true),
            ("  a b\n", "a b", true),
            ("a b c\n", "a b", false),
            ("x a b\n", "a b", false),
            ("a\nb\n", "a b", true),
            ("ab\n", "a b", true),
            ("a b\n", "ab", false),
            ("a\nb\nc\n", "a\nb", true),
            ("x", "", false),
            ("x\n", "", true),
            ("x\n\n", "", true),
            ("say \"a  b\" now\n", "say \"a b\" now", true),
            ("it's  so\n", "it's so", true),
        ] {
            assert_eq!(has_words(text, wanted), found, "{text:?} {wanted:?}");
        }
    }
}

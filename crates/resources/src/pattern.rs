//! Patterns as Salt trees write them, in Python's syntax of regular expressions, and globs. Matched in linear time;
//! what cannot be (look-around, back-references) is refused.

mod glob;

pub use glob::glob;

use regex_lite::{Captures, Regex, RegexBuilder};
use std::fmt::Write;

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 16 << 10;

/// Python's flags that count here.
#[expect(clippy::struct_excessive_bools, reason = "each is one of Python's")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) ignore_case: bool,
    pub(crate) multi_line: bool,
    pub(crate) dot_all: bool,
    pub(crate) verbose: bool,
}

impl Flags {
    /// Python's number for them: 2, 8, 16, 64.
    pub(crate) fn from_number(number: i64) -> Self {
        let has = |bit| number & bit != 0;
        Self { ignore_case: has(2), multi_line: has(8), dot_all: has(16), verbose: has(64) }
    }
    /// Python's name for one, long or short.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), String> {
        match name.trim().to_ascii_uppercase().as_str() {
            "IGNORECASE" | "I" => self.ignore_case = true,
            "MULTILINE" | "M" => self.multi_line = true,
            "DOTALL" | "S" => self.dot_all = true,
            "VERBOSE" | "X" => self.verbose = true,
            "ASCII" | "A" | "UNICODE" | "U" | "LOCALE" | "L" | "DEBUG" => (),
            _ => {
                return Err(format!(
                    "`{name}` is no flag of a pattern: IGNORECASE, MULTILINE, DOTALL, VERBOSE"
                ));
            }
        }
        Ok(())
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    anchored: Option<Regex>,
}

impl Pattern {
    pub(crate) fn new(python: &str, flags: Flags) -> Result<Self, String> {
        Ok(Self { regex: compile(&translate(python)?, python, flags)?, anchored: None })
    }
    /// One that matches at the beginning only, as Python's `re.match` does.
    pub(crate) fn at_start(python: &str, flags: Flags) -> Result<Self, String> {
        let translated = translate(python)?;
        let anchored = compile(&format!("\\A(?:{translated})"), python, flags)?;
        Ok(Self { regex: compile(&translated, python, flags)?, anchored: Some(anchored) })
    }
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.anchored.as_ref().unwrap_or(&self.regex).is_match(text)
    }
    /// Python's `re.subn`: every match, or the first `count` of them if that is not 0. `None`: nothing matches.
    pub(crate) fn replace(
        &self,
        text: &str,
        with: &Replacement,
        count: usize,
    ) -> Result<Option<String>, String> {
        let (mut result, mut done, mut at, mut found) = (String::new(), 0, 0, 0);
        while count == 0 || found < count {
            let Some(captures) = self.regex.captures_at(text, at) else { break };
            let Some(whole) = captures.get(0) else { break };
            result.push_str(&text[done..whole.start()]);
            with.expand(&captures, &mut result)?;
            (done, found) = (whole.end(), found + 1);
            at = done;
            if whole.start() == whole.end() {
                // The same empty match is not found twice.
                let Some(next) = text[at..].chars().next() else { break };
                at += next.len_utf8();
            }
        }
        result.push_str(&text[done..]);
        Ok((found > 0).then_some(result))
    }
}

fn compile(translated: &str, python: &str, flags: Flags) -> Result<Regex, String> {
    RegexBuilder::new(translated)
        .case_insensitive(flags.ignore_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .ignore_whitespace(flags.verbose)
        .build()
        .map_err(|error| format!("`{python}` is no pattern that is understood: {error}"))
}

/// What Python's `repl` stands for.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Number(usize),
    Name(String),
}

impl Replacement {
    /// These characters.
    pub(crate) fn literal(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.to_owned())] }
    }
    /// With `\1`, `\g<name>`, `\n` and the like.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('\\') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let Some(sign) = rest.chars().next() else {
                return Err(format!("`{text}` ends with a single backslash"));
            };
            let mut length = sign.len_utf8();
            let mut group = |piece| {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(piece);
            };
            match sign {
                'g' => {
                    let name = rest[1..].strip_prefix('<').and_then(|it| it.split_once('>'));
                    let (name, _) = name.ok_or_else(|| format!("`\\g` in `{text}` needs `<name>`"))?;
                    length = name.len() + 3;
                    group(name.parse().map_or_else(|_| Piece::Name(name.to_owned()), Piece::Number));
                }
                '1'..='9' => {
                    length = if rest[1..].starts_with(|it: char| it.is_ascii_digit()) { 2 } else { 1 };
                    group(Piece::Number(rest[..length].parse().unwrap_or_default()));
                }
                '0' => plain.push('\0'),
                _ => match control(sign) {
                    Some(control) => plain.push(control),
                    None if sign.is_ascii_alphabetic() => {
                        return Err(format!(
                            "`\\{sign}` in `{text}` stands for nothing; `\\\\{sign}` is a backslash"
                        ));
                    }
                    None if sign == '\\' => plain.push('\\'),
                    None => {
                        plain.push('\\');
                        plain.push(sign);
                    }
                },
            }
            rest = &rest[length..];
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces })
    }

    fn expand(&self, captures: &Captures<'_>, result: &mut String) -> Result<(), String> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => result.push_str(text),
                Piece::Number(number) if *number >= captures.len() => {
                    return Err(format!("the pattern has no group {number}"));
                }
                Piece::Number(number) => result.push_str(captures.get(*number).map_or("", |it| it.as_str())),
                Piece::Name(name) => result.push_str(captures.name(name).map_or("", |it| it.as_str())),
            }
        }
        Ok(())
    }

    /// Complains about groups that `pattern` does not have.
    pub(crate) fn fits(&self, pattern: &Pattern) -> Result<(), String> {
        let names: Vec<&str> = pattern.regex.capture_names().flatten().collect();
        let groups = pattern.regex.captures_len();
        for piece in &self.pieces {
            match piece {
                Piece::Number(number) if *number >= groups => {
                    return Err(format!("the pattern has no group {number}"));
                }
                Piece::Name(name) if !names.contains(&name.as_str()) => {
                    return Err(format!("the pattern has no group `{name}`"));
                }
                _ => (),
            }
        }
        Ok(())
    }
}

fn control(sign: char) -> Option<char> {
    Some(match sign {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

/// A character so that it stands for itself.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|it| push_literal(&mut escaped, it));
    escaped
}

fn push_literal(out: &mut String, sign: char) {
    if sign.is_ascii_alphanumeric() || !sign.is_ascii() || matches!(sign, '_' | '<' | '>') {
        out.push(sign);
    } else if sign.is_ascii_graphic() {
        out.push('\\');
        out.push(sign);
    } else {
        // Spaces too: they count in verbose patterns where Python has them escaped.
        let _ = write!(out, "\\x{:02x}", sign as u32);
    }
}

/// Python's syntax to that of the crate.
fn translate(python: &str) -> Result<String, String> {
    if python.len() > PATTERN_BYTES_MAX {
        return Err("the pattern is longer than 16 KiB".to_owned());
    }
    let mut out = String::with_capacity(python.len() + 8);
    let mut rest = python;
    while let Some(sign) = rest.chars().next() {
        let length = match sign {
            '\\' => escaped(python, &rest[1..], &mut out, Inside::No)? + 1,
            '[' => class(python, rest, &mut out)?,
            '(' if rest.starts_with("(?") => group(python, rest, &mut out)?,
            '{' if !is_repetition(rest) => {
                out.push_str("\\{");
                1
            }
            '{' if rest.starts_with("{,") => {
                out.push_str("{0,");
                2
            }
            '}' if !out_is_open(&out) => {
                out.push_str("\\}");
                1
            }
            _ => {
                out.push(sign);
                sign.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(out)
}

/// Whether the `{` of a repetition was just written.
fn out_is_open(out: &str) -> bool {
    let digits = out.trim_end_matches(|it: char| it.is_ascii_digit() || it == ',');
    digits.len() < out.len() && digits.ends_with('{') && !digits.ends_with("\\{")
}

/// `{3}`, `{3,}`, `{,3}`, `{3,4}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else { return false };
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    match inside.split_once(',') {
        Some((least, most)) => digits(least) && digits(most) && !(least.is_empty() && most.is_empty()),
        None => !inside.is_empty() && digits(inside),
    }
}

/// What follows `(?`: gives the length that was read.
fn group(python: &str, rest: &str, out: &mut String) -> Result<usize, String> {
    let refuse =
        |what: &str| Err(format!("`{python}` uses {what}, which is not available: write it without"));
    let inside = &rest[2..];
    if inside.starts_with(['=', '!']) || inside.starts_with("<=") || inside.starts_with("<!") {
        return refuse("look-around (`(?=`, `(?!`, `(?<=`, `(?<!`)");
    }
    if inside.starts_with("P=") {
        return refuse("a back-reference (`(?P=name)`)");
    }
    if inside.starts_with(['(', '>']) {
        return refuse("a conditional or atomic group");
    }
    if inside.starts_with('#') {
        return match rest.find(')') {
            Some(end) => Ok(end + 1),
            None => Err(format!("`{python}`: a comment `(?#` has no end")),
        };
    }
    let flags =
        inside.len() - inside.trim_start_matches(|it: char| it.is_ascii_alphabetic() || it == '-').len();
    if inside[flags..].starts_with([')', ':']) && !inside.starts_with('P') {
        let known: String = inside[..flags].chars().filter(|it| !matches!(it, 'a' | 'u' | 'L')).collect();
        let end = &inside[flags..=flags];
        match (known.as_str(), end) {
            ("", ")") => (),
            (known, end) => {
                let _ = write!(out, "(?{known}{end}");
            }
        }
        return Ok(2 + flags + 1);
    }
    out.push_str("(?");
    Ok(2)
}

#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Class,
    No,
}

/// What follows a backslash: gives the length that was read.
fn escaped(python: &str, rest: &str, out: &mut String, inside: Inside) -> Result<usize, String> {
    let Some(sign) = rest.chars().next() else {
        return Err(format!("`{python}` ends with a single backslash"));
    };
    let hexadecimal = |digits: usize| -> Result<(char, usize), String> {
        let text =
            rest.get(1..=digits).ok_or_else(|| format!("`{python}`: `\\{sign}` needs {digits} digits"))?;
        let code = u32::from_str_radix(text, 16).ok().and_then(char::from_u32);
        Ok((code.ok_or_else(|| format!("`{python}`: `\\{sign}{text}` is no character"))?, digits + 1))
    };
    match sign {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
            out.push('\\');
            out.push(sign);
        }
        'b' if inside == Inside::Class => out.push_str("\\x08"),
        'b' | 'B' | 'A' if inside == Inside::No => {
            out.push('\\');
            out.push(sign);
        }
        'Z' if inside == Inside::No => out.push_str("\\z"),
        'x' | 'u' | 'U' => {
            let digits = [2, 4, 8][usize::from(sign == 'u') + 2 * usize::from(sign == 'U')];
            let (sign, length) = hexadecimal(digits)?;
            push_literal(out, sign);
            return Ok(length);
        }
        '0' => out.push_str("\\x00"),
        '1'..='9' => {
            return Err(format!("`{python}` uses a back-reference (`\\{sign}`), which is not available"));
        }
        _ => match control(sign) {
            Some(sign) => {
                let _ = write!(out, "\\x{:02x}", sign as u32);
            }
            None if sign.is_ascii_alphabetic() => {
                return Err(format!("`{python}`: `\\{sign}` stands for nothing"));
            }
            None => push_literal(out, sign),
        },
    }
    Ok(sign.len_utf8())
}

/// `[...]`: gives the length that was read.
fn class(python: &str, rest: &str, out: &mut String) -> Result<usize, String> {
    let mut at = 1;
    out.push('[');
    if rest[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    while let Some(sign) = rest[at..].chars().next() {
        match sign {
            ']' if at > first => {
                out.push(']');
                return Ok(at + 1);
            }
            '\\' => at += escaped(python, &rest[at + 1..], out, Inside::Class)? + 1,
            '-' => {
                // As itself where it begins or ends a class.
                let plain = at == first || rest[at + 1..].starts_with(']');
                out.push_str(if plain { "\\-" } else { "-" });
                at += 1;
            }
            _ => {
                push_literal(out, sign);
                at += sign.len_utf8();
            }
        }
    }
    Err(format!("`{python}`: a `[` has no `]`"))
}

/// A pattern that is looked for in a line: `*` is anything, `{name}` a word, which is captured, and `{name*}` the rest of
/// the line, which is captured too.
#[derive(Clone, Debug)]
pub struct LinePattern {
    regex: Regex,
    names: Vec<String>,
}

/// Captures of one pattern.
const CAPTURES_MAX: usize = 16;
/// Longest pattern for lines.
const LINE_PATTERN_BYTES_MAX: usize = 1024;

impl LinePattern {
    /// Says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > LINE_PATTERN_BYTES_MAX {
            return Err(format!("the pattern is longer than {LINE_PATTERN_BYTES_MAX} bytes"));
        }
        let (mut out, mut names, mut rest) = (String::new(), Vec::new(), pattern);
        while let Some(sign) = rest.chars().next() {
            let mut length = sign.len_utf8();
            match sign {
                '*' => out.push_str(".*?"),
                '{' => {
                    let end = rest.find('}').ok_or_else(|| format!("`{pattern}`: a `{{` has no `}}`"))?;
                    let (name, what) = match rest[1..end].strip_suffix('*') {
                        Some(name) => (name, "(.*)"),
                        None => (&rest[1..end], "(\\S+)"),
                    };
                    let good = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
                    if name.is_empty() || !name.bytes().all(good) || names.iter().any(|it| it == name) {
                        return Err(format!("`{pattern}`: `{name}` is no name, or is there twice"));
                    }
                    names.push(name.to_owned());
                    out.push_str(what);
                    length = end + 1;
                }
                sign => push_literal(&mut out, sign),
            }
            rest = &rest[length..];
        }
        if names.len() > CAPTURES_MAX {
            return Err(format!("`{pattern}` captures more than {CAPTURES_MAX} parts"));
        }
        let regex = compile(&out, pattern, Flags::default())?;
        Ok(Self { regex, names })
    }

    /// What it captures, if it is in the line.
    pub fn captures<'a>(&'a self, line: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let captures = self.regex.captures(line)?;
        let named = self
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_str(), captures.get(index + 1).map_or("", |it| it.as_str())));
        Some(named.collect())
    }
}

/// Salt's `include_pat` and `exclude_pat`: globs, or with `E@` in front patterns that match anywhere.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Selector>,
    exclude: Vec<Selector>,
}

#[derive(Clone, Debug)]
enum Selector {
    Glob(String),
    Pattern(Pattern),
}

impl Selection {
    /// Of these; `Err` is the one that is no pattern.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        let selector = |text: &String| match text.strip_prefix("E@") {
            Some(python) => Pattern::new(python, Flags::default()).map(Selector::Pattern),
            None => Ok(Selector::Glob(text.clone())),
        };
        let all = |texts: &[String]| texts.iter().map(selector).collect::<Result<Vec<_>, _>>();
        Ok(Self { include: all(include)?, exclude: all(exclude)? })
    }
    /// Whether a relative path is selected.
    pub fn selects(&self, path: &str) -> bool {
        let hit = |it: &Selector| match it {
            Selector::Glob(text) => glob(text, path),
            Selector::Pattern(pattern) => pattern.is_match(path),
        };
        (self.include.is_empty() || self.include.iter().any(hit)) && !self.exclude.iter().any(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_for_lines_capture_words_and_rests() {
        let captured = |pattern: &str, line: &str| {
            let pattern = LinePattern::new(pattern).unwrap();
            pattern.captures(line).map(|it| {
                it.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(" ")
            })
        };
        let line = "Failed password for root from 10.1.2.3 port 22 ssh2";
        let cases = [
            ("Failed password for {user} from {address} port", Some("user=root address=10.1.2.3")),
            ("Failed * from {address}", Some("address=10.1.2.3")),
            ("port {what*}", Some("what=22 ssh2")),
            ("password", Some("")),
            ("for  {user}", None),
            ("p.rt", None),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(captured(pattern, line).as_deref(), wanted, "{pattern}");
        }
        assert_eq!(captured("[{level}] a+b", "[warn] a+b").as_deref(), Some("level=warn"));
        for wrong in ["{", "{}", "{a b}", "{a} {a}", &"x".repeat(2000)] {
            assert!(LinePattern::new(wrong).is_err(), "{wrong}");
        }
    }

    fn sub(pattern: &str, with: &str, text: &str) -> String {
        let pattern = Pattern::new(pattern, Flags::from_number(8)).unwrap();
        let with = Replacement::new(with).unwrap();
        pattern.replace(text, &with, 0).unwrap().unwrap_or_else(|| "(no match)".to_owned())
    }

    /// The right-hand sides are what Python 3.11 says.
    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        for (pattern, with, text, result) in [
            ("^#?Port .*$", "Port 22", "a\n#Port 2\nPort 3\n", "a\nPort 22\nPort 22\n"),
            ("x*", "-", "abxd", "-a-b--d-"),
            (r"(\w+)=(\w+)", r"\2=\1", "a=b c=d", "b=a d=c"),
            (r"(?P<k>\w+):", r"\g<k>=", "a:1", "a=1"),
            ("a{2}", "b", "aaa", "ba"),
            ("${HOME}", "b", "x", "(no match)"),
            (r"\${HOME}", "b", "${HOME}/x", "b/x"),
            ("{foo}", "b", "{foo}", "b"),
            ("[[]a]", "b", "[a]", "b"),
            ("[]x]", "b", "]x", "bb"),
            ("[a-c&&-]", "_", "a&-d", "___d"),
            (r"a\/b\-c", "x", "a/b-c", "x"),
            (r"\Aa", "x", "a\na", "x\na"),
            ("(?i)abc", "x", "ABC", "x"),
            ("(?#note)abc", "x", "abc", "x"),
            (r"a\x41", "x", "aA", "x"),
            ("^$", "x", "a\n\nb\n", "a\nx\nb\nx"),
            ("a{,2}b", "x", "aaab", "ax"),
            ("a", r"\n\\1", "a", "\n\\1"),
        ] {
            assert_eq!(sub(pattern, with, text), result, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_matched_in_linear_time_is_refused() {
        for (pattern, word) in [
            ("^(?!#)a", "look-around"),
            ("(?<=a)b", "look-around"),
            (r"(a)\1", "back-reference"),
            ("(?P<x>a)(?P=x)", "back-reference"),
            ("(", "no pattern"),
            ("[a", "no `]`"),
            (r"\y", "stands for nothing"),
        ] {
            let error = Pattern::new(pattern, Flags::default()).unwrap_err();
            assert!(error.contains(word), "{pattern}: {error}");
        }
        let pattern = Pattern::new("(a)", Flags::default()).unwrap();
        assert!(Replacement::new(r"\2").unwrap().fits(&pattern).is_err());
        assert!(Replacement::new(r"\1").unwrap().fits(&pattern).is_ok());
        assert!(Replacement::new(r"\q").is_err());
    }

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (pattern, text, wanted) in [
            ("*.conf", "a/b.conf", true),
            ("*.conf", "a.confx", false),
            ("a?c", "abc", true),
            ("[a-c]*", "bx", true),
            ("[!a-c]*", "bx", false),
            ("[", "[", true),
            ("a*b*c", "aXbYbZc", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), wanted, "{pattern} {text}");
        }
        let texts = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&texts(&["*.a", "E@^x/"]), &texts(&["*no*"])).unwrap();
        assert!(selection.selects("x/y") && selection.selects("q.a"));
        assert!(!selection.selects("x/no") && !selection.selects("q.b"));
    }
}

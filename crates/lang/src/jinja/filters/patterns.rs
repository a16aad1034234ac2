//! Filters with regular expressions of Python.

use crate::{
    jinja::{
        call::{Called, flag, text},
        failure::{Failure, Outcome},
        run::{Place, Run},
        value::Value,
    },
    limits,
};
use regex::{Captures, Regex, RegexBuilder};

type Made = Outcome<Value>;

/// What compiling a pattern counts as.
const COMPILE: usize = 2_000;

/// A pattern of Python.
pub(in crate::jinja) fn pattern(
    run: &Run<'_>,
    source: &str,
    ignore_case: bool,
    multi_line: bool,
) -> Outcome<Regex> {
    run.heap.spend(COMPILE + source.len())?;
    let adapted = source.replace("\\Z", "\\z");
    let built = RegexBuilder::new(&adapted)
        .case_insensitive(ignore_case)
        .multi_line(multi_line)
        .size_limit(limits::REGEX_BYTES)
        .build();
    built.map_err(|cause| {
        let reason = cause.to_string();
        let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        Failure::value(format!("this pattern cannot be used: {reason}"))
            .help("look-around and back references are not available; write it without them")
    })
}

fn groups(run: &Run<'_>, found: &Captures<'_>) -> Value {
    let text = |index: usize| found.get(index).map_or(Value::None, |it| Value::str(it.as_str()));
    if found.len() == 1 {
        return run.heap.tuple(vec![text(0)]);
    }
    run.heap.tuple((1..found.len()).map(text).collect())
}

fn searched(run: &Run<'_>, name: &str, value: &Value, args: &Called, anchored: bool) -> Made {
    let [source, case, lines] = args.need(name, 1, ["rgx", "ignorecase", "multiline"])?;
    let source = text(name, source.as_ref())?;
    let whole = text(name, Some(value))?;
    let source = if anchored { format!("\\A(?:{source})") } else { source.to_owned() };
    let pattern = pattern(run, &source, flag(case.as_ref(), false)?, flag(lines.as_ref(), false)?)?;
    run.heap.spend(whole.len() / 8)?;
    Ok(pattern.captures(whole).map_or(Value::None, |it| groups(run, &it)))
}

pub(super) fn search(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    searched(run, "regex_search", value, args, false)
}

pub(super) fn matched(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    searched(run, "regex_match", value, args, true)
}

pub(super) fn replace(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [source, new, case, lines] =
        args.need("regex_replace", 2, ["rgx", "val", "ignorecase", "multiline"])?;
    let source = text("regex_replace", source.as_ref())?;
    let new = text("regex_replace", new.as_ref())?;
    let whole = text("regex_replace", Some(value))?;
    let pattern = pattern(run, source, flag(case.as_ref(), false)?, flag(lines.as_ref(), false)?)?;
    run.heap.spend(whole.len() / 8)?;
    let mut out = String::new();
    let mut end = 0;
    for found in pattern.captures_iter(whole) {
        let Some(all) = found.get(0) else { continue };
        out.push_str(&whole[end..all.start()]);
        expand(new, &found, &mut out);
        crate::jinja::text::bounded(&out)?;
        end = all.end();
    }
    out.push_str(&whole[end..]);
    run.heap.text(out)
}

/// `\1`, `\g<name>` and `\n` of a replacement.
fn expand(new: &str, found: &Captures<'_>, out: &mut String) {
    let group = |name: &str| match name.parse::<usize>() {
        Ok(index) => found.get(index),
        Err(_) => found.name(name),
    };
    let mut rest = new;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some((name, after)) = tail.strip_prefix("g<").and_then(|it| it.split_once('>')) {
            out.push_str(group(name).map_or("", |it| it.as_str()));
            rest = after;
            continue;
        }
        let digits = tail.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out.push_str(group(&tail[..digits]).map_or("", |it| it.as_str()));
            rest = &tail[digits..];
            continue;
        }
        let Some(char) = tail.chars().next() else {
            out.push('\\');
            return;
        };
        match char {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            '\\' => out.push('\\'),
            other => out.extend(['\\', other]),
        }
        rest = &tail[char.len_utf8()..];
    }
    out.push_str(rest);
}

/// Characters that Python's `re.escape` puts a backslash before.
const SPECIAL: &str = "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}";

pub(super) fn escape(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let mut out = String::new();
    for char in text("regex_escape", Some(value))?.chars() {
        if SPECIAL.contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    run.heap.text(out)
}

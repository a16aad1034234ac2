//! Whether this minion is meant by a target of Salt: `match.glob`, `match.compound` and the like.

use crate::jinja::{
    failure::{Failure, Outcome},
    filters::patterns,
    run::Run,
    salt::lookup,
    text::str_of,
    value::Value,
};
use globset::GlobBuilder;
use std::net::IpAddr;

/// Whether a text fits a pattern of Python's `fnmatch`.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let glob =
        GlobBuilder::new(&pattern.replace('{', "[{]").replace('}', "[}]")).literal_separator(false).build();
    glob.map_or(pattern == text, |it| it.compile_matcher().is_match(text))
}

/// Whether the minion matches an expression of a kind that top files know.
pub(in crate::jinja) fn matches(run: &Run<'_>, kind: &str, expression: &str) -> Outcome<bool> {
    run.heap.spend(100 + expression.len())?;
    let id = run.world.subject.map_or(String::new(), |it| it.id.to_string());
    match kind {
        "glob" => Ok(fits(expression, &id)),
        "list" => Ok(expression.split(',').any(|it| it.trim() == id)),
        "pcre" => Ok(patterns::pattern(run, &format!("\\A(?:{expression})"), false, false)?.is_match(&id)),
        "grain" | "grain_pcre" => data(run, &run.world.grains, expression, kind == "grain_pcre"),
        "pillar" | "pillar_pcre" | "pillar_exact" => {
            data(run, &run.world.pillar, expression, kind == "pillar_pcre")
        }
        "ipcidr" => Ok(in_net(run, expression)),
        "compound" => compound(run, expression),
        other => Err(Failure::value(format!("there is no target of the kind `{other}`"))),
    }
}

/// `key:sub:pattern` in grains or pillar: the longest key that leads somewhere.
fn data(run: &Run<'_>, root: &Value, expression: &str, regex: bool) -> Outcome<bool> {
    let parts: Vec<&str> = expression.split(':').collect();
    for split in (1..parts.len()).rev() {
        let (path, pattern) = (parts[..split].join(":"), parts[split..].join(":"));
        let Some(found) = lookup::traverse(run, root, &Value::str(&path), ":")? else { continue };
        if one(run, &found, &pattern, regex)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn one(run: &Run<'_>, value: &Value, pattern: &str, regex: bool) -> Outcome<bool> {
    match value.plain() {
        Value::List(_) => {
            for item in value.items(run.heap)? {
                if one(run, &item, pattern, regex)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Dict(dict) => {
            Ok(pattern == "*" || dict.borrow().contains_key(&crate::jinja::value::Key::of_str(pattern)))
        }
        other => {
            let text = str_of(other, run.heap)?;
            if regex {
                let source = format!("\\A(?:{pattern})");
                return Ok(patterns::pattern(run, &source, true, false)?.is_match(&text));
            }
            Ok(fits(&pattern.to_lowercase(), &text.to_lowercase()))
        }
    }
}

fn in_net(run: &Run<'_>, net: &str) -> bool {
    let addresses = super::machine::addresses(run);
    let Ok(net) = net.parse::<ipnet::IpNet>().or_else(|_| net.parse::<IpAddr>().map(ipnet::IpNet::from))
    else {
        return false;
    };
    addresses.iter().any(|it| net.contains(it))
}

/// Most words of one compound target.
const WORDS_MAX: usize = 200;

fn compound(run: &Run<'_>, expression: &str) -> Outcome<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    if words.len() > WORDS_MAX {
        return Err(Failure::value(format!("a compound target has at most {WORDS_MAX} words")));
    }
    let mut at = 0;
    let result = any(run, &words, &mut at)?;
    if at < words.len() {
        return Err(Failure::value(format!("`{}` has no place in this compound target", words[at])));
    }
    Ok(result)
}

fn any(run: &Run<'_>, words: &[&str], at: &mut usize) -> Outcome<bool> {
    let mut result = all(run, words, at)?;
    while words.get(*at) == Some(&"or") {
        *at += 1;
        result |= all(run, words, at)?;
    }
    Ok(result)
}

fn all(run: &Run<'_>, words: &[&str], at: &mut usize) -> Outcome<bool> {
    let mut result = single(run, words, at)?;
    while words.get(*at) == Some(&"and") {
        *at += 1;
        result &= single(run, words, at)?;
    }
    Ok(result)
}

fn single(run: &Run<'_>, words: &[&str], at: &mut usize) -> Outcome<bool> {
    let Some(word) = words.get(*at) else {
        return Err(Failure::value("this compound target ends too early"));
    };
    *at += 1;
    match *word {
        "not" => Ok(!run.heap.deeper(|| single(run, words, at))?),
        "(" => {
            let result = run.heap.deeper(|| any(run, words, at))?;
            if words.get(*at) != Some(&")") {
                return Err(Failure::value("a parenthesis is never closed in this compound target"));
            }
            *at += 1;
            Ok(result)
        }
        word => {
            let Some((letter, rest)) = word.split_once('@') else { return matches(run, "glob", word) };
            let kind = match letter {
                "G" => "grain",
                "P" => "grain_pcre",
                "E" => "pcre",
                "L" => "list",
                "I" => "pillar",
                "J" => "pillar_pcre",
                "S" => "ipcidr",
                _ => return Err(Failure::value(format!("`{letter}@` is not known in a compound target"))),
            };
            matches(run, kind, rest)
        }
    }
}

//! Filters on texts.

#![expect(clippy::unnecessary_wraps, reason = "all filters have one form")]

use crate::jinja::{
    call::{Called, flag, int, text},
    failure::{Failure, Outcome},
    methods,
    run::{Place, Run},
    text::str_of,
    value::Value,
};
use std::fmt::Write;

type Made = Outcome<Value>;

fn method(run: &Run<'_>, value: &Value, name: &str, args: &Called) -> Made {
    let text = Value::Str(str_of(value, run.heap)?.into());
    run.method(&text, name, args)
}

pub(super) fn capitalize(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(methods::capitalized(&str_of(value, run.heap)?))
}

pub(super) fn center(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [width] = args.bind("center", ["width"])?;
    method(run, value, "center", &Called::of(vec![width.unwrap_or(Value::Int(80))]))
}

pub(super) fn contains_whitespace(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::Bool(text("contains_whitespace", Some(value))?.contains(char::is_whitespace)))
}

pub(super) fn escape(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(escaped(&str_of(value, run.heap)?))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn filesizeformat(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [binary] = args.bind("filesizeformat", ["binary"])?;
    let number = value.as_float().or_else(|| value.as_str()?.trim().parse().ok());
    let Some(bytes) = number else {
        return Err(Failure::value(format!("`filesizeformat` takes a number, not {}", value.kind())));
    };
    let (base, units) = if flag(binary.as_ref(), false)? {
        (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
    } else {
        (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
    };
    if (bytes - 1.0).abs() < f64::EPSILON {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        return run.heap.text(format!("{} Bytes", bytes.trunc()));
    }
    let mut size = bytes / base;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    run.heap.text(format!("{size:.1} {}", units[unit]))
}

pub(super) fn format(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let format = text("format", Some(value))?;
    let values = if args.named.is_empty() {
        run.heap.tuple(args.plain.clone())
    } else {
        let pairs =
            args.named.iter().map(|(name, it)| (crate::jinja::value::Key::Str(name.clone()), it.clone()));
        run.heap.dict(pairs.collect())
    };
    run.heap.text(crate::jinja::format::percent(format, &values, run.heap)?)
}

pub(super) fn human_to_bytes(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [unit, metric] = args.bind("human_to_bytes", ["default_unit", "handle_metric"])?;
    if let Some(number) = value.as_int() {
        return Ok(Value::Int(number));
    }
    let size = text("human_to_bytes", Some(value))?.trim();
    let end = size.find(|it: char| !(it.is_ascii_digit() || it == '.')).unwrap_or(size.len());
    let number: f64 = match size[..end].parse() {
        Ok(number) => number,
        Err(_) => return Ok(Value::Int(0)),
    };
    let default = unit.as_ref().and_then(Value::as_str).unwrap_or("B");
    let unit = if size[end..].trim().is_empty() { default } else { size[end..].trim() }.to_lowercase();
    let letters = ["b", "k", "m", "g", "t", "p", "e", "z", "y"];
    let Some(power) = letters.iter().position(|it| unit.starts_with(it)) else { return Ok(Value::Int(0)) };
    let decimal = flag(metric.as_ref(), false)? && unit.len() == 2 && unit.ends_with('b');
    let base: f64 = if decimal { 1000.0 } else { 1024.0 };
    let bytes = number * base.powi(i32::try_from(power).unwrap_or(0));
    Ok(Value::Int(crate::jinja::value::whole(bytes.trunc()).unwrap_or(0)))
}

pub(super) fn indent(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let whole = str_of(value, run.heap)?;
    let by = match width.as_ref() {
        Some(Value::Str(by)) => by.to_string(),
        other => " ".repeat(usize::try_from(int("indent", other, 4)?).unwrap_or(0).min(1024)),
    };
    let (first, blank) = (flag(first.as_ref(), false)?, flag(blank.as_ref(), false)?);
    run.heap.room(whole.len() + (whole.matches('\n').count() + 1).saturating_mul(by.len()))?;
    let mut out = String::new();
    for (index, line) in whole.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        if wanted {
            out.push_str(&by);
        }
        out.push_str(line);
    }
    Ok(Value::Str(out.into()))
}

pub(super) fn is_hex(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let text = value.as_str().unwrap_or("");
    let digits = text.strip_prefix("0x").unwrap_or(text);
    Ok(Value::Bool(!digits.is_empty() && digits.bytes().all(|it| it.is_ascii_hexdigit())))
}

pub(super) fn lower(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(str_of(value, run.heap)?.to_lowercase())
}

pub(super) fn upper(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(str_of(value, run.heap)?.to_uppercase())
}

pub(super) fn path_join(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let mut parts = vec![str_of(value, run.heap)?];
    for part in &args.plain {
        parts.push(str_of(part, run.heap)?);
    }
    run.heap.text(joined_path(&parts))
}

/// A path of parts; Salt takes a leading slash of the later ones away.
pub(in crate::jinja) fn joined_path(parts: &[String]) -> String {
    let mut path = String::new();
    for (index, part) in parts.iter().enumerate() {
        let part = if index == 0 { part.as_str() } else { part.trim_start_matches('/') };
        if part.is_empty() {
            continue;
        }
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
    }
    normalized(&path)
}

/// A path without `.`, `..` and double slashes.
pub(in crate::jinja) fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let root = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|it| *it != "..") => {
                parts.pop();
            }
            ".." if root => {}
            other => parts.push(other),
        }
    }
    let rest = parts.join("/");
    match (root, rest.is_empty()) {
        (true, _) => format!("/{rest}"),
        (false, true) => ".".to_owned(),
        (false, false) => rest,
    }
}

pub(super) fn quote(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(shell_quoted(text("quote", Some(value))?))
}

/// A word for a shell, as Python's `shlex.quote` writes it.
pub(in crate::jinja) fn shell_quoted(text: &str) -> String {
    let safe = |it: char| it.is_ascii_alphanumeric() || "@%+=:,./-_".contains(it);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

pub(super) fn replace(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [old, new, count] = args.need("replace", 2, ["old", "new", "count"])?;
    let whole = str_of(value, run.heap)?;
    let old = str_of(old.as_ref().unwrap_or(&Value::None), run.heap)?;
    let new = str_of(new.as_ref().unwrap_or(&Value::None), run.heap)?;
    let count = usize::try_from(int("replace", count.as_ref(), -1)?).unwrap_or(usize::MAX);
    methods::replace(run, &whole, &old, &new, count)
}

pub(super) fn skip(_: &Run<'_>, _: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::str(""))
}

pub(super) fn string(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    match value {
        Value::Str(_) => Ok(value.clone()),
        other => run.heap.text(str_of(other, run.heap)?),
    }
}

pub(super) fn striptags(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let whole = str_of(value, run.heap)?;
    let mut out = String::new();
    let mut inside = false;
    for char in whole.chars() {
        match char {
            '<' => inside = true,
            '>' if inside => inside = false,
            it if !inside => out.push(it),
            _ => {}
        }
    }
    run.heap.text(out.split_whitespace().collect::<Vec<_>>().join(" "))
}

pub(super) fn substring_in_list(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [list] = args.need("substring_in_list", 1, ["list"])?;
    let part = text("substring_in_list", Some(value))?;
    let items = list.unwrap_or(Value::None).items(run.heap)?;
    Ok(Value::Bool(items.iter().any(|it| it.as_str().is_some_and(|it| it.contains(part)))))
}

pub(super) fn title(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let whole = str_of(value, run.heap)?;
    let mut out = String::with_capacity(whole.len());
    let mut start = true;
    for char in whole.chars() {
        if start {
            out.extend(char.to_uppercase());
        } else {
            out.extend(char.to_lowercase());
        }
        start = char.is_whitespace() || "-([{<".contains(char);
    }
    run.heap.text(out)
}

pub(super) fn to_camelcase(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [upper] = args.bind("to_camelcase", ["uppercamel"])?;
    let upper = flag(upper.as_ref(), false)?;
    let mut out = String::new();
    for (index, part) in text("to_camelcase", Some(value))?.split('_').enumerate() {
        if index == 0 && !upper {
            out.push_str(part);
        } else {
            let mut chars = part.chars();
            out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
            out.push_str(chars.as_str());
        }
    }
    run.heap.text(out)
}

pub(super) fn to_snake_case(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let chars: Vec<char> = text("to_snake_case", Some(value))?.chars().collect();
    let mut out = String::new();
    for (index, char) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|it| chars.get(it));
        let small_before = before.is_some_and(|it| it.is_lowercase() || it.is_numeric());
        let word = before.is_some() && chars.get(index + 1).is_some_and(|it| it.is_lowercase());
        if char.is_uppercase() && (small_before || word) && !out.ends_with('_') {
            out.push('_');
        }
        out.extend(char.to_lowercase());
    }
    run.heap.text(out)
}

pub(super) fn trim(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    method(run, value, "strip", args)
}

pub(super) fn truncate(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [length, kill, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let whole = str_of(value, run.heap)?;
    let length = usize::try_from(int("truncate", length.as_ref(), 255)?).unwrap_or(0);
    let leeway = usize::try_from(int("truncate", leeway.as_ref(), 5)?).unwrap_or(0);
    let end = end.as_ref().map_or(Ok("..."), |it| text("truncate", Some(it)))?;
    if whole.chars().count() <= length.saturating_add(leeway) {
        return run.heap.text(whole);
    }
    let kept: String = whole.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = if flag(kill.as_ref(), false)? {
        kept.as_str()
    } else {
        kept.rsplit_once(' ').map_or(kept.as_str(), |it| it.0)
    };
    run.heap.text(format!("{kept}{end}"))
}

pub(super) fn urlencode(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let pairs = match value {
        Value::Dict(_) | Value::List(_) => Some(crate::jinja::globals::pairs(run, value)?),
        _ => None,
    };
    let Some(pairs) = pairs else {
        return run.heap.text(url_quoted(&str_of(value, run.heap)?, "/"));
    };
    let mut out = Vec::new();
    for (key, item) in &pairs {
        let (key, item) = (key.text(run.heap), str_of(item, run.heap)?);
        out.push(format!("{}={}", url_quoted(&key, ""), url_quoted(&item, "")).replace("%20", "+"));
    }
    run.heap.text(out.join("&"))
}

fn url_quoted(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let char = char::from(byte);
        if char.is_ascii_alphanumeric() || "_.-~".contains(char) || safe.contains(char) {
            out.push(char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub(super) fn wordcount(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let whole = str_of(value, run.heap)?;
    let words = whole.split(|it: char| !(it.is_alphanumeric() || it == '_')).filter(|it| !it.is_empty());
    Ok(Value::int(words.count()))
}

pub(super) fn wordwrap(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, wrap, _] = args.bind("wordwrap", names)?;
    let width = usize::try_from(int("wordwrap", width.as_ref(), 79)?).unwrap_or(79).max(1);
    let break_long = flag(break_long.as_ref(), true)?;
    let wrap = wrap.filter(|it| !it.is_none());
    let wrap = wrap.as_ref().map_or(Ok("\n"), |it| text("wordwrap", Some(it)))?;
    let mut lines = Vec::new();
    for line in str_of(value, run.heap)?.lines() {
        lines.push(wrapped(line, width, break_long).join(wrap));
    }
    run.heap.text(lines.join(wrap))
}

fn wrapped(line: &str, width: usize, break_long: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split_whitespace() {
        let (have, more) = (current.chars().count(), word.chars().count());
        if have > 0 && have + 1 + more > width {
            lines.push(std::mem::take(&mut current));
        } else if have > 0 {
            current.push(' ');
        }
        for char in word.chars() {
            if break_long && current.chars().count() >= width {
                lines.push(std::mem::take(&mut current));
            }
            current.push(char);
        }
    }
    lines.push(current);
    lines
}

pub(super) fn xmlattr(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [space] = args.bind("xmlattr", ["autospace"])?;
    let mut out = Vec::new();
    for (key, item) in &crate::jinja::globals::pairs(run, value)? {
        if !item.is_none() && !matches!(item, Value::Missing(_)) {
            out.push(format!("{}=\"{}\"", key.text(run.heap), escaped(&str_of(item, run.heap)?)));
        }
    }
    let text = out.join(" ");
    let space = !text.is_empty() && flag(space.as_ref(), true)?;
    run.heap.text(format!("{}{text}", if space { " " } else { "" }))
}

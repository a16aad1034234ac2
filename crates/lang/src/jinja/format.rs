//! Python's two ways of filling values into a text: `'%s' % x` and `'{}'.format(x)`.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    text::{bounded, repr, str_of},
    value::{Key, Value},
};

/// Widest field of a format.
const WIDTH_MAX: usize = 10_000;

/// How a field is to be filled.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    width: usize,
    comma: bool,
    precision: Option<usize>,
    kind: Option<char>,
}

fn number_at(text: &str) -> Outcome<(Option<usize>, &str)> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    let number = text[..end].parse().ok().filter(|it| *it <= WIDTH_MAX);
    let number = number.ok_or_else(|| Failure::value(format!("a field is at most {WIDTH_MAX} wide")))?;
    Ok((Some(number), &text[end..]))
}

/// `'%s is %d' % (a, b)`.
pub(super) fn percent(format: &str, args: &Value, heap: &Heap) -> Outcome<String> {
    let list = match args.plain() {
        Value::List(list) if list.tuple => list.items.borrow().clone(),
        other => vec![other.clone()],
    };
    let mut next = 0;
    let mut out = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let mut value = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let (name, tail) =
                inner.split_once(')').ok_or_else(|| Failure::value("a `%(` is never closed"))?;
            let Value::Dict(dict) = args.plain() else {
                return Err(Failure::value(format!("`%({name})` takes a mapping, not {}", args.kind())));
            };
            let found = dict.borrow().get(&Key::of_str(name)).cloned();
            value = Some(found.ok_or_else(|| Failure::value(format!("the mapping has no `{name}`")))?);
            rest = tail;
        }
        let (spec, tail) = percent_spec(rest)?;
        rest = tail;
        if spec.kind == Some('%') {
            out.push('%');
            continue;
        }
        let value = if let Some(value) = value {
            value
        } else {
            next += 1;
            let few = || Failure::value("fewer values than places in the text");
            list.get(next - 1).cloned().ok_or_else(few)?
        };
        out.push_str(&field(value.present()?, &spec, heap, true)?);
        bounded(&out)?;
    }
    if next < list.len() && !matches!(args.plain(), Value::Dict(_)) {
        return Err(Failure::value("more values than places in the text"));
    }
    out.push_str(rest);
    Ok(out)
}

fn percent_spec(text: &str) -> Outcome<(Spec, &str)> {
    let mut spec = Spec { align: Some('>'), ..Spec::default() };
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|it| "-+ 0#".contains(*it)) {
        match flag {
            '-' => spec.align = Some('<'),
            '0' => spec.fill = Some('0'),
            '#' => spec.alternate = true,
            sign => spec.sign = Some(sign),
        }
        rest = &rest[1..];
    }
    let (width, tail) = number_at(rest)?;
    spec.width = width.unwrap_or(0);
    rest = tail;
    if let Some(tail) = rest.strip_prefix('.') {
        let (precision, tail) = number_at(tail)?;
        spec.precision = Some(precision.unwrap_or(0));
        rest = tail;
    }
    let kind = rest.chars().next().ok_or_else(|| Failure::value("the text ends after a `%`"))?;
    if !"sdifrxXoeEgGFca%u".contains(kind) {
        return Err(
            Failure::value(format!("`%{kind}` is no place for a value")).help("write %% for a percent sign")
        );
    }
    if spec.align == Some('<') {
        spec.fill = None;
    }
    spec.kind = Some(kind);
    Ok((spec, &rest[kind.len_utf8()..]))
}

/// One value in its place.
fn field(value: &Value, spec: &Spec, heap: &Heap, percent: bool) -> Outcome<String> {
    let value = value.plain();
    let kind = spec.kind.unwrap_or(match value {
        Value::Int(_) if !percent => 'd',
        Value::Float(_) if !percent && (spec.precision.is_some() || spec.comma) => 'g',
        _ => 's',
    });
    let number = |what: &str| Failure::value(format!("`{kind}` takes {what}, not {}", value.kind()));
    let mut is_number = true;
    let body = match kind {
        's' | 'r' | 'a' => {
            is_number = matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)) && !percent;
            let mut text = if kind == 's' { str_of(value, heap)? } else { repr(value, heap)? };
            if let Some(precision) = spec.precision {
                text = text.chars().take(precision).collect();
            }
            text
        }
        'c' => {
            is_number = false;
            match value {
                Value::Str(it) if it.chars().count() == 1 => it.to_string(),
                other => {
                    let code = other.as_int().and_then(|it| u32::try_from(it).ok()).and_then(char::from_u32);
                    code.ok_or_else(|| number("one character"))?.to_string()
                }
            }
        }
        'd' | 'i' | 'u' | 'n' | 'x' | 'X' | 'o' | 'b' => {
            let whole = match value {
                Value::Float(it) if percent => super::value::whole(it.trunc()),
                other => other.as_int(),
            };
            whole_number(whole.ok_or_else(|| number("a whole number"))?, kind, spec)
        }
        _ => {
            let it = value.as_float().ok_or_else(|| number("a number"))?;
            fraction(it, kind, spec)
        }
    };
    Ok(pad(&body, spec, is_number))
}

fn signed(negative: bool, digits: &str, spec: &Spec) -> String {
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    };
    format!("{sign}{digits}")
}

fn whole_number(number: i64, kind: char, spec: &Spec) -> String {
    let size = number.unsigned_abs();
    let prefix = |it: &'static str| if spec.alternate { it } else { "" };
    let digits = match kind {
        'x' => format!("{}{size:x}", prefix("0x")),
        'X' => format!("{}{size:X}", prefix("0X")),
        'o' => format!("{}{size:o}", prefix("0o")),
        'b' => format!("{}{size:b}", prefix("0b")),
        _ if spec.comma => thousands(&size.to_string()),
        _ => match spec.precision {
            Some(precision) => format!("{size:0precision$}"),
            None => size.to_string(),
        },
    };
    signed(number < 0, &digits, spec)
}

fn thousands(digits: &str) -> String {
    let (whole, rest) = digits.split_once('.').map_or((digits, None), |(a, b)| (a, Some(b)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    rest.map_or(out.clone(), |rest| format!("{out}.{rest}"))
}

fn fraction(number: f64, kind: char, spec: &Spec) -> String {
    let size = number.abs();
    let precision = spec.precision.unwrap_or(6).min(300);
    let text = match kind {
        'e' | 'E' => {
            let text = format!("{size:.precision$e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        'g' | 'G' => general(size, precision.max(1)),
        '%' => format!("{:.precision$}%", size * 100.0),
        _ => format!("{size:.precision$}"),
    };
    let text = if spec.comma { thousands(&text) } else { text };
    let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
    signed(number.is_sign_negative() && !number.is_nan(), &text, spec)
}

fn general(size: f64, precision: usize) -> String {
    let text = format!("{size:.*e}", precision - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |it: &str| {
        if it.contains('.') {
            it.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            it.to_owned()
        }
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        return format!("{}e{}{:02}", trim(digits), if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let places = usize::try_from((limit - 1 - exponent).max(0)).unwrap_or(0);
    trim(&format!("{size:.places$}"))
}

fn pad(body: &str, spec: &Spec, is_number: bool) -> String {
    let length = body.chars().count();
    if length >= spec.width {
        return body.to_owned();
    }
    let missing = spec.width - length;
    let fill = |count: usize| spec.fill.unwrap_or(' ').to_string().repeat(count);
    if spec.fill == Some('0') && is_number && matches!(spec.align, None | Some('=' | '>')) {
        let (sign, digits) = if body.starts_with(['-', '+', ' ']) { body.split_at(1) } else { ("", body) };
        return format!("{sign}{}{digits}", fill(missing));
    }
    match spec.align.unwrap_or(if is_number { '>' } else { '<' }) {
        '<' => format!("{body}{}", fill(missing)),
        '^' => format!("{}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
        _ => format!("{}{body}", fill(missing)),
    }
}

/// What a place of `'{}'.format(…)` names: position, name, and what of it.
pub(super) trait Places {
    /// The value of `0`, `name`, `0.attribute` or `name[key]`; empty is the next one.
    fn place(&mut self, name: &str) -> Outcome<Value>;
}

/// `'{} is {name:>5}'.format(…)`.
pub(super) fn braces(format: &str, places: &mut dyn Places, heap: &Heap) -> Outcome<String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(start) = rest.find(['{', '}']) {
        out.push_str(&rest[..start]);
        let tail = &rest[start..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            out.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        if tail.starts_with('}') {
            return Err(Failure::value("a `}` has no `{` in this format").help("write }} for a brace"));
        }
        let end = closing(tail).ok_or_else(|| Failure::value("a `{` is never closed in this format"))?;
        let inside = &tail[1..end];
        let (name, spec) = inside.split_once(':').unwrap_or((inside, ""));
        let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
        let value = places.place(name)?;
        let value = match conversion {
            "r" | "a" => Value::str(&repr(value.present()?, heap)?),
            "s" => Value::str(&str_of(value.present()?, heap)?),
            _ => value,
        };
        let spec = nested(spec, places, heap)?;
        let spec = brace_spec(&spec)?;
        out.push_str(&field(value.present()?, &spec, heap, false)?);
        bounded(&out)?;
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `{:{width}}`: a place inside a format.
fn nested(spec: &str, places: &mut dyn Places, heap: &Heap) -> Outcome<String> {
    let Some((before, tail)) = spec.split_once('{') else { return Ok(spec.to_owned()) };
    let (name, after) = tail.split_once('}').unwrap_or((tail, ""));
    let value = places.place(name)?;
    Ok(format!("{before}{}{after}", str_of(value.present()?, heap)?))
}

fn brace_spec(text: &str) -> Outcome<Spec> {
    let mut spec = Spec::default();
    let chars: Vec<char> = text.chars().take(3).collect();
    let mut rest = text;
    match chars[..] {
        [fill, align, ..] if "<>=^".contains(align) => {
            (spec.fill, spec.align) = (Some(fill), Some(align));
            rest = &rest[fill.len_utf8() + 1..];
        }
        [align, ..] if "<>=^".contains(align) => {
            spec.align = Some(align);
            rest = &rest[1..];
        }
        _ => {}
    }
    if let Some(sign) = rest.chars().next().filter(|it| "+- ".contains(*it)) {
        spec.sign = Some(sign);
        rest = &rest[1..];
    }
    if let Some(tail) = rest.strip_prefix('#') {
        spec.alternate = true;
        rest = tail;
    }
    if rest.starts_with('0') && spec.align.is_none() {
        spec.fill = Some('0');
    }
    let (width, tail) = number_at(rest)?;
    spec.width = width.unwrap_or(0);
    rest = tail;
    if let Some(tail) = rest.strip_prefix([',', '_']) {
        spec.comma = true;
        rest = tail;
    }
    if let Some(tail) = rest.strip_prefix('.') {
        let (precision, tail) = number_at(tail)?;
        spec.precision = precision;
        rest = tail;
    }
    match rest.chars().next() {
        None => {}
        Some(kind) if rest.len() == 1 && "sdnxXobceEfFgG%".contains(kind) => spec.kind = Some(kind),
        Some(_) => return Err(Failure::value(format!("`{rest}` is no format of a place"))),
    }
    Ok(spec)
}

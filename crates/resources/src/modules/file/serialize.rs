//! `file.serialize` and `file.decode`: data and encoded bytes as the contents of a file.

mod ini;
mod toml;
mod yaml;

use super::{
    managed::{Backup, Managed, Wanted},
    owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, stat},
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled},
    host::{Contents, FileKind, Links},
};
use model::Plan;
use serde_json::{Map, Number, Value};
use std::{cell::OnceCell, fmt::Write, path::Path};

pub(super) const SERIALIZE: Function = Function {
    name: "serialize",
    doc: Doc::new(
        "A file holds data, written as YAML, JSON, TOML or INI. With `merge_if_exists` what a JSON or INI file has \
          already stays, where the data does not say otherwise.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/docker/daemon.json:\n  file.serialize:\n    - dataset:\n        log-driver: journald\n        live-restore: \
         true\n    - serializer: json\n    - merge_if_exists: true\n",
    ]),
    parse: serialize,
};

pub(super) const DECODE: Function = Function {
    name: "decode",
    doc: Doc::new("A file holds bytes that are given in base64."),
    params: DECODE_PARAMS,
    examples: Examples::new(&["/etc/app/key.bin:\n  file.decode:\n    - encoded_data: AAECAwQ=\n"]),
    parse: decode,
};

const NAME: Param = Param::of("name", ParamType::Path, "", "The file's path.");
const PARAMS: &[Param] = &[
    NAME,
    Param::of("dataset", ParamType::Any, "", "The data."),
    Param::of(
        "dataset_pillar",
        ParamType::Text,
        "",
        "The pillar key that has the data, instead of `dataset`.",
    ),
    Param::of("serializer", ParamType::Text, "yaml", "`yaml`, `json`, `toml` or `configparser` (INI)."),
    Param::of("formatter", ParamType::Text, "", "The older name of `serializer`."),
    Param::of(
        "serializer_opts",
        ParamType::Any,
        "",
        "`indent`, `sort_keys`, `ensure_ascii` and `allow_unicode`.",
    ),
    Param::of(
        "merge_if_exists",
        ParamType::Bool,
        "false",
        "Merges the data into what the file has; for JSON and INI.",
    ),
    Param::of("encoding", ParamType::Text, "", "`utf-8`: characters beyond ASCII are written as they are."),
    USER,
    GROUP,
    Param::of("mode", ParamType::Mode, "as it is; 0644 for a new one", "Permissions."),
    MAKEDIRS,
    DIR_MODE,
    Param::of(
        "backup",
        ParamType::Text,
        "none",
        "Keeps the version before under /var/backups/labctl: `minion`.",
    ),
    Param::of("create", ParamType::Bool, "true", "Makes the file if it does not exist."),
    Param::of("show_changes", ParamType::Bool, "true", "Shows a diff of the contents."),
];
const DECODE_PARAMS: &[Param] = &[
    NAME,
    Param::of("encoded_data", ParamType::Text, "", "The bytes in base64."),
    Param::of(
        "contents_pillar",
        ParamType::Text,
        "",
        "The pillar key that has them, instead of `encoded_data`.",
    ),
    Param::of("encoding_type", ParamType::Text, "base64", "Only `base64`."),
    Param::of(
        "checksum",
        ParamType::Text,
        "md5",
        "Accepted from Salt trees and without effect: contents are compared as they are.",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Yaml,
    Json,
    Toml,
    Ini,
}

#[derive(Clone, Copy, Debug)]
struct Style {
    format: Format,
    indent: usize,
    sorted: bool,
    unicode: bool,
}

#[derive(Debug)]
struct Serialize {
    data: Option<Value>,
    style: Style,
    merge: bool,
    file: Managed,
    /// With the contents, once they are known.
    made: OnceCell<Managed>,
}

fn managed(args: &Args<'_>, wanted: Wanted) -> Result<Managed, ParamsError> {
    Ok(Managed {
        path: args.path("name").unwrap_or_default(),
        wanted,
        owner: Owner::parse(args, args.mode("mode"))?,
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode"),
        replace: true,
        create: args.bool("create", true),
        backup: match args.text("backup").as_deref() {
            None | Some("" | "false" | "no" | "none") => Backup::None,
            Some(_) => Backup::Folder,
        },
        links: Links::Follow,
        show: args.bool("show_changes", true),
        attrs: None,
        draft: (None, String::new()),
    })
}

fn serialize(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.serialize", PARAMS, params)?;
    let data = args.value("dataset").cloned();
    match (data.is_some(), args.has("dataset_pillar")) {
        (false, false) => return Err(invalid("dataset", "give `dataset` or `dataset_pillar`")),
        (true, true) => {
            return Err(invalid("dataset_pillar", "give `dataset` or `dataset_pillar`, not both"));
        }
        _ => (),
    }
    let style = style(&args)?;
    let merge = args.bool("merge_if_exists", false);
    if merge && !matches!(style.format, Format::Json | Format::Ini) {
        return Err(invalid(
            "merge_if_exists",
            "only JSON and INI files can be merged; put the whole data here",
        ));
    }
    if let Some(data) = &data {
        style.write(data).map_err(|why| invalid("dataset", why))?;
    }
    let file = managed(&args, Wanted::Source)?;
    Ok(Box::new(Serialize { data, style, merge, file, made: OnceCell::new() }))
}

fn style(args: &Args<'_>) -> Result<Style, ParamsError> {
    let name =
        args.text("serializer").or_else(|| args.text("formatter")).unwrap_or_else(|| "yaml".to_owned());
    let format = match name.to_ascii_lowercase().as_str() {
        "yaml" => Format::Yaml,
        "json" => Format::Json,
        "toml" => Format::Toml,
        "configparser" | "ini" => Format::Ini,
        other => {
            return Err(invalid(
                "serializer",
                format!("`{other}` is none of yaml, json, toml, configparser"),
            ));
        }
    };
    let unicode = args.text("encoding").is_some_and(|it| !it.is_empty());
    let mut style = Style { format, indent: 2, sorted: true, unicode };
    let rows = match args.value("serializer_opts") {
        Some(Value::Object(map)) => vec![map],
        Some(Value::Array(rows)) => rows.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    };
    for (name, value) in rows.into_iter().flatten() {
        let flag = || {
            value.as_bool().ok_or_else(|| invalid("serializer_opts", format!("`{name}` is true or false")))
        };
        match name.as_str() {
            "indent" => {
                let indent = value.as_u64().and_then(|it| usize::try_from(it).ok()).filter(|it| *it <= 16);
                style.indent = indent.ok_or_else(|| invalid("serializer_opts", "`indent` is 0 to 16"))?;
            }
            "sort_keys" => style.sorted = flag()?,
            "ensure_ascii" => style.unicode = !flag()?,
            "allow_unicode" => style.unicode = flag()?,
            "default_flow_style" if value == false => (),
            other => return Err(invalid("serializer_opts", format!("`{other}` is not available"))),
        }
    }
    if style.format == Format::Yaml && style.indent != 2 {
        return Err(invalid("serializer_opts", "`indent` of YAML is always 2"));
    }
    Ok(style)
}

impl Style {
    fn write(&self, data: &Value) -> Result<String, String> {
        match self.format {
            Format::Yaml => yaml::write(data, self.sorted, self.unicode),
            Format::Json => {
                let mut out = String::new();
                self.json(data, 0, &mut out)?;
                out.push('\n');
                Ok(out)
            }
            Format::Toml => {
                let map = data.as_object().ok_or("TOML needs a mapping")?;
                let mut out = String::new();
                toml::table(map, "", &mut out, 0)?;
                Ok(out + "\n")
            }
            Format::Ini => ini::write(data).map(|it| it + "\n"),
        }
    }

    /// As Python's `json.dumps` with an indentation.
    fn json(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the data is nested deeper than {DEPTH_MAX}"));
        }
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.push_str(&" ".repeat(self.indent * depth));
        };
        match value {
            Value::Object(map) if !map.is_empty() => {
                let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
                if self.sorted {
                    pairs.sort_by_key(|it| it.0);
                }
                out.push('{');
                for (at, (key, value)) in pairs.into_iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    self.json_text(key, out);
                    out.push_str(": ");
                    self.json(value, depth + 1, out)?;
                }
                line(out, depth);
                out.push('}');
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    self.json(item, depth + 1, out)?;
                }
                line(out, depth);
                out.push(']');
            }
            Value::String(text) => self.json_text(text, out),
            Value::Number(number) => out.push_str(&python_number(number)),
            other => out.push_str(&other.to_string()),
        }
        Ok(())
    }

    fn json_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for sign in text.chars() {
            match sign {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                ' '..='~' => out.push(sign),
                _ if self.unicode && sign as u32 > 0x1f => out.push(sign),
                _ => {
                    let mut units = [0; 2];
                    for unit in sign.encode_utf16(&mut units) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
            }
        }
        out.push('"');
    }
}

/// Values within values.
const DEPTH_MAX: usize = 64;

/// As Python prints numbers: `1e+20`, `1e-07`.
fn python_number(number: &Number) -> String {
    let text = number.to_string();
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent.trim_start_matches('+')),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `new` on top of `old`: mappings are merged, everything else is replaced.
fn merged(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut all = old.clone();
            for (key, value) in new {
                let value = old.get(key).map_or_else(|| value.clone(), |it| merged(it, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (_, new) => new.clone(),
    }
}

impl Serialize {
    /// The contents; `None` if the file has the data already, however it is written.
    fn contents(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        let Some(data) = &self.data else { return Err(not_compiled("dataset_pillar")) };
        let path = self.file.path.display().to_string();
        let refuse = |why: String| Error::Refused(format!("`{path}`: {why}"));
        let found =
            stat(host, &self.file.path, Links::Follow)?.filter(|it| it.kind == FileKind::File && self.merge);
        let mut all = data.clone();
        if found.is_some() {
            let bytes = host.read(&self.file.path).map_err(Error::host("read", &path))?;
            let text = String::from_utf8_lossy(&bytes);
            let old = match self.style.format {
                Format::Ini => ini::read(&text),
                _ => serde_json::from_str(&text).map_err(|error| format!("is no JSON: {error}")),
            };
            let old = old.map_err(refuse)?;
            all = merged(&old, data);
            let text = |it: &Value| self.style.write(it);
            if old == all
                || (self.style.format == Format::Ini
                    && text(&old).map_err(refuse)? == text(&all).map_err(refuse)?)
            {
                return Ok(None);
            }
        }
        self.style.write(&all).map(Some).map_err(refuse)
    }

    fn file(&self, host: &dyn Probe) -> Result<Managed, Error> {
        let wanted = self.contents(host)?.map_or(Wanted::Anything, |it| Wanted::Bytes(it.into_bytes()));
        Ok(self.file.with(wanted))
    }
}

impl Resource for Serialize {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        self.file(host)?.check(host)
    }
    fn prepare(&self, _: &Plan, host: &mut dyn Host) -> Result<(), Error> {
        let file = self.file(host)?;
        self.made.get_or_init(|| file);
        Ok(())
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        match self.made.get() {
            Some(file) => file.apply(plan, host),
            None => self.file(host)?.apply(plan, host),
        }
    }
    fn candidate(&self, plan: &Plan) -> Option<(&Path, Contents<'_>)> {
        self.made.get().and_then(|it| it.candidate(plan))
    }
}

fn decode(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.decode", DECODE_PARAMS, params)?;
    if args.text("encoding_type").is_some_and(|it| it != "base64") {
        return Err(invalid("encoding_type", "only `base64` is available"));
    }
    let wanted = match args.text("encoded_data") {
        Some(text) => Wanted::Bytes(
            base64(&text).ok_or_else(|| invalid("encoded_data", "`encoded_data` is no base64"))?,
        ),
        None if args.has("contents_pillar") => Wanted::Source,
        None => return Err(invalid("encoded_data", "give `encoded_data` or `contents_pillar`")),
    };
    Ok(Box::new(managed(&args, wanted)?))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for sign in text.bytes().filter(|it| !it.is_ascii_whitespace() && *it != b'=') {
        let value = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(format: Format, data: &Value) -> String {
        Style { format, indent: 2, sorted: true, unicode: false }.write(data).unwrap()
    }

    #[test]
    fn data_is_written_as_salt_writes_it() {
        let data = json!({"b": {"c": [1, 2.5, "é😀"], "d": {}}, "a": true, "e": []});
        let wanted = "{\n  \"a\": true,\n  \"b\": {\n    \"c\": [\n      1,\n      2.5,\n      \"\\u00e9\\ud83d\\ude00\"\n    ],\n    \"d\": {}\n  },\n  \"e\": []\n}\n";
        assert_eq!(write(Format::Json, &data), wanted);
        let data = json!({"x": {"Key": 1, "b": true, "c": "two\nlines"}, "DEFAULT": {"z": "y"}});
        let wanted = "[DEFAULT]\nz = y\n\n[x]\nkey = 1\nb = True\nc = two\n\tlines\n\n\n";
        assert_eq!(write(Format::Ini, &data), wanted);
        let data = json!({"t": {"x": "y", "u": {"v": 1}}, "a": 1, "l": [1, "b"], "r": [{"n": 1}]});
        let wanted = "a = 1\nl = [ 1, \"b\",]\n\n[t]\nx = \"y\"\n\n[t.u]\nv = 1\n\n[[r]]\nn = 1\n\n";
        assert_eq!(write(Format::Toml, &data), wanted);
    }

    #[test]
    fn what_was_written_can_be_merged() {
        let text = "# comment\n[a]\nx = 1\ny: two\n  lines\n\n[b]\nz=\n";
        assert_eq!(ini::read(text).unwrap(), json!({"a": {"x": "1", "y": "two\nlines"}, "b": {"z": ""}}));
        assert!(ini::read("x = 1\n").is_err());
        assert_eq!(
            merged(&json!({"a": {"b": 1}, "c": [1]}), &json!({"a": {"d": 2}, "c": [2]})),
            json!({"a": {"b": 1, "d": 2}, "c": [2]})
        );
        assert_eq!(base64("AAEC\nAwQ=").unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(base64("a!"), None);
    }
}

//! Filters that write values as YAML, JSON, Python or Base64, read them back, and hash texts.

use crate::jinja::{
    call::{Called, flag, int, text},
    failure::{Failure, Outcome},
    json_text,
    run::{Place, Run},
    text::{repr, str_of},
    value::Value,
    yaml_text::{self, Style},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write;

type Made = Outcome<Value>;

fn style(value: Option<&Value>, default: bool) -> Outcome<Style> {
    Ok(if flag(value, default)? { Style::Flow } else { Style::Block })
}

pub(super) fn yaml(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [flow] = args.bind("yaml", ["flow_style"])?;
    let text = yaml_text::dump(value, style(flow.as_ref(), true)?, run.heap)?;
    run.heap.text(text.trim().to_owned())
}

pub(super) fn sls_params(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [flow] = args.bind("dict_to_sls_yaml_params", ["flow_style"])?;
    let Value::Dict(dict) = value else {
        return Err(Failure::value(format!(
            "`dict_to_sls_yaml_params` takes a mapping, not {}",
            value.kind()
        )));
    };
    let mut rows = Vec::new();
    for (key, it) in dict.borrow().iter() {
        let row = [(key.clone(), it.clone())];
        rows.push(run.heap.dict(row.into_iter().collect()));
    }
    let list = run.heap.list(rows);
    run.heap.text(yaml_text::dump(&list, style(flow.as_ref(), false)?, run.heap)?)
}

/// A single value, on one line.
pub(super) fn yaml_encode(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    match value {
        Value::Str(it) => run.heap.text(yaml_text::double_quoted(it)),
        Value::List(_) | Value::Dict(_) => {
            Err(Failure::value(format!("`yaml_encode` takes a single value, not {}", value.kind()))
                .help("use `yaml`"))
        }
        other => run.heap.text(yaml_text::dump(other, Style::Flow, run.heap)?),
    }
}

pub(super) fn yaml_dquote(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(yaml_text::double_quoted(text("yaml_dquote", Some(value))?))
}

pub(super) fn yaml_squote(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let text = text("yaml_squote", Some(value))?.replace('\'', "''");
    let text = text.replace('\n', "\n\n");
    run.heap.text(format!("'{text}'"))
}

fn indent(value: Option<&Value>, name: &str) -> Outcome<Option<usize>> {
    match value.filter(|it| !it.is_none()) {
        None => Ok(None),
        Some(it) => Ok(Some(usize::try_from(int(name, Some(it), 0)?).unwrap_or(0).min(64))),
    }
}

pub(super) fn json(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [sorted, width] = args.bind("json", ["sort_keys", "indent"])?;
    let style = json_text::Style {
        sorted: flag(sorted.as_ref(), true)?,
        ascii: false,
        indent: indent(width.as_ref(), "json")?,
    };
    run.heap.text(json_text::dump(value, &style, run.heap)?)
}

pub(super) fn tojson(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [width, sorted, ascii] = args.bind("tojson", ["indent", "sort_keys", "ensure_ascii"])?;
    let style = json_text::Style {
        sorted: flag(sorted.as_ref(), false)?,
        ascii: flag(ascii.as_ref(), true)?,
        indent: indent(width.as_ref(), "tojson")?,
    };
    let text = json_text::dump(value, &style, run.heap)?;
    let text =
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    run.heap.text(text)
}

/// As Python's `pprint` where it fits on one line; keys are sorted there as well.
pub(super) fn python(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(repr(&sorted(run, value)?, run.heap)?)
}

fn sorted(run: &Run<'_>, value: &Value) -> Made {
    run.heap.deeper(|| {
        Ok(match value {
            Value::List(list) => {
                let items = list.items.borrow().iter().map(|it| sorted(run, it)).collect::<Outcome<_>>()?;
                run.heap.sequence(items, list.tuple)
            }
            Value::Dict(dict) => {
                let mut pairs = Vec::new();
                for (key, it) in dict.borrow().iter() {
                    pairs.push((key.text(run.heap), key.clone(), sorted(run, it)?));
                }
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                run.heap.dict(pairs.into_iter().map(|(_, key, it)| (key, it)).collect())
            }
            other => other.clone(),
        })
    })
}

pub(super) fn load_yaml(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    crate::jinja::load::yaml(&str_of(value, run.heap)?, 1, run.heap)
}

pub(super) fn load_json(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    crate::jinja::load::json(&str_of(value, run.heap)?, run.heap)
}

pub(super) fn base64_encode(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    run.heap.text(STANDARD.encode(str_of(value, run.heap)?))
}

pub(super) fn base64_decode(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let encoded: String = text("base64_decode", Some(value))?.split_whitespace().collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| Failure::value("this is not Base64"))?;
    let decoded =
        String::from_utf8(bytes).map_err(|_| Failure::value("what is behind this Base64 is not text"))?;
    run.heap.text(decoded)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The hash of a text by an algorithm's name.
pub(in crate::jinja) fn digest(algorithm: &str, data: &str) -> Option<String> {
    Some(match algorithm {
        "md5" => hex(&md5::Md5::digest(data)),
        "sha1" => hex(&sha1::Sha1::digest(data)),
        "sha256" => hex(&Sha256::digest(data)),
        "sha512" => hex(&Sha512::digest(data)),
        _ => return None,
    })
}

fn hashed(run: &Run<'_>, value: &Value, algorithm: &str) -> Made {
    let data = str_of(value, run.heap)?;
    run.heap.room(data.len())?;
    run.heap.text(digest(algorithm, &data).unwrap_or_default())
}

pub(super) fn md5(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    hashed(run, value, "md5")
}

pub(super) fn sha1(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    hashed(run, value, "sha1")
}

pub(super) fn sha256(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    hashed(run, value, "sha256")
}

pub(super) fn sha512(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    hashed(run, value, "sha512")
}

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut padded = [0_u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let mixed = |with: u8| padded.map(|it| it ^ with);
    let inner = Sha256::new().chain_update(mixed(0x36)).chain_update(data).finalize();
    Sha256::new().chain_update(mixed(0x5c)).chain_update(inner).finalize().into()
}

pub(super) fn hmac_check(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [secret, challenge] = args.need("hmac", 2, ["shared_secret", "challenge_hmac"])?;
    let code = hmac_sha256(text("hmac", secret.as_ref())?.as_bytes(), text("hmac", Some(value))?.as_bytes());
    Ok(Value::Bool(STANDARD.encode(code) == text("hmac", challenge.as_ref())?))
}

pub(super) fn hmac_compute(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [secret] = args.need("hmac_compute", 1, ["shared_secret"])?;
    let secret = text("hmac_compute", secret.as_ref())?;
    run.heap.text(hex(&hmac_sha256(secret.as_bytes(), text("hmac_compute", Some(value))?.as_bytes())))
}

/// The namespace of Salt's UUIDs: `91633EBF-1C86-5E33-935A-28061F4B480E`.
const UUID_NAMESPACE: [u8; 16] =
    [0x91, 0x63, 0x3e, 0xbf, 0x1c, 0x86, 0x5e, 0x33, 0x93, 0x5a, 0x28, 0x06, 0x1f, 0x4b, 0x48, 0x0e];

pub(super) fn uuid(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let sum =
        sha1::Sha1::new().chain_update(UUID_NAMESPACE).chain_update(str_of(value, run.heap)?).finalize();
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&sum[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    run.heap.text(format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    ))
}

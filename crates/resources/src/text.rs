//! Text of files as Salt's functions see it: any bytes without loss, lines as Python splits them, values as it prints them.

use serde_json::Value;

/// A byte that is no UTF-8 is this character and it: one that no text should have.
const RAW_BYTE: u32 = 0x0010_fe00;

/// Bytes as text that [`encode`] makes the same bytes of.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for sign in chunk.valid().chars() {
            if raw_byte(sign).is_some() {
                let mut buffer = [0; 4];
                let bytes = sign.encode_utf8(&mut buffer).bytes();
                text.extend(bytes.filter_map(|it| char::from_u32(RAW_BYTE + u32::from(it))));
            } else {
                text.push(sign);
            }
        }
        text.extend(chunk.invalid().iter().filter_map(|it| char::from_u32(RAW_BYTE + u32::from(*it))));
    }
    text
}

/// See [`decode`].
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for sign in text.chars() {
        match raw_byte(sign) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(sign.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes
}

fn raw_byte(sign: char) -> Option<u8> {
    (sign as u32).checked_sub(RAW_BYTE).and_then(|it| u8::try_from(it).ok())
}

/// How much of a file is looked at to see whether it is text.
const SAMPLE_BYTES: usize = 512;

/// Whether a file holds text, as Salt judges it by its beginning.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    if sample.contains(&0) {
        return false;
    }
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    let is_utf8 = std::str::from_utf8(sample).map_or_else(cut, |_| true);
    let plain = |it: &&u8| matches!(**it, 32..=126 | b'\n' | b'\r' | b'\t' | 8 | 12);
    let strange = sample.len() - sample.iter().filter(plain).count();
    is_utf8 || strange * 10 <= sample.len() * 3
}

/// Where Python's `splitlines` ends a line.
fn ends_line(sign: char) -> bool {
    matches!(sign, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Python's `splitlines`.
pub(crate) fn split_lines(text: &str) -> Vec<&str> {
    let (mut lines, mut start) = (Vec::new(), 0);
    let mut signs = text.char_indices().peekable();
    while let Some((at, sign)) = signs.next() {
        if ends_line(sign) {
            lines.push(&text[start..at]);
            start = at + sign.len_utf8();
            if sign == '\r' && signs.next_if(|it| it.1 == '\n').is_some() {
                start += 1;
            }
        }
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// Lines with their ends: at `\n` only.
pub(crate) fn lines_with_ends(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// Python's `str` of a scalar; `None` for lists and mappings.
pub(crate) fn python_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::Null => Some("None".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// One text or a list of texts.
pub(crate) fn python_texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(python_text).collect(),
        one => python_text(one).map(|it| vec![it]),
    }
}

/// Contents as Salt writes them: each part's lines, each with an end; without the last ends if they are not wanted.
pub(crate) fn contents_of(parts: &[String], newline: bool) -> String {
    let mut text = String::new();
    for line in parts.iter().flat_map(|it| split_lines(it)) {
        text.push_str(line);
        text.push('\n');
    }
    if !newline {
        text.truncate(text.trim_end_matches('\n').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        let all: Vec<u8> = (0..=255).chain("aé\u{10fe41}€".bytes()).collect();
        assert_eq!(encode(&decode(&all)), all);
        assert!(decode("aé".as_bytes()) == "aé");
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        assert_eq!(split_lines("a\r\nb\rc\x0cd\n\ne"), ["a", "b", "c", "d", "", "e"]);
        assert!(split_lines("").is_empty());
        assert_eq!(contents_of(&["a\r\nb".to_owned(), String::new(), "c\n".to_owned()], true), "a\nb\nc\n");
        assert_eq!(contents_of(&["a\n\n".to_owned()], false), "a");
        assert!(is_text(b"abc\xc3\xa9") && is_text(b"") && !is_text(b"a\0b") && !is_text(&[1, 2, 3, 0xff]));
    }
}

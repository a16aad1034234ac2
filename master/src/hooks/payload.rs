//! Looking into a payload, and making what comes of it fit into an event.

use serde_json::{Map, Value};

/// Bytes that the data of a hook's event has at most: an event carries 16 KiB, and the rest is for what is added to it.
const DATA_BYTES_MAX: usize = 15 << 10;
/// Characters of a text, elements of a list and members of an object: tried in this order, until it fits.
const SIZES: [(usize, usize); 4] = [(1_024, 100), (512, 50), (200, 20), (64, 5)];
/// Levels of what is taken over as it is.
const DEPTH_MAX: usize = 10;

/// The value at a path of names and numbers.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let step = |value: &'a Value, step: &str| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    };
    path.split('.').try_fold(value, step).filter(|it| !it.is_null())
}

/// The text at the first of these paths where one is.
pub(super) fn text(value: &Value, paths: &[&str]) -> Option<String> {
    let found = paths.iter().find_map(|it| at(value, it)?.as_str().filter(|it| !it.is_empty()));
    found.map(ToOwned::to_owned)
}

/// Takes the plain value at the first of these paths where one is over, under a name.
pub(super) fn take(data: &mut Map<String, Value>, name: &str, value: &Value, paths: &[&str]) {
    let plain = |it: &&Value| !it.is_object() && !it.is_array() && it.as_str() != Some("");
    if let Some(found) = paths.iter().find_map(|it| at(value, it).filter(plain)) {
        data.insert(name.to_owned(), found.clone());
    }
}

/// Takes an object of plain values over as it is, under a name.
pub(super) fn take_flat(data: &mut Map<String, Value>, name: &str, value: &Value, paths: &[&str]) {
    let found = paths.iter().find_map(|it| at(value, it)?.as_object());
    let plain = |it: &(&String, &Value)| !it.1.is_object() && !it.1.is_array();
    let flat: Map<String, Value> =
        found.into_iter().flatten().filter(plain).map(|(key, value)| (key.clone(), value.clone())).collect();
    data.insert(name.to_owned(), Value::Object(flat));
}

/// The parts of a payload that a hook keeps, each where it was.
pub(super) fn kept(payload: &Value, keep: &[Vec<String>]) -> Map<String, Value> {
    let mut whole = Value::Object(Map::new());
    for path in keep {
        let Some(found) = at(payload, &path.join(".")) else { continue };
        let mut place = &mut whole;
        for step in path {
            let Value::Object(members) = place else { break };
            place = members.entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = found.clone();
    }
    match whole {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The same, small enough: long texts, lists and objects are cut, and what is too deep is left out. Whether anything is
/// missing stands in `cut`.
pub(super) fn fit(data: Map<String, Value>) -> Map<String, Value> {
    for (text, items) in SIZES {
        let mut cut = false;
        let mut small = smaller(&data, text, items, 0, &mut cut);
        if size(&small) <= DATA_BYTES_MAX {
            if cut {
                small.insert("cut".to_owned(), Value::Bool(true));
            }
            return small;
        }
    }
    // Only many objects in one another get here: names and numbers at the top are what is left.
    let plain = |it: &(String, Value)| !it.1.is_object() && !it.1.is_array() && it.1.to_string().len() <= 300;
    let mut small: Map<String, Value> = data.into_iter().filter(plain).take(40).collect();
    small.insert("cut".to_owned(), Value::Bool(true));
    small
}

fn size(data: &Map<String, Value>) -> usize {
    serde_json::to_string(data).map_or(usize::MAX, |it| it.len())
}

fn smaller(
    data: &Map<String, Value>,
    text: usize,
    items: usize,
    depth: usize,
    cut: &mut bool,
) -> Map<String, Value> {
    *cut |= data.len() > items;
    let pairs = data.iter().take(items).filter_map(|(key, value)| {
        let key: String = key.chars().take(128).collect();
        Some((key, smaller_value(value, text, items, depth + 1, cut)?))
    });
    pairs.collect()
}

fn smaller_value(value: &Value, text: usize, items: usize, depth: usize, cut: &mut bool) -> Option<Value> {
    if depth > DEPTH_MAX {
        *cut = true;
        return None;
    }
    Some(match value {
        Value::String(long) if long.chars().count() > text => {
            *cut = true;
            Value::String(long.chars().take(text).collect())
        }
        Value::Array(list) => {
            *cut |= list.len() > items;
            let list = list.iter().take(items);
            Value::Array(list.filter_map(|it| smaller_value(it, text, items, depth + 1, cut)).collect())
        }
        Value::Object(members) => Value::Object(smaller(members, text, items, depth, cut)),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_names_and_numbers() {
        let value = json!({"a": [{"b": "x"}, {"b": ""}], "n": null, "o": {"p": 1, "q": {}}});
        assert_eq!(text(&value, &["n", "a.1.b", "a.0.b"]).as_deref(), Some("x"));
        assert_eq!(text(&value, &["a.2.b", "a.x.b", "o.p"]), None);
        let keep = |paths: &[&str]| {
            let paths: Vec<Vec<String>> =
                paths.iter().map(|it| it.split('.').map(str::to_owned).collect()).collect();
            Value::Object(kept(&value, &paths))
        };
        assert_eq!(keep(&["o.p", "a.0.b", "nothing.here"]), json!({"o": {"p": 1}, "a": {"0": {"b": "x"}}}));
        assert_eq!(keep(&["o.p", "o.p.q"]), json!({"o": {"p": 1}}));
        assert_eq!(keep(&["o", "o.p"]), json!({"o": {"p": 1, "q": {}}}));
    }

    #[test]
    fn whatever_comes_fits_into_an_event() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({ "a": [deep] });
        }
        let long = "é".repeat(100_000);
        let wide: Map<String, Value> = (0..1_000).map(|it| (format!("k{it}"), json!(long[..200]))).collect();
        let bushy = json!([wide, wide, wide, wide, wide, wide, wide, wide]);
        let keys: Map<String, Value> = (0..200).map(|it| (format!("{it}{long}"), json!(it))).collect();
        for value in [
            json!({"a": 1}),
            deep,
            json!({"t": long}),
            Value::Object(wide),
            json!({"b": bushy}),
            Value::Object(keys),
        ] {
            let Value::Object(data) = value else { panic!() };
            let whole = size(&data) <= 1_000 && !data.contains_key("a")
                || data == *json!({"a": 1}).as_object().unwrap();
            let small = fit(data);
            assert!(crate::core::check_event(&Value::Object(small.clone())).is_ok());
            assert_eq!(small.contains_key("cut"), !whole, "{small:?}");
        }
    }
}

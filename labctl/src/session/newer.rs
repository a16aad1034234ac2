//! Answers of a master that is a release ahead: what this labctl does not understand is left out, and said, rather than
//! the whole answer refused.

use model::Reply;
use serde_json::{Value, json};

/// Items that are looked at one by one.
const ITEMS_MAX: usize = 200_000;

/// An answer, and what was left out of it, for people.
#[derive(Debug)]
pub(super) struct Understood {
    pub(super) reply: Reply,
    pub(super) left_out: Option<String>,
}

/// Reads an answer; of lists that hold something unknown, the rest.
pub(super) fn read(body: &[u8]) -> serde_json::Result<Understood> {
    match serde_json::from_slice(body) {
        Ok(reply) => Ok(Understood { reply, left_out: None }),
        Err(error) => salvage(body).ok_or(error),
    }
}

/// Whether a line of a stream is one of a kind that this release does not know: nobody waits for it.
pub(super) fn is_unknown_line(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|it| it.get("line").is_some_and(Value::is_string))
}

fn salvage(body: &[u8]) -> Option<Understood> {
    let whole: Value = serde_json::from_slice(body).ok()?;
    let word = whole.get("reply")?.clone();
    let parse = |data: Value| serde_json::from_value::<Reply>(json!({ "reply": word, "data": data }));
    let mut sieve = Sieve::default();
    let kept = match whole.get("data")? {
        Value::Array(items) => Value::Array(sieve.keep(items, &|item| parse(json!([item])).map(drop))),
        Value::Object(fields) => {
            let mut bare = fields.clone();
            for (_, items) in bare.iter_mut().filter(|it| it.1.is_array()) {
                *items = json!([]);
            }
            let mut kept = fields.clone();
            for (name, value) in fields {
                let Value::Array(items) = value else { continue };
                let alone = |item: Value| {
                    let mut one = bare.clone();
                    one.insert(name.clone(), json!([item]));
                    parse(Value::Object(one)).map(drop)
                };
                kept.insert(name.clone(), Value::Array(sieve.keep(items, &alone)));
            }
            Value::Object(kept)
        }
        _ => return None,
    };
    let reply = parse(kept).ok()?;
    Some(Understood { reply, left_out: sieve.told() })
}

/// What went through, and what did not.
#[derive(Default)]
struct Sieve {
    all: usize,
    left: usize,
    why: Option<String>,
}

impl Sieve {
    fn keep(&mut self, items: &[Value], reads: &dyn Fn(Value) -> serde_json::Result<()>) -> Vec<Value> {
        let mut kept = Vec::new();
        for item in items.iter().take(ITEMS_MAX) {
            self.all += 1;
            match reads(item.clone()) {
                Ok(()) => kept.push(item.clone()),
                Err(error) => {
                    self.left += 1;
                    self.why.get_or_insert_with(|| error.to_string());
                }
            }
        }
        kept
    }

    fn told(self) -> Option<String> {
        let why = self.why?;
        // What was expected is long, and of no use to people.
        let why = why.split(", expected").next().unwrap_or_default();
        Some(format!(
            "note: {} of {} cannot be shown ({why}): the master is newer than this labctl; upgrade it to see all",
            self.left, self.all
        ))
    }
}

#[cfg(test)]
mod tests;

//! Filters that take lists for sets, and those that combine elements.

use crate::jinja::{
    call::{Called, int},
    failure::{Failure, Outcome},
    run::{Place, Run},
    value::{Key, Value},
};
use std::collections::HashSet;

type Made = Outcome<Value>;

/// Elements that were seen: quick where they can be keys.
struct Seen<'a, 'b> {
    run: &'a Run<'b>,
    keys: HashSet<Key>,
    others: Vec<Value>,
}

impl<'a, 'b> Seen<'a, 'b> {
    fn new(run: &'a Run<'b>) -> Self {
        Self { run, keys: HashSet::new(), others: Vec::new() }
    }
    fn of(run: &'a Run<'b>, items: &[Value]) -> Outcome<Self> {
        let mut seen = Self::new(run);
        for item in items {
            seen.add(item)?;
        }
        Ok(seen)
    }
    fn has(&self, item: &Value) -> Outcome<bool> {
        if let Ok(key) = Key::of(item, self.run.heap) {
            return Ok(self.keys.contains(&key));
        }
        for other in &self.others {
            if self.run.heap.equal(other, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
    /// Whether it is new.
    fn add(&mut self, item: &Value) -> Outcome<bool> {
        if self.has(item)? {
            return Ok(false);
        }
        match Key::of(item, self.run.heap) {
            Ok(key) => {
                self.keys.insert(key);
            }
            Err(_) => self.others.push(item.clone()),
        }
        Ok(true)
    }
}

fn each_once(run: &Run<'_>, items: impl IntoIterator<Item = Value>) -> Made {
    let mut seen = Seen::new(run);
    let mut out = Vec::new();
    for item in items {
        if seen.add(&item)? {
            out.push(item);
        }
    }
    Ok(run.heap.list(out))
}

fn both(run: &Run<'_>, name: &str, value: &Value, args: &Called) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let [other] = args.need(name, 1, ["lst2"])?;
    Ok((value.items(run.heap)?, other.unwrap_or(Value::None).items(run.heap)?))
}

pub(super) fn unique(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    args.bind("unique", ["case_sensitive", "attribute"])?;
    each_once(run, value.items(run.heap)?)
}

pub(super) fn union(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let (first, second) = both(run, "union", value, args)?;
    each_once(run, first.into_iter().chain(second))
}

/// The elements of the first that are, or are not, in the second.
fn those(run: &Run<'_>, first: Vec<Value>, second: &[Value], wanted: bool) -> Outcome<Vec<Value>> {
    let seen = Seen::of(run, second)?;
    let mut out = Vec::new();
    for item in first {
        if seen.has(&item)? == wanted {
            out.push(item);
        }
    }
    Ok(out)
}

pub(super) fn intersect(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let (first, second) = both(run, "intersect", value, args)?;
    each_once(run, those(run, first, &second, true)?)
}

pub(super) fn difference(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let (first, second) = both(run, "difference", value, args)?;
    each_once(run, those(run, first, &second, false)?)
}

pub(super) fn symmetric_difference(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let (first, second) = both(run, "symmetric_difference", value, args)?;
    let only_first = those(run, first.clone(), &second, false)?;
    let only_second = those(run, second, &first, false)?;
    each_once(run, only_first.into_iter().chain(only_second))
}

fn true_count(run: &Run<'_>, value: &Value) -> Outcome<i64> {
    let mut count = 0;
    for item in value.items(run.heap)? {
        count += i64::from(item.truthy()?);
    }
    Ok(count)
}

pub(super) fn exactly_n(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [wanted] = args.bind("exactly_n_true", ["amount"])?;
    Ok(Value::Bool(true_count(run, value)? == int("exactly_n_true", wanted.as_ref(), 1)?))
}

pub(super) fn exactly_one(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::Bool(true_count(run, value)? == 1))
}

pub(super) fn compress(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let (first, second) = both(run, "compress", value, args)?;
    let mut out = Vec::new();
    for (item, selector) in first.into_iter().zip(second) {
        if selector.truthy()? {
            out.push(item);
        }
    }
    Ok(run.heap.list(out))
}

fn lists(run: &Run<'_>, value: &Value, args: &Called) -> Outcome<Vec<Vec<Value>>> {
    let mut lists = vec![value.items(run.heap)?];
    for more in &args.plain {
        lists.push(more.items(run.heap)?);
    }
    Ok(lists)
}

pub(super) fn zip(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let lists = lists(run, value, args)?;
    let length = lists.iter().map(Vec::len).min().unwrap_or(0);
    let row = |index: usize| run.heap.tuple(lists.iter().map(|it| it[index].clone()).collect());
    Ok(run.heap.list((0..length).map(row).collect()))
}

pub(super) fn zip_longest(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let lists = lists(run, value, args)?;
    let fill = args.named.iter().find(|it| &*it.0 == "fillvalue").map_or(Value::None, |it| it.1.clone());
    let length = lists.iter().map(Vec::len).max().unwrap_or(0);
    run.heap.spend(length.saturating_mul(lists.len()))?;
    let row = |index: usize| {
        run.heap
            .tuple(lists.iter().map(|it| it.get(index).cloned().unwrap_or_else(|| fill.clone())).collect())
    };
    Ok(run.heap.list((0..length).map(row).collect()))
}

pub(super) fn product(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in lists(run, value, args)? {
        run.heap.spend(
            rows.len()
                .saturating_mul(list.len())
                .saturating_mul(rows[..].first().map_or(1, |it| it.len() + 1)),
        )?;
        let longer = rows.iter().flat_map(|row| {
            list.iter().map(move |item| {
                let mut row = row.clone();
                row.push(item.clone());
                row
            })
        });
        rows = longer.collect();
    }
    Ok(run.heap.list(rows.into_iter().map(|it| run.heap.tuple(it)).collect()))
}

/// How positions may follow one another.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Rising,
    RisingOrSame,
    AnyOther,
}

fn choices(run: &Run<'_>, name: &str, value: &Value, args: &Called, order: Order) -> Made {
    let items = value.items(run.heap)?;
    let [count] = args.bind(name, ["r"])?;
    let default = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let count = int(name, count.as_ref(), default)?;
    let count =
        usize::try_from(count).map_err(|_| Failure::value(format!("`{name}` takes a count of 0 or more")))?;
    if count > items.len() && order != Order::RisingOrSame {
        return Ok(run.heap.list(Vec::new()));
    }
    run.heap.spend(count)?;
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..count {
        let mut longer = Vec::new();
        for row in &rows {
            let from = match (order, row.last()) {
                (Order::Rising, Some(last)) => last + 1,
                (Order::RisingOrSame, Some(last)) => *last,
                _ => 0,
            };
            for index in from..items.len() {
                run.heap.spend(row.len() + 1)?;
                if order == Order::AnyOther && row.contains(&index) {
                    continue;
                }
                let mut next = row.clone();
                next.push(index);
                longer.push(next);
            }
        }
        rows = longer;
    }
    let tuple = |row: Vec<usize>| run.heap.tuple(row.into_iter().map(|it| items[it].clone()).collect());
    Ok(run.heap.list(rows.into_iter().map(tuple).collect()))
}

pub(super) fn combinations(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    choices(run, "combinations", value, args, Order::Rising)
}

pub(super) fn combinations_again(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    choices(run, "combinations_with_replacement", value, args, Order::RisingOrSame)
}

pub(super) fn permutations(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    choices(run, "permutations", value, args, Order::AnyOther)
}

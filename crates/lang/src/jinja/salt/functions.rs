//! The functions of Salt that the master answers.

#![expect(clippy::unnecessary_wraps, reason = "all functions have one form")]

use super::{
    Function,
    lookup::{merged, traverse, update},
    machine::{
        b64decode, b64encode, basename, dirname, hash, hash_digest, interfaces, ip_addrs, normpath, path_join,
    },
    mappings::{
        boolstr, deep_copy, defaults_merge, defaults_update, slsutil_merge, slsutil_merge_all, slsutil_update,
    },
    matching::{fits, matches},
    tree,
};
use crate::jinja::{
    call::{Called, flag, text},
    failure::{Failure, Outcome},
    globals::pairs,
    run::Run,
    text::str_of,
    value::{Dict, Key, Value},
};

type Made = Outcome<Value>;

const fn function(
    name: &'static str,
    args: &'static str,
    doc: &'static str,
    call: fn(&Run<'_>, &Called) -> Made,
) -> Function {
    Function { name, args, doc, call }
}

/// All, in order.
pub(in crate::jinja) const FUNCTIONS: &[Function] = &[
    function(
        "config.get",
        "key, default='', delimiter=':', merge",
        "A value of `opts`, the grains or the pillar, whichever has it first.",
        config_get,
    ),
    function("config.option", "key, default=''", "As `config.get`.", config_get),
    function("cp.get_file_str", "path", "The text of a file of the tree.", tree::get_file_str),
    function("cp.hash_file", "path", "The SHA-256 of a file of the tree.", tree::hash_file),
    function("cp.list_master", "saltenv, prefix=''", "The files of the tree.", tree::list_master),
    function("cp.list_master_dirs", "saltenv, prefix=''", "The folders of the tree.", tree::list_master_dirs),
    function("cp.list_states", "saltenv", "The states of the tree.", tree::list_states),
    function("defaults.deepcopy", "source", "A copy.", deep_copy),
    function(
        "defaults.merge",
        "dest, src, merge_lists=false, in_place=true, convert_none=true",
        "One mapping merged into another.",
        defaults_merge,
    ),
    function(
        "defaults.update",
        "dest, defaults, merge_lists=true, in_place=true, convert_none=true",
        "Defaults merged under each element of a mapping.",
        defaults_update,
    ),
    function("file.basename", "path", "The last part of a path.", basename),
    function("file.dirname", "path", "A path without its last part.", dirname),
    function("file.join", "…", "Parts of a path joined.", path_join),
    function("file.normpath", "path", "A path without `.`, `..` and double slashes.", normpath),
    function("grains.equals", "key, value", "Whether a grain has this value.", grains_equals),
    function("grains.fetch", "key, default=''", "As `grains.get`.", grains_get),
    function(
        "grains.filter_by",
        "lookup_dict, grain='os_family', merge, default='default', base",
        "The element of a mapping whose key fits a grain.",
        grains_filter_by,
    ),
    function("grains.get", "key, default='', delimiter=':'", "A grain, by its path.", grains_get),
    function("grains.has_value", "key", "Whether a grain is set and counts as yes.", grains_has_value),
    function("grains.item", "…", "Some grains, as a mapping.", grains_item),
    function("grains.items", "", "All grains.", grains_items),
    function("grains.ls", "", "The names of all grains.", grains_ls),
    function("hashutil.base64_b64decode", "instr", "The text behind Base64.", b64decode),
    function("hashutil.base64_b64encode", "instr", "Base64 of a text.", b64encode),
    function("hashutil.base64_decodestring", "instr", "The text behind Base64.", b64decode),
    function("hashutil.base64_encodestring", "instr", "Base64 of a text.", b64encode),
    function(
        "hashutil.digest",
        "instr, checksum='md5'",
        "A hash of a text: md5, sha1, sha256 or sha512.",
        hash_digest,
    ),
    function("hashutil.md5_digest", "instr", "MD5 in hexadecimal.", |run, args| hash(run, args, "md5")),
    function("hashutil.sha256_digest", "instr", "SHA-256 in hexadecimal.", |run, args| {
        hash(run, args, "sha256")
    }),
    function("hashutil.sha512_digest", "instr", "SHA-512 in hexadecimal.", |run, args| {
        hash(run, args, "sha512")
    }),
    function("match.compound", "tgt", "Whether a compound target means this minion.", |run, args| {
        matched(run, args, "compound")
    }),
    function(
        "match.filter_by",
        "lookup, tgt_type='compound', merge, merge_lists=false, default='default'",
        "The element of a mapping whose key is a target that means this minion.",
        match_filter_by,
    ),
    function("match.glob", "tgt", "Whether a glob means this minion.", |run, args| {
        matched(run, args, "glob")
    }),
    function("match.grain", "tgt, delimiter=':'", "Whether a grain has a value.", |run, args| {
        matched(run, args, "grain")
    }),
    function("match.grain_pcre", "tgt, delimiter=':'", "Whether a grain fits a pattern.", |run, args| {
        matched(run, args, "grain_pcre")
    }),
    function("match.ipcidr", "tgt", "Whether the minion has an address in a network.", |run, args| {
        matched(run, args, "ipcidr")
    }),
    function("match.list", "tgt", "Whether the minion is in a list.", |run, args| matched(run, args, "list")),
    function("match.pcre", "tgt", "Whether a pattern means this minion.", |run, args| {
        matched(run, args, "pcre")
    }),
    function(
        "match.pillar",
        "tgt, delimiter=':'",
        "Whether a value of the pillar is as said.",
        |run, args| matched(run, args, "pillar"),
    ),
    function(
        "match.search_by",
        "lookup, tgt_type='compound'",
        "The keys of a mapping of lists of targets that mean this minion.",
        match_search_by,
    ),
    function(
        "mine.get",
        "tgt, fun, tgt_type='glob'",
        "Nothing: there is no mine; `roster` knows the other minions.",
        mine_get,
    ),
    function("network.get_hostname", "", "The grain `host`.", |run, _| {
        Ok(grain(run, &["host", "nodename", "localhost"]))
    }),
    function("network.in_subnet", "cidr", "Whether the minion has an address in a network.", |run, args| {
        matched(run, args, "ipcidr")
    }),
    function("network.interfaces", "", "The addresses of each interface, from the grains.", interfaces),
    function(
        "network.ip_addrs",
        "interface, include_loopback=false, cidr",
        "IPv4 addresses, from the grains.",
        |run, args| ip_addrs(run, args, "ip4"),
    ),
    function(
        "network.ip_addrs6",
        "interface, include_loopback=false, cidr",
        "IPv6 addresses, from the grains.",
        |run, args| ip_addrs(run, args, "ip6"),
    ),
    function(
        "network.ipaddrs",
        "interface, include_loopback=false, cidr",
        "As `network.ip_addrs`.",
        |run, args| ip_addrs(run, args, "ip4"),
    ),
    function(
        "network.ipaddrs6",
        "interface, include_loopback=false, cidr",
        "As `network.ip_addrs6`.",
        |run, args| ip_addrs(run, args, "ip6"),
    ),
    function("pillar.fetch", "key, default='', delimiter=':'", "As `pillar.get`.", pillar_get),
    function(
        "pillar.get",
        "key, default='', merge=false, merge_nested_lists, delimiter=':'",
        "A value of the pillar, by its path.",
        pillar_get,
    ),
    function("pillar.item", "…", "Some values of the pillar, as a mapping.", pillar_item),
    function("pillar.items", "", "The whole pillar.", pillar_items),
    function("pillar.keys", "key, delimiter=':'", "The keys of a mapping in the pillar.", pillar_keys),
    function("pillar.ls", "", "The names at the top of the pillar.", pillar_ls),
    function("pillar.raw", "", "The whole pillar.", pillar_items),
    function("slsutil.boolstr", "value, true='true', false='false'", "One of two texts.", boolstr),
    function("slsutil.dir_exists", "path", "Whether the tree has a folder.", tree::dir_exists),
    function("slsutil.file_exists", "path", "Whether the tree has a file.", tree::file_exists),
    function(
        "slsutil.merge",
        "obj_a, obj_b, strategy='smart', renderer, merge_lists=false",
        "Two mappings as a new one.",
        slsutil_merge,
    ),
    function(
        "slsutil.merge_all",
        "lst, strategy='smart', renderer, merge_lists=false",
        "Several mappings as a new one.",
        slsutil_merge_all,
    ),
    function("slsutil.path_exists", "path", "Whether the tree has a file or a folder.", tree::path_exists),
    function(
        "slsutil.update",
        "dest, upd, recursive_update=true, merge_lists=false",
        "One mapping put into another.",
        slsutil_update,
    ),
    function("test.echo", "text", "Its argument.", echo),
    function("test.false", "", "False.", |_, _| Ok(Value::Bool(false))),
    function("test.ping", "", "True.", |_, _| Ok(Value::Bool(true))),
    function("test.true", "", "True.", |_, _| Ok(Value::Bool(true))),
];

fn delimiter<'a>(name: &str, value: Option<&'a Value>) -> Outcome<&'a str> {
    value.map_or(Ok(":"), |it| text(name, Some(it)))
}

/// A value at a path, or a default; of what nobody knows, the default if there is one.
fn at(run: &Run<'_>, root: &Value, key: Option<&Value>, default: Option<Value>, by: &str) -> Made {
    if matches!(root, Value::Unknown) {
        return Ok(default.unwrap_or(Value::Unknown));
    }
    let found = traverse(run, root, key.unwrap_or(&Value::None), by)?;
    Ok(found.or(default).unwrap_or_else(|| Value::str("")))
}

fn config_get(run: &Run<'_>, args: &Called) -> Made {
    let names =
        ["key", "default", "delimiter", "merge", "omit_opts", "omit_pillar", "omit_master", "omit_grains"];
    let [key, default, by, _, no_opts, no_pillar, _, no_grains] = args.need("config.get", 1, names)?;
    let by = delimiter("config.get", by.as_ref())?;
    let world = run.world;
    let roots = [(&world.opts, no_opts), (&world.grains, no_grains), (&world.pillar, no_pillar)];
    for (root, omit) in &roots {
        if flag(omit.as_ref(), false)? || matches!(root, Value::Unknown) {
            continue;
        }
        if let Some(found) = traverse(run, root, key.as_ref().unwrap_or(&Value::None), by)? {
            return Ok(found);
        }
    }
    if run.lenient {
        return Ok(default.unwrap_or(Value::Unknown));
    }
    Ok(default.unwrap_or_else(|| Value::str("")))
}

fn grains_get(run: &Run<'_>, args: &Called) -> Made {
    let [key, default, by, _] = args.need("grains.get", 1, ["key", "default", "delimiter", "ordered"])?;
    at(run, &run.world.grains, key.as_ref(), default, delimiter("grains.get", by.as_ref())?)
}

fn grains_has_value(run: &Run<'_>, args: &Called) -> Made {
    let [key] = args.need("grains.has_value", 1, ["key"])?;
    let found = at(run, &run.world.grains, key.as_ref(), Some(Value::Bool(false)), ":")?;
    Ok(Value::Bool(found.truthy()?))
}

fn grains_equals(run: &Run<'_>, args: &Called) -> Made {
    let [key, value] = args.need("grains.equals", 2, ["key", "value"])?;
    let found = at(run, &run.world.grains, key.as_ref(), None, ":")?;
    let (found, value) = (str_of(&found, run.heap)?, str_of(&value.unwrap_or(Value::None), run.heap)?);
    Ok(Value::Bool(found == value))
}

fn some(run: &Run<'_>, root: &Value, args: &Called) -> Made {
    let mut found = Dict::new();
    for key in &args.plain {
        if let Some(value) = traverse(run, root, key, ":")? {
            found.insert(Key::of(key, run.heap)?, value);
        }
    }
    Ok(run.heap.dict(found))
}

fn grains_item(run: &Run<'_>, args: &Called) -> Made {
    some(run, &run.world.grains, args)
}

fn grains_items(run: &Run<'_>, _: &Called) -> Made {
    Ok(run.world.grains.clone())
}

fn grains_ls(run: &Run<'_>, _: &Called) -> Made {
    Ok(run.heap.list(run.world.grains.items(run.heap)?))
}

pub(super) fn grain(run: &Run<'_>, names: &[&str]) -> Value {
    let Value::Dict(grains) = &run.world.grains else { return Value::Unknown };
    let grains = grains.borrow();
    names.iter().find_map(|it| grains.get(&Key::of_str(it))).cloned().unwrap_or(Value::None)
}

/// The element whose key fits one of some values.
fn filter_by(run: &Run<'_>, table: &Dict, values: &[Value]) -> Outcome<Option<Value>> {
    for value in values {
        let value = str_of(value, run.heap)?;
        for (key, item) in table {
            run.heap.spend(20)?;
            if fits(&key.text(run.heap), &value) && !item.is_none() {
                return Ok(Some(item.clone()));
            }
        }
    }
    Ok(None)
}

fn grains_filter_by(run: &Run<'_>, args: &Called) -> Made {
    let names = ["lookup_dict", "grain", "merge", "default", "base"];
    let [table, grain, merge, default, base] = args.need("grains.filter_by", 1, names)?;
    let table = pairs(run, &table.unwrap_or(Value::None))?;
    let grain = grain.unwrap_or_else(|| Value::str("os_family"));
    if matches!(run.world.grains, Value::Unknown) {
        return Ok(Value::Unknown);
    }
    let values = match traverse(run, &run.world.grains, &grain, ":")? {
        Some(Value::List(list)) if !list.tuple => list.items.borrow().clone(),
        found => found.into_iter().collect(),
    };
    let mut found = filter_by(run, &table, &values)?;
    if found.is_none() {
        let default = default.unwrap_or_else(|| Value::str("default"));
        found = table.get(&Key::of(&default, run.heap)?).filter(|it| !it.is_none()).cloned();
    }
    if let Some(base) = base.filter(|it| !it.is_none())
        && let Some(base) = table.get(&Key::of(&base, run.heap)?)
    {
        found = Some(match found {
            None => base.clone(),
            Some(found) if matches!(base, Value::Dict(_)) => merged(run, base, &found, false)?,
            Some(found) => found,
        });
    }
    let Some(merge) = merge.filter(|it| matches!(it.truthy(), Ok(true))) else {
        return Ok(found.unwrap_or(Value::None));
    };
    if !matches!(merge, Value::Dict(_)) {
        return Err(Failure::value(format!(
            "`merge` of grains.filter_by takes a mapping, not {}",
            merge.kind()
        )));
    }
    let Some(found) = found else { return Ok(merge) };
    update(run, &found, &run.heap.deep_copy(&merge)?, false)?;
    Ok(found)
}

fn pillar_get(run: &Run<'_>, args: &Called) -> Made {
    let names =
        ["key", "default", "merge", "merge_nested_lists", "delimiter", "pillarenv", "saltenv", "unmask"];
    let [key, default, merge, lists, by, ..] = args.need("pillar.get", 1, names)?;
    let by = delimiter("pillar.get", by.as_ref())?;
    let pillar = &run.world.pillar;
    if !flag(merge.as_ref(), false)? || matches!(pillar, Value::Unknown) {
        return at(run, pillar, key.as_ref(), default, by);
    }
    let found = traverse(run, pillar, key.as_ref().unwrap_or(&Value::None), by)?;
    match (&default, &found) {
        (Some(default @ Value::Dict(_)), Some(found @ Value::Dict(_))) => {
            merged(run, default, found, flag(lists.as_ref(), false)?)
        }
        (Some(Value::List(first)), Some(Value::List(second))) => {
            let mut items = first.items.borrow().clone();
            for item in second.items.borrow().iter() {
                if !run.heap.contains(&run.heap.list(items.clone()), item)? {
                    items.push(item.clone());
                }
            }
            Ok(run.heap.list(items))
        }
        _ => Ok(found.or(default).unwrap_or_else(|| Value::str(""))),
    }
}

fn pillar_item(run: &Run<'_>, args: &Called) -> Made {
    some(run, &run.world.pillar, args)
}

fn pillar_items(run: &Run<'_>, _: &Called) -> Made {
    Ok(run.world.pillar.clone())
}

fn pillar_keys(run: &Run<'_>, args: &Called) -> Made {
    let [key, by] = args.need("pillar.keys", 1, ["key", "delimiter"])?;
    let found = at(run, &run.world.pillar, key.as_ref(), None, delimiter("pillar.keys", by.as_ref())?)?;
    match found {
        Value::Dict(_) => Ok(run.heap.list(found.items(run.heap)?)),
        Value::Unknown => Ok(found),
        other => Err(Failure::value(format!("there is no mapping there, but {}", other.kind()))),
    }
}

fn pillar_ls(run: &Run<'_>, _: &Called) -> Made {
    Ok(run.heap.list(run.world.pillar.items(run.heap)?))
}

fn echo(_: &Run<'_>, args: &Called) -> Made {
    let [text] = args.need("test.echo", 1, ["text"])?;
    Ok(text.unwrap_or(Value::None))
}

fn matched(run: &Run<'_>, args: &Called, kind: &str) -> Made {
    let [target, ..] = args.need(&format!("match.{kind}"), 1, ["tgt", "delimiter", "minion_id", "opts"])?;
    if run.lenient {
        return Ok(Value::Unknown);
    }
    let target = match target.as_ref().unwrap_or(&Value::None) {
        Value::List(list) => {
            let items =
                list.items.borrow().iter().map(|it| str_of(it, run.heap)).collect::<Outcome<Vec<_>>>()?;
            items.join(",")
        }
        other => text("match", Some(other))?.to_owned(),
    };
    Ok(Value::Bool(matches(run, kind, &target)?))
}

fn match_filter_by(run: &Run<'_>, args: &Called) -> Made {
    let names = ["lookup", "tgt_type", "minion_id", "merge", "merge_lists", "default"];
    let [table, kind, _, merge, lists, default] = args.need("match.filter_by", 1, names)?;
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("compound").to_owned();
    let table = pairs(run, &table.unwrap_or(Value::None))?;
    let mut found = None;
    for (key, value) in &table {
        if matches(run, &kind, &key.text(run.heap))? {
            found = Some(value.clone());
            break;
        }
    }
    let default = default.unwrap_or_else(|| Value::str("default"));
    let found = match found {
        Some(found) => Some(found),
        None => table.get(&Key::of(&default, run.heap)?).cloned(),
    };
    match (found, merge.filter(|it| matches!(it, Value::Dict(_)))) {
        (Some(found @ Value::Dict(_)), Some(merge)) => {
            merged(run, &found, &merge, flag(lists.as_ref(), false)?)
        }
        (found, merge) => Ok(found.or(merge).unwrap_or(Value::None)),
    }
}

fn match_search_by(run: &Run<'_>, args: &Called) -> Made {
    let [table, kind, _] = args.need("match.search_by", 1, ["lookup", "tgt_type", "minion_id"])?;
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("compound").to_owned();
    let mut found = Vec::new();
    for (key, targets) in pairs(run, &table.unwrap_or(Value::None))? {
        for target in targets.items(run.heap)? {
            if matches(run, &kind, text("match.search_by", Some(&target))?)? {
                found.push(key.value(run.heap));
                break;
            }
        }
    }
    Ok(if found.is_empty() { Value::None } else { run.heap.list(found) })
}

fn mine_get(run: &Run<'_>, args: &Called) -> Made {
    args.need("mine.get", 2, ["tgt", "fun", "tgt_type", "exclude_minion"])?;
    Ok(run.heap.dict(Dict::new()))
}

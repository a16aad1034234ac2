//! Functions that look at the files of the tree: `cp.*` and those of `slsutil`.

use crate::jinja::{
    call::{Called, text},
    failure::{Failure, Outcome},
    run::Run,
    value::Value,
};
use std::collections::BTreeSet;

type Made = Outcome<Value>;

fn path(run: &Run<'_>, args: &Called, name: &str) -> Outcome<String> {
    let [path, _] = args.need(name, 1, ["path", "saltenv"])?;
    let path = text(name, path.as_ref())?;
    let path = path.strip_prefix("salt://").or_else(|| path.strip_prefix("lab://")).unwrap_or(path);
    let path = path.split_once('?').map_or(path, |it| it.0).trim_matches('/');
    Ok(format!("{}/{path}", run.world.root))
}

/// Paths below the root of the states.
fn files<'a>(run: &'a Run<'_>) -> impl Iterator<Item = &'a str> {
    run.world.tree.iter().filter_map(|(path, _)| path.strip_prefix("states/"))
}

fn texts<'a>(run: &Run<'_>, items: impl Iterator<Item = &'a str>) -> Made {
    let items: Vec<Value> = items.map(Value::str).collect();
    run.heap.spend(items.len())?;
    Ok(run.heap.list(items))
}

pub(super) fn list_master(run: &Run<'_>, args: &Called) -> Made {
    let [_, prefix] = args.bind("cp.list_master", ["saltenv", "prefix"])?;
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or("");
    texts(run, files(run).filter(|it| it.starts_with(prefix)))
}

pub(super) fn list_master_dirs(run: &Run<'_>, args: &Called) -> Made {
    let [_, prefix] = args.bind("cp.list_master_dirs", ["saltenv", "prefix"])?;
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or("");
    let mut folders = BTreeSet::new();
    for path in files(run) {
        let mut path = path;
        while let Some((folder, _)) = path.rsplit_once('/') {
            if !folders.insert(folder) {
                break;
            }
            path = folder;
        }
    }
    texts(run, folders.into_iter().filter(|it| it.starts_with(prefix)))
}

pub(super) fn list_states(run: &Run<'_>, _: &Called) -> Made {
    let names = files(run).filter_map(|it| it.strip_suffix(".sls"));
    let names: Vec<String> =
        names.map(|it| it.strip_suffix("/init").unwrap_or(it).replace('/', ".")).collect();
    texts(run, names.iter().map(String::as_str))
}

pub(super) fn get_file_str(run: &Run<'_>, args: &Called) -> Made {
    let path = path(run, args, "cp.get_file_str")?;
    let Some(source) = run.world.tree.get(&path) else { return Ok(Value::Bool(false)) };
    let body = source.bytes.as_ref().and_then(|it| std::str::from_utf8(it).ok());
    let body =
        body.ok_or_else(|| Failure::value(format!("`{path}` is not a text of a size that can be read")))?;
    run.heap.text(body.to_owned())
}

pub(super) fn hash_file(run: &Run<'_>, args: &Called) -> Made {
    let path = path(run, args, "cp.hash_file")?;
    let Some(source) = run.world.tree.get(&path) else {
        return Ok(run.heap.dict(crate::jinja::value::Dict::new()));
    };
    Ok(run
        .heap
        .pairs(vec![("hsum", Value::str(&source.hash.to_string())), ("hash_type", Value::str("sha256"))]))
}

fn is_folder(run: &Run<'_>, path: &str) -> bool {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    run.world.tree.iter().any(|(it, _)| it.starts_with(&prefix))
}

pub(super) fn file_exists(run: &Run<'_>, args: &Called) -> Made {
    Ok(Value::Bool(run.world.tree.get(&path(run, args, "slsutil.file_exists")?).is_some()))
}

pub(super) fn dir_exists(run: &Run<'_>, args: &Called) -> Made {
    Ok(Value::Bool(is_folder(run, &path(run, args, "slsutil.dir_exists")?)))
}

pub(super) fn path_exists(run: &Run<'_>, args: &Called) -> Made {
    let path = path(run, args, "slsutil.path_exists")?;
    Ok(Value::Bool(run.world.tree.get(&path).is_some() || is_folder(run, &path)))
}

//! Reads `hooks.yaml`. One mistake gives no hooks and all complaints, so that the last good ones stay in use.

use crate::{
    hooks::{BODY_BYTES, BODY_BYTES_MAX, Hook, Hooks, NAME_BYTES, Place, Rate, Recipe, is_name},
    limits,
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    yaml::{self, Key, Node, Yaml},
};
use ipnet::IpNet;
use model::{Compiled, Secret};
use std::{
    net::IpAddr,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Hooks in one file.
const HOOKS_MAX: usize = 100;
/// Elements of one list.
const ELEMENTS_MAX: usize = 64;
/// Secrets of one hook: the new one, the old one, and the one before.
const SECRETS_MAX: usize = 3;
/// Characters of a secret.
const SECRET_MIN: usize = 16;
const SECRET_MAX: usize = 256;
/// Steps of one path into a payload.
const PATH_STEPS_MAX: usize = 8;
/// Deliveries in a second, at most.
const RATE_PER_SECOND_MAX: u64 = 100;

const KEYS: [&str; 7] = ["recipe", "secret", "secret_file", "cidr", "rate", "max", "keep"];

/// From the text of a file; an empty one has no hooks.
pub(crate) fn parse(file: &str, text: &str) -> Compiled<Hooks> {
    let mut complaints = Complaints::default();
    if text.len() > limits::TEXT_BYTES {
        let message = format!("`{file}` is longer than {} bytes", limits::TEXT_BYTES);
        complaints.push(error("E0702", message));
        return Compiled { value: None, diagnostics: complaints.finish(), questions: Vec::new() };
    }
    let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
    let root = yaml::parse(&rendered, &mut complaints);
    let mut reader = Reader { file: rendered, complaints, hooks: Hooks::default() };
    if let Some(root) = root {
        reader.root(&root);
    }
    let Reader { complaints, hooks, .. } = reader;
    let value = (!complaints.has_errors()).then_some(hooks);
    let mut diagnostics = complaints.finish();
    // Complaints go to logs and to who may see the status: no line of such a file does.
    diagnostics.iter_mut().flat_map(|it| &mut it.spans).for_each(|it| it.text.clear());
    Compiled { value, diagnostics, questions: Vec::new() }
}

struct Reader {
    file: Rendered,
    complaints: Complaints,
    hooks: Hooks,
}

impl Reader {
    fn say(&mut self, at: At, message: impl Into<String>, help: Option<String>) {
        self.complaints.push(error("E0702", message).at(self.file.span(at, "")).maybe_help(help));
    }

    fn map<'a>(&mut self, what: &str, node: &'a Node) -> &'a [(Key, Node)] {
        match &node.value {
            Yaml::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => {
                self.say(node.at, format!("{what} is a mapping, not {}", node.kind()), None);
                &[]
            }
        }
    }

    fn root(&mut self, root: &Node) {
        let pairs = self.map("this file", root);
        if pairs.len() > HOOKS_MAX {
            return self.say(root.at, format!("there are more than {HOOKS_MAX} hooks"), None);
        }
        for (name, node) in pairs {
            if !is_name(&name.text) {
                let message =
                    format!("`{}` cannot name a hook: use a-z, 0-9 and `-`, at most {NAME_BYTES}", name.text);
                self.say(name.at, message, None);
            }
            if let Some(hook) = self.hook(name, node) {
                self.hooks.named.insert(name.text.clone(), hook);
            }
        }
    }

    fn hook(&mut self, name: &Key, node: &Node) -> Option<Hook> {
        let before = self.complaints.errors();
        let pairs = self.map("a hook", node);
        let mut recipe = None;
        let mut hook = Hook {
            recipe: Recipe::Generic,
            secret: Place::Kept,
            cidr: Vec::new(),
            rate: Rate::USUAL,
            max: BODY_BYTES,
            keep: Vec::new(),
        };
        for (key, node) in pairs {
            match key.text.as_str() {
                "recipe" => recipe = self.one(node, self::recipe),
                "secret" => hook.secret = self.secret(key, node, &hook.secret),
                "secret_file" => hook.secret = self.secret_file(key, node, &hook.secret),
                "cidr" => hook.cidr = self.list(key, node, network),
                "rate" => hook.rate = self.one(node, rate).unwrap_or(Rate::USUAL),
                "max" => hook.max = self.one(node, size).unwrap_or(BODY_BYTES),
                "keep" => hook.keep = self.list(key, node, path_into),
                _ => {
                    let help = did_you_mean(&key.text, KEYS)
                        .or_else(|| Some(format!("keys here are {}", KEYS.join(", "))));
                    let message = format!("unknown key `{}`", key.text);
                    let span = self.file.span(key.at, "");
                    self.complaints.push(error("E0701", message).at(span).maybe_help(help));
                }
            }
        }
        if recipe.is_none() && self.complaints.errors() == before {
            let names: Vec<&str> = Recipe::ALL.iter().map(|it| it.name()).collect();
            let help = Some(format!("recipes are {}", names.join(", ")));
            self.say(name.at, format!("the hook `{}` says no `recipe`", name.text), help);
        }
        hook.recipe = recipe?;
        Some(hook)
    }

    /// A value of one text.
    fn one<T>(
        &mut self,
        node: &Node,
        read: impl Fn(&str) -> Result<T, (String, Option<String>)>,
    ) -> Option<T> {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.say(node.at, format!("this takes one value, not {}", node.kind()), None);
            return None;
        };
        match read(text) {
            Ok(value) => Some(value),
            Err((message, help)) => {
                self.say(node.at, message, help);
                None
            }
        }
    }

    /// Values of a list, or one value.
    fn list<T>(
        &mut self,
        key: &Key,
        node: &Node,
        read: impl Fn(&str) -> Result<T, (String, Option<String>)>,
    ) -> Vec<T> {
        let items = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.len() > ELEMENTS_MAX {
            self.say(node.at, format!("`{}` has more than {ELEMENTS_MAX} elements", key.text), None);
            return Vec::new();
        }
        items.iter().filter_map(|it| self.one(it, &read)).collect()
    }

    fn alone(&mut self, key: &Key, before: &Place) {
        if *before != Place::Kept {
            let other = if key.text == "secret" { "secret_file" } else { "secret" };
            self.say(key.at, format!("`{}` and `{other}` are two places for one secret", key.text), None);
        }
    }

    fn secret(&mut self, key: &Key, node: &Node, before: &Place) -> Place {
        self.alone(key, before);
        let secrets = self.list(key, node, secret);
        if secrets.len() > SECRETS_MAX {
            self.say(node.at, format!("a hook has at most {SECRETS_MAX} secrets"), None);
        }
        Place::Here(secrets)
    }

    fn secret_file(&mut self, key: &Key, node: &Node, before: &Place) -> Place {
        self.alone(key, before);
        self.one(node, absolute).map_or(Place::Kept, Place::File)
    }
}

fn plain<T>(message: String) -> Result<T, (String, Option<String>)> {
    Err((message, None))
}

fn recipe(text: &str) -> Result<Recipe, (String, Option<String>)> {
    let found = Recipe::ALL.into_iter().find(|it| it.name() == text);
    let names = Recipe::ALL.map(Recipe::name);
    let help = || did_you_mean(text, names).or_else(|| Some(format!("recipes are {}", names.join(", "))));
    found.ok_or_else(|| (format!("there is no recipe `{text}`"), help()))
}

/// The text itself is in no complaint.
fn secret(text: &str) -> Result<Secret, (String, Option<String>)> {
    let good =
        (SECRET_MIN..=SECRET_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
    if good {
        return Ok(Secret::new(text));
    }
    let help = Some("leave `secret` out, and let `labctl hook secret NAME` make one".to_owned());
    let message =
        format!("a secret has {SECRET_MIN} to {SECRET_MAX} characters that can be seen, without spaces");
    Err((message, help))
}

fn absolute(text: &str) -> Result<PathBuf, (String, Option<String>)> {
    let path = Path::new(text);
    let plain_path = path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain_path {
        return Ok(path.to_owned());
    }
    plain(format!("`{text}` is not an absolute path without `..`"))
}

fn network(text: &str) -> Result<IpNet, (String, Option<String>)> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    match text.parse::<IpNet>().or_else(|_| one()) {
        Ok(net) => Ok(net),
        Err(_) => plain(format!("`{text}` is no address and no network")),
    }
}

fn rate(text: &str) -> Result<Rate, (String, Option<String>)> {
    let read = || {
        let (count, unit) = text.split_once('/')?;
        let per_ms = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let count: u32 = count.parse().ok().filter(|it| *it > 0)?;
        (u64::from(count) <= RATE_PER_SECOND_MAX * per_ms / 1_000).then_some(Rate { count, per_ms })
    };
    read().ok_or_else(|| (format!("`{text}` is not a rate: write `10/m`, with s, m or h"), None))
}

fn size(text: &str) -> Result<usize, (String, Option<String>)> {
    let read = || {
        let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit())?);
        let factor = match unit.trim() {
            "KiB" | "K" | "KB" => 1 << 10,
            "MiB" | "M" | "MB" => 1 << 20,
            _ => return None,
        };
        let bytes = number.parse::<usize>().ok()?.checked_mul(factor)?;
        (1..=BODY_BYTES_MAX).contains(&bytes).then_some(bytes)
    };
    read().ok_or_else(|| (format!("`{text}` is not a size: write `64KiB`; at most 1MiB"), None))
}

fn path_into(text: &str) -> Result<Vec<String>, (String, Option<String>)> {
    let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
    if steps.len() <= PATH_STEPS_MAX && steps.iter().all(|it| (1..=64).contains(&it.len())) {
        return Ok(steps);
    }
    plain(format!("`{text}` is no path: names and numbers with dots between them, at most {PATH_STEPS_MAX}"))
}

//! What a minion does by itself: the pillar's `beacons`, checked, for the minion to keep.

mod schedules;

use crate::{
    salt,
    say::{Say, did_you_mean, error},
    scalars,
    scan::UNKNOWN,
    session::{Parsed, Session},
    steps::is_unknown,
    yaml::{Node, Yaml},
};
use model::conduct::{BEACONS_MAX, CONDUCT_BYTES_MAX};
use model::{BeaconOrder, Conduct, Diagnostic, Masked, Span};
use resources::beacons;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Keys of pillar that say what a minion does by itself.
pub(crate) const KEYS: [&str; 2] = ["beacons", "schedule"];
/// The setting that says which kind a beacon of another name is.
const KIND: &str = "beacon";

/// Whether a file of pillar can have something to say about it.
pub(crate) fn is_about(bytes: &[u8]) -> bool {
    KEYS.iter().any(|key| bytes.windows(key.len()).any(|it| it == key.as_bytes()))
}

/// What the session's pillar says.
pub(crate) fn compile(session: &mut Session<'_>) -> Conduct {
    let pillar = session.scope.data().get("pillar").cloned().unwrap_or_default();
    let beacons = pillar.get("beacons").map(|it| Reader { session, whole: true }.beacons(it));
    let schedule = pillar.get("schedule").map(|it| Reader { session, whole: true }.schedules(it));
    let conduct = Conduct { beacons: beacons.unwrap_or_default(), schedule: schedule.unwrap_or_default() };
    let bytes = serde_json::to_vec(&conduct).map_or(usize::MAX, |it| it.len());
    if bytes > CONDUCT_BYTES_MAX {
        let message = format!("beacons and schedules of one minion are {bytes} bytes of JSON");
        session
            .complaints
            .push(error("E0104", message).help(format!("at most {CONDUCT_BYTES_MAX} are taken")));
    }
    conduct
}

/// What can be said about the beacons of one file without a minion: what is missing may stand in another.
pub(crate) fn check_file(session: &mut Session<'_>, file: &Arc<Parsed>) {
    let Yaml::Map(pairs) = &file.root.value else { return };
    for (key, node) in pairs.iter().filter(|it| KEYS.contains(&it.0.text.as_str())) {
        let value = scalars::with_secrets(node, file.salt);
        let value = scalars::reveal(&value, &mut Vec::new());
        let Some(value) = certain(&key.text, &value) else { continue };
        let mut reader = Reader { session, whole: false };
        match key.text.as_str() {
            "beacons" => drop(reader.beacons(&value)),
            _ => drop(reader.schedules(&value)),
        }
    }
}

/// What is certain of a value of pillar without a minion: what holds something that only a minion has is left out.
fn certain(key: &str, value: &Value) -> Option<Value> {
    let Value::Object(named) = value else { return prune(value) };
    let known = |(name, value): (&String, &Value)| {
        // Salt's forms are translated as a whole.
        let salts = || key == "beacons" && !matches!(salt::beacons::translate(name, value), Ok(None));
        if name.contains(UNKNOWN) || is_unknown(value) && salts() {
            return None;
        }
        Some((name.clone(), prune(value)?))
    };
    Some(Value::Object(named.iter().filter_map(known).collect()))
}

fn prune(value: &Value) -> Option<Value> {
    if !is_unknown(value) {
        return Some(value.clone());
    }
    match value {
        Value::Object(map) if map.get(KIND).is_none_or(|it| !is_unknown(it)) => {
            let known = |(key, it): (&String, &Value)| {
                if key.contains(UNKNOWN) { None } else { Some((key.clone(), prune(it)?)) }
            };
            let map: Map<String, Value> = map.iter().filter_map(known).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        // An empty one keeps the places of the others.
        Value::Array(items) if items.iter().all(Value::is_object) => {
            Some(items.iter().map(|it| prune(it).unwrap_or_else(|| Value::Object(Map::new()))).collect())
        }
        _ => None,
    }
}

struct Reader<'a, 'b> {
    session: &'a mut Session<'b>,
    /// Whether everything that will be there is there.
    whole: bool,
}

impl Reader<'_, '_> {
    fn complain(&mut self, diagnostic: Diagnostic, path: &[&str]) {
        let place = place(&self.session.by_itself, path);
        let diagnostic = match place {
            Some(span) => diagnostic.at(span),
            None => diagnostic.note(format!("pillar: {}", path.join(":"))),
        };
        self.session.complaints.push(diagnostic);
    }

    fn beacons(&mut self, value: &Value) -> Vec<BeaconOrder> {
        let Value::Object(map) = value else {
            let message = "`beacons` is a mapping of names to settings";
            self.complain(error("E0406", message), &["beacons"]);
            return Vec::new();
        };
        // Salt's switch for all of them.
        let off = map.get("enabled").is_some_and(|it| *it == Value::Bool(false));
        let mut orders = Vec::new();
        for (name, value) in map.iter().filter(|it| !(it.0 == "enabled" && it.1.is_boolean())) {
            orders.extend(self.named(name, value));
        }
        if orders.len() > BEACONS_MAX {
            let message = format!("{} beacons for one minion", orders.len());
            self.complain(
                error("E0104", message).help(format!("at most {BEACONS_MAX} are taken")),
                &["beacons"],
            );
        }
        if off { Vec::new() } else { orders }
    }

    /// All beacons of one name.
    fn named(&mut self, name: &str, value: &Value) -> Vec<BeaconOrder> {
        if !beacons::is_name(name) {
            let message = format!("`{name}` is no name for a beacon");
            let help = "letters, digits, `-`, `_` and `.`, at most 64";
            self.complain(error("E0406", message).help(help), &["beacons", name]);
            return Vec::new();
        }
        let translated = match salt::beacons::translate(name, value) {
            Ok(translated) => translated,
            Err((message, help)) => {
                self.complain(error("E0406", message).help(help), &["beacons", name]);
                return Vec::new();
            }
        };
        if let Some(orders) = translated {
            let check = |(kind, settings)| self.order(name, kind, settings, None);
            return orders.into_iter().filter_map(check).collect();
        }
        match value {
            Value::Null => self.order(name, name.to_owned(), Map::new(), None).into_iter().collect(),
            Value::Object(settings) => self.plain(name, settings, None).into_iter().collect(),
            Value::Array(items) => {
                let mut orders = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(settings) = item {
                        orders.extend(self.plain(name, settings, Some(index)));
                    } else {
                        let message = format!("`{name}` is a mapping of settings, or a list of such");
                        self.complain(error("E0406", message), &["beacons", name, &index.to_string()]);
                    }
                }
                orders
            }
            _ => {
                let message = format!("`{name}` is a mapping of settings, or a list of such");
                self.complain(error("E0406", message), &["beacons", name]);
                Vec::new()
            }
        }
    }

    fn plain(
        &mut self,
        name: &str,
        settings: &Map<String, Value>,
        index: Option<usize>,
    ) -> Option<BeaconOrder> {
        let mut settings = settings.clone();
        let kind = match settings.shift_remove(KIND) {
            Some(Value::String(kind)) => kind,
            Some(_) => {
                let message = format!("`{KIND}` must be the name of a kind of beacon");
                self.complain(error("E0407", message), &["beacons", name, KIND]);
                return None;
            }
            None => name.to_owned(),
        };
        self.order(name, kind, settings, index)
    }

    fn order(
        &mut self,
        name: &str,
        kind: String,
        settings: Map<String, Value>,
        index: Option<usize>,
    ) -> Option<BeaconOrder> {
        let index = index.map(|it| it.to_string());
        let mut path = vec!["beacons", name];
        path.extend(index.as_deref());
        let Some(known) = beacons::kind(&kind) else {
            if kind == name && !self.whole && self.session.by_itself.len() > 1 {
                // Another file may say which kind it is.
                return None;
            }
            let names: Vec<&str> = beacons::kinds().iter().map(|it| it.name).collect();
            let help = did_you_mean(&kind, names.iter().copied());
            let help = help.or_else(|| {
                Some(format!("there is {}; `{KIND}: KIND` gives one another name", names.join(", ")))
            });
            self.complain(error("E0406", format!("there is no beacon `{kind}`")).maybe_help(help), &path);
            return None;
        };
        let wrong = known.check(&settings, self.whole);
        let good = wrong.is_empty();
        for complaint in wrong {
            let mut path = path.clone();
            path.extend(complaint.setting.as_deref());
            self.complain(error("E0407", complaint.message).maybe_help(complaint.help), &path);
        }
        good.then(|| BeaconOrder { name: name.to_owned(), kind, settings: Masked(settings) })
    }
}

/// Where a value of pillar stands: in the last file that says it, as far down as the path leads.
fn place(files: &[Arc<Parsed>], path: &[&str]) -> Option<Span> {
    // Of several that lead equally far, the last.
    let found = files.iter().map(|file| (walk(&file.root, path), file));
    let ((_, at), file) = found.max_by_key(|((depth, _), _)| *depth).filter(|((depth, _), _)| *depth > 0)?;
    Some(file.rendered.span(at, ""))
}

/// How many steps of a path there are below a node, and where the last one is.
fn walk(node: &Node, path: &[&str]) -> (usize, crate::say::At) {
    let Some((step, rest)) = path.split_first() else { return (0, node.at) };
    let below = match &node.value {
        Yaml::Map(pairs) => {
            pairs.iter().find(|(key, _)| key.text == *step).map(|(key, below)| (key.at, below))
        }
        Yaml::List(items) => match step.parse::<usize>() {
            Ok(index) => items.get(index).map(|it| (it.at, it)),
            // A list of small mappings, as Salt writes it.
            Err(_) => items.iter().find_map(|item| {
                let Yaml::Map(pairs) = &item.value else { return None };
                pairs.iter().find(|(key, _)| key.text == *step).map(|(key, below)| (key.at, below))
            }),
        },
        Yaml::Scalar { .. } => None,
    };
    let Some((at, below)) = below else { return (0, node.at) };
    match walk(below, rest) {
        (0, _) => (1, at),
        (depth, at) => (depth + 1, at),
    }
}

#[cfg(test)]
mod tests;

//! Finds which steps requisites mean.

use crate::{
    arguments::{Requirement, Spelling},
    glob, limits,
    low::Low,
    say::{Say, did_you_mean, error, warning},
    session::Session,
};
use model::Requisite;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Salt's modules that do not react to what they watch: there, `watch` is `require`.
const IDLE: [&str; 38] = [
    "acl",
    "alias",
    "alternatives",
    "apache_conf",
    "apache_module",
    "apache_site",
    "archive",
    "cron",
    "environ",
    "file",
    "firewalld",
    "git",
    "gpg",
    "grains",
    "group",
    "host",
    "http",
    "ini",
    "ipset",
    "iptables",
    "kmod",
    "locale",
    "lvm",
    "network",
    "nftables",
    "pip",
    "pkgrepo",
    "postgres_database",
    "postgres_user",
    "process",
    "quota",
    "schedule",
    "selinux",
    "ssh_auth",
    "ssh_known_hosts",
    "sysctl",
    "timezone",
    "user",
];

/// Whether a module may do something when what it watches changes.
pub(crate) fn reacts(module: &str) -> bool {
    !IDLE.contains(&module)
}

/// A requisite between two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edge {
    /// Who waits.
    pub(crate) from: usize,
    /// For whom.
    pub(crate) to: usize,
    pub(crate) when: Requisite,
    pub(crate) any: bool,
    /// As what it counts when steps are put in order.
    pub(crate) counts_as: Requisite,
}

/// Steps of each id, name and file.
struct Index<'a> {
    by_word: HashMap<&'a str, BTreeSet<usize>>,
    by_sls: HashMap<&'a str, BTreeSet<usize>>,
}

fn index(lows: &[Low]) -> Index<'_> {
    let mut index = Index { by_word: HashMap::new(), by_sls: HashMap::new() };
    for (position, low) in lows.iter().enumerate() {
        index.by_word.entry(&low.id).or_default().insert(position);
        index.by_word.entry(&low.name).or_default().insert(position);
        index.by_sls.entry(&low.sls).or_default().insert(position);
        for above in low.included_from.iter() {
            index.by_sls.entry(above).or_default().insert(position);
        }
    }
    index
}

impl Index<'_> {
    fn resolve(&self, lows: &[Low], requirement: &Requirement, from: usize) -> Vec<usize> {
        let text = requirement.text.as_str();
        let state = requirement.state.as_deref();
        let words = if state == Some("sls") { &self.by_sls } else { &self.by_word };
        let found: BTreeSet<usize> = match words.get(text) {
            Some(found) => found.clone(),
            None if glob::is_pattern(text) => {
                let matching = words.iter().filter(|it| glob::matches(text, it.0));
                matching.flat_map(|it| it.1.iter().copied()).collect()
            }
            None => BTreeSet::new(),
        };
        if state == Some("sls") {
            return found.into_iter().filter(|it| *it != from).collect();
        }
        let fits = |it: &usize| state.is_none_or(|state| lows[*it].state == state);
        // A pattern may match the step that has it.
        let itself = |it: &usize| *it == from && glob::is_pattern(text);
        found.into_iter().filter(|it| fits(it) && !itself(it)).collect()
    }
}

/// All requisites in the order in which Salt goes through them; none if there are too many.
/// `ids` are those of all blocks, also of such that made no step.
pub(crate) fn edges(
    session: &mut Session<'_>,
    lows: &[Low],
    files: &[String],
    ids: &HashSet<String>,
) -> Option<Vec<Edge>> {
    let index = index(lows);
    let mut edges: Vec<Edge> = Vec::new();
    for (from, low) in lows.iter().enumerate() {
        let mut requirements: Vec<&Requirement> = low.requirements.iter().collect();
        let counts_as = |it: &Spelling| match it.kind {
            Requisite::Watch if !reacts(&low.state) => Requisite::Require,
            kind => kind,
        };
        requirements.sort_by_key(|it| {
            let kind = counts_as(it.spelling);
            (crate::arguments::rank(kind, it.spelling.any), kind != it.spelling.kind)
        });
        for requirement in requirements {
            let found = index.resolve(lows, requirement, from);
            let made_no_step =
                ids.contains(&requirement.text) && !index.by_word.contains_key(requirement.text.as_str());
            if found.is_empty() && !made_no_step {
                unresolved(session, lows, requirement, files);
            }
            let spelling = requirement.spelling;
            for other in found {
                let (from, to) = if spelling.inverted { (other, from) } else { (from, other) };
                let counts_as = counts_as(spelling);
                edges.push(Edge { from, to, when: spelling.kind, any: spelling.any, counts_as });
            }
            if edges.len() > limits::LINKS {
                let message = format!("more than {} requisites for one minion", limits::LINKS);
                session.complaints.push(error("E0104", message));
                return None;
            }
        }
    }
    Some(edges)
}

fn unresolved(session: &mut Session<'_>, lows: &[Low], requirement: &Requirement, files: &[String]) {
    let Requirement { text, state, file, at, spelling } = requirement;
    let is_sls = state.as_deref() == Some("sls");
    if (is_sls && (files.contains(text) || glob::is_pattern(text))) || session.elsewhere.contains(text) {
        return;
    }
    let wanted = match state {
        Some(state) => format!("`{state}: {text}`"),
        None => format!("`{text}`"),
    };
    let message = format!("nothing here is {wanted}");
    let mut same = lows.iter().filter(|it| it.id == *text || it.name == *text);
    let help = if is_sls {
        did_you_mean(text, files.iter().map(String::as_str)).or(Some(format!("add `{text}` to `include:`")))
    } else if let Some(other) = same.next() {
        Some(format!("`{text}` is there as `{}: {text}`", other.state))
    } else {
        let near = lows.iter().filter(|it| state.as_ref().is_none_or(|state| it.state == *state));
        let near = near.flat_map(|it| [it.id.as_str(), it.name.as_str()]);
        did_you_mean(text, near).or(Some("include the file that has it".to_owned()))
    };
    // Salt looks for what is listened to when the run is over.
    let complaint = if file.salt && spelling.kind == Requisite::Listen {
        warning("W0114", message)
    } else {
        error("E0114", message)
    };
    let mut complaint = complaint.at(file.rendered.span(*at, "required here")).maybe_help(help);
    complaint.notes.extend(file.rendered.note(*at));
    session.complaints.push(complaint);
}

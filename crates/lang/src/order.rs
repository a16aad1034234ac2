//! Finds what requisites mean and puts steps in order: as written, `order:`, and whatever is required first.

use crate::{
    arguments::{Order, Requirement},
    limits,
    say::{Say, did_you_mean, error},
    session::Session,
    steps::Draft,
};
use model::{Link, Requisite, Step};
use std::collections::{HashMap, HashSet};

/// Where states without `order:` begin, as in Salt.
const UNORDERED: i64 = 10_000;
/// Where `last` and numbers below zero are counted from.
const LAST: i64 = 1 << 40;

/// Steps of each id, name and file: what requisites look for.
struct Index {
    by_word: HashMap<String, Vec<usize>>,
    by_sls: HashMap<String, Vec<usize>>,
}

/// A requisite between two drafts, and where it is written.
struct Edge {
    link: Link,
    from: usize,
}

/// Steps in run order with their links.
/// `ids` are those of all blocks, also of such that made no step.
pub(crate) fn sequence(
    session: &mut Session<'_>,
    drafts: Vec<Draft>,
    files: &[String],
    ids: &HashSet<String>,
) -> Vec<Step> {
    let index = index(&drafts);
    let mut edges: Vec<Edge> = Vec::new();
    for (from, draft) in drafts.iter().enumerate() {
        for requirement in &draft.common.requirements {
            let found = resolve(&index, &drafts, requirement, from);
            let made_no_step =
                ids.contains(&requirement.text) && !index.by_word.contains_key(&requirement.text);
            if found.is_empty() && !made_no_step {
                unresolved(session, &drafts, requirement, files);
            }
            for other in found {
                let (from, step) = if requirement.inverted { (other, from) } else { (from, other) };
                let link = Link { step, when: requirement.kind, any: requirement.any };
                edges.push(Edge { link, from });
            }
            if edges.len() > limits::LINKS {
                let message = format!("more than {} requisites for one minion", limits::LINKS);
                session.complaints.push(error("E0104", message));
                return Vec::new();
            }
        }
    }
    let Some(order) = sorted(session, &drafts, &edges) else { return Vec::new() };
    let mut position = vec![0; drafts.len()];
    for (place, index) in order.iter().enumerate() {
        position[*index] = place;
    }
    let mut steps: Vec<Option<Step>> = drafts.into_iter().map(|it| Some(it.step)).collect();
    for edge in edges {
        if let Some(step) = &mut steps[edge.from] {
            let link = Link { step: position[edge.link.step], ..edge.link };
            if !step.links.contains(&link) {
                step.links.push(link);
            }
        }
    }
    order.into_iter().filter_map(|index| steps[index].take()).collect()
}

fn index(drafts: &[Draft]) -> Index {
    let mut index = Index { by_word: HashMap::new(), by_sls: HashMap::new() };
    for (position, draft) in drafts.iter().enumerate() {
        let step = &draft.step;
        index.by_word.entry(step.id.clone()).or_default().push(position);
        if step.name != step.id {
            index.by_word.entry(step.name.clone()).or_default().push(position);
        }
        index.by_sls.entry(step.sls.clone()).or_default().push(position);
    }
    index
}

fn resolve(index: &Index, drafts: &[Draft], requirement: &Requirement, from: usize) -> Vec<usize> {
    let found = match requirement.state.as_deref() {
        Some("sls") => index.by_sls.get(&requirement.text).cloned().unwrap_or_default(),
        state => {
            let all = index.by_word.get(&requirement.text).cloned().unwrap_or_default();
            all.into_iter().filter(|it| state.is_none_or(|state| drafts[*it].step.state == state)).collect()
        }
    };
    let other = |it: &usize| *it != from || requirement.state.as_deref() != Some("sls");
    found.into_iter().filter(other).collect()
}

fn unresolved(session: &mut Session<'_>, drafts: &[Draft], requirement: &Requirement, files: &[String]) {
    let Requirement { text, state, file, at, .. } = requirement;
    let is_sls = state.as_deref() == Some("sls");
    if (is_sls && files.contains(text)) || session.elsewhere.contains(text) {
        return;
    }
    let wanted = match state {
        Some(state) => format!("`{state}: {text}`"),
        None => format!("`{text}`"),
    };
    let message = format!("nothing here is {wanted}");
    let same: Vec<&Draft> = drafts.iter().filter(|it| it.step.id == *text || it.step.name == *text).collect();
    let help = if is_sls {
        did_you_mean(text, files.iter().map(String::as_str)).or(Some(format!("add `{text}` to `include:`")))
    } else if let Some(other) = same.first() {
        Some(format!("`{text}` is there as `{}: {text}`", other.step.state))
    } else {
        let near = drafts.iter().filter(|it| state.as_ref().is_none_or(|state| it.step.state == *state));
        let near = near.flat_map(|it| [it.step.id.as_str(), it.step.name.as_str()]);
        did_you_mean(text, near).or(Some("include the file that has it".to_owned()))
    };
    let mut complaint = error("E0114", message).at(file.rendered.span(*at, "required here")).maybe_help(help);
    complaint.notes.extend(file.rendered.note(*at));
    session.complaints.push(complaint);
}

fn rank(draft: &Draft, index: usize) -> (i64, usize) {
    let order = match draft.common.order {
        None => UNORDERED + i64::try_from(index).unwrap_or(0),
        Some(Order::First) => 0,
        Some(Order::Number(number)) if number >= 0 => number,
        Some(Order::Number(number)) => LAST + number,
        Some(Order::Last) => LAST,
    };
    (order, index)
}

/// Depth first in order of rank, so that what is required comes right before what requires it.
fn sorted(session: &mut Session<'_>, drafts: &[Draft], edges: &[Edge]) -> Option<Vec<usize>> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    for edge in edges {
        match edge.link.when {
            Requisite::Prereq => before[edge.link.step].push(edge.from),
            Requisite::Listen => {}
            _ => before[edge.from].push(edge.link.step),
        }
    }
    for list in &mut before {
        list.sort_by_key(|it| rank(&drafts[*it], *it));
        list.dedup();
    }
    let mut roots: Vec<usize> = (0..drafts.len()).collect();
    roots.sort_by_key(|it| rank(&drafts[*it], *it));
    let (mut order, mut done) = (Vec::with_capacity(drafts.len()), vec![false; drafts.len()]);
    let mut on_path = vec![false; drafts.len()];
    for root in roots {
        let mut path: Vec<(usize, usize)> = Vec::new();
        if !done[root] {
            path.push((root, 0));
            on_path[root] = true;
        }
        while let Some((step, next)) = path.last_mut() {
            let step = *step;
            if let Some(other) = before[step].get(*next).copied() {
                *next += 1;
                if on_path[other] {
                    let start = path.iter().position(|it| it.0 == other).unwrap_or(0);
                    let circle: Vec<usize> = path[start..].iter().map(|it| it.0).collect();
                    circle_complaint(session, drafts, &circle);
                    return None;
                }
                if !done[other] {
                    path.push((other, 0));
                    on_path[other] = true;
                }
            } else {
                path.pop();
                (done[step], on_path[step]) = (true, false);
                order.push(step);
            }
        }
    }
    Some(order)
}

/// Steps of a circle that are named; a longer one is cut.
const NAMED: usize = 12;

fn circle_complaint(session: &mut Session<'_>, drafts: &[Draft], circle: &[usize]) {
    let name = |it: usize| format!("{}: {}", drafts[it].step.state, drafts[it].step.id);
    let mut names: Vec<String> = circle.iter().take(NAMED).map(|it| name(*it)).collect();
    if circle.len() > NAMED {
        names.push("…".to_owned());
    }
    names.push(name(circle[0]));
    let mut complaint = error("E0115", format!("these wait for each other: {}", names.join(" → ")));
    for (index, it) in circle.iter().take(NAMED).enumerate() {
        let label = if index == 0 { "waits for the next" } else { "and so on" };
        complaint = complaint.at(drafts[*it].file.rendered.span(drafts[*it].at, label));
    }
    session.complaints.push(complaint.help("remove one of these requisites"));
}

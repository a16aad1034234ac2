//! Folding: equal outputs of many hosts become one block, and their names one word such as `vm-[01-12]`.

use super::Style;
use std::{collections::BTreeMap, fmt::Write};

/// What a command said on one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    pub(crate) word: &'static str,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) reason: String,
}

/// Hosts with what they said, equal ones together, in order of the first host.
pub(crate) fn fold(said: &[(String, Said)], folding: bool) -> Vec<(Vec<String>, Said)> {
    let mut groups: Vec<(Vec<String>, Said)> = Vec::new();
    let mut known: BTreeMap<&Said, usize> = BTreeMap::new();
    for (host, what) in said {
        match known.get(what) {
            Some(index) if folding => groups[*index].0.push(host.clone()),
            _ => {
                known.insert(what, groups.len());
                groups.push((vec![host.clone()], what.clone()));
            }
        }
    }
    groups
}

/// `vm-[01-03,07]` for names that differ in one number only; others are listed with commas.
pub(crate) fn fold_names(names: &[String]) -> String {
    let mut stems: Vec<(String, String, usize, Vec<u64>)> = Vec::new();
    let mut words = Vec::new();
    for name in names {
        match split_number(name) {
            Some((before, number, width, after)) => {
                match stems.iter_mut().find(|it| (&*it.0, &*it.1, it.2) == (before, after, width)) {
                    Some(stem) => stem.3.push(number),
                    None => stems.push((before.to_owned(), after.to_owned(), width, vec![number])),
                }
            }
            None => words.push(name.clone()),
        }
    }
    for (before, after, width, mut numbers) in stems {
        numbers.sort_unstable();
        let ranges = ranges(&numbers, width);
        let single = numbers.len() == 1;
        words.push(if single {
            format!("{before}{ranges}{after}")
        } else {
            format!("{before}[{ranges}]{after}")
        });
    }
    words.join(",")
}

/// The last number in a name, with what stands around it; names whose number has no fixed width have width 0.
fn split_number(name: &str) -> Option<(&str, u64, usize, &str)> {
    let end = name.rfind(|it: char| it.is_ascii_digit())? + 1;
    let start = name[..end].rfind(|it: char| !it.is_ascii_digit()).map_or(0, |it| it + 1);
    let digits = &name[start..end];
    let width = if digits.starts_with('0') && digits.len() > 1 { digits.len() } else { 0 };
    let width = if width == 0 && digits.len() > 1 { digits.len() } else { width };
    Some((&name[..start], digits.parse().ok()?, width, &name[end..]))
}

fn ranges(numbers: &[u64], width: usize) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let part = |(first, last): &(u64, u64)| {
        if first == last { format!("{first:0width$}") } else { format!("{first:0width$}-{last:0width$}") }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// A block for people: one line beside the name, more below it.
pub(crate) fn block(hosts: &[String], said: &Said, name_width: usize, style: &Style) -> String {
    let name = fold_names(hosts);
    let many = if hosts.len() > 1 { format!(" ({} hosts)", hosts.len()) } else { String::new() };
    let pad = " ".repeat(name_width.saturating_sub(name.len()));
    let mut text =
        format!("{}{pad}  {}{many}", style.paint(super::Tone::Strong, &name), style.mark(said.word));
    match said.word {
        "ok" | "changed" => {}
        "failed" => {
            let _ = match said.code {
                Some(code) => write!(text, " exit {code}"),
                None => write!(text, " {}", if said.reason.is_empty() { "failed" } else { &said.reason }),
            };
        }
        word => {
            let reason = if said.reason.is_empty() { String::new() } else { format!(" ({})", said.reason) };
            let _ = write!(text, "  {word}{reason}");
        }
    }
    let lines: Vec<&str> = said.stdout.lines().chain(said.stderr.lines()).collect();
    match lines[..] {
        [] => text.push('\n'),
        [line] => {
            let _ = writeln!(text, "  {line}");
        }
        _ => {
            text.push('\n');
            text += &super::style::prefixed(&lines.join("\n"), "    ");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn names_that_differ_in_a_number_become_one_word() {
        for (given, folded) in [
            (&["vm-01", "vm-02", "vm-03", "vm-12"][..], "vm-[01-03,12]"),
            (&["vm-1", "vm-2"], "vm-[1-2]"),
            (&["vm-1"], "vm-1"),
            (&["web1.lab", "web2.lab", "db"], "db,web[1-2].lab"),
            (&["vm-9", "vm-10"], "vm-9,vm-10"),
        ] {
            assert_eq!(fold_names(&names(given)), folded);
        }
    }

    #[test]
    fn equal_outputs_become_one_block() {
        let said = |text: &str| Said {
            word: "ok",
            code: Some(0),
            stdout: text.to_owned(),
            stderr: String::new(),
            reason: String::new(),
        };
        let hosts = [
            ("vm-01".to_owned(), said("a\n")),
            ("vm-02".to_owned(), said("b\nc\n")),
            ("vm-03".to_owned(), said("a\n")),
        ];
        let style = Style::plain(Timestamp(0));
        let blocks: String =
            fold(&hosts, true).iter().map(|(hosts, said)| block(hosts, said, 10, &style)).collect();
        assert_eq!(blocks, "vm-[01,03]  ✓ (2 hosts)  a\nvm-02       ✓\n    b\n    c\n");
        assert_eq!(fold(&hosts, false).len(), 3);
    }
}

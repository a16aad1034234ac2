//! `host`: names in /etc/hosts.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    text_file::{compare_text, ended, read_text, write_text},
};
use model::Plan;
use serde_json::{Map, Value};
use std::{net::IpAddr, path::Path};

const HOSTS: &str = "/etc/hosts";

pub(crate) const MODULE: Module = Module {
    name: "host",
    doc: Doc::new("Names of machines in /etc/hosts."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A name stands for these addresses. Other names of an address stay. Where something has to be added, the \
                  file is written as Salt does: one line an address, in the order they had, comments kept, empty lines not.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nas:\n  host.present:\n    - ip: 192.168.1.20\n    - names:\n      - nas\n      - nas.lan\n",
                "db.lan:\n  host.present:\n    - ip: [10.0.0.5, 'fd00::5']\n    - clean: true\n    - comment: the database\n",
            ]),
            parse: |params| parse("host.present", PRESENT, params, Way::Present),
        },
        Function {
            name: "absent",
            doc: Doc::new("A name does not stand for these addresses."),
            params: ABSENT,
            examples: Examples::new(&["old.lan:\n  host.absent:\n    - ip: 192.168.1.9\n"]),
            parse: |params| parse("host.absent", ABSENT, params, Way::Absent),
        },
        Function {
            name: "only",
            doc: Doc::new(
                "An address has these names, in this order, and no others; with an empty list it has no line.",
            ),
            params: ONLY,
            examples: Examples::new(&[
                "127.0.1.1:\n  host.only:\n    - hostnames:\n      - web.lan\n      - web\n",
            ]),
            parse: |params| parse("host.only", ONLY, params, Way::Only),
        },
    ],
};

const NAME: Param = Param::text("name", "", "The machine's name.");
const IP: Param = Param::list("ip", "", "Its addresses, or the only one.").required();

const PRESENT: &[Param] = &[
    NAME,
    IP,
    Param::text("comment", "as it is", "A comment behind the names of these addresses."),
    Param::flag("clean", "false", "Takes the name away from all other addresses."),
];
const ABSENT: &[Param] = &[NAME, IP];
const ONLY: &[Param] =
    &[Param::text("name", "", "The address."), Param::list("hostnames", "", "Its names.").required()];

#[derive(Clone, Copy, Debug)]
enum Way {
    Present,
    Absent,
    Only,
}

#[derive(Debug)]
struct Names {
    way: Way,
    hosts: Vec<String>,
    ips: Vec<String>,
    comment: String,
    clean: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    way: Way,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let (ip_param, name_param) =
        if matches!(way, Way::Only) { ("name", "hostnames") } else { ("ip", "name") };
    let ips = args.list(ip_param).unwrap_or_default();
    for ip in &ips {
        // A zone, as in fe80::1%lo0.
        if ip.split('%').next().is_none_or(|it| it.parse::<IpAddr>().is_err())
            || ip.contains(char::is_whitespace)
        {
            return Err(invalid(ip_param, format!("`{ip}` is no address")));
        }
    }
    if ips.is_empty() {
        return Err(invalid(ip_param, format!("`{ip_param}` is empty")));
    }
    let names = args.list(name_param).unwrap_or_default();
    // One text with several names is taken as Salt takes it.
    let names: Vec<String> = names.iter().flat_map(|it| it.split_whitespace()).map(str::to_owned).collect();
    for name in &names {
        plain_word(name_param, name)?;
        if name.contains('#') {
            return Err(invalid(name_param, format!("`{name}` is no name of a machine")));
        }
    }
    let comment = args.text("comment").unwrap_or_default().trim().to_owned();
    if comment.contains(['\n', '\r', '\0', '#']) {
        return Err(invalid("comment", "`comment` must be one line without `#`"));
    }
    Ok(Box::new(Names { way, hosts: names, ips, comment, clean: args.bool("clean", false) }))
}

/// A line of the file: names of an address, or something else.
#[derive(Clone, Debug, PartialEq)]
enum Line {
    Other(String),
    Names { ip: String, names: Vec<String>, comment: String, text: String },
}

fn parse_line(text: &str) -> Line {
    let (words, comment) = text.split_once('#').unwrap_or((text, ""));
    let mut words = words.split_whitespace().map(str::to_owned);
    match words.next() {
        None => Line::Other(text.to_owned()),
        Some(ip) => {
            let comment = comment.trim().to_owned();
            Line::Names { ip, names: words.collect(), comment, text: text.to_owned() }
        }
    }
}

fn written(ip: &str, names: &[String], comment: &str) -> String {
    let comment = if comment.is_empty() { String::new() } else { format!("\t\t# {comment}") };
    format!("{ip}\t\t{}{comment}", names.join(" "))
}

/// All names and the comment of an address.
fn names_of<'a>(lines: &'a [Line], wanted: &str) -> Option<(Vec<&'a String>, &'a str)> {
    let mut found = None;
    for line in lines {
        if let Line::Names { ip, names, comment, .. } = line
            && ip == wanted
        {
            let entry: &mut (Vec<&String>, &str) = found.get_or_insert_default();
            entry.0.extend(names);
            if !comment.is_empty() {
                entry.1 = comment;
            }
        }
    }
    found
}

impl Names {
    fn wanted(&self, now: &str) -> String {
        let lines: Vec<Line> = now.lines().map(parse_line).collect();
        match self.way {
            Way::Present => self.present(now, &lines),
            Way::Absent => self.ips.iter().fold(now.to_owned(), |text, ip| without(&text, ip, &self.hosts)),
            Way::Only => self.ips.iter().fold(now.to_owned(), |text, ip| self.only(&text, ip)),
        }
    }

    fn present(&self, now: &str, lines: &[Line]) -> String {
        let lacks = |ip: &&String| match names_of(lines, ip) {
            None => true,
            Some((names, comment)) => {
                !self.hosts.iter().all(|it| names.contains(&it))
                    || (!self.comment.is_empty() && comment != self.comment)
            }
        };
        let mut text = now.to_owned();
        if self.ips.iter().any(|it| lacks(&it)) {
            text = self.rewritten(lines);
        }
        if self.clean {
            for line in lines {
                if let Line::Names { ip, .. } = line
                    && !self.ips.contains(ip)
                {
                    text = without(&text, ip, &self.hosts);
                }
            }
        }
        text
    }

    /// Every address once, with the new names and comments.
    fn rewritten(&self, lines: &[Line]) -> String {
        let mut order: Vec<Line> = Vec::new();
        for line in lines {
            match line {
                Line::Other(text) if text.trim().is_empty() => (),
                Line::Other(text) => order.push(Line::Other(text.trim().to_owned())),
                Line::Names { ip, names, comment, .. } => add(&mut order, ip, names, comment),
            }
        }
        for ip in &self.ips {
            add(&mut order, ip, &[], &self.comment);
            for line in &mut order {
                if let Line::Names { ip: found, names, .. } = line
                    && found == ip
                {
                    for name in &self.hosts {
                        if !names.contains(name) {
                            names.push(name.clone());
                        }
                    }
                }
            }
        }
        let text = |line: Line| match line {
            Line::Other(text) => text + "\n",
            Line::Names { ip, names, comment, .. } => written(&ip, &names, &comment) + "\n",
        };
        order.into_iter().map(text).collect()
    }

    fn only(&self, now: &str, ip: &str) -> String {
        let lines: Vec<Line> = now.lines().map(parse_line).collect();
        let has: Vec<&String> = names_of(&lines, ip).map(|it| it.0).unwrap_or_default();
        if has.iter().copied().eq(&self.hosts) {
            return now.to_owned();
        }
        let line = (!self.hosts.is_empty()).then(|| written(ip, &self.hosts, ""));
        let mut line = line.as_deref();
        let mut kept: Vec<&str> = Vec::new();
        for (text, parsed) in now.lines().zip(&lines) {
            match parsed {
                Line::Names { ip: found, .. } if found == ip => kept.extend(line.take()),
                _ => kept.push(text),
            }
        }
        kept.extend(line);
        ended(kept.join("\n"))
    }
}

fn add(order: &mut Vec<Line>, wanted: &str, more: &[String], said: &str) {
    for line in order.iter_mut() {
        if let Line::Names { ip, names, comment, .. } = line
            && ip == wanted
        {
            names.extend_from_slice(more);
            if !said.is_empty() {
                said.clone_into(comment);
            }
            return;
        }
    }
    order.push(Line::Names {
        ip: wanted.to_owned(),
        names: more.to_vec(),
        comment: said.to_owned(),
        text: String::new(),
    });
}

/// The file without these names of an address; a line that has no name left goes.
fn without(now: &str, address: &str, gone: &[String]) -> String {
    let mut kept: Vec<String> = Vec::new();
    for line in now.lines().map(parse_line) {
        match line {
            Line::Names { ip, mut names, comment, text } => {
                let before = names.len();
                if ip == address {
                    names.retain(|it| !gone.contains(it));
                }
                if names.len() == before {
                    kept.push(text);
                } else if !names.is_empty() {
                    kept.push(written(&ip, &names, &comment));
                }
            }
            Line::Other(text) => kept.push(text),
        }
    }
    let text = ended(kept.join("\n"));
    if text == ended(now.to_owned()) { now.to_owned() } else { text }
}

impl Resource for Names {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read_text(host, Path::new(HOSTS))?;
        let wanted = self.wanted(now.as_deref().unwrap_or_default());
        let mut plan = Plan::default();
        if now.is_some() || !wanted.is_empty() {
            compare_text(&mut plan, HOSTS, now.as_deref(), &wanted);
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let now = read_text(host, Path::new(HOSTS))?;
        write_text(host, Path::new(HOSTS), &self.wanted(&now.unwrap_or_default()))?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(way: Way, names: &[&str], ips: &[&str]) -> Names {
        let owned = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        Names { way, hosts: owned(names), ips: owned(ips), comment: String::new(), clean: false }
    }

    const NOW: &str = "127.0.0.1 localhost\n\n# mine\n10.0.0.1\ta b # two\n10.0.0.1 c\n";

    #[test]
    fn a_name_is_added_to_its_address() {
        let it = names(Way::Present, &["x"], &["10.0.0.1", "10.0.0.2"]);
        let wanted = "127.0.0.1\t\tlocalhost\n# mine\n10.0.0.1\t\ta b c x\t\t# two\n10.0.0.2\t\tx\n";
        assert_eq!(it.wanted(NOW), wanted);
        assert_eq!(it.wanted(wanted), wanted);
        assert_eq!(names(Way::Present, &["a"], &["10.0.0.1"]).wanted(NOW), NOW);
    }

    #[test]
    fn names_are_taken_away_and_replaced() {
        assert_eq!(
            names(Way::Absent, &["c"], &["10.0.0.1"]).wanted(NOW),
            "127.0.0.1 localhost\n\n# mine\n10.0.0.1\ta b # two\n"
        );
        assert_eq!(
            names(Way::Only, &["z", "y"], &["10.0.0.1"]).wanted(NOW),
            "127.0.0.1 localhost\n\n# mine\n10.0.0.1\t\tz y\n"
        );
        assert_eq!(names(Way::Only, &[], &["10.0.0.9"]).wanted(NOW), NOW);
    }
}

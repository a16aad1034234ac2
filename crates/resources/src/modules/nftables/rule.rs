//! Rules of a chain: what parameters stand for, and how a rule is known again.

use super::{FAMILY, IN_TABLE, SAVE, SAVED, compare_saved, family, keep, list, nft, save, word};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    diff::hash_of,
    host::query::nft::Question,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

const NAME: Param = Param::name("Any name for the step.");
const CHAIN: Param = Param::of("chain", ParamType::Text, "", "The chain.").required();
pub(super) const FLUSH: &[Param] = &[
    NAME,
    CHAIN,
    IN_TABLE,
    FAMILY,
    Param::of("ignore_absence", ParamType::Bool, "false", "A chain that does not exist has no rules either."),
    SAVE,
];
pub(super) const PARAMS: &[Param] = &[
    NAME,
    CHAIN,
    IN_TABLE,
    FAMILY,
    Param::of(
        "rule",
        ParamType::Text,
        "none",
        "The rule as `nft` reads it, instead of the parameters that follow.",
    ),
    Param::of("if", ParamType::Text, "any", "The interface that packets come in by."),
    Param::of("of", ParamType::Text, "any", "The interface that they go out by."),
    Param::of("proto", ParamType::Text, "any", "The protocol, such as `tcp`."),
    Param::of(
        "match",
        ParamType::Text,
        "none",
        "Has no effect: `connstate` says it all. Salt's users write `state`.",
    ),
    Param::of("connstate", ParamType::Text, "any", "States of the connection, as `new,established`."),
    Param::of("icmp-type", ParamType::Text, "any", "Types of ICMP, as `echo-request`."),
    Param::of("icmpv6-type", ParamType::Text, "any", "Types of ICMPv6."),
    Param::of("pkttype", ParamType::Text, "any", "Kinds of packets, as `multicast`."),
    Param::of("source", ParamType::Text, "any", "Where they come from."),
    Param::of("saddr", ParamType::Text, "any", "Another name of `source`."),
    Param::of("destination", ParamType::Text, "any", "Where they go to."),
    Param::of("daddr", ParamType::Text, "any", "Another name of `destination`."),
    Param::of(
        "dport",
        ParamType::Text,
        "any",
        "The port that they go to, or a range, as `6000-6010`. Needs `proto`.",
    ),
    Param::of("sport", ParamType::Text, "any", "The port that they come from."),
    Param::of("dports", ParamType::TextList, "any", "Ports that they go to."),
    Param::of("sports", ParamType::TextList, "any", "Ports that they come from."),
    Param::of("counter", ParamType::Bool, "false", "Counts them."),
    Param::of(
        "jump",
        ParamType::Text,
        "none",
        "What happens to them: `accept`, `drop`, `reject`, or the name of a chain.",
    ),
    Param::of("target", ParamType::Text, "none", "Another name of `jump`."),
    SAVE,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Append,
    Insert,
    Delete,
    Flush,
}

#[derive(Debug)]
struct Rule {
    /// Family, table, chain.
    place: [String; 3],
    /// As `nft` reads it; empty for all of them.
    text: String,
    wish: Wish,
    ignore_absence: bool,
    save: Option<PathBuf>,
}

pub(super) fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let table = args.text("table").unwrap_or_else(|| "filter".to_owned());
    let chain = args.text("chain").unwrap_or_default();
    word("table", &table)?;
    word("chain", &chain)?;
    let wish = match kind {
        "nftables.append" => Wish::Append,
        "nftables.insert" => Wish::Insert,
        "nftables.delete" => Wish::Delete,
        _ => Wish::Flush,
    };
    let family = family(&args)?;
    let text = if wish == Wish::Flush { String::new() } else { text(&args, &family)? };
    let ignore_absence = args.bool("ignore_absence", false) || wish == Wish::Delete;
    Ok(Box::new(Rule { place: [family, table, chain], text, wish, ignore_absence, save: save(&args)? }))
}

/// The rule, one line of words: nothing in it begins another command.
fn text(args: &Args<'_>, family: &str) -> Result<String, ParamsError> {
    let good = |it: char| it.is_alphanumeric() || " _-.,:/{}!=<>&|@$\"+*%()".contains(it);
    if let Some(rule) = args.text("rule") {
        let text = rule.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() || text.starts_with('-') || !text.chars().all(good) {
            return Err(invalid("rule", "`rule` must be one rule: without `;`, `#` and line breaks"));
        }
        return Ok(text);
    }
    let mut words: Vec<String> = Vec::new();
    let mut value = |param: &str, before: &str, braces: bool| -> Result<bool, ParamsError> {
        let Some(items) = args.list(param) else { return Ok(false) };
        let items: Vec<String> = items
            .iter()
            .flat_map(|it| it.split(','))
            .map(|it| it.trim().replace(':', "-").to_lowercase())
            .collect();
        let is_address = matches!(param, "source" | "saddr" | "destination" | "daddr");
        let items = if is_address { args.list(param).unwrap_or_default() } else { items };
        if items.iter().any(|it| it.is_empty() || !it.chars().all(|it| good(it) && !" {}\"".contains(it))) {
            return Err(invalid(param, format!("`{}` is no `{param}`", items.join(","))));
        }
        let list = items.join(", ");
        words.push(if braces { format!("{before} {{ {list} }}") } else { format!("{before} {list}") });
        Ok(true)
    };
    let proto = args.text("proto").unwrap_or_default().to_lowercase();
    let address = |param: &str| {
        let is_v6 = args.text(param).is_some_and(|it| it.contains(':'));
        if family == "ip6" || is_v6 { "ip6" } else { "ip" }
    };
    let mut any = value("if", "iifname", false)? | value("of", "oifname", false)?;
    any |= value("connstate", "ct state", true)? | value("icmp-type", "icmp type", true)?;
    any |= value("icmpv6-type", "icmpv6 type", true)? | value("pkttype", "meta pkttype", true)?;
    for (param, way) in
        [("source", "saddr"), ("saddr", "saddr"), ("destination", "daddr"), ("daddr", "daddr")]
    {
        any |= value(param, &format!("{} {way}", address(param)), false)?;
    }
    let mut has_port = false;
    for (param, way) in [("sport", "sport"), ("sports", "sport"), ("dport", "dport"), ("dports", "dport")] {
        has_port |= value(param, &format!("{proto} {way}"), true)?;
    }
    if has_port && proto.is_empty() {
        return Err(invalid("proto", "`proto` is missing: ports belong to `tcp` or `udp`"));
    }
    if !proto.is_empty() {
        word("proto", &proto)?;
        if !has_port {
            words.push(format!("meta l4proto {proto}"));
        }
    }
    if args.bool("counter", false) {
        words.push("counter".to_owned());
    }
    match args.text("jump").or_else(|| args.text("target")) {
        Some(jump) => words.push(verdict(&jump)?),
        None if !any && !has_port => return Err(invalid("jump", "this is no rule: give `jump`, or `rule`")),
        None => (),
    }
    Ok(words.join(" "))
}

fn verdict(jump: &str) -> Result<String, ParamsError> {
    word("jump", jump)?;
    let known = ["accept", "drop", "reject", "queue", "continue", "return", "masquerade"];
    let lower = jump.to_lowercase();
    Ok(if known.contains(&lower.as_str()) { lower } else { format!("jump {jump}") })
}

/// A rule as the packet filter has it.
struct Listed {
    text: String,
    comment: Option<String>,
    handle: String,
}

/// The rules of a chain, in order.
fn listed(chain: &str) -> Vec<Listed> {
    let rule = |line: &str| {
        let (text, handle) = line.trim().rsplit_once(" # handle ")?;
        if text.ends_with('{') {
            return None;
        }
        let (text, comment) = match text.rsplit_once(" comment \"") {
            Some((text, comment)) => (text, Some(comment.trim_end_matches('"').to_owned())),
            None => (text, None),
        };
        Some(Listed { text: text.to_owned(), comment, handle: handle.to_owned() })
    };
    chain.lines().filter_map(rule).collect()
}

impl Rule {
    /// By this it is known again, however the packet filter writes it.
    fn comment(&self) -> String {
        let hash = hash_of(self.text.as_bytes()).to_string();
        format!("labctl {}", &hash[..16])
    }

    fn is_same(&self, rule: &Listed) -> bool {
        rule.comment.as_ref() == Some(&self.comment()) || (rule.comment.is_none() && rule.text == self.text)
    }

    fn rules(&self, host: &dyn Probe) -> Result<Vec<Listed>, Error> {
        let [family, table, chain] = self.place.clone();
        match list(Question::Chain(family, table, chain), host)? {
            Some(text) => Ok(listed(&text)),
            None if self.ignore_absence => Ok(Vec::new()),
            None => {
                let text = "; make it first with `nftables.chain_present`";
                Err(Error::Refused(format!("there is no chain `{}`{text}", self.place.join(" "))))
            }
        }
    }
}

impl Resource for Rule {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let rules = self.rules(host)?;
        let same: Vec<&Listed> = rules.iter().filter(|it| self.is_same(it)).collect();
        let (from, to) = match self.wish {
            Wish::Append | Wish::Insert if same.is_empty() => (None, Some(self.text.clone())),
            Wish::Delete if !same.is_empty() => (Some(self.text.clone()), None),
            Wish::Flush if !rules.is_empty() => (Some(format!("{} rules", rules.len())), None),
            _ => {
                compare_saved(self.save.as_ref(), host, &mut plan)?;
                return Ok(plan);
            }
        };
        plan.push(Change { what: self.place.join(" "), from, to, diff: None });
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let place = self.place.to_vec();
        let before = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        match self.wish {
            _ if plan.touches(SAVED) => (),
            Wish::Flush => nft(&[before(&["flush", "chain"]), place].concat(), host)?,
            Wish::Delete => {
                for rule in self.rules(host)?.iter().filter(|it| self.is_same(it)) {
                    let words =
                        [before(&["delete", "rule"]), place.clone(), before(&["handle", &rule.handle])];
                    nft(&words.concat(), host)?;
                }
            }
            Wish::Append | Wish::Insert => {
                let verb = if self.wish == Wish::Append { "add" } else { "insert" };
                let comment = format!("\"{}\"", self.comment());
                let rule = before(&[&self.text, "comment", &comment]);
                nft(&[before(&[verb, "rule"]), place, rule].concat(), host)?;
            }
        }
        keep(self.save.as_ref(), host)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(params: Value) -> Result<String, ParamsError> {
        let Value::Object(mut params) = params else { panic!("parameters are a mapping") };
        params.insert("name".to_owned(), "x".into());
        params.insert("chain".to_owned(), "input".into());
        text(&Args::new("nftables.append", PARAMS, &params)?, "ip")
    }

    #[test]
    fn salts_parameters_become_a_rule() {
        let all = json!({ "if": "eth0", "connstate": "NEW,established", "source": "10.0.0.0/8", "proto": "TCP", "dports": "80,443", "counter": true, "jump": "ACCEPT" });
        let wanted = "iifname eth0 ct state { new, established } ip saddr 10.0.0.0/8 tcp dport { 80, 443 } counter accept";
        assert_eq!(rule(all).unwrap(), wanted);
        assert_eq!(
            rule(json!({ "proto": "udp", "jump": "mychain" })).unwrap(),
            "meta l4proto udp jump mychain"
        );
        assert_eq!(rule(json!({ "rule": " tcp  dport 22 accept " })).unwrap(), "tcp dport 22 accept");
    }

    #[test]
    fn a_rule_cannot_become_two_commands() {
        for bad in [
            json!({ "rule": "accept; flush ruleset" }),
            json!({ "dport": "22 } accept ; flush ruleset", "proto": "tcp" }),
            json!({ "source": "1.2.3.4 accept", "jump": "drop" }),
            json!({ "if": "eth0\naccept" }),
            json!({ "dport": 22 }),
            json!({}),
        ] {
            assert!(rule(bad.clone()).is_err(), "{bad}");
        }
    }
}

//! Rules of a chain: parameters with the names of the long options of `iptables`.

use super::{FAMILY, IN_CHAIN, NAME, Place, SAVE, SAVED, TABLE, chain_name, place};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Query, query::iptables::Question},
    tool,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

const OWN: &[Param] = &[
    NAME,
    IN_CHAIN,
    TABLE,
    FAMILY,
    Param::of("position", ParamType::Integer, "1", "Where `insert` puts it."),
    Param::of(
        "if",
        ParamType::Text,
        "any",
        "The interface that packets come in by; `!` in front of any value turns it round.",
    ),
    Param::of("of", ParamType::Text, "any", "The interface that they go out by."),
    Param::of("proto", ParamType::Text, "any", "The protocol, such as `tcp`."),
    Param::of("protocol", ParamType::Text, "any", "Another name of `proto`."),
    Param::of("match", ParamType::TextList, "none", "Extensions, such as `state` or `limit`."),
    Param::of("match-set", ParamType::TextList, "none", "Sets, as `blocked src`."),
    Param::of("connstate", ParamType::Text, "any", "States of the connection, as `NEW,ESTABLISHED`."),
    Param::of("dport", ParamType::Text, "any", "The port that they go to, or a range, as `6000:6010`."),
    Param::of("sport", ParamType::Text, "any", "The port that they come from."),
    Param::of("dports", ParamType::TextList, "any", "Ports that they go to."),
    Param::of("sports", ParamType::TextList, "any", "Ports that they come from."),
    Param::of("comment", ParamType::Text, "none", "A comment in the rule."),
    Param::of("jump", ParamType::Text, "none", "What happens to them: `ACCEPT`, `DROP`, ..., or a chain."),
    Param::of("target", ParamType::Text, "none", "Another name of `jump`."),
    SAVE,
];

/// Options of extensions, in the order in which they are written; they stand in front of the jump.
const MATCHES: &[&str] = &[
    "source",
    "destination",
    "fragment",
    "icmp-type",
    "icmpv6-type",
    "tcp-flags",
    "syn",
    "tcp-option",
    "mac-source",
    "src-range",
    "dst-range",
    "src-type",
    "dst-type",
    "limit",
    "limit-burst",
    "connlimit-above",
    "connlimit-upto",
    "connlimit-mask",
    "ctstate",
    "ctproto",
    "ctorigsrc",
    "ctorigdst",
    "ctstatus",
    "state-match",
    "mark",
    "pkt-type",
    "uid-owner",
    "gid-owner",
    "hashlimit-above",
    "hashlimit-upto",
    "hashlimit-burst",
    "hashlimit-mode",
    "hashlimit-name",
    "rcheck",
    "update",
    "seconds",
    "hitcount",
    "rttl",
    "string",
    "algo",
    "from",
    "timestart",
    "timestop",
    "weekdays",
    "length",
    "ttl-eq",
    "ttl-gt",
    "ttl-lt",
    "dscp",
    "physdev-in",
    "physdev-out",
    "physdev-is-bridged",
    "policy",
    "dir",
    "pol",
    "mode",
];

/// Options of what is jumped to.
const AFTER: &[&str] = &[
    "log-prefix",
    "log-level",
    "log-uid",
    "nflog-group",
    "nflog-prefix",
    "reject-with",
    "to-destination",
    "to-source",
    "to-ports",
    "to",
    "random",
    "random-fully",
    "persistent",
    "set-mark",
    "set-xmark",
    "save-mark",
    "restore-mark",
    "set-mss",
    "clamp-mss-to-pmtu",
    "set-dscp",
    "set-tos",
    "queue-num",
    "queue-balance",
    "queue-bypass",
    "gateway",
    "notrack",
    "zone",
    "add-set",
    "del-set",
    "exist",
    "timeout",
    "checksum-fill",
    "on-port",
    "on-ip",
    "tproxy-mark",
    "ttl-set",
];

/// The schema: what is above, in one list.
pub(super) const PARAMS: [Param; OWN.len() + MATCHES.len() + AFTER.len()] = schema();

const fn schema() -> [Param; OWN.len() + MATCHES.len() + AFTER.len()] {
    let mut all = [NAME; OWN.len() + MATCHES.len() + AFTER.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < OWN.len() {
            OWN[at]
        } else if at < OWN.len() + MATCHES.len() {
            let doc = "The option of this name of an extension; empty text for one without a value.";
            Param::of(MATCHES[at - OWN.len()], ParamType::Text, "none", doc)
        } else {
            let doc = "The option of this name of what is jumped to; empty text for one without a value.";
            Param::of(AFTER[at - OWN.len() - MATCHES.len()], ParamType::Text, "none", doc)
        };
        at += 1;
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Append,
    Insert(i64),
    Delete,
}

#[derive(Debug)]
struct Rule {
    place: Place,
    chain: String,
    words: Vec<String>,
    wish: Wish,
}

pub(super) fn parse(kind: &str, params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, &PARAMS, params)?;
    let chain = args.text("chain").unwrap_or_default();
    chain_name("chain", &chain)?;
    let position = args.number("position").unwrap_or(1);
    if position < 1 {
        return Err(invalid("position", "`position` counts from 1"));
    }
    let wish = match kind {
        "iptables.append" => Wish::Append,
        "iptables.insert" => Wish::Insert(position),
        _ => Wish::Delete,
    };
    Ok(Box::new(Rule { place: place(&args)?, chain, words: words(&args)?, wish }))
}

/// Whether it is turned round, and the value itself.
fn turned(text: &str) -> (bool, String) {
    let rest = text.strip_prefix('!').or_else(|| text.strip_prefix("not "));
    (rest.is_some(), rest.map_or(text, str::trim).to_owned())
}

/// The rule, each word an argument.
fn words(args: &Args<'_>) -> Result<Vec<String>, ParamsError> {
    let mut words: Vec<String> = Vec::new();
    let checked = |param: &str, text: String| {
        if text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(invalid(param, format!("`{text}` is no `{param}`")));
        }
        Ok(text)
    };
    let option = |words: &mut Vec<String>, param: &str, option: &str| -> Result<(), ParamsError> {
        let Some(text) = args.text(param) else { return Ok(()) };
        let (not, value) = turned(&checked(param, text)?);
        words.extend(not.then(|| "!".to_owned()));
        words.push(option.to_owned());
        // Two words where an option takes two values, as `--tcp-flags SYN,ACK SYN`.
        if matches!(param, "tcp-flags" | "add-set" | "del-set") {
            words.extend(value.split_whitespace().map(str::to_owned));
        } else if !value.is_empty() {
            words.push(checked(param, value)?);
        }
        Ok(())
    };
    option(&mut words, "if", "--in-interface")?;
    option(&mut words, "of", "--out-interface")?;
    let proto = if args.has("proto") { "proto" } else { "protocol" };
    option(&mut words, proto, "--protocol")?;
    for it in args.list("match").unwrap_or_default().iter().flat_map(|it| it.split(',')) {
        words.extend(["--match".to_owned(), checked("match", it.trim().to_owned())?]);
    }
    for it in args.list("match-set").unwrap_or_default() {
        let (not, value) = turned(&checked("match-set", it)?);
        words.extend(["--match".to_owned(), "set".to_owned()]);
        words.extend(not.then(|| "!".to_owned()));
        words.push("--match-set".to_owned());
        words.extend(value.split_whitespace().map(str::to_owned));
    }
    let with = |words: &mut Vec<String>, module: &str| {
        if !words.windows(2).any(|it| it[0] == "--match" && it[1] == module) {
            words.extend(["--match".to_owned(), module.to_owned()]);
        }
    };
    if args.has("connstate") {
        with(&mut words, "state");
        option(&mut words, "connstate", "--state")?;
    }
    option(&mut words, "dport", "--dport")?;
    option(&mut words, "sport", "--sport")?;
    for param in ["dports", "sports"] {
        let Some(ports) = args.list(param) else { continue };
        if !args.has(proto) {
            return Err(invalid("proto", format!("`{param}` needs `proto`")));
        }
        with(&mut words, "multiport");
        let (nots, ports): (Vec<bool>, Vec<String>) = ports.iter().map(|it| turned(it)).unzip();
        words.extend(nots.contains(&true).then(|| "!".to_owned()));
        words.extend([format!("--{param}"), checked(param, ports.join(","))?]);
    }
    if let Some(comment) = args.text("comment") {
        with(&mut words, "comment");
        words.extend(["--comment".to_owned(), checked("comment", comment)?]);
    }
    for param in MATCHES {
        option(&mut words, param, &format!("--{param}"))?;
    }
    let jump = if args.has("jump") { "jump" } else { "target" };
    option(&mut words, jump, "--jump")?;
    for param in AFTER {
        option(&mut words, param, &format!("--{param}"))?;
    }
    Ok(words)
}

impl Rule {
    fn run(&self, verb: &[&str], host: &mut dyn Host) -> Result<(), Error> {
        let mut words: Vec<String> = verb.iter().map(|it| (*it).to_owned()).collect();
        words.extend(self.words.iter().cloned());
        self.place.run(&words, host)
    }
}

impl Resource for Rule {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let table = self.place.table.clone();
        let query = Query::Iptables(Question::Rule(table, self.chain.clone(), self.words.clone()));
        let output = tool::ask(host, &query)?;
        let no_target = ["' does not exist", "Couldn't load target"];
        let is_there = match output.code {
            Some(0) => true,
            Some(1) => false,
            // Nothing can jump to a chain that does not exist.
            _ if self.wish == Wish::Delete && no_target.iter().any(|it| output.stderr.contains(it)) => false,
            _ => return Err(tool::refusal(&query, output)),
        };
        if is_there == (self.wish == Wish::Delete) {
            let text = Some(self.words.join(" "));
            let (from, to) = if is_there { (text, None) } else { (None, text) };
            plan.push(Change { what: self.chain.clone(), from, to, diff: None });
        }
        self.place.compare_saved(host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        match self.wish {
            _ if plan.touches(SAVED) => (),
            Wish::Append => self.run(&["--append", &self.chain], host)?,
            Wish::Insert(at) => self.run(&["--insert", &self.chain, &at.to_string()], host)?,
            Wish::Delete => self.run(&["--delete", &self.chain], host)?,
        }
        self.place.keep(host)?;
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
        params.insert("chain".to_owned(), "INPUT".into());
        words(&Args::new("iptables.append", &PARAMS, &params)?).map(|it| it.join(" "))
    }

    #[test]
    fn salts_parameters_become_a_rule() {
        let all = json!({
            "if": "eth0", "proto": "tcp", "match": ["state", "comment"], "connstate": "NEW", "dports": [80, 443], "source": "! 10.0.0.0/8",
            "comment": "a b", "jump": "LOG", "log-prefix": "web: ",
        });
        let wanted = "--in-interface eth0 --protocol tcp --match state --match comment --state NEW --match multiport --dports \
                      80,443 --comment a b ! --source 10.0.0.0/8 --jump LOG --log-prefix web: ";
        assert_eq!(rule(all).unwrap(), wanted);
        assert_eq!(rule(json!({ "jump": "NOTRACK", "syn": "" })).unwrap(), "--syn --jump NOTRACK");
    }

    #[test]
    fn a_value_is_never_an_option() {
        for bad in [
            json!({ "source": "-j" }),
            json!({ "source": "!-j" }),
            json!({ "jump": "--flush" }),
            json!({ "comment": "a\nb" }),
        ] {
            assert!(rule(bad.clone()).is_err(), "{bad}");
        }
        assert!(rule(json!({ "dports": "80" })).is_err());
    }
}

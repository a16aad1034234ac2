//! `nftables`: tables, chains and rules of the packet filter.

mod rule;
mod ruleset;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    diff::contents_change,
    host::{Query, query::nft::Question},
    tool,
    wanted_file::WantedFile,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub(crate) const MODULE: Module = Module {
    name: "nftables",
    doc: Doc::new("The packet filter, by `nft`."),
    functions: &[
        Function {
            name: "managed",
            doc: Doc::new(
                "The whole ruleset stands in a file, and is loaded when the file changes. `nft` judges it before it is put \
                  in place. A ruleset should begin with `flush ruleset`; the service `nftables` loads the file at boot.",
            ),
            params: ruleset::PARAMS,
            examples: Examples::new(&[
                "/etc/nftables.conf:\n  nftables.managed:\n    - contents: |\n        flush ruleset\n        table inet filter {\n          \
                 chain input {\n            type filter hook input priority 0; policy drop;\n            ct state \
                 established,related accept\n            iif lo accept\n            tcp dport 22 accept\n          }\n        }\n",
            ]),
            parse: ruleset::parse,
        },
        Function {
            name: "table_present",
            doc: Doc::new("A table exists."),
            params: TABLE,
            examples: Examples::new(&["filter:\n  nftables.table_present:\n    - family: inet\n"]),
            parse: |params| thing("nftables.table_present", TABLE, params),
        },
        Function {
            name: "table_absent",
            doc: Doc::new("A table does not exist: it goes away with all that is in it."),
            params: TABLE,
            examples: Examples::new(&["filter:\n  nftables.table_absent:\n    - family: ipv4\n"]),
            parse: |params| thing("nftables.table_absent", TABLE, params),
        },
        Function {
            name: "chain_present",
            doc: Doc::new(
                "A chain exists in a table. One that the packet filter itself calls has `table_type`, `hook` and `priority`.",
            ),
            params: CHAIN_PRESENT,
            examples: Examples::new(&[
                "input:\n  nftables.chain_present:\n    - family: inet\n    - table_type: filter\n    - hook: input\n    - priority: \
                 0\n",
            ]),
            parse: |params| thing("nftables.chain_present", CHAIN_PRESENT, params),
        },
        Function {
            name: "chain_absent",
            doc: Doc::new("A chain does not exist: it goes away with its rules."),
            params: CHAIN,
            examples: Examples::new(&["old:\n  nftables.chain_absent:\n    - family: inet\n"]),
            parse: |params| thing("nftables.chain_absent", CHAIN, params),
        },
        Function {
            name: "flush",
            doc: Doc::new("A chain has no rules."),
            params: rule::FLUSH,
            examples: Examples::new(&[
                "no rules:\n  nftables.flush:\n    - family: inet\n    - chain: input\n",
            ]),
            parse: |params| rule::parse("nftables.flush", rule::FLUSH, params),
        },
        Function {
            name: "append",
            doc: Doc::new(
                "A chain has a rule, at its end if it is new. The rule is known again by its comment, a hash of what is \
                  written here, or by its text.",
            ),
            params: rule::PARAMS,
            examples: Examples::new(&[
                "allow web:\n  nftables.append:\n    - family: inet\n    - chain: input\n    - proto: tcp\n    - dports: 80,443\n    - \
                 jump: accept\n    - save: true\n",
            ]),
            parse: |params| rule::parse("nftables.append", rule::PARAMS, params),
        },
        Function {
            name: "insert",
            doc: Doc::new("A chain has a rule, at its beginning if it is new."),
            params: rule::PARAMS,
            examples: Examples::new(&[
                "drop bad:\n  nftables.insert:\n    - chain: input\n    - rule: ct state invalid drop\n",
            ]),
            parse: |params| rule::parse("nftables.insert", rule::PARAMS, params),
        },
        Function {
            name: "delete",
            doc: Doc::new("A chain does not have a rule."),
            params: rule::PARAMS,
            examples: Examples::new(&[
                "no telnet:\n  nftables.delete:\n    - chain: input\n    - proto: tcp\n    - dport: 23\n    - jump: accept\n",
            ]),
            parse: |params| rule::parse("nftables.delete", rule::PARAMS, params),
        },
    ],
};

const FAMILY: Param = Param::of(
    "family",
    ParamType::Text,
    "ipv4",
    "`ipv4`, `ipv6`, `inet` (both), `arp`, `bridge` or `netdev`.",
);
const IN_TABLE: Param = Param::of("table", ParamType::Text, "filter", "The table.");
const SAVE: Param = Param::of(
    "save",
    ParamType::Text,
    "false",
    "Keeps the whole ruleset in this file, which is written if it says anything else, and which the service `nftables` loads at boot; `true` is \
     `/etc/nftables.conf`.",
);
const TABLE: &[Param] = &[Param::name("The table."), FAMILY, SAVE];
const CHAIN: &[Param] = &[Param::name("The chain."), IN_TABLE, FAMILY, SAVE];
const CHAIN_PRESENT: &[Param] = &[
    CHAIN[0],
    IN_TABLE,
    FAMILY,
    Param::of("table_type", ParamType::Text, "none", "`filter`, `nat` or `route`."),
    Param::of(
        "hook",
        ParamType::Text,
        "none",
        "Where it is called: `input`, `output`, `forward`, `prerouting`, ...",
    ),
    Param::of(
        "priority",
        ParamType::Text,
        "none",
        "The order among chains of one hook: a number or `filter`.",
    ),
    Param::of(
        "policy",
        ParamType::Text,
        "accept",
        "What happens to packets that no rule decides on: `accept` or `drop`.",
    ),
    SAVE,
];

/// A word that `nft` takes as a name.
fn word(param: &str, text: &str) -> Result<(), ParamsError> {
    plain_word(param, text)?;
    if text.chars().all(|it| it.is_alphanumeric() || "_-.".contains(it)) {
        return Ok(());
    }
    Err(invalid(param, format!("`{text}` is no `{param}`")))
}

/// As `nft` calls it.
fn family(args: &Args<'_>) -> Result<String, ParamsError> {
    match args.text("family").unwrap_or_else(|| "ipv4".to_owned()).as_str() {
        "ipv4" | "ip" => Ok("ip".to_owned()),
        "ipv6" | "ip6" => Ok("ip6".to_owned()),
        it @ ("inet" | "arp" | "bridge" | "netdev") => Ok(it.to_owned()),
        other => Err(invalid("family", format!("`{other}` is no family"))),
    }
}

/// Where the ruleset is kept, if it is.
fn save(args: &Args<'_>) -> Result<Option<PathBuf>, ParamsError> {
    match args.text("save").as_deref() {
        None | Some("false" | "False" | "no") => Ok(None),
        Some("true" | "True" | "yes") => Ok(Some(PathBuf::from("/etc/nftables.conf"))),
        Some(path) if path.starts_with('/') && !path.contains("..") => Ok(Some(PathBuf::from(path))),
        Some(other) => Err(invalid("save", format!("`save` must be true, false or a path, not `{other}`"))),
    }
}

fn nft<T: AsRef<str>>(words: &[T], host: &mut dyn Host) -> Result<(), Error> {
    let all: Vec<&str> = ["nft"].into_iter().chain(words.iter().map(AsRef::as_ref)).collect();
    let what = all.iter().take(6).copied().collect::<Vec<_>>().join(" ");
    tool::run(host, tool::command(&all, tool::SHORT_MS), &what).map(drop)
}

/// What a plan calls the file in which the ruleset is kept.
const SAVED: &str = "saved rules";

/// The file with the ruleset as it is.
fn saved(path: &Path, host: &dyn Probe) -> Result<WantedFile, Error> {
    let rules = tool::answer(host, &Query::Nft(Question::Ruleset))?;
    let contents = format!("#!/usr/sbin/nft -f\n\nflush ruleset\n\n{rules}");
    Ok(WantedFile { mode: 0o755, ..WantedFile::public(path, contents) })
}

/// Notes that the file says something else, where nothing else is to be done.
fn compare_saved(path: Option<&PathBuf>, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
    let Some(path) = path.filter(|_| plan.is_empty()) else { return Ok(()) };
    let (now, wanted) = (WantedFile::now(path, host)?, saved(path, host)?.contents);
    if now.as_ref() != Some(&wanted) {
        plan.push(contents_change(SAVED, now.as_deref().map(str::as_bytes), wanted.as_bytes()));
    }
    Ok(())
}

fn keep(path: Option<&PathBuf>, host: &mut dyn Host) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    saved(path, host)?.write(host)
}

/// What `nft` lists; `None` if there is no such thing.
fn list(question: Question, host: &dyn Probe) -> Result<Option<String>, Error> {
    let query = Query::Nft(question);
    let output = tool::ask(host, &query)?;
    match output.code {
        Some(0) => Ok(Some(output.stdout)),
        _ if output.stderr.contains("No such file or directory") => Ok(None),
        _ => Err(tool::refusal(&query, output)),
    }
}

/// A table or a chain that is there, or not.
#[derive(Debug)]
struct Thing {
    what: &'static str,
    question: Question,
    /// Family, table, and chain if it is one.
    place: Vec<String>,
    /// The definition of a chain that the packet filter calls, in braces.
    hook: Option<String>,
    policy: Option<String>,
    is_wanted: bool,
    save: Option<PathBuf>,
}

fn thing(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let (name, family) = (args.name(), family(&args)?);
    word("name", &name)?;
    let table = args.text("table").unwrap_or_else(|| "filter".to_owned());
    word("table", &table)?;
    let is_chain = kind.contains("chain");
    let (what, place) = if is_chain {
        ("chain", vec![family.clone(), table.clone(), name.clone()])
    } else {
        ("table", vec![family.clone(), name.clone()])
    };
    let question =
        if is_chain { Question::Chain(family, table, name) } else { Question::Table(family, name) };
    let policy = args.text("policy");
    if policy.as_ref().is_some_and(|it| !matches!(it.as_str(), "accept" | "drop")) {
        return Err(invalid("policy", "`policy` must be `accept` or `drop`"));
    }
    let parts = ["table_type", "hook", "priority"].map(|it| args.text(it));
    let hook = match &parts {
        [Some(kind), Some(hook), Some(priority)] => {
            word("table_type", kind)?;
            word("hook", hook)?;
            word("priority", priority.trim_start_matches('-'))?;
            Some(format!("type {kind} hook {hook} priority {priority} ;"))
        }
        [None, None, None] if policy.is_none() => None,
        _ => return Err(invalid("hook", "`table_type`, `hook` and `priority` belong together")),
    };
    let is_wanted = kind.ends_with("_present");
    Ok(Box::new(Thing { what, question, place, hook, policy, is_wanted, save: save(&args)? }))
}

impl Resource for Thing {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = list(self.question.clone(), host)?;
        if now.is_some() != self.is_wanted {
            let name = Some(self.place.join(" "));
            let (from, to) = if self.is_wanted { (None, name) } else { (name, None) };
            plan.push(Change { what: self.what.to_owned(), from, to, diff: None });
        } else if let (Some(now), Some(policy)) = (&now, &self.policy) {
            let is = now.split("policy ").nth(1).and_then(|it| it.split(';').next());
            plan.differ("policy", is.map(str::to_owned).as_ref(), policy);
        }
        compare_saved(self.save.as_ref(), host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let verb = match (self.is_wanted, self.what) {
            (true, _) => "add",
            // A chain with rules cannot be deleted.
            (false, "chain") if !plan.touches(SAVED) => {
                nft(&[vec!["flush".to_owned(), "chain".to_owned()], self.place.clone()].concat(), host)?;
                "delete"
            }
            (false, _) => "delete",
        };
        let mut words = vec![verb.to_owned(), self.what.to_owned()];
        words.extend(self.place.iter().cloned());
        let policy = self.policy.as_ref().map(|it| format!("policy {it} ;"));
        if self.is_wanted && (plan.touches("chain") || policy.is_some()) {
            let inner: Vec<String> =
                self.hook.clone().filter(|_| plan.touches("chain")).into_iter().chain(policy).collect();
            if !inner.is_empty() {
                words.push(format!("{{ {} }}", inner.join(" ")));
            }
        }
        if !plan.touches(SAVED) {
            nft(&words, host)?;
        }
        keep(self.save.as_ref(), host)?;
        Ok(Applied::default())
    }
}

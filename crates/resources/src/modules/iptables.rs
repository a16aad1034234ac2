//! `iptables`: chains, policies and rules of the packet filter.

mod rule;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    diff::contents_change,
    host::{
        Query,
        query::iptables::{Question, Table},
    },
    tool,
    wanted_file::WantedFile,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "iptables",
    doc: Doc::new("The packet filter, by `iptables` and `ip6tables`."),
    functions: &[
        Function {
            name: "append",
            doc: Doc::new(
                "A chain has a rule, at its end if it is new. Matches are written with the names of their long options.",
            ),
            params: &rule::PARAMS,
            examples: Examples::new(&[
                "allow web:\n  iptables.append:\n    - chain: INPUT\n    - proto: tcp\n    - dports: [80, 443]\n    - connstate: NEW\n    \
                 - jump: ACCEPT\n    - save: true\n",
            ]),
            parse: |params| rule::parse("iptables.append", params),
        },
        Function {
            name: "insert",
            doc: Doc::new(
                "A chain has a rule, at `position` if it is new. One that it has elsewhere stays where it is.",
            ),
            params: &rule::PARAMS,
            examples: Examples::new(&[
                "drop bad:\n  iptables.insert:\n    - position: 1\n    - chain: INPUT\n    - connstate: INVALID\n    - jump: DROP\n",
            ]),
            parse: |params| rule::parse("iptables.insert", params),
        },
        Function {
            name: "delete",
            doc: Doc::new("A chain does not have a rule."),
            params: &rule::PARAMS,
            examples: Examples::new(&[
                "no telnet:\n  iptables.delete:\n    - chain: INPUT\n    - proto: tcp\n    - dport: 23\n    - jump: ACCEPT\n",
            ]),
            parse: |params| rule::parse("iptables.delete", params),
        },
        Function {
            name: "set_policy",
            doc: Doc::new("What happens to packets that no rule of a chain decides on."),
            params: POLICY,
            examples: Examples::new(&[
                "closed:\n  iptables.set_policy:\n    - chain: FORWARD\n    - policy: DROP\n",
            ]),
            parse: |params| chain("iptables.set_policy", POLICY, params, Wish::Policy),
        },
        Function {
            name: "flush",
            doc: Doc::new("A chain has no rules."),
            params: FLUSH,
            examples: Examples::new(&["no rules:\n  iptables.flush:\n    - chain: INPUT\n"]),
            parse: |params| chain("iptables.flush", FLUSH, params, Wish::Empty),
        },
        Function {
            name: "chain_present",
            doc: Doc::new("A chain of one's own exists."),
            params: CHAIN,
            examples: Examples::new(&["my_chain:\n  iptables.chain_present:\n    - table: nat\n"]),
            parse: |params| chain("iptables.chain_present", CHAIN, params, Wish::There),
        },
        Function {
            name: "chain_absent",
            doc: Doc::new(
                "A chain of one's own does not exist: it goes away with its rules. One that a rule jumps to cannot go.",
            ),
            params: CHAIN,
            examples: Examples::new(&["my_chain:\n  iptables.chain_absent: []\n"]),
            parse: |params| chain("iptables.chain_absent", CHAIN, params, Wish::Gone),
        },
    ],
};

const NAME: Param = Param::name("Any name for the step.");
const IN_CHAIN: Param = Param::of("chain", ParamType::Text, "", "The chain.").required();
const TABLE: Param =
    Param::of("table", ParamType::Text, "filter", "`filter`, `nat`, `mangle`, `raw` or `security`.");
const FAMILY: Param = Param::of("family", ParamType::Text, "ipv4", "`ipv4` or `ipv6`.");
const SAVE: Param = Param::of(
    "save",
    ParamType::Text,
    "false",
    "Keeps all tables in this file, which is written if it says anything else, and from which the package `iptables-persistent` loads them at boot; `true` \
     is `/etc/iptables/rules.v4`, or `rules.v6`.",
);
const CHAIN: &[Param] = &[Param::name("The chain."), TABLE, FAMILY, SAVE];
const FLUSH: &[Param] = &[NAME, IN_CHAIN, TABLE, FAMILY, SAVE];
const POLICY: &[Param] = &[
    NAME,
    IN_CHAIN,
    Param::of("policy", ParamType::Text, "", "`ACCEPT` or `DROP`.").required(),
    TABLE,
    FAMILY,
    SAVE,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    There,
    Gone,
    Empty,
    Policy,
}

/// What a plan calls the file in which all tables are kept.
const SAVED: &str = "saved rules";

/// A table, and where all tables are kept.
#[derive(Debug)]
struct Place {
    table: Table,
    save: Option<PathBuf>,
}

fn place(args: &Args<'_>) -> Result<Place, ParamsError> {
    let table = args.text("table").unwrap_or_else(|| "filter".to_owned());
    if !["filter", "nat", "mangle", "raw", "security"].contains(&table.as_str()) {
        return Err(invalid("table", format!("`{table}` is no table")));
    }
    let (program, file) = match args.text("family").as_deref() {
        None | Some("ipv4") => ("iptables", "/etc/iptables/rules.v4"),
        Some("ipv6") => ("ip6tables", "/etc/iptables/rules.v6"),
        Some(other) => return Err(invalid("family", format!("`{other}` is no family"))),
    };
    let save = match args.text("save").as_deref() {
        None | Some("false" | "False" | "no") => None,
        Some("true" | "True" | "yes") => Some(PathBuf::from(file)),
        Some(path) if path.starts_with('/') && !path.contains("..") => Some(PathBuf::from(path)),
        Some(other) => {
            return Err(invalid("save", format!("`save` must be true, false or a path, not `{other}`")));
        }
    };
    Ok(Place { table: Table { program, table }, save })
}

fn chain_name(param: &str, name: &str) -> Result<(), ParamsError> {
    plain_word(param, name)?;
    if name.starts_with('!') || name.len() > 28 {
        return Err(invalid(param, format!("`{name}` is no name of a chain: at most 28 letters")));
    }
    Ok(())
}

impl Place {
    fn run<T: AsRef<str>>(&self, words: &[T], host: &mut dyn Host) -> Result<(), Error> {
        let command = self.table.command(words);
        let what = words.iter().take(2).map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        tool::run(host, command, &format!("{} {what}", self.table.program)).map(drop)
    }

    /// All tables as they are kept.
    fn rules(&self, host: &dyn Probe) -> Result<String, Error> {
        Ok(kept(&tool::answer(host, &Query::Iptables(Question::Save(self.table.program)))?))
    }

    /// Notes that the file says something else, where nothing else is to be done.
    fn compare_saved(&self, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let Some(path) = self.save.as_ref().filter(|_| plan.is_empty()) else { return Ok(()) };
        let (now, wanted) = (WantedFile::now(path, host)?, self.rules(host)?);
        if now.as_deref().map(kept).as_ref() != Some(&wanted) {
            plan.push(contents_change(SAVED, now.as_deref().map(str::as_bytes), wanted.as_bytes()));
        }
        Ok(())
    }

    fn keep(&self, host: &mut dyn Host) -> Result<(), Error> {
        let Some(path) = &self.save else { return Ok(()) };
        let contents = self.rules(host)?;
        WantedFile { mode: 0o600, ..WantedFile::public(path, contents) }.write(host)
    }
}

/// Without the comments, which hold the time, and with counters of zero.
fn kept(rules: &str) -> String {
    let plain = rules.lines().filter(|it| !it.starts_with('#')).map(|it| {
        if it.starts_with(':') {
            it.split(" [").next().map_or_else(String::new, |it| format!("{it} [0:0]"))
        } else {
            it.to_owned()
        }
    });
    plain.fold(String::new(), |all, it| all + &it + "\n")
}

#[derive(Debug)]
struct Chain {
    place: Place,
    name: String,
    policy: String,
    wish: Wish,
}

fn chain(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    wish: Wish,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let chain = args.text("chain").unwrap_or_else(|| args.name());
    chain_name("chain", &chain)?;
    let policy = args.text("policy").unwrap_or_default().to_ascii_uppercase();
    if wish == Wish::Policy && !["ACCEPT", "DROP"].contains(&policy.as_str()) {
        return Err(invalid("policy", "`policy` must be `ACCEPT` or `DROP`"));
    }
    Ok(Box::new(Chain { place: place(&args)?, name: chain, policy, wish }))
}

impl Chain {
    /// Its policy and rules, one line each; `None` if there is no such chain.
    fn lines(&self, host: &dyn Probe) -> Result<Option<Vec<String>>, Error> {
        let query = Query::Iptables(Question::Chain(self.place.table.clone(), self.name.clone()));
        let output = tool::ask(host, &query)?;
        let missing = ["is incompatible", "does not exist", "No chain/target/match"];
        match output.code {
            Some(0) => Ok(Some(output.stdout.lines().map(str::to_owned).collect())),
            _ if missing.iter().any(|it| output.stderr.contains(it)) => Ok(None),
            _ => Err(tool::refusal(&query, output)),
        }
    }
}

impl Resource for Chain {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let lines = self.lines(host)?;
        let name = || Some(self.name.clone());
        match (self.wish, &lines) {
            (Wish::There, None) => {
                plan.push(Change { what: "chain".into(), from: None, to: name(), diff: None });
            }
            (Wish::Gone, Some(_)) => {
                plan.push(Change { what: "chain".into(), from: name(), to: None, diff: None });
            }
            (Wish::Policy | Wish::Empty, None) => {
                let table = &self.place.table.table;
                return Err(Error::Refused(format!("table `{table}` has no chain `{}`", self.name)));
            }
            (Wish::Policy, Some(lines)) => {
                let is = lines.iter().find_map(|it| it.strip_prefix(&format!("-P {} ", self.name)));
                plan.differ("policy", is.map(str::to_owned).as_ref(), &self.policy);
            }
            (Wish::Empty, Some(lines)) => {
                let rules = lines.iter().filter(|it| it.starts_with("-A")).count();
                if rules > 0 {
                    let from = Some(format!("{rules} rules"));
                    plan.push(Change { what: self.name.clone(), from, to: None, diff: None });
                }
            }
            _ => (),
        }
        self.place.compare_saved(host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        match self.wish {
            _ if plan.touches(SAVED) => (),
            Wish::There => self.place.run(&["--new-chain", &self.name], host)?,
            Wish::Gone => {
                self.place.run(&["--flush", &self.name], host)?;
                self.place.run(&["--delete-chain", &self.name], host)?;
            }
            Wish::Empty => self.place.run(&["--flush", &self.name], host)?,
            Wish::Policy => self.place.run(&["--policy", &self.name, &self.policy], host)?,
        }
        self.place.keep(host)?;
        Ok(Applied::default())
    }
}

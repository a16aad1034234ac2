//! `mysql_grants`: what accounts of `MySQL` and `MariaDB` may do.

use super::{
    mysql::{Connection, DEFAULT_FILE, HOST, PASS, PORT, SOCKET, USER, is_error, name},
    mysql_user::account,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::mysql::Ask,
    sql::{mysql_literal, mysql_name},
    tool,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "mysql_grants",
    doc: Doc::new("Grants of MySQL and MariaDB."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "An account has privileges on a database, a table, or everything. More privileges than these stay, unless \
                  `revoke_first` is set. The account must exist.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud_grants:\n  mysql_grants.present:\n    - grant: all privileges\n    - database: nextcloud.*\n    - \
                 user: nextcloud\n    - host: localhost\n",
            ]),
            parse: |params| parse("mysql_grants.present", PRESENT, params, Wish::Held),
        },
        Function {
            name: "absent",
            doc: Doc::new("An account does not have privileges on a database, a table, or everything."),
            params: ABSENT,
            examples: Examples::new(&[
                "no_write:\n  mysql_grants.absent:\n    - grant: insert, update\n    - database: nextcloud.*\n    - user: \
                 reader\n",
            ]),
            parse: |params| parse("mysql_grants.absent", ABSENT, params, Wish::Gone),
        },
    ],
};

const NAME: Param = Param::name("Any name for the step.");
const GRANT: Param =
    Param::of("grant", ParamType::Any, "", "The privileges: `select, insert`, `all privileges`.").required();
const DATABASE: Param =
    Param::of("database", ParamType::Text, "", "On what: `database.*`, `database.table` or `*.*`.")
        .required();
const WHO: Param = Param::of("user", ParamType::Text, "", "The account's user.").required();
const FROM: Param =
    Param::of("host", ParamType::Text, "localhost", "From where it comes; `%` is everywhere.");
const OPTION: Param = Param::of("grant_option", ParamType::Bool, "false", "It may pass these on.");
const ESCAPE: Param = Param::of(
    "escape",
    ParamType::Bool,
    "true",
    "`_` and `%` in a database's name mean themselves; `false` makes them patterns.",
);
const ABSENT: &[Param] =
    &[NAME, GRANT, DATABASE, WHO, FROM, OPTION, ESCAPE, USER, PASS, HOST, PORT, SOCKET, DEFAULT_FILE];
const PRESENT: &[Param] = &[
    NAME,
    GRANT,
    DATABASE,
    WHO,
    FROM,
    OPTION,
    ESCAPE,
    Param::of(
        "revoke_first",
        ParamType::Bool,
        "false",
        "When something differs, takes everything on that object away first.",
    ),
    USER,
    PASS,
    HOST,
    PORT,
    SOCKET,
    DEFAULT_FILE,
];

/// What `ALL` of everything contains in every version: some servers list it instead of saying `ALL`.
const EVERYTHING: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "FILE",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "SHOW DATABASES",
    "SUPER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "REPLICATION SLAVE",
    "REPLICATION CLIENT",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "CREATE USER",
    "EVENT",
    "TRIGGER",
    "CREATE TABLESPACE",
];
const ALL: &str = "ALL PRIVILEGES";
const GRANT_OPTION: &str = "GRANT OPTION";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Held,
    Gone,
}

#[derive(Debug)]
struct Grants {
    connection: Connection,
    user: String,
    host: String,
    /// Upper case; columns of a privilege behind it, as `SELECT (A, B)`.
    privileges: Vec<String>,
    /// As it stands in a statement.
    target: String,
    grant_option: bool,
    revoke_first: bool,
    wish: Wish,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    wish: Wish,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let (user, host) = account(&args, "user")?;
    let written = match params.get("grant") {
        Some(Value::Array(_)) => args.list("grant").unwrap_or_default().join(","),
        _ => args.text("grant").unwrap_or_default(),
    };
    let mut privileges = words(&written).ok_or_else(|| {
        invalid(
            "grant",
            format!("`{written}` are no privileges: words with commas, as `select, insert (name)`"),
        )
    })?;
    let mut grant_option = args.bool("grant_option", false);
    grant_option |= privileges.iter().any(|it| it == GRANT_OPTION);
    privileges.retain(|it| it != GRANT_OPTION);
    let database = args.text("database").unwrap_or_default();
    Ok(Box::new(Grants {
        connection: Connection::new(&args)?,
        user,
        host,
        privileges,
        target: target(&database, args.bool("escape", true))?,
        grant_option,
        revoke_first: args.bool("revoke_first", false),
        wish,
    }))
}

/// Privileges apart by commas (but not within parentheses), upper case, each once. `None` if one is none.
fn words(text: &str) -> Option<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    let mut depth = 0;
    let separate = |it: char| {
        depth += match it {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        it == ',' && depth == 0
    };
    for part in text.split(separate) {
        let part = part.trim();
        let (word, columns) = part.split_once('(').map_or((part, None), |(word, it)| (word, Some(it)));
        let mut word = word.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
        if word.is_empty() || !word.bytes().all(|it| it.is_ascii_uppercase() || b" _".contains(&it)) {
            return None;
        }
        if let Some(columns) = columns {
            let mut names: Vec<&str> =
                columns.strip_suffix(')')?.split(',').map(|it| it.trim().trim_matches('`')).collect();
            if names.iter().any(|it| it.is_empty() || it.contains(['`', '(', ')', '\'', '"', '\\', ';'])) {
                return None;
            }
            names.sort_unstable();
            word = format!("{word} (`{}`)", names.join("`, `"));
        }
        if word == "ALL" {
            ALL.clone_into(&mut word);
        }
        if !all.contains(&word) {
            all.push(word);
        }
    }
    Some(all)
}

/// `database.table` with its names in quotes.
fn target(text: &str, escape: bool) -> Result<String, ParamsError> {
    name("database", text, 512)?;
    let wrong = || invalid("database", format!("`{text}` must be `database.*`, `database.table` or `*.*`"));
    let (database, table) = text.rsplit_once('.').ok_or_else(wrong)?;
    let part = |it: &str| it.trim().trim_matches('`').to_owned();
    let (database, table) = (part(database), part(table));
    if database.is_empty() || table.is_empty() || (database == "*" && table != "*") {
        return Err(wrong());
    }
    if database == "*" {
        return Ok("*.*".to_owned());
    }
    if table != "*" {
        return Ok(format!("{}.{}", mysql_name(&database), mysql_name(&table)));
    }
    let database = if escape { database.replace('_', "\\_").replace('%', "\\%") } else { database };
    Ok(format!("{}.*", mysql_name(&database)))
}

/// Privileges on the target, among the lines of `SHOW GRANTS`.
fn held(lines: &str, target: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines.lines() {
        let Some(rest) = line.strip_prefix("GRANT ") else { continue };
        let Some((privileges, rest)) = rest.split_once(" ON ") else { continue };
        let Some((on, rest)) = rest.split_once(" TO ") else { continue };
        if on != target {
            continue;
        }
        all.extend(words(privileges).unwrap_or_default());
        if rest.contains("WITH GRANT OPTION") {
            all.push(GRANT_OPTION.to_owned());
        }
    }
    all
}

/// Whether what is held contains a privilege.
fn has(held: &[String], wanted: &str) -> bool {
    let is_all = held.iter().any(|it| it == ALL);
    let says = |it: &str| held.iter().any(|word| word == it);
    match wanted {
        "USAGE" => true,
        GRANT_OPTION => says(GRANT_OPTION),
        ALL => is_all || EVERYTHING.iter().all(|it| says(it)),
        // The right for the whole table is one for each of its columns.
        other => is_all || says(other) || other.split_once(" (").is_some_and(|(word, _)| says(word)),
    }
}

impl Grants {
    fn account(&self) -> String {
        format!("{}@{}", mysql_literal(&self.user), mysql_literal(&self.host))
    }

    fn held(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let ask = Ask::Grants { user: self.user.clone(), host: self.host.clone() };
        let query = self.connection.query(ask, host)?;
        let output = tool::ask(host, &query)?;
        if output.code == Some(0) {
            return Ok(held(&output.stdout, &self.target));
        }
        // No such account: it has nothing.
        if is_error(&output.stderr, 1141) && self.wish == Wish::Gone {
            return Ok(Vec::new());
        }
        Err(tool::refusal(&query, output))
    }

    /// Those that are not as they should be.
    fn wrong(&self, held: &[String]) -> Vec<String> {
        let mut meant = self.privileges.clone();
        if self.grant_option {
            meant.push(GRANT_OPTION.to_owned());
        }
        let is_there = |it: &String| match (self.wish, it.as_str()) {
            // All are gone if none is left.
            (Wish::Gone, ALL) => held.iter().any(|it| it != "USAGE" && it != GRANT_OPTION),
            (Wish::Gone, "USAGE") => false,
            (_, it) => has(held, it),
        };
        meant.into_iter().filter(|it| is_there(it) != (self.wish == Wish::Held)).collect()
    }
}

impl Resource for Grants {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let held = self.held(host)?;
        let wrong = self.wrong(&held);
        if !wrong.is_empty() {
            let is = Some(held.join(", ")).filter(|it| !it.is_empty());
            let what = format!("{} on {}", self.account(), self.target);
            let (from, to) = match self.wish {
                Wish::Held => (is, Some(wrong.join(", "))),
                Wish::Gone => (Some(wrong.join(", ")), None),
            };
            plan.push(Change { what, from, to, diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (account, target) = (self.account(), &self.target);
        let words = self.privileges.join(", ");
        let mut sql = Vec::new();
        match self.wish {
            Wish::Held => {
                let now = self.held(host)?;
                if self.revoke_first && now.iter().any(|it| it != "USAGE") {
                    sql.push(format!("REVOKE ALL PRIVILEGES ON {target} FROM {account}"));
                }
                let option = if self.grant_option { " WITH GRANT OPTION" } else { "" };
                let words = if words.is_empty() { "USAGE" } else { &words };
                sql.push(format!("GRANT {words} ON {target} TO {account}{option}"));
            }
            Wish::Gone => {
                if !words.is_empty() {
                    sql.push(format!("REVOKE {words} ON {target} FROM {account}"));
                }
                if self.grant_option {
                    sql.push(format!("REVOKE GRANT OPTION ON {target} FROM {account}"));
                }
            }
        }
        self.connection.execute(&sql, &format!("alter grants of {account}"), host)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_read_as_people_and_servers_write_them() {
        let list = |it: &[&str]| Some(it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("select,Insert , create  view"), list(&["SELECT", "INSERT", "CREATE VIEW"]));
        assert_eq!(words("all"), list(&[ALL]));
        assert_eq!(words("SELECT (`b`, a), UPDATE"), list(&["SELECT (`a`, `b`)", "UPDATE"]));
        for bad in ["", "select; drop", "select on x.* to y", "select (a", "select (a`b)", "(a)"] {
            assert_eq!(words(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_target_is_quoted_and_escaped() {
        let good = |text: &str| target(text, true).unwrap();
        assert_eq!(good("*.*"), "*.*");
        assert_eq!(good("my_db.*"), "`my\\_db`.*");
        assert_eq!(good("`my_db`.`t_1`"), "`my_db`.`t_1`");
        assert_eq!(target("my_%.*", false).unwrap(), "`my_%`.*");
        assert_eq!(good("a`; DROP DATABASE x; --.*"), "`a``; DROP DATABASE x; --`.*");
        assert!(target("db", true).is_err() && target("*.t", true).is_err());
    }

    #[test]
    fn a_list_of_everything_is_all() {
        let line = format!("GRANT {} ON *.* TO `root`@`localhost` WITH GRANT OPTION", EVERYTHING.join(", "));
        let held = held(&line, "*.*");
        assert!(has(&held, ALL) && has(&held, GRANT_OPTION));
        assert!(!has(&held[1..], ALL));
    }
}

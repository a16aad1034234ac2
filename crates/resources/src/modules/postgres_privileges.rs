//! `postgres_privileges`: what roles of a `PostgreSQL` server may do with objects.

use super::postgres::{
    Connection, DB_HOST, DB_PASSWORD, DB_PORT, DB_USER, MAINTENANCE_DB, Params, USER, name, text, texts,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::postgres::{Ask, Objects},
    sql::pg_name,
};
use model::{Change, Plan};

pub(crate) const MODULE: Module = Module {
    name: "postgres_privileges",
    doc: Doc::new("Privileges of PostgreSQL's roles."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A role has privileges on an object, or is a member of a group. More privileges than these stay.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "reader:\n  postgres_privileges.present:\n    - object_name: ALL\n    - object_type: table\n    - \
                 privileges: [SELECT]\n    - maintenance_db: nextcloud\n",
            ]),
            parse: |params| parse("postgres_privileges.present", PRESENT, params, Wish::Held),
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A role does not have privileges on an object, or is no member of a group. What it has through a group, or \
                  through `public`, is not looked at.",
            ),
            params: ABSENT,
            examples: Examples::new(&[
                "reader:\n  postgres_privileges.absent:\n    - object_name: secrets\n    - object_type: table\n    - \
                 maintenance_db: nextcloud\n",
            ]),
            parse: |params| parse("postgres_privileges.absent", ABSENT, params, Wish::Gone),
        },
    ],
};

const NAME: Param = Param::name("The role; `public` is all of them.");
const OBJECT: Param = Param::of(
    "object_name",
    ParamType::Text,
    "",
    "The object. `ALL` are all tables or sequences of the schema. A function has its types: `total(integer)`.",
)
.required();
const TYPE: Param = Param::of(
    "object_type",
    ParamType::Text,
    "",
    "`table` (views as well), `sequence`, `function`, `schema`, `database`, `tablespace`, `language` or `group`.",
)
.required();
const PRIVILEGES: Param =
    Param::of("privileges", ParamType::Any, "all", "Such as `SELECT`: a list, or a text with commas.");
const PREPEND: Param =
    Param::of("prepend", ParamType::Text, "public", "The schema of a table, sequence or function.");
const ABSENT: &[Param] =
    &[NAME, OBJECT, TYPE, PRIVILEGES, PREPEND, USER, MAINTENANCE_DB, DB_USER, DB_PASSWORD, DB_HOST, DB_PORT];
const PRESENT: &[Param] = &[
    NAME,
    OBJECT,
    TYPE,
    PRIVILEGES,
    Param::of("grant_option", ParamType::Bool, "false", "It may pass these on."),
    PREPEND,
    USER,
    MAINTENANCE_DB,
    DB_USER,
    DB_PASSWORD,
    DB_HOST,
    DB_PORT,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Held,
    Gone,
}

#[derive(Debug)]
enum On {
    Group(String),
    Objects(Objects),
}

#[derive(Debug)]
struct Privileges {
    connection: Connection,
    role: String,
    on: On,
    /// Upper case; empty for all.
    words: Vec<String>,
    grant_option: bool,
    wish: Wish,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Params,
    wish: Wish,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let role = args.name();
    name("name", &role)?;
    let object = args.text("object_name").unwrap_or_default();
    let prepend = args.text("prepend").unwrap_or_else(|| "public".to_owned());
    name("prepend", &prepend)?;
    let one = || Some(object.clone()).filter(|it| !it.eq_ignore_ascii_case("all"));
    let on = match args.text("object_type").unwrap_or_default().as_str() {
        "table" => On::Objects(Objects::Tables(prepend, one())),
        "sequence" => On::Objects(Objects::Sequences(prepend, one())),
        "function" => On::Objects(Objects::Function(prepend, signature(&object)?)),
        "schema" => On::Objects(Objects::Schema(object.clone())),
        "database" => On::Objects(Objects::Database(object.clone())),
        "tablespace" => On::Objects(Objects::Tablespace(object.clone())),
        "language" => On::Objects(Objects::Language(object.clone())),
        "group" => On::Group(object.clone()),
        other => return Err(invalid("object_type", format!("`{other}` is no type of object"))),
    };
    if !matches!(on, On::Objects(Objects::Function(..))) {
        name("object_name", &object)?;
    }
    let privileges = words(&args, params)?;
    if matches!(on, On::Group(_)) && !privileges.is_empty() {
        return Err(invalid("privileges", "a membership in a group has no `privileges`"));
    }
    let grant_option = wish == Wish::Held && args.bool("grant_option", false);
    Ok(Box::new(Privileges {
        connection: Connection::new(&args)?,
        role,
        on,
        words: privileges,
        grant_option,
        wish,
    }))
}

/// The types are part of a statement: only what types are made of.
fn signature(text: &str) -> Result<String, ParamsError> {
    let good = |it: char| it.is_alphanumeric() || " _,.[]".contains(it);
    match text.strip_suffix(')').and_then(|it| it.split_once('(')) {
        Some((name, types)) if !name.is_empty() && types.chars().all(good) => Ok(text.to_owned()),
        _ => Err(invalid(
            "object_name",
            format!("`{text}` is no function with its types, as `total(integer)`"),
        )),
    }
}

/// Upper case, sorted; empty for all of them.
fn words(args: &Args<'_>, params: &Params) -> Result<Vec<String>, ParamsError> {
    let written = match params.get("privileges") {
        Some(serde_json::Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(serde_json::Value::Null) | None => Vec::new(),
        Some(_) => {
            args.list("privileges").ok_or_else(|| invalid("privileges", "`privileges` must be a list"))?
        }
    };
    let known = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "MAINTAIN",
        "USAGE",
        "CREATE",
        "CONNECT",
        "TEMPORARY",
        "EXECUTE",
    ];
    let mut all = Vec::new();
    for it in written {
        match it.trim().to_ascii_uppercase().as_str() {
            "ALL" | "ALL PRIVILEGES" => return Ok(Vec::new()),
            "TEMP" => all.push("TEMPORARY".to_owned()),
            word if known.contains(&word) => all.push(word.to_owned()),
            other => return Err(invalid("privileges", format!("`{other}` is no privilege"))),
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// As it stands in a statement.
fn target(objects: &Objects) -> String {
    let relation = |word: &str, schema: &str, one: &Option<String>| match one {
        Some(name) => format!("{word} {}.{}", pg_name(schema), pg_name(name)),
        None => format!("ALL {word}S IN SCHEMA {}", pg_name(schema)),
    };
    match objects {
        Objects::Tables(schema, one) => relation("TABLE", schema, one),
        Objects::Sequences(schema, one) => relation("SEQUENCE", schema, one),
        Objects::Function(schema, signature) => {
            let (function, types) = signature.split_once('(').unwrap_or((signature, ")"));
            format!("FUNCTION {}.{}({types}", pg_name(schema), pg_name(function.trim()))
        }
        Objects::Schema(it) => format!("SCHEMA {}", pg_name(it)),
        Objects::Database(it) => format!("DATABASE {}", pg_name(it)),
        Objects::Tablespace(it) => format!("TABLESPACE {}", pg_name(it)),
        Objects::Language(it) => format!("LANGUAGE {}", pg_name(it)),
    }
}

impl Privileges {
    fn grantee(&self) -> String {
        if self.role.eq_ignore_ascii_case("public") { "PUBLIC".to_owned() } else { pg_name(&self.role) }
    }

    fn compare_group(&self, group: &str, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let ask = Ask::Membership { role: self.role.clone(), group: group.to_owned() };
        let row = self.connection.row(ask, host)?;
        let may_pass_on = |it: &serde_json::Value| it.get("admin_option") == Some(&true.into());
        let word = |admin: bool| if admin { "member that may pass it on" } else { "member" }.to_owned();
        let is = row.as_ref().map(|it| word(may_pass_on(it)));
        let to = (self.wish == Wish::Held).then(|| word(self.grant_option));
        let enough = match (&row, self.wish) {
            (Some(it), Wish::Held) => !self.grant_option || may_pass_on(it),
            (row, wish) => row.is_some() == (wish == Wish::Held),
        };
        if !enough {
            plan.push(Change { what: group.to_owned(), from: is, to, diff: None });
        }
        Ok(())
    }

    fn compare_objects(&self, objects: &Objects, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let ask = Ask::Privileges { role: self.role.clone(), of: objects.clone() };
        let rows = self.connection.rows(ask, host)?;
        let is_all = matches!(objects, Objects::Tables(_, None) | Objects::Sequences(_, None));
        if rows.is_empty() && !is_all && self.wish == Wish::Held {
            let text = format!("there is no {} in database `{}`", target(objects), self.connection.database);
            return Err(Error::Refused(text));
        }
        for row in rows {
            let held = texts(&row, if self.grant_option { "grantable" } else { "held" });
            let every = texts(&row, "every");
            let meant = if self.words.is_empty() { &every } else { &self.words };
            let wrong: Vec<&str> = meant
                .iter()
                .filter(|it| held.contains(it) != (self.wish == Wish::Held))
                .map(String::as_str)
                .collect();
            if !wrong.is_empty() {
                let words = Some(wrong.join(", "));
                let (from, to) = if self.wish == Wish::Held { (None, words) } else { (words, None) };
                plan.push(Change { what: text(&row, "name"), from, to, diff: None });
            }
        }
        Ok(())
    }

    fn sql(&self) -> String {
        let role = self.grantee();
        let words = if self.words.is_empty() { "ALL".to_owned() } else { self.words.join(", ") };
        match (&self.on, self.wish) {
            (On::Group(group), Wish::Held) => {
                let option = if self.grant_option { " WITH ADMIN OPTION" } else { "" };
                format!("GRANT {} TO {role}{option}", pg_name(group))
            }
            (On::Group(group), Wish::Gone) => format!("REVOKE {} FROM {role}", pg_name(group)),
            (On::Objects(objects), Wish::Held) => {
                let option = if self.grant_option { " WITH GRANT OPTION" } else { "" };
                format!("GRANT {words} ON {} TO {role}{option}", target(objects))
            }
            (On::Objects(objects), Wish::Gone) => {
                format!("REVOKE {words} ON {} FROM {role}", target(objects))
            }
        }
    }
}

impl Resource for Privileges {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        match &self.on {
            On::Group(group) => self.compare_group(group, host, &mut plan)?,
            On::Objects(objects) => self.compare_objects(objects, host, &mut plan)?,
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.connection.execute(&[self.sql()], &format!("alter privileges of {}", self.role), host)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_function_are_nothing_but_types() {
        assert!(signature("total(integer, text[])").is_ok());
        assert!(signature("now()").is_ok());
        for bad in ["total", "f(int); DROP TABLE x; --)", "f(int) TO x; --", "(int)", "f(a'b)", "f(\"a\")"] {
            assert!(signature(bad).is_err(), "{bad}");
        }
    }
}

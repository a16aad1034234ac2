//! `postgres_user` and `postgres_group`: roles of a `PostgreSQL` server, with and without login.

use super::postgres::{
    Connection, DB_HOST, DB_PASSWORD, DB_PORT, DB_USER, Gone, MAINTENANCE_DB, Params, USER, flag, name,
    named, text, texts,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::postgres::Ask,
    scram,
    sql::{pg_literal, pg_name},
};
use model::{Change, Plan, SECRET_MASK};
use serde_json::Value;

pub(crate) const MODULE: Module = Module {
    name: "postgres_user",
    doc: Doc::new("Roles of PostgreSQL that can log in."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A role exists, with these attributes, password and groups. What is not given stays as it is. Whether \
                  the password is right is seen from the hash that the server keeps, so that it is set only if it \
                  differs; it goes to the server by standard input, and the statement is kept out of the server's log.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud:\n  postgres_user.present:\n    - password: '{{ pillar.db_password }}'\n    - createdb: \
                 false\n",
            ]),
            parse: |params| present("postgres_user.present", params, true),
        },
        Function {
            name: "absent",
            doc: Doc::new("A role does not exist. The server refuses to remove one that owns something."),
            params: ABSENT,
            examples: Examples::new(&["old_app:\n  postgres_user.absent: []\n"]),
            parse: |params| absent("postgres_user.absent", params),
        },
    ],
};

pub(crate) const GROUP: Module = Module {
    name: "postgres_group",
    doc: Doc::new("Roles of PostgreSQL that cannot log in."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A group exists, with these attributes. What is not given stays as it is."),
            params: PRESENT,
            examples: Examples::new(&["readers:\n  postgres_group.present: []\n"]),
            parse: |params| present("postgres_group.present", params, false),
        },
        Function {
            name: "absent",
            doc: Doc::new("A group does not exist."),
            params: ABSENT,
            examples: Examples::new(&["readers:\n  postgres_group.absent: []\n"]),
            parse: |params| absent("postgres_group.absent", params),
        },
    ],
};

const NAME: Param = Param::name("The role.");
const ABSENT: &[Param] = &[NAME, USER, MAINTENANCE_DB, DB_USER, DB_PASSWORD, DB_HOST, DB_PORT];
const PRESENT: &[Param] = &[
    NAME,
    Param::of(
        "password",
        ParamType::Text,
        "as it is",
        "Its password, in clear or as a hash that the server knows (`SCRAM-SHA-256$...`, `md5...`).",
    ),
    Param::of("default_password", ParamType::Text, "none", "The password that only a new role gets."),
    Param::of(
        "encrypted",
        ParamType::Text,
        "the server's default",
        "How the server keeps the password: `scram-sha-256` or `md5`; `true` is the server's default.",
    ),
    Param::of(
        "refresh_password",
        ParamType::Bool,
        "false",
        "Has no effect: the password is compared in every run.",
    ),
    Param::of("superuser", ParamType::Bool, "as it is", "May do anything."),
    Param::of("createdb", ParamType::Bool, "as it is", "May make databases."),
    Param::of("createroles", ParamType::Bool, "as it is", "May make roles."),
    Param::of("inherit", ParamType::Bool, "as it is", "Has the privileges of its groups."),
    Param::of("login", ParamType::Bool, "true for a new user", "May log in."),
    Param::of("replication", ParamType::Bool, "as it is", "May start replication."),
    Param::of(
        "valid_until",
        ParamType::Text,
        "as it is",
        "The time at which the password ends, as PostgreSQL reads it; `infinity`.",
    ),
    Param::of(
        "groups",
        ParamType::Any,
        "as they are",
        "Groups that it is in at least: a list, or names with commas.",
    ),
    USER,
    MAINTENANCE_DB,
    DB_USER,
    DB_PASSWORD,
    DB_HOST,
    DB_PORT,
];

/// Does not print itself.
#[derive(Clone, PartialEq)]
struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SECRET_MASK)
    }
}

/// How a server keeps a password.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Scram,
    Md5,
}

/// An attribute that is on or off.
#[derive(Debug)]
struct Flag {
    param: &'static str,
    column: &'static str,
    /// As a statement has it, with `NO` in front of it where it is off.
    word: &'static str,
    on: bool,
}

#[derive(Debug)]
struct Present {
    connection: Connection,
    name: String,
    password: Option<Password>,
    default_password: Option<Password>,
    kept: Option<Kept>,
    flags: Vec<Flag>,
    /// What a new one gets where nothing is wished.
    login: bool,
    valid_until: Option<String>,
    groups: Vec<String>,
}

const FLAGS: &[(&str, &str, &str)] = &[
    ("superuser", "rolsuper", "SUPERUSER"),
    ("createdb", "rolcreatedb", "CREATEDB"),
    ("createroles", "rolcreaterole", "CREATEROLE"),
    ("inherit", "rolinherit", "INHERIT"),
    ("login", "rolcanlogin", "LOGIN"),
    ("replication", "rolreplication", "REPLICATION"),
];

fn present(kind: &str, params: &Params, login: bool) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PRESENT, params)?;
    let role = args.name();
    name("name", &role)?;
    let password = |param: &str| -> Result<Option<Password>, ParamsError> {
        let text = args.text(param);
        if text.as_ref().is_some_and(|it| it.is_empty() || it.contains(['\0', '\n'])) {
            return Err(invalid(param, format!("`{param}` must be one line and not empty")));
        }
        Ok(text.map(Password))
    };
    let kept = match args.text("encrypted").as_deref() {
        None | Some("true") => None,
        Some("scram-sha-256") => Some(Kept::Scram),
        Some("md5") => Some(Kept::Md5),
        Some(other) => {
            let text = format!("`encrypted` must be `true`, `scram-sha-256` or `md5`, not `{other}`");
            return Err(invalid("encrypted", text));
        }
    };
    let groups = match params.get("groups").filter(|it| !it.is_null()) {
        None => Vec::new(),
        Some(Value::String(text)) => text.split(',').map(|it| it.trim().to_owned()).collect(),
        Some(_) => {
            args.list("groups").ok_or_else(|| invalid("groups", "`groups` must be a list of names"))?
        }
    };
    groups.iter().try_for_each(|it| name("groups", it))?;
    let wished = |(param, column, word): &(&'static str, &'static str, &'static str)| {
        flag(&args, param).map(|on| Flag { param, column, word, on })
    };
    Ok(Box::new(Present {
        connection: Connection::new(&args)?,
        name: role,
        password: password("password")?,
        default_password: password("default_password")?,
        kept,
        flags: FLAGS.iter().filter_map(wished).collect(),
        login,
        valid_until: named(&args, "valid_until")?,
        groups,
    }))
}

impl Present {
    fn look(&self, host: &dyn Probe) -> Result<Option<Value>, Error> {
        let ask = Ask::Role { role: self.name.clone(), valid_until: self.valid_until.clone() };
        self.connection.row(ask, host)
    }

    /// Whether the hash that the server keeps is one of the password, kept as wished.
    fn is_right(&self, password: &str, now: &str, host: &dyn Probe) -> Result<bool, Error> {
        if is_hash(password) {
            return Ok(password == now);
        }
        let kept = if now.starts_with("md5") { Kept::Md5 } else { Kept::Scram };
        if self.kept.is_some_and(|it| it != kept) {
            return Ok(false);
        }
        if kept == Kept::Scram {
            return Ok(scram::is_scram_of(now, password).unwrap_or(false));
        }
        let ask = Ask::Md5Password { role: self.name.clone(), password: password.to_owned() };
        let row = self.connection.row(ask, host)?;
        Ok(row.is_some_and(|it| it.get("same") == Some(&Value::Bool(true))))
    }

    fn compare_password(&self, now: Option<&Value>, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let wanted = match now {
            None => self.password.as_ref().or(self.default_password.as_ref()),
            Some(_) => self.password.as_ref(),
        };
        let Some(wanted) = wanted else { return Ok(()) };
        let hash = now.map(|it| text(it, "rolpassword"));
        if let Some(hash) = hash.as_ref().filter(|it| !it.is_empty())
            && self.is_right(&wanted.0, hash, host)?
        {
            return Ok(());
        }
        let mask = || Some(SECRET_MASK.to_owned());
        let from = hash.filter(|it| !it.is_empty()).and_then(|_| mask());
        plan.push(Change { what: "password".to_owned(), from, to: mask(), diff: None });
        Ok(())
    }

    /// The statements that bring `plan` about.
    fn sql(&self, plan: &Plan) -> Vec<String> {
        let role = pg_name(&self.name);
        let is_new = plan.touches("role");
        let mut options: Vec<String> = Vec::new();
        if is_new && !self.flags.iter().any(|it| it.param == "login") {
            options.push(if self.login { "LOGIN" } else { "NOLOGIN" }.to_owned());
        }
        for it in &self.flags {
            if is_new || plan.touches(it.param) {
                options.push(format!("{}{}", if it.on { "" } else { "NO" }, it.word));
            }
        }
        if plan.touches("valid_until") {
            options.extend(self.valid_until.as_ref().map(|it| format!("VALID UNTIL {}", pg_literal(it))));
        }
        let mut all = Vec::new();
        if plan.touches("password") {
            let password = self.password.as_ref().or(self.default_password.as_ref());
            options.extend(password.map(|it| format!("PASSWORD {}", pg_literal(&it.0))));
            // The password is in the next statement, which must not come into the server's log.
            for setting in [
                "log_statement = 'none'",
                "log_min_duration_statement = -1",
                "log_min_error_statement = 'panic'",
            ] {
                all.push(format!("SET {setting}"));
            }
            all.extend(self.kept.map(|it| {
                let value = if it == Kept::Md5 { "md5" } else { "scram-sha-256" };
                format!("SET password_encryption = '{value}'")
            }));
        }
        if is_new || !options.is_empty() {
            let verb = if is_new { "CREATE" } else { "ALTER" };
            all.push(format!("{verb} ROLE {role} {}", options.join(" ")).trim_end().to_owned());
        }
        for group in self.groups.iter().filter(|it| plan.touches(&format!("group {it}"))) {
            all.push(format!("GRANT {} TO {role}", pg_name(group)));
        }
        all
    }
}

/// A password that the server keeps as it is.
fn is_hash(password: &str) -> bool {
    let md5 = password.strip_prefix("md5");
    password.starts_with("SCRAM-SHA-256$")
        || md5.is_some_and(|it| it.len() == 32 && it.bytes().all(|it| it.is_ascii_hexdigit()))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = self.look(host)?;
        if now.is_none() {
            plan.differ("role", None, &self.name);
        }
        for it in &self.flags {
            let is = now.as_ref().and_then(|row| row.get(it.column)).and_then(Value::as_bool);
            plan.differ(it.param, is.as_ref(), &it.on);
        }
        if let Some(wanted) = &self.valid_until
            && now.as_ref().and_then(|it| it.get("until_is_right")) != Some(&Value::Bool(true))
        {
            let from = now.as_ref().map(|it| text(it, "until")).filter(|it| !it.is_empty());
            plan.push(Change { what: "valid_until".to_owned(), from, to: Some(wanted.clone()), diff: None });
        }
        let groups = now.as_ref().map(|it| texts(it, "groups")).unwrap_or_default();
        for group in self.groups.iter().filter(|it| !groups.contains(it)) {
            plan.differ(&format!("group {group}"), None, &"member".to_owned());
        }
        self.compare_password(now.as_ref(), host, &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.connection.execute(&self.sql(plan), &format!("alter role {}", self.name), host)?;
        Ok(Applied::default())
    }
}

fn absent(kind: &str, params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, ABSENT, params)?;
    let role = args.name();
    name("name", &role)?;
    Ok(Box::new(Gone {
        connection: Connection::new(&args)?,
        what: "role",
        sql: format!("DROP ROLE {}", pg_name(&role)),
        ask: Ask::Role { role: role.clone(), valid_until: None },
        name: role,
    }))
}

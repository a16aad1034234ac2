//! `mysql_database`: databases of `MySQL` and `MariaDB`.

use super::mysql::{Connection, DEFAULT_FILE, HOST, PASS, PORT, SOCKET, USER, name};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::query::mysql::Ask,
    sql::mysql_name,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "mysql_database",
    doc: Doc::new("Databases of MySQL and MariaDB."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A database exists, with this character set and collation as its defaults."),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud:\n  mysql_database.present:\n    - character_set: utf8mb4\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("A database does not exist: it is removed with all that is in it."),
            params: ABSENT,
            examples: Examples::new(&["test:\n  mysql_database.absent: []\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The database.");
const ABSENT: &[Param] = &[NAME, USER, PASS, HOST, PORT, SOCKET, DEFAULT_FILE];
const PRESENT: &[Param] = &[
    NAME,
    Param::of("character_set", ParamType::Text, "the server's", "Its default character set."),
    Param::of("collate", ParamType::Text, "the character set's", "Its default collation."),
    USER,
    PASS,
    HOST,
    PORT,
    SOCKET,
    DEFAULT_FILE,
];

/// Longest name of a database, in bytes.
const NAME_BYTES_MAX: usize = 256;

fn database(args: &Args<'_>) -> Result<String, ParamsError> {
    let text = args.name();
    name("name", &text, NAME_BYTES_MAX)?;
    if text.is_empty() {
        return Err(invalid("name", "`name` is empty"));
    }
    Ok(text)
}

#[derive(Debug)]
struct Present {
    connection: Connection,
    name: String,
    character_set: Option<String>,
    collate: Option<String>,
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mysql_database.present", PRESENT, params)?;
    let word = |param: &str| -> Result<Option<String>, ParamsError> {
        let text = args.text(param);
        if let Some(it) = &text {
            plain_word(param, it)?;
            if !it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
                return Err(invalid(param, format!("`{it}` is no `{param}`")));
            }
        }
        Ok(text)
    };
    Ok(Box::new(Present {
        connection: Connection::new(&args)?,
        name: database(&args)?,
        character_set: word("character_set")?,
        collate: word("collate")?,
    }))
}

/// `utf8` is the short name of `utf8mb3` in new versions.
fn same(is: &str, wanted: &str) -> bool {
    let whole = |it: &str| {
        let it = it.to_ascii_lowercase();
        match it.strip_prefix("utf8") {
            Some(rest) if rest.is_empty() || rest.starts_with('_') => format!("utf8mb3{rest}"),
            _ => it,
        }
    };
    whole(is) == whole(wanted)
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let row = self.connection.row(Ask::Database(self.name.clone()), host)?;
        let Some(row) = row else {
            plan.differ("database", None, &self.name);
            return Ok(plan);
        };
        let all =
            [("character_set", row.first(), &self.character_set), ("collate", row.get(1), &self.collate)];
        for (what, is, wanted) in all {
            let is = is.cloned().unwrap_or_default();
            if let Some(wanted) = wanted.as_ref().filter(|it| !same(&is, it)) {
                plan.differ(what, Some(&is), wanted);
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let verb = if plan.touches("database") { "CREATE" } else { "ALTER" };
        let set = self.character_set.as_ref().map(|it| format!(" CHARACTER SET {it}")).unwrap_or_default();
        let collate = self.collate.as_ref().map(|it| format!(" COLLATE {it}")).unwrap_or_default();
        let sql = format!("{verb} DATABASE {}{set}{collate}", mysql_name(&self.name));
        self.connection.execute(&[sql], &format!("alter database {}", self.name), host)?;
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent {
    connection: Connection,
    name: String,
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mysql_database.absent", ABSENT, params)?;
    Ok(Box::new(Absent { connection: Connection::new(&args)?, name: database(&args)? }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if self.connection.row(Ask::Database(self.name.clone()), host)?.is_some() {
            let (what, from) = ("database".to_owned(), Some(self.name.clone()));
            plan.push(Change { what, from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let sql = format!("DROP DATABASE {}", mysql_name(&self.name));
        self.connection.execute(&[sql], &format!("remove database {}", self.name), host)?;
        Ok(Applied::default())
    }
}

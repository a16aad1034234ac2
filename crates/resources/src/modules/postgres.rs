//! What the modules for `PostgreSQL` share: the parameters of the connection, questions, and statements.

use super::group::account_name;
use crate::{
    Error, Host, Param, ParamType, ParamsError, Probe,
    args::{Args, invalid},
    host::{
        Command, Query,
        query::postgres::{Ask, Question, Server},
    },
    tool,
};
use serde_json::{Map, Value};

/// Longest name that a server keeps whole.
const NAME_BYTES_MAX: usize = 63;

pub(super) const USER: Param = Param::of(
    "user",
    ParamType::Text,
    "postgres, if there is such an account",
    "The account on this machine that runs `psql`.",
);
pub(super) const MAINTENANCE_DB: Param =
    Param::of("maintenance_db", ParamType::Text, "postgres", "The database that is connected to.");
pub(super) const DB_USER: Param =
    Param::of("db_user", ParamType::Text, "the account's", "The role that connects. It must be a superuser.");
pub(super) const DB_PASSWORD: Param =
    Param::of("db_password", ParamType::Text, "none", "Its password; it belongs into a secret pillar.");
pub(super) const DB_HOST: Param = Param::of(
    "db_host",
    ParamType::Text,
    "the local socket",
    "The server's host, or the folder of its socket.",
);
pub(super) const DB_PORT: Param = Param::of("db_port", ParamType::Integer, "5432", "The server's port.");

/// A server, and the database that is connected to.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    server: Server,
    /// The account runs `psql` only if there is one of this name; one that was asked for must exist.
    is_default_account: bool,
    pub(super) database: String,
}

impl Connection {
    pub(super) fn new(args: &Args<'_>) -> Result<Self, ParamsError> {
        let account = args.text("user");
        account.iter().try_for_each(|it| account_name("user", it))?;
        let line = |param: &str| -> Result<Option<String>, ParamsError> {
            let text = args.text(param).filter(|it| !it.is_empty());
            if text.as_ref().is_some_and(|it| it.chars().any(char::is_control)) {
                return Err(invalid(param, format!("`{param}` must be one line")));
            }
            Ok(text)
        };
        let port = args.number("db_port").map(u16::try_from).transpose();
        let database = line("maintenance_db")?.unwrap_or_else(|| "postgres".to_owned());
        database_word("maintenance_db", &database)?;
        let user = line("db_user")?;
        user.iter().try_for_each(|it| name("db_user", it))?;
        Ok(Self {
            is_default_account: account.is_none(),
            server: Server {
                account: Some(account.unwrap_or_else(|| "postgres".to_owned())),
                user,
                host: line("db_host")?,
                port: port.map_err(|_| invalid("db_port", "`db_port` must be a port"))?,
                password: line("db_password")?,
            },
            database,
        })
    }

    /// Another database of the same server.
    pub(super) fn to(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    fn server(&self, host: &dyn Probe) -> Result<Server, Error> {
        let mut server = self.server.clone();
        if self.is_default_account
            && host.user("postgres").map_err(Error::host("look up user", "postgres"))?.is_none()
        {
            server.account = None;
        }
        Ok(server)
    }

    /// All rows of the answer.
    pub(super) fn rows(&self, ask: Ask, host: &dyn Probe) -> Result<Vec<Value>, Error> {
        let question = Question { server: self.server(host)?, database: self.database.clone(), ask };
        let answer = tool::answer(host, &Query::Postgres(question))?;
        let rows = answer.lines().filter(|it| !it.trim().is_empty()).map(serde_json::from_str);
        rows.collect::<Result<_, _>>().map_err(|error| {
            Error::Refused(format!("`psql` answered with something that is no JSON: {error}"))
        })
    }

    /// The only row.
    pub(super) fn row(&self, ask: Ask, host: &dyn Probe) -> Result<Option<Value>, Error> {
        Ok(self.rows(ask, host)?.into_iter().next())
    }

    /// Carries out statements, which may hold secrets: they come by standard input.
    pub(super) fn execute(&self, sql: &[String], what: &str, host: &mut dyn Host) -> Result<(), Error> {
        let text = sql.iter().fold(String::new(), |all, it| all + it + ";\n");
        let server = self.server(host)?;
        let psql = server.psql(&self.database, &["--file=-"]);
        let command = Command { stdin: Some(text), timeout_ms: tool::LONG_MS, ..psql };
        tool::run(host, command, what).map(drop)
    }
}

/// A name in a database: not empty, and not longer than a server keeps.
pub(super) fn name(param: &str, text: &str) -> Result<(), ParamsError> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(['\0', '\n']) {
        let message = format!("`{param}` must be one line of 1 to {NAME_BYTES_MAX} bytes");
        return Err(invalid(param, message));
    }
    Ok(())
}

/// The name of a database that is connected to: `psql` would take `a=b` and addresses for more than a name.
pub(super) fn database_word(param: &str, text: &str) -> Result<(), ParamsError> {
    name(param, text)?;
    if text.contains('=') || text.contains("://") {
        return Err(invalid(param, format!("`{text}` is no name of a database that can be connected to")));
    }
    Ok(())
}

/// The texts of a list in a row.
pub(super) fn texts(row: &Value, key: &str) -> Vec<String> {
    let items = row.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn text(row: &Value, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Lower case letters and digits of it: `UTF-8` and `utf8` are the same.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// A boolean parameter, if it is given.
pub(super) fn flag(args: &Args<'_>, param: &str) -> Option<bool> {
    args.has(param).then(|| args.bool(param, false))
}

/// The text parameter, checked to be a name.
pub(super) fn named(args: &Args<'_>, param: &str) -> Result<Option<String>, ParamsError> {
    let text = args.text(param);
    text.iter().try_for_each(|it| name(param, it))?;
    Ok(text)
}

/// A thing of a server that is there, or not.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) connection: Connection,
    /// `role`, `database`, ...
    pub(super) what: &'static str,
    pub(super) name: String,
    pub(super) ask: Ask,
    /// The statement that removes it.
    pub(super) sql: String,
}

impl crate::Resource for Gone {
    fn check(&self, host: &dyn Probe) -> Result<model::Plan, Error> {
        let mut plan = model::Plan::default();
        let row = self.connection.row(self.ask.clone(), host)?;
        // An extension that could be installed has a row as well.
        let is_there = row.is_some_and(|it| it.get("extversion").is_none_or(|version| !version.is_null()));
        if is_there {
            let (what, from) = (self.what.to_owned(), Some(self.name.clone()));
            plan.push(model::Change { what, from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &model::Plan, host: &mut dyn Host) -> Result<crate::Applied, Error> {
        let what = format!("remove {} {}", self.what, self.name);
        self.connection.execute(std::slice::from_ref(&self.sql), &what, host)?;
        Ok(crate::Applied::default())
    }
}

/// What `parse` functions take.
pub(super) type Params = Map<String, Value>;

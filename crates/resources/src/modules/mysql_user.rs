//! `mysql_user`: accounts of `MySQL` and `MariaDB`.

use super::mysql::{Connection, DEFAULT_FILE, HOST, PASS, PORT, SOCKET, USER, name};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::mysql::Ask,
    scram,
    sql::mysql_literal,
};
use model::{Change, Plan, SECRET_MASK};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "mysql_user",
    doc: Doc::new("Accounts of MySQL and MariaDB."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "An account exists, for a user that comes from a host, with this password. Whether the password is right \
                  is seen from the hash that the server keeps (`mysql_native_password`, `caching_sha2_password`), so that \
                  it is set only if it differs; it goes to the server by standard input.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud:\n  mysql_user.present:\n    - host: localhost\n    - password: '{{ pillar.db_password }}'\n",
                "backup:\n  mysql_user.present:\n    - unix_socket: true\n    - allow_passwordless: true\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("An account does not exist."),
            params: ABSENT,
            examples: Examples::new(&["old_app:\n  mysql_user.absent:\n    - host: '%'\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The user.");
const FROM: Param =
    Param::of("host", ParamType::Text, "localhost", "From where it comes; `%` is everywhere.");
const ABSENT: &[Param] = &[NAME, FROM, USER, PASS, HOST, PORT, SOCKET, DEFAULT_FILE];
const PRESENT: &[Param] = &[
    NAME,
    FROM,
    Param::of("password", ParamType::Text, "none", "Its password, in clear."),
    Param::of(
        "password_hash",
        ParamType::Text,
        "none",
        "Instead of it: the hash that the server keeps, as `*6C89...`.",
    ),
    Param::of("allow_passwordless", ParamType::Bool, "false", "An account without a password is meant."),
    Param::of(
        "unix_socket",
        ParamType::Bool,
        "false",
        "The account of that name on the server's machine needs no password.",
    ),
    Param::of(
        "auth_plugin",
        ParamType::Text,
        "mysql_native_password",
        "The plugin that `password_hash` belongs to.",
    ),
    USER,
    PASS,
    HOST,
    PORT,
    SOCKET,
    DEFAULT_FILE,
];

/// Longest name of a user and of a host, in bytes.
const USER_BYTES_MAX: usize = 320;
const HOST_BYTES_MAX: usize = 255;

/// User and host, checked.
pub(super) fn account(args: &Args<'_>, user: &str) -> Result<(String, String), ParamsError> {
    let (user_name, host) = (args.text(user).unwrap_or_default(), args.text("host"));
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    name(user, &user_name, USER_BYTES_MAX)?;
    name("host", &host, HOST_BYTES_MAX)?;
    Ok((user_name, host))
}

/// How an account proves itself. Does not print itself.
#[derive(Clone, PartialEq)]
enum Proof {
    Password(String),
    Hash { plugin: String, hash: String },
    Socket,
    Nothing,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) | Self::Hash { .. } => SECRET_MASK,
            Self::Socket => "socket",
            Self::Nothing => "nothing",
        })
    }
}

#[derive(Debug)]
struct Present {
    connection: Connection,
    user: String,
    host: String,
    proof: Proof,
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mysql_user.present", PRESENT, params)?;
    let (user, host) = account(&args, "name")?;
    let secret = |param: &str| -> Result<Option<String>, ParamsError> {
        let text = args.text(param).filter(|it| !it.is_empty());
        if text.as_ref().is_some_and(|it| it.contains(['\0', '\n'])) {
            return Err(invalid(param, format!("`{param}` must be one line")));
        }
        Ok(text)
    };
    let plugin = args.text("auth_plugin").unwrap_or_else(|| "mysql_native_password".to_owned());
    if plugin.is_empty() || !plugin.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
        return Err(invalid("auth_plugin", format!("`{plugin}` is no plugin")));
    }
    let proof = match (secret("password")?, secret("password_hash")?) {
        _ if args.bool("unix_socket", false) => Proof::Socket,
        (Some(_), Some(_)) => {
            return Err(invalid("password_hash", "`password` and `password_hash` exclude each other"));
        }
        (Some(password), None) => Proof::Password(password),
        (None, Some(hash)) => Proof::Hash { plugin, hash },
        (None, None) if args.bool("allow_passwordless", false) => Proof::Nothing,
        (None, None) => {
            let text = "`password` is missing: give it or `password_hash`, or `allow_passwordless: true`";
            return Err(invalid("password", text));
        }
    };
    Ok(Box::new(Present { connection: Connection::new(&args)?, user, host, proof }))
}

/// What the server says of an account.
struct Now {
    is_mariadb: bool,
    /// Plugin and hash; `None` if there is no such account.
    account: Option<(String, Vec<u8>)>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|it| u8::from_str_radix(it, 16).ok());
    digits.chunks_exact(2).filter_map(byte).collect()
}

fn look(connection: &Connection, user: &str, from: &str, host: &dyn Probe) -> Result<Now, Error> {
    let ask = Ask::Account { user: user.to_owned(), host: from.to_owned() };
    let row = connection.row(ask, host)?.unwrap_or_default();
    let field = |at: usize| row.get(at).map(String::as_str).unwrap_or_default();
    let account = (!matches!(field(1), "NULL" | "")).then(|| (field(1).to_owned(), bytes(field(2))));
    Ok(Now { is_mariadb: field(0).contains("MariaDB"), account })
}

impl Present {
    fn is_right(&self, plugin: &str, kept: &[u8], host: &dyn Probe) -> Result<bool, Error> {
        Ok(match &self.proof {
            Proof::Socket => matches!(plugin, "unix_socket" | "auth_socket"),
            Proof::Nothing => kept.is_empty() && !matches!(plugin, "unix_socket" | "auth_socket"),
            Proof::Hash { plugin: wanted, hash } => plugin == wanted && kept == hash.as_bytes(),
            Proof::Password(password) => match plugin {
                "mysql_native_password" => {
                    let row = self.connection.row(Ask::NativeHash(password.clone()), host)?;
                    row.and_then(|it| it.into_iter().next()).is_some_and(|it| it.as_bytes() == kept)
                }
                "caching_sha2_password" => scram::is_caching_sha2_of(kept, password).unwrap_or(false),
                _ => false,
            },
        })
    }

    fn sql(&self, is_new: bool, is_mariadb: bool) -> String {
        let verb = if is_new { "CREATE" } else { "ALTER" };
        let how = match &self.proof {
            Proof::Password(password) => format!("BY {}", mysql_literal(password)),
            Proof::Hash { plugin, hash } => format!("WITH {plugin} AS {}", mysql_literal(hash)),
            Proof::Socket if is_mariadb => "VIA unix_socket".to_owned(),
            Proof::Socket => "WITH auth_socket".to_owned(),
            Proof::Nothing => "BY ''".to_owned(),
        };
        let account = format!("{}@{}", mysql_literal(&self.user), mysql_literal(&self.host));
        format!("{verb} USER {account} IDENTIFIED {how}")
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some((plugin, kept)) = look(&self.connection, &self.user, &self.host, host)?.account else {
            plan.differ("user", None, &format!("{}@{}", self.user, self.host));
            return Ok(plan);
        };
        if !self.is_right(&plugin, &kept, host)? {
            let to = match self.proof {
                Proof::Password(_) | Proof::Hash { .. } => SECRET_MASK,
                Proof::Socket => "by the socket",
                Proof::Nothing => "none",
            };
            let from = Some(if kept.is_empty() { plugin } else { SECRET_MASK.to_owned() });
            plan.push(Change { what: "password".to_owned(), from, to: Some(to.to_owned()), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let is_mariadb = look(&self.connection, &self.user, &self.host, host)?.is_mariadb;
        let sql = self.sql(plan.touches("user"), is_mariadb);
        self.connection.execute(&[sql], &format!("alter user {}@{}", self.user, self.host), host)?;
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent {
    connection: Connection,
    user: String,
    host: String,
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("mysql_user.absent", ABSENT, params)?;
    let (user, host) = account(&args, "name")?;
    Ok(Box::new(Absent { connection: Connection::new(&args)?, user, host }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if look(&self.connection, &self.user, &self.host, host)?.account.is_some() {
            let (what, from) = ("user".to_owned(), Some(format!("{}@{}", self.user, self.host)));
            plan.push(Change { what, from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let sql = format!("DROP USER {}@{}", mysql_literal(&self.user), mysql_literal(&self.host));
        self.connection.execute(&[sql], &format!("remove user {}@{}", self.user, self.host), host)?;
        Ok(Applied::default())
    }
}

//! What is asked of a `PostgreSQL` server: `psql` answers, each row as JSON, in a transaction that cannot write.

use super::plain;
use crate::{
    host::Command,
    sql::{pg_literal as literal, pg_name as name},
};

/// A server, and who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The account on this machine that runs `psql`.
    pub account: Option<String>,
    /// Role, if it is not the account's.
    pub user: Option<String>,
    /// Host, or the folder of its socket.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// The role's password.
    pub password: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} as {:?} at {:?}:{:?}", self.account, self.user, self.host, self.port)
    }
}

/// A read-only question to one database of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The server.
    pub server: Server,
    /// The database.
    pub database: String,
    /// What is wanted.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// A role, and whether its validity ends at the given time.
    Role {
        /// Its name.
        role: String,
        /// A time as `PostgreSQL` reads it.
        valid_until: Option<String>,
    },
    /// Whether a role's password, hashed with MD5, is this one.
    Md5Password {
        /// The role.
        role: String,
        /// In clear.
        password: String,
    },
    /// A database.
    Database(String),
    /// An extension, and the version that would be installed.
    Extension(String),
    /// A schema.
    Schema(String),
    /// What a role may do with objects.
    Privileges {
        /// The role; `public` is all of them.
        role: String,
        /// The objects.
        of: Objects,
    },
    /// Whether a role is a member of a group, and may pass it on.
    Membership {
        /// The role.
        role: String,
        /// The group.
        group: String,
    },
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Role { .. } => "role",
            Self::Md5Password { .. } => "password",
            Self::Database(_) => "database",
            Self::Extension(_) => "extension",
            Self::Schema(_) => "schema",
            Self::Privileges { .. } => "privileges",
            Self::Membership { .. } => "membership",
        })
    }
}

/// Things that have privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// A table, a view, ...: schema and name, or all of the schema.
    Tables(String, Option<String>),
    /// A sequence, or all of the schema.
    Sequences(String, Option<String>),
    /// A function with the types of its arguments.
    Function(String, String),
    /// A schema.
    Schema(String),
    /// A database.
    Database(String),
    /// A tablespace.
    Tablespace(String),
    /// A language.
    Language(String),
}

impl Objects {
    /// Letter for `acldefault`, name, list, owner, and where they are.
    fn parts(&self) -> (char, &'static str, &'static str, &'static str, String) {
        let relation = |kinds: &str, schema: &str, one: &Option<String>| {
            let only = one.as_ref().map_or_else(String::new, |it| format!(" AND relname = {}", literal(it)));
            format!(
                "pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ({kinds}) AND nspname = {}{only}",
                literal(schema)
            )
        };
        let by = |table: &str, column: &str, it: &str| format!("{table} WHERE {column} = {}", literal(it));
        match self {
            Self::Tables(schema, one) => {
                let from = relation("'r', 'v', 'm', 'f', 'p'", schema, one);
                ('r', "relname", "relacl", "relowner", from)
            }
            Self::Sequences(schema, one) => {
                ('s', "relname", "relacl", "relowner", relation("'S'", schema, one))
            }
            Self::Function(schema, signature) => {
                let (function, types) = signature.split_once('(').unwrap_or((signature, ")"));
                let whole = format!("{}.{}({types}", name(schema), name(function.trim()));
                let from = format!("pg_proc WHERE pg_proc.oid = to_regprocedure({})", literal(&whole));
                ('f', "proname", "proacl", "proowner", from)
            }
            Self::Schema(it) => ('n', "nspname", "nspacl", "nspowner", by("pg_namespace", "nspname", it)),
            Self::Database(it) => ('d', "datname", "datacl", "datdba", by("pg_database", "datname", it)),
            Self::Tablespace(it) => {
                ('t', "spcname", "spcacl", "spcowner", by("pg_tablespace", "spcname", it))
            }
            Self::Language(it) => ('l', "lanname", "lanacl", "lanowner", by("pg_language", "lanname", it)),
        }
    }
}

impl Ask {
    /// One statement; each row is one JSON object.
    fn sql(&self) -> String {
        let rows = match self {
            Self::Role { role, valid_until } => {
                let until = valid_until.as_ref().map_or_else(
                    || "true".to_owned(),
                    |it| format!("coalesce(rolvaliduntil = {}::timestamptz, false)", literal(it)),
                );
                format!(
                    "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
                     rolvaliduntil::text AS until, {until} AS until_is_right, rolpassword, ARRAY(SELECT g.rolname FROM \
                     pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid ORDER BY 1) AS groups \
                     FROM pg_authid a WHERE rolname = {}",
                    literal(role)
                )
            }
            Self::Md5Password { role, password } => format!(
                "SELECT rolpassword = 'md5' || md5({} || rolname) AS same FROM pg_authid WHERE rolname = {}",
                literal(password),
                literal(role)
            ),
            Self::Database(database) => format!(
                "SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datcollate, datctype, \
                 spcname AS tablespace FROM pg_database JOIN pg_tablespace s ON s.oid = dattablespace WHERE datname = {}",
                literal(database)
            ),
            Self::Extension(extension) => format!(
                "SELECT a.default_version, e.extversion, n.nspname AS schema FROM pg_available_extensions a LEFT JOIN \
                 pg_extension e ON e.extname = a.name LEFT JOIN pg_namespace n ON n.oid = e.extnamespace WHERE a.name = {}",
                literal(extension)
            ),
            Self::Schema(schema) => format!(
                "SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = {}",
                literal(schema)
            ),
            Self::Privileges { role, of } => privileges(role, of),
            Self::Membership { role, group } => format!(
                "SELECT admin_option FROM pg_auth_members m JOIN pg_roles g ON g.oid = roleid JOIN pg_roles r ON r.oid = \
                 member WHERE g.rolname = {} AND r.rolname = {}",
                literal(group),
                literal(role)
            ),
        };
        format!("SELECT row_to_json(t) FROM ({rows}) t")
    }
}

fn privileges(role: &str, of: &Objects) -> String {
    let grantee = if role.eq_ignore_ascii_case("public") {
        "0".to_owned()
    } else {
        format!("(SELECT oid FROM pg_roles WHERE rolname = {})", literal(role))
    };
    let (kind, name, acl, owner, from) = of.parts();
    format!(
        "SELECT o.name, ARRAY(SELECT privilege_type FROM aclexplode(o.acl) WHERE grantee = {grantee} ORDER BY 1) AS held, \
         ARRAY(SELECT privilege_type FROM aclexplode(o.acl) WHERE grantee = {grantee} AND is_grantable ORDER BY 1) AS \
         grantable, ARRAY(SELECT privilege_type FROM aclexplode(acldefault('{kind}', o.owner)) WHERE grantee = o.owner \
         ORDER BY 1) AS every FROM (SELECT {name} AS name, {owner} AS owner, coalesce({acl}, acldefault('{kind}', {owner})) \
         AS acl FROM {from}) o ORDER BY 1"
    )
}

impl Server {
    /// `psql` for a database: it reads statements from standard input unless words say otherwise.
    pub fn psql(&self, database: &str, words: &[&str]) -> Command {
        let fixed = ["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"];
        let more = ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"];
        let mut command = plain(&[&["psql"][..], &fixed, &more].concat());
        let options = [
            ("--host", self.host.clone()),
            ("--port", self.port.map(|it| it.to_string())),
            ("--username", self.user.clone()),
            ("--dbname", Some(database.to_owned())),
        ];
        for (option, value) in options {
            command.argv.extend(value.map(|it| format!("{option}={it}")));
        }
        command.argv.extend(words.iter().map(|it| (*it).to_owned()));
        command.env.extend(self.password.clone().map(|it| ("PGPASSWORD".to_owned(), it)));
        command.user.clone_from(&self.account);
        command
    }
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let sql = self.ask.sql();
        let read_only = ("PGOPTIONS".to_owned(), "-c default_transaction_read_only=on".to_owned());
        let mut command = if matches!(self.ask, Ask::Md5Password { .. }) {
            let stdin = Some(sql + ";\n");
            Command { stdin, ..self.server.psql(&self.database, &["--file=-"]) }
        } else {
            self.server.psql(&self.database, &[&format!("--command={sql}")])
        };
        command.env.push(read_only);
        command
    }
}

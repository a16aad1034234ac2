//! What is asked of a `MySQL` or `MariaDB` server: its client answers, fields apart by tabs.

use super::plain;
use crate::{host::Command, sql::mysql_literal as literal};

/// A server, and who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The client: `mysql` or `mariadb`.
    pub program: String,
    /// A file with options, instead of the client's own.
    pub default_file: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Account of the server.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Socket.
    pub socket: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}:{:?} {:?}", self.user, self.host, self.port, self.socket)
    }
}

/// A read-only question to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The server.
    pub server: Server,
    /// What is wanted.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Version of the server; plugin and hash (in hexadecimal) of an account, `NULL` if there is none.
    Account {
        /// Its name.
        user: String,
        /// From where it comes.
        host: String,
    },
    /// The hash that the plugin `mysql_native_password` keeps of a password.
    NativeHash(String),
    /// An account's grants, one line each.
    Grants {
        /// Its name.
        user: String,
        /// From where it comes.
        host: String,
    },
    /// A database's character set and collation.
    Database(String),
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account { .. } => "account",
            Self::NativeHash(_) => "password",
            Self::Grants { .. } => "grants",
            Self::Database(_) => "database",
        })
    }
}

impl Ask {
    fn sql(&self) -> String {
        match self {
            Self::Account { user, host } => format!(
                "SELECT VERSION(), u.plugin, HEX(u.authentication_string) FROM (SELECT 1) AS one LEFT JOIN mysql.user AS u ON \
                 u.User = {} AND u.Host = {}",
                literal(user),
                literal(host)
            ),
            Self::NativeHash(password) => {
                format!("SELECT CONCAT('*', UPPER(SHA1(UNHEX(SHA1({})))))", literal(password))
            }
            Self::Grants { user, host } => format!("SHOW GRANTS FOR {}@{}", literal(user), literal(host)),
            Self::Database(name) => format!(
                "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE \
                 SCHEMA_NAME = {}",
                literal(name)
            ),
        }
    }
}

impl Server {
    /// The client: it reads statements from standard input unless words say otherwise.
    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = plain(&[&self.program]);
        command.argv.extend(self.default_file.as_ref().map(|it| format!("--defaults-file={it}")));
        let fixed = ["--batch", "--skip-column-names", "--raw", "--default-character-set=utf8mb4"];
        command.argv.extend(fixed.map(str::to_owned));
        if self.program == "mariadb" {
            // Without it, the client prints a statement that failed, with the passwords in it.
            command.argv.push("--loose-skip-print-query-on-error".to_owned());
        }
        // The meaning of quotes and backslashes does not depend on the server's settings.
        command.argv.push("--init-command=SET SESSION sql_mode=''".to_owned());
        let options = [
            ("--host", self.host.clone()),
            ("--port", self.port.map(|it| it.to_string())),
            ("--socket", self.socket.clone()),
            ("--user", self.user.clone()),
        ];
        for (option, value) in options {
            command.argv.extend(value.map(|it| format!("{option}={it}")));
        }
        command.argv.extend(words.iter().map(|it| (*it).to_owned()));
        command.env.extend(self.password.clone().map(|it| ("MYSQL_PWD".to_owned(), it)));
        command
    }
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let sql = self.ask.sql();
        if matches!(self.ask, Ask::NativeHash(_)) {
            return Command { stdin: Some(sql + ";\n"), ..self.server.client(&[]) };
        }
        self.server.client(&[&format!("--execute={sql}")])
    }
}

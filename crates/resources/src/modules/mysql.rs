//! What the modules for `MySQL` and `MariaDB` share: the parameters of the connection, questions, and statements.

use crate::{
    Collected, Error, Host, Param, ParamType, ParamsError, Probe,
    args::{Args, invalid},
    host::{
        Action, Command, Done, Links, Query,
        query::mysql::{Ask, Question, Server},
    },
    tool,
};
use model::Output;
use std::path::Path;

pub(super) const HOST: Param =
    Param::of("connection_host", ParamType::Text, "the local socket", "The server's host.");
pub(super) const PORT: Param = Param::of("connection_port", ParamType::Integer, "3306", "Its port.");
pub(super) const USER: Param = Param::of(
    "connection_user",
    ParamType::Text,
    "root, by the socket",
    "The account that connects. It must be allowed to manage accounts.",
);
pub(super) const PASS: Param =
    Param::of("connection_pass", ParamType::Text, "none", "Its password; it belongs into a secret pillar.");
pub(super) const SOCKET: Param =
    Param::of("connection_unix_socket", ParamType::Path, "the client's", "The server's socket.");
pub(super) const DEFAULT_FILE: Param = Param::of(
    "connection_default_file",
    ParamType::Path,
    "the client's",
    "A file with the client's options.",
);

/// A server and who connects.
#[derive(Clone, Debug)]
pub(super) struct Connection(Server);

impl Connection {
    pub(super) fn new(args: &Args<'_>) -> Result<Self, ParamsError> {
        let line = |param: &str| -> Result<Option<String>, ParamsError> {
            let text = args.text(param).filter(|it| !it.is_empty());
            if text.as_ref().is_some_and(|it| it.chars().any(char::is_control)) {
                return Err(invalid(param, format!("`{param}` must be one line")));
            }
            Ok(text)
        };
        let path = |param: &str| args.path(param).map(|it| it.display().to_string());
        let port = args.number("connection_port").map(u16::try_from).transpose();
        Ok(Self(Server {
            program: String::new(),
            default_file: path("connection_default_file"),
            host: line("connection_host")?,
            port: port.map_err(|_| invalid("connection_port", "`connection_port` must be a port"))?,
            user: line("connection_user")?,
            password: line("connection_pass")?,
            socket: path("connection_unix_socket"),
        }))
    }

    /// New versions of `MariaDB` bring its client under its own name only.
    fn server(&self, host: &dyn Probe) -> Result<Server, Error> {
        let own = Path::new("/usr/bin/mariadb");
        let found = host.stat(own, Links::Follow).map_err(Error::host("look at", own.display()))?;
        let program = if found.is_some() { "mariadb" } else { "mysql" };
        Ok(Server { program: program.to_owned(), ..self.0.clone() })
    }

    pub(super) fn query(&self, ask: Ask, host: &dyn Probe) -> Result<Query, Error> {
        Ok(Query::Mysql(Question { server: self.server(host)?, ask }))
    }

    /// The fields of the only row.
    pub(super) fn row(&self, ask: Ask, host: &dyn Probe) -> Result<Option<Vec<String>>, Error> {
        let query = self.query(ask, host)?;
        let output = tool::ask(host, &query)?;
        if output.code != Some(0) {
            return Err(tool::refusal(&query, without_statement(output)));
        }
        Ok(output.stdout.lines().next().map(|it| it.split('\t').map(str::to_owned).collect()))
    }

    /// Carries out statements, which may hold secrets: they come by standard input.
    pub(super) fn execute(&self, sql: &[String], what: &str, host: &mut dyn Host) -> Result<(), Error> {
        let text = sql.iter().fold(String::new(), |all, it| all + it + ";\n");
        let client = self.server(host)?.client(&[]);
        let command = Command { stdin: Some(text), timeout_ms: tool::SHORT_MS, ..client };
        let program = command.argv.first().cloned().unwrap_or_default();
        let done = host.perform(&Action::Run(command)).map_err(Error::host("run", program))?;
        Done { output: without_statement(done.output), ..done }.success(what).map(drop)
    }
    /// Carries out a file of statements in a database: what they answer, which is told meanwhile unless it is hidden.
    pub(super) fn carry_out(
        &self,
        database: &str,
        file: &Path,
        hidden: bool,
        host: &mut dyn Host,
    ) -> Result<Output, Error> {
        let client = self.server(host)?.client(&[&format!("--database={database}")]);
        // Fixed words; the file and the client's are its arguments.
        let script = r#"exec "$@" < "$0""#;
        let before = ["/bin/sh", "-c", script].map(str::to_owned).into_iter();
        let argv = before.chain([file.display().to_string()]).chain(client.argv.clone()).collect();
        let command = Command { argv, timeout_ms: tool::LONG_MS, ..client };
        let action = Action::Run(command);
        let done = if hidden {
            let mut unseen = Collected::default();
            let exit = host.act(&action, &mut unseen).map_err(Error::host("run", "/bin/sh"))?;
            Done { output: unseen.into_output(exit), exit }
        } else {
            host.perform(&action).map_err(Error::host("run", "/bin/sh"))?
        };
        let what = format!("statements in {database}");
        Done { output: without_statement(done.output), ..done }.success(&what)
    }
}

/// The client of `MariaDB` prints the statement that failed, which may hold a password: only the server's answer stays.
fn without_statement(mut output: Output) -> Output {
    let line = "--------------\n";
    if output.stderr.contains(line) {
        let said = output.stderr.rsplit_once(&format!("{line}\nERROR "));
        output.stderr = said.map_or_else(String::new, |(_, said)| format!("ERROR {said}"));
    }
    output
}

/// A name of an account, host or database.
pub(super) fn name(param: &str, text: &str, bytes_max: usize) -> Result<(), ParamsError> {
    if text.len() > bytes_max || text.contains(['\0', '\n', '\t']) {
        return Err(invalid(param, format!("`{param}` must be one line of at most {bytes_max} bytes")));
    }
    Ok(())
}

/// The first line of an error of the server with this number: `ERROR 1141 (42000)...`.
pub(super) fn is_error(stderr: &str, number: u32) -> bool {
    stderr.contains(&format!("ERROR {number} "))
}

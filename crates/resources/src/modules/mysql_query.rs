//! `mysql_query`: statements for servers of `MySQL` and `MariaDB`.

use super::mysql::{Connection, DEFAULT_FILE, HOST, PASS, PORT, SOCKET, USER, name};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled},
    diff::hash_of,
    host::{Attributes, Contents, Links, OUTPUT_BYTES_MAX, query::mysql::Ask},
    remote::{Remote, private_folder},
};
use model::{Change, ContentHash, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Where files of statements are while they run.
const FOLDER: &str = "/var/cache/labctl/queries";

/// Longest name of a database, in bytes.
const NAME_BYTES_MAX: usize = 256;

pub(crate) const MODULE: Module = Module {
    name: "mysql_query",
    doc: Doc::new("Statements for servers of MySQL and MariaDB."),
    functions: &[
        Function {
            name: "run",
            doc: Doc::new(
                "Statements are carried out in a database, each time: `onchanges`, `unless` or an `output` that is not to \
                  be overwritten keep them from it.",
            ),
            params: RUN,
            examples: Examples::new(&[
                "forget old sessions:\n  mysql_query.run:\n    - database: app\n    - query: DELETE FROM sessions WHERE \
                 ended < NOW() - INTERVAL 30 DAY\n",
            ]),
            parse: |params| parse("mysql_query.run", RUN, params),
        },
        Function {
            name: "run_file",
            doc: Doc::new(
                "A file of statements is carried out in a database, each time: what counts for `mysql_query.run` counts \
                  here.",
            ),
            params: RUN_FILE,
            examples: Examples::new(&[
                "schema:\n  mysql_query.run_file:\n    - database: app\n    - query_file: /srv/app/schema.sql\n    - \
                 onchanges:\n      - mysql_database: app\napp:\n  mysql_database.present: []\n",
            ]),
            parse: |params| parse("mysql_query.run_file", RUN_FILE, params),
        },
    ],
};

const NAME: Param = Param::name("What it is for; nothing is done with it.");
const DATABASE: Param = Param::of("database", ParamType::Text, "", "The database; it must exist.").required();
const OUTPUT: Param = Param::of(
    "output",
    ParamType::Path,
    "the report",
    "A file of mode 0600 for what the statements answer: a line for each row, its fields apart by tabs.",
);
const OVERWRITE: Param = Param::of(
    "overwrite",
    ParamType::Bool,
    "true",
    "With false nothing is done if the file `output` is there.",
);
const CHECK: Param = Param::of(
    "check_db_exists",
    ParamType::Bool,
    "true",
    "The database is looked for before, so that its absence is named.",
);
const RUN: &[Param] = &[
    NAME,
    DATABASE,
    Param::of("query", ParamType::Text, "", "The statements, apart by `;`.").required(),
    OUTPUT,
    OVERWRITE,
    CHECK,
    USER,
    PASS,
    HOST,
    PORT,
    SOCKET,
    DEFAULT_FILE,
];
const RUN_FILE: &[Param] = &[
    NAME,
    DATABASE,
    Param::of(
        "query_file",
        ParamType::Source,
        "the name",
        "The file: one of the tree, or one that the minion has or fetches.",
    ),
    Param::of(
        "source_hash",
        ParamType::Text,
        "",
        "The digest of a file that is fetched, as with `file.managed`.",
    ),
    Param::of("source_hash_name", ParamType::Text, "", "The name that a list of digests has it under."),
    Param::of(
        "verify_ssl",
        ParamType::Bool,
        "true",
        "With false a server's certificate may be any; this needs `source_hash`.",
    ),
    OUTPUT,
    OVERWRITE,
    CHECK,
    USER,
    PASS,
    HOST,
    PORT,
    SOCKET,
    DEFAULT_FILE,
];

/// What is carried out.
#[derive(Debug)]
enum Statements {
    Text(String),
    Blob(ContentHash),
    Remote(Remote),
    Path(PathBuf),
    /// The compiler has not replaced it.
    Open,
}

#[derive(Debug)]
struct Run {
    connection: Connection,
    name: String,
    database: String,
    statements: Statements,
    output: Option<PathBuf>,
    overwrite: bool,
    look: bool,
}

fn parse(
    kind: &str,
    known: &'static [Param],
    params: &Map<String, Value>,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, known, params)?;
    let database = args.text("database").unwrap_or_default();
    name("database", &database, NAME_BYTES_MAX)?;
    if database.is_empty() {
        return Err(invalid("database", "`database` is empty"));
    }
    let own = args.name();
    let statements = if known.iter().any(|it| it.name == "query") {
        let text = args.text("query").unwrap_or_default();
        if text.trim().is_empty() {
            return Err(invalid("query", "there is no statement in `query`"));
        }
        Statements::Text(text)
    } else {
        match (args.hash("content_hash")?, Remote::parse(&args, Path::new("/"))?) {
            (Some(hash), _) => Statements::Blob(hash),
            (None, Some(remote)) => Statements::Remote(remote),
            (None, None) if !args.has("query_file") && own.starts_with('/') => {
                Statements::Path(crate::args::plain_path(&own))
            }
            (None, None) if !args.has("query_file") => {
                return Err(invalid("query_file", "`query_file` is missing, and the name is no path"));
            }
            (None, None) => Statements::Open,
        }
    };
    Ok(Box::new(Run {
        connection: Connection::new(&args)?,
        name: own,
        database,
        statements,
        output: args.path("output"),
        overwrite: args.bool("overwrite", true),
        look: args.bool("check_db_exists", true),
    }))
}

impl Run {
    /// The statements as a file that only root can read, and whether it is to go afterwards.
    fn place(&self, host: &mut dyn Host) -> Result<(PathBuf, bool), Error> {
        let obtained;
        let (contents, id) = match &self.statements {
            Statements::Open => return Err(not_compiled("query_file")),
            Statements::Path(path) => return Ok((path.clone(), false)),
            Statements::Text(text) => (Contents::Bytes(text.as_bytes()), text.clone()),
            Statements::Blob(hash) => (Contents::Blob(*hash), hash.to_string()),
            Statements::Remote(remote) => {
                obtained = remote.obtain(host)?;
                (Contents::File(&obtained), String::new())
            }
        };
        private_folder(host, FOLDER)?;
        let whole = format!("{}\n{}\n{id}", self.name, self.database);
        let place = Path::new(FOLDER).join(&hash_of(whole.as_bytes()).to_string()[..32]);
        let how = Attributes { mode: Some(0o600), ..Attributes::default() };
        host.write(&place, contents, how, Links::Keep).map_err(Error::host("write", place.display()))?;
        if let Statements::Remote(remote) = &self.statements {
            let verified = remote.verify(host, &place);
            remote.done(host)?;
            if let Err(error) = verified {
                host.remove(&place).map_err(Error::host("remove", place.display()))?;
                return Err(error);
            }
        }
        Ok((place, true))
    }
}

impl Resource for Run {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        if let Statements::Open = self.statements {
            return Err(not_compiled("query_file"));
        }
        let mut plan = Plan::default();
        if let Some(output) = self.output.as_ref().filter(|_| !self.overwrite)
            && host.stat(output, Links::Follow).map_err(Error::host("look at", output.display()))?.is_some()
        {
            return Ok(plan);
        }
        let to = Some(format!("carried out in {}", self.database));
        plan.push(Change { what: "query".to_owned(), from: None, to, diff: None });
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if self.look && self.connection.row(Ask::Database(self.database.clone()), host)?.is_none() {
            return Err(Error::Refused(format!("there is no database `{}`", self.database)));
        }
        let (place, passing) = self.place(host)?;
        let done = self.connection.carry_out(&self.database, &place, self.output.is_some(), host);
        if passing {
            host.remove(&place).map_err(Error::host("remove", place.display()))?;
        }
        let said = done?;
        let Some(output) = &self.output else { return Ok(Applied::with(said)) };
        if said.dropped > 0 {
            return Err(Error::Refused(format!(
                "the statements were carried out, but their answer is longer than {} KiB: nothing of it was written to {}",
                OUTPUT_BYTES_MAX >> 10,
                output.display()
            )));
        }
        let how = Attributes { mode: Some(0o600), ..Attributes::default() };
        host.write(output, Contents::Bytes(said.stdout.as_bytes()), how, Links::Follow)
            .map_err(Error::host("write", output.display()))?;
        Ok(Applied::saying(format!("the answer is in {}", output.display())))
    }

    fn converges(&self) -> bool {
        false
    }
}

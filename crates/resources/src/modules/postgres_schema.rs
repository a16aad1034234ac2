//! `postgres_schema`: schemas of `PostgreSQL`.

use super::postgres::{
    Connection, DB_HOST, DB_PASSWORD, DB_PORT, DB_USER, Gone, Params, USER, database_word, name, named, text,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::Args, host::query::postgres::Ask, sql::pg_name,
};
use model::Plan;

pub(crate) const MODULE: Module = Module {
    name: "postgres_schema",
    doc: Doc::new("Schemas in databases of PostgreSQL."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A schema exists in a database, with this owner."),
            params: PRESENT,
            examples: Examples::new(&[
                "app:\n  postgres_schema.present:\n    - dbname: nextcloud\n    - owner: nextcloud\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A schema does not exist in a database. The server refuses to remove one that has something in it.",
            ),
            params: ABSENT,
            examples: Examples::new(&["app:\n  postgres_schema.absent:\n    - dbname: nextcloud\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The schema.");
const DBNAME: Param = Param::of("dbname", ParamType::Text, "", "The database.").required();
const ABSENT: &[Param] = &[NAME, DBNAME, USER, DB_USER, DB_PASSWORD, DB_HOST, DB_PORT];
const PRESENT: &[Param] = &[
    NAME,
    DBNAME,
    Param::of("owner", ParamType::Text, "as it is", "The role that owns it."),
    USER,
    DB_USER,
    DB_PASSWORD,
    DB_HOST,
    DB_PORT,
];

#[derive(Debug)]
struct Present {
    connection: Connection,
    name: String,
    owner: Option<String>,
}

/// The connection to the database that the schema is in.
fn connection(args: &Args<'_>) -> Result<Connection, ParamsError> {
    name("name", &args.name())?;
    let database = args.text("dbname").unwrap_or_default();
    database_word("dbname", &database)?;
    Ok(Connection::new(args)?.to(&database))
}

fn present(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_schema.present", PRESENT, params)?;
    let owner = named(&args, "owner")?;
    Ok(Box::new(Present { connection: connection(&args)?, name: args.name(), owner }))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = self.connection.row(Ask::Schema(self.name.clone()), host)?;
        if now.is_none() {
            plan.differ("schema", None, &self.name);
        }
        if let Some(wanted) = &self.owner {
            plan.differ("owner", now.map(|it| text(&it, "owner")).as_ref(), wanted);
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let schema = pg_name(&self.name);
        let owner = self.owner.as_ref().map(|it| pg_name(it)).unwrap_or_default();
        let sql = match (plan.touches("schema"), self.owner.is_some()) {
            (true, true) => format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}"),
            (true, false) => format!("CREATE SCHEMA {schema}"),
            (false, _) => format!("ALTER SCHEMA {schema} OWNER TO {owner}"),
        };
        self.connection.execute(&[sql], &format!("alter schema {}", self.name), host)?;
        Ok(Applied::default())
    }
}

fn absent(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_schema.absent", ABSENT, params)?;
    let schema = args.name();
    Ok(Box::new(Gone {
        connection: connection(&args)?,
        what: "schema",
        sql: format!("DROP SCHEMA {}", pg_name(&schema)),
        ask: Ask::Schema(schema.clone()),
        name: schema,
    }))
}

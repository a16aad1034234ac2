//! `postgres_extension`: extensions of `PostgreSQL`.

use super::postgres::{
    Connection, DB_HOST, DB_PASSWORD, DB_PORT, DB_USER, Gone, MAINTENANCE_DB, Params, USER, name, named, text,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::Args,
    host::query::postgres::Ask,
    sql::{pg_literal, pg_name},
};
use model::Plan;

pub(crate) const MODULE: Module = Module {
    name: "postgres_extension",
    doc: Doc::new("Extensions in databases of PostgreSQL."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "An extension is installed in a database (`maintenance_db`). Its package must be installed on the server.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "pg_trgm:\n  postgres_extension.present:\n    - maintenance_db: nextcloud\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("An extension is not installed in a database."),
            params: ABSENT,
            examples: Examples::new(&[
                "pg_trgm:\n  postgres_extension.absent:\n    - maintenance_db: nextcloud\n",
            ]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The extension.");
const PRESENT: &[Param] = &[
    NAME,
    Param::of("ext_version", ParamType::Text, "the newest when it is installed", "Its version."),
    Param::of("schema", ParamType::Text, "as it is", "The schema that its objects are in."),
    Param::of(
        "if_not_exists",
        ParamType::Bool,
        "true",
        "Has no effect: one that exists is not installed again.",
    ),
    USER,
    MAINTENANCE_DB,
    DB_USER,
    DB_PASSWORD,
    DB_HOST,
    DB_PORT,
];
const ABSENT: &[Param] = &[
    NAME,
    Param::of("cascade", ParamType::Bool, "false", "Removes what depends on it as well."),
    Param::of(
        "restrict",
        ParamType::Bool,
        "true",
        "Fails where something depends on it: the server's own way.",
    ),
    Param::of("if_exists", ParamType::Bool, "true", "Has no effect: one that does not exist is not removed."),
    USER,
    MAINTENANCE_DB,
    DB_USER,
    DB_PASSWORD,
    DB_HOST,
    DB_PORT,
];

#[derive(Debug)]
struct Present {
    connection: Connection,
    name: String,
    version: Option<String>,
    schema: Option<String>,
}

fn present(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_extension.present", PRESENT, params)?;
    let extension = args.name();
    name("name", &extension)?;
    Ok(Box::new(Present {
        connection: Connection::new(&args)?,
        name: extension,
        version: named(&args, "ext_version")?,
        schema: named(&args, "schema")?,
    }))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(row) = self.connection.row(Ask::Extension(self.name.clone()), host)? else {
            let text = "; the package that brings it must be installed first";
            return Err(Error::Refused(format!("the server knows no extension `{}`{text}", self.name)));
        };
        let version = Some(text(&row, "extversion")).filter(|it| !it.is_empty());
        if version.is_none() {
            let newest = text(&row, "default_version");
            plan.differ("extension", None, self.version.as_ref().unwrap_or(&newest));
            return Ok(plan);
        }
        if let Some(wanted) = &self.version {
            plan.differ("version", version.as_ref(), wanted);
        }
        if let Some(wanted) = &self.schema {
            plan.differ("schema", Some(&text(&row, "schema")), wanted);
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let extension = pg_name(&self.name);
        let mut sql = Vec::new();
        if plan.touches("extension") {
            let schema = self.schema.as_ref().map(|it| format!(" SCHEMA {}", pg_name(it)));
            let version = self.version.as_ref().map(|it| format!(" VERSION {}", pg_literal(it)));
            let (schema, version) = (schema.unwrap_or_default(), version.unwrap_or_default());
            sql.push(format!("CREATE EXTENSION {extension}{schema}{version}"));
        }
        if let Some(it) = self.version.as_ref().filter(|_| plan.touches("version")) {
            sql.push(format!("ALTER EXTENSION {extension} UPDATE TO {}", pg_literal(it)));
        }
        if let Some(it) = self.schema.as_ref().filter(|_| plan.touches("schema")) {
            sql.push(format!("ALTER EXTENSION {extension} SET SCHEMA {}", pg_name(it)));
        }
        self.connection.execute(&sql, &format!("alter extension {}", self.name), host)?;
        Ok(Applied::default())
    }
}

fn absent(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_extension.absent", ABSENT, params)?;
    let extension = args.name();
    name("name", &extension)?;
    let cascade = if args.bool("cascade", false) { " CASCADE" } else { "" };
    Ok(Box::new(Gone {
        connection: Connection::new(&args)?,
        what: "extension",
        sql: format!("DROP EXTENSION {}{cascade}", pg_name(&extension)),
        ask: Ask::Extension(extension.clone()),
        name: extension,
    }))
}

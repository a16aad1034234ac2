//! `postgres_database`: databases of a `PostgreSQL` server.

use super::postgres::{
    Connection, DB_HOST, DB_PASSWORD, DB_PORT, DB_USER, Gone, MAINTENANCE_DB, Params, USER, name, named,
    plain, text,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::Args,
    host::query::postgres::Ask,
    sql::{pg_literal, pg_name},
};
use model::Plan;
use serde_json::Value;

pub(crate) const MODULE: Module = Module {
    name: "postgres_database",
    doc: Doc::new("Databases of PostgreSQL."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A database exists, with this owner and tablespace. Encoding and locale belong to a database from its \
                  beginning: where they differ the step fails.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud:\n  postgres_database.present:\n    - owner: nextcloud\n    - encoding: UTF8\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A database does not exist. The server refuses to remove one that somebody is connected to.",
            ),
            params: ABSENT,
            examples: Examples::new(&["old_app:\n  postgres_database.absent: []\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The database.");
const ABSENT: &[Param] = &[NAME, USER, MAINTENANCE_DB, DB_USER, DB_PASSWORD, DB_HOST, DB_PORT];
const PRESENT: &[Param] = &[
    NAME,
    Param::of("owner", ParamType::Text, "as it is", "The role that owns it."),
    Param::of(
        "owner_recurse",
        ParamType::Bool,
        "false",
        "When the owner changes: the new one gets the schemas, tables, views, sequences, functions and types that the old \
         one has in it, too. What the old one has elsewhere stays.",
    ),
    Param::of("tablespace", ParamType::Text, "as it is", "Where its files are."),
    Param::of("encoding", ParamType::Text, "the template's", "Its encoding, such as `UTF8`."),
    Param::of("lc_collate", ParamType::Text, "the template's", "How texts are sorted."),
    Param::of("lc_ctype", ParamType::Text, "the template's", "Which letters there are."),
    Param::of("template", ParamType::Text, "template1", "The database that a new one is a copy of."),
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
    owner: Option<String>,
    owner_recurse: bool,
    tablespace: Option<String>,
    encoding: Option<String>,
    lc_collate: Option<String>,
    lc_ctype: Option<String>,
    template: Option<String>,
}

fn present(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_database.present", PRESENT, params)?;
    let database = args.name();
    name("name", &database)?;
    let owner_recurse = args.bool("owner_recurse", false);
    if owner_recurse {
        super::postgres::database_word("name", &database)?;
    }
    let word = |param: &str| named(&args, param);
    Ok(Box::new(Present {
        connection: Connection::new(&args)?,
        name: database,
        owner: word("owner")?,
        owner_recurse,
        tablespace: word("tablespace")?,
        encoding: word("encoding")?,
        lc_collate: word("lc_collate")?,
        lc_ctype: word("lc_ctype")?,
        template: word("template")?,
    }))
}

impl Present {
    fn look(&self, host: &dyn Probe) -> Result<Option<Value>, Error> {
        self.connection.row(Ask::Database(self.name.clone()), host)
    }

    /// What cannot be altered any more.
    fn compare_fixed(&self, now: &Value) -> Result<(), Error> {
        let all = [
            ("encoding", "encoding", &self.encoding),
            ("lc_collate", "datcollate", &self.lc_collate),
            ("lc_ctype", "datctype", &self.lc_ctype),
        ];
        let differ = |(param, key, wanted): (&str, &str, &Option<String>)| {
            let (is, wanted) = (text(now, key), wanted.as_ref()?);
            (plain(&is) != plain(wanted)).then(|| format!("`{param}` is `{is}`, not `{wanted}`"))
        };
        let complaints: Vec<String> = all.into_iter().filter_map(differ).collect();
        if complaints.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "the database `{}` was made otherwise, which cannot be altered: {}; dump it and make it anew",
            self.name,
            complaints.join(", ")
        )))
    }

    fn create(&self) -> String {
        let mut sql = format!("CREATE DATABASE {}", pg_name(&self.name));
        let options = [
            ("OWNER", self.owner.as_ref().map(|it| pg_name(it))),
            ("TEMPLATE", self.template.as_ref().map(|it| pg_name(it))),
            ("ENCODING", self.encoding.as_ref().map(|it| pg_literal(it))),
            ("LC_COLLATE", self.lc_collate.as_ref().map(|it| pg_literal(it))),
            ("LC_CTYPE", self.lc_ctype.as_ref().map(|it| pg_literal(it))),
            ("TABLESPACE", self.tablespace.as_ref().map(|it| pg_name(it))),
        ];
        for (word, value) in options {
            sql.extend(value.map(|it| format!(" {word} = {it}")));
        }
        sql
    }
}

/// Gives what one role has in the database that it runs in to another. `REASSIGN OWNED` would give away other databases
/// and tablespaces, too.
fn give_all(old: &str, new: &str) -> String {
    let from = format!("(SELECT oid FROM pg_roles WHERE rolname = {})", pg_literal(old));
    let new = pg_literal(new);
    let ours = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let body = format!(
        "DECLARE it record; BEGIN FOR it IN \
         SELECT format('ALTER SCHEMA %I OWNER TO %I', n.nspname, {new}) AS change FROM pg_namespace n WHERE {ours} AND \
         n.nspowner = {from} UNION ALL \
         SELECT format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, {new}) FROM pg_class c JOIN pg_namespace n ON \
         n.oid = c.relnamespace WHERE {ours} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relowner = {from} AND NOT \
         (c.relkind = 'S' AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
         AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))) UNION ALL \
         SELECT format('ALTER %s %s OWNER TO %I', CASE WHEN current_setting('server_version_num')::int < 110000 THEN \
         'FUNCTION' ELSE 'ROUTINE' END, p.oid::regprocedure, {new}) FROM pg_proc p JOIN pg_namespace n ON n.oid = \
         p.pronamespace WHERE {ours} AND p.proowner = {from} UNION ALL \
         SELECT format('ALTER TYPE %I.%I OWNER TO %I', n.nspname, t.typname, {new}) FROM pg_type t JOIN pg_namespace n ON \
         n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE {ours} AND t.typowner = {from} AND \
         t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typcategory <> 'A' AND (t.typrelid = 0 OR c.relkind = 'c') \
         LOOP EXECUTE it.change; END LOOP; END"
    );
    format!("DO {}", pg_literal(&body))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(now) = self.look(host)? else {
            plan.differ("database", None, &self.name);
            return Ok(plan);
        };
        self.compare_fixed(&now)?;
        for (what, wanted) in [("owner", &self.owner), ("tablespace", &self.tablespace)] {
            if let Some(wanted) = wanted {
                plan.differ(what, Some(&text(&now, what)), wanted);
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let what = format!("alter database {}", self.name);
        if plan.touches("database") {
            self.connection.execute(&[self.create()], &what, host)?;
            return Ok(Applied::default());
        }
        let database = pg_name(&self.name);
        if let Some(owner) = self.owner.as_ref().filter(|_| plan.touches("owner")) {
            let old = self.look(host)?.map(|it| text(&it, "owner")).unwrap_or_default();
            // The database itself comes last: if what is in it cannot be altered the next run begins here again.
            if self.owner_recurse && !old.is_empty() {
                self.connection.to(&self.name).execute(&[give_all(&old, owner)], &what, host)?;
            }
            let owner = pg_name(owner);
            self.connection.execute(&[format!("ALTER DATABASE {database} OWNER TO {owner}")], &what, host)?;
        }
        if let Some(space) = self.tablespace.as_ref().filter(|_| plan.touches("tablespace")) {
            let sql = format!("ALTER DATABASE {database} SET TABLESPACE {}", pg_name(space));
            self.connection.execute(&[sql], &what, host)?;
        }
        Ok(Applied::default())
    }
}

fn absent(params: &Params) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("postgres_database.absent", ABSENT, params)?;
    let database = args.name();
    name("name", &database)?;
    Ok(Box::new(Gone {
        connection: Connection::new(&args)?,
        what: "database",
        sql: format!("DROP DATABASE {}", pg_name(&database)),
        ask: Ask::Database(database.clone()),
        name: database,
    }))
}

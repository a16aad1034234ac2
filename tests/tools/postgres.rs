//! `PostgreSQL`: a cluster of its own, reached by its socket.

use super::harness::{Server, Wish, changes, fails, holds, program, says};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};
use tests::skip;

/// `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65534;

fn own(server: &Path, params: Value) -> Value {
    let Value::Object(mut params) = params else { panic!("parameters are a mapping") };
    params.insert("user".into(), "root".into());
    params.insert("db_user".into(), "admin".into());
    params.insert("db_host".into(), server.display().to_string().into());
    Value::Object(params)
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

fn start(folder: &Path, initdb: &Path, postgres: &Path) -> Server {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let (data, log) = (folder.join("data"), folder.join("log"));
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let socket = folder.join("socket");
    fs::create_dir(&socket).unwrap();
    chown(&socket, Some(NOBODY), Some(NOBODY)).unwrap();
    let options = ["-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];
    says(as_nobody(initdb).args(options).arg("-D").arg(&data));
    let directories = format!("unix_socket_directories={}", socket.display());
    let mut command = as_nobody(postgres);
    command.arg("-D").arg(&data).args(["-F", "-c", "listen_addresses=", "-c", &directories]);
    let mut server = Server::start(&mut command, &log);
    server.wait(&log, || {
        let ask = Command::new("psql")
            .args(["-U", "admin", "-d", "postgres", "-c", "SELECT 1", "-h"])
            .arg(&socket)
            .output();
        ask.is_ok_and(|it| it.status.success())
    });
    server
}

#[expect(clippy::too_many_lines, reason = "one story of one server, told in order")]
#[test]
fn roles_databases_and_privileges_of_a_real_server() {
    let name = "roles_databases_and_privileges_of_a_real_server";
    let more: Vec<String> = (11..20).map(|it| format!("/usr/lib/postgresql/{it}/bin")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (Some(initdb), Some(postgres), Some(psql)) =
        (program("initdb", &more), program("postgres", &more), program("psql", &[]))
    else {
        return skip(name, "PostgreSQL is not installed");
    };
    if !tests::is_root() {
        return skip(name, "needs root");
    }
    let folder = tempfile::tempdir().unwrap();
    let _server = start(folder.path(), &initdb, &postgres);
    let socket = folder.path().join("socket");
    let all = |wishes: &[Wish]| -> Vec<Wish> {
        wishes.iter().map(|(kind, params)| (*kind, own(&socket, params.clone()))).collect()
    };
    let nasty = "o'brien \\ \"x\"; --";
    changes(&all(&[
        ("postgres_group.present", json!({ "name": "readers" })),
        (
            "postgres_user.present",
            json!({ "name": nasty, "password": nasty, "createdb": true, "groups": ["readers"] }),
        ),
        (
            "postgres_user.present",
            json!({ "name": nasty, "password": "other", "encrypted": "md5", "createdb": false }),
        ),
        (
            "postgres_user.present",
            json!({ "name": "app", "valid_until": "2031-01-01 00:00:00+00", "login": true }),
        ),
        (
            "postgres_user.present",
            json!({ "name": "app", "valid_until": "infinity", "superuser": false, "replication": true }),
        ),
        (
            "postgres_database.present",
            json!({ "name": "shop", "owner": "app", "encoding": "utf8", "template": "template0" }),
        ),
        ("postgres_database.present", json!({ "name": "shop", "owner": nasty, "owner_recurse": true })),
        ("postgres_schema.present", json!({ "name": "s 1", "dbname": "shop", "owner": "app" })),
        ("postgres_schema.present", json!({ "name": "s 1", "dbname": "shop", "owner": nasty })),
        (
            "postgres_extension.present",
            json!({ "name": "hstore", "maintenance_db": "shop", "schema": "public", "ext_version": "1.4" }),
        ),
        (
            "postgres_extension.present",
            json!({ "name": "hstore", "maintenance_db": "shop", "schema": "s 1", "ext_version": "1.8" }),
        ),
        ("postgres_extension.absent", json!({ "name": "hstore", "maintenance_db": "shop" })),
    ]));
    holds(&all(&[
        ("postgres_user.present", json!({ "name": nasty, "password": "other", "groups": "readers" })),
        ("postgres_user.present", json!({ "name": nasty, "default_password": "third" })),
        (
            "postgres_database.present",
            json!({ "name": "shop", "encoding": "UTF-8", "tablespace": "pg_default" }),
        ),
        ("postgres_extension.present", json!({ "name": "plpgsql", "maintenance_db": "shop" })),
    ]));
    let sql = "CREATE TABLE public.t (a int); CREATE SEQUENCE public.q; CREATE FUNCTION public.f(int) RETURNS int LANGUAGE sql \
               AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION public.f(int) FROM public";
    says(Command::new(psql).args(["-U", "admin", "-d", "shop", "-c", sql, "-h"]).arg(&socket));
    let on = |kind: &str, object: &str, words: Value| json!({ "name": "readers", "object_type": kind, "object_name": object, "privileges": words, "maintenance_db": "shop" });
    changes(&all(&[
        ("postgres_privileges.present", on("table", "t", json!(["SELECT", "insert"]))),
        ("postgres_privileges.present", on("table", "ALL", json!("all"))),
        ("postgres_privileges.present", on("sequence", "ALL", json!(["USAGE"]))),
        ("postgres_privileges.present", on("function", "f(integer)", json!(["EXECUTE"]))),
        ("postgres_privileges.present", on("schema", "s 1", json!(["USAGE", "CREATE"]))),
        ("postgres_privileges.present", on("database", "shop", json!(["TEMP"]))),
        (
            "postgres_privileges.present",
            json!({ "name": "app", "object_type": "group", "object_name": "readers", "grant_option": true }),
        ),
        ("postgres_privileges.absent", on("table", "t", json!(["INSERT"]))),
        ("postgres_privileges.absent", on("table", "t", Value::Null)),
        ("postgres_privileges.absent", on("function", "f(integer)", json!(["EXECUTE"]))),
        ("postgres_privileges.absent", on("sequence", "ALL", json!("all"))),
        ("postgres_privileges.absent", on("schema", "s 1", json!("all"))),
        ("postgres_privileges.absent", on("database", "shop", json!("temp"))),
        (
            "postgres_privileges.absent",
            json!({ "name": "app", "object_type": "group", "object_name": "readers" }),
        ),
        ("postgres_schema.absent", json!({ "name": "s 1", "dbname": "shop" })),
        ("postgres_extension.absent", json!({ "name": "plpgsql", "maintenance_db": "shop" })),
        ("postgres_database.absent", json!({ "name": "shop" })),
        ("postgres_user.absent", json!({ "name": nasty })),
        ("postgres_user.absent", json!({ "name": "app" })),
        ("postgres_group.absent", json!({ "name": "readers" })),
    ]));
    let missing = json!({ "name": "nonesuch" });
    fails(("postgres_extension.present", own(&socket, missing)), "knows no extension");
    let bad = json!({ "name": "template1", "encoding": "LATIN1" });
    fails(("postgres_database.present", own(&socket, bad)), "made otherwise");
}

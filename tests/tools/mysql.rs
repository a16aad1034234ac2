//! `MariaDB`: a server of its own, reached by its socket.

use super::harness::{Server, Wish, changes, fails, holds, program, says};
use serde_json::{Value, json};
use std::{path::Path, process::Command};
use tests::skip;

fn start(folder: &Path, install: &Path, server: &Path) -> Server {
    let data = format!("--datadir={}", folder.join("data").display());
    let socket = folder.join("socket");
    let log = folder.join("log");
    let fixed =
        ["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=socket"];
    says(Command::new(install).args(fixed).arg(&data));
    let mut command = Command::new(server);
    command.args(["--no-defaults", "--user=root", "--skip-networking", &data]);
    command
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()));
    let mut server = Server::start(&mut command, &log);
    server.wait(&log, || {
        let mut ask = Command::new("mariadb");
        ask.args(["--no-defaults", "--user=root", "--execute=SELECT 1"])
            .arg(format!("--socket={}", socket.display()));
        ask.output().is_ok_and(|it| it.status.success())
    });
    server
}

#[expect(clippy::too_many_lines, reason = "one story of one server, told in order")]
#[test]
fn accounts_databases_and_grants_of_a_real_server() {
    let name = "accounts_databases_and_grants_of_a_real_server";
    let (Some(install), Some(server), Some(_)) =
        (program("mariadb-install-db", &[]), program("mariadbd", &[]), program("mariadb", &[]))
    else {
        return skip(name, "MariaDB is not installed");
    };
    if !tests::is_root() {
        return skip(name, "needs root");
    }
    let folder = tempfile::tempdir().unwrap();
    let _server = start(folder.path(), &install, &server);
    let own = |params: &Value| {
        let Value::Object(mut params) = params.clone() else { panic!("parameters are a mapping") };
        params.insert("connection_user".into(), "root".into());
        params.insert(
            "connection_unix_socket".into(),
            folder.path().join("socket").display().to_string().into(),
        );
        Value::Object(params)
    };
    let all =
        |wishes: &[Wish]| -> Vec<Wish> { wishes.iter().map(|(kind, params)| (*kind, own(params))).collect() };
    let nasty = "o'br\\ \"`x; --";
    let hash = "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4";
    let grant = |on: &str, words: Value| json!({ "name": "g", "grant": words, "database": on, "user": nasty, "host": "%" });
    changes(&all(&[
        (
            "mysql_database.present",
            json!({ "name": "my_db", "character_set": "utf8mb4", "collate": "utf8mb4_bin" }),
        ),
        (
            "mysql_database.present",
            json!({ "name": "my_db", "character_set": "utf8mb3", "collate": "utf8mb3_bin" }),
        ),
        ("mysql_database.present", json!({ "name": nasty })),
        ("mysql_user.present", json!({ "name": nasty, "host": "%", "password": nasty })),
        ("mysql_user.present", json!({ "name": nasty, "host": "%", "password": "other" })),
        ("mysql_user.present", json!({ "name": nasty, "host": "%", "password_hash": hash })),
        ("mysql_user.present", json!({ "name": "sock", "unix_socket": true })),
        ("mysql_user.present", json!({ "name": "free", "allow_passwordless": true })),
        ("mysql_user.present", json!({ "name": "free", "password": "x" })),
        ("mysql_grants.present", grant("my_db.*", json!("select, INSERT,create view"))),
        ("mysql_grants.present", grant("my_db.*", json!(["all privileges"]))),
        ("mysql_grants.present", grant("*.*", json!("process"))),
        (
            "mysql_grants.present",
            json!({ "name": "g", "grant": "all", "database": "*.*", "user": "free", "grant_option": true }),
        ),
    ]));
    says(
        Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--execute=CREATE TABLE my_db.t (a int, b int)"])
            .arg(format!("--socket={}", folder.path().join("socket").display())),
    );
    let answer = folder.path().join("answer");
    let file = folder.path().join("rows.sql");
    std::fs::write(&file, "INSERT INTO t VALUES (1, 2);\nSELECT a, b FROM t;\n").unwrap();
    let query = |more: Value| {
        let mut params = json!({ "name": file, "database": "my_db", "output": answer, "overwrite": false });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    // What has its answer is not carried out again.
    changes(&all(&[("mysql_query.run_file", query(json!({})))]));
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "1\t2\n");
    std::fs::remove_file(&answer).unwrap();
    changes(&all(&[("mysql_query.run", query(json!({ "query": "SELECT COUNT(*) FROM t" })))]));
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "1\n");
    fails(("mysql_query.run", own(&json!({ "name": "q", "database": "my_db", "query": "SELEKT" }))), "1064");
    fails(
        ("mysql_query.run", own(&json!({ "name": "q", "database": "none", "query": "SELECT 1" }))),
        "no database",
    );
    changes(&all(&[
        ("mysql_grants.absent", grant("my_db.*", json!("insert"))),
        ("mysql_grants.present", grant("my_db.t", json!("select (b, a), update"))),
        ("mysql_grants.absent", grant("my_db.t", json!("all"))),
    ]));
    holds(&all(&[
        ("mysql_database.present", json!({ "name": "my_db", "character_set": "utf8" })),
        ("mysql_grants.absent", grant("nonesuch.*", json!("all"))),
        ("mysql_grants.absent", json!({ "name": "g", "grant": "all", "database": "*.*", "user": "nobody" })),
        (
            "mysql_grants.present",
            json!({ "name": "g", "grant": "create user", "database": "*.*", "user": "free" }),
        ),
    ]));
    changes(&all(&[
        ("mysql_grants.absent", grant("my_db.*", json!("all"))),
        ("mysql_user.absent", json!({ "name": nasty, "host": "%" })),
        ("mysql_user.absent", json!({ "name": "free" })),
        ("mysql_database.absent", json!({ "name": nasty })),
        ("mysql_database.absent", json!({ "name": "my_db" })),
    ]));
    let no_one = json!({ "name": "g", "grant": "all", "database": "*.*", "user": "nobody" });
    fails(("mysql_grants.present", own(&no_one)), "1141");
    changes(&all(&[
        ("mysql_user.present", json!({ "name": "poor", "allow_passwordless": true })),
        (
            "mysql_grants.present",
            json!({ "name": "g", "grant": "select", "database": "mysql.*", "user": "poor" }),
        ),
    ]));
    let mut other = own(&json!({ "name": "x", "password": "o'quite-secret" }));
    other["connection_user"] = "poor".into();
    let reported = fails(("mysql_user.present", other), "1227");
    assert!(!reported.contains("quite-secret"), "{reported}");
}

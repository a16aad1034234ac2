//! `labctl import salt`: looks through a tree of Salt where it lies.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TREE: &[(&str, &str)] = &[
    ("salt/top.sls", "base:\n  '*':\n    - web\n"),
    (
        "salt/web/init.sls",
        "{% set port = pillar.get('port', 80) %}\nnginx:\n  file.managed:\n    - name: /etc/nginx.conf\n    - source: salt://web/.nginx.conf\n    - template: jinja\n    - colour: red\n\
         pool:\n  zfs.no_such_function:\n    - name: tank\n  require:\n    - file: nginx\n",
    ),
    ("salt/web/.nginx.conf", "listen {{ port }};\n"),
    ("salt/_modules/own.py", "def x():\n    return 1\n"),
    ("pillar/top.sls", "base:\n  '*':\n    - web\n"),
    ("pillar/web.sls", "port: 81\n"),
    ("reactor/start.sls", "highstate:\n  local.state.apply:\n    - tgt: {{ data['id'] }}\n"),
    (
        "etc/salt/master",
        "reactor:\n  - 'salt/minion/*/start':\n    - /srv/reactor/start.sls\next_pillar:\n  - git: x\n",
    ),
];

fn write(folder: &Path) {
    for (path, text) in TREE {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn labctl(arguments: &[&str], code: i32) -> (String, String) {
    let output = Command::new(tests::program("labctl")).arg("import").args(arguments).output().unwrap();
    let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    (out, err)
}

#[test]
fn a_salt_tree_is_judged_where_it_lies_and_the_configuration_points_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    write(&root);
    let dir = root.to_str().unwrap();
    let (out, err) = labctl(&["salt", dir], 3);
    for line in [
        "etc/salt/master:4  E0803  `ext_pillar` is not taken over",
        "salt/_modules/own.py:1  E0801",
        "salt/web/init.sls:9  E0102  no function `zfs.no_such_function`",
        "salt/web/init.sls:7  E0106  `file.managed` has no parameter `colour`: it is ignored",
        "salt/web/init.sls:11  E0113  `require` stands at `pool`",
        "1 state file, 2 states of 2 functions: 0 run, 1 with a warning, 1 not supported",
        "3 things not supported, 2 warnings",
    ] {
        assert!(out.contains(line), "{line}\nis not in\n{out}");
    }
    assert!(err.contains("nothing was written"), "{err}");
    assert!(!out.contains(".nginx.conf"), "hidden files are a part of it: {out}");

    let part = root.join("made/salt.yaml");
    let file = part.to_str().unwrap();
    labctl(&["salt", dir, "--write", file], 3);
    let written = fs::read_to_string(&part).unwrap();
    assert!(out.contains(&written), "{out}");
    assert!(written.contains(&format!("states:\n  - {{ path: {dir}/salt, salt: true }}\n")), "{written}");
    let (_, err) = labctl(&["salt", dir, "--write", file], 2);
    assert!(err.contains("--force"), "{err}");
    labctl(&["salt", dir, "--write", file, "--force"], 3);

    let (json, _) = labctl(&["salt", dir, "-o", "json"], 3);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["uses"], serde_json::json!({"run": 0, "warned": 1, "unsupported": 1}));
    assert_eq!(json["items"][0]["spans"][0]["line"], 4);
}

#[test]
fn a_tree_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    assert!(labctl(&["salt", dir], 8).1.contains("top.sls"));
}

#[test]
fn a_real_homelab_is_looked_through_in_no_time() {
    let fixture = std::env::var_os("LABCTL_SALT_FIXTURE").map(PathBuf::from);
    let fixture = fixture.unwrap_or_else(|| tests::project().join("../shared/fixtures/homelabmanager"));
    if !fixture.is_dir() {
        return tests::skip(
            "a_real_homelab_is_looked_through_in_no_time",
            "the tree of a real homelab is not here (LABCTL_SALT_FIXTURE names its folder)",
        );
    }
    let began = std::time::Instant::now();
    let dir = fixture.to_str().unwrap();
    let output =
        Command::new(tests::program("labctl")).args(["import", "salt", dir, "-o", "json"]).output().unwrap();
    assert!(began.elapsed().as_secs() < 5 * 60, "with the build of the program");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["state_files"], 27);
    let stray = json["items"].as_array().unwrap().iter().filter(|it| it["code"] == "E0113").count();
    assert_eq!(stray, 13, "requisites at the level of the id");
    let lost = json["items"].as_array().unwrap().iter().filter(|it| it["code"] == "E0117").count();
    assert_eq!(lost, 0, "every source is found");
}

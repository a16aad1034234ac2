//! Without a master: `labctl local` compiles and runs on the machine where it is typed, here a pretended one.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const WEB: &str = "\
page:
  file.managed:
    name: /srv/www/index.html
    contents: |
      {{ id }} runs {{ grains.kernel }}
      {{ pillar.web.greeting }}
    makedirs: true
site:
  file.managed:
    - name: /etc/site.conf
    - source: lab://web/site.conf
    - template: handlebars
    - makedirs: true
    - require:
      - file: page
big:
  file.managed:
    name: /srv/www/big
    source: lab://web/big
";

struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        machine.tree("states/web/init.sls", WEB);
        machine.tree("states/web/site.conf", "password {{ pillar.web.password }}\n");
        machine.tree("states/top.sls", "base:\n  '*':\n    - web\n");
        machine.tree("pillar/top.sls", "base:\n  '*':\n    - web\n");
        machine.tree("pillar/web.sls", "web:\n  greeting: hello\n  password: !secret hunter2hunter2\n");
        machine.tree("states/web/big", &"0123456789abcdef".repeat(100_000));
        machine
    }
    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }
    fn tree(&self, path: &str, text: &str) {
        let path = self.path("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fn on(&self, path: &str) -> String {
        fs::read_to_string(self.path("vm").join(path.trim_start_matches('/'))).unwrap()
    }
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tests::program("labctl"));
        command.arg("local").args(arguments).arg("--sandbox").arg(self.path("vm"));
        command.args(["--id", "vm-1"]).current_dir(self.path("tree"));
        command.env_remove("LABCTL_OUTPUT").stdin(Stdio::null());
        command
    }
    fn labctl(&self, arguments: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        said
    }
}

#[test]
fn a_machine_without_a_master_converges_and_says_so() {
    let machine = Machine::new();
    let plan = machine.labctl(&["plan"], 0);
    assert!(plan.contains("+vm-1 runs Linux") && plan.contains("result=would_change"), "{plan}");
    assert!(plan.contains("+password «secret»"), "{plan}");
    assert!(!machine.path("vm/srv").exists(), "a plan changes nothing");

    let said = machine.labctl(&["apply"], 0);
    assert!(said.contains("vm-1 changed ok=0 changed=3"), "{said}");
    assert_eq!(machine.on("/srv/www/index.html"), "vm-1 runs Linux\nhello\n");
    assert_eq!(machine.on("/etc/site.conf"), "password hunter2hunter2\n");
    assert_eq!(machine.on("/srv/www/big").len(), 1_600_000);

    let again = machine.labctl(&["apply", "web", "--detailed-exitcode"], 0);
    assert!(again.contains("result=ok"), "{again}");
    machine.labctl(&["apply", "web", "--set", "web.greeting=hi", "--detailed-exitcode"], 10);
    assert_eq!(machine.on("/srv/www/index.html"), "vm-1 runs Linux\nhi\n");
    let json: serde_json::Value = serde_json::from_str(&machine.labctl(&["apply", "-o", "json"], 0)).unwrap();
    assert_eq!(json["result"], "changed");
    assert_eq!(json["reports"]["vm-1"]["steps"][0]["outcome"], "changed");
    let left = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let left = left.filter(|it| it.file_name().to_string_lossy().contains("labctl-local-"));
    // Those of other tests that run now are younger than a run lasts.
    assert!(
        left.filter_map(|it| it.metadata().ok()?.modified().ok()?.elapsed().ok())
            .all(|it| it.as_secs() < 600)
    );
}

#[test]
fn what_goes_wrong_ends_with_the_code_of_the_table() {
    let machine = Machine::new();
    machine.tree("states/bad.sls", "bad:\n  cmd.run:\n    name: echo no >&2; exit 3\n");
    machine.tree("states/broken.sls", "broken:\n  file.manged:\n    name: /x\n");
    let said = machine.labctl(&["apply", "bad"], 1);
    assert!(said.contains("failed bad cmd.run"), "{said}");
    assert!(machine.labctl(&["apply", "broken"], 3).contains("file.managed"));
    assert!(machine.labctl(&["apply", "nowhere"], 3).contains("no state named `nowhere`"));
    assert!(machine.labctl(&["apply", "--labminion", "/nowhere"], 8).contains("install labminion"));
    assert!(machine.labctl(&["apply", "--tree", "/nowhere"], 8).contains("/nowhere"));
}

#[test]
fn trees_are_those_of_the_masters_settings_and_the_parts_beside_them() {
    let machine = Machine::new();
    let (site, parts) = (machine.path("etc/master.yaml"), machine.path("etc/master.d"));
    fs::create_dir_all(&parts).unwrap();
    fs::write(&site, "name: home\nkeep: {age: 9d}\ntrees: [/nowhere]\n").unwrap();
    fs::write(parts.join("site.yaml"), format!("trees:\n  - path: {}\n", machine.path("tree").display()))
        .unwrap();
    let settings = site.to_str().unwrap().to_owned();
    let said = machine.labctl(&["apply", "--settings", &settings], 0);
    assert!(said.contains("changed=3"), "{said}");
    fs::write(parts.join("site.yaml"), "trees: [{path: x, slat: true}]\n").unwrap();
    let said = machine.labctl(&["apply", "--settings", &settings], 3);
    assert!(said.contains("site.yaml:1") && said.contains("unknown key `slat`"), "{said}");
}

#[test]
fn what_templates_ask_is_answered_by_this_machine_and_never_guessed() {
    let machine = Machine::new();
    let guarded = "\
#!jinja|yaml
{% if not salt['file.file_exists']('/etc/kept') %}
first:
  file.managed:
    - name: /srv/first
    - contents: x
    - makedirs: true
{% elif salt['file.contains']('/etc/kept', 'yes') %}
second:
  file.managed:
    - name: /srv/second
    - contents: x
    - makedirs: true
{% endif %}
";
    machine.tree("states/guarded.sls", guarded);
    fs::create_dir_all(machine.path("vm/etc")).unwrap();
    fs::write(machine.path("vm/etc/kept"), "yes\n").unwrap();
    let plan = machine.labctl(&["plan", "guarded"], 0);
    assert!(plan.contains("second") && !plan.contains("first"), "{plan}");
    machine.labctl(&["apply", "guarded"], 0);
    assert!(!machine.path("vm/srv/first").exists() && machine.path("vm/srv/second").exists());

    let command =
        "#!jinja|yaml\n{% if salt['cmd.run']('echo go') != 'go' %}\nbad:\n  test.nop: []\n{% endif %}\n";
    machine.tree("states/runs.sls", &format!("{command}good:\n  test.nop: []\n"));
    let said = machine.labctl(&["apply", "runs"], 3);
    assert!(said.contains("cmd.run(\"echo go\")") && said.contains("--answers FILE"), "{said}");
    let answers = machine.path("answers.yaml");
    fs::write(&answers, "cmd.run('echo go'): go\n").unwrap();
    let said = machine.labctl(&["apply", "runs", "--answers", answers.to_str().unwrap()], 0);
    assert!(said.contains("ok=1"), "{said}");
    let said = machine.labctl(&["apply", "runs", "--probe-commands"], 0);
    assert!(said.contains("ok=1"), "{said}");
}

#[test]
fn ctrl_c_ends_a_run_cleanly() {
    let machine = Machine::new();
    let slow = "slow:\n  cmd.run:\n    name: echo begun; exec sleep 600\nlater:\n  cmd.run:\n    name: echo x > later\n";
    machine.tree("states/slow.sls", slow);
    let mut command = machine.command(&["apply", "slow", "-o", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|it| it.contains("begun")), "the command runs");
    interrupt(child.id());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|it| it.contains("\"report\"")), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!machine.path("vm/later").exists());
}

fn interrupt(process: u32) {
    let process = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
}

/// Alters nothing but a sandbox, so it may be tried as anybody.
#[test]
fn only_root_alters_a_machine() {
    if !tests::is_root() || !tests::has("setpriv") {
        return tests::skip("only_root_alters_a_machine", "needs root and setpriv");
    }
    let machine = Machine::new();
    let program = machine.path("labctl");
    fs::copy(tests::program("labctl"), &program).unwrap();
    open(&machine.path(""));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(&program).args(["local", "apply"]);
    let Output { status, stderr, .. } = command.current_dir(machine.path("tree")).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(7), "{said}");
    assert!(said.contains("sudo labctl local apply"), "{said}");
}

fn open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

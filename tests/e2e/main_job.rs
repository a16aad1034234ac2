//! The main job, exactly as users type it.

use serde_json::Value;
use std::fs;
use tests::lab::Lab;

const WEB: &str = "\
page:
  file.managed:
    name: /srv/www/index.html
    contents: |
      <h1>{{ id }}</h1>
      {{ pillar.web.greeting }}
    mode: '0644'
    makedirs: true
site:
  file.managed:
    - name: /etc/nginx/conf.d/site.conf
    - source: lab://web/files/site.conf
    - template: handlebars
    - makedirs: true
    - require:
      - file: page
reload:
  cmd.run:
    name: echo reloaded >> reloads
    onchanges:
      - file: site
";

fn web(lab: &Lab) {
    lab.tree("states/web/init.sls", WEB);
    lab.tree("states/web/files/site.conf", "server_name {{ id }};\npassword {{ pillar.web.password }};\n");
    lab.tree("states/top.sls", "base:\n  '*':\n    - web\n");
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - web\n");
    lab.tree("pillar/web.sls", "web:\n  greeting: hello\n  password: !secret hunter2hunter2\n");
}

#[test]
fn apply_converges_and_says_so() {
    let mut lab = Lab::prepare();
    web(&lab);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2", "vm-3"]);

    let said = lab.labctl(&["target", "vm-*", "apply", "web"]).expect(0);
    for id in ["vm-1", "vm-2", "vm-3"] {
        let page = fs::read_to_string(lab.on_minion(id, "/srv/www/index.html")).unwrap();
        assert_eq!(page, format!("<h1>{id}</h1>\nhello\n"));
        assert_eq!(fs::read_to_string(lab.on_minion(id, "/reloads")).unwrap(), "reloaded\n");
        assert!(said.stdout.contains(&format!("{id} changed")), "{}", said.stdout);
    }
    assert!(said.stdout.contains("result=changed"), "{}", said.stdout);
    assert!(!said.stdout.contains("hunter2"), "{}", said.stdout);

    let again = lab.labctl(&["target", "vm-*", "apply"]).expect(0);
    assert!(again.stdout.contains("result=ok"), "{}", again.stdout);
    assert_eq!(
        fs::read_to_string(lab.on_minion("vm-1", "/reloads")).unwrap(),
        "reloaded\n",
        "nothing ran twice"
    );
    lab.labctl(&["target", "vm-*", "apply", "--detailed-exitcode"]).expect(0);

    fs::write(lab.on_minion("vm-2", "/srv/www/index.html"), "broken by hand\n").unwrap();
    let plan = lab.labctl(&["target", "vm-*", "plan"]).expect(0);
    assert!(plan.stdout.contains("-broken by hand"), "{}", plan.stdout);
    assert!(plan.stdout.contains("+<h1>vm-2</h1>"), "{}", plan.stdout);
    let page = fs::read_to_string(lab.on_minion("vm-2", "/srv/www/index.html")).unwrap();
    assert_eq!(page, "broken by hand\n", "a plan changes nothing");
    lab.labctl(&["target", "vm-*", "apply", "--detailed-exitcode"]).expect(10);
    assert!(fs::read_to_string(lab.on_minion("vm-2", "/srv/www/index.html")).unwrap().contains("vm-2"));
}

#[test]
fn secrets_appear_nowhere_but_on_the_minion() {
    let mut lab = Lab::prepare();
    web(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    lab.labctl(&["target", "vm-1", "apply"]).expect(0);
    let site = fs::read_to_string(lab.on_minion("vm-1", "/etc/nginx/conf.d/site.conf")).unwrap();
    assert!(site.contains("hunter2hunter2"));
    fs::write(lab.on_minion("vm-1", "/etc/nginx/conf.d/site.conf"), "password old\n").unwrap();
    let mut said = String::new();
    for arguments in [
        vec!["target", "vm-1", "plan"],
        vec!["target", "vm-1", "plan", "-o", "json"],
        vec!["target", "vm-1", "show", "web"],
        vec!["target", "vm-1", "pillar", "-o", "json"],
        vec!["pillar", "show", "vm-1"],
        vec!["job", "show", "@last", "-o", "json"],
        vec!["event", "list", "-o", "json"],
    ] {
        let it = lab.labctl(&arguments);
        assert!(it.code == 0, "{arguments:?}: {it:?}");
        said.push_str(&it.stdout);
        said.push_str(&it.stderr);
    }
    assert!(said.contains("«secret»"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    lab.signal_master("TERM");
    for name in walk(&lab.root()) {
        let bytes = fs::read(&name).unwrap_or_default();
        let holds = bytes.windows(7).any(|it| it == b"hunter2");
        assert!(!holds || name.ends_with("pillar/web.sls"), "{} holds the secret", name.display());
    }
}

#[test]
fn away_and_unknown_are_said_at_once_with_the_right_code() {
    let mut lab = Lab::prepare();
    web(&lab);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    lab.agent(1).signal("KILL");
    let presence = || (lab.presence("vm-2")? != "up").then_some(());
    tests::wait::until("vm-2 to be lost", tests::lab::LIMIT, presence);

    let said = lab.labctl(&["target", "vm-*", "apply", "web"]).expect(4);
    assert!(said.stdout.contains("vm-2 unreachable"), "{}", said.stdout);
    assert!(said.stdout.contains("vm-1 changed"), "{}", said.stdout);
    let said = lab.labctl(&["target", "vm-*", "ping"]).expect(4);
    assert!(said.stdout.contains("vm-1"), "{}", said.stdout);
    lab.labctl(&["target", "db-*", "ping"]).expect(5);
    let said = lab.labctl(&["target", "vm-1", "apply", "wbe"]).expect(3);
    assert!(said.stderr.contains("did you mean"), "{}", said.stderr);
    lab.labctl(&["job", "show", "01JD4Z3K8Q0V7YJ6R2T4M9XH5B"]).expect(8);
    lab.labctl(&["target", "vm-1", "aply"]).expect(2);
    lab.labctl(&["target", "vm-1 and (", "ping"]).expect(2);
    let said = lab.labctl(&["target", "vm-1", "run", "--", "sh", "-c", "echo out; exit 3"]).expect(1);
    assert!(said.stdout.contains("out"), "{}", said.stdout);
    lab.labctl(&["target", "vm-1", "run", "--passthrough", "--", "sh", "-c", "exit 3"]).expect(3);
    lab.signal_master("TERM");
    lab.labctl(&["status"]).expect(6);
}

#[test]
fn a_broken_edit_leaves_the_last_good_tree_in_use() {
    let mut lab = Lab::prepare();
    web(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    let job = lab.labctl(&["target", "vm-1", "apply", "-o", "json"]).expect(0);
    let before = tests::lab::find(&job.json(), "revision").cloned().unwrap_or(Value::Null);
    lab.tree("states/web/init.sls", "page:\n  file.managed:\n    - nmae: /x\n  - broken");
    let broken = || {
        let said = lab.labctl(&["status"]);
        (said.stdout.contains("states/web/init.sls")).then_some(())
    };
    tests::wait::until("the broken edit to be reported", tests::lab::LIMIT, broken);
    let said = lab.labctl(&["target", "vm-1", "apply", "-o", "json"]).expect(0);
    assert_eq!(tests::lab::find(&said.json(), "revision"), Some(&before), "the last good revision");
    assert!(!before.is_null());
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut pending = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

const ASKING: &str = "\
#!jinja|yaml
{% if salt['file.file_exists']('/etc/marker') %}
there:
  file.managed:
    - name: /etc/answer
    - contents: there
{% else %}
absent:
  file.managed:
    - name: /etc/answer
    - contents: absent
{% endif %}
";

#[test]
fn what_a_template_asks_is_answered_by_the_minion_it_is_for() {
    let mut lab = Lab::prepare();
    lab.tree("states/asking.sls", ASKING);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    fs::create_dir_all(lab.on_minion("vm-1", "/etc")).unwrap();
    fs::create_dir_all(lab.on_minion("vm-2", "/etc")).unwrap();
    fs::write(lab.on_minion("vm-2", "/etc/marker"), "").unwrap();
    lab.labctl(&["target", "vm-*", "apply", "asking"]).expect(0);
    let answer = |id| fs::read_to_string(lab.on_minion(id, "/etc/answer")).unwrap();
    assert_eq!([answer("vm-1").trim(), answer("vm-2").trim()], ["absent", "there"]);

    lab.tree("states/asking.sls", "#!jinja|yaml\nx:\n  test.nop:\n    - name: {{ salt['cmd.run']('id') }}\n");
    let refused = || {
        let said = lab.labctl(&["target", "vm-1", "apply", "asking"]);
        let text = format!("{}{}", said.stdout, said.stderr);
        text.contains("probe_commands").then_some(())
    };
    tests::wait::until("commands to be refused in templates", tests::wait::seconds(20), refused);
}

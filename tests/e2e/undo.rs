//! `labctl job undo`: files as they were, and what cannot be put back is said before.

use std::fs;
use tests::lab::Lab;

const WEB: &str = "\
page:
  file.managed:
    name: /srv/www/index.html
    contents: new {{ id }}
    mode: '0600'
    makedirs: true
old:
  file.absent:
    name: /srv/old
ran:
  cmd.run:
    name: echo ran
";

fn state(lab: &Lab, id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for path in ["/srv/www/index.html", "/srv/old/deep/file"] {
        let text = fs::read_to_string(lab.on_minion(id, path)).unwrap_or_else(|_| "nothing".to_owned());
        lines.push(format!("{path} {}", text.trim()));
    }
    lines
}

#[test]
fn a_job_is_undone_on_every_machine_and_that_is_a_job_too() {
    let mut lab = Lab::prepare();
    lab.tree("states/web.sls", WEB);
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    for id in ["vm-1", "vm-2"] {
        fs::create_dir_all(lab.on_minion(id, "/srv/old/deep")).unwrap();
        fs::write(lab.on_minion(id, "/srv/old/deep/file"), "old").unwrap();
    }
    fs::create_dir_all(lab.on_minion("vm-1", "/srv/www")).unwrap();
    fs::write(lab.on_minion("vm-1", "/srv/www/index.html"), "by hand").unwrap();
    let before = [state(&lab, "vm-1"), state(&lab, "vm-2")];
    lab.labctl(&["target", "vm-*", "apply", "web"]).expect(0);
    let after = [state(&lab, "vm-1"), state(&lab, "vm-2")];
    assert_ne!(before, after);

    let applied = lab.labctl(&["job", "list", "-o", "name"]).expect(0).stdout;
    let applied = applied.lines().next().unwrap().to_owned();
    let plan = lab.labctl(&["job", "undo", &applied, "--check"]).expect(0);
    assert!(plan.stderr.contains("cmd.run echo ran"), "{plan:?}");
    assert!(plan.stdout.contains("/srv/www/index.html"), "{plan:?}");
    assert_eq!([state(&lab, "vm-1"), state(&lab, "vm-2")], after, "a look changes nothing");

    let refused = lab.labctl(&["job", "undo", &applied]).expect(2);
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    let undone = lab.labctl(&["job", "undo", &applied, "--yes"]).expect(0);
    assert!(undone.stderr.contains("not put back"), "{undone:?}");
    assert_eq!([state(&lab, "vm-1"), state(&lab, "vm-2")], before);
    assert!(!lab.on_minion("vm-2", "/srv/www").exists(), "folders that the job made are gone");

    lab.labctl(&["job", "undo", "@last", "--yes"]).expect(0);
    assert_eq!([state(&lab, "vm-1"), state(&lab, "vm-2")], after, "the undoing is undone");

    fs::write(lab.on_minion("vm-1", "/srv/www/index.html"), "precious").unwrap();
    let said = lab.labctl(&["job", "undo", &applied, "--host", "vm-1"]).expect(1);
    assert!(said.stdout.contains("altered since the job"), "{said:?}");
    assert_eq!(state(&lab, "vm-1")[0], "/srv/www/index.html precious");
    lab.labctl(&["job", "undo", &applied, "--host", "vm-1", "--force"]).expect(0);
    assert_eq!(state(&lab, "vm-1"), before[0]);

    let run = lab.labctl(&["target", "vm-1", "run", "--", "true"]).expect(0);
    let said = lab.labctl(&["job", "undo", "@last"]).expect(2);
    assert!(said.stderr.contains("altered nothing that is kept"), "{run:?} {said:?}");
}

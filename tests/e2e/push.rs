//! The trees as a branch: operators push, what checks is live within a second, what does not is refused with the line.

use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};
use tests::{
    lab::{LIMIT, Lab},
    program, wait,
};

struct Desk {
    lab: Lab,
}

impl Desk {
    fn new() -> Self {
        let lab = Lab::prepare();
        let made = Command::new(program("labmaster"))
            .args(["init", "--no-example", "--root"])
            .arg(lab.root())
            .arg("--git")
            .arg(lab.root().join("var/lib/labctl/tree.git"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let desk = Self { lab };
        fs::create_dir(desk.work()).unwrap();
        assert!(desk.git(&["init", "--quiet", "--initial-branch=main"]).status.success());
        desk
    }
    fn work(&self) -> PathBuf {
        self.lab.folder().join("work")
    }
    fn git(&self, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@lab.example"])
            .args(arguments)
            .current_dir(self.work())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap()
    }
    fn push(&self, path: &str, text: &str) -> Result<String, String> {
        let file = self.work().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        assert!(self.git(&["add", "--all"]).status.success());
        assert!(self.git(&["commit", "--quiet", "-m", &format!("Write {path}")]).status.success());
        let repository = self.lab.root().join("var/lib/labctl/tree.git").display().to_string();
        let pushed = self.git(&["push", "--force", &repository, "HEAD:main"]);
        let head = self.git(&["rev-parse", "HEAD"]);
        if pushed.status.success() {
            return Ok(String::from_utf8_lossy(&head.stdout).trim().to_owned());
        }
        assert!(self.git(&["reset", "--quiet", "--hard", "HEAD~1"]).status.success());
        Err(String::from_utf8_lossy(&pushed.stderr).into_owned())
    }
    /// Whether a machine gets this from the tree.
    fn live(&self, text: &str) -> Option<()> {
        let applied = self.lab.labctl(&["target", "vm-1", "apply", "web"]);
        let motd = self.lab.on_minion("vm-1", "/etc/motd");
        (applied.code == 0 && fs::read_to_string(motd).is_ok_and(|it| it.contains(text))).then_some(())
    }
    fn events(&self, tag: &str) -> Vec<Value> {
        let said = self.lab.labctl(&["event", "list", tag, "-o", "json"]).expect(0);
        said.json()["items"].as_array().cloned().unwrap_or_default()
    }
}

#[test]
fn a_good_push_is_live_within_a_second_and_a_bad_one_is_refused_with_the_line() {
    let mut desk = Desk::new();
    desk.lab.start_master();
    desk.lab.minions(&["vm-1"]);
    let good = |text: &str| {
        format!("motd:\n  file.managed:\n    name: /etc/motd\n    contents: {text}\n    makedirs: true\n")
    };
    desk.push("states/web.sls", &good("first")).unwrap();
    wait::until("the first push to be live", LIMIT, || desk.live("first"));
    let before = desk.events("tree/changed").len();
    let id = desk.push("states/web.sls", &good("second")).unwrap();
    let began = Instant::now();
    let changed =
        wait::until("the second push to be live", LIMIT, || desk.events("tree/changed").get(before).cloned());
    eprintln!("a push is live after {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let data = &changed["data"];
    assert_eq!(
        (&data["commit"], &data["author"], &data["subject"]),
        (&id.into(), &"Ann".into(), &"Write states/web.sls".into())
    );
    assert_eq!(data["changed"], serde_json::json!(["states/web.sls"]));
    desk.live("second").unwrap();

    let told = desk.push("states/web.sls", "motd:\n  file.mangled:\n    name: /etc/motd\n").unwrap_err();
    assert!(
        told.contains("states/web.sls:2") && told.contains("file.mangled") && told.contains("refused"),
        "{told}"
    );
    // Whoever gets around the hook does not get around the master.
    fs::remove_file(desk.lab.root().join("var/lib/labctl/tree.git/hooks/pre-receive")).unwrap();
    let bad = desk.push("states/web.sls", "motd:\n  file.mangled:\n    name: /etc/motd\n").unwrap();
    let broken =
        wait::until("the bad push to be told", LIMIT, || desk.events("tree/broken").first().cloned());
    let data = &broken["data"];
    assert_eq!(
        (&data["commit"], &data["author"], &data["place"]),
        (&bad.into(), &"Ann".into(), &"states/web.sls:2".into())
    );
    desk.live("second").unwrap();
    desk.lab.signal_master("KILL");
    desk.lab.start_master();
    desk.lab.wait_up("vm-1");
    desk.live("second").unwrap_or_else(|| panic!("after a restart, what was good: {}", desk.lab.logs()));
    desk.push("states/web.sls", &good("third")).unwrap();
    wait::until("what mends it to be live", LIMIT, || desk.live("third"));
    let status = desk.lab.labctl(&["status"]).expect(0);
    assert!(!status.stdout.contains("mangled"), "{}", status.stdout);
}

//! A full disk on the master: new jobs are refused, what was promised still gets in, and it recovers by itself.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{
    lab::{LIMIT, Lab, find},
    wait,
};

/// A small file system in memory, taken away when dropped.
struct Small(PathBuf);

impl Small {
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=40m,mode=0755", "labctl-test"]).arg(path);
        mount.output().is_ok_and(|it| it.status.success()).then(|| Self(path.to_owned()))
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            let piece = vec![b'x'; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        if let Some(parent) = self.0.parent() {
            let _ = fs::remove_dir_all(parent);
        }
    }
}

#[test]
fn a_full_disk_refuses_new_jobs_keeps_promises_and_recovers_without_a_restart() {
    if !tests::is_root() {
        return tests::skip("a_full_disk_on_the_master", "needs root for a small file system");
    }
    let folder = tempfile::Builder::new().prefix("lab").tempdir().unwrap();
    // Dropped after the lab: the master must have ended.
    let Some(small) = Small::at(&folder.path().join("master")) else {
        return tests::skip("a_full_disk_on_the_master", "mounting is not allowed here");
    };
    let mut lab = Lab::prepare_in(folder);
    lab.tree(
        "states/slow.sls",
        "slow:\n  cmd.run:\n    name: touch began; while [ ! -e go ]; do sleep 0.02; done; echo done > ended\n    creates: /ended\n",
    );
    lab.start_master();
    lab.minions(&["vm-1"]);
    let pid = lab.master_pid();
    let said = lab.labctl(&["target", "vm-1", "apply", "slow", "--async", "-o", "json"]).expect(0);
    let promised = find(&said.json(), "id").and_then(Value::as_str).unwrap().to_owned();
    wait::until("the run to begin", LIMIT, || lab.on_minion("vm-1", "/began").exists().then_some(()));

    small.fill();
    let refused = wait::until("new jobs to be refused", LIMIT, || {
        let said = lab.labctl(&["target", "vm-1", "run", "--async", "--", "true"]);
        (said.code != 0).then_some(said)
    });
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("disk") && refused.stderr.contains("full"), "{refused:?}");
    let status = lab.labctl(&["status", "-o", "json"]).expect(0).json();
    assert!(find(&status, "degraded").is_some_and(Value::is_string), "{status}");
    lab.labctl(&["target", "vm-1", "ping"]).expect(0);

    fs::write(lab.on_minion("vm-1", "/go"), "").unwrap();
    assert_eq!(word(&lab, &promised), "changed", "a result that was promised is stored");
    // It is on disk, not only in memory.
    lab.signal_master("KILL");
    lab.start_master();
    assert_eq!(word(&lab, &promised), "changed");
    assert!(lab.labctl(&["target", "vm-1", "run", "--async", "--", "true"]).code != 0, "it is still full");
    assert_ne!(lab.master_pid(), pid);

    let pid = lab.master_pid();
    small.free();
    wait::until("new jobs to be taken again", LIMIT, || {
        (lab.labctl(&["target", "vm-1", "run", "--", "true"]).code == 0).then_some(())
    });
    assert_eq!(lab.master_pid(), pid);
    assert!(!lab.master_ended(), "without a restart");
    drop(lab);
    drop(small);
}

fn word(lab: &Lab, job: &str) -> String {
    wait::until(&format!("job {job} to end\n{}", lab.logs()), LIMIT, || {
        let said = lab.labctl(&["job", "show", job, "-o", "json"]);
        let json: Value = serde_json::from_str(&said.stdout).ok()?;
        Some(find(find(&json, "targets")?, "word")?.as_str()?.to_owned())
    })
}

//! Salt beside us, where `./dev test` installed it: the same trees, without a master, all of it below one folder.

use crate::pace::timed;
use std::{fs, path::Path, path::PathBuf, process::Command};
use tests::target_dir;

/// Compiles once so that everything is loaded, then says how long each further time took.
const COMPILE: &str = r#"
import sys, time
import salt.client, salt.config
conf, names, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
caller = salt.client.Caller(mopts=salt.config.minion_config(conf))
for run in range(runs + 1):
    start = time.perf_counter()
    steps = caller.cmd("state.show_low_sls", names)
    if not all(isinstance(step, dict) for step in steps):
        sys.exit(str(steps))
    if run:
        print((time.perf_counter() - start) * 1000)
"#;

/// Salt without a master.
pub(crate) struct Salt {
    programs: PathBuf,
    folder: PathBuf,
}

impl Salt {
    /// With these trees and grains, if it is here; what it writes is beneath the folder.
    pub(crate) fn find(folder: &Path, trees: [&Path; 2], grains: &serde_json::Value) -> Option<Self> {
        let programs = target_dir().join("salt/venv/bin");
        if !programs.join("salt-call").is_file() {
            eprintln!("no Salt in {}: `./dev test` installs it", programs.display());
            return None;
        }
        let (root, conf) = (folder.join("salt-root"), folder.join("salt-conf"));
        fs::create_dir_all(&conf).expect("the folder is ours");
        // JSON is YAML.
        let settings = serde_json::json!({
            "id": "vm-0", "root_dir": root, "log_file": root.join("log"), "file_client": "local", "grains": grains,
            "file_roots": { "base": [trees[0]] }, "pillar_roots": { "base": [trees[1]] },
        });
        fs::write(conf.join("minion"), settings.to_string()).expect("the folder is ours");
        Some(Self { programs, folder: conf })
    }
    /// Milliseconds for each further compile of these states in one process. States that it refuses give none.
    pub(crate) fn compile_ms(&self, names: &[String], runs: usize) -> Vec<f64> {
        let mut python = Command::new(self.programs.join("python"));
        python
            .args(["-c", COMPILE])
            .arg(self.folder.join("minion"))
            .args([names.join(","), runs.to_string()]);
        let (_, said) = timed(&mut python);
        if said.code != 0 {
            eprintln!("Salt does not compile them: {}", said.stderr.chars().take(500).collect::<String>());
        }
        said.stdout.lines().filter_map(|it| it.parse().ok()).collect()
    }
    /// Milliseconds of a whole `salt-call --local state.apply`.
    pub(crate) fn apply_ms(&self, name: &str) -> f64 {
        let mut call = Command::new(self.programs.join("salt-call"));
        call.arg("-c").arg(&self.folder).args([
            "--local",
            "-l",
            "error",
            "--out",
            "quiet",
            "state.apply",
            name,
        ]);
        let (time, said) = timed(&mut call);
        assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
        time
    }
}

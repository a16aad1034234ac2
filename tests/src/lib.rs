//! Starts real programs for tests: a lab on loopback, Debian roots, booted hosts on a bridge; waits, skips, cleans up.

pub mod api;
pub mod disk;
pub mod hosts;
pub mod lab;
pub mod promise;
pub mod proxy;
pub mod roots;
pub mod salt;
pub mod strace;
pub mod swarm;
pub mod trees;
pub mod wait;

use std::{fs::OpenOptions, io::Write, path::PathBuf, process::Command, sync::OnceLock};

/// The root of the project.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the project").to_owned()
}

/// The folder of the profile that this test was built with.
fn built_in() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    let folder = exe.ancestors().skip(1).find(|it| !it.ends_with("deps"));
    folder.expect("tests run from target/<profile>/ or target/<profile>/deps/").to_owned()
}

/// The name of that folder.
pub fn profile() -> String {
    built_in().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The build's target folder, where caches of the tests live too.
pub fn target_dir() -> PathBuf {
    built_in().parent().expect("a profile's folder is in the target folder").to_owned()
}

/// A program of the project, built with the profile that the test itself was built with.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let built_in = built_in();
    BUILT.get_or_init(|| {
        let profile = profile();
        let mut cargo = Command::new(env!("CARGO"));
        // The whole workspace, so that features are the same as in `./dev test` and nothing is built twice.
        cargo.args(["build", "--quiet", "--workspace", "--bins", "--profile"]);
        cargo.arg(if profile == "debug" { "dev" } else { &*profile });
        cargo.current_dir(project()).env("CARGO_TARGET_DIR", target_dir());
        // What the outer cargo says of this crate would make ring, and all that is built on it, be built anew.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        assert!(cargo.status().expect("cargo runs").success(), "the programs build");
    });
    built_in.join(name)
}

/// Notes that a test could not run here, and why. `./dev test` counts these, and fails in CI where they are not expected.
/// `Some(())` so that a test can say `return skip(...)`-like in one line.
pub fn skip(name: &str, reason: &str) {
    let line = format!("{name}: {reason}");
    eprintln!("skipped {line}");
    if let Some(path) = std::env::var_os("LABCTL_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut it| writeln!(it, "{line}")).expect("the list of skips can be written");
    }
}

/// Whether a program is on the path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|it| it.join(program).is_file())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Why real roots cannot be used here, if they cannot.
pub fn roots_missing() -> Option<String> {
    if !is_root() {
        return Some("needs root".to_owned());
    }
    let missing: Vec<&str> = ["mmdebstrap", "systemd-nspawn", "dpkg-scanpackages", "ip", "nsenter"]
        .into_iter()
        .filter(|it| !has(it))
        .collect();
    (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
}

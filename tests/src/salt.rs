//! Salt itself, as published, for tests that compare with it: `./dev test` installs it into the build folder; hosts see it
//! read-only beside a Python that is unpacked from the packages of their own Debian release.

use crate::{
    hosts::Host,
    roots::{debian, run},
    target_dir,
};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

/// Where hosts see it.
const ON_HOSTS: &str = "/opt/salt";

/// The Python of the roots' Debian release; Salt must be installed for the same.
const PYTHON: &str = "python3.11";

/// What of Python is unpacked: its own packages, which the repository has.
const PYTHON_PACKAGES: &[&str] = &["libpython3.11-minimal_", "libpython3.11-stdlib_", "python3.11-minimal_"];

/// Why Salt cannot be run here, if it cannot.
pub fn missing() -> Option<String> {
    (!packages().join("salt").is_dir()).then(|| {
        let packages = packages();
        format!(
            "needs Salt in {}: `./dev test` installs it where it finds {PYTHON} and PyPI",
            packages.display()
        )
    })
}

fn folder() -> PathBuf {
    target_dir().join("salt")
}

fn packages() -> PathBuf {
    folder().join("venv/lib").join(PYTHON).join("site-packages")
}

/// Shows Salt to a host that is not booted.
pub fn install(host: &mut Host) {
    unpack_python();
    host.bind(&folder(), ON_HOSTS);
}

/// Unpacks Python once, under a lock.
fn unpack_python() {
    let roots = debian();
    let lock = File::create(folder().join("lock")).expect("the target folder can be written");
    lock.lock().expect("a lock can be had");
    let (made, drafted) = (folder().join("python"), folder().join("python.new"));
    if made.is_dir() {
        return;
    }
    for entry in fs::read_dir(&roots.repo).expect("the repository was made").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if PYTHON_PACKAGES.iter().any(|it| name.starts_with(it)) {
            run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&drafted));
        }
    }
    fs::rename(&drafted, &made).expect("the folder is ours");
}

/// A shell command that is `salt-call` on a host, to be followed by its arguments.
pub fn call() -> String {
    let start = format!(
        "import sys; sys.path.insert(0, \"{ON_HOSTS}/venv/lib/{PYTHON}/site-packages\"); sys.argv[0] = \"salt-call\"; \
         from salt.scripts import salt_call; sys.exit(salt_call())"
    );
    format!("{ON_HOSTS}/python/usr/bin/{PYTHON} -B -c '{start}'")
}

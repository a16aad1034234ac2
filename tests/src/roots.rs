//! Debian roots for tests that touch a machine: made once with mmdebstrap, kept in the target folder, used through
//! overlays; with a flat repository of packages so that hosts install without a network.

use crate::target_dir;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What the root itself has.
const ROOT_PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,ca-certificates";

/// What states may install from the flat repository.
const REPO_PACKAGES: &[&str] = &[
    "cron",
    "curl",
    "docker.io",
    "git",
    "hello",
    "iproute2",
    "less",
    "nfs-common",
    "nftables",
    "nginx-light",
    "openssh-server",
    "prometheus-node-exporter",
    "sl",
    "sudo",
    "systemd-timesyncd",
    "tzdata",
    "unattended-upgrades",
];

/// Where the overlays are.
pub(crate) fn overlays() -> PathBuf {
    target_dir().join("overlays")
}

/// Bumped when the lists above change, so that an old cache is not taken for a new one.
const EDITION: &str = "2";

/// The base root and the repository.
#[derive(Clone, Debug)]
pub struct Roots {
    /// A read-only Debian root.
    pub base: PathBuf,
    /// Folder with `Packages` and debs.
    pub repo: PathBuf,
}

/// Makes (once per machine, under a lock) or finds the roots.
pub fn debian() -> &'static Roots {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let folder = target_dir().join("roots");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let lock = File::create(folder.join("lock")).expect("the target folder can be written");
        lock.lock().expect("a lock can be had");
        let stamp = folder.join("edition");
        if fs::read_to_string(&stamp).is_ok_and(|it| it == EDITION) {
            return Roots { base: folder.join("base"), repo: folder.join("repo") };
        }
        for old in ["base", "repo"] {
            let _ = fs::remove_dir_all(folder.join(old));
        }
        make_base(&folder.join("base"));
        make_repo(&folder.join("base"), &folder.join("repo"));
        fs::write(&stamp, EDITION).expect("the target folder can be written");
        Roots { base: folder.join("base"), repo: folder.join("repo") }
    })
}

fn make_base(base: &Path) {
    let tar = base.with_extension("tar");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=minbase", &format!("--include={ROOT_PACKAGES}"), "bookworm"]).arg(&tar);
    if let Ok(sources) = fs::read_dir("/etc/apt/sources.list.d") {
        let deb822 =
            sources.filter_map(Result::ok).map(|it| it.path()).find(|it| it.ends_with("debian.sources"));
        make.args(deb822);
    }
    run(&mut make);
    fs::create_dir_all(base).expect("a folder can be made");
    run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(base));
    fs::remove_file(&tar).expect("the tar is ours");
    for list in [
        "etc/apt/sources.list",
        "etc/apt/sources.list.d/debian.sources",
        "etc/apt/sources.list.d/0000debian.sources",
    ] {
        let _ = fs::remove_file(base.join(list));
    }
    fs::write(base.join("etc/apt/sources.list.d/lab.list"), "deb [trusted=yes] file:/srv/repo ./\n")
        .expect("the root is ours");
    fs::create_dir_all(base.join("srv/repo")).expect("the root is ours");
    fs::write(base.join("etc/machine-id"), "").expect("the root is ours");
}

fn make_repo(base: &Path, repo: &Path) {
    fs::create_dir_all(repo.join("partial")).expect("a folder can be made");
    let status = base.join("var/lib/dpkg/status");
    run(Command::new("apt-get")
        .args(["-qq", "-y", "--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o"])
        .arg(format!("Dir::State::status={}", status.display()))
        .arg("-o")
        .arg(format!("Dir::Cache::archives={}/", repo.display()))
        .args(["-o", "APT::Sandbox::User=root", "install"])
        .args(REPO_PACKAGES));
    fs::remove_dir_all(repo.join("partial")).expect("the folder is ours");
    let index = File::create(repo.join("Packages")).expect("the folder is ours");
    run(Command::new("dpkg-scanpackages")
        .args(["--multiversion", "."])
        .current_dir(repo)
        .stdout(index)
        .stderr(Stdio::null()));
}

/// Runs a set-up command and shows it when it fails.
pub(crate) fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// A writable copy of the base root: an overlay that is unmounted and deleted when dropped.
#[derive(Debug)]
pub struct Overlay {
    folder: PathBuf,
}

impl Overlay {
    /// On top of the base root, in a temporary folder named `name`.
    pub fn new(name: &str) -> Self {
        // Tests of one process may use the same host names at the same time.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = overlays().join(format!("{name}x{count}-{}", std::process::id()));
        for part in ["upper", "work", "merged"] {
            fs::create_dir_all(folder.join(part)).expect("the target folder can be written");
        }
        let base = &debian().base;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            folder.join("upper").display(),
            folder.join("work").display()
        );
        run(Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(folder.join("merged")));
        Self { folder }
    }
    /// One that another process left.
    pub(crate) fn adopt(folder: PathBuf) -> Self {
        Self { folder }
    }
    /// A name that no other overlay has.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// The merged root.
    pub fn root(&self) -> PathBuf {
        self.folder.join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root()).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

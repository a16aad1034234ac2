//! What beacons see of the machine, behind a small trait, so that they can be shown any machine in tests.

use crate::linux::{network, open_plain, space};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Longest file of the kernel's that is read.
const TEXT_MAX: u64 = 256 << 10;
/// Names of one folder: `/proc` has one for each process.
const NAMES_MAX: usize = 32 << 10;
/// Links on the way to one file.
const LINKS_MAX: usize = 40;
/// File systems that may wait for another machine.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "autofs",
    "davfs",
    "virtiofs",
];

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that are not free for anyone.
    pub used: u64,
    /// Bytes that programs can still use.
    pub free: u64,
    /// Inodes in all; none on file systems that make them as they need them.
    pub inodes: u64,
    /// Inodes that programs can still use.
    pub inodes_free: u64,
}

/// A file system that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub device: String,
    /// Where.
    pub path: String,
    /// Its type.
    pub kind: String,
}

impl Mount {
    /// Whether it lies on this machine's own disks.
    pub fn is_disk(&self) -> bool {
        let on_device = self.device.starts_with("/dev/") && !self.device.starts_with("/dev/loop");
        let own_names = matches!(self.kind.as_str(), "zfs" | "btrfs" | "bcachefs");
        (on_device || own_names || self.path == "/") && !self.is_remote() && self.kind != "iso9660"
    }

    /// Whether it may wait for another machine.
    pub fn is_remote(&self) -> bool {
        NETWORK.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.") || self.device.contains(":/")
    }
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It is switched on and has a carrier.
    pub up: bool,
    /// Addresses with their prefix, in order; without those that only count on the link itself.
    pub addresses: Vec<String>,
}

/// What a beacon may look at. Nothing of it waits for another machine.
pub trait Senses {
    /// A small file of the kernel's.
    fn text(&self, path: &str) -> io::Result<String>;
    /// A small file that people named: others may have put anything there.
    fn named(&self, path: &str) -> io::Result<String> {
        self.text(path)
    }
    /// Names in a folder, in order.
    fn names(&self, path: &str) -> io::Result<Vec<String>>;
    /// What is mounted, in order.
    fn mounts(&self) -> io::Result<Vec<Mount>>;
    /// How full the file system is that is mounted at a path.
    fn space(&self, mount: &str) -> io::Result<Space>;
    /// Network interfaces, in order of name.
    fn interfaces(&self) -> io::Result<Vec<Interface>>;
    /// Where the machine's files are.
    fn root(&self) -> &Path;
    /// Processors.
    fn processors(&self) -> usize;
    /// A file of the kernel's that is ready (`POLLPRI`) when what it was told happens; the kernel stops when it is closed.
    fn pressure_trigger(&self, _path: &str, _order: &str) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Where beacons keep what they must know after a restart of the agent, if anywhere.
    fn keep(&self) -> Option<&Path> {
        None
    }
}

/// The machine, or a pretended one, whose files lie in a folder.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    processors: usize,
    keep: Option<PathBuf>,
}

impl Machine {
    /// With its files below `root`; what a pretended machine has not there (`/proc`, `/sys`) is that of the real one.
    pub fn new(root: &Path) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { root: root.to_owned(), processors, keep: None }
    }

    /// With a folder for what beacons keep.
    #[must_use]
    pub fn keeping(self, folder: PathBuf) -> Self {
        Self { keep: Some(folder), ..self }
    }

    fn place(&self, path: &str) -> PathBuf {
        let below = self.root.join(path.trim_start_matches('/'));
        if below.exists() { below } else { PathBuf::from(path) }
    }
}

impl Senses for Machine {
    fn text(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        open_plain(&self.place(path))?.take(TEXT_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn named(&self, path: &str) -> io::Result<String> {
        let path = resolve(&self.mounts()?, &self.root, path, &mut |_, _| {})?;
        self.text(&path)
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.place(path))?.flatten();
        let names = entries.filter_map(|it| it.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(NAMES_MAX).collect();
        names.sort();
        Ok(names)
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        if self.root != Path::new("/") {
            let all = mounts(&self.text("/proc/self/mounts")?);
            let below = mount_of(&all, &self.root.to_string_lossy()).cloned();
            return Ok(below.map(|it| Mount { path: "/".to_owned(), ..it }).into_iter().collect());
        }
        Ok(mounts(&self.text("/proc/self/mounts")?))
    }

    fn space(&self, mount: &str) -> io::Result<Space> {
        space::whole(&self.root.join(mount.trim_start_matches('/')))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        network::interfaces()
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn processors(&self) -> usize {
        self.processors
    }

    fn pressure_trigger(&self, path: &str, order: &str) -> io::Result<File> {
        // A pretended machine may have a file of its own there, which nobody answers.
        let place =
            Some(self.place(path)).filter(|it| it == Path::new(path)).ok_or(io::ErrorKind::Unsupported)?;
        let mut file = File::options().read(true).write(true).open(place)?;
        file.write_all(order.as_bytes())?;
        Ok(file)
    }

    fn keep(&self) -> Option<&Path> {
        self.keep.as_deref()
    }
}

/// The lines of `/proc/self/mounts`; a later mount at the same place hides the one before.
pub fn mounts(text: &str) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::new();
    for line in text.lines().take(NAMES_MAX) {
        let mut fields = line.split(' ');
        let (Some(device), Some(path), Some(kind)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mount = Mount { device: unescaped(device), path: unescaped(path), kind: kind.to_owned() };
        all.retain(|it| it.path != mount.path);
        all.push(mount);
    }
    all
}

/// The file system that a path is on, as far as its text says.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let holds = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(holds).max_by_key(|it| it.path.len())
}

/// Why a path is left alone.
pub fn remote(path: &str, mount: &Mount) -> io::Error {
    io::Error::other(format!("`{path}` is on the network ({}), which is never asked", mount.kind))
}

/// Where a path of the machine leads, all links followed. What is on another machine is refused before it is looked at:
/// that could wait for long. `passed` hears each folder on the way, and the name that is looked up in it.
pub fn resolve(
    mounts: &[Mount],
    root: &Path,
    path: &str,
    passed: &mut dyn FnMut(&str, &str),
) -> io::Result<String> {
    let parts = |text: &str| text.split('/').rev().map(str::to_owned).collect::<Vec<String>>();
    let (mut left, mut done, mut links) = (parts(path), String::new(), 0);
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            part => passed(&done, part),
        }
        let next = format!("{done}/{part}");
        if let Some(mount) = mount_of(mounts, &next).filter(|it| it.is_remote()) {
            return Err(remote(&next, mount));
        }
        let place = root.join(&next[1..]);
        if !place.symlink_metadata()?.is_symlink() {
            done = next;
            continue;
        }
        links += 1;
        let target = place.read_link()?.into_os_string().into_string();
        let target = target.ok().filter(|_| links <= LINKS_MAX).ok_or(io::ErrorKind::InvalidInput)?;
        if target.starts_with('/') {
            done.clear();
        }
        left.extend(parts(&target));
    }
    Ok(if done.is_empty() { "/".to_owned() } else { done })
}

/// Spaces and the like stand as `\040` there.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        let (byte, left) = match octal.filter(|_| *first == b'\\') {
            Some(byte) => (byte, &tail[3..]),
            None => (*first, tail),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
pub(crate) mod fake {
    //! A machine of a few texts.

    use super::{Interface, Mount, Senses, Space};
    use std::collections::BTreeMap;
    use std::io;
    use std::path::{Path, PathBuf};

    /// Everything is said by the test.
    #[derive(Clone, Debug)]
    pub(crate) struct Fake {
        pub(crate) texts: BTreeMap<String, String>,
        pub(crate) mounts: Vec<Mount>,
        pub(crate) spaces: BTreeMap<String, Space>,
        pub(crate) interfaces: Vec<Interface>,
        pub(crate) root: PathBuf,
    }

    impl Default for Fake {
        fn default() -> Self {
            Self {
                texts: BTreeMap::new(),
                mounts: Vec::new(),
                spaces: BTreeMap::new(),
                interfaces: Vec::new(),
                root: PathBuf::from("/nowhere"),
            }
        }
    }

    impl Fake {
        pub(crate) fn put(&mut self, path: &str, text: &str) {
            self.texts.insert(path.to_owned(), text.to_owned());
        }
    }

    impl Senses for Fake {
        fn text(&self, path: &str) -> io::Result<String> {
            self.texts.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn names(&self, path: &str) -> io::Result<Vec<String>> {
            let start = format!("{path}/");
            let below = self.texts.keys().filter_map(|it| it.strip_prefix(&start)?.split('/').next());
            let mut names: Vec<String> = below.map(str::to_owned).collect();
            names.dedup();
            if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
        }
        fn mounts(&self) -> io::Result<Vec<Mount>> {
            Ok(self.mounts.clone())
        }
        fn space(&self, mount: &str) -> io::Result<Space> {
            self.spaces.get(mount).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn interfaces(&self) -> io::Result<Vec<Interface>> {
            Ok(self.interfaces.clone())
        }
        fn root(&self) -> &Path {
            &self.root
        }
        fn processors(&self) -> usize {
            4
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_and_those_on_the_network_are_told_apart() {
        let text = "rootfs / rootfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\nnas:/x /mnt/nas\\040one nfs4 rw 0 0\n\
                    tank/data /data zfs rw 0 0\n/dev/loop3 /snap/x squashfs ro 0 0\nproc /proc proc rw 0 0\n\
                    user@host:/ /mnt/ssh fuse.sshfs rw 0 0\nshort\n";
        let all = mounts(text);
        let disks: Vec<&str> = all.iter().filter(|it| it.is_disk()).map(|it| it.path.as_str()).collect();
        assert_eq!(disks, ["/", "/data"]);
        let remote: Vec<&str> = all.iter().filter(|it| it.is_remote()).map(|it| it.path.as_str()).collect();
        assert_eq!(remote, ["/mnt/nas one", "/mnt/ssh"]);
        for (path, mount) in [("/", "/"), ("/data", "/data"), ("/data/x", "/data"), ("/database", "/")] {
            assert_eq!(mount_of(&all, path).unwrap().path, mount, "{path}");
        }
    }

    #[test]
    fn a_pretended_machine_has_its_own_files_and_one_disk() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/loadavg"), "9.00 8.00 7.00 1/2 3\n").unwrap();
        let machine = Machine::new(dir.path());
        assert!(machine.text("/proc/loadavg").unwrap().starts_with("9.00"));
        assert!(machine.text("/proc/uptime").is_ok(), "the real machine's");
        let mounts = machine.mounts().unwrap();
        assert_eq!(mounts.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["/"]);
        let space = machine.space("/").unwrap();
        assert!(space.total >= space.used && space.total > 0, "{space:?}");
    }

    #[test]
    fn a_path_is_followed_until_it_leads_to_another_machine() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("srv/rel1/conf")).unwrap();
        std::fs::create_dir_all(dir.path().join("nas/data")).unwrap();
        for (name, target) in
            [("current", "rel1"), ("rooted", "/srv/rel1"), ("far", "../nas/data"), ("loop", "loop")]
        {
            symlink(target, dir.path().join("srv").join(name)).unwrap();
        }
        let mounts = mounts("/dev/sda1 / ext4 rw 0 0\nnas:/x /nas nfs4 rw 0 0\n");
        let lead = |path: &str| {
            let mut passed = Vec::new();
            let lead = resolve(&mounts, dir.path(), path, &mut |folder, name| {
                passed.push(format!("{folder}:{name}"));
            });
            lead.map(|it| format!("{it} {}", passed.join(" "))).map_err(|it| it.to_string())
        };
        assert_eq!(
            lead("/srv//current/./conf").unwrap(),
            "/srv/rel1/conf :srv /srv:current /srv:rel1 /srv/rel1:conf"
        );
        assert_eq!(
            lead("/srv/rooted/../rooted").unwrap(),
            "/srv/rel1 :srv /srv:rooted :srv /srv:rel1 /srv:rooted :srv /srv:rel1"
        );
        assert_eq!(lead("/").unwrap(), "/ ");
        for (path, wanted) in [
            ("/nas", "on the network"),
            ("/srv/far", "on the network"),
            ("/srv/loop", "invalid"),
            ("/x", "No such"),
        ] {
            assert!(lead(path).unwrap_err().contains(wanted), "{path}: {:?}", lead(path));
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pid");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let machine = Machine::new(dir.path());
        assert!(machine.named("/pid").is_err() && machine.text("/pid").is_err());
        std::fs::write(dir.path().join("plain"), "7").unwrap();
        assert_eq!(machine.named("/plain").unwrap(), "7");
    }
}

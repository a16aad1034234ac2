//! Small disks for tests: in memory or in an image file, filled and freed, with the power cut off; unmounted when dropped.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
    images: Option<TempDir>,
    cuts: u32,
}

impl Disk {
    /// In memory. `None` where mounting is not allowed.
    pub fn in_memory(place: &Path, mib: u32) -> Option<Self> {
        sweep();
        fs::create_dir_all(place).expect("the folder is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0755"), "labctl-test"]).arg(place);
        succeeds(&mut mount).then(|| Self { place: place.to_owned(), images: None, cuts: 0 })
    }
    /// An ext4 file system in an image. Nothing gets from its cache into the image but by a sync: what is in there is
    /// what a loss of power leaves.
    pub fn in_image(place: &Path, mib: u32) -> Option<Self> {
        sweep();
        fs::create_dir_all(place).expect("the folder is ours");
        let name = format!("labdisk{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let images = tempfile::Builder::new().prefix(&name).tempdir().expect("the temporary folder is there");
        let image = images.path().join("0.img");
        File::create(&image).and_then(|it| it.set_len(u64::from(mib) << 20)).expect("the folder is ours");
        let made = succeeds(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        let disk = Self { place: place.to_owned(), images: Some(images), cuts: 0 };
        (made && mount(&image, place)).then_some(disk)
    }
    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::create(self.place.join("filler")).expect("the disk takes a file");
        for size in [1 << 20, 4096, 1] {
            let piece = vec![b'x'; size];
            while file.write_all(&piece).is_ok() {}
        }
        let _ = file.sync_all();
    }
    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.place.join("filler")).expect("it was filled");
    }
    /// Syncs everything: what was there before a test began is not what it is about.
    pub fn settle(&self) {
        assert!(succeeds(Command::new("sync").arg("-f").arg(&self.place)), "the disk can be synced");
    }
    /// What was not synced is gone. Whoever used the disk was killed before.
    pub fn cut_power(&mut self) {
        let images = self.images.as_ref().expect("only a disk in an image can lose power").path();
        let (now, next) = (format!("{}.img", self.cuts), format!("{}.img", self.cuts + 1));
        let (now, next) = (images.join(now), images.join(next));
        assert!(
            succeeds(Command::new("cp").arg("--sparse=always").args([&now, &next])),
            "the image is copied"
        );
        unmount(&self.place);
        let _ = fs::remove_file(now);
        self.cuts += 1;
        assert!(mount(&next, &self.place), "what is left is a file system");
    }
}

/// No writing back in the background for as long as a test may take: `commit` is the journal's own interval.
fn mount(image: &Path, place: &Path) -> bool {
    succeeds(Command::new("mount").args(["-o", "loop,commit=300,nodiscard"]).arg(image).arg(place))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|it| it.success())
}

fn unmount(place: &Path) {
    if !succeeds(Command::new("umount").arg(place)) {
        let _ = succeeds(Command::new("umount").arg("-l").arg(place));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.place);
    }
}

/// Unmounts what test processes left that were killed. A loop device goes with its mount.
fn sweep() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("labdisk").and_then(|it| it.split_once('x'));
            if pid.is_none_or(|(pid, _)| Path::new("/proc").join(pid).exists()) {
                continue;
            }
            let devices = Command::new("losetup").args(["-l", "-n", "-O", "NAME,BACK-FILE"]).output();
            let devices =
                devices.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
            for line in devices.lines().filter(|it| it.contains(&name)) {
                let device = line.split_whitespace().next().unwrap_or_default();
                let _ = succeeds(Command::new("umount").arg("-l").arg(device));
            }
            let _ = fs::remove_dir_all(entry.path());
        }
    });
}

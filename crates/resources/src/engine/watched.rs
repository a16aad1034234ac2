//! The host as a step sees it while the engine listens: output is told as it comes, masked and cut at its limit.

use super::{Progress, Shared, masking::MaskStream};
use crate::{
    Collected, Host, Probe,
    host::{Action, Attributes, Contents, Done, Exit, Group, Links, Query, Special, Stat, Unit, User, Watch},
    keep::Kept,
    packages::{Available, Lists, Manager, Reach, Upgrade},
};
use model::{ContentHash, JobId, Output};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What one step may print live; the rest is only in the report, up to that one's limit.
const LIVE_BYTES_MAX: usize = 1 << 20;

/// A host with an ear.
pub(super) struct Watched<'a, 's> {
    pub(super) host: &'a mut dyn Host,
    pub(super) shared: &'a Shared<'s>,
    pub(super) index: usize,
    /// Whether output is told: that of guards is not.
    pub(super) live: bool,
    /// Bytes told so far.
    pub(super) told: usize,
}

struct Ear<'a, 's> {
    shared: &'a Shared<'s>,
    index: usize,
    live: bool,
    told: &'a mut usize,
    streams: [MaskStream; 2],
    collected: Collected,
}

impl Ear<'_, '_> {
    fn tell(&mut self, stderr: bool, text: String) {
        if text.is_empty() {
            return;
        }
        self.collected.output(stderr, text.as_bytes());
        if !self.live || *self.told >= LIVE_BYTES_MAX {
            return;
        }
        *self.told += text.len();
        self.shared.tell(Progress::Output { index: self.index, stderr, text });
        if *self.told >= LIVE_BYTES_MAX {
            let text = "\n[live output ends here: 1 MiB was shown]\n".to_owned();
            self.shared.tell(Progress::Output { index: self.index, stderr: true, text });
        }
    }
}

impl Watch for Ear<'_, '_> {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        let text = self.streams[usize::from(stderr)].push(self.shared.masker, bytes);
        self.tell(stderr, text);
    }
    fn cancelled(&self) -> bool {
        self.shared.cancelled()
    }
}

impl Host for Watched<'_, '_> {
    fn write(
        &mut self,
        path: &Path,
        contents: Contents<'_>,
        how: Attributes,
        links: Links,
    ) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, links)?;
        self.host.write(path, contents, how, links)
    }
    fn make_directory(&mut self, path: &Path, how: Attributes) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, Links::Keep)?;
        self.host.make_directory(path, how)
    }
    fn make_symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, Links::Keep)?;
        self.host.make_symlink(path, target)
    }
    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, Links::Keep)?;
        self.host.hard_link(path, target)
    }
    fn make_special(&mut self, path: &Path, special: Special, how: Attributes) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, Links::Keep)?;
        self.host.make_special(path, special, how)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.keeper().before_rename(self.host, from, to)?;
        self.host.rename(from, to)
    }
    fn set_times(&mut self, path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()> {
        self.host.set_times(path, accessed_s, modified_s)
    }
    fn set(&mut self, path: &Path, how: Attributes, links: Links) -> io::Result<()> {
        self.shared.keeper().before(self.host, path, links)?;
        self.host.set(path, how, links)
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.shared.keeper().before_removal(self.host, path)?;
        self.host.remove(path)
    }
    fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> io::Result<Exit> {
        self.shared.keeper().before_action(self.host, action)?;
        self.host.act(&self.shared.variables.within(action), watch)
    }
    fn settle(&mut self) -> io::Result<()> {
        self.host.settle()
    }
    fn perform(&mut self, action: &Action) -> io::Result<Done> {
        self.shared.keeper().before_action(self.host, action)?;
        let mut ear = Ear {
            shared: self.shared,
            index: self.index,
            live: self.live,
            told: &mut self.told,
            streams: Default::default(),
            collected: Collected::default(),
        };
        let exit = self.host.act(&self.shared.variables.within(action), &mut ear)?;
        for stderr in [false, true] {
            let rest = ear.streams[usize::from(stderr)].finish(self.shared.masker);
            ear.tell(stderr, rest);
        }
        Ok(Done { output: ear.collected.into_output(exit), exit })
    }
}

impl Probe for Watched<'_, '_> {
    fn stat(&self, path: &Path, links: Links) -> io::Result<Option<Stat>> {
        self.host.stat(path, links)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.host.read(path)
    }
    fn hash(&self, path: &Path) -> io::Result<ContentHash> {
        self.host.hash(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.host.read_link(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.host.list(path)
    }
    fn now_s(&self) -> i64 {
        self.host.now_s()
    }
    fn blob(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        self.host.blob(hash)
    }
    fn blob_size(&self, hash: ContentHash) -> io::Result<u64> {
        self.host.blob_size(hash)
    }
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        self.host.uid(name)
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        self.host.gid(name)
    }
    fn user_name(&self, uid: u32) -> String {
        self.host.user_name(uid)
    }
    fn group_name(&self, gid: u32) -> String {
        self.host.group_name(gid)
    }
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        self.host.user(name)
    }
    fn group(&self, name: &str) -> io::Result<Option<Group>> {
        self.host.group(name)
    }
    fn packages(&self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        self.host.packages(names)
    }
    fn package_manager(&self) -> io::Result<Manager> {
        self.host.package_manager()
    }
    fn available(
        &self,
        names: &[String],
        from: Option<&str>,
        lists: Lists,
    ) -> io::Result<BTreeMap<String, Available>> {
        self.host.available(names, from, lists)
    }
    fn upgrades(&self, reach: Reach, lists: Lists) -> io::Result<BTreeMap<String, Upgrade>> {
        self.host.upgrades(reach, lists)
    }
    fn held(&self) -> io::Result<BTreeSet<String>> {
        self.host.held()
    }
    fn left_over(&self, names: &[String]) -> io::Result<BTreeSet<String>> {
        self.host.left_over(names)
    }
    fn unit(&self, name: &str) -> io::Result<Unit> {
        self.host.unit(name)
    }
    fn crontab(&self, user: &str) -> io::Result<String> {
        self.host.crontab(user)
    }
    fn sysctl(&self, name: &str) -> io::Result<Option<String>> {
        self.host.sysctl(name)
    }
    fn query(&self, query: &Query) -> io::Result<Output> {
        self.host.query(query)
    }
    fn kept(&self, job: JobId) -> io::Result<Option<Vec<Kept>>> {
        self.host.kept(job)
    }
    fn kept_contents(&self, job: JobId, hash: ContentHash) -> io::Result<Vec<u8>> {
        self.host.kept_contents(job, hash)
    }
    fn is_sandbox(&self) -> bool {
        self.host.is_sandbox()
    }
}

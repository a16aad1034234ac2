//! A machine in memory, for tests and simulations: data in, data out, and any call can be told to fail.

mod acts;
mod machine;

pub use machine::{FakeGroup, FakeUnit, FakeUser, Machine, Node, Reply, Repository, WorkingCopy};

use crate::{
    Collected, Host, Probe,
    host::{
        Action, Attributes, Contents, Exit, FileKind, Group, Links, Query, Special, Stat, Unit, User, Watch,
    },
    keep::{Kept, State},
    packages::{Available, Lists, Manager, Reach, Upgrade},
};
use model::{ContentHash, JobId, Output};
use sha2::{Digest, Sha256};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A [`Machine`] behind the traits.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    /// Everything on it.
    pub machine: Machine,
    /// Contents that came with the recipe.
    pub blobs: BTreeMap<ContentHash, Arc<[u8]>>,
    /// The call, counted from 1, that fails. Names of users and groups for display are no calls.
    pub fail_at: Option<usize>,
    /// The job whose run keeps what it alters; `None` keeps nothing.
    pub job: Option<JobId>,
    /// Whether that run has a way back: what it keeps must be durable before anything is altered.
    pub way_back: bool,
    /// What jobs kept.
    pub kept: BTreeMap<JobId, Vec<Kept>>,
    calls: Cell<usize>,
    /// Whether something was kept that is not durable.
    unsecured: bool,
    /// Whether the lists of packages were fetched by a look.
    fetched: Cell<bool>,
}

impl FakeHost {
    /// With this on it.
    pub fn new(machine: Machine) -> Self {
        Self { machine, ..Self::default() }
    }
    /// With a content that steps can refer to.
    #[must_use]
    pub fn with_blob(mut self, bytes: &[u8]) -> Self {
        self.blobs.insert(ContentHash(Sha256::digest(bytes).into()), Arc::from(bytes));
        self
    }
    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.get()
    }

    fn call(&self) -> io::Result<()> {
        self.calls.set(self.calls.get() + 1);
        if self.fail_at == Some(self.calls.get()) {
            return Err(io::Error::other("told to fail"));
        }
        Ok(())
    }

    /// A call that alters something.
    fn alter(&self) -> io::Result<()> {
        if self.way_back && self.unsecured {
            return Err(io::Error::other("altered before what was there is durable"));
        }
        self.call()
    }

    fn file(&self, path: &Path) -> io::Result<&Node> {
        let node = self.machine.node(&self.machine.follow(path)?).ok_or(io::ErrorKind::NotFound)?;
        if node.kind() == FileKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(node)
    }

    /// What can be installed, by name. Fetched lists stay fetched.
    fn listed(&self, lists: Lists) -> BTreeMap<String, String> {
        self.fetched.set(self.fetched.get() || lists != Lists::Known);
        let mut all = self.machine.available.clone();
        if self.fetched.get() {
            all.extend(self.machine.unlisted.clone());
        }
        all
    }

    fn place(&self, path: &Path, links: Links) -> io::Result<PathBuf> {
        match links {
            Links::Follow => self.machine.follow(path),
            Links::Keep => self.machine.follow_parents(path),
        }
    }

    /// A new name can only be made in a folder.
    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.machine.node(parent).map(Node::kind) {
            Some(FileKind::Directory) => Ok(()),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Probe for FakeHost {
    fn stat(&self, path: &Path, links: Links) -> io::Result<Option<Stat>> {
        self.call()?;
        let Ok(place) = self.place(path, links) else { return Ok(None) };
        Ok(self.machine.stat(&place))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call()?;
        Ok(self.file(path)?.contents.clone().unwrap_or_default().into_bytes())
    }
    fn hash(&self, path: &Path) -> io::Result<ContentHash> {
        self.call()?;
        let contents = self.file(path)?.contents.clone().unwrap_or_default();
        Ok(ContentHash(Sha256::digest(contents).into()))
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.call()?;
        let node = self.machine.node(&self.machine.follow_parents(path)?).ok_or(io::ErrorKind::NotFound)?;
        node.link.as_ref().map(PathBuf::from).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.call()?;
        let path = self.machine.follow(path)?;
        let children = self.machine.files.keys().map(Path::new).filter(|it| it.parent() == Some(&path));
        Ok(children.filter_map(|it| it.file_name()).map(OsString::from).collect())
    }
    fn now_s(&self) -> i64 {
        machine::NOW_S
    }
    fn blob(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        self.call()?;
        self.blobs.get(&hash).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn blob_size(&self, hash: ContentHash) -> io::Result<u64> {
        self.blob(hash).map(|it| it.len() as u64)
    }
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        self.call()?;
        Ok(self.machine.users.get(name).map(|it| it.uid).or_else(|| name.parse().ok()))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        self.call()?;
        Ok(self.machine.groups.get(name).map(|it| it.gid).or_else(|| name.parse().ok()))
    }
    fn user_name(&self, uid: u32) -> String {
        let found = self.machine.users.iter().find(|(_, it)| it.uid == uid);
        found.map_or_else(|| uid.to_string(), |(name, _)| name.clone())
    }
    fn group_name(&self, gid: u32) -> String {
        let found = self.machine.groups.iter().find(|(_, it)| it.gid == gid);
        found.map_or_else(|| gid.to_string(), |(name, _)| name.clone())
    }
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        self.call()?;
        Ok(self.machine.user(name))
    }
    fn group(&self, name: &str) -> io::Result<Option<Group>> {
        self.call()?;
        let found = self.machine.groups.get(name);
        Ok(found.map(|it| Group { gid: it.gid, members: it.members.clone() }))
    }
    fn packages(&self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        self.call()?;
        let found = |name: &String| Some((name.clone(), self.machine.packages.get(name)?.clone()));
        Ok(names.iter().filter_map(found).collect())
    }
    fn package_manager(&self) -> io::Result<Manager> {
        self.call()?;
        Ok(self.machine.package_manager)
    }
    fn available(
        &self,
        names: &[String],
        _: Option<&str>,
        lists: Lists,
    ) -> io::Result<BTreeMap<String, Available>> {
        self.call()?;
        let all = self.listed(lists);
        let found = |name: &String| Some((name.clone(), machine::offered(all.get(name)?)));
        Ok(names.iter().filter_map(found).collect())
    }
    fn upgrades(&self, _: Reach, lists: Lists) -> io::Result<BTreeMap<String, Upgrade>> {
        self.call()?;
        let all = self.listed(lists);
        let newer = |(name, from): (&String, &String)| {
            let to = machine::offered(all.get(name)?).candidate?;
            (to != *from && !self.machine.held.contains(name))
                .then(|| (name.clone(), Upgrade { from: Some(from.clone()), to }))
        };
        Ok(self.machine.packages.iter().filter_map(newer).collect())
    }
    fn held(&self) -> io::Result<BTreeSet<String>> {
        self.call()?;
        Ok(self.machine.held.clone())
    }
    fn left_over(&self, names: &[String]) -> io::Result<BTreeSet<String>> {
        self.call()?;
        Ok(names.iter().filter(|it| self.machine.left_over.contains(*it)).cloned().collect())
    }
    fn unit(&self, name: &str) -> io::Result<Unit> {
        self.call()?;
        let booted = !self.machine.without_systemd;
        let Some(unit) = self.machine.units.get(name) else {
            let active = booted.then(|| "inactive".to_owned());
            return Ok(Unit { active, ..Unit::default() });
        };
        Ok(Unit {
            found: true,
            active: booted.then(|| unit.active.clone()),
            enabled: unit.enabled.clone(),
            can_reload: unit.can_reload,
            stale: false,
        })
    }
    fn crontab(&self, user: &str) -> io::Result<String> {
        self.call()?;
        if !self.machine.users.contains_key(user) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such user"));
        }
        Ok(self.machine.crontabs.get(user).cloned().unwrap_or_default())
    }
    fn sysctl(&self, name: &str) -> io::Result<Option<String>> {
        self.call()?;
        Ok(self.machine.sysctls.get(name).cloned())
    }
    fn query(&self, query: &Query) -> io::Result<Output> {
        self.call()?;
        let reply = self.machine.answer(query);
        let mut collected = Collected::bounded(query.answer_bytes_max());
        collected.output(false, reply.stdout.as_bytes());
        collected.output(true, reply.stderr.as_bytes());
        Ok(collected.into_output(Exit::Code(reply.code)))
    }
    fn kept(&self, job: JobId) -> io::Result<Option<Vec<Kept>>> {
        self.call()?;
        Ok(self.kept.get(&job).cloned())
    }
    fn kept_contents(&self, _: JobId, hash: ContentHash) -> io::Result<Vec<u8>> {
        self.blob(hash).map(|it| it.to_vec())
    }
}

impl Host for FakeHost {
    fn write(
        &mut self,
        path: &Path,
        contents: Contents<'_>,
        how: Attributes,
        links: Links,
    ) -> io::Result<()> {
        self.alter()?;
        let bytes = match contents {
            Contents::Bytes(bytes) => bytes.to_vec(),
            Contents::Blob(hash) => self.blobs.get(&hash).ok_or(io::ErrorKind::NotFound)?.to_vec(),
            Contents::File(path) => self.file(path)?.contents.clone().unwrap_or_default().into_bytes(),
        };
        let place = self.place(path, links)?;
        self.parent_exists(&place)?;
        let old = self.machine.node(&place).cloned();
        if old.as_ref().is_some_and(|it| it.kind() == FileKind::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let old = old.filter(|it| it.kind() == FileKind::File).unwrap_or_default();
        let contents = Some(String::from_utf8_lossy(&bytes).into_owned());
        let mut node = Node { contents, inode: 0, atime: 0, mtime: 0, ..old };
        node.take(how);
        self.machine.put(&place, node);
        Ok(())
    }
    fn make_directory(&mut self, path: &Path, how: Attributes) -> io::Result<()> {
        self.alter()?;
        let place = self.machine.follow_parents(path)?;
        self.parent_exists(&place)?;
        if self.machine.node(&place).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut node = Node { directory: true, ..Node::default() };
        node.take(how);
        self.machine.put(&place, node);
        Ok(())
    }
    fn make_symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.alter()?;
        let place = self.machine.follow_parents(path)?;
        self.parent_exists(&place)?;
        self.machine.put(&place, Node { link: Some(target.display().to_string()), ..Node::default() });
        Ok(())
    }
    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.alter()?;
        let place = self.machine.follow_parents(path)?;
        let target = self.machine.follow_parents(target)?;
        self.parent_exists(&place)?;
        self.machine.hard_link(&place, &target)
    }
    fn make_special(&mut self, path: &Path, special: Special, how: Attributes) -> io::Result<()> {
        self.alter()?;
        let place = self.machine.follow_parents(path)?;
        self.parent_exists(&place)?;
        if self.machine.node(&place).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut node = Node { special: Some(machine::special_text(special)), ..Node::default() };
        node.take(how);
        self.machine.put(&place, node);
        Ok(())
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.alter()?;
        let (from, to) = (self.machine.follow_parents(from)?, self.machine.follow_parents(to)?);
        self.parent_exists(&to)?;
        self.machine.rename(&from, &to)
    }
    fn set_times(&mut self, path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()> {
        self.alter()?;
        let place = self.place(path, Links::Follow)?;
        let node = self.machine.files.get_mut(&place.display().to_string()).ok_or(io::ErrorKind::NotFound)?;
        node.atime = accessed_s.unwrap_or(machine::NOW_S);
        node.mtime = modified_s.unwrap_or(machine::NOW_S);
        Ok(())
    }
    fn set(&mut self, path: &Path, how: Attributes, links: Links) -> io::Result<()> {
        self.alter()?;
        let place = self.place(path, links)?;
        self.machine.files.get_mut(&place.display().to_string()).ok_or(io::ErrorKind::NotFound)?.take(how);
        Ok(())
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.alter()?;
        let place = self.machine.follow_parents(path)?;
        self.machine.files.retain(|it, _| !Path::new(it).starts_with(&place));
        Ok(())
    }
    fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> io::Result<Exit> {
        self.alter()?;
        if self.fetched.get() {
            self.machine.available.extend(self.machine.unlisted.clone());
        }
        let reply = self.machine.act(action);
        watch.output(false, reply.stdout.as_bytes());
        watch.output(true, reply.stderr.as_bytes());
        Ok(if watch.cancelled() { Exit::Cancelled } else { Exit::Code(reply.code) })
    }
    fn is_keeping(&self) -> bool {
        self.job.is_some()
    }
    fn keep(&mut self, kept: &Kept, contents: Option<&[u8]>) -> io::Result<()> {
        self.call()?;
        let Some(job) = self.job else { return Ok(()) };
        self.unsecured |= !kept.after;
        let lines = self.kept.entry(job).or_default();
        if kept.after || !lines.iter().any(|it| it.path == kept.path && !it.after) {
            lines.push(kept.clone());
        }
        if let (State::File { hash, .. } | State::Rules { hash }, Some(bytes)) = (&kept.state, contents) {
            self.blobs.insert(*hash, bytes.into());
        }
        Ok(())
    }
    fn has_way_back(&self) -> bool {
        self.way_back
    }
    fn secure_kept(&mut self) -> io::Result<()> {
        self.unsecured = false;
        Ok(())
    }
    fn settle(&mut self) -> io::Result<()> {
        self.call()
    }
}

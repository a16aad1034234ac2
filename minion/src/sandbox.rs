//! A pretended machine for `labminion run --sandbox DIR`: files beneath DIR are real, packages, services, users, groups,
//! crontabs and kernel parameters are entries of a JSON file there.
//!
//! Commands really run, as the minion's user, in DIR (or the folder beneath it that `cwd` names), with
//! `LABCTL_SANDBOX=1` and `LABCTL_SANDBOX_ROOT=DIR` in their environment. Owners of files are kept in the JSON file,
//! so that it works without root. Every report says that it comes from a sandbox.

mod paths;
mod pretended;

use crate::linux::{BlobSource, LinuxHost};
use crate::shelf::Shelf;
use model::{ContentHash, JobId, Output};
use paths::Root;
use pretended::Pretended;
use resources::{
    Collected, Host, Probe,
    host::{
        Action, Attributes, Command, Contents, Exit, Group, Links, Query, Special, Stat, Unit, User, Watch,
    },
    keep::Kept,
    packages::{Available, Lists, Manager, Reach, Upgrade},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where everything is kept that is no file.
const MODEL_FILE: &str = ".labctl-sandbox.json";

/// A machine beneath a folder.
#[derive(Debug)]
pub struct SandboxHost {
    root: Root,
    /// Behind a cell because asking a question by a program borrows nothing else.
    linux: RefCell<LinuxHost>,
    pretended: Pretended,
}

impl SandboxHost {
    /// Beneath `folder`, which is made if it does not exist; with the contents that came with the recipe.
    pub fn new(folder: &Path, blobs: BlobSource, shelf: Option<Shelf>) -> io::Result<Self> {
        let root = Root::new(folder)?;
        let pretended = Pretended::load(&root.path().join(MODEL_FILE))?;
        Ok(Self { root, linux: RefCell::new(LinuxHost::new(blobs).keeping(shelf)), pretended })
    }

    fn owned(&self, place: &Path, stat: Stat) -> Stat {
        let (uid, gid) = self.pretended.owner(&self.root.inner(place));
        Stat { uid, gid, ..stat }
    }

    /// The owner is only noted; the rest is for the real file.
    fn own(&mut self, place: &Path, how: Attributes) -> Attributes {
        let path = self.root.inner(place);
        self.pretended.set_owner(&path, how);
        Attributes { mode: how.mode, uid: None, gid: None }
    }

    fn command(&self, command: &Command) -> io::Result<Command> {
        let cwd = command.cwd.as_deref().unwrap_or(Path::new("/"));
        let cwd = self.root.resolve(cwd, Links::Follow)?;
        let mut command = Command { cwd: Some(cwd), user: None, ..command.clone() };
        command.env.push(("LABCTL_SANDBOX".to_owned(), "1".to_owned()));
        command.env.push(("LABCTL_SANDBOX_ROOT".to_owned(), self.root.path().display().to_string()));
        Ok(command)
    }

    fn run(&self, command: &Command, watch: &mut dyn Watch) -> io::Result<Exit> {
        self.linux.borrow_mut().act(&Action::Run(self.command(command)?), watch)
    }
}

impl Probe for SandboxHost {
    fn stat(&self, path: &Path, links: Links) -> io::Result<Option<Stat>> {
        let place = self.root.resolve(path, links)?;
        let found = self.linux.borrow().stat(&place, Links::Keep)?;
        Ok(found.map(|it| self.owned(&place, it)))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.linux.borrow().read(&self.root.resolve(path, Links::Follow)?)
    }
    fn hash(&self, path: &Path) -> io::Result<ContentHash> {
        self.linux.borrow().hash(&self.root.resolve(path, Links::Follow)?)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.linux.borrow().read_link(&self.root.resolve(path, Links::Keep)?)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.linux.borrow().list(&self.root.resolve(path, Links::Follow)?)
    }
    fn now_s(&self) -> i64 {
        self.linux.borrow().now_s()
    }
    fn blob(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        self.linux.borrow().blob(hash)
    }
    fn blob_size(&self, hash: ContentHash) -> io::Result<u64> {
        self.linux.borrow().blob_size(hash)
    }
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.pretended.uid(name))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.pretended.gid(name))
    }
    fn user_name(&self, uid: u32) -> String {
        self.pretended.user_name(uid)
    }
    fn group_name(&self, gid: u32) -> String {
        self.pretended.group_name(gid)
    }
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        Ok(self.pretended.user(name))
    }
    fn group(&self, name: &str) -> io::Result<Option<Group>> {
        Ok(self.pretended.group(name))
    }
    fn packages(&self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        Ok(self.pretended.packages(names))
    }
    fn package_manager(&self) -> io::Result<Manager> {
        Ok(Manager::Apt)
    }
    fn available(
        &self,
        names: &[String],
        _: Option<&str>,
        _: Lists,
    ) -> io::Result<BTreeMap<String, Available>> {
        Ok(self.pretended.available(names))
    }
    fn upgrades(&self, _: Reach, _: Lists) -> io::Result<BTreeMap<String, Upgrade>> {
        Ok(BTreeMap::new())
    }
    fn held(&self) -> io::Result<BTreeSet<String>> {
        Ok(self.pretended.held().clone())
    }
    fn left_over(&self, _: &[String]) -> io::Result<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }
    fn unit(&self, name: &str) -> io::Result<Unit> {
        Ok(self.pretended.unit(name))
    }
    fn crontab(&self, user: &str) -> io::Result<String> {
        self.pretended.crontab(user)
    }
    fn sysctl(&self, name: &str) -> io::Result<Option<String>> {
        Ok(Some(self.pretended.sysctl(name)))
    }
    fn query(&self, query: &Query) -> io::Result<Output> {
        let mut collected = Collected::bounded(query.answer_bytes_max());
        let exit = self.run(&query.command(), &mut collected)?;
        Ok(collected.into_output(exit))
    }
    fn kept(&self, job: JobId) -> io::Result<Option<Vec<Kept>>> {
        self.linux.borrow().kept(job)
    }
    fn kept_contents(&self, job: JobId, hash: ContentHash) -> io::Result<Vec<u8>> {
        self.linux.borrow().kept_contents(job, hash)
    }
    fn is_sandbox(&self) -> bool {
        true
    }
}

impl Host for SandboxHost {
    fn write(
        &mut self,
        path: &Path,
        contents: Contents<'_>,
        how: Attributes,
        links: Links,
    ) -> io::Result<()> {
        let place = self.root.resolve(path, links)?;
        let how = self.own(&place, how);
        let other;
        let contents = match contents {
            Contents::File(path) => {
                other = self.root.resolve(path, Links::Follow)?;
                Contents::File(&other)
            }
            it => it,
        };
        self.linux.get_mut().write(&place, contents, how, Links::Keep)
    }
    fn make_directory(&mut self, path: &Path, how: Attributes) -> io::Result<()> {
        let place = self.root.resolve(path, Links::Keep)?;
        let how = self.own(&place, how);
        self.linux.get_mut().make_directory(&place, how)
    }
    fn make_symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let place = self.root.resolve(path, Links::Keep)?;
        self.linux.get_mut().make_symlink(&place, target)
    }
    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let place = self.root.resolve(path, Links::Keep)?;
        let target = self.root.resolve(target, Links::Keep)?;
        self.linux.get_mut().hard_link(&place, &target)
    }
    /// Devices need root and could reach the machine itself: a pretended one gets pipes only.
    fn make_special(&mut self, path: &Path, special: Special, how: Attributes) -> io::Result<()> {
        if special != Special::Pipe {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "there are no devices in a sandbox"));
        }
        let place = self.root.resolve(path, Links::Keep)?;
        let how = self.own(&place, how);
        self.linux.get_mut().make_special(&place, special, how)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.root.resolve(from, Links::Keep)?;
        let to = self.root.resolve(to, Links::Keep)?;
        self.linux.get_mut().rename(&from, &to)?;
        let (from, to) = (self.root.inner(&from), self.root.inner(&to));
        self.pretended.rename(&from, &to);
        Ok(())
    }
    fn set_times(&mut self, path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()> {
        let place = self.root.resolve(path, Links::Follow)?;
        self.linux.get_mut().set_times(&place, accessed_s, modified_s)
    }
    fn set(&mut self, path: &Path, how: Attributes, links: Links) -> io::Result<()> {
        let place = self.root.resolve(path, links)?;
        let how = self.own(&place, how);
        self.linux.get_mut().set(&place, how, Links::Keep)
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let place = self.root.resolve(path, Links::Keep)?;
        if place == self.root.path() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the sandbox itself cannot be removed"));
        }
        self.linux.get_mut().remove(&place)?;
        let path = self.root.inner(&place);
        self.pretended.disown(&path);
        Ok(())
    }
    fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> io::Result<Exit> {
        if let Action::Run(command) = action {
            return self.run(command, watch);
        }
        let exit = self.pretended.act(action, watch);
        self.pretended.save(&self.root.path().join(MODEL_FILE))?;
        Ok(exit)
    }
    fn has_way_back(&self) -> bool {
        self.linux.borrow().has_way_back()
    }
    fn secure_kept(&mut self) -> io::Result<()> {
        self.linux.get_mut().secure_kept()
    }
    fn is_keeping(&self) -> bool {
        self.linux.borrow().is_keeping()
    }
    fn keep(&mut self, kept: &Kept, contents: Option<&[u8]>) -> io::Result<()> {
        self.linux.get_mut().keep(kept, contents)
    }
    fn settle(&mut self) -> io::Result<()> {
        self.pretended.save(&self.root.path().join(MODEL_FILE))?;
        self.linux.get_mut().settle()
    }
}

//! The machine itself: `Host` for Linux. Here and in the folder is the only Unix code of the project.

mod accounts;
mod beneath;
mod blobs;
pub mod child;
mod command;
mod files;
pub mod network;
mod packages;
pub mod processes;
pub mod ready;
pub mod socket;
pub mod space;
pub mod system;
mod units;

pub(crate) use beneath::{open_in, open_plain};
pub use blobs::BlobSource;

use crate::shelf::Shelf;
use accounts::Accounts;
use model::{ContentHash, JobId, Output};
use packages::Packages;
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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// This machine, for the length of one run: what it remembers of accounts and packages is forgotten with it.
#[derive(Debug)]
pub struct LinuxHost {
    blobs: BlobSource,
    accounts: RefCell<Accounts>,
    packages: RefCell<Packages>,
    written: files::Written,
    shelf: Option<Arc<Mutex<Shelf>>>,
}

impl LinuxHost {
    /// For one run, with the contents that came with its recipe.
    pub fn new(blobs: BlobSource) -> Self {
        Self {
            blobs,
            accounts: RefCell::default(),
            packages: RefCell::default(),
            written: files::Written::default(),
            shelf: None,
        }
    }

    /// Keeps on this shelf what is altered, and finds there what jobs kept.
    #[must_use]
    pub fn keeping(self, on: Option<Shelf>) -> Self {
        Self { shelf: on.map(|it| Arc::new(Mutex::new(it))), ..self }
    }

    /// The shelf, if there is one.
    fn shelf(&self) -> Option<MutexGuard<'_, Shelf>> {
        self.shelf.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a command did may have altered everything that is remembered.
    fn forget(&mut self) {
        self.accounts.take();
        self.packages.get_mut().forget();
    }
}

/// Runs a command and keeps what it says.
pub(crate) fn ask(command: &Command) -> io::Result<(Exit, Output)> {
    let mut collected = Collected::default();
    let exit = command::run(command, &mut collected)?;
    Ok((exit, collected.into_output(exit)))
}

impl Probe for LinuxHost {
    fn stat(&self, path: &Path, links: Links) -> io::Result<Option<Stat>> {
        files::stat(path, links)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        files::read(path)
    }
    fn hash(&self, path: &Path) -> io::Result<ContentHash> {
        files::hash(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        files::list(path)
    }
    fn now_s(&self) -> i64 {
        files::now_s()
    }
    fn blob(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        self.blobs.bytes(hash)
    }
    fn blob_size(&self, hash: ContentHash) -> io::Result<u64> {
        self.blobs.size(hash)
    }
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        self.accounts.borrow_mut().uid(name)
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        self.accounts.borrow_mut().gid(name)
    }
    fn user_name(&self, uid: u32) -> String {
        accounts::user_name(uid)
    }
    fn group_name(&self, gid: u32) -> String {
        accounts::group_name(gid)
    }
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        accounts::user(name)
    }
    fn group(&self, name: &str) -> io::Result<Option<Group>> {
        accounts::group(name)
    }
    fn packages(&self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        self.packages.borrow_mut().find(names)
    }
    fn package_manager(&self) -> io::Result<Manager> {
        Ok(packages::manager())
    }
    fn available(
        &self,
        names: &[String],
        from: Option<&str>,
        lists: Lists,
    ) -> io::Result<BTreeMap<String, Available>> {
        self.packages.borrow_mut().available(names, from, lists)
    }
    fn upgrades(&self, reach: Reach, lists: Lists) -> io::Result<BTreeMap<String, Upgrade>> {
        self.packages.borrow_mut().upgrades(reach, lists)
    }
    fn held(&self) -> io::Result<BTreeSet<String>> {
        packages::held()
    }
    fn left_over(&self, names: &[String]) -> io::Result<BTreeSet<String>> {
        self.packages.borrow_mut().left_over(names)
    }
    fn unit(&self, name: &str) -> io::Result<Unit> {
        units::unit(name)
    }
    fn crontab(&self, user: &str) -> io::Result<String> {
        units::crontab(user)
    }
    fn sysctl(&self, name: &str) -> io::Result<Option<String>> {
        units::sysctl(name)
    }
    fn query(&self, query: &Query) -> io::Result<Output> {
        let mut collected = Collected::bounded(query.answer_bytes_max());
        let exit = command::run(&query.command(), &mut collected)?;
        Ok(collected.into_output(exit))
    }
    fn kept(&self, job: JobId) -> io::Result<Option<Vec<Kept>>> {
        self.shelf().map_or(Ok(None), |it| it.kept(job))
    }
    fn kept_contents(&self, job: JobId, hash: ContentHash) -> io::Result<Vec<u8>> {
        self.shelf().map_or(Err(io::ErrorKind::NotFound.into()), |it| it.contents(job, hash))
    }
}

impl Host for LinuxHost {
    fn write(
        &mut self,
        path: &Path,
        contents: Contents<'_>,
        how: Attributes,
        links: Links,
    ) -> io::Result<()> {
        let contents = match contents {
            Contents::Bytes(bytes) => files::Input::Bytes(bytes),
            Contents::Blob(hash) => self.blobs.input(hash)?,
            Contents::File(path) => files::Input::File(std::fs::File::open(path)?),
        };
        let path = files::write(path, contents, how, links)?;
        self.written.file(path);
        Ok(())
    }
    fn make_directory(&mut self, path: &Path, how: Attributes) -> io::Result<()> {
        files::make_directory(path, how)?;
        self.written.name(path);
        Ok(())
    }
    fn make_symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        files::make_symlink(path, target)?;
        self.written.name(path);
        Ok(())
    }
    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        files::hard_link(path, target)?;
        self.written.name(path);
        Ok(())
    }
    fn make_special(&mut self, path: &Path, special: Special, how: Attributes) -> io::Result<()> {
        files::make_special(path, special, how)?;
        self.written.name(path);
        Ok(())
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        files::rename(from, to)?;
        self.written.name(from);
        self.written.name(to);
        Ok(())
    }
    fn set_times(&mut self, path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()> {
        files::set_times(path, accessed_s, modified_s)
    }
    fn set(&mut self, path: &Path, how: Attributes, links: Links) -> io::Result<()> {
        files::set(path, how, links)?;
        self.written.name(path);
        Ok(())
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        files::remove(path)?;
        self.written.name(path);
        Ok(())
    }
    fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> io::Result<Exit> {
        self.forget();
        match action {
            Action::Run(command) => command::run(command, watch),
            Action::Packages(action) => self.packages.get_mut().act(action, watch),
            Action::Unit(name, action) => units::act(name, *action, watch),
            Action::User(name, change) => accounts::change_user(name, change, watch),
            Action::RemoveUser(name, how) => accounts::remove_user(name, *how, watch),
            Action::Group(name, change) => accounts::change_group(name, change, watch),
            Action::RemoveGroup(name) => accounts::remove_group(name, watch),
            Action::Crontab { user, text } => units::set_crontab(user, text, watch),
            Action::Sysctl { name, value } => units::set_sysctl(name, value),
        }
    }
    fn fork(&self) -> Option<Box<dyn Host + Send>> {
        Some(Box::new(Self { shelf: self.shelf.clone(), ..Self::new(self.blobs.clone()) }))
    }
    fn is_keeping(&self) -> bool {
        self.shelf().is_some_and(|it| it.is_keeping())
    }
    fn keep(&mut self, kept: &Kept, contents: Option<&[u8]>) -> io::Result<()> {
        self.shelf().map_or(Ok(()), |mut it| it.keep(kept, contents))
    }
    fn has_way_back(&self) -> bool {
        self.shelf().is_some_and(|it| it.has_way_back())
    }
    fn secure_kept(&mut self) -> io::Result<()> {
        self.shelf().map_or(Ok(()), |mut it| it.secure())
    }
    fn settle(&mut self) -> io::Result<()> {
        self.shelf().map_or(Ok(()), |it| it.settle())?;
        self.written.settle()
    }
}

//! What files and folders have in common: permissions, owner, the folders above.

use crate::{
    Error, Host, Param, ParamType, ParamsError, Probe,
    args::{Args, plain_word},
    host::{Attributes, FileKind, Links, Stat},
};
use model::{Change, Plan};
use std::path::Path;

pub(super) const USER: Param =
    Param::of("user", ParamType::Text, "as it is; root for a new one", "Owner, by name or number.");
pub(super) const GROUP: Param =
    Param::of("group", ParamType::Text, "as it is; root for a new one", "Group, by name or number.");
pub(super) const MAKEDIRS: Param =
    Param::of("makedirs", ParamType::Bool, "false", "Makes the folders above it if they are missing.");
pub(super) const DIR_MODE: Param = Param::of(
    "dir_mode",
    ParamType::Mode,
    "the file's with the right to enter, or 0755",
    "Permissions of folders that are made.",
);

/// Wanted permissions and owner, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    pub(super) mode: Option<u32>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
}

impl Owner {
    pub(super) fn parse(args: &Args<'_>, mode: Option<u32>) -> Result<Self, ParamsError> {
        let (user, group) = (args.text("user"), args.text("group"));
        user.iter().try_for_each(|it| plain_word("user", it))?;
        group.iter().try_for_each(|it| plain_word("group", it))?;
        Ok(Self { mode, user, group })
    }

    /// Notes what differs on `stat`; all that is wanted if there is nothing yet. `prefix` names the path where
    /// a plan speaks of several.
    pub(super) fn compare(
        &self,
        host: &dyn Probe,
        stat: Option<&Stat>,
        prefix: &str,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if let Some(mode) = self.mode {
            let octal = |mode: u32| format!("{mode:04o}");
            plan.differ(&format!("{prefix}mode"), stat.map(|it| octal(it.mode)).as_ref(), &octal(mode));
        }
        if let Some(user) = &self.user {
            let uid = host.uid(user).map_err(Error::host("look up user", user))?;
            if uid.is_none() || stat.map(|it| it.uid) != uid {
                let from = stat.map(|it| host.user_name(it.uid));
                plan.push(Change { what: format!("{prefix}user"), from, to: Some(user.clone()), diff: None });
            }
        }
        if let Some(group) = &self.group {
            let gid = host.gid(group).map_err(Error::host("look up group", group))?;
            if gid.is_none() || stat.map(|it| it.gid) != gid {
                let from = stat.map(|it| host.group_name(it.gid));
                plan.push(Change {
                    what: format!("{prefix}group"),
                    from,
                    to: Some(group.clone()),
                    diff: None,
                });
            }
        }
        Ok(())
    }

    /// With numbers; a user or group that does not exist is an error now.
    pub(super) fn resolve(&self, host: &dyn Probe) -> Result<Attributes, Error> {
        let uid = self.user.as_ref().map(|name| {
            let uid = host.uid(name).map_err(Error::host("look up user", name))?;
            uid.ok_or_else(|| Error::Refused(format!("there is no user `{name}`")))
        });
        let gid = self.group.as_ref().map(|name| {
            let gid = host.gid(name).map_err(Error::host("look up group", name))?;
            gid.ok_or_else(|| Error::Refused(format!("there is no group `{name}`")))
        });
        Ok(Attributes { mode: self.mode, uid: uid.transpose()?, gid: gid.transpose()? })
    }
}

/// Permissions of folders that are made above a file: as given, or the file's, with the right to enter where there is
/// one to read.
pub(super) fn folder_mode(given: Option<u32>, file: Option<u32>) -> Option<u32> {
    given.or_else(|| {
        let mode = file? & 0o777;
        Some([6, 3, 0].into_iter().filter(|it| mode >> it & 7 != 0).fold(mode, |all, it| all | 1 << it))
    })
}

/// What is at `path`.
pub(super) fn stat(host: &dyn Probe, path: &Path, links: Links) -> Result<Option<Stat>, Error> {
    host.stat(path, links).map_err(Error::host("look at", path.display()))
}

/// Makes the missing folders above `path`, or says which is missing.
pub(super) fn make_parents(
    host: &mut dyn Host,
    path: &Path,
    makedirs: bool,
    how: Attributes,
) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let mut missing = Vec::new();
    for folder in parent.ancestors() {
        match stat(host, folder, Links::Follow)? {
            Some(it) if it.kind == FileKind::Directory => break,
            Some(it) => {
                let kind = it.kind.describe();
                return Err(Error::Refused(format!("`{}` is {kind}, not a folder", folder.display())));
            }
            None => missing.push(folder),
        }
    }
    if let (Some(folder), false) = (missing.first(), makedirs) {
        let text =
            format!("the folder `{}` does not exist; `makedirs: true` would make it", folder.display());
        return Err(Error::Refused(text));
    }
    for folder in missing.into_iter().rev() {
        host.make_directory(folder, how).map_err(Error::host("make folder", folder.display()))?;
    }
    Ok(())
}

/// A change from one kind of thing to another, or from nothing.
pub(super) fn kind_change(what: &str, from: Option<FileKind>, to: FileKind) -> Change {
    let from = from.map(|it| it.describe().to_owned());
    Change { what: what.to_owned(), from, to: Some(to.describe().to_owned()), diff: None }
}

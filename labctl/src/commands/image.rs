//! `labctl image`: puts the minion and its seed into a mounted root.

use super::Desk;
use crate::{
    Ended, Outcome, config,
    failure::{Exit, Failure},
};
use bus::beneath::Folder;
use clap::{Args, Subcommand};
use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// The minion's unit, as it is for a minion that was built here.
const UNIT: &str = include_str!("../../../minion/labminion.service");
/// Where that one is, and where packages and images have it.
const BUILT_HERE: &str = "/usr/local/bin/labminion";
const INSTALLED: &str = "/usr/bin/labminion";
/// Symbolic links followed on the way to one path.
const LINKS_MAX: usize = 40;
/// Bytes of a minion.
const MINION_MAX: u64 = 256 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct ImageCommand {
    #[command(subcommand)]
    verb: ImageVerb,
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Install the minion, its unit and a seed into a mounted root; resets both machine-ids
    Install {
        /// Where the root is mounted
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// What `labctl key enroll` printed
        #[arg(long, value_name = "FILE")]
        seed: PathBuf,
        /// The minion's program, if it does not lie beside labctl
        #[arg(long, value_name = "PATH")]
        minion: Option<PathBuf>,
    },
}

impl ImageCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let ImageVerb::Install { root, seed, minion } = self.verb;
        let done = install(&root, &seed, minion.as_deref())?;
        if desk.screen.format.is_machine() {
            desk.screen.thing("ImageInstall", serde_json::json!({ "done": done }), "", "")?;
        } else {
            done.iter().try_for_each(|it| desk.screen.line(it))?;
        }
        Ok(Exit::Done)
    }
}

/// Checks everything first, then writes; says what was done.
fn install(root: &Path, seed: &Path, minion: Option<&Path>) -> Outcome<Vec<String>> {
    let root = Root::open(root)?;
    root.refuse_identity()?;
    let seed_text = config::read_small(seed)?;
    bus::seed::Seed::parse(&seed_text)
        .map_err(|error| Failure::usage(format!("`{}` is no seed: {error}", seed.display())))?;
    let program = read_minion(minion)?;
    root.write("usr/bin/labminion", &program, 0o755)?;
    let unit = UNIT.replace(BUILT_HERE, INSTALLED);
    root.write("etc/systemd/system/labminion.service", unit.as_bytes(), 0o644)?;
    root.link(
        "etc/systemd/system/multi-user.target.wants/labminion.service",
        "/etc/systemd/system/labminion.service",
    )?;
    root.write("etc/labctl/seed.json", seed_text.as_bytes(), 0o600)?;
    root.write("etc/machine-id", b"", 0o444)?;
    let mut done = vec![
        format!("labminion  /usr/bin/labminion ({})", crate::show::status::bytes(program.len() as u64)),
        "unit       /etc/systemd/system/labminion.service, enabled".to_owned(),
        "seed       /etc/labctl/seed.json".to_owned(),
        "machine-id reset".to_owned(),
    ];
    if root.resolve("var/lib/dbus")?.is_dir() {
        root.link("var/lib/dbus/machine-id", "/etc/machine-id")?;
        done.push("machine-id of D-Bus reset".to_owned());
    }
    Ok(done)
}

fn read_minion(named: Option<&Path>) -> Outcome<Vec<u8>> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => beside_labctl()?,
    };
    let failed = |error: io::Error| Failure::file("read", &path, &error);
    let size = fs::metadata(&path).map_err(failed)?.len();
    if size > MINION_MAX {
        return Err(Failure::usage(format!("`{}` is too large for a minion", path.display())));
    }
    let bytes = fs::read(&path).map_err(failed)?;
    if bytes.starts_with(b"\x7fELF") {
        Ok(bytes)
    } else {
        Err(Failure::usage(format!("`{}` is no program", path.display())))
    }
}

fn beside_labctl() -> Outcome<PathBuf> {
    let own = std::env::current_exe().ok().and_then(|it| Some(it.parent()?.join("labminion")));
    own.filter(|it| it.is_file()).ok_or_else(|| {
        Failure::not_found("there is no labminion beside labctl").hint("name it: --minion PATH")
    })
}

/// A mounted root; every path beneath it is resolved as the machine itself will, and stays beneath it.
struct Root(PathBuf);

impl Root {
    fn open(root: &Path) -> Outcome<Self> {
        let path = fs::canonicalize(root).map_err(|error| Failure::file("open", root, &error))?;
        if path == Path::new("/") {
            return Err(Failure::usage("`/` is this machine itself and no image")
                .hint("here it is: labminion run --seed FILE"));
        }
        if !path.join("etc").is_dir() || !path.join("usr").is_dir() {
            return Err(Failure::usage(format!(
                "`{}` holds no system: there is no etc and usr",
                root.display()
            ))
            .hint("mount the image's root and name that folder"));
        }
        Ok(Self(path))
    }

    /// A machine that was enrolled is no image: its clones would be one machine.
    fn refuse_identity(&self) -> Outcome<()> {
        let folder = self.resolve("var/lib/labctl/minion")?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::file("read", &folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Failure::file("read", &folder, &error))?;
            if Path::new(&entry.file_name()).extension().is_some_and(|it| it == "pem") {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("this root holds the identity of a machine: `{}`", entry.path().display()),
                )
                .hint(
                    "machines made from it would all be that one; remove var/lib/labctl/minion in it first",
                ));
            }
        }
        Ok(())
    }

    /// Where a path of the image lies here: links are followed within the image only.
    fn resolve(&self, path: &str) -> Outcome<PathBuf> {
        let mut todo: Vec<std::ffi::OsString> = parts(Path::new(path));
        let mut at: Vec<std::ffi::OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = self.0.join(at.iter().collect::<PathBuf>());
            if let Ok(target) = fs::read_link(&here) {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Failure::usage(format!("too many links on the way to `{path}`")));
                }
                at.pop();
                if target.is_absolute() {
                    at.clear();
                }
                todo.extend(parts(&target));
            }
        }
        Ok(self.0.join(at.iter().collect::<PathBuf>()))
    }

    /// The folder of a path, made if need be and held, and the path's last part. Nothing that is put in the folder's
    /// place meanwhile leads elsewhere.
    fn place<'a>(&self, path: &'a str) -> Outcome<(Folder, &'a str)> {
        let (folder, name) = path.rsplit_once('/').ok_or_else(|| Failure::usage(format!("`{path}`")))?;
        let folder = self.resolve(folder)?;
        fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
        let held = Folder::hold(&self.0, &folder).map_err(|error| Failure::file("open", &folder, &error))?;
        Ok((held, name))
    }

    /// A file, whole or not at all; a link in its place is replaced, not followed.
    fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Outcome<()> {
        let (folder, name) = self.place(path)?;
        let (place, beside) = (folder.at(name), folder.at(&format!("{name}.labctl-new")));
        let _ = fs::remove_file(&beside);
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
            io::Write::write_all(&mut file, bytes)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            fs::rename(&beside, &place)
        })();
        written.map_err(|error| Failure::file("write", &self.0.join(path), &error))
    }

    /// A symbolic link, in place of what was there.
    fn link(&self, path: &str, to: &str) -> Outcome<()> {
        let (folder, name) = self.place(path)?;
        let failed = |error: io::Error| Failure::file("link", &self.0.join(path), &error);
        match fs::remove_file(folder.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::os::unix::fs::symlink(to, folder.at(name)).map_err(failed)
    }
}

/// Parts of a path, the last first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    path.components()
        .rev()
        .filter_map(|it| match it {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;

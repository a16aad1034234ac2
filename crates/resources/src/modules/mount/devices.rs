//! Names of block devices: links under /dev, and tags such as `UUID=`.

use crate::{
    Error, Probe,
    host::{FileKind, Links},
    text_file::exists,
};
use std::path::{Component, Path, PathBuf};

/// Symbolic links in a row that are followed.
const LINKS_MAX: usize = 20;

/// Tags of devices, and the folders where udev keeps links of their names.
const TAGS: [(&str, &str); 5] = [
    ("UUID", "/dev/disk/by-uuid"),
    ("LABEL", "/dev/disk/by-label"),
    ("PARTUUID", "/dev/disk/by-partuuid"),
    ("PARTLABEL", "/dev/disk/by-partlabel"),
    ("ID", "/dev/disk/by-id"),
];

/// Where the links at the end of a path lead.
pub(super) fn real_path(host: &dyn Probe, path: &Path) -> Result<PathBuf, Error> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let found = host.stat(&path, Links::Keep).map_err(Error::host("look at", path.display()))?;
        if found.is_none_or(|it| it.kind != FileKind::Symlink) {
            return Ok(path);
        }
        let target = host.read_link(&path).map_err(Error::host("read link", path.display()))?;
        path = plain(&path.parent().unwrap_or(Path::new("/")).join(target));
    }
    Err(Error::Refused(format!("`{}`: too many symbolic links", path.display())))
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => (),
            part => plain.push(part),
        }
    }
    plain
}

/// The link that udev keeps for `TAG=value`; most UUIDs are in small letters, those of FAT are not.
pub(super) fn tag_link(host: &dyn Probe, device: &str) -> Result<Option<PathBuf>, Error> {
    let Some((tag, value)) = device.split_once('=') else { return Ok(None) };
    let Some((tag, folder)) = TAGS.into_iter().find(|it| it.0.eq_ignore_ascii_case(tag)) else {
        return Ok(None);
    };
    let value = value.trim_matches('"').replace('/', "\\x2f").replace(' ', "\\x20");
    let link = Path::new(folder).join(&value);
    let small = Path::new(folder).join(value.to_lowercase());
    if tag == "UUID" && small != link && exists(host, &small)? {
        return Ok(Some(small));
    }
    Ok(Some(link))
}

/// A device under another sort of name: `device`, `uuid`, `label`, `partuuid` or `partlabel`.
pub(super) fn converted(host: &dyn Probe, device: &str, by: &str) -> Result<String, Error> {
    let tag = by.to_uppercase();
    if device.starts_with(&format!("{tag}=")) || (by == "device" && device.starts_with('/')) {
        return Ok(device.to_owned());
    }
    let real = real_path(host, &tag_link(host, device)?.unwrap_or_else(|| PathBuf::from(device)))?;
    if by == "device" {
        return Ok(real.display().to_string());
    }
    let Some((_, folder)) = TAGS.into_iter().find(|it| it.0 == tag) else { return Ok(device.to_owned()) };
    let folder = Path::new(folder);
    let unknown = || Error::Refused(format!("`{device}` has no {by} in {}", folder.display()));
    let names = host.list(folder).map_err(Error::host("list", folder.display()))?;
    for name in names {
        if real_path(host, &folder.join(&name))? == real {
            let name = name.to_string_lossy().replace("\\x20", " ").replace("\\x2f", "/");
            return Ok(format!("{tag}={name}"));
        }
    }
    Err(unknown())
}

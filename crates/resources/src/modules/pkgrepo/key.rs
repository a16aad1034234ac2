//! Keys of repositories of apt: where they lie, in which form, and how they come there.

use super::super::{base64, download::download};
use crate::{
    Error, Host, ParamsError, Probe,
    args::{Args, invalid, plain_word},
    host::{Attributes, Contents, Links},
};
use model::{Change, ContentHash, Plan};
use std::path::{Path, PathBuf};

/// Where keys lie that no line names.
const FOLDER: &str = "/etc/apt/trusted.gpg.d";
/// Longest key that is taken.
const KEY_BYTES_MAX: usize = 1 << 20;
const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The key of a repository, if it comes with one.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Where it lies; none if there is no key.
    path: Option<PathBuf>,
    from: Vec<From>,
}

#[derive(Debug)]
enum From {
    Content(ContentHash),
    Text(String),
    Web(String),
}

impl Keys {
    /// `signed_by` is the file that the line names.
    pub(super) fn parse(args: &Args<'_>, signed_by: Option<&str>) -> Result<Self, ParamsError> {
        let ids = args.list("keyid").unwrap_or_default();
        let given = [args.has("key_url"), args.has("key_text"), !ids.is_empty()];
        if given.iter().filter(|it| **it).count() > 1 {
            return Err(invalid("key_url", "only one of `key_url`, `key_text` and `keyid` can be given"));
        }
        let from = if let Some(url) = args.text("key_url").filter(|it| !it.is_empty()) {
            vec![place(&url, args.bool("allow_insecure_key", false))?]
        } else if let Some(text) = args.text("key_text") {
            if !text.trim_start().starts_with(ARMOR) {
                return Err(invalid("key_text", format!("`key_text` must begin with `{ARMOR}`")));
            }
            vec![From::Text(text.trim().to_owned() + "\n")]
        } else if ids.is_empty() {
            Vec::new()
        } else {
            let Some(server) = args.text("keyserver").filter(|it| !it.is_empty()) else {
                return Err(invalid("keyid", "with `keyid`, `keyserver` must say who has the key"));
            };
            ids.iter()
                .map(|it| address(&server, it, args.bool("allow_insecure_key", false)).map(From::Web))
                .collect::<Result<_, _>>()?
        };
        let named = args.text("signedby").or_else(|| signed_by.map(str::to_owned));
        let path = match named {
            Some(path) if path.starts_with('/') && !path.split('/').any(|it| it == "..") => {
                PathBuf::from(path)
            }
            Some(path) => {
                return Err(invalid("signedby", format!("`{path}` is no path of a file with keys")));
            }
            None => Path::new(FOLDER).join(format!("{}.asc", file_name(args))),
        };
        Ok(Self { path: (!from.is_empty()).then_some(path), from })
    }

    /// What it must be, where that is known without the network.
    fn known(&self, host: &dyn Probe) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = &self.path else { return Ok(None) };
        let bytes = match &self.from[..] {
            [From::Content(hash)] => host.blob(*hash).map_err(Error::host("read content", hash))?.to_vec(),
            [From::Text(text)] => text.clone().into_bytes(),
            _ => return Ok(None),
        };
        in_form(&bytes, path).map(Some)
    }

    pub(super) fn compare(&self, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
        let good = match (found, self.known(host)?) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), Some(wanted)) => {
                host.read(path).map_err(Error::host("read", path.display()))? == wanted
            }
        };
        if !good {
            let from = found.map(|_| "another key".to_owned());
            let to = Some(path.display().to_string());
            plan.push(Change { what: "key".to_owned(), from, to, diff: None });
        }
        Ok(())
    }

    pub(super) fn put(&self, host: &mut dyn Host, plan: &Plan) -> Result<(), Error> {
        let Some(path) = self.path.as_ref().filter(|_| plan.touches("key")) else { return Ok(()) };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?.is_none() {
            host.make_directory(folder, Attributes::default())
                .map_err(Error::host("make folder", folder.display()))?;
        }
        let bytes = match self.known(host)? {
            Some(bytes) => bytes,
            None => self.fetch(host, path)?,
        };
        let how = Attributes { mode: Some(0o644), ..Attributes::default() };
        host.write(path, Contents::Bytes(&bytes), how, Links::Follow)
            .map_err(Error::host("write", path.display()))
    }

    /// All of them, one behind the other.
    fn fetch(&self, host: &mut dyn Host, path: &Path) -> Result<Vec<u8>, Error> {
        let draft = PathBuf::from(format!("{}.labctl-draft", path.display()));
        let mut all = Vec::new();
        for from in &self.from {
            let From::Web(address) = from else { continue };
            download(host, address, &draft)?;
            let bytes = host.read(&draft).map_err(Error::host("read", draft.display()))?;
            host.remove(&draft).map_err(Error::host("remove", draft.display()))?;
            if bytes.len() > KEY_BYTES_MAX {
                return Err(Error::Refused(format!("what is at {address} is too long for a key")));
            }
            all.extend(in_form(&bytes, path).map_err(|error| Error::Refused(format!("{address}: {error}")))?);
        }
        Ok(all)
    }
}

fn place(url: &str, insecure: bool) -> Result<From, ParamsError> {
    if let Some(hash) = url.strip_prefix("content:") {
        let hash = hash.parse().map_err(|error: model::InvalidId| invalid("key_url", error.to_string()))?;
        return Ok(From::Content(hash));
    }
    plain_word("key_url", url)?;
    match url.split_once("://") {
        Some(("http", _)) if !insecure => Err(invalid(
            "key_url",
            "`key_url` is not safe over http; `https://`, or `allow_insecure_key: true`",
        )),
        Some(("http" | "https", _)) => Ok(From::Web(url.to_owned())),
        _ => Err(invalid("key_url", format!("`{url}` is neither `https://` nor a file of the tree"))),
    }
}

/// Where a server has a key: by HTTPS, unless it may be asked without. Servers named with a port of HTTP have it too.
fn address(server: &str, id: &str, insecure: bool) -> Result<String, ParamsError> {
    plain_word("keyserver", server)?;
    let id = id.trim_start_matches("0x").replace(' ', "");
    let good = (8..=64).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_hexdigit());
    if !good {
        return Err(invalid("keyid", format!("`{id}` is no number of a key: 8 to 40 hexadecimal digits")));
    }
    let (scheme, rest) = server.split_once("://").unwrap_or(("", server));
    let base = match (scheme, rest.rsplit_once(':').map(|it| it.1)) {
        ("http", _) if !insecure => {
            let text = format!("`{server}` is not safe over http; `hkps://`, or `allow_insecure_key: true`");
            return Err(invalid("keyserver", text));
        }
        ("http", _) => format!("http://{rest}"),
        ("hkp", Some("80" | "11371")) if insecure => format!("http://{rest}"),
        ("hkp", Some("80" | "11371")) => {
            format!("https://{}", rest.rsplit_once(':').map_or(rest, |it| it.0))
        }
        ("hkp" | "hkps" | "https" | "", _) => format!("https://{rest}"),
        _ => return Err(invalid("keyserver", format!("`{server}` is no keyserver that can be asked"))),
    };
    Ok(format!("{}/pks/lookup?op=get&options=mr&search=0x{id}", base.trim_end_matches('/')))
}

/// The name of a file for a repository.
fn file_name(args: &Args<'_>) -> String {
    let file = args.path("file").and_then(|it| Some(it.file_stem()?.to_string_lossy().into_owned()));
    let name = file.unwrap_or_else(|| args.name());
    let plain: String =
        name.chars().map(|it| if it.is_ascii_alphanumeric() || it == '-' { it } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|it| !it.is_empty()).collect();
    words.join("-")
}

/// As apt wants it: a file `.gpg` has the bytes, every other one the text that stands for them.
fn in_form(bytes: &[u8], path: &Path) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(bytes).ok().filter(|it| it.contains(ARMOR));
    let binary = path.extension().is_some_and(|it| it == "gpg");
    match text {
        Some(text) if binary => bytes_of(text)
            .ok_or_else(|| Error::Refused("this is not a whole public key in its text form".to_owned())),
        Some(_) => Ok(bytes.to_vec()),
        // The first bit of every packet is set.
        None if bytes.first().is_none_or(|it| it & 0x80 == 0) => {
            Err(Error::Refused("this is no public key".to_owned()))
        }
        None if binary => Ok(bytes.to_vec()),
        None => {
            let text = base64::encode(bytes);
            let lines: Vec<&str> =
                text.as_bytes().chunks(64).filter_map(|it| std::str::from_utf8(it).ok()).collect();
            let end = ARMOR.replace("BEGIN", "END");
            Ok(format!("{ARMOR}\n\n{}\n{end}\n", lines.join("\n")).into_bytes())
        }
    }
}

/// The bytes that all blocks of a text stand for.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for block in text.split(ARMOR).skip(1) {
        let body = block.split("-----END").next()?.trim_start_matches([' ', '\t', '\r']);
        // Heads end with an empty line; a line that begins with `=` is a checksum.
        let lines: Vec<&str> = body.lines().map(str::trim).collect();
        let start = lines.iter().rposition(|it| it.contains(": ")).map_or(0, |it| it + 1);
        let body: String = lines[start..].iter().filter(|it| !it.starts_with('=')).copied().collect();
        bytes.extend(base64::decode(&body)?);
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with GnuPG 2.2.40.
    #[test]
    fn a_key_has_a_text_and_a_binary_form() {
        let text = include_str!("key.asc");
        let binary = include_bytes!("key.gpg");
        assert_eq!(in_form(text.as_bytes(), Path::new("/k.gpg")).unwrap(), binary);
        assert_eq!(in_form(text.as_bytes(), Path::new("/k.asc")).unwrap(), text.as_bytes());
        assert_eq!(in_form(binary, Path::new("/k.gpg")).unwrap(), binary);
        let again = in_form(binary, Path::new("/k.asc")).unwrap();
        assert_eq!(in_form(&again, Path::new("/k.gpg")).unwrap(), binary);
        let twice = format!("{text}{text}");
        assert_eq!(in_form(twice.as_bytes(), Path::new("/k.gpg")).unwrap().len(), 2 * binary.len());
        assert!(in_form(b"<html>", Path::new("/k.asc")).is_err());
    }

    #[test]
    fn servers_have_many_forms() {
        for (server, wanted) in [
            ("keyserver.ubuntu.com", "https://keyserver.ubuntu.com"),
            ("hkp://keyserver.ubuntu.com:80", "https://keyserver.ubuntu.com"),
            ("hkps://keys.openpgp.org", "https://keys.openpgp.org"),
        ] {
            let wanted = format!("{wanted}/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF");
            assert_eq!(address(server, "0x0123456789ABCDEF", false), Ok(wanted));
        }
        let plain = "http://x:11371/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF";
        assert_eq!(address("hkp://x:11371", "0123456789ABCDEF", true).as_deref(), Ok(plain));
        assert!(address("http://x", "0123456789ABCDEF", false).is_err());
        assert!(address("keys.openpgp.org", "x", false).is_err());
        assert!(address("ldap://x", "0123456789ABCDEF", false).is_err());
    }
}

//! `pkgrepo`: where packages come from.

mod apt;
mod ini;
mod key;
mod line;
mod stanza;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    diff::contents_change,
    host::{Action, Attributes, Contents, Links},
    packages::{Manager, PackageAction},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(crate) const MODULE: Module = Module {
    name: "pkgrepo",
    doc: Doc::new("Repositories that packages come from: apt, dnf, yum, zypper, pacman and apk."),
    functions: &[
        Function {
            name: "managed",
            doc: Doc::new(
                "A repository is there, with the key that its packages are signed with. With apt the name is the whole \
                  line of the sources list, and a file that ends with `.sources` gets the newer form; with dnf, yum and \
                  zypper it is the name of the section and of the file, with pacman of the section in /etc/pacman.conf, \
                  and with apk the line of /etc/apk/repositories. After a change the lists are fetched; if that fails \
                  the step says so and does not fail.",
            ),
            params: MANAGED,
            examples: Examples::new(&[
                "tools:\n  pkgrepo.managed:\n    - name: deb [signed-by=/etc/apt/keyrings/tools.asc arch=amd64] \
                 https://example.org/debian stable main\n    - file: /etc/apt/sources.list.d/tools.list\n    - key_url: \
                 https://example.org/key.asc\n    - aptkey: false\n",
                "epel:\n  pkgrepo.managed:\n    - humanname: Extra packages\n    - baseurl: \
                 https://example.org/epel/$releasever/$basearch\n    - gpgcheck: true\n    - gpgkey: \
                 https://example.org/epel/key\n",
            ]),
            parse: parse_managed,
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A repository is not there. Of a stanza that stands for several only this release or these components go. A file of which nothing is left \
                  goes, too; keys stay.",
            ),
            params: ABSENT,
            examples: Examples::new(&["deb https://example.org/debian stable main:\n  pkgrepo.absent: []\n"]),
            parse: parse_absent,
        },
    ],
};

const fn text(name: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Text, "", doc)
}
const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Bool, default, doc)
}

const NAME: Param =
    Param::name("The whole line (`deb ...`) with apt, the address with apk, else a name for the section.");
const PPA: Param =
    text("ppa", "Refused: write the line and the key of the archive, which say what is trusted.");
const COPR: Param = text("copr", "Refused: write `baseurl` and `gpgkey`, which say what is trusted.");
const REFRESH: Param = flag("refresh", "true", "Fetches the lists after a change.");
const MANAGED: &[Param] = &[
    NAME,
    PPA,
    COPR,
    text("humanname", "What it is called in lists (dnf, yum, zypper)."),
    text("baseurl", "Its address (dnf, yum, zypper, pacman)."),
    text("mirrorlist", "The address of a list of addresses (dnf, yum, zypper); a file of servers (pacman)."),
    text("metalink", "The address of a list of addresses that are up to date (dnf, yum)."),
    Param::of("comments", ParamType::TextList, "none", "What is written beside it, after `#`."),
    Param::of("enabled", ParamType::Text, "true", "Whether it is used: `true` or `false`, `1` or `0`."),
    Param::of(
        "disabled",
        ParamType::Text,
        "false",
        "The same the other way round; only one of both can be given.",
    ),
    text("architectures", "For which architectures it is used, with commas between (apt)."),
    Param::of("comps", ParamType::TextList, "", "More components, with commas between (apt)."),
    text("dist", "The release, instead of the one in the line (apt)."),
    Param::of(
        "file",
        ParamType::Path,
        "where it is, or /etc/apt/sources.list",
        "The file that it stands in; from others it is taken out (apt).",
    ),
    flag("clean_file", "false", "Nothing else stands in `file` (apt)."),
    text("signedby", "The file of the key, as `signed-by=` in the line (apt)."),
    flag("trusted", "false", "Its packages need no signature (apt)."),
    Param::of(
        "key_url",
        ParamType::Places,
        "",
        "Where its key is: `https://` or a file of the tree. A key from the web is fetched if there is none.",
    ),
    text("key_text", "Its key itself."),
    Param::of("keyid", ParamType::TextList, "", "The numbers of its keys, which `keyserver` has."),
    text("keyserver", "Where the keys with these numbers are; they are fetched by HTTPS."),
    flag(
        "aptkey",
        "true",
        "Accepted as in Salt: a key whose file the line does not name goes to /etc/apt/trusted.gpg.d, and apt-key is not \
         used.",
    ),
    flag("allow_insecure_key", "false", "`key_url` and `keyserver` may be asked without TLS."),
    text("gpgcheck", "Packages must be signed (dnf, yum, zypper)."),
    text("repo_gpgcheck", "The lists must be signed (dnf, yum, zypper)."),
    text("gpgkey", "Where the key is (dnf, yum, zypper)."),
    flag("gpgautoimport", "false", "Takes the key without asking when the lists are fetched (zypper)."),
    Param::of("priority", ParamType::Integer, "", "Low numbers win (dnf, yum, zypper)."),
    Param::of("cost", ParamType::Integer, "", "Low numbers win among equal ones (dnf, yum)."),
    text("exclude", "Packages that are not taken from it (dnf, yum)."),
    text("excludepkgs", "The same, as dnf calls it."),
    text("includepkgs", "Only these packages are taken from it (dnf, yum)."),
    text("skip_if_unavailable", "Goes on without it if it cannot be reached (dnf, yum)."),
    text("metadata_expire", "How long its lists are good (dnf, yum)."),
    text("module_hotfixes", "Modules do not hide its packages (dnf)."),
    text("autorefresh", "Its lists are fetched by themselves (zypper)."),
    text("keeppackages", "Fetched packages are kept (zypper)."),
    text("sslverify", "Whether its certificate counts (dnf, yum)."),
    text("sslcacert", "The file of the authority of its certificate (dnf, yum)."),
    text("sslclientcert", "The file of our certificate (dnf, yum)."),
    text("sslclientkey", "The file of the key of our certificate (dnf, yum)."),
    text("proxy", "The way there (dnf, yum)."),
    text("type", "Its kind, such as `rpm-md` (zypper)."),
    text("SigLevel", "What must be signed (pacman)."),
    REFRESH,
    flag("refresh_db", "true", "Older Salt's name of `refresh`."),
];
const ABSENT: &[Param] = &[
    NAME,
    PPA,
    COPR,
    flag("refresh", "true", "Fetches the lists after a change."),
    Param::of("file", ParamType::Path, "all", "Only in this file (apt)."),
];

/// What the files must be, by path; `None` is gone.
type Files = BTreeMap<PathBuf, Option<String>>;

#[derive(Debug)]
struct Repo {
    name: String,
    /// All parameters, read again by those who know the package manager.
    params: Map<String, Value>,
    schema: &'static [Param],
    present: bool,
    keys: key::Keys,
    refresh: bool,
}

fn common(args: &Args<'_>) -> Result<String, ParamsError> {
    let name = args.name();
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(invalid("name", "`name` must be one line"));
    }
    if args.has("ppa") || name.starts_with("ppa:") {
        let text = "a PPA names neither an address nor a key; write `name: deb [signed-by=/etc/apt/keyrings/X.asc] \
                    https://ppa.launchpadcontent.net/OWNER/NAME/ubuntu RELEASE main`, `keyid` with the fingerprint that \
                    Launchpad shows, and `keyserver: keyserver.ubuntu.com`";
        return Err(invalid(if args.has("ppa") { "ppa" } else { "name" }, text));
    }
    if args.has("copr") {
        let text = "a Copr names neither an address nor a key; write `baseurl: \
                    https://download.copr.fedorainfracloud.org/results/OWNER/NAME/fedora-$releasever-$basearch/` and \
                    `gpgkey` with the address below it that ends with pubkey.gpg";
        return Err(invalid("copr", text));
    }
    Ok(name)
}

fn parse_managed(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkgrepo.managed", MANAGED, params)?;
    let name = common(&args)?;
    if args.has("enabled") && args.has("disabled") {
        return Err(invalid("disabled", "only one of `enabled` and `disabled` can be given"));
    }
    for switch in ["enabled", "disabled"] {
        if args.text(switch).is_some_and(|it| truth(&it).is_none()) {
            return Err(invalid(switch, format!("`{switch}` must be true or false")));
        }
    }
    for param in MANAGED.iter().filter(|it| !matches!(it.name, "key_text" | "name")) {
        let list = if param.kind == ParamType::TextList {
            args.list(param.name)
        } else {
            args.text(param.name).map(|it| vec![it])
        };
        if list.iter().flatten().any(|it| it.chars().any(char::is_control)) {
            return Err(invalid(param.name, format!("`{}` must be one line", param.name)));
        }
    }
    let named = apt::Line::parse(&name);
    let keys = key::Keys::parse(&args, named.as_ref().and_then(apt::Line::signed_by).as_deref())?;
    Ok(Box::new(Repo {
        params: params.clone(),
        schema: MANAGED,
        present: true,
        keys,
        refresh: args.bool("refresh", true) && args.bool("refresh_db", true),
        name,
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkgrepo.absent", ABSENT, params)?;
    let name = common(&args)?;
    let refresh = args.bool("refresh", true);
    let keys = key::Keys::default();
    Ok(Box::new(Repo { name, params: params.clone(), schema: ABSENT, present: false, keys, refresh }))
}

impl Repo {
    fn args(&self) -> Result<Args<'_>, Error> {
        Args::new("pkgrepo", self.schema, &self.params).map_err(|error| Error::Refused(error.to_string()))
    }

    fn manager(host: &dyn Probe) -> Result<Manager, Error> {
        host.package_manager().map_err(Error::host("find", "package manager"))
    }

    /// What the files must be.
    fn wanted(&self, host: &dyn Probe) -> Result<Files, Error> {
        let args = self.args()?;
        match (Self::manager(host)?, self.present) {
            (Manager::Apt, true) => apt::managed(&self.name, &args, host),
            (Manager::Apt, false) => apt::absent(&self.name, args.path("file").as_deref(), host),
            (Manager::Apk, present) => line::files(&self.name, present, enabled(&args), host),
            (manager, true) => ini::managed(&self.name, &args, manager, host),
            (manager, false) => ini::absent(&self.name, manager, host),
        }
    }

    fn fetch_lists(&self, host: &mut dyn Host) -> Result<Applied, Error> {
        let manager = Self::manager(host)?;
        let imports = self.args()?.bool("gpgautoimport", false) && manager == Manager::Zypper;
        let action = if imports {
            let argv = ["zypper", "--non-interactive", "--gpg-auto-import-keys", "refresh"];
            Action::Run(crate::tool::command(&argv, crate::tool::LONG_MS))
        } else {
            Action::Packages(PackageAction::Refresh)
        };
        let done = host.perform(&action).map_err(Error::host("run", manager.name()))?;
        match done.success("fetch package lists") {
            Ok(output) => Ok(Applied::with(output)),
            Err(error) => Ok(Applied::saying(format!("the lists could not be fetched: {error}"))),
        }
    }
}

/// Whether it is used.
fn enabled(args: &Args<'_>) -> bool {
    let is_on = |name: &str| args.text(name).is_some_and(|it| truth(&it) == Some(true));
    if args.has("disabled") { !is_on("disabled") } else { !args.has("enabled") || is_on("enabled") }
}

/// A switch as these files and people write it.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A text file; none if there is none.
fn read(host: &dyn Probe, path: &Path) -> Result<Option<String>, Error> {
    crate::wanted_file::WantedFile::now(path, host)
}

/// Files in a folder with this ending, in order.
fn files_in(host: &dyn Probe, folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(folder);
    if host.stat(path, Links::Follow).map_err(Error::host("look at", folder))?.is_none() {
        return Ok(Vec::new());
    }
    let names = host.list(path).map_err(Error::host("list", folder))?;
    let paths = names.into_iter().map(|it| path.join(it));
    let good = |it: &PathBuf| it.extension().is_some_and(|it| endings.iter().any(|ending| it == *ending));
    Ok(paths.filter(good).collect())
}

impl Resource for Repo {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if Self::manager(host)? == Manager::Apt {
            self.keys.compare(host, &mut plan)?;
        }
        for (path, wanted) in self.wanted(host)? {
            let now = read(host, &path)?;
            let what = path.display().to_string();
            match wanted {
                Some(wanted) if now.as_ref() != Some(&wanted) => {
                    plan.push(contents_change(&what, now.as_deref().map(str::as_bytes), wanted.as_bytes()));
                }
                None if now.is_some() => {
                    plan.push(Change { what, from: Some("a file".to_owned()), to: None, diff: None });
                }
                _ => (),
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if Self::manager(host)? == Manager::Apt {
            self.keys.put(host, plan)?;
        }
        for (path, wanted) in self.wanted(host)? {
            let Some(text) = wanted else {
                host.remove(&path).map_err(Error::host("remove", path.display()))?;
                continue;
            };
            if read(host, &path)?.as_ref() == Some(&text) {
                continue;
            }
            let folder = path.parent().unwrap_or(Path::new("/"));
            if host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?.is_none() {
                host.make_directory(folder, Attributes::default())
                    .map_err(Error::host("make folder", folder.display()))?;
            }
            host.write(&path, Contents::Bytes(text.as_bytes()), Attributes::default(), Links::Follow)
                .map_err(Error::host("write", path.display()))?;
        }
        if self.refresh { self.fetch_lists(host) } else { Ok(Applied::default()) }
    }
}

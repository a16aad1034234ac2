//! `pkg.installed`.

use super::{INSTALLED, Wish, act, check_name, held_now, installed_now, lists, wishes};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Attributes, Contents, Links, Query, query},
    packages::{
        Install, InstallOption, Lists, Manager, PackageAction, Provider,
        version::{Epoch, Wish as Condition},
    },
};
use model::{Change, ContentHash, Plan};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Where files of packages lie while they are installed.
const FILES: &str = "/var/cache/labctl/packages";

#[derive(Debug)]
struct Installed {
    wishes: Vec<Wish>,
    sources: Vec<(String, Source)>,
    how: How,
    hold: Option<bool>,
    update_holds: bool,
    allow_updates: bool,
    epoch: Epoch,
    /// `refresh` as it was given.
    refresh: Option<bool>,
}

/// What installing needs to know besides names.
#[derive(Clone, Debug)]
pub(super) struct How {
    pub(super) lists: Lists,
    pub(super) from: Option<String>,
    recommends: Option<bool>,
    pub(super) options: BTreeSet<InstallOption>,
    enable: Option<String>,
    disable: Option<String>,
}

/// Where the file of a package comes from.
#[derive(Clone, Debug)]
enum Source {
    Content(ContentHash),
    Web(String),
    Path(PathBuf),
}

impl How {
    pub(super) fn of(args: &Args<'_>) -> Result<Self, ParamsError> {
        let word = |name: &str| {
            let text = args.text(name);
            text.iter().try_for_each(|it| plain_word(name, it)).map(|()| text)
        };
        let flags = [
            ("skip_verify", InstallOption::SkipVerify),
            ("only_upgrade", InstallOption::OnlyUpgrade),
            ("reinstall", InstallOption::Reinstall),
        ];
        let options = flags.into_iter().filter(|(name, _)| args.bool(name, false)).map(|(_, it)| it);
        Ok(Self {
            lists: lists(args),
            from: word("fromrepo")?,
            recommends: args.has("install_recommends").then(|| args.bool("install_recommends", true)),
            options: options.collect(),
            enable: word("enablerepo")?,
            disable: word("disablerepo")?,
        })
    }

    pub(super) fn install(&self, wishes: Vec<Wish>) -> Install {
        Install {
            wishes,
            files: Vec::new(),
            from: self.from.clone(),
            recommends: self.recommends,
            enable: self.enable.clone(),
            disable: self.disable.clone(),
            options: self.options.clone(),
        }
    }
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.installed", INSTALLED, params)?;
    let sources = sources(params)?;
    if !sources.is_empty() && args.has("pkgs") {
        return Err(invalid("sources", "`pkgs` and `sources` do not go together: write two states"));
    }
    let mut wishes = if sources.is_empty() { wishes(&args, params)? } else { Vec::new() };
    if let Some(version) = args.text("version").filter(|it| !it.is_empty()) {
        if args.has("pkgs") || !sources.is_empty() {
            return Err(invalid("version", "with `pkgs`, write the version behind each name"));
        }
        wishes[0].1 = Some(version);
    }
    for version in wishes.iter().filter_map(|it| it.1.as_ref()) {
        if version != "latest" && Condition::parse(version).is_none() {
            let text = format!("`{version}` is no version, pattern, comparison or `latest`");
            return Err(invalid(if args.has("pkgs") { "pkgs" } else { "version" }, text));
        }
    }
    Ok(Box::new(Installed {
        wishes,
        sources,
        how: How::of(&args)?,
        hold: args.has("hold").then(|| args.bool("hold", true)),
        update_holds: args.bool("update_holds", false),
        allow_updates: args.bool("allow_updates", false),
        epoch: match args.has("ignore_epoch").then(|| args.bool("ignore_epoch", false)) {
            None => Epoch::AsWritten,
            Some(true) => Epoch::Ignored,
            Some(false) => Epoch::Counts,
        },
        refresh: args.has("refresh").then(|| args.bool("refresh", true)),
    }))
}

fn sources(params: &Map<String, Value>) -> Result<Vec<(String, Source)>, ParamsError> {
    let wrong = || ParamsError::WrongType {
        param: "sources".to_owned(),
        wanted: "a list of mappings of a package's name to where its file is".to_owned(),
    };
    let rows: Vec<&Value> = match params.get("sources") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(rows)) => rows.iter().collect(),
        Some(one) => vec![one],
    };
    let mut found = Vec::new();
    for row in rows {
        for (name, place) in row.as_object().ok_or_else(wrong)? {
            check_name("sources", name)?;
            found.push((name.clone(), source(place.as_str().ok_or_else(wrong)?)?));
        }
    }
    Ok(found)
}

fn source(place: &str) -> Result<Source, ParamsError> {
    if let Some(hash) = place.strip_prefix("content:") {
        let hash = hash.parse().map_err(|error: model::InvalidId| invalid("sources", error.to_string()))?;
        return Ok(Source::Content(hash));
    }
    plain_word("sources", place)?;
    if place.starts_with("http://") {
        let text = format!(
            "`{place}` is not safe over http: nothing says that it is right; `https://`, or put it into the tree"
        );
        return Err(invalid("sources", text));
    }
    if place.starts_with("https://") {
        return Ok(Source::Web(place.to_owned()));
    }
    let path = crate::args::plain_path(place);
    if place.starts_with('/') && !place.split('/').any(|it| it == "..") {
        Ok(Source::Path(path))
    } else {
        Err(invalid("sources", format!("`{place}` is neither `lab://`, `https://` nor an absolute path")))
    }
}

impl Installed {
    fn names(&self) -> Vec<String> {
        let sources = self.sources.iter().map(|(name, _)| name);
        self.wishes.iter().map(|(name, _)| name).chain(sources).cloned().collect()
    }

    fn reinstalls(&self) -> bool {
        self.how.options.contains(&InstallOption::Reinstall)
    }

    /// What has to be installed or has another version, with `latest` replaced by the version that it means.
    fn missing(&self, host: &dyn Probe) -> Result<(Vec<Wish>, BTreeMap<String, String>), Error> {
        let installed = installed_now(host, &self.names())?;
        let wants_latest = |it: &&Wish| it.1.as_deref() == Some("latest");
        let newest: Vec<String> = self.wishes.iter().filter(wants_latest).map(|it| it.0.clone()).collect();
        let offered = if newest.is_empty() {
            BTreeMap::new()
        } else {
            let found = host.available(&newest, self.how.from.as_deref(), self.how.lists);
            found.map_err(Error::host("look up packages", newest.join(", ")))?
        };
        let (_, provider) = provider(host)?;
        let compare = |one: &str, other: &str| provider.compare(one, other);
        let mut missing = Vec::new();
        for (name, version) in &self.wishes {
            let candidate = offered.get(name).and_then(|it| it.candidate.clone());
            let good = match (installed.get(name), version.as_deref()) {
                _ if self.reinstalls() => false,
                (None, _) => false,
                (Some(_), None) => true,
                (Some(now), Some("latest")) => {
                    candidate.as_ref().is_none_or(|it| compare(now, it) != std::cmp::Ordering::Less)
                }
                (Some(now), Some(wish)) => self.fits(wish, now, &compare),
            };
            if !good {
                let version = match version.as_deref() {
                    Some("latest") => candidate,
                    other => other.map(str::to_owned),
                };
                missing.push((name.clone(), version));
            }
        }
        Ok((missing, installed))
    }

    fn fits(&self, wish: &str, now: &str, compare: &dyn Fn(&str, &str) -> std::cmp::Ordering) -> bool {
        let Some(condition) = Condition::parse(wish) else { return false };
        let newer = || condition.exact().is_some_and(|it| compare(now, it) == std::cmp::Ordering::Greater);
        condition.fits(now, self.epoch, compare) || (self.allow_updates && newer())
    }

    fn missing_sources(&self, host: &dyn Probe) -> Result<Vec<&(String, Source)>, Error> {
        let names: Vec<String> = self.sources.iter().map(|(name, _)| name.clone()).collect();
        let installed = installed_now(host, &names)?;
        let (manager, provider) = provider(host)?;
        let mut missing = Vec::new();
        for source in &self.sources {
            let good = match (installed.get(&source.0), &source.1) {
                _ if self.reinstalls() => false,
                (None, _) => false,
                (Some(now), Source::Path(path)) => match version_of(host, manager, path)? {
                    Some(version) => provider.compare(now, &version).is_eq(),
                    None => true,
                },
                (Some(_), _) => true,
            };
            if !good {
                missing.push(source);
            }
        }
        Ok(missing)
    }

    /// The versions that the conditions come to, out of what is on offer; a name without one stays so.
    fn resolved(&self, missing: Vec<Wish>, host: &dyn Probe) -> Result<Vec<Wish>, Error> {
        let names: Vec<String> = missing.iter().map(|(name, _)| name.clone()).collect();
        // They were fetched a moment ago.
        let lists = if self.how.lists == Lists::Fresh { Lists::Known } else { self.how.lists };
        let offered = host
            .available(&names, self.how.from.as_deref(), lists)
            .map_err(Error::host("look up packages", names.join(", ")))?;
        let (_, provider) = provider(host)?;
        let compare = |one: &str, other: &str| provider.compare(one, other);
        let mut wishes = Vec::new();
        for (name, version) in missing {
            let Some(text) = version else {
                wishes.push((name, None));
                continue;
            };
            let versions = offered.get(&name).map(|it| it.versions.clone()).unwrap_or_default();
            let Some(found) = versions.iter().find(|it| self.fits(&text, it, &compare)) else {
                let has = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
                return Err(Error::Refused(format!("no version of `{name}` fits `{text}`; on offer: {has}")));
            };
            wishes.push((name, Some(found.clone())));
        }
        Ok(wishes)
    }

    fn install(&self, missing: Vec<Wish>, host: &mut dyn Host) -> Result<Applied, Error> {
        let what = format!("install {}", words(&missing));
        if self.how.lists == Lists::Fresh {
            act(host, PackageAction::Refresh)?.success("fetch package lists")?;
        }
        let wishes = match self.resolved(missing.clone(), host) {
            Err(_) if self.refresh != Some(true) => {
                act(host, PackageAction::Refresh)?.success("fetch package lists")?;
                self.resolved(missing, host)?
            }
            found => found?,
        };
        let mut install = self.how.install(wishes);
        if install.wishes.iter().any(|(_, version)| version.is_some()) {
            install.options.insert(InstallOption::Downgrade);
        }
        let done = act(host, PackageAction::Install(install.clone()))?;
        // A machine whose lists are old.
        let unknown = provider(host)?.1.not_found();
        let said = format!("{}{}", done.output.stdout, done.output.stderr);
        if self.refresh == Some(true)
            || done.exit == crate::host::Exit::Code(0)
            || !unknown.iter().any(|it| said.contains(it))
        {
            return done.success(&what).map(Applied::with);
        }
        act(host, PackageAction::Refresh)?.success("fetch package lists")?;
        act(host, PackageAction::Install(install))?.success(&what).map(Applied::with)
    }

    fn install_sources(&self, host: &mut dyn Host) -> Result<Applied, Error> {
        let missing: Vec<(String, Source)> = self.missing_sources(host)?.into_iter().cloned().collect();
        let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("install {}", names.join(" "));
        let manager = provider(host)?.0;
        let mut files = Vec::new();
        for (name, source) in &missing {
            files.push(fetch(host, manager, name, source)?);
        }
        let mut install = self.how.install(Vec::new());
        install.files.clone_from(&files);
        install.options.extend([InstallOption::LocalFiles, InstallOption::Downgrade]);
        let done = act(host, PackageAction::Install(install))?;
        for file in files.iter().filter(|it| it.starts_with(FILES)) {
            host.remove(file).map_err(Error::host("remove", file.display()))?;
        }
        done.success(&what).map(Applied::with)
    }

    /// Those of the packages that are held although they must be altered: free for the moment.
    fn free(&self, missing: &[String], host: &mut dyn Host) -> Result<Vec<String>, Error> {
        let held = held_now(host)?;
        let in_the_way: Vec<String> = missing.iter().filter(|it| held.contains(*it)).cloned().collect();
        if in_the_way.is_empty() {
            return Ok(in_the_way);
        }
        if !self.update_holds && provider(host)?.0 != Manager::Apt {
            let text = format!("held: {}; `update_holds: true` would alter them", in_the_way.join(", "));
            return Err(Error::Refused(text));
        }
        act(host, PackageAction::Unhold(in_the_way.clone()))?.success("release held packages")?;
        Ok(in_the_way)
    }

    fn hold_changes(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let Some(wanted) = self.hold else { return Ok(Vec::new()) };
        let held = held_now(host)?;
        Ok(self.names().into_iter().filter(|it| held.contains(it) != wanted).collect())
    }
}

impl Resource for Installed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let (missing, installed) = self.missing(host)?;
        let sources = self.missing_sources(host)?;
        let mut plan = Plan::default();
        let missing = missing.into_iter().chain(sources.iter().map(|(name, _)| (name.clone(), None)));
        for (name, version) in missing {
            let from = installed.get(&name).filter(|it| !it.is_empty()).cloned();
            let to = Some(version.unwrap_or_else(|| "installed".to_owned()));
            plan.push(Change { what: name, from, to, diff: None });
        }
        for name in self.hold_changes(host)? {
            let wanted = self.hold == Some(true);
            let (from, to) = if wanted { ("free", "held") } else { ("held", "free") };
            let what = format!("hold of {name}");
            plan.push(Change { what, from: Some(from.to_owned()), to: Some(to.to_owned()), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (missing, _) = self.missing(host)?;
        let sources = self.missing_sources(host)?.into_iter().map(|(name, _)| name.clone());
        let names: Vec<String> = missing.iter().map(|(name, _)| name.clone()).chain(sources).collect();
        let mut applied = Applied::default();
        if !names.is_empty() {
            let freed = self.free(&names, host)?;
            let installed =
                if missing.is_empty() { self.install_sources(host) } else { self.install(missing, host) };
            // They are held again also if the install failed.
            let again: Vec<String> = freed.into_iter().filter(|_| self.hold != Some(false)).collect();
            if !again.is_empty() {
                act(host, PackageAction::Hold(again))?.success("hold packages")?;
            }
            applied = installed?;
        }
        let other = self.hold_changes(host)?;
        if !other.is_empty() {
            super::held::set(host, other, self.hold == Some(true))?;
        }
        Ok(applied)
    }

    fn converges(&self) -> bool {
        !self.reinstalls()
    }
}

fn provider(host: &dyn Probe) -> Result<(Manager, &'static dyn Provider), Error> {
    let manager = host.package_manager().map_err(Error::host("find", "package manager"))?;
    Ok((manager, manager.provider()))
}

fn words(wishes: &[Wish]) -> String {
    wishes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
}

/// The version of the package in a file; none if the file is not there yet.
fn version_of(host: &dyn Probe, manager: Manager, path: &Path) -> Result<Option<String>, Error> {
    let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
    if found.is_none() {
        return Ok(None);
    }
    let question = match manager {
        Manager::Apt => query::package::Question::DebVersion(path.to_owned()),
        Manager::Dnf | Manager::Yum | Manager::Zypper => {
            query::package::Question::RpmVersion(path.to_owned())
        }
        Manager::Pacman | Manager::Apk => return Ok(None),
    };
    let said = host.query(&Query::Package(question)).map_err(Error::host("ask about", path.display()))?;
    Ok(Some(said.stdout.trim().to_owned()).filter(|it| !it.is_empty()))
}

/// The file of a package, on this machine.
fn fetch(host: &mut dyn Host, manager: Manager, name: &str, source: &Source) -> Result<PathBuf, Error> {
    let suffix = match manager {
        Manager::Apt => "deb",
        Manager::Apk => "apk",
        Manager::Pacman => "pkg.tar.zst",
        Manager::Dnf | Manager::Yum | Manager::Zypper => "rpm",
    };
    let path = Path::new(FILES).join(format!("{}.{suffix}", name.replace([':', '@'], "_")));
    match source {
        Source::Path(path) => return Ok(path.clone()),
        // These fetch for themselves.
        Source::Web(address) if manager != Manager::Apt && manager != Manager::Apk => {
            return Ok(PathBuf::from(address));
        }
        _ => (),
    }
    for folder in Path::new(FILES).ancestors().collect::<Vec<_>>().into_iter().rev() {
        if host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?.is_none() {
            host.make_directory(folder, Attributes::default())
                .map_err(Error::host("make folder", folder.display()))?;
        }
    }
    match source {
        Source::Content(hash) => host
            .write(&path, Contents::Blob(*hash), Attributes::default(), Links::Follow)
            .map_err(Error::host("write", path.display()))?,
        Source::Web(address) => super::super::download::download(host, address, &path)?,
        Source::Path(_) => (),
    }
    Ok(path)
}

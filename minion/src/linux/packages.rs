//! Packages: runs what the package manager's provider asks for, and remembers answers until something is altered.

use super::command::run;
use resources::{
    host::{Command, Exit, Watch},
    packages::{Available, Installed, Lists, Manager, PackageAction, Provider, Reach, Upgrade},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

/// What was asked for already.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    installed: Option<Installed>,
    /// Whether the lists were fetched, or could not be, in this run.
    fetched: bool,
    /// The same, since something was altered last.
    fresh: bool,
}

/// The one whose program is here.
pub(crate) fn manager() -> Manager {
    let here = Manager::PROGRAMS.iter().find(|(_, program)| Path::new(program).exists());
    here.map(|(manager, _)| *manager).unwrap_or_default()
}

fn provider() -> &'static dyn Provider {
    manager().provider()
}

pub(crate) fn held() -> io::Result<BTreeSet<String>> {
    let Some(command) = provider().holds() else { return Ok(BTreeSet::new()) };
    let (exit, text) = ask(&command)?;
    // Without its plugin for it dnf holds nothing.
    if String::from_utf8_lossy(&text.err).contains("No such command") {
        return Ok(BTreeSet::new());
    }
    Ok(provider().parse_holds(&answer(exit, &text, &command)?))
}

impl Packages {
    pub(crate) fn find(&mut self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        let installed = &self.installed()?.versions;
        let found = |name: &String| installed.get(name).map(|version| (name.clone(), version.clone()));
        Ok(names.iter().filter_map(found).collect())
    }

    pub(crate) fn left_over(&mut self, names: &[String]) -> io::Result<BTreeSet<String>> {
        let left_over = &self.installed()?.left_over;
        Ok(names.iter().filter(|it| left_over.contains(*it)).cloned().collect())
    }

    pub(crate) fn available(
        &mut self,
        names: &[String],
        from: Option<&str>,
        lists: Lists,
    ) -> io::Result<BTreeMap<String, Available>> {
        self.fetch(lists)?;
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        // A name that is in no list makes some of them end with a failure: what they found counts.
        let (_, text) = ask(&provider().available(names, from))?;
        Ok(provider().parse_available(&text.stdout()))
    }

    pub(crate) fn upgrades(&mut self, reach: Reach, lists: Lists) -> io::Result<BTreeMap<String, Upgrade>> {
        self.fetch(lists)?;
        let command = provider().upgrades(reach);
        let (exit, text) = ask(&command)?;
        // pacman ends with 1 where there is none.
        if exit == Exit::Code(1) && text.out.is_empty() && text.err.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = provider().parse_upgrades(&answer(exit, &text, &command)?);
        let names: Vec<String> = found.keys().cloned().collect();
        let now = self.find(&names)?;
        for (name, upgrade) in &mut found {
            upgrade.from = upgrade.from.take().or_else(|| now.get(name).cloned());
        }
        Ok(found)
    }

    pub(crate) fn act(&mut self, action: &PackageAction, watch: &mut dyn Watch) -> io::Result<Exit> {
        let Some(commands) = provider().commands(action) else {
            let text = format!("{} cannot do this", manager().name());
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        for command in &commands {
            match run(command, watch)? {
                Exit::Code(code) if provider().is_good(code) => (),
                exit => return Ok(exit),
            }
        }
        self.fetched |= *action == PackageAction::Refresh;
        Ok(Exit::Code(0))
    }

    /// What a command did may have altered what is installed; the lists are as they were.
    pub(crate) fn forget(&mut self) {
        self.installed = None;
        self.fresh = false;
    }

    fn installed(&mut self) -> io::Result<&Installed> {
        match &mut self.installed {
            Some(_) => (),
            none => {
                let command = provider().list();
                let (exit, text) = ask(&command)?;
                // dpkg-query ends with 1 where there is no package at all.
                let text = match exit {
                    Exit::Code(1) if text.out.is_empty() => String::new(),
                    _ => answer(exit, &text, &command)?,
                };
                *none = Some(provider().parse_list(&text));
            }
        }
        Ok(self.installed.get_or_insert_default())
    }

    fn fetch(&mut self, lists: Lists) -> io::Result<()> {
        let due = match lists {
            Lists::Known => false,
            Lists::Recent => !self.fetched && provider().may_refresh_alone(),
            Lists::Fresh => !self.fresh,
            Lists::Within(seconds) => age_s(provider().lists()).is_none_or(|it| it > seconds),
        };
        if due {
            (self.fetched, self.fresh) = (true, true);
            // Without a network the lists are what they are: an install that needs more says so.
            self.act(&PackageAction::Refresh, &mut Text::default())?;
        }
        Ok(())
    }
}

/// Seconds since the file or folder was altered.
fn age_s(path: &str) -> Option<u64> {
    let altered = fs::metadata(path).and_then(|it| it.modified()).ok()?;
    SystemTime::now().duration_since(altered).ok().map(|it| it.as_secs())
}

fn ask(command: &Command) -> io::Result<(Exit, Text)> {
    let mut text = Text::default();
    run(command, &mut text).map(|exit| (exit, text))
}

/// What it said, if it ended well.
fn answer(exit: Exit, text: &Text, command: &Command) -> io::Result<String> {
    match exit {
        Exit::Code(code) if provider().is_good(code) => Ok(text.stdout()),
        exit => {
            let said = String::from_utf8_lossy(&text.err).trim().to_owned();
            Err(io::Error::other(format!("{} {}: {said}", command.argv[0], exit.describe())))
        }
    }
}

/// Most that a program may say: ten thousands of packages.
const LIST_BYTES_MAX: usize = 64 << 20;

/// The whole output, which is longer than a report may be.
#[derive(Default)]
struct Text {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Text {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

impl Watch for Text {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        let stream = if stderr { &mut self.err } else { &mut self.out };
        if stream.len() + bytes.len() <= LIST_BYTES_MAX {
            stream.extend_from_slice(bytes);
        }
    }
    fn cancelled(&self) -> bool {
        false
    }
}

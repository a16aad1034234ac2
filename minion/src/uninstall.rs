//! `labminion uninstall`: the service stops (and so says goodbye), then everything this minion is goes from the machine.

use crate::config::Config;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Name of the unit.
const UNIT: &str = "labminion.service";

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// There is nobody to ask.
    #[error("this would remove the identity of this minion, and there is no terminal to ask on: add --yes")]
    NoTerminal,
    /// The answer was no.
    #[error("nothing was removed")]
    Declined,
    /// The service goes on.
    #[error("`{0}` cannot be stopped: stop it by hand and try again")]
    Running(&'static str),
    /// A file stays.
    #[error("cannot remove `{path}`")]
    Remove {
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error(transparent)]
    Home(#[from] crate::home::HomeError),
}

/// Everything that goes; the settings that people wrote stay.
fn belongings(config: &Config, root: &Path) -> Vec<PathBuf> {
    vec![
        config.state_dir.clone(),
        config.cache_dir.clone(),
        config.installed_seed.clone(),
        root.join("etc/systemd/system").join(UNIT),
    ]
}

/// Asks on the terminal.
pub fn confirm(config: &Config) -> Result<(), UninstallError> {
    if !io::stdin().is_terminal() {
        return Err(UninstallError::NoTerminal);
    }
    eprint!("remove the key and the journal in `{}`? [y/N] ", config.state_dir.display());
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && ["y", "yes"].contains(&answer.trim()) { Ok(()) } else { Err(UninstallError::Declined) }
}

/// Stops the service and removes what belongs to the minion; returns what was removed.
pub fn uninstall(config: &Config, root: &Path) -> Result<Vec<PathBuf>, UninstallError> {
    let unit = root.join("etc/systemd/system").join(UNIT);
    if unit.exists() && root == Path::new("/") {
        stop_service()?;
    }
    if config.state_dir.exists() {
        // Held to the end: no minion may start in between.
        let home = crate::home::Home::open(&config.state_dir)?;
        let removed = remove_all(config, root);
        drop(home);
        return removed;
    }
    remove_all(config, root)
}

fn remove_all(config: &Config, root: &Path) -> Result<Vec<PathBuf>, UninstallError> {
    let mut removed = Vec::new();
    for path in belongings(config, root) {
        let gone = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match gone {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(UninstallError::Remove { path, source }),
        }
    }
    // The folders above are ours unless something else is in them: `remove_dir` leaves those.
    for path in &removed {
        if let Some(above) = path.parent().filter(|it| it.ends_with("labctl")) {
            let _ = std::fs::remove_dir(above);
        }
    }
    Ok(removed)
}

fn stop_service() -> Result<(), UninstallError> {
    let mut command = Command::new("systemctl");
    command.args(["disable", "--now", UNIT]).stdin(Stdio::null()).stdout(Stdio::null());
    let stopped = command.status().is_ok_and(|status| status.success());
    if stopped { Ok(()) } else { Err(UninstallError::Running(UNIT)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::home::Home;

    fn config(root: &Path) -> Config {
        Config::load(&Overrides { root: Some(root.to_owned()), ..Overrides::default() }).unwrap()
    }

    #[test]
    fn everything_of_the_minion_goes_and_the_settings_stay() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Home::open(&config.state_dir).unwrap().identity().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/labctl")).unwrap();
        std::fs::write(&config.installed_seed, "{}").unwrap();
        std::fs::write(dir.path().join("etc/labctl/minion.toml"), "").unwrap();
        let removed = uninstall(&config, dir.path()).unwrap();
        assert_eq!(removed, [config.state_dir.clone(), config.installed_seed.clone()]);
        assert!(!config.state_dir.exists());
        assert!(!dir.path().join("var/lib/labctl").exists(), "nothing else was in it");
        assert!(dir.path().join("etc/labctl/minion.toml").exists());
        assert!(uninstall(&config, dir.path()).unwrap().is_empty(), "a second time finds nothing");
    }

    #[test]
    fn a_running_minion_is_not_pulled_from_under_itself() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let _home = Home::open(&config.state_dir).unwrap();
        assert!(matches!(uninstall(&config, dir.path()), Err(UninstallError::Home(_))));
        assert!(config.state_dir.exists());
    }
}

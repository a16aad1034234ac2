//! Settings: flags and `LABMINION_*` first, then `/etc/labctl/minion.toml`, then defaults. Unknown keys are refused and
//! every mistake is reported at once.

use crate::core::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use tracing::Level;

/// The most that can be set for what waits for the master: it is held in memory.
const OUTBOX_BYTES_LIMIT: usize = 1 << 30;
/// Bytes of fetched contents that are kept for the next run.
const CACHE_BYTES: u64 = 512 << 20;
/// Keys of `minion.toml`.
const KEYS: &[&str] = &[
    "id",
    "seed",
    "state_dir",
    "cache_dir",
    "cache_bytes",
    "outbox_bytes",
    "grains_file",
    "grains_dir",
    "beacons_dir",
    "log_format",
    "log_level",
];

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, with `<N>` priorities under systemd.
    #[default]
    Auto,
    /// Text with the time.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line and the environment say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Root of all paths, for tests and images.
    pub root: Option<PathBuf>,
    /// The file itself.
    pub config: Option<PathBuf>,
    /// State folder.
    pub state_dir: Option<PathBuf>,
    /// Name.
    pub id: Option<String>,
    /// Seed file.
    pub seed: Option<PathBuf>,
    /// Pretended machine.
    pub sandbox: Option<PathBuf>,
    /// How the log looks.
    pub log_format: Option<LogFormat>,
    /// How much is logged.
    pub log_level: Option<Level>,
}

/// Settings in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name, if one is set.
    pub id: Option<String>,
    /// Seed that the operator gave: read, never altered.
    pub seed: Option<PathBuf>,
    /// Seed that the image has: its token is deleted once it was used.
    pub installed_seed: PathBuf,
    /// Keys, journal, workers.
    pub state_dir: PathBuf,
    /// Contents fetched by hash.
    pub cache_dir: PathBuf,
    /// Bytes that are kept there.
    pub cache_bytes: u64,
    /// Bytes of events and results that wait for the master.
    pub outbox_bytes: usize,
    /// Fixed grains.
    pub grains_file: PathBuf,
    /// Programs that print grains.
    pub grains_dir: PathBuf,
    /// Beacons that states or people set on the machine, a file each.
    pub beacons_dir: PathBuf,
    /// Pretended machine.
    pub sandbox: Option<PathBuf>,
    /// Root of the machine that grains describe.
    pub machine_root: PathBuf,
    /// How the log looks.
    pub log_format: LogFormat,
    /// How much is logged.
    pub log_level: Level,
}

impl Config {
    /// Reads the file, if there is one; all that is wrong comes back, a sentence each.
    pub fn load(overrides: &Overrides) -> Result<Self, Vec<String>> {
        let root = overrides.root.clone().or_else(|| overrides.sandbox.clone());
        let root = root.unwrap_or_else(|| PathBuf::from("/"));
        let path = overrides.config.clone().unwrap_or_else(|| root.join("etc/labctl/minion.toml"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && overrides.config.is_none() => {
                String::new()
            }
            Err(error) => return Err(vec![format!("cannot read `{}`: {error}", path.display())]),
        };
        Self::from_text(&text, &path, &root, overrides)
    }

    fn from_text(text: &str, path: &Path, root: &Path, overrides: &Overrides) -> Result<Self, Vec<String>> {
        let table = text.parse::<Table>().map_err(|error| vec![format!("`{}`: {error}", path.display())])?;
        let mut file = File { table, path, mistakes: Vec::new() };
        file.refuse_unknown();
        let etc = root.join("etc/labctl");
        let in_root = |place: Option<PathBuf>, default: PathBuf| match place {
            Some(place) => root.join(place.strip_prefix("/").unwrap_or(&place)),
            None => default,
        };
        let state = file.path("state_dir");
        // States put beacons where the machine is, which is not where its agent is when the machine is pretended.
        let machine_root = overrides.sandbox.clone().unwrap_or_else(|| PathBuf::from("/"));
        let seed = file.path("seed").map(|seed| in_root(Some(seed), PathBuf::new()));
        let config = Self {
            id: overrides.id.clone().or(file.text("id")),
            seed: overrides.seed.clone().or(seed),
            installed_seed: etc.join("seed.json"),
            state_dir: overrides
                .state_dir
                .clone()
                .unwrap_or_else(|| in_root(state, root.join("var/lib/labctl/minion"))),
            cache_dir: in_root(file.path("cache_dir"), root.join("var/cache/labctl/minion")),
            cache_bytes: file.number("cache_bytes").unwrap_or(CACHE_BYTES),
            outbox_bytes: file.outbox_bytes(),
            grains_file: in_root(file.path("grains_file"), etc.join("grains.toml")),
            grains_dir: in_root(file.path("grains_dir"), etc.join("grains.d")),
            beacons_dir: in_root(file.path("beacons_dir"), machine_root.join("etc/labctl/beacons.d")),
            machine_root,
            sandbox: overrides.sandbox.clone(),
            log_format: overrides.log_format.unwrap_or_else(|| file.log_format()),
            log_level: overrides.log_level.unwrap_or_else(|| file.log_level()),
        };
        if file.mistakes.is_empty() { Ok(config) } else { Err(file.mistakes) }
    }
}

struct File<'a> {
    table: Table,
    path: &'a Path,
    mistakes: Vec<String>,
}

impl File<'_> {
    fn refuse_unknown(&mut self) {
        for key in self.table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            self.mistakes.push(format!(
                "`{}`: unknown key `{key}`; known are {}",
                self.path.display(),
                KEYS.join(", ")
            ));
        }
    }

    fn mistake(&mut self, key: &str, wanted: &str) {
        self.mistakes.push(format!("`{}`: `{key}` must be {wanted}", self.path.display()));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.get(key) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.mistake(key, "a text");
                None
            }
        }
    }

    fn path(&mut self, key: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(key)?);
        if !path.is_absolute() {
            self.mistake(key, "an absolute path");
        }
        Some(path)
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let number = self.table.get(key)?.as_integer().and_then(|it| u64::try_from(it).ok());
        if number.is_none() {
            self.mistake(key, "a whole number of bytes");
        }
        number
    }

    fn outbox_bytes(&mut self) -> usize {
        let given = self.number("outbox_bytes").map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        let bytes = given.unwrap_or(OUTBOX_BYTES_MAX);
        if !(OUTBOX_BYTES_MIN..=OUTBOX_BYTES_LIMIT).contains(&bytes) {
            self.mistake("outbox_bytes", "1 MiB to 1 GiB");
        }
        bytes
    }

    fn log_format(&mut self) -> LogFormat {
        match self.text("log_format").as_deref() {
            None | Some("auto") => LogFormat::Auto,
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => {
                self.mistake("log_format", "one of auto, text, json");
                LogFormat::Auto
            }
        }
    }

    fn log_level(&mut self) -> Level {
        let text = self.text("log_level").unwrap_or_else(|| "info".to_owned());
        text.parse().unwrap_or_else(|_| {
            self.mistake("log_level", "one of error, warn, info, debug, trace");
            Level::INFO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &Overrides) -> Result<Config, Vec<String>> {
        Config::from_text(text, Path::new("/etc/labctl/minion.toml"), Path::new("/r"), overrides)
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "colour = 1\nid = 3\nstate_dir = \"here\"\nlog_level = \"loud\"\ncache_bytes = -1\n";
        let mistakes = load(text, &Overrides::default()).unwrap_err();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        for part in
            ["unknown key `colour`", "`id` must be", "`state_dir` must be", "`log_level`", "`cache_bytes`"]
        {
            assert!(mistakes.iter().any(|it| it.contains(part)), "{part} in {mistakes:?}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_paths_are_below_the_root() {
        let text = "id = \"vm-1\"\nstate_dir = \"/var/x\"\n";
        let config = load(text, &Overrides::default()).unwrap();
        assert_eq!(config.state_dir, Path::new("/r/var/x"));
        assert_eq!(config.installed_seed, Path::new("/r/etc/labctl/seed.json"));
        let overrides = Overrides { id: Some("vm-2".to_owned()), ..Overrides::default() };
        assert_eq!(load(text, &overrides).unwrap().id.as_deref(), Some("vm-2"));
    }

    #[test]
    fn a_file_that_is_no_toml_says_where() {
        let mistakes = load("id = \n", &Overrides::default()).unwrap_err();
        assert!(mistakes[0].contains("line 1"), "{mistakes:?}");
    }
}

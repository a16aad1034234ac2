//! Which name a minion asks for, and which seed it does it with.

use crate::config::Config;
use crate::home::write_private;
use bus::seed::{Seed, SeedToken};
use model::MinionId;
use std::io;
use std::path::{Path, PathBuf};

/// Systemd credential with the id.
const CREDENTIAL_ID: &str = "labctl.id";
/// Systemd credential with a whole seed.
const CREDENTIAL_SEED: &str = "labctl.seed";
/// Systemd credential with a token (`{"statement": ..., "image_secret": ...}`) for the installed seed.
const CREDENTIAL_TOKEN: &str = "labctl.token";

/// Why there is no seed, or no name.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("cannot read the seed `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// It is not one.
    #[error("`{path}`: {message}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// There is none.
    #[error(
        "there is no seed: make one with `labctl key enroll > seed.json` and give it with --seed, or put it to `{0}`"
    )]
    NoSeed(PathBuf),
    /// The flag or the file names something that is no id.
    #[error("`{0}` is not a minion id: use a-z, 0-9 and `-` in labels of 1 to 63 joined by `.`")]
    BadId(String),
}

/// A seed and where it is from.
#[derive(Debug)]
pub struct FoundSeed {
    /// What it says.
    pub seed: Seed,
    /// The installed file that holds the token, if it does: the token goes from there once it was used.
    pub token_in: Option<PathBuf>,
}

/// A name and, if it is none of one's own, why.
#[derive(Clone, Debug, PartialEq)]
pub struct ChosenId {
    /// To ask for.
    pub id: MinionId,
    /// Why an operator has to look at it first: no token is used.
    pub quarantine: Option<String>,
}

fn credential(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    path.is_file().then_some(path)
}

/// The operator's seed, else a credential, else the installed one.
pub fn find_seed(config: &Config) -> Result<FoundSeed, IdentityError> {
    if let Some(path) = &config.seed {
        return Ok(FoundSeed { seed: read_seed(path)?, token_in: None });
    }
    if let Some(path) = credential(CREDENTIAL_SEED) {
        return Ok(FoundSeed { seed: read_seed(&path)?, token_in: None });
    }
    let path = &config.installed_seed;
    if !path.is_file() {
        return Err(IdentityError::NoSeed(path.clone()));
    }
    let mut seed = read_seed(path)?;
    if let Some(from) = credential(CREDENTIAL_TOKEN) {
        seed.token = Some(read_token(&from)?);
        return Ok(FoundSeed { seed, token_in: None });
    }
    let token_in = seed.token.is_some().then(|| path.clone());
    Ok(FoundSeed { seed, token_in })
}

fn read(path: &Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn read_seed(path: &Path) -> Result<Seed, IdentityError> {
    let malformed = |message| IdentityError::Malformed { path: path.to_owned(), message };
    Seed::parse(&read(path)?).map_err(malformed)
}

fn read_token(path: &Path) -> Result<SeedToken, IdentityError> {
    let malformed = |error: serde_json::Error| IdentityError::Malformed {
        path: path.to_owned(),
        message: format!("no token: {error}"),
    };
    serde_json::from_str(&read(path)?).map_err(malformed)
}

/// Deletes the token from an installed seed; the rest stays.
pub fn delete_token(path: &Path) -> Result<(), String> {
    let mut seed = read_seed(path).map_err(|error| error.to_string())?;
    seed.token = None;
    let text = serde_json::to_string(&seed).map_err(|error| error.to_string())?;
    write_private(path, text.as_bytes()).map_err(|error| error.to_string())
}

/// `--id`, else the seed's, else a credential's, else the host name in lower case.
pub fn choose_id(config: &Config, seed: Option<&Seed>, host_name: &str) -> Result<ChosenId, IdentityError> {
    if let Some(text) = &config.id {
        let id = text.parse().map_err(|_| IdentityError::BadId(text.clone()))?;
        return Ok(ChosenId { id, quarantine: None });
    }
    if let Some(id) = seed.and_then(|seed| seed.id.as_ref()) {
        return Ok(ChosenId { id: id.clone(), quarantine: None });
    }
    if let Some(path) = credential(CREDENTIAL_ID) {
        return Ok(from_name(read(&path)?.trim(), "the systemd credential labctl.id"));
    }
    Ok(from_name(&host_name.to_lowercase(), "the host name"))
}

/// A name that says nothing or is no id is asked for in a form that is one, without the token.
fn from_name(name: &str, whose: &str) -> ChosenId {
    let nameless = ["localhost", "localhost.localdomain", "(none)", ""].contains(&name);
    match name.parse::<MinionId>() {
        Ok(id) if !nameless => ChosenId { id, quarantine: None },
        _ => ChosenId {
            id: spelled(name),
            quarantine: Some(format!("{whose} is `{}`", name.chars().take(80).collect::<String>())),
        },
    }
}

fn spelled(name: &str) -> MinionId {
    let dashed = |it: char| if it.is_ascii_lowercase() || it.is_ascii_digit() { it } else { '-' };
    let text: String = name.to_lowercase().chars().map(dashed).take(63).collect();
    let nameless = "localhost".parse().expect("it is an id");
    text.trim_matches('-').parse().unwrap_or(nameless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use bus::Identity;
    use bus::masters::Masters;

    fn seed(id: Option<&str>) -> Seed {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let masters = Masters { version: 1, masters: Vec::new() }.sign(&org);
        Seed { v: 1, org: org.public().to_text(), masters, id: id.map(|it| it.parse().unwrap()), token: None }
    }

    fn config(dir: &Path, id: Option<&str>) -> Config {
        let overrides =
            Overrides { root: Some(dir.to_owned()), id: id.map(str::to_owned), ..Overrides::default() };
        Config::load(&overrides).unwrap()
    }

    #[test]
    fn a_name_is_taken_from_the_flag_then_the_seed_then_the_host() {
        let dir = tempfile::tempdir().unwrap();
        for (flag, seeds, host, id, quarantine) in [
            (Some("a"), Some("b"), "c", "a", false),
            (None, Some("b"), "c", "b", false),
            (None, None, "VM-7", "vm-7", false),
            (None, None, "web.Lab", "web.lab", false),
            (None, None, "localhost", "localhost", true),
            (None, None, "localhost.localdomain", "localhost-localdomain", true),
            (None, None, "my_host", "my-host", true),
            (None, None, "", "localhost", true),
            (None, None, "äöü", "localhost", true),
        ] {
            let chosen = choose_id(&config(dir.path(), flag), Some(&seed(seeds)), host).unwrap();
            assert_eq!((chosen.id.as_str(), chosen.quarantine.is_some()), (id, quarantine), "{host}");
        }
        assert!(matches!(
            choose_id(&config(dir.path(), Some("No Way")), None, "x"),
            Err(IdentityError::BadId(_))
        ));
    }

    #[test]
    fn the_token_goes_from_the_installed_seed_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), None);
        let (image_secret, _) = bus::seed::new_image_key();
        let mut whole = seed(Some("vm-1"));
        whole.token = Some(SeedToken { statement: "a.b".to_owned(), image_secret });
        std::fs::create_dir_all(config.installed_seed.parent().unwrap()).unwrap();
        std::fs::write(&config.installed_seed, serde_json::to_string(&whole).unwrap()).unwrap();
        let found = find_seed(&config).unwrap();
        assert!(found.seed.token.is_some());
        delete_token(&found.token_in.unwrap()).unwrap();
        let found = find_seed(&config).unwrap();
        assert_eq!(found.seed, seed(Some("vm-1")));
        assert_eq!(found.token_in, None);
    }

    #[test]
    fn without_a_seed_it_says_how_to_get_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = find_seed(&config(dir.path(), None)).unwrap_err();
        assert!(error.to_string().contains("labctl key enroll"), "{error}");
    }
}

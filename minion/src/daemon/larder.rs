//! Recipes and contents: opened, fetched by hash from the masters, kept for the next run within a limit.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::message::{Offer, SealedRecipe};
use bus::{Identity, seal};
use model::{ContentHash, MinionId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Attempts to fetch one content, with a pause that grows by a second.
const ATTEMPTS: u32 = 5;
/// Contents of one recipe.
const FILES_MAX: usize = 100_000;

/// Gets what a run needs.
#[derive(Clone)]
pub(super) struct Larder {
    pub(super) id: MinionId,
    pub(super) identity: Arc<Identity>,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) https: Vec<String>,
    pub(super) dir: PathBuf,
    pub(super) bytes_max: u64,
}

#[derive(Deserialize)]
struct Needs {
    files: BTreeMap<ContentHash, Need>,
}

#[derive(Deserialize)]
struct Need {
    size: u64,
    inline: Option<IgnoredAny>,
}

impl Larder {
    /// The recipe as JSON, with every content it needs in the folder; or why not, for people.
    pub(super) async fn recipe(&self, offer: &Offer) -> Result<Vec<u8>, String> {
        let sealed = self.sealed(offer).await?;
        let context = seal::recipe_context(&self.id, offer.job);
        let text = seal::open(&sealed, &self.identity, &context)
            .ok_or("the recipe was not sealed for this minion and job")?;
        drop(sealed);
        let needs: Needs =
            serde_json::from_slice(&text).map_err(|error| format!("the recipe is malformed: {error}"))?;
        if needs.files.len() > FILES_MAX {
            return Err(format!("the recipe has more than {FILES_MAX} contents"));
        }
        for (hash, need) in &needs.files {
            if need.inline.is_none() {
                self.content(*hash, need.size).await?;
            }
        }
        Ok(text)
    }

    async fn sealed(&self, offer: &Offer) -> Result<Vec<u8>, String> {
        match &offer.recipe {
            SealedRecipe::Here { sealed } => {
                BASE64_URL_SAFE_NO_PAD.decode(sealed).map_err(|_| "the recipe is no base64url".to_owned())
            }
            SealedRecipe::Fetch { hash, size } => {
                self.content(*hash, *size).await?;
                let path = self.dir.join(hash.to_string());
                // It stays, sealed as it is, for a run that is begun again or goes on after a reboot.
                std::fs::read(&path).map_err(|error| format!("cannot read the recipe: {error}"))
            }
        }
    }

    async fn content(&self, hash: ContentHash, size: u64) -> Result<(), String> {
        let path = self.dir.join(hash.to_string());
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == size) {
            touch(&path);
            return Ok(());
        }
        // Somebody may have cleaned the caches of this machine.
        crate::home::make_private_dir(&self.dir).map_err(|error| chain(&error))?;
        // Whole files only have the plain name: what is here was checked.
        let part = self.dir.join(format!("{hash}.part"));
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            tokio::time::sleep(Duration::from_secs(attempt.into())).await;
            match bus::http::fetch(&self.https, self.tls.clone(), hash, size, &part).await {
                Ok(()) => {
                    return std::fs::rename(&part, &path)
                        .map_err(|error| format!("cannot keep a content: {error}"));
                }
                Err(error) => reason = chain(&error),
            }
        }
        Err(format!("content {hash} cannot be fetched: {reason}"))
    }

    /// Removes what was not used for longest until the folder is within its limit.
    pub(super) fn clean(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((meta.modified().ok()?, meta.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in files {
            if bytes <= self.bytes_max {
                return;
            }
            if std::fs::remove_file(&path).is_ok() {
                bytes -= length;
            }
        }
    }
}

fn touch(path: &Path) {
    if let Ok(file) = std::fs::File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{JobId, Mode, Recipe};

    fn larder(dir: &Path) -> Larder {
        let identity = Arc::new(Identity::from_secrets([1; 32], [2; 32]));
        let tls = bus::tls::client_config(&[], None);
        let id = "vm-1".parse().unwrap();
        Larder { id, identity, tls, https: Vec::new(), dir: dir.to_owned(), bytes_max: 10 }
    }

    fn offer(job: u128, to: &Identity, id: &str) -> Offer {
        let recipe = serde_json::to_vec(&Recipe::default()).unwrap();
        let context = seal::recipe_context(&id.parse().unwrap(), JobId(1));
        let sealed = BASE64_URL_SAFE_NO_PAD.encode(seal::seal(&recipe, &to.seal_key(), &context));
        Offer {
            job: JobId(job),
            mode: Mode::Apply,
            command: false,
            full: false,
            expires: model::Timestamp(0),
            what: String::new(),
            recipe: SealedRecipe::Here { sealed },
            confirm_ms: None,
            begun: None,
        }
    }

    #[tokio::test]
    async fn only_a_recipe_for_this_minion_and_job_opens() {
        bus::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let larder = larder(dir.path());
        let (own, other) = (Identity::from_secrets([1; 32], [2; 32]), Identity::generate());
        assert!(larder.recipe(&offer(1, &own, "vm-1")).await.is_ok());
        assert!(larder.recipe(&offer(2, &own, "vm-1")).await.is_err(), "of another job");
        assert!(larder.recipe(&offer(1, &own, "vm-2")).await.is_err(), "of another minion");
        assert!(larder.recipe(&offer(1, &other, "vm-1")).await.is_err(), "for another key");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        bus::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 3), ("used", 2), ("new", 1)] {
            let path = dir.path().join(name);
            std::fs::write(&path, "12345").unwrap();
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).unwrap();
        }
        larder(dir.path()).clean();
        let left = |name: &str| dir.path().join(name).exists();
        assert_eq!((left("old"), left("used"), left("new")), (false, true, true));
    }
}

//! Contents that came with a recipe: in it, or fetched beforehand into a folder.

use super::{beneath::open_in, files::Input};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use model::{ContentHash, Recipe};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

/// Where contents are found by their hash.
#[derive(Clone, Debug, Default)]
pub struct BlobSource {
    inline: BTreeMap<ContentHash, Arc<[u8]>>,
    fetched: PathBuf,
}

impl BlobSource {
    /// What is in the recipe, and for the rest the files in `fetched`, each named by its hash in hexadecimal digits
    /// and already verified.
    pub fn new(recipe: &Recipe, fetched: PathBuf) -> io::Result<Self> {
        let mut inline = BTreeMap::new();
        for (hash, file) in &recipe.files {
            if let Some(text) = &file.inline {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("content {hash} is no base64url: {error}"),
                    )
                })?;
                inline.insert(*hash, Arc::from(bytes));
            }
        }
        Ok(Self { inline, fetched })
    }

    /// The whole content.
    pub(crate) fn bytes(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        if let Some(bytes) = self.inline.get(&hash) {
            return Ok(bytes.clone());
        }
        let mut bytes = Vec::new();
        self.open(hash)?.read_to_end(&mut bytes)?;
        Ok(Arc::from(bytes))
    }
    /// Its length.
    pub(crate) fn size(&self, hash: ContentHash) -> io::Result<u64> {
        match self.inline.get(&hash) {
            Some(bytes) => Ok(bytes.len() as u64),
            None => self.open(hash)?.metadata().map(|it| it.len()),
        }
    }
    /// For writing it somewhere.
    pub(crate) fn input(&self, hash: ContentHash) -> io::Result<Input<'_>> {
        match self.inline.get(&hash) {
            Some(bytes) => Ok(Input::Bytes(bytes)),
            None => self.open(hash).map(Input::File),
        }
    }
    fn open(&self, hash: ContentHash) -> io::Result<File> {
        open_in(&self.fetched, &hash.to_string())
    }
}

//! The three trees, in memory.

use model::{ContentHash, Revision};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// The template engine of a file without a renderer line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renderer {
    /// `handlebars|yaml`
    #[default]
    Handlebars,
    /// `jinja|yaml`
    Jinja,
    /// `yaml`
    Plain,
}

/// How the files of one folder of the trees are read. Each folder of a layered tree has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// For files without a renderer line.
    pub renderer: Renderer,
    /// It comes from Salt: unknown parameters, and requisites where Salt ignored them, are warnings.
    pub salt: bool,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its bytes. Files above the limit that is kept in memory have none; they are served from disk by hash.
    pub bytes: Option<Arc<[u8]>>,
    /// SHA-256 of its bytes.
    pub hash: ContentHash,
    /// Its length.
    pub size: u64,
    /// Permission bits, for `mode: keep` and executable sources.
    pub mode: u32,
    /// How it is read.
    pub dialect: Dialect,
}

impl Source {
    /// A text.
    pub fn of_text(text: &str, dialect: Dialect) -> Self {
        let bytes: Arc<[u8]> = text.as_bytes().into();
        let hash = ContentHash(Sha256::digest(&bytes).into());
        Self { size: bytes.len() as u64, bytes: Some(bytes), hash, mode: 0o644, dialect }
    }
}

/// `states/...`, `pillar/...` and `reactors/...`, already layered: path with `/` -> file. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: Arc<BTreeMap<String, Source>>,
}

impl Tree {
    /// From paths and files.
    pub fn new(files: impl IntoIterator<Item = (String, Source)>) -> Self {
        Self { files: Arc::new(files.into_iter().collect()) }
    }
    /// From paths and texts: for tests.
    pub fn of_texts<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(
            files
                .into_iter()
                .map(|(path, text)| (path.to_owned(), Source::of_text(text, Dialect::default()))),
        )
    }
    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&Source> {
        self.files.get(path)
    }
    /// All, in order of path.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Source)> {
        self.files.iter()
    }
    /// Hash over all paths and contents.
    pub fn revision(&self) -> Revision {
        let mut sum = Sha256::new();
        for (path, source) in self.files.iter() {
            sum.update((path.len() as u64).to_be_bytes());
            sum.update(path.as_bytes());
            sum.update(source.hash.0);
            sum.update(source.mode.to_be_bytes());
        }
        Revision(ContentHash(sum.finalize().into()))
    }
}

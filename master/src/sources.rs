//! `states/`, `pillar/` and `reactors/` as a tree in memory; watches them; contents by hash.

pub(crate) mod git;
mod pushed;
mod scan;
mod watch;

use lang::{Compiler, Tree, rules::Rules};
pub use lang::{Folder, Layout};
use model::{ContentHash, Diagnostic, Revision, Severity, Span};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use git::{Commit, GitTree};
pub(crate) use pushed::{News, Trees, judge};
pub(crate) use scan::open_content;
pub use watch::Watcher;

/// Complaints that hang on a minion's grains and pillar (a value that is not allowed, a requisite that is not there):
/// without a minion they are no reason to refuse an edit, and with one its job tells them.
const AWAITS_A_MINION: &[&str] = &["E0109", "E0114"];

/// One state of the trees, with what was made from it. Shared by threads.
pub struct Generation {
    /// Compiles it.
    pub compiler: Compiler,
    /// Its rules; none if they cannot be read.
    pub rules: Option<Rules>,
    /// Its hash.
    pub revision: Revision,
    /// Where contents of `states/` lay when it was read.
    pub files: Arc<BTreeMap<ContentHash, PathBuf>>,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({}, {} files)", self.revision, self.files.len())
    }
}

/// What reading the trees gave.
#[derive(Debug)]
pub struct Reading {
    /// The generation; whether it may be used is for the complaints to say.
    pub generation: Arc<Generation>,
    /// Errors: the newest edit is broken.
    pub errors: Vec<Diagnostic>,
}

/// Reads trees again and again, cheaply where nothing changed.
#[derive(Debug)]
pub struct Sources {
    layout: Layout,
    seen: scan::Seen,
    last: Option<Revision>,
}

impl Sources {
    /// Of these folders; those that do not exist are empty.
    pub fn new(layout: Layout) -> Self {
        Self { layout, seen: scan::Seen::default(), last: None }
    }
    /// Where they lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// The next reading gives what is there, also if nothing changed.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
    /// Reads what is there now; `None` if nothing changed since the last time. Blocks: not for a runtime's thread.
    pub fn read(&mut self) -> Option<Reading> {
        let found = scan::scan(&self.layout, &mut self.seen);
        let tree = Tree::new(found.sources.into_iter().chain(self.layout.reactor_file()));
        let revision = tree.revision();
        let whole = found.problems.iter().all(|it| it.severity != Severity::Error);
        if self.last == Some(revision) && whole {
            return None;
        }
        self.last = whole.then_some(revision);
        let rules = Rules::load(&tree);
        let compiler = Compiler::with_options(tree, self.layout.options.clone());
        let mut errors = found.problems;
        errors.extend(compiler.check(&[]));
        errors.retain(|it| !AWAITS_A_MINION.contains(&it.code.as_str()) && !is_salts(&compiler, it));
        errors.extend(rules.diagnostics);
        errors.retain(|it| it.severity == Severity::Error);
        dedup(&mut errors);
        // Those that were left out would lose what they remember.
        let rules = rules.value.filter(|_| !found.lacks_rules);
        let generation = Arc::new(Generation { compiler, rules, revision, files: Arc::new(found.files) });
        Some(Reading { generation, errors })
    }
}

/// Whether a complaint is about a file of a Salt tree. Salt finds what is wrong with a file when a minion wants it, so
/// a tree that ran there may hold files that never compile: they fail the jobs that want them and hold back nothing.
fn is_salts(compiler: &Compiler, complaint: &Diagnostic) -> bool {
    let place = complaint.spans.first().and_then(|it| compiler.tree().get(&it.file));
    place.is_some_and(|it| it.dialect.salt)
}

/// A complaint about a file as a whole.
fn complaint(severity: Severity, file: &str, message: String, help: &str) -> Diagnostic {
    let span =
        Span { file: file.into(), line: 1, column: 1, length: 1, text: String::new(), label: String::new() };
    Diagnostic {
        severity,
        code: "E0601".into(),
        message,
        spans: vec![span],
        notes: Vec::new(),
        help: Some(help.into()),
    }
}

fn dedup(errors: &mut Vec<Diagnostic>) {
    let mut kept: Vec<Diagnostic> = Vec::with_capacity(errors.len());
    for error in errors.drain(..) {
        if !kept.contains(&error) {
            kept.push(error);
        }
    }
    *errors = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn layout(roots: &[&Path]) -> Layout {
        Layout::of_trees(&roots.iter().map(|it| Folder::native(*it)).collect::<Vec<_>>())
    }

    fn text(reading: &Reading, path: &str) -> Option<String> {
        let source = reading.generation.compiler.tree().get(path)?;
        source.bytes.as_ref().map(|it| String::from_utf8_lossy(it).into_owned())
    }

    #[test]
    fn an_earlier_folder_hides_files_of_a_later_one_and_what_git_and_editors_leave_is_no_part() {
        let (site, shipped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(shipped.path(), "states/web.sls", "shipped: cmd.run\n");
        write(shipped.path(), "states/base.sls", "base: cmd.run\n");
        write(site.path(), "states/web.sls", "site: cmd.run\n");
        write(site.path(), "states/.git/config", "x");
        write(site.path(), "states/web.sls~", "x");
        let reading = Sources::new(layout(&[site.path(), shipped.path()])).read().unwrap();
        assert_eq!(text(&reading, "states/web.sls").unwrap(), "site: cmd.run\n");
        assert_eq!(text(&reading, "states/base.sls").unwrap(), "base: cmd.run\n");
        let paths: Vec<_> = reading.generation.compiler.tree().iter().map(|it| it.0.clone()).collect();
        assert_eq!(paths, ["states/base.sls", "states/web.sls"]);
    }

    #[test]
    fn nothing_is_read_twice_and_an_edit_is_a_new_revision() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "states/web.sls", "a: cmd.run\n");
        let mut sources = Sources::new(layout(&[site.path()]));
        let first = sources.read().unwrap();
        assert!(sources.read().is_none());
        write(site.path(), "states/web.sls", "abc: cmd.run\n");
        let second = sources.read().unwrap();
        assert_ne!(first.generation.revision, second.generation.revision);
        assert_eq!(text(&second, "states/web.sls").unwrap(), "abc: cmd.run\n");
    }

    #[test]
    fn a_link_out_of_the_tree_is_refused_and_one_inside_is_followed() {
        let (site, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(outside.path(), "shadow", "secret");
        write(site.path(), "states/files/real", "inside");
        std::os::unix::fs::symlink(outside.path().join("shadow"), site.path().join("states/files/escape"))
            .unwrap();
        std::os::unix::fs::symlink("real", site.path().join("states/files/link")).unwrap();
        std::os::unix::fs::symlink("..", site.path().join("states/files/loop")).unwrap();
        std::os::unix::fs::symlink("/etc", site.path().join("states/etc")).unwrap();
        let reading = Sources::new(layout(&[site.path()])).read().unwrap();
        assert_eq!(text(&reading, "states/files/link").unwrap(), "inside");
        assert_eq!(text(&reading, "states/files/escape"), None);
        let about: Vec<&str> = reading.errors.iter().map(|it| it.spans[0].file.as_str()).collect();
        assert!(about.contains(&"states/files/escape") && about.contains(&"states/etc"), "{about:?}");
        let all: Vec<_> = reading.generation.compiler.tree().iter().map(|it| it.0.as_str()).collect();
        assert!(all.len() < 10, "a loop ends: {all:?}");
    }

    #[test]
    fn large_files_are_known_by_hash_and_stay_on_disk() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "states/files/large", &"x".repeat(scan::KEPT_BYTES_MAX + 1));
        let reading = Sources::new(layout(&[site.path()])).read().unwrap();
        let source = reading.generation.compiler.tree().get("states/files/large").unwrap();
        assert!(source.bytes.is_none());
        assert_eq!(source.size, scan::KEPT_BYTES_MAX as u64 + 1);
        assert_eq!(reading.generation.files[&source.hash], site.path().join("states/files/large"));
    }

    #[test]
    fn a_broken_edit_is_told_with_its_place() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "states/web.sls", "a: cmd.run\n");
        let mut sources = Sources::new(layout(&[site.path()]));
        assert_eq!(sources.read().unwrap().errors, []);
        write(site.path(), "states/web.sls", "a: [\n");
        let errors = sources.read().unwrap().errors;
        assert_eq!(errors[0].spans[0].file, "states/web.sls");
        write(site.path(), "states/web.sls", "a: cmd.run\n");
        assert_eq!(sources.read().unwrap().errors, []);
    }

    #[test]
    fn rules_with_a_mistake_or_that_cannot_be_read_are_none() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "reactors/a.yaml", "a:\n  on: x\n  do:\n    - event: { tag: y }\n");
        let mut sources = Sources::new(layout(&[site.path()]));
        assert!(sources.read().unwrap().generation.rules.is_some());
        write(site.path(), "states/web.sls", "a: [\n");
        assert!(sources.read().unwrap().generation.rules.is_some(), "what is wrong elsewhere is no matter");
        std::os::unix::fs::symlink("nowhere", site.path().join("reactors/b.yaml")).unwrap();
        assert!(sources.read().unwrap().generation.rules.is_none(), "there may be rules in it");
        std::fs::remove_file(site.path().join("reactors/b.yaml")).unwrap();
        write(site.path(), "reactors/b.yaml", "b: [\n");
        assert!(sources.read().unwrap().generation.rules.is_none());
    }

    #[test]
    fn a_broken_file_of_a_salt_tree_holds_back_nothing() {
        let (site, salt) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(salt.path(), "broken.sls", "#!yaml\na: [\n");
        write(salt.path(), "files/.profile", "x");
        write(salt.path(), ".git/config", "x");
        std::os::unix::fs::symlink("/nowhere", salt.path().join("dead")).unwrap();
        write(site.path(), "states/web.sls", "a: cmd.run\n");
        let mut layout = layout(&[site.path()]);
        layout.states.push(Folder::salt(salt.path()));
        let mut sources = Sources::new(layout);
        let reading = sources.read().unwrap();
        assert_eq!(reading.errors, []);
        let tree = reading.generation.compiler.tree();
        assert!(tree.get("states/broken.sls").unwrap().dialect.salt);
        assert!(tree.get("states/files/.profile").is_some() && tree.get("states/.git/config").is_none());
        assert!(sources.read().is_none(), "nothing changed");
        write(site.path(), "states/web.sls", "a: [\n");
        assert_eq!(sources.read().unwrap().errors.len(), 1);
    }

    #[test]
    fn what_hangs_on_a_minions_pillar_is_no_broken_edit() {
        let site = tempfile::tempdir().unwrap();
        let text = "base_packages:\n  pkg.installed:\n    pkgs:\n{{#each pillar.list}}\n      - {{ this }}\n{{/each}}\n";
        write(site.path(), "states/web.sls", text);
        assert_eq!(Sources::new(layout(&[site.path()])).read().unwrap().errors, []);
    }

    #[test]
    fn a_change_anywhere_below_wakes_the_watcher() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "states/deep/er/web.sls", "a: cmd.run\n");
        let mut watcher = Watcher::new(&layout(&[site.path()])).unwrap();
        assert!(!watcher.drain());
        // As editors do: a new file beside it, renamed into place.
        write(site.path(), "states/deep/er/.web.sls.new", "b: cmd.run\n");
        std::fs::rename(
            site.path().join("states/deep/er/.web.sls.new"),
            site.path().join("states/deep/er/web.sls"),
        )
        .unwrap();
        assert!(watcher.drain());
        assert!(!watcher.drain());
    }
}

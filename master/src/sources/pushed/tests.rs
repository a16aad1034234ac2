//! A branch in front of the trees, with real git: what is pushed is used if it checks, and nothing of it is run.

use super::*;
use crate::sources::{GitTree, git::Follower};
use model::broken;
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let ground = Self { folder: tempfile::tempdir().unwrap() };
        ground.git(".", &["init", "--quiet", "--bare", "--initial-branch=main", "tree.git"]);
        ground.git(".", &["init", "--quiet", "--initial-branch=main", "work"]);
        ground
    }
    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
    fn git(&self, at: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Ann",
                "-c",
                "user.email=ann@lab.example",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(["-c", "gpg.format=ssh", "-c", "advice.detachedHead=false"])
            .args(arguments)
            .current_dir(self.path(at))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
    fn write(&self, path: &str, text: &str) {
        let path = self.path("work").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    /// Commits everything and pushes it; its id.
    fn push(&self, message: &str, more: &[&str]) -> String {
        self.git("work", &["add", "--all"]);
        self.git("work", &[&["commit", "--quiet", "-m", message], more].concat());
        self.git("work", &["push", "--quiet", "--force", "../tree.git", "HEAD:main"]);
        self.git("work", &["rev-parse", "HEAD"])
    }
    fn tree(&self, signed_by: Option<PathBuf>) -> GitTree {
        GitTree {
            repository: self.path("tree.git"),
            branch: "main".to_owned(),
            signed_by,
            path: PathBuf::new(),
        }
    }
    fn trees(&self) -> Trees {
        self.trees_of(self.tree(None))
    }
    fn trees_of(&self, tree: GitTree) -> Trees {
        let base = Layout::of_trees(&[Folder::native(self.path("behind"))]);
        Trees::new(base, Some(Follower::new(tree, &self.path("home"))))
    }
    fn key(&self, name: &str) -> String {
        let path = self.path(name).display().to_string();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &path])
            .status();
        assert!(made.unwrap().success());
        path
    }
}

/// The only news; by which commit it is, and what is wrong.
fn only(news: Vec<News>) -> (Option<Commit>, Vec<Diagnostic>) {
    assert_eq!(news.len(), 1, "{news:?}");
    match news.into_iter().next().unwrap() {
        News::Trees(reading, commit) => {
            assert_eq!(reading.errors, []);
            (commit, Vec::new())
        }
        News::Bad(commit, errors) => {
            assert!(!errors.is_empty());
            (commit, errors)
        }
    }
}

fn text(trees: &mut Trees, path: &str) -> Option<String> {
    trees.sources.forget();
    let reading = trees.sources.read().unwrap();
    let source = reading.generation.compiler.tree().get(path)?;
    source.bytes.as_ref().map(|it| String::from_utf8_lossy(it).into_owned())
}

const GOOD: &str = "a:\n  cmd.run:\n    name: 'true'\n";

#[test]
fn a_good_push_is_used_and_a_bad_one_leaves_what_is_there() {
    let ground = Ground::new();
    let mut trees = ground.trees();
    assert!(matches!(trees.look()[..], [News::Trees(_, None)]), "nobody has pushed yet");
    assert!(trees.look().is_empty());
    ground.write("states/web.sls", GOOD);
    let first = ground.push("Serve the page\n\nAnd more.", &[]);
    let (commit, _) = only(trees.look());
    let commit = commit.unwrap();
    assert_eq!(
        (commit.id.as_str(), commit.author.as_str(), commit.subject.as_str()),
        (first.as_str(), "Ann", "Serve the page")
    );
    assert_eq!((commit.changed, commit.more_changed), (vec!["states/web.sls".to_owned()], false));
    assert!(trees.look().is_empty(), "nothing new");

    ground.write("states/web.sls", "a:\n  file.mangled:\n    name: /x\n");
    ground.write("states/other.sls", GOOD);
    let bad = ground.push("Break it", &[]);
    let (commit, errors) = only(trees.look());
    let commit = commit.unwrap();
    assert_eq!(
        (commit.id, commit.changed),
        (bad.clone(), vec!["states/other.sls".to_owned(), "states/web.sls".to_owned()])
    );
    assert_eq!((errors[0].spans[0].file.as_str(), errors[0].spans[0].line), ("states/web.sls", 2));
    assert!(trees.look().is_empty(), "told once");
    assert_eq!(text(&mut trees, "states/web.sls").as_deref(), Some(GOOD));
    assert!(!ground.path("home").join(&bad).exists());

    // A restart begins with what was good, whatever the branch is at.
    let mut again = ground.trees();
    let news = again.look();
    assert!(
        matches!(&news[..], [News::Trees(reading, None), News::Bad(Some(_), _)] if reading.errors.is_empty()),
        "{news:?}"
    );
    assert_eq!(text(&mut again, "states/web.sls").as_deref(), Some(GOOD));

    // By force back to what is in use: nothing is wrong any more.
    ground.git("work", &["push", "--quiet", "--force", "../tree.git", &format!("{first}:main")]);
    assert_eq!(only(trees.look()), (None, Vec::new()));
    // By force to another history.
    ground.git("work", &["checkout", "--quiet", "--orphan", "anew"]);
    ground.write("states/web.sls", &GOOD.replace("true", "false"));
    let anew = ground.push("Begin anew", &[]);
    assert_eq!(only(trees.look()).0.unwrap().id, anew);
    ground.git("tree.git", &["pack-refs", "--all"]);
    assert!(trees.look().is_empty(), "packed references are read too");
    ground.git("tree.git", &["update-ref", "-d", "refs/heads/main"]);
    assert!(only(trees.look()).1[0].message.contains("there is no branch `main`"));
    assert!(trees.look().is_empty());
}

#[test]
fn only_a_commit_that_is_signed_by_somebody_who_may_is_used() {
    let ground = Ground::new();
    let (ann, eve) = (ground.key("ann"), ground.key("eve"));
    let signers = ground.path("allowed_signers");
    let public = std::fs::read_to_string(format!("{ann}.pub")).unwrap();
    std::fs::write(&signers, format!("ann@lab.example {public}")).unwrap();
    let trees = || {
        let mut trees = ground.trees_of(ground.tree(Some(signers.clone())));
        trees.look().pop()
    };
    let bad = |news: Option<News>| match news {
        Some(News::Bad(_, errors)) => errors[0].message.clone(),
        other => panic!("{other:?}"),
    };
    ground.write("states/web.sls", GOOD);
    ground.push("Unsigned", &[]);
    let told = bad(trees());
    assert!(told.contains("it is not signed by a key of"), "{told}");
    // Whoever can alter the repository's own configuration alters nothing here.
    ground.git("tree.git", &["config", "gpg.ssh.program", "/bin/true"]);
    ground.git("tree.git", &["config", "gpg.program", "/bin/true"]);
    ground.git("tree.git", &["config", "gpg.ssh.allowedSignersFile", "/dev/null"]);
    {
        let (key, what) = (&eve, "of a stranger");
        ground.git("work", &["config", "user.signingkey", key]);
        ground.push(what, &["--amend", "-S"]);
        assert!(bad(trees()).contains("it is not signed by a key of"), "{what}");
    }
    let used = || matches!(trees(), Some(News::Trees(_, Some(_))));
    assert!(broken::without(Some("push-signature"), used), "the test notices");
    std::fs::remove_dir_all(ground.path("home")).unwrap();
    ground.git("work", &["config", "user.signingkey", &ann]);
    ground.push("Signed", &["--amend", "-S"]);
    assert!(used());
    std::fs::remove_file(&signers).unwrap();
    std::fs::remove_dir_all(ground.path("home")).unwrap();
    assert!(bad(trees()).contains("allowed_signers"), "without the file nobody may");
}

#[test]
fn what_kept_a_commit_from_being_used_may_be_mended_without_a_push_and_is_told_once() {
    let ground = Ground::new();
    let ann = ground.key("ann");
    let signers = ground.path("allowed_signers");
    std::fs::write(&signers, "").unwrap();
    let mut trees = ground.trees_of(ground.tree(Some(signers.clone())));
    trees.look();
    ground.git("work", &["config", "user.signingkey", &ann]);
    ground.write("states/web.sls", GOOD);
    let first = ground.push("Signed", &["-S"]);
    assert!(only(trees.look()).1[0].message.contains("it is not signed"));
    assert!(trees.look().is_empty(), "told once");
    let public = std::fs::read_to_string(format!("{ann}.pub")).unwrap();
    std::fs::write(&signers, format!("ann@lab.example {public}")).unwrap();
    assert_eq!(only(trees.look()).0.unwrap().id, first, "she may sign now");

    // Git cannot read what it needs, and later it can.
    ground.write("states/other.sls", GOOD);
    let second = ground.push("More", &["-S"]);
    std::fs::rename(ground.path("tree.git/objects"), ground.path("tree.git/away")).unwrap();
    assert!(!only(trees.look()).1.is_empty());
    assert!(trees.look().is_empty(), "told once");
    std::fs::rename(ground.path("tree.git/away"), ground.path("tree.git/objects")).unwrap();
    assert_eq!(only(trees.look()).0.unwrap().id, second);

    // It needs something that is behind it, which comes later.
    ground.write("states/last.sls", &format!("include:\n  - behind\n{GOOD}").replace("a:", "last:"));
    let third = ground.push("Builds on what is behind", &["-S"]);
    assert!(!only(trees.look()).1.is_empty());
    assert!(trees.look().is_empty());
    trees.try_again();
    assert!(trees.look().is_empty(), "looked at again, and nothing is new");
    let behind = ground.path("behind/states/behind.sls");
    std::fs::create_dir_all(behind.parent().unwrap()).unwrap();
    std::fs::write(&behind, GOOD.replace("a:", "behind:")).unwrap();
    let news = trees.look();
    assert!(
        matches!(&news[..], [News::Trees(_, None), News::Trees(_, Some(commit))] if commit.id == third),
        "{news:?}"
    );
}

#[test]
fn a_commit_is_kept_for_the_next_start_only_if_all_of_it_is_on_disk() {
    let ground = Ground::new();
    let mut trees = ground.trees();
    trees.look();
    ground.write("states/web.sls", GOOD);
    let first = ground.push("Serve the page", &[]);
    only(trees.look());
    let follower = Follower::new(ground.tree(None), &ground.path("home"));
    assert_eq!(follower.good().unwrap().0, first);
    let gone = "0".repeat(40);
    follower.keep(&gone, Some(&first));
    assert_eq!(follower.good().unwrap().0, first, "what cannot be synced is not named");
    symlink("nowhere", ground.path("home").join(&first).join("dead")).unwrap();
    std::fs::remove_file(ground.path("home/good")).unwrap();
    follower.keep(&first, None);
    assert_eq!(follower.good().unwrap().0, first, "links have nothing to sync");
}

#[test]
fn nothing_of_a_push_is_run_and_nothing_of_it_leads_out() {
    let ground = Ground::new();
    let mut trees = ground.trees();
    trees.look();
    let trap = ground.path("trap");
    let script = format!("#!/bin/sh\ntouch {}\n", trap.display());
    for hook in ["post-checkout", "post-receive-of-master", "reference-transaction", "fsmonitor"] {
        let path = ground.path("tree.git/hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    ground.write("states/web.sls", GOOD);
    ground.write("hooks/post-checkout", &script);
    ground.write(".gitattributes", "* filter=trap\n*.sls export-subst diff=trap\n");
    ground.push("A filter", &[]);
    std::fs::remove_file(&trap).ok();
    for (key, program) in [
        ("filter.trap.smudge", "trap"),
        ("diff.trap.textconv", "trap"),
        ("diff.external", "trap"),
        ("core.fsmonitor", "trap"),
        ("core.sshCommand", "trap"),
    ] {
        ground.git(
            "tree.git",
            &["config", key, &format!("touch {}/{program}", ground.folder.path().display())],
        );
    }
    assert!(only(trees.look()).0.is_some());
    assert_eq!(text(&mut trees, "states/web.sls").as_deref(), Some(GOOD));
    assert!(!trap.exists(), "nothing was run");

    std::fs::write(ground.path("secret"), "a secret of the machine").unwrap();
    symlink(ground.path("secret"), ground.path("work/states/escape")).unwrap();
    symlink("../../../../../../../../etc", ground.path("work/states/etc")).unwrap();
    ground.push("Links out", &[]);
    let (_, errors) = only(trees.look());
    assert!(errors.iter().any(|it| it.message.contains("points out of")), "{errors:?}");
    for link in ["escape", "etc"] {
        std::fs::remove_file(ground.path("work/states").join(link)).unwrap();
    }
    symlink("web.sls", ground.path("work/states/same.sls")).unwrap();
    ground.push("A link inside", &[]);
    assert!(only(trees.look()).0.is_some());
    assert_eq!(text(&mut trees, "states/same.sls").as_deref(), Some(GOOD));
}

/// A commit of a tree that git itself would not make: each line is `MODE NAME TEXT`.
fn strange(ground: &Ground, entries: &[(&str, &str, &str)]) -> String {
    use std::io::Write;
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new("git")
            .args(["-c", "user.name=Eve", "-c", "user.email=eve@lab.example"])
            .args(arguments)
            .current_dir(ground.path("tree.git"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut raw = Vec::new();
    for (mode, name, text) in entries {
        let id = if *mode == "40000" || *mode == "160000" {
            (*text).to_owned()
        } else {
            run(&["hash-object", "-w", "--stdin"], text.as_bytes())
        };
        raw.extend(format!("{mode} {name}\0").bytes());
        raw.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    }
    let tree = run(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &raw);
    let commit = run(&["commit-tree", "-m", "strange", &tree], b"");
    run(&["update-ref", "refs/heads/main", &commit], b"");
    commit
}

#[test]
fn trees_that_git_would_not_make_write_nothing_outside_of_their_folder() {
    let ground = Ground::new();
    let mut trees = ground.trees();
    trees.look();
    ground.write("x", "evil");
    ground.push("For its objects", &[]);
    trees.look();
    let below = ground.git("work", &["rev-parse", "HEAD^{tree}"]);
    let outside = ground.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let out = outside.display().to_string();
    for (what, entries) in [
        ("a name that goes up", vec![("100644", "..", "evil")]),
        ("a name with slashes", vec![("100644", "../../outside/x", "evil")]),
        ("an absolute name", vec![("100644", "/tmp/labctl-evil", "evil")]),
        (
            "a link and a folder of one name",
            vec![("120000", "a", out.as_str()), ("40000", "a", below.as_str())],
        ),
        ("a hook", vec![("40000", ".git", below.as_str())]),
        ("a submodule", vec![("160000", "sub", "bffeb74224043ba2feb48d137756c8a9331c449a")]),
    ] {
        strange(&ground, &entries);
        let (_, errors) = only(trees.look());
        assert!(!errors[0].message.is_empty(), "{what}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{what}");
    }
    assert!(!Path::new("/tmp/labctl-evil").exists());
}

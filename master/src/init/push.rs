//! A repository that operators push the trees to: how it is made, and what its hook says to a push.

use super::{SetUpError, Wish, io_error, make_folder};
use crate::{
    config::Config,
    sources::{git::Follower, judge},
};
use model::Diagnostic;
use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

/// What no commit is.
const ZEROS: &str = "0000000000000000000000000000000000000000";

/// Makes a bare repository whose hook refuses what the master would not use, and says in a part of the configuration
/// that it is followed. What is there already is left alone.
pub(super) fn set_up(wish: &Wish, repository: &Path, done: &mut Vec<String>) -> Result<(), SetUpError> {
    let failed = |says: String| SetUpError::Repository { path: repository.to_owned(), says };
    if !repository.is_absolute() || repository.to_str().is_none_or(|it| it.contains(['\'', '\n', ':'])) {
        return Err(failed("its path must be absolute, without quotes and colons".to_owned()));
    }
    if !repository.join("HEAD").exists() {
        make_folder(repository.parent(), 0o755)?;
        let made = Command::new("git")
            .args(["init", "--quiet", "--bare", "--initial-branch=main", "--shared=group", "--"])
            .arg(repository)
            .output();
        match made {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Err(error) => return Err(failed(format!("git cannot be run: {error}"))),
        }
        done.push(format!("created {}   git push ssh://HOST{0} HEAD:main", repository.display()));
    }
    let hook = repository.join("hooks/pre-receive");
    if !hook.exists() {
        let program = std::env::current_exe().map_err(io_error("find", Path::new("labmaster")))?;
        let quoted = |it: &Path| format!("'{}'", it.display().to_string().replace('\'', r"'\''"));
        let text = format!(
            "#!/bin/sh\n# Refuses a push that the master would not use, and says why.\nexec {} check-push --config {} --root {}\n",
            quoted(&program),
            quoted(&wish.config),
            quoted(&wish.root)
        );
        make_folder(hook.parent(), 0o755)?;
        std::fs::write(&hook, text).map_err(io_error("write", &hook))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).map_err(io_error("write", &hook))?;
        done.push(format!("created {}", hook.display()));
    }
    let part = wish.config.with_extension("d").join("tree.yaml");
    if !part.exists() {
        make_folder(part.parent(), 0o755)?;
        // Paths of the configuration lie below the root.
        let within = repository
            .strip_prefix(&wish.root)
            .map_or_else(|_| repository.to_owned(), |it| Path::new("/").join(it));
        let text = format!(
            "# The trees are a branch that operators push to; its commits are used when they check.\n\
             tree:\n  git: '{}'\n  branch: main\n  # signed_by: /etc/labctl/allowed_signers\n",
            within.display()
        );
        std::fs::write(&part, text).map_err(io_error("write", &part))?;
        done.push(format!("created {}", part.display()));
    }
    Ok(())
}

/// A folder that goes when it is not needed any more.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| format!("the system has no randomness: {error}"))?;
        let path = std::env::temp_dir().join(format!("labctl-push-{:016x}", u64::from_be_bytes(random)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make `{}`: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is wrong with a push, as git asks about it: lines of an old id, a new id and a reference.
pub fn check(config: &Config, asked: &str) -> Result<Vec<Diagnostic>, String> {
    let tree = config.tree.clone().ok_or("master.yaml follows no repository: it says no `tree.git`")?;
    let followed = format!("refs/heads/{}", tree.branch);
    for line in asked.lines() {
        let mut words = line.split(' ');
        let (Some(_), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("git asks something strange: {line}"));
        };
        if name != followed {
            continue;
        }
        if new == ZEROS {
            return Err(format!("the master follows `{}`: it cannot be deleted", tree.branch));
        }
        let scratch = Scratch::new()?;
        return Ok(judge(&config.layout, &Follower::new(tree, &scratch.0), new));
    }
    Ok(Vec::new())
}

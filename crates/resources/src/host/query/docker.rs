//! What is asked of Docker: the program `docker` answers, most of it in JSON.

use super::plain;
use crate::host::Command;
use std::path::PathBuf;

/// A read-only question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Everything about a container.
    Container(String),
    /// Everything about a network.
    Network(String),
    /// Everything about a volume.
    Volume(String),
    /// Everything about an image.
    Image(String),
    /// The containers of a Compose project: a line each, see [`PROJECT_FORMAT`].
    Project(String),
    /// A Compose project as Compose understands its files.
    ComposeConfig(ComposeProject),
    /// The hash of each service's configuration: service, space, hash.
    ComposeHashes(ComposeProject),
    /// What `up` would do, without doing it.
    ComposeRehearsal(ComposeProject),
}

/// Where the files of a Compose project are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposeProject {
    /// Its name.
    pub name: String,
    /// Its folder; `None` where only its name matters.
    pub directory: Option<PathBuf>,
    /// Its files; what Compose finds in the folder if there are none.
    pub files: Vec<String>,
    /// Files with variables for the files.
    pub env_files: Vec<String>,
    /// Profiles that are switched on.
    pub profiles: Vec<String>,
}

/// Service, hash of its configuration, image, state, status and name, apart by tabs.
pub const PROJECT_FORMAT: &str = "{{.Label \"com.docker.compose.service\"}}\t{{.Label \
    \"com.docker.compose.config-hash\"}}\t{{.Label \"com.docker.compose.image\"}}\t{{.State}}\t{{.Status}}\t{{.Names}}";

impl ComposeProject {
    /// A `docker compose` command for it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = plain(&["docker", "compose", "--project-name", &self.name]);
        if let Some(folder) = &self.directory {
            command.argv.extend(["--project-directory".to_owned(), folder.display().to_string()]);
        }
        let options =
            [("--file", &self.files), ("--env-file", &self.env_files), ("--profile", &self.profiles)];
        for (option, values) in options {
            for value in values {
                command.argv.extend([option.to_owned(), value.clone()]);
            }
        }
        command.argv.extend(words.iter().map(|it| (*it).to_owned()));
        command.cwd.clone_from(&self.directory);
        command
    }
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Container(name) => plain(&["docker", "container", "inspect", "--", name]),
            Self::Network(name) => plain(&["docker", "network", "inspect", "--", name]),
            Self::Volume(name) => plain(&["docker", "volume", "inspect", "--", name]),
            Self::Image(name) => plain(&["docker", "image", "inspect", "--", name]),
            Self::Project(name) => {
                let label = format!("label=com.docker.compose.project={name}");
                let once = "label=com.docker.compose.oneoff=False";
                let filters = ["--filter", &label, "--filter", once, "--format", PROJECT_FORMAT];
                plain(&[&["docker", "ps", "--all", "--no-trunc"][..], &filters].concat())
            }
            Self::ComposeConfig(project) => project.command(&["config", "--format", "json"]),
            Self::ComposeHashes(project) => project.command(&["config", "--hash", "*"]),
            Self::ComposeRehearsal(project) => {
                project.command(&["--dry-run", "up", "--detach", "--no-build", "--quiet-pull"])
            }
        }
    }
}

//! `labctl completion`: what makes a shell complete commands, flags, and the master's minions and jobs.

use super::Desk;
use crate::{
    Ended,
    failure::{Exit, Failure},
};
use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

#[derive(Debug, Args)]
#[command(after_help = "bash:  labctl completion bash > /usr/share/bash-completion/completions/labctl\n\
zsh:   labctl completion zsh > ~/.zfunc/_labctl\n\
fish:  labctl completion fish > ~/.config/fish/completions/labctl.fish")]
pub(crate) struct CompletionCommand {
    /// For which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl CompletionCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell = shells.completer(name);
        let shell = shell.ok_or_else(|| Failure::usage(format!("nothing is known of the shell {name}")))?;
        let mut script = Vec::new();
        shell
            .write_registration("COMPLETE", "labctl", "labctl", "labctl", &mut script)
            .map_err(Failure::from)?;
        desk.screen.raw(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}

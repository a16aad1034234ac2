//! `labctl man`: manual pages, one for each command.

use super::Desk;
use crate::{
    Ended, Outcome, command,
    failure::{Exit, Failure},
};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct ManCommand {
    /// Write a page for each command into this folder; without it labctl(1) goes to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let mut whole = command();
        whole.build();
        match self.dir {
            None => {
                let page = page(&whole)?;
                desk.screen.raw(&String::from_utf8_lossy(&page))?;
            }
            Some(dir) => {
                std::fs::create_dir_all(&dir).map_err(|error| Failure::file("make", &dir, &error))?;
                let written = write_pages(&whole, "labctl", &dir)?;
                desk.screen.note(&format!("{written} pages in {}", dir.display()))?;
            }
        }
        Ok(Exit::Done)
    }
}

fn page(command: &clap::Command) -> Outcome<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::from)?;
    Ok(page)
}

fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> Outcome<usize> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| Failure::file("write", &path, &error))?;
    let mut written = 1;
    for below in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        written += write_pages(below, &format!("{name}-{}", below.get_name()), dir)?;
    }
    Ok(written)
}

//! Repositories of apk: a line each in one file.

use super::{Files, read};
use crate::{Error, Probe};
use std::path::Path;

const FILE: &str = "/etc/apk/repositories";

pub(super) fn files(name: &str, present: bool, enabled: bool, host: &dyn Probe) -> Result<Files, Error> {
    let path = Path::new(FILE);
    let now = read(host, path)?;
    if now.is_none() && !present {
        return Ok(Files::new());
    }
    let wanted = if enabled { name.to_owned() } else { format!("#{name}") };
    let text = now.unwrap_or_default();
    let mut lines: Vec<&str> =
        text.lines().filter(|it| is_other(it, name) || (present && **it == wanted)).collect();
    if present && !lines.contains(&&wanted[..]) {
        lines.push(&wanted);
    }
    let text = lines.iter().fold(String::new(), |all, it| all + it + "\n");
    Ok([(path.to_owned(), Some(text))].into())
}

fn is_other(line: &str, name: &str) -> bool {
    line.trim().trim_start_matches('#').trim() != name.trim()
}

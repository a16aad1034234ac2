//! `locale`: which locales there are, and which one is the machine's.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Query, query::locale::Question},
    text_file::{compare_text, ended, exists, read_text, write_text},
    tool::{answer, run_argv},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::Path;

const LOCALE_GEN: &str = "/etc/locale.gen";
const SUPPORTED: &str = "/usr/share/i18n/SUPPORTED";
const DEBIAN: &str = "/etc/debian_version";

pub(crate) const MODULE: Module = Module {
    name: "locale",
    doc: Doc::new("Languages and formats."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A locale can be used: where there is a file /etc/locale.gen, it is switched on there and `locale-gen` makes it, \
                  else `localedef` does.",
            ),
            params: NAME,
            examples: Examples::new(&[
                "de_DE.UTF-8:\n  locale.present: []\n",
                "'en_IE.UTF-8 UTF-8':\n  locale.present: []\n",
            ]),
            parse: |params| parse("locale.present", params, false),
        },
        Function {
            name: "system",
            doc: Doc::new(
                "A locale is the machine's: `LANG` in /etc/default/locale on Debian, in /etc/locale.conf elsewhere.",
            ),
            params: NAME,
            examples: Examples::new(&[
                "german:\n  locale.present:\n    - name: de_DE.UTF-8\nde_DE.UTF-8:\n  locale.system:\n    - require:\n      - locale: german\n",
            ]),
            parse: |params| parse("locale.system", params, true),
        },
    ],
};

const NAME: &[Param] = &[Param::text(
    "name",
    "",
    "The locale, such as `de_DE.UTF-8`; its character map may follow after a space.",
)];

#[derive(Debug)]
struct Present {
    name: String,
}

#[derive(Debug)]
struct System {
    name: String,
}

fn parse(kind: &str, params: &Map<String, Value>, system: bool) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, NAME, params)?;
    let name = args.name().trim().to_owned();
    let good = |it: char| it.is_ascii_alphanumeric() || "_.@- ".contains(it);
    let words = name.split(' ').count();
    if name.is_empty() || name.starts_with('-') || !name.chars().all(good) || words > 2 - usize::from(system)
    {
        return Err(invalid("name", format!("`{name}` is no locale: write one such as `de_DE.UTF-8`")));
    }
    if system { Ok(Box::new(System { name })) } else { Ok(Box::new(Present { name })) }
}

/// As `locale -a` writes it: `de_DE.utf8`.
fn listed(name: &str) -> String {
    let name = name.split(' ').next().unwrap_or_default();
    let (name, modifier) =
        name.split_once('@').map_or((name, String::new()), |it| (it.0, format!("@{}", it.1)));
    match name.split_once('.') {
        Some((place, codes)) => format!("{place}.{}{modifier}", codes.to_lowercase().replace('-', "")),
        None => format!("{name}{modifier}"),
    }
}

impl Present {
    /// Name and character map, as the files have them.
    fn line(&self, host: &dyn Probe) -> Result<String, Error> {
        let supported = read_text(host, Path::new(SUPPORTED))?;
        let mut known = supported.iter().flat_map(|it| it.lines());
        let first = |line: &&str| line.split(' ').next() == Some(self.name.as_str()) || *line == self.name;
        if let Some(line) = known.find(first) {
            return Ok(line.trim().to_owned());
        }
        if supported.is_some() {
            return Err(Error::Refused(format!("`{}` is not among the locales in {SUPPORTED}", self.name)));
        }
        match self.name.split_once('.') {
            _ if self.name.contains(' ') => Ok(self.name.clone()),
            Some((_, codes)) => Ok(format!("{} {}", self.name, codes.split('@').next().unwrap_or(codes))),
            None => Ok(format!("{} ISO-8859-1", self.name)),
        }
    }

    fn generate(&self, now: &str, host: &mut dyn Host) -> Result<(), Error> {
        let line = self.line(host)?;
        let is_it = |text: &str| text.trim_start_matches(['#', ' ', '\t']).trim_end() == line;
        let mut found = false;
        let mut text = String::new();
        for old in now.lines() {
            let this = is_it(old);
            if !(this && found) {
                text.push_str(if this { &line } else { old });
                text.push('\n');
            }
            found |= this;
        }
        if !found {
            text.push_str(&line);
            text.push('\n');
        }
        if text != ended(now.to_owned()) {
            write_text(host, Path::new(LOCALE_GEN), &text)?;
        }
        run_argv(host, &["locale-gen"]).map(drop)
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let wanted = listed(&self.name);
        let all = answer(host, &Query::Locale(Question::All))?;
        let mut plan = Plan::default();
        if !all.lines().any(|it| listed(it.trim()) == wanted) {
            plan.differ("locale", None, &wanted);
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if let Some(now) = read_text(host, Path::new(LOCALE_GEN))? {
            self.generate(&now, host)?;
            return Ok(Applied::default());
        }
        let line = self.line(host)?;
        let (name, map) = line.split_once(' ').unwrap_or((&line, "UTF-8"));
        let place = name.split('.').next().unwrap_or(name);
        run_argv(host, &["localedef", "--force", "-i", place, "-f", map, name])?;
        Ok(Applied::default())
    }
}

impl System {
    fn path(host: &dyn Probe) -> Result<&'static Path, Error> {
        Ok(Path::new(if exists(host, DEBIAN)? { "/etc/default/locale" } else { "/etc/locale.conf" }))
    }

    fn wanted(&self, now: &str) -> String {
        let mut found = false;
        let mut lines: Vec<String> = Vec::new();
        for line in now.lines() {
            match line.trim().strip_prefix("LANG=") {
                Some(value) => {
                    let same = value.trim_matches(['"', '\'']) == self.name;
                    lines.push(if same { line.to_owned() } else { self.line() });
                    found = true;
                }
                None => lines.push(line.to_owned()),
            }
        }
        if !found {
            lines.push(self.line());
        }
        lines.join("\n") + "\n"
    }
    fn line(&self) -> String {
        format!("LANG=\"{}\"", self.name)
    }
}

impl Resource for System {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let path = Self::path(host)?;
        let now = read_text(host, path)?;
        let wanted = self.wanted(now.as_deref().unwrap_or_default());
        compare_text(&mut plan, "LANG", now.as_deref(), &wanted);
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let path = Self::path(host)?;
        let now = read_text(host, path)?;
        write_text(host, path, &self.wanted(now.as_deref().unwrap_or_default()))?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_the_list_has_them() {
        assert_eq!(listed("de_DE.UTF-8"), "de_DE.utf8");
        assert_eq!(listed("ca_ES.UTF-8@valencia UTF-8"), "ca_ES.utf8@valencia");
        assert_eq!(listed("C"), "C");
    }
}

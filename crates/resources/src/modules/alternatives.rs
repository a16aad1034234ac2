//! `alternatives`: which of several programs goes by a common name (update-alternatives).

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    text_file::read_text,
    tool::run_argv,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::Path;

/// Where they are recorded: on Debian, and elsewhere.
const RECORDS: [&str; 2] = ["/var/lib/dpkg/alternatives", "/var/lib/alternatives"];

pub(crate) const MODULE: Module = Module {
    name: "alternatives",
    doc: Doc::new("Which of several programs goes by a common name (update-alternatives)."),
    functions: &[
        Function {
            name: "install",
            doc: Doc::new("A program is one of those that can go by a common name."),
            params: INSTALL,
            examples: Examples::new(&[
                "editor:\n  alternatives.install:\n    - link: /usr/bin/editor\n    - path: /usr/bin/vim.tiny\n    - priority: 50\n",
            ]),
            parse: |params| parse("alternatives.install", INSTALL, params, Way::Install),
        },
        Function {
            name: "set",
            doc: Doc::new("A program goes by a common name."),
            params: PATH_PARAMS,
            examples: Examples::new(&["editor:\n  alternatives.set:\n    - path: /usr/bin/vim.tiny\n"]),
            parse: |params| parse("alternatives.set", PATH_PARAMS, params, Way::Set),
        },
        Function {
            name: "auto",
            doc: Doc::new("The program with the highest priority goes by a common name."),
            params: AUTO,
            examples: Examples::new(&["editor:\n  alternatives.auto: []\n"]),
            parse: |params| parse("alternatives.auto", AUTO, params, Way::Auto),
        },
        Function {
            name: "remove",
            doc: Doc::new("A program is none of those that can go by a common name."),
            params: PATH_PARAMS,
            examples: Examples::new(&["editor:\n  alternatives.remove:\n    - path: /usr/bin/nano\n"]),
            parse: |params| parse("alternatives.remove", PATH_PARAMS, params, Way::Remove),
        },
    ],
};

const NAME: Param = Param::text("name", "", "The common name, such as `editor`.");
const PATH: Param = Param::path("path", "", "The program.").required();
const INSTALL: &[Param] = &[
    NAME,
    Param::path("link", "", "Where the common name is, such as `/usr/bin/editor`.").required(),
    PATH,
    Param::number("priority", "", "The highest is taken unless one is set.").required(),
];
const PATH_PARAMS: &[Param] = &[NAME, PATH];
const AUTO: &[Param] = &[NAME];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Install,
    Set,
    Auto,
    Remove,
}

#[derive(Debug)]
struct Alternative {
    way: Way,
    name: String,
    link: String,
    path: String,
    priority: String,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    way: Way,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    if name.contains('/') || name == "." || name == ".." {
        return Err(invalid("name", format!("`{name}` is a path, not a common name")));
    }
    let path = |param: &str| args.path(param).map(|it| it.display().to_string()).unwrap_or_default();
    let priority = args.number("priority").unwrap_or_default().to_string();
    Ok(Box::new(Alternative { way, name, link: path("link"), path: path("path"), priority }))
}

/// What is recorded of a name.
#[derive(Debug, Default, PartialEq)]
struct Record {
    auto: bool,
    link: String,
    /// Programs and their priorities.
    choices: Vec<(String, String)>,
}

/// The record as dpkg writes it: mode, link, names and links that follow along, then each program with its priority and
/// what follows along with it.
fn record(text: &str) -> Record {
    let mut lines = text.lines();
    let auto = lines.next() == Some("auto");
    let link = lines.next().unwrap_or_default().to_owned();
    let mut slaves = 0;
    while let Some(name) = lines.next().filter(|it| !it.is_empty()) {
        // Its link stands in the next line.
        slaves += usize::from(!name.is_empty());
        lines.next();
    }
    let mut choices = Vec::new();
    while let Some(path) = lines.next().filter(|it| !it.is_empty()) {
        choices.push((path.to_owned(), lines.next().unwrap_or_default().trim().to_owned()));
        for _ in 0..slaves {
            lines.next();
        }
    }
    Record { auto, link, choices }
}

impl Alternative {
    fn record(&self, host: &dyn Probe) -> Result<Record, Error> {
        for folder in RECORDS {
            if let Some(text) = read_text(host, &Path::new(folder).join(&self.name))? {
                return Ok(record(&text));
            }
        }
        Ok(Record::default())
    }

    fn current(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        let path = Path::new("/etc/alternatives").join(&self.name);
        match host.read_link(&path) {
            Ok(target) => Ok(Some(target.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::host("read link", path.display())(error)),
        }
    }
}

impl Resource for Alternative {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let record = self.record(host)?;
        let found = record.choices.iter().find(|it| it.0 == self.path);
        match self.way {
            Way::Install => {
                plan.differ("priority", found.map(|it| &it.1), &self.priority);
                if found.is_some() && record.link != self.link {
                    plan.differ("link", Some(&record.link), &self.link);
                }
            }
            Way::Set if found.is_none() => {
                let text = format!(
                    "`{}` is none of the programs for `{}`; `alternatives.install` makes it one",
                    self.path, self.name
                );
                return Err(Error::Refused(text));
            }
            Way::Set => plan.differ("program", self.current(host)?.as_ref(), &self.path),
            Way::Auto if record.choices.is_empty() => {
                return Err(Error::Refused(format!("there are no programs for `{}`", self.name)));
            }
            Way::Auto => {
                let word = |auto: bool| if auto { "auto" } else { "manual" }.to_owned();
                plan.differ("mode", Some(&word(record.auto)), &word(true));
            }
            Way::Remove => {
                if let Some((path, priority)) = found {
                    let from = Some(format!("{path}, priority {priority}"));
                    plan.push(Change { what: "program".to_owned(), from, to: None, diff: None });
                }
            }
        }
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (name, path) = (self.name.as_str(), self.path.as_str());
        let argv = match self.way {
            Way::Install => vec!["update-alternatives", "--install", &self.link, name, path, &self.priority],
            Way::Set => vec!["update-alternatives", "--set", name, path],
            Way::Auto => vec!["update-alternatives", "--auto", name],
            Way::Remove => vec!["update-alternatives", "--remove", name, path],
        };
        run_argv(host, &argv)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkgs_record_is_read() {
        // Recorded on Debian 12.
        let text = "auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\n\n/bin/more\n50\n/usr/share/man/man1/more.1.gz\n/usr/bin/less\n77\n\n\n";
        let choices = [("/bin/more", "50"), ("/usr/bin/less", "77")];
        let choices = choices.map(|it| (it.0.to_owned(), it.1.to_owned())).to_vec();
        assert_eq!(record(text), Record { auto: true, link: "/usr/bin/pager".to_owned(), choices });
    }
}

//! `git.config_set`, `git.config_unset`: settings of git.

use super::{ENCODING, PASSWORD, USER, ask_maybe, git, user};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{
        GitFolder, Query,
        query::git::{GitSettings, Question},
    },
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(super) const SET: Function = Function {
    name: "config_set",
    doc: Doc::new(
        "A setting of git has this value, or these, in a repository or for a user. Keep passwords out of settings: a value \
          is an argument of git while it is written.",
    ),
    params: SET_PARAMS,
    examples: Examples::new(&[
        "user.email:\n  git.config_set:\n    - value: ada@example.com\n    - user: ada\n    - global: true\n",
        "remote.origin.fetch:\n  git.config_set:\n    - multivar:\n      - '+refs/heads/*:refs/remotes/origin/*'\n      - \
         '+refs/tags/*:refs/tags/*'\n    - repo: /srv/site\n",
    ]),
    parse: parse_set,
};

pub(super) const UNSET: Function = Function {
    name: "config_unset",
    doc: Doc::new("A setting of git is not there, in a repository or for a user."),
    params: UNSET_PARAMS,
    examples: Examples::new(&["http.proxy:\n  git.config_unset:\n    - global: true\n"]),
    parse: parse_unset,
};

const REPO: Param = Param::path("repo", "none", "The repository; needed unless `global` is set.");
const GLOBAL: Param = Param::flag("global", "false", "For the user, wherever it works.");

const SET_PARAMS: &[Param] = &[
    Param::text("name", "", "The setting, such as `user.name`."),
    Param::text("value", "", "Its value."),
    Param::list("multivar", "", "All its values, in order, instead of one."),
    REPO,
    USER,
    GLOBAL,
    PASSWORD,
    ENCODING,
];
const UNSET_PARAMS: &[Param] = &[
    Param::text("name", "", "The setting, or a regular expression that names several as a whole."),
    Param::text("value_regex", "any", "Only values that match."),
    REPO,
    USER,
    GLOBAL,
    Param::flag("all", "false", "Also where there are several values, or several settings match."),
    PASSWORD,
    ENCODING,
];

#[derive(Debug)]
struct Set {
    settings: GitSettings,
    name: String,
    values: Vec<String>,
}

#[derive(Debug)]
struct Unset {
    settings: GitSettings,
    pattern: String,
    value: Option<String>,
    all: bool,
}

fn settings(args: &Args<'_>) -> Result<GitSettings, ParamsError> {
    let user = user(args)?;
    match (args.path("repo"), args.bool("global", false)) {
        (Some(_), true) => Err(invalid("global", "give `repo` or `global`, not both")),
        (None, false) => Err(invalid("repo", "say where: `repo: /path`, or `global: true` for the user")),
        (Some(path), false) => Ok(GitSettings::Of(GitFolder { path, user })),
        (None, true) => Ok(GitSettings::Global(user)),
    }
}

fn parse_set(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("git.config_set", SET_PARAMS, params)?;
    let name = args.name();
    if name.starts_with('-') || !name.contains('.') || name.contains(['\n', '\0', '=']) {
        return Err(invalid("name", format!("`{name}` is no setting: it has a dot, as `user.name` has")));
    }
    let values = match (args.text("value"), args.list("multivar")) {
        (Some(_), Some(_)) => return Err(invalid("multivar", "give `value` or `multivar`, not both")),
        (None, None) => return Err(invalid("value", "give `value` or `multivar`")),
        (Some(value), None) => vec![value],
        (None, Some(values)) => values,
    };
    if values.is_empty() || values.iter().any(|it| it.starts_with('-') || it.contains(['\n', '\0'])) {
        return Err(invalid("value", "a value must be one line and not begin with `-`"));
    }
    Ok(Box::new(Set { settings: settings(&args)?, name, values }))
}

fn parse_unset(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("git.config_unset", UNSET_PARAMS, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    let value = args.text("value_regex");
    value.iter().try_for_each(|it| plain_word("value_regex", it))?;
    let pattern = format!("^({})$", name.trim_start_matches('^').trim_end_matches('$'));
    Ok(Box::new(Unset { settings: settings(&args)?, pattern, value, all: args.bool("all", false) }))
}

impl Resource for Set {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let query = Query::Git(Question::Values(self.settings.clone(), self.name.clone()));
        let now = ask_maybe(host, &query)?.map(|it| it.lines().collect::<Vec<_>>().join(", "));
        let mut plan = Plan::default();
        plan.differ(&self.name, now.as_ref(), &self.values.join(", "));
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (first, more) =
            self.values.split_first().ok_or(Error::Refused("there is no value".to_owned()))?;
        git(self.settings.git(&["--replace-all", &self.name, first]), host)?;
        for value in more {
            git(self.settings.git(&["--add", &self.name, value]), host)?;
        }
        Ok(Applied::default())
    }
}

impl Unset {
    /// Names of the settings that are there and match, each once for each of its values.
    fn now(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let found =
            ask_maybe(host, &Query::Git(Question::Matching(self.settings.clone(), self.pattern.clone())))?;
        let text = found.unwrap_or_default();
        let lines = text.lines().map(|it| it.split_once(' ').unwrap_or((it, "")));
        // Git itself matches values when it unsets: here only a plain text can be told apart.
        let meant = |value: &str| match &self.value {
            Some(wanted) => {
                let plain = wanted.trim_start_matches('^').trim_end_matches('$').replace('\\', "");
                value.contains(&plain)
            }
            None => true,
        };
        Ok(lines.filter(|it| meant(it.1)).map(|it| it.0.to_owned()).collect())
    }
}

impl Resource for Unset {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut names = self.now(host)?;
        if names.len() > 1 && !self.all {
            let text =
                format!("{} values would go ({}); `all: true` lets them", names.len(), names.join(", "));
            return Err(Error::Refused(text));
        }
        names.dedup();
        for name in names {
            plan.push(Change { what: name, from: Some("set".to_owned()), to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        for change in &plan.changes {
            let mut args = vec!["--unset-all", &change.what];
            args.extend(self.value.as_deref());
            git(self.settings.git(&args), host)?;
        }
        Ok(Applied::default())
    }
}

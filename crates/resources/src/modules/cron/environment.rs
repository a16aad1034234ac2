//! `cron.env_present`, `cron.env_absent`: variables of a crontab.

use super::{USER, compare, crontab::Crontab, read, user_of, write};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
};
use model::Plan;
use serde_json::{Map, Value};

pub(super) const PRESENT: Function = Function {
    name: "env_present",
    doc: Doc::new(
        "A variable is set in a user's crontab, for the jobs below it. One that the user has set above the tag stays.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "MAILTO:\n  cron.env_present:\n    - user: root\n    - value: root@example.com\n",
    ]),
    parse: |params| parse("cron.env_present", PARAMS, params, true),
};

pub(super) const ABSENT: Function = Function {
    name: "env_absent",
    doc: Doc::new("A variable is not set in a user's crontab, below the tag."),
    params: ABSENT_PARAMS,
    examples: Examples::new(&["MAILTO:\n  cron.env_absent:\n    - user: root\n"]),
    parse: |params| parse("cron.env_absent", ABSENT_PARAMS, params, false),
};

const NAME: Param = Param::text("name", "", "The variable.");
const PARAMS: &[Param] = &[NAME, USER, Param::text("value", "\"\"", "Its value.")];
const ABSENT_PARAMS: &[Param] = &[NAME, USER];

#[derive(Debug)]
struct Variable {
    user: String,
    name: String,
    value: Option<String>,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    present: bool,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let name = args.name().trim().to_owned();
    let good = |it: char| it.is_ascii_alphanumeric() || it == '_';
    if !name.chars().all(good) || name.is_empty() || name.starts_with(|it: char| it.is_ascii_digit()) {
        return Err(invalid("name", format!("`{name}` cannot be the name of a variable")));
    }
    let value = args.text("value").unwrap_or_default();
    if value.contains(['\n', '\r', '\0']) {
        return Err(invalid("value", "`value` must be one line"));
    }
    let value = if value.is_empty() { "\"\"".to_owned() } else { value };
    Ok(Box::new(Variable { user: user_of(&args)?, name, value: present.then_some(value) }))
}

impl Variable {
    fn wanted(&self, now: &str) -> String {
        let mut crontab = Crontab::parse(now);
        if crontab.variable(&self.name) == self.value.as_deref() {
            return now.to_owned();
        }
        crontab.set_variable(&self.name, self.value.as_deref());
        crontab.print()
    }
}

impl Resource for Variable {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read(host, &self.user)?;
        Ok(compare(&now, &self.wanted(&now)))
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wanted = self.wanted(&read(host, &self.user)?);
        write(host, &self.user, wanted)
    }
}

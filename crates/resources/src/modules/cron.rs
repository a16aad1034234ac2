//! `cron`: jobs and variables in users' crontabs.

mod crontab;
mod environment;
mod file;
mod job;

use super::group::account_name;
use crate::{
    Applied, Doc, Error, Host, Module, Param, ParamsError, Probe,
    args::{Args, invalid},
    diff::contents_change,
    host::Action,
};
use model::Plan;

pub(crate) const MODULE: Module = Module {
    name: "cron",
    doc: Doc::new(
        "Jobs in users' crontabs. What stands above the line `# Lines below here are managed by Salt, do not edit` is the \
          user's and stays; what stands below it is written as Salt writes it, so a crontab can go from one to the other.",
    ),
    functions: &[job::PRESENT, job::ABSENT, environment::PRESENT, environment::ABSENT, file::FUNCTION],
};

const USER: Param = Param::text("user", "root", "Whose crontab.");

fn user_of(args: &Args<'_>) -> Result<String, ParamsError> {
    let user = args.text("user").unwrap_or_else(|| "root".to_owned());
    account_name("user", &user)?;
    Ok(user)
}

/// Not empty, and one line.
fn one_line(param: &str, text: &str) -> Result<(), ParamsError> {
    if text.trim().is_empty() || text.contains(['\n', '\r', '\0']) {
        return Err(invalid(param, format!("`{param}` must be one line")));
    }
    Ok(())
}

fn read(host: &dyn Probe, user: &str) -> Result<String, Error> {
    host.crontab(user).map_err(Error::host("read crontab of", user))
}

fn compare(now: &str, wanted: &str) -> Plan {
    let mut plan = Plan::default();
    if now != wanted {
        let old = Some(now.as_bytes()).filter(|it| !it.is_empty());
        plan.push(contents_change("crontab", old, wanted.as_bytes()));
    }
    plan
}

fn write(host: &mut dyn Host, user: &str, text: String) -> Result<Applied, Error> {
    let done = host
        .perform(&Action::Crontab { user: user.to_owned(), text })
        .map_err(Error::host("write crontab of", user))?;
    done.success(&format!("write crontab of {user}")).map(|_| Applied::default())
}

//! `user.absent`.

use super::{super::group::account_name, params::ABSENT};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::Args,
    host::{Action, UserRemoval},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

#[derive(Debug)]
struct Absent {
    name: String,
    how: UserRemoval,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("user.absent", ABSENT, params)?;
    let name = args.name();
    account_name("name", &name)?;
    if name == "root" {
        return Err(crate::args::invalid("name", "`root` cannot be removed"));
    }
    let how = UserRemoval { home: args.bool("purge", false), force: args.bool("force", false) };
    Ok(Box::new(Absent { name, how }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if let Some(user) = host.user(&self.name).map_err(Error::host("look up user", &self.name))? {
            let change = |what: &str, from: String| Change {
                what: what.to_owned(),
                from: Some(from),
                to: None,
                diff: None,
            };
            plan.push(change("user", self.name.clone()));
            if self.how.home {
                plan.push(change("home", user.home));
            }
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let done = host
            .perform(&Action::RemoveUser(self.name.clone(), self.how))
            .map_err(Error::host("remove user", &self.name))?;
        done.success(&format!("remove user {}", self.name)).map(|_| Applied::default())
    }
}

//! Variables that steps set for the commands of those that follow.

use crate::host::Action;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// By name.
#[derive(Debug, Default)]
pub(super) struct Variables(Mutex<BTreeMap<String, String>>);

impl Variables {
    /// `None` takes one away; `forget` takes all away first.
    pub(super) fn set(&self, variables: Vec<(String, Option<String>)>, forget: bool) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if forget {
            now.clear();
        }
        for (name, value) in variables {
            match value {
                Some(value) => drop(now.insert(name, value)),
                None => drop(now.remove(&name)),
            }
        }
    }

    /// The action, with these in the environment of a command. Its own variables have precedence.
    pub(super) fn within<'a>(&self, action: &'a Action) -> Cow<'a, Action> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            Action::Run(command) if !now.is_empty() => {
                let mut command = command.clone();
                let set = now.iter().map(|(name, value)| (name.clone(), value.clone()));
                command.env = set.chain(command.env).collect();
                Cow::Owned(Action::Run(command))
            }
            action => Cow::Borrowed(action),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Command;

    #[test]
    fn commands_get_what_earlier_steps_have_set_and_their_own_wins() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let action = Action::Run(Command { env: vec![pair("A", "own")], ..Command::default() });
        let variables = Variables::default();
        let env = || match variables.within(&action).into_owned() {
            Action::Run(command) => command.env,
            _ => Vec::new(),
        };
        variables.set(vec![set("A", "1"), set("B", "2"), set("C", "3")], false);
        variables.set(vec![("C".to_owned(), None)], false);
        assert_eq!(env(), [pair("A", "1"), pair("B", "2"), pair("A", "own")]);
        variables.set(vec![set("D", "4")], true);
        assert_eq!(env(), [pair("D", "4"), pair("A", "own")]);
    }
}

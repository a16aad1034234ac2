//! `labctl explain` and `labctl help`: what an error code, a function, a command or a topic means.

use super::{Desk, state};
use crate::{
    Ended, Outcome, command,
    failure::{Exit, Failure, did_you_mean},
};
use clap::Args;

/// Topics with a text of their own.
const TOPICS: &[(&str, &str)] = &[
    ("targeting", include_str!("topics/targeting.txt")),
    ("exit-codes", include_str!("topics/exit-codes.txt")),
    ("environment", include_str!("topics/environment.txt")),
    ("roles", include_str!("topics/roles.txt")),
];

#[derive(Debug, Args)]
pub(crate) struct ExplainCommand {
    /// An error code (E0102), a function (file.managed), a command (target apply) or a topic
    /// (targeting, exit-codes, environment, roles)
    what: Vec<String>,
}

impl ExplainCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        if self.what.is_empty() {
            TOPICS.iter().try_for_each(|(name, _)| desk.screen.line(name))?;
            desk.screen
                .note("explain one of these topics, an error code (E0102) or a function (file.managed)")?;
            return Ok(Exit::Done);
        }
        let text = text(&self.what, &desk.screen.style)?;
        desk.screen.raw(&text)?;
        Ok(Exit::Done)
    }

    /// Help on everything, without a word.
    pub(crate) fn help(self, desk: &mut Desk<'_>) -> Ended {
        if !self.what.is_empty() {
            return self.run(desk);
        }
        desk.screen.raw(&command().render_long_help().to_string())?;
        Ok(Exit::Done)
    }
}

fn text(words: &[String], style: &crate::show::Style) -> Outcome<String> {
    let word = words.join(" ");
    if let Some((_, text)) = TOPICS.iter().find(|(name, _)| *name == word) {
        return Ok((*text).to_owned());
    }
    if let Some(text) = lang::explain(&word.to_ascii_uppercase()) {
        return Ok(format!("{}: {text}\n", word.to_ascii_uppercase()));
    }
    let named = |module: &str, function: &lang::Function| format!("{module}.{}", function.name);
    for module in lang::modules() {
        if let Some(function) = module.functions.iter().find(|it| named(module.name, it) == word) {
            return Ok(state::function_doc(&word, function, style));
        }
    }
    command_help(words).ok_or_else(|| {
        let functions = lang::modules()
            .iter()
            .flat_map(|module| module.functions.iter().map(move |it| named(module.name, it)));
        let known: Vec<String> = TOPICS.iter().map(|(it, _)| (*it).to_owned()).chain(functions).collect();
        Failure::not_found(format!("nothing is known about `{word}`"))
            .hint("labctl explain lists the topics")
            .maybe_hint(did_you_mean(&word, known.iter().map(String::as_str)))
    })
}

fn command_help(words: &[String]) -> Option<String> {
    let mut whole = command();
    whole.build();
    let mut at = &mut whole;
    for word in words {
        at = at.find_subcommand_mut(word)?;
    }
    Some(at.render_long_help().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn topics_commands_and_codes_are_explained() {
        let style = crate::show::Style::plain(Timestamp(0));
        let of = |words: &str| text(&words.split(' ').map(str::to_owned).collect::<Vec<_>>(), &style);
        assert!(of("exit-codes").unwrap().contains("130"));
        assert!(of("target apply").unwrap().contains("--detailed-exitcode"));
        assert_eq!(of("targetting").unwrap_err().hint, Some("did you mean `targeting`?".to_owned()));
    }

    #[test]
    fn the_functions_of_roles_are_those_of_the_language() {
        let text = TOPICS.iter().find(|(name, _)| *name == "roles").unwrap().1;
        let listed: Vec<&str> = text
            .split("all but cmd.run:")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(listed, lang::roles::FUNCTIONS.iter().map(|it| it.0).collect::<Vec<_>>());
        let example: String = text
            .lines()
            .skip_while(|it| !it.starts_with("  roles:"))
            .take_while(|it| !it.starts_with("Built in"))
            .flat_map(|it| [it, "\n"])
            .collect();
        assert_eq!(lang::roles::Roles::parse("roles.yaml", &example).diagnostics, []);
    }

    #[test]
    fn the_table_of_exit_codes_is_the_one_of_the_program() {
        let table = TOPICS.iter().find(|(name, _)| *name == "exit-codes").unwrap().1;
        let listed: Vec<u8> =
            table.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let ours = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Compile,
            Exit::Unanswered,
            Exit::NoMatch,
            Exit::NoMaster,
            Exit::Forbidden,
            Exit::NotFound,
            Exit::Changed,
            Exit::Command(70),
            Exit::Interrupted,
        ];
        assert_eq!(listed, ours.map(Exit::code));
    }
}

//! The words of a container's command.

use super::super::docker::scalar;
use crate::{ParamsError, args::invalid};
use serde_json::Value;

/// Most words.
const WORDS_MAX: usize = 1000;

/// The words of a command: a list as it is, a text split as a shell does, without its other powers.
pub(super) fn words(param: &str, value: &Value) -> Result<Vec<String>, ParamsError> {
    let wrong = || invalid(param, format!("`{param}` must be a list of words, or a text with whole quotes"));
    let all: Vec<String> = match value {
        Value::Array(items) if items.len() <= WORDS_MAX => {
            items.iter().map(scalar).collect::<Option<_>>().ok_or_else(wrong)?
        }
        it => split(&scalar(it).ok_or_else(wrong)?).ok_or_else(wrong)?,
    };
    if all.iter().any(|it| it.contains('\0')) { Err(wrong()) } else { Ok(all) }
}

/// `None` if a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(it) = letters.next() {
        match (quote, it) {
            (Some(open), _) if it == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(it);
                word.get_or_insert_default();
            }
            (Some('"') | None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, _) if it.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_a_shell_does() {
        let words = |text: &str| split(text).unwrap();
        assert_eq!(words("a  'b c' \"d \\\" e\" f\\ g ''"), ["a", "b c", "d \" e", "f g", ""]);
        assert_eq!(words("sh -c 'echo $X; ls'"), ["sh", "-c", "echo $X; ls"]);
        assert_eq!(split("a 'b"), None);
    }
}

//! Finds the functions of Salt that templates call, in the text of their tags.

/// A call and where its name begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// `file.file_exists`.
    pub(super) function: &'a str,
    pub(super) byte: usize,
}

/// `salt['a.b']`, `salt["a.b"]`, `salt.a.b(`, `salt.get('a.b')`.
pub(super) fn calls(tag: &str) -> Vec<Call<'_>> {
    let mut found = Vec::new();
    for (at, _) in tag.match_indices("salt") {
        let before = tag[..at].chars().next_back();
        if before.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '.' | '\'' | '"' | ':' | '/')) {
            continue;
        }
        let rest = &tag[at + 4..];
        let name = match rest.trim_start().chars().next() {
            Some('[') => quoted(rest.trim_start()[1..].trim_start()),
            Some('.') => match rest.trim_start()[1..].strip_prefix("get(") {
                Some(inside) => quoted(inside.trim_start()),
                None => dotted(&rest.trim_start()[1..]),
            },
            _ => None,
        };
        if let Some(function) = name {
            let byte = at + (function.as_ptr() as usize - tag[at..].as_ptr() as usize);
            found.push(Call { function, byte });
        }
    }
    found
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|it| matches!(it, '\'' | '"'))?;
    let end = text[1..].find(quote)? + 1;
    Some(&text[1..end]).filter(|it| is_function(it))
}

fn dotted(text: &str) -> Option<&str> {
    let end = text.find(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != '.')?;
    Some(&text[..end]).filter(|it| is_function(it) && text[end..].starts_with('('))
}

fn is_function(text: &str) -> bool {
    let word = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    text.split_once('.').is_some_and(|(module, function)| word(module) && word(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_every_spelling() {
        let tag = " if salt['file.file_exists']('/x') and salt.cmd.run('id') ~ salt.get( 'a.b')(1) ~ salt[\"c.d\"] \
                   and 'salt.e.f(' and pillar.salt.g.h() and salt[x] and salt.i ";
        let found: Vec<&str> = calls(tag).iter().map(|it| it.function).collect();
        assert_eq!(found, ["file.file_exists", "cmd.run", "a.b", "c.d"]);
        assert!(calls(tag).iter().all(|it| tag[it.byte..].starts_with(it.function)));
    }
}

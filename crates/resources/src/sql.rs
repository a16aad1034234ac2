//! Quoting for SQL: a name or a text that people wrote never becomes part of a statement.

/// A text for `PostgreSQL`, whatever `standard_conforming_strings` is there.
pub(crate) fn pg_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A name for `PostgreSQL`.
pub(crate) fn pg_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text for `MySQL` with an empty `sql_mode`, in which the backslash has a meaning.
pub(crate) fn mysql_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name for `MySQL`.
pub(crate) fn mysql_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all of `quoted` is one token: it ends where its quote is closed for the first time.
    fn is_one_token(quoted: &str, quote: char, escapes: bool) -> bool {
        let inner = quoted.trim_start_matches('E').strip_prefix(quote).unwrap();
        let mut letters = inner.char_indices().peekable();
        while let Some((at, it)) = letters.next() {
            if escapes && it == '\\' {
                letters.next();
            } else if it == quote {
                if letters.peek().is_some_and(|next| next.1 == quote) {
                    letters.next();
                } else {
                    return at + 1 == inner.len();
                }
            }
        }
        false
    }

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        let nasty = [
            "",
            "plain",
            "o'brien",
            "'; DROP TABLE x; --",
            "\\'; DROP TABLE x; --",
            "\\",
            "a\\\\'",
            "''",
            "'\\''",
            "\"",
            "\"; DROP ROLE x; --",
            "`; DROP DATABASE x; --",
            "``",
            "a\nb",
            "\\! ls",
            ":'x'",
            "ä'€\\",
        ];
        for text in nasty {
            let literal = pg_literal(text);
            assert!(is_one_token(&literal, '\'', literal.starts_with('E')), "{text}");
            assert!(is_one_token(&pg_name(text), '"', false), "{text}");
            assert!(is_one_token(&mysql_literal(text), '\'', true), "{text}");
            assert!(is_one_token(&mysql_name(text), '`', false), "{text}");
        }
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(pg_literal("o'brien"), "'o''brien'");
        assert_eq!(pg_literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(pg_name("a\"b"), "\"a\"\"b\"");
        assert_eq!(mysql_literal("a\\'b"), "'a\\\\''b'");
        assert_eq!(mysql_name("a`b"), "`a``b`");
    }
}

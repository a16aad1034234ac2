//! File name patterns as Salt's lists of states and requisites have them: `*`, `?` and `[a-z]`, over whole texts.

/// Whether a text is meant as a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

/// Whether a pattern matches the whole of a text; `*` also matches dots and slashes. Takes time in proportion to the
/// product of both lengths at most.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last `*` does not fit.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, from));
            at += 1;
        } else if let Some(next) = one(&pattern, at, text[from]) {
            (at, from) = (next, from + 1);
        } else if let Some((after, began)) = star {
            (at, from) = (after, began + 1);
            star = Some((after, began + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

/// The position behind what matches one character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => match set(pattern, at + 1, character) {
            Some((end, true)) => Some(end),
            Some((_, false)) => None,
            None => (character == '[').then_some(at + 1),
        },
        it => (*it == character).then_some(at + 1),
    }
}

/// The position behind a set, and whether the character is in it; none if it is not closed.
fn set(pattern: &[char], start: usize, character: char) -> Option<(usize, bool)> {
    let inverted = pattern.get(start) == Some(&'!');
    let begin = start + usize::from(inverted);
    let end = (begin + 1..pattern.len()).find(|it| pattern[*it] == ']')?;
    let (mut at, mut found) = (begin, false);
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            found |= (pattern[at]..=pattern[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= pattern[at] == character;
            at += 1;
        }
    }
    Some((end + 1, found != inverted))
}

#[cfg(test)]
mod tests {
    use super::{is_pattern, matches};

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text) in [
            ("web.*", "web.a.b"),
            ("*", ""),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("a[", "a["),
            ("*a*b*", "xxaxxbxx"),
            ("/etc/*", "/etc/a/b"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("web.*", "web"), ("a?c", "ac"), ("[a-c]x", "dx"), ("[!a]", "a"), ("a", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(is_pattern("a*") && !is_pattern("a.b"));
        assert!(!matches(&("*a".repeat(200) + "b"), &"a".repeat(5_000)));
    }
}

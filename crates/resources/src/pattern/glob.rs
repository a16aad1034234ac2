//! Patterns as shells have them.

/// Shell-style patterns as Python's `fnmatch`: `*` and `?` match slashes too, `[...]` is a class.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => glob_class(&pattern[p..], text[t]),
            Some(sign) => (*sign == text[t]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|it| *it == '*')
}

/// The length of a class that `sign` is in; a `[` without its end is itself.
fn glob_class(pattern: &[char], sign: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'!');
    let start = if negated { 2 } else { 1 };
    let Some(end) = (start + 1..pattern.len()).find(|it| pattern[*it] == ']') else {
        return (sign == '[').then_some(1);
    };
    let inside = &pattern[start..end];
    let (mut at, mut hit) = (0, false);
    while at < inside.len() {
        if at + 2 < inside.len() && inside[at + 1] == '-' {
            hit |= (inside[at]..=inside[at + 2]).contains(&sign);
            at += 3;
        } else {
            hit |= inside[at] == sign;
            at += 1;
        }
    }
    (hit != negated).then_some(end + 1)
}

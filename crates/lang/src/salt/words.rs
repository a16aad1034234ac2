//! What an event may bring into a command: single words that mean nothing to a shell and lead nowhere else.

use super::reactions::clean;
use crate::jinja::MARKS;

/// A text for a shell, without marks; an error if what was printed into it is more than words. Each thing that is
/// printed has no white space, has a letter or a digit, begins no option, and is no step to the folder above.
pub(super) fn plain_words(line: &str) -> Result<String, String> {
    let [open, close] = MARKS;
    let mut letters: Vec<(char, bool)> = Vec::with_capacity(line.len());
    let mut printed: Option<String> = None;
    for it in line.chars() {
        if it == open {
            printed = Some(String::new());
        } else if it == close {
            let word = printed.take().unwrap_or_default();
            if !word.contains(|it: char| it.is_ascii_alphanumeric()) {
                return Err(format!("what the event brought is no word: `{word}`"));
            }
        } else {
            if let Some(word) = &mut printed {
                word.push(it);
            }
            letters.push((it, printed.is_some()));
        }
    }
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_.:@%+=,/".contains(it);
    if let Some((it, _)) = letters.iter().find(|(it, printed)| *printed && !plain(*it)) {
        let why = if it.is_whitespace() {
            "white space in it: only one word gets into a command".to_owned()
        } else {
            format!("`{it}` in it, which means something to a shell")
        };
        return Err(format!("what the event brought has {why}"));
    }
    let none = (' ', false);
    for (index, &(it, printed)) in letters.iter().enumerate() {
        let before = if index > 0 { letters[index - 1] } else { none };
        let after = letters.get(index + 1).copied().unwrap_or(none);
        let of_word = |it: char| it.is_alphanumeric() || it == '_' || it == '-';
        if printed && it == '-' && (before.0 == '-' && !before.1 || !(plain(before.0))) {
            return Err("what the event brought begins with `-`, which would be an option".to_owned());
        }
        let twice = it == '.' && after.0 == '.' && (printed || after.1);
        if twice || (printed && it == '.' && !of_word(before.0) && !of_word(after.0)) {
            return Err("what the event brought has `.` or `..` as a folder in it".to_owned());
        }
    }
    Ok(clean(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, printed: &str) -> Result<String, String> {
        let [open, close] = MARKS;
        plain_words(&template.replace("{}", &format!("{open}{printed}{close}")))
    }

    #[test]
    fn single_words_get_into_a_command() {
        for (template, printed, want) in [
            ("echo {}", "hello", "echo hello"),
            ("rm /srv/{}", "a/b-1.2.tar.gz", "rm /srv/a/b-1.2.tar.gz"),
            ("cat {}", "/etc/x.conf", "cat /etc/x.conf"),
            ("x --level={} '{}'", "9", "x --level=9 '9'"),
            ("ls .. ./{}", ".hidden", "ls .. ./.hidden"),
        ] {
            assert_eq!(filled(template, printed).as_deref(), Ok(want), "{template} {printed}");
        }
    }

    #[test]
    fn what_is_more_than_a_word_or_leads_elsewhere_is_refused() {
        for (template, printed) in [
            ("rm -r /srv/{}", "x /etc"),
            ("rm -r /srv/{}", "x\t/etc"),
            ("rm -r /srv/{}", "x\n/etc"),
            ("rm -r /srv/{}", "../etc"),
            ("rm -r /srv/{}", "x/../../etc"),
            ("rm -r /srv/.{}", "./etc"),
            ("rm -r /srv/{}./etc", "x/."),
            ("rm -r /srv/{}", "./x/."),
            ("rm -r /srv/{}", ""),
            ("rm -r /srv/{}", "."),
            ("rm -r /srv/{}", "/"),
            ("cat {}", "-rf"),
            ("cat '{}'", "-rf"),
            ("cat -{}", "-x"),
            ("{}", "-x"),
            ("echo {}", "a;b"),
            ("echo {}", "$(b)"),
            ("echo {}", "a\u{a0}b"),
        ] {
            assert!(filled(template, printed).is_err(), "{template} {printed:?}");
        }
    }
}

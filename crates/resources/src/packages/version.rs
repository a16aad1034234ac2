//! Which of two versions is newer, by the rules of each package manager; and whether one is as it is wished for.

use std::cmp::Ordering;

/// What a version must be: all of the conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish(Vec<(Operator, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// The same; the version may be a pattern with `*`, `?` and `[...]`.
    Is,
    IsNot,
    Below,
    AtMost,
    AtLeast,
    Above,
}

impl Wish {
    /// `1.2`, `1.2*`, `>=1.2`, or several with commas between.
    pub fn parse(text: &str) -> Option<Self> {
        let one = |part: &str| {
            let part = part.trim();
            // Two signs come before one.
            let signs = [
                ("<=", Operator::AtMost),
                (">=", Operator::AtLeast),
                ("!=", Operator::IsNot),
                ("<>", Operator::IsNot),
                ("==", Operator::Is),
                ("<", Operator::Below),
                (">", Operator::Above),
                ("=", Operator::Is),
            ];
            let found = signs.iter().find_map(|(sign, it)| Some((*it, part.strip_prefix(sign)?)));
            let (operator, version) = found.unwrap_or((Operator::Is, part));
            let version = version.trim();
            let good = |it: char| it.is_ascii_alphanumeric() || ".+-~:_^*?[]!%".contains(it);
            let is_version = !version.is_empty() && !version.starts_with('-') && version.chars().all(good);
            is_version.then(|| (operator, version.to_owned()))
        };
        text.split(',').map(one).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The one version that is meant, if it is no pattern and no range.
    pub fn exact(&self) -> Option<&str> {
        match &self.0[..] {
            [(Operator::Is, version)] if !version.contains(['*', '?', '[']) => Some(version),
            _ => None,
        }
    }

    /// Whether `version` is as wished. Without an epoch in the wish, that of the version does not count where equality
    /// is asked for; with `Epoch::Ignored` it never does.
    pub fn fits(&self, version: &str, epoch: Epoch, compare: &dyn Fn(&str, &str) -> Ordering) -> bool {
        self.0.iter().all(|(operator, wanted)| {
            let is_equality = matches!(operator, Operator::Is | Operator::IsNot);
            let without = match epoch {
                Epoch::Ignored => true,
                Epoch::Counts => false,
                Epoch::AsWritten => is_equality && !wanted.contains(':'),
            };
            let (now, wanted) = if without { (bare(version), bare(wanted)) } else { (version, &wanted[..]) };
            let same = || matches(wanted, now) || compare(now, wanted) == Ordering::Equal;
            match operator {
                Operator::Is => same(),
                Operator::IsNot => !same(),
                Operator::Below => compare(now, wanted) == Ordering::Less,
                Operator::AtMost => compare(now, wanted) != Ordering::Greater,
                Operator::AtLeast => compare(now, wanted) != Ordering::Less,
                Operator::Above => compare(now, wanted) == Ordering::Greater,
            }
        })
    }
}

/// Whether epochs count in comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Where one is written.
    AsWritten,
    /// Always.
    Counts,
    /// Never.
    Ignored,
}

fn bare(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// A shell's pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < text.len() {
        match one(&pattern[at..], text[seen]) {
            Some(length) => (at, seen) = (at + length, seen + 1),
            None if pattern.get(at) == Some(&'*') => {
                star = Some((at + 1, seen));
                at += 1;
            }
            None => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, seen) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

/// How much of the pattern the character takes, if it fits.
fn one(pattern: &[char], it: char) -> Option<usize> {
    match pattern.first()? {
        '*' => None,
        '?' => Some(1),
        '[' => {
            let end = 2 + pattern.get(2..)?.iter().position(|it| *it == ']')?;
            let (negated, set) = match &pattern[1..end] {
                ['!', rest @ ..] => (true, rest),
                set => (false, set),
            };
            let ranges = set.windows(3).any(|it_| it_[1] == '-' && (it_[0]..=it_[2]).contains(&it));
            ((set.contains(&it) || ranges) != negated).then_some(end + 1)
        }
        other => (*other == it).then_some(1),
    }
}

/// dpkg's order: epoch, upstream version, revision; `~` is before the end.
pub fn debian(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse::<u64>().unwrap_or_default(), upstream.to_owned(), revision.to_owned())
    };
    let (one, other) = (parts(one), parts(other));
    one.0
        .cmp(&other.0)
        .then_with(|| debian_part(&one.1, &other.1))
        .then_with(|| debian_part(&one.2, &other.2))
}

fn debian_part(one: &str, other: &str) -> Ordering {
    // The end counts as 0, letters before other signs, `~` before everything.
    let weight = |it: Option<char>| match it {
        Some('~') => -1,
        None => 0,
        Some(it) if it.is_ascii_alphabetic() => i64::from(u32::from(it)),
        Some(it) => i64::from(u32::from(it)) + 1000,
    };
    let (mut one, mut other) = (one, other);
    while !one.is_empty() || !other.is_empty() {
        loop {
            let first = |it: &str| it.chars().next().filter(|it| !it.is_ascii_digit());
            let (left, right) = (first(one), first(other));
            if left.is_none() && right.is_none() {
                break;
            }
            match weight(left).cmp(&weight(right)) {
                Ordering::Equal => (),
                order => return order,
            }
            one = &one[left.map_or(0, char::len_utf8)..];
            other = &other[right.map_or(0, char::len_utf8)..];
        }
        let (left, right) = (digits(one), digits(other));
        match number(left).cmp(&number(right)) {
            Ordering::Equal => (one, other) = (&one[left.len()..], &other[right.len()..]),
            order => return order,
        }
    }
    Ordering::Equal
}

fn digits(text: &str) -> &str {
    &text[..text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len())]
}
fn letters(text: &str) -> &str {
    &text[..text.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(text.len())]
}
/// Digits in an order that is that of their numbers, whatever their length.
fn number(digits: &str) -> (usize, &str) {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

/// rpm's order, which is also pacman's: epoch, version, release. A release that one side does not have does not count.
pub fn rpm(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = match rest.split_once('-') {
            Some((version, release)) => (version.to_owned(), Some(release.to_owned())),
            None => (rest.to_owned(), None),
        };
        (epoch.parse::<u64>().unwrap_or_default(), version, release)
    };
    let (one, other) = (parts(one), parts(other));
    let release = || match (&one.2, &other.2) {
        (Some(one), Some(other)) => rpm_part(one, other),
        _ => Ordering::Equal,
    };
    one.0.cmp(&other.0).then_with(|| rpm_part(&one.1, &other.1)).then_with(release)
}

fn rpm_part(one: &str, other: &str) -> Ordering {
    let skip = |it: &str| {
        let start = it.find(|it: char| it.is_ascii_alphanumeric() || it == '~' || it == '^');
        start.map_or_else(String::new, |start| it[start..].to_owned())
    };
    let (mut one, mut other) = (skip(one), skip(other));
    loop {
        match (one.starts_with('~'), other.starts_with('~')) {
            (true, true) => {
                (one, other) = (skip(&one[1..]), skip(&other[1..]));
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => (),
        }
        // `^` comes after the end, and before anything else.
        match (one.starts_with('^'), other.starts_with('^')) {
            (true, true) => {
                (one, other) = (skip(&one[1..]), skip(&other[1..]));
                continue;
            }
            (true, false) => return if other.is_empty() { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if one.is_empty() { Ordering::Less } else { Ordering::Greater },
            (false, false) => (),
        }
        if one.is_empty() || other.is_empty() {
            return one.len().cmp(&other.len());
        }
        let numeric = one.starts_with(|it: char| it.is_ascii_digit());
        let segment = if numeric { digits } else { letters };
        let (left, right) = (segment(&one), segment(&other));
        if right.is_empty() {
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let order = if numeric { number(left).cmp(&number(right)) } else { left.cmp(right) };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (skip(&one[left.len()..]), skip(&other[right.len()..]));
    }
}

/// apk's order: numbers, a letter, suffixes such as `_rc1` before and `_p1` after the plain version, `-r` the release.
pub fn apk(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let (rest, release) = text.rsplit_once("-r").unwrap_or((text, "0"));
        let mut suffixes = rest.split('_');
        let version = suffixes.next().unwrap_or_default().to_owned();
        let suffixes: Vec<(i32, u64)> = suffixes.map(apk_suffix).chain([(0, 0)]).collect();
        (version, suffixes, release.parse::<u64>().unwrap_or_default())
    };
    let (one, other) = (parts(one), parts(other));
    rpm_part(&one.0, &other.0).then_with(|| one.1.cmp(&other.1)).then_with(|| one.2.cmp(&other.2))
}

fn apk_suffix(text: &str) -> (i32, u64) {
    let word = letters(text);
    let order = match word {
        "alpha" => -4,
        "beta" => -3,
        "pre" => -2,
        "rc" => -1,
        _ => 1,
    };
    (order, text[word.len()..].parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising(compare: fn(&str, &str) -> Ordering, versions: &[&str]) {
        for (at, one) in versions.iter().enumerate() {
            assert_eq!(compare(one, one), Ordering::Equal, "{one}");
            for other in &versions[at + 1..] {
                assert_eq!(compare(one, other), Ordering::Less, "{one} {other}");
                assert_eq!(compare(other, one), Ordering::Greater, "{other} {one}");
            }
        }
    }

    #[test]
    fn each_manager_has_its_own_order() {
        rising(
            debian,
            &["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0a-1", "1.0+dfsg-1", "1.2-3", "1.10-1", "1:0.1"],
        );
        assert_eq!(debian("1.00", "1.0"), Ordering::Equal);
        rising(
            rpm,
            &[
                "1.0~rc1-1",
                "1.0-1",
                "1.0^git1-1",
                "1.0.a-1",
                "1.0.1-1",
                "1.2-3",
                "1.10-1.el8",
                "2-1",
                "1:0-1",
            ],
        );
        assert_eq!(rpm("1.2", "1.2-5"), Ordering::Equal, "a release that is not given does not count");
        assert_eq!(rpm("1.0.0", "1.0_0"), Ordering::Equal);
        rising(apk, &["1.0_alpha1-r0", "1.0_rc1-r0", "1.0-r0", "1.0-r3", "1.0_p1-r0", "1.0.1-r0", "1.10-r0"]);
    }

    #[test]
    fn wishes_are_kept() {
        let fits = |wish: &str, version: &str| {
            Wish::parse(wish).unwrap().fits(version, Epoch::AsWritten, &|one, other| debian(one, other))
        };
        for (wish, version, wanted) in [
            ("1.2", "1.2", true),
            ("==1.2", "1.2", true),
            ("1.2", "1:1.2", true),
            ("1:1.2", "1.2", false),
            ("1.2*", "1.2.5-1", true),
            ("1.[23].?", "1.3.5", true),
            ("1.[!23].?", "1.3.5", false),
            ("*5", "1.2.5.5", true),
            (">=1.2", "1.10", true),
            (">1.2", "1.2", false),
            (">=1.2, <2", "1.10", true),
            (">=1.2,<2", "2.0", false),
            ("!=1.2", "1.2", false),
            ("<2", "1:1.0", false),
        ] {
            assert_eq!(fits(wish, version), wanted, "{wish} {version}");
        }
        let below = Wish::parse("<2").unwrap();
        assert!(below.fits("1:1.0", Epoch::Ignored, &|one, other| debian(one, other)));
        for bad in ["", ">=", "1 2", "1;rm", "-1", "1,,2"] {
            assert_eq!(Wish::parse(bad), None, "{bad}");
        }
        assert_eq!(Wish::parse("=1.2").unwrap().exact(), Some("1.2"));
        assert_eq!(Wish::parse("1.2*").unwrap().exact(), None);
    }
}

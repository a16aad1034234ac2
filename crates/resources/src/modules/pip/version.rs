//! Requirements and versions of Python packages, as far as is needed to tell whether one is met (PEP 440 and 508).

use std::{cmp::Ordering, path::Path};

/// Something that is to be installed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Requirement {
    /// As it was written.
    pub(super) text: String,
    /// Normalised; none for an address or a file that does not say what it holds.
    pub(super) name: Option<String>,
    specs: Vec<(String, String)>,
}

/// A name as the index has it: small, with `-` between words.
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::new();
    for it in name.trim().chars() {
        match it {
            '-' | '_' | '.' if normal.ends_with('-') => (),
            '-' | '_' | '.' => normal.push('-'),
            it => normal.push(it.to_ascii_lowercase()),
        }
    }
    normal
}

impl Requirement {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let bare = text.split(';').next().unwrap_or(text).trim();
        let nameless = |name: Option<&str>| Self {
            text: text.to_owned(),
            name: name.map(|it| normal(it.split('[').next().unwrap_or(it))),
            specs: Vec::new(),
        };
        if let Some((_, egg)) = text.split_once("#egg=") {
            return nameless(egg.split('&').next());
        }
        if let Some((name, _)) = bare.split_once(" @ ") {
            return nameless(Some(name));
        }
        let is_file = Path::new(bare).extension().is_some_and(|it| it == "whl" || it == "gz");
        if bare.contains("://") || bare.contains('/') || is_file {
            return nameless(None);
        }
        let end = bare.find(['=', '<', '>', '!', '~', '[', '(', ' ']).unwrap_or(bare.len());
        let rest = bare[end..].trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']').map_or("", |it| it.1) } else { rest };
        let specs = rest.trim_matches(['(', ')', ' ']).split(',').filter_map(|spec| {
            let spec = spec.trim();
            let end = spec.find(|it: char| !"=<>!~".contains(it))?;
            Some((spec[..end].to_owned(), spec[end..].trim().to_owned())).filter(|it| !it.0.is_empty())
        });
        Self { text: text.to_owned(), name: Some(normal(&bare[..end])), specs: specs.collect() }
    }

    /// Whether this version is one that is asked for.
    pub(super) fn accepts(&self, version: &str) -> bool {
        self.specs.iter().all(|(operator, wanted)| {
            let order = compare(version, wanted);
            match operator.as_str() {
                "==" | "===" if wanted.ends_with(".*") => is_below(version, wanted),
                "!=" if wanted.ends_with(".*") => !is_below(version, wanted),
                "==" | "===" | "=" => order == Ordering::Equal,
                "!=" => order != Ordering::Equal,
                ">=" => order != Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                "<" => order == Ordering::Less,
                "~=" => {
                    let above = wanted.rsplit_once('.').map_or(wanted.as_str(), |it| it.0);
                    order != Ordering::Less && is_below(version, &format!("{above}.*"))
                }
                _ => false,
            }
        })
    }
}

/// Whether a version begins as `1.2.*` does.
fn is_below(version: &str, pattern: &str) -> bool {
    let wanted = release(pattern.trim_end_matches(".*")).1;
    let mut now = release(version).1;
    now.resize(now.len().max(wanted.len()), 0);
    now.starts_with(&wanted)
}

/// Epoch, the numbers, and what comes behind them.
fn release(version: &str) -> (u64, Vec<u64>, String) {
    let version = version.trim().trim_start_matches(['v', 'V']).to_ascii_lowercase();
    let (epoch, rest) = version.split_once('!').unwrap_or(("0", &version));
    let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
    let numbers = rest[..end].trim_matches('.').split('.').map(|it| it.parse().unwrap_or(0)).collect();
    (epoch.parse().unwrap_or(0), numbers, rest[end..].to_owned())
}

/// Where a suffix stands beside the plain version: development, alpha, beta, candidate, plain, post.
fn rank(suffix: &str) -> (i8, u64) {
    let suffix = suffix.split('+').next().unwrap_or_default().trim_matches(['.', '-', '_']);
    let end = suffix.find(|it: char| it.is_ascii_digit()).unwrap_or(suffix.len());
    let number =
        suffix[end..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let rank = match &suffix[..end].trim_end_matches(['.', '-', '_']) {
        &"dev" => -4,
        &"a" | &"alpha" => -3,
        &"b" | &"beta" => -2,
        &"rc" | &"c" | &"pre" | &"preview" => -1,
        &"post" | &"rev" | &"r" => 1,
        _ => 0,
    };
    (rank, number)
}

fn compare(one: &str, other: &str) -> Ordering {
    let (a, b) = (release(one), release(other));
    let longest = a.1.len().max(b.1.len());
    let padded = |mut numbers: Vec<u64>| {
        numbers.resize(longest, 0);
        numbers
    };
    let numbers = padded(a.1).cmp(&padded(b.1));
    a.0.cmp(&b.0).then(numbers).then(rank(&a.2).cmp(&rank(&b.2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_met_or_not() {
        for (requirement, version, met) in [
            ("requests", "2.31.0", true),
            ("Requests_Toolbelt==1.0", "1.0.0", true),
            ("x==1.2", "1.2.1", false),
            ("x==1.2.*", "1.2.9", true),
            ("x>=1.10,<2", "1.9", false),
            ("x>=1.10, <2", "1.11", true),
            ("x~=1.4.2", "1.4.9", true),
            ("x~=1.4.2", "1.5.0", false),
            ("x[extra]>2", "2.0", false),
            ("x != 3", "3.0", false),
            ("x>=2.0", "2.0rc1", false),
            ("x>1; python_version > '3'", "2", true),
            ("x<=1!2", "3", true),
        ] {
            assert_eq!(Requirement::parse(requirement).accepts(version), met, "{requirement} {version}");
        }
    }

    #[test]
    fn names_are_found() {
        for (text, name) in [
            ("Flask.Foo_bar==1", Some("flask-foo-bar")),
            ("git+https://x/y.git#egg=y_z", Some("y-z")),
            ("pkg @ https://x/y.whl", Some("pkg")),
            ("git+https://x/y.git", None),
            ("./x.whl", None),
        ] {
            assert_eq!(Requirement::parse(text).name.as_deref(), name, "{text}");
        }
    }
}

//! Hooks: who may put events on the bus by `POST /hook/NAME`, as `hooks.yaml` says it.

use crate::hook_files;
use ipnet::IpNet;
use model::{Compiled, Secret};
use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

/// Bytes of a body, unless the hook says otherwise.
pub const BODY_BYTES: usize = 64 << 10;
/// Bytes of a body, whatever the hook says.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest name of a hook.
pub const NAME_BYTES: usize = 32;

/// How a sender signs, and what its payloads mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    /// Anything that can sign: a script, a program of one's own.
    Generic,
    /// Gitea and Forgejo.
    Gitea,
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Alertmanager, and what speaks like it.
    Alertmanager,
    /// Uptime Kuma.
    UptimeKuma,
}

impl Recipe {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Generic, Self::Gitea, Self::Github, Self::Gitlab, Self::Alertmanager, Self::UptimeKuma];

    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Gitea => "gitea",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Alertmanager => "alertmanager",
            Self::UptimeKuma => "uptime-kuma",
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a hook's secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file itself; while a secret is changed there are two.
    Here(Vec<Secret>),
    /// In a file of its own.
    File(PathBuf),
    /// The master keeps the one that `labctl hook secret` made.
    Kept,
}

/// So many deliveries in a time; all of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In so many milliseconds.
    pub per_ms: u64,
}

impl Rate {
    /// Sixty a minute.
    pub const USUAL: Self = Self { count: 60, per_ms: 60_000 };
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per_ms {
            1_000 => "s",
            60_000 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// How its sender signs, and what its payloads mean.
    pub recipe: Recipe,
    /// Where its secret is.
    pub secret: Place,
    /// Networks it may be used from; none is all.
    pub cidr: Vec<IpNet>,
    /// How often it may be used.
    pub rate: Rate,
    /// Bytes of a body.
    pub max: usize,
    /// Paths into the payload that the event carries beside what the recipe takes.
    pub keep: Vec<Vec<String>>,
}

impl Hook {
    /// Whether somebody at this address may use it.
    pub fn is_open_to(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.cidr.is_empty() || self.cidr.iter().any(|it| it.contains(&address))
    }
}

/// All hooks by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Each of them.
    pub named: BTreeMap<String, Hook>,
}

impl Hooks {
    /// From the text of a file; an empty one has none. A mistake gives none and all complaints.
    pub fn parse(file: &str, text: &str) -> Compiled<Self> {
        hook_files::parse(file, text)
    }
}

/// Whether a text can name a hook: it is a level of a tag, and the name of a file.
pub fn is_name(text: &str) -> bool {
    let letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Hooks, Vec<String>> {
        let parsed = Hooks::parse("hooks.yaml", text);
        let told = |it: &model::Diagnostic| {
            let at = it.spans.first().map(|it| (it.line, it.column)).unwrap_or_default();
            format!("{}:{} {}", at.0, at.1, it.message)
        };
        parsed.value.ok_or_else(|| parsed.diagnostics.iter().map(told).collect())
    }

    #[test]
    fn a_hook_needs_a_recipe_and_has_good_defaults() {
        assert_eq!(parse(""), Ok(Hooks::default()));
        let hooks = parse("ci: {recipe: gitea}\n").unwrap();
        let ci = &hooks.named["ci"];
        assert_eq!((ci.recipe, ci.rate, ci.max), (Recipe::Gitea, Rate::USUAL, BODY_BYTES));
        assert_eq!((&ci.secret, ci.cidr.len(), ci.keep.len()), (&Place::Kept, 0, 0));
        assert!(ci.is_open_to([10, 0, 0, 1].into()));
    }

    #[test]
    fn no_complaint_has_a_line_of_the_file_in_it() {
        for text in
            ["ci: {recipe: gitea, \"secret\": tooshort}\n", "ci: {recipe: gitea, 'secret' : [tooshort]}\n"]
        {
            let parsed = Hooks::parse("hooks.yaml", text);
            assert!(parsed.value.is_none() && !parsed.diagnostics.is_empty(), "{text}");
            assert!(!format!("{:?}", parsed.diagnostics).contains("tooshort"), "{:?}", parsed.diagnostics);
        }
    }

    #[test]
    fn everything_can_be_said() {
        let text = "build:\n  recipe: generic\n  secret: [new-secret-of-ours, old-secret-of-ours]\n  cidr: [10.0.0.0/8, 'fd00::/8', 192.0.2.7]\n\
                    \x20 rate: 10/m\n  max: 256KiB\n  keep: [build.status, commits.0.id]\n\
                    alerts: {recipe: alertmanager, secret_file: /etc/labctl/alerts, rate: 2/s}\n";
        let hooks = parse(text).unwrap();
        let build = &hooks.named["build"];
        assert_eq!(build.rate, Rate { count: 10, per_ms: 60_000 });
        assert_eq!(build.rate.to_string(), "10/m");
        assert_eq!(build.max, 256 << 10);
        assert_eq!(build.keep, [vec!["build", "status"], vec!["commits", "0", "id"]]);
        for (address, wanted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd00::1", true),
        ] {
            assert_eq!(build.is_open_to(address.parse().unwrap()), wanted, "{address}");
        }
        assert_eq!(format!("{:?}", build.secret), "Here([«secret», «secret»])");
        assert_eq!(hooks.named["alerts"].secret, Place::File("/etc/labctl/alerts".into()));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = "Up: {recipe: gitea}\na: {recipe: gitlb}\nb: {}\nc: {recipe: github, secret: short}\n\
                    d: {recipe: github, secret: long-enough-to-be-one, secret_file: x}\n\
                    e: {recipe: generic, rate: often, max: 2MiB, cidr: [here], keep: ['a..b'], colour: red}\n\
                    f: 7\n";
        assert_eq!(
            parse(text).unwrap_err(),
            [
                "1:1 `Up` cannot name a hook: use a-z, 0-9 and `-`, at most 32",
                "2:13 there is no recipe `gitlb`",
                "3:1 the hook `b` says no `recipe`",
                "4:29 a secret has 16 to 256 characters that can be seen, without spaces",
                "5:52 `secret_file` and `secret` are two places for one secret",
                "5:65 `x` is not an absolute path without `..`",
                "6:28 `often` is not a rate: write `10/m`, with s, m or h",
                "6:40 `2MiB` is not a size: write `64KiB`; at most 1MiB",
                "6:53 `here` is no address and no network",
                "6:67 `a..b` is no path: names and numbers with dots between them, at most 8",
                "6:76 unknown key `colour`",
                "7:4 a hook is a mapping, not text",
            ]
        );
        let shown = format!("{:?}", Hooks::parse("hooks.yaml", text).diagnostics);
        assert!(!shown.contains("long-enough"), "no line with a secret is shown: {shown}");
        assert_eq!(parse("- a\n").unwrap_err(), ["1:1 this file is a mapping, not a list"]);
    }
}

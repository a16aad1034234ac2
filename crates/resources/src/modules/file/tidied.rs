//! `file.tidied`: what is old or large in a folder is removed.

use super::directory::{CHANGES_MAX, cut};
use super::owner::stat;
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{FileKind, Links, Stat},
    pattern::{Flags, Pattern},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Things in a folder that are looked at, and folders within folders.
const ENTRIES_MAX: usize = 200_000;
const DEPTH_MAX: usize = 64;
const DAY_S: i64 = 86_400;

pub(super) const FUNCTION: Function = Function {
    name: "tidied",
    doc: Doc::new(
        "Files in a folder, and in folders beneath it, that have reached an age or a size are removed. Links are \
          removed, never what they point at.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/var/tmp/reports:\n  file.tidied:\n    - age: 30\n    - matches:\n      - .*\\.pdf$\n    - time_comparison: \
         mtime\n    - age_size_only: age\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Path, "", "The folder's path."),
    Param::of("age", ParamType::Integer, "0", "Days."),
    Param::of("size", ParamType::Text, "0", "Bytes, or with a unit such as `10M`."),
    Param::of(
        "matches",
        ParamType::TextList,
        "everything",
        "Patterns of the names that are meant; each has to match from the beginning.",
    ),
    Param::of("exclude", ParamType::TextList, "nothing", "Patterns of names that stay."),
    Param::of("full_path_match", ParamType::Bool, "false", "Patterns are compared with the whole path."),
    Param::of("rmdirs", ParamType::Bool, "false", "Removes folders too, with everything in them."),
    Param::of("rmlinks", ParamType::Bool, "true", "Removes symbolic links too."),
    Param::of(
        "time_comparison",
        ParamType::Text,
        "atime",
        "What age is counted from: `atime`, when it was last read, or `mtime`, when it was last written.",
    ),
    Param::of(
        "age_size_logical_operator",
        ParamType::Text,
        "OR",
        "Whether age or size is enough (`OR`), or both are needed (`AND`).",
    ),
    Param::of("age_size_only", ParamType::Text, "both count", "`age` or `size`: only this counts."),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Counts {
    Age,
    Size,
    Either,
    Both,
}

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Tidied {
    path: PathBuf,
    age_days: i64,
    size: u64,
    matches: Vec<Pattern>,
    exclude: Vec<Pattern>,
    whole_path: bool,
    folders: bool,
    links: bool,
    written: bool,
    counts: Counts,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.tidied", PARAMS, params)?;
    let patterns = |name: &str| {
        let texts = args.list(name).unwrap_or_default();
        let all = texts.iter().map(|it| Pattern::at_start(it, Flags::default()));
        all.collect::<Result<Vec<_>, _>>().map_err(|why| invalid(name, why))
    };
    let word = |name: &str| args.text(name).unwrap_or_default().to_ascii_lowercase();
    let counts = match (word("age_size_only").as_str(), word("age_size_logical_operator").as_str()) {
        ("age", _) => Counts::Age,
        ("size", _) => Counts::Size,
        (_, "and") => Counts::Both,
        (_, "" | "or") => Counts::Either,
        (_, other) => {
            return Err(invalid("age_size_logical_operator", format!("`{other}` is none of `OR`, `AND`")));
        }
    };
    let written = match word("time_comparison").as_str() {
        "" | "atime" => false,
        "mtime" => true,
        other => return Err(invalid("time_comparison", format!("`{other}` is none of `atime`, `mtime`"))),
    };
    let path = args.path("name").unwrap_or_default();
    if path.parent().is_none() {
        return Err(invalid("name", "`/` cannot be tidied"));
    }
    Ok(Box::new(Tidied {
        path,
        age_days: args.number("age").unwrap_or_default(),
        size: size(&args.text("size").unwrap_or_default())?,
        matches: patterns("matches")?,
        exclude: patterns("exclude")?,
        whole_path: args.bool("full_path_match", false),
        folders: args.bool("rmdirs", false),
        links: args.bool("rmlinks", true),
        written,
        counts,
    }))
}

/// `10M` and the like: powers of 1024, as Salt counts them.
fn size(text: &str) -> Result<u64, ParamsError> {
    let text = text.trim();
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let power = match text[end..].trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => {
            return Err(invalid(
                "size",
                format!("`{text}` is no size: bytes, or a number with K, M, G or T"),
            ));
        }
    };
    let number = if end == 0 { Some(0) } else { text[..end].parse::<u64>().ok() };
    let bytes = number.and_then(|it| it.checked_mul(1 << (10 * power)));
    bytes.ok_or_else(|| invalid("size", format!("`{text}` is no size")))
}

impl Tidied {
    fn is_meant(&self, path: &Path, stat: &Stat, now: i64) -> bool {
        match stat.kind {
            FileKind::Symlink if !self.links => return false,
            FileKind::Directory if !self.folders => return false,
            _ => (),
        }
        let day = |seconds: i64| seconds.div_euclid(DAY_S);
        let then = if self.written { stat.modified_s } else { stat.accessed_s };
        let old = (day(now) - day(then)).abs() >= self.age_days;
        let bytes = if matches!(stat.kind, FileKind::Directory | FileKind::Symlink) { 0 } else { stat.size };
        let large = bytes >= self.size;
        let due = match self.counts {
            Counts::Age => old,
            Counts::Size => large,
            Counts::Either => old || large,
            Counts::Both => old && large,
        };
        let name = if self.whole_path { path } else { Path::new(path.file_name().unwrap_or_default()) };
        let name = name.to_string_lossy();
        let hit = |patterns: &[Pattern]| patterns.iter().any(|it| it.is_match(&name));
        due && (self.matches.is_empty() || hit(&self.matches)) && !hit(&self.exclude)
    }

    /// What is to be removed, what is in a folder before the folder.
    fn meant(&self, host: &dyn Probe) -> Result<Vec<PathBuf>, Error> {
        let found = stat(host, &self.path, Links::Follow)?;
        if found.is_none_or(|it| it.kind != FileKind::Directory) {
            return Err(Error::Refused(format!("`{}` is no folder", self.path.display())));
        }
        let now = host.now_s();
        let (mut meant, mut waiting, mut seen) = (Vec::new(), vec![(self.path.clone(), 0)], 0);
        while let Some((folder, depth)) = waiting.pop() {
            for name in host.list(&folder).map_err(Error::host("list", folder.display()))? {
                seen += 1;
                if seen > ENTRIES_MAX || depth > DEPTH_MAX {
                    return Err(Error::Refused(format!(
                        "there is too much in `{}` to look at",
                        self.path.display()
                    )));
                }
                let path = folder.join(name);
                let Some(stat) = stat(host, &path, Links::Keep)? else { continue };
                if self.is_meant(&path, &stat, now) {
                    meant.push(path.clone());
                }
                if stat.kind == FileKind::Directory {
                    waiting.push((path, depth + 1));
                }
            }
        }
        meant.sort_by(|a, b| b.cmp(a));
        Ok(meant)
    }
}

impl Resource for Tidied {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let meant = self.meant(host)?;
        for path in meant.iter().rev().take(CHANGES_MAX + 1) {
            let from = Some("there".to_owned());
            plan.push(Change { what: path.display().to_string(), from, to: None, diff: None });
        }
        cut(&mut plan);
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let meant = self.meant(host)?;
        for path in &meant {
            host.remove(path).map_err(Error::host("remove", path.display()))?;
        }
        Ok(Applied::saying(format!("removed {}", meant.len())))
    }
}

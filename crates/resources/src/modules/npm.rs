//! `npm`: packages of Node.js.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Query, query::npm::Question},
    modules::group::account_name,
    tool::{LONG_MS, ask, refusal, run},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "npm",
    doc: Doc::new("Packages of Node.js, of the system or of a folder."),
    functions: &[
        Function {
            name: "installed",
            doc: Doc::new("Packages are installed, in a version if one is given."),
            params: INSTALLED,
            examples: Examples::new(&[
                "pm2@5.3.0:\n  npm.installed: []\n",
                "tools:\n  npm.installed:\n    - pkgs:\n      - yarn\n      - '@vue/cli@5.0.8'\n    - dir: /opt/app\n    - user: app\n",
            ]),
            parse: |params| parse("npm.installed", INSTALLED, params, true),
        },
        Function {
            name: "removed",
            doc: Doc::new("A package is not installed."),
            params: REMOVED,
            examples: Examples::new(&["pm2:\n  npm.removed: []\n"]),
            parse: |params| parse("npm.removed", REMOVED, params, false),
        },
    ],
};

const NAME: Param = Param::text("name", "", "The package: `x`, `x@1.2.3`, `@scope/x`.");
const DIR: Param = Param::path("dir", "the system's", "The folder whose packages they are.");
const USER: Param = Param::text("user", "root", "Who runs npm.");
const INSTALLED: &[Param] = &[
    NAME,
    Param::list("pkgs", "none", "Several, instead of the name."),
    DIR,
    USER,
    Param::text("registry", "npm's own", "Where they come from."),
    Param::flag("force_reinstall", "false", "Installs again, each time."),
];
const REMOVED: &[Param] = &[NAME, DIR, USER];

#[derive(Debug)]
struct Wanted {
    /// Names, and versions that matter.
    packages: Vec<(String, Option<String>)>,
    place: Question,
    registry: Option<String>,
    present: bool,
    always: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    present: bool,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    let mut packages = Vec::new();
    for text in args.list("pkgs").unwrap_or_else(|| vec![args.name()]) {
        plain_word("name", &text)?;
        if text.contains([':', '\\']) || text.starts_with(['/', '.']) {
            return Err(invalid("name", format!("`{text}` is no package of the registry")));
        }
        let at = text.rfind('@').filter(|at| *at > 0);
        packages.push(match at {
            Some(at) => (text[..at].to_owned(), Some(text[at + 1..].to_owned())),
            None => (text, None),
        });
    }
    let registry = args.text("registry");
    registry.iter().try_for_each(|it| plain_word("registry", it))?;
    let place = Question { folder: args.path("dir"), user };
    Ok(Box::new(Wanted { packages, place, registry, present, always: args.bool("force_reinstall", false) }))
}

impl Wanted {
    fn now(&self, host: &dyn Probe) -> Result<Map<String, Value>, Error> {
        let query = Query::Npm(self.place.clone());
        // It ends with 1 where something that is needed is missing, and tells all the same.
        let output = ask(host, &query)?;
        let told: Option<Value> = serde_json::from_str(&output.stdout).ok();
        let Some(told) = told.filter(Value::is_object) else { return Err(refusal(&query, output)) };
        Ok(told.get("dependencies").and_then(Value::as_object).cloned().unwrap_or_default())
    }
}

/// A whole version must be that one; a part of one must be its beginning; other words, such as `latest`, are any.
fn fits(version: &str, wanted: Option<&str>) -> bool {
    match wanted.map(|it| it.trim_start_matches(['v', '='])) {
        Some(wanted) if wanted.starts_with(|it: char| it.is_ascii_digit()) => {
            version == wanted || version.starts_with(&format!("{wanted}."))
        }
        _ => true,
    }
}

impl Resource for Wanted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = self.now(host)?;
        let mut plan = Plan::default();
        for (name, wanted) in &self.packages {
            let found = now.get(name).and_then(|it| it.get("version")).and_then(Value::as_str);
            let good = match found {
                Some(version) => self.present && fits(version, wanted.as_deref()) && !self.always,
                None => !self.present,
            };
            if !good {
                let to = self.present.then(|| wanted.clone().unwrap_or_else(|| "installed".to_owned()));
                plan.push(Change { what: name.clone(), from: found.map(str::to_owned), to, diff: None });
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let registry = self.registry.as_ref().map(|it| format!("--registry={it}"));
        let mut args = vec![if self.present { "install" } else { "uninstall" }];
        args.extend(registry.as_deref());
        let written: Vec<String> = self
            .packages
            .iter()
            .filter(|it| plan.touches(&it.0))
            .map(|(name, version)| version.as_ref().map_or(name.clone(), |it| format!("{name}@{it}")))
            .collect();
        args.extend(written.iter().map(String::as_str));
        let what = format!("npm {}", args.join(" "));
        run(host, self.place.npm(&args, LONG_MS), &what)?;
        Ok(Applied::default())
    }

    fn converges(&self) -> bool {
        !self.always
    }
}

//! Looks through a tree of Salt before it is used here: what will run, what will run with a warning, and what will not.
//! Renders and runs nothing; it reads what stands in the files.

pub(crate) mod beacons;
mod calls;
pub(crate) mod events;
pub(crate) mod master;
mod outline;
mod reactions;
pub(crate) mod rule;
mod words;

use crate::{
    Tree,
    say::{At, Say, Text, did_you_mean, error, warning},
};
use model::{Diagnostic, Severity};
use resources::Function;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

pub use master::{Master, Reaction};

/// Findings that are kept; a tree with more has one cause.
const FINDINGS_MAX: usize = 10_000;
/// Bytes of a file that is looked through.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Folders of a file root that hold programs for Salt itself, and what to do instead.
const EXTENSIONS: [(&str, &str); 14] = [
    ("_modules", "write what it does as a script with `cmd.run` and `stateful: true`"),
    ("_states", "write what it does as a script with `cmd.run` and `stateful: true`"),
    ("_grains", "make it a program that prints JSON, in /etc/labctl/grains.d/ of the minions"),
    ("_pillar", "write its data into pillar/"),
    ("_renderers", "write the files that use it in `jinja|yaml`"),
    ("_beacons", "send events from the machine: `fire_event` in a state"),
    ("_returners", "subscribe to the topics of the master, or read its API"),
    ("_runners", "make it a program that uses the API or `labctl`"),
    ("_engines", "make it a program that publishes events as an integration"),
    ("_utils", "see the modules that use it"),
    ("_proxy", "there are no proxy minions here"),
    ("_output", "`labctl -o json` gives data for any program to print"),
    ("_tops", "write top.sls"),
    ("_sdb", "keep secrets in the pillar with `!secret`"),
];

/// What a look gave.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files that were looked through.
    pub files: usize,
    /// State files among them.
    pub state_files: usize,
    /// How often each function is used.
    pub functions: BTreeMap<String, usize>,
    /// Uses of functions that run, that run with a warning, and that are not known.
    pub runs: [usize; 3],
    /// An error will not run, a warning will run.
    pub findings: Vec<Diagnostic>,
}

impl Survey {
    /// How many of a kind.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.severity == severity).count()
    }
    fn push(&mut self, finding: Diagnostic) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Looks through `states/` and `pillar/` of a tree.
pub fn survey(tree: &Tree) -> Survey {
    let mut look = Look { tree, survey: Survey::default(), functions: functions() };
    for (path, source) in tree.iter() {
        let (root, inside) = path.split_once('/').unwrap_or(("", path));
        let extension = inside.split('/').next().filter(|_| is_states(root));
        if let Some((folder, remedy)) = EXTENSIONS.iter().find(|it| Some(it.0) == extension) {
            if ends(path, ".py") {
                let message = format!("programs for Salt in `{folder}` are not run");
                look.survey.push(error("E0801", message).at(whole_file(path)).help(*remedy));
            }
            continue;
        }
        let body = source.bytes.as_ref().filter(|it| it.len() <= FILE_BYTES_MAX);
        let is_template = |it: &str| [".sls", ".jinja", ".j2", ".jinja2"].iter().any(|end| it.ends_with(end));
        if !is_template(path) || path.starts_with("reactors/") {
            continue;
        }
        look.survey.files += 1;
        match body.and_then(|it| std::str::from_utf8(it).ok()) {
            Some(body) => look.file(path, body),
            None if ends(path, ".sls") => {
                let message = format!("this is not UTF-8 text of at most {FILE_BYTES_MAX} bytes");
                look.survey.push(error("E0104", message).at(whole_file(path)));
            }
            None => {}
        }
    }
    look.survey
        .findings
        .sort_by_cached_key(|it| it.spans.first().map(|it| (it.file.clone(), it.line, it.column)));
    look.survey
}

/// `states`, or those of another environment.
fn is_states(root: &str) -> bool {
    root == "states" || root.starts_with("states@")
}

/// Salt tells files by the letters that it writes.
fn ends(path: &str, with: &str) -> bool {
    path.ends_with(with)
}

fn whole_file(path: &str) -> model::Span {
    Text::new(path.to_owned(), String::new()).span(At { line: 1, column: 1, length: 1 }, "")
}

/// All functions of ours by their full names.
fn functions() -> HashMap<String, &'static Function> {
    let all = resources::modules().iter();
    all.flat_map(|module| module.functions.iter().map(|it| (format!("{}.{}", module.name, it.name), it)))
        .collect()
}

struct Look<'a> {
    tree: &'a Tree,
    survey: Survey,
    functions: HashMap<String, &'static Function>,
}

impl Look<'_> {
    fn file(&mut self, path: &str, body: &str) {
        let text = Arc::new(Text::new(path.to_owned(), body.trim_start_matches('\u{feff}').to_owned()));
        let (root, inside) = path.split_once('/').unwrap_or(("", path));
        let is_state = is_states(root) && ends(path, ".sls") && inside != "top.sls";
        self.survey.state_files += usize::from(is_state);
        if !self.renderer(&text) {
            return;
        }
        if is_jinja(&text) {
            self.survey.findings.extend(crate::jinja::syntax_error(&text));
        }
        let (blanked, tags) = outline::blank(&text.body);
        for tag in tags {
            for call in calls::calls(tag.text) {
                self.call(&text, &call, tag.byte);
            }
        }
        if is_state {
            self.states(&text, &outline::outline(&blanked));
        }
    }

    /// Whether the renderer line names something that is known.
    fn renderer(&mut self, text: &Text) -> bool {
        let Some(line) = text.line(1).strip_prefix("#!") else { return true };
        let words = line.trim();
        if words.is_empty() || words.starts_with('/') || words.parse::<crate::Renderer>().is_ok() {
            return true;
        }
        let help = match words {
            _ if words.contains("gpg") => "decrypt the values and mark them with `!secret`",
            _ if words.starts_with("py") => "write it in `jinja|yaml`, or as plain YAML",
            _ => "`jinja|yaml`, `handlebars|yaml` and `yaml` are known",
        };
        let at = At { line: 1, column: 1, length: crate::say::small(words.chars().count() + 2) };
        let message = format!("the renderer `{words}` is not known");
        self.survey.push(error("E0119", message).at(text.span(at, "")).help(help));
        false
    }

    fn call(&mut self, text: &Text, call: &calls::Call<'_>, tag: usize) {
        if crate::jinja::is_function(call.function) {
            return;
        }
        let at = text.at_byte(tag + call.byte, call.function.len());
        let (message, help) = crate::jinja::no_function(call.function);
        let help = help.unwrap_or_else(|| "put its answer into a grain or into the pillar".to_owned());
        self.survey.push(error("E0802", message).at(text.span(at, "")).help(help));
    }

    fn states(&mut self, text: &Text, outline: &outline::Outline) {
        for used in &outline.uses {
            *self.survey.functions.entry(used.function.clone()).or_default() += 1;
            let outcome = self.used(text, used);
            self.survey.runs[outcome] += 1;
        }
        for (id, key, at) in &outline.strays {
            let message =
                format!("`{key}` stands at `{}` and not at one of its functions: it is ignored", shown(id));
            let help = "move it below the function; Salt up to 3007 ignored it, Salt 3008 refuses it";
            self.survey.push(warning("E0113", message).at(text.span(*at, "")).help(help));
        }
        for (name, at) in &outline.includes {
            self.include(text, name, *at);
        }
    }

    /// 0: runs, 1: with a warning, 2: not.
    fn used(&mut self, text: &Text, used: &outline::Use) -> usize {
        let Some(function) = self.functions.get(&used.function).copied() else {
            let message = format!("no function `{}`", used.function);
            let known: Vec<&str> = self.functions.keys().map(String::as_str).collect();
            let help = "labctl state doc lists those that there are; `cmd.run` with `unless` or `stateful` does the rest";
            let finding = error("E0102", message).at(text.span(used.at, "")).help(help);
            self.survey.push(finding.maybe_help(did_you_mean(&used.function, known)));
            return 2;
        };
        let mut warned = 0;
        for (param, value, at) in &used.params {
            if param.contains(outline::PRINTED) || crate::arguments::is_known(param) {
                continue;
            }
            let Some(known) = function.params.iter().find(|it| it.name == param) else {
                let message = format!("`{}` has no parameter `{param}`: it is ignored", used.function);
                let names = function.params.iter().map(|it| it.name);
                let finding = warning("E0106", message).at(text.span(*at, ""));
                self.survey.push(finding.maybe_help(did_you_mean(param, names)));
                warned = 1;
                continue;
            };
            if known.kind == resources::ParamType::Source && !self.has(&text.path, value) {
                let message = format!("`{value}` is not in the tree");
                self.survey.push(warning("E0117", message).at(text.span(*at, "")));
                warned = 1;
            }
            if param == "template"
                && !value.contains(outline::PRINTED)
                && !TEMPLATES.contains(&value.as_str())
            {
                let message = format!("`template: {value}` is not known");
                let help = "write the file in Jinja or in Handlebars";
                self.survey.push(error("E0119", message).at(text.span(*at, "")).help(help));
                return 2;
            }
        }
        warned
    }

    /// Whether a source can be found; what templates make of it nobody knows here.
    fn has(&self, from: &str, source: &str) -> bool {
        let root = from.split('/').next().unwrap_or_default();
        let source = source.trim_matches(['"', '\'']);
        let path = source.strip_prefix("salt://").filter(|it| !it.contains([outline::PRINTED, '?', '|']));
        let Some(path) = path.map(|it| format!("{root}/{}", it.trim_end_matches('/'))) else { return true };
        let inside = format!("{path}/");
        self.tree.get(&path).is_some() || self.tree.iter().any(|it| it.0.starts_with(&inside))
    }

    fn include(&mut self, text: &Text, name: &str, at: At) {
        if name.contains([outline::PRINTED, ':', '*', '{']) {
            return;
        }
        let (root, own) = text.path.split_once('/').unwrap_or_default();
        let own = own.trim_end_matches(".sls");
        let own = own.trim_end_matches("/init").replace('/', ".");
        let full = crate::session::absolute(name, &own, &text.path);
        let base = format!("{root}/{}", full.replace('.', "/"));
        if self.tree.get(&format!("{base}.sls")).is_none()
            && self.tree.get(&format!("{base}/init.sls")).is_none()
        {
            let message = format!("no state named `{full}`");
            self.survey
                .push(error("E0118", message).at(text.span(at, "")).note("Salt does not find it either"));
        }
    }
}

/// Whether its renderer line, if it has one, is Jinja's.
fn is_jinja(text: &Text) -> bool {
    text.line(1).strip_prefix("#!").is_none_or(|it| it.trim().starts_with("jinja"))
}

/// Values of `template:`.
const TEMPLATES: [&str; 6] = ["jinja", "handlebars", "null", "None", "none", ""];

/// An id for people.
fn shown(id: &str) -> String {
    let mut shown = String::new();
    for it in id.chars() {
        if it != outline::PRINTED {
            shown.push(it);
        } else if !shown.ends_with('…') {
            shown.push('…');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let survey = survey(&Tree::of_texts(files.iter().copied()));
        let line = |it: &Diagnostic| {
            let at = &it.spans[0];
            let kind = if it.severity == Severity::Error { "error" } else { "warning" };
            format!("{}:{}:{} {kind} {} {}", at.file, at.line, at.column, it.code, it.message)
        };
        survey.findings.iter().map(line).collect()
    }

    #[test]
    fn what_will_not_run_is_told_with_its_place() {
        let web = "include:\n  - base\n  - gone\nnginx:\n  pkg.installed:\n    - verion: 1\n  zfs.gone_pool:\n    - name: x\n  require:\n    - pkg: x\n\
                   conf:\n  file.managed:\n    - name: {{ salt['no.such']('x') }}\n    - source: salt://web/gone.conf\n    - template: mako\n";
        let found = told(&[
            ("states/web/init.sls", web),
            ("states/base.sls", "a:\n  file.managed:\n    - source: salt://files\n"),
            ("states/files/x", ""),
            ("states/_modules/own.py", "x"),
            ("states/py.sls", "#!py\ndef run():\n  return {}\n"),
            ("pillar/secret.sls", "#!yaml|gpg\na: b\n"),
        ]);
        assert_eq!(
            found,
            [
                "pillar/secret.sls:1:1 error E0119 the renderer `yaml|gpg` is not known",
                "states/_modules/own.py:1:1 error E0801 programs for Salt in `_modules` are not run",
                "states/py.sls:1:1 error E0119 the renderer `py` is not known",
                "states/web/init.sls:3:5 error E0118 no state named `gone`",
                "states/web/init.sls:6:7 warning E0106 `pkg.installed` has no parameter `verion`: it is ignored",
                "states/web/init.sls:7:3 error E0102 no function `zfs.gone_pool`",
                "states/web/init.sls:9:3 warning E0113 `require` stands at `nginx` and not at one of its functions: it is ignored",
                "states/web/init.sls:13:22 error E0802 there is no function `no.such` for templates",
                "states/web/init.sls:14:7 warning E0117 `salt://web/gone.conf` is not in the tree",
                "states/web/init.sls:15:7 error E0119 `template: mako` is not known",
            ]
        );
    }

    #[test]
    fn hundreds_of_files_are_looked_through_at_once() {
        let text = "a:\n  pkg.installed:\n    - name: {{ grains['os'] }}\n    - verion: 1\n".repeat(50);
        let names: Vec<String> = (0..500).map(|it| format!("states/f{it}.sls")).collect();
        let tree = Tree::of_texts(names.iter().map(|it| (it.as_str(), text.as_str())));
        let began = std::time::Instant::now();
        let survey = survey(&tree);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        assert_eq!(survey.runs, [0, 25_000, 0]);
        assert_eq!(survey.findings.len(), FINDINGS_MAX);
    }
}

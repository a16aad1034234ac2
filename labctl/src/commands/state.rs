//! `labctl state`: state files, checked and shown without a master.

mod fmt;
mod graph;

use super::Desk;
use crate::{
    Ended, Outcome,
    cli::Format,
    config,
    failure::{Exit, Failure, did_you_mean},
    show::{self, Tone, json},
    tree::{Folders, Read},
};
use clap::{Args, Subcommand};
use lang::{Compiler, Dialect, Renderer, Subject, View, Wanted};
use model::{Answers, Diagnostic, Grains, Labels, MinionId, Severity};
use serde_json::{Map, Value};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
pub(crate) struct StateCommand {
    #[command(subcommand)]
    verb: Option<StateVerb>,
}

const FMT_EXAMPLES: &str = "\
Examples:
  labctl state fmt                  every .sls and .yaml file of the tree around this folder
  labctl state fmt --check          for a commit hook: ends with 1 if something would change

Files with template tags are left as they are, and so is what cannot be moved without saying something else.";
const GRAPH_EXAMPLES: &str = "\
Examples:
  labctl state graph web                       a line for each step, with what it waits for
  labctl state graph web --as dot | dot -Tsvg > web.svg
  labctl state graph --as mermaid --grains vm-1.json";

#[derive(Debug, Subcommand)]
enum StateVerb {
    /// The states of a tree
    #[command(alias = "ls")]
    List {
        /// Only names that begin so
        prefix: Option<String>,
        /// Folder with states/, pillar/ and reactors/
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
    },
    /// Everything that is wrong with a tree, all at once
    Check {
        /// Folder with states/, pillar/ and reactors/
        #[arg(value_name = "DIR")]
        path: Option<PathBuf>,
        /// Trees, environments and nodegroups as this master.yaml, and the parts beside it, say
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// The compiled steps in run order, in Salt's field names
    #[command(aliases = ["get", "describe"])]
    Show {
        /// States; none is what top.sls assigns
        #[arg(value_name = "STATE")]
        names: Vec<String>,
        /// Folder with states/, pillar/ and reactors/, or the states of a tree of Salt
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
        /// Trees, environments and nodegroups as this master.yaml, and the parts beside it, say
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        subject: SubjectArgs,
        /// With `extend`, `exclude`, `use` and the `_in` forms applied; a state of Salt's tree is shown as written otherwise
        #[arg(long)]
        applied: bool,
    },
    /// Write YAML files in house style: two spaces a level, nothing that says something else
    #[command(after_help = FMT_EXAMPLES)]
    Fmt {
        /// Files and folders; none is the tree around this folder
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Change nothing; end with 1 if something would change
        #[arg(long)]
        check: bool,
    },
    /// What waits for what, as text or for a program that draws
    #[command(after_help = GRAPH_EXAMPLES)]
    Graph {
        /// States; none is what top.sls assigns
        #[arg(value_name = "STATE")]
        names: Vec<String>,
        /// How to write it
        #[arg(long = "as", value_name = "FORM", value_enum, default_value_t)]
        form: graph::Form,
        /// Folder with states/, pillar/ and reactors/, or the states of a tree of Salt
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Reference of the functions
    Doc {
        /// Such as file.managed, or a module such as file; none lists all
        function: Option<String>,
    },
}

/// Where the tree lies and how it is read.
#[derive(Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// The pillar from elsewhere
    #[arg(long, value_name = "DIR")]
    pillar: Option<PathBuf>,
    /// How files without a renderer line are read: handlebars|yaml, yaml, or jinja|yaml, which takes the tree for one of
    /// Salt
    #[arg(long, value_name = "ENGINE|yaml")]
    renderer: Option<String>,
    /// Only this environment: a named set of trees
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
}

impl SourceArgs {
    /// A folder, or the trees that a configuration names.
    fn read(&self, tree: Option<&Path>, settings: Option<&Path>) -> Outcome<Read> {
        match settings {
            Some(settings) => self.read_of(Folders::configured(settings)?),
            None => self.read_of(Folders::find(tree)?),
        }
    }
    /// With what the flags say.
    pub(crate) fn read_of(&self, folders: Folders) -> Outcome<Read> {
        let folders = folders.with_pillar(self.pillar.as_deref())?.with_dialect(self.dialect()?);
        folders.with_environment(self.environment.as_deref()).read()
    }
    fn dialect(&self) -> Outcome<Option<Dialect>> {
        let Some(text) = &self.renderer else { return Ok(None) };
        let words: Vec<&str> = text.split('|').map(str::trim).collect();
        let (renderer, salt) = match words[..] {
            ["jinja", "yaml"] | ["jinja"] => (Renderer::Jinja, true),
            ["handlebars", "yaml"] | ["handlebars"] => (Renderer::Handlebars, false),
            ["yaml"] => (Renderer::Plain, false),
            _ => {
                return Err(Failure::usage(format!("`{text}` is not a renderer"))
                    .hint("handlebars|yaml, jinja|yaml or yaml, in quotes"));
            }
        };
        Ok(Some(Dialect { renderer, salt }))
    }
}

/// The machine to compile for.
#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// Its id
    #[arg(long, value_name = "ID")]
    id: Option<MinionId>,
    /// Its grains: a JSON or YAML file
    #[arg(long, value_name = "FILE")]
    grains: Option<PathBuf>,
    /// A label of it
    #[arg(short, long = "label", value_name = "K=V", value_delimiter = ',')]
    labels: Vec<String>,
    /// What the machine answers to templates that ask it: a JSON or YAML file, question: answer
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

impl SubjectArgs {
    /// Whether grains come from a file.
    pub(crate) fn has_grains(&self) -> bool {
        self.grains.is_some()
    }
    /// The id, if one was given.
    pub(crate) fn named(&self) -> Option<&MinionId> {
        self.id.as_ref()
    }
    /// The id, and grains that say the same.
    pub(crate) fn who(&self) -> Outcome<(MinionId, Grains)> {
        self.with_id(self.grains()?)
    }
    /// As a master does it: the grain `id` is no claim.
    pub(crate) fn with_id(&self, mut grains: Grains) -> Outcome<(MinionId, Grains)> {
        let id = self.id(&grains)?;
        grains.insert("id".to_owned(), Value::String(id.to_string()));
        Ok((id, grains))
    }
    fn grains(&self) -> Outcome<Grains> {
        let Some(path) = &self.grains else { return Ok(Grains::new()) };
        let read = config::read_yaml(path)?;
        match read {
            Value::Object(grains) => Ok(grains),
            _ => Err(Failure::usage(format!("`{}` holds no mapping of grains", path.display()))),
        }
    }
    fn id(&self, grains: &Grains) -> Outcome<MinionId> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let named = grains.get("id").and_then(Value::as_str).unwrap_or("example");
        named.parse().map_err(|error: model::InvalidId| Failure::usage(error.to_string()))
    }
    pub(crate) fn labels(&self) -> Outcome<Labels> {
        super::key::labels(&self.labels)
    }
    pub(crate) fn answers(&self) -> Outcome<Answers> {
        let Some(path) = &self.answers else { return Ok(Answers::default()) };
        match config::read_yaml(path)? {
            Value::Object(answers) => Ok(Answers::of_map(answers)),
            _ => Err(Failure::usage(format!("`{}` holds no mapping of answers", path.display()))),
        }
    }
}

impl StateCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(StateVerb::List { prefix: None, tree: None }) {
            StateVerb::List { prefix, tree } => list(desk, prefix.as_deref(), tree.as_deref()),
            StateVerb::Check { path, settings, source, subject } => {
                check(desk, source.read(path.as_deref(), settings.as_deref())?, &subject)
            }
            StateVerb::Show { names, tree, settings, source, subject, applied } => {
                show_steps(desk, source.read(tree.as_deref(), settings.as_deref())?, names, &subject, applied)
            }
            StateVerb::Fmt { paths, check } => fmt::run(desk, &paths, check),
            StateVerb::Graph { names, form, tree, source, subject } => {
                graph::run(desk, source.read(tree.as_deref(), None)?, names, form, &subject)
            }
            StateVerb::Doc { function } => doc(desk, function.as_deref()),
        }
    }
}

fn list(desk: &mut Desk<'_>, prefix: Option<&str>, tree: Option<&Path>) -> Ended {
    let compiler = Compiler::new(Folders::find(tree)?.read()?.tree);
    let mut names = compiler.states();
    names.retain(|it| prefix.is_none_or(|prefix| it.starts_with(prefix)));
    let mut table = show::table::Table::new([show::table::Column::new("STATE")]);
    for name in &names {
        table.row([name.as_str().into()]);
    }
    let items = names.iter().map(|it| serde_json::json!({ "name": it })).collect();
    desk.screen.list(show::List { kind: "StateList", table, items, names, footer: None })?;
    Ok(Exit::Done)
}

fn check(desk: &mut Desk<'_>, read: Read, subject: &SubjectArgs) -> Ended {
    let began = std::time::Instant::now();
    let files = read.tree.iter().count();
    let compiler = Compiler::with_options(read.tree, read.options);
    let ((id, grains), labels, answers) = (subject.who()?, subject.labels()?, subject.answers()?);
    let given = subject.id.is_some() || subject.grains.is_some();
    let subjects = [Subject { id: &id, grains: &grains, labels: &labels, answers: &answers }];
    let mut diagnostics = read.problems;
    diagnostics.extend(compiler.check(if given { &subjects } else { &[] }));
    let states = compiler.states().len();
    let took = show::time::took(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let for_whom = if given { format!(" for {id}") } else { String::new() };
    report(desk, &diagnostics, &format!("checked {files} files, {states} states{for_whom} in {took}"))
}

/// Complaints, then a line with their number; errors end with 3.
pub(crate) fn report(desk: &mut Desk<'_>, diagnostics: &[Diagnostic], said: &str) -> Ended {
    let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    let exit = if errors > 0 { Exit::Compile } else { Exit::Done };
    match desk.screen.format {
        Format::Table | Format::Wide => {
            if !diagnostics.is_empty() {
                let text = lang::render_diagnostics(diagnostics, desk.screen.style.diagnostics());
                desk.screen.line(text.trim_end())?;
                desk.screen.line("")?;
            }
            let plural =
                |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            let tone = if errors > 0 { Tone::Bad } else { Tone::Plain };
            let counts = format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"));
            let counts = desk.screen.style.paint(tone, &counts);
            desk.screen.line(&format!("{said}: {counts}"))?;
        }
        Format::Jsonl => diagnostics.iter().try_for_each(|it| desk.screen.line(&json::of(it).to_string()))?,
        Format::Name => diagnostics.iter().try_for_each(|it| desk.screen.line(&it.code))?,
        Format::Json | Format::Yaml => {
            let value = serde_json::json!({ "errors": errors, "warnings": warnings, "items": json::of(&diagnostics) });
            desk.screen.thing("Diagnostics", value, "", "")?;
        }
    }
    Ok(exit)
}

fn show_steps(
    desk: &mut Desk<'_>,
    read: Read,
    names: Vec<String>,
    subject: &SubjectArgs,
    applied: bool,
) -> Ended {
    // As Salt's own commands: `state.show_low_sls` of one, `state.show_lowstate` of all that is assigned.
    let of_salt = read.tree.iter().any(|(_, it)| it.dialect.salt);
    let view = if of_salt && !applied && !names.is_empty() { View::AsWritten } else { View::Applied };
    let compiler = Compiler::with_options(read.tree, read.options);
    let ((id, grains), labels, answers) = (subject.who()?, subject.labels()?, subject.answers()?);
    let wanted = if names.is_empty() { Wanted::Assigned } else { Wanted::Named(names) };
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: &answers };
    let made = compiler.show(subject, &wanted, &Map::new(), view);
    let mut diagnostics = read.problems;
    diagnostics.extend(made.diagnostics);
    let Some(steps) = made.value else {
        return Err(Failure {
            diagnostics,
            ..Failure::new(Exit::Compile, format!("the states do not compile for {id}"))
        });
    };
    if !diagnostics.is_empty() {
        let text = lang::render_diagnostics(&diagnostics, desk.screen.err_style.diagnostics());
        desk.screen.note(text.trim_end())?;
    }
    if !made.questions.is_empty() {
        desk.screen
            .note("these questions have no answer and count as false (`--answers FILE` gives answers):")?;
        made.questions.iter().try_for_each(|it| desk.screen.note(&format!("  {it}")))?;
    }
    match desk.screen.format {
        // Salt's plain array: what reads it today goes on reading it.
        Format::Json => desk.screen.line(&serde_json::to_string_pretty(&steps).unwrap_or_default())?,
        Format::Jsonl => steps.iter().try_for_each(|it| desk.screen.line(&it.to_string()))?,
        Format::Name => {
            let id = |it: &Value| it["__id__"].as_str().unwrap_or_default().to_owned();
            steps.iter().try_for_each(|it| desk.screen.line(&id(it)))?;
        }
        Format::Table | Format::Wide | Format::Yaml => {
            desk.screen.raw(&show::yaml::of(&Value::Array(steps)))?;
        }
    }
    Ok(Exit::Done)
}

fn doc(desk: &mut Desk<'_>, wanted: Option<&str>) -> Ended {
    let all =
        || lang::modules().iter().flat_map(|module| module.functions.iter().map(move |it| (module.name, it)));
    let full = |module: &str, function: &lang::Function| format!("{module}.{}", function.name);
    let Some(wanted) = wanted else {
        let width = all().map(|(module, it)| full(module, it).len()).max().unwrap_or(0);
        for (module, function) in all() {
            let gist = function.doc.text().lines().next().unwrap_or_default();
            desk.screen.line(&format!("{:width$}  {gist}", full(module, function)))?;
        }
        return Ok(Exit::Done);
    };
    let found: Vec<_> =
        all().filter(|(module, it)| *module == wanted || full(module, it) == wanted).collect();
    if found.is_empty() {
        let known: Vec<String> = all().map(|(module, it)| full(module, it)).collect();
        return Err(Failure::not_found(format!("there is no function `{wanted}`"))
            .hint("labctl state doc lists them")
            .maybe_hint(did_you_mean(wanted, known.iter().map(String::as_str))));
    }
    for (index, (module, function)) in found.iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        let text = function_doc(&full(module, function), function, &desk.screen.style);
        desk.screen.raw(&format!("{gap}{text}"))?;
    }
    Ok(Exit::Done)
}

/// One function for people.
pub(crate) fn function_doc(name: &str, function: &lang::Function, style: &show::Style) -> String {
    let mut text = format!("{}\n", style.paint(Tone::Strong, name));
    text += &show::style::prefixed(function.doc.text(), "  ");
    text += "\n  parameters\n";
    let width = function.params.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for param in function.params {
        let kind = param_kind(param.kind);
        let needed =
            if param.required { "required".to_owned() } else { format!("default {}", param.default.text()) };
        let _ = writeln!(text, "    {:width$}  {} ({kind}, {needed})", param.name, param.doc.text());
    }
    for example in function.examples.texts() {
        text += "\n  example\n";
        text += &show::style::prefixed(example, "    ");
    }
    text
}

fn param_kind(kind: lang::ParamType) -> &'static str {
    use lang::ParamType as P;
    match kind {
        P::Text => "text",
        P::Bool => "true or false",
        P::Integer => "whole number",
        P::Mode => "octal mode",
        P::TextList => "list of text",
        P::TextMap => "mapping of text",
        P::Path => "absolute path",
        P::Source => "file in the tree, lab://…",
        P::Duration => "duration",
        P::Places => "file in the tree, URL or path",
        P::Any => "anything",
    }
}

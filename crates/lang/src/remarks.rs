//! Turns what a rendering complained about into diagnostics with places and suggestions.

use crate::{
    compare::lookup,
    helpers,
    rendering::{Remark, RemarkKind},
    say::{At, Say, did_you_mean, error, small},
    templates::{Ready, SourceFile, TOO_LARGE},
};
use handlebars::{RenderError, RenderErrorReason};
use model::{Diagnostic, Span};
use serde_json::Value;

/// All that is wrong with a rendering.
pub(crate) fn explain(
    ready: &Ready,
    data: &Value,
    remarks: &[Remark],
    failure: Option<&RenderError>,
) -> Vec<Diagnostic> {
    let mut told: Vec<Diagnostic> = remarks.iter().map(|it| explain_remark(ready, data, it)).collect();
    if let Some(failure) = failure {
        told.push(explain_failure(ready, data, failure));
    }
    told
}

fn explain_remark(ready: &Ready, data: &Value, remark: &Remark) -> Diagnostic {
    let file = ready.files.get(remark.place.file).unwrap_or(&ready.files[0]);
    let span = |word: &str| span_of(file, remark.place.line, remark.place.column, word);
    let diagnostic = match &remark.kind {
        RemarkKind::Missing(path) => missing(path, data).at(span(path)),
        RemarkKind::NotText(path, kind) => error("E0204", format!("`{path}` is {kind}, not text"))
            .at(span(path))
            .help(format!("write it as data ({{{{json {path}}}}}), or go through it ({{{{#each {path}}}}})")),
        RemarkKind::Helper(name, message) => error("E0210", format!("`{name}` {message}")).at(span(name)),
    };
    if remark.place.file == 0 {
        diagnostic
    } else {
        diagnostic.note(format!("part of {}", ready.files[0].text.path))
    }
}

fn missing(path: &str, data: &Value) -> Diagnostic {
    let diagnostic = error("E0201", format!("variable `{path}` is not set (strict mode)"));
    let known: Vec<&str> = path.trim_start_matches("@root.").split(['.', '/']).collect();
    let mut prefix = 0;
    while prefix < known.len() && lookup(data, known[..=prefix].iter().copied()).is_some() {
        prefix += 1;
    }
    let wrong = known.get(prefix).copied().unwrap_or(path);
    let suggestion = match lookup(data, known[..prefix].iter().copied()) {
        Some(Value::Object(map)) => {
            let helpers: Vec<&str> = if prefix == 0 { helpers::names().collect() } else { Vec::new() };
            did_you_mean(wrong, map.keys().map(String::as_str).chain(helpers))
        }
        _ => None,
    };
    let remedy = match known[0] {
        "pillar" => format!("set it in pillar/, or write {{{{default {path} \"…\"}}}}"),
        _ => format!("where it may be absent, write {{{{default {path} \"…\"}}}}"),
    };
    diagnostic.help(suggestion.map_or(remedy.clone(), |it| format!("{it} (or: {remedy})")))
}

/// The place of a word in the tag that begins at a position.
fn span_of(file: &SourceFile, line: usize, column: usize, word: &str) -> Span {
    let at = file.unmarked(line.max(1), column.max(1));
    let text = file.text.line(at.line);
    let start = text.char_indices().nth(at.column as usize - 1).map_or(0, |(byte, _)| byte);
    if let Some(found) = text[start..].find(word).filter(|_| !word.is_empty()) {
        let column = small(text[..start + found].chars().count() + 1);
        file.text.span(At { line: at.line, column, length: small(word.chars().count()) }, "")
    } else {
        let length = text[start..].find("}}").map_or(2, |end| text[start..start + end + 2].chars().count());
        file.text.span(At { length: small(length), ..at }, "")
    }
}

fn explain_failure(ready: &Ready, data: &Value, failure: &RenderError) -> Diagnostic {
    let name = failure.template_name.as_deref();
    let file = ready.files.iter().find(|it| Some(it.text.path.as_str()) == name).unwrap_or(&ready.files[0]);
    let (line, column) = (failure.line_no.unwrap_or(1), failure.column_no.unwrap_or(1));
    let span = |word: &str| span_of(file, line, column, word);
    match failure.reason() {
        RenderErrorReason::HelperNotFound(name) => error("E0203", format!("unknown helper `{name}`"))
            .at(span(name))
            .maybe_help(did_you_mean(name, helpers::names())),
        RenderErrorReason::MissingVariable(path) => {
            let path = path.as_deref().unwrap_or("");
            missing(path, data).at(span(path))
        }
        RenderErrorReason::IOError(cause) if cause.to_string() == TOO_LARGE => {
            error("E0208", TOO_LARGE).at(span("")).help("look for a loop over more than was meant")
        }
        RenderErrorReason::Other(message) => error("E0208", message.clone()).at(span("")),
        other => {
            let reason = other.to_string();
            let reason = reason.lines().next().unwrap_or("").to_lowercase();
            error("E0202", format!("this template cannot be rendered: {reason}")).at(span(""))
        }
    }
}

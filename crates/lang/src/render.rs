//! Draws diagnostics as rustc does: severity, code, place, the line with a caret, notes and help.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle};
use model::{Diagnostic, Severity, Span};

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Only the 16 ANSI colours.
    Ansi,
    /// No escape sequences.
    Plain,
}

/// All of them, one after the other, separated by blank lines.
pub fn render_diagnostics(diagnostics: &[Diagnostic], paint: Paint) -> String {
    let renderer = match paint {
        Paint::Ansi => Renderer::styled(),
        Paint::Plain => Renderer::plain(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let drawn: Vec<String> = diagnostics.iter().map(|it| renderer.render(&[group(it)])).collect();
    drawn.join("\n\n")
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(visible(&diagnostic.message)).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    for (index, span) in diagnostic.spans.iter().enumerate() {
        group = if span.text.is_empty() {
            let origin = Origin::path(visible(&span.file)).line(span.line as usize);
            group.element(origin.char_column(span.column as usize))
        } else {
            group.element(snippet(span, index == 0))
        };
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(visible(note)));
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(visible(help))),
        None => group,
    }
}

/// Control characters from people's files must not reach a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|it| if it.is_control() && it != '\n' { '\u{fffd}' } else { it }).collect()
}

fn snippet(span: &Span, primary: bool) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let text = visible(&span.text);
    let byte = |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |it| it.0);
    let start = span.column.saturating_sub(1) as usize;
    let range = byte(start)..byte(start + span.length.max(1) as usize);
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let mut annotation = kind.span(range);
    if !span.label.is_empty() {
        annotation = annotation.label(visible(&span.label));
    }
    Snippet::source(text).line_start(span.line as usize).path(visible(&span.file)).annotation(annotation)
}

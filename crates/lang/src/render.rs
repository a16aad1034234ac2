//! Draws diagnostics as rustc does: severity, code, place, the line with a caret, notes and help.

use model::Diagnostic;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Only the 16 ANSI colours.
    Ansi,
    /// No escape sequences.
    Plain,
}

/// All of them, one after the other, separated by blank lines.
pub fn render_diagnostics(_diagnostics: &[Diagnostic], _paint: Paint) -> String {
    todo!()
}

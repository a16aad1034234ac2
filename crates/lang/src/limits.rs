//! Every bound of the language in one place: what is beyond one of them is a diagnostic, never a hang or a crash.

/// Longest YAML or template text.
pub(crate) const TEXT_BYTES: usize = 1024 * 1024;
/// Nested lists and mappings.
pub(crate) const YAML_DEPTH: usize = 64;
/// Nodes in one document, those that aliases repeat included.
pub(crate) const YAML_NODES: usize = 200_000;
/// Aliases in one document.
pub(crate) const YAML_ALIASES: usize = 1_000;
/// What one template may give.
pub(crate) const RENDERED_BYTES: usize = 4 * 1024 * 1024;
/// What all templates of one recipe may give.
pub(crate) const RENDERED_BYTES_IN_ALL: usize = 64 * 1024 * 1024;
/// Blocks, `else` branches, parentheses and partials inside one another.
pub(crate) const TEMPLATE_DEPTH: usize = 64;
/// Tags times bytes of a template: its compiler counts lines from the start for each tag.
pub(crate) const TEMPLATE_WORK: usize = 1 << 30;
/// Loop turns and partials that one rendering may take.
pub(crate) const TEMPLATE_TURNS: u32 = 200_000;
/// Steps that one Jinja rendering may take: a node of its tree, an element of a list, some bytes of text.
pub(crate) const JINJA_STEPS: usize = 2_000_000;
/// Steps of all Jinja renderings of one compile.
pub(crate) const JINJA_STEPS_IN_ALL: usize = 20_000_000;
/// Calls, nested tags and nested values inside one another, while a Jinja template runs.
pub(crate) const JINJA_DEPTH: usize = 200;
/// How often one Jinja template may stand inside itself.
pub(crate) const JINJA_SAME_TEMPLATE: usize = 8;
/// Words in the tags of one Jinja template.
pub(crate) const JINJA_TOKENS: usize = 200_000;
/// Questions that one compile may have for its minion.
pub(crate) const QUESTIONS: usize = 200;
/// State or pillar files that one compile may read.
pub(crate) const FILES: usize = 512;
/// Steps of a recipe.
pub(crate) const STEPS: usize = 5_000;
/// Requisite links of a recipe.
pub(crate) const LINKS: usize = 100_000;
/// Files below one `file.recurse`.
pub(crate) const RECURSE_FILES: usize = 5_000;
/// Contents up to this size travel inside the recipe.
pub(crate) const INLINE_BYTES: u64 = 48 * 1024;
/// Complaints that are worth reading.
pub(crate) const DIAGNOSTICS: usize = 200;
/// Longest target or condition.
pub(crate) const EXPRESSION_BYTES: usize = 4 * 1024;
/// Parentheses and `not` inside one another.
pub(crate) const EXPRESSION_DEPTH: usize = 64;
/// Compiled size of one regular expression.
pub(crate) const REGEX_BYTES: usize = 256 * 1024;
/// Shortest secret that is masked by its text.
pub(crate) const SECRET_CHARS: usize = 4;
/// Longest line that a diagnostic quotes.
pub(crate) const QUOTED_CHARS: usize = 400;
/// Rules of a tree.
pub(crate) const RULES: usize = 1_000;
/// Ids in one templated target.
pub(crate) const LITERAL_IDS: usize = 1_000;

//! What is to be known of a question before a minion is asked.

use model::Question;

/// Whether the answer comes from running a command, which the operator must have allowed.
pub fn runs_a_command(question: &Question) -> bool {
    resources::questions::askable(&question.fun).is_some_and(|it| it.command)
}

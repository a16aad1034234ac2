//! What a minion does by itself, compiled from its pillar and sealed to its key.

use super::{Done, answers_of, complaint, further, subject};
use crate::core::{Asked, Asker, Conducted, Input, ROUNDS_MAX};
use crate::sources::Generation;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::SealKey;
use bus::message::ToMinion;
use model::{Conduct, ContentHash, Diagnostic, Minion, MinionId, SecretBytes};
use std::collections::BTreeMap;

/// Works it out; what the minion `has` is not sealed again.
pub(super) fn work_out(
    minion: MinionId,
    asked: Asked,
    known: Option<&(Minion, Option<SealKey>)>,
    has: Option<ContentHash>,
    generation: Option<&Generation>,
) -> Done {
    let result = match compiled(known, &asked, generation) {
        Ok(Wanted::Asks(questions)) if asked.rounds < ROUNDS_MAX => {
            return further(Asker::Conduct(minion.clone()), BTreeMap::from([(minion, questions)]), asked);
        }
        Ok(Wanted::Asks(questions)) => {
            let first = questions.first().map(ToString::to_string).unwrap_or_default();
            Err(vec![complaint(format!("what templates of pillar ask it has no answer: {first}"))])
        }
        Ok(Wanted::Conduct(conduct, seal)) => Ok(sealed(&minion, &conduct, &seal, has)),
        Err(diagnostics) => Err(diagnostics),
    };
    Done { input: Input::Conducted { minion, result }, sealed: None }
}

enum Wanted {
    Conduct(Conduct, SealKey),
    Asks(Vec<model::Question>),
}

fn compiled(
    known: Option<&(Minion, Option<SealKey>)>,
    asked: &Asked,
    generation: Option<&Generation>,
) -> Result<Wanted, Vec<Diagnostic>> {
    let (Some((minion, Some(seal))), Some(generation)) = (known, generation) else {
        return Err(vec![complaint("the minion has no key to seal to, or there are no trees".to_owned())]);
    };
    let compiled = generation.compiler.conduct(subject(minion, answers_of(asked, &minion.id)));
    if !compiled.questions.is_empty() {
        return Ok(Wanted::Asks(compiled.questions));
    }
    Ok(Wanted::Conduct(compiled.value.ok_or(compiled.diagnostics)?, *seal))
}

fn sealed(minion: &MinionId, conduct: &Conduct, seal: &SealKey, has: Option<ContentHash>) -> Conducted {
    let plain = SecretBytes::from(serde_json::to_vec(conduct).expect("a conduct has text keys only"));
    let hash = bus::seed::sha256(&plain);
    let wanted = (!conduct.is_empty()).then_some(hash);
    if wanted == has {
        return Conducted { hash: wanted, message: None };
    }
    let sealed = bus::seal::seal(&plain, seal, &bus::seal::conduct_context(minion));
    let sealed = URL_SAFE_NO_PAD.encode(sealed);
    Conducted { hash: wanted, message: Some(Box::new(ToMinion::Conduct { hash, sealed })) }
}

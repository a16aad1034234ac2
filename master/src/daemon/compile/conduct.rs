//! What a minion does by itself, compiled from its pillar and sealed to its key.

use super::{Done, answers_of, complaint, further, subject};
use crate::core::{Asked, Asker, Conducted, Input, Master, ROUNDS_MAX};
use crate::sources::Generation;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::SealKey;
use bus::message::ToMinion;
use model::conduct::CONDUCT_BYTES_MAX;
use model::{Conduct, ContentHash, Diagnostic, Masked, Minion, MinionId, Recipe, ScheduleOrder, SecretBytes};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What counts beside the pillar.
pub(super) struct Known {
    /// What the minion has is not sealed again.
    pub(super) has: Option<ContentHash>,
    /// It is left alone for a while.
    pub(super) maintained: bool,
}

/// Works it out.
pub(super) fn work_out(
    minion: MinionId,
    asked: Asked,
    subject: Option<&(Minion, Option<SealKey>)>,
    known: &Known,
    generation: Option<&Generation>,
) -> Done {
    let result = match compiled(subject, &asked, known.maintained, generation) {
        Ok(Wanted::Asks(questions)) if asked.rounds < ROUNDS_MAX => {
            return further(Asker::Conduct(minion.clone()), BTreeMap::from([(minion, questions)]), asked);
        }
        Ok(Wanted::Asks(questions)) => {
            let first = questions.first().map(ToString::to_string).unwrap_or_default();
            Err(vec![complaint(format!("what templates of pillar ask it has no answer: {first}"))])
        }
        Ok(Wanted::Conduct(conduct, seal)) => Ok(sealed(&minion, &conduct, &seal, known.has)),
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
    maintained: bool,
    generation: Option<&Generation>,
) -> Result<Wanted, Vec<Diagnostic>> {
    let (Some((minion, Some(seal))), Some(generation)) = (known, generation) else {
        return Err(vec![complaint("the minion has no key to seal to, or there are no trees".to_owned())]);
    };
    let subject = subject(minion, answers_of(asked, &minion.id));
    let compiled = generation.compiler.conduct(subject);
    if !compiled.questions.is_empty() {
        return Ok(Wanted::Asks(compiled.questions));
    }
    let mut conduct = compiled.value.ok_or(compiled.diagnostics)?;
    if maintained {
        conduct.schedule.clear();
    }
    let mut questions = Vec::new();
    for order in &mut conduct.schedule {
        let states = super::wanted(&order.states);
        let compiled = generation.compiler.compile_in(None, subject, &states, &Map::new());
        questions.extend(compiled.questions);
        match compiled.value.map(|it| kept_recipe(&it)) {
            Some(Ok(recipe)) => order.recipe = Some(recipe),
            Some(Err(why)) => order.why = why,
            None => {
                let first = compiled.diagnostics.first();
                order.why = first.map_or_else(|| "does not compile".to_owned(), |it| it.message.clone());
            }
        }
    }
    if !questions.is_empty() && asked.rounds < ROUNDS_MAX {
        return Ok(Wanted::Asks(questions));
    }
    make_fit(&mut conduct);
    Ok(Wanted::Conduct(conduct, *seal))
}

/// A recipe that needs nothing but itself, for it is run while the master is away.
fn kept_recipe(recipe: &Recipe) -> Result<Masked<Value>, String> {
    Master::recipe_limits(recipe)?;
    if recipe.files.values().any(|it| it.inline.is_none()) {
        return Err("it needs contents of more than 48 KiB, which cannot be kept on the minion".to_owned());
    }
    serde_json::to_value(recipe).map(Masked).map_err(|error| error.to_string())
}

/// Leaves out the largest recipes until all fits into one message.
fn make_fit(conduct: &mut Conduct) {
    let bytes = |it: &Conduct| serde_json::to_vec(it).map_or(usize::MAX, |it| it.len());
    let size = |it: &ScheduleOrder| it.recipe.as_ref().map_or(0, |it| it.0.to_string().len());
    for _ in 0..conduct.schedule.len() {
        if bytes(conduct) <= CONDUCT_BYTES_MAX {
            return;
        }
        if let Some(largest) = conduct.schedule.iter_mut().max_by_key(|it| size(it)) {
            let had = size(largest);
            largest.recipe = None;
            largest.why = format!("its recipe of {had} bytes is too large to be kept on the minion");
        }
    }
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

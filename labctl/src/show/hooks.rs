//! Hooks as a list.

use super::{
    List, Style, Tone, json,
    table::{Cell, Column, Table},
    time,
};
use model::api::HookView;

/// All hooks of a master.
pub(crate) fn list(hooks: &[HookView], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("HOOK"),
        Column::new("RECIPE"),
        Column::new("SECRET"),
        Column::new("FROM").free(),
        Column::new("RATE").right(),
        Column::new("TAKEN").right(),
        Column::new("LAST"),
        Column::new("AGAIN").right().wide(),
        Column::new("MAX").right().wide(),
    ]);
    for hook in hooks {
        let tone = if hook.secret == "none yet" { Tone::Bad } else { Tone::Plain };
        let from = if hook.cidr.is_empty() { "anywhere".to_owned() } else { hook.cidr.join(" ") };
        let last = hook.seen_at.map_or_else(|| "-".to_owned(), |it| time::ago(it, style.now, style.time));
        table.row([
            Cell::of(Tone::Strong, hook.name.as_str()),
            hook.recipe.as_str().into(),
            Cell::of(tone, hook.secret.as_str()),
            from.into(),
            hook.rate.as_str().into(),
            hook.taken.to_string().into(),
            last.into(),
            hook.again.to_string().into(),
            hook.max.to_string().into(),
        ]);
    }
    let missing = hooks.iter().any(|it| it.secret == "none yet");
    List {
        kind: "HookList",
        table,
        items: hooks.iter().map(json::of).collect(),
        names: hooks.iter().map(|it| it.name.clone()).collect(),
        footer: missing.then(|| "nobody gets in without a secret: labctl hook secret NAME".to_owned()),
    }
}

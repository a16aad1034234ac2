//! What each code of a complaint means and what to do about it: for `labctl explain`, and for the reference.

/// Every code, in order.
const CODES: &[(&str, &str)] = &[
    (
        "E0101",
        "this is not YAML, or not of the kind that is meant here. The caret shows where reading stopped; the mistake is often on the line before: a missing colon, a tab, a value that starts with `{` and needs quotes.",
    ),
    ("E0102", "no such function. Functions are `module.function`; `labctl state doc` lists them."),
    (
        "E0103",
        "a key stands twice in one mapping. Salt takes the last one silently; here it is an error, as one of them would be lost.",
    ),
    (
        "E0104",
        "a limit is reached: of size, depth, aliases, includes or complaints. The message names it. Split what is large.",
    ),
    ("E0105", "a state file has another shape than id -> function -> arguments."),
    (
        "E0106",
        "the function has no such parameter. `labctl state doc FUNCTION` lists them; requisites and `unless`, `onlyif`, `retry` and the like may stand at every function.",
    ),
    ("E0107", "a parameter has the wrong type. `labctl state doc FUNCTION` says what is wanted."),
    ("E0108", "a parameter is missing that the function cannot do without."),
    ("E0109", "the parameters do not fit together, or one has a value that the function cannot use."),
    ("E0110", "two files that are used together have a block of the same id. Rename one."),
    ("E0111", "`include` takes a list of state names."),
    ("E0112", "`extend` takes a mapping of ids that exist in what is included."),
    (
        "E0113",
        "a requisite stands where it has no effect, such as at the level of the id. It belongs among the arguments of a function.",
    ),
    ("E0114", "a requisite names a block that does not exist in this run."),
    ("E0115", "requisites go in a circle: no order satisfies them. The message shows the circle."),
    (
        "E0116",
        "a requisite is written in a form that is not known. It is a list of `module: name`, of ids, or of `sls: name`.",
    ),
    (
        "E0117",
        "a source is not in the tree, or leads out of it. `lab://web/a.conf` is the file states/web/a.conf.",
    ),
    (
        "E0118",
        "no such state. `labctl state list` shows what there is; `a.b` is states/a/b.sls or states/a/b/init.sls.",
    ),
    (
        "E0119",
        "an unknown or unavailable template engine. Write `#!handlebars|yaml`, `#!jinja|yaml` or `#!yaml` in the first line, or nothing.",
    ),
    ("E0121", "`exclude` takes a list of `sls: name` and `id: name`."),
    (
        "E0122",
        "`unless` or `onlyif` calls a function that cannot be asked, or in a way that it does not understand. The message lists those that can; a command does the same as any other.",
    ),
    (
        "E0201",
        "a template uses a variable that is not set. Templates are strict, so that a typing error is no empty text. Set it in pillar/, or write `{{default pillar.web.port 80}}`.",
    ),
    ("E0202", "this template cannot be read: a tag is not closed, or a block not ended."),
    (
        "E0203",
        "no such helper, filter, test or function in templates, or one that is refused there. `docs/reference/jinja.md` lists what Jinja has here.",
    ),
    (
        "E0204",
        "a list or a mapping stands where text is wanted. Name a member, or loop over it with `{{#each}}`.",
    ),
    (
        "E0205",
        "no such partial or template. `{{> web/part}}` is the file states/web/part.hbs; `{% import 'web/map.jinja' as x %}` is states/web/map.jinja.",
    ),
    ("E0206", "partials or templates include each other without end."),
    (
        "E0207",
        "something in the template is not allowed or cannot be known, such as Jinja in a Handlebars file.",
    ),
    (
        "E0208",
        "a template gives too much text or takes too many steps. Look for a loop over more than was meant, or a macro that calls itself.",
    ),
    ("E0209", "a template goes too deep."),
    ("E0210", "a helper, filter or calculation was given something it cannot work with."),
    (
        "E0211",
        "a form of Handlebars that is not available here: partials with computed names, inline partials, partial blocks.",
    ),
    ("E0212", "a template ended the compile itself, with `raise`."),
    ("E0301", "a target expression cannot be read. `labctl help targeting` shows the grammar."),
    (
        "E0302",
        "no minion has a grain or label of this name. It is taken for a typing error rather than for an empty match.",
    ),
    ("E0303", "a regular expression or a glob in a target is malformed."),
    ("E0304", "a comparison in a target makes no sense."),
    ("E0305", "no network in a target: write `ip:10.0.0.0/24`."),
    ("E0306", "a `match:` in top.sls that is not known."),
    ("E0401", "top.sls is missing or has another shape than base -> target -> list of names."),
    ("E0402", "top.sls names a state or pillar that does not exist."),
    ("E0403", "a pillar file is no mapping."),
    ("E0404", "there is no such environment. Environments are set in master.yaml, under `environments:`."),
    (
        "E0405",
        "a secret is assigned by a grain or an address, which a machine merely asserts. Assign secrets by id or by labels, which are kept on the master.",
    ),
    (
        "E0406",
        "pillar's `beacons` has another shape than name -> settings (or a list of settings), or names a beacon that there is not. docs/reference/beacons.md lists them.",
    ),
    (
        "E0407",
        "a beacon has no such setting, or the setting has the wrong type or a value that cannot be used.",
    ),
    (
        "E0408",
        "pillar's `schedule` has another shape than name -> when and what. docs/how-to/schedules.md shows it.",
    ),
    ("E0501", "a rule has another shape than name -> on, when, do."),
    ("E0502", "a rule has a key that is not known."),
    ("E0503", "a rule has a value that is not known there."),
    ("E0504", "`on:` takes an MQTT filter over event tags, such as `minion/+/start`."),
    ("E0505", "a condition cannot be read."),
    (
        "E0506",
        "a condition names something that rules cannot see: there is `event.…`, `grains.…`, `labels.…`, `minion`, `tag`, `source`.",
    ),
    (
        "E0507",
        "two rules have one name. Names are what throttling, counting and `labctl rule history` go by.",
    ),
    (
        "E0508",
        "a clause of a rule has a value that it does not understand, or does not go with another one. docs/reference/rules.md lists them all.",
    ),
    (
        "E0509",
        "a schedule cannot be read. It has one of `cron`, `every` and `at`, and possibly `zone`, `jitter` and `missed`.",
    ),
    ("E0601", "a file of the tree cannot be read."),
    (
        "E0602",
        "a recipe cannot be made for this minion although its states compile: it is too large, or its key is unknown.",
    ),
    (
        "E0603",
        "a template asks the minion something that it cannot or may not answer. Commands need `probe_commands: true` in master.yaml.",
    ),
    ("E0701", "a configuration file or variable has a key that is not known, or a value that is wrong."),
    ("E0702", "a value of the configuration or of a variable is not of the kind that its key takes."),
    ("E0703", "the configuration contradicts itself."),
    (
        "E0801",
        "a tree of Salt brings programs for Salt itself, which are not run here. The help says what to do instead.",
    ),
    (
        "E0802",
        "a template of a Salt tree calls a function that is not known here. Put its answer into a grain (a program in grains.d/ that prints JSON) or into the pillar.",
    ),
    ("E0803", "a setting of a Salt master has no place here. The help says what to do instead."),
    (
        "E0804",
        "a reaction of Salt's reactor map cannot be understood, or asks for something that there is not. docs/how-to/from-salt.md lists what there is.",
    ),
    ("W0005", "a state is in no top.sls and no file includes it. Assign it, or apply it by name."),
    (
        "W0006",
        "a folder of the tree holds Python that Salt would load (`_states`, `_modules`, `_grains`, ...). Nothing runs it here; the help names what does the same.",
    ),
    ("W0102", "an argument is understood and has no effect here."),
    (
        "W0103",
        "Salt takes this for something else than it looks like: the last of two arguments of one name, the id in the place of a name that is no text or of names that are none. The tree is read as Salt reads it.",
    ),
    (
        "W0106",
        "the function has no such parameter. In a tree of Salt the step does without it; in a native tree, and where a rule of a firewall would be without it, this is an error.",
    ),
    (
        "W0107",
        "a value is of a type that the parameter cannot be. In a tree of Salt the step does without it; in a native tree, and where a rule of a firewall would be without it, this is an error.",
    ),
    (
        "W0113",
        "a requisite stands at the level of the id, where it has no effect: Salt up to 3007 ignored it there, later ones refuse the file. Move it below the function.",
    ),
    (
        "W0114",
        "a requisite names a block that does not exist in this run, in a place where Salt goes on without it.",
    ),
    (
        "W0115",
        "In a tree of Salt, `labctl state show NAME` shows each file's states as Salt's `state.show_low_sls` does: `extend`, \
         `exclude`, `use` and the `_in` forms stand where they are written and are not applied. With `--applied`, or without \
         a name, they are.",
    ),
    ("W0121", "`exclude` names an id that no file has."),
    (
        "W0401",
        "a part of a top file is for an environment that does not exist. Environments are set in master.yaml.",
    ),
    ("W0402", "a `match:` that never matches here."),
    (
        "W0510",
        "a rule needs a right that its role does not give on any machine: what it wants would be refused when it acts. roles.yaml says which role a rule has; docs/how-to/who-may-do-what.md.",
    ),
    ("W0603", "a template asked the minion something that has no answer: it counted as false or empty."),
];

/// What a code means; `None` for one that does not exist.
pub fn explain(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(it, _)| *it == code).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    fn codes_in(folder: &Path, codes: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                codes_in(&path, codes);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("codes.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let is_code = |it: &&str| {
                    it.len() == 5
                        && it.starts_with(['E', 'W'])
                        && it[1..].bytes().all(|it| it.is_ascii_digit())
                };
                codes.extend(text.split('"').filter(is_code).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_code_that_is_used_is_explained_and_the_other_way_round() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut used = BTreeSet::new();
        codes_in(&root.join("src"), &mut used);
        codes_in(&root.join("../../master/src"), &mut used);
        let explained: BTreeSet<String> = CODES.iter().map(|(it, _)| (*it).to_owned()).collect();
        assert_eq!(used, explained);
        assert!(CODES.is_sorted());
    }
}

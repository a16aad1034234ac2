//! The published list of attacks, made from the tables: `UPDATE=1` (or `./dev docs`) writes it anew.

use crate::{
    GROUPS,
    attack::{Attack, Defence, Group},
};
use std::{collections::BTreeSet, fmt::Write, fs};
use tests::project;

const HEAD: &str = "\
# Security tests

Made from the tables in `tests/attacks` by `./dev docs`.

Each attack is made over loopback against the real programs, in the group's test of `tests/attacks/main.rs`:
`fails::GROUP` against the programs as they are, `succeeds_without_its_defence::GROUP` against the same programs without the defence that is named (`LABCTL_BROKEN`, [decision 13](decisions/0013-tests-may-leave-a-defence-out.md)).
An attack that does not succeed without its defence proves nothing, and fails the test.
Where nothing can be left out, the reason stands there; such an attack is tried all the same, and is not counted.

After each attack a healthy minion must answer within a second, no log may hold a panic or a secret, and the master's memory and descriptors must be back where they were.
After each group the chain of audit lines must be whole, and the secrets that were in use must be found in no state directory, no command line and no environment of any process, nowhere in the temporary folder, and not in the recorded traffic of the healthy minion.

To run one: `LABCTL_ATTACKS=T05 cargo test --workspace --test attacks`.
";

/// Attacks that other tests make, in front of the same programs or the same code.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "a slow observer keeps the others waiting (rumqttd 2)",
        "`master/tests/gate`: `a_slow_observer_is_given_up_and_harms_no_other`",
    ),
    (
        "a thousand retained topics are lost, half told or forgotten (rumqttd 5)",
        "`master/tests/gate`: `a_thousand_retained_topics_arrive_whole_at_either_qos_and_again`",
    ),
    (
        "messages that were acknowledged are lost with their receiver (rumqttd 6)",
        "`tests/e2e`: `results_wait_on_the_minion_while_the_master_is_away`",
    ),
    (
        "the fan-out panics, hangs or is killed (rumqttd 2, 10)",
        "`master/tests/gate`: `the_fan_out_is_started_again_and_its_child_never_outlives_its_parent`",
    ),
    (
        "descriptors run out while accepting (rumqttd 1)",
        "`master/tests/gate`: `when_descriptors_run_out_accepting_pauses_and_recovers`",
    ),
    (
        "a master with another key takes the place of the old one",
        "`tests/e2e`: `a_master_with_another_key_is_refused`",
    ),
    (
        "a minion that is stopped keeps a target waiting",
        "`tests/e2e`: `a_stopped_minion_keeps_nobody_waiting_and_is_lost_by_its_heartbeats`",
    ),
    (
        "what pillar gave is found on a disk",
        "`tests/e2e`: `a_large_recipe_arrives_sealed_and_what_pillar_gave_lies_nowhere_in_clear`",
    ),
    (
        "a push with submodules, names with `..`, links that lead out, hooks and filters, too much of anything",
        "`master/src/sources/pushed/tests.rs`: `nothing_of_a_push_is_run_and_nothing_of_it_leads_out`, `trees_that_git_would_not_make_write_nothing_outside_of_their_folder`",
    ),
    (
        "a hook's delivery in sixteen other wrong ways",
        "`master/src/web/tests/hooks.rs`: `a_stranger_gets_nowhere_and_learns_not_even_which_hooks_there_are`",
    ),
    (
        "a rule whose calls go to a host, or have a header, that an event brings",
        "`crates/lang/tests/actions.rs`: `what_an_event_brings_stays_what_it_is`, `every_mistake_has_a_sentence_and_a_place`",
    ),
    (
        "what a minion should do by itself: of another hash, too large, no base64, said again",
        "`minion/tests/process`: `what_another_master_says_or_is_for_another_minion_or_comes_again_is_not_done`",
    ),
    (
        "a notice is delivered twice, or a secret of `notify.yaml` is found in a log, view or store",
        "`tests/e2e`: `a_notice_is_delivered_once_although_the_service_fails_twice_and_the_master_is_killed`",
    ),
    (
        "bytes that nobody would send",
        "`crates/bus/tests/fuzz.rs`, `master/tests/gate/fuzz.rs`, `crates/lang/tests/fuzz.rs`",
    ),
];

fn counted(group: &Group) -> usize {
    group.attacks.iter().filter(|it| matches!(it.defence, Defence::Without(_))).count()
}

fn line(attack: &Attack) -> String {
    let defence = match attack.defence {
        Defence::Without(name) => format!("`{name}`"),
        Defence::Built(reason) => format!("no variant: {reason}"),
    };
    let cells = [attack.id, attack.does, attack.expected, attack.line, &defence];
    let cells: Vec<String> = cells.iter().map(|it| it.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let all: usize = GROUPS.iter().map(|it| it.attacks.len()).sum();
    let good: usize = GROUPS.iter().map(|it| counted(it)).sum();
    let defences: BTreeSet<&str> = GROUPS
        .iter()
        .flat_map(|it| it.attacks)
        .filter_map(|it| match it.defence {
            Defence::Without(name) => Some(name),
            Defence::Built(_) => None,
        })
        .collect();
    let _ = write!(
        page,
        "\n{all} attacks; {good} of them succeed when one of {} defences is left out, and are counted.\n",
        defences.len()
    );
    for group in GROUPS {
        let _ = write!(
            page,
            "\n## {}\n\nTests: `fails::{1}`, `succeeds_without_its_defence::{1}`.\n\n",
            group.name, group.test
        );
        page.push_str("| | what the attacker does | what comes of it | the line that promises so | defence left out |\n|---|---|---|---|---|\n");
        group.attacks.iter().for_each(|it| page.push_str(&line(it)));
    }
    page.push_str("\n## Tried elsewhere\n\nNot counted here.\n\n| what | test |\n|---|---|\n");
    for (what, test) in ELSEWHERE {
        let _ = writeln!(page, "| {what} | {test} |");
    }
    page
}

#[test]
fn the_list_of_attacks_is_fresh() {
    let file = project().join("docs/security-tests.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, page()).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == page(),
        "docs/security-tests.md is stale: ./dev docs"
    );
}

#[test]
fn every_attack_has_a_number_of_its_own_and_every_group_a_test() {
    let main = fs::read_to_string(project().join("tests/attacks/main.rs")).unwrap();
    for group in GROUPS {
        assert!(main.contains(&format!("{}: crate::", group.test)), "{}", group.test);
        for (index, attack) in (1..).zip(group.attacks) {
            assert_eq!(attack.id, format!("{}{index:02}", group.letter));
        }
    }
}

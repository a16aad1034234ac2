//! Attacks on the real programs, over loopback: each fails and leaves no harm, and each succeeds where its defence is
//! left out. The list is `docs/security-tests.md`, made from the tables here.

mod arena;
mod attack;
mod capture;
mod content;
mod decoy;
mod enrolment;
mod generated;
mod harm;
mod identity;
mod mqtt;
mod reactor;
mod replay;
mod service;
mod transport;
mod web;

use attack::{Group, all_fail, all_succeed_without_their_defence};

/// The whole list.
const GROUPS: [&Group; 7] = [
    &transport::GROUP,
    &identity::GROUP,
    &replay::GROUP,
    &enrolment::GROUP,
    &web::GROUP,
    &content::GROUP,
    &reactor::GROUP,
];

macro_rules! groups {
    ($($name:ident: $group:expr;)*) => {
        mod fails {
            $(#[test]
            fn $name() {
                crate::all_fail(&$group);
            })*
        }
        mod succeeds_without_its_defence {
            $(#[test]
            fn $name() {
                crate::all_succeed_without_their_defence(&$group);
            })*
        }
    };
}

groups! {
    transport_and_denial_of_service: crate::transport::GROUP;
    identity_and_topics: crate::identity::GROUP;
    replay_time_downgrade: crate::replay::GROUP;
    enrolment: crate::enrolment::GROUP;
    operators_api_and_web: crate::web::GROUP;
    files_templates_secrets: crate::content::GROUP;
    hooks_rules_and_pushes: crate::reactor::GROUP;
}

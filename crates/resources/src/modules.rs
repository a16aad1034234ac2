//! The list of state modules. A new one is a file in the folder and its name in both lists.

mod cmd;
mod cron;
mod docker;
mod docker_compose;
mod docker_container;
mod docker_image;
mod docker_network;
mod docker_volume;
mod download;
mod file;
mod git;
mod group;
mod pkg;
mod service;
mod sysctl;
mod systemd;
mod test;
mod undo;
mod user;

use crate::Module;

pub(crate) const ALL: &[&Module] = &[
    &cmd::MODULE,
    &cron::MODULE,
    &docker_compose::MODULE,
    &docker_container::MODULE,
    &docker_image::MODULE,
    &docker_network::MODULE,
    &docker_volume::MODULE,
    &file::MODULE,
    &git::MODULE,
    &group::MODULE,
    &pkg::MODULE,
    &service::MODULE,
    &sysctl::MODULE,
    &systemd::MODULE,
    &test::MODULE,
    &user::MODULE,
];

/// What only the master puts into recipes: no part of the language.
pub(crate) const INTERNAL: &[&Module] = &[&undo::MODULE];

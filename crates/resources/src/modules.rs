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
mod host;
mod hostname;
mod kmod;
mod locale;
mod mount;
mod network;
mod pkg;
mod service;
mod sysctl;
mod systemd;
mod test;
mod timezone;
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
    &host::MODULE,
    &hostname::MODULE,
    &kmod::MODULE,
    &locale::MODULE,
    &mount::MODULE,
    &network::MODULE,
    &pkg::MODULE,
    &service::MODULE,
    &sysctl::MODULE,
    &systemd::MODULE,
    &test::MODULE,
    &timezone::MODULE,
    &user::MODULE,
];

/// What only the master puts into recipes: no part of the language.
pub(crate) const INTERNAL: &[&Module] = &[&undo::MODULE];

//! The list of state modules. A new one is a file in the folder and its name in both lists.

mod acl;
mod alternatives;
mod archive;
mod at;
mod base64;
mod beacon;
mod blockdev;
mod cmd;
mod cron;
mod disk;
mod docker;
mod docker_compose;
mod docker_container;
mod docker_image;
mod docker_network;
mod docker_volume;
mod download;
mod environ;
mod event;
mod file;
mod git;
mod grains;
mod group;
mod home_file;
mod host;
mod hostname;
mod iptables;
mod kmod;
mod locale;
mod module;
mod mount;
mod mysql;
mod mysql_database;
mod mysql_grants;
mod mysql_query;
mod mysql_user;
mod network;
mod nftables;
mod npm;
mod pip;
mod pkg;
mod pkgrepo;
mod postgres;
mod postgres_database;
mod postgres_extension;
mod postgres_group;
mod postgres_privileges;
mod postgres_schema;
mod postgres_user;
mod quota;
mod service;
mod ssh_auth;
mod ssh_known_hosts;
mod sysctl;
mod system;
mod systemd;
mod test;
mod timezone;
mod unattended_upgrades;
mod undo;
mod user;
mod virtualenv;
mod wireguard;

pub(crate) use mount::mount_points;

use crate::Module;

pub(crate) const ALL: &[&Module] = &[
    &acl::MODULE,
    &alternatives::MODULE,
    &archive::MODULE,
    &at::MODULE,
    &beacon::MODULE,
    &blockdev::MODULE,
    &cmd::MODULE,
    &cron::MODULE,
    &disk::MODULE,
    &docker_compose::MODULE,
    &docker_container::MODULE,
    &docker_image::MODULE,
    &docker_network::MODULE,
    &docker_volume::MODULE,
    &environ::MODULE,
    &event::MODULE,
    &file::MODULE,
    &git::MODULE,
    &grains::MODULE,
    &group::MODULE,
    &host::MODULE,
    &hostname::MODULE,
    &iptables::MODULE,
    &kmod::MODULE,
    &locale::MODULE,
    &module::MODULE,
    &mount::MODULE,
    &mysql_database::MODULE,
    &mysql_grants::MODULE,
    &mysql_query::MODULE,
    &mysql_user::MODULE,
    &network::MODULE,
    &nftables::MODULE,
    &npm::MODULE,
    &pip::MODULE,
    &pkg::MODULE,
    &pkgrepo::MODULE,
    &postgres_database::MODULE,
    &postgres_extension::MODULE,
    &postgres_group::MODULE,
    &postgres_privileges::MODULE,
    &postgres_schema::MODULE,
    &postgres_user::MODULE,
    &quota::MODULE,
    &service::MODULE,
    &ssh_auth::MODULE,
    &ssh_known_hosts::MODULE,
    &sysctl::MODULE,
    &system::MODULE,
    &systemd::MODULE,
    &test::MODULE,
    &timezone::MODULE,
    &unattended_upgrades::MODULE,
    &user::MODULE,
    &virtualenv::MODULE,
    &wireguard::MODULE,
];

/// What only the master puts into recipes: no part of the language.
pub(crate) const INTERNAL: &[&Module] = &[&undo::MODULE];

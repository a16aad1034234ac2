//! The master: decides what every minion should be, and remembers what became of it.

pub mod backup;
pub mod config;
pub mod core;
pub mod daemon;
pub mod fanout;
pub mod gate;
pub mod hooks;
pub mod init;
mod limits;
mod notify;
pub mod roles;
pub mod rotation;
pub mod sources;
pub mod store;
pub mod web;
mod written;

//! The minion: becomes what the master says, and says what became of it.

pub mod beacons;
pub mod cli;
pub mod config;
pub mod core;
pub mod daemon;
pub mod enroll;
mod follow;
pub mod grains;
pub mod home;
pub mod identity;
pub mod journal;
pub mod limit;
pub mod link;
pub mod linux;
pub mod log;
pub mod lookout;
pub mod looks;
pub mod program;
pub mod sandbox;
pub mod schedule;
pub mod senses;
pub mod shelf;
pub mod surroundings;
pub mod telemetry;
pub mod uninstall;
pub mod worker;

//! The minion: becomes what the master says, and says what became of it.

pub mod core;
pub mod grains;
pub mod journal;
pub mod linux;
pub mod sandbox;

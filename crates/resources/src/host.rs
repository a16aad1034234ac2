//! The machine, as the state modules may see and alter it.

/// What a check may do: look.
pub trait Probe {}
/// What an apply may do: look and alter.
pub trait Host: Probe {}

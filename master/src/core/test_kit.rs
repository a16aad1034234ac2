//! Helpers for the tests of the core.

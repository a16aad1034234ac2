//! `master.yaml`: typed, unknown keys refused, every mistake reported with its place.

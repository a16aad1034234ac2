//! `states/`, `pillar/` and `reactors/` as a tree in memory; watches them; contents by hash.

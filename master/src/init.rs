//! `labmaster init`: folders, keys, `masters.json`, the example tree.

//! Which releases work together.

/// Whether two releases work together: the same major version and at most one minor version apart.
pub fn compatible(ours: &str, theirs: &str) -> bool {
    let parts = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    match (parts(ours), parts(theirs)) {
        (Some((major, minor)), Some((their_major, their_minor))) => {
            major == their_major && minor.abs_diff(their_minor) <= 1
        }
        _ => false,
    }
}

//! Beacons that ask other programs of the machine: their settings.

use super::BeaconKind;

/// In order of name.
pub(super) const KINDS: &[BeaconKind] = &[];

//! A line that loses announcements: the connection is over in place of the first word on it.

/// Of a hundred announcements, so many are lost.
const LOST_PERCENT: u64 = 30;
/// In a row, so that how long it takes to be heard has a maximum.
const IN_A_ROW_MAX: u32 = 3;

/// What happens to the announcements of one minion; the same for the same seed and number.
#[derive(Debug)]
pub(super) struct Luck {
    state: Option<u64>,
    in_a_row: u32,
}

impl Luck {
    /// Without a seed nothing is lost.
    pub(super) fn of(seed: Option<u64>, number: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        Self { state: seed.map(|it| it ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), in_a_row: 0 }
    }
    /// Whether the next announcement is lost.
    pub(super) fn loses(&mut self) -> bool {
        let Some(state) = &mut self.state else { return false };
        let lost = next(state) % 100 < LOST_PERCENT && self.in_a_row < IN_A_ROW_MAX;
        self.in_a_row = if lost { self.in_a_row + 1 } else { 0 };
        lost
    }
}

/// A splitmix64 generator.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

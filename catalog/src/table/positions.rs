//! Positions of rows in a file, as runs: neighbours are one.

use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap};

/// The runs of `positions` that are within a range, ascending.
pub fn runs(positions: &RoaringTreemap, within: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let first = within.start >> 32;
    let parts = positions.bitmaps().skip_while(move |(high, _)| u64::from(*high) < first);
    let start = within.start;
    parts
        .flat_map(move |(high, part)| runs_of_part(u64::from(high) << 32, part, start))
        .take_while(move |run| run.start < within.end)
        .map(move |run| run.start..run.end.min(within.end))
}

/// Those that do not end before `start`.
fn runs_of_part(offset: u64, part: &RoaringBitmap, start: u64) -> impl Iterator<Item = Range<u64>> {
    let mut numbers = part.iter();
    if let Ok(start) = u32::try_from(start.saturating_sub(offset)) {
        numbers.advance_to(start);
    }
    std::iter::from_fn(move || numbers.next_range())
        .map(move |run| offset + u64::from(*run.start())..offset + u64::from(*run.end()) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_within_a_range() {
        let far = 7 << 32;
        let mut positions: RoaringTreemap = [0, 1, 2, 9, 100_000].into_iter().collect();
        positions.insert_range(200_000..400_000);
        positions.insert_range(far..far + 10);
        let found = |within| runs(&positions, within).collect::<Vec<_>>();
        assert_eq!(found(0..u64::MAX), [0..3, 9..10, 100_000..100_001, 200_000..400_000, far..far + 10]);
        assert_eq!(found(1..9), std::slice::from_ref(&(1..3)));
        assert_eq!(found(9..250_000), [9..10, 100_000..100_001, 200_000..250_000]);
        assert_eq!(found(250_000..far + 3), [250_000..400_000, far..far + 3]);
        assert_eq!(found(far + 3..far + 5), std::slice::from_ref(&(far + 3..far + 5)));
        assert!(found(3..9).is_empty() && found(far + 10..u64::MAX).is_empty());
    }
}

//! The smallest and the largest of values, as statistics and page indexes have them.

use std::cmp::Ordering;
use std::ops::Range;

use super::order::Order;
use super::plain::Plain;

/// Bytes as in statistics: as PLAIN has them, without lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub min: Vec<u8>,
    pub max: Vec<u8>,
}

impl Bounds {
    /// `None`: there is no value, or nothing but NaN.
    pub fn of_runs(values: &Plain, runs: &[Range<usize>], order: Order) -> Option<Self> {
        let all = || runs.iter().flat_map(|run| run.clone().map(|number| values.value(number)));
        let chunks = || runs.iter().map(|run| values.encoded(run));
        match order {
            Order::Int32 => integers(
                chunks().flat_map(|bytes| bytes.as_chunks().0).map(|v| i32::from_le_bytes(*v)),
            )
            .map(|(min, max)| Self { min: min.to_le_bytes().to_vec(), max: max.to_le_bytes().to_vec() }),
            Order::Int64 => integers(
                chunks().flat_map(|bytes| bytes.as_chunks().0).map(|v| i64::from_le_bytes(*v)),
            )
            .map(|(min, max)| Self { min: min.to_le_bytes().to_vec(), max: max.to_le_bytes().to_vec() }),
            Order::Float | Order::Double | Order::Bytes | Order::Decimal => Self::of(all(), order),
        }
    }

    /// `None`: there is no value, or nothing but NaN.
    pub fn of<'v>(values: impl Iterator<Item = &'v [u8]>, order: Order) -> Option<Self> {
        let mut values = values.filter(|value| order.has(value));
        let first = values.next()?;
        let (mut min, mut max) = (first, first);
        for value in values {
            if order.compare(value, min) == Some(Ordering::Less) {
                min = value;
            } else if order.compare(value, max) == Some(Ordering::Greater) {
                max = value;
            }
        }
        let (mut min, mut max) = (min.to_vec(), max.to_vec());
        // "If the min is +0, the row group may contain -0 values as well": zeros bound either zero.
        let zero = vec![0; min.len()];
        if matches!(order, Order::Float | Order::Double) {
            let is_zero = |bound: &[u8]| order.compare(bound, &zero) == Some(Ordering::Equal);
            if is_zero(&max) {
                max.fill(0);
            }
            if is_zero(&min) {
                min.fill(0);
                // The sign.
                min.last_mut().into_iter().for_each(|last| *last = 0x80);
            }
        }
        Some(Self { min, max })
    }

    /// Bounds of no more than `most` bytes where that can be, and whether each of them is a value itself. Of texts
    /// (`is_text`) they are texts, too.
    pub fn shortened(&self, most: usize, is_text: bool) -> (Self, [bool; 2]) {
        let min = prefix(&self.min, most, is_text).map(<[u8]>::to_vec);
        let max = prefix(&self.max, most, is_text).and_then(|prefix| next(prefix, is_text));
        let are_values = [min.is_none(), max.is_none()];
        let or = |cut: Option<Vec<u8>>, whole: &Vec<u8>| cut.unwrap_or_else(|| whole.clone());
        (Self { min: or(min, &self.min), max: or(max, &self.max) }, are_values)
    }

    /// Takes what others are beyond.
    pub fn widen(&mut self, other: &Self, order: Order) {
        if order.compare(&other.min, &self.min) == Some(Ordering::Less) {
            self.min.clone_from(&other.min);
        }
        if order.compare(&other.max, &self.max) == Some(Ordering::Greater) {
            self.max.clone_from(&other.max);
        }
    }

    /// Whether neither bound is less than that of the page before.
    pub fn ascend_from(&self, before: &Self, order: Order) -> bool {
        let ascends = |before, after| order.compare(before, after) != Some(Ordering::Greater);
        ascends(&before.min, &self.min) && ascends(&before.max, &self.max)
    }
}

/// What a value of more than `most` bytes begins with.
fn prefix(value: &[u8], most: usize, is_text: bool) -> Option<&[u8]> {
    if value.len() <= most {
        return None;
    }
    match std::str::from_utf8(value) {
        Ok(text) if is_text => value.get(..text.floor_char_boundary(most)),
        _ => value.get(..most),
    }
}

/// A value of no more bytes that is greater than all that begin with `prefix`. `None`: there is none.
fn next(prefix: &[u8], is_text: bool) -> Option<Vec<u8>> {
    match std::str::from_utf8(prefix) {
        Ok(text) if is_text => text.char_indices().rev().find_map(|(at, last)| {
            // Past the surrogates, which are no characters.
            let greater = (last as u32 + 1..=last as u32 + 0x801).find_map(char::from_u32)?;
            let is_as_long = greater.len_utf8() == last.len_utf8();
            is_as_long.then(|| format!("{}{greater}", text.get(..at).unwrap_or_default()).into_bytes())
        }),
        _ => {
            let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
            let mut greater = prefix.get(..=last)?.to_vec();
            greater.last_mut().into_iter().for_each(|byte| *byte += 1);
            Some(greater)
        }
    }
}

fn integers<T: Ord + Copy>(mut values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| (min.min(value), max.max(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bounds_are_shortened() {
        let shortened = |min: &[u8], max: &[u8], is_text| {
            let bounds = Bounds { min: min.to_vec(), max: max.to_vec() };
            let (bounds, are_values) = bounds.shortened(4, is_text);
            (bounds.min, bounds.max, are_values)
        };
        let of = |min: &[u8], max: &[u8], are_values| (min.to_vec(), max.to_vec(), are_values);
        assert_eq!(shortened(b"abcd", b"abcd", true), of(b"abcd", b"abcd", [true, true]));
        assert_eq!(shortened(b"abcde", b"abcde", false), of(b"abcd", b"abce", [false, false]));
        // Bytes and letters that have no next one of their length.
        assert_eq!(shortened(b"a", b"ab\xff\xff\xff", false), of(b"a", b"ac", [true, false]));
        let most = b"\xff\xff\xff\xff\xff";
        assert_eq!(shortened(b"a", most, false), of(b"a", most, [true, true]));
        let text = |text: &'static str| text.as_bytes();
        assert_eq!(
            shortened(text("abc\u{20ac}"), text("abc\u{20ac}"), true),
            of(b"abc", b"abd", [false, false])
        );
        assert_eq!(shortened(b"a", text("ab\u{7f}\u{7f}z"), true), of(b"a", b"ac", [true, false]));
        assert_eq!(shortened(b"a", text("\u{d7ff}zz"), true), of(b"a", text("\u{d7ff}{"), [true, false]));
        assert_eq!(
            shortened(b"a", text("\u{d7ff}\u{7f}\u{7f}"), true),
            of(b"a", text("\u{e000}"), [true, false])
        );
    }
}

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

fn integers<T: Ord + Copy>(mut values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| (min.min(value), max.max(value))))
}

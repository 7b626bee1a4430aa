//! Which rows stay.

use std::ops::Range;

/// Rows of a row group that stay, as runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRows {
    total: usize,
    /// Ascending; neither empty nor touching each other.
    runs: Vec<Range<usize>>,
}

impl KeptRows {
    /// All of `total` rows but the runs `gone`, which ascend.
    pub fn without(total: usize, gone: impl IntoIterator<Item = Range<usize>>) -> Self {
        let mut runs = Vec::new();
        let mut start = 0;
        for gone in gone {
            if gone.start > start {
                runs.push(start..gone.start);
            }
            start = gone.end;
        }
        if start < total {
            runs.push(start..total);
        }
        Self { total, runs }
    }

    /// Rows that there are, those that go included.
    pub fn total(&self) -> usize {
        self.total
    }

    pub fn count(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }

    pub fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// Those of some rows, counted from the first of them.
    pub fn within(&self, rows: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.runs.partition_point(|run| run.end <= rows.start);
        let here = self.runs.get(first..).unwrap_or_default().iter();
        here.take_while(|run| run.start < rows.end)
            .map(|run| run.start.max(rows.start) - rows.start..run.end.min(rows.end) - rows.start)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_between_what_goes() {
        let kept = KeptRows::without(10, [0..1, 3..4, 4..5, 9..10]);
        assert_eq!(kept.runs(), [1..3, 5..9]);
        assert_eq!(kept.count(), 6);
        assert_eq!(kept.within(&(2..6)), [0..1, 3..4]);
        assert!(kept.within(&(3..5)).is_empty());
        assert_eq!(kept.within(&(0..10)), [1..3, 5..9]);
        assert_eq!(KeptRows::without(3, []).runs(), std::slice::from_ref(&(0..3)));
        assert_eq!(KeptRows::without(2, std::iter::once(0..2)).count(), 0);
    }
}

//! Many keys as a few ranges of a column: what files and partitions can be held against.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::lit;
use datafusion::logical_expr::utils::disjunction;
use datafusion::scalar::ScalarValue;

/// Most ranges. A list of so many values is compared one by one when files are pruned, a longer one not.
pub const MAX_RANGES: usize = 20;

/// Whether a column is in one of at most [`MAX_RANGES`] ranges that hold all values. `None`: there are no
/// values, or they cannot be ordered.
pub fn in_ranges(column: &Expr, mut values: Vec<ScalarValue>) -> Option<Expr> {
    let mut ordered = true;
    values.sort_by(|a, b| {
        a.partial_cmp(b).unwrap_or_else(|| {
            ordered = false;
            std::cmp::Ordering::Equal
        })
    });
    if !ordered {
        return None;
    }
    let mut starts = largest_gaps(&values).unwrap_or_else(|| even_parts(values.len()));
    starts.sort_unstable();
    let mut ranges = Vec::with_capacity(MAX_RANGES);
    let mut start = 0;
    for end in starts.into_iter().chain([values.len()]) {
        if let (Some(low), Some(high)) = (values.get(start), end.checked_sub(1).and_then(|i| values.get(i)))
            && start < end
        {
            ranges.push(column.clone().between(lit(low.clone()), lit(high.clone())));
        }
        start = end;
    }
    disjunction(ranges)
}

/// Where the values after the largest gaps begin. `None`: distances are not known.
fn largest_gaps(values: &[ScalarValue]) -> Option<Vec<usize>> {
    let positions = values.iter().map(position).collect::<Option<Vec<i128>>>()?;
    let mut gaps: Vec<(i128, usize)> = positions
        .windows(2)
        .enumerate()
        .map(|(i, pair)| match pair {
            [low, high] => (high.saturating_sub(*low), i + 1),
            _ => (0, i + 1),
        })
        .collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    Some(gaps.into_iter().take(MAX_RANGES - 1).map(|(_, start)| start).collect())
}

fn even_parts(count: usize) -> Vec<usize> {
    (1..MAX_RANGES).map(|part| part * count / MAX_RANGES).collect()
}

fn position(value: &ScalarValue) -> Option<i128> {
    Some(match value {
        ScalarValue::Int8(Some(v)) => i128::from(*v),
        ScalarValue::Int16(Some(v)) => i128::from(*v),
        ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => i128::from(*v),
        ScalarValue::Int64(Some(v))
        | ScalarValue::TimestampSecond(Some(v), _)
        | ScalarValue::TimestampMillisecond(Some(v), _)
        | ScalarValue::TimestampMicrosecond(Some(v), _)
        | ScalarValue::TimestampNanosecond(Some(v), _) => i128::from(*v),
        ScalarValue::Decimal128(Some(v), ..) => *v,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    /// The ranges of what is shown as `(a BETWEEN x AND y) OR …`.
    fn ranges(values: Vec<ScalarValue>) -> Vec<String> {
        let shown = in_ranges(&col("a"), values).map(|expr| expr.to_string()).unwrap_or_default();
        shown.split(" OR ").map(str::to_string).collect()
    }

    #[test]
    fn gaps_are_left_out() {
        let values = (0..50).chain(1_000..1_050).rev().map(|v| ScalarValue::Int64(Some(v))).collect();
        let ranges = ranges(values);
        assert_eq!(ranges.len(), MAX_RANGES);
        assert!(ranges.iter().any(|range| range.ends_with("AND Int64(49)")), "{ranges:?}");
        assert!(ranges.iter().any(|range| range.contains("BETWEEN Int64(1000)")), "{ranges:?}");
        assert_eq!(in_ranges(&col("a"), Vec::new()), None);
    }

    #[test]
    fn every_value_is_in_a_range() {
        let values: Vec<ScalarValue> =
            (0..97).map(|v| ScalarValue::Utf8(Some(format!("{:03}", v * 7)))).collect();
        let ranges = ranges(values.clone());
        assert_eq!(ranges.len(), MAX_RANGES);
        let bounds: Vec<(String, String)> = ranges
            .iter()
            .map(|range| {
                let mut quoted = range.split('"').skip(1).step_by(2).map(str::to_string);
                (quoted.next().unwrap(), quoted.next().unwrap())
            })
            .collect();
        for value in values {
            let text = value.to_string();
            assert!(bounds.iter().any(|(low, high)| *low <= text && text <= *high), "{text}");
        }
    }
}

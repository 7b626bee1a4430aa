//! `timestamp(p)`, `time(p)` and `interval(p)`: values with so many digits of a second.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Int32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::columnar::{Columnar, Columns, INTERVAL, TIMESTAMP, timestamptz};
use super::interval::{Interval, TIME, is_interval};

pub const FUNCTIONS: &[Columnar] = &[Columnar {
    name: "time_scale",
    volatility: Volatility::Immutable,
    arguments: |types| {
        let [value, _] = types else { return None };
        let value = match value {
            DataType::Timestamp(_, None) => TIMESTAMP,
            DataType::Timestamp(_, Some(_)) => timestamptz(),
            DataType::Time32(_) | DataType::Time64(_) => TIME,
            other if is_interval(other) => INTERVAL,
            _ => return None,
        };
        Some(vec![value, DataType::Int32])
    },
    returns: |types, _| Ok(types.first().cloned().unwrap_or(TIMESTAMP)),
    eval,
}];

/// Rounded, half away from zero.
fn rounded(micros: i64, digits: i32) -> i64 {
    let unit = 10_i64.pow(u32::try_from(6 - digits.clamp(0, 6)).unwrap_or_default());
    let half = if micros < 0 { -unit / 2 } else { unit / 2 };
    micros.saturating_add(half) / unit * unit
}

fn eval(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = columns.array(0)?;
    let digits = columns.array(1)?.as_primitive::<Int32Type>();
    let each = |i: usize, micros: i64| rounded(micros, digits.value(i));
    let present = |i: &usize| !values.is_null(*i) && !digits.is_null(*i);
    let rows = 0..columns.rows;
    Ok(match values.data_type() {
        DataType::Interval(_) => {
            let values = values.as_primitive::<IntervalMonthDayNanoType>();
            let scaled = rows.map(|i| {
                let value = Some(i).filter(present).map(|i| Interval::from(values.value(i)));
                value.map(|value| Interval { micros: each(i, value.micros), ..value }.to_arrow()).transpose()
            });
            Arc::new(IntervalMonthDayNanoArray::from(scaled.collect::<Result<Vec<_>>>()?))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values = values.as_primitive::<Time64MicrosecondType>();
            Arc::new(
                rows.map(|i| Some(i).filter(present).map(|i| each(i, values.value(i))))
                    .collect::<Time64MicrosecondArray>(),
            )
        }
        _ => {
            let zone = values.data_type().clone();
            let values = values.as_primitive::<TimestampMicrosecondType>();
            let scaled: TimestampMicrosecondArray =
                rows.map(|i| Some(i).filter(present).map(|i| each(i, values.value(i)))).collect();
            Arc::new(scaled.with_data_type(zone))
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn rounding() {
        assert_eq!(super::rounded(1_600_000, 0), 2_000_000);
        assert_eq!(super::rounded(-1_500_000, 0), -2_000_000);
        assert_eq!(super::rounded(1_234_567, 3), 1_235_000);
        assert_eq!(super::rounded(1_234_567, 6), 1_234_567);
    }
}

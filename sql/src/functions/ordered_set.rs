//! What ordered-set aggregates (manual 9.21, table 9.60) do with the array of all values of a group, of
//! which the planner makes them ([`crate::analyzer`]).

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, UInt32Array};
use arrow::compute::{SortOptions, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, IntervalMonthDayNanoType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Volatility;
use datafusion::scalar::ScalarValue;

use super::columnar::{Columnar, Columns, INTERVAL, is_text};
use super::function::error;
use super::interval::{Interval, is_interval};

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "percentile_disc_of",
        volatility: Volatility::Immutable,
        arguments: |types| fractions(types, |item| Some(item.clone())),
        returns: |types, _| result(types),
        eval: |columns| percentiles(columns, discrete),
    },
    Columnar {
        name: "percentile_cont_of",
        volatility: Volatility::Immutable,
        arguments: |types| {
            fractions(types, |item| match item {
                item if item.is_numeric() || is_text(item) => Some(DataType::Float64),
                item if is_interval(item) => Some(INTERVAL),
                _ => None,
            })
        },
        returns: |types, _| result(types),
        eval: |columns| percentiles(columns, continuous),
    },
    Columnar {
        name: "sorted_of",
        volatility: Volatility::Immutable,
        arguments: |types| {
            matches!(types, [DataType::List(_), DataType::Boolean, DataType::Boolean]).then(|| types.to_vec())
        },
        returns: |types, _| types.first().cloned().ok_or_else(internal),
        eval: whole_sorted,
    },
    Columnar {
        name: "joined_of",
        volatility: Volatility::Immutable,
        arguments: |types| match types {
            [DataType::List(item), delimiter, DataType::Boolean]
                if is_text(item.data_type()) && is_text(delimiter) =>
            {
                Some(vec![list_of(DataType::Utf8), DataType::Utf8, DataType::Boolean])
            }
            _ => None,
        },
        returns: |_, _| Ok(DataType::Utf8),
        eval: joined,
    },
    Columnar {
        name: "mode_of",
        volatility: Volatility::Immutable,
        arguments: |types| matches!(types, [DataType::List(_), DataType::Boolean]).then(|| types.to_vec()),
        returns: |types, _| item_of(types).cloned(),
        eval: mode,
    },
];

fn internal() -> DataFusionError {
    DataFusionError::Internal("an array expected".into())
}

fn item_of(types: &[DataType]) -> Result<&DataType> {
    match types.first() {
        Some(DataType::List(item)) => Ok(item.data_type()),
        _ => Err(internal()),
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(item_field(item))
}

fn item_field(item: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(item, true))
}

/// The values, one fraction or an array of fractions, whether the order is descending.
fn fractions(types: &[DataType], item: impl Fn(&DataType) -> Option<DataType>) -> Option<Vec<DataType>> {
    let [DataType::List(values), fraction, DataType::Boolean] = types else { return None };
    let fraction = match fraction {
        DataType::List(_) => list_of(DataType::Float64),
        t if t.is_numeric() || is_text(t) => DataType::Float64,
        _ => return None,
    };
    Some(vec![list_of(item(values.data_type())?), fraction, DataType::Boolean])
}

fn result(types: &[DataType]) -> Result<DataType> {
    let item = item_of(types)?.clone();
    Ok(if matches!(types.get(1), Some(DataType::List(_))) { list_of(item) } else { item })
}

/// The values of row `i` in order, without NULLs. `None`: there are none.
fn sorted(columns: &Columns<'_>, i: usize, flag: usize) -> Result<Option<ArrayRef>> {
    let lists = columns.array(0)?.as_list_opt::<i32>().ok_or_else(internal)?;
    if lists.is_null(i) {
        return Ok(None);
    }
    let descending = columns.array(flag)?.as_boolean_opt().is_some_and(|flag| flag.value(i));
    let values = lists.value(i);
    let nulls = values.logical_nulls().map_or(0, |nulls| nulls.null_count());
    let wanted = values.len() - nulls;
    if wanted == 0 {
        return Ok(None);
    }
    let options = SortOptions { descending, nulls_first: false };
    let indices = match values.as_primitive_opt::<IntervalMonthDayNanoType>() {
        Some(intervals) => {
            let mut indices: Vec<u32> = (0..u32::try_from(values.len()).unwrap_or_default())
                .filter(|at| !intervals.is_null(*at as usize))
                .collect();
            let span = |at: &u32| Interval::from(intervals.value(*at as usize)).span();
            indices.sort_by_key(span);
            if descending {
                indices.reverse();
            }
            UInt32Array::from(indices)
        }
        None => sort_to_indices(&values, Some(options), None)?,
    };
    Ok(Some(take(&values, &indices.slice(0, wanted), None)?))
}

/// The array in order, NULLs first or last.
fn whole_sorted(columns: &Columns<'_>) -> Result<ArrayRef> {
    let lists = columns.array(0)?.as_list_opt::<i32>().ok_or_else(internal)?;
    let flag = |k: usize, i: usize| -> Result<bool> {
        Ok(columns.array(k)?.as_boolean_opt().is_some_and(|flag| flag.value(i)))
    };
    let item = item_of(std::slice::from_ref(columns.result))?;
    let mut out = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        if lists.is_null(i) {
            out.push(ScalarValue::try_from(columns.result)?);
            continue;
        }
        let values = lists.value(i);
        // Nested values have no order of arrow's.
        let sorted = if item.is_nested() {
            values
        } else {
            let options = SortOptions { descending: flag(1, i)?, nulls_first: flag(2, i)? };
            take(&values, &sort_to_indices(&values, Some(options), None)?, None)?
        };
        let list = arrow::array::ListArray::try_new(
            item_field(item.clone()),
            arrow::buffer::OffsetBuffer::from_lengths([sorted.len()]),
            sorted,
            None,
        )?;
        out.push(ScalarValue::List(Arc::new(list)));
    }
    gathered(out, columns.result)
}

/// The texts in order with a delimiter between them; NULL where there are none.
fn joined(columns: &Columns<'_>) -> Result<ArrayRef> {
    let delimiters = columns.text(1)?;
    let of_row = |i: usize| {
        let Some(values) = sorted(columns, i, 2)? else { return Ok(None) };
        let texts: Vec<_> = values.as_string_opt::<i32>().ok_or_else(internal)?.iter().flatten().collect();
        let delimiter = if delimiters.is_null(i) { "" } else { delimiters.value(i) };
        Ok(Some(texts.join(delimiter)))
    };
    let texts = (0..columns.rows).map(of_row).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

type Pick = fn(&ArrayRef, f64) -> Result<ScalarValue>;

fn percentiles(columns: &Columns<'_>, pick: Pick) -> Result<ArrayRef> {
    let fractions = columns.array(1)?;
    let mut out = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        let values = if fractions.is_null(i) { None } else { sorted(columns, i, 2)? };
        let Some(values) = values else {
            out.push(ScalarValue::try_from(columns.result)?);
            continue;
        };
        out.push(match fractions.as_list_opt::<i32>() {
            None => pick(&values, checked(fractions.as_primitive::<Float64Type>().value(i))?)?,
            Some(lists) => {
                let wanted = lists.value(i);
                let wanted: &Float64Array = wanted.as_primitive_opt().ok_or_else(internal)?;
                let item = values.data_type();
                let picked = wanted.iter().map(|fraction| match fraction {
                    Some(fraction) => pick(&values, checked(fraction)?),
                    None => Ok(ScalarValue::try_from(item)?),
                });
                let picked = picked.collect::<Result<Vec<_>>>()?;
                ScalarValue::List(ScalarValue::new_list_nullable(&picked, item))
            }
        });
    }
    gathered(out, columns.result)
}

fn gathered(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    ScalarValue::iter_to_array(values)
}

fn checked(fraction: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    Err(error("22003", format!("percentile value {fraction} is not between 0 and 1")))
}

/// The first value whose place in the order is at or after the fraction.
fn discrete(values: &ArrayRef, fraction: f64) -> Result<ScalarValue> {
    let place = (fraction * values.len() as f64).ceil() as usize;
    ScalarValue::try_from_array(values, place.saturating_sub(1).min(values.len() - 1))
}

/// Between the two values next to the fraction.
fn continuous(values: &ArrayRef, fraction: f64) -> Result<ScalarValue> {
    let place = fraction * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    if low == high {
        return ScalarValue::try_from_array(values, low);
    }
    let part = place - low as f64;
    if let Some(numbers) = values.as_primitive_opt::<Float64Type>() {
        let (low, high) = (numbers.value(low), numbers.value(high));
        return Ok(ScalarValue::Float64(Some(low + part * (high - low))));
    }
    let intervals = values.as_primitive_opt::<IntervalMonthDayNanoType>().ok_or_else(internal)?;
    let (low, high) = (Interval::from(intervals.value(low)), Interval::from(intervals.value(high)));
    let between = low.plus(high.plus(low.negated()).times(part)?);
    Ok(ScalarValue::IntervalMonthDayNano(Some(between.to_arrow()?)))
}

/// The most frequent value, the first in the order of several.
fn mode(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut out = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        let Some(values) = sorted(columns, i, 1)? else {
            out.push(ScalarValue::try_from(columns.result)?);
            continue;
        };
        let ranges = arrow::compute::partition(&[values.clone()])?.ranges();
        let longest = ranges.into_iter().reduce(|best, range| match range.len().cmp(&best.len()) {
            Ordering::Greater => range,
            _ => best,
        });
        out.push(ScalarValue::try_from_array(&values, longest.map_or(0, |range| range.start))?);
    }
    gathered(out, columns.result)
}

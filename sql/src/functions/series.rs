//! `generate_series` (manual 9.25) as an array, of which the planner makes rows; the numbers that follow
//! each other of an array (`WITH ORDINALITY`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListBuilder, PrimitiveBuilder};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int32Type, Int64Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, Zone, date, days, days_of_month};
use super::columnar::{Columnar, Columns, INTERVAL, TIMESTAMP, is_text, timestamptz};
use super::function::error;
use super::interval::{Interval, is_interval};

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "generate_series",
        volatility: Volatility::Stable,
        arguments,
        returns: |types, _| {
            let item = types.first().cloned().unwrap_or(DataType::Int64);
            Ok(DataType::List(item_field(item)))
        },
        eval: |columns| match columns.array(0)?.data_type() {
            DataType::Int32 => integers::<Int32Type>(columns),
            DataType::Int64 => integers::<Int64Type>(columns),
            DataType::Decimal128(..) => decimals(columns),
            _ => instants(columns),
        },
    },
    Columnar {
        name: "array_ordinals",
        volatility: Volatility::Immutable,
        arguments: |types| matches!(types, [DataType::List(_)]).then(|| types.to_vec()),
        returns: |_, _| Ok(DataType::List(item_field(DataType::Int64))),
        eval: ordinals,
    },
];

/// Most values of one call, which are in memory at once.
const MOST: usize = 50_000_000;

fn item_field(item: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(item, true))
}

fn arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let (first, second, step) = match types {
        [first, second] => (first, second, None),
        [first, second, step] => (first, second, Some(step)),
        _ => return None,
    };
    let temporal = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    if temporal(first) || temporal(second) {
        let fits = |t: &DataType| temporal(t) || is_text(t);
        step.filter(|step| is_interval(step) || is_text(step))?;
        let local = |t: &DataType| matches!(t, DataType::Timestamp(_, None));
        let both = if local(first) || local(second) { TIMESTAMP } else { timestamptz() };
        return (fits(first) && fits(second)).then(|| vec![both.clone(), both, INTERVAL]);
    }
    let all = || [Some(first), Some(second), step].into_iter().flatten();
    if !all().all(|t| t.is_integer() || matches!(t, DataType::Decimal128(..)) || is_text(t)) {
        return None;
    }
    let scale =
        all().filter_map(|t| if let DataType::Decimal128(_, scale) = t { Some(*scale) } else { None }).max();
    let item = match scale {
        Some(scale) => DataType::Decimal128(38, scale),
        None if all().all(|t| matches!(t, DataType::Int8 | DataType::Int16 | DataType::Int32)) => {
            DataType::Int32
        }
        None => DataType::Int64,
    };
    Some(vec![item; types.len()])
}

fn zero_step() -> datafusion::error::DataFusionError {
    error("22023", "step size cannot equal zero")
}

fn too_many() -> datafusion::error::DataFusionError {
    error("54000", format!("a series of more than {MOST} values is not supported here"))
}

/// A list for each row whose arguments are not NULL.
fn lists<T: ArrowPrimitiveType>(
    columns: &Columns<'_>,
    item: &DataType,
    mut row: impl FnMut(usize, &mut dyn FnMut(T::Native) -> Result<()>) -> Result<()>,
) -> Result<ArrayRef> {
    let values = PrimitiveBuilder::<T>::new().with_data_type(item.clone());
    let mut out = ListBuilder::new(values).with_field(item_field(item.clone()));
    let mut count = 0;
    for i in 0..columns.rows {
        if columns.arrays.iter().any(|array| array.is_null(i)) {
            out.append_null();
            continue;
        }
        let values = out.values();
        row(i, &mut |value| {
            count += 1;
            if count > MOST {
                return Err(too_many());
            }
            values.append_value(value);
            Ok(())
        })?;
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn integers<T: ArrowPrimitiveType>(columns: &Columns<'_>) -> Result<ArrayRef>
where
    T::Native: Into<i64> + TryFrom<i64>,
{
    let value = |k: usize, i: usize| -> Option<i64> {
        columns.arrays.get(k).map(|array| array.as_primitive::<T>().value(i).into())
    };
    let item = columns.array(0)?.data_type().clone();
    lists::<T>(columns, &item, |i, put| {
        let (first, last) = (value(0, i).unwrap_or_default(), value(1, i).unwrap_or_default());
        let step = value(2, i).unwrap_or(1);
        if step == 0 {
            return Err(zero_step());
        }
        let mut next = Some(first);
        while let Some(current) = next.filter(|n| if step > 0 { *n <= last } else { *n >= last }) {
            match T::Native::try_from(current) {
                Ok(current) => put(current)?,
                Err(_) => break,
            }
            next = current.checked_add(step);
        }
        Ok(())
    })
}

fn decimals(columns: &Columns<'_>) -> Result<ArrayRef> {
    let item = columns.array(0)?.data_type().clone();
    let DataType::Decimal128(_, scale) = item else { return Err(zero_step()) };
    let one = 10_i128.checked_pow(u32::from(scale.unsigned_abs())).unwrap_or(1);
    let value = |k: usize, i: usize| {
        columns.arrays.get(k).map(|array| array.as_primitive::<Decimal128Type>().value(i))
    };
    lists::<Decimal128Type>(columns, &item, |i, put| {
        let (first, last) = (value(0, i).unwrap_or_default(), value(1, i).unwrap_or_default());
        let step = value(2, i).unwrap_or(one);
        if step == 0 {
            return Err(zero_step());
        }
        let mut next = Some(first);
        while let Some(current) = next.filter(|n| if step > 0 { *n <= last } else { *n >= last }) {
            put(current)?;
            next = current.checked_add(step);
        }
        Ok(())
    })
}

/// A local time and an interval: months first, whose last day bounds the day, then days, then time.
fn moved(local: i64, by: Interval) -> Option<i64> {
    let mut day = local.div_euclid(MICROS_PER_DAY);
    if by.months != 0 {
        let (year, month, of_month) = date(day);
        let first = days(year, month.checked_add(by.months)?, 1);
        let (year, month, _) = date(first);
        day = first + of_month.min(days_of_month(year, month)) - 1;
    }
    let day = day.checked_add(by.days)?;
    day.checked_mul(MICROS_PER_DAY)?.checked_add(local.rem_euclid(MICROS_PER_DAY))
}

fn instants(columns: &Columns<'_>) -> Result<ArrayRef> {
    let firsts = columns.array(0)?.as_primitive::<TimestampMicrosecondType>();
    let lasts = columns.array(1)?.as_primitive::<TimestampMicrosecondType>();
    let steps = columns.array(2)?.as_primitive::<IntervalMonthDayNanoType>();
    let zoned = matches!(firsts.data_type(), DataType::Timestamp(_, Some(_)));
    let zone = Zone::of(columns.options);
    let next_of = |value: i64, by: Interval| {
        let moved = if zoned && (by.months != 0 || by.days != 0) {
            zone.instant(moved(value.checked_add(zone.offset(value) * MICROS_PER_SECOND)?, by)?)
        } else {
            moved(value, by)
        };
        moved?.checked_add(by.micros)
    };
    lists::<TimestampMicrosecondType>(columns, firsts.data_type(), |i, put| {
        let (first, last) = (firsts.value(i), lasts.value(i));
        let by = Interval::from(steps.value(i));
        // A month counts 30 days here.
        let length =
            i128::from(by.months * 30 + by.days) * i128::from(MICROS_PER_DAY) + i128::from(by.micros);
        if length == 0 {
            return Err(zero_step());
        }
        let mut next = Some(first);
        while let Some(current) = next.filter(|n| if length > 0 { *n <= last } else { *n >= last }) {
            put(current)?;
            // Steps of opposite signs could stand still.
            next = next_of(current, by).filter(|n| if length > 0 { *n > current } else { *n < current });
        }
        Ok(())
    })
}

fn ordinals(columns: &Columns<'_>) -> Result<ArrayRef> {
    let array = columns.array(0)?;
    let given = array.as_list::<i32>();
    let mut numbers = Vec::new();
    for i in 0..given.len() {
        numbers.extend(1..=i64::from(given.value_length(i)));
    }
    let lengths = (0..given.len()).map(|i| usize::try_from(given.value_length(i)).unwrap_or_default());
    Ok(Arc::new(arrow::array::ListArray::try_new(
        item_field(DataType::Int64),
        arrow::buffer::OffsetBuffer::from_lengths(lengths),
        Arc::new(Int64Array::from(numbers)),
        array.logical_nulls(),
    )?))
}

//! Statistics of files, read (Delta protocol, "Per-file Statistics"): the kernel's parsed statistics
//! as safe bounds.
//!
//! What writers round or leave out is widened or dropped here, so that a bound is never tighter than
//! the file: timestamps are cut to milliseconds, decimals pass through binary floating point in some
//! writers, NaN cannot be written at all, strings are cut.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray, StructArray,
    UInt64Array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

use super::files::{join, keep};
use crate::error::Result;
use crate::table::schema::FieldId;
use crate::table::statistics::ColumnBounds;

/// What cutting to milliseconds can take from a timestamp, in microseconds.
const MILLISECOND_LOSS_US: i64 = 999;
/// Decimals of up to so many digits pass through a 64-bit float unharmed.
const EXACT_DECIMAL_DIGITS: u8 = 15;

/// `stats_parsed` of a batch of files.
pub(super) struct ParsedStats<'a> {
    len: usize,
    row_counts: Option<&'a Int64Array>,
    tight: Option<&'a BooleanArray>,
    lower: Option<&'a StructArray>,
    upper: Option<&'a StructArray>,
    null_counts: Option<&'a StructArray>,
    /// Files with any statistics.
    present: BooleanArray,
}

impl<'a> ParsedStats<'a> {
    pub fn new(stats: Option<&'a StructArray>, len: usize) -> Self {
        let child = |name: &str| stats.and_then(|s| s.column_by_name(name));
        let present = match stats.and_then(|s| s.nulls()) {
            Some(nulls) => BooleanArray::new(nulls.inner().clone(), None),
            None => BooleanArray::from(vec![stats.is_some(); len]),
        };
        Self {
            len,
            row_counts: child("numRecords").and_then(|c| c.as_primitive_opt::<Int64Type>()),
            tight: child("tightBounds").and_then(|c| c.as_boolean_opt()),
            lower: child("minValues").and_then(|c| c.as_struct_opt()),
            upper: child("maxValues").and_then(|c| c.as_struct_opt()),
            null_counts: child("nullCount").and_then(|c| c.as_struct_opt()),
            present,
        }
    }

    pub fn row_count(&self, row: usize) -> Option<u64> {
        let counts = self.row_counts.filter(|c| self.present.value(row) && c.is_valid(row))?;
        u64::try_from(counts.value(row)).ok()
    }

    /// Absent means tight (Delta protocol, "Per-file Statistics").
    fn is_wide(&self, row: usize) -> bool {
        self.present.value(row) && self.tight.is_some_and(|t| t.is_valid(row) && !t.value(row))
    }

    /// One column of `minValues`, `maxValues` or `nullCount`, null where its parents are.
    fn values(&self, of: Option<&StructArray>, column: &str) -> Result<Option<ArrayRef>> {
        let Some((parent, values)) = of.and_then(|parent| Some((parent, parent.column_by_name(column)?)))
        else {
            return Ok(None);
        };
        let mut values = keep(values, &self.present)?;
        if let Some(nulls) = parent.nulls() {
            values = keep(&values, &BooleanArray::new(nulls.inner().clone(), None))?;
        }
        Ok(Some(values))
    }
}

/// Collects the bounds of one column.
pub(super) struct ColumnReader {
    id: FieldId,
    name: String,
    data_type: DataType,
    lower: Vec<ArrayRef>,
    upper: Vec<ArrayRef>,
    null_counts: Vec<Option<u64>>,
    exact: bool,
}

impl ColumnReader {
    pub fn new(id: FieldId, physical_name: &str, data_type: &DataType) -> Self {
        Self {
            id,
            name: physical_name.to_string(),
            data_type: data_type.clone(),
            lower: Vec::new(),
            upper: Vec::new(),
            null_counts: Vec::new(),
            exact: written_exactly(data_type),
        }
    }

    pub fn id(&self) -> FieldId {
        self.id
    }

    /// Adds a batch of files; `vectors` has a value where a file has a deletion vector.
    pub fn append(&mut self, stats: &ParsedStats<'_>, vectors: &StructArray) -> Result<()> {
        self.lower.push(self.bound(stats, stats.lower, End::Lower)?);
        self.upper.push(self.bound(stats, stats.upper, End::Upper)?);
        let counts = stats.values(stats.null_counts, &self.name)?;
        let counts = counts.as_ref().and_then(|c| c.as_primitive_opt::<Int64Type>());
        for row in 0..stats.len {
            let wide = stats.is_wide(row);
            // Wide bounds of a file without deletes are not values of the file.
            self.exact &= !wide || vectors.is_valid(row);
            let count = counts.filter(|c| c.is_valid(row)).and_then(|c| u64::try_from(c.value(row)).ok());
            // Of a wide null count, only none and all are to be believed.
            self.null_counts.push(count.filter(|n| !wide || *n == 0 || Some(*n) == stats.row_count(row)));
        }
        Ok(())
    }

    fn bound(&self, stats: &ParsedStats<'_>, of: Option<&StructArray>, end: End) -> Result<ArrayRef> {
        let unknown = || arrow::array::new_null_array(&self.data_type, stats.len);
        let Some(values) = stats.values(of, &self.name)? else { return Ok(unknown()) };
        // What does not fit the column's type is no bound.
        let options = CastOptions { safe: true, ..Default::default() };
        match cast_with_options(&values, &self.data_type, &options) {
            Ok(values) => Ok(widen(values, end)),
            Err(_) => Ok(unknown()),
        }
    }

    /// `None` when nothing is known of the column in any file.
    pub fn finish(self) -> Result<Option<ColumnBounds>> {
        let (lower, upper) = (join(&self.lower, &self.data_type)?, join(&self.upper, &self.data_type)?);
        let null_count = UInt64Array::from(self.null_counts);
        let len = null_count.len();
        if [lower.null_count(), upper.null_count(), null_count.null_count()].iter().all(|nulls| *nulls == len)
        {
            return Ok(None);
        }
        // Delta does not count NaN.
        let nan_count = self.data_type.is_floating().then(|| UInt64Array::new_null(len));
        Ok(Some(ColumnBounds { lower, upper, null_count, nan_count, exact: self.exact }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Lower,
    Upper,
}

/// Types whose bounds all writers write as they are.
fn written_exactly(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) => *precision <= EXACT_DECIMAL_DIGITS,
        other => other.is_integer() || matches!(other, DataType::Date32),
    }
}

fn widen(values: ArrayRef, end: End) -> ArrayRef {
    match (values.data_type().clone(), end) {
        (DataType::Timestamp(TimeUnit::Microsecond, _), end) => {
            map::<TimestampMicrosecondType>(&values, |v| match end {
                End::Upper => v.checked_add(MILLISECOND_LOSS_US),
                // Some cut towards zero, which is up before 1970.
                End::Lower if v <= 0 => v.checked_sub(MILLISECOND_LOSS_US),
                End::Lower => Some(v),
            })
        }
        (DataType::Decimal128(precision, _), end) if precision > EXACT_DECIMAL_DIGITS => {
            map::<Decimal128Type>(&values, |v| {
                let loss = (v.unsigned_abs() >> 51) as i128 + 1;
                match end {
                    End::Lower => v.checked_sub(loss),
                    End::Upper => v.checked_add(loss),
                }
            })
        }
        // The two zeros are equal to a reader, but not in every order of floats.
        (DataType::Float32, end) => map::<Float32Type>(&values, |v| match end {
            _ if v.is_nan() => None,
            End::Lower if v == 0.0 => Some(-0.0),
            End::Upper if v == 0.0 => Some(0.0),
            _ => Some(v),
        }),
        (DataType::Float64, end) => map::<Float64Type>(&values, |v| match end {
            _ if v.is_nan() => None,
            End::Lower if v == 0.0 => Some(-0.0),
            End::Upper if v == 0.0 => Some(0.0),
            _ => Some(v),
        }),
        _ => values,
    }
}

/// Applies `f` to each value; `None` makes it null. Keeps the type's parameters.
fn map<T: ArrowPrimitiveType>(values: &ArrayRef, f: impl Fn(T::Native) -> Option<T::Native>) -> ArrayRef {
    let mapped: PrimitiveArray<T> = values.as_primitive::<T>().unary_opt(f);
    Arc::new(mapped.with_data_type(values.data_type().clone()))
}

//! Sums of floating point numbers that leave their range: an error, unless a value was infinite.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;

use crate::functions::function::error;

/// The groups with an infinite value.
#[derive(Debug, Default)]
pub struct Infinities(HashSet<usize>);

impl Infinities {
    /// Takes note of these values, of the groups beside them. A state is a value, too: that of no group with
    /// finite values alone is infinite.
    pub fn note(
        &mut self,
        values: &dyn Array,
        group: impl Fn(usize) -> Option<usize>,
        filter: Option<&BooleanArray>,
    ) {
        let Some(values) = values.as_primitive_opt::<Float64Type>() else { return };
        if !values.values().iter().any(|value| value.is_infinite()) {
            return;
        }
        for (row, value) in values.iter().enumerate() {
            let taken = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if taken && value.is_some_and(f64::is_infinite) {
                self.0.extend(group(row));
            }
        }
    }

    /// Of the first groups, in their order. Fails with 22003.
    pub fn check(&self, sums: &dyn Array) -> Result<()> {
        if !matches!(sums.data_type(), DataType::Float32 | DataType::Float64) {
            return Ok(());
        }
        let sums = cast(sums, &DataType::Float64)?;
        let sums = sums.as_primitive::<Float64Type>();
        let overflows = |(group, sum): (usize, Option<f64>)| {
            sum.is_some_and(f64::is_infinite) && !self.0.contains(&group)
        };
        match sums.iter().enumerate().any(overflows) {
            true => Err(error("22003", "value out of range: overflow")),
            false => Ok(()),
        }
    }

    /// The first groups are done with.
    pub fn forget(&mut self, count: usize) {
        if !self.0.is_empty() {
            self.0 = self.0.iter().filter_map(|group| group.checked_sub(count)).collect();
        }
    }
}

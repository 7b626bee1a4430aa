//! `min` and `max`. DataFusion's do the work but for groups of floating point numbers, where theirs begin
//! with the largest finite number, as if it were less than infinity, and let NaN go again. NaN is greater
//! than all numbers (manual 8.1.3).

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// One of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Extreme {
    native: Arc<AggregateUDF>,
    is_max: bool,
}

impl Extreme {
    pub fn min() -> Self {
        Self { native: min_udaf(), is_max: false }
    }

    pub fn max() -> Self {
        Self { native: max_udaf(), is_max: true }
    }

    /// `nan`: a value that no number is greater than; `least`: one that no number is less than.
    fn of_floats<T: ArrowPrimitiveType + Send>(
        &self,
        data_type: &DataType,
        (nan, least): (T::Native, T::Native),
    ) -> Box<dyn GroupsAccumulator>
    where
        T::Native: PartialOrd,
    {
        let replaces = if self.is_max { Ordering::Greater } else { Ordering::Less };
        let start = if self.is_max { least } else { nan };
        let take = move |current: &mut T::Native, new: T::Native| {
            if ordering(&new, current) == replaces {
                *current = new;
            }
        };
        Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, take).with_starting_value(start))
    }
}

/// All numbers, then NaN; `-0` is `0`.
fn ordering<T: PartialOrd>(one: &T, other: &T) -> Ordering {
    #[expect(clippy::eq_op, reason = "only NaN is not what it is")]
    let is_nan = |value: &T| value != value;
    one.partial_cmp(other).unwrap_or_else(|| is_nan(one).cmp(&is_nan(other)))
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.native.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.native.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<arrow::datatypes::FieldRef>> {
        self.native.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.native.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type();
        match data_type {
            DataType::Float32 => Ok(self.of_floats::<Float32Type>(data_type, (f32::NAN, f32::NEG_INFINITY))),
            DataType::Float64 => Ok(self.of_floats::<Float64Type>(data_type, (f64::NAN, f64::NEG_INFINITY))),
            _ => self.native.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.native.create_sliding_accumulator(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.native.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.native.order_sensitivity()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.native.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.native.reverse_udf()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.native.value_from_stats(statistics)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.native.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.native.inner().set_monotonicity(data_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_the_greatest() {
        let mut values = [f64::NAN, 1.0, f64::INFINITY, -1.0, f64::NEG_INFINITY, -f64::NAN];
        values.sort_by(ordering);
        assert_eq!(&values[..4], &[f64::NEG_INFINITY, -1.0, 1.0, f64::INFINITY]);
        assert_eq!(ordering(&-0.0, &0.0), Ordering::Equal);
        assert_eq!(ordering(&f32::NAN, &-f32::NAN), Ordering::Equal);
    }
}

//! `sum`: of `smallint` and `integer` a `bigint`, of `bigint` a `numeric`, of `real` a `real`. DataFusion's
//! accumulators do the work; theirs of decimals wrap around, so that they are guarded.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::guarded::{GuardedGroups, GuardedSum, SlidingSum};
use super::infinities::Infinities;
use crate::functions::columnar::type_name;
use crate::functions::function::error;
use crate::functions::numeric::overflow;

/// Precision of a sum of `bigint`: there are never more than 10^11 rows in a group.
const BIGINT_SUM: DataType = DataType::Decimal128(30, 0);

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sum {
    native: Arc<AggregateUDF>,
    signature: Signature,
}

impl Default for Sum {
    fn default() -> Self {
        Self { native: sum_udaf(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The types that numbers are added in: as DataFusion's `sum` takes them, and as it gives their sum.
pub fn native_types(argument: &DataType) -> (DataType, DataType) {
    match argument {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => (DataType::Int64, DataType::Int64),
        DataType::Int64 => (BIGINT_SUM, BIGINT_SUM),
        DataType::Float32 => (DataType::Float64, DataType::Float64),
        DataType::Decimal128(p, s) => {
            (argument.clone(), DataType::Decimal128(p.saturating_add(10).min(38), *s))
        }
        DataType::Decimal256(_, s) => (argument.clone(), DataType::Decimal256(76, *s)),
        other => (other.clone(), other.clone()),
    }
}

/// The type that an argument is cast to. `None`: there is no such function.
pub fn argument_type(argument: &DataType) -> Option<DataType> {
    Some(match argument {
        DataType::Null => DataType::Float64,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, values) => argument_type(values)?,
        other if other.is_numeric() => other.clone(),
        DataType::Interval(_) | DataType::Duration(_) => argument.clone(),
        _ => return None,
    })
}

/// The only argument's type. Fails with 42883 for what cannot be added.
pub fn coerce(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [argument] => argument_type(argument).map(|t| vec![t]).ok_or_else(|| {
            error("42883", format!("function {name}({}) does not exist", type_name(argument)))
        }),
        _ => Err(error("42883", format!("function {name} takes one argument"))),
    }
}

/// The only argument. Fails (internal error) when there is none.
pub fn only<T>(values: &[T]) -> Result<&T> {
    values.first().ok_or_else(|| DataFusionError::Internal("an argument is missing".into()))
}

/// Arguments as the accumulators take them.
pub fn to_native(values: &[ArrayRef], native: &DataType) -> Result<Vec<ArrayRef>> {
    values
        .iter()
        .map(|values| {
            if values.data_type() == native {
                return Ok(values.clone());
            }
            if let Some(integers) = values.as_primitive_opt::<Int64Type>()
                && matches!(native, DataType::Decimal128(_, 0))
            {
                let wide = integers.unary::<_, Decimal128Type>(i128::from);
                return Ok(Arc::new(wide.with_data_type(native.clone())) as ArrayRef);
            }
            Ok(cast(values, native)?)
        })
        .collect()
}

impl Sum {
    fn native_args<'a>(&self, args: AccumulatorArgs<'a>) -> Result<(AccumulatorArgs<'a>, DataType)> {
        let (input, result) = native_types(only(args.expr_fields)?.data_type());
        let return_field = Arc::new(Field::new(args.name, result, true));
        Ok((AccumulatorArgs { return_field, ..args }, input))
    }

    /// [`AggregateUDFImpl::accumulator`] of arguments whose sum is `output` (not distinct).
    pub fn plain(&self, args: AccumulatorArgs<'_>, output: &DataType) -> Result<GuardedSum> {
        let (args, input) = self.native_args(args)?;
        let sum = args.return_type().clone();
        Ok(GuardedSum::new(self.native.accumulator(args)?, input, sum, output.clone()))
    }

    /// [`AggregateUDFImpl::create_groups_accumulator`].
    pub fn groups(&self, args: AccumulatorArgs<'_>, output: &DataType) -> Result<GuardedGroups> {
        let (args, input) = self.native_args(args)?;
        let sum = args.return_type().clone();
        Ok(GuardedGroups::new(self.native.create_groups_accumulator(args)?, input, sum, output.clone()))
    }

    /// The distinct values.
    pub fn distinct(&self, args: AccumulatorArgs<'_>) -> Result<DistinctValues> {
        let (args, input) = self.native_args(args)?;
        Ok(DistinctValues { inner: self.native.accumulator(args)?, input })
    }

    /// Fields of the state for arguments of these fields.
    pub fn native_state(&self, args: &StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let (_, result) = native_types(only(args.input_fields)?.data_type());
        self.native.state_fields(StateFieldsArgs {
            name: args.name,
            input_fields: args.input_fields,
            return_field: Arc::new(Field::new(args.name, result, true)),
            ordering_fields: args.ordering_fields,
            is_distinct: args.is_distinct,
        })
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.name(), types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let argument = only(types)?;
        Ok(match argument {
            DataType::Float32 => DataType::Float32,
            other => native_types(other).1,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let output = args.return_type().clone();
        if args.is_distinct {
            return Ok(Box::new(DistinctSum { values: self.distinct(args)?, output }));
        }
        Ok(Box::new(self.plain(args, &output)?))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.native_state(&args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let output = args.return_type().clone();
        Ok(Box::new(self.groups(args, &output)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let output = args.return_type().clone();
        let (native, input) = self.native_args(args)?;
        let exact = matches!(native.return_type(), DataType::Int64 | DataType::Decimal128(..));
        if exact && !native.is_distinct {
            return Ok(Box::new(SlidingSum::new(input, output)));
        }
        let sum = native.return_type().clone();
        Ok(Box::new(GuardedSum::unguarded(
            self.native.create_sliding_accumulator(native)?,
            input,
            sum,
            output,
        )))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Different values, kept by DataFusion's accumulator, added here.
#[derive(Debug)]
pub struct DistinctValues {
    inner: Box<dyn Accumulator>,
    input: DataType,
}

impl DistinctValues {
    pub fn update(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&to_native(values, &self.input)?)
    }

    pub fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    pub fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    pub fn size(&self) -> usize {
        self.inner.size()
    }

    /// The values; `None`: they are not exact numbers of at most 128 bits.
    pub fn exact(&mut self) -> Result<Option<Vec<i128>>> {
        let state = self.inner.state()?;
        let [ScalarValue::List(list)] = state.as_slice() else { return Ok(None) };
        let values = list.values();
        Ok(match values.data_type() {
            DataType::Int64 => {
                Some(values.as_primitive::<Int64Type>().iter().flatten().map(i128::from).collect())
            }
            DataType::Decimal128(..) => {
                Some(values.as_primitive::<Decimal128Type>().iter().flatten().collect())
            }
            _ => None,
        })
    }

    fn infinities(&mut self) -> Result<Infinities> {
        let mut found = Infinities::default();
        if let [ScalarValue::List(list)] = self.inner.state()?.as_slice() {
            found.note(list.values(), |_| Some(0), None);
        }
        Ok(found)
    }

    /// What DataFusion makes of them.
    pub fn native(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }
}

/// Their sum. Fails with 22003.
pub fn total(values: &[i128]) -> Result<Option<i128>> {
    let mut sum: Option<i128> = None;
    for value in values {
        sum = Some(sum.unwrap_or(0).checked_add(*value).ok_or_else(overflow)?);
    }
    Ok(sum)
}

#[derive(Debug)]
struct DistinctSum {
    values: DistinctValues,
    output: DataType,
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.values.exact()? {
            Some(values) => super::guarded::exact_scalar(total(&values)?, &self.output),
            None => {
                let infinities = self.values.infinities()?;
                let sum = self.values.native()?.cast_to(&self.output)?;
                infinities.check(&sum.to_array()?)?;
                Ok(sum)
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge(states)
    }
}

//! `avg`: of integers and decimals a `numeric`, the sum divided by the count as `numeric` is divided; of
//! floating point numbers DataFusion's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use super::guarded::{GuardedGroups, GuardedSum, SlidingSum, exact_scalar};
use super::sum::{DistinctValues, Sum, coerce, native_types, only, total};
use crate::functions::numeric::{self, as_quotient, digits};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Average {
    sum: Sum,
    count: Arc<AggregateUDF>,
    native: Arc<AggregateUDF>,
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for Average {
    fn default() -> Self {
        Self {
            sum: Sum::default(),
            count: count_udaf(),
            native: avg_udaf(),
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec!["mean".to_string()],
        }
    }
}

/// Type of the average of exact numbers.
fn average_type(argument: &DataType) -> Option<DataType> {
    match argument {
        // One digit less after the point, for all of them before it.
        DataType::Int64 => Some(DataType::Decimal128(38, numeric::QUOTIENT_SCALE - 1)),
        other => digits(other).map(|number| numeric::quotient_type(number, (1, 0))),
    }
}

/// What the accumulators of one call are made with.
struct Exact {
    /// Of the sum.
    sum: DataType,
    output: DataType,
}

/// `None`: DataFusion's average does.
fn exact(args: &AccumulatorArgs<'_>) -> Result<Option<Exact>> {
    let argument = only(args.expr_fields)?.data_type();
    Ok(average_type(argument).map(|output| Exact { sum: native_types(argument).1, output }))
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = coerce(self.name(), types)?;
        Ok(coerced
            .into_iter()
            .map(|argument| match argument {
                DataType::Float32 => DataType::Float64,
                other => other,
            })
            .collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match average_type(only(types)?) {
            Some(average) => Ok(average),
            None => self.native.return_type(types),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let argument = only(fields)?.data_type();
        let field = Field::new(self.name(), self.return_type(std::slice::from_ref(argument))?, true);
        Ok(Arc::new(match digits(argument) {
            Some((_, scale)) => as_quotient(field, scale),
            None => field,
        }))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let Some(Exact { sum, output }) = exact(&args)? else { return self.native.accumulator(args) };
        if args.is_distinct {
            return Ok(Box::new(DistinctAverage { values: self.sum.distinct(args)?, sum, output }));
        }
        Ok(Box::new(PlainAverage { sum: self.sum.plain(args, &sum)?, count: 0, output }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if average_type(only(args.input_fields)?.data_type()).is_none() {
            return self.native.state_fields(args);
        }
        let mut fields = self.sum.native_state(&args)?;
        if !args.is_distinct {
            fields.push(Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)));
        }
        Ok(fields)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match exact(&args) {
            Ok(Some(_)) => !args.is_distinct,
            _ => self.native.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let Some(Exact { sum, output }) = exact(&args)? else {
            return self.native.create_groups_accumulator(args);
        };
        let count = AccumulatorArgs {
            return_field: Arc::new(Field::new(args.name, DataType::Int64, true)),
            schema: args.schema,
            order_bys: args.order_bys,
            name: args.name,
            exprs: args.exprs,
            expr_fields: args.expr_fields,
            ..args
        };
        let count = self.count.create_groups_accumulator(count)?;
        let args =
            AccumulatorArgs { return_field: Arc::new(Field::new(args.name, sum.clone(), true)), ..args };
        Ok(Box::new(AverageGroups { sum: self.sum.groups(args, &sum)?, count, output }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let argument = only(args.expr_fields)?.data_type().clone();
        match exact(&args)? {
            Some(Exact { sum, output })
                if !args.is_distinct && !matches!(argument, DataType::Decimal256(..)) =>
            {
                let (input, _) = native_types(&argument);
                Ok(Box::new(SlidingAverage { values: SlidingSum::new(input, sum.clone()), sum, output }))
            }
            _ => self.native.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Null where there were no rows.
fn average(sum: &ScalarValue, count: i64, output: &DataType) -> Result<ScalarValue> {
    if sum.is_null() || count == 0 {
        return ScalarValue::try_from(output);
    }
    let count = ScalarValue::Int64(Some(count)).to_array()?;
    ScalarValue::try_from_array(&numeric::divide(&sum.to_array()?, &count, output)?, 0)
}

#[derive(Debug)]
struct PlainAverage {
    sum: GuardedSum,
    count: i64,
    output: DataType,
}

/// The states of sum and count.
fn two(states: &[ArrayRef]) -> Result<(&ArrayRef, &ArrayRef)> {
    match states {
        [sum, count] => Ok((sum, count)),
        _ => Err(DataFusionError::Internal("state of avg".into())),
    }
}

impl Accumulator for PlainAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = only(values)?;
        self.count += (column.len() - column.null_count()) as i64;
        self.sum.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        average(&self.sum.evaluate()?, self.count, &self.output)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sum.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = self.sum.state()?;
        state.push(ScalarValue::Int64(Some(self.count)));
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (sum, count) = two(states)?;
        self.count += count.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        self.sum.merge_batch(std::slice::from_ref(sum))
    }
}

#[derive(Debug)]
struct SlidingAverage {
    values: SlidingSum,
    sum: DataType,
    output: DataType,
}

impl Accumulator for SlidingAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (sum, count) = self.values.total();
        average(&exact_scalar(sum, &self.sum)?, count, &self.output)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }
}

#[derive(Debug)]
struct DistinctAverage {
    values: DistinctValues,
    sum: DataType,
    output: DataType,
}

impl Accumulator for DistinctAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.values.exact()?.ok_or_else(|| {
            DataFusionError::NotImplemented("avg(DISTINCT) of numbers with more than 38 digits".into())
        })?;
        average(&exact_scalar(total(&values)?, &self.sum)?, values.len() as i64, &self.output)
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

struct AverageGroups {
    sum: GuardedGroups,
    count: Box<dyn GroupsAccumulator>,
    output: DataType,
}

impl GroupsAccumulator for AverageGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.count.update_batch(values, groups, filter, total)?;
        self.sum.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (self.sum.evaluate(emit_to)?, self.count.evaluate(emit_to)?);
        numeric::divide(&sums, &counts, &self.output)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut state = self.sum.state(emit_to)?;
        state.extend(self.count.state(emit_to)?);
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let (sum, count) = two(states)?;
        self.count.merge_batch(std::slice::from_ref(count), groups, total)?;
        self.sum.merge_batch(std::slice::from_ref(sum), groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut state = self.sum.convert_to_state(values, filter)?;
        state.extend(self.count.convert_to_state(values, filter)?);
        Ok(state)
    }

    fn size(&self) -> usize {
        self.sum.size() + self.count.size()
    }
}

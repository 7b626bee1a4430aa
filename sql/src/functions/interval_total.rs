//! `avg` and `sum` of intervals, on top of the functions of these names that do all other types.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, IntervalMonthDayNanoType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use super::columnar::INTERVAL;
use super::interval::{Interval, is_interval};

/// What becomes of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    Sum,
    Average,
}

/// The function.
#[derive(Debug)]
pub struct OfIntervals {
    total: Total,
    others: Arc<AggregateUDF>,
    signature: Signature,
}

impl OfIntervals {
    /// `others`: for arguments of other types.
    pub fn new(total: Total, others: Arc<AggregateUDF>) -> Self {
        Self { total, others, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn accumulator_of_intervals(&self) -> Box<dyn Accumulator> {
        Box::new(IntervalTotal { total: self.total, sum: Interval::ZERO, count: 0 })
    }
}

impl PartialEq for OfIntervals {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total && self.others == other.others
    }
}

impl Eq for OfIntervals {}

impl Hash for OfIntervals {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.total.hash(state);
        self.others.hash(state);
    }
}

fn intervals(fields: &[FieldRef]) -> bool {
    matches!(fields, [field] if is_interval(field.data_type()))
}

impl AggregateUDFImpl for OfIntervals {
    fn name(&self) -> &str {
        self.others.name()
    }

    fn aliases(&self) -> &[String] {
        self.others.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.others.schema_name(params)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if matches!(types, [argument] if is_interval(argument)) {
            return Ok(vec![INTERVAL]);
        }
        let fields: Vec<FieldRef> =
            types.iter().map(|t| Arc::new(Field::new("argument", t.clone(), true))).collect();
        let coerced = fields_with_udf(&fields, self.others.as_ref())?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [argument] if is_interval(argument) => Ok(INTERVAL),
            _ => self.others.return_type(types),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        if intervals(fields) {
            return Ok(Arc::new(Field::new(self.name(), INTERVAL, true)));
        }
        self.others.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.others.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !intervals(args.expr_fields) {
            return self.others.accumulator(args);
        }
        if args.is_distinct {
            let message = format!("{}(DISTINCT …) of intervals is not supported", self.name());
            return Err(super::function::error("0A000", message));
        }
        Ok(self.accumulator_of_intervals())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !intervals(args.input_fields) {
            return self.others.state_fields(args);
        }
        let part = |name: &str| Arc::new(Field::new(format!("{}[{name}]", args.name), DataType::Int64, true));
        Ok(["months", "days", "micros", "count"].map(part).to_vec())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !intervals(args.expr_fields) && self.others.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.others.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if intervals(args.expr_fields) {
            return self.accumulator(args);
        }
        self.others.create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.others.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        None
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.others.default_value(data_type)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.others.inner().set_monotonicity(data_type)
    }
}

#[derive(Debug)]
struct IntervalTotal {
    total: Total,
    sum: Interval,
    count: i64,
}

impl IntervalTotal {
    fn change(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let values = values.first().and_then(|values| values.as_primitive_opt::<IntervalMonthDayNanoType>());
        let values = values.ok_or_else(|| DataFusionError::Internal("intervals expected".into()))?;
        for value in values.iter().flatten() {
            let value = Interval::from(value);
            self.sum = self.sum.plus(if sign < 0 { value.negated() } else { value });
            self.count += sign;
        }
        Ok(())
    }
}

impl Accumulator for IntervalTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let value = match self.total {
            Total::Sum => self.sum,
            Total::Average => self.sum.divided_by(self.count as f64)?,
        };
        Ok(ScalarValue::IntervalMonthDayNano(Some(value.to_arrow()?)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = [self.sum.months, self.sum.days, self.sum.micros, self.count];
        Ok(parts.map(|part| ScalarValue::Int64(Some(part))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [months, days, micros, counts] = states else {
            return Err(DataFusionError::Internal("state of an interval's sum".into()));
        };
        let part = |array: &ArrayRef, row: usize| array.as_primitive::<Int64Type>().value(row);
        for row in 0..counts.len() {
            let state =
                Interval { months: part(months, row), days: part(days, row), micros: part(micros, row) };
            self.sum = self.sum.plus(state);
            self.count += part(counts, row);
        }
        Ok(())
    }
}

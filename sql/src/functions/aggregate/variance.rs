//! `variance`, `stddev` and their kin: of integers and decimals a `numeric`, computed exactly; of floating
//! point numbers DataFusion's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::sum::{coerce, only};
use crate::functions::numeric::{
    QUOTIENT_SCALE, as_quotient, digits, exact_type, of_wide, overflow, power_of_ten, rounded_quotient,
};

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Statistic {
    root: bool,
    /// Of the whole population; else of a sample.
    population: bool,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Variance {
    statistic: Statistic,
    name: &'static str,
    aliases: Vec<String>,
    native: Arc<AggregateUDF>,
    signature: Signature,
}

/// The four functions.
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |name, aliases: &[&str], root, population, native| {
        Arc::new(AggregateUDF::new_from_impl(Variance {
            statistic: Statistic { root, population },
            name,
            aliases: aliases.iter().map(ToString::to_string).collect(),
            native,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    vec![
        function("stddev", &["stddev_samp"], true, false, stddev_udaf()),
        function("stddev_pop", &[], true, true, stddev_pop_udaf()),
        function("var", &["var_samp", "var_sample", "variance"], false, false, var_samp_udaf()),
        function("var_pop", &["var_population"], false, true, var_pop_udaf()),
    ]
}

impl Variance {
    fn exact_type(&self, argument: &DataType) -> Option<DataType> {
        let (precision, scale) = digits(argument)?;
        let whole = i16::from(precision) - i16::from(scale);
        Some(exact_type(if self.statistic.root { whole } else { 2 * whole }, QUOTIENT_SCALE.into()))
    }
}

impl AggregateUDFImpl for Variance {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = coerce(self.name, types)?;
        Ok(coerced
            .into_iter()
            .map(|argument| match argument {
                DataType::Float32 => DataType::Float64,
                other => other,
            })
            .collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.exact_type(only(types)?).unwrap_or(DataType::Float64))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let argument = only(fields)?.data_type();
        let field = Field::new(self.name, self.return_type(std::slice::from_ref(argument))?, true);
        Ok(Arc::new(if digits(argument).is_some() { as_quotient(field, 0) } else { field }))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let argument = only(args.expr_fields)?.data_type();
        let (Some(output), Some((_, scale))) = (self.exact_type(argument), digits(argument)) else {
            return self.native.accumulator(args);
        };
        if args.is_distinct {
            return Err(DataFusionError::NotImplemented(format!("{}(DISTINCT) of exact numbers", self.name)));
        }
        let moments = Moments {
            statistic: self.statistic,
            output,
            scale,
            count: 0,
            sum: i256::ZERO,
            squares: i256::ZERO,
        };
        Ok(Box::new(moments))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let Some((_, scale)) = digits(only(args.input_fields)?.data_type()) else {
            return self.native.state_fields(args);
        };
        let field =
            |part: &str, data_type| Arc::new(Field::new(format!("{}[{part}]", args.name), data_type, true));
        Ok(vec![
            field("count", DataType::Int64),
            field("sum", DataType::Decimal256(76, scale)),
            field("squares", DataType::Decimal256(76, squared(scale))),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        let exact = only(args.expr_fields).is_ok_and(|field| digits(field.data_type()).is_some());
        !exact && self.native.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.native.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match digits(only(args.expr_fields)?.data_type()) {
            Some(_) => self.accumulator(args),
            None => self.native.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Scale of the squares of numbers.
fn squared(scale: i8) -> i8 {
    scale.saturating_mul(2).min(76)
}

/// Number, sum and sum of squares of the values, without their points.
#[derive(Debug)]
struct Moments {
    statistic: Statistic,
    output: DataType,
    /// Of the values.
    scale: i8,
    count: i64,
    sum: i256,
    squares: i256,
}

impl Moments {
    fn add(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let values = cast(only(values)?, &DataType::Decimal256(76, self.scale))?;
        for value in values.as_primitive::<Decimal256Type>().iter().flatten() {
            let square = value.checked_mul(value).ok_or_else(overflow)?;
            let signed = |value: i256| if sign < 0 { value.wrapping_neg() } else { value };
            self.count += sign;
            self.sum = self.sum.checked_add(signed(value)).ok_or_else(overflow)?;
            self.squares = self.squares.checked_add(signed(square)).ok_or_else(overflow)?;
        }
        Ok(())
    }

    /// Dividend and divisor of the variance; the dividend has twice the scale of the values. `None`: too
    /// few values.
    fn fraction(&self) -> Result<Option<(i256, i256)>> {
        let count = i256::from_i128(i128::from(self.count));
        let others = if self.statistic.population { self.count } else { self.count - 1 };
        if others <= 0 {
            return Ok(None);
        }
        let squares = count.checked_mul(self.squares).ok_or_else(overflow)?;
        let square = self.sum.checked_mul(self.sum).ok_or_else(overflow)?;
        let dividend = squares.checked_sub(square).ok_or_else(overflow)?;
        let divisor = count.wrapping_mul(i256::from_i128(i128::from(others)));
        Ok(Some((dividend, divisor)))
    }

    fn value(&self) -> Result<Option<i256>> {
        let Some((dividend, divisor)) = self.fraction()? else { return Ok(None) };
        let scale = 2 * i16::from(self.scale);
        let wanted = i16::from(QUOTIENT_SCALE);
        if !self.statistic.root {
            return rescaled(dividend, divisor, scale, wanted).map(Some);
        }
        // With twice the digits, as far as there is room for them.
        let mut digits = 2 * wanted;
        let squared = loop {
            match rescaled(dividend, divisor, scale, digits) {
                Ok(squared) => break squared,
                Err(_) if digits > 8 => digits -= 2,
                Err(e) => return Err(e),
            }
        };
        let root = square_root(squared);
        let missing = power_of_ten(wanted - digits / 2)?;
        root.checked_mul(missing).ok_or_else(overflow).map(Some)
    }
}

/// `dividend / divisor` with `wanted` digits after the point; the dividend has `scale`.
fn rescaled(dividend: i256, divisor: i256, scale: i16, wanted: i16) -> Result<i256> {
    if wanted >= scale {
        let dividend = dividend.checked_mul(power_of_ten(wanted - scale)?).ok_or_else(overflow)?;
        return Ok(rounded_quotient(dividend, divisor));
    }
    let divisor = divisor.checked_mul(power_of_ten(scale - wanted)?).ok_or_else(overflow)?;
    Ok(rounded_quotient(dividend, divisor))
}

/// Rounded to the nearest (Newton's method, from above).
fn square_root(value: i256) -> i256 {
    if value <= i256::ZERO {
        return i256::ZERO;
    }
    let two = i256::from_i128(2);
    let mut root = value.wrapping_div(two).wrapping_add(i256::ONE);
    loop {
        let next = root.wrapping_add(value.wrapping_div(root)).wrapping_div(two);
        if next >= root {
            break;
        }
        root = next;
    }
    let rest = value.wrapping_sub(root.wrapping_mul(root));
    if rest > root { root.wrapping_add(i256::ONE) } else { root }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&of_wide(std::iter::once(self.value()), &self.output)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Decimal256(Some(self.sum), 76, self.scale),
            ScalarValue::Decimal256(Some(self.squares), 76, squared(self.scale)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [counts, sums, squares] = states else {
            return Err(DataFusionError::Internal("state of a variance".into()));
        };
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        for sum in sums.as_primitive::<Decimal256Type>().iter().flatten() {
            self.sum = self.sum.checked_add(sum).ok_or_else(overflow)?;
        }
        for square in squares.as_primitive::<Decimal256Type>().iter().flatten() {
            self.squares = self.squares.checked_add(square).ok_or_else(overflow)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        let root = |value: i128| square_root(i256::from_i128(value)).to_i128().unwrap();
        assert_eq!([root(0), root(1), root(2), root(3), root(15), root(16)], [0, 1, 1, 2, 4, 4]);
        assert_eq!(root(10i128.pow(36)), 10i128.pow(18));
    }
}

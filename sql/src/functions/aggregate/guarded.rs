//! Sums that cannot wrap around. DataFusion's accumulators add decimals without looking: that is as fast as
//! it gets, and right for as long as no sum can leave 128 bits, which a bound on them tells: number of rows
//! times the largest value. When the bound is no longer good enough, an exact sum takes over. Sums of floating
//! point numbers are looked at when they are done.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

use super::infinities::Infinities;
use super::sum::{only, to_native};
use crate::functions::numeric::{narrow, overflow};

/// No sum of decimals may reach it.
const LIMIT: i128 = 100_000_000_000_000_000_000_000_000_000_000_000_000;

/// Tells for how long sums are certain to fit.
#[derive(Debug, Default)]
struct Guard {
    /// Bound of the sum of the values that were not looked at: they are as large as their type allows.
    unseen: f64,
    /// Number of the values that were, and the largest of them.
    seen: f64,
    largest: f64,
}

impl Guard {
    /// `None`: nothing can leave its bits.
    fn of(input: &DataType) -> Option<Self> {
        matches!(input, DataType::Decimal128(..)).then(Self::default)
    }

    /// Whether sums still fit after these values.
    fn admits(&mut self, values: &ArrayRef) -> Result<bool> {
        let DataType::Decimal128(precision, _) = *values.data_type() else { return Ok(true) };
        let rows = values.len() as f64;
        let unseen = self.unseen + rows * 10f64.powi(i32::from(precision));
        // What is rounded is less than the margins.
        if unseen < 0.4 * LIMIT as f64 {
            self.unseen = unseen;
            return Ok(true);
        }
        let largest = bound(narrow(values)?.values());
        let fits = |largest: f64| certainly_fits(self.unseen, self.seen + rows, largest);
        // What stands where values are null may be anything.
        let largest = match values.null_count() > 0 && !fits(self.largest.max(largest)) {
            true => bound_of_valid(narrow(values)?),
            false => largest,
        };
        self.largest = self.largest.max(largest);
        self.seen += rows;
        Ok(certainly_fits(self.unseen, self.seen, self.largest))
    }
}

/// Whether a sum of values that were not looked at, and of others, certainly fits.
fn certainly_fits(unseen: f64, seen: f64, largest: f64) -> bool {
    unseen + seen * largest < 0.9 * LIMIT as f64
}

/// A power of two that all values are below, or its negative not above. All bits in one go cost less than
/// the largest and the smallest value.
fn bound(values: &[i128]) -> f64 {
    let bits = values.iter().fold(0, |bits, value| bits | (value ^ (value >> 127)));
    2f64.powi(i32::try_from(i128::BITS - bits.leading_zeros()).unwrap_or(i32::MAX))
}

fn bound_of_valid(values: &Decimal128Array) -> f64 {
    values.iter().flatten().map(|value| bound(&[value])).fold(0.0, f64::max)
}

/// A sum as a value of type `output`. Fails with 22003.
pub fn exact_scalar(sum: Option<i128>, output: &DataType) -> Result<ScalarValue> {
    let Some(sum) = sum else { return ScalarValue::try_from(output) };
    Ok(match output {
        DataType::Int64 => ScalarValue::Int64(Some(i64::try_from(sum).map_err(|_| overflow())?)),
        DataType::Decimal128(p, s) if sum.unsigned_abs() < LIMIT.unsigned_abs() => {
            ScalarValue::Decimal128(Some(sum), *p, *s)
        }
        _ => return Err(overflow()),
    })
}

/// The values of decimals and integers.
fn exact_values(values: &ArrayRef) -> Result<Decimal128Array> {
    let wide = match values.as_primitive_opt::<Int64Type>() {
        Some(integers) => integers.unary(i128::from),
        None => narrow(values)?.clone(),
    };
    Ok(wide)
}

/// Sum of all rows.
#[derive(Debug)]
pub struct GuardedSum {
    inner: Box<dyn Accumulator>,
    guard: Option<Guard>,
    /// The sum since the guard gave up.
    exact: Option<Option<i128>>,
    infinities: Infinities,
    input: DataType,
    /// The type of `inner`'s sum.
    sum: DataType,
    output: DataType,
}

impl GuardedSum {
    pub fn new(inner: Box<dyn Accumulator>, input: DataType, sum: DataType, output: DataType) -> Self {
        let guard = Guard::of(&input);
        Self { inner, guard, exact: None, infinities: Infinities::default(), input, sum, output }
    }

    /// For an accumulator that needs no guard.
    pub fn unguarded(inner: Box<dyn Accumulator>, input: DataType, sum: DataType, output: DataType) -> Self {
        let infinities = Infinities::default();
        Self { inner, guard: None, exact: None, infinities, input, sum, output }
    }

    fn add(&mut self, values: &ArrayRef, merge: bool) -> Result<()> {
        if self.exact.is_none()
            && let Some(guard) = &mut self.guard
            && !guard.admits(values)?
        {
            self.exact = Some(match self.inner.evaluate()? {
                ScalarValue::Decimal128(sum, ..) => sum,
                _ => None,
            });
        }
        self.infinities.note(values, |_| Some(0), None);
        let column = std::slice::from_ref(values);
        match &mut self.exact {
            None if merge => self.inner.merge_batch(column),
            None => self.inner.update_batch(column),
            Some(sum) => {
                for value in narrow(values)?.iter().flatten() {
                    *sum = Some(sum.unwrap_or(0).checked_add(value).ok_or_else(overflow)?);
                }
                Ok(())
            }
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        match self.exact {
            Some(sum) => exact_scalar(sum, &self.sum),
            None => self.inner.evaluate(),
        }
    }

    fn check(&self, value: ScalarValue) -> Result<ScalarValue> {
        if self.sum.is_floating() {
            self.infinities.check(&value.to_array()?)?;
        }
        Ok(value)
    }
}

impl Accumulator for GuardedSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = to_native(values, &self.input)?;
        self.add(only(&values)?, false)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.value()?;
        let value = if value.data_type() == self.output { value } else { value.cast_to(&self.output)? };
        self.check(value)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        match self.exact {
            Some(_) => Ok(vec![self.value()?]),
            None => self.inner.state()?.into_iter().map(|value| self.check(value)).collect(),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(only(states)?, true)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&to_native(values, &self.input)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.guard.is_none() && self.inner.supports_retract_batch()
    }
}

/// Sum of exact numbers in a window frame that moves.
#[derive(Debug)]
pub struct SlidingSum {
    input: DataType,
    output: DataType,
    sum: i128,
    count: i64,
}

impl SlidingSum {
    pub fn new(input: DataType, output: DataType) -> Self {
        Self { input, output, sum: 0, count: 0 }
    }

    /// Sum and number of the values in the frame.
    pub fn total(&self) -> (Option<i128>, i64) {
        ((self.count > 0).then_some(self.sum), self.count)
    }
}

impl Accumulator for SlidingSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in exact_values(only(&to_native(values, &self.input)?)?)?.iter().flatten() {
            self.sum = self.sum.checked_add(value).ok_or_else(overflow)?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in exact_values(only(&to_native(values, &self.input)?)?)?.iter().flatten() {
            self.sum = self.sum.checked_sub(value).ok_or_else(overflow)?;
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        exact_scalar(self.total().0, &self.output)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(DataFusionError::Internal("the sum of a window has no state".into()))
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(DataFusionError::Internal("the sum of a window has no state".into()))
    }
}

/// Sums of groups.
pub struct GuardedGroups {
    inner: Box<dyn GroupsAccumulator>,
    guard: Option<Guard>,
    /// The sums since the guard gave up; `None`: no value yet.
    exact: Option<Vec<Option<i128>>>,
    infinities: Infinities,
    input: DataType,
    /// The type of `inner`'s sums.
    sum: DataType,
    output: DataType,
}

impl GuardedGroups {
    pub fn new(inner: Box<dyn GroupsAccumulator>, input: DataType, sum: DataType, output: DataType) -> Self {
        let guard = Guard::of(&input);
        Self { inner, guard, exact: None, infinities: Infinities::default(), input, sum, output }
    }

    fn add(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
        merge: bool,
    ) -> Result<()> {
        if self.exact.is_none()
            && let Some(guard) = &mut self.guard
            && !guard.admits(values)?
        {
            let sums = self.inner.evaluate(EmitTo::All)?;
            self.exact = Some(narrow(&sums)?.iter().collect());
        }
        self.infinities.note(values, |row| groups.get(row).copied(), filter);
        let column = std::slice::from_ref(values);
        let Some(sums) = &mut self.exact else {
            return match merge {
                true => self.inner.merge_batch(column, groups, total),
                false => self.inner.update_batch(column, groups, filter, total),
            };
        };
        sums.resize(total, None);
        for (row, (value, group)) in narrow(values)?.iter().zip(groups).enumerate() {
            let taken = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let (Some(value), Some(sum), true) = (value, sums.get_mut(*group), taken) {
                *sum = Some(sum.unwrap_or(0).checked_add(value).ok_or_else(overflow)?);
            }
        }
        Ok(())
    }

    /// The sums of the first groups, as values of this type.
    fn sums(&mut self, emit_to: EmitTo, wanted: &DataType) -> Result<ArrayRef> {
        let sums = self.any_sums(emit_to)?;
        let sums = if sums.data_type() == wanted { sums } else { cast(&sums, wanted)? };
        self.infinities.check(&sums)?;
        self.infinities.forget(sums.len());
        Ok(sums)
    }

    fn any_sums(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let Some(sums) = &mut self.exact else { return self.inner.evaluate(emit_to) };
        let emitted = emit_to.take_needed(sums);
        if emitted.iter().flatten().any(|sum| sum.unsigned_abs() >= LIMIT.unsigned_abs()) {
            return Err(overflow());
        }
        Ok(Arc::new(Decimal128Array::from(emitted).with_data_type(self.sum.clone())))
    }
}

impl GroupsAccumulator for GuardedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let values = to_native(values, &self.input)?;
        self.add(only(&values)?, groups, filter, total, false)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.sums(emit_to, &self.output.clone())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.sums(emit_to, &self.sum.clone())?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add(only(states)?, groups, None, total, true)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let states = self.inner.convert_to_state(&to_native(values, &self.input)?, filter)?;
        // DataFusion leaves the type of the values.
        states
            .into_iter()
            .map(|state| match state.data_type() == &self.sum {
                true => Ok(state),
                false => Ok(cast(&state, &self.sum)?),
            })
            .collect()
    }

    fn size(&self) -> usize {
        let exact = self.exact.as_ref().map_or(0, |sums| sums.capacity() * size_of::<Option<i128>>());
        self.inner.size() + exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_are_within_the_bound() {
        for (values, expected) in
            [(vec![], 1.0), (vec![0, -1], 1.0), (vec![5, -3], 8.0), (vec![-8, 7], 8.0), (vec![8], 16.0)]
        {
            assert_eq!(bound(&values), expected, "{values:?}");
        }
        assert_eq!(bound(&[i128::MIN, i128::MAX]), 2f64.powi(127));
    }

    #[test]
    fn sums_are_guarded_when_they_may_not_fit() {
        let decimals = |values: Vec<Option<i128>>| {
            Arc::new(Decimal128Array::from(values).with_data_type(DataType::Decimal128(38, 0))) as ArrayRef
        };
        let mut guard = Guard::of(&DataType::Decimal128(38, 0)).unwrap();
        assert!(guard.admits(&decimals(vec![Some(1), None, Some(-1_000)])).unwrap());
        assert!(guard.admits(&decimals(vec![Some(LIMIT / 100)])).unwrap());
        assert!(!guard.admits(&decimals(vec![Some(LIMIT / 2)])).unwrap());
        // Nobody sees what is under a null.
        let hidden = Decimal128Array::new(vec![i128::MAX, 1].into(), Some(vec![false, true].into()));
        let hidden = Arc::new(hidden.with_data_type(DataType::Decimal128(38, 0))) as ArrayRef;
        assert!(Guard::of(hidden.data_type()).unwrap().admits(&hidden).unwrap());
    }
}

//! The aggregate behind scalar subqueries: the only value, NULL when there is none, and error 21000
//! when there is more than one.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

use super::function::error;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SingleValue {
    signature: Signature,
}

impl Default for SingleValue {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types
            .first()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("single_value needs an argument".into()))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match fields.first() {
            // Keeps the metadata, and with it the Postgres type.
            Some(field) => Ok(Arc::new(
                Field::new(self.name(), field.data_type().clone(), true)
                    .with_metadata(field.metadata().clone()),
            )),
            None => Err(DataFusionError::Internal("single_value needs an argument".into())),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleValueAccumulator {
            value: ScalarValue::try_from(args.return_field.data_type())?,
            count: 0,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new("value", args.return_field.data_type().clone(), true)),
            Arc::new(Field::new("count", DataType::Int64, false)),
        ])
    }
}

#[derive(Debug)]
struct SingleValueAccumulator {
    value: ScalarValue,
    count: i64,
}

impl SingleValueAccumulator {
    fn add(&mut self, values: &ArrayRef, row: usize) -> Result<()> {
        self.count += 1;
        if self.count > 1 {
            return Err(error("21000", "more than one row returned by a subquery used as an expression"));
        }
        self.value = ScalarValue::try_from_array(values, row)?;
        self.value.compact();
        Ok(())
    }
}

impl Accumulator for SingleValueAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(values) = values.first() {
            // Never looks at more than two rows: the second is an error.
            for row in 0..values.len() {
                self.add(values, row)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else {
            return Err(DataFusionError::Internal("state of single_value".into()));
        };
        let counts = counts.as_primitive::<Int64Type>();
        for row in (0..counts.len()).filter(|row| counts.value(*row) > 0) {
            self.add(values, row)?;
        }
        Ok(())
    }
}

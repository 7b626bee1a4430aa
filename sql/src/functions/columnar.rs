//! Functions over whole arrow arrays, for those that users call once per row of a table: types are
//! agreed on while planning, the function then sees arrays of exactly these types.

use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

use super::function::error;
use super::preimage::{self, Preimage};
use crate::pg_catalog::types::format_type;
use crate::types::pg_type;

/// Timestamps without time zone, as all functions here see them.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
/// Intervals, as all functions here see them.
pub const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Timestamps with time zone, as all functions here see them.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// The arguments of one call.
#[derive(Debug)]
pub struct Columns<'a> {
    pub arrays: Vec<ArrayRef>,
    pub fields: &'a [FieldRef],
    pub options: &'a ConfigOptions,
    /// The type to return.
    pub result: &'a DataType,
    pub rows: usize,
}

impl Columns<'_> {
    /// Argument `i`. Fails (internal error) when there is none.
    pub fn array(&self, i: usize) -> Result<&ArrayRef> {
        self.arrays.get(i).ok_or_else(|| DataFusionError::Internal("an argument is missing".into()))
    }

    /// Argument `i`, which is text.
    pub fn text(&self, i: usize) -> Result<&StringArray> {
        self.array(i)?
            .as_string_opt::<i32>()
            .ok_or_else(|| DataFusionError::Internal("an argument is no text".into()))
    }
}

/// A function.
#[derive(Debug)]
pub struct Columnar {
    pub name: &'static str,
    pub volatility: Volatility,
    /// The types to cast the arguments to; `None`: there is no such function.
    pub arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// The type of the result, by the types of the arguments and those of their values that are constant.
    pub returns: fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>,
    pub eval: fn(&Columns<'_>) -> Result<ArrayRef>,
}

/// A [`Columnar`] as DataFusion calls it.
#[derive(Debug)]
pub struct ColumnarFunction {
    definition: &'static Columnar,
    signature: Signature,
    preimage: Option<Preimage>,
}

impl ColumnarFunction {
    pub fn new(definition: &'static Columnar) -> Self {
        Self {
            definition,
            signature: Signature::user_defined(definition.volatility),
            preimage: preimage::of(definition.name),
        }
    }
}

impl PartialEq for ColumnarFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for ColumnarFunction {}

impl Hash for ColumnarFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for ColumnarFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.definition.returns)(types, &[])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let result = (self.definition.returns)(&types, args.scalar_arguments)?;
        Ok(Arc::new(Field::new(self.definition.name, result, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.definition.arguments)(types).ok_or_else(|| {
            let names: Vec<_> = types.iter().map(type_name).collect();
            error("42883", format!("function {}({}) does not exist", self.definition.name, names.join(", ")))
        })
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        match (self.preimage, value.as_literal()) {
            (Some(preimage), Some(value)) => preimage(args, value, info),
            _ => Ok(PreimageResult::None),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let constant = all_scalar && self.definition.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = args.return_field.data_type();
        let columns =
            Columns { arrays, fields: &args.arg_fields, options: &args.config_options, result, rows };
        let array = (self.definition.eval)(&columns)?;
        let array = if array.data_type() == result { array } else { cast(&array, result)? };
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// A type as Postgres names it in messages.
pub fn type_name(data_type: &DataType) -> String {
    field_type_name(&Field::new("", data_type.clone(), true))
}

/// The type of a field likewise.
pub fn field_type_name(field: &Field) -> String {
    format_type(pg_type(field).0.oid(), None)
}

/// Text, or a value without a type.
pub fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

/// The types of two-argument functions whose second argument is text.
pub fn with_text(first: DataType, second: &DataType) -> Option<Vec<DataType>> {
    is_text(second).then(|| vec![first, DataType::Utf8])
}

/// What is made of a text, kept for as long as the text stays the same.
#[derive(Debug)]
pub struct Parsed<T> {
    text: String,
    parsed: T,
    parse: fn(&str) -> Result<T>,
}

impl<T> Parsed<T> {
    pub fn new(parse: fn(&str) -> Result<T>) -> Result<Self> {
        Ok(Self { text: String::new(), parsed: parse("")?, parse })
    }

    pub fn of(&mut self, text: &str) -> Result<&T> {
        if self.text != text {
            self.parsed = (self.parse)(text)?;
            self.text = text.to_string();
        }
        Ok(&self.parsed)
    }
}

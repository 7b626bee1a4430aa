//! JSON functions and operators (manual 9.16) on `json`, `jsonb` and text.
//!
//! Both types are text with the type's name in the field's metadata; `jsonb` is kept in its normal form
//! ([`jsonb`]). Operators are planned as functions ([`crate::planner::json_operators`]), aggregates as
//! functions of `array_agg`, set-returning functions give arrays ([`crate::analyzer`]).

mod access;
mod aggregate;
mod build;
mod change;
mod containment;
pub mod jsonb;
mod sets;
pub mod syntax;
pub mod value;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Int32Builder, ListBuilder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::function::error;
use crate::types::PG_TYPE;

/// Type of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    Json,
    Jsonb,
    Text,
    Boolean,
    Integer,
    /// An array of texts, also for arrays of documents.
    Texts,
}

/// A result.
#[derive(Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    Boolean(bool),
    Integer(i32),
    Texts(Vec<Option<String>>),
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_string()))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A function.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    pub returns: Returns,
    /// Least and greatest number of arguments.
    pub arguments: (usize, usize),
    /// NULL for any NULL argument, without being called.
    pub strict: bool,
    pub eval: fn(&Row<'_>) -> Result<Cell>,
}

const fn strict(
    name: &'static str,
    returns: Returns,
    arguments: (usize, usize),
    eval: fn(&Row<'_>) -> Result<Cell>,
) -> Definition {
    Definition { name, returns, arguments, strict: true, eval }
}

const fn called_on_null(
    name: &'static str,
    returns: Returns,
    arguments: (usize, usize),
    eval: fn(&Row<'_>) -> Result<Cell>,
) -> Definition {
    Definition { name, returns, arguments, strict: false, eval }
}

/// Postgres' limit for the arguments of a call.
const MAX_ARGUMENTS: usize = 100;

/// All of them, to register.
pub fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let chapters = [
        access::FUNCTIONS,
        aggregate::FUNCTIONS,
        build::FUNCTIONS,
        change::FUNCTIONS,
        containment::FUNCTIONS,
        sets::FUNCTIONS,
    ];
    chapters.into_iter().flatten().map(|definition| {
        let signature = match definition.arguments {
            (0, _) => Signature::one_of(
                vec![TypeSignature::Nullary, TypeSignature::UserDefined],
                Volatility::Stable,
            ),
            _ => Signature::user_defined(Volatility::Stable),
        };
        Arc::new(ScalarUDF::new_from_impl(JsonFunction { definition, signature }))
    })
}

/// Whether a function is one of these.
pub fn is_json(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<JsonFunction>().is_some()
}

static CASTS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let casts = functions().filter(|function| matches!(function.name(), "json" | "jsonb"));
    casts.map(|function| (function.name().to_string(), function)).collect()
});

/// `value` as `json` or `jsonb`.
pub fn cast_to(name: &str, value: Expr) -> Expr {
    match CASTS.get(name) {
        Some(function) => function.call(vec![value]),
        None => value,
    }
}

/// The arguments of one row.
#[derive(Debug)]
pub struct Row<'a> {
    pub arrays: &'a [ArrayRef],
    fields: &'a [FieldRef],
    pub options: &'a ConfigOptions,
    at: usize,
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("an argument is missing".into())
}

impl Row<'_> {
    /// Number of arguments.
    pub fn width(&self) -> usize {
        self.arrays.len()
    }

    pub fn is_null(&self, i: usize) -> bool {
        self.arrays.get(i).is_none_or(|array| array.is_null(self.at))
    }

    /// Argument `i` and the row to look at.
    pub fn argument(&self, i: usize) -> Result<(&ArrayRef, &Field, usize)> {
        let array = self.arrays.get(i).ok_or_else(missing)?;
        Ok((array, self.fields.get(i).ok_or_else(missing)?, self.at))
    }

    /// Argument `i`, a text. Fails with 42883 for any other type.
    pub fn text(&self, i: usize) -> Result<&str> {
        let array = self.arrays.get(i).ok_or_else(missing)?;
        match array.as_string_opt::<i32>() {
            Some(texts) if !texts.is_null(self.at) => Ok(texts.value(self.at)),
            Some(_) => Ok(""),
            None => Err(wrong_type(array.data_type())),
        }
    }

    /// Argument `i` as `jsonb` in normal form.
    pub fn jsonb(&self, i: usize) -> Result<Cow<'_, str>> {
        let text = self.text(i)?;
        if self.is_jsonb(i) {
            return Ok(Cow::Borrowed(text));
        }
        jsonb::normalise(text).map(Cow::Owned)
    }

    /// Whether argument `i` is `jsonb` by its type.
    pub fn is_jsonb(&self, i: usize) -> bool {
        let known = self.fields.get(i).and_then(|field| field.metadata().get(PG_TYPE));
        known.is_some_and(|name| name == "jsonb")
    }

    /// Argument `i`, where it is a whole number.
    pub fn integer(&self, i: usize) -> Option<i64> {
        let array = self.arrays.get(i)?;
        if !array.data_type().is_integer() {
            return None;
        }
        let array = cast(&array.slice(self.at, 1), &DataType::Int64).ok()?;
        let numbers = array.as_primitive::<arrow::datatypes::Int64Type>();
        (!numbers.is_null(0)).then(|| numbers.value(0))
    }

    /// Argument `i`, an array of texts or an array literal. `None`: it is neither.
    pub fn texts(&self, i: usize) -> Option<Vec<Option<String>>> {
        let array = self.arrays.get(i)?;
        if let Some(texts) = array.as_string_opt::<i32>() {
            return crate::pg_catalog::value::parse_array_literal(texts.value(self.at));
        }
        let list = array.as_list_opt::<i32>()?;
        let items = cast(&list.value(self.at), &DataType::Utf8).ok()?;
        let items: &StringArray = items.as_string_opt::<i32>()?;
        Some(items.iter().map(|item| item.map(str::to_string)).collect())
    }
}

/// For an argument of a type that no function of the name takes.
pub fn wrong_type(data_type: &DataType) -> DataFusionError {
    let name = super::columnar::type_name(data_type);
    error("42883", format!("a JSON function does not exist for type {name}"))
}

#[derive(Debug)]
struct JsonFunction {
    definition: &'static Definition,
    signature: Signature,
}

impl PartialEq for JsonFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for JsonFunction {}

impl Hash for JsonFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

fn data_type(returns: Returns) -> DataType {
    match returns {
        Returns::Json | Returns::Jsonb | Returns::Text => DataType::Utf8,
        Returns::Boolean => DataType::Boolean,
        Returns::Integer => DataType::Int32,
        Returns::Texts => DataType::new_list(DataType::Utf8, true),
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(data_type(self.definition.returns))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.definition.name, data_type(self.definition.returns), true);
        let named = |name: &str| HashMap::from([(PG_TYPE.to_string(), name.to_string())]);
        Ok(Arc::new(match self.definition.returns {
            Returns::Json => field.with_metadata(named("json")),
            Returns::Jsonb => field.with_metadata(named("jsonb")),
            _ => field,
        }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (least, greatest) = self.definition.arguments;
        if types.len() < least || types.len() > greatest {
            let name = self.definition.name;
            return Err(error(
                "42883",
                format!("function {name} does not exist with {} arguments", types.len()),
            ));
        }
        let text = |t: &DataType| t.is_string() || t.is_null();
        Ok(types.iter().map(|t| if text(t) { DataType::Utf8 } else { t.clone() }).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| plain(arg, rows)).collect::<Result<Vec<_>>>()?;
        let mut out = Column::new(self.definition.returns);
        for at in 0..rows {
            let row = Row { arrays: &arrays, fields: &args.arg_fields, options: &args.config_options, at };
            if self.definition.strict && (0..row.width()).any(|i| row.is_null(i)) {
                out.append(Cell::Null);
            } else {
                out.append((self.definition.eval)(&row)?);
            }
        }
        let array = out.finish();
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// Texts of one kind, and no dictionaries.
fn plain(arg: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
    let array = arg.to_array(rows)?;
    Ok(match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => cast(&array, &DataType::Utf8)?,
        DataType::Dictionary(_, value) => {
            let target = if value.is_string() { DataType::Utf8 } else { value.as_ref().clone() };
            cast(&array, &target)?
        }
        _ => array,
    })
}

enum Column {
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Integer(Int32Builder),
    Texts(ListBuilder<StringBuilder>),
}

impl Column {
    fn new(returns: Returns) -> Self {
        match returns {
            Returns::Json | Returns::Jsonb | Returns::Text => Self::Text(StringBuilder::new()),
            Returns::Boolean => Self::Boolean(BooleanBuilder::new()),
            Returns::Integer => Self::Integer(Int32Builder::new()),
            Returns::Texts => Self::Texts(ListBuilder::new(StringBuilder::new())),
        }
    }

    /// A cell of another type counts as NULL; definitions give none.
    fn append(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Text(out), Cell::Text(text)) => out.append_value(text),
            (Self::Text(out), _) => out.append_null(),
            (Self::Boolean(out), Cell::Boolean(value)) => out.append_value(value),
            (Self::Boolean(out), _) => out.append_null(),
            (Self::Integer(out), Cell::Integer(value)) => out.append_value(value),
            (Self::Integer(out), _) => out.append_null(),
            (Self::Texts(out), Cell::Texts(texts)) => out.append_value(texts),
            (Self::Texts(out), _) => out.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut out) => Arc::new(out.finish()),
            Self::Boolean(mut out) => Arc::new(out.finish()),
            Self::Integer(mut out) => Arc::new(out.finish()),
            Self::Texts(mut out) => Arc::new(out.finish()),
        }
    }
}

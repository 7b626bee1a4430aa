//! How the functions of this module are defined: a name, a result type, and a plain Rust function
//! from values to a value.
//!
//! Catalog functions are called a few thousand times per statement at most; what counts is that each
//! is short and cannot panic.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, SqlState};
use crate::pg_catalog::CatalogContext;
use crate::pg_catalog::value::{Value, arrow_type, field, from_array, to_array};
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;
use crate::types::PG_TYPE;

/// What a function may look at besides its arguments.
#[derive(Debug)]
pub struct Call<'a> {
    options: &'a ConfigOptions,
    name: &'static str,
    fields: &'a [FieldRef],
}

impl Call<'_> {
    /// Name of the type of an argument, where arrow's type does not tell it.
    pub fn type_name(&self, argument: usize) -> Option<&str> {
        self.fields.get(argument)?.metadata().get(PG_TYPE).map(String::as_str)
    }

    /// The session.
    pub fn info(&self) -> Result<&Arc<SessionInfo>> {
        SessionInfo::of(self.options)
            .or_else(|| CatalogContext::of(self.options).map(|context| &context.info))
            .ok_or_else(|| {
                DataFusionError::Internal(format!("{} was called outside of a session", self.name))
            })
    }

    /// The catalog.
    pub fn catalog(&self) -> Result<&Arc<CatalogContext>> {
        CatalogContext::of(self.options)
            .ok_or_else(|| DataFusionError::Internal(format!("{} was called without a catalog", self.name)))
    }
}

/// An error with a SQLSTATE, as it crosses DataFusion.
pub fn error(code: &'static str, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(SqlState(code), message)))
}

/// Computes one row.
pub type Eval = fn(&Call<'_>, &[Value]) -> Result<Value>;

/// A function.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    /// `typname` of the result.
    pub returns: &'static str,
    /// Least and greatest number of arguments.
    pub arguments: (usize, usize),
    /// NULL for any NULL argument, without being called.
    pub strict: bool,
    pub volatility: Volatility,
    pub eval: Eval,
}

impl Definition {
    /// A strict function of the catalog or the session.
    pub const fn strict(
        name: &'static str,
        returns: &'static str,
        arguments: (usize, usize),
        eval: Eval,
    ) -> Self {
        Self { name, returns, arguments, strict: true, volatility: Volatility::Stable, eval }
    }

    /// A function that is called with NULL arguments too.
    pub const fn called_on_null(
        name: &'static str,
        returns: &'static str,
        arguments: (usize, usize),
        eval: Eval,
    ) -> Self {
        Self { name, returns, arguments, strict: false, volatility: Volatility::Stable, eval }
    }

    #[must_use]
    pub const fn immutable(mut self) -> Self {
        self.volatility = Volatility::Immutable;
        self
    }

    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }
}

/// A [`Definition`] as DataFusion calls it.
#[derive(Debug)]
pub struct Function {
    definition: &'static Definition,
    signature: Signature,
}

impl Function {
    pub fn new(definition: &'static Definition) -> Self {
        let signature = match definition.arguments {
            (_, 0) => TypeSignature::Nullary,
            (0, _) => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::UserDefined]),
            _ => TypeSignature::UserDefined,
        };
        Self { definition, signature: Signature::new(signature, definition.volatility) }
    }

    /// Whether it may ask for the session or the catalog.
    pub fn looks_up(&self) -> bool {
        self.definition.volatility != Volatility::Immutable
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(arrow_type(self.definition.returns))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(field(self.definition.name, self.definition.returns)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (least, greatest) = self.definition.arguments;
        if types.len() < least || types.len() > greatest {
            return Err(error(
                "42883",
                format!("function {} does not exist with {} arguments", self.definition.name, types.len()),
            ));
        }
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call =
            Call { options: &args.config_options, name: self.definition.name, fields: &args.arg_fields };
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let constant = all_scalar && self.definition.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let columns =
            args.args.iter().map(|arg| from_array(&arg.to_array(rows)?)).collect::<Result<Vec<_>>>()?;
        let mut results: Vec<Value> = Vec::with_capacity(rows);
        let mut row = Vec::with_capacity(columns.len());
        let stable = self.definition.volatility != Volatility::Volatile;
        for i in 0..rows {
            // Catalogs have long runs of the same owner, schema or type.
            if stable
                && let Some(before) = i.checked_sub(1)
                && columns.iter().all(|column| column.get(before) == column.get(i))
                && let Some(result) = results.get(before)
            {
                results.push(result.clone());
                continue;
            }
            row.clear();
            row.extend(columns.iter().filter_map(|column| column.get(i).cloned()));
            if self.definition.strict && row.iter().any(Value::is_null) {
                results.push(Value::Null);
            } else {
                results.push((self.definition.eval)(&call, &row)?);
            }
        }
        let array = to_array(&results, &arrow_type(self.definition.returns))?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// Argument `i` as text; the empty string when it is no text.
pub fn text(arguments: &[Value], i: usize) -> &str {
    arguments.get(i).and_then(Value::as_text).unwrap_or_default()
}

/// Argument `i` as OID; 0, which no object has, when it is no number.
pub fn oid(arguments: &[Value], i: usize) -> u32 {
    arguments.get(i).and_then(Value::as_oid).unwrap_or_default()
}

//! Errors of DataFusion, by variant; wrappers are walked through, errors of this workspace that
//! travelled inside are found again by type.
//!
//! `Plan` and `Execution` carry only text. The few messages with a SQLSTATE of their own in
//! Postgres are told apart by it; any other is a fault of the statement, not of the server.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;

use super::{Error, NO_MEMORY, SqlState, chain, from_arrow};

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        Self::from(&e)
    }
}

impl From<&DataFusionError> for Error {
    fn from(e: &DataFusionError) -> Self {
        match e {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from(inner.as_ref())
            }
            DataFusionError::Shared(inner) => Self::from(inner.as_ref()),
            DataFusionError::Collection(errors) => {
                errors.first().map_or_else(|| from_arrow::unknown(e), Self::from)
            }
            DataFusionError::External(source) => external(source.as_ref()),
            DataFusionError::ArrowError(e, _) => Self::from(e.as_ref()),
            DataFusionError::ParquetError(e) => parquet(e),
            DataFusionError::ObjectStore(e) => object_store(e.as_ref()),
            DataFusionError::IoError(e) => io(e),
            DataFusionError::SQL(e, _) => Self::new(SqlState::SYNTAX_ERROR, e.to_string()),
            DataFusionError::NotImplemented(text) => not_implemented(text),
            DataFusionError::Internal(text) => internal(text),
            DataFusionError::Plan(text) => plan(text),
            DataFusionError::Configuration(text) => {
                Self::new(SqlState::INVALID_PARAMETER_VALUE, text.clone())
            }
            DataFusionError::SchemaError(e, _) => schema(e),
            DataFusionError::Execution(text) => execution(text),
            DataFusionError::ExecutionJoin(e) if e.is_cancelled() => {
                Self::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
            }
            DataFusionError::ExecutionJoin(e) => from_arrow::unknown(e.as_ref()),
            DataFusionError::ResourcesExhausted(text) => Self::new(SqlState::OUT_OF_MEMORY, NO_MEMORY)
                .with_detail(first_line(text))
                .with_hint("The statement needs more than the memory limit allows."),
            DataFusionError::Substrait(text) | DataFusionError::Ffi(text) => {
                Self::new(SqlState::INTERNAL_ERROR, text.clone())
            }
        }
    }
}

/// An error behind `dyn Error`: one of ours, one of DataFusion's wrapped again, or somebody else's.
pub(super) fn external(e: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(e) = e.downcast_ref::<Error>() {
        return e.clone();
    }
    if let Some(e) = e.downcast_ref::<auric_catalog::Error>() {
        return Error::from(e);
    }
    if let Some(e) = e.downcast_ref::<DataFusionError>() {
        return Error::from(e);
    }
    if let Some(e) = e.downcast_ref::<ArrowError>() {
        return Error::from(e);
    }
    if let Some(e) = e.downcast_ref::<ParquetError>() {
        return parquet(e);
    }
    if let Some(e) = e.downcast_ref::<std::io::Error>() {
        return io(e);
    }
    from_arrow::unknown(e)
}

pub(super) fn io(e: &std::io::Error) -> Error {
    let text = e.to_string();
    if text.contains("exceeded the allowable limit") {
        return Error::new(SqlState::OUT_OF_MEMORY, "out of memory, and of space on disk")
            .with_detail(first_line(&text))
            .with_hint("The statement needs more than the limits of memory and of temporary files allow.");
    }
    Error::new(SqlState::IO_ERROR, text)
}

fn parquet(e: &ParquetError) -> Error {
    match e {
        ParquetError::External(source) => external(source.as_ref()),
        ParquetError::NYI(text) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, text.clone()),
        ParquetError::EOF(_) | ParquetError::General(_) => {
            Error::new(SqlState::DATA_CORRUPTED, e.to_string())
        }
        other => Error::new(SqlState::DATA_CORRUPTED, other.to_string()),
    }
}

/// An object store's error; its type is not one that this crate depends on.
fn object_store(e: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(SqlState::IO_ERROR, "could not access a data file").with_detail(chain(e))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}

fn quoted(text: &str) -> Option<&str> {
    let rest = text.split_once('\'')?.1;
    Some(rest.split_once('\'')?.0)
}

fn schema(e: &SchemaError) -> Error {
    match e {
        SchemaError::AmbiguousReference { field } => Error::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            let message = format!("table name \"{}\" specified more than once", qualifier.table());
            Error::new(SqlState::DUPLICATE_ALIAS, message)
                .with_detail(format!("both have a column \"{name}\""))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let message = match &field.relation {
                Some(relation) => format!("column {}.{} does not exist", relation.table(), field.name),
                None => format!("column \"{}\" does not exist", field.name),
            };
            let error = Error::new(SqlState::UNDEFINED_COLUMN, message);
            let close = valid_fields.iter().find(|valid| valid.name.eq_ignore_ascii_case(&field.name));
            match close {
                Some(close) => {
                    error.with_hint(format!("Perhaps you meant to reference the column \"{}\".", close.name))
                }
                None => error,
            }
        }
    }
}

/// What DataFusion takes for a fault of its own, and is one of the statement.
fn internal(text: &str) -> Error {
    let line = first_line(text);
    if line.contains("async functions should not be called directly") {
        let message = "a function that waits is not supported in this place";
        return Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
            .with_hint("Call it in the SELECT list or in WHERE.");
    }
    let code = if line.contains("Failed to coerce types") {
        SqlState::UNDEFINED_FUNCTION
    } else if line.contains("Cannot run range queries") {
        SqlState::FEATURE_NOT_SUPPORTED
    } else {
        SqlState::INTERNAL_ERROR
    };
    Error::new(code, line)
}

fn not_implemented(text: &str) -> Error {
    if text.contains("OuterReferenceColumn") {
        return Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "a correlated subquery of this form is not supported",
        )
        .with_hint("Write it as a join, or with window functions.");
    }
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, first_line(text))
}

fn plan(text: &str) -> Error {
    let line = first_line(text);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| line.contains(prefix));
    if line.starts_with("Invalid function '") || starts(&["table function '"]) {
        let name = quoted(&line).unwrap_or_default();
        return Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
            .with_hint("No function matches the given name and argument types.");
    }
    if let Some(qualifier) = line.strip_prefix("Invalid qualifier ") {
        let message = format!("missing FROM-clause entry for table \"{qualifier}\"");
        return Error::new(SqlState::UNDEFINED_TABLE, message);
    }
    if starts(&["Inconsistent metadata across values list", "Inconsistent data type across values list"]) {
        return Error::new(SqlState::DATATYPE_MISMATCH, "VALUES types of a column cannot be matched");
    }
    let code = if starts(&["Step cannot be zero"]) {
        return Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero");
    } else if starts(&["LIMIT must be >= 0"]) {
        SqlState("2201W")
    } else if starts(&["OFFSET must be >=0"]) {
        SqlState("2201X")
    } else if starts(&["must match initial ORDER BY", "Order by column out of bounds"]) {
        SqlState("42P10")
    } else if starts(&["is not implemented for window functions"]) {
        SqlState::FEATURE_NOT_SUPPORTED
    } else if starts(&[
        "GROUP BY clause",
        "must appear in the GROUP BY",
        "non-aggregate values",
        "aggregate function",
        "Aggregate functions are not allowed",
    ]) {
        SqlState::GROUPING_ERROR
    } else if starts(&[
        "coerce",
        "No function matches",
        "Cannot infer common argument type",
        "does not support zero arguments",
        "expects",
        "Failed to find",
    ]) {
        SqlState::UNDEFINED_FUNCTION
    } else if starts(&["more than one row"]) {
        SqlState::TOO_MANY_ROWS
    } else if starts(&["placeholder", "Placeholder"]) {
        SqlState::INDETERMINATE_DATATYPE
    } else if starts(&["same number of columns", "number of columns", "columns but only"]) {
        SqlState::SYNTAX_ERROR
    } else if starts(&["have the same name", "duplicate"]) {
        SqlState::DUPLICATE_COLUMN
    } else if starts(&["mismatched", "must be boolean", "Cannot create filter", "Unsupported CAST"]) {
        SqlState::DATATYPE_MISMATCH
    } else {
        SqlState::SYNTAX_ERROR_OR_ACCESS_RULE
    };
    Error::new(code, line)
}

fn execution(text: &str) -> Error {
    let line = first_line(text);
    if line.contains("more than one row") {
        return Error::new(
            SqlState::TOO_MANY_ROWS,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if line.contains("Cannot cast") || line.contains("Error parsing") {
        return from_arrow::text_to_value(&line);
    }
    if line.contains("verflow") {
        return Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value out of range").with_detail(line);
    }
    if line.contains("square root of a negative number") {
        return Error::new(SqlState("2201F"), "cannot take square root of a negative number");
    }
    if line.contains("negative count not allowed") {
        return Error::new(SqlState("22011"), "negative substring length not allowed");
    }
    Error::new(SqlState::INVALID_PARAMETER_VALUE, line)
}

//! Errors of arrow's kernels. Their variants say what kind it is; the value and type at fault are
//! only in the text, from where they are taken for the message when it has the known form.

use arrow::error::ArrowError;

use super::{Error, SqlState, chain};

impl From<&ArrowError> for Error {
    fn from(e: &ArrowError) -> Self {
        match e {
            ArrowError::DivideByZero => Self::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
            ArrowError::ArithmeticOverflow(text) => overflow(text),
            ArrowError::CastError(text) | ArrowError::ParseError(text) => text_to_value(text),
            ArrowError::ComputeError(text) | ArrowError::InvalidArgumentError(text) => computed(text),
            ArrowError::NotYetImplemented(text) => Self::new(SqlState::FEATURE_NOT_SUPPORTED, text.clone()),
            ArrowError::MemoryError(text) => Self::new(SqlState::OUT_OF_MEMORY, text.clone()),
            ArrowError::CsvError(text) | ArrowError::JsonError(text) | ArrowError::AvroError(text) => {
                Self::new(SqlState::INVALID_TEXT, text.clone())
            }
            ArrowError::IoError(_, e) => super::from_datafusion::io(e),
            ArrowError::ParquetError(text) => Self::new(SqlState::DATA_CORRUPTED, text.clone()),
            ArrowError::IpcError(text) | ArrowError::CDataInterface(text) | ArrowError::SchemaError(text) => {
                Self::new(SqlState::INTERNAL_ERROR, text.clone())
            }
            ArrowError::DictionaryKeyOverflowError
            | ArrowError::RunEndIndexOverflowError
            | ArrowError::OffsetOverflowError(_) => {
                Self::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a column of one batch is too large")
                    .with_detail(e.to_string())
            }
            ArrowError::ExternalError(source) => {
                match source.downcast_ref::<datafusion::error::DataFusionError>() {
                    Some(e) => Self::from(e),
                    None => super::from_datafusion::external(source.as_ref()),
                }
            }
        }
    }
}

/// SQL's name of an arrow type as arrow prints it.
fn type_name(arrow: &str) -> &str {
    match arrow.trim() {
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" | "UInt64" => "bigint",
        "Float32" | "Float16" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        "Date32" | "Date64" => "date",
        t if t.starts_with("Decimal") => "numeric",
        t if t.starts_with("Timestamp") && t.contains("Some") => "timestamp with time zone",
        t if t.starts_with("Timestamp") => "timestamp",
        t if t.starts_with("Time") => "time",
        t if t.starts_with("Interval") => "interval",
        t => t,
    }
}

fn overflow(text: &str) -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value out of range").with_detail(text.to_string())
}

/// Text between two marks.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let rest = text.split_once(before)?.1;
    Some(rest.rsplit_once(after)?.0)
}

fn invalid(type_name: &str, value: &str) -> Error {
    let code = match type_name {
        "date" | "timestamp" | "timestamp with time zone" | "time" | "interval" => {
            SqlState::INVALID_DATETIME_FORMAT
        }
        _ => SqlState::INVALID_TEXT,
    };
    Error::new(code, format!("invalid input syntax for type {type_name}: \"{value}\""))
}

/// A failed cast: from text (22P02, 22007), or of a number that does not fit (22003).
pub(super) fn text_to_value(text: &str) -> Error {
    if let (Some(value), Some(kind)) =
        (between(text, "Cannot cast string '", "' to value of "), between(text, "' to value of ", " type"))
    {
        let name = type_name(kind);
        let digits = value.trim().trim_start_matches(['-', '+']);
        let integer = matches!(name, "smallint" | "integer" | "bigint");
        if integer && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("value \"{value}\" is out of range for type {name}");
            return Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message);
        }
        return invalid(name, value);
    }
    if let Some((value, kind)) =
        text.split_once("Can't cast value ").and_then(|(_, rest)| rest.split_once(" to type "))
    {
        return Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{} out of range", type_name(kind)))
            .with_detail(format!("the value is {value}"));
    }
    if let Some((_, kind)) = text.split_once(" is out of range ") {
        return Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{} out of range", type_name(kind)));
    }
    if let Some(value) = between(text, "Error parsing timestamp from '", "'") {
        return invalid("timestamp", value);
    }
    if text.contains("Overflow") || text.contains("overflow") || text.contains("too large to store") {
        return Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric field overflow")
            .with_detail(text.to_string());
    }
    Error::new(SqlState::INVALID_TEXT, text.to_string())
}

fn computed(text: &str) -> Error {
    if text.contains("verflow") || text.contains("too large to store") {
        return overflow(text);
    }
    if text.contains("Divide by zero") || text.contains("division by zero") {
        return Error::new(SqlState::DIVISION_BY_ZERO, "division by zero");
    }
    Error::new(SqlState::INVALID_PARAMETER_VALUE, text.to_string())
}

/// For causes that no rule knows.
pub(super) fn unknown(e: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(SqlState::INTERNAL_ERROR, chain(e))
}

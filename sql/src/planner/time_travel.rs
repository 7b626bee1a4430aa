//! Versions of tables in FROM: what `VERSION AS OF` and `TIMESTAMP AS OF` name.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, TimeUnit};
use auric_catalog::format::VersionSpec;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Query, TableVersion, UnaryOperator, Value, Visitor};

use super::Scope;
use crate::error::{Error, Result, SqlState};
use crate::parser::table_version::{VersionClause, clause};
use crate::parser::walk::Walk;

/// The version that a clause of FROM names. It has been through the analyzer's rewrite.
pub fn version(scope: &Scope, version: &TableVersion) -> Result<VersionSpec> {
    match clause(version) {
        VersionClause::Version(expr) => number_or_ref(expr),
        VersionClause::Timestamp(expr) => timestamp(scope, expr).map(VersionSpec::Timestamp),
        VersionClause::Unknown => {
            Err(Error::new(SqlState::SYNTAX_ERROR, format!("\"{version}\" names no version of a table")))
        }
    }
}

/// A number is an Iceberg snapshot id or a Delta version, a text the name of a branch or tag.
fn number_or_ref(expr: &Expr) -> Result<VersionSpec> {
    refuse_parameters(expr)?;
    let (expr, sign) = match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (expr.as_ref(), "-"),
        expr => (expr, ""),
    };
    let invalid = || {
        let message = format!("{sign}{expr} is no version of a table");
        Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("A version is an integer, or the name of a branch or tag in quotes.")
    };
    let Expr::Value(value) = expr else { return Err(invalid()) };
    match &value.value {
        Value::Number(digits, _) => {
            let number = format!("{sign}{digits}").parse().map_err(|_| invalid())?;
            Ok(VersionSpec::Id(number))
        }
        Value::SingleQuotedString(name) if sign.is_empty() => Ok(VersionSpec::Ref(name.clone())),
        _ => Err(invalid()),
    }
}

/// The value of a constant expression in milliseconds since the epoch. Text and local timestamps are
/// read in the session's time zone.
fn timestamp(scope: &Scope, expr: &Expr) -> Result<i64> {
    refuse_parameters(expr)?;
    if expr.walk(&mut FindQuery).is_break() {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "a subquery as the time of a table's version is not supported",
        ));
    }
    let value = scope.rewritten_constant(expr)?;
    let in_zone = DataType::Timestamp(
        TimeUnit::Microsecond,
        Some(scope.state.config_options().execution.time_zone.as_deref().unwrap_or("+00:00").into()),
    );
    let cast = match value.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            value.cast_to(&in_zone).map_err(|_| {
                let text = value.try_as_str().flatten().unwrap_or_default();
                let message = format!("invalid input syntax for type timestamp with time zone: \"{text}\"");
                Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
            })?
        }
        DataType::Timestamp(..) | DataType::Date32 => value.cast_to(&in_zone).map_err(|e| Error::from(&e))?,
        _ => {
            let message = format!("{expr} is no time");
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("TIMESTAMP AS OF takes a timestamp; VERSION AS OF takes a number."));
        }
    };
    match cast {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Ok(micros.div_euclid(1_000)),
        _ => Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "the time of a table's version is null")),
    }
}

/// The version decides about the columns, so it must be known before parameters have values.
fn refuse_parameters(expr: &Expr) -> Result<()> {
    let is_parameter = expr.walk(&mut FindParameter).is_break();
    if !is_parameter {
        return Ok(());
    }
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "a parameter in the version of a table is not supported")
        .with_hint("Write the version as a literal."))
}

struct FindParameter;

impl Visitor for FindParameter {
    type Break = ();

    fn pre_visit_value(&mut self, value: &datafusion::sql::sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
        match value.value {
            Value::Placeholder(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

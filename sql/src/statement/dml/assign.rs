//! Assignment of a query's columns to those of a table: order, defaults, and casts as Postgres'
//! assignment casts (numbers are rounded, text is read).

use arrow::datatypes::{DataType, Field};
use auric_catalog::registry::Table;
use auric_catalog::table::schema::DEFAULT_SQL;
use datafusion::common::{Column, DFSchema};
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;
use crate::planner::Scope;
use crate::types::text_input;

/// A plan with exactly the table's columns, from one whose columns are for `targets`, in that order.
pub fn to_table(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
) -> Result<LogicalPlan> {
    to_table_with(scope, table, source, targets, &[])
}

/// [`to_table`], with the same value in every row for some columns (already of their type).
pub fn to_table_with(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
    constants: &[(String, ScalarValue)],
) -> Result<LogicalPlan> {
    let schema = &table.snapshot.schema;
    let mut expressions = Vec::with_capacity(schema.arrow.fields().len());
    for field in schema.arrow.fields() {
        if let Some((_, value)) = constants.iter().find(|(name, _)| name == field.name()) {
            expressions.push(lit(value.clone()).alias(field.name()));
            continue;
        }
        let expr = match targets.iter().position(|target| target == field.name()) {
            Some(index) => {
                let (qualifier, from) = source.schema().qualified_field(index);
                let column = Expr::Column(Column::new(qualifier.cloned(), from.name()));
                convert(column, from, field, source.schema())?
            }
            None => default_of(scope, table, field)?,
        };
        expressions.push(expr.alias(field.name()));
    }
    LogicalPlanBuilder::from(source)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

/// `expr`, which is as `from` says, as a value of the column `to`. Fails with 42804 where Postgres
/// has no cast on assignment.
pub fn convert(expr: Expr, from: &Field, to: &Field, schema: &DFSchema) -> Result<Expr> {
    let (source, target) = (from.data_type(), to.data_type());
    if source == target || *source == DataType::Null {
        return expr.cast_to(target, schema).map_err(|e| Error::from(&e));
    }
    let text = matches!(source, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if text && let Some(read) = text_input::read(&expr, target) {
        return read.cast_to(target, schema).map_err(|e| Error::from(&e));
    }
    let expr = match target {
        t if t.is_integer() && (source.is_floating() || source.is_decimal()) => round(vec![expr]),
        _ => expr,
    };
    let allowed = text || is_assignable(source, target);
    if !allowed {
        let (source_type, _) = crate::types::pg_type(from);
        let (target_type, _) = crate::types::pg_type(to);
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!(
                "column \"{}\" is of type {} but expression is of type {}",
                to.name(),
                target_type.name(),
                source_type.name()
            ),
        )
        .with_hint("You will need to rewrite or cast the expression."));
    }
    expr.cast_to(target, schema).map_err(|e| Error::from(&e))
}

/// Whether Postgres casts on assignment: within a class of types, and anything to text.
fn is_assignable(from: &DataType, to: &DataType) -> bool {
    #[derive(PartialEq)]
    enum Class {
        Number,
        Text,
        Bytes,
        Bool,
        DateTime,
        Time,
        Other,
    }
    let class = |t: &DataType| match t {
        t if t.is_numeric() => Class::Number,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Class::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Class::Bytes
        }
        DataType::Boolean => Class::Bool,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Class::DateTime,
        DataType::Time32(_) | DataType::Time64(_) => Class::Time,
        _ => Class::Other,
    };
    let (from, to) = (class(from), class(to));
    from == to || to == Class::Text
}

/// The value of a column that the statement leaves out.
pub fn default_of(scope: &Scope, table: &Table, field: &Field) -> Result<Expr> {
    let schema = &table.snapshot.schema;
    let written = schema.id_of(field.name()).and_then(|id| schema.write_defaults.get(&id));
    if let Some(value) = written {
        return lit(value.clone())
            .cast_to(field.data_type(), &DFSchema::empty())
            .map_err(|e| Error::from(&e));
    }
    if let Some(text) = field.metadata().get(DEFAULT_SQL) {
        let dialect = AuricDialect::default();
        let expr = Parser::new(&dialect)
            .try_with_sql(text)
            .and_then(|mut parser| parser.parse_expr())
            .map_err(|e| {
                let message = format!(
                    "the default of column \"{}\" is no expression that can be read: {text}",
                    field.name()
                );
                Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_detail(e.to_string())
            })?;
        let expr = scope.constant_expr(&expr)?;
        let row = DFSchema::empty();
        let (_, from) = expr.to_field(&row).map_err(|e| Error::from(&e))?;
        return convert(expr, &from, field, &row);
    }
    let null = ScalarValue::try_from(field.data_type()).map_err(|e| Error::from(&e))?;
    Ok(lit(null))
}

//! Assignment of a query's columns to those of a table: order, defaults, and casts as Postgres'
//! assignment casts (numbers are rounded; text is read if it is a literal or a parameter, which have
//! no type of their own, and refused for another type if it is a value of type text).

use arrow::datatypes::{DataType, Field};
use auric_catalog::registry::Table;
use auric_catalog::table::schema::DEFAULT_SQL;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::parser::Parser;

use super::identity::{self, Left, LeftToTable};
use crate::error::{Error, Result, SqlState};
use crate::functions::math::rounded;
use crate::parser::AuricDialect;
use crate::pg_catalog::types::format_type;
use crate::planner::Scope;
use crate::types::text_input;
use crate::types::text_type::TextType;

/// What the type of a value that comes as text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The one it has.
    Typed,
    /// Unknown until it is assigned: a literal, a parameter, a field of COPY.
    Unknown,
}

impl Given {
    pub fn of(expr: &Expr) -> Self {
        match expr {
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::Literal(..) | Expr::Placeholder(_) => Self::Unknown,
            _ => Self::Typed,
        }
    }

    /// Of a column of a query: literals in its select list have no type, those of subqueries are text.
    pub fn of_column(plan: &LogicalPlan, index: usize) -> Self {
        match plan {
            LogicalPlan::Projection(projection) => match projection.expr.get(index) {
                Some(Expr::Column(column)) => match projection.input.schema().maybe_index_of_column(column) {
                    Some(index) => Self::of_column(&projection.input, index),
                    None => Self::Typed,
                },
                Some(expr) => Self::of(expr),
                None => Self::Typed,
            },
            LogicalPlan::Sort(sort) => Self::of_column(&sort.input, index),
            LogicalPlan::Limit(limit) => Self::of_column(&limit.input, index),
            // The planner has given them the types of their columns: see `source::check_values`.
            LogicalPlan::Values(_) => Self::Unknown,
            _ => Self::Typed,
        }
    }
}

/// A plan with exactly the table's columns, from one of text for `targets`, in that order, which is read.
pub fn text_to_table(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
) -> Result<LogicalPlan> {
    let rest = Rest::default();
    columns(scope, table, source, targets, rest, |_, _| Given::Unknown)
}

/// A plan with exactly the table's columns, from one whose columns are for `targets`, in that order.
pub fn to_table(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
) -> Result<LogicalPlan> {
    to_table_with(scope, table, source, targets, Rest::default())
}

/// What else the columns of a table are made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest<'a> {
    /// The same value in every row (already of the column's type).
    pub constants: &'a [(String, ScalarValue)],
    /// Identity columns among the targets that are left to the table.
    pub left: Option<&'a LeftToTable>,
}

/// [`to_table`], with other sources of some columns.
pub fn to_table_with(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
    rest: Rest<'_>,
) -> Result<LogicalPlan> {
    columns(scope, table, source, targets, rest, Given::of_column)
}

fn columns(
    scope: &Scope,
    table: &Table,
    source: LogicalPlan,
    targets: &[String],
    Rest { constants, left }: Rest<'_>,
    given: impl Fn(&LogicalPlan, usize) -> Given,
) -> Result<LogicalPlan> {
    let schema = &table.snapshot.schema;
    let given: Vec<Given> = (0..source.schema().fields().len()).map(|i| given(&source, i)).collect();
    let left = |name: &str| left.and_then(|left| left.get(name));
    // Columns whose values the table gives out, and in which rows.
    let generated = |name: &str| {
        let column = identity::of(table, name)?;
        let constant = constants.iter().any(|(constant, _)| constant == name);
        let target = targets.iter().any(|target| target == name);
        match left(name) {
            Some(left) => Some((column, left.clone())),
            None => (!constant && !target).then_some((column, Left::All)),
        }
    };
    let source = match schema.arrow.fields().iter().any(|field| generated(field.name()).is_some()) {
        true => identity::numbered(source)?,
        false => source,
    };
    let mut expressions = Vec::with_capacity(schema.arrow.fields().len());
    for field in schema.arrow.fields() {
        let generated = generated(field.name());
        if let Some((column, Left::All)) = generated {
            expressions.push(identity::value(column, field, identity::ordinal()).alias(field.name()));
            continue;
        }
        if let Some((_, value)) = constants.iter().find(|(name, _)| name == field.name()) {
            expressions.push(lit(value.clone()).alias(field.name()));
            continue;
        }
        let expr = match targets.iter().position(|target| target == field.name()) {
            Some(index) => {
                let (qualifier, from) = source.schema().qualified_field(index);
                let column = Expr::Column(Column::new(qualifier.cloned(), from.name()));
                let given = given.get(index).copied().unwrap_or(Given::Typed);
                let value = convert(column, given, (from, field), source.schema())?;
                match generated {
                    Some((column, left)) => {
                        identity::value_or(column, field, identity::ordinal(), left, value)
                    }
                    None => value,
                }
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
/// Text that is too long for its column fails with 22001 when it is computed.
pub fn convert(expr: Expr, given: Given, (from, to): (&Field, &Field), schema: &DFSchema) -> Result<Expr> {
    let value = of_type(expr, given, (from, to), schema)?;
    match TextType::of_field(to) {
        // In its normal form already.
        Some(text) if text.is_document() && TextType::of_field(from) == Some(text) => Ok(value),
        Some(text) => text.assigned(value).cast_to(to.data_type(), schema).map_err(|e| Error::from(&e)),
        None => Ok(value),
    }
}

fn of_type(expr: Expr, given: Given, (from, to): (&Field, &Field), schema: &DFSchema) -> Result<Expr> {
    let (source, target) = (from.data_type(), to.data_type());
    if source == target || *source == DataType::Null {
        return expr.cast_to(target, schema).map_err(|e| Error::from(&e));
    }
    let text = is_text(source);
    if !(text && given == Given::Unknown) {
        check(from, to)?;
    }
    if text && let Some(read) = text_input::read_text(&expr, target) {
        return read.cast_to(target, schema).map_err(|e| Error::from(&e));
    }
    let expr = match target {
        t if t.is_integer() && (source.is_floating() || source.is_decimal()) => rounded(expr),
        _ => expr,
    };
    expr.cast_to(target, schema).map_err(|e| Error::from(&e))
}

/// Fails with 42804 if Postgres would not cast a value like `from` when it is assigned to the column `to`.
pub fn check(from: &Field, to: &Field) -> Result<()> {
    let (source, target) = (from.data_type(), to.data_type());
    // Nothing but a text is read as a document.
    let document = is_document(to) && !source.is_null() && !is_text(source);
    if !document && is_assignable(source, target) {
        return Ok(());
    }
    let (source_type, _) = crate::types::pg_type(from);
    let (target_type, _) = crate::types::pg_type(to);
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {}",
        to.name(),
        format_type(target_type.oid(), None),
        format_type(source_type.oid(), None)
    );
    Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
        .with_hint("You will need to rewrite or cast the expression."))
}

/// Whether a column is of type `json` or `jsonb`.
pub fn is_document(field: &Field) -> bool {
    TextType::of_field(field).is_some_and(TextType::is_document)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether Postgres casts on assignment: within a class of types, and anything to text; arrays and rows
/// if it does their items.
fn is_assignable(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, from), to) => is_assignable(from, to),
        (from, to) if from == to || is_text(to) => true,
        // A uuid.
        (FixedSizeBinary(16), _) | (_, FixedSizeBinary(16)) => false,
        (List(from) | LargeList(from), List(to) | LargeList(to)) | (Map(from, _), Map(to, _)) => {
            is_assignable(from.data_type(), to.data_type())
        }
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| is_assignable(from.data_type(), to.data_type()))
        }
        (Date32 | Date64 | Timestamp(..), Date32 | Date64 | Timestamp(..)) => true,
        (Time32(_) | Time64(_) | Timestamp(..), Time32(_) | Time64(_)) => true,
        (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
        ) => true,
        (from, to) => from.is_numeric() && to.is_numeric(),
    }
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
        let given = Given::of(&expr);
        return convert(expr, given, (&from, field), &row);
    }
    let null = ScalarValue::try_from(field.data_type()).map_err(|e| Error::from(&e))?;
    Ok(lit(null))
}

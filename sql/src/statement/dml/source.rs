//! The rows that an INSERT brings: SELECT, VALUES or defaults, and the columns that they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use auric_catalog::registry::Table;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{ExprSchemable, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SetExpr, Value};
use datafusion::sql::sqlparser::parser::Parser;

use super::super::not_supported;
use super::assign;
use super::identity::{self, Left, LeftToTable};
use super::partition::Partition;
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Insert, Overriding};
use crate::parser::{AuricDialect, Parsed};
use crate::planner::{Parameter, PlannedQuery, Scope, names};
use crate::types::literal;

/// An INSERT with its names resolved.
pub struct Source {
    pub table: Table,
    /// Columns that the source's columns go to, in order.
    pub targets: Vec<String>,
    pub partition: Partition,
    /// Identity columns among the targets that are left to the table.
    pub left: LeftToTable,
    pub planned: PlannedQuery,
}

pub async fn resolve(
    scope: &Scope,
    insert: &Insert,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Source> {
    let (table, _) = scope.changeable_table(&insert.table, parsed).await?;
    let partition = Partition::resolve(scope, &table, &insert.partition, parsed)?;
    let explicit = explicit_columns(&table, &insert.columns, parsed)?;
    if let Some(name) = explicit.iter().find(|name| partition.has_value(name)) {
        return Err(specified_twice(name));
    }
    let all = table.snapshot.schema.arrow.fields().iter().map(|field| field.name().clone());
    let all: Vec<String> = all.filter(|name| !partition.has_value(name)).collect();
    let Some(query) = &insert.query else {
        let planned = PlannedQuery {
            plan: LogicalPlanBuilder::empty(true).build().map_err(|e| Error::from(&e))?,
            columns: Arc::default(),
            parameters: Vec::new(),
            dependencies: None,
        };
        let left = LeftToTable::new();
        return Ok(Source { table, targets: Vec::new(), partition, left, planned });
    };
    let mut targets = if explicit.is_empty() { all } else { explicit.clone() };
    let mut query = query.clone();
    let mut left = LeftToTable::new();
    let width = values_width(&query);
    if let Some(width) = width {
        check_count(width, targets.len(), !explicit.is_empty())?;
        // As in Postgres, a list of values may be shorter than the table: the rest is defaulted.
        targets.truncate(width);
        check_values(scope, &table, &query, &targets)?;
        left = replace_defaults(&table, &mut query, &targets)?;
    }
    let target_schema = width.map(|_| value_schema(&table, &query, &targets)).transpose()?;
    let given = with_column_types(&table, &query, &targets, given);
    let planned = scope.plan_query_into(&query, &given, parsed, target_schema).await?;
    let found = planned.columns.len();
    if insert.by_name {
        let named: Vec<String> = planned.columns.iter().map(|column| column.name.clone()).collect();
        for (i, name) in named.iter().enumerate() {
            if table.snapshot.schema.arrow.index_of(name).is_err() {
                return Err(undefined_column(&table, name));
            }
            if partition.has_value(name) || named.iter().take(i).any(|before| before == name) {
                return Err(specified_twice(name));
            }
        }
        check_identity(&table, insert, &partition, &named, &mut left)?;
        return Ok(Source { table, targets: named, partition, left, planned });
    }
    check_count(found, targets.len(), !explicit.is_empty())?;
    targets.truncate(found);
    check_identity(&table, insert, &partition, &targets, &mut left)?;
    Ok(Source { table, targets, partition, left, planned })
}

/// Fails with 428C9 for a value given for an identity column that takes none. What OVERRIDING USER VALUE
/// ignores is left to the table.
fn check_identity(
    table: &Table,
    insert: &Insert,
    partition: &Partition,
    targets: &[String],
    left: &mut LeftToTable,
) -> Result<()> {
    let given = targets.iter().chain(partition.values.iter().map(|(name, _)| name));
    for name in given {
        let Some(column) = identity::of(table, name) else { continue };
        match insert.overriding {
            Some(Overriding::System) => {}
            Some(Overriding::User) => _ = left.insert(name.clone(), Left::All),
            None if column.allow_explicit_insert || left.get(name) == Some(&Left::All) => {}
            None => return Err(identity::not_insertable(name)),
        }
    }
    Ok(())
}

fn specified_twice(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
}

/// 42703 for a column that a table does not have.
pub fn undefined_column(table: &Table, name: &str) -> Error {
    let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.ident.name);
    Error::new(SqlState::UNDEFINED_COLUMN, message)
}

/// The column list of a statement, checked.
pub fn explicit_columns(table: &Table, columns: &[Ident], parsed: &Parsed) -> Result<Vec<String>> {
    let mut result = Vec::with_capacity(columns.len());
    for column in columns {
        let at = |error: Error| {
            error.with_position(parsed.position(column.span.start.line, column.span.start.column))
        };
        let name = names::folded(column);
        if table.snapshot.schema.arrow.index_of(&name).is_err() {
            return Err(at(undefined_column(table, &name)));
        }
        if result.contains(&name) {
            return Err(at(specified_twice(&name)));
        }
        result.push(name);
    }
    Ok(result)
}

fn check_count(expressions: usize, targets: usize, explicit: bool) -> Result<()> {
    if expressions > targets {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    if explicit && expressions < targets {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// Number of columns of a plain VALUES list.
fn values_width(query: &Query) -> Option<usize> {
    match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    }
}

/// Types that a VALUES list is planned into: those of its columns, so that literals and parameters
/// get them; but text where the assignment reads it and arrow could not.
fn value_schema(table: &Table, query: &Query, targets: &[String]) -> Result<DFSchemaRef> {
    let arrow = &table.snapshot.schema.arrow;
    let fields = targets.iter().enumerate().filter_map(|(index, name)| {
        let field = arrow.field_with_name(name).ok()?;
        let data_type = match field.data_type() {
            DataType::FixedSizeBinary(16) | DataType::Binary | DataType::BinaryView
                if is_text(query, index) =>
            {
                DataType::Utf8View
            }
            // The ids and names that the table's files need are not part of the value's type.
            DataType::List(item) => DataType::new_list(item.data_type().clone(), true),
            other => other.clone(),
        };
        Some(Arc::new(Field::new(name, data_type, true)))
    });
    let schema = DFSchema::from_unqualified_fields(fields.collect::<Vec<_>>().into(), Default::default())
        .map_err(|e| Error::from(&e))?;
    Ok(Arc::new(schema))
}

/// Fails with 42804 for a value that Postgres would not cast to its column. The planner casts whatever
/// arrow can, as the values are planned into the columns' types.
fn check_values(scope: &Scope, table: &Table, query: &Query, targets: &[String]) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_ref() else {
        return Ok(());
    };
    let arrow = &table.snapshot.schema.arrow;
    let fields: Vec<&Field> = targets.iter().filter_map(|name| arrow.field_with_name(name).ok()).collect();
    for row in &values.rows {
        for (expr, field) in row.content.iter().zip(&fields) {
            if !assign::is_document(field) && is_plain(expr, field.data_type()) {
                continue;
            }
            // What needs more than a row to be planned (a subquery, a parameter) is cast as it is.
            let Ok(planned) = scope.row_expr(expr, &DFSchema::empty()) else { continue };
            let Ok((_, from)) = planned.to_field(&DFSchema::empty()) else { continue };
            let text = from.data_type().is_string();
            if !(text && assign::Given::of(&planned) == assign::Given::Unknown) {
                assign::check(&from, field)?;
            }
        }
    }
    Ok(())
}

/// Whether it takes no plan to tell that a value can be assigned.
fn is_plain(expr: &Expr, to: &DataType) -> bool {
    match expr {
        Expr::Value(value) => match value.value {
            Value::Number(..) => to.is_numeric() || to.is_string(),
            Value::Boolean(_) => *to == DataType::Boolean || to.is_string(),
            _ => true,
        },
        Expr::UnaryOp { expr, .. } => to.is_numeric() && is_plain(expr, to),
        _ => false,
    }
}

/// Whether a column of a VALUES list holds nothing but text literals and NULL.
fn is_text(query: &Query, index: usize) -> bool {
    let SetExpr::Values(values) = query.body.as_ref() else {
        return false;
    };
    values.rows.iter().filter_map(|row| row.content.get(index)).all(|expr| {
        matches!(expr, Expr::Value(value) if matches!(value.value,
            Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::DollarQuotedString(_) | Value::Null))
    })
}

/// Parameters that stand alone in a VALUES list have the type of their column.
fn with_column_types(
    table: &Table,
    query: &Query,
    targets: &[String],
    given: &[Option<Parameter>],
) -> Vec<Option<Parameter>> {
    let mut given = given.to_vec();
    let SetExpr::Values(values) = query.body.as_ref() else {
        return given;
    };
    for row in &values.rows {
        for (expr, target) in row.content.iter().zip(targets) {
            let Expr::Value(value) = expr else { continue };
            let Value::Placeholder(text) = &value.value else { continue };
            let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
            let Some(index) = number.and_then(|number| number.checked_sub(1)).filter(|index| *index < 65_535)
            else {
                continue;
            };
            let Ok(field) = table.snapshot.schema.arrow.field_with_name(target) else { continue };
            if given.len() <= index {
                given.resize(index + 1, None);
            }
            if let Some(slot @ None) = given.get_mut(index) {
                let (pg_type, _) = crate::types::pg_type(field);
                *slot = Some(Parameter { pg_type, data_type: field.data_type().clone() });
            }
        }
    }
    given
}

/// `DEFAULT` in a VALUES list, as the column's default. Returns the identity columns that have it.
fn replace_defaults(table: &Table, query: &mut Query, targets: &[String]) -> Result<LeftToTable> {
    let mut left = BTreeMap::<String, BTreeSet<u64>>::new();
    let SetExpr::Values(values) = query.body.as_mut() else {
        return Ok(LeftToTable::new());
    };
    let count = values.rows.len();
    let ordered = query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some();
    for (row, number) in values.rows.iter_mut().zip(1..) {
        for (expr, target) in row.content.iter_mut().zip(targets) {
            let is_default = matches!(expr, Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
            if !is_default {
                continue;
            }
            if identity::of(table, target).is_some() {
                if ordered {
                    // Its rows are not those of the table any more.
                    let message = "DEFAULT is not allowed in this context";
                    return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                }
                left.entry(target.clone()).or_default().insert(number);
            }
            let schema = &table.snapshot.schema;
            let field = schema.arrow.field_with_name(target).ok();
            let text =
                field.and_then(|field| field.metadata().get(auric_catalog::table::schema::DEFAULT_SQL));
            let value = schema.id_of(target).and_then(|id| schema.write_defaults.get(&id));
            let text = match (text, value) {
                (Some(text), _) => text.clone(),
                (None, Some(value)) => literal::sql_text(value).ok_or_else(|| {
                    not_supported(format!("DEFAULT for column \"{target}\" in a list of values"))
                        .with_hint("Leave the column out of the column list.")
                })?,
                (None, None) => "NULL".to_string(),
            };
            let dialect = AuricDialect::default();
            *expr = Parser::new(&dialect)
                .try_with_sql(&text)
                .and_then(|mut parser| parser.parse_expr())
                .map_err(|e| {
                    Error::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("default of column \"{target}\": {e}"),
                    )
                })?;
        }
    }
    let whole = |rows: BTreeSet<u64>| if rows.len() == count { Left::All } else { Left::Rows(rows) };
    Ok(left.into_iter().map(|(column, rows)| (column, whole(rows))).collect())
}

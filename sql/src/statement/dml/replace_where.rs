//! `INSERT INTO … REPLACE WHERE`: the rows for which a predicate is true give way to new ones, all
//! of which have to satisfy it.
//!
//! Where the predicate is over partition columns alone, whole files go; else rows.

use arrow::datatypes::DataType;
use auric_catalog::dml::overwrite::Replaced;
use auric_catalog::dml::rows::{ACTION, ChangeOptions, RowAction, RowTarget, SecondChange};
use auric_catalog::registry::Table;
use auric_catalog::table::{Operation, Transform};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::super::not_supported;
use super::check::{self, Checked, Violation};
use super::execute::change_plan;
use super::insert::{Commit, InsertPlan, InsertRows};
use super::new_rows::{self, NEW_ROWS, TARGET, column, item};
use super::overwrite::{self as whole_files, ReplaceFiles};
use super::returning::{self, Returned};
use super::row_statement::has_subquery;
use crate::error::{Error, Result};
use crate::planner::Scope;
use crate::planner::analyzed::Condition;

/// Name of the predicate as a column.
const SATISFIED: &str = "__auric_satisfied";

pub async fn plan(statement: &InsertRows<'_>, predicate: &ast::Expr, commit: Commit) -> Result<InsertPlan> {
    let (scope, table) = (&statement.scope, &statement.source.table);
    let alias = new_rows::alias(table, statement.insert);
    if let Some(filter) = over_partitions(scope, table, &alias, predicate).await? {
        let replace = ReplaceFiles {
            replaced: Replaced::Where(vec![filter.predicate]),
            predicate: Some(predicate.to_string()),
            state: filter.state,
        };
        return whole_files::replace_files(statement, replace, commit).await;
    }
    let target = RowTarget::new(table.clone()).published(scope.tables.publish(table)?);
    let inserted = inserted(statement, &target, &alias, predicate).await?;
    let returned = returning::plan(scope, table, statement.insert, inserted, statement.parsed).await?;
    let deleted = deleted(statement, &target, &alias, predicate).await?;
    let plan = union(with_nulls(deleted, &returned)?, returned.plan.clone())?;
    let options = ChangeOptions {
        operation: Operation::Overwrite,
        second_change: SecondChange::Ignore,
        parameters: [("predicate".to_string(), predicate.to_string())].into(),
        reads_all: whole_files::reads(&plan, table),
        returning: returned.columns.len(),
        assigned: None,
        dry_run: commit == Commit::DryRun,
    };
    let plan = change_plan(scope, &target, &plan, options).await?;
    Ok(InsertPlan { plan, returned: returned.shown(), source: None })
}

/// The predicate, if every data file satisfies it as a whole or not at all.
async fn over_partitions(
    scope: &Scope,
    table: &Table,
    alias: &ast::Ident,
    predicate: &ast::Expr,
) -> Result<Option<Condition>> {
    let schema = &table.snapshot.schema;
    let relation = TableReference::bare(crate::planner::names::folded(alias));
    let row = DFSchema::try_from_qualified_schema(relation, &schema.arrow).map_err(|e| Error::from(&e))?;
    // What cannot be planned over a row alone (a subquery), or not at all, is for the general way.
    let Ok(expr) = scope.row_expr(predicate, &row) else { return Ok(None) };
    let columns = expr.column_refs();
    let by_partition = |column: &&Column| {
        let id = schema.id_of(&column.name);
        let specs = table.snapshot.partition_specs.values().chain([&table.snapshot.default_spec]);
        id.is_some()
            && specs.into_iter().all(|spec| {
                spec.fields
                    .iter()
                    .any(|field| Some(field.source_id) == id && field.transform == Transform::Identity)
            })
    };
    let is_parameter = |e: &Expr| Ok(matches!(e, Expr::Placeholder(_)));
    if columns.is_empty()
        || !columns.iter().all(by_partition)
        || expr.is_volatile()
        || has_subquery(&expr)
        || expr.exists(is_parameter).unwrap_or(true)
    {
        return Ok(None);
    }
    scope.analyzed_condition(row, expr.clone()).await
}

/// Addresses of the rows that go, with nulls for new values.
async fn deleted(
    statement: &InsertRows<'_>,
    target: &RowTarget,
    alias: &ast::Ident,
    predicate: &ast::Expr,
) -> Result<LogicalPlan> {
    let addresses = target.address_columns();
    let addresses = addresses.iter().map(|field| item(column(alias, field.name()), field.name())).collect();
    let query = new_rows::select(addresses, &format!("{TARGET} AS {alias}"), Some(predicate.clone()))?;
    let named = vec![(TableReference::bare(TARGET), provider_as_source(target.provider()))];
    let planned = statement.scope.plan_query_over(&query, &[], statement.parsed, None, named).await?;
    if !planned.parameters.is_empty() {
        return Err(not_supported("a parameter in REPLACE WHERE"));
    }
    let mut columns: Vec<Expr> = planned.plan.schema().columns().into_iter().map(Expr::Column).collect();
    columns.push(action(RowAction::Delete));
    for field in target.table().snapshot.schema.arrow.fields() {
        columns.push(null(field.data_type())?.alias(field.name()));
    }
    project(planned.plan, columns)
}

/// Rows that go with nulls for what is returned of those that come.
fn with_nulls(deleted: LogicalPlan, returned: &Returned) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = deleted.schema().columns().into_iter().map(Expr::Column).collect();
    let added = returned.plan.schema().fields().iter().skip(columns.len());
    for (i, field) in added.enumerate() {
        columns.push(null(field.data_type())?.alias(format!("__auric_returning_{i}")));
    }
    project(deleted, columns)
}

/// The new rows, failing at the first that does not satisfy the predicate.
async fn inserted(
    statement: &InsertRows<'_>,
    target: &RowTarget,
    alias: &ast::Ident,
    predicate: &ast::Expr,
) -> Result<LogicalPlan> {
    let table = &statement.source.table;
    let arrow = &table.snapshot.schema.arrow;
    let fields = arrow.fields().iter();
    let mut items: Vec<_> = fields.map(|field| item(column(alias, field.name()), field.name())).collect();
    items.push(item(ast::Expr::Nested(Box::new(predicate.clone())), SATISFIED));
    let query = new_rows::select(items, &format!("{NEW_ROWS} AS {alias}"), None)?;
    let named = vec![new_rows::relation(NEW_ROWS, statement.rows.clone())];
    let planned = statement.scope.plan_query_over(&query, &[], statement.parsed, None, named).await?;
    let columns: Vec<Expr> = planned.plan.schema().columns().into_iter().map(Expr::Column).collect();
    let Some((satisfied, own)) = columns.split_last() else {
        return Ok(planned.plan);
    };
    let violation = Violation::Outside { table: table.ident.name.clone(), predicate: predicate.to_string() };
    let checked =
        check::require(planned.plan.clone(), &Checked::default(), vec![(satisfied.clone(), violation)])?;
    let mut projected = Vec::with_capacity(arrow.fields().len() + 4);
    for address in target.address_columns() {
        projected.push(null(address.data_type())?.alias(address.name()));
    }
    projected.push(action(RowAction::Insert));
    projected
        .extend(own.iter().zip(arrow.fields()).map(|(column, field)| column.clone().alias(field.name())));
    project(checked, projected)
}

pub fn action(action: RowAction) -> Expr {
    lit(ScalarValue::Int8(Some(action as i8))).alias(ACTION)
}

pub fn null(data_type: &DataType) -> Result<Expr> {
    Ok(lit(ScalarValue::try_from(data_type).map_err(|e| Error::from(&e))?))
}

pub fn project(plan: LogicalPlan, columns: Vec<Expr>) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

fn union(first: LogicalPlan, second: LogicalPlan) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(first)
        .union(second)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

//! The rows of a view's query as those of its table, and what its expectations say of each.

use auric_catalog::registry::Table;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::build::Query;
use super::definition::Definition;
use super::expectation::Expectation;
use super::whole_result;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::planner::{PlannedQuery, Scope};
use crate::statement::{dml, new_rows};

/// Prefix of the columns that hold verdicts.
const VERDICT: &str = "__auric_expectation_";

pub fn column_names(table: &Table) -> Vec<String> {
    table.snapshot.schema.arrow.fields().iter().map(|field| field.name().clone()).collect()
}

/// Of each column of a view's table, the position of the query's column that it is made of. Fails with
/// 42703.
pub fn positions(query: &Query, table: &Table, definition: &Definition) -> Result<Vec<usize>> {
    positions_of(table, definition, &query.planned)
}

fn positions_of(table: &Table, definition: &Definition, planned: &PlannedQuery) -> Result<Vec<usize>> {
    let names = &definition.query_columns;
    let schema = planned.plan.schema();
    let mut positions = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let mut found = planned.columns.iter().enumerate().filter(|(_, column)| column.name == *name);
        let at = match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            // Not told apart by name: nothing was added to the query's columns, or they cannot be told.
            (Some(_), Some(_)) if planned.columns.len() == names.len() => Some(i),
            _ => None,
        };
        let Some(at) = at.filter(|at| *at < schema.fields().len()) else {
            let message = format!(
                "column \"{name}\" that materialized view \"{}\" is made of does not exist",
                table.ident
            );
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message)
                .with_hint("Use CREATE OR REPLACE MATERIALIZED VIEW to define it anew."));
        };
        positions.push(at);
    }
    Ok(positions)
}

/// The query's rows as those of the table, checked.
pub fn rows_of(
    scope: &Scope,
    table: &Table,
    definition: &Definition,
    planned: &PlannedQuery,
) -> Result<LogicalPlan> {
    let schema = planned.plan.schema();
    let positions = positions_of(table, definition, planned)?;
    let mut plan = planned.plan.clone();
    if !positions.iter().copied().eq(0..schema.fields().len()) {
        let column = |at: &usize| {
            let (qualifier, field) = schema.qualified_field(*at);
            Expr::Column(Column::new(qualifier.cloned(), field.name()))
        };
        plan = LogicalPlanBuilder::from(plan)
            .project(positions.iter().map(column).collect::<Vec<_>>())
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))?;
    }
    let plan = dml::assign::to_table(scope, table, plan, &column_names(table))?;
    dml::check::enforce(scope, table, plan, &dml::check::Checked::default())
}

/// The rows with a column for each expectation: whether it is satisfied. Fails as planning the conditions
/// does, and with 42804 for what is none.
pub async fn with_verdicts(
    scope: &Scope,
    table: &Table,
    new: LogicalPlan,
    expectations: &[&Expectation],
    parsed: &Parsed,
) -> Result<LogicalPlan> {
    let alias = new_rows::quoted(&table.ident.name);
    let column = |name: &String| new_rows::item(new_rows::column(&alias, name), name);
    let mut items: Vec<_> = column_names(table).iter().map(column).collect();
    let width = items.len();
    for (i, expectation) in expectations.iter().enumerate() {
        let condition = whole_result::condition(&expectation.condition)?;
        let nested = datafusion::sql::sqlparser::ast::Expr::Nested(Box::new(condition));
        items.push(new_rows::item(nested, format!("{VERDICT}{i}")));
    }
    let query = new_rows::select(items, &format!("{} AS {alias}", new_rows::NEW_ROWS), None)?;
    let named = vec![new_rows::relation(new_rows::NEW_ROWS, new)];
    let planned = scope.plan_query_over(&query, &[], parsed, None, named).await;
    let planned = planned.map_err(|e| Error { position: None, ..e })?;
    for (expectation, field) in expectations.iter().zip(planned.plan.schema().fields().iter().skip(width)) {
        whole_result::check_boolean(&expectation.name, Some(field))?;
    }
    Ok(planned.plan)
}

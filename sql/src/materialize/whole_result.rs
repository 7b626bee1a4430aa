//! Expectations over the whole result: conditions with aggregates, and against the version before. They
//! are asked of exactly the rows that are to be published, read from the files that hold them.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlanBuilder, TableSource};
use datafusion::sql::sqlparser::ast::{self, Expr, Visitor, VisitorMut};
use futures::StreamExt;

use super::expectation::Expectation;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::materialized_view::parse_condition;
use crate::parser::walk::{Walk, WalkMut};
use crate::pg_catalog::types::format_type;
use crate::planner::{PlannedQuery, Scope, names};
use crate::statement::{new_rows, rows};

/// How much the number of rows has changed, as a part of the number before: 0.5 for half as many or half as
/// many again. Zero where there is nothing to compare with.
const ROW_COUNT_CHANGE: &str = "row_count_change";

/// The condition of an expectation. Fails with 42601.
pub fn condition(text: &str) -> Result<Expr> {
    parse_condition(text).map_err(|e| Error::new(SqlState::SYNTAX_ERROR, e.to_string()))
}

/// Whether a condition is one over the whole result: it has an aggregate outside of its subqueries, or
/// compares with the version before.
pub fn is_whole(scope: &Scope, columns: &[String], condition: &Expr) -> bool {
    let mut finder = Finder { scope, columns, depth: 0, found: false };
    let _ = condition.walk(&mut finder);
    finder.found
}

struct Finder<'a> {
    scope: &'a Scope,
    columns: &'a [String],
    depth: usize,
    found: bool,
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.depth == 0 {
            self.found |= match expr {
                Expr::Function(function) if function.over.is_none() => {
                    let name = function.name.0.last().and_then(|part| part.as_ident()).map(names::folded);
                    name.is_some_and(|name| self.scope.state.aggregate_functions().contains_key(&name))
                }
                Expr::Identifier(ident) => is_row_count_change(ident, self.columns),
                _ => false,
            };
        }
        ControlFlow::Continue(())
    }
}

fn is_row_count_change(ident: &ast::Ident, columns: &[String]) -> bool {
    names::folded(ident) == ROW_COUNT_CHANGE && !columns.iter().any(|column| column == ROW_COUNT_CHANGE)
}

/// Numbers of rows before and after.
#[derive(Debug, Clone, Copy)]
pub struct RowCounts {
    /// `None`: there was no version before.
    pub before: Option<u64>,
    pub after: u64,
}

impl RowCounts {
    fn change(self) -> f64 {
        match self.before {
            Some(before) if before > 0 => self.after.abs_diff(before) as f64 / before as f64,
            _ => 0.0,
        }
    }
}

struct Replace<'a> {
    columns: &'a [String],
    value: Expr,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && is_row_count_change(ident, self.columns)
        {
            *expr = self.value.clone();
        }
        ControlFlow::Continue(())
    }
}

/// What a condition over the whole result is asked of.
pub struct WholeResult<'a> {
    pub scope: &'a Scope,
    pub parsed: &'a Parsed,
    /// The view's name.
    pub name: &'a str,
    pub columns: &'a [String],
    pub rows: Arc<dyn TableSource>,
}

impl WholeResult<'_> {
    /// The rows of a table.
    pub fn rows_of(table: &Table) -> Arc<dyn TableSource> {
        provider_as_source(Arc::new(LakeTable::new(table.clone())))
    }

    /// The query of one boolean that asks. Fails as planning does, and with 42804 for what is no
    /// condition.
    pub async fn plan(&self, expectation: &Expectation, counts: RowCounts) -> Result<PlannedQuery> {
        let mut condition = condition(&expectation.condition)?;
        // With its own name known as a column, `row_count_change` is no longer what makes the difference.
        let mut known = self.columns.to_vec();
        known.push(ROW_COUNT_CHANGE.to_string());
        let from = match is_whole(self.scope, &known, &condition) {
            true => format!("{} AS {}", new_rows::NEW_ROWS, new_rows::quoted(self.name)),
            false => "(VALUES (1)) AS one".to_string(),
        };
        let value = new_rows::expression(&format!("CAST('{}' AS double precision)", counts.change()))?;
        let _ = condition.walk_mut(&mut Replace { columns: self.columns, value });
        let satisfied = new_rows::item(Expr::Nested(Box::new(condition)), "satisfied");
        let query = new_rows::select(vec![satisfied], &from, None)?;
        let scan = LogicalPlanBuilder::scan(new_rows::NEW_ROWS, self.rows.clone(), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))?;
        let named = vec![new_rows::relation(new_rows::NEW_ROWS, scan)];
        let planned = self.scope.plan_query_over(&query, &[], self.parsed, None, named).await;
        let planned = planned.map_err(|e| Error { position: None, ..e })?;
        let field = planned.plan.schema().fields().first().cloned();
        check_boolean(&expectation.name, field.as_deref())?;
        Ok(planned)
    }

    /// How many rows there are.
    pub async fn count(&self) -> Result<u64> {
        let plan = LogicalPlanBuilder::scan(new_rows::NEW_ROWS, self.rows.clone(), None)
            .and_then(|scan| scan.aggregate(Vec::<LogicalExpr>::new(), vec![count_all()]))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))?;
        let mut output = rows::stream(self.scope, rows::physical(self.scope, &plan).await?)?;
        let mut count = 0;
        while let Some(batch) = output.next().await {
            let batch = batch.map_err(|e| Error::from(&e))?;
            let values = batch.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
            count += values.map_or(0, |values| values.values().iter().sum::<i64>());
        }
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Whether the rows as a whole satisfy an expectation.
    pub async fn satisfies(&self, expectation: &Expectation, counts: RowCounts) -> Result<bool> {
        let planned = self.plan(expectation, counts).await?;
        let mut output = rows::stream(self.scope, rows::physical(self.scope, &planned.plan).await?)?;
        let mut satisfied = false;
        while let Some(batch) = output.next().await {
            let batch = batch.map_err(|e| Error::from(&e))?;
            let values = batch.columns().first().and_then(|column| column.as_boolean_opt());
            satisfied |= values.is_some_and(|values| values.true_count() > 0);
        }
        Ok(satisfied)
    }
}

/// Fails with 42804 for what is no condition.
pub fn check_boolean(name: &str, field: Option<&Field>) -> Result<()> {
    let Some(field) = field.filter(|field| *field.data_type() != DataType::Boolean) else { return Ok(()) };
    let (found, _) = crate::types::pg_type(field);
    let found = format_type(found.oid(), None);
    let message = format!("argument of EXPECT of \"{name}\" must be type boolean, not type {found}");
    Err(Error::new(SqlState::DATATYPE_MISMATCH, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_parts_of_the_number_before() {
        let change = |before, after| RowCounts { before, after }.change();
        assert_eq!(change(None, 7), 0.0);
        assert_eq!(change(Some(0), 7), 0.0);
        assert_eq!(change(Some(10), 5), 0.5);
        assert_eq!(change(Some(10), 15), 0.5);
        assert_eq!(change(Some(10), 0), 1.0);
    }
}

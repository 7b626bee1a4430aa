//! Subqueries that can never run.
//!
//! Catalog queries ask about many kinds of objects that do not exist here (policies, publications,
//! triggers, …), often with subqueries that no planner but Postgres' accepts. A select over a relation
//! that is always empty has no rows, so the subqueries in its expressions are never evaluated and
//! may be replaced by a constant; and such a select as a subquery has a known result itself.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArguments, GroupByExpr, JoinOperator, Query, Select, SetExpr,
    TableFactor, TableWithJoins, VisitorMut,
};

use super::ast::{array_of, boolean, cast, function_name, null, parts, system_name};
use super::own_exprs::any_own_expr;
use crate::parser::walk::WalkMut;
use crate::pg_catalog::is_always_empty;

/// Aggregates that catalog queries use without GROUP BY: they give a row even over nothing.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

/// The rewrite.
pub struct EmptyRelations;

impl VisitorMut for EmptyRelations {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if has_no_rows(select) {
            let _ = select.projection.walk_mut(&mut NeverRun);
            let _ = select.selection.walk_mut(&mut NeverRun);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let is_empty = match expr {
            Expr::Subquery(query)
            | Expr::Exists { subquery: query, .. }
            | Expr::InSubquery { subquery: query, .. } => query_has_no_rows(query),
            Expr::Function(Function { args: FunctionArguments::Subquery(query), .. }) => {
                query_has_no_rows(query)
            }
            _ => false,
        };
        if is_empty {
            replace(expr);
        }
        ControlFlow::Continue(())
    }
}

/// Replaces every subquery by its value over no rows.
struct NeverRun;

impl VisitorMut for NeverRun {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        replace(expr);
        ControlFlow::Continue(())
    }
}

fn replace(expr: &mut Expr) {
    let constant = match expr {
        Expr::Subquery(_) => null(),
        Expr::Exists { negated, .. } | Expr::InSubquery { negated, .. } => boolean(*negated),
        Expr::Function(Function { name, args: FunctionArguments::Subquery(_), .. })
            if parts(name).is_some_and(|parts| parts == ["array"]) =>
        {
            let no_items =
                Expr::Array(datafusion::sql::sqlparser::ast::Array { elem: Vec::new(), named: true });
            cast(no_items, array_of(DataType::Text))
        }
        _ => return,
    };
    *expr = constant;
}

fn query_has_no_rows(query: &Query) -> bool {
    query.with.is_none() && matches!(&*query.body, SetExpr::Select(select) if has_no_rows(select))
}

/// `true` when the select's FROM can give no rows and it does not aggregate them into one.
fn has_no_rows(select: &Select) -> bool {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    select.from.iter().any(table_has_no_rows)
        && !(ungrouped && (aggregates(select) || select.having.is_some()))
}

fn table_has_no_rows(table: &TableWithJoins) -> bool {
    let keeps_left = |operator: &JoinOperator| {
        !matches!(operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_))
    };
    let is_inner = |operator: &JoinOperator| {
        matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
    };
    table.joins.iter().all(|join| keeps_left(&join.join_operator))
        && (factor_has_no_rows(&table.relation)
            || table
                .joins
                .iter()
                .any(|join| is_inner(&join.join_operator) && factor_has_no_rows(&join.relation)))
}

fn factor_has_no_rows(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            system_name(name).is_some_and(|(schema, name)| is_always_empty(&schema, &name))
        }
        TableFactor::NestedJoin { table_with_joins, .. } => table_has_no_rows(table_with_joins),
        TableFactor::Derived { subquery, .. } => query_has_no_rows(subquery),
        _ => false,
    }
}

/// Has the select aggregates of its own?
fn aggregates(select: &Select) -> bool {
    any_own_expr(&select.projection, |expr| {
        function_name(expr).is_some_and(|name| AGGREGATES.contains(&name.as_str()))
    })
}

//! Postgres' syntax and semantics that DataFusion's SQL planner lacks.
//!
//! - [`rewrite`]: once per parsed statement, on the syntax tree: names of system functions and types,
//!   operators, casts to `reg…`, `ARRAY(SELECT …)`, `LIKE … ESCAPE`, set-returning functions.
//! - [`expr_planners`]: typed decisions while expressions are planned.
//! - [`rules`]: on the logical plan, before DataFusion's own analysis: correlated scalar subqueries.
//! - [`name_result_types()`]: on a new plan: types of computed columns that arrow's do not tell.
//! - [`present_output()`]: once per statement, on its plan: OIDs of `reg…` columns shown as names.
//!
//! Nothing here prints SQL and parses it again.

mod array_subquery;
mod ast;
pub(crate) mod casts;
mod distinct_aggregate;
mod duplicate_columns;
mod empty_relations;
mod expression;
mod fetch;
mod function_in_from;
mod grouping;
mod interval_literal;
mod json_aggregate;
mod needs_catalog;
mod null_offset;
mod number_literal;
mod ordered_set;
mod own_exprs;
mod pattern_matching;
mod present_output;
mod qualified_wildcards;
mod recursive_subquery;
mod result_types;
mod row_comparison;
mod row_constructor;
mod scalar_subquery;
mod second_names;
mod set_returning;
mod single_match;
mod subquery_parts;
mod subquery_rows;
mod tableoid;
mod untyped_literal;
mod value_columns;
mod vector_subscript;
pub mod whole_row;

use std::sync::Arc;

use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::VisitMut;

use crate::parser::walk::WalkMut;

pub use self::ast::{boolean, call, cast, compares, null, number, string};
pub use self::needs_catalog::{plan_needs_catalog, plan_reads_catalog_only};
pub use self::number_literal::leave_to_columns;
pub use self::own_exprs::{any_own_expr, change_own_exprs};
pub use self::present_output::{OBJECT_IDENTIFIERS, Presentation, present_output};
pub use self::result_types::name_result_types;
pub use self::row_comparison::row;
pub use self::untyped_literal::{is_place, place_beside};
pub use self::vector_subscript::VectorSubscripts;

/// Rewrites a freshly parsed statement, query or expression. Call once, before planning.
pub fn rewrite(node: &mut impl VisitMut) {
    let _ = node.walk_mut(&mut qualified_wildcards::QualifiedWildcards);
    let _ = node.walk_mut(&mut empty_relations::EmptyRelations);
    let _ = node.walk_mut(&mut tableoid::TableOid);
    let _ = node.walk_mut(&mut fetch::Fetch);
    let _ = node.walk_mut(&mut grouping::Grouping);
    let _ = node.walk_mut(&mut whole_row::WholeRow);
    let _ = node.walk_mut(&mut pattern_matching::PatternMatching);
    let _ = node.walk_mut(&mut interval_literal::IntervalLiterals);
    let _ = node.walk_mut(&mut value_columns::ValueColumns);
    let _ = node.walk_mut(&mut expression::Expressions);
    let _ = node.walk_mut(&mut row_comparison::RowComparisons);
    let _ = node.walk_mut(&mut second_names::SecondNames);
    let _ = node.walk_mut(&mut json_aggregate::JsonAggregates);
    let _ = node.walk_mut(&mut ordered_set::OrderedSets);
    let _ = node.walk_mut(&mut distinct_aggregate::DistinctAggregates);
    let _ = node.walk_mut(&mut set_returning::SetReturning);
    let _ = node.walk_mut(&mut function_in_from::FunctionInFrom);
    let _ = node.walk_mut(&mut duplicate_columns::DuplicateColumns);
    let _ = node.walk_mut(&mut number_literal::NumberLiterals);
}

/// Planners to put before DataFusion's own.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![Arc::new(untyped_literal::UntypedLiteralPlanner), Arc::new(row_constructor::RowConstructor)]
}

/// Analyzer rules to put before DataFusion's own (which are kept).
pub fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![Arc::new(scalar_subquery::DecorrelateScalarSubquery)]
}

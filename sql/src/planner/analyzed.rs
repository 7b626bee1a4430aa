//! Single expressions as a query would evaluate them: with every rule of the analysis applied, and
//! simplified with the session's settings and the transaction's time. An expression fresh from the planner
//! means something else: arrow's casts take no notice of the session's time zone or of what Postgres writes
//! and rounds, blanks of `char(n)` still count, and `now()` cannot be computed at all.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::Scope;
use crate::error::{Error, Result};

/// A condition, and what it can be evaluated with.
pub struct Condition {
    pub predicate: Expr,
    pub state: Arc<SessionState>,
}

impl Scope {
    /// A condition over the columns of one row. `None`: it is none (it is not boolean), or the analysis
    /// needs more than the row for it.
    pub async fn analyzed_condition(&self, row: DFSchema, condition: Expr) -> Result<Option<Condition>> {
        let row = Arc::new(row);
        let failed = |e| Error::from(&e);
        let is_boolean = condition.get_type(row.as_ref()).is_ok_and(|found| found == DataType::Boolean);
        if !is_boolean {
            return Ok(None);
        }
        let plan = LogicalPlanBuilder::from(rows(&row, false)).filter(condition);
        let plan = plan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
        let state = self.state_for(&plan).await?;
        let LogicalPlan::Filter(filter) = analyzed(plan, &state).map_err(failed)? else { return Ok(None) };
        let predicate = simplified(filter.predicate, &row, &state).map_err(failed)?;
        Ok(Some(Condition { predicate, state }))
    }

    /// Value of an expression without columns.
    pub fn constant(&self, expr: &ast::Expr) -> Result<ScalarValue> {
        self.evaluate(self.constant_expr(expr)?)
    }

    /// Value of an expression without columns that was rewritten as part of its statement.
    pub fn rewritten_constant(&self, expr: &ast::Expr) -> Result<ScalarValue> {
        self.evaluate(self.rewritten_constant_expr(expr.clone())?)
    }

    /// Value of a planned expression without columns.
    pub fn evaluate(&self, expr: Expr) -> Result<ScalarValue> {
        let expr = constant(expr, &self.state).map_err(|e| Error::from(&e))?;
        let expr = match expr {
            Expr::Literal(value, _) => return Ok(value),
            expr => expr,
        };
        let physical =
            self.state.create_physical_expr(expr, &DFSchema::empty()).map_err(|e| Error::from(&e))?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let row = RecordBatch::try_new_with_options(schema, vec![], &options).map_err(|e| Error::from(&e))?;
        let value = physical.evaluate(&row).map_err(|e| Error::from(&e))?;
        let array = value.into_array(1).map_err(|e| Error::from(&e))?;
        ScalarValue::try_from_array(&array, 0).map_err(|e| Error::from(&e))
    }
}

/// An expression without columns. One that has some all the same is left to whoever refuses it.
pub fn constant(expr: Expr, state: &SessionState) -> DataFusionResult<Expr> {
    let has_columns = |e: &Expr| Ok(matches!(e, Expr::Column(_) | Expr::OuterReferenceColumn(..)));
    if matches!(expr, Expr::Literal(..)) || expr.exists(has_columns)? {
        return Ok(expr);
    }
    let nothing: DFSchemaRef = Arc::new(DFSchema::empty());
    let plan = LogicalPlanBuilder::from(rows(&nothing, true)).project(vec![expr.clone()])?.build()?;
    let expr = match analyzed(plan, state)? {
        LogicalPlan::Projection(projection) => match projection.expr.as_slice() {
            [only] => only.clone().unalias(),
            _ => expr,
        },
        _ => expr,
    };
    simplified(expr, &nothing, state)
}

fn rows(schema: &DFSchemaRef, produce_one_row: bool) -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row, schema: schema.clone() })
}

fn analyzed(plan: LogicalPlan, state: &SessionState) -> DataFusionResult<LogicalPlan> {
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

fn simplified(expr: Expr, row: &DFSchemaRef, state: &SessionState) -> DataFusionResult<Expr> {
    let context = SimplifyContext::builder()
        .with_schema(row.clone())
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time);
    ExprSimplifier::new(context.build()).simplify(expr)
}

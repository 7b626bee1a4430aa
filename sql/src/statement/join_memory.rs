//! Joins that do not fit into memory. A hash join keeps one side there and cannot spill it; a sort-merge
//! join sorts both sides, which spills. What found no memory for its hash joins is run once more with
//! sort-merge joins, as long as nobody has seen anything of it.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};

use super::rows;
use crate::error::{Error, NO_MEMORY, Result, SqlState};
use crate::planner::Scope;

impl Scope {
    /// The same, with joins that spill.
    pub fn with_sorted_joins(self) -> Self {
        Self { state: with_sorted_joins(&self.state), ..self }
    }
}

fn with_sorted_joins(state: &SessionState) -> Arc<SessionState> {
    let mut state = state.clone();
    state.config_mut().options_mut().optimizer.prefer_hash_join = false;
    Arc::new(state)
}

/// Whether a statement failed for want of memory, and not of space for what it has spilled.
pub fn is_exhausted(error: &Error) -> bool {
    error.code == SqlState::OUT_OF_MEMORY && error.message == NO_MEMORY
}

/// Runs an optimized plan for a client.
pub async fn start(
    scope: &Scope,
    state: &Arc<SessionState>,
    plan: LogicalPlan,
) -> Result<SendableRecordBatchStream> {
    let physical = physical(state, &plan).await?;
    if !has_hash_join(&physical)? {
        return rows::stream(scope, physical);
    }
    let schema = physical.schema();
    let mut hashed = rows::stream(scope, physical)?;
    let (scope, state) = (scope.clone(), state.clone());
    let rows = async move {
        let first = match hashed.next().await {
            Some(Err(e)) if is_exhausted(&Error::from(&e)) => {
                tracing::debug!(error = %e, "running the query again, with joins that spill");
                drop(hashed);
                let physical = self::physical(&with_sorted_joins(&state), &plan).await.map_err(carried)?;
                return rows::stream(&scope, physical).map_err(carried);
            }
            first => first,
        };
        let schema = hashed.schema();
        let all = stream::iter(first).chain(hashed);
        Ok::<SendableRecordBatchStream, DataFusionError>(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    };
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(rows).try_flatten())))
}

fn carried(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

async fn physical(state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let physical = state.query_planner().create_physical_plan(plan, state).await;
    physical.map_err(|e| Error::from(&e))
}

fn has_hash_join(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found = node.is::<HashJoinExec>();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(|e| Error::from(&e))?;
    Ok(found)
}

//! Stops operators that compute for long between two batches when nobody waits for their rows.
//!
//! A nested-loop join without matches returns to the runtime only at the end of its input: neither an
//! aborted task nor a dropped stream stops it before. Its filter, though, is evaluated chunk by chunk:
//! here the filter asks each time whether the statement is still wanted, and fails when it is not.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::utils::JoinFilter;

use crate::error::{Error, SqlState};

/// Tells whether the running statement was abandoned (cancelled, timed out, its client gone).
#[derive(Clone)]
pub struct Abandoned(Arc<dyn Fn() -> bool + Send + Sync>);

impl Abandoned {
    pub fn new(is_abandoned: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_abandoned))
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Abandoned")
    }
}

/// The plan, with nested-loop joins that end when the statement is abandoned.
pub fn interruptible(plan: Arc<dyn ExecutionPlan>, abandoned: &Abandoned) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let Some(filter) = join.filter() else {
            return Ok(Transformed::no(node));
        };
        let expr = InterruptibleExpr { inner: filter.expression().clone(), abandoned: abandoned.clone() };
        let filter =
            JoinFilter::new(Arc::new(expr), filter.column_indices().to_vec(), filter.schema().clone());
        let join = NestedLoopJoinExec::try_new(
            join.left().clone(),
            join.right().clone(),
            Some(filter),
            join.join_type(),
            join.projection().as_ref().map(|columns| columns.to_vec()),
        )?;
        Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>))
    })
    .data()
}

/// Its inner expression, until the statement is abandoned.
#[derive(Debug)]
struct InterruptibleExpr {
    inner: Arc<dyn PhysicalExpr>,
    abandoned: Abandoned,
}

impl PartialEq for InterruptibleExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for InterruptibleExpr {}

impl Hash for InterruptibleExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for InterruptibleExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for InterruptibleExpr {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if (self.abandoned.0)() {
            let canceled = Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
            return Err(DataFusionError::External(Box::new(canceled)));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [inner] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("one child expected".to_string()))?;
        Ok(Arc::new(Self { inner, abandoned: self.abandoned.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

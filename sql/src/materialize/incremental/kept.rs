//! Few rows that are kept in memory while a refresh needs them.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use futures::StreamExt;

use super::Refusal;
use crate::error::Error;
use crate::planner::Scope;
use crate::statement::dml::collected_source::{has_bounds, predicate};
use crate::statement::rows;

/// Most bytes of rows that are kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Name of the relation of keys.
const KEYS: &str = "__auric_keys";

/// Rows in memory. All columns may be null.
#[derive(Debug)]
pub struct Kept {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    _memory: MemoryReservation,
}

impl Kept {
    /// The rows of a plan. `None`: they are too many.
    pub async fn rows_of(scope: &Scope, plan: &LogicalPlan) -> Result<Option<Self>, Error> {
        let mut output = rows::stream(scope, rows::physical(scope, plan).await?)?;
        let memory = MemoryConsumer::new("incremental refresh");
        let memory = memory.register(&scope.engine.runtime.memory_pool);
        let fields = output.schema();
        let fields = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let (mut batches, mut bytes) = (Vec::new(), 0_usize);
        while let Some(batch) = output.next().await {
            let batch = batch.map_err(|e| Error::from(&e))?;
            if batch.num_rows() == 0 {
                continue;
            }
            let size = batch.get_array_memory_size();
            bytes = bytes.saturating_add(size);
            if bytes > MAX_BYTES || memory.try_grow(size).is_err() {
                return Ok(None);
            }
            let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec());
            batches.push(batch.map_err(|e| Error::from(&e))?);
        }
        Ok(Some(Self { schema, batches, _memory: memory }))
    }

    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    fn source(&self) -> Result<Arc<dyn TableSource>, Refusal> {
        let table = MemTable::try_new(self.schema.clone(), vec![self.batches.clone()])?;
        Ok(provider_as_source(Arc::new(table)))
    }

    /// As a relation.
    pub fn relation(&self) -> Result<LogicalPlan, Refusal> {
        Ok(LogicalPlanBuilder::scan(KEYS, self.source()?, None)?.build()?)
    }

    /// What is true of rows whose `exprs` are the values of a row here: as far as files can be held
    /// against it. `None`: nothing is known.
    pub fn predicate(&self, exprs: &[Expr]) -> Result<Option<Expr>, Refusal> {
        let mut all = Vec::new();
        for (i, (expr, field)) in exprs.iter().zip(self.schema.fields()).enumerate() {
            if !has_bounds(field.data_type()) {
                continue;
            }
            let Some(values) = predicate(&self.batches, i, expr)? else { continue };
            let has_null =
                self.batches.iter().any(|batch| batch.columns().get(i).is_some_and(|c| c.null_count() > 0));
            all.push(if has_null { values.or(expr.clone().is_null()) } else { values });
        }
        Ok(conjunction(all))
    }
}

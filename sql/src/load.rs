//! Tables filled by the program itself rather than by a statement (the demo's generated data).

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{SchemaRef, UInt64Type};
use auric_catalog::TableIdent;
use auric_catalog::table::TableDefinition;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use futures::future::BoxFuture;

use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};

/// Rows of one partition of a new table, produced when it is executed.
pub trait RowSource: std::fmt::Debug + Send + Sync {
    fn schema(&self) -> &SchemaRef;
    fn rows(&self) -> SendableRecordBatchStream;
}

#[derive(Debug)]
struct Source(Arc<dyn RowSource>);

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.0.rows()
    }
}

impl Engine {
    /// Whether a table exists, readable or not.
    pub fn has_table<'a>(&'a self, database: &'a str, ident: &'a TableIdent) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(self.registry.catalog(database)?.backend().table(ident).await?.is_some()) })
    }

    /// Creates a table and writes all rows of the sources, which run side by side, in one commit: it
    /// exists with all of them or not at all. The sources' schema is the table's. Returns the number
    /// of rows.
    pub fn create_table_from<'a>(
        &'a self,
        database: &'a str,
        ident: &'a TableIdent,
        definition: &'a TableDefinition,
        sources: Vec<Arc<dyn RowSource>>,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let Some(first) = sources.first() else {
                return Err(Error::new(SqlState::INTERNAL_ERROR, "a table is filled from no source"));
            };
            let schema = first.schema().clone();
            let catalog = self.registry.catalog(database)?;
            let table = catalog.stage_table(ident, definition, None).await?;
            let partitions =
                sources.into_iter().map(|s| Arc::new(Source(s)) as Arc<dyn PartitionStream>).collect();
            let input = StreamingTableExec::try_new(schema, partitions, None, [], false, None)
                .map_err(|e| Error::from(&e))?;
            let plan = table
                .provider()
                .insert_into(self.base.as_ref(), Arc::new(input), InsertOp::Append)
                .await
                .map_err(|e| Error::from(&e))?;
            let mut stream = execute_stream(plan, self.base.task_ctx()).map_err(|e| Error::from(&e))?;
            let mut count = 0;
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(|e| Error::from(&e))?;
                let counts =
                    batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
                count += counts.map_or(0, |counts| counts.values().iter().sum::<u64>());
            }
            Ok(count)
        })
    }
}

//! Rows that a materialized view refuses, kept in a table of their own: as they were, with the names of
//! what they violate, the run that refused them and its time.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use auric_catalog::TableIdent;
use auric_catalog::dml::insert;
use auric_catalog::dml::publish::Publish;
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use auric_catalog::table::{ColumnDefinition, TableDefinition};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::audit::{Quarantined, REASON, with_reason};
use super::publish::Capture;
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;
use crate::statement::{dml, rows};

const RUN_ID: &str = "_run_id";
const TIME: &str = "_quarantined_at";
/// Batches that wait for the quarantine table's writer.
const WAITING: usize = 4;

/// The run that refuses rows.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: String,
    pub time: chrono::DateTime<chrono::Utc>,
}

/// A quarantine table in one run: what goes in, and what came of it.
#[derive(Debug)]
pub struct Quarantine {
    pub table: Table,
    pub capture: Arc<Capture>,
}

/// Name, type and whether it may be null of the columns after those of the row.
fn own_columns() -> [(&'static str, DataType); 3] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    [(REASON, DataType::Utf8View), (RUN_ID, DataType::Utf8View), (TIME, time)]
}

/// The table of that name as the statement sees it; one to be made, if there is none. Fails with 42703 if
/// it has no place for a column, 42809 for a materialized view.
pub async fn table(scope: &Scope, view: &Table, ident: &TableIdent) -> Result<Table> {
    let catalog = &view.catalog;
    let row = view.snapshot.schema.arrow.fields();
    if let Some(found) = scope.tables.get(catalog, ident).await? {
        let schema = &found.snapshot.schema.arrow;
        let own = own_columns();
        let names = row.iter().map(|field| field.name().as_str()).chain(own.iter().map(|(name, _)| *name));
        if let Some(missing) = names.into_iter().find(|name| schema.index_of(name).is_err()) {
            let message = format!("column \"{missing}\" of relation \"{}\" does not exist", ident.name);
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message)
                .with_detail(format!("\"{ident}\" is to hold the rows that \"{}\" refuses.", view.ident)));
        }
        if super::definition::is_materialized_view(&found.snapshot.properties) {
            let message = format!("cannot quarantine rows into materialized view \"{}\"", ident.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        return Ok(found);
    }
    let column = |name: &str, data_type: &DataType| ColumnDefinition {
        name: name.to_string(),
        data_type: data_type.clone(),
        nullable: true,
        comment: None,
        identity: None,
        default: None,
    };
    let mut columns: Vec<_> = row.iter().map(|field| column(field.name(), field.data_type())).collect();
    columns.extend(own_columns().iter().map(|(name, data_type)| column(name, data_type)));
    let definition = TableDefinition {
        format: view.snapshot.format,
        columns,
        partitioning: Vec::new(),
        sorting: Vec::new(),
        key_columns: Vec::new(),
        constraints: Vec::new(),
        comment: Some(format!("rows that {} refused", view.ident)),
        properties: Default::default(),
    };
    Ok(catalog.stage_table(ident, &definition, None).await?)
}

/// Whether a run has put its rows there already: one that did not get as far as its publication.
pub async fn has_rows_of(scope: &Scope, table: &Table, run: &Run) -> Result<bool> {
    if table.entry.is_none() {
        return Ok(false);
    }
    let source = provider_as_source(Arc::new(LakeTable::new(table.clone())));
    let plan = LogicalPlanBuilder::scan(table.ident.name.as_str(), source, None)
        .and_then(|plan| plan.filter(ident(RUN_ID).eq(lit(run.id.as_str()))))
        .and_then(|plan| plan.limit(0, Some(1)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))?;
    let mut found = rows::stream(scope, rows::physical(scope, &plan).await?)?;
    while let Some(batch) = found.next().await {
        if batch.map_err(|e| Error::from(&e))?.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A plan that writes what is sent to the first into `table`, for `capture` to keep. `row`: the columns
/// of the rows that are sent, before the reason.
pub async fn plan(
    scope: &Scope,
    quarantine: &Quarantine,
    row: &SchemaRef,
    run: &Run,
) -> Result<(Quarantined, Arc<dyn ExecutionPlan>)> {
    let failed = |e: DataFusionError| Error::from(&e);
    let (sender, receiver) = mpsc::channel(WAITING);
    let schema = with_reason(row);
    let sent = Sent { schema: schema.clone(), receiver: Mutex::new(Some(receiver)) };
    let sent = StreamingTable::try_new(schema.clone(), vec![Arc::new(sent)]).map_err(failed)?;
    let mut columns: Vec<Expr> = schema.fields().iter().map(|field| ident(field.name())).collect();
    columns.push(lit(run.id.as_str()).alias(RUN_ID));
    let time = ScalarValue::TimestampMicrosecond(Some(run.time.timestamp_micros()), Some("+00:00".into()));
    columns.push(lit(time).alias(TIME));
    let plan = LogicalPlanBuilder::scan("quarantined", provider_as_source(Arc::new(sent)), None)
        .and_then(|plan| plan.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let names: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
    let table = &quarantine.table;
    let plan = dml::assign::to_table(scope, table, plan, &names)?;
    let plan = dml::check::enforce(scope, table, plan, &dml::check::Checked::default())?;
    let input = rows::physical(scope, &plan).await?;
    let publish = Publish::Later(quarantine.capture.clone());
    let plan = insert::plan_published(table, scope.state.as_ref(), input, publish).map_err(failed)?;
    Ok((sender, plan))
}

/// Rows as they are sent, once.
struct Sent {
    schema: SchemaRef,
    receiver: Mutex<Option<mpsc::Receiver<DataFusionResult<RecordBatch>>>>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows of a quarantine")
    }
}

impl PartitionStream for Sent {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = match self.receiver.lock().take() {
            Some(receiver) => futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|batch| (batch, receiver))
            })
            .boxed(),
            None => {
                let twice = DataFusionError::Internal("the rows of a quarantine were read twice".into());
                futures::stream::iter([Err(twice)]).boxed()
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

//! INSERT: write the rows, append the files.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, LexOrdering, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EvaluationType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    Partitioning, PlanProperties, SendableRecordBatchStream,
};

use super::publish::Publish;
use crate::error::Error;
use crate::registry::Table;
use crate::table::{Operation, TableChange};
use crate::write::{self, InputOrder, write_order};

/// Plan that writes `input` (columns in the order of the table's schema) into `table`, commits, and
/// returns one row: `count`, the number of rows written. A staged table is created by the commit.
///
/// Rows of a table with a sort order are sorted by partition and sort order, in as many tasks as
/// the input has partitions, and written by one (which encodes columns side by side), so that files
/// do not overlap. Other rows are written by one task for each partition of the input.
pub fn plan(
    table: &Table,
    state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan_published(table, state, input, Publish::Now)
}

/// [`plan`], with a choice of when to commit.
pub fn plan_published(
    table: &Table,
    _state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
    publish: Publish,
) -> Result<Arc<dyn ExecutionPlan>> {
    let columns = table.snapshot.schema.arrow.fields().len();
    if input.schema().fields().len() != columns {
        let found = input.schema().fields().len();
        return Err(Error::Internal(format!("{found} columns to insert into {columns}")).into());
    }
    let Some(order) = write_order(&table.snapshot, &input.schema(), 0)? else {
        return Ok(Arc::new(InsertExec::new(table.clone(), input, None, publish)));
    };
    Ok(Arc::new(InsertExec::new(table.clone(), sorted(input, &order), Some(order), publish)))
}

/// The rows in one sorted stream, sorted by as many tasks as the input has partitions.
pub fn sorted(input: Arc<dyn ExecutionPlan>, order: &LexOrdering) -> Arc<dyn ExecutionPlan> {
    let parallel = input.output_partitioning().partition_count() > 1;
    let sort = Arc::new(SortExec::new(order.clone(), input).with_preserve_partitioning(parallel));
    match parallel {
        true => Arc::new(SortPreservingMergeExec::new(order.clone(), sort)),
        false => sort,
    }
}

/// Writes its input into a table and commits, once, when its only partition is executed.
#[derive(Debug)]
pub struct InsertExec {
    table: Table,
    input: Arc<dyn ExecutionPlan>,
    /// The table's write order, which the input then has.
    order: Option<LexOrdering>,
    publish: Publish,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl InsertExec {
    fn new(
        table: Table,
        input: Arc<dyn ExecutionPlan>,
        order: Option<LexOrdering>,
        publish: Publish,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(count_schema()),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        Self {
            table,
            input,
            order,
            publish,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Order that must survive planning: the table's, else the one that the query asked for (an
    /// ORDER BY clusters the files).
    fn input_order(&self) -> Option<&LexOrdering> {
        self.order.as_ref().or_else(|| self.input.output_ordering())
    }
}

impl DisplayAs for InsertExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.table.snapshot.format;
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "InsertExec: table={}, format={format}", self.table.ident)
            }
            DisplayFormatType::TreeRender => write!(f, "table={}\nformat={format}", self.table.ident),
        }
    }
}

impl ExecutionPlan for InsertExec {
    fn name(&self) -> &'static str {
        "InsertExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match self.input_order() {
            Some(_) => Distribution::SinglePartition,
            None => Distribution::UnspecifiedDistribution,
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<datafusion::physical_expr::OrderingRequirements>> {
        vec![self.input_order().cloned().map(Into::into)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![self.input_order().is_none()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let (Some(input), None) = (children.next(), children.next()) else {
            return Err(Error::Internal("InsertExec has one input".into()).into());
        };
        Ok(Arc::new(Self::new(self.table.clone(), input, self.order.clone(), self.publish.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(Error::Internal(format!("InsertExec has no partition {partition}")).into());
        }
        let inputs = (0..self.input.output_partitioning().partition_count())
            .map(|i| self.input.execute(i, context.clone()))
            .collect::<Result<Vec<_>>>()?;
        let order = match self.order {
            Some(_) if inputs.len() == 1 => InputOrder::TableOrder,
            _ => InputOrder::Any,
        };
        let insert =
            insert(self.table.clone(), inputs, order, context, self.metrics.clone(), self.publish.clone());
        let stream = futures::stream::once(async move { Ok(insert.await?) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(count_schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

async fn insert(
    table: Table,
    inputs: Vec<SendableRecordBatchStream>,
    order: InputOrder,
    context: Arc<TaskContext>,
    metrics: ExecutionPlanMetricsSet,
    publish: Publish,
) -> crate::Result<RecordBatch> {
    let name = table.ident.to_string();
    let storage = table.catalog.storage();
    let written = write::write(&name, storage, &table.snapshot, inputs, order, &context).await?;
    let bytes = written.files.iter().map(|f| f.size_bytes as usize).sum();
    MetricBuilder::new(&metrics).counter("rows_written", 0).add(written.rows as usize);
    MetricBuilder::new(&metrics).counter("files_written", 0).add(written.files.len());
    MetricBuilder::new(&metrics).counter("bytes_written", 0).add(bytes);
    let operation = if table.entry.is_some() { Operation::Append } else { Operation::Create };
    if written.rows > 0 || operation == Operation::Create {
        publish.publish(&table, TableChange::new(operation, written.files), written.guard).await?;
    }
    let count: ArrayRef = Arc::new(UInt64Array::from(vec![written.rows]));
    RecordBatch::try_new(count_schema(), vec![count]).map_err(|e| Error::Internal(e.to_string()))
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]))
}

//! The plan node of INSERT, INSERT OVERWRITE and TRUNCATE: writes its input into new files, makes
//! them a [`TableChange`], commits, once, when its only partition is executed.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr,
};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EvaluationType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::TryStreamExt;

use super::impact::{self, Impact};
use super::insert::sorted;
use super::overwrite::Replacement;
use super::publish::Publish;
use super::returning::Returning;
use crate::error::Error;
use crate::registry::Table;
use crate::table::{Isolation, Operation, ReadSet, TableChange};
use crate::write::{self, InputOrder, write_order};

/// What becomes of the files that the table has.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// They stay.
    Append,
    /// They go, and the table becomes the one that the rows are written for.
    ReplaceTable,
    Replace(Arc<Replacement>),
}

/// What the node returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// One row: `count`, the number of rows written.
    Count,
    /// One row of [`impact::schema`]. So many trailing columns of the input are ignored.
    Impact { ignored: usize },
    /// This many trailing columns of every row of the input.
    Rows(usize),
}

/// One statement that writes whole rows.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub table: Table,
    pub kind: Kind,
    pub returned: Returned,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
    /// The rows were computed from the table itself.
    pub reads_target: bool,
    pub publish: Publish,
}

impl Write {
    /// Columns of the input that are the table's.
    fn columns(&self) -> usize {
        self.table.snapshot.schema.arrow.fields().len()
    }

    fn output_schema(&self, input: &Schema) -> SchemaRef {
        match self.returned {
            Returned::Count => Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)])),
            Returned::Impact { .. } => impact::schema(),
            Returned::Rows(_) => {
                let fields = input.fields().iter().skip(self.columns()).cloned().collect::<Vec<_>>();
                Arc::new(Schema::new(fields))
            }
        }
    }
}

/// Plans `write` of `input`: the table's columns in order, then those of RETURNING.
///
/// Rows of a table with a sort order are sorted by partition and sort order, in as many tasks as
/// the input has partitions, and written by one (which encodes columns side by side), so that files
/// do not overlap. Other rows are written by one task for each partition of the input.
pub(super) fn plan(write: Write, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let returning = match write.returned {
        Returned::Count => 0,
        Returned::Impact { ignored: columns } | Returned::Rows(columns) => columns,
    };
    let (columns, found) = (write.columns(), input.schema().fields().len());
    if found != columns + returning {
        return Err(Error::Internal(format!("{found} columns to insert into {columns}")).into());
    }
    let Some(order) = write_order(&write.table.snapshot, &input.schema(), 0)? else {
        return Ok(Arc::new(WriteExec::new(write, input, None)));
    };
    Ok(Arc::new(WriteExec::new(write, sorted(input, &order), Some(order))))
}

#[derive(Debug)]
pub(super) struct WriteExec {
    write: Write,
    input: Arc<dyn ExecutionPlan>,
    /// The table's write order, which the input then has.
    order: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WriteExec {
    fn new(write: Write, input: Arc<dyn ExecutionPlan>, order: Option<LexOrdering>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(write.output_schema(&input.schema())),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        Self {
            write,
            input,
            order,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Order that must survive planning: the table's, else the one that the query asked for (an
    /// ORDER BY clusters the files).
    fn input_order(&self) -> Option<&LexOrdering> {
        self.order.as_ref().or_else(|| self.input.output_ordering())
    }

    fn operation(&self) -> Operation {
        match &self.write.kind {
            _ if self.write.table.entry.is_none() => Operation::Create,
            Kind::Append => Operation::Append,
            Kind::ReplaceTable => Operation::Replace,
            Kind::Replace(replacement) => replacement.operation,
        }
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, format) = (&self.write.table.ident, self.write.table.snapshot.format);
        let operation = self.operation();
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "WriteExec: {operation}, table={table}, format={format}")?;
                match &self.write.kind {
                    Kind::Append | Kind::ReplaceTable => Ok(()),
                    Kind::Replace(replacement) => write!(f, ", replaced={replacement}"),
                }
            }
            DisplayFormatType::TreeRender => write!(f, "{operation}\ntable={table}\nformat={format}"),
        }
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &'static str {
        "WriteExec"
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

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
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
            return Err(Error::Internal("WriteExec has one input".into()).into());
        };
        Ok(Arc::new(Self::new(self.write.clone(), input, self.order.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(Error::Internal(format!("WriteExec has no partition {partition}")).into());
        }
        let inputs = (0..self.input.output_partitioning().partition_count())
            .map(|i| self.input.execute(i, context.clone()))
            .collect::<Result<Vec<_>>>()?;
        let order = match self.order {
            Some(_) if inputs.len() == 1 => InputOrder::TableOrder,
            _ => InputOrder::Any,
        };
        let run = Run {
            write: self.write.clone(),
            operation: self.operation(),
            schema: self.schema(),
            metrics: self.metrics.clone(),
        };
        let stream = futures::stream::once(run.run(inputs, order, context)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One execution.
struct Run {
    write: Write,
    operation: Operation,
    schema: SchemaRef,
    metrics: ExecutionPlanMetricsSet,
}

impl Run {
    async fn run(
        self,
        inputs: Vec<SendableRecordBatchStream>,
        order: InputOrder,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let table = &self.write.table;
        let name = table.ident.to_string();
        let returning = Returning::new(self.write.columns(), self.schema.clone(), &context);
        let mut streams = Vec::with_capacity(inputs.len());
        for mut input in inputs {
            if let Kind::Replace(replacement) = &self.write.kind {
                input = replacement.check_rows(table, input);
            }
            input = match self.write.returned {
                Returned::Count | Returned::Impact { ignored: 0 } => input,
                Returned::Impact { .. } => returning.without(input),
                Returned::Rows(_) => returning.split(input),
            };
            streams.push(input);
        }
        let written =
            write::write(&name, table.catalog.storage(), &table.snapshot, streams, order, &context).await?;
        self.count(&written);
        let rows = written.rows;
        let mut change = TableChange::new(self.operation, written.files);
        if let Kind::Replace(replacement) = &self.write.kind {
            replacement.apply(table, &mut change).await?;
        } else if let Kind::ReplaceTable = &self.write.kind {
            change.replacement = Some(table.snapshot.clone());
        } else if self.write.reads_target && self.operation != Operation::Create {
            // Appends never conflict; but other writers need to know that this one is not blind.
            change.read = ReadSet::Filters(Vec::new());
            change.isolation = Isolation::Snapshot;
        }
        let impact = Impact::of(&change)?;
        let nothing = change.is_empty() && self.operation != Operation::Create;
        if !nothing && !self.write.dry_run {
            self.write.publish.publish(table, change, written.guard).await?;
        }
        match self.write.returned {
            Returned::Count => {
                let count: ArrayRef = Arc::new(UInt64Array::from(vec![rows]));
                let batch = RecordBatch::try_new(self.schema.clone(), vec![count])?;
                Ok(once(batch))
            }
            Returned::Impact { .. } => Ok(once(impact.to_batch()?)),
            Returned::Rows(_) => Ok(returning.into_stream()),
        }
    }

    fn count(&self, written: &write::Written) {
        let bytes = written.files.iter().map(|f| f.size_bytes as usize).sum();
        let counter = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, 0);
        counter("rows_written").add(written.rows as usize);
        counter("files_written").add(written.files.len());
        counter("bytes_written").add(bytes);
    }
}

fn once(batch: RecordBatch) -> SendableRecordBatchStream {
    let schema = batch.schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

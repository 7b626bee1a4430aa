//! The plan node that looks at every row before it is written: it counts what violates an expectation,
//! and keeps back what is to be dropped or quarantined.
//!
//! The verdicts come as trailing columns of its input, so that a row and what is said of it are computed
//! once and together, also by a query that gives other rows the next time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    SendableRecordBatchStream,
};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;

use super::expectation::{Expectation, OnViolation};
use crate::statement::failing_row;

/// Name of the column that tells which expectations a quarantined row violates.
pub const REASON: &str = "_reason";

/// Rows on their way into one quarantine table.
pub type Quarantined = Sender<Result<RecordBatch>>;

/// What is asked of the rows of one run, and what was found.
#[derive(Debug)]
pub struct Audit {
    expectations: Vec<Expectation>,
    violations: Vec<AtomicU64>,
    rows: AtomicU64,
    /// The first row found that fails the update.
    failing: Mutex<Option<String>>,
    /// Of each quarantine table, the positions of the expectations whose violations go there.
    quarantines: Vec<Vec<usize>>,
}

impl Audit {
    /// `quarantines`: of each quarantine table, the positions of its expectations.
    pub fn new(expectations: Vec<Expectation>, quarantines: Vec<Vec<usize>>) -> Self {
        Self {
            violations: expectations.iter().map(|_| AtomicU64::new(0)).collect(),
            expectations,
            rows: AtomicU64::new(0),
            failing: Mutex::default(),
            quarantines,
        }
    }

    /// Rows that were looked at.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    /// Each expectation with the number of rows that violate it.
    pub fn violations(&self) -> impl Iterator<Item = (&Expectation, u64)> {
        self.expectations.iter().zip(self.violations.iter().map(|count| count.load(Ordering::Acquire)))
    }

    /// A row that fails the update.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().clone()
    }

    /// Columns of the input that hold a row, before the verdicts.
    fn width(&self, input: &Schema) -> usize {
        input.fields().len().saturating_sub(self.expectations.len())
    }

    /// The rows of `batch` that are to be written, and what goes into each quarantine table.
    fn sort(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Option<RecordBatch>>)> {
        let width = self.width(&batch.schema());
        let verdict = |column: &ArrayRef| column.as_boolean_opt().map(whether).ok_or_else(no_verdict);
        let verdicts = batch.columns().iter().skip(width).map(verdict).collect::<Result<Vec<_>>>()?;
        let rows = batch.project(&(0..width).collect::<Vec<_>>())?;
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::AcqRel);
        let mut kept = vec![true; batch.num_rows()];
        for ((expectation, verdict), count) in self.expectations.iter().zip(&verdicts).zip(&self.violations) {
            let Some(first) = verdict.iter().position(|satisfied| !satisfied) else { continue };
            let violations = verdict.iter().filter(|satisfied| !**satisfied).count();
            count.fetch_add(violations as u64, Ordering::AcqRel);
            match expectation.action {
                OnViolation::Warn => {}
                OnViolation::FailUpdate => {
                    let mut failing = self.failing.lock();
                    if failing.is_none() {
                        *failing = failing_row::text(rows.columns(), first);
                    }
                }
                OnViolation::DropRow | OnViolation::QuarantineInto(_) => {
                    kept.iter_mut().zip(verdict).for_each(|(kept, satisfied)| *kept &= satisfied);
                }
            }
        }
        let quarantined = self.quarantines.iter().map(|own| self.quarantined(&rows, &verdicts, own));
        let quarantined = quarantined.collect::<Result<Vec<_>>>()?;
        let rows = match kept.iter().all(|kept| *kept) {
            true => rows,
            false => filter_record_batch(&rows, &BooleanArray::from(kept))?,
        };
        Ok((rows, quarantined))
    }

    /// The rows that violate one of the expectations at `own`, with the names of all that they violate.
    fn quarantined(
        &self,
        rows: &RecordBatch,
        verdicts: &[Vec<bool>],
        own: &[usize],
    ) -> Result<Option<RecordBatch>> {
        let violates = |verdict: &Vec<bool>, row: usize| verdict.get(row) == Some(&false);
        let goes = |row: usize| own.iter().filter_map(|i| verdicts.get(*i)).any(|v| violates(v, row));
        let mask: Vec<bool> = (0..rows.num_rows()).map(goes).collect();
        let reasons: Vec<String> = (0..rows.num_rows())
            .filter(|row| mask.get(*row) == Some(&true))
            .map(|row| {
                let violated = self.expectations.iter().zip(verdicts).filter(|(_, v)| violates(v, row));
                violated.map(|(expectation, _)| expectation.name.as_str()).collect::<Vec<_>>().join(", ")
            })
            .collect();
        if reasons.is_empty() {
            return Ok(None);
        }
        let rows = filter_record_batch(rows, &BooleanArray::from(mask))?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(StringViewArray::from_iter_values(reasons)));
        Ok(Some(RecordBatch::try_new(with_reason(&rows.schema()), columns)?))
    }
}

/// Columns of a row, and the reason.
pub fn with_reason(row: &Schema) -> SchemaRef {
    let mut fields = row.fields().to_vec();
    fields.push(Arc::new(Field::new(REASON, DataType::Utf8View, false)));
    Arc::new(Schema::new(fields))
}

/// What is not true violates.
fn whether(verdict: &BooleanArray) -> Vec<bool> {
    verdict.iter().map(|satisfied| satisfied == Some(true)).collect()
}

fn no_verdict() -> DataFusionError {
    DataFusionError::Internal("an expectation has no verdict".into())
}

/// Passes on the rows that are to be written, without the verdicts.
#[derive(Debug)]
pub struct AuditExec {
    audit: Arc<Audit>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    /// Given up once all partitions run: the quarantine tables' writers end with the last of them.
    senders: Arc<Mutex<Vec<Quarantined>>>,
    started: Arc<AtomicUsize>,
}

impl AuditExec {
    /// `senders`: one for each quarantine table of the audit.
    pub fn new(audit: Arc<Audit>, input: Arc<dyn ExecutionPlan>, senders: Vec<Quarantined>) -> Result<Self> {
        let senders = Arc::new(Mutex::new(senders));
        Self::with(audit, input, senders, Arc::new(AtomicUsize::new(0)))
    }

    fn with(
        audit: Arc<Audit>,
        input: Arc<dyn ExecutionPlan>,
        senders: Arc<Mutex<Vec<Quarantined>>>,
        started: Arc<AtomicUsize>,
    ) -> Result<Self> {
        let schema = input.schema();
        if audit.expectations.is_empty() {
            // It only counts.
            let properties = input.properties().clone();
            return Ok(Self { audit, input, properties, senders, started });
        }
        let rows = Arc::new(schema.project(&(0..audit.width(&schema)).collect::<Vec<_>>())?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(rows),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(
                input.output_partitioning().partition_count(),
            ),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { audit, input, properties: Arc::new(properties), senders, started })
    }
}

impl DisplayAs for AuditExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.audit.expectations.iter().map(|expectation| expectation.name.as_str());
        write!(f, "AuditExec: expectations=[{}]", names.collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for AuditExec {
    fn name(&self) -> &'static str {
        "AuditExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
            return Err(DataFusionError::Internal("AuditExec has one input".into()));
        };
        let exec = Self::with(self.audit.clone(), input, self.senders.clone(), self.started.clone())?;
        Ok(Arc::new(exec))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let senders = {
            let mut senders = self.senders.lock();
            let partitions = self.input.output_partitioning().partition_count();
            match self.started.fetch_add(1, Ordering::AcqRel) + 1 < partitions {
                true => senders.clone(),
                false => std::mem::take(&mut *senders),
            }
        };
        let audit = self.audit.clone();
        let rows = input.then(move |batch| {
            let (audit, senders) = (audit.clone(), senders.clone());
            async move {
                let (rows, quarantined) = audit.sort(&batch?)?;
                for (batch, sender) in quarantined.into_iter().zip(&senders) {
                    if let Some(batch) = batch
                        && sender.send(Ok(batch)).await.is_err()
                    {
                        // Its own error says why.
                        let message = "the quarantine table is no longer written".to_string();
                        return Err(DataFusionError::Execution(message));
                    }
                }
                Ok(rows)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use auric_catalog::TableIdent;

    use super::*;

    #[test]
    fn rows_go_where_their_violations_send_them() {
        let expectation =
            |name: &str, action| Expectation { name: name.into(), condition: String::new(), action };
        let audit = Audit::new(
            vec![
                expectation("dropped", OnViolation::DropRow),
                expectation("quarantined", OnViolation::QuarantineInto(TableIdent::new("s", "q"))),
                expectation("told", OnViolation::Warn),
                expectation("fails", OnViolation::FailUpdate),
            ],
            vec![vec![1]],
        );
        let column = |values: [Option<bool>; 5]| Arc::new(BooleanArray::from(values.to_vec())) as ArrayRef;
        let (yes, no, null) = (Some(true), Some(false), None);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("a", Arc::new(Int32Array::from(vec![0, 1, 2, 3, 4])) as ArrayRef, true),
            ("d", column([yes, no, yes, yes, yes]), true),
            ("q", column([yes, no, null, yes, yes]), true),
            ("t", column([yes, yes, no, no, yes]), true),
            ("f", column([yes, yes, yes, yes, null]), true),
        ])
        .unwrap();
        let (kept, quarantined) = audit.sort(&batch).unwrap();
        let numbers = |batch: &RecordBatch| {
            batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec()
        };
        assert_eq!(numbers(&kept), [0, 3, 4]);
        let quarantined = quarantined[0].as_ref().unwrap();
        assert_eq!(numbers(quarantined), [1, 2]);
        let reasons: Vec<_> = quarantined.column(1).as_string_view().iter().flatten().collect();
        assert_eq!(reasons, ["dropped, quarantined", "quarantined, told"]);
        let counts: Vec<u64> = audit.violations().map(|(_, count)| count).collect();
        assert_eq!((audit.rows(), counts), (5, vec![1, 2, 2, 1]));
        assert_eq!(audit.failing().as_deref(), Some("(4)"));
    }
}

//! A cursor whose rows come from an answer that is kept, or may: its query runs when it has to.
//!
//! The answer that its first rows came from decides the order of all of them. If its client then wants them
//! in another format, of which there is none, the query runs, and its rows are put into that order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::compute::interleave_record_batch;
use arrow::record_batch::RecordBatch;
use auric_catalog::scan::LakeTable;
use auric_catalog::storage::readers::Reading;
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::rows::{CursorRows, Pass};
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;
use crate::result_cache::{Answer, Part, RowCoder, ShownAs};
use crate::statement::{OutputColumn, join_memory};

/// An optimized query that does not run yet.
pub struct Deferred {
    scope: Scope,
    state: Arc<SessionState>,
    plan: LogicalPlan,
    /// The files of its tables stay, even if those are dropped.
    _reading: Vec<Arc<Reading>>,
}

impl Deferred {
    pub fn new(scope: Scope, state: Arc<SessionState>, plan: LogicalPlan) -> Result<Self> {
        let mut reading = Vec::new();
        let visited = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                if let Some(table) = provider.downcast_ref::<LakeTable>() {
                    let table = table.table();
                    reading.push(table.catalog.storage().readers().begin(&table.snapshot.location));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map_err(|e| Error::from(&e))?;
        Ok(Self { scope, state, plan, _reading: reading })
    }

    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.scope.engine.runtime
    }

    async fn start(&self) -> Result<SendableRecordBatchStream> {
        join_memory::start(&self.scope, &self.state, self.plan.clone()).await
    }
}

/// The answer that rows come from.
pub(super) struct Answered {
    answer: Arc<Answer>,
    shown: ShownAs,
    rows: u64,
    /// The client has got some of them.
    is_given: bool,
}

impl Answered {
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Where the next rows of a cursor come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The query runs.
    Running,
    /// Nothing was looked for yet.
    Waiting,
    /// An answer of another format or other settings; `true`: the client has rows of it.
    OtherAnswer(bool),
    /// An answer that is as it is wanted.
    ThisAnswer,
}

impl CursorRows {
    pub fn standing(&self, shown: &ShownAs) -> Standing {
        match (&self.deferred, &self.answered) {
            (None, _) => Standing::Running,
            (Some(_), None) => Standing::Waiting,
            (Some(_), Some(answered)) if answered.shown == *shown => Standing::ThisAnswer,
            (Some(_), Some(answered)) => Standing::OtherAnswer(answered.is_given),
        }
    }

    /// Takes its rows from an answer. The client must not have any of another.
    pub fn answer(&mut self, answer: Arc<Answer>, shown: ShownAs) {
        let rows = answer.rows();
        self.answered = Some(Answered { answer, shown, rows, is_given: false });
    }

    /// Runs the query.
    pub async fn run(&mut self) -> Result<()> {
        let Some(deferred) = self.deferred.take() else { return Ok(()) };
        self.answered = None;
        self.begin_stream(deferred.start().await?);
        self.catch_up().await
    }

    /// Runs the query; its rows come in the order of the answer of which the client has some already.
    pub async fn run_in_order(
        &mut self,
        columns: &[OutputColumn],
        coder: Option<&dyn RowCoder>,
    ) -> Result<()> {
        let (Some(deferred), Some(answered)) = (self.deferred.take(), self.answered.take()) else {
            return Ok(());
        };
        let coder = coder.ok_or_else(not_the_same)?;
        let stream = deferred.start().await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|e| Error::from(&e))?;
        let order = order_of(&answered, &batches, columns, coder)?;
        let found: Vec<&RecordBatch> = batches.iter().collect();
        let ordered = match order.is_empty() {
            true => RecordBatch::new_empty(schema.clone()),
            false => interleave_record_batch(&found, &order).map_err(|e| Error::from(&e))?,
        };
        let stream = futures::stream::iter([Ok(ordered)]);
        self.begin_stream(Box::pin(RecordBatchStreamAdapter::new(schema, stream)));
        self.catch_up().await
    }

    /// What a movement gives of the answer. `None`: the query runs.
    pub async fn part(&mut self, pass: Pass) -> Result<Option<(Arc<Answer>, Part)>> {
        let Some(answer) = self.answered.as_ref().map(|answered| answered.answer.clone()) else {
            return Ok(None);
        };
        let before = self.position();
        let rows = self.pass(pass).await?;
        let part = match pass {
            Pass::Forward(_) | Pass::Here => Part::Rows { first: before, rows },
            Pass::Backward(_) => {
                Part::Backward { first: before.saturating_sub(1).saturating_sub(rows), rows }
            }
        };
        if let Some(answered) = &mut self.answered {
            answered.is_given |= rows > 0;
        }
        Ok(Some((answer, part)))
    }
}

/// Batch and row of each row of the answer, which is found by how it is encoded.
fn order_of(
    answered: &Answered,
    batches: &[RecordBatch],
    columns: &[OutputColumn],
    coder: &dyn RowCoder,
) -> Result<Vec<(usize, usize)>> {
    let mut places: HashMap<Bytes, VecDeque<(usize, usize)>> = HashMap::new();
    for (number, batch) in batches.iter().enumerate() {
        for (row, message) in coder.encode(batch, columns, &answered.shown)?.into_iter().enumerate() {
            places.entry(message).or_default().push_back((number, row));
        }
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let messages = answered.answer.chunks().iter().flat_map(|(chunk, _)| coder.messages(chunk));
    let order: Option<Vec<_>> = messages.map(|message| places.get_mut(&message)?.pop_front()).collect();
    order.filter(|order| order.len() == rows).ok_or_else(not_the_same)
}

/// Sums of floating-point numbers may differ in their last digits.
fn not_the_same() -> Error {
    let message = "the rows of the cursor would not be the same in another format";
    Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, message).with_hint(
        "Fetch all of them in one format and with the same TimeZone and IntervalStyle, or set result_cache to off before.",
    )
}

//! The source of a MERGE (and the FROM of an UPDATE, the USING of a DELETE, the rows of an INSERT with
//! ON CONFLICT), run before the join is planned if it is small: its keys then tell which files and partitions
//! of the target can hold a match, before any of them is read, and what the statement read for the detection
//! of conflicts.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::distinct as distinct_from;
use arrow::compute::{SortOptions, concat, filter, is_not_null, sort, sort_limit};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use auric_catalog::registry::Table;
use auric_catalog::scan::may_be_key;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ParamValues};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::super::rows;
use super::key_ranges::{MAX_RANGES, in_ranges};
use super::row_change::RowChange;
use super::row_statement::has_subquery;
use super::used_columns::columns_of;
use crate::error::{Error, Result};
use crate::planner::Scope;

/// Most bytes of a source that is collected; the rest of a larger one is streamed.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// And most of the memory of all queries: one part of so many.
const POOL_SHARE: usize = 8;
/// Most values of a key that are listed one by one.
const MAX_LISTED: usize = 200;
/// Most values of a key that ranges are made of.
const MAX_VALUES: usize = 20_000;

/// A source as the join takes it.
pub struct Source {
    pub relation: LogicalPlan,
    /// Predicates that every target row with a match satisfies.
    pub pruning: Vec<Expr>,
    _memory: Arc<Mutex<MemoryReservation>>,
}

fn failed(e: DataFusionError) -> Error {
    Error::from(&e)
}

/// An expression with its placeholders replaced.
pub fn substituted(expr: &Expr, values: &[ScalarValue]) -> Result<Expr> {
    let list = values.iter().map(|value| ScalarAndMetadata::new(value.clone(), None)).collect();
    let values = ParamValues::List(list);
    let replaced = expr.clone().transform(|e| match e {
        Expr::Placeholder(placeholder) => {
            let value = values.get_placeholders_with_values(&placeholder.id)?;
            Ok(Transformed::yes(Expr::Literal(value.value, None)))
        }
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data).map_err(failed)
}

/// An equality `source expression = target column` that every match satisfies.
struct Key {
    source: Expr,
    target: Expr,
}

/// Runs the source, as far as it is small.
pub async fn collect(
    scope: &Scope,
    change: &RowChange,
    source: LogicalPlan,
    condition: Option<&Expr>,
) -> Result<Source> {
    let conjuncts = condition.map(split_conjunction).unwrap_or_default();
    let keys = if change.keeps_target() { Vec::new() } else { keys(&source, &conjuncts) };
    let columns = needed(change, &source);
    let plan = narrowed(change, &source, &conjuncts, &columns, &keys)?;
    let (collected, memory) = run(scope, &plan).await?;
    let keys = keys.into_iter().enumerate().map(|(i, key)| (columns.len() + i, key.target));
    let pruning = collected.pruning(change.target.table(), keys)?;
    let scan = LogicalPlanBuilder::scan("__auric_source", provider_as_source(Arc::new(collected)), None);
    let collected = |i: usize| Expr::Column(Column::new(Some("__auric_source"), format!("c{i}")));
    let renamed = columns.iter().enumerate();
    let renamed =
        renamed.map(|(i, column)| collected(i).alias_qualified(column.relation.clone(), &column.name));
    let mut renamed: Vec<Expr> = renamed.collect();
    if renamed.is_empty() {
        renamed.push(collected(0));
    }
    let relation = scan.and_then(|scan| scan.project(renamed));
    let relation = relation.and_then(LogicalPlanBuilder::build).map_err(failed)?;
    Ok(Source { relation, pruning, _memory: memory })
}

/// Runs the new rows of a table, as far as they are small. `keys`: their columns that target rows with a
/// match have the values of; the pruning predicates are over columns of `relation`.
pub async fn collect_rows(
    scope: &Scope,
    table: &Table,
    rows: &LogicalPlan,
    keys: &[String],
    relation: &str,
) -> Result<Source> {
    let (collected, memory) = run(scope, rows).await?;
    let fields = collected.schema.fields().iter().enumerate();
    let keys = fields.filter(|(_, field)| keys.contains(field.name()));
    let keys = keys.map(|(i, field)| (i, Expr::Column(Column::new(Some(relation), field.name()))));
    let pruning = collected.pruning(table, keys)?;
    let scan = LogicalPlanBuilder::scan("__auric_source", provider_as_source(Arc::new(collected)), None);
    let relation = scan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
    Ok(Source { relation, pruning, _memory: memory })
}

async fn run(scope: &Scope, plan: &LogicalPlan) -> Result<(Collected, Arc<Mutex<MemoryReservation>>)> {
    let physical = rows::physical(scope, plan).await?;
    let pool = &scope.engine.runtime.memory_pool;
    let most = match pool.memory_limit() {
        // The statement itself has to have some.
        MemoryLimit::Finite(limit) => MAX_BYTES.min(limit / POOL_SHARE),
        MemoryLimit::Infinite | MemoryLimit::Unknown => MAX_BYTES,
    };
    let memory = Arc::new(Mutex::new(MemoryConsumer::new("merge source").register(pool)));
    let collected = Collected::read(rows::stream(scope, physical)?, &memory, most).await?;
    Ok((collected, memory))
}

/// Columns of the source that the statement uses, in order.
fn needed(change: &RowChange, source: &LogicalPlan) -> Vec<Column> {
    let used = change.used_columns();
    source.schema().columns().into_iter().filter(|column| used.contains(column)).collect()
}

/// The source without the columns that nothing uses and, where rows without a match do not count,
/// without the rows that cannot have one; and with the keys' values. Columns are named by position.
fn narrowed(
    change: &RowChange,
    source: &LogicalPlan,
    conjuncts: &[&Expr],
    columns: &[Column],
    keys: &[Key],
) -> Result<LogicalPlan> {
    let mut plan = LogicalPlanBuilder::from(source.clone());
    if !change.keeps_source() {
        let own = conjuncts.iter().filter(|conjunct| is_over(conjunct, source) && !has_subquery(conjunct));
        if let Some(own) = conjunction(own.map(|conjunct| (*conjunct).clone())) {
            plan = plan.filter(own).map_err(failed)?;
        }
    }
    let columns = columns.iter().cloned().map(Expr::Column);
    let keys = keys.iter().map(|key| key.source.clone());
    let named = columns.chain(keys).enumerate().map(|(i, expr)| expr.alias(format!("c{i}")));
    let mut named: Vec<Expr> = named.collect();
    if named.is_empty() {
        // The rows still count.
        named.push(lit(true).alias("c0"));
    }
    plan.project(named).and_then(LogicalPlanBuilder::build).map_err(failed)
}

/// Whether an expression has columns, all of which are of this relation, and the same value each time.
fn is_over(expr: &Expr, relation: &LogicalPlan) -> bool {
    let columns = columns_of([expr]);
    !columns.is_empty()
        && !expr.is_volatile()
        && columns.iter().all(|column| relation.schema().has_column(column))
}

fn keys(source: &LogicalPlan, conjuncts: &[&Expr]) -> Vec<Key> {
    let key = |of_source: &Expr, of_target: &Expr| {
        let plain = matches!(of_target, Expr::Column(column) if !source.schema().has_column(column));
        let told = of_source.get_type(source.schema().as_ref()).is_ok_and(|found| !found.is_floating());
        (plain && told && is_over(of_source, source) && !has_subquery(of_source))
            .then(|| Key { source: of_source.clone(), target: of_target.clone() })
    };
    let keys = conjuncts.iter().filter_map(|conjunct| match conjunct {
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            key(&binary.left, &binary.right).or_else(|| key(&binary.right, &binary.left))
        }
        _ => None,
    });
    keys.collect()
}

/// Types whose least and greatest value bound all others, under any cast that `=` may need. Floating
/// point is left out: NaN and the two zeros do not compare the same everywhere.
pub(crate) fn has_bounds(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_decimal()
        || data_type.is_string()
        || matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// Batches in memory, and what comes after them.
struct Collected {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rest: Arc<Mutex<Option<SendableRecordBatchStream>>>,
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

impl Collected {
    async fn read(
        mut stream: SendableRecordBatchStream,
        memory: &Arc<Mutex<MemoryReservation>>,
        most: usize,
    ) -> Result<Self> {
        let fields = stream.schema();
        let fields = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut rest = None;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(failed)?;
            let size = batch.get_array_memory_size();
            let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec());
            batches.push(batch.map_err(|e| Error::from(&e))?);
            bytes += size;
            if bytes > most || memory.lock().try_grow(size).is_err() {
                rest = Some(stream);
                break;
            }
        }
        Ok(Self { schema, batches, rest: Arc::new(Mutex::new(rest)) })
    }

    /// What every row of `table` satisfies that has a match: `keys` are columns of this and the columns of
    /// the target that they equal.
    fn pruning(&self, table: &Table, keys: impl Iterator<Item = (usize, Expr)>) -> Result<Vec<Expr>> {
        let mut pruning = Vec::new();
        if self.rest.lock().is_some() {
            return Ok(pruning);
        }
        for (column, target) in keys {
            if self.schema.fields().get(column).is_some_and(|field| has_bounds(field.data_type())) {
                pruning.extend(predicate(&self.batches, column, &target)?);
            }
            let values = self.batches.iter().filter_map(|batch| batch.columns().get(column).cloned());
            let values: Vec<ArrayRef> = values.collect();
            pruning.extend(may_be_key(&table.snapshot, &target, &values)?);
        }
        Ok(pruning)
    }
}

/// What is true of `target` wherever it equals one of the values of a column that are not null. `None`:
/// nothing is known.
pub(crate) fn predicate(batches: &[RecordBatch], column: usize, target: &Expr) -> Result<Option<Expr>> {
    let mut bounds: Option<(ScalarValue, ScalarValue)> = None;
    let mut values: Option<ArrayRef> = None;
    let mut too_many = false;
    for batch in batches {
        let Some(array) = batch.columns().get(column) else { return Ok(None) };
        if array.null_count() == array.len() {
            continue;
        }
        let (least, greatest) = match too_many {
            true => (first(array, false)?, first(array, true)?),
            false => {
                let known = distinct(values.as_ref(), array)?;
                let ends = (scalar(&known, 0)?, scalar(&known, known.len().saturating_sub(1))?);
                too_many = known.len() > MAX_VALUES;
                values = (!too_many).then_some(known);
                ends
            }
        };
        bounds = Some(match bounds {
            None => (least, greatest),
            Some((low, high)) => {
                (if least < low { least } else { low }, if greatest > high { greatest } else { high })
            }
        });
    }
    let values = match values {
        Some(values) => Some((0..values.len()).map(|row| scalar(&values, row)).collect::<Result<Vec<_>>>()?),
        None => None,
    };
    let Some((low, high)) = bounds else { return Ok(Some(lit(false))) };
    let between = target.clone().between(lit(low.clone()), lit(high.clone()));
    Ok(Some(match values {
        // An equality: transforms of partitions are known for values, not for ranges.
        Some(_) if low == high => target.clone().eq(lit(low)),
        Some(values) => {
            let listed = values.len() <= MAX_LISTED;
            let list = || target.clone().in_list(values.iter().cloned().map(lit).collect(), false);
            let mut predicate = if listed { between.and(list()) } else { between };
            if values.len() > MAX_RANGES
                && let Some(ranges) = in_ranges(target, values)
            {
                predicate = predicate.and(ranges);
            }
            predicate
        }
        None => between,
    }))
}

/// The values of both that are not null, each once, in order.
fn distinct(known: Option<&ArrayRef>, more: &ArrayRef) -> Result<ArrayRef> {
    let unique = || {
        let more = filter(more, &is_not_null(more)?)?;
        let all = match known {
            Some(known) => concat(&[known.as_ref(), more.as_ref()])?,
            None => more,
        };
        let sorted = sort(&all, None)?;
        let Some(rest) = sorted.len().checked_sub(1) else { return Ok(sorted) };
        let differs = distinct_from(&sorted.slice(0, rest), &sorted.slice(1, rest))?;
        let begins: BooleanArray = std::iter::once(Some(true)).chain(differs.iter()).collect();
        filter(&sorted, &begins)
    };
    unique().map_err(|e| Error::from(&e))
}

fn scalar(values: &ArrayRef, row: usize) -> Result<ScalarValue> {
    ScalarValue::try_from_array(values, row).map_err(failed)
}

/// The least or greatest value that is not null.
fn first(values: &ArrayRef, descending: bool) -> Result<ScalarValue> {
    let order = SortOptions { descending, nulls_first: false };
    let first = sort_limit(values, Some(order), Some(1)).map_err(|e| Error::from(&e))?;
    scalar(&first, 0)
}

#[async_trait]
impl TableProvider for Collected {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        if self.rest.lock().is_none() {
            let batches = std::slice::from_ref(&self.batches);
            let plan = MemorySourceConfig::try_new_exec(batches, self.schema.clone(), projection.cloned())?;
            return Ok(plan);
        }
        let partition =
            OneShot { schema: self.schema.clone(), batches: self.batches.clone(), rest: self.rest.clone() };
        Ok(Arc::new(StreamingTableExec::try_new(
            self.schema.clone(),
            vec![Arc::new(partition)],
            projection,
            None,
            false,
            None,
        )?))
    }
}

/// A source that can be read once.
struct OneShot {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rest: Arc<Mutex<Option<SendableRecordBatchStream>>>,
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneShot")
    }
}

impl PartitionStream for OneShot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let Some(rest) = self.rest.lock().take() else {
            let error = DataFusionError::Internal("the source of a statement was read twice".into());
            return Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Err(error)])));
        };
        let batches = stream::iter(self.batches.clone().into_iter().map(Ok));
        let target = schema.clone();
        let rest = rest.map(move |batch| {
            let batch = batch?;
            Ok(RecordBatch::try_new(target.clone(), batch.columns().to_vec())?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.chain(rest)))
    }
}

/// Rows that hold on to the memory of their source.
pub fn kept_with(stream: SendableRecordBatchStream, source: Option<Source>) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let kept = stream.map(move |batch| {
        let _ = &source;
        batch
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, kept))
}

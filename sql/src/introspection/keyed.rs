//! Scans of large system relations that give the wanted rows only, as Postgres' indexes do: the columns of
//! one table are a few of a hundred thousand rows of `pg_attribute`.
//!
//! Which rows are wanted is known when the plan runs: from a condition on the key, or, of the side of a hash
//! join that is read last, from the keys that the other side has. The condition and the join stay as they
//! are: a scan may always give more rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, UInt32Type};
use auric_catalog::backend::Oid;
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    SendableRecordBatchStream,
};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::pg_catalog::CatalogImage;
use crate::pg_catalog::key_index::KeyIndex;

/// Relations of fewer rows are read as wholes.
const FEW_ROWS: usize = 1_000;
/// With more keys than these, too.
const MANY_KEYS: usize = 500;

/// The plan with such scans where they can be. All of its system relations are those of the image.
pub fn with_keys(plan: Arc<dyn ExecutionPlan>, image: &CatalogImage) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let keyed = if let Some(filter) = node.downcast_ref::<FilterExec>() {
            of_filter(&node, filter, image)?
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            of_join(&node, join, image)?
        } else {
            None
        };
        Ok(keyed.map_or_else(|| Transformed::no(node), Transformed::yes))
    })
    .data()
}

/// `key = value`.
fn of_filter(
    node: &Arc<dyn ExecutionPlan>,
    filter: &FilterExec,
    image: &CatalogImage,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    for condition in split_conjunction(filter.predicate()) {
        let Some(equation) = condition.downcast_ref::<BinaryExpr>() else { continue };
        if *equation.op() != Operator::Eq {
            continue;
        }
        let sides = [(equation.left(), equation.right()), (equation.right(), equation.left())];
        for (key, value) in sides {
            let Some(column) = column_of(key) else { continue };
            if !collect_columns(value).is_empty() {
                continue;
            }
            let wanted = Wanted::Value(value.clone());
            if let Some(input) = keyed(filter.input(), column, &wanted, image)? {
                return over(node, vec![input]).map(Some);
            }
        }
    }
    Ok(None)
}

/// The right side of a hash join is read when all of the left one is known.
fn of_join(
    node: &Arc<dyn ExecutionPlan>,
    join: &HashJoinExec,
    image: &CatalogImage,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // Rows of the right side without a partner are none of the result.
    let drops_others = matches!(
        join.join_type(),
        JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::RightSemi
    );
    let at_once = *join.partition_mode() == PartitionMode::CollectLeft
        && join.left().output_partitioning().partition_count() == 1;
    if !drops_others || !at_once {
        return Ok(None);
    }
    for (left, right) in join.on() {
        let Some(column) = column_of(right) else { continue };
        let given = Arc::new(Given::default());
        let wanted = Wanted::Given(given.clone());
        if let Some(scan) = keyed(join.right(), column, &wanted, image)? {
            let tap = TapExec { input: join.left().clone(), key: left.clone(), given };
            return over(node, vec![Arc::new(tap), scan]).map(Some);
        }
    }
    Ok(None)
}

/// The node over other inputs.
fn over(
    node: &Arc<dyn ExecutionPlan>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    node.clone().replace_children(inputs, options)
}

/// The column that an expression is, or widens.
fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let expr = match expr.downcast_ref::<CastExpr>() {
        Some(cast) if *cast.cast_type() == DataType::Int64 => cast.expr(),
        Some(_) => return None,
        None => expr,
    };
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The plan with a scan of the wanted rows, if its column at that place is a key of a large relation.
fn keyed(
    plan: &Arc<dyn ExecutionPlan>,
    column: usize,
    wanted: &Wanted,
    image: &CatalogImage,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let below = |input: &Arc<dyn ExecutionPlan>, column: usize| {
        let input = keyed(input, column, wanted, image)?;
        input.map(|input| over(plan, vec![input])).transpose()
    };
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let from = match filter.projection() {
            Some(projection) => projection.get(column).copied(),
            None => Some(column),
        };
        return from.map_or(Ok(None), |column| below(filter.input(), column));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let from = projection.expr().get(column).and_then(|item| column_of(&item.expr));
        return from.map_or(Ok(None), |column| below(projection.input(), column));
    }
    if let Some(node) = plan.downcast_ref::<CooperativeExec>() {
        return below(node.input(), column);
    }
    let Some(scan) = plan.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let Some(source) = scan.data_source().downcast_ref::<MemorySourceConfig>() else { return Ok(None) };
    let [partition] = source.partitions() else { return Ok(None) };
    let [batch] = partition.as_slice() else { return Ok(None) };
    let column = match source.projection() {
        Some(projection) => projection.get(column).copied(),
        None => Some(column),
    };
    let Some(column) = column.filter(|_| batch.num_rows() >= FEW_ROWS) else { return Ok(None) };
    let Some(index) = image.key_index(batch, column) else { return Ok(None) };
    let rows = match source.projection() {
        Some(projection) => batch.project(projection)?,
        None => batch.clone(),
    };
    let properties = plan.properties().clone();
    Ok(Some(Arc::new(KeyedScan { rows, index, wanted: wanted.clone(), properties })))
}

/// Which keys a scan is asked for.
#[derive(Clone)]
enum Wanted {
    /// One, without columns.
    Value(Arc<dyn PhysicalExpr>),
    Given(Arc<Given>),
}

/// The keys that one side of a join has.
#[derive(Default)]
struct Given(Mutex<Keys>);

#[derive(Default)]
enum Keys {
    /// They are not all known yet, or are too many.
    #[default]
    Unknown,
    Known(Vec<Oid>),
}

/// The rows of a system relation with the wanted keys.
struct KeyedScan {
    /// All of them, projected.
    rows: RecordBatch,
    index: Arc<KeyIndex>,
    wanted: Wanted,
    properties: Arc<PlanProperties>,
}

impl KeyedScan {
    fn found(&self) -> Result<RecordBatch> {
        let keys = match &self.wanted {
            Wanted::Value(value) => {
                let none = RecordBatch::try_new_with_options(
                    Arc::new(arrow::datatypes::Schema::empty()),
                    Vec::new(),
                    &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
                )?;
                oids(&value.evaluate(&none)?.into_array(1)?)?
            }
            Wanted::Given(given) => match &*given.0.lock() {
                Keys::Known(keys) => keys.clone(),
                Keys::Unknown => return Ok(self.rows.clone()),
            },
        };
        Ok(self.index.rows(&self.rows, &keys)?)
    }
}

/// Numbers that are no OIDs are no keys.
fn oids(values: &dyn Array) -> Result<Vec<Oid>> {
    let keys = cast(values, &DataType::UInt32)?;
    Ok(keys.as_primitive::<UInt32Type>().iter().flatten().collect())
}

impl fmt::Debug for KeyedScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedScan").field("rows", &self.rows.num_rows()).finish_non_exhaustive()
    }
}

impl DisplayAs for KeyedScan {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedScan")
    }
}

impl ExecutionPlan for KeyedScan {
    fn name(&self) -> &'static str {
        "KeyedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scan = Self {
            rows: self.rows.clone(),
            index: self.index.clone(),
            wanted: self.wanted.clone(),
            properties: self.properties.clone(),
        };
        // Not before it is asked for: then the keys are known.
        let rows = futures::stream::once(async move { scan.found() });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.rows.schema(), rows)))
    }
}

/// Passes its rows on, and their keys to a scan.
struct TapExec {
    input: Arc<dyn ExecutionPlan>,
    key: Arc<dyn PhysicalExpr>,
    given: Arc<Given>,
}

impl fmt::Debug for TapExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapExec").field("key", &self.key).finish_non_exhaustive()
    }
}

impl DisplayAs for TapExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TapExec: {}", self.key)
    }
}

impl ExecutionPlan for TapExec {
    fn name(&self) -> &'static str {
        "TapExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
            return Err(DataFusionError::Internal("TapExec has one input".into()));
        };
        Ok(Arc::new(Self { input, key: self.key.clone(), given: self.given.clone() }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        *self.given.0.lock() = Keys::Unknown;
        let (key, given) = (self.key.clone(), self.given.clone());
        // `None`: they are too many.
        let mut keys = Some(Vec::new());
        let mut input = self.input.execute(partition, context)?;
        let schema: SchemaRef = input.schema();
        let rows = futures::stream::poll_fn(move |context| {
            let polled = std::task::ready!(input.poll_next_unpin(context));
            std::task::Poll::Ready(match polled {
                Some(Ok(batch)) => Some(match noted(&mut keys, &batch, &key) {
                    Ok(()) => Ok(batch),
                    Err(e) => Err(e),
                }),
                Some(Err(e)) => Some(Err(e)),
                None => {
                    if let Some(keys) = keys.take() {
                        *given.0.lock() = Keys::Known(keys);
                    }
                    None
                }
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

fn noted(keys: &mut Option<Vec<Oid>>, batch: &RecordBatch, key: &Arc<dyn PhysicalExpr>) -> Result<()> {
    let Some(known) = keys else { return Ok(()) };
    known.extend(oids(&key.evaluate(batch)?.into_array(batch.num_rows())?)?);
    if known.len() > MANY_KEYS {
        *keys = None;
    }
    Ok(())
}

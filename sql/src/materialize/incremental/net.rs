//! What is left of the changes of a table once rows that were only moved are taken out: a file that is
//! rewritten takes its rows away and brings most of them back. Columns that the query does not use do not
//! count.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{FieldRef, Int64Type, SchemaRef};
use auric_catalog::changes::RowChanges;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::functions_aggregate::sum::sum;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, TableSource, lit};

use super::Refusal;
use super::delta::ChangedTable;
use super::kept::Kept;
use crate::error::Error;
use crate::planner::Scope;

const CHANGES: &str = "__auric_changes";
const SIGN: &str = "__auric_sign";

type Source = Arc<dyn TableSource>;

/// The changes of a table as the query sees them. `None`: it sees none.
pub async fn changed_table(
    scope: &Scope,
    changes: &RowChanges,
    used: &HashSet<String>,
) -> Result<Option<ChangedTable>, Refusal> {
    if changes.is_empty() {
        return Ok(None);
    }
    let (added, removed) = (changes.added_rows(), changes.removed_rows());
    let before = provider_as_source(changes.earlier());
    let schema = added.schema();
    let (added, removed) = (provider_as_source(added), provider_as_source(removed));
    let whole = |removed: Option<Source>| {
        Ok(Some(ChangedTable { added: added.clone(), removed, before: before.clone() }))
    };
    if changes.only_adds() {
        return whole(None);
    }
    let counts = |field: &FieldRef| used.contains(field.name()) || !field.is_nullable();
    let columns: Vec<usize> =
        schema.fields().iter().enumerate().filter(|(_, field)| counts(field)).map(|(i, _)| i).collect();
    let has_nested = columns.iter().any(|i| schema.field(*i).data_type().is_nested());
    if !changes.only_removes() && !has_nested {
        let plan = net(&schema, &columns, &added, &removed)?;
        if let Some(kept) = Kept::rows_of(scope, &plan).await? {
            let (added, removed) = split(&kept, &schema, &columns)?;
            return Ok(match (added.is_empty(), removed.is_empty()) {
                (true, true) => None,
                (_, none) => Some(ChangedTable {
                    added: in_memory(&schema, added)?,
                    removed: if none { None } else { Some(in_memory(&schema, removed)?) },
                    before,
                }),
            });
        }
    }
    whole(Some(removed.clone()))
}

/// The columns of each row with how often it was added, less how often it was removed.
fn net(
    schema: &SchemaRef,
    columns: &[usize],
    added: &Source,
    removed: &Source,
) -> Result<LogicalPlan, Refusal> {
    let column = |i: &usize| Expr::Column(Column::new(Some(CHANGES), schema.field(*i).name()));
    let name = |i: &usize| format!("c{i}");
    let signed = |source: &Source, sign: i64| {
        let mut exprs: Vec<Expr> = columns.iter().map(|i| column(i).alias(name(i))).collect();
        exprs.push(lit(sign).alias(SIGN));
        LogicalPlanBuilder::scan(CHANGES, source.clone(), None)?.project(exprs)
    };
    let both = signed(added, 1)?.union(signed(removed, -1)?.build()?)?;
    let keys: Vec<Expr> = columns.iter().map(|i| Expr::Column(Column::from_name(name(i)))).collect();
    let total = sum(Expr::Column(Column::from_name(SIGN))).alias(SIGN);
    let plan = both.aggregate(keys, vec![total])?;
    Ok(plan.filter(Expr::Column(Column::from_name(SIGN)).not_eq(lit(0_i64)))?.build()?)
}

/// Rows that were added, and rows that were removed, as often as they were, with null in the columns that
/// nobody asks for.
fn split(
    kept: &Kept,
    schema: &SchemaRef,
    columns: &[usize],
) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Refusal> {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for batch in kept.batches() {
        let signs = batch.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>());
        let signs = signs.ok_or_else(|| Refusal::Cannot("changed rows cannot be counted".to_string()))?;
        let mut arrays = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            let at = columns.iter().position(|column| *column == i);
            arrays.push(match at.and_then(|at| batch.columns().get(at)) {
                Some(values) => {
                    arrow::compute::cast(values, field.data_type()).map_err(|e| Error::from(&e))?
                }
                None => new_null_array(field.data_type(), batch.num_rows()),
            });
        }
        let whole = RecordBatch::try_new(schema.clone(), arrays).map_err(|e| Error::from(&e))?;
        let repeated = |times: &dyn Fn(i64) -> i64| -> Result<RecordBatch, Refusal> {
            let rows = signs.values().iter().enumerate().flat_map(|(row, sign)| {
                let times = usize::try_from(times(*sign)).unwrap_or(0);
                std::iter::repeat_n(row as u64, times)
            });
            let rows = UInt64Array::from_iter_values(rows);
            Ok(take_record_batch(&whole, &rows).map_err(|e| Error::from(&e))?)
        };
        let keep = |batch: RecordBatch, into: &mut Vec<RecordBatch>| {
            if batch.num_rows() > 0 {
                into.push(batch);
            }
        };
        keep(repeated(&|sign| sign)?, &mut added);
        keep(repeated(&|sign| -sign)?, &mut removed);
    }
    Ok((added, removed))
}

fn in_memory(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Source, Refusal> {
    Ok(provider_as_source(Arc::new(MemTable::try_new(schema.clone(), vec![batches])?)))
}

/// Names of columns that a plan may use of any of its tables.
pub fn used_columns(plan: &LogicalPlan) -> Result<HashSet<String>, Refusal> {
    let mut used = HashSet::new();
    let all = |plan: &LogicalPlan, used: &mut HashSet<String>| {
        used.extend(plan.schema().fields().iter().map(|field| field.name().clone()));
    };
    all(plan, &mut used);
    plan.apply_with_subqueries(|node| {
        match node {
            // These take all that they are given.
            LogicalPlan::Distinct(Distinct::All(input)) => all(input, &mut used),
            LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| all(input, &mut used)),
            LogicalPlan::Unnest(unnest) => all(&unnest.input, &mut used),
            LogicalPlan::Subquery(subquery) => all(&subquery.subquery, &mut used),
            _ => {}
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => {
                        used.insert(column.name.clone());
                    }
                    Expr::InSubquery(found) => all(&found.subquery.subquery, &mut used),
                    Expr::ScalarSubquery(found) => all(&found.subquery, &mut used),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

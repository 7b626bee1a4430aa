//! Groups of files, and the order of their rows where it is certain.

use arrow::compute::SortOptions;
use arrow::datatypes::FieldRef;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::scalar::ScalarValue;

use super::column_resolution::field_id;
use super::parquet_scan::{balanced_groups, output_positions};
use super::planned_file::PlannedFile;
use crate::table::{TableSnapshot, Transform};

/// Distributes files over groups. If every file says that it follows the table's sort order, and the
/// files form no more than `target` chains in which each file's rows come strictly after those of the
/// one before, the groups are those chains and the order is returned.
pub(super) fn file_groups(
    snapshot: &TableSnapshot,
    planned: &[PlannedFile],
    files: Vec<PartitionedFile>,
    columns: &[FieldRef],
    is_constant: &[bool],
    target: usize,
) -> (Vec<FileGroup>, Option<LexOrdering>) {
    let order = table_order(snapshot, planned, columns, is_constant);
    let Some((ordering, leading, descending)) = order else { return (balanced_groups(files, target), None) };
    if files.len() <= target {
        return (files.into_iter().map(|f| FileGroup::new(vec![f])).collect(), Some(ordering));
    }
    match chains(&files, leading, descending, target) {
        Some(chains) => {
            let group = |chain: Vec<usize>| {
                FileGroup::new(chain.into_iter().filter_map(|i| files.get(i).cloned()).collect())
            };
            (chains.into_iter().map(group).collect(), Some(ordering))
        }
        None => (balanced_groups(files, target), None),
    }
}

/// The table's sort order over a scan's table schema, with the position and direction of its first
/// column. Cut off at the first column that the scan does not read.
fn table_order(
    snapshot: &TableSnapshot,
    planned: &[PlannedFile],
    columns: &[FieldRef],
    is_constant: &[bool],
) -> Option<(LexOrdering, usize, bool)> {
    let order = &snapshot.sort_order;
    let follows = |file: &PlannedFile| {
        file.selected.list.files.get(file.selected.row).and_then(|f| f.sort_order_id) == Some(order.order_id)
    };
    if order.order_id == 0 || order.fields.is_empty() || !planned.iter().all(follows) {
        return None;
    }
    let positions = output_positions(is_constant);
    let mut exprs = Vec::new();
    for field in &order.fields {
        let column = columns.iter().position(|c| field_id(c) == Some(field.source_id));
        // NaN has no agreed place, nested columns no order.
        let usable = |c: &FieldRef| !c.data_type().is_floating() && !c.data_type().is_nested();
        match column.filter(|_| field.transform == Transform::Identity) {
            Some(i) if usable(columns.get(i)?) => {
                let options = SortOptions { descending: field.descending, nulls_first: field.nulls_first };
                let column = Column::new(columns.get(i)?.name(), *positions.get(i)?);
                exprs.push(PhysicalSortExpr::new(std::sync::Arc::new(column), options));
            }
            _ => break,
        }
    }
    let leading = exprs.first()?.expr.downcast_ref::<Column>()?.index();
    Some((LexOrdering::new(exprs)?, leading, order.fields.first()?.descending))
}

/// Chains of files that do not overlap on the leading column; `None` when that takes more than `target`
/// or is not certain.
fn chains(
    files: &[PartitionedFile],
    leading: usize,
    descending: bool,
    target: usize,
) -> Option<Vec<Vec<usize>>> {
    let mut ranges = Vec::with_capacity(files.len());
    for (i, file) in files.iter().enumerate() {
        let column = file.statistics.as_ref()?.column_statistics.get(leading)?;
        if column.null_count != Precision::Exact(0) {
            return None;
        }
        ranges.push((column.min_value.get_value()?, column.max_value.get_value()?, i));
    }
    ranges.sort_by(|a, b| a.0.partial_cmp(b.0).unwrap_or(std::cmp::Ordering::Equal));
    let mut chains: Vec<(&ScalarValue, Vec<usize>)> = Vec::new();
    for (lower, upper, file) in ranges {
        if let Some((end, chain)) = chains.iter_mut().find(|(end, _)| *end < lower) {
            *end = upper;
            chain.push(file);
        } else if chains.len() < target {
            chains.push((upper, vec![file]));
        } else {
            return None;
        }
    }
    let ordered = |mut chain: Vec<usize>| {
        if descending {
            chain.reverse();
        }
        chain
    };
    Some(chains.into_iter().map(|(_, chain)| ordered(chain)).collect())
}

//! Which lists of files and which files can hold rows that satisfy a filter.
//!
//! DataFusion's `PruningPredicate` over the statistics and partition values of a table version. A
//! container is dropped only when it provably holds no such row: whatever is unknown keeps it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_not_null, nullif};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, UInt64Type};
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::scalar::ScalarValue;

use super::partition_inverse::{lossless_cast, source_range};
use super::partition_keys::PartitionKeys;
use crate::table::schema::TableSchema;
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};
use crate::table::{PartitionField, Transform};

/// What statistics are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Containers {
    Lists,
    /// A null partition value is the value of all rows.
    Files,
}

/// A filter ready to be held against statistics.
#[derive(Debug)]
pub(super) struct Pruner {
    schema: Arc<TableSchema>,
    /// `None`: true of everything.
    predicate: Option<PruningPredicate>,
    keys: PartitionKeys,
}

impl Pruner {
    /// `None`: the filter says nothing that statistics could refute.
    pub fn new(schema: &Arc<TableSchema>, filter: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(schema.arrow.clone())
            .try_build(filter.clone())
            .ok()?;
        let predicate = Some(predicate).filter(|predicate| !predicate.always_true());
        let keys = PartitionKeys::of(filter, |column| schema.id_of(column));
        (predicate.is_some() || !keys.is_empty()).then(|| Self { schema: schema.clone(), predicate, keys })
    }

    /// Which files certainly hold no null in any of `columns`.
    pub fn without_nulls(&self, statistics: &StatisticsTable, columns: &BTreeSet<String>) -> Vec<bool> {
        let view = StatisticsView { schema: &self.schema, statistics, containers: Containers::Files };
        let mut without = vec![true; statistics.len];
        for column in columns {
            let counts = view.null_counts(&Column::from_name(column));
            let counts = counts.as_ref().and_then(|counts| counts.as_primitive_opt::<UInt64Type>());
            for (i, without) in without.iter_mut().enumerate() {
                let none = |counts: &UInt64Array| counts.is_valid(i) && counts.value(i) == 0;
                *without &= counts.is_some_and(none);
            }
        }
        without
    }

    /// Numbers of the containers that may hold a row of interest.
    pub fn keep(&self, statistics: &StatisticsTable, containers: Containers) -> Vec<usize> {
        if statistics.len == 0 {
            return Vec::new();
        }
        let view = StatisticsView { schema: &self.schema, statistics, containers };
        let mut keep = match self.predicate.as_ref().map(|predicate| predicate.prune(&view)) {
            None => (0..statistics.len).collect(),
            Some(Ok(keep)) => keep.iter().enumerate().filter_map(|(i, keep)| keep.then_some(i)).collect(),
            Some(Err(e)) => {
                tracing::debug!(error = %e, "filter cannot be held against statistics");
                (0..statistics.len).collect()
            }
        };
        self.keys.retain(statistics, &mut keep);
        keep
    }
}

/// Statistics by column name and in the column's present type. Only columns that the predicate
/// mentions are ever converted.
struct StatisticsView<'a> {
    schema: &'a TableSchema,
    statistics: &'a StatisticsTable,
    containers: Containers,
}

/// A column's place in the statistics.
struct Source<'a> {
    data_type: &'a DataType,
    bounds: Option<&'a ColumnBounds>,
    partitions: Vec<(&'a PartitionField, &'a PartitionBounds)>,
}

impl StatisticsView<'_> {
    fn source(&self, column: &Column) -> Option<Source<'_>> {
        let (index, field) = self.schema.arrow.column_with_name(&column.name)?;
        let id = *self.schema.field_ids.get(index)?;
        let fields = self.statistics.spec.fields.iter().zip(&self.statistics.partitions);
        Some(Source {
            data_type: field.data_type(),
            bounds: self.statistics.columns.get(&id),
            partitions: fields.filter(|(f, _)| f.source_id == id).collect(),
        })
    }
}

impl Source<'_> {
    /// The best bounds known, per container: an identity partition value, else the column's
    /// statistics, else what another partition transform implies.
    fn range(&self) -> Option<(ArrayRef, ArrayRef)> {
        let of_partition = |identity: bool| {
            let fields =
                self.partitions.iter().filter(move |(f, _)| (f.transform == Transform::Identity) == identity);
            fields.filter_map(|(f, p)| {
                let (lower, upper) = source_range(&f.transform, &p.lower, &p.upper, self.data_type)?;
                // Summaries of several files leave NaN out, and NaN is above every bound.
                let upper = if self.data_type.is_floating() {
                    new_null_array(self.data_type, upper.len())
                } else {
                    upper
                };
                Some((lower, upper))
            })
        };
        let of_column = self.bounds.and_then(|b| column_range(b, self.data_type));
        let ranges = of_partition(true).chain(of_column).chain(of_partition(false));
        ranges.map(without_nan).reduce(|(lower, upper), (other_lower, other_upper)| {
            (first_known(lower, &other_lower), first_known(upper, &other_upper))
        })
    }
}

/// The bounds of a column's statistics in its present type; no upper bound where NaN may exceed it.
pub(super) fn column_range(bounds: &ColumnBounds, data_type: &DataType) -> Option<(ArrayRef, ArrayRef)> {
    let lower = lossless_cast(&bounds.lower, data_type)?;
    let upper = lossless_cast(&bounds.upper, data_type)?;
    if !data_type.is_floating() {
        return Some((lower, upper));
    }
    // NaN is greater than every other value and not part of the bounds.
    let Some(nan_counts) = &bounds.nan_count else {
        return Some((lower, new_null_array(data_type, upper.len())));
    };
    let may_hold_nan: BooleanArray = nan_counts.iter().map(|n| Some(n != Some(0))).collect();
    Some((lower, nullif(&upper, &may_hold_nan).ok()?))
}

/// Bounds that are NaN themselves say nothing.
fn without_nan((lower, upper): (ArrayRef, ArrayRef)) -> (ArrayRef, ArrayRef) {
    (nan_to_null(lower), nan_to_null(upper))
}

fn nan_to_null(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => Arc::new(
            values.as_primitive::<Float32Type>().unary_opt::<_, Float32Type>(|v| (!v.is_nan()).then_some(v)),
        ),
        DataType::Float64 => Arc::new(
            values.as_primitive::<Float64Type>().unary_opt::<_, Float64Type>(|v| (!v.is_nan()).then_some(v)),
        ),
        _ => values,
    }
}

fn first_known(first: ArrayRef, second: &ArrayRef) -> ArrayRef {
    if first.null_count() == 0 {
        return first;
    }
    match is_not_null(&first).and_then(|known| zip(&known, &first, second)) {
        Ok(combined) => combined,
        Err(_) => first,
    }
}

impl PruningStatistics for StatisticsView<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.source(column)?.range()?.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.source(column)?.range()?.1)
    }

    fn num_containers(&self) -> usize {
        self.statistics.len
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let source = self.source(column)?;
        // Every transform but `void` maps null, and only null, to null.
        let never_null = |i: usize| {
            let fields = source.partitions.iter();
            fields
                .filter(|(f, _)| !matches!(f.transform, Transform::Void | Transform::Unknown(_)))
                .any(|(_, p)| p.may_contain_null.get(i) == Some(&false))
        };
        let known =
            |i: usize| source.bounds.filter(|b| b.null_count.is_valid(i)).map(|b| b.null_count.value(i));
        let rows = &self.statistics.row_counts;
        let always_null = |i: usize| {
            let mut fields = source.partitions.iter().filter(|(f, _)| f.transform == Transform::Identity);
            self.containers == Containers::Files
                && rows.is_valid(i)
                && fields.any(|(_, p)| p.lower.is_null(i) && p.may_contain_null.get(i) == Some(&true))
        };
        let counts = (0..self.statistics.len).map(|i| match i {
            i if never_null(i) => Some(0),
            i if always_null(i) => Some(rows.value(i)),
            i => known(i),
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.statistics.row_counts.clone()))
    }

    /// `Some(false)` where a bucket partition rules all `values` out.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let source = self.source(column)?;
        let mut ruled_out = vec![false; self.statistics.len];
        let mut any = false;
        for (field, bounds) in &source.partitions {
            let Some(buckets) = buckets(&field.transform, values, source.data_type) else { continue };
            any = true;
            let (Some(lower), Some(upper)) =
                (bounds.lower.as_primitive_opt::<Int32Type>(), bounds.upper.as_primitive_opt::<Int32Type>())
            else {
                continue;
            };
            for (i, out) in ruled_out.iter_mut().enumerate() {
                if lower.is_valid(i) && upper.is_valid(i) {
                    let range = lower.value(i)..=upper.value(i);
                    *out |= !buckets.iter().any(|b| range.contains(b));
                }
            }
        }
        // Known (and then false) exactly where ruled out.
        any.then(|| BooleanArray::new(vec![false; ruled_out.len()].into(), Some(NullBuffer::from(ruled_out))))
    }
}

/// The buckets of a set of values of a column. `None`: not a bucket transform, or not all values have
/// a bucket.
fn buckets(transform: &Transform, values: &HashSet<ScalarValue>, data_type: &DataType) -> Option<Vec<i32>> {
    let Transform::Bucket(_) = transform else { return None };
    let values = values.iter().map(|v| v.cast_to(data_type).ok().filter(|v| !v.is_null()));
    let values = ScalarValue::iter_to_array(values.collect::<Option<Vec<_>>>()?).ok()?;
    let buckets = crate::table::transform::apply(transform, &values).ok()?;
    let buckets = buckets.as_primitive_opt::<Int32Type>()?;
    (buckets.null_count() == 0).then(|| buckets.values().to_vec())
}

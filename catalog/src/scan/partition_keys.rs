//! Keys that rows are looked for by, as the partitions that can hold them: however many keys there are, and
//! however far they lie apart, each partition field maps them to few values.
//!
//! They travel as a filter, so that they get to whoever prunes or looks for conflicts in the way that all
//! filters do. Evaluated for a row it is always true.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::scalar::ScalarValue;

use super::partition_inverse::MAX_ORDERED_WIDTH;
use crate::error::Result;
use crate::table::statistics::StatisticsTable;
use crate::table::{FieldId, TableSnapshot, Transform, transform};

/// Transforms with the values that they have for the keys, in order.
type Partitions = Vec<(Transform, Vec<ScalarValue>)>;

/// Most values of a partition field that are told apart.
const MAX_VALUES: usize = 10_000;

/// A predicate that is true of every row of the table that has one of `keys` in `column`, a column of the
/// table. `None`: the table's partitions have nothing to do with them.
pub fn may_be_key(snapshot: &TableSnapshot, column: &Expr, keys: &[ArrayRef]) -> Result<Option<Expr>> {
    let Expr::Column(name) = column else { return Ok(None) };
    let Some((field, id)) = snapshot.schema.arrow.index_of(&name.name).ok().and_then(|index| {
        Some((snapshot.schema.arrow.fields().get(index)?, *snapshot.schema.field_ids.get(index)?))
    }) else {
        return Ok(None);
    };
    let mut known = Partitions::new();
    for spec in snapshot.partition_specs.values().chain([&snapshot.default_spec]) {
        for field_of_spec in spec.fields.iter().filter(|field| field.source_id == id) {
            let transform = &field_of_spec.transform;
            if !tells(transform, field.data_type()) || known.iter().any(|(other, _)| other == transform) {
                continue;
            }
            if let Some(values) = values(transform, keys, field.data_type())? {
                known.push((transform.clone(), values));
            }
        }
    }
    if known.is_empty() {
        return Ok(None);
    }
    let keys = MayBeKey { partitions: Arc::new(known), signature: Signature::any(1, Volatility::Immutable) };
    Ok(Some(ScalarUDF::new_from_impl(keys).call(vec![column.clone()])))
}

/// Whether every engine gives equal values the same partition.
fn tells(transform: &Transform, source: &DataType) -> bool {
    match transform {
        // There are two zeros, and several values that are not numbers.
        _ if source.is_floating() || source.is_nested() => false,
        Transform::Truncate(width) => *width <= MAX_ORDERED_WIDTH,
        Transform::Void | Transform::Unknown(_) => false,
        _ => true,
    }
}

/// The values of a transform, in order. `None`: there are too many, or not every key has one.
fn values(transform: &Transform, keys: &[ArrayRef], to: &DataType) -> Result<Option<Vec<ScalarValue>>> {
    let mut found = std::collections::HashSet::new();
    for keys in keys {
        if !is_comparable(keys.data_type(), to) {
            return Ok(None);
        }
        // What does not fit the column equals none of its values.
        let Ok(keys) = cast(keys, to) else { return Ok(None) };
        let Ok(partitions) = transform::apply(transform, &keys) else { return Ok(None) };
        for row in (0..partitions.len()).filter(|row| partitions.is_valid(*row)) {
            found.insert(ScalarValue::try_from_array(&partitions, row)?);
            if found.len() > MAX_VALUES {
                return Ok(None);
            }
        }
    }
    let mut values: Vec<ScalarValue> = found.into_iter().collect();
    if matches!(transform, Transform::Year | Transform::Month | Transform::Day | Transform::Hour) {
        // Some writers rounded values before 1970 towards it, into the period that follows.
        values = values.into_iter().flat_map(|value| [following(&value), Some(value)]).flatten().collect();
    }
    let mut ordered = true;
    values.sort_by(|a, b| {
        a.partial_cmp(b).unwrap_or_else(|| {
            ordered = false;
            std::cmp::Ordering::Equal
        })
    });
    values.dedup();
    Ok(ordered.then_some(values))
}

fn following(period: &ScalarValue) -> Option<ScalarValue> {
    match period {
        ScalarValue::Int32(Some(period)) if *period < 0 => Some(ScalarValue::Int32(Some(period + 1))),
        ScalarValue::Date32(Some(period)) if *period < 0 => Some(ScalarValue::Date32(Some(period + 1))),
        _ => None,
    }
}

/// Whether a value of one type that equals one of the other is cast to that value.
fn is_comparable(from: &DataType, to: &DataType) -> bool {
    let exact = |t: &DataType| t.is_integer() || t.is_decimal();
    match (from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, other)) => {
            from == to && zone.is_some() == other.is_some()
        }
        _ => from == to || (exact(from) && exact(to)) || (from.is_string() && to.is_string()),
    }
}

/// The predicate: which partitions a column with one of the keys can be in.
#[derive(Debug)]
struct MayBeKey {
    partitions: Arc<Partitions>,
    signature: Signature,
}

impl PartialEq for MayBeKey {
    fn eq(&self, other: &Self) -> bool {
        self.partitions == other.partitions
    }
}

impl Eq for MayBeKey {}

impl Hash for MayBeKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partitions.hash(state);
    }
}

impl ScalarUDFImpl for MayBeKey {
    fn name(&self) -> &str {
        "may_be_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// The keys of a filter, held against statistics.
#[derive(Debug)]
pub(super) struct PartitionKeys(Vec<(FieldId, Arc<Partitions>)>);

impl PartitionKeys {
    /// Those of a filter over these columns.
    pub fn of(filter: &Arc<dyn PhysicalExpr>, id_of: impl Fn(&str) -> Option<FieldId>) -> Self {
        let keys = split_conjunction(filter).into_iter().filter_map(|part| {
            let call = part.downcast_ref::<ScalarFunctionExpr>()?;
            let keys = call.fun().inner().downcast_ref::<MayBeKey>()?;
            let column = call.args().first()?.downcast_ref::<Column>()?;
            Some((id_of(column.name())?, keys.partitions.clone()))
        });
        Self(keys.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out of `keep`, numbers of containers, those whose partitions hold none of the keys.
    pub fn retain(&self, statistics: &StatisticsTable, keep: &mut Vec<usize>) {
        for (id, partitions) in &self.0 {
            for (field, bounds) in statistics.spec.fields.iter().zip(&statistics.partitions) {
                let known = partitions.iter().find(|(transform, _)| *transform == field.transform);
                let Some((_, values)) = known.filter(|_| field.source_id == *id) else { continue };
                let bound = |bound: &ArrayRef, row: usize| {
                    let bound = ScalarValue::try_from_array(bound, row).ok()?;
                    // Of a column that was promoted since, or as the format holds it.
                    let typed = values.first().map_or(Ok(bound.clone()), |v| bound.cast_to(&v.data_type()));
                    typed.ok().filter(|bound| !bound.is_null())
                };
                keep.retain(|row| match (bound(&bounds.lower, *row), bound(&bounds.upper, *row)) {
                    (Some(lower), Some(upper)) => {
                        let first = values.partition_point(|value| *value < lower);
                        values.get(first).is_some_and(|value| *value <= upper)
                    }
                    _ => true,
                });
            }
        }
    }
}

//! Files of an earlier partition spec: what their partition says of a partition of today.
//!
//! After partition evolution a file written before may belong to one partition of today, to none of
//! those looked for, or to several at once; what cannot be told is `None`, never a guess.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::live_files::canonical;
use crate::error::Result;
use crate::table::{PartitionField, PartitionSpec, TableSnapshot, Transform, transform};

/// The value that `field` has for every row of a file with this partition. `None`: it may have
/// several.
pub(super) fn value_of(
    field: &PartitionField,
    snapshot: &TableSnapshot,
    spec: &PartitionSpec,
    partition: &[ScalarValue],
) -> Result<Option<ScalarValue>> {
    if field.transform == Transform::Void {
        return Ok(Some(ScalarValue::try_from(&field.result_type)?));
    }
    for (known, value) in spec.fields.iter().zip(partition) {
        if known.source_id != field.source_id {
            continue;
        }
        if let Some(value) = derived(snapshot, known, value, field)? {
            return Ok(Some(canonical(value.cast_to(&field.result_type)?)));
        }
    }
    Ok(None)
}

/// The value of `wanted` for rows that all have `value` for `known`, of the same column.
fn derived(
    snapshot: &TableSnapshot,
    known: &PartitionField,
    value: &ScalarValue,
    wanted: &PartitionField,
) -> Result<Option<ScalarValue>> {
    use Transform as T;
    if known.transform == wanted.transform {
        return Ok(Some(value.clone()));
    }
    if known.transform == T::Void {
        return Ok(None);
    }
    if value.is_null() && !matches!(known.transform, T::Unknown(_)) {
        // Every transform maps null, and nothing else, to null.
        return Ok(Some(ScalarValue::try_from(&wanted.result_type)?));
    }
    Ok(match (&known.transform, &wanted.transform) {
        (T::Identity, to) => {
            let column = snapshot.schema.column_by_id(known.source_id).map(|(_, field)| field.data_type());
            Some(applied(to, value, column.unwrap_or(&known.result_type))?)
        }
        // Days are dates, hours, months and years counts since 1970.
        (T::Hour, T::Day) => whole(value, 24).map(|days| ScalarValue::Date32(Some(days))),
        (T::Hour, to @ (T::Month | T::Year)) => match whole(value, 24) {
            Some(days) => Some(applied(to, &ScalarValue::Date32(Some(days)), &DataType::Date32)?),
            None => None,
        },
        (T::Day, to @ (T::Month | T::Year)) => Some(applied(to, value, &DataType::Date32)?),
        (T::Month, T::Year) => whole(value, 12).map(|years| ScalarValue::Int32(Some(years))),
        (T::Bucket(from), T::Bucket(to)) if *to > 0 && from % to == 0 => match value {
            ScalarValue::Int32(Some(bucket)) => {
                i32::try_from(*to).ok().map(|to| ScalarValue::Int32(Some(bucket % to)))
            }
            _ => None,
        },
        (T::Truncate(from), to @ T::Truncate(width)) => {
            let text = matches!(
                known.result_type,
                DataType::Utf8 | DataType::Utf8View | DataType::Binary | DataType::BinaryView
            );
            let coarser = if text { width <= from } else { *from > 0 && width % from == 0 };
            if coarser && !has_wrapped(value, *from) {
                Some(applied(to, value, &known.result_type)?)
            } else {
                None
            }
        }
        _ => None,
    })
}

/// Whether an integer is what the least numbers of its type truncate to, beyond the type's greatest.
fn has_wrapped(value: &ScalarValue, width: u32) -> bool {
    match value {
        ScalarValue::Int32(Some(value)) => i64::from(*value).rem_euclid(width.into()) != 0,
        ScalarValue::Int64(Some(value)) => value.rem_euclid(width.into()) != 0,
        _ => false,
    }
}

fn whole(value: &ScalarValue, per_unit: i32) -> Option<i32> {
    match value {
        ScalarValue::Int32(Some(count)) => Some(count.div_euclid(per_unit)),
        _ => None,
    }
}

fn applied(to: &Transform, value: &ScalarValue, source: &DataType) -> Result<ScalarValue> {
    let values: ArrayRef = value.cast_to(source)?.to_array()?;
    Ok(ScalarValue::try_from_array(&transform::apply(to, &values)?, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use std::collections::{BTreeMap, HashMap};
    use std::sync::Arc;

    use crate::table::schema::ColumnResolution;
    use crate::table::{TableFormat, TableSchema, TableVersion};

    fn field(transform: Transform, source: &DataType) -> PartitionField {
        let result_type = transform::result_type(&transform, source).unwrap();
        PartitionField { source_id: 1, field_id: 1000, name: "p".into(), transform, result_type }
    }

    #[derive(Debug)]
    struct NoFiles;

    #[async_trait::async_trait]
    impl crate::table::snapshot::SnapshotFiles for NoFiles {
        async fn index(&self) -> Result<Arc<crate::table::snapshot::FileListIndex>> {
            Ok(Arc::new(crate::table::snapshot::FileListIndex { groups: vec![] }))
        }
        async fn file_list(&self, _number: usize) -> Result<Arc<crate::table::FileList>> {
            Err(crate::Error::Internal("none".into()))
        }
        async fn deletes(&self) -> Result<Arc<crate::table::deletes::DeleteIndex>> {
            Ok(Arc::default())
        }
    }

    /// What `to` is for rows whose `from` is `value`.
    fn known(column: DataType, from: Transform, value: ScalarValue, to: Transform) -> Option<ScalarValue> {
        let schema = TableSchema {
            schema_id: 0,
            field_ids: vec![1],
            arrow: Arc::new(Schema::new(vec![Field::new("a", column.clone(), true)])),
            resolution: ColumnResolution::Name,
            initial_defaults: HashMap::new(),
            write_defaults: HashMap::new(),
            identifier_field_ids: vec![],
            identity: Default::default(),
        };
        let snapshot = TableSnapshot {
            format: TableFormat::Iceberg,
            format_version: String::new(),
            location: String::new(),
            table_id: String::new(),
            version: TableVersion::Unpublished,
            schema: Arc::new(schema),
            partition_specs: BTreeMap::new(),
            default_spec: Arc::default(),
            sort_order: Arc::default(),
            properties: BTreeMap::new(),
            comment: None,
            row_lineage: None,
            constraints: vec![],
            timestamp_ms: None,
            files: Arc::new(NoFiles),
            state: Arc::new(()),
        };
        let spec = PartitionSpec { spec_id: 0, fields: vec![field(from, &column)] };
        value_of(&field(to, &column), &snapshot, &spec, &[value]).unwrap()
    }

    #[test]
    fn what_a_finer_partition_says_of_a_coarser_one() {
        use Transform as T;
        let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let int = |v| ScalarValue::Int32(Some(v));
        // 1969-12-31 23:00 is hour -1: the day before, the month before, the year before 1970.
        assert_eq!(known(timestamp(), T::Hour, int(-1), T::Day), Some(ScalarValue::Date32(Some(-1))));
        assert_eq!(known(timestamp(), T::Hour, int(-1), T::Month), Some(int(-1)));
        assert_eq!(known(timestamp(), T::Hour, int(-1), T::Year), Some(int(-1)));
        // 2024-03-01 is day 19783.
        let day = ScalarValue::Date32(Some(19783));
        assert_eq!(known(timestamp(), T::Day, day.clone(), T::Month), Some(int(54 * 12 + 2)));
        assert_eq!(known(timestamp(), T::Day, day.clone(), T::Hour), None);
        assert_eq!(known(timestamp(), T::Month, int(-1), T::Year), Some(int(-1)));
        let noon = ScalarValue::TimestampMicrosecond(Some(43_200_000_000), None);
        assert_eq!(known(timestamp(), T::Identity, noon, T::Hour), Some(int(12)));
        assert_eq!(known(DataType::Int32, T::Bucket(16), int(13), T::Bucket(4)), Some(int(1)));
        assert_eq!(known(DataType::Int32, T::Bucket(16), int(13), T::Bucket(5)), None);
        assert_eq!(known(DataType::Int32, T::Truncate(10), int(-10), T::Truncate(20)), Some(int(-20)));
        assert_eq!(known(DataType::Int32, T::Truncate(20), int(-20), T::Truncate(10)), None);
        // -2147483648 truncates to -2147483650, which is this in 32 bits.
        assert_eq!(known(DataType::Int32, T::Truncate(10), int(2_147_483_646), T::Truncate(20)), None);
        let text = |v: &str| ScalarValue::Utf8View(Some(v.into()));
        assert_eq!(known(DataType::Utf8View, T::Truncate(3), text("abc"), T::Truncate(2)), Some(text("ab")));
        assert_eq!(known(DataType::Utf8View, T::Truncate(3), text("abc"), T::Identity), None);
        // Null goes with null, but a void field knows nothing.
        assert_eq!(
            known(DataType::Int32, T::Bucket(3), ScalarValue::Int32(None), T::Identity).unwrap(),
            ScalarValue::Int32(None)
        );
        assert_eq!(known(DataType::Int32, T::Void, ScalarValue::Int32(None), T::Identity), None);
        assert_eq!(known(DataType::Int32, T::Identity, int(3), T::Void), Some(ScalarValue::Int32(None)));
    }
}
